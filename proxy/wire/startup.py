"""The packets that come before the first typed message.

Follows "Start-up" and "Message Formats" (StartupMessage, SSLRequest,
GSSENCRequest, CancelRequest) of the protocol chapter. These packets have no
type byte: a length word, then a code or protocol version.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from proxy.errors import ProtocolError

# PostgreSQL's MAX_STARTUP_PACKET_LENGTH, in bytes without the length word.
MAX_STARTUP_LENGTH = 10000

CANCEL_CODE = 80877102
SSL_CODE = 80877103
GSSENC_CODE = 80877104

SSL_REQUEST = struct.pack("!ii", 8, SSL_CODE)
TLS_HANDSHAKE = 0x16  # first byte of a TLS record of type handshake


@dataclass(frozen=True, slots=True)
class StartupPacket:
    """A StartupMessage: protocol version, parameters, and its own bytes."""

    major: int
    minor: int
    parameters: dict[str, str]
    raw: bytes

    @property
    def user(self) -> str:
        return self.parameters.get("user", "")

    @property
    def database(self) -> str:
        """The database asked for; it defaults to the user's name, as in PostgreSQL."""
        return self.parameters.get("database") or self.user

    @property
    def replication(self) -> bool:
        value = self.parameters.get("replication", "").lower()
        return value not in ("", "false", "off", "no", "0", "f", "n", "of")

    @property
    def logical(self) -> bool:
        """Whether SQL can be run: true but for a physical replication connection."""
        return not self.replication or self.parameters["replication"].lower() == "database"


@dataclass(frozen=True, slots=True)
class SSLRequest:
    """The client asks for TLS; the answer is one byte, S or N."""


@dataclass(frozen=True, slots=True)
class GSSENCRequest:
    """The client asks for GSSAPI encryption; Howdah answers N."""


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """`payload` is pid and secret key as in BackendKeyData; `raw` the whole packet."""

    payload: bytes
    raw: bytes


def packet_length(buffer: bytes | bytearray) -> int | None:
    """Tell how many bytes the first packet in `buffer` has; None while unknown.

    Raises:
        ProtocolError: the bytes cannot begin a startup packet.
    """
    if buffer and buffer[0] == TLS_HANDSHAKE:
        raise ProtocolError(
            "direct TLS negotiation is not enabled on this port",
            hint="connect with sslnegotiation=postgres",
        )
    if len(buffer) < 4:
        return None
    length = int.from_bytes(buffer[:4], "big")
    if length < 8 or length > MAX_STARTUP_LENGTH + 4:
        raise ProtocolError("invalid length of startup packet")
    return length


def encode_startup(major: int, minor: int, parameters: dict[str, str]) -> bytes:
    """A StartupMessage."""
    body = struct.pack("!i", (major << 16) | minor)
    for name, value in parameters.items():
        body += f"{name}\x00{value}\x00".encode("utf-8", "surrogateescape")
    body += b"\x00"
    return struct.pack("!i", len(body) + 4) + body


def decode_startup(packet: bytes) -> StartupPacket | SSLRequest | GSSENCRequest | CancelRequest:
    """Decode one whole packet, length word included.

    Raises:
        ProtocolError: the layout is wrong, or the major version is not 3.
    """
    if len(packet) < 8 or len(packet) != int.from_bytes(packet[:4], "big"):
        raise ProtocolError("invalid length of startup packet")
    code = int.from_bytes(packet[4:8], "big")
    if code == SSL_CODE:
        return SSLRequest()
    if code == GSSENC_CODE:
        return GSSENCRequest()
    if code == CANCEL_CODE:
        # 4 bytes of pid and a key of 4 bytes (3.0) up to 256 bytes (3.2).
        if not 16 <= len(packet) <= 12 + 256:
            raise ProtocolError("invalid length of cancel request")
        return CancelRequest(packet[8:], packet)
    major, minor = code >> 16, code & 0xFFFF
    if major != 3:
        raise ProtocolError(
            f"unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2",
            sqlstate="0A000",
        )
    return StartupPacket(major, minor, _parameters(packet), packet)


def _parameters(packet: bytes) -> dict[str, str]:
    if packet[-1] != 0:
        raise ProtocolError("invalid startup packet layout: expected terminator as last byte")
    parameters: dict[str, str] = {}
    position, end = 8, len(packet) - 1
    while position < end:
        name_end = packet.index(0, position)
        if name_end >= end:
            raise ProtocolError("invalid startup packet layout: a name without a value")
        if name_end == position:
            raise ProtocolError("invalid startup packet layout: an empty name")
        value_end = packet.index(0, name_end + 1)
        if value_end > end or value_end == len(packet):
            raise ProtocolError("invalid startup packet layout: a value without an end")
        name = packet[position:name_end].decode("utf-8", "surrogateescape")
        parameters[name] = packet[name_end + 1 : value_end].decode("utf-8", "surrogateescape")
        position = value_end + 1
    if not parameters.get("user"):
        raise ProtocolError("no PostgreSQL user name specified in startup packet", sqlstate="28000")
    return parameters
