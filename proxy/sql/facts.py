"""What the text of one statement says, as frozen data.

What lives here: the answer types of `sql.analyse`. What must not: the parser,
the catalog, and any judgement; names are as written, nothing is resolved.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.reasons import Reason
from proxy.sql.hints import NO_HINTS, Hints


class StatementKind(enum.Enum):
    """The families that `policy.decide` treats alike."""

    SELECT = "select"
    MODIFY = "modify"  # INSERT, UPDATE, DELETE, MERGE
    COPY_FROM = "copy_from"
    COPY_TO = "copy_to"
    TRUNCATE = "truncate"
    EXPLAIN = "explain"
    CURSOR = "cursor"  # DECLARE has `inner`; FETCH, MOVE, CLOSE do not
    PREPARE = "prepare"
    EXECUTE = "execute"
    DEALLOCATE = "deallocate"
    TRANSACTION = "transaction"
    SET = "set"
    SHOW = "show"
    DISCARD = "discard"
    LOCK = "lock"
    MAINTENANCE = "maintenance"  # VACUUM, ANALYZE, REINDEX, CLUSTER: index expressions run
    UTILITY = "utility"  # neither reads nor writes tables
    DDL = "ddl"
    OPAQUE = "opaque"  # DO, CALL, LOAD, and whatever is not known


class Name(NamedTuple):
    """A possibly qualified name of a relation, function, operator or type."""

    schema: str | None
    name: str


class Target(NamedTuple):
    """A relation that is written. `events` holds of 'i', 'u', 'd', 't', 'r' what can happen."""

    relation: Name
    events: str


class Call(NamedTuple):
    """One function call.

    Attributes:
        function: the name as written.
        args: number of arguments; -1 where it is not known.
        variadic: VARIADIC was written.
        literal: the first argument where it is a string literal, or one cast to text.
        keyword: the grammar of PostgreSQL 18 reads a construct of its own here;
            an older server may see a call of a function of that name.
    """

    function: Name
    args: int
    variadic: bool = False
    literal: str | None = None
    keyword: bool = False


# How sure it is that an expression is not text, as a tree: True and False are
# known from the text alone, a str is a column of that name, a tuple needs all
# of its members.
Shape = bool | str | tuple["Shape", ...]


class Cast(NamedTuple):
    """A cast to a named type.

    `shape` says what is cast: `None` is a literal or a parameter, which is
    checked elsewhere (K5). `call` marks `type(x)`, which is a cast only where
    no function fits.
    """

    type: Name
    shape: Shape | None
    call: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """SET, RESET and their kin.

    `values` is `None` where the statement gives none (DEFAULT, FROM CURRENT, RESET).
    An empty `name` is RESET ALL.
    """

    name: str
    values: tuple[str, ...] | None = None
    local: bool = False
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What the body of a function, a procedure or a DO block says.

    Attributes:
        statements: facts of every SQL statement and expression in it, in order; an
            expression counts as the SELECT of it.
        unknown: empty if all of it is understood, else a word for the first thing
            that is not (F9).
        dynamic: it may change the schema.
        commits: COMMIT or ROLLBACK occur in it.
        assigned: types of variables that are assigned something that is no literal.
            PL/pgSQL may convert by way of text, so that a date reads 'now' (K5).
            `Name(None, "")` is a type that the text does not tell.
        returns: RETURN with a value occurs, which is converted to the result type.
        inexact: something whose value does not follow from arguments, tables and
            settings alone.
    """

    statements: tuple[Facts, ...] = ()
    unknown: str = ""
    dynamic: bool = False
    commits: bool = False
    assigned: frozenset[Name] = frozenset()
    returns: bool = False
    inexact: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """One statement.

    Attributes:
        kind: see `StatementKind`.
        tag: the parser's name of the node, for example `AlterRoleStmt`.
        relations: relations that are read; names of common table expressions
            are left out where they surely shadow.
        targets: relations that are written, also by data-modifying CTEs.
        calls: function calls, aggregates and window functions included.
        operators: operators by name; `=` and its kin used implicitly are not listed.
        types: every type that is named.
        casts: those casts whose type may be a date, a time or unknown.
        dotted: last parts of `a.b`, which may be calls of a function b on row a.
        derived: names that subqueries, CTEs and functions give to their columns.
        open_columns: a function in FROM, or an expansion, adds columns of unknown names.
        value_function: CLOCK where CURRENT_DATE and its kin occur.
        asks: which of CURRENT_USER, CURRENT_SCHEMA and their kin occur, in lower case.
        clock_literal: a string says now, today, tomorrow or yesterday (K5).
        time_zoned: AT TIME ZONE is applied to a bare parameter, or a JSON path may compare times.
        unsupported: the first construct that is not on the list for reads; empty if none.
        unknown: the first construct whose effects are not known; empty if none.
        positioned: WHERE CURRENT OF, so that it acts where a cursor stands.
        locking: FOR UPDATE and its kin. sampling: TABLESAMPLE. system_column: ctid, xmin...
        into: SELECT INTO. temporary: makes a temporary object.
        cascade: TRUNCATE ... CASCADE. program: COPY from or to a program.
        analyze: EXPLAIN ANALYZE, which executes.
        control: value of `policy.plan.Control`. commits: can end a transaction with a commit.
        isolation: names a transaction isolation other than READ COMMITTED.
        assigns: what a SELECT sets that does nothing but call set_config with literal names
            and with literals or parameters as values; empty for any other.
        prepared: names of SQL-level prepared statements it touches; `None` is all.
        inner: the statement inside EXPLAIN, DECLARE, PREPARE, CREATE TABLE AS.
        body: what a DO block in PL/pgSQL does; `None` for another language.
        cluster: the command reaches beyond this database (F9).
        dynamic: words in it, or in the body it carries, may change the schema.
    """

    kind: StatementKind
    tag: str = ""
    relations: frozenset[Name] = frozenset()
    targets: tuple[Target, ...] = ()
    calls: frozenset[Call] = frozenset()
    operators: frozenset[Name] = frozenset()
    types: frozenset[Name] = frozenset()
    casts: tuple[Cast, ...] = ()
    dotted: frozenset[str] = frozenset()
    derived: dict[str, Shape] = field(default_factory=dict)
    open_columns: bool = False
    value_function: Reason = Reason.NONE
    asks: frozenset[str] = frozenset()
    clock_literal: bool = False
    time_zoned: bool = False
    unsupported: str = ""
    unknown: str = ""
    locking: bool = False
    sampling: bool = False
    positioned: bool = False
    system_column: bool = False
    into: bool = False
    temporary: bool = False
    cascade: bool = False
    cluster: bool = False
    dynamic: bool = False
    analyze: bool = False
    program: bool = False
    control: str = "none"
    commits: bool = False
    isolation: bool = False
    prepared: tuple[str, ...] | None = ()
    setting: Setting | None = None
    assigns: tuple[Setting, ...] = ()
    inner: Facts | None = None
    body: Body | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """All statements of one text, and what its leading comment asks for.

    Attributes:
        text: the text, for rules.
        statements: one `Facts` each, in order; empty for an empty text.
        error: why the parser refused the text; empty if it did not.
        hints: what its leading comments ask for.
        dynamic: for a refused text, whether it may change the schema.
    """

    text: str
    statements: tuple[Facts, ...] = ()
    error: str = ""
    hints: Hints = NO_HINTS
