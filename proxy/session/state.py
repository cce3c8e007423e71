"""The state of one session, and the rules that read it.

All that decides whether a session may be answered from memory is in this file
(F1, F4, F5, T1); what changes it stands in `requests.py` (the client's side) and
`replies.py` (the server's).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.cache.fences import ALL, Fence, Granule
from proxy.cache.store import Entry, Key
from proxy.policy import memo
from proxy.policy.plan import NOTHING, Closure, Control, Flag, Kind, Plan
from proxy.reasons import Reason
from proxy.session import probe
from proxy.session.context import Context, Database
from proxy.session.parts import Rest
from proxy.session.records import UNCONFINED, Pending, Statement
from proxy.session.sqlprepared import SqlPrepared
from proxy.session.tracking import MIXED, Tracking
from proxy.tally import Shape
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


_NO_CONTROL = (Control.NONE, Control.SET_TRANSACTION)
_DISCARDS_PLANS = re.compile(rb"\bDISCARD\s+PLANS\b", re.IGNORECASE)
EARLY_LIMIT = 1000  # texts
# Beside `Flag`: the transaction has run known DDL, so that no question narrows its closure.
UNASKABLE = 1 << 30
# Of statements, portals and savepoints that the client does not know; no client has this one.
OWN_NAME = b"howdah~own"

# What a cancelled request fails with that PostgreSQL has not had: its own words, and the
# status that it leaves.
SELF_CANCEL = b"SELECT pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid())"

# On a replication connection PostgreSQL hands texts that begin like this to another
# parser ("Streaming Replication Protocol"); none of these commands writes a table.
_REPLICATION_COMMAND = re.compile(
    rb"\s*(?:IDENTIFY_SYSTEM|START_REPLICATION|(?:CREATE|DROP|READ|ALTER)_REPLICATION_SLOT"
    rb"|TIMELINE_HISTORY|BASE_BACKUP|UPLOAD_MANIFEST)\b",
    re.IGNORECASE,
)
_REPLICATION_PLAN = Plan(Kind.OTHER, Reason.REPLICATION)


class SessionState(Tracking):
    """Attributes by lifetime, and what both sides of a session need."""

    def __init__(self, engine: Engine, connection_id: int) -> None:
        super().__init__()
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
        self.fresh = False  # nothing was in front of the probe that is on its way
        self.client_gone = False
        self.server_gone = False
        self.fatal_seen = False
        self.terminating = False
        self.startup_fence: Fence | None = None
        self.relay_fence: Fence | None = None  # replies no longer match requests

        # Settings, as far as ParameterStatus tells.
        self.encoding = ""
        self.standard_strings = ""
        # Reads that ran before the catalog was known: what they may have changed is judged
        # when it is, before anything is asked that depends on it.
        self.early: list[bytes] = []
        # A probe on its way tells which suspect statements are what they were; those that
        # were executed behind it.
        self.verifying = False
        self.doubts = False  # named ones are suspect, and nobody has looked yet
        self.unverified: list[Statement] = []
        self.probe_failures = 0
        self.probes_in_vain = 0
        self.statements_since_probe = 0

        # The transaction.
        self.status = b"I"  # of the last ReadyForQuery of PostgreSQL
        # A BEGIN that was answered locally and not yet sent, and what was set behind it (T2).
        self.deferred: list[bytes] | None = None
        # For who asks: hits and other statements, the last reason, the shape of the last hit.
        self.hits = self.forwarded = 0
        self.last_reason: Reason | None = None
        self.served: Shape | None = None
        # Told of each statement that PostgreSQL has answered: outcome, reason, shape, seconds,
        # and whether it failed.
        self.teller: Callable[[str, str, Shape, float, bool], None] | None = None

        self.closure: Closure = NOTHING  # what the open transaction has written
        self.closure_flags: int = Flag.NONE
        self.closure_version = 0
        self.wrote = ""  # its last statement that can have written, without literals
        # The answer to the question before COMMIT, and the error of the savepoint around
        # it, as a payload: the transaction has failed in front of its COMMIT.
        self.touched: bytes | None = None
        self.struck: bytes | None = None
        # Whether the login's role can act unseen, as the probe has told at this version.
        self.mighty = True
        self.mighty_version = -1
        self.server_major = 0  # of server_version; 0 while it is unknown
        self.isolated = False  # it is, or may be, something else than READ COMMITTED
        self.blocked: Reason | None = None  # why this transaction gets no hits any more (T1)
        self.hits_in_block = False
        self.snapshot_in_block = False  # PostgreSQL itself has run a query in it

        # Requests.
        self.pending: list[Pending] = []
        # How many of these nobody waits for. Some of those prepare statements that the client
        # takes to be there; what it has sent since. See `portals.py` and `preparing.py`.
        self.backgrounds = self.preparing = 0
        self.postponed = b""
        self.wanted: dict[Key, tuple[bytes, int]] = {}  # reads to be asked for again
        self.sampled: list[Entry] = []  # hits to be checked; see `verifying.py`
        self.statements: dict[bytes, Statement] = {}
        # Texts that Howdah has made itself, and what they are; see `explaining.py`.
        self.told: dict[bytes, Plan] = {}
        self.sql_prepared = SqlPrepared()
        self.portals: dict[bytes, Plan] = {}
        self.rests: dict[bytes, Rest] = {}  # of portals that came from memory
        self.stale_unnamed = False  # upstream still has an unnamed statement that is gone
        self.portal_waits = False  # the unnamed portal is what a deferred statement leaves
        self.ghost_portal: bytes | None = None  # Bind (or b"") that upstream has not seen
        self.copy_in = False
        self.copy_both = False
        self.hot = False
        # A request that waits for another session's fill of its key; see `shared.py`.
        self.held: bytes | None = None
        # Its client has cancelled it meanwhile.
        self.cancels_held = False
        # An error has struck a statement of Howdah's own, which is still there.
        self.own_left = self.probe_left = False
        # Set by the shell: has `wake` called soon.
        self.summon: Callable[[], None] | None = None
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
        return self.started and not self.pending and not self.block and self.held is None

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
            and len(self.pending) == self.backgrounds
            and not self.postponed
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
        if len(self.pending) > self.backgrounds:
            return Reason.SESSION_UNKNOWN
        return self.blocked

    def plan(self, text: bytes, *, anywhere: bool = False) -> Plan:
        """The plan of a text in this session as it stands (F9 where that is unclear).

        Args:
            anywhere: names may resolve in any schema.
        """
        unread = self.unread(text)
        if unread is not None:
            return unread
        found = self.engine.plan(text, self.data, None if anywhere else self.naming)
        if found.flags & Flag.UNKNOWN_NAME:
            self._look_again()
        if found.prepared is not None:
            self.sql_prepared.prepare(found.dropped or (), text)
        elif found.executes:
            return self.sql_prepared.execute(
                found, lambda text: self.engine.plan(text, self.data, None)
            )
        return found

    def unread(self, text: bytes) -> Plan | None:
        """The plan of a text that is not analysed; None for all others."""
        if self.told and text in self.told:
            return self.told[text]
        if self.replication and _REPLICATION_COMMAND.match(text):
            return _REPLICATION_PLAN
        if not self.safe_text or (self.encoding != "UTF8" and not text.isascii()):
            return memo.ENCODING
        if any(waiting.flags & Flag.SETTINGS for waiting in self.pending):
            # An outstanding SET may turn standard_conforming_strings off.
            return memo.ENCODING
        return None

    @property
    def naming(self) -> Context | None:
        """The context in which names are looked up; None where they may resolve anywhere."""
        context = self.context or self.path_context
        return context if context is not None and context.live else None

    def _look_again(self) -> None:
        """The text names what the catalog does not hold: others may have made it."""
        if self.now - self.data.looked > 1.0:
            self.data.looked = self.now
            self.engine.shell.reload_catalog(self.data.name, lambda: None)

    def places_of(
        self, context: Context, plan: Plan
    ) -> tuple[tuple[Granule, ...], tuple[int, ...]]:
        """Granules and slots that an answer depends on, all of which must be idle (F4)."""
        known = context.places.get(plan.reads)
        if known is None:
            known = context.places[plan.reads] = self.data.places_of(plan.reads)
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
        pending.controls |= plan.control not in _NO_CONTROL or bool(flags & Flag.SEVERAL)
        pending.lone = pending.noted == 1 and all(
            other is pending or other.hidden for other in self.pending
        )
        pending.said = b"" if pending.control is Control.NONE else text or b""
        pending.closure |= plan.closure
        if not flags & Flag.PLAIN and (plan.closure or flags & Flag.MAY_COMMIT):
            pending.flags &= ~Flag.PLAIN
        pending.flags |= flags & ~Flag.PLAIN
        if plan.bodies and plan.reason is not Reason.CATALOG_LOADING:
            self.bodies_in_block = True
            own = bool(flags & (Flag.SETTINGS | Flag.SCHEMA)) or self.changes_schema
            self.runs_bodies(alone=not (own or plan.mixes))
        if plan.reason is Reason.DDL:
            pending.flags |= UNASKABLE
        if flags & Flag.OPAQUE and text is not None and b"pg_reload_conf" in text.lower():
            pending.reloads = True
        if plan.kind is Kind.OTHER and text is not None and _DISCARDS_PLANS.search(text):
            # PostgreSQL reads all statements anew, under what holds when they are used.
            for statement in self.statements.values():
                statement.epoch = -1
        if flags & Flag.MAY_COMMIT and not confined(plan):
            pending.flags |= UNCONFINED
        if plan.reason is Reason.CURSOR and self.cursors_set:
            flags |= Flag.SETTINGS | Flag.PATH
            pending.flags |= flags & ~Flag.PLAIN
        if flags & Flag.SCHEMA and plan is not memo.UNVERIFIED:
            # What is made or dropped may be temporary, or be on the search_path.
            flags |= Flag.SETTINGS | Flag.PATH
            pending.flags |= flags & ~Flag.PLAIN
        if flags & Flag.SETTINGS:
            # Cursors that it opens may go on to change settings.
            self.cursors_set |= bool(plan.bodies or flags & Flag.OPAQUE)
            self.cursors_set |= plan.reason is Reason.CURSOR
            asked = any(earlier.probe_state is not None for earlier in self.pending)
            early = plan.reason is Reason.CATALOG_LOADING and text is not None and not asked
            if early and len(self.early) < EARLY_LIMIT:
                self.early.append(text or b"")
                self.context = self.path_context = None
                self.hot = False
            else:
                if plan.bodies and plan.reason is Reason.CATALOG_LOADING:
                    self.formed = MIXED
                pending.was = self.settings, self.kept
                self.moves(flags)
        if flags & Flag.STATEMENTS:
            self._forget_statements(plan)
        self.isolated |= bool(flags & Flag.ISOLATION)
        if self.blocked is None:
            if plan.closure:
                opaque = flags & Flag.OPAQUE
                self.blocked = Reason.TRANSACTION_OPAQUE if opaque else Reason.TRANSACTION_WRITES
            elif flags & Flag.LOCKS:
                self.blocked = Reason.TRANSACTION_LOCKS
            elif flags & Flag.ISOLATION:
                self.blocked = Reason.ISOLATION

    @property
    def changes_schema(self) -> bool:
        """Whether DDL of its own is open: what is planned now stays so, rolled back or not (K1)."""
        flags = self.closure_flags
        for waiting in self.pending:
            flags |= waiting.flags
        return bool(flags & Flag.SCHEMA)

    def suspect_all(self) -> None:
        """Any prepared statement may have been replaced."""
        for statement in self.statements.values():
            statement.suspect = True
            self.doubts |= bool(statement.name)

    def _forget_statements(self, plan: Plan) -> None:
        self.sql_prepared.forget(plan)
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
        if explicit and not self._may_commit(pending):
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
            pending.fence.text = self._writer(pending)
        if schema and not pending.fence.schema:
            pending.fence.schema = True
            self.engine.schema_up(self.data)

    def _writer(self, pending: Pending) -> str:
        """What people call the write that is about to be seen: of a COMMIT, what it commits."""
        for each in (pending, *reversed(self.pending)):
            if each.closure:
                return each.writer
        return self.wrote or pending.writer

    def _may_commit(self, pending: Pending) -> bool:
        """Whether what `pending` runs inside an explicit transaction can be seen by others.

        Opaque code cannot commit there, so nothing is seen before the COMMIT; unless it
        can write through connections of its own.
        """
        flags = pending.flags
        if not flags & Flag.MAY_COMMIT:
            return False
        return bool(flags & UNCONFINED) or not self.trusted

    @property
    def trusted(self) -> bool:
        """Whether all that this session's code writes is written by its backend, and seen.

        A role that can run programs, load code or make connections is not trusted, nor
        is a database that has code which does; nor what is not known.
        """
        data = self.data
        snapshot = data.snapshot
        return (
            snapshot is not None
            and not self.mighty
            and self.mighty_version == data.version
            and not data.schema_fences
            and not getattr(snapshot, "other_writers", True)
        )

    def new_pending(self, *, hidden: bool = False) -> Pending:
        pending = Pending(self.now, hidden=hidden)
        pending.synced = hidden  # Howdah's own requests are whole
        if not self.pending and not self.closure:
            self.closure_version = self.data.version
        self.pending.append(pending)
        self.hot = False
        return pending

    def in_background(self) -> Pending:
        """A request of Howdah's own that nobody waits for: what else is sent goes on as before."""
        pending = self.new_pending(hidden=True)
        pending.background = True
        self.backgrounds += 1
        return pending

    def simple_pending(self) -> Pending:
        """The pending of a Query or FunctionCall.

        Behind extended messages without a Sync it belongs to theirs: one
        ReadyForQuery answers all, unless one of those messages fails; then
        PostgreSQL skips the Query too, and waits for a Sync.
        """
        if self.pending and not self.pending[-1].synced:
            pending = self.pending[-1]
            if pending.error is not None and not pending.simple:
                # PostgreSQL has told of the error already, and skips this one, too.
                return pending
            pending.mixed = True
        else:
            pending = self.new_pending()
        pending.simple = pending.synced = True
        return pending

    def send_probe(self) -> None:
        """Ask the backend who it is, in front of what follows (K1-K4)."""
        early, self.early = self.early, []
        plans = [self.plan(text, anywhere=True) for text in early]
        if any(plan.bodies for plan in plans):
            self.formed = MIXED
        if any(plan.flags & Flag.SETTINGS for plan in plans):
            self.forget_settings(path=True)
        pending = self.new_pending(hidden=True)
        pending.probe_state, pending.watched = self.settings, self.data.watched
        self.statements_since_probe = 0
        suspects = any(statement.suspect for statement in self.statements.values())
        self.verifying = suspects
        if self.probe_left:
            self.send(messages.close(b"S", probe.NAME))
            self.probe_left = False
        self.send(probe.asking(self.data.watched, statements=suspects))

    @property
    def asks(self) -> bool:
        """Whether there is something that only a probe can tell."""
        return self.context is None or not self.context.live or self.doubts

    def may_probe(self) -> bool:
        """Whether a probe is possible and worth its while before the next request."""
        if self.pending or self.status != b"I":
            return False
        if self.replication or self.pooled or self.probe_failures >= 3:
            return False
        if self.data.snapshot is None or not self.asks:
            return False
        return self.statements_since_probe >= (1 << min(self.probes_in_vain, 8)) - 1

    def drop_fill(self, pending: Pending, cause: str) -> None:
        """The answer of `pending` is not recorded after all; who waits for it looks again."""
        fill, pending.fill = pending.fill, None
        if fill is not None:
            fill.reject(cause)
            self.engine.flights.land(fill)

    def send_begin(self, pending: Pending) -> None:
        """Put the BEGIN that was answered locally in front of `pending`'s request (T2).

        It travels in the extended protocol and without a Sync of its own: should
        it fail, PostgreSQL skips what follows, and nothing runs outside of the
        transaction that the client believes in.
        """
        if self.deferred is not None:
            for at, text in enumerate(self.deferred, 1):
                # The client may still name the portal that the last of them has left.
                theirs = at == len(self.deferred) and self.portal_waits
                self.inject(pending, text, b"12C3" if theirs else b"12C33", theirs=theirs)
            pending.begins = True
            self.deferred = None
            self.portal_waits = False
        if self.cancels_held:
            self.inject(pending, SELF_CANCEL, b"12DC33")
            pending.cancels = True

    def inject(
        self, pending: Pending, text: bytes, replies: bytes, *, theirs: bool = False
    ) -> None:
        """Run a statement of Howdah's own in front of a request; its replies are dropped.

        Under a name of its own: the client's unnamed statement and portal stay as they are.

        Args:
            theirs: it leaves the client's unnamed portal, as the client believes.
        """
        if self.own_left:
            self.send(messages.close(b"S", OWN_NAME))
            pending.prefix += b"3"
            self.own_left = False
        self.send(
            messages.parse(OWN_NAME, text)
            + messages.bind(b"" if theirs else OWN_NAME, OWN_NAME)
            + messages.execute(b"" if theirs else OWN_NAME)
            + (b"" if theirs else messages.close(b"P", OWN_NAME))
            + messages.close(b"S", OWN_NAME)
        )
        pending.prefix += replies

    def outcome(self, plan: Plan) -> str:
        """The metric outcome of a forwarded statement, misses apart."""
        if plan.kind is Kind.READ or plan.kind is Kind.BYPASS:
            return "bypass"
        return "write" if plan.kind is Kind.WRITE else "other"


def confined(plan: Plan) -> bool:
    """Whether a plan stands for one opaque statement that was parsed: no COMMIT is in it."""
    return bool(plan.flags & Flag.OPAQUE) and not plan.flags & (Flag.SEVERAL | Flag.ISOLATION)
