"""What a reply proves to a writer, how answers are taken apart, how a scene is warmed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from proxy.consistency.cell import Cell, Op, Writer, parts
from proxy.consistency.context import Context, Counts
from proxy.consistency.link import Reply
from proxy.consistency.on_registers import Registers
from proxy.upstream import Upstream

HERE = Upstream("postgres")


def told(tags: list[bytes], *states: str) -> tuple[str, Counts]:
    """What a writer makes of a reply with these tags and SQLSTATEs."""
    heard: list[str] = []
    counts = Counts()
    cell: Any = SimpleNamespace(context=SimpleNamespace(counts=counts))
    link: Any = None
    writer = Writer(cell, link, link, 0, link)
    op = Op("path", lambda _: heard.append("commit"), lambda _: heard.append("abort"))
    writer.begin(op)
    writer.done(Reply(0, 1, tags=tags, errors=[{"C": state} for state in states]), op)
    assert writer.open == []
    return heard[0], counts


@pytest.mark.parametrize(
    ("tags", "outcome"),
    [
        ([b"UPDATE 1"], "commit"),
        ([b"COMMIT"], "commit"),
        ([b"COMMIT", b"SELECT 1"], "commit"),
        ([b"COMMIT", b"ROLLBACK"], "commit"),
        ([b"ROLLBACK"], "abort"),
        ([b"ROLLBACK", b"SELECT 1"], "abort"),
    ],
)
def test_tags_tell_the_outcome(tags: list[bytes], outcome: str) -> None:
    assert told(tags)[0] == outcome


def test_an_error_is_a_known_abort_and_is_counted_unless_expected() -> None:
    outcome, counts = told([], "40P01")
    assert (outcome, dict(counts.errors)) == ("abort", {})
    outcome, counts = told([], "42P01")
    assert (outcome, sum(counts.errors.values())) == ("abort", 1)
    assert counts.writes["path", "aborted"] == 1


def test_pipelined_answers_are_taken_apart_by_their_tags() -> None:
    rows: list[list[bytes | None]] = [[b"1"], [b"2"], [b"3"]]
    reply = Reply(0, 1, rows, [b"SELECT 2", b"SELECT 1"])
    assert [part.rows for part in parts(reply, "pipelined")] == [[[b"1"], [b"2"]], [[b"3"]]]
    assert parts(reply, "simple") == [reply]


@pytest.fixture
def registers() -> Registers:
    return Registers(Context(HERE, HERE, schema="s", seed=3), 0)


def test_late_reads_are_asked_in_one_batch_too(registers: Cell) -> None:
    seen = set()
    for _ in range(2000):
        registers.choose_scene()
        late = {read.sql for read, style in registers.hot if style == "late"}
        assert late <= {read.sql for read, style in registers.hot if style == "prepared"}
        seen |= late
    assert seen


def test_two_writers_never_share_a_key(registers: Registers) -> None:
    for group in registers._group:
        keys = []
        for number in (0, 1):
            draw: Any = SimpleNamespace(choice=list)
            writer: Any = SimpleNamespace(number=number, draw=draw)
            mine: Any = registers.key_of(writer, group=group)
            keys.append(set(mine))
        assert keys[0]
        assert not keys[0] & keys[1]


def test_schema_is_filled_in(registers: Registers) -> None:
    for statement in registers.schema():
        assert "{" not in statement.replace("'{}'", "")
