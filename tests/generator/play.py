"""The loop: a random schema, reads that are primed, writes, and all reads again.

What must not live here: how anything is chosen or sent.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.generator import shrink
from tests.generator.changes import Changer
from tests.generator.reads import Read, Reader
from tests.generator.schemas import Builder
from tests.generator.stage import Bench, Difference, Stage, drop, failed
from tests.generator.world import Dice, World
from tests.generator.writes import Write, Writer

READS = 40
#: Writes to one schema, and the share of them that are DDL.
WRITES = 30
CHANGES = 0.07


@dataclass
class Figures:
    """What a run has done.

    Attributes:
        steps: writes and comparisons of reads.
        failures: messages of writes that PostgreSQL refused.
        changed: comparisons where the direct answer was not the one before.
        asked: reads through Howdah. hits: how many of them came from memory.
        outcomes: `outcome/reason` of everything, by Howdah's own metrics.
        reports: the differences, each as SQL that shows it.
    """

    schemas: int = 0
    writes: int = 0
    messages: int = 0
    failures: int = 0
    changes: int = 0
    compared: int = 0
    changed: int = 0
    asked: int = 0
    hits: float = 0
    seconds: float = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return self.writes + self.compared

    @property
    def share(self) -> float:
        """Hits among the reads."""
        return self.hits / self.asked if self.asked else 0.0

    def __str__(self) -> str:
        return (
            f"steps {self.steps}, schemas {self.schemas}, writes {self.writes}"
            f" (DDL {self.changes}), messages {self.messages} (refused {self.failures}),"
            f" comparisons {self.compared} (other than before {self.changed}),"
            f" hits {self.hits:.0f} ({self.share:.1%}),"
            f" differences {len(self.reports)}, {self.seconds:.1f} s"
        )


@dataclass
class Player:
    """One run.

    Attributes:
        first: end at the first difference.
        shrinking: seconds that may be spent to make a reproduction shorter.
    """

    bench: Bench
    seed: int
    first: bool = True
    shrinking: float = 60.0
    changes: float = CHANGES
    say: Callable[[str], None] = lambda text: None
    figures: Figures = field(default_factory=Figures)

    def play(self, steps: int) -> Figures:
        """Play until so many steps are done, or a difference is found."""
        figures = self.figures
        start = time.monotonic()
        while figures.steps < steps and not (self.first and figures.reports):
            with self.bench.howdah.watching() as gained:
                self._schema(figures.schemas, steps)
            figures.schemas += 1
            figures.hits += gained["hits"]
            figures.outcomes.update({k: int(v) for k, v in gained.items() if "/" in k})
            figures.seconds = time.monotonic() - start
            self.say(str(figures))
        return figures

    def _schema(self, number: int, steps: int) -> None:
        dice = Dice(f"{self.seed}/{number}")
        server = self.bench.server
        world = World(dice, server.major)
        database = server.create_database(name="generated")
        with server.connect(database) as direct:
            direct.execute(shrink.PATH)

            def run(statement: str) -> bool:
                try:
                    direct.execute(statement)
                except shrink.REFUSED:
                    return False
                return True

            Builder(world, run).build()
        self.bench.howdah.warm(database)
        with Stage(self.bench, database) as stage:
            stage.adopt(self._reads(world), READS)
            try:
                self._writes(world, stage, steps)
            finally:
                self.figures.asked += stage.asked
                self.figures.changed += stage.changed
                self.figures.failures += stage.failures
        drop(server, database)

    def _reads(self, world: World) -> list[Read]:
        """First the whole of what can change, then random reads."""
        reader = Reader(world)
        whole = [r for r in world.kinds("table", "root", "matview", "parent") if r.root is None]
        others = world.kinds("view", "partition", "child")
        whole += world.dice.sample(others, min(4, len(others)))
        reads = [reader.all_of(relation) for relation in whole]
        reads += [reader.call(function) for function in world.code("reader") + world.code("rows")]
        reads += [reader.expression(text) for text in world.expressions]
        return reads + [reader.make() for _ in range(2 * READS)]

    def _writes(self, world: World, stage: Stage, steps: int) -> None:
        figures = self.figures
        writer, changer = Writer(world), Changer(world)
        past: list[Write] = []
        difference = self._compare(stage, "priming") or self._compare(stage, "priming again")
        while difference is None and len(past) < WRITES and figures.steps < steps:
            change = world.dice.chance(self.changes)
            write = changer.make() if change else writer.make()
            past.append(write)
            figures.writes += 1
            figures.changes += write.schema
            difference = self._write(world, stage, write)
        if difference is not None:
            figures.reports.append(
                shrink.report(self.bench, world.setup, past, difference, self.shrinking)
            )
            self.say(figures.reports[-1])

    def _compare(self, stage: Stage, when: str) -> Difference | None:
        before = stage.compared
        try:
            return stage.compare(when)
        finally:
            self.figures.compared += stage.compared - before

    def _write(self, world: World, stage: Stage, write: Write) -> Difference | None:
        """Send a write; after each message every read must be right."""
        good = True
        for number, step in enumerate(write.steps):
            answer = stage.act(write, step)
            self.figures.messages += 1
            good &= not failed(answer)
            difference = None
            if not step.quiet:
                difference = self._compare(stage, f"message {number + 1} of the last write")
                if difference is None and answer[-1:] == b"T":
                    difference = self._own_view(world, stage, stage.session(write, step))
            if difference is not None:
                stage.end()
                return difference
        stage.end()
        if good and write.done is not None:
            write.done()
        if write.schema:
            self.bench.howdah.warm(stage.database)
            stage.prepare_again()
            return self._compare(stage, "the schema has changed")
        return None

    def _own_view(self, world: World, stage: Stage, session: int) -> Difference | None:
        before = stage.compared
        try:
            return stage.own_view(session, world.dice.randint(0, len(stage.reads) - 1))
        finally:
            self.figures.compared += stage.compared - before
