"""Reads a catalog from PostgreSQL: the one module of the catalog with I/O.

What lives here: the transaction and the order of queries. What must not:
judgement (`catalog.build`) and SQL text (`catalog.queries`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from proxy.catalog import queries
from proxy.catalog.build import build
from proxy.catalog.rows import BuiltinRow, ExpressionRow, FunctionRow, RelationRow, Rows, TypeRow
from proxy.catalog.snapshot import CatalogSnapshot

if TYPE_CHECKING:
    import asyncpg


async def load_snapshot(connection: asyncpg.Connection[Any]) -> CatalogSnapshot:
    """Read the schema of the connection's database, at one moment.

    One REPEATABLE READ READ ONLY transaction; about ten queries.

    Raises:
        asyncpg.PostgresError, OSError: whatever the connection raises.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("set local search_path = ''")
        rows = await _read(connection)
    # Ten thousand tables take a third of a second: not on the loop that serves clients.
    return await asyncio.to_thread(build, rows)


async def _read(connection: asyncpg.Connection[Any]) -> Rows:
    database = await connection.fetchrow(queries.DATABASE)
    relations = [_relation(row) for row in await connection.fetch(queries.RELATIONS)]
    expressions = [
        ExpressionRow(owner, purpose, domains, tuple(functions), tuple(used))
        for owner, purpose, domains, functions, used in await connection.fetch(queries.EXPRESSIONS)
    ]
    functions = [
        FunctionRow(*(*row[:-1], tuple(row[-1])))
        for row in await connection.fetch(queries.FUNCTIONS)
    ]
    types = [TypeRow(*(*row[:-1], tuple(row[-1]))) for row in await connection.fetch(queries.TYPES)]
    triggers = [(row[0], row[1]) for row in await connection.fetch(queries.TRIGGERS)]
    operators = [(row[0], row[1], row[2]) for row in await connection.fetch(queries.OPERATORS)]
    used = {oid for expression in expressions for oid in expression.functions}
    used.update(function for _, function in triggers)
    used.update(oid for function in functions for oid in function.support)
    used.update(oid for _, _, oid in operators)
    used.update(oid for row in types if row.oid >= queries.FIRST_USER_OID for oid in row.functions)
    used.discard(0)
    surroundings = await connection.fetchrow(queries.SURROUNDINGS)
    return Rows(
        surroundings=tuple(surroundings or ()),
        database=tuple(database or (0, False, False)),
        relations=relations,
        inherits=[(row[0], row[1]) for row in await connection.fetch(queries.INHERITS)],
        foreign_keys=[
            (row[0], row[1], row[2], row[3]) for row in await connection.fetch(queries.FOREIGN_KEYS)
        ],
        triggers=triggers,
        expressions=expressions,
        builtins=[BuiltinRow(*row) for row in await connection.fetch(queries.BUILTINS)],
        builtin_oids=[
            (row[0], row[1], row[2], row[3])
            for row in await connection.fetch(queries.BUILTIN_OIDS, sorted(used))
        ],
        functions=functions,
        operators=operators,
        types=types,
        casts=[row[0] for row in await connection.fetch(queries.CASTS)],
        index_support=[row[0] for row in await connection.fetch(queries.INDEX_SUPPORT)],
    )


def _relation(row: Any) -> RelationRow:
    columns, types = tuple(row[8] or ()), tuple(row[9] or ())
    return RelationRow(*(*row[:8], columns, types, *row[10:]))


async def catalog_fingerprint(connection: asyncpg.Connection[Any]) -> str:
    """A text that changes when anything that `load_snapshot` reads has changed.

    It may also change without need, for example by a temporary table. One query.

    Raises:
        asyncpg.PostgresError, OSError: whatever the connection raises.
    """
    return str(await connection.fetchval(queries.FINGERPRINT))
