"""Catalogs: read when a database is first met, after DDL, and when others have changed it.

What lives here: when a catalog is read, and what happens if it cannot be. What must
not: what is read (`catalog.loader`, handed in) and what a new one means
(`session.engine`). Keeps F12: a reload that began before it was asked for does not count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from proxy import tasks
from proxy.net.own import (
    Backoff,
    Complaint,
    Login,
    OwnConnection,
    Refused,
    Unreachable,
    pause_until,
)
from proxy.reasons import Reason

if TYPE_CHECKING:
    from proxy.session.engine import Engine

# Seconds between polls at most, and between tries where the role is refused. A database
# that is gone is not asked for again before a session is in one of that name.
POLL_LIMIT = 20.0
REFUSED_PAUSE = 30.0
_GLANCE = 1.0

_log = logging.getLogger("howdah.catalog")


@dataclass(frozen=True, slots=True)
class Loader:
    """The two questions of `catalog.loader`: the whole snapshot, and has it changed.

    `reader` makes a reader of one database, which remembers what it has read.
    """

    reader: Callable[[], Callable[[Any], Awaitable[Any]]]
    fingerprint: Callable[[Any], Awaitable[str]]


def poll_interval(max_age: float | None) -> float | None:
    """Seconds between two looks at what others may change; None: nobody else writes."""
    return None if max_age is None else max(0.05, min(max_age / 3, POLL_LIMIT))


class CatalogKeeper:
    """Keeps the engine's snapshot of one database true."""

    def __init__(
        self,
        engine: Engine,
        database: str,
        login: Login,
        loader: Loader,
        max_age: float | None,
        inhabited: Callable[[], set[str]] = set,
    ) -> None:
        self.database = database
        self.own = OwnConnection(login, database)
        self._engine = engine
        self._loader = loader
        self._read = loader.reader()
        self._max_age = max_age
        self._interval = poll_interval(max_age)
        self._wake = asyncio.Event()
        self._waiting: list[Callable[[], None]] = []
        self._fingerprint: str | None = None
        self._inhabited = inhabited
        self._refused_at: float | None = None
        # When the last successful look at the catalog was sent off.
        self._true_at = monotonic()
        self._complaint = Complaint(f"catalog of database {database!r}")
        self._backoff = Backoff(0.05, 5.0)

    @property
    def problem(self) -> str | None:
        """Why the catalog cannot be read now."""
        return self._complaint.problem

    def reload(self, done: Callable[[], None] | None = None) -> None:
        """Read the catalog afresh, and then call `done`."""
        if done is not None:
            self._waiting.append(done)
        self._wake.set()

    async def run(self) -> None:
        """Serve forever."""
        while True:
            pause = await self._turn()
            await pause_until(self._wake, pause)

    async def _turn(self) -> float | None:
        """One look; returns the pause that follows it, in seconds."""
        self._wake.clear()
        waiting, self._waiting = self._waiting, []
        sent = monotonic()
        if self._refused_at is not None and not waiting:
            recently = sent - self._refused_at < REFUSED_PAUSE
            if recently or self.database not in self._inhabited():
                return _GLANCE
        try:
            # The cheap question first, also after DDL: opaque statements ask often and
            # change the catalog rarely. A change behind it shows at the next look.
            fingerprint = await self.own.run(self._loader.fingerprint)
            if fingerprint != self._fingerprint:
                snapshot = await self.own.run(self._read)
                self._engine.install(self.database, snapshot)
                _log.debug("catalog of database %r is read", self.database)
                self._fingerprint = fingerprint
        except Unreachable as error:
            self._complaint.say(f"cannot be read: {error}; retrying")
            self._waiting = waiting + self._waiting
            if self._max_age is not None and monotonic() - self._true_at > self._max_age:
                self._give_up()
            return self._backoff.pause()
        except Refused as error:
            self._complaint.say(f"cannot be read, statements are only forwarded there: {error}")
            self._refused_at = sent
            self._without(waiting)
            return _GLANCE
        except Exception as error:
            _log.exception("catalog of database %r cannot be read: %r", self.database, error)
            self._without(waiting)
            return REFUSED_PAUSE
        self._refused_at = None
        self._true_at = sent
        self._complaint.over()
        self._backoff.reset()
        for done in waiting:
            done()
        return self._interval

    def _without(self, waiting: list[Callable[[], None]]) -> None:
        """Go on without a catalog: nothing of this database is answered from memory.

        What waits for a new catalog (F12) need not wait longer: none stands.
        """
        self._give_up()
        for done in waiting:
            done()

    def _give_up(self) -> None:
        self._fingerprint = None
        self._engine.install(self.database, None, Reason.CATALOG_UNAVAILABLE)


class Catalogs:
    """The keepers of all databases that sessions have been in."""

    def __init__(
        self,
        engine: Engine,
        login: Login,
        loader: Loader,
        max_age: float | None,
        inhabited: Callable[[], set[str]],
    ) -> None:
        self._engine = engine
        self._login = login
        self._loader = loader
        self._read = loader.reader()
        self._max_age = max_age
        self._inhabited = inhabited
        self._keepers: dict[str, tuple[CatalogKeeper, asyncio.Task[None]]] = {}

    def reload(self, database: str, done: Callable[[], None] | None = None) -> None:
        """Read the catalog of `database` afresh, install it, call `done` (F12)."""
        known = self._keepers.get(database)
        if known is None:
            keeper = CatalogKeeper(
                self._engine,
                database,
                self._login,
                self._loader,
                self._max_age,
                self._inhabited,
            )
            task = tasks.spawn(keeper.run(), f"catalog {database}")
            self._keepers[database] = keeper, task
        else:
            keeper = known[0]
        keeper.reload(done)

    def connections(self) -> list[OwnConnection]:
        """Howdah's own connections, one for each database; not all of them are open."""
        return [keeper.own for keeper, _ in self._keepers.values()]

    def pids(self) -> set[int]:
        """The backends of Howdah's own connections."""
        pids = (keeper.own.pid for keeper, _ in self._keepers.values())
        return {pid for pid in pids if pid is not None}

    def problems(self) -> list[str]:
        """Databases with sessions whose catalog cannot be read now, with the reason."""
        inhabited = self._inhabited()
        return [
            f"catalog of database {keeper.database!r} {keeper.problem}"
            for keeper, _ in self._keepers.values()
            if keeper.problem is not None and keeper.database in inhabited
        ]

    async def close(self) -> None:
        """Stop all of it."""
        await tasks.cancel(*(task for _, task in self._keepers.values()))
        for keeper, _ in self._keepers.values():
            keeper.own.drop()
        self._keepers.clear()
