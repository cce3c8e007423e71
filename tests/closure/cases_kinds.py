"""Relations that are no plain tables, what a session owns, and what spans the database.

`KINDS` live with the other rows. `APART` have a database of their own: extensions, casts,
foreign servers and event triggers concern every statement of the database they are in.
"""

# A row is a line, however long.
# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from tests.closure.case import In, T, U, ddl, idle, never, opaque, write

UPD = "UPDATE {s}.t SET v = v + 1"

KINDS = [
    never("unlogged", "SELECT * FROM {s}.ul ORDER BY id", "INSERT INTO {s}.ul VALUES ({n})", setup="CREATE UNLOGGED TABLE {s}.ul (id int)", why="unlogged: a crash empties it"),
    never("unlogged_in_join", "SELECT t.id, t.v FROM {s}.t JOIN {s}.ul USING (id) ORDER BY 1", UPD, setup="CREATE UNLOGGED TABLE {s}.ul (id int); INSERT INTO {s}.ul VALUES (1)", why="unlogged: a crash empties it"),
    write("unlogged_written", "INSERT INTO {s}.ul VALUES ({n})", setup="CREATE UNLOGGED TABLE {s}.ul (id int)", changes=False, stays=True),
    never("sequence", "SELECT last_value FROM {s}.sq", "SELECT nextval('{s}.sq'), setval('{s}.sq', {n} + 50)", setup="CREATE SEQUENCE {s}.sq", why="a sequence has no transactions"),
    never("sequence_current", "SELECT last_value, v FROM {s}.sq, {s}.t WHERE t.id = 1", UPD, setup="CREATE SEQUENCE {s}.sq", why="a sequence has no transactions"),
    never("catalog", "SELECT count(*) FROM pg_class WHERE relnamespace = '{s}'::regnamespace", "CREATE TABLE {s}.n{n} ()", why="a catalog"),
    never("catalog_view", "SELECT count(*) FROM pg_tables WHERE schemaname = '{s}'", "CREATE TABLE {s}.n{n} ()", why="a catalog"),
    never("information_schema", "SELECT count(*) FROM information_schema.tables WHERE table_schema = '{s}'", "CREATE TABLE {s}.n{n} ()", why="a catalog"),
    never("catalog_function", "SELECT to_regclass('{s}.n{n}') IS NULL, sum(v) FROM {s}.t", "CREATE TABLE {s}.n{n} ()", why="it looks into a catalog"),
    never("catalog_cast", "SELECT '{s}.t'::regclass::text, sum(v) FROM {s}.t", UPD, why="the cast looks into a catalog"),
    never("statistics", "SELECT n_live_tup >= 0, (SELECT sum(v) FROM {s}.t) FROM pg_stat_user_tables WHERE relname = 't' AND schemaname = '{s}'", UPD, why="statistics move by themselves"),
    never("privilege_function", "SELECT has_table_privilege('alice', '{s}.t', 'SELECT')", "GRANT SELECT ON {s}.t TO alice", undo=("REVOKE SELECT ON {s}.t FROM alice",), why="it looks into a catalog"),
    never("size_function", "SELECT pg_relation_size('{s}.t') > 0, sum(v) FROM {s}.t", UPD, why="it looks at files"),
    never("temporary_own", "SELECT id + 0 FROM tmp ORDER BY 1", UPD, session=("CREATE TEMP TABLE tmp (id int)",), changes=False, why="temporary"),
    never("temporary_hides", "SELECT id + 0 FROM u ORDER BY 1", "UPDATE {s}.u SET v = v + 1", session=("SET search_path = {s}", "CREATE TEMP TABLE u AS SELECT 0 AS id"), changes=False, why="temporary"),
    idle("temporary_of_others", "CREATE TEMP TABLE tmp (id int)", "INSERT INTO tmp VALUES (1)", "DROP TABLE tmp", kept=False, stays=False, ddl=True, why="CREATE and DROP are DDL, whatever they make"),
    never("tablesample", "SELECT count(*) FROM {s}.t TABLESAMPLE SYSTEM (100)", "DELETE FROM {s}.t WHERE id = {n}", why="a sample"),
    never("for_share", "SELECT * FROM {s}.t ORDER BY id FOR SHARE", UPD, why="it takes locks"),
    never("storage_columns", "SELECT ctid, xmin, * FROM {s}.t ORDER BY id", UPD, why="where a row lies is no data"),
    never("table_oid", "SELECT tableoid = '{s}.t'::regclass::oid, v FROM {s}.t ORDER BY id", UPD, why="the cast looks into a catalog"),
    never("clock_in_default_zone", "SELECT v, now() IS NULL FROM {s}.t ORDER BY id", UPD, why="the clock"),
    never("literal_today", "SELECT id, v FROM {s}.t WHERE date 'today' > '2020-01-01' ORDER BY id", UPD, why="the clock, in a literal"),
    never("copy_out_is_relayed", "COPY (SELECT * FROM {s}.t ORDER BY id) TO STDOUT", UPD, why="COPY"),
    write("generated_stored", "UPDATE {s}.g SET v = v + 1", setup="CREATE TABLE {s}.g (v int, w int GENERATED ALWAYS AS (v * 2) STORED); INSERT INTO {s}.g VALUES (1)", reads=("SELECT w FROM {s}.g",)),
    write("generated_virtual", "UPDATE {s}.g SET v = v + 1", setup="CREATE TABLE {s}.g (v int, w int GENERATED ALWAYS AS (v * 2) VIRTUAL); INSERT INTO {s}.g VALUES (1)", reads=("SELECT w FROM {s}.g", "SELECT * FROM {s}.g"), since=18),
    write("no_columns", "INSERT INTO {s}.z DEFAULT VALUES", setup="CREATE TABLE {s}.z ()", reads=("SELECT * FROM {s}.z", "SELECT count(*) FROM {s}.z")),
    write("settings_in_the_key", UPD, session=("SET TimeZone = 'Asia/Tokyo'", "SET DateStyle = 'German'"), setup="ALTER TABLE {s}.t ADD at timestamptz DEFAULT '2024-01-01 00:00+00'"),
    write("role_reads_for_itself", UPD, setup="GRANT SELECT ON {s}.t TO alice", role="alice"),
    write("role_by_membership", UPD, setup="GRANT SELECT ON {s}.t TO carol", role="bob"),
    write("role_set", UPD, setup="GRANT SELECT ON {s}.t TO carol", role="bob", session=("SET ROLE carol",)),
    write("written_by_another_role", In("alice:1", UPD), setup="GRANT UPDATE, SELECT ON {s}.t TO alice"),
    write("refused_to_another_role", In("alice:1", UPD), error="42501", changes=False, stays=True),
    write("written_with_role_set", In("postgres:1", "SET ROLE alice"), In("postgres:1", UPD), setup="GRANT UPDATE, SELECT ON {s}.t TO alice"),
    write("written_as_replica", In("postgres:1", "SET session_replication_role = replica"), In("postgres:1", "UPDATE {s}.u SET v = v + 1"), setup="CREATE FUNCTION {s}.tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE {s}.t SET v = v + 1; RETURN NULL; END'; CREATE TRIGGER tr AFTER UPDATE ON {s}.u EXECUTE FUNCTION {s}.tf(); ALTER TABLE {s}.u ENABLE REPLICA TRIGGER tr", reads=(T, U)),
    write("written_with_other_strings", In("postgres:1", "SET standard_conforming_strings = off"), In("postgres:1", "UPDATE {s}.t SET v = v + length('\\'')"), kept=False, why="text is not analysed under this setting"),
    write("updated_pg_settings", "UPDATE pg_settings SET setting = setting WHERE name = 'work_mem'", changes=False, kept=False, why="a write to a catalog; rare"),
    write("large_object", "SELECT lo_unlink(lo_create(0)) > 0", changes=False, kept=False, why="large objects count as opaque; rare"),
]

FDW = """
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
CREATE SERVER {s} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname '{d}');
CREATE USER MAPPING FOR postgres SERVER {s} OPTIONS (user 'postgres');
CREATE FOREIGN TABLE {s}.ft (id int, v int) SERVER {s} OPTIONS (schema_name '{s}', table_name 't');
"""
EVENT = """
CREATE FUNCTION {s}.ef() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN
    UPDATE {s}.t SET v = v + 1; END$$;
"""
APART = [
    write("citext", "UPDATE {s}.x SET v = v || 'A'", setup="CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE {s}.x (v citext); INSERT INTO {s}.x VALUES ('a')", reads=("SELECT v, v = 'AA' FROM {s}.x",)),
    write("hstore", "UPDATE {s}.x SET v = v || 'n=>{n}'", setup="CREATE EXTENSION IF NOT EXISTS hstore; CREATE TABLE {s}.x (v hstore); INSERT INTO {s}.x VALUES ('a=>1')", reads=("SELECT v -> 'n', v ? 'a' FROM {s}.x", "SELECT v FROM {s}.x")),
    write("trigrams", "UPDATE {s}.x SET v = v || 'b'", setup="CREATE EXTENSION IF NOT EXISTS pg_trgm; CREATE TABLE {s}.x (v text); INSERT INTO {s}.x VALUES ('word')", reads=("SELECT v, similarity(v, 'word') FROM {s}.x",)),
    write("intarray", "UPDATE {s}.x SET v = v || {n}", setup="CREATE EXTENSION IF NOT EXISTS intarray; CREATE TABLE {s}.x (v int[]); INSERT INTO {s}.x VALUES ('{1}')", reads=("SELECT icount(v), v && '{1}' FROM {s}.x",)),
    write("tables_beside_extensions", UPD),
    never("crosstab", "SELECT * FROM crosstab('SELECT id, 1, v FROM {s}.t ORDER BY 1') AS c (id int, a int)", UPD, setup="CREATE EXTENSION IF NOT EXISTS tablefunc", why="SQL in an argument"),
    never("dblink", "SELECT * FROM dblink('dbname={d} host=127.0.0.1 port={port} user=postgres', 'SELECT sum(v) FROM {s}.t') AS x (n bigint)", UPD, setup="CREATE EXTENSION IF NOT EXISTS dblink", why="another connection"),
    opaque("dblink_writes", "SELECT dblink_exec('dbname={d} host=127.0.0.1 port={port} user=postgres', 'UPDATE {s}.t SET v = v + 1')", setup="CREATE EXTENSION IF NOT EXISTS dblink", why="another connection"),
    never("foreign_table", "SELECT * FROM {s}.ft ORDER BY id", UPD, setup=FDW, why="another server"),
    opaque("foreign_table_loops_back", "UPDATE {s}.ft SET v = v + 1", setup=FDW, why="another server, which may be this one"),
    opaque("foreign_table_inserted", "INSERT INTO {s}.ft VALUES (20 + {n}, 1)", setup=FDW, why="another server, which may be this one"),
    opaque("foreign_partition_written", "INSERT INTO {s}.p VALUES (20 + {n}, 1)", setup=FDW + "CREATE TABLE {s}.p (id int, v int) PARTITION BY RANGE (id); ALTER TABLE {s}.p ATTACH PARTITION {s}.ft DEFAULT", why="another server, which may be this one"),
    never("foreign_partition_read", "SELECT * FROM {s}.p ORDER BY id", UPD, setup=FDW + "CREATE TABLE {s}.p (id int, v int) PARTITION BY RANGE (id); ALTER TABLE {s}.p ATTACH PARTITION {s}.ft DEFAULT", why="another server"),
    ddl("extension_made_and_dropped", "CREATE EXTENSION seg SCHEMA {s}", "DROP EXTENSION seg", changes=False),
    ddl("extension_moved", "ALTER EXTENSION cube SET SCHEMA {s}", setup="CREATE EXTENSION IF NOT EXISTS cube SCHEMA public; CREATE TABLE {s}.x AS SELECT 1 AS id, public.cube(1) AS v", reads=("SELECT id, cube_dim(v) FROM {s}.x",), undo=("ALTER EXTENSION cube SET SCHEMA public",), hit_after=False, why="the name is gone"),
    ddl("event_trigger_writes", "CREATE TABLE {s}.n{n} ()", setup=EVENT + "CREATE EVENT TRIGGER {s} ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION {s}.ef()"),
    ddl("event_trigger_made", "CREATE EVENT TRIGGER {s} ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION {s}.ef()", "CREATE VIEW {s}.vw{n} AS SELECT 1 AS a", setup=EVENT, undo=("DROP EVENT TRIGGER {s}",)),
    ddl("event_trigger_on_drop", "DROP TABLE {s}.n{n}", setup=EVENT + "CREATE TABLE {s}.n1 (); CREATE TABLE {s}.n2 (); CREATE TABLE {s}.n3 (); CREATE TABLE {s}.n4 (); CREATE EVENT TRIGGER {s} ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION {s}.ef()"),
    ddl("cast_made", "CREATE CAST ({s}.en AS int) WITH FUNCTION {s}.f({s}.en) AS IMPLICIT", "DROP CAST ({s}.en AS int)", setup="CREATE TYPE {s}.en AS ENUM ('a'); CREATE TABLE {s}.x (m {s}.en); INSERT INTO {s}.x VALUES ('a'); CREATE FUNCTION {s}.f({s}.en) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 7'", reads=("SELECT m::text FROM {s}.x", T), changes=False),
    ddl("cast_reads", UPD, "CREATE CAST ({s}.en AS bigint) WITH FUNCTION {s}.f({s}.en)", "SELECT m::bigint FROM {s}.x", "DROP CAST ({s}.en AS bigint)", setup="CREATE TYPE {s}.en AS ENUM ('a'); CREATE TABLE {s}.x (m {s}.en); INSERT INTO {s}.x VALUES ('a'); CREATE FUNCTION {s}.f({s}.en) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT sum(v) FROM {s}.t'", reads=("SELECT m::bigint FROM {s}.x",), cacheable=False, hit_after=False, changes=False, why="an error before and after is not kept"),
    ddl("database_setting", "ALTER DATABASE {d} SET my.own = '{n}'", changes=False, undo=("ALTER DATABASE {d} RESET my.own",)),
    ddl("system_setting", "ALTER SYSTEM SET log_min_messages = 'error'", changes=False, undo=("ALTER SYSTEM RESET log_min_messages",)),
    ddl("role_made", "CREATE ROLE {s}_{n}", "DROP ROLE {s}_{n}", changes=False),
    ddl("text_search_configuration", "ALTER TEXT SEARCH CONFIGURATION {s}.cf ALTER MAPPING FOR asciiword WITH english_stem", setup="CREATE TEXT SEARCH CONFIGURATION {s}.cf (COPY = simple); CREATE TABLE {s}.x AS SELECT 'running'::text AS v", reads=("SELECT to_tsvector('{s}.cf', v) FROM {s}.x",), undo=("ALTER TEXT SEARCH CONFIGURATION {s}.cf ALTER MAPPING FOR asciiword WITH simple",)),
    ddl("collation_made", "CREATE COLLATION {s}.co{n} FROM \"C\"", changes=False),
]
