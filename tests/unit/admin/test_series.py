"""The ring of samples, over a real engine and a clock that the test sets."""

from __future__ import annotations

import pytest

from proxy.admin.series import NAMES, Series, quantiles
from proxy.session.engine import Engine
from proxy.session.statistics import BUCKETS


class Bench:
    """An engine, and a series that is told the time."""

    def __init__(self, **options: float) -> None:
        self.engine = Engine(cache_bytes=1_000_000, entry_limit=10_000, max_age=60.0)
        self.time = 0.0
        self.engine.clock = lambda: self.time
        self.series = Series(**options)

    def sample(self, *, wall: float | None = None) -> None:
        self.time += 2.0
        self.series.sample(self.engine, 1000 + self.time if wall is None else wall, 5, 3)

    def ran(self, outcome: str, seconds: float, times: int = 1) -> None:
        statistics = self.engine.statistics
        statistics.count(outcome, "", times)
        for _ in range(times):
            statistics.seconds[outcome].observe(seconds)

    def told(self, since: float = 0.0) -> list[dict[str, float | None]]:
        document = self.series.document(2000.0, since)
        return [dict(zip(NAMES, sample, strict=True)) for sample in document["samples"]]


def test_a_sample_is_what_happened_since_the_last_one():
    bench = Bench()
    bench.ran("miss", 0.01, 7)
    bench.sample()
    assert bench.told() == []
    bench.ran("miss", 0.003, 10)
    bench.ran("bypass", 0.02, 10)
    bench.ran("hit", 0.00003, 100)
    bench.ran("write", 0.5)
    bench.sample()
    bench.sample()
    first, second = bench.told()
    assert (first["time"], first["seconds"]) == (1004.0, 2.0)
    counts = [first[name] for name in ("hit", "shared", "stale", "miss", "bypass", "write")]
    assert counts == [100, 0, 0, 10, 10, 1]
    assert (first["clients"], first["upstreams"], first["fences"]) == (5, 3, 0)
    assert first["hit_p50"] == pytest.approx(0.000035, rel=0.1)
    # Both kinds of reads that PostgreSQL has answered, and no writes.
    assert first["upstream_p50"] == pytest.approx(0.005, rel=0.01)
    assert first["upstream_p99"] == pytest.approx(0.0245, rel=0.1)
    assert second["miss"] == 0
    assert second["hit_p50"] is None
    assert second["upstream_p99"] is None


def test_hits_that_are_not_yet_counted_belong_to_the_step():
    bench = Bench()
    bench.sample()
    bench.engine.statistics.fresh_hits = 12
    bench.sample()
    assert [sample["hit"] for sample in bench.told()] == [12]


def test_time_saved_never_falls():
    bench = Bench()
    shape = bench.engine.shapes.of("shop", b"SELECT 1 FROM item")
    bench.sample()
    shape.served(10, 1, 100, 0.02, 1.0)
    bench.sample()
    bench.engine.shapes.reset()
    bench.sample()
    assert [sample["saved"] for sample in bench.told()] == [0.2, 0.0]


def test_only_what_is_new_is_told():
    bench = Bench()
    for _ in range(4):
        bench.sample()
    assert [sample["time"] for sample in bench.told()] == [1004.0, 1006.0, 1008.0]
    assert [sample["time"] for sample in bench.told(since=1004.0)] == [1006.0, 1008.0]
    assert bench.told(since=1008.0) == []
    # Another Howdah, or a clock that was set back.
    assert len(bench.told(since=1009.0)) == 3


def test_a_clock_that_was_set_back_takes_nothing_away():
    bench = Bench()
    bench.sample()
    bench.sample()
    bench.sample(wall=500.0)
    assert [sample["time"] for sample in bench.told()] == [1004.0, 500.0]
    assert bench.told(since=1004.0) != []


def test_no_more_is_kept_than_the_span():
    bench = Bench(step=2.0, span=10.0)
    for _ in range(20):
        bench.sample()
    assert [sample["time"] for sample in bench.told()] == [1032.0, 1034.0, 1036.0, 1038.0, 1040.0]


def test_two_looks_at_one_moment_are_one():
    bench = Bench()
    bench.sample()
    bench.series.sample(bench.engine, 1002.0, 5, 3)
    assert len(bench.series) == 0


@pytest.mark.parametrize(
    ("place", "low", "high"),
    [(0, 0, BUCKETS[0]), (5, BUCKETS[4], BUCKETS[5]), (len(BUCKETS), BUCKETS[-1], 20.0)],
)
def test_a_quantile_lies_in_the_bucket_of_its_share(place, low, high):
    counts = [0] * (len(BUCKETS) + 1)
    counts[place] = 9
    middle, most = quantiles(counts, (0.5, 1.0))
    assert middle is not None
    assert most == pytest.approx(high)
    assert low < middle < high


def test_quantiles_of_nothing_are_unknown():
    assert quantiles([0] * (len(BUCKETS) + 1), (0.5, 0.99)) == [None, None]
