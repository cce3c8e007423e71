"""TLS on both hops, against a PostgreSQL that has it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.fix_howdah import Howdah, Starter
from tests.fix_pg import PASSWORD, PostgresServer
from tests.fix_wire import Wire

pytestmark = pytest.mark.pg15


def url(server: PostgresServer, mode: str, host: str = "127.0.0.1", **more: object) -> str:
    query = "&".join(f"{k}={v}" for k, v in {"sslmode": mode, **more}.items())
    return f"postgresql://howdah@{host}:{server.port}/postgres?{query}"


@pytest.fixture
def both_hops(pg15: PostgresServer, certificates: Path, start_howdah: Starter) -> Howdah:
    return start_howdah(
        *["--tls-certificate", str(certificates / "proxy.crt")],
        *["--tls-key", str(certificates / "proxy.key")],
        upstream=url(pg15, "verify-full", sslrootcert=certificates / "ca.crt"),
    )


IN_TLS = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_upstream_modes(
    pg15: PostgresServer, certificates: Path, start_howdah: Starter, mode: str
) -> None:
    """Clients without TLS, PostgreSQL with it."""
    howdah = start_howdah(upstream=url(pg15, mode, sslrootcert=certificates / "ca.crt"))
    with howdah.wire("postgres", "user_tls") as wire:
        assert wire.rows(IN_TLS) == [["t"]]


def test_upstream_prefers_tls(pg15: PostgresServer, start_howdah: Starter) -> None:
    howdah = start_howdah(upstream=url(pg15, "prefer"))
    with howdah.wire("postgres", "user_tls") as wire:
        assert wire.rows(IN_TLS) == [["t"]]


def test_upstream_prefers_but_server_has_none(pg18: PostgresServer, start_howdah: Starter) -> None:
    howdah = start_howdah(upstream=url(pg18, "prefer"))
    with howdah.wire("postgres") as wire:
        assert wire.rows("SELECT 1") == [["1"]]


def test_upstream_disabled(pg15: PostgresServer, start_howdah: Starter) -> None:
    howdah = start_howdah(upstream=url(pg15, "disable"))
    with howdah.wire("postgres") as wire:
        assert wire.rows(IN_TLS) == [["f"]]


def test_upstream_must_but_server_has_none(pg18: PostgresServer, start_howdah: Starter) -> None:
    """One clear error for the client, or at start; no hang."""
    howdah = start_howdah(upstream=url(pg18, "require"), ready=False)
    from tests.fix_tools import eventually

    eventually(lambda: "ready listen=" in howdah.log or not howdah.alive)
    if howdah.alive:
        howdah.wait_ready()
        with pytest.raises(psycopg.OperationalError, match=r"(?i)tls|ssl"):
            psycopg.connect(howdah.dsn("postgres"))
    else:
        assert "TLS" in howdah.log or "SSL" in howdah.log


def test_upstream_unknown_authority(pg15: PostgresServer, start_howdah: Starter, tmp_path) -> None:
    from tests.fix_pg import make_certificates

    make_certificates(tmp_path)
    howdah = start_howdah(
        upstream=url(pg15, "verify-full", sslrootcert=tmp_path / "ca.crt"), ready=False
    )
    from tests.fix_tools import eventually

    eventually(lambda: "ready listen=" in howdah.log or not howdah.alive)
    if howdah.alive:
        howdah.wait_ready()
        with pytest.raises(psycopg.OperationalError, match=r"(?i)certificate"):
            psycopg.connect(howdah.dsn("postgres"))


def test_both_hops(both_hops: Howdah, certificates: Path, pg15: PostgresServer) -> None:
    database = pg15.create_database()
    dsn = both_hops.dsn(database, sslmode="verify-full", sslrootcert=certificates / "ca.crt")
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.pgconn.ssl_in_use
        assert connection.execute(IN_TLS).fetchone() == (True,)
        both_hops.warm(database)
        connection.execute("SELECT v FROM public.probe")
        rows = connection.execute("SELECT v FROM public.probe").fetchall()
        assert len(rows) == 10


def test_large_answers_in_tls(both_hops: Howdah) -> None:
    with psycopg.connect(both_hops.dsn("postgres", sslmode="require")) as connection:
        row = connection.execute("SELECT repeat('x', 20000000)").fetchone()
        assert row is not None
        assert len(row[0]) == 20_000_000


def test_plain_clients_are_welcome_too(both_hops: Howdah) -> None:
    with both_hops.wire("postgres") as wire:
        assert wire.rows("SELECT 1") == [["1"]]


def test_plain_bytes_after_ssl_request_are_not_believed(both_hops: Howdah) -> None:
    """Bytes sent before the handshake must not be taken as sent inside TLS (CVE-2021-23214)."""
    from tests.fix_wire import SSL_REQUEST, query, startup

    wire = Wire(both_hops.address)
    wire.send(SSL_REQUEST + startup(user="postgres", database="postgres") + query("SELECT 1"))
    assert wire.closed()
    wire.socket.close()


def test_channel_binding_message(both_hops: Howdah) -> None:
    """SCRAM with channel binding cannot work through two TLS hops: say what can."""
    dsn = both_hops.dsn("postgres", "user_scram", sslmode="require")
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(dsn, password=PASSWORD, channel_binding="require")
    assert "channel" in str(refused.value)


def test_scram_with_channel_binding_disabled(both_hops: Howdah) -> None:
    dsn = both_hops.dsn("postgres", "user_scram", sslmode="require")
    with psycopg.connect(dsn, password=PASSWORD, channel_binding="disable") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("user_scram",)


def test_scram_default_gets_through_or_says_why(both_hops: Howdah) -> None:
    """libpq's default prefers channel binding: it works, or the message names the ways out."""
    dsn = both_hops.dsn("postgres", "user_scram", sslmode="require")
    try:
        psycopg.connect(dsn, password=PASSWORD).close()
    except psycopg.OperationalError as error:
        assert "channel_binding=disable" in str(error)


def test_tls_to_clients_only(pg18: PostgresServer, certificates: Path, start_howdah) -> None:
    howdah = start_howdah(
        *["--tls-certificate", str(certificates / "proxy.crt")],
        *["--tls-key", str(certificates / "proxy.key")],
    )
    dsn = howdah.dsn("postgres", sslmode="verify-full", sslrootcert=certificates / "ca.crt")
    with psycopg.connect(dsn) as connection:
        assert connection.pgconn.ssl_in_use
    # Direct TLS, as libpq 17 and later can do.
    try:
        psycopg.connect(howdah.dsn("postgres", sslmode="require", sslnegotiation="direct")).close()
    except psycopg.OperationalError as error:
        assert "timeout" not in str(error)


def test_bad_certificate_file(start_howdah: Starter, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("nonsense")
    bad = str(tmp_path / "bad.pem")
    howdah = start_howdah("--tls-certificate", bad, "--tls-key", bad, ready=False)
    assert howdah.wait() != 0
    assert "bad.pem" in howdah.log
