"""The client's side of a session in the extended protocol: batches of messages.

A batch is held until Sync or Flush: PostgreSQL owes no answer before those, and
only a whole batch shows that Bind, Execute and Sync belong together (F5).
"""

from __future__ import annotations

from dataclasses import replace

from proxy.cache.fills import Fill
from proxy.catalog.snapshot import Effect
from proxy.policy import memo
from proxy.policy.plan import Control, Flag, Kind, Plan
from proxy.reasons import Reason
from proxy.session.literals import may_say_now
from proxy.session.records import Pending, Statement
from proxy.session.requests import ClientSide, command_tag
from proxy.session.state import confined
from proxy.wire import messages
from proxy.wire.framing import HEADER

P, B, D, E, C = b"PBDEC"
_PLAIN_EXECUTE = messages.execute(b"")
_DESCRIBE_PORTAL = messages.message(b"D", b"P\x00")
# Behind the names of a Bind: no parameters, results as they come, all in text, or in binary.
_PLAIN_BINDS = frozenset((bytes(6), bytes(4) + b"\x00\x01\x00\x00", bytes(4) + b"\x00\x01\x00\x01"))

_REPLACED = replace(memo.UNKNOWN_STATEMENT, flags=memo.OPAQUE_FLAGS & ~Flag.ISOLATION)

Batch = list[tuple[int, bytes]]


class ExtendedSide(ClientSide):
    """Handles batches. See `Session.from_client`."""

    def sync(self, batch: Batch, message: bytes) -> None:
        """A batch that ends with Sync."""
        if not batch and self.deferred is not None:
            self.reply(messages.READY_BLOCK)
            return
        prepared = self._only_prepared()
        if not self.pending or self.pending[-1].synced:
            if self.hot and len(batch) > 3:
                batch = self._begin_ahead(batch)
            if self._from_memory(batch):
                return
        elif prepared is not None:
            if self._behind_flush(prepared, batch, message):
                return
        elif self.copy_in and not self.pending[-1].simple:
            self.forward_batch(batch)
            self.send(message)
            return
        self.forward_batch(batch, syncs=True)
        pending = self._open_pending()
        pending.synced = True
        self.send(message)

    def _only_prepared(self) -> Pending | None:
        """The open batch, if it has only prepared and described, and all is answered.

        Drivers that read the description before they bind send Flush in between.
        """
        if len(self.pending) != 1:
            return None
        pending = self.pending[0]
        if (
            pending.synced
            or pending.hidden
            or pending.noted
            or pending.begins
            or pending.prefix
            or pending.error is not None
            or pending.received != pending.expected
            or self.copy_in
        ):
            return None
        return pending

    def _behind_flush(self, prepared: Pending, batch: Batch, message: bytes) -> bool:
        """Answer `batch` from memory; the Sync goes upstream, its reply is not seen.

        PostgreSQL must have the Sync: the Parse holds locks until then.
        """
        self.pending.remove(prepared)
        self.refresh()
        answered = self._from_memory(batch)
        self.pending.insert(0, prepared)
        self.hot = False
        if answered:
            prepared.hidden = prepared.synced = True
            self.send(message)
        return answered

    def _open_pending(self) -> Pending:
        """The pending that collects extended messages up to the next Sync."""
        if self.pending and not self.pending[-1].synced:
            return self.pending[-1]
        return self.new_pending()

    def _from_memory(self, batch: Batch) -> bool:
        """Answer [Parse of the unnamed] Bind [Describe] Execute Sync from memory, or locally."""
        if not self.hot or not 2 <= len(batch) <= 4:
            return False
        index = 0
        parsed: Statement | None = None
        if batch[0][0] == P:
            message = batch[0][1]
            if message[HEADER] != 0:
                return False  # a named statement is made by PostgreSQL
            parsed = Statement(b"", message, self.epoch, self.data.version)
            index = 1
        bound = self._bind_of(batch, index)
        if bound is None:
            return False
        describe = len(batch) == index + 3
        bind = messages.decode_bind(bound)
        statement = parsed or self.statements.get(bind.statement)
        if bind.portal or statement is None or (parsed is not None and bind.statement):
            return False
        context = self.context
        if (
            context is None
            or statement.epoch != self.epoch
            or statement.version != self.data.version
            or statement.suspect
        ):
            return False
        entry = self.engine.store.get((context.id, statement.source, bind.rest))
        if entry is None:
            return self._local_control(bind.rest, statement, parsed, describe)
        if (describe and entry.description is None) or not self.holds(entry):
            return False
        out = self.to_client
        if parsed is not None:
            out.append(messages.PARSE_COMPLETE)
            self._define_unnamed(parsed)
        out.append(messages.BIND_COMPLETE)
        if describe:
            out.append(entry.description)  # type: ignore[arg-type]
        out.append(entry.body)
        if self.block:
            self.portals[b""] = self.plan(statement.text)
        out.append(self.after_hit(batch[index][1]))
        return True

    def _begin_ahead(self, batch: Batch) -> Batch:
        """Answer a BEGIN at the head of a longer batch, as JDBC sends it; the rest (T2)."""
        first = next((i for i, (kind, _) in enumerate(batch) if kind == E), len(batch)) + 1
        head, rest = batch[:first], batch[first:]
        if not rest or self.deferred is not None:
            return batch
        parsed: Statement | None = None
        if head[0][0] == P and head[0][1][HEADER] == 0:
            parsed = Statement(b"", head[0][1], self.epoch, self.data.version)
        bound = self._bind_of(head, 0 if parsed is None else 1)
        if bound is None:
            return batch
        bind = messages.decode_bind(bound)
        statement = parsed or self.statements.get(bind.statement)
        if bind.portal or statement is None or (parsed is not None and bind.statement):
            return batch
        describe = len(head) == (3 if parsed is None else 4)
        if not self._local_control(bind.rest, statement, parsed, describe, last=False):
            return batch
        return rest

    def _bind_of(self, batch: Batch, index: int) -> bytes | None:
        """The payload of the Bind at `index`, if the rest is [Describe portal] plain Execute."""
        rest = len(batch) - index
        if rest not in (2, 3) or batch[index][0] != B or batch[-1][1] != _PLAIN_EXECUTE:
            return None
        if rest == 3 and batch[index + 1][1] != _DESCRIBE_PORTAL:
            return None
        return batch[index][1][HEADER:]

    def _define_unnamed(self, statement: Statement) -> None:
        """The client has an unnamed statement that PostgreSQL has not seen (R2)."""
        old = self.statements.get(b"")
        if old is not None and old.upstream and old.source == statement.source:
            statement.upstream = old.epoch == statement.epoch and old.version == statement.version
        self.statements[b""] = statement
        self.stale_unnamed = False

    def _local_control(
        self,
        rest: bytes,
        statement: Statement,
        parsed: Statement | None,
        describe: bool,
        *,
        last: bool = True,
    ) -> bool:
        """A BEGIN, COMMIT or ROLLBACK in the extended protocol that needs no PostgreSQL (T2).

        Args:
            rest: the Bind behind its names.
            last: Sync follows; otherwise it has to be a BEGIN with more behind it.
        """
        if rest not in _PLAIN_BINDS or not statement.source.endswith(b"\x00\x00\x00"):
            return False  # PostgreSQL may refuse it
        plan = self.plan(statement.text)
        if not last and plan.control is not Control.BEGIN:
            return False
        if not self.answer_control(plan, statement.text):
            return False
        if parsed is not None:
            self.reply(messages.PARSE_COMPLETE)
            self._define_unnamed(parsed)
        self.reply(messages.BIND_COMPLETE)
        if describe:
            self.reply(messages.NO_DATA)
        self.reply(messages.command_complete(command_tag(plan, statement.text)))
        if last:
            self.reply(messages.READY_BLOCK if self.block else messages.READY_IDLE)
        return True

    def _plan_of(self, statement: Statement) -> Plan:
        """The plan of a prepared statement, its declared parameter types included."""
        if statement.version != self.data.version:
            # PostgreSQL may still run it with names as they resolved at its Parse: all
            # that they could have meant counts.
            plan = self.plan(statement.text, anywhere=True)
            if plan.reason is Reason.SESSION_UNKNOWN:
                plan = replace(plan, reason=Reason.PREPARED_STALE)
        else:
            plan = self.plan(statement.text)
        if statement.unusual:
            snapshot = self.data.snapshot
            effect = (
                Effect.OPAQUE if snapshot is None else snapshot.effect_of_types(statement.unusual)
            )
            if effect is Effect.OPAQUE:
                return memo.UNKNOWN_STATEMENT
            if effect is not Effect.SAFE and plan.kind is Kind.READ:
                return Plan(Kind.BYPASS, Reason.UNKNOWN_TYPE)
        return plan

    def _plan_of_suspect(self, statement: Statement) -> Plan:
        """The plan of a statement that opaque code may have replaced.

        What SQL prepares under the same name is a query or DML: it controls no transaction.
        """
        plan = self._plan_of(statement)
        controls = plan.flags & (Flag.MAY_COMMIT | Flag.ISOLATION) and not confined(plan)
        return memo.UNKNOWN_STATEMENT if controls or not statement.name else _REPLACED

    def forward_batch(self, batch: Batch, *, syncs: bool = False) -> None:
        """Send extended messages upstream, whatever the client wrote (R1).

        Args:
            syncs: they are followed by Sync, so that a single read may be filled.
        """
        if not batch and not syncs:
            return
        quiet = self.quiet
        settings = any(
            kind == P and self.plan(_text_of(message)).flags & Flag.SETTINGS
            for kind, message in batch
        )
        if not settings and batch and self.may_probe():
            self.send_probe()
        asked = syncs and self._is_lone_commit(batch)
        if asked:
            self.ask_touched()
        self.statements_since_probe += 1
        prepared = self._only_prepared()
        if prepared is not None:
            self.pending.remove(prepared)
        obstacle = self.why_not()
        fresh = not self.pending or self.pending[-1].synced
        if prepared is not None:
            self.pending.append(prepared)
            prepared.sent = self.now
        before, epoch = self.context, self.epoch
        pending = self._open_pending()
        pending.asked = asked
        out: list[bytes] = []
        if batch:
            self.send_begin(pending)
            if fresh:
                self._restore_unnamed(batch, pending)
        pending.expected += len(batch)
        plans = [self._register(kind, message, pending) for kind, message in batch]
        known = [plan for plan in plans if plan is not None]
        for plan in known:
            self.before_set_transaction(plan, pending)
        fill = None
        if fresh and syncs and len(known) == 1 and known[0].kind is Kind.READ:
            fill = self._fill_of_batch(batch, known[0], obstacle, pending)
            pending.fill, pending.context = fill, before
        if quiet and fresh and syncs and len(known) == 1:
            bound = self._bind_of(batch, 1 if batch[0][0] == P else 0)
            if bound is not None:
                statement = self.statements.get(messages.decode_bind(bound).statement)
                if statement is not None:
                    self.learns(pending, known[0], statement.text, before, epoch)
        self.dispatch(pending)
        out.extend(message for _, message in batch)
        self.send(b"".join(out) if len(out) > 1 else (out[0] if out else b""))

    def _is_lone_commit(self, batch: Batch) -> bool:
        """Whether the batch is just a COMMIT that a question should go ahead of."""
        if self.status != b"T" or self.pending or not 2 <= len(batch) <= 4:
            return False
        parsed = batch[0][0] == P
        bound = self._bind_of(batch, 1 if parsed else 0)
        if bound is None:
            return False
        bind = messages.decode_bind(bound)
        if parsed:
            name, _ = messages.cut_name(batch[0][1][HEADER:])
            return name == bind.statement and self.may_ask(self.plan(_text_of(batch[0][1])))
        # Replaced by opaque code it were no COMMIT, and its tag would say so.
        known = self.statements.get(bind.statement)
        return known is not None and self.may_ask(self.plan(known.text))

    def forward_long(self, kind: int, prefix: bytes) -> None:
        """An extended message too long to be held begins; the caller sends its bytes.

        What it says beyond the names at its start is not known (F9).
        """
        if self.may_probe():
            self.send_probe()
        pending = self._open_pending()
        self.send_begin(pending)
        pending.expected += 1
        self._register(kind, prefix, pending)
        if kind == P:
            name, _ = messages.cut_name(prefix[HEADER:])
            self.statements[name].suspect = True
        self.dispatch(pending)

    def _restore_unnamed(self, batch: Batch, pending: Pending) -> None:
        """Bring upstream's unnamed statement and portal to what the client believes (R2)."""
        ghost = self.ghost_portal
        first_bind = next((i for i, (k, m) in enumerate(batch) if k == B and m[5] == 0), None)
        if ghost is not None and not any(
            _names_unnamed_portal(kind, message) for kind, message in batch[:first_bind]
        ):
            ghost = None
        first_parse = next((i for i, (k, m) in enumerate(batch) if k == P and m[5] == 0), None)
        uses = [message for kind, message in batch[:first_parse] if kind in (B, D, C)]
        if ghost:
            uses.append(ghost)
        if any(_names_unnamed_statement(message) for message in uses):
            unnamed = self.statements.get(b"")
            if unnamed is not None and not unnamed.upstream:
                self.send(unnamed.message)
                pending.prefix += b"1"
                unnamed.upstream = True
            elif unnamed is None and self.stale_unnamed:
                self.send(messages.close(b"S", b""))
                pending.prefix += b"3"
                self.stale_unnamed = False
        if ghost is None:
            return
        if ghost:
            self.send(ghost + _PLAIN_EXECUTE)
            pending.prefix += b"2C"
        else:
            self.send(messages.close(b"P", b""))
            pending.prefix += b"3"
        self.ghost_portal = None

    def _register(self, kind: int, message: bytes, pending: Pending) -> Plan | None:
        """Note what one extended message does; the plan of a Bind, else None."""
        payload = message[HEADER:]
        if kind == P:
            name, _ = messages.cut_name(payload)
            statement = Statement(name, message, self.epoch, self.data.version)
            statement.upstream = True
            if self.changes_schema:
                statement.version = -1
            old = self.statements.get(name)
            pending.parses.append((name, old if name else None))
            self.statements[name] = statement
            if name:
                self.sql_prepared.take(name)
            else:
                self.stale_unnamed = False
            snapshot = self.data.snapshot
            if snapshot is not None and (snapshot.opaque_domains or snapshot.opaque_types):
                # Parsing reads literals, and those of a domain run its check.
                plan = self._plan_of(statement)
                if plan.flags & Flag.OPAQUE:
                    self.note(pending, plan)
            return None
        if kind == B:
            bind = messages.decode_bind(payload)
            known = self.statements.get(bind.statement)
            if known is not None and known.suspect and self.verifying and known.name:
                plan = memo.UNVERIFIED
                self.unverified.append(known)
            elif known is None:
                plan = memo.UNKNOWN_STATEMENT
            elif known.suspect:
                plan = self._plan_of_suspect(known)
            else:
                plan = self._plan_of(known)
            if known is not None:
                self._may_be_analysed(known)
            self.portals[bind.portal] = plan
            if not bind.portal:
                self.ghost_portal = None
            self.note(pending, plan, known.text if known is not None else None)
            return plan
        if kind == D and payload[:1] == b"S":
            described = self.statements.get(messages.cut_name(payload[1:])[0])
            if described is not None:
                self._may_be_analysed(described)
        if kind == E:
            portal, _ = messages.cut_name(payload)
            executed = self.portals.get(portal)
            if executed is None:
                executed = memo.UNKNOWN_STATEMENT
                self.note(pending, executed)
            elif executed.bodies:
                # Functions run now; what came since the Bind may have changed settings.
                own = bool(executed.flags & Flag.SETTINGS) or self.changes_schema
                self.runs_bodies(alone=not (own or executed.mixes))
            reason = executed.reason
            if executed.kind is Kind.READ:
                reason = Reason.PORTAL
            pending.plans.append((self.outcome(executed), reason))
            self.snapshot_in_block |= executed.kind is Kind.READ
        elif kind == C and payload[:1] == b"S":
            name, _ = messages.cut_name(payload, 1)
            self.statements.pop(name, None)
        elif kind == C:
            name, _ = messages.cut_name(payload, 1)
            self.portals.pop(name, None)
        return None

    def _may_be_analysed(self, statement: Statement) -> None:
        """PostgreSQL uses it, and may read it anew: under these settings and this schema (K1)."""
        if self.changes_schema:
            statement.version = -1
        if statement.epoch != self.epoch:
            statement.epoch = -1

    def _fill_of_batch(
        self, batch: Batch, plan: Plan, obstacle: Reason | None, pending: Pending
    ) -> Fill | None:
        """A fill for a batch that is one plain read, else None with the reason noted."""
        index = 1 if batch[0][0] == P else 0
        bound = self._bind_of(batch, index)
        fill: Fill | None = None
        reason = Reason.PORTAL
        if bound is not None:
            bind = messages.decode_bind(bound)
            statement = self.statements.get(bind.statement)
            context = self.context
            if obstacle is not None:
                reason = obstacle
            elif statement is None or context is None or bind.portal:
                reason = Reason.PORTAL
            elif statement.epoch != self.epoch or statement.version != self.data.version:
                reason = Reason.PREPARED_STALE
            elif may_say_now(bind.rest):
                reason = Reason.CLOCK_LITERAL
            else:
                fill, reason = self.fill(context, plan, (context.id, statement.source, bind.rest))
        if pending.plans:
            pending.plans[-1] = ("miss" if fill is not None else "bypass", reason)
        return fill


def _text_of(parse: bytes) -> bytes:
    """The text of a Parse message; empty where the layout is broken."""
    name_end = parse.find(b"\x00", HEADER)
    text_end = parse.find(b"\x00", name_end + 1)
    return parse[name_end + 1 : text_end] if 0 < name_end < text_end else b""


def _names_unnamed_statement(message: bytes) -> bool:
    """Whether a Bind, Describe or Close refers to the unnamed statement."""
    kind = message[0]
    if kind == B:
        portal_end = message.find(b"\x00", HEADER)
        return message[portal_end + 1 : portal_end + 2] == b"\x00"
    return message[HEADER : HEADER + 2] == b"S\x00"


def _names_unnamed_portal(kind: int, message: bytes) -> bool:
    """Whether an Execute, Describe or Close refers to the unnamed portal."""
    if kind == E:
        return message[HEADER] == 0
    return kind in (D, C) and message[HEADER : HEADER + 2] == b"P\x00"
