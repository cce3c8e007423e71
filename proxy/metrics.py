"""Every Prometheus metric, declared once with its help; read from plain counters.

What lives here: names, labels, help, and a collector that reads the counters when
somebody asks. What must not: counting. The hot path touches no metric object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy.session.statistics import BUCKETS

if TYPE_CHECKING:
    from proxy.session.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its name as it is exported, its labels, one sentence of help."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


STATEMENTS = Declared(
    "howdah_statements_total",
    "Statements by outcome (hit, shared, stale, miss, bypass, write, other) and the reason "
    "why they were not answered from memory.",
    ("outcome", "reason"),
)
SECONDS = Declared(
    "howdah_statement_seconds",
    "Seconds from a statement's arrival to the end of its answer, by outcome; "
    "of hits one in sixteen is timed and stands for the others.",
    ("outcome",),
)
CACHE_BYTES = Declared(
    "howdah_cache_bytes", "Bytes of stored answers, keys and bookkeeping included."
)
CACHE_ENTRIES = Declared("howdah_cache_entries", "Stored answers.")
EVICTIONS = Declared(
    "howdah_evictions_total", "Entries that were dropped, by what made them go.", ("cause",)
)
REJECTED = Declared(
    "howdah_fills_rejected_total",
    "Answers that were offered to the cache and not stored, by cause.",
    ("cause",),
)
FENCES = Declared("howdah_fences_up", "Fences that are up: writes in flight and the like.")
FENCE_SECONDS = Declared(
    "howdah_fence_seconds",
    "Age of the oldest fence by cause: write, schema (the catalog is read again), lost_backend "
    "(a connection was lost and its backend is not yet proven gone), starting, suspended.",
    ("cause",),
)
CONTRACT = Declared(
    "howdah_contract_info", "The freshness contract that holds; always 1.", ("contract",)
)
CLIENTS = Declared("howdah_clients", "Client connections.")
UPSTREAMS = Declared("howdah_upstreams", "Connections to PostgreSQL on behalf of clients.")
BYTES = Declared(
    "howdah_bytes_total",
    "Bytes by direction: client_in, client_out, upstream_in, upstream_out.",
    ("direction",),
)
CONFIG_ERRORS = Declared(
    "howdah_config_errors", "1 while the configuration file is bad and the old one is in use."
)

ALL = (
    STATEMENTS,
    SECONDS,
    CACHE_BYTES,
    CACHE_ENTRIES,
    EVICTIONS,
    REJECTED,
    FENCES,
    FENCE_SECONDS,
    CONTRACT,
    CLIENTS,
    UPSTREAMS,
    BYTES,
    CONFIG_ERRORS,
)


@dataclass(slots=True)
class Gauges:
    """What is true now and not counted by the engine."""

    clients: int = 0
    upstreams: int = 0
    contract: str = "proxied"
    config_errors: int = 0


class HowdahCollector(Collector):
    """Turns the engine's counters into metric families at each scrape."""

    def __init__(self, engine: Engine, gauges: Gauges) -> None:
        self._engine = engine
        self._gauges = gauges

    def describe(self) -> list[Metric]:
        """Nothing: the registry need not scrape to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family of `ALL`, in that order."""
        engine, gauges = self._engine, self._gauges
        counts = engine.statistics
        counts.time_hits()
        yield _counter(STATEMENTS, counts.statements)
        yield _histogram(engine)
        yield _gauge(CACHE_BYTES, engine.store.bytes_used)
        yield _gauge(CACHE_ENTRIES, len(engine.store))
        yield _counter(EVICTIONS, {(c,): n for c, n in engine.store.evictions.items()})
        yield _counter(REJECTED, {(c,): n for c, n in counts.fills_rejected.items()})
        yield _gauge(FENCES, len(engine.board.fences))
        ages = GaugeMetricFamily(
            FENCE_SECONDS.name, FENCE_SECONDS.help, labels=FENCE_SECONDS.labels
        )
        for cause, age in sorted(engine.board.ages(engine.clock()).items()):
            ages.add_metric([cause], age)
        yield ages
        info = GaugeMetricFamily(CONTRACT.name, CONTRACT.help, labels=CONTRACT.labels)
        info.add_metric([gauges.contract], 1)
        yield info
        yield _gauge(CLIENTS, gauges.clients)
        yield _gauge(UPSTREAMS, gauges.upstreams)
        yield _counter(BYTES, {(d,): n for d, n in counts.bytes.items()})
        yield _gauge(CONFIG_ERRORS, gauges.config_errors)


def _counter(declared: Declared, samples: Mapping[Any, int]) -> Metric:
    """`samples`: tuples of label values to counts."""
    name = declared.name.removesuffix("_total")
    family = CounterMetricFamily(name, declared.help, labels=declared.labels)
    for labels, value in sorted(samples.items()):
        family.add_metric([str(label) for label in labels], value)
    return family


def _gauge(declared: Declared, value: float) -> Metric:
    return GaugeMetricFamily(declared.name, declared.help, value=value)


def _histogram(engine: Engine) -> Metric:
    family = HistogramMetricFamily(SECONDS.name, SECONDS.help, labels=SECONDS.labels)
    bounds = [*map(str, BUCKETS), "+Inf"]
    for outcome, histogram in engine.statistics.seconds.items():
        buckets, seen = [], 0
        for bound, count in zip(bounds, histogram.counts, strict=True):
            seen += count
            buckets.append((bound, float(seen)))
        family.add_metric([outcome], buckets=buckets, sum_value=histogram.total)
    return family


class Metrics:
    """The registry of one Howdah."""

    def __init__(self, engine: Engine) -> None:
        self.gauges = Gauges()
        self._registry = CollectorRegistry()
        self._registry.register(HowdahCollector(engine, self.gauges))

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
