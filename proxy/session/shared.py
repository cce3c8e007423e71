"""Waiting for another session's fill of the same key, instead of asking the same again.

What lives here: when a session waits and how its waiting ends. What must not: answers.
Whoever has waited handles the request as if it had just come: an ordinary look-up (F4)
finds what the leader has stored, or the request is forwarded. So a waiter inherits no
error, no cancel and no rejected fill, and the order of answers is kept (T3): a client
that sends more ends its waiting. A request that is cancelled while it waits is forwarded behind
a statement that cancels itself: the error, its words and the status of the transaction
are PostgreSQL's, and no cancel is on its way that could strike what comes next.

The core knows no clock: how long waiting may last is timed by the shell, which is told
of its beginning by `held` and calls `wake`.
"""

from __future__ import annotations

from proxy.cache.flights import Flight
from proxy.cache.store import Key
from proxy.policy.plan import Flag
from proxy.reasons import Reason
from proxy.session.extended import ExtendedSide
from proxy.session.state import SessionState
from proxy.wire import messages


class Waiting(ExtendedSide):
    """The waiting of one session. Only reads that could be hits wait, one at a time."""

    _flight: Flight[SessionState] | None = None
    _since: float = 0.0
    _may_wait: bool = True

    def waits(self, key: Key, data: bytes) -> bool:
        """Let the request `data` wait if its key is being filled just now."""
        if key not in self.engine.flights.by_key or not self._may_wait:
            return False
        idle = self.idle_timeout
        if idle is not None and (
            self.engine.shared_wait > idle / 2 or self.now - self.last_upstream > idle / 20
        ):
            # PostgreSQL would take the client for idle, and end the session.
            return False
        flight = self.engine.flights.join(key, self)
        if flight is None:
            return False
        self._flight, self._since = flight, self.now
        self.held = data
        self.hot = False
        return True

    def waits_for_path(self, data: bytes) -> bool:
        """Let a request wait for the probe if nobody can see through it only for want of a path.

        With an unknown search_path a name may mean the functions of all schemas. If one
        of them is opaque, everything would be evicted, and the settings would be unknown
        again behind it.
        """
        if not self._may_wait or self.cancels_held or self.path_context is not None:
            return False
        if self.status != b"I":
            return False
        text = _only_text(data)
        if text is None or self.data.snapshot is None or not self.safe_text:
            return False
        if not self.plan(text).flags & Flag.OPAQUE:
            return False
        asked = any(waiting.probe_epoch == self.epoch for waiting in self.pending)
        if not asked and self.may_probe():
            self.send_probe()
        elif not asked or not all(waiting.hidden for waiting in self.pending):
            return False
        self.held, self._since, self.hot = data, self.now, False
        return True

    def wake(self, now: float, *, late: bool = False) -> None:
        """There is nothing to wait for any more, or no time: answer or forward.

        Args:
            late: the time is over; the next miss of this key leads.
        """
        held = self.held
        if held is None:
            return
        self.now = now
        flight = self._flight
        if late and flight is not None:
            self.engine.flights.forsake(flight)
        self.leave()
        self.refresh()
        statistics = self.engine.statistics
        hits = statistics.fresh_hits
        self._may_wait = False
        try:
            self.from_client(held, now)
        finally:
            self._may_wait = True
        if flight is not None and statistics.fresh_hits > hits:
            statistics.fresh_hits -= 1
            self.count("shared", Reason.NONE, now - self._since)

    def cancel_held(self, now: float) -> bool:
        """The client cancels what it waits for; False where it waits for nothing here."""
        held = self.held
        if held is None:
            return False
        self.now = now
        self.leave()
        # Not `hot` any more, it is not answered from memory either.
        self.cancels_held = True
        try:
            self.from_client(held, now)
        finally:
            self.cancels_held = False
        return True

    def leave(self) -> None:
        """Wait no longer, and forget the request."""
        flight, self._flight = self._flight, None
        self.held = None
        if flight is not None:
            self.engine.flights.leave(flight, self)

    def from_client(self, data: bytes, now: float) -> None:
        """See `Session.from_client`."""
        raise NotImplementedError


def _only_text(data: bytes) -> bytes | None:
    """The SQL of a chunk that is one whole Query, or one Parse and more up to a Sync."""
    size = int.from_bytes(data[1:5], "big") + 1
    if data[0] == 0x51:
        return data[5:-1] if size == len(data) and not data[-1] else None
    if data[0] != 0x50 or not data.endswith(messages.SYNC) or size > len(data):
        return None
    start = data.find(b"\x00", 5) + 1
    end = data.find(b"\x00", start)
    return data[start:end] if 0 < start <= end < size else None
