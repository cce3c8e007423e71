"""Rules at their edges, on real servers: what views and partitions hide, and who looks away."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from proxy.app import Howdah as App
from proxy.policy.rules import EMPTY
from proxy.settings import load
from tests.admin.test_rules_live import PROBE, outcome
from tests.fix_howdah import ROOT, Howdah, check, upstream_url
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import SYNC, Wire, bind, describe, errors, execute, message, parse, rows
from tests.unit.policy.test_rules import rules

Changing = Callable[[str], None]
LAX = "  - {relations: public.probe, ttl: 1ms, stale_while_revalidate: 1h}\n"
NESTED = (
    "CREATE TABLE base (a int)",
    "CREATE VIEW v2 AS SELECT a FROM base",
    "CREATE VIEW v1 AS SELECT a FROM v2",
    "CREATE TABLE p1 (a int)",
    "CREATE TABLE p (a int) PARTITION BY LIST (a)",
    "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1)",
    "CREATE TABLE p2 PARTITION OF p DEFAULT",
    "CREATE TABLE kid () INHERITS (base)",
    "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM v2'",
    'CREATE SCHEMA "s.x"',
    'CREATE TABLE "s.x".dotted (a int)',
)


@pytest.fixture(scope="module")
def reloading(
    each_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Howdah, Changing]]:
    """A Howdah of these tests alone, and what gives it other rules."""
    path = tmp_path_factory.mktemp("rules") / "howdah.yaml"
    path.write_text("rules: []\n")
    howdah = Howdah(upstream_url(each_postgres), "--config", str(path)).start()

    def change(text: str) -> None:
        start = len(howdah.log)
        new = path.with_suffix(".new")
        new.write_text(f"rules:\n{text}")
        new.replace(path)
        howdah.signal(signal.SIGHUP)
        eventually(lambda: "configuration reloaded: " in howdah.log[start:])

    try:
        yield howdah, change
        howdah.stop()
        check(howdah)
    finally:
        howdah.destroy()


@pytest.fixture
def live(
    reloading: tuple[Howdah, Changing], each_postgres: PostgresServer
) -> tuple[Howdah, Changing, PostgresServer, str]:
    """Both, the server, and a new database."""
    return (*reloading, each_postgres, each_postgres.create_database())


@contextmanager
def locked(server: PostgresServer, database: str) -> Iterator[psycopg.Connection]:
    """Who reads `probe` waits, until the block ends or the lock is given back."""
    with server.connect(database) as owner:
        owner.autocommit = True
        owner.execute("BEGIN")
        owner.execute("LOCK TABLE public.probe")
        yield owner


def test_rules_reach_what_views_partitions_and_functions_reach(live) -> None:
    howdah, change, server, database = live
    server.run(database, *NESTED)
    reads = {
        "v1": "SELECT a FROM v1",
        "v2": "SELECT a FROM v2",
        "p": "SELECT a FROM p",
        "p1": "SELECT a FROM p1",
        "p2": "SELECT a FROM p2",
        "f": "SELECT f() FROM public.probe",
        "dotted": 'SELECT a FROM "s.x".dotted',
    }
    expected = {
        "v2": {"v1", "v2", "f"},
        "public.base": {"v1", "v2", "f"},
        "kid": {"v1", "v2", "f"},
        "v1": {"v1"},
        "p2": {"p", "p2"},
        "p1": {"p", "p1"},
        "p": {"p", "p1", "p2"},
        "dotted": {"dotted"},
    }
    with howdah.wire(database) as wire:
        for relation, off in expected.items():
            change(f"  - {{relations: {relation}, cache: off}}\n")
            howdah.until_hit(wire)
            seen = {name: outcome(howdah, wire, sql) for name, sql in reads.items()}
            found = {name for name, how in seen.items() if how == "bypass/rule_off"}
            assert found == off, relation


def test_an_audience_is_left_though_the_context_is_dead(live) -> None:
    howdah, change, _, database = live
    change('  - {application_name: "off*", cache: off}\n')
    with howdah.wire(database) as one, howdah.wire(database) as two:
        howdah.until_hit(one)
        howdah.until_hit(two)
        one.query("BEGIN")
        one.query("SELECT v, random() FROM public.probe")
        # Answers depend on one more setting from now on: every context is outdated.
        two.query("SELECT v, current_setting('my.x', true) FROM public.probe")
        one.query("SET LOCAL application_name = 'off 1'")
        assert outcome(howdah, one, PROBE) == "bypass/rule_off"
        one.query("ROLLBACK")
        howdah.until_hit(one)


def test_stale_answers_of_statements_that_are_described_behind_a_flush(live) -> None:
    howdah, change, _, database = live
    change(LAX)
    sql = "SELECT v FROM public.probe WHERE id = $1"
    with howdah.wire(database) as one, howdah.wire(database) as other:

        def stale() -> bool:
            asked = parse(sql, oids=[23]), bind([b"1"]), describe(), execute(), SYNC
            with howdah.watching() as gained:
                other.ask(*asked)
            return "stale/" in gained

        eventually(stale)
        rejected = howdah.count("fills_rejected_total")
        one.send(parse(sql, "s", [23]), describe("S", "s"), message("H"))
        one.until("T")
        with howdah.watching() as gained:
            found = one.ask(bind([b"1"], statement="s"), execute(), SYNC)
        assert rows(found) == [["0"]]
        assert "stale/" in gained
        one.query("SELECT 1")
        assert howdah.count("fills_rejected_total") == rejected


def test_what_is_behind_a_slow_request_in_the_background(live) -> None:
    """It waits for that, and is answered as by PostgreSQL alone; who leaves does not wait."""
    howdah, change, server, database = live
    change(LAX)
    server.run(
        database,
        "CREATE SCHEMA other",
        "CREATE TABLE other.probe AS SELECT 1 AS id, 22 AS v",
        "REVOKE ALL ON public.probe FROM PUBLIC",
    )

    def begin(wire: Wire) -> None:
        def stale() -> bool:
            return outcome(howdah, wire, PROBE).startswith("stale/")

        eventually(stale)

    with howdah.wire(database) as wire:
        for statement, sql, expected in (
            ("SET search_path = other", "SELECT v FROM probe WHERE id = 1", "22"),
            ("SET ROLE alice", PROBE, "42501"),
            ("CREATE TEMP TABLE probe AS SELECT 1 AS id, 7 AS v", "SELECT v FROM probe", "7"),
        ):
            begin(wire)
            with locked(server, database) as owner:
                begin(wire)
                timer = threading.Timer(0.05, owner.execute, ("ROLLBACK",))
                timer.start()
                assert not errors(wire.query(statement))
                timer.join()
            found = wire.query(sql)
            assert [expected] == (errors(found) or rows(found)[0])
            wire.query("DISCARD ALL")
            howdah.until_hit(wire, "SELECT id FROM other.probe")
        begin(wire)
        with locked(server, database):
            begin(wire)
            wire.send(message("X"))
            assert wire.closed()


def test_no_pattern_and_no_hint_holds_up_the_others(live) -> None:
    howdah, change, _, database = live
    change("  - {pattern: '.*secret.*', cache: off}\n  - {pattern: '(a+)+$', ttl: 1h}\n")
    with howdah.wire(database) as wire, howdah.wire(database) as other:
        howdah.until_hit(wire)
        for sql in (
            f"SELECT v, '{'x' * 200_000}' FROM public.probe",
            f"SELECT v, '{'a' * 60}b' FROM public.probe",
            f"/* howdah: off{' ' * 200_000}x */ SELECT v FROM public.probe",
        ):
            assert not errors(wire.query(sql))
            assert other.rows(PROBE) == [["0"]]
        # Comments may be nested.
        assert outcome(howdah, wire, f"/* /* */ */ /* howdah: off */ {PROBE}") == "bypass/hint_off"


def test_the_file_that_was_read_last_is_in_force() -> None:
    """Two reloads at once: the first one's file is read slowly."""
    first, second = rules("rules: [{ttl: 1s}]"), rules("rules: [{ttl: 2s}]")
    url = "postgresql://howdah@127.0.0.1:1/postgres"
    settings = load({"upstream": url}, {}, lambda name: "")
    read = threading.Event()
    begun = threading.Event()
    files = iter((first, second))

    def slowly():
        found = next(files)
        if found is first:
            begun.set()
            read.wait(0.2)
        return replace(settings, rules=found, reload=slowly)

    async def twice() -> App:
        app = App(replace(settings, rules=EMPTY, reload=slowly))
        one = asyncio.create_task(app.reload())
        await asyncio.to_thread(begun.wait)
        two = asyncio.create_task(app.reload())
        await asyncio.wait((one, two), return_when=asyncio.FIRST_COMPLETED)
        read.set()
        await asyncio.gather(one, two)
        return app

    assert asyncio.run(twice()).engine.rules == second


def test_the_start_gate_waits_as_long_as_a_rule_lets_answers_live() -> None:
    """F11: where Howdah's role cannot see what others do, the longest max_age has to pass."""
    url = "postgresql://howdah@127.0.0.1:1/postgres"
    for text, patience in (
        ("rules: []", 60.0),
        ("rules: [{relations: t, max_age: 1s}]", 60.0),
        ("rules: [{relations: t, max_age: 1h}]", 3600.0),
        ("rules: [{relations: t, max_age: none}]", float("inf")),
    ):
        app = App(replace(load({"upstream": url}, {}, lambda name: ""), rules=rules(text)))
        assert app.watch._patience == patience


def test_diff_says_what_it_does_not_know(live, tmp_path: Path) -> None:
    howdah, change, server, database = live
    server.run(
        database,
        "CREATE FUNCTION dynamic() RETURNS int LANGUAGE plpgsql AS"
        " $$BEGIN EXECUTE 'SELECT 1'; RETURN 1; END$$",
    )
    change('  - {name: "\U0001f418", relations: probe, ttl: 1h}\n')
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        wire.query("SELECT dynamic()")
        wire.query("/* howdah: off */ SELECT v AS hinted FROM public.probe")
    new = tmp_path / "new.yaml"
    new.write_text(
        "upstream: postgresql://howdah@db/x\n"
        "rules:\n  - {relations: probe, cache: off}\n"
        "  - {function: public.dynamic, reads: []}\n"
    )
    command = [sys.executable, "-m", "proxy", "check", "--diff", "--config", str(new)]
    found = subprocess.run(
        [*command, "--http", howdah.http], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    assert "  now   cached, ttl 1h (rule '\U0001f418')\n" in found
    assert "  but   not where a hint says off, as it did the last time\n" in found
    assert "    SELECT dynamic()" in found
    assert "Relations were tried as SHOW QUERIES shows them" in found
