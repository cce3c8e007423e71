"""The only place that starts asyncio tasks: named, kept, and never silent.

asyncio holds tasks weakly and swallows the exception of one that nobody awaits.
Here every task is held until it ends and a failure is logged with its name.
What must not live here: anything that knows what the tasks do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger("howdah.tasks")
_AGAIN = 0.2  # seconds
_kept: set[asyncio.Task[Any]] = set()


def spawn(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Run `work` in the running loop as a task called `name`; keep it until it ends."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _kept.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: asyncio.Task[Any]) -> None:
    _kept.discard(task)
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        _log.error("task %s failed: %r", task.get_name(), error, exc_info=error)


async def cancel(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until they have ended; None and ended ones are skipped.

    A cancellation can be lost: `asyncio.wait_for` of Python 3.11 swallows one that comes
    just as the inner future ends. So it is asked for until it has worked.
    """
    alive = {task for task in tasks if task is not None and not task.done()}
    while alive:
        for task in alive:
            task.cancel()
        _, alive = await asyncio.wait(alive, timeout=_AGAIN)
