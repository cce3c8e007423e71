"""The documents say what the code does: keys, reasons, metrics, paths, commands."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from proxy import __version__, metrics, reference
from proxy.cli import app
from proxy.document import parse
from proxy.policy.rules import KEYS, load_rules
from proxy.reasons import Reason
from proxy.settings import FILE_KEYS, OPTIONS, load

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
DOCUMENTS = [
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "config/README.md"),
    *("docs/consistency.md", "docs/mutations.md", "docs/cacheable.md", "docs/orm.md"),
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
    assert (len(plain.rules), len(full.rules)) == (0, 3)


def test_every_rule_key_is_in_the_annotated_file():
    text = read("config/howdah.yaml")
    assert [key for key in KEYS if not re.search(rf"(?m)^#  [ -] {key}: ", text)] == []


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.NONE])
def test_every_reason_has_words_for_people(reason):
    assert reason.meaning
    assert reason.advice
    assert re.fullmatch(r"[a-z_]+", reason.value)


def test_every_flag_of_serve_is_a_setting_and_the_reverse():
    serve = next(
        c for c in app.registered_commands if c.callback and c.callback.__name__ == "serve"
    )
    assert serve.callback is not None
    parameters = set(serve.callback.__annotations__) - {"config", "return"}
    assert parameters == {option.name for option in OPTIONS}


def test_every_metric_that_the_dashboard_uses_exists():
    text = read("config/grafana/dashboards/howdah.json")
    assert json.loads(text)["uid"] == "howdah"
    used = {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bhowdah_\w+", text)}
    assert used <= {metric.name for metric in metrics.ALL}
    shown = {"howdah_config_errors"} | used
    assert shown == {metric.name for metric in metrics.ALL}


def test_panels_do_not_overlap():
    cells: set[tuple[int, int]] = set()
    for panel in json.loads(read("config/grafana/dashboards/howdah.json"))["panels"]:
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
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["howdah:9432"]


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


def test_settings_and_reasons_that_documents_name_exist():
    flags = {option.flag for option in OPTIONS} | {"--config", "--once", "--rows", "--version"}
    flags |= {"--through", "--direct"}  # of `howdah consistency`
    for document in DOCUMENTS:
        for line in read(document).splitlines():
            if "howdah " in line:
                named = set(re.findall(r"(?<![\w-])--[a-z-]+", line))
                assert named <= flags, (document, line)


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
