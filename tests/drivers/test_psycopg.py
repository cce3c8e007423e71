"""psycopg 3 through Howdah: sync, async, pipeline, binary, cursors, COPY, notifications."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.drivers.shop import Place, compare
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer


def basics(place: Place) -> list[Any]:
    """Transactions as psycopg opens them, parameters, adapters, errors."""
    found: list[Any] = []
    with psycopg.connect(place.dsn) as connection:
        for _ in range(7):  # beyond prepare_threshold: prepared from the sixth on
            row = connection.execute("SELECT * FROM item WHERE id = %s", [5]).fetchone()
            found.append(row)
        connection.commit()
        with connection.transaction():
            connection.execute("UPDATE item SET price = price + 1 WHERE id = %s", [5])
            found.append(connection.execute("SELECT price FROM item WHERE id = 5").fetchone())
        found.append(connection.execute("SELECT price FROM item WHERE id = 5").fetchone())
        connection.commit()
        try:
            with connection.transaction():
                connection.execute("UPDATE item SET price = 0 WHERE id = 5")
                connection.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero as error:
            found.append(error.sqlstate)
        found.append(connection.execute("SELECT price FROM item WHERE id = 5").fetchone())
        connection.execute("UPDATE item SET price = price - 1 WHERE id = 5")
        connection.commit()
        cursor = connection.cursor(row_factory=dict_row)
        cursor.execute("SELECT id, tags, attributes FROM item WHERE id < %s ORDER BY id", [4])
        found.append(cursor.fetchall())
        found.append(
            connection.execute(
                "SELECT id FROM item WHERE attributes @> %s ORDER BY id", [Jsonb({"n": 3})]
            ).fetchall()
        )
    return found


def binary(place: Place) -> list[Any]:
    found: list[Any] = []
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        for _ in range(3):
            cursor = connection.cursor(binary=True)
            cursor.execute("SELECT * FROM item WHERE id < %b ORDER BY id", [4])
            found.append(cursor.fetchall())
            cursor.execute("SELECT price, data FROM item WHERE price > %b", [120])
            found.append(cursor.fetchall())
        for _ in range(2):
            with psycopg.ClientCursor(connection) as client_side:
                client_side.execute("SELECT name FROM item WHERE id = %s", [6])
                found.append(client_side.fetchall())
            with psycopg.RawCursor(connection) as raw:
                raw.execute("SELECT name FROM item WHERE id = $1", [6])
                found.append(raw.fetchall())
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM item WHERE id = 1", prepare=True)
        found.append(cursor.fetchall())
        cursor.executemany("SELECT name FROM item WHERE id = %s", [(1,), (2,)], returning=True)
        found.append([r.fetchall() for r in cursor.results()])
    return found


def pipeline(place: Place) -> list[Any]:
    found: list[Any] = []
    with psycopg.connect(place.dsn, autocommit=True) as connection:
        for _ in range(2):
            with connection.pipeline():
                cursors = [
                    connection.execute("SELECT name FROM item WHERE id = %s", [i])
                    for i in range(1, 6)
                ]
                found.append([c.fetchone() for c in cursors])
            with connection.pipeline() as pipe:
                one = connection.execute("SELECT count(*) FROM item")
                connection.execute("INSERT INTO item (name) VALUES ('piped')")
                pipe.sync()
                two = connection.execute("SELECT count(*) FROM item")
                connection.execute("DELETE FROM item WHERE name = 'piped'")
                three = connection.execute("SELECT count(*) FROM item")
                found.append([one.fetchone(), two.fetchone(), three.fetchone()])
        try:
            with connection.pipeline():
                connection.execute("SELECT name FROM item WHERE id = 1")
                connection.execute("SELECT nonsense")
                connection.execute("SELECT name FROM item WHERE id = 2")
        except psycopg.errors.UndefinedColumn as error:
            found.append(error.sqlstate)
        found.append(connection.execute("SELECT name FROM item WHERE id = 2").fetchone())
        with connection.transaction(), connection.pipeline():
            connection.execute("UPDATE item SET price = 7 WHERE id = 3")
            found.append(connection.execute("SELECT price FROM item WHERE id = 3").fetchone())
            connection.execute("UPDATE item SET price = 3.75 WHERE id = 3")
        found.append(connection.execute("SELECT price FROM item WHERE id = 3").fetchone())
    return found


def cursors_and_copy(place: Place) -> list[Any]:
    found: list[Any] = []
    with psycopg.connect(place.dsn) as connection:
        with connection.cursor(name="named") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT id FROM item ORDER BY id")
            found.append(cursor.fetchmany(3))
            found.append(sum(1 for _ in cursor))
        with connection.cursor(name="held", withhold=True, scrollable=True) as cursor:
            cursor.execute("SELECT id FROM item ORDER BY id")
            connection.commit()
            cursor.scroll(10)
            found.append(cursor.fetchone())
        with connection.cursor() as cursor:
            with cursor.copy("COPY item (name, price) FROM STDIN") as copy:
                for i in range(50):
                    copy.write_row((f"copied {i}", i))
            cursor.execute("SELECT count(*) FROM item")
            found.append(cursor.fetchone())
            with cursor.copy(
                "COPY (SELECT name FROM item WHERE price = 7 ORDER BY 1) TO STDOUT"
            ) as copy:
                found.append(list(copy.rows()))
            cursor.execute("DELETE FROM item WHERE name LIKE 'copied%'")
        connection.commit()
        found.append(connection.execute("SELECT count(*) FROM item").fetchone())
        for _ in range(2):
            stream = connection.cursor().stream("SELECT id FROM item WHERE id < 5 ORDER BY id")
            found.append(list(stream))
    return found


def notifications(place: Place) -> list[Any]:
    with psycopg.connect(place.dsn, autocommit=True) as listener:
        listener.execute("LISTEN channel")
        with psycopg.connect(place.dsn, autocommit=True) as sender:
            sender.execute("SELECT pg_notify('channel', 'one')")
            sender.execute("NOTIFY channel, 'two'")
        return [n.payload for n in listener.notifies(timeout=20, stop_after=2)]


async def asynchronous(place: Place) -> list[Any]:
    found: list[Any] = []
    async with await psycopg.AsyncConnection.connect(place.dsn) as connection:
        for _ in range(2):
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT name FROM item WHERE id = %s", [9])
                found.append(await cursor.fetchall())
            await connection.commit()
        async with connection.transaction():
            await connection.execute("UPDATE item SET name = 'changed' WHERE id = 9")
            raised = await connection.execute("SELECT name FROM item WHERE id = 9")
            found.append(await raised.fetchone())
            await connection.execute("UPDATE item SET name = 'item 9' WHERE id = 9")
        async with connection.pipeline():
            cursors = [
                await connection.execute("SELECT name FROM item WHERE id = %s", [i])
                for i in (1, 2, 9)
            ]
            found.append([await c.fetchone() for c in cursors])
        await connection.commit()

        async def one(number: int) -> object:
            async with await psycopg.AsyncConnection.connect(place.dsn, autocommit=True) as session:
                answer = await session.execute("SELECT name FROM item WHERE id = %s", [number])
                return await answer.fetchone()

        found.append(await asyncio.gather(*[one(i % 3 + 1) for i in range(6)]))
        waiting = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        async with await psycopg.AsyncConnection.connect(place.dsn, autocommit=True) as session:
            sql = "SELECT state FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
            while await (await session.execute(sql)).fetchone() != ("active",):
                pass
        await connection.cancel_safe(timeout=20)
        try:
            await waiting
        except psycopg.errors.QueryCanceled as error:
            found.append(error.sqlstate)
        await connection.rollback()
    return found


def asynchronously(place: Place) -> list[Any]:
    return asyncio.run(asynchronous(place))


SCRIPTS = [basics, binary, cursors_and_copy, asynchronously]
# Nothing in them is repeated outside of a pipeline.
NO_HITS = [pipeline, notifications]


@pytest.mark.parametrize("script", SCRIPTS + NO_HITS, ids=lambda script: script.__name__)
def test_script(howdah: Howdah, postgres: PostgresServer, script) -> None:
    compare(howdah, postgres, script, hits=script in SCRIPTS)
