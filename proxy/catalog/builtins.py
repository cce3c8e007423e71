"""Audited lists of built-in functions and types, PostgreSQL 13 to 18.

What lives here: names, and the verdict on a built-in function from its name and
volatility. What must not: functions of users and extensions beyond the short
audited list at the end. A STABLE function is cacheable only if it is in
`_SAFE_STABLE`: its result depends on arguments and settings in the key, or on
catalog content whose change evicts everything (K5). A VOLATILE one is harmless
only if it is listed here (F9).
"""

from __future__ import annotations

from proxy.catalog.snapshot import OPAQUE, SAFE, Effect, Label
from proxy.reasons import Reason

_SAFE_STABLE = frozenset(
    """
    any_value anytextcat array_agg array_to_json array_to_string concat concat_ws convert
    convert_from convert_to date date_add date_part date_subtract date_trunc enum_first enum_last
    enum_range extract format generate_series in_range interval_pl_timestamptz json_agg
    json_agg_strict json_build_array json_build_object json_object_agg json_object_agg_strict
    json_object_agg_unique json_object_agg_unique_strict json_to_tsvector jsonb_agg
    jsonb_agg_strict jsonb_build_array jsonb_build_object jsonb_object_agg
    jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict
    jsonb_to_tsvector length make_timestamptz money
    numeric overlaps phraseto_tsquery plainto_tsquery quote_literal quote_nullable row_to_json
    string_agg textanycat time timestamp timestamptz timestamptz_mi_interval
    timestamptz_pl_interval timezone to_char to_date to_json to_jsonb to_number to_timestamp
    to_tsquery to_tsvector ts_headline ts_match_tq ts_match_tt websearch_to_tsquery
    xml xml_is_well_formed
    """.split()
) | frozenset(
    f"{left}_{operator}_{right}"
    for operator in ("cmp", "eq", "ge", "gt", "le", "lt", "ne")
    for left, right in (
        ("date", "timestamptz"),
        ("timestamp", "timestamptz"),
        ("timestamptz", "date"),
        ("timestamptz", "timestamp"),
    )
)

_CLOCK = frozenset(
    """
    age clock_timestamp now statement_timestamp timeofday timetz transaction_timestamp
    uuidv7 pg_sleep_until
    """.split()
)
# `current_schemas` may name a temporary schema that holds nothing, which is in no key.
_SESSION = frozenset(
    """
    current_query current_schemas getdatabaseencoding inet_client_addr inet_client_port
    inet_server_addr inet_server_port pg_backend_pid pg_client_encoding pg_my_temp_schema
    pg_postmaster_start_time pg_conf_load_time system_user version
    """.split()
)
# Who and where the session is: that is in the key.
_ASKING = frozenset(
    "current_database current_schema current_user getpgusername session_user".split()
)

# Labelled STABLE or IMMUTABLE, but they run SQL, expressions or code of users, or change
# the state of the session.
_OPAQUE = frozenset(
    """
    anyarray_in anyarray_recv array_in array_recv binary_upgrade_create_empty_extension
    cursor_to_xml cursor_to_xmlschema database_to_xml database_to_xml_and_xmlschema
    database_to_xmlschema domain_in domain_recv multirange_in multirange_recv
    pg_event_trigger_table_rewrite_oid pg_input_error_info pg_input_is_valid query_to_xml
    query_to_xml_and_xmlschema query_to_xmlschema range_in range_recv record_in record_recv
    schema_to_xml schema_to_xml_and_xmlschema schema_to_xmlschema table_to_xml
    table_to_xml_and_xmlschema table_to_xmlschema ts_rewrite ts_stat
    """.split()
)
# They read text as the types of a row, so they run the checks of domains.
POPULATING = frozenset(
    """
    json_populate_record json_populate_recordset json_to_record json_to_recordset
    jsonb_populate_record jsonb_populate_record_valid jsonb_populate_recordset jsonb_to_record
    jsonb_to_recordset populate_record
    """.split()
)

# `ts_rewrite(tsquery, tsquery, tsquery)` is plain; the form with two arguments runs a query.
_SAFE_FORMS = frozenset((("ts_rewrite", 3),))

_LOCKS = frozenset(
    """
    pg_advisory_lock pg_advisory_lock_shared pg_advisory_xact_lock pg_advisory_xact_lock_shared
    pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock
    pg_try_advisory_xact_lock_shared pg_advisory_unlock pg_advisory_unlock_all
    pg_advisory_unlock_shared
    """.split()
)
_HARMLESS_VOLATILE = frozenset(
    """
    amvalidate array_sample array_shuffle clock_timestamp current_query currtid currtid2 currval
    gen_random_uuid lastval lo_close lo_get lo_lseek lo_lseek64 lo_tell lo_tell64 loread nextval
    pg_available_wal_summaries pg_blocking_pids pg_cancel_backend pg_collation_actual_version
    pg_control_checkpoint pg_control_init pg_control_recovery pg_control_system
    pg_current_logfile pg_current_wal_flush_lsn pg_current_wal_insert_lsn pg_current_wal_lsn
    pg_database_collation_actual_version pg_database_size pg_get_aios
    pg_get_backend_memory_contexts pg_get_loaded_modules pg_get_multixact_members
    pg_get_sequence_data pg_get_shmem_allocations pg_get_shmem_allocations_numa
    pg_get_wait_events pg_get_wal_replay_pause_state pg_get_wal_resource_managers
    pg_get_wal_summarizer_state pg_hba_file_rules pg_ident_file_mappings pg_indexes_size
    pg_is_in_backup pg_is_in_recovery pg_is_wal_replay_paused
    pg_isolation_test_session_is_blocked pg_jit_available pg_last_committed_xact
    pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status
    pg_log_backend_memory_contexts pg_ls_archive_statusdir pg_ls_dir pg_ls_logdir
    pg_ls_logicalmapdir pg_ls_logicalsnapdir pg_ls_replslotdir pg_ls_summariesdir pg_ls_tmpdir
    pg_ls_waldir pg_notification_queue_usage pg_notify pg_partition_ancestors pg_partition_root
    pg_partition_tree pg_prepared_xact pg_read_binary_file pg_read_file pg_read_file_old
    pg_relation_size pg_replication_origin_progress pg_replication_origin_session_is_setup
    pg_replication_origin_session_progress pg_rotate_logfile pg_rotate_logfile_old
    pg_safe_snapshot_blocking_pids pg_sequence_last_value pg_show_all_file_settings
    pg_show_replication_origin_status pg_sleep pg_sleep_for pg_sleep_until
    pg_stat_clear_snapshot pg_stat_file pg_stat_force_next_flush pg_stat_reset
    pg_stat_reset_backend_stats pg_stat_reset_replication_slot pg_stat_reset_shared
    pg_stat_reset_single_function_counters pg_stat_reset_single_table_counters
    pg_stat_reset_slru pg_stat_reset_subscription_stats pg_table_size pg_tablespace_size
    pg_terminate_backend pg_timezone_abbrevs pg_total_relation_size pg_wal_summary_contents
    pg_xact_commit_timestamp pg_xact_commit_timestamp_origin pg_xact_status random random_normal
    setseed setval suppress_redundant_updates_trigger timeofday txid_status uuidv4 uuidv7
    """.split()
)
# Only ever called as triggers; they touch nothing but the row at hand.
HARMLESS_TRIGGERS = frozenset(
    (
        "suppress_redundant_updates_trigger",
        "tsvector_update_trigger",
        "tsvector_update_trigger_column",
    )
)

_HARMLESS_LABELS = {
    Reason.CLOCK: Label(Effect.HARMLESS, Reason.CLOCK),
    Reason.SESSION_FUNCTION: Label(Effect.HARMLESS, Reason.SESSION_FUNCTION),
    Reason.STABLE_FUNCTION: Label(Effect.HARMLESS, Reason.STABLE_FUNCTION),
    Reason.VOLATILE_FUNCTION: Label(Effect.HARMLESS, Reason.VOLATILE_FUNCTION),
}
STABLE = _HARMLESS_LABELS[Reason.STABLE_FUNCTION]
VOLATILE = _HARMLESS_LABELS[Reason.VOLATILE_FUNCTION]
_LOCK = Label(Effect.HARMLESS, Reason.VOLATILE_FUNCTION, locks=True)
_SET = Label(Effect.HARMLESS, Reason.SETTING, settings=True)
_READ_SETTING = Label(Effect.HARMLESS, Reason.SESSION_FUNCTION, asks=True, names=True)
_ASK = Label(Effect.SAFE, asks=True)


def builtin_label(name: str, volatility: str, least: int = 0, most: int = 0) -> Label:
    """Judge a function of pg_catalog that came with the server.

    Args:
        name: its name.
        volatility: the worst provolatile of the overloads in question.
        least, most: their numbers of arguments.
    """
    if name == "set_config":
        return _SET
    if name in _LOCKS:
        return _LOCK
    if (name, least) in _SAFE_FORMS and least == most:
        return SAFE
    if name in _OPAQUE:
        return OPAQUE
    if name in _CLOCK and not (name == "age" and least == 2):
        return _HARMLESS_LABELS[Reason.CLOCK]
    if name == "current_setting":
        return _READ_SETTING
    if name in _ASKING:
        return _ASK
    if name in _SESSION:
        return _HARMLESS_LABELS[Reason.SESSION_FUNCTION]
    if name in POPULATING:
        return STABLE
    if volatility == "i" or name in _SAFE_STABLE:
        return SAFE
    if volatility == "s":
        return STABLE
    if name in _HARMLESS_VOLATILE or name.startswith("pg_stat_get_"):
        return VOLATILE
    return OPAQUE


# Types of pg_catalog whose input depends on text and settings alone.
SAFE_TYPES = frozenset(
    """
    bit bool box bpchar bytea char cidr circle date datemultirange daterange float4 float8 inet
    int2 int2vector int4 int4multirange int4range int8 int8multirange int8range interval json
    jsonb jsonpath line lseg macaddr macaddr8 money name nummultirange numeric numrange oid
    path pg_lsn point polygon text time timestamp timestamptz tid timetz tsmultirange tsquery
    tsrange tstzmultirange tstzrange tsvector uuid varbit varchar xml xid8
    """.split()
)
CLOCK_TYPES = frozenset(
    """
    date time timetz timestamp timestamptz daterange tsrange tstzrange datemultirange
    tsmultirange tstzmultirange
    """.split()
)
ZONED_TYPES = frozenset(("timetz",))
# Types whose values are no text, so that casts from them never parse a word.
SURE_TYPES = CLOCK_TYPES | frozenset(
    ("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "interval")
)

# Extensions whose C functions write no relation and run no SQL.
_AUDITED_EXTENSIONS = frozenset(
    """
    autoinc btree_gin btree_gist citext cube dict_int dict_xsyn fuzzystrmatch hstore
    insert_username intarray isn ltree moddatetime
    pg_buffercache pg_freespacemap pg_stat_statements pg_trgm pgcrypto pgstattuple postgis seg
    sslinfo tcn unaccent uuid-ossp vector
    """.split()
)
# Extensions whose IMMUTABLE SQL functions only call qualified built-in functions. They
# overload common names (replace, split_part, strpos), so calls of those could mean them.
AUDITED_SQL_EXTENSIONS = frozenset(("citext",))


def extension_label(extension: str, name: str, volatility: str) -> Label:
    """Judge a C function by the extension that it belongs to; empty for none.

    IMMUTABLE C functions are trusted by their label, whoever made them (K5).
    """
    if extension == "hstore" and name in POPULATING:
        return STABLE  # IMMUTABLE by label, but it reads 'now' into dates
    if extension == "isn" and volatility == "i":
        return STABLE  # its input takes weak numbers where the session has asked for it
    if volatility == "i":
        return SAFE
    if extension == "pg_trgm" and name == "set_limit":
        return _SET
    if extension in _AUDITED_EXTENSIONS:
        return STABLE if volatility == "s" else VOLATILE
    return OPAQUE
