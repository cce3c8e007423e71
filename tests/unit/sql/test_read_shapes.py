"""Shapes of SELECT: each is walked whole, and says what could hide in it."""

from __future__ import annotations

import pytest

from proxy.reasons import Reason
from proxy.sql.analyse import analyse
from proxy.sql.facts import Name

# A read and the relations in it; f1, f2... must all be found, and nothing is unsupported.
READS: dict[str, str] = {
    "select": "",
    "select from t": "t",
    "table s.t": "s.t",
    "table only t": "t",
    "values (1, f1()), (f2(), 'a')": "",
    "select t, t.*, (t).x, (f1()).*, (f2()).a.b, (array[f3()])[f4()], a[f5():f6()], a[:] from t": (
        "t"
    ),
    "select a['b'][f1()]['c'] from t": "t",
    "select distinct on (a, f1()) * from only t order by f2() using operator(pg_catalog.<) "
    "nulls first fetch first f3() rows with ties": "t",
    "select a from t order by 1, b desc limit f1() offset f2()": "t",
    "(select 1 union all select f1()) intersect select 3 except all (table t limit 1)": "t",
    "select a, grouping(a, b) from t group by distinct grouping sets ((a, f1()), rollup(a, f2()), "
    "cube(a, (b, f3())), ()) having f4()": "t",
    "select sum(f1()) filter (where f2()) over (partition by f3() order by f4() groups between "
    "f5() preceding and unbounded following exclude ties) from t": "t",
    "select rank() over w from t window w as (v rows current row), v as (partition by f1())": "t",
    "select percentile_cont(f1()) within group (order by f2()) from t": "t",
    "select array_agg(distinct f1() order by f2()) from t": "t",
    "select * from t, lateral (select f1() from u where u.a = t.a) x, lateral f2(t.b) y": "t u",
    "select * from rows from (f1(1), f2(2) as (a int, b text)) with ordinality as q(c, d, e)": "",
    "select * from f1() with ordinality": "",
    "select * from f1() as x (a int, b s.u)": "",
    "select * from (values (f1())) v(a), (t cross join u) as j(a, b)": "t u",
    "select * from a natural full join b": "a b",
    "select * from a join b using (id) as j left join c on f1(j.id)": "a b c",
    "with recursive r(a) as (select f1() union all select a + 1 from r where f2()) search depth "
    "first by a set o cycle a set c to true default false using p select * from r": "",
    "with x as materialized (table t), y as not materialized (table x) table y": "t",
    "with t as (table t) table t": "t",
    "with t as (select 1) select * from t, s.t": "s.t",
    "with t as (select 1), u as (with t as (table v) table t) select * from u, t": "v",
    "with recursive a as (table b), b as (table c) table a": "c",
    "select (with t as (table u) select 1 from t), (select 1 from t)": "t u",
    'select * from "S"."Tw" x, db.s.t': "S.Tw s.t",
    "select (a, b) < (f1(), d), row(a, f2()) is distinct from row(1, 2), row() from t": "t",
    "select (a, b) in (select 1, f1() from u), a = any (select f2()), (a, b) <> all (table u) "
    "from t": "t u",
    "select a = any (array[f1()]), a <> all ($1), a in (1, f2()), exists (table u), not f3(), "
    "array(table v) from t": "t u v",
    "select a collate s.c, a at time zone f1(), a at local, a operator(s.+) f2() from t": "t",
    "select a similar to f1() escape f2(), a like f3() escape f4(), a ~ f5(), a ilike b from t": (
        "t"
    ),
    "select (a, f1()) overlaps (b, f2()), a between symmetric f3() and f4(), a is null, "
    "a is not true, a is not distinct from f5() from t": "t",
    "select cast(f1() as int), f2()::s.u[], s.u '3', interval '1' day to second(3), int '3', "
    "double precision '1', cast(f3() as national character varying (3)), b'1', x'f', $1::int": "",
    "select extract(year from f1()), substring(f2() from 1 for f3()), overlay(f4() placing 'b' "
    "from 1), trim(both from f5()), position(a in f6()), normalize(f7(), nfc), "
    "f8() is nfc normalized, substring(f9() similar 'b' escape 'c')": "",
    "select coalesce(f1(), 1), nullif(f2(), 1), greatest(f3(), 1), least(f4(), 1), case f5() when "
    "f6() then f7() else f8() end, case when f9() then 1 end": "",
    "select f1(variadic array[f2()]), f3(a => f4()), f5(a := f6())": "",
    # SQL/JSON
    "select json_object('a': f1(), f2() value b null on null with unique keys returning text "
    "format json encoding utf8), json_object()": "",
    "select json_array(f1(), f2() format json absent on null returning jsonb), json_array(), "
    "json_array(select f3() from t returning text)": "t",
    "select json_objectagg(f1(): f2() absent on null with unique keys) filter (where f3()) over "
    "(order by f4()), json_arrayagg(f5() order by f6() null on null returning jsonb) from t": "t",
    "select json(f1() with unique keys), json(f2() format json), json_scalar(f3()), "
    "json_serialize(f4() returning bytea format json)": "",
    "select f1() is json, f2() is not json array with unique keys, f3() is json object, "
    "f4() is json scalar": "",
    "select json_exists(f1(), '$.x' passing f2() as y error on error), json_query(f3(), '$' "
    "with conditional array wrapper omit quotes empty array on empty), json_value(f4(), '$.x' "
    "returning int default f5() on empty default f6() on error)": "",
    "select * from t, json_table(f1(), '$[*]' as p passing f2() as x columns (n for ordinality, "
    "a int path '$.a' default f3() on empty error on error, b jsonb format json path '$.b' "
    "without wrapper, e bool exists path '$.e' false on error, nested path '$.f[*]' as q columns "
    "(g text default f4() on error)) empty on error) as j(x1, x2)": "t",
    # XML
    "select xmlparse(document f1() preserve whitespace), xmlserialize(content f2() as text "
    "indent), xmlelement(name foo, xmlattributes(f3() as b), f4()), xmlforest(f5(), f6() as c), "
    "xmlconcat(f7(), 1), xmlpi(name x, f8()), xmlroot(f9(), version '1', standalone yes), "
    "f10() is document, xmlexists(f11() passing by ref f12())": "",
    "select * from t, lateral xmltable(xmlnamespaces(f1() as y, default 'z'), f2() passing f3() "
    "columns o for ordinality, a int path f4() default f5() not null) as x(u, v)": "t",
}


def facts(text):
    (statement,) = analyse(text).statements
    return statement


@pytest.mark.parametrize("text", READS)
def test_reads_are_walked_whole(text):
    found = facts(text)
    assert (found.unsupported, found.unknown, found.into, found.targets) == ("", "", False, ())
    names = {f"{schema}.{name}" if schema else name for schema, name in found.relations}
    assert names == set(READS[text].split())
    called = {call.function.name for call in found.calls}
    assert {f"f{number}" for number in range(1, 20) if f"f{number}(" in text} <= called


# A read and the casts in it: what text of a table or a document could become (K5).
CASTS: dict[str, dict[str, object]] = {
    "select json_value(a, '$' returning date) from t": {"date": False},
    "select json_query(a, '$' returning s.dom) from t": {"dom": False},
    "select json_value(a, '$')::date from t": {"date": False},
    "select json_value(a, '$' returning timestamp)::date from t": {
        "timestamp": False,
        "date": True,
    },
    "select json_value(a, '$' returning text)::date from t": {"date": False},
    "select json_exists(a, '$')::date from t": {"date": True},
    "select (a is json)::date, (a is null)::date, (not a)::date from t": {"date": True},
    "select json_serialize(a returning s.dom) from t": {"dom": False},
    "select 1 from json_table(a, '$' columns (b date, c timestamptz path '$.c', d date exists, "
    "nested '$.x' columns (e s.dom)))": {"date": True, "timestamptz": False, "dom": False},
    "select 1 from xmltable('/x' passing a columns b date, c for ordinality)": {"date": False},
    "select xmlserialize(content a as s.dom) from t": {"dom": False},
}


@pytest.mark.parametrize("text", CASTS)
def test_types_read_out_of_documents(text):
    casts = {cast.type.name: cast.shape for cast in facts(text).casts if not cast.call}
    assert {name: casts[name] for name in CASTS[text]} == CASTS[text]


def test_text_dates_of_json_table_count_beside_the_sure_ones():
    found = facts("select 1 from json_table(a, '$' columns (b date, d date exists))")
    assert {cast.shape for cast in found.casts if cast.type.name == "date"} == {False, True}


# Names that documents give to their columns, as K5 follows them.
DERIVED = {
    "select 1 from json_table(a, '$' columns (n for ordinality, b date, c text, d int exists, "
    "nested '$.x' columns (e int, f s.dom)))": {
        "n": True,
        "b": True,
        "c": False,
        "d": True,
        "e": True,
        "f": False,
    },
    "select 1 from json_table(a, '$' columns (b date)) as x(y)": {"b": True, "y": False},
    "select 1 from xmltable('/x' passing a columns b date, c for ordinality, d text) as x(u)": {
        "u": False,
        "b": True,
        "c": True,
        "d": False,
    },
    "select 1 from (select json_object(), json_array(1), json_array(select 1), json_objectagg(1: "
    "2), json_arrayagg(1), json('1'), json_scalar(1), json_serialize('1'), json_exists(a, '$'), "
    "json_value(a, '$'), json_query(a, '$'), xmlelement(name a), xmlparse(content 'a'), "
    "xmlserialize(content a as text), current_date) x": dict.fromkeys(
        "json_object json_array json_objectagg json_arrayagg json json_scalar json_serialize "
        "json_value json_query xmlelement xmlparse xmlserialize".split(),
        False,
    )
    | {"json_exists": True, "current_date": True},
}


@pytest.mark.parametrize("text", DERIVED)
def test_names_of_columns_from_documents(text):
    assert facts(text).derived == DERIVED[text]


# JSON paths, and whether they could compare a time with a time of a zone (K5).
PATHS = {
    "json_exists(a, '$.time')": False,
    "json_exists(a, '$.x.size()')": False,
    "json_exists(a, '$.x.date() < $y' passing b as y)": False,
    "json_exists(a, '$.x.DateTime() < $y' passing b as y)": True,
    "json_value(a, '$.x.time()')": True,
    "json_value(a, '$.x.time_tz()')": True,
    "json_value(a, '$.x.\\u0074ime()')": True,
    "json_query(a, b)": True,
    "json_query(a, $1)": True,
    "json_exists(a, '$x < $y' passing b as x, c as y)": True,
    "json_exists(a, '$x < $y' passing b as x, 1 as y)": False,
}


@pytest.mark.parametrize("text", PATHS)
def test_times_in_json_paths(text):
    assert facts(f"select {text} from t").time_zoned == PATHS[text]


@pytest.mark.parametrize(
    "text",
    [
        "select 1 from json_table(a, '$.x.time()' columns (b int))",
        "select 1 from json_table(a, '$' columns (b int path '$.time()'))",
        "select 1 from json_table(a, '$' columns (nested '$.time()' columns (b int)))",
        "select 1 from json_table(a, '$' columns (nested '$.b' columns (c int path '$.time()')))",
        "select 1 from json_table(a, '$' passing b as x, c as y columns (d int path '$x < $y'))",
    ],
)
def test_times_in_the_paths_of_json_table(text):
    assert facts(text).time_zoned


def test_constructs_that_older_servers_call():
    """A function, or a type for a cast, of that name may exist before the grammar knew it."""
    for text, name in {
        "json('1')": "json",
        "json_scalar(1)": "json_scalar",
        "json_serialize('1')": "json_serialize",
        "json_array(1)": "json_array",
        "json_array(select 1)": "json_array",
        "json_object('a': 1)": "json_object",
        "json_objectagg('a': 1)": "json_objectagg",
        "json_arrayagg(1)": "json_arrayagg",
        "json_value('1', '$')": "json_value",
        "json_exists('1', '$')": "json_exists",
        "json_query('1', '$')": "json_query",
    }.items():
        found = facts(f"select {text}")
        assert Name(None, name) in {call.function for call in found.calls if call.keyword}
        assert Name(None, name) in {cast.type for cast in found.casts if cast.call}
    found = facts("select 1 from json_table('1', '$' columns (a int))")
    assert Name(None, "json_table") in {call.function for call in found.calls if call.keyword}


REFUSED = {
    "select a from t tablesample system (1) repeatable (2)": "sampling",
    "select a from t for no key update of t skip locked": "locking",
    "select a.tableoid from a": "system_column",
    "select json_value(a, '$' default current_date on empty) from t": "value_function",
    "select json_value(a, '$' returning text default 'now' on empty) from t": "clock_literal",
    "select xmlelement(name a, 'today')": "clock_literal",
    "select json_object('a': current_date)": "value_function",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_stays_refused(text):
    assert getattr(facts(text), REFUSED[text]) not in (False, Reason.NONE)
