"""What functions of real servers reach, one row a case (F9, K5). See `test_reached`."""

from __future__ import annotations

import pytest

from proxy.document import parse
from proxy.policy.plan import EVERYTHING, Kind
from proxy.policy.rulefile import load_rules
from proxy.reasons import Reason
from tests.unit.catalog.test_loader import load
from tests.unit.catalog.test_reached import TABLES, catalog_of, check
from tests.unit.policy.helpers import flags, names, plan

FUNCTIONS = """
create function sum_t() returns bigint stable language sql as 'select sum(v) from t';
create function sum_t_volatile() returns bigint language plpgsql as
    'declare r bigint; begin select sum(v) into r from t; return r; end';
create function twice(int) returns int immutable language sql as 'select $1 * 2';
create function more(int, int default 1) returns int language plpgsql as
    'begin if $1 > 1 then return $2; end if; for i in 1..$1 loop perform twice(i); end loop;
     return twice($1); end';
create function nested() returns bigint stable language sql as
    'select sum_t() + (select max(id) from u)';
create function writes_w() returns int language sql as 'update w set v = 1; select 1';
create function calls_writes_w() returns int language plpgsql as
    'begin return (select writes_w()); end';
create function deletes_t() returns void language plpgsql as 'begin delete from t; end';
create function merges() returns void language plpgsql as 'begin
    with gone as (delete from u returning id) insert into log select id from gone; end';
create function truncates() returns void language plpgsql as 'begin truncate t cascade; end';
create function even(int) returns bool language plpgsql as
    'begin if $1 = 0 then return exists (select from t); end if; return odd($1 - 1); end';
create function odd(int) returns bool language plpgsql as
    'begin if $1 = 0 then return exists (select from u); end if; return even($1 - 1); end';
create function itself(int) returns int language plpgsql as
    'begin return case $1 when 0 then 0 else itself($1 - 1) end; end';
create function rows_of() returns setof t stable language sql as 'select * from t';
create function overloaded(int) returns int language sql as 'select v from t where id = $1';
create function overloaded(text) returns int language sql as 'update w set v = 2; select 1';
create function of_row(t) returns int language sql as 'select count(*)::int from u';
create function defaulted(x bigint default sum_t()) returns bigint language sql as 'select x';
create function notifies() returns int language plpgsql as
    'begin perform pg_notify(''a'', ''b''); return 1; end';
create function liar() returns bigint immutable language sql as 'select sum(v) from t';
create function liar_behind() returns bigint stable language sql as 'select liar()';
create function harmless_liar(int) returns int immutable language plpgsql as
    'begin return twice($1); end';
create function clocked() returns timestamptz stable language sql as 'select now()';
create function dated() returns text language sql as 'select current_date::text';
create function literal_now() returns date language sql as 'select date ''today''';
create function parses(text) returns date language sql as 'select $1::date';
create function assigns(text) returns int language plpgsql as
    'declare d date; begin d := $1; return extract(day from d); end';
create function gives(text) returns date language plpgsql as 'begin return $1; end';
create function zones(x time) returns text language sql as
    'select (x at time zone ''UTC'')::text';
create function rolls() returns float language sql as 'select random()';
create function asks() returns text stable language sql as 'select current_user::text';
create function sets(text) returns int language plpgsql as
    'begin perform set_config(''x.y'', $1, false); return 1; end';
create function sets_path() returns int language plpgsql as
    'begin perform set_config(''search_path'', ''app'', false); return count(*) from only_app;
     end';
create function locks() returns int language sql as 'select id from t for update';
create function constant_text() returns int language plpgsql as
    'begin execute ''update w set v = 3''; return 1; end';
create function built_text(x text) returns int language plpgsql as
    'begin execute ''select '' || x; return 1; end';
create function makes() returns void language plpgsql as 'begin create table z (); end';
create function broken() returns void language plpgsql as 'begin delete from; end';
create function unknown_table() returns bigint language sql as 'select count(*) from nowhere';
create function of_catalog() returns bigint language sql as 'select count(*) from pg_class';
create function drawn() returns int language sql as 'select id from t tablesample system (1)';
create function foreign_language() returns int language internal as 'int4abs';
create function uses_view() returns bigint language sql as 'select count(*) from shown';
create view shown as select u.id, writes_w() from u;
create function twin(int) returns int immutable language sql as 'select 1';
create function twin(bigint) returns int immutable language sql as 'select 2';
create function names_twin() returns int language sql as 'select twin(id) from t';
create type app.kind as enum ('a'); create type kind as enum ('b');
create function names_type() returns text language sql set search_path = public, app
    as 'select ''a''::kind::text from t';
create procedure works(int) language plpgsql as
    'begin update w set v = $1; commit; delete from u; end';
create procedure quiet(inout x int) language plpgsql as 'begin x := (select max(v) from w); end';
create procedure calls() language plpgsql as
    'declare x int := 1; begin call quiet(x); call works(x); end';
create procedure in_sql(int) language sql as 'insert into log values ($1, $1)';
create function add_up(int, int) returns int language sql as
    'select $1 + $2 + count(*)::int from u';
create aggregate summed(int) (sfunc = add_up, stype = int, initcond = '0');
create function finished(int) returns int language plpgsql as
    'begin insert into log values ($1, 0); return $1; end';
create aggregate finishing(int) (sfunc = int4pl, stype = int, finalfunc = finished);
create function same_as(t, t) returns bool language sql as
    'select $1.id = $2.id and exists (select from w)';
create operator === (leftarg = t, rightarg = t, function = same_as);
create function plus_logged(int, int) returns int language sql as
    'insert into log values ($1, $2); select $1 + $2';
create operator |+| (leftarg = int, rightarg = int, function = plus_logged);
create view by_operator as select id |+| v from w;
"""
CALLED = {
    "select sum_t()": "reads t",
    "select sum_t_volatile(), w.* from w": "reads t w",
    "select twice(v) from w": "reads w",
    "select twice(1)": Reason.NO_RELATION,
    "select more(v), more(v, 2) from w": "reads w",
    "select nested()": "reads t u",
    "select even(3)": "reads t u",
    "select itself(v) from w": "reads w",
    "select * from rows_of()": "reads t",
    "select * from w, lateral rows_of() r where r.id = w.id": "reads t w",
    "select of_row(t) from t": "reads t u",
    "select t.of_row from t": "reads t u",
    "select defaulted(id) from w": "reads t w",
    "select harmless_liar(v) from w": "reads w",
    "select summed(v) from w": "reads u w",
    "select a === b from t a, t b": "reads t w",
    "select writes_w()": "writes w",
    "select id from t where v = calls_writes_w()": "writes w",
    "explain select calls_writes_w()": "writes w",
    "declare c cursor for select calls_writes_w()": "writes w",
    "copy (select calls_writes_w()) to stdout": "writes w",
    "select deletes_t()": "writes t u",
    "select merges()": "writes u log",
    "select truncates()": "writes t u",
    # Which overload is meant, is not worked out.
    "select overloaded(1)": "writes w",
    "select constant_text()": "writes w",
    "select * from shown": "writes w",
    "select uses_view()": "writes w",
    "select * from t where v in (select id from uses_view() x(id))": "writes w",
    "insert into log values (deletes_t())": "writes log t u",
    "select finishing(v) from w": "writes log",
    "select id |+| v from w": "writes log",
    "select * from by_operator": "writes log",
    "call works(1)": "writes w u",
    "call calls()": "writes w u",
    "call quiet(1)": "writes",
    "call in_sql(1)": "writes log",
    "do $$ declare n int; begin call works(n); insert into log values (1); end $$": (
        "writes w u log"
    ),
    "do $$ begin if (select count(*) from t) > 5 then perform nested(); end if; end $$": "writes",
    # A plan that a session keeps may mean another one; a statement of its own cannot.
    "select twin(id) from t": "reads t",
    "select names_twin()": Reason.AMBIGUOUS_NAME,
    "select names_type()": Reason.AMBIGUOUS_NAME,
    # Plans keep what IMMUTABLE functions have read.
    "select liar()": Reason.STABLE_FUNCTION,
    "select liar_behind()": Reason.STABLE_FUNCTION,
    "select notifies() from t": Reason.VOLATILE_FUNCTION,
    "select clocked(), id from t": Reason.CLOCK,
    "select dated(), id from t": Reason.CLOCK,
    "select literal_now(), id from t": Reason.CLOCK_LITERAL,
    "select parses(note) from t": Reason.CLOCK_CAST,
    "select assigns(note) from t": Reason.CLOCK_CAST,
    "select gives(note) from t": Reason.CLOCK_CAST,
    "select zones(tm) from t": Reason.CLOCK,
    "select rolls(), id from t": Reason.VOLATILE_FUNCTION,
    "select asks(), id from t": "reads t",
    "select sets(note) from t": Reason.SETTING,
    "select locks()": Reason.LOCKING_CLAUSE,
    "select of_catalog()": Reason.SYSTEM_CATALOG,
    "select drawn()": Reason.TABLESAMPLE,
    "select built_text(note) from t": "opaque",
    "select makes()": "opaque",
    "select broken()": "opaque",
    "select unknown_table()": "opaque",
    "select foreign_language(1) from t": "opaque",
    "do $$ begin perform built_text('x'); end $$": "opaque",
    "call nowhere()": "opaque",
}

# BEGIN ATOMIC came with PostgreSQL 14; its names are fixed when it is made.
ATOMIC = """
create function sum_w() returns bigint stable begin atomic select sum(v) from w; end;
create function writes() returns void begin atomic insert into log values (1); delete from t; end;
create function through() returns bigint begin atomic select sum_w() + count(*) from u; end;
create function clocked() returns int begin atomic select id from t where at > now(); end;
create function casts(x text) returns date begin atomic select x::date; end;
create function liar() returns bigint immutable begin atomic select sum(v) from w; end;
create function locks() returns int begin atomic select id from t for update; end;
create procedure works() begin atomic update u set v = 1; select writes(); end;
create function first_() returns int begin atomic select 1; end;
create function second_() returns int begin atomic select first_(); end;
create or replace function first_() returns int begin atomic select id from u where
    id = second_(); end;
"""
FIXED = {
    "select sum_w()": "reads w",
    "select through()": "reads u w",
    "select second_()": "reads u",
    "select writes()": "writes log t u",
    "call works()": "writes log t u",
    "select clocked()": Reason.CLOCK,
    "select casts(note) from t": Reason.CLOCK_CAST,
    "select liar()": Reason.STABLE_FUNCTION,
    "select locks()": Reason.LOCKING_CLAUSE,
}

PATHS = """
create function looks() returns bigint language sql as 'select count(*) from w';
create function fixed() returns bigint language sql set search_path = app
    as 'select count(*) from w';
create function quoted() returns bigint language sql set search_path = "Odd-Name", pg_temp
    as 'select count(*) from odd';
create function empty_() returns bigint language sql set search_path = ''
    as 'select count(*) from app.w';
create function empty_unqualified() returns bigint language sql set search_path = ''
    as 'select count(*) from w';
create function user_() returns bigint language sql set search_path = "$user", app
    as 'select count(*) from w';
create function two() returns bigint language sql set search_path = app, public
    as 'select count(*) from w';
create function inner_() returns bigint language plpgsql as 'begin return looks(); end';
create function outer_() returns bigint language plpgsql set search_path = app, public
    as 'begin return inner_(); end';
create function planner() returns bigint language sql set enable_seqscan = off
    as 'select count(*) from t';
create function roles() returns bigint language sql set role = 'howdah'
    as 'select count(*) from t';
create table app.entry (id int);
create function writing() returns trigger language plpgsql as
    'begin insert into w values (1); return new; end';
create trigger t before insert on app.entry for each row execute function writing();
create view app.shown as select public.looks();
"""
# The last part of a name says which schemas the client looks in.
LOOKED_UP = {
    ("pg_catalog", "public"): {
        "select looks()": "reads w",
        "select inner_()": "reads w",
        "select fixed()": "reads app.w",
        "select quoted()": "reads Odd-Name.odd",
        "select empty_()": "reads app.w",
        "select empty_unqualified()": "opaque",
        # A plan that a session keeps does not notice what appears in front.
        "select two()": Reason.AMBIGUOUS_NAME,
        "select outer_()": Reason.AMBIGUOUS_NAME,
        "select user_()": Reason.AMBIGUOUS_NAME,
        "select planner()": "reads t",
        "select roles()": "opaque",
        "insert into app.entry values (1)": "writes app.entry w",
        "select * from app.shown": "reads w",
        "do $$ begin delete from w; end $$": "writes w",
    },
    ("pg_catalog", "app", "public"): {
        "select looks()": Reason.AMBIGUOUS_NAME,
        "select * from shown": Reason.AMBIGUOUS_NAME,
        "insert into entry values (1)": "writes app.entry w app.w",
        "select * from w": "reads app.w",
        "do $$ begin delete from w; end $$": "writes w app.w",
    },
    ("pg_catalog", "app"): {
        "select public.looks()": "reads app.w",
        "select public.inner_()": "opaque",  # it does not see `looks`
        "insert into entry values (1)": "writes app.entry app.w",
    },
}


async def test_functions(each_postgres):
    catalog = await catalog_of(each_postgres, TABLES, FUNCTIONS)
    check(catalog, CALLED)
    for text, expected in (
        ("select sets_path()", {"SETTINGS", "PATH"}),
        ("select locks()", {"LOCKS"}),
        ("select notifies() from t", set()),
        ("select writes_w()", {"LOCKS", "PLAIN"}),
        ("call works(1)", {"LOCKS", "MAY_COMMIT"}),
        ("call in_sql(1)", {"LOCKS"}),
    ):
        assert flags(plan(text, catalog=catalog)) >= expected, text
    assert "MAY_COMMIT" not in flags(plan("call in_sql(1)", catalog=catalog))
    # Nobody depends on x.y, unless it is watched.
    assert flags(plan("select sets(note) from t", catalog=catalog)) == set()
    found = plan("select sets(note) from t", catalog=catalog, watched=frozenset(("x.y",)))
    assert flags(found) == {"SETTINGS", "CUSTOM"}


async def test_bodies_of_begin_atomic(each_postgres):
    catalog = await catalog_of(each_postgres, TABLES, ATOMIC)
    check(catalog, FIXED)
    check(catalog, FIXED, path=("pg_catalog", "public", "app"))


async def test_search_paths(each_postgres):
    catalog = await catalog_of(each_postgres, TABLES, PATHS)
    for path, cases in LOOKED_UP.items():
        check(catalog, cases, path)


DECLARED = """
rules:
  - {function: public.built, reads: [public.shown], writes: []}
  - {function: public.charges, writes: public.t}
  - {function: public.lost, reads: public.nowhere}
  - {function: public.sees, reads: [public.shown, public.w]}
"""
OPAQUE_BODIES = """
create view shown as select id from t;
create function built(text) returns int language plpgsql as
    'begin execute $1; return 1; end';
create function charges(text) returns int language plpgsql as
    'begin execute $1; return 1; end';
create function lost() returns int language plpgsql as 'begin execute now()::text; end';
create function sees(int) returns int immutable language plpgsql as
    'begin execute now()::text; end';
create function around(text) returns int language sql as 'select built($1)';
"""


async def test_declared_functions(each_postgres):
    """What a rule says of a function is believed, and then followed."""
    document = parse(DECLARED, "f")
    assert isinstance(document.content, dict)
    rules = load_rules(document.content["rules"])
    catalog = await catalog_of(each_postgres, TABLES, OPAQUE_BODIES)
    for text, kind, reached in (
        ("select built('x'), * from w", Kind.READ, {"w", "t"}),
        ("select around('x')", Kind.READ, {"t"}),
        ("select charges('x')", Kind.WRITE, {"t", "u"}),
    ):
        assert plan(text, catalog=catalog).closure == EVERYTHING
        found = plan(text, catalog=catalog, rules=rules)
        reads = {catalog.name_of(oid).removeprefix("public.") for oid in found.reads}
        assert (found.kind, reads | names(found, catalog)) == (kind, reached), text
    assert plan("select lost()", catalog=catalog, rules=rules).closure == EVERYTHING
    found = plan("select sees(1)", catalog=catalog, rules=rules)
    assert (found.kind, found.reason) == (Kind.BYPASS, Reason.STABLE_FUNCTION)


async def test_what_really_happens(each_postgres):
    """F1: PostgreSQL's own counters name no relation outside of the closure."""
    database = each_postgres.create_database()
    each_postgres.run(database, "set check_function_bodies = off;" + TABLES + FUNCTIONS)
    each_postgres.run(
        database,
        "insert into t select n, n from generate_series(1, 5) n",
        "insert into u select n, n from generate_series(1, 3) n",
        "insert into w values (1, 1)",
    )
    catalog = await load(each_postgres, database)
    tried = 0
    for text, expected in CALLED.items():
        if not str(expected).startswith(("reads", "writes ")) or text.startswith(
            ("explain", "declare", "copy", "call", "do", "insert")
        ):
            continue
        found = plan(text, catalog=catalog)
        with each_postgres.connect(database) as connection:
            connection.execute("begin")
            connection.execute(text)
            touched = connection.execute(
                "select relid::int from pg_stat_xact_user_tables "
                "where n_tup_ins + n_tup_upd + n_tup_del > 0"
            ).fetchall()
            read = connection.execute(
                "select relid::int from pg_stat_xact_user_tables "
                "where seq_scan + coalesce(idx_scan, 0) > 0"
            ).fetchall()
            connection.execute("rollback")
        assert {oid for (oid,) in touched} <= set(found.closure.relations), text
        if found.kind is Kind.READ:
            assert {oid for (oid,) in read} <= set(found.reads), text
        tried += 1
    assert tried > 20


@pytest.mark.parametrize("name", ["sum_t", "nested", "even"])
async def test_redefinition_changes_the_closure(pg18, name):
    """F12: closures live and die with their snapshot."""
    database = pg18.create_database()
    pg18.run(database, "set check_function_bodies = off;" + TABLES + FUNCTIONS)
    text = {"even": "select even(1)"}.get(name, f"select {name}()")
    before = await load(pg18, database)
    assert plan(text, catalog=before).kind is Kind.READ
    pg18.run(
        database,
        "create or replace function sum_t() returns bigint language sql as "
        "'delete from w; select 1'",
        "create or replace function odd(int) returns bool language sql as "
        "'delete from w; select true'",
    )
    after = await load(pg18, database)
    assert names(plan(text, catalog=after), after) == {"w"}
    assert plan(text, catalog=before).kind is Kind.READ
