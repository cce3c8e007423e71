"""Versions that one writer raises: is each read as new as it must be, and not newer?

What lives here: the judge of single registers. What must not: SQL, clocks. For the
conditions see `history.py`. A write whose outcome is not known may come into force at any
time: it ends when its outcome is learnt, or never.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.consistency.history import Judge, Monotone

_ABORTED_KEPT = 256
#: Reads of versions that are not yet acknowledged are kept, should the write be rolled back.
_Seen = tuple[float, float, str]


@dataclass(slots=True)
class Register(Judge):
    """One key. Version 0 is there from the start.

    Attributes:
        started: the last version that was sent.
        aborted: versions that are known never to come into force, the last of them.
        inversions: whether two reads may be compared with each other. Not so where
            PostgreSQL itself lets them differ around a commit (definitions of functions).
    """

    started: int = 0
    inversions: bool = True
    aborted: set[int] = field(default_factory=set)
    _pending: dict[int, _Seen | None] = field(default_factory=dict)
    _written: Monotone = field(default_factory=Monotone)
    _read: Monotone = field(default_factory=Monotone)
    _outside: Monotone = field(default_factory=Monotone)

    def begin(self, time: float, path: str = "") -> int:
        """A write is about to be sent; returns its version."""
        self.started += 1
        self._pending[self.started] = None
        self.note(f"write {self.started} begins ({path})", time)
        return self.started

    def commit(self, version: int, end: float, outside: bool = False) -> None:
        """It is in force. `outside`: it did not go through the address under test."""
        self._pending.pop(version, None)
        (self._outside if outside else self._written).add(end, version)
        self.note(f"write {version} in force", end)

    def abort(self, version: int, time: float) -> None:
        """It will never come into force: whoever has read it, was wrong."""
        seen = self._pending.pop(version, None)
        self.aborted.add(version)
        if len(self.aborted) > 2 * _ABORTED_KEPT:
            # Whoever reads one of the others is stale by far.
            oldest = self.started - _ABORTED_KEPT
            self.aborted = {aborted for aborted in self.aborted if aborted > oldest}
        self.note(f"write {version} rolled back", time)
        if seen is not None:
            begin, end, read = seen
            self.report("aborted", f"read {version}, which was rolled back", begin, end, read=read)

    def read(
        self, value: int, begin: float, end: float, read: str = "", direct: bool = False
    ) -> bool:
        """An answer; returns whether it can be explained. -1 stands for no row at all.

        `direct`: it did not come through the address under test.
        """
        self.checked += 1
        before = len(self.found)
        if value > self.started:
            self.report("phantom", f"read {value}, which nobody has sent", begin, end, read=read)
            return False
        if value in self.aborted:
            self.report("aborted", f"read {value}, which was rolled back", begin, end, read=read)
            return False
        if value in self._pending and self._pending[value] is None:
            self._pending[value] = (begin, end, read)
        self._order(value, begin, end, read)
        # What others have written, a lagging reader may still miss after somebody has read it.
        (self._outside if self.slack else self._read).add(end, value)
        self.recent.append(f"{begin:.6f} .. {end:.6f}  read {value} {'direct ' * direct}{read}")
        return len(self.found) == before

    def _order(self, value: int, begin: float, end: float, read: str) -> None:
        written, outside = self._written, self._outside
        if value < max(written.floor(begin), outside.floor(begin)):
            late = max(written.lateness(begin, value), outside.lateness(begin, value))
            self.worst = max(self.worst, late)
            least = max(written.floor(begin), outside.floor(begin - self.slack))
            if value < least:
                self._late("stale", f"{least} was in force", value, begin, end, late, read)
                return
        if self.inversions and value < (least := self._read.floor(begin)):
            late = self._read.lateness(begin, value)
            self.worst = max(self.worst, late)
            self._late("inversion", f"{least} had been read", value, begin, end, late, read)

    def _late(
        self, kind: str, what: str, value: int, begin: float, end: float, late: float, read: str
    ) -> None:
        got = f"read {value}" if value >= 0 else "no row"
        self.report(kind, f"{got}, but {what} before", begin, end, late=late, read=read)

    def candidates(self, begin: float) -> range:
        """The versions of which one was in force during a read that began at `begin`.

        Those in `aborted` are among them and do not count.
        """
        least = max(
            self._written.floor(begin),
            self._read.floor(begin),
            self._outside.floor(begin - self.slack),
        )
        return range(least, self.started + 1)

    def behind(self, begin: float) -> float:
        """How long the oldest of `candidates` had been known at `begin`, in s."""
        least = self.candidates(begin).start
        known = (self._written, self._read, self._outside)
        late = (k.lateness(begin, least - 1) for k in known if k.floor(begin) == least > 0)
        return max(late, default=0.0)

    @property
    def settled(self) -> bool:
        """Whether no write is on its way."""
        return not self._pending
