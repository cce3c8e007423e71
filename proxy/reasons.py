"""Why a statement was not answered from memory.

One enum for all: the value is the label of `howdah_statements_total{reason}`,
the answer of EXPLAIN CACHE and a row in config/REASONS.md (a test compares).
Each member carries what it means and what the user can do.
"""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Machine-readable reason; `.meaning` and `.advice` are for people."""

    meaning: str
    advice: str

    def __new__(cls, value: str, meaning: str, advice: str) -> Reason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.advice = advice
        return member

    # Hits carry no reason.
    NONE = "", "answered from memory", "nothing to do"

    # Misses: the statement may be cached, its answer was not there.
    NOT_CACHED = (
        "not_cached",
        "no valid answer was in memory; the answer of PostgreSQL is offered to the cache",
        "nothing to do: the repeat is answered from memory",
    )
    EXPIRED = (
        "expired",
        "the stored answer was older than its ttl or than max_age",
        "raise max_age if nobody writes past Howdah, or the rule's ttl",
    )

    # The state of Howdah.
    FENCED = (
        "fenced",
        "a write that can change the answer is in flight",
        "nothing to do: reads resume when the write has ended",
    )
    STARTING = (
        "starting",
        "Howdah has just started and waits for transactions that were open before it",
        "nothing to do; end transactions that have been idle for long",
    )
    SUSPENDED = (
        "suspended",
        "an upstream connection was lost and the server's identity is being proven",
        "look at the log: PostgreSQL may have restarted or failed over",
    )
    CATALOG_LOADING = (
        "catalog_loading",
        "the catalog of this database is being read",
        "nothing to do: it takes moments",
    )
    CATALOG_UNAVAILABLE = (
        "catalog_unavailable",
        "Howdah's own role cannot log in to this database to read the catalog",
        "give the role of the upstream URL LOGIN and CONNECT on the database, and a password",
    )
    STANDBY = (
        "standby",
        "the upstream server is in recovery; reads from standbys are only relayed",
        "point Howdah at the primary",
    )
    POOLED = (
        "pooled",
        "a connection pooler or another proxy sits between Howdah and PostgreSQL",
        "place the pooler in front of Howdah",
    )

    # The state of the session.
    SESSION_UNKNOWN = (
        "session_unknown",
        "the settings of the session are not known at this moment",
        "nothing to do: they are asked for with the next statements",
    )
    SESSION_TEMPORARY = (
        "session_temporary",
        "the session owns temporary objects, which could shadow what the statement names",
        "drop the temporary objects or DISCARD TEMP",
    )
    ENCODING = (
        "encoding",
        "client_encoding or standard_conforming_strings make the text ambiguous",
        "use UTF8 (or a single-byte encoding) and standard_conforming_strings = on",
    )
    ISOLATION = (
        "isolation",
        "the transaction is REPEATABLE READ or SERIALIZABLE, or may be",
        "use READ COMMITTED for reads that should come from memory",
    )
    TRANSACTION_WRITES = (
        "transaction_writes",
        "the transaction has written; it must see its own changes",
        "read before the first write, or after COMMIT",
    )
    TRANSACTION_LOCKS = (
        "transaction_locks",
        "the transaction has taken locks and expects the newest rows",
        "read before the first lock, or after COMMIT",
    )
    TRANSACTION_OPAQUE = (
        "transaction_opaque",
        "the transaction has run something that Howdah cannot see through",
        "read before it, or after COMMIT",
    )
    TRANSACTION_FAILED = (
        "transaction_failed",
        "the transaction has failed; PostgreSQL itself must say so (25P02)",
        "ROLLBACK",
    )
    PIPELINED = (
        "pipelined",
        "replies to earlier requests of the session are outstanding",
        "nothing to do; a client that waits for its replies gets hits",
    )
    PORTAL = (
        "portal",
        "the extended-protocol messages are not one plain Bind and Execute up to Sync: several "
        "statements in one batch, Flush between Bind and Execute, a row limit that has not been "
        "met before, portals of a session that uses cursors",
        "nothing to do; use plain execution where hits matter",
    )
    FUNCTIONS_STALE = (
        "functions_stale",
        "the session has run functions under other settings, or under unknown ones; it keeps "
        "their plans",
        "set what a session needs before it runs functions",
    )
    PREPARED_STALE = (
        "prepared_stale",
        "settings or schema have changed since the statement was prepared",
        "prepare it again",
    )
    NO_RELATION = (
        "no_relation",
        "the statement reads no table; it may be a ping that must reach PostgreSQL",
        "nothing to do",
    )
    REPLICATION = (
        "replication",
        "the session is a replication connection",
        "nothing to do",
    )

    # What the statement is.
    UNPARSABLE = (
        "unparsable",
        "the text is not SQL that the parser knows; PostgreSQL decides",
        "check the statement",
    )
    STATEMENT_TOO_LONG = (
        "statement_too_long",
        "the text is longer than what is analysed",
        "shorten it, or raise the limit",
    )
    MULTIPLE_STATEMENTS = (
        "multiple_statements",
        "several statements in one Query",
        "send reads one by one",
    )
    UNSUPPORTED_SYNTAX = (
        "unsupported_syntax",
        "the statement uses a construct whose answer is not proven to depend on tables alone",
        "nothing to do, or simplify the statement",
    )
    LOCKING_CLAUSE = (
        "locking_clause",
        "SELECT ... FOR UPDATE/SHARE locks rows",
        "leave the clause away where no lock is needed",
    )
    TABLESAMPLE = ("tablesample", "TABLESAMPLE draws rows at random", "nothing to do")
    VOLATILE_FUNCTION = (
        "volatile_function",
        "the statement calls a function whose result changes from call to call",
        "compute the value in the application",
    )
    STABLE_FUNCTION = (
        "stable_function",
        "the statement calls a function whose result is not known to follow from tables and the "
        "key alone; an IMMUTABLE one that reads tables counts too, since plans keep its result",
        "use an immutable built-in, or STABLE for a function that reads tables",
    )
    CLOCK = (
        "clock",
        "the statement reads the clock",
        "pass the time as a parameter",
    )
    CLOCK_LITERAL = (
        "clock_literal",
        "a literal or parameter may say now, today, tomorrow or yesterday to a date or time type",
        "pass the time itself",
    )
    CLOCK_CAST = (
        "clock_cast",
        "text that is read from a table, or assigned in a function, becomes a date or time and "
        "might say 'now'",
        "store times in a date or time type",
    )
    SESSION_FUNCTION = (
        "session_function",
        "the statement asks something about the session or the server that is not followed: "
        "addresses, versions, settings by a name that is computed, of libraries or of the "
        "transaction, more than 16 settings",
        "name settings by literals; custom ones such as app.tenant_id are followed",
    )
    AMBIGUOUS_NAME = (
        "ambiguous_name",
        "a function's body names something that exists more than once: a session that has run "
        "it before may mean another one",
        "qualify names in functions, or give them SET search_path",
    )
    UNKNOWN_FUNCTION = (
        "unknown_function",
        "the statement calls a function that Howdah cannot see through",
        "write it in SQL or PL/pgSQL without dynamic SQL, or declare in a rule what it reads and "
        "writes",
    )
    UNKNOWN_TYPE = (
        "unknown_type",
        "a type or cast is not known to depend on its input alone",
        "use a built-in type",
    )
    UNKNOWN_RELATION = (
        "unknown_relation",
        "a relation of that name is not in the catalog as Howdah knows it",
        "check the name and the search_path",
    )
    SYSTEM_CATALOG = (
        "system_catalog",
        "system catalogs and information_schema are never answered from memory",
        "nothing to do",
    )
    SYSTEM_COLUMN = (
        "system_column",
        "ctid, xmin, xmax, cmin, cmax, tableoid describe storage, not data",
        "use a key column",
    )
    VIEW = ("view", "the statement reads a view whose query is not known", "nothing to do")
    FOREIGN_TABLE = (
        "foreign_table",
        "the data lives on another server, whose writes cannot be seen",
        "nothing to do",
    )
    SEQUENCE = ("sequence", "the statement reads a sequence", "nothing to do")
    UNLOGGED = ("unlogged", "a table is unlogged", "use a permanent table")
    TEMPORARY = ("temporary", "a table is temporary", "use a permanent table")
    OPAQUE_TYPES = (
        "opaque_types",
        "the database has casts or operator classes made of functions that Howdah cannot "
        "see through",
        "nothing to do",
    )

    # What somebody decided.
    RULE_OFF = ("rule_off", "a rule turns caching off", "change the rule")
    HINT_OFF = ("hint_off", "a comment in the statement turns caching off", "remove the comment")

    # Statements that are no plain reads.
    EXPLAIN = ("explain", "EXPLAIN shows PostgreSQL's plan", "nothing to do")
    CURSOR = ("cursor", "cursors live in PostgreSQL", "use a plain SELECT for small results")
    COPY = ("copy", "COPY is relayed", "use SELECT for small results")
    SHOW = ("show", "SHOW asks the session", "nothing to do")
    WRITE = ("write", "the statement can write; its closure is known", "nothing to do")
    WRITE_OPAQUE = (
        "write_opaque",
        "the statement can write and nobody can see through it: everything is evicted, or in an "
        "explicit transaction what it turns out to have touched",
        "declare in a rule what the function reads and writes, or write it without dynamic SQL",
    )
    DDL = ("ddl", "the statement changes the schema, roles or settings of the server", "batch DDL")
    TRANSACTION = ("transaction", "transaction control", "nothing to do")
    SETTING = ("setting", "the statement changes settings of the session", "nothing to do")
    UTILITY = ("utility", "a command that neither reads nor writes tables", "nothing to do")
    EMPTY = ("empty", "an empty statement", "nothing to do")
    PREPARED_SQL = (
        "prepared_sql",
        "PREPARE and DEALLOCATE at SQL level are forwarded",
        "use the extended protocol",
    )
    FUNCTION_CALL = (
        "function_call",
        "the FunctionCall message runs a function by OID",
        "call it in SQL",
    )
