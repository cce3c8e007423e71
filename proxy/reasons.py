"""Why a statement was not answered from memory.

One enum for all: the value is the label of `howdah_statements_total{reason}`,
the answer of EXPLAIN CACHE and a row in config/REASONS.md (a test compares).
Each member carries what it means, what the user can do, and an example.
"""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Machine-readable reason; `.meaning`, `.advice` and `.example` are for people."""

    meaning: str
    advice: str
    example: str

    def __new__(cls, value: str, meaning: str, advice: str, example: str) -> Reason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.advice = advice
        member.example = example
        return member

    # Hits carry no reason.
    NONE = (
        "",
        "answered from memory",
        "nothing to do",
        "a SELECT that was asked before and whose tables were not written since",
    )

    # Misses: the statement may be cached, its answer was not there.
    NOT_CACHED = (
        "not_cached",
        "no valid answer was in memory; the answer of PostgreSQL is offered to the cache",
        "nothing to do: the repeat is answered from memory",
        "the first `SELECT * FROM orders WHERE id = 1`, or the first one after a write",
    )
    EXPIRED = (
        "expired",
        "the stored answer was older than its ttl or than max_age",
        "raise max_age if nobody writes past Howdah, or the rule's ttl",
        "the same SELECT 61 s after PostgreSQL was asked, with `max_age: 60s`",
    )

    # The state of Howdah.
    FENCED = (
        "fenced",
        "a write that can change the answer is in flight",
        "nothing to do: reads resume when the write has ended",
        "a SELECT on `orders` while another client's UPDATE of `orders` runs",
    )
    STARTING = (
        "starting",
        "Howdah has just started and waits for transactions that were open before it",
        "nothing to do; end transactions that have been idle for long",
        "any read in the first moments, while a transaction of before is still open",
    )
    SUSPENDED = (
        "suspended",
        "an upstream connection was lost and the server's identity is being proven",
        "look at the log: PostgreSQL may have restarted or failed over",
        "any read just after `pg_terminate_backend` or a restart of PostgreSQL",
    )
    PAUSED = (
        "paused",
        "somebody has said PAUSE on the console: nothing is answered from memory or stored",
        "RESUME on the console",
        "any read after `PAUSE`",
    )
    CATALOG_LOADING = (
        "catalog_loading",
        "the catalog of this database is being read; until then nobody knows what a statement "
        "does, so it counts as a write of everything",
        "nothing to do: it takes moments",
        "the first statement in a database, or one just after DDL",
    )
    CATALOG_UNAVAILABLE = (
        "catalog_unavailable",
        "Howdah's own role cannot log in to this database to read the catalog",
        "give the role of the upstream URL LOGIN and CONNECT on the database, and a password",
        "`REVOKE CONNECT ON DATABASE shop FROM PUBLIC`, without a grant to Howdah's role",
    )
    STANDBY = (
        "standby",
        "the upstream server is in recovery; reads from standbys are only relayed",
        "point Howdah at the primary",
        "`upstream` names a replica, or the primary was demoted",
    )
    POOLED = (
        "pooled",
        "a connection pooler or another proxy sits between Howdah and PostgreSQL",
        "place the pooler in front of Howdah",
        "`upstream` names the port of PgBouncer",
    )

    # The state of the session.
    SESSION_UNKNOWN = (
        "session_unknown",
        "the settings of the session are not known at this moment",
        "nothing to do: they are asked for with the next statements",
        "the read that comes in the same write as `SELECT set_config($1, $2, false)`",
    )
    SESSION_TEMPORARY = (
        "session_temporary",
        "the session owns temporary objects, which could shadow what the statement names",
        "drop the temporary objects or DISCARD TEMP",
        "`CREATE TEMP TABLE t (id int); SELECT * FROM orders`",
    )
    ENCODING = (
        "encoding",
        "client_encoding or standard_conforming_strings make the text ambiguous, so it counts as "
        "a write of everything",
        "use UTF8 (or a single-byte encoding) and standard_conforming_strings = on",
        "`SET client_encoding = 'SJIS'; SELECT * FROM orders`",
    )
    ISOLATION = (
        "isolation",
        "the transaction is REPEATABLE READ or SERIALIZABLE, or may be",
        "use READ COMMITTED for reads that should come from memory",
        "`BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM orders`",
    )
    TRANSACTION_WRITES = (
        "transaction_writes",
        "the transaction has written; it must see its own changes",
        "read before the first write, or after COMMIT",
        "`BEGIN; UPDATE orders SET customer = 2; SELECT * FROM orders`",
    )
    TRANSACTION_LOCKS = (
        "transaction_locks",
        "the transaction has taken locks and expects the newest rows",
        "read before the first lock, or after COMMIT",
        "`BEGIN; LOCK TABLE orders; SELECT * FROM orders`",
    )
    TRANSACTION_OPAQUE = (
        "transaction_opaque",
        "the transaction has run something that Howdah cannot see through",
        "read before it, or after COMMIT",
        "a SELECT in a transaction after `CALL report_all()`, where the body has EXECUTE",
    )
    TRANSACTION_FAILED = (
        "transaction_failed",
        "the transaction has failed; PostgreSQL itself must say so (25P02)",
        "ROLLBACK",
        "`BEGIN; SELECT 1/0; SELECT * FROM orders`",
    )
    PIPELINED = (
        "pipelined",
        "replies to earlier requests of the session are outstanding",
        "nothing to do; a client that waits for its replies gets hits",
        "a second Query sent before the answer to a write has come",
    )
    PORTAL = (
        "portal",
        "the extended-protocol messages are not one plain Bind and Execute up to Sync: several "
        "statements in one batch, Flush between Bind and Execute, a row limit that has not "
        "been met before, portals of a session that uses cursors",
        "nothing to do; use plain execution where hits matter",
        "`cursor.stream()` of psycopg, or Execute with a row limit that was never met before",
    )
    FUNCTIONS_STALE = (
        "functions_stale",
        "the session has run functions under other settings, or under unknown ones; it keeps "
        "their plans",
        "set what a session needs before it runs functions, and declare in a rule what functions "
        "with dynamic SQL do; a session that has come to this stays so until it ends",
        "`SELECT total(1); SET search_path = b; SELECT total(1)` with `total` in PL/pgSQL, or any "
        "function after a statement that nobody can see through, even one with a syntax error",
    )
    PREPARED_STALE = (
        "prepared_stale",
        "settings or schema have changed since the statement was prepared",
        "prepare it again",
        "a prepared statement, run again after `ALTER TABLE orders ADD COLUMN x int`",
    )
    PREPARED_OPAQUE = (
        "prepared_opaque",
        "it is not known what was prepared under this name: the session has run something that "
        "nobody can see through since then, or has given the name to several statements by "
        "PREPARE; it counts as a write of everything",
        "declare what the other statement does (SHOW QUERIES WHERE reason = 'write_opaque'); after "
        "PREPARE in SQL, never use a name twice",
        "`EXECUTE q` of what a function has prepared; a prepared SELECT in the same transaction as "
        "a CALL whose body has EXECUTE",
    )
    NO_RELATION = (
        "no_relation",
        "the statement reads no table; it may be a ping that must reach PostgreSQL",
        "nothing to do",
        "`SELECT 1`",
    )
    REPLICATION = (
        "replication",
        "the session is a replication connection",
        "nothing to do",
        "`psql 'dbname=shop replication=database'`",
    )

    # What the statement is.
    UNPARSABLE = (
        "unparsable",
        "the text is not SQL that the parser knows; PostgreSQL decides, and it counts as a write "
        "of everything",
        "correct the statement: each time that it is sent, everything is evicted",
        "`SELEC 1`",
    )
    STATEMENT_TOO_LONG = (
        "statement_too_long",
        "the text is longer than what is analysed; it counts as a write of everything",
        "shorten it: long lists of values can be one parameter, as in id = ANY($1)",
        "a SELECT with an IN list of more than 256 kB",
    )
    MULTIPLE_STATEMENTS = (
        "multiple_statements",
        "several statements in one Query",
        "send reads one by one",
        "`SELECT * FROM orders; SELECT * FROM customers` in one Query",
    )
    UNSUPPORTED_SYNTAX = (
        "unsupported_syntax",
        "the statement uses a construct whose answer is not proven to depend on tables alone",
        "nothing to do, or simplify the statement",
        "`SELECT * FROM labels`, a view with XMLELEMENT",
    )
    LOCKING_CLAUSE = (
        "locking_clause",
        "SELECT ... FOR UPDATE/SHARE locks rows",
        "leave the clause away where no lock is needed",
        "`SELECT * FROM orders WHERE id = 1 FOR UPDATE`",
    )
    TABLESAMPLE = (
        "tablesample",
        "TABLESAMPLE draws rows at random",
        "nothing to do",
        "`SELECT * FROM orders TABLESAMPLE BERNOULLI (1)`",
    )
    VOLATILE_FUNCTION = (
        "volatile_function",
        "the statement calls a function whose result changes from call to call, or that is "
        "called for its effect",
        "compute the value in the application; nothing to do where the effect is wanted, as of "
        "nextval() and locks",
        "`SELECT id, random() FROM orders`",
    )
    STABLE_FUNCTION = (
        "stable_function",
        "the statement calls a function whose result is not known to follow from tables and "
        "the key alone; an IMMUTABLE one that reads tables counts too, since plans keep its "
        "result",
        "use an immutable built-in, or STABLE for a function that reads tables",
        "`SELECT total_ever() FROM orders`, where the function is IMMUTABLE and reads a table",
    )
    CLOCK = (
        "clock",
        "the statement reads the clock",
        "pass the time as a parameter",
        "`SELECT * FROM orders WHERE placed > now() - interval '1 day'`",
    )
    CLOCK_LITERAL = (
        "clock_literal",
        "a literal or parameter may say now, today, tomorrow or yesterday to a date or time type",
        "pass the time itself",
        "`SELECT * FROM orders WHERE placed > 'today'`",
    )
    CLOCK_CAST = (
        "clock_cast",
        "text that is read from a table, or assigned in a function, becomes a date or time and "
        "might say 'now'",
        "store times in a date or time type",
        "`SELECT note::date FROM orders`, where `note` is text",
    )
    SESSION_FUNCTION = (
        "session_function",
        "the statement asks something about the session or the server that is not followed: "
        "addresses, versions, settings by a name that is computed, of libraries or of the "
        "transaction, more than 16 settings",
        "ask for it in a statement of its own; name settings by literals: custom ones such as "
        "app.tenant_id are followed",
        "`SELECT inet_client_addr() FROM orders`",
    )
    AMBIGUOUS_NAME = (
        "ambiguous_name",
        "a function's body names something that exists more than once: a session that has run "
        "it before may mean another one",
        "qualify names in functions, or give them SET search_path",
        "`SELECT total(1)`, where the body reads `orders` and two schemas of the search_path "
        "have one",
    )
    UNKNOWN_FUNCTION = (
        "unknown_function",
        "the statement calls a function that Howdah cannot see through",
        "write it in SQL or PL/pgSQL without dynamic SQL, or declare in a rule what it reads "
        "and writes",
        "`SELECT * FROM report(1)`, where the body has EXECUTE: as it might also write, it is "
        "counted as `write_opaque`, and EXPLAIN CACHE names the function",
    )
    UNKNOWN_TYPE = (
        "unknown_type",
        "a type or cast is not known to depend on its input alone",
        "use a built-in type",
        "`SELECT area::money_like FROM orders`, where the type was made in C",
    )
    UNKNOWN_RELATION = (
        "unknown_relation",
        "a relation of that name is not in the catalog as Howdah knows it; what it turns out to be "
        "is not known, so the statement counts as a write of everything",
        "check the name and the search_path",
        "`SELECT * FROM ordres`",
    )
    SYSTEM_CATALOG = (
        "system_catalog",
        "system catalogs and information_schema are never answered from memory",
        "nothing to do",
        "`SELECT relname FROM pg_class`",
    )
    SYSTEM_COLUMN = (
        "system_column",
        "ctid, xmin, xmax, cmin, cmax, tableoid describe storage, not data",
        "use a key column",
        "`SELECT ctid, id FROM orders`",
    )
    VIEW = (
        "view",
        "the statement reads a view whose query is not known",
        "nothing to do",
        "`SELECT * FROM v`, where `v` was created a moment ago in another way than by SQL "
        "through Howdah",
    )
    FOREIGN_TABLE = (
        "foreign_table",
        "the data lives on another server, whose writes cannot be seen",
        "nothing to do",
        "`SELECT * FROM remote_orders`, a table of postgres_fdw",
    )
    SEQUENCE = (
        "sequence",
        "the statement reads a sequence",
        "nothing to do",
        "`SELECT last_value FROM orders_id_seq`",
    )
    UNLOGGED = (
        "unlogged",
        "a table is unlogged",
        "use a permanent table",
        "`SELECT * FROM jobs` after `CREATE UNLOGGED TABLE jobs (id int)`",
    )
    TEMPORARY = (
        "temporary",
        "a table is temporary",
        "use a permanent table",
        "`SELECT * FROM pg_temp_3.t`, which is another session's",
    )
    OPAQUE_TYPES = (
        "opaque_types",
        "the database has casts or operator classes made of functions that Howdah cannot see "
        "through",
        "nothing to do",
        "any read of a database with `CREATE CAST ... WITH FUNCTION` of a function in C",
    )

    # What somebody decided.
    RULE_OFF = (
        "rule_off",
        "a rule turns caching off",
        "change the rule",
        "a read of `sessions` under `- {relations: sessions, cache: off}`",
    )
    HINT_OFF = (
        "hint_off",
        "a comment in the statement turns caching off",
        "remove the comment",
        "`/* howdah: off */ SELECT * FROM orders`",
    )

    QUARANTINED = (
        "quarantined",
        "verify mode has found an answer of this statement from memory to be wrong",
        "look for who writes past Howdah; if nobody does, report it; then RESET QUARANTINE on "
        "the console",
        "a read of `orders` after somebody has changed it without Howdah, with `verify: 100%`",
    )

    # Statements that are no plain reads.
    EXPLAIN = (
        "explain",
        "EXPLAIN shows PostgreSQL's plan, and EXPLAIN CACHE what Howdah would do",
        "nothing to do",
        "`EXPLAIN ANALYZE SELECT * FROM orders`",
    )
    CURSOR = (
        "cursor",
        "cursors live in PostgreSQL",
        "use a plain SELECT for small results",
        "`DECLARE c CURSOR FOR SELECT * FROM orders`",
    )
    COPY = (
        "copy",
        "COPY is relayed",
        "use SELECT for small results",
        "`COPY (SELECT * FROM orders) TO STDOUT`",
    )
    SHOW = (
        "show",
        "SHOW asks the session",
        "nothing to do",
        "`SHOW work_mem`",
    )
    WRITE = (
        "write",
        "the statement can write; its closure is known",
        "nothing to do",
        "`INSERT INTO orders VALUES (1)`",
    )
    WRITE_OPAQUE = (
        "write_opaque",
        "the statement can write and nobody can see through it: everything is evicted, or in "
        "an explicit transaction what it turns out to have touched",
        "declare in a rule what the function reads and writes, or write it without dynamic SQL",
        "`CALL report_all()`, where the body has EXECUTE",
    )
    DDL = (
        "ddl",
        "the statement changes the schema, roles or settings of the server",
        "batch DDL",
        "`CREATE INDEX ON orders (customer)`, `GRANT SELECT ON orders TO app`",
    )
    TRANSACTION = (
        "transaction",
        "transaction control",
        "nothing to do",
        "`BEGIN`, `COMMIT`, `SAVEPOINT a`",
    )
    SETTING = (
        "setting",
        "the statement changes settings of the session",
        "nothing to do",
        "`SET work_mem = '64MB'`",
    )
    UTILITY = (
        "utility",
        "a command that neither reads nor writes tables",
        "nothing to do",
        "`LISTEN news`, `CHECKPOINT`",
    )
    EMPTY = (
        "empty",
        "an empty statement",
        "nothing to do",
        "`;`, or a comment alone",
    )
    PREPARED_SQL = (
        "prepared_sql",
        "PREPARE, EXECUTE and DEALLOCATE at SQL level are forwarded",
        "use the extended protocol",
        "`PREPARE q AS SELECT * FROM orders`",
    )
    FUNCTION_CALL = (
        "function_call",
        "the FunctionCall message runs a function by OID",
        "call it in SQL",
        "`PQfn` of libpq, as the large-object functions of drivers use it",
    )
