"""Values on the wire, in text and binary."""

from __future__ import annotations

import math
import struct

import pytest

from proxy.admin import values
from proxy.admin.views import Column, Type, Value
from proxy.errors import HowdahError
from tests.fix_wire import Frame


def row(type: Type, value: Value, code: int) -> bytes | None:
    (data,) = values.data_rows((Column("c", type, ""),), [(value,)], (code,))
    return Frame("D", data[5:]).values[0]


@pytest.mark.parametrize(
    ("type", "value", "text", "binary"),
    [
        ("text", "\u00e9\0x", "\u00e9x".encode(), "\u00e9x".encode()),
        ("text", None, None, None),
        ("bool", True, b"t", b"\x01"),
        ("bool", False, b"f", b"\x00"),
        ("int8", -5, b"-5", struct.pack("!q", -5)),
        ("int8", 2**40, b"1099511627776", struct.pack("!q", 2**40)),
        ("float8", 0.1, b"0.1", struct.pack("!d", 0.1)),
        ("float8", 3.0, b"3", struct.pack("!d", 3.0)),
        ("float8", 1e-07, b"1e-07", struct.pack("!d", 1e-07)),
        ("float8", math.inf, b"Infinity", struct.pack("!d", math.inf)),
        ("float8", -math.inf, b"-Infinity", struct.pack("!d", -math.inf)),
        ("float8", 7, b"7", struct.pack("!d", 7.0)),
    ],
)
def test_values_are_written_as_postgresql_does(type, value, text, binary):
    assert row(type, value, values.TEXT) == text
    assert row(type, value, values.BINARY) == binary


def test_formats_are_for_all_for_each_or_wrong():
    assert values.spread((), 2) == (0, 0)
    assert values.spread((1,), 2) == (1, 1)
    assert values.spread((0, 1), 2) == (0, 1)
    for wrong in ((0, 1, 1), (2,)):
        with pytest.raises(HowdahError):
            values.spread(wrong, 2)


@pytest.mark.parametrize(
    ("data", "oid", "code", "found"),
    [
        (None, 25, 0, None),
        (b"12", 20, 0, "12"),
        (b"x", 25, 1, "x"),
        (struct.pack("!q", -3), 20, 1, -3),
        (struct.pack("!i", 3), 23, 1, 3),
        (struct.pack("!h", 3), 21, 1, 3),
        (struct.pack("!d", 0.5), 701, 1, 0.5),
        (b"\x01", 16, 1, True),
    ],
)
def test_parameters_are_read(data, oid, code, found):
    assert values.parameter(data, oid, code) == found


@pytest.mark.parametrize(
    ("data", "oid", "code", "sqlstate"),
    [
        (b"\xff", 25, 0, "22021"),
        (b"abc", 20, 1, "22P03"),
        (b"abc", 1700, 1, "0A000"),
    ],
)
def test_what_is_no_value_is_an_error(data, oid, code, sqlstate):
    with pytest.raises(HowdahError) as caught:
        values.parameter(data, oid, code)
    assert caught.value.sqlstate == sqlstate
