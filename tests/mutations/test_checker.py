"""The checker against this Howdah: with `--mutation`, whether it finds that one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.fix_howdah import ROOT, Starter
from tests.fix_pg import PostgresServer

SECONDS = 25  # with a mutation; the first violation ends it
PLAIN_SECONDS = 2


def test_checker_finds_nothing(
    request: pytest.FixtureRequest, start_howdah: Starter, postgres: PostgresServer
) -> None:
    """No violation; links break and backends are terminated meanwhile."""
    howdah = start_howdah()
    database = postgres.create_database(name="checked")
    howdah.warm(database)
    seconds = SECONDS if request.config.getoption("--mutation") else PLAIN_SECONDS
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "consistency", "--stop-at-first"]
        + ["--through", howdah.dsn(database), "--direct", postgres.dsn(database)]
        + ["--http", howdah.http, "--seconds", str(seconds), "--clients", "12"]
        + ["--chaos", "terminate", "--chaos", "reset", "--chaos-every", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 2, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout
