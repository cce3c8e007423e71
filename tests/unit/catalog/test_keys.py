"""What real catalogs tell of unique keys, and of views that leave an order open."""

from __future__ import annotations

import asyncpg

from proxy.catalog.loader import CatalogReader
from proxy.policy.order import order_of
from tests.fix_pg import PostgresServer

SCHEMA = """
CREATE TABLE t (
    id int PRIMARY KEY,
    a text,
    b text NOT NULL UNIQUE,
    c text UNIQUE,
    d numeric NOT NULL,
    e int NOT NULL UNIQUE DEFERRABLE,
    f float8,
    UNIQUE (b, d)
);
CREATE UNIQUE INDEX ON t (d) WHERE d > 0;
CREATE UNIQUE INDEX ON t (lower(b));
CREATE UNIQUE INDEX ON t (d) INCLUDE (a);
CREATE UNIQUE INDEX ON t (b COLLATE "C", e);
CREATE UNIQUE INDEX ON t (b text_pattern_ops, id);
CREATE TABLE p (id int, k int, PRIMARY KEY (k, id)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p DEFAULT;
CREATE VIEW plain AS SELECT a, count(*), sum(d) FROM t GROUP BY a;
CREATE VIEW limited AS SELECT * FROM t LIMIT 3;
CREATE VIEW passed AS SELECT * FROM t OFFSET 3;
CREATE VIEW inside AS SELECT * FROM t WHERE id IN (SELECT id FROM t LIMIT 3);
CREATE VIEW chosen AS SELECT DISTINCT ON (a) * FROM t;
CREATE VIEW distinct_plain AS SELECT DISTINCT a FROM t;
CREATE VIEW numbered AS SELECT row_number() OVER () FROM t;
CREATE VIEW gathered AS SELECT array_agg(a) FROM t;
CREATE VIEW listed AS SELECT array(SELECT a FROM t);
CREATE VIEW one AS SELECT (SELECT a FROM t WHERE id = 1) AS a;
CREATE VIEW floats AS SELECT sum(f) FROM t;
CREATE VIEW collected AS SELECT json_agg(a) FROM t;
"""
OPEN = {"limited", "passed", "inside", "chosen", "numbered", "gathered", "listed", "floats"}
OPEN |= {"collected"}


async def test_keys_and_open_views(each_postgres: PostgresServer) -> None:
    database = each_postgres.create_database(SCHEMA)
    connection = await asyncpg.connect(each_postgres.dsn(database))
    try:
        reader = CatalogReader()
        catalog = await reader.load(connection)
        here = catalog.relations["public"]
        assert set(catalog.keys[here["t"].oid]) == {
            frozenset(("id",)),
            frozenset(("b",)),
            frozenset(("b", "d")),
            frozenset(("d",)),
        }
        assert catalog.keys[here["p"].oid] == (frozenset(("k", "id")),)
        views = {name: relation.tree for name, relation in here.items() if relation.kind == "v"}
        assert {name for name, tree in views.items() if tree and tree.chooses} == OPEN
        assert all(tree and not tree.opaque and not tree.reason for tree in views.values())
        assert not catalog.equal_texts
        path = ("pg_catalog", "public")
        text = "SELECT a FROM t ORDER BY id"
        assert order_of(text, catalog, path, bodies=False).total
        if connection.get_server_version().major >= 18:
            # Of rows that were there before, several may be null.
            await connection.execute("ALTER TABLE t ADD CONSTRAINT full_c NOT NULL c NOT VALID")
            doubtful = (await reader.load(connection)).keys[here["t"].oid]
            assert frozenset(("c",)) not in doubtful
            await connection.execute("ALTER TABLE t VALIDATE CONSTRAINT full_c")
            assert frozenset(("c",)) in (await reader.load(connection)).keys[here["t"].oid]
        # What is read again after a change is what changed.
        await connection.execute("ALTER TABLE t DROP CONSTRAINT t_pkey")
        changed = await reader.load(connection)
        assert changed.fingerprint != catalog.fingerprint
        assert not order_of(text, changed, path, bodies=False).total
        try:
            await connection.execute(
                "CREATE COLLATION blurred (provider = icu, locale = 'und', deterministic = false)"
            )
        except asyncpg.FeatureNotSupportedError:
            pass  # only servers that were built with ICU have such collations
        else:
            assert (await reader.load(connection)).equal_texts
    finally:
        await connection.close()
