"""The picture of a random schema, as far as the generator needs it.

Every relation shows at least `id int, a int, b int, c text` first, so that any of
them can stand for any other. What must not live here: statements.

Nothing may run for ever: a trigger, rule or cascade on a relation reaches only
relations of a higher `rank`, and code calls only code of a lower `age`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

SCHEMAS = ("s1", "s2")
#: The search paths of sessions; setups are made with the first one.
PATHS = ("s1, s2", "s2, s1", "s2")


class Dice(random.Random):
    """A seeded source of choices."""

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.random() * len(options))]

    def weighted(self, options: Sequence[tuple[float, T]]) -> T:
        return self.choices([o for _, o in options], [w for w, _ in options])[0]

    def some(self, options: Sequence[T], least: int = 1) -> list[T]:
        """Between `least` and all of them, in their order."""
        wanted = set(self.sample(range(len(options)), self.randint(least, len(options))))
        return [option for number, option in enumerate(options) if number in wanted]

    def number(self) -> int:
        return self.randint(0, 9)

    def word(self) -> str:
        return f"'x{self.randint(0, 9)}'"


@dataclass(eq=False)
class Relation:
    """A relation of the world.

    Attributes:
        kind: 'table', 'root', 'partition', 'parent', 'child', 'view' or 'matview'.
        rank: the lowest rank of what a write to it can write.
        age: the number of objects that were there before it.
        key: `id` is its primary key.
        extras: columns behind the first four that can be given values: name -> literals.
        references: foreign keys: column -> the parent.
        root: of a partition, the partitioned table; of a child, the parent.
        computed: columns whose default runs code.
        base: the first relation that a view selects from.
        plain: INSERT ... ON CONFLICT and MERGE work on it.
        writable: writes to it may work.
        strategy: how a root is partitioned, and by what.
    """

    schema: str
    name: str
    kind: str
    rank: int
    age: int
    key: bool = True
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict)
    references: dict[str, Relation] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)
    root: Relation | None = None
    base: Relation | None = None
    plain: bool = True
    writable: bool = True
    strategy: str = ""

    @property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def takes(self) -> bool:
        """A row with any values may be inserted: it is no partition."""
        return self.root is None or self.kind == "child"

    @property
    def stored(self) -> bool:
        return self.kind not in ("view", "matview")


@dataclass(eq=False)
class Function:
    """A function: `kind` is 'reader', 'rows', 'writer', 'procedure' or 'trigger'.

    `make` writes its CREATE OR REPLACE again, with another body.
    """

    schema: str
    name: str
    kind: str
    age: int
    make: Callable[[Function], str]
    rank: int = 99
    commits: bool = False

    @property
    def full(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(eq=False)
class Attached:
    """A trigger or rule: its name and the relation that it belongs to."""

    name: str
    kind: str
    on: Relation


@dataclass
class World:
    """One schema and the dice it was made with.

    Attributes:
        attached: triggers and rules.
        writing_views: views that write when they are read.
        expressions: over a row `{x}`, for reads; see `code.disguises`.
        setup: the statements that made it.
    """

    dice: Dice
    major: int
    relations: list[Relation] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    attached: list[Attached] = field(default_factory=list)
    writing_views: list[Relation] = field(default_factory=list)
    expressions: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    objects: int = 0
    last_id: int = 100

    def age(self) -> int:
        self.objects += 1
        return self.objects

    def fresh(self, prefix: str) -> str:
        """A name that nothing has."""
        return f"{prefix}{self.age()}"

    def fresh_id(self) -> int:
        self.last_id += 1
        return self.last_id

    def path(self) -> int:
        """The number of a search path."""
        return self.dice.weighted([(6, 0), (2, 1), (2, 2)])

    def kinds(self, *kinds: str) -> list[Relation]:
        return [relation for relation in self.relations if relation.kind in kinds]

    def targets(self, above: int = -1, plain: bool = False) -> list[Relation]:
        """Relations that a write may name, all of whose effects are of rank > `above`."""
        return [
            relation
            for relation in self.relations
            if relation.writable and relation.rank > above and (relation.plain or not plain)
        ]

    def receivers(self, on: Relation) -> list[Relation]:
        """What rows may be inserted into by the code of a relation."""
        above = on.rank - (not on.stored)
        return [r for r in self.targets(above, plain=True) if r is not on and r.takes]

    def target(self, above: int = -1, plain: bool = False) -> Relation:
        """One of `targets`: partitions, which are many, less often; what runs code, more often."""
        options = self.targets(above, plain)
        busy = {id(attached.on) for attached in self.attached}
        weights = [
            6 if id(relation) in busy or relation.computed else 1 if relation.root else 3
            for relation in options
        ]
        return self.dice.choices(options, weights)[0]

    def code(self, kind: str, below: int | None = None, above: int = -1) -> list[Function]:
        """Functions of a kind, of age < `below`, that write only what is of rank > `above`."""
        return [
            function
            for function in self.functions
            if function.kind == kind
            and (below is None or function.age < below)
            and function.rank > above
        ]

    def readable(self, below: int | None = None) -> list[Relation]:
        return [r for r in self.relations if below is None or r.age < below]

    def say(self, thing: Relation | Function) -> str:
        """Its name: qualified, or left to the search path."""
        return thing.full if self.dice.chance(0.75) else thing.name
