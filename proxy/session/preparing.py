"""Statements that another session has prepared are prepared without waiting.

What lives here: when a Parse with Describe is answered from what PostgreSQL has told
another session, and what becomes of its own answer. What must not: the descriptions
(`descriptions.py`).

A statement whose description is known under the same settings and schema is described at
once, and sent to PostgreSQL at the same moment, as a request of Howdah's own; it exists
there with the settings and the schema of now (K1, R2), outside of any transaction, as a
prepared statement does anyway. So a BEGIN that was answered locally can still wait. Reads
that are in the cache are answered meanwhile. All else that the client sends waits until
PostgreSQL has confirmed the description: a statement that was planned after a change of
the schema which the client does not know of would answer in another form.

What PostgreSQL refused is prepared again in front of its next use, so that the client is
told its own error. What it describes otherwise than the client was told is refused as
PostgreSQL refuses what has changed since the Parse ("cached plan must not change result
type").
"""

from __future__ import annotations

from proxy.policy.plan import Control, Flag, Kind, Plan
from proxy.session.descriptions import Portrait
from proxy.session.records import Pending, Statement
from proxy.session.stale import Stale
from proxy.session.state import OWN_NAME
from proxy.wire import messages
from proxy.wire.framing import HEADER

_PARSE, _BIND, _DESCRIBE, _CLOSE = b"PBDC"
# Statements on their way at once, and bytes that wait for them.
_MOST = 100
_PATIENCE = 64 * 1024
# What has effects of its own when it is parsed, or may: it is left to PostgreSQL.
_UNSEEN = Flag.OPAQUE | Flag.SETTINGS | Flag.SCHEMA | Flag.STATEMENTS | Flag.UNKNOWN_NAME
_NOTHING = b"howdah~nothing"  # no statement has this name
_CHANGED = messages.error_response(
    "0A000", "cached plan must not change result type", severity="ERROR"
)


class Preparing(Stale):
    """The prepared statements of one session, as far as others know them."""

    _hurries: bool = False
    _cancels: bool = False  # the client has cancelled what waits

    # From the client

    def prepares(self, parse: bytes, describe: bytes) -> bool:
        """Answer a Parse and a Describe of the same statement. Called only while `hot`."""
        name, end = messages.cut_name(parse, HEADER)
        context = self.context
        if (
            context is None
            or not context.live
            or self.status != b"I"
            or self.preparing >= _MOST
            or self.data.schema_fences
            or describe[HEADER:] != b"S" + name + b"\x00"
            or name == OWN_NAME
            or (name and (name in self.statements or not self.sql_prepared.free(name)))
        ):
            return False
        place = (context.family, self.data.version, parse[end:])
        told = self.engine.descriptions.get(place)
        if told is None:
            return False
        statement = Statement(name, parse, self.epoch, self.data.version)
        self.reply(messages.PARSE_COMPLETE + told)
        if self.deferred is not None:
            self.hits_in_block = True  # it has taken a snapshot
        if not name:
            self._define_unnamed(statement)
            return True
        self.statements[name] = statement
        self.sql_prepared.take(name)
        pending = self.in_background()
        pending.prepares = statement
        pending.portrait = Portrait(place, told)
        self.preparing += 1
        self.send(parse + describe + messages.SYNC)
        self.refresh()
        return True

    def _define_unnamed(self, statement: Statement) -> None:
        """The client has an unnamed statement that PostgreSQL has not seen (R2)."""
        old = self.statements.get(b"")
        there = old is not None and old.upstream
        if old is not None and there and old.source == statement.source:
            statement.upstream = old.epoch == statement.epoch and old.version == statement.version
        self.statements[b""] = statement
        # PostgreSQL keeps the older one until it hears of this, or of a Query.
        self.stale_unnamed = not statement.upstream and (there or self.stale_unnamed)

    def postpones(self, data: bytes) -> bool:
        """Let what the client sends wait for the statements that are on their way."""
        if self._hurries or len(self.pending) > self.backgrounds:
            return False
        self._cancels |= self.cancels_held
        self.postponed += data
        self.hot = False
        if len(self.postponed) > _PATIENCE:
            self.hurry(self.now)
        return True

    def hurry(self, now: float) -> None:
        """Nothing waits any longer for statements that are on their way."""
        data, self.postponed = self.postponed, b""
        if not data:
            return
        cancels, self._cancels = self._cancels, False
        self._hurries, self.cancels_held = True, cancels
        try:
            self.from_client(data, now)
        finally:
            self._hurries = self.cancels_held = False

    def portrays(self, batch: list[tuple[int, bytes]], plan: Plan, pending: Pending) -> None:
        """If `batch` only prepares and describes a plain statement, keep what PostgreSQL says.

        Args:
            plan: of its text.
        """
        context = self.context
        if (
            context is None
            or plan.kind is Kind.OTHER
            or plan.control is not Control.NONE
            or plan.flags & _UNSEEN
            or self.data.schema_fences
            or self.changes_schema
        ):
            return
        name, end = messages.cut_name(batch[0][1], HEADER)
        statement = self.statements.get(name)
        if (
            batch[1][1][HEADER:] == b"S" + name + b"\x00"
            and statement is not None
            and not statement.unusual
        ):
            pending.portrait = Portrait((context.family, self.data.version, batch[0][1][end:]))

    def restore_named(self, batch: list[tuple[int, bytes]], pending: Pending) -> None:
        """Prepare again what PostgreSQL has refused, or refuse what has changed (R2)."""
        known: set[bytes] = set()
        for kind, message in batch:
            if kind == _BIND:
                name = messages.decode_bind(message[HEADER:]).statement
            elif kind == _PARSE or (kind in (_DESCRIBE, _CLOSE) and message[HEADER] == 0x53):
                name, _ = messages.cut_name(message, HEADER + (kind != _PARSE))
            else:
                continue
            statement = self.statements.get(name)
            if not name or name in known or statement is None:
                continue
            known.add(name)
            if kind in (_PARSE, _CLOSE) or statement.upstream:
                continue
            if statement.changed or statement.version != self.data.version:
                if self.status != b"E":
                    self.send(messages.bind(_NOTHING, _NOTHING))
                    pending.prefix += b"2"
                    pending.refuses = True
                return
            self.send(messages.close(b"S", name) + statement.message)
            pending.prefix += b"31"
            self.restores(statement, pending)

    def restores(self, statement: Statement, pending: Pending) -> None:
        """It is sent in front of what the client has sent, and will be there unless that fails."""
        statement.upstream = True
        if pending.restored is None:
            pending.restored = []
        pending.restored.append(statement)

    # What comes back

    def described(self, head: Pending, portrait: Portrait) -> None:
        """A statement has been described to its client; others may be told the same."""
        head.portrait = None
        context = self.context
        if portrait.data is None or context is None or not context.live:
            return
        family, version, _ = portrait.place
        unchanged = family == context.family and version == self.data.version
        if unchanged and not self.data.schema_fences and not self.changes_schema:
            self.engine.descriptions.put(portrait.place, portrait.data)

    def prepared(self, head: Pending, statement: Statement) -> None:
        """PostgreSQL has the statement, or has refused it."""
        self.preparing -= 1
        if head.error is not None:
            return
        portrait = head.portrait
        statement.changed = portrait is None or portrait.data != portrait.told
        statement.upstream = not statement.changed
        if statement.changed:
            statement.version = -1

    def failed_in_background(self, head: Pending) -> None:
        """PostgreSQL has refused it; a cancel was meant for what waits behind it."""
        error = head.error
        if error is not None and error[1] == "57014" and self.cancelled:
            if any(not waiting.hidden for waiting in self.pending):
                self.engine.shell.resend_cancel(self)  # type: ignore[arg-type]
            self.cancelled = False
            self._cancels = bool(self.postponed)

    def refused(self, head: Pending) -> bytes:
        """What the client is told in place of an error that Howdah's own messages have met."""
        if head.refuses and head.error is not None and head.error[1] == "26000":
            return _CHANGED
        return b""

    def from_client(self, data: bytes, now: float) -> None:
        """See `Session.from_client`."""
        raise NotImplementedError
