"""Clock words, hints, and words of DDL inside code (K5, F12)."""

from __future__ import annotations

import pytest

from proxy.sql.literals import bytes_say_clock, hints, may_change_schema, says_clock


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
    ("text", "expected"),
    [
        ("select 1", (False, None)),
        ("/* howdah: off */ select 1", (True, None)),
        ("/*HOWDAH:OFF*/select 1", (True, None)),
        ("-- howdah: off\nselect 1", (True, None)),
        ("/* trace=1 */ /* howdah: off */ select 1", (True, None)),
        ("/* howdah: ttl=5s */ select 1", (False, 5.0)),
        ("/* howdah: ttl=5 */ select 1", (False, 5.0)),
        ("/* howdah: ttl = 1.5m */ select 1", (False, 90.0)),
        ("/* howdah: ttl=100ms */ select 1", (False, 0.1)),
        ("/* howdah: ttl=2h, off */ select 1", (True, 7200.0)),
        ("/* howdah: please */ select 1", (True, None)),
        ("select 1 /* howdah: off */", (False, None)),
        ("select '/* howdah: off */'", (False, None)),
        ("/* not howdah */ select 1", (False, None)),
        ("", (False, None)),
    ],
)
def test_hints(text, expected):
    assert hints(text) == expected


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
