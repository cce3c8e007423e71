"""What Prometheus makes of Howdah's metrics: promtool reads the configuration and tests the alerts.

promtool comes with Debian's package `prometheus`; without it these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from proxy import metrics
from tests.fix_tools import eventually

CONFIG = Path(__file__).resolve().parents[2] / "config"
ALERTS = CONFIG / "prometheus" / "alerts.yml"

Promtool = Callable[..., str]


@pytest.fixture(scope="module")
def promtool() -> Promtool:
    """`promtool(*arguments, given="")` -> its output; fails with it where promtool does."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")

    def run(*arguments: str, given: str = "", cwd: Path = CONFIG / "prometheus") -> str:
        done = subprocess.run(
            [program, *arguments], input=given, cwd=cwd, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_the_configuration_and_its_alerts_are_read(promtool):
    assert "1 rule files found" in promtool("check", "config", "prometheus.yml")


def test_alerts_fire_when_they_should_and_only_then(promtool):
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_other_thresholds_would_be_noticed(promtool, tmp_path):
    """The tests of the alerts can fail."""
    shutil.copy(CONFIG / "prometheus" / "alerts_test.yml", tmp_path)
    for before, after in (("> 0.9\n", "> 0.99\n"), ("> 300\n", "> 900\n"), ("for: 1m", "for: 9m")):
        text = ALERTS.read_text(encoding="utf-8")
        assert before in text
        (tmp_path / "alerts.yml").write_text(text.replace(before, after), encoding="utf-8")
        with pytest.raises(AssertionError, match="FAILED"):
            promtool("test", "rules", "alerts_test.yml", cwd=tmp_path)


def test_queries_of_the_dashboard_are_promql(promtool, tmp_path):
    board = json.loads((CONFIG / "grafana/dashboards/howdah.json").read_text(encoding="utf-8"))
    queries = [t["expr"] for p in board["panels"] for t in p.get("targets", ())]
    queries += [a["expr"] for a in board["annotations"]["list"]]
    for variable, value in {
        "$__rate_interval": "1m",
        "$__range": "1h",
        "$job": ".*",
        "$instance": ".*",
    }.items():
        queries = [query.replace(variable, value) for query in queries]
    assert len(queries) > 40
    assert not any("$" in query for query in queries)
    rules = [{"record": f"q:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": rules}]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(file))


def test_a_running_howdah_is_read_and_its_series_do_not_grow_with_what_clients_do(
    promtool, howdah, database, postgres
):
    howdah.warm(database)
    seen: set[str] = set()

    def series(text: str) -> set[str]:
        lines = {line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"}
        return {line for line in lines if not line.startswith("howdah_statements_total")}

    def look() -> str:
        text = howdah.get("/metrics")[1]
        # A cause of fences is there while there is such a fence.
        seen.update(line for line in series(text) if "howdah_fence_seconds" not in line)
        return text

    text = look()
    promtool("check", "metrics", given=text)
    before = len(seen)
    postgres.run(database, *(f"CREATE TABLE t{n} (id int)" for n in range(10)))
    for role in ("postgres", "alice"):
        with howdah.wire(database, role, application_name=f"app of {role}") as wire:
            for n in range(10):
                wire.query(f"SELECT {n}, * FROM t{n}")
                wire.query(f"INSERT INTO t{n} VALUES ({n})")
                wire.query(f"nonsense {n}")
    look()
    assert len(seen) == before
    # Together with the statements that have a bound of their own.
    assert before < 400
    assert len(metrics.OUTCOMES) * len(metrics.REASONS) < 600


def test_gauges_of_a_running_howdah_say_what_readyz_says(start_howdah, tmp_path, postgres):
    file = tmp_path / "howdah.yaml"
    file.write_text("rules: []\n", encoding="utf-8")
    howdah = start_howdah("--config", str(file))

    def shows(name: str) -> float:
        return howdah.count(name)

    def caching() -> bool:
        return json.loads(howdah.get("/readyz")[1])["cache"] == "on"

    eventually(caching)
    assert (shows("ready"), shows("caching"), shows("config_errors")) == (1, 1, 0)
    loaded = shows("config_loaded_timestamp_seconds")
    assert shows("build_info") == 1
    file.write_text("rulez: []\n", encoding="utf-8")
    eventually(lambda: shows("config_errors") == 1)
    assert shows("problems") == 1
    assert shows("config_loaded_timestamp_seconds") == loaded
    file.write_text("rules: [{relations: t, cache: off}]\n", encoding="utf-8")
    eventually(lambda: shows("config_errors") == 0)
    assert shows("config_loaded_timestamp_seconds") > loaded
    assert shows("problems") == 0
