"""A large catalog: few questions, little memory, and nobody waits while it is read.

The bench measures the full size (`python -m bench --only catalog`); here it is a quarter, and
nothing is decided by a clock.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc

import asyncpg
import pytest

from bench.catalog import Figures, Timed, make
from bench.schemas import Size
from proxy.catalog.loader import load_snapshot
from proxy.catalog.snapshot import CatalogSnapshot
from tests.fix_howdah import Howdah, Starter
from tests.fix_pg import PostgresServer
from tests.fix_tools import PATIENCE, eventually
from tests.fix_wire import Wire, errors, rows

SIZE = Size().part(4)
READ = "SELECT num FROM s0.t0 WHERE id = 1"
PROBE = "SELECT v FROM public.probe WHERE id = 1"

# Bytes that a snapshot may hold: for what every database has, and per relation or function.
# With 10,000 relations and 20,000 functions that is less than 100 MB.
MEMORY = 10_000_000
MEMORY_EACH = 3_000


@pytest.fixture(scope="module")
def large(pg18: PostgresServer) -> str:
    database = pg18.create_database(name="large")
    asyncio.run(make(pg18.port, "postgres", database, SIZE))
    return database


async def _load(server: PostgresServer, database: str) -> tuple[CatalogSnapshot, Figures]:
    connection = await asyncpg.connect(
        host=server.host,
        port=server.port,
        user="howdah",
        database=database,
        connection_class=Timed,
    )
    connection.spent = []
    figures = Figures(SIZE)
    try:
        tracemalloc.start()
        snapshot = await load_snapshot(connection)
        gc.collect()
        figures.held, figures.peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        await connection.close()
    figures.slowest = connection.spent
    return snapshot, figures


def test_few_questions_and_little_memory(pg18: PostgresServer, large: str) -> None:
    snapshot, figures = asyncio.run(_load(pg18, large))
    names = [
        name for schema, here in snapshot.relations.items() if schema[0] == "s" for name in here
    ]
    assert len(names) >= SIZE.relations
    assert len(figures.slowest) <= 30, "queries grow with the schema, not their number"
    assert figures.held < MEMORY + (SIZE.relations + SIZE.functions) * MEMORY_EACH


def test_while_it_loads_everybody_is_served(
    start_howdah: Starter, pg18: PostgresServer, large: str
) -> None:
    """Statements there are forwarded; those in another database come from memory, or wait for none.

    What is not known yet may write anything (F9), so a fence can stand in the other one, too.
    """
    howdah = start_howdah()
    small = pg18.create_database()
    begun, ended = threading.Event(), threading.Event()
    answers: list[list[str | None]] = []

    def ask() -> None:
        with howdah.wire(small) as wire:
            howdah.until_hit(wire)
            begun.set()
            while not ended.is_set():
                answers.extend(rows(wire.query(PROBE)))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert begun.wait(PATIENCE)
        with howdah.watching() as gained:
            with howdah.wire(large) as wire:
                assert rows(wire.query(READ)) == []
            ended.set()
            asking.join(PATIENCE)
    finally:
        ended.set()
        asking.join(PATIENCE)
    assert set(map(tuple, answers)) == {("0",)}
    assert gained["bypass/catalog_loading"] >= 1
    served = {"hits", "evictions", "hit/", "miss/not_cached", "bypass/fenced"}
    assert set(gained) <= served | {"bypass/catalog_loading", "bypass/session_unknown"}
    for database, sql in ((small, PROBE), (large, READ)):
        with howdah.wire(database) as wire:
            howdah.until_hit(wire, sql)


def test_a_change_is_seen_in_a_large_catalog(
    start_howdah: Starter, pg18: PostgresServer, large: str
) -> None:
    """DDL of every kind through Howdah: the next read is right, and is cached again."""
    howdah = start_howdah()
    with howdah.wire(large) as wire:
        howdah.until_hit(wire, READ)
        for change, read in (
            ("CREATE VIEW s0.fresh AS SELECT id, num FROM s0.t3", "SELECT * FROM s0.fresh"),
            ("ALTER TABLE s0.t3 ADD COLUMN extra int DEFAULT 7", "SELECT extra FROM s0.t3"),
            ("CREATE TABLE s0.newer (a int)", "SELECT a FROM s0.newer"),
            ("ALTER TABLE s0.newer RENAME TO newest", "SELECT a FROM s0.newest"),
            ("DROP VIEW s0.fresh", READ),
        ):
            assert errors(wire.query(change)) == []
            howdah.until_hit(wire, read)
        assert errors(wire.query("SELECT * FROM s0.fresh"))
        wire.query("ALTER TABLE s0.t3 DROP COLUMN extra; DROP TABLE s0.newest")


def test_a_name_that_is_not_known_has_the_catalog_read_again(
    start_howdah: Starter, pg18: PostgresServer
) -> None:
    """A table that somebody made past Howdah; with this max_age nothing else would look."""
    howdah = start_howdah("--max-age", "none")
    database = pg18.create_database()
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        pg18.run(database, "CREATE TABLE made_beside (a int)")
        howdah.until_hit(wire, "SELECT a FROM made_beside")


def _is_loaded(howdah: Howdah, wire: Wire) -> bool:
    """Whether a read there is forwarded for want of a catalog no longer."""
    before = howdah.count("statements_total", reason="catalog_loading")
    assert rows(wire.query(READ)) == []
    return howdah.count("statements_total", reason="catalog_loading") == before


def _is_down(howdah: Howdah) -> bool:
    return howdah.count("fences_up") == 0


def test_the_fence_of_a_change_comes_down(
    start_howdah: Starter, pg18: PostgresServer, large: str
) -> None:
    howdah = start_howdah()
    with howdah.wire(large) as wire:
        howdah.until_hit(wire, READ)
        wire.query("ALTER TABLE s0.t2 ADD COLUMN extra int")
        eventually(lambda: _is_down(howdah))
        wire.query("ALTER TABLE s0.t2 DROP COLUMN extra")
        eventually(lambda: _is_down(howdah))
