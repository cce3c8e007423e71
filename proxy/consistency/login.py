"""The client's side of a login: startup packet, clear text, MD5 and SCRAM-SHA-256.

What lives here: bytes in, bytes out. What must not: sockets, randomness (the nonce is an
argument). Follows "Start-up" and "SASL Authentication" of the protocol chapter and RFC 5802.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass

from proxy.errors import UpstreamError
from proxy.wire.messages import message

_PROTOCOL = 196608
_OK, _CLEAR, _MD5, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 3, 5, 10, 11, 12


def startup(parameters: dict[str, str]) -> bytes:
    """A StartupMessage of protocol 3.0."""
    body = struct.pack("!i", _PROTOCOL)
    for name, value in parameters.items():
        body += name.encode() + b"\x00" + value.encode() + b"\x00"
    body += b"\x00"
    return struct.pack("!i", len(body) + 4) + body


@dataclass(slots=True)
class Login:
    """Answers the Authentication messages of one login. `nonce`: printable, no comma."""

    user: str
    password: str | None
    nonce: str
    _first: str = ""
    _proof: bytes = b""

    def answer(self, payload: bytes) -> bytes:
        """The bytes to send for the payload of an Authentication message, perhaps none.

        Raises:
            UpstreamError: a method that is not known, or no password where one is needed.
        """
        (kind,) = struct.unpack_from("!i", payload)
        if kind in (_OK, _SASL_FINAL):
            return b""
        if self.password is None:
            raise UpstreamError(
                f"a password is needed for {self.user}; put it into the URL", sqlstate="28P01"
            )
        if kind == _CLEAR:
            return message(b"p", self.password.encode() + b"\x00")
        if kind == _MD5:
            return message(b"p", self._md5(payload[4:8]) + b"\x00")
        if kind == _SASL and b"SCRAM-SHA-256" in payload[4:].split(b"\x00"):
            self._first = f"n=,r={self.nonce}"
            first = b"n,," + self._first.encode()
            body = b"SCRAM-SHA-256\x00" + struct.pack("!i", len(first)) + first
            return message(b"p", body)
        if kind == _SASL_CONTINUE:
            return message(b"p", self._scram(payload[4:].decode()))
        raise UpstreamError(
            f"the server asks for a way of authentication ({kind}) not known here",
            sqlstate="28000",
        )

    def _md5(self, salt: bytes) -> bytes:
        assert self.password is not None
        inner = hashlib.md5((self.password + self.user).encode()).hexdigest()
        return b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode()

    def _scram(self, server_first: str) -> bytes:
        assert self.password is not None
        said = dict(part.split("=", 1) for part in server_first.split(","))
        if not said["r"].startswith(self.nonce):
            raise UpstreamError("the server's nonce does not continue the client's")
        salt = base64.b64decode(said["s"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, int(said["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        bare = f"c=biws,r={said['r']}"
        signed = f"{self._first},{server_first},{bare}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()
