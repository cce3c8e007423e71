"""Fills in flight, by key, and who waits for them: identical misses share one fill.

What lives here: which fill leads for a key, who waits, and when waiting ends. What
must not: the answer. A waiter is never handed the leader's reply; it is told to look
again, and whether it then finds an entry that holds is the ordinary test (F4).

Waiting ends with the fill, at once when the fill can no longer be admitted, and at
the waiter's own wish; how long it lasts at most is timed by the shell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from proxy.cache.fences import Board
from proxy.cache.fills import Fill
from proxy.cache.store import Key

# Causes of a rejection that lie in the answer itself: the next one is like it.
_LASTING = frozenset(("too_large", "too_many_rows", "notice", "message", "protocol"))
# So many keys whose answers cannot be stored are remembered; then all are forgotten.
_BARREN_LIMIT = 1000

Waiter = TypeVar("Waiter")


class Flight(Generic[Waiter]):
    """The fill that leads for its key, and its waiters in order of arrival."""

    __slots__ = ("fill", "waiters")

    def __init__(self, fill: Fill) -> None:
        self.fill = fill
        self.waiters: dict[Waiter, None] = {}


class Flights(Generic[Waiter]):
    """The fills in flight of one process.

    Args:
        board: tells when a fill has become hopeless.
        limit: waiters for one fill; 0 turns sharing off.
        wake: is called with a waiter once it has nothing to wait for any more. It
            must not act on the fences before it returns.

    Attributes:
        by_key: the flights that lead. Most misses look here in vain, so it is open.
        revivals: fills, by key, of what is served meanwhile though it has expired.
    """

    def __init__(self, board: Board, limit: int, wake: Callable[[Waiter], None]) -> None:
        self._board = board
        self._limit = limit
        self._wake = wake
        self.by_key: dict[Key, Flight[Waiter]] = {}
        self.revivals: dict[Key, Fill] = {}
        self._awaited: set[Flight[Waiter]] = set()
        self._barren: set[int] = set()

    def __len__(self) -> int:
        return len(self.by_key)

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return sum(len(flight.waiters) for flight in self._awaited)

    def depart(self, fill: Fill) -> None:
        """A fill is dispatched: it leads for its key, unless another one does."""
        if not self._limit or fill.key in self.by_key or hash(fill.key) in self._barren:
            return
        self.by_key[fill.key] = Flight(fill)

    def join(self, key: Key, waiter: Waiter) -> Flight[Waiter] | None:
        """Wait for the fill of `key`; None where there is none that is worth it."""
        flight = self.by_key.get(key)
        if flight is None or len(flight.waiters) >= self._limit:
            return None
        fill = flight.fill
        if fill.rejected is not None or not self._board.holds(fill.slots, fill.counters):
            # The next miss leads.
            del self.by_key[key]
            return None
        flight.waiters[waiter] = None
        if flight not in self._awaited:
            self._awaited.add(flight)
            fill.doomed = lambda: self._end(flight)
            self._board.raised = self._raised
        return flight

    def leave(self, flight: Flight[Waiter], waiter: Waiter) -> None:
        """`waiter` waits no longer; it is not woken."""
        flight.waiters.pop(waiter, None)
        if not flight.waiters:
            self._unwatch(flight)

    def forsake(self, flight: Flight[Waiter]) -> None:
        """The fill takes too long: whoever waits goes on waiting, the next miss leads."""
        if self.by_key.get(flight.fill.key) is flight:
            del self.by_key[flight.fill.key]

    def land(self, fill: Fill) -> None:
        """A fill has ended, however: its waiters look again."""
        if fill.rejected in _LASTING:
            if len(self._barren) >= _BARREN_LIMIT:
                self._barren.clear()
            self._barren.add(hash(fill.key))
        if self.revivals and self.revivals.get(fill.key) is fill:
            del self.revivals[fill.key]
        flight = self.by_key.get(fill.key)
        if flight is not None and flight.fill is fill:
            del self.by_key[fill.key]
        if fill.doomed is not None:
            # Somebody waits for it, even if it leads no longer.
            fill.doomed()

    def _end(self, flight: Flight[Waiter]) -> None:
        if self.by_key.get(flight.fill.key) is flight:
            del self.by_key[flight.fill.key]
        self._unwatch(flight)
        waiters, flight.waiters = flight.waiters, {}
        for waiter in waiters:
            self._wake(waiter)

    def _unwatch(self, flight: Flight[Waiter]) -> None:
        flight.fill.doomed = None
        self._awaited.discard(flight)
        if not self._awaited:
            self._board.raised = None

    def _raised(self, slots: frozenset[int]) -> None:
        """A fence is up: what was read before it may be old, so nobody waits for it."""
        for flight in list(self._awaited):
            if not slots.isdisjoint(flight.fill.slots):
                self._end(flight)
