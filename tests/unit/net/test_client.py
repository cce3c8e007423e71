"""A client connection from its first byte to its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import struct

import pytest

from proxy.net import tls
from proxy.wire import messages
from tests.unit.net.certificates import make_certificate
from tests.unit.net.fakes import (
    CANCEL,
    GREETING,
    GSS_REQUEST,
    OK,
    SSL_REQUEST,
    bench,
    startup,
)

QUERY = messages.query(b"SELECT 1")


def no_verification() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_bytes_pass_both_ways_and_terminate_closes_both(monkeypatch):
    async with bench(monkeypatch) as b:
        client, server = await b.live()
        client.send(QUERY)
        await server.expect(QUERY)
        server.send(b"answer" + messages.READY_IDLE)
        await client.expect(b"answer" + messages.READY_IDLE)
        client.send(b"hit")
        await client.expect(b"from memory")
        assert (len(b.board.clients), b.board.upstreams) == (1, 1)
        client.send(messages.TERMINATE)
        await server.expect(messages.TERMINATE)
        assert await server.rest() == b""
        assert await client.rest() == b""
        await server.close()
        await b.over()
        counted = b.board.traffic
        assert counted["client_in"] == len(startup() + QUERY + b"hit" + messages.TERMINATE)
        assert counted["upstream_out"] == len(startup() + QUERY + messages.TERMINATE)
        assert counted["upstream_in"] == len(GREETING + b"answer" + messages.READY_IDLE)
        assert counted["client_out"] == counted["upstream_in"] + len(b"from memory")


async def test_what_follows_the_startup_message_waits_for_the_upstream(monkeypatch):
    async with bench(monkeypatch) as b:
        client = await b.connect()
        client.send(startup() + b"early")
        server = await b.server()
        await server.expect(startup() + b"early")


@pytest.mark.parametrize("requests", [[SSL_REQUEST, GSS_REQUEST], [GSS_REQUEST, SSL_REQUEST]])
async def test_encryption_is_declined_byte_by_byte(monkeypatch, requests):
    async with bench(monkeypatch) as b:
        client = await b.connect()
        for request in requests:
            for byte in request:
                client.send(bytes([byte]))
                await client.writer.drain()
            await client.expect(b"N")
        client.send(startup())
        await (await b.server()).expect(startup())


@pytest.mark.parametrize(
    ("sent", "sqlstate"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "08P01"),
        (struct.pack("!ii", 8, 2 << 16), "0A000"),
        (struct.pack("!i", 4), "08P01"),
        (struct.pack("!ii", 13, 196608) + b"user\0", "08P01"),
        (struct.pack("!ii", 9, 196608) + b"\0", "28000"),
        (SSL_REQUEST + SSL_REQUEST, "08P01"),
        (GSS_REQUEST + GSS_REQUEST, "08P01"),
    ],
)
async def test_garbage_gets_one_error(monkeypatch, sent, sqlstate):
    async with bench(monkeypatch) as b:
        client = await b.connect()
        client.send(sent)
        answer = (await client.rest()).lstrip(b"N")
        assert answer[:1] == b"E"
        fields = messages.fields(answer[5:])
        assert (fields["S"], fields["C"]) == ("FATAL", sqlstate)
        await b.over()


async def test_direct_tls_is_closed_with_a_log_line(monkeypatch, caplog):
    async with bench(monkeypatch) as b:
        client = await b.connect()
        with caplog.at_level(logging.WARNING, "howdah"):
            client.send(b"\x16\x03\x01\x00\x05hello")
            assert await client.rest() == b""
        assert "direct TLS" in caplog.text


async def test_a_client_that_says_nothing_is_turned_away(monkeypatch):
    async with bench(monkeypatch, login_timeout=0.01) as b:
        client = await b.connect()
        assert b"timeout" in await client.rest()
        await b.over()


async def test_an_unreachable_upstream_is_named(monkeypatch):
    async with bench(monkeypatch) as b:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            object.__setattr__(b.board.target, "port", port)
            client = await b.connect()
            client.send(startup())
            fields = messages.fields((await client.rest())[5:])
        assert fields["C"] == "57P03"
        assert fields["M"] == (
            f"cannot connect to PostgreSQL at 127.0.0.1:{port}: Connection refused"
        )
        assert b.board.upstream_up is False
        await b.over()


async def test_a_lost_client_is_told_once_and_the_answer_is_read_to_its_end(monkeypatch):
    async with bench(monkeypatch) as b:
        client, server = await b.live()
        client.send(QUERY)
        await server.expect(QUERY)
        client.writer.transport.abort()
        server.send(b"x" * 100_000)
        await server.writer.drain()
        assert b.board.upstreams == 1
        server.send(messages.READY_IDLE)
        assert await server.rest() == b""
        await server.close()
        await b.over()
        assert b.session.calls.count("client_lost") == 1


async def test_a_half_closed_client_gets_its_answer(monkeypatch):
    async with bench(monkeypatch) as b:
        client, server = await b.live()
        client.send(QUERY)
        client.writer.write_eof()
        await server.expect(QUERY)
        server.send(b"answer" + messages.READY_IDLE)
        assert await client.rest() == b"answer" + messages.READY_IDLE
        await server.close()
        await b.over()


async def test_a_last_message_of_the_server_arrives_before_the_end(monkeypatch):
    async with bench(monkeypatch) as b:
        client, server = await b.live()
        fatal = messages.error_response("57P01", "going down")
        server.send(fatal)
        await server.close()
        assert await client.rest() == fatal
        await b.over()
        assert b.session.calls[0] == "server_lost"


async def test_a_defect_in_a_session_harms_no_other(monkeypatch, caplog):
    async with bench(monkeypatch) as b:
        client, server = await b.live()
        other, _ = await b.live()
        with caplog.at_level(logging.CRITICAL, "howdah"):
            client.send(b"crash")
            fields = messages.fields((await client.rest())[5:])
        assert fields["C"] == "XX000"
        assert await server.rest() == b""
        engine = b.board.engine
        assert engine.epochs == ["defect"]  # type: ignore[attr-defined]
        other.send(b"hit")
        await other.expect(b"from memory")


async def test_a_slow_reader_holds_the_server_back(monkeypatch):
    async with bench(monkeypatch) as b:
        client, server = await b.live()
        sent, chunk = 0, b"x" * 65536
        while sent < 64 * 2**20:
            server.send(chunk)
            sent += len(chunk)
            try:
                await asyncio.wait_for(server.writer.drain(), 0.3)
            except TimeoutError:
                break
        assert sent < 64 * 2**20, "the server was never held back"
        server.send(messages.READY_IDLE)
        await asyncio.wait_for(client.reader.readexactly(sent + 6), 20)


async def test_a_slow_server_holds_the_client_back(monkeypatch):
    async with bench(monkeypatch) as b:
        client, server = await b.live()
        sent, chunk = 0, b"x" * 65536
        while sent < 64 * 2**20:
            client.send(chunk)
            sent += len(chunk)
            try:
                await asyncio.wait_for(client.writer.drain(), 0.3)
            except TimeoutError:
                break
        assert sent < 64 * 2**20, "the client was never held back"
        await asyncio.wait_for(server.reader.readexactly(sent), 20)


async def test_answers_from_memory_hold_a_client_back_that_does_not_read(monkeypatch):
    async with bench(monkeypatch) as b:
        client, _ = await b.live()
        session = b.session

        def flood(data: bytes, now: float) -> None:
            session.to_client.append(b"y" * 100 * len(data))

        monkeypatch.setattr(session, "from_client", flood)
        sent, chunk = 0, b"x" * 65536
        while sent < 64 * 2**20:
            client.send(chunk)
            sent += len(chunk)
            try:
                await asyncio.wait_for(client.writer.drain(), 0.3)
            except TimeoutError:
                break
        assert sent < 64 * 2**20, "the client was never held back"
        await asyncio.wait_for(client.reader.readexactly(100 * 65536), 20)


async def test_cancel_reaches_the_sessions_server_and_waits_for_it(monkeypatch):
    async with bench(monkeypatch) as b:
        await b.live()
        canceller = await b.connect()
        canceller.send(CANCEL)
        server = await b.server()
        await server.expect(CANCEL)
        assert b.session.cancelled
        assert not canceller.reader.at_eof()
        await server.close()
        assert await canceller.rest() == b""


async def test_an_unknown_cancel_key_is_passed_on_too(monkeypatch):
    async with bench(monkeypatch) as b:
        canceller = await b.connect()
        canceller.send(CANCEL)
        server = await b.server()
        await server.expect(CANCEL)
        await server.close()
        assert await canceller.rest() == b""
        await b.over()


async def test_draining_turns_new_clients_away(monkeypatch):
    async with bench(monkeypatch) as b:
        b.board.draining = True
        client = await b.connect()
        assert b"57P01" in await client.rest()
        await b.over()


# --- TLS ----------------------------------------------------------------------


async def test_tls_towards_the_client(monkeypatch, tmp_path):
    certificate, key = make_certificate(tmp_path, "howdah")
    context = tls.server_context(str(certificate), str(key))
    async with bench(monkeypatch, server_tls=context) as b:
        client = await b.connect()
        client.send(SSL_REQUEST)
        await client.expect(b"S")
        await client.start_tls(no_verification())
        client.send(startup())
        server = await b.server()
        await server.expect(startup())
        server.send(GREETING)
        await client.expect(GREETING)


async def test_plain_text_behind_an_ssl_request_is_refused(monkeypatch, tmp_path):
    certificate, key = make_certificate(tmp_path, "howdah")
    context = tls.server_context(str(certificate), str(key))
    async with bench(monkeypatch, server_tls=context) as b:
        client = await b.connect()
        client.send(SSL_REQUEST + startup())
        assert b"unencrypted data after SSL request" in await client.rest()


async def test_a_failed_handshake_is_one_log_line(monkeypatch, tmp_path, caplog):
    certificate, key = make_certificate(tmp_path, "howdah")
    context = tls.server_context(str(certificate), str(key))
    async with bench(monkeypatch, server_tls=context) as b:
        client = await b.connect()
        client.send(SSL_REQUEST)
        await client.expect(b"S")
        with caplog.at_level(logging.WARNING, "howdah"):
            client.send(b"not a handshake at all")
            await client.rest()
            await b.over()
        assert "TLS handshake failed" in caplog.text
        assert "Traceback" not in caplog.text


async def test_upstream_without_tls_is_refused_by_require(monkeypatch):
    context = tls.upstream_context("require", None)
    async with bench(monkeypatch, sslmode="require", context=context) as b:
        client = await b.connect()
        client.send(startup())
        server = await b.server()
        await server.expect(SSL_REQUEST)
        server.send(b"N")
        assert b"the server does not support TLS" in await client.rest()
        await b.over()


async def test_prefer_goes_on_without_tls(monkeypatch):
    context = tls.upstream_context("prefer", None)
    async with bench(monkeypatch, sslmode="prefer", context=context) as b:
        client = await b.connect()
        client.send(startup())
        server = await b.server()
        await server.expect(SSL_REQUEST)
        server.send(b"N")
        await server.expect(startup())


async def test_plain_text_behind_the_servers_answer_is_refused(monkeypatch):
    context = tls.upstream_context("require", None)
    async with bench(monkeypatch, sslmode="require", context=context) as b:
        client = await b.connect()
        client.send(startup())
        server = await b.server()
        await server.expect(SSL_REQUEST)
        server.send(b"S" + OK)
        assert b"answer to SSLRequest" in await client.rest()


async def test_tls_upstream_and_channel_binding_in_both(monkeypatch, tmp_path):
    certificate, key = make_certificate(tmp_path, "postgres")
    ours = tls.server_context(str(certificate), str(key))
    context = tls.upstream_context("verify-full", str(certificate))
    assert context is not None
    offer = messages.message(
        b"R", (10).to_bytes(4, "big") + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    )
    first = messages.message(b"p", b"SCRAM-SHA-256-PLUS\0" + (3).to_bytes(4, "big") + b"p=x")
    async with bench(monkeypatch, sslmode="verify-full", context=context, server_tls=ours) as b:
        object.__setattr__(b.board.target, "host", "localhost")
        client = await b.connect()
        client.send(SSL_REQUEST)
        await client.expect(b"S")
        await client.start_tls(no_verification())
        client.send(startup())
        server = await b.server()
        await server.expect(SSL_REQUEST)
        server.send(b"S")
        await asyncio.wait_for(server.writer.start_tls(ours), 5)
        await server.expect(startup())
        server.send(offer)
        await client.expect(offer)
        client.send(first)
        fields = messages.fields((await client.rest())[5:])
        assert fields["C"] == "28000"
        assert "PLUS" in fields["M"]
