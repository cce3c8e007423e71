"""A running Howdah, asked over HTTP: what the commands of an operator have in common.

What lives here: addresses, requests, and errors in one sentence. What must not: what the
answers mean. See `proxy.admin.api` for the paths.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterable
from typing import Any

from proxy.errors import ConfigError, HowdahError

DEFAULT = "127.0.0.1:9432"
TIMEOUT = 10.0  # seconds

Row = dict[str, Any]


def get(address: str, path: str, **parameters: object) -> Any:
    """The JSON behind `path`; parameters that are None are left out.

    Raises:
        ConfigError: `address` is none.
        HowdahError: Howdah is not there, or says no; one sentence.
    """
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    query = f"?{urllib.parse.urlencode(given)}" if given else ""
    return _ask(address, "GET", path + query, None)


def post(address: str, path: str, body: Any) -> Any:
    """The JSON of the answer to the JSON `body`; raises as `get` does."""
    return _ask(address, "POST", path, json.dumps(body).encode())


def rows(
    address: str,
    view: str,
    *,
    columns: Iterable[str] = (),
    where: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
) -> list[Row]:
    """The rows of a view, each by the names of its columns; raises as `get` does.

    Args:
        columns: those that are wanted; all of them where none is named.
        where, order_by: as in SQL.
    """
    path = f"/api/show/{urllib.parse.quote(view)}"
    wanted = ", ".join(columns) or None
    answer = get(address, path, columns=wanted, where=where, order_by=order_by, limit=limit)
    names = [column["name"] for column in answer["columns"]]
    return [dict(zip(names, row, strict=True)) for row in answer["rows"]]


def _ask(address: str, method: str, path: str, body: bytes | None) -> Any:
    host, port = _place(address)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    headers = {"accept": "application/json"}
    if body is not None:
        headers["content-type"] = "application/json"
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise HowdahError(
            f"no Howdah answers at http://{host}:{port}: {_why(error)}",
            hint="name its HTTP address with --http; `howdah serve` shows it in the line `ready`",
        ) from None
    finally:
        connection.close()
    try:
        result = json.loads(text)
    except ValueError:
        raise HowdahError(f"http://{host}:{port}{path} does not answer as Howdah does") from None
    if status != 200:
        problem = result.get("error", f"status {status}") if isinstance(result, dict) else status
        hint = result.get("hint") if isinstance(result, dict) else None
        raise HowdahError(str(problem), hint=hint)
    return result


def _place(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `http://host:port/`."""
    parts = urllib.parse.urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port or 9432
    except ValueError:
        host, port = None, 0
    if not host or parts.scheme not in ("", "http"):
        raise ConfigError(f"--http: {address!r} is not an address as in {DEFAULT}")
    return host, port


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
