"""Rows of the views that show what is so at this moment.

What lives here: connections, fences, contract, configuration, rules, databases. What must
not: the columns' names (`admin.views`), and what was counted (`admin.counted`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from proxy import __version__
from proxy.admin.counted import EVERYTHING, name_of
from proxy.admin.house import ClientSeen, House, Row
from proxy.cache.fences import ALL, Granule
from proxy.reasons import Reason
from proxy.settings import OPTIONS

if TYPE_CHECKING:
    from proxy.session.context import Database
    from proxy.session.engine import Engine
    from proxy.session.state import SessionState

_TABLES = 20  # that are named of one fence


def state_of(client: ClientSeen) -> str:
    """What a connection does: its phase until it lives, then what its session is at."""
    session = client.session
    if session is None or client.phase != "live":
        return client.phase
    if session.client_gone or session.terminating or session.close_client:
        return "closing"
    if not session.started:
        return "login"
    if session.held is not None:
        return "waiting"
    return "active" if len(session.pending) > session.backgrounds else "idle"


def transaction_of(session: SessionState) -> str:
    """none, open, failed, or deferred: PostgreSQL has not had the BEGIN yet."""
    if session.deferred is not None:
        return "deferred"
    return {b"T": "open", b"E": "failed"}.get(session.status, "none")


def clients(house: House) -> Iterator[Row]:
    """See the view of that name; likewise below."""
    now = house.now()
    for client in house.clients():
        session = client.session
        base = (client.address, state_of(client))
        connected = max(0.0, now - client.connected)
        if session is None:
            role = client.role or None
            yield (client.id, None, role, None, *base, None, connected, 0, 0, None, None, None)
            continue
        context = session.context
        reason = session.why_not() if session.started else None
        yield (
            client.id,
            session.database or None,
            _role(session),
            session.application or None,
            *base,
            transaction_of(session),
            connected,
            session.hits + session.forwarded,
            session.hits,
            session.backend_pid,
            None if context is None else context.id,
            None if reason is None else reason.value,
        )


def _role(session: SessionState) -> str | None:
    context = session.context
    return (session.user if context is None else context.answer.role) or None


def upstreams(house: House) -> Iterator[Row]:
    for client in house.clients():
        session = client.session
        if not client.upstream:
            continue
        if session is None:
            role = client.role or None
            yield "client", client.id, None, role, None, state_of(client), "login to the console"
            continue
        yield (
            "client",
            client.id,
            session.database or None,
            _role(session),
            session.backend_pid,
            state_of(client),
            f"session {client.id}",
        )
    for own in house.own_connections():
        yield "own", None, own.database, own.role, own.backend_pid, "idle", own.purpose


def fences(house: House) -> Iterator[Row]:
    engine, now = house.engine, house.now()
    for fence in sorted(engine.board.fences, key=lambda fence: fence.since):
        databases, tables = reach(engine, fence.granules)
        yield (
            fence.kind,
            fence.owner,
            max(0.0, now - fence.since),
            databases,
            tables,
            fence.text or None,
        )


def reach(engine: Engine, granules: Iterable[Granule]) -> tuple[str | None, str | None]:
    """Databases and tables that granules stand for; `*` is all of them."""
    known = {found.oid: found for found in engine.databases.values() if found.oid}
    starting = {found.startup: found for found in engine.databases.values()}
    databases: set[str] = set()
    tables: set[str] = set()
    for granule in granules:
        if granule == ALL:
            return EVERYTHING, EVERYTHING
        if granule in starting:
            databases.add(starting[granule].name)
            continue
        if granule[0] < 0:
            continue  # the start of a session in a database that nobody has come into yet
        database = known.get(granule[0])
        databases.add(str(granule[0]) if database is None else database.name)
        tables.add(name_of(database, granule[1]))
    if EVERYTHING in tables:
        tables = {EVERYTHING}
    shown = sorted(tables)[:_TABLES]
    more = [f"and {len(tables) - _TABLES} more"] if len(tables) > _TABLES else []
    return ", ".join(sorted(databases)) or None, ", ".join(shown + more) or None


def contract(house: House) -> Iterator[Row]:
    engine, settings, status = house.engine, house.settings, house.status()
    yield (
        "contract",
        status.contract,
        "the freshness that is promised; proxied: writes through this Howdah are seen at once, "
        "those of others within max_age",
    )
    age = "none" if settings.max_age is None else f"{settings.max_age:g} s"
    yield "max_age", age, "how old an answer may be, counted from when it was asked for"
    oldest = engine.store.oldest(house.now()) if len(engine.store) else 0.0
    yield "oldest", f"{oldest:.3f} s", "age of the oldest answer that may still be given"
    yield "cache", status.cache, "on, or why nothing is answered from memory"
    yield "ready", "yes" if status.ready else "no", "whether PostgreSQL is reached"
    system, timeline, start = engine.identity or ("", "", "")
    yield "server", system or None, "system identifier of the server that answers"
    yield "timeline", timeline or None, "its timeline; a failover begins another"
    yield "server_start", _moments(start), "when it was started, and its statistics were reset"
    for number, problem in enumerate(status.problems, 1):
        yield f"problem_{number}", problem, "to be mended"
    for number, warning in enumerate(house.warnings(), 1):
        yield f"warning_{number}", warning, "may weaken the promise"


def _moments(seconds: str) -> str | None:
    """Unix times with slashes between them, for people."""
    try:
        times = [datetime.fromtimestamp(float(each), UTC) for each in seconds.split("/") if each]
    except (ValueError, OverflowError, OSError):
        return seconds
    return ", ".join(f"{time:%Y-%m-%d %H:%M:%S} UTC" for time in times) or None


def config(house: House) -> Iterator[Row]:
    settings, seen = house.settings, house.config()
    yield "config", seen.path, None, "default" if seen.path is None else "start", "restart"
    if seen.problem:
        yield "config_problem", seen.problem, None, seen.path, "on change"
    for option in OPTIONS:
        source, text = settings.given.get(option.name, ("default", option.default or ""))
        # Of the URL all but the password is shown.
        value = str(settings.upstream) if option.name == "upstream" else text
        yield option.name, value, option.default, source, "restart"
    yield "rules", f"{len(settings.rules)} rules", "0 rules", seen.path or "default", "on change"


def rules(house: House) -> Iterator[Row]:
    engine = house.engine
    used: dict[str, int] = {}
    for shape in engine.shapes:
        used[shape.rule] = used.get(shape.rule, 0) + 1
    for number, rule in enumerate(engine.rules, 1):
        yield (
            number,
            rule.name,
            rule.priority,
            rule.conditions_text,
            rule.effects_text,
            used.get(rule.name, 0),
        )


def databases(house: House) -> Iterator[Row]:
    engine = house.engine
    entries = dict(engine.store.by_granule())
    for database in engine.databases.values():
        snapshot = database.snapshot
        yield (
            database.name,
            _catalog(database),
            database.version,
            None if snapshot is None else len(snapshot.by_oid),
            len(database.contexts),
            entries.get((database.oid, 0), 0) if database.oid else 0,
            None if database.problem is None else database.problem.meaning,
        )


def _catalog(database: Database) -> str:
    if database.snapshot is not None:
        return "read"
    return "unavailable" if database.problem is Reason.CATALOG_UNAVAILABLE else "loading"


def version(house: House) -> Iterator[Row]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield __version__, python, house.status().contract, max(0.0, house.now() - house.started)
