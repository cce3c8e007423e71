"""The dashboard's files: what they are sent with, and that they need nothing else."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from importlib import resources
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.applications import Starlette

from proxy.net import pages

FILES = {
    path.name: path.read_text(encoding="utf-8")
    for path in resources.files("proxy.admin").joinpath("dashboard").iterdir()
}
APPLICATION = Starlette(routes=list(pages.routes()))


async def get(path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a GET."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    names = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": unquote(path), "query_string": b""}
    await APPLICATION({**scope, "headers": names}, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(part.get("body", b"") for part in sent[1:])


@pytest.mark.parametrize("path", ["/", *(f"/static/{name}" for name in FILES)])
async def test_files_are_sent_with_a_strict_policy(path):
    status, headers, body = await get(path)
    assert status == 200
    assert body == FILES[path.rpartition("/")[2] or "index.html"].encode()
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_browser_that_has_it_gets_nothing_again():
    _, headers, _ = await get("/static/app.js")
    status, again, body = await get("/static/app.js", if_none_match=headers["etag"])
    assert (status, body, again["etag"]) == (304, b"", headers["etag"])
    status, _, body = await get("/static/app.js", if_none_match='"another"')
    assert (status, body != b"") == (200, True)


@pytest.mark.parametrize(
    "path", ["/static/none.js", "/static/", "/static/../http.py", "/static/%2e%2e%2fhttp.py"]
)
async def test_nothing_else_is_sent(path):
    status, _, _ = await get(path)
    assert status == 404


def test_every_file_that_is_named_is_there():
    page = FILES["index.html"]
    named = re.findall(r'(?:href|src)="/static/([^"]+)"', page)
    for name, text in FILES.items():
        if name.endswith(".js"):
            named += re.findall(r'from "\./([^"]+)"', text)
    assert set(named) | {"index.html"} == set(FILES)


def test_nothing_comes_from_elsewhere():
    for name, text in FILES.items():
        links = set(re.findall(r"https?://[^\"'\s)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert links == set(), name
        assert "@import" not in text


def test_the_page_has_no_inline_script_or_style():
    page = FILES["index.html"]
    assert re.findall(r"<[^>]*\s(on\w+|style)=", page) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
    assert "<style" not in page
    for name, text in FILES.items():
        if name.endswith(".js"):
            # Texts of statements must not become markup.
            assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(", text) == [], name


def test_what_the_scripts_look_for_is_on_the_page():
    there = set(re.findall(r'\sid="([^"]+)"', FILES["index.html"]))
    for name, text in FILES.items():
        wanted = set(re.findall(r'byId\("([^"$]+)"\)', text))
        assert wanted <= there, name
