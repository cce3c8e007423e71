"""Functions, procedures, DO: what a call reads, and what it writes.

Volatility labels are no proof; bodies are. What a body hides (dynamic SQL, another
language) makes a read uncacheable and a write everything (F9).
"""

# A row is a line, however long.
# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from tests.closure.case import In, T, U, idle, never, opaque, write

UPD = "UPDATE {s}.t SET v = v + 1"


def f(body: str, volatility: str = "STABLE", returns: str = "bigint", arguments: str = "", name: str = "f") -> str:
    """A function in SQL."""
    return f"CREATE FUNCTION {{s}}.{name}({arguments}) RETURNS {returns} {volatility} LANGUAGE sql AS $${body}$$;"


def pl(body: str, volatility: str = "VOLATILE", returns: str = "int", arguments: str = "", name: str = "f", declare: str = "") -> str:
    """A function in PL/pgSQL."""
    return f"CREATE FUNCTION {{s}}.{name}({arguments}) RETURNS {returns} {volatility} LANGUAGE plpgsql AS $$ {declare and 'DECLARE ' + declare} BEGIN {body} END$$;"


CALL = "SELECT {s}.f()"
SUM = "SELECT sum(v) FROM {s}.t"
READING = [
    write("f_sql_stable", UPD, setup=f(SUM), reads=(CALL,)),
    write("f_sql_volatile", UPD, setup=f(SUM, "VOLATILE"), reads=(CALL,)),
    never("f_sql_immutable_liar", CALL, UPD, setup=f(SUM, "IMMUTABLE"), changes=None, why="folded into plans, which outlive the write"),
    write("f_sql_argument", UPD, setup=f("SELECT v FROM {s}.t WHERE id = $1", returns="int", arguments="int"), reads=("SELECT {s}.f(2)", "SELECT id, {s}.f(id) FROM {s}.u ORDER BY 1")),
    write("f_sql_named_argument", UPD, setup=f("SELECT v FROM {s}.t WHERE t.id = f.id", returns="int", arguments="id int DEFAULT 1"), reads=("SELECT {s}.f(id => 2)", "SELECT {s}.f()")),
    write("f_sql_table", UPD, setup=f("SELECT id, v FROM {s}.t ORDER BY id", returns="TABLE (i int, w int)"), reads=("SELECT * FROM {s}.f() ORDER BY i", "SELECT w FROM {s}.f() WHERE i = 1")),
    write("f_sql_setof", UPD, setup=f("SELECT * FROM {s}.t ORDER BY id", returns="SETOF {s}.t"), reads=("SELECT * FROM {s}.f() ORDER BY id",)),
    write("f_sql_out", UPD, setup="CREATE FUNCTION {s}.f(OUT a bigint, OUT b int) STABLE LANGUAGE sql AS 'SELECT sum(v), max(v) FROM {s}.t';", reads=("SELECT * FROM {s}.f()", "SELECT ({s}.f()).b")),
    write("f_sql_row_argument", UPD, setup=f("SELECT $1.v * 2", "IMMUTABLE", "int", "{s}.t", "g"), reads=("SELECT {s}.g(t) FROM {s}.t ORDER BY id", "SELECT {s}.g(x) FROM (SELECT t AS x FROM {s}.t) q ORDER BY 1")),
    write("f_sql_atomic", UPD, setup="CREATE FUNCTION {s}.f() RETURNS bigint STABLE LANGUAGE sql BEGIN ATOMIC SELECT sum(v) FROM {s}.t; END;", reads=(CALL,), since=14),
    write("f_sql_return", UPD, setup="CREATE FUNCTION {s}.f() RETURNS bigint STABLE LANGUAGE sql RETURN (SELECT sum(v) FROM {s}.t);", reads=(CALL,), since=14),
    write("f_sql_variadic", UPD, setup=f("SELECT sum(v) FROM {s}.t WHERE id = ANY ($1)", arguments="VARIADIC int[]"), reads=("SELECT {s}.f(1, 2)", "SELECT {s}.f(VARIADIC ARRAY[3])")),
    write("f_sql_polymorphic", UPD, setup=f("SELECT $1", "IMMUTABLE", "anyelement", "anyelement"), reads=("SELECT {s}.f(v) FROM {s}.t ORDER BY id",)),
    write("f_sql_own_path", UPD, setup="SET check_function_bodies = off; CREATE FUNCTION {s}.f() RETURNS bigint STABLE SET search_path = {s} LANGUAGE sql AS 'SELECT sum(v) FROM t'", reads=(CALL,)),
    write("f_sql_calls_sql", UPD, setup=f(SUM, name="inner") + f("SELECT {s}.inner() * 2"), reads=(CALL,)),
    write("f_sql_reads_view", UPD, setup="CREATE VIEW {s}.vw AS SELECT * FROM {s}.t;" + f("SELECT sum(v) FROM {s}.vw"), reads=(CALL,)),
    write("f_sql_reads_partitions", "INSERT INTO {s}.p1 VALUES ({n})", setup="CREATE TABLE {s}.p (id int) PARTITION BY RANGE (id); CREATE TABLE {s}.p1 PARTITION OF {s}.p DEFAULT;" + f("SELECT count(*) FROM {s}.p"), reads=(CALL,)),
    write("f_in_where", UPD, setup=f(SUM), reads=("SELECT id FROM {s}.u WHERE id * 3 > {s}.f() - 20 ORDER BY 1",), changes=True),
    write("f_in_from_lateral", UPD, setup=f("SELECT v FROM {s}.t WHERE id = $1", returns="SETOF int", arguments="int"), reads=("SELECT u.id, x FROM {s}.u, {s}.f(u.id) x ORDER BY 1",)),
    write("f_overloaded", UPD, setup=f(SUM) + f("SELECT $1::bigint", "IMMUTABLE", arguments="int") + f("SELECT sum(v) FROM {s}.u", arguments="text"), reads=(CALL, "SELECT {s}.f(), {s}.f('x')")),
    write("f_unrelated_write", "UPDATE {s}.u SET v = v + 1", setup=f(SUM), reads=(CALL,), changes=False, stays=True),
    write("f_pl_stable", UPD, setup=pl("RETURN (SELECT sum(v) FROM {s}.t);", "STABLE"), reads=(CALL,)),
    never("f_pl_immutable_liar", CALL, UPD, setup=pl("RETURN (SELECT sum(v) FROM {s}.t);", "IMMUTABLE"), changes=None, why="folded into plans, which outlive the write"),
    write("f_pl_volatile", UPD, setup=pl("RETURN (SELECT sum(v) FROM {s}.t);"), reads=(CALL,)),
    write("f_pl_into", UPD, setup=pl("SELECT v INTO x FROM {s}.t WHERE id = 1; RETURN x;", "STABLE", declare="x int;"), reads=(CALL,)),
    write("f_pl_loop", UPD, setup=pl("FOR r IN SELECT v FROM {s}.t LOOP n := n + r.v; END LOOP; RETURN n;", "STABLE", declare="r record; n int := 0;"), reads=(CALL,)),
    write("f_pl_if", UPD, setup=pl("IF EXISTS (SELECT FROM {s}.u WHERE id = a) THEN RETURN 0; ELSE RETURN (SELECT sum(v) FROM {s}.t); END IF;", "STABLE", arguments="a int"), reads=("SELECT {s}.f(99)",)),
    write("f_pl_condition_reads", "DELETE FROM {s}.u WHERE id = {n} + {n} / 6", setup=pl("IF (SELECT count(*) FROM {s}.u) > 99 THEN RETURN 0; END IF; RETURN (SELECT count(*) FROM {s}.u);", "STABLE"), reads=(CALL,)),
    write("f_pl_declaration_reads", UPD, setup=pl("RETURN x;", "STABLE", declare="x int := (SELECT sum(v) FROM {s}.t);"), reads=(CALL,)),
    write("f_pl_return_query", UPD, setup=pl("RETURN QUERY SELECT v FROM {s}.t ORDER BY id;", "STABLE", "SETOF int"), reads=("SELECT * FROM {s}.f()",)),
    never("f_pl_return_next", "SELECT * FROM {s}.f()", UPD, setup=pl("FOR r IN SELECT * FROM {s}.t ORDER BY id LOOP RETURN NEXT r.v; END LOOP;", "STABLE", "SETOF int", declare="r {s}.t;"), why="a variable of a row type: composite types are not followed"),
    write("f_pl_return_next_record", UPD, setup=pl("FOR r IN SELECT * FROM {s}.t ORDER BY id LOOP RETURN NEXT r.v; END LOOP;", "STABLE", "SETOF int", declare="r record;"), reads=("SELECT * FROM {s}.f()",)),
    never("f_pl_cursor", CALL, UPD, setup=pl("OPEN c; FETCH c INTO x; CLOSE c; RETURN x;", "STABLE", declare="c CURSOR FOR SELECT v FROM {s}.t WHERE id = 1; x int;"), why="FETCH is not followed"),
    never("f_pl_exception_block", CALL, UPD, setup=pl("BEGIN RETURN (SELECT sum(v) FROM {s}.t); EXCEPTION WHEN others THEN RETURN -1; END;", "STABLE"), why="an error that is caught may be one of the moment"),
    write("f_pl_calls_pl", UPD, setup=pl("RETURN (SELECT sum(v) FROM {s}.t);", "STABLE", name="g") + pl("RETURN {s}.g();", "STABLE"), reads=(CALL,)),
    write("f_aggregate", UPD, setup="CREATE FUNCTION {s}.acc(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + $2'; CREATE AGGREGATE {s}.total(int) (SFUNC = {s}.acc, STYPE = int, INITCOND = '0')", reads=("SELECT {s}.total(v) FROM {s}.t",)),
    write("f_aggregate_reading", UPD, setup="CREATE FUNCTION {s}.acc(bigint, int) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT $1 + $2 + (SELECT sum(v) FROM {s}.t)'; CREATE AGGREGATE {s}.total(int) (SFUNC = {s}.acc, STYPE = bigint, INITCOND = '0')", reads=("SELECT {s}.total(v) FROM {s}.u",)),
    write("f_operator", UPD, setup="CREATE FUNCTION {s}.plus(int, text) RETURNS bigint STABLE LANGUAGE sql AS 'SELECT $1 + sum(v) FROM {s}.t'; CREATE OPERATOR {s}.|+| (LEFTARG = int, RIGHTARG = text, FUNCTION = {s}.plus)", reads=("SELECT id OPERATOR({s}.|+|) 'a'::text FROM {s}.u ORDER BY id",)),
    write("f_window", UPD, setup="CREATE FUNCTION {s}.acc(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + $2'; CREATE AGGREGATE {s}.total(int) (SFUNC = {s}.acc, STYPE = int, INITCOND = '0')", reads=("SELECT {s}.total(v) OVER (ORDER BY id) FROM {s}.t ORDER BY id",)),
    write("f_by_attribute", UPD, setup=f("SELECT $1.v + sum(u.v) FROM {s}.u", arguments="{s}.t", name="dotted"), reads=("SELECT t.v FROM {s}.t ORDER BY id",)),
    write("f_definer", UPD, setup=f(SUM) + "ALTER FUNCTION {s}.f() SECURITY DEFINER", reads=(CALL,), role="alice"),
    write("f_column_default", "INSERT INTO {s}.d (id) VALUES ({n})", setup=f("SELECT max(v) FROM {s}.u") + "CREATE TABLE {s}.d (id int, v bigint DEFAULT {s}.f())", reads=("SELECT * FROM {s}.d ORDER BY id",)),
    write("f_check", "INSERT INTO {s}.d VALUES ({n})", setup=pl("RETURN (SELECT count(*) FROM {s}.u) > 0;", "STABLE", "bool") + "CREATE TABLE {s}.d (id int CHECK ({s}.f()))", reads=("SELECT * FROM {s}.d ORDER BY id",)),
    write("f_index_expression", "INSERT INTO {s}.t VALUES (10 + {n}, 1)", setup=f("SELECT $1 * 2", "IMMUTABLE", "int", "int") + "CREATE INDEX ON {s}.t ({s}.f(v))", reads=("SELECT id FROM {s}.t WHERE {s}.f(v) = 2 ORDER BY 1",)),
    write("f_sequence_default", "INSERT INTO {s}.d (v) VALUES (1)", setup="CREATE SEQUENCE {s}.sq; CREATE TABLE {s}.d (id int DEFAULT nextval('{s}.sq'), v int)", reads=("SELECT * FROM {s}.d ORDER BY id",)),
    never("f_pl_dynamic", CALL, UPD, setup=pl("EXECUTE 'SELECT sum(v) FROM {s}.' || q INTO x; RETURN x;", "STABLE", declare="x int; q text := 't';"), why="dynamic SQL"),
    write("f_pl_execute_literal", UPD, setup=pl("EXECUTE 'SELECT sum(v) FROM {s}.t' INTO x; RETURN x;", "STABLE", declare="x int;"), reads=(CALL,)),
    never("f_clock", "SELECT {s}.f() > '2020-01-01', sum(v) FROM {s}.t", UPD, setup=f("SELECT now()", returns="timestamptz"), why="the clock, in a body"),
    never("f_pl_clock", "SELECT {s}.f() > '2020-01-01', sum(v) FROM {s}.t", UPD, setup=pl("RETURN CURRENT_DATE;", "STABLE", "date"), why="the clock, in a body"),
    never("f_pl_clock_by_text", "SELECT {s}.f() > '2020-01-01', sum(v) FROM {s}.t", UPD, setup=pl("d := 'to' || 'day'; RETURN d;", "STABLE", "date", declare="d date;"), why="PL/pgSQL assigns by text, which may say today"),
    never("f_random", "SELECT {s}.f() < 2, sum(v) FROM {s}.t", UPD, setup=f("SELECT random()", "VOLATILE", "float8"), why="volatile"),
    never("f_random_liar", "SELECT {s}.f() < 2, sum(v) FROM {s}.t", UPD, setup=f("SELECT random()", "IMMUTABLE", "float8"), why="volatile, whatever its label says"),
    write("f_session_user", UPD, setup=f("SELECT current_user::text", returns="text"), reads=("SELECT {s}.f(), sum(v) FROM {s}.t",)),
    write("f_setting", UPD, setup=f("SELECT current_setting('my.own', true)", returns="text"), reads=("SELECT {s}.f(), sum(v) FROM {s}.t",)),
    never("f_catalog", CALL, UPD, setup=f("SELECT count(*) FROM pg_catalog.pg_am"), changes=False, why="a catalog"),
    write("f_row_security", UPD, setup=f(SUM) + "ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY", reads=(CALL,)),
    never("f_locks", CALL, UPD, setup=pl("PERFORM v FROM {s}.t FOR UPDATE; RETURN (SELECT sum(v) FROM {s}.t);"), why="it takes locks"),
    never("f_sequence", CALL, UPD, setup="CREATE SEQUENCE {s}.sq;" + f("SELECT last_value FROM {s}.sq"), changes=False, why="a sequence"),
    never("f_sets_setting", CALL, UPD, setup=pl("PERFORM set_config('my.own', 'x', true); RETURN (SELECT sum(v) FROM {s}.t);"), why="it changes settings"),
    never("f_notice", CALL, UPD, setup=pl("RAISE NOTICE 'seen'; RETURN (SELECT sum(v) FROM {s}.t);", "STABLE"), why="an answer with a notice is not kept"),
    never("f_table_to_xml", "SELECT query_to_xml('SELECT sum(v) FROM {s}.t', true, false, '')::text", UPD, why="SQL in an argument", until=17),
    never("f_crosstab_like", "SELECT {s}.f('SELECT sum(v) FROM {s}.t')", UPD, setup=pl("EXECUTE q INTO x; RETURN x;", "STABLE", declare="x int;", arguments="q text"), why="SQL in an argument"),
]

BUMP = "UPDATE {s}.t SET v = v + 1"
WRITING = [
    write("fw_pl", "SELECT {s}.f()", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_sql", "SELECT {s}.f()", setup=f(BUMP + " RETURNING 1", "VOLATILE", "int")),
    write("fw_sql_several", "SELECT {s}.f()", setup=f(BUMP + "; UPDATE {s}.u SET v = v + 1; SELECT 1", "VOLATILE", "int"), reads=(T, U)),
    write("fw_sql_atomic", "SELECT {s}.f()", setup="CREATE FUNCTION {s}.f() RETURNS int LANGUAGE sql BEGIN ATOMIC UPDATE {s}.t SET v = v + 1; SELECT 1; END;", since=14),
    write("fw_in_from", "SELECT * FROM {s}.f()", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_in_where", "SELECT id FROM {s}.u WHERE {s}.f() = 1", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_in_values", "VALUES ({s}.f())", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_in_insert", "INSERT INTO {s}.u VALUES (50 + {n}, {s}.f())", setup=pl(BUMP + "; RETURN 1;"), reads=(T, U)),
    write("fw_in_returning", "UPDATE {s}.u SET v = v RETURNING {s}.f()", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_in_default", "INSERT INTO {s}.d DEFAULT VALUES", setup=pl(BUMP + "; RETURN 1;") + "CREATE TABLE {s}.d (v int DEFAULT {s}.f())"),
    write("fw_in_check", "INSERT INTO {s}.d VALUES (1)", setup=pl(BUMP + "; RETURN true;", returns="bool") + "CREATE TABLE {s}.d (v int CHECK ({s}.f()))"),
    write("fw_in_view", "SELECT * FROM {s}.vw", setup=pl(BUMP + "; RETURN 1;") + "CREATE VIEW {s}.vw AS SELECT {s}.f()"),
    write("fw_in_copy", "COPY (SELECT {s}.f()) TO STDOUT", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_in_cursor", "BEGIN", "DECLARE c CURSOR FOR SELECT {s}.f()", "FETCH c", "COMMIT", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_in_prepared", "PREPARE p AS SELECT {s}.f()", "EXECUTE p", "DEALLOCATE p", setup=pl(BUMP + "; RETURN 1;")),
    opaque("fw_in_execute_argument", "PREPARE p (int) AS SELECT $1", "EXECUTE p ({s}.f())", "DEALLOCATE p", setup=pl(BUMP + "; RETURN 1;"), why="calls in the arguments of EXECUTE are not followed"),
    write("fw_in_explain_analyze", "EXPLAIN ANALYZE SELECT {s}.f()", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_liar_planned", "EXPLAIN SELECT {s}.g()", setup=pl(BUMP + "; RETURN 1;") + pl("RETURN {s}.f();", "IMMUTABLE", name="g")),
    write("fw_stable_liar", "SELECT {s}.g()", setup=pl(BUMP + "; RETURN 1;") + pl("RETURN {s}.f();", "STABLE", name="g")),
    write("fw_deep", "SELECT {s}.h()", setup=pl(BUMP + "; RETURN 1;") + pl("PERFORM {s}.f(); RETURN 1;", name="g") + f("SELECT {s}.g()", "VOLATILE", "int", name="h")),
    write("fw_operator", "SELECT 1 OPERATOR({s}.!!!) 2", setup=pl(BUMP + "; RETURN 1;", arguments="int, int") + "CREATE OPERATOR {s}.!!! (LEFTARG = int, RIGHTARG = int, FUNCTION = {s}.f)"),
    write("fw_aggregate", "SELECT {s}.total(v) FROM {s}.u", setup=pl(BUMP + "; RETURN 1;", arguments="int, int") + "CREATE AGGREGATE {s}.total(int) (SFUNC = {s}.f, STYPE = int, INITCOND = '0')"),
    write("fw_perform", "SELECT {s}.f(2)", setup=pl("INSERT INTO {s}.t SELECT max(id) + a, 0 FROM {s}.t; RETURN 1;", arguments="a int")),
    write("fw_branches", "SELECT {s}.f(true)", setup=pl("IF a THEN UPDATE {s}.t SET v = v + 1; ELSE DELETE FROM {s}.u; END IF; RETURN 1;", arguments="a bool"), reads=(T, U)),
    write("fw_loop", "SELECT {s}.f()", setup=pl("FOR i IN 1..3 LOOP UPDATE {s}.t SET v = v + i; END LOOP; RETURN 1;")),
    write("fw_for_query", "SELECT {s}.f()", setup=pl("FOR r IN UPDATE {s}.t SET v = v + 1 RETURNING v LOOP NULL; END LOOP; RETURN 1;", declare="r record;")),
    write("fw_return_query", "SELECT * FROM {s}.f()", setup=pl("RETURN QUERY UPDATE {s}.t SET v = v + 1 RETURNING v;", returns="SETOF int")),
    write("fw_into", "SELECT {s}.f()", setup=pl("UPDATE {s}.t SET v = v + 1 WHERE id = 1 RETURNING v INTO x; RETURN x;", declare="x int;")),
    write("fw_caught", "SELECT {s}.f()", setup=pl("UPDATE {s}.t SET v = v + 1; BEGIN UPDATE {s}.u SET v = 1 / (v - v); EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN 1;"), reads=(T, U)),
    write("fw_through_view", "SELECT {s}.f()", setup="CREATE VIEW {s}.vw AS SELECT * FROM {s}.t;" + pl("UPDATE {s}.vw SET v = v + 1; RETURN 1;")),
    write("fw_through_cascade", "SELECT {s}.f({n})", setup="CREATE TABLE {s}.c (t int REFERENCES {s}.t ON DELETE CASCADE); INSERT INTO {s}.c SELECT generate_series(1, 6);" + pl("DELETE FROM {s}.t WHERE id = a; RETURN 1;", arguments="a int"), reads=("SELECT * FROM {s}.c ORDER BY 1",)),
    write("fw_truncates", "SELECT {s}.f()", "INSERT INTO {s}.t VALUES (1, {n})", setup=pl("TRUNCATE {s}.t; RETURN 1;")),
    write("fw_own_path", "SELECT {s}.f()", setup=pl("UPDATE t SET v = v + 1; RETURN 1;") + "ALTER FUNCTION {s}.f() SET search_path = {s}"),
    opaque("fw_callers_path", In("postgres:1", "SET search_path = {s}"), In("postgres:1", "SELECT f()"), setup=pl("UPDATE t SET v = v + 1; RETURN 1;"), why="where a body's names depend on its caller, they may mean any of that name, here many"),
    write("fw_fails", "SELECT {s}.f()", setup=pl("UPDATE {s}.t SET v = v + 1; RAISE 'no'; RETURN 1;"), error="P0001", changes=False),
    write("fw_in_transaction", "BEGIN", "SELECT {s}.f()", "COMMIT", setup=pl(BUMP + "; RETURN 1;")),
    write("fw_setval", "SELECT setval('{s}.sq', {n} + 10)", setup="CREATE SEQUENCE {s}.sq", changes=False, stays=True),
    write("fw_nextval", "SELECT nextval('{s}.sq')", setup="CREATE SEQUENCE {s}.sq", changes=False, stays=True),
    write("fw_advisory_lock", "SELECT pg_advisory_lock(1), pg_advisory_unlock(1)", changes=False, stays=True),
    write("fw_notify", "SELECT pg_notify('c', 'x')", changes=False, stays=True),
    write("fw_random", "SELECT random() < 2, gen_random_uuid() IS NULL, clock_timestamp() IS NULL", changes=False, stays=True),
    write("fw_sleep", "SELECT pg_sleep(0)", changes=False, stays=True),
    write("fw_pure_volatile", "SELECT {s}.f()", setup=pl("RETURN 1;"), changes=False, stays=True),
    opaque("fw_dynamic", "SELECT {s}.f('" + BUMP + "')", setup=pl("EXECUTE q; RETURN 1;", arguments="q text"), why="dynamic SQL"),
    opaque("fw_dynamic_format", "SELECT {s}.f('t')", setup=pl("EXECUTE format('UPDATE {s}.%I SET v = v + 1', q); RETURN 1;", arguments="q text"), why="dynamic SQL"),
    opaque("fw_query_to_xml", "SELECT query_to_xml('SELECT {s}.f()', true, false, '')", setup=pl(BUMP + "; RETURN 1;"), why="SQL in an argument", until=17),
    write("fw_refcursor", "BEGIN", "SELECT {s}.f('c')", "FETCH ALL FROM c", "COMMIT", setup=pl("OPEN c FOR SELECT * FROM {s}.t ORDER BY id FOR UPDATE; UPDATE {s}.u SET v = v + 1; RETURN c;", returns="refcursor", arguments="c refcursor"), reads=(U,)),
]

PROCEDURE = "CREATE PROCEDURE {s}.p({a}) LANGUAGE plpgsql AS $$BEGIN {b} END$$;"


def p(body: str, arguments: str = "") -> str:
    return PROCEDURE.replace("{a}", arguments).replace("{b}", body)


BLOCKS = [
    write("call", "CALL {s}.p()", setup=p(BUMP + ";")),
    write("call_commits", "CALL {s}.p()", setup=p(BUMP + "; COMMIT; UPDATE {s}.u SET v = v + 1;"), reads=(T, U)),
    write("call_commits_then_fails", "CALL {s}.p()", setup=p(BUMP + "; COMMIT; RAISE 'late';"), error="P0001"),
    write("call_rolls_back_half", "CALL {s}.p()", setup=p(BUMP + "; COMMIT; UPDATE {s}.u SET v = v + 1; ROLLBACK;"), reads=(T, U)),
    write("call_argument", "CALL {s}.p(1 + 1)", setup=p("UPDATE {s}.t SET v = v + a;", "a int")),
    write("call_inout", "CALL {s}.p(1)", setup=p("UPDATE {s}.t SET v = v + 1 WHERE id = 1 RETURNING v INTO a;", "INOUT a int")),
    write("call_argument_writes", "CALL {s}.p({s}.f())", setup=p("NULL;", "a int") + pl(BUMP + "; RETURN 1;")),
    write("call_sql_procedure", "CALL {s}.p()", setup="CREATE PROCEDURE {s}.p() LANGUAGE sql AS 'UPDATE {s}.t SET v = v + 1'"),
    write("call_calls", "CALL {s}.q()", setup=p(BUMP + ";") + "CREATE PROCEDURE {s}.q() LANGUAGE plpgsql AS $$BEGIN CALL {s}.p(); COMMIT; CALL {s}.p(); END$$"),
    write("call_in_transaction", "BEGIN", "CALL {s}.p()", "COMMIT", setup=p(BUMP + ";")),
    write("do", "DO $$BEGIN UPDATE {s}.t SET v = v + 1; END$$"),
    write("do_commits", "DO $$BEGIN UPDATE {s}.t SET v = v + 1; COMMIT; UPDATE {s}.u SET v = v + 1; END$$", reads=(T, U)),
    write("do_commits_then_fails", "DO $$BEGIN UPDATE {s}.t SET v = v + 1; COMMIT; RAISE 'late'; END$$", error="P0001"),
    write("do_fails", "DO $$BEGIN UPDATE {s}.t SET v = v + 1; RAISE 'no'; END$$", error="P0001", changes=False),
    write("do_loop", "DO $$DECLARE r record; BEGIN FOR r IN SELECT id FROM {s}.u LOOP UPDATE {s}.t SET v = v + r.id WHERE id = r.id; END LOOP; END$$"),
    write("do_calls", "DO $$BEGIN PERFORM {s}.f(); END$$", setup=pl(BUMP + "; RETURN 1;")),
    write("do_nothing", "DO $$BEGIN NULL; END$$", changes=False, stays=True),
    write("do_reads", "DO $$BEGIN PERFORM count(*) FROM {s}.t; END$$", changes=False, stays=True),
    write("do_language_first", "DO LANGUAGE plpgsql 'BEGIN UPDATE {s}.t SET v = v + 1; END'"),
    write("do_execute_literal", "DO $$BEGIN EXECUTE 'UPDATE {s}.t SET v = v + 1'; END$$"),
    opaque("do_dynamic", "DO $$DECLARE x text := 't'; BEGIN EXECUTE 'UPDATE {s}.' || x || ' SET v = v + 1'; END$$", why="dynamic SQL"),
    idle("call_of_nothing", "CALL {s}.p()", setup=p("NULL;")),
]

FUNCTIONS = READING + WRITING + BLOCKS
