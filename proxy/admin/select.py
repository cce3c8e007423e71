"""SHOW view (columns) WHERE ... ORDER BY ... LIMIT ... OFFSET ...: rows chosen as SQL would.

What lives here: types, three-valued logic, ordering. What must not: parsing (`proxy.sql.filters`
knows the grammar), and what the views hold.

As in PostgreSQL, a literal in quotes and a parameter take the type of what they are compared
with, an unknown operand makes a comparison unknown, and a row stays only where the condition
is true. Text is compared by code points, as under the collation "C".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from math import isinf
from typing import Any

from proxy.admin import patterns
from proxy.admin.house import Cells
from proxy.admin.views import VIEWS, Column, House, Row, Type, Value, View
from proxy.errors import HowdahError
from proxy.sql import filters
from proxy.sql.filters import Filter, Node
from proxy.units import suggestion

# A node made ready: a row and the parameters' values in, a value out; None is NULL.
Step = Callable[[Cells, Sequence[Value]], Value]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBERS = ("int8", "float8")
# How PostgreSQL names types in messages.
_NAMES = {"int8": "bigint", "float8": "double precision", "bool": "boolean", "text": "text"}
_TRUE = ("t", "true", "y", "yes", "on", "1")
_FALSE = ("f", "false", "n", "no", "off", "0")
_INT8 = 1 << 63
_PARAMETERS = 1_000
# What one run may cost while everybody waits: parts of the filter times rows, and characters
# that patterns are held against; half a second each, or so.
_WORK = 1_000_000
_CHARACTERS = 8_000_000


class Selection:
    """A checked selection of one view.

    Attributes:
        columns: of the result.
        parameters: types of $1, $2, ... in their order.
    """

    def __init__(self, view: View, asked: Filter) -> None:
        self._view = view
        compiler = _Compiler(view)
        self._places = tuple(_targets(view, asked))
        self.columns: tuple[Column, ...] = tuple(column for column, _ in self._places)
        where = None if asked.where is None else compiler.node(asked.where, "bool")
        self._where = where
        self._order = [
            (self._key(compiler, order.node), order.descending, order.nulls_first)
            for order in asked.order
        ]
        self._limit = compiler.bound("LIMIT", asked.limit)
        self._offset = compiler.bound("OFFSET", asked.offset)
        self._patterns = compiler.patterns
        # A row is compared a few times to find its place.
        self._parts = compiler.parts + 4 * len(self._order)
        self.parameters: tuple[Type, ...] = compiler.parameters()

    def _key(self, compiler: _Compiler, node: Node) -> Step:
        """What an item of ORDER BY sorts by: a number is a place, a name may be the result's."""
        if isinstance(node, filters.Constant) and isinstance(node.value, int):
            if not 1 <= node.value <= len(self._places):
                raise HowdahError(
                    f"ORDER BY position {node.value} is not in select list", sqlstate="42P10"
                )
            return _column(self._places[node.value - 1][1])
        if isinstance(node, filters.Column):
            for column, place in self._places:
                if column.name == node.name:
                    return _column(place)
        return compiler.node(node, None)

    def rows(self, house: House, values: Sequence[Value] = ()) -> list[Row]:
        """The rows now.

        Args:
            values: of the parameters, None for NULL; text is read as the type that is expected.

        Raises:
            HowdahError: a value that cannot be, such as a negative LIMIT or half a pattern.
        """
        if len(values) != len(self.parameters):
            raise HowdahError(
                f"{len(values)} values are given for {len(self.parameters)} parameters",
                sqlstate="08P01",
            )
        values = [_read(value, type) for value, type in zip(values, self.parameters, strict=True)]
        self._patterns.begin()
        limit = _bound("LIMIT", self._limit, values)
        offset = _bound("OFFSET", self._offset, values) or 0
        where = self._where
        try:
            found: list[Cells] = list(self._view.rows(house))
            if self._parts * len(found) > _WORK:
                raise HowdahError(
                    f"the filter is too long for {len(found)} rows",
                    sqlstate="54001",
                    hint="Write fewer conditions.",
                )
            if where is not None:
                found = [row for row in found if where(row, values) is True]
            for key, descending, nulls_first in reversed(self._order):
                _sort(found, key, values, descending, nulls_first)
        except RecursionError:
            raise HowdahError("the filter is nested too deeply", sqlstate="54001") from None
        found = found[offset:] if limit is None else found[offset : offset + limit]
        return [tuple(row[place] for _, place in self._places) for row in found]


def prepare(view: View, clause: str = "") -> Selection:
    """Check `[(column, ...)] [WHERE ...] [ORDER BY ...] [LIMIT n] [OFFSET n]`.

    Raises:
        HowdahError: what is wrong, with PostgreSQL's SQLSTATE and often a hint.
    """
    return _made(
        view, filters.read_clause(view.name, clause) if clause.strip() else Filter(view.name)
    )


def prepare_select(text: str) -> Selection:
    """The same for `SELECT column, ... FROM view WHERE ...`.

    Raises:
        HowdahError: as `prepare`; 42P01 where there is no such view.
    """
    asked = filters.read_select(text)
    return _made(find(asked.view), asked)


def select(
    view: View, house: House, clause: str = "", values: Sequence[Value] = ()
) -> tuple[tuple[Column, ...], list[Row]]:
    """`prepare` and `rows` in one."""
    selection = prepare(view, clause)
    return selection.columns, selection.rows(house, values)


def find(name: str) -> View:
    """The view of that name, in any case.

    Raises:
        HowdahError: 42P01, with what may have been meant.
    """
    view = VIEWS.get(name.lower())
    if view is None:
        hint = _hint(name.lower(), VIEWS) or f"There are {', '.join(VIEWS)}."
        raise HowdahError(f'there is no view "{name}"', hint=hint, sqlstate="42P01")
    return view


def _made(view: View, asked: Filter) -> Selection:
    try:
        return Selection(view, asked)
    except RecursionError:
        raise HowdahError("the filter is nested too deeply", sqlstate="54001") from None


def _hint(name: str, known: Any) -> str | None:
    near = suggestion(name, known).removeprefix("; ")
    return near[:1].upper() + near[1:] + ("" if near.endswith("?") else "?") if near else None


def _place(view: View, name: str) -> int:
    place = view.column(name)
    if place is None:
        names = [column.name for column in view.columns]
        hint = _hint(name, names) or f"Its columns are {', '.join(names)}."
        raise HowdahError(f'column "{name}" does not exist', hint=hint, sqlstate="42703")
    return place


def _targets(view: View, asked: Filter) -> list[tuple[Column, int]]:
    found: list[tuple[Column, int]] = []
    for target in asked.targets:
        if target.name == "*":
            found += [(column, at) for at, column in enumerate(view.columns)]
            continue
        place = _place(view, target.name)
        column = view.columns[place]
        if target.shown_as:
            column = Column(target.shown_as, column.type, column.help)
        found.append((column, place))
    # What is asked for is put together at once: a column a thousand times would be too much.
    most = 2 * len(view.columns)
    if len(found) > most:
        raise HowdahError(
            f"target lists of {view.name} can have at most {most} entries", sqlstate="54011"
        )
    return found


def _column(place: int) -> Step:
    return lambda row, values: row[place]


def _bound(word: str, step: Step | None, values: Sequence[Value]) -> int | None:
    value = None if step is None else step((), values)
    if value is None:
        return None
    assert isinstance(value, int)
    if value < 0:
        state = "2201W" if word == "LIMIT" else "2201X"
        raise HowdahError(f"{word} must not be negative", sqlstate=state)
    return value


def _sort(
    rows: list[Cells], key: Step, values: Sequence[Value], descending: bool, nulls_first: bool
) -> None:
    """Sort in place, keeping the order of what is equal."""
    nulls: list[Cells] = []
    others: list[tuple[Any, Cells]] = []
    for row in rows:
        value = key(row, values)
        if value is None:
            nulls.append(row)
        else:
            others.append((value, row))
    others.sort(key=operator.itemgetter(0), reverse=descending)
    sorted_rows = [row for _, row in others]
    rows[:] = nulls + sorted_rows if nulls_first else sorted_rows + nulls


def _read(value: Value, type: Type) -> Value:
    """A literal or parameter in the type that is expected of it.

    Raises:
        HowdahError: 22P02 or 22003, in PostgreSQL's words.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        if type == "text":
            return ("t" if value else "f") if isinstance(value, bool) else str(value)
        return value
    if type == "text":
        return value
    word = value.strip()
    if type == "bool":
        lower = word.lower()
        if lower in _TRUE or lower in _FALSE:
            return lower in _TRUE
    else:
        try:
            number = int(word) if type == "int8" and "_" not in word else float(word)
        except ValueError:
            pass
        else:
            if type == "float8":
                return number
            if isinstance(number, int):
                return _in_range(number)
    raise HowdahError(f'invalid input syntax for type {_NAMES[type]}: "{value}"', sqlstate="22P02")


def _in_range(number: int) -> int:
    if not -_INT8 <= number < _INT8:
        raise HowdahError("bigint out of range", sqlstate="22003")
    return number


def _no_operator(one: Type, sign: str, other: Type) -> HowdahError:
    return HowdahError(
        f"operator does not exist: {_NAMES[one]} {sign} {_NAMES[other]}",
        hint="Text is written in single quotes.",
        sqlstate="42883",
    )


def _finite(number: float) -> float:
    if isinf(number):
        raise HowdahError("value out of range", sqlstate="22003")
    return float(number)


def _varies(node: Node) -> bool:
    """Whether a column is in it."""
    if isinstance(node, filters.Operation):
        return any(map(_varies, node.operands))
    return isinstance(node, filters.Column)


class _Patterns:
    """The compiled patterns of one run, by place and text: what they cost is bounded per run."""

    def __init__(self) -> None:
        self._left = 0
        self._ready: dict[tuple[int, str], patterns.Pattern | patterns.Parts] = {}

    def begin(self) -> None:
        """A run begins."""
        self._left = _CHARACTERS
        self._ready.clear()

    def matches(self, site: int, word: str, pattern: str, text: str) -> bool:
        """Whether a text matches; `word` is the operator."""
        ready = self._ready.get((site, pattern))
        if ready is None:
            make = patterns.like if "like" in word else patterns.regex
            ready = self._ready[site, pattern] = make(pattern, fold=word in ("ilike", "~*"))
        self._left -= len(text) // ready.speed
        if self._left < 0:
            raise HowdahError(
                "the patterns take too long",
                sqlstate="54001",
                hint="Name other conditions first, so that fewer rows are left for them.",
            )
        return ready.matches(text)


class _Compiler:
    """Nodes to steps, over the columns of one view; finds out the types of parameters."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._types: dict[int, Type] = {}
        self.patterns = _Patterns()
        self.parts = 0  # nodes that are looked at for each row
        self._sites = 0

    def parameters(self) -> tuple[Type, ...]:
        most = max(self._types, default=0)
        return tuple(self._types.get(number, "text") for number in range(1, most + 1))

    def type_of(self, node: Node) -> Type | None:
        """The type of a node; None where what it stands beside decides."""
        match node:
            case filters.Column(name):
                return self._view.columns[_place(self._view, name)].type
            case filters.Constant(value):
                if isinstance(value, bool):
                    return "bool"
                if isinstance(value, int):
                    return "int8"
                return "float8" if isinstance(value, float) else None
            case filters.Parameter(number):
                return self._types.get(number)
            case filters.Operation("cast", _, type):
                return type  # type: ignore[return-value]
            case filters.Operation("+" | "-" | "*" | "/", operands):
                types = {self.type_of(operand) for operand in operands}
                return "float8" if "float8" in types else "int8"
        return "bool"

    def node(self, node: Node, wanted: Type | None) -> Step:
        """The step that gives a node's value.

        Args:
            wanted: the type that its place asks for; None where any will do.

        Raises:
            HowdahError: 42703, 42804, 42883, 22P02 ...
        """
        self.parts += 1
        own = self.type_of(node)
        if own is None:
            return self._literal(node, wanted or "text")
        if wanted is not None and own != wanted and not (own == "int8" and wanted == "float8"):
            raise HowdahError(
                f"type {_NAMES[wanted]} is needed where there is type {_NAMES[own]}",
                sqlstate="42804",
            )
        match node:
            case filters.Column(name):
                return _column(_place(self._view, name))
            case filters.Constant(value):
                if isinstance(value, int) and not isinstance(value, bool):
                    _in_range(value)
                return lambda row, values: value
            case filters.Parameter():
                return self._literal(node, own)
            case filters.Operation(word, operands):
                return self._operation(node, word, operands)

    def bound(self, word: str, node: Node | None) -> Step | None:
        """The step of a LIMIT or OFFSET, which is the same for all rows."""
        if node is None:
            return None
        if _varies(node):
            raise HowdahError(f"argument of {word} must not contain variables", sqlstate="42P10")
        return self.node(node, "int8")

    def _literal(self, node: Node, type: Type) -> Step:
        if isinstance(node, filters.Constant):
            value = _read(node.value, type)
            return lambda row, values: value
        assert isinstance(node, filters.Parameter)
        at = node.number - 1
        if not 0 <= at < _PARAMETERS:
            raise HowdahError(f"there is no parameter ${node.number}", sqlstate="42P02")
        self._types.setdefault(node.number, type)
        return lambda row, values: values[at]

    def _operation(self, node: filters.Operation, word: str, operands: tuple[Node, ...]) -> Step:
        match word:
            case "and" | "or":
                return _junction([self.node(item, "bool") for item in operands], word == "or")
            case "not":
                return _negation(self.node(operands[0], "bool"))
            case "null":
                inner = self.node(operands[0], None)
                return lambda row, values: inner(row, values) is None
            case "cast":
                return self._cast(operands[0], self.type_of(node) or "text")
            case "+" | "-" | "*" | "/":
                return self._arithmetic(word, operands, self.type_of(node) or "int8")
            case "like" | "ilike" | "~" | "~*":
                return self._match(word, operands)
        left, right = self._pair(word, operands)
        if word == "distinct":
            return lambda row, values: left(row, values) != right(row, values)
        compare = _COMPARE[word]

        def step(row: Cells, values: Sequence[Value]) -> Value:
            one, other = left(row, values), right(row, values)
            return None if one is None or other is None else compare(one, other)

        return step

    def _pair(self, word: str, operands: tuple[Node, ...]) -> tuple[Step, Step]:
        """Both sides of a comparison, in types that can be compared."""
        one, other = (self.type_of(operand) for operand in operands)
        if one is not None and other is not None and one != other:
            if one not in _NUMBERS or other not in _NUMBERS:
                raise _no_operator(one, "=" if word == "distinct" else word, other)
            one = other = "float8"
        common = one or other or "text"
        return self.node(operands[0], common), self.node(operands[1], common)

    def _cast(self, operand: Node, type: Type) -> Step:
        own = self.type_of(operand)
        if own is None:
            return self._literal(operand, type)
        inner = self.node(operand, None)
        if own == type:
            return inner
        if (own == "bool" and type in _NUMBERS) or (type == "bool" and own == "float8"):
            raise HowdahError(f"cannot cast type {_NAMES[own]} to {_NAMES[type]}", sqlstate="42846")

        def step(row: Cells, values: Sequence[Value]) -> Value:
            value = inner(row, values)
            if value is None or isinstance(value, str) or type == "text":
                return _read(value, type)
            if type == "bool":
                return bool(value)
            return float(value) if type == "float8" else _in_range(round(value))

        return step

    def _arithmetic(self, word: str, operands: tuple[Node, ...], type: Type) -> Step:
        left, right = (self.node(operand, type) for operand in operands)

        def step(row: Cells, values: Sequence[Value]) -> Value:
            one: Any = left(row, values)
            other: Any = right(row, values)
            if one is None or other is None:
                return None
            if word == "/":
                if not other:
                    raise HowdahError("division by zero", sqlstate="22012")
                if type == "float8":
                    return _finite(one / other)
                quotient = abs(one) // abs(other)
                return _in_range(quotient if (one < 0) == (other < 0) else -quotient)
            result = one + other if word == "+" else one - other if word == "-" else one * other
            return _finite(result) if type == "float8" else _in_range(result)

        return step

    def _match(self, word: str, operands: tuple[Node, ...]) -> Step:
        """LIKE and ~. The pattern is the same for all rows, so it is compiled once a run."""
        for operand in operands:
            own = self.type_of(operand) or "text"
            if own != "text":
                raise _no_operator(own, word.upper(), "text")
        text, pattern = (self.node(operand, "text") for operand in operands)
        if not isinstance(operands[1], filters.Constant | filters.Parameter):
            raise HowdahError("a pattern is a literal or a parameter", sqlstate="42601")
        self._sites += 1
        site, compiled = self._sites, self.patterns

        def step(row: Cells, values: Sequence[Value]) -> Value:
            one, other = text(row, values), pattern(row, values)
            if not isinstance(one, str) or not isinstance(other, str):
                return None
            return compiled.matches(site, word, other, one)

        return step


def _junction(steps: list[Step], ends: bool) -> Step:
    """OR where `ends` is True, AND where it is False: one such operand decides."""

    def step(row: Cells, values: Sequence[Value]) -> Value:
        result: Value = not ends
        for each in steps:
            value = each(row, values)
            if value is ends:
                return ends
            if value is None:
                result = None
        return result

    return step


def _negation(inner: Step) -> Step:
    def step(row: Cells, values: Sequence[Value]) -> Value:
        value = inner(row, values)
        return None if value is None else not value

    return step
