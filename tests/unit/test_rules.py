"""Rules: matching, order, and errors that name file, line and column."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.document import parse
from proxy.errors import ConfigError
from proxy.policy.rules import EMPTY, KEYS, Rules, Verdict, load_rules

WHERE: dict[str, Any] = {
    "database": "shop",
    "role": "web",
    "relations": ("public.orders", "public.customers"),
}


def rules(text: str) -> Rules:
    document = parse(text, "howdah.yaml")
    assert isinstance(document.content, dict)
    return load_rules(document.content["rules"])


def verdict(text: str, statement: str = "select 1", **where: object) -> Verdict:
    return rules(text).verdict(**(WHERE | where), text=statement)


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("database: shop", True),
        ("database: [a, 'sh?p']", True),
        ("database: Shop", False),
        ("role: 'w*'", True),
        ("role: [admin, root]", False),
        ("relations: orders", True),
        ("relations: public.customers", True),
        ("relations: ['audit.*', 'public.o*']", True),
        ("relations: audit.orders", False),
        ("relations: ord", False),
        ("relations: '*'", True),
        ("pattern: 'from\\s+ORDERS'", False),
        ("pattern: '(?i)from\\s+ORDERS'", True),
        ("database: shop\n    role: admin", False),
        ("database: shop\n    role: web\n    relations: orders", True),
        ("name: always", True),
    ],
)
def test_conditions(condition, matches):
    text = f"rules:\n  - cache: off\n    {condition}\n"
    found = verdict(text, "select * from  orders")
    assert found.cache is (False if matches else None)


def test_first_match_by_priority_then_file_order():
    text = """
rules:
  - {relations: orders, ttl: 5s}
  - {name: second, relations: orders, ttl: 6s}
  - {name: high, role: web, cache: on, priority: 5}
"""
    assert verdict(text) == Verdict(True, None, "high")
    assert verdict(text, role="other") == Verdict(None, 5.0, "rule 1")
    assert verdict(text, role="other", relations=()) == Verdict()


def test_no_relations_match_no_relation_rule():
    assert verdict("rules:\n- {relations: '*', cache: off}", relations=()) == Verdict()
    assert EMPTY.verdict(**WHERE, text="") == Verdict()
    assert rules("rules:") == EMPTY


def test_ttl_none_means_no_limit():
    text = "rules: [{ttl: none, name: n}, {ttl: 1s}]"
    assert verdict(text) == Verdict(None, None, "n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules:\n  - relatons: x\n    cache: off", "2:5: unknown key 'relatons' in a rule; did"),
        ("rules:\n  - cache: maybe", "2:12: 'cache': 'maybe' is neither on nor off"),
        ("rules:\n  - ttl: 5", "2:10: 'ttl': '5' has no unit"),
        ("rules:\n  - ttl: 0s", "2:10: 'ttl': a ttl is more than 0"),
        ("rules:\n  - ttl: [5s]", "2:10: 'ttl': "),
        ("rules:\n  - database: x", "2:5: the rule sets nothing"),
        ("rules:\n  - {cache: off, ttl: 5s}", "2:5: `cache: off` and a `ttl` exclude"),
        ("rules:\n  - cache: off\n    pattern: '('", "3:14: 'pattern': not a regular expression"),
        ("rules:\n  - cache: off\n    relations: []", "3:16: 'relations': "),
        ("rules:\n  - cache: off\n    relations: [a, {b: c}]", "3:20: 'relations': "),
        ("rules:\n  - cache: off\n    priority: x", "3:15: 'priority': 'x' is not a whole"),
        ("rules:\n  - cache:", "2:5: 'cache' has no value"),
        ("rules:\n  - off", "2:5: a rule is made of keys"),
        ("rules:\n  - {function: a.f, ttl: 5s}", "2:5: `function` and `ttl` exclude"),
        ("rules:\n  - function: a.f", "2:5: say what the function does"),
        ("rules:\n  - reads: a.t\n    cache: off", "2:5: `reads` and `writes` declare a function"),
        ("rules:\n  - function: f\n    reads: []", "2:15: 'function': "),
        ("rules:\n  - function: a.f\n    reads: [a.t, t]", "3:18: 'reads': "),
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


def test_declarations_are_no_conditions():
    """The first one of a function counts; what is read stays as other rules have it."""
    text = """
rules:
  - {function: a.f, reads: a.t, writes: [a.u, a.v]}
  - {function: a.f, reads: a.other, writes: []}
  - {function: a.g, writes: a.u}
  - {relations: orders, ttl: 5s}
"""
    assert verdict(text) == Verdict(None, 5.0, "rule 4")
    declared = rules(text).declared
    assert {name: (rule.reads, rule.writes) for name, rule in declared.items()} == {
        "a.f": (("a.t",), ("a.u", "a.v")),
        "a.g": ((), ("a.u",)),
    }
    assert EMPTY.declared == {}


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
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
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
    import yaml

    try:
        loaded = rules(yaml.safe_dump({"rules": value}, allow_unicode=True))
    except ConfigError as error:
        assert error.message.startswith("howdah.yaml:")
    else:
        loaded.verdict(**WHERE, text="select 1")
