"""Programs without a mapper: the demo's shop, psycopg, asyncpg, pgbench.

What lives here: their tables and what they send. What must not: what is expected of them.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
from collections.abc import Callable
from typing import Any

import asyncpg
import psycopg
from psycopg.rows import dict_row

from proxy.demo import shop, workload
from tests.drivers.shop import SCHEMA, Place
from tests.fix_pg import SYSTEM_15

SIZES = shop.Sizes.of(2_000)

#: Its scripts and protocols, as pgbench names them.
PGBENCH = [
    (script, mode)
    for script in ("select-only", "simple-update", "tpcb-like")
    for mode in ("simple", "extended", "prepared")
]


def create_shop(place: Place) -> None:
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        connection.execute(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop') THEN"
            " CREATE ROLE shop; END IF; END $$"
        )
        shop.fill(connection, SIZES, lambda what, rows: None)


def run_shop(direct: Place) -> Callable[[Place], None]:
    """The demo's measurements, which compare each answer with the direct one."""

    def run(place: Place) -> None:
        with (
            psycopg.connect(direct.dsn, autocommit=True) as beside,
            psycopg.connect(place.dsn, autocommit=True) as connection,
        ):
            _, differences = workload.measure_reads(beside, connection, SIZES, repeats=80)
            assert differences == 0
            _, freshness = workload.measure_read_after_write(beside, connection, repeats=5)
            assert freshness.stale == 0

    return run


def create_items(place: Place) -> None:
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())


# Statements with parameters for psycopg; asyncpg's are the same with $1.
_READS: list[tuple[str, tuple[Any, ...]]] = [
    ("SELECT id, name, price FROM item WHERE id = %s", (7,)),
    ("SELECT id, name, tags FROM item WHERE price BETWEEN %s AND %s ORDER BY id", (10, 20)),
    ("SELECT count(*), sum(price), avg(price) FROM item WHERE added < %s", ("a time",)),
    ("SELECT attributes->>'n' FROM item WHERE attributes @> %s::jsonb", ('{"n": 3}',)),
    ("SELECT id FROM item WHERE id = ANY(%s) ORDER BY id", ([1, 5, 9],)),
    ("SELECT name FROM item WHERE 'tag1' = ANY(tags) ORDER BY id LIMIT %s OFFSET %s", (5, 5)),
    ("SELECT encode(data, 'hex'), length(name) FROM item WHERE name LIKE %s", ("item 1%",)),
    ("SELECT date_trunc('week', added) AS week, count(*) FROM item GROUP BY 1 ORDER BY 1", ()),
    ("SELECT a.id, i.name FROM account a LEFT JOIN item i ON i.id = a.id ORDER BY a.id", ()),
    ("WITH t AS (SELECT * FROM item WHERE id < %s) SELECT max(price) FROM t", (30,)),
    ("SELECT DISTINCT unnest(tags) AS tag FROM item ORDER BY 1", ()),
    ("SELECT to_char(added, 'YYYY-MM'), rank() OVER (ORDER BY price) FROM item LIMIT 3", ()),
    ("SELECT coalesce(price, 0)::text, upper(name) FROM item WHERE id = %s::int", (3,)),
]
_TIME = datetime.datetime(2024, 2, 1, tzinfo=datetime.UTC)


def _values(values: tuple[Any, ...]) -> list[Any]:
    return [_TIME if value == "a time" else value for value in values]


def with_psycopg(place: Place) -> None:
    """Autocommit off, as psycopg has it by default: reads and writes in transactions."""
    with psycopg.connect(place.dsn, row_factory=dict_row) as connection:
        for _ in range(8):  # from the sixth time on, psycopg prepares
            for sql, values in _READS:
                connection.execute(sql.encode(), _values(values)).fetchall()
            connection.commit()
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            cursor.execute("SELECT id, name, price FROM item WHERE id = %s", (8,))
            connection.rollback()
        connection.execute("SELECT balance FROM account WHERE id = 1")
        connection.execute("UPDATE account SET balance = balance - 5 WHERE id = 1")
        connection.execute("SELECT balance FROM account WHERE id = 1")
        connection.rollback()
        with connection.transaction():
            connection.execute("SELECT balance FROM account WHERE id = 2 FOR UPDATE")
            connection.execute("UPDATE account SET balance = balance + 0 WHERE id = 2")
        connection.execute("SELECT now()")
        connection.commit()
        with connection.cursor("by_name") as named:
            named.execute("SELECT id FROM item ORDER BY id")
            named.fetchall()


def by_request(place: Place) -> None:
    """A connection for each request, as programs without a pool have it."""
    for number in range(12):
        with psycopg.connect(place.dsn, autocommit=True) as connection:
            for sql, values in _READS[:4]:
                connection.execute(sql.encode(), _values(values)).fetchall()
            if number % 6 == 5:
                connection.execute("UPDATE account SET balance = balance + 0 WHERE id = 2")


async def _with_asyncpg(place: Place) -> None:
    pool = await asyncpg.create_pool(place.dsn, min_size=1, max_size=1)
    for _ in range(3):
        async with pool.acquire() as connection:
            for sql, values in _READS:
                await connection.fetch(_numbered(sql), *_values(values))
    async with pool.acquire() as connection:
        prepared = await connection.prepare("SELECT id, name, price FROM item WHERE id = $1")
        for number in (1, 2, 1, 2):
            await prepared.fetchrow(number)
        async with connection.transaction():
            await connection.fetchval("SELECT balance FROM account WHERE id = $1", 1)
            await connection.execute("UPDATE account SET balance = balance + 0 WHERE id = 1")
            await connection.fetchval("SELECT balance FROM account WHERE id = $1", 1)
        await connection.fetchval("SELECT balance FROM account WHERE id = $1", 1)
        await connection.fetch("SELECT id, name, price FROM item WHERE id < 5 ORDER BY id")
        await connection.execute("SELECT id FROM item WHERE id = 1")
    await pool.close()


def _numbered(sql: str) -> str:
    count = 0
    while "%s" in sql:
        count += 1
        sql = sql.replace("%s", f"${count}", 1)
    return sql


def with_asyncpg(place: Place) -> None:
    asyncio.run(_with_asyncpg(place))


def pgbench(place: Place, *arguments: str) -> None:
    """Run the system's pgbench; PostgreSQL's wheel has none."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment.update(PGSSLMODE="disable", PGGSSENCMODE="disable")
    where = ["-h", place.host, "-p", str(place.port), "-U", place.user]
    subprocess.run(
        [str(SYSTEM_15 / "pgbench"), *where, *arguments, place.database],
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )


def create_pgbench(place: Place) -> None:
    pgbench(place, "-i", "-q", "-I", "dtgp")


def run_pgbench(script: str) -> Callable[[Place], None]:
    """One of the scripts in all three protocols."""

    def run(place: Place) -> None:
        for name, mode in PGBENCH:
            if name == script:
                # Few rows are asked for again by chance: the seed is the same each time.
                fixed = ["-n", "-c", "1", "-t", "10", "--random-seed=7"]
                pgbench(place, *fixed, "-b", name, "-M", mode)

    return run
