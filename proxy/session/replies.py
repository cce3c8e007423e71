"""The server's side of a session: what comes back, and what it proves.

Replies are matched to requests by a queue of `Pending`, one for each
ReadyForQuery that is owed (R1, T3). Rows are never taken apart: only headers are
read, and runs of messages are handed on as slices of the chunk they came in.
ReadyForQuery is the only proof that a request has ended (F2).
"""

from __future__ import annotations

from hashlib import md5

from proxy.cache.fences import ALL
from proxy.errors import ProtocolError
from proxy.policy.plan import NOTHING, Control, Flag
from proxy.reasons import Reason
from proxy.session import probe
from proxy.session.preparing import Preparing
from proxy.session.records import Pending, Statement
from proxy.session.tracking import State
from proxy.tally import Shape
from proxy.wire import messages
from proxy.wire.framing import HEADER

# Messages that are read: they must be there as a whole. All others may pass in pieces.
_READ = frozenset(b"ZSKEC123tnIsGHWTR")
# Passed on by their header alone, unless the answer is recorded or not the client's:
# rows, COPY data, BindComplete, descriptions.
_BULK = frozenset(b"Dd2Tnt")
# May come at any time, and belong to no request.
_ASYNCHRONOUS = frozenset(b"SAN")
# One of these ends the answer to each extended message.
_TERMINAL = frozenset(b"123TnCIs")
# Ends the answer to an Execute; describes a statement.
_ENDS_EXECUTE = frozenset(b"CsI")
_DESCRIPTIONS = frozenset(b"tTn")
# A message that is read is not held beyond this many bytes; it passes in pieces.
_HOLD = 256 * 1024


class ServerSide(Preparing):
    """Handles the bytes from PostgreSQL. See `Session.from_server`."""

    _server_buffer: bytes = b""
    _server_skip: int = 0  # bytes of the present message that are still to come
    _skip_forward: bool = True
    _skip_fill: int = 0  # its type, if the fill wants the bytes
    _instead: bytes = b""  # what the client gets in place of a message that it does not see

    def from_server(self, data: bytes, now: float) -> None:
        """Take a chunk from PostgreSQL; what the client is to see goes to `to_client`."""
        self.now = now
        if self._server_buffer:
            data = self._server_buffer + data
            self._server_buffer = b""
        position = 0
        if self._server_skip:
            position = self._continue_message(data)
        end = len(data)
        start = position  # of the run that goes to the client
        while end - position >= HEADER:
            kind = data[position]
            size = int.from_bytes(data[position + 1 : position + 5], "big") + 1
            if size < HEADER:
                self._broken_server()
                return
            head = self.pending[0] if self.pending else None
            if kind in _BULK and (head is None or head.passes):
                # The hot path of a forwarded result: nothing to decide.
                if size > end - position:
                    self._server_skip = size - (end - position)
                    self._skip_forward, self._skip_fill = True, 0
                    position = end
                    break
                position += size
                continue
            if (
                size > end - position
                and size <= _HOLD
                and (kind in _READ or (kind == 0x4E and head is not None and head.beyond))
            ):
                break
            if (
                kind == 0x44
                and head is not None
                and head.fill is not None
                and not (head.prefix or head.beyond or head.hidden)
            ):
                forward, wanted = True, head.fill.begin(kind, size)
            else:
                forward, wanted = self._message(kind, data, position, size, head)
            stop = min(position + size, end)
            if wanted and head is not None and head.fill is not None:
                head.fill.add(kind, data[position:stop])
            if not forward:
                self._pass(data, start, position)
                start = stop
                if self._instead:
                    self.to_client.append(self._instead)
                    self._instead = b""
            if size > end - position:
                self._server_skip = size - (end - position)
                self._skip_forward, self._skip_fill = forward, kind if wanted else 0
                position = end
                break
            position = stop
        self._pass(data, start, position)
        if position < end:
            self._server_buffer = data[position:]

    def _pass(self, data: bytes, start: int, stop: int) -> None:
        if stop > start:
            self.to_client.append(data[start:stop] if stop - start < len(data) else data)

    def _continue_message(self, data: bytes) -> int:
        """More of a message that did not fit into its chunk; returns how much of it."""
        taken = min(self._server_skip, len(data))
        self._server_skip -= taken
        piece = data[:taken]
        if self._skip_forward:
            self.to_client.append(piece)
        if self._skip_fill and self.pending and self.pending[0].fill is not None:
            self.pending[0].fill.add(self._skip_fill, piece)
        return taken

    def _broken_server(self) -> None:
        """PostgreSQL, or whatever answers there, does not speak the protocol."""
        error = ProtocolError("the upstream server sent a message of impossible length")
        self.reply(messages.error_response(error.sqlstate, error.message))
        self.close_client = self.close_server = True

    def _message(
        self, kind: int, data: bytes, position: int, size: int, head: Pending | None
    ) -> tuple[bool, bool]:
        """One message: (does the client see it, does the fill want it)."""
        if kind == 0x53:  # ParameterStatus
            self._parameter_status(data[position + HEADER : position + size])
            return True, False
        if kind == 0x41:  # NotificationResponse
            return True, False
        if head is None:
            return self._unasked(kind, data, position, size)
        if kind == 0x5A:  # ReadyForQuery
            previous, self.status = self.status, data[position + HEADER : position + size]
            return self._ready(head, previous), False
        payload = data[position + HEADER : min(position + size, len(data))]
        if head.beyond and not (kind == 0x45 and _is_fatal(payload)):
            return self.after_limit(head, kind, payload), False
        if kind == 0x45:  # ErrorResponse
            found = messages.fields(payload)
            head.error = (found.get("V", "ERROR"), found.get("C", ""))
            if head.guard and self.struck is None:
                self.struck = payload
            return self._error(head), self._offer(head, kind, size)
        portrait = head.portrait
        if portrait is not None and kind in _DESCRIPTIONS and not head.prefix:
            portrait.add(data[position : position + size], size)
        if head.hidden:
            if kind == 0x44 and (head.question or head.probe_state is not None):
                head.row = payload
            if head.fill is not None and kind == 0x73:
                head.fill.reject("row_limit")
            return False, self._offer(head, kind, size)
        if head.prefix:
            # A portal may have fewer rows than are to be passed over.
            if kind == head.prefix[0] or (kind == 0x43 and head.prefix[0] == 0x73):
                head.prefix.pop(0)
            return kind == 0x4E, False
        if kind in _TERMINAL:
            head.received += 1
            if kind in _ENDS_EXECUTE:
                head.executed += 1
                head.beyond = bool(head.limit)
                if len(head.plans) > 1:
                    self._rows_of(head, payload if kind == 0x43 else b"")
            if head.locals is not None and kind == 0x43 and head.received in head.locals:
                self._instead = head.locals[head.received]
                return False, False
            if portrait is not None and kind != 0x31:
                self.described(head, portrait)
        if kind == 0x31:  # ParseComplete
            head.parsed += 1
        elif kind == 0x43:  # CommandComplete
            head.tag = payload[:-1]
            if head.asked and self.struck is not None and head.tag == b"ROLLBACK":
                # What failed was in front of the COMMIT: without it the error were its own.
                self._instead = messages.message(b"E", self.struck)
                return False, False
        elif kind == 0x47:  # CopyInResponse
            self._copy_in(head)
        elif kind == 0x57:  # CopyBothResponse
            self.copy_both = True
        return True, self._offer(head, kind, size)

    def _offer(self, head: Pending, kind: int, size: int) -> bool:
        return head.fill is not None and head.fill.begin(kind, size)

    def _unasked(self, kind: int, data: bytes, position: int, size: int) -> tuple[bool, bool]:
        """A message when nothing is owed: the startup, a notice, or the end of the backend."""
        payload = data[position + HEADER : min(position + size, len(data))]
        if kind == 0x52:  # Authentication: a request, but for Ok and SASLFinal
            self.awaits_client = payload[:4] not in (b"\0\0\0\0", b"\0\0\0\x0c")
        elif kind == 0x4B and not self.started:  # BackendKeyData
            self.cancel_key = payload
            self.backend_pid = int.from_bytes(payload[:4], "big")
        elif kind == 0x45:
            self.fatal_seen = True
        elif kind == 0x5A:
            if not self.started:
                self.status = payload
                self._begin_session()
            else:
                # More replies than requests: nothing can be proven any more.
                self._relay_only()
        return True, False

    def _begin_session(self) -> None:
        """The first ReadyForQuery: the client is authenticated (K2)."""
        self.started = True
        if self.logical:
            self.data = self.engine.database(self.database)
        if self.startup_fence is not None:
            self.engine.lower(self.startup_fence)
            self.startup_fence = None
        if self.may_probe() and not self.client_gone:
            self.send_probe()
            self.fresh = True
        self.refresh()

    def _relay_only(self) -> None:
        if self.relay_fence is None:
            owner = f"session {self.connection_id}"
            self.relay_fence = self.engine.board.up((ALL,), Reason.FENCED, owner, self.now)
            self.hot = False

    def _parameter_status(self, payload: bytes) -> None:
        name, _, rest = payload.partition(b"\x00")
        value = rest.rstrip(b"\x00").decode("utf-8", "replace")
        if name == b"client_encoding":
            self.encoding = value
        elif name == b"standard_conforming_strings":
            self.standard_strings = value
        elif name in _UNKEYED_PARAMETERS:
            if name == b"server_version":
                digits = value.partition(".")[0]
                self.server_major = int(digits) if digits.isdecimal() else 0
            elif name == b"application_name":
                self.named(value)
            return
        before = self.reported
        self.reports(name, rest)
        if not self.started:
            self.settings.reported = self.reported
        elif before is not self.reported and not self._announced():
            # A setting has changed that no statement of the client announced: a
            # configuration reload, or a function.
            self.forget_settings(path=True)

    def _announced(self) -> bool:
        """Whether a statement may have changed a setting, or a transaction goes back to before."""
        if any(waiting.flags & Flag.SETTINGS for waiting in self.pending):
            return True
        head = self.pending[0] if self.pending else None
        if head is None or head.hidden or self.status == b"I" or not self.block_changes:
            return False
        return head.error is not None or head.control is not Control.NONE

    def _copy_in(self, head: Pending) -> None:
        """PostgreSQL waits for COPY data and ignores each Sync until the data end.

        See "COPY Operations": libpq sends Sync right behind Execute and another
        one behind CopyDone; only the latter is answered.
        """
        self.copy_in = True
        if head.simple:
            return
        head.synced = False
        eaten = head
        while len(self.pending) > 1:
            following = self.pending.pop(1)
            self._absorb(head, following)
            if eaten.data_ended:
                # CopyDone was sent ahead of CopyInResponse: the Sync behind it counts.
                head.synced = following.synced
                self.copy_in = False
                break
            eaten = following

    def _absorb(self, head: Pending, other: Pending) -> None:
        """Let `head` stand for `other` too: one ReadyForQuery will answer both."""
        head.closure |= other.closure
        head.flags = (head.flags | other.flags) & ~Flag.PLAIN
        head.plans += other.plans
        head.parses += other.parses
        self.drop_fill(head, "dropped")
        self.drop_fill(other, "dropped")
        if other.fence is not None:
            if head.fence is None:
                head.fence = other.fence
            else:
                self.engine.board.widen(head.fence, other.fence.granules)
                self.engine.board.down(other.fence)
                if other.fence.schema and head.fence.schema:
                    self.data.schema_fences -= 1
                head.fence.schema |= other.fence.schema

    def _error(self, head: Pending) -> bool:
        """An ErrorResponse; whether the client sees it."""
        severity, code = head.error or ("", "")
        self.copy_in = False
        if severity in ("FATAL", "PANIC"):
            self.fatal_seen = True
            return True
        if head.background:
            self.failed_in_background(head)
            return False
        if head.closes or head.flags & Flag.STATEMENTS:
            self.sql_prepared.lose()
        if head.hidden:
            self.own_left |= head.guard
            if code == "57014" and self.cancelled and not head.guard:
                # The cancel struck Howdah's own question: it was meant for the client's.
                self.cancelled = False
                self.engine.shell.resend_cancel(self)  # type: ignore[arg-type]
            return False
        if head.prefix:
            self.own_left = True
        if head.prefix and head.cancels and code != "57014":
            # It may not cancel itself: the client is told what it has asked for.
            text = "canceling statement due to user request"
            self._instead = messages.error_response("57014", text, severity="ERROR")
        if head.prefix:
            self._instead = self._instead or self.refused(head)
            for statement in head.restored or ():
                statement.upstream = False
        elif head.refusal and code == "42601":
            self._instead = head.refusal
        if head.prefix and head.simple:
            # The BEGIN in front of a Query failed: the Query is skipped up to a Sync.
            self.send(messages.SYNC)
        head.prefix.clear()
        if head.mixed and head.received < head.expected:
            # An extended message in front of a Query failed: PostgreSQL skips the Query.
            head.synced = head.simple = False
            while len(self.pending) > 1 and not head.synced:
                following = self.pending.pop(1)
                self._absorb(head, following)
                head.synced = following.synced and not following.simple
        for name, replaced in reversed(head.parses[head.parsed :]):
            if replaced is None:
                self.statements.pop(name, None)
            else:
                self.statements[name] = replaced
        del head.parses[head.parsed :]
        return not self._instead

    # ReadyForQuery

    def _ready(self, head: Pending, previous: bytes) -> bool:
        """`head` has ended; whether the client sees the ReadyForQuery."""
        self.pending.pop(0)
        self.copy_in = self.copy_both = False
        if not head.hidden or not self.pending:
            self.cancelled = False
        if head.probe_state is not None:
            self._probe_answered(head, head.probe_state)
        elif head.question:
            self.touched = head.row if head.error is None else None
        if head.background:
            self.backgrounds -= 1
        if head.prepares is not None:
            self.prepared(head, head.prepares)
        if head.reloads and head.error is None:
            self.engine.reload_expected()
        chained = self._chained(head)
        self._settle(head, ended=chained or self.status == b"I")
        if not head.hidden:
            self.settings_after(head, previous)
        if (chained or self.status == b"I") and not head.background:
            self._transaction_ended(head)
        if head.check is not None:
            self.judge(head)
        elif head.fill is not None:
            self._finish_fill(head)
        # Of a batch each has taken its part.
        elapsed = (self.now - head.sent) / max(1, len(head.plans))
        for at, (outcome, reason, shape) in enumerate(head.plans):
            self.count(outcome, reason, elapsed)
            failed = head.error is not None and (len(head.plans) == 1 or at == head.executed)
            self._tally(head, outcome, reason, shape or self._unread(reason), elapsed, failed)
        self.refresh()
        if self.wanted and self.status == b"I":
            self.fetch_wanted()
        if head.hidden and not self.pending and self.held is not None and self.summon is not None:
            self.summon()
        return not head.hidden

    def _unread(self, reason: Reason) -> Shape:
        """The shape of a text that was not read, and why it was not."""
        return self.engine.shapes.unread(self.database, reason.value)

    def _tally(
        self,
        head: Pending,
        outcome: str,
        reason: Reason,
        shape: Shape,
        elapsed: float,
        failed: bool,
    ) -> None:
        """Count a statement that PostgreSQL has answered."""
        context = head.context
        role = self.user if context is None else context.answer.role
        if shape.dropped:
            shape = self.engine.shapes.present(shape)
        shape.ran(outcome, reason.value, elapsed, self.now, role)
        self.forwarded += 1
        self.last_reason = reason
        shape.errors += failed
        if self.teller is not None:
            self.teller(outcome, reason.value, shape, elapsed, failed)
        fill = head.fill
        if fill is not None and fill.rejected is None and fill.complete:
            shape.bytes += fill.size
        if len(head.plans) == 1:
            shape.rows += _rows(head.tag)

    def _rows_of(self, head: Pending, payload: bytes) -> None:
        """One of several Executes has ended: its rows are those of its own statement."""
        if head.executed <= len(head.plans):
            shape = head.plans[head.executed - 1][2]
            if shape is not None:
                shape.rows += _rows(payload[:-1])

    def _chained(self, head: Pending) -> bool:
        """Whether this was a COMMIT or ROLLBACK AND CHAIN: the transaction before it has ended.

        The tag of that very command proves it, where nothing else is in the request or
        on its way (F1).
        """
        return (
            head.control is Control.CHAIN
            and head.lone
            and self.status == b"T"
            and head.error is None
            and head.tag in (b"COMMIT", b"ROLLBACK")
            and not self.pending
        )

    def _transaction_ended(self, head: Pending) -> None:
        if not self.pending:
            # The isolation level is the next one's, too, in a chain.
            chains = self.status != b"I"
            self.blocked = Reason.ISOLATION if chains and self.isolated else None
            self.isolated = self.isolated and chains
            self.portals.clear()
            self.ghost_portal = None
            self.hits_in_block = self.snapshot_in_block = self.bodies_in_block = False

    def _settle(self, head: Pending, *, ended: bool) -> None:
        """Fences and closures at the end of a request (F2, F3)."""
        if head.closure and not ended:
            self.wrote = head.writer
        self.closure |= head.closure
        self.closure_flags |= head.flags
        fence = head.fence
        if fence is not None:
            head.fence = None
            undone = ended and self.status == b"I" and self._known_abort(head)
            if not undone:
                self.narrow(head, fence)
            if fence.schema and undone:
                self.data.schema_fences -= 1
                self.engine.lower(fence, undone=True)
            elif fence.schema:
                self._read_schema_again(fence)
            else:
                if self.pooled:
                    self.engine.epoch("pooled")
                self.engine.lower(fence, undone=undone)
        if ended:
            self.wrote = ""
            self.closure = NOTHING
            self.closure_flags = Flag.NONE

    def _read_schema_again(self, fence: object) -> None:
        engine, database = self.engine, self.data
        engine.shell.reload_catalog(
            database.name,
            lambda: engine.schema_down(database, fence),  # type: ignore[arg-type]
        )

    def _known_abort(self, head: Pending) -> bool:
        """Whether nothing of `head`, nor of the transaction it ended, was committed (F3)."""
        if self.pending:
            return False
        if head.error is not None:
            # Only plain statements outside of an explicit transaction: an ERROR undid all.
            return head.autocommit and bool(head.flags & Flag.PLAIN) and head.error[0] == "ERROR"
        lone = head.control in (Control.COMMIT, Control.ROLLBACK)
        return lone and head.tag == b"ROLLBACK"

    def _probe_answered(self, head: Pending, state: State) -> None:
        unverified, self.unverified = self.unverified, []
        verifying, self.verifying = self.verifying, False
        answer = self._answer_of(head)
        if answer is not None:
            if answer.pid != self.backend_pid:
                self.pooled = True
            # Another session_user than the login's hides what the login may do.
            self.mighty = answer.mighty or answer.login_role != self.user
            self.mighty_version = self.data.version
            if verifying:
                self._clear_suspects(answer)
                self.doubts = False
        if any(one.suspect or self._changes_settings(one) for one in unverified):
            self.forget_settings(path=True)
            self.suspect_all()
        first, self.fresh = self.fresh, False
        if answer is None or state is not self.settings or head.watched != self.data.watched:
            return
        context = self.engine.context(self.data.name, answer)
        if context is None:
            self.context = self.path_context = None
            return
        if self.resets != answer.resets:
            # A reload has changed what RESET goes back to, perhaps in front of that SET.
            self.resets, state.came = answer.resets, None
        snapshot = self.data.snapshot
        if first and snapshot is not None and not snapshot.login_triggers:
            self.login_custom = head.watched, self.engine.reloads, answer.custom
        self.shown(state, context)

    def _answer_of(self, head: Pending) -> probe.Answer | None:
        """The answer to the probe; None where there is none."""
        if head.error is not None or head.row is None:
            self.probe_left = True
            if head.error is None or head.error[1] != "57014":
                self.probe_failures += 1
            return None
        self.probe_failures = 0
        self.probes_in_vain += 1
        try:
            return probe.decode(head.row)
        except ProtocolError:
            self.probe_failures = 3
            return None

    def _clear_suspects(self, answer: probe.Answer) -> None:
        """Statements that PostgreSQL has under the same name with the same text are as known."""
        for name, statement in self.statements.items():
            if statement.suspect and answer.statements.get(name.decode("utf-8", "replace")) == (
                md5(statement.text, usedforsecurity=False).hexdigest()
            ):
                statement.suspect = False

    def _changes_settings(self, statement: Statement) -> bool:
        return bool(self.plan(statement.text, anywhere=True).flags & Flag.SETTINGS)

    def _finish_fill(self, head: Pending) -> None:
        fill = head.fill
        if fill is None:
            return
        if head.background:
            known = self.stood(head)
        else:
            known = self.context is head.context
        if head.context is None or not head.context.live or not known:
            fill.reject("schema")
        if head.error is not None:
            fill.reject("error")
        entry = fill.admit(self.engine.board, self.engine.store, self.now)
        self.engine.flights.land(fill)
        self.limited(head)
        if entry is None:
            self.engine.statistics.reject(fill.rejected or "unknown")
            if fill.shape is not None:
                fill.shape.rejected += 1
        else:
            self.probes_in_vain = 0


def _rows(tag: bytes) -> int:
    """The rows that a command tag tells of."""
    number = tag[tag.rfind(b" ") + 1 :]
    return int(number) if number.isdigit() else 0


def _is_fatal(error: bytes) -> bool:
    """Whether an ErrorResponse ends the session."""
    return messages.fields(error).get("V") in ("FATAL", "PANIC")


_UNKEYED_PARAMETERS = frozenset(
    (b"application_name", b"in_hot_standby", b"is_superuser", b"server_version")
)
