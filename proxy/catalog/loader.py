"""Reads a catalog from PostgreSQL: the one module of the catalog with I/O.

What lives here: the transaction and the order of queries. What must not:
judgement (`catalog.build`) and SQL text (`catalog.queries`).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from proxy.catalog import queries
from proxy.catalog.build import Judged, judge
from proxy.catalog.rows import (
    BuiltinRow,
    ExpressionRow,
    FunctionRow,
    RelationRow,
    Rows,
    TriggerRow,
    TypeRow,
)
from proxy.catalog.snapshot import CatalogSnapshot

if TYPE_CHECKING:
    import asyncpg


async def load_snapshot(connection: asyncpg.Connection[Any]) -> CatalogSnapshot:
    """Read the schema of the connection's database, at one moment.

    Raises:
        asyncpg.PostgresError, OSError: whatever the connection raises.
    """
    return await CatalogReader().load(connection)


Versions = dict[int, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the last load on this connection has seen."""

    rows: Rows
    judged: Judged
    relations: Versions
    functions: Versions
    expressions: Versions


class CatalogReader:
    """Reads one database again and again; what has not changed is not read twice.

    Rows are known by their xmin, which belongs to the history of one running server:
    on a new connection everything is read.
    """

    def __init__(self) -> None:
        self._connection: object = None
        self._seen: _Seen | None = None

    async def load(self, connection: asyncpg.Connection[Any]) -> CatalogSnapshot:
        """Read the schema at one moment: one REPEATABLE READ READ ONLY transaction.

        Raises:
            asyncpg.PostgresError, OSError: whatever the connection raises.
        """
        before = self._seen if connection is self._connection else None
        self._seen, self._connection = None, connection
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("set local search_path = ''")
            read = await _Reading(connection, before).everything()
        # Ten thousand tables take a third of a second: not on the loop that serves clients.
        snapshot, self._seen = await asyncio.to_thread(_undisturbed, read)
        return snapshot


def _undisturbed(work: Callable[[], T]) -> T:
    """Make very many objects, none of them garbage, without looking for garbage meanwhile.

    Each look would stop the loop, too.
    """
    if not gc.isenabled():
        return work()
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()


class _Reading:
    """One load. Rows become objects where the result is called, which needs no loop."""

    def __init__(self, connection: asyncpg.Connection[Any], before: _Seen | None) -> None:
        self._fetch = connection.fetch
        self._before = before
        self._modern = connection.get_server_version().major >= 14

    async def everything(self) -> Callable[[], tuple[CatalogSnapshot, _Seen]]:
        """Ask all questions."""
        types = await self._fetch(queries.TYPES)
        before = self._before
        if before is not None and _types(types) != before.rows.types:
            before = None  # functions and columns may show their names
        relations, functions, expressions = await self._versions()
        changed = _changed(None if before is None else before.relations, relations)
        new_relations = await self._fetch(queries.RELATIONS, changed)
        if before is not None and _renamed(before.rows, new_relations):
            # Functions are told by the names of the row types that they take and give.
            before = replace(before, functions=dict.fromkeys(before.functions, 0))
        changed = _changed(None if before is None else before.functions, functions)
        new_functions = await self._fetch(queries.FUNCTIONS, changed)
        changed = _changed(None if before is None else before.expressions, expressions)
        trees = queries.EXPRESSIONS if self._modern else queries.EXPRESSIONS_13
        new_expressions = await self._fetch(trees, changed)
        rest = await self._rest()
        used = await self._used(before, new_functions, new_expressions, types, rest)

        def finish() -> tuple[CatalogSnapshot, _Seen]:
            old = before.rows if before is not None else Rows()
            stale = _stale(None if before is None else before.relations, relations)
            found = [*(row for row in old.relations if row.oid not in stale)]
            found += map(_relation, new_relations)
            stale = _stale(None if before is None else before.functions, functions)
            called = [*(row for row in old.functions if row.oid not in stale)]
            called += map(_function, new_functions)
            stale = _stale(None if before is None else before.expressions, expressions)
            stored = [*(row for row in old.expressions if row.owner not in stale)]
            stored += map(_expression, new_expressions)
            rows = Rows(
                relations=sorted(found, key=lambda row: row.oid),
                functions=sorted(called, key=lambda row: row.oid),
                expressions=sorted(stored, key=lambda row: row[:2]),
                types=_types(types),
                builtin_oids=[tuple(row) for row in used],
                **rest,
            )
            snapshot, judged = judge(rows, before.judged if before is not None else None)
            return snapshot, _Seen(rows, judged, relations, functions, expressions)

        return finish

    async def _versions(self) -> tuple[Versions, Versions, Versions]:
        expressions = (
            queries.EXPRESSION_VERSIONS if self._modern else queries.EXPRESSION_VERSIONS_13
        )
        texts = (queries.RELATION_VERSIONS, queries.FUNCTION_VERSIONS, expressions)
        relations, functions, owners = [dict(await self._fetch(text)) for text in texts]
        return relations, functions, owners

    async def _rest(self) -> dict[str, Any]:
        """What is small enough to be read each time."""
        fetch = self._fetch
        database = await fetch(queries.DATABASE)
        surroundings = await fetch(queries.SURROUNDINGS)
        roles = (await fetch(queries.ROLES))[0]
        return {
            "database": tuple(database[0]) if database else (0, False, False),
            "surroundings": tuple(surroundings[0]) if surroundings else (),
            "code": str((await fetch(queries.CODE))[0][0]),
            "roles": (str(roles[0]), str(roles[1])),
            "moment": (int(roles[2]), -int(roles[3])),
            "inherits": [tuple(row) for row in await fetch(queries.INHERITS)],
            "foreign_keys": [tuple(row) for row in await fetch(queries.FOREIGN_KEYS)],
            "keys": [(row[0], tuple(row[1])) for row in await fetch(queries.KEYS)],
            "equal_texts": bool((await fetch(queries.EQUAL_TEXTS))[0][0]),
            "triggers": [
                TriggerRow._make((*row[:4], tuple(row[4]), row[5]))
                for row in await fetch(queries.TRIGGERS)
            ],
            "builtins": [BuiltinRow(*row) for row in await fetch(queries.BUILTINS)],
            "operators": [tuple(row) for row in await fetch(queries.OPERATORS)],
            "casts": [row[0] for row in await fetch(queries.CASTS)],
            "index_support": [row[0] for row in await fetch(queries.INDEX_SUPPORT)],
            "libraries": tuple(tuple(row) for row in await fetch(queries.LIBRARIES)),
        }

    async def _used(
        self,
        before: _Seen | None,
        functions: list[Any],
        expressions: list[Any],
        types: list[Any],
        rest: dict[str, Any],
    ) -> list[Any]:
        """Built-in functions that something names by OID."""
        used = {oid for row in expressions for oid in row[3]}
        used.update(trigger.function for trigger in rest["triggers"])
        used.update(oid for row in functions for oid in row[12])
        used.update(oid for _, _, oid in rest["operators"])
        used.update(oid for row in types if row[0] >= queries.FIRST_USER_OID for oid in row[-1])
        if before is not None:
            used.update(row[0] for row in before.rows.builtin_oids)
        used.discard(0)
        found: list[Any] = await self._fetch(queries.BUILTIN_OIDS, sorted(used))
        return found


def _changed(before: Versions | None, now: Versions) -> list[int] | None:
    """OIDs to be read again; None for all of them."""
    if before is None:
        return None
    return [oid for oid, version in now.items() if before.get(oid) != version]


def _renamed(before: Rows, found: list[Any]) -> bool:
    """Whether a relation that was known has another name now."""
    names = {row.oid: (row.schema, row.name) for row in before.relations}
    return any(names.get(row[0], (row[1], row[2])) != (row[1], row[2]) for row in found)


def _stale(before: Versions | None, now: Versions) -> set[int]:
    """OIDs of rows that no longer hold."""
    if before is None:
        return set()
    return {oid for oid, version in before.items() if now.get(oid) != version}


def _types(rows: list[Any]) -> list[TypeRow]:
    return [TypeRow(*(*row[:-1], tuple(row[-1]))) for row in rows]


def _expression(row: Any) -> ExpressionRow:
    return ExpressionRow._make((*row[:3], *map(tuple, row[3:9]), row[9], tuple(row[10]), row[11]))


def _relation(row: Any) -> RelationRow:
    columns, types = tuple(row[8] or ()), tuple(row[9] or ())
    return RelationRow(*(*row[:8], columns, types, *row[10:]))


def _function(row: Any) -> FunctionRow:
    lists = (tuple(row[number]) for number in (12, 14, 17, 18, 19))
    support, config, modes, names, types = lists
    return FunctionRow._make(
        (
            *row[:12],
            support,
            row[13],
            config,
            *row[15:17],
            modes,
            names,
            types,
            tuple(row[20]),
            row[21],
        )
    )


async def catalog_fingerprint(connection: asyncpg.Connection[Any]) -> str:
    """A text that changes when anything that `load_snapshot` reads has changed.

    It may also change without need, for example by a temporary table. One query.

    Raises:
        asyncpg.PostgresError, OSError: whatever the connection raises.
    """
    return str(await connection.fetchval(queries.FINGERPRINT))
