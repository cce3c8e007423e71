"""The page as the JDBC driver of PostgreSQL sends it, with the raw client.

The first statement of a transaction travels behind BEGIN in one batch; what is executed for the
fifth time gets a name (S_1, S_2, ...), BEGIN and COMMIT included; with a fetch size, a portal of
its own is executed again and again. Integers go in binary as soon as a statement has a name.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from tests.applications.pages.shop import CUSTOMER, TOUCH, Read, Rows, page, shaped
from tests.applications.pages.stack import Opener, Page, Stack
from tests.drivers.shop import Place
from tests.fix_wire import (
    SYNC,
    Frame,
    Wire,
    WireError,
    bind,
    close,
    connect,
    describe,
    execute,
    parse,
    query,
)

INT4, VARCHAR = 23, 1043
#: Types whose values the driver takes in binary: int8, int2, int4, float4, float8, timestamptz.
BINARY = frozenset((20, 21, 23, 700, 701, 1184))
THRESHOLD = 5


class _Prepared:
    """A statement of the driver: how often it ran, its name, its columns' formats."""

    def __init__(self) -> None:
        self.executions = 0
        self.name = ""
        self.results: list[int] | None = None


class Driver:
    """One connection.

    Args:
        fetch: rows per Execute, 0 for all.
        threshold: executions from which on a statement has a name; 0 for never.
        simple: statements that go as a Query: none, `commands` (BEGIN and COMMIT), or `all`, with
            the parameters as literals.
    """

    def __init__(
        self,
        wire: Wire,
        autocommit: bool = False,
        fetch: int = 0,
        threshold: int = THRESHOLD,
        simple: Literal["none", "commands", "all"] = "none",
    ) -> None:
        self.wire = wire
        self.autocommit = autocommit
        self.simple = simple
        self.fetch = 0 if autocommit else fetch
        self.threshold = threshold
        self.known: dict[str, _Prepared] = {}
        self.numbers = itertools.count(1)
        self.closing = b""

    def query(
        self, sql: str, arguments: tuple[int | str, ...], fetch: int = 0
    ) -> list[list[bytes | None]]:
        """Execute with parameters, and fetch all rows, in portions if so asked."""
        preamble = self.closing
        self.closing = b""
        once = not self._counts(sql)
        begins = not self.autocommit and self.wire.status == "I"
        if begins and self.simple != "none":
            preamble += query("BEGIN")
        elif begins:
            preamble += self._send("BEGIN", (), once, described=True)
        if self.simple == "all":
            return _values(self._ask(preamble + query(_literally(sql, arguments))))
        portal = f"C_{next(self.numbers)}" if fetch else ""
        batch = self._send(sql, arguments, once, portal=portal, limit=fetch)
        frames = self._ask(preamble + batch + SYNC)
        while fetch and frames[-2].kind == "s":
            frames += self._ask(execute(portal, fetch) + SYNC)
        if portal:
            self.closing = close("P", portal)
        self._learn(sql, once, frames)
        return _values(frames)

    def commit(self) -> None:
        if self.wire.status != "I" and self.simple != "none":
            self._ask(self.closing + query("COMMIT"))
        elif self.wire.status != "I":
            batch = self._send("COMMIT", (), self.threshold == 0, described=True, limit=1)
            self._ask(self.closing + batch + SYNC)
        self.closing = b""

    def _counts(self, sql: str) -> bool:
        """Another execution; is it one that gets a name?"""
        known = self.known.setdefault(sql, _Prepared())
        known.executions += 1
        return bool(self.threshold) and known.executions >= self.threshold

    def _send(
        self,
        sql: str,
        arguments: tuple[int | str, ...],
        once: bool,
        *,
        described: bool = False,
        portal: str = "",
        limit: int = 0,
    ) -> bytes:
        """Parse where needed, Bind, Describe where needed, Execute."""
        known = self.known.setdefault(sql, _Prepared())
        batch = b""
        if not known.name:
            if not once:
                known.name = f"S_{next(self.numbers)}"
            oids = [INT4 if isinstance(value, int) else VARCHAR for value in arguments]
            batch += parse(sql, known.name, oids)
        values, formats = [], []
        for value in arguments:
            whole = isinstance(value, int) and bool(known.name)
            formats.append(int(whole))
            values.append(struct.pack("!i", value) if whole else str(value).encode())
        results = known.results if known.name and known.results is not None else []
        batch += bind(
            values,
            portal=portal,
            statement=known.name,
            formats=formats if any(formats) else [],
            results=results,
        )
        if not described and (not known.name or known.results is None or portal):
            batch += describe("P", portal)
        return batch + execute(portal, limit)

    def _learn(self, sql: str, once: bool, frames: list[Frame]) -> None:
        known = self.known[sql]
        for frame in frames:
            if frame.kind == "T" and not once:
                known.results = [int(oid in BINARY) for oid in _types(frame)]
                if not any(known.results):
                    known.results = []

    def _ask(self, batch: bytes) -> list[Frame]:
        """Send, and read as many ReadyForQuery as there will be."""
        frames = self.wire.ask(batch)
        for _ in range(batch.count(query("BEGIN"))):
            frames += self.wire.until()
        for frame in frames:
            if frame.kind == "E":
                raise WireError(frame)
        return frames


def _values(frames: list[Frame]) -> list[list[bytes | None]]:
    return [frame.values for frame in frames if frame.kind == "D"]


def _literally(sql: str, arguments: tuple[int | str, ...]) -> str:
    """The text with its parameters in it, as the driver writes them."""

    def literal(match: re.Match[str]) -> str:
        value = arguments[int(match[1]) - 1]
        return f"('{value}'::int4)" if isinstance(value, int) else f"('{value}')"

    return re.sub(r"\$(\d+)", literal, sql)


def _types(frame: Frame) -> Iterator[int]:
    """The type OIDs of a RowDescription."""
    (count,) = struct.unpack_from("!H", frame.payload)
    at = 2
    for _ in range(count):
        at = frame.payload.index(0, at) + 1
        yield struct.unpack_from("!I", frame.payload, at + 6)[0]
        at += 18


def _value(value: bytes | None) -> object:
    """Ids are wanted as numbers, in whatever format they came; all else is compared as it is."""
    if value is None:
        return None
    if value.isdigit():
        return int(value)
    return struct.unpack("!i", value)[0] if len(value) == 4 and value[0] == 0 else value


def _show(driver: Driver, write: bool) -> list[object]:
    found: list[object] = []
    steps = page()
    read: Read = next(steps)
    while True:
        fetch = driver.fetch if read.wanted == "rows" else 0
        raw = driver.query(read.sql, read.arguments, fetch)
        rows: Rows = [[_value(value) for value in row] for row in raw]
        found.append(shaped(read, rows))
        try:
            read = steps.send(rows)
        except StopIteration:
            break
    if write:
        driver.query(TOUCH, (CUSTOMER,))
    driver.commit()
    return found


def _start(place: Place) -> Wire:
    """With the parameters that the driver starts with."""
    wire = connect(
        (place.host, place.port),
        place.database,
        place.user,
        client_encoding="UTF8",
        DateStyle="ISO",
        TimeZone="Europe/Berlin",
        extra_float_digits="2",
    )
    for sql in ("SET extra_float_digits = 3", "SET application_name = 'PostgreSQL JDBC Driver'"):
        wire.ask(parse(sql), bind(), execute(limit=1), SYNC)
    return wire


def _one(**options: Any) -> Opener:
    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        with _start(place) as wire:
            driver = Driver(wire, **options)
            yield lambda write: _show(driver, write)

    return opened


@contextmanager
def _per_request(place: Place) -> Iterator[Page]:
    def show(write: bool) -> object:
        with _start(place) as wire:
            return _show(Driver(wire), write)

    yield show


STACKS: tuple[Stack, ...] = (
    Stack("jdbc", "JDBC, autocommit off", _one()),
    Stack("jdbc_autocommit", "JDBC, autocommit on", _one(autocommit=True)),
    Stack("jdbc_fetch", "JDBC, autocommit off, `defaultRowFetchSize=3`", _one(fetch=3)),
    Stack("jdbc_unnamed", "JDBC, autocommit off, `prepareThreshold=0`", _one(threshold=0)),
    Stack("jdbc_mixed", "JDBC, `preferQueryMode=extendedForPrepared`", _one(simple="commands")),
    Stack("jdbc_simple", "JDBC, `preferQueryMode=simple`", _one(simple="all")),
    Stack("jdbc_request", "JDBC, a connection per request", _per_request),
)
