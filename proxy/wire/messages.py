"""The messages that Howdah makes or must read, as bytes.

Follows "Message Formats" of the protocol chapter. DataRows are never decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from proxy.errors import ProtocolError

_LENGTH = struct.Struct("!i")
_SHORT = struct.Struct("!h")

SYNC = b"S\x00\x00\x00\x04"
TERMINATE = b"X\x00\x00\x00\x04"
PARSE_COMPLETE = b"1\x00\x00\x00\x04"
BIND_COMPLETE = b"2\x00\x00\x00\x04"
CLOSE_COMPLETE = b"3\x00\x00\x00\x04"
NO_DATA = b"n\x00\x00\x00\x04"
PORTAL_SUSPENDED = b"s\x00\x00\x00\x04"
READY = {status: b"Z\x00\x00\x00\x05" + status for status in (b"I", b"T", b"E")}
READY_IDLE = READY[b"I"]
READY_BLOCK = READY[b"T"]


def message(kind: bytes, body: bytes = b"") -> bytes:
    """Frame `body` as one message of type `kind` (one byte)."""
    return kind + _LENGTH.pack(len(body) + 4) + body


def query(text: bytes) -> bytes:
    """A simple Query; `text` in the client's encoding, without a zero byte."""
    return message(b"Q", text + b"\x00")


def parse(name: bytes, text: bytes) -> bytes:
    """A Parse without parameter types."""
    return message(b"P", name + b"\x00" + text + b"\x00\x00\x00")


def bind(portal: bytes, statement: bytes) -> bytes:
    """A Bind without parameters, results in text format."""
    return message(b"B", portal + b"\x00" + statement + b"\x00" + b"\x00" * 6)


def execute(portal: bytes) -> bytes:
    """An Execute without a row limit."""
    return message(b"E", portal + b"\x00\x00\x00\x00\x00")


def close(kind: bytes, name: bytes) -> bytes:
    """A Close of a statement (`kind` S) or portal (P)."""
    return message(b"C", kind + name + b"\x00")


def command_complete(tag: bytes) -> bytes:
    """CommandComplete with `tag`, e.g. b"BEGIN"."""
    return message(b"C", tag + b"\x00")


def copy_fail(text: bytes) -> bytes:
    """CopyFail with the reason as text."""
    return message(b"f", text + b"\x00")


def ready_for_query(status: bytes) -> bytes:
    """ReadyForQuery with the transaction status I, T or E."""
    return READY[status]


def error_response(
    sqlstate: str,
    text: str,
    *,
    severity: str = "FATAL",
    detail: str | None = None,
    hint: str | None = None,
) -> bytes:
    """An ErrorResponse; `severity` ERROR, FATAL or PANIC, never translated."""
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", text)]
    if detail:
        fields.append(("D", detail))
    if hint:
        fields.append(("H", hint))
    return message(b"E", _fields(fields))


def notice_response(text: str) -> bytes:
    """A NoticeResponse of severity NOTICE."""
    fields = [("S", "NOTICE"), ("V", "NOTICE"), ("C", "00000"), ("M", text)]
    return message(b"N", _fields(fields))


def _fields(fields: list[tuple[str, str]]) -> bytes:
    body = b"".join(
        code.encode() + value.replace("\x00", "").encode("utf-8", "surrogateescape") + b"\x00"
        for code, value in fields
    )
    return body + b"\x00"


def parameter_status(name: str, value: str) -> bytes:
    """ParameterStatus of one setting."""
    return message(b"S", f"{name}\x00{value}\x00".encode("utf-8", "surrogateescape"))


def fields(payload: bytes) -> dict[str, str]:
    """Decode the fields of an ErrorResponse or NoticeResponse payload by their codes."""
    found: dict[str, str] = {}
    for part in payload.split(b"\x00"):
        if part:
            found[chr(part[0])] = part[1:].decode("utf-8", "replace")
    return found


@dataclass(frozen=True, slots=True)
class Bind:
    """A Bind message taken apart as far as needed.

    `rest` is everything behind the two names: parameter formats, parameters and
    result formats. It is the part of the key that the parameters make up.
    """

    portal: bytes
    statement: bytes
    rest: bytes


def cut_name(payload: bytes, start: int = 0) -> tuple[bytes, int]:
    """Read a zero-terminated name from `start`; return it and the position behind it.

    Raises:
        ProtocolError: the terminator is missing.
    """
    end = payload.find(b"\x00", start)
    if end < 0:
        raise ProtocolError("invalid message format: a name without an end")
    return payload[start:end], end + 1


def decode_bind(payload: bytes) -> Bind:
    """Take a Bind apart. Raises ProtocolError where a name has no end."""
    portal, position = cut_name(payload)
    statement, position = cut_name(payload, position)
    return Bind(portal, statement, payload[position:])


def data_row(payload: bytes) -> list[bytes | None]:
    """Decode a DataRow: one value (None for NULL) a column. For Howdah's own probes."""
    values: list[bytes | None] = []
    (count,) = _SHORT.unpack_from(payload)
    position = 2
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(payload, position)
        position += 4
        if length < 0:
            values.append(None)
        else:
            values.append(payload[position : position + length])
            position += length
    return values
