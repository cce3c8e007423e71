"""Two answers to the same request, compared: one from memory, one from PostgreSQL.

What lives here: the comparison of rows, as far as they are determined. What must not: how
far that is; `policy.order` says it. Byte for byte first; what differs is taken apart, which
costs, but is rare.

Followed: "Message Formats", and the binary formats of arrays and numeric (array_send of
arrayfuncs.c, numeric_send of numeric.c).
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Hashable, Sequence
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from proxy.policy.order import Bag, Column, Order
from proxy.wire.framing import HEADER

MATCH = "match"
REORDERED = "reordered"
TOLERATED = "tolerated"
MISMATCH = "mismatch"

# Types whose values are equal only if they look the same, by OID: bool, bytea, char, name,
# int8, int2, int4, oid, cidr, macaddr8, money, macaddr, inet, date, time, timestamp,
# timestamptz, timetz, bit, varbit, uuid, tsvector; ranges of int4, timestamp, timestamptz,
# date and int8; arrays of some of these; and texts and their arrays, mostly.
_IDENTITY = frozenset(
    (16, 17, 18, 19, 20, 21, 23, 26, 650, 774, 790, 829, 869, 1082, 1083, 1114, 1184, 1266)
    + (1560, 1562, 2950, 3614, 3904, 3908, 3910, 3912, 3926)
    + (1000, 1001, 1005, 1007, 1016, 1028, 1115, 1182, 1185, 2951)
)
_TEXTS = frozenset((25, 1043))
_TEXT_ARRAYS = frozenset((1009, 1015))
_FLOATS = frozenset((700, 701))
_JSON, _NUMERIC, _BPCHAR, _JSONB = 114, 1700, 1042, 3802
# interval and its array: '1 day' and '24:00:00' are equal.
_INTERVALS = frozenset((1186, 1187))
# json, jsonb, record, and arrays of texts and of these.
_COMPOUND = frozenset((114, 199, 1009, 1015, 2249, 2287, 3802, 3807))
_FIRST_USER_OID = 16384
# How far sums of floats may differ: of the larger one, and in all.
_RELATIVE = {700: 1e-4, 701: 1e-9}
_ABSOLUTE = {700: 1e-3, 701: 1e-6}
# Digits behind a point that are noughts in the end, and a nought below nothing.
_NOUGHTS = re.compile(rb"(?<=\d)(?:\.0+|(\.\d*?[1-9])0+)(?![\d.])|-(?=0(?![\d.]))")

Value = bytes | None
Row = tuple[Value, ...]


class Field(NamedTuple):
    """One column of a RowDescription. `plain`: it is a column of a table as it stands there."""

    name: str
    type: int
    binary: bool
    plain: bool = False


class Difference(NamedTuple):
    """What was found: MATCH, REORDERED, TOLERATED or MISMATCH, and in words what differs."""

    result: str
    words: str = ""


def compare(
    served: bytes, told: bytes, description: bytes, order: Order | None
) -> Difference | None:
    """Compare two answers; None where they differ and `order` is needed to say more.

    Args:
        served, told: DataRows and CommandComplete, from memory and from PostgreSQL.
        description: the RowDescription that belongs to both.
        order: how far the answer is determined.
    """
    if served == told:
        return Difference(MATCH)
    if order is None:
        return None
    if (order.loose or not (order.total or order.keys)) and _same_messages(served, told):
        # Nothing has to be taken apart, which takes long where there are many rows.
        return Difference(REORDERED, "the order of the rows differs")
    try:
        return _Comparison(fields_of(description), order).of(rows_of(served), rows_of(told))
    except RecursionError:
        return Difference(TOLERATED, "its values are nested too deeply to be compared")
    except (struct.error, IndexError, ValueError, UnicodeDecodeError) as error:
        return Difference(MISMATCH, f"an answer cannot be taken apart: {error}")


def fields_of(description: bytes) -> list[Field]:
    """The columns of a RowDescription message."""
    count = int.from_bytes(description[HEADER : HEADER + 2], "big")
    position = HEADER + 2
    found = []
    for _ in range(count if description[:1] == b"T" else 0):
        end = description.index(b"\x00", position)
        table, _, oid, _, _, form = struct.unpack_from("!IhIhih", description, end + 1)
        name = description[position:end].decode("utf-8", "replace")
        found.append(Field(name, oid, form == 1, table > 0))
        position = end + 19
    return found


def rows_of(body: bytes) -> list[Row]:
    """The rows in front of a CommandComplete."""
    found = []
    position = 0
    while body[position] == 0x44:
        size = int.from_bytes(body[position + 1 : position + HEADER], "big") + 1
        count = int.from_bytes(body[position + HEADER : position + HEADER + 2], "big")
        at = position + HEADER + 2
        row: list[Value] = []
        for _ in range(count):
            length = int.from_bytes(body[at : at + 4], "big", signed=True)
            at += 4
            row.append(None if length < 0 else body[at : at + length])
            at += max(length, 0)
        found.append(tuple(row))
        position += size
    return found


def _same_messages(served: bytes, told: bytes) -> bool:
    """Whether two answers are the same messages in another order."""
    return len(served) == len(told) and sorted(_messages(served)) == sorted(_messages(told))


def _messages(body: bytes) -> list[bytes]:
    found = []
    position, end = 0, len(body)
    while position < end:
        size = int.from_bytes(body[position + 1 : position + HEADER], "big") + 1
        found.append(body[position : position + max(size, HEADER)])
        position += max(size, HEADER)
    return found


class _Comparison:
    """One comparison."""

    def __init__(self, fields: Sequence[Field], order: Order) -> None:
        self._fields = fields
        self._order = order
        columns = order.columns
        if columns is None or len(columns) != len(fields):
            columns = (Column(),) * len(fields)
        self._bags = [
            # A sum whose type is no float is of none.
            Bag.PLAIN
            if column.bag is Bag.FLOAT and column.direct and field.type not in _FLOATS
            else column.bag
            for column, field in zip(columns, fields, strict=True)
        ]
        self._delimiters = [column.delimiter for column in columns]
        self._total = order.total
        self._key_places = self._places_of_keys()

    def of(self, served: list[Row], told: list[Row]) -> Difference:
        """Compare the rows, which are not equal byte for byte."""
        order = self._order
        words = _words(served, told)
        same = Counter(served) == Counter(told)
        if same and not self._total and self._sorted_alike(served, told):
            return Difference(REORDERED, words)
        if same and order.loose:
            return Difference(REORDERED, words)
        if same:
            return Difference(MISMATCH, f"the order of the rows differs; {words}")
        if self._equal(served, told):
            return Difference(TOLERATED, f"as far as it is determined, it is equal; {words}")
        if order.loose:
            return Difference(TOLERATED, f"it is not determined ({order.loose}); {words}")
        if self._chosen(served, told):
            return Difference(TOLERATED, f"LIMIT chooses among equals; {words}")
        return Difference(MISMATCH, words)

    def _sorted_alike(self, served: list[Row], told: list[Row]) -> bool:
        """Whether what can be seen of the sort keys is the same, row by row."""
        return all(
            one[place] == other[place]
            for one, other in zip(served, told, strict=True)
            for place in self._key_places
        )

    def _places_of_keys(self) -> list[int]:
        """Of the sort keys those whose sequence is certain, and can be seen."""
        names = [field.name for field in self._fields]
        places = []
        for key in self._order.keys:
            if isinstance(key, int):
                place = key
            elif names.count(key) == 1:
                place = names.index(key)
            else:
                continue
            if not 0 <= place < len(names):
                continue
            if self._bags[place] is not Bag.PLAIN:
                # Rows that are nearly equal in it may stand in either order.
                self._total = False
                break
            oid = self._fields[place].type
            if oid in _IDENTITY or (oid in _TEXTS and not self._order.equal_texts):
                places.append(place)
        return places

    def _chosen(self, served: list[Row], told: list[Row]) -> bool:
        """Whether LIMIT or OFFSET may have chosen other rows, equal in order."""
        order = self._order
        if not order.limited or self._total or len(served) != len(told):
            return False
        if order.limit is not None and len(told) < order.limit:
            return False  # that was all
        return self._sorted_alike(served, told)

    # As far as it is determined.

    def _equal(self, served: list[Row], told: list[Row]) -> bool:
        if len(served) != len(told):
            return False
        one, other = self._split(served), self._split(told)
        if self._total:
            return all(
                first[0] == second[0] and all(map(_near, first[1], second[1]))
                for first, second in zip(one, other, strict=True)
            )
        if not self._sorted_alike(served, told):
            return False
        alike: dict[tuple[Hashable, ...], tuple[list[Floats], list[Floats]]] = {}
        for side, rows in enumerate((one, other)):
            for exact, floats in rows:
                alike.setdefault(exact, ([], []))[side].append(floats)
        return all(_all_near(*sides) for sides in alike.values())

    def _split(self, rows: list[Row]) -> list[tuple[tuple[Hashable, ...], Floats]]:
        """Each row as what has to be equal, and as floats that have to be near."""
        found = []
        for row in rows:
            exact: list[Hashable] = []
            floats: list[tuple[int, float]] = []
            for place, value in enumerate(row):
                bag = self._bags[place]
                if value is None:
                    if bag is not Bag.FREE:
                        exact.append(None)
                elif bag is Bag.FLOAT:
                    if self._fields[place].type in _FLOATS:
                        exact.append(True)
                        floats.append((self._fields[place].type, self._float(place, value)))
                elif bag is not Bag.FREE:
                    exact.append(self._certain(place, bag, value))
            found.append((tuple(exact), tuple(floats)))
        return found

    def _float(self, place: int, value: bytes) -> float:
        field = self._fields[place]
        if not field.binary:
            return float(value)
        number: float = struct.unpack("!f" if field.type == 700 else "!d", value)[0]
        return number

    def _certain(self, place: int, bag: Bag, value: bytes) -> Hashable:
        """What of a value is certain."""
        field = self._fields[place]
        merges = self._order.merges
        if bag is Bag.PLAIN:
            return self._merged(place, value) if merges else value
        if merges and self._order.intervals:
            return None
        parts: list[Hashable] | None = None
        if bag is Bag.ARRAY and field.binary:
            parts = _binary_array(value)
            if merges and parts is not None and not self._exact(int(str(parts[0]))):
                return None
        elif bag is Bag.ARRAY:
            parts = _text_array(self._shortened(field, value))
        elif bag is Bag.JSON:
            text = value[1:] if field.binary and field.type == _JSONB else value
            parts = _json_parts(self._shortened(field, text))
        elif bag is Bag.STRINGS and self._delimiters[place]:
            shortened = self._shortened(field, value)
            parts = list(shortened.split((self._delimiters[place] or "").encode()))
        if parts is None:
            return bytes(sorted(value))
        return tuple(sorted(map(repr, parts)))

    def _shortened(self, field: Field, value: bytes) -> bytes:
        """Without what may differ between values that are equal, if such take part."""
        if not self._order.merges or self._exact(field.type):
            return value
        value = _NOUGHTS.sub(rb"\1", value)
        if field.type in _TEXTS and not self._order.equal_texts:
            return value
        # Under a collation of its own, case or accents may not count.
        return value.decode("utf-8", "replace").casefold().replace(" ", "").encode()

    def _exact(self, oid: int) -> bool:
        return oid in _IDENTITY or (oid in _TEXT_ARRAYS and not self._order.equal_texts)

    def _holds_any(self, oid: int) -> bool:
        """Whether values of other types may be in one of this type, as they look."""
        return oid in _TEXTS or oid in _COMPOUND or oid >= _FIRST_USER_OID

    def _merged(self, place: int, value: bytes) -> Hashable:
        """The same for values that are equal but look different."""
        field = self._fields[place]
        if self._exact(field.type):
            return value
        if field.type == _NUMERIC:
            return _number(value, binary=field.binary)
        if field.type in _FLOATS:
            number = self._float(place, value)
            return "NaN" if math.isnan(number) else number + 0.0
        if field.type in _INTERVALS:
            return None
        if field.type == _BPCHAR:
            return value.rstrip(b" ")
        if field.type in _TEXTS and field.plain and not self._order.equal_texts:
            return value
        if self._order.intervals and not field.plain and self._holds_any(field.type):
            return None
        if field.binary and field.type == _JSONB:
            value = value[1:]
        elif field.binary and field.type not in _TEXTS and field.type != _JSON:
            return None  # it may hold such values, somewhere
        return self._shortened(field, value)


Floats = tuple[tuple[int, float], ...]


def _number(value: bytes, *, binary: bool) -> Hashable:
    """A numeric, however many digits are shown."""
    if binary:
        return value[:6], value[8:]
    try:
        number = Decimal(value.decode())
    except InvalidOperation:
        return value
    return number.normalize() if number.is_finite() else value


def _all_near(served: list[Floats], told: list[Floats]) -> bool:
    """Whether rows that are equal otherwise have floats that are near, in whatever order."""
    if len(served) != len(told):
        return False
    if len(served) == 1:
        return all(map(_near, served[0], told[0]))
    columns = zip(zip(*served, strict=True), zip(*told, strict=True), strict=True)
    return all(
        all(map(_near, sorted(one, key=_rank), sorted(other, key=_rank))) for one, other in columns
    )


def _rank(value: tuple[int, float]) -> tuple[bool, float]:
    number = value[1]
    return (True, 0.0) if math.isnan(number) else (False, number)


def _near(one: tuple[int, float], other: tuple[int, float]) -> bool:
    first, second = one[1], other[1]
    if math.isnan(first) or math.isnan(second):
        return math.isnan(first) and math.isnan(second)
    relative, absolute = _RELATIVE[one[0]], _ABSOLUTE[one[0]]
    return math.isclose(first, second, rel_tol=relative, abs_tol=absolute)


def _words(served: list[Row], told: list[Row]) -> str:
    """Where they differ, without a value of them."""
    if len(served) != len(told):
        return f"{len(served)} rows were given, PostgreSQL has {len(told)}"
    rows = [place for place in range(len(told)) if served[place] != told[place]]
    columns = {
        column + 1
        for place in rows
        for column in range(min(len(served[place]), len(told[place])))
        if served[place][column] != told[place][column]
    }
    if not rows:
        return "the command tags differ"
    shown = ", ".join(map(str, sorted(columns)[:10]))
    first = f"the first is row {rows[0] + 1}"
    return f"{len(rows)} of {len(told)} rows differ, {first}, in column {shown}"


def _json_parts(value: bytes) -> list[Hashable] | None:
    try:
        found = json.loads(value, object_pairs_hook=lambda pairs: ("pairs", *pairs))
    except ValueError:
        return None
    if isinstance(found, list):
        return [json.dumps(part, sort_keys=True) for part in found]
    if isinstance(found, tuple):
        return [json.dumps(part, sort_keys=True) for part in found[1:]]
    return None


def _text_array(value: bytes) -> list[Hashable] | None:
    """The elements of `{a,"b,c",NULL}`, as they are written; None where it has other braces."""
    text = value.decode("utf-8", "surrogateescape")
    if not text.startswith("{") or not text.endswith("}"):
        return None
    parts: list[Hashable] = []
    part, depth, quoted, escaped = "", 0, False, False
    for character in text[1:-1]:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif not quoted and character in "{}":
            depth += 1 if character == "{" else -1
        elif not quoted and not depth and character == ",":
            parts.append(part)
            part = ""
            continue
        part += character
    return [*parts, part] if text != "{}" else parts


def _binary_array(value: bytes) -> list[Hashable] | None:
    dimensions, _, oid = struct.unpack_from("!iii", value)
    position = 12 + 8 * dimensions
    if dimensions > 1:
        return None
    parts: list[Hashable] = [oid]
    while position < len(value):
        length = int.from_bytes(value[position : position + 4], "big", signed=True)
        position += 4
        parts.append(None if length < 0 else value[position : position + length])
        position += max(length, 0)
    return parts
