"""Patterns find what `re` finds, and take no longer for being careless."""

from __future__ import annotations

import random
import re

import pytest

from proxy.admin import patterns
from proxy.errors import HowdahError


def _expression(draw: random.Random, depth: int = 0) -> str:
    atoms = ["a", "b", "A", ".", "[ab]", "[^a]", "[a-c]", "^", "$", r"\w", r"\d", r"\s"]
    if depth > 3 or draw.random() < 0.5:
        return draw.choice(atoms)
    inner = _expression(draw, depth + 1)
    match draw.randrange(3):
        case 0:
            return inner + _expression(draw, depth + 1)
        case 1:
            return f"({inner}|{_expression(draw, depth + 1)})"
        case _:
            tail = draw.choice(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "{1,}", "*?", "+?", "??"])
            return f"(?:{inner}){tail}"


@pytest.mark.parametrize("seed", range(8))
def test_they_find_what_re_finds(seed):
    draw = random.Random(seed)
    for _ in range(200):
        text = _expression(draw)
        fold = draw.random() < 0.3
        # `$` of re also matches before a last new line.
        known = re.compile(text.replace("$", r"\Z"), re.DOTALL | (re.IGNORECASE if fold else 0))
        made = patterns.regex(text, fold=fold)
        for _ in range(4):
            subject = "".join(draw.choices("abAB1 \n", k=draw.randrange(8)))
            assert made.matches(subject) is bool(known.search(subject)), (text, subject)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a%b", "axxb", True),
        ("a%b", "axxbc", False),
        ("_%", "", False),
        (r"%\%%", "a%b", True),
        (r"%a\_", "ab", False),
        ("", "", True),
        ("%%", "", True),
        ("%a%b%c%", "xaxbxcx", True),
        ("%a%b%c%", "xcxbxax", False),
        ("a.c", "abc", False),
        ("%\n%", "a\nb", True),
    ],
)
def test_like(pattern, text, found):
    assert patterns.like(pattern).matches(text) is found


def test_like_is_what_re_makes_of_it():
    draw = random.Random(3)
    for _ in range(4_000):
        fold = draw.random() < 0.3
        pattern = "".join(draw.choices("abA%%_", k=draw.randrange(7)))
        told = pattern.replace("%", ".*").replace("_", ".")
        known = re.compile(told, re.DOTALL | (re.IGNORECASE if fold else 0))
        made = patterns.like(pattern, fold=fold)
        for _ in range(4):
            subject = "".join(draw.choices("abA", k=draw.randrange(8)))
            assert made.matches(subject) is bool(known.fullmatch(subject)), (pattern, subject)


def test_ignoring_case():
    assert patterns.like("SeL%É", fold=True).matches("sElect é")
    assert patterns.regex("[A-C]x", fold=True).matches("bX")
    assert not patterns.regex("[^a]", fold=True).matches("A")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "parentheses"),
        (")", "parentheses"),
        ("[a", "brackets"),
        ("*a", "operand"),
        ("a**", "operand"),
        ("a{3,2}", "repetition"),
        ("a{256}", "repetition"),
        ("a{2", "repetition"),
        ("\\", "escape"),
        (r"\y", "not known"),
        ("(?=a)", "look-around"),
        ("[[:no:]]", "class"),
        ("[b-a]", "range"),
        ("(" * 60 + ")" * 60, "deeply"),
        ("(((a{50}){50}){50}){50}", "large"),
        ("((((){200}){200}){200}){200}", "large"),
        ("a" * 5000, "large"),
    ],
)
def test_what_is_no_expression(pattern, why):
    with pytest.raises(HowdahError, match=why) as caught:
        patterns.regex(pattern)
    assert caught.value.sqlstate == "2201B"


def test_like_that_ends_in_its_escape():
    with pytest.raises(HowdahError) as caught:
        patterns.like("a\\")
    assert caught.value.sqlstate == "22025"


def test_careless_patterns_take_as_long_as_others():
    # `re` would take longer than the sun has left.
    assert not patterns.regex("(a+)+$").matches("a" * 5000 + "b")
    assert not patterns.regex("(.*)(.*)(.*)(.*)(.*)x").matches("a" * 5000)


def test_what_needs_too_many_states_is_given_up():
    draw = random.Random(1)
    with pytest.raises(HowdahError) as caught:
        patterns.regex("(a|b)*a(a|b){100}c").matches("".join(draw.choices("ab", k=50_000)))
    assert caught.value.sqlstate == "54001"
