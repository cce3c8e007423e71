"""What writes can change, and what their failure proves (F1, F3, F9, F12)."""

from __future__ import annotations

import pytest

from proxy.catalog.build import build
from proxy.catalog.rows import ExpressionRow, FunctionRow
from proxy.policy.plan import DATABASE, EVERYTHING, NOTHING, Kind
from proxy.reasons import Reason
from tests.unit.catalog.sample import (
    EXPRESSIONS,
    FUNCTIONS,
    PATH,
    STABLE_C,
    VOLATILE_SQL,
    sample_rows,
)
from tests.unit.policy.helpers import OPAQUE, flags, names, plan

KNOWN = {
    "insert into a values (1, 'x')": {"a"},
    "insert into public.a (id) select id from b": {"a"},
    "insert into a (id) values ($1) returning *": {"a"},
    "insert into a values (1) on conflict do nothing": {"a"},
    # Foreign keys: a <- b on delete cascade, b <- c on delete set null, on update cascade.
    "delete from a where id = 1": {"a", "b", "c"},
    "delete from b": {"b", "c"},
    "delete from c": {"c"},
    "update a set name = 'y'": {"a"},
    "update b set id = 2": {"b", "c"},
    "insert into b values (1) on conflict (id) do update set name = excluded.name": {"b", "c"},
    "update a as x set name = y.name from b as y where y.a_id = x.id": {"a"},
    "delete from a using b where a.id = b.a_id": {"a", "b", "c"},
    "update a set name = 'z' where current of cur": {"a"},
    "merge into b using a on a.id = b.a_id when matched then update set name = a.name": {"b", "c"},
    "merge into a using b on true when not matched then insert values (1)": {"a"},
    "merge into a using b on true when matched then delete": {"a", "b", "c"},
    "with x as (insert into a values (1) returning *) select * from x": {"a"},
    "with x as (delete from b returning *), y as (update a set id = 1) insert into uuids "
    "select from x": {"a", "b", "c", "uuids"},
    "select * from a where exists (select 1) union select * from a; delete from c": {"c"},
    "copy a from stdin": {"a"},
    "copy a (id, name) from '/tmp/x' where id > 3": {"a"},
    "copy (delete from c returning *) to stdout": {"c"},
    "truncate a": {"a"},
    "truncate a cascade": {"a", "b", "c", "child_of_triggered"},
    "truncate only c restart identity": {"c"},
    "explain analyze delete from c": {"c"},
    "insert into unlogged values (1)": {"unlogged"},
    "insert into typed values (1, 'sad', 3, '(1,2,3)')": {"typed"},
    "insert into zoned values (1, '10:00')": {"zoned"},
    "insert into uuids values (1)": {"uuids"},
    "insert into searched values (1)": {"searched"},
    "insert into secured values (1)": {"secured"},
    "insert into a values (nextval('numbers'), now()::text, gen_random_uuid()::text)": {"a"},
    "insert into a select * from plain_view": {"a"},
    "insert into a select * from unnest($1::int[], $2::text[])": {"a"},
    # A family of partitions is one granule.
    "insert into parted values (1)": {"parted"},
    "delete from part_1": {"parted"},
    "truncate only part_2": {"parted"},
    "insert into plain_view values (1)": {"a"},
    "delete from plain_view": {"a", "b", "c"},
    "insert into ruled values (1)": {"ruled", "c"},
    "insert into a values (1) returning json_object('a': id)": {"a"},
    "update a set made = 'now'": {"a"},
}


@pytest.mark.parametrize("text", KNOWN)
def test_known_closures(text):
    found = plan(text)
    reason = Reason.CURSOR if "current of" in text else Reason.WRITE
    assert (found.kind, found.reason) == (Kind.WRITE, reason)
    assert names(found) == KNOWN[text]
    assert {"PLAIN", "LOCKS"} <= flags(found)
    assert not flags(found) & (OPAQUE | {"SCHEMA"})


EVERYTHING_IS_WRITTEN = [
    "insert into triggered values (1)",
    "update virtual set id = 1; delete from virtual",  # cascades to a table with a trigger
    "insert into ruled_opaquely values (1)",
    "insert into writing_view values (1)",
    "insert into elsewhere values (1)",
    "insert into defaulted values (1)",
    "insert into indexed values (1)",
    "insert into composed values (1)",
    "insert into nowhere values (1)",
    "insert into a values (writes())",
    "insert into a select * from writing_view",
    "insert into a select * from nowhere",
    "update a set id = says_immutable(2)",
    "delete from a where name %%% 'x'",
    "delete from a using b returning writes()",
    "with x as (insert into triggered values (1)) delete from c",
    "with x as (select writes()) insert into a select * from x",
    "copy a from program 'curl'",
    "copy triggered from stdin",
    "copy (delete from triggered returning *) to stdout",
    "truncate triggered",
    "explain analyze insert into triggered values (1)",
    "select lo_unlink(1) from a",
    "insert into a values (1::no_such_type)",
]


@pytest.mark.parametrize("text", EVERYTHING_IS_WRITTEN)
def test_opaque_writes(text):
    """F9."""
    found = plan(text)
    assert (found.kind, found.reason) == (Kind.WRITE, Reason.WRITE_OPAQUE)
    assert found.closure == EVERYTHING
    assert flags(found) >= OPAQUE
    assert "PLAIN" not in flags(found)


def test_system_catalogs_as_targets():
    found = plan("update pg_catalog.pg_class set relname = 'x'")
    assert found.closure == EVERYTHING
    assert "SCHEMA" in flags(found)
    found = plan("update pg_settings set setting = 'x' where name = 'search_path'")
    assert found.closure == EVERYTHING
    assert {"SETTINGS", "PATH"} <= flags(found)


def test_closures_with_an_unknown_path_cover_every_schema():
    found = plan("insert into a values (1)", path=None)
    assert names(found) == {"a", "other.a"}
    assert names(plan("insert into public.a values (1)", path=None)) == {"a"}


def test_writes_of_temporary_tables():
    found = plan("insert into temporary values (1)", path=("pg_temp_3", *PATH))
    assert names(found) == {"pg_temp_3.temporary"}


SCHEMA_IN_DATABASE = [
    "create table z (id int primary key default 3)",
    "create view z as select * from a",
    "create table z as select * from a",
    "select * into z from a",
    "drop table a",
    "grant select on a to bob",
    "revoke all on a from public",
    "create trigger t before insert on a for each row execute function touch()",
    "create function f() returns int language sql as 'select 1'",
    "create policy p on a using (true)",
    "alter table a rename to y",
    "alter type mood add value 'ok'",
    "create schema z",
]


@pytest.mark.parametrize("text", SCHEMA_IN_DATABASE)
def test_ddl(text):
    """F12: the catalog is read again before the fence falls."""
    found = plan(text)
    assert (found.kind, found.reason, found.closure) == (Kind.WRITE, Reason.DDL, DATABASE)
    assert flags(found) == {"SCHEMA"}


REACHES_BEYOND = [
    "create role x",
    "alter role x set search_path = y",
    "drop role x",
    "grant bob to alice",
    "create database x",
    "drop database x",
    "alter database x set work_mem = '1MB'",
    "alter system set work_mem = '1MB'",
    "create tablespace x location '/x'",
    "drop owned by x",
    "reassign owned by x to y",
    "grant connect on database x to y",
    "create extension hstore",
    "create subscription s connection '' publication p",
    "alter database x owner to y",
    "alter role x rename to y",
    "comment on role x is 'y'",
    "security label on role x is 'y'",
]


@pytest.mark.parametrize("text", REACHES_BEYOND)
def test_commands_of_the_whole_cluster(text):
    """F9: roles, memberships, databases and server settings concern every database."""
    found = plan(text)
    if text.startswith("comment"):
        assert found.closure == NOTHING
    else:
        assert (found.kind, found.closure) == (Kind.WRITE, EVERYTHING)
        assert "SCHEMA" in flags(found)


RUNS_CODE = [
    "alter table a add check (id > 0)",
    "create index on a (name)",
    "create domain z as int check (value > 0)",
    "create table z partition of parted default",
]


@pytest.mark.parametrize("text", RUNS_CODE)
def test_ddl_that_runs_code_is_everything_where_there_is_opaque_code(text):
    assert plan(text).closure == EVERYTHING
    plain = build(sample_rows(functions=[], triggers=[], expressions=[], operators=[]))
    assert not plain.opaque_functions
    assert plan(text, catalog=plain).closure == DATABASE


@pytest.mark.parametrize(
    "text",
    [
        "create table z as select writes()",
        "create table z as execute p",
        "select writes() into z",
        "alter table a alter column name type text using says_immutable(1)",
        "alter table a add column x int default writes()",
        "create materialized view z as select * from writing_view",
        "create table z as with x as (delete from c returning *) select * from x",
    ],
)
def test_ddl_that_names_opaque_code(text):
    found = plan(text)
    assert (found.reason, found.closure) == (Reason.DDL, EVERYTHING)
    assert flags(found) >= OPAQUE | {"SCHEMA"}


def test_refresh_writes_the_materialized_view_alone():
    found = plan("refresh materialized view concurrently matview")
    assert (found.kind, found.reason, names(found)) == (Kind.WRITE, Reason.WRITE, {"matview"})
    assert not flags(found) & {"SCHEMA", "PLAIN"}
    for changes in (
        {"expressions": [ExpressionRow(30015, "v", False, (VOLATILE_SQL,), (30001,))]},
        {"expressions": [ExpressionRow(30015, "v", False, (), (30014,)), *EXPRESSIONS]},
        {"database": (5, True, False)},
        {"casts": [STABLE_C]},
    ):
        catalog = build(sample_rows(**changes))
        text = "refresh materialized view matview"
        assert plan(text, catalog=catalog).closure == EVERYTHING, changes
    assert plan("refresh materialized view nowhere").closure == EVERYTHING


def test_blocks_and_procedures():
    """F3: their closure may be known, but an error of theirs proves nothing."""
    analysed = [
        FunctionRow(21600, "public", "p", 0, 0, "v", "plpgsql", kind="p", source=body)
        for body in (
            "BEGIN DELETE FROM b; END",
            "BEGIN UPDATE a SET id = 1; COMMIT; DELETE FROM c; END",
        )
    ]
    plain, committing = (build(sample_rows(functions=[*FUNCTIONS, row])) for row in analysed)
    for text, catalog, expected, more in (
        ("do $$ begin perform 1; end $$", plain, set(), set()),
        ("do $$ begin delete from b; commit; end $$", plain, {"b", "c"}, {"MAY_COMMIT"}),
        ("do $$ begin call p(); end $$", plain, {"b", "c"}, set()),
        ("do $$ begin call p(); end $$", committing, {"a", "c"}, {"MAY_COMMIT"}),
        ("call p()", plain, {"b", "c"}, set()),
        ("call p()", committing, {"a", "c"}, {"MAY_COMMIT"}),
        ("do $$ begin set work_mem = '1MB'; set x.y = '2'; end $$", plain, set(), set()),
        ("do $$ begin set x.y = '2'; set xmloption = content; end $$", plain, set(), {"SETTINGS"}),
    ):
        found = plan(text, catalog=catalog)
        assert (found.kind, found.reason, names(found, catalog)) == (
            Kind.WRITE,
            Reason.WRITE,
            expected,
        ), text
        assert flags(found) == {"LOCKS", *more}, text
    assert plan("do $$ begin delete from nowhere; end $$").closure == EVERYTHING
    assert plan("do $$ begin create table z (); end $$").closure == EVERYTHING
    assert plan("do $$ begin perform 1; end $$", catalog=None).closure == EVERYTHING


def test_event_triggers_run_at_every_ddl():
    catalog = build(sample_rows(database=(5, True, False)))
    for text in ("create table z ()", "drop table a", "reindex table a"):
        assert plan(text, catalog=catalog).closure == EVERYTHING
        assert flags(plan(text, catalog=catalog)) >= OPAQUE
    assert plan("comment on table a is 'x'", catalog=catalog).closure == EVERYTHING
    assert plan("insert into a values (1)", catalog=catalog).reason is Reason.WRITE


@pytest.mark.parametrize(
    "text",
    [
        "create temp table z (id int)",
        "create temporary table z as select * from a",
        "select * into temp z from a",
        "create temp view z as select * from a",
        "create temp sequence z",
    ],
)
def test_temporary_objects_change_how_names_resolve(text):
    """K4."""
    found = plan(text)
    assert found.closure == DATABASE
    assert flags(found) == {"SCHEMA", "PATH", "SETTINGS"}


def test_only_code_that_may_run_ddl_makes_the_catalog_be_read_again():
    """F12 for code that cannot be seen through: bodies without DDL words cannot change it."""
    static = [row for row in FUNCTIONS if row.language != "c" or row.name == "fast"]
    catalog = build(sample_rows(functions=static))
    assert "SCHEMA" not in flags(plan("select writes()", catalog=catalog))
    assert "SCHEMA" not in flags(plan("do $$ begin perform writes(); end $$", catalog=catalog))
    assert "SCHEMA" not in flags(plan("call p()", catalog=catalog))
    assert "SCHEMA" in flags(plan("do $$ begin execute 'drop table a'; end $$"))
    assert "SCHEMA" in flags(plan("do language plpython3u $$ x $$"))
    dynamic = [row._replace(dynamic=row.name == "writes") for row in FUNCTIONS]
    catalog = build(sample_rows(functions=dynamic))
    assert "SCHEMA" in flags(plan("select writes()", catalog=catalog))
    assert plan("select writes()", catalog=catalog).dropped is None
    assert "SCHEMA" in flags(plan("insert into triggered values (1)", catalog=catalog))
    assert "SCHEMA" not in flags(plan("insert into a values (1)", catalog=catalog))


def test_maintenance_runs_index_expressions():
    for text in ("vacuum a", "analyze", "reindex table a", "cluster a using a_pkey"):
        assert plan(text).closure == EVERYTHING
        plain = build(sample_rows(expressions=[]))
        found = plan(text, catalog=plain)
        assert (found.kind, found.reason, found.closure) == (Kind.OTHER, Reason.UTILITY, NOTHING)


def test_defaults_that_change_the_session_say_so():
    """K3."""
    rows = sample_rows(
        expressions=[ExpressionRow(30001, "d", False, (2078,))],
        builtin_oids=[(2078, "set_config", "v", 3, False)],
    )
    found = plan("insert into a values (1)", catalog=build(rows))
    assert "a" in names(found) or found.closure == EVERYTHING
    assert flags(found) >= {"SETTINGS", "PATH", "LOCKS"}


def test_checks_of_domains():
    """A domain's check runs wherever text becomes a row or the domain."""
    rows = sample_rows(expressions=[ExpressionRow(20002, "t", False, (21002,))])
    catalog = build(rows)
    assert catalog.opaque_domains
    for text in (
        "insert into typed values (1)",
        "insert into a values (1::positive)",
        "select * from json_populate_record(null::typed, '{}')",
        "select x from a, json_to_record('{}') as x(y positive)",
    ):
        assert plan(text, catalog=catalog).closure == EVERYTHING, text
    assert plan("insert into a values (1)", catalog=catalog).reason is Reason.WRITE


def test_texts_of_several_statements():
    found = plan("insert into c values (1); update a set id = 2")
    assert names(found) == {"a", "c"}
    assert flags(found) == {"PLAIN", "LOCKS", "SEVERAL"}
    found = plan("begin; insert into c values (1); commit")
    assert (found.kind, names(found)) == (Kind.WRITE, {"c"})
    assert flags(found) == {"LOCKS", "SEVERAL", "MAY_COMMIT"}
    found = plan("insert into c values (1); select writes()")
    assert found.closure == EVERYTHING
    assert found.reason is Reason.WRITE_OPAQUE
    assert "PLAIN" not in flags(found)
    found = plan("create table z (); insert into z values (1)")
    assert found.closure == EVERYTHING
    assert "SCHEMA" in flags(found)


def test_what_one_statement_changes_the_next_one_sees():
    found = plan("set search_path = other; insert into a values (1)")
    assert names(found) == {"a", "other.a"}
    found = plan("select set_config('search_path', 'other', true); delete from only_other")
    assert names(found) == {"other.only_other"}
    found = plan("create trigger t after insert on c execute function touch(); delete from c")
    assert found.closure == EVERYTHING


def test_refused_texts_are_everything():
    found = plan("select from where")
    assert (found.kind, found.reason, found.closure) == (
        Kind.WRITE,
        Reason.UNPARSABLE,
        EVERYTHING,
    )
    assert flags(found) >= OPAQUE | {"SCHEMA", "ISOLATION"}
    assert found.dropped is None
    assert plan("START_REPLICATION SLOT x LOGICAL 0/0").closure == EVERYTHING
    assert plan("IDENTIFY_SYSTEM").closure == EVERYTHING


def test_commit_prepared_is_everything():
    found = plan("commit prepared 'x'")
    assert (found.kind, found.closure) == (Kind.WRITE, EVERYTHING)
    assert {"SCHEMA", "MAY_COMMIT"} <= flags(found)
    assert plan("rollback prepared 'x'").closure == NOTHING


def test_calls_that_older_servers_see():
    """On a server before 16 `json_array(1)` may be a user's function."""
    rows = sample_rows(functions=[*FUNCTIONS, FUNCTIONS[1]._replace(oid=21999, name="json_array")])
    text = "insert into a values (1, json_array(1)::text)"
    assert plan(text).reason is Reason.WRITE
    assert plan(text, catalog=build(rows)).closure == EVERYTHING
