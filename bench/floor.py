"""Two bare uvloop servers: the least that a proxy in Python can cost on this machine.

`echo` answers each chunk that it has seen before with one dictionary lookup and one write: no
proxy can give more hits per second. `relay` passes bytes on unseen: no proxy can add less to a
forwarded statement. Neither is correct or safe, and both speak trust authentication only.

Run as `python -m bench.floor echo PORT` or `python -m bench.floor relay PORT UPSTREAM_PORT`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import ClassVar, cast

import uvloop


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


# What PostgreSQL answers to `select abalance from pgbench_accounts where aid = ...`.
READY = _message(b"Z", b"I")
DESCRIPTION = _message(b"T", struct.pack("!h9sihihih", 1, b"abalance\0", 16400, 3, 23, 4, -1, 0))
ROWS = _message(b"D", struct.pack("!hi", 1, 1) + b"0") + _message(b"C", b"SELECT 1\0")
REPLIES = {
    ord("Q"): DESCRIPTION + ROWS + READY,
    ord("P"): _message(b"1"),
    ord("B"): _message(b"2"),
    ord("D"): DESCRIPTION,
    ord("E"): ROWS,
    ord("S"): READY,
}
GREETING = (
    _message(b"R", struct.pack("!i", 0))
    + _message(b"S", b"server_version\x0015.0\0")
    + _message(b"S", b"client_encoding\0UTF8\0")
    + _message(b"S", b"standard_conforming_strings\0on\0")
    + _message(b"K", struct.pack("!ii", 1, 1))
    + READY
)


def _set_nodelay(transport: asyncio.Transport) -> None:
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Echo(asyncio.Protocol):
    """Canned replies; whole messages per chunk are taken for granted, as pgbench sends them."""

    known: ClassVar[dict[bytes, bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.started = False
        _set_nodelay(self.transport)

    def data_received(self, data: bytes) -> None:
        reply = self.known.get(data)
        if reply is None:
            reply = self._compose(data)
        self.transport.write(reply)

    def _compose(self, data: bytes) -> bytes:
        if not self.started:
            self.started = True
            return GREETING
        reply, position = b"", 0
        while position < len(data):
            reply += REPLIES.get(data[position], b"")
            position += 1 + int.from_bytes(data[position + 1 : position + 5], "big")
        self.known[data] = reply
        return reply


class Upstream(asyncio.Protocol):
    """The relay's server side: bytes go to the client as they come."""

    def __init__(self, client: asyncio.Transport) -> None:
        self.client = client

    def data_received(self, data: bytes) -> None:
        self.client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.client.close()


class Relay(asyncio.Protocol):
    """The relay's client side: bytes go to the server as they come."""

    upstream_port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.client = cast(asyncio.Transport, transport)
        self.server: asyncio.Transport | None = None
        _set_nodelay(self.client)
        self.early = b""  # a pause here would be undone: uvloop starts reading after this call
        self.connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        self.server, _ = await asyncio.get_running_loop().create_connection(
            lambda: Upstream(self.client), "127.0.0.1", self.upstream_port
        )
        _set_nodelay(self.server)
        self.server.write(self.early)

    def data_received(self, data: bytes) -> None:
        if self.server is None:
            self.early += data
        else:
            self.server.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.server is not None:
            self.server.close()


async def _serve(kind: str, port: int) -> None:
    factory = Echo if kind == "echo" else Relay
    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    kind, port, *rest = sys.argv[1:]
    if kind == "relay":
        Relay.upstream_port = int(rest[0])
    uvloop.run(_serve(kind, int(port)))


if __name__ == "__main__":
    main()
