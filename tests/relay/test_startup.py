"""Startup through Howdah: encryption requests, versions, parameters, passwords, refusals."""

from __future__ import annotations

import struct

import psycopg
import pytest

from tests.fix_howdah import Howdah
from tests.fix_pg import AUTHENTICATED, PASSWORD, PostgresServer
from tests.fix_wire import (
    GSSENC_REQUEST,
    PROTOCOL_3_2,
    SSL_REQUEST,
    Wire,
    WireError,
    cancel_request,
    connect,
    errors,
    query,
    raw,
    startup,
)


def test_ssl_request_refused_then_plain(howdah: Howdah) -> None:
    with Wire(howdah.address) as wire:
        wire.send(SSL_REQUEST)
        assert wire.take(1) == b"N"
        wire.start("postgres")
        assert wire.rows("SELECT 1") == [["1"]]


def test_gssenc_request_refused_then_ssl_then_plain(howdah: Howdah) -> None:
    with Wire(howdah.address) as wire:
        wire.send(GSSENC_REQUEST)
        assert wire.take(1) == b"N"
        wire.send(SSL_REQUEST)
        assert wire.take(1) == b"N"
        wire.start("postgres")


def test_direct_tls_is_refused_at_once(howdah: Howdah) -> None:
    """A ClientHello in place of a startup packet: an error, then the connection ends."""
    wire = Wire(howdah.address)
    wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64))
    assert wire.closed()
    wire.socket.close()
    with howdah.wire("postgres") as other:
        assert other.rows("SELECT 1") == [["1"]]


def test_same_greeting(each_howdah: Howdah, each_postgres: PostgresServer) -> None:
    """Parameters, their order and the key's length are PostgreSQL's."""
    direct = connect((each_postgres.host, each_postgres.port), "postgres")
    through = each_howdah.wire("postgres")
    with direct, through:
        one = [f for f in direct.startup_frames if f.kind != "K"]
        other = [f for f in through.startup_frames if f.kind != "K"]
        assert raw(one) == raw(other)
        assert len(direct.key_data) == len(through.key_data)


def test_key_is_the_backends(howdah: Howdah) -> None:
    with howdah.wire("postgres") as wire:
        assert wire.rows("SELECT pg_backend_pid()") == [[str(wire.pid)]]


@pytest.mark.parametrize("minor", [2, 9999])
def test_minor_versions(each_howdah: Howdah, each_postgres: PostgresServer, minor: int) -> None:
    """3.2 is spoken where the server can, other minors are negotiated by the server."""
    version = (3 << 16) + minor
    address = (each_postgres.host, each_postgres.port)
    with connect(address, "postgres", protocol=version) as direct:
        with each_howdah.wire("postgres", protocol=version) as wire:
            shape = [f.kind for f in direct.startup_frames]
            assert [f.kind for f in wire.startup_frames] == shape
            assert len(wire.key_data) == len(direct.key_data)
            negotiation = [f for f in direct.startup_frames if f.kind == "v"]
            assert [f for f in wire.startup_frames if f.kind == "v"] == negotiation
            assert wire.rows("SELECT 1") == [["1"]]


def test_long_key_cancels(pg18: PostgresServer, howdah: Howdah) -> None:
    """Protocol 3.2 has keys of up to 256 bytes."""
    with howdah.wire("postgres", protocol=PROTOCOL_3_2) as wire:
        assert len(wire.key_data) > 8
        wire.send(query("SELECT pg_sleep(60)"))
        from tests.fix_howdah import wait_until_running

        wait_until_running(pg18, "pg_sleep(60)")
        with_key = Wire(howdah.address)
        with_key.send(cancel_request(wire.key_data))
        assert with_key.closed()
        with_key.socket.close()
        assert errors(wire.until()) == ["57014"]


def test_protocol_option_is_negotiated(howdah: Howdah, postgres: PostgresServer) -> None:
    """An unknown `_pq_.` option is answered by NegotiateProtocolVersion and no error."""
    options = {"_pq_.nonsense": "1"}
    with connect((postgres.host, postgres.port), "postgres", **options) as direct:
        with howdah.wire("postgres", **options) as wire:
            one = [f for f in direct.startup_frames if f.kind == "v"]
            assert one
            assert [f for f in wire.startup_frames if f.kind == "v"] == one


@pytest.mark.parametrize("version", [2 << 16, 4 << 16])
def test_other_major_versions_are_refused(howdah: Howdah, version: int) -> None:
    wire = Wire(howdah.address)
    body = struct.pack("!I", version) + b"user\0postgres\0\0"
    wire.send(struct.pack("!I", len(body) + 4) + body)
    assert wire.take(1) == b"E"
    assert wire.closed()
    wire.socket.close()


@pytest.mark.parametrize(
    ("database", "user", "sqlstate"),
    [("not_there", "postgres", "3D000"), ("postgres", "nobody_here", "28000")],
)
def test_refusals_are_postgresqls(
    howdah: Howdah, postgres: PostgresServer, database: str, user: str, sqlstate: str
) -> None:
    with pytest.raises(WireError) as direct:
        connect((postgres.host, postgres.port), database, user)
    with pytest.raises(WireError) as through:
        howdah.wire(database, user)
    assert through.value.fields == direct.value.fields
    assert through.value.fields["C"] == sqlstate


def test_bad_setting_at_startup(howdah: Howdah) -> None:
    with pytest.raises(WireError) as refused:
        howdah.wire("postgres", options="-c nonsense=1")
    assert refused.value.fields["C"] == "42704"


def test_database_defaults_to_the_user(howdah: Howdah) -> None:
    """Without a database PostgreSQL takes the user's name."""
    with Wire(howdah.address) as wire:
        wire.send(startup(user="postgres"))
        wire.until()
        assert wire.rows("SELECT current_database()") == [["postgres"]]
        assert wire.rows("SELECT current_database()") == [["postgres"]]


@pytest.mark.parametrize("user", AUTHENTICATED)
class TestPasswords:
    def test_right(self, each_howdah: Howdah, user: str) -> None:
        with each_howdah.wire("postgres", user, password=PASSWORD) as wire:
            assert wire.rows("SELECT current_user") == [[user]]

    def test_wrong(self, each_howdah: Howdah, user: str) -> None:
        with pytest.raises(WireError) as refused:
            each_howdah.wire("postgres", user, password="wrong")
        assert refused.value.fields["C"] == "28P01"

    def test_libpq(self, each_howdah: Howdah, user: str) -> None:
        with psycopg.connect(each_howdah.dsn("postgres", user), password=PASSWORD) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (user,)

    def test_entries_of_others_need_the_password(self, howdah: Howdah, user: str) -> None:
        """K2: nobody reads from memory before PostgreSQL has let them in."""
        wire = Wire(howdah.address)
        wire.send(startup(user=user, database="postgres"), query("SELECT 1"))
        frame = wire.frame()
        assert frame.kind == "R"
        wire.socket.close()


def test_own_role_without_access_still_relays(postgres: PostgresServer, start_howdah) -> None:
    """Howdah's own role cannot log in to this database: reads are forwarded, with a reason."""
    database = postgres.create_database(name="closed")
    postgres.run("postgres", f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    howdah = start_howdah()
    with howdah.wire(database) as wire:
        with howdah.watching() as gained:
            for _ in range(3):
                assert wire.rows("SELECT v FROM public.probe WHERE id = 1") == [["0"]]
    assert gained["hits"] == 0
    assert any("catalog" in name for name in gained), gained
