"""Unix sockets on both sides, IPv6, several listeners."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.fix_howdah import Starter
from tests.fix_pg import PostgresServer
from tests.fix_tools import free_port, has_ipv6
from tests.fix_wire import connect


def test_upstream_by_unix_socket(postgres: PostgresServer, start_howdah: Starter) -> None:
    howdah = start_howdah(
        upstream=f"postgresql://howdah@/postgres?host={postgres.socket_dir}&port={postgres.port}"
    )
    with howdah.wire("postgres") as wire:
        assert wire.rows("SELECT inet_server_addr() IS NULL") == [["t"]]
        wire.send(b"X\0\0\0\4")
    database = postgres.create_database()
    howdah.warm(database)


def test_clients_by_unix_socket(
    postgres: PostgresServer, start_howdah: Starter, tmp_path: Path
) -> None:
    port = free_port()
    howdah = start_howdah("--unix-socket", str(tmp_path), "--listen", f"127.0.0.1:{port}")
    path = tmp_path / f".s.PGSQL.{port}"
    with connect(str(path), "postgres") as wire:
        assert wire.rows("SELECT 1") == [["1"]]
    dsn = f"host={tmp_path} port={port} dbname=postgres user=postgres"
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    howdah.stop()
    assert not path.exists()


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6_both_sides(postgres: PostgresServer, start_howdah: Starter) -> None:
    howdah = start_howdah(
        *["--listen", "[::1]:0"],
        upstream=f"postgresql://howdah@[::1]:{postgres.port}/postgres",
    )
    assert howdah.host == "::1"
    with howdah.wire("postgres") as wire:
        assert wire.rows("SELECT family(inet_server_addr())") == [["6"]]


def test_two_listeners(postgres: PostgresServer, start_howdah: Starter) -> None:
    first, second = free_port(), free_port()
    howdah = start_howdah("--listen", f"127.0.0.1:{first},127.0.0.1:{second}")
    for port in (first, second):
        with connect(("127.0.0.1", port), "postgres") as wire:
            assert wire.rows("SELECT 1") == [["1"]]
    assert howdah.alive


def test_host_by_name(postgres: PostgresServer, start_howdah: Starter) -> None:
    howdah = start_howdah(upstream=f"postgresql://howdah@localhost:{postgres.port}/postgres")
    with howdah.wire("postgres") as wire:
        assert wire.rows("SELECT 1") == [["1"]]
