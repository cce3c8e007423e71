"""What the sessions of the state machine say: the schema, and texts by kind.

What lives here: data only.

Rows are written by the session that they belong to, so that nobody waits for another:
{n} stands for its number, 0 to 3. {side} is one letter, another for each twin: names of
prepared transactions are shared by all databases of a server.
"""

from __future__ import annotations

SCHEMA = """
CREATE SCHEMA a; CREATE SCHEMA b;
CREATE TABLE public.t (id int PRIMARY KEY, v text);
INSERT INTO public.t SELECT i, 'row ' || i FROM generate_series(0, 7) AS i;
CREATE TABLE a.t (id int PRIMARY KEY, v text);
INSERT INTO a.t SELECT i, 'of a ' || i FROM generate_series(0, 7) AS i;
CREATE TABLE public.times (id int, tsz timestamptz, d date, b bytea);
INSERT INTO public.times VALUES (1, '2024-03-04 05:06:07+00', '2024-03-04', '\\x00ff');
CREATE TABLE public.docs (id int PRIMARY KEY, owner name, tenant text, v text);
INSERT INTO public.docs VALUES
    (0, 'carol', '1', 'first of carol'), (1, 'bob', '1', 'first of bob'),
    (2, 'alice', '2', 'of alice'), (3, 'carol', '2', 'second of carol');
ALTER TABLE public.docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.docs USING (
    owner = current_user OR tenant = current_setting('app.tenant', true));
CREATE TABLE public.secret (v text); INSERT INTO public.secret VALUES ('secret');
CREATE TABLE public.of_carol (v text); INSERT INTO public.of_carol VALUES ('for carol');
CREATE TABLE public.log (id int, n int DEFAULT 0);
INSERT INTO public.log SELECT i, 0 FROM generate_series(0, 3) AS i;
CREATE SEQUENCE public.numbers;
CREATE VIEW public.seen AS SELECT id, v FROM public.t WHERE id < 4;
CREATE VIEW public.mine WITH (security_invoker) AS SELECT id, v FROM public.docs;
CREATE VIEW public.guarded WITH (security_barrier) AS SELECT id, v FROM public.docs WHERE id > 0;
CREATE FUNCTION public.label() RETURNS text LANGUAGE sql STABLE AS $$SELECT 'permanent'$$;
CREATE FUNCTION public.tenant() RETURNS text LANGUAGE plpgsql STABLE AS
    $$BEGIN RETURN current_setting('app.tenant', true); END$$;
CREATE FUNCTION public.defined() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT current_user || ' ' || session_user || ' ' || max(v) FROM public.secret$$;
CREATE FUNCTION public.put(text, text, bool) RETURNS text LANGUAGE plpgsql AS
    $$BEGIN RETURN set_config($1, $2, $3); END$$;
CREATE FUNCTION public.make_temp() RETURNS void LANGUAGE plpgsql AS
    $$BEGIN CREATE TEMP TABLE t AS SELECT 9 AS id, 'made by a function'::text AS v; END$$;
CREATE FUNCTION public.bump(int) RETURNS int LANGUAGE sql AS
    $$UPDATE public.log SET n = n + 1 WHERE id = $1 RETURNING n$$;
GRANT USAGE ON SCHEMA a, b TO PUBLIC;
GRANT CREATE ON SCHEMA public, a TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.t, a.t, public.times, public.docs, public.log,
    public.seen, public.mine, public.guarded TO PUBLIC;
GRANT USAGE ON SEQUENCE public.numbers TO PUBLIC;
GRANT SELECT ON public.of_carol TO carol;
"""

#: Who logs in as session 0 to 3.
USERS = ("postgres", "bob", "postgres", "bob")

_T = ("SELECT id, v FROM t ORDER BY id", "SELECT v FROM t WHERE id = $1")
_SHADOWED = (
    *_T,
    "SELECT id, v FROM seen ORDER BY id",
    "SELECT label(), v FROM public.t WHERE id = 1",
)
_ROLE = (
    "SELECT v FROM public.docs ORDER BY id",
    "SELECT current_user, session_user, v FROM public.t WHERE id = 1",
    "SELECT v FROM public.secret",
    "SELECT v FROM public.of_carol",
    "SELECT v FROM public.mine ORDER BY id",
    "SELECT v FROM public.guarded ORDER BY id",
    "SELECT defined() FROM public.t WHERE id = 1",
)
_SETTING = (
    "SELECT tsz, d, b FROM public.times",
    "SELECT tsz::text, date '01/02/2003' FROM public.times",
    "SELECT current_setting('app.tenant', true), v FROM public.t WHERE id = 1",
    "SELECT tenant(), v FROM public.t WHERE id = 1",
    "SELECT v FROM public.docs WHERE id = $1",
    "SELECT current_schema(), v FROM t WHERE id = 0",
    "SELECT id, '{null,a}'::text[] FROM public.t WHERE (v = NULL) IS NOT FALSE ORDER BY id",
)
_ROWS = (
    "SELECT n FROM public.log ORDER BY id",
    "SELECT n FROM public.log WHERE id = $1",
    "SELECT t.v, l.n FROM t JOIN public.log l USING (id) ORDER BY t.id",
    "SELECT id FROM public.t WHERE id > 100",
    "SELECT FROM public.t WHERE id < 2",
)
READS = (*_SHADOWED, *_ROLE, *_SETTING, *_ROWS)
#: What shows best that something has been done, by its kind.
SHOWING = {
    "role": _ROLE,
    "setting": (*_SETTING, *_T, _ROLE[0]),
    "temporary": _SHADOWED,
    "transaction": (*_ROWS, *_T, _SETTING[0], _SETTING[2], _ROLE[0]),
}
#: Never answered from memory.
OTHER_READS = (
    "SHOW TimeZone",
    "SHOW transaction_isolation",
    "SELECT current_setting('role'), current_setting('transaction_read_only')",
    "SELECT name, setting FROM pg_settings WHERE name IN ('TimeZone', 'DateStyle') ORDER BY 1",
    "COPY (SELECT v FROM public.t ORDER BY id) TO STDOUT",
    "VALUES (1), (2)",
    "SELECT name FROM pg_prepared_statements ORDER BY 1",
    "SELECT name, is_holdable FROM pg_cursors ORDER BY 1",
    "SELECT /* howdah: off */ id, v FROM t ORDER BY id",
)
#: Writes, each with reads that show it.
SHOWN_WRITES = tuple(
    (text, reads)
    for reads, texts in (
        (
            (*_T, "SELECT t.v, l.n FROM t JOIN public.log l USING (id) ORDER BY t.id"),
            (
                "UPDATE public.t SET v = v || '.' WHERE id = {n}",
                "UPDATE public.t SET v = 'again {n}' WHERE id = {n} RETURNING v",
                "UPDATE a.t SET v = v || ',' WHERE id = {n}",
                "UPDATE t SET v = v || ';' WHERE id = {n}",
                "DELETE FROM public.t WHERE id = {n} + 4",
                "INSERT INTO public.t VALUES ({n} + 4, 'made')"
                " ON CONFLICT (id) DO UPDATE SET v = 'met'",
                "SELECT v FROM public.t WHERE id = {n} FOR UPDATE",
            ),
        ),
        (
            _ROWS[:3],
            (
                "UPDATE public.log SET n = n + 1 WHERE id = {n}",
                "WITH w AS (UPDATE public.log SET n = n + 1 WHERE id = {n} RETURNING n)"
                " SELECT n FROM w",
                "SELECT bump({n})",
                "DO $$BEGIN UPDATE public.log SET n = n + 10 WHERE id = {n}; END$$",
                "SELECT nextval('public.numbers')",
                "SELECT pg_advisory_xact_lock({n})",
            ),
        ),
        (_ROLE[:1], ("UPDATE public.docs SET v = v || '!' WHERE id = {n}",)),
    )
    for text in texts
)
WRITES = tuple(text for text, _ in SHOWN_WRITES)
#: Outside of a transaction it fails, but only after it has committed a setting.
LATE = (
    "DO $$BEGIN PERFORM set_config('bytea_output', 'escape', false); COMMIT;"
    " PERFORM set_config('DateStyle', 'German', false); RAISE EXCEPTION 'late'; END$$"
)
FAILURES = (
    "SELECT 1 / (id - id) FROM public.t",
    "SELECT v FROM public.nowhere",
    "nonsense",
    "UPDATE public.t SET id = 'x' WHERE id = {n}",
    "INSERT INTO public.t VALUES (7 - {n}, 'twice')",
    "SET ROLE nobody_here",
    "SET TimeZone = 'Nowhere/Land'",
    "SELECT set_config('DateStyle', 'Chinese', false)",
    "SET LOCAL is_superuser = on",
    "DO $$BEGIN RAISE EXCEPTION 'refused'; END$$",
    LATE,
    "SELECT set_config('TimeZone', 'Asia/Tokyo', false), 1 / (id - id) FROM public.t",
)

BEGINS = (
    "BEGIN",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION",
    "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE",
    "BEGIN READ ONLY",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY",
)
ENDS = (
    "COMMIT",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ROLLBACK",
    "ABORT",
    "COMMIT AND CHAIN",
    "ROLLBACK AND CHAIN",
)
INSIDE = (
    "SAVEPOINT x",
    "SAVEPOINT x",
    "SAVEPOINT y",
    "ROLLBACK TO x",
    "ROLLBACK TO x",
    "ROLLBACK TO y",
    "RELEASE x",
    "RELEASE SAVEPOINT y",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET TRANSACTION READ ONLY",
    "SET LOCAL transaction_isolation = 'serializable'",
    "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "BEGIN",
)
TWO_PHASE = (
    "PREPARE TRANSACTION 'twin {side}{n}'",
    "PREPARE TRANSACTION 'twin {side}{n}'",
    "COMMIT PREPARED 'twin {side}{k}'",
    "COMMIT PREPARED 'twin {side}{k}'",
    "ROLLBACK PREPARED 'twin {side}{k}'",
)

#: name -> values, as they stand in SET.
SETTINGS = {
    "TimeZone": ("'Asia/Tokyo'", "'America/New_York'"),
    "DateStyle": ("'ISO, MDY'", "'German'"),
    "search_path": ("a, public", '"$user", public'),
    "bytea_output": ("'hex'", "'escape'"),
    "app.tenant": ("'1'", "'2'", "''"),
    "app.other": ("'x'", "'y'"),
    "row_security": ("on", "off"),
    "role": ("alice", "carol", "none"),
    "default_transaction_isolation": ("'read committed'", "'repeatable read'"),
    "default_transaction_read_only": ("off", "on"),
    "standard_conforming_strings": ("on", "off"),
    "client_encoding": ("'UTF8'", "'LATIN1'"),
    "work_mem": ("'4MB'", "'1MB'"),
}
#: Those that PostgreSQL does not report, and that show: drawn more often.
UNREPORTED = (
    ("bytea_output", "'escape'"),
    ("bytea_output", "'escape'"),
    ("app.tenant", "'1'"),
    ("app.tenant", "'2'"),
    ("app.tenant", "'2'"),
    ("role", "carol"),
    ("role", "carol"),
    ("transform_null_equals", "on"),
    ("transform_null_equals", "on"),
    ("array_nulls", "off"),
)
#: What shows each of them, as far as it shows at all.
SHOWS = {
    "TimeZone": _SETTING[:2],
    "DateStyle": _SETTING[:2],
    "bytea_output": _SETTING[:1],
    "transform_null_equals": _SETTING[6:],
    "array_nulls": _SETTING[6:],
    "search_path": (*_T, _SETTING[5]),
    "app.tenant": (*_SETTING[2:5], _ROLE[0]),
    "row_security": (_ROLE[0], _ROLE[4]),
    "role": _ROLE,
}
SETS = (
    "SET {name} = {value}",
    "SET {name} = {value}",
    "SET SESSION {name} TO {value}",
    "SET LOCAL {name} = {value}",
    "SET LOCAL {name} = {value}",
    "SELECT set_config('{name}', {text}, false)",
    "SELECT set_config('{name}', {text}, true)",
    "SELECT put('{name}', {text}, false)",
    "SELECT put('{name}', {text}, true)",
    "DO $$BEGIN PERFORM set_config('{name}', {text}, false); END$$",
    "UPDATE pg_settings SET setting = {text} WHERE name = '{name}'",
    "RESET {name}",
    "RESET {name}",
    "SET {name} TO DEFAULT",
    "SET LOCAL {name} TO DEFAULT",
)
#: With the name and the value bound.
BOUND_SETS = (
    "SELECT set_config($1, $2, false)",
    "SELECT set_config($1, $2, true)",
    "SELECT pg_catalog.set_config($1, $2, $3)",
)
RESETS = ("RESET ALL", "DISCARD ALL", "DISCARD TEMP", "DISCARD PLANS", "DISCARD SEQUENCES")
ROLES = (
    "SET ROLE alice",
    "SET ROLE carol",
    "SET ROLE carol",
    "SET ROLE bob",
    "SET ROLE postgres",
    "SET LOCAL ROLE carol",
    "SET ROLE NONE",
    "RESET ROLE",
    "SET SESSION AUTHORIZATION alice",
    "SET LOCAL SESSION AUTHORIZATION bob",
    "SET SESSION AUTHORIZATION DEFAULT",
    "RESET SESSION AUTHORIZATION",
)
TEMPORARY = (
    "CREATE TEMP TABLE t (id int, v text)",
    "CREATE TEMP TABLE t AS SELECT 5 AS id, 'temporary'::text AS v",
    "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 6 AS id, 'passing'::text AS v",
    "CREATE TEMP TABLE t ON COMMIT DELETE ROWS AS SELECT 7 AS id, 'emptied'::text AS v",
    "DO $$BEGIN CREATE TEMP TABLE t AS SELECT 8 AS id, 'of a block'::text AS v; END$$",
    "SELECT make_temp()",
    "SELECT 4 AS id, 'into'::text AS v INTO TEMP t",
    "CREATE TEMP VIEW seen AS SELECT 3 AS id, 'view'::text AS v",
    "CREATE FUNCTION pg_temp.label() RETURNS text LANGUAGE sql AS $$SELECT 'temporary'$$",
    "CREATE TEMP SEQUENCE numbers",
    "INSERT INTO t VALUES (9, 'added')",
    "DROP TABLE IF EXISTS pg_temp.t",
    "DROP TABLE IF EXISTS pg_temp.t",
    "DROP VIEW IF EXISTS pg_temp.seen",
    "DROP FUNCTION IF EXISTS pg_temp.label()",
    "SELECT pg_temp.label()",
    "DISCARD TEMP",
)
#: Statements at SQL level.
PREPARES = (
    "PREPARE q AS SELECT v FROM t WHERE id = $1",
    "PREPARE q (int) AS SELECT v FROM public.docs WHERE id >= $1 ORDER BY id",
    "PREPARE q AS SELECT set_config('TimeZone', $1, false)",
    "EXECUTE q (1)",
    "EXECUTE q (1)",
    "EXECUTE q ('UTC')",
    "DEALLOCATE q",
    "DEALLOCATE ALL",
    "DEALLOCATE s1",
    "PREPARE s1 AS SELECT count(*) FROM public.t",
    "EXECUTE s1",
)
CURSORS = (
    "DECLARE c CURSOR FOR SELECT id, v FROM t ORDER BY id",
    "DECLARE c CURSOR WITH HOLD FOR SELECT id, v FROM t ORDER BY id",
    "DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT v FROM public.docs ORDER BY id",
    "FETCH 2 FROM c",
    "FETCH 2 FROM c",
    "FETCH ALL FROM c",
    "MOVE 1 FROM c",
    "CLOSE c",
    "CLOSE ALL",
)
#: How an excursion ends: what was set in it holds, or does not.
EXCURSIONS = (
    (),
    ("ROLLBACK",),
    ("COMMIT",),
    ("ROLLBACK TO x",),
    ("ROLLBACK TO x", "COMMIT"),
    ("RELEASE x", "COMMIT"),
    ("RELEASE x", "ROLLBACK"),
    ("COMMIT AND CHAIN",),
    ("ROLLBACK AND CHAIN", "COMMIT"),
    ("SELECT v FROM public.nowhere", "ROLLBACK"),
    ("SELECT v FROM public.nowhere", "ROLLBACK TO x", "COMMIT"),
    ("SELECT v FROM public.nowhere", "COMMIT"),
    ("COMMIT", "DISCARD ALL"),
    ("COMMIT", "RESET ALL"),
    ("COMMIT; BEGIN", "ROLLBACK"),
    ("BEGIN", "SELECT 1 / 0", "ROLLBACK"),
    ("SET TimeZone = 'Nowhere/Land'", "ROLLBACK"),
    ("PREPARE TRANSACTION 'twin {side}{n}'", "ROLLBACK PREPARED 'twin {side}{n}'"),
)
#: Several statements in one Query.
TOGETHER = (
    "BEGIN; SELECT v FROM public.t WHERE id = 3",
    "BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SELECT tsz FROM public.times; COMMIT",
    "SET TimeZone = 'Asia/Tokyo'; SELECT tsz FROM public.times",
    "SET search_path = a; SELECT 1 / 0",
    "UPDATE public.log SET n = n + 1 WHERE id = {n}; SELECT n FROM public.log ORDER BY id",
    "UPDATE public.log SET n = n + 1 WHERE id = {n}; BEGIN",
    "UPDATE public.log SET n = n + 1 WHERE id = {n}; SELECT 1 / 0",
    "SAVEPOINT x; UPDATE public.log SET n = n + 1 WHERE id = {n}; ROLLBACK TO x",
    "COMMIT; BEGIN",
    "ROLLBACK; SELECT v FROM public.t WHERE id = 3",
    "SELECT v FROM public.t WHERE id = 3; SELECT n FROM public.log ORDER BY id",
    "BEGIN; SET TimeZone = 'Asia/Tokyo'; ROLLBACK",
    "BEGIN; SET TimeZone = 'Asia/Tokyo'; COMMIT",
    "BEGIN; SAVEPOINT x; SET DateStyle = 'German'; ROLLBACK TO x; COMMIT",
    "RESET ALL; SET SESSION AUTHORIZATION DEFAULT",
    "",
    ";;",
)
#: Only where nobody else is inside a transaction: they lock.
DDL = (
    "CREATE OR REPLACE FUNCTION public.label() RETURNS text LANGUAGE sql STABLE AS"
    " $$SELECT 'label {k}'$$",
    "CREATE OR REPLACE VIEW public.seen AS SELECT id, v FROM public.t WHERE id < {k} + 2",
    "GRANT SELECT ON public.secret TO carol",
    "REVOKE SELECT ON public.secret FROM carol",
    "ALTER POLICY own ON public.docs USING (owner = current_user OR tenant = '{k}')",
    "ALTER POLICY own ON public.docs USING ("
    "owner = current_user OR tenant = current_setting('app.tenant', true))",
    "ALTER TABLE public.docs FORCE ROW LEVEL SECURITY",
    "ALTER TABLE public.docs NO FORCE ROW LEVEL SECURITY",
    "CREATE TABLE b.t (id int, v text)",
    "DROP TABLE IF EXISTS b.t",
    "TRUNCATE public.log",
    "BEGIN; TRUNCATE public.log; ROLLBACK",
    "INSERT INTO public.log SELECT i, {k} FROM generate_series(0, 3) AS i",
    "BEGIN; GRANT SELECT ON public.secret TO bob; COMMIT",
    "REVOKE ALL ON public.secret FROM bob",
)
