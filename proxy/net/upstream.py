"""The connection to PostgreSQL: TCP or Unix socket, with TLS as sslmode says.

What lives here: reaching the server and the protocol class that hands its bytes
to the session. What must not: what the bytes mean.

Follows "SSL Session Encryption" of the protocol chapter (one byte answers the
SSLRequest; bytes that follow it in plain text are refused, CVE-2021-23222).
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol, cast

from proxy.errors import UpstreamError
from proxy.net import tls
from proxy.net.flow import Hold, Valve
from proxy.wire import startup

# Seconds for reaching the server, TLS included.
CONNECT_TIMEOUT = 15.0

# SQLSTATE cannot_connect_now: libpq tries the next host of its list on it.
_UNREACHABLE = "57P03"

_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))


@dataclass(frozen=True, slots=True)
class Target:
    """Where PostgreSQL is and how its hop is encrypted.

    Attributes:
        host, port: for TCP; the port also names the socket file.
        socket_dir: directory of the Unix socket, instead of `host`.
        sslmode: libpq's words; TLS is never spoken over a Unix socket.
        context: made by `tls.upstream_context`; None for sslmode=disable.
    """

    host: str
    port: int
    socket_dir: str | None = None
    sslmode: str = "prefer"
    context: ssl.SSLContext | None = None

    def __str__(self) -> str:
        if self.socket_dir is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def path(self) -> str:
        """The socket file."""
        return f"{self.socket_dir}/.s.PGSQL.{self.port}"


class Owner(Protocol):
    """The side that an upstream connection belongs to; implemented by `net.client`."""

    def from_upstream(self, data: bytes) -> None: ...
    def upstream_lost(self) -> None: ...
    def upstream_slow(self, slow: bool) -> None: ...


class Upstream(asyncio.Protocol):
    """One connection to PostgreSQL.

    Attributes:
        transport, valve: set once the connection stands.
        session, flush: the session that takes the bytes, once they flow straight in.
        address: what it is connected to, for cancel requests; None for a Unix socket.
        secure: the hop is encrypted.
        ended: done when the connection is gone.
    """

    transport: asyncio.Transport
    valve: Valve

    def __init__(self, traffic: dict[str, int]) -> None:
        self.session: Any = None
        self.owner: Owner | None = None
        self.address: tuple[str, int] | None = None
        self.secure = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._traffic = traffic
        self._flush: Any = None
        self._answer: asyncio.Future[bytes] | None = None
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.valve = Valve(self.transport)
        peer = transport.get_extra_info("peername")
        if isinstance(peer, tuple):
            self.address = (peer[0], peer[1])
        set_options(transport)

    def attach(self, owner: Owner) -> None:
        """Hand the bytes to `owner.from_upstream`, those that came early included."""
        self.owner = owner
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            owner.from_upstream(early)

    def straight(self, session: Any, flush: Any) -> None:
        """From now on `session.from_server` takes the bytes and `flush` drains it."""
        self.session, self._flush = session, flush

    def data_received(self, data: bytes) -> None:
        session = self.session
        if session is not None:
            self._traffic["upstream_in"] += len(data)
            try:
                session.from_server(data, monotonic())
            except Exception as error:
                assert self.owner is not None
                self.owner.failed(error)  # type: ignore[attr-defined]
                return
            self._flush()
        elif self._answer is not None:
            # Nothing may follow the answer in plain text; until the TLS layer reads,
            # the rest stays in the kernel.
            self.valve.hold(Hold.CONNECTING)
            if not self._answer.done():
                self._answer.set_result(data)
        elif self.owner is not None:
            self._traffic["upstream_in"] += len(data)
            self.owner.from_upstream(data)
        else:
            self._early += data

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("connection closed"))
        if not self.ended.done():
            self.ended.set_result(None)
        if self.owner is not None:
            self.owner.upstream_lost()

    def pause_writing(self) -> None:
        if self.owner is not None:
            self.owner.upstream_slow(True)

    def resume_writing(self) -> None:
        if self.owner is not None:
            self.owner.upstream_slow(False)

    async def encrypt(self, context: ssl.SSLContext, hostname: str) -> bool:
        """Ask for TLS and start it; False where the server does not speak it.

        Raises:
            OSError, ssl.SSLError: the handshake failed.
            UpstreamError: the answer is not one of the protocol's.
        """
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self.transport.write(startup.SSL_REQUEST)
        answer = await self._answer
        self._answer = None
        if answer == b"N":
            self.valve.release(Hold.CONNECTING)
            return False
        if answer != b"S":
            raise UpstreamError("the server's answer to SSLRequest is not S or N")
        transport = await loop.start_tls(self.transport, self, context, server_hostname=hostname)
        assert transport is not None
        self.transport = transport
        self.valve.moved(transport)
        self.valve.release(Hold.CONNECTING)
        self.secure = True
        return True


def set_options(transport: asyncio.BaseTransport) -> None:
    """TCP_NODELAY and keepalive; nothing to do on a Unix socket."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    except OSError:
        return  # the peer has gone already; the next read says so


async def connect(
    target: Target,
    traffic: dict[str, int],
    *,
    address: tuple[str, int] | None = None,
    timeout: float = CONNECT_TIMEOUT,
) -> Upstream:
    """Connect to `target`, or to the very `address` of it, within `timeout` seconds.

    Raises:
        UpstreamError: it cannot be reached, or not as sslmode demands; one sentence
            that names the server and the reason.
    """
    try:
        async with asyncio.timeout(timeout):
            link = await _reach(target, traffic, address)
            if target.context is None or target.socket_dir is not None:
                return link
            try:
                if await link.encrypt(target.context, target.host):
                    return link
                problem = "the server does not support TLS"
            except BaseException as error:
                link.transport.abort()
                if target.sslmode != "prefer" or not isinstance(error, OSError):
                    raise
                # As libpq: where TLS is only preferred, a second try goes without.
                return await _reach(target, traffic, address)
            if target.sslmode == "prefer":
                return link
            link.transport.abort()
            raise UpstreamError(f"sslmode={target.sslmode}, but {problem}")
    except UpstreamError as error:
        message = f"cannot connect to PostgreSQL at {target}: {error.message}"
        raise UpstreamError(message, sqlstate=_UNREACHABLE) from None
    except OSError as error:
        message = f"cannot connect to PostgreSQL at {target}: {why(error)}"
        raise UpstreamError(message, sqlstate=_UNREACHABLE) from None


async def _reach(
    target: Target, traffic: dict[str, int], address: tuple[str, int] | None
) -> Upstream:
    loop = asyncio.get_running_loop()
    if target.socket_dir is not None:
        _, link = await loop.create_unix_connection(lambda: Upstream(traffic), target.path)
        return link
    host, port = address or (target.host, target.port)
    _, link = await loop.create_connection(lambda: Upstream(traffic), host, port)
    return link


def why(error: OSError) -> str:
    """What the operating system says, once, without the address that is named already."""
    if isinstance(error, ssl.SSLError):
        return tls.handshake_problem(error)
    if isinstance(error, socket.gaierror):
        return f"host name not resolved: {error.strerror}"
    if error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionError):
        return "connection closed by the server"
    # asyncio folds several addresses into one message; name each cause once.
    causes = {part for part in ("Connection refused", "No route to host") if part in str(error)}
    if "Connect call failed" in str(error):
        causes.add("connection refused on every address")
    return ", ".join(sorted(causes)) or str(error)
