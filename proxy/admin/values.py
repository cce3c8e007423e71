"""Values on the wire: how columns of views are described, written, and parameters read.

What lives here: the two formats of the few types that views have, as PostgreSQL's send and
output functions write them. What must not: messages beyond RowDescription and DataRow.

Follows "Formats and Format Codes" and "Message Formats" of the protocol chapter.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from proxy.admin.views import Column, Type, Value
from proxy.errors import HowdahError
from proxy.wire import messages

OIDS: dict[Type, int] = {"bool": 16, "int8": 20, "text": 25, "float8": 701}
_SIZES: dict[Type, int] = {"bool": 1, "int8": 8, "text": -1, "float8": 8}
TEXT, BINARY = 0, 1

_FIELD = struct.Struct("!IhIhih")
_LENGTH = struct.Struct("!i")
_COUNT = struct.Struct("!H")
_INT8 = struct.Struct("!q")
_FLOAT8 = struct.Struct("!d")


def row_description(columns: Sequence[Column], formats: Sequence[int]) -> bytes:
    """RowDescription of columns that belong to no table."""
    parts = [_COUNT.pack(len(columns))]
    for column, code in zip(columns, spread(formats, len(columns)), strict=True):
        size = _SIZES[column.type]
        parts.append(column.name.encode() + b"\x00")
        parts.append(_FIELD.pack(0, 0, OIDS[column.type], size, -1, code))
    return messages.message(b"T", b"".join(parts))


def data_rows(
    columns: Sequence[Column], rows: Iterable[Sequence[Value]], formats: Sequence[int]
) -> Iterator[bytes]:
    """A DataRow for each row, which has one value a column."""
    codes = spread(formats, len(columns))
    writers = [
        (_BINARY if code == BINARY else _TEXT)[column.type]
        for column, code in zip(columns, codes, strict=True)
    ]
    head = _COUNT.pack(len(columns))
    pack = _LENGTH.pack
    for row in rows:
        parts = [head]
        for write, value in zip(writers, row, strict=True):
            if value is None:
                parts.append(b"\xff\xff\xff\xff")
            else:
                data = write(value)
                parts += (pack(len(data)), data)
        yield messages.message(b"D", b"".join(parts))


def spread(formats: Sequence[int], count: int) -> Sequence[int]:
    """Format codes as they go in Bind, one for each of `count`.

    Raises:
        HowdahError: 08P01, their number is another one, or a code is neither 0 nor 1.
    """
    if any(code not in (TEXT, BINARY) for code in formats):
        raise HowdahError(f"unsupported format code: {max(formats)}", sqlstate="22023")
    if not formats:
        return (TEXT,) * count
    if len(formats) == 1:
        return (formats[0],) * count
    if len(formats) != count:
        raise HowdahError(
            f"bind message has {len(formats)} formats but there are {count} values",
            sqlstate="08P01",
        )
    return formats


def _text(value: Any) -> bytes:
    # Names and texts of clients may be in any encoding; the console speaks UTF-8.
    return str(value).replace("\x00", "").encode("utf-8", "replace")


def _float_text(value: Any) -> bytes:
    number = float(value)
    if math.isinf(number):
        return b"Infinity" if number > 0 else b"-Infinity"
    if math.isnan(number):
        return b"NaN"
    # As PostgreSQL: the shortest digits that read back the same, no needless fraction.
    return repr(number).removesuffix(".0").encode()


_Writer = Callable[[Any], bytes]
_TEXT: dict[Type, _Writer] = {
    "bool": lambda value: b"t" if value else b"f",
    "int8": lambda value: b"%d" % value,
    "float8": _float_text,
    "text": _text,
}
_BINARY: dict[Type, _Writer] = {
    "bool": lambda value: b"\x01" if value else b"\x00",
    "int8": _INT8.pack,
    "float8": _FLOAT8.pack,
    "text": _text,
}


_Reader = Callable[[bytes], Value]


def _fixed(form: str) -> _Reader:
    known = struct.Struct("!" + form)

    def read(data: bytes) -> Value:
        value: Value = known.unpack(data)[0]
        return value

    return read


# Types of parameters that clients may declare, by OID, and how their binary form is read.
_READERS: dict[int, _Reader] = {
    16: lambda data: data != b"\x00",
    20: _fixed("q"),
    21: _fixed("h"),
    23: _fixed("i"),
    26: _fixed("I"),
    700: _fixed("f"),
    701: _fixed("d"),
}
_TEXTS = (0, 18, 19, 25, 705, 1042, 1043)


def parameter(data: bytes | None, oid: int, code: int) -> Value:
    """The value of a parameter; in text format it stays text, whatever its type is.

    Args:
        oid: of its type; code: of its format.

    Raises:
        HowdahError: 22P03 or 22021, bytes that are no value of the type.
    """
    if data is None:
        return None
    if code == BINARY and oid not in _TEXTS:
        reader = _READERS.get(oid)
        if reader is None:
            raise HowdahError(
                f"the console reads no binary parameters of type {oid}",
                sqlstate="0A000",
                hint="Send the parameter as text.",
            )
        try:
            return reader(data)
        except struct.error:
            raise HowdahError(
                "incorrect binary data format in a parameter", sqlstate="22P03"
            ) from None
    return decoded(data)


def decoded(data: bytes) -> str:
    """Text of the client. Raises HowdahError (22021) where it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise HowdahError(
            f'invalid byte sequence for encoding "UTF8": 0x{byte:02x}', sqlstate="22021"
        ) from None
