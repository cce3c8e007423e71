"""From catalog rows to a snapshot: every judgement that names do not need.

What lives here: the labels of functions, types and operators, and the flags of
relations. What must not: queries and I/O, so that tests can build a catalog
from a few rows. In doubt a thing is refused for reads and opaque for
writes (K5, F9).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from proxy.catalog.builtins import (
    AUDITED_SQL_EXTENSIONS,
    CLOCK_TYPES,
    HARMLESS_TRIGGERS,
    POPULATING,
    SAFE_TYPES,
    SURE_TYPES,
    ZONED_TYPES,
    builtin_label,
    extension_label,
)
from proxy.catalog.rows import ExpressionRow, FunctionRow, RelationRow, Rows, TypeRow, fingerprint
from proxy.catalog.snapshot import (
    OPAQUE,
    SAFE,
    CatalogSnapshot,
    Effect,
    ForeignKey,
    Function,
    Label,
    Relation,
    Type,
)
from proxy.reasons import Reason

FIRST_USER_OID = 16384
T = TypeVar("T")
_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast")
_VOLATILITIES = ("", "i", "s", "v")
_UNKNOWN_TYPE = Label(Effect.HARMLESS, Reason.UNKNOWN_TYPE)
_OPAQUE_TYPE = Label(Effect.OPAQUE, Reason.UNKNOWN_TYPE)
_SYSTEM_FUNCTION = Label(Effect.HARMLESS, Reason.SYSTEM_CATALOG)


def build(rows: Rows) -> CatalogSnapshot:
    """Judge the rows of one database."""
    return _Builder(rows).snapshot()


class _Builder:
    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.by_oid: dict[int, Label] = {}
        self.function_names: dict[int, str] = {}
        self.types: dict[int, TypeRow] = {row.oid: row for row in rows.types}
        self.volatilities = {row.oid: row.volatility for row in rows.functions}
        self.bad_domains: set[int] = set()
        self.unsafe_domains: set[int] = set()
        self.opaque_domains = False

    def snapshot(self) -> CatalogSnapshot:
        rows = self.rows
        functions = self._functions()
        self._domains()
        types, sure = self._types()
        relations, by_oid = self._relations()
        database, event_triggers, login_triggers = rows.database
        opaque = [row for row in rows.functions if self.by_oid[row.oid].effect is Effect.OPAQUE]
        return CatalogSnapshot(
            database_oid=database,
            fingerprint=fingerprint(rows),
            login_triggers=login_triggers,
            event_triggers=event_triggers,
            opaque_types=self._opaque_types(),
            opaque_domains=self.opaque_domains,
            opaque_indexes=any(
                self._runs_opaque(row) for row in rows.expressions if row.purpose in "ip"
            ),
            opaque_functions=bool(opaque),
            dynamic_functions=any(
                row.dynamic or row.language not in ("sql", "plpgsql", "internal")
                for row in opaque
                if row.kind != "a"  # an aggregate does what its functions do
            ),
            relations=relations,
            by_oid=by_oid,
            functions=functions,
            row_functions=_row_functions(functions),
            operators=self._operators(),
            types=types,
            sure_types=sure,
            foreign_keys=_grouped(
                (parent, ForeignKey(child, update, delete))
                for parent, child, update, delete in rows.foreign_keys
            ),
            descendants=_grouped(rows.inherits),
        )

    # Functions and operators.

    def _functions(self) -> dict[str, dict[str, tuple[Function, ...]]]:
        found: dict[str, dict[str, list[Function]]] = {}
        for oid, name, volatility, arguments in self.rows.builtin_oids:
            self.by_oid[oid] = builtin_label(name, volatility, arguments, arguments)
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
            here.append(Function(row.least, row.most, label, row.row))
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

    def _operators(self) -> dict[str, dict[str, Label]]:
        found: dict[str, dict[str, Label]] = {}
        for schema, name, function in self.rows.operators:
            label = self._label(function)
            if label.effect is Effect.SAFE:
                continue
            here = found.setdefault(schema, {})
            if name not in here or label.effect > here[name].effect:
                here[name] = Label(label.effect, Reason.UNKNOWN_OPERATOR)
        return found

    def _runs_opaque(self, row: ExpressionRow) -> bool:
        if row.domains and self.opaque_domains:
            return True
        for oid in row.functions:
            label = self._label(oid)
            # What changes the session is not seen where it hides in an expression.
            if label.effect is Effect.OPAQUE or label.locks or label.settings:
                return True
            if self.opaque_domains and self.function_names.get(oid) in POPULATING:
                return True
        return False

    # Types.

    def _domains(self) -> None:
        checks = [row for row in self.rows.expressions if row.purpose == "t"]
        for row in checks:
            effects = [self._label(oid).effect for oid in row.functions]
            if any(effect is Effect.OPAQUE for effect in effects):
                self.bad_domains.add(row.owner)
            if any(effect is not Effect.SAFE for effect in effects):
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
        family = {oid for pair in rows.inherits for oid in pair}
        opaque_read = self._opaque_reads()
        opaque_write = self._opaque_writes()
        refusals: dict[int, Reason] = {}
        opaque_types: dict[int, bool] = {}
        named: dict[str, dict[str, Relation]] = {}
        by_oid: dict[int, Relation] = {}
        for row in rows.relations:
            types = row.types or ()
            for oid in types:
                if oid not in refusals:
                    refusals[oid] = self._column_refusal(oid)
                    opaque_types[oid] = self._opaque_column(oid)
            system = row.schema in _SYSTEM_SCHEMAS
            relation = Relation(
                oid=row.oid,
                schema=row.schema,
                name=row.name,
                kind=row.kind,
                columns=dict(zip(row.columns or (), types, strict=True)),
                refusal=_refusal(row, row.oid in family, [refusals[oid] for oid in types]),
                opaque_read=not system
                and (row.oid in opaque_read or any(self._reads_opaquely(oid) for oid in types)),
                opaque_write=system
                or row.kind not in ("r", "p")
                or row.has_rules
                or row.oid in opaque_write
                or (row.row_security and row.oid in opaque_read)
                or any(opaque_types[oid] for oid in types),
                temporary=row.persistence == "t",
            )
            named.setdefault(row.schema, {})[row.name] = relation
            by_oid[row.oid] = relation
        return named, by_oid

    def _reads_opaquely(self, oid: int) -> bool:
        """Whether a literal that meets a column of this type may run code (K5).

        It is read as the column's type: an array of, or a range over, a domain runs the
        domain's check for its elements. Of a plain domain the base type is meant.
        """
        row = self.types.get(oid)
        if not self.opaque_domains or row is None or row.kind == "d":
            return False
        return self._type_label(row).effect is Effect.OPAQUE

    def _opaque_reads(self) -> set[int]:
        """Views and row security that may run opaque code, through other views too."""
        users: dict[int, list[int]] = {}
        opaque = set()
        secured = {row.oid for row in self.rows.relations if row.row_security}
        for row in self.rows.expressions:
            if row.purpose == "v" or (row.purpose == "r" and row.owner in secured):
                if self._runs_opaque(row):
                    opaque.add(row.owner)
                for used in row.relations:
                    users.setdefault(used, []).append(row.owner)
        pending = list(opaque)
        while pending:
            for user in users.get(pending.pop(), ()):
                if user not in opaque:
                    opaque.add(user)
                    pending.append(user)
        return opaque

    def _opaque_writes(self) -> set[int]:
        """Tables whose triggers, defaults, checks, indexes or partition keys are opaque."""
        names = self.function_names
        opaque = {
            table
            for table, function in self.rows.triggers
            if names.get(function) not in HARMLESS_TRIGGERS
            and self._label(function).effect is Effect.OPAQUE
        }
        children = _grouped(self.rows.inherits)
        for row in self.rows.expressions:
            if row.purpose in "dip" and self._runs_opaque(row):
                opaque.add(row.owner)
                if row.purpose == "p":
                    opaque.update(_below(row.owner, children))
        return opaque


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
) -> dict[str, dict[str, Label]]:
    found: dict[str, dict[str, Label]] = {}
    for schema, names in functions.items():
        for name, candidates in names.items():
            labels = [function.label for function in candidates if function.row]
            worst = max(labels, key=lambda label: label.effect, default=SAFE)
            if worst.effect is not Effect.SAFE:
                found.setdefault(schema, {})[name] = worst
    return found


def _refusal(row: RelationRow, in_family: bool, columns: Iterable[Reason]) -> Reason:
    """The first reason why a relation is not cached."""
    if row.schema in _SYSTEM_SCHEMAS:
        return Reason.SYSTEM_CATALOG
    by_kind = _KIND_REFUSALS.get(row.kind)
    if by_kind is not None:
        return by_kind
    if row.persistence != "p":
        return Reason.TEMPORARY if row.persistence == "t" else Reason.UNLOGGED
    if row.kind != "r" or row.is_partition or in_family:
        return Reason.INHERITANCE
    if row.row_security:
        return Reason.ROW_SECURITY
    if row.virtual or row.has_rules:
        return Reason.GENERATED_COLUMN
    return next((reason for reason in columns if reason is not Reason.NONE), Reason.NONE)


_KIND_REFUSALS = {
    "v": Reason.VIEW,
    "m": Reason.MATERIALIZED_VIEW,
    "f": Reason.FOREIGN_TABLE,
    "S": Reason.SEQUENCE,
    "c": Reason.UNKNOWN_RELATION,
}


def _built_in(row: TypeRow) -> bool:
    return row.oid < FIRST_USER_OID and row.schema == "pg_catalog"


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
