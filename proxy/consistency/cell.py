"""What the workloads share: scenes, turns, readers, writers, and who is told of it.

What lives here: a cell (some tables, their readers and writers) without its SQL. What must
not: faults from outside, reports.

A cell works on one scene at a time: a few statements that its readers ask again and again
while its writers change what they read. So each write has many reads around it, most of
which can be hits. Writers wait for a number of reads, not for a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from proxy.consistency import styles
from proxy.consistency.context import Client, Context
from proxy.consistency.history import Judge, Violation
from proxy.consistency.link import Link, Lost, Reply, clock
from proxy.consistency.power import Tape
from proxy.consistency.styles import Value

#: SQLSTATEs that belong to the game: cancelled, serialization failure, deadlock.
EXPECTED = ("57014", "40001", "40P01", "55P03")
_HOT = 4
_SCENE_WRITES = (8, 40)


Assess = Callable[[list[list[int]], Reply, str, bool], bool]


@dataclass(frozen=True, slots=True)
class Read:
    """One statement that readers ask, and how its rows are judged.

    Attributes:
        assess: takes rows of integers, the reply's times, a description, and whether the
            answer came past the address under test.
        text: the columns are not integers: rows are made by `decode`, never binary.
    """

    name: str
    sql: str
    values: tuple[Value, ...]
    assess: Assess
    decode: Callable[[Reply], list[list[int]]] | None = None

    def describe(self, style: str) -> str:
        values = f" {list(self.values)}" if self.values else ""
        return f"[{style}] {self.sql}{values}"


@dataclass(slots=True)
class Op:
    """A write whose outcome is to be learnt.

    Attributes:
        commit: tells the judge when it is known to be in force.
        abort: tells the judge that it never will be.
        probe: asks PostgreSQL, once nobody can commit it any more; None if nobody can tell.
    """

    path: str
    commit: Callable[[float], object]
    abort: Callable[[float], object]
    probe: Callable[[], Awaitable[bool]] | None = None


class Writer:
    """What one write path works with. Made for each write.

    Attributes:
        link: the connection to write with.
        draw: a source of chance.
    """

    def __init__(self, cell: Cell, client: Client, link: Link, number: int, draw: Random) -> None:
        self.cell = cell
        self.client = client
        self.link = link
        self.number = number
        self.draw = draw
        self.open: list[Op] = []
        self.gids: list[str] = []

    @property
    def outside(self) -> bool:
        """Whether this one writes past the address under test."""
        return self.client.where is not self.cell.context.through

    def begin(self, op: Op) -> Op:
        """The write is about to be sent."""
        self.open.append(op)
        return op

    def done(self, reply: Reply, *ops: Op) -> bool:
        """The reply that ends these writes: committed, or rolled back as a known abort."""
        # COMMIT of a failed transaction says ROLLBACK.
        ended = b"COMMIT" in reply.tags or b"ROLLBACK" not in reply.tags
        committed = not reply.errors and ended
        if committed:
            self.committed(reply.end, *ops)
        else:
            self.aborted(reply.end, *ops)
            self.complain(reply, ops[0].path if ops else "")
        return committed

    def committed(self, end: float, *ops: Op) -> None:
        """These are known to be in force."""
        for op in ops:
            op.commit(end)
            self.open.remove(op)
            self.cell.context.counts.writes[op.path, "committed"] += 1

    def aborted(self, time: float, *ops: Op) -> None:
        """These are known never to be."""
        for op in ops:
            op.abort(time)
            self.open.remove(op)
            self.cell.context.counts.writes[op.path, "aborted"] += 1

    async def own(
        self, judge: Judge, sql: str, values: tuple[Value, ...], shows: list[int]
    ) -> None:
        """Read inside of the transaction that has written: the answer has this row.

        The text is one that others ask, too, so that it could come from memory, or be stored.
        """
        reply = await styles.simple(self.link, sql, *values)
        if reply.errors or shows in styles.integers(reply, binary=False):
            return
        message = f"its own transaction reads {reply.rows}, without {shows}"
        judge.report("own-write", message, reply.begin, reply.end, read=sql)
        if self.cell.context.stop_early:
            self.cell.context.end()

    def complain(self, reply: Reply, what: str, allowed: Sequence[str] = ()) -> None:
        """Count errors that nobody expects here."""
        for error in reply.errors:
            if error.get("C") not in (*EXPECTED, *allowed):
                text = f"{what}: {error.get('C')} {error.get('M')}"
                self.cell.context.counts.errors[text] += 1

    async def settle(self, lost: bool) -> None:
        """Learn what became of the writes that are still open."""
        context = self.cell.context
        if lost:
            await context.gone(self.client.name)
        while self.open and self.gids:
            await self._forget(self.gids.pop())
        for op in list(self.open):
            if op.probe is None:
                self.open.remove(op)
                context.counts.writes[op.path, "unknown"] += 1
            elif await op.probe():
                self.committed(clock(), op)
            else:
                self.aborted(clock(), op)

    async def _forget(self, gid: str) -> None:
        """Roll back a prepared transaction that nobody else will end."""
        text = "SELECT 1 FROM pg_prepared_xacts WHERE gid = $1"
        while (await self.cell.context.ask(text, gid)).rows:
            try:
                await styles.simple(await self.client.link(), f"ROLLBACK PREPARED '{gid}'")
            except Lost:
                await self.cell.context.gone(self.client.name)


Path = Callable[[Writer], Awaitable[None]]


@dataclass(slots=True)
class Scene:
    """Some reads, and the ways to write what they read.

    Attributes:
        paths: name -> the function and how often it is taken, in parts.
        single: only the first writer writes.
        pace: about how many reads of the cell go by between two writes.
    """

    name: str
    reads: list[Read]
    paths: Mapping[str, tuple[Path, int]]
    single: bool = False
    weight: int = 1
    pace: float = 90.0


class Cell:
    """Some tables with their readers and writers. Workloads derive from it."""

    kind = ""

    def __init__(self, context: Context, number: int) -> None:
        self.context = context
        self.number = number
        self.name = f"{self.kind} {number}"
        self.draw = context.random(self.name)
        self.scenes: list[Scene] = []
        self.judges: list[Judge] = []
        self.tapes: dict[int, Tape] = {}
        self.primed: dict[tuple[str, str, tuple[Value, ...]], Read] = {}
        self.reads = 0
        self._turns: list[tuple[int, asyncio.Future[None]]] = []
        self._left = 0
        self.scene: Scene | None = None
        self.hot: list[tuple[Read, str]] = []

    # what workloads say

    def schema(self) -> list[str]:
        """The statements that make the tables, run directly before the start."""
        raise NotImplementedError

    async def quiet(self) -> None:
        """Nobody writes, and every outcome is known: a moment to adjust the judges."""

    def violations(self) -> list[Violation]:
        """All that was found here."""
        found: list[Violation] = []
        for judge in self.judges:
            found += judge.found
        return found

    def tell(self, judge: Judge, method: str, *arguments: Any, **more: Any) -> Any:
        """Call a judge, and record it where a tape runs."""
        tape = self.tapes.get(id(judge))
        if tape is not None:
            tape.add(method, arguments, more)
        return getattr(judge, method)(*arguments, **more)

    # scenes and turns

    def choose_scene(self) -> Scene:
        """The scene that is on; another one after some writes."""
        if self._left <= 0 or self.scene is None:
            weights = [scene.weight for scene in self.scenes]
            self.scene = self.draw.choices(self.scenes, weights)[0]
            self._left = self.draw.randint(*_SCENE_WRITES)
            self._heat()
        elif self.draw.random() < 0.2:
            self._heat()
        self._left -= 1
        return self.scene

    def _heat(self) -> None:
        assert self.scene is not None
        names, weights = list(styles.READ_STYLES), list(styles.READ_STYLES.values())
        self.hot = []
        for _ in range(_HOT):
            read = self.draw.choice(self.scene.reads)
            style = self.draw.choices(names, weights)[0]
            if style == "binary" and read.decode is not None:
                style = "prepared"
            # What a late Execute has stored is served to those who ask in one batch.
            for asked in ("late", "prepared") if style == "late" else (style,):
                self.hot.append((read, asked))
                if asked in styles.PRIMING:
                    self.primed[asked, read.sql, read.values] = read

    def forget(self) -> None:
        """Reads that nobody asks any more need not be compared again."""
        asked = {(read.sql, read.values) for scene in self.scenes for read in scene.reads}
        for key in [key for key in self.primed if key[1:] not in asked]:
            del self.primed[key]

    async def turn(self, draw: Random, pace: float) -> None:
        """Wait until some reads have gone by; sometimes none."""
        count = int(draw.expovariate(1 / pace)) if draw.random() > 0.1 else 0
        if count == 0 or self.context.ended():
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._turns.append((self.reads + count, future))
        await future

    def advance(self) -> None:
        """One more read; writers whose turn it is go on."""
        self.reads += 1
        if self._turns:
            due = [turn for turn in self._turns if turn[0] <= self.reads]
            for turn in due:
                self._turns.remove(turn)
                if not turn[1].done():
                    turn[1].set_result(None)

    def release(self) -> None:
        """Let all writers go on, since the run ends."""
        for _, future in self._turns:
            if not future.done():
                future.set_result(None)
        self._turns.clear()

    # the loops

    async def read_loop(self, client: Client, draw: Random, direct: bool = False) -> None:
        """Ask what is hot until the run ends."""
        context = self.context
        while not context.ended():
            if not self.hot:
                await asyncio.sleep(0.001)
                continue
            read, style = draw.choice(self.hot)
            await self.read_once(client, read, style, direct)
            if direct:
                # A direct read now and then is enough to see what is really there.
                await self.turn(draw, 60.0)

    async def read_once(self, client: Client, read: Read, style: str, direct: bool) -> None:
        """Ask and judge one statement."""
        context = self.context
        try:
            link = await client.link()
            reply = await styles.read(link, style, read.sql, read.values)
            if link.status != "I":
                await styles.simple(link, "ROLLBACK")
        except Lost:
            context.counts.lost_reads += 1
            self.advance()
            return
        self.judge(read, style, reply, direct)
        self.advance()

    def judge(self, read: Read, style: str, reply: Reply, direct: bool) -> None:
        """Count and assess an answer."""
        counts = self.context.counts
        if reply.errors:
            if reply.state not in EXPECTED:
                text = f"{read.describe(style)}: {reply.state} {reply.errors[0].get('M')}"
                counts.errors[text] += 1
            return
        for part in parts(reply, style):
            rows = read.decode(part) if read.decode else styles.integers(part, style == "binary")
            fine = read.assess(rows, part, read.describe(style), direct)
            if not fine and self.context.stop_early:
                self.context.end()
            counts.styles[style] += 1
            counts.reads[f"{self.kind}: {read.name}"] += 1
            counts.direct += direct

    async def write_loop(self, client: Client, past: Client, draw: Random, number: int) -> None:
        """Write in turns until the run ends."""
        context = self.context
        while not context.ended():
            scene = self.choose_scene()
            await self.turn(draw, scene.pace)
            if context.ended():
                return
            if scene.single and number:
                await self.turn(draw, 200.0)
                continue
            who = past if context.bypass and draw.random() < context.bypass else client
            async with context.gate.inside():
                await self._write_once(scene, who, draw, number)

    async def _write_once(self, scene: Scene, client: Client, draw: Random, number: int) -> None:
        names = list(scene.paths)
        name = draw.choices(names, [scene.paths[name][1] for name in names])[0]
        link = await client.link()
        writer = Writer(self, client, link, number, draw)
        client.writing = True
        try:
            await scene.paths[name][0](writer)
            if link.status != "I":
                await styles.simple(link, "ROLLBACK")
            await self.look(writer)
        except Lost:
            await writer.settle(lost=True)
        else:
            await writer.settle(lost=False)
        finally:
            client.writing = False

    async def look(self, writer: Writer) -> None:
        """The writer's own connection reads: it sees at least what it has written."""
        if self.hot and writer.draw.random() < 0.5:
            read, style = writer.draw.choice(self.hot)
            reply = await styles.read(writer.link, style, read.sql, read.values)
            self.judge(read, style, reply, writer.outside)
            self.advance()


def parts(reply: Reply, style: str) -> list[Reply]:
    """The answers in a reply: two of a pipelined read, else itself."""
    if style != "pipelined":
        return [reply]
    found, at = [], 0
    for tag in reply.tags:
        rows = int(tag.rsplit(b" ", 1)[-1])
        found.append(Reply(reply.begin, reply.end, reply.rows[at : at + rows], [tag]))
        at += rows
    return found
