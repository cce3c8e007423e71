"""Clauses to trees. What they mean is compared with PostgreSQL in tests/admin."""

from __future__ import annotations

import pytest

from proxy.errors import HowdahError
from proxy.sql.filters import (
    Column,
    Constant,
    Filter,
    Operation,
    Order,
    Parameter,
    Target,
    read_clause,
    read_select,
)

A, B = Column("a"), Column("b")


@pytest.mark.parametrize(
    ("clause", "where"),
    [
        ("WHERE a = 1", Operation("=", (A, Constant(1)))),
        ("where v.a <> 'x'", Operation("<>", (A, Constant("x")))),
        ("WHERE a != $2", Operation("<>", (A, Parameter(2)))),
        ("WHERE a = 3000000000", Operation("=", (A, Constant(3_000_000_000)))),
        ("WHERE a = 1.5 -- comment", Operation("=", (A, Constant(1.5)))),
        ("WHERE a = 0", Operation("=", (A, Constant(0)))),
        ("WHERE a = ''", Operation("=", (A, Constant("")))),
        ("WHERE a = false", Operation("=", (A, Constant(False)))),
        ("WHERE a NOT LIKE 'x'", Operation("not", (Operation("like", (A, Constant("x"))),))),
        ("WHERE a::int4 = 1", Operation("=", (Operation("cast", (A,), "int8"), Constant(1)))),
        (
            "WHERE a BETWEEN 1 AND b",
            Operation("and", (Operation(">=", (A, Constant(1))), Operation("<=", (A, B)))),
        ),
        (
            "WHERE a IN (1, NULL)",
            Operation(
                "or", (Operation("=", (A, Constant(1))), Operation("=", (A, Constant(None))))
            ),
        ),
        ("WHERE a IS TRUE", Operation("not", (Operation("distinct", (A, Constant(True))),))),
    ],
)
def test_conditions(clause, where):
    assert read_clause("v", clause) == Filter("v", where=where)


def test_the_rest_of_a_clause():
    assert read_clause("v", '(a, "b" AS c) ORDER BY a DESC, 2 NULLS FIRST LIMIT $1 OFFSET 3') == (
        Filter(
            "v",
            targets=(Target("a"), Target("b", "c")),
            order=(Order(A, True, True), Order(Constant(2), False, True)),
            limit=Parameter(1),
            offset=Constant(3),
        )
    )
    assert read_clause("v", "") == Filter("v")
    assert read_select("SELECT q.a FROM queries q").targets == (Target("a"),)


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        ("WERE a = 1", 'at or near "a"'),
        ("were", 'at or near "were"'),
        ("WHERE a = 1; DROP TABLE t", "more than one statement"),
        ("WHERE a = 1 UNION SELECT 1", "UNION"),
        ("GROUP BY a", "GROUP BY"),
        ("HAVING a", "HAVING"),
        ("FOR UPDATE", "FOR UPDATE"),
        (", other", "one view"),
        ("JOIN other ON true", "one view"),
        ("WHERE f(a)", "a function"),
        ("WHERE a = (SELECT 1)", "a subquery"),
        ("WHERE a = ANY ('{}')", "operator ="),
        ("WHERE a @> b", "operator @>"),
        ("WHERE (a, b) = (1, 2)", "RowExpr"),
        ("WHERE a::json = b", "cast to json"),
        ("WHERE a::int[] = b", "cast to"),
        ("WHERE a IS UNKNOWN", "BooleanTest"),
        ("WHERE a = b'1'", "bit string"),
        ("WHERE a BETWEEN SYMMETRIC 1 AND 2", "SYMMETRIC"),
        ("WHERE a SIMILAR TO 'x'", "operator ~"),
        ("(a + 1)", "in the list of columns"),
        ("ORDER BY a USING <", "USING"),
        ("ORDER BY a FETCH FIRST 1 ROW WITH TIES", "WITH TIES"),
        ("WHERE *", "at or near"),
    ],
)
def test_what_is_no_filter(clause, words):
    with pytest.raises(HowdahError) as caught:
        read_clause("v", clause)
    assert words in caught.value.message
    assert caught.value.sqlstate == "42601"
    assert caught.value.hint


def test_limits():
    with pytest.raises(HowdahError) as caught:
        read_clause("v", "WHERE a = '" + "x" * 20_000 + "'")
    assert caught.value.sqlstate == "54000"
    with pytest.raises(HowdahError):
        read_clause("v", "WHERE " + "NOT " * 2_000 + "a")
    with pytest.raises(HowdahError):
        read_select("DELETE FROM v")
    with pytest.raises(HowdahError):
        read_select("")
