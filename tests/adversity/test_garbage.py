"""Bytes that are not the protocol: one clear end, no hang, other clients unharmed."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import SYNC, Wire, connect, message, parse, query, startup

GREETING = startup(user="postgres", database="postgres")

BEFORE_STARTUP = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
    "zeros": bytes(64),
    "ones": b"\xff" * 64,
    "random": bytes(range(256)) * 4,
    "length_0": struct.pack("!II", 0, 196608),
    "length_7": struct.pack("!II", 7, 196608),
    "length_8_no_parameters": struct.pack("!II", 8, 196608),
    "length_huge": struct.pack("!II", 0x7FFFFFFF, 196608),
    "length_negative": struct.pack("!iI", -1, 196608),
    "no_terminator": struct.pack("!II", 16, 196608) + b"userpost",
    "odd_parameters": struct.pack("!II", 19, 196608) + b"user\0a\0b\0\0\0",
    "no_user": struct.pack("!II", 20, 196608) + b"database\0x\0\0",
    "cancel_too_short": struct.pack("!III", 12, 80877102, 1),
    "cancel_too_long": struct.pack("!II", 1000, 80877102) + bytes(992),
    "ssl_with_rest": struct.pack("!II", 12, 80877103) + bytes(4),
    "not_utf8": struct.pack("!II", 20, 196608) + b"user\0\xff\xfe\xfd\0\0\0\0",
    "message_without_startup": query("SELECT 1"),
}

AFTER_STARTUP = {
    "unknown_type": message("@", b"abc"),
    "lower_case_type": message("z"),
    "zero_type": b"\0\0\0\0\4",
    "length_0": b"Q" + struct.pack("!I", 0),
    "length_3": b"Q" + struct.pack("!I", 3),
    "length_negative": b"Q" + struct.pack("!i", -5) + b"x" * 32,
    "length_huge": b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"x" * 32,
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "ones": b"\xff" * 100,
    "startup_again": GREETING,
    "password_unasked": message("p", b"x\0"),
    "query_without_terminator": message("Q", b"SELECT 1"),
    "query_with_zero_inside": message("Q", b"SELECT 1\0; DROP TABLE x\0"),
    "query_empty_body": message("Q"),
    "query_not_utf8": message("Q", b"SELECT '\xff\xfe'\0"),
    "parse_truncated": message("P", b"name\0SELECT 1\0\0\5") + SYNC,
    "parse_no_zero": message("P", b"name") + SYNC,
    "bind_truncated": parse("SELECT $1::int") + message("B", b"\0\0\0\0\0\1\0\0\0\x50ab") + SYNC,
    "bind_counts": parse("SELECT $1::int") + message("B", b"\0\0\xff\xff\xff\xff") + SYNC,
    "describe_kind": message("D", b"X\0") + SYNC,
    "close_kind": message("C", b"Y\0") + SYNC,
    "execute_short": message("E", b"\0") + SYNC,
    "sync_with_body": message("S", b"xyz"),
    "copy_data_unasked": message("d", b"data") + query("SELECT 1"),
    "function_call_short": message("F", b"\0\0") + SYNC,
    "terminate_with_body": message("X", b"xyz"),
}


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    """One for all: nothing here changes data."""
    return postgres.create_database()


@pytest.fixture
def other(howdah: Howdah, database: str) -> Iterator[Wire]:
    """A well-behaved client beside the bad one; it must see nothing of it."""
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        yield wire
        assert wire.rows("SELECT v FROM public.probe WHERE id = 1") == [["0"]]
        assert wire.rows("SELECT 2") == [["2"]]
        # What nobody understands may have written and evicted (F9); then it is filled again.
        howdah.until_hit(wire)


@pytest.mark.parametrize("name", BEFORE_STARTUP)
def test_before_startup(howdah: Howdah, other: Wire, name: str) -> None:
    wire = Wire(howdah.address)
    try:
        wire.send(BEFORE_STARTUP[name])
        wire.socket.shutdown(1)
        assert wire.closed()
    except OSError:
        pass  # it was quicker to close than we to shut down
    wire.socket.close()


@pytest.mark.parametrize("name", ["http", "zeros", "length_huge", "length_7", "no_user"])
def test_before_startup_ends_without_our_help(howdah: Howdah, name: str) -> None:
    """Howdah closes by itself, where PostgreSQL would, and answers nothing but an error."""
    wire = Wire(howdah.address)
    wire.send(BEFORE_STARTUP[name])
    data = b""
    try:
        while chunk := wire.socket.recv(65536):
            data += chunk
    except ConnectionError:
        pass
    assert data[:1] in (b"", b"E")
    wire.socket.close()


# Asks for no answer, so that a client which leaves at once need not see the error.
STAYS = {"password_unasked"}


def outcome(wire: Wire, name: str) -> list[object]:
    """What a client sees: types and SQLSTATEs up to the end."""
    found: list[object] = []
    wire.send(AFTER_STARTUP[name])
    if name not in STAYS:
        wire.socket.shutdown(1)
    try:
        while True:
            frame = wire.frame()
            found.append((frame.kind, frame.fields.get("C")) if frame.kind == "E" else frame.kind)
    except (EOFError, ConnectionError):
        return found


@pytest.mark.parametrize("name", AFTER_STARTUP)
def test_after_startup(
    howdah: Howdah, postgres: PostgresServer, database: str, other: Wire, name: str
) -> None:
    """The same errors as PostgreSQL gives, or one protocol violation, then the end."""
    direct = connect((postgres.host, postgres.port), database)
    expected = outcome(direct, name)
    direct.socket.close()
    wire = howdah.wire(database)
    found = outcome(wire, name)
    wire.socket.close()
    assert found in (expected, [("E", "08P01")]), f"directly: {expected}"


@pytest.mark.parametrize("keep", [1, 3, 4, 5, 8, 20])
def test_truncated_startup(howdah: Howdah, other: Wire, keep: int) -> None:
    wire = Wire(howdah.address)
    wire.send(GREETING[:keep])
    wire.socket.close()


@pytest.mark.parametrize("keep", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_truncated_message(
    howdah: Howdah, postgres: PostgresServer, database: str, other: Wire, keep: int, how: str
) -> None:
    """A client that dies inside a message: its backend goes too."""
    wire = howdah.wire(database, application_name="truncated")
    wire.send(query("UPDATE public.probe SET v = 1")[:keep])
    if how == "reset":
        wire.reset()
    else:
        wire.socket.close()
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'truncated'"
    with postgres.connect("postgres") as admin:
        eventually(lambda: admin.execute(sql).fetchone() == (0,))


def test_silent_client_holds_nothing(howdah: Howdah, other: Wire) -> None:
    silent = [Wire(howdah.address) for _ in range(20)]
    assert other.rows("SELECT 3") == [["3"]]
    for wire in silent:
        wire.socket.close()


def test_cancel_storm(howdah: Howdah, other: Wire) -> None:
    for _ in range(50):
        wire = Wire(howdah.address)
        wire.send(struct.pack("!IIII", 16, 80877102, 1, 1))
        wire.reset()


def test_random_garbage(howdah: Howdah, database: str, other: Wire) -> None:
    """Whatever arrives, before and after the startup packet."""
    for size in (1, 5, 17, 100, 5000):
        data = os.urandom(size)
        for start in (b"", GREETING):
            wire = Wire(howdah.address)
            try:
                wire.send(start + data)
                wire.socket.shutdown(1)
                wire.closed()
            except OSError:
                pass
            wire.socket.close()


def test_upstream_speaks_garbage(start_howdah: Callable[..., Howdah]) -> None:
    """What answers at the upstream address is no PostgreSQL: an end, and no traceback."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\nwhat is this?" * 10)
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    port = server.getsockname()[1]
    howdah = start_howdah(upstream=f"postgresql://howdah@127.0.0.1:{port}/postgres", ready=False)
    eventually(lambda: "ready listen=" in howdah.log or not howdah.alive)
    if howdah.alive:
        howdah.wait_ready()
        wire = Wire(howdah.address)
        wire.send(GREETING)
        assert wire.closed()
        wire.socket.close()
        assert howdah.get("/healthz")[0] == 200
    server.close()
