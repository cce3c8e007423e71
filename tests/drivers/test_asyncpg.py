"""asyncpg through Howdah: prepared statements, pool and its resets, cursors, COPY, listeners."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import asyncpg
import pytest

from tests.drivers.shop import SCHEMA, Place, compare
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer


def plain(records: Any) -> list[tuple[Any, ...]]:
    return [tuple(record) for record in records]


async def _connect(place: Place, **more: Any) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=place.host, port=place.port, user=place.user, database=place.database, **more
    )


async def statements(place: Place) -> list[Any]:
    found: list[Any] = []
    connection = await _connect(place)
    for _ in range(3):
        found.append(plain(await connection.fetch("SELECT * FROM item WHERE id < $1", 4)))
        found.append(await connection.fetchval("SELECT count(*) FROM item"))
        found.append(tuple(await connection.fetchrow("SELECT name, price FROM item WHERE id = 7")))
    prepared = await connection.prepare("SELECT name FROM item WHERE price > $1 ORDER BY id")
    found += [plain(await prepared.fetch(120)) for _ in range(3)]
    found.append([a.type.name for a in prepared.get_attributes()])
    async with connection.transaction():
        await connection.execute("UPDATE item SET name = $1 WHERE id = 7", "changed")
        found.append(await connection.fetchval("SELECT name FROM item WHERE id = 7"))
        try:
            async with connection.transaction():
                await connection.execute("UPDATE item SET name = 'inner' WHERE id = 7")
                await connection.fetchval("SELECT 1 / 0")
        except asyncpg.DivisionByZeroError as error:
            found.append(error.sqlstate)
        found.append(await connection.fetchval("SELECT name FROM item WHERE id = 7"))
    found.append(await connection.fetchval("SELECT name FROM item WHERE id = 7"))
    await connection.execute("UPDATE item SET name = 'item 7' WHERE id = 7; SELECT 1")
    found.append(await connection.fetchval("SELECT name FROM item WHERE id = 7"))
    await connection.executemany(
        "INSERT INTO item (name, price) VALUES ($1, $2)", [("many", i) for i in range(20)]
    )
    found.append(await connection.fetchval("SELECT count(*) FROM item"))
    found.append(await connection.execute("DELETE FROM item WHERE name = 'many'"))
    found.append(await connection.fetchval("SELECT count(*) FROM item"))
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        found.append(await connection.fetchval("SELECT count(*) FROM item"))
    await connection.close()
    return found


async def cursors(place: Place) -> list[Any]:
    found: list[Any] = []
    connection = await _connect(place)
    for _ in range(2):
        async with connection.transaction():
            count = 0
            async for _record in connection.cursor("SELECT id FROM item ORDER BY id", prefetch=9):
                count += 1
            found.append(count)
            cursor = await connection.cursor("SELECT id FROM item ORDER BY id")
            found.append(plain(await cursor.fetch(3)))
            await cursor.forward(10)
            found.append(plain(await cursor.fetch(1)))
    found.append(await connection.fetchval("SELECT name FROM item WHERE id = 2"))
    found.append(await connection.fetchval("SELECT name FROM item WHERE id = 2"))
    await connection.close()
    return found


async def pool(place: Place) -> list[Any]:
    found: list[Any] = []
    async with asyncpg.create_pool(
        host=place.host,
        port=place.port,
        user=place.user,
        database=place.database,
        min_size=2,
        max_size=4,
    ) as shared:

        async def move(number: int) -> None:
            async with shared.acquire() as connection:
                async with connection.transaction():
                    await connection.execute(
                        "UPDATE account SET balance = balance - 1 WHERE id = 1"
                    )
                    await connection.execute(
                        "UPDATE account SET balance = balance + 1 WHERE id = $1", number % 9 + 2
                    )

        async def total() -> int:
            return await shared.fetchval("SELECT sum(balance)::bigint FROM account")

        results = await asyncio.gather(*[t for i in range(18) for t in (move(i), total())])
        found.append([r for r in results if r is not None])
        async with shared.acquire() as connection:
            sql = "SELECT * FROM account ORDER BY id"
            found += [plain(await connection.fetch(sql)) for _ in range(4)]
        await shared.execute("UPDATE account SET balance = 1000")
    return found


async def copy_and_listen(place: Place) -> list[Any]:
    found: list[Any] = []
    connection = await _connect(place)
    found.append(await connection.fetchval("SELECT count(*) FROM item"))
    rows = [(f"copied {i}", i) for i in range(30)]
    found.append(
        await connection.copy_records_to_table("item", records=rows, columns=["name", "price"])
    )
    found.append(await connection.fetchval("SELECT count(*) FROM item"))
    target = io.BytesIO()
    found.append(
        await connection.copy_from_query(
            "SELECT name FROM item WHERE name LIKE 'copied%' ORDER BY id", output=target
        )
    )
    found.append(target.getvalue())
    await connection.execute("DELETE FROM item WHERE name LIKE 'copied%'")
    found.append(await connection.fetchval("SELECT count(*) FROM item"))
    heard: asyncio.Queue[str] = asyncio.Queue()
    await connection.add_listener(
        "news", lambda c, pid, channel, payload: heard.put_nowait(payload)
    )
    other = await _connect(place)
    await other.execute("NOTIFY news, 'extra'")
    found.append(await asyncio.wait_for(heard.get(), 20))
    notices: list[str] = []
    connection.add_log_listener(lambda c, message: notices.append(message.message))
    await connection.execute("DO $$BEGIN RAISE NOTICE 'note'; END$$")
    found.append(list(notices))
    try:
        await connection.execute("SELECT pg_sleep(60)", timeout=0.2)
    except TimeoutError:
        found.append("cancelled")
    found.append(await connection.fetchval("SELECT name FROM item WHERE id = 2"))
    await other.close()
    await connection.close()
    return found


async def no_statement_cache(place: Place) -> list[Any]:
    found: list[Any] = []
    for _ in range(2):
        connection = await _connect(place, statement_cache_size=0)
        sql = "SELECT name FROM item WHERE id = $1"
        found += [await connection.fetchval(sql, number) for number in (1, 2, 1)]
        await connection.reset()
        found.append(await connection.fetchval(sql, 1))
        await connection.close()
    return found


SCRIPTS = [statements, pool, cursors, no_statement_cache]
NO_HITS = [copy_and_listen]


@pytest.mark.parametrize("script", SCRIPTS + NO_HITS, ids=lambda script: script.__name__)
def test_script(howdah: Howdah, postgres: PostgresServer, script) -> None:
    def run(place: Place) -> object:
        return asyncio.run(script(place))

    run.__name__ = script.__name__
    compare(howdah, postgres, run, hits=script in SCRIPTS)


async def page(connection: asyncpg.Connection) -> list[Any]:
    """Twelve reads in all ways that asyncpg has."""
    found: list[Any] = []
    for number in range(1, 5):
        found.append(await connection.fetchval("SELECT name FROM item WHERE id = $1", number))
        sql = "SELECT name, price FROM item WHERE id = $1"
        found.append(tuple(await connection.fetchrow(sql, number)))
        sql = "SELECT * FROM item WHERE id < $1 ORDER BY id"
        found.append(plain(await connection.fetch(sql, number)))
    return found


@pytest.mark.parametrize("inside", [False, True], ids=["autocommit", "transaction"])
@pytest.mark.parametrize("fresh", [False, True], ids=["same_connection", "new_connection"])
def test_repeated_reads_come_from_memory(
    howdah: Howdah, postgres: PostgresServer, inside: bool, fresh: bool
) -> None:
    """The first time teaches the answers, the second time what is asked for inside of blocks."""
    database = postgres.create_database(SCHEMA, name="asyncpg_share")
    howdah.warm(database)

    async def show(connection: asyncpg.Connection) -> list[Any]:
        if not inside:
            return await page(connection)
        async with connection.transaction():
            return await page(connection)

    async def script() -> None:
        direct = await _connect(Place(postgres.host, postgres.port, database))
        expected = await page(direct)
        await direct.close()
        place = Place(howdah.host, howdah.port, database)
        connection = await _connect(place)
        for _ in range(4):
            assert await show(connection) == expected
            if fresh:
                await connection.close()
                connection = await _connect(place)
        with howdah.watching() as gained:
            for _ in range(2):
                assert await show(connection) == expected
        answered = gained["hits"] + gained.get("shared/", 0)
        assert answered == 24, gained
        await connection.close()

    asyncio.run(script())
