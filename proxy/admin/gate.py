"""The way into the console: PostgreSQL itself authenticates, and `admin_roles` decides.

What lives here: a login that is relayed to the database of the upstream URL, for the client's
own role, by whatever method PostgreSQL asks for. Once PostgreSQL is satisfied the connection
to it is closed, and the console answers by itself. What must not: what it answers.

A login event trigger may write while the session starts, so that the fence of every other
session's start stands here, too (K3).

Follows "Start-up" of the protocol chapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.cache.fences import Fence
from proxy.errors import HowdahError, ProtocolError
from proxy.reasons import Reason
from proxy.session.context import Database
from proxy.wire import messages, startup
from proxy.wire.framing import HEADER
from proxy.wire.startup import StartupPacket

if TYPE_CHECKING:
    from proxy.session.engine import Engine

# Bytes that are held before the client is known, of either side.
_LIMIT = 64 * 1024
_NAME = 63  # bytes of a role's name
_AUTHENTICATED = (b"\0\0\0\0", b"\0\0\0\x0c")  # Ok, SASLFinal: nothing is asked for


class Gate:
    """A session up to its first ReadyForQuery. The shell sees it as it sees `session.core.Session`.

    Attributes:
        database: that the login goes to.
        reported: parameters that the server has reported, by name.
        started: the client is authenticated and allowed; the upstream is not needed any more.
    """

    held: bytes | None = None  # nothing waits for others here
    served = None
    pooled = False

    def __init__(self, engine: Engine, connection_id: int, database: str, roles: tuple[str, ...]):
        self.engine = engine
        self.connection_id = connection_id
        self.database = database
        self.now = 0.0
        self.user = ""
        self.to_client: list[bytes] = []
        self.to_server: list[bytes] = []
        self.close_client = False
        self.close_server = False
        self.backend_pid: int | None = None
        self.cancel_key: bytes | None = None
        self.cancelled = False
        self.started = False
        self.reported: dict[str, str] = {}
        self.client_gone = False
        self._roles = roles
        self._client_buffer = b""
        self._server_buffer = b""
        self._awaits_client = False
        self._fatal_seen = False
        self._server_gone = False
        self._fence: Fence | None = None

    def start(self, packet: StartupPacket, now: float) -> bytes:
        """The client has sent its StartupMessage; returns the one for the server."""
        self.now = now
        self.user = packet.user
        granule = Database(self.database).startup
        owner = f"console {self.connection_id}"
        self._fence = self.engine.board.up((granule,), Reason.FENCED, owner, now)
        # Nothing else of the client's concerns the server: the console speaks UTF-8, and
        # options could only hinder the login.
        parameters = {
            "user": packet.user,
            "database": self.database,
            "client_encoding": "UTF8",
            "application_name": packet.parameters.get("application_name", "howdah console"),
        }
        # Extensions of the protocol are the server's to refuse.
        parameters |= {
            name: value for name, value in packet.parameters.items() if name.startswith("_pq_.")
        }
        return startup.encode_startup(packet.major, packet.minor, parameters)

    @property
    def waiting(self) -> bool:
        """Whether upstream must be read to the end: the login runs there."""
        return not self.started and not self._server_gone and not self.close_server

    def welcome(self) -> None:
        """The role may come in: say so."""
        raise NotImplementedError

    def refused(self, role: str) -> None:
        """The role may not come in; the client is told by this class."""
        raise NotImplementedError

    def statements(self, data: bytes) -> None:
        """Bytes of the client, once it is in."""
        raise NotImplementedError

    # --- bytes ----------------------------------------------------------------

    def from_client(self, data: bytes, now: float) -> None:
        """Take a chunk from the client."""
        self.now = now
        if self.close_client or self.client_gone:
            return
        if self.started:
            self.statements(data)
            return
        data = self._client_buffer + data
        position = 0
        while len(data) - position >= HEADER and data[position] == 0x70:
            size = int.from_bytes(data[position + 1 : position + HEADER], "big") + 1
            if size > len(data) - position:
                break
            position += max(size, HEADER)
        if position:
            self.to_server.append(data[:position])
            self._awaits_client = False
        self._client_buffer = data[position:]
        if len(self._client_buffer) > _LIMIT:
            self.terminate(ProtocolError("too many bytes before the session was ready"), now)

    def from_server(self, data: bytes, now: float) -> None:
        """Take a chunk from PostgreSQL."""
        self.now = now
        if self.started:
            return
        data = self._server_buffer + data
        position = 0
        while len(data) - position >= HEADER and not self.started:
            size = int.from_bytes(data[position + 1 : position + HEADER], "big") + 1
            if size < HEADER or size > _LIMIT:
                raise ProtocolError("the upstream server sent a message of impossible length")
            if size > len(data) - position:
                break
            self._message(data[position], data[position : position + size])
            position += size
        self._server_buffer = data[position:]

    def _message(self, kind: int, message: bytes) -> None:
        payload = message[HEADER:]
        if kind == 0x52:  # Authentication
            self._awaits_client = payload[:4] not in _AUTHENTICATED
            self.to_client.append(message)
            if self._awaits_client and self.client_gone:
                self.close_server = self.close_client = True
        elif kind == 0x53:  # ParameterStatus
            name, _, value = payload.rstrip(b"\x00").partition(b"\x00")
            self.reported[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        elif kind == 0x4B:  # BackendKeyData
            self.cancel_key = payload
            self.backend_pid = int.from_bytes(payload[:4], "big")
        elif kind == 0x5A:  # ReadyForQuery
            self._authenticated()
        else:
            self._fatal_seen |= kind == 0x45
            self.to_client.append(message)

    def _authenticated(self) -> None:
        self._lower()
        self.to_server.append(messages.TERMINATE)
        self.close_server = True
        # Who that is: PostgreSQL cuts long names. A pooler in between may report the role that
        # it uses itself, which is not who has shown a password.
        asked = self.user.encode("utf-8", "surrogateescape")[:_NAME].decode("utf-8", "replace")
        role = self.reported.get("session_authorization", asked)
        if role != asked or role not in self._roles:
            self.refused(asked)
            self._end(
                HowdahError(
                    f'role "{asked}" may not use the administration console of Howdah',
                    sqlstate="42501",
                    hint="Name the role in the setting admin_roles, and restart Howdah.",
                )
            )
            return
        self.user = role
        self.started = True
        if self.client_gone:
            self.close_client = True
            return
        self.welcome()
        held, self._client_buffer = self._client_buffer, b""
        if held:
            self.statements(held)

    # --- ends -----------------------------------------------------------------

    def _lower(self) -> None:
        fence, self._fence = self._fence, None
        if fence is not None:
            self.engine.lower(fence)

    def _end(self, error: HowdahError) -> None:
        if not self.client_gone:
            fatal = messages.error_response(error.sqlstate, error.message, hint=error.hint)
            self.to_client.append(fatal)
        self.close_client = True

    def client_lost(self, now: float) -> None:
        """The client is gone. A login that runs is waited for: a trigger may be writing."""
        self.now = now
        self.client_gone = True
        if self.started:
            self.close_client = True
        elif self._awaits_client:
            self.close_server = self.close_client = True

    def server_lost(self, now: float) -> None:
        """PostgreSQL has closed the connection: as it should, behind a login."""
        self.now = now
        if self._server_gone or self.started:
            self._server_gone = True
            return
        self._server_gone = True
        if self._awaits_client or self._fatal_seen:
            # Refused: no trigger has committed. Otherwise one may go on unseen.
            self._lower()
        if not self._fatal_seen and not self.close_client:
            self._end(
                HowdahError(
                    "the upstream server closed the connection unexpectedly",
                    sqlstate="08006",
                    hint="The server may have been restarted; connect again.",
                )
            )
        self.close_client = self.close_server = True

    def terminate(self, error: HowdahError, now: float) -> None:
        """End the session with one FATAL error to the client."""
        self.now = now
        self._end(error)
        self.client_gone = True
        if not self.started:
            self.close_server = True
