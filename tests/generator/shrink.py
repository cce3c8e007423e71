"""Fewer statements that still show a difference, and the difference as SQL.

What must not live here: random choices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg

from tests.generator.stage import Bench, Difference, Stage, drop, frames
from tests.generator.world import PATHS
from tests.generator.writes import Write

#: What a statement raises that PostgreSQL does not take.
REFUSED = psycopg.Error
#: What a schema is made with.
PATH = f"SET search_path = {PATHS[0]}"
T = TypeVar("T")


def differs(
    bench: Bench, setup: Sequence[str], writes: Sequence[Write], difference: Difference
) -> Difference | None:
    """Play it again in a fresh database, with this one read."""
    database = bench.server.create_database(name="again")
    with bench.server.connect(database) as direct:
        direct.execute(PATH)
        for statement in setup:
            try:
                direct.execute(statement)
            except REFUSED:
                pass
    try:
        return _replay(bench, database, writes, difference)
    finally:
        drop(bench.server, database)


def _replay(
    bench: Bench, database: str, writes: Sequence[Write], difference: Difference
) -> Difference | None:
    bench.howdah.warm(database)
    with Stage(bench, database) as stage:
        stage.adopt([difference.read], 1)
        for _ in range(2):
            stage.compare("priming")
        for write in writes:
            for number, step in enumerate(write.steps):
                answer = stage.act(write, step)
                again = None
                if not step.quiet and stage.reads:
                    again = stage.compare(f"message {number + 1} of the last write")
                    if again is None and answer[-1:] == b"T":
                        again = stage.own_view(stage.session(write, step), 0)
                if again is not None:
                    stage.end()
                    return again
            stage.end()
            if write.schema:
                bench.howdah.warm(database)
                stage.prepare_again()
                again = stage.compare("the schema has changed")
                if again is not None:
                    return again
    return None


def fewer(items: list[T], holds: Callable[[list[T]], bool], end: float) -> list[T]:
    """Leave out parts, from halves to single ones, while it still holds; until `end`."""
    size = max(len(items) // 2, 1)
    while time.monotonic() < end:
        at = len(items)
        while at > 0 and time.monotonic() < end:
            rest = items[: max(at - size, 0)] + items[at:]
            if len(rest) < len(items) and holds(rest):
                items = rest
            at -= size
        if size == 1:
            break
        size = max(size // 2, 1)
    return items


def report(
    bench: Bench,
    setup: Sequence[str],
    writes: Sequence[Write],
    difference: Difference,
    seconds: float,
) -> str:
    """The difference as text, made as short as `seconds` allow."""
    end = time.monotonic() + seconds
    past, made = list(writes), list(setup)
    note = "not shrunk"
    if seconds:
        note = "did not show again when replayed: timing may matter"
        for candidate in (past[-1:], past):
            again = differs(bench, made, candidate, difference)
            if again is not None:
                past, difference, note = candidate, again, "replayed"
                break
    if note == "replayed":
        past = fewer(past, lambda few: differs(bench, made, few, difference) is not None, end)
        made = fewer(made, lambda few: differs(bench, few, past, difference) is not None, end)
    return describe(made, past, difference, note)


def describe(
    setup: Sequence[str], writes: Sequence[Write], difference: Difference, note: str
) -> str:
    """SQL to read and to replay."""
    read = difference.read
    lines = [f"=== a wrong answer ({note})", "-- schema, made directly", f"{PATH};"]
    lines += [f"{statement};" for statement in setup]
    value = "" if read.value is None else f", $1 = {read.value}"
    lines += [f"-- read, primed through Howdah ({read.style}, path {PATHS[read.path]}{value})"]
    lines += [f"{read.text};", "-- writes, through Howdah"]
    for write in writes:
        lines.append(f"-- session with path {PATHS[write.path]}")
        lines += [
            f"{step.text};  -- {step.how}{', another session' if step.other else ''}"
            for step in write.steps
        ]
        lines += [f"--   data: {step.data!r}" for step in write.steps if step.data]
    lines.append(f"-- wrong after: {difference.when}")
    for name, answer in (("through Howdah", difference.found), ("directly", difference.expected)):
        lines.append(f"-- {name}:")
        for frame in frames(answer)[:40]:
            if frame.kind == "D":
                lines.append(f"--   {frame.values}")
            elif frame.kind in "CE":
                lines.append(f"--   {frame.kind} {frame.payload!r}")
    return "\n".join(lines)
