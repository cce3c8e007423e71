"""A PostgreSQL of a few lines, a session that only relays, and a switchboard for both."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from proxy.net import client as client_module
from proxy.net.listener import bind, serve
from proxy.net.switchboard import Switchboard
from proxy.net.upstream import Target
from proxy.session.statistics import Statistics
from proxy.wire import messages

KEY = struct.pack("!i", 4711) + b"secret-key"
OK = messages.message(b"R", (0).to_bytes(4, "big"))
GREETING = OK + messages.message(b"K", KEY) + messages.READY_IDLE
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)
CANCEL = struct.pack("!ii", 8 + len(KEY), 80877102) + KEY

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def startup(**parameters: str) -> bytes:
    """A StartupMessage of protocol 3.0."""
    pairs = {"user": "ann", "database": "shop", **parameters}
    body = b"".join(f"{name}\0{value}\0".encode() for name, value in pairs.items()) + b"\0"
    return struct.pack("!ii", 8 + len(body), 196608) + body


class RelaySession:
    """The interface of a session, with no mind of its own. `X` is Terminate, `Z` an answer."""

    def __init__(self, engine: Any, connection_id: int) -> None:
        self.connection_id = connection_id
        self.to_client: list[bytes] = []
        self.to_server: list[bytes] = []
        self.close_client = self.close_server = False
        self.waiting = False
        self.idle = False
        self.cancelled = False
        self.client_gone = False
        self.held: bytes | None = None
        self.database = self.user = ""
        self.backend_pid: int | None = None
        self.cancel_key: bytes | None = None
        self.calls: list[str] = []
        engine.sessions.append(self)

    def start(self, packet: Any, now: float) -> None:
        self.database, self.user = packet.database, packet.user

    def from_client(self, data: bytes, now: float) -> None:
        if data == b"crash":
            raise RuntimeError("a defect")
        if data == b"hit":
            self.to_client += [b"from ", b"memory"]
            return
        self.to_server.append(data)
        if data == messages.TERMINATE:
            self.close_client = self.close_server = True
        self.waiting = True

    def from_server(self, data: bytes, now: float) -> None:
        self.to_client.append(data)
        if GREETING.endswith(data[-11:]):
            self.cancel_key, self.backend_pid = KEY, 4711
        if data[-6:-1] == messages.READY_IDLE[:-1]:
            self.waiting, self.idle = False, True
        if self.client_gone and not self.waiting:
            self.close_client = self.close_server = True

    def client_lost(self, now: float) -> None:
        self.calls.append("client_lost")
        self.client_gone = True
        if not self.waiting:
            self.close_client = self.close_server = True

    def server_lost(self, now: float) -> None:
        self.calls.append("server_lost")
        self.waiting = False
        self.close_client = self.close_server = True

    def terminate(self, error: Any, now: float) -> None:
        self.to_client.append(messages.error_response(error.sqlstate, error.message))
        self.to_server.append(messages.TERMINATE)
        self.close_client = self.close_server = True


class FakeEngine:
    """What the shell uses of an engine."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self.sessions: list[RelaySession] = []
        self.epochs: list[str] = []

    def epoch(self, cause: str) -> None:
        self.epochs.append(cause)


class Peer:
    """The other end of a connection, whichever side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def expect(self, data: bytes) -> None:
        """Read exactly `data`."""
        assert await asyncio.wait_for(self.reader.readexactly(len(data)), 5) == data

    async def rest(self) -> bytes:
        """Everything until the end of the stream."""
        try:
            return await asyncio.wait_for(self.reader.read(), 5)
        except ConnectionResetError:
            return b""

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, as a client."""
        await asyncio.wait_for(self.writer.start_tls(context, server_hostname="localhost"), 5)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class Bench:
    """Howdah's net layer between this test and a PostgreSQL that this test plays."""

    def __init__(self, board: Switchboard, port: int, accepted: asyncio.Queue[Peer]) -> None:
        self.board = board
        self.port = port
        self.accepted = accepted
        self.peers: list[Peer] = []

    @property
    def session(self) -> RelaySession:
        engine: Any = self.board.engine
        session: RelaySession = engine.sessions[-1]
        return session

    async def connect(self) -> Peer:
        """A client."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer

    async def server(self) -> Peer:
        """The next connection that reaches PostgreSQL."""
        peer = await asyncio.wait_for(self.accepted.get(), 5)
        self.peers.append(peer)
        return peer

    async def live(self) -> tuple[Peer, Peer]:
        """A client that is logged in, and its server."""
        client = await self.connect()
        client.send(startup())
        server = await self.server()
        await server.expect(startup())
        server.send(GREETING)
        await client.expect(GREETING)
        return client, server

    async def over(self) -> None:
        """Wait until Howdah has forgotten every connection."""
        await self.board.empty(5)
        assert not self.board.clients
        assert self.board.upstreams == 0


@contextlib.asynccontextmanager
async def bench(
    monkeypatch: Any,
    *,
    sslmode: str = "disable",
    context: ssl.SSLContext | None = None,
    server_tls: ssl.SSLContext | None = None,
    login_timeout: float = 60.0,
) -> AsyncIterator[Bench]:
    """A bench on free ports; every connection is closed at the end."""
    monkeypatch.setattr(client_module, "Session", RelaySession)
    accepted: asyncio.Queue[Peer] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(Peer(reader, writer))

    postgres = await asyncio.start_server(accept, "127.0.0.1", 0)
    target = Target(
        "127.0.0.1", postgres.sockets[0].getsockname()[1], sslmode=sslmode, context=context
    )
    engine: Any = FakeEngine()
    board = Switchboard(engine, target, server_tls=server_tls, login_timeout=login_timeout)
    sockets = bind("--listen", "127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    servers = await serve(sockets, board.accept)
    made = Bench(board, port, accepted)
    try:
        yield made
    finally:
        for peer in made.peers:
            # A polite close would wait for a side that does not read.
            peer.writer.transport.abort()
        while not accepted.empty():
            await accepted.get_nowait().close()
        await board.empty(5)
        for server in (*servers, postgres):
            server.close()
