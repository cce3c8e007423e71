"""The upstream URL, as libpq writes it, and the password file.

What lives here: text to an immutable `Upstream`. What must not: opening
connections, reading files or the environment (both come in as arguments).

Follows the chapter "Connection Strings" and "The Password File" of the
PostgreSQL documentation, for the parameters that Howdah knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from proxy import units

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PARAMETERS = ("host", "port", "user", "password", "dbname", "sslmode", "sslrootcert")
_DEFAULT_PORT = 5432
# Four fields that end at a colon which is not escaped; the rest is the password.
_PASSWORD_LINE = re.compile(r"((?:\\.|[^\\:])*):" * 4 + "(.*)")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where PostgreSQL is, and Howdah's own login there.

    Attributes:
        user: Howdah's own role.
        password: its password, None where none is known. Never shown.
        host: name or address; for a Unix socket it is empty.
        port: TCP port, or the number in the socket's name.
        dbname: the database that Howdah's own connection uses for what is not
            bound to one database.
        socket_dir: directory of the Unix socket, None for TCP.
        sslmode: one of `SSL_MODES`, as in libpq; a socket never uses TLS.
        sslrootcert: path of the authorities' certificates, `system`, or None.
    """

    user: str
    host: str = "127.0.0.1"
    port: int = _DEFAULT_PORT
    dbname: str = "postgres"
    socket_dir: str | None = None
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """The URL without its password."""
        if self.socket_dir is not None:
            where, query = "", f"?host={quote(self.socket_dir, safe='/')}&port={self.port}"
        else:
            where, query = str(units.Address(self.host, self.port)), f"?sslmode={self.sslmode}"
        return f"postgresql://{quote(self.user)}@{where}/{quote(self.dbname)}{query}"

    @property
    def address(self) -> str:
        """Where it is, for messages: `host:port` or the path of the socket."""
        if self.socket_dir is not None:
            return f"{self.socket_dir}/.s.PGSQL.{self.port}"
        return str(units.Address(self.host, self.port))


def parse_upstream(text: str) -> Upstream:
    """Read `postgresql://role:password@host:port/dbname?sslmode=...`.

    Raises:
        ValueError: not such a URL; the message never quotes the password.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator or scheme not in ("postgresql", "postgres"):
        raise ValueError("not a URL of the form postgresql://role@host:port/dbname")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    login, _, location = authority.rpartition("@")
    parts = dict(_location(location))
    user, colon, password = login.partition(":")
    if user:
        parts["user"] = _decode(user)
    if colon and password:
        parts["password"] = _decode(password)
    if path:
        parts["dbname"] = _decode(path)
    parts.update(_query(query))
    return _build(parts)


def _location(text: str) -> Iterator[tuple[str, str]]:
    if "," in text:
        raise ValueError("several hosts are not supported: name the primary")
    host, port = text, ""
    if match := re.fullmatch(r"\[([^\]]*)\](?::(\d*))?", text):
        host, port = match[1], match[2] or ""
    elif ":" in text:
        host, _, port = text.partition(":")
    if host:
        yield "host", _decode(host)
    if port:
        yield "port", port


def _query(text: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, text.split("&")):
        name, equals, value = pair.partition("=")
        if name not in _PARAMETERS:
            near = units.suggestion(name, _PARAMETERS) or f"; known are {', '.join(_PARAMETERS)}"
            raise ValueError(f"unknown parameter {name!r} in the URL{near}")
        if not equals:
            raise ValueError(f"parameter {name!r} in the URL has no value")
        yield name, _decode(value)


def _build(parts: dict[str, str]) -> Upstream:
    if not parts.get("user"):
        raise ValueError("no role: name Howdah's own role, as in postgresql://howdah@host/dbname")
    port = parts.get("port", str(_DEFAULT_PORT))
    if re.fullmatch(r"\d{1,5}", port, re.ASCII) is None or not 0 < int(port) < 65536:
        raise ValueError(f"{port!r} is not a port (1 to 65535)")
    mode = parts.get("sslmode", "prefer")
    if mode not in SSL_MODES:
        raise ValueError(f"unknown sslmode {mode!r}; known are {', '.join(SSL_MODES)}")
    host = parts.get("host") or "127.0.0.1"
    is_socket = host.startswith(("/", "@"))
    return Upstream(
        user=parts["user"],
        password=parts.get("password") or None,
        host="" if is_socket else host,
        port=int(port),
        dbname=parts.get("dbname") or "postgres",
        socket_dir=host if is_socket else None,
        sslmode="disable" if is_socket else mode,
        sslrootcert=parts.get("sslrootcert") or None,
    )


def _decode(text: str) -> str:
    if re.search(r"%(?![0-9a-fA-F]{2})", text):
        raise ValueError("a % in the URL is not followed by two hexadecimal digits; write %25")
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("a part of the URL is not UTF-8 after its % signs are decoded") from None
    if any(ord(character) < 32 for character in decoded):
        raise ValueError("a part of the URL contains a control character")
    return decoded


def password_from_file(content: str, upstream: Upstream) -> str | None:
    """Find the password in the text of a libpq password file.

    Lines are `host:port:database:user:password`, `*` matches anything, `\\` escapes
    the next character, the first line that matches counts.
    """
    host = upstream.socket_dir
    hosts = {upstream.host} if host is None else {host, "localhost"}
    wanted = [
        hosts | {"*"},
        {str(upstream.port), "*"},
        {upstream.dbname, "*"},
        {upstream.user, "*"},
    ]
    for line in content.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = _PASSWORD_LINE.fullmatch(line)
        if match is None:
            continue
        values = [re.sub(r"\\(.)", r"\1", value) for value in match.groups()]
        if all(value in allowed for value, allowed in zip(values[:4], wanted, strict=True)):
            return values[4] or None
    return None
