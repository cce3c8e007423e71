"""Writes through Howdah: what was cached must be right after every step.

What a statement reaches behind its name, and changes of the schema, are in
`tests/closure`, one row a case.

Each case runs twice: directly in a twin schema, which tells what the writer itself
should see, and through Howdah. After every step a reader's answers through Howdah are
compared byte for byte with direct answers of the same statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.differential.cases_write import BASE, WRITES, On, Quiet, Step, Write
from tests.differential.test_reads import same
from tests.fix_howdah import Howdah, SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import Frame, Wire, connect, errors, kinds, rows, tags

Transcript = list[tuple[str, list[list[str | None]], list[str], list[str]]]


@dataclass
class Bench:
    howdah: Howdah
    server: PostgresServer
    database: str
    direct: Wire
    reader: Wire

    def connect_directly(self) -> Wire:
        return connect((self.server.host, self.server.port), self.database)

    def connect_through(self) -> Wire:
        return self.howdah.wire(self.database)


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Iterator[Bench]:
    scripts = ["CREATE SCHEMA other"]
    for case in WRITES:
        for schema in (schema_of(case), twin(case)):
            scripts += [text.replace("{s}", schema) for text in (BASE, case.setup) if text]
    database = each_postgres.create_database(*scripts, name="writes")
    howdah = shared_howdahs.of(each_postgres)
    howdah.warm(database)
    direct = connect((each_postgres.host, each_postgres.port), database)
    reader = howdah.wire(database)
    howdah.until_hit(reader)
    yield Bench(howdah, each_postgres, database, direct, reader)
    direct.close()
    reader.close()


def schema_of(case: Write) -> str:
    return f"w_{case.name}"


def twin(case: Write) -> str:
    return f"d_{case.name}"


def play(
    case: Write, schema: str, connect_session: Callable[[], Wire], after: Callable[[str], None]
) -> Transcript:
    """Run the steps; what each session saw, without what differs between twins (OIDs)."""
    sessions: dict[str, Wire] = {}
    transcript: Transcript = []
    try:
        for number, step in enumerate(case.steps):
            quiet = isinstance(step, Quiet)
            inner: Step = step.step if isinstance(step, Quiet) else step
            name = "a"
            if isinstance(inner, On):
                name, inner = inner.session, inner.step
            if name not in sessions:
                sessions[name] = connect_session()
            assert not isinstance(inner, Quiet | On)
            if isinstance(inner, str):
                frames: list[Frame] = sessions[name].query(inner.replace("{s}", schema))
            else:
                frames = inner(sessions[name], schema)
            status = frames[-1].payload.decode()
            shape = kinds(frames) + status
            transcript.append((shape, rows(frames), tags(frames), errors(frames)))
            if not quiet:
                after(f"step {number + 1}")
    finally:
        for wire in sessions.values():
            wire.close()
    return transcript


@pytest.mark.parametrize("case", WRITES, ids=lambda case: case.name)
def test_write(bench: Bench, case: Write) -> None:
    reads = [read.replace("{s}", schema_of(case)) for read in case.reads]

    def compare(when: str) -> None:
        for read in reads:
            same(bench.reader.query(read), bench.direct.query(read), f"{read} after {when}")
            same(bench.reader.extended(read), bench.direct.extended(read), f"{read} after {when}")

    expected = play(case, twin(case), bench.connect_directly, lambda when: None)
    for read in reads:
        if case.cacheable:
            bench.howdah.until_hit(bench.reader, read)
    compare("priming")
    found = play(case, schema_of(case), bench.connect_through, compare)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        step = case.steps[number]
        assert one == other, f"step {number + 1} {step!r}: through howdah {one}, directly {other}"
    compare("the end")
    compare("the end, again")
    if case.cacheable and case.hits_after:
        for read in reads:
            if bench.direct.query(read)[0].kind != "E":
                eventually(lambda read=read: bench.howdah.is_hit(bench.reader, read))  # type: ignore[misc]
