"""From catalog rows to a snapshot: every judgement that names do not need.

What lives here: the labels of functions, types and operators, and the flags of
relations. What must not: queries and I/O, so that tests can build a catalog
from a few rows. In doubt a thing is refused for reads and opaque for
writes (K5, F9).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from proxy.catalog.builtins import (
    AUDITED_SQL_EXTENSIONS,
    CLOCK_TYPES,
    POPULATING,
    SAFE_TYPES,
    SURE_TYPES,
    ZONED_TYPES,
    builtin_label,
    extension_label,
)
from proxy.catalog.libraries import reserved
from proxy.catalog.rows import (
    ExpressionRow,
    FunctionRow,
    RelationRow,
    Rows,
    TriggerRow,
    TypeRow,
    fingerprint,
)
from proxy.catalog.snapshot import (
    OPAQUE,
    SAFE,
    CatalogSnapshot,
    Effect,
    ForeignKey,
    Function,
    Label,
    Relation,
    Routine,
    Tree,
    Trigger,
    Type,
)
from proxy.catalog.trees import tree_of
from proxy.reasons import Reason

FIRST_USER_OID = 16384
T = TypeVar("T")
_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast")
_RECORD = 2249
_VOLATILITIES = ("", "i", "s", "v")
_UNKNOWN_TYPE = Label(Effect.HARMLESS, Reason.UNKNOWN_TYPE)
_OPAQUE_TYPE = Label(Effect.OPAQUE, Reason.UNKNOWN_TYPE)
_SYSTEM_FUNCTION = Label(Effect.HARMLESS, Reason.SYSTEM_CATALOG)


@dataclass(frozen=True, slots=True)
class Judged:
    """Verdicts to be used again: OID -> (what they rest on, the verdict).

    `ground` is what all of them rest on.
    """

    ground: object
    relations: dict[int, tuple[object, Relation]]
    routines: dict[int, tuple[object, Routine]]


def build(rows: Rows) -> CatalogSnapshot:
    """Judge the rows of one database."""
    return judge(rows, None)[0]


def judge(rows: Rows, before: Judged | None) -> tuple[CatalogSnapshot, Judged]:
    """Judge the rows of one database; what rests on equal rows as `before` is taken over."""
    builder = _Builder(rows, before)
    snapshot = builder.snapshot()
    return snapshot, Judged(builder.ground, builder.judged_relations, builder.judged_routines)


class _Builder:
    def __init__(self, rows: Rows, before: Judged | None) -> None:
        self.rows = rows
        self.before = before
        self.ground: object = None
        self.judged_relations: dict[int, tuple[object, Relation]] = {}
        self.judged_routines: dict[int, tuple[object, Routine]] = {}
        self.by_oid: dict[int, Label] = {}
        self.function_names: dict[int, str] = {}
        self.expressions: dict[tuple[int, str], ExpressionRow] = {
            (row.owner, row.purpose): row for row in rows.expressions
        }
        self.types: dict[int, TypeRow] = {row.oid: row for row in rows.types}
        self.volatilities = {row.oid: row.volatility for row in rows.functions}
        self.bad_domains: set[int] = set()
        self.unsafe_domains: set[int] = set()
        self.opaque_domains = False
        self.zoned_rows = False  # a composite type, or the row of a table, may hold a timetz

    def snapshot(self) -> CatalogSnapshot:
        rows = self.rows
        functions = self._functions()
        self._domains()
        self.ground = self._ground()
        if self.before is not None and self.before.ground != self.ground:
            self.before = None
        types, sure = self._types()
        relations, by_oid = self._relations()
        database, event_triggers, login_triggers = rows.database
        opaque = [row for row in rows.functions if self.by_oid[row.oid].effect is Effect.OPAQUE]
        indexes = [row for row in rows.expressions if row.purpose in "ip"]
        prefixes, unknown_libraries = reserved(rows.libraries)
        return CatalogSnapshot(
            database_oid=database,
            fingerprint=fingerprint(rows),
            login_triggers=login_triggers,
            event_triggers=event_triggers,
            opaque_types=self._opaque_types(),
            opaque_domains=self.opaque_domains,
            opaque_indexes=any(self._populates_badly(row) for row in indexes),
            indexed=tuple(sorted({oid for row in indexes for oid in row.functions})),
            deferred_triggers=any(row.deferrable for row in rows.triggers),
            other_writers=any(row.language not in _ANALYSED and row.kind != "a" for row in opaque),
            opaque_functions=bool(opaque),
            dynamic_functions=any(
                row.dynamic or row.language not in (*_ANALYSED, "internal")
                for row in opaque
                if row.kind != "a"  # an aggregate does what its functions do
            ),
            relations=relations,
            by_oid=by_oid,
            functions=functions,
            routines=self._routines(),
            row_functions=_row_functions(functions),
            operators=self._operators(),
            code=rows.code,
            roles=rows.roles,
            moment=rows.moment,
            types=types,
            sure_types=sure,
            foreign_keys=_grouped((row[0], ForeignKey(*row[1:])) for row in rows.foreign_keys),
            descendants=_grouped(rows.inherits),
            keys=_grouped((oid, frozenset(names)) for oid, names in rows.keys),
            equal_texts=rows.equal_texts,
            reserved=prefixes,
            unknown_libraries=unknown_libraries,
        )

    def _ground(self) -> object:
        """Types, what their domains check, and verdicts on the functions that they use."""
        checks = [row for row in self.rows.expressions if row.purpose == "t"]
        used = {oid for row in checks for oid in row.functions}
        for row in self.rows.types:
            if row.oid >= FIRST_USER_OID:
                used.update(row.functions)
        labels = [(oid, self._label(oid)) for oid in sorted(used)]
        used = {oid for row in self.rows.relations if row.types for oid in row.types}
        self.zoned_rows = any(
            _is_zoned(root) for oid in used for root in self._roots(self.types.get(oid))
        )
        return self.rows.types, checks, labels, self.function_names, self.zoned_rows

    # Functions and operators.

    def _functions(self) -> dict[str, dict[str, tuple[Function, ...]]]:
        found: dict[str, dict[str, list[Function]]] = {}
        for oid, name, volatility, arguments, zoned in self.rows.builtin_oids:
            label = builtin_label(name, volatility, arguments, arguments)
            if zoned and label.effect is Effect.SAFE and name == "timezone":
                label = Label(Effect.HARMLESS, Reason.CLOCK)  # it takes a time for one of today
            self.by_oid[oid] = label
            self.function_names[oid] = name
        for built in self.rows.builtins:
            if built.schema == "pg_catalog":
                letter = _VOLATILITIES[built.volatility]
                label = builtin_label(built.name, letter, built.least, built.most)
            else:
                label = _SYSTEM_FUNCTION
            here = found.setdefault(built.schema, {}).setdefault(built.name, [])
            here.append(Function(built.least, built.most, label, built.row))
        for row in self.rows.functions:
            self.by_oid[row.oid] = _function_label(row)
        for row in self.rows.functions:
            label = self.by_oid[row.oid]
            if row.kind == "a":
                label = self._aggregate_label(row)
                self.by_oid[row.oid] = label
            here = found.setdefault(row.schema, {}).setdefault(row.name, [])
            here.append(Function(row.least, row.most, label, row.row, row.oid))
        return {
            schema: {name: tuple(candidates) for name, candidates in names.items()}
            for schema, names in found.items()
        }

    def _aggregate_label(self, row: FunctionRow) -> Label:
        """An aggregate is what its support functions are; its own row says nothing."""
        worst = SAFE
        for oid in row.support:
            if oid:
                label = self._label(oid)
                if label.effect > worst.effect:
                    worst = label
        return worst

    def _label(self, oid: int) -> Label:
        """The verdict on a function by OID. Built-in ones are always among the rows."""
        return self.by_oid.get(oid, OPAQUE)

    def _routines(self) -> dict[int, Routine]:
        """All functions by OID: those of users, and built-in ones that something uses."""
        found = {
            oid: Routine(f"pg_catalog.{self.function_names[oid]}", self.by_oid[oid])
            for oid in self.function_names
        }
        transitions: dict[int, set[str]] = {}
        for trigger in self.rows.triggers:
            transitions.setdefault(trigger.function, set()).update(trigger.transitions)
        before = self.before.routines if self.before is not None else {}
        for row in self.rows.functions:
            names = frozenset(transitions.get(row.oid, ()))
            rests = (
                row,
                self.by_oid[row.oid],
                names,
                self.expressions.get((row.oid, "a")),
                self.expressions.get((row.oid, "b")),
            )
            known = before.get(row.oid)
            if known is None or known[0] != rests:
                known = rests, self._routine(row, names)
            self.judged_routines[row.oid] = known
            found[row.oid] = known[1]
        return found

    def _routine(self, row: FunctionRow, transitions: frozenset[str]) -> Routine:
        label = self.by_oid[row.oid]
        bodied = row.language in _ANALYSED and label.effect is Effect.OPAQUE
        path, config = _config(row.config)
        if row.definer and "search_path" not in config:
            config += ("search_path",)  # "$user" and privileges are those of its owner
        return Routine(
            name=f"{row.schema}.{row.name}",
            label=label,
            kind=row.kind,
            volatility=row.volatility,
            language=row.language if bodied and row.kind != "a" else "",
            source=row.source,
            arguments=_arguments(row),
            returns=row.returns,
            result=row.result,
            conversions=self._conversions(row),
            path=path,
            inherits="search_path" not in config,
            config=config,
            support=tuple(oid for oid in row.support if oid),
            defaults=self._tree(row.oid, "a"),
            body=self._tree(row.oid, "b"),
            transitions=transitions,
        )

    def _conversions(self, row: FunctionRow) -> Label:
        """What converting arguments and results to domains may run."""
        worst = SAFE
        for oid in (row.result, *row.all_types):
            roots = self._roots(self.types.get(oid))
            composite = oid == _RECORD or (oid and oid not in self.types)
            if (composite and self.zoned_rows) or any(map(_is_zoned, roots)):
                # A time becomes one with a zone by looking at the clock.
                label = Label(Effect.HARMLESS, Reason.CLOCK)
            else:
                label = self._domain_label(oid) if self.unsafe_domains else SAFE
            if label.effect > worst.effect:
                worst = label
        return worst

    def _domain_label(self, oid: int, depth: int = 0) -> Label:
        """The worst check of the domains that a type is, or contains."""
        row = self.types.get(oid)
        if depth > 32 or (row is None and oid):
            # A composite type, perhaps with such a field.
            return _OPAQUE_TYPE if self.bad_domains else _UNKNOWN_TYPE
        if row is None:
            return SAFE
        if oid in self.bad_domains:
            return _OPAQUE_TYPE
        if oid in self.unsafe_domains:
            return _UNKNOWN_TYPE
        inner = row.base or row.element or row.subtype
        return self._domain_label(inner, depth + 1) if inner else SAFE

    def _tree(self, owner: int, purpose: str) -> Tree | None:
        row = self.expressions.get((owner, purpose))
        if row is None:
            return None
        tree = tree_of(row, self._text_reason, self._populates_badly(row))
        if row.domains and self.unsafe_domains and tree.reason is Reason.NONE:
            return tree._replace(reason=Reason.UNKNOWN_TYPE)
        return tree

    def _text_reason(self, oid: int) -> Reason:
        """Why reading text as this type, in a stored expression, keeps from being cached."""
        row = self.types.get(oid)
        if row is None:
            return Reason.UNKNOWN_TYPE
        label = self._type_label(row)
        if label.effect is not Effect.SAFE:
            return label.reason
        roots = self._roots(row)
        if not roots or any(root.name in CLOCK_TYPES for root in roots if _built_in(root)):
            return Reason.CLOCK_CAST
        return Reason.NONE

    def _operators(self) -> dict[str, dict[str, tuple[int, ...]]]:
        found: dict[str, dict[str, tuple[int, ...]]] = {}
        for schema, name, function in self.rows.operators:
            if self._label(function).effect is not Effect.SAFE:
                here = found.setdefault(schema, {})
                here[name] = (*here.get(name, ()), function)
        return found

    def _populates_badly(self, row: ExpressionRow) -> bool:
        """Whether the checks of domains, which cannot be seen through, may run."""
        if not self.opaque_domains:
            return False
        return row.domains or any(
            self.function_names.get(oid) in POPULATING for oid in row.functions
        )

    # Types.

    def _domains(self) -> None:
        checks = [row for row in self.rows.expressions if row.purpose == "t"]
        for row in checks:
            effects = [self._label(oid).effect for oid in row.functions]
            if any(effect is Effect.OPAQUE for effect in effects):
                self.bad_domains.add(row.owner)
            # CURRENT_DATE and CURRENT_USER are no functions there.
            asks = "SQLVALUEFUNCTION" in row.nodes
            asks = asks or any(self._label(oid).asks for oid in row.functions)
            if asks or any(effect is not Effect.SAFE for effect in effects):
                self.unsafe_domains.add(row.owner)
        self.opaque_domains = bool(self.bad_domains)

    def _opaque_types(self) -> bool:
        """Whether casts, or what sorting and indexes call, are not immutable and compiled."""
        if any(self._label(oid).effect is not Effect.SAFE for oid in self.rows.casts):
            return True
        languages = {row.oid: row.language for row in self.rows.functions}
        used = list(self.rows.index_support)
        for row in self.rows.types:
            if row.oid >= FIRST_USER_OID:
                used += row.functions
        return any(languages.get(oid, "c") not in ("c", "internal") for oid in used)

    def _types(self) -> tuple[dict[str, dict[str, Type]], frozenset[int]]:
        named: dict[str, dict[str, Type]] = {}
        sure = set()
        for row in self.rows.types:
            roots = self._roots(row)
            clock = any(root.name in CLOCK_TYPES for root in roots if _built_in(root))
            zoned = any(root.name in ZONED_TYPES for root in roots if _built_in(root))
            named.setdefault(row.schema, {})[row.name] = Type(
                row.oid, self._type_label(row), clock, zoned
            )
            if roots and all(_built_in(root) and root.name in SURE_TYPES for root in roots):
                sure.add(row.oid)
        return named, frozenset(sure)

    def _roots(self, row: TypeRow | None, depth: int = 0) -> list[TypeRow]:
        """The base types that a domain, array or range is made of, or the type itself."""
        while row is not None and depth < 32:
            inner = row.base or row.element or (row.subtype if not _built_in(row) else 0)
            if not inner:
                return [row]
            row = self.types.get(inner)
            depth += 1
        return []

    def _type_label(self, row: TypeRow, depth: int = 0) -> Label:
        """The verdict on reading text as this type."""
        if depth > 32:
            return _OPAQUE_TYPE
        if row.element:
            element = self.types.get(row.element)
            return self._type_label(element, depth + 1) if element else _OPAQUE_TYPE
        if row.kind == "d":
            base = self.types.get(row.base)
            if base is None or row.oid in self.bad_domains:
                return _OPAQUE_TYPE
            label = self._type_label(base, depth + 1)
            if label.effect is Effect.SAFE and row.oid in self.unsafe_domains:
                return _UNKNOWN_TYPE
            return label
        if _built_in(row):
            return SAFE if row.name in SAFE_TYPES else _UNKNOWN_TYPE
        if row.kind == "e":
            return SAFE
        if row.kind in ("r", "m"):
            subtype = self.types.get(row.subtype)
            return self._type_label(subtype, depth + 1) if subtype else _UNKNOWN_TYPE
        if row.kind != "b":
            return _UNKNOWN_TYPE
        return SAFE if self._plain_input(row) else _UNKNOWN_TYPE

    def _plain_input(self, row: TypeRow) -> bool:
        """Reading text must be immutable; writing it may depend on settings, as core's does."""
        reading, *others = row.functions or (0,)
        if reading and self._label(reading).effect is not Effect.SAFE:
            return False
        return all(self.volatilities.get(oid, "i") != "v" for oid in others)

    def _column_refusal(self, oid: int) -> Reason:
        """Why a column of this type keeps its table from being cached."""
        roots = self._roots(self.types.get(oid))
        if not roots:
            return Reason.UNKNOWN_TYPE  # a composite type, or one that is not known
        for root in roots:
            if _built_in(root) and root.name in ZONED_TYPES:
                return Reason.CLOCK
            if self._type_label(root).effect is not Effect.SAFE:
                return Reason.UNKNOWN_TYPE
        return Reason.NONE

    def _opaque_column(self, oid: int) -> bool:
        """Tell whether storing a value of this type may run code that is not known."""
        row = self.types.get(oid)
        return row is None or self._type_label(row).effect is Effect.OPAQUE or not self._roots(row)

    # Relations.

    def _relations(self) -> tuple[dict[str, dict[str, Relation]], dict[int, Relation]]:
        rows = self.rows
        temporary = {row.oid for row in rows.relations if row.persistence == "t"}
        # The fingerprint leaves temporary relations out, so they may not decide anything.
        roots = _families(pair for pair in rows.inherits if temporary.isdisjoint(pair))
        triggers = _grouped((row.relation, _trigger(row)) for row in rows.triggers)
        runs = self._runs()
        refusals: dict[int, Reason] = {}
        opaque_types: dict[int, bool] = {}
        named: dict[str, dict[str, Relation]] = {}
        by_oid: dict[int, Relation] = {}
        before = self.before.relations if self.before is not None else {}
        for row in rows.relations:
            oid = row.oid
            rests = (
                row,
                roots.get(oid, 0),
                runs.get(oid, ()),
                triggers.get(oid, ()),
                tuple(self.expressions.get((oid, purpose)) for purpose in "v234rcdipw"),
            )
            known = before.get(oid)
            if known is None or known[0] != rests:
                for column in row.types or ():
                    if column not in refusals:
                        refusals[column] = self._column_refusal(column)
                        opaque_types[column] = self._opaque_column(column)
                known = rests, self._relation(row, rests[1:4], refusals, opaque_types)
            self.judged_relations[oid] = known
            named.setdefault(row.schema, {})[row.name] = by_oid[oid] = known[1]
        return named, by_oid

    def _relation(
        self,
        row: RelationRow,
        around: tuple[int, tuple[int, ...], tuple[Trigger, ...]],
        refusals: dict[int, Reason],
        opaque_types: dict[int, bool],
    ) -> Relation:
        types = row.types or ()
        system = row.oid < FIRST_USER_OID and row.schema in _SYSTEM_SCHEMAS
        root, runs, triggers = around
        return Relation(
            oid=row.oid,
            schema=row.schema,
            name=row.name,
            kind=row.kind,
            columns=dict(zip(row.columns or (), types, strict=True)),
            refusal=_refusal(row, system, [refusals[oid] for oid in types]),
            opaque_read=not system and any(self._reads_opaquely(oid) for oid in types),
            opaque_write=system
            or row.kind not in _WRITABLE
            or any(
                self._populates_badly(expression)
                for purpose in "dipw"
                if (expression := self.expressions.get((row.oid, purpose))) is not None
            )
            or any(opaque_types[oid] for oid in types),
            temporary=row.persistence == "t",
            root=root,
            tree=self._view(row.oid),
            rules=tuple(
                (event, tree)
                for event, purpose in (("u", "2"), ("i", "3"), ("d", "4"))
                if (tree := self._tree(row.oid, purpose)) is not None
            ),
            policies=self._tree(row.oid, "r") if row.row_security else None,
            checks=self._tree(row.oid, "c") if row.row_security else None,
            runs=runs,
            triggers=triggers,
        )

    def _view(self, oid: int) -> Tree | None:
        """The query of a view; older versions name the view itself in it."""
        tree = self._tree(oid, "v")
        if tree is None:
            return None
        return tree._replace(relations=tuple(used for used in tree.relations if used != oid))

    def _runs(self) -> dict[int, tuple[int, ...]]:
        """Table -> functions of its defaults, checks, indexes, keys and WHEN conditions."""
        children = _grouped(self.rows.inherits)
        found: dict[int, set[int]] = {}
        for row in self.rows.expressions:
            if row.purpose in "dipw":
                owners = {row.owner}
                if row.purpose == "p":
                    owners |= _below(row.owner, children)
                for owner in owners:
                    found.setdefault(owner, set()).update(row.functions)
        return {owner: tuple(sorted(functions)) for owner, functions in found.items()}

    def _reads_opaquely(self, oid: int) -> bool:
        """Whether a literal that meets a column of this type may run code (K5).

        It is read as the column's type: an array of, or a range over, a domain runs the
        domain's check for its elements. Of a plain domain the base type is meant.
        """
        row = self.types.get(oid)
        if not self.opaque_domains or row is None or row.kind == "d":
            return False
        return self._type_label(row).effect is Effect.OPAQUE


def _function_label(row: FunctionRow) -> Label:
    """Judge a function of a user or an extension by its row alone."""
    if row.language not in ("c", "internal"):
        audited = row.language == "sql" and row.extension in AUDITED_SQL_EXTENSIONS
        return SAFE if audited and row.volatility == "i" else OPAQUE
    label = extension_label(row.extension, row.name, row.volatility)
    if label.effect is Effect.SAFE and not row.constant_defaults:
        return OPAQUE
    return label


def _row_functions(
    functions: dict[str, dict[str, tuple[Function, ...]]],
) -> dict[str, dict[str, tuple[Function, ...]]]:
    found: dict[str, dict[str, tuple[Function, ...]]] = {}
    for schema, names in functions.items():
        for name, candidates in names.items():
            unsure = tuple(
                function
                for function in candidates
                if function.row and function.label.effect is not Effect.SAFE
            )
            if unsure:
                found.setdefault(schema, {})[name] = unsure
    return found


def _arguments(row: FunctionRow) -> tuple[tuple[str, str, str], ...]:
    types = row.types
    modes = row.modes or ("i",) * len(types)
    names = row.names or ("",) * len(types)
    return tuple(zip(modes, names, types, strict=False))


def _config(config: tuple[str, ...]) -> tuple[frozenset[str] | None, tuple[str, ...]]:
    """The schemas of a SET search_path, None where they cannot be told, and all names."""
    path: frozenset[str] | None = None
    names = []
    for item in config:
        name, _, value = item.partition("=")
        names.append(name)
        if name == "search_path":
            path = _schemas(value)
    return path, tuple(names)


def _schemas(value: str) -> frozenset[str] | None:
    found = {"pg_catalog"}
    for part in value.split(","):
        part = part.strip()
        if part.startswith('"') and part.endswith('"') and len(part) > 1:
            part = part[1:-1]
            if not part:
                continue
        elif part != part.lower():
            return None
        if '"' in part or part == "$user":
            return None
        if part:
            found.add(part)
    return frozenset(found)


_EVENT_BITS = (("i", 4), ("d", 8), ("u", 16), ("t", 32))


def _trigger(row: TriggerRow) -> Trigger:
    events = "".join(letter for letter, bit in _EVENT_BITS if row.type & bit)
    return Trigger(row.function, events, row.deferrable, row.name)


def _families(inherits: Iterable[tuple[int, int]]) -> dict[int, int]:
    """OID -> the smallest OID of all that inheritance and partitioning relate it to."""
    root: dict[int, int] = {}

    def find(oid: int) -> int:
        while root.setdefault(oid, oid) != oid:
            root[oid] = root[root[oid]]
            oid = root[oid]
        return oid

    for parent, child in inherits:
        one, other = find(parent), find(child)
        root[max(one, other)] = min(one, other)
    return {oid: find(oid) for oid in root}


def _refusal(row: RelationRow, system: bool, columns: Iterable[Reason]) -> Reason:
    """The first reason of its own why a relation is not cached."""
    if system:
        return Reason.SYSTEM_CATALOG
    by_kind = _KIND_REFUSALS.get(row.kind)
    if by_kind is not None:
        return by_kind
    if row.persistence != "p":
        return Reason.TEMPORARY if row.persistence == "t" else Reason.UNLOGGED
    return next((reason for reason in columns if reason is not Reason.NONE), Reason.NONE)


_KIND_REFUSALS = {
    "f": Reason.FOREIGN_TABLE,
    "S": Reason.SEQUENCE,
    "c": Reason.UNKNOWN_RELATION,
}
_WRITABLE = ("r", "p", "v", "m")
_ANALYSED = ("sql", "plpgsql")


def _built_in(row: TypeRow) -> bool:
    return row.oid < FIRST_USER_OID and row.schema == "pg_catalog"


def _is_zoned(row: TypeRow) -> bool:
    return _built_in(row) and row.name in ZONED_TYPES


def _grouped(pairs: Iterable[tuple[int, T]]) -> dict[int, tuple[T, ...]]:
    found: dict[int, list[T]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in found.items()}


def _below(oid: int, children: dict[int, tuple[int, ...]]) -> set[int]:
    found: set[int] = set()
    pending = [oid]
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in found:
                found.add(child)
                pending.append(child)
    return found
