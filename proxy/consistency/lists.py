"""Lists that only grow: each answer is a beginning of the list, and never an older one.

What lives here: the judge of appended elements. What must not: SQL, clocks. Elements are
numbers that are used once. Appends by several writers come in an order that only
the answers tell, so the judge learns it: any two answers must agree as far as both go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proxy.consistency.history import Judge, Monotone


@dataclass(slots=True)
class AppendList(Judge):
    """One list. `order` is what is known of it: the longest answer so far."""

    order: list[int] = field(default_factory=list)
    begun: set[int] = field(default_factory=set)
    aborted: set[int] = field(default_factory=set)
    _places: dict[int, int] = field(default_factory=dict)
    _seen: dict[int, tuple[float, float, str]] = field(default_factory=dict)
    _pending: set[int] = field(default_factory=set)
    _unplaced: dict[int, float] = field(default_factory=dict)
    _known: Monotone = field(default_factory=Monotone)
    _read: Monotone = field(default_factory=Monotone)

    def begin(self, element: int, time: float, path: str = "") -> None:
        """An append is about to be sent."""
        self.begun.add(element)
        self._pending.add(element)
        self.note(f"append {element} begins ({path})", time)

    def commit(self, element: int, end: float) -> None:
        """It is in force: every later answer has it, and all that is in front of it."""
        self._pending.discard(element)
        self.note(f"append {element} in force", end)
        if (place := self._places.get(element)) is not None:
            self._known.add(end, place + 1)
        else:
            self._unplaced[element] = end

    def abort(self, element: int, time: float) -> None:
        """It will never come into force: whoever has read it, was wrong."""
        self._pending.discard(element)
        self.aborted.add(element)
        self.note(f"append {element} rolled back", time)
        if (seen := self._seen.pop(element, None)) is not None:
            message = f"read {element}, which was rolled back"
            self.report("aborted", message, seen[0], seen[1], read=seen[2])

    def read(self, elements: Sequence[int], begin: float, end: float, read: str = "") -> bool:
        """An answer; returns whether it can be explained."""
        self.checked += 1
        before = len(self.found)
        if self._foreign(elements, begin, end, read):
            return False
        if not self._agree(elements):
            message = f"read {list(elements)}, known is {self.order}"
            self.report("order", message, begin, end, read=read)
            return False
        for element in elements[len(self.order) :]:
            self._place(element, begin, end, read)
        size = len(elements)
        for kind, known in (("stale", self._known), ("inversion", self._read)):
            if size < (least := known.floor(begin)):
                late = known.lateness(begin, size)
                self.worst = max(self.worst, late)
                if late > self.slack:
                    message = f"{size} elements, but {least} were there before"
                    self.report(kind, message, begin, end, late=late, read=read)
                break
        else:
            self._without(size, begin, end, read)
        self._read.add(end, size)
        self.recent.append(f"{begin:.6f} .. {end:.6f}  read {size} elements {read}")
        return len(self.found) == before

    def _foreign(self, elements: Sequence[int], begin: float, end: float, read: str) -> bool:
        for element in elements:
            if element in self.aborted:
                message = f"read {element}, which was rolled back"
                self.report("aborted", message, begin, end, read=read)
            elif element not in self.begun:
                message = f"read {element}, which nobody has sent"
                self.report("phantom", message, begin, end, read=read)
            else:
                continue
            return True
        if len(set(elements)) != len(elements):
            self.report("twice", f"read {list(elements)}", begin, end, read=read)
            return True
        return False

    def _agree(self, elements: Sequence[int]) -> bool:
        return list(elements[: len(self.order)]) == self.order[: len(elements)]

    def _place(self, element: int, begin: float, end: float, read: str) -> None:
        place = self._places[element] = len(self.order)
        self.order.append(element)
        if element in self._pending:
            self._seen[element] = (begin, end, read)
        if (committed := self._unplaced.pop(element, None)) is not None:
            self._known.add(committed, place + 1)

    def _without(self, size: int, begin: float, end: float, read: str) -> None:
        """Acknowledged elements whose place nobody knows yet must be in the answer, too."""
        for element, committed in self._unplaced.items():
            if committed < begin:
                late = begin - committed
                self.worst = max(self.worst, late)
                if late > self.slack:
                    message = f"{size} elements without {element}, which was in force before"
                    self.report("stale", message, begin, end, late=late, read=read)
                return

    def floor(self, begin: float) -> int:
        """The least number of elements that an answer may have."""
        return max(self._known.floor(begin), self._read.floor(begin))

    def unplaced(self, begin: float) -> set[int]:
        """Acknowledged before `begin`, and nobody has read them yet."""
        return {element for element, committed in self._unplaced.items() if committed < begin}

    @property
    def settled(self) -> bool:
        """Whether no append is on its way."""
        return not self._pending
