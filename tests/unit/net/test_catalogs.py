"""When a catalog is read: at first sight, after DDL (F12), when others changed it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.net import catalogs
from proxy.net.catalogs import CatalogKeeper, Loader, poll_interval
from proxy.net.own import Refused, Unreachable
from proxy.reasons import Reason


@dataclass(frozen=True)
class Snapshot:
    fingerprint: str


class FakeEngine:
    def __init__(self):
        self.installed = []

    def install(self, database, snapshot, problem=None):
        self.installed.append(snapshot.fingerprint if snapshot else problem)


class FakeOwn:
    """The server's catalog as a fingerprint, and what stands in the way of reading it."""

    def __init__(self):
        self.fingerprint = "one"
        self.problem = None
        self.asked = []
        self.reading = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def run(self, work, *, fresh=False):
        if self.problem is not None:
            raise self.problem
        seen = self.fingerprint
        self.reading.set()
        await self.go_on.wait()
        return await work(seen)

    def drop(self):
        pass


def keeper_of(monkeypatch, max_age=60.0):
    own = FakeOwn()
    engine: Any = FakeEngine()
    login: Any = None

    async def snapshot(seen):
        own.asked.append("snapshot")
        return Snapshot(seen)

    async def fingerprint(seen):
        own.asked.append("fingerprint")
        return seen

    keeper = CatalogKeeper(engine, "shop", login, Loader(lambda: snapshot, fingerprint), max_age)
    monkeypatch.setattr(keeper, "own", own)
    return keeper, own


async def turn(keeper):
    return await keeper._turn()


def test_others_are_looked_at_three_times_within_max_age():
    assert poll_interval(60.0) == 20.0
    assert poll_interval(600.0) == 20.0
    assert poll_interval(3.0) == 1.0
    assert poll_interval(None) is None


async def test_first_the_whole_then_only_what_has_changed(monkeypatch):
    keeper, own = keeper_of(monkeypatch)
    assert await turn(keeper) == 20.0
    await turn(keeper)
    own.fingerprint = "two"
    await turn(keeper)
    assert own.asked == ["fingerprint", "snapshot", "fingerprint", "fingerprint", "snapshot"]
    assert keeper._engine.installed == ["one", "two"]


async def test_a_reload_that_began_before_the_request_does_not_count(monkeypatch):
    """F12: the fence of a DDL statement waits for a catalog read after it."""
    keeper, own = keeper_of(monkeypatch)
    own.go_on.clear()
    done = asyncio.Event()
    running = asyncio.create_task(keeper.run())
    await own.reading.wait()
    own.fingerprint = "after the DDL"
    keeper.reload(done.set)
    own.go_on.set()
    await asyncio.wait_for(done.wait(), 5)
    # The look that was running at the request went on; `done` came after a second one.
    assert own.asked == ["fingerprint", "snapshot", "fingerprint", "snapshot"]
    assert keeper._engine.installed[-1] == "after the DDL"
    running.cancel()


async def test_done_waits_for_as_long_as_the_server_is_away(monkeypatch):
    keeper, own = keeper_of(monkeypatch)
    done = asyncio.Event()
    own.problem = Unreachable("connection refused")
    keeper.reload(done.set)
    pauses = [await turn(keeper) for _ in range(9)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 5.0
    assert not done.is_set()
    assert keeper._engine.installed == []
    assert keeper.problem is not None
    own.problem = None
    await turn(keeper)
    assert done.is_set()
    assert keeper.problem is None


async def test_a_catalog_that_cannot_be_seen_for_max_age_is_not_trusted(monkeypatch):
    keeper, own = keeper_of(monkeypatch, max_age=60.0)
    await turn(keeper)
    own.problem = Unreachable("connection refused")
    await turn(keeper)
    assert keeper._engine.installed == ["one"]
    now = time.monotonic()
    monkeypatch.setattr(catalogs, "monotonic", lambda: now + 61)
    await turn(keeper)
    assert keeper._engine.installed == ["one", Reason.CATALOG_UNAVAILABLE]
    own.problem = None
    await turn(keeper)
    assert keeper._engine.installed[-1] == "one"


@pytest.mark.parametrize("problem", [Refused("no such role"), ValueError("a defect")])
async def test_a_database_that_cannot_be_read_is_only_forwarded(monkeypatch, problem):
    keeper, own = keeper_of(monkeypatch)
    await turn(keeper)
    own.problem = problem
    done = asyncio.Event()
    keeper.reload(done.set)
    await turn(keeper)
    assert keeper._engine.installed == ["one", Reason.CATALOG_UNAVAILABLE]
    # No catalog stands, so nothing can be answered from an old one.
    assert done.is_set()


async def test_without_max_age_nobody_is_polled(monkeypatch):
    keeper, _ = keeper_of(monkeypatch, max_age=None)
    assert await turn(keeper) is None


async def test_a_database_that_is_gone_is_tried_again_only_where_a_session_wants_it(monkeypatch):
    keeper, own = keeper_of(monkeypatch)
    there: set[str] = set()
    monkeypatch.setattr(keeper, "_inhabited", lambda: there)
    own.problem = Refused("database does not exist")
    await turn(keeper)
    own.problem = None
    now = time.monotonic()
    monkeypatch.setattr(catalogs, "monotonic", lambda: now + 31)
    await turn(keeper)
    assert own.asked == []
    there.add("shop")
    monkeypatch.setattr(catalogs, "monotonic", lambda: now + 1)
    await turn(keeper)
    assert own.asked == []
    monkeypatch.setattr(catalogs, "monotonic", lambda: now + 31)
    assert await turn(keeper) == 20.0
    assert keeper._engine.installed == [Reason.CATALOG_UNAVAILABLE, "one"]
