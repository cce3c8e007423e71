"""SCRAM where TLS ends at Howdah: channel binding cannot hold, so it is not let to fail darkly.

PostgreSQL offers SCRAM-SHA-256-PLUS wherever its own hop is encrypted. The binding
covers the certificate that the client sees, which is Howdah's (RFC 5802 section 6,
RFC 5929 section 4), so an exchange with PLUS would end in "channel binding check
failed" with no word about the cause. Two cases:

- the client's hop is plain: PLUS is taken out of the offer. libpq refuses to go on
  where it is offered without TLS; without it the client says "n" (no binding).
- both hops are encrypted: a client that picks PLUS, or that says "y" (could bind, but
  thinks that the server cannot; the server takes that for an attack), is told what to do.

Not in the path where the upstream's hop is plain, or where Howdah presents the
upstream's own certificate. Pure: bytes in, bytes out; ends at AuthenticationOk.
Follows "SASL Authentication" of the protocol chapter.
"""

from __future__ import annotations

from proxy.errors import ProtocolError, StartupError
from proxy.wire import messages

PLUS = b"SCRAM-SHA-256-PLUS"

_AUTHENTICATION = ord("R")
_ERROR = ord("E")
_PASSWORD = ord("p")
_OK = 0
_SASL = 10

# No message before AuthenticationOk is longer (PG_MAX_AUTH_TOKEN_LENGTH is 65535).
_LIMIT = 128 * 1024

_HINT = (
    "The certificate that the client sees is Howdah's, not PostgreSQL's. Use "
    "channel_binding=disable on the client, or no TLS on one of the two hops, or give "
    "Howdah the certificate and key of PostgreSQL itself."
)


class ScramGuard:
    """Watches both directions of one session until it is authenticated.

    Attributes:
        done: nothing more to watch; bytes go past from now on.
    """

    __slots__ = ("_asked", "_client", "_client_tls", "_server", "done")

    def __init__(self, *, client_tls: bool) -> None:
        self._client_tls = client_tls
        self._client = bytearray()
        self._server = bytearray()
        self._asked = False
        self.done = False

    def from_server(self, data: bytes) -> bytes:
        """Take bytes of PostgreSQL; return what may go on to the client."""
        if self.done:
            return data
        self._server += data
        out = bytearray()
        ended = False
        while not ended and (size := _whole(self._server)) is not None:
            message = bytes(self._server[:size])
            del self._server[:size]
            passed, ended = self._pass(message)
            out += passed
        if ended or len(self._server) > _LIMIT:
            self.done = True
            out += self._server
            self._server.clear()
        return bytes(out)

    def _pass(self, message: bytes) -> tuple[bytes, bool]:
        """What the client gets of a message, and whether the guard's work is over."""
        if message[0] == _ERROR:
            return message, True
        if message[0] != _AUTHENTICATION or len(message) < 9:
            return message, False
        code = int.from_bytes(message[5:9], "big")
        if code != _SASL:
            return message, code == _OK
        mechanisms = message[9:].split(b"\x00")
        if PLUS not in mechanisms:
            return message, True
        self._asked = True
        if self._client_tls:
            return message, False
        names = [name for name in mechanisms if name and name != PLUS]
        body = b"".join(name + b"\x00" for name in names)
        return messages.message(b"R", message[5:9] + body + b"\x00"), False

    def from_client(self, data: bytes) -> bytes:
        """Take bytes of the client; return what may go on to PostgreSQL.

        Raises:
            StartupError: the client binds to Howdah's certificate; with the ways out.
            ProtocolError: a message too long for an authentication exchange.
        """
        if self.done or not (self._asked or self._client):
            return data
        self._client += data
        size = _whole(self._client)
        if size is None:
            if len(self._client) > _LIMIT:
                raise ProtocolError("authentication message too long")
            return b""
        if self._client_tls and self._client[0] == _PASSWORD:
            _refuse_binding(bytes(self._client[5:size]))
        # Only the SASLInitialResponse says anything about binding.
        self._asked = False
        out = bytes(self._client)
        self._client.clear()
        return out


def _whole(buffer: bytearray) -> int | None:
    """Size in bytes of the first message if it is all there."""
    if len(buffer) < 5:
        return None
    size = int.from_bytes(buffer[1:5], "big") + 1
    return size if size <= len(buffer) else None


def _refuse_binding(response: bytes) -> None:
    mechanism, _, rest = response.partition(b"\x00")
    if mechanism == PLUS:
        said = "SCRAM channel binding (SCRAM-SHA-256-PLUS)"
    elif rest[4:5] == b"y":
        said = "SCRAM with channel binding offered (gs2 flag y)"
    else:
        return
    raise StartupError(
        f"{said} cannot work through two TLS connections", hint=_HINT, sqlstate="28000"
    )
