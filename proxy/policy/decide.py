"""From facts, catalog and rules to a plan.

What lives here: one function per family of statements, and their union for a
text of several. What must not: names (`policy.code`), expansion of writes
(`catalog.closure`), the state of a session. In doubt a read is forwarded and a
write has everything as its closure (F9).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from proxy.catalog.snapshot import CatalogSnapshot, Effect
from proxy.policy.code import Code, judge, judge_calls, setting_flags
from proxy.policy.plan import (
    DATABASE,
    EVERYTHING,
    NOTHING,
    SHARED_FLAGS,
    Closure,
    Control,
    Flag,
    Kind,
    Plan,
    Scope,
    both_flags,
)
from proxy.policy.reach import Reach, Reached, reach_of
from proxy.policy.rules import NO_VERDICT, Subject, Verdict
from proxy.policy.situation import Situation
from proxy.reasons import Reason
from proxy.sql import normal
from proxy.sql.facts import Analysis, Facts, Name, StatementKind
from proxy.sql.hints import Hints
from proxy.terms import Terms

MOST_SETTINGS = 16  # that one answer may depend on by name

_OPAQUE_FLAGS = Flag.MAY_COMMIT | Flag.SETTINGS | Flag.PATH | Flag.STATEMENTS | Flag.OPAQUE
_UNPARSABLE = Plan(
    Kind.WRITE,
    Reason.UNPARSABLE,
    closure=EVERYTHING,
    flags=_OPAQUE_FLAGS | Flag.SCHEMA | Flag.ISOLATION,
    dropped=None,
    bodies=True,
)
_EMPTY = Plan(Kind.OTHER, Reason.EMPTY)


def decide(analysis: Analysis, situation: Situation) -> Plan:
    """Say what is to be done with a text in a situation. Never raises."""
    if analysis.error:
        return _UNPARSABLE
    statements = analysis.statements
    if len(statements) == 1:
        plan = _statement(statements[0], situation)
        if plan.kind is Kind.READ:
            return _ruled(plan, analysis, situation)
        return plan
    if not statements:
        return _EMPTY
    return _several(statements, situation)


def _ruled(plan: Plan, analysis: Analysis, situation: Situation) -> Plan:
    """What somebody decided about a read that could be cached; hints beat rules."""
    if situation.search_path is None:
        return _forwarded(plan, Reason.SESSION_UNKNOWN)
    if situation.trace is not None:
        situation.trace.asked(subject_of(analysis, situation))
    hints = analysis.hints
    if hints.unknown:
        plan = replace(plan, ignored=hints.unknown)
    if hints.cache is False:
        return replace(plan, kind=Kind.BYPASS, reason=Reason.HINT_OFF)
    verdict = NO_VERDICT
    if len(situation.rules):
        verdict = situation.rules.verdict(subject_of(analysis, situation))
    if verdict.cache is False and not hints.cache:
        return replace(plan, kind=Kind.BYPASS, reason=Reason.RULE_OFF, rule=verdict.rule)
    terms = _terms(hints, verdict)
    if terms is None and not verdict.rule:
        return plan
    return replace(plan, terms=terms, rule=verdict.rule)


def subject_of(analysis: Analysis, situation: Situation) -> Subject:
    """The statement as rules see it: a read, all of whose relations are known."""
    told = situation.rules.relations or situation.trace is not None
    return Subject(
        situation.database,
        situation.role,
        _names(analysis.statements[0], situation) if told else (),
        analysis.text,
        situation.audience,
        normal.identity(analysis.text) if situation.rules.fingerprints else None,
    )


def _terms(hints: Hints, verdict: Verdict) -> Terms | None:
    """Those of a hint come before those of a rule."""
    asked = hints.terms
    if asked is None:
        return verdict.terms
    if asked.max_age is not None:
        # How far others are trusted not to write is the operator's to say: a statement can
        # only want less of it, which is as good as a shorter life.
        ttl = min(asked.max_age, asked.max_age if asked.ttl is None else asked.ttl)
        if asked.ttl is None and verdict.terms is not None and verdict.terms.ttl is not None:
            ttl = min(ttl, verdict.terms.ttl)
        asked = replace(asked, ttl=ttl, max_age=None)
    return asked.over(verdict.terms)


def _forwarded(plan: Plan, reason: Reason) -> Plan:
    """A read that is not cached; its functions run in the session all the same."""
    return replace(plan, kind=Kind.BYPASS, reason=reason, reads=())


def _names(facts: Facts, situation: Situation) -> set[str]:
    """The relations that an answer is made of, as named and as reached.

    The rows of a partition are also its parents', and a parent's those of its partitions.
    """
    catalog, path = situation.catalog, situation.search_path
    assert catalog is not None
    declared, wide, watched = situation.rules.declared, situation.wide, situation.watched
    reach = reach_of(catalog, declared, wide=wide, watched=watched)
    oids = reach.relations(judge(facts, reach, path).nodes)
    names = {catalog.name_of(oid) for oid in oids | _parents(oids, catalog)}
    for schema, name in facts.relations:
        names |= {found.qualified for found in catalog.find_relations(schema, name, path)}
    return names


def _parents(oids: set[int], catalog: CatalogSnapshot) -> set[int]:
    """What the relations are partitions or inheritance children of, at any distance."""
    above: dict[int, list[int]] = {}
    if any(relation.root for oid in oids if (relation := catalog.by_oid.get(oid)) is not None):
        for parent, children in catalog.descendants.items():
            for child in children:
                above.setdefault(child, []).append(parent)
    found: set[int] = set()
    pending = list(oids)
    while pending:
        following = set(above.get(pending.pop(), ())) - found
        found |= following
        pending += following
    return found


def _reach(situation: Situation) -> Reach | None:
    catalog, trace = situation.catalog, situation.trace
    if catalog is None:
        return None
    declared, wide, watched = situation.rules.declared, situation.wide, situation.watched
    if trace is not None:
        return trace.reach(catalog, declared, wide=wide, watched=watched)
    return reach_of(catalog, declared, wide=wide, watched=watched)


def _several(statements: tuple[Facts, ...], situation: Situation) -> Plan:
    """The union of all statements of one text."""
    plans = []
    for facts in statements:
        plan = _statement(facts, situation)
        plans.append(plan)
        # What one statement changes, the next one sees: names and schema are unknown then.
        if plan.flags & Flag.PATH:
            situation = replace(situation, search_path=None)
        if plan.flags & Flag.SCHEMA:
            situation = replace(situation, catalog=None)
    closure, flags = NOTHING, Flag.SEVERAL
    dropped: tuple[str, ...] | None = ()
    for plan in plans:
        closure |= plan.closure
        flags = both_flags(flags, plan.flags)
        dropped = None if dropped is None or plan.dropped is None else dropped + plan.dropped
    flags &= ~(Flag.DEFERRABLE | Flag.DISCARD_ALL)
    if flags & Flag.MAY_COMMIT or any(
        plan.closure and not plan.flags & Flag.PLAIN for plan in plans
    ):
        flags &= ~Flag.PLAIN
    kind, reason = _several_kind(plans)
    return Plan(
        kind,
        reason,
        closure=closure,
        flags=flags,
        dropped=dropped,
        bodies=any(plan.bodies for plan in plans),
        mixes=any(plan.mixes for plan in plans),
    )


def _several_kind(plans: list[Plan]) -> tuple[Kind, Reason]:
    writes = [plan for plan in plans if plan.kind is Kind.WRITE]
    if writes:
        # The widest closure is what the user wants to hear about.
        worst = max(writes, key=lambda plan: plan.closure.scope)
        return Kind.WRITE, worst.reason
    if any(plan.kind in (Kind.READ, Kind.BYPASS) for plan in plans):
        return Kind.BYPASS, Reason.MULTIPLE_STATEMENTS
    return Kind.OTHER, plans[0].reason


def _statement(facts: Facts, situation: Situation) -> Plan:
    plan = _FAMILIES[facts.kind](facts, situation)
    if plan.flags & Flag.PATH and plan.closure.scope is Scope.RELATIONS and plan.bodies:
        # Something on the way changes how what comes behind it resolves its names.
        situation = replace(situation, search_path=None, wide=True)
        plan = _FAMILIES[facts.kind](facts, situation)
    return plan


# Reads and plain writes.


def _select(facts: Facts, situation: Situation) -> Plan:
    if facts.targets:
        return _modify(facts, situation)
    if facts.into:
        return _ddl(facts, situation)
    catalog = situation.catalog
    code = judge(facts, _reach(situation), situation.search_path)
    if code.effect is Effect.OPAQUE:
        return _opaque_read(code, facts, catalog)
    if code.writes or code.commits:
        return _performs(code)
    if code.reason is Reason.NONE and not code.reads:
        code.reason = Reason.NO_RELATION
    if code.reason is not Reason.NONE:
        flags = _assigning(facts, code, situation)
        return Plan(Kind.BYPASS, code.reason, flags=flags, bodies=code.bodies, mixes=code.mixes)
    reason = Reason.NONE
    if code.flags:
        # What it does to its session, a hit would not do.
        reason = Reason.STABLE_FUNCTION
    elif len(code.settings) > MOST_SETTINGS:
        reason = Reason.SESSION_FUNCTION
    if reason is not Reason.NONE:
        return Plan(Kind.BYPASS, reason, flags=code.flags, bodies=code.bodies, mixes=code.mixes)
    return Plan(
        Kind.READ,
        Reason.NOT_CACHED,
        reads=tuple(sorted(code.reads)),
        bodies=code.bodies,
        mixes=code.mixes,
        settings=code.settings,
    )


def _assigning(facts: Facts, code: Code, situation: Situation) -> int:
    """The flags of a SELECT that calls set_config, more exactly if it does nothing else."""
    flags = code.flags
    plainly = code.reason is Reason.SETTING and not code.bodies and not code.nodes
    if not facts.assigns or not flags & Flag.SETTINGS or not plainly:
        return flags
    rest = judge(replace(facts, calls=frozenset()), _reach(situation), situation.search_path)
    if rest.effect is not Effect.SAFE or flags & Flag.ISOLATION:
        return flags
    changing = [
        each
        for each in facts.assigns
        if setting_flags(each.name, situation.catalog, situation.watched) & Flag.SETTINGS
    ]
    local = {bool(each.local) for each in changing}
    if len(local) > 1:
        # What a COMMIT leaves is neither what is seen nor what was before.
        return flags
    return flags | Flag.SET_CONSTANT | (Flag.LOCAL if local == {True} else Flag.NONE)


def _performs(code: Code, *, plain: bool = True) -> Plan:
    """Functions that write, and whose closure is known."""
    flags = code.flags | Flag.LOCKS
    if code.commits:
        flags |= Flag.MAY_COMMIT
    elif plain:
        flags |= Flag.PLAIN
    closure = _closure(code)
    return Plan(
        Kind.WRITE, Reason.WRITE, closure=closure, flags=flags, bodies=code.bodies, mixes=code.mixes
    )


def _closure(reached: Code | Reached) -> Closure:
    return Closure(Scope.RELATIONS, reached.writes)


def _opaque_read(code: Code, facts: Facts, catalog: CatalogSnapshot | None) -> Plan:
    plan = _opaque(facts, catalog, code)
    if catalog is None:
        return replace(plan, kind=Kind.BYPASS, reason=Reason.CATALOG_LOADING)
    if code.reason in (Reason.UNKNOWN_RELATION, Reason.OPAQUE_TYPES):
        return replace(plan, kind=Kind.BYPASS, reason=code.reason)
    return plan


def _opaque(facts: Facts, catalog: CatalogSnapshot | None, code: Code | None = None) -> Plan:
    """Anything may happen (F9). Only code that may run DDL makes the catalog be read again."""
    unknown = Flag.UNKNOWN_NAME if code is not None and code.unknown else Flag.NONE
    dynamic = facts.dynamic or (catalog is not None and catalog.dynamic_functions)
    return Plan(
        Kind.WRITE,
        Reason.WRITE_OPAQUE,
        closure=EVERYTHING,
        flags=_OPAQUE_FLAGS | unknown | (Flag.SCHEMA if dynamic else Flag.NONE),
        bodies=True,
        dropped=None if dynamic else (),
    )


def _modify(facts: Facts, situation: Situation) -> Plan:
    """INSERT, UPDATE, DELETE, MERGE, COPY FROM, and queries that hold one."""
    catalog, path = situation.catalog, situation.search_path
    reach = _reach(situation)
    if catalog is None or reach is None:
        return _opaque(facts, catalog)
    code = judge(facts, reach, path)
    if code.effect is Effect.OPAQUE or facts.program or facts.into:
        return _opaque(facts, catalog, code)
    for (schema, name), events in facts.targets:
        found = catalog.find_relations(schema, name, path)
        if not found:
            code.unknown = True
            code.add(Effect.OPAQUE, Reason.UNKNOWN_RELATION, Name(schema, name))
            return _opaque(facts, catalog, code)
        for relation in found:
            if relation.schema == "pg_catalog":
                plan = _opaque(facts, catalog)
                return replace(plan, flags=plan.flags | Flag.SCHEMA)
            reached = reach.written(relation.oid, events, path)
            if reached.effect is Effect.OPAQUE:
                return _opaque(facts, catalog)
            code.reaches(reached)
    plan = _performs(code)
    # Where a cursor stands matters, and that it is there.
    return replace(plan, reason=Reason.CURSOR) if facts.positioned else plan


def _truncate(facts: Facts, situation: Situation) -> Plan:
    if facts.cascade:
        targets = tuple(target._replace(events="T") for target in facts.targets)
        facts = replace(facts, targets=targets)
    return _modify(facts, situation)


def _copy_to(facts: Facts, situation: Situation) -> Plan:
    plan = _modify(facts, situation) if facts.targets else _select(facts, situation)
    if facts.program:
        return _opaque(facts, situation.catalog)
    return _around(plan, Reason.COPY)


def _around(plan: Plan, reason: Reason) -> Plan:
    """A harmless read inside something else: same effects, another reason."""
    if plan.kind in (Kind.READ, Kind.BYPASS):
        return replace(plan, kind=Kind.BYPASS, reason=reason, reads=(), settings=frozenset())
    return plan


def _explain(facts: Facts, situation: Situation) -> Plan:
    assert facts.inner is not None
    inner = facts.inner
    while inner.inner is not None:
        inner = inner.inner
    if facts.analyze:
        # CREATE TABLE AS is executed too, so the outer of the two counts.
        return _around(_statement(facts.inner, situation), Reason.EXPLAIN)
    plan = _statement(inner, situation)
    if plan.closure.scope is not Scope.RELATIONS or plan.flags & (Flag.MAY_COMMIT | Flag.SETTINGS):
        return plan
    # Planning alone can run functions, but no command.
    code = judge(inner, _reach(situation), situation.search_path)
    if code.writes:
        return _performs(code)
    return Plan(Kind.BYPASS, Reason.EXPLAIN, bodies=code.bodies, mixes=code.mixes)


def _cursor(facts: Facts, situation: Situation) -> Plan:
    if facts.inner is None:
        # What a cursor calls runs when it is fetched from.
        return Plan(Kind.BYPASS, Reason.CURSOR, bodies=True)
    plan = _around(_statement(facts.inner, situation), Reason.CURSOR)
    if plan.flags & Flag.SETTINGS:
        # It does so when it is fetched from, up to the end of the transaction.
        flags = plan.flags & ~SHARED_FLAGS | Flag.OPAQUE
        return replace(plan, flags=flags)
    return plan


# Schema and utilities.

# DDL that only writes catalogs; other DDL runs defaults, checks, index expressions, queries.
_PURE_DDL = frozenset(
    "AlterEnumStmt AlterObjectSchemaStmt AlterOwnerStmt AlterPolicyStmt AlterSeqStmt CommentStmt "
    "CompositeTypeStmt CreateEnumStmt CreateFunctionStmt CreatePolicyStmt CreateSchemaStmt "
    "CreateSeqStmt CreateStmt CreateTableAsStmt CreateTrigStmt DropStmt GrantStmt RenameStmt "
    "RuleStmt SelectStmt ViewStmt".split()
)


def _ddl(facts: Facts, situation: Situation) -> Plan:
    """Every DDL changes the catalog, which is read again before the fence falls (F12)."""
    catalog, path = situation.catalog, situation.search_path
    reach = _reach(situation)
    changes, bodies = Flag.NONE, True
    if catalog is None or reach is None:
        opaque = True
    else:
        if facts.tag == "RefreshMatViewStmt" and not catalog.event_triggers:
            return _refresh(facts, situation, reach)
        code = judge_calls(facts, reach, path)
        query = facts if facts.kind is StatementKind.SELECT else facts.inner
        if query is not None and code.effect is not Effect.OPAQUE:
            code = judge(query, reach, path)
            if query.kind is not StatementKind.SELECT or query.targets:
                code.add(Effect.OPAQUE, Reason.DDL)
        opaque = code.effect is Effect.OPAQUE or catalog.event_triggers or catalog.opaque_types
        changes = code.flags
        bodies = opaque or code.bodies
    runs = catalog is None or (catalog.opaque_functions and facts.tag not in _PURE_DDL)
    flags = Flag.SCHEMA | changes | (_OPAQUE_FLAGS if opaque else Flag.NONE)
    if facts.temporary:
        flags |= Flag.PATH | Flag.SETTINGS
    closure = EVERYTHING if facts.cluster or opaque or runs else DATABASE
    # It may run functions: in queries, for defaults, checks and indexes.
    return Plan(Kind.WRITE, Reason.DDL, closure=closure, flags=flags, bodies=bodies or runs)


def _refresh(facts: Facts, situation: Situation, reach: Reach) -> Plan:
    """REFRESH MATERIALIZED VIEW writes the rows of one relation; names stay as they are."""
    (schema, name), events = facts.targets[0]
    code = Code()
    found = reach.catalog.find_relations(schema, name, situation.search_path)
    for relation in found:
        code.reaches(reach.written(relation.oid, events, None))
    if not found or code.effect is Effect.OPAQUE or reach.catalog.opaque_types:
        return _opaque(facts, reach.catalog)
    return replace(_performs(code, plain=False), reason=Reason.WRITE)


def _maintenance(facts: Facts, situation: Situation) -> Plan:
    """VACUUM, ANALYZE, REINDEX and CLUSTER change no answer, but run index expressions."""
    catalog, reach = situation.catalog, _reach(situation)
    if catalog is None or reach is None or catalog.opaque_indexes or catalog.opaque_types:
        return _opaque(facts, catalog)
    maintained = reach.maintained()
    if maintained.effect is Effect.OPAQUE or maintained.writes:
        return _opaque(facts, catalog)
    if catalog.event_triggers and facts.tag == "ReindexStmt":
        return _opaque(facts, catalog)
    return Plan(Kind.OTHER, Reason.UTILITY, bodies=maintained.bodies, mixes=maintained.mixes)


def _utility(facts: Facts, situation: Situation) -> Plan:
    catalog = situation.catalog
    if facts.tag == "CommentStmt" and (catalog is None or catalog.event_triggers):
        return _opaque(facts, catalog)
    return Plan(Kind.OTHER, Reason.UTILITY)


def _lock(facts: Facts, situation: Situation) -> Plan:
    return Plan(Kind.OTHER, Reason.UTILITY, flags=Flag.LOCKS)


# Transactions and the session.


def _transaction(facts: Facts, situation: Situation) -> Plan:
    control = Control(facts.control)
    # What follows a ROLLBACK in the same request commits by itself; a lone one is
    # recognised by its tag.
    ends = facts.commits or control in (Control.ROLLBACK, Control.CHAIN)
    flags = Flag.MAY_COMMIT if ends else Flag.NONE
    if facts.isolation:
        flags |= Flag.ISOLATION
    elif control is Control.BEGIN:
        flags |= Flag.DEFERRABLE
    return Plan(Kind.OTHER, Reason.TRANSACTION, control=control, flags=flags)


def _set(facts: Facts, situation: Situation) -> Plan:
    setting, control = facts.setting, Control(facts.control)
    flags = Flag.ISOLATION if facts.isolation else Flag.NONE
    if setting is not None:
        if not setting.name:
            flags |= Flag.SETTINGS | Flag.PATH | Flag.RESET_ALL
        else:
            changes = setting_flags(setting.name, situation.catalog, situation.watched)
            if changes & Flag.SETTINGS and setting.constant:
                changes |= Flag.SET_CONSTANT
            if changes & Flag.SETTINGS and setting.local:
                changes |= Flag.LOCAL
            flags |= changes
    reason = Reason.TRANSACTION if control is not Control.NONE else Reason.SETTING
    return Plan(Kind.OTHER, reason, control=control, flags=flags)


def _discard(facts: Facts, situation: Situation) -> Plan:
    if facts.prepared is None:
        flags = Flag.SETTINGS | Flag.PATH | Flag.STATEMENTS | Flag.DISCARD_ALL
        return Plan(Kind.OTHER, Reason.SETTING, flags=flags, dropped=None)
    flags = Flag.SETTINGS | Flag.PATH if facts.temporary else Flag.NONE
    return Plan(Kind.OTHER, Reason.SETTING, flags=flags)


def _show(facts: Facts, situation: Situation) -> Plan:
    return Plan(Kind.OTHER, Reason.SHOW)


_SQL = Reason.PREPARED_SQL


def _prepare(facts: Facts, situation: Situation) -> Plan:
    """PREPARE only parses, DEALLOCATE only forgets.

    Parsing reads literals, and those of a domain run its check.
    """
    catalog = situation.catalog
    if facts.kind is StatementKind.PREPARE and (
        catalog is None or catalog.opaque_domains or catalog.opaque_types
    ):
        return _opaque(facts, catalog)
    prepared = None
    if facts.inner is not None:
        # It keeps the tables that its names meant, and may look them up anew later on.
        prepared = _around(_statement(facts.inner, replace(situation, search_path=None)), _SQL)
        # The text of an EXECUTE does not say what it sets.
        prepared = replace(prepared, flags=prepared.flags & ~Flag.SET_CONSTANT)
    return Plan(Kind.OTHER, _SQL, flags=Flag.STATEMENTS, dropped=facts.prepared, prepared=prepared)


def _execute(facts: Facts, situation: Situation) -> Plan:
    """What it does is known where the session has seen the PREPARE; else F9."""
    plan = _opaque(facts, situation.catalog)
    code = judge(facts, _reach(situation), situation.search_path)
    if code.effect is Effect.OPAQUE or code.writes or code.flags or code.bodies:
        return plan
    if not facts.prepared:
        return plan
    return replace(plan, reason=Reason.PREPARED_OPAQUE, executes=facts.prepared[0])


def _unknown(facts: Facts, situation: Situation) -> Plan:
    """DO and CALL, where their bodies can be seen through; else F9.

    They may commit inside, so an error never proves that nothing was written (F3).
    """
    reach, path = _reach(situation), situation.search_path
    if reach is not None and not reach.catalog.opaque_types:
        code = Code()
        if facts.body is not None:
            reached = reach.block(facts.body, path)
            code.reaches(reached)
        elif facts.tag == "CallStmt":
            code = judge(facts, reach, path)
        else:
            return _opaque(facts, situation.catalog)
        if code.effect is not Effect.OPAQUE:
            return _performs(code, plain=False)
    return _opaque(facts, situation.catalog)


_FAMILIES: dict[StatementKind, Callable[[Facts, Situation], Plan]] = {
    StatementKind.SELECT: _select,
    StatementKind.MODIFY: _modify,
    StatementKind.COPY_FROM: _modify,
    StatementKind.COPY_TO: _copy_to,
    StatementKind.TRUNCATE: _truncate,
    StatementKind.EXPLAIN: _explain,
    StatementKind.CURSOR: _cursor,
    StatementKind.PREPARE: _prepare,
    StatementKind.DEALLOCATE: _prepare,
    StatementKind.EXECUTE: _execute,
    StatementKind.TRANSACTION: _transaction,
    StatementKind.SET: _set,
    StatementKind.SHOW: _show,
    StatementKind.DISCARD: _discard,
    StatementKind.LOCK: _lock,
    StatementKind.MAINTENANCE: _maintenance,
    StatementKind.UTILITY: _utility,
    StatementKind.DDL: _ddl,
    StatementKind.OPAQUE: _unknown,
}
