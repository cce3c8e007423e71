"""The watch over the server: who it is, which backends live, when it was reconfigured.

What lives here: the questions that Howdah's own connection asks about the server, and
the loops that ask them: identity (F8), proofs that a backend has ended (F2), the start
gate (F11). What must not: what follows from the answers; `session.engine` knows.

Follows "The Cumulative Statistics System" for pg_stat_activity: a role without
pg_read_all_stats sees the pid of others, but neither their state nor their start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf, isinf
from time import monotonic
from typing import TYPE_CHECKING, Any

from proxy import tasks
from proxy.net.catalogs import poll_interval
from proxy.net.own import (
    Backoff,
    Complaint,
    Login,
    OwnConnection,
    Refused,
    Unreachable,
    pause_until,
)
from proxy.session.probe import IDENTITY_COLUMNS, Identity

if TYPE_CHECKING:
    from proxy.net.switchboard import Switchboard
    from proxy.session.engine import Engine

_IDENTITY_SQL = f"""SELECT {IDENTITY_COLUMNS},
 pg_catalog.date_part('epoch', pg_catalog.pg_conf_load_time())::pg_catalog.text,
 pg_catalog.pg_is_in_recovery()"""

_ALIVE_SQL = f"""SELECT {IDENTITY_COLUMNS},
 ARRAY(SELECT pid FROM pg_catalog.pg_stat_activity
 WHERE pid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int4[]))"""

_DATABASE_SQL = (
    "SELECT 1 FROM pg_catalog.pg_database WHERE datname::pg_catalog.text OPERATOR(pg_catalog.=) $1"
)

# Whoever is in a database may have a transaction of an earlier Howdah open. Backends
# whose type may be read and is not a client's (autovacuum, apply workers) are not it.
_BACKENDS_SQL = """SELECT pid, backend_start::pg_catalog.text, state
 FROM pg_catalog.pg_stat_activity
 WHERE datid IS NOT NULL AND datid OPERATOR(pg_catalog.<>) 0
 AND (backend_type IS NULL OR backend_type OPERATOR(pg_catalog.=)
 ANY ('{client backend,walsender}'::pg_catalog.text[]))"""

# Seconds between looks at who the server is and when it has read its configuration: a
# reload changes settings in every session, and most of them are reported by nobody (K3).
_LOOK = 1.0
_SOON = 0.02  # seconds between looks while a reload is awaited

_log = logging.getLogger("howdah.server")


class ServerWatch:
    """Asks the server the engine's questions, as often and as long as it takes.

    Attributes:
        up: the own connection got its answer the last time; None before the first try.
        in_recovery: the server is a standby.
        gate_open: the start gate is over.
    """

    def __init__(
        self, engine: Engine, board: Switchboard, login: Login, max_age: float | None
    ) -> None:
        self.up: bool | None = None
        self.in_recovery = False
        self.gate_open = False
        self.own = OwnConnection(login, login.upstream.dbname)
        self.other_pids: Callable[[], set[int]] = set
        self._engine = engine
        self._board = board
        self._max_age = max_age
        self._interval = min(poll_interval(max_age) or _LOOK, _LOOK)
        self._complaint = Complaint(f"Howdah's own connection to {login.target}")
        self._identify = asyncio.Event()
        self._fresh = True
        self._loaded_at: str | None = None
        self._proofs: dict[int, list[Callable[[], None]]] = {}
        self._prove = asyncio.Event()
        # Who waits for a reload: until when, since which, and what then.
        self._reloads: list[tuple[float, str | None, Callable[[], None]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the loops; the start gate must be up already (F11)."""
        self._tasks = [
            tasks.spawn(self._identify_forever(), "identity"),
            tasks.spawn(self._prove_forever(), "proofs"),
            tasks.spawn(self._start_gate(), "start gate"),
        ]

    async def close(self) -> None:
        """Stop all of it."""
        await tasks.cancel(*self._tasks)
        self.own.drop()

    @property
    def problem(self) -> str | None:
        """Why Howdah's own connection gets no answers; None while it does."""
        return self._complaint.problem

    async def _ask(self, sql: str, *arguments: Any, fresh: bool = False) -> list[Any]:
        """Rows of a query on the own connection; keeps `up` and the log true."""

        async def fetch(connection: Any) -> list[Any]:
            rows = await connection.fetch(sql, *arguments)
            return list(rows)

        try:
            rows = await self.own.run(fetch, fresh=fresh)
        except (Refused, Unreachable) as error:
            self._complaint.say(str(error))
            # A refusal is an answer too: relaying works.
            self.up = isinstance(error, Refused)
            self._board.reached(self.up)
            raise
        self._complaint.over()
        self.up = True
        self._board.reached(True)
        return rows

    async def has_database(self, name: str) -> bool:
        """Whether the server has a database of that name; waits until it can be asked."""
        backoff = Backoff(0.05, 5.0)
        while True:
            try:
                return bool(await self._ask(_DATABASE_SQL, name))
            except (Refused, Unreachable):
                await asyncio.sleep(backoff.pause())

    # --- identity (F8) --------------------------------------------------------

    def verify_identity(self) -> None:
        """Ask who the server is, on a new connection, beginning after this call."""
        self._fresh = True
        self._identify.set()

    async def _identify_forever(self) -> None:
        backoff = Backoff(0.05, 5.0)
        while True:
            fresh, self._fresh = self._fresh, False
            try:
                rows = await self._ask(_IDENTITY_SQL, fresh=fresh)
            except (Refused, Unreachable):
                self._fresh = self._fresh or fresh
                await pause_until(self._identify, backoff.pause())
                continue
            backoff.reset()
            if not self._fresh:
                # Else another loss came meanwhile: this answer is older than it.
                self._identity_row(rows[0])
            if self._reloads:
                # A backend that is made now shows what the postmaster has read.
                self._fresh = True
            await pause_until(self._identify, _SOON if self._reloads else self._interval)

    def _identity_row(self, row: Any) -> None:
        self.in_recovery = bool(row[4])
        self._engine.identity_seen(_identity(row))
        loaded_at = str(row[3])
        if self._loaded_at is not None and loaded_at != self._loaded_at:
            _log.info("the server has reloaded its configuration")
            self._engine.settings_reloaded()
        self._loaded_at = loaded_at
        waiting, self._reloads = self._reloads, []
        for until, before, done in waiting:
            if loaded_at != before or monotonic() >= until:
                done()
            else:
                self._reloads.append((until, before, done))

    def await_reload(self, done: Callable[[], None]) -> None:
        """Call `done` once the configuration has been read again, or a second has passed."""
        self._reloads.append((monotonic() + _LOOK, self._loaded_at, done))
        self.verify_identity()

    # --- proofs (F2) ----------------------------------------------------------

    def prove_ended(self, pid: int, done: Callable[[], None]) -> None:
        """Call `done` once no backend has this pid, or the server is another one."""
        self._proofs.setdefault(pid, []).append(done)
        self._prove.set()

    async def _prove_forever(self) -> None:
        backoff = Backoff(0.005, 1.0)
        while True:
            if not self._proofs:
                backoff.reset()
                await pause_until(self._prove, None)
            pids = list(self._proofs)
            before = self._engine.identity
            try:
                rows = await self._ask(_ALIVE_SQL, pids)
            except (Refused, Unreachable):
                await pause_until(self._prove, backoff.pause())
                continue
            identity = _identity(rows[0])
            alive = set(rows[0][3])
            if before is not None and identity != before:
                # Another server, or it was restarted: every backend of before is gone.
                self._engine.identity_seen(identity)
                alive = set()
            for pid in pids:
                if pid not in alive:
                    for done in self._proofs.pop(pid):
                        done()
            if self._proofs:
                await pause_until(self._prove, backoff.pause())

    # --- the start gate (F11) -------------------------------------------------

    async def _start_gate(self) -> None:
        """Wait for transactions that an earlier Howdah may have left, then open the gate."""
        started = monotonic()
        backoff = Backoff(0.02, 1.0)
        waiting: dict[int, str | None] | None = None
        told = False
        while waiting is None or waiting:
            try:
                rows = await self._ask(_BACKENDS_SQL)
            except (Refused, Unreachable):
                await asyncio.sleep(backoff.pause())
                continue
            now = {int(row[0]): (row[1], row[2]) for row in rows}
            if waiting is None:
                mine = self._own_pids()
                waiting = {pid: now[pid][0] for pid in now if pid not in mine}
            waiting = {pid: start for pid, start in waiting.items() if _busy(now.get(pid), start)}
            if not waiting:
                break
            hidden = [pid for pid in waiting if now[pid][1] is None]
            if len(hidden) == len(waiting) and self._waited_enough(started):
                # From now on such a backend counts as another writer (max_age).
                break
            if not told and monotonic() - started > 1.0:
                told = True
                self._tell(waiting, hidden)
            await asyncio.sleep(backoff.pause())
        self.gate_open = True
        self._engine.end_start_gate()
        _log.debug("start gate open after %.3f s", monotonic() - started)

    def _own_pids(self) -> set[int]:
        pids = self.other_pids() | self._board.backend_pids()
        return pids if self.own.pid is None else pids | {self.own.pid}

    @property
    def _patience(self) -> float:
        """Seconds after which no answer is served that one of them could have made wrong."""
        longest = self._engine.rules.longest
        return inf if self._max_age is None else max(self._max_age, longest)

    def _waited_enough(self, started: float) -> bool:
        return monotonic() - started > self._patience

    def _tell(self, waiting: dict[int, str | None], hidden: list[int]) -> None:
        pids = ", ".join(map(str, sorted(waiting)[:10]))
        advice = ""
        if hidden:
            limit = "" if isinf(self._patience) else f", at most {self._patience:g} s"
            advice = (
                "; without pg_read_all_stats Howdah's role cannot see that one is idle "
                f"and waits until it ends{limit}"
            )
        _log.info(
            "caching begins when transactions that were open before Howdah have ended "
            "(backends %s%s)",
            pids,
            advice,
        )


def _identity(row: Any) -> Identity:
    return (row[0] or "", row[1] or "", row[2] or "")


def _busy(now: tuple[str | None, str | None] | None, start: str | None) -> bool:
    """Whether a backend of the start is still there and was not seen idle."""
    if now is None:
        return False
    if start is not None and now[0] is not None and now[0] != start:
        return False  # the pid belongs to another backend by now
    return now[1] != "idle"
