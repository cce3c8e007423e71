"""What a fence adds to a write on its way to the acknowledgement, in this process.

What lives here: raising a fence on one table, evicting what depends on it, and lowering
it, for several numbers of answers that depend on it. What must not: sockets in what is timed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.cache.store import Entry
from proxy.reasons import Reason
from proxy.session.engine import Engine

NAME = "fences"
GOAL = 20.0  # microseconds, where one answer depends on the table
ANSWERS = (0, 1, 100, 10_000)


@dataclass(frozen=True)
class FenceCost:
    """Microseconds, medians: raising before the bytes leave; evicting and lowering after."""

    answers: int
    up: float
    down: float


def measure(repeats: int = 300) -> list[FenceCost]:
    """Time the fence of one table over a store with other answers in it."""
    return [_measure(answers, repeats if answers < 1000 else 20) for answers in ANSWERS]


def _measure(answers: int, repeats: int) -> FenceCost:
    engine = Engine(cache_bytes=1 << 28, entry_limit=1 << 20, max_age=None)
    _fill(engine, 16500, 1000)
    granules = ((5, 16400),)
    ups, downs = [], []
    for number in range(repeats):
        _fill(engine, 16400, answers)
        begin = time.perf_counter()
        fence = engine.board.up(granules, Reason.FENCED, "bench", float(number))
        middle = time.perf_counter()
        engine.lower(fence)
        end = time.perf_counter()
        ups.append(middle - begin)
        downs.append(end - middle)
    return FenceCost(answers, statistics.median(ups) * 1e6, statistics.median(downs) * 1e6)


def _fill(engine: Engine, relation: int, answers: int) -> None:
    granules = ((0, 0), (5, 0), (5, relation))
    for number in range(answers):
        key = (relation, str(number).encode())
        engine.store.put(Entry(key, b"T" * 40, b"D" * 80, granules, (0, 0, 0)))


def lines(found: Sequence[FenceCost]) -> list[str]:
    """One line per goal."""
    cost = next(cost for cost in found if cost.answers == 1)
    total = cost.up + cost.down
    verdict = "PASS" if total <= GOAL else "MISS"
    return [f"{verdict}  fence of one write: {total:.1f} us (goal <= {GOAL:.0f} us)"]


def table(found: Sequence[FenceCost]) -> list[list[str]]:
    """Header and one row per number of answers."""
    rows = [["answers that depend on the table", "up, us", "evict and down, us"]]
    return rows + [[f"{c.answers:,}", f"{c.up:.1f}", f"{c.down:.1f}"] for c in found]
