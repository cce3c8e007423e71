"""The express lane: chunks that are just one known request, answered without taking it apart.

Drivers send a whole request in one write and wait for its answer, so nearly every
chunk is a Query, or [Parse] Bind [Describe] Execute Sync with the same closing
messages. Those are recognised by comparing their ends and lengths. Whatever does
not fit takes the way through `core.py`, which decides alike; nothing is decided
here that is not decided there.
"""

from __future__ import annotations

from proxy.cache.store import Key
from proxy.policy.plan import Kind
from proxy.reasons import Reason
from proxy.session.literals import may_say_now
from proxy.session.parts import cut
from proxy.session.portals import ONE_MORE
from proxy.session.records import Pending, Statement
from proxy.session.shared import Waiting
from proxy.wire import messages

_EXECUTE = messages.execute(b"") + messages.SYNC
_DESCRIBE_PORTAL = messages.message(b"D", b"P\x00")
_DESCRIBE = _DESCRIBE_PORTAL + _EXECUTE
# What an Execute with a limit begins with.
_LIMITED = messages.execute(b"")[:-4]
_PREPARE_ENDS = (messages.SYNC, messages.message(b"H"))
# Rows of fewer bytes are copied into one reply.
_ONE_PIECE = 16 * 1024
_PARSED = messages.PARSE_COMPLETE + messages.BIND_COMPLETE


class Express(Waiting):
    """Whole-chunk requests. Called only while `hot`, with nothing buffered."""

    def express(self, data: bytes) -> bool:
        """Handle `data` if it is one known request; False leaves everything untouched."""
        kind = data[0]
        if kind == 0x51:
            return self._express_query(data)
        if kind != 0x42 and kind != 0x50:
            return False
        rows = 0
        if data.endswith(_DESCRIBE):
            describe, tail = True, len(_DESCRIBE)
        elif data.endswith(_EXECUTE):
            describe, tail = False, len(_EXECUTE)
        elif data.endswith(messages.SYNC) and data[-15:-9] == _LIMITED:
            rows = int.from_bytes(data[-9:-5], "big")
            describe = data[-22:-15] == _DESCRIBE_PORTAL
            tail = len(_DESCRIBE) if describe else len(_EXECUTE)
            if rows > 0x7FFFFFFF:
                return False
        else:
            return kind == 0x50 and data.endswith(_PREPARE_ENDS) and self._express_prepare(data)
        if kind == 0x42:
            return self._express_bind(data, tail, describe, rows)
        return self._express_parse(data, tail, describe, rows)

    def _express_query(self, data: bytes) -> bool:
        if int.from_bytes(data[1:5], "big") + 1 != len(data):
            return False
        context = self.context
        key = (context.id, data)  # type: ignore[union-attr]
        entry = self.engine.store.get(key)
        if entry is None:
            if self.waits(key, data):
                return True
            pending = None if data[-1] else self._forward(data, data[5:-1], key, b"")
            if pending is None:
                return False
            pending.simple = True
            self.statements.pop(b"", None)
            self.stale_unnamed = False
            self.portals.pop(b"", None)
            return True
        if not self.holds(entry):
            return self.waits(key, data)
        self._reply(b"", entry.description or b"", entry.body, b"")
        self._close_unnamed()
        return True

    def _express_prepare(self, data: bytes) -> bool:
        """A Parse and a Describe, then Sync or Flush."""
        size = int.from_bytes(data[1:5], "big") + 1
        end = size + int.from_bytes(data[size + 1 : size + 5], "big") + 1
        if end + 5 != len(data) or data[size] != 0x44:
            return False
        if not self.prepares(data[:size], data[size:end]):
            return False
        if data[end] == 0x53:
            self.to_client.append(messages.READY_BLOCK if self.block else messages.READY_IDLE)
        return True

    def _express_bind(self, data: bytes, tail: int, describe: bool, rows: int) -> bool:
        size = int.from_bytes(data[1:5], "big") + 1
        if size + tail != len(data) or data[5]:
            return False
        end = data.find(b"\x00", 6)
        statement = self.statements.get(data[6:end])
        context = self.context
        if (
            statement is None
            or end >= size
            or statement.epoch != self.epoch
            or statement.version != self.data.version
            or statement.suspect
        ):
            return False
        key = (context.id, statement.source, data[end + 1 : size])  # type: ignore[union-attr]
        entry = self.engine.store.get(key)
        if entry is None:
            return self.waits(key, data) or (
                statement.upstream
                and not statement.unusual
                and self._forward(data, statement.text, key, key[2], rows) is not None
            )
        if describe and entry.description is None:
            return False
        if not self.holds(entry):
            return self.waits(key, data)
        description = entry.description if describe else b""
        body = entry.body
        if self.status != b"I" or self.deferred is not None:
            body = self.first_rows(entry, rows, b"", statement, self.plan(statement.text))
        elif rows:
            body, _ = cut(body, 0, rows)
        self._reply(messages.BIND_COMPLETE, description or b"", body, data[:size])
        return True

    def _express_parse(self, data: bytes, tail: int, describe: bool, rows: int) -> bool:
        parse_size = int.from_bytes(data[1:5], "big") + 1
        bind = data[parse_size : parse_size + 7]
        # An unnamed statement, then a Bind with unnamed portal and statement, then the tail.
        if data[5] or len(bind) < 7 or bind[0] != 0x42 or bind[5] or bind[6]:
            return False
        size = parse_size + int.from_bytes(bind[1:5], "big") + 1
        if size + tail != len(data):
            return False
        context = self.context
        parameters = data[parse_size + 7 : size]
        key = (context.id, data[6:parse_size], parameters)  # type: ignore[union-attr]
        entry = self.engine.store.get(key)
        statement = Statement(b"", data[:parse_size], self.epoch, self.data.version)
        if entry is None:
            if self.waits(key, data):
                return True
            if statement.unusual:
                return False
            pending = self._forward(data, statement.text, key, parameters, rows)
            if pending is None:
                return False
            pending.parses.append((b"", None))
            statement.upstream = True
            self.statements[b""] = statement
            self.stale_unnamed = False
            return True
        if describe and entry.description is None:
            return False
        if not self.holds(entry):
            return self.waits(key, data)
        self._define_unnamed(statement)
        description = entry.description if describe else b""
        body = entry.body
        if self.block:
            body = self.first_rows(entry, rows, b"", statement, self.plan(statement.text))
        elif rows:
            body, _ = cut(body, 0, rows)
        self._reply(_PARSED, description or b"", body, data[parse_size:size])
        return True

    def _reply(self, head: bytes, description: bytes, body: bytes, bind: bytes) -> None:
        """Put out a hit, in one piece unless copying the rows would cost more."""
        ready = self.after_hit(bind)
        if len(body) < _ONE_PIECE:
            self.to_client.append(b"".join((head, description, body, ready)))
        else:
            self.to_client += (head + description, body, ready)

    def _forward(
        self, data: bytes, text: bytes, key: Key, parameters: bytes, rows: int = 0
    ) -> Pending | None:
        """Send a known read on as it came, recording its answer where that is allowed.

        None where it is no plain read, or something has to go in front of it.

        Args:
            rows: the limit of its Execute, or 0.
        """
        context = self.context
        if context is None or not context.live or self.deferred is not None:
            return None
        plan = context.plans.get(text)
        if plan is None or plan.flags or plan.closure or plan.bodies:
            return None
        fill, reason = None, plan.reason
        if plan.kind is Kind.READ:
            if may_say_now(parameters):
                reason = Reason.CLOCK_LITERAL
            elif rows and not self.worth_one_more(key, rows):
                reason = Reason.PORTAL
                if self.block:
                    self.wants(key, text, rows)
            else:
                fill, reason = self.fill(context, plan, key)
            self.snapshot_in_block = True
        elif plan.kind is not Kind.BYPASS or self.rests:
            return None
        pending = self.new_pending()
        pending.synced = True
        pending.fill, pending.context = fill, context
        pending.plans.append(("bypass" if fill is None else "miss", reason, plan.shape))
        self.statements_since_probe += 1
        self.bound_unnamed(plan)
        self.ghost_portal = None
        if rows and fill is not None:
            fill.rows = pending.limit = rows
            data = data[: -len(messages.SYNC)] + ONE_MORE + messages.SYNC
        self.to_server.append(data)
        self.last_upstream = self.now
        return pending
