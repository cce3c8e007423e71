"""What the code that a statement names can do: functions, operators, types, views.

What lives here: the resolution of a statement's names against the catalog, and
the worst that running it can do. What must not: plans and kinds of statements.
Every overload that could be meant counts (K5); a name that is not found counts
as opaque (F9).
"""

from __future__ import annotations

from proxy.catalog.builtins import POPULATING, builtin_label
from proxy.catalog.harmless import HARMLESS_SETTINGS
from proxy.catalog.libraries import is_custom, plain
from proxy.catalog.snapshot import (
    OPAQUE,
    SAFE,
    CatalogSnapshot,
    Effect,
    Function,
    Label,
    Path,
    Relation,
)
from proxy.policy.plan import Flag, both_flags
from proxy.policy.reach import Node, Reach, Reached, read_settings, schema_is_told
from proxy.reasons import Reason
from proxy.sql.facts import Call, Facts, Name, Shape

PATH_SETTINGS = frozenset(("search_path", "role", "session_authorization"))
# What the grammar of PostgreSQL 18 calls by another name than that of 13 does, or what
# takes the place of something that an older server does not have.
_OLDER_NAMES = {"extract": "date_part", "system_user": "version"}
# Operators that IN, DISTINCT, USING, CASE, BETWEEN and sorting look up without naming them.
_IMPLICIT_OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


class Code:
    """The judgement on one statement's names.

    Attributes:
        effect: the worst of everything named.
        reason: why the answer cannot be cached; NONE if nothing speaks against it.
        flags: what harmless functions do to their session.
        relations: the relations that the text names for reading, resolved.
        nodes: what it reaches, see `policy.reach`.
        reads, writes: granules that it reaches, once that has been followed.
        settings: names of settings that its result depends on, see `Plan`.
        asks: its result depends on such a setting, or on who or where the session is.
        causes: effect, reason and what it is, for all that is not safe in the text itself.
    """

    __slots__ = (
        "asks",
        "bodies",
        "causes",
        "commits",
        "effect",
        "flags",
        "mixes",
        "nodes",
        "reads",
        "reason",
        "relations",
        "settings",
        "unknown",
        "writes",
    )

    def __init__(self) -> None:
        self.effect = Effect.SAFE
        self.reason = Reason.NONE
        self.flags: int = Flag.NONE
        self.relations: list[Relation] = []
        self.nodes: list[Node] = []
        self.reads: frozenset[int] = frozenset()
        self.writes: frozenset[int] = frozenset()
        self.commits = False
        self.settings: frozenset[str] = frozenset()
        self.asks = False
        self.bodies = self.mixes = False
        self.unknown = False  # a name in the text is not in the catalog
        self.causes: list[tuple[Effect, Reason, object]] = []

    def add(self, effect: Effect, reason: Reason, what: object = None) -> None:
        """Count one more name; the first reason stays, unless what comes is opaque.

        Args:
            what: the name or the construct, for explanations.
        """
        if effect > self.effect:
            self.effect = effect
        if self.reason is Reason.NONE:
            self.reason = reason
        if what is not None:
            self.causes.append((effect, reason, what))

    def reaches(self, reached: Reached) -> None:
        """Count all that is behind the names."""
        if reached.effect is not Effect.SAFE:
            self.add(reached.effect, reached.reason)
        self.flags = both_flags(self.flags, reached.flags)
        self.settings |= reached.settings
        self.asks = self.asks or reached.asks
        self.reads |= reached.reads
        self.writes |= reached.writes
        self.commits = self.commits or reached.commits
        self.bodies = self.bodies or reached.bodies
        self.mixes = self.mixes or reached.mixes


def judge(facts: Facts, reach: Reach | None, path: Path) -> Code:
    """Resolve the names of a query or DML statement, follow and judge them."""
    code = Code() if reach is None else reach.judged(Code())
    judge_names(facts, reach, path, code)
    if reach is not None and code.nodes:
        code.reaches(reach.of(code.nodes))
    return code


def judge_names(
    facts: Facts,
    reach: Reach | None,
    path: Path,
    code: Code,
    transitions: frozenset[str] | None = None,
) -> None:
    """Judge what the names say by themselves, and add what they reach to `code.nodes`.

    Args:
        transitions: names of transition tables; given where the statement is inside of
            a body.
    """
    if facts.unknown:
        code.add(Effect.OPAQUE, Reason.UNSUPPORTED_SYNTAX, facts.unknown)
    if reach is None:
        _judge_blindly(facts, code)
        return
    catalog = reach.catalog
    if catalog.opaque_types:
        code.add(Effect.OPAQUE, Reason.OPAQUE_TYPES, "casts and operator classes")
    _judge_relations(facts, catalog, path, code, transitions)
    _judge_syntax(facts, path, code)
    for call in facts.calls:
        _judge_call(call, reach, path, code)
    ambiguous = None if transitions is None else _ambiguous(facts, catalog, path)
    if ambiguous is not None:
        code.add(Effect.HARMLESS, Reason.AMBIGUOUS_NAME, f'"{ambiguous}" in its body')
    _judge_zones(facts, catalog, code)
    if catalog.row_functions:
        for name in facts.dotted:
            for function in catalog.find_row_functions(name, path):
                _add_function(function, path, code, Name(None, name))
    if catalog.operators:
        _judge_operators(facts, catalog, path, code)
    for type_name in facts.types:
        label = _type_label(type_name, catalog, path)
        if label.effect is not Effect.SAFE:
            code.add(label.effect, Reason.UNKNOWN_TYPE, type_name)
    if facts.casts:
        _judge_casts(facts, catalog, path, code)


def _ambiguous(facts: Facts, catalog: CatalogSnapshot, path: Path) -> str | None:
    """A name in a body that could mean several things; None if there is none.

    The session keeps the plan that it made for a body, and what was made later, in front
    or with better fitting arguments, does not end it.
    """
    for schema, name in facts.relations:
        found = catalog.find_relations(schema, name, path)
        if sum(not relation.temporary for relation in found) > 1:
            return name
    for call in facts.calls:
        found_functions = _overloads(call, call.function.name, catalog, path)
        if len(found_functions) > 1 and any(function.oid for function in found_functions):
            return call.function.name
    # A compiled body keeps its types when the search_path changes.
    for schema, name in facts.types:
        if schema is None and catalog.count_types(name, None) > 1:
            return name
    return None


def judge_calls(facts: Facts, reach: Reach, path: Path) -> Code:
    """Judge only the functions that a DDL statement names in its expressions."""
    code = reach.judged(Code())
    for call in facts.calls:
        _judge_call(call, reach, path, code)
    code.reaches(reach.of(code.nodes))
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
        _add_call(call, label, None, code)


def _judge_syntax(facts: Facts, path: Path, code: Code) -> None:
    """What the text alone keeps from being cached."""
    if facts.locking:
        code.add(Effect.HARMLESS, Reason.LOCKING_CLAUSE, "the locking clause")
        code.flags |= Flag.LOCKS
    if facts.sampling:
        code.add(Effect.HARMLESS, Reason.TABLESAMPLE, "TABLESAMPLE")
    if facts.system_column:
        code.add(Effect.HARMLESS, Reason.SYSTEM_COLUMN, "a system column")
    if facts.value_function is not Reason.NONE:
        code.add(Effect.HARMLESS, facts.value_function, "CURRENT_TIMESTAMP or the like")
    if facts.asks:
        code.asks = True
        if "current_schema" in facts.asks and not schema_is_told(path):
            code.add(Effect.HARMLESS, Reason.SESSION_FUNCTION, "CURRENT_SCHEMA")
    if facts.clock_literal:
        code.add(Effect.HARMLESS, Reason.CLOCK_LITERAL, "a string literal")
    if facts.time_zoned:
        code.add(Effect.HARMLESS, Reason.CLOCK, "AT TIME ZONE")
    if facts.unsupported:
        code.add(Effect.HARMLESS, Reason.UNSUPPORTED_SYNTAX, facts.unsupported)


# time, timetz and their arrays: `AT TIME ZONE` takes a time for one of today.
_TIMES_OF_DAY = frozenset((1083, 1183, 1266, 1270))
_TIME_NAMES = frozenset(("time", "timetz", "make_time"))


def _judge_zones(facts: Facts, catalog: CatalogSnapshot, code: Code) -> None:
    """`AT TIME ZONE` reads the clock where it may meet a time of day (K5)."""
    named = {call.function.name for call in facts.calls}
    if "timezone" not in named:
        return
    if not named.isdisjoint(_TIME_NAMES) or any(name in _TIME_NAMES for _, name in facts.types):
        code.add(Effect.HARMLESS, Reason.CLOCK, "AT TIME ZONE")
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
            code.add(Effect.HARMLESS, Reason.CLOCK, "AT TIME ZONE")
            return
    for node in code.nodes:
        routine = catalog.routines.get(node.oid) if node.kind == "f" else None
        if routine is not None and routine.result not in PLAIN_RESULTS:
            code.add(Effect.HARMLESS, Reason.CLOCK, "AT TIME ZONE")
            return


# Built-in types, and their arrays, that are neither read from text with the clock in
# hand nor a time of day. Beyond: void, trigger.
PLAIN_RESULTS = frozenset(
    (16, 17, 18, 19, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1186, 1700, 2278, 2279, 2950, 3802)
    + (199, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1021, 1022, 1187, 1231)
    + (2951, 3807)
)


def _judge_relations(
    facts: Facts,
    catalog: CatalogSnapshot,
    path: Path,
    code: Code,
    transitions: frozenset[str] | None,
) -> None:
    for schema, name in facts.relations:
        found = catalog.find_relations(schema, name, path)
        if not found and (schema is not None or name not in (transitions or ())):
            code.add(Effect.OPAQUE, Reason.UNKNOWN_RELATION, Name(schema, name))
            code.unknown = True
        for relation in found:
            if transitions is not None and relation.temporary:
                # Somebody's. A session that owns any is not answered from memory (K4).
                continue
            code.relations.append(relation)
            code.nodes.append(Node("r", relation.oid, path))


def _judge_call(call: Call, reach: Reach, path: Path, code: Code) -> None:
    catalog = reach.catalog
    schema, name = call.function
    found = _overloads(call, name, catalog, path)
    if not found and schema == "pg_catalog" and name in _OLDER_NAMES:
        found = _overloads(call, _OLDER_NAMES[name], catalog, path)
    if not found:
        # `type(x)` is a cast, judged with the casts. A keyword is no call at all on a
        # server that knows it.
        if call.keyword or (call.args == 1 and catalog.find_type(schema, name, path)):
            return
        _add_call(call, OPAQUE, reach, code)
        code.unknown = True
    worst = SAFE
    for function in found:
        if function.oid:
            _add_function(function, path, code, call.function)
        elif _heavier(function.label, worst):
            worst = function.label
    if catalog.opaque_domains and name in POPULATING:
        worst = OPAQUE
    if worst.asks and name == "current_schema" and not schema_is_told(path):
        code.add(Effect.HARMLESS, Reason.SESSION_FUNCTION, call)
    _add_call(call, worst, reach, code)


def _overloads(call: Call, name: str, catalog: CatalogSnapshot, path: Path) -> list[Function]:
    """The functions that fit a call, whatever the types of its arguments."""
    return [
        function
        for function in catalog.find_functions(call.function.schema, name, path)
        if call.args < 0
        or function.most < 0
        or function.least <= call.args <= function.most
        or call.variadic
    ]


def _add_function(function: Function, path: Path, code: Code, name: Name) -> None:
    if function.oid and function.label.effect is not Effect.SAFE:
        code.nodes.append(Node("f", function.oid, path))
    elif not function.oid and function.label.effect is not Effect.SAFE:
        code.add(function.label.effect, Reason.UNKNOWN_FUNCTION, Call(name, -1))


def _heavier(one: Label, other: Label) -> bool:
    return one.effect > other.effect or (one.effect == other.effect and one[2:] > other[2:])


def _add_call(call: Call, label: Label, reach: Reach | None, code: Code) -> None:
    code.asks = code.asks or label.asks
    if label.names and reach is not None and call.literal is not None:
        code.reaches(read_settings((plain(call.literal),), reach.catalog))
    elif label.effect is not Effect.SAFE:
        code.add(label.effect, label.reason, call)
    if label.locks:
        code.flags |= Flag.LOCKS
    if label.settings:
        catalog, watched = (None, None) if reach is None else (reach.catalog, reach.watched)
        code.flags = both_flags(code.flags, setting_flags(call.literal, catalog, watched))


def setting_flags(
    name: str | None, catalog: CatalogSnapshot | None, watched: frozenset[str] | None
) -> int:
    """What changing a setting can do to a session.

    Args:
        name: `None` for one that is not known.
        watched: names of those that are in the key because something asks for them; `None`
            if that is not known.
    """
    if name is None:
        return Flag.SETTINGS | Flag.PATH
    name = plain(name)
    if name in HARMLESS_SETTINGS or is_custom(name, catalog):
        unread = watched is not None and name not in watched
        return Flag.NONE if unread else Flag.SETTINGS | Flag.CUSTOM
    if name in PATH_SETTINGS:
        return Flag.SETTINGS | Flag.PATH
    if name == "transaction_isolation":
        return Flag.SETTINGS | Flag.ISOLATION
    return Flag.SETTINGS


def _judge_operators(facts: Facts, catalog: CatalogSnapshot, path: Path, code: Code) -> None:
    names = [*facts.operators, *(Name(None, name) for name in _IMPLICIT_OPERATORS)]
    for schema, name in names:
        code.nodes += [Node("f", oid, path) for oid in catalog.find_operators(schema, name, path)]


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
            code.add(found.label.effect, Reason.UNKNOWN_TYPE, Name(schema, name))
        if found.zoned or (
            found.clock
            and shape is not None
            and not _sure(shape, facts, catalog, code.relations, set())
        ):
            code.add(Effect.HARMLESS, Reason.CLOCK_CAST, Name(schema, name))


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


__all__ = ["PATH_SETTINGS", "Code", "judge", "judge_calls", "judge_names", "setting_flags"]
