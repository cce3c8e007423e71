"""Explanations are those of the decisions: same plan, and all that it is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.catalog.build import build
from proxy.catalog.rows import TriggerRow
from proxy.policy.decide import decide
from proxy.policy.explain import Record, describe
from proxy.policy.plan import Kind, Scope
from proxy.policy.situation import Situation
from proxy.reasons import Reason
from proxy.sql.analyse import analyse
from proxy.sql.facts import Name
from tests.unit.catalog.sample import PATH, SAMPLE, TRIGGER, sample_rows
from tests.unit.policy import test_decide_reads as reads
from tests.unit.policy import test_decide_writes as writes
from tests.unit.policy.helpers import NO_RULES

# Reasons that follow from no single name or construct.
_OF_THE_WHOLE = {
    Reason.NO_RELATION,
    Reason.EMPTY,
    Reason.MULTIPLE_STATEMENTS,
    Reason.EXPLAIN,
    Reason.CURSOR,
    Reason.COPY,
    Reason.SHOW,
    Reason.PREPARED_SQL,
    Reason.RULE_OFF,
    Reason.HINT_OFF,
    Reason.QUARANTINED,
}


def traced(text, path=PATH, catalog=SAMPLE):
    """The plan, and the record of how it came about."""
    record = Record()
    situation = Situation("shop", "alice", path, catalog, NO_RULES, trace=record)
    return decide(analyse(text), situation), record


def untraced(text, path=PATH):
    return decide(analyse(text), Situation("shop", "alice", path, SAMPLE, NO_RULES))


TEXTS = [*reads.READS, *reads.BYPASSED, *writes.KNOWN, *writes.EVERYTHING_IS_WRITTEN]


@pytest.mark.parametrize("path", [PATH, None], ids=["path", "any path"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_explained_plan_is_the_plan(text, path):
    found, record = traced(text, path)
    assert found == untraced(text, path)
    if found.kind is Kind.READ:
        assert {place.granule for place in record.reads()} == set(found.reads)
    if found.closure.scope is Scope.RELATIONS:
        assert {place.granule for place in record.writes()} >= found.closure.relations
        if found.kind is Kind.WRITE and len(analyse(text).statements) == 1:
            assert {place.granule for place in record.writes()} == found.closure.relations
    if found.kind is Kind.BYPASS and found.reason not in _OF_THE_WHOLE:
        if found.reason is Reason.SESSION_UNKNOWN:
            return
        assert found.reason in {cause.reason for cause in record.causes()}
    if found.reason is Reason.WRITE_OPAQUE and record.causes():
        # What the text says about itself (DO in another language, LOAD) has no cause of its own.
        assert all(cause.what for cause in record.causes())


def paths(places):
    return {place.relation.removeprefix("public."): " -> ".join(place.path) for place in places}


def test_reads_by_way_of_views_and_partitions():
    _, record = traced("select * from plain_view join b using (id)")
    assert paths(record.reads()) == {
        "b": "table public.b",
        "a": "view public.plain_view -> table public.a",
    }
    _, record = traced("select * from parted")
    assert paths(record.reads()) == {
        "parted": "partitioned table public.parted",
        "part_1": "partitioned table public.parted -> partition or child of public.parted"
        " -> table public.part_1",
        "part_2": "partitioned table public.parted -> partition or child of public.parted"
        " -> table public.part_2",
    }


def test_writes_by_way_of_foreign_keys_with_their_names():
    rows = sample_rows()
    keys = [(*key[:4], f"key_{number}") for number, key in enumerate(rows.foreign_keys)]
    catalog = build(replace(rows, foreign_keys=keys))
    _, record = traced("delete from a", catalog=catalog)
    assert paths(record.writes()) == {
        "a": "DELETE from table public.a",
        "b": "DELETE from table public.a -> foreign key key_0 on public.a"
        " -> DELETE from table public.b",
        "c": "DELETE from table public.a -> foreign key key_0 on public.a"
        " -> DELETE from table public.b -> foreign key key_1 on public.b"
        " -> UPDATE of table public.c",
    }


def test_writes_by_way_of_rules():
    _, record = traced("insert into ruled values (1)")
    assert paths(record.writes())["c"] == (
        "INSERT into table public.ruled -> rule on public.ruled -> INSERT into table public.c"
    )


def test_an_opaque_trigger_is_told_with_its_name_and_the_way_to_it():
    rows = sample_rows(triggers=[TriggerRow(30008, TRIGGER, name="stamp")])
    found, record = traced("delete from a; insert into triggered values (1)", catalog=build(rows))
    assert found.reason is Reason.WRITE_OPAQUE
    (cause,) = [cause for cause in record.causes() if cause.opaque]
    assert cause.path == (
        "INSERT into table public.triggered",
        "trigger stamp on public.triggered",
        "function public.touch",
    )


def test_causes_are_told_with_what_they_are():
    _, record = traced("select random(), current_date from a tablesample system (10) for update")
    assert {(cause.reason, cause.what) for cause in record.causes()} == {
        (Reason.VOLATILE_FUNCTION, "function random"),
        (Reason.CLOCK, "CURRENT_TIMESTAMP or the like"),
        (Reason.TABLESAMPLE, "TABLESAMPLE"),
        (Reason.LOCKING_CLAUSE, "the locking clause"),
    }
    _, record = traced("select * from nowhere.at_all")
    assert [cause.what for cause in record.causes()] == ["relation nowhere.at_all"]


def test_words_for_types():
    assert describe(Name("s", "t")) == "type s.t"
    assert describe(Name(None, "")) == "a type that the text does not tell"
    assert describe("TABLESAMPLE") == "TABLESAMPLE"
