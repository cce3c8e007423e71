"""The documents say what the code does: keys, reasons, metrics, paths, commands."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from proxy import __version__, metrics, reference
from proxy.admin.select import prepare
from proxy.admin.views import VIEWS
from proxy.cli import app
from proxy.document import parse
from proxy.policy.rulefile import KEYS, load_rules
from proxy.reasons import Reason
from proxy.settings import FILE_KEYS, OPTIONS, load

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
DOCUMENTS = [
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "config/README.md"),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", reference.pages(CONFIG), ids=lambda path: path.name)
def test_generated_pages_are_up_to_date(path):
    assert path.read_text(encoding="utf-8") == reference.pages(CONFIG)[path], "run make reference"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_setting_is_in_the_annotated_file_with_its_default(option):
    lines = read("config/howdah.yaml").splitlines()
    default = option.default or "postgresql://howdah@localhost:5432/postgres"
    assert f"# {option.name}: {default}" in lines


def test_the_annotated_file_with_everything_switched_on_is_the_defaults():
    text = read("config/howdah.yaml")
    given = re.sub(r"(?m)^# (?=[a-z_]+: \S+$)", "", text)
    active = re.sub(r"(?m)^#(  )", r"\1", given.replace("rules: []", "rules:"))
    url = "postgresql://howdah@localhost:5432/postgres"
    plain = load({"config": "f", "upstream": url}, {}, lambda _: text)
    full = load({"config": "f"}, {}, lambda _: active)
    assert set(yaml.safe_load(given)) == set(FILE_KEYS)
    assert full.changed(plain) == ()
    assert (len(plain.rules), len(full.rules)) == (0, 5)


def test_every_rule_key_is_in_the_annotated_file():
    text = read("config/howdah.yaml")
    assert [key for key in KEYS if not re.search(rf"(?m)^#  [ -] {key}: ", text)] == []


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.NONE])
def test_every_reason_has_words_for_people(reason):
    assert reason.meaning
    assert reason.advice
    assert reason.example
    assert re.fullmatch(r"[a-z_]+", reason.value)


def test_every_flag_of_serve_is_a_setting_and_the_reverse():
    serve = next(
        c for c in app.registered_commands if c.callback and c.callback.__name__ == "serve"
    )
    assert serve.callback is not None
    parameters = set(serve.callback.__annotations__) - {"config", "return"}
    assert parameters == {option.name for option in OPTIONS}


BOARD = "config/grafana/dashboards/howdah.json"
METRICS = {metric.name for metric in metrics.ALL} | set(metrics.PROCESS)


def metrics_of(text: str) -> set[str]:
    """The metrics that a text names, by their declared names."""
    # What was recorded from them has a colon in its name.
    named = set(re.findall(r"(?<![\w:/])(?:howdah|process)_\w+(?!:)", text))
    return {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in named}


def panels() -> list[dict[str, Any]]:
    return [p for p in json.loads(read(BOARD))["panels"] if p["type"] != "row"]


def test_the_dashboard_shows_every_metric_and_no_other():
    assert json.loads(read(BOARD))["uid"] == "howdah"
    shown = set().union(*(metrics_of(t["expr"]) for p in panels() for t in p["targets"]))
    assert shown | {"process_virtual_memory_bytes"} == METRICS


def test_panels_say_what_they_show_and_in_which_unit():
    ids = [panel["id"] for panel in json.loads(read(BOARD))["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def label_values(metric: metrics.Declared, label: str) -> set[str]:
    values = metric.labels[label]
    assert values is not None, (metric.name, label)
    return set(values)


@pytest.mark.parametrize("path", [BOARD, "config/prometheus/alerts.yml"], ids=["board", "alerts"])
def test_label_values_that_are_asked_for_exist(path):
    by_name = {metric.name: metric for metric in metrics.ALL}
    by_name |= {metric.name.removesuffix("_total"): metric for metric in metrics.ALL}
    text = read(path).replace('\\"', '"')
    asked = 0
    for name, matchers in re.findall(r"(howdah_\w+)\{([^}]*)\}", text):
        metric = by_name[metrics_of(name).pop()]
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            if label not in ("job", "instance"):
                assert set(values.split("|")) <= label_values(metric, label), (name, label)
                asked += 1
    assert asked > 3


def test_alerts_ask_for_metrics_that_exist_and_are_tested_and_documented():
    rules = [
        rule
        for group in yaml.safe_load(read("config/prometheus/alerts.yml"))["groups"]
        for rule in group["rules"]
    ]
    tests = yaml.safe_load(read("config/prometheus/alerts_test.yml"))["tests"]
    fires = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    assert fires == alerts
    guide = read("docs/operating.md")
    for rule in rules:
        assert metrics_of(rule["expr"]) <= METRICS, rule
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("critical", "warning", "info")
            assert set(rule["annotations"]) == {"summary", "description"}
            assert f"`{rule['alert']}`" in guide


def test_every_cause_in_the_code_is_a_value_of_its_label():
    found: dict[str, set[str]] = {"evict": set(), "reject": set()}
    paths = [
        p for part in ("cache", "session", "net") for p in (ROOT / "proxy" / part).glob("*.py")
    ]
    for path in [*paths, ROOT / "proxy" / "app.py"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = node.func.attr
            kind = "reject" if called in ("reject", "drop_fill") else "evict"
            if called in ("evict", "drop", "epoch", "_count", "reject", "drop_fill"):
                for argument in node.args[:2]:
                    for part in ast.walk(argument):
                        if isinstance(part, ast.Constant) and isinstance(part.value, str):
                            found[kind].add(part.value)
    assert found["evict"] <= set(metrics.EVICTION_CAUSES)
    assert found["reject"] <= set(metrics.REJECTION_CAUSES)
    assert min(map(len, found.values())) > 5


def test_panels_do_not_overlap():
    cells: set[tuple[int, int]] = set()
    for panel in json.loads(read(BOARD))["panels"]:
        grid = panel["gridPos"]
        mine = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert grid["x"] + grid["w"] <= 24
        assert not mine & cells, panel["title"]
        cells |= mine


def test_compose_and_provisioning_fit_together():
    compose = yaml.safe_load(read("docker-compose.yml"))
    services = compose["services"]
    assert set(services) == {"postgres", "howdah", "prometheus", "grafana"}
    assert {name for name in services if services[name].get("profiles")} == {
        "prometheus",
        "grafana",
    }
    for name, service in services.items():
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            else:
                assert source in compose["volumes"]
    # The environment of the container, as the image and the composition set it.
    image = dict(re.findall(r"\b(HOWDAH_\w+)=(\S+)", read("Dockerfile")))
    environ = image | services["howdah"]["environment"]
    settings = load({}, environ, lambda path: read("config/" + Path(path).name))
    assert settings.listen[0].port == 6432
    assert settings.upstream.host in services
    datasource = yaml.safe_load(read("config/grafana/provisioning/datasources/prometheus.yml"))
    assert datasource["datasources"][0]["uid"] == "prometheus"
    prometheus = yaml.safe_load(read("config/prometheus/prometheus.yml"))
    (scrape,) = prometheus["scrape_configs"]
    assert scrape["static_configs"][0]["targets"] == ["howdah:9432"]
    assert f'job="{scrape["job_name"]}"' in read("config/prometheus/alerts.yml")
    for file in prometheus["rule_files"]:
        assert (CONFIG / "prometheus" / file).exists()


def test_the_image_holds_what_it_copies():
    ignored = read(".dockerignore")
    for line in re.findall(r"(?m)^COPY (?!--from)(.+)$", read("Dockerfile")):
        for source in line.split()[:-1]:
            name = source.removeprefix("./")
            assert (ROOT / name).exists()
            assert f"!{name}" in ignored


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_and_links_lead_somewhere(document):
    text = read(document)
    base = (ROOT / document).parent
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (base / link).exists(), link
    inline = re.findall(r"`((?:proxy|config|tests|bench)/[\w./*-]+)`", text)
    # ARCHITECTURE.md names files within the package, as `net/client.py`.
    inline += re.findall(r"`((?:wire|sql|catalog|policy|cache|session|net|demo)/\w+\.py)`", text)
    missing = [
        path
        for path in inline
        if not list(ROOT.glob(path)) and not (ROOT / "proxy" / path).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md"])
def test_make_targets_and_commands_exist(document):
    text = read(document)
    makefile = read("Makefile")
    for target in re.findall(r"`make ([a-z-]+)", text) + re.findall(r"(?m)^make ([a-z-]+)", text):
        assert re.search(rf"(?m)^{target}:", makefile), target
    commands = {c.callback.__name__ for c in app.registered_commands if c.callback}
    assert set(re.findall(r"`howdah ([a-z]+)", text)) <= commands


def flags_of_commands() -> set[str]:
    group: Any = typer.main.get_command(app)
    commands = [group, *group.commands.values()]
    return {flag for command in commands for option in command.params for flag in option.opts}


def test_flags_that_documents_name_exist():
    flags = {option.flag for option in OPTIONS} | flags_of_commands()
    for document in DOCUMENTS:
        for line in read(document).splitlines():
            if re.search(r"\bhowdah (?!_)", line):
                named = set(re.findall(r"(?<![\w-])--[a-z-]+", line))
                assert named <= flags, (document, line)


def test_every_command_is_in_a_document():
    texts = [read(document) for document in DOCUMENTS]
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.callback.__name__
        assert any(f"howdah {name}" in text for text in texts), name


def test_settings_that_the_guides_name_exist():
    """`name: value` in the running text of a guide is a setting or the key of a rule."""
    known = {*FILE_KEYS, *KEYS}
    for document in ("docs/operating.md", "docs/explain.md", "docs/console.md"):
        text = re.sub(r"```.*?```", "", read(document), flags=re.DOTALL)
        named = set(re.findall(r"`([a-z_]+): [^`{]+`", text)) - {"key"}
        assert named <= known, document


@pytest.mark.parametrize("path", ["docs/operating.md", BOARD, "config/prometheus/alerts.yml"])
def test_what_guides_tell_to_show_can_be_shown(path):
    text = " ".join(read(path).split())
    views = set(re.findall(r"\bSHOW ([A-Z]+)", text))
    assert views <= {name.upper() for name in VIEWS} | {"HELP"}
    assert views
    for quoted, command in re.findall(r'`(SHOW [^`]+)`|-c "(SHOW [^"]+)"', text):
        _, name, *clause = (quoted or command).split(" ", 2)
        prepare(VIEWS[name.lower()], " ".join(clause))


def test_the_version_is_told_once():
    assert "version" in tomllib.loads(read("pyproject.toml"))["project"]["dynamic"]
    assert f"## [{__version__}]" in read("CHANGELOG.md")
    assert f"howdah:{__version__}" in read("docker-compose.yml")


def test_examples_of_rules_in_documents_are_rules():
    for document in DOCUMENTS:
        for block in re.findall(r"```yaml\n(.*?)```", read(document), re.DOTALL):
            content = parse(block, document).content
            assert isinstance(content, dict)
            if "rules" in content:
                assert len(load_rules(content["rules"]))
