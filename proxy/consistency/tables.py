"""The tables of a run: made through the address under test, removed in any case.

What lives here: which workloads there are, their schema's beginning and end. What must not:
what is in it (the `on_*.py` say that).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from proxy.consistency import styles
from proxy.consistency.cell import Cell
from proxy.consistency.context import AWAY, CannotRunError, Client, Context
from proxy.consistency.link import Lost
from proxy.consistency.on_bank import Accounts
from proxy.consistency.on_lists import Lists
from proxy.consistency.on_registers import Registers
from proxy.consistency.on_rows import Moving
from proxy.errors import HowdahError

#: name -> the class, and how many cells of it work side by side.
WORKLOADS: dict[str, tuple[Callable[[Context, int], Cell], int]] = {
    "registers": (Registers, 2),
    "bank": (Accounts, 1),
    "rows": (Moving, 1),
    "lists": (Lists, 1),
}
_MARK = "made by howdah consistency"


@asynccontextmanager
async def tables(context: Context, workloads: tuple[str, ...]) -> AsyncIterator[list[Cell]]:
    """Make the schema, through the address under test, so that it is known there at once."""
    facts = await context.ask(
        "SELECT current_setting('server_version_num'), current_setting('synchronous_commit'),"
        " current_setting('max_prepared_transactions'), pg_is_in_recovery(),"
        " obj_description(to_regnamespace($1)), to_regnamespace($1)",
        context.schema,
    )
    version, synchronous, prepared, standby, mark, exists = (
        value.decode() if value is not None else "" for value in facts.rows[0]
    )
    if standby == "t":
        raise CannotRunError("--direct is a standby")
    context.version = int(version)
    context.two_phase = prepared != "0"
    if synchronous == "off":
        # A crash may lose what was acknowledged then: no fault of anybody's.
        context.settings.append("SET synchronous_commit = on")
    others = await context.ask(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name LIKE $1 AND NOT starts_with(application_name, $2)",
        *(context.schema + "-%", context.token),
    )
    if others.rows != [[b"0"]]:
        raise CannotRunError(f"another run uses schema {context.schema}; name one with --schema")
    if exists and mark != _MARK:
        raise CannotRunError(f"schema {context.schema} exists; name another with --schema")
    maker = Client(context, context.through)
    context.clients.append(maker)
    await maker.link()
    if exists:
        await _drop(context)
    cells: list[Cell] = []
    for name in workloads:
        make, count = WORKLOADS[name]
        cells += [make(context, len(cells) + number) for number in range(count)]
    try:
        await _make(context, maker, cells)
        context.away = AWAY
        yield cells
    finally:
        await _drop(context)


async def _make(context: Context, client: Client, cells: list[Cell]) -> None:
    text = f"CREATE SCHEMA {context.schema}; COMMENT ON SCHEMA {context.schema} IS '{_MARK}'"
    try:
        for statements in ([text], *(cell.schema() for cell in cells)):
            reply = await (await client.link()).ask(styles.literal("; ".join(statements), ()))
            if reply.errors:
                raise CannotRunError(f"cannot make tables: {reply.errors[0].get('M')}")
    except Lost as lost:
        raise CannotRunError(f"{context.through.address}: {lost}") from None


async def _drop(context: Context) -> None:
    left = await context.ask(
        "SELECT gid FROM pg_prepared_xacts WHERE gid LIKE $1 AND database = current_database()",
        context.schema + "-%",
    )
    for row in left.rows:
        await context.ask(f"ROLLBACK PREPARED '{(row[0] or b'').decode()}'")
    client = Client(context, context.through)
    text = f"DROP SCHEMA IF EXISTS {context.schema} CASCADE"
    try:
        reply = await (await client.link()).ask(styles.literal(text, ()))
        if not reply.errors:
            return
    except (Lost, HowdahError):
        pass
    finally:
        client.close()
    await context.ask(text)
