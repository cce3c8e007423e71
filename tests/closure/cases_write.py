"""Writes that name what they write: DML in all its forms, COPY, EXPLAIN, cursors.

What a write reaches behind its name is in `cases_reach.py`, functions in
`cases_function.py`, transactions in `tests/differential/cases_write.py`.
"""

# A row is a line, however long.
# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from tests.closure.case import CopyIn, In, Query, T, U, idle, write

UPD = "UPDATE {s}.t SET v = v + 1"
INS = "INSERT INTO {s}.t VALUES (10 + {n}, {n})"
SOURCE = "CREATE TABLE {s}.src (id int PRIMARY KEY, v int); INSERT INTO {s}.src SELECT i, i FROM generate_series(1, 20) i;"

DML = [
    write("insert", INS),
    write("insert_values", "INSERT INTO {s}.t VALUES (20 + {n}, 1), (30 + {n}, 2)"),
    write("insert_select", "INSERT INTO {s}.t SELECT id + 10 * {n}, v FROM {s}.u"),
    write("insert_columns", "INSERT INTO {s}.t (v, id) VALUES (1, 10 + {n})"),
    write("insert_default_values", "INSERT INTO {s}.d DEFAULT VALUES", setup="CREATE TABLE {s}.d (v int DEFAULT 1)", reads=("SELECT count(*) FROM {s}.d",)),
    write("insert_returning", INS + " RETURNING id, v"),
    write("insert_with", "WITH x AS (SELECT 10 + {n} AS id) INSERT INTO {s}.t SELECT id, 0 FROM x"),
    write("insert_overriding", "INSERT INTO {s}.g OVERRIDING SYSTEM VALUE VALUES (50 + {n}, 1)", setup="CREATE TABLE {s}.g (id int GENERATED ALWAYS AS IDENTITY, v int)", reads=("SELECT * FROM {s}.g ORDER BY id",)),
    write("insert_identity", "INSERT INTO {s}.g (v) VALUES (1)", setup="CREATE TABLE {s}.g (id int GENERATED ALWAYS AS IDENTITY, v int)", reads=("SELECT * FROM {s}.g ORDER BY id",)),
    write("insert_serial", "INSERT INTO {s}.g (v) VALUES (1)", setup="CREATE TABLE {s}.g (id serial, v int)", reads=("SELECT * FROM {s}.g ORDER BY id",)),
    write("insert_generated", "INSERT INTO {s}.g (v) VALUES ({n})", setup="CREATE TABLE {s}.g (v int, w int GENERATED ALWAYS AS (v * 2) STORED)", reads=("SELECT w FROM {s}.g ORDER BY 1",)),
    idle("insert_duplicate", INS.replace("10 + {n}", "1"), error="23505"),
    idle("insert_check_fails", "INSERT INTO {s}.k VALUES (-1)", setup="CREATE TABLE {s}.k (v int CHECK (v > 0))", reads=("SELECT v FROM {s}.k",), error="23514"),
    write("upsert_update", "INSERT INTO {s}.t VALUES (1, {n} * 7) ON CONFLICT (id) DO UPDATE SET v = excluded.v"),
    write("upsert_where", "INSERT INTO {s}.t VALUES (1, 3), (60 + {n}, 3) ON CONFLICT (id) DO UPDATE SET v = 0 WHERE t.v < 0"),
    write("upsert_constraint", "INSERT INTO {s}.t VALUES (1, 3) ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET v = t.v + 1"),
    write("upsert_subquery", "INSERT INTO {s}.t VALUES (1, 3) ON CONFLICT (id) DO UPDATE SET v = t.v + (SELECT max(v) FROM {s}.u)"),
    write("upsert_nothing", "INSERT INTO {s}.t VALUES (1, 50), (2, 50) ON CONFLICT DO NOTHING", changes=False),
    write("update", UPD),
    write("update_from", "UPDATE {s}.t SET v = t.v + u.v FROM {s}.u WHERE t.id = u.id"),
    write("update_from_same", "UPDATE {s}.t SET v = t.v + o.v FROM {s}.t o WHERE o.id = t.id"),
    write("update_alias", "UPDATE {s}.t AS foo SET v = foo.v + 7 WHERE foo.id = 1", fault="write-under-an-alias"),
    write("update_alias_of_another_name", "UPDATE {s}.t AS u SET v = u.v + 1", reads=(T, U)),
    write("update_only", "UPDATE ONLY {s}.t SET v = v + 1"),
    write("update_key", "UPDATE {s}.t SET id = id + 100 * {n} WHERE id < 100", "UPDATE {s}.t SET id = id - 100 * {n} + 50 * {n}"),
    write("update_moves_row_out", UPD + " WHERE v = {n}", reads=("SELECT id FROM {s}.t WHERE v = {n}",)),
    write("update_multi_column", "UPDATE {s}.t SET (v, id) = (SELECT t.v + 1, t.id)"),
    write("update_returning_star", UPD + " RETURNING *"),
    write("update_returning_old", UPD + " RETURNING old.v, new.v", since=18),
    write("update_quoted", 'UPDATE {s}."T" SET "V" = "V" + 1', setup='CREATE TABLE {s}."T" ("V" int); INSERT INTO {s}."T" VALUES (1)', reads=('SELECT * FROM {s}."T"', T)),
    write("update_nothing", UPD + " WHERE false", changes=False),
    write("delete", "DELETE FROM {s}.t WHERE id = {n}"),
    write("delete_using", "DELETE FROM {s}.t USING {s}.u WHERE t.id = u.id AND u.id = {n} + ({n} / 3) AND u.id <> 3 OR t.id = {n}"),
    write("delete_subquery", "DELETE FROM {s}.t WHERE id = (SELECT min(id) FROM {s}.t)"),
    write("delete_current_of", "BEGIN", "DECLARE c CURSOR FOR SELECT * FROM {s}.t ORDER BY id FOR UPDATE", "FETCH 1 FROM c", "DELETE FROM {s}.t WHERE CURRENT OF c", "COMMIT"),
    write("truncate", "TRUNCATE {s}.t", "INSERT INTO {s}.t VALUES ({n}, 7)"),
    write("truncate_several", "TRUNCATE {s}.u, ONLY {s}.t RESTART IDENTITY", undo=("INSERT INTO {s}.t VALUES (1, 1)", "INSERT INTO {s}.u VALUES (1, 1)"), reads=(T, U)),
    write("merge", "MERGE INTO {s}.t USING {s}.u ON t.id = u.id + {n} WHEN MATCHED THEN UPDATE SET v = t.v + u.v WHEN NOT MATCHED THEN INSERT VALUES (u.id + {n}, u.v)", since=15, fault="merge-not-seen-as-a-write"),
    write("merge_delete", "MERGE INTO {s}.t USING (SELECT {n} AS id) q ON t.id = q.id WHEN MATCHED THEN DELETE", since=15),
    write("merge_by_source", "MERGE INTO {s}.t USING {s}.u ON t.id = u.id WHEN NOT MATCHED BY SOURCE THEN UPDATE SET v = v + 1", since=17),
    write("merge_returning", "MERGE INTO {s}.t USING {s}.u ON t.id = u.id WHEN MATCHED THEN UPDATE SET v = t.v + 1 RETURNING merge_action(), t.*", since=17),
    write("merge_cte", "WITH m AS (MERGE INTO {s}.t USING {s}.u ON t.id = u.id WHEN MATCHED THEN UPDATE SET v = t.v + 1 RETURNING t.id) SELECT count(*) FROM m", since=17),
    write("qualified_and_not", In("postgres:1", "SET search_path = {s}"), In("postgres:1", "UPDATE t SET v = v + 1"), fault="qualified-name-and-other-schemas"),
    write("written_in_another_database_name", "UPDATE {s}.t SET v = v + 1", reads=("SELECT * FROM {d}.{s}.t ORDER BY id",)),
    write("delete_without_identity", "DELETE FROM {s}.nk WHERE v = {n}", setup="CREATE TABLE {s}.nk (v int); INSERT INTO {s}.nk SELECT generate_series(1, 6)", reads=("SELECT t.id, nk.v FROM {s}.t JOIN {s}.nk ON nk.v = t.id ORDER BY 1, 2",), fault="deleted-rows-stay-in-a-join"),
    write("update_beside_a_long_value", "UPDATE {s}.lo SET v = v + 1", setup="CREATE TABLE {s}.lo (id int PRIMARY KEY, v int, big text); ALTER TABLE {s}.lo ALTER big SET STORAGE EXTERNAL; INSERT INTO {s}.lo VALUES (1, 1, repeat('x', 9000)), (2, 2, repeat('y', 9000))", reads=("SELECT * FROM {s}.lo ORDER BY id", "SELECT t.id, length(big), lo.v FROM {s}.t JOIN {s}.lo USING (id) ORDER BY 1")),
    write("several_rows_of_a_key", "INSERT INTO {s}.src SELECT i FROM generate_series({n} * 100, {n} * 100 + 20) i", setup=SOURCE, reads=("SELECT count(*), max(id) FROM {s}.src",)),
    write("in_a_lateral_too", UPD, reads=("SELECT t.id, x.v FROM {s}.t, LATERAL (SELECT v FROM {s}.u WHERE u.id = t.id) x ORDER BY 1", T)),
]

CTES = [
    write("cte_insert", "WITH x AS (INSERT INTO {s}.t VALUES (10 + {n}, 1) RETURNING *) SELECT * FROM x", fault="writing-cte-served-from-cache"),
    write("cte_insert_twice", *["WITH x AS (INSERT INTO {s}.t SELECT max(id) + 1, 0 FROM {s}.t RETURNING *) SELECT id > 0 FROM x"] * 2),
    write("cte_update", "WITH x AS (UPDATE {s}.t SET v = v + 1 RETURNING id) SELECT count(*) FROM x"),
    write("cte_delete", "WITH x AS (DELETE FROM {s}.t WHERE id = {n} RETURNING *) SELECT u.* FROM {s}.u, x ORDER BY 1"),
    write("cte_unread", "WITH x AS (UPDATE {s}.t SET v = v + 1) SELECT 1"),
    write("cte_two_writes", "WITH x AS (UPDATE {s}.t SET v = v + 1), y AS (UPDATE {s}.u SET v = v + 1) SELECT 1", reads=(T, U)),
    write("cte_under_write", "WITH x AS (DELETE FROM {s}.u WHERE id = (SELECT max(id) FROM {s}.u) RETURNING *) INSERT INTO {s}.t SELECT id + 100 * {n}, v FROM x", reads=(T, U)),
    write("cte_under_values", "WITH x AS (UPDATE {s}.t SET v = v + 1) VALUES (1)"),
    write("cte_under_union", "WITH x AS (UPDATE {s}.t SET v = v + 1 RETURNING v) SELECT sum(v) FROM x UNION ALL SELECT 1"),
]

UTILITY = [
    write("copy_in", CopyIn("COPY {s}.t FROM STDIN", "1{n}\t5\n2{n}\t6\n")),
    write("copy_in_columns", CopyIn("COPY {s}.t (v, id) FROM STDIN (FORMAT csv)", "5,1{n}\n")),
    idle("copy_in_failed", CopyIn("COPY {s}.t FROM STDIN", "1{n}\t5\n", fail=True), error="57014"),
    idle("copy_in_bad_data", CopyIn("COPY {s}.t FROM STDIN", "x\t5\n"), error="22P02"),
    write("copy_query_to", "COPY (UPDATE {s}.t SET v = v + 1 RETURNING *) TO STDOUT"),
    write("copy_insert_to", "COPY (INSERT INTO {s}.t VALUES (10 + {n}, 1) RETURNING id) TO STDOUT"),
    write("copy_cte_to", "COPY (WITH x AS (UPDATE {s}.t SET v = v + 1 RETURNING v) SELECT * FROM x) TO STDOUT"),
    idle("copy_out", "COPY {s}.t TO STDOUT"),
    idle("copy_query_out", "COPY (SELECT * FROM {s}.t ORDER BY id) TO STDOUT"),
    write("explain_analyze", "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) " + UPD, fault="explain-analyze-writes"),
    write("explain_analyze_cte", "EXPLAIN ANALYZE WITH x AS (UPDATE {s}.t SET v = v + 1 RETURNING v) SELECT * FROM x"),
    write("explain_analyze_quoted", "EXPLAIN (ANALYZE 'on') DELETE FROM {s}.t WHERE id = {n}"),
    idle("explain_only", "EXPLAIN " + UPD),
    idle("explain_analyze_off", "EXPLAIN (ANALYZE off) " + UPD),
    write("sql_prepare", "PREPARE p AS UPDATE {s}.t SET v = v + $1", "EXECUTE p (5)", "DEALLOCATE p"),
    write("sql_prepare_explain", "PREPARE p AS UPDATE {s}.t SET v = v + 1", "EXPLAIN ANALYZE EXECUTE p", "DEALLOCATE ALL"),
    write("sql_prepare_across", "PREPARE p{n} AS UPDATE {s}.t SET v = v + $1", "SELECT 1", "EXECUTE p{n} (5)", "EXECUTE p{n} (5)"),
    write("cursor_update", "BEGIN", "DECLARE c CURSOR FOR SELECT * FROM {s}.t ORDER BY id FOR UPDATE", "FETCH 1 FROM c", "UPDATE {s}.t SET v = v + 100 WHERE CURRENT OF c", "COMMIT"),
    idle("cursor_read", "BEGIN", "DECLARE c CURSOR FOR SELECT * FROM {s}.t", "FETCH ALL FROM c", "CLOSE c", "COMMIT"),
    write("select_into", "SELECT * INTO {s}.copy{n} FROM {s}.t", kept=False, changes=False, why="it makes a table: DDL", ddl=True),
    write("lock_and_write", "BEGIN", "LOCK TABLE {s}.t IN ROW EXCLUSIVE MODE", UPD, "COMMIT"),
    idle("select_for_update", "SELECT * FROM {s}.t WHERE id = 1 FOR UPDATE"),
    idle("lock_table", "BEGIN", "LOCK TABLE {s}.t IN ROW EXCLUSIVE MODE", "COMMIT"),
    idle("analyze", "ANALYZE {s}.t"),
    idle("notify", "NOTIFY c, 'x'"),
    idle("listen", "LISTEN c", "UNLISTEN c"),
    idle("checkpoint", "CHECKPOINT"),
    idle("show", "SHOW work_mem"),
    idle("discard_plans", "DISCARD PLANS"),
]

MANY = [
    write("multi_statement", Query("SELECT 1; " + UPD), fault="write-behind-a-select-in-one-query"),
    write("multi_statement_commits", Query("BEGIN; UPDATE {s}.t SET v = v + 1; COMMIT; SELECT 1 / 0"), error="22012"),
    write("multi_statement_two_commits", Query("BEGIN; UPDATE {s}.t SET v = v + 1; COMMIT; BEGIN; UPDATE {s}.u SET v = v + 1; COMMIT"), reads=(T, U)),
    write("multi_statement_half", Query("BEGIN; UPDATE {s}.t SET v = v + 1; COMMIT; UPDATE {s}.u SET v = 1 / (v - v)"), reads=(T, U), error="22012"),
    write("multi_statement_commented", Query("/* ; */ SELECT ';'; -- ;\n" + UPD + " -- done")),
    write("multi_statement_chain", Query("BEGIN; UPDATE {s}.t SET v = v + 1; COMMIT AND CHAIN; UPDATE {s}.u SET v = v + 1; ROLLBACK"), reads=(T, U)),
    write("multi_statement_implicit", Query("UPDATE {s}.t SET v = v + 1; UPDATE {s}.u SET v = v + 1"), reads=(T, U)),
    idle("multi_statement_aborts", Query("UPDATE {s}.t SET v = v + 1; SELECT 1 / 0"), error="22012"),
    idle("rolled_back", "BEGIN", UPD, "ROLLBACK", fault="rolled-back-rows-visible"),
    idle("aborted", "BEGIN", UPD, "SELECT 1 / 0", "COMMIT", error="22012"),
    write("constraint_at_commit", "BEGIN", "INSERT INTO {s}.k VALUES (99)", UPD, "COMMIT", setup="CREATE TABLE {s}.k (t int REFERENCES {s}.t DEFERRABLE INITIALLY DEFERRED)", error="23503", changes=False, why="a COMMIT that fails is not taken for a known abort"),
    write("committed_later", "BEGIN", UPD, "SELECT 1", "COMMIT", fault="dml-in-transaction-never-evicts"),
    write("savepoint_kept", "BEGIN", "SAVEPOINT a", UPD, "RELEASE a", "COMMIT"),
    write("savepoint_undone", "BEGIN", UPD, "SAVEPOINT a", "UPDATE {s}.u SET v = v + 1", "ROLLBACK TO a", "COMMIT", reads=(T, U), fault="rollback-to-savepoint-taken-as-end"),
    write("two_phase", "BEGIN", UPD, "PREPARE TRANSACTION '{s}'", In("other", "COMMIT PREPARED '{s}'"), kept=False, why="what a prepared transaction wrote is not known at its COMMIT", fault="commit-prepared-from-another-session"),
    write("only_one_is_cached", "BEGIN", "DELETE FROM {s}.u WHERE id = (SELECT max(id) FROM {s}.u)", INS, "COMMIT", reads=(T,), fault="uncached-table-hides-the-next"),
]

WRITES = DML + CTES + UTILITY + MANY
