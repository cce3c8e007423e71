"""Listening: TCP addresses and the Unix socket, with errors that name the flag.

What lives here: making sockets, and telling a stale socket file from one in use.
What must not: what is spoken on them.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy.errors import ConfigError

_BACKLOG = 1024


def format_address(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(flag: str, host: str, port: int) -> list[socket.socket]:
    """Bind `host` (a name, an address, or `*` for all) on every address it has.

    With port 0 all of them get the same free port.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    where = f"{flag} {format_address(host, port)}"
    try:
        found = socket.getaddrinfo(
            None if host in ("*", "") else host,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except socket.gaierror as error:
        raise ConfigError(f"{where}: {error.strerror}") from None
    bound: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(found):
            chosen = bound[0].getsockname()[1] if bound else port
            sock = socket.socket(family, kind, proto)
            bound.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], chosen, *address[2:]))
            sock.listen(_BACKLOG)
            sock.setblocking(False)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise ConfigError(f"{where}: {os.strerror(error.errno or 0).lower()}") from None
    return bound


def bind_unix(flag: str, directory: str, port: int) -> tuple[socket.socket, Path]:
    """Listen on `directory`/.s.PGSQL.`port`, as PostgreSQL names it.

    A file that nobody listens on any more is replaced; its mode is 0777 as in
    PostgreSQL, the directory's rights decide who may connect.

    Raises:
        ConfigError: somebody listens there, or the file cannot be made.
    """
    path = Path(directory) / f".s.PGSQL.{port}"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            if _answers(path):
                raise ConfigError(f"{flag} {path}: somebody else listens there")
            path.unlink()
        sock.bind(str(path))
        path.chmod(0o777)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ConfigError(f"{flag} {path}: {reason}") from None
    except ConfigError:
        sock.close()
        raise
    return sock, path


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


async def serve(
    sockets: Sequence[socket.socket], factory: Callable[[], asyncio.Protocol]
) -> list[asyncio.AbstractServer]:
    """Accept connections on bound sockets; each gets a protocol of `factory`."""
    loop = asyncio.get_running_loop()
    return [
        await loop.create_server(factory, sock=sock, backlog=_BACKLOG)
        if sock.family != socket.AF_UNIX
        else await loop.create_unix_server(factory, sock=sock, backlog=_BACKLOG)
        for sock in sockets
    ]
