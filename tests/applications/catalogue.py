"""The sample applications, and what may be said of the reads that are not cached.

What lives here: which there are, the least share of their reads that must be cacheable, and every
reason that was looked at and accepted, with the statements it may be given for. What must not:
how they are run and counted.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from tests.applications import logic, orm, plain
from tests.drivers.shop import Place
from tests.fix_howdah import ROOT


@dataclass(frozen=True)
class Accepted:
    """Statements that need not be answered from memory, and why.

    Attributes:
        reason: one or several, with a bar in between.
        statements: a regular expression that matches the beginning of their text.
        wanted: somebody may well expect it; a known gap.
    """

    reason: str
    statements: str
    why: str
    wanted: bool = False

    def covers(self, reason: str, text: str) -> bool:
        pattern = rf"\s*(?:{self.statements})"
        return reason in self.reason.split("|") and re.match(pattern, text, re.I | re.S) is not None


@dataclass(frozen=True)
class Application:
    """A program and its database.

    Attributes:
        create: makes tables and rows, directly.
        run: what it does, given where it connects to; called with the direct place first.
        floor: the least share of reads that may be answered from memory.
        hits: the least share of reads that are, when it runs again.
    """

    name: str
    title: str
    create: Callable[[Place], None]
    run: Callable[[Place], Callable[[Place], None]]
    floor: float
    hits: float
    accepted: tuple[Accepted, ...] = ()

    def accepted_as(self, reason: str, text: str) -> Accepted | None:
        """The entry that covers a statement which was not answered from memory."""
        accepted = (*self.accepted, AGAIN)
        return next((each for each in accepted if each.covers(reason, text)), None)


ANY = ".*"
AGAIN = Accepted(
    "session_unknown", ANY, "roles or the schema have changed, and the session is asked again"
)
OWN_WRITES = Accepted(
    "transaction_writes", ANY, "the transaction has written: it may see what others do not"
)
CATALOG = Accepted(
    "system_catalog|session_function|stable_function|unknown_type",
    r".*\b(?:pg_type|pg_class)\b",
    "a driver asks for types or partitions",
)
GREETING = Accepted(
    "session_function|no_relation",
    r"select (?:pg_catalog\.version|current_schema)\(\)",
    "once per connection",
)
BEGINS = Accepted(
    "portal", "SELECT", "prepared for the first time, and together with a BEGIN that waits"
)
DJANGO_CURSOR = Accepted(
    "cursor", "DECLARE", "`iterator()` of a model; DISABLE_SERVER_SIDE_CURSORS turns these off"
)
RESET = Accepted("multiple_statements", "SELECT pg_advisory_unlock_all", "asyncpg's pool resets")
JIT = Accepted(
    "setting|session_function", r"SELECT\b.*set_config", "asyncpg turns JIT off to ask for types"
)


def _always(run: Callable[[Place], None]) -> Callable[[Place], Callable[[Place], None]]:
    return lambda direct: run


def _django(what: str) -> Callable[[Place], None]:
    def run(place: Place) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.applications.django_admin"]
            + [place.host, str(place.port), place.database, what],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


def _django_admin(
    what: str, title: str, floor: float, accepted: tuple[Accepted, ...]
) -> Application:
    return Application(
        name=f"django_{what}",
        title=title,
        create=_django("create"),
        run=_always(_django(what)),
        floor=floor,
        hits=0.5,
        accepted=(OWN_WRITES, *accepted),
    )


def _pgbench(script: str, floor: float, hits: float, accepted: tuple[Accepted, ...]) -> Application:
    return Application(
        name=f"pgbench_{script}",
        title=f"pgbench {script}",
        create=plain.create_pgbench,
        run=_always(plain.run_pgbench(script)),
        floor=floor,
        hits=hits,
        accepted=(CATALOG, *accepted),
    )


APPLICATIONS: tuple[Application, ...] = (
    Application(
        name="shop",
        title="The demo's shop",
        create=plain.create_shop,
        run=plain.run_shop,
        floor=0.98,
        hits=0.75,
    ),
    _django_admin("plain", "Django admin", 0.93, (DJANGO_CURSOR,)),
    _django_admin("atomic", "Django admin, ATOMIC_REQUESTS", 0.93, (DJANGO_CURSOR,)),
    _django_admin("cursorless", "Django admin, DISABLE_SERVER_SIDE_CURSORS", 0.98, ()),
    Application(
        name="sqlalchemy_psycopg",
        title="SQLAlchemy ORM, psycopg",
        create=orm.create,
        run=_always(orm.with_psycopg),
        floor=0.92,
        hits=0.5,
        accepted=(OWN_WRITES, CATALOG, GREETING),
    ),
    Application(
        name="sqlalchemy_asyncpg",
        title="SQLAlchemy ORM, asyncpg",
        create=orm.create,
        run=_always(orm.with_asyncpg),
        floor=0.92,
        hits=0.5,
        accepted=(OWN_WRITES, GREETING, BEGINS),
    ),
    Application(
        name="psycopg",
        title="psycopg, autocommit off",
        create=plain.create_items,
        run=_always(plain.with_psycopg),
        floor=0.95,
        hits=0.9,
        accepted=(
            OWN_WRITES,
            Accepted("locking_clause", "SELECT .* FOR UPDATE", "it locks a row"),
            Accepted("clock", r"SELECT now\(\)", "it asks for the time"),
            Accepted("cursor", "DECLARE", "a named cursor of psycopg"),
        ),
    ),
    Application(
        name="by_request",
        title="psycopg, a connection per request",
        create=plain.create_items,
        run=_always(plain.by_request),
        floor=0.7,
        hits=0.7,
    ),
    Application(
        name="asyncpg",
        title="asyncpg",
        create=plain.create_items,
        run=_always(plain.with_asyncpg),
        # With luck 0.7 and 0.65; without, all that a pooled connection has prepared is stale.
        floor=0.35,
        hits=0.2,
        accepted=(OWN_WRITES, CATALOG, BEGINS, RESET, JIT),
    ),
    Application(
        name="logic",
        title="Views, partitions, functions, triggers",
        create=logic.create,
        run=_always(logic.run),
        floor=0.98,
        hits=0.5,
    ),
    _pgbench("select-only", 0.7, 0.7, ()),
    _pgbench("simple-update", 0.0, 0.0, (OWN_WRITES,)),
    _pgbench("tpcb-like", 0.0, 0.0, (OWN_WRITES,)),
)
