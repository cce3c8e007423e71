"""Answers that have expired and are served all the same, while they are fetched anew.

What lives here: `stale_while_revalidate`, which only a rule or a hint can ask for. What must
not: answers that a write has ended; those are never served (F4).

An answer that has expired by time may be served for a while longer if a request for it is on its
way. Whoever meets it first sends that request behind the hit, on the client's own connection, and
nobody waits for it but what this client has PostgreSQL do next. Inside of a transaction none is
sent, since its error would be the client's: there the read is forwarded, unless another session
has sent one.
"""

from __future__ import annotations

from proxy.cache.store import Entry
from proxy.policy.plan import Kind
from proxy.reasons import Reason
from proxy.session.portals import PortalSide
from proxy.session.records import Pending
from proxy.wire.framing import HEADER

# Causes of a rejection that say nothing about the answer: the next one to ask may have luck.
_PASSING = frozenset(("lost", "dropped", "fenced", "schema"))


class Stale(PortalSide):
    """What one session does about answers that have expired."""

    def serves_stale(self, entry: Entry) -> bool:
        """Whether an answer that has expired, but holds otherwise, is served all the same."""
        if self.now >= entry.ends or entry.bodies:
            return False
        flights = self.engine.flights
        if (
            entry.key not in flights.revivals
            and entry.key not in flights.by_key
            and not self._revives(entry)
        ):
            return False
        # The hit that follows is none.
        self.engine.statistics.fresh_hits -= 1
        self.count("stale", Reason.NONE, max(0.0, self.engine.clock() - self.now))
        shape = entry.shape
        if shape is not None:
            shape.hits -= 1
            shape.stale += 1
        return True

    def _revives(self, entry: Entry) -> bool:
        """Ask for the answer anew, in the background; False where that cannot be."""
        context, key = self.context, entry.key
        if self.block or context is None or not context.live:
            return False
        text = key[1][HEADER:-1] if len(key) == 2 else key[1].partition(b"\x00")[0]
        plan = self.plan(text)
        if plan.kind is not Kind.READ or plan.flags or plan.closure or plan.bodies:
            return False
        fill, _ = self.fill(context, plan, key)
        if fill is None:
            return False
        self.engine.flights.revivals[key] = fill
        self.asks_again(context, key, fill)
        self.refresh()
        return True

    def limited(self, head: Pending) -> None:
        """See `PortalSide.limited`; an answer that cannot be had anew is not served any longer."""
        super().limited(head)
        fill = head.fill
        if head.background and fill is not None and (fill.rejected or "lost") not in _PASSING:
            store = self.engine.store
            entry = store.get(fill.key)
            if entry is not None and self.now >= entry.expires:
                store.drop(entry, "expired", self.now)
