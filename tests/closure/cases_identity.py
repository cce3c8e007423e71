"""Whose answer it is: row security, roles and settings that an answer is made of (K1, K2).

Policies are met as alice, who owns nothing, unless a row says so. That sessions with
other settings or roles get other answers is shown in `tests/differential`; here it is
shown that what a policy reads is part of the closure, and that its change is found.
"""

# A row is a line, however long.
# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from tests.closure.case import Case, In, T, ddl, never, write

UPD = "UPDATE {s}.t SET v = v + 1"
OUT = "DELETE FROM {s}.u WHERE id = {n}"
VW = "SELECT * FROM {s}.vw ORDER BY id"
RLS = "ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY; GRANT SELECT ON {s}.t, {s}.u TO alice;"
FIRST = "CREATE POLICY p ON {s}.t USING (id < 4);"
COUNT_U = "CREATE FUNCTION {s}.f() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM {s}.u';"


def p(name: str, condition: str, act: str = UPD, setup: str = "", **more: object) -> Case:
    """A read under one policy, and a write that changes what it lets through."""
    policy = f"CREATE POLICY p ON {{s}}.t USING ({condition});"
    return write(f"policy_{name}", act, setup=RLS + setup + policy, **({"role": "alice"} | more))


POLICIES = [
    p("constant", "id < 4"),
    p("of_other_table", "id IN (SELECT id FROM {s}.u)", OUT),
    p("of_aggregate", "v > (SELECT min(x.v) / 10 FROM {s}.u x)", "UPDATE {s}.u SET v = v + 10"),
    p("of_function", "id < {s}.f()", OUT, COUNT_U),
    p("of_pl_function", "id < {s}.f()", OUT, "CREATE FUNCTION {s}.f() RETURNS bigint STABLE LANGUAGE plpgsql SECURITY DEFINER SET search_path = {s} AS 'BEGIN RETURN (SELECT count(*) FROM u); END';"),
    p("of_user", "(current_user, session_user, user) = ('alice', 'alice', 'alice') AND id < 4"),
    p("of_setting", "id > current_setting('app.least', true)::int", session=("SET app.least = '2'",)),
    p("of_setting_unset", "current_setting('app.nobody', true) IS NULL"),
    p("of_two_settings", "id > current_setting('app.least')::int AND v < current_setting('app.a.most')::int", session=("SET app.least = '2'", "SELECT set_config('app.a.most', '50', false)")),
    p("of_setting_in_function", "id > {s}.f()", setup="CREATE FUNCTION {s}.f() RETURNS int STABLE LANGUAGE sql AS $$SELECT current_setting('app.least', true)::int$$;", session=("SET app.least = '3'",)),
    p("of_secured_table", "id IN (SELECT id FROM {s}.u)", OUT, "ALTER TABLE {s}.u ENABLE ROW LEVEL SECURITY; CREATE POLICY q ON {s}.u USING (id > current_setting('app.least', true)::int);", session=("SET app.least = '0'",)),
    p("of_view", "id IN (SELECT id FROM {s}.vw)", OUT, "CREATE VIEW {s}.vw AS SELECT id FROM {s}.u WHERE id < 7; GRANT SELECT ON {s}.vw TO alice;"),
    p("for_all_roles", "id < 4", role="bob", setup="GRANT SELECT ON {s}.t TO bob;"),
    p("of_superuser", "id < 4", role="postgres"),
    p("of_owner", "id < 4", setup="ALTER TABLE {s}.t OWNER TO alice;"),
    p("of_owner_forced", "id < 4", setup="ALTER TABLE {s}.t OWNER TO alice; ALTER TABLE {s}.t FORCE ROW LEVEL SECURITY;"),
    p("by_role_set", "current_user = 'carol' AND session_user = 'bob'", setup="GRANT SELECT ON {s}.t TO carol;", role="bob", session=("SET ROLE carol",)),
    p("beside_that_of_writers", "id < 5", setup="CREATE POLICY w ON {s}.t FOR UPDATE USING (now() IS NOT NULL) WITH CHECK (random() < 2);"),
    p("restrictive", "id < 5", setup="CREATE POLICY r ON {s}.t AS RESTRICTIVE USING (id IN (SELECT id FROM {s}.u));", act=OUT),
    p("without_any", "id < 5", setup="CREATE POLICY r ON {s}.t AS RESTRICTIVE FOR SELECT TO alice USING (false);", changes=False),
    p("in_view", "id < 4", setup="CREATE VIEW {s}.vw AS SELECT * FROM {s}.t; ALTER VIEW {s}.vw OWNER TO bob; GRANT SELECT ON {s}.t TO bob; GRANT SELECT ON {s}.vw TO alice;", reads=(VW,)),
    p("in_invoker_view", "id < 4 AND current_user = 'alice'", setup="CREATE VIEW {s}.vw WITH (security_invoker) AS SELECT * FROM {s}.t; GRANT SELECT ON {s}.vw TO alice;", reads=(VW,), since=15),
    p("in_barrier_view", "id < 4", setup="CREATE VIEW {s}.vw WITH (security_barrier) AS SELECT * FROM {s}.t WHERE v > 1; ALTER VIEW {s}.vw OWNER TO bob; GRANT SELECT ON {s}.t TO bob; GRANT SELECT ON {s}.vw TO alice;", reads=(VW,)),
    p("in_definer_function", "id < 4", setup="CREATE FUNCTION {s}.f() RETURNS bigint STABLE SECURITY DEFINER LANGUAGE sql SET search_path = {s} AS 'SELECT sum(v) FROM t'; ALTER FUNCTION {s}.f() OWNER TO bob; GRANT SELECT ON {s}.t TO bob;", reads=("SELECT {s}.f()",)),
    p("in_join", "id < 6", OUT, reads=("SELECT t.id, u.v FROM {s}.t JOIN {s}.u USING (id) ORDER BY 1",)),
    p("in_subquery", "id < 4", reads=("SELECT id, v + (SELECT sum(v) FROM {s}.t) FROM {s}.u ORDER BY 1",)),
    p("of_partitions", "true", "UPDATE {s}.q SET v = v + 1", "CREATE TABLE {s}.q (id int, v int) PARTITION BY LIST (id); CREATE TABLE {s}.q1 PARTITION OF {s}.q FOR VALUES IN (1, 2); CREATE TABLE {s}.q2 PARTITION OF {s}.q DEFAULT; INSERT INTO {s}.q SELECT i, i FROM generate_series(1, 4) i; ALTER TABLE {s}.q ENABLE ROW LEVEL SECURITY; ALTER TABLE {s}.q1 ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON {s}.q USING (id <> 2); CREATE POLICY p ON {s}.q1 USING (id = current_setting('app.id', true)::int); GRANT SELECT ON {s}.q, {s}.q1, {s}.q2 TO alice;", session=("SET app.id = '2'",), reads=tuple(f"SELECT * FROM {{s}}.{table} ORDER BY id" for table in ("q", "q1", "q2"))),
    p("of_partitions_reads", "true", OUT, "CREATE TABLE {s}.q (id int, v int) PARTITION BY LIST (id); CREATE TABLE {s}.q1 PARTITION OF {s}.q DEFAULT; INSERT INTO {s}.q SELECT i, i FROM generate_series(1, 4) i; ALTER TABLE {s}.q ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON {s}.q USING (id IN (SELECT id FROM {s}.u)); GRANT SELECT ON {s}.q TO alice;", reads=("SELECT * FROM {s}.q ORDER BY id",)),
    p("of_parent", "id < 5", "UPDATE {s}.c SET v = v + 1", "CREATE TABLE {s}.c () INHERITS ({s}.t); INSERT INTO {s}.c VALUES (3, 3), (9, 9);"),
    write("policy_filters_a_write", In("alice:1", UPD), setup=RLS + FIRST + "GRANT UPDATE ON {s}.t TO alice"),
    write("policy_calls_what_writes", In("alice:1", "SELECT count(*) FROM {s}.t"), setup=RLS + "CREATE TABLE {s}.seen (id int); GRANT ALL ON {s}.seen TO alice; CREATE FUNCTION {s}.f(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO {s}.seen VALUES ($1); RETURN true; END'; CREATE POLICY p ON {s}.t USING ({s}.f(id))", reads=("SELECT count(*) FROM {s}.seen",)),
    never("policy_that_writes", T, UPD, setup=RLS + "CREATE TABLE {s}.seen (id int); GRANT ALL ON {s}.seen TO alice; CREATE FUNCTION {s}.f(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO {s}.seen VALUES ($1); RETURN true; END'; CREATE POLICY p ON {s}.t USING ({s}.f(id))", role="alice", why="each read writes"),
    never("policy_of_clock", T, UPD, setup=RLS + "CREATE POLICY p ON {s}.t USING (now() > '2020-01-01')", role="alice", why="the clock"),
    never("policy_of_computed_setting", T, UPD, setup=RLS + "CREATE POLICY p ON {s}.t USING (current_setting('app.' || 'x', true) IS NULL)", role="alice", why="a setting whose name is not known before it is read"),
    never("policy_of_liar", T, UPD, setup=RLS + "CREATE FUNCTION {s}.f() RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT current_setting('app.x', true)$$; CREATE POLICY p ON {s}.t USING ({s}.f() IS NULL)", role="alice", why="PostgreSQL folds it into plans"),
    never("policy_of_privileges", T, UPD, setup=RLS + "CREATE POLICY p ON {s}.t USING (pg_has_role('carol', 'usage') OR id < 3)", role="alice", why="it looks into a catalog"),
    never("policy_turned_off", T, UPD, setup=RLS + FIRST, role="alice", session=("SET row_security = off",), changes=False, why="an error is not kept"),
]

ASKED = [
    write("asks_who_and_where", UPD, setup="GRANT SELECT ON {s}.t TO carol", role="bob", session=("SET ROLE carol", "SET search_path = {s}"), reads=("SELECT current_user, session_user, user, current_role, current_catalog, current_database(), current_schema, current_schema(), v FROM {s}.t ORDER BY id",)),
    write("asks_for_settings", UPD, session=("SET app.x = '1'", "SET work_mem = '5MB'"), reads=("SELECT current_setting('app.x'), current_setting('work_mem'), current_setting('TimeZone'), current_setting('app.none', true), v FROM {s}.t ORDER BY id",)),
    write("view_of_settings", UPD, session=("SET app.x = '1'",), setup="CREATE VIEW {s}.vw AS SELECT id, v, current_setting('app.x', true) AS x, current_user FROM {s}.t", reads=(VW,)),
    never("asks_for_schemas", "SELECT current_schemas(true), v FROM {s}.t ORDER BY id", UPD, why="an empty temporary schema is in no key"),
    never("asks_for_the_transaction", "SELECT current_setting('transaction_isolation'), v FROM {s}.t ORDER BY id", UPD, why="it belongs to the transaction"),
    never("asks_a_library", "SELECT current_setting('plpgsql.extra_errors', true), v FROM {s}.t ORDER BY id", UPD, why="loading a library gives it a value"),
    never("f_setting_liar", "SELECT {s}.f(), v FROM {s}.t ORDER BY id", UPD, setup="CREATE FUNCTION {s}.f() RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT current_setting('app.x', true)$$", why="PostgreSQL folds it into plans"),
    never("f_user_liar", "SELECT {s}.f(), v FROM {s}.t ORDER BY id", UPD, setup="CREATE FUNCTION {s}.f() RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN current_user; END'", why="PostgreSQL folds it into plans"),
    never("f_schema_of_pg_temp", "SELECT {s}.f() IS NULL, v FROM {s}.t ORDER BY id", UPD, setup="CREATE FUNCTION {s}.f() RETURNS text STABLE LANGUAGE sql SET search_path = {s}, pg_temp AS 'SELECT current_schema()::text'", why="a temporary schema has a number"),
]

IDENTITY = POLICIES + ASKED
#: They make every composite type doubtful, so they are apart.
DOMAINS = [
    never("domain_of_user", "SELECT 'x'::{s}.dom, v FROM {s}.t ORDER BY id", UPD, setup="CREATE DOMAIN {s}.dom AS text CHECK (value <> current_user)", why="the check of a domain asks for the session"),
    never("domain_of_clock", "SELECT '2020-01-01'::{s}.dom, v FROM {s}.t ORDER BY id", UPD, setup="CREATE DOMAIN {s}.dom AS date CHECK (value <= current_date)", why="the check of a domain reads the clock"),
]

BY_ALICE = {"setup": RLS + FIRST, "role": "alice"}
ALT = "ALTER TABLE {s}.t "
#: Changes of the schema, for the group of those.
RIGHTS = [
    ddl("policy_replaced", "ALTER POLICY p ON {s}.t USING (id = {n})", **BY_ALICE),
    ddl("policy_made", "CREATE POLICY p{n} ON {s}.t USING (id = 4 + {n} % 2)", **BY_ALICE),
    ddl("policy_dropped", "DROP POLICY p ON {s}.t", **BY_ALICE, undo=(FIRST,)),
    ddl("policy_for_others", "ALTER POLICY p ON {s}.t TO bob", **BY_ALICE, undo=("ALTER POLICY p ON {s}.t TO PUBLIC",)),
    ddl("policy_renamed", "ALTER POLICY p ON {s}.t RENAME TO p{n}", **BY_ALICE, undo=("ALTER POLICY p{n} ON {s}.t RENAME TO p",), changes=False),
    ddl("row_security_disabled", ALT + "DISABLE ROW LEVEL SECURITY", **BY_ALICE, undo=(ALT + "ENABLE ROW LEVEL SECURITY",)),
    ddl("row_security_enabled", ALT + "ENABLE ROW LEVEL SECURITY", setup=RLS + ALT + "DISABLE ROW LEVEL SECURITY", role="alice", undo=(ALT + "DISABLE ROW LEVEL SECURITY",)),
    ddl("row_security_forced", ALT + "FORCE ROW LEVEL SECURITY", setup=RLS + FIRST + ALT + "OWNER TO alice", role="alice", undo=(ALT + "NO FORCE ROW LEVEL SECURITY",)),
    ddl("role_bypasses", "ALTER ROLE alice BYPASSRLS", **BY_ALICE, undo=("ALTER ROLE alice NOBYPASSRLS",)),
    ddl("policy_owner_changed", ALT + "OWNER TO alice", **BY_ALICE, undo=(ALT + "OWNER TO postgres", "GRANT SELECT ON {s}.t TO alice")),
    ddl("view_owner_changed", "ALTER VIEW {s}.vw OWNER TO bob", setup=RLS + FIRST + "CREATE VIEW {s}.vw AS SELECT * FROM {s}.t; GRANT SELECT ON {s}.t TO bob; GRANT SELECT ON {s}.vw TO alice", role="alice", reads=(VW,), undo=("ALTER VIEW {s}.vw OWNER TO postgres",)),
    ddl("view_made_invoking", "ALTER VIEW {s}.vw SET (security_invoker = true)", setup=RLS + FIRST + "CREATE VIEW {s}.vw AS SELECT * FROM {s}.t; GRANT SELECT ON {s}.vw TO alice", role="alice", reads=(VW,), undo=("ALTER VIEW {s}.vw SET (security_invoker = false)",), since=15),
    ddl("function_made_definer", "ALTER FUNCTION {s}.f() SECURITY DEFINER", setup=RLS + FIRST + "CREATE FUNCTION {s}.f() RETURNS bigint STABLE LANGUAGE sql SET search_path = {s} AS 'SELECT sum(v) FROM t'", role="alice", reads=("SELECT {s}.f()",), undo=("ALTER FUNCTION {s}.f() SECURITY INVOKER",)),
    ddl("policy_function_replaced", "CREATE OR REPLACE FUNCTION {s}.f() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT {n}::bigint'", setup=RLS + COUNT_U + "CREATE POLICY p ON {s}.t USING (id < {s}.f())", role="alice"),
    ddl("membership_for_policy", "GRANT carol TO alice", setup=RLS + "CREATE POLICY p ON {s}.t TO carol USING (true)", role="alice", undo=("REVOKE carol FROM alice",)),
]
