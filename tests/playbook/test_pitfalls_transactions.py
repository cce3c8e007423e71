"""What may be read from memory inside a transaction, and what others may see of it.

Each play runs on twin sessions; where an entry could tempt, it is in memory before.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, close, execute, parse, query
from tests.playbook.twins import Step, Twins, ext, make, pipeline

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 3) i;
CREATE TABLE u (id int PRIMARY KEY, v int); INSERT INTO u SELECT i, i FROM generate_series(1, 3) i;
CREATE SCHEMA b;
CREATE TABLE b.t (id int PRIMARY KEY, v int); INSERT INTO b.t VALUES (1, 100);
CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'UPDATE t SET v = v + 1 RETURNING v';
CREATE FUNCTION dynamic(code text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE code; END';
CREATE PROCEDURE proceeds() LANGUAGE plpgsql AS 'BEGIN UPDATE t SET v = v + 1; END';
CREATE PROCEDURE commits() LANGUAGE plpgsql AS
    'BEGIN UPDATE t SET v = v + 1; COMMIT; UPDATE u SET v = v + 1; END';
"""
RESTORE = (
    "DELETE FROM t; INSERT INTO t SELECT i, i FROM generate_series(1, 3) i",
    "DELETE FROM u; INSERT INTO u SELECT i, i FROM generate_series(1, 3) i",
)
T = "SELECT * FROM t ORDER BY id"
U = "SELECT * FROM u ORDER BY id"
UPD = "UPDATE t SET v = v + 1"
INS = "INSERT INTO t VALUES (10, 10)"


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_transactions")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    bench.both(*RESTORE)
    with bench:
        yield bench


# What a transaction has written


WRITES: dict[str, tuple[Step, ...]] = {
    "plain": (UPD,),
    "extended": (ext(UPD),),
    "prepared before": (ext("EXECUTE prepared_write"),),
    "returning": (INS + " RETURNING *",),
    "cte": ("WITH w AS (UPDATE t SET v = v + 1 RETURNING *) SELECT count(*) FROM w",),
    "function": ("SELECT writes()",),
    "dynamic": (f"SELECT dynamic('{UPD}')",),
    "do": (f"DO $$BEGIN {UPD}; END$$",),
    "call": ("CALL proceeds()",),
    "explain analyze": (
        "EXPLAIN (ANALYZE, BUFFERS OFF, COSTS OFF, TIMING OFF, SUMMARY OFF) " + INS,
    ),
    "several in one": (f"SELECT 1; {UPD}",),
    "pipeline": (pipeline("SELECT 1", UPD, U),),
    "merge": ("MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET v = u.v + 7",),
    "in a savepoint": ("SAVEPOINT a", UPD, "RELEASE a"),
    "in nested savepoints": ("SAVEPOINT a", "SAVEPOINT b", UPD, "RELEASE b", "RELEASE a"),
    "cursor": (
        "DECLARE c CURSOR FOR SELECT * FROM t ORDER BY id FOR UPDATE",
        "MOVE c",
        "UPDATE t SET v = 50 WHERE CURRENT OF c",
    ),
}


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("writes", WRITES.values(), ids=WRITES)
def test_uncommitted_rows_are_seen_by_their_writer_alone(
    twins: Twins, writes: tuple[Step, ...], end: str
) -> None:
    """READ COMMITTED: a transaction sees what it has written, nobody else does before COMMIT.

    No answer that was computed inside it may serve another session, after ROLLBACK least of all.
    """
    writer, reader = twins.session(), twins.session()
    writer.step(f"PREPARE prepared_write AS {UPD}")
    twins.prime(T)
    before = reader.hit(T)
    writer.step("BEGIN")
    writer.hits(1, T)
    for step in writes:
        assert not [f for f in writer.step(step) if f.kind == "E"], step
    own = writer.forwarded(T)
    assert own != before
    # A text that nobody has asked yet would be filled by the writer first.
    unseen = "SELECT v, id FROM t ORDER BY id"
    assert writer.forwarded(unseen) != reader.read(unseen)
    assert reader.read(T) == before
    writer.step(end)
    after = own if end == "COMMIT" else before
    for session in (reader, writer):
        assert session.read(T) == after
        assert session.hit(T) == after


@pytest.mark.parametrize(
    "steps",
    [
        ("SAVEPOINT a", "ROLLBACK TO a"),
        ("SAVEPOINT a", INS, "ROLLBACK TO a"),
        ("SAVEPOINT a", "SAVEPOINT b", INS, "ROLLBACK TO SAVEPOINT a", "RELEASE a"),
        ("SAVEPOINT a", "ROLLBACK WORK TO SAVEPOINT a", "RELEASE SAVEPOINT a"),
        ("SAVEPOINT a", "SELECT 1 / 0", "ROLLBACK TO a"),
        ("SAVEPOINT a", INS, "SELECT 1 / 0", "ROLLBACK TO a", "ROLLBACK TO a"),
        ('SAVEPOINT "A b"', INS, 'ROLLBACK TRANSACTION TO "A b"'),
        (pipeline("SAVEPOINT a", INS, "ROLLBACK TO a"),),
    ],
)
def test_rollback_to_a_savepoint_is_not_the_end(twins: Twins, steps: tuple[Step, ...]) -> None:
    """ROLLBACK TO SAVEPOINT leaves the transaction open, and what was written before it."""
    writer, reader = twins.session(), twins.session()
    twins.prime(T)
    writer.run("BEGIN", UPD, *steps)
    assert writer.status == "T"
    own = writer.forwarded(T)
    assert reader.read(T) != own
    writer.step("COMMIT")
    assert reader.read(T) == own
    assert writer.hit(T) == own


def test_what_was_written_in_a_savepoint_is_undone_with_it(twins: Twins) -> None:
    """Rows of a savepoint that is rolled back are gone at once, for their writer too."""
    writer, reader = twins.session(), twins.session()
    twins.prime(T)
    before = reader.hit(T)
    writer.run("BEGIN", "SAVEPOINT a", INS)
    assert len(writer.forwarded(T)) == 4
    writer.step("ROLLBACK TO a")
    assert writer.read(T) == before
    writer.step("COMMIT")
    assert reader.read(T) == before
    assert writer.hit(T) == before


SETS = (
    "SET LOCAL work_mem = '5MB'",
    "SET LOCAL timezone = 'Asia/Tokyo'",
    "SET search_path = public, b",
    "SET CONSTRAINTS ALL DEFERRED",
    "RESET ALL",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SELECT set_config('application_name', 'other', true)",
    "DISCARD PLANS",
    "SET ROLE postgres",
    "SHOW work_mem",
)


@pytest.mark.parametrize("text", SETS)
def test_a_setting_does_not_end_the_writing(twins: Twins, text: str) -> None:
    """A transaction that has written keeps to PostgreSQL, whatever is set in it."""
    writer, reader = twins.session(), twins.session()
    twins.prime(T)
    writer.run("BEGIN", UPD, text)
    own = writer.forwarded(T)
    assert reader.read(T) != own
    writer.step("COMMIT")
    assert reader.read(T) == own
    writer.step("RESET ALL")
    assert writer.hit(T) == own


def test_a_lock_keeps_its_transaction_to_postgresql(twins: Twins) -> None:
    """Who has locked expects the newest rows: also those that committed before the lock."""
    locker, writer = twins.session(), twins.session()
    twins.prime(T)
    for lock in ("SELECT id FROM t WHERE id = 1 FOR UPDATE", "LOCK TABLE t IN SHARE MODE"):
        locker.step("BEGIN")
        locker.hits(1, T)
        writer.step("UPDATE t SET v = v + 1 WHERE id = 1")
        locker.step(lock)
        locker.forwarded(T)
        locker.step("COMMIT")
        locker.hit(T)


# Failed transactions and the status of ReadyForQuery


FAILURES: tuple[Step, ...] = (
    "SELECT 1 / 0",
    ext("SELECT 1 / 0"),
    "SELECT nothing FROM t",
    "SELEC",
    "SELECT 1; SELECT 1 / 0; SELECT 2",
    "SET no_such_thing = 1",
    "ROLLBACK TO nowhere",
    (bind(statement="nowhere"), SYNC),
    (parse(T, "x"), parse(T, "x"), SYNC),
    "PREPARE p AS SELECT 1; PREPARE p AS SELECT 2",
)


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_transaction_answers_nothing(twins: Twins, failure: Step) -> None:
    """Between an error and ROLLBACK every statement fails with 25P02, cached or not."""
    session = twins.session()
    session.step((parse(T, "known"), SYNC))
    prepared = (bind(statement="known"), execute(), SYNC)
    twins.prime(T)
    session.hit(T)
    session.hit(prepared)
    session.step("BEGIN")
    session.hits(2, T, ext(T))
    session.step(failure)
    assert session.status == "E"
    for step in (T, ext(T), prepared, U, "BEGIN", "SELECT 1", "SET timezone = 'UTC'"):
        session.fails(step, "25P02")
        assert session.status == "E"
    session.run("", (SYNC,), ext(""), (close("S", "x"), SYNC))
    assert session.tag("COMMIT") == "ROLLBACK"
    assert session.status == "I"
    session.hit(T)
    session.hit(prepared)


def test_a_savepoint_saves_a_failed_transaction(twins: Twins) -> None:
    """ROLLBACK TO a savepoint makes a failed transaction usable: it answers again."""
    session, other = twins.session(), twins.session()
    twins.prime(T)
    session.run("BEGIN", T, "SAVEPOINT a", T, "SELECT 1 / 0")
    session.fails(T, "25P02")
    session.step("ROLLBACK TO a")
    assert session.status == "T"
    session.read(T)
    other.step(UPD)
    session.read(T)
    session.run("RELEASE a", T, "COMMIT", T)
    session.hit(T)


@pytest.mark.parametrize("held", [False, True])
def test_errors_and_reads_in_one_write(twins: Twins, held: bool) -> None:
    """Queries that a client sends without waiting: what follows an error fails, in order."""
    session = twins.session()
    twins.prime(T, U)
    texts = ["BEGIN", T, "SELECT 1 / 0", T, U, "ROLLBACK", T, U]
    if held:
        texts.insert(0, "SELECT pg_sleep(0.01)")
    for _ in range(2):
        answers = []
        for wire in (session.direct, session.through):
            wire.send(*map(query, texts))
            answers.append([[f.kind for f in wire.until()] + [wire.status] for _ in texts])
        assert answers[0] == answers[1]
    session.hit(T)


def test_the_status_tells_what_is(twins: Twins) -> None:
    """ReadyForQuery of a hit says T inside a block and I outside: clients act on it."""
    session = twins.session()
    twins.prime(T, U)
    for begin in ("BEGIN", ext("BEGIN"), "START TRANSACTION READ ONLY"):
        session.hits(2, begin, T, ext(U))
        assert session.status == "T"
        assert session.tag("ABORT") == "ROLLBACK"
        session.hits(2, T, ext(U))
        assert session.status == "I"
    # PostgreSQL has the transaction, and the hits in it say so.
    session.run("BEGIN", "SELECT 1")
    session.hits(2, T, ext(U))
    assert session.status == "T"
    session.step("ROLLBACK")
    sql = f"SELECT state, query FROM pg_stat_activity WHERE pid = {session.through.pid}"
    assert twins.server.run("postgres", sql) == [("idle", "ROLLBACK")]


# Snapshots


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize(
    "way", ["begin", "set", "default", "local default", "options", "characteristics", "setting"]
)
def test_an_old_snapshot_stays_old_and_its_own(twins: Twins, level: str, way: str) -> None:
    """A snapshot of a whole transaction sees the rows of its beginning until it ends.

    It gets no newer answer from memory, and leaves none of its own there for others.
    """
    options = {"default_transaction_isolation": level.lower()} if way == "options" else {}
    old = twins.session(warm=not options, **options)
    writer, reader = twins.session(), twins.session()
    unseen = f"SELECT v, id, '{level} {way}' FROM t ORDER BY id"
    twins.prime(T)
    begins: dict[str, tuple[Step, ...]] = {
        "begin": (f"BEGIN ISOLATION LEVEL {level}",),
        "set": ("BEGIN", f"SET TRANSACTION ISOLATION LEVEL {level}"),
        "default": (f"SET default_transaction_isolation = '{level.lower()}'", "BEGIN"),
        "local default": (
            f"SELECT set_config('default_transaction_isolation', '{level.lower()}', false)",
            "BEGIN",
        ),
        "options": ("BEGIN",),
        "characteristics": (
            f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}",
            ext("START TRANSACTION"),
        ),
        "setting": ("BEGIN", f"SET transaction_isolation = '{level.lower()}'"),
    }
    old.run(*begins[way])
    before = old.forwarded(T)
    writer.step(UPD)
    after = reader.hit(T)
    assert after != before
    assert old.forwarded(T) == before
    first = old.forwarded(unseen)
    assert reader.read(unseen) != first
    assert old.forwarded(unseen) == first
    old.step("COMMIT")
    assert reader.read(T) == after
    assert old.read(T) == after
    old.step("SET default_transaction_isolation = 'read committed'")
    assert old.hit(T) == after


def test_read_committed_sees_what_others_commit(twins: Twins) -> None:
    """The weaker level looks anew at each statement: a hit in it is as new as any."""
    session, writer = twins.session(), twins.session()
    twins.prime(T)
    session.step("BEGIN ISOLATION LEVEL READ COMMITTED")
    first = session.hit(T)
    writer.step(UPD)
    second = session.read(T)
    assert first != second
    session.hit(T)
    session.run("SAVEPOINT a", T)
    writer.step(UPD)
    assert session.read(T) != second
    session.step("COMMIT")


def test_the_level_of_a_default_holds_outside_of_blocks_too(twins: Twins) -> None:
    """default_transaction_isolation also governs statements without BEGIN; SHOW tells it."""
    session, writer = twins.session(), twins.session()
    twins.prime(T)
    session.step("SET default_transaction_isolation = 'serializable'")
    for _ in range(2):
        session.read(T)
        session.run("SHOW transaction_isolation", ext("SHOW transaction_isolation"))
        writer.step(UPD)
    session.step(pipeline(T, "SHOW transaction_isolation", T))
    session.step("RESET default_transaction_isolation")
    session.hit(T)


def test_an_exported_snapshot_is_imported(twins: Twins) -> None:
    """SET TRANSACTION SNAPSHOT: another transaction sees what the exporting one saw."""
    exporter, importer, writer = twins.session(), twins.session(), twins.session()
    twins.prime(T)
    exporter.step("BEGIN ISOLATION LEVEL REPEATABLE READ")
    exporter.remember("snapshot", "SELECT pg_export_snapshot()")
    before = exporter.forwarded(T)
    writer.step(UPD)
    after = writer.hit(T)
    importer.run("BEGIN ISOLATION LEVEL REPEATABLE READ", "SET TRANSACTION SNAPSHOT '<snapshot>'")
    assert importer.forwarded(T) == before
    assert writer.read(T) == after
    importer.step("COMMIT")
    assert importer.hit(T) == after
    importer.run("BEGIN ISOLATION LEVEL READ COMMITTED")
    importer.fails("SET TRANSACTION SNAPSHOT '<snapshot>'", "0A000")
    importer.step("ROLLBACK")
    exporter.step("COMMIT")
    importer.step("BEGIN ISOLATION LEVEL REPEATABLE READ")
    gone = "22023" if twins.server.major < 16 else "42704"
    importer.fails("SET TRANSACTION SNAPSHOT '<snapshot>'", gone)
    importer.step("ROLLBACK")


def test_a_snapshot_exported_in_read_committed(twins: Twins) -> None:
    """pg_export_snapshot works at every level; the exporter itself goes on seeing the newest."""
    exporter, importer, writer = twins.session(), twins.session(), twins.session()
    twins.prime(T)
    exporter.run("BEGIN", T)
    before = exporter.read(T)
    exporter.remember("snapshot", "SELECT pg_export_snapshot()")
    writer.step(UPD)
    assert exporter.read(T) != before
    importer.run("BEGIN ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION SNAPSHOT '<snapshot>'")
    importer.step("ROLLBACK")
    importer.run(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET TRANSACTION SNAPSHOT '<snapshot>'",
    )
    assert importer.forwarded(T) == before
    importer.step("COMMIT")
    exporter.step("COMMIT")


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION", "BEGIN WORK", "BEGIN TRANSACTION"])
@pytest.mark.parametrize(
    "modes",
    [
        "",
        " ISOLATION LEVEL READ COMMITTED READ ONLY",
        " READ ONLY, ISOLATION LEVEL REPEATABLE READ",
        " ISOLATION LEVEL READ UNCOMMITTED",
        " ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        " ISOLATION LEVEL SERIALIZABLE, READ WRITE, NOT DEFERRABLE",
        " READ ONLY DEFERRABLE",
        " NOT DEFERRABLE",
    ],
)
def test_the_modes_of_a_transaction_arrive(twins: Twins, begin: str, modes: str) -> None:
    """BEGIN with modes, also where it travels late: PostgreSQL has all of them."""
    session = twins.session()
    twins.prime(T)
    for hits_first in (False, True):
        for step in (begin + modes, ext(begin + modes)):
            session.step(step)
            if hits_first:
                session.read(T)
            for name in ("isolation", "read_only", "deferrable"):
                session.step(f"SHOW transaction_{name}")
            session.step(UPD)
            session.step(T)
            session.step("ROLLBACK")
    session.run(*(f"SHOW transaction_{name}" for name in ("isolation", "read_only", "deferrable")))
    session.hit(T)


def test_defaults_of_modes_arrive(twins: Twins) -> None:
    """default_transaction_read_only and _deferrable hold for a BEGIN that travels late."""
    session = twins.session()
    twins.prime(T)
    session.run("SET default_transaction_read_only = on", "SET default_transaction_deferrable = on")
    session.hit(T)
    session.step("BEGIN")
    session.hits(1, T)
    session.fails(UPD, "25006")
    session.step("ROLLBACK")
    session.fails(UPD, "25006")
    session.run("BEGIN READ WRITE", T, "SHOW transaction_deferrable", UPD, T, "ROLLBACK")
    session.run("RESET ALL", "BEGIN", T, UPD, "COMMIT")
    session.hit(T)
