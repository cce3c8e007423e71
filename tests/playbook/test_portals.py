"""Row limits, portals that live on, and statements that others have prepared: byte for byte.

Every flow runs directly and, several times, through Howdah with its reads in memory; what
must be equal is each byte of each reply. That reads do come from memory is proven apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.differential.test_protocol import Exchange, flow, play, z
from tests.differential.test_reads import same
from tests.fix_howdah import Howdah, SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    FLUSH,
    SYNC,
    Wire,
    bind,
    close,
    connect,
    describe,
    execute,
    kinds,
    parse,
    query,
    tags,
)

SCHEMA = """
CREATE TYPE pair AS (a int, b text);
CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, a int[], b bytea);
INSERT INTO t SELECT i, NULLIF('v' || i, 'v3'), i / 3.0, ARRAY[[i, NULL]],
    decode(lpad(i::text, 2, '0'), 'hex') FROM generate_series(1, 5) i;
CREATE TABLE odd (id int PRIMARY KEY, p pair, r int4range);
INSERT INTO odd SELECT i, ROW(i, NULL::text)::pair, int4range(i, NULLIF(i, 4))
    FROM generate_series(1, 5) i;
CREATE TABLE other (id int PRIMARY KEY, v text);
INSERT INTO other VALUES (1, 'one'), (2, 'two'), (3, 'three');
CREATE TABLE log (id serial, v text);
"""
ALL = "SELECT id, v, n, a, b FROM t ORDER BY id"
SOME = "SELECT id, v FROM t WHERE id <= $1 ORDER BY id"
ONE = "SELECT v FROM t WHERE id = $1"
EMPTY = "SELECT id FROM t WHERE id > 100"
NO_COLUMNS = "SELECT FROM t"
BREAKS = "SELECT 6 / (3 - id) FROM t"
SHAPES = (ALL, EMPTY, NO_COLUMNS)
COMPOSITES = "SELECT p, r, odd FROM odd ORDER BY id"

BEGIN, COMMIT, ROLLBACK = (([query(q)], "Z") for q in ("BEGIN", "COMMIT", "ROLLBACK"))
UPTO3 = (parse(SOME, oids=[23]), bind([b"3"]))

NAMED = (parse(SOME, oids=[23]), bind([b"3"], portal="c"), describe("P", "c"))


def limited(sql: str, *limits: int, binary: bool = False) -> list[bytes]:
    """Parse, Bind, Describe and Executes of the unnamed portal."""
    opened = [parse(sql), bind(results=[1] if binary else []), describe()]
    return opened + [execute(limit=limit) for limit in limits]


FLOWS: dict[str, list[Exchange]] = {
    "first_rows": flow(
        *[
            z(*limited(sql, n, binary=b))
            for sql in (*SHAPES, COMPOSITES)
            for n in (1, 2, 5, 6)
            for b in (False, True)
        ]
    ),
    "first_rows_of_some": flow(
        *[
            z(parse(SOME, oids=[23]), bind([b"%d" % rows]), execute(limit=limit))
            for rows in (0, 1, 2, 3)
            for limit in (1, 2, 3, 4, 1000, 2**31 - 1, 2**31, 2**32 - 1)
        ]
    ),
    "first_rows_of_named": flow(
        z(parse(SOME, "s", [23]), describe("S", "s")),
        *[z(bind([b"2"], statement="s"), execute(limit=limit)) for limit in (1, 2, 3, 0) * 2],
        z(close("S", "s")),
    ),
    "gone_with_the_sync": flow(
        z(*UPTO3, execute(limit=1)), z(execute(limit=1)), z(*UPTO3, execute(limit=1)), z(describe())
    ),
    "several_in_one_batch": flow(
        z(*UPTO3, execute(limit=1), execute(limit=1), execute(limit=1), execute(limit=1)),
        z(*UPTO3, execute(limit=2), execute(), execute()),
        z(*UPTO3, execute(), execute(limit=1)),
    ),
    "an_error_behind_the_limit": flow(
        *[z(*limited(BREAKS, limit)) for limit in (1, 2, 3, 2, 1)],
        z(*limited(BREAKS, 1, 1, 1)),
    ),
    "an_error_behind_the_limit_in_a_block": flow(
        BEGIN,
        ([query("SAVEPOINT a")], "Z"),
        z(*limited(BREAKS.replace("6", "12"), 2)),
        z(*UPTO3, execute()),
        COMMIT,
    ),
    "goes_on_in_a_block": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        *[z(execute(limit=1)), z(describe()), z(execute(limit=1))],
        *[z(execute(limit=1)), z(execute(limit=1)), z(execute()), z(describe())],
        COMMIT,
        z(execute()),
    ),
    "goes_on_to_the_end": flow(
        BEGIN, z(*UPTO3, execute(limit=1)), z(execute(limit=9)), z(execute(limit=9)), ROLLBACK
    ),
    "goes_on_without_limit": flow(
        BEGIN, z(*UPTO3, describe(), execute(limit=2)), z(execute()), z(execute()), COMMIT
    ),
    "goes_on_several_at_once": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        z(describe(), execute(limit=1), execute(limit=1), execute(limit=1), close("P", "")),
        z(execute(limit=1)),
        ROLLBACK,
    ),
    "goes_on_up_to_a_flush": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        ([execute(limit=1), FLUSH], "s"),
        ([execute(limit=2), FLUSH], "C"),
        z(),
        z(execute(limit=2)),
        COMMIT,
    ),
    "goes_on_between_other_things": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        z(
            *[parse("SELECT 7", "x"), bind(portal="x", statement="x"), execute("x")],
            *[execute(limit=1), execute("x"), describe(), execute(limit=1), close("P", "x")],
        ),
        z(execute(limit=1), close("S", "x")),
        z(execute(limit=1)),
        COMMIT,
    ),
    "goes_on_behind_an_error": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        z(execute("nope"), execute(limit=1)),
        z(execute(limit=1)),
        ROLLBACK,
        z(execute(limit=1)),
    ),
    "goes_on_in_flight": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        (
            [parse("SELECT pg_sleep(0)", "y"), bind(portal="y", statement="y"), execute("y"), SYNC]
            + [execute(limit=1), SYNC, execute(limit=1), SYNC, close("S", "y"), SYNC],
            "ZZZZ",
        ),
        COMMIT,
    ),
    "bound_anew": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        z(*limited(ALL, 2)),
        z(execute(limit=1)),
        z(*UPTO3, execute()),
        z(execute(limit=1)),
        z(*limited("SELECT 1", 1)),
        z(execute(limit=1)),
        COMMIT,
    ),
    "ended_by_a_query": flow(
        BEGIN, z(*UPTO3, execute(limit=1)), ([query(EMPTY)], "Z"), z(execute(limit=1)), ROLLBACK
    ),
    "ended_by_a_local_commit": flow(
        BEGIN,
        z(*UPTO3, execute(limit=1)),
        z(parse("COMMIT"), bind(), execute()),
        z(execute(limit=1)),
        z(describe()),
        BEGIN,
        z(execute(limit=1)),
        ROLLBACK,
    ),
    "behind_begin_in_one_batch": flow(
        z(parse("BEGIN"), bind(), execute(), *UPTO3, execute(limit=1)),
        z(execute(limit=1)),
        COMMIT,
    ),
    "named_portals": flow(
        BEGIN,
        z(parse(SOME, oids=[23]), bind([b"3"], portal="c"), describe("P", "c"), execute("c", 2)),
        z(*UPTO3, execute(limit=1)),
        z(execute("c", 2)),
        z(execute(limit=2)),
        z(close("P", "c"), *UPTO3, execute()),
        z(execute("c", 2)),
        ROLLBACK,
    ),
    "named_to_the_end": flow(
        BEGIN,
        z(*NAMED, execute("c", 2)),
        z(execute("c", 2)),
        z(describe("P", "c"), execute("c", 2), close("P", "c")),
        z(*NAMED, execute("c")),
        z(*NAMED, execute("c")),
        ROLLBACK,
    ),
    "a_name_that_is_taken": flow(
        BEGIN, z(*NAMED, execute("c", 1)), z(*NAMED, execute("c", 1)), ROLLBACK
    ),
    "its_statement_is_closed": flow(
        z(parse(SOME, "s", [23])),
        BEGIN,
        z(bind([b"3"], statement="s"), execute(limit=1)),
        z(bind([b"3"], portal="c", statement="s"), execute("c", 1)),
        z(close("S", "s")),
        z(bind([b"1"], portal="d"), execute(limit=1), execute("c", 1)),
        ROLLBACK,
        BEGIN,
        z(*UPTO3, execute()),
        z(parse(EMPTY), describe("S", "")),
        z(describe(), execute()),
        ROLLBACK,
    ),
    "where_sql_stands_on_it": flow(
        BEGIN,
        z(*NAMED, execute("c", 2)),
        ([query("UPDATE t SET v = v || '+' WHERE CURRENT OF c RETURNING id, v")], "Z"),
        ([query("DELETE FROM t WHERE CURRENT OF c")], "Z"),
        ROLLBACK,
        BEGIN,
        z(*NAMED, execute("c", 1)),
        z(parse("UPDATE t SET v = 'x' WHERE CURRENT OF c RETURNING id"), bind(), execute()),
        z(execute("c", 1)),
        ROLLBACK,
    ),
    "sql_looks_at_it": flow(
        BEGIN,
        z(*NAMED, execute("c", 1)),
        ([query("SELECT name FROM pg_cursors")], "Z"),
        ([query("FETCH 1 FROM c")], "Z"),
        z(execute("c", 1)),
        ([query("FETCH 1 FROM c")], "Z"),
        ([query("CLOSE c")], "Z"),
        z(execute("c", 1)),
        ROLLBACK,
    ),
    "savepoints": flow(
        BEGIN,
        z(*NAMED, execute("c", 1)),
        ([query("SAVEPOINT a")], "Z"),
        z(*UPTO3[:1], bind([b"3"], portal="d"), execute("d", 1)),
        ([query("SELECT 1/0")], "Z"),
        ([query("ROLLBACK TO a")], "Z"),
        z(execute("c", 1)),
        ([query(EMPTY)], "Z"),
        z(execute("d", 1)),
        ROLLBACK,
    ),
    "rolled_back_behind_an_error": flow(
        BEGIN,
        z(*NAMED, execute("c", 1)),
        z(execute("nope")),
        ROLLBACK,
        BEGIN,
        z(*NAMED, execute("c", 1)),
        z(execute("nope")),
        z(parse("ROLLBACK"), bind(), execute()),
        z(*NAMED, execute("c", 3)),
    ),
    "close_in_front": flow(
        z(close("P", ""), *UPTO3, execute()),
        z(close("P", "c"), *UPTO3, describe(), execute(limit=1)),
        BEGIN,
        z(close("P", ""), *UPTO3, execute(limit=1)),
        z(close("P", "c"), *UPTO3, describe(), execute()),
        COMMIT,
    ),
}

#: Several Executes in one batch are forwarded; what breaks behind its limit is never whole.
NO_HITS = {"several_in_one_batch", "an_error_behind_the_limit"}

#: Preparing as drivers do it.
P1 = parse(ONE, "s", [23])
WRITE = "INSERT INTO log (v) VALUES ($1) RETURNING v"
PREPARED: dict[str, list[Exchange]] = {
    "sync": flow(
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
        z(bind([b"2"], statement="s"), describe(), execute(limit=1)),
        z(describe("S", "s")),
    ),
    "flush": flow(
        ([P1, describe("S", "s"), FLUSH], "T"),
        z(bind([b"2"], statement="s"), execute()),
        ([parse(WRITE, "w"), describe("S", "w"), FLUSH], "T"),
        z(bind([b"x"], statement="w"), execute()),
    ),
    "in_a_block": flow(
        BEGIN,
        ([P1, describe("S", "s"), FLUSH], "T"),
        z(bind([b"2"], statement="s"), execute(limit=1)),
        ([parse(WRITE, "w"), describe("S", "w"), FLUSH], "T"),
        z(bind([b"x"], statement="w"), execute()),
        z(bind([b"2"], statement="s"), execute(limit=1)),
        ROLLBACK,
        z(bind([b"4"], statement="s"), execute()),
    ),
    "a_name_twice": flow(
        z(P1, describe("S", "s")),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
        z(close("S", "s")),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "a_name_twice_in_a_block": flow(
        z(P1, describe("S", "s")), BEGIN, ([P1, describe("S", "s"), FLUSH], "E"), z(), ROLLBACK
    ),
    "a_name_of_sql": flow(
        ([query("PREPARE s (int) AS SELECT 1")], "Z"),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
        ([query("DEALLOCATE s")], "Z"),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "a_name_of_code": flow(
        ([query("DO $$begin execute 'prepare s (int) as select 1'; end$$")], "Z"),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "a_close_that_is_skipped": flow(
        z(P1, describe("S", "s")),
        z(bind([b"x"], statement="s"), close("S", "s")),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "a_deallocate_that_fails": flow(
        z(P1, describe("S", "s")),
        BEGIN,
        ([query("SELECT 1/0")], "Z"),
        ([query("DEALLOCATE s")], "Z"),
        ROLLBACK,
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "executed_in_sql": flow(z(P1, describe("S", "s")), ([query("EXECUTE s (2)")], "Z")),
    "deallocated": flow(
        z(P1, describe("S", "s")),
        ([query("DEALLOCATE s")], "Z"),
        z(bind([b"2"], statement="s"), execute()),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "deallocate_all": flow(
        z(P1, describe("S", "s")),
        ([query("DEALLOCATE ALL")], "Z"),
        z(bind([b"2"], statement="s"), execute()),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "discard_all": flow(
        z(P1, describe("S", "s")),
        ([query("DISCARD ALL")], "Z"),
        z(bind([b"2"], statement="s"), execute()),
        z(P1, describe("S", "s")),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "in_flight": flow(
        (
            [P1, describe("S", "s"), SYNC, bind([b"2"], statement="s"), execute(), SYNC]
            + [parse(WRITE, "w"), describe("S", "w"), SYNC, bind([b"y"], statement="w")]
            + [execute(), SYNC, query("SELECT 1"), close("S", "s"), SYNC],
            "ZZZZZZ",
        ),
        z(bind([b"2"], statement="s"), execute()),
    ),
    "unnamed": flow(
        z(parse(ONE, "", [23]), describe("S", "")),
        z(bind([b"2"]), execute()),
        z(bind([b"4"]), execute()),
        ([parse(ONE, "", [23]), describe("S", ""), FLUSH], "T"),
        z(bind([b"2"]), execute(limit=1)),
        z(parse("SELEC"), describe("S", "")),
        z(bind([b"2"]), execute()),
    ),
    "errors": flow(
        z(parse("SELECT nothing FROM t", "s"), describe("S", "s")),
        z(bind(statement="s"), execute()),
        BEGIN,
        ([parse("SELECT nothing FROM t", "s"), describe("S", "s"), FLUSH], "E"),
        z(bind(statement="s"), execute()),
        z(P1, describe("S", "s")),
        COMMIT,
    ),
    "parameters_refused": flow(
        z(P1, describe("S", "s")),
        z(bind([b"x"], statement="s"), execute()),
        z(bind([], statement="s"), execute()),
        BEGIN,
        z(bind([b"x"], statement="s"), execute(limit=1)),
        z(bind([b"2"], statement="s"), execute(limit=1)),
        ROLLBACK,
    ),
    "set_transaction_behind": flow(
        BEGIN,
        z(P1, describe("S", "s")),
        ([query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")], "Z"),
        ROLLBACK,
    ),
    "no_data": flow(
        z(parse("INSERT INTO log (v) VALUES ('a')", "s"), describe("S", "s")),
        z(bind(statement="s"), describe(), execute()),
    ),
}


@dataclass
class Bench:
    howdah: Howdah
    server: PostgresServer
    database: str

    def direct(self, user: str = "postgres") -> Wire:
        return connect((self.server.host, self.server.port), self.database, user)

    def through(self, user: str = "postgres") -> Wire:
        return self.howdah.wire(self.database, user)

    def ready(self) -> Wire:
        """A session that gets hits."""
        wire = self.through()
        self.howdah.until_hit(wire)
        return wire


@pytest.fixture(scope="module")
def stage(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Bench:
    database = each_postgres.create_database(SCHEMA, name="portals")
    bench = Bench(shared_howdahs.of(each_postgres), each_postgres, database)
    bench.howdah.warm(bench.database)
    return bench


@pytest.fixture
def bench(stage: Bench) -> Bench:
    """All reads that are cached are in memory."""
    with stage.ready() as wire:
        for sql in SHAPES:
            for binary in (False, True):
                prime(stage, wire, [*limited(sql, 0, binary=binary), SYNC])
        for rows in (b"0", b"1", b"2", b"3"):
            prime(stage, wire, [parse(SOME, oids=[23]), bind([rows]), describe(), execute(), SYNC])
        prime(stage, wire, [parse(ONE, oids=[23]), bind([b"2"]), describe(), execute(), SYNC])
    return stage


def prime(bench: Bench, wire: Wire, messages: Sequence[bytes]) -> None:
    """Repeat a request until it comes from memory."""

    last: dict[str, float] = {}

    def attempt() -> bool:
        with bench.howdah.watching() as gained:
            wire.ask(*messages)
        last.clear()
        last.update(gained)
        return gained["hits"] == 1

    try:
        eventually(attempt, timeout=10.0)
    except AssertionError:
        raise AssertionError(f"no hit: {messages!r}: {last}") from None


def compare(bench: Bench, exchanges: list[Exchange], turns: int, *, fresh: bool) -> float:
    """Play directly and through Howdah; how many hits the first turn had.

    Args:
        turns: how often through Howdah.
        fresh: each time with a session of its own.
    """
    hits = []
    with ExitStack() as sessions:
        direct = sessions.enter_context(bench.direct())
        wire = sessions.enter_context(bench.ready())
        for turn in range(turns):
            expected = play(direct, exchanges)
            with bench.howdah.watching() as gained:
                found = play(wire, exchanges)
            hits.append(gained["hits"])
            for number, (one, other) in enumerate(zip(found, expected, strict=True)):
                same(one, other, f"exchange {number + 1} of turn {turn + 1}")
            if fresh:
                direct = sessions.enter_context(bench.direct())
                wire = sessions.enter_context(bench.ready())
    return hits[0]


@pytest.mark.parametrize("name", FLOWS)
def test_flow(bench: Bench, name: str) -> None:
    hits = compare(bench, FLOWS[name], 3, fresh=False)
    assert hits or name in NO_HITS


@pytest.mark.parametrize("name", PREPARED)
def test_prepared(bench: Bench, name: str) -> None:
    """The first session teaches, the others are told."""
    compare(bench, PREPARED[name], 3, fresh=True)


# What comes from memory


def test_limited_reads_come_from_memory(bench: Bench) -> None:
    with bench.ready() as wire, bench.howdah.hits_during(4):
        for limit, expected in (
            (1, "12TDsZ"),
            (5, "12TDDDDDsZ"),
            (6, "12TDDDDDCZ"),
            (2, "12TDDsZ"),
        ):
            assert kinds(wire.ask(*limited(ALL, limit), SYNC)) == expected


def test_a_limited_read_is_stored_where_it_was_all(bench: Bench) -> None:
    """What asyncpg's fetchrow sends: one row, and nobody knows if there is another."""
    sql = "SELECT v, id FROM t WHERE id = $1"
    run = (parse(sql, oids=[23]), bind([b"3"]), execute(limit=1), SYNC)
    with bench.ready() as wire, bench.ready() as other:
        assert kinds(wire.ask(*run)) == "12DsZ"
        with bench.howdah.hits_during(2):
            assert kinds(wire.ask(*run)) == "12DsZ"
            frames = other.ask(parse(sql, oids=[23]), bind([b"3"]), execute(), SYNC)
        assert tags(frames) == ["SELECT 1"]
        run = (parse(sql, oids=[23]), bind([b"77"]), execute(limit=1), SYNC)
        assert kinds(wire.ask(*run)) == "12CZ"
        with bench.howdah.hits_during(1):
            assert tags(wire.ask(*run)) == ["SELECT 0"]


def test_a_limited_read_of_more_rows_is_not_stored(bench: Bench) -> None:
    sql = "SELECT id AS several FROM t ORDER BY id"
    with bench.ready() as wire:
        rejected = bench.howdah.count("fills_rejected_total", cause="row_limit")
        with bench.howdah.watching() as gained:
            for _ in range(5):
                assert kinds(wire.ask(parse(sql), bind(), execute(limit=2), SYNC)) == "12DDsZ"
        assert gained["hits"] == 0
        # It is not tried each time.
        assert bench.howdah.count("fills_rejected_total", cause="row_limit") == rejected + 1
        assert gained["miss/not_cached"] == 1
        assert gained["bypass/portal"] == 4


def test_limited_reads_in_a_block_are_not_recorded(bench: Bench) -> None:
    """F5: inside a transaction the portal is the client's, no Execute of Howdah's moves it."""
    sql = "SELECT id AS inside FROM t WHERE id < 3 ORDER BY id"
    with bench.ready() as wire:
        wire.query("BEGIN")
        with bench.howdah.hits_during(0):
            assert kinds(wire.ask(parse(sql), bind(), execute(limit=1), SYNC)) == "12DsZ"
            assert kinds(wire.ask(execute(limit=1), SYNC)) == "DsZ"
            assert tags(wire.ask(execute(limit=1), SYNC)) == ["SELECT 0"]
        wire.query("COMMIT")


def test_a_portal_keeps_its_snapshot(bench: Bench) -> None:
    """Rows that come later are those of the moment of the Bind, whatever was written since."""
    run = (parse("SELECT id, v FROM other ORDER BY id"), bind(), execute(), SYNC)
    with bench.ready() as wire, bench.ready() as writer:
        prime(bench, wire, run)
        wire.query("BEGIN")
        with bench.howdah.hits_during(1):
            wire.ask(*run[:2], execute(limit=1), SYNC)
        writer.query("UPDATE other SET v = 'changed'")
        batch = (parse("SELECT count(*) FROM log", "z"), bind(portal="z", statement="z"))
        frames = wire.ask(*batch, execute("z"), execute(limit=1), SYNC)
        assert frames[4].values == [b"2", b"two"]
        frames = wire.ask(execute(limit=1), SYNC)
        assert frames[0].values == [b"3", b"three"]
        assert tags(wire.ask(execute(limit=1), SYNC)) == ["SELECT 0"]
        wire.query("COMMIT")
        assert wire.ask(*run)[2].values == [b"1", b"changed"]


def test_a_transaction_of_prepared_reads_stays_away_from_postgresql(bench: Bench) -> None:
    """What asyncpg sends in a new session: BEGIN, Parse and Describe with Flush, Bind, COMMIT."""
    prepare = (P1, describe("S", "s"), FLUSH)
    run = (bind([b"2"], statement="s"), execute(limit=1), SYNC)
    with bench.ready() as wire:
        wire.send(*prepare)
        wire.until("T")
        prime(bench, wire, run)
    with bench.ready() as wire, bench.direct() as other:
        with bench.howdah.hits_during(1):
            wire.query("BEGIN")
            wire.send(*prepare)
            assert kinds(wire.until("T")) == "1tT"
            assert kinds(wire.ask(*run)) == "2DsZ"
            assert wire.status == "T"
            # The BEGIN has not been sent: its last statement is the Parse, by itself.
            sql = f"SELECT state, query FROM pg_stat_activity WHERE pid = {wire.pid}"
            eventually(lambda: other.rows(sql) == [["idle", ONE]])
            wire.query("COMMIT")
        assert wire.rows("SELECT name FROM pg_prepared_statements") == [["s"]]
