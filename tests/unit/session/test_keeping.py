"""PAUSE, FLUSH and RESET STATS on an engine without sessions."""

from __future__ import annotations

import pytest

from proxy.cache.fences import ALL, Granule
from proxy.cache.store import Entry
from proxy.catalog.snapshot import CatalogSnapshot, Relation
from proxy.errors import HowdahError
from proxy.reasons import Reason
from proxy.session import keeping
from proxy.session.context import Database
from proxy.session.engine import Engine

SLOTS = (0,)


@pytest.fixture
def engine() -> Engine:
    made = Engine(cache_bytes=1 << 20, entry_limit=1 << 20, max_age=60.0)
    for name, oid in (("shop", 10), ("till", 20)):
        database = made.databases[name] = Database(name)
        orders = Relation(oid + 1, "public", "orders")
        part = Relation(oid + 2, "public", "part", root=oid + 1)
        relations = {"orders": orders, "part": part}
        database.oid = oid
        database.snapshot = CatalogSnapshot(
            database_oid=oid,
            relations={"public": relations},
            by_oid={relation.oid: relation for relation in relations.values()},
        )
    return made


def store(engine: Engine, context: int, granule: Granule) -> Entry:
    granules = (ALL, (granule[0], 0), granule)
    entry = Entry((context, b"x"), None, b"", granules, (0, 0, 0))
    entry.counters = engine.board.record(entry.slots) or ()
    assert engine.store.put(entry)
    return entry


def holds(engine: Engine, entry: Entry) -> bool:
    return engine.board.holds(entry.slots, entry.counters)


def test_a_pause_hides_everything_and_changes_nothing(engine):
    entry, written = store(engine, 1, (10, 11)), store(engine, 2, (20, 21))
    assert keeping.pause(engine, "console 1")
    assert not keeping.pause(engine, "console 2")
    assert not holds(engine, entry)
    assert engine.board.record(SLOTS) is None
    assert engine.board.cause(SLOTS) is Reason.PAUSED
    assert [fence.kind for fence in engine.board.fences] == ["paused"]
    fence = engine.board.up(((20, 21),), Reason.FENCED, "session 1", 0.0)
    assert engine.board.cause(SLOTS) is Reason.PAUSED
    assert keeping.resume(engine)
    assert not keeping.resume(engine)
    assert holds(engine, entry)
    assert not holds(engine, written)
    engine.lower(fence)
    assert not holds(engine, written)


@pytest.mark.parametrize(
    ("names", "database", "left"),
    [
        ([(None, "orders")], None, set()),
        ([("public", "orders")], "shop", {2}),
        ([(None, "part")], "till", {1}),
        ([(None, "orders"), (None, "part")], "shop", {2}),
    ],
)
def test_tables_are_found_in_every_database_or_in_one(engine, names, database, left):
    entries = {1: store(engine, 1, (10, 11)), 2: store(engine, 2, (20, 21))}
    dropped = keeping.flush_tables(engine, names, database, "console 1", "FLUSH")
    assert dropped == 2 - len(left)
    assert {number for number, entry in entries.items() if holds(engine, entry)} == left
    assert engine.store.evictions == {"flush": dropped}
    assert not engine.board.fences


def test_a_database_and_everything(engine):
    one, two = store(engine, 1, (10, 11)), store(engine, 2, (20, 21))
    assert keeping.flush_database(engine, "shop", "console 1", "FLUSH") == 1
    assert (holds(engine, one), holds(engine, two)) == (False, True)
    assert keeping.flush_everything(engine, "console 1", "FLUSH") == 1
    assert not holds(engine, two)
    engine.databases["new"] = Database("new")
    assert keeping.flush_database(engine, "new", "console 1", "FLUSH") == 0


@pytest.mark.parametrize(
    ("names", "database", "sqlstate", "words"),
    [
        ([(None, "order")], None, "42P01", "did you mean 'orders'?"),
        ([("private", "orders")], None, "42P01", "private.orders"),
        ([(None, "orders"), (None, "nothing")], None, "42P01", "nothing"),
        ([(None, "orders")], "shap", "3D000", "did you mean 'shop'?"),
    ],
)
def test_what_is_not_there_flushes_nothing(engine, names, database, sqlstate, words):
    entry = store(engine, 1, (10, 11))
    with pytest.raises(HowdahError, match=words) as caught:
        keeping.flush_tables(engine, names, database, "console 1", "FLUSH")
    assert caught.value.sqlstate == sqlstate
    assert holds(engine, entry)


def test_statistics_start_from_zero(engine):
    statistics = engine.statistics
    statistics.count("miss", "not_cached")
    statistics.seconds["miss"].observe(0.5)
    statistics.fresh_hits = 3
    statistics.reject("fenced")
    statistics.bytes["client_in"] = 5
    engine.shapes.of("shop", b"SELECT 1").hits = 4
    store(engine, 1, (10, 11))
    keeping.flush_everything(engine, "console 1", "FLUSH")
    keeping.reset_statistics(engine)
    assert statistics.statements == {("hit", ""): 0}
    assert statistics.fresh_hits == 0
    assert sum(statistics.seconds["miss"].counts) == 0
    assert sum(statistics.seconds["hit"].counts) == 0
    assert statistics.fills_rejected == engine.store.evictions == {}
    assert set(statistics.bytes.values()) == {0}
    assert [shape.calls for shape in engine.shapes] == [0]
