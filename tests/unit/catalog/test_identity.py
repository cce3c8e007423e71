"""Whose answer it is: settings, roles and row security in what a read reaches (K1, K2, K5)."""

from __future__ import annotations

import asyncpg
import pytest

from proxy.catalog import libraries
from proxy.catalog.harmless import HARMLESS_SETTINGS, KEYED_SETTINGS
from proxy.catalog.loader import catalog_fingerprint, load_snapshot
from proxy.policy.plan import Kind
from proxy.reasons import Reason
from tests.unit.catalog.test_reached import TABLES, catalog_of, check
from tests.unit.policy.helpers import flags, plan

NAMES = [f"app.n{number}" for number in range(17)]
SIXTEEN = " || ".join(f"current_setting('{name}')" for name in NAMES[:16])
SETTINGS = f"""
create view one as select id, v from t where note = current_setting('app.One');
create view two as select id from one where v = current_setting('app.two.Three', true)::int;
create view tz as select id, current_setting('TimeZone') from t;
create view memory as select id, current_setting('work_mem') from t;
create view computed as select id from t where note = current_setting('app.' || note);
create view null_name as select id from t where note = current_setting(null);
create view cast_name as select id from t where note = current_setting('app.x'::varchar);
create view one_of_two as select id from t
    where note in (current_setting('app.x'), current_setting(note, true));
create view not_custom as select id from t where note = current_setting('plpgsql.x', true);
create view odd_name as select id from t where note = current_setting('app.x-y', true);
create view letters as select id from t where note = current_setting('app.\u00e9', true);
create view many as select {SIXTEEN}, id from t;
create view too_many as select m.*, current_setting('{NAMES[16]}') from many m;
create view to_date as select id from t where day = current_setting('app.day')::date;
create view whoever as select id, user, session_user, current_role, current_catalog,
    current_database(), current_schema, current_schema() as called, getpgusername() from t;
create view paths as select id, current_schemas(true) from t;
create operator public.#@ (rightarg = text, function = pg_catalog.current_setting);
create view by_operator as select id, #@ 'app.op' from t;
create view by_computed_operator as select id, #@ note from t;
create function sql_reads() returns text stable language sql as
    'select note from t where note = current_setting(''app.sql'')';
create function pl_reads() returns text stable language plpgsql as $$
    declare who text := current_setting('app.pl', true);
    begin return who || current_user; end $$;
create function argument(name text) returns text stable language sql as
    'select current_setting(name)';
create function defaulted(x text default current_setting('app.default')) returns text
    stable language sql as 'select x';
create function both_() returns text stable language sql as
    'select sql_reads() || pl_reads()';
create function folded() returns text immutable language sql as
    'select current_setting(''app.x'')';
create function folded_user() returns text immutable language plpgsql as
    'begin return current_user; end';
create function folded_keyed() returns text immutable language plpgsql as
    'begin return current_setting(''timezone''); end';
create function folded_behind() returns text stable language sql as 'select folded_user()';
create function sets_timezone() returns text stable language sql set timezone = 'UTC' as
    'select current_setting(''app.tz'') || note from t';
create function sets_custom() returns text stable language sql set app.x = '1' as
    'select current_setting(''app.x'')';
create function definer() returns text stable security definer language sql
    set search_path = public, pg_temp as 'select current_user || note from t';
create function schema_of_path() returns text stable language sql
    set search_path = public as 'select current_schema || note from t';
create function schema_of_pg_temp() returns text stable language sql
    set search_path = pg_temp, public as 'select current_schema || note from t';
create function called_schema_of_pg_temp() returns text stable language plpgsql
    set search_path = public, pg_temp as
    'begin return (select current_schema() || note from t); end';
create function inherits_schema() returns text stable language sql as 'select current_schema()';
create function passes_pg_temp() returns text stable language sql
    set search_path = public, pg_temp as 'select inherits_schema()';
create domain checked_by_user as text check (value <> current_user);
create domain checked_by_clock as date check (value <= current_date);
create domain checked_by_setting as int check (value < current_setting('app.most')::int);
"""
READ = {
    "select * from one": "reads t with app.one",
    "select * from two": "reads t with app.one app.two.three",
    "select * from tz": "reads t",
    "select * from memory": "reads t with work_mem",
    "select * from computed": Reason.SESSION_FUNCTION,
    "select * from null_name": Reason.SESSION_FUNCTION,
    "select * from cast_name": Reason.SESSION_FUNCTION,
    "select * from one_of_two": Reason.SESSION_FUNCTION,
    "select * from not_custom": Reason.SESSION_FUNCTION,
    "select * from odd_name": Reason.SESSION_FUNCTION,
    "select * from letters": Reason.SESSION_FUNCTION,
    "select * from many": "reads t with " + " ".join(NAMES[:16]),
    "select * from too_many": Reason.SESSION_FUNCTION,
    "select * from to_date": Reason.CLOCK_CAST,
    "select * from whoever": "reads t",
    "select * from paths": Reason.SESSION_FUNCTION,
    "select * from by_operator": "reads t with app.op",
    "select * from by_computed_operator": Reason.SESSION_FUNCTION,
    "select #@ 'app.op', id from t": Reason.SESSION_FUNCTION,
    "select current_setting('app.x', true), id from t": "reads t with app.x",
    "select pg_catalog.current_setting('App.X'::text), id from t": "reads t with app.x",
    "select id from t where v = (select current_setting('app.x')::int)": "reads t with app.x",
    "select current_setting('statement_timeout'), id from t": "reads t with statement_timeout",
    "select current_setting('server_version_num')::int, id from t": "reads t",
    "select current_setting('transaction_isolation'), id from t": Reason.SESSION_FUNCTION,
    "select current_setting('is_superuser'), id from t": Reason.SESSION_FUNCTION,
    "select current_setting('role'), id from t": Reason.SESSION_FUNCTION,
    "select current_setting('seed'), id from t": Reason.SESSION_FUNCTION,
    "select current_setting('hnsw.ef_search'), id from t": Reason.SESSION_FUNCTION,
    "select current_setting(note), id from t": Reason.SESSION_FUNCTION,
    "select current_setting($1), id from t": Reason.SESSION_FUNCTION,
    "select current_user, session_user, current_database(), current_schema, id from t": "reads t",
    "select system_user, id from t": Reason.SESSION_FUNCTION,
    "select sql_reads()": "reads t with app.sql",
    "select pl_reads(), id from t": "reads t with app.pl",
    "select both_()": "reads t with app.sql app.pl",
    "select argument('app.x'), id from t": Reason.SESSION_FUNCTION,
    "select defaulted(), id from t": "reads t with app.default",
    # PostgreSQL keeps what it has folded into plans.
    "select folded(), id from t": Reason.STABLE_FUNCTION,
    "select folded_user(), id from t": Reason.STABLE_FUNCTION,
    "select folded_keyed(), id from t": Reason.STABLE_FUNCTION,
    "select folded_behind(), id from t": Reason.STABLE_FUNCTION,
    "select sets_timezone()": "reads t with app.tz",
    "select sets_custom(), id from t": "opaque",
    "select definer()": "reads t",
    "select schema_of_path()": "reads t",
    # The number in the name of a temporary schema is in no key.
    "select schema_of_pg_temp()": Reason.SESSION_FUNCTION,
    "select called_schema_of_pg_temp()": Reason.SESSION_FUNCTION,
    "select inherits_schema(), id from t": "reads t",
    "select passes_pg_temp(), id from t": Reason.SESSION_FUNCTION,
    "select id from t where note = 'x'::checked_by_user": Reason.UNKNOWN_TYPE,
    "select id from t where day = '2024-01-01'::checked_by_clock": Reason.UNKNOWN_TYPE,
    "select id from t where v = 1::checked_by_setting": Reason.UNKNOWN_TYPE,
}

ROW_SECURITY = """
create function allowed() returns int stable language sql as 'select max(v) from w';
create function noisy() returns bool language plpgsql as
    'begin insert into log values (1); return true; end';
create function dynamic(x text) returns bool stable language plpgsql as
    'declare y bool; begin execute x into y; return y; end';
create function secured(name text, condition text) returns void language plpgsql as $$ begin
    execute format('create table %I (id int, v int, owner text)', name);
    execute format('alter table %I enable row level security', name);
    execute format('create policy p on %I %s', name, condition); end $$;
select secured('constant', 'using (id > 0)'),
    secured('of_user', 'to howdah using (owner = current_user)'),
    secured('of_tenant', 'using (v = current_setting(''app.tenant'', true)::int)'),
    secured('of_other', 'using (id in (select id from u))'),
    secured('of_secured', 'using (exists (select from of_tenant o where o.id = of_secured.id))'),
    secured('of_function', 'using (v <= allowed())'),
    secured('of_clock', 'using (owner < now()::text)'),
    secured('of_computed', 'using (owner = current_setting(owner))'),
    secured('of_writer', 'using (noisy())'),
    secured('of_dynamic', 'using (dynamic(owner))'),
    secured('of_role', 'using (pg_has_role(owner, ''member''))'),
    secured('for_writers', 'for update using (owner = now()::text) with check (noisy())'),
    secured('checking', 'with check (owner = now()::text)'),
    secured('nothing', 'for insert with check (true)'),
    secured('off', 'using (owner = now()::text)');
alter table off disable row level security;
create policy second on of_user as restrictive for select using
    (current_setting('app.second') = 'x');
create policy third on of_user for delete using (dynamic(owner));
create view through as select id from of_tenant;
create function through_function() returns bigint stable security definer language sql
    set search_path = public as 'select count(*) from of_tenant';
create table parted (id int, v int) partition by list (id);
create table part_1 partition of parted for values in (1);
create table part_2 partition of parted for values in (2);
alter table parted enable row level security;
create policy p on parted using (v = current_setting('app.parent')::int);
alter table part_1 enable row level security;
create policy p on part_1 using (v = current_setting('app.child')::int);
"""
SECURED = {
    "select * from constant": "reads constant",
    "select * from of_user": "reads of_user with app.second",
    "select * from of_tenant": "reads of_tenant with app.tenant",
    "select * from of_other": "reads of_other u",
    "select * from of_secured": "reads of_secured of_tenant with app.tenant",
    "select * from of_function": "reads of_function w",
    "select * from of_clock": Reason.CLOCK,
    "select * from of_computed": Reason.SESSION_FUNCTION,
    "select * from of_writer": "writes log",
    "select * from of_dynamic": "opaque",
    "select * from of_role": Reason.STABLE_FUNCTION,
    # A plain SELECT meets the conditions of policies for SELECT and ALL alone.
    "select * from for_writers": "reads for_writers",
    "select * from checking": "reads checking",
    "select * from nothing": "reads nothing",
    "select * from off": "reads off",
    "select * from through": "reads of_tenant with app.tenant",
    "select through_function()": "reads of_tenant with app.tenant",
    "select * from parted": "reads parted with app.parent app.child",
    "select * from part_1": "reads parted with app.child",
    "select * from part_2": "reads parted",
    "insert into constant values (1)": "writes constant",
    "update for_writers set v = 1": "writes for_writers log",
    "delete from of_user": "opaque",
    "insert into checking values (1)": "writes checking",
}


async def test_settings_and_names(each_postgres):
    catalog = await catalog_of(each_postgres, TABLES, SETTINGS)
    check(catalog, READ)


async def test_row_security(each_postgres):
    catalog = await catalog_of(each_postgres, TABLES, ROW_SECURITY)
    check(catalog, SECURED)


POLICY = "create policy p on t to public using (id > 1)"
CHANGES = [
    "alter policy p on t using (id > 2)",
    "alter policy p on t to howdah",
    "drop policy p on t; create policy p on t as restrictive to howdah using (id > 2)",
    "drop policy p on t; create policy p on t as restrictive for delete to howdah using (id > 2)",
    "alter table t enable row level security",
    "alter table t force row level security",
    "create or replace view v as select id from t where id < 6",
    "alter view v set (security_barrier = true)",
    "revoke execute on function f() from public",
    "alter function f() owner to howdah",
    "grant select (id) on t to howdah",
    "grant usage on schema s to howdah",
    "alter schema s owner to howdah",
    "alter table t owner to howdah",
    "alter database {database} owner to howdah",
    "create role changing",
    "alter role changing bypassrls",
    "alter role changing rename to changed",
    "grant howdah to changed",
    "drop role changed",
]


async def test_what_decides_who_sees_what_is_fingerprinted(each_postgres):
    """K2: a change of it by others is another catalog."""
    server = each_postgres
    database = server.create_database(
        "create table t (id int); create schema s; create view v as select id from t where id < 5;"
        "create function f() returns int language sql as 'select 1';" + POLICY
    )
    changes = [*CHANGES]
    if server.major >= 15:
        changes += ["alter view v set (security_invoker = true)"]
    howdah = await asyncpg.connect(
        host=server.host, port=server.port, user="howdah", database=database, ssl=False
    )
    try:
        cheap = await catalog_fingerprint(howdah)
        full = (await load_snapshot(howdah)).fingerprint
        for change in changes:
            server.run(database, change.replace("{database}", database))
            before, cheap = cheap, await catalog_fingerprint(howdah)
            assert cheap != before, change
            before, full = full, (await load_snapshot(howdah)).fingerprint
            assert full != before, change
    finally:
        await howdah.close()


async def test_settings_of_the_lists_can_be_asked_for_by_everybody(each_postgres):
    """The session is asked for them on its own backend, whoever it is."""
    server = each_postgres
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user="alice", database="postgres", ssl=False
    )
    try:
        for name in sorted(HARMLESS_SETTINGS | KEYED_SETTINGS):
            await connection.fetchval("select current_setting($1, true)", name)
        rows = await connection.fetch("select name from pg_settings")
    finally:
        await connection.close()
    known = {row[0].lower() for row in rows}
    gone = {"force_parallel_mode", "lc_collate", "lc_ctype"}
    assert KEYED_SETTINGS.isdisjoint(HARMLESS_SETTINGS)
    if server.major >= 18:
        assert (KEYED_SETTINGS | HARMLESS_SETTINGS) - known <= gone
    # What is in no key, or tells of the transaction.
    assert not KEYED_SETTINGS & {"transaction_isolation", "in_hot_standby", "is_superuser"}


@pytest.mark.parametrize(
    ("found", "unknown", "prefixes"),
    [
        ([], False, set()),
        ([("l", "$libdir/pg_trgm"), ("l", "$libdir/postgis-3")], False, set()),
        ([("l", ' "auto_explain" '), ("l", "")], False, set()),
        ([("l", "/opt/lib/tenants.so")], True, {"tenants"}),
        ([("p", "Mine")], False, {"mine"}),
    ],
)
def test_libraries(found, unknown, prefixes):
    known, _ = libraries.reserved(())
    assert libraries.reserved(found) == (known | prefixes, unknown)
    assert {"plpgsql", "hnsw", "postgis", "pg_trgm", "auto_explain"} <= known


async def test_prefixes_of_libraries(pg18):
    """A setting of a library is no custom one, and with an unknown library none surely is."""
    database = pg18.create_database("create table t (id int)")
    connection = await asyncpg.connect(
        host=pg18.host, port=pg18.port, user="howdah", database=database, ssl=False
    )
    watched = frozenset(("app.x", "plpgsql.x"))
    try:
        catalog = await load_snapshot(connection)
        assert not catalog.unknown_libraries
        assert flags(plan("set app.x = 1", catalog=catalog)) == set()
        found = flags(plan("set plpgsql.x = 1", catalog=catalog, watched=watched))
        assert found == {"SETTINGS", "SET_CONSTANT"}
        # The file is no library of PostgreSQL's that is known, whatever it is.
        pg18.run(
            database,
            "create function f(text, text) returns bool immutable language c as "
            "'$libdir/dict_snowball', 'dsnowball_init'",
        )
        catalog = await load_snapshot(connection)
        assert catalog.unknown_libraries
        found = flags(plan("set app.x = 1", catalog=catalog))
        assert found == {"SETTINGS", "SET_CONSTANT"}
        reading = plan("select id, current_setting('app.x', true) from t", catalog=catalog)
        assert (reading.kind, reading.settings) == (Kind.READ, frozenset(("app.x",)))
        text = "select id, current_setting('dict_snowball.x', true) from t"
        assert plan(text, catalog=catalog).reason is Reason.SESSION_FUNCTION
        before = await catalog_fingerprint(connection)
        pg18.run(database, "alter role bob set session_preload_libraries = 'auto_explain'")
        assert await catalog_fingerprint(connection) != before
    finally:
        pg18.run(database, "alter role bob reset session_preload_libraries")
        await connection.close()
