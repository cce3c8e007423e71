"""Large messages and slow readers: everything passes, memory stays bounded."""

from __future__ import annotations

import socket
import threading

import psutil
import pytest

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import SYNC, bind, describe, execute, parse, query, rows

MB = 1_000_000


def rss(howdah: Howdah) -> int:
    """Bytes of memory of the process."""
    assert howdah.process is not None
    size: int = psutil.Process(howdah.process.pid).memory_info().rss
    return size


def test_text_of_50_mb(howdah: Howdah, database: str) -> None:
    with howdah.wire(database) as wire:
        frames = wire.query(f"SELECT repeat('x', {50 * MB})")
        assert len(frames[1].payload) == 50 * MB + 6


def test_bind_of_20_mb(howdah: Howdah, database: str) -> None:
    with howdah.wire(database) as wire:
        wire.send(parse("SELECT length($1), left($1, 3)", oids=[25]))
        wire.send(bind([b"abc" + b"z" * (20 * MB)]), describe(), execute(), SYNC)
        assert rows(wire.until()) == [[str(20 * MB + 3), "abc"]]


def test_query_of_5_mb(howdah: Howdah, database: str) -> None:
    with howdah.wire(database) as wire:
        text = "y" * (5 * MB)
        assert wire.rows(f"SELECT length('{text}') FROM public.probe LIMIT 1") == [[str(5 * MB)]]
        assert wire.rows("SELECT 1") == [["1"]]


def test_big_write_is_fenced(howdah: Howdah, postgres: PostgresServer, database: str) -> None:
    """A statement too long to be analysed evicts everything it could change."""
    sql = "SELECT v FROM public.probe WHERE id = 1"
    howdah.warm(database)
    with howdah.wire(database) as reader, howdah.wire(database) as writer:
        howdah.until_hit(reader)
        writer.query(f"UPDATE public.probe SET v = 3 WHERE 'a' <> '{'b' * (2 * MB)}'")
        assert reader.rows(sql) == [["3"]]
        writer.send(parse("UPDATE public.probe SET v = $1 WHERE length($2) > 1", oids=[23, 25]))
        writer.send(bind([b"4", b"c" * (2 * MB)]), execute(), SYNC)
        writer.until()
        assert reader.rows(sql) == [["4"]]


def test_answer_over_the_entry_limit_is_not_kept(howdah: Howdah, database: str) -> None:
    with howdah.wire(database) as wire:
        wire.query("CREATE TABLE big (v text); INSERT INTO big SELECT repeat('x', 30000000)")
        before = howdah.count("cache_bytes")
        for _ in range(3):
            assert not howdah.is_hit(wire, "SELECT v FROM big")
        assert howdah.count("cache_bytes") - before < MB


@pytest.mark.parametrize("cached_table", [False, True], ids=["forwarded", "offered"])
def test_slow_reader_has_bounded_memory(
    start_howdah, postgres: PostgresServer, database: str, cached_table: bool
) -> None:
    """400 MB towards a client that does not read: back-pressure reaches PostgreSQL."""
    howdah = start_howdah()
    source = "SELECT repeat('x', 100000) FROM generate_series(1, 4000)"
    if cached_table:
        postgres.run(
            database,
            "CREATE TABLE lots (v text)",
            "ALTER TABLE lots ALTER v SET STORAGE EXTERNAL",
            "INSERT INTO lots SELECT repeat('x', 100000) FROM generate_series(1, 40)",
        )
        source = "SELECT a.v FROM lots a CROSS JOIN (SELECT id FROM public.probe) b"
        source += " CROSS JOIN (SELECT id FROM public.probe) c"
    howdah.warm(database)
    with howdah.wire(database) as wire, howdah.wire(database) as other:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        base = rss(howdah)
        wire.send(query(source))
        wire.frame()
        out = howdah.count("bytes_total", direction="upstream_in")

        def steady() -> bool:
            nonlocal out
            last, out = out, howdah.count("bytes_total", direction="upstream_in")
            return last == out

        eventually(steady)
        assert other.rows("SELECT 1") == [["1"]]
        assert rss(howdah) - base < 60 * MB
        total = 0
        while True:
            frame = wire.frame()
            total += len(frame.payload)
            if frame.kind == "Z":
                break
        assert total > 399 * MB
        assert rss(howdah) - base < 60 * MB


def test_slow_server_has_bounded_memory(
    start_howdah, postgres: PostgresServer, database: str
) -> None:
    """A client that sends far ahead of a busy backend is held back."""
    howdah = start_howdah()
    with howdah.wire(database) as wire, howdah.wire(database) as other:
        base = rss(howdah)
        wire.send(query("SELECT pg_advisory_lock(7)"))
        wire.until()
        other.send(query("SELECT pg_advisory_lock(7)"))
        chunk = query("SELECT length('" + "q" * MB + "')")
        sent = 0

        def flood() -> None:
            nonlocal sent
            try:
                for _ in range(200):
                    other.socket.sendall(chunk)
                    sent += 1
            except OSError:
                pass

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        last = [-1]

        def steady() -> bool:
            previous, last[0] = last[0], sent
            return previous == sent and sent > 0

        eventually(steady)
        with howdah.wire(database) as third:
            assert third.rows("SELECT 1") == [["1"]]
        assert rss(howdah) - base < 100 * MB
        wire.query("SELECT pg_advisory_unlock(7)")
        for _ in range(201):
            other.until()
        thread.join(20)
        assert sent == 200
