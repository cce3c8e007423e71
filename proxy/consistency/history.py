"""What an operation is, when it was, and what a violation tells.

What lives here: the order of real time, as all judges use it. What must not: SQL, clocks.
Times are seconds of one process's monotonic clock. An operation begins before its first
byte is sent and ends after its last byte has been read, so that "A ended before B began"
means that A was over for everybody.

For single-writer versions whose intervals are known, three conditions are complete for
linearizability: a read returns no less than what was written before it began, nothing that
was begun after it ended, and no less than what another read returned before it began
(Gibbons and Korach, "Testing Shared Memories", the case with a known read mapping).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field

NEVER = float("-inf")
#: Seconds that no operation outlives: what ended before is of no use but for its maximum.
LONGEST = 120.0
_COMPACT = 2048
_FOUND = 200


@dataclass(frozen=True, slots=True)
class Violation:
    """One answer that no order of the operations explains.

    Attributes:
        kind: stale, inversion, phantom, aborted, own-write, missing, twice, wrong-row, torn, total,
            order or quiescence.
        subject: what was read, e.g. `registers 0: key 3`.
        message: one sentence with the values.
        begin, end: of the read, in s.
        late: how long after the end of a newer operation the older state was served, in s.
        history: the operations around it, oldest first, as text.
        read: the statement and how it was asked.
    """

    kind: str
    subject: str
    message: str
    begin: float
    end: float
    late: float = 0.0
    history: tuple[str, ...] = ()
    read: str = ""


class Monotone:
    """The largest value that is known to have been in force, over real time."""

    __slots__ = ("_ends", "_values")

    def __init__(self, value: int = 0) -> None:
        self._ends: list[float] = [NEVER]
        self._values: list[int] = [value]

    @property
    def last(self) -> int:
        """The largest value of all."""
        return self._values[-1]

    def add(self, end: float, value: int) -> None:
        """`value` was in force at `end` at the latest: nothing smaller may be read after."""
        ends, values = self._ends, self._values
        if end >= ends[-1]:
            if value > values[-1]:
                ends.append(end)
                values.append(value)
                if len(ends) > _COMPACT:
                    self._compact(end - LONGEST)
            return
        at = bisect_right(ends, end)
        if values[at - 1] >= value:
            return
        ends.insert(at, end)
        values.insert(at, value)
        stop = at + 1
        while stop < len(values) and values[stop] <= value:
            stop += 1
        del ends[at + 1 : stop], values[at + 1 : stop]

    def floor(self, begin: float) -> int:
        """The least that an operation may return that begins at `begin`."""
        if self._ends[-1] < begin:
            return self._values[-1]
        return self._values[bisect_left(self._ends, begin) - 1]

    def lateness(self, begin: float, value: int) -> float:
        """Seconds from when something larger than `value` was known to `begin`, or 0."""
        at = bisect_right(self._values, value)
        return max(0.0, begin - self._ends[at]) if at < len(self._ends) else 0.0

    def _compact(self, horizon: float) -> None:
        keep = max(bisect_left(self._ends, horizon) - 1, 0)
        del self._ends[:keep], self._values[:keep]
        self._ends[0] = NEVER


@dataclass(slots=True)
class Judge:
    """What all judges have: a name, a memory of what happened, what they have found.

    Attributes:
        slack: s by which what happened outside of the address under test may be seen late.
        more: violations that were found when there were enough in `found`.
        worst: the longest time in s for which an older state was served, excused or not.
        events: the calls that brought this judge where it is, as (method, arguments), while
            somebody records them.
    """

    subject: str
    slack: float = 0.0
    checked: int = 0
    worst: float = 0.0
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=24))
    found: list[Violation] = field(default_factory=list)
    more: int = 0

    def note(self, what: str, begin: float, end: float | None = None) -> None:
        """Remember one operation for the history of a violation."""
        until = "" if end is None else f" .. {end:.6f}"
        self.recent.append(f"{begin:.6f}{until}  {what}")

    def report(
        self,
        kind: str,
        message: str,
        begin: float,
        end: float,
        *,
        late: float = 0.0,
        read: str = "",
        subject: str = "",
    ) -> None:
        """Add a violation, with what has happened before; beyond a number, only count it."""
        if len(self.found) >= _FOUND:
            self.more += 1
            return
        self.found.append(
            Violation(
                kind, subject or self.subject, message, begin, end, late, tuple(self.recent), read
            )
        )
