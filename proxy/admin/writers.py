"""Who may write past Howdah: the judgement over what PostgreSQL shows of its backends.

What lives here: which backends are nobody's that Howdah knows, what they are called, and
when they are worth a line of the log. What must not: asking (`net.writers` does).

Follows "The Cumulative Statistics System" for pg_stat_activity: to a role without
pg_read_all_stats it shows pid, database, role and application_name of others, but neither
their type nor their start. Under the contract `proxied` what others write is seen only
when an answer has become too old, so an operator wants to know of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import NamedTuple

# As `Login.connect` names Howdah's own connections.
HOWDAH = "howdah"

# Types of backends that come with PostgreSQL and write nothing of their own accord, or only
# what a client's backend or a subscription, which are told by themselves, has them write.
_POSTGRESQL = frozenset(
    (
        "archiver",
        "autovacuum launcher",
        "autovacuum worker",
        "background writer",
        "checkpointer",
        "io worker",
        "logger",
        "logical replication apply worker",
        "logical replication launcher",
        "logical replication parallel worker",
        "logical replication tablesync worker",
        "logical replication worker",
        "parallel worker",
        "slotsync worker",
        "startup",
        "walreceiver",
        "walsender",
        "walsummarizer",
        "walwriter",
    )
)
# Workers that run jobs in whatever database these name.
_JOBS = re.compile(r"cron|agent|job|schedul", re.IGNORECASE)
# Extensions that run jobs, with what they are called here.
JOB_EXTENSIONS = ("pg_cron", "pgagent", "pg_timetable", "timescaledb")

# Seconds after which a backend that came while some session of Howdah's did not know its own
# counts as a stranger in any case; how long a writer is not told again after it was seen; and
# between lines of the log.
DOUBT = 30.0
REMEMBERED = 600.0
PAUSE = 30.0
# Writers that are told one by one.
SHOWN = 10


class Backend(NamedTuple):
    """A row of pg_stat_activity; `started` and `type` are None where they may not be read."""

    pid: int
    started: str | None
    database: str
    role: str | None
    application: str
    type: str | None


class Writer(NamedTuple):
    """Others that may write, of one kind: backend, worker, howdah, subscription or jobs.

    `name` is the application_name, the type of the worker, the subscription or the extension.
    """

    kind: str
    database: str
    role: str
    name: str


class Census:
    """Tells strangers from backends that belong to Howdah.

    A stranger is a backend that was there at two looks and was nobody's at either. One look
    is not enough: PostgreSQL shows a backend before its client is told the pid.
    """

    def __init__(self, own_role: str) -> None:
        self._own_role = own_role
        # By pid and start: when it was first seen, and the sessions whose backend it may be.
        self._seen: dict[tuple[int, str | None], tuple[float, Set[int]]] = {}

    def look(
        self,
        backends: Iterable[Backend],
        mine: Set[int],
        used: Set[str],
        *,
        nameless: Set[int],
        now: float,
    ) -> dict[Writer, int]:
        """The strangers among `backends`, grouped and counted.

        Args:
            mine: pids of Howdah's sessions and own connections, of all that were there at any
                moment from before the look until now.
            used: names of the databases that Howdah has answers from.
            nameless: sessions whose backend is not known yet, or was not when they ended lately.
            now: loop time in s.
        """
        backends = list(backends)
        # A parallel worker of a session's statement is not to be told from a client's backend
        # where types are hidden; it has the leader's database, role and application_name.
        kin = {(b.database, b.role, b.application) for b in backends if b.pid in mine}
        found: dict[Writer, int] = {}
        seen: dict[tuple[int, str | None], tuple[float, Set[int]]] = {}
        for backend in backends:
            if backend.pid in mine:
                continue
            hidden = backend.type is None
            if hidden and (backend.database, backend.role, backend.application) in kin:
                continue
            writer = self._writer(backend, used)
            if writer is None:
                continue
            identity = backend.pid, backend.started
            before = self._seen.get(identity)
            if before is None:
                seen[identity] = now, nameless
                continue
            since, suspects = before
            seen[identity] = since, suspects & nameless
            if not suspects & nameless or now - since >= DOUBT:
                found[writer] = found.get(writer, 0) + 1
        self._seen = seen
        return found

    def _writer(self, backend: Backend, used: Set[str]) -> Writer | None:
        role, type = backend.role or "", backend.type
        if type is None and not role:
            return None  # autovacuum and its like belong to no role
        if type in (None, "client backend"):
            if backend.application == HOWDAH and role == self._own_role:
                return Writer("howdah", "", role, HOWDAH)
            if backend.database in used:
                return Writer("backend", backend.database, role, backend.application)
            return None
        assert type is not None
        if type in _POSTGRESQL:
            return None
        if backend.database in used or _JOBS.search(type):
            return Writer("worker", backend.database, role, type)
        return None


class Herald:
    """Says each writer once while it comes and goes, and not more often than is bearable."""

    def __init__(self) -> None:
        self._told: dict[Writer, float] = {}
        self._last: float | None = None

    def news(self, present: Iterable[Writer], now: float) -> list[Writer]:
        """Those of `present` that are to be told now; `now` is loop time in s."""
        present = list(present)
        fresh = [writer for writer in present if writer not in self._told]
        for writer in present:
            if writer in self._told:
                self._told[writer] = now
        self._told = {w: at for w, at in self._told.items() if now - at < REMEMBERED}
        if not fresh or (self._last is not None and now - self._last < PAUSE):
            return []
        self._last = now
        self._told.update(dict.fromkeys(fresh, now))
        return fresh


def describe(writer: Writer, count: int = 1) -> str:
    """`2 connections of role bob to database shop (application psql)`, and the like."""
    match writer.kind:
        case "howdah":
            return f"another Howdah (role {writer.role})"
        case "worker":
            return f"the background worker {writer.name!r} in database {writer.database}"
        case "subscription":
            return f"the subscription {writer.name} into database {writer.database}"
        case "jobs":
            return f"the jobs of the extension {writer.name} in database {writer.database}"
    number = "a connection" if count == 1 else f"{count} connections"
    application = f" (application {writer.name})" if writer.name else ""
    return f"{number} of role {writer.role} to database {writer.database}{application}"


def sentences(found: dict[Writer, int], max_age: float | None) -> list[str]:
    """What /readyz and the dashboard warn of: one sentence for each, the first ones of many."""
    told = [
        f"{describe(writer, count)} may write past Howdah: {_consequence(max_age)}"
        for writer, count in sorted(found.items())
    ]
    if len(told) > SHOWN:
        more = len(told) - SHOWN
        told[SHOWN:] = [f"{more} other kinds of connections may write past Howdah, too"]
    return told


def announcement(fresh: list[Writer], found: dict[Writer, int], max_age: float | None) -> str:
    """One line of the log for all that are new."""
    named = [describe(writer, found.get(writer, 1)) for writer in sorted(fresh)[:SHOWN]]
    if len(fresh) > SHOWN:
        named.append(f"{len(fresh) - SHOWN} others")
    return f"other writers: {'; '.join(named)} may write past Howdah: {_consequence(max_age)}"


def _consequence(max_age: float | None) -> str:
    if max_age is None:
        return "what is written there is never noticed, since max_age is none"
    return f"answers may be up to {max_age:g} s behind (max_age)"
