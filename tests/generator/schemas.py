"""Random schemas: tables, partitions, inheritance, keys, views, and their code.

Statements that PostgreSQL refuses are left out of the picture, so nothing here has to
know all of its rules. What must not live here: bodies (`code.py`), changes of a schema
that is in use (`changes.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from tests.generator import code
from tests.generator.world import SCHEMAS, Function, Relation, World

#: Runs a statement and tells whether it worked.
Execute = Callable[[str], bool]

TABLES = 6
#: name -> (declaration, literals; none where values are made by PostgreSQL).
EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "n": ("numeric(8, 2)", ("1.50", "-2", "NULL")),
    "d": ("date", ("'2024-02-29'", "'2023-01-01'")),
    "ts": ("timestamp", ("'2024-01-01 10:00:00'", "NULL")),
    "t": ("boolean", ("true", "false", "NULL")),
    "v": ("varchar(10)", ("'abc'", "'long text'")),
    "j": ("jsonb", ("""'{"k": 1}'""", "'[1, 2]'")),
    "arr": ("int[]", ("'{1,2}'", "'{}'", "NULL")),
    "m": ("s1.mood", ("'low'", "'high'")),
    "pos": ("s1.positive", ("1", "22", "NULL")),
    "u": ("uuid", ("'00000000-0000-0000-0000-000000000001'", "NULL")),
    "by": ("bytea", (r"'\x01ff'", "NULL")),
    "g": ("int GENERATED ALWAYS AS (a * 2) STORED", ()),
    "h": ("int GENERATED ALWAYS AS (s1.twice(a)) STORED", ()),
    "s": ("serial", ()),
}
BASE = """CREATE SCHEMA s1
CREATE SCHEMA s2
CREATE TYPE s1.mood AS ENUM ('low', 'high')
CREATE DOMAIN s1.positive AS int CHECK (VALUE > 0)
CREATE FUNCTION s1.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'"""
ACTIONS = ("NO ACTION", "RESTRICT", "CASCADE", "CASCADE", "SET NULL", "SET DEFAULT")


class Builder:
    """Makes the objects of a world, one statement at a time."""

    def __init__(self, world: World, execute: Execute) -> None:
        self.world = world
        self.dice = world.dice
        self._execute = execute

    def run(self, *statements: str) -> bool:
        """Run statements until one fails; what has worked belongs to the setup."""
        for statement in statements:
            if not self._execute(statement):
                return False
            self.world.setup.append(statement)
        return True

    def build(self) -> World:
        dice = self.dice
        self.run(*BASE.splitlines())
        for rank in range(TABLES):
            schema = dice.pick(SCHEMAS)
            self.table(schema, f"t{rank}", rank)
            if dice.chance(0.4):
                other = SCHEMAS[1 - SCHEMAS.index(schema)]
                self.table(other, f"t{rank}", rank)
        parts: list[tuple[float, Callable[[], None]]] = [
            (0.85, self.families),
            (0.85, lambda: self.times(2, 5, self.foreign_key)),
            (0.9, self.views),
            (0.6, self.disguised),
            (0.85, self.writers),
            (0.85, lambda: self.times(2, 6, self.trigger)),
            (0.75, lambda: self.times(1, 3, self.rule)),
            (0.7, self.instead),
            (0.75, lambda: self.times(1, 3, self.default)),
        ]
        for share, make in parts:
            if dice.chance(share):
                make()
        return self.world

    def times(self, least: int, most: int, make: Callable[[], None]) -> None:
        for _ in range(self.dice.randint(least, most)):
            make()

    def families(self) -> None:
        for rank in self.dice.sample(range(2, TABLES), 2):
            self.partitioned(rank)
        self.inheritance(self.dice.randint(1, TABLES - 1))

    def views(self) -> None:
        """Views and functions that read, each over what was there before."""
        self.times(2, 3, lambda: self.function("reader"))
        self.function("rows")
        self.times(2, 4, self.view)
        self.matview()
        self.times(1, 2, lambda: self.function("reader"))
        self.times(1, 2, self.view)
        self.function("rows")
        self.matview()

    def disguised(self) -> None:
        """Operators, aggregates and the like that read tables."""
        for _ in range(3):
            statements, expression = self.dice.pick(code.disguises(self.world))
            if self.run(*statements):
                self.world.expressions.append(expression)

    def writers(self) -> None:
        self.times(3, 5, lambda: self.function("writer"))
        self.times(1, 2, lambda: self.function("procedure"))
        self.writing_view()

    # --- tables ---------------------------------------------------------------

    def columns(self, key: bool) -> tuple[str, dict[str, tuple[str, ...]]]:
        """The list of columns, and the extras that can be given values."""
        names = self.dice.sample(sorted(EXTRAS), self.dice.randint(0, 3))
        # Keys have names of their own, so that tables can change places.
        name = self.world.fresh("k")
        first = f"id int{f' CONSTRAINT {name} PRIMARY KEY' if key else ''}"
        parts = [first, "a int DEFAULT 1", "b int", "c text DEFAULT 'd'"]
        parts += [f"{name} {EXTRAS[name][0]}" for name in names]
        return ", ".join(parts), {name: EXTRAS[name][1] for name in names if EXTRAS[name][1]}

    def fill(self, relation: Relation, count: int = 6) -> None:
        dice = self.dice
        rows = [
            f"({i}, {dice.number()}, {'NULL' if dice.chance(0.3) else dice.number()},"
            f" {dice.word()})"
            for i in range(1, count + 1)
        ]
        self.run(f"INSERT INTO {relation.full} (id, a, b, c) VALUES {', '.join(rows)}")

    def table(self, schema: str, name: str, rank: int) -> Relation | None:
        columns, extras = self.columns(True)
        table = Relation(schema, name, "table", rank, self.world.age(), extras=extras)
        if not self.run(f"CREATE TABLE {table.full} ({columns})"):
            return None
        self.world.relations.append(table)
        self.fill(table)
        return table

    def partitioned(self, rank: int) -> None:
        """A root with partitions: by range or hash of the key, or by a list of `a`."""
        strategy = self.dice.pick(["RANGE (id)", "HASH (id)", "LIST (a)"])
        key = not strategy.startswith("LIST")
        columns, extras = self.columns(key)
        schema, name = self.dice.pick(SCHEMAS), self.world.fresh("part")
        age = self.world.age()
        root = Relation(schema, name, "root", rank, age, key, extras, strategy=strategy)
        if not self.run(f"CREATE TABLE {root.full} ({columns}) PARTITION BY {strategy}"):
            return
        self.world.relations.append(root)
        first = {
            "RANGE (id)": ("FROM (MINVALUE) TO (4)", "FROM (4) TO (50)"),
            "HASH (id)": ("WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"),
            "LIST (a)": ("IN (0, 1, 2, NULL)", "IN (3, 4, 5)"),
        }[strategy]
        self.partition(root, first[0])
        # The second is partitioned itself.
        below = self.partition(root, first[1], " PARTITION BY HASH (id)")
        if below is not None:
            for remainder in range(2):
                self.partition(below, f"WITH (MODULUS 2, REMAINDER {remainder})")
        if "HASH" not in strategy:
            self.partition(root, "DEFAULT")
        self.fill(root)

    def partition(self, root: Relation, bounds: str, tail: str = "") -> Relation | None:
        world = self.world
        name = world.fresh("p")
        kind = "root" if tail else "partition"
        part = Relation(
            self.dice.pick(SCHEMAS), name, kind, root.rank, world.age(), root.key, root.extras
        )
        part.root = root
        values = bounds if bounds == "DEFAULT" else f"FOR VALUES {bounds}"
        if not self.run(f"CREATE TABLE {part.full} PARTITION OF {root.full} {values}{tail}"):
            return None
        world.relations.append(part)
        return part

    def inheritance(self, rank: int) -> None:
        world, dice = self.world, self.dice
        parent = self.table(dice.pick(SCHEMAS), world.fresh("par"), rank)
        if parent is None:
            return
        parent.kind, parent.key = "parent", False
        above = parent
        for _ in range(2):
            child = Relation(
                dice.pick(SCHEMAS), world.fresh("chi"), "child", rank, world.age(), False,
                dict(above.extras),
            )  # fmt: skip
            child.root = above
            if self.run(f"CREATE TABLE {child.full} (more int) INHERITS ({above.full})"):
                world.relations.append(child)
                self.fill(child, 3)
                above = child if dice.chance(0.4) else above

    def foreign_key(self) -> None:
        """A key from a relation to one of a lower rank, or to itself."""
        world, dice = self.world, self.dice
        parents = [r for r in world.kinds("table", "root") if r.key and r.root is None]
        parent = dice.pick(parents)
        children = [
            r for r in world.kinds("table", "root") if r.root is None and r.rank > parent.rank
        ]
        child = parent if dice.chance(0.2) or not children else dice.pick(children)
        column = world.fresh("r")
        later = dice.pick(["", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"])
        reference = (
            f"REFERENCES {parent.full} (id) ON DELETE {dice.pick(ACTIONS)}"
            f" ON UPDATE {dice.pick(ACTIONS)}{later}"
        )
        if self.run(
            f"ALTER TABLE {child.full} ADD COLUMN {column} int",
            f"ALTER TABLE {child.full} ADD FOREIGN KEY ({column}) {reference}",
        ):
            child.references[column] = parent
            # Most rows refer to something, so that cascades have work.
            self.run(
                f"UPDATE {child.full} SET {column} = id WHERE id <= 5"
                f" AND id IN (SELECT id FROM {parent.full})"
            )

    # --- views ----------------------------------------------------------------

    def view_query(self, view: Relation) -> str:
        """A SELECT of the common shape; tells the view whether it can be written."""
        world, dice = self.world, self.dice
        base = dice.pick(world.readable(view.age))
        readers = world.code("reader", view.age)
        form = dice.weighted(
            [(5, "filter"), (3, "reader" if readers else "filter"), (2, "join"), (2, "group")]
            + [(2, "union"), (1, "rows" if world.code("rows", view.age) else "filter")]
        )
        view.rank, view.writable, view.plain = base.rank, False, False
        # A view of a partition takes no more than that.
        view.root = None if base.takes else base
        view.base = base
        name = world.say(base)
        if form == "filter":
            view.writable = view.plain = base.writable
            return f"SELECT id, a, b, c FROM {name} WHERE a < {dice.randint(5, 60)} OR b IS NULL"
        if form == "reader":
            view.writable = base.writable
            call = dice.pick(readers).full
            return f"SELECT id, a, {call}(a) AS b, c FROM {name} AS x WHERE id < 90"
        if form == "join":
            other = world.say(dice.pick(world.readable(view.age)))
            join = dice.pick(["JOIN", "LEFT JOIN"])
            return f"SELECT x.id, x.a, y.b, x.c FROM {name} AS x {join} {other} AS y ON y.id = x.id"
        if form == "group":
            return (
                f"SELECT min(id) AS id, a, count(*)::int AS b, max(c) AS c FROM {name} GROUP BY a"
            )
        if form == "union":
            other = world.say(dice.pick(world.readable(view.age)))
            return f"SELECT id, a, b, c FROM {name} UNION SELECT id, b, a, c FROM {other}"
        return f"SELECT id, a, b, c FROM {dice.pick(world.code('rows', view.age)).full}(3) AS x"

    def view(self) -> None:
        world, dice = self.world, self.dice
        view = Relation(dice.pick(SCHEMAS), world.fresh("v"), "view", 0, world.age(), False)
        query = self.view_query(view)
        option = ""
        if view.plain and dice.chance(0.2):
            option = " WITH CHECK OPTION"
        if self.run(f"CREATE VIEW {view.full} AS {query}{option}"):
            world.relations.append(view)

    def matview(self) -> None:
        world, dice = self.world, self.dice
        view = Relation(dice.pick(SCHEMAS), world.fresh("mv"), "matview", 0, world.age(), False)
        query = self.view_query(view)
        view.writable = view.plain = False
        if self.run(f"CREATE MATERIALIZED VIEW {view.full} AS {query}"):
            world.relations.append(view)
            if dice.chance(0.5) and self._execute(f"CREATE UNIQUE INDEX ON {view.full} (id)"):
                world.setup.append(f"CREATE UNIQUE INDEX ON {view.full} (id)")

    def writing_view(self) -> None:
        """A view that writes when it is read: it is only for writes."""
        world, dice = self.world, self.dice
        writers = world.code("writer")
        if not writers:
            return
        view = Relation(dice.pick(SCHEMAS), world.fresh("wv"), "view", 0, world.age())
        source = world.say(dice.pick(world.kinds("table")))
        call = dice.pick(writers).full
        if self.run(f"CREATE VIEW {view.full} AS SELECT {call}(a) AS w FROM {source} WHERE id < 3"):
            world.writing_views.append(view)

    # --- code -----------------------------------------------------------------

    def function(self, kind: str) -> None:
        world = self.world
        make = {
            "reader": code.reader,
            "rows": code.rows,
            "writer": code.writer,
            "procedure": code.procedure,
        }[kind]
        if kind == "writer":
            # Some must be left for the code of relations of middling rank.
            above = self.dice.randint(-1, 2)
            made = Function(
                self.dice.pick(SCHEMAS), world.fresh("f"), kind, world.age(),
                lambda function: code.writer(function, world),
            )  # fmt: skip
            text = code.writer(made, world, above)
        else:
            made = Function(
                self.dice.pick(SCHEMAS), world.fresh("f"), kind, world.age(),
                lambda function: make(function, world),
            )  # fmt: skip
            made.commits = kind == "procedure" and self.dice.chance(0.5)
            text = made.make(made)
        if self.run(text):
            world.functions.append(made)

    def trigger(self) -> None:
        world = self.world
        possible = [r for r in world.relations if r.stored and world.receivers(r)]
        function, create, attached = code.trigger(world, self.dice.pick(possible))
        if self.run(function, create):
            world.attached.append(attached)

    def rule(self) -> None:
        world = self.world
        # Not on every relation: a rule rules out many forms of DML.
        possible = [r for r in world.kinds("table", "view") if world.receivers(r)]
        on = self.dice.pick(possible)
        text, attached = code.rule(world, on)
        if self.run(text):
            on.plain, on.writable = False, True
            world.attached.append(attached)

    def instead(self) -> None:
        world = self.world
        ruled = {attached.on for attached in world.attached}
        views = [v for v in world.kinds("view") if v not in ruled and world.receivers(v)]
        if not views:
            return
        view = self.dice.pick(views)
        function, create, attached = code.instead(world, view)
        if self.run(function, create):
            view.writable, view.plain = True, False
            world.attached.append(attached)

    def default(self) -> None:
        """A column whose default runs code."""
        world, dice = self.world, self.dice
        writers, readers = world.code("writer", above=0), world.code("reader")
        functions = writers if writers and dice.chance(0.8) else readers or writers
        if not functions:
            return
        function = dice.pick(functions)
        tables = [table for table in world.kinds("table") if table.rank < function.rank]
        if tables:
            table, column = dice.pick(tables), dice.pick(["a", "b"])
            call = f"{function.full}({dice.number()})"
            if self.run(f"ALTER TABLE {table.full} ALTER COLUMN {column} SET DEFAULT {call}"):
                table.computed.add(column)
