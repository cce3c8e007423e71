"""What happened in the last half hour, in steps of two seconds: the dashboard's plots.

What lives here: a ring of samples, each of them the difference between two looks at the
counters. What must not: when to look; the shell has the clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from proxy.session.statistics import BUCKETS, Statistics

if TYPE_CHECKING:
    from proxy.session.engine import Engine

STEP = 2.0  # seconds between two samples
SPAN = 1800.0  # seconds that are kept

OUTCOMES = ("hit", "shared", "stale", "miss", "bypass", "write", "other")
#: Reads that PostgreSQL answered; their latencies are shown beside those of hits.
ASKED = ("miss", "bypass")

#: What a sample holds, in this order. Counts belong to the step, `seconds` is its length.
NAMES = (
    "time",  # seconds since 1970 at its end
    "seconds",
    *OUTCOMES,  # statements
    "hit_p50",  # seconds; None where there was none
    "hit_p99",
    "upstream_p50",
    "upstream_p99",
    "saved",  # seconds that PostgreSQL would have taken for what came from memory
    "evicted",
    "cache_bytes",
    "entries",
    "clients",
    "upstreams",
    "fences",
)

Sample = tuple[float | None, ...]


class Series:
    """A ring of samples.

    Args:
        step: seconds between two samples, as the reader is told; the caller keeps the time.
        span: seconds that are kept.
    """

    def __init__(self, step: float = STEP, span: float = SPAN) -> None:
        self.step = step
        self._samples: deque[Sample] = deque(maxlen=max(1, round(span / step)))
        self._last: _Look | None = None

    def __len__(self) -> int:
        return len(self._samples)

    def sample(self, engine: Engine, now: float, clients: int, upstreams: int) -> None:
        """Look at the counters; the first look only tells where they stand.

        Args:
            now: seconds since 1970.
            clients, upstreams: connections that there are.
        """
        engine.shapes.fold(engine.clock())
        engine.statistics.time_hits()
        look, last = _Look(engine), self._last
        self._last = look
        seconds = look.clock - last.clock if last is not None else 0.0
        if last is None or seconds <= 0:
            return
        hits = quantiles(look.since(last, ("hit",)), (0.5, 0.99))
        asked = quantiles(look.since(last, ASKED), (0.5, 0.99))
        self._samples.append(
            (
                round(now, 3),
                round(seconds, 3),
                *(look.statements[name] - last.statements[name] for name in OUTCOMES),
                *hits,
                *asked,
                # A shape that was dropped takes what it has saved with it.
                round(max(0.0, look.saved - last.saved), 6),
                look.evicted - last.evicted,
                engine.store.bytes_used,
                len(engine.store),
                clients,
                upstreams,
                len(engine.board.fences),
            )
        )

    def document(self, now: float, since: float = 0.0) -> dict[str, Any]:
        """What `/api/series` answers: the samples after `since`, seconds since 1970.

        All of them if `since` lies after the last one: then a clock was set back, or
        another process gave that time.
        """
        samples: Iterable[Sample] = self._samples
        newest = (self._samples[-1][0] or 0.0) if self._samples else 0.0
        if since <= newest:
            samples = [sample for sample in self._samples if (sample[0] or 0.0) > since]
        return {
            "step": self.step,
            "now": now,
            "names": NAMES,
            "samples": list(samples),
        }


class _Look:
    """Where the counters stood at one moment."""

    __slots__ = ("clock", "counts", "evicted", "saved", "statements")

    def __init__(self, engine: Engine) -> None:
        statistics: Statistics = engine.statistics
        self.clock = engine.clock()
        self.statements = dict.fromkeys(OUTCOMES, 0)
        for (outcome, _), count in statistics.statements.items():
            self.statements[outcome] += count
        self.counts = {name: tuple(statistics.seconds[name].counts) for name in ("hit", *ASKED)}
        self.evicted = sum(engine.store.evictions.values())
        self.saved = sum(shape.saved for shape in engine.shapes)

    def since(self, last: _Look, outcomes: Iterable[str]) -> list[int]:
        """What each bucket has gained since `last`, these outcomes together."""
        gained = [0] * (len(BUCKETS) + 1)
        for name in outcomes:
            for place, (new, old) in enumerate(
                zip(self.counts[name], last.counts[name], strict=True)
            ):
                gained[place] += new - old
        return gained


def quantiles(counts: Sequence[int], shares: Iterable[float]) -> list[float | None]:
    """Seconds that these shares (0 to 1) of all took at most, by the counts of `BUCKETS`.

    Within a bucket latencies are taken to be spread evenly on a logarithmic scale.
    """
    total = sum(counts)
    if total <= 0:
        return [None for _ in shares]
    return [_quantile(counts, share * total) for share in shares]


def _quantile(counts: Sequence[int], wanted: float) -> float:
    seen = 0
    for place, count in enumerate(counts):
        if count > 0 and seen + count >= wanted:
            low = BUCKETS[place - 1] if place else BUCKETS[0] / 2
            high = BUCKETS[place] if place < len(BUCKETS) else BUCKETS[-1] * 2
            part = (wanted - seen) / count
            return float(f"{low * (high / low) ** part:.3g}")
        seen += count
    return BUCKETS[-1]
