"""Advice: what is said of what was counted, in which order, and with which rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.admin.advice import (
    EXPLAINED,
    FEW_CALLS,
    MENDABLE,
    Advice,
    Observed,
    advise,
    to_explain,
)
from proxy.admin.views import VIEWS
from proxy.reasons import Reason
from proxy.settings import load

NAMES = [column.name for column in VIEWS["queries"].columns]
NOTHING: dict[str, Any] = {
    column.name: {"text": None, "bool": False, "int8": 0, "float8": None}[column.type]
    for column in VIEWS["queries"].columns
}


def query(reason: str = "not_cached", **given):
    """A row of the view; `id` follows from the text."""
    text = given.setdefault("query", "SELECT 1 FROM public.t")
    row = NOTHING | {"id": f"{hash(text) & 0xFFFFFFFFFFFFFFFF:016x}", "database": "shop"}
    row |= {"reason": reason, "spent_seconds": 0.0, "saved_seconds": 0.0, "roles": "bob"}
    row |= {"relations": "public.t"}
    assert set(given) <= set(NAMES)
    return row | given


def table(name="public.t", **given):
    row: dict[str, Any] = {column.name: None for column in VIEWS["tables"].columns}
    row |= {"database": "shop", "name": name, "writes": 0, "evicted": 0, "evicted_per_write": 0.0}
    assert set(given) <= set(row)
    return row | given


def one(seen: Observed) -> Advice:
    (found,) = advise(seen)
    return found


def is_valid(yaml: str) -> None:
    """What is to be pasted is taken."""
    if yaml.startswith("- "):
        yaml = f"rules:\n{yaml}"
    settings = load({"config": "f", "upstream": "postgresql://h@x/y"}, {}, lambda _: yaml)
    assert len(settings.rules) == yaml.count("rules:")


def test_nothing_seen_nothing_said():
    assert advise(Observed()) == []
    good = query("", outcome="hit", calls=1000, hits=990, misses=10, spent_seconds=1.0)
    assert advise(Observed(queries=[good])) == []


def test_a_mendable_reason_is_told_with_its_cost():
    row = query("clock", calls=100, bypassed=100, spent_seconds=2.0)
    found = one(Observed(queries=[row]))
    assert found.title == "1 statement not cached: clock"
    assert found.action == Reason.CLOCK.advice
    assert "100 calls in database shop, 2.0 s of PostgreSQL" in found.why
    assert found.seconds == pytest.approx(2.0)
    assert found.statements == ((row["id"], row["query"]),)
    assert found.yaml == ""


@pytest.mark.parametrize("reason", ["show", "no_relation", "system_catalog", "rule_off", "fenced"])
def test_what_nobody_can_mend_is_not_told(reason):
    assert advise(Observed(queries=[query(reason, bypassed=1000, spent_seconds=9.0)])) == []


def test_mendable_reasons_have_something_to_do():
    assert [r for r in MENDABLE if r.advice == "nothing to do"] == []


def test_seldom_calls_are_not_told():
    row = query("clock", bypassed=FEW_CALLS - 1, spent_seconds=9.0)
    assert advise(Observed(queries=[row])) == []


def test_only_the_bypassed_part_counts():
    row = query("clock", bypassed=50, misses=150, spent_seconds=4.0)
    assert one(Observed(queries=[row])).seconds == pytest.approx(1.0)


def test_the_most_valuable_comes_first():
    rows = [
        query("clock", bypassed=100, spent_seconds=1.0),
        query("unlogged", bypassed=100, spent_seconds=3.0),
        query("locking_clause", bypassed=100, spent_seconds=2.0),
    ]
    found = [advice.title.split(": ")[1] for advice in advise(Observed(queries=rows))]
    assert found == ["unlogged", "locking_clause", "clock"]


def test_trifles_are_left_out():
    rows = [
        query("clock", bypassed=100, spent_seconds=0.001),
        query("unlogged", bypassed=100, spent_seconds=100.0),
    ]
    assert "unlogged" in one(Observed(queries=rows)).title


def test_a_function_is_to_be_declared():
    row = query("unknown_function", bypassed=50, spent_seconds=1.0)
    told = {"because": [{"what": "function public.price", "path": []}]}
    seen = Observed(queries=[row], explained={("shop", row["id"]): told})
    found = one(seen)
    assert found.title.endswith("unknown_function (function public.price)")
    assert found.yaml == "- function: public.price\n  reads: [public.some_table]"
    is_valid(found.yaml)


def test_the_function_that_a_cause_is_in_is_to_be_declared():
    row = query("unknown_function", bypassed=50, spent_seconds=1.0)
    told = {"because": [{"what": "dynamic SQL", "path": ["view public.v", "function public.f"]}]}
    found = one(Observed(queries=[row], explained={("shop", row["id"]): told}))
    assert found.title.endswith("(dynamic SQL in function public.f)")
    assert found.yaml.startswith("- function: public.f\n")
    # What came with the server is not to be declared.
    told = {"because": [{"what": "function pg_sleep", "path": []}]}
    assert one(Observed(queries=[row], explained={("shop", row["id"]): told})).yaml == ""


def test_names_are_quoted_where_yaml_wants_it():
    row = query("unknown_function", bypassed=50, spent_seconds=1.0)
    told = {"because": [{"what": "function public.a: b", "path": []}]}
    found = one(Observed(queries=[row], explained={("shop", row["id"]): told}))
    assert found.yaml.startswith('- function: "public.a: b"\n')
    is_valid(found.yaml)


def test_statements_of_one_function_are_one_piece_of_advice():
    rows = [
        query("unknown_function", bypassed=50, spent_seconds=1.0, query=f"SELECT f(), {n}")
        for n in range(2)
    ]
    told = {"because": [{"what": "function public.f"}]}
    seen = Observed(queries=rows, explained={("shop", row["id"]): told for row in rows})
    assert one(seen).title.startswith("2 statements not cached")
    assert one(seen).seconds == pytest.approx(2.0)


def test_opaque_writes():
    reads = query(misses=100, hits=900, miss_mean_seconds=0.01, spent_seconds=1.0)
    writes = query("write_opaque", query="CALL p()", writes=40, spent_seconds=1.0, relations=None)
    told = {"because": [{"what": "procedure public.p"}]}
    seen = Observed(
        queries=[reads, writes],
        tables=[table("*", writes=40, evicted=90)],
        bypassed={"session_unknown": 10},
        explained={("shop", writes["id"]): told},
    )
    found = one(seen)
    assert found.title == "1 statement that Howdah cannot see through (procedure public.p)"
    assert found.seconds == pytest.approx(1.0)
    assert "writes: [public.some_table]" in found.yaml
    is_valid(found.yaml)
    assert advise(replace(seen, tables=[], bypassed={})) == []


def test_a_function_in_a_select_is_worth_its_own_time():
    row = query("write_opaque", query="SELECT f()", writes=50, spent_seconds=1.0, relations=None)
    told = {"because": [{"what": "dynamic SQL", "path": ["function public.f"]}]}
    seen = Observed(queries=[row], explained={("shop", row["id"]): told})
    found = one(seen)
    assert found.seconds == pytest.approx(1.0)
    assert found.yaml == "- function: public.f\n  reads: [public.some_table]"
    is_valid(found.yaml)
    assert advise(replace(seen, queries=[row | {"query": "CALL f()"}])) == []


def test_a_statement_that_is_only_doubted_is_not_to_be_declared():
    # By itself it reads the clock; it was counted as prepared before something opaque.
    row = query("write_opaque", query="SELECT g()", writes=50, spent_seconds=1.0, relations=None)
    told = {"because": [{"what": "function pg_catalog.now"}], "reason": "clock"}
    seen = Observed(queries=[row], explained={("shop", row["id"]): told})
    assert (one(seen).title, one(seen).yaml) == ("1 statement that Howdah cannot see through", "")
    # Nobody declares what PostgreSQL brings along.
    told = {"because": [{"what": "function pg_catalog.lo_create"}]}
    assert one(replace(seen, explained={("shop", row["id"]): told})).yaml == ""
    found = one(replace(seen, queries=[row | {"reason": "prepared_opaque"}]))
    assert found.title.startswith("1 statement not cached, behind others")
    assert (found.yaml, found.seconds) == ("", 1.0)
    doubted = row | {"reason": "prepared_opaque", "query": "UPDATE t SET x = $1"}
    assert advise(replace(seen, queries=[doubted])) == []


def test_a_table_that_is_written_all_the_time():
    reader = query(misses=500, hits=5, miss_mean_seconds=0.002, spent_seconds=1.0)
    other = query(misses=500, hits=5000, relations="public.u", spent_seconds=1.0, query="u")
    seen = Observed(
        queries=[reader, other],
        tables=[table(writes=100, evicted=400, evicted_per_write=4.0, last_writer="session 7: x")],
    )
    found = one(seen)
    assert found.title == "public.t is written too often to be cached"
    assert "100 writes have dropped 400 answers, 4.0 each" in found.why
    assert "5 hits and 500 misses" in found.why
    assert found.why.endswith("the last one: session 7: x")
    assert found.seconds == pytest.approx(0.8)
    assert "relations: [public.t]" in found.yaml
    is_valid(found.yaml)


def test_a_table_with_many_hits_is_rather_to_be_written_less():
    reader = query(misses=500, hits=5000, miss_mean_seconds=0.002, spent_seconds=1.0)
    seen = Observed(queries=[reader], tables=[table(writes=100, evicted=400)])
    found = one(seen)
    assert found.title == "Writes of public.t cost hits"
    assert found.yaml == ""
    # In another database it is another table.
    elsewhere = replace(seen, tables=[table(writes=100, evicted=400, database="else")])
    assert [advice.seconds for advice in advise(elsewhere)] == []


@pytest.mark.parametrize(("returns", "size"), [(100, "128MB"), (900, "256MB")])
def test_a_cache_that_is_too_small(returns, size):
    reader = query(misses=1000, hits=5000, miss_mean_seconds=0.001, spent_seconds=1.0)
    seen = Observed(
        queries=[reader],
        cache={"capacity": 64 * 2**20, "bytes": 63 * 2**20, "returns": returns},
        evictions={"capacity": 1000},
    )
    found = one(seen)
    assert found.title == "The cache is too small"
    assert found.yaml == f"cache_size: {size}"
    assert "63MB of 64MB are in use" in found.why
    assert found.seconds == pytest.approx(returns * 0.001)
    is_valid(found.yaml)
    # What goes and is not missed needs no room.
    assert advise(replace(seen, cache=seen.cache | {"returns": 0})) == []


def test_max_age_that_costs_hits():
    reader = query("expired", misses=200, hits=500, miss_mean_seconds=0.01, spent_seconds=2.0)
    seen = Observed(queries=[reader], evictions={"expired": 150}, settings={"max_age": "60s"})
    found = one(seen)
    assert found.yaml == "max_age: none"
    assert found.seconds == pytest.approx(1.5)
    is_valid(found.yaml)


def test_max_age_is_not_to_be_given_up_where_others_write():
    reader = query("expired", misses=200, hits=500, miss_mean_seconds=0.01, spent_seconds=2.0)
    seen = Observed(
        queries=[reader],
        evictions={"expired": 150},
        settings={"max_age": "60s"},
        warnings=["somebody may write past Howdah"],
    )
    found = one(seen)
    assert "max_age: none" not in found.yaml
    assert "somebody may write past Howdah" in found.why
    assert "stale_while_revalidate: 30s" in found.yaml
    is_valid(found.yaml)


def test_others_that_write_although_max_age_is_none_are_urgent():
    rows = [query("clock", bypassed=100, spent_seconds=1.0)]
    seen = Observed(queries=rows, settings={"max_age": "none"}, warnings=["x may write"])
    found = advise(seen)
    assert found[0].yaml == "max_age: 60s"
    assert found[0].document()["urgent"] is True
    assert found[0].document()["seconds"] is None
    assert len(found) == 2


def test_wrong_answers_are_urgent():
    assert one(Observed(queries=[query(quarantined=True)])).document()["urgent"] is True


def test_answers_that_are_too_large():
    row = query(misses=100, rejected=50, spent_seconds=4.0, calls=100)
    seen = Observed(queries=[row], rejected={"too_large": 50}, settings={"entry_limit": "1MB"})
    found = one(seen)
    assert found.yaml == "entry_limit: 4MB"
    assert found.seconds == pytest.approx(2.0)
    is_valid(found.yaml)


def test_what_is_never_asked_again_is_kept_out_where_room_is_short():
    once = query(misses=1000, evicted=900, miss_mean_seconds=0.001, spent_seconds=1.0)
    often = query(misses=1000, hits=9000, miss_mean_seconds=0.001, spent_seconds=1.0, query="o")
    seen = Observed(queries=[once, often], evictions={"capacity": 1000}, cache={"returns": 0})
    found = one(seen)
    assert once["id"] in found.yaml
    assert often["id"] not in found.yaml
    is_valid(found.yaml)
    assert advise(replace(seen, evictions={})) == []


def test_what_is_worth_explaining_comes_by_its_cost():
    rows = [
        query("clock", bypassed=1, spent_seconds=1.0),
        query("write_opaque", writes=1, spent_seconds=2.0),
        query("not_cached", misses=1, spent_seconds=3.0),
        query("clock", bypassed=1, spent_seconds=4.0, id="(unparsable)"),
    ]
    chosen = to_explain(Observed(queries=rows))
    assert [row["reason"] for row in chosen] == ["write_opaque", "clock"]
    assert len(to_explain(Observed(queries=rows), most=1)) == 1
    assert set(MENDABLE) < set(EXPLAINED)
