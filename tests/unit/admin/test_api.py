"""The API over a house: documents, and one clear sentence for each mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.admin.api import Api
from proxy.admin.house import ClientSeen, Status
from proxy.admin.series import Series
from proxy.admin.views import VIEWS
from proxy.reasons import Reason
from tests.unit.admin.houses import DATABASE, House, busy

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def house() -> House:
    return busy(House())


@pytest.fixture
def api(house) -> Api:
    return Api(house, Series())


def get(api, path, **query):
    answer = api.get(path, query)
    json.dumps(answer.document, allow_nan=False)
    return answer.status, answer.document


def post(api, path, body):
    answer = api.post(path, body if isinstance(body, bytes) else json.dumps(body).encode())
    return answer.status, answer.document


def test_state(api, house):
    house.seen = [ClientSeen(1, "x", 100.0, "startup", True, None)]
    house.told = Status(True, "proxied", "on", [], ["somebody else writes"])
    house.engine.statistics.count("bypass", "clock", 7)
    house.engine.board.up([(DATABASE, 42)], Reason.FENCED, "session 4", 109.0)
    status, found = get(api, "state")
    assert status == 200
    assert found["ready"] is True
    assert found["warnings"] == ["somebody else writes"]
    assert (found["uptime"], found["now"]) == (10.0, 2_000_000_000.0)
    assert found["outcomes"]["hit"] == 5
    assert found["seconds"]["miss"]["count"] == 3
    assert found["reasons"][0] == {
        "outcome": "bypass",
        "reason": "clock",
        "count": 7,
        "meaning": Reason.CLOCK.meaning,
        "advice": Reason.CLOCK.advice,
    }
    assert "" not in {row["reason"] for row in found["reasons"]}
    assert (found["entries"], found["evictions"]) == (2, {"write": 4})
    assert found["fences"][0]["owner"] == "session 4"
    assert (found["fences_up"], found["clients"], found["upstreams"]) == (1, 1, 1)
    assert found["verify"]["results"]["match"] == 0
    assert found["shapes"] == {"kept": 1, "dropped": 0}


def test_every_part_of_the_state_is_documented(api):
    document = (ROOT / "docs" / "api.md").read_text()
    _, found = get(api, "state")
    missing = [key for key in found if f"`{key}`" not in document]
    assert missing == []
    for path in ("state", "show", "series", "explain"):
        assert f"/api/{path}" in document


def test_of_many_fences_the_oldest_are_listed(api, house):
    for number in range(150):
        house.engine.board.up([(DATABASE, number)], Reason.FENCED, f"session {number}", number)
    _, found = get(api, "state")
    assert found["fences_up"] == 150
    assert [row["owner"] for row in found["fences"]] == [f"session {n}" for n in range(100)]


@pytest.mark.parametrize("name", VIEWS)
def test_every_view(api, name):
    status, found = get(api, f"show/{name}")
    assert status == 200
    assert found["view"] == name
    assert [each["name"] for each in found["columns"]] == [c.name for c in VIEWS[name].columns]
    assert all(len(row) == len(found["columns"]) for row in found["rows"])


def test_the_list_of_views(api):
    status, found = get(api, "show")
    assert status == 200
    assert [view["name"] for view in found["views"]] == list(VIEWS)


def test_a_view_is_filtered(api):
    query = {
        "columns": "reason, advice",
        "where": "meaning ILIKE '%clock%' AND reason <> 'clock'",
        "order_by": "reason DESC",
        "limit": "2",
        "offset": "1",
    }
    status, found = get(api, "show/Reasons", **query)
    assert status == 200
    assert [each["name"] for each in found["columns"]] == ["reason", "advice"]
    names = [reason.value for reason in Reason if "clock" in reason.meaning.lower()]
    expected = sorted((name for name in names if name != "clock"), reverse=True)[1:3]
    assert [row[0] for row in found["rows"]] == expected


@pytest.mark.parametrize(
    ("path", "query", "status", "error", "hint"),
    [
        ("nothing", {}, 404, "there is no /api/nothing", None),
        ("", {}, 404, "there is no /api/", None),
        ("show/querys", {}, 404, 'there is no view "querys"', "Did you mean 'queries'?"),
        ("show/queries/x", {}, 404, "there is no view", None),
        ("show/queries", {"where": "outcom = 'hit'"}, 400, 'column "outcom"', "'outcome'"),
        ("show/queries", {"where": "calls >"}, 400, "syntax error", "A filter is"),
        ("show/queries", {"where": "1=1; DROP TABLE t"}, 400, "more than one statement", None),
        ("show/queries", {"order_by": "calls LIMIT 1", "limit": "2"}, 400, "syntax error", None),
        ("show/queries", {"limit": "-1"}, 400, "LIMIT must not be negative", None),
        ("show/queries", {"where": "calls = $1"}, 400, "0 values", None),
        ("show/queries", {"were": "calls = 1"}, 400, "did you mean 'where'?", None),
        ("state", {"where": "1"}, 400, "unknown parameter 'where'", None),
        ("series", {"since": "yesterday"}, 400, "since is a time", None),
        ("series", {"since": "nan"}, 400, "since is a time", None),
        ("explain", {}, 405, "use POST", None),
    ],
)
def test_mistakes_get_one_sentence(api, path, query, status, error, hint):
    code, found = get(api, path, **query)
    assert code == status
    assert error in found["error"]
    assert hint is None or hint in found["hint"]


def test_series(api):
    status, found = get(api, "series", since="12.5")
    assert status == 200
    assert found["samples"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("state", {}, 405, "only /api/explain"),
        ("explain", b"{", 400, "not JSON"),
        ("explain", b"\xff", 400, "not JSON"),
        ("explain", b"[" * 100_000, 400, "not JSON"),
        ("explain", [], 400, "an object"),
        ("explain", {"sql": 5}, 400, "an object"),
        ("explain", {"sql": "SELECT 1", "database": 5}, 400, "are texts"),
        ("explain", {"sql": "SELECT 1", "datbase": "x"}, 400, "did you mean 'database'?"),
        ("explain", {"sql": "SELECT 1", "database": "nowhere"}, 400, "nowhere"),
    ],
)
def test_mistakes_of_a_post(api, path, body, status, error):
    code, found = post(api, path, body)
    assert code == status
    assert error in found["error"]
