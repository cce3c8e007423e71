"""Verify mode: some of the hits are asked of PostgreSQL, too, and the answers compared.

What lives here: which hits those are, the request behind the client's back, the verdict, and
what a mistake leads to. What must not: the comparison of rows (`comparing.py`) and how far
an answer is determined (`policy.order`).

The client has its answer already. In the next turn of the loop the same statement goes to
PostgreSQL on the session's own connection, under a name of Howdah's own and outside of any
transaction, so that role, settings, search_path and row-level security are the client's. It
counts only if the counters of the entry's fences are the same at its ReadyForQuery as at
the hit: then no write that came through Howdah can have happened in between, and a
difference is a mistake of Howdah's, or the work of somebody who writes past it.

A check never waits for its turn and never piles up: where the session has something else to
do, or too many are on their way, there is none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from proxy.cache.fences import Granule
from proxy.cache.fills import Fill
from proxy.cache.store import Entry, Key
from proxy.policy.order import order_of
from proxy.policy.plan import Kind, Plan
from proxy.reasons import Reason
from proxy.session import comparing
from proxy.session.comparing import Difference
from proxy.session.records import Pending
from proxy.session.touched import Touched
from proxy.tally import Shape
from proxy.wire import messages

if TYPE_CHECKING:
    from proxy.session.engine import Engine

RACE = "race"
SKIPPED = "skipped"
# On their way at once: in all, and on one connection.
MOST = 64
MOST_EACH = 8
_KEPT = 20  # findings
# The golden ratio: multiples of it fall evenly between 0 and 1, however hits repeat.
_STEP = 0.6180339887498949
# Of the check's statement and portal.
_NAME = b"howdah~check"
# Beyond the size of what was served; longer answers are not recorded to their end.
_SLACK = 64 * 1024
# Errors of this class do not depend on the plan or the moment: names, types, privileges.
_REFUSED = "42"


class Finding(NamedTuple):
    """A mismatch.

    Attributes:
        time: loop time in s. database, role: whose answer it was. context: its number.
        shape: id of the statement. text: the statement without its literals.
        parameters: a hash of literals and parameters.
        age: of the answer from memory, in s.
        words: what differs.
        quarantined: the shape is not answered from memory any more.
    """

    time: float
    database: str
    role: str
    context: int
    shape: str
    text: str
    parameters: str
    age: float
    words: str
    quarantined: bool


class Verification:
    """What all sessions share.

    Args:
        share: of the hits that are checked, 0 to 1, where no rule says otherwise.
        quarantines: a statement that was answered wrongly goes to PostgreSQL from then on.

    Attributes:
        active: some hits are checked, or may be.
        out: checks that are on their way.
        found: the last mismatches.
        alarm: is told of each.
    """

    def __init__(self, engine: Engine, share: float, quarantines: bool) -> None:
        self._engine = engine
        self.share = share
        self.quarantines = quarantines
        self.active = share > 0
        self.out = 0
        self.found: deque[Finding] = deque(maxlen=_KEPT)
        self.alarm: Callable[[Finding], None] = lambda finding: None
        self._turn = 0.0

    def begin(self) -> None:
        """Some hits are checked from now on: a rule or a hint asks for it."""
        if not self.active:
            self.active = True
            # Entries are looked at anew: to have been seen to hold was enough before.
            self._engine.board.stamp += 1

    def rules_changed(self) -> None:
        """Other rules are in force; statements in quarantine may try again."""
        self.active = self.share > 0
        self.reset_quarantine()

    def draws(self, share: float) -> bool:
        """Whether to check a hit of which `share` are to be checked."""
        self._turn = (self._turn + _STEP) % 1.0
        return self._turn < share

    def count(self, result: str) -> None:
        results = self._engine.statistics.verify
        results[result] = results.get(result, 0) + 1

    @property
    def quarantined(self) -> list[Shape]:
        """Statements that are not answered from memory, since an answer was wrong."""
        return [shape for shape in self._engine.shapes if shape.quarantined]

    def reset_quarantine(self) -> int:
        """Let them be cached again; return how many there were."""
        shapes = self.quarantined
        for shape in shapes:
            shape.quarantined = False
        if shapes:
            self._engine.forget_plans()
        return len(shapes)

    def wrong(self, entry: Entry, finding: Finding) -> None:
        """An answer from memory was wrong: it goes, and so does what may be wrong like it."""
        engine = self._engine
        if finding.quarantined:
            # Not that of the entry: the registry may have forgotten it and begun anew.
            engine.shapes.of(finding.database, text_of(entry.key)).quarantined = True
            engine.forget_plans()
            # Others of the shape read the same tables. Nor may one be stored that is just
            # being recorded: its counters move.
            granules = _relations(entry)
            engine.store.evict(granules, "mismatch", now=finding.time, owner="verify")
            fence = engine.board.up(granules, Reason.FENCED, "verify", finding.time)
            engine.board.down(fence)
        engine.store.drop(entry, "mismatch", finding.time)
        self.found.append(finding)
        self.alarm(finding)


class Check:
    """A hit that PostgreSQL is asked about, too."""

    __slots__ = ("bodies", "entry")

    def __init__(self, entry: Entry, bodies: bool) -> None:
        self.entry = entry
        self.bodies = bodies


class Verifying(Touched):
    """The checks of one session."""

    # Set by the shell: has `check` called in the next turn of the loop.
    soon: Callable[[], None] | None = None
    _checks_out = 0
    _cursors: bool = False

    # A hit

    def sample(self, entry: Entry) -> None:
        """`entry` is being served: check it if it is its turn."""
        verification = self.engine.verification
        terms = entry.terms
        share = verification.share if terms is None or terms.verify is None else terms.verify
        if not verification.draws(share) or self.soon is None or self.now >= entry.expires:
            return
        if len(self.sampled) >= MOST_EACH:
            verification.count(SKIPPED)
            return
        self.sampled.append(entry)
        if len(self.sampled) == 1:
            self.soon()

    def check(self, now: float) -> None:
        """Ask PostgreSQL what was just answered from memory."""
        self.now = now
        sampled, self.sampled = self.sampled, []
        for entry in sampled:
            if not self._may_check(entry):
                self.engine.verification.count(SKIPPED)
            elif not self.engine.board.holds(entry.slots, entry.counters):
                self.engine.verification.count(RACE)
            else:
                self._ask_again(entry)
        self.refresh()

    def _may_check(self, entry: Entry) -> bool:
        """Whether PostgreSQL would handle it now, as this session, outside of a transaction."""
        context = self.context
        if (
            not self.hot
            or self.status != b"I"
            or self.server_gone
            or self.close_server
            or self.client_gone
            or self.held is not None
            or context is None
            or not context.live
            or context.id != entry.key[0]
        ):
            return False
        if self.deferred is not None and (len(self.deferred) > 1 or entry.bodies):
            return False  # a SET LOCAL waits with the BEGIN
        if entry.bodies and self.keeps_other_plans():
            return False
        return self._checks_out < MOST_EACH and self.engine.verification.out < MOST

    def _ask_again(self, entry: Entry) -> None:
        if entry.bodies:
            # The session keeps the plans of its functions, and what they open.
            self.runs_bodies()
            self._cursors = True
        key = entry.key
        pending = self.in_background()
        pending.check = Check(entry, entry.bodies)
        pending.context, pending.reported = self.context, self.reported
        pending.fill = Fill(
            key,
            entry.granules,
            entry.slots,
            entry.counters,
            dispatched=self.now,
            expires=entry.expires,
            limit=2 * len(entry.body) + _SLACK,
        )
        self._checks_out += 1
        self.engine.verification.out += 1
        if len(key) == 2:
            source, rest = text_of(key) + b"\x00\x00\x00", bytes(6)
        else:
            source, rest = key[1:]
        self.send(
            messages.close(b"S", _NAME)
            + messages.message(b"P", _NAME + b"\x00" + source)
            + messages.message(b"B", (_NAME + b"\x00") * 2 + rest)
            + messages.message(b"D", b"P" + _NAME + b"\x00")
            + messages.execute(_NAME)
            + messages.close(b"S", _NAME)
            + messages.SYNC
        )
        self.refresh()

    # What comes back

    def drop_fill(self, pending: Pending, cause: str) -> None:
        """See `SessionState.drop_fill`; a check is given up with its recording."""
        if pending.check is None:
            super().drop_fill(pending, cause)
            return
        pending.fill = None
        self._checked(pending, SKIPPED)

    def _checked(self, head: Pending, result: str) -> None:
        head.check = None
        self._checks_out -= 1
        self.engine.verification.out -= 1
        self.engine.verification.count(result)

    def judge(self, head: Pending) -> None:
        """PostgreSQL has answered a check."""
        check, fill = head.check, head.fill
        assert check is not None
        assert fill is not None
        entry = check.entry
        difference = self._difference(head, entry, fill, check.bodies)
        self._checked(head, difference.result)
        if (
            head.error is not None
            and self.status == b"I"
            and not (self.pending or self.client_gone)
        ):
            # PostgreSQL has skipped the Close: the client would see the statement in
            # pg_prepared_statements. Behind more of the client's the next check closes it.
            self.in_background()
            self.send(messages.close(b"S", _NAME) + messages.SYNC)
        if difference.result == comparing.MISMATCH:
            verification = self.engine.verification
            verification.wrong(entry, self._finding(head, entry, difference))

    def _difference(self, head: Pending, entry: Entry, fill: Fill, bodies: bool) -> Difference:
        context = head.context
        if (
            not self.engine.board.holds(entry.slots, entry.counters)
            or context is None
            or not context.live
            or not self.stood(head)
        ):
            return Difference(RACE)
        if head.error is not None:
            if head.error[0] == "ERROR" and head.error[1].startswith(_REFUSED):
                return Difference(comparing.MISMATCH, f"PostgreSQL refuses it ({head.error[1]})")
            return Difference(SKIPPED)
        if fill.rejected is not None and fill.rejected != "too_large":
            return Difference(SKIPPED)
        told = fill.description or b""
        if fill.rejected is None and entry.description is not None and entry.description != told:
            return Difference(comparing.MISMATCH, "the columns are others")
        body = None if fill.rejected is not None else fill.body
        if body is not None:
            found = comparing.compare(entry.body, body, told, None)
            if found is not None:
                return found
        path = context.answer.search_path
        text = text_of(entry.key).decode("utf-8", "replace")
        order = order_of(text, self.data.snapshot, path, bodies=bodies)
        if body is None:
            result = comparing.TOLERATED if order.loose else comparing.MISMATCH
            return Difference(result, "PostgreSQL's answer is far longer")
        return comparing.compare(entry.body, body, told, order) or Difference(SKIPPED)

    def _finding(self, head: Pending, entry: Entry, difference: Difference) -> Finding:
        context = head.context
        assert context is not None
        shape = entry.shape
        digest = blake2b(b"\x00".join(entry.key[1:]), digest_size=8)
        return Finding(
            time=self.now,
            database=self.database,
            role=context.answer.role,
            context=context.id,
            shape="" if shape is None else shape.id,
            text="" if shape is None else shape.text,
            parameters=digest.hexdigest(),
            age=self.now - entry.filled,
            words=difference.words,
            quarantined=self.engine.verification.quarantines,
        )

    def stood(self, head: Pending) -> bool:
        """See `PortalSide.stood`."""
        raise NotImplementedError


def quarantine(plan: Plan) -> Plan:
    """What is done with a read that was answered wrongly once."""
    if plan.kind is not Kind.READ:
        return plan
    return replace(plan, kind=Kind.BYPASS, reason=Reason.QUARANTINED, reads=())


def text_of(key: Key) -> bytes:
    """The SQL of what an entry answers."""
    if len(key) == 2:
        return key[1][5:-1]
    return key[1][: key[1].find(b"\x00")]


def _relations(entry: Entry) -> tuple[Granule, ...]:
    """The tables that an answer is made of; its database where it is made of none."""
    found = tuple(granule for granule in entry.granules if granule[0] > 0 and granule[1])
    return found or entry.granules[1:2]
