"""The watch over others: who else is connected to the databases that Howdah has answers from.

What lives here: the questions, and the order of them. What must not: who counts as another
writer, see `admin.writers`. The pids of Howdah's own backends are read after the answer has
come, and those that have ended meanwhile are kept until they are seen to be gone, so that
no backend of Howdah's can look like somebody else's.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from proxy.admin.writers import (
    DOUBT,
    JOB_EXTENSIONS,
    Backend,
    Census,
    Herald,
    Writer,
    announcement,
    sentences,
)
from proxy.net.catalogs import poll_interval
from proxy.net.own import Login, OwnConnection, Refused, Unreachable

if TYPE_CHECKING:
    from proxy.net.switchboard import Switchboard
    from proxy.session.engine import Engine

_BACKENDS_SQL = """SELECT pid, backend_start::pg_catalog.text, datname::pg_catalog.text,
 usename::pg_catalog.text, application_name, backend_type
 FROM pg_catalog.pg_stat_activity
 WHERE datname IS NOT NULL AND pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()"""

_SUBSCRIPTIONS_SQL = """SELECT d.datname::pg_catalog.text, r.rolname::pg_catalog.text,
 s.subname::pg_catalog.text
 FROM pg_catalog.pg_subscription s
 JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.subdbid
 JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.subowner
 WHERE s.subenabled"""

_EXTENSIONS_SQL = """SELECT pg_catalog.current_database()::pg_catalog.text,
 extname::pg_catalog.text FROM pg_catalog.pg_extension
 WHERE extname OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.name[])"""

# Seconds between looks at most.
_LOOK = 3.0
# Stands for Howdah's own connections, as if it were the id of a session.
_OWN = 0

_log = logging.getLogger("howdah.writers")


class OtherWriters:
    """Looks again and again, and says who is there.

    Attributes:
        found: other writers at the last look, with the number of their backends.
    """

    def __init__(
        self,
        engine: Engine,
        board: Switchboard,
        login: Login,
        own: OwnConnection,
        max_age: float | None,
    ) -> None:
        self.found: dict[Writer, int] = {}
        self._engine = engine
        self._board = board
        self._login = login
        self._own = own
        self._max_age = max_age
        self._interval = min(poll_interval(max_age) or _LOOK, _LOOK)
        self._census = Census(login.upstream.user)
        self._herald = Herald()

    def warnings(self) -> list[str]:
        """One sentence for each kind of other writers."""
        return sentences(self.found, self._max_age)

    async def run(self) -> None:
        """Serve forever."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.look()
            except (Refused, Unreachable):
                # The watch over the server uses the same connection and complains.
                self.found = {}

    async def look(self) -> None:
        """One look; raises what `OwnConnection.run` raises."""
        gone_before = set(self._board.left), set(self._login.pids.left)
        used = self._used()
        if not used:
            self.found = {}
            return
        backends, rest = await self._own.run(_ask)
        now = asyncio.get_running_loop().time()
        # A pooler behind Howdah hides which backends are whose.
        if any(c.session is not None and c.session.pooled for c in self._board.clients):
            self.found = {}
            return
        mine = self._board.backend_pids() | self._board.left | self._login.pids.all
        found = self._census.look(backends, mine, used, nameless=self._nameless(now), now=now)
        for writer in rest:
            if writer.kind == "jobs" or writer.database in used:
                found[writer] = 1
        there = {backend.pid for backend in backends}
        self._board.left -= gone_before[0] - there
        self._login.pids.left -= gone_before[1] - there
        self.found = found
        fresh = self._herald.news(found, now)
        if fresh:
            _log.warning("%s", announcement(fresh, found, self._max_age))

    def _nameless(self, now: float) -> set[int]:
        """What may have a backend of Howdah's without its pid being known."""
        ended = self._board.nameless
        for number in [number for number, at in ended.items() if now - at >= DOUBT]:
            del ended[number]
        found = self._board.unidentified() | ended.keys()
        return found | {_OWN} if self._login.pids.connecting else found

    def _used(self) -> set[str]:
        """Databases that sessions are in, or have been in under the present schema."""
        known = {name for name, data in self._engine.databases.items() if data.contexts}
        return known | self._board.databases()


async def _ask(connection: Any) -> tuple[list[Backend], list[Writer]]:
    backends = [
        Backend(int(row[0]), row[1], row[2], row[3], row[4] or "", row[5])
        for row in await connection.fetch(_BACKENDS_SQL)
    ]
    rest = [
        Writer("subscription", row[0], row[1], row[2])
        for row in await connection.fetch(_SUBSCRIPTIONS_SQL)
    ]
    rest += [
        Writer("jobs", row[0], "", row[1])
        for row in await connection.fetch(_EXTENSIONS_SQL, list(JOB_EXTENSIONS))
    ]
    return backends, rest
