"""What a text says, before any catalog is asked."""

from __future__ import annotations

import pglast.ast
import pytest

from proxy.policy.plan import Control
from proxy.reasons import Reason
from proxy.sql import utility, walk
from proxy.sql.analyse import analyse
from proxy.sql.facts import Call, Name, StatementKind, Target


def facts(text):
    (statement,) = analyse(text).statements
    return statement


def relations(text):
    return {(name.schema, name.name) for name in facts(text).relations}


def test_names_are_as_written():
    found = facts('select f(1), s.g(a, b) from "T" x join s.u on x.a operator(s.+) 1 = u.b')
    assert found.kind is StatementKind.SELECT
    assert found.relations == {Name(None, "T"), Name("s", "u")}
    assert found.calls == {Call(Name(None, "f"), 1), Call(Name("s", "g"), 2)}
    assert found.operators == {Name("s", "+"), Name(None, "=")}
    assert found.dotted == {"a", "b"}
    assert not found.unsupported
    assert not found.unknown


def test_calls_know_their_arguments():
    calls = {
        call.function.name: call
        for call in facts(
            "select count(*), sum(distinct x), f(a => 1, b => 2), g(variadic x), "
            "set_config('a', 'b', true), percentile_cont(0.5) within group (order by x), "
            "x at time zone 'UTC', extract(year from x), position('a' in b)"
        ).calls
    }
    assert {name: call.args for name, call in calls.items()} == {
        "count": 0,
        "sum": 1,
        "f": 2,
        "g": 1,
        "set_config": 3,
        "percentile_cont": 2,
        "timezone": 2,
        "extract": 2,
        "position": 2,
    }
    assert calls["g"].variadic
    assert calls["set_config"].literal == "a"
    assert calls["timezone"].function.schema == "pg_catalog"


def test_unnest_of_several_arrays_is_several_calls():
    assert facts("select * from unnest($1, $2)").calls == {Call(Name(None, "unnest"), 1)}
    assert facts("select unnest($1, $2)").calls == {Call(Name(None, "unnest"), 2)}


SCOPES: dict[str, set[tuple[str | None, str]]] = {
    "with x as (select * from a) select * from x": {(None, "a")},
    "with x as (select * from x) select * from x": {(None, "x")},
    "with recursive x as (select 1 union select * from x) select * from x": set(),
    "with x as (select * from y), y as (select 1) select * from x, y": {(None, "y")},
    "with recursive x as (select * from y), y as (select 1) select * from x, y": set(),
    "select (with x as (select 1) select 1 from x) from x": {(None, "x")},
    "with x as (select 1) select * from s.x": {("s", "x")},
    "with x as (select 1) select * from (with y as (select * from x) select * from y) z": set(),
    "with x as (select 1) (select * from x union select * from y)": {(None, "y")},
    "with x as (select 1) insert into x select * from x": set(),
    "insert into t with x as (select 1) select * from x": set(),
    "with x as (delete from x returning *) select * from x": set(),
    "select * from a where exists (select 1 from b where id in (select id from c))": {
        (None, "a"),
        (None, "b"),
        (None, "c"),
    },
    "select * from only a": {(None, "a")},
    "select * from db.s.a": {("s", "a")},
}


@pytest.mark.parametrize("text", SCOPES)
def test_scopes_of_common_table_expressions(text):
    assert relations(text) == SCOPES[text]


TARGETS: dict[str, list[tuple[str | None, str, str]]] = {
    "insert into s.t values (1)": [("s", "t", "i")],
    "insert into t values (1) on conflict do nothing": [(None, "t", "i")],
    "insert into t values (1) on conflict (a) do update set b = 1": [(None, "t", "iu")],
    "update only t x set a = 1": [(None, "t", "u")],
    "delete from t using u": [(None, "t", "d")],
    "merge into t using u on true when matched then delete when not matched then insert default "
    "values": [(None, "t", "di")],
    "merge into t using u on true when matched then do nothing": [(None, "t", "")],
    "with x as (update a set b = 1 returning 1), y as (delete from c) select 1": [
        (None, "a", "u"),
        (None, "c", "d"),
    ],
    "with x as (select 1) delete from x": [(None, "x", "d")],
    "copy t from stdin": [(None, "t", "i")],
    "truncate a, s.b": [(None, "a", "t"), ("s", "b", "t")],
}


@pytest.mark.parametrize("text", TARGETS)
def test_targets(text):
    assert facts(text).targets == tuple(
        Target(Name(schema, name), events) for schema, name, events in TARGETS[text]
    )


FINDINGS = {
    "select * from a for update": ("locking", True),
    "select * from (select * from a for share) x": ("locking", True),
    "select * from a tablesample bernoulli (1)": ("sampling", True),
    "select a.ctid from a": ("system_column", True),
    "select (a).xmin from a": ("system_column", True),
    "select current_date": ("value_function", Reason.CLOCK),
    "select localtimestamp": ("value_function", Reason.CLOCK),
    "select session_user": ("value_function", Reason.NONE),
    "select session_user, current_schema": ("asks", {"session_user", "current_schema"}),
    "select current_date, user": ("asks", {"user"}),
    "select current_schema()": ("asks", frozenset()),
    "select 'Now'": ("clock_literal", True),
    "select u&'\\006eow'": ("clock_literal", True),
    "select 'snow', 'nowhere'": ("clock_literal", False),
    "select $1 at time zone 'x'": ("time_zoned", True),
    "select a at time zone $1": ("time_zoned", False),
    "select * into x from a": ("into", True),
    "select * into temp x from a": ("temporary", True),
    "create temp table x ()": ("temporary", True),
    "create temp table x as select 1": ("temporary", True),
    "create table x as select 1": ("temporary", False),
    "select * from a, xmltable('/x' passing y columns b int)": ("unsupported", ""),
    "select json_array(1)": ("unsupported", ""),
    "select merge_action()": ("unsupported", "MergeSupportFunc"),
    "select $1 at local": ("time_zoned", True),
    "select a at local": ("time_zoned", False),
    "explain analyze select 1": ("analyze", True),
    "explain (analyze, verbose) select 1": ("analyze", True),
    "explain (analyze true) select 1": ("analyze", True),
    "explain (analyze 0) select 1": ("analyze", False),
    "explain (analyze false) select 1": ("analyze", False),
    "explain verbose select 1": ("analyze", False),
    "copy a from program 'x'": ("program", True),
    "truncate a cascade": ("cascade", True),
    "do $$ begin execute 'x'; end $$": ("dynamic", True),
    "do $$ begin null; end $$": ("dynamic", False),
    "select * from f()": ("open_columns", True),
    "select * from generate_series(1, 2)": ("open_columns", False),
    "select (x).* from a": ("open_columns", True),
}


@pytest.mark.parametrize("text", FINDINGS)
def test_findings(text):
    name, value = FINDINGS[text]
    assert getattr(facts(text), name) == value


def test_controls_are_those_of_plans():
    """`sql` may not import `policy`, so the values are texts on both sides."""
    known = {control.value for control in Control}
    assert set(utility._CONTROL.values()) <= known
    assert facts("set transaction read only").control in known
    assert facts("commit and chain").control in known


def test_every_statement_of_the_grammar_is_assigned():
    """F9: a node that is in no table is opaque; here is the list of those left so on purpose."""
    nodes = {
        name
        for name, value in vars(pglast.ast).items()
        if isinstance(value, type) and name.endswith("Stmt")
    }
    assigned = set(utility._QUERIES) | set(utility._HANDLERS) | set(utility._DDL)
    inside = {"RawStmt", "PLAssignStmt", "ReturnStmt", "SetOperationStmt"}
    assert nodes - assigned - inside == {"CallStmt", "LoadStmt"} - assigned
    assert assigned <= nodes


def test_typed_fields_are_those_of_the_grammar():
    """A field of one fixed node type is spelled without the type; `TYPED` must know which."""
    classes = {n: c for n, c in vars(pglast.ast).items() if isinstance(c, type)}
    typed: dict[str, set[str]] = {}
    for kind in (*walk._METHODS, *walk._PLAIN, *walk._HARMLESS):
        slots = getattr(classes.get(kind), "__slots__", None)
        for field, info in slots.items() if isinstance(slots, dict) else ():
            base = info.c_type.rstrip("*").strip()
            if base in classes and base not in ("Expr", "List", "Node", "ValUnion"):
                typed.setdefault(field, set()).add(base)
    ours = {field: {kind} for field, kind in walk.TYPED.items()}
    assert typed.pop("arg") == {"JsonValueExpr", "JsonKeyValue"}
    for field, kinds in typed.items():
        assert ours.get(field) == kinds, field


def test_several_statements_and_none():
    assert [found.kind for found in analyse("select 1; begin; ;").statements] == [
        StatementKind.SELECT,
        StatementKind.TRANSACTION,
    ]
    for text in ("", ";", " -- nothing", "/* x */;;"):
        analysis = analyse(text)
        assert (analysis.statements, analysis.error) == ((), ""), text


@pytest.mark.parametrize(
    "text",
    [
        "selec 1",
        "select 'x",
        "/* open",
        "select 1 \0; drop table x",
        "select " + "-".join("1" * 900),
        "select " + "(" * 20000,
        "\ud800",
        "IDENTIFY_SYSTEM",
    ],
)
def test_what_is_refused_is_said(text):
    analysis = analyse(text)
    assert analysis.error
    assert not analysis.statements


def test_constructs_of_many_parts_hide_no_calls():
    """F9: what is walked generically must reach every call inside."""
    text = (
        "select json_object('a': f1(1), 'b' value f2(1) null on null returning json), "
        "json_array(f3(1), f4(1)), json_array(select f5(1)), json_objectagg('k': f6(1)), "
        "json_arrayagg(f7(1) order by f8(1)) filter (where f9(1)) over (partition by f10(1)), "
        "json_value(f11(1), '$' passing f12(1) as x default f13(1) on empty), json(f14(1)), "
        "json_scalar(f15(1)), json_serialize(f16(1)), f17(1) is json, xmlelement(name a, "
        "xmlattributes(f18(1) as b), f19(1)), xmlserialize(content f20(1) as text), f21(1) is "
        "document from xmltable('/x' passing f22(1) columns b int default f23(1)), "
        "json_table(f24(1), '$' passing f25(1) as y columns (a int default f26(1) on error, "
        "nested '$.b' columns (c int default f27(1) on empty)))"
    )
    found = facts(text)
    names = {call.function.name for call in found.calls}
    assert names >= {f"f{number}" for number in range(1, 28)}
    assert not found.unsupported
    assert not found.unknown
    text = (
        "with x as (select f1(1)) insert into t (a[f2(1)]) select f3(1) from u where f4(1) on "
        "conflict (f5(a)) where f6(1) do update set b = f7(1), (c, d) = (select f8(1), 2) where "
        "f9(1) returning f10(1)"
    )
    found = facts(text)
    assert {call.function.name for call in found.calls} >= {f"f{n}" for n in range(1, 11)}
    assert not found.unknown
    text = (
        "merge into t using f1(1) x on f2(1) when matched and f3(1) then update set a = f4(1) "
        "when not matched then insert values (f5(1)) returning merge_action(), f6(1)"
    )
    found = facts(text)
    assert {call.function.name for call in found.calls} >= {f"f{n}" for n in range(1, 7)}
    assert not found.unknown


def test_prepared_statements():
    found = facts("prepare p (date, s.t) as select f($1) from a")
    assert (found.prepared, found.inner.relations) == (("p",), {Name(None, "a")})
    assert found.types == {Name(None, "date"), Name("s", "t")}
    assert {cast.shape for cast in found.casts} == {False}
    found = facts("execute p (f(1), 'now', (select 1 from a))")
    assert (found.prepared, found.clock_literal) == (("p",), True)
    assert Call(Name(None, "f"), 1) in found.calls
    assert found.relations == {Name(None, "a")}


def test_refresh_names_what_it_writes():
    found = facts("refresh materialized view concurrently s.m with data")
    assert (found.kind, found.tag) == (StatementKind.DDL, "RefreshMatViewStmt")
    assert found.targets == (Target(Name("s", "m"), "r"),)


def test_long_lists_are_no_deep_nesting():
    rows = ",".join(f"({i}, 'x')" for i in range(5000))
    assert facts(f"insert into t values {rows}").targets
    assert facts("select 1 from a where id in (" + ",".join("1" * 5000) + ")").relations
    assert facts("select 1 from a where " + " or ".join(["id = 1"] * 2000)).relations


LITERALS = {
    "select f('a')": "a",
    "select f('')": "",
    "select f('a'::text)": "a",
    "select f(cast('a' as pg_catalog.text), 2)": "a",
    "select f('a'::varchar)": None,
    "select f('{a}'::text[])": None,
    "select f('a' || 'b')": None,
    "select f(x => 'a')": None,
    "select f(1)": None,
    "select f($1)": None,
    "select f()": None,
}


@pytest.mark.parametrize("text", LITERALS)
def test_literal_first_arguments(text):
    (call,) = facts(text).calls
    assert call.literal == LITERALS[text]


ASSIGNS = {
    "select set_config('a.B', $1, true)": [("a.B", True)],
    "select set_config('a'::text, null, 'f') x, pg_catalog.set_config('b', $2::int::text, 't')": [
        ("a", False),
        ("b", True),
    ],
    "select set_config('a', $1, 'yes')": [],
    "select set_config('a', $1, 1)": [],
    "select set_config('a', $1, not true)": [],
    "select set_config('a', $1, true) limit 1": [],
    "select distinct set_config('a', $1, true)": [],
    "select set_config('a', $1, true) union select set_config('a', $1, true)": [],
    "select set_config('a', $1, true) filter (where true)": [],
    "select set_config(variadic array['a', 'b'])": [],
    "select other.set_config('a', $1, true)": [],
    "select upper(set_config('a', $1, true))": [],
    "select set_config('a', $1::timestamp::text, true)": [],
    "select set_config('a', current_user::text, true)": [],
    "select *, set_config('a', $1, true)": [],
    "select": [],
    "values (set_config('a', $1, true))": [],
}


@pytest.mark.parametrize("text", ASSIGNS)
def test_settings_that_a_select_assigns(text):
    assert [(each.name, each.local) for each in facts(text).assigns] == ASSIGNS[text]
    assert all(each.constant for each in facts(text).assigns)
