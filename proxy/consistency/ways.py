"""The ways to send one write, or to end a transaction, that every workload shares.

What lives here: how, and what the answer proves. What must not: what is written.

Some wait on purpose where a fence may come down too early or an old answer be stored:
between the tag and the Sync, or in statements behind the one that writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from proxy.consistency import styles
from proxy.consistency.link import Link, Lost, Reply
from proxy.consistency.styles import Value
from proxy.wire.messages import query

PAUSE = 0.002  # seconds
#: Takes a few milliseconds, reads no table and writes nothing.
_SLOW = "SELECT count(*) FROM generate_series(1, 30000)"
_BIG = "SELECT repeat('x', 20000)"

Send = Callable[..., Awaitable[Reply]]


async def early(link: Link, sql: str, *values: Value) -> Reply:
    """A Query of which the write's tag is sent long before the commit.

    The big row fills the server's buffer, so that all before it leaves.
    """
    return await styles.simple(link, f"{sql}; {_BIG}; {_SLOW}", *values)


async def block(link: Link, sql: str, *values: Value) -> Reply:
    """BEGIN to COMMIT in one Query, something slow behind it, and a last tag that is none."""
    return await styles.simple(link, f"BEGIN; {sql}; COMMIT; {_SLOW}; BEGIN; ROLLBACK", *values)


async def vanishing(link: Link, sql: str, *values: Value) -> Reply:
    """The client is gone before the commit, which happens all the same.

    Raises:
        Lost: always.
    """
    link.post(styles.literal(f"{sql}; {_SLOW}; {_SLOW}", values))
    await asyncio.sleep(PAUSE)
    link.reset()
    raise Lost("the client is gone")


#: How an autocommit write can be sent, and how often it is, in parts.
SENDS: dict[Send, int] = {
    styles.simple: 4,
    styles.extended: 4,
    styles.prepared: 4,
    styles.flushed: 3,
    early: 3,
    block: 2,
    vanishing: 1,
}


async def send(link: Link, draw: Random, sql: str, *values: Value) -> Reply:
    """One write in autocommit, in one of `SENDS`."""
    way = draw.choices(list(SENDS), list(SENDS.values()))[0]
    return await way(link, sql, *values)


async def commit(link: Link, draw: Random) -> Reply:
    """End a transaction, after a pause in which others read."""
    await asyncio.sleep(PAUSE)
    way = draw.randrange(8)
    if way == 0:
        return await styles.extended(link, "COMMIT")
    if way == 1:
        return await styles.prepared(link, "COMMIT")
    if way == 2:
        return await styles.simple(link, "/* done */ END TRANSACTION")
    if way == 3:
        return await styles.simple(link, draw.choice(("COMMIT; SELECT 1", "COMMIT; ROLLBACK")))
    if way in (4, 5):
        return await styles.simple(link, "COMMIT AND CHAIN")
    if way == 6 and draw.random() < 0.3:
        link.post(query(b"COMMIT"))
        link.reset()
        raise Lost("the client is gone")
    return await styles.simple(link, "COMMIT")
