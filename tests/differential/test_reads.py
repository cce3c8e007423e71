"""Every read in every style: direct, cold and warm through Howdah, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.differential.cases_read import READS, SCHEMA, Read
from tests.differential.styles import HITS, STYLES
from tests.fix_howdah import Howdah, SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import Frame, Wire, connect, raw


@dataclass
class Bench:
    """One direct connection and two through Howdah, all in the same database."""

    howdah: Howdah
    direct: Wire
    one: Wire
    other: Wire


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Iterator[Bench]:
    database = each_postgres.create_database(*SCHEMA, name="reads")
    howdah = shared_howdahs.of(each_postgres)
    howdah.warm(database)
    direct = connect((each_postgres.host, each_postgres.port), database)
    one, other = howdah.wire(database), howdah.wire(database)
    for wire in (one, other):
        howdah.until_hit(wire)
    yield Bench(howdah, direct, one, other)
    for wire in (direct, one, other):
        wire.close()


def show(frames: list[Frame]) -> str:
    """Short enough for a failure report."""
    return "\n".join(f"{f.kind} {f.payload[:200]!r}" for f in frames[:40])


def same(found: list[Frame], expected: list[Frame], what: str) -> None:
    if raw(found) != raw(expected):
        raise AssertionError(
            f"{what} differs\n--- through howdah\n{show(found)}\n--- direct\n{show(expected)}"
        )


CASES = [
    pytest.param(case, style, id=f"{case.name}-{style}")
    for case in READS
    for style in STYLES
    if not (style == "simple" and case.parameters)
]


@pytest.mark.parametrize(("case", "style"), CASES)
def test_read(bench: Bench, case: Read, style: str) -> None:
    send = STYLES[style]
    howdah = bench.howdah
    expected = send(bench.direct, case.sql, case.parameters)
    # What the case before has evicted may be fenced for a moment.
    eventually(lambda: howdah.count("fences_up") == 0)
    if "current_setting" in case.sql:
        # A name that is read for the first time is asked for from then on.
        send(bench.one, case.sql, case.parameters)
    with howdah.watching() as cold_gain:
        cold = send(bench.one, case.sql, case.parameters)
    with howdah.watching() as warm_gain:
        warm = send(bench.one, case.sql, case.parameters)
    with howdah.watching() as other_gain:
        other = send(bench.other, case.sql, case.parameters)
    if case.same:
        same(cold, expected, "the cold answer")
        same(warm, expected, "the warm answer")
        same(other, expected, "the answer to another session")
    if case.cacheable:
        assert warm_gain["hits"] == HITS[style], f"no hit: cold {cold_gain}, warm {warm_gain}"
        assert other_gain["hits"] == HITS[style], f"no hit in another session: {other_gain}"
    elif case.cacheable is False:
        hits = cold_gain["hits"] + warm_gain["hits"] + other_gain["hits"]
        assert hits == 0, f"answered from memory: {cold_gain}, {warm_gain}, {other_gain}"
