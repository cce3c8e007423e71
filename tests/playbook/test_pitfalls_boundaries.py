"""Where a transaction begins and ends: joined, implicit, and begun with reads from memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import Wire
from tests.playbook.test_pitfalls_transactions import INS, RESTORE, SCHEMA, UPD, T, U
from tests.playbook.twins import Step, Twin, Twins, ext, make, pipeline


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_boundaries")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    bench.both(*RESTORE)
    with bench:
        yield bench


JOINS: dict[str, Step] = {
    "one query": f"{INS}; BEGIN",
    "pipeline": pipeline(INS, "BEGIN"),
    "one query, more behind": f"{INS}; BEGIN; SELECT 1",
    "pipeline, more behind": pipeline(INS, "BEGIN", "SELECT 1"),
    "one query, in front": f"SELECT 1; {INS}; BEGIN READ WRITE",
}


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "END", "PREPARE"])
@pytest.mark.parametrize("join", JOINS.values(), ids=JOINS)
def test_a_begin_behind_a_write_takes_it_along(twins: Twins, join: Step, end: str) -> None:
    """INSERT; BEGIN in one Query, or before one Sync: the INSERT commits with the block."""
    writer, reader = twins.session(), twins.session()
    twins.prime(T)
    before = reader.hit(T)
    writer.step(join)
    assert writer.status == "T"
    own = writer.forwarded(T)
    assert reader.read(T) == before != own
    if end == "PREPARE":
        writer.step("PREPARE TRANSACTION '<side>'")
        assert reader.read(T) == before
        end = "COMMIT PREPARED '<side>'"
    writer.step(end)
    after = before if end == "ROLLBACK" else own
    assert reader.read(T) == after
    assert reader.hit(T) == after


IMPLICIT: dict[str, Step] = {
    "error behind a write": f"{UPD}; SELECT 1 / 0",
    "error behind a write, pipelined": pipeline(UPD, T, "SELECT 1 / 0", T),
    "read behind a write": f"{UPD}; {T}",
    "read behind a write, pipelined": pipeline(UPD, T),
    "commit in the middle": f"{UPD}; COMMIT; {INS}; SELECT 1 / 0",
    "commit in the middle, pipelined": pipeline(UPD, "COMMIT", INS, "SELECT 1 / 0"),
    "rollback in the middle": f"{UPD}; ROLLBACK; {INS}",
    "rollback in the middle, pipelined": pipeline(UPD, "ROLLBACK", INS),
    "block inside": f"BEGIN; {UPD}; COMMIT; {INS}; {T}",
    "block inside, pipelined": pipeline("BEGIN", UPD, "COMMIT", INS, T),
    "savepoint": f"{UPD}; SAVEPOINT a; {INS}; ROLLBACK TO a; {T}",
    "savepoint, pipelined": pipeline(UPD, "SAVEPOINT a", INS, "ROLLBACK TO a", T),
    "set undone": "SET search_path = b; SELECT 1 / 0",
    "set undone, pipelined": pipeline("SET search_path = b", "SELECT 1 / 0"),
    "set kept": f"SET search_path = b; {T}",
    "set kept, pipelined": pipeline("SET search_path = b", T),
    "set local": f"SET LOCAL search_path = b; {T}",
    "set local, pipelined": pipeline("SET LOCAL search_path = b", T),
    "set transaction": f"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; {T}; {UPD}",
    "call that commits": "CALL commits()",
    "call that commits, with more": "SELECT 1; CALL commits()",
    "chain": f"{UPD}; COMMIT AND CHAIN",
    "vacuum": f"{UPD}; VACUUM t",
    "vacuum, pipelined": pipeline(UPD, "VACUUM t"),
}


@pytest.mark.parametrize("step", IMPLICIT.values(), ids=IMPLICIT)
def test_statements_that_travel_together_are_one_transaction(twins: Twins, step: Step) -> None:
    """Several statements of one Query, or before one Sync, commit or fail as one."""
    session, reader = twins.session(), twins.session()
    twins.prime(T, U)
    for _ in range(2):
        session.step(step)
        if session.status != "I":
            session.step("ROLLBACK")
        for one in (session, reader):
            one.read(T)
            one.read(U)
            one.step("SHOW search_path")
    session.step("RESET search_path")
    session.hit(T)
    reader.hit(U)


def activity(twin: Twin) -> tuple[object, ...]:
    """What PostgreSQL has last heard of this session."""
    sql = "SELECT state_change, query, xact_start, state FROM pg_stat_activity WHERE pid = %d"
    return tuple(twin.twins.server.run("postgres", sql % twin.through.pid)[0])


def committed(twins: Twins, database: str) -> int:
    """Transactions that PostgreSQL has counted in a database."""
    sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '%s'"
    return int(twins.server.run("postgres", sql % database)[0][0])


def gone(twins: Twins, wire: Wire) -> bool:
    """Whether a backend has ended; all that it has counted is known then."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = %d"
    return bool(twins.server.run("postgres", sql % wire.pid) == [(0,)])


def test_a_transaction_of_hits_costs_postgresql_nothing(twins: Twins) -> None:
    """BEGIN, reads from memory and COMMIT: PostgreSQL hears none of it and counts nothing."""
    session = twins.session()
    twins.prime(T, U)
    session.run(T, U)
    before = activity(session)
    for number in range(50):
        begin = ("BEGIN", ext("BEGIN"), "START TRANSACTION READ ONLY")[number % 3]
        session.hits(2, begin, T, ext(U), ("COMMIT", ext("ROLLBACK"))[number % 2])
    assert activity(session) == before
    # In the twin database the same is counted, when the backends have ended.
    counted = {}
    for database, wire in (
        (twins.database, session.through),
        (twins.twin_database, session.direct),
    ):
        counted[database] = committed(twins, database)
        wire.close()
        eventually(partial(gone, twins, wire))
        counted[database] = committed(twins, database) - counted[database]
    assert counted[twins.database] < 25, counted
    assert counted[twins.twin_database] >= 50, counted


def test_nothing_is_lost_of_a_transaction_that_begins_with_hits(twins: Twins) -> None:
    """The first statement that is no hit finds the transaction that its client has begun."""
    session, reader = twins.session(), twins.session()
    twins.prime(T, U)
    for first in (T, ext(T)):
        before = reader.hit(T)
        session.hits(2, "BEGIN", first, U)
        session.step(UPD)
        assert reader.read(T) == before
        session.step("ROLLBACK")
        assert reader.read(T) == before
        session.hits(2, ext("BEGIN"), first, U)
        session.step((*ext(UPD)[:-1], *ext(T)))
        session.step("COMMIT")
        assert reader.read(T) != before
