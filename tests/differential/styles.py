"""The ways to send one statement, and parameters in both formats.

Every style returns the frames that the server sent, so that two servers can be
compared byte for byte.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fix_wire import SYNC, Frame, Wire, bind, close, describe, execute, parse


@dataclass(frozen=True)
class Parameter:
    """One value: type OID, text form, binary form (None for NULL)."""

    oid: int
    text: bytes | None
    binary: bytes | None


def int4(value: int) -> Parameter:
    return Parameter(23, str(value).encode(), struct.pack("!i", value))


def int8(value: int) -> Parameter:
    return Parameter(20, str(value).encode(), struct.pack("!q", value))


def text(value: str) -> Parameter:
    return Parameter(25, value.encode(), value.encode())


def boolean(value: bool) -> Parameter:
    return Parameter(16, b"t" if value else b"f", bytes([value]))


def float8(value: float) -> Parameter:
    return Parameter(701, repr(value).encode(), struct.pack("!d", value))


def uuid_(value: str) -> Parameter:
    return Parameter(2950, value.encode(), uuid.UUID(value).bytes)


def bytea(value: bytes) -> Parameter:
    return Parameter(17, b"\\x" + value.hex().encode(), value)


def date(text_form: str, days_since_2000: int) -> Parameter:
    return Parameter(1082, text_form.encode(), struct.pack("!i", days_since_2000))


def timestamptz(text_form: str, microseconds_since_2000: int) -> Parameter:
    return Parameter(1184, text_form.encode(), struct.pack("!q", microseconds_since_2000))


def int4_array(*values: int) -> Parameter:
    form = "{" + ",".join(map(str, values)) + "}"
    binary = struct.pack("!iiiii", 1, 0, 23, len(values), 1)
    binary += b"".join(struct.pack("!ii", 4, v) for v in values)
    return Parameter(1007, form.encode(), binary)


def null(oid: int) -> Parameter:
    return Parameter(oid, None, None)


Parameters = Sequence[Parameter]
Style = Callable[[Wire, str, Parameters], list[Frame]]


def simple(wire: Wire, sql: str, parameters: Parameters) -> list[Frame]:
    """One Query message; only for statements without parameters."""
    assert not parameters
    return wire.query(sql)


def extended_text(wire: Wire, sql: str, parameters: Parameters) -> list[Frame]:
    """Unnamed statement, everything in text."""
    return wire.extended(sql, [p.text for p in parameters], oids=[p.oid for p in parameters])


def extended_binary(wire: Wire, sql: str, parameters: Parameters) -> list[Frame]:
    """Unnamed statement, parameters and results in binary."""
    return wire.extended(
        sql,
        [p.binary for p in parameters],
        oids=[p.oid for p in parameters],
        formats=[1],
        results=[1],
    )


def prepared(wire: Wire, sql: str, parameters: Parameters) -> list[Frame]:
    """Named statement: prepared and described, executed twice, closed."""
    frames = wire.ask(parse(sql, "s1", [p.oid for p in parameters]), describe("S", "s1"), SYNC)
    if not any(f.kind == "E" for f in frames):
        run = (bind([p.text for p in parameters], statement="s1"), execute(), SYNC)
        frames += wire.ask(*run)
        frames += wire.ask(*run)
    frames += wire.ask(close("S", "s1"), SYNC)
    return frames


STYLES: dict[str, Style] = {
    "simple": simple,
    "text": extended_text,
    "binary": extended_binary,
    "prepared": prepared,
}

#: How many answers from memory one warm run of a cacheable statement gives.
HITS = {"simple": 1, "text": 1, "binary": 1, "prepared": 2}
