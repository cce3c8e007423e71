"""The context of a run: where it works, its connections that come back, its counts.

What lives here: what one run has in common. What must not: tables, scenes, judging.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from random import Random

from proxy.consistency import styles
from proxy.consistency.link import Link, Lost, Reply, clock, open_link
from proxy.consistency.styles import Value
from proxy.errors import HowdahError
from proxy.upstream import Upstream

#: Seconds for which a server may be away before the run is given up: at first, and later.
AT_FIRST, AWAY = 3.0, 60.0
#: Seconds after which a backend whose client is gone is terminated by us.
_ABANDONED = 20.0


class CannotRunError(HowdahError):
    """The check could not be made; nothing is said about consistency."""


@dataclass(slots=True)
class Counts:
    """What has been done. `writes`: (path, committed | aborted | unknown) -> how many."""

    reads: Counter[str] = field(default_factory=Counter)
    styles: Counter[str] = field(default_factory=Counter)
    writes: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    direct: int = 0
    lost_reads: int = 0
    reconnects: int = 0
    compared: int = 0
    quiet: int = 0


class Gate:
    """Writers pass it; closed, it lets none in and tells when the last one is out."""

    def __init__(self) -> None:
        self._inside = 0
        self._open = asyncio.Event()
        self._empty = asyncio.Event()
        self._open.set()
        self._empty.set()

    @contextlib.asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Wait until the gate is open, and count as inside."""
        await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @contextlib.asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        """No writer is inside, and all that were have learnt what became of their writes."""
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()


class Context:
    """One run: where, how, and what came of it."""

    def __init__(
        self,
        through: Upstream,
        direct: Upstream,
        *,
        schema: str,
        seed: int,
        bypass: float = 0.0,
        slack: float = 0.0,
    ) -> None:
        self.through = through
        self.direct = direct
        self.schema = schema
        self.seed = seed
        self.bypass = bypass
        self.slack = slack
        self.token = f"{schema}-{secrets.token_hex(4)}"
        self.settings: list[str] = []
        self.away = AT_FIRST
        self._ended = False
        self.stop_early = False
        self.gate = Gate()
        self.counts = Counts()
        self.clients: list[Client] = []
        self.version = 0
        self.two_phase = False
        self.failure: HowdahError | None = None
        self.proof = Client(self, direct)
        self._asking = asyncio.Lock()

    def end(self) -> None:
        """All loops are to leave at the next turn."""
        self._ended = True

    def ended(self) -> bool:
        """Whether the run is to end."""
        return self._ended

    def random(self, purpose: str) -> Random:
        """A source of its own for each purpose, from the run's seed."""
        return Random(f"{self.seed} {purpose}")

    async def ask(self, sql: str, *values: Value) -> Reply:
        """Run a statement directly, again if the connection is lost.

        Raises:
            CannotRunError: it fails.
        """
        while True:
            try:
                async with self._asking:
                    reply = await (await self.proof.link()).ask(styles.literal(sql, values))
            except Lost:
                continue
            if reply.errors:
                raise CannotRunError(f"{reply.errors[0].get('M')}, in: {sql[:300]}")
            return reply

    async def gone(self, name: str) -> None:
        """Wait until no backend calls itself `name`: what it did not do, it never will."""
        since = clock()
        pause = 0.001
        while True:
            count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
            if (await self.ask(count, name)).rows == [[b"0"]]:
                return
            if clock() - since > _ABANDONED:
                await self.ask(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = $1",
                    name,
                )
                self.counts.faults["abandoned backends terminated"] += 1
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.05)


class Client:
    """A connection that comes back. One request at a time."""

    _serial = 0

    def __init__(self, context: Context, where: Upstream) -> None:
        self.context = context
        self.where = where
        self.current: Link | None = None
        self.name = ""
        self.writing = False
        self._lock = asyncio.Lock()

    async def link(self) -> Link:
        """The connection, a new one if it was lost.

        Raises:
            CannotRunError: there is none to be had.
        """
        if self.current is not None and self.current.alive:
            return self.current
        async with self._lock:
            if self.current is not None and self.current.alive:
                return self.current
            if self.current is not None:
                self.context.counts.reconnects += 1
            self.current = await self._open()
            return self.current

    async def _open(self) -> Link:
        since, pause = clock(), 0.02
        while True:
            Client._serial += 1
            self.name = f"{self.context.token}-{Client._serial}"
            try:
                link = await open_link(self.where, self.name)
                for setting in self.context.settings:
                    await link.ask(styles.literal(setting, ()))
                return link
            except Lost as lost:
                if clock() - since > self.context.away:
                    raise CannotRunError(f"{self.where.address} is away: {lost}") from None
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def close(self) -> None:
        if self.current is not None:
            self.current.close()
