"""What lives in a session at PostgreSQL: cursors, statements, locks, channels, large objects."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, close, describe, errors, execute, kinds, parse
from tests.playbook.twins import Step, Twins, ext, make, pipeline

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 5) i;
"""
RESTORE = "DELETE FROM t; INSERT INTO t SELECT i, i FROM generate_series(1, 5) i"
T = "SELECT * FROM t ORDER BY id"
UPD = "UPDATE t SET v = v + 1"


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_things")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    bench.both(RESTORE)
    with bench:
        yield bench


# Cursors


@pytest.mark.parametrize("fetch", ["FETCH 2 FROM c", ext("FETCH 2 FROM c")])
def test_a_cursor_with_hold_keeps_its_rows(twins: Twins, fetch: Step) -> None:
    """WITH HOLD outlives its transaction with the rows of then; reads beside it see new ones."""
    session, writer = twins.session(), twins.session()
    twins.prime(T)
    session.run("BEGIN", f"DECLARE c SCROLL CURSOR WITH HOLD FOR {T}", fetch, "COMMIT")
    before = session.hit(T)
    writer.step(UPD)
    assert session.read(T) != before
    session.run(fetch, "MOVE BACKWARD ALL FROM c", fetch, "FETCH LAST FROM c", "FETCH ALL FROM c")
    session.run("SELECT name, is_holdable FROM pg_cursors WHERE name = 'c'")
    session.run("BEGIN", "CLOSE c", "ROLLBACK")
    session.fails(fetch, "34000")
    session.hit(T)


def test_a_cursor_lives_in_its_transaction(twins: Twins) -> None:
    """A cursor shows the rows of its DECLARE, with hits around it, and ends with its block."""
    session, writer = twins.session(), twins.session()
    twins.prime(T)
    session.step("BEGIN")
    session.hits(1, T)
    session.step(f"DECLARE c SCROLL CURSOR FOR {T}")
    session.step("FETCH 1 FROM c")
    writer.step(UPD)
    session.read(T)
    session.run("FETCH ALL FROM c", "SAVEPOINT a", "FETCH PRIOR FROM c", "ROLLBACK TO a")
    session.run("FETCH PRIOR FROM c", "COMMIT")
    session.fails("FETCH 1 FROM c", "34000")
    session.fails("DECLARE c CURSOR FOR SELECT 1", "25P01")
    session.run("BEGIN", "COMMIT AND CHAIN")
    session.hit(T)


def test_a_held_cursor_of_a_failed_transaction(twins: Twins) -> None:
    """ROLLBACK takes a cursor WITH HOLD along, DISCARD ALL too."""
    session = twins.session()
    session.run("BEGIN", f"DECLARE c CURSOR WITH HOLD FOR {T}", "ROLLBACK")
    session.fails("FETCH 1 FROM c", "34000")
    session.run(f"DECLARE c CURSOR WITH HOLD FOR {T}", "FETCH 1 FROM c", "DISCARD ALL")
    session.fails("FETCH 1 FROM c", "34000")
    session.hit(T)


# Prepared statements on both levels


def test_both_levels_share_their_names(twins: Twins) -> None:
    """PREPARE and Parse make the same kind of thing: either may run, describe or drop it."""
    session = twins.session()
    twins.prime(T)
    bound = (bind(statement="p"), describe(), execute(), SYNC)
    session.step(f"PREPARE p AS {T}")
    session.run(bound, "EXECUTE p", (describe("S", "p"), SYNC))
    session.fails(f"PREPARE p AS {UPD}", "42P05")
    assert errors(session.step((parse(T, "p"), SYNC))) == ["42P05"]
    session.step((close("S", "p"), SYNC))
    session.fails("EXECUTE p", "26000")
    session.step((parse(UPD, "p"), SYNC))
    before = session.read(T)
    session.step("EXECUTE p")
    assert session.read(T) != before
    session.step(bound)
    session.step("DEALLOCATE p")
    assert errors(session.step(bound)) == ["26000"]
    session.run((parse(T, "p"), SYNC), bound, "DEALLOCATE ALL")
    session.fails(bound, "26000")
    session.run((parse(T, "p"), SYNC), bound, "DISCARD ALL")
    session.fails(bound, "26000")
    session.run("PREPARE p (int) AS SELECT v FROM t WHERE id = $1", "EXECUTE p (2)")
    session.run((bind([b"3"], statement="p"), execute(), SYNC), "EXECUTE p ('x')")
    session.hit(T)


def test_statements_survive_a_rollback(twins: Twins) -> None:
    """A statement that was prepared in a block stays when the block is rolled back."""
    session = twins.session()
    twins.prime(T)
    bound = (bind(statement="p"), execute(), SYNC)
    session.run("BEGIN", T, (parse(T, "p"), SYNC), bound, "ROLLBACK")
    session.run(bound, bound)
    session.hit(bound)
    session.run("BEGIN", "DEALLOCATE p", "ROLLBACK")
    session.fails(bound, "26000")
    session.run("BEGIN", "SELECT 1 / 0")
    assert errors(session.step((parse(T, "p"), SYNC))) == ["25P02"]
    session.step("ROLLBACK")
    session.fails(bound, "26000")
    session.run((parse(T, "p"), SYNC), bound)
    session.hit(bound)


def test_a_name_is_used_again(twins: Twins) -> None:
    """Close and Parse under the same name, in one batch and in several: the new text counts."""
    session = twins.session()
    twins.prime(T)
    texts = (T, "SELECT v FROM t WHERE id = 1", UPD + " WHERE id = 5 RETURNING v", T)
    for text in texts:
        session.step((close("S", "p"), parse(text, "p"), describe("S", "p"), SYNC))
        for _ in range(3):
            session.step((bind(statement="p"), describe(), execute(), SYNC))
    for text in texts:
        session.step(
            (close("S", "p"), parse(text, "p"), bind(statement="p"), describe(), execute(), SYNC)
        )
    session.run("SELECT name, statement FROM pg_prepared_statements WHERE name = 'p'")
    session.hit((bind(statement="p"), execute(), SYNC))


def test_generic_plans_read_what_is_new(twins: Twins) -> None:
    """After five runs PostgreSQL may keep a plan; answers follow the rows, DDL and settings."""
    session, owner = twins.session(), twins.session()
    session.step((parse("SELECT v FROM t WHERE id = $1", "p", [23]), SYNC))
    bound = (bind([b"2"], statement="p"), execute(), SYNC)
    for _ in range(7):
        session.step(bound)
    owner.step(UPD)
    session.run(bound, bound)
    owner.step("CREATE INDEX i ON t (v)")
    session.run(bound, "SET plan_cache_mode = 'force_generic_plan'", bound, bound)
    owner.step("DROP INDEX i")
    session.run(bound, bound)
    session.step("RESET plan_cache_mode")
    session.hit(bound)


# Locks


def test_advisory_locks(twins: Twins) -> None:
    """Session and transaction locks are taken by PostgreSQL, each time, and keep others out."""
    one, two = twins.session(), twins.session()
    twins.prime(T)
    take, give = "SELECT pg_try_advisory_lock(4711)", "SELECT pg_advisory_unlock(4711)"
    assert one.forwarded(take) == [["t"]]
    assert two.forwarded(take) == [["f"]]
    for _ in range(4):
        assert one.step(give)
    one.step(give)
    assert two.forwarded(take) == [["t"]]
    two.step("SELECT pg_advisory_unlock_all()")
    local = "SELECT pg_try_advisory_xact_lock(4711)"
    one.step("BEGIN")
    one.hits(1, T)
    one.step(local)
    assert two.forwarded(local) == [["f"]]
    one.read(T)
    one.step("COMMIT")
    two.step(local)
    two.run("SELECT pg_advisory_lock(4711) FROM t WHERE id = 1", "DISCARD ALL", local)
    assert one.forwarded(local) == [["t"]]
    for session in (one, two):
        session.hit(T)


# Channels


def test_channels(twins: Twins) -> None:
    """LISTEN counts at COMMIT, NOTIFY arrives at COMMIT; hits in between repeat none."""
    listener, sender = twins.session(), twins.session()
    twins.prime(T)
    listener.run("BEGIN", "LISTEN there", "ROLLBACK")
    sender.step("NOTIFY there, 'nobody'")
    listener.run(T, T)
    listener.run("BEGIN", T, "LISTEN there", "COMMIT")
    sender.run("BEGIN", "NOTIFY there, 'late'", T)
    assert "A" not in kinds(listener.run(T, "SELECT 1"))
    sender.step("COMMIT")
    for wire in (listener.direct, listener.through):
        frame = wire.frame()
        assert frame.kind == "A"
        assert frame.payload[4:] == b"there\0late\0"
    sender.run("BEGIN", "SELECT pg_notify('there', 'undone')", "ROLLBACK")
    # One's own notifications come in front of ReadyForQuery.
    assert "A" in kinds(listener.step("NOTIFY there, 'own'"))
    assert "A" in kinds(listener.step(pipeline(T, "NOTIFY there, 'own, too'", T)))
    assert "A" not in kinds(listener.hits(1, T))
    listener.step("UNLISTEN *")
    sender.step("NOTIFY there")
    assert "A" not in kinds(listener.run("SELECT 1", T))
    listener.hit(T)


# Large objects


def test_large_objects(twins: Twins) -> None:
    """Descriptors live in a transaction, contents are never from memory."""
    session, other = twins.session(), twins.session()
    twins.prime(T)
    session.remember("lo", "SELECT lo_from_bytea(0, '\\x68656c6c6f')")
    get = "SELECT convert_from(lo_get(<lo>), 'UTF8'), v FROM t WHERE id = 1"
    other.hits(0, get, get)
    session.step("SELECT lo_put(<lo>, 0, 'J')")
    assert other.rows_of(get) == [["Jello", "1"]]
    session.hit(T)
    session.step("BEGIN")
    session.hits(1, T)
    session.step("SELECT lo_open(<lo>, 393216)")
    session.run("SELECT loread(0, 2)", T, "SELECT lo_tell(0)", "SELECT lowrite(0, 'XX')")
    session.run("SAVEPOINT a", "SELECT lo_lseek(0, 0, 0)", "ROLLBACK TO a")
    session.run("SELECT lo_tell(0)", "COMMIT")
    session.fails("SELECT loread(0, 2)", "42704")
    other.run(get, get)
    session.step("SELECT lo_unlink(<lo>)")
    other.fails(get, "42704")
    session.hit(T)
