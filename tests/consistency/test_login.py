"""The checker logs in by each method of PostgreSQL, and tells a refusal from an absence."""

from __future__ import annotations

import pytest

from proxy.consistency import styles
from proxy.consistency.link import Lost, open_link
from proxy.errors import UpstreamError
from proxy.upstream import Upstream
from tests.fix_pg import AUTHENTICATED, PASSWORD, PostgresServer


def where(server: PostgresServer, user: str, password: str | None, database: str) -> Upstream:
    return Upstream(user, server.host, server.port, database, sslmode="disable", password=password)


@pytest.mark.parametrize("user", AUTHENTICATED)
async def test_methods(postgres: PostgresServer, database: str, user: str) -> None:
    link = await open_link(where(postgres, user, PASSWORD, database), "checker")
    reply = await styles.extended(link, "SELECT current_user, $1::int", 7)
    assert reply.rows == [[user.encode(), b"7"]]
    assert reply.begin < reply.end
    link.close()


@pytest.mark.parametrize("user", AUTHENTICATED)
async def test_wrong_password(postgres: PostgresServer, database: str, user: str) -> None:
    with pytest.raises(UpstreamError, match="28P01"):
        await open_link(where(postgres, user, "wrong", database), "checker")


async def test_no_password(postgres: PostgresServer, database: str) -> None:
    with pytest.raises(UpstreamError, match="a password is needed"):
        await open_link(where(postgres, "user_scram", None, database), "checker")


async def test_no_database(postgres: PostgresServer) -> None:
    with pytest.raises(UpstreamError, match="3D000"):
        await open_link(where(postgres, "postgres", None, "nowhere"), "checker")


async def test_nobody_there() -> None:
    with pytest.raises(Lost):
        await open_link(Upstream("postgres", "127.0.0.1", 1, sslmode="disable"), "checker")


async def test_terminated_backend_is_lost(postgres: PostgresServer, database: str) -> None:
    link = await open_link(where(postgres, "postgres", None, database), "checker")
    with pytest.raises(Lost):
        await styles.simple(link, "SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(Lost):
        await styles.simple(link, "SELECT 1")
    assert not link.alive


@pytest.mark.parametrize("style", styles.READ_STYLES)
async def test_styles_give_the_same_rows(
    postgres: PostgresServer, database: str, style: str
) -> None:
    link = await open_link(where(postgres, "postgres", None, database), "checker")
    sql = "SELECT id, v FROM probe WHERE id = $1"
    for _ in range(2):
        reply = await styles.read(link, style, sql, (3,))
        assert not reply.errors
        rows = styles.integers(reply, style == "binary")
        assert rows == [[3, 0]] * (2 if style == "pipelined" else 1)
        assert link.status == "I"
    link.close()
