"""The rows of a catalog as they are read, before anything is judged.

What lives here: one row type per query of `catalog.queries`, all of them
together, and the hash of their content. What must not: judgement.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import NamedTuple


class RelationRow(NamedTuple):
    oid: int
    schema: str
    name: str
    kind: str = "r"
    persistence: str = "p"
    has_rules: bool = False
    is_partition: bool = False
    row_security: bool = False
    columns: tuple[str, ...] | None = ()
    types: tuple[int, ...] | None = ()
    virtual: bool = False
    details: str = ""  # owner, privileges, typmods: only for the fingerprint


class ExpressionRow(NamedTuple):
    """What all expressions that one owner has for one purpose are made of.

    Purposes: d default and check, i index and statistics, p partition key, w WHEN of
    a trigger, v view, 2 to 4 rules for UPDATE, INSERT, DELETE, r row security as a plain
    SELECT meets it, c what else policies say; t is the check or default of a domain, a the
    defaults of a function's arguments, b its body: the owner is the domain or the function
    then.

    Attributes:
        domains: values are converted to a domain, which runs its check.
        functions, relations: OIDs that occur.
        nodes: the kinds of nodes that occur, for purposes v, 2 to 4, r, c, a, b, t.
        texts: OIDs of types that values are converted to by way of text, for the same.
        values: numbers of SQLValueFunctionOp (primnodes.h), for the same.
        commands: numbers of CmdType (nodes.h), for the same.
        storage: system columns occur, for the same.
        settings: first arguments of `current_setting`, for the same: bytes of a constant as
            outfuncs.c writes them, None where it is no constant.
        details: a hash of the trees, for the same; only for the fingerprint.
    """

    owner: int
    purpose: str
    domains: bool
    functions: tuple[int, ...]
    relations: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    texts: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    commands: tuple[int, ...] = ()
    storage: bool = False
    settings: tuple[str | None, ...] = ()
    details: str = ""


class TriggerRow(NamedTuple):
    """A trigger that may fire: `type` holds the bits of pg_trigger.tgtype."""

    relation: int
    function: int
    type: int = 0x7F
    deferrable: bool = False
    transitions: tuple[str, ...] = ()
    name: str = ""


class BuiltinRow(NamedTuple):
    name: str
    least: int
    most: int
    volatility: int  # 1 immutable, 2 stable, 3 volatile
    row: bool = False
    schema: str = "pg_catalog"


class FunctionRow(NamedTuple):
    oid: int
    schema: str
    name: str
    least: int
    most: int
    volatility: str
    language: str
    extension: str = ""
    kind: str = "f"
    constant_defaults: bool = True
    row: bool = True
    dynamic: bool = False
    support: tuple[int, ...] = ()
    source: str = ""
    config: tuple[str, ...] = ()
    returns: str = "void"
    result: int = 0
    modes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    all_types: tuple[int, ...] = ()
    definer: bool = False


class TypeRow(NamedTuple):
    oid: int
    schema: str
    name: str
    kind: str = "b"
    base: int = 0
    element: int = 0
    subtype: int = 0
    functions: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rows:
    """Everything that `build` looks at, as read.

    `surroundings` are hashes of schemas, roles and memberships, which decide about
    search paths and privileges: they count for the fingerprint alone. `code` changes
    with functions, types, operators, casts, collations and text search, also where no
    row below shows it. `libraries` are pairs: l and a file of C functions, p and the prefix
    of settings that are not PostgreSQL's own.
    """

    database: tuple[int, bool, bool] = (0, False, False)
    surroundings: tuple[str, ...] = ()
    code: str = ""
    roles: tuple[str, str] = ("", "")
    moment: tuple[int, int] = (0, 0)
    relations: list[RelationRow] = field(default_factory=list)
    inherits: list[tuple[int, int]] = field(default_factory=list)
    foreign_keys: list[tuple[int, int, str, str, str]] = field(default_factory=list)
    keys: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    equal_texts: bool = False
    triggers: list[TriggerRow] = field(default_factory=list)
    expressions: list[ExpressionRow] = field(default_factory=list)
    builtins: list[BuiltinRow] = field(default_factory=list)
    builtin_oids: list[tuple[int, str, str, int, bool]] = field(default_factory=list)
    functions: list[FunctionRow] = field(default_factory=list)
    operators: list[tuple[str, str, int]] = field(default_factory=list)
    types: list[TypeRow] = field(default_factory=list)
    casts: list[int] = field(default_factory=list)
    index_support: list[int] = field(default_factory=list)
    libraries: tuple[tuple[str, str], ...] = ()


def fingerprint(rows: Rows) -> str:
    """A hash of the content: equal rows, equal text, within one process.

    Temporary relations do not count: only their owner sees them, and its session is
    only forwarded (K4).
    """
    temporary = {row.oid for row in rows.relations if row.persistence == "t"}
    if temporary:
        rows = replace(
            rows,
            relations=[row for row in rows.relations if row.oid not in temporary],
            inherits=[pair for pair in rows.inherits if temporary.isdisjoint(pair)],
            foreign_keys=[row for row in rows.foreign_keys if temporary.isdisjoint(row[:2])],
            keys=[row for row in rows.keys if row[0] not in temporary],
            triggers=[row for row in rows.triggers if row.relation not in temporary],
            expressions=[row for row in rows.expressions if row.owner not in temporary],
            types=[row for row in rows.types if not row.schema.startswith("pg_temp_")],
        )
    # Which built-in functions are used says nothing that the rest does not; nor does the moment.
    rows = replace(rows, builtin_oids=[], moment=(0, 0))
    # Within one process equal texts have equal hashes; lists are hashed as a whole, since
    # there may be tens of thousands of rows.
    parts = (hash(_hashable(getattr(rows, part.name))) for part in fields(rows))
    return ".".join(f"{part:x}" for part in parts)


def _hashable(part: object) -> object:
    return tuple(part) if isinstance(part, list) else part
