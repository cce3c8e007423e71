"""The verdict on the nodes of one stored query or expression (K5, F9)."""

from __future__ import annotations

import pytest

from proxy.catalog.build import build
from proxy.catalog.rows import ExpressionRow, TypeRow
from proxy.catalog.snapshot import Tree
from proxy.catalog.trees import tree_of
from proxy.reasons import Reason
from tests.unit.catalog.sample import (
    BAD_DOMAIN,
    CHECKED,
    DATE,
    EXPRESSIONS,
    INT,
    STABLE_C,
    TIMETZ,
    TYPES,
    VOLATILE_SQL,
    sample_rows,
)

CLOCKED = 1184
QUERY = ("QUERY", "RANGETBLENTRY", "RTE", "FROMEXPR", "TARGETENTRY", "VAR", "CONST", "OPEXPR")


def tree(*nodes, bad_domains=False, **more):
    row = ExpressionRow(1, "v", False, (7, 8), (9,), nodes, **more)
    reasons = {CLOCKED: Reason.CLOCK_CAST}
    return tree_of(row, lambda oid: reasons.get(oid, Reason.NONE), bad_domains)


def test_a_plain_query_is_what_it_names():
    assert tree(*QUERY) == Tree((7, 8), (9,))


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (tree("QUERY", "ROWMARKCLAUSE"), Reason.LOCKING_CLAUSE),
        (tree("TABLESAMPLECLAUSE"), Reason.TABLESAMPLE),
        (tree("NEXTVALUEEXPR"), Reason.VOLATILE_FUNCTION),
        (tree("TABLEFUNC"), Reason.UNSUPPORTED_SYNTAX),
        (tree("JSONEXPR"), Reason.UNSUPPORTED_SYNTAX),
        (tree(*QUERY, storage=True), Reason.SYSTEM_COLUMN),
        # SQLValueFunctionOp: CURRENT_DATE, LOCALTIMESTAMP(n), CURRENT_ROLE, CURRENT_SCHEMA.
        (tree("SQLVALUEFUNCTION", values=(0,)), Reason.CLOCK),
        (tree("SQLVALUEFUNCTION", values=(8,)), Reason.CLOCK),
        (tree("SQLVALUEFUNCTION", values=(9,)), Reason.NONE),
        (tree("SQLVALUEFUNCTION", values=(14,)), Reason.NONE),
        (tree("SQLVALUEFUNCTION", values=(10, 15)), Reason.SESSION_FUNCTION),
        (tree("COERCEVIAIO", texts=(CLOCKED,)), Reason.CLOCK_CAST),
        (tree("COERCEVIAIO", texts=(INT,)), Reason.NONE),
    ],
)
def test_reasons(found, reason):
    assert (found.reason, found.opaque) == (reason, False)


def test_what_is_not_known_is_opaque():
    """F9: a kind of node that no list has, and checks of domains that nobody sees through."""
    assert tree("QUERY", "NODEOFTOMORROW") == Tree((7, 8), (9,), Reason.UNSUPPORTED_SYNTAX, True)
    assert tree(*QUERY, bad_domains=True).opaque


@pytest.mark.parametrize(
    ("commands", "writes"), [((1,), False), ((), False), ((1, 2), True), ((3,), True), ((4,), True)]
)
def test_commands(commands, writes):
    assert tree(*QUERY, commands=commands).writes is writes


def test_locks():
    assert tree("ROWMARKCLAUSE").locks
    assert not tree(*QUERY).locks


@pytest.mark.parametrize(
    ("oid", "reason"),
    [
        (INT, Reason.NONE),
        (25, Reason.NONE),
        (DATE, Reason.CLOCK_CAST),
        (TIMETZ, Reason.CLOCK_CAST),
        (CHECKED, Reason.CLOCK_CAST),  # a domain over date
        (1182, Reason.CLOCK_CAST),  # date[]
        (3908, Reason.CLOCK_CAST),  # tstzrange
        (2205, Reason.UNKNOWN_TYPE),  # regclass
        (BAD_DOMAIN, Reason.UNKNOWN_TYPE),
        (99999, Reason.UNKNOWN_TYPE),
    ],
)
def test_text_that_becomes_another_type(oid, reason):
    """K5: text may say 'now'; a domain's check may run anything."""
    rows = sample_rows(
        types=[*TYPES, TypeRow(BAD_DOMAIN, "public", "bad", kind="d", base=INT)],
        expressions=[
            *EXPRESSIONS,
            ExpressionRow(BAD_DOMAIN, "t", False, (VOLATILE_SQL,)),
            ExpressionRow(30015, "v", False, (), (30001,), QUERY, texts=(oid,)),
        ],
    )
    relation = build(rows).relation("public", "matview")
    assert relation is not None
    assert relation.tree is not None
    assert relation.tree.reason is reason


@pytest.mark.parametrize(
    ("purpose", "domains", "opaque"), [("v", False, False), ("v", True, True), ("3", True, True)]
)
def test_conversions_to_domains(purpose, domains, opaque):
    """Only where there are checks that cannot be seen through."""
    row = ExpressionRow(30015, purpose, domains, (), (30001,), QUERY)
    for checks, expected in (((STABLE_C,), opaque), ((), False)):
        rows = sample_rows(expressions=[row, ExpressionRow(20002, "t", False, checks)])
        relation = build(rows).relation("public", "matview")
        assert relation is not None
        found = relation.tree if purpose == "v" else dict(relation.rules)["i"]
        assert found is not None
        assert found.opaque is expected


def test_older_versions_name_a_view_in_its_own_query():
    rows = sample_rows(
        expressions=[ExpressionRow(30013, "v", False, (), (30001, 30013), QUERY)],
    )
    relation = build(rows).relation("public", "plain_view")
    assert relation is not None
    assert relation.tree == Tree((), (30001,))


def stored(text, length=None, order="little"):
    """The bytes of a text constant, as outfuncs.c writes them on a machine of that order."""
    whole = len(text.encode()) + 4 if length is None else length
    header = (whole << 2 if order == "little" else whole).to_bytes(4, order)
    return " ".join(str(byte - 256 if byte > 127 else byte) for byte in header + text.encode())


CALLS = (7, 2077, 3294)


@pytest.mark.parametrize(
    ("settings", "names", "functions"),
    [
        ((stored("App.X"), stored("app.y")), ("app.x", "app.y"), (7,)),
        ((stored("app.x", order="big"),), ("app.x",), (7,)),
        ((stored(""),), ("",), (7,)),
        # Calls whose setting is not known are judged as functions.
        ((None,), (), CALLS),
        ((stored("app.x"), None), ("app.x",), CALLS),
        ((stored("app.\u00e9"),), (), CALLS),
        ((stored("app.x", length=70),), (), CALLS),
        (("36 0 0",), (), CALLS),
    ],
)
def test_names_of_settings(settings, names, functions):
    row = ExpressionRow(1, "v", False, CALLS, settings=settings)
    found = tree_of(row, lambda oid: Reason.NONE, False)
    assert (found.settings, found.functions, found.asks) == (names, functions, True)
    assert not found.schema


@pytest.mark.parametrize(
    ("values", "asks", "schema"),
    [((0, 8), False, False), ((9,), True, False), ((13,), True, False), ((14, 3), True, True)],
)
def test_who_and_where(values, asks, schema):
    found = tree("SQLVALUEFUNCTION", values=values)
    assert (found.asks, found.schema) == (asks, schema)
