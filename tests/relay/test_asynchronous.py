"""What arrives unasked, and what interrupts: notifications, notices, cancels, deaths."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import pytest

from tests.fix_howdah import Howdah, backends, wait_until_running
from tests.fix_middlebox import TO_CLIENT, TO_SERVER, Middlebox
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    FLUSH,
    SYNC,
    TERMINATE,
    Wire,
    bind,
    cancel_request,
    errors,
    execute,
    function_call,
    kinds,
    parse,
    query,
    rows,
    startup,
)

PROBE = "SELECT v FROM public.probe WHERE id = 1"


def test_notification_while_idle(howdah: Howdah, database: str) -> None:
    with howdah.wire(database) as listener, howdah.wire(database) as sender:
        listener.query("LISTEN news")
        sender.query("NOTIFY news, 'hello'")
        frame = listener.frame()
        assert frame.kind == "A"
        assert struct.unpack("!I", frame.payload[:4])[0] == sender.pid
        assert frame.payload[4:] == b"news\0hello\0"


def test_notification_to_a_client_busy_with_hits(howdah: Howdah, database: str) -> None:
    howdah.warm(database)
    with howdah.wire(database) as listener, howdah.wire(database) as sender:
        listener.query("LISTEN news")
        howdah.until_hit(listener)
        sender.query("NOTIFY news")

        def arrived() -> bool:
            return "A" in kinds(listener.query(PROBE))

        eventually(arrived)
        assert kinds(listener.query(PROBE)) == "TDCZ"


def test_notification_in_an_answer_is_not_cached(howdah: Howdah, database: str) -> None:
    """F5: it passes on, and is never stored with the answer beside it."""
    howdah.warm(database)
    with howdah.wire(database) as wire, howdah.wire(database) as other:
        wire.query("LISTEN self")
        wire.send(query("NOTIFY self"), query("SELECT id FROM public.probe"))
        frames = wire.until() + wire.until()
        for _ in range(3):
            assert kinds(other.query("SELECT id FROM public.probe")) == "T" + "D" * 10 + "CZ"
        assert "A" in kinds(frames + wire.query("SELECT 1"))


def test_notice_and_parameter_status(howdah: Howdah, database: str) -> None:
    with howdah.wire(database) as wire:
        frames = wire.query("DO $$BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END$$")
        assert [f.fields["M"] for f in frames if f.kind == "N"] == ["one", "two"]
        frames = wire.query("SET application_name = 'renamed'")
        assert kinds(frames) == "CSZ" or kinds(frames) == "SCZ"
        assert wire.parameters["application_name"] == "renamed"


def test_notice_while_idle(howdah: Howdah, postgres: PostgresServer, database: str) -> None:
    """A ParameterStatus that nobody asked for: the server reloads its configuration."""
    with howdah.wire(database) as wire:
        wire.query("SELECT 1")
        postgres.run("postgres", "ALTER SYSTEM SET timezone = 'Asia/Tokyo'")
        try:
            postgres.run("postgres", "SELECT pg_reload_conf()")
            eventually(
                lambda: wire.rows("SELECT 1") and wire.parameters.get("TimeZone") == "Asia/Tokyo"
            )
        finally:
            postgres.run("postgres", "ALTER SYSTEM RESET timezone", "SELECT pg_reload_conf()")
        eventually(lambda: wire.rows("SELECT 1") and wire.parameters.get("TimeZone") == "UTC")


def test_reloaded_timezone_changes_answers(
    start_howdah: Callable[..., Howdah], postgres: PostgresServer, database: str
) -> None:
    """A setting that changes under all sessions is seen within max_age."""
    howdah = start_howdah("--max-age", "1s")
    postgres.run(database, "CREATE TABLE times (t timestamptz)")
    postgres.run(database, "INSERT INTO times VALUES ('2024-01-01 00:00+00')")
    sql = "SELECT t FROM times"
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        howdah.until_hit(wire, sql)
        try:
            postgres.run("postgres", "ALTER SYSTEM SET timezone = 'Asia/Tokyo'")
            postgres.run("postgres", "SELECT pg_reload_conf()")
            wanted = [["2024-01-01 09:00:00+09"]]
            eventually(lambda: wire.rows(sql) == wanted)
            with howdah.wire(database) as other:
                assert other.rows(sql) == wanted
                assert other.rows(sql) == wanted
        finally:
            postgres.run("postgres", "ALTER SYSTEM RESET timezone", "SELECT pg_reload_conf()")
        eventually(lambda: wire.rows(sql) == [["2024-01-01 00:00:00+00"]])


def cancel(howdah: Howdah, wire: Wire) -> None:
    with Wire(howdah.address) as request:
        request.send(cancel_request(wire.key_data))
        assert request.closed()


def test_cancel_reaches_the_right_backend(
    each_howdah: Howdah, each_postgres: PostgresServer
) -> None:
    howdah = each_howdah
    database = each_postgres.create_database()
    with howdah.wire(database) as one, howdah.wire(database) as other:
        one.send(query("SELECT 'one', pg_sleep(60)"))
        other.send(query("SELECT 'other', pg_sleep(60)"))
        wait_until_running(each_postgres, "'one'")
        wait_until_running(each_postgres, "'other'")
        cancel(howdah, other)
        assert errors(other.until()) == ["57014"]
        active = [pid for pid, _, state in backends(each_postgres, database) if state == "active"]
        assert active == [one.pid]
        cancel(howdah, one)
        assert errors(one.until()) == ["57014"]
        assert one.rows("SELECT 1") == [["1"]]


def test_cancel_with_unknown_key_is_harmless(howdah: Howdah) -> None:
    with Wire(howdah.address) as request:
        request.send(cancel_request(struct.pack("!II", 999_999, 1)))
        assert request.closed()
    with howdah.wire("postgres") as wire:
        assert wire.rows("SELECT 1") == [["1"]]


def test_cancel_of_an_idle_session(howdah: Howdah, database: str) -> None:
    """Nothing to cancel: the next statement must not suffer."""
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        cancel(howdah, wire)
        for _ in range(3):
            assert kinds(wire.query(PROBE)) == "TDCZ"
            assert kinds(wire.query("SELECT 1")) == "TDCZ"


def test_cancelled_write_keeps_the_cache_right(
    howdah: Howdah, postgres: PostgresServer, database: str
) -> None:
    howdah.warm(database)
    with howdah.wire(database) as reader, howdah.wire(database) as writer:
        howdah.until_hit(reader)
        writer.send(query("UPDATE public.probe SET v = 5 FROM pg_sleep(60)"))
        wait_until_running(postgres, "v = 5")
        assert reader.rows(PROBE) == [["0"]]
        cancel(howdah, writer)
        assert errors(writer.until()) == ["57014"]
        assert reader.rows(PROBE) == [["0"]]
        howdah.until_hit(reader)


def test_backend_terminated_while_idle(
    howdah: Howdah, postgres: PostgresServer, database: str
) -> None:
    """The FATAL error reaches the client, then the connection ends; others go on."""
    with howdah.wire(database) as wire, howdah.wire(database) as other:
        postgres.run(database, f"SELECT pg_terminate_backend({wire.pid})")
        frame = wire.frame()
        assert frame.kind == "E"
        assert frame.fields["C"] == "57P01"
        assert wire.closed()
        assert other.rows("SELECT 1") == [["1"]]


def test_backend_terminated_mid_query(
    howdah: Howdah, postgres: PostgresServer, database: str
) -> None:
    howdah.warm(database)
    with howdah.wire(database) as wire, howdah.wire(database) as other:
        howdah.until_hit(other)
        wire.send(query("UPDATE public.probe SET v = 6 FROM pg_sleep(60)"))
        wait_until_running(postgres, "v = 6")
        postgres.run(database, f"SELECT pg_terminate_backend({wire.pid})")
        frames = [wire.frame()]
        assert errors(frames) == ["57P01"]
        assert wire.closed()
        assert other.rows(PROBE) == [["0"]]
        howdah.until_hit(other)


def test_client_vanishes_mid_query(howdah: Howdah, postgres: PostgresServer, database: str) -> None:
    """The statement runs on and commits; the fence stays up until that is known (F2)."""
    howdah.warm(database)
    with howdah.wire(database) as reader:
        howdah.until_hit(reader)
        with postgres.connect(database) as blocker:
            with blocker.transaction():
                blocker.execute("SELECT v FROM public.probe WHERE id = 1 FOR UPDATE")
                wire = howdah.wire(database)
                wire.send(query("UPDATE public.probe SET v = 9 WHERE id = 1"))
                wait_until_running(postgres, "v = 9")
                wire.reset()
                assert reader.rows(PROBE) == [["0"]]
                assert reader.rows(PROBE) == [["0"]]
        sql = "SELECT v FROM public.probe WHERE id = 1"
        eventually(lambda: postgres.run(database, sql) in ([(9,)], [(0,)]))
        eventually(lambda: not [b for b in backends(postgres, database) if b[0] == wire.pid])
        assert reader.rows(PROBE)[0][0] == str(postgres.run(database, sql)[0][0])


@pytest.mark.parametrize("last", [b"", TERMINATE], ids=["no_terminate", "terminate"])
@pytest.mark.parametrize("shut", [False, True], ids=["open", "half_closed"])
def test_half_closed_client_gets_its_answer(
    howdah: Howdah, database: str, last: bytes, shut: bool
) -> None:
    """What was asked before the end is answered, as PostgreSQL does."""
    wire = howdah.wire(database)
    wire.send(query("SELECT 42"), last)
    if shut:
        wire.socket.shutdown(socket.SHUT_WR)
    elif not last:
        wire.send(TERMINATE)
    assert rows(wire.until()) == [["42"]]
    assert wire.closed()
    wire.socket.close()


def test_function_call(howdah: Howdah, database: str) -> None:
    """FunctionCall of a harmless function; what it answers passes unchanged."""
    with howdah.wire(database) as wire:
        oid = int(wire.rows("SELECT 'pg_catalog.int4pl(int4,int4)'::regprocedure::oid")[0][0] or 0)
        frames = wire.ask(function_call(oid, b"2", b"40"))
        assert kinds(frames) == "VZ"
        assert frames[0].payload == struct.pack("!i", 2) + b"42"
        frames = wire.ask(function_call(999_999_999))
        assert errors(frames) == ["42883"]


def test_function_call_that_writes(howdah: Howdah, postgres: PostgresServer, database: str) -> None:
    postgres.run(
        database,
        "CREATE FUNCTION w() RETURNS int LANGUAGE sql AS"
        " 'UPDATE public.probe SET v = 12; SELECT 1'",
    )
    howdah.warm(database)
    with howdah.wire(database) as reader, howdah.wire(database) as wire:
        howdah.until_hit(reader)
        oid = int(wire.rows("SELECT 'public.w()'::regprocedure::oid")[0][0] or 0)
        assert kinds(wire.ask(function_call(oid))) == "VZ"
        assert reader.rows(PROBE) == [["12"]]


def test_execute_before_flush_is_answered(howdah: Howdah, database: str) -> None:
    with howdah.wire(database) as wire:
        wire.send(parse("SELECT 5"), bind(), execute(), FLUSH)
        assert kinds(wire.until("C")) == "12DC"
        assert kinds(wire.ask(SYNC)) == "Z"


def test_split_upstream(
    middlebox: Callable[[tuple[str, int]], Middlebox],
    start_howdah: Callable[..., Howdah],
    postgres: PostgresServer,
    database: str,
) -> None:
    """Every byte from PostgreSQL in a packet of its own; answers and hits are the same."""
    box = middlebox((postgres.host, postgres.port))
    howdah = start_howdah(upstream=f"postgresql://howdah@127.0.0.1:{box.port}/postgres")
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        box.split = True
        first = wire.extended("SELECT * FROM public.probe ORDER BY id")
        assert kinds(first) == "12T" + "D" * 10 + "CZ"
        with howdah.hits_during(1):
            assert wire.extended("SELECT * FROM public.probe ORDER BY id") == first
        assert errors(wire.query("SELECT 1/0")) == ["22012"]


def test_upstream_reset_mid_answer(
    middlebox: Callable[[tuple[str, int]], Middlebox],
    start_howdah: Callable[..., Howdah],
    postgres: PostgresServer,
    database: str,
) -> None:
    """An error of class 08 or 57 and the end of the connection; nothing half is cached."""
    box = middlebox((postgres.host, postgres.port))
    howdah = start_howdah(upstream=f"postgresql://howdah@127.0.0.1:{box.port}/postgres")
    howdah.warm(database)
    wire = howdah.wire(database, application_name="victim")
    howdah.until_hit(wire)
    rule = box.reset(TO_CLIENT, "D", nth=3, application_name="victim")
    wire.send(query("SELECT id FROM public.probe ORDER BY id"))
    rule.wait()
    assert wire.closed()
    wire.socket.close()
    with howdah.wire(database) as other:
        howdah.until_hit(other)
        assert kinds(other.query("SELECT id FROM public.probe ORDER BY id")).count("D") == 10


def test_upstream_held_startup(
    middlebox: Callable[[tuple[str, int]], Middlebox],
    start_howdah: Callable[..., Howdah],
    postgres: PostgresServer,
    database: str,
) -> None:
    """A slow login of one client holds up nobody else."""
    box = middlebox((postgres.host, postgres.port))
    howdah = start_howdah(upstream=f"postgresql://howdah@127.0.0.1:{box.port}/postgres")
    rule = box.hold(TO_SERVER, "startup", application_name="slow")
    slow = Wire(howdah.address)
    slow.send(startup(user="postgres", database=database, application_name="slow"))
    rule.wait()
    with howdah.wire(database) as wire:
        assert wire.rows("SELECT 1") == [["1"]]
    rule.release()
    assert slow.until()[-1].kind == "Z"
    slow.close()


def test_many_clients_at_once(howdah: Howdah, database: str) -> None:
    wires = [howdah.wire(database) for _ in range(50)]
    for wire in wires:
        wire.send(query(PROBE))
    for wire in wires:
        assert rows(wire.until()) == [["0"]]
    for wire in wires:
        wire.close()
