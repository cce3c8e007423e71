"""The wrong answers that other caches in front of databases are known to have given.

49 of them, each under a slug that stays, told by its symptom. `tests` names what shows
that Howdah does not: a row of this suite (`closure:<row>`), or a test elsewhere
(`<file under tests/>::<function>[<id>]`; without an id, all of its cases). Numbers in
the names of older tests (`merge_13`) are positions in this list, counted from 1.
`test_known_faults.py` checks that all of these exist.
"""

# A fault is a line or two, however long.
# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from dataclasses import dataclass

WRITES = "differential/test_writes.py::test_write"
SESSIONS = "differential/test_sessions.py::test_session"
FLOWS = "differential/test_protocol.py::test_flow"
INTERLEAVINGS = "adversity/test_interleavings.py"


@dataclass(frozen=True)
class Fault:
    """A wrong answer: its slug, what was seen, and what guards against it."""

    slug: str
    symptom: str
    tests: tuple[str, ...]


def fault(slug: str, symptom: str, *tests: str) -> Fault:
    return Fault(slug, symptom, tests)


FAULTS = [
    # When an entry goes.
    fault("dml-in-transaction-never-evicts", "what BEGIN, UPDATE, COMMIT has changed is still answered as it was", "closure:committed_later", f"{WRITES}[tx_update_1]", f"{WRITES}[tx_update_1_extended]"),
    fault("uncached-table-hides-the-next", "a transaction writes a table without entries, and then the eviction of the next one is skipped", "closure:only_one_is_cached", f"{WRITES}[tx_two_tables_2]"),
    fault("rolled-back-rows-visible", "rows that a transaction read of itself outlive its ROLLBACK", "closure:rolled_back", f"{WRITES}[tx_rollback_3]", f"{WRITES}[tx_abort_3]"),
    fault("rollback-to-savepoint-taken-as-end", "after ROLLBACK TO the cache believes the transaction over", "closure:savepoint_undone", f"{WRITES}[savepoint_4]"),
    fault("hit-in-a-failed-transaction", "a cached answer instead of 25P02", f"{WRITES}[failed_5]", f"{WRITES}[failed_5_extended]"),
    fault("wrong-status-after-a-hit", "ReadyForQuery behind a hit tells another transaction status", f"{WRITES}[status_6]", f"{WRITES}[status_6_extended]"),
    fault("late-fill-stale-for-ever", "an answer that was read before a commit is stored after its eviction", f"{INTERLEAVINGS}::test_late_fill_7", f"{INTERLEAVINGS}::test_fill_in_an_open_transaction_of_others"),
    fault("repeatable-read-snapshot-published", "the old snapshot of one transaction becomes everybody's answer", f"{WRITES}[repeatable_read_8]", f"{WRITES}[repeatable_read_set]"),
    fault("begin-modifiers-dropped", "isolation level or READ ONLY of a BEGIN are lost on the way", f"{WRITES}[isolation_9]", f"{WRITES}[deferred_begin_isolation]"),
    fault("setting-in-transaction-hides-its-writes", "a SET in between makes a writing transaction look like a reading one", f"{WRITES}[set_in_tx_10]"),
    fault("commit-prepared-from-another-session", "COMMIT PREPARED elsewhere evicts nothing", "closure:two_phase", f"{WRITES}[two_phase_11]"),
    fault("failed-eviction-only-logged", "the acknowledgement of a commit is lost, and the old entry lives on", f"{INTERLEAVINGS}::test_acknowledgement_lost", f"{INTERLEAVINGS}::test_client_killed_between_commit_and_answer"),
    # What a write reaches.
    fault("merge-not-seen-as-a-write", "MERGE evicts nothing", "closure:merge", "closure:merge_delete"),
    fault("writing-cte-served-from-cache", "WITH x AS (INSERT ...) SELECT runs once and is a hit the second time", "closure:cte_insert", "closure:cte_insert_twice"),
    fault("explain-analyze-writes", "EXPLAIN ANALYZE of a write evicts nothing", "closure:explain_analyze"),
    fault("write-under-an-alias", "UPDATE t AS foo evicts foo", "closure:update_alias"),
    fault("qualified-name-and-other-schemas", "s.t and t under a search path are taken for two tables, or tables outside of public never evicted", "closure:qualified_and_not", f"{WRITES}[schema_path_17]"),
    fault("write-behind-a-select-in-one-query", "SELECT 1; UPDATE ... is cached as a SELECT", "closure:multi_statement", f"{WRITES}[multi_statement_18]"),
    fault("prepared-write-bound-again", "a prepared INSERT that is bound without a new Parse evicts nothing", f"{WRITES}[prepared_19]"),
    fault("write-with-row-limit", "an Execute with a row limit of an UPDATE evicts nothing", f"{WRITES}[max_rows_20]", f"{WRITES}[max_rows_20_update]"),
    fault("write-reaches-other-tables", "cascades, triggers, functions, CALL, DO, views, partitions: only the named table is evicted", "closure:fk_delete_cascade", "closure:truncate_cascade", "closure:trigger_statement", "closure:fw_pl", "closure:call_commits", "closure:do", "closure:view_updatable", "closure:partition_leaf_written", "closure:partition_root_updated"),
    fault("materialized-view-cached-as-a-table", "a materialized view follows its base tables, or outlives its REFRESH", "closure:matview_not_refreshed", "closure:matview_refreshed", "closure:matview_concurrently"),
    fault("self-join-or-subquery-not-tracked", "a table read in FILTER, ORDER BY, OVER or a self-join is no dependency", "closure:read_join_self", "closure:read_filter", "closure:read_order_by", "closure:read_over_order"),
    fault("last-row-of-a-transaction-lost", "under load, or while a first SELECT is on its way, a committed row never arrives", "adversity/test_registers.py::test_no_read_is_older_than_what_was_acknowledged", f"{INTERLEAVINGS}::test_fill_begun_under_a_fence"),
    fault("ghost-rows-of-a-fill-race", "rows that are deleted, moved or truncated while an answer is being filled stay in it", f"{INTERLEAVINGS}::test_late_fill_25", f"{WRITES}[update_key_25]", f"{WRITES}[update_out_25]"),
    fault("deleted-rows-stay-in-a-join", "a DELETE whose old row is not known leaves its rows in cached joins", "closure:delete_without_identity", "closure:update_beside_a_long_value"),
    # Whose rows.
    fault("role-rls-revoke-or-set-schema-ignored", "SET ROLE, row security, REVOKE, BYPASSRLS or SET SCHEMA change what may be read, and the entry stays", "closure:revoke", "closure:row_security_enabled", "closure:table_to_other_schema", f"{SESSIONS}[set_role_27]", f"{SESSIONS}[session_authorization_27]", f"{SESSIONS}[rls_27]", f"{SESSIONS}[bypassrls_27]"),
    fault("refused-set-role-switches", "a SET ROLE that PostgreSQL refused still switches the cache to that role", f"{SESSIONS}[rejected_set_role_28]", f"{SESSIONS}[rejected_in_transaction_28]"),
    fault("search-path-not-in-the-key", "the same text means other tables after SET search_path, or through $user", "closure:path_new_table", "closure:path_user_schema", f"{SESSIONS}[search_path_29]", f"{SESSIONS}[search_path_unnamed_reused_29]", f"{SESSIONS}[user_schema_29]"),
    fault("role-set-by-bound-set-config", "set_config($1, ...) with a bound name changes role or path unseen", f"{SESSIONS}[set_config_30]", f"{SESSIONS}[set_config_local_30]"),
    fault("temporary-table-shadows", "a temporary table of the same name is not looked at, or looked at when it is gone", f"{SESSIONS}[temp_31]", f"{SESSIONS}[temp_extended_31]", f"{SESSIONS}[temp_function_31]"),
    fault("driver-cache-key-without-role", "a cache inside of a driver leaves role, path and row security out of its key", "differential/test_sessions.py::test_role_shares_with_itself_only", f"{SESSIONS}[other_user_is_refused]"),
    # Same text, different answer.
    fault("time-zone-not-in-the-key", "times come in the zone of the session that asked first", f"{SESSIONS}[time_zone_33]", f"{SESSIONS}[time_zone_prepared_33]", f"{SESSIONS}[time_zone_startup_33]"),
    fault("value-functions-cached", "CURRENT_TIMESTAMP and CURRENT_USER are no function calls to the parser, and are cached", "differential/test_reads.py::test_read[current_timestamp_34-simple]", "differential/test_reads.py::test_read[current_user_34-simple]", "closure:view_current_user"),
    fault("volatile-function-in-select-list", "random() or an overloaded function of that name is cached", "differential/test_reads.py::test_read[random_35-simple]", "differential/test_reads.py::test_read[overloaded_35-simple]", "closure:f_random"),
    fault("text-keys-folded-by-collation", "'abc' and 'ABC' share an entry", "closure:read_other_literal_case", "differential/test_reads.py::test_read[collation_36b-simple]", "differential/test_reads.py::test_read[p_text_case_36-text]"),
    fault("select-list-literal-parameterised", "ORDER BY 1 or a literal in the SELECT list is lifted into a parameter", "closure:read_literal_kinds", "closure:read_position_literal", "differential/test_reads.py::test_read[constant_other_37-simple]"),
    fault("select-star-after-column-change", "SELECT * keeps its old columns after ALTER TABLE, or a function, view or enum its old meaning", "closure:column_added", "closure:column_replaced", "closure:function_replaced", "closure:view_replaced", "closure:enum_value_renamed", "differential/test_protocol.py::test_cached_plan_must_not_change_result_type"),
    fault("row-moves-into-limit-window", "an UPDATE moves a row into or out of the first N, and the entry stays", "closure:read_limit_window", f"{WRITES}[limit_window_39]"),
    # Protocol.
    fault("frames-duplicated-on-rebind", "DataRow or CommandComplete come twice where Bind has no Parse of its own", f"{FLOWS}[bind_without_parse_40]", f"{FLOWS}[prepared_many_40]"),
    fault("partial-portal-cached-as-whole", "the first rows of a portal are taken for all of them, or told again", f"{FLOWS}[portal_partially_41]", f"{FLOWS}[portal_in_transaction_41]", f"{FLOWS}[second_execute_41]"),
    fault("hit-in-the-wrong-place-of-a-pipeline", "with two Binds before a Sync the hit is told in the place of the other", f"{FLOWS}[two_binds_42]", f"{FLOWS}[two_statements_42]", f"{FLOWS}[error_mid_pipeline_42]"),
    fault("flush-loses-ready", "Flush behind Execute or Describe hangs, or loses ReadyForQuery", f"{FLOWS}[flush_after_execute_43]", f"{FLOWS}[flush_each_43]", f"{FLOWS}[describe_first_flush_43]"),
    fault("two-unnamed-parses-confused", "two unnamed Parses before one Sync are taken for one another", f"{FLOWS}[two_unnamed_parses_44]"),
    fault("format-codes-miscounted", "no or one format code for many columns, binary arrays, infinity are told wrongly", f"{FLOWS}[format_zero_45]", f"{FLOWS}[format_one_45]", f"{FLOWS}[format_each_45]", f"{FLOWS}[binary_array_parameter_45]"),
    fault("errors-reach-another-client", "an error that stayed in a pooled connection answers another client's question", f"{FLOWS}[errors_stay_46]"),
    fault("cache-never-used-again", "after a transaction, or a restart, statements are never hits again", "differential/test_protocol.py::test_unnamed_plan_not_pinned_47"),
    fault("waiters-of-a-failed-leader", "those who wait for another's answer wait for ever when it fails, or are given an old one", f"{INTERLEAVINGS}::test_same_miss_by_many_48", f"{INTERLEAVINGS}::test_same_miss_leader_fails_48"),
    fault("big-answers-and-binds-broken", "rows over 8 kB, answers over the limit of an entry, Binds over 64 kB", "differential/test_reads.py::test_read[over_the_entry_limit-simple]", "differential/test_reads.py::test_read[row_20k-simple]", "differential/test_reads.py::test_read[p_bind_100k_49-text]", "relay/test_big.py::test_bind_of_20_mb"),
]
