"""The HTTP pages, asked over a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from proxy import tasks
from proxy.admin.api import Answer
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
        "warnings": [],
    }


async def test_health_and_unknown_pages(ask):
    assert (await ask("/healthz"))[0] == 200
    assert (await ask("/nothing"))[0] == 404


class FakeApi:
    """Says what it was asked."""

    def get(self, path, query):
        return Answer(200 if path == "state" else 404, {"path": path, "query": dict(query)})

    def post(self, path, body):
        return Answer(400, {"path": path, "size": len(body)})


async def exchange(server_port, request: bytes) -> tuple[int, str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server_port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


async def test_the_api_is_mounted():
    (sock,) = listener.bind("--http", "127.0.0.1", 0)
    port = sock.getsockname()[1]
    api: Any = FakeApi()
    status = http.Status(True, "proxied", "on")
    server = http.make_server(http.application(lambda: b"", lambda: status, api))
    task = tasks.spawn(server.serve(sockets=[sock]), "http")

    async def ask(method: str, path: str, body: bytes = b"") -> tuple[int, str, str]:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        return await exchange(port, head.encode() + body)

    try:
        code, head, body = await ask("GET", "/api/state?where=a%20%3D%20%27b%27")
        assert (code, json.loads(body)) == (200, {"path": "state", "query": {"where": "a = 'b'"}})
        assert "cache-control: no-store" in head
        assert "access-control" not in head
        code, _, body = await ask("GET", "/api/show/x/y")
        assert (code, json.loads(body)["path"]) == (404, "show/x/y")
        code, _, body = await ask("POST", "/api/explain", b"x" * 1000)
        assert (code, json.loads(body)["size"]) == (400, 1000)
        code, _, body = await ask("POST", "/api/explain", b"x" * ((1 << 20) + 1))
        assert (code, json.loads(body)) == (413, {"error": "the body is too long"})
        for method in ("PUT", "DELETE", "PATCH"):
            assert (await ask(method, "/api/state"))[0] == 405
    finally:
        server.should_exit = True
        await asyncio.wait_for(task, 5)
