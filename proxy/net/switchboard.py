"""What all client connections share: engine, target, TLS, counts, and who is there.

What must not live here: anything about one connection (`net.client`), or about how
Howdah is composed (`proxy.app`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ssl
from typing import TYPE_CHECKING

from proxy.errors import HowdahError
from proxy.net.client import Client
from proxy.net.upstream import Target
from proxy.session.core import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.admin.console import ConsoleSession
    from proxy.net.statements import StatementLog
    from proxy.session.engine import Engine

# Seconds a client has for its StartupMessage, TLS included; PostgreSQL's
# authentication_timeout counts from there.
LOGIN_TIMEOUT = 60.0

# Backends that are remembered when their sessions are over, until it is seen that they are gone.
LEFT_LIMIT = 10_000


class Switchboard:
    """The connections of one process.

    Attributes:
        clients: every connection that is not wholly over.
        upstreams: open connections to PostgreSQL for sessions.
        traffic: bytes by direction, of `engine.statistics`.
        certificate: DER of the certificate that clients see; None without TLS.
        upstream_up: whether the upstream was reached the last time; None before the first.
        draining: new clients are turned away.
        console: makes the session of a client that asks for the console; None where it is off.
        console_database: the name that it has.
        statement_log: hears what sessions run; None where nobody wants to know.
        left: backends of sessions that are over; `net.writers` forgets those that are gone.
        nameless: sessions that have ended before their backend became known, and when (loop
            time, s); the last ones of many.
    """

    def __init__(
        self,
        engine: Engine,
        target: Target,
        *,
        server_tls: ssl.SSLContext | None = None,
        certificate: bytes | None = None,
        login_timeout: float = LOGIN_TIMEOUT,
    ) -> None:
        self.engine = engine
        self.target = target
        self.server_tls = server_tls
        self.certificate = certificate
        self.login_timeout = login_timeout
        self.traffic: dict[str, int] = engine.statistics.bytes
        self.clients: set[Client] = set()
        self.upstreams = 0
        self.upstream_up: bool | None = None
        self.draining = False
        self.console: Callable[[int], ConsoleSession] | None = None
        self.console_database: str | None = None
        self.statement_log: StatementLog | None = None
        self.left: set[int] = set()
        self.nameless: dict[int, float] = {}
        self._last_id = 0
        self._empty = asyncio.Event()

    def accept(self) -> Client:
        """Protocol factory of the TCP listeners."""
        return Client(self, local=False)

    def accept_local(self) -> Client:
        """Protocol factory of the Unix socket, where TLS is not offered."""
        return Client(self, local=True)

    def next_id(self) -> int:
        """A connection id that was not used before in this process."""
        self._last_id += 1
        return self._last_id

    def find(self, cancel_key: bytes) -> Client | None:
        """The client whose BackendKeyData payload is `cancel_key`; in constant time each."""
        for client in self.clients:
            key = client.session.cancel_key if client.session is not None else None
            if key is not None and hmac.compare_digest(key, cancel_key):
                return client
        return None

    def client_of(self, session: Session) -> Client | None:
        """The connection that `session` belongs to, while it is there."""
        for client in self.clients:
            if client.session is session:
                return client
        return None

    def databases(self) -> set[str]:
        """Names of the databases that sessions are in."""
        sessions = (client.session for client in self.clients)
        return {one.database for one in sessions if isinstance(one, Session)}

    def backend_pids(self) -> set[int]:
        """The backends of the sessions, as their BackendKeyData say."""
        pids = (c.session.backend_pid for c in self.clients if c.session is not None)
        return {pid for pid in pids if pid is not None}

    def unidentified(self) -> set[int]:
        """The ids of connections with a backend whose pid is not known yet."""
        return {
            c.connection_id
            for c in self.clients
            if c.upstream is not None and (c.session is None or c.session.backend_pid is None)
        }

    def same_certificate(self, transport: asyncio.BaseTransport) -> bool:
        """Whether clients see the certificate that PostgreSQL presents on `transport`."""
        tls = transport.get_extra_info("ssl_object")
        if tls is None or self.certificate is None:
            return False
        return bool(tls.getpeercert(binary_form=True) == self.certificate)

    def reached(self, up: bool) -> None:
        """Remember whether the upstream could be reached just now."""
        self.upstream_up = up

    def gone(self, client: Client) -> None:
        """A connection is wholly over."""
        self.clients.discard(client)
        if client.session is not None:
            pid = client.session.backend_pid
            if pid is not None and len(self.left) < LEFT_LIMIT:
                self.left.add(pid)
            else:
                self.nameless[client.connection_id] = asyncio.get_running_loop().time()
                if len(self.nameless) > LEFT_LIMIT:
                    del self.nameless[next(iter(self.nameless))]
        if not self.clients:
            self._empty.set()

    async def empty(self, seconds: float) -> None:
        """Wait until no connection is left, at most `seconds`."""
        self._empty.clear()
        if self.clients:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)

    def defect(self) -> None:
        """A session failed in a way nobody foresaw: nothing stored is trusted (F8)."""
        self.engine.epoch("defect")

    @staticmethod
    def shutting_down() -> HowdahError:
        """What a client is told when Howdah ends."""
        return HowdahError("terminating connection due to administrator command", sqlstate="57P01")
