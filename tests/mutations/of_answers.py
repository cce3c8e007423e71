"""Mutations of hits and fills (F4, F5, T1 to T3)."""

from __future__ import annotations

from typing import Any

from proxy.cache.fences import ALL, LocalBoard
from proxy.cache.fills import Fill
from proxy.cache.flights import Flights
from proxy.policy.plan import Kind
from proxy.session import extended
from proxy.session.engine import Engine
from proxy.session.extended import ExtendedSide
from proxy.session.requests import ClientSide
from proxy.session.state import SessionState
from proxy.wire import messages
from tests.mutations import patching
from tests.mutations.entry import (
    CHECKER,
    EXTENDED,
    RACES,
    RULES,
    SIMPLE,
    WRITES,
    mutation,
)


@mutation(
    "F3, F4",
    "nothing is evicted by a write, and a hit does not compare counters",
    SIMPLE + "test_fence_stands_before_the_write_leaves_and_falls_after_ready",
    RACES + "test_acknowledgement_held_after_the_commit",
    WRITES + "test_parse_foreign_commit_bind",
    WRITES + "test_read_behind_a_write_of_its_pipeline",
    WRITES + "test_several_syncs_in_flight",
    CHECKER,
)
def evict_after_lowering() -> None:
    no_counters_at_hit()

    def lax(lower: Any) -> Any:
        def lowered(self: Any, fence: Any, *, undone: bool = False) -> None:
            lower(self, fence, undone=True)

        return lowered

    patching.replace(Engine, "lower", lax)


@mutation(
    "F4",
    "a hit does not compare counters: what is evicted in slices is served until it is freed",
    RULES + "test_entries_that_wait_to_be_freed_are_not_served",
)
def no_counters_at_hit() -> None:
    def lax(holds: Any) -> Any:
        def holding(self: Any, slots: Any, counters: Any) -> bool:
            return self.record(slots) is not None

        return holding

    patching.replace(LocalBoard, "holds", lax)


@mutation(
    "F4",
    "raising a fence leaves the stamp, so that entries seen lately are not looked at again",
    RACES + "test_acknowledgement_held_after_the_commit",
)
def stamp_stays() -> None:
    def still(up: Any) -> Any:
        def raised(self: Any, *arguments: Any) -> Any:
            stamp = self.stamp
            fence = up(self, *arguments)
            self.stamp = stamp
            return fence

        return raised

    patching.replace(LocalBoard, "up", still)


@mutation(
    "F4",
    "entries are served beyond max_age",
    SIMPLE + "test_expired_entries_are_not_served",
)
def age_is_ignored() -> None:
    patching.rewrite(ClientSide, "holds", "self.now >= entry.expires", "False")


def _hot_but(**pretended: Any) -> None:
    """Let `hot` be computed as if attributes of the session had these values."""

    def blind(refresh: Any) -> Any:
        def refreshed(self: Any) -> None:
            kept = {name: getattr(self, name) for name in pretended}
            vars(self).update(pretended)
            refresh(self)
            vars(self).update(kept)

        return refreshed

    patching.replace(SessionState, "refresh", blind)


@mutation(
    "T1",
    "a transaction that has written gets hits",
    SIMPLE + "test_explicit_transaction_fences_at_commit",
)
def hit_after_own_write() -> None:
    _hot_but(blocked=None)


@mutation(
    "T2",
    "a failed transaction gets hits",
    SIMPLE + "test_failed_transaction_gets_no_hits",
)
def hit_in_failed_transaction() -> None:
    _hot_but(status=b"T")


@mutation(
    "T3",
    "a hit overtakes answers that are outstanding",
    SIMPLE + "test_pipelined_requests_are_forwarded_in_order",
)
def hit_overtakes() -> None:
    def hasty(new_pending: Any) -> Any:
        def opened(self: Any, *, hidden: bool = False) -> Any:
            hot = self.hot
            pending = new_pending(self, hidden=hidden)
            self.hot = hot
            return pending

        return opened

    patching.replace(SessionState, "new_pending", hasty)


# --- fills (F5) -------------------------------------------------------------------------


@mutation(
    "F5",
    "counters are not compared when a fill is admitted",
    SIMPLE + "test_slow_fill_against_commit",
    RACES + "test_late_fill_7",
)
def no_counters_at_admit() -> None:
    def trusting(admit: Any) -> Any:
        def admitted(self: Any, board: Any, store: Any, now: float) -> Any:
            self.counters = board.record(self.slots) or self.counters
            return admit(self, board, store, now)

        return admitted

    patching.replace(Fill, "admit", trusting)


@mutation(
    "F5",
    "a fill begins under a fence",
    RACES + "test_fill_begun_under_a_fence",
)
def fill_under_a_fence() -> None:
    # The counters of a fence that is down again are those that it will have.
    def ahead(record: Any) -> Any:
        def recorded(self: Any, slots: Any) -> Any:
            return tuple(self._started[slot] for slot in slots)

        return recorded

    def strictly(holds: Any) -> Any:
        def held(self: Any, slots: Any, counters: Any) -> bool:
            idle = all(self._started[slot] == self._finished[slot] for slot in slots)
            return idle and counters == tuple(self._started[slot] for slot in slots)

        return held

    patching.replace(LocalBoard, "record", ahead)
    patching.replace(LocalBoard, "holds", strictly)


@mutation(
    "F5",
    "a transaction that has written fills",
    WRITES + "test_reads_of_a_transaction_that_has_written_are_its_own",
)
def fill_from_a_writer() -> None:
    patching.rewrite(SessionState, "why_not", "return self.blocked", "return None")


@mutation(
    "F5",
    "counters are recorded at the Execute, not at the Bind",
    EXTENDED + "test_bind_and_execute_in_different_batches_fill_nothing",
    WRITES + "test_bind_foreign_commit_execute",
)
def counters_at_execute() -> None:
    def remember(register: Any) -> Any:
        def registered(self: Any, kind: int, message: bytes, pending: Any) -> Any:
            plan = register(self, kind, message, pending)
            if kind == extended.B:
                bind = messages.decode_bind(message[5:])
                self.bound = plan, self.statements.get(bind.statement), bind.rest
            return plan

        return registered

    def late(forward: Any) -> Any:
        def forwarded(self: Any, batch: Any, *, syncs: bool = False) -> None:
            forward(self, batch, syncs=syncs)
            plan, statement, rest = vars(self).get("bound", (None, None, b""))
            lone = syncs and [kind for kind, _ in batch] == [extended.E]
            if lone and plan is not None and plan.kind is Kind.READ and self.context is not None:
                key = (self.context.id, statement.source, rest)
                pending = self.pending[-1]
                pending.fill, _ = self.fill(self.context, plan, key)
                pending.context = self.context

        return forwarded

    patching.replace(ExtendedSide, "_register", remember)
    patching.replace(ExtendedSide, "forward_batch", late)


@mutation(
    "F5",
    "who waits for another's fill is given its answer, also where a write has passed it",
    RACES + "test_waiter_is_not_given_what_a_write_has_passed",
)
def waiter_gets_a_rejected_fill() -> None:
    test = "fill.rejected is not None or not self._board.holds(fill.slots, fill.counters)"
    patching.rewrite(Flights, "join", test, "fill.rejected is not None")
    patching.replace(Flights, "_raised", lambda _: lambda self, slots: None)

    def obliging(admit: Any) -> Any:
        def admitted(self: Any, board: Any, store: Any, now: float) -> Any:
            if self.doomed is not None:  # somebody waits for it
                self.counters = board.record(self.slots) or self.counters
            return admit(self, board, store, now)

        return admitted

    patching.replace(Fill, "admit", obliging)


@mutation(
    "F5",
    "the answer to an Execute with a row limit is stored",
    "tests/playbook/test_preparing.py::test_what_comes_behind_a_limit_is_not_seen",
)
def row_limit_is_stored() -> None:
    def whole(begin: Any) -> Any:
        def begun(self: Any, kind: int, size: int) -> bool:
            if kind == 0x73:  # PortalSuspended
                self.complete = True
                return False
            return bool(begin(self, kind, size))

        return begun

    patching.replace(Fill, "begin", whole)
    patching.replace(Fill, "beyond", lambda _: lambda self, kind: None)


@mutation(
    "F5",
    "an answer that came with a notice is stored",
    WRITES + "test_notices_are_repeated",
)
def notice_is_stored() -> None:
    def deaf(begin: Any) -> Any:
        return lambda self, kind, size: kind != 0x4E and begin(self, kind, size)

    patching.replace(Fill, "begin", deaf)


@mutation(
    "F5",
    "a fill in flight outlives a flush",
    RULES + "test_a_fill_in_flight_does_not_outlive_an_epoch",
)
def epoch_leaves_fills() -> None:
    def lax(epoch: Any) -> Any:
        def begun(self: Any, cause: str) -> None:
            self.store.evict((ALL,), cause)

        return begun

    patching.replace(Engine, "epoch", lax)
