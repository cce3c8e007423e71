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
from proxy.policy.plan import Control, Flag, Kind, Plan
from proxy.reasons import Reason
from proxy.session.explaining import Explaining
from proxy.session.state import SessionState
from proxy.wire import messages
from proxy.wire.framing import HEADER, client_header

# What ends a chunk that asks for an answer.
_ENDS = (messages.SYNC, messages.message(b"H"))


# Query, Sync and FunctionCall.
_ASK_READY = frozenset(b"QSF")


class Waiting(Explaining):
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

    def waits_for_probe(self, data: bytes) -> bool:
        """Let a request wait for the probe if that is all there is between it and an answer.

        PostgreSQL would handle it behind the probe anyway, so waiting costs the way between
        the two. Without it the first read of a session, and the first after a SET that was
        not seen before, would always be forwarded; a BEGIN would travel at once; and where
        the search_path is unknown, a name may mean the functions of all schemas: if one of
        them is opaque, everything would be evicted, and the settings unknown again behind it.
        """
        if not self._may_wait or self.cancels_held or self.data.snapshot is None:
            return False
        if self.blocked is not None or not self.safe_text:
            return False
        if not all(waiting.hidden for waiting in self.pending):
            return False
        if not self._waits_for_verdict(data):
            text = self._only_text(data)
            if text is None:
                return False
            if not self.asks_why(text) and not self._waits_for_settings(self.plan(text)):
                return False
        if not any(waiting.probe_state is self.settings for waiting in self.pending):
            if self.may_probe():
                self.send_probe()
            elif self.may_probe_inside() and _is_one_request(data):
                self.probe_inside()
            else:
                return False
        self.held, self._since, self.hot = data, self.now, False
        return True

    def _waits_for_verdict(self, data: bytes) -> bool:
        """Whether the request begins with a Bind of a statement that may have been replaced."""
        if data[0] != 0x42 or not data.endswith(messages.SYNC) or data[5]:
            return False
        statement = self.statements.get(data[6 : data.find(b"\x00", 6)])
        return statement is not None and statement.suspect and bool(statement.name)

    def _only_text(self, data: bytes) -> bytes | None:
        """The SQL of a chunk that is one request, if it is known."""
        if data[0] != 0x42 or not data.endswith(messages.SYNC) or data[5]:
            return _text_in(data)
        statement = self.statements.get(data[6 : data.find(b"\x00", 6)])
        return None if statement is None or statement.suspect else statement.text

    def _waits_for_settings(self, plan: Plan) -> bool:
        if self.context is not None and self.context.live:
            return False
        if plan.kind is Kind.READ or plan.reason is Reason.SESSION_UNKNOWN:
            return True
        if plan.control is Control.BEGIN:
            return bool(plan.flags & Flag.DEFERRABLE) and self.status == b"I"
        return bool(plan.flags & Flag.OPAQUE) and self.path_context is None

    def wake(self, now: float, *, late: bool = False) -> None:
        """There is nothing to wait for any more, or no time: answer or forward.

        Args:
            late: the time is over; the next miss of this key leads.
        """
        held = self.held
        if held is None:
            return
        self.now = now
        if self.status == b"E" and self.struck is not None:
            self._fail_held()
            return
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
            shape = self.served
            if shape is not None:
                # Its entry counts it as a hit.
                shape.hits -= 1
                shape.shared += 1

    def _fail_held(self) -> None:
        """What failed was in front of it: without that the error were its own."""
        assert self.struck is not None
        self.leave()
        self.reply(messages.message(b"E", self.struck) + messages.message(b"Z", b"E"))
        self.struck = None
        self.refresh()

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


def _is_one_request(data: bytes) -> bool:
    """Whether exactly one ReadyForQuery answers a chunk."""
    position, ends = 0, 0
    while len(data) - position >= HEADER:
        kind, size = client_header(data, position)
        ends += kind in _ASK_READY
        position += size
    return ends == 1 and position == len(data) and kind in _ASK_READY


def _text_in(data: bytes) -> bytes | None:
    """The SQL of a chunk that is one whole Query, or one Parse and more up to Sync or Flush."""
    size = int.from_bytes(data[1:5], "big") + 1
    if data[0] == 0x51:
        return data[5:-1] if size == len(data) and not data[-1] else None
    if data[0] != 0x50 or not data.endswith(_ENDS) or size > len(data):
        return None
    start = data.find(b"\x00", 5) + 1
    end = data.find(b"\x00", start)
    return data[start:end] if 0 < start <= end < size else None
