"""Rules: matching, order, what they say, and why."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from proxy.document import parse
from proxy.policy.rulefile import load_rules
from proxy.policy.rules import EMPTY, Rules, Subject, Verdict
from proxy.terms import Terms

WHERE: dict[str, Any] = {
    "database": "shop",
    "role": "web",
    "relations": ("public.orders", "public.customers"),
    "text": "select 1",
    "fingerprint": "50fde20626009aba",
}


def rules(text: str) -> Rules:
    document = parse(text, "howdah.yaml")
    assert isinstance(document.content, dict)
    return load_rules(document.content["rules"])


def subject(found: Rules, application: str = "app", **where: object) -> Subject:
    return Subject(**(WHERE | where), audience=found.audience(application))


def verdict(file: str, **where: Any) -> Verdict:
    found = rules(file)
    return found.verdict(subject(found, **where))


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ("database: shop", True),
        ("database: [a, 'sh?p']", True),
        ("database: Shop", False),
        ("role: 'w*'", True),
        ("role: [admin, root]", False),
        ("application_name: app", True),
        ("application_name: ['cron*', 'a?p']", True),
        ("application_name: 'cron*'", False),
        ("relations: orders", True),
        ("relations: public.customers", True),
        ("relations: ['audit.*', 'public.o*']", True),
        ("relations: audit.orders", False),
        ("relations: ord", False),
        ("relations: '*'", True),
        ("fingerprint: 50fde20626009aba", True),
        ("fingerprint: ['0000000000000000', 50fde20626009aba]", True),
        ("fingerprint: '0000000000000000'", False),
        ("pattern: 'from\\s+ORDERS'", False),
        ("pattern: '(?i)from\\s+ORDERS'", True),
        ("database: shop\n    role: admin", False),
        ("database: shop\n    role: web\n    relations: orders", True),
        ("name: always", True),
        ("exclude: {role: web}", False),
        ("exclude: {role: web, relations: other}", True),
        ("exclude: [{role: admin}, {relations: orders}]", False),
        ("role: web\n    exclude: {application_name: app}", False),
        ("role: web\n    exclude: {application_name: other}", True),
        ("exclude: {fingerprint: 50fde20626009aba}", False),
    ],
)
def test_conditions(condition, matches):
    text = f"rules:\n  - cache: off\n    {condition}\n"
    found = verdict(text, text="select * from  orders")
    assert found.cache is (False if matches else None)


def test_first_match_by_priority_then_file_order():
    text = """
rules:
  - {relations: orders, ttl: 5s}
  - {name: second, relations: orders, ttl: 6s}
  - {name: high, role: web, cache: on, priority: 5}
"""
    assert verdict(text) == Verdict(True, None, "high")
    assert verdict(text, role="other") == Verdict(None, Terms(ttl=5.0), "rule 1")
    assert verdict(text, role="other", relations=()) == Verdict()


def test_no_relations_match_no_relation_rule():
    assert verdict("rules:\n- {relations: '*', cache: off}", relations=()) == Verdict()
    assert EMPTY.verdict(subject(EMPTY)) == Verdict()
    assert rules("rules:") == EMPTY


def test_effects():
    text = """
rules:
  - ttl: none
    max_age: 5m
    stale_while_revalidate: 1.5s
    max_rows: 100
    max_bytes: 64kB
    verify: 2.5%
"""
    assert verdict(text).terms == Terms(inf, 300.0, 1.5, 100, 65536, 0.025)
    (rule,) = rules(text)
    assert rule.effects_text == (
        "ttl: none, max_age: 5m, stale_while_revalidate: 1.5s, max_rows: 100, "
        "max_bytes: 64kB, verify: 2.5%"
    )
    assert verdict("rules: [{cache: on}]").terms is None


@pytest.mark.parametrize(
    ("terms", "setting", "life"),
    [
        (Terms(), 60.0, 60.0),
        (Terms(), None, inf),
        (Terms(ttl=5.0), 60.0, 5.0),
        (Terms(ttl=90.0), 60.0, 60.0),
        (Terms(ttl=5.0), None, 5.0),
        (Terms(ttl=inf), 60.0, 60.0),
        (Terms(max_age=5.0), 60.0, 5.0),
        (Terms(max_age=300.0), 60.0, 300.0),
        (Terms(max_age=inf), 60.0, inf),
        (Terms(ttl=9.0, max_age=inf), 60.0, 9.0),
        (Terms(ttl=9.0, max_age=7.0), None, 7.0),
    ],
)
def test_how_long_an_answer_lives(terms, setting, life):
    """`max_age` of a rule stands in place of the setting, `ttl` is a bound beside it."""
    assert terms.life(setting) == life


def test_declarations_are_no_conditions():
    """The first one of a function counts; what is read stays as other rules have it."""
    text = """
rules:
  - {function: a.f, reads: a.t, writes: [a.u, a.v]}
  - {function: a.f, reads: a.other, writes: []}
  - {function: a.g, writes: a.u}
  - {relations: orders, ttl: 5s}
"""
    assert verdict(text) == Verdict(None, Terms(ttl=5.0), "rule 4")
    declared = rules(text).declared
    assert {name: (rule.reads, rule.writes) for name, rule in declared.items()} == {
        "a.f": (("a.t",), ("a.u", "a.v")),
        "a.g": ((), ("a.u",)),
    }
    assert EMPTY.declared == {}


def test_audiences_are_told_apart_only_where_a_rule_does():
    assert EMPTY.audience("psql") == 0
    found = rules(
        """
rules:
  - {application_name: "report*", ttl: 5s}
  - {role: web, cache: off, exclude: [{application_name: [cron, psql]}, {role: x}]}
"""
    )
    seen = {name: found.audience(name) for name in ("web", "report 1", "report 2", "cron", "psql")}
    assert seen["web"] == 0
    assert seen["report 1"] == seen["report 2"] != seen["cron"] == seen["psql"] != 0
    for number in range(3000):
        assert found.audience(f"report {number}") == seen["report 1"]


def test_every_rule_is_explained():
    found = rules(
        """
rules:
  - {name: other database, database: "a*", cache: off}
  - {name: reports, role: "report_*", ttl: 5s, priority: 1}
  - {name: declared, function: a.f, reads: a.t}
  - {name: not here, relations: [sessions, "audit.*"], cache: off}
  - {name: taken out, cache: off, exclude: [{role: admin}, {relations: public.orders}]}
  - {name: decides, relations: orders, ttl: 6s}
  - {name: late, cache: off}
  - {name: text, pattern: "no such", cache: off}
  - {name: shape, fingerprint: "0123456789abcdef", cache: off}
  - {name: program, application_name: [cron, "job *"], cache: off}
"""
    )
    asked = subject(found, text="select * from orders")
    assert [(one.rule, one.priority, one.matches, one.why) for one in found.explain(asked)] == [
        ("reports", 1, False, "the role 'web' is not report_*"),
        ("other database", 0, False, "the database 'shop' is not a*"),
        (
            "not here",
            0,
            False,
            "it reads public.customers, public.orders, not sessions or audit.*",
        ),
        ("taken out", 0, False, "it is excluded by {relations: public.orders}"),
        ("decides", 0, True, "it is the first one that matches"),
        ("late", 0, True, "it matches too, but 'decides' counts for its earlier place"),
        ("text", 0, False, "its text does not match 'no such'"),
        ("shape", 0, False, "its fingerprint 50fde20626009aba is not 0123456789abcdef"),
        ("program", 0, False, "the application_name is not cron or job *"),
    ]
    assert [one.rule for one in found.explain(asked) if one.decides] == ["decides"]
    assert found.verdict(asked).rule == "decides"
    reporter = subject(found, role="report_1")
    late = next(one for one in found.explain(reporter) if one.rule == "decides")
    assert late.why == "it matches too, but 'reports' counts for its higher priority"
    assert EMPTY.explain(asked) == []


WRITTEN = """
rules:
  - {cache: off}
  - role: ["a b", "x*"]
    relations: s.t
    ttl: 90s
    exclude: [{role: x}, {pattern: "a, {b}: '\\\\s'"}]
  - {application_name: 'it''s "me"', database: "true", fingerprint: 0123456789abcdef, max_age: none}
  - {function: s.f, reads: [s.t, "s.a b"], writes: []}
  - {pattern: "é\\\\d+", max_bytes: 1000, max_rows: 7, stale_while_revalidate: 250us, cache: on}
  - {verify: 100%, ttl: 1.001s, exclude: {database: "null"}}
"""


def test_what_is_shown_of_a_rule_is_how_it_is_written():
    """So that a file can be compared with what a running Howdah shows."""
    written = rules(WRITTEN)
    shown = [(one.conditions_text, one.effects_text) for one in written]
    items = [", ".join(part for part in parts if part) for parts in shown]
    again = "rules:\n" + "".join(f"  - {{{item}}}\n" for item in items)
    assert rules(again) == written
