"""What the code that a statement names can do: functions, operators, types, views.

What lives here: the resolution of a statement's names against the catalog, and
the worst that running it can do. What must not: plans and kinds of statements.
Every overload that could be meant counts (K5); a name that is not found counts
as opaque (F9).
"""

from __future__ import annotations

from proxy.catalog.builtins import POPULATING, builtin_label
from proxy.catalog.harmless import HARMLESS_SETTINGS
from proxy.catalog.snapshot import OPAQUE, SAFE, CatalogSnapshot, Effect, Label, Relation
from proxy.policy.plan import Flag
from proxy.reasons import Reason
from proxy.sql.facts import Call, Facts, Name, Shape

Path = tuple[str, ...] | None

PATH_SETTINGS = frozenset(("search_path", "role", "session_authorization"))
# What the grammar of PostgreSQL 18 calls by another name than that of 13 does.
_OLDER_NAMES = {"extract": "date_part", "system_user": "current_user"}
# Operators that IN, DISTINCT, USING, CASE, BETWEEN and sorting look up without naming them.
_IMPLICIT_OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


class Code:
    """The judgement on one statement's names.

    Attributes:
        effect: the worst of everything named.
        reason: why the answer cannot be cached; NONE if nothing speaks against it.
        flags: what harmless functions do to their session.
        relations: the relations that are read, resolved.
    """

    __slots__ = ("effect", "flags", "reason", "relations")

    def __init__(self) -> None:
        self.effect = Effect.SAFE
        self.reason = Reason.NONE
        self.flags: int = Flag.NONE
        self.relations: list[Relation] = []

    def add(self, effect: Effect, reason: Reason) -> None:
        """Count one more name; the first reason stays, unless what comes is opaque."""
        if effect > self.effect:
            self.effect = effect
        if self.reason is Reason.NONE:
            self.reason = reason


def judge(facts: Facts, catalog: CatalogSnapshot | None, path: Path) -> Code:
    """Resolve the names of a query or DML statement and judge them."""
    code = Code()
    if facts.unknown:
        code.add(Effect.OPAQUE, Reason.UNSUPPORTED_SYNTAX)
    if catalog is None:
        _judge_blindly(facts, code)
        return code
    if catalog.opaque_types:
        code.add(Effect.OPAQUE, Reason.OPAQUE_TYPES)
    _judge_relations(facts, catalog, path, code)
    _judge_syntax(facts, code)
    _judge_zones(facts, catalog, code)
    for call in facts.calls:
        _judge_call(call, catalog, path, code)
    if catalog.row_functions:
        for name in facts.dotted:
            label = catalog.row_function_label(name, path)
            if label.effect is not Effect.SAFE:
                code.add(label.effect, Reason.UNKNOWN_FUNCTION)
    if catalog.operators:
        _judge_operators(facts, catalog, path, code)
    for type_name in facts.types:
        label = _type_label(type_name, catalog, path)
        if label.effect is not Effect.SAFE:
            code.add(label.effect, Reason.UNKNOWN_TYPE)
    if facts.casts:
        _judge_casts(facts, catalog, path, code)
    return code


def judge_calls(facts: Facts, catalog: CatalogSnapshot, path: Path) -> Code:
    """Judge only the functions that a DDL statement names in its expressions."""
    code = Code()
    for call in facts.calls:
        _judge_call(call, catalog, path, code)
    return code


def _judge_blindly(facts: Facts, code: Code) -> None:
    """Without a catalog only what is qualified as built-in is known to be harmless."""
    code.add(Effect.HARMLESS, Reason.CATALOG_LOADING)
    builtin = all(name.schema == "pg_catalog" for name in facts.relations)
    if not builtin or facts.operators or facts.dotted:
        code.add(Effect.OPAQUE, Reason.CATALOG_LOADING)
    if any(name.schema != "pg_catalog" for name in facts.types):
        code.add(Effect.OPAQUE, Reason.CATALOG_LOADING)
    for call in facts.calls:
        if call.function.schema == "pg_catalog" and not call.keyword:
            label = builtin_label(call.function.name, "v", call.args, call.args)
        else:
            label = OPAQUE
        _add_call(call, label, code)


def _judge_syntax(facts: Facts, code: Code) -> None:
    """What the text alone keeps from being cached."""
    if facts.locking:
        code.add(Effect.HARMLESS, Reason.LOCKING_CLAUSE)
        code.flags |= Flag.LOCKS
    if facts.sampling:
        code.add(Effect.HARMLESS, Reason.TABLESAMPLE)
    if facts.system_column:
        code.add(Effect.HARMLESS, Reason.SYSTEM_COLUMN)
    if facts.value_function is not Reason.NONE:
        code.add(Effect.HARMLESS, facts.value_function)
    if facts.clock_literal:
        code.add(Effect.HARMLESS, Reason.CLOCK_LITERAL)
    if facts.time_zoned:
        code.add(Effect.HARMLESS, Reason.CLOCK)
    if facts.unsupported:
        code.add(Effect.HARMLESS, Reason.UNSUPPORTED_SYNTAX)


# time, timetz and their arrays: `AT TIME ZONE` takes a time for one of today.
_TIMES_OF_DAY = frozenset((1083, 1183, 1266, 1270))
_TIME_NAMES = frozenset(("time", "timetz", "make_time"))


def _judge_zones(facts: Facts, catalog: CatalogSnapshot, code: Code) -> None:
    """`AT TIME ZONE` reads the clock where it may meet a time of day (K5)."""
    named = {call.function.name for call in facts.calls}
    if "timezone" not in named:
        return
    if not named.isdisjoint(_TIME_NAMES) or any(name in _TIME_NAMES for _, name in facts.types):
        code.add(Effect.HARMLESS, Reason.CLOCK)
        return
    users = {
        found.oid
        for schema, here in catalog.types.items()
        if schema != "pg_catalog"
        for found in here.values()
        if found.clock
    }
    for relation in code.relations:
        if any(oid in _TIMES_OF_DAY or oid in users for oid in relation.columns.values()):
            code.add(Effect.HARMLESS, Reason.CLOCK)
            return


def _judge_relations(facts: Facts, catalog: CatalogSnapshot, path: Path, code: Code) -> None:
    for schema, name in facts.relations:
        found = catalog.find_relations(schema, name, path)
        if not found:
            code.add(Effect.OPAQUE, Reason.UNKNOWN_RELATION)
        for relation in found:
            code.relations.append(relation)
            if relation.opaque_read:
                code.add(Effect.OPAQUE, relation.refusal)
            elif relation.refusal is not Reason.NONE:
                code.add(Effect.HARMLESS, relation.refusal)


def _judge_call(call: Call, catalog: CatalogSnapshot, path: Path, code: Code) -> None:
    schema, name = call.function
    worst = _worst_overload(call, name, catalog, path)
    if worst is None and schema == "pg_catalog" and name in _OLDER_NAMES:
        worst = _worst_overload(call, _OLDER_NAMES[name], catalog, path)
    if worst is None:
        # `type(x)` is a cast, judged with the casts. A keyword is no call at all on a
        # server that knows it.
        if call.keyword or (call.args == 1 and catalog.find_type(schema, name, path)):
            return
        worst = OPAQUE
    if catalog.opaque_domains and name in POPULATING:
        worst = OPAQUE
    _add_call(call, worst, code)


def _worst_overload(call: Call, name: str, catalog: CatalogSnapshot, path: Path) -> Label | None:
    """The worst of the functions that fit the call; `None` if there is none."""
    worst: Label | None = None
    for function in catalog.find_functions(call.function.schema, name, path):
        fits = call.args < 0 or (
            function.most < 0 or function.least <= call.args <= function.most or call.variadic
        )
        if fits and (worst is None or _heavier(function.label, worst)):
            worst = function.label
    return worst


def _heavier(one: Label, other: Label) -> bool:
    return one.effect > other.effect or (one.effect == other.effect and one[2:] > other[2:])


def _add_call(call: Call, label: Label, code: Code) -> None:
    if label.effect is not Effect.SAFE:
        code.add(label.effect, label.reason)
    if label.locks:
        code.flags |= Flag.LOCKS
    if label.settings:
        code.flags |= setting_flags(call.literal)


def setting_flags(name: str | None) -> int:
    """What changing a setting can do to a session; `None` for a name that is not known."""
    if name is None:
        return Flag.SETTINGS | Flag.PATH
    name = name.lower()
    if name in HARMLESS_SETTINGS:
        return Flag.NONE
    if name in PATH_SETTINGS:
        return Flag.SETTINGS | Flag.PATH
    if name == "transaction_isolation":
        return Flag.SETTINGS | Flag.ISOLATION
    return Flag.SETTINGS


def _judge_operators(facts: Facts, catalog: CatalogSnapshot, path: Path, code: Code) -> None:
    names = [*facts.operators, *(Name(None, name) for name in _IMPLICIT_OPERATORS)]
    for schema, name in names:
        label = catalog.operator_label(schema, name, path)
        if label.effect is not Effect.SAFE:
            code.add(label.effect, Reason.UNKNOWN_OPERATOR)


def _type_label(name: Name, catalog: CatalogSnapshot, path: Path) -> Label:
    found = catalog.find_type(name.schema, name.name, path)
    if found is not None:
        return found.label
    # Row types carry the names of their relations. Reading a row runs checks of domains.
    if catalog.find_relations(name.schema, name.name, path) and not catalog.opaque_domains:
        return Label(Effect.HARMLESS, Reason.UNKNOWN_TYPE)
    return OPAQUE


def _judge_casts(facts: Facts, catalog: CatalogSnapshot, path: Path, code: Code) -> None:
    """Text from a table must not meet a date or time type: it might say 'now' (K5)."""
    for (schema, name), shape, call in facts.casts:
        found = catalog.find_type(schema, name, path)
        if found is None:
            continue
        if call and found.label.effect is not Effect.SAFE:
            code.add(found.label.effect, Reason.UNKNOWN_TYPE)
        if found.zoned or (
            found.clock
            and shape is not None
            and not _sure(shape, facts, catalog, code.relations, set())
        ):
            code.add(Effect.HARMLESS, Reason.CLOCK_CAST)


def _sure(
    shape: Shape,
    facts: Facts,
    catalog: CatalogSnapshot,
    relations: list[Relation],
    open_names: set[str],
) -> bool:
    """Tell whether an expression of this shape is surely not text.

    A name is sure if every column of that name, and every expression that a
    subquery gives that name to, is sure. A name that is being looked at counts
    as sure: it must rest on something else.
    """
    if isinstance(shape, bool):
        return shape
    if isinstance(shape, tuple):
        return all(_sure(part, facts, catalog, relations, open_names) for part in shape)
    if facts.open_columns:
        return False
    if shape in open_names:
        return True
    types = [relation.columns[shape] for relation in relations if shape in relation.columns]
    if any(oid not in catalog.sure_types for oid in types):
        return False
    derived = facts.derived.get(shape)
    if derived is None:
        return bool(types)
    return _sure(derived, facts, catalog, relations, open_names | {shape})


__all__ = ["PATH_SETTINGS", "SAFE", "Code", "Path", "judge", "judge_calls", "setting_flags"]
