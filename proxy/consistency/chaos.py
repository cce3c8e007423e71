"""Faults from outside: backends terminated, clients reset, and whatever the caller brings.

What lives here: what is done to a run while it goes on. What must not: judging it. Every
fault is one that clients survive: they reconnect, and settle the writes that were in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from proxy.consistency.context import CannotRunError, Context

KINDS = ("terminate", "reset")
Disaster = Callable[[], None]


async def terminate(context: Context, draw: Random) -> None:
    """End some of our backends, through a connection of its own."""
    share = draw.choice((0.1, 0.5, 1.0))
    reply = await context.ask(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        f" WHERE application_name LIKE $1 AND pid <> pg_backend_pid() AND random() < {share}",
        context.token + "-%",
    )
    context.counts.faults["backends terminated"] += int(reply.rows[0][0] or 0)


async def reset(context: Context, draw: Random) -> None:
    """Reset some of our connections, those with a write in flight above all."""
    share = draw.choice((0.1, 0.5, 1.0))
    for client in context.clients:
        link = client.current
        if link is None or not link.alive or client.where is not context.through:
            continue
        if client.writing or draw.random() < share:
            link.reset()
            context.counts.faults["clients reset"] += 1


async def rage(
    context: Context, kinds: tuple[str, ...], every: float, disaster: Disaster | None
) -> None:
    """Every so many seconds: each kind of fault in turn, with chance in between.

    `disaster` is called in a thread; an error in it ends the run.
    """
    draw = context.random("chaos")
    while not context.ended():
        await asyncio.sleep(every * draw.uniform(0.6, 1.0))
        for kind in draw.sample(kinds, len(kinds)):
            await {"terminate": terminate, "reset": reset}[kind](context, draw)
            await asyncio.sleep(draw.random() * min(every / 4, 2.0))
        if disaster is not None and not context.ended():
            try:
                await asyncio.to_thread(disaster)
            except Exception as error:
                raise CannotRunError(f"the disaster failed: {error!r}") from error
            context.counts.faults["disasters"] += 1
