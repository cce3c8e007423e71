"""Message sequences of the extended protocol: the same frames direct and through Howdah.

Every flow is a list of exchanges: what is written at once, and the type letters that
end it (`Z`, `ZZ` for two Syncs, or another letter after a Flush). Each flow runs
directly, and through Howdah three times on one session with the cache primed, so that
hits meet forwarded statements in every order (T3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import pytest

from tests.differential.styles import int4_array
from tests.differential.test_reads import same
from tests.fix_howdah import Howdah, SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    FLUSH,
    SYNC,
    Frame,
    Wire,
    bind,
    close,
    connect,
    describe,
    execute,
    parse,
    query,
)

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, a int[], i interval, f float8);
INSERT INTO t SELECT i, 'v' || i, i / 3.0, ARRAY[i, NULL], make_interval(days => -i),
    CASE i WHEN 1 THEN float8 'infinity' ELSE i END FROM generate_series(1, 20) i;
CREATE TABLE log (id serial, v text);
"""
ALL = "SELECT * FROM t ORDER BY id"
ONE = "SELECT v FROM t WHERE id = $1"
TWO = "SELECT v FROM t WHERE id = 2"
VALUE = struct.pack("!i", 2)

Exchange = tuple[list[bytes], str]


def flow(*exchanges: Exchange) -> list[Exchange]:
    return list(exchanges)


def z(*messages: bytes) -> Exchange:
    return [*messages, SYNC], "Z"


P1 = parse(ONE, "s", [23])
PING = [query("SELECT 1")], "Z"
TWO_Q = [query(TWO)], "Z"
GONE = z(close("S", "s"), close("S", "s2"))

FLOWS: dict[str, list[Exchange]] = {
    "bind_without_parse_40": flow(z(parse(TWO), bind(), execute()), *[z(bind(), execute())] * 3),
    "prepared_many_40": flow(z(P1), *[z(bind([b"2"], statement="s"), execute())] * 3, GONE),
    "prepared_binary": flow(
        z(P1, describe("S", "s")),
        z(bind([VALUE], statement="s", formats=[1], results=[1]), describe(), execute()),
        z(bind([VALUE], statement="s", formats=[1], results=[1]), execute()),
        GONE,
    ),
    "portal_partially_41": flow(
        z(parse(ALL), bind(), execute(limit=2), execute(limit=3), execute()),
        z(parse(ALL), bind(), execute()),
        z(parse(ALL), bind(), execute(limit=2)),
        z(parse(ALL), bind(), execute()),
    ),
    "portal_in_transaction_41": flow(
        ([query("BEGIN")], "Z"),
        z(parse(ALL), bind(portal="p"), execute("p", 5)),
        z(execute("p", 5)),
        z(execute("p", 100)),
        z(execute("p", 100)),
        ([query("COMMIT")], "Z"),
        z(execute("p")),
    ),
    "portal_exactly_exhausted": flow(z(parse(TWO), bind(), execute(limit=1), execute(limit=1))),
    "second_execute_41": flow(z(parse(TWO), bind(), execute(), execute())),
    "named_portal": flow(z(parse(TWO), bind(portal="p"), describe("P", "p"), execute("p"))),
    "portal_dropped_by_commit": flow(z(parse(TWO), bind(portal="p")), z(execute("p"))),
    "two_binds_42": flow(
        z(
            P1,
            bind([b"1"], statement="s"),
            describe(),
            execute(),
            bind([b"2"], statement="s"),
            describe(),
            execute(),
        ),
        GONE,
    ),
    "two_statements_42": flow(
        z(parse(TWO), bind(), execute(), parse(ALL), bind(), describe(), execute()), TWO_Q
    ),
    "error_mid_pipeline_42": flow(
        z(parse(TWO), bind(), execute(), parse("SELECT 1/0"), bind(), execute(), parse(TWO)),
        TWO_Q,
        z(parse(TWO), bind(), execute()),
    ),
    "error_in_parse": flow(z(parse("SELEC"), bind(), execute()), TWO_Q),
    "error_in_bind": flow(z(P1, bind([b"x"], statement="s"), execute()), TWO_Q, GONE),
    "error_bind_count": flow(z(P1, bind([], statement="s"), execute()), TWO_Q, GONE),
    "error_result_formats": flow(z(parse(TWO), bind(results=[0, 1, 1]), execute()), TWO_Q),
    "error_unknown_statement": flow(z(bind(statement="nope"), execute()), TWO_Q),
    "error_unknown_portal": flow(z(execute("nope")), TWO_Q),
    "error_describe_unknown": flow(z(describe("S", "nope")), TWO_Q),
    "error_duplicate_name": flow(z(P1), z(P1), z(bind([b"2"], statement="s"), execute()), GONE),
    "error_several_commands": flow(z(parse("SELECT 1; SELECT 2"), bind(), execute())),
    "error_then_flush_skipped": flow(([parse("SELEC"), FLUSH], "E"), z(parse(TWO), bind()), TWO_Q),
    "flush_after_execute_43": flow(([parse(TWO), bind(), execute(), FLUSH], "C"), z()),
    "flush_each_43": flow(
        ([parse(TWO), FLUSH], "1"),
        ([bind(), FLUSH], "2"),
        ([describe(), FLUSH], "T"),
        ([execute(), FLUSH], "C"),
        z(),
        TWO_Q,
    ),
    "describe_first_flush_43": flow(
        ([P1, describe("S", "s"), FLUSH], "T"),
        ([bind([b"2"], statement="s"), execute(), SYNC], "Z"),
        GONE,
    ),
    "flush_nothing": flow(([FLUSH, query(TWO)], "Z"), ([FLUSH, FLUSH, SYNC], "Z")),
    "two_unnamed_parses_44": flow(
        z(parse(TWO), parse("SELECT 3 FROM t WHERE id = 1"), bind(), execute()),
        z(bind(), execute()),
    ),
    "unnamed_replaced_by_query": flow(z(parse(TWO)), TWO_Q, z(bind(), execute())),
    "unnamed_replaced_by_error": flow(z(parse(TWO)), z(parse("SELEC")), z(bind(), execute())),
    "format_zero_45": flow(z(parse(ALL), bind(results=[]), describe(), execute())),
    "format_one_45": flow(z(parse(ALL), bind(results=[1]), describe(), execute())),
    "format_each_45": flow(z(parse(ALL), bind(results=[0, 1, 0, 1, 0, 1]), describe(), execute())),
    "format_after_format": flow(
        z(parse(TWO), bind(results=[0]), execute()),
        z(parse(TWO), bind(results=[1]), execute()),
        z(parse(TWO), bind(), execute()),
    ),
    "binary_array_parameter_45": flow(
        *[
            z(
                parse("SELECT id FROM t WHERE id = ANY ($1) ORDER BY id", oids=[1007]),
                bind([int4_array(3, 4).binary], formats=[1], results=[1]),
                describe(),
                execute(),
            )
        ]
        * 2
    ),
    "parameter_untyped": flow(z(parse(ONE), bind([b"2"]), describe(), execute())),
    "parameter_types_differ": flow(
        z(parse(ONE, oids=[23]), bind([b"2"]), execute()),
        z(parse(ONE, oids=[20]), bind([b"2"]), execute()),
        z(parse(ONE, oids=[21]), bind([b"2"]), execute()),
        z(parse(ONE, oids=[701]), bind([b"2"]), execute()),
    ),
    "parameter_forms_differ": flow(
        *[z(parse(ONE, oids=[23]), bind([v]), execute()) for v in (b"2", b" 2", b"02", b"+2")]
    ),
    "parameter_null_and_empty": flow(
        z(parse("SELECT id FROM t WHERE v = $1", oids=[25]), bind([None]), execute()),
        z(parse("SELECT id FROM t WHERE v = $1", oids=[25]), bind([b""]), execute()),
    ),
    "errors_stay_46": flow(
        ([query("SELECT 1/0")], "Z"), TWO_Q, z(parse("SELECT 1/0"), bind(), execute()), TWO_Q
    ),
    "close_then_use": flow(z(P1), z(close("S", "s")), z(bind([b"2"], statement="s"), execute())),
    "close_unknown": flow(z(close("S", "nope"), close("P", "nope"))),
    "close_portal": flow(z(parse(TWO), bind(portal="p"), close("P", "p"), execute("p"))),
    "deallocate": flow(
        z(P1),
        ([query("DEALLOCATE s")], "Z"),
        z(bind([b"2"], statement="s"), execute()),
        z(P1),
        GONE,
    ),
    "deallocate_all": flow(
        z(P1), ([query("DEALLOCATE ALL")], "Z"), z(bind([b"2"], statement="s"), execute())
    ),
    "discard_all": flow(
        z(P1), ([query("DISCARD ALL")], "Z"), z(bind([b"2"], statement="s"), execute()), TWO_Q
    ),
    "sql_prepared_then_bound": flow(
        ([query("PREPARE s (int) AS " + ONE)], "Z"), z(bind([b"2"], statement="s"), execute()), GONE
    ),
    "parsed_then_sql_executed": flow(z(P1), ([query("EXECUTE s (2)")], "Z"), GONE),
    "describe_statement_only": flow(z(parse(ALL), describe("S", "")), TWO_Q),
    "bind_only": flow(z(parse(TWO), bind())),
    "sync_only": flow(([SYNC, SYNC, SYNC], "ZZZ"), TWO_Q),
    "syncs_in_flight": flow(
        (
            [parse(TWO), bind(), execute(), SYNC]
            + [parse(ALL), bind(), describe(), execute(), SYNC]
            + [parse("SELECT 1/0"), bind(), execute(), SYNC]
            + [parse(TWO), bind(), execute(), SYNC],
            "ZZZZ",
        )
    ),
    "queries_in_flight": flow(([query(TWO), query("SELECT 1"), query(TWO), query(ALL)], "ZZZZ")),
    "mixed_in_flight": flow(
        ([query(TWO), parse(TWO), bind(), execute(), SYNC, query("SELECT 1/0"), query(TWO)], "ZZZZ")
    ),
    "hit_then_forward_in_flight": flow(TWO_Q, ([query(TWO), query("SELECT pg_sleep(0)")], "ZZ")),
    "forward_then_hit_in_flight": flow(TWO_Q, ([query("SELECT pg_sleep(0.01)"), query(TWO)], "ZZ")),
    "begin_in_pipeline": flow(
        z(parse("BEGIN"), bind(), execute(), parse(TWO), bind(), execute()),
        TWO_Q,
        ([query("COMMIT")], "Z"),
    ),
    "implicit_pipeline_transaction": flow(
        z(
            *[parse("INSERT INTO log (v) VALUES ('x')"), bind(), execute()],
            *[parse("SELECT count(*) > 0 FROM log"), bind(), execute()],
        ),
    ),
    "empty_query": flow(([query("")], "Z"), ([query(";")], "Z"), z(parse(""), bind(), execute())),
    "no_rows_update": flow(
        z(parse("UPDATE t SET v = v WHERE false"), bind(), describe(), execute())
    ),
    "insert_returning_limit": flow(
        z(parse("INSERT INTO log (v) VALUES ('a'), ('b') RETURNING v"), bind(), execute(limit=1))
    ),
    "copy_out_extended": flow(z(parse("COPY t (id) TO STDOUT"), bind(), execute()), TWO_Q),
    "copy_in_without_data": flow(
        ([parse("COPY log (v) FROM STDIN"), bind(), execute(), SYNC, b"c\0\0\0\4", SYNC], "Z"),
        TWO_Q,
    ),
    "fetch": flow(
        ([query("BEGIN; DECLARE c SCROLL CURSOR FOR " + ALL)], "Z"),
        ([query("FETCH 3 FROM c")], "Z"),
        ([query("FETCH BACKWARD 1 FROM c")], "Z"),
        ([query("ROLLBACK")], "Z"),
    ),
    "notice": flow(([query("DO $$BEGIN RAISE NOTICE 'hello'; END$$")], "Z"), TWO_Q),
    "error_fields": flow(
        ([query("INSERT INTO t (id) VALUES (1)")], "Z"),
        ([query("SELECT nothing FROM t")], "Z"),
        (
            [
                query(
                    "DO $$BEGIN RAISE 'm' USING DETAIL = 'd', HINT = 'h', ERRCODE = '22012'; END$$"
                )
            ],
            "Z",
        ),
    ),
    "unused": flow(PING, TWO_Q, PING, TWO_Q),
}


@dataclass
class Bench:
    howdah: Howdah
    direct: tuple[str, int]
    database: str


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Bench:
    database = each_postgres.create_database(SCHEMA, name="protocol")
    howdah = shared_howdahs.of(each_postgres)
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        howdah.until_hit(wire, TWO)
    return Bench(howdah, (each_postgres.host, each_postgres.port), database)


def play(wire: Wire, exchanges: list[Exchange]) -> list[list[Frame]]:
    found = []
    for messages, ends in exchanges:
        wire.send(*messages)
        frames: list[Frame] = []
        for kind in ends:
            frames += wire.until(kind)
        found.append(frames)
    return found


@pytest.mark.parametrize("name", FLOWS)
def test_flow(bench: Bench, name: str) -> None:
    exchanges = FLOWS[name]
    with connect(bench.direct, bench.database) as direct:
        expected = [play(direct, exchanges) for _ in range(3)]
    with bench.howdah.wire(bench.database) as wire:
        bench.howdah.until_hit(wire)
        for turn in range(3):
            found = play(wire, exchanges)
            for number, (one, other) in enumerate(zip(found, expected[turn], strict=True)):
                same(one, other, f"exchange {number + 1} of run {turn + 1}")


@pytest.mark.parametrize("name", FLOWS)
def test_flow_byte_by_byte(bench: Bench, name: str) -> None:
    """The same flows with every byte in a packet of its own."""
    exchanges = FLOWS[name]
    with connect(bench.direct, bench.database) as direct:
        expected = play(direct, exchanges)
    with bench.howdah.wire(bench.database) as wire:
        for number, (messages, ends) in enumerate(exchanges):
            data = b"".join(messages)
            for at in range(len(data)):
                wire.socket.sendall(data[at : at + 1])
            frames: list[Frame] = []
            for kind in ends:
                frames += wire.until(kind)
            same(frames, expected[number], f"exchange {number + 1}")


def test_extended_hits_in_a_transaction(bench: Bench) -> None:
    """BEGIN, a hit, COMMIT in the extended protocol: no statement reaches PostgreSQL (T1, T2)."""
    with bench.howdah.wire(bench.database) as wire:
        bench.howdah.until_hit(wire)
        wire.extended(TWO)
        with bench.howdah.hits_during(2):
            wire.extended("BEGIN")
            assert wire.status == "T"
            wire.extended(TWO)
            assert wire.status == "T"
            wire.query(TWO)
            wire.extended("COMMIT")
            assert wire.status == "I"


def test_prepared_once_executed_by_many(bench: Bench) -> None:
    """Every session prepares for itself, and all share one entry."""
    for number in range(3):
        with bench.howdah.wire(bench.database) as wire:
            bench.howdah.until_hit(wire)
            wire.ask(P1, describe("S", "s"), SYNC)
            with bench.howdah.hits_during(0 if number == 0 else 2):
                wire.ask(bind([b"17"], statement="s"), execute(), SYNC)
                if number:
                    wire.ask(bind([b"17"], statement="s"), execute(), SYNC)


def test_unnamed_plan_not_pinned_47(bench: Bench) -> None:
    """After a transaction with a write the session gets hits again."""
    with bench.howdah.wire(bench.database) as wire:
        bench.howdah.until_hit(wire)
        wire.extended("BEGIN")
        wire.extended("INSERT INTO log (v) VALUES ('y')")
        wire.extended(TWO)
        wire.extended("COMMIT")
        wire.extended(TWO)
        with bench.howdah.hits_during(1):
            wire.extended(TWO)


def test_cached_plan_must_not_change_result_type(bench: Bench) -> None:
    """R2: a statement prepared before the DDL fails as it would have, not a hit."""
    with bench.howdah.wire(bench.database) as wire, bench.howdah.wire(bench.database) as ddl:
        wire.query("CREATE TABLE changing (id int); INSERT INTO changing VALUES (1)")
        wire.ask(parse("SELECT * FROM changing", "c"), SYNC)
        for _ in range(3):
            wire.ask(bind(statement="c"), execute(), SYNC)
        ddl.query("ALTER TABLE changing ADD COLUMN more int")
        # The same text, prepared afterwards elsewhere, puts a tempting entry in the cache.
        run = (bind(statement="c"), execute(), SYNC)

        def cached() -> bool:
            # Prepared under the fence of the DDL it stays forwarded: prepared each time.
            ddl.ask(close("S", "c"), parse("SELECT * FROM changing", "c"), SYNC)
            with bench.howdah.watching() as gained:
                ddl.ask(*run)
            return gained["hits"] == 1

        eventually(cached)
        for _ in range(2):
            frames = wire.ask(*run)
            assert frames[0].kind == "E", frames
            assert frames[0].fields["C"] == "0A000"
        ddl.query("DROP TABLE changing")
