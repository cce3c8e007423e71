"""Every metric is declared once, with help, and shows the engine's counters."""

from __future__ import annotations

from typing import Any

from proxy import metrics
from proxy.session.statistics import BUCKETS, Statistics


class FakeStore:
    bytes_used = 12_345
    evictions = {"write": 3}

    def __len__(self):
        return 7


class FakeBoard:
    fences = {1, 2}

    def ages(self, now):
        return {"lost_backend": now - 5.0}


class FakeEngine:
    def __init__(self):
        self.statistics = Statistics()
        self.store = FakeStore()
        self.board = FakeBoard()
        self.clock = lambda: 17.0


def lines(engine: Any) -> list[str]:
    made = metrics.Metrics(engine)
    made.gauges.clients = 4
    return made.text().decode().splitlines()


def test_counters_are_shown_as_they_are():
    engine = FakeEngine()
    engine.statistics.count("bypass", "clock", 5)
    engine.statistics.seconds["hit"].observe(0.00003)
    engine.statistics.seconds["hit"].observe(99.0)
    engine.statistics.bytes["client_in"] = 10
    engine.statistics.reject("notice")
    text = lines(engine)
    for line in (
        'howdah_statements_total{outcome="bypass",reason="clock"} 5.0',
        'howdah_statement_seconds_bucket{le="2.5e-05",outcome="hit"} 0.0',
        'howdah_statement_seconds_bucket{le="5e-05",outcome="hit"} 1.0',
        'howdah_statement_seconds_bucket{le="+Inf",outcome="hit"} 2.0',
        'howdah_statement_seconds_count{outcome="hit"} 2.0',
        "howdah_cache_bytes 12345.0",
        "howdah_cache_entries 7.0",
        'howdah_evictions_total{cause="write"} 3.0',
        'howdah_fills_rejected_total{cause="notice"} 1.0',
        "howdah_fences_up 2.0",
        'howdah_contract_info{contract="proxied"} 1.0',
        "howdah_clients 4.0",
        "howdah_upstreams 0.0",
        'howdah_bytes_total{direction="client_in"} 10.0',
        "howdah_config_errors 0.0",
        'howdah_fence_seconds{cause="lost_backend"} 12.0',
    ):
        assert line in text, line
    assert len(BUCKETS) + 1 == sum("_bucket{" in x and 'outcome="hit"' in x for x in text)


def test_each_metric_has_help_and_type_once():
    text = lines(FakeEngine())
    for declared in metrics.ALL:
        assert len([x for x in text if x.startswith(f"# HELP {declared.name} ")]) == 1
        assert len([x for x in text if x.startswith(f"# TYPE {declared.name} ")]) == 1
        assert declared.help.endswith(".")
    assert len({declared.name for declared in metrics.ALL}) == len(metrics.ALL)
