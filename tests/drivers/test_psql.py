"""psql and pgbench through Howdah."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.drivers.shop import Place, compare
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer

SCRIPT = r"""
\set ON_ERROR_STOP off
\pset pager off
\encoding
SELECT * FROM item ORDER BY id LIMIT 3;
SELECT * FROM item ORDER BY id LIMIT 3;
SELECT * FROM item ORDER BY id LIMIT 3;
SELECT * FROM item ORDER BY id LIMIT 3;
\x on
SELECT name, price FROM item WHERE id = 4;
\x off
\d item
\dt
\dn+
\df
\copy account to pstdout csv
CREATE TABLE copied (id int, balance bigint);
\copy copied from pstdin csv
1,10
2,20
\.
SELECT sum(balance) FROM copied;
BEGIN;
SELECT balance FROM account WHERE id = 1;
UPDATE account SET balance = balance + 5 WHERE id = 1;
SELECT balance FROM account WHERE id = 1;
SAVEPOINT s;
SELECT 1 / 0;
SELECT balance FROM account WHERE id = 1;
ROLLBACK TO s;
SELECT balance FROM account WHERE id = 1;
ROLLBACK;
SELECT balance FROM account WHERE id = 1;
\set number 3
SELECT name FROM item WHERE id = :number;
SELECT name FROM item WHERE id = $1 \bind 5 \g
SELECT name FROM item WHERE id = $1 \bind 5 \g
\gdesc
SELECT id FROM item ORDER BY id LIMIT 2 \gx
SELECT 'SELECT ' || id FROM item WHERE id < 3 ORDER BY id \gexec
\set FETCH_COUNT 10
SELECT id FROM item ORDER BY id LIMIT 25;
\unset FETCH_COUNT
SELECT 1; SELECT 2 \; SELECT 3;
SELECT nonsense;
\errverbose
SET search_path = pg_catalog;
SELECT count(*) FROM item;
RESET search_path;
DO $$BEGIN RAISE NOTICE 'noted'; END$$;
LISTEN x;
NOTIFY x;
DROP TABLE copied;
"""
# What differs by nature: the pid of a notification.
PID = re.compile(r"PID \d+")


def psql(server: PostgresServer, place: Place, script: str, *flags: str) -> str:
    done = subprocess.run(
        [server.tool("psql"), "-X", "-d", place.dsn, *flags],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    return PID.sub("PID", done.stdout + "\n-- errors\n" + done.stderr)


def test_psql(each_howdah: Howdah, each_postgres: PostgresServer) -> None:
    def session(place: Place) -> str:
        return psql(each_postgres, place, SCRIPT)

    compare(each_howdah, each_postgres, session)


def test_psql_single_transaction(howdah: Howdah, postgres: PostgresServer) -> None:
    def session(place: Place) -> str:
        script = "UPDATE account SET balance = 5;\nSELECT * FROM account ORDER BY id;\nSELECT 1/0;"
        failed = psql(postgres, place, script, "-1", "-v", "ON_ERROR_STOP=1")
        after = psql(postgres, place, "SELECT * FROM account ORDER BY id;")
        return failed + after + psql(postgres, place, "SELECT * FROM account ORDER BY id;")

    compare(howdah, postgres, session, hits=False)


def pgbench(server: PostgresServer, howdah: Howdah, database: str, *flags: str) -> str:
    done = subprocess.run(
        [server.tool("pgbench"), "-h", howdah.host, "-p", str(howdah.port), "-U", "postgres"]
        + [*flags, database],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def transactions(output: str) -> tuple[int, int]:
    """How many were processed and how many failed."""
    processed = re.search(r"transactions actually processed: (\d+)", output)
    failed = re.search(r"failed transactions: (\d+)", output)
    assert processed is not None, output
    return int(processed[1]), int(failed[1]) if failed else 0


@pytest.fixture(scope="module")
def accounts(postgres: PostgresServer, shared_howdahs) -> str:
    """`pgbench -i` through Howdah."""
    howdah = shared_howdahs.of(postgres)
    database = postgres.create_database(name="pgbench")
    output = pgbench(postgres, howdah, database, "-i", "-s", "2", "-q", "--foreign-keys")
    assert "done" in output
    assert postgres.run(database, "SELECT count(*) FROM pgbench_accounts") == [(200_000,)]
    howdah.warm(database)
    return database


BALANCES = """
SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
    (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(delta) FROM pgbench_history)
"""


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_tpcb(howdah: Howdah, postgres: PostgresServer, accounts: str, mode: str) -> None:
    """No failed transaction, balances agree, and what is cached agrees with them."""
    seconds = "5" if mode == "simple" else "2"
    with howdah.wire(accounts) as wire:
        howdah.until_hit(wire, BALANCES)
        output = pgbench(postgres, howdah, accounts, "-n", "-c8", "-j2", "-T", seconds, "-M", mode)
        processed, failed = transactions(output)
        assert processed > 50
        assert failed == 0
        [balances] = wire.rows(BALANCES)
        [direct] = postgres.run(accounts, BALANCES)
        assert balances == [str(value) for value in direct]
        assert len(set(balances)) == 1


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
def test_pgbench_select_only(
    howdah: Howdah, postgres: PostgresServer, accounts: str, mode: str
) -> None:
    """Random accounts of a small range: most statements are hits."""
    script = postgres.root / "select.sql"
    script.write_text(
        "\\set aid random(1, 100)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
    )
    with howdah.watching() as gained:
        output = pgbench(
            postgres, howdah, accounts, *["-n", "-c4", "-t500", "-M", mode, "-f", str(script)]
        )
    assert transactions(output) == (2000, 0)
    assert gained["hits"] > 1000, gained


def test_pgbench_read_write_mix(howdah: Howdah, postgres: PostgresServer, accounts: str) -> None:
    """Reads that check their own writes: a stale answer fails the script."""
    script = postgres.root / "own_writes.sql"
    script.write_text(
        "\\set aid random(1, 20)\n"
        "SELECT abalance AS before FROM pgbench_accounts WHERE aid = :aid \\gset\n"
        "BEGIN;\n"
        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid RETURNING"
        " abalance AS wrote \\gset\n"
        "COMMIT;\n"
        "SELECT abalance AS after FROM pgbench_accounts WHERE aid = :aid \\gset\n"
        "\\if :after < :wrote\n"
        "SELECT 1 / 0;\n"
        "\\endif\n"
    )
    output = pgbench(
        postgres, howdah, accounts, *["-n", "-c6", "-t100", "-M", "prepared", "-f", str(script)]
    )
    assert transactions(output) == (600, 0)
