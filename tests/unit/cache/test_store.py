"""The store: bounded in bytes, evicted by relation, resistant to scans."""

from __future__ import annotations

import random
import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.cache.fences import ALL
from proxy.cache.store import EVICTION_SLICE, PUT_SLICE, Entry, Store


def entry(number: int, *, size: int = 100, relation: int = 1, database: int = 5) -> Entry:
    key = (1, b"select %d" % number)
    granules = (ALL, (database, 0), (database, relation))
    return Entry(key, b"T", b"x" * size, granules, (0, 0, 0))


def test_get_what_was_put() -> None:
    store = Store(100_000, 10_000)
    one = entry(1)
    assert store.put(one)
    assert store.get(one.key) is one
    assert len(store) == 1
    assert store.bytes_used == one.size


def test_replacing_counts_once() -> None:
    store = Store(100_000, 10_000)
    store.put(entry(1, size=10))
    store.put(entry(1, size=20))
    assert len(store) == 1
    assert store.bytes_used == entry(1, size=20).size
    assert store.evict([(5, 1)], "write") == 1
    assert store.bytes_used == 0


def test_eviction_by_granule() -> None:
    store = Store(1_000_000, 10_000)
    for number in range(10):
        store.put(entry(number, relation=number % 2, database=5 + number // 8))
    assert store.evict([(5, 1)], "write") == 4
    assert store.evict([(6, 0)], "schema") == 2
    assert store.evict([ALL], "write") == 4
    assert len(store) == 0
    assert store.bytes_used == 0
    assert store.evictions == {"write": 8, "schema": 2}


def test_too_large_is_refused() -> None:
    store = Store(1_000_000, 1000)
    assert not store.put(entry(1, size=5000))
    assert len(store) == 0
    assert not Store(500, 500).put(entry(1, size=400))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3000), st.integers(0, 4)), max_size=200)
)
def test_the_limit_holds(steps: list[tuple[int, int, int]]) -> None:
    store = Store(20_000, 5_000)
    for number, size, action in steps:
        if action == 0:
            store.evict([(5, number % 3)], "write")
        elif action == 1:
            found = store.get(entry(number).key)
            if found is not None:
                found.frequency = min(found.frequency + 1, 3)
        else:
            store.put(entry(number, size=size, relation=number % 3))
        assert store.bytes_used <= 20_000
        assert sum(e.size for e in store) <= store.bytes_used


def test_a_scan_does_not_displace_what_is_hot() -> None:
    store = Store(200_000, 10_000)
    draw = random.Random(7)
    hot = range(50)

    def touch(number: int) -> bool:
        found = store.get(entry(number).key)
        if found is None:
            store.put(entry(number))
            return False
        found.frequency = min(found.frequency + 1, 3)
        return True

    for _ in range(2000):
        touch(draw.choice(hot))
    for number in range(1000, 6000):  # a scan, with the hot set still in use
        touch(number)
        if number % 4 == 0:
            touch(draw.choice(hot))
    assert sum(touch(number) for number in hot) >= 45


def test_bookkeeping_is_not_understated() -> None:
    """What an entry costs in memory is at most what it counts for."""
    store = Store(100_000_000, 10_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            key = (1, b"select %d" % number)
            granules = (ALL, (5, 0), (5, number % 7))
            store.put(Entry(key, b"T" * 40, b"x" * (number % 50 + 50), granules, (0, 0, 0)))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert used <= store.bytes_used * 1.05
    assert used >= store.bytes_used * 0.5


def test_very_many_are_freed_in_slices() -> None:
    store = Store(100_000_000, 10_000)
    for number in range(EVICTION_SLICE + 500):
        store.put(entry(number))
    kept = entry(1, relation=2)
    store.put(kept)
    assert store.evict([(5, 1)], "write") == EVICTION_SLICE + 499
    assert len(store) == 1 + 499
    for number in range(500 // PUT_SLICE + 1):
        store.put(entry(100_000 + number, relation=3))
    assert len(store) == 1 + 500 // PUT_SLICE + 1
    assert store.get(kept.key) is kept
    assert store.bytes_used == sum(e.size for e in store)
