"""Views: what was counted and what is so, in the columns that are promised."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from proxy.admin.house import ClientSeen, ConfigSeen, OwnSeen, Status
from proxy.admin.views import VIEWS
from proxy.cache.fences import ALL
from proxy.policy.rules import EMPTY
from proxy.reasons import Reason
from proxy.session.core import Session
from proxy.settings import OPTIONS, load
from tests.unit.admin.houses import DATABASE, House, busy

TYPES: dict[str, Any] = {"text": str, "bool": bool, "int8": int, "float8": (int, float)}


@pytest.fixture
def house() -> House:
    return busy(House())


def rows(house, name):
    """The rows of a view as dicts; every value has the type of its column."""
    view = VIEWS[name]
    found = []
    for row in view.rows(house):
        shown = {}
        for at, column in enumerate(view.columns):
            value = row[at]
            assert value is None or isinstance(value, TYPES[column.type]), (name, column, value)
            assert not isinstance(value, bool) or column.type == "bool", (name, column)
            shown[column.name] = value
        if isinstance(row, tuple):
            assert len(row) == len(view.columns), name
        else:
            with pytest.raises(IndexError):
                row[len(view.columns)]
        found.append(shown)
    return found


@pytest.mark.parametrize("name", VIEWS)
def test_names_and_help(name):
    view = VIEWS[name]
    assert view.name == name == name.lower()
    assert view.help.endswith(".")
    names = [column.name for column in view.columns]
    assert len(set(names)) == len(names)
    assert all(column.help for column in view.columns)
    assert all(column.type == "float8" for column in view.columns if "seconds" in column.name)
    assert view.column(names[-1]) == len(names) - 1
    assert view.column("nothing") is None


@pytest.mark.parametrize("name", VIEWS)
def test_a_house_where_nothing_has_happened(name):
    rows(House(), name)


def test_stats_and_cache(house):
    stats = {row["outcome"]: row for row in rows(house, "stats")}
    assert stats["miss"]["statements"] == 3
    assert stats["hit"]["statements"] == 5
    assert stats["miss"]["share"] == 0.375
    assert stats["miss"]["mean_seconds"] == pytest.approx(0.010)
    assert 0.005 <= stats["miss"]["p50_seconds"] <= 0.010
    assert stats["write"]["p99_seconds"] is None
    (cache,) = rows(house, "cache")
    assert cache["entries"] == 2
    assert cache["hits"] == 5
    assert cache["hit_share"] == 0.625
    assert cache["evicted"] == 4
    assert cache["capacity"] == 1_000_000
    assert rows(house, "evictions") == [{"cause": "write", "entries": 4}]


def test_queries(house):
    (row,) = rows(house, "queries")
    assert len(row["id"]) == 16
    assert row["query"] == "SELECT * FROM items WHERE id = $1"
    assert (row["database"], row["outcome"], row["reason"]) == ("shop", "miss", "not_cached")
    assert (row["calls"], row["hits"], row["misses"]) == (8, 5, 3)
    assert row["rows"] == 10
    assert row["miss_mean_seconds"] == pytest.approx(0.010)
    assert row["miss_p99_seconds"] == pytest.approx(0.010, rel=0.08)
    assert row["saved_seconds"] == pytest.approx(0.050)
    assert row["spent_seconds"] == pytest.approx(0.030)
    assert (row["evicted"], row["entries"]) == (4, 2)
    assert row["last_seconds"] == 0.0
    assert (row["relations"], row["roles"], row["rule"]) == ("42", "app", None)
    assert row["quarantined"] is False


def test_only_hits(house):
    shape = house.engine.shapes.of("shop", b"SELECT 1 FROM items")
    shape.served(1, 1, 10, 0.5, 109.0)
    row = next(row for row in rows(house, "queries") if row["calls"] == 1)
    assert (row["outcome"], row["reason"], row["miss_mean_seconds"]) == ("hit", None, None)
    assert row["last_seconds"] == 1.0


def test_tables(house):
    house.engine.board.up([(DATABASE, 42)], Reason.FENCED, "session 4", 109.0)
    (row,) = rows(house, "tables")
    assert (row["database"], row["name"]) == ("shop", "42")
    assert (row["entries"], row["queries"], row["writes"], row["evicted"]) == (2, 1, 1, 4)
    assert row["evicted_per_write"] == 4.0
    assert row["last_write_seconds"] == 2.0
    assert row["last_writer"] == "session 3: UPDATE"
    assert row["fences"] == 1


def test_what_evicts_everything_is_a_row_of_its_own(house):
    house.engine.store.evict((ALL,), "flush", now=109.0)
    house.engine.store.evict(((DATABASE, 0),), "schema", now=109.5)
    shown = {(row["database"], row["name"]): row for row in rows(house, "tables")}
    assert shown["*", "*"]["evicted"] == 2
    assert shown["*", "*"]["last_writer"] == "flush"
    assert shown["*", "*"]["writes"] == 0
    assert ("shop", "*") not in shown


def test_fences(house):
    engine = house.engine
    engine.board.up([(DATABASE, 42), (DATABASE, 43)], Reason.FENCED, "session 4", 109.0)
    fence = engine.board.up([(DATABASE, 0), (DATABASE, 42)], Reason.FENCED, "session 5", 108.0)
    fence.schema, fence.text = True, "ALTER TABLE items"
    engine.board.up([ALL], Reason.SUSPENDED, "an upstream was lost", 107.0)
    engine.board.up([engine.databases["shop"].startup], Reason.FENCED, "session 6", 109.5)
    engine.board.up([(DATABASE, oid) for oid in range(100, 125)], Reason.FENCED, "s", 109.9)
    shown = rows(house, "fences")
    assert [(row["cause"], row["database"], row["tables"]) for row in shown[:4]] == [
        ("suspended", "*", "*"),
        ("schema", "shop", "*"),
        ("write", "shop", "42, 43"),
        ("write", "shop", None),
    ]
    assert shown[4]["tables"].endswith("119, and 5 more")
    assert shown[1]["statement"] == "ALTER TABLE items"
    assert shown[0]["age_seconds"] == 3.0


def test_clients_and_upstreams(house):
    idle, busy_one = Session(house.engine, 7), Session(house.engine, 8)
    for session in (idle, busy_one):
        session.started = True
        session.database, session.user = "shop", "app"
        session.application = "web"
    idle.hits, idle.forwarded, idle.backend_pid = 4, 2, 4711
    busy_one.new_pending()
    busy_one.status = b"E"
    house.seen = [
        ClientSeen(6, "127.0.0.1:5", 109.0, "startup", False, None),
        ClientSeen(7, "127.0.0.1:6", 105.0, "live", True, idle),
        ClientSeen(8, "127.0.0.1:7", 105.0, "live", True, busy_one),
        ClientSeen(9, "a Unix socket", 105.0, "console", True, None, "admin"),
    ]
    house.owns = [OwnSeen("postgres", "howdah", 99, "server")]
    first, second, third, console = rows(house, "clients")
    assert (first["state"], first["database"], first["hits"]) == ("startup", None, 0)
    assert (second["state"], second["transaction"], second["hits"]) == ("idle", "none", 4)
    assert (second["statements"], second["backend_pid"]) == (6, 4711)
    assert second["application_name"] == "web"
    assert second["connected_seconds"] == 5.0
    assert second["why_not"] == "catalog_loading"
    assert (third["state"], third["transaction"]) == ("active", "failed")
    assert (console["state"], console["role"]) == ("console", "admin")
    shown = rows(house, "upstreams")
    assert [(row["kind"], row["client"], row["backend_pid"]) for row in shown] == [
        ("client", 7, 4711),
        ("client", 8, None),
        ("client", 9, None),
        ("own", None, 99),
    ]


def test_what_a_session_does(house):
    session = Session(house.engine, 1)
    seen = ClientSeen(1, "x", 100.0, "live", True, session)
    house.seen = [seen]

    def state():
        return rows(house, "clients")[0]["state"]

    assert state() == "login"
    session.started = True
    assert state() == "idle"
    session.deferred = [b"BEGIN"]
    assert rows(house, "clients")[0]["transaction"] == "deferred"
    session.held = b"Q"
    assert state() == "waiting"
    session.client_gone = True
    assert state() == "closing"
    house.seen = [dataclasses.replace(seen, phase="closed")]
    assert state() == "closed"


def test_contract(house):
    house.told = Status(False, "proxied", "off: why", ["a problem"], ["a warning"])
    shown = {row["name"]: row["value"] for row in rows(house, "contract")}
    assert shown["contract"] == "proxied"
    assert shown["max_age"] == "60 s"
    assert shown["cache"] == "off: why"
    assert (shown["problem_1"], shown["warning_1"]) == ("a problem", "a warning")
    assert shown["ready"] == "no"
    house.settings = dataclasses.replace(house.settings, max_age=None)
    shown = {row["name"]: row["value"] for row in rows(house, "contract")}
    assert shown["max_age"] == "none"


def test_the_server_s_times_are_for_people(house):
    house.engine.identity = ("7", "1", "1795468060.456710/1795468059.122380")
    shown = {row["name"]: row["value"] for row in rows(house, "contract")}
    assert shown["server_start"] == "2026-11-23 21:07:40 UTC, 2026-11-23 21:07:39 UTC"
    house.engine.identity = ("7", "1", "1795468060.456710/")
    shown = {row["name"]: row["value"] for row in rows(house, "contract")}
    assert shown["server_start"] == "2026-11-23 21:07:40 UTC"


def test_config_tells_where_a_setting_comes_from_and_no_password():
    text = "cache_size: 1GB\nrules:\n- cache: off\n"
    settings = load(
        {"upstream": "postgresql://howdah:secret@db/postgres", "config": "h.yaml"},
        {"HOWDAH_MAX_AGE": "5s"},
        lambda path: text,
    )
    house = House(settings=settings)
    house.file = ConfigSeen("h.yaml", "h.yaml:1:1: bad", 5.0)
    shown = {row["name"]: row for row in rows(house, "config")}
    assert {option.name for option in OPTIONS} <= set(shown)
    assert shown["cache_size"]["value"] == "1GB"
    assert shown["cache_size"]["source"].startswith("h.yaml:1:")
    assert (shown["max_age"]["value"], shown["max_age"]["source"]) == ("5s", "HOWDAH_MAX_AGE")
    assert shown["entry_limit"]["source"] == "default"
    assert shown["upstream"]["source"] == "--upstream"
    assert shown["rules"]["value"] == "1 rules"
    assert shown["config_problem"]["value"] == "h.yaml:1:1: bad"
    assert "secret" not in str(shown)


def test_rules(house):
    house.engine.rules = house.settings.rules
    assert rows(house, "rules") == []
    assert house.engine.rules is EMPTY
    text = "rules:\n- {name: quiet, role: app, cache: off}\n- {priority: 5, ttl: 5s}\n"
    flags = {"upstream": "postgresql://howdah@db/postgres", "config": "h.yaml"}
    house.engine.rules = load(flags, {}, lambda path: text).rules
    house.engine.shapes.of("shop", b"SELECT 2").rule = "quiet"
    first, second = rows(house, "rules")
    assert (first["number"], first["name"], first["priority"]) == (1, "rule 2", 5)
    assert "ttl" in first["effects"]
    assert first["conditions"] == ""
    assert (second["name"], second["queries"]) == ("quiet", 1)
    assert "role: app" in second["conditions"]
    assert "off" in second["effects"]


def test_reasons_are_all_there_the_most_frequent_first(house):
    house.engine.statistics.count("bypass", "clock", 100)
    house.engine.statistics.count("other", "utility", 2)
    shown = rows(house, "reasons")
    assert shown[0]["reason"] == "clock"
    assert shown[0]["outcome"] == "bypass"
    assert {row["reason"] for row in shown} == {reason.value for reason in Reason}
    assert all(row["meaning"] and row["advice"] for row in shown)


def test_databases(house):
    (row,) = rows(house, "databases")
    assert (row["name"], row["catalog"], row["tables"]) == ("shop", "loading", None)
    house.engine.databases["shop"].problem = Reason.CATALOG_UNAVAILABLE
    (row,) = rows(house, "databases")
    assert row["catalog"] == "unavailable"
    assert row["problem"] == Reason.CATALOG_UNAVAILABLE.meaning


def test_verify_and_version(house):
    house.engine.statistics.verify["mismatch"] = 2
    assert {"result": "mismatch", "hits": 2} in rows(house, "verify")
    (row,) = rows(house, "version")
    assert (row["contract"], row["uptime_seconds"]) == ("proxied", 10.0)
