"""One database with its connections: direct ones, and ones through Howdah.

What lives here: how a read and a step are sent, and how two answers are compared.
What must not: any choice.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_wire import (
    COPY_DONE,
    SYNC,
    Frame,
    Wire,
    bind,
    close,
    connect,
    copy_data,
    describe,
    execute,
    parse,
    query,
)
from tests.generator.reads import Read
from tests.generator.world import PATHS
from tests.generator.writes import SEPARATOR, Step, Write

#: Nobody waits for ever: what is locked or endless fails, and is not compared.
OPTIONS = "-c lock_timeout={} -c statement_timeout=15000"
_GIVEN_UP = frozenset((b"55P03", b"57014"))
OFF = "/* howdah: off */ "
#: Sessions that read, for each search path.
WIDTHS = (2, 1, 1)
INT4 = 23


@dataclass(frozen=True)
class Bench:
    """A server and a Howdah in front of it."""

    server: PostgresServer
    howdah: Howdah


def messages(read: Read, number: int) -> bytes:
    """What asks for a read; `number` names its prepared statement."""
    if read.style == "simple":
        return query(read.text)
    values = [] if read.value is None else [str(read.value).encode()]
    if read.style == "prepared":
        return bind(values, statement=f"r{number}") + describe() + execute() + SYNC
    oids = [INT4] * len(values)
    return parse(read.text, oids=oids) + bind(values) + describe() + execute() + SYNC


def frames(answer: bytes) -> list[Frame]:
    found, at = [], 0
    while at < len(answer):
        kind, length = struct.unpack_from("!cI", answer, at)
        found.append(Frame(kind.decode(), answer[at + 5 : at + 1 + length]))
        at += 1 + length
    return found


def failed(answer: bytes) -> bytes:
    """The SQLSTATE in an answer, or nothing."""
    at = 0
    while at < len(answer):
        kind, length = struct.unpack_from("!cI", answer, at)
        if kind == b"E":
            return Frame("E", answer[at + 5 : at + 1 + length]).fields["C"].encode()
        at += 1 + length
    return b""


def same(found: bytes, expected: bytes, ordered: bool) -> bool:
    """Byte for byte; where rows have no order, as a multiset."""
    if found == expected:
        return True
    if failed(expected) in _GIVEN_UP or failed(found) in _GIVEN_UP:
        return True
    return not ordered and sorted(frames(found)) == sorted(frames(expected))


class Link:
    """A connection from which whole answers are read."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.buffer = bytearray()

    def send(self, data: bytes) -> None:
        self.wire.socket.sendall(data)

    def answer(self) -> bytes:
        """Everything up to the next ReadyForQuery, or to CopyInResponse."""
        at, buffer = 0, self.buffer
        while True:
            while len(buffer) < at + 5 or len(buffer) < at + 1 + int.from_bytes(
                buffer[at + 1 : at + 5], "big"
            ):
                chunk = self.wire.socket.recv(1 << 18)
                if not chunk:
                    raise EOFError(bytes(buffer))
                buffer += chunk
            kind = buffer[at]
            at += 1 + int.from_bytes(buffer[at + 1 : at + 5], "big")
            if kind in b"ZG":
                found = bytes(buffer[:at])
                del buffer[:at]
                return found

    def ask(self, data: bytes) -> bytes:
        self.send(data)
        return self.answer()


def drop(server: PostgresServer, database: str) -> None:
    """Away with it; Howdah's own connection to it is cut."""
    with server.connect("postgres") as admin:
        admin.execute(f"DROP DATABASE {database} WITH (FORCE)")


@dataclass
class Difference:
    """A wrong answer."""

    read: Read
    found: bytes
    expected: bytes
    when: str


@dataclass
class Stage:
    """Connections to one database. A context manager."""

    bench: Bench
    database: str
    reads: list[Read] = field(default_factory=list)
    asked: int = 0
    compared: int = 0
    changed: int = 0
    failures: int = 0
    before: list[bytes] = field(default_factory=list)

    def __enter__(self) -> Stage:
        server, howdah = self.bench.server, self.bench.howdah
        self.direct = [self._link((server.host, server.port), path) for path in PATHS]
        self.through = [
            [self._link(howdah.address, path) for _ in range(width)]
            for path, width in zip(PATHS, WIDTHS, strict=True)
        ]
        self.writers = [self._link(howdah.address, path, 60) for path in PATHS]
        self.open = [False for _ in PATHS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        lanes = [link for group in self.through for link in group]
        for link in [*self.direct, *lanes, *self.writers]:
            link.wire.close()

    def _link(self, address: tuple[str, int], path: str, patience: int = 1500) -> Link:
        """A connection; `patience` is how long it waits for a lock, in ms."""
        options = OPTIONS.format(patience)
        return Link(connect(address, self.database, search_path=path, options=options))

    def lane(self, number: int) -> Link:
        """The connection through Howdah that asks for this read."""
        lanes = self.through[self.reads[number].path]
        return lanes[number % len(lanes)]

    # --- reads ----------------------------------------------------------------

    def adopt(self, candidates: Sequence[Read], most: int) -> None:
        """Keep those reads that work; prepare the named ones on both sides."""
        for read in candidates:
            if len(self.reads) >= most:
                break
            number = len(self.reads)
            if read.style == "prepared":
                made = self.direct[read.path].ask(self._prepare(read, number))
                if failed(made):
                    continue
            if failed(self.direct[read.path].ask(messages(read, number))):
                continue
            self.reads.append(read)
            if read.style == "prepared":
                self.lane(number).ask(self._prepare(read, number))

    @staticmethod
    def _prepare(read: Read, number: int) -> bytes:
        oids = [] if read.value is None else [INT4]
        name = f"r{number}"
        return close("S", name) + parse(read.text, name, oids) + SYNC

    def prepare_again(self) -> None:
        """After DDL: every other statement is made anew, and those that fail now.

        The rest keep what they meant when they were parsed (F9).
        """
        for number, read in enumerate(self.reads):
            if read.style != "prepared":
                continue
            link = self.direct[read.path]
            if number % 2 or failed(link.ask(messages(read, number))):
                for one in (link, self.lane(number)):
                    one.ask(self._prepare(read, number))

    def expected(self) -> list[bytes]:
        """The direct answers, in one round trip for each path."""
        answers: list[bytes] = [b""] * len(self.reads)
        for path, link in enumerate(self.direct):
            numbers = [n for n, read in enumerate(self.reads) if read.path == path]
            link.send(b"".join(messages(self.reads[n], n) for n in numbers))
            for number in numbers:
                answers[number] = link.answer()
        return answers

    def found(self) -> list[bytes]:
        """The answers through Howdah: a session asks one at a time, or it gets no hits."""
        answers: list[bytes] = [b""] * len(self.reads)
        lanes: dict[int, list[int]] = {}
        for number in range(len(self.reads)):
            lanes.setdefault(id(self.lane(number)), []).append(number)
        queues = list(lanes.values())
        for turn in range(max(map(len, queues), default=0)):
            now = [queue[turn] for queue in queues if turn < len(queue)]
            for number in now:
                self.lane(number).send(messages(self.reads[number], number))
            for number in now:
                answers[number] = self.lane(number).answer()
        self.asked += len(self.reads)
        return answers

    def compare(self, when: str) -> Difference | None:
        """Every read, directly and through Howdah; the first difference."""
        found = self.found()
        expected = self.expected()
        self.compared += len(self.reads)
        if self.before:
            pairs = zip(self.before, expected, strict=True)
            self.changed += sum(one != other for one, other in pairs)
        self.before = expected
        for read, one, other in zip(self.reads, found, expected, strict=True):
            if not same(one, other, read.ordered):
                return Difference(read, one, other, when)
        return None

    # --- writes ---------------------------------------------------------------

    def act(self, write: Write, step: Step) -> bytes:
        """Send one step of a write through Howdah; its answer."""
        session = self.session(write, step)
        link = self.writers[session]
        if step.how == "simple":
            answer = link.ask(query(step.text))
        elif step.how == "copy":
            answer = link.ask(query(step.text))
            if chr(answer[0]) == "G":
                answer = link.ask(copy_data(step.data.encode()) + COPY_DONE)
        else:
            parts = step.text.split(SEPARATOR)
            batch = [parse(text) + bind() + describe() + execute() for text in parts]
            answer = link.ask(b"".join(batch) + SYNC)
        self.failures += bool(failed(answer))
        self.open[session] = answer[-1:] != b"I"
        return answer

    @staticmethod
    def session(write: Write, step: Step) -> int:
        return (write.path + step.other) % len(PATHS)

    def end(self) -> None:
        """Leave no transaction open."""
        for session, link in enumerate(self.writers):
            if self.open[session]:
                link.ask(query("ROLLBACK"))
                self.open[session] = False

    def own_view(self, session: int, number: int) -> Difference | None:
        """Inside of its transaction the writer must see what it has written (T1).

        What it should see is told by PostgreSQL itself: a hint has the text forwarded.
        """
        read = self.reads[number]
        if read.style != "simple":
            return None
        link = self.writers[session]
        found = link.ask(query(read.text))
        if failed(found):
            return None
        self.asked += 1
        self.compared += 1
        expected = link.ask(query(OFF + read.text))
        if same(found, expected, read.ordered):
            return None
        return Difference(read, found, expected, "to the writer itself")
