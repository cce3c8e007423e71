"""Whether a browser has been led here by a stranger's name.

What lives here: the check of the Host header. What must not: logins; HTTP has none.

A page that an operator looks at may come from a name that soon afterwards means 127.0.0.1
("DNS rebinding"): the browser then lets it read what Howdah says to this machine alone. Such
a request still carries the name. So whoever comes by a loopback address must ask for a name
that no stranger can own: an address, localhost, or a name without a dot.

/metrics, /healthz and /readyz are left out: they show no statements, and are asked by programs
behind proxies that pass any name on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from ipaddress import ip_address
from typing import Any

from starlette.responses import JSONResponse

_OPEN = ("/metrics", "/healthz", "/readyz")

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class OwnNames:
    """Middleware that turns requests away which a stranger may have caused."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            server = scope.get("server")
            asked = _host(scope)
            if server is not None and is_loopback(server[0]) and not is_own(asked):
                error = f"Howdah is not {asked!r} to those who come by a loopback address"
                hint = "Ask for localhost or 127.0.0.1; a proxy in front must send such a Host."
                refusal = JSONResponse({"error": error, "hint": hint}, status_code=403)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _host(scope: Scope) -> str:
    """The name that is asked for, without the port; empty where the client says none."""
    found = [value for name, value in scope["headers"] if name == b"host"]
    text = str(found[0].decode("latin-1")).strip().lower() if found else ""
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        return address if rest[:1] in ("", ":") else text
    return text.partition(":")[0].removesuffix(".")


def is_loopback(address: str) -> bool:
    """Whether an address leads to this machine alone."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return found.is_loopback if mapped is None else bool(mapped.is_loopback)


def is_own(name: str) -> bool:
    """Whether a name is an address, or one that nobody can register."""
    if "." not in name or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
