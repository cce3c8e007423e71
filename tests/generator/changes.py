"""Random DDL over a world that is in use.

A change tells what to do to the picture if it has worked. What must not live here:
the making of the first schema (`schemas.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from tests.generator import code
from tests.generator.schemas import ACTIONS, Builder
from tests.generator.world import SCHEMAS, Attached, Relation, World
from tests.generator.writes import Step, Write, Writer


class Changer:
    """Makes DDL for one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice
        self.writer = Writer(world)
        self.statements: list[str] = []
        self.done: Callable[[], None] | None = None
        # Writes down what a builder would run.
        self.builder = Builder(world, self._note)

    def _note(self, statement: str) -> bool:
        self.statements.append(statement)
        return False

    def make(self) -> Write:
        self.statements, self.done = [], None
        forms = [
            (3, self.replace_view),
            (4, self.replace_function),
            (3, self.new_trigger),
            (2, self.new_rule),
            (2, self.drop_attached),
            (2, self.toggle),
            (3, self.column),
            (2, self.default),
            (3, self.foreign_key),
            (2, self.drop_foreign_key),
            (3, self.partition),
            (2, self.inherit),
            (3, self.shadow),
            (2, self.rename),
            (2, self.table_from_query),
            (1, self.function_settings),
            (1, self.cascade),
            (1, self.view_settings),
        ]
        while not self.statements:
            self.dice.weighted(forms)()
        steps = [Step(text) for text in self.statements]
        done = self.done
        if self.dice.chance(0.25):
            # Inside of a transaction nothing counts before its end.
            end = self.dice.pick(["COMMIT", "ROLLBACK"])
            locked = [Step(text, quiet=True) for text in self.statements]
            steps = [Step("BEGIN"), *locked, Step(end)]
            done = done if end == "COMMIT" else None
        elif self.dice.chance(0.25):
            # Another session's transaction began before the change and ends after it.
            inside = [Step(self.writer.inner()) for _ in range(2)]
            changed = [Step(text, other=True) for text in self.statements]
            steps = [Step("BEGIN"), inside[0], *changed, inside[1], Step("COMMIT")]
        return Write(tuple(steps), self.world.path(), True, done)

    # --- code -----------------------------------------------------------------

    def replace_view(self) -> None:
        views = self.world.kinds("view")
        if not views:
            return
        view = self.dice.pick(views)
        rank = view.rank
        attached = any(a.on is view for a in self.world.attached)
        for _ in range(5):
            query = self.builder.view_query(view)
            if view.rank >= rank:
                self.statements = [f"CREATE OR REPLACE VIEW {view.full} AS {query}"]
                break
        # Other code rests on what writes to this view may reach.
        view.rank, view.writable, view.plain = rank, attached, False

    def replace_function(self) -> None:
        functions = self.world.functions
        if functions:
            function = self.dice.pick(functions)
            self.statements = [function.make(function)]

    def new_trigger(self) -> None:
        world = self.world
        possible = [r for r in world.relations if r.stored and world.receivers(r)]
        if possible:
            function, create, attached = code.trigger(world, self.dice.pick(possible))
            self.statements = [function, create]
            self.done = lambda: world.attached.append(attached)

    def new_rule(self) -> None:
        world = self.world
        possible = [r for r in world.kinds("table") if world.receivers(r)]
        if not possible:
            return
        on = self.dice.pick(possible)
        text, attached = code.rule(world, on)

        def done() -> None:
            on.plain = False
            world.attached.append(attached)

        self.statements, self.done = [text], done

    def drop_attached(self) -> None:
        if self.world.attached:
            attached = self.dice.pick(self.world.attached)
            self.statements = [f"DROP {attached.kind} {attached.name} ON {attached.on.full}"]
            self.done = lambda: self.world.attached.remove(attached)

    def toggle(self) -> None:
        """A trigger or rule is disabled or enabled."""
        stored = [a for a in self.world.attached if a.on.stored]
        if stored:
            attached: Attached = self.dice.pick(stored)
            how = self.dice.pick(["DISABLE", "ENABLE", "ENABLE ALWAYS"])
            self.statements = [
                f"ALTER TABLE {attached.on.full} {how} {attached.kind} {attached.name}"
            ]

    def function_settings(self) -> None:
        functions = [f for f in self.world.functions if not f.commits]
        if functions:
            function = self.dice.pick(functions)
            what = "PROCEDURE" if function.kind == "procedure" else "FUNCTION"
            how = self.dice.pick(["SET search_path = s2, s1", "RESET search_path"])
            self.statements = [f"ALTER {what} {function.full}(int) {how}"]

    # --- tables ---------------------------------------------------------------

    def column(self) -> None:
        table = self.dice.pick(self.world.kinds("table", "root", "parent"))
        name = self.world.fresh("c")
        how = self.dice.weighted(
            [
                (3, f"ADD COLUMN {name} int DEFAULT {self.dice.number()}"),
                (1, f"ADD COLUMN {name} text"),
                (2, f"ALTER COLUMN b SET DEFAULT {self.dice.number()}"),
                (1, "ALTER COLUMN b DROP DEFAULT"),
                (1, "ALTER COLUMN a TYPE int USING a + 1"),
                (1, f"ADD CONSTRAINT {name} CHECK (a >= -1)"),
            ]
        )
        self.statements = [f"ALTER TABLE {table.full} {how}"]

    def default(self) -> None:
        self.builder.default()

    def foreign_key(self) -> None:
        world, dice = self.world, self.dice
        parents = [r for r in world.kinds("table", "root") if r.key and r.root is None]
        parent = dice.pick(parents)
        children = [
            r for r in world.kinds("table", "root") if r.root is None and r.rank > parent.rank
        ]
        if not children:
            return
        child, column = dice.pick(children), world.fresh("r")
        self.statements = [
            f"ALTER TABLE {child.full} ADD COLUMN {column} int REFERENCES {parent.full} (id)"
            f" ON DELETE {dice.pick(ACTIONS)} ON UPDATE {dice.pick(ACTIONS)}",
            f"UPDATE {child.full} SET {column} = id WHERE id < 6"
            f" AND id IN (SELECT id FROM {parent.full})",
        ]
        self.done = lambda: child.references.update({column: parent})

    def drop_foreign_key(self) -> None:
        keyed = [r for r in self.world.relations if r.references]
        if keyed:
            child = self.dice.pick(keyed)
            column = self.dice.pick(sorted(child.references))
            self.statements = [f"ALTER TABLE {child.full} DROP COLUMN {column}"]

            def done() -> None:
                child.references.pop(column, None)

            self.done = done

    def partition(self) -> None:
        """A partition is detached, attached again, or added."""
        world, dice = self.world, self.dice
        parts = [r for r in world.kinds("partition") if r.root is not None]
        ranges = [r for r in world.kinds("root") if r.strategy.startswith(("RANGE", "LIST"))]
        if ranges and dice.chance(0.4):
            root = dice.pick(ranges)
            low = world.fresh_id() * 100
            part = Relation(
                dice.pick(SCHEMAS), world.fresh("p"), "partition", root.rank, world.age(),
                root.key, root.extras,
            )  # fmt: skip
            part.root = root
            listed = root.strategy.startswith("LIST")
            values = f"IN ({low})" if listed else f"FROM ({low}) TO ({low + 50})"
            self.statements = [
                f"CREATE TABLE {part.full} PARTITION OF {root.full} FOR VALUES {values}",
                f"INSERT INTO {root.full} (id, a) VALUES ({low}, {low if listed else 1})",
            ]
            self.done = lambda: world.relations.append(part)
        elif parts:
            part = dice.pick(parts)
            assert part.root is not None
            root = part.root

            def done() -> None:
                part.kind, part.root = "table", None

            self.statements = [f"ALTER TABLE {root.full} DETACH PARTITION {part.full}"]
            self.done = done

    def inherit(self) -> None:
        world = self.world
        children = [r for r in world.kinds("child") if r.root is not None]
        if not children:
            return
        child = self.dice.pick(children)
        assert child.root is not None
        how = self.dice.pick(["NO INHERIT", "INHERIT"])
        self.statements = [f"ALTER TABLE {child.full} {how} {child.root.full}"]

    # --- names ----------------------------------------------------------------

    def shadow(self) -> None:
        """A table of a name that the other schema has already."""
        world, dice = self.world, self.dice
        tables = [r for r in world.kinds("table") if r.name.startswith("t")]
        free = [
            (SCHEMAS[1 - SCHEMAS.index(r.schema)], r)
            for r in tables
            if not any(o is not r and o.name == r.name for o in world.relations)
        ]
        if not free:
            return
        schema, twin = dice.pick(free)
        new = Relation(schema, twin.name, "table", twin.rank, world.age())
        self.statements = [
            f"CREATE TABLE {new.full} (id int CONSTRAINT {world.fresh('k')} PRIMARY KEY,"
            " a int, b int, c text)",
            f"INSERT INTO {new.full} SELECT i, 7, i, 'shadow' FROM generate_series(1, 3) AS i",
        ]
        self.done = lambda: world.relations.append(new)

    def rename(self) -> None:
        """Two tables change places, or one goes to the other schema and comes back."""
        world, dice = self.world, self.dice
        names: dict[str, list[Relation]] = {}
        for relation in world.kinds("table"):
            names.setdefault(relation.name, []).append(relation)
        twins = [pair for pair in names.values() if len(pair) == 2]
        if not twins:
            return
        one, other = dice.pick(twins)
        middle = world.fresh("swap")
        self.statements = [
            f"ALTER TABLE {one.full} RENAME TO {middle}",
            f"ALTER TABLE {other.full} SET SCHEMA {one.schema}",
            f"ALTER TABLE {one.schema}.{middle} SET SCHEMA {other.schema}",
            f"ALTER TABLE {other.schema}.{middle} RENAME TO {one.name}",
        ]

        def done() -> None:
            one.schema, other.schema = other.schema, one.schema

        self.done = done

    def table_from_query(self) -> None:
        """CREATE TABLE AS and SELECT INTO, over something that may write."""
        world, dice = self.world, self.dice
        writers = world.code("writer")
        call = f"{dice.pick(writers).full}({dice.number()})" if writers else "1"
        source = world.say(dice.pick(world.readable()))
        name = f"{dice.pick(SCHEMAS)}.{world.fresh('n')}"
        self.statements = [
            dice.pick(
                [
                    f"CREATE TABLE {name} AS SELECT {call} AS w",
                    f"SELECT {call} AS w, x.id INTO {name} FROM {source} AS x WHERE x.id < 3",
                ]
            )
        ]

    def cascade(self) -> None:
        """Something goes, and all that rests on it."""
        things = [r for r in self.world.relations if r.kind in ("view", "matview")]
        if not things:
            return
        thing = self.dice.pick(things)
        what = "VIEW" if thing.kind == "view" else "MATERIALIZED VIEW"
        self.statements = [f"DROP {what} {thing.full} CASCADE"]
        world = self.world

        def done() -> None:
            world.relations.remove(thing)
            world.attached = [a for a in world.attached if a.on is not thing]

        self.done = done

    def view_settings(self) -> None:
        views = self.world.kinds("view")
        if views and self.world.major >= 15:
            view = self.dice.pick(views)
            how = self.dice.pick(["SET (security_invoker = true)", "RESET (security_invoker)"])
            self.statements = [f"ALTER VIEW {view.full} {how}"]
