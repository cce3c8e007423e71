"""Start-up, ping and reset statements of drivers and pools evict nothing.

Each real driver connects, pings, resets and returns to its pool while an entry is in
the cache; the entry must still be a hit, and nothing may have been evicted. Of drivers
for other languages the literal statements are sent, as their sources have them.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator

import asyncpg
import psycopg
import pytest
import sqlalchemy as sa

from tests.fix_howdah import ROOT, Howdah
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, describe, execute, parse

PROBE = "SELECT v FROM public.probe WHERE id = 1"


@pytest.fixture
def cached(howdah: Howdah, database: str) -> Iterator[tuple[Howdah, str]]:
    """A database with one entry; afterwards it must still be there."""
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        with howdah.watching() as gained:
            yield howdah, database
        assert gained["evictions"] == 0, gained
        assert howdah.is_hit(wire, PROBE)


def psycopg_life(howdah: Howdah, database: str) -> None:
    dsn = howdah.dsn(database)
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT 1")  # the usual ping of pools
        connection.execute("")  # that of psycopg_pool
        connection.rollback()
        connection.autocommit = True
        connection.execute("SELECT 1")
        connection.execute("DISCARD ALL")  # a usual reset
        connection.read_only = True
        connection.autocommit = False
        connection.execute("SELECT 1")
        connection.commit()
    with psycopg.connect(dsn, options="-c statement_timeout=10s") as connection:
        connection.execute("SELECT 1")
    with psycopg.connect(dsn, client_encoding="utf8", application_name="app") as connection:
        connection.execute("SET application_name = 'other'")
        connection.execute("SET statement_timeout = 0")
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute("SHOW transaction_isolation")


def asyncpg_life(howdah: Howdah, database: str) -> None:
    async def run() -> None:
        where = {"host": howdah.host, "port": howdah.port, "database": database}
        async with asyncpg.create_pool(**where, user="postgres", min_size=1, max_size=2) as pool:
            for _ in range(3):
                async with pool.acquire() as connection:
                    await connection.fetchval("SELECT 1")
                    await connection.execute("SELECT 1")
        connection = await asyncpg.connect(
            **where, user="postgres", server_settings={"application_name": "x"}
        )
        await connection.reset()
        await connection.set_type_codec(
            "jsonb", schema="pg_catalog", encoder=str, decoder=str, format="text"
        )
        await connection.close()

    asyncio.run(run())


def sqlalchemy_life(driver: str) -> Callable[[Howdah, str], None]:
    def run(howdah: Howdah, database: str) -> None:
        url = f"postgresql+psycopg://postgres@{howdah.host}:{howdah.port}/{database}"
        engine = sa.create_engine(url, pool_pre_ping=True)
        for _ in range(3):
            with engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        engine.dispose()

    async def run_async(howdah: Howdah, database: str) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        url = f"postgresql+asyncpg://postgres@{howdah.host}:{howdah.port}/{database}"
        engine = create_async_engine(url, pool_pre_ping=True)
        for _ in range(3):
            async with engine.connect() as connection:
                await connection.execute(sa.text("SELECT 1"))
        await engine.dispose()

    if driver == "psycopg":
        return run
    return lambda howdah, database: asyncio.run(run_async(howdah, database))


DJANGO = """
import sys
from tests.drivers.django_script import configure
configure(*sys.argv[1:4])
from django.db import connection, transaction
for _ in range(3):
    connection.ensure_connection()
    assert connection.is_usable()
    with transaction.atomic():
        connection.cursor().execute("SELECT 1")
    connection.close_if_unusable_or_obsolete()
connection.close()
"""


def django_life(howdah: Howdah, database: str) -> None:
    subprocess.run(
        [sys.executable, "-c", DJANGO, howdah.host, str(howdah.port), database],
        cwd=ROOT,
        check=True,
        timeout=60,
    )


LIVES = {
    "psycopg": psycopg_life,
    "asyncpg": asyncpg_life,
    "sqlalchemy_psycopg": sqlalchemy_life("psycopg"),
    "sqlalchemy_asyncpg": sqlalchemy_life("asyncpg"),
    "django": django_life,
}


@pytest.mark.parametrize("name", LIVES)
def test_driver(cached: tuple[Howdah, str], name: str) -> None:
    LIVES[name](*cached)


def test_psql(cached: tuple[Howdah, str], postgres: PostgresServer) -> None:
    howdah, database = cached
    subprocess.run(
        [postgres.tool("psql"), "-X", "-d", howdah.dsn(database), "-c", "SELECT 1"],
        check=True,
        capture_output=True,
        timeout=60,
    )


# Literal statements: (simple protocol?, text). Semicolons as the drivers send them.
JDBC = [
    "SET extra_float_digits = 3",
    "SET application_name = 'PostgreSQL JDBC Driver'",
    "SHOW TRANSACTION ISOLATION LEVEL",
    "BEGIN",
    "SELECT 1",
    "COMMIT",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SELECT current_schema()",
    "select current_schema()",
    "SELECT 1",
    "",
    "ROLLBACK",
    "DEALLOCATE ALL",
    "DISCARD ALL",
]
NPGSQL = [
    "SELECT version();",
    """SELECT ns.nspname, t.oid, t.typname, t.typtype, t.typnotnull, t.elemtypoid
FROM (
    SELECT typ.oid, typ.typnamespace, typ.typname, typ.typtype, typ.typrelid, typ.typnotnull,
        typ.typelem AS elemtypoid, elemproc.proname = 'array_recv' AS is_array
    FROM pg_type AS typ
    LEFT JOIN pg_class AS cls ON (cls.oid = typ.typrelid)
    LEFT JOIN pg_proc AS elemproc ON elemproc.oid = typ.typreceive
) AS t
JOIN pg_namespace AS ns ON (ns.oid = t.typnamespace)
WHERE t.typtype IN ('b', 'r', 'm', 'e', 'd')
ORDER BY t.oid;""",
    """SELECT pg_type.oid, enumlabel
FROM pg_enum
JOIN pg_type ON pg_type.oid=enumtypid
ORDER BY oid, enumsortorder;""",
    "DISCARD ALL",
    "SELECT 1",
    "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "COMMIT",
]
# What npgsql sends where prepared statements are to survive DISCARD ALL.
NPGSQL_RESET = (
    "CLOSE ALL;SET SESSION AUTHORIZATION DEFAULT;RESET ALL;UNLISTEN *;"
    "SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;DISCARD TEMP"
)
ASYNCPG_RESET = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"
PGBOUNCER = ["SELECT 1", "DISCARD ALL", ";"]
OTHERS = [
    "SET client_min_messages TO warning",  # Rails
    "SET standard_conforming_strings = on",
    "SET SESSION timezone TO 'UTC'",
    "SET SESSION statement_timeout TO 0",
    "SET lock_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET client_encoding TO 'UTF8'",
    "SET DateStyle TO 'ISO'",
    "SET bytea_output = hex",
    "SHOW server_version",
    "SHOW search_path",
    "SHOW max_identifier_length",
    "SELECT pg_backend_pid()",
    "SELECT current_database()",
    "SELECT pg_catalog.version()",
    "select pg_catalog.version()",
    "SELECT pg_is_in_recovery()",
    "SELECT t.oid, t.typname FROM pg_type as t WHERE t.typname IN ('int2', 'int4')",  # Rails
    "UNLISTEN *",
    "CLOSE ALL",
    "RESET ALL",
    "DISCARD TEMP",
    "DISCARD PLANS",
    "DISCARD SEQUENCES",
    "RESET SESSION AUTHORIZATION",
    "SET SESSION AUTHORIZATION DEFAULT",
    "SELECT pg_advisory_unlock_all()",
    "-- ping",
    "/* ping */ SELECT 1",
]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize(
    "statements",
    [JDBC, NPGSQL, PGBOUNCER, OTHERS],
    ids=["jdbc", "npgsql", "pgbouncer", "others"],
)
def test_literal(cached: tuple[Howdah, str], statements: list[str], protocol: str) -> None:
    howdah, database = cached
    with howdah.wire(database) as wire:
        for statement in statements:
            before = howdah.evictions()
            frames = wire.query(statement) if protocol == "simple" else wire.extended(statement)
            refused = [f.fields["M"] for f in frames if f.kind == "E"]
            # DISCARD ALL is refused inside a pipeline's implicit block only.
            assert not refused, (statement, refused)
            assert howdah.evictions() == before, f"evicted by {statement!r}"


@pytest.mark.parametrize("statement", [NPGSQL_RESET, ASYNCPG_RESET], ids=["npgsql", "asyncpg"])
def test_reset_of_several_statements(cached: tuple[Howdah, str], statement: str) -> None:
    howdah, database = cached
    with howdah.wire(database) as wire:
        frames = wire.query(statement)
        assert not [f for f in frames if f.kind == "E"], frames


def test_jdbc_prepared_begin(cached: tuple[Howdah, str]) -> None:
    """JDBC sends BEGIN and the first statement in one batch, BEGIN as a named statement later."""
    howdah, database = cached
    with howdah.wire(database) as wire:
        for _ in range(3):
            frames = wire.ask(
                *[parse("BEGIN"), bind(), execute()],
                *[parse("SELECT v FROM public.probe WHERE id = $1"), bind([b"1"])],
                *[describe(), execute(), SYNC],
            )
            assert wire.status == "T", frames
            wire.extended("COMMIT")
        wire.ask(parse("BEGIN", "S_1"), bind(statement="S_1"), execute(), SYNC)
        wire.ask(bind(statement="S_1"), execute(), SYNC)
        wire.extended("COMMIT")
        wire.ask(bind(statement="S_1"), execute(), SYNC)
        wire.extended("ROLLBACK")
        assert wire.status == "I"


@pytest.mark.parametrize(
    "reset", ["DISCARD ALL", NPGSQL_RESET, ASYNCPG_RESET, "RESET ALL"], ids=lambda r: r[:12]
)
def test_hits_go_on_after_a_reset(howdah: Howdah, database: str, reset: str) -> None:
    """A pooled connection that is reset between uses still reads from memory."""
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        for _ in range(3):
            wire.query(reset)
            for _ in range(3):
                wire.query(PROBE)
            with howdah.hits_during(1):
                wire.query(PROBE)
