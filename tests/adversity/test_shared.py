"""Shared fills against real servers: one execution for many, and each cancel its own.

A lock that a direct session holds keeps the leader's statement running for as long as
a test needs it to.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fix_howdah import Howdah, Starter, check, upstream_url, wait_until_running
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    SYNC,
    TERMINATE,
    Wire,
    bind,
    cancel_request,
    errors,
    execute,
    kinds,
    parse,
    query,
    rows,
)

READ = "SELECT v, 'shared' FROM public.probe WHERE id = 1"
LOCK = "LOCK TABLE public.probe IN ACCESS EXCLUSIVE MODE"


class Scene:
    """Sessions that have asked READ before, which is not in memory now."""

    def __init__(self, server: PostgresServer, howdah: Howdah, clients: int) -> None:
        self.server, self.howdah = server, howdah
        self.database = server.create_database()
        howdah.warm(self.database)
        self.wires = [howdah.wire(self.database) for _ in range(clients)]
        for wire in self.wires:
            howdah.until_hit(wire, READ)
        self.wires[0].query("UPDATE public.probe SET v = v + 1")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody can read the table in this block, and Howdah does not know."""
        with self.server.connect(self.database) as direct:
            direct.execute("BEGIN")
            direct.execute(LOCK)
            yield
            direct.execute("ROLLBACK")

    def running(self) -> int:
        """How many backends are at the statement now."""
        with self.server.connect("postgres") as admin:
            row = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state = 'active'"
                " AND strpos(query, %s) > 0",
                [self.database, "'shared'"],
            ).fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        for wire in self.wires:
            wire.close()


@pytest.fixture(scope="module")
def patient(each_postgres: PostgresServer) -> Iterator[Howdah]:
    """A Howdah whose clients wait until something happens."""
    howdah = Howdah(upstream_url(each_postgres), "--shared-wait", "1h").start()
    yield howdah
    howdah.destroy()


@pytest.fixture
def scene(each_postgres: PostgresServer, patient: Howdah) -> Iterator[Scene]:
    start = len(patient.log)
    scene = Scene(each_postgres, patient, 8)
    yield scene
    scene.close()
    check(patient, start)


def test_one_execution_for_eight_clients(scene: Scene) -> None:
    with scene.howdah.watching() as gained:
        with scene.locked():
            for wire in scene.wires:
                wire.send(query(READ))
            wait_until_running(scene.server, "'shared'")
            settled(scene)
            assert scene.running() == 1
        answers = [rows(wire.until()) for wire in scene.wires]
    assert answers == [[["1", "shared"]]] * 8
    assert gained["miss/not_cached"] == 1
    assert gained["shared/"] == 7


def settled(scene: Scene) -> None:
    """Everything that was sent before has been read by Howdah."""
    with scene.howdah.wire(scene.database) as other:
        other.query("SELECT 1")
    scene.howdah.metrics()


def test_both_protocols_wait_for_their_own(scene: Scene) -> None:
    ask = parse(READ) + bind() + execute() + SYNC
    for wire in scene.wires[4:]:
        assert rows(wire.ask(ask)) == [["1", "shared"]]
    scene.wires[0].query("UPDATE public.probe SET v = v + 1")
    with scene.locked():
        for wire in scene.wires[:4]:
            wire.send(query(READ))
        for wire in scene.wires[4:]:
            wire.send(ask)
        wait_until_running(scene.server, "'shared'")
        settled(scene)
        assert scene.running() == 2
    for wire in scene.wires:
        assert rows(wire.until()) == [["2", "shared"]]


@pytest.mark.parametrize("block", [False, True])
def test_a_cancel_strikes_its_own_client(scene: Scene, block: bool) -> None:
    """Code, message and status of the waiter are PostgreSQL's; the leader goes on."""
    leader, waiter, other = scene.wires[:3]
    if block:
        waiter.query("BEGIN")
    with scene.locked():
        leader.send(query(READ))
        wait_until_running(scene.server, "'shared'")
        waiter.send(query(READ))
        other.send(query(READ))
        settled(scene)
        assert scene.running() == 1
        cancel(scene, waiter)
        frames = waiter.until()
        assert errors(frames) == ["57014"]
        assert frames[-1].payload == (b"E" if block else b"I")
        assert scene.running() == 1
    assert rows(leader.until()) == rows(other.until()) == [["1", "shared"]]
    if block:
        waiter.query("ROLLBACK")
    assert waiter.rows(READ) == [["1", "shared"]]


def cancel(scene: Scene, wire: Wire) -> None:
    """A cancel request for the session of `wire`, through Howdah."""
    with Wire(scene.howdah.address) as request:
        request.send(cancel_request(wire.key_data))
        assert request.closed()


def test_the_leader_is_cancelled(scene: Scene) -> None:
    """Nobody else is: one of those who waited leads now."""
    leader, *others = scene.wires
    with scene.locked():
        leader.send(query(READ))
        wait_until_running(scene.server, "'shared'")
        for wire in others:
            wire.send(query(READ))
        settled(scene)
        cancel(scene, leader)
        assert errors(leader.until()) == ["57014"]
        eventually(lambda: scene.running() >= 1)
    for wire in others:
        assert rows(wire.until()) == [["1", "shared"]]


def test_the_leader_is_gone(scene: Scene) -> None:
    leader, *others = scene.wires
    with scene.locked():
        leader.send(query(READ))
        wait_until_running(scene.server, "'shared'")
        for wire in others:
            wire.send(query(READ))
        settled(scene)
        leader.close()
    for wire in others:
        assert rows(wire.until()) == [["1", "shared"]]


def test_a_half_closed_waiter_gets_its_answer(scene: Scene) -> None:
    leader, waiter, gone = scene.wires[:3]
    with scene.locked():
        leader.send(query(READ))
        wait_until_running(scene.server, "'shared'")
        waiter.send(query(READ))
        gone.send(query(READ))
        settled(scene)
        gone.reset()
        waiter.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: scene.running() == 2)
    assert rows(waiter.until()) == [["1", "shared"]]
    assert rows(leader.until()) == [["1", "shared"]]


def test_more_from_a_waiter_ends_its_waiting(scene: Scene) -> None:
    leader, waiter = scene.wires[:2]
    with scene.locked():
        leader.send(query(READ))
        wait_until_running(scene.server, "'shared'")
        waiter.send(query(READ))
        settled(scene)
        waiter.send(query("SELECT 2") + TERMINATE)
        eventually(lambda: scene.running() == 2)
    assert rows(waiter.until()) == [["1", "shared"]]
    assert rows(waiter.until()) == [["2"]]


def test_time_is_up(start_howdah: Starter, postgres: PostgresServer) -> None:
    scene = Scene(postgres, start_howdah("--shared-wait", "50ms"), 3)
    with scene.locked():
        for wire in scene.wires:
            wire.send(query(READ))
        eventually(lambda: scene.running() == 3)
    for wire in scene.wires:
        assert kinds(wire.until()) == "TDCZ"
    scene.close()


def test_nobody_waits_where_it_is_off(start_howdah: Starter, postgres: PostgresServer) -> None:
    scene = Scene(postgres, start_howdah("--shared-wait", "0"), 3)
    with scene.locked():
        for wire in scene.wires:
            wire.send(query(READ))
        eventually(lambda: scene.running() == 3)
    for wire in scene.wires:
        assert rows(wire.until()) == [["1", "shared"]]
    scene.close()
