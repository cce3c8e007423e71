"""Writes: a read is primed, the steps run, and after each the read must be right.

Every case has a schema of its own with `t` and `u`, three rows each, and whatever its
`setup` adds; `{s}` stands for that schema. A step is SQL for the simple protocol, or a
function of a raw connection; `On` runs it in another session, `Quiet` is not followed
by reads (they would block on its locks). Numbers in names are those of the list of
wrong results that other caches are known to have had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fix_wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    Frame,
    Wire,
    bind,
    copy_data,
    copy_fail,
    describe,
    execute,
    parse,
    query,
)

Action = Callable[[Wire, str], list[Frame]]


@dataclass(frozen=True)
class On:
    """Run the step in the session of this name."""

    session: str
    step: str | Action


@dataclass(frozen=True)
class Quiet:
    """A step after which other sessions cannot read."""

    step: str | Action | On


Step = str | Action | On | Quiet
T = "SELECT * FROM {s}.t ORDER BY id"
U = "SELECT * FROM {s}.u ORDER BY id"


@dataclass(frozen=True)
class Write:
    """One case; `cacheable` says that the reads must be hits before and after."""

    name: str
    steps: tuple[Step, ...]
    setup: str = ""
    reads: tuple[str, ...] = (T,)
    cacheable: bool = True
    hits_after: bool = field(default=True)


def w(name: str, *steps: Step, **more: object) -> Write:
    return Write(name, steps, **more)  # type: ignore[arg-type]


def ext(sql: str, limit: int = 0) -> Action:
    """One extended round trip."""
    return lambda wire, s: wire.extended(sql.format(s=s), limit=limit)


def pipeline(*statements: str) -> Action:
    """Several Parse/Bind/Execute before one Sync."""

    def run(wire: Wire, s: str) -> list[Frame]:
        parts = [parse(q.format(s=s)) + bind() + describe() + execute() for q in statements]
        return wire.ask(*parts, SYNC)

    return run


def several_syncs(*statements: str) -> Action:
    """Parse/Bind/Execute/Sync repeated, sent in one write."""

    def run(wire: Wire, s: str) -> list[Frame]:
        parts = [parse(q.format(s=s)) + bind() + execute() + SYNC for q in statements]
        wire.send(*parts)
        return [frame for _ in statements for frame in wire.until()]

    return run


def queries_in_flight(*statements: str) -> Action:
    """Several Query messages in one write."""

    def run(wire: Wire, s: str) -> list[Frame]:
        wire.send(*(query(q.format(s=s)) for q in statements))
        return [frame for _ in statements for frame in wire.until()]

    return run


def flushed(sql: str) -> Action:
    """Execute and Flush, the answer read, then Sync: CommandComplete precedes the commit."""

    def run(wire: Wire, s: str) -> list[Frame]:
        wire.send(parse(sql.format(s=s)), bind(), execute(), FLUSH)
        frames = wire.until("C")
        return frames + wire.ask(SYNC)

    return run


def execute_then_query(sql: str, then: str) -> Action:
    """An Execute whose implicit transaction is ended by a Query instead of a Sync."""

    def run(wire: Wire, s: str) -> list[Frame]:
        wire.send(parse(sql.format(s=s)), bind(), execute(), query(then.format(s=s)))
        return wire.until()

    return run


def prepared_twice(sql: str) -> Action:
    """Parse once, Bind and Execute twice (19)."""

    def run(wire: Wire, s: str) -> list[Frame]:
        frames = wire.ask(parse(sql.format(s=s), "ins"), SYNC)
        for _ in range(2):
            frames += wire.ask(bind(statement="ins"), execute(), SYNC)
        return frames

    return run


def bind_only(sql: str) -> Action:
    """Parse, Bind and Sync without Execute: planning may already write."""
    return lambda wire, s: wire.ask(parse(sql.format(s=s)), bind(), SYNC)


def copy_in(sql: str, *chunks: bytes, fail: bool = False) -> Action:
    def run(wire: Wire, s: str) -> list[Frame]:
        wire.send(query(sql.format(s=s)))
        frames = wire.until("G")
        wire.send(*(copy_data(c) for c in chunks), copy_fail("no") if fail else COPY_DONE)
        return frames + wire.until()

    return run


def copy_in_extended(sql: str, *chunks: bytes) -> Action:
    def run(wire: Wire, s: str) -> list[Frame]:
        wire.send(parse(sql.format(s=s)), bind(), execute(), FLUSH)
        frames = wire.until("G")
        wire.send(*(copy_data(c) for c in chunks), COPY_DONE, SYNC)
        return frames + wire.until()

    return run


INS = "INSERT INTO {s}.t VALUES (10, 10)"
UPD = "UPDATE {s}.t SET v = v + 1"

PLAIN = [
    w("insert", INS),
    w("insert_extended", ext(INS)),
    w("insert_returning", ext("INSERT INTO {s}.t VALUES (10, 1) RETURNING *")),
    w("insert_select", "INSERT INTO {s}.t SELECT id + 10, v FROM {s}.u"),
    w("insert_default_values", "INSERT INTO {s}.d DEFAULT VALUES", "INSERT INTO {s}.t VALUES (4)"),
    w("update", UPD),
    w("update_from", "UPDATE {s}.t SET v = u.v FROM {s}.u WHERE t.id = u.id"),
    w("update_nothing", "UPDATE {s}.t SET v = 0 WHERE false"),
    w("update_key_25", "UPDATE {s}.t SET id = 99 WHERE id = 1", reads=(T, T + " LIMIT 1")),
    w("update_out_25", UPD, reads=("SELECT id FROM {s}.t WHERE v = 1",)),
    w("limit_window_39", UPD + " WHERE id = 3", reads=("SELECT * FROM {s}.t ORDER BY v LIMIT 2",)),
    w("delete", "DELETE FROM {s}.t WHERE id = 2"),
    w("delete_using", "DELETE FROM {s}.t USING {s}.u WHERE t.id = u.id AND u.id > 1"),
    w("alias_16", "UPDATE {s}.t AS foo SET v = 7 WHERE foo.id = 1"),
    w("only", "UPDATE ONLY {s}.t SET v = 5"),
    w("upsert", "INSERT INTO {s}.t VALUES (1, 50) ON CONFLICT (id) DO UPDATE SET v = excluded.v"),
    w("do_nothing", "INSERT INTO {s}.t VALUES (1, 50) ON CONFLICT DO NOTHING"),
    w(
        "merge_13",
        "MERGE INTO {s}.t USING {s}.u ON t.id = u.id WHEN MATCHED THEN UPDATE SET v = 77"
        " WHEN NOT MATCHED THEN INSERT VALUES (u.id, u.v)",
    ),
    w("truncate", "TRUNCATE {s}.t", INS),
    w("truncate_two", "TRUNCATE {s}.u, {s}.t", reads=(T, U)),
    w("copy_in", copy_in("COPY {s}.t FROM STDIN", b"10\t1\n", b"11\t", b"2\n")),
    w("copy_in_failed", copy_in("COPY {s}.t FROM STDIN", b"10\t1\n", fail=True)),
    w("copy_in_error", copy_in("COPY {s}.t FROM STDIN", b"10\tx\n")),
    w("copy_in_extended", copy_in_extended("COPY {s}.t (id, v) FROM STDIN", b"10\t1\n")),
    w(
        "cte_insert_14",
        *["WITH c AS (INSERT INTO {s}.t SELECT max(id) + 1, 0 FROM {s}.t RETURNING *) SELECT 1"]
        * 2,
    ),
    w("cte_delete", "WITH c AS (DELETE FROM {s}.t WHERE id = 1) SELECT * FROM {s}.u"),
    w(
        "explain_analyze_15",
        "EXPLAIN (ANALYZE, BUFFERS OFF, COSTS OFF, TIMING OFF, SUMMARY OFF) " + INS,
    ),
    w("explain", "EXPLAIN (COSTS OFF) " + INS),
    w("schema_path_17", "SET search_path = {s}", "UPDATE t SET v = 9", "RESET search_path"),
    w("multi_statement_18", "SELECT 1; " + UPD),
    w("multi_statement_error", UPD + "; SELECT 1 / 0"),
    w("multi_statement_comment", "/* x; y */ " + UPD + " -- done"),
    w("prepared_19", prepared_twice("INSERT INTO {s}.t SELECT max(id) + 1, 0 FROM {s}.t")),
    w("max_rows_20", ext(UPD + " RETURNING id", limit=1)),
    w("max_rows_20_update", ext(UPD, limit=1)),
    w("flush_before_sync", flushed(UPD)),
    w("query_instead_of_sync", execute_then_query(UPD, "SELECT 1")),
    w("query_instead_of_sync_error", execute_then_query(UPD, "SELECT 1 / 0")),
    w("pipeline", pipeline(UPD, "SELECT 1", "DELETE FROM {s}.t WHERE id = 1")),
    w("pipeline_error_42", pipeline(UPD, "SELECT 1 / 0", UPD)),
    w("several_syncs", several_syncs(UPD, T, UPD, T)),
    w("several_syncs_error", several_syncs(UPD, "SELECT 1 / 0", UPD, T)),
    w("queries_in_flight", queries_in_flight(T, UPD, T, INS, T)),
    w(
        "sql_prepare",
        "PREPARE p AS UPDATE {s}.t SET v = $1",
        "EXECUTE p (5)",
        "EXECUTE p (6)",
        "DEALLOCATE p",
    ),
    w("sql_prepare_extended", ext("PREPARE q AS " + UPD), ext("EXECUTE q"), "DEALLOCATE q"),
    w(
        "join_23",
        "UPDATE {s}.u SET v = 9",
        reads=("SELECT t.id, u.v FROM {s}.t JOIN {s}.u USING (id) ORDER BY 1",),
    ),
    w(
        "filter_subquery_23",
        "DELETE FROM {s}.u WHERE id = 1",
        reads=("SELECT count(*) FILTER (WHERE id IN (SELECT id FROM {s}.u)) FROM {s}.t",),
    ),
    w(
        "order_by_subquery_23",
        "UPDATE {s}.u SET v = -v",
        reads=("SELECT id FROM {s}.t ORDER BY (SELECT v FROM {s}.u WHERE u.id = t.id)",),
    ),
    w("other_table", "UPDATE {s}.u SET v = 9"),
    w("select_into", "SELECT * INTO {s}.copy FROM {s}.t", "DROP TABLE {s}.copy"),
]

TRANSACTIONS = [
    w("tx_update_1", "BEGIN", UPD, "COMMIT", T),
    w("tx_update_1_extended", ext("BEGIN"), ext(UPD), ext("COMMIT"), ext(T)),
    w("tx_one_query", "BEGIN; " + UPD + "; COMMIT"),
    w("tx_one_query_open", INS + "; BEGIN", "COMMIT"),
    w("tx_one_query_open_abort", INS + "; BEGIN", "ROLLBACK"),
    w("tx_commit_then_more", "BEGIN; " + UPD + "; COMMIT; SELECT 1"),
    w("tx_commit_then_error", "BEGIN; " + UPD + "; COMMIT; SELECT 1 / 0"),
    w("tx_two_tables_2", "BEGIN", "DELETE FROM {s}.u WHERE id = 1", INS, "COMMIT"),
    w("tx_rollback_3", "BEGIN", INS, T, "ROLLBACK", T),
    w("tx_abort_3", "BEGIN", INS, T, "ABORT"),
    w("tx_end", "START TRANSACTION", UPD, "END"),
    w("tx_commit_work", "BEGIN WORK", UPD, "COMMIT WORK"),
    w("savepoint_4", "BEGIN", UPD, "SAVEPOINT a", INS, "ROLLBACK TO a", T, "COMMIT", T),
    w("savepoint_release", "BEGIN", "SAVEPOINT a", UPD, "RELEASE a", "COMMIT"),
    w("savepoint_only_undone", "BEGIN", "SAVEPOINT a", UPD, "ROLLBACK TO a", T, "COMMIT"),
    w("failed_5", T, "BEGIN", "SELECT 1 / 0", T, T, "COMMIT", T),
    w("failed_5_extended", ext(T), ext("BEGIN"), ext("SELECT 1 / 0"), ext(T), ext("ROLLBACK")),
    w("failed_write", "BEGIN", UPD, "SELECT 1 / 0", T, "COMMIT", T),
    w("failed_then_savepoint", "BEGIN", UPD, "SAVEPOINT a", "SELECT 1/0", "ROLLBACK TO a", "END"),
    w("status_6", "BEGIN", T, T, "ROLLBACK", T),
    w("status_6_extended", ext("BEGIN"), ext(T), ext(T), ext("COMMIT"), ext(T)),
    w("read_only_tx", "BEGIN READ ONLY", T, UPD, "ROLLBACK"),
    w(
        "deferred_begin_isolation",
        "BEGIN",
        T,
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "END",
    ),
    w("set_transaction_first", "BEGIN", "SET TRANSACTION READ ONLY", T, UPD, "END"),
    w(
        "isolation_9",
        "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        "SHOW transaction_isolation",
        "SHOW transaction_read_only",
        "SHOW transaction_deferrable",
        T,
        "COMMIT",
        "SHOW transaction_isolation",
    ),
    w(
        "repeatable_read_8",
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        T,
        On("b", UPD),
        T,
        "COMMIT",
        T,
    ),
    w(
        "repeatable_read_set",
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        T,
        On("b", UPD),
        T,
        "END",
    ),
    w(
        "repeatable_read_default",
        "SET default_transaction_isolation = 'repeatable read'",
        "BEGIN",
        T,
        On("b", UPD),
        T,
        "COMMIT",
        T,
        "RESET default_transaction_isolation",
        T,
    ),
    w("read_committed_sees_others", "BEGIN", T, On("b", UPD), T, "COMMIT"),
    w("two_writers", "BEGIN", UPD + " WHERE id = 1", On("b", UPD + " WHERE id = 2"), T, "COMMIT"),
    w("chain", "BEGIN", UPD, "COMMIT AND CHAIN", T, INS, "ROLLBACK", T),
    w("chain_commit", "BEGIN", UPD, "COMMIT AND CHAIN", INS, "COMMIT AND NO CHAIN"),
    w("rollback_chain", "BEGIN", UPD, "ROLLBACK AND CHAIN", T, INS, "COMMIT"),
    w("set_in_tx_10", "BEGIN", "SET LOCAL search_path = {s}", "UPDATE t SET v = 3", T, "COMMIT", T),
    w("nested_begin", "BEGIN", "BEGIN", UPD, "COMMIT", "COMMIT"),
    w("commit_outside", "COMMIT", "ROLLBACK", T),
    w("two_phase_11", "BEGIN", UPD, "PREPARE TRANSACTION '{s}'", On("b", "COMMIT PREPARED '{s}'")),
    w("two_phase_rollback", "BEGIN", UPD, "PREPARE TRANSACTION '{s}'", "ROLLBACK PREPARED '{s}'"),
    w("two_phase_unknown", "COMMIT PREPARED 'not there'", T),
    w("lock_then_read", "BEGIN", "SELECT id FROM {s}.t FOR UPDATE", T, "COMMIT"),
    w("lock_table", "BEGIN", "LOCK TABLE {s}.t IN SHARE MODE", T, T, "COMMIT"),
    w(
        "deferred_constraint_fails_at_commit",
        "BEGIN",
        "INSERT INTO {s}.c VALUES (1, 99)",
        INS,
        "COMMIT",
        setup="CREATE TABLE {s}.c (id int, t int REFERENCES {s}.t DEFERRABLE INITIALLY DEFERRED)",
    ),
    w(
        "deferred_constraint_fails_at_sync",
        pipeline(INS, "INSERT INTO {s}.c VALUES (1, 99)"),
        setup="CREATE TABLE {s}.c (id int, t int REFERENCES {s}.t DEFERRABLE INITIALLY DEFERRED)",
    ),
    w("pipeline_tx", pipeline("BEGIN", UPD, T, "COMMIT"), T),
    w("pipeline_tx_error", pipeline("BEGIN", UPD, "SELECT 1 / 0", "COMMIT"), "ROLLBACK", T),
    w("pipeline_commit_then_write", pipeline("BEGIN", UPD, "COMMIT", INS), T),
    w("several_syncs_tx", several_syncs("BEGIN", UPD, T, "COMMIT", T)),
    w("hits_then_write", "BEGIN", T, T, UPD, T, "COMMIT", T),
    w("empty_tx", "BEGIN", "COMMIT", "BEGIN", "ROLLBACK"),
    w(
        "cursor_update",
        "BEGIN",
        "DECLARE cur CURSOR FOR SELECT * FROM {s}.t ORDER BY id FOR UPDATE",
        "FETCH 1 FROM cur",
        "UPDATE {s}.t SET v = 100 WHERE CURRENT OF cur",
        "COMMIT",
    ),
    w(
        "cursor_hold",
        "BEGIN",
        "DECLARE held CURSOR WITH HOLD FOR SELECT * FROM {s}.t ORDER BY id",
        UPD,
        "COMMIT",
        "FETCH ALL FROM held",
        "CLOSE held",
    ),
]

WRITER = """
CREATE FUNCTION {s}.f_writes() RETURNS int LANGUAGE plpgsql AS
    $$BEGIN UPDATE {s}.t SET v = v + 1; RETURN 1; END$$;
CREATE FUNCTION {s}.f_lies() RETURNS int IMMUTABLE LANGUAGE plpgsql AS
    $$BEGIN RETURN {s}.f_writes(); END$$;
CREATE FUNCTION {s}.f_dynamic(text) RETURNS int LANGUAGE plpgsql AS
    $$BEGIN EXECUTE $1; RETURN 1; END$$;
CREATE PROCEDURE {s}.p_writes() LANGUAGE plpgsql AS
    $$BEGIN UPDATE {s}.t SET v = v + 1; COMMIT; UPDATE {s}.t SET v = v + 1; END$$;
CREATE PROCEDURE {s}.p_fails() LANGUAGE plpgsql AS
    $$BEGIN UPDATE {s}.t SET v = v + 1; COMMIT; RAISE 'after the commit'; END$$;
"""
FK = """
CREATE TABLE {s}.c (id int PRIMARY KEY, t int REFERENCES {s}.t ON DELETE {a} ON UPDATE CASCADE);
INSERT INTO {s}.c SELECT id + 10, id FROM {s}.t;
"""
TRIGGER = """
CREATE FUNCTION {s}.copy() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN UPDATE {s}.t SET v = v + 100; RETURN NULL; END$$;
CREATE TRIGGER tr AFTER INSERT OR UPDATE OR DELETE ON {s}.u EXECUTE FUNCTION {s}.copy();
"""
C = "SELECT * FROM {s}.c ORDER BY id"

INDIRECT = [
    w("fk_refused", "DELETE FROM {s}.t", setup=FK.replace("{a}", "RESTRICT"), reads=(T, C)),
    w("trigger_tx", "BEGIN", "DELETE FROM {s}.u", T, "COMMIT", setup=TRIGGER, reads=(T, U)),
    w("trigger_created", TRIGGER, "UPDATE {s}.u SET v = 1", reads=(T, U)),
    w(
        "trigger_in_tx",
        "BEGIN",
        Quiet(TRIGGER),
        Quiet("UPDATE {s}.u SET v = 1"),
        "COMMIT",
        reads=(T,),
    ),
    w("function_21_extended", ext("SELECT {s}.f_writes()"), setup=WRITER),
    w("function_dynamic", "SELECT {s}.f_dynamic('DELETE FROM {s}.t')", setup=WRITER),
    w("function_liar", "SELECT {s}.f_lies()", setup=WRITER),
    w("function_liar_bind_only", bind_only("SELECT {s}.f_lies()"), setup=WRITER),
    w("function_liar_explain", "EXPLAIN (COSTS OFF) SELECT {s}.f_lies()", setup=WRITER),
    w("function_error", "SELECT {s}.f_writes(), 1 / (SELECT 0)", setup=WRITER),
    w("function_tx", "BEGIN", "SELECT {s}.f_writes()", T, "COMMIT", T, setup=WRITER),
    w("function_with_setting", "SELECT query_to_xml('SELECT 1', true, true, '')", T),
    w("call_21", "CALL {s}.p_writes()", setup=WRITER),
    w("call_extended", ext("CALL {s}.p_writes()"), setup=WRITER),
    w("call_commit_then_error", "CALL {s}.p_fails()", setup=WRITER),
    w("call_commit_then_error_extended", ext("CALL {s}.p_fails()"), setup=WRITER),
    w("do_commit_error", "DO $$BEGIN UPDATE {s}.t SET v = 0; COMMIT; RAISE 'x'; END$$"),
    w("notify", "NOTIFY {s}, 'x'", T),
    w("large_object", "SELECT lo_create(0) > 0", T),
]

DDL = [
    w(
        "swap_in_tx",
        "BEGIN",
        Quiet("ALTER TABLE {s}.t RENAME TO tt"),
        Quiet("ALTER TABLE {s}.u RENAME TO t"),
        "COMMIT",
    ),
    w(
        "ddl_rolled_back",
        "BEGIN",
        Quiet("ALTER TABLE {s}.t ADD COLUMN x int"),
        Quiet(T),
        "ROLLBACK",
        T,
    ),
    w("set_schema_27", "ALTER TABLE {s}.t SET SCHEMA other", T, "DROP TABLE other.t"),
    w("drop_schema", "DROP SCHEMA {s} CASCADE", hits_after=False),
    w("revoke_27", "REVOKE ALL ON {s}.t FROM PUBLIC", T),
    w("vacuum_full", "VACUUM FULL {s}.t", T),
    w("cluster", "CLUSTER {s}.t USING t_pkey", T),
    w("unparsable", "THIS IS NOT SQL", T),
    w("ddl_multi", "CREATE TABLE {s}.n (a int); " + UPD + "; DROP TABLE {s}.n"),
    w("ddl_pipeline", pipeline("ALTER TABLE {s}.t ADD COLUMN z int", UPD)),
    w("two_unnamed_parses_44", pipeline("CREATE TABLE {s}.n2 (a int)", "SELECT * FROM {s}.t")),
]

WRITES = PLAIN + TRANSACTIONS + INDIRECT + DDL
BASE = """
CREATE SCHEMA {s};
CREATE TABLE {s}.t (id int PRIMARY KEY, v int);
CREATE TABLE {s}.u (id int PRIMARY KEY, v int);
CREATE TABLE {s}.d (id int DEFAULT 1);
INSERT INTO {s}.t VALUES (1, 1), (2, 2), (3, 3);
INSERT INTO {s}.u VALUES (1, 10), (2, 20), (4, 40);
"""
