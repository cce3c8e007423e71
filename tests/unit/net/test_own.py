"""Howdah's own connection: kept for a moment, dropped on errors, problems said once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import asyncpg
import pytest

from proxy.net import own as own_module
from proxy.net.own import (
    Backoff,
    Complaint,
    OwnConnection,
    Pids,
    Refused,
    Unreachable,
    pause_until,
)


class FakeConnection:
    def __init__(self):
        self.closed = False

    def is_closed(self):
        return self.closed

    def terminate(self):
        self.closed = True

    def get_server_pid(self):
        return 42


class FakeLogin:
    def __init__(self):
        self.made = []
        self.pids = Pids()

    async def connect(self, database):
        self.made.append(FakeConnection())
        return self.made[-1]


async def nothing(connection):
    return "done"


async def test_it_is_used_again_and_closed_when_idle(monkeypatch):
    monkeypatch.setattr(own_module, "LINGER", 0.01)
    login: Any = FakeLogin()
    own = OwnConnection(login, "shop")
    assert await own.run(nothing) == "done"
    assert await own.run(nothing) == "done"
    assert len(login.made) == 1
    pid = own.pid
    assert pid == 42
    assert (login.pids.open, login.pids.left, login.pids.connecting) == ({42}, set(), 0)
    async with asyncio.timeout(5):
        while not login.made[0].closed:
            await asyncio.sleep(0.001)
    assert own.pid is None
    # It is remembered until somebody sees that the backend is gone.
    assert (login.pids.open, login.pids.all) == (set(), {42})
    await own.run(nothing)
    await own.run(nothing, fresh=True)
    assert len(login.made) == 3
    own.drop()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncpg.InvalidPasswordError("no"), Refused),
        (asyncpg.InvalidCatalogNameError("no"), Refused),
        (asyncpg.InsufficientPrivilegeError("no"), Refused),
        (asyncpg.TooManyConnectionsError("full"), Unreachable),
        (asyncpg.InterfaceError("closed"), Unreachable),
        (ConnectionRefusedError(111, "refused"), Unreachable),
        (TimeoutError(), Unreachable),
    ],
)
async def test_errors_say_whether_a_retry_helps(error, expected):
    login: Any = FakeLogin()
    own = OwnConnection(login, "shop")

    async def fail(connection: Any) -> str:
        raise error

    with pytest.raises(expected):
        await own.run(fail)
    assert login.made[0].closed


def test_a_problem_is_said_once(caplog):
    complaint = Complaint("the thing")
    with caplog.at_level(logging.INFO, "howdah"):
        complaint.over()
        for problem in ("broken", "broken", "worse"):
            complaint.say(problem)
        complaint.over()
        complaint.over()
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the thing: broken", "the thing: worse", "the thing: works again"]


def test_pauses_double_up_to_a_limit():
    backoff = Backoff(1, 5)
    assert [backoff.pause() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.pause() == 1


async def test_a_pause_ends_with_its_event():
    event = asyncio.Event()
    event.set()
    await pause_until(event, None)
    assert not event.is_set()
    await pause_until(event, 0.001)
