"""Statements without their literals."""

from __future__ import annotations

import pytest

from proxy.sql.normal import identity, normal


def test_what_differs_in_literals_spaces_and_comments_is_one() -> None:
    first = identity("SELECT a FROM t WHERE id = 1 AND s IN ('x')")
    assert first is not None
    assert len(first) == 16
    assert first == identity("/* trace */ select a  FROM t\nWHERE id = 2 AND s IN ('y', 'z') -- x")
    assert first != identity("SELECT b FROM t WHERE id = 1 AND s IN ('x')")


def test_tables_of_one_name_in_several_schemas_are_several() -> None:
    texts = [f"SELECT 1 FROM {table}" for table in ("t", "a.t", "b.t", "t12", "t13")]
    texts += [f'SELECT 1 FROM "{table}"' for table in (12, 13)]
    texts += ["SELECT a.f() FROM t", "SELECT b.f() FROM t"]
    texts += ["INSERT INTO a.t VALUES (1)", "INSERT INTO b.t VALUES (1)"]
    assert len({identity(text) for text in texts}) == len(texts)
    assert identity("SELECT x.a FROM a.t x") == identity("SELECT x . a\nFROM A.t AS x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/* a */ SELECT é,\n  'ß',\"ü\" FROM t -- c", 'SELECT é, $1,"ü" FROM t'),
        ("ALTER ROLE x PASSWORD 'secret'", "ALTER ROLE x PASSWORD $1"),
        ("CREATE ROLE x LOGIN PASSWORD 'secret'", "CREATE ROLE x LOGIN PASSWORD $1"),
        ("SET app.tenant = 'secret'", "SET app.tenant = $1"),
        ("DO $$ BEGIN PERFORM 'secret'; END $$", "DO $1"),
        ("SELECT $1::int + 5", "SELECT $1::int + $2"),
        ("ALTER ROLE x SET app.token = secret", "ALTER ROLE x SET app.token = '...'"),
        ("ALTER USER x IN DATABASE d SET a TO b, c", "ALTER USER x IN DATABASE d SET a TO '...'"),
        ("ALTER DATABASE d SET app.pin TO 1234", "ALTER DATABASE d SET app.pin TO '...'"),
        ("ALTER DATABASE d SET TABLESPACE x", "ALTER DATABASE d SET TABLESPACE x"),
        ("EXPLAIN EXECUTE p(1234)", "EXPLAIN EXECUTE p('...')"),
        ("CREATE TABLE t AS EXECUTE p(1234)", "CREATE TABLE t AS EXECUTE p('...')"),
        ("", ""),
    ],
)
def test_literals_and_comments_are_not_shown(text: str, shown: str) -> None:
    assert normal(text) == shown


def test_what_cannot_be_read() -> None:
    for text in ("not sql", "SELECT 'open", "SELECT '\udc80'"):
        assert identity(text) is None
        assert normal(text) == ""


def test_long_texts_are_cut() -> None:
    assert len(normal("SELECT " + ", ".join(f"c{n}" for n in range(3000)))) == 4000
