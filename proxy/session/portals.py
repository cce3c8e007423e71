"""Portals whose answers came from memory, as long as their clients can come back to them.

What lives here: which messages are answered from what is kept of a portal, when PostgreSQL
must be given such a portal, and the answers that are fetched once more to be stored. What
must not: whether an answer may be served or stored at all (F4, F5).

A portal has one snapshot: what a later Execute brings comes from the answer that its first
rows came from. So the session keeps that to the end of the transaction, or until the portal
is closed or bound anew. Whatever might look at a portal otherwise, as FETCH can, or a
savepoint, finds one at its end under the same name; from then on PostgreSQL says whether
and in which order there is an answer, and the rows still come from what is kept.

Inside a transaction a read with a limit is not recorded: a further Execute of Howdah's would
move the client's portal, and its error would be the client's. The second time that the same
one is missed, it is asked again when the transaction has ended, for itself.
"""

from __future__ import annotations

from proxy.cache.fills import Fill
from proxy.cache.store import Entry, Key
from proxy.policy.plan import Flag, Kind, Plan, Scope
from proxy.reasons import Reason
from proxy.session.context import Context
from proxy.session.parts import Rest, asks, cut
from proxy.session.records import Pending, Statement
from proxy.session.requests import ClientSide
from proxy.session.state import OWN_NAME
from proxy.wire import messages
from proxy.wire.framing import HEADER

_BIND, _DESCRIBE, _EXECUTE, _CLOSE = b"BDEC"
_PORTAL = 0x50
# Stands behind the client's own Execute: is there a row more?
ONE_MORE = messages.message(b"E", b"\x00\x00\x00\x00\x01")
# Another name than what stands in front of requests has: an error may leave its statement.
_AGAIN = b"howdah~again"
# Reads of one transaction that are asked again.
_MOST_WANTED = 20

Batch = list[tuple[int, bytes]]


class PortalSide(ClientSide):
    """The portals of one session."""

    _cursors: bool = False  # it may have cursors
    _unnamed_of: Statement | None = None  # whose portal the unnamed one from memory is

    # A portal is opened

    def first_rows(
        self, entry: Entry, rows: int, portal: bytes, statement: Statement, plan: Plan
    ) -> bytes:
        """The reply to the first Execute of a portal that outlives the Sync.

        Args:
            rows: its limit, or 0.
        """
        reply, position = cut(entry.body, 0, rows)
        self.portals[portal] = plan
        if portal or rows:
            for name in [name for name in self.rests if name not in self.portals]:
                del self.rests[name]
            self.rests[portal] = Rest(entry, position)
        elif self.rests:
            self.rests.pop(b"", None)
        if not portal:
            self._unnamed_of = statement
        return reply

    def can_open(self, portal: bytes) -> bool:
        """Whether a named portal can be opened without PostgreSQL: the name is surely free."""
        return not self._cursors and portal not in self.portals and portal != OWN_NAME

    def note(self, pending: Pending, plan: Plan, text: bytes | None = None) -> None:
        """See `SessionState.note`; cursors are portals, too, and may outlive transactions."""
        super().note(pending, plan, text)
        if plan.reason is Reason.CURSOR or plan.bodies or plan.flags & Flag.OPAQUE:
            self._cursors = True

    def bound_unnamed(self, plan: Plan) -> None:
        """PostgreSQL has a new unnamed portal: nothing is kept of the old one."""
        self.portals[b""] = plan
        if self.rests:
            self.rests.pop(b"", None)

    def rest(self, portal: bytes) -> Rest | None:
        """What is kept of a portal, if it is still there."""
        return self.rests.get(portal) if portal in self.portals else None

    # It is used again

    def local_part(self, batch: Batch) -> tuple[int, bytes]:
        """Answer the messages at the head of `batch` that need no PostgreSQL.

        Called only while nothing of the client's is outstanding. Returns how many those
        are, and what PostgreSQL is to be sent for them all the same.
        """
        closes = b""
        if self.status == b"E":
            return 0, closes
        for count, (kind, message) in enumerate(batch):
            if kind == _EXECUTE:
                asked = asks(message)
                rest = None if asked is None else self.rest(asked[0])
                if asked is None or rest is None or rest.upstream:
                    return count, closes
                self.reply(rest.take(asked[1]))
            elif kind == _DESCRIBE and message[HEADER] == _PORTAL:
                rest = self.rest(message[HEADER + 1 : -1])
                if rest is None or rest.upstream or rest.entry.description is None:
                    return count, closes
                self.reply(rest.entry.description)
            elif closes_portal((kind, message)):
                portal = message[HEADER + 1 : -1]
                rest = self.rest(portal)
                if not portal:
                    self.ghost_portal = b"" if self.block else None
                elif rest is None or rest.upstream:
                    closes += message
                self.portals.pop(portal, None)
                self.reply(messages.CLOSE_COMPLETE)
            else:
                return count, closes
        return len(batch), closes

    def replaces(self, execute: bytes, number: int, pending: Pending) -> None:
        """An Execute that goes upstream in a batch with other things: what is kept answers it."""
        asked = asks(execute)
        rest = None if asked is None else self.rest(asked[0])
        if asked is None or rest is None:
            return
        if pending.locals is None:
            pending.locals = {}
        pending.locals[number] = rest.take(asked[1])

    # PostgreSQL needs it

    def send_begin(self, pending: Pending) -> None:
        """See `SessionState.send_begin`; a Query may look at portals."""
        super().send_begin(pending)
        if self.rests and pending.simple and self._stands(pending):
            outcome, reason, _ = pending.plans[-1] if pending.plans else ("", Reason.NONE, None)
            plain = outcome == "miss" or (
                outcome == "write"
                and reason is not Reason.CURSOR
                and pending.closure.scope is Scope.RELATIONS
                and not pending.flags & Flag.OPAQUE
            )
            if not plain:
                moves = reason is Reason.CURSOR or bool(pending.flags & Flag.OPAQUE)
                self.give_portals(pending, list(self.rests), moves=moves)

    def give_named(self, batch: Batch, pending: Pending, *, whole: bool) -> None:
        """Give PostgreSQL the named portals that `batch` uses, or may use.

        Args:
            whole: it ends with a Sync. Nothing can be put in front of what follows otherwise.
        """
        names, moves = [], False
        for kind, message in batch:
            if kind == _EXECUTE:
                names.append(message[HEADER:].partition(b"\x00")[0])
            elif kind == _BIND:
                bind = messages.decode_bind(message[HEADER:])
                names.append(bind.portal)
                statement = self.statements.get(bind.statement)
                if statement is None:
                    continue
                plan = self.plan(statement.text)
                whole = whole and _plain(plan)
                moves |= plan.reason is Reason.CURSOR or bool(plan.flags & Flag.OPAQUE)
            elif kind == _DESCRIBE and message[HEADER] == _PORTAL:
                names.append(message[HEADER + 1 : -1])
        if not whole and self._stands(pending):
            names = list(self.rests)
        self.give_portals(pending, names, moves=moves)

    def _stands(self, pending: Pending) -> bool:
        """Whether the transaction has surely not failed: nothing can be put in front of its end.

        In a failed one, portals that PostgreSQL has not been given are at their end, too: no
        savepoint is behind them.
        """
        if self.status == b"E":
            for name in [name for name, rest in self.rests.items() if not rest.upstream]:
                self.portals.pop(name, None)
            return False
        return all(other is pending or other.hidden for other in self.pending)

    def give_portals(self, pending: Pending, names: list[bytes], *, moves: bool) -> None:
        """Let PostgreSQL have named portals that came from memory, in front of `pending`.

        Args:
            moves: what follows may fetch from them, as SQL can. So they stand where their
                clients have read to, and belong to PostgreSQL from now on. If the rows have
                changed since, there is no such portal any more, rather than one of other rows.
        """
        for name in dict.fromkeys(names):
            rest = self.rest(name)
            if not name or rest is None or (rest.upstream and not moves):
                continue
            if rest.upstream:
                self.send(messages.close(b"P", name))
                pending.prefix += b"3"
            entry = rest.entry
            if moves and not self.engine.board.holds(entry.slots, entry.counters):
                del self.portals[name]
                continue
            rows = 0 if not moves or rest.ended else rest.rows
            self.give_portal(pending, name, entry.key, rows)
            rest.upstream = True
            if moves:
                del self.rests[name]

    def give_portal(self, pending: Pending, name: bytes, key: Key, rows: int) -> None:
        """Make a portal that came from memory, and have `rows` rows read from it, 0 for all."""
        if self.own_left:
            self.send(messages.close(b"S", OWN_NAME))
            pending.prefix += b"3"
            self.own_left = False
        self.send(
            messages.message(b"P", OWN_NAME + b"\x00" + key[1])
            + messages.message(b"B", name + b"\x00" + OWN_NAME + b"\x00" + key[-1])
            + messages.message(b"E", name + b"\x00" + rows.to_bytes(4, "big"))
            + messages.close(b"S", OWN_NAME)
        )
        pending.prefix += b"12s3" if rows else b"12C3"

    def give_unnamed(self, pending: Pending, bind: bytes) -> None:
        """Make the unnamed portal that came from memory, at its end.

        Args:
            bind: the client's. Its statement may have been closed or replaced since.
        """
        names = messages.decode_bind(bind[HEADER:])
        known, statement = self._unnamed_of, self.statements.get(names.statement)
        if (rest := self.rests.get(b"")) is not None:
            rest.upstream = True
        if known is not None and (statement is not known or not known.upstream):
            self.give_portal(pending, b"", (0, known.source, names.rest), 0)
            return
        self.send(bind + messages.execute(b""))
        pending.prefix += b"2C"

    # What is recorded

    def worth_one_more(self, key: Key, rows: int) -> bool:
        """Whether to record a read with a limit of rows, with an Execute behind it."""
        return not self.block and self.engine.descriptions.worth(key[1], rows)

    def wants(self, key: Key, text: bytes, rows: int) -> None:
        """A read could not be recorded, for its portal is the client's. See `fetch_wanted`.

        Args:
            rows: as many were asked for; 0 if the client may come back for more.
        """
        descriptions = self.engine.descriptions
        if len(self.wanted) >= _MOST_WANTED or not descriptions.again(key):
            return
        if descriptions.worth(key[1], rows):
            self.wanted[key] = text, rows

    def fetch_wanted(self) -> None:
        """Outside of transactions: ask for what was missed again and again, to store it."""
        wanted, self.wanted = self.wanted, {}
        context = self.context
        if not self.hot or self.pending or self.block or context is None or not context.live:
            return
        for key, (text, rows) in wanted.items():
            entry = self.engine.store.get(key)
            plan = self.plan(text)
            if key[0] != context.id or plan.kind is not Kind.READ:
                continue
            if plan.flags or plan.closure or plan.bodies:
                continue
            if key in self.engine.flights.by_key or self._stands_well(entry):
                continue
            fill, _ = self.fill(context, plan, key)
            if fill is None:
                continue
            fill.rows = rows
            self.asks_again(context, key, fill)
        self.refresh()

    def _stands_well(self, entry: Entry | None) -> bool:
        if entry is None or self.now >= entry.expires:
            return False
        return self.engine.board.holds(entry.slots, entry.counters)

    def asks_again(self, context: Context, key: Key, fill: Fill) -> None:
        """Have PostgreSQL answer the request of `key` once more, for the store alone.

        The caller calls `refresh` behind it.
        """
        pending = self.in_background()
        pending.fill, pending.context, pending.reported = fill, context, self.reported
        if len(key) == 2:
            # A Query. It ends the unnamed statement; so did the client's own.
            self.send(key[1])
            return
        limit = (fill.rows + 1 if fill.rows else 0).to_bytes(4, "big")
        self.send(
            messages.close(b"S", _AGAIN)
            + messages.message(b"P", _AGAIN + b"\x00" + key[1])
            + messages.message(b"B", (_AGAIN + b"\x00") * 2 + key[-1])
            + messages.message(b"D", b"P" + _AGAIN + b"\x00")
            + messages.message(b"E", _AGAIN + b"\x00" + limit)
            + messages.close(b"S", _AGAIN)
            + messages.SYNC
        )

    # What comes back

    def stood(self, head: Pending) -> bool:
        """Whether the settings were known while PostgreSQL answered a background request.

        What the client has sent behind it may have changed them since.
        """
        if head.reported is not self.reported:
            return False
        behind = any(waiting.flags & Flag.SETTINGS for waiting in self.pending)
        return self.context is head.context or behind

    def after_limit(self, head: Pending, kind: int, payload: bytes) -> bool:
        """A message behind the answer to the client's own Execute; whether the client sees it."""
        if kind == 0x4E and messages.fields(payload).get("C", "").startswith("57P"):
            return True  # the server tells why it goes
        if head.fill is not None:
            head.fill.beyond(kind)
        return False

    def limited(self, head: Pending) -> None:
        """The recording of a limited answer has ended, with or without success."""
        fill = head.fill
        if fill is None or not (fill.rows or head.background):
            return
        descriptions = self.engine.descriptions
        if fill.rejected is None:
            descriptions.whole(fill.key[1], fill.rows)
        elif fill.rejected in ("row_limit", "error", "too_large"):
            descriptions.longer(fill.key[1], fill.rows)


def closes_portal(message: tuple[int, bytes]) -> bool:
    """Whether it is a Close of a portal."""
    return message[0] == _CLOSE and message[1][HEADER] == _PORTAL


def _plain(plan: Plan) -> bool:
    """Whether a statement cannot look at portals, nor end one."""
    if plan.kind is Kind.READ:
        return True
    return (
        plan.kind is Kind.WRITE
        and plan.reason is not Reason.CURSOR
        and plan.closure.scope is Scope.RELATIONS
        and not plan.flags & Flag.OPAQUE
    )
