"""Howdah's own login: one asyncpg connection to one database, made when it is needed.

What lives here: connecting, doing one piece of work at a time, letting go soon. What
must not: which questions are asked; `net.watch` and `net.catalogs` know them.

The connection is closed a moment after its last use. One that stayed would stand in
the way of DROP DATABASE and CREATE DATABASE ... TEMPLATE, which wait five seconds
for others to leave.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import asyncpg

from proxy.net.upstream import Target, why
from proxy.upstream import Upstream

T = TypeVar("T")

# Seconds: to connect, for one piece of work, and until an idle connection is closed.
CONNECT_TIMEOUT = 10.0
WORK_TIMEOUT = 60.0
LINGER = 1.5

# SQLSTATEs that a retry does not cure soon: no such role or password, no such
# database, not allowed to connect, database closed to connections.
_REFUSALS = frozenset(("3D000", "42501", "55000"))

_log = logging.getLogger("howdah.own")


class Refused(Exception):
    """PostgreSQL answers, but Howdah's own role may not do this work there."""


class Unreachable(Exception):
    """The work was not done, for a reason that may pass; one sentence."""


class Pids:
    """The backends of Howdah's own connections.

    Attributes:
        open: of those that are connected.
        left: of those that were; `net.writers` forgets them when they are seen to be gone.
        connecting: connections that are being made, whose backends are not known yet.
    """

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.left: set[int] = set()
        self.connecting = 0

    @property
    def all(self) -> set[int]:
        """All that are known."""
        return self.open | self.left


@dataclass(frozen=True, slots=True)
class Login:
    """How Howdah's own role logs in, and which backends it has."""

    upstream: Upstream
    target: Target
    pids: Pids = field(default_factory=Pids, compare=False)

    async def connect(self, database: str) -> Any:
        """A new asyncpg connection; raises what asyncpg raises."""
        upstream = self.upstream
        ssl: Any = False
        if upstream.socket_dir is None:
            # asyncpg tries with and without TLS for these two by itself.
            lenient = upstream.sslmode in ("allow", "prefer")
            ssl = upstream.sslmode if lenient else self.target.context or False
        return await asyncpg.connect(
            host=upstream.socket_dir or upstream.host,
            port=upstream.port,
            user=upstream.user,
            password=upstream.password,
            database=database,
            ssl=ssl,
            timeout=CONNECT_TIMEOUT,
            command_timeout=WORK_TIMEOUT,
            statement_cache_size=0,
            server_settings={"application_name": "howdah", "jit": "off"},
        )


class OwnConnection:
    """A connection to `database` that comes and goes with the work."""

    def __init__(self, login: Login, database: str) -> None:
        self.database = database
        self._login = login
        self._lock = asyncio.Lock()
        self._connection: Any = None
        self._backend: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def role(self) -> str:
        """Who it is."""
        return self._login.upstream.user

    @property
    def pid(self) -> int | None:
        """The backend behind it, while it is connected."""
        connection = self._connection
        if connection is None or connection.is_closed():
            return None
        return int(connection.get_server_pid())

    async def run(self, work: Callable[[Any], Awaitable[T]], *, fresh: bool = False) -> T:
        """Do `work` with the connection; nothing else uses it meanwhile.

        Args:
            fresh: on a new connection, which shows the server that answers now.

        Raises:
            Refused: the role may not connect, or not do this work.
            Unreachable: anything that a retry may cure.
        """
        async with self._lock:
            self._stop_timer()
            if fresh:
                self.drop()
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connect()
                result = await asyncio.wait_for(work(self._connection), WORK_TIMEOUT)
            except asyncpg.PostgresError as error:
                self.drop()
                state = str(getattr(error, "sqlstate", None) or "")
                if state in _REFUSALS or state.startswith("28"):
                    raise Refused(f"{error} (SQLSTATE {state})") from None
                raise Unreachable(f"{error} (SQLSTATE {state})") from None
            except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
                self.drop()
                raise Unreachable(str(error)) from None
            except OSError as error:
                self.drop()
                raise Unreachable(why(error)) from None
            except EOFError:
                self.drop()
                raise Unreachable("connection closed by the server") from None
            except BaseException:
                self.drop()
                raise
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(LINGER, self.drop)
            return result

    async def _connect(self) -> Any:
        pids = self._login.pids
        self._left()
        pids.connecting += 1
        try:
            connection = await self._login.connect(self.database)
        finally:
            pids.connecting -= 1
        self._backend = int(connection.get_server_pid())
        pids.open.add(self._backend)
        return connection

    def _left(self) -> None:
        """The backend, if there was one, is on its way out."""
        pid, self._backend = self._backend, None
        if pid is not None:
            self._login.pids.open.discard(pid)
            self._login.pids.left.add(pid)

    def drop(self) -> None:
        """Close the connection now; the next work makes another."""
        self._stop_timer()
        self._left()
        connection, self._connection = self._connection, None
        if connection is not None:
            # A polite close would wait for the server; the socket's end says the same.
            connection.terminate()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Complaint:
    """Says each problem once, and once that it is over; retries are silent."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self.problem: str | None = None

    def say(self, problem: str) -> None:
        """Log `problem` unless it is the one that was logged last."""
        if problem != self.problem:
            self.problem = problem
            _log.warning("%s: %s", self._subject, problem)

    def over(self) -> None:
        """All is well (again)."""
        if self.problem is not None:
            self.problem = None
            _log.info("%s: works again", self._subject)


class Backoff:
    """Pauses between retries, in seconds: they double from `first` to `last`."""

    def __init__(self, first: float, last: float) -> None:
        self._first, self._last = first, last
        self._next = first

    def reset(self) -> None:
        """The next pause is the shortest again."""
        self._next = self._first

    def pause(self) -> float:
        """The pause to make now."""
        pause = self._next
        self._next = min(self._last, pause * 2)
        return pause


async def pause_until(event: asyncio.Event, seconds: float | None) -> None:
    """Wait for `event`, at most `seconds` (None: as long as it takes); clear it."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
