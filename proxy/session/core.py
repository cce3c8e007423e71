"""One session: a dispatcher between a client, PostgreSQL and the cache.

Bytes in, bytes out: `from_client` and `from_server` take chunks as they come and
leave what is to be written in `to_client` and `to_server`; the shell writes it.
Messages are cut out of the client's stream here and handed to `requests.py` and `extended.py`; what
comes back is handled in `replies.py`. Nothing here knows a socket or a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.cache.fences import ALL, Fence
from proxy.errors import HowdahError, ProtocolError
from proxy.policy import memo
from proxy.reasons import Reason
from proxy.session.context import Database
from proxy.session.express import Express
from proxy.session.portals import Batch
from proxy.session.replies import ServerSide
from proxy.wire import messages
from proxy.wire.framing import HEADER, client_header
from proxy.wire.startup import StartupPacket

if TYPE_CHECKING:
    from proxy.session.engine import Engine

_EXTENDED = frozenset(b"PBDEC")
_COPY = frozenset(b"dcf")
# A batch without Sync or Flush is not held beyond this many bytes.
_BATCH_LIMIT = 64 * 1024
# What a client may send before it is authenticated.
_AUTHENTICATION_LIMIT = 64 * 1024
# Of a message too long to be held this much is read, for the names it begins with.
_PREFIX = 4096


class Session(Express, ServerSide):
    """A client and its backend. All calls come from one thread; `now` is loop time in s.

    After every call the shell writes `to_client` and `to_server`, clears them, and
    closes what `close_client` and `close_server` say.
    """

    def __init__(self, engine: Engine, connection_id: int) -> None:
        super().__init__(engine, connection_id)
        self._client_buffer = b""
        self._client_skip = 0  # bytes of a long message that are passed on as they come
        self._batch: Batch = []
        self._batch_bytes = 0

    def start(self, startup: StartupPacket, now: float) -> None:
        """The client has sent its StartupMessage; the shell has passed it on."""
        self.now = now
        self.user = startup.user
        self.database = startup.database
        self.replication = startup.replication
        self.logical = startup.logical
        # Unknown to the engine until the client is authenticated: names cost nothing.
        self.data = Database(self.database)
        # A login event trigger can write while the session starts (K3).
        owner = f"session {self.connection_id}"
        self.startup_fence = self.engine.board.up((self.data.startup,), Reason.FENCED, owner, now)

    # From the client

    def from_client(self, data: bytes, now: float) -> None:
        """Take a chunk from the client. Garbage ends the session with one FATAL error."""
        self.now = now
        if self.terminating or self.server_gone:
            return
        if (
            self.hot
            and not self._batch
            and not self._client_buffer
            and not self._client_skip
            and self.express(data)
        ):
            return
        if self.preparing and self.postpones(data):
            return
        if self.held is not None:
            # It sends more: its answers come in order, and it does not wait (T3).
            self.wake(now)
        elif (
            self.started
            and self.asks
            and not (self._batch or self._client_buffer or self._client_skip)
            and self.waits_for_probe(data)
        ):
            return
        if self._client_skip:
            taken = min(self._client_skip, len(data))
            self._client_skip -= taken
            self.send(data[:taken])
            data = data[taken:]
        if self._client_buffer:
            data = self._client_buffer + data
            self._client_buffer = b""
        try:
            if self.started:
                self._messages(data)
            else:
                self._authentication(data)
        except ProtocolError as error:
            self.terminate(error, now)

    def _authentication(self, data: bytes) -> None:
        """Before the first ReadyForQuery: passwords and SASL pass, all else waits."""
        position = 0
        while len(data) - position >= HEADER and data[position] == 0x70:
            _, size = client_header(data, position)
            if size > _AUTHENTICATION_LIMIT:
                raise ProtocolError("an authentication message is too long")
            if size > len(data) - position:
                break
            position += size
        self.send(data[:position])
        if position:
            self.awaits_client = False
        self._client_buffer = data[position:]
        if len(self._client_buffer) > _AUTHENTICATION_LIMIT:
            raise ProtocolError("too many bytes before the session was ready")

    def from_server(self, data: bytes, now: float) -> None:
        """Take a chunk from PostgreSQL."""
        starting = not self.started
        super().from_server(data, now)
        if self.postponed and not self.preparing:
            self.hurry(now)
        if starting and self.started and self._client_buffer:
            held, self._client_buffer = self._client_buffer, b""
            self.from_client(held, now)
        if self.client_gone and not self.pending:
            self._end_upstream()

    def _messages(self, data: bytes) -> None:
        position, end = 0, len(data)
        while end - position >= HEADER:
            kind, size = client_header(data, position)
            if size > end - position:
                if not self._too_long(kind, data, position, size):
                    break
                return
            message = data[position : position + size]
            position += size
            if kind == 0x51:
                self._flush_batch()
                self.query(message)
            elif kind in _EXTENDED:
                self._batch.append((kind, message))
                self._batch_bytes += size
                if self._batch_bytes > _BATCH_LIMIT:
                    self._flush_batch()
            elif kind == 0x53:
                batch, self._batch = self._batch, []
                self._batch_bytes = 0
                self.sync(batch, message)
            else:
                self._flush_batch()
                self._other(kind, message)
            if self.terminating or self.close_client:
                return
        self._client_buffer = data[position:]

    def _too_long(self, kind: int, data: bytes, position: int, size: int) -> bool:
        """A message that is not complete yet: pass it on in pieces? False: wait for the rest."""
        limit = self.engine.message_limit
        available = len(data) - position
        if kind not in _COPY:
            if size <= limit or available < _PREFIX:
                return False
            self._flush_batch()
            if kind in _EXTENDED:
                self.forward_long(kind, data[position:])
            else:
                self._opaque_request(Reason.STATEMENT_TOO_LONG)
        self._client_skip = size - available
        self.send(data[position:])
        return True

    def _flush_batch(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._batch_bytes = 0
            self.forward_batch(batch)

    def _other(self, kind: int, message: bytes) -> None:
        if kind == 0x48:  # Flush
            self.send(message)
        elif kind in _COPY:
            if kind != 0x64:  # CopyDone or CopyFail
                if self.copy_in:
                    self.copy_in = False
                elif self.pending:
                    self.pending[-1].data_ended = True
            self.send(message)
        elif kind == 0x46:  # FunctionCall
            self._opaque_request(Reason.FUNCTION_CALL)
            self.send(message)
        elif kind == 0x58:  # Terminate
            self.terminating = True
            self.send(message)
            self.client_gone = True
            # What was asked for before is still answered. For what is in the background
            # nobody waits; another session may ask for it.
            if len(self.pending) == self.backgrounds or self.copy_both:
                for pending in self.pending:
                    self.drop_fill(pending, "lost")
                self.close_client = self.close_server = True
        else:
            self.send(message)

    def _opaque_request(self, reason: Reason) -> None:
        """A request that nobody can see through, with a ReadyForQuery of its own (F9)."""
        pending = self.simple_pending()
        plan = memo.opaque(reason)
        pending.plans.append(("write", reason, None))
        self.note(pending, plan)
        self.send_begin(pending)
        self.dispatch(pending)
        self.statements.pop(b"", None)
        self.portals.pop(b"", None)
        self.ghost_portal = None

    # Ends

    def client_lost(self, now: float) -> None:
        """The client is gone. What is in flight runs to its end, since PostgreSQL's would."""
        self.now = now
        self.hurry(now)
        if self.client_gone:
            return
        if self.held is not None and self.asks:
            # It waits for the probe only: it has come, and PostgreSQL would have run it.
            self.wake(now, late=True)
        self.client_gone = True
        self._batch.clear()
        self._client_buffer = b""
        self.leave()
        if self.server_gone:
            self.close_client = True
            return
        if not self.started and not self.awaits_client:
            # The session is being made, and a login event trigger may be writing: it is
            # waited for, as PostgreSQL does not notice that nobody is there (K3).
            return
        if not self.started or self._client_skip or self.copy_both:
            # Half a message, or a stream, cannot be ended: PostgreSQL sees the end of the stream.
            self.close_server = self.close_client = True
            return
        if self.copy_in:
            self.copy_in = False
            self.send(messages.copy_fail(b"the client has closed its connection"))
            if self.pending and not self.pending[-1].synced:
                self.pending[-1].synced = True
                self.send(messages.SYNC)
        if self.pending and not self.pending[-1].synced:
            # Without Sync the implicit transaction is undone, as in PostgreSQL.
            self.send(messages.TERMINATE)
            self.close_server = self.close_client = True
        elif not self.pending:
            self._end_upstream()

    def _end_upstream(self) -> None:
        # A half-closed client has read its last reply by now.
        self.close_client = True
        if not self.server_gone and not self.close_server:
            if not self.terminating:
                self.send(messages.TERMINATE)
            self.close_server = True

    def server_lost(self, now: float) -> None:
        """PostgreSQL has closed the connection, or it broke."""
        self.now = now
        if self.server_gone:
            return
        self.server_gone = True
        expected = self.client_gone or self.terminating or self.close_server
        fences = [pending.fence for pending in self.pending if pending.fence is not None]
        if self.relay_fence is not None:
            fences.append(self.relay_fence)
        if self.startup_fence is not None and (self.awaits_client or self.fatal_seen):
            # Refused: no trigger has committed. Otherwise one may go on unseen, and the
            # fence stays; it matters only where there are login event triggers.
            self.engine.lower(self.startup_fence)
        self.startup_fence = self.relay_fence = None
        self.leave()
        for pending in self.pending:
            self.drop_fill(pending, "lost")
        self.pending.clear()
        for fence in fences:
            self._lower_after_proof(fence)
        if self.started and not expected:
            self.engine.upstream_lost(f"session {self.connection_id} lost its upstream")
        if not self.fatal_seen and not self.client_gone:
            self.reply(
                messages.error_response(
                    "08006",
                    "the upstream server closed the connection unexpectedly",
                    hint="The server may have been restarted; connect again.",
                )
            )
        self.close_client = self.close_server = True
        self.hot = False

    def _lower_after_proof(self, fence: Fence) -> None:
        """F2: lower a fence whose outcome is unknown once its backend is proven gone."""
        engine, data = self.engine, self.data
        if fence.schema:

            def ended() -> None:
                engine.shell.reload_catalog(data.name, lambda: engine.schema_down(data, fence))
        else:

            def ended() -> None:
                engine.lower(fence)

        if self.backend_pid is None:
            # Not yet authenticated: nothing can have run.
            ended()
        elif self.pooled:
            # The pid is not the backend's: nothing can ever be proven (F2).
            engine.board.widen(fence, (ALL,))
        else:
            fence.lost = self.backend_pid
            engine.shell.prove_ended(self.backend_pid, ended)

    def terminate(self, error: HowdahError, now: float) -> None:
        """End the session with one FATAL error to the client."""
        self.now = now
        self.leave()
        self.terminating = True
        if not self.client_gone:
            self.reply(messages.error_response(error.sqlstate, error.message, hint=error.hint))
        self.client_gone = True
        self.close_client = True
        if self._client_skip or not self.started:
            self.close_server = True
        else:
            self.send(messages.TERMINATE)
            if not self.pending:
                self.close_server = True
