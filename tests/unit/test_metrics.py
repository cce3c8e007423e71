"""Every metric is declared once, with help, and shows the engine's counters."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy import metrics
from proxy.cache.fences import ALL
from proxy.cache.store import Entry
from proxy.reasons import Reason
from proxy.session.engine import Engine
from proxy.session.statistics import BUCKETS


@pytest.fixture
def engine() -> Engine:
    made = Engine(cache_bytes=1_000_000, entry_limit=10_000, max_age=60.0)
    made.clock = lambda: 100.0
    return made


def store(engine: Engine, number: int, *, filled: float, expires: float) -> None:
    entry = Entry((1, b"%d" % number), None, b"x" * 100, (), (), filled=filled, expires=expires)
    assert engine.store.put(entry)


def lines(shown: metrics.Metrics) -> list[str]:
    return shown.text().decode().splitlines()


def test_counters_are_shown_as_they_are(engine):
    engine.statistics.count("bypass", "clock", 5)
    engine.statistics.seconds["hit"].observe(0.00003)
    engine.statistics.seconds["hit"].observe(99.0)
    engine.statistics.bytes["client_in"] = 10
    engine.statistics.reject("notice")
    engine.statistics.verify["race"] += 2
    engine.store.evictions["write"] = 3
    engine.store.returns = 4
    engine.shapes.of("shop", b"SELECT 1").quarantined = True
    engine.shapes.dropped = 6
    store(engine, 1, filled=90.0, expires=150.0)
    fence = engine.board.up((ALL,), Reason.FENCED, "client 1", 50.0)
    fence.lost = 4711
    engine.board.up((ALL,), Reason.STARTING, "start", 88.0)
    shown = metrics.Metrics(engine)
    shown.gauges.clients = 4
    shown.gauges.ready = True
    shown.gauges.warnings = 2
    shown.gauges.config_loaded = 1.75e9
    text = lines(shown)
    for line in (
        'howdah_statements_total{outcome="bypass",reason="clock"} 5.0',
        'howdah_statement_seconds_bucket{le="2.5e-05",outcome="hit"} 0.0',
        'howdah_statement_seconds_bucket{le="5e-05",outcome="hit"} 1.0',
        'howdah_statement_seconds_bucket{le="+Inf",outcome="hit"} 2.0',
        'howdah_statement_seconds_count{outcome="hit"} 2.0',
        f"howdah_cache_bytes {float(engine.store.bytes_used)}",
        "howdah_cache_capacity_bytes 1e+06",
        "howdah_cache_entries 1.0",
        'howdah_evictions_total{cause="write"} 3.0',
        "howdah_cache_returns_total 4.0",
        'howdah_fills_rejected_total{cause="notice"} 1.0',
        'howdah_verify_total{result="race"} 2.0',
        "howdah_quarantined_shapes 1.0",
        "howdah_shapes 1.0",
        "howdah_shapes_dropped_total 6.0",
        "howdah_fences_up 2.0",
        'howdah_fence_seconds{cause="lost_backend"} 50.0',
        'howdah_fence_seconds{cause="starting"} 12.0',
        "howdah_staleness_seconds 10.0",
        'howdah_contract_info{contract="proxied"} 1.0',
        "howdah_clients 4.0",
        "howdah_upstreams 0.0",
        'howdah_bytes_total{direction="client_in"} 10.0',
        "howdah_ready 1.0",
        "howdah_caching 0.0",
        "howdah_warnings 2.0",
        "howdah_config_errors 0.0",
        "howdah_config_loaded_timestamp_seconds 1.75e+09",
    ):
        assert line in text, line
    assert len(BUCKETS) + 1 == sum("_bucket{" in x and 'outcome="hit"' in x for x in text)


def test_each_metric_has_help_and_type_once(engine):
    text = lines(metrics.Metrics(engine))
    for name in [metric.name for metric in metrics.ALL] + list(metrics.PROCESS):
        assert len([x for x in text if x.startswith(f"# HELP {name} ")]) == 1
        assert len([x for x in text if x.startswith(f"# TYPE {name} ")]) == 1
    assert len([x for x in text if x.startswith("# TYPE ")]) == len(metrics.ALL) + len(
        metrics.PROCESS
    )
    assert all(metric.help.endswith(".") for metric in metrics.ALL)


def test_what_may_happen_is_there_from_the_start(engine):
    """An alert sees an increase only of a counter that it has seen before."""
    text = lines(metrics.Metrics(engine))
    assert 'howdah_verify_total{result="mismatch"} 0.0' in text
    assert 'howdah_evictions_total{cause="capacity"} 0.0' in text
    assert 'howdah_fills_rejected_total{cause="fenced"} 0.0' in text


def test_the_oldest_answer_is_one_that_may_still_be_given(engine):
    shown = metrics.Metrics(engine)
    assert "howdah_staleness_seconds 0.0" in lines(shown)
    store(engine, 1, filled=30.0, expires=90.0)
    assert "howdah_staleness_seconds 0.0" in lines(shown)
    store(engine, 2, filled=60.0, expires=120.0)
    store(engine, 3, filled=70.0, expires=130.0)
    assert "howdah_staleness_seconds 40.0" in lines(shown)


def test_of_very_many_expired_answers_only_some_are_looked_at(engine):
    for number in range(10):
        store(engine, number, filled=10.0 + number, expires=20.0)
    store(engine, 99, filled=99.0, expires=130.0)
    assert engine.store.oldest(100.0) == 1.0
    assert engine.store.oldest(100.0, most=5) == 86.0
    assert engine.store.oldest(100.0, most=11) == 1.0


def test_the_number_of_series_is_bounded(engine):
    """Whatever clients do, no label has other values than those that are declared."""
    for reason in Reason:
        engine.statistics.count("bypass", reason.value)
    by_name = {metric.name.removesuffix("_total"): metric for metric in metrics.ALL}
    text = metrics.Metrics(engine).text().decode()
    for family in text_string_to_metric_families(text):
        metric = by_name.get(family.name)
        if metric is None:
            assert family.name.removesuffix("_total").startswith("process_")
            continue
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label != "le":
                    values = metric.labels[label]
                    assert values is None or value in values, sample


def test_answers_that_come_back_after_they_had_to_go_are_counted():
    small = Engine(cache_bytes=20_000, entry_limit=10_000, max_age=None)
    for number in range(30):
        store(small, number, filled=0.0, expires=9.0)
    gone = next(n for n in range(30) if small.store.get((1, b"%d" % n)) is None)
    assert "howdah_cache_returns_total 0.0" in lines(metrics.Metrics(small))
    store(small, gone, filled=1.0, expires=9.0)
    assert "howdah_cache_returns_total 1.0" in lines(metrics.Metrics(small))
