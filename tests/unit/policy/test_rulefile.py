"""Rules as they are written: each mistake is one line with its place."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.document import parse
from proxy.errors import ConfigError
from proxy.policy.rulefile import CONDITION_KEYS, KEYS
from proxy.settings import json_schema
from tests.unit.policy.test_rules import rules, subject


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "rules:\n  - relatons: x\n    cache: off",
            "2:5: unknown key 'relatons' in a rule; did you mean 'relations'?",
        ),
        ("rules:\n  - xyzzy: x\n    cache: off", "2:5: unknown key 'xyzzy' in a rule; known are"),
        ("rules:\n  - cache: maybe", "2:12: 'cache': 'maybe' is neither on nor off"),
        (
            "rules:\n  - cache: offf",
            "2:12: 'cache': 'offf' is neither on nor off; did you mean 'off'?",
        ),
        ("rules:\n  - ttl: 5", "2:10: 'ttl': '5' has no unit; write for example 5s or 5ms"),
        ("rules:\n  - ttl: 0s", "2:10: 'ttl': a duration here is more than 0"),
        ("rules:\n  - ttl: [5s]", "2:10: 'ttl': expected one plain value"),
        ("rules:\n  - max_age: long", "2:14: 'max_age': 'long' is not a duration"),
        (
            "rules:\n  - stale_while_revalidate: none",
            "2:29: 'stale_while_revalidate': 'none' is not a duration",
        ),
        ("rules:\n  - max_rows: 1.5", "2:15: 'max_rows': '1.5' is not a whole number"),
        ("rules:\n  - max_rows: 0", "2:15: 'max_rows': at least 1; to cache nothing"),
        ("rules:\n  - max_bytes: 64kb2", "2:16: 'max_bytes': '64kb2' is not a size"),
        ("rules:\n  - verify: 5", "2:13: 'verify': '5' is not a share; write a percentage"),
        ("rules:\n  - verify: 101%", "2:13: 'verify': '101%' is not a share"),
        ("rules:\n  - database: x", "2:5: the rule sets nothing"),
        ("rules:\n  - {cache: off, ttl: 5s}", "2:5: `cache: off` and `ttl` exclude each other"),
        ("rules:\n  - {cache: off, verify: 5%}", "2:5: `cache: off` and `verify` exclude"),
        (
            "rules:\n  - cache: off\n    pattern: '('",
            "3:14: 'pattern': not a regular expression of RE2: missing ): (",
        ),
        (
            "rules:\n  - cache: off\n    pattern: '(?=x)'",
            "3:14: 'pattern': not a regular expression of RE2: invalid perl operator: (?=; RE2 has "
            "no lookaround",
        ),
        ("rules:\n  - cache: off\n    relations: []", "3:16: 'relations': the list is empty"),
        ("rules:\n  - cache: off\n    relations: [a, {b: c}]", "3:20: 'relations': "),
        ("rules:\n  - cache: off\n    role: {b: c}", "3:11: 'role': expected a name or a list of"),
        ("rules:\n  - cache: off\n    role: [a, '']", "3:15: 'role': a name cannot be empty"),
        (
            "rules:\n  - cache: off\n    fingerprint: [0123456789abcdef, 12]",
            "3:37: 'fingerprint': '12' is no fingerprint: 16 hex digits",
        ),
        ("rules:\n  - cache: off\n    priority: x", "3:15: 'priority': 'x' is not a whole"),
        ("rules:\n  - cache:", "2:5: 'cache' has no value"),
        ("rules:\n  - off", "2:5: a rule is made of keys"),
        ("rules:\n  - {function: a.f, ttl: 5s}", "2:5: `function` and `ttl` exclude"),
        ("rules:\n  - function: a.f", "2:5: say what the function does"),
        ("rules:\n  - reads: a.t\n    cache: off", "2:5: `reads` and `writes` declare a function"),
        ("rules:\n  - function: f\n    reads: []", "2:15: 'function': 'f': write it with its sch"),
        (
            "rules:\n  - function: pg_catalog.now\n    reads: []",
            "2:15: 'function': 'pg_catalog.now' is PostgreSQL's own",
        ),
        ("rules:\n  - function: a.f\n    reads: [a.t, t]", "3:18: 'reads': 't': write it with it"),
        ("rules:\n  - cache: off\n    exclude: admin", "3:14: 'exclude': expected conditions"),
        ("rules:\n  - cache: off\n    exclude: {}", "3:14: 'exclude': it names no condition"),
        (
            "rules:\n  - cache: off\n    exclude: {rol: admin}",
            "3:15: unknown key 'rol' in `exclude`; did you mean 'role'?",
        ),
        (
            "rules:\n  - cache: off\n    exclude: [{role: admin}, {ttl: 5s}]",
            "3:31: unknown key 'ttl' in `exclude`",
        ),
        (
            "rules:\n  - cache: off\n    exclude:\n      pattern: '['",
            "4:16: 'exclude.pattern': not a regular expression",
        ),
        (
            "rules:\n  - cache: off\n    exclude: [{role: admin}, {role: []}]",
            "3:37: 'exclude.role': the list is empty",
        ),
        ("rules: off", "1:8: `rules` is a list"),
        ("rules: &a\n  - *a", "nested more than 20 deep"),
    ],
)
def test_mistakes_say_file_line_and_column(text, expected):
    with pytest.raises(ConfigError) as caught:
        rules(text)
    assert caught.value.message.startswith("howdah.yaml:")
    assert expected in caught.value.message
    assert "\n" not in caught.value.message


def test_aliases_cannot_blow_up():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100000 values"):
        parse("\n".join(lines), "f")
    with pytest.raises(ConfigError, match=r"nested more than|not valid YAML"):
        parse("a: " + "[" * 3000, "f")
    with pytest.raises(ConfigError, match="nested more than 20 deep"):
        parse("a: " + "[" * 50 + "]" * 50, "f")


YAML_LIKE = st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"#%,? \n\t0.\x00é")), max_size=60)
RULE_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS + CONDITION_KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(YAML_LIKE | st.text(max_size=60))
def test_garbage_is_a_document_or_a_config_error(text):
    try:
        parse(text, "f")
    except ConfigError as error:
        assert error.message.startswith("f:")


@settings(deadline=None)
@given(RULE_LIKE)
def test_garbage_rules_are_rules_or_a_config_error(value):
    try:
        loaded = rules(yaml.safe_dump({"rules": value}, allow_unicode=True))
    except ConfigError as error:
        assert error.message.startswith("howdah.yaml:")
    else:
        loaded.verdict(subject(loaded))
        loaded.explain(subject(loaded))


SCHEMA = jsonschema.Draft202012Validator(json_schema())
ANNOTATED = Path(__file__).resolve().parents[3] / "config" / "howdah.yaml"


def test_editors_find_the_annotated_examples_right():
    text = ANNOTATED.read_text(encoding="utf-8").replace("rules: []", "rules:")
    content = yaml.safe_load(re.sub(r"(?m)^#(  )", r"\1", text))
    assert len(content["rules"]) == 5
    SCHEMA.check_schema(SCHEMA.schema)
    assert [error.message for error in SCHEMA.iter_errors(content)] == []


@pytest.mark.parametrize(
    "rule",
    [
        "{relatons: x, cache: off}",
        "{relations: [], cache: off}",
        "{cache: maybe}",
        "{exclude: {ttl: 5s}, cache: off}",
        "{exclude: [], cache: off}",
        "{max_rows: [1]}",
    ],
)
def test_editors_find_mistakes(rule):
    assert list(SCHEMA.iter_errors(yaml.safe_load(f"rules: [{rule}]")))


@pytest.mark.parametrize(
    "rule",
    [
        "{role: x, exclude: {role: y}, cache: off}",
        "{exclude: [{role: y}, {pattern: x}], cache: on}",
        "{max_rows: 5, max_bytes: 64kB, ttl: none, verify: 5%, priority: -1}",
    ],
)
def test_editors_let_what_is_right(rule):
    content = yaml.safe_load(f"rules: [{rule}]")
    assert [error.message for error in SCHEMA.iter_errors(content)] == []
