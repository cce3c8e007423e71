"""The ways in which a statement can be asked: simple, extended, prepared, in a transaction.

What lives here: texts and values as messages, answers as Python values. What must not:
what the statements mean. Values are integers or text; parameters are written `$1`, `$2`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from functools import lru_cache

from proxy.consistency.link import Link, Reply
from proxy.wire.messages import SYNC, close, message, parse, query

Value = int | str
_USES = 30
FLUSH = message(b"H")
EXECUTE = message(b"E", b"\x00" + b"\x00" * 4)
DESCRIBE = message(b"D", b"P\x00")
_BIND_DONE, _TAG, _COPY_IN = b"2CG"

#: How a read can be asked, and how often it is, in parts.
READ_STYLES = {
    "simple": 34,
    "unnamed": 22,
    "prepared": 22,
    "binary": 12,
    "transaction": 6,
    "late": 2,
    "pipelined": 2,
}
#: Those of them that make entries: every one of these is compared at quiescence.
PRIMING = ("simple", "unnamed", "prepared", "binary")


@lru_cache(maxsize=8192)
def literal(sql: str, values: tuple[Value, ...]) -> bytes:
    """A Query with the values in its text."""
    for at in range(len(values), 0, -1):
        value = values[at - 1]
        text = str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
        sql = sql.replace(f"${at}", text)
    return query(sql.encode())


@lru_cache(maxsize=8192)
def bind(statement: bytes, values: tuple[Value, ...], binary: bool = False) -> bytes:
    """A Bind of the unnamed portal, parameters in text."""
    body = b"\x00" + statement + b"\x00" + struct.pack("!hh", 0, len(values))
    for value in values:
        text = str(value).encode()
        body += struct.pack("!i", len(text)) + text
    return message(b"B", body + (struct.pack("!hh", 1, 1) if binary else struct.pack("!h", 0)))


@lru_cache(maxsize=8192)
def unnamed(sql: str, values: tuple[Value, ...]) -> bytes:
    """Parse, Bind, Describe, Execute and no Sync."""
    return parse(b"", sql.encode()) + bind(b"", values) + DESCRIBE + EXECUTE


async def _prepare(link: Link, sql: str) -> tuple[bytes, Reply | None]:
    known = link.prepared.get(sql)
    if known is not None and known[1] > 0:
        link.prepared[sql] = known[0], known[1] - 1
        return known[0], None
    # Prepared again from time to time, as by pools: a change of the schema may outdate it.
    name = known[0] if known is not None else b"s%d" % len(link.prepared)
    again = close(b"S", name) if known is not None else b""
    reply = await link.ask(again + parse(name, sql.encode()) + SYNC)
    if not reply.errors:
        link.prepared[sql] = name, _USES
    return name, reply


async def simple(link: Link, sql: str, *values: Value) -> Reply:
    """A Query with the values in its text."""
    return await link.ask(literal(sql, values))


async def extended(link: Link, sql: str, *values: Value) -> Reply:
    """Unnamed Parse, Bind, Describe, Execute, Sync."""
    return await link.ask(unnamed(sql, values) + SYNC)


async def prepared(link: Link, sql: str, *values: Value, binary: bool = False) -> Reply:
    """A named statement, prepared here once; then Bind, Execute, Sync."""
    name, failed = await _prepare(link, sql)
    if failed is not None and failed.errors:
        return failed
    return await link.ask(bind(name, values, binary) + EXECUTE + SYNC)


async def in_transaction(link: Link, sql: str, *values: Value) -> Reply:
    """BEGIN, the statement, COMMIT; the reply is that of the statement."""
    await link.ask(query(b"BEGIN"))
    reply = await link.ask(literal(sql, values))
    await link.ask(query(b"COMMIT"))
    return reply


async def late(link: Link, sql: str, *values: Value) -> Reply:
    """A prepared statement, Bind with a Flush; Execute some time later sees what the Bind saw."""
    name, failed = await _prepare(link, sql)
    if failed is not None and failed.errors:
        return failed
    start = await link.ask(bind(name, values) + FLUSH, _BIND_DONE)
    if not start.errors:
        await asyncio.sleep(0.002)
    reply = await link.ask(EXECUTE + SYNC)
    reply.begin = start.begin
    reply.errors[:0] = start.errors
    return reply


async def pipelined(link: Link, sql: str, *values: Value) -> Reply:
    """Twice, with a Sync each and in one write. The reply has the rows of both."""
    once = unnamed(sql, values) + SYNC
    return await link.ask(once + once, count=2)


async def flushed(link: Link, sql: str, *values: Value, pause: float = 0.002) -> Reply:
    """Execute and Flush: the tag comes, nothing is committed; then a Sync."""
    first = await link.ask(unnamed(sql, values) + FLUSH, _TAG)
    if not first.errors:
        await asyncio.sleep(pause)
    reply = await link.ask(SYNC)
    reply.errors[:0] = first.errors
    return reply


async def copy_in(link: Link, sql: str, lines: Sequence[str]) -> Reply:
    """COPY ... FROM STDIN in the simple protocol, text format."""
    started = await link.ask(literal(sql, ()), _COPY_IN)
    if started.errors:
        await link.ask(b"")
        return started
    data = "".join(line + "\n" for line in lines).encode()
    return await link.ask(message(b"d", data) + message(b"c"))


async def read(link: Link, style: str, sql: str, values: tuple[Value, ...]) -> Reply:
    """A read in one of `READ_STYLES`."""
    if style == "simple":
        return await link.ask(literal(sql, values))
    if style == "unnamed":
        return await link.ask(unnamed(sql, values) + SYNC)
    if style in ("prepared", "binary"):
        return await prepared(link, sql, *values, binary=style == "binary")
    if style == "transaction":
        return await in_transaction(link, sql, *values)
    if style == "late":
        return await late(link, sql, *values)
    return await pipelined(link, sql, *values)


def integers(reply: Reply, binary: bool) -> list[list[int]]:
    """The rows of a reply whose columns are all integers; NULL is -1."""
    if binary:
        return [
            [-1 if v is None else int.from_bytes(v, "big", signed=True) for v in row]
            for row in reply.rows
        ]
    return [[-1 if v is None else int(v) for v in row] for row in reply.rows]
