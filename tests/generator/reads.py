"""Random SELECTs over a world, each with a fixed order of rows wherever there is one.

What must not live here: anything that writes, or whose answer two sessions may see
differently.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.generator.world import Function, Relation, World

COLUMNS = "id, a, b, c"


@dataclass(frozen=True)
class Read:
    """A statement that is asked again and again.

    Attributes:
        ordered: its rows have one order only.
        style: 'simple', 'extended', or 'prepared' once under a name of its own.
        path: the number of its search path.
        value: the value of $1, or None without parameters.
    """

    text: str
    ordered: bool = True
    style: str = "simple"
    path: int = 0
    value: int | None = None


class Reader:
    """Makes reads of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice
        self.aliases = 0

    def make(self) -> Read:
        dice = self.dice
        self.aliases = 0
        shape = dice.weighted(
            [
                (6, self.plain),
                (3, self.star),
                (4, self.joined),
                (3, self.grouped),
                (2, self.with_query),
                (2, self.set_operation),
                (2, self.recursive),
                (2, self.window),
                (2, self.scalar),
                (1, self.whole_row),
                (1, self.distinct_on),
                (2, self.lateral),
            ]
        )
        text, ordered = shape()
        style = dice.weighted([(5, "simple"), (3, "extended"), (2, "prepared")])
        path = self.world.path()
        value = None
        if style != "simple" and dice.chance(0.4) and " < 9999" in text:
            value = dice.randint(0, 200)
            text = text.replace(" < 9999", " < $1::int")
        return Read(text, ordered, style, path, value)

    def all_of(self, relation: Relation) -> Read:
        """The whole of one relation: nothing in it changes unseen."""
        order = " ORDER BY 1, 2, 3, 4" if relation.key else ""
        text = f"SELECT * FROM {relation.full}{order}"
        return Read(text, relation.key, self.dice.pick(["simple", "extended"]))

    def call(self, function: Function) -> Read:
        """A function that reads, and nothing else."""
        call = f"{function.full}({self.dice.randint(0, 4)})"
        text = f"SELECT {call}"
        if function.kind == "rows":
            text = f"SELECT * FROM {call} AS x ORDER BY 1, 2, 3, 4"
        return Read(text, style=self.dice.pick(["simple", "extended"]), path=self.world.path())

    def expression(self, text: str) -> Read:
        """One of the expressions of the world, over a few rows."""
        table = self.dice.pick(self.world.kinds("table"))
        value = text.format(x="x")
        return Read(f"SELECT x.id, {value} FROM {table.full} AS x WHERE x.id < 4 ORDER BY 1, 2")

    # --- parts ----------------------------------------------------------------

    def alias(self) -> str:
        self.aliases += 1
        return f"x{self.aliases}"

    def relation(self) -> str:
        relation = self.dice.pick(self.world.readable())
        only = "ONLY " if relation.kind in ("parent", "child", "table") else ""
        return (only if self.dice.chance(0.15) else "") + self.world.say(relation)

    def source(self, depth: int = 1) -> str:
        """What may stand in FROM, without its alias."""
        dice = self.dice
        form = dice.weighted([(8, "relation"), (2, "rows"), (2, "query"), (1, "values")])
        functions = self.world.code("rows")
        if form == "rows" and functions:
            return f"{dice.pick(functions).full}({dice.number()})"
        if form == "query" and depth:
            x = self.alias()
            inner = f"SELECT {COLUMNS} FROM {self.source(0)} AS {x} WHERE {self.where(x, 0)}"
            return f"({inner})"
        if form == "values" and depth:
            return "(SELECT * FROM (VALUES (1, 2, 3, 'x1'), (2, 2, 2, 'y')) AS v (id, a, b, c))"
        return self.relation()

    def where(self, x: str, depth: int = 1) -> str:
        dice = self.dice
        simple = [
            f"{x}.a < 9999",
            f"{x}.id < 9999",
            f"{x}.a > {dice.number()}",
            f"{x}.b IS NOT NULL",
            f"{x}.b = {dice.number()}",
            f"{x}.id = {dice.randint(1, 7)}",
            f"{x}.c LIKE 'x%'",
            f"{x}.id BETWEEN 2 AND {dice.randint(4, 120)}",
        ]
        if not depth or dice.chance(0.6):
            return dice.pick(simple)
        y = self.alias()
        inner = f"{self.source(0)} AS {y}"
        nested = [
            f"{x}.id IN (SELECT {y}.a FROM {inner})",
            f"{x}.a NOT IN (SELECT coalesce({y}.b, 0) FROM {inner})",
            f"EXISTS (SELECT 1 FROM {inner} WHERE {y}.a = {x}.a)",
            f"NOT EXISTS (SELECT FROM {inner} WHERE {y}.id = {x}.b)",
            f"{x}.a >= (SELECT min({y}.a) FROM {inner})",
            f"{x}.a = ANY (ARRAY(SELECT {y}.id FROM {inner}))",
        ]
        readers = self.world.code("reader")
        if readers:
            nested += [f"{dice.pick(readers).full}({x}.a) > {dice.number()}"] * 2
        return f"{dice.pick(simple)} AND {dice.pick(nested)}"

    def value(self, x: str) -> str:
        """An expression over `x` that is an integer or a text."""
        dice = self.dice
        readers = self.world.code("reader")
        options = [f"{x}.a", f"{x}.b + 1", f"coalesce({x}.b, -1)", f"upper({x}.c)"]
        options.append(f"CASE WHEN {x}.a > 3 THEN {x}.b ELSE 0 END")
        if readers:
            options += [f"{dice.pick(readers).full}({dice.pick([f'{x}.a', '4'])})"] * 2
        y = self.alias()
        options.append(f"(SELECT max({y}.b) FROM {self.source(0)} AS {y} WHERE {y}.id <= {x}.id)")
        return dice.pick(options)

    def limit(self) -> str:
        return self.dice.weighted([(4, ""), (1, " LIMIT 3"), (1, " LIMIT 2 OFFSET 1")])

    # --- shapes: text, and whether its rows have one order -----------------------

    def plain(self) -> tuple[str, bool]:
        x = self.alias()
        text = f"SELECT {x}.id, {x}.a, {x}.b, {x}.c, {self.value(x)} FROM {self.source()} AS {x}"
        return f"{text} WHERE {self.where(x)} ORDER BY 1, 2, 3, 4, 5{self.limit()}", True

    def star(self) -> tuple[str, bool]:
        relation = self.dice.pick(self.world.readable())
        if self.dice.chance(0.3):
            return f"TABLE {self.world.say(relation)}", False
        return f"SELECT * FROM {self.world.say(relation)} AS x WHERE {self.where('x', 0)}", False

    def joined(self) -> tuple[str, bool]:
        dice = self.dice
        x, y = self.alias(), self.alias()
        join = dice.pick(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"])
        on = dice.pick([f"{x}.id = {y}.id", f"{x}.id = {y}.a"])
        text = (
            f"SELECT {x}.id, {x}.b, {y}.id, {y}.c FROM {self.source()} AS {x}"
            f" {join} {self.source()} AS {y} ON {on}"
        )
        if dice.chance(0.3):
            z = self.alias()
            text += f" JOIN {self.source()} AS {z} ON {z}.id = {y}.id"
        if dice.chance(0.5):
            text += f" WHERE {self.where(x)}"
        return f"{text} ORDER BY 1, 2, 3, 4{self.limit()}", True

    def grouped(self) -> tuple[str, bool]:
        dice = self.dice
        x = self.alias()
        group = dice.pick(["b", "ROLLUP (b)", "GROUPING SETS ((b), ())", "b HAVING count(*) > 1"])
        text = (
            f"SELECT {x}.b, count(*), sum({x}.a), array_agg({x}.id ORDER BY {x}.id),"
            f" count(*) FILTER (WHERE {x}.a > 3) FROM {self.source()} AS {x}"
            f" WHERE {self.where(x)} GROUP BY {group} ORDER BY 1, 2, 3, 4, 5"
        )
        return text, True

    def with_query(self) -> tuple[str, bool]:
        dice = self.dice
        x, y = self.alias(), self.alias()
        how = dice.pick(["", "MATERIALIZED ", "NOT MATERIALIZED "])
        # The name may shadow a table.
        name = dice.pick(["t1", "t2", "cte"])
        return (
            f"WITH {name} AS {how}(SELECT {COLUMNS} FROM {self.source()} AS {y}"
            f" WHERE {self.where(y)}), more AS (SELECT count(*) AS n FROM {name})"
            f" SELECT {x}.id, {x}.a, {x}.b, more.n FROM {name} AS {x}, more ORDER BY 1, 2, 3, 4"
        ), True

    def recursive(self) -> tuple[str, bool]:
        x = self.alias()
        return (
            "WITH RECURSIVE walk (id, depth) AS (SELECT 1, 0 UNION"
            f" SELECT {x}.a, walk.depth + 1 FROM walk JOIN {self.relation()} AS {x}"
            f" ON {x}.id = walk.id WHERE walk.depth < 4) SELECT id, depth FROM walk ORDER BY 1, 2"
        ), True

    def set_operation(self) -> tuple[str, bool]:
        dice = self.dice
        x, y = self.alias(), self.alias()
        operator = dice.pick(["UNION", "UNION ALL", "EXCEPT", "INTERSECT", "EXCEPT ALL"])
        return (
            f"SELECT {x}.a, {x}.c FROM {self.source()} AS {x} WHERE {self.where(x)}"
            f" {operator} SELECT {y}.a, {y}.c FROM {self.source()} AS {y} ORDER BY 1, 2"
        ), True

    def window(self) -> tuple[str, bool]:
        x = self.alias()
        over = f"OVER (PARTITION BY {x}.b ORDER BY {x}.id, {x}.a, {x}.c)"
        return (
            f"SELECT {x}.id, {x}.a, {x}.b, row_number() {over}, sum({x}.a) {over}"
            f" FROM {self.source()} AS {x} ORDER BY 1, 2, 3, 4, 5"
        ), True

    def scalar(self) -> tuple[str, bool]:
        x = self.alias()
        readers = self.world.code("reader")
        call = f"{self.world.say(self.dice.pick(readers))}({self.dice.number()})" if readers else 1
        return f"SELECT {call}, (SELECT count(*) FROM {self.source()} AS {x})", True

    def whole_row(self) -> tuple[str, bool]:
        x = self.alias()
        form = self.dice.pick([f"{x}", f"{x}::text", f"row_to_json({x})", f"to_jsonb({x})"])
        return f"SELECT {form} FROM {self.relation()} AS {x}", False

    def distinct_on(self) -> tuple[str, bool]:
        x = self.alias()
        return (
            f"SELECT DISTINCT ON ({x}.b) {x}.b, {x}.id, {x}.a, {x}.c FROM {self.source()} AS {x}"
            f" ORDER BY {x}.b, {x}.id, {x}.a, {x}.c"
        ), True

    def lateral(self) -> tuple[str, bool]:
        dice = self.dice
        x, y, z = self.alias(), self.alias(), self.alias()
        functions = self.world.code("rows")
        if functions and dice.chance(0.6):
            inner = f"{dice.pick(functions).full}({x}.a)"
        else:
            inner = (
                f"LATERAL (SELECT {z}.id, {z}.c FROM {self.source(0)} AS {z}"
                f" WHERE {z}.id < {x}.a ORDER BY 1, 2 LIMIT 2)"
            )
        return (
            f"SELECT {x}.id, {x}.a, {y}.id, {y}.c FROM {self.relation()} AS {x}"
            f" CROSS JOIN {inner} AS {y} WHERE {x}.id < 5 ORDER BY 1, 2, 3, 4"
        ), True
