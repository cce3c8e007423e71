"""Which reads are cached, and why others are not (K1, K5, T1)."""

from __future__ import annotations

from math import inf

import pytest

from proxy.catalog.build import build
from proxy.catalog.rows import FunctionRow, TypeRow
from proxy.policy.plan import EVERYTHING, NOTHING, Kind
from proxy.policy.rules import Rules, Subject, Verdict
from proxy.reasons import Reason
from proxy.sql.normal import identity
from proxy.terms import Terms
from tests.unit.catalog.sample import BUILTINS, FUNCTIONS, PATH, SAMPLE, TYPES, sample_rows
from tests.unit.policy.helpers import OPAQUE, flags, plan

READS = {
    "select name from a where id = $1": {"public.a"},
    "select * from public.a where id in (1, 2, 3) order by id limit 10 offset 5": {"public.a"},
    "table a": {"public.a"},
    "select a.id, b.name from a join b on b.a_id = a.id where a.name like 'x%'": {
        "public.a",
        "public.b",
    },
    "select * from a left join b using (id) natural join c": {"public.a", "public.b", "public.c"},
    "select * from a, lateral (select * from b where b.a_id = a.id limit 1) x": {
        "public.a",
        "public.b",
    },
    "select id from a union all (select id from b except select id from c)": {
        "public.a",
        "public.b",
        "public.c",
    },
    "with x as (select * from a) select count(*) from x": {"public.a"},
    "with recursive t(n) as (select id from a union all select n + 1 from t where n < 9) "
    "select sum(n) from t": {"public.a"},
    "select * from other.a": {"other.a"},
    "select name, count(*) filter (where id > 3) from a group by rollup (name) "
    "having count(*) > 1": {"public.a"},
    "select row_number() over w, rank() over (order by id) from a "
    "window w as (partition by name)": {"public.a"},
    "select distinct on (name) * from a order by name, id desc nulls last "
    "fetch first 3 rows only": {"public.a"},
    "select case when id > 1 then 'x' else name end, coalesce(name, ''), array[1, 2], row(1, id), "
    "(array[id])[1], nullif(id, 1), greatest(id, 2), id between 1 and 3, name is null from a": {
        "public.a"
    },
    "select exists (select 1 from b where b.a_id = a.id), array(select id from c), "
    "id = any (select id from b), id = all ($1) from a": {"public.a", "public.b", "public.c"},
    "select * from a where (id, name) in (values (1, 'a'), (2, 'b'))": {"public.a"},
    "select percentile_cont(0.5) within group (order by id) from a": {"public.a"},
    "select date_trunc('day', made at time zone 'UTC')::date, count(*) from a group by 1": {
        "public.a"
    },
    "select made::date, extract(year from made), to_char(made, 'YYYY') from a": {"public.a"},
    "select max(made)::date from a": {"public.a"},
    "select s.d::date from (select max(made) as d from a) s": {"public.a"},
    "select d::date from generate_series('2024-01-01'::date, '2024-02-01'::date, "
    "'1 day'::interval) as d left join a on a.made::date = d::date": {"public.a"},
    "select date(made) from a": {"public.a"},
    "select * from a where made > '2024-01-01'::timestamptz - interval '1 day'": {"public.a"},
    "select '2024-01-01'::day from a": {"public.a"},
    "select id::text, '{a,b}'::text[], $1::int, 'sad'::mood, '1'::positive from a": {"public.a"},
    'select name collate "C" from a order by name using <': {"public.a"},
    "select fast(name), total(id) from a": {"public.a"},
    "select replace(name, 'a', 'b') from a": {"public.a"},
    "select jsonb_build_object('id', id), jsonb_agg(a) from a": {"public.a"},
    "select * from unnest($1::int[], $2::text[]) as t(x, y) join a on a.id = t.x": {"public.a"},
    "select m, p, v from typed": {"public.typed"},
    "select mixed.version, mixed.age from mixed": {"public.mixed"},
    "select 'renowned', 'snowy', 'KNOWN', 'yesterdays' from a": {"public.a"},
    "select name ~=~ 'x' from a": {"public.a"},
    "select a from a": {"public.a"},
    "/* trace: 12 */ select 1 from a -- tail": {"public.a"},
    # Output that depends on settings alone, which are in the key.
    "select json_object('a': id), xmlelement(name x, id) from a": {"public.a"},
    "select x.* from a, json_table('[]', '$[*]' columns (y int path '$')) x": {"public.a"},
    # What is behind a name: the base tables, or the granule of the family.
    "select * from plain_view": {"public.a"},
    "select * from plain_view join b using (id)": {"public.a", "public.b"},
    "select * from matview": {"public.matview"},
    "select * from parted": {"public.parted"},
    "select * from part_1": {"public.parted"},
    "select * from only parted": {"public.parted"},
    # A virtual column is computed by built-in immutable functions from its row; rules
    # other than those of views act on writes alone.
    "select * from virtual": {"public.virtual"},
    "select * from ruled": {"public.ruled"},
}


@pytest.mark.parametrize("text", READS)
def test_everyday_reads_are_cached(text):
    found = plan(text)
    assert (found.kind, found.reason) == (Kind.READ, Reason.NOT_CACHED)
    assert {SAMPLE.name_of(oid) for oid in found.reads} == READS[text]
    assert found.closure == NOTHING
    assert not found.flags


BYPASSED = {
    "select 1": Reason.NO_RELATION,
    "": Reason.EMPTY,
    "values (1)": Reason.NO_RELATION,
    "select version()": Reason.SESSION_FUNCTION,
    "select * from a for update": Reason.LOCKING_CLAUSE,
    "select * from a where id in (select id from b for share)": Reason.LOCKING_CLAUSE,
    "select * from a tablesample system (10)": Reason.TABLESAMPLE,
    "select ctid from a": Reason.SYSTEM_COLUMN,
    "select a.xmin, id from a": Reason.SYSTEM_COLUMN,
    "select tableoid from a": Reason.SYSTEM_COLUMN,
    "select random(), id from a": Reason.VOLATILE_FUNCTION,
    "select now() - made from a": Reason.CLOCK,
    "select current_timestamp(3), id from a": Reason.CLOCK,
    "select id from a where made > current_date - 7": Reason.CLOCK,
    "select localtime, id from a": Reason.CLOCK,
    "select current_user": Reason.NO_RELATION,
    "select pg_backend_pid(), id from a": Reason.SESSION_FUNCTION,
    "select system_user, id from a": Reason.SESSION_FUNCTION,
    "select current_schemas(false), id from a": Reason.SESSION_FUNCTION,
    "select age(made) from a": Reason.CLOCK,
    "select * from a where made > 'now'": Reason.CLOCK_LITERAL,
    "select * from a where made > ' TODAY '::date": Reason.CLOCK_LITERAL,
    "select * from a where made = any ('{now}')": Reason.CLOCK_LITERAL,
    r"select * from a where made > E'\x6eow'": Reason.CLOCK_LITERAL,
    "select * from a where made > 'n'\n'ow'": Reason.CLOCK_LITERAL,
    "select name::date from a": Reason.CLOCK_CAST,
    "select cast(name as timestamp) from a": Reason.CLOCK_CAST,
    "select date(name) from a": Reason.CLOCK_CAST,
    "select name::day from a": Reason.CLOCK_CAST,
    "select array[name]::date[] from a": Reason.CLOCK_CAST,
    "select name::tstzrange from a": Reason.CLOCK_CAST,
    "select ('no' || 'w')::timestamp from a": Reason.CLOCK_CAST,
    "select lower(name)::date from a": Reason.CLOCK_CAST,
    "select coalesce(name, '')::date from a": Reason.CLOCK_CAST,
    "select s.d::date from (select name as d from a) s": Reason.CLOCK_CAST,
    "select s.made::date from (select made::text from a) s": Reason.CLOCK_CAST,
    "select s.made::date from (select name as made from a) s": Reason.CLOCK_CAST,
    "select s.made::date from (select * from a) as s(id, made)": Reason.CLOCK_CAST,
    "select column1::date from a, (values ('x')) v": Reason.CLOCK_CAST,
    "with x(made) as (select name from a) select made::date from x": Reason.CLOCK_CAST,
    "select t.made::date from a join texts t using (id)": Reason.CLOCK_CAST,
    "select value::date from a, jsonb_array_elements_text($1::jsonb)": Reason.CLOCK_CAST,
    "select made::date from a, json_to_record('{}') as x(made text)": Reason.STABLE_FUNCTION,
    "select '10:00'::timetz from a": Reason.CLOCK_CAST,
    "select timetz '10:00', id from a": Reason.CLOCK_CAST,
    "select $1 at time zone 'UTC' from a": Reason.CLOCK,
    "select 'a'::regclass, id from a": Reason.UNKNOWN_TYPE,
    "select null::b from a": Reason.UNKNOWN_TYPE,
    "select pg_typeof(id) from a": Reason.STABLE_FUNCTION,
    "select a.pg_typeof from a": Reason.UNKNOWN_FUNCTION,
    "select x.* from a, json_table(name, '$[*]' columns (y date path '$')) x": Reason.CLOCK_CAST,
    "select relname from pg_class": Reason.SYSTEM_CATALOG,
    "select * from information_schema.columns": Reason.SYSTEM_CATALOG,
    "select * from elsewhere": Reason.FOREIGN_TABLE,
    "select last_value from numbers": Reason.SEQUENCE,
    "select * from unlogged": Reason.UNLOGGED,
    "select * from zoned": Reason.CLOCK,
    "select * from named": Reason.UNKNOWN_TYPE,
    "select * from composed": Reason.UNKNOWN_TYPE,
    "select uuid_generate_v4(), id from a": Reason.VOLATILE_FUNCTION,
    "select nextval('numbers')": Reason.VOLATILE_FUNCTION,
    "declare c cursor for select * from a": Reason.CURSOR,
    "fetch 10 from c": Reason.CURSOR,
    "close all": Reason.CURSOR,
    "explain select * from a": Reason.EXPLAIN,
    "explain (analyze) select * from a": Reason.EXPLAIN,
    "explain insert into a values (1)": Reason.EXPLAIN,
    "explain (analyze off) delete from a": Reason.EXPLAIN,
    "explain create table z as select * from a": Reason.EXPLAIN,
    "copy a to stdout": Reason.COPY,
    "copy (select * from a) to stdout": Reason.COPY,
    "select * from a; select * from b": Reason.MULTIPLE_STATEMENTS,
    "/* howdah: off */ select * from a": Reason.HINT_OFF,
}


@pytest.mark.parametrize("text", BYPASSED)
def test_harmless_reads_that_are_not_cached(text):
    found = plan(text)
    assert found.reason is BYPASSED[text]
    assert found.kind is not Kind.READ
    assert found.closure == NOTHING
    # What somebody forbids is known, for those who ask.
    assert bool(found.reads) == (found.reason is Reason.HINT_OFF)


OPAQUE_READS = [
    "select writes()",
    "select *, public.writes() from a",
    "select says_immutable(id) from a",
    "select remote(id) from a",
    "select defaulted() from a",
    "select total_sql(id) from a",
    "select * from writes() w",
    "select * from a where id = (select writes())",
    "select * from writing_view",
    "select * from view_of_writing_view",
    "select 1 from a order by name %%% 'x'",
    "select name operator(public.%%%) 'x' from a",
    "select a.full_name from a",
    "select no_such_function(id) from a",
    "select query_to_xml('select 1', true, true, '')",
    "select table_to_xml('a', true, true, '')",
    "select lo_unlink(1)",
    "select pg_reload_conf()",
    "select x::no_such_type from a",
    "explain select says_immutable(1)",
    "explain execute p",
    "declare c cursor for select writes()",
    "copy (select writes()) to stdout",
    "copy a to program 'cat'",
    "do $$ begin perform writes(); end $$",
    "do $$ begin execute name from a; end $$",
    "do language plpython3u $$ x $$",
    "call p()",
    "execute p",
    "load 'x'",
]


@pytest.mark.parametrize("text", OPAQUE_READS)
def test_what_cannot_be_seen_through_is_everything(text):
    """F9: an unlisted function may write anything, whatever its label says."""
    found = plan(text)
    named = text.startswith(("execute", "explain execute"))
    reason = Reason.PREPARED_OPAQUE if named else Reason.WRITE_OPAQUE
    assert (found.kind, found.reason) == (Kind.WRITE, reason)
    assert found.closure == EVERYTHING
    assert flags(found) >= OPAQUE
    assert "PLAIN" not in flags(found)


def test_unknown_relations_may_be_views_that_write():
    found = plan("select * from nowhere")
    assert (found.kind, found.reason) == (Kind.BYPASS, Reason.UNKNOWN_RELATION)
    assert found.closure == EVERYTHING


def test_names_follow_the_search_path():
    """K1: the first schema of the path that has any relation of the name."""
    assert plan("select * from a", path=("other", "public", "pg_catalog")).reads == (30004,)
    assert plan("select * from a", path=("public", "other", "pg_catalog")).reads == (30001,)
    assert plan("select * from only_other").reason is Reason.UNKNOWN_RELATION
    assert plan("select * from only_other", path=("pg_catalog", "public", "other")).reads == (
        30005,
    )


def test_functions_count_in_every_schema_of_the_path():
    """K5: overloads in any schema of the path could be meant."""
    text = "select lower(name) from a"
    assert plan(text).kind is Kind.READ
    assert plan(text, path=("pg_catalog", "public", "other")).closure == EVERYTHING
    assert plan("select pg_catalog.lower(name) from a", path=(*PATH, "other")).kind is Kind.READ


def test_common_table_expressions_shadow_only_where_they_are_visible():
    assert plan("with x as (select 1) select * from x").reason is Reason.NO_RELATION
    assert plan("with a as (select * from b) select * from a").reads == (30002,)
    # Without RECURSIVE the name inside is the table.
    assert plan("with a as (select * from a) select * from a").reads == (30001,)
    # Outside of the subquery that defines it the name is the table.
    text = "select * from (with a as (select * from b) select * from a) x, a"
    assert plan(text).reads == (30001, 30002)
    # A later expression is not visible in an earlier one.
    assert plan("with x as (select * from a), a as (select 1) select * from x, a").reads == (30001,)
    # A qualified name is never one.
    assert plan("with a as (select 1) select * from public.a").reads == (30001,)


def test_unknown_session():
    """K3: with an unknown path nothing is answered, and every schema counts for writes."""
    assert plan("select * from a", path=None).reason is Reason.SESSION_UNKNOWN
    assert plan("select * from public.a", path=None).reason is Reason.SESSION_UNKNOWN
    assert plan("select * from writing_view", path=None).closure == EVERYTHING
    assert plan("select lower(name) from a", path=None).closure == EVERYTHING


def test_temporary_relations():
    """K4: they are found through the session's own schema, and never cached."""
    path = ("pg_temp_3", "pg_catalog", "public")
    assert plan("select * from temporary", path=path).reason is Reason.TEMPORARY
    assert plan("select * from pg_temp.temporary", path=path).reason is Reason.TEMPORARY
    assert plan("select * from pg_temp.temporary").reason is Reason.UNKNOWN_RELATION


def test_without_a_catalog_only_qualified_built_ins_are_harmless():
    harmless = (
        "select 1",
        "select pg_catalog.now()",
        "select pg_catalog.set_config('search_path', '', false)",
        "select pg_catalog.pg_is_in_recovery()",
    )
    for text in harmless:
        found = plan(text, catalog=None)
        assert (found.kind, found.closure) == (Kind.BYPASS, NOTHING), text
    for text in (
        "select * from a",
        "select now()",
        "select 1 + 1",
        "select a.b from pg_catalog.x a",
    ):
        found = plan(text, catalog=None)
        assert (found.kind, found.reason) == (Kind.BYPASS, Reason.CATALOG_LOADING), text
        assert found.closure == EVERYTHING, text
    assert plan("insert into a values (1)", catalog=None).closure == EVERYTHING
    assert plan("begin", catalog=None).closure == NOTHING
    assert plan("create table z ()", catalog=None).closure == EVERYTHING


@pytest.mark.parametrize(
    "rows",
    [
        sample_rows(casts=[21002]),
        sample_rows(casts=[21003]),
        sample_rows(index_support=[21002]),
        sample_rows(types=[*TYPES, TypeRow(20009, "public", "x", functions=(21002,))]),
    ],
)
def test_opaque_types(rows):
    """K5: casts and operator classes run without being named."""
    catalog = build(rows)
    assert catalog.opaque_types
    found = plan("select * from a", catalog=catalog)
    assert (found.kind, found.reason) == (Kind.BYPASS, Reason.OPAQUE_TYPES)
    assert found.closure == EVERYTHING
    assert plan("insert into a values (1)", catalog=catalog).closure == EVERYTHING


def test_compiled_support_functions_are_trusted_whatever_their_volatility():
    rows = sample_rows(
        functions=[*FUNCTIONS, FunctionRow(21500, "public", "knn", 1, 1, "v", "c")],
        index_support=[21500],
    )
    assert plan("select * from a", catalog=build(rows)).kind is Kind.READ


def test_grammars_of_older_servers():
    """PostgreSQL 13 reads EXTRACT as a call of date_part."""
    names = {"extract": "date_part"}
    older = [row._replace(name=names.get(row.name, row.name)) for row in BUILTINS]
    catalog = build(sample_rows(builtins=older))
    assert plan("select extract(year from made) from a", catalog=catalog).kind is Kind.READ
    found = plan("select system_user, id from a", catalog=catalog)
    assert (found.reason, found.closure) == (Reason.SESSION_FUNCTION, NOTHING)


class OneRule(Rules):
    """Rules that always say the same, and remember what they were asked."""

    __slots__ = ("asked", "said")

    def __init__(self, cache=None, terms=None, rule=""):
        super().__init__()
        self.said = Verdict(cache, terms, rule)
        self.relations = True
        self.asked = []

    def __len__(self):
        return 1

    def verdict(self, subject):
        self.asked.append(subject)
        return self.said


def test_rules_decide_about_cacheable_reads_only():
    off = OneRule(cache=False, rule="no a")
    found = plan("select * from a join b using (id)", rules=off)
    assert (found.kind, found.reason, found.rule) == (Kind.BYPASS, Reason.RULE_OFF, "no a")
    assert off.asked == [
        Subject(
            database="shop",
            role="alice",
            relations={"public.a", "public.b"},
            text="select * from a join b using (id)",
        )
    ]
    plan("select now()", rules=off)
    assert len(off.asked) == 1
    plan("select * from plain_view", rules=off)
    assert off.asked[1].relations == {"public.plain_view", "public.a"}
    plan("select * from part_1", rules=off)
    assert off.asked[2].relations == {"public.part_1", "public.parted"}


def test_a_fingerprint_is_worked_out_where_a_rule_asks_for_it():
    off = OneRule(cache=False, rule="no a")
    off.fingerprints = True
    plan("select * from a where id = 1", rules=off)
    plan("/* t */ select * from a   where id = 2", rules=off)
    expected = identity("select * from a where id = $1")
    assert [one.fingerprint for one in off.asked] == [expected, expected]


@pytest.mark.parametrize(
    ("hint", "terms"),
    [
        ("", Terms(ttl=60.0, max_age=300.0, max_rows=10)),
        ("ttl=5s", Terms(ttl=5.0, max_age=300.0, max_rows=10)),
        ("ttl=none max_rows=20", Terms(ttl=inf, max_age=300.0, max_rows=20)),
        ("max_age=7s", Terms(ttl=7.0, max_age=300.0, max_rows=10)),
        ("max_age=10m", Terms(ttl=60.0, max_age=300.0, max_rows=10)),
        ("max_age=10m ttl=5s", Terms(ttl=5.0, max_age=300.0, max_rows=10)),
        ("max_age=3s ttl=5s", Terms(ttl=3.0, max_age=300.0, max_rows=10)),
        ("on", Terms(ttl=60.0, max_age=300.0, max_rows=10)),
        ("stale_while_revalidate=1s", Terms(60.0, 300.0, 1.0, 10)),
        ("nonsense", Terms(ttl=60.0, max_age=300.0, max_rows=10)),
    ],
)
def test_hints_beat_rules_word_by_word(hint, terms):
    """But for how old an answer may be: a statement can only want less of it."""
    rule = OneRule(terms=Terms(ttl=60.0, max_age=300.0, max_rows=10), rule="short")
    found = plan(f"/* howdah: {hint} */ select * from a", rules=rule)
    assert (found.kind, found.terms, found.rule) == (Kind.READ, terms, "short")
    assert found.ignored == (("nonsense",) if hint == "nonsense" else ())


def test_hints_without_rules():
    assert plan("/* howdah: ttl=250ms */ select * from a").terms == Terms(ttl=0.25)
    assert plan("/* howdah: max_age=1h */ select * from a").terms == Terms(ttl=3600.0)
    assert plan("/* howdah: on */ select * from a").terms is None
    off = OneRule(cache=False, rule="no")
    assert plan("/* howdah: on */ select * from a", rules=off).kind is Kind.READ
    assert plan("/* howdah: ttl=1s */ select * from a", rules=off).reason is Reason.RULE_OFF
    rule = OneRule(cache=True, rule="yes")
    assert plan("/* howdah: off */ select * from a", rules=rule).reason is Reason.HINT_OFF
