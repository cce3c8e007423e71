"""Reads: what must come from memory on repeat, and what must never.

A case is a name, a statement, parameters, and whether it must be a hit on repeat
(True), must never be (False), or may be either (None: provable later, or harmless).
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.differential.styles import (
    Parameter,
    boolean,
    bytea,
    date,
    float8,
    int4,
    int4_array,
    int8,
    null,
    text,
    timestamptz,
    uuid_,
)

SCHEMA = [
    """
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TABLE kinds (
        id int PRIMARY KEY, i2 smallint, i8 bigint, f4 real, f8 float8, num numeric,
        num2 numeric(12, 2), b bool, t text, vc varchar(20), ch char(5), by bytea, d date,
        tm time, ts timestamp, tsz timestamptz, iv interval, u uuid, j json,
        jb jsonb, ia int[], ta text[], na numeric[], ia2 int[][], r int4range, tr tstzrange,
        p point, bx box, inet inet, cidr cidr, mac macaddr, bt bit(4), vb varbit,
        mo money, tsv tsvector, ox oid, nm name
    );
    INSERT INTO kinds (id) VALUES (1);
    INSERT INTO kinds VALUES (
        2, -32768, 9223372036854775807, 1.5, 1e300, 12345678901234567890.123456789, -0.50, true,
        E'tab\\there \\u00e9 \\\\ ''quoted''', 'var', 'ch', '\\x00ff10', '2024-02-29',
        '23:59:59.999999', '2024-02-29 12:34:56.789',
        '2024-02-29 12:34:56.789+02', '1 year 2 mons -3 days 04:05:06.7',
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"b": 1,  "a": [null, 1.50]}',
        '{"b": 1, "a": [null, 1.50]}', '{1,NULL,3}', '{"a b","",NULL,"q\\"x"}', '{1.1,2.2}',
        '{{1,2},{3,4}}', '[1,5)', '[2020-01-01 00:00+00,)', '(1.5,2)', '((0,0),(1,1))',
        '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03', B'1010', B'11', '12.34',
        'a fat cat', 4294967295, 'nam');
    INSERT INTO kinds (id, i2, i8, f4, f8, num, d, ts, tsz, iv, ia, t, by, num2) VALUES (
        3, 32767, -9223372036854775808, 'NaN', '-Infinity', 'NaN', 'infinity', '-infinity',
        'infinity', '-1 mons +2 days -00:00:01', '{}', '', '', 0);
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, region text, since date);
    INSERT INTO customers SELECT i, 'customer ' || i, (ARRAY['north','south',NULL])[i % 3 + 1],
        date '2020-01-01' + i FROM generate_series(1, 50) i;
    CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, total numeric(10,2),
        placed timestamptz, note text);
    INSERT INTO orders SELECT i, i % 50 + 1, (i * 37 % 1000) / 10.0,
        timestamptz '2024-01-01 00:00+00' + i * interval '1 hour',
        CASE WHEN i % 7 = 0 THEN NULL ELSE 'note ' || i END FROM generate_series(1, 400) i;
    CREATE TABLE empty (id int, v text);
    INSERT INTO empty SELECT 1, 'x' WHERE false;
    CREATE TABLE nocolumns ();
    INSERT INTO nocolumns DEFAULT VALUES;
    INSERT INTO nocolumns DEFAULT VALUES;
    CREATE TABLE wide (id int PRIMARY KEY, body text);
    INSERT INTO wide VALUES (1, repeat('0123456789', 2000)), (2, repeat('x', 3000000)),
        (3, repeat('y', 100000));
    CREATE TABLE "Quoted Name" ("Col ""x"" y" int, "select" text);
    INSERT INTO "Quoted Name" VALUES (1, 'a');
    CREATE SCHEMA other;
    CREATE TABLE other.customers (id int PRIMARY KEY, name text);
    INSERT INTO other.customers VALUES (1, 'other');
    CREATE TABLE tree (id int PRIMARY KEY, parent int);
    INSERT INTO tree SELECT i, NULLIF(i / 2, 0) FROM generate_series(1, 31) i;
    CREATE TABLE serials (id serial PRIMARY KEY, g int GENERATED ALWAYS AS (3) STORED);
    INSERT INTO serials DEFAULT VALUES;
    CREATE TABLE textdates (v text);
    INSERT INTO textdates VALUES ('now');
    CREATE TABLE made_enum (id int, m mood); INSERT INTO made_enum VALUES (1, 'happy');
    CREATE TABLE made_pair (id int, pr pair); INSERT INTO made_pair VALUES (2, ROW(1, 'x, y'));
    CREATE TABLE made_domain (id int, ps positive); INSERT INTO made_domain VALUES (3, 7);
    CREATE TABLE zoned (tmz timetz);
    INSERT INTO zoned VALUES ('12:00:00+05:30');
    """,
    """
    CREATE VIEW customer_view AS SELECT id, name FROM customers;
    CREATE MATERIALIZED VIEW customer_mat AS SELECT id, name FROM customers;
    CREATE TABLE secured (id int, owner name); INSERT INTO secured VALUES (1, 'alice');
    ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON secured USING (owner = current_user);
    CREATE TABLE parted (id int, v text) PARTITION BY RANGE (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
    INSERT INTO parted VALUES (1, 'p');
    CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent);
    INSERT INTO child VALUES (1);
    CREATE UNLOGGED TABLE unlogged (id int); INSERT INTO unlogged VALUES (1);
    CREATE SEQUENCE counter;
    CREATE FUNCTION f_volatile() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION f_stable() RETURNS bigint STABLE LANGUAGE sql AS
        'SELECT count(*) FROM public.customers';
    CREATE FUNCTION f_liar(int) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS
        'BEGIN RETURN (SELECT count(*) FROM public.customers); END';
    CREATE FUNCTION public.lower(anyelement) RETURNS text VOLATILE LANGUAGE sql
        AS 'SELECT random()::text';
    CREATE FUNCTION ops_eq(pair, int) RETURNS bool VOLATILE LANGUAGE sql AS 'SELECT random() < 2';
    CREATE OPERATOR === (LEFTARG = pair, RIGHTARG = int, FUNCTION = ops_eq);
    CREATE TABLE ruled (id int);
    INSERT INTO ruled VALUES (1);
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO alice, bob;
    """,
]


@dataclass(frozen=True)
class Read:
    """One statement; `same` is False where two runs may differ (volatile)."""

    name: str
    sql: str
    cacheable: bool | None = True
    parameters: tuple[Parameter, ...] = ()
    same: bool = True


def _column(name: str, cacheable: bool | None = True) -> Read:
    return Read(f"type_{name}", f"SELECT id, {name} FROM kinds ORDER BY id", cacheable)


COLUMNS = (
    "i2 i8 f4 f8 num num2 b t vc ch by d tm ts tsz iv u j jb ia ta na ia2 r tr p bx inet"
    " cidr mac bt vb ox nm tsv mo"
).split()

TYPES = [_column(name) for name in COLUMNS] + [
    # Types of the database's own making: provable or not.
    Read("type_enum", "SELECT m FROM made_enum"),
    Read("type_enum_where", "SELECT id FROM made_enum WHERE m = 'happy'"),
    Read("type_composite", "SELECT pr FROM made_pair", None),
    Read("type_domain", "SELECT ps FROM made_domain", None),
    Read("type_timetz", "SELECT tmz FROM zoned", None),
    Read("type_all", "SELECT * FROM kinds ORDER BY id", None),
    Read("type_whole_row", "SELECT kinds FROM kinds ORDER BY id", None),
]

SHAPES = [
    Read("point", "SELECT name FROM customers WHERE id = 7"),
    Read("point_qualified", "SELECT c.name FROM public.customers AS c WHERE c.id = 7"),
    Read("other_schema", "SELECT name FROM other.customers WHERE id = 1"),
    Read("zero_rows", "SELECT * FROM empty"),
    Read("zero_rows_where", "SELECT * FROM customers WHERE id = -1"),
    Read("zero_columns", "SELECT FROM customers WHERE id < 4"),
    Read("zero_columns_table", "SELECT * FROM nocolumns"),
    Read("quoted", 'SELECT "Col ""x"" y", "select" FROM "Quoted Name"'),
    Read("row_20k", "SELECT body FROM wide WHERE id = 1"),
    Read("row_100k", "SELECT body FROM wide WHERE id = 3"),
    Read("over_the_entry_limit", "SELECT body FROM wide WHERE id = 2", False),
    Read("many_rows", "SELECT * FROM orders ORDER BY id"),
    Read("nulls", "SELECT note, region FROM orders LEFT JOIN customers ON false ORDER BY 1"),
    Read("is_null", "SELECT id FROM orders WHERE note IS NULL ORDER BY id"),
    Read(
        "join",
        "SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer = c.id"
        " WHERE c.id = 5 ORDER BY o.id",
    ),
    Read(
        "join_using",
        "SELECT id, customers.name FROM customers JOIN other.customers AS o USING (id)",
    ),
    Read("cross_join", "SELECT c.id, t.id FROM customers c, tree t ORDER BY 1, 2 LIMIT 5"),
    Read(
        "left_join",
        "SELECT c.id, count(o.id) FROM customers c LEFT JOIN orders o ON o.customer = c.id"
        " AND o.total > 90 GROUP BY c.id ORDER BY c.id",
    ),
    Read(
        "lateral",
        "SELECT c.id, x.total FROM customers c, LATERAL (SELECT total FROM orders o"
        " WHERE o.customer = c.id ORDER BY o.id LIMIT 1) x ORDER BY c.id",
    ),
    Read("self_join", "SELECT a.id FROM tree a JOIN tree b ON a.id = b.parent ORDER BY 1"),
    Read("count", "SELECT count(*) FROM orders"),
    Read("group_by", "SELECT region, count(*) FROM customers GROUP BY region ORDER BY 1"),
    Read("group_by_1", "SELECT region, count(*) FROM customers GROUP BY 1 ORDER BY 1, 2"),
    Read(
        "having",
        "SELECT customer, sum(total) FROM orders GROUP BY customer HAVING sum(total) > 400"
        " ORDER BY 2 DESC, 1",
    ),
    Read(
        "filter_subquery_23",
        "SELECT count(*) FILTER (WHERE customer IN (SELECT id FROM customers"
        " WHERE region = 'north')) FROM orders",
    ),
    Read(
        "grouping_sets",
        "SELECT region, count(*) FROM customers GROUP BY ROLLUP (region) ORDER BY 1, 2",
        None,
    ),
    Read("distinct", "SELECT DISTINCT region FROM customers ORDER BY region"),
    Read("distinct_on", "SELECT DISTINCT ON (region) region, id FROM customers ORDER BY 1, 2"),
    Read(
        "window",
        "SELECT id, row_number() OVER (PARTITION BY customer ORDER BY id),"
        " sum(total) OVER (ORDER BY id) FROM orders ORDER BY id LIMIT 20",
    ),
    Read("window_lag", "SELECT id, lag(total) OVER w FROM orders WINDOW w AS (ORDER BY id)"),
    Read(
        "cte",
        "WITH big AS (SELECT * FROM orders WHERE total > 90) SELECT count(*) FROM big",
    ),
    Read(
        "recursive",
        "WITH RECURSIVE up AS (SELECT id, parent FROM tree WHERE id = 31 UNION ALL"
        " SELECT t.id, t.parent FROM tree t JOIN up ON t.id = up.parent) SELECT * FROM up",
        None,
    ),
    Read("union", "SELECT id FROM tree WHERE id < 3 UNION SELECT 99 ORDER BY 1"),
    Read("except", "SELECT id FROM tree EXCEPT SELECT parent FROM tree ORDER BY 1"),
    Read("intersect", "SELECT id FROM tree INTERSECT SELECT id FROM orders ORDER BY 1"),
    Read("in_list", "SELECT name FROM customers WHERE id IN (1, 2, 3) ORDER BY id"),
    Read(
        "exists",
        "SELECT id FROM customers c WHERE EXISTS (SELECT 1 FROM orders o"
        " WHERE o.customer = c.id AND o.total > 99) ORDER BY id",
    ),
    Read("scalar_subquery", "SELECT (SELECT max(total) FROM orders), id FROM tree WHERE id = 1"),
    Read("between", "SELECT id FROM orders WHERE total BETWEEN 10 AND 12 ORDER BY id"),
    Read("like", "SELECT name FROM customers WHERE name LIKE 'customer 1%' ORDER BY id"),
    Read("case", "SELECT CASE WHEN id < 10 THEN 'low' ELSE 'high' END FROM tree ORDER BY id"),
    Read("coalesce", "SELECT COALESCE(note, '-') FROM orders ORDER BY id LIMIT 10"),
    Read("arithmetic", "SELECT id * 2 + 1, total / 3, -total FROM orders ORDER BY id LIMIT 9"),
    Read("text_functions", "SELECT upper(name), length(name), name || '!' FROM customers"),
    Read("limit_offset_39", "SELECT id FROM orders ORDER BY total DESC, id LIMIT 5 OFFSET 5"),
    Read("order_by_position_37", "SELECT name, id FROM customers ORDER BY 2 DESC LIMIT 3"),
    Read("constant_37", "SELECT 1, 'x', id FROM tree WHERE id = 1"),
    Read("constant_other_37", "SELECT 2, 'x', id FROM tree WHERE id = 1"),
    Read("collation_36a", "SELECT count(*) FROM customers WHERE name = 'customer 1'"),
    Read("collation_36b", "SELECT count(*) FROM customers WHERE name = 'CUSTOMER 1'"),
    Read("any_array", "SELECT id FROM tree WHERE id = ANY ('{1,2,3}') ORDER BY id"),
    Read("array_agg", "SELECT array_agg(id ORDER BY id) FROM tree", None),
    Read("string_agg", "SELECT string_agg(name, ',' ORDER BY id) FROM customers"),
    Read("table_command", "TABLE tree", None),
    Read("values_join", "SELECT t.id FROM tree t JOIN (VALUES (1), (2)) v (x) ON v.x = t.id"),
    Read("subselect_from", "SELECT x.n FROM (SELECT count(*) AS n FROM orders) x"),
    Read("leading_comment", "/* trace 17 */ SELECT name FROM customers WHERE id = 8"),
    Read("trailing_semicolon", "SELECT name FROM customers WHERE id = 9;"),
    Read("stored_generated", "SELECT * FROM serials"),
    Read("unicode", "SELECT name, 'h\u00e9llo \U0001f418' FROM customers WHERE id = 1"),
    Read("jsonb_operators", "SELECT jb -> 'a', jb ->> 'b' FROM kinds WHERE id = 2", None),
    Read("date_extract", "SELECT extract(year FROM since) FROM customers WHERE id = 3", None),
    Read("error_division", "SELECT 1 / (id - 1) FROM tree ORDER BY id", None),
    Read("error_column", "SELECT nonsense FROM tree", None),
    Read("error_table", "SELECT * FROM not_there", None),
    Read("error_syntax", "SELEC 1", None),
    Read("empty_statement", "", None),
    Read("several_rows_then_error", "SELECT 1 / (20 - id) FROM tree ORDER BY id", None),
]

PARAMETERS = [
    Read("p_int4", "SELECT name FROM customers WHERE id = $1", True, (int4(3),)),
    Read("p_int4_other", "SELECT name FROM customers WHERE id = $1", True, (int4(4),)),
    Read("p_int8", "SELECT id FROM orders WHERE id = $1", True, (int8(12),)),
    Read("p_text", "SELECT id FROM customers WHERE name = $1", True, (text("customer 3"),)),
    Read("p_text_case_36", "SELECT id FROM customers WHERE name = $1", True, (text("CUSTOMER 3"),)),
    Read("p_null", "SELECT id FROM customers WHERE name = $1", True, (null(25),)),
    Read("p_bool", "SELECT id FROM kinds WHERE b = $1", True, (boolean(True),)),
    Read("p_float8", "SELECT id FROM kinds WHERE f8 > $1", True, (float8(0.5),)),
    Read(
        "p_uuid",
        "SELECT id FROM kinds WHERE u = $1",
        True,
        (uuid_("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),),
    ),
    Read("p_bytea", "SELECT id FROM kinds WHERE by = $1", True, (bytea(b"\0\xff\x10"),)),
    Read("p_date", "SELECT id FROM customers WHERE since = $1", None, (date("2020-01-11", 7315),)),
    Read(
        "p_timestamptz",
        "SELECT id FROM orders WHERE placed = $1",
        None,
        (timestamptz("2024-01-01 05:00:00+00", 757_400_400_000_000),),
    ),
    Read(
        "p_array", "SELECT id FROM tree WHERE id = ANY ($1) ORDER BY id", True, (int4_array(3, 1),)
    ),
    Read(
        "p_two",
        "SELECT id FROM orders WHERE customer = $1 AND total < $2 ORDER BY id",
        True,
        (int4(3), float8(50.0)),
    ),
    Read("p_limit", "SELECT id FROM orders ORDER BY id LIMIT $1", True, (int8(3),)),
    # Sent in several packets: Howdah may forward it.
    Read(
        "p_bind_100k_49", "SELECT id FROM customers WHERE name = $1", None, (text("z" * 100_000),)
    ),
    Read("p_error", "SELECT 1 / ($1 - 1) FROM tree", None, (int4(1),)),
]

NEVER = [
    Read("random_35", "SELECT random(), id FROM tree", False, same=False),
    # Not after rows of this session that may have run functions under unknown settings.
    Read("user_function_35", "SELECT f_volatile(), id FROM tree", None),
    Read("stable_function", "SELECT f_stable() FROM tree", None),
    Read("immutable_liar", "SELECT f_liar(1) FROM tree", False),
    Read("overloaded_35", "SELECT lower(id) FROM tree WHERE id = 1", False, same=False),
    Read("operator", "SELECT pr === 1 FROM made_pair", False),
    Read("now", "SELECT now(), id FROM tree", False, same=False),
    Read("current_timestamp_34", "SELECT CURRENT_TIMESTAMP, id FROM tree", False, same=False),
    Read("current_date_34", "SELECT CURRENT_DATE, id FROM tree", False),
    Read("localtime_34", "SELECT LOCALTIME, id FROM tree", False, same=False),
    Read("current_user_34", "SELECT CURRENT_USER, id FROM tree"),
    Read("session_user_34", "SELECT SESSION_USER, id FROM tree"),
    Read("clock_timestamp", "SELECT clock_timestamp(), id FROM tree", False, same=False),
    Read("literal_now", "SELECT id FROM customers WHERE since < 'now'", False),
    Read("literal_today", "SELECT id FROM customers WHERE since < date 'today'", False),
    Read("cast_now", "SELECT id FROM customers WHERE since < 'tomorrow'::date", False),
    Read("text_to_date", "SELECT v::timestamptz FROM textdates", False, same=False),
    Read("age", "SELECT age(since) FROM customers WHERE id = 1", False),
    Read("nextval", "SELECT nextval('counter'), id FROM tree", False, same=False),
    Read("sequence", "SELECT last_value FROM counter", False),
    Read("backend_pid", "SELECT pg_backend_pid() - pg_backend_pid(), id FROM tree", False),
    Read("current_setting", "SELECT current_setting('work_mem'), id FROM tree"),
    Read("advisory_lock", "SELECT pg_advisory_xact_lock(1), id FROM tree WHERE id = 1", False),
    Read("pg_sleep", "SELECT pg_sleep(0), id FROM tree WHERE id = 1", False),
    Read("for_update", "SELECT id FROM tree WHERE id = 1 FOR UPDATE", False),
    Read("for_share", "SELECT id FROM tree WHERE id = 1 FOR SHARE", False),
    Read("for_key_share", "SELECT id FROM tree WHERE id = 1 FOR KEY SHARE SKIP LOCKED", False),
    Read("tablesample", "SELECT id FROM tree TABLESAMPLE bernoulli (100)", False),
    Read("ctid", "SELECT ctid, id FROM tree WHERE id = 1", False),
    Read("xmin", "SELECT xmin = xmin FROM tree WHERE id = 1", False),
    Read("xmax", "SELECT xmax = xmax FROM tree WHERE id = 1", False),
    Read("catalog", "SELECT relname FROM pg_class WHERE relname = 'tree'", False),
    Read("catalog_join", "SELECT t.id FROM tree t, pg_catalog.pg_am LIMIT 1", False),
    Read("information_schema", "SELECT count(*) FROM information_schema.tables", False),
    Read("pg_stat", "SELECT count(*) >= 0 FROM pg_stat_activity", False),
    Read("view", "SELECT name FROM customer_view WHERE id = 1"),
    Read("materialized_view_22", "SELECT name FROM customer_mat WHERE id = 1"),
    Read("rls_27", "SELECT * FROM secured"),
    Read("partitioned", "SELECT * FROM parted"),
    Read("partition", "SELECT * FROM parted_1"),
    Read("inheritance_parent", "SELECT * FROM parent"),
    Read("inheritance_child", "SELECT * FROM child"),
    Read("inheritance_only", "SELECT * FROM ONLY parent"),
    Read("unlogged", "SELECT * FROM unlogged", False),
    Read("no_relation", "SELECT 1", False),
    Read("version", "SELECT version()", False),
    Read("generate_series", "SELECT * FROM generate_series(1, 3)", False),
    Read("explain", "EXPLAIN (COSTS OFF) SELECT id FROM tree WHERE id = 1", False),
    Read("show", "SHOW work_mem", False),
    Read("values", "VALUES (1), (2)", False),
    Read("timezone_literal_33", "SELECT '2022-07-05 10:00'::timestamptz FROM tree", None),
    Read("to_timestamp_33", "SELECT to_timestamp(0) FROM tree WHERE id = 1", None),
    Read("regclass", "SELECT 'tree'::regclass, id FROM tree WHERE id = 1", False),
    Read("table_to_xml", "SELECT table_to_xml('tree', true, false, '') FROM tree LIMIT 1", False),
    Read("lo_get", "SELECT lo_get(0) FROM tree", False),
    Read("txid", "SELECT pg_current_xact_id() IS NULL FROM tree LIMIT 1", False),
    Read("multi_18", "SELECT id FROM tree WHERE id = 1; SELECT id FROM tree WHERE id = 2", False),
    Read("copy_out", "COPY (SELECT id FROM tree ORDER BY id) TO STDOUT", False),
    Read("declare", "DECLARE c CURSOR FOR SELECT id FROM tree", False),
    Read("fetch", "FETCH ALL FROM no_such_cursor", False),
]

READS = TYPES + SHAPES + PARAMETERS + NEVER
