"""The state of one session, and the rules that read it.

All that decides whether a session may be answered from memory is in this file
(F1, F4, F5, T1); what changes it stands in `requests.py` (the client's side) and
`replies.py` (the server's).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from proxy.cache.fences import ALL, Fence, Granule, slot_of
from proxy.cache.fills import Fill
from proxy.policy import memo
from proxy.policy.plan import NOTHING, Closure, Control, Flag, Kind, Plan
from proxy.reasons import Reason
from proxy.session import probe
from proxy.session.context import Context, Database
from proxy.wire import messages

if TYPE_CHECKING:
    from proxy.session.engine import Engine

# Client encodings in which every byte below 0x80 is the ASCII character and no
# other: texts of pure ASCII read the same in each of them.
SINGLE_BYTE_ENCODINGS = frozenset(
    ("SQL_ASCII", "WIN866", "WIN874", "KOI8R", "KOI8U")
    + tuple(f"LATIN{number}" for number in range(1, 11))
    + tuple(f"ISO_8859_{number}" for number in range(5, 9))
    + tuple(f"WIN{number}" for number in range(1250, 1259))
)


EARLY_LIMIT = 1000  # texts
OWN_NAME = b"howdah"  # of statements and portals that the client does not know

# On a replication connection PostgreSQL hands texts that begin like this to another
# parser ("Streaming Replication Protocol"); none of these commands writes a table.
_REPLICATION_COMMAND = re.compile(
    rb"\s*(?:IDENTIFY_SYSTEM|START_REPLICATION|(?:CREATE|DROP|READ|ALTER)_REPLICATION_SLOT"
    rb"|TIMELINE_HISTORY|BASE_BACKUP|UPLOAD_MANIFEST)\b",
    re.IGNORECASE,
)
_REPLICATION_PLAN = Plan(Kind.OTHER, Reason.REPLICATION)


# Built-in types of parameters that neither run code nor read the clock, and their arrays.
_USUAL_TYPES = frozenset(
    (0, 16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 650, 700, 701, 705, 829, 869, 1042, 1043)
    + (1082, 1114, 1184, 1186, 1560, 1562, 1700, 2950, 3802)
    + (199, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028)
    + (1041, 1115, 1182, 1185, 1187, 1231, 2951, 3807)
)


def _unusual_types(tail: bytes) -> tuple[int, ...]:
    """The parameter types at the end of a Parse message that are not plain built-in ones."""
    if len(tail) <= 2:
        return ()
    oids = (int.from_bytes(tail[i : i + 4], "big") for i in range(2, len(tail), 4))
    return tuple(oid for oid in oids if oid not in _USUAL_TYPES)


class Statement:
    """A prepared statement, named or not, as the client knows it.

    Attributes:
        source: the Parse message behind the name: text, zero, parameter types. Part of the key.
        epoch, version: of settings and schema at its Parse (K1).
        upstream: whether PostgreSQL has it; an unnamed one that was answered from
            memory is sent there only when it is needed (R2).
        unusual: declared parameter types, as OIDs, that need a look at the catalog.
        suspect: opaque code has run since and may have replaced it.
    """

    __slots__ = (
        "epoch",
        "message",
        "name",
        "source",
        "suspect",
        "text",
        "unusual",
        "upstream",
        "version",
    )

    def __init__(self, name: bytes, message: bytes, epoch: int, version: int) -> None:
        self.name = name
        self.message = message
        self.source = message[6 + len(name) :]
        end = self.source.find(b"\x00")
        self.text = self.source[:end] if end >= 0 else self.source
        self.unusual = _unusual_types(self.source[end + 1 :]) if end >= 0 else ()
        self.epoch = epoch
        self.version = version
        self.upstream = False
        self.suspect = False


class Pending:
    """What upstream owes up to one ReadyForQuery.

    Attributes:
        hidden: a request of Howdah's own; its replies do not reach the client.
        prefix: types of replies, in order, that answer messages which Howdah put
            in front of the client's; they are dropped.
        fence, closure, flags: what the request can write, see `SessionState.dispatch`.
        parses: statements defined by it, with what they replaced, in order.
    """

    __slots__ = (
        "autocommit",
        "before",
        "before_epoch",
        "begins",
        "closure",
        "context",
        "control",
        "data_ended",
        "error",
        "expected",
        "fence",
        "fill",
        "flags",
        "hidden",
        "learn",
        "mixed",
        "noted",
        "parsed",
        "parses",
        "plans",
        "prefix",
        "probe_epoch",
        "received",
        "row",
        "sent",
        "simple",
        "synced",
        "tag",
    )

    def __init__(self, sent: float, *, hidden: bool = False) -> None:
        self.sent = sent
        self.hidden = hidden
        self.prefix: list[int] = []
        self.fence: Fence | None = None
        self.closure: Closure = NOTHING
        self.flags: int = Flag.PLAIN
        self.fill: Fill | None = None
        self.context: Context | None = None
        self.plans: list[tuple[str, Reason]] = []
        self.parses: list[tuple[bytes, Statement | None]] = []
        self.parsed = 0
        self.error: tuple[str, str] | None = None
        self.tag = b""
        self.synced = False
        self.data_ended = False  # CopyDone or CopyFail was sent behind it
        self.autocommit = True
        self.begins = False  # a deferred BEGIN travels in front of it
        self.simple = False  # a Query, not a batch of extended messages
        self.probe_epoch: int | None = None
        self.row: bytes | None = None
        # (key of the transition, context before): a SET whose effect is known or to be learned.
        self.learn: tuple[int, int, bytes] | None = None
        self.before: Context | None = None
        self.before_epoch = 0
        self.noted = 0  # plans that it executes
        self.control = Control.NONE  # of the only one
        # Extended messages sent, and answered so far; see `simple_pending`.
        self.expected = self.received = 0
        self.mixed = False

    @property
    def passes(self) -> bool:
        """Whether rows go to the client without being looked at."""
        return self.fill is None and self.synced and not (self.hidden or self.prefix or self.mixed)


class SessionState:
    """Attributes by lifetime, and what both sides of a session need."""

    def __init__(self, engine: Engine, connection_id: int) -> None:
        self.engine = engine
        self.connection_id = connection_id
        self.now = 0.0

        # Outputs, drained by the shell after every call.
        self.to_client: list[bytes] = []
        self.to_server: list[bytes] = []
        self.close_client = False
        self.close_server = False

        # For the life of the connection.
        self.database = ""
        self.user = ""
        self.data: Database = Database("")
        self.replication = False
        self.logical = True  # SQL can be run: not a physical replication connection
        self.backend_pid: int | None = None
        self.cancel_key: bytes | None = None
        self.cancelled = False
        self.pooled = False
        self.awaits_client = False  # the server has asked for a password or the like
        self.started = False  # the first ReadyForQuery has been seen
        self.client_gone = False
        self.server_gone = False
        self.fatal_seen = False
        self.terminating = False
        self.startup_fence: Fence | None = None
        self.relay_fence: Fence | None = None  # replies no longer match requests

        # Settings, as far as ParameterStatus tells.
        self.encoding = ""
        self.standard_strings = ""
        self.context: Context | None = None
        self.path_context: Context | None = None
        self.login_context: Context | None = None
        # Numbers the states of the settings. A state known to be as before gets its
        # old number back, a new one never has a number that was used.
        self.epoch = self.epochs = 0
        self.learning: Pending | None = None
        # Reads that ran before the catalog was known: what they may have changed is judged
        # when it is, before anything is asked that depends on it.
        self.early: list[bytes] = []
        # A probe on its way tells which suspect statements are what they were; those that
        # were executed behind it.
        self.verifying = False
        self.unverified: list[Statement] = []
        self.probe_failures = 0
        self.probes_in_vain = 0
        self.statements_since_probe = 0

        # The transaction.
        self.status = b"I"  # of the last ReadyForQuery of PostgreSQL
        self.deferred: bytes | None = None  # BEGIN answered locally, not yet sent (T2)
        self.closure: Closure = NOTHING  # what the open transaction has written
        self.closure_flags: int = Flag.NONE
        self.closure_version = 0
        self.blocked: Reason | None = None  # why this transaction gets no hits any more (T1)
        self.hits_in_block = False
        self.snapshot_in_block = False  # PostgreSQL itself has run a query in it

        # Requests.
        self.pending: list[Pending] = []
        self.statements: dict[bytes, Statement] = {}
        self.portals: dict[bytes, Plan] = {}
        self.stale_unnamed = False  # upstream still has an unnamed statement that is gone
        self.ghost_portal: bytes | None = None  # Bind (or b"") that upstream has not seen
        self.copy_in = False
        self.copy_both = False
        self.hot = False
        self.last_upstream = 0.0
        self.idle_timeout: float | None = None  # PostgreSQL's, in s; see `after_hit`

    # Outputs

    def reply(self, data: bytes) -> None:
        if data:
            self.to_client.append(data)

    def send(self, data: bytes) -> None:
        if data:
            self.to_server.append(data)
            self.last_upstream = self.now

    # Rules

    @property
    def block(self) -> bool:
        """Whether the client is inside a transaction block, deferred ones included."""
        return self.deferred is not None or self.status != b"I"

    @property
    def idle(self) -> bool:
        """Nothing outstanding and no transaction open: it may be ended politely."""
        return self.started and not self.pending and not self.block

    @property
    def waiting(self) -> bool:
        """Replies outstanding, or the login: upstream must be read to the end."""
        if self.server_gone or self.close_server:
            return False
        return bool(self.pending) or not self.started

    def refresh(self) -> None:
        """Recompute `hot`: whether a look-up in the store is allowed at all (F4, T1, T3)."""
        context = self.context
        self.idle_timeout = None if context is None else context.answer.idle_timeout
        self.hot = (
            context is not None
            and not self.pending
            and self.status != b"E"
            and self.blocked is None
            and context.problem is None
            and not self.pooled
            and not self.replication
            and self.relay_fence is None
            and self.safe_text
        )

    @property
    def safe_text(self) -> bool:
        return self.standard_strings == "on" and (
            self.encoding == "UTF8" or self.encoding in SINGLE_BYTE_ENCODINGS
        )

    def why_not(self) -> Reason | None:
        """Why no statement of this session may be answered from memory now; None if it may."""
        if self.replication:
            return Reason.REPLICATION
        if any(not waiting.hidden for waiting in self.pending):
            return Reason.PIPELINED
        if self.status == b"E":
            return Reason.TRANSACTION_FAILED
        if self.pooled or self.relay_fence is not None:
            return Reason.POOLED
        if self.data.problem is not None:
            return self.data.problem
        if self.data.snapshot is None:
            return Reason.CATALOG_LOADING
        context = self.context
        if context is None or not context.live:
            return Reason.SESSION_UNKNOWN
        if context.problem is not None:
            return context.problem
        if not self.safe_text:
            return Reason.ENCODING
        if self.pending:
            return Reason.SESSION_UNKNOWN
        return self.blocked

    def plan(self, text: bytes, *, anywhere: bool = False) -> Plan:
        """The plan of a text in this session as it stands (F9 where that is unclear).

        Args:
            anywhere: names may resolve in any schema.
        """
        if self.replication and _REPLICATION_COMMAND.match(text):
            return _REPLICATION_PLAN
        if not self.safe_text or (self.encoding != "UTF8" and not text.isascii()):
            return memo.ENCODING
        if any(waiting.flags & Flag.SETTINGS for waiting in self.pending):
            # An outstanding SET may turn standard_conforming_strings off.
            return memo.ENCODING
        context = self.context or self.path_context
        if anywhere or (context is not None and not context.live):
            context = None
        return self.engine.plan(text, self.data, context)

    def places_of(
        self, context: Context, plan: Plan
    ) -> tuple[tuple[Granule, ...], tuple[int, ...]]:
        """Granules and slots that an answer depends on, all of which must be idle (F4)."""
        known = context.places.get(plan.reads)
        if known is None:
            oid = self.data.oid
            granules: tuple[Granule, ...] = (ALL, (oid, 0))
            snapshot = self.data.snapshot
            if snapshot is not None and snapshot.login_triggers:
                granules += (self.data.startup,)
            granules += tuple((oid, relation) for relation in plan.reads)
            known = context.places[plan.reads] = granules, tuple(map(slot_of, granules))
        return known

    # Dispatch

    def count(self, outcome: str, reason: Reason, seconds: float | None = None) -> None:
        self.engine.statistics.count(outcome, reason.value)
        if seconds is not None:
            self.engine.statistics.seconds[outcome].observe(seconds)

    def note(self, pending: Pending, plan: Plan, text: bytes | None = None) -> None:
        """A statement of `plan` is about to be forwarded as part of `pending`.

        Args:
            text: what it says, where that is known.

        Its effects on the session are assumed at once, since nobody knows before
        the reply whether they happen; the reply corrects what it proves.
        """
        flags = plan.flags
        pending.noted += 1
        pending.control = plan.control if pending.noted == 1 else Control.NONE
        pending.learn = None
        pending.closure |= plan.closure
        if not flags & Flag.PLAIN and (plan.closure or flags & Flag.MAY_COMMIT):
            pending.flags &= ~Flag.PLAIN
        pending.flags |= flags & ~Flag.PLAIN
        if flags & Flag.SETTINGS:
            asked = any(earlier.probe_epoch is not None for earlier in self.pending)
            early = plan.reason is Reason.CATALOG_LOADING and text is not None and not asked
            if early and len(self.early) < EARLY_LIMIT:
                self.early.append(text or b"")
                self.context = self.path_context = None
                self.hot = False
            else:
                self.forget_settings(path=bool(flags & Flag.PATH))
        if flags & Flag.STATEMENTS:
            self._forget_statements(plan)
        if self.blocked is None:
            if plan.closure:
                opaque = flags & Flag.OPAQUE
                self.blocked = Reason.TRANSACTION_OPAQUE if opaque else Reason.TRANSACTION_WRITES
            elif flags & Flag.LOCKS:
                self.blocked = Reason.TRANSACTION_LOCKS
            elif flags & Flag.ISOLATION:
                self.blocked = Reason.ISOLATION

    def forget_settings(self, *, path: bool) -> None:
        """From here on the settings are unknown, and with `path` how names resolve (K3)."""
        self.epochs += 1
        self.epoch = self.epochs
        self.context = None
        self.learning = None  # the next answer shows more than one change
        self.hot = False
        if path:
            self.path_context = None

    def suspect_all(self) -> None:
        """Any prepared statement may have been replaced."""
        for statement in self.statements.values():
            statement.suspect = True

    def _forget_statements(self, plan: Plan) -> None:
        if plan.flags & Flag.OPAQUE:
            self.suspect_all()
            self.verifying = False  # a probe on its way shows what was before
        elif plan.dropped is None:
            # DISCARD ALL and DEALLOCATE ALL leave the unnamed statement alone.
            unnamed = self.statements.get(b"")
            self.statements.clear()
            if unnamed is not None:
                self.statements[b""] = unnamed
        else:
            for name in plan.dropped:
                self.statements.pop(name.encode("utf-8", "surrogateescape"), None)

    def dispatch(self, pending: Pending) -> None:
        """Raise the fence that `pending` needs, before its bytes leave (F1).

        Inside an explicit transaction only what may commit needs one, and it then
        covers all that the transaction has written. Where the state of the
        transaction is not known, since replies are outstanding, both hold.
        """
        owed = self.closure
        flags = self.closure_flags | pending.flags
        for earlier in self.pending:
            if earlier is not pending:
                owed |= earlier.closure
                flags |= earlier.flags
        owed |= pending.closure
        if not owed:
            return
        # Howdah's own requests leave the state of the transaction as it is.
        alone = all(earlier is pending or earlier.hidden for earlier in self.pending)
        explicit = alone and (self.status != b"I" or pending.begins)
        pending.autocommit = alone and not explicit
        if explicit and not pending.flags & Flag.MAY_COMMIT:
            return
        if self.closure_version != self.data.version:
            # The schema has changed since the closure was computed (F12).
            granules: set[Granule] = {(self.data.oid, 0)} if self.data.oid else {ALL}
        else:
            granules = set()
        granules.update(self.engine.granules(owed, self.data))
        # While the catalog is read for the first time, nobody can tell what opaque code
        # does to it (F12).
        loading = self.data.snapshot is None and self.data.problem is Reason.CATALOG_LOADING
        schema = bool(flags & Flag.SCHEMA or (loading and flags & Flag.OPAQUE))
        if pending.fence is not None:
            self.engine.board.widen(pending.fence, granules)
        else:
            owner = f"session {self.connection_id}"
            pending.fence = self.engine.board.up(granules, Reason.FENCED, owner, self.now)
        if schema and not pending.fence.schema:
            pending.fence.schema = True
            self.engine.schema_up(self.data)

    def new_pending(self, *, hidden: bool = False) -> Pending:
        pending = Pending(self.now, hidden=hidden)
        pending.synced = hidden  # Howdah's own requests are whole
        if not self.pending and not self.closure:
            self.closure_version = self.data.version
        self.pending.append(pending)
        self.hot = False
        return pending

    def simple_pending(self) -> Pending:
        """The pending of a Query or FunctionCall.

        Behind extended messages without a Sync it belongs to theirs: one
        ReadyForQuery answers all, unless one of those messages fails; then
        PostgreSQL skips the Query too, and waits for a Sync.
        """
        if self.pending and not self.pending[-1].synced:
            pending = self.pending[-1]
            pending.mixed = True
        else:
            pending = self.new_pending()
        pending.simple = pending.synced = True
        return pending

    def send_probe(self) -> None:
        """Ask the backend who it is, in front of what follows (K1-K4)."""
        early, self.early = self.early, []
        if any(self.plan(text, anywhere=True).flags & Flag.SETTINGS for text in early):
            self.forget_settings(path=True)
        pending = self.new_pending(hidden=True)
        pending.probe_epoch = self.epoch
        self.statements_since_probe = 0
        suspects = any(statement.suspect for statement in self.statements.values())
        self.verifying = suspects
        self.send(probe.PROBE_WITH_STATEMENTS if suspects else probe.PROBE)

    def may_probe(self) -> bool:
        """Whether a probe is possible and worth its while before the next request."""
        if self.pending or self.status != b"I" or self.deferred is not None:
            return False
        if self.replication or self.pooled or self.probe_failures >= 3:
            return False
        if self.data.snapshot is None or (self.context is not None and self.context.live):
            return False
        return self.statements_since_probe >= (1 << min(self.probes_in_vain, 8)) - 1

    def send_begin(self, pending: Pending) -> None:
        """Put the BEGIN that was answered locally in front of `pending`'s request (T2).

        It travels in the extended protocol and without a Sync of its own: should
        it fail, PostgreSQL skips what follows, and nothing runs outside of the
        transaction that the client believes in.
        """
        if self.deferred is None:
            return
        self.inject(pending, self.deferred, b"12C33")
        pending.begins = True
        self.deferred = None

    def inject(self, pending: Pending, text: bytes, replies: bytes) -> None:
        """Run a statement of Howdah's own in front of a request; its replies are dropped.

        Under a name of its own: the client's unnamed statement and portal stay as they are.
        """
        self.send(
            messages.parse(OWN_NAME, text)
            + messages.bind(OWN_NAME, OWN_NAME)
            + messages.execute(OWN_NAME)
            + messages.close(b"P", OWN_NAME)
            + messages.close(b"S", OWN_NAME)
        )
        pending.prefix += replies

    def outcome(self, plan: Plan) -> str:
        """The metric outcome of a forwarded statement, misses apart."""
        if plan.kind is Kind.READ or plan.kind is Kind.BYPASS:
            return "bypass"
        return "write" if plan.kind is Kind.WRITE else "other"
