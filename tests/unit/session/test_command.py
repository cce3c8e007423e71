"""EXPLAIN CACHE as a text: what is one, and what is wrong with one."""

from __future__ import annotations

import pytest

from proxy.errors import HowdahError
from proxy.session.command import Command, command


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("EXPLAIN CACHE SELECT 1", Command("SELECT 1")),
        ("explain\ncache\tselect 1;", Command("select 1;")),
        (" /* a */ -- b\nEXPLAIN/**/CACHE(SELECT 1)", Command("(SELECT 1)")),
        ("EXPLAIN CACHE /* howdah: off */ SELECT 1", Command("/* howdah: off */ SELECT 1")),
        ("EXPLAIN CACHE (VALUES (1))", Command("(VALUES (1))")),
        ("EXPLAIN CACHE ((SELECT 1) UNION SELECT 2)", Command("((SELECT 1) UNION SELECT 2)")),
        ("EXPLAIN CACHE (FORMAT JSON) SELECT 1", Command("SELECT 1", json=True)),
        (
            'EXPLAIN CACHE (Database Shop, ROLE "A ""B", FORMAT \'text\') TABLE t',
            Command("TABLE t", "shop", 'A "B'),
        ),
        ("EXPLAIN CACHE(ROLE 'it''s')SELECT 1", Command("SELECT 1", "", "it's")),
        ("EXPLAIN CACHED SELECT 1", None),
        ("EXPLAIN\u00a0CACHE SELECT 1", None),  # one word to PostgreSQL
        ("EXPLAIN CACHE\u00e9 SELECT 1", None),
        ("EXPLAIN SELECT cache FROM t", None),
        ("EXPLAIN (ANALYZE) SELECT 1", None),
        ("SELECT 'EXPLAIN CACHE SELECT 1'", None),
        ("", None),
    ],
)
def test_commands(text, expected):
    assert command(text) == expected


@pytest.mark.parametrize(
    ("text", "sqlstate", "words"),
    [
        ("EXPLAIN CACHE", "42601", "needs a statement"),
        ("EXPLAIN CACHE (FORMAT json) ; ", "42601", "needs a statement"),
        ("EXPLAIN CACHE (FORMAT xml) SELECT 1", "22023", "'xml'"),
        ("EXPLAIN CACHE (FORMT json) SELECT 1", "42601", "did you mean"),
        ("EXPLAIN CACHE (FORMAT json SELECT 1", "42601", 'at "FORMAT json'),
        ("EXPLAIN CACHE () SELECT 1", "42601", "syntax error"),
        ("EXPLAIN CACHE (ROLE a, ) SELECT 1", "42601", "syntax error"),
    ],
)
def test_what_is_wrong_is_said(text, sqlstate, words):
    with pytest.raises(HowdahError) as caught:
        command(text)
    assert caught.value.sqlstate == sqlstate
    assert words in caught.value.message


def test_long_texts_are_told_apart_quickly():
    # No catastrophic repetition over comments that do not end.
    assert command("/*" * 50_000) is None
    assert command("--" + "x" * 100_000) is None
    assert command("EXPLAIN " + " " * 100_000 + "x") is None
