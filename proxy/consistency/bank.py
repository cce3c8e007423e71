"""Totals: transfers move money between rows, so that the sum stays what it is.

What lives here: the judge of totals. What must not: SQL, clocks. Each transfer also adds one
to a counter, so that the sum of the counters says how many transfers an answer has seen; that
number follows the order of real time as a register's version does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.consistency.history import Judge, Monotone


@dataclass(slots=True)
class Bank(Judge):
    """One table of accounts, with any number of writers.

    Attributes:
        total: what the balances add up to.
        begun, committed, aborted: numbers of transfers.
    """

    total: int = 0
    begun: int = 0
    committed: int = 0
    aborted: int = 0
    _known: Monotone = field(default_factory=Monotone)
    _read: Monotone = field(default_factory=Monotone)

    def begin(self, time: float, path: str = "") -> None:
        """A transfer is about to be sent."""
        self.begun += 1
        self.note(f"transfer begins ({path})", time)

    def commit(self, end: float) -> None:
        """One is in force."""
        self.committed += 1
        self._known.add(end, self.committed)
        self.note(f"transfer in force, {self.committed} in all", end)

    def abort(self, time: float) -> None:
        """One will never come into force."""
        self.aborted += 1
        self.note("transfer rolled back", time)

    def read(self, total: int, count: int, begin: float, end: float, read: str = "") -> bool:
        """An answer: the sum of balances and of transfers. Returns whether it can be."""
        self.checked += 1
        before = len(self.found)
        if total != self.total:
            self.report("total", f"sum {total}, not {self.total}", begin, end, read=read)
        if count > self.begun - self.aborted:
            message = f"{count} transfers, but only {self.begun - self.aborted} can be"
            self.report("phantom", message, begin, end, read=read)
            return False
        least = self._known.floor(begin)
        self._behind("stale", count, begin, end, read, self._known, "were in force", least)
        if count >= least:
            self._behind("inversion", count, begin, end, read, self._read, "had been read", None)
        self._read.add(end, count)
        self.recent.append(f"{begin:.6f} .. {end:.6f}  read {count} transfers {read}")
        return len(self.found) == before

    def floor(self, begin: float) -> int:
        """The least number of transfers that an answer may have seen."""
        return max(self._known.floor(begin), self._read.floor(begin))

    def _behind(
        self,
        kind: str,
        count: int,
        begin: float,
        end: float,
        read: str,
        known: Monotone,
        what: str,
        least: int | None,
    ) -> None:
        least = known.floor(begin) if least is None else least
        if count >= least:
            return
        late = known.lateness(begin, count)
        self.worst = max(self.worst, late)
        if late <= self.slack:
            return
        message = f"{count} transfers, but {least} {what} before"
        self.report(kind, message, begin, end, late=late, read=read)
