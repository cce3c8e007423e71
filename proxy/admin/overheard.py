"""What a client sends, in words, values included: for `log_parameters`.

What lives here: finding the messages that carry statements and values in a stream, and
how they are shown. What must not: writing the log, or anything of what the statements do.
Passwords are not shown: messages of the authentication never, and a statement that
speaks of a password only without its values.

Follows "Message Formats" of the protocol chapter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.errors import ProtocolError
from proxy.sql import normal
from proxy.wire import messages
from proxy.wire.framing import HEADER, client_header

# Bytes of a message that is looked at, and characters that are shown of a text and a value.
LIMIT = 64 * 1024
TEXT = 4_000
VALUE = 200

_QUERY, _PARSE, _BIND = b"QPB"
# Names that are remembered of statements that speak of a password.
_NAMES = 1_000
_SECRET = re.compile(r"passw|secret|credential|pgp_sym|crypt\s*\(", re.IGNORECASE)
# Statements that SQL itself prepares, and where they are run: names as they stand there.
_NAME = r"\s+(\"(?:[^\"]|\"\")+\"|[^\W\d][\w$]*)"
_PREPARES = re.compile(rf"\bPREPARE{_NAME}", re.IGNORECASE)
_EXECUTES = re.compile(rf"\bEXECUTE{_NAME}", re.IGNORECASE)
_HIDDEN = "not shown, since the statement speaks of a secret"


class Overheard:
    """The requests of one client, one line each."""

    def __init__(self) -> None:
        self._tail = b""
        self._skip = 0
        self._secret: set[bytes] = set()
        self._too_many = False  # to remember which: any may be

    def lines(self, chunk: bytes) -> Iterator[str]:
        """What the messages say that end in `chunk`; those too long to be looked at say so."""
        data = self._tail + chunk
        self._tail = b""
        at = min(self._skip, len(data))
        self._skip -= at
        while len(data) - at >= HEADER:
            try:
                kind, size = client_header(data, at)
            except ProtocolError:
                return  # the session ends over it
            carries = kind in (_QUERY, _PARSE, _BIND)
            if carries and size <= LIMIT and at + size > len(data):
                break
            if carries:
                try:
                    yield self._line(kind, data[at + HEADER : at + min(size, LIMIT)], size)
                except ProtocolError:
                    return
            self._skip = max(0, at + size - len(data))
            at = min(at + size, len(data))
        self._tail = data[at:]

    def _line(self, kind: int, payload: bytes, size: int) -> str:
        if size > LIMIT:
            what = {_QUERY: "query", _PARSE: "parse", _BIND: "bind"}[kind]
            if kind == _PARSE:
                # Nobody has looked at what it speaks of.
                self._keep(messages.cut_name(payload)[0], True)
            return f"{what} of {size} bytes"
        if kind == _QUERY:
            return f"query {self._text(payload[:-1])[0]}"
        name, at = messages.cut_name(payload)
        if kind == _PARSE:
            text, secret = self._text(payload[at : payload.find(b"\x00", at)])
            self._keep(name, secret)
            return f"parse{_named(name)} {text}"
        statement, at = messages.cut_name(payload, at)
        if self._is_secret(statement):
            return f"bind{_named(statement)} with values {_HIDDEN}"
        return f"bind{_named(statement)} with ({', '.join(_values(payload, at))})"

    def _is_secret(self, name: bytes) -> bool:
        return name in self._secret or (self._too_many and bool(name))

    def _keep(self, name: bytes, secret: bool) -> None:
        self._secret.discard(name)
        if secret and name and len(self._secret) >= _NAMES:
            self._too_many = True
        elif secret:
            self._secret.add(name)

    def _text(self, raw: bytes) -> tuple[str, bool]:
        text = raw.decode("utf-8", "replace")
        secret = _SECRET.search(text) is not None
        if secret:
            for name in _PREPARES.findall(text):
                self._keep(_folded(name), True)
        if secret or any(self._is_secret(_folded(name)) for name in _EXECUTES.findall(text)):
            return normal.normal(text)[:TEXT] or f"(text {_HIDDEN})", secret
        return _cut(text, TEXT), False


def _folded(name: str) -> bytes:
    """A name of SQL as the protocol has it."""
    found = name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
    return found.encode()


def _named(name: bytes) -> str:
    return f" {name.decode('utf-8', 'replace')}:" if name else ""


def _values(payload: bytes, at: int) -> Iterator[str]:
    """The parameters of a Bind, from its list of formats on, as literals."""

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(payload[at - size : at], "big", signed=True)

    formats = [number(2) for _ in range(number(2))]
    for place in range(number(2)):
        length = number(4)
        if length < 0:
            yield "NULL"
            continue
        value = payload[at : at + length]
        at += length
        binary = formats[place] if place < len(formats) else formats[0] if formats else 0
        if binary:
            yield f"'\\x{_cut(value.hex(), VALUE)}'"
        else:
            shown = _cut(value.decode("utf-8", "replace"), VALUE)
            yield "'" + shown.replace("'", "''") + "'"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
