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
from proxy.session.parts import asks, cut
from proxy.session.portals import ONE_MORE, Batch, closes_portal
from proxy.session.preparing import Preparing
from proxy.session.records import Pending, Statement
from proxy.session.requests import command_tag
from proxy.session.state import confined
from proxy.wire import messages
from proxy.wire.framing import HEADER

P, B, D, E, C = b"PBDEC"
_PLAIN_EXECUTE = messages.execute(b"")
_DESCRIBE_PORTAL = messages.message(b"D", b"P\x00")
# Behind the names of a Bind: no parameters, results as they come, all in text, or in binary.
_PLAIN_BINDS = frozenset((bytes(6), bytes(4) + b"\x00\x01\x00\x00", bytes(4) + b"\x00\x01\x00\x01"))

_REPLACED = replace(memo.UNKNOWN_STATEMENT, flags=memo.OPAQUE_FLAGS & ~Flag.ISOLATION)


class ExtendedSide(Preparing):
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
            if self._from_memory(batch) or self._goes_on(batch):
                return
            if self.hot and _only_prepares(batch) and self.prepares(batch[0][1], batch[1][1]):
                self.reply(messages.READY_BLOCK if self.block else messages.READY_IDLE)
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
        # What went to PostgreSQL in the background has a Sync of its own, which comes first.
        self.pending.append(prepared)
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

    def _goes_on(self, batch: Batch) -> bool:
        """Answer a batch that goes on with portals from memory, or closes some and then hits."""
        if not batch or len(self.pending) > self.backgrounds:
            return False
        if not (self.rests or closes_portal(batch[0])):
            return False
        portals, rests, ghost = self.portals.copy(), self.rests.copy(), self.ghost_portal
        positions = {name: rest.position for name, rest in rests.items()}
        mark = len(self.to_client)
        count, closes = self.local_part(batch)
        done = count == len(batch) > 0
        if done:
            self.reply(messages.READY_BLOCK if self.block else messages.READY_IDLE)
        elif count:
            done = self._from_memory(batch[count:])
        if not done:
            del self.to_client[mark:]
            self.portals, self.rests, self.ghost_portal = portals, rests, ghost
            for name, position in positions.items():
                rests[name].position = position
        elif closes:
            self.in_background()
            self.send(closes + messages.SYNC)
            self.refresh()
        return done

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
        bound = self._bind_of(batch, index, limited=True)
        if bound is None:
            return False
        portal, rows = asks(batch[-1][1]) or (b"", 0)
        describe = len(batch) == index + 3
        bind = messages.decode_bind(bound)
        statement = parsed or self.statements.get(bind.statement)
        if statement is None or (parsed is not None and bind.statement):
            return False
        if bind.portal != portal or (portal and not self.can_open(portal)):
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
            plain = not (rows or portal)
            return plain and self._local_control(bind.rest, statement, parsed, describe)
        if (describe and entry.description is None) or not self.holds(entry):
            return False
        out = self.to_client
        if parsed is not None:
            out.append(messages.PARSE_COMPLETE)
            self._define_unnamed(parsed)
        out.append(messages.BIND_COMPLETE)
        if describe:
            out.append(entry.description)  # type: ignore[arg-type]
        if self.block:
            plan = self.plan(statement.text)
            out.append(self.first_rows(entry, rows, portal, statement, plan))
        else:
            out.append(cut(entry.body, 0, rows)[0])
        ghost = self.ghost_portal
        out.append(self.after_hit(batch[index][1]))
        if portal:
            self.ghost_portal = ghost
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

    def _bind_of(self, batch: Batch, index: int, *, limited: bool = False) -> bytes | None:
        """The payload of the Bind at `index`, if the rest is [Describe portal] plain Execute.

        Args:
            limited: the Execute may have a limit of rows.
        """
        rest = len(batch) - index
        if rest not in (2, 3) or batch[index][0] != B:
            return None
        kind, last = batch[-1]
        describe = _DESCRIBE_PORTAL
        if last != _PLAIN_EXECUTE:
            asked = asks(last) if limited and kind == E else None
            if asked is None:
                return None
            if asked[0]:
                describe = messages.message(b"D", b"P" + asked[0] + b"\x00")
        if rest == 3 and batch[index + 1][1] != describe:
            return None
        return batch[index][1][HEADER:]

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
        self.ghost_portal = None
        self.portal_waits = self.deferred is not None
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
                return memo.OPAQUE_STATEMENT
            if effect is not Effect.SAFE and plan.kind is Kind.READ:
                return Plan(Kind.BYPASS, Reason.UNKNOWN_TYPE)
        return plan

    def _judged_later(self, statement: Statement) -> bool:
        """Whether all that may have replaced it will be judged when the catalog is known."""
        loading = self.data.snapshot is None and bool(self.early)
        return loading and statement.epoch == self.epoch

    def _plan_of_suspect(self, statement: Statement) -> Plan:
        """The plan of a statement that opaque code may have replaced.

        What SQL prepares under the same name is a query or DML: it controls no transaction.
        """
        plan = self._plan_of(statement)
        controls = plan.flags & (Flag.MAY_COMMIT | Flag.ISOLATION) and not confined(plan)
        found = memo.UNKNOWN_STATEMENT if controls or not statement.name else _REPLACED
        return _counted(found, plan)

    def forward_batch(self, batch: Batch, *, syncs: bool = False) -> None:
        """Send extended messages upstream, whatever the client wrote (R1).

        Args:
            syncs: they are followed by Sync, so that a single read may be filled.
        """
        if not batch and not syncs:
            return
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
        epoch = self.epoch
        if prepared is not None:
            self.pending.append(prepared)
            prepared.sent = self.now
        before = self.context
        pending = self._open_pending()
        pending.asked = asked
        out: list[bytes] = []
        if batch:
            self.send_begin(pending)
            if fresh:
                self._restore_unnamed(batch, pending, whole=syncs)
                self.restore_named(batch, pending)
                if self.rests:
                    self.give_named(batch, pending, whole=syncs)
        plans: list[Plan | None] = []
        for kind, message in batch:
            pending.expected += 1
            if kind == E and self.rests:
                self.replaces(message, pending.expected, pending)
            plans.append(self._register(kind, message, pending))
        if fresh and obstacle is None and _only_prepares(batch):
            self.portrays(batch, self.plan(_text_of(batch[0][1])), pending)
        known = [plan for plan in plans if plan is not None]
        for plan in known:
            self.before_set_transaction(plan, pending)
        fill = None
        if fresh and syncs and len(known) == 1 and known[0].kind is Kind.READ:
            fill = self._fill_of_batch(batch, known[0], obstacle, pending)
            pending.fill, pending.context = fill, before
        if pending.lone and fresh and syncs and len(known) == 1:
            bound = self._bind_of(batch, 1 if batch[0][0] == P else 0)
            if bound is not None:
                bind = messages.decode_bind(bound)
                statement = self.statements.get(bind.statement)
                if statement is not None and statement.epoch == epoch:
                    self.learns(pending, known[0], statement.source + bind.rest)
        self.dispatch(pending)
        out.extend(message for _, message in batch)
        if fill is not None and fill.rows:
            pending.limit = fill.rows
            out.append(ONE_MORE)
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

    def _restore_unnamed(self, batch: Batch, pending: Pending, *, whole: bool) -> None:
        """Bring upstream's unnamed statement and portal to what the client believes (R2).

        Args:
            whole: `batch` ends with a Sync. Nothing can be put in front of what follows otherwise.
        """
        ghost = self.ghost_portal
        first_bind = next((i for i, (k, m) in enumerate(batch) if k == B and m[5] == 0), None)
        if (
            ghost is not None
            and (whole or first_bind is not None)
            and not any(
                _names_unnamed_portal(kind, message) for kind, message in batch[:first_bind]
            )
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
                self.restores(unnamed, pending)
                self.stale_unnamed = False
            elif unnamed is None and self.stale_unnamed:
                self.send(messages.close(b"S", b""))
                pending.prefix += b"3"
                self.stale_unnamed = False
        if ghost is None:
            return
        if ghost:
            self.give_unnamed(pending, ghost)
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
            elif known.suspect and not self._judged_later(known):
                plan = self._plan_of_suspect(known)
            else:
                plan = self._plan_of(known)
            if known is not None:
                self._may_be_analysed(known)
            self.portals[bind.portal] = plan
            if known is not None and plan is memo.UNVERIFIED:
                self.portals[bind.portal] = _counted(plan, self._plan_of(known))
            if pending.bound is None:
                pending.bound = set()
            pending.bound.add(bind.portal)
            self.rests.pop(bind.portal, None)
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
            acts = executed.flags & (Flag.SETTINGS | Flag.STATEMENTS | Flag.MAY_COMMIT)
            acts = acts or executed.control is not Control.NONE
            if acts and portal not in (pending.bound or ()):
                # It was bound in an earlier request, and acts now.
                self.note(pending, executed)
            reason = executed.reason
            if executed.kind is Kind.READ:
                reason = Reason.PORTAL
            pending.plans.append((self.outcome(executed), reason, executed.shape))
            self.snapshot_in_block |= executed.kind is Kind.READ
        elif kind == C and payload[:1] == b"S":
            name, _ = messages.cut_name(payload, 1)
            self.statements.pop(name, None)
            pending.closes = True
        elif kind == C:
            name, _ = messages.cut_name(payload, 1)
            self.portals.pop(name, None)
        return None

    def _may_be_analysed(self, statement: Statement) -> None:
        """PostgreSQL uses it, and may read it anew: under these settings and this schema (K1).

        In a failed transaction it refuses to.
        """
        if self.status == b"E":
            return
        if self.changes_schema:
            statement.version = -1
        if statement.epoch != self.epoch:
            statement.epoch = -1

    def _fill_of_batch(
        self, batch: Batch, plan: Plan, obstacle: Reason | None, pending: Pending
    ) -> Fill | None:
        """A fill for a batch that is one plain read, else None with the reason noted."""
        index = next((i for i, message in enumerate(batch) if not closes_portal(message)), 0)
        index += batch[index][0] == P
        bound = self._bind_of(batch, index, limited=True)
        portal, rows = asks(batch[-1][1]) or (b"", 0)
        fill: Fill | None = None
        reason = Reason.PORTAL
        if bound is not None:
            bind = messages.decode_bind(bound)
            statement = self.statements.get(bind.statement)
            context = self.context
            if obstacle is not None:
                reason = obstacle
            elif statement is None or context is None or bind.portal != portal:
                pass
            elif statement.epoch != self.epoch or statement.version != self.data.version:
                reason = Reason.PREPARED_STALE
            elif may_say_now(bind.rest):
                reason = Reason.CLOCK_LITERAL
            else:
                key = (context.id, statement.source, bind.rest)
                inside = self.block or pending.begins
                if not portal and (not rows or (not inside and self.worth_one_more(key, rows))):
                    fill, reason = self.fill(context, plan, key)
                    if fill is not None:
                        fill.rows = rows
                elif portal or inside:
                    self.wants(key, statement.text, 0 if portal else rows)
        if pending.plans:
            shape = pending.plans[-1][2]
            pending.plans[-1] = ("miss" if fill is not None else "bypass", reason, shape)
        return fill


def _counted(found: Plan, own: Plan) -> Plan:
    """`found` under the name of what the client has prepared, whose plan is `own`.

    What nobody can see through by itself is no matter of doubt.
    """
    opaque = own.reason is Reason.WRITE_OPAQUE
    return replace(found, reason=own.reason if opaque else found.reason, shape=own.shape)


def _only_prepares(batch: Batch) -> bool:
    """Whether it is a Parse and a Describe, and no more."""
    return len(batch) == 2 and batch[0][0] == P and batch[1][0] == D


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
