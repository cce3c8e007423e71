"""What happens at the borders of functions: owners, conversions, changes of path (F9, K5)."""

from __future__ import annotations

import pytest

from proxy.catalog.snapshot import OPAQUE as OPAQUE_LABEL
from proxy.catalog.snapshot import CatalogSnapshot, Routine, Type
from proxy.policy.plan import EVERYTHING
from proxy.policy.reach import Node, Reach
from proxy.reasons import Reason
from tests.unit.catalog.test_reached import TABLES, catalog_of, check
from tests.unit.policy.helpers import flags, names, plan

OWNERS = """
create schema alice; create schema bob; create schema other;
create table alice.mine (id int); create table bob.mine (id int);
create table other.w (id int); create table parent_ (id int primary key);
create table bob.child_ (id int references parent_ on delete cascade);
create function definer() returns void security definer language sql
    as 'insert into mine values (1)';
create function invoker() returns void language sql as 'insert into mine values (1)';
create function fixed_definer() returns void security definer language sql
    set search_path = bob as 'insert into mine values (1)';
create function notes() returns trigger language plpgsql as
    'begin insert into mine values (1); return old; end';
create trigger t before delete on bob.child_ for each row execute function notes();
create function moves() returns void language plpgsql as
    $$ begin perform set_config('search_path', 'other', false); end $$;
create function behind() returns void language plpgsql as
    'begin perform moves(); insert into w values (1); end';
create function fixed_behind() returns void language plpgsql set search_path = app
    as 'begin perform public.moves(); insert into w values (1); end';
create function chosen() returns void language sql as 'select 1';
create function other.chosen() returns void language sql as 'insert into public.log values (1)';
create function behind_call() returns void language plpgsql as
    'begin perform moves(); perform chosen(); end';
create table moving (id int);
create function moves_first() returns trigger language plpgsql as
    'begin perform moves(); return new; end';
create function writes_later() returns trigger language plpgsql as
    'begin insert into w values (1); return new; end';
create trigger a before insert on moving for each row execute function moves_first();
create trigger b after insert on moving for each row execute function writes_later();
create procedure gives(out x text) language plpgsql as
    'begin insert into log values (1); end';
create procedure gives(int) language plpgsql as 'begin insert into w values (1); end';
create function in_utc() returns text language sql set timezone = 'UTC'
    as 'select at::text from t';
"""
REACHED = {
    "select invoker()": "writes alice.mine",
    # "$user" and privileges on schemas are those of the owner.
    "select definer()": "writes alice.mine bob.mine",
    "select fixed_definer()": "writes bob.mine",
    "delete from parent_": "writes parent_ bob.child_ alice.mine bob.mine",
    # What has been called may have changed where names are looked for.
    "select behind()": "writes w app.w other.w",
    "select fixed_behind()": "writes w app.w other.w",
    "insert into moving values (1)": "writes moving w app.w other.w",
    "do $$ begin perform moves(); insert into w values (1); end $$": "writes w app.w other.w",
    # CALL gives arguments for OUT, too.
    "call gives(null)": "writes w log",
    "select in_utc()": "reads t",
}

DOMAINS = """
create function chk(int) returns bool language plpgsql as
    'begin update w set v = v + 1; return true; end';
create domain dc as int check (chk(value));
create domain over_dc as dc;
create domain fine as int check (value > 0);
create domain timed as int check (value < extract(year from now()));
create function returns_sql() returns dc language sql as 'select 1';
create function returns_pl() returns dc language plpgsql as 'begin return 1; end';
create function returns_set() returns setof dc language sql as 'select 1';
create function returns_table() returns table (x over_dc) language sql as 'select 1';
create function takes(x dc) returns int language sql as 'select 1';
create function takes_array(x dc[]) returns int language sql as 'select 1';
create function takes_fine(x fine) returns int language sql as 'select x';
create function takes_timed(x timed) returns int language sql as 'select x';
create view converts as select v::dc from t;
create view converts_finely as select v::fine from t;
"""
CONVERTED = dict.fromkeys(
    (
        "select returns_sql(), id from t",
        "select returns_pl(), id from t",
        "select * from t, returns_set()",
        "select * from t, returns_table()",
        "select takes(v) from t",
        "select takes_array(array[v]) from t",
        "select * from converts",
        "do $$ declare x dc := 1; begin end $$",
    ),
    "opaque",
) | {"select takes_timed(v) from t": Reason.UNKNOWN_TYPE}

CLOCKS = """
create function takes_zoned(x timetz) returns text language sql as 'select x::text';
create function takes_zoned_pl(x timetz) returns text language plpgsql as
    'begin return x::text; end';
create function gives_zoned() returns timetz language sql as 'select tm from t limit 1';
create function gives_table() returns table (x timetz) language sql as 'select tm from t limit 1';
create function takes_time(x time) returns text language sql as 'select x::text';
"""
TOLD = {
    # time becomes timetz by today's offset.
    "select takes_zoned(tm) from t": Reason.CLOCK,
    "select takes_zoned_pl(tm) from t": Reason.CLOCK,
    "select gives_zoned()": Reason.CLOCK,
    "select * from gives_table()": Reason.CLOCK,
    "select takes_time(tm) from t": "reads t",
}

FOLDED = """
create function one_of(int) returns int immutable language plpgsql as
    'begin return case $1 when 0 then 0 else other_of($1 - 1) end; end';
create function other_of(int) returns int immutable language plpgsql as
    'begin return one_of($1); end';
create function reading_one(int) returns int immutable language plpgsql as
    'begin return case $1 when 0 then (select max(v) from t) else reading_other($1 - 1) end; end';
create function reading_other(int) returns int immutable language plpgsql as
    'begin return reading_one($1); end';
"""
ENDLESS = {
    "select one_of(v) from w": "reads w",
    "select reading_one(v) from w": Reason.STABLE_FUNCTION,
    "select reading_other(v) from w": Reason.STABLE_FUNCTION,
}


@pytest.mark.parametrize(
    ("schema", "cases"),
    [(CLOCKS, TOLD), (FOLDED, ENDLESS)],
    ids=["clocks", "folded"],
)
async def test_borders(each_postgres, schema, cases):
    check(await catalog_of(each_postgres, TABLES, schema), cases)


async def test_owners_and_paths(each_postgres):
    catalog = await catalog_of(each_postgres, TABLES, OWNERS)
    check(catalog, REACHED, path=("pg_catalog", "alice", "public"))
    assert flags(plan("select moves()", catalog=catalog)) >= {"SETTINGS", "PATH"}
    found = plan("select behind_call()", catalog=catalog)
    assert found.closure == EVERYTHING or names(found, catalog) == {"log"}


async def test_domains(each_postgres):
    catalog = await catalog_of(each_postgres, TABLES, DOMAINS)
    check(catalog, CONVERTED)
    without = DOMAINS.replace("check (chk(value))", "").replace("timed as int check (", "timed as ")
    without = without.replace("int (value < extract(year from now()));", "int;")
    without = without.replace("timed as value < extract(year from now()));", "timed as int;")
    catalog = await catalog_of(each_postgres, TABLES, without)
    check(
        catalog,
        {
            "select takes_fine(v) from t": "reads t",
            "select * from converts_finely": "reads t",
            "select takes(v), returns_sql() from t": "reads t",
        },
    )


def test_long_chains_of_functions():
    """Decisions never raise: hundreds of functions that call each other, and a limit."""

    def chain(length, volatility):
        routines = {
            oid: Routine(
                f"public.f{oid}",
                OPAQUE_LABEL,
                volatility=volatility,
                language="sql",
                support=(oid + 1,) if oid < length else (),
                source="select 1",
            )
            for oid in range(1, length + 1)
        }
        return Reach(CatalogSnapshot(routines=routines), {}).of([Node("f", 1)])

    assert chain(3000, "i").effect is chain(3000, "v").effect
    assert chain(20_010, "v").reason is Reason.UNKNOWN_FUNCTION


def test_types_of_one_name_in_several_schemas():
    """K5: where the path is not known, the one that reads the clock counts."""
    clock = {"pg_catalog": {"date": Type(1082, clock=True)}}
    plain = {"a": {"date": Type(20001)}, "b": {"date": Type(20002)}}
    for types in (clock | plain, plain | clock):
        snapshot = CatalogSnapshot(types=types)
        for path in (None, frozenset(types)):
            found = snapshot.find_type(None, "date", path)
            assert found is not None
            assert found.clock
