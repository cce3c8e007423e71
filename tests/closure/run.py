"""How a row is run: prime, act from another session, compare, and prove the hits.

Each row runs in every style. A run reads `/metrics` between its phases; the counter of
hits is the only witness of a hit. Every answer through Howdah is compared with the
direct one: byte for byte, or as a multiset of rows where the row says so.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.closure.case import UNRELATED, Case, CopyIn, In, Query, Step
from tests.closure.speak import STYLES, Speaker
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import Frame, Wire, connect, errors

#: Seconds until a hit that does not come has failed: a new catalog may be awaited.
HIT_PATIENCE = 3.0

HITS = re.compile(r'^howdah_statements_total\{[^}]*outcome="hit"[^}]*\} (\S+)$', re.MULTILINE)

Answers = list[list[Frame]]


@dataclass
class Bench:
    """A database with the schemas of many rows, and the connections that rows share."""

    howdah: Howdah
    server: PostgresServer
    database: str
    reader: Wire
    direct: Wire

    def renew(self) -> None:
        """New shared sessions: some acts and errors leave a session that gets fewer hits."""
        self.reader.close()
        self.direct.close()
        self.reader = self.connect_through("postgres")
        self.direct = self.connect_directly("postgres")

    def connect_directly(self, role: str) -> Wire:
        return connect((self.server.host, self.server.port), self.database, role)

    def connect_through(self, role: str) -> Wire:
        return self.howdah.wire(self.database, role)


def hits(howdah: Howdah) -> int:
    """Answers from memory since the start."""
    return sum(int(float(value)) for value in HITS.findall(howdah.get("/metrics")[1]))


def bytes_of(frames: list[Frame], bag: bool) -> list[bytes]:
    """What is compared: the frames as they came, or with the rows in order."""
    if not bag:
        return [frame.raw for frame in frames]
    rows = sorted(frame.raw for frame in frames if frame.kind == "D")
    return [frame.raw for frame in frames if frame.kind != "D"] + rows


def show(frames: list[Frame]) -> str:
    return "\n".join(f"  {f.kind} {f.payload[:160]!r}" for f in frames[:20])


class Run:
    """One pass of a row: its act in one style, its reads in one style or in all."""

    def __init__(self, bench: Bench, case: Case, number: int, readers: Sequence[str]) -> None:
        self.bench = bench
        self.case = case
        self.number = number
        self.style = STYLES[number - 1]
        self.reads = [self.text(sql) for sql in case.reads]
        self.sessions: dict[str, Speaker] = {}
        self.own = case.role != "postgres" or bool(case.session)
        self.readers = readers
        self.connect()

    def connect(self) -> None:
        """The sessions that read."""
        bench, case = self.bench, self.case
        reader = bench.connect_through(case.role) if self.own else bench.reader
        direct = bench.connect_directly(case.role) if self.own else bench.direct
        for wire in (reader, direct):
            for sql in case.session:
                wire.query(self.text(sql))
        self.wires = (reader, direct)
        self.pairs = [(Speaker(reader, style), Speaker(direct, style)) for style in self.readers]

    def text(self, sql: str) -> str:
        filled = sql.replace("{s}", self.case.home).replace("{n}", str(self.number))
        port = str(self.bench.server.port)
        return filled.replace("{d}", self.bench.database).replace("{port}", port)

    def close(self) -> None:
        for speaker in self.sessions.values():
            speaker.wire.close()
        for wire in self.wires if self.own else ():
            wire.close()
        for speaker in () if self.own else itertools.chain(*self.pairs):
            speaker.forget()

    def same(self, found: Answers, expected: Answers, when: str) -> None:
        for sql, one, other in zip(self.reads, found, expected, strict=True):
            if bytes_of(one, self.case.bag) != bytes_of(other, self.case.bag):
                raise AssertionError(
                    f"WRONG ANSWER {when}: {sql}\n"
                    f"through howdah:\n{show(one)}\ndirectly:\n{show(other)}"
                )

    def compare(self, when: str) -> list[Answers]:
        """All reads in all styles against the direct answers, which are returned."""
        expected = []
        for reader, direct in self.pairs:
            found = reader.read(self.reads)
            expected.append(direct.read(self.reads))
            self.same(found, expected[-1], f"{when}, read in style {reader.style}")
        return expected

    def count(self, action: Callable[[], object]) -> int:
        """The hits that an action had."""
        before = hits(self.bench.howdah)
        action()
        return hits(self.bench.howdah) - before

    def read_all(self) -> None:
        for reader, _ in self.pairs:
            reader.read(self.reads)

    def until_hits(self, action: Callable[[], object], number: int, what: str) -> None:
        """Repeat until all are hits: plans, settings, catalogs and entries come by and by."""
        try:
            eventually(lambda: self.count(action) == number, timeout=HIT_PATIENCE)
        except AssertionError:
            with self.bench.howdah.watching() as gained:
                action()
            raise AssertionError(f"{what}; asked again: {gained}") from None

    def until_all_hit(self, when: str) -> None:
        self.until_hits(self.read_all, len(self.pairs) * len(self.reads), f"NO HIT {when}")

    def never_hit(self) -> None:
        found = self.count(self.read_all)
        assert not found, f"{found} HITS that must not be: {self.reads}"

    def until_calm(self) -> None:
        """Statements that are parsed while a new catalog is awaited stay forwarded (F12)."""
        self.until_hits(lambda: self.bench.reader.query(UNRELATED), 1, "the cache is off")
        if self.own and self.case.cacheable:
            # The settings of a session are known by and by.
            self.until_hits(lambda: self.wires[0].query(UNRELATED), 1, "the session is unknown")

    def prime(self) -> list[Answers]:
        """The direct answers; the entries are there, and proven."""
        self.until_calm()
        for reader, direct in self.pairs:
            # Parse and Describe have the same answers, too.
            pairs = zip(reader.prepare(self.reads), direct.prepare(self.reads), strict=True)
            for one, other in pairs:
                assert bytes_of(one, False) == bytes_of(other, False), (show(one), show(other))
        self.compare("when it is cold")
        if self.case.cacheable:
            self.until_all_hit("before the act")
        else:
            self.never_hit()
        # A read by the name of a setting is the reason why all sessions are asked anew.
        self.until_calm()
        return self.compare("when it is warm")

    def session(self, name: str) -> Speaker:
        if name not in self.sessions:
            role = name.split(":")[0] if ":" in name else "postgres"
            self.sessions[name] = Speaker(self.bench.connect_through(role), self.style)
        return self.sessions[name]

    def step(self, step: Step) -> Step:
        """The step with its schema and number filled in."""
        if isinstance(step, In):
            inner = self.step(step.step)
            assert not isinstance(inner, In)
            return In(step.session, inner)
        if isinstance(step, Query):
            return Query(self.text(step.sql))
        if isinstance(step, CopyIn):
            return CopyIn(self.text(step.sql), self.text(step.data), step.fail)
        return self.text(step)

    def act(self) -> Answers:
        """All steps; what the writer read behind them, where it could."""
        steps = [self.step(step) for step in self.case.act]
        frames: list[Frame] = []
        answers: Answers = []
        plain = [step for step in steps if isinstance(step, str)]
        # A transaction that is sent ahead of the answer to its BEGIN counts as committed (F1).
        at_once = self.style == "pipelined" and not self.case.stays
        if at_once and len(plain) == len(steps):
            readable = [] if self.own else self.reads
            frames, answers = self.session("w").write_and_read(plain, readable)
        else:
            for step in steps:
                name, inner = (step.session, step.step) if isinstance(step, In) else ("w", step)
                frames += self.session(name).write(inner)
        found = errors(frames)
        if self.case.error:
            wanted = self.case.error.split()
            assert set(wanted) & set(found), f"{found} instead of {wanted}"
        else:
            assert not found, f"the act failed:\n{show(frames)}"
        return answers

    def prepare_act(self) -> None:
        """A single statement is parsed ahead, so that the act is only Bind and Execute."""
        plain = [self.text(step) for step in self.case.act if isinstance(step, str)]
        if len(plain) == len(self.case.act) == 1:
            self.session("w").prepare(plain)
        elif plain:
            self.session("w")

    def play(self) -> None:
        case = self.case
        self.prepare_act()
        before = self.prime()
        answers = self.act()
        if case.kept:
            kept = self.count(lambda: self.bench.reader.query(UNRELATED))
            assert kept == 1, "EVICTED TOO MUCH by the act"
        if case.stays:
            stayed = self.count(self.read_all)
            assert stayed == len(self.pairs) * len(self.reads), "EVICTED for nothing by the act"
        after = self.compare("after the act")
        if answers:
            # The writer reads as a pipeline does, in binary.
            expected = Speaker(self.bench.direct, "pipelined").read(self.reads)
            self.same(answers, expected, "in the same write behind the act")
        final = self.settle()
        was, became, now = (
            [bytes_of(answer, case.bag) for answers in each for answer in answers]
            for each in (before, after, final)
        )
        how = "stayed the same" if was == became == now else "changed"
        assert case.changes in (None, how == "changed"), f"the direct answers {how}"

    def settle(self) -> list[Answers]:
        """The entries come back, and say the same, also to statements that are parsed anew."""
        case = self.case
        if case.ddl:
            self.until_calm()
            for speaker in itertools.chain(*self.pairs):
                speaker.forget()
            self.compare("prepared again after the act")
            # A session keeps the plans of functions that it ran before the change.
            for wire in self.wires if self.own else ():
                wire.close()
            self.bench.renew()
            self.connect()
            self.until_calm()
            self.compare("in new sessions after the act")
        if case.cacheable and case.hit_after:
            self.until_all_hit("after the act")
        elif not case.cacheable:
            self.never_hit()
        return self.compare("at the end")

    def undo(self) -> None:
        for sql in self.case.undo:
            frames = self.session("w").wire.query(self.text(sql))
            assert not errors(frames), f"undo failed: {show(frames)}"


def run_case(bench: Bench, case: Case, turn: int) -> None:
    """One row in all styles.

    A write runs four times, acting and reading in each style. A change of the schema
    runs once, since each has a catalog read: in the style of its `turn`, read in all four.

    Raises:
        AssertionError: a wrong answer, a hit that is missing or too many.
    """
    numbers = [turn % len(STYLES) + 1] if case.ddl else range(1, len(STYLES) + 1)
    for number in numbers:
        readers = STYLES if case.ddl else (STYLES[number - 1],)
        run = Run(bench, case, number, readers)
        try:
            with contextlib.closing(run):
                run.play()
                run.undo()
        except AssertionError as error:
            raise AssertionError(f"acting in style {run.style}: {error}") from None
    if case.ddl or not case.cacheable:
        bench.renew()


@contextlib.contextmanager
def opened(howdah: Howdah, server: PostgresServer, database: str) -> Iterator[Bench]:
    """A bench whose database is being cached."""
    howdah.warm(database)
    reader = howdah.wire(database)
    direct = connect((server.host, server.port), database)
    howdah.until_hit(reader)
    bench = Bench(howdah, server, database, reader, direct)
    try:
        yield bench
    finally:
        bench.reader.close()
        bench.direct.close()
