"""Identity, proofs and the start gate, against a server of a few rows."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from proxy.net import watch as watch_module
from proxy.net.own import Unreachable
from proxy.net.watch import ServerWatch
from proxy.policy.rules import EMPTY

ONE = ("system", "1", "start")
TWO = ("system", "2", "start")


class FakeEngine:
    def __init__(self):
        self.identity = None
        self.seen = []
        self.reloads = 0
        self.rules = EMPTY
        self.gate = "up"

    def identity_seen(self, identity):
        self.identity = identity
        self.seen.append(identity)

    def settings_reloaded(self):
        self.reloads += 1

    def end_start_gate(self):
        self.gate = "down"


class FakeBoard:
    def __init__(self):
        self.up = None

    def reached(self, up):
        self.up = up

    def backend_pids(self):
        return {50}


class FakeOwn:
    """The server: its identity, and pid -> (start, state)."""

    pid = 51

    def __init__(self):
        self.identity = ONE
        self.loaded = "10"
        self.backends = {}
        self.away = False
        self.fresh = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def run(self, work, *, fresh=False):
        self.fresh.append(fresh)
        self.asked.set()
        await self.go_on.wait()
        if self.away:
            raise Unreachable("connection refused")
        return await work(self)

    async def fetch(self, sql, *arguments):
        if "pg_conf_load_time" in sql:
            return [(*self.identity, self.loaded, False)]
        if arguments:
            return [(*self.identity, [pid for pid in arguments[0] if pid in self.backends])]
        return [(pid, *row) for pid, row in self.backends.items()]

    def drop(self):
        pass


class FakeLogin:
    class upstream:
        dbname = "postgres"

    target = "127.0.0.1:5432"


@pytest.fixture
async def made(monkeypatch):
    monkeypatch.setattr(watch_module, "Backoff", Impatient)
    engine: Any = FakeEngine()
    board: Any = FakeBoard()
    login: Any = FakeLogin
    watch = ServerWatch(engine, board, login, 60.0)
    own = FakeOwn()
    monkeypatch.setattr(watch, "own", own)
    yield watch, own
    await watch.close()


class Impatient:
    def __init__(self, first, last):
        pass

    def reset(self):
        pass

    def pause(self):
        return 0.001


async def until(predicate):
    async with asyncio.timeout(5):
        while not predicate():
            await asyncio.sleep(0.001)


async def test_identity_is_seen_once_the_server_answers(made):
    watch, own = made
    own.away = True
    watch.start()
    await until(lambda: watch.up is False)
    assert watch._engine.seen == []
    assert watch.problem == "connection refused"
    own.away = False
    await until(lambda: watch._engine.seen == [ONE])
    assert watch.up
    assert watch.problem is None
    assert watch._board.up


async def test_an_answer_older_than_the_loss_does_not_count(made):
    """F8: what was asked before the upstream was lost says nothing about the server now."""
    watch, own = made
    watch.start()
    await until(lambda: watch._engine.seen == [ONE])
    own.go_on.clear()
    own.asked.clear()
    watch.verify_identity()
    await own.asked.wait()
    watch.verify_identity()
    own.identity = TWO
    own.go_on.set()
    await until(lambda: len(watch._engine.seen) >= 2)
    assert watch._engine.seen == [ONE, TWO]
    # A new connection each time: an old one may lead to an old server.
    assert own.fresh.count(True) >= 3


async def test_a_reloaded_configuration_is_noticed(made):
    watch, own = made
    watch.start()
    await until(lambda: watch._engine.seen)
    own.loaded = "11"
    watch.verify_identity()
    await until(lambda: watch._engine.reloads == 1)


async def test_a_backend_is_proven_ended_only_when_it_is_gone(made):
    """F2: never by a timeout, and not while the server is away."""
    watch, own = made
    watch.start()
    await until(lambda: watch._engine.seen)
    own.backends = {7: ("a", "active"), 8: ("b", "active")}
    ended = []
    watch.prove_ended(7, lambda: ended.append(7))
    watch.prove_ended(7, lambda: ended.append(70))
    watch.prove_ended(8, lambda: ended.append(8))
    own.asked.clear()
    await own.asked.wait()
    assert ended == []
    own.away = True
    await until(lambda: watch.up is False)
    own.backends.pop(7)
    assert ended == []
    own.away = False
    await until(lambda: ended == [7, 70])
    own.identity = TWO
    await until(lambda: ended == [7, 70, 8])
    assert watch._engine.identity == TWO


async def test_the_gate_waits_for_backends_of_before(made):
    """F11: each must have ended or been seen idle; our own and later ones do not count."""
    watch, own = made
    own.backends = {
        1: ("a", "active"),
        2: ("b", "idle in transaction"),
        3: ("c", "idle"),
        50: ("d", "active"),
        51: ("e", "active"),
    }
    watch.start()
    await until(lambda: watch._engine.seen)
    own.backends[9] = ("late", "active")
    own.backends[1] = ("a", "idle")
    own.asked.clear()
    await own.asked.wait()
    assert watch._engine.gate == "up"
    own.backends[1] = ("a", "active")
    own.backends[2] = ("another backend with that pid", "active")
    await until(lambda: watch.gate_open)
    assert watch._engine.gate == "down"


async def test_hidden_states_are_waited_for_at_most_max_age(made, monkeypatch):
    """F11: from max_age on, such a backend counts as another writer."""
    watch, own = made
    own.backends = {1: (None, None)}
    now = time.monotonic()
    monkeypatch.setattr(watch_module, "monotonic", lambda: now)
    watch.start()
    await until(lambda: len(own.fresh) > 5)
    assert watch._engine.gate == "up"
    monkeypatch.setattr(watch_module, "monotonic", lambda: now + 61)
    await until(lambda: watch.gate_open)


async def test_without_max_age_hidden_states_are_waited_for_to_their_end(made, monkeypatch):
    watch, own = made
    monkeypatch.setattr(watch, "_max_age", None)
    own.backends = {1: (None, None)}
    now = time.monotonic()
    watch.start()
    monkeypatch.setattr(watch_module, "monotonic", lambda: now + 1e6)
    await until(lambda: len(own.fresh) > 9)
    assert watch._engine.gate == "up"
    own.backends.clear()
    await until(lambda: watch.gate_open)
