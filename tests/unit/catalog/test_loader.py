"""The catalog of real servers: what is loaded, and what decisions make of it."""

from __future__ import annotations

import asyncpg
import psycopg
import pytest

from proxy.catalog import builtins
from proxy.catalog.harmless import HARMLESS_SETTINGS
from proxy.catalog.loader import catalog_fingerprint, load_snapshot
from proxy.catalog.snapshot import Effect
from proxy.policy.plan import DATABASE, EVERYTHING, NOTHING, Kind
from proxy.reasons import Reason
from tests.unit.policy.helpers import names, plan

SCHEMA = """
create extension if not exists plpgsql;
create schema app;
create type mood as enum ('sad', 'ok');
create domain positive as int check (value > 0);
create domain lucky as int default 7;
create type pair as (x int, y text);
create function touch() returns trigger language plpgsql as
    $$ begin new.made = now(); return new; end $$;
create function logs() returns trigger language plpgsql as
    $$ begin insert into a values (new.id); return null; end $$;
create function writes() returns int language plpgsql as
    $$ begin delete from c; return 1; end $$;
create function says(int) returns int immutable language sql as 'select $1';
create function later(x int default 1, y timestamptz default now()) returns int immutable
    language internal as 'int4abs';
create table a (id int primary key, name text, made timestamptz default now(), m mood);
create table b (id int primary key, a_id int references a on delete cascade on update cascade,
                p positive, tags text[]);
create table c (id int primary key, b_id int references b on delete set null);
create table app.a (id int primary key);
create table triggered (id int, made timestamptz);
create trigger t after insert on triggered for each row execute function logs();
create table touched (id int, made timestamptz);
create trigger t before update on touched for each row execute function touch();
create table silenced (id int, made timestamptz);
create trigger t before update on silenced for each row execute function logs();
alter table silenced disable trigger t;
create table searched (t text, v tsvector);
create trigger t before insert on searched for each row
    execute function tsvector_update_trigger(v, 'pg_catalog.english', t);
create table checked (id int check (says(id) > 0));
create table defaulted (id int default writes());
create table indexed (id int);
create index on indexed (says(id));
create table plainly_indexed (name text);
create index on plainly_indexed (lower(name)) where name <> '';
create table generated (id int, twice int generated always as (id * 2) stored);
create table parted (id int, at date) partition by range (at);
create table part_1 partition of parted for values from ('2024-01-01') to ('2025-01-01');
create table part_2 partition of parted default;
create table parent (id int);
create table child () inherits (parent);
create table secured (id int);
alter table secured enable row level security;
create policy p on secured using (id > 0);
create table secured_opaquely (id int);
alter table secured_opaquely enable row level security;
create policy p on secured_opaquely using (id = says(id));
create table ruled (id int);
create rule r as on insert to ruled do also select 1;
create unlogged table unlogged (id int);
create view v as select a.id, upper(a.name) as name from a join b on b.a_id = a.id;
create view writing as select writes() as w;
create view through as select * from (select * from writing) x;
create materialized view kept as select * from a;
create sequence numbers;
create table paired (id int, p pair);
create table zoned (at timetz);
create table named (r regclass);
create aggregate total(int) (sfunc = int4pl, stype = int, initcond = '0');
create aggregate total_says(int) (sfunc = int4pl, stype = int, finalfunc = says);
create function says_too(int, int) returns bool immutable language sql as 'select true';
create operator public.%%% (leftarg = int, rightarg = int, function = says_too);
"""
PATH = ("pg_catalog", "public")


async def load(server, database):
    connection = await asyncpg.connect(
        host=server.host, port=server.port, user="howdah", database=database, ssl=False
    )
    try:
        return await load_snapshot(connection)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def databases():
    """One database with the schema per server."""
    return {}


@pytest.fixture
async def catalog(each_postgres, databases):
    if each_postgres.name not in databases:
        database = each_postgres.create_database()
        with each_postgres.connect(database) as connection:
            connection.execute(SCHEMA)
        databases[each_postgres.name] = await load(each_postgres, database)
    return databases[each_postgres.name]


WRITTEN = {
    "insert into a values (1)": {"a"},
    "delete from a": {"a", "b", "c"},
    "update a set id = 2": {"a", "b"},
    "update b set p = 2": {"b"},
    "truncate a cascade": {"a", "b", "c"},
    "insert into silenced values (1)": {"silenced"},
    "insert into searched values ('x')": {"searched"},
    "insert into plainly_indexed values ('x')": {"plainly_indexed"},
    "insert into generated values (1)": {"generated"},
    # A family of partitions or of inheritance is one granule.
    "insert into parted values (1, '2024-05-05')": {"parted"},
    "update part_1 set id = 1": {"parted"},
    "update parent set id = 1": {"parent"},
    "delete from child": {"parent"},
    "insert into secured values (1)": {"secured"},
    "insert into unlogged values (1)": {"unlogged"},
    "insert into app.a values (1)": {"app.a"},
    "insert into zoned values ('10:00')": {"zoned"},
    "insert into c select total(id) + 1 from v": {"c"},
    # Functions are seen through, wherever they run.
    "update touched set id = 1": {"touched"},
    "insert into triggered values (51)": {"triggered", "a"},
    "insert into checked values (1)": {"checked"},
    "insert into defaulted default values": {"defaulted", "c"},
    "insert into indexed values (1)": {"indexed"},
    "insert into secured_opaquely values (1)": {"secured_opaquely"},
    "insert into ruled values (1)": {"ruled"},
    "select * from writing": {"c"},
    "select * from through": {"c"},
    "select writes()": {"c"},
    "refresh materialized view kept": {"kept"},
    "do $$ begin perform writes(); insert into a values (52); end $$": {"a", "c"},
}
OPAQUE = [
    "insert into paired values (1)",
    "select later() from a",
    "update pg_settings set setting = 'x'",
    "do $$ begin execute 'drop table a'; end $$",
]
READ = {
    "select a.*, b.tags from a join b on b.a_id = a.id where m = 'sad' and made > '2024-01-01'",
    "select date_trunc('month', made)::date, count(*), total(id) from a group by 1",
    "select p::int from b",
    "select * from generated join checked using (id) join indexed using (id)",
    "select format('%s', id), to_json(a), jsonb_agg(name order by id) from a group by a.id",
    "select to_tsvector('english', name) @@ plainto_tsquery('english', $1) from a",
    "select string_agg(name, ',' order by name), array_agg(distinct id), bool_or(id > 1) from a",
    "select lag(id) over (order by id), ntile(4) over (order by id), first_value(name) over () "
    "from a",
    "select regexp_replace(name, 'a', 'b'), split_part(name, '-', 1), substring(name from 2 for 3),"
    " trim(both ' ' from name), overlay(name placing 'x' from 1), position('x' in name), "
    "md5(name), encode(sha256(name::bytea), 'hex'), name similar to 'a%', name ~* 'b' from a",
    "select abs(id), round(id::numeric, 2), power(id, 2), width_bucket(id, 1, 10, 5) from a",
    "select made + interval '1 day', made at time zone 'UTC', age(made, made), "
    "extract(epoch from made), to_timestamp(id), make_date(2024, 1, id), "
    "(made, made) overlaps (made, made) from a",
    "select jsonb_build_object('a', id) || '{\"b\": 1}', '{\"a\": [1]}'::jsonb -> 'a' ->> 0, "
    "jsonb_path_query_first('{}', '$.a') from a",
    "select unnest(tags), array_length(tags, 1), cardinality(tags), tags[1:2], 'x' = any (tags), "
    "tags && array['a'], array_to_string(tags, ',') from b",
    "select coalesce(sum(id), 0), avg(id), stddev(id), min(made), max(name), "
    "percentile_disc(0.5) within group (order by id), mode() within group (order by id) from a",
    "select count(*) filter (where id > 1), grouping(name) from a group by cube (name, m)",
    "select int4range(1, id) @> 3, '[1,2]'::int4range, id::money from a",
    "select uuid_in('x') from a where false",
    "select * from parted join part_1 using (id) join parent using (id) join child using (id)",
    "select * from v, kept, ruled, silenced, only parent",
    "select says(1), total_says(id), id %%% 1 from a",
    "select * from secured join secured_opaquely using (id)",
}
BYPASSED = {
    "select * from unlogged": Reason.UNLOGGED,
    "select * from numbers": Reason.SEQUENCE,
    "select * from paired": Reason.UNKNOWN_TYPE,
    "select * from zoned": Reason.CLOCK,
    "select * from named": Reason.UNKNOWN_TYPE,
    "select name::timestamptz from a": Reason.CLOCK_CAST,
    "select a::text::date from a": Reason.CLOCK_CAST,
    "select age(made) from a": Reason.CLOCK,
    "select pg_typeof(id) from a": Reason.STABLE_FUNCTION,
    "select random() from a": Reason.VOLATILE_FUNCTION,
    "select (null::pair).x from a": Reason.UNKNOWN_TYPE,
    "select * from pg_class": Reason.SYSTEM_CATALOG,
    "select * from information_schema.tables": Reason.SYSTEM_CATALOG,
    "select * from pg_stat_activity": Reason.SYSTEM_CATALOG,
}


async def test_decisions_on_real_catalogs(catalog):
    def decide(text, path=PATH):
        return plan(text, catalog=catalog, path=path)

    for text, expected in WRITTEN.items():
        found = decide(text)
        assert (found.reason, names(found, catalog)) == (Reason.WRITE, expected), text
    for text in OPAQUE:
        found = decide(text)
        assert (found.reason, found.closure) == (Reason.WRITE_OPAQUE, EVERYTHING), text
    for text in READ:
        found = decide(text)
        assert (found.kind, found.reason) == (Kind.READ, Reason.NOT_CACHED), text
    for text, reason in BYPASSED.items():
        found = decide(text)
        assert (found.reason, found.closure) == (reason, NOTHING), text
    assert decide("create table z ()").closure == DATABASE
    assert catalog.indexed
    assert not catalog.opaque_indexes
    assert not catalog.opaque_types
    assert not catalog.opaque_domains
    assert not catalog.dynamic_functions


async def test_closures_cover_what_really_happens(each_postgres):
    """F1: PostgreSQL's own counters of a transaction name no relation outside the closure."""
    database = each_postgres.create_database()
    with each_postgres.connect(database) as connection:
        connection.execute(SCHEMA)
    catalog = await load(each_postgres, database)
    with each_postgres.connect(database) as connection:
        connection.execute("insert into a values (50, 'x')")
        connection.execute("insert into b values (50, 50, 1)")
        connection.execute("insert into c values (50, 50)")
        connection.execute("insert into parted values (50, '2024-01-05')")
        connection.execute("insert into child values (50)")
        connection.execute("insert into touched values (50)")
    for text in (*WRITTEN, *MORE_WRITES):
        if text.startswith("refresh"):
            continue  # it writes another file, and counts nothing
        found = plan(text, catalog=catalog)
        assert found.reason is Reason.WRITE, text
        # The counters of a session hold what it has not reported yet, so each gets its own.
        with each_postgres.connect(database) as connection:
            connection.execute("begin")
            connection.execute(text)
            touched = connection.execute(
                "select relid::int from pg_stat_xact_user_tables "
                "where n_tup_ins + n_tup_upd + n_tup_del > 0"
            ).fetchall()
            connection.execute("rollback")
        granules = {catalog.by_oid[oid].granule for (oid,) in touched}
        assert granules <= set(found.closure.relations), text
        assert granules or text.startswith("truncate"), text


MORE_WRITES = [
    "delete from b where id = 50",
    "update a set id = id + 100",
    "with x as (delete from a where id = 50 returning id) insert into c select id + 50 from x",
    "insert into c values (50, null) on conflict (id) do update set b_id = excluded.b_id",
    "update parted set at = '2030-01-01' where id = 50",
    "delete from parent where id = 50",
    "merge into c using a on a.id = c.id when matched then delete",
]


async def test_virtual_columns(pg18):
    database = pg18.create_database("create table x (id int, y int generated always as (id * 2))")
    catalog = await load(pg18, database)
    assert plan("select * from x", catalog=catalog).kind is Kind.READ
    with pytest.raises(psycopg.Error):
        # Why: its expression can name nothing but what is built in and immutable.
        pg18.run(
            database,
            "create function f(int) returns int immutable language sql as 'select $1'",
            "create table y (id int, y int generated always as (f(id)) virtual)",
        )


CHANGES = [
    "create table x1 (id int)",
    "alter table x1 add column y int",
    "alter table x1 alter column y set default 5",
    "alter table x1 rename column y to z",
    "create table x2 (id int primary key)",
    "alter table x1 add foreign key (id) references x2 on delete cascade",
    "alter table x1 enable row level security",
    "create policy p on x1 using (true)",
    "create function x3() returns int language sql as 'select 1'",
    "create or replace function x3() returns int immutable language sql as 'select 1'",
    "create view x4 as select * from x1",
    "create domain x5 as int check (value > 0)",
    "create type x6 as enum ('a')",
    "create cast (x6 as int) with inout",
    "create function x7() returns trigger language plpgsql as 'begin return new; end'",
    "create trigger x8 before insert on x1 for each row execute function x7()",
    "alter table x1 disable trigger x8",
    "create index on x1 ((id + 1))",
    "create table x9 () inherits (x2)",
    "alter table x9 no inherit x2",
    "grant select on x1 to alice",
    "create operator ### (leftarg = int, rightarg = int, function = int4pl)",
    "create schema x10",
    "alter table x1 set schema x10",
    "alter table x10.x1 set unlogged",
    "drop table x9",
    "create schema x11",
    "grant usage on schema x11 to alice",
    "alter table x2 owner to bob",
    "create table x12 (v varchar(5))",
    "alter table x12 alter v type varchar(6)",
    "create role x13",
    "grant x13 to alice",
    "revoke x13 from alice",
    "alter role x13 rename to x14",
    "drop role x14",
]


async def test_fingerprints_follow_every_change(each_postgres):
    """Equal content, equal fingerprint; the cheap one never misses a change."""
    database = each_postgres.create_database()
    connection = await asyncpg.connect(
        host=each_postgres.host,
        port=each_postgres.port,
        user="postgres",
        database=database,
        ssl=False,
    )
    try:
        cheap = await catalog_fingerprint(connection)
        full = (await load_snapshot(connection)).fingerprint
        assert await catalog_fingerprint(connection) == cheap
        assert (await load_snapshot(connection)).fingerprint == full
        await connection.execute("insert into probe values (99, 0); analyze probe")
        assert (await load_snapshot(connection)).fingerprint == full
        for change in CHANGES:
            await connection.execute(change)
            before, cheap = cheap, await catalog_fingerprint(connection)
            assert cheap != before, change
            before, full = full, (await load_snapshot(connection)).fingerprint
            assert full != before, change
        before = (await load_snapshot(connection)).fingerprint
        async with connection.transaction():
            await connection.execute("create table gone (id int)")
            await connection.execute("drop table gone")
        assert (await load_snapshot(connection)).fingerprint == before
    finally:
        await connection.close()


async def test_event_triggers(pg18):
    database = pg18.create_database(
        "create function e() returns event_trigger language plpgsql as 'begin end'",
        "create event trigger ddl on ddl_command_end execute function e()",
    )
    catalog = await load(pg18, database)
    assert (catalog.event_triggers, catalog.login_triggers) == (True, False)
    pg18.run(database, "create event trigger login on login execute function e()")
    pg18.run(database, "alter event trigger ddl disable")
    catalog = await load(pg18, database)
    assert (catalog.event_triggers, catalog.login_triggers) == (False, True)
    pg18.run(database, "drop event trigger login")


async def test_bodies_with_dynamic_sql(pg18):
    database = pg18.create_database(
        "create function f() returns void language plpgsql as $$ begin execute 'x'; end $$"
    )
    assert (await load(pg18, database)).dynamic_functions
    database = pg18.create_database(
        "create function f() returns int language plpgsql as "
        "$$ declare x int; begin select 1 into x; return x; end $$"
    )
    assert not (await load(pg18, database)).dynamic_functions


EXTENSIONS = {
    "citext": [
        ("select replace(name, 'a', 'b'), split_part(name, 'a', 1) from t", Kind.READ),
        ("select * from typed where ci = 'X' and name_of::citext = ci", Kind.READ),
        ("insert into typed (ci) values ('x')", Kind.WRITE),
    ],
    "hstore": [("select 'a=>1'::hstore -> 'a', hstore('a', name) from t", Kind.READ)],
    "ltree": [("select 'a.b'::ltree @> 'a' from t", Kind.READ)],
    "pg_trgm": [
        ("select similarity(name, 'x') from t order by name <-> 'x'", Kind.READ),
        # Depends on a setting that a session can have before the library is loaded (K1).
        ("select name from t where name % 'x'", Kind.BYPASS),
    ],
    "unaccent": [("select unaccent(name) from t", Kind.BYPASS)],
    "uuid-ossp": [("insert into t values (1, uuid_generate_v4()::text)", Kind.WRITE)],
    "pgcrypto": [("insert into t values (1, crypt('x', gen_salt('bf')))", Kind.WRITE)],
    "btree_gist": [("select * from t", Kind.READ)],
    "btree_gin": [("select * from t", Kind.READ)],
    "intarray": [("select array[1] && array[id] from t", Kind.READ)],
    "fuzzystrmatch": [("select levenshtein(name, 'x') from t", Kind.READ)],
    "cube": [("select cube(1) from t", Kind.READ)],
    "moddatetime": [("update stamped set made = made", Kind.WRITE)],
}


async def test_extensions(pg15):
    """Everyday extensions neither hide writes nor keep others from being cached."""
    try:
        database = pg15.create_database(*(f'create extension "{name}"' for name in EXTENSIONS))
    except psycopg.Error as error:
        pytest.skip(str(error))
    pg15.run(
        database,
        "create table t (id int, name text)",
        "create table typed (ci citext, h hstore, l ltree, c cube, cs citext[], name_of text)",
        "create table stamped (made timestamptz)",
        "create trigger t before update on stamped for each row execute function moddatetime(made)",
    )
    catalog = await load(pg15, database)
    assert not catalog.opaque_types
    for cases in EXTENSIONS.values():
        for text, kind in cases:
            found = plan(text, catalog=catalog)
            assert (found.kind, found.closure.scope.name) == (kind, "RELATIONS"), text


async def test_audited_functions_exist(pg18, pg15):
    """Names in the audited lists are names of functions, and volatile ones are covered."""
    known: set[str] = set()
    for server in (pg15, pg18):
        rows = server.run(
            "postgres", "select proname, provolatile from pg_proc where pronamespace = 11"
        )
        known.update(name for name, _ in rows)
    listed = set(builtins._SAFE_STABLE | builtins._CLOCK | builtins._SESSION | builtins._OPAQUE)
    listed |= builtins._ASKING
    listed |= builtins._LOCKS | builtins._HARMLESS_VOLATILE | builtins.HARMLESS_TRIGGERS
    gone = {"populate_record", "currtid", "pg_is_in_backup"}
    assert listed - known - gone == set()


async def test_stable_functions_that_count_as_safe(pg18):
    """K5: a STABLE label is never enough; this is the whole list that passes."""
    rows = pg18.run(
        "postgres",
        "select distinct proname, pronargs::int from pg_proc where pronamespace = 11 "
        "and provolatile <> 'i' and prorettype not in (2279, 2281)",
    )
    safe = {
        name
        for name, count in rows
        if builtins.builtin_label(name, "v", count, count).effect is Effect.SAFE
    }
    assert safe <= builtins._SAFE_STABLE | builtins._ASKING
    assert not safe & {"now", "age", "random", "timetz", "current_setting", "query_to_xml"}
    assert not [name for name in safe if name.endswith(("_in", "_recv", "_tz"))]


async def test_harmless_settings_exist(pg18, pg15):
    known: set[str] = set()
    for server in (pg15, pg18):
        known.update(row[0] for row in server.run("postgres", "select name from pg_settings"))
    assert HARMLESS_SETTINGS - known == set()
    forbidden = {
        "DateStyle TimeZone IntervalStyle search_path row_security extra_float_digits bytea_output",
        "lc_messages lc_monetary lc_numeric lc_time client_encoding standard_conforming_strings",
        "idle_session_timeout idle_in_transaction_session_timeout transaction_timeout",
        "default_transaction_isolation transaction_isolation session_replication_role xmloption",
    }
    assert not HARMLESS_SETTINGS & set(" ".join(forbidden).split())


async def test_clocks_that_hide_in_zones_and_casts(each_postgres):
    """K5: a time of day is one of today; a cast through text reads 'now' from data."""
    database = each_postgres.create_database()
    each_postgres.run(
        database,
        "create table t (id int, tm time, txt text)",
        "create table u (id int, at timestamptz)",
        "create domain hour as time",
        "create table h (id int, tm hour)",
    )
    catalog = await load(each_postgres, database)
    assert plan("select at at time zone 'UTC' from u", catalog=catalog).kind is Kind.READ
    assert plan("select tm from t", catalog=catalog).kind is Kind.READ
    for text in (
        "select tm at time zone 'UTC' from t",
        "select tm at time zone 'UTC' from h",
        "select make_time(1, 2, 3) at time zone 'UTC', id from u",
        "select (id::text::time) at time zone 'UTC' from u",
    ):
        assert plan(text, catalog=catalog).reason in (Reason.CLOCK, Reason.CLOCK_CAST), text
    each_postgres.run(database, "create cast (text as timestamptz) with inout as implicit")
    catalog = await load(each_postgres, database)
    found = plan("select id, at < 'x'::text from u", catalog=catalog)
    assert found.reason is Reason.OPAQUE_TYPES


async def test_arrays_of_checked_domains_run_the_check(each_postgres):
    """K5, F9: a literal that meets such a column is read as the domain."""
    database = each_postgres.create_database()
    each_postgres.run(
        database,
        "create table u (v int)",
        "create function chk(int) returns bool language plpgsql as "
        "'begin update u set v = v + 1; return true; end'",
        "create domain dc as int check (chk(value))",
        "create table da (id int, darr dc[])",
        "create table plain (id int)",
    )
    catalog = await load(each_postgres, database)
    found = plan("select id from da where darr @> '{1}'", catalog=catalog)
    assert found.closure == EVERYTHING
    found = plan("prepare p as select '{1}'::dc[]", catalog=catalog)
    assert found.closure == EVERYTHING
    assert plan("select id from plain", catalog=catalog).kind is Kind.READ
