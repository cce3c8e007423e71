"""What the statements inside of a body do: functions, procedures, triggers, DO blocks.

What lives here: the verdict on each kind of statement where it stands in a body, and
on the conversions that PL/pgSQL makes between statements. What must not: the walk
through what they reach (`policy.reach`).
"""

from __future__ import annotations

from proxy.catalog.snapshot import CatalogSnapshot, Effect, Path, Routine
from proxy.policy.code import PLAIN_RESULTS, Code, judge_names, setting_flags
from proxy.policy.plan import Flag, both_flags
from proxy.policy.reach import Node, Reach
from proxy.reasons import Reason
from proxy.sql.facts import Body, Facts, Name, StatementKind

_NO_NAMES: frozenset[str] = frozenset()


def judge_body(body: Body, reach: Reach, path: Path, routine: Routine | None) -> Code:
    """Judge a body whose names are looked for in `path`; what it reaches is in `nodes`.

    Args:
        routine: whose body it is; None for a DO block.
    """
    code = _judge(body, reach, path, routine)
    if path is not None and code.flags & Flag.PATH:
        # It changes how its own names resolve.
        code = _judge(body, reach, None, routine)
    return code


def _judge(body: Body, reach: Reach, path: Path, routine: Routine | None) -> Code:
    code = reach.judged(Code())
    if body.unknown:
        code.add(Effect.OPAQUE, Reason.UNKNOWN_FUNCTION, body.unknown)
        return code
    transitions = _NO_NAMES if routine is None else routine.transitions
    for facts in body.statements:
        _statement(facts, reach, path, code, transitions)
    if body.inexact:
        code.add(Effect.HARMLESS, Reason.STABLE_FUNCTION, "its own variables")
    for name in body.assigned:
        _converted(name, reach.catalog, path, code)
    if body.returns and routine is not None and routine.result not in PLAIN_RESULTS:
        _converted(Name(None, ""), reach.catalog, path, code)
    return code


def _converted(name: Name, catalog: CatalogSnapshot, path: Path, code: Code) -> None:
    """A value becomes one of another type, perhaps by way of text (K5)."""
    found = catalog.find_type(name.schema, name.name, path) if name.name else None
    if found is None:
        effect = Effect.OPAQUE if catalog.opaque_domains else Effect.HARMLESS
        code.add(effect, Reason.CLOCK_CAST, name)
    elif found.label.effect is not Effect.SAFE:
        code.add(found.label.effect, Reason.UNKNOWN_TYPE, name)
    elif found.clock or found.zoned:
        code.add(Effect.HARMLESS, Reason.CLOCK_CAST, name)


def _statement(
    facts: Facts, reach: Reach, path: Path, code: Code, transitions: frozenset[str]
) -> None:
    kind = facts.kind
    if kind is StatementKind.SELECT and not facts.into:
        judge_names(facts, reach, path, code, transitions)
        if facts.targets:
            _targets(facts, reach, path, code)
    elif kind in (StatementKind.MODIFY, StatementKind.TRUNCATE):
        judge_names(facts, reach, path, code, transitions)
        _targets(facts, reach, path, code)
    elif kind is StatementKind.SET:
        _set(facts, reach, code)
    elif kind is StatementKind.LOCK:
        code.add(Effect.HARMLESS, Reason.LOCKING_CLAUSE, "LOCK")
        code.flags |= Flag.LOCKS
    elif kind in (StatementKind.SHOW, StatementKind.TRANSACTION):
        code.add(Effect.HARMLESS, Reason.STABLE_FUNCTION, kind.value.upper())
    elif kind is StatementKind.UTILITY and not (
        facts.tag == "CommentStmt" and reach.catalog.event_triggers
    ):
        code.add(Effect.HARMLESS, Reason.VOLATILE_FUNCTION, "a command")
    elif kind is StatementKind.EXPLAIN and facts.inner is not None:
        code.add(Effect.HARMLESS, Reason.EXPLAIN, "EXPLAIN")
        _statement(facts.inner, reach, path, code, transitions)
    elif kind is StatementKind.OPAQUE and facts.tag == "CallStmt":
        judge_names(facts, reach, path, code, transitions)
        code.add(Effect.HARMLESS, Reason.VOLATILE_FUNCTION, "CALL")
    elif kind is StatementKind.OPAQUE and facts.body is not None:
        inner = judge_body(facts.body, reach, path, None)
        code.add(max(inner.effect, Effect.HARMLESS), inner.reason or Reason.VOLATILE_FUNCTION)
        code.flags = both_flags(code.flags, inner.flags)
        code.settings |= inner.settings
        code.asks = code.asks or inner.asks
        code.nodes += inner.nodes
    elif facts.tag == "RefreshMatViewStmt" and not reach.catalog.event_triggers:
        _targets(facts, reach, path, code)
    else:
        code.add(Effect.OPAQUE, Reason.UNKNOWN_FUNCTION, f"a statement that is {kind.value}")


def _targets(facts: Facts, reach: Reach, path: Path, code: Code) -> None:
    """What is written. That it is, keeps the caller from being cached by itself."""
    code.flags |= Flag.LOCKS
    for (schema, name), events in facts.targets:
        found = reach.catalog.find_relations(schema, name, path)
        if not found:
            code.add(Effect.OPAQUE, Reason.UNKNOWN_RELATION, Name(schema, name))
        if facts.cascade:
            events = "T"
        for relation in found:
            code.nodes += [Node("w", relation.oid, path, event) for event in events or "i"]


def _set(facts: Facts, reach: Reach, code: Code) -> None:
    code.add(Effect.HARMLESS, Reason.SETTING, "SET")
    setting = facts.setting
    if setting is None or facts.isolation:
        changes = Flag.SETTINGS | Flag.ISOLATION
    elif not setting.name:
        changes = Flag.SETTINGS | Flag.PATH
    else:
        changes = setting_flags(setting.name, reach.catalog, reach.watched)
    code.flags = both_flags(code.flags, changes)
