"""What an operator does to the cache: have it pause, and have it forget.

What lives here: the meaning of PAUSE, RESUME, FLUSH and RESET STATS for the engine. What must
not: who may ask for them, and how (`admin.commands`).

A pause is a fence over everything: nothing is answered from memory and nothing is stored
(F4, F5). No write hides behind it: those of the meantime have fences of their own, which move
the counters of what they change. So it comes down as if undone, and what was stored before is
good again exactly where its own counters and its age say so.

Flushing moves counters, too: an answer on its way that was read before is not stored behind it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from proxy import units
from proxy.cache.fences import ALL, Granule
from proxy.catalog.snapshot import CatalogSnapshot, Relation
from proxy.errors import HowdahError
from proxy.policy.reach import Node, Reach
from proxy.reasons import Reason

if TYPE_CHECKING:
    from proxy.session.context import Database
    from proxy.session.engine import Engine

CAUSE = "flush"


def pause(engine: Engine, owner: str) -> bool:
    """Answer nothing from memory and store nothing; False where that was so before."""
    if engine.pause is not None:
        return False
    engine.pause = engine.board.up((ALL,), Reason.PAUSED, owner, engine.clock())
    return True


def resume(engine: Engine) -> bool:
    """End the pause; False where there is none."""
    fence, engine.pause = engine.pause, None
    if fence is None:
        return False
    engine.board.down(fence, undone=True)
    return True


def flush_everything(engine: Engine, owner: str, text: str) -> int:
    """Forget all answers; how many those were."""
    return _flush(engine, (ALL,), owner, text)


def flush_database(engine: Engine, name: str, owner: str, text: str) -> int:
    """Forget all answers of one database; how many those were.

    Raises:
        HowdahError: 3D000, no client has been in it.
    """
    database = known_database(engine, name)
    return _flush(engine, ((database.oid, 0),), owner, text) if database.oid else 0


def flush_tables(
    engine: Engine,
    names: Iterable[tuple[str | None, str]],
    database: str | None,
    owner: str,
    text: str,
) -> int:
    """Forget all answers that read one of these tables; how many those were.

    A table is flushed with whatever inheritance and partitioning relate it to, a view with
    all that it reads.

    Args:
        names: schema and name; without a schema, the tables of that name in all of them.
        database: where they are; None for every database.

    Raises:
        HowdahError: 42P01, a name that no catalog has; 3D000, no such database.
    """
    databases = [database for database in engine.databases.values() if database.snapshot]
    if database is not None:
        databases = [known_database(engine, database)]
    granules: set[Granule] = set()
    for schema, name in names:
        found = set()
        for place in databases:
            if place.snapshot is not None:
                found |= _granules(engine, place.snapshot, schema, name)
        if not found:
            raise _no_table(databases, schema, name)
        granules |= found
    return _flush(engine, granules, owner, text)


def known_database(engine: Engine, name: str) -> Database:
    """The database of that name. Raises HowdahError (3D000) where no client has been in it."""
    database = engine.databases.get(name)
    if database is None:
        near = units.suggestion(name, engine.databases)
        raise HowdahError(
            f"database {name!r} is not known to Howdah{near}",
            sqlstate="3D000",
            hint="SHOW DATABASES lists those that clients have been in.",
        )
    return database


def reset_statistics(engine: Engine) -> None:
    """Count everything from zero, by statement and in all."""
    engine.shapes.reset()
    engine.statistics.reset()
    engine.store.evictions.clear()
    engine.store.returns = 0


def _flush(engine: Engine, granules: Iterable[Granule], owner: str, text: str) -> int:
    now = engine.clock()
    fence = engine.board.up(granules, Reason.FENCED, owner, now)
    dropped = engine.store.evict(fence.granules, CAUSE, now=now, owner=owner, text=text)
    engine.board.down(fence)
    return dropped


def _granules(
    engine: Engine, catalog: CatalogSnapshot, schema: str | None, name: str
) -> set[Granule]:
    found: set[Granule] = set()
    for relation in _relations(catalog, schema, name):
        if relation.kind == "v":
            reach = Reach(catalog, {**engine.rules.declared}, wide=True)
            oids = reach.of((Node("r", relation.oid),)).reads
        else:
            oids = frozenset((relation.granule,))
        found |= {(catalog.database_oid, oid) for oid in oids}
    return found


def _relations(catalog: CatalogSnapshot, schema: str | None, name: str) -> list[Relation]:
    places = catalog.relations if schema is None else (schema,)
    found = (catalog.relation(place, name) for place in places)
    return [relation for relation in found if relation is not None]


def _no_table(databases: list[Database], schema: str | None, name: str) -> HowdahError:
    known: set[str] = set()
    for database in databases:
        if database.snapshot is not None:
            for place, relations in database.snapshot.relations.items():
                if place not in ("pg_catalog", "information_schema"):
                    known |= relations.keys()
    wanted = name if schema is None else f"{schema}.{name}"
    return HowdahError(
        f"table {wanted!r} is in no database that Howdah knows{units.suggestion(name, known)}",
        sqlstate="42P01",
        hint="Write FLUSH TABLE [schema.]name [IN DATABASE name]; SHOW TABLES lists tables.",
    )
