"""Plain counters, filled by the sessions and read by `proxy.metrics`."""

from __future__ import annotations

from bisect import bisect_left

from proxy.tally import Shape

# Upper bounds in seconds: from a hit in the proxy to a slow report.
BUCKETS = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)


_HIT = ("hit", "")

# What a check of a hit against PostgreSQL found.
VERIFY_RESULTS = ("match", "reordered", "tolerated", "race", "skipped", "mismatch")


# Looking at the clock twice costs as much as the look-up: one hit in so many is timed
# and stands for all of them.
TIMED_TOGETHER = 16


class Histogram:
    """Counts per bucket (not cumulative; the last one is everything above) and their sum in s."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


class Statistics:
    """Everything that is counted. Keys of `statements`: (outcome, reason)."""

    def __init__(self) -> None:
        self.statements: dict[tuple[str, str], int] = {}
        self.seconds: dict[str, Histogram] = {
            outcome: Histogram()
            for outcome in ("hit", "shared", "stale", "miss", "bypass", "write", "other")
        }
        self.fills_rejected: dict[str, int] = {}
        self.verify: dict[str, int] = dict.fromkeys(VERIFY_RESULTS, 0)
        self.bytes: dict[str, int] = {
            "client_in": 0,
            "client_out": 0,
            "upstream_in": 0,
            "upstream_out": 0,
        }
        # Hits that are not yet counted in `statements` and `seconds`; see `time_hits`.
        self.fresh_hits = 0
        # How many of them there are when one is timed. Whoever looks in between has them
        # counted untimed; then the next one is timed, or few hits never were.
        self.time_at = 1
        self._hit_seconds = 0.0
        self.statements[_HIT] = 0

    def reset(self) -> None:
        """Count from zero; whoever holds one of the parts goes on counting in it."""
        self.time_hits()
        self.statements.clear()
        self.statements[_HIT] = 0
        self.fills_rejected.clear()
        for histogram in self.seconds.values():
            histogram.counts[:] = [0] * len(histogram.counts)
            histogram.total = 0.0
        for counts in (self.verify, self.bytes):
            counts.update(dict.fromkeys(counts, 0))

    def time_hits(self, seconds: float | None = None, shape: Shape | None = None) -> None:
        """The hits since the last call took `seconds` each (None: as the last ones did).

        Args:
            shape: of the last of them.
        """
        if seconds is not None and shape is not None:
            shape.hit.observe(seconds)
        self.time_at = 1 if seconds is None else TIMED_TOGETHER
        if seconds is not None:
            self._hit_seconds = seconds
        hits, self.fresh_hits = self.fresh_hits, 0
        self.statements[_HIT] += hits
        observed = self.seconds["hit"]
        observed.counts[bisect_left(BUCKETS, self._hit_seconds)] += hits
        observed.total += self._hit_seconds * hits

    def count(self, outcome: str, reason: str, amount: int = 1) -> None:
        key = (outcome, reason)
        self.statements[key] = self.statements.get(key, 0) + amount

    def reject(self, cause: str) -> None:
        self.fills_rejected[cause] = self.fills_rejected.get(cause, 0) + 1
