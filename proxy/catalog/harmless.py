"""Settings that cannot change the answer of a read, and those that a read may ask for.

What lives here: two reviewed lists. The first is over every setting that a session of
PostgreSQL 13 to 18 may change. One that is not listed is part of the key (K1); one that
is, or a custom one, where something asks for it by name. Left out on purpose although
they change no answer: idle and transaction timeouts, which the session itself must know
(T2).
"""

from __future__ import annotations

# Which plan is chosen, and how much memory and parallelism it gets: any plan
# gives an answer that PostgreSQL could have given.
_PLANNER = """
    constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost
    cursor_tuple_fraction debug_parallel_query default_statistics_target effective_cache_size
    effective_io_concurrency enable_async_append enable_bitmapscan enable_distinct_reordering
    enable_gathermerge enable_group_by_reordering enable_hashagg enable_hashjoin
    enable_incremental_sort enable_indexonlyscan enable_indexscan enable_material
    enable_memoize enable_mergejoin enable_nestloop enable_parallel_append
    enable_parallel_hash enable_partition_pruning enable_partitionwise_aggregate
    enable_partitionwise_join enable_presorted_aggregate enable_self_join_elimination
    enable_seqscan enable_sort enable_tidscan force_parallel_mode from_collapse_limit geqo
    geqo_effort geqo_generations geqo_pool_size geqo_seed geqo_selection_bias geqo_threshold
    hash_mem_multiplier jit jit_above_cost jit_expressions jit_inline_above_cost
    jit_optimize_above_cost jit_tuple_deforming join_collapse_limit max_parallel_workers
    max_parallel_workers_per_gather min_parallel_index_scan_size min_parallel_table_scan_size
    parallel_leader_participation parallel_setup_cost parallel_tuple_cost plan_cache_mode
    random_page_cost recursive_worktable_factor seq_page_cost work_mem
"""
# How maintenance and writing go about their work.
_WRITING = """
    backend_flush_after commit_delay commit_siblings gin_pending_list_limit io_combine_limit
    logical_decoding_work_mem maintenance_io_concurrency maintenance_work_mem
    max_parallel_maintenance_workers synchronous_commit temp_buffers vacuum_buffer_usage_limit
    vacuum_cost_delay vacuum_cost_limit vacuum_cost_page_dirty vacuum_cost_page_hit
    vacuum_cost_page_miss vacuum_failsafe_age vacuum_freeze_min_age vacuum_freeze_table_age
    vacuum_multixact_failsafe_age vacuum_multixact_freeze_min_age
    vacuum_multixact_freeze_table_age wal_compression wal_init_zero wal_recycle
    wal_skip_threshold
"""
# What is logged, counted and shown about the session.
_LOGGING = """
    application_name compute_query_id debug_pretty_print debug_print_parse
    debug_print_plan debug_print_rewritten log_duration log_error_verbosity
    log_executor_stats log_lock_failures log_lock_waits log_min_duration_sample
    log_min_duration_statement log_min_error_statement log_min_messages
    log_parameter_max_length log_parser_stats log_planner_stats log_replication_commands
    log_statement log_statement_sample_rate log_statement_stats log_temp_files
    log_transaction_sample_rate password_encryption scram_iterations trace_notify trace_sort
    track_activities track_cost_delay_timing track_counts track_functions track_io_timing
    track_wal_io_timing update_process_title
"""
# When to give up. A hit is faster than any of them.
_WAITING = """
    client_connection_check_interval deadlock_timeout lock_timeout statement_timeout
    tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval tcp_user_timeout
    wal_sender_timeout
"""

HARMLESS_SETTINGS: frozenset[str] = frozenset((_PLANNER + _WRITING + _LOGGING + _WAITING).split())

# What `current_setting` may be asked for without more: every user may see them, they are in
# the key whatever their value, and they change by commands, a reload or a restart alone.
KEYED_SETTINGS: frozenset[str] = frozenset(
    """
    array_nulls backslash_quote block_size bytea_output check_function_bodies client_encoding
    client_min_messages createrole_self_grant data_checksums datestyle
    default_table_access_method default_tablespace default_text_search_config
    default_toast_compression default_transaction_deferrable default_transaction_isolation
    default_transaction_read_only escape_string_warning exit_on_error extra_float_digits
    gin_fuzzy_search_limit icu_validation_level idle_in_transaction_session_timeout
    idle_session_timeout integer_datetimes intervalstyle lc_collate lc_ctype lc_messages
    lc_monetary lc_numeric lc_time lo_compat_privileges max_connections max_function_args
    max_identifier_length max_index_keys max_locks_per_transaction max_prepared_transactions
    max_stack_depth max_worker_processes quote_all_identifiers row_security search_path
    segment_size server_encoding server_version server_version_num session_replication_role
    shared_buffers standard_conforming_strings synchronize_seqscans temp_tablespaces
    timezone timezone_abbreviations track_activity_query_size transaction_timeout
    transform_null_equals wal_block_size wal_level wal_segment_size xmlbinary xmloption
    """.split()
)
