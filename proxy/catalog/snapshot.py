"""An immutable picture of one database's schema, as analysis needs it.

What lives here: the frozen types and their look-ups by name. What must not:
queries, classification (`catalog.build`), and expansion of writes
(`catalog.closure`). Names are matched as PostgreSQL stores them; an unqualified
name resolves over a search_path, or over every schema if the path is not known.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.reasons import Reason


class Effect(enum.IntEnum):
    """What running something can do; the larger of two is the effect of both."""

    SAFE = 0  # the result depends on arguments and settings in the key alone (K5)
    HARMLESS = 1  # writes no relation, but its result may differ from call to call
    OPAQUE = 2  # may do anything (F9)


class Label(NamedTuple):
    """The verdict on a function, operator or type.

    `locks`, `settings` and `path` say what a harmless function does to its session.
    """

    effect: Effect
    reason: Reason = Reason.NONE
    locks: bool = False
    settings: bool = False


SAFE = Label(Effect.SAFE)
OPAQUE = Label(Effect.OPAQUE, Reason.UNKNOWN_FUNCTION)


class Function(NamedTuple):
    """Functions of one name that take between `least` and `most` arguments.

    `most` is -1 for VARIADIC. `row` tells whether one of them accepts a whole row,
    so that `a.f` may call it.
    """

    least: int
    most: int
    label: Label
    row: bool = False


@dataclass(frozen=True, slots=True)
class Type:
    """A type by name.

    `label` is about reading text as this type; `clock` marks dates and times and
    what contains them, `zoned` those with time-of-day and zone, whose input,
    casts and comparisons read the clock.
    """

    oid: int
    label: Label = SAFE
    clock: bool = False
    zoned: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation.

    Attributes:
        oid: its OID. kind: relkind. schema, name: where it is.
        columns: names and type OIDs of its live columns.
        refusal: why reads of it are never cached; NONE if they may be.
        opaque_read: reading it may run code that cannot be seen through.
        opaque_write: writing it may run such code, or touch what is not known.
        temporary: it belongs to one session.
    """

    oid: int
    schema: str
    name: str
    kind: str = "r"
    columns: dict[str, int] = field(default_factory=dict)
    refusal: Reason = Reason.NONE
    opaque_read: bool = False
    opaque_write: bool = False
    temporary: bool = False

    @property
    def qualified(self) -> str:
        """`schema.name`, as rules spell it."""
        return f"{self.schema}.{self.name}"


class ForeignKey(NamedTuple):
    """What happens to `child` when the parent's rows change: pg_constraint's action letters."""

    child: int
    on_update: str
    on_delete: str


Named = dict[str, dict[str, tuple[Function, ...]]]


@dataclass(frozen=True, slots=True)
class CatalogSnapshot:
    """The schema of one database at one moment.

    Attributes:
        database_oid: OID of the database.
        fingerprint: equal for equal content.
        login_triggers: event triggers fire at login (K3).
        event_triggers: event triggers fire at DDL.
        opaque_types: casts, operator classes or type functions are made of code that
            cannot be seen through; any read or write may run it.
        opaque_domains: a domain's check may run such code.
        opaque_indexes: an index expression or predicate may run such code.
        opaque_functions: there are functions that cannot be seen through.
        dynamic_functions: one of them may change the schema.
        relations: schema -> name -> relation. by_oid: the same by OID.
        functions: schema -> name -> functions.
        row_functions: schema -> name -> label, of functions only that accept a whole row
            and are not safe: `a.f` may call them.
        operators: schema -> name -> label, of those operators only that are not safe.
        types: schema -> name -> type.
        sure_types: OIDs of types whose values are surely not text (K5).
        foreign_keys: parent OID -> its references.
        descendants: OID -> OIDs of inheritance children and partitions, direct ones.
    """

    database_oid: int = 0
    fingerprint: str = ""
    login_triggers: bool = False
    event_triggers: bool = False
    opaque_types: bool = False
    opaque_domains: bool = False
    opaque_indexes: bool = False
    opaque_functions: bool = False
    dynamic_functions: bool = False
    relations: dict[str, dict[str, Relation]] = field(default_factory=dict)
    by_oid: dict[int, Relation] = field(default_factory=dict)
    functions: Named = field(default_factory=dict)
    row_functions: dict[str, dict[str, Label]] = field(default_factory=dict)
    operators: dict[str, dict[str, Label]] = field(default_factory=dict)
    types: dict[str, dict[str, Type]] = field(default_factory=dict)
    sure_types: frozenset[int] = frozenset()
    foreign_keys: dict[int, tuple[ForeignKey, ...]] = field(default_factory=dict)
    descendants: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def relation(self, schema: str, name: str) -> Relation | None:
        """The relation of exactly that name."""
        return self.relations.get(schema, {}).get(name)

    def name_of(self, oid: int) -> str:
        """`schema.name` of a relation, or its OID as text where it is gone."""
        relation = self.by_oid.get(oid)
        return relation.qualified if relation is not None else str(oid)

    def find_relations(
        self, schema: str | None, name: str, path: Iterable[str] | None
    ) -> list[Relation]:
        """What a name in a statement can mean: one relation; with an unknown path, all."""
        if schema is not None:
            if schema == "pg_temp":
                schema = next((s for s in path or () if s.startswith("pg_temp_")), schema)
            found = self.relations.get(schema, {}).get(name)
            return [found] if found is not None else []
        if path is None:
            return [here[name] for here in self.relations.values() if name in here]
        for place in path:
            found = self.relations.get(place, {}).get(name)
            if found is not None:
                return [found]
        return []

    def find_functions(
        self, schema: str | None, name: str, path: Iterable[str] | None
    ) -> Iterator[Function]:
        """All functions that a call by this name could mean, whatever their arguments."""
        if schema is not None:
            places: Iterable[str] = (schema,)
        else:
            places = self.functions if path is None else path
        for place in places:
            yield from self.functions.get(place, {}).get(name, ())

    def find_type(self, schema: str | None, name: str, path: Iterable[str] | None) -> Type | None:
        """The type that a name means; with an unknown path, the least safe one."""
        if schema is not None:
            return self.types.get(schema, {}).get(name)
        if path is None:
            found = [here[name] for here in self.types.values() if name in here]
            return max(found, key=lambda type: type.label.effect, default=None)
        for place in path:
            here = self.types.get(place)
            if here is not None and name in here:
                return here[name]
        return None

    def effect_of_types(self, oids: Iterable[int]) -> Effect:
        """What reading text as these types can do; a clock in it counts as HARMLESS."""
        wanted = set(oids)
        worst = Effect.SAFE
        for here in self.types.values():
            for found in here.values():
                if found.oid in wanted:
                    wanted.discard(found.oid)
                    effect = found.label.effect
                    if effect is Effect.SAFE and found.zoned:
                        effect = Effect.HARMLESS
                    worst = max(worst, effect)
        # A type that is not known may run anything.
        return Effect.OPAQUE if wanted else worst

    def operator_label(self, schema: str | None, name: str, path: Iterable[str] | None) -> Label:
        """The worst verdict on the operators that a name could mean."""
        return _worst(self.operators, schema, name, path)

    def row_function_label(self, name: str, path: Iterable[str] | None) -> Label:
        """The worst verdict on the functions that `a.name` could call."""
        return _worst(self.row_functions, None, name, path)


def _worst(
    labels: dict[str, dict[str, Label]], schema: str | None, name: str, path: Iterable[str] | None
) -> Label:
    worst = SAFE
    places = (schema,) if schema is not None else labels if path is None else path
    for place in places:
        label = labels.get(place, {}).get(name)
        if label is not None and label.effect > worst.effect:
            worst = label
    return worst
