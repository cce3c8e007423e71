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

    `locks` and `settings` say what a harmless function does to its session. `asks` says that
    the result depends on who or where the session is, which is in the key; `names` that it
    is the value of a setting, which is in the key where the setting is known.
    """

    effect: Effect
    reason: Reason = Reason.NONE
    locks: bool = False
    settings: bool = False
    asks: bool = False
    names: bool = False


SAFE = Label(Effect.SAFE)
OPAQUE = Label(Effect.OPAQUE, Reason.UNKNOWN_FUNCTION)


class Function(NamedTuple):
    """Functions of one name that take between `least` and `most` arguments.

    `most` is -1 for VARIADIC. `row` tells whether one of them accepts a whole row,
    so that `a.f` may call it. `oid` is 0 for those that came with the server.
    """

    least: int
    most: int
    label: Label
    row: bool = False
    oid: int = 0


class Tree(NamedTuple):
    """What a stored expression or query is made of, by OID.

    Attributes:
        functions, relations: what it calls and names.
        reason: why what it computes may not follow from those alone (K5); NONE if it does.
        opaque: it may run code that cannot be seen (F9).
        writes: it may hold commands that write the relations.
        locks: it locks rows.
        settings: names, in lower case, of settings that it reads; of those that are not
            known, current_setting is among the functions.
        asks: it reads a setting, or asks for the user, the database or the schema.
        schema: it asks for the schema.
        chooses: it gives some of its rows, or numbers or gathers them, in an order that may
            be left open.
    """

    functions: tuple[int, ...] = ()
    relations: tuple[int, ...] = ()
    reason: Reason = Reason.NONE
    opaque: bool = False
    writes: bool = False
    locks: bool = False
    settings: tuple[str, ...] = ()
    asks: bool = False
    schema: bool = False
    chooses: bool = False


class Trigger(NamedTuple):
    """A trigger: `events` holds of 'i', 'u', 'd', 't' what fires it."""

    function: int
    events: str
    deferrable: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Routine:
    """A function, procedure or aggregate by OID.

    Attributes:
        name: `schema.name`. kind: prokind. volatility: provolatile.
        label: the verdict where there is no body to look at.
        language, source: its text; empty where that says nothing.
        arguments: mode, name and type of each, see `sql.bodies`.
        returns, result: the type of its result as text and as OID.
        conversions: what the domains among its arguments and results may run.
        path: schemas that its SET search_path names; None where they cannot be
            told. `inherits` says that it has none, and uses its caller's.
        config: names of all settings that it sets for itself.
        support: OIDs of the functions that an aggregate is made of.
        defaults: of its arguments. body: a body of BEGIN ATOMIC.
        transitions: names of transition tables that triggers give it.
    """

    name: str
    label: Label
    kind: str = "f"
    volatility: str = "v"
    language: str = ""
    source: str = ""
    arguments: tuple[tuple[str, str, str], ...] = ()
    returns: str = "void"
    result: int = 0
    conversions: Label = SAFE
    path: frozenset[str] | None = None
    inherits: bool = True
    config: tuple[str, ...] = ()
    support: tuple[int, ...] = ()
    defaults: Tree | None = None
    body: Tree | None = None
    transitions: frozenset[str] = frozenset()


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
        root: of all that inheritance or partitioning relate it to, the smallest OID; 0
            where there are none.
        tree: the query of a view or materialized view.
        rules: other rules, by their event (u, i, d).
        policies: of row-level security, as a plain SELECT meets them. checks: what else
            policies say, for whatever role and command.
        runs: functions that defaults, checks, indexes, partition keys and WHEN
            conditions call when a row is written.
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
    root: int = 0
    tree: Tree | None = None
    rules: tuple[tuple[str, Tree], ...] = ()
    policies: Tree | None = None
    checks: Tree | None = None
    runs: tuple[int, ...] = ()
    triggers: tuple[Trigger, ...] = ()

    @property
    def qualified(self) -> str:
        """`schema.name`, as rules spell it."""
        return f"{self.schema}.{self.name}"

    @property
    def granule(self) -> int:
        """What is fenced and evicted for it."""
        return self.root or self.oid


class ForeignKey(NamedTuple):
    """What happens to `child` when the parent's rows change: pg_constraint's action letters."""

    child: int
    on_update: str
    on_delete: str
    name: str = ""


Named = dict[str, dict[str, tuple[Function, ...]]]
# Where an unqualified name is looked for: the first of a tuple that has it, as PostgreSQL
# does; each of a set, where the order is not known; None is every schema.
Path = tuple[str, ...] | frozenset[str] | None


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
        opaque_indexes: index expressions, predicates or partition keys convert values to
            such domains.
        indexed: functions that index expressions, predicates and partition keys call.
        deferred_triggers: a trigger of a user may act at COMMIT.
        other_writers: code of other languages, or in C and not audited, might write
            by other ways than the backend that runs it.
        opaque_functions: there are functions that cannot be seen through.
        dynamic_functions: one of them may change the schema.
        relations: schema -> name -> relation. by_oid: the same by OID.
        functions: schema -> name -> functions.
        routines: functions by OID, of users, and those of the server that something uses.
        row_functions: schema -> name -> functions only that accept a whole row
            and are not surely safe: `a.f` may call them.
        operators: schema -> name -> functions of those operators only that are not
            surely safe.
        code: equal as long as functions, types, operators, casts, collations and text
            search are: what plans that sessions keep are made of, beyond tables.
        roles: two texts that are the same in all databases of a cluster: equal as long as
            all roles and memberships are, and as long as those are that let somebody do
            something without being asked.
        moment: when it was read, in the order in which transactions become visible: the
            larger one is later. It is xmax, and how many below it had ended.
        types: schema -> name -> type.
        sure_types: OIDs of types whose values are surely not text (K5).
        foreign_keys: parent OID -> its references.
        descendants: OID -> OIDs of inheritance children and partitions, direct ones.
        keys: OID -> the columns of each unique key whose columns are never null.
        equal_texts: texts that look different may be equal, under some collation.
        reserved: prefixes of settings that belong to libraries. unknown_libraries: there
            are libraries whose prefixes are not known.
    """

    database_oid: int = 0
    fingerprint: str = ""
    login_triggers: bool = False
    event_triggers: bool = False
    opaque_types: bool = False
    opaque_domains: bool = False
    opaque_indexes: bool = False
    indexed: tuple[int, ...] = ()
    deferred_triggers: bool = False
    other_writers: bool = False
    opaque_functions: bool = False
    dynamic_functions: bool = False
    relations: dict[str, dict[str, Relation]] = field(default_factory=dict)
    by_oid: dict[int, Relation] = field(default_factory=dict)
    functions: Named = field(default_factory=dict)
    routines: dict[int, Routine] = field(default_factory=dict)
    row_functions: Named = field(default_factory=dict)
    operators: dict[str, dict[str, tuple[int, ...]]] = field(default_factory=dict)
    code: str = ""
    roles: tuple[str, str] = ("", "")
    moment: tuple[int, int] = (0, 0)
    types: dict[str, dict[str, Type]] = field(default_factory=dict)
    sure_types: frozenset[int] = frozenset()
    foreign_keys: dict[int, tuple[ForeignKey, ...]] = field(default_factory=dict)
    descendants: dict[int, tuple[int, ...]] = field(default_factory=dict)
    keys: dict[int, tuple[frozenset[str], ...]] = field(default_factory=dict)
    equal_texts: bool = False
    reserved: frozenset[str] = frozenset()
    unknown_libraries: bool = False
    # What has been worked out from it so far, by whoever did.
    memo: dict[object, object] = field(default_factory=dict, compare=False, repr=False)

    def relation(self, schema: str, name: str) -> Relation | None:
        """The relation of exactly that name."""
        return self.relations.get(schema, {}).get(name)

    def name_of(self, oid: int) -> str:
        """`schema.name` of a relation, or its OID as text where it is gone."""
        relation = self.by_oid.get(oid)
        return relation.qualified if relation is not None else str(oid)

    def find_relations(self, schema: str | None, name: str, path: Path) -> list[Relation]:
        """What a name in a statement can mean: one relation; with an unknown path, all."""
        if schema is not None:
            if schema == "pg_temp":
                if not isinstance(path, tuple):
                    path = self.temporary_schemas()
                return [
                    self.relations[place][name]
                    for place in path
                    if place.startswith("pg_temp_") and name in self.relations.get(place, ())
                ]
            found = self.relations.get(schema, {}).get(name)
            return [found] if found is not None else []
        if path is None:
            return [here[name] for here in self.relations.values() if name in here]
        every = isinstance(path, frozenset)
        all_found = []
        for place in path:
            found = self.relations.get(place, {}).get(name)
            if found is not None:
                all_found.append(found)
                if not every:
                    break
        return all_found

    def find_functions(self, schema: str | None, name: str, path: Path) -> Iterator[Function]:
        """All functions that a call by this name could mean, whatever their arguments."""
        if schema is not None:
            places: Iterable[str] = (schema,)
        else:
            places = self.functions if path is None else path
        for place in places:
            yield from self.functions.get(place, {}).get(name, ())

    def find_type(self, schema: str | None, name: str, path: Path) -> Type | None:
        """The type that a name means; with an unknown path, the least safe one."""
        if schema is not None:
            return self.types.get(schema, {}).get(name)
        if path is None or isinstance(path, frozenset):
            places = self.types if path is None else path
            found = [self.types[at][name] for at in places if name in self.types.get(at, ())]
            return max(
                found, key=lambda type: (type.label.effect, type.zoned, type.clock), default=None
            )
        for place in path:
            here = self.types.get(place)
            if here is not None and name in here:
                return here[name]
        return None

    def count_types(self, name: str, path: Path) -> int:
        """In how many schemas of the path there is a type of that name."""
        return sum(name in self.types.get(place, ()) for place in (path or self.types))

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

    def find_operators(self, schema: str | None, name: str, path: Path) -> Iterator[int]:
        """Functions of those operators that a name could mean and that may not be safe."""
        for place in self._places(self.operators, schema, path):
            yield from self.operators.get(place, {}).get(name, ())

    def find_row_functions(self, name: str, path: Path) -> Iterator[Function]:
        """Functions that `a.name` could call and that may not be safe."""
        for place in self._places(self.row_functions, None, path):
            yield from self.row_functions.get(place, {}).get(name, ())

    def temporary_schemas(self) -> frozenset[str]:
        """Schemas of temporary objects, which come first in any search_path."""
        return frozenset(place for place in self.relations if place.startswith("pg_temp_"))

    @staticmethod
    def _places(named: Iterable[str], schema: str | None, path: Path) -> Iterable[str]:
        return (schema,) if schema is not None else named if path is None else path
