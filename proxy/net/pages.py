"""The dashboard's files, as they are in the package: `/` and `/static/<name>`.

What lives here: reading them once, and the headers that keep a browser to them. What
must not: their content; `proxy/admin/dashboard/` has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_KINDS = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_INDEX = "index.html"
# Nothing from elsewhere, no inline script, no form that leaves, in nobody's frame.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # A browser asks each time and is told that nothing has changed: files of two versions
    # of Howdah never meet on one page.
    "cache-control": "no-cache",
}


class _File(NamedTuple):
    body: bytes
    headers: Mapping[str, str]


def _files() -> dict[str, _File]:
    found = {}
    for path in resources.files("proxy.admin").joinpath("dashboard").iterdir():
        kind = _KINDS.get(path.name.rpartition(".")[2])
        if kind is not None:
            body = path.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found[path.name] = _File(body, {**_HEADERS, "content-type": kind, "etag": tag})
    return found


def routes() -> list[Route]:
    """The front page and what it loads."""
    files = _files()

    def answer(request: Request, name: str) -> Response:
        file = files.get(name)
        if file is None:
            raise HTTPException(404)
        if request.headers.get("if-none-match") == file.headers["etag"]:
            return Response(status_code=304, headers=file.headers)
        return Response(file.body, headers=file.headers)

    async def index(request: Request) -> Response:
        return answer(request, _INDEX)

    async def static(request: Request) -> Response:
        return answer(request, request.path_params["name"])

    return [Route("/", index), Route("/static/{name}", static)]
