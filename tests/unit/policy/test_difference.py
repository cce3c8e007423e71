"""What other rules would change for statements that were seen."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import ConfigError
from proxy.policy.difference import Seen, declarations, differences, treatment
from proxy.policy.rules import EMPTY
from proxy.rulediff import running_rules, statements
from tests.unit.policy.test_rules import rules

ORDERS = Seen(
    "50fde20626009aba", "shop", "SELECT * FROM orders WHERE id = $1", ("web",), ("public.orders",)
)
RECENT = Seen(
    "0123456789abcdef", "shop", "SELECT total(id) FROM recent", ("web", "admin"), ("sales.orders",)
)


def told(old: str, new: str) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [
        (one.seen.id[:4], treatment(one.before), treatment(one.after), one.who)
        for one in differences(rules(old), rules(new), [ORDERS, RECENT])
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("rules:", "rules:", []),
        ("rules:", "rules: [{cache: on, name: x}]", []),
        ("rules: [{ttl: 5s}]", "rules: [{ttl: 5s, name: other, relations: orders}]", []),
        (
            "rules:",
            "rules: [{relations: public.orders, cache: off, name: x}]",
            [("50fd", "cached (no rule)", "forwarded (rule 'x')", ())],
        ),
        (
            "rules: [{cache: off, name: all}]",
            "rules: [{fingerprint: 50fde20626009aba, ttl: 5s, max_rows: 3}, {cache: off}]",
            [("50fd", "forwarded (rule 'all')", "cached, ttl 5s, max_rows 3 (rule 'rule 1')", ())],
        ),
        # A view is only in the text, in a schema that is not told.
        (
            "rules:",
            "rules: [{relations: sales.recent, cache: off}]",
            [("0123", "cached (no rule)", "forwarded (rule 'rule 1')", ())],
        ),
        (
            "rules:",
            "rules: [{role: admin, cache: off}]",
            [("0123", "cached (no rule)", "forwarded (rule 'rule 1')", ("role admin",))],
        ),
        (
            "rules: [{application_name: 'cron*', ttl: 1s, relations: recent}]",
            "rules:",
            [
                (
                    "0123",
                    "cached, ttl 1s (rule 'rule 1')",
                    "cached (no rule)",
                    (
                        "role web with application_name cron*",
                        "role admin with application_name cron*",
                    ),
                )
            ],
        ),
    ],
)
def test_differences(old, new, expected):
    assert told(old, new) == expected


def test_declarations():
    old = "rules: [{function: a.total, reads: a.t}, {function: a.same, reads: a.t}]"
    new = "rules: [{function: a.same, reads: a.t}, {function: a.new, writes: a.t}]"
    other = "rules: [{function: a.total, reads: [a.t, a.u]}]"
    found = list(declarations(rules(old), rules(new), [ORDERS, RECENT]))
    assert [(one.function, one.what, one.seen) for one in found] == [
        ("a.new", "is declared", ()),
        ("a.total", "is not declared any more", (RECENT,)),
    ]
    found = list(declarations(rules(old), rules(other), []))
    assert ("a.total", "is declared otherwise") in [(one.function, one.what) for one in found]


def row(**more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("calls", "hits", "shared", "stale", "misses"), 0)
    texts = {"id": "x", "database": "d", "query": "q", "roles": None, "relations": None}
    return counts | texts | {"reason": "write"} | more


def test_statements_that_no_rule_has_a_say_in_are_left_out():
    rows = [
        row(id="write"),
        row(id="hit", hits=3, calls=4, misses=1, roles="a, b", relations="public.t"),
        row(id="off", reason="rule_off", calls=2),
        row(id="shared", shared=1, stale=1, calls=2),
    ]
    found = [(one.id, one.roles, one.relations, one.calls, one.memory) for one in statements(rows)]
    assert found == [
        ("hit", ("a", "b"), ("public.t",), 4, 3),
        ("off", (), (), 2, 0),
        ("shared", (), (), 2, 2),
    ]


def test_rules_are_read_back_from_the_view():
    written = rules(
        """
rules:
  - {name: 'a "b"', role: "x*", exclude: {pattern: "a, b"}, ttl: 5s, priority: -2}
  - {name: plain, cache: off, priority: 7}
  - {name: declared, function: a.f, reads: [a.t], writes: []}
"""
    )
    rows = [
        {
            "name": one.name,
            "priority": one.priority,
            "conditions": one.conditions_text or None,
            "effects": one.effects_text,
        }
        for one in written
    ]
    assert running_rules(rows) == written
    assert running_rules([]) == EMPTY
    with pytest.raises(ConfigError, match="the running rules:2:"):
        running_rules([{"name": "x", "priority": 0, "conditions": "new: x", "effects": "ttl: 5s"}])
