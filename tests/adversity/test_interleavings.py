"""Forced interleavings of fills, writes and losses, by holding single messages.

A middlebox sits between Howdah and PostgreSQL. What a reader may see is said by the
server itself: every read is compared with a direct one at a moment when it cannot
change.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fix_howdah import backends, wait_until_running
from tests.fix_middlebox import TO_CLIENT, TO_SERVER
from tests.fix_scene import PROBE, Scene
from tests.fix_tools import eventually
from tests.fix_wire import (
    FLUSH,
    SYNC,
    Wire,
    bind,
    cancel_request,
    errors,
    execute,
    kinds,
    parse,
    query,
    rows,
    tags,
)

ALL = "SELECT * FROM public.probe ORDER BY id"


def simple(sql: str) -> bytes:
    return query(sql)


def extended(sql: str) -> bytes:
    return parse(sql) + bind() + execute() + SYNC


BOTH = pytest.mark.parametrize("send", [simple, extended])
Send = Callable[[str], bytes]


@BOTH
@pytest.mark.parametrize("held", ["D", "C", "Z"])
def test_late_fill_7(scene: Scene, send: Send, held: str) -> None:
    """A read's answer is on its way when a commit passes: it must not be stored (F5)."""
    with scene.session("filler") as filler, scene.session("writer") as writer:
        rule = scene.box.hold(TO_CLIENT, held, nth=1, application_name="filler")
        sql = "SELECT v, 'late' FROM public.probe WHERE id = 1"
        filler.send(send(sql))
        rule.wait()
        assert tags(writer.query("UPDATE public.probe SET v = 5")) == ["UPDATE 10"]
        rule.release()
        assert rows(filler.until()) in ([["0", "late"]], [["5", "late"]])
        for _ in range(3):
            assert scene.reader.rows(sql) == [["5", "late"]]
            assert rows(filler.ask(send(sql))) == [["5", "late"]]


WRITES = {
    "delete": ("DELETE FROM public.probe WHERE id <= 5", "5"),
    "truncate": ("TRUNCATE public.probe", "0"),
    "key_change": ("UPDATE public.probe SET id = id + 100 WHERE id = 3", "10"),
    "insert": ("INSERT INTO public.probe VALUES (11, 0)", "11"),
    "transaction": ("BEGIN; DELETE FROM public.probe WHERE id = 1; COMMIT", "9"),
    "function": ("DO $$BEGIN DELETE FROM public.probe WHERE id = 1; END$$", "9"),
    "rollback": ("BEGIN; DELETE FROM public.probe; ROLLBACK", "10"),
}


@BOTH
@pytest.mark.parametrize("name", WRITES)
def test_late_fill_25(scene: Scene, send: Send, name: str) -> None:
    """The same with every kind of change during the fill: no ghost rows."""
    sql = "SELECT count(*), 'ghosts', min(id) < 0 FROM public.probe"
    write, count = WRITES[name]
    with scene.session("filler") as filler, scene.session("writer") as writer:
        rule = scene.box.hold(TO_CLIENT, "D", application_name="filler")
        filler.send(send(sql))
        rule.wait()
        assert not errors(writer.query(write))
        rule.release()
        filler.until()
        for _ in range(3):
            assert scene.reader.rows(sql)[0][0] == count
            assert rows(filler.ask(send(sql)))[0][0] == count


@BOTH
def test_fill_begun_under_a_fence(scene: Scene, send: Send) -> None:
    """Its snapshot is of before the commit, its answer comes after the fence is down (F5)."""
    sql = "SELECT v, 'fenced' FROM public.probe WHERE id = 1"
    with scene.session("filler") as filler, scene.session("writer") as writer:
        write = scene.box.hold(TO_SERVER, "Q", application_name="writer")
        read = scene.box.hold(TO_CLIENT, "D", application_name="filler")
        writer.send(query("UPDATE public.probe SET v = 4"))
        write.wait()
        filler.send(send(sql))
        read.wait()
        write.release()
        writer.until()
        read.release()
        assert rows(filler.until()) == [["0", "fenced"]]
        for _ in range(3):
            assert scene.reader.rows(sql) == [["4", "fenced"]]
            assert rows(filler.ask(send(sql))) == [["4", "fenced"]]


@BOTH
def test_fill_in_an_open_transaction_of_others(scene: Scene, send: Send) -> None:
    """Evicting at the UPDATE is too early: the read in between brings the old row back."""
    with scene.session("writer") as writer:
        writer.query("BEGIN")
        writer.query("UPDATE public.probe SET v = 6")
        for _ in range(3):
            assert rows(scene.reader.ask(send(PROBE))) == [["0"]]
        writer.query("COMMIT")
        for _ in range(3):
            assert rows(scene.reader.ask(send(PROBE))) == [["6"]]


@BOTH
@pytest.mark.parametrize("held", ["C", "Z"])
def test_acknowledgement_held_after_the_commit(scene: Scene, send: Send, held: str) -> None:
    """F1, F2: committed, not yet known to Howdah: others read from PostgreSQL."""
    with scene.session("writer") as writer:
        rule = scene.box.hold(TO_CLIENT, held, application_name="writer")
        writer.send(send("UPDATE public.probe SET v = 7"))
        rule.wait()
        eventually(lambda: scene.truth() == "7")
        with scene.howdah.watching() as gained:
            for _ in range(5):
                assert scene.value() == "7"
                assert rows(scene.reader.ask(extended(PROBE))) == [["7"]]
        assert gained["hits"] == 0, gained
        rule.release()
        writer.until()
        scene.settles("7")


def test_acknowledgement_of_commit_held(scene: Scene) -> None:
    with scene.session("writer") as writer:
        writer.query("BEGIN")
        writer.query("UPDATE public.probe SET v = 8")
        assert scene.value() == "0"
        rule = scene.box.hold(
            TO_CLIENT, "C", where=lambda p: p.startswith(b"COMMIT"), application_name="writer"
        )
        writer.send(query("COMMIT"))
        rule.wait()
        with scene.howdah.watching() as gained:
            for _ in range(5):
                assert scene.value() == "8"
        assert gained["hits"] == 0, gained
        rule.release()
        writer.until()
        scene.settles("8")


def test_execute_flushed_commit_at_sync(scene: Scene) -> None:
    """CommandComplete comes before the commit; only the Sync commits (F2)."""
    with scene.session("writer") as writer:
        writer.send(parse("UPDATE public.probe SET v = 9"), bind(), execute(), FLUSH)
        writer.until("C")
        for _ in range(3):
            assert scene.value() == "0"
        rule = scene.box.hold(TO_CLIENT, "Z", application_name="writer")
        writer.send(SYNC)
        rule.wait()
        for _ in range(3):
            assert scene.value() == "9"
        rule.release()
        writer.until()
        scene.settles("9")


@BOTH
def test_write_held_before_postgresql(scene: Scene, send: Send) -> None:
    """The fence stands before the first byte leaves: reads are forwarded, and old is right."""
    kind = "Q" if send is simple else "S"
    with scene.session("writer") as writer:
        rule = scene.box.hold(TO_SERVER, kind, nth=1, application_name="writer")
        writer.send(send("UPDATE public.probe SET v = 10"))
        rule.wait()
        eventually(lambda: scene.howdah.count("fences_up") > 0)
        with scene.howdah.watching() as gained:
            for _ in range(3):
                assert scene.value() == "0"
        assert gained["hits"] == 0, gained
        rule.release()
        writer.until()
        scene.settles("10")


@BOTH
@pytest.mark.parametrize("held", ["C", "Z"])
def test_acknowledgement_lost(scene: Scene, send: Send, held: str) -> None:
    """The upstream connection breaks after the commit, before Howdah knows of it."""
    writer = scene.session("writer")
    rule = scene.box.reset(TO_CLIENT, held, application_name="writer")
    writer.send(send("UPDATE public.probe SET v = 11"))
    rule.wait()
    assert writer.closed()
    writer.socket.close()
    eventually(lambda: scene.truth() == "11")
    for _ in range(5):
        assert scene.value() == "11"
    scene.settles("11")


def test_connection_lost_before_the_commit(scene: Scene) -> None:
    """COMMIT never arrived: PostgreSQL rolls back, and the old value is right."""
    writer = scene.session("writer")
    writer.query("BEGIN")
    writer.query("UPDATE public.probe SET v = 12")
    rule = scene.box.reset(TO_SERVER, "Q", application_name="writer")
    writer.send(query("COMMIT"))
    rule.wait()
    assert writer.closed()
    writer.socket.close()
    for _ in range(5):
        assert scene.value() == "0"
    scene.settles("0")


@pytest.mark.parametrize("how", ["reset", "close"])
def test_client_killed_between_commit_and_answer(scene: Scene, how: str) -> None:
    writer = scene.session("writer")
    rule = scene.box.hold(TO_CLIENT, "C", application_name="writer")
    writer.send(query("UPDATE public.probe SET v = 13"))
    rule.wait()
    if how == "reset":
        writer.reset()
    else:
        writer.socket.close()
    with scene.howdah.watching() as gained:
        for _ in range(5):
            assert scene.value() == "13"
    assert gained["hits"] == 0, gained
    rule.release()
    scene.settles("13")


def test_commit_waits_for_a_standby(scene: Scene) -> None:
    """F2: durable but invisible, the client gone, for as long as it takes: the fence stays."""
    with scene.lone_primary():
        writer = scene.patient("writer")
        writer.send(query("UPDATE public.probe SET v = 14"))
        scene.waits(writer.pid, "SyncRep")
        writer.reset()
        scene.forwarded("0", times=20)
        # Still there: nothing but its end may lower the fence.
        scene.waits(writer.pid, "SyncRep")
    eventually(lambda: scene.truth() == "14")
    assert scene.value() == "14"
    scene.settles("14")


def test_cancelled_wait_for_a_standby_commits(scene: Scene) -> None:
    """A cancel in that wait: a WARNING, the tag UPDATE, and the change is visible."""
    with scene.lone_primary(), scene.patient("writer") as writer:
        writer.send(query("UPDATE public.probe SET v = 15"))
        scene.waits(writer.pid, "SyncRep")
        with Wire(scene.howdah.address) as request:
            request.send(cancel_request(writer.key_data))
            assert request.closed()
        assert kinds(writer.until()) == "NCZ"
        assert scene.value() == "15"
    scene.settles("15")


def test_blocked_write_does_not_block_reads(scene: Scene) -> None:
    with scene.session("one") as one, scene.session("two") as two:
        one.query("BEGIN")
        one.query("UPDATE public.probe SET v = 16")
        two.send(query("UPDATE public.probe SET v = v + 1"))
        wait_until_running(scene.server, "v = v + 1")
        for _ in range(3):
            assert scene.value() == "0"
        one.query("COMMIT")
        two.until()
        scene.settles("17")


def test_same_miss_by_many_48(scene: Scene) -> None:
    """Others ask while a fill is under way: all get right answers, nobody waits for ever."""
    sql = "SELECT count(*) FROM public.probe"
    with scene.session("leader") as leader:
        rule = scene.box.hold(TO_CLIENT, "D", application_name="leader")
        leader.send(query(sql))
        rule.wait()
        others = [scene.session(f"other{i}") for i in range(4)]
        for other in others:
            other.send(query(sql))
        rule.release()
        for wire in [leader, *others]:
            assert rows(wire.until()) == [["10"]]
            wire.close()


def test_same_miss_leader_fails_48(scene: Scene) -> None:
    """The leader's connection breaks: the others get their own answer."""
    sql = "SELECT sum(v) FROM public.probe"
    leader = scene.session("leader")
    hold = scene.box.hold(TO_CLIENT, "D", application_name="leader")
    leader.send(query(sql))
    hold.wait()
    others = [scene.session(f"other{i}") for i in range(3)]
    for other in others:
        other.send(query(sql))
    scene.box.link(application_name="leader").reset()
    hold.release()
    for wire in others:
        assert rows(wire.until()) == [["0"]]
        wire.close()
    leader.socket.close()


def test_waiter_is_not_given_what_a_write_has_passed(scene: Scene) -> None:
    """A rejected fill reaches nobody but its own client (F5)."""
    sql = "SELECT max(v) FROM public.probe"
    with scene.session("leader") as leader, scene.session("writer") as writer:
        rule = scene.box.hold(TO_CLIENT, "D", application_name="leader")
        leader.send(query(sql))
        rule.wait()
        writer.query("UPDATE public.probe SET v = 18")
        # This read begins after the commit was acknowledged.
        scene.reader.send(query(sql))
        rule.release()
        assert rows(leader.until()) == [["0"]]
        assert rows(scene.reader.until()) == [["18"]]
        assert scene.reader.rows(sql) == [["18"]]


def test_error_then_write_in_flight(scene: Scene) -> None:
    """Messages skipped after an error have not run; their fence comes down."""
    with scene.session("writer") as writer:
        writer.send(
            *[parse("SELECT 1 / 0"), bind(), execute()],
            *[parse("UPDATE public.probe SET v = 19"), bind(), execute(), SYNC],
        )
        assert errors(writer.until()) == ["22012"]
        scene.settles("0")


def test_ddl_while_howdah_is_blind(scene: Scene) -> None:
    """F12: Howdah's own connections fail while a client changes the schema."""
    everything = "SELECT * FROM public.probe WHERE id = 1"
    scene.howdah.until_hit(scene.reader, everything)
    with scene.session("writer") as writer:
        scene.box.refuse = True
        for link in scene.box.links:
            if link.parameters.get("user") == "howdah":
                link.reset()
        assert not errors(writer.query("ALTER TABLE public.probe ADD COLUMN w int DEFAULT 3"))
        for _ in range(5):
            assert scene.reader.rows(everything) == [["1", "0", "3"]]
        writer.query("UPDATE public.probe SET w = 4")
        assert scene.reader.rows(everything) == [["1", "0", "4"]]
        scene.box.refuse = False
        scene.howdah.until_hit(scene.reader, everything)
        assert scene.reader.rows(everything) == [["1", "0", "4"]]


def test_client_leaves_in_the_middle_of_an_answer(scene: Scene) -> None:
    """The fill is given up or completed; nothing half is stored."""
    leaver = scene.session("leaver")
    rule = scene.box.hold(TO_CLIENT, "D", nth=4, application_name="leaver")
    leaver.send(query(ALL))
    rule.wait()
    leaver.reset()
    rule.release()
    for _ in range(3):
        assert len(scene.reader.rows(ALL)) == 10

    def gone() -> bool:
        return "leaver" not in [name for _, name, _ in backends(scene.server, scene.database)]

    eventually(gone)


def test_transaction_of_a_lost_client_is_rolled_back(scene: Scene) -> None:
    writer = scene.session("writer")
    writer.query("BEGIN")
    writer.query("UPDATE public.probe SET v = 20")
    writer.reset()

    def gone() -> bool:
        return "writer" not in [name for _, name, _ in backends(scene.server, scene.database)]

    eventually(gone)
    scene.settles("0")


def test_deferred_begin_is_never_lost(scene: Scene) -> None:
    """T2: BEGIN answered from here, the write after it is in that transaction."""
    with scene.session("writer") as writer:
        writer.query("BEGIN")
        assert writer.status == "T"
        assert writer.rows(PROBE) == [["0"]]
        writer.query("UPDATE public.probe SET v = 21")
        assert scene.truth() == "0"
        writer.query("ROLLBACK")
        assert writer.status == "I"
        scene.settles("0")


def test_deferred_begin_and_a_lost_upstream(scene: Scene) -> None:
    """The backend dies behind a deferred BEGIN: the client hears of it, nothing is half done."""
    writer = scene.session("writer")
    writer.query("BEGIN")
    scene.server.run("postgres", f"SELECT pg_terminate_backend({writer.pid})")
    assert writer.frame().fields["C"] == "57P01"
    assert writer.closed()
    writer.socket.close()
    scene.settles("0")
