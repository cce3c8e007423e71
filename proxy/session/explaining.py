"""EXPLAIN CACHE in a client's own session.

What lives here: how a client that asks is answered. What must not: the answer (`explain.py`).

PostgreSQL knows no EXPLAIN CACHE: a statement that begins so would be a syntax error, so
nothing is taken away from anybody. In its place PostgreSQL is sent a SELECT that gives the
explanation's rows, as constants. So protocols, formats, portals, row limits, the order of
answers and failed transactions are PostgreSQL's own, and nothing about the session has to be
imitated. A statement that was prepared explains anew each time that it is bound: PostgreSQL
is given its new text in front of that, under the same name.

What the options say wrongly becomes a statement that fails with the same SQLSTATE; the client
is told Howdah's own words.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from proxy.errors import HowdahError
from proxy.policy.plan import Kind, Plan
from proxy.reasons import Reason
from proxy.session.command import Command, command
from proxy.session.explain import COLUMNS, Bound, explain
from proxy.session.extended import ExtendedSide
from proxy.session.portals import Batch
from proxy.session.records import Pending, Statement
from proxy.sql import normal
from proxy.wire import messages
from proxy.wire.framing import HEADER

_PARSE, _BIND, _CLOSE = b"PBC"
# What fails with 42601 when it is run, and does nothing.
_REFUSED = b"EXPLAIN (cache) SELECT 1"
_REFUSAL = "42601"
# How Howdah takes the SELECT that it has made itself.
_PLAN = Plan(Kind.OTHER, Reason.EXPLAIN)


class _Asked(NamedTuple):
    """A prepared EXPLAIN CACHE.

    Attributes:
        text: the client's. types: behind it in the Parse, the types of its parameters.
        told: what PostgreSQL has been given in its place.
    """

    text: bytes
    types: bytes
    told: bytes


class Explaining(ExtendedSide):
    """The explanations of one session."""

    # Prepared ones, by name; one of another text has taken its place where that differs.
    _asked: dict[bytes, _Asked] | None = None

    def asks_why(self, text: bytes) -> bool:
        """Whether a text is an EXPLAIN CACHE."""
        return self._command(text) is not None

    # The simple protocol

    def _query_slowly(self, message: bytes) -> None:
        text = message[HEADER:-1]
        asked = self._command(text)
        if asked is None:
            super()._query_slowly(message)
            return
        told, refusal = self._tell(asked)
        before = self.told
        self.told = {told: _PLAN}
        super()._query_slowly(messages.query(told))
        self.told = before
        self._refuse(refusal)

    # The extended one

    def sync(self, batch: Batch, message: bytes) -> None:
        """See `ExtendedSide.sync`."""
        batch, refusal = self._explained(batch)
        super().sync(batch, message)
        self._refuse(refusal)

    def forward_batch(self, batch: Batch, *, syncs: bool = False) -> None:
        """See `ExtendedSide.forward_batch`; what ends with a Sync has come by `sync`."""
        refusal = b""
        if not syncs:
            batch, refusal = self._explained(batch)
        super().forward_batch(batch, syncs=syncs)
        self._refuse(refusal)

    def _refuse(self, refusal: bytes) -> None:
        if refusal and self.pending:
            self.pending[-1].refusal = refusal

    def _explained(self, batch: Batch) -> tuple[Batch, bytes]:
        """`batch` as PostgreSQL is to have it, and the error that becomes of it, or nothing."""
        made: Batch | None = None
        here: set[bytes] = set()  # names that it prepares by itself
        refusal = b""
        for at, (kind, message) in enumerate(batch):
            if kind == _PARSE:
                name, start = messages.cut_name(message, HEADER)
                text, behind = messages.cut_name(message, start)
                asked = self._command(text)
                here.add(name)
                if asked is None:
                    if self._asked:
                        self._asked.pop(name, None)
                    continue
                types = message[behind:]
                rest = _bound(batch[at + 1 :], name)
                told, refused = self._tell(asked, types, rest)
                refusal = refusal or refused
                self._remember(name, _Asked(text, types, told))
                made = made or list(batch)
                made[at] = (kind, _parse(name, told, types))
            elif kind == _BIND and self._asked:
                bind = messages.decode_bind(message[HEADER:])
                if bind.statement not in here:
                    here.add(bind.statement)
                    refusal = self._tell_again(bind.statement, bind.rest) or refusal
            elif kind == _CLOSE and self._asked and message[HEADER] == 0x53:
                self._asked.pop(message[HEADER + 1 : -1], None)
        return made or batch, refusal

    def _remember(self, name: bytes, asked: _Asked) -> None:
        known = self._asked
        if known is None:
            known = self._asked = {}
        elif len(known) > len(self.statements):
            for old in [old for old in known if old not in self.statements]:
                del known[old]
        known[name] = asked
        self.told = {each.told: _PLAN for each in known.values()}

    def _tell_again(self, name: bytes, rest: bytes) -> bytes:
        """Have a prepared one explain what is true now; the error that becomes of it, or nothing.

        In a failed transaction, and behind what is not answered yet, it stays as it was: nothing
        can be put in front of the request there.
        """
        assert self._asked is not None
        asked, statement = self._asked.get(name), self.statements.get(name)
        if asked is None or statement is None or statement.text != asked.told:
            return b""
        found = self._command(asked.text)
        assert found is not None
        told, refusal = self._tell(found, asked.types, rest)
        outstanding = any(not waiting.hidden for waiting in self.pending)
        if self.status == b"E" or outstanding or statement.changed or statement.suspect:
            return refusal
        self._remember(name, asked._replace(told=told))
        parse = _parse(name, told, asked.types)
        # It is not there under this text: the batch will prepare it first (R2).
        self.statements[name] = self._marked(Statement(name, parse, -1, self.data.version))
        return refusal

    def _register(self, kind: int, message: bytes, pending: Pending) -> Plan | None:
        plan = super()._register(kind, message, pending)
        if kind == _PARSE and self._asked:
            name, _ = messages.cut_name(message, HEADER)
            asked = self._asked.get(name)
            if asked is not None and self.statements[name].text == asked.told:
                self._marked(self.statements[name])
        return plan

    def _marked(self, statement: Statement) -> Statement:
        """It is of no settings: so the short cuts of known statements do not take it."""
        statement.epoch = -1
        return statement

    # The words

    def _command(self, text: bytes) -> Command | HowdahError | None:
        """What is asked; the error where that is not well said; None for other texts."""
        # Most texts are told from these words by one look.
        first = text[:1]
        if first not in _FIRST or b"CACHE" not in text[:_LOOKED].upper():
            return None
        try:
            return command(text.decode("utf-8", "surrogateescape"))
        except HowdahError as error:
            return error

    def _tell(
        self, asked: Command | HowdahError, types: bytes | None = None, rest: bytes | None = None
    ) -> tuple[bytes, bytes]:
        """What PostgreSQL is to run, and the error that the client gets for it, or nothing.

        Args:
            types: of parameters, as they stand in the Parse; None in the simple protocol.
            rest: the Bind behind its names, if it is known.
        """
        if isinstance(asked, HowdahError):
            return self._refused(asked)
        if asked.database or asked.role:
            error = HowdahError(
                "EXPLAIN CACHE with DATABASE or ROLE is for Howdah's console",
                hint="In a session it speaks for this session: leave them away.",
                sqlstate=_REFUSAL,
            )
            return self._refused(error)
        bound = None if types is None or rest is None else Bound(types, rest)
        try:
            used = _used(asked.sql, types)
            explanation = explain(self.engine, asked.sql, session=self, bound=bound)
        except HowdahError as error:
            return self._refused(error)
        if asked.json:
            answer = f"SELECT {self._constant(explanation.document())} AS explanation"
        else:
            item, value = COLUMNS
            rows = [{item: first, value: second} for first, second in explanation.rows()]
            answer = (
                f"SELECT {item}, {value} FROM pg_catalog.json_to_recordset({self._constant(rows)})"
                f" AS told({item} pg_catalog.text, {value} pg_catalog.text)"
            )
        if used:
            answer += f" WHERE {' OR '.join(used)} OR true"
        return answer.encode("utf-8", "replace"), b""

    def _refused(self, error: HowdahError) -> tuple[bytes, bytes]:
        return _REFUSED, messages.error_response(
            error.sqlstate, error.message, severity="ERROR", hint=error.hint
        )

    def _constant(self, value: object) -> str:
        """A constant of type json, as it can be sent in the session's encoding."""
        text = json.dumps(value, ensure_ascii=False)
        # A lone surrogate stands for a byte that is no UTF-8.
        codec = "utf-8" if self.encoding == "UTF8" else "ascii"
        text = text.encode(codec, "replace").decode(codec)
        tag = "howdah"
        while f"${tag}$" in text:
            tag += "_"
        return f"${tag}${text}${tag}$::pg_catalog.json"


# What the words, or spaces and comments in front of them, begin with; and how long those are.
_FIRST = frozenset((b"E", b"e", b"-", b"/", b" ", b"\t", b"\r", b"\n", b"\f", b"\v"))
_LOOKED = 1000
# What the count of a Bind can say.
_MOST_PARAMETERS = 65_535


def _parse(name: bytes, text: bytes, types: bytes) -> bytes:
    return messages.message(b"P", name + b"\x00" + text + b"\x00" + types)


def _used(sql: str, types: bytes | None) -> list[str]:
    """Conditions that have the parameters be there: of their declared types, or texts.

    Raises:
        HowdahError: 42P02, one is beyond all that a Bind can hold.
    """
    if types is None:
        return []
    highest = normal.parameters(sql)
    if highest > _MOST_PARAMETERS:
        raise HowdahError(
            f"there is no parameter ${highest}",
            hint=f"A statement has {_MOST_PARAMETERS} parameters at most.",
            sqlstate="42P02",
        )
    conditions = []
    for number in range(1, highest + 1):
        declared = any(types[4 * number - 2 : 4 * number + 2])
        conditions.append(f"${number}{'' if declared else '::pg_catalog.text'} IS NULL")
    return conditions


def _bound(batch: Batch, name: bytes) -> bytes | None:
    """What the first Bind of that statement says, behind its names."""
    for kind, message in batch:
        if kind == _BIND:
            bind = messages.decode_bind(message[HEADER:])
            if bind.statement == name:
                return bind.rest
    return None
