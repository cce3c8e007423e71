"""HTTP in the same event loop: /metrics, /healthz, /readyz, the API, the dashboard.

What lives here: routes and the server. What must not: what healthy means; `proxy.app`
says so through `Status`; and what the API answers, see `admin.api`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy.admin.api import Answer, Api
from proxy.admin.house import Status as Status
from proxy.metrics import CONTENT_TYPE
from proxy.net import pages
from proxy.net.hosts import OwnNames


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: Howdah's drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Json(JSONResponse):
    """JSON of texts that come from clients, too: names may be in any encoding."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


# Bytes of a request's body. Statements are short.
_BODY_LIMIT = 1 << 20
# What the API tells is about now, and may be about statements that others should not see.
_HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


def application(
    metrics: Callable[[], bytes], status: Callable[[], Status], api: Api | None = None
) -> Starlette:
    """The routes.

    Args:
        metrics: the metrics' text. status: the present one.
        api: what /api answers; None for none.
    """

    async def show_metrics(_: Request) -> Response:
        return Response(metrics(), headers={"content-type": CONTENT_TYPE})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        now = status()
        return _Json(asdict(now), status_code=200 if now.ready else 503)

    routes = [
        Route("/metrics", show_metrics),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        *pages.routes(),
    ]
    if api is not None:
        routes.append(_api(api))
    return Starlette(
        routes=routes,
        middleware=[Middleware(OwnNames)],
        exception_handlers={HTTPException: _refused},
    )


async def _refused(request: Request, error: Exception) -> Response:
    """A page or method that is not there; to users of the API in its own form."""
    assert isinstance(error, HTTPException)
    if request.scope["path"].startswith("/api"):
        answer = _json(Answer(error.status_code, {"error": error.detail}))
        answer.headers.update(error.headers or {})
        return answer
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=error.headers)


def _api(api: Api) -> Route:
    async def answer(request: Request) -> Response:
        path = request.path_params["path"]
        if request.method == "POST":
            try:
                body = await _body(request)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is there to read it
            if body is None:
                return _json(Answer(413, {"error": "the body is too long"}))
            return _json(api.post(path, body))
        return _json(api.get(path, request.query_params))

    return Route("/api/{path:path}", answer, methods=["GET", "POST"])


async def _body(request: Request) -> bytes | None:
    """The body of a request; None where it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_LIMIT:
            return None
    return body


def _json(answer: Answer) -> Response:
    return _Json(answer.document, status_code=answer.status, headers=_HEADERS)


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
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    return _Server(config)
