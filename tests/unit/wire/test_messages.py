"""Messages that Howdah makes and reads."""

from __future__ import annotations

import pytest

from proxy.errors import ProtocolError
from proxy.wire import messages
from proxy.wire.framing import client_header


def test_frames_count_their_own_length() -> None:
    assert messages.query(b"SELECT 1") == b"Q\0\0\0\x0dSELECT 1\0"
    assert messages.message(b"S") == messages.SYNC
    assert messages.ready_for_query(b"T") == b"Z\0\0\0\x05T"


def test_error_fields_round_trip() -> None:
    raw = messages.error_response("57P01", "going down", detail="d", hint="h")
    assert raw[0:1] == b"E"
    assert messages.fields(raw[5:]) == {
        "S": "FATAL",
        "V": "FATAL",
        "C": "57P01",
        "M": "going down",
        "D": "d",
        "H": "h",
    }


def test_bind_is_taken_apart_behind_its_names() -> None:
    rest = b"\0\x01\0\x01\0\x01\0\0\0\x01x\0\0"
    bind = messages.decode_bind(b"portal\0name\0" + rest)
    assert (bind.portal, bind.statement, bind.rest) == (b"portal", b"name", rest)
    with pytest.raises(ProtocolError):
        messages.decode_bind(b"portal\0name")


def test_data_row() -> None:
    assert messages.data_row(b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0") == [b"a", None, b""]


@pytest.mark.parametrize("raw", [b"Q\0\0\0\x03", b"Q\xff\xff\xff\xff", b"z\0\0\0\x04"])
def test_bad_headers(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        client_header(raw, 0)
    assert client_header(messages.SYNC, 0) == (ord("S"), 5)
