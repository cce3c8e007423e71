"""A catalog that is read again is what a fresh reader sees, whatever DDL came in between."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import fields

import asyncpg
import pytest

from proxy.catalog.loader import CatalogReader, load_snapshot
from tests.fix_pg import PostgresServer

STEPS = [
    "CREATE TABLE a (id int PRIMARY KEY, name text, n int DEFAULT 1 CHECK (n > 0))",
    "CREATE TABLE b (id int, a_id int REFERENCES a ON DELETE CASCADE)",
    "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'select $1'",
    "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end'",
    "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW WHEN (new.n > f(3)) EXECUTE FUNCTION g()",
    "CREATE VIEW v AS SELECT id, f(n) AS m FROM a",
    "CREATE VIEW w AS SELECT v.id FROM v JOIN b USING (id)",
    "CREATE OR REPLACE VIEW v AS SELECT id, n AS m FROM a",
    "CREATE RULE r AS ON UPDATE TO b DO ALSO DELETE FROM a",
    "CREATE INDEX i ON a ((f(n)))",
    "DROP FUNCTION IF EXISTS nothing()",
    "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'select $1 + 1'",
    "ALTER FUNCTION f(int) SET search_path = pg_catalog",
    "ALTER TABLE a ADD COLUMN late date DEFAULT current_date",
    "ALTER TABLE a RENAME COLUMN name TO title",
    "ALTER TABLE a ALTER COLUMN n DROP DEFAULT",
    "DROP RULE r ON b",
    "DROP TRIGGER t ON a",
    "DROP INDEX i",
    "ALTER TABLE a DROP CONSTRAINT a_n_check",
    "CREATE DOMAIN d AS int CHECK (VALUE > f(0))",
    "CREATE TABLE c (x d, y d[])",
    "ALTER DOMAIN d DROP CONSTRAINT d_check",
    "CREATE TYPE e AS ENUM ('one')",
    "ALTER TYPE e RENAME TO e2",
    "CREATE TABLE p (k int) PARTITION BY LIST (k)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
    "CREATE TABLE p2 (k int)",
    "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2)",
    "ALTER TABLE p DETACH PARTITION p1",
    "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY pol ON a USING (f(id) > 0)",
    "ALTER POLICY pol ON a USING (id > 0)",
    "DROP POLICY pol ON a",
    "CREATE SCHEMA s",
    "ALTER TABLE c SET SCHEMA s",
    "ALTER FUNCTION f(int) SET SCHEMA s",
    "ALTER SCHEMA s RENAME TO s2",
    "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int)",
    "CREATE OPERATOR +++ (LEFTARG = int, FUNCTION = s2.f, RIGHTARG = NONE)",
    "CREATE OPERATOR +++ (RIGHTARG = int, FUNCTION = s2.f)",
    "CREATE TYPE comp AS (x int)",
    "CREATE FUNCTION of_comp(comp) RETURNS comp LANGUAGE sql AS 'select $1'",
    "ALTER TYPE comp RENAME TO comp2",
    "ALTER TYPE comp2 SET SCHEMA s2",
    "ALTER TYPE e2 RENAME VALUE 'one' TO 'two'",
    'CREATE COLLATION coll FROM "C"',
    "CREATE TEXT SEARCH CONFIGURATION cc (COPY = simple)",
    "CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM a",
    "REFRESH MATERIALIZED VIEW m",
    "DROP TABLE b CASCADE",
    "VACUUM a",
    "ANALYZE",
]


def connect(server: PostgresServer, database: str):
    return asyncpg.connect(
        host=server.host, port=server.port, user="postgres", database=database, ssl=False
    )


def test_every_step(each_postgres: PostgresServer) -> None:
    database = each_postgres.create_database()
    asyncio.run(_every_step(each_postgres, database))


async def _every_step(server: PostgresServer, database: str) -> None:
    connection, other = await connect(server, database), await connect(server, database)
    reader = CatalogReader()
    before = await reader.load(connection)
    assert before == await load_snapshot(other)
    for step in STEPS:
        with contextlib.suppress(asyncpg.PostgresError):  # not every version takes all of them
            await other.execute(step)
        again, fresh = await reader.load(connection), await load_snapshot(other)
        for part in fields(fresh):
            found, expected = getattr(again, part.name), getattr(fresh, part.name)
            if part.name == "routines":
                # Built-in functions that nothing uses any more may stay.
                found = {oid: routine for oid, routine in found.items() if oid in expected}
            assert found == expected or not part.compare, (step, part.name)
    assert again.relations["public"]["a"] != before.relations["public"].get("a")
    await connection.close()
    await other.close()


@pytest.mark.parametrize("drops", [False, True])
def test_a_new_connection_reads_everything(postgres: PostgresServer, drops: bool) -> None:
    """F8: after a crash, numbers of transactions may come again."""
    database = postgres.create_database("CREATE TABLE a (id int)")

    async def run() -> None:
        one, two = await connect(postgres, database), await connect(postgres, database)
        reader = CatalogReader()
        await reader.load(one)
        seen = reader._seen
        await reader.load(two if drops else one)
        again = reader._seen
        assert seen is not None
        assert again is not None
        # What is taken over is the same object.
        assert (again.rows.relations[-1] is seen.rows.relations[-1]) is not drops
        await one.close()
        await two.close()

    asyncio.run(run())
