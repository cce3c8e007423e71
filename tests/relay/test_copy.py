"""COPY in both directions, and replication's COPY BOTH."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    COPY_DONE,
    Wire,
    connect,
    copy_data,
    copy_fail,
    errors,
    kinds,
    query,
    tags,
)


@pytest.fixture
def wire(howdah: Howdah, database: str) -> Iterator[Wire]:
    connection = howdah.wire(database)
    connection.query("CREATE TABLE copied (id int, v text)")
    yield connection
    connection.close()


def test_copy_in_and_out(wire: Wire) -> None:
    wire.send(query("COPY copied FROM STDIN"))
    assert kinds(wire.until("G")) == "G"
    for i in range(1000):
        wire.send(copy_data(b"%d\tvalue %d\n" % (i, i)))
    wire.send(COPY_DONE)
    assert tags(wire.until()) == ["COPY 1000"]
    frames = wire.query("COPY copied TO STDOUT")
    assert [f.payload for f in frames if f.kind == "d"] == [
        b"%d\tvalue %d\n" % (i, i) for i in range(1000)
    ]


def test_copy_in_failed_by_client(wire: Wire) -> None:
    wire.send(query("COPY copied FROM STDIN"))
    wire.until("G")
    wire.send(copy_data(b"1\ta\n"), copy_fail("changed my mind"))
    frames = wire.until()
    assert errors(frames) == ["57014"]
    assert "changed my mind" in frames[0].fields["M"]
    assert wire.rows("SELECT count(*) FROM copied") == [["0"]]


def test_copy_in_refused_early_swallows_the_rest(wire: Wire) -> None:
    """The server fails at the first row; what the client still sends is ignored."""
    wire.send(query("COPY copied FROM STDIN"))
    wire.until("G")
    wire.send(copy_data(b"x\ta\n"))
    for _ in range(500):
        wire.send(copy_data(b"1\t" + b"y" * 1000 + b"\n"))
    wire.send(COPY_DONE)
    assert errors(wire.until()) == ["22P02"]
    assert wire.rows("SELECT 1") == [["1"]]


def test_query_instead_of_copy_done(
    wire: Wire, howdah: Howdah, postgres: PostgresServer, database: str
) -> None:
    """A Query in copy-in mode: PostgreSQL gives up the connection, and nothing was run."""

    def play(victim: Wire) -> list[str]:
        victim.query("INSERT INTO copied VALUES (1, 'kept')")
        victim.send(query("COPY copied FROM STDIN"))
        victim.until("G")
        victim.send(query("DELETE FROM copied"))
        found = []
        try:
            while True:
                found.append(victim.frame().fields["C"])
        except (EOFError, ConnectionError):
            return found

    with connect((postgres.host, postgres.port), database) as direct:
        expected = play(direct)
    assert play(wire) == expected
    with howdah.wire(database) as other:
        assert other.rows("SELECT count(*) FROM copied") == [["2"]]


def test_client_lost_in_copy(howdah: Howdah, postgres: PostgresServer, database: str) -> None:
    """A client that dies during COPY commits nothing, and its backend goes."""
    postgres.run(database, "CREATE TABLE copied (v text)")
    wire = howdah.wire(database, application_name="dies")
    wire.send(query("COPY copied FROM STDIN"))
    wire.until("G")
    wire.send(copy_data(b"half\n"))
    wire.reset()

    def gone() -> bool:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dies'"
        return postgres.run(database, sql) == [(0,)]

    eventually(gone)
    assert postgres.run(database, "SELECT count(*) FROM copied") == [(0,)]


@pytest.mark.parametrize("size", [10, 200_000])
def test_copy_binary_with_psycopg(howdah: Howdah, database: str, size: int) -> None:
    with psycopg.connect(howdah.dsn(database), autocommit=True) as connection:
        connection.execute("CREATE TABLE copied (id int, v text)")
        with connection.cursor() as cursor:
            with cursor.copy("COPY copied FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "text"])
                for i in range(size // 10):
                    copy.write_row((i, "x" * 10))
            with cursor.copy("COPY copied TO STDOUT (FORMAT BINARY)") as copy:
                copy.set_types(["int4", "text"])
                assert sum(1 for _ in copy.rows()) == size // 10


def run_tool(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=timeout, check=False, cwd="/"
    )


@pytest.fixture
def small_server(each_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server without the databases of other tests: a backup copies all of them."""
    server = PostgresServer(f"{each_postgres.name}-small", each_postgres.bindir)
    try:
        server.create()
        yield server
    finally:
        server.destroy()


def test_basebackup(
    small_server: PostgresServer, start_howdah: Callable[..., Howdah], tmp_path: Path
) -> None:
    """A physical replication connection: BASE_BACKUP and, beside it, streamed WAL."""
    howdah = start_howdah(server=small_server)
    target = tmp_path / "backup"
    done = run_tool(
        *[small_server.tool("pg_basebackup"), "-D", str(target), "-X", "stream"],
        *["-h", howdah.host, "-p", str(howdah.port), "-U", "postgres", "-c", "fast"],
    )
    assert done.returncode == 0, done.stderr
    assert (target / "PG_VERSION").exists()
    checked = run_tool(small_server.tool("pg_verifybackup"), str(target))
    assert checked.returncode == 0, checked.stderr


def test_recvlogical(each_howdah: Howdah, each_postgres: PostgresServer, tmp_path: Path) -> None:
    """START_REPLICATION on a logical connection; changes arrive while it runs."""
    database = each_postgres.create_database("CREATE TABLE streamed (id int PRIMARY KEY)")
    target = tmp_path / "changes"
    base = [each_postgres.tool("pg_recvlogical"), "-h", each_howdah.host, "-U", "postgres"]
    base += ["-p", str(each_howdah.port), "-d", database, "--slot", "through_howdah"]
    created = run_tool(*base, "--create-slot", "-P", "test_decoding")
    assert created.returncode == 0, created.stderr
    try:
        end = ["--start", "-f", str(target), "--fsync-interval", "0", "-s", "1"]
        process = subprocess.Popen([*base, *end], stderr=subprocess.PIPE, cwd="/")
        try:
            with each_howdah.wire(database) as wire:
                wire.query("INSERT INTO streamed VALUES (42)")
            eventually(lambda: target.exists() and "42" in target.read_text())
        finally:
            process.terminate()
            process.communicate(timeout=20)
    finally:
        # The walsender may need a moment to see that its client has gone.
        eventually(lambda: run_tool(*base, "--drop-slot").returncode == 0)


def test_sql_on_a_logical_replication_connection(
    howdah: Howdah, postgres: PostgresServer, database: str
) -> None:
    """It can write, and evicts like any other session (R1)."""
    howdah.warm(database)
    with howdah.wire(database) as reader:
        howdah.until_hit(reader)
        with howdah.wire(database, replication="database") as wire:
            assert kinds(wire.query("IDENTIFY_SYSTEM"))[0] == "T"
            assert tags(wire.query("UPDATE public.probe SET v = 77")) == ["UPDATE 10"]
            assert reader.rows("SELECT v FROM public.probe WHERE id = 1") == [["77"]]
            wire.query("BEGIN")
            wire.query("UPDATE public.probe SET v = 78")
            wire.query("COMMIT")
            assert reader.rows("SELECT v FROM public.probe WHERE id = 1") == [["78"]]


def test_physical_replication_commands(howdah: Howdah, postgres: PostgresServer) -> None:
    with howdah.wire("replication", replication="true") as wire:
        frames = wire.query("IDENTIFY_SYSTEM")
        assert kinds(frames) == "TDCZ"
        assert errors(wire.query("SELECT 1")) != []
