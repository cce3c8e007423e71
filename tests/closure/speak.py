"""The four ways in which a row reads and writes, over raw connections.

simple     one Query a statement
unnamed    Parse, Bind, Describe, Execute, Sync in one write
prepared   parsed once under a name, then only bound and executed, across the act
pipelined  as drivers with pipelines send it: all statements in one write, a Sync
           behind each, results in binary

What must not live here: what is expected of the answers (`run.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.closure.case import CopyIn, Query
from tests.fix_wire import (
    COPY_DONE,
    SYNC,
    Frame,
    Wire,
    bind,
    close,
    copy_data,
    copy_fail,
    describe,
    execute,
    parse,
    query,
)

STYLES = ("simple", "unnamed", "prepared", "pipelined")
#: All statements that one speaker has prepared have names of their own.
_names = itertools.count(1)


def whole(sql: str, results: Sequence[int] = ()) -> bytes:
    """Everything from Parse to Sync."""
    return parse(sql) + bind(results=results) + describe() + execute() + SYNC


class Speaker:
    """One connection that speaks in one style and remembers what it has prepared."""

    def __init__(self, wire: Wire, style: str) -> None:
        self.wire = wire
        self.style = style
        self.prepared: dict[str, str] = {}

    def prepare(self, statements: Sequence[str]) -> list[list[Frame]]:
        """In style `prepared`: parse what is not yet parsed; what fails is not remembered."""
        found = []
        for sql in statements if self.style == "prepared" else ():
            if sql not in self.prepared:
                name = f"p{next(_names)}"
                frames = self.wire.ask(parse(sql, name), describe("S", name), SYNC)
                if frames[0].kind != "E":
                    self.prepared[sql] = name
                found.append(frames)
        return found

    def forget(self) -> None:
        """Close what was prepared."""
        if self.prepared:
            self.wire.ask(*(close("S", name) for name in self.prepared.values()), SYNC)
        self.prepared.clear()

    def read(self, statements: Sequence[str]) -> list[list[Frame]]:
        """The answers, one list of frames a statement."""
        if self.style == "simple":
            return [self.wire.query(sql) for sql in statements]
        if self.style == "unnamed":
            return [self.wire.ask(whole(sql)) for sql in statements]
        if self.style == "pipelined":
            self.wire.send(*(whole(sql, [1]) for sql in statements))
            return [self.wire.until() for _ in statements]
        return [self._execute(sql) for sql in statements]

    def _execute(self, sql: str) -> list[Frame]:
        failed = self.prepare([sql])
        if sql not in self.prepared:
            return failed[0]
        return self.wire.ask(bind(statement=self.prepared[sql]), execute(), SYNC)

    def write(self, step: str | Query | CopyIn) -> list[Frame]:
        """One step of an act."""
        if isinstance(step, Query):
            return self.wire.query(step.sql)
        if isinstance(step, CopyIn):
            return self._copy(step)
        return self.read([step])[0]

    def write_and_read(
        self, steps: Sequence[str], reads: Sequence[str]
    ) -> tuple[list[Frame], list[list[Frame]]]:
        """All steps and then the reads, in one write."""
        self.wire.send(*(whole(step) for step in steps), *(whole(sql, [1]) for sql in reads))
        written = [frame for _ in steps for frame in self.wire.until()]
        return written, [self.wire.until() for _ in reads]

    def _copy(self, step: CopyIn) -> list[Frame]:
        """The data follows at once, as PostgreSQL allows; Sync inside COPY is ignored."""
        end = copy_fail("no") if step.fail else COPY_DONE
        data = copy_data(step.data.encode())
        if self.style == "simple":
            return self.wire.ask(query(step.sql), data, end)
        return self.wire.ask(parse(step.sql), bind(), execute(), data, end, SYNC)
