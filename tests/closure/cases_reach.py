"""What a statement reaches behind the name it says, and what a read stands on.

Views, materialized views, partitions, inheritance, foreign keys, triggers, rules.
"""

# A row is a line, however long.
# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from tests.closure.case import CopyIn, T, U, idle, never, opaque, write

UPD = "UPDATE {s}.t SET v = v + 1"
VW = "SELECT * FROM {s}.vw ORDER BY id"
VIEW = "CREATE VIEW {s}.vw AS SELECT * FROM {s}.t;"

VIEWS = [
    write("view", UPD, setup=VIEW, reads=(VW,)),
    write("view_on_view", UPD, setup=VIEW + "CREATE VIEW {s}.vx AS SELECT id, v * 2 AS w FROM {s}.vw; CREATE VIEW {s}.vy AS SELECT * FROM {s}.vx WHERE id < 90", reads=("SELECT * FROM {s}.vy ORDER BY id",)),
    write("view_join", "UPDATE {s}.u SET v = v + 1", setup="CREATE VIEW {s}.vw AS SELECT id, t.v, u.v AS w FROM {s}.t LEFT JOIN {s}.u USING (id)", reads=(VW,)),
    write("view_subquery", "UPDATE {s}.u SET v = v + 1", setup="CREATE VIEW {s}.vw AS SELECT id, (SELECT sum(v) FROM {s}.u) AS n FROM {s}.t", reads=(VW,)),
    write("view_union", "UPDATE {s}.u SET v = v + 1", setup="CREATE VIEW {s}.vw AS SELECT id, v FROM {s}.t UNION ALL SELECT id + 100, v FROM {s}.u", reads=(VW,)),
    write("view_aggregate", UPD, setup="CREATE VIEW {s}.vw AS SELECT 1 AS id, sum(v), count(*) FROM {s}.t", reads=(VW,)),
    write("view_with_cte", UPD, setup="CREATE VIEW {s}.vw AS WITH x AS (SELECT id, v FROM {s}.t) SELECT * FROM x", reads=(VW,)),
    write("view_recursive", UPD, setup="CREATE RECURSIVE VIEW {s}.vw (id, n) AS SELECT id, v FROM {s}.t UNION SELECT id + 1000, n FROM vw WHERE id < 10", reads=(VW,)),
    write("view_window", UPD + " WHERE id = 1", setup="CREATE VIEW {s}.vw AS SELECT id, sum(v) OVER (ORDER BY id) AS n FROM {s}.t", reads=(VW,)),
    write("view_barrier", UPD, setup="CREATE VIEW {s}.vw WITH (security_barrier) AS SELECT * FROM {s}.t WHERE v > 0", reads=(VW,)),
    write("view_invoker", UPD, setup="CREATE VIEW {s}.vw WITH (security_invoker) AS SELECT * FROM {s}.t", reads=(VW,), since=15),
    write("view_of_an_owner", UPD, setup=VIEW + "GRANT SELECT ON {s}.vw TO alice", reads=(VW,), role="alice"),
    write("view_in_join", "UPDATE {s}.u SET v = v + 1", setup=VIEW, reads=("SELECT vw.id, u.v FROM {s}.vw JOIN {s}.u USING (id) ORDER BY 1",)),
    write("view_in_subquery", UPD, setup=VIEW, reads=("SELECT id, (SELECT sum(v) FROM {s}.vw) FROM {s}.u ORDER BY 1",)),
    write("view_columns_renamed", UPD, setup="CREATE VIEW {s}.vw (id, q) AS SELECT id, v FROM {s}.t", reads=("SELECT q FROM {s}.vw ORDER BY id",)),
    write("view_immutable_function", UPD, setup="CREATE FUNCTION {s}.twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'; CREATE VIEW {s}.vw AS SELECT id, {s}.twice(v) FROM {s}.t", reads=(VW,)),
    write("view_reading_function", UPD, setup="CREATE FUNCTION {s}.total() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT sum(v) FROM {s}.t'; CREATE VIEW {s}.vw AS SELECT id, {s}.total() FROM {s}.u", reads=(VW,)),
    write("view_unrelated_write", "UPDATE {s}.u SET v = v + 1", setup=VIEW, reads=(VW,), changes=False, stays=True),
    write("view_updatable", "UPDATE {s}.vw SET v = v + 8", setup=VIEW, reads=(T, VW), fault="write-reaches-other-tables"),
    write("view_updatable_insert", "INSERT INTO {s}.vw VALUES (30 + {n}, 30)", setup=VIEW),
    write("view_updatable_delete", "DELETE FROM {s}.vw WHERE id = {n}", setup=VIEW),
    write("view_updatable_two_deep", "UPDATE {s}.vx SET v = v + 1", setup=VIEW + "CREATE VIEW {s}.vx AS SELECT * FROM {s}.vw WHERE id > 0 WITH CHECK OPTION"),
    write("view_updatable_copy", CopyIn("COPY {s}.vw FROM STDIN", "9{n}\t1\n"), setup=VIEW + "CREATE FUNCTION {s}.io() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO {s}.t VALUES (NEW.id, NEW.v); RETURN NEW; END$$; CREATE TRIGGER io INSTEAD OF INSERT ON {s}.vw FOR EACH ROW EXECUTE FUNCTION {s}.io()", reads=(T, VW)),
    write("view_updatable_default", "INSERT INTO {s}.vw (id) VALUES (40 + {n})", setup=VIEW + "ALTER VIEW {s}.vw ALTER COLUMN v SET DEFAULT 4"),
    write("view_merge", "MERGE INTO {s}.vw USING {s}.u ON vw.id = u.id WHEN MATCHED THEN UPDATE SET v = vw.v + 1", setup=VIEW, since=17),
    write("view_writes_where_subquery", "UPDATE {s}.vw SET v = v + 1", setup="CREATE VIEW {s}.vw AS SELECT * FROM {s}.t WHERE id IN (SELECT id FROM {s}.u)", reads=(T, U)),
    never("view_clock", VW, UPD, setup="CREATE VIEW {s}.vw AS SELECT id, v, now() > '2020-01-01' AS c FROM {s}.t", why="the clock"),
    write("view_current_user", UPD, setup="CREATE VIEW {s}.vw AS SELECT id, v, current_user FROM {s}.t", reads=(VW,)),
    never("view_random", "SELECT id FROM {s}.vw ORDER BY id", "DELETE FROM {s}.t WHERE id = {n}", setup="CREATE VIEW {s}.vw AS SELECT id, random() FROM {s}.t", why="a volatile function, even where it is not selected"),
    never("view_text_to_date", VW, UPD, setup="CREATE VIEW {s}.vw AS SELECT id, v, ('2024-01-0' || id % 9)::date FROM {s}.t", why="text that is cast to a date may say now"),
    never("view_catalog", "SELECT * FROM {s}.vw", UPD, setup="CREATE VIEW {s}.vw AS SELECT count(*) FROM pg_am", changes=False, why="a catalog"),
    write("view_row_security", UPD, setup=VIEW + "ALTER TABLE {s}.t ENABLE ROW LEVEL SECURITY", reads=(VW,)),
    never("view_of_unlogged", "SELECT * FROM {s}.vw ORDER BY id", "INSERT INTO {s}.ul VALUES ({n})", setup="CREATE UNLOGGED TABLE {s}.ul (id int); CREATE VIEW {s}.vw AS SELECT * FROM {s}.ul", why="unlogged"),
]

MV = "SELECT * FROM {s}.mv ORDER BY id"
MATVIEW = "CREATE MATERIALIZED VIEW {s}.mv AS SELECT * FROM {s}.t; CREATE UNIQUE INDEX ON {s}.mv (id);"
MATVIEWS = [
    idle("matview_not_refreshed", UPD, setup=MATVIEW, reads=(MV,), fault="materialized-view-cached-as-a-table"),
    write("matview_refreshed", UPD, "REFRESH MATERIALIZED VIEW {s}.mv", setup=MATVIEW, reads=(MV, T), kept=False, ddl=True, why="REFRESH is DDL to event triggers"),
    write("matview_concurrently", UPD, "REFRESH MATERIALIZED VIEW CONCURRENTLY {s}.mv", setup=MATVIEW, reads=(MV,), kept=False, ddl=True, why="REFRESH is DDL to event triggers"),
    write("matview_with_no_data", "REFRESH MATERIALIZED VIEW {s}.mv WITH NO DATA", setup=MATVIEW, reads=(MV,), undo=("REFRESH MATERIALIZED VIEW {s}.mv",), kept=False, ddl=True, hit_after=False, why="an error is not kept"),
    write("matview_in_view", UPD, "REFRESH MATERIALIZED VIEW {s}.mv", setup=MATVIEW + "CREATE VIEW {s}.vw AS SELECT * FROM {s}.mv", reads=(VW,), kept=False, ddl=True, why="REFRESH is DDL to event triggers"),
    write("matview_on_matview", UPD, "REFRESH MATERIALIZED VIEW {s}.mv", "REFRESH MATERIALIZED VIEW {s}.mw", setup=MATVIEW + "CREATE MATERIALIZED VIEW {s}.mw AS SELECT * FROM {s}.mv", reads=(MV, "SELECT * FROM {s}.mw ORDER BY id"), kept=False, ddl=True, why="REFRESH is DDL to event triggers"),
    write("matview_refresh_rolled_back", UPD, "BEGIN", "REFRESH MATERIALIZED VIEW {s}.mv", "ROLLBACK", setup=MATVIEW, reads=(MV,), kept=False, changes=False, ddl=True, why="a pipeline is fenced ahead"),
]

PARTS = """
CREATE TABLE {s}.p (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE {s}.p1 PARTITION OF {s}.p FOR VALUES FROM (0) TO (100);
CREATE TABLE {s}.p2 PARTITION OF {s}.p FOR VALUES FROM (100) TO (200) PARTITION BY LIST (v);
CREATE TABLE {s}.p2a PARTITION OF {s}.p2 FOR VALUES IN (1, 2, 3, 4, 5, 6, 7, 8, 9);
CREATE TABLE {s}.pd PARTITION OF {s}.p DEFAULT;
INSERT INTO {s}.p SELECT i, 1 FROM generate_series(1, 9) i;
INSERT INTO {s}.p SELECT i, 1 FROM generate_series(101, 109) i;
"""
P, P1, P2A, PD = (f"SELECT * FROM {{s}}.{name} ORDER BY id" for name in ("p", "p1", "p2a", "pd"))
KIDS = """
CREATE TABLE {s}.k1 (x int) INHERITS ({s}.t); INSERT INTO {s}.k1 VALUES (50, 1, 1), (51, 1, 1);
CREATE TABLE {s}.k2 () INHERITS ({s}.k1); INSERT INTO {s}.k2 VALUES (60, 1, 1), (61, 1, 1);
CREATE TABLE {s}.k3 () INHERITS ({s}.k1, {s}.u); INSERT INTO {s}.k3 VALUES (70, 1, 1), (71, 1, 1);
"""
K1, K2 = "SELECT * FROM {s}.k1 ORDER BY id", "SELECT * FROM {s}.k2 ORDER BY id"
FAMILY = [
    write("partition_insert_routed", "INSERT INTO {s}.p VALUES (10 + {n}, 1)", setup=PARTS, reads=(P, P1)),
    write("partition_insert_sub", "INSERT INTO {s}.p VALUES (110 + {n}, 2)", setup=PARTS, reads=(P, P2A)),
    write("partition_insert_default", "INSERT INTO {s}.p VALUES (900 + {n}, 2)", setup=PARTS, reads=(P, PD)),
    write("partition_leaf_written", "UPDATE {s}.p1 SET v = v + 1", setup=PARTS, reads=(P, P1)),
    write("partition_sub_leaf_written", "UPDATE {s}.p2a SET v = v + 1", setup=PARTS, reads=(P, "SELECT * FROM {s}.p2 ORDER BY id")),
    write("partition_root_updated", "UPDATE {s}.p SET v = v + 1", setup=PARTS, reads=(P1, P2A)),
    write("partition_row_moves", "UPDATE {s}.p SET id = id + 100 WHERE id = {n}", setup=PARTS, reads=(P1, P2A, P)),
    write("partition_deleted", "DELETE FROM {s}.p WHERE id % 100 = {n}", setup=PARTS, reads=(P1, P2A)),
    write("partition_truncate_root", "TRUNCATE {s}.p", "INSERT INTO {s}.p VALUES (5, {n})", setup=PARTS, reads=(P1, P)),
    write("partition_truncate_leaf", "TRUNCATE {s}.p1", "INSERT INTO {s}.p VALUES (5, {n})", setup=PARTS, reads=(P1, P)),
    write("partition_copy", CopyIn("COPY {s}.p FROM STDIN", "2{n}\t1\n"), setup=PARTS, reads=(P, P1)),
    write("partition_copy_leaf", CopyIn("COPY {s}.p1 FROM STDIN", "2{n}\t1\n"), setup=PARTS, reads=(P, P1)),
    write("partition_upsert", "INSERT INTO {s}.q VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = q.v + 1", setup="CREATE TABLE {s}.q (id int PRIMARY KEY, v int) PARTITION BY HASH (id); CREATE TABLE {s}.q1 PARTITION OF {s}.q FOR VALUES WITH (MODULUS 1, REMAINDER 0)", reads=("SELECT * FROM {s}.q", "SELECT * FROM {s}.q1")),
    write("partition_merge", "MERGE INTO {s}.p USING {s}.u ON p.id = u.id WHEN MATCHED THEN UPDATE SET v = p.v + 1", setup=PARTS, reads=(P1,), since=15),
    write("partition_trigger", "UPDATE {s}.p SET v = v + 1 WHERE id = 1", setup=PARTS + "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE {s}.t SET v = v + 1; RETURN NULL; END$$; CREATE TRIGGER tr AFTER UPDATE ON {s}.p1 FOR EACH ROW EXECUTE FUNCTION {s}.f()", reads=(T, P)),
    write("partition_trigger_of_root", "UPDATE {s}.p1 SET v = v + 1 WHERE id = 1", setup=PARTS + "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE {s}.t SET v = v + 1; RETURN NULL; END$$; CREATE TRIGGER tr AFTER UPDATE ON {s}.p FOR EACH ROW EXECUTE FUNCTION {s}.f()", reads=(T, P)),
    write("partition_referenced", "DELETE FROM {s}.q WHERE id = {n}", setup="CREATE TABLE {s}.q (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE {s}.q1 PARTITION OF {s}.q FOR VALUES FROM (0) TO (99); INSERT INTO {s}.q SELECT generate_series(1, 9); CREATE TABLE {s}.c (q int REFERENCES {s}.q ON DELETE CASCADE); INSERT INTO {s}.c SELECT generate_series(1, 9)", reads=("SELECT * FROM {s}.c ORDER BY q", "SELECT * FROM {s}.q1 ORDER BY id")),
    write("partition_view", "UPDATE {s}.p1 SET v = v + 1", setup=PARTS + "CREATE VIEW {s}.vw AS SELECT * FROM {s}.p", reads=(VW,)),
    write("partition_other_tables_stay", "UPDATE {s}.p1 SET v = v + 1", setup=PARTS, reads=(T,), changes=False, stays=True),
    write("inheritance_child_written", "UPDATE {s}.k1 SET v = v + 1", setup=KIDS, reads=(T, K1)),
    write("inheritance_grandchild_written", "INSERT INTO {s}.k2 VALUES (80 + {n}, 1, 1)", setup=KIDS, reads=(T, K1, K2)),
    write("inheritance_parent_updated", "UPDATE {s}.t SET v = v + 1", setup=KIDS, reads=(K1, K2)),
    write("inheritance_two_parents", "UPDATE {s}.u SET v = v + 1", setup=KIDS, reads=(U, K1)),
    write("inheritance_only", "UPDATE ONLY {s}.t SET v = v + 1", setup=KIDS, reads=(T, "SELECT * FROM ONLY {s}.t ORDER BY id")),
    write("inheritance_truncate", "TRUNCATE {s}.t", "INSERT INTO {s}.k2 VALUES (80, {n}, 1)", setup=KIDS, reads=(T, K2)),
    write("inheritance_delete", "DELETE FROM {s}.t WHERE id IN ({n}, 50, 60) AND id + 1 > {n}", setup=KIDS, reads=(T, K1)),
    write("inheritance_read_star", "UPDATE {s}.k2 SET v = v + 1", setup=KIDS, reads=("SELECT * FROM {s}.t * ORDER BY id",)),
]

FK = """
CREATE TABLE {s}.c (id int PRIMARY KEY, t int DEFAULT 6 REFERENCES {s}.t ON DELETE {a} ON UPDATE {b});
INSERT INTO {s}.c SELECT i + 10, i FROM generate_series(1, 6) i;
CREATE TABLE {s}.g (id int PRIMARY KEY, c int REFERENCES {s}.c ON DELETE {a} ON UPDATE {b});
INSERT INTO {s}.g SELECT i + 20, i + 10 FROM generate_series(1, 6) i;
"""
C, G = "SELECT * FROM {s}.c ORDER BY id", "SELECT * FROM {s}.g ORDER BY id"
CASCADE = FK.replace("{a}", "CASCADE").replace("{b}", "CASCADE")
DEL = "DELETE FROM {s}.t WHERE id = {n}"


def fk(on_delete: str, on_update: str = "NO ACTION") -> str:
    return FK.replace("{a}", on_delete).replace("{b}", on_update)


KEYS = [
    write("fk_delete_cascade", DEL, setup=CASCADE, reads=(C,)),
    write("fk_delete_two_levels", DEL, setup=CASCADE, reads=(G,)),
    write("fk_delete_set_null", DEL, setup=fk("SET NULL"), reads=(C,)),
    write("fk_delete_set_default", DEL, setup=fk("SET DEFAULT"), reads=(C,)),
    write("fk_delete_set_null_column", DEL, setup="CREATE TABLE {s}.c (id int, t int REFERENCES {s}.t ON DELETE SET NULL (t)); INSERT INTO {s}.c SELECT i, i FROM generate_series(1, 6) i", reads=(C,), since=15),
    write("fk_update_cascade", "UPDATE {s}.t SET id = id + 50 WHERE id = {n}", setup=CASCADE, reads=(C,)),
    write("fk_update_set_null", "UPDATE {s}.t SET id = id + 50 WHERE id = {n}", setup=fk("NO ACTION", "SET NULL"), reads=(C,)),
    write("fk_update_of_other_column", UPD, setup=CASCADE, reads=(T, C)),
    idle("fk_restrict", DEL, setup=fk("RESTRICT"), reads=(C, T), error="23001 23503"),
    idle("fk_child_written_parent_stays", "UPDATE {s}.g SET c = c WHERE id = 0", setup=fk("CASCADE"), reads=(T, C)),
    write("fk_child_written", "DELETE FROM {s}.c WHERE id = 10 + {n}", setup=fk("CASCADE"), reads=(C, G, T)),
    write("fk_self", "DELETE FROM {s}.n WHERE id = {n}", setup="CREATE TABLE {s}.n (id int PRIMARY KEY, up int REFERENCES {s}.n ON DELETE CASCADE); INSERT INTO {s}.n SELECT i, CASE WHEN i > 4 THEN (i - 1) % 4 + 1 END FROM generate_series(1, 12) i", reads=("SELECT * FROM {s}.n ORDER BY id",)),
    write("fk_circle", "DELETE FROM {s}.x WHERE id = {n}", setup="CREATE TABLE {s}.x (id int PRIMARY KEY, y int); CREATE TABLE {s}.y (id int PRIMARY KEY, x int REFERENCES {s}.x ON DELETE CASCADE); INSERT INTO {s}.x SELECT i, i FROM generate_series(1, 6) i; INSERT INTO {s}.y SELECT i, i FROM generate_series(1, 6) i; ALTER TABLE {s}.x ADD FOREIGN KEY (y) REFERENCES {s}.y ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED", reads=("SELECT * FROM {s}.x ORDER BY id", "SELECT * FROM {s}.y ORDER BY id")),
    write("fk_deferred_cascade", "BEGIN", DEL, "COMMIT", setup="CREATE TABLE {s}.c (id int, t int REFERENCES {s}.t ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED); INSERT INTO {s}.c SELECT i, i FROM generate_series(1, 6) i", reads=(C,)),
    write("fk_two_columns", "DELETE FROM {s}.m WHERE a = {n}", setup="CREATE TABLE {s}.m (a int, b int, PRIMARY KEY (a, b)); INSERT INTO {s}.m SELECT i, i FROM generate_series(1, 6) i; CREATE TABLE {s}.c (id int, a int, b int, FOREIGN KEY (a, b) REFERENCES {s}.m ON DELETE CASCADE); INSERT INTO {s}.c SELECT i, i, i FROM generate_series(1, 6) i", reads=(C,)),
    write("fk_to_child_with_trigger", DEL, setup=CASCADE + "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE {s}.u SET v = v + 1; RETURN NULL; END$$; CREATE TRIGGER tr AFTER DELETE ON {s}.g FOR EACH ROW EXECUTE FUNCTION {s}.f()", reads=(U,)),
    write("fk_merge_deletes", "MERGE INTO {s}.t USING (SELECT {n} AS id) q ON t.id = q.id WHEN MATCHED THEN DELETE", setup=CASCADE, reads=(C, G), since=15),
    write("fk_upsert_moves_key", "INSERT INTO {s}.t VALUES ({n}, 1) ON CONFLICT (id) DO UPDATE SET id = t.id + 50", setup=CASCADE, reads=(C,)),
    write("fk_partitioned_child", DEL, setup="CREATE TABLE {s}.c (id int, t int REFERENCES {s}.t ON DELETE CASCADE) PARTITION BY RANGE (id); CREATE TABLE {s}.c1 PARTITION OF {s}.c DEFAULT; INSERT INTO {s}.c SELECT i, i FROM generate_series(1, 6) i", reads=(C, "SELECT * FROM {s}.c1 ORDER BY id")),
    write("truncate_cascade", "TRUNCATE {s}.t CASCADE", "INSERT INTO {s}.t VALUES (1, {n})", "INSERT INTO {s}.c VALUES ({n}, 1)", setup=CASCADE, reads=(T, C, G)),
    write("truncate_cascade_far", "TRUNCATE {s}.t CASCADE", undo=("INSERT INTO {s}.t VALUES (1, 1)", "INSERT INTO {s}.c VALUES (1, 1)", "INSERT INTO {s}.g VALUES (1, 1)"), setup=CASCADE, reads=(G,)),
]


def trigger(when: str, body: str, level: str = "STATEMENT", on: str = "u", more: str = "") -> str:
    """A trigger function with this body and its trigger on `{s}.<on>`."""
    return (
        f"CREATE FUNCTION {{s}}.tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$;"
        f"CREATE {'CONSTRAINT ' if more else ''}TRIGGER tr {when} ON {{s}}.{on} {more}"
        f" FOR EACH {level} EXECUTE FUNCTION {{s}}.tf();"
    )


BUMP = "UPDATE {s}.t SET v = v + 1; RETURN NULL;"
DEFERRED = "DEFERRABLE INITIALLY DEFERRED"
UPU = "UPDATE {s}.u SET v = v + 1"
TRIGGERS = [
    write("trigger_statement", UPU, setup=trigger("AFTER UPDATE", BUMP), reads=(T, U)),
    write("trigger_row", UPU + " WHERE id = 1", setup=trigger("AFTER UPDATE", BUMP, "ROW"), reads=(T,)),
    write("trigger_before_row", UPU, setup=trigger("BEFORE UPDATE", "NEW.v := NEW.v + 5; UPDATE {s}.t SET v = v + 1; RETURN NEW;", "ROW"), reads=(T, U)),
    write("trigger_on_no_rows", UPU + " WHERE false", setup=trigger("AFTER UPDATE", BUMP), reads=(T,)),
    write("trigger_insert", "INSERT INTO {s}.u VALUES (20 + {n}, 1)", setup=trigger("AFTER INSERT", BUMP), reads=(T,)),
    write("trigger_delete", "DELETE FROM {s}.u WHERE id = {n}", setup=trigger("AFTER DELETE", BUMP), reads=(T,)),
    write("trigger_truncate", "TRUNCATE {s}.u", setup=trigger("AFTER TRUNCATE", BUMP), reads=(T,)),
    write("trigger_upsert", "INSERT INTO {s}.u VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET v = u.v + 1", setup=trigger("AFTER UPDATE", BUMP), reads=(T,)),
    write("trigger_merge", "MERGE INTO {s}.u USING {s}.t ON t.id = u.id WHEN MATCHED THEN UPDATE SET v = u.v + 1", setup=trigger("AFTER UPDATE", BUMP), reads=(T,), since=15),
    write("trigger_copy", CopyIn("COPY {s}.u FROM STDIN", "5{n}\t1\n"), setup=trigger("AFTER INSERT", BUMP, "ROW"), reads=(T,)),
    write("trigger_of_column", UPU, setup=trigger("AFTER UPDATE OF v", BUMP), reads=(T,)),
    write("trigger_when", UPU, setup="CREATE FUNCTION {s}.tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE {s}.t SET v = v + 1; RETURN NULL; END$$; CREATE TRIGGER tr AFTER UPDATE ON {s}.u FOR EACH ROW WHEN (NEW.v > 0) EXECUTE FUNCTION {s}.tf()", reads=(T,)),
    write("trigger_transition_tables", UPU, setup="CREATE FUNCTION {s}.tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO {s}.log SELECT id, v FROM fresh; RETURN NULL; END$$; CREATE TABLE {s}.log (id int, v int); CREATE TRIGGER tr AFTER UPDATE ON {s}.u REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION {s}.tf()", reads=("SELECT * FROM {s}.log ORDER BY 1, 2",)),
    write("trigger_deferred", UPU, setup=trigger("AFTER UPDATE", BUMP, "ROW", more=DEFERRED), reads=(T,)),
    write("trigger_deferred_in_transaction", "BEGIN", UPU, "COMMIT", setup=trigger("AFTER UPDATE", BUMP, "ROW", more=DEFERRED), reads=(T,)),
    write("trigger_deferred_by_set", "BEGIN", "SET CONSTRAINTS ALL DEFERRED", UPU, "SET CONSTRAINTS ALL IMMEDIATE", "COMMIT", setup=trigger("AFTER UPDATE", BUMP, "ROW", more="DEFERRABLE"), reads=(T,)),
    write("trigger_chain", UPU, setup=trigger("AFTER UPDATE", BUMP) + "CREATE TABLE {s}.log (n int); CREATE FUNCTION {s}.tg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO {s}.log VALUES (1); RETURN NULL; END$$; CREATE TRIGGER tr2 AFTER UPDATE ON {s}.t EXECUTE FUNCTION {s}.tg()", reads=("SELECT count(*) FROM {s}.log",)),
    write("trigger_calls_function", UPU, setup="CREATE FUNCTION {s}.deep(int) RETURNS int LANGUAGE sql AS 'UPDATE {s}.t SET v = v + $1 RETURNING 1';" + trigger("AFTER UPDATE", "PERFORM {s}.deep(2); RETURN NULL;"), reads=(T,)),
    write("trigger_with_argument", UPU, setup="CREATE FUNCTION {s}.tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN UPDATE {s}.t SET v = v + TG_ARGV[0]::int; RETURN NULL; END$$; CREATE TRIGGER tr AFTER UPDATE ON {s}.u EXECUTE FUNCTION {s}.tf('3')", reads=(T,)),
    write("trigger_branches", UPU, setup=trigger("AFTER INSERT OR UPDATE OR DELETE", "IF TG_OP = 'UPDATE' THEN UPDATE {s}.t SET v = v + 1; ELSIF TG_OP = 'DELETE' THEN DELETE FROM {s}.t; END IF; RETURN NULL;"), reads=(T,)),
    write("trigger_on_view", "UPDATE {s}.vw SET v = 3", setup="CREATE VIEW {s}.vw AS SELECT * FROM {s}.u;" + trigger("INSTEAD OF UPDATE", "UPDATE {s}.t SET v = v + 1 WHERE id = OLD.id; RETURN NEW;", "ROW", "vw"), reads=(T,)),
    write("trigger_on_view_of_functions", "INSERT INTO {s}.vw VALUES (70 + {n})", setup="CREATE VIEW {s}.vw AS SELECT 1 AS id;" + trigger("INSTEAD OF INSERT", "INSERT INTO {s}.t VALUES (NEW.id, 0); RETURN NEW;", "ROW", "vw"), reads=(T,)),
    write("trigger_own_path", UPU, setup=trigger("AFTER UPDATE", "UPDATE t SET v = v + 1; RETURN NULL;") + "ALTER FUNCTION {s}.tf() SET search_path = {s}", reads=(T,)),
    write("trigger_disabled", UPU, setup=trigger("AFTER UPDATE", BUMP) + "ALTER TABLE {s}.u DISABLE TRIGGER tr", reads=(T, U)),
    write("trigger_only_for_other_event", "DELETE FROM {s}.u WHERE id = {n} + 100", setup=trigger("AFTER UPDATE", BUMP), reads=(T,), changes=False, stays=True),
    write("trigger_reads_only", UPU, setup=trigger("AFTER UPDATE", "PERFORM count(*) FROM {s}.t; RETURN NULL;"), reads=(U, T)),
    write("trigger_raises", UPU, setup=trigger("AFTER UPDATE", "RAISE 'no'; RETURN NULL;"), reads=(U, T), error="P0001", changes=False, stays=True),
    write("trigger_updated_at", UPU + " WHERE id = 1", setup="ALTER TABLE {s}.u ADD at timestamptz;" + trigger("BEFORE UPDATE", "NEW.at := now(); RETURN NEW;", "ROW"), reads=(U,)),
    write("trigger_audit", UPU, setup="CREATE TABLE {s}.audit (op text, who name, at timestamptz DEFAULT now(), row jsonb);" + trigger("AFTER INSERT OR UPDATE OR DELETE", "INSERT INTO {s}.audit (op, who, row) VALUES (TG_OP, current_user, to_jsonb(OLD)); RETURN NULL;", "ROW"), reads=("SELECT op, count(*) FROM {s}.audit GROUP BY op", U)),
    write("trigger_cycle", UPU, setup=trigger("AFTER UPDATE", "IF pg_trigger_depth() < 2 THEN UPDATE {s}.t SET v = v + 1; END IF; RETURN NULL;") + "CREATE TRIGGER tr2 AFTER UPDATE ON {s}.t EXECUTE FUNCTION {s}.tf()", reads=(T,)),
    opaque("trigger_dynamic", UPU, setup=trigger("AFTER UPDATE", "EXECUTE format('UPDATE %I.t SET v = v + 1', TG_TABLE_SCHEMA); RETURN NULL;"), reads=(T,), why="dynamic SQL"),
]


def rule(text: str) -> str:
    return f"CREATE RULE r AS {text}"


RULES = [
    write("rule_also", UPU, setup=rule("ON UPDATE TO {s}.u DO ALSO UPDATE {s}.t SET v = v + 1"), reads=(T, U)),
    write("rule_instead", UPU, setup=rule("ON UPDATE TO {s}.u DO INSTEAD UPDATE {s}.t SET v = v + 1"), reads=(T, U)),
    write("rule_instead_nothing", UPU, setup=rule("ON UPDATE TO {s}.u DO INSTEAD NOTHING"), reads=(U,), changes=False),
    write("rule_several", "DELETE FROM {s}.u WHERE id = {n}", setup="CREATE TABLE {s}.log (n int);" + rule("ON DELETE TO {s}.u DO ALSO (INSERT INTO {s}.log VALUES (OLD.id); UPDATE {s}.t SET v = v + 1)"), reads=(T, "SELECT count(*) FROM {s}.log")),
    write("rule_conditional", UPU, setup=rule("ON UPDATE TO {s}.u WHERE NEW.v > 0 DO ALSO UPDATE {s}.t SET v = v + 1"), reads=(T,)),
    write("rule_on_view", "INSERT INTO {s}.vw VALUES (80 + {n})", setup="CREATE VIEW {s}.vw AS SELECT 1 AS id;" + rule("ON INSERT TO {s}.vw DO INSTEAD INSERT INTO {s}.t VALUES (NEW.id, 0)"), reads=(T,)),
    write("rule_chain", UPU, setup=rule("ON UPDATE TO {s}.u DO ALSO UPDATE {s}.vw SET v = v + 1").replace("CREATE RULE", "CREATE VIEW {s}.vw AS SELECT * FROM {s}.t; CREATE RULE"), reads=(T,)),
    write("rule_calls_function", UPU, setup="CREATE FUNCTION {s}.f() RETURNS int LANGUAGE sql AS 'UPDATE {s}.t SET v = v + 1 RETURNING 1';" + rule("ON UPDATE TO {s}.u DO ALSO SELECT {s}.f()"), reads=(T,)),
    write("rule_of_other_event", "DELETE FROM {s}.u WHERE id = {n} + 100", setup=rule("ON UPDATE TO {s}.u DO ALSO DELETE FROM {s}.t"), reads=(T,), changes=False, stays=True),
]

REACH = VIEWS + MATVIEWS + FAMILY + KEYS + TRIGGERS + RULES
