"""Twin sessions: each step runs directly and through Howdah, and the replies must be equal.

Two databases come from one script. One of them is only reached directly, the other one
only through Howdah, so that both have the same fate, their writes included. What must
not live here: the plays, which are in `test_pitfalls_*.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    SYNC,
    Frame,
    Wire,
    bind,
    connect,
    describe,
    errors,
    execute,
    parse,
    query,
    tags,
)

#: A Query, or messages that are written at once and answered up to one ReadyForQuery.
Step = str | Sequence[bytes]

_FIRST_OWN_OID = 16384
_WARM = "SELECT v FROM public.probe WHERE id = 1"
_PATIENCE = 8.0  # seconds until a hit is missed


def ext(sql: str, *values: bytes | None) -> tuple[bytes, ...]:
    """One round trip of the extended protocol with the unnamed statement."""
    return parse(sql), bind(values), describe(), execute(), SYNC


def pipeline(*statements: str) -> tuple[bytes, ...]:
    """Several statements in the extended protocol before one Sync."""
    return *(parse(sql) + bind() + describe() + execute() for sql in statements), SYNC


def _plain(frame: Frame) -> tuple[str, bytes]:
    """A frame without what differs between two databases: OIDs of their own, and pids."""
    payload = frame.payload
    if frame.kind == "A":
        payload = payload[4:]
    elif frame.kind == "T":
        parts = [payload[:2]]
        at = 2
        while at < len(payload):
            end = payload.index(b"\0", at) + 1
            table, number, kind, size, modifier, form = struct.unpack_from("!IHIhih", payload, end)
            kind = min(kind, _FIRST_OWN_OID)
            shape = (bool(table), number, kind, size, modifier, form)
            parts.append(payload[at:end] + repr(shape).encode())
            at = end + 18
        payload = b"".join(parts)
    return frame.kind, payload


def _show(frames: Sequence[Frame]) -> str:
    return "\n".join(f"  {kind} {payload[:200]!r}" for kind, payload in map(_plain, frames))


def _rows(frames: Sequence[Frame]) -> list[list[str | None]]:
    """All DataRows, as text where they are."""
    return [
        [None if v is None else v.decode("utf-8", "backslashreplace") for v in frame.values]
        for frame in frames
        if frame.kind == "D"
    ]


class Twin:
    """One session and its twin."""

    def __init__(self, twins: Twins, through: Wire, direct: Wire) -> None:
        self.twins = twins
        self.through = through
        self.direct = direct

    def step(self, step: Step) -> list[Frame]:
        """Run one step in both; what came through Howdah."""
        wanted = self._send(self.direct, step, "direct")
        found = self._send(self.through, step, "through")
        if self._plain(found, "through") != self._plain(wanted, "direct"):
            shown = step if isinstance(step, str) else b"".join(step)
            raise AssertionError(
                f"{shown!r}\nthrough Howdah\n{_show(found)}\ndirectly\n{_show(wanted)}"
            )
        return found

    def _plain(self, frames: Sequence[Frame], side: str) -> list[tuple[str, bytes]]:
        plain = list(map(_plain, frames))
        for name, value in self.twins.memory[side].items():
            plain = [(k, p.replace(value.encode(), b"<%s>" % name.encode())) for k, p in plain]
        return plain

    def _send(self, wire: Wire, step: Step, side: str) -> list[Frame]:
        if not isinstance(step, str):
            return wire.ask(*step)
        for name, value in self.twins.memory[side].items():
            step = step.replace(f"<{name}>", value)
        return wire.query(step)

    def run(self, *steps: Step) -> list[Frame]:
        """Run several steps; the frames of the last one."""
        frames: list[Frame] = []
        for step in steps:
            frames = self.step(step)
        return frames

    def once(self, *statements: str) -> None:
        """Run statements that are for the whole server, as of memberships: through Howdah alone."""
        for sql in statements:
            self.through.rows(sql)

    def read(self, sql: str) -> list[list[str | None]]:
        """Ask several times in both protocols; the rows."""
        for step in (sql, ext(sql), sql, ext(sql)):
            frames = self.step(step)
        return _rows(frames)

    def rows_of(self, step: Step) -> list[list[str | None]]:
        """The rows of one step."""
        return _rows(self.step(step))

    def fails(self, step: Step, code: str) -> None:
        """Run a step that must fail with this SQLSTATE, directly as well."""
        assert errors(self.step(step)) == [code], step

    def tag(self, step: Step) -> str:
        """The last command tag of a step."""
        return tags(self.step(step))[-1]

    def hit(self, step: Step) -> list[list[str | None]]:
        """Repeat until it comes from memory; the rows. Every answer is compared."""
        frames: list[Frame] = []

        def attempt() -> bool:
            nonlocal frames
            with self.twins.howdah.watching() as gained:
                frames = self.step(step)
            self.twins.last = gained
            return gained["hits"] == 1

        try:
            eventually(attempt, timeout=_PATIENCE)
        except AssertionError:
            if self.twins.last["hits"]:
                raise
            raise AssertionError(f"no hit: {self.twins.last}: {step!r}") from None
        return _rows(frames)

    def hits(self, count: int, *steps: Step) -> list[Frame]:
        """Run steps, of which exactly `count` statements are answered from memory."""
        with self.twins.howdah.watching() as gained:
            frames = self.run(*steps)
        assert gained["hits"] == count, f"{count} hits wanted in {steps}: {gained}"
        return frames

    def forwarded(self, sql: str) -> list[list[str | None]]:
        """Ask several times in both protocols, never answered from memory; the rows."""
        with self.twins.howdah.watching() as gained:
            found = self.read(sql)
        assert gained["hits"] == 0, f"{sql!r} came from memory: {gained}"
        return found

    def remember(self, name: str, sql: str) -> None:
        """Keep what a query answers on each side; `<name>` stands for it in later steps."""
        for side, wire in (("direct", self.direct), ("through", self.through)):
            self.twins.memory[side][name] = str(wire.rows(sql)[0][0])

    @property
    def status(self) -> str:
        """The status in the last ReadyForQuery."""
        return self.through.status

    def close(self) -> None:
        self.through.close()
        self.direct.close()


class Twins:
    """A pair of databases and the sessions in them.

    Attributes:
        memory: what `Twin.remember` keeps, by side; `<side>` is there from the start,
            for names that belong to the whole server, as of prepared transactions.
    """

    def __init__(self, server: PostgresServer, howdah: Howdah, names: tuple[str, str]) -> None:
        self.server = server
        self.howdah = howdah
        self.database, self.twin_database = names
        self.memory = {side: {"side": f"{side}_{names[0]}"} for side in ("through", "direct")}
        self.last: dict[str, float] = {}
        self._sessions = ExitStack()

    def __enter__(self) -> Twins:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sessions.close()

    def session(self, user: str = "postgres", *, warm: bool = True, **options: Any) -> Twin:
        """A session and its twin.

        Args:
            warm: wait until it gets hits.
        """
        through = self.howdah.wire(self.database, user, **options)
        self._sessions.callback(through.close)
        address = (self.server.host, self.server.port)
        direct = connect(address, self.twin_database, user, **options)
        self._sessions.callback(direct.close)
        if warm:
            self.howdah.until_hit(through, _WARM)
        return Twin(self, through, direct)

    def prime(self, *reads: str, user: str = "postgres", **options: Any) -> None:
        """Have somebody else's answers in memory, in both protocols."""
        passer_by = self.session(user, **options)
        for sql in reads:
            passer_by.hit(sql)
            passer_by.hit(ext(sql))
        passer_by.close()

    def tempt(self, *reads: str, user: str = "postgres", **options: Any) -> None:
        """Like `prime`, for what need not come to memory, or not for this user."""
        passer_by = self.session(user, **options)
        for sql in reads:
            passer_by.read(sql)
            passer_by.read(sql)
        passer_by.close()

    def both(self, *statements: str, user: str = "postgres") -> None:
        """Run statements in both databases by sessions of their own, which must succeed."""
        with self.howdah.wire(self.database, user) as wire:
            for sql in statements:
                wire.rows(sql)
        with connect((self.server.host, self.server.port), self.twin_database, user) as wire:
            for sql in statements:
                wire.rows(sql)


def make(server: PostgresServer, howdah: Howdah, schema: str, name: str) -> Twins:
    """Two databases of `schema`, ready for hits."""
    names = (
        server.create_database(schema, name=name),
        server.create_database(schema, name=f"{name}_twin"),
    )
    howdah.warm(names[0])
    return Twins(server, howdah, names)


__all__ = ["Step", "Twin", "Twins", "ext", "make", "pipeline", "query"]
