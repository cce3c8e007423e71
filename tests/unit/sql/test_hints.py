"""Hints in the comments in front of a statement."""

from __future__ import annotations

from math import inf

import pytest

from proxy.policy.rulefile import RuleModel
from proxy.sql.hints import NO_HINTS, WORDS, Hints, hints
from proxy.terms import Terms

OFF, ON = Hints(cache=False), Hints(cache=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select 1", NO_HINTS),
        ("/* howdah: off */ select 1", OFF),
        ("/*HOWDAH:OFF*/select 1", OFF),
        ("-- howdah: off\nselect 1", OFF),
        ("/* trace=1 */ /* howdah: off */ select 1", OFF),
        ("/* howdah: on */ select 1", ON),
        ("/* howdah: off */ /* howdah: on */ select 1", ON),
        ("/* howdah: ttl=5s */ select 1", Hints(terms=Terms(ttl=5.0))),
        ("/* howdah: ttl=5 */ select 1", Hints(terms=Terms(ttl=5.0))),
        ("/* howdah: ttl = 1.5m */ select 1", Hints(terms=Terms(ttl=90.0))),
        ("/* howdah: TTL=100ms */ select 1", Hints(terms=Terms(ttl=0.1))),
        ("/* howdah: ttl=none */ select 1", Hints(terms=Terms(ttl=inf))),
        ("/* howdah: ttl=2h, off */ select 1", Hints(False, Terms(ttl=7200.0))),
        (
            "/* howdah: ttl=5s max_age=1s max_rows=100 max_bytes=8kB verify=10%; "
            "stale_while_revalidate=10s */ select 1",
            Hints(terms=Terms(5.0, 1.0, 10.0, 100, 8192, 0.1)),
        ),
        ("/* howdah: please */ select 1", Hints(unknown=("please",))),
        ("/* howdah: off please */ select 1", Hints(False, unknown=("please",))),
        ("/* howdah: tll=5s, ttl=soon */ select 1", Hints(unknown=("tll=5s", "ttl=soon"))),
        ("/* howdah: ttl=0s max_rows=0 */ select 1", Hints(unknown=("ttl=0s", "max_rows=0"))),
        ("/* howdah: ttl ttl= =5s off=1 */ select 1", Hints(unknown=("ttl", "ttl= =5s", "off=1"))),
        ("/* howdah: */ select 1", NO_HINTS),
        ("select 1 /* howdah: off */", NO_HINTS),
        ("select '/* howdah: off */'", NO_HINTS),
        ("/* not howdah */ select 1", NO_HINTS),
        ("", NO_HINTS),
    ],
)
def test_hints(text, expected):
    assert hints(text) == expected


def test_what_is_kept_of_unknown_words_is_bounded():
    words = " ".join(f"word{number}{'x' * 100}" for number in range(1000))
    found = hints(f"/* howdah: {words} */ select 1")
    assert len(found.unknown) == 8
    assert max(map(len, found.unknown)) == 60


def test_hints_have_the_words_of_rules():
    assert set(WORDS) - {"on", "off"} <= set(RuleModel.model_fields)
