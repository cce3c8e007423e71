"""Composition: start, reload and drain without any PostgreSQL behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import socket

import pytest

from proxy.app import Howdah
from proxy.errors import ConfigError
from proxy.settings import Settings
from proxy.units import Address
from proxy.upstream import Upstream
from proxy.wire import messages
from tests.fix_tools import free_port
from tests.unit.net.certificates import make_certificate
from tests.unit.net.fakes import startup

ANY = Address("127.0.0.1", 0)


def settings(**changes) -> Settings:
    nowhere = Upstream(user="howdah", port=free_port())
    made = Settings(upstream=nowhere, listen=(ANY,), http=ANY, drain_timeout=5.0)
    return dataclasses.replace(made, **changes)


@contextlib.asynccontextmanager
async def started(configured: Settings):
    howdah = Howdah(configured)
    await howdah.start()
    try:
        yield howdah
    finally:
        await howdah.drain()


async def connected(howdah: Howdah) -> None:
    """Wait until Howdah has taken a client."""
    async with asyncio.timeout(5):
        while not howdah.board.clients:
            await asyncio.sleep(0.001)


async def test_it_starts_without_its_upstream_and_says_so(caplog):
    configured = settings()
    with caplog.at_level(logging.INFO, "howdah"):
        async with started(configured) as howdah:
            (listen,), (http,) = howdah.addresses.listen, howdah.addresses.http
            assert f"ready listen={listen} http={http} contract=proxied" in caplog.messages
            reader, writer = await asyncio.open_connection(*listen.split(":"))
            writer.write(startup())
            fields = messages.fields((await reader.read())[5:])
            writer.close()
            assert fields["C"] == "57P03"
            status = howdah.status()
            assert not status.ready
            assert f"127.0.0.1:{configured.upstream.port} is not reachable" in status.problems[0]
            reader, writer = await asyncio.open_connection(*http.split(":"))
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
            assert head.split()[1] == b"503"
            assert json.loads(body)["cache"] == "off: the server is not identified yet"
    assert "Traceback" not in caplog.text


async def test_a_taken_address_leaves_nothing_bound(tmp_path):
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        configured = settings(
            listen=(Address("127.0.0.1", port), Address(*taken.getsockname())),
            unix_socket=str(tmp_path),
        )
        with pytest.raises(ConfigError, match=r"^--listen .*: address already in use"):
            await Howdah(configured).start()
    with socket.create_server(("127.0.0.1", port)):
        pass
    assert list(tmp_path.iterdir()) == []


async def test_the_unix_socket_goes_with_it(tmp_path):
    async with started(settings(unix_socket=str(tmp_path))) as howdah:
        assert howdah.addresses.unix is not None
        port = howdah.addresses.listen[0].rpartition(":")[2]
        assert howdah.addresses.unix == f"{tmp_path}/.s.PGSQL.{port}"
        _, writer = await asyncio.open_unix_connection(howdah.addresses.unix)
        await connected(howdah)
        writer.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_bad_file_keeps_the_old_settings_and_a_good_one_is_taken(caplog):
    answers: list[Settings | ConfigError] = []

    def read() -> Settings:
        answer = answers.pop(0)
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    first = settings(reload=read)
    async with started(first) as howdah:
        answers.append(ConfigError("howdah.yaml:3:1: unknown key 'rule'"))
        await howdah.reload()
        assert howdah.settings is first
        assert "configuration not reloaded: howdah.yaml:3:1" in howdah.status().problems[0]
        assert b"howdah_config_errors 1.0" in howdah._metrics_text()
        answers.append(dataclasses.replace(first, max_age=5.0))
        with caplog.at_level(logging.WARNING, "howdah"):
            await howdah.reload()
        assert "needs a restart to take effect: max_age" in caplog.text
        assert b"howdah_config_errors 0.0" in howdah._metrics_text()


async def test_a_changed_file_is_noticed(tmp_path):
    path = tmp_path / "howdah.yaml"
    path.write_text("one")
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()
    configured = settings(config_path=str(path))

    def read() -> Settings:
        loop.call_soon_threadsafe(seen.set)
        return configured

    async with started(dataclasses.replace(configured, reload=read)):
        async with asyncio.timeout(20):
            while not seen.is_set():
                # The watch begins a moment after the start: write until it has seen one.
                replacement = tmp_path / "howdah.yaml.new"
                replacement.write_text("two")
                replacement.rename(path)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(seen.wait(), 0.3)


async def test_draining_turns_waiting_clients_away():
    async with started(settings()) as howdah:
        host, _, port = howdah.addresses.listen[0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await connected(howdah)
        await howdah.drain()
        assert messages.fields((await reader.read())[5:])["C"] == "57P01"
        writer.close()
        with pytest.raises(OSError):
            await asyncio.open_connection(host, int(port))


def test_unusable_tls_files_are_named(tmp_path):
    certificate, _ = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "two")
    with pytest.raises(ConfigError, match=r"--tls-certificate .*one.crt, --tls-key .*two.key"):
        Howdah(settings(tls_certificate=str(certificate), tls_key=str(other)))
    needs_roots = dataclasses.replace(settings().upstream, sslmode="verify-full", sslrootcert="/x")
    with pytest.raises(ConfigError, match="sslrootcert=/x: no such file"):
        Howdah(settings(upstream=needs_roots))
