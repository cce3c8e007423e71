"""Startup packets: layout, limits, and what is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ProtocolError
from proxy.wire.startup import (
    SSL_REQUEST,
    CancelRequest,
    GSSENCRequest,
    SSLRequest,
    StartupPacket,
    decode_startup,
    packet_length,
)


def packet(code: int, body: bytes) -> bytes:
    return struct.pack("!ii", len(body) + 8, code) + body


def startup(major: int = 3, minor: int = 0, **parameters: str) -> bytes:
    body = b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in parameters.items())
    return packet(major << 16 | minor, body + b"\0")


def test_parameters_and_defaults() -> None:
    decoded = decode_startup(startup(user="ada", application_name="x y"))
    assert isinstance(decoded, StartupPacket)
    assert (decoded.user, decoded.database, decoded.minor) == ("ada", "ada", 0)
    assert decoded.parameters["application_name"] == "x y"
    assert decoded.raw == startup(user="ada", application_name="x y")


@pytest.mark.parametrize(
    ("value", "expected"), [("database", True), ("true", True), ("false", False), ("off", False)]
)
def test_replication_parameter(value: str, expected: bool) -> None:
    decoded = decode_startup(startup(user="ada", replication=value))
    assert isinstance(decoded, StartupPacket)
    assert decoded.replication is expected


def test_protocol_3_2_passes() -> None:
    decoded = decode_startup(startup(minor=2, user="ada"))
    assert isinstance(decoded, StartupPacket)
    assert (decoded.major, decoded.minor) == (3, 2)


def test_requests_without_parameters() -> None:
    assert isinstance(decode_startup(SSL_REQUEST), SSLRequest)
    assert isinstance(decode_startup(packet(80877104, b"")), GSSENCRequest)
    decoded = decode_startup(packet(80877102, b"pid!secretkey"))
    assert isinstance(decoded, CancelRequest)
    assert decoded.payload == b"pid!secretkey"


@pytest.mark.parametrize(
    ("raw", "sqlstate"),
    [
        (startup(user=""), "28000"),
        (startup(database="x"), "28000"),
        (startup(major=2, user="ada"), "0A000"),
        (packet(3 << 16, b"user\0ada"), "08P01"),
        (packet(3 << 16, b"user\0"), "08P01"),
        (packet(3 << 16, b"\0\0"), "08P01"),
        (b"\0\0\0\x09\0\0\0\0", "08P01"),
        (packet(80877102, b"short"), "08P01"),
    ],
)
def test_bad_packets(raw: bytes, sqlstate: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_startup(raw)
    assert caught.value.sqlstate == sqlstate


def test_length_limits() -> None:
    assert packet_length(b"\0\0\0") is None
    assert packet_length(SSL_REQUEST) == 8
    for bad in (b"\0\0\0\x07", b"\x7f\xff\xff\xff", b"GET / HTTP"):
        with pytest.raises(ProtocolError):
            packet_length(bad)


def test_direct_tls_is_named() -> None:
    with pytest.raises(ProtocolError, match="direct TLS"):
        packet_length(b"\x16\x03\x01\x02\x00")


@given(st.binary(max_size=200))
def test_garbage_raises_only_protocol_errors(garbage: bytes) -> None:
    try:
        length = packet_length(garbage)
        if length is not None and length <= len(garbage):
            decode_startup(garbage[:length])
    except ProtocolError as error:
        assert error.message
