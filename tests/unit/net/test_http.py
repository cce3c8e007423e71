"""The HTTP pages, asked over a real socket."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy import tasks
from proxy.net import http, listener


@pytest.fixture
async def ask():
    """`ask(path)` -> status, content type, body; `ask.status` is what /readyz is told."""
    (sock,) = listener.bind("--http", "127.0.0.1", 0)
    port = sock.getsockname()[1]
    now = [http.Status(True, "proxied", "on")]
    server = http.make_server(http.application(lambda: b"metrics 1\n", lambda: now[0]))
    task = tasks.spawn(server.serve(sockets=[sock]), "http")

    async def get(path):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        head, _, body = answer.decode().partition("\r\n\r\n")
        kind = next(line for line in head.splitlines() if line.lower().startswith("content-type"))
        return int(head.split()[1]), kind.partition(": ")[2], body

    get.status = now  # type: ignore[attr-defined]
    yield get
    server.should_exit = True
    await asyncio.wait_for(task, 5)


async def test_metrics_have_prometheus_content_type(ask):
    assert await ask("/metrics") == (
        200,
        "text/plain; version=0.0.4; charset=utf-8",
        "metrics 1\n",
    )


async def test_ready_or_not(ask):
    code, _, body = await ask("/readyz")
    assert (code, json.loads(body)["cache"]) == (200, "on")
    ask.status[0] = http.Status(False, "proxied", "off", ["PostgreSQL is <away>"])
    code, _, body = await ask("/readyz")
    assert code == 503
    assert json.loads(body) == {
        "ready": False,
        "contract": "proxied",
        "cache": "off",
        "problems": ["PostgreSQL is <away>"],
    }
    _, _, page = await ask("/")
    assert "not ready" in page
    assert "&lt;away&gt;" in page


async def test_health_and_unknown_pages(ask):
    assert (await ask("/healthz"))[0] == 200
    assert (await ask("/nothing"))[0] == 404
