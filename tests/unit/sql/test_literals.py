"""Clock words, and words of DDL inside code (K5, F12)."""

from __future__ import annotations

import pytest

from proxy.sql.literals import bytes_say_clock, may_change_schema, says_clock


@pytest.mark.parametrize(
    "text",
    ["now", "NOW", "Today", " tomorrow ", "yesterday 10:00", "{now,2020-01-01}", "[now,)", "x now"]
    + ["1now2", "_now_", "now()", "t-now", "énow", "\u017ftoday"],
)
def test_clock_words(text):
    assert says_clock(text)
    assert bytes_say_clock(text.encode())


@pytest.mark.parametrize(
    "text", ["", "know", "nowhere", "todays", "2020-01-01", "no w", "infinity"]
)
def test_other_words(text):
    assert not says_clock(text)
    assert not bytes_say_clock(text.encode())


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("begin insert into t values (1) on conflict do nothing; end", False),
        ("begin select 1 into x; return new; end", False),
        ("new.updated_at = now(); return new;", False),
        ("EXECUTE 'x'", True),
        ("create\ntable x ()", True),
        ("perform dblink_exec('x')", True),
        ("recreated := 1", False),
    ],
)
def test_code_that_may_change_the_schema(code, expected):
    assert may_change_schema(code) is expected
