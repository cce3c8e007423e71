"""What one row of the closure suite says, and the words that rows are made of.

A row is: what must be there, what is read, what another session then does, and what
follows for the cache. `{s}` stands for the row's schema and `{n}` for the number of the
run, 1 to 4: every row runs once in each style, in the same schema.

What must not live here: rows (`cases_*.py`), and how they are run (`run.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Query:
    """Sent as one Query message in every style: several statements, or simple on purpose."""

    sql: str


@dataclass(frozen=True)
class CopyIn:
    """COPY ... FROM STDIN with its data; `fail` ends it with CopyFail."""

    sql: str
    data: str
    fail: bool = False


@dataclass(frozen=True)
class In:
    """A step in a session of its own; what is before `:` in its name is the role."""

    session: str
    step: str | Query | CopyIn


Step = str | Query | CopyIn | In

T = "SELECT * FROM {s}.t ORDER BY id"
U = "SELECT * FROM {s}.u ORDER BY id"
#: What every schema of a row has; `setup` adds to it.
BASE = """
CREATE SCHEMA {s};
CREATE TABLE {s}.t (id int PRIMARY KEY, v int);
CREATE TABLE {s}.u (id int PRIMARY KEY, v int);
INSERT INTO {s}.t SELECT i, i FROM generate_series(1, 6) i;
INSERT INTO {s}.u SELECT i, i * 10 FROM generate_series(1, 8) i WHERE i <> 6;
GRANT USAGE ON SCHEMA {s} TO PUBLIC;
"""
#: A table that no row touches: its entry must survive every write with a known closure.
UNRELATED = "SELECT * FROM public.unrelated ORDER BY id"
UNRELATED_TABLE = """
CREATE TABLE public.unrelated (id int PRIMARY KEY, v text);
INSERT INTO public.unrelated VALUES (1, 'one'), (2, 'two');
GRANT SELECT ON public.unrelated TO PUBLIC;
"""


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: unique; also the name of the row's schema, unless `schema` is given.
        act: what the other session does.
        setup: SQL that adds to the schema, run directly before Howdah sees the database.
        reads: what is primed, and compared after the act.
        undo: SQL through Howdah that lets the act be done again; it is no proof of anything.
        cacheable: the repeat of every read must be a hit (True) or must never be one (False).
        hit_after: it must be a hit again once the act is over.
        kept: the unrelated entry must be a hit right behind the act.
        stays: so must the row's own reads: the act changes nothing.
        changes: the direct answer must differ after the act, else the row shows nothing; None
            where it depends on the style.
        error: the SQLSTATE that some step must end with, or several, any of them.
        bag: the rows have no order of their own: compared as a multiset.
        ddl: statements that were prepared before are prepared again before they must hit.
        role: who reads; a session of its own, which first runs `session`.
        fault: slug in `known_faults.py`.
        why: required where a PostgreSQL engineer would have expected more.
        since, until: major versions of PostgreSQL, inclusive.
        extensions: must be available, else the row is skipped.
    """

    name: str
    act: tuple[Step, ...]
    setup: str = ""
    reads: tuple[str, ...] = (T,)
    undo: tuple[str, ...] = ()
    cacheable: bool = True
    hit_after: bool = True
    kept: bool = True
    stays: bool = False
    changes: bool | None = True
    error: str = ""
    bag: bool = False
    ddl: bool = False
    role: str = "postgres"
    session: tuple[str, ...] = ()
    schema: str = ""
    fault: str = ""
    why: str = ""
    since: int = 13
    until: int = 99
    extensions: tuple[str, ...] = ()

    @property
    def home(self) -> str:
        """The schema of this row."""
        return self.schema or f"c_{self.name}"


def write(name: str, *act: Step, **more: object) -> Case:
    """A write with a known closure: what it does not touch stays."""
    return Case(name, act, **more)  # type: ignore[arg-type]


def ddl(name: str, *act: Step, **more: object) -> Case:
    """A change of the schema: everything goes (F12), and comes back."""
    return replace(Case(name, act, kept=False, ddl=True), **more)  # type: ignore[arg-type]


def opaque(name: str, *act: Step, why: str, **more: object) -> Case:
    """A write whose closure cannot be known: everything goes (F9), and comes back."""
    return replace(Case(name, act, kept=False, why=why), **more)  # type: ignore[arg-type]


def idle(name: str, *act: Step, **more: object) -> Case:
    """An act that changes nothing, provably: even the row's own entries stay."""
    return replace(Case(name, act, stays=True, changes=False), **more)  # type: ignore[arg-type]


def read(name: str, sql: str, act: str, schema: str, **more: object) -> Case:
    """A read in a schema that several rows share, and a write that changes its answer."""
    return Case(name, (act,), reads=(sql,), schema=schema, **more)  # type: ignore[arg-type]


def never(name: str, sql: str | Sequence[str], *act: Step, why: str, **more: object) -> Case:
    """What must not be answered from memory at all."""
    reads = (sql,) if isinstance(sql, str) else tuple(sql)
    base = Case(name, act, reads=reads, cacheable=False, hit_after=False, kept=False, why=why)
    return replace(base, **more)  # type: ignore[arg-type]
