"""Random writes: what a client may send to change rows, one or more messages each.

What must not live here: DDL (`changes.py`), bodies (`code.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.generator import dml
from tests.generator.world import Relation, World


@dataclass(frozen=True)
class Step:
    """One exchange with the server.

    Attributes:
        text: the statement; several, separated, where `how` is 'pipeline'.
        how: 'simple', 'extended', 'pipeline' (many Executes, one Sync), or 'copy'.
        data: the rows of a COPY.
        quiet: what it leaves locked would block readers until the write ends.
        other: another session sends it, while the first one may be in a transaction.
    """

    text: str
    how: str = "simple"
    data: str = ""
    quiet: bool = False
    other: bool = False


@dataclass(frozen=True)
class Write:
    """Steps of one session.

    Attributes:
        path: the number of its search path.
        schema: it changes the schema, so that the catalog is read again.
        done: to be called if no step has failed; keeps the world true.
    """

    steps: tuple[Step, ...]
    path: int = 0
    schema: bool = False
    done: Callable[[], None] | None = None


SEPARATOR = "\n;;\n"


class Writer:
    """Makes writes to one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice

    def make(self) -> Write:
        dice = self.dice
        form = dice.weighted(
            [
                (16, self.single),
                (14, self.aimed),
                (5, self.merged),
                (4, self.truncated),
                (4, self.copied),
                (4, self.nested),
                (6, self.called),
                (7, self.procedure),
                (6, self.block),
                (5, self.refreshed),
                (9, self.transaction),
                (4, self.several),
                (2, self.pipelined),
                (2, self.prepared),
                (2, self.explained),
                (2, self.cursor),
                (1, self.two_phase),
                (3, self.interleaved),
                (6, self.refilled),
            ]
        )
        return Write(tuple(form()), self.world.path())

    def how(self) -> str:
        return "extended" if self.dice.chance(0.35) else "simple"

    def statement(self) -> str:
        """One INSERT, UPDATE or DELETE of anything that can be written."""
        dice, world = self.dice, self.world
        target = world.target()
        name = ""
        if target.kind in ("parent", "child") and dice.chance(0.3):
            name = f"ONLY {target.full}"
            return dice.pick([dml.update, dml.delete])(world, target, (), name)
        text = dml.any_of(world, target, (), name)
        readers = world.code("reader")
        if readers and dice.chance(0.1):
            text = f"UPDATE {target.full} SET b = {dice.pick(readers).full}(a) % 50 WHERE id < 3"
        if dice.chance(0.15):
            text += " RETURNING 1"
        return text

    # --- forms ----------------------------------------------------------------

    def single(self) -> list[Step]:
        return [Step(self.statement(), self.how())]

    def aimed(self) -> list[Step]:
        """The life of a row of a relation where code runs: inserted, updated, deleted."""
        dice, world = self.dice, self.world
        options = [a.on for a in world.attached if a.on.writable]
        options += [relation for relation in world.relations if relation.computed]
        if not options:
            return self.single()
        target = dice.pick(options)
        columns, values = dml.row(world, target)
        new = values[0] = str(world.fresh_id())
        if target.kind == "partition":
            # Where it belongs is not known here.
            new = f"(SELECT min(id) FROM {target.full})"
        name = world.say(target)
        steps = [
            f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join(values)})",
            f"UPDATE {name} SET {dml.changed(world, target)} WHERE id IN ({new}, 2)",
            f"DELETE FROM {name} WHERE id = {new}",
        ]
        return [Step(text, self.how()) for text in dice.some(steps, 2)]

    def merged(self) -> list[Step]:
        targets = [t for t in self.world.targets(plain=True) if t.stored]
        if self.world.major < 15:
            return self.single()
        return [Step(dml.merge(self.world, self.dice.pick(targets)), self.how())]

    def refilled(self) -> list[Step]:
        """Rows for a relation that may have run dry."""
        target = self.dice.pick([r for r in self.world.relations if r.stored and r.takes])
        return [Step(self._refill(target), self.how())]

    def _refill(self, target: Relation) -> str:
        dice = self.dice
        # Where ON CONFLICT is no use, ids that are new.
        first = "i" if target.plain else f"i + {self.world.fresh_id() * 10}"
        return (
            f"INSERT INTO {target.full} (id, a, b, c) SELECT {first}, i % {dice.randint(2, 9)},"
            f" nullif(i % 4, 0), 'x' || i FROM generate_series(1, {dice.randint(3, 8)}) AS i"
            f"{' ON CONFLICT DO NOTHING' if target.plain else ''}"
        )

    def truncated(self) -> list[Step]:
        dice = self.dice
        target = dice.pick(self.world.kinds("table", "root", "partition", "parent", "child"))
        parents = [p for r in self.world.relations for p in r.references.values()]
        if parents and dice.chance(0.6):
            target = dice.pick(parents)
        only = "ONLY " if target.kind == "parent" and dice.chance(0.3) else ""
        cascade = dice.weighted([(3, " CASCADE"), (1, ""), (1, " RESTART IDENTITY CASCADE")])
        text = f"TRUNCATE {only}{self.world.say(target)}{cascade}"
        if dice.chance(0.3):
            end = dice.pick(["ROLLBACK", "COMMIT"])
            return [Step("BEGIN"), Step(text, quiet=True), Step(end), Step(self._refill(target))]
        return [Step(text, self.how()), Step(self._refill(target))]

    def copied(self) -> list[Step]:
        dice, world = self.dice, self.world
        if dice.chance(0.3):
            target = world.target(plain=True)
            text = dml.any_of(world, target)
            return [Step(f"COPY ({text} RETURNING 1) TO STDOUT")]
        target = dice.pick([t for t in world.targets() if t.kind != "view"])
        lines = [
            f"{world.fresh_id()}\t{dice.number()}\t{dice.pick(['7', chr(92) + 'N'])}\tx{i}\n"
            for i in range(dice.randint(1, 3))
        ]
        return [Step(f"COPY {world.say(target)} (id, a, b, c) FROM STDIN", "copy", "".join(lines))]

    def nested(self) -> list[Step]:
        """Data-modifying CTEs."""
        dice, world = self.dice, self.world
        one, two = world.target(plain=True), world.target(plain=True)
        first = dml.any_of(world, one)
        if dice.chance(0.3):
            second = dml.any_of(world, two)
            return [Step(f"WITH w AS ({first} RETURNING 1 AS n) {second}", self.how())]
        if dice.chance(0.3):
            moved = f"DELETE FROM {one.full} WHERE id = {dice.randint(1, 6)} RETURNING a, b, c"
            return [
                Step(
                    f"WITH w AS ({moved}) INSERT INTO {two.full} (id, a, b, c)"
                    f" SELECT {world.fresh_id()}, a, b, c FROM w",
                    self.how(),
                )
            ]
        source = world.say(dice.pick(world.readable()))
        return [
            Step(f"WITH w AS ({first} RETURNING 1 AS n) SELECT count(*) FROM {source}", self.how())
        ]

    def call(self) -> str:
        """A SELECT that runs a function that writes."""
        dice, world = self.dice, self.world
        writers = world.code("writer")
        if not writers:
            return self.statement()
        writer = dice.pick(writers)
        name, argument = world.say(writer), dice.number()
        source = world.say(dice.pick(world.readable()))
        texts = [
            f"SELECT {name}({argument})",
            f"SELECT * FROM {name}({argument}) AS w",
            f"SELECT {name}(x.a) FROM {source} AS x WHERE x.id < 4",
            f"SELECT 1 WHERE {name}({argument}) > 0",
            f"WITH w AS (SELECT {name}({argument}) AS n) SELECT n FROM w",
            f"VALUES ({name}({argument}))",
            f"SELECT count(*) FROM {source} AS x WHERE x.id = {name}({argument})",
        ]
        if world.writing_views:
            texts.append(f"SELECT * FROM {dice.pick(world.writing_views).full}")
        return dice.pick(texts)

    def called(self) -> list[Step]:
        return [Step(self.call(), self.how())]

    def procedure(self) -> list[Step]:
        procedures = self.world.code("procedure")
        if not procedures:
            return self.single()
        one = self.dice.pick(procedures)
        return [Step(f"CALL {self.world.say(one)}({self.dice.number()})", self.how())]

    def block(self) -> list[Step]:
        """A DO block."""
        dice = self.dice
        first, second = self.statement_inside(), self.statement_inside()
        middle = dice.weighted([(3, ""), (3, "COMMIT;"), (1, "ROLLBACK;")])
        last = dice.weighted([(3, ""), (2, " PERFORM 1 / 0;")])
        body = dice.pick(
            [
                f"BEGIN {first}; {middle} {second};{last} END",
                f"BEGIN {first}; {middle} {second};{last} END",
                f"DECLARE n int; BEGIN FOR n IN 1..2 LOOP {first}; END LOOP; END",
                f"BEGIN IF EXISTS (SELECT FROM {self.world.kinds('table')[0].full}) THEN {first};"
                f" ELSE {second}; END IF; END",
            ]
        )
        return [Step(f"DO $do$ {body} $do$", self.how())]

    def statement_inside(self) -> str:
        target = self.world.target(plain=True)
        return dml.any_of(self.world, target)

    def refreshed(self) -> list[Step]:
        views = self.world.kinds("matview")
        if not views:
            return self.single()
        how = "CONCURRENTLY " if self.dice.chance(0.3) else ""
        view = self.dice.pick(views)
        text = f"REFRESH MATERIALIZED VIEW {how}{self.world.say(view)}"
        if view.base is not None and view.base.writable and self.dice.chance(0.6):
            # There is something new for it to see.
            return [Step(dml.any_of(self.world, view.base)), Step(text, self.how())]
        if self.dice.chance(0.2):
            return [Step("BEGIN"), Step(text, quiet=True), Step(self.statement(), quiet=True)] + [
                Step(self.dice.pick(["COMMIT", "ROLLBACK"]))
            ]
        return [Step(text, self.how())]

    def inner(self) -> str:
        """One statement that may stand inside of a transaction."""
        return self.call() if self.dice.chance(0.25) else self.statement()

    def transaction(self) -> list[Step]:
        dice = self.dice
        begin = dice.weighted([(5, "BEGIN"), (1, "BEGIN ISOLATION LEVEL SERIALIZABLE")])
        steps = [Step(begin)]
        if dice.chance(0.3):
            steps.append(Step(f"SET CONSTRAINTS ALL {dice.pick(['DEFERRED', 'IMMEDIATE'])}"))
        steps.append(Step(self.inner(), self.how()))
        if dice.chance(0.5):
            steps += [Step("SAVEPOINT sp"), Step(self.inner(), self.how())]
            ends = ["ROLLBACK TO sp", "ROLLBACK TO sp", "RELEASE sp"]
            steps.append(Step(dice.pick(ends)))
        if dice.chance(0.3):
            steps.append(Step(self.inner()))
        last = dice.weighted([(6, "COMMIT"), (2, "ROLLBACK"), (1, "COMMIT AND CHAIN")])
        steps.append(Step(last))
        if steps[-1].text.endswith("CHAIN"):
            steps += [Step(self.inner()), Step(dice.pick(["COMMIT", "ROLLBACK"]))]
        return steps

    def interleaved(self) -> list[Step]:
        """Another session writes while a transaction is open."""
        inside = [Step(self.inner(), self.how()) for _ in range(self.dice.randint(1, 2))]
        others = [Step(self.inner(), self.how(), other=True)]
        end = Step(self.dice.pick(["COMMIT", "COMMIT", "ROLLBACK"]))
        return [Step("BEGIN"), inside[0], *others, *inside[1:], end]

    def several(self) -> list[Step]:
        """Several statements in one Query."""
        dice = self.dice
        parts = [self.inner() for _ in range(dice.randint(2, 3))]
        if dice.chance(0.4):
            end = dice.pick(["COMMIT", "ROLLBACK"])
            parts = ["BEGIN", parts[0], end, *parts[1:]]
        elif dice.chance(0.2):
            parts.append("SELECT 1 / 0")
        return [Step("; ".join(parts))]

    def pipelined(self) -> list[Step]:
        parts = [self.inner() for _ in range(self.dice.randint(2, 3))]
        if self.dice.chance(0.2):
            parts.append("SELECT 1 / 0")
        return [Step(SEPARATOR.join(parts), "pipeline")]

    def prepared(self) -> list[Step]:
        """PREPARE and EXECUTE at SQL level."""
        name = self.world.fresh("q")
        steps = [Step(f"PREPARE {name} AS {self.statement()}"), Step(f"EXECUTE {name}")]
        return [*steps, Step(f"EXECUTE {name}", self.how()), Step(f"DEALLOCATE {name}")]

    def explained(self) -> list[Step]:
        options = "(ANALYZE, COSTS off, TIMING off, SUMMARY off)"
        return [Step(f"EXPLAIN {options} {self.inner()}", self.how())]

    def cursor(self) -> list[Step]:
        writers = self.world.code("writer")
        if not writers:
            return self.single()
        one = self.dice.pick(writers)
        query = f"SELECT {one.full}({self.dice.number()}) FROM generate_series(1, 3)"
        return [
            Step("BEGIN"),
            Step(f"DECLARE cur CURSOR FOR {query}"),
            Step("FETCH 2 FROM cur"),
            Step("COMMIT"),
        ]

    def two_phase(self) -> list[Step]:
        name = self.world.fresh("gid")
        end = self.dice.pick(["COMMIT", "COMMIT", "ROLLBACK"])
        return [
            Step("BEGIN"),
            Step(self.statement()),
            Step(f"PREPARE TRANSACTION '{name}'"),
            Step(f"{end} PREPARED '{name}'"),
        ]
