"""K6: what facts of a text depend on, beyond its normal form.

Two texts are paired if the parser's normalisation, which puts `$n` in the place of
literals, makes them equal. A template may then stand for both only if it keeps of
every literal what `kept` gives; this is shown to be enough, and each part of it to
be needed.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import NamedTuple

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from pglast.parser import ParseError, normalize

from proxy.sql import walk
from proxy.sql.analyse import analyse
from proxy.sql.facts import Facts, Name, StatementKind
from proxy.sql.literals import says_clock

TEMPLATED = (StatementKind.SELECT, StatementKind.MODIFY)


class Literal(NamedTuple):
    """A literal as written, and its content if it is a string.

    `minus` is an operator in front of it: the normal form swallows it, as it does
    the sign of a number.
    """

    sql: str
    content: str | None = None
    null: bool = False
    minus: bool = False


def string(content: str) -> Literal:
    return Literal("'" + content.replace("'", "''") + "'", content)


NUMBERS = [Literal(sql) for sql in ("0", "1", "-1", "42", "2.5", "-1e300", "0x1f", "true", "b'1'")]
STRINGS = [
    *map(string, ("", "a", "it's", "now", "Today", "nowhere", "2020-01-01", "epoch", "UTC")),
    *map(string, ("$", "$.x.time()", "$.time", "\\u0074ime()", "search_path", "work_mem")),
    Literal("e'\\x6eow'", "now"),
    Literal("u&'\\0061'", "a"),
    Literal("$$yesterday$$", "yesterday"),
    Literal("'a'\n'b'", "ab"),
]
NULL = Literal("null", null=True)
NEGATED = [
    Literal("-true", minus=True),
    Literal("-'a'", "a", minus=True),
    Literal("- 'now'", "now", minus=True),
    Literal("-null", null=True, minus=True),
]
LITERALS = [*NUMBERS, *STRINGS, NULL, *NEGATED]

# Slots are `{}`; each is filled with any literal, unless the grammar refuses that.
SHAPES = """
select {} from t where a = {}
select {} as x union all select {} order by 1
select {}::date, cast({} as s.u), a::varchar(10) from t
select {}, ({}), a - {}
select a from t where a in ({}, {}) and b between {} and {}
select a from t where a like {} escape {}
select a from t order by {} limit {} offset {}
select a from t group by a having count(*) > {}
select f({}), s.g({}, {}), h(a => {}), count(distinct {}) from t
select set_config({}, {}, {})
select current_setting({}), nextval({}), date_trunc({}, a) from t
select date({}), timestamptz({}), s.u({})
select a at time zone {}, {} at time zone {}, {} at local from t
select coalesce(a, {})::date, greatest({}, {})::date, nullif({}, a)::date from t
select (case when a = {} then {} else {} end)::timestamptz from t
select ({} + a)::date, ({} + {})::date, ({} || a)::date from t
select x::date from (select {} as x) s
select a::date from (values ({}, {})) v(a, b)
select column1::date from (values ({})) v
select date::date from (select {}::date, {}) s
with x as (select {} as b) select b::timestamptz from x where b = {}
with recursive r(a) as (select {} union select a + {} from r) select a::date from r
select array[{}, {}]::date[], a[{}], a[{}:{}], row({}, a) from t
select g::date from generate_series({}, {}) g
select x::date from unnest({}, {}) x
select * from json_to_record({}) as x(a date, b text)
select extract(year from {}), substring(a from {} for {}), trim({} from a) from t
select overlay(a placing {} from {}), position({} in a) from t
select sum({}) filter (where a = {}) over (partition by {} order by a rows {} preceding) from t
select percentile_cont({}) within group (order by a) from t
select json_value(a, {}), json_exists(a, {} passing {} as x) from t
select json_query(a, {} returning date) from t
select json_value(a, {} returning timestamptz default {} on empty default {} on error) from t
select json_exists(a, {} passing {} as x, {} as y, b as z) from t
select * from json_table(a, {} columns (b date path '$.b' default {} on empty)) j
select json_object({}: {}, a: {}), json_array({}, {}), json_scalar({}) from t
select xmlelement(name a, {}), xmlforest({} as b), xmlparse(content {})
select * from xmltable({} passing a columns b date path {} default {}) x
select exists (select {} from u where a = {}), array(select {}), a = any (select {}) from t
select distinct on ({}) a, {} from only t, lateral f({}) x
select * from t tablesample system ({})
select a from t where a = {} for update
select {} into n from t
insert into t values ({}, {}), ({}, default) on conflict (a) do update set a = {} returning {}
insert into t (a, b) select f({}), {}::date from u where a = {}
update t set a = {}, b = f({}), (c, d) = ({}, {}) where a = {} returning {}::date
delete from t using u where t.a = {} and u.a = f({})
merge into t using u on t.a = {} when matched then update set a = {} returning {}
merge into t using u on t.a = {} when not matched then insert values ({})
with d as (delete from t where a = {} returning a) insert into u select {}, a from d
""".strip().splitlines()


def fill(shape: str, literals: list[Literal]) -> str:
    parts = shape.split("{}")
    return parts[0] + "".join(
        literal.sql + part for literal, part in zip(literals, parts[1:], strict=True)
    )


def facts_of(text: str) -> Facts | None:
    analysis = analyse(text)
    return analysis.statements[0] if len(analysis.statements) == 1 else None


def normal(text: str) -> str | None:
    try:
        return str(normalize(text))
    except ParseError:
        return None


def kept(facts: Facts, literals: list[Literal]) -> list[tuple[object, ...]]:
    """What a template must keep of each literal.

    Whether it is a string, NULL or neither, and whether a minus is applied to it; for
    strings what they say of the clock, what they could mean as a JSON path, and their
    content where it is the first argument of a call. Where set_config is called, all of
    them as they are.
    """
    if any(call.function.name == "set_config" for call in facts.calls):
        return list(literals)
    first = {call.literal for call in facts.calls}
    return [
        (
            literal.content is not None,
            literal.null,
            literal.minus,
            *_said(literal.content or ""),
            literal.content if literal.content in first else None,
        )
        for literal in literals
    ]


def _said(content: str) -> tuple[bool, bool, bool]:
    return says_clock(content), "time" in content.lower() and "(" in content, "\\" in content


def unspecific(facts: Facts) -> Facts:
    """The facts without all that may follow from literals.

    A minus in front of a literal is one of them, since the normal form hides it.
    """
    return replace(
        facts,
        clock_literal=False,
        time_zoned=False,
        assigns=(),
        calls=frozenset(call._replace(literal=None) for call in facts.calls),
        # A cast of a string to a plain type is not even noted, that of a number is.
        casts=tuple(
            cast._replace(shape=None)
            for cast in facts.casts
            if cast.type.name not in walk.PLAIN_TYPES
        ),
        derived=dict.fromkeys(facts.derived, False),
        operators=facts.operators - {Name(None, "-")},
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[list[Literal], list[Literal], str]:
    shape = draw(st.sampled_from(SHAPES))
    slots = shape.count("{}")
    one = draw(st.lists(st.sampled_from(LITERALS), min_size=slots, max_size=slots))
    other = [draw(st.sampled_from(_like(literal)) | st.sampled_from(LITERALS)) for literal in one]
    return one, other, shape


def _like(literal: Literal) -> list[Literal]:
    if literal.content is not None:
        said = _said(literal.content)
        same = [other for other in STRINGS if _said(other.content or "") == said]
        return [literal] if literal.minus else same
    return [literal] if literal.null or literal.minus else NUMBERS


@settings(max_examples=1500, deadline=None)
@given(pairs())
def test_facts_of_equal_normal_forms_agree(pair):
    one, other, shape = pair
    left, right = fill(shape, one), fill(shape, other)
    form = normal(left)
    assume(form is not None and form == normal(right))
    facts, others = facts_of(left), facts_of(right)
    assert facts is not None
    assert others is not None
    assert facts.kind in TEMPLATED
    assert unspecific(facts) == unspecific(others)
    same = kept(facts, one) == kept(others, other)
    event("kept alike" if same else "kept differs")
    if same:
        for field in fields(Facts):
            assert getattr(facts, field.name) == getattr(others, field.name), field.name


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_paired(shape):
    """The property above is about something: strings of any content make pairs."""
    slots = shape.count("{}")
    texts = [fill(shape, [string(content)] * slots) for content in ("a", "2020-01-01")]
    forms = {normal(text) for text in texts}
    assert len(forms) == 1
    assert None not in forms
    assert facts_of(texts[0]) is not None


# Pairs of one normal form whose facts differ, and the field: nothing of `kept` is for show.
NEEDED = {
    ("select 'a'", "select 'now'"): "clock_literal",
    ("select 'a'::date", "select 1::date"): "casts",
    ("select null::date", "select 1::date"): "casts",
    ("select f('a')", "select f('b')"): "calls",
    ("select f('a')", "select f(null)"): "calls",
    ("select set_config('a', $1, true)", "select set_config('a', $1, false)"): "assigns",
    ("select json_value(a, '$.x')", "select json_value(a, '$.time()')"): "time_zoned",
    ("select json_value(a, '$.x')", "select json_value(a, '\\')"): "time_zoned",
    ("select json_value(a, '$')", "select json_value(a, 1)"): "time_zoned",
    ("select 'a'", "select -'a'"): "operators",
    ("select 1", "select -true"): "operators",
    ("select x::date from (select 'a' as x) s", "select x::date from (select 1 as x) s"): "derived",
}


@pytest.mark.parametrize("pair", NEEDED)
def test_what_a_template_must_keep(pair):
    one, other = pair
    assert normal(one) == normal(other)
    differing = {
        field.name
        for field in fields(Facts)
        if getattr(facts_of(one), field.name) != getattr(facts_of(other), field.name)
    }
    assert differing == {NEEDED[pair]}


def test_other_statements_are_no_templates():
    """Their literals are what they do: normal forms hide all of it."""
    for one, other in (
        ("set work_mem = '1MB'", "set work_mem = '2MB'"),
        ("do 'begin null; end'", "do 'begin commit; end'"),
        ("set transaction isolation level serializable",) * 2,
    ):
        assert normal(one) == normal(other)
        facts = facts_of(one)
        assert facts is not None
        assert facts.kind not in TEMPLATED
    assert facts_of("set work_mem = '1MB'") != facts_of("set work_mem = '2MB'")
    assert facts_of("do 'begin null; end'") != facts_of("do 'begin commit; end'")
