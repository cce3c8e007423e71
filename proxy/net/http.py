"""HTTP: /metrics, /healthz, /readyz and a page with links, in the same event loop.

What lives here: routes and the server. What must not: what healthy means; `proxy.app`
says so through `Status`.
"""

from __future__ import annotations

import contextlib
import html
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy.metrics import CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class Status:
    """What /readyz says.

    Attributes:
        ready: clients are served: the upstream was reached the last time.
        contract: the freshness contract that holds.
        cache: `on`, or why nothing is answered from memory yet.
        problems: one sentence each, empty when all is well.
    """

    ready: bool
    contract: str
    cache: str
    problems: list[str] = field(default_factory=list)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: Howdah's drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Howdah</title>
<h1>Howdah</h1>
<p>{state}</p>
<ul><li><a href="/metrics">/metrics</a> for Prometheus</li>
<li><a href="/healthz">/healthz</a>: the process runs</li>
<li><a href="/readyz">/readyz</a>: clients are served</li></ul>
"""


def application(metrics: Callable[[], bytes], status: Callable[[], Status]) -> Starlette:
    """The routes over two functions: the metrics' text and the present status."""

    async def show_metrics(_: Request) -> Response:
        return Response(metrics(), headers={"content-type": CONTENT_TYPE})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        now = status()
        return JSONResponse(asdict(now), status_code=200 if now.ready else 503)

    async def index(_: Request) -> Response:
        now = status()
        state = "ready" if now.ready else "not ready"
        words = [state, f"contract {now.contract}", f"cache {now.cache}", *now.problems]
        return HTMLResponse(_PAGE.format(state=html.escape("; ".join(words))))

    return Starlette(
        routes=[
            Route("/", index),
            Route("/metrics", show_metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ]
    )


def make_server(app: Any) -> uvicorn.Server:
    """A server for bound sockets: `await server.serve(sockets=...)`; ends on `should_exit`."""
    config = uvicorn.Config(
        app,
        loop="none",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    return _Server(config)
