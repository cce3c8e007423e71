"""Forced interleavings of every way in which a write ends: inner commits, chains, two phases.

What single statements do to a fill, and acknowledgements that are held or lost, is in
`test_interleavings.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fix_middlebox import TO_CLIENT
from tests.fix_scene import PROBE, Scene
from tests.fix_wire import (
    FLUSH,
    SYNC,
    bind,
    copy_data,
    errors,
    execute,
    kinds,
    message,
    parse,
    query,
    rows,
)


def simple(sql: str) -> bytes:
    return query(sql)


def extended(sql: str) -> bytes:
    return parse(sql) + bind() + execute() + SYNC


BOTH = pytest.mark.parametrize("send", [simple, extended])
Send = Callable[[str], bytes]


def test_deferred_constraint_fails_at_sync(scene: Scene) -> None:
    """F2, F3: CommandComplete, then an ERROR in place of the commit: nothing has changed."""
    with scene.session("writer") as writer:
        writer.query(
            "CREATE TABLE checked (id int PRIMARY KEY REFERENCES probe DEFERRABLE"
            " INITIALLY DEFERRED); INSERT INTO checked VALUES (1)"
        )
        scene.settles("1", "SELECT count(*) FROM checked")
        writer.send(parse("INSERT INTO checked VALUES (99)"), bind(), execute(), FLUSH)
        writer.until("C")
        scene.forwarded("1", "SELECT count(*) FROM checked")
        rule = scene.box.hold(TO_CLIENT, "E", application_name="writer")
        writer.send(SYNC)
        rule.wait()
        scene.forwarded("1", "SELECT count(*) FROM checked")
        rule.release()
        assert errors(writer.until()) == ["23503"]
        with scene.howdah.hits_during(3):
            for _ in range(3):
                assert scene.value("SELECT count(*) FROM checked") == "1"


COMMITS_AND_FAILS = "BEGIN UPDATE public.probe SET v = 30; COMMIT; RAISE 'too late'; END"


@BOTH
@pytest.mark.parametrize("what", ["CALL commits_and_fails()", f"DO $$ {COMMITS_AND_FAILS} $$"])
def test_call_commits_and_then_fails(scene: Scene, send: Send, what: str) -> None:
    """F3: the ERROR undoes what came behind the inner COMMIT, and nothing before it."""
    with scene.session("writer") as writer:
        body = f"AS $$ {COMMITS_AND_FAILS} $$"
        writer.query(f"CREATE PROCEDURE commits_and_fails() LANGUAGE plpgsql {body}")
        scene.settles("0")
        rule = scene.box.hold(TO_CLIENT, "E", application_name="writer")
        writer.send(send(what))
        rule.wait()
        scene.forwarded("30")
        rule.release()
        assert errors(writer.until()) == ["P0001"]
        for _ in range(3):
            assert scene.value() == "30"
        scene.settles("30")


def test_commit_and_chain(scene: Scene) -> None:
    """F1: it commits, though the session stays in a transaction."""
    with scene.session("writer") as writer:
        writer.query("BEGIN")
        writer.query("UPDATE public.probe SET v = 31")
        scene.settles("0")
        rule = scene.box.hold(TO_CLIENT, "Z", application_name="writer")
        writer.send(query("COMMIT AND CHAIN"))
        rule.wait()
        scene.forwarded("31")
        rule.release()
        writer.until()
        assert writer.status == "T"
        scene.settles("31")
        writer.query("UPDATE public.probe SET v = 32")
        scene.settles("31")
        writer.query("COMMIT")
        scene.settles("32")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_two_phase_commit_from_another_session(scene: Scene, end: str) -> None:
    """F1: what the prepared transaction has written becomes visible at COMMIT PREPARED."""
    name = f"{scene.database}_{end}"
    with scene.session("writer") as writer, scene.session("finisher") as finisher:
        writer.query("BEGIN")
        writer.query("UPDATE public.probe SET v = 33")
        assert not errors(writer.query(f"PREPARE TRANSACTION '{name}'"))
        scene.settles("0")
        rule = scene.box.hold(TO_CLIENT, "Z", application_name="finisher")
        finisher.send(query(f"{end} PREPARED '{name}'"))
        rule.wait()
        expected = "33" if end == "COMMIT" else "0"
        for _ in range(3):
            assert scene.value() == expected
        rule.release()
        assert not errors(finisher.until())
        scene.settles(expected)


def test_bind_foreign_commit_execute(scene: Scene) -> None:
    """F5: the portal's snapshot is of the Bind, however late the Execute comes."""
    with scene.session("filler") as filler, scene.session("writer") as writer:
        filler.send(parse(PROBE), bind(), FLUSH)
        filler.until("2")
        writer.query("UPDATE public.probe SET v = 34")
        assert rows(filler.ask(execute(), SYNC)) == [["0"]]
        for _ in range(3):
            assert rows(scene.reader.ask(extended(PROBE))) == [["34"]]
            assert rows(filler.ask(extended(PROBE))) == [["34"]]


def test_parse_foreign_commit_bind(scene: Scene) -> None:
    """The other way round: a statement that was prepared before sees the commit, and may fill."""
    for _ in range(2):
        assert rows(scene.reader.ask(extended(PROBE))) == [["0"]]
    with scene.session("filler") as filler, scene.session("writer") as writer:
        filler.send(parse(PROBE), FLUSH)
        filler.until("1")
        writer.query("UPDATE public.probe SET v = 35")
        for _ in range(3):
            assert rows(filler.ask(bind(), execute(), SYNC)) == [["35"]]
            assert rows(scene.reader.ask(extended(PROBE))) == [["35"]]


@BOTH
def test_reads_of_a_transaction_that_has_written_are_its_own(scene: Scene, send: Send) -> None:
    """F5, T1: what nobody else can see is neither stored nor hidden from the writer."""
    sql = "SELECT v, 'own' FROM public.probe WHERE id = 1"
    with scene.session("writer") as writer:
        writer.query("BEGIN")
        writer.query("UPDATE public.probe SET v = 36")
        for _ in range(2):
            assert rows(writer.ask(send(sql))) == [["36", "own"]]
            assert rows(scene.reader.ask(send(sql))) == [["0", "own"]]
        writer.query("ROLLBACK")
        for _ in range(2):
            assert rows(scene.reader.ask(send(sql))) == [["0", "own"]]
            assert rows(writer.ask(send(sql))) == [["0", "own"]]


def test_read_behind_a_write_of_its_pipeline(scene: Scene) -> None:
    """T1, F5: one implicit transaction: the read sees the write, and both are undone."""
    ask = parse(PROBE) + bind() + execute()
    for _ in range(2):
        assert rows(scene.reader.ask(ask, SYNC)) == [["0"]]
    with scene.session("writer") as writer:
        writer.send(parse("UPDATE public.probe SET v = 37"), bind(), execute(), FLUSH)
        writer.until("C")
        writer.send(ask, FLUSH)
        assert rows(writer.until("C")) == [["37"]]
        frames = writer.ask(parse("SELECT 1 / 0"), bind(), execute(), SYNC)
        assert errors(frames) == ["22012"]
        writer.send(parse("UPDATE public.probe SET v = 38"), bind(), execute(), FLUSH)
        writer.until("C")
        assert rows(writer.ask(ask, SYNC)) == [["38"]]
        for _ in range(3):
            assert rows(scene.reader.ask(ask, SYNC)) == [["38"]]


def test_several_syncs_in_flight(scene: Scene) -> None:
    """T3: write and read in one chunk, each with its Sync: the read sees the write."""
    with scene.session("writer") as writer:
        rule = scene.box.hold(TO_CLIENT, "Z", nth=1, application_name="writer")
        writer.send(extended("UPDATE public.probe SET v = 38") + extended(PROBE))
        rule.wait()
        scene.forwarded("38")
        rule.release()
        writer.until()
        assert rows(writer.until()) == [["38"]]
        scene.settles("38")


def test_notices_are_repeated(scene: Scene) -> None:
    """R2, F5: an answer that came with a notice comes with it each time."""
    sql = f"SELECT v AS {'n' * 70} FROM public.probe WHERE id = 1"
    for _ in range(3):
        assert kinds(scene.reader.query(sql)) == "NTDCZ"


def test_copy_is_fenced_until_its_end(scene: Scene) -> None:
    """F1, F2: COPY commits behind CopyDone, and ReadyForQuery says so."""
    count = "SELECT count(*) FROM public.probe"
    scene.howdah.until_hit(scene.reader, count)
    with scene.session("writer") as writer:
        writer.send(query("COPY public.probe FROM STDIN"))
        writer.until("G")
        scene.forwarded("10", count)
        rule = scene.box.hold(TO_CLIENT, "Z", application_name="writer")
        writer.send(copy_data(b"99\t7\n"), message("c"))
        rule.wait()
        scene.forwarded("11", count)
        rule.release()
        writer.until()
        scene.settles("11", count)
