"""The client's side of a session: what both protocols share, and the simple one.

A request is a Query, a FunctionCall, or a batch of extended-protocol messages. It
is answered from memory, answered locally (a BEGIN that is deferred, T2), or
forwarded. Batches are the matter of `extended.py`.
"""

from __future__ import annotations

import re

from proxy.cache.fills import FewRows, Fill
from proxy.cache.store import MAX_FREQUENCY, Entry, Key
from proxy.policy import memo
from proxy.policy.plan import Control, Flag, Kind, Plan
from proxy.reasons import Reason
from proxy.session.context import Context
from proxy.session.records import Pending
from proxy.session.verifying import Verifying
from proxy.terms import Terms
from proxy.wire import messages
from proxy.wire.framing import HEADER

TAGS = {Control.BEGIN: b"BEGIN", Control.COMMIT: b"COMMIT", Control.ROLLBACK: b"ROLLBACK"}

# The word that the command tag of a BEGIN depends on; behind a comment it is not sought.
_BEGIN = re.compile(rb"\s*BEGIN\b", re.IGNORECASE)
_BEGINS = re.compile(rb"\s*(?:BEGIN|START)\b", re.IGNORECASE)

# What a SET LOCAL of a custom setting is: others are reported, or may be refused.
_DOTTED = re.compile(rb'\s*SET\s+LOCAL\s+[\w$"]+\s*\.', re.IGNORECASE)
# The terms of a read of which nobody has said anything.
_USUAL = Terms()
_CUSTOM = Flag.SETTINGS | Flag.CUSTOM | Flag.SET_CONSTANT | Flag.LOCAL


class ClientSide(Verifying):
    """Handles whole requests of the client. See `Session.from_client`."""

    # Simple protocol

    def query(self, message: bytes) -> None:
        """A Query message."""
        if self.hot:
            context = self.context
            entry = self.engine.store.get((context.id, message))  # type: ignore[union-attr]
            if entry is not None and self.holds(entry):
                if entry.description:
                    self.to_client.append(entry.description)
                self.to_client += (entry.body, self.after_hit(b""))
                self._close_unnamed()
                return
        self._query_slowly(message)

    def _query_slowly(self, message: bytes) -> None:
        plan = self.plan(message[HEADER:-1]) if message[-1] == 0 else memo.UNPARSABLE
        if self.answer_control(plan, message[HEADER:-1]):
            self.reply(messages.command_complete(command_tag(plan, message[HEADER:-1])))
            self.reply(messages.READY_BLOCK if self.block else messages.READY_IDLE)
            self._close_unnamed()
            return
        reason = plan.reason
        fill: Fill | None = None
        if plan.kind is Kind.READ:
            obstacle = self.why_not()
            if obstacle is None and self.context is not None:
                fill, reason = self.fill(self.context, plan, (self.context.id, message))
            else:
                reason = obstacle or Reason.SESSION_UNKNOWN
        if not plan.flags & Flag.SETTINGS and self.may_probe():
            self.send_probe()
        asked = self.may_ask(plan)
        if asked:
            self.ask_touched()
        self.statements_since_probe += 1
        pending = self.simple_pending()
        pending.fill, pending.context = fill, self.context
        pending.asked = asked
        pending.plans.append(("miss" if fill else self.outcome(plan), reason, plan.shape))
        self.note(pending, plan, message[HEADER:-1])
        self.send_begin(pending)
        if pending.lone:
            self.learns(pending, plan, message[HEADER:-1])
        self.before_set_transaction(plan, pending)
        self.dispatch(pending)
        self.snapshot_in_block |= plan.kind is Kind.READ
        self.statements.pop(b"", None)
        self.stale_unnamed = False
        self.ghost_portal = None
        self.portals.pop(b"", None)
        self.send(message)

    def _close_unnamed(self) -> None:
        """A Query that PostgreSQL has not seen ends the unnamed statement and portal (R2)."""
        unnamed = self.statements.pop(b"", None)
        if unnamed is not None and unnamed.upstream:
            self.stale_unnamed = True
        self.portals.pop(b"", None)
        self.portal_waits = False
        if self.block:
            self.ghost_portal = b""

    # Hits

    def holds(self, entry: Entry) -> bool:
        """Whether `entry` may be served now (F4)."""
        board = self.engine.board
        if entry.stamp != board.stamp:
            seen = entry.stamp == ~board.stamp
            if not seen and not board.holds(entry.slots, entry.counters):
                return False
            entry.stamp = board.stamp
            if self.engine.verification.active:
                return self._holds_in_sight(entry)
        if self.now >= entry.expires and not (entry.terms and self.serves_stale(entry)):
            return False
        if entry.bodies:
            if self.keeps_other_plans():
                return False
            # PostgreSQL may be asked for this portal later in the transaction.
            self.bodies_in_block = self.block
        if entry.frequency < MAX_FREQUENCY:
            entry.frequency += 1
        if entry.fresh:
            entry.fresh += 1
        else:
            # Brought to its shape later: of a hit only this is counted on the way.
            entry.fresh = 1
            self.engine.shapes.fresh.append(entry)
        self.served = entry.shape
        return True

    def _holds_in_sight(self, entry: Entry) -> bool:
        """The same where hits are verified: each comes by here, and may be checked.

        The complement of a stamp says that the entry was seen to hold then, too.
        """
        served = self.holds(entry)
        entry.stamp = ~self.engine.board.stamp
        if served:
            self.sample(entry)
        return served

    def serves_stale(self, entry: Entry) -> bool:
        """Whether an answer that has expired is served all the same. See `stale.py`."""
        raise NotImplementedError

    def after_hit(self, bind: bytes) -> bytes:
        """Bookkeeping of a hit; returns the ReadyForQuery that ends its reply."""
        self.engine.statistics.fresh_hits += 1
        self.hits += 1
        self.probes_in_vain = 0
        if self.idle_timeout is not None and self.now - self.last_upstream > self.idle_timeout / 20:
            self._touch()
        if self.deferred is not None or self.status != b"I":
            self.hits_in_block = True
            self.ghost_portal = bind
            self.portal_waits = False
            return messages.READY_BLOCK
        return messages.READY_IDLE

    def _touch(self) -> None:
        """Show PostgreSQL that the client is not idle (T2): a Sync, its reply unseen."""
        self.in_background()
        self.send(messages.SYNC)
        self.refresh()

    def fill(self, context: Context, plan: Plan, key: Key) -> tuple[Fill | None, Reason]:
        """Prepare to record the answer of a read that could have been a hit (F5)."""
        engine = self.engine
        if plan.bodies and self.keeps_other_plans():
            return None, Reason.FUNCTIONS_STALE
        granules, slots = self.places_of(context, plan)
        counters = engine.board.record(slots)
        if counters is None:
            return None, engine.board.cause(slots)
        entry = engine.store.get(key)
        reason = Reason.NOT_CACHED
        if entry is not None and self.now >= entry.expires:
            reason = Reason.EXPIRED
            if self.now >= entry.ends:
                engine.store.drop(entry, "expired", self.now)
        terms = plan.terms or _USUAL
        limit = engine.store.entry_limit
        make = Fill if terms.max_rows is None else FewRows
        fill = make(
            key,
            granules,
            slots,
            counters,
            dispatched=self.now,
            expires=self.now + terms.life(engine.max_age),
            limit=limit if terms.max_bytes is None else min(limit, terms.max_bytes),
            bodies=plan.bodies,
            shape=plan.shape,
            terms=plan.terms,
        )
        engine.flights.depart(fill)
        return fill, reason

    # Transaction control

    def answer_control(self, plan: Plan, text: bytes) -> bool:
        """BEGIN, COMMIT and ROLLBACK that PostgreSQL need not see (T2)."""
        control = plan.control
        if control is Control.NONE and self.deferred is not None:
            return self._defer_setting(plan, text)
        if control is Control.NONE or control not in TAGS:
            return False
        if self.deferred is not None:
            if control is Control.BEGIN:
                return False
            self.deferred = None
            self.goes_back(kept=control is Control.COMMIT)
            self.refresh()
            self.hits_in_block = False
            self.blocked = None
            self.portals.clear()
            self.ghost_portal = None
        else:
            context = self.context
            if (
                control is not Control.BEGIN
                or not plan.flags & Flag.DEFERRABLE
                or not _BEGINS.match(text)
                or not self.hot
                or self.status != b"I"
                or context is None
                or not context.live
                or not context.answer.defers
            ):
                return False
            self.deferred = [text]
            self.block_begins()
        self.count("other", Reason.TRANSACTION)
        if plan.shape is not None:
            plan.shape.others += 1
        return True

    def _defer_setting(self, plan: Plan, text: bytes) -> bool:
        """Have a SET LOCAL travel with the BEGIN in front of it, if it is known where it leads.

        It has to be one that PostgreSQL cannot refuse: a setting that belongs to nobody.
        """
        assert self.deferred is not None
        if plan.kind is not Kind.OTHER or plan.flags != _CUSTOM or len(self.deferred) > 8:
            return False
        if not _DOTTED.match(text):
            return False
        if not self.arrives(plan, text):
            return False
        self.deferred.append(text)
        self.count("other", plan.reason)
        return True

    def before_set_transaction(self, plan: Plan, pending: Pending) -> None:
        """After a hit SET TRANSACTION must fail as it would after any query (T2)."""
        if plan.control is not Control.SET_TRANSACTION and not plan.flags & Flag.ISOLATION:
            return
        if self.hits_in_block and not self.snapshot_in_block and self.status != b"E":
            self.inject(pending, b"SELECT 1", b"12DC33")
            self.snapshot_in_block = True


def command_tag(plan: Plan, text: bytes) -> bytes:
    """The command tag of a BEGIN, COMMIT or ROLLBACK, however it is spelled, or of a SET."""
    if plan.control is Control.NONE:
        return b"SET"
    if plan.control is Control.BEGIN and not _BEGIN.match(text):
        return b"START TRANSACTION"
    return TAGS[plan.control]
