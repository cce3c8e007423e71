"""The page with asyncpg: pool with its reset query, in and out of transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg

from tests.applications.pages.shop import CUSTOMER, TOUCH, Read, Rows, page, shaped
from tests.applications.pages.stack import Opener, Page, Stack
from tests.drivers.shop import Place

Ask = Callable[[Any, Read], Awaitable[Rows]]


async def _fetch(connection: Any, read: Read) -> Rows:
    rows: Rows = await connection.fetch(read.sql, *read.arguments)
    return rows


async def _as_wanted(connection: Any, read: Read) -> Rows:
    """With fetchrow and fetchval, which ask for one row."""
    if read.wanted == "row":
        return [await connection.fetchrow(read.sql, *read.arguments)]
    if read.wanted == "value":
        return [[await connection.fetchval(read.sql, *read.arguments)]]
    return await _fetch(connection, read)


async def _show(connection: Any, ask: Ask, write: bool) -> list[object]:
    found: list[object] = []
    steps = page()
    read = next(steps)
    while True:
        rows = await ask(connection, read)
        found.append(shaped(read, rows))
        try:
            read = steps.send(rows)
        except StopIteration:
            break
    if write:
        await connection.execute(TOUCH, CUSTOMER)
    return found


def _where(place: Place) -> dict[str, Any]:
    return {
        "host": place.host,
        "port": place.port,
        "user": place.user,
        "database": place.database,
        "ssl": False,
    }


def _pool(ask: Ask, transaction: bool = False, **options: Any) -> Opener:
    """Each page takes a connection out of a pool and gives it back, which resets it."""

    async def show(pool: Any, write: bool) -> object:
        async with pool.acquire() as connection:
            if not transaction:
                return await _show(connection, ask, write)
            async with connection.transaction():
                return await _show(connection, ask, write)

    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        with asyncio.Runner() as runner:

            async def make() -> Any:
                return await asyncpg.create_pool(**_where(place), min_size=1, max_size=2, **options)

            pool = runner.run(make())
            yield lambda write: runner.run(show(pool, write))
            runner.run(pool.close())

    return opened


def _by_statement() -> Opener:
    """Each statement takes a connection out of the pool, as `pool.fetch` does."""

    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        with asyncio.Runner() as runner:

            async def make() -> Any:
                return await asyncpg.create_pool(**_where(place), min_size=1, max_size=2)

            pool = runner.run(make())
            yield lambda write: runner.run(_show(pool, _fetch, write))
            runner.run(pool.close())

    return opened


def _per_request(ask: Ask, transaction: bool = False) -> Opener:
    async def show(place: Place, write: bool) -> object:
        connection = await asyncpg.connect(**_where(place))
        try:
            if not transaction:
                return await _show(connection, ask, write)
            async with connection.transaction():
                return await _show(connection, ask, write)
        finally:
            await connection.close()

    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        with asyncio.Runner() as runner:
            yield lambda write: runner.run(show(place, write))

    return opened


STACKS: tuple[Stack, ...] = (
    Stack("asyncpg_pool", "asyncpg, pool, `fetch`", _pool(_fetch)),
    Stack("asyncpg_pool_rows", "asyncpg, pool, `fetchrow`, `fetchval`", _pool(_as_wanted)),
    Stack("asyncpg_transaction", "asyncpg, pool, transactions", _pool(_fetch, True)),
    Stack(
        "asyncpg_transaction_rows",
        "asyncpg, pool, transactions, `fetchrow`, `fetchval`",
        _pool(_as_wanted, True),
    ),
    Stack("asyncpg_statement", "asyncpg, `pool.fetch`", _by_statement()),
    Stack(
        "asyncpg_uncached",
        "asyncpg, pool, `statement_cache_size=0`",
        _pool(_fetch, statement_cache_size=0),
    ),
    Stack("asyncpg_request", "asyncpg, a connection per request", _per_request(_fetch)),
    Stack(
        "asyncpg_request_transaction",
        "asyncpg, a connection per request, transactions",
        _per_request(_fetch, True),
    ),
    Stack(
        "asyncpg_request_rows",
        "asyncpg, a connection per request, `fetchrow`, `fetchval`",
        _per_request(_as_wanted),
    ),
)
