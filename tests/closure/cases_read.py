"""Reads: every place of a SELECT from which a table can be read.

All of one shared schema. `{s}.b` is what the act changes, and where it is read is what
the row is about: an entry that does not depend on it answers wrongly.
"""

# A row is a line, however long.
# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from tests.closure.case import Case, read

#: The schema of all rows here; {s} is its name.
SCHEMA = """
CREATE SCHEMA {s};
CREATE TABLE {s}.a (id int PRIMARY KEY, v int, g text, d date, j jsonb, arr int[]);
INSERT INTO {s}.a SELECT i, i % 3, (ARRAY['x', 'y', NULL])[i % 3 + 1], date '2024-01-01' + i,
    jsonb_build_object('k', i, 'l', jsonb_build_array(i, i + 1)), ARRAY[i, i + 1]
    FROM generate_series(1, 6) i;
CREATE TABLE {s}.b (id int PRIMARY KEY, a int, v int, s text, j jsonb, k int[], n numeric, d date);
INSERT INTO {s}.b SELECT i, i % 4 + 1, i, 's' || i, '{"k": 0}', ARRAY[i, 1], i / 4.0,
    date '2024-02-01' + i FROM generate_series(1, 8) i;
CREATE TABLE {s}.tree (id int PRIMARY KEY, parent int, v int);
INSERT INTO {s}.tree SELECT i, NULLIF(i / 2, 0), i FROM generate_series(1, 9) i;
CREATE TABLE {s}."Odd ""Tab"" Le" ("Odd Column" int, "select" text);
INSERT INTO {s}."Odd ""Tab"" Le" VALUES (1, 'from');
CREATE TABLE {s}.b2 (id int PRIMARY KEY, v int);
INSERT INTO {s}.b2 VALUES (1, 1);
GRANT USAGE ON SCHEMA {s} TO PUBLIC;
"""
HOME = "reads"
#: Every value changes, and so does their sum, however often it is done.
ACT = """UPDATE {s}.b SET v = (v + id) % 11, s = 's' || (v + id) % 11, k = ARRAY[(v + id) % 11, 1],
    n = (v + id) % 11 / 4.0, d = date '2024-02-01' + (v + id) % 11"""
B2 = "UPDATE {s}.b2 SET v = 1 - v"
TREE = "UPDATE {s}.tree SET v = v + 1"


def r(name: str, sql: str, act: str = ACT, **more: object) -> Case:
    return read(f"read_{name}", sql, act, HOME, **more)


PLACES = [
    r("from", "SELECT * FROM {s}.b ORDER BY id"),
    r("alias", "SELECT x.v FROM {s}.b AS x ORDER BY x.id"),
    r("alias_columns", "SELECT q FROM {s}.b AS x (p, o, q) ORDER BY p"),
    r("only", "SELECT v FROM ONLY {s}.b ORDER BY id"),
    r("table_command", "TABLE {s}.b ORDER BY id"),
    r("quoted", 'SELECT * FROM {s}."Odd ""Tab"" Le"', 'UPDATE {s}."Odd ""Tab"" Le" SET "select" = "select" || 1'),
    r("target", "SELECT (SELECT sum(v) FROM {s}.b)"),
    r("target_correlated", "SELECT id, (SELECT sum(v) FROM {s}.b WHERE b.a = a.id) FROM {s}.a ORDER BY 1"),
    r("target_exists", "SELECT EXISTS (SELECT FROM {s}.b2 WHERE v = 1)", B2),
    r("target_array", "SELECT ARRAY(SELECT v FROM {s}.b ORDER BY id)"),
    r("target_case", "SELECT CASE WHEN id > 3 THEN (SELECT sum(v) FROM {s}.b) ELSE 0 END FROM {s}.a ORDER BY id"),
    r("target_coalesce", "SELECT COALESCE(NULL, (SELECT sum(v) FROM {s}.b)) FROM {s}.a ORDER BY id"),
    r("target_greatest", "SELECT GREATEST(0, (SELECT sum(v) FROM {s}.b)), NULLIF((SELECT sum(v) FROM {s}.b), 0)"),
    r("target_row", "SELECT ROW(1, (SELECT sum(v) FROM {s}.b))"),
    r("target_field", "SELECT (x.r).v FROM (SELECT b AS r FROM {s}.b) x ORDER BY 1"),
    r("target_subscript", "SELECT (ARRAY[10, 20, 30, 40])[(SELECT v % 4 + 1 FROM {s}.b WHERE id = 1)] FROM {s}.a WHERE id = 1"),
    r("target_slice", "SELECT k[1:2] FROM {s}.b ORDER BY id"),
    r("where_in", "SELECT id FROM {s}.a WHERE id IN (SELECT v % 6 + 1 FROM {s}.b WHERE id < 3) ORDER BY 1"),
    r("where_not_in", "SELECT id FROM {s}.a WHERE id NOT IN (SELECT v % 6 + 1 FROM {s}.b WHERE id < 3) ORDER BY 1"),
    r("where_exists", "SELECT id FROM {s}.a WHERE EXISTS (SELECT 1 FROM {s}.b WHERE b.v % 6 = a.id - 1 AND b.id < 3) ORDER BY 1"),
    r("where_not_exists", "SELECT id FROM {s}.a WHERE NOT EXISTS (SELECT 1 FROM {s}.b WHERE b.v % 6 = a.id - 1 AND b.id < 3) ORDER BY 1"),
    r("where_any", "SELECT id FROM {s}.a WHERE id = ANY (SELECT v % 6 + 1 FROM {s}.b WHERE id < 3) ORDER BY 1"),
    r("where_all", "SELECT id FROM {s}.a WHERE id > ALL (SELECT v * 9 FROM {s}.b2) ORDER BY 1", B2),
    r("where_row_in", "SELECT id FROM {s}.a WHERE (id, 1) IN (SELECT v % 6 + 1, 1 FROM {s}.b WHERE id = 1) ORDER BY 1"),
    r("where_array_subquery", "SELECT id FROM {s}.a WHERE id = ANY (ARRAY(SELECT v % 6 + 1 FROM {s}.b WHERE id < 3)) ORDER BY 1"),
    r("where_nested", "SELECT id FROM {s}.a WHERE id IN (SELECT id FROM {s}.tree WHERE v IN (SELECT v % 6 + 1 FROM {s}.b WHERE id < 3)) ORDER BY 1"),
    r("filter", "SELECT count(*) FILTER (WHERE id IN (SELECT v % 6 + 1 FROM {s}.b WHERE id = 1)), sum(id) FILTER (WHERE id <> (SELECT v % 6 + 1 FROM {s}.b WHERE id = 2)) FROM {s}.a", fault="self-join-or-subquery-not-tracked"),
    r("order_by", "SELECT id FROM {s}.a ORDER BY (id + (SELECT v FROM {s}.b WHERE id = 1)) % 6"),
    r("over_order", "SELECT id, rank() OVER (ORDER BY (id + (SELECT v FROM {s}.b WHERE id = 1)) % 6) FROM {s}.a ORDER BY 1"),
    r("over_partition", "SELECT id, count(*) OVER (PARTITION BY id > (SELECT v % 6 FROM {s}.b WHERE id = 1)) FROM {s}.a ORDER BY 1"),
    r("over_frame", "SELECT id, sum(v) OVER w FROM {s}.b WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) ORDER BY id"),
    r("group_by", "SELECT count(*) FROM {s}.a GROUP BY id > (SELECT v % 4 FROM {s}.b WHERE id = 1) ORDER BY 1"),
    r("having", "SELECT a, sum(v) FROM {s}.b GROUP BY a HAVING sum(v) > 5 ORDER BY 1"),
    r("having_subquery", "SELECT g FROM {s}.a GROUP BY g HAVING max(id) - 3 > (SELECT v % 4 FROM {s}.b WHERE id = 1) ORDER BY 1"),
    r("limit", "SELECT id FROM {s}.a ORDER BY id LIMIT (SELECT v % 4 FROM {s}.b WHERE id = 1)"),
    r("offset", "SELECT id FROM {s}.a ORDER BY id OFFSET (SELECT v % 4 FROM {s}.b WHERE id = 1)"),
    r("limit_window", "SELECT id FROM {s}.b ORDER BY v DESC LIMIT 2", fault="row-moves-into-limit-window"),
    r("with_ties", "SELECT id FROM {s}.b ORDER BY v / 3 FETCH FIRST 1 ROW WITH TIES"),
    r("distinct_on", "SELECT DISTINCT ON (a) a, v FROM {s}.b ORDER BY a, id"),
    r("values", "VALUES ((SELECT sum(v) FROM {s}.b)), (0) ORDER BY 1"),
    r("values_join", "SELECT b.v FROM (VALUES (1), (2)) x (i) JOIN {s}.b ON b.id = x.i ORDER BY 1"),
    r("from_subquery", "SELECT x.n FROM (SELECT sum(v) AS n FROM {s}.b) x"),
    r("from_subquery_nested", "SELECT * FROM (SELECT * FROM (SELECT v FROM {s}.b) x) y ORDER BY 1"),
    r("lateral", "SELECT a.id, x.v FROM {s}.a, LATERAL (SELECT v FROM {s}.b WHERE b.a = a.id ORDER BY b.id LIMIT 1) x ORDER BY 1"),
    r("lateral_left", "SELECT a.id, x.v FROM {s}.a LEFT JOIN LATERAL (SELECT v FROM {s}.b WHERE b.id = a.id) x ON true ORDER BY 1"),
    r("function_argument", "SELECT * FROM unnest((SELECT array_agg(v ORDER BY id) FROM {s}.b)) WITH ORDINALITY"),
    r("generate_series", "SELECT g FROM {s}.a, generate_series(1, (SELECT v % 4 + 1 FROM {s}.b WHERE id = 1)) x WHERE a.id = 1"),
    r("rows_from", "SELECT * FROM ROWS FROM (unnest((SELECT k FROM {s}.b WHERE id = 1)), unnest(ARRAY[1])) AS x (p, q) ORDER BY 1, 2"),
    r("srf_in_target", "SELECT unnest(k) FROM {s}.b WHERE id = 1"),
]

JOINS = [
    r("join_on", "SELECT a.id, b.v FROM {s}.a JOIN {s}.b ON b.a = a.id ORDER BY 1, b.id"),
    r("join_on_subquery", "SELECT a.id FROM {s}.a JOIN {s}.tree t ON t.id = a.id AND t.id > (SELECT v % 4 FROM {s}.b WHERE id = 1) ORDER BY 1"),
    r("join_left", "SELECT a.id, b.v FROM {s}.a LEFT JOIN {s}.b ON b.id = a.id ORDER BY 1"),
    r("join_right", "SELECT a.id, b.v FROM {s}.b RIGHT JOIN {s}.a ON b.id = a.id ORDER BY 1"),
    r("join_full", "SELECT a.id, b.v FROM {s}.a FULL JOIN {s}.b ON b.id = a.id ORDER BY 2, 1"),
    r("join_cross", "SELECT a.id, b.v FROM {s}.a CROSS JOIN {s}.b ORDER BY 1, b.id"),
    r("join_natural", "SELECT * FROM (SELECT id FROM {s}.a) x NATURAL JOIN {s}.b ORDER BY id"),
    r("join_using_alias", "SELECT j.id, b.v FROM {s}.a JOIN {s}.b USING (id) AS j ORDER BY 1", since=14),
    r("join_self", "SELECT x.id, y.v FROM {s}.tree x JOIN {s}.tree y ON y.id = x.parent ORDER BY 1", TREE, fault="self-join-or-subquery-not-tracked"),
    r("join_nested", "SELECT a.id, b.v FROM {s}.tree t JOIN ({s}.a JOIN {s}.b ON b.id = a.id) ON t.id = a.id ORDER BY 1"),
    r("join_three", "SELECT a.id, t.v, b.v FROM {s}.a, {s}.tree t, {s}.b WHERE t.id = a.id AND b.id = t.id ORDER BY 1"),
    r("join_unread_columns", "SELECT a.id FROM {s}.a JOIN {s}.b ON b.id = a.id WHERE b.v % 2 = 0 ORDER BY 1"),
    r("join_unordered", "SELECT a.id, b.v FROM {s}.a JOIN {s}.b ON b.a = a.id", bag=True),
]

SETS = [
    r("union", "SELECT v FROM {s}.tree UNION SELECT v * 100 FROM {s}.b ORDER BY 1"),
    r("union_all", "SELECT id FROM {s}.a UNION ALL SELECT v FROM {s}.b ORDER BY 1"),
    r("intersect", "SELECT id FROM {s}.tree INTERSECT SELECT v % 9 FROM {s}.b WHERE id < 4 ORDER BY 1"),
    r("except", "SELECT id FROM {s}.tree EXCEPT ALL SELECT v % 9 FROM {s}.b WHERE id < 4 ORDER BY 1"),
    r("sets_nested", "(SELECT id FROM {s}.a UNION SELECT id FROM {s}.tree) EXCEPT (SELECT v % 9 FROM {s}.b WHERE id < 3 INTERSECT SELECT id FROM {s}.tree) ORDER BY 1"),
    r("set_in_subquery", "SELECT id FROM {s}.a WHERE id IN (SELECT 99 UNION SELECT v % 6 + 1 FROM {s}.b WHERE id = 1) ORDER BY 1"),
    r("grouping_sets", "SELECT a, id % 2, sum(v) FROM {s}.b GROUP BY GROUPING SETS ((a), (id % 2), ()) ORDER BY 1, 2, 3"),
    r("cube", "SELECT a, id % 2, sum(v), grouping(a) FROM {s}.b GROUP BY CUBE (a, id % 2) ORDER BY 1, 2, 3"),
    r("rollup_distinct", "SELECT a, sum(v) FROM {s}.b GROUP BY DISTINCT ROLLUP (a), ROLLUP (a) ORDER BY 1, 2", since=14),
]

CTES = [
    r("cte", "WITH x AS (SELECT v FROM {s}.b) SELECT sum(v) FROM x"),
    r("cte_chain", "WITH x AS (SELECT v FROM {s}.b), y AS (SELECT sum(v) FROM x) SELECT * FROM y"),
    r("cte_materialized", "WITH x AS MATERIALIZED (SELECT id, v FROM {s}.b) SELECT * FROM x ORDER BY id"),
    r("cte_not_materialized", "WITH x AS NOT MATERIALIZED (SELECT id, v FROM {s}.b) SELECT * FROM x ORDER BY id"),
    r("cte_in_subquery", "SELECT (WITH x AS (SELECT v FROM {s}.b) SELECT sum(v) FROM x)"),
    r("cte_shadows_itself", "WITH b AS (SELECT id, v FROM {s}.b) SELECT * FROM b ORDER BY id"),
    r("cte_shadow_inner_only", "SELECT (SELECT sum(v) FROM (WITH b2 AS (SELECT 5 AS v) SELECT v FROM b2) q) + sum(v) FROM {s}.b2", B2),
    r("cte_recursive", "WITH RECURSIVE up AS (SELECT id, parent, v FROM {s}.tree WHERE id = 9 UNION ALL SELECT t.id, t.parent, t.v FROM {s}.tree t JOIN up ON t.id = up.parent) SELECT * FROM up", TREE),
    r("cte_recursive_term", "WITH RECURSIVE up (id, v) AS (SELECT 9, 0 UNION ALL SELECT t.parent, b.v FROM {s}.tree t JOIN up ON t.id = up.id JOIN {s}.b ON b.id = t.parent) SELECT * FROM up"),
    r("cte_search", "WITH RECURSIVE d (id, v) AS (SELECT id, v FROM {s}.tree WHERE parent IS NULL UNION ALL SELECT t.id, t.v FROM {s}.tree t JOIN d ON t.parent = d.id) SEARCH DEPTH FIRST BY id SET o SELECT id, v FROM d ORDER BY o", TREE, since=14),
    r("cte_cycle", "WITH RECURSIVE d (id, v) AS (SELECT id, v FROM {s}.tree WHERE parent IS NULL UNION ALL SELECT t.id, t.v FROM {s}.tree t JOIN d ON t.parent = d.id) CYCLE id SET c USING p SELECT id, v, c FROM d ORDER BY id", TREE, since=14),
]

EXPRESSIONS = [
    r("whole_row", "SELECT b FROM {s}.b ORDER BY id"),
    r("whole_row_expanded", "SELECT (x).v, (x).s FROM (SELECT b AS x FROM {s}.b) q ORDER BY 1"),
    r("count_row", "SELECT count(b), sum(b.v) FROM {s}.b"),
    r("row_comparison", "SELECT id FROM {s}.b WHERE (v % 3, id) > (1, 0) ORDER BY 1"),
    r("string_agg", "SELECT string_agg(s, ',' ORDER BY id DESC) FROM {s}.b"),
    r("array_agg", "SELECT array_agg(v ORDER BY id) FROM {s}.b"),
    r("json_agg", "SELECT json_agg(b ORDER BY id) FROM {s}.b", cacheable=True),
    r("jsonb_object_agg", "SELECT jsonb_object_agg(id, v) FROM {s}.b"),
    r("to_jsonb", "SELECT to_jsonb(v), to_json(s) FROM {s}.b ORDER BY id"),
    r("row_to_json", "SELECT row_to_json(x) FROM (SELECT id, v FROM {s}.b ORDER BY id) x"),
    r("percentile", "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY v), mode() WITHIN GROUP (ORDER BY v % 2), sum(v) FROM {s}.b"),
    r("statistics", "SELECT avg(v), sum(n), stddev_pop(v), bool_or(v > 3), bit_and(v), corr(v, id) FROM {s}.b"),
    r("arithmetic", "SELECT v * 2 - 1, n / 3, -v, v ^ 2, v % 5, abs(n), round(n, 1) FROM {s}.b ORDER BY id"),
    r("text_functions", "SELECT upper(s), length(s), s || '!', substr(s, 2), replace(s, '+', '-'), left(s, 1) FROM {s}.b ORDER BY id"),
    r("like", "SELECT id, s LIKE 's1%', s ~ '^s[2-4]$', s SIMILAR TO 's[35]', s ILIKE 'S%' FROM {s}.b ORDER BY id"),
    r("collate", "SELECT s FROM {s}.b ORDER BY s COLLATE \"C\" DESC"),
    r("date_arithmetic", "SELECT d + 1, d - date '2024-01-01', d + interval '1 month', date_part('month', d), extract(day FROM d) FROM {s}.b ORDER BY id"),
    r("date_compared", "SELECT id FROM {s}.b WHERE d > '2024-02-04' AND d BETWEEN date '2024-01-01' AND date '2030-01-01' ORDER BY 1"),
    r("cast", "SELECT v::text, CAST(v AS numeric(10, 2)), v::float8, n::int, s::varchar(3) FROM {s}.b ORDER BY id"),
    r("array_operators", "SELECT k || 5, k @> ARRAY[1], cardinality(k), array_position(k, 1), array_to_string(k, ',') FROM {s}.b ORDER BY id"),
    r("jsonb_operators", "SELECT j -> 'k', j ->> 'k', j @> '{\"k\": 0}', jsonb_set(j, '{z}', to_jsonb(v)), j #> '{k}' FROM {s}.b ORDER BY id"),
    r("jsonb_path", "SELECT v, jsonb_path_query_first(j, '$.k'), j @? '$.k' FROM {s}.b ORDER BY id"),
    r("is_tests", "SELECT v IS NULL, v IS DISTINCT FROM 3, (v > 3) IS TRUE, (v > 3) IS NOT UNKNOWN FROM {s}.b ORDER BY id"),
    r("json_constructors", "SELECT JSON_OBJECT('v': v), JSON_ARRAY(v, s), JSON_ARRAY(SELECT v FROM {s}.b x WHERE x.id = b.id) FROM {s}.b ORDER BY id", since=16),
    r("json_aggregates", "SELECT JSON_OBJECTAGG(id: v), JSON_ARRAYAGG(v ORDER BY id) FROM {s}.b", since=16),
    r("json_query", "SELECT v, JSON_VALUE(j, '$.k'), JSON_QUERY(j, '$'), JSON_EXISTS(j, '$.k') FROM {s}.b ORDER BY id", since=17),
    r("json_table", "SELECT t.* FROM {s}.b, JSON_TABLE(jsonb_build_array(v), '$[*]' COLUMNS (x int PATH '$')) t ORDER BY b.id", since=17),
    r("json_table_subquery", "SELECT * FROM JSON_TABLE((SELECT jsonb_agg(v ORDER BY id) FROM {s}.b), '$[*]' COLUMNS (o FOR ORDINALITY, x int PATH '$')) t", since=17),
    r("xml", "SELECT xmlelement(name x, v) FROM {s}.b ORDER BY id", until=17, why="the tests' build of 18 has no XML"),
    r("xmltable", "SELECT x.* FROM XMLTABLE('/r' PASSING (SELECT xmlelement(name r, v) FROM {s}.b WHERE id = 1) COLUMNS n int PATH '.') x", until=17, why="the tests' build of 18 has no XML"),
    r("any_value", "SELECT any_value(s) FROM {s}.b WHERE id = 1", since=16),
    r("literal_kinds", "SELECT 1, '1', 1.0, B'1', true, NULL, v FROM {s}.b ORDER BY 7", fault="select-list-literal-parameterised"),
    r("position_literal", "SELECT v, id FROM {s}.b ORDER BY 2 DESC LIMIT 2"),
    r("other_literal_case", "SELECT id, v FROM {s}.b WHERE s LIKE 'S%' OR id = 1", fault="text-keys-folded-by-collation"),
    r("commented", "/* one */ SELECT v -- two\n FROM {s}.b /* three /* nested */ */ ORDER BY id;"),
    r("unicode_escapes", "SELECT U&'\\0041', E'\\t', $q$a$q$, v FROM {s}.b ORDER BY id"),
]

READS = PLACES + JOINS + SETS + CTES + EXPRESSIONS
