"""What drivers and tools send on their own evicts nothing.

Connecting, pinging, resetting a pooled connection and reading the catalog must
not cost the cache anything. The texts are those of psycopg 3, psycopg2, asyncpg,
SQLAlchemy, Django, pgjdbc, npgsql, node-postgres, psql and pg_dump, shortened where
they only repeat themselves.
"""

from __future__ import annotations

import pytest

from proxy.policy.plan import NOTHING
from tests.unit.policy.helpers import plan

STATEMENTS = {
    "ping": ["", ";", "-- ping", "SELECT 1", "select 1;", "/* ping */ SELECT 1"],
    "psycopg": [
        "BEGIN",
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        "COMMIT",
        "ROLLBACK",
        'SAVEPOINT "_pg3_1"',
        'RELEASE "_pg3_1"',
        'ROLLBACK TO "_pg3_1"; RELEASE "_pg3_1"',
        "DEALLOCATE ALL",
        "SELECT typname AS name, oid, typarray AS array_oid, oid::regtype::text AS regtype, "
        "typdelim AS delimiter FROM pg_type t WHERE t.oid = to_regtype($1) ORDER BY t.oid",
        "SELECT name, oid, array_oid, array_agg(label) AS labels FROM (SELECT t.typname AS name, "
        "t.oid AS oid, t.typarray AS array_oid, e.enumlabel AS label FROM pg_type t LEFT JOIN "
        "pg_enum e ON e.enumtypid = t.oid WHERE t.oid = to_regtype($1) ORDER BY e.enumsortorder) x "
        "GROUP BY name, oid, array_oid",
    ],
    "psycopg2": [
        "BEGIN TRANSACTION READ ONLY",
        "SET default_transaction_read_only TO 'on'",
        "ABORT",
        "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid "
        "WHERE typname = 'hstore'",
    ],
    "asyncpg": [
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL;",
        "BEGIN;",
        "SAVEPOINT __asyncpg_savepoint_1__;",
        "ROLLBACK TO __asyncpg_savepoint_1__;",
        "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",
        "SELECT set_config('jit', $1, false)",
        "WITH RECURSIVE typeinfo_tree(oid, ns, name, kind, basetype, elemtype, elemdelim, "
        "range_subtype, attrtypoids, attrnames, depth) AS (SELECT ti.oid, ti.ns, ti.name, ti.kind, "
        "ti.basetype, ti.elemtype, ti.elemdelim, ti.range_subtype, ti.attrtypoids, ti.attrnames, 0 "
        "FROM (SELECT t.oid AS oid, ns.nspname AS ns, t.typname AS name, t.typtype AS kind, "
        "(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE NULL END) AS basetype, t.typelem AS "
        "elemtype, elem_t.typdelim AS elemdelim, range_t.rngsubtype AS range_subtype, "
        "(SELECT array_agg(ia.atttypid ORDER BY ia.attnum) FROM pg_attribute ia INNER "
        "JOIN pg_class "
        "c ON (ia.attrelid = c.oid) WHERE ia.attnum > 0 AND NOT ia.attisdropped) AS attrtypoids, "
        "NULL AS attrnames FROM pg_catalog.pg_type AS t INNER JOIN pg_catalog.pg_namespace ns ON "
        "(ns.oid = t.typnamespace) LEFT JOIN pg_type elem_t ON (t.typelem = elem_t.oid) LEFT JOIN "
        "pg_range range_t ON (t.oid = range_t.rngtypid)) AS ti WHERE ti.oid = any($1::oid[]) UNION "
        "ALL SELECT ti.oid, ti.ns, ti.name, ti.kind, ti.basetype, ti.elemtype, ti.elemdelim, "
        "ti.range_subtype, ti.attrtypoids, ti.attrnames, tt.depth + 1 FROM typeinfo_tree ti, "
        "typeinfo_tree tt WHERE tt.elemtype IS NOT NULL) SELECT DISTINCT *, "
        "basetype::regtype::text "
        "AS basetype_name FROM typeinfo_tree ORDER BY depth DESC",
    ],
    "sqlalchemy": [
        "select pg_catalog.version()",
        "select current_schema()",
        "show standard_conforming_strings",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace "
        "ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE "
        "pg_catalog.pg_class.relkind = ANY (ARRAY['r', 'p']) AND "
        "pg_catalog.pg_class.relpersistence "
        "!= 't' AND pg_catalog.pg_namespace.nspname != 'pg_catalog'",
        "SELECT pg_catalog.pg_attribute.attname AS name, pg_catalog.format_type(pg_catalog."
        "pg_attribute.atttypid, pg_catalog.pg_attribute.atttypmod) AS format_type, (SELECT "
        "pg_catalog.pg_get_expr(pg_catalog.pg_attrdef.adbin, pg_catalog.pg_attrdef.adrelid) AS "
        "pg_get_expr_1 FROM pg_catalog.pg_attrdef WHERE pg_catalog.pg_attrdef.adrelid = pg_catalog."
        'pg_attribute.attrelid) AS "default" FROM pg_catalog.pg_attribute',
        "ROLLBACK",
    ],
    "django": [
        "SELECT set_config('TimeZone', 'UTC', false)",
        "SET ROLE app",
        "SELECT c.relname, CASE WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, "
        "obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN "
        "pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        "SELECT indexname, array_agg(attname ORDER BY arridx) FROM (SELECT c2.relname as "
        "indexname, "
        "idx.*, attr.attname FROM (SELECT * FROM pg_index i, unnest(i.indkey, i.indoption) WITH "
        "ORDINALITY koi(key, option, arridx)) idx LEFT JOIN pg_class c2 ON idx.indexrelid = c2.oid "
        "LEFT JOIN pg_attribute attr ON attr.attnum = idx.key) s2 GROUP BY indexname",
    ],
    "pgjdbc": [
        "SET extra_float_digits = 3",
        "SET application_name = 'PostgreSQL JDBC Driver'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "BEGIN READ ONLY",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "SELECT current_schema()",
        "SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, ct.relname AS TABLE_NAME, "
        "a.attname AS "
        "COLUMN_NAME, (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, ci.relname AS "
        "PK_NAME, information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM FROM "
        "pg_catalog.pg_class ct JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) JOIN "
        "pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) JOIN pg_catalog.pg_index i ON "
        "(a.attrelid = i.indrelid) JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid)",
        "DEALLOCATE ALL",
        "DISCARD ALL",
    ],
    "npgsql": [
        "SELECT version()",
        "SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid FROM (SELECT "
        "typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull, "
        "typ.relkind, elemtyp.oid AS elemtypoid FROM (SELECT typ.oid, typnamespace, typname, "
        "typrelid, typnotnull, relkind, typelem AS elemoid, typtype FROM pg_type AS typ LEFT JOIN "
        "pg_class AS cls ON (cls.oid = typ.typrelid)) AS typ LEFT JOIN pg_type AS elemtyp ON "
        "elemtyp.oid = elemoid) AS t JOIN pg_namespace AS ns ON (ns.oid = typnamespace) WHERE "
        "typtype IN ('b', 'r', 'm', 'e', 'd') OR typtype = 'p' AND t.typname IN ('record', 'void')",
        "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; "
        "SELECT pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP",
        "DISCARD ALL",
        "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ],
    "node-postgres": ["BEGIN", "COMMIT", "LISTEN jobs", "UNLISTEN jobs", "NOTIFY jobs, '1'"],
    "psql": [
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN "
        "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname "
        "OPERATOR(pg_catalog.~) "
        "'^(a)$' COLLATE pg_catalog.default AND c.relkind <> 'i' ORDER BY 2, 3",
        "SELECT d.datname FROM pg_catalog.pg_database d ORDER BY 1",
        "SELECT pg_catalog.pg_is_in_recovery()",
        "SHOW search_path",
    ],
    "pg_dump": [
        "SET DATESTYLE = ISO",
        "SET synchronize_seqscans TO off",
        "SET quote_all_identifiers = true",
        "SET row_security = off",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "LOCK TABLE public.a IN ACCESS SHARE MODE",
        "COPY public.a (id, name) TO stdout;",
        "PREPARE x(pg_catalog.oid) AS SELECT 1 FROM pg_catalog.pg_class WHERE oid = $1",
    ],
    "monitoring": [
        "SELECT pid, state FROM pg_stat_activity WHERE pid <> pg_backend_pid()",
        "SELECT pg_relation_size('a'), pg_is_in_recovery()",
        "SELECT * FROM pg_settings",
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
        "SELECT has_table_privilege('a', 'SELECT')",
        "SELECT pg_sleep(1)",
    ],
}


@pytest.mark.parametrize(("who", "text"), [(k, t) for k, v in STATEMENTS.items() for t in v])
def test_driver_statements_evict_nothing(who, text):
    assert plan(text).closure == NOTHING, who
