"""Forced interleavings of commits with what breaks: links, backends, servers, Howdah itself.

The longest moment of a commit is the wait for a synchronous standby: its record is
written, nobody sees it yet, and it will be visible whatever happens to the connection.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fix_howdah import Starter, upstream_url
from tests.fix_middlebox import Middlebox
from tests.fix_pg import SYSTEM_15, PostgresServer, wheel_bindir
from tests.fix_scene import PROBE, Scene
from tests.fix_tools import eventually
from tests.fix_wire import Wire, WireError, connect, query

Boxes = Callable[[tuple[str, int]], Middlebox]


def test_link_lost_while_the_commit_waits(scene: Scene) -> None:
    """F2: the backend outlives its connection, and so does the fence."""
    with scene.lone_primary():
        writer = scene.patient("writer")
        pid = writer.pid
        writer.send(query("UPDATE public.probe SET v = 40"))
        scene.waits(pid, "SyncRep")
        scene.box.link(application_name="writer").reset()
        assert writer.closed()
        writer.socket.close()
        eventually(lambda: scene.outcome() != "bypass/suspended")
        scene.forwarded("0", times=10)
        assert scene.outcome() == "bypass/fenced"
        scene.waits(pid, "SyncRep")
    eventually(lambda: scene.truth() == "40")
    assert scene.value() == "40"
    scene.settles("40")


def test_backend_terminated_while_its_commit_waits(scene: Scene) -> None:
    """It stops waiting, its commit becomes visible, and nobody is told how it went."""
    with scene.lone_primary():
        writer = scene.patient("writer")
        writer.send(query("UPDATE public.probe SET v = 41"))
        scene.waits(writer.pid, "SyncRep")
        scene.server.run("postgres", f"SELECT pg_terminate_backend({writer.pid})")
        assert writer.closed()
        writer.socket.close()
        eventually(lambda: scene.truth() == "41")
        for _ in range(5):
            assert scene.value() == "41"
    scene.settles("41")


def test_backend_terminated_behind_an_inner_commit(scene: Scene) -> None:
    """F3: FATAL says nothing about what CALL has committed before."""
    writer = scene.session("writer")
    writer.query(
        "CREATE PROCEDURE commits_and_waits() LANGUAGE plpgsql AS $$ BEGIN"
        " UPDATE public.probe SET v = 42; COMMIT; PERFORM pg_advisory_lock(42); END $$"
    )
    scene.settles("0")
    with scene.server.connect(scene.database) as keeper:
        keeper.execute("SELECT pg_advisory_lock(42)")
        writer.send(query("CALL commits_and_waits()"))
        scene.waits(writer.pid, "advisory")
        scene.forwarded("42")
        scene.server.run("postgres", f"SELECT pg_terminate_backend({writer.pid})")
        frame = writer.frame()
        while frame.kind != "E":
            frame = writer.frame()
        assert (frame.fields["S"], frame.fields["C"]) == ("FATAL", "57P01")
        writer.socket.close()
        for _ in range(5):
            assert scene.value() == "42"
    scene.settles("42")


def test_killed_with_a_commit_in_flight_and_restarted(scene: Scene, start_howdah: Starter) -> None:
    """F11: the next Howdah knows nothing of the COMMIT that the last one has sent."""
    first = start_howdah(server=scene.server)
    writer = first.wire(scene.database)
    with scene.lone_primary():
        eventually(lambda: writer.rows("SHOW synchronous_standby_names") == [["nobody"]])
        writer.query("SET synchronous_commit = on")
        writer.query("BEGIN")
        writer.query("UPDATE public.probe SET v = 43")
        writer.send(query("COMMIT"))
        scene.waits(writer.pid, "SyncRep")
        first.signal(signal.SIGKILL)
        first.wait()
        writer.socket.close()
        second = start_howdah(server=scene.server)
        with second.wire(scene.database) as reader:

            def known() -> bool:
                with second.watching() as gained:
                    reader.query(PROBE)
                return bool(gained.keys() & {"bypass/starting", "miss/not_cached", "hit/"})

            eventually(known)
            with second.watching() as gained:
                for _ in range(20):
                    assert reader.rows(PROBE) == [["0"]]
            assert gained["hits"] == 0, gained
            scene.standby_is_here()
            eventually(lambda: scene.truth() == "43")
            for _ in range(3):
                assert reader.rows(PROBE) == [["43"]]
            second.until_hit(reader)
            assert reader.rows(PROBE) == [["43"]]


def test_address_leads_to_another_server(
    pg18: PostgresServer, pg15: PostgresServer, middlebox: Boxes, start_howdah: Starter
) -> None:
    """F8: what was read from one server is not served in front of another, however alike."""
    name = "led_elsewhere"
    for server, first in ((pg18, 1), (pg15, 2)):
        server.run("postgres", f"CREATE DATABASE {name} OID = 77777 TEMPLATE howdah_template")
        server.run(name, f"UPDATE public.probe SET v = {first}")
    box = middlebox((pg18.host, pg18.port))
    howdah = start_howdah(
        upstream=f"postgresql://howdah@127.0.0.1:{box.port}/postgres?sslmode=disable"
    )
    for server, value in ((pg18, "1"), (pg15, "2"), (pg18, "1")):
        box.target = (server.host, server.port)
        for link in box.links:
            link.close()

        def connected() -> Wire | None:
            try:
                return howdah.wire(name)
            except (WireError, EOFError, ConnectionError):
                return None

        wire = eventually(connected)
        assert wire is not None
        for _ in range(5):
            assert wire.rows(PROBE) == [[value]]
        howdah.until_hit(wire)
        assert wire.rows(PROBE) == [[value]]
        wire.socket.close()


@pytest.fixture(params=["pg18", "pg15"])
def own_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server of one's own, to be killed."""
    bindir: Path | None = wheel_bindir() if request.param == "pg18" else SYSTEM_15
    if bindir is None or not (bindir / "postgres").exists():
        pytest.skip(f"no {request.param} here")
    one = PostgresServer(f"postgresql-fault-{request.param}", bindir)
    try:
        one.create()
        yield one
    finally:
        one.destroy()


def test_immediate_restart_in_the_middle_of_a_commit(
    own_server: PostgresServer, start_howdah: Starter
) -> None:
    """F2, F8: the record is durable, the acknowledgement never came, the server is a new one."""
    server = own_server
    database = server.create_database()
    howdah = start_howdah(upstream=upstream_url(server))
    howdah.warm(database)
    server.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.run("postgres", "SELECT pg_reload_conf()")
    writer, reader = howdah.wire(database), howdah.wire(database)
    eventually(lambda: writer.rows("SHOW synchronous_standby_names") == [["nobody"]])
    writer.query("SET synchronous_commit = on")
    writer.query("BEGIN")
    writer.query("UPDATE public.probe SET v = 44")
    howdah.until_hit(reader)
    writer.send(query("COMMIT"))
    sql = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {writer.pid}"
    eventually(lambda: server.run("postgres", sql) == [("SyncRep",)])
    assert reader.rows(PROBE) == [["0"]]
    server.stop(signal.SIGQUIT)
    assert writer.closed()
    assert reader.closed()
    writer.socket.close()
    reader.socket.close()
    auto = server.data / "postgresql.auto.conf"
    auto.write_text("")
    server.start()

    def connected() -> Wire | None:
        try:
            return howdah.wire(database)
        except (WireError, EOFError, ConnectionError):
            return None

    again = eventually(connected)
    assert again is not None
    with connect((server.host, server.port), database) as direct:
        assert direct.rows(PROBE) == [["44"]]
    for _ in range(5):
        assert again.rows(PROBE) == [["44"]]
    howdah.until_hit(again)
    assert again.rows(PROBE) == [["44"]]
    again.close()
