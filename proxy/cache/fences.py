"""Fences: counters that say whether a write may be changing an answer right now.

Invariants F1 to F4. A granule (a relation, a database, or all) maps to a slot;
each slot has two counters, `started` and `finished`. Up adds one to `started`,
down adds one to `finished`; a slot is idle while they are equal. A fill records
`started` of its slots while they are idle; its entry holds as long as the slots
are idle with the same count. A known abort takes its `started` back, so that
entries it never touched stay good (F3).

Slots are hashed, as a board in shared memory needs it: two granules in one slot
cost a needless miss, never a wrong answer. What lives here is the interface and
the board of a single process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from proxy.reasons import Reason

# (database OID, relation OID); (database OID, 0) is all of a database.
Granule = tuple[int, int]
ALL: Granule = (0, 0)

SLOTS = 1 << 16


def slot_of(granule: Granule) -> int:
    """Map a granule to its slot; 0 is kept for `ALL`. Equal in every process."""
    if granule == ALL:
        return 0
    database, relation = granule
    # Knuth's multiplicative hash spreads consecutive OIDs over the board.
    mixed = ((database * 2654435761) ^ (relation * 2246822519)) & 0xFFFFFFFF
    return 1 + (mixed ^ (mixed >> 15)) % (SLOTS - 1)


class Fence:
    """A raised fence: who holds which granules, why, and since when (loop time, s)."""

    __slots__ = ("cause", "down", "granules", "lost", "owner", "schema", "since", "slots", "text")

    def __init__(
        self, granules: frozenset[Granule], cause: Reason, owner: str, since: float
    ) -> None:
        self.granules = granules
        self.slots = frozenset(map(slot_of, granules))
        self.cause = cause
        self.owner = owner
        self.since = since
        self.down = False
        self.schema = False  # the catalog is read again before it comes down (F12)
        self.text = ""  # the statement that writes, without its literals
        self.lost = 0  # the backend's pid, where the connection was lost (F2)

    @property
    def kind(self) -> str:
        """Why it stands: write, schema, lost_backend, starting, suspended, paused."""
        if self.lost:
            return "lost_backend"
        if self.cause is Reason.FENCED:
            return "schema" if self.schema else "write"
        return self.cause.value


class Board(Protocol):
    """What the rest of Howdah knows of a fence board.

    `stamp` changes with every change of any counter: an entry that held at the
    same stamp still holds. `raised` is told the slots of every fence that goes up or
    grows, once they are no longer idle.
    """

    stamp: int
    fences: set[Fence]
    raised: Callable[[frozenset[int]], None] | None

    def up(self, granules: Iterable[Granule], cause: Reason, owner: str, now: float) -> Fence: ...
    def widen(self, fence: Fence, granules: Iterable[Granule]) -> None: ...
    def down(self, fence: Fence, *, undone: bool = False) -> None: ...
    def narrow(self, fence: Fence, granules: Iterable[Granule]) -> frozenset[Granule]: ...
    def record(self, slots: Iterable[int]) -> tuple[int, ...] | None: ...
    def holds(self, slots: Iterable[int], counters: tuple[int, ...]) -> bool: ...
    def cause(self, slots: Iterable[int]) -> Reason: ...
    def ages(self, now: float) -> dict[str, float]: ...


class LocalBoard:
    """The board of one process."""

    def __init__(self) -> None:
        self.stamp = 0
        self.fences: set[Fence] = set()
        self.raised: Callable[[frozenset[int]], None] | None = None
        self._started = [0] * SLOTS
        self._finished = [0] * SLOTS

    def up(self, granules: Iterable[Granule], cause: Reason, owner: str, now: float) -> Fence:
        """Raise a fence on `granules`. It stands before the call returns (F1)."""
        fence = Fence(frozenset(granules), cause, owner, now)
        for slot in fence.slots:
            self._started[slot] += 1
        self.fences.add(fence)
        self.stamp += 1
        if self.raised is not None:
            self.raised(fence.slots)
        return fence

    def widen(self, fence: Fence, granules: Iterable[Granule]) -> None:
        """Let a raised fence cover `granules` too (F12)."""
        more = frozenset(granules)
        added = frozenset(map(slot_of, more)) - fence.slots
        for slot in added:
            self._started[slot] += 1
        fence.granules |= more
        fence.slots |= added
        self.stamp += 1
        if self.raised is not None:
            self.raised(added)

    def narrow(self, fence: Fence, granules: Iterable[Granule]) -> frozenset[Granule]:
        """Let a raised fence stand on `granules` alone; return what it covers now.

        For a write whose reach was not known before and is now: what it covered
        beyond `granules` was not changed, and entries recorded before hold again.
        The granules that are left count as written once the fence comes down (F3).
        """
        left = frozenset(granules)
        slots = frozenset(map(slot_of, left))
        for slot in slots - fence.slots:
            self._started[slot] += 1
        for slot in fence.slots - slots:
            self._started[slot] -= 1
        fence.granules, fence.slots = left, slots
        self.stamp += 1
        return left

    def down(self, fence: Fence, *, undone: bool = False) -> None:
        """Lower a fence after proof that its write has ended (F2).

        Args:
            undone: the write is known to have changed nothing; entries recorded
                before the fence hold again.
        """
        if fence.down:
            raise AssertionError("a fence is lowered once")
        fence.down = True
        counters = self._started if undone else self._finished
        step = -1 if undone else 1
        for slot in fence.slots:
            counters[slot] += step
        self.fences.discard(fence)
        self.stamp += 1

    def record(self, slots: Iterable[int]) -> tuple[int, ...] | None:
        """The counters to remember for a fill; None where a slot is not idle (F5)."""
        started, finished = self._started, self._finished
        counters = []
        for slot in slots:
            # `finished` first: with several writers the other order could see
            # the end of a write without its beginning.
            ended = finished[slot]
            begun = started[slot]
            if ended != begun:
                return None
            counters.append(begun)
        return tuple(counters)

    def holds(self, slots: Iterable[int], counters: tuple[int, ...]) -> bool:
        """Whether the slots are idle with just these counters (F4)."""
        return self.record(slots) == counters

    def cause(self, slots: Iterable[int]) -> Reason:
        """Why the slots are not idle; the gravest cause where there are several."""
        wanted = set(slots)
        causes = {fence.cause for fence in self.fences if not wanted.isdisjoint(fence.slots)}
        for reason in (Reason.PAUSED, Reason.STARTING, Reason.SUSPENDED):
            if reason in causes:
                return reason
        return Reason.FENCED

    def ages(self, now: float) -> dict[str, float]:
        """Kind of fence -> age of the oldest one in seconds."""
        found: dict[str, float] = {}
        for fence in self.fences:
            found[fence.kind] = max(found.get(fence.kind, 0.0), now - fence.since)
        return found
