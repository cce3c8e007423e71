"""Tasks are named and kept, and their failures are logged."""

from __future__ import annotations

import asyncio
import logging

from proxy import tasks


async def test_a_failure_is_logged_with_the_tasks_name(caplog):
    async def fail():
        raise ValueError("why")

    with caplog.at_level(logging.ERROR, "howdah"):
        task = tasks.spawn(fail(), "the name")
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert "task the name failed: ValueError('why')" in caplog.text


async def test_cancel_waits_for_the_end():
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    task = tasks.spawn(work(), "work")
    await asyncio.sleep(0)
    await tasks.cancel(task, None)
    assert ended == [True]
    assert task.cancelled()
    await tasks.cancel(task)
