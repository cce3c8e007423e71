"""From the body of a function in PL/pgSQL to the parser's tree.

What lives here: the CREATE FUNCTION that is written around a body, with types that
the parser knows in the place of those that it does not. What must not: what the
body says. The tree is the JSON of libpg_query's PL/pgSQL parser.
"""

from __future__ import annotations

import json
from typing import Any

from pglast.parser import ParseError, parse_plpgsql_json

from proxy.sql.declarations import Declared, dotted_names, rewrite, stand_in

Node = dict[str, Any]
# Mode (one of i, o, b, v, t), name or "", type.
Argument = tuple[str, str, str]


class Header:
    """What stands in front of a body, in types that the parser knows."""

    def __init__(
        self,
        name: str,
        arguments: tuple[Argument, ...],
        returns: str,
        trigger: bool,
        procedure: bool,
    ) -> None:
        self._name = _quoted(name)
        self._arguments = arguments
        self._trigger = trigger
        self._procedure = procedure
        words = returns.lower().split()
        self._set = words[:1] == ["setof"] or words[:1] == ["table"]
        self._result = "".join(words[1:] if self._set else words).removeprefix("pg_catalog.")

    @property
    def is_trigger(self) -> bool:
        """RETURN gives a row of the table as it is."""
        return self._trigger

    @property
    def is_set(self) -> bool:
        """RETURN gives nothing, RETURN NEXT does."""
        return self._set

    @property
    def gives_value(self) -> bool:
        """RETURN may name a variable whose value is converted."""
        if self._procedure or self._trigger or self._result in ("void", "event_trigger"):
            return False
        return not any(mode in "obt" for mode, _, _ in self._arguments)

    def names(self) -> list[str]:
        """The name of every argument; those without one get one."""
        return [name or f"howdah argument {i}" for i, (_, name, _) in enumerate(self._arguments)]

    def text(self, rows: set[str], other: bool) -> str:
        """The text up to the body. `other` says that it is a set if it is none, or the reverse."""
        before, columns, given = [], [], []
        for (mode, _, written), name in zip(self._arguments, self.names(), strict=True):
            kind = stand_in(written, row=name in rows)
            quoted = _quoted(name)
            if mode == "t":
                columns.append(f"{quoted} {kind}")
                continue
            word = {"i": "IN", "v": "IN", "o": "OUT", "b": "INOUT"}[mode]
            before.append(f"{word} {quoted} {kind}")
            if mode in "ob":
                given.append(kind)
        signature = f"{self._name}({', '.join(before)})"
        if self._procedure:
            return f"CREATE PROCEDURE {signature}"
        result = self._returns(columns, given, self._set is not other)
        return f"CREATE FUNCTION {signature} {result}"

    def _returns(self, columns: list[str], given: list[str], is_set: bool) -> str:
        if columns:
            return f"RETURNS TABLE ({', '.join(columns)})"
        if self._trigger:
            return "RETURNS trigger"
        if given:
            kind = given[0] if len(given) == 1 else "record"
            return f"RETURNS SETOF {kind}" if is_set else ""
        if not is_set and self._result in ("void", "event_trigger"):
            return f"RETURNS {self._result}"
        return "RETURNS SETOF record" if is_set else "RETURNS text"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def parse(source: str, header: Header) -> tuple[Declared, Node]:
    """Parse a body; of several ways to stand in for unknown types, the first that is read."""
    failure: Exception = ValueError("nothing tried")
    rows = dotted_names(source)
    for trial in (rows, set[str]()):
        for other in (False, True):
            try:
                declared = rewrite(source, trial)
                return declared, _tree(header.text(trial, other), declared.source)
            except ParseError as error:
                failure = error
    raise failure


def _tree(header: str, source: str) -> Node:
    tag, number = "$howdah$", 0
    while tag in source:
        number += 1
        tag = f"$howdah{number}$"
    text = f"{header} LANGUAGE plpgsql AS {tag}{source}\n{tag}"
    (found,) = json.loads(parse_plpgsql_json(text), strict=False)
    function: Node = found["PLpgSQL_function"]
    return function
