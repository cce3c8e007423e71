"""What a session keeps of each statement that is prepared and each reply that is owed.

What lives here: two records, and what their fields mean. What must not: rules; those
that read them stand in `state.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.cache.fences import Fence
from proxy.cache.fills import Fill
from proxy.policy.plan import NOTHING, Closure, Control, Flag
from proxy.reasons import Reason
from proxy.session.context import Context
from proxy.session.descriptions import Portrait
from proxy.tally import Shape

if TYPE_CHECKING:
    from proxy.session.tracking import State
    from proxy.session.verifying import Check

# Beside `Flag`: the request holds something else that may commit than one statement of a
# known kind: inside an explicit transaction no function, procedure or DO block can commit.
UNCONFINED = 1 << 31

# Built-in types of parameters that neither run code nor read the clock, and their arrays.
_USUAL_TYPES = frozenset(
    (0, 16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 650, 700, 701, 705, 829, 869, 1042, 1043)
    + (1082, 1114, 1184, 1186, 1560, 1562, 1700, 2950, 3802)
    + (199, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1028)
    + (1041, 1115, 1182, 1185, 1187, 1231, 2951, 3807)
)


def _unusual_types(tail: bytes) -> tuple[int, ...]:
    """The parameter types at the end of a Parse message that are not plain built-in ones."""
    if len(tail) <= 2:
        return ()
    oids = (int.from_bytes(tail[i : i + 4], "big") for i in range(2, len(tail), 4))
    return tuple(oid for oid in oids if oid not in _USUAL_TYPES)


class Statement:
    """A prepared statement, named or not, as the client knows it.

    Attributes:
        source: the Parse message behind the name: text, zero, parameter types. Part of the key.
        epoch, version: of settings and schema at its Parse (K1).
        upstream: whether PostgreSQL has it; an unnamed one that was answered from
            memory is sent there only when it is needed (R2).
        unusual: declared parameter types, as OIDs, that need a look at the catalog.
        suspect: opaque code has run since and may have replaced it.
        changed: PostgreSQL has it, but describes it otherwise than its client was told.
    """

    __slots__ = (
        "changed",
        "epoch",
        "message",
        "name",
        "source",
        "suspect",
        "text",
        "unusual",
        "upstream",
        "version",
    )

    def __init__(self, name: bytes, message: bytes, epoch: int, version: int) -> None:
        self.name = name
        self.message = message
        self.source = message[6 + len(name) :]
        end = self.source.find(b"\x00")
        self.text = self.source[:end] if end >= 0 else self.source
        self.unusual = _unusual_types(self.source[end + 1 :]) if end >= 0 else ()
        self.epoch = epoch
        self.version = version
        self.upstream = False
        self.suspect = False
        self.changed = False


class Pending:
    """What upstream owes up to one ReadyForQuery.

    Attributes:
        hidden: a request of Howdah's own; its replies do not reach the client.
        prefix: types of replies, in order, that answer messages which Howdah put
            in front of the client's; they are dropped.
        fence, closure, flags: what the request can write, see `SessionState.dispatch`.
        asked: a COMMIT that the question in `touched.py` went ahead of.
        guard, question: hidden ones, the savepoint around that question and itself.
        parses: statements defined by it, with what they replaced, in order.
        controls: something in it may begin or end a transaction or a savepoint.
        reloads: something in it may have the server read its configuration again.
        lone: one statement, sent while nothing of the client's was outstanding.
        said: the text of its only statement where that controls a transaction.
        was, learn: of one that may change settings, `settings` and `kept` before it; where
            a SET is just that, under what the change is remembered. See `tracking.py`.
        probe_state, watched: of a probe, the state of the settings that its answer shows, and
            the custom ones that it asks for.
        bound: portals that it has bound.
        limit, beyond: rows that its only Execute asks for, where a further one of Howdah's
            own stands behind it; and whether what comes now answers that one.
        locals: by their number, Executes that are answered from memory: what the client
            sees in place of PostgreSQL's answer. See `portals.py`.
        restored: statements that it prepares again in front of what the client has sent.
        refusal: what the client is told in place of a syntax error; see `explaining.py`.
        check: the hit that it verifies; see `verifying.py`.
        background: a hidden one that nobody waits for; it leaves the session as it is.
        reported: what ParameterStatus had said when it was sent.
        prepares: of such a one, the statement whose Parse it is.
        executed: Executes that have ended, apart from one that has failed.
        portrait: the description of a statement that it asks for, as it comes in.
        closes: it closes a prepared statement.
        refuses: what stands in front of it fails, since a statement has changed.
    """

    __slots__ = (
        "asked",
        "autocommit",
        "background",
        "begins",
        "beyond",
        "bound",
        "cancels",
        "check",
        "closes",
        "closure",
        "context",
        "control",
        "controls",
        "data_ended",
        "error",
        "executed",
        "expected",
        "fence",
        "fill",
        "flags",
        "guard",
        "hidden",
        "learn",
        "limit",
        "locals",
        "lone",
        "mixed",
        "noted",
        "parsed",
        "parses",
        "plans",
        "portrait",
        "prefix",
        "prepares",
        "probe_state",
        "question",
        "received",
        "refusal",
        "refuses",
        "reloads",
        "reported",
        "restored",
        "row",
        "said",
        "sent",
        "simple",
        "synced",
        "tag",
        "was",
        "watched",
    )

    def __init__(self, sent: float, *, hidden: bool = False) -> None:
        self.sent = sent
        self.hidden = hidden
        self.prefix: list[int] = []
        self.fence: Fence | None = None
        self.closure: Closure = NOTHING
        self.flags: int = Flag.PLAIN
        self.fill: Fill | None = None
        self.context: Context | None = None
        self.plans: list[tuple[str, Reason, Shape | None]] = []
        self.parses: list[tuple[bytes, Statement | None]] = []
        self.parsed = 0
        self.error: tuple[str, str] | None = None
        self.tag = b""
        self.executed = 0
        self.synced = False
        self.data_ended = False  # CopyDone or CopyFail was sent behind it
        self.autocommit = True
        self.begins = False  # a deferred BEGIN travels in front of it
        self.simple = False  # a Query, not a batch of extended messages
        self.probe_state: State | None = None
        self.row: bytes | None = None
        self.controls = self.reloads = False
        self.lone = False
        self.said = b""
        self.learn: tuple[str, bytes] | None = None
        self.was: tuple[State, State] | None = None
        self.bound: set[bytes] | None = None
        self.watched: tuple[str, ...] = ()
        self.noted = 0  # plans that it executes
        self.control = Control.NONE  # of the only one
        # Extended messages sent, and answered so far; see `simple_pending`.
        self.expected = self.received = 0
        self.mixed = False
        self.asked = self.guard = self.question = False
        self.cancels = False  # it fails by itself, see `SELF_CANCEL`
        self.limit = 0
        self.check: Check | None = None
        self.background = self.beyond = self.closes = self.refuses = False
        self.locals: dict[int, bytes] | None = None
        self.restored: list[Statement] | None = None
        self.prepares: Statement | None = None
        self.portrait: Portrait | None = None
        self.reported: dict[bytes, bytes] | None = None
        self.refusal = b""

    @property
    def writer(self) -> str:
        """Its statement that writes, without literals, as far as can be told; may be empty."""
        known = [(outcome, shape) for outcome, _, shape in self.plans if shape is not None]
        writes = [shape.text for outcome, shape in known if outcome == "write"]
        return (writes or [shape.text for _, shape in known] or [""])[-1]

    @property
    def passes(self) -> bool:
        """Whether rows go to the client without being looked at."""
        return (
            self.fill is None
            and self.synced
            and not (self.hidden or self.prefix or self.mixed)
            and not (self.limit or self.locals or self.portrait)
        )
