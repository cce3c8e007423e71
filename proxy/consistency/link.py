"""One connection to PostgreSQL or to what stands in front of it: raw protocol, exact times.

What lives here: bytes out, messages in, when they came. What must not: SQL. A connection
that fails raises `Lost`, after which nobody knows what became of the request in flight.
Follows the chapter "Frontend/Backend Protocol".
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from proxy.consistency.login import Login, startup
from proxy.errors import UpstreamError
from proxy.net.tls import upstream_context
from proxy.upstream import Upstream
from proxy.wire.framing import HEADER
from proxy.wire.messages import TERMINATE, data_row, fields
from proxy.wire.startup import CANCEL_CODE, SSL_REQUEST

clock = time.monotonic
Row = list[bytes | None]

#: Seconds after which an answer counts as lost. Below `history.LONGEST`.
PATIENCE = 60.0
_READY, _ERROR, _ROW, _TAG = b"ZEDC"
_LENGTH = struct.Struct("!i")
#: SQLSTATEs of a login that will not work next time either.
_REFUSED = ("28000", "28P01", "3D000", "42501")


class Lost(Exception):
    """The connection is gone, or an answer did not come in time."""


@dataclass(slots=True)
class Reply:
    """What came back. `begin` is before the first byte out, `end` after the last one in."""

    begin: float
    end: float = 0.0
    rows: list[Row] = field(default_factory=list)
    tags: list[bytes] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The SQLSTATE of the first error, or nothing."""
        return self.errors[0].get("C", "?") if self.errors else ""


class Link(asyncio.Protocol):
    """A connection that has logged in. Made by `open_link`.

    Attributes:
        pid: of the backend, as it was told at the login.
        status: the transaction status after the last request: I, T or E.
        prepared: by their text, the names of the statements that were prepared here, and how
            often each may still be used.
    """

    def __init__(self) -> None:
        self.pid = 0
        self.key = b""
        self.status = "I"
        self.prepared: dict[str, tuple[bytes, int]] = {}
        self.since = 0.0
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._reply: Reply | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._until = _READY
        self._count = 0
        self._why = ""
        self._login: Login | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._waiter is not None:
            self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._reply is not None and self._reply.errors:
            error = self._reply.errors[-1]
            self._fail(f"{error.get('C')} {error.get('M')}")
        self._fail(str(exc) if exc else "closed")

    def _fail(self, why: str) -> None:
        waiter, self._waiter = self._waiter, None
        self._why = self._why or why
        if waiter is not None and not waiter.done():
            waiter.set_exception(Lost(self._why))

    # requests

    @property
    def alive(self) -> bool:
        return self._transport is not None

    async def ask(self, data: bytes, until: int = _READY, count: int = 1) -> Reply:
        """Send `data`; wait for `count` messages of type `until`, or another's error.

        Raises:
            Lost: the connection is gone.
        """
        if self._transport is None:
            raise Lost(self._why or "closed")
        waiter = asyncio.get_running_loop().create_future()
        self._waiter, self._until, self._count = waiter, until, count
        self.since = begin = clock()
        self._reply = Reply(begin)
        if data:
            self._transport.write(data)
        if self._buffer:
            self._pump()
        try:
            reply: Reply = await waiter
        except asyncio.CancelledError:
            self.reset()
            raise
        finally:
            self.since = 0.0
        if reply.errors and reply.errors[-1].get("V") in ("FATAL", "PANIC"):
            self.reset()
            raise Lost(f"{reply.state} {reply.errors[-1].get('M')}")
        return reply

    def post(self, data: bytes) -> None:
        """Send and wait for nothing; a connection that is gone swallows it."""
        if self._transport is not None:
            self._transport.write(data)

    def _pump(self) -> None:
        """Take the messages that are there, up to the end of the request in flight."""
        buffer, reply, until = self._buffer, self._reply, self._until
        assert reply is not None
        at, size = 0, len(buffer)
        while size - at >= HEADER:
            kind = buffer[at]
            stop = at + 1 + _LENGTH.unpack_from(buffer, at + 1)[0]
            if stop > size:
                break
            if kind == _ROW:
                reply.rows.append(data_row(bytes(buffer[at + HEADER : stop])))
            elif kind == _TAG:
                reply.tags.append(bytes(buffer[at + HEADER : stop - 1]))
            elif kind == _READY:
                self.status = chr(buffer[at + HEADER])
            elif kind == _ERROR:
                reply.errors.append(fields(bytes(buffer[at + HEADER : stop])))
            else:
                self._other(kind, bytes(buffer[at + HEADER : stop]))
            at = stop
            if kind == until:
                self._count -= 1
            if (kind == until and not self._count) or (kind == _ERROR and until != _READY):
                self._done(reply)
                break
        del buffer[:at]

    def _done(self, reply: Reply) -> None:
        reply.end = clock()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(reply)

    def _other(self, kind: int, payload: bytes) -> None:
        if kind == ord("K"):
            self.pid, self.key = int.from_bytes(payload[:4], "big"), payload
        elif kind == ord("R") and self._login is not None:
            try:
                self.post(self._login.answer(payload))
            except UpstreamError as error:
                self._fail(f"{error.sqlstate} {error.message}")

    # ends

    def reset(self) -> None:
        """Close with a RST, as a killed client does."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        raw = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        self._fail("reset by the checker")

    def close(self) -> None:
        """Terminate politely."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.write(TERMINATE)
            transport.close()
        self._fail("closed by the checker")

    async def enter(self, where: Upstream, database: str, name: str) -> None:
        """Log in. Raises `Lost`."""
        self._login = Login(where.user, where.password, secrets.token_urlsafe(18))
        parameters = {
            "user": where.user,
            "database": database,
            "client_encoding": "UTF8",
            "application_name": name,
        }
        await self.ask(startup(parameters))
        self._login = None


async def open_link(where: Upstream, name: str) -> Link:
    """Connect and log in, with application_name `name`.

    Raises:
        Lost: not now, perhaps later.
        UpstreamError: it was refused.
    """
    link = Link()
    try:
        await asyncio.wait_for(_connect(where, lambda: link), PATIENCE)
    except (OSError, TimeoutError, EOFError) as error:
        raise Lost(str(error) or type(error).__name__) from None
    try:
        await link.enter(where, where.dbname, name)
    except Lost as lost:
        link.reset()
        if str(lost).startswith(_REFUSED):
            raise UpstreamError(f"{where}: {lost}") from None
        raise
    return link


async def _connect(where: Upstream, factory: Callable[[], Link]) -> None:
    loop = asyncio.get_running_loop()
    if where.socket_dir is not None:
        await loop.create_unix_connection(factory, where.address)
        return
    context = upstream_context(where.sslmode, where.sslrootcert)
    if context is None or not await _offers_tls(where):
        if where.sslmode.startswith(("require", "verify")):
            raise UpstreamError(f"{where.address} has no TLS, and sslmode={where.sslmode}")
        await loop.create_connection(factory, where.host, where.port)
        return
    raw = socket.create_connection((where.host, where.port), PATIENCE)
    raw.sendall(SSL_REQUEST)
    raw.recv(1)
    raw.setblocking(False)
    await loop.create_connection(factory, sock=raw, ssl=context, server_hostname=where.host)


async def _offers_tls(where: Upstream) -> bool:
    reader, writer = await asyncio.open_connection(where.host, where.port)
    try:
        writer.write(SSL_REQUEST)
        return await reader.readexactly(1) == b"S"
    finally:
        writer.close()


async def cancel(where: Upstream, link: Link) -> None:
    """Ask the server to cancel what runs on `link`; nobody knows whether it will."""
    try:
        if where.socket_dir is not None:
            _, writer = await asyncio.open_unix_connection(where.address)
        else:
            _, writer = await asyncio.open_connection(where.host, where.port)
        writer.write(struct.pack("!ii", len(link.key) + 8, CANCEL_CODE) + link.key)
        await writer.drain()
        writer.close()
    except OSError:
        pass
