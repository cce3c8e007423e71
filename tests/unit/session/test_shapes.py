"""What is counted by statement."""

from __future__ import annotations

import pytest

from proxy.cache.fences import ALL
from proxy.cache.store import Entry, Store
from proxy.session.shapes import Shapes
from proxy.tally import Latency, Shape

ROWS = b"D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x011" * 2 + b"C\x00\x00\x00\x0dSELECT 2\x00"


def test_quantiles_are_near() -> None:
    latency = Latency()
    assert latency.mean is latency.quantile(0.5) is None
    for number in range(1, 1001):
        latency.observe(number / 1000)
    assert latency.mean == pytest.approx(0.5005)
    assert latency.quantile(0.5) == pytest.approx(0.5, rel=0.08)
    assert latency.quantile(0.99) == pytest.approx(0.99, rel=0.08)
    slow = Latency()
    slow.observe(40.0)
    assert slow.quantile(1.0) == pytest.approx(40.0, rel=0.08)
    latency.observe(0.0)
    assert latency.quantile(0.0) == pytest.approx(1e-7, rel=0.2)


def test_one_shape_for_texts_that_differ_in_literals() -> None:
    shapes = Shapes()
    shape = shapes.of("shop", b"SELECT 1 FROM t")
    assert shapes.of("shop", b"SELECT 2 FROM t") is shape
    assert shapes.of("other", b"SELECT 2 FROM t") is not shape
    assert shapes.get("shop", shape.id) is shape
    assert shapes.of("shop", b"broken (") is shapes.of("shop", b"also broken (")


def test_those_that_are_called_least_go_first() -> None:
    shapes = Shapes(limit=20)
    for number in range(20):
        shape = shapes.of("shop", b"SELECT c%d FROM t" % number)
        shape.ran("miss", "not_cached", 0.001, float(number), "app")
    busy = shapes.of("shop", b"SELECT c0 FROM t")
    busy.ran("miss", "not_cached", 0.001, 0.0, "app")
    bad = shapes.of("shop", b"SELECT c1 FROM t")
    bad.quarantined = True
    shapes.of("shop", b"SELECT more FROM t")
    assert (len(shapes), shapes.dropped) == (19, 2)
    assert shapes.of("shop", b"SELECT c0 FROM t") is busy
    assert shapes.of("shop", b"SELECT c1 FROM t") is bad
    assert len(shapes) == 19


def test_those_with_hits_stay_and_those_in_use_come_back() -> None:
    shapes = Shapes(limit=10)
    made = [shapes.of("shop", b"SELECT c%d FROM t" % number) for number in range(10)]
    for number, shape in enumerate(made):
        shape.ran("miss", "not_cached", 0.001, float(number), "app")
        shape.ran("miss", "not_cached", 0.001, float(number), "app")
    entry = Entry((1, b"q"), b"T", ROWS, (ALL,), (0,), shape=made[0])
    entry.fresh = 3
    shapes.fresh.append(entry)
    shapes.of("shop", b"SELECT more FROM t")
    assert shapes.get("shop", made[0].id) is made[0]
    gone = made[1]
    assert shapes.get("shop", gone.id) is None
    assert shapes.present(made[0]) is made[0]
    # An entry of it is still there, and serves.
    late = Entry((1, b"r"), b"T", ROWS, (ALL,), (0,), shape=gone)
    late.fresh = 2
    shapes.fresh.append(late)
    shapes.fold(7.0)
    assert shapes.get("shop", gone.id) is gone
    assert (gone.hits, len(shapes)) == (2, 10)
    # One that was met anew meanwhile is the one that counts.
    shapes.of("shop", b"SELECT yet FROM t")
    lost = next(shape for shape in made if shapes.get("shop", shape.id) is None)
    anew = shapes.of("shop", b"SELECT c%d FROM t" % made.index(lost))
    assert shapes.present(lost) is anew is not lost


def test_hits_are_brought_from_entries_to_shapes() -> None:
    shapes = Shapes()
    shape = shapes.of("shop", b"SELECT 1 FROM t")
    entry = Entry((1, b"q"), b"T", ROWS, (ALL,), (0,), seconds=0.5, shape=shape)
    entry.fresh = 3
    shapes.fresh.append(entry)
    shapes.fold(7.0)
    shapes.fold(8.0)
    assert (shape.hits, shape.rows, shape.bytes, shape.saved) == (3, 6, 3 * (len(ROWS) + 1), 1.5)
    assert (entry.hits, entry.fresh, shape.last, shape.calls) == (3, 0, 7.0, 3)
    shapes.reset()
    assert (shape.hits, shape.calls) == (0, 0)


def test_the_store_tells_what_became_of_an_answer() -> None:
    store = Store(100_000, 50_000)
    shape = Shape("1", "shop", "SELECT")
    first, second = (
        Entry((1, text), b"T", ROWS, (ALL, (5, 7)), (0, 0), shape=shape) for text in (b"a", b"b")
    )
    store.put(first)
    store.put(second)
    assert shape.entries == 2
    store.drop(second, "expired", 2.0)
    store.evict(((5, 7),), "write", now=3.0, owner="session 9", text="UPDATE t SET x = $1")
    assert (shape.entries, shape.evicted) == (0, 2)
    gone = store.obituary((1, b"a"))
    assert gone == (3.0, "write", (5, 7), "session 9", "UPDATE t SET x = $1")
    expired = store.obituary((1, b"b"))
    assert expired is not None
    assert expired.cause == "expired"
    assert store.obituary((1, b"c")) is None
    toll = store.tolls[(5, 7)]
    assert (toll.writes, toll.evicted, toll.last) == (1, 1, gone)


def test_everything_at_once() -> None:
    store = Store(100_000, 50_000)
    shape = Shape("1", "shop", "SELECT")
    for number in range(5):
        store.put(Entry((1, b"%d" % number), b"T", ROWS, (ALL,), (0,), shape=shape))
    assert store.evict((ALL,), "rules", now=4.0) == 5
    assert (shape.entries, shape.evicted) == (0, 5)
    gone = store.obituary((1, b"3"))
    assert gone is not None
    assert gone.cause == "rules"


def test_answers_without_rows_have_no_number() -> None:
    body = b"C\x00\x00\x00\x0aBEGIN\x00"
    assert Entry((1, b"q"), None, body, (ALL,), (0,)).rows == 0
