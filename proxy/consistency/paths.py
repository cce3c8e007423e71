"""The ways in which a register can be written, and when each is known to be in force.

What lives here: one function for each way. What must not: tables (their statements are in
`on_registers.py`), reads. Each begins a version, sends, and tells what the answer proves.
Where an answer proves nothing, the version stays open and is settled by a direct look.

Some wait on purpose: between the tag and the Sync, or in a trigger that fires at the
commit. That is where a fence may come down too early, or an old answer be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from proxy.consistency import styles, ways
from proxy.consistency.cell import Path, Writer
from proxy.consistency.link import Lost, Reply, cancel
from proxy.consistency.styles import Value
from proxy.consistency.ways import PAUSE
from proxy.wire.messages import SYNC, query

if TYPE_CHECKING:
    from proxy.consistency.on_registers import Registers

#: name -> the function and its part.
PATHS: dict[str, tuple[Path, int]] = {}
#: Paths that need MERGE, or prepared transactions.
NEEDS_15 = ("MERGE",)
NEEDS_TWO_PHASE = ("two-phase",)
UPDATE = "UPDATE {reg} SET v = $2 WHERE id = $1"


class Pen:
    """A writer with a register in its hand: statements with table names and values."""

    def __init__(self, writer: Writer, path: str) -> None:
        self.writer = writer
        self.path = path
        self.cell: Registers = writer.cell  # type: ignore[assignment]
        self.key = self.cell.key_of(writer)
        self.link = writer.link
        self.op, self.version = self.cell.start(writer, self.key, path)

    def again(self) -> None:
        """Begin the next version of the same key."""
        self.op, self.version = self.cell.start(self.writer, self.key, self.path)

    def sql(self, text: str) -> str:
        """The text with the names of this cell's tables."""
        return text.format_map(self.cell.names)

    async def simple(self, text: str, *values: Value) -> Reply:
        return await styles.simple(self.link, self.sql(text), *values)

    async def extended(self, text: str, *values: Value) -> Reply:
        return await styles.extended(self.link, self.sql(text), *values)

    async def prepared(self, text: str, *values: Value) -> Reply:
        return await styles.prepared(self.link, self.sql(text), *values)

    async def own(self) -> None:
        """The transaction sees what it has written."""
        sql = self.sql("SELECT v FROM {reg} WHERE id = $1")
        await self.writer.own(self.cell.registers[self.key], sql, (self.key,), [self.version])

    def done(self, reply: Reply) -> bool:
        """This reply tells whether the version is in force."""
        return self.writer.done(reply, self.op)

    def expect_failure(self, reply: Reply, state: str) -> None:
        """A known abort; the error must be this one."""
        self.writer.aborted(reply.end, self.op)
        self.writer.complain(reply, self.path, (state,))
        if not reply.errors:
            self.cell.context.counts.errors[f"{self.path}: no error where one was due"] += 1


Way = Callable[[Pen], Awaitable[None]]


def path(name: str, part: int = 2) -> Callable[[Way], Way]:
    """Register a function of a Pen as a way to write."""

    def register(function: Way) -> Way:
        async def run(writer: Writer) -> None:
            await function(Pen(writer, name))

        PATHS[name] = (run, part)
        return function

    return register


# Autocommit, in each protocol


@path("simple", 4)
async def _(pen: Pen) -> None:
    pen.done(await pen.simple(UPDATE, pen.key, pen.version))


@path("extended", 4)
async def _(pen: Pen) -> None:
    pen.done(await pen.extended(UPDATE, pen.key, pen.version))


@path("prepared", 4)
async def _(pen: Pen) -> None:
    pen.done(await pen.prepared(UPDATE, pen.key, pen.version))


@path("Flush before Sync", 4)
async def _(pen: Pen) -> None:
    sql = pen.sql(UPDATE)
    pen.done(await styles.flushed(pen.link, sql, pen.key, pen.version, pause=PAUSE))


@path("several statements", 2)
async def _(pen: Pen) -> None:
    pen.done(await pen.simple(UPDATE + "; SELECT 1", pen.key, pen.version))


@path("several statements, tag before the commit", 3)
async def _(pen: Pen) -> None:
    pen.done(await ways.early(pen.link, pen.sql(UPDATE), pen.key, pen.version))


@path("several statements, the last one fails")
async def _(pen: Pen) -> None:
    pen.expect_failure(await pen.simple(UPDATE + "; SELECT 1/0", pen.key, pen.version), "22012")


@path("BEGIN to COMMIT in one Query", 2)
async def _(pen: Pen) -> None:
    pen.done(await pen.simple("BEGIN; " + UPDATE + "; COMMIT", pen.key, pen.version))


@path("COMMIT, then a sleep, in one Query", 2)
async def _(pen: Pen) -> None:
    reply = await ways.block(pen.link, pen.sql(UPDATE), pen.key, pen.version)
    if not reply.errors or b"COMMIT" not in reply.tags:
        pen.done(reply)


@path("COMMIT, then an error, in one Query", 2)
async def _(pen: Pen) -> None:
    reply = await pen.simple("BEGIN; " + UPDATE + "; COMMIT; SELECT 1/0", pen.key, pen.version)
    if b"COMMIT" in reply.tags:
        pen.writer.committed(reply.end, pen.op)
        pen.writer.complain(reply, pen.path, ("22012",))


@path("EXPLAIN ANALYZE", 1)
async def _(pen: Pen) -> None:
    pen.done(await pen.simple("EXPLAIN (ANALYZE, COSTS OFF) " + UPDATE, pen.key, pen.version))


@path("PREPARE and EXECUTE", 1)
async def _(pen: Pen) -> None:
    text = "PREPARE put_it(int, bigint) AS " + UPDATE
    prepared = await styles.simple(pen.link, pen.sql(text))
    if not prepared.errors:
        pen.done(await pen.simple("EXECUTE put_it($1, $2)", pen.key, pen.version))
        await pen.simple("DEALLOCATE put_it")


# Pipelines


@path("pipeline, one Sync", 2)
async def _(pen: Pen) -> None:
    first, key, version = pen.op, pen.key, pen.version
    pen.key = pen.cell.key_of(pen.writer, other_than=key)
    pen.again()
    sql = pen.sql(UPDATE)
    batch = styles.unnamed(sql, (key, version)) + styles.unnamed(sql, (pen.key, pen.version))
    pen.writer.done(await pen.link.ask(batch + SYNC), first, pen.op)


@path("pipeline, two Syncs", 3)
async def _(pen: Pen) -> None:
    sql = pen.sql(UPDATE)
    first = pen.op
    batch = styles.unnamed(sql, (pen.key, pen.version)) + SYNC
    pen.again()
    batch += styles.unnamed(sql, (pen.key, pen.version)) + SYNC
    pen.writer.done(await pen.link.ask(batch), first)
    pen.done(await pen.link.ask(b""))


@path("pipeline that fails", 2)
async def _(pen: Pen) -> None:
    batch = styles.unnamed(pen.sql(UPDATE), (pen.key, pen.version))
    batch += styles.unnamed("SELECT 1/0", ()) + SYNC
    pen.expect_failure(await pen.link.ask(batch), "22012")


# Transactions


@path("transaction", 4)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple("SELECT v FROM {reg} WHERE id = $1", pen.key)
    await pen.simple(UPDATE, pen.key, pen.version)
    await pen.own()
    await asyncio.sleep(PAUSE)
    pen.done(await pen.simple("COMMIT"))


@path("transaction, prepared", 3)
async def _(pen: Pen) -> None:
    await pen.prepared("BEGIN")
    await pen.prepared(UPDATE, pen.key, pen.version)
    await asyncio.sleep(PAUSE)
    pen.done(await pen.prepared("COMMIT"))


@path("transaction, ended somehow", 4)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.extended(UPDATE, pen.key, pen.version)
    pen.done(await ways.commit(pen.link, pen.writer.draw))


@path("rollback", 3)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple(UPDATE, pen.key, pen.version)
    await pen.own()
    await asyncio.sleep(PAUSE)
    reply = await pen.simple("ROLLBACK")
    pen.writer.aborted(reply.end, pen.op)


@path("savepoint", 2)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple(UPDATE, pen.key, pen.version)
    await pen.simple("SAVEPOINT a")
    undone = pen.op
    pen.again()
    await pen.simple(UPDATE, pen.key, pen.version)
    await pen.simple("ROLLBACK TO a")
    await pen.simple("RELEASE a")
    kept, pen.op = undone, pen.op
    reply = await pen.simple("COMMIT")
    pen.writer.aborted(reply.end, pen.op)
    pen.writer.done(reply, kept)


@path("COMMIT AND CHAIN", 2)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple(UPDATE, pen.key, pen.version)
    if pen.done(await pen.simple("COMMIT AND CHAIN")):
        pen.again()
        await pen.simple(UPDATE, pen.key, pen.version)
        await asyncio.sleep(PAUSE)
        pen.done(await pen.simple("COMMIT"))


@path("two-phase", 3)
async def _(pen: Pen) -> None:
    gid = pen.cell.new_gid()
    pen.writer.gids.append(gid)
    await pen.simple("BEGIN")
    await pen.simple(UPDATE, pen.key, pen.version)
    stored = await pen.simple(f"PREPARE TRANSACTION '{gid}'")
    if stored.errors or stored.tags[-1] == b"ROLLBACK":
        pen.done(stored)
        return
    await asyncio.sleep(PAUSE)
    end = "ROLLBACK" if pen.writer.draw.random() < 0.2 else "COMMIT"
    reply = await pen.simple(f"{end} PREPARED '{gid}'")
    if reply.errors:
        pen.writer.complain(reply, pen.path)
    elif end == "COMMIT":
        pen.writer.committed(reply.end, pen.op)
    else:
        pen.writer.aborted(reply.end, pen.op)


@path("cursor", 1)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple("DECLARE c CURSOR FOR SELECT v FROM {reg} WHERE id = $1 FOR UPDATE", pen.key)
    await pen.simple("FETCH c")
    await pen.simple("UPDATE {reg} SET v = $1 WHERE CURRENT OF c", pen.version)
    pen.done(await pen.simple("COMMIT"))


@path("DELETE and INSERT", 2)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple("DELETE FROM {reg} WHERE id = $1", pen.key)
    await pen.simple("INSERT INTO {reg} VALUES ($1, $2)", pen.key, pen.version)
    pen.done(await pen.simple("COMMIT"))


# Statements of many kinds


@path("COPY", 2)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple("DELETE FROM {reg} WHERE id = $1", pen.key)
    sql = pen.sql("COPY {reg} (id, v) FROM STDIN")
    await styles.copy_in(pen.link, sql, [f"{pen.key}\t{pen.version}"])
    pen.done(await pen.simple("COMMIT"))


@path("COPY with a trigger", 2)
async def _(pen: Pen) -> None:
    sql = pen.sql("COPY {inbox} FROM STDIN")
    pen.done(await styles.copy_in(pen.link, sql, [f"{pen.key}\t{pen.version}"]))


@path("MERGE", 2)
async def _(pen: Pen) -> None:
    text = (
        "MERGE INTO {reg} r USING (VALUES ($1::int, $2::bigint)) s (id, v) ON r.id = s.id"
        " WHEN MATCHED THEN UPDATE SET v = s.v WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)"
    )
    pen.done(await pen.extended(text, pen.key, pen.version))


@path("ON CONFLICT", 2)
async def _(pen: Pen) -> None:
    text = "INSERT INTO {reg} VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET v = excluded.v"
    pen.done(await pen.prepared(text, pen.key, pen.version))


@path("data-modifying WITH", 2)
async def _(pen: Pen) -> None:
    text = "WITH w AS (" + UPDATE + " RETURNING id) SELECT count(*) FROM w"
    pen.done(await pen.extended(text, pen.key, pen.version))


@path("updatable view", 2)
async def _(pen: Pen) -> None:
    pen.done(await pen.extended("UPDATE {view} SET v = $2 WHERE id = $1", pen.key, pen.version))


@path("rule", 1)
async def _(pen: Pen) -> None:
    pen.done(await pen.simple("INSERT INTO {ruled} VALUES ($1, $2)", pen.key, pen.version))


# What runs inside of the server


@path("trigger", 3)
async def _(pen: Pen) -> None:
    pen.done(await pen.extended("INSERT INTO {inbox} VALUES ($1, $2)", pen.key, pen.version))


@path("deferred trigger, autocommit", 3)
async def _(pen: Pen) -> None:
    pen.done(await pen.simple("INSERT INTO {later} VALUES ($1, $2)", pen.key, pen.version))


@path("deferred trigger, Flush before Sync", 3)
async def _(pen: Pen) -> None:
    sql = pen.sql("INSERT INTO {later} VALUES ($1, $2)")
    pen.done(await styles.flushed(pen.link, sql, pen.key, pen.version, pause=PAUSE))


@path("deferred trigger, transaction", 3)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple("INSERT INTO {later} VALUES ($1, $2)", pen.key, pen.version)
    pen.done(await pen.simple("COMMIT"))


@path("deferred trigger that fails", 2)
async def _(pen: Pen) -> None:
    batch = styles.unnamed(pen.sql(UPDATE), (pen.key, pen.version))
    batch += styles.unnamed(pen.sql("INSERT INTO {deny} VALUES ($1)"), (pen.key,)) + SYNC
    pen.expect_failure(await pen.link.ask(batch), "P0001")


@path("SQL function", 2)
async def _(pen: Pen) -> None:
    pen.done(await pen.extended("SELECT {put}($1, $2)", pen.key, pen.version))


@path("PL/pgSQL function", 2)
async def _(pen: Pen) -> None:
    pen.done(await pen.prepared("SELECT {put_pl}($1, $2)", pen.key, pen.version))


@path("procedure that commits", 3)
async def _(pen: Pen) -> None:
    reply = await pen.simple("CALL {call}($1, $2)", pen.key, pen.version)
    if not reply.errors:  # a cancel that comes late may strike behind the inner COMMIT
        pen.done(reply)


@path("procedure that commits, then fails", 3)
async def _(pen: Pen) -> None:
    reply = await pen.extended("CALL {call_fail}($1, $2)", pen.key, pen.version)
    if reply.state == "P0001":
        pen.writer.committed(reply.end, pen.op)
    else:
        pen.writer.complain(reply, pen.path)


@path("DO", 2)
async def _(pen: Pen) -> None:
    text = "DO $do$ BEGIN " + UPDATE + "; END $do$"
    pen.done(await pen.simple(text, pen.key, pen.version))


@path("DO that commits", 3)
async def _(pen: Pen) -> None:
    text = "DO $do$ BEGIN " + UPDATE + f"; COMMIT; PERFORM pg_sleep({PAUSE}); END $do$"
    reply = await pen.simple(text, pen.key, pen.version)
    if not reply.errors:
        pen.done(reply)


# Clients that do not wait


@path("cancelled", 2)
async def _(pen: Pen) -> None:
    sql = pen.sql("INSERT INTO {later} VALUES ($1, $2)")

    async def strike() -> None:
        await asyncio.sleep(pen.writer.draw.random() * PAUSE * 2)
        await cancel(pen.writer.client.where, pen.link)

    writing = styles.simple(pen.link, sql, pen.key, pen.version)
    reply, _ = await asyncio.gather(writing, strike())
    pen.done(reply)
    # A late cancel strikes whatever comes next: let it be this.
    await pen.simple(f"SELECT pg_sleep({PAUSE})")


@path("client gone in a slow Query", 1)
async def _(pen: Pen) -> None:
    await ways.vanishing(pen.link, pen.sql(UPDATE), pen.key, pen.version)


@path("client gone", 1)
async def _(pen: Pen) -> None:
    table = pen.writer.draw.choice(("inbox", "later"))
    sql = pen.sql(f"INSERT INTO {{{table}}} VALUES ($1, $2)")
    pen.link.post(styles.literal(sql, (pen.key, pen.version)))
    await asyncio.sleep(pen.writer.draw.random() * PAUSE)
    pen.link.reset()
    raise Lost("the client is gone")


@path("client gone at COMMIT", 1)
async def _(pen: Pen) -> None:
    await pen.simple("BEGIN")
    await pen.simple("INSERT INTO {later} VALUES ($1, $2)", pen.key, pen.version)
    pen.link.post(query(b"COMMIT"))
    await asyncio.sleep(pen.writer.draw.random() * PAUSE)
    pen.link.reset()
    raise Lost("the client is gone")
