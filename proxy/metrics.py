"""Every Prometheus metric, declared once with its help; read from plain counters.

What lives here: names, labels and their values, help, and a collector that reads the
counters when somebody asks. What must not: counting. The hot path touches no metric object.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from proxy import __version__
from proxy.reasons import Reason
from proxy.session.statistics import BUCKETS

if TYPE_CHECKING:
    from proxy.session.engine import Engine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The values of each label, with what they mean. There are no others: the number of series
# does not grow with statements, tables, roles or clients.
OUTCOMES = {
    "hit": "answered from memory",
    "shared": "waited for the same answer that another session had asked for",
    "stale": "answered from memory with an expired answer, which a rule allows, and refreshed",
    "miss": "forwarded, and the answer was offered to the cache",
    "bypass": "a read that was forwarded for a reason",
    "write": "can change data or the schema",
    "other": "transaction control, settings, utility commands",
}
REASONS = {
    reason.value: "for outcomes without one" if reason is Reason.NONE else reason.meaning
    for reason in Reason
}
EVICTION_CAUSES = {
    "write": "a write that can change the answer",
    "capacity": "no room",
    "expired": "older than `ttl` or `max_age`",
    "schema": "DDL, or a new picture of the catalog",
    "rules": "other rules",
    "settings": "the server reloaded its configuration",
    "server": "another server, or one that was restarted",
    "flush": "somebody asked for it",
    "pooled": "a pooler turned out to sit between Howdah and PostgreSQL",
    "mismatch": "a check found that PostgreSQL answers otherwise",
    "defect": "a session failed in a way that must not happen; the log says how",
}
REJECTION_CAUSES = {
    "too_large": "larger than `entry_limit` or a rule's `max_bytes`",
    "too_many_rows": "more rows than a rule's `max_rows`",
    "fenced": "a write may have changed it while it was on its way",
    "schema": "the catalog, the session's settings or its rights changed meanwhile",
    "error": "an error",
    "notice": "it came with a notice, which an answer from memory would not have",
    "message": "it has a message that is not kept",
    "row_limit": "the client fetched a part of it",
    "incomplete": "it did not come to its end",
    "lost": "the connection was lost",
    "dropped": "there was no use for it any more",
    "protocol": "its messages are not understood",
    "unknown": "none of these",
}
FENCE_CAUSES = {
    "write": "a write that has been sent and is not known to have ended",
    "schema": "DDL, until the catalog is read again",
    "lost_backend": "a connection was lost, and its backend is not yet proven gone",
    "starting": "transactions that an earlier Howdah may have left",
    "suspended": "the server is to be identified again",
    "paused": "PAUSE was said on the console",
}
VERIFY = {
    "match": "PostgreSQL gave the same bytes",
    "reordered": "the same rows in another order, where the statement asks for none",
    "tolerated": "a difference that follows from the order in which rows were added up",
    "race": "a write came in between, so that nothing can be said",
    "skipped": "could not be asked: in a transaction, in a pipeline, or it failed",
    "mismatch": "another answer. Not to be explained: tell the developers",
}
CONTRACTS = {
    "proxied": "writes through this Howdah are seen at once, others within `max_age`",
}
DIRECTIONS = {
    "client_in": "from clients",
    "client_out": "to clients",
    "upstream_in": "from PostgreSQL",
    "upstream_out": "to PostgreSQL",
}


@dataclass(frozen=True, slots=True)
class Declared:
    """One metric: its name as it is exported, one sentence of help, its labels with their values.

    Attributes:
        labels: label to what its values mean; None where they are free, with one series only.
    """

    name: str
    help: str
    labels: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)


STATEMENTS = Declared(
    "howdah_statements_total",
    "Statements by outcome and the reason why they were not answered from memory.",
    {"outcome": OUTCOMES, "reason": REASONS},
)
SECONDS = Declared(
    "howdah_statement_seconds",
    "Seconds from a statement's arrival to the end of its answer, by outcome; "
    "of hits one in sixteen is timed and stands for the others.",
    {"outcome": OUTCOMES},
)
CACHE_BYTES = Declared(
    "howdah_cache_bytes", "Bytes of stored answers, keys and bookkeeping included."
)
CAPACITY = Declared(
    "howdah_cache_capacity_bytes", "Bytes that stored answers may take: the setting cache_size."
)
CACHE_ENTRIES = Declared("howdah_cache_entries", "Stored answers.")
EVICTIONS = Declared(
    "howdah_evictions_total",
    "Entries that were dropped, by what made them go.",
    {"cause": EVICTION_CAUSES},
)
RETURNS = Declared(
    "howdah_cache_returns_total",
    "Answers that were stored again soon after they had to go for want of room: "
    "the cache is too small for what is asked.",
)
REJECTED = Declared(
    "howdah_fills_rejected_total",
    "Answers that were offered to the cache and not stored, by cause.",
    {"cause": REJECTION_CAUSES},
)
FENCES = Declared("howdah_fences_up", "Fences that are up: writes in flight and the like.")
FENCE_SECONDS = Declared(
    "howdah_fence_seconds",
    "Age of the oldest fence by cause.",
    {"cause": FENCE_CAUSES},
)
CONTRACT = Declared(
    "howdah_contract_info", "The freshness contract that holds; always 1.", {"contract": CONTRACTS}
)
STALENESS = Declared(
    "howdah_staleness_seconds",
    "Age of the oldest answer that may be given now, since PostgreSQL was asked for it: so late a "
    "write past Howdah can be seen at this moment. At most max_age, or what a rule says instead.",
)
VERIFIED = Declared(
    "howdah_verify_total",
    "Hits that were also asked of PostgreSQL, by what the comparison found.",
    {"result": VERIFY},
)
QUARANTINED = Declared(
    "howdah_quarantined_shapes",
    "Statements that are forwarded because a check found their stored answer to be wrong.",
)
SHAPES = Declared(
    "howdah_shapes", "Statements without their literals of which statistics are kept."
)
SHAPES_DROPPED = Declared(
    "howdah_shapes_dropped_total",
    "Statements whose statistics were given up for others: their number is bounded.",
)
CLIENTS = Declared("howdah_clients", "Client connections.")
UPSTREAMS = Declared("howdah_upstreams", "Connections to PostgreSQL on behalf of clients.")
BYTES = Declared(
    "howdah_bytes_total",
    "Bytes by direction.",
    {"direction": DIRECTIONS},
)
READY = Declared("howdah_ready", "1 while clients are served: what /readyz says.")
CACHING = Declared(
    "howdah_caching",
    "1 while answers may come from memory; 0 after a start, while paused, or when the server "
    "is not known to be the same.",
)
PROBLEMS = Declared("howdah_problems", "Problems that /readyz names.")
WARNINGS = Declared(
    "howdah_warnings", "Warnings that /readyz names: others that may write past Howdah."
)
CONFIG_ERRORS = Declared(
    "howdah_config_errors", "1 while the configuration file is bad and the old one is in use."
)
CONFIG_LOADED = Declared(
    "howdah_config_loaded_timestamp_seconds",
    "When the configuration in use was read, in seconds since 1970.",
)
BUILD = Declared(
    "howdah_build_info",
    "Version of Howdah and of Python; always 1.",
    {"version": None, "python": None},
)

ALL = (
    STATEMENTS,
    SECONDS,
    CACHE_BYTES,
    CAPACITY,
    CACHE_ENTRIES,
    EVICTIONS,
    RETURNS,
    REJECTED,
    FENCES,
    FENCE_SECONDS,
    CONTRACT,
    STALENESS,
    VERIFIED,
    QUARANTINED,
    SHAPES,
    SHAPES_DROPPED,
    CLIENTS,
    UPSTREAMS,
    BYTES,
    READY,
    CACHING,
    PROBLEMS,
    WARNINGS,
    CONFIG_ERRORS,
    CONFIG_LOADED,
    BUILD,
)

# Of the process, by the names that every exporter uses.
PROCESS = {
    "process_cpu_seconds_total": "CPU seconds that Howdah has used: one core is all that a "
    "process can use.",
    "process_resident_memory_bytes": "Memory of the process.",
    "process_virtual_memory_bytes": "Address space of the process.",
    "process_open_fds": "Open file descriptors: two for a client, and some more.",
    "process_max_fds": "How many of them the system allows.",
    "process_start_time_seconds": "When the process was started, in seconds since 1970.",
}


@dataclass(slots=True)
class Gauges:
    """What is true now and not counted by the engine.

    Attributes:
        ready, caching, problems, warnings: as /readyz says.
        config_loaded: seconds since 1970; 0 until it is known.
    """

    clients: int = 0
    upstreams: int = 0
    contract: str = "proxied"
    ready: bool = False
    caching: bool = False
    problems: int = 0
    warnings: int = 0
    config_errors: int = 0
    config_loaded: float = 0.0


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
        counts, store, shapes = engine.statistics, engine.store, engine.shapes
        now = engine.clock()
        counts.time_hits()
        yield _counter(STATEMENTS, counts.statements)
        yield _histogram(engine)
        yield _gauge(CACHE_BYTES, store.bytes_used)
        yield _gauge(CAPACITY, store.capacity)
        yield _gauge(CACHE_ENTRIES, len(store))
        yield _counter(EVICTIONS, _each(EVICTIONS, store.evictions))
        yield _counter(RETURNS, {(): store.returns})
        yield _counter(REJECTED, _each(REJECTED, counts.fills_rejected))
        yield _gauge(FENCES, len(engine.board.fences))
        yield _gauges(FENCE_SECONDS, engine.board.ages(now))
        yield _gauges(CONTRACT, {gauges.contract: 1})
        yield _gauge(STALENESS, store.oldest(now))
        yield _counter(VERIFIED, _each(VERIFIED, counts.verify))
        yield _gauge(QUARANTINED, sum(shape.quarantined for shape in shapes))
        yield _gauge(SHAPES, len(shapes))
        yield _counter(SHAPES_DROPPED, {(): shapes.dropped})
        yield _gauge(CLIENTS, gauges.clients)
        yield _gauge(UPSTREAMS, gauges.upstreams)
        yield _counter(BYTES, _each(BYTES, counts.bytes))
        yield _gauge(READY, gauges.ready)
        yield _gauge(CACHING, gauges.caching)
        yield _gauge(PROBLEMS, gauges.problems)
        yield _gauge(WARNINGS, gauges.warnings)
        yield _gauge(CONFIG_ERRORS, gauges.config_errors)
        yield _gauge(CONFIG_LOADED, gauges.config_loaded)
        yield _gauges(BUILD, {(__version__, platform.python_version()): 1})


def _each(declared: Declared, counts: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    """Counts by the value of the only label; what did not happen yet is there with 0.

    A counter that appears with its first event has no increase that an alert could see.
    """
    (values,) = declared.labels.values()
    return {(value,): counts.get(value, 0) for value in {**(values or {}), **counts}}


def _counter(declared: Declared, samples: Mapping[Any, int]) -> Metric:
    """`samples`: tuples of label values to counts."""
    name = declared.name.removesuffix("_total")
    family = CounterMetricFamily(name, declared.help, labels=list(declared.labels))
    for labels, value in sorted(samples.items()):
        family.add_metric([str(label) for label in labels], value)
    return family


def _gauge(declared: Declared, value: float) -> Metric:
    return GaugeMetricFamily(declared.name, declared.help, value=value)


def _gauges(declared: Declared, samples: Mapping[Any, float]) -> Metric:
    """`samples`: values of the labels (a string where there is one label) to values."""
    family = GaugeMetricFamily(declared.name, declared.help, labels=list(declared.labels))
    for labels, value in sorted(samples.items()):
        family.add_metric([labels] if isinstance(labels, str) else list(labels), value)
    return family


def _histogram(engine: Engine) -> Metric:
    family = HistogramMetricFamily(SECONDS.name, SECONDS.help, labels=list(SECONDS.labels))
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
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
