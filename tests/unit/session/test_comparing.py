"""Two answers compared: what is a mistake, and what PostgreSQL may do."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from proxy.policy.order import Bag, Column, Order
from proxy.session.comparing import compare, fields_of, rows_of
from proxy.wire import messages

TEXT, NUMERIC, FLOAT, REAL, BPCHAR, JSON, JSONB = 25, 1700, 701, 700, 1042, 114, 3802
INTS, OTHER = 1007, 90_000

Value = bytes | str | None
Rows = list[tuple[Value, ...]]


def description(*types: int, binary: bool = False) -> bytes:
    body = len(types).to_bytes(2, "big")
    for number, oid in enumerate(types):
        body += f"c{number}".encode() + b"\0"
        body += struct.pack("!IhIhih", 0, 0, oid, -1, -1, int(binary))
    return messages.message(b"T", body)


def body(rows: Rows, tag: str | None = None) -> bytes:
    made = b""
    for row in rows:
        data = len(row).to_bytes(2, "big")
        for value in row:
            raw = value.encode() if isinstance(value, str) else value
            data += struct.pack("!i", -1) if raw is None else struct.pack("!i", len(raw)) + raw
        made += messages.message(b"D", data)
    return made + messages.command_complete((tag or f"SELECT {len(rows)}").encode())


def plain(*types: int) -> bytes:
    """The same of columns of a table."""
    return description(*types).replace(b"\0" + bytes(6), b"\0" + b"\0\0\x40\x01" + b"\0\1")


def result(served: Rows, told: Rows, order: Order, *types: int, binary: bool = False) -> str:
    columns = types or (TEXT,) * len((served or told)[0])
    found = compare(body(served), body(told), description(*columns, binary=binary), order)
    assert found is not None
    back = compare(body(told), body(served), description(*columns, binary=binary), order)
    assert back is not None
    assert back.result == found.result
    return found.result


def bags(*kinds: Bag, delimiter: str | None = None, **more: Any) -> Order:
    return Order(columns=tuple(Column(kind, delimiter) for kind in kinds), **more)


A, B, C = ("a", "1"), ("b", "2"), ("c", None)


def test_what_is_taken_apart() -> None:
    assert rows_of(body([A, C])) == [(b"a", b"1"), (b"c", None)]
    assert [(f.name, f.type, f.binary) for f in fields_of(description(TEXT, FLOAT))] == [
        ("c0", TEXT, False),
        ("c1", FLOAT, False),
    ]
    assert fields_of(messages.NO_DATA) == []


def test_bytes_that_are_equal_need_no_order() -> None:
    found = compare(body([A]), body([A]), b"", None)
    assert found is not None
    assert found.result == "match"
    assert compare(body([A]), body([B]), b"", None) is None


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order(), "reordered"),
        (Order(total=True), "mismatch"),
        (Order(keys=(0,)), "mismatch"),
        (Order(keys=("c1",)), "mismatch"),
        (Order(keys=("elsewhere",)), "reordered"),
        (Order(keys=(7,)), "reordered"),
        (Order(keys=(0,), equal_texts=True), "reordered"),
        (Order(total=True, loose="view"), "reordered"),
    ],
)
def test_other_places(order: Order, expected: str) -> None:
    assert result([A, B], [B, A], order) == expected


def test_equal_keys_may_change_places() -> None:
    order = Order(keys=(0,))
    assert result([("a", "1"), ("a", "2")], [("a", "2"), ("a", "1")], order) == "reordered"


def test_keys_whose_equality_cannot_be_seen_prove_nothing() -> None:
    order = Order(keys=(0,))
    assert result([("1.0",), ("1.00",)], [("1.00",), ("1.0",)], order, NUMERIC) == "reordered"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order(), "mismatch"),
        (Order(total=True), "mismatch"),
        (Order(loose="view"), "tolerated"),
        (Order(limited=True), "tolerated"),
        (Order(limited=True, limit=2), "tolerated"),
        (Order(limited=True, limit=3), "mismatch"),  # they were all
        (Order(limited=True, total=True), "mismatch"),
        (Order(limited=True, keys=(0,)), "mismatch"),
        (Order(limited=True, keys=("nowhere",)), "tolerated"),
    ],
)
def test_other_rows(order: Order, expected: str) -> None:
    assert result([A, B], [A, C], order) == expected


def test_limit_may_choose_among_equals_only() -> None:
    order = Order(limited=True, keys=(0,))
    assert result([("a", "1"), ("b", "1")], [("a", "1"), ("b", "2")], order) == "tolerated"


@pytest.mark.parametrize("order", [Order(), Order(total=True), Order(limited=True)])
def test_more_or_fewer_rows_are_a_mistake(order: Order) -> None:
    assert result([A], [A, B], order) == "mismatch"
    assert result([], [A], order) == "mismatch"


def test_the_same_row_twice_counts_twice() -> None:
    assert result([A, A, B], [A, B, B], Order()) == "mismatch"


def test_sums_of_floats_may_differ_in_the_last_digits() -> None:
    order = bags(Bag.PLAIN, Bag.FLOAT)
    for one, other, expected in [
        ("0.1", "0.10000000000000001", "tolerated"),
        ("0.1", "0.1001", "mismatch"),
        # What is left where large ones cancel each other out.
        ("1.9e-7", "-2.4e-7", "tolerated"),
        ("1e300", "1.0000000000001e300", "tolerated"),
        ("0", "1e-12", "tolerated"),
        ("NaN", "NaN ", "tolerated"),
        ("NaN", "1", "mismatch"),
        ("Infinity", "-Infinity", "mismatch"),
    ]:
        assert result([("a", one)], [("a", other)], order, TEXT, FLOAT) == expected, (one, other)
    assert result([("a", "1")], [("b", "1")], order, TEXT, FLOAT) == "mismatch"
    assert result([("a", None)], [("a", "1")], order, TEXT, FLOAT) == "mismatch"
    # What was made of them without being a float says nothing.
    assert result([("a", "1")], [("a", "2")], order, TEXT, NUMERIC) == "tolerated"


def test_floats_in_binary() -> None:
    order = bags(Bag.FLOAT)
    one, near = struct.pack("!d", 0.1), struct.pack("!d", 0.1 + 2e-16)
    assert one != near
    assert result([(one,)], [(near,)], order, FLOAT, binary=True) == "tolerated"
    one, far = struct.pack("!f", 0.1), struct.pack("!f", 0.2)
    assert result([(one,)], [(far,)], order, REAL, binary=True) == "mismatch"


@pytest.mark.parametrize(
    ("bag", "type", "one", "other", "expected"),
    [
        (Bag.ARRAY, INTS, "{1,2,3}", "{3,1,2}", "tolerated"),
        (Bag.ARRAY, INTS, "{12,21}", "{11,22}", "mismatch"),
        (Bag.ARRAY, 1009, '{"a,b",c}', '{c,"a,b"}', "tolerated"),
        (Bag.ARRAY, 1009, '{"a,b",c}', '{"a,c",b}', "mismatch"),
        (Bag.ARRAY, 1009, '{"a\\"},",c}', '{c,"a\\"},"}', "tolerated"),
        (Bag.ARRAY, INTS, "{{1,2},{3,4}}", "{{3,4},{1,2}}", "tolerated"),
        (Bag.ARRAY, INTS, "[0:1]={1,2}", "[0:1]={2,1}", "tolerated"),
        (Bag.ARRAY, INTS, "{}", "{1}", "mismatch"),
        (Bag.STRINGS, TEXT, "a, b, c", "c, a, b", "tolerated"),
        (Bag.STRINGS, TEXT, "ab, c", "a, bc", "mismatch"),
        (Bag.JSON, JSON, "[1, 2]", "[2, 1]", "tolerated"),
        (Bag.JSON, JSON, "[12, 21]", "[11, 22]", "mismatch"),
        (Bag.JSON, JSON, '{ "a" : 1, "b" : 2 }', '{ "b" : 2, "a" : 1 }', "tolerated"),
        (Bag.JSON, JSON, '{ "a" : 1, "b" : 2 }', '{ "b" : 1, "a" : 2 }', "mismatch"),
        (Bag.FREE, TEXT, "a", "b", "tolerated"),
        (Bag.FREE, TEXT, None, "b", "tolerated"),
        (Bag.PLAIN, TEXT, "a", "b", "mismatch"),
    ],
)
def test_columns_of_which_something_is_certain(
    bag: Bag, type: int, one: str | None, other: str, expected: str
) -> None:
    order = bags(Bag.PLAIN, bag, delimiter=", ")
    served: Rows = [("k", one), ("l", "9")]
    told: Rows = [("l", "9"), ("k", other)]
    assert result(served, told, order, TEXT, type) == expected
    # A column beside it is compared all the same.
    assert result([("k", one)], [("m", other)], order, TEXT, type) == "mismatch"


def test_arrays_and_json_in_binary() -> None:
    def array(*values: int) -> bytes:
        head = struct.pack("!iiiii", 1, 0, 23, len(values), 1)
        return head + b"".join(struct.pack("!ii", 4, value) for value in values)

    order = bags(Bag.ARRAY)
    assert result([(array(1, 2),)], [(array(2, 1),)], order, INTS, binary=True) == "tolerated"
    assert result([(array(1, 2),)], [(array(2, 2),)], order, INTS, binary=True) == "mismatch"
    order = bags(Bag.JSON)
    one, other = b"\x01[1, 2]", b"\x01[2, 1]"
    assert result([(one,)], [(other,)], order, JSONB, binary=True) == "tolerated"


@pytest.mark.parametrize(
    ("type", "one", "other", "merged"),
    [
        (NUMERIC, "1.0", "1.00", "tolerated"),
        (NUMERIC, "1.0", "1.01", "mismatch"),
        (NUMERIC, "NaN", "NaN", "match"),
        (NUMERIC, "100", "1e2", "tolerated"),
        (FLOAT, "0", "-0", "tolerated"),
        (BPCHAR, "a", "a  ", "tolerated"),
        (TEXT, "a", "A", "mismatch"),
        (OTHER, "a", "A", "tolerated"),  # citext is such a type
    ],
)
def test_equal_values_that_look_different(type: int, one: str, other: str, merged: str) -> None:
    unmerged = "match" if one == other else "mismatch"
    assert result([(one,)], [(other,)], Order(), type) == unmerged
    assert result([(one,)], [(other,)], Order(merges=True), type) == merged


@pytest.mark.parametrize(
    ("type", "one", "other"),
    [
        (FLOAT, "NaN", "NaN"),
        (1186, "1 day", "24:00:00"),
        (1187, '{"1 day"}', "{24:00:00}"),
        (JSONB, '{"a": 1.0}', '{"a": 1.00}'),
        (1231, "{1.0,2}", "{1.00,2.0}"),
        (1022, "{0}", "{-0}"),
        (3906, "[1.0,2.5)", "[1.00,2.50)"),
        (2249, "(1.0,q)", "(1.00,q)"),
        (OTHER, "(1.0,q)", "(1.00,q)"),
        (TEXT, "1.0", "1.00"),  # made of a numeric
    ],
)
def test_values_of_which_one_stands_for_all(type: int, one: str, other: str) -> None:
    """In a row whose numeric differs in its looks, too."""
    merged = Order(merges=True)
    served: Rows = [("1.0", one), ("7", one)]
    told: Rows = [("7.00", other), ("1.00", other)]
    assert result(served, told, merged, NUMERIC, type) == "tolerated"
    assert result([("1.0", one)], [("1.01", other)], merged, NUMERIC, type) == "mismatch"


@pytest.mark.parametrize(
    ("type", "one", "other"),
    [
        (JSONB, '{"a": 1.05}', '{"a": 1.5}'),
        (1231, "{10,2}", "{1,2}"),
        (3906, "[1.0,2.5)", "[1.0,2.05)"),
        (TEXT, "10", "1"),
        (TEXT, "v1.0.3", "v1.3"),
        (1007, "{1}", "{2}"),
        (1184, "2024-01-01 10:00+00", "2024-01-01 11:00+00"),
        (869, "10.0.0.0", "10.0.0.1"),
    ],
)
def test_others_are_mistakes_all_the_same(type: int, one: str, other: str) -> None:
    assert result([(one,)], [(other,)], Order(merges=True), type) == "mismatch"


def test_texts_of_a_table_are_what_they_are() -> None:
    merged = Order(merges=True, intervals=True)
    for columns, expected in [(plain(TEXT), "mismatch"), (description(TEXT), "tolerated")]:
        found = compare(body([("1 day",)]), body([("24:00:00",)]), columns, merged)
        assert found is not None
        assert found.result == expected


def test_rows_of_floats_alone_are_paired_by_their_size() -> None:
    order = bags(Bag.FLOAT)
    served: Rows = [("1.9999999999999998",), ("10.0",), ("NaN",)]
    assert result(served, [("NaN",), ("10.0",), ("2.0",)], order, FLOAT) == "tolerated"
    assert result(served, [("NaN",), ("10.0",), ("2.1",)], order, FLOAT) == "mismatch"


def test_rows_sorted_by_a_float_sum_may_change_places() -> None:
    order = bags(Bag.PLAIN, Bag.FLOAT, keys=(1, 0), total=True)
    served: Rows = [("a", "0.3"), ("b", "0.30000000000000004")]
    told: Rows = [("b", "0.3"), ("a", "0.30000000000000004")]
    assert result(served, told, order, TEXT, FLOAT) == "tolerated"
    order = bags(Bag.PLAIN, Bag.FLOAT, keys=(0, 1))
    assert result(served, told, order, TEXT, FLOAT) == "mismatch"


def test_a_sum_whose_type_is_no_float_is_exact() -> None:
    order = Order(columns=(Column(Bag.FLOAT, direct=True),))
    assert result([("1",)], [("2",)], order, NUMERIC) == "mismatch"
    assert result([("1",)], [("1.0000000000001",)], order, FLOAT) == "tolerated"


def test_json_that_is_nested_too_deeply_is_no_mistake() -> None:
    deep = "[" * 5000 + "]" * 5000
    one, other = f"[1, {deep}]", f"[{deep}, 1]"
    assert result([(one,)], [(other,)], bags(Bag.JSON), JSON) == "tolerated"


def test_numeric_in_binary() -> None:
    one, other = struct.pack("!4hh", 1, 0, 0, 1, 7), struct.pack("!4hh", 1, 0, 0, 2, 7)
    order = Order(merges=True)
    assert result([(one,)], [(other,)], order, NUMERIC, binary=True) == "tolerated"
    assert result([(one,)], [(other,)], Order(), NUMERIC, binary=True) == "mismatch"


def test_what_cannot_be_taken_apart_is_a_mistake() -> None:
    found = compare(body([A]), b"D\0\0\0\x06\0\x09", description(TEXT, TEXT), Order())
    assert found is not None
    assert found.result == "mismatch"


def test_words_hold_no_values() -> None:
    found = compare(body([A, B]), body([A, ("b", "9")]), description(TEXT, TEXT), Order())
    assert found is not None
    assert found.words == "1 of 2 rows differ, the first is row 2, in column 2"
    found = compare(body([A, B]), body([A]), description(TEXT, TEXT), Order())
    assert found is not None
    assert found.words == "2 rows were given, PostgreSQL has 1"
