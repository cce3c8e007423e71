"""Rows that move between predicates: none may be lost, seen twice or found in a wrong place.

What lives here: the judge of answers to WHERE, IN, ranges, LIMIT, EXISTS and counts. What must
not: SQL, clocks. Each row is a register; its writer says which tag each version has. An
answer is right if every row that it shows, and every row that it leaves out, has a version
that was in force during the read and that the predicate accepts, or refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxy.consistency.history import Judge
from proxy.consistency.registers import Register

Predicate = Callable[[int], bool]
_TAGS_KEPT = 256


@dataclass(slots=True)
class Rows(Judge):
    """A table of rows `(id, tag, version)`; ids are 0, 1, 2 and so on."""

    rows: list[Register] = field(default_factory=list)
    _tags: list[dict[int, int]] = field(default_factory=list)

    def add(self, tag: int) -> None:
        """One more row, in version 0, with this tag."""
        name = f"{self.subject}: row {len(self.rows)}"
        self.rows.append(Register(name, slack=self.slack, found=self.found, recent=self.recent))
        self._tags.append({0: tag})

    def begin(self, row: int, tag: int, time: float, path: str = "") -> int:
        """The row is about to be moved; returns its new version."""
        version = self.rows[row].begin(time, f"row {row} to tag {tag}, {path}")
        tags = self._tags[row]
        tags[version] = tag
        tags.pop(version - _TAGS_KEPT, None)
        return version

    def commit(self, row: int, version: int, end: float, outside: bool = False) -> None:
        """The move is in force."""
        self.rows[row].commit(version, end, outside)

    def abort(self, row: int, version: int, time: float) -> None:
        """The move will never come into force."""
        self.rows[row].abort(version, time)

    def read(
        self,
        answer: Sequence[tuple[int, int, int]],
        accepts: Predicate,
        begin: float,
        end: float,
        *,
        scope: Sequence[int] | None = None,
        limit: int | None = None,
        read: str = "",
        direct: bool = False,
    ) -> bool:
        """Judge rows `(id, tag, version)`; returns whether they can be explained.

        Args:
            answer: what was read, by id where there is a limit.
            accepts: the predicate on tags.
            scope: the ids that were asked for; None for all.
            direct: the answer did not come through the address under test.
            limit: the first so many rows by id, where the statement says so.
        """
        self.checked += 1
        before = len(self.found)
        shown = self._shown(answer, accepts, begin, end, read, direct)
        ids = range(len(self.rows)) if scope is None else scope
        if limit is not None and len(answer) >= limit:
            ids = [row for row in ids if row < answer[-1][0]]
        # Who is left out is judged by what was known before this answer was read.
        for row in ids:
            if row not in shown and not self._may(row, begin, lambda tag: not accepts(tag)):
                self._place("missing", row, "left out", begin, end, read)
        self._learn()
        return len(self.found) == before

    def _shown(
        self,
        answer: Sequence[tuple[int, int, int]],
        accepts: Predicate,
        begin: float,
        end: float,
        read: str,
        direct: bool,
    ) -> set[int]:
        shown: set[int] = set()
        for row, tag, version in answer:
            if row in shown:
                self.report("twice", f"row {row} is there twice", begin, end, read=read)
                continue
            shown.add(row)
            if not accepts(tag):
                self.report("wrong-row", f"row {row} has tag {tag}", begin, end, read=read)
            if self.rows[row].read(version, begin, end, read, direct):
                written = self._tags[row].get(version)
                if written is not None and written != tag:
                    message = f"row {row} version {version} has tag {tag}, written was {written}"
                    self.report("torn", message, begin, end, read=read)
        return shown

    def read_ids(
        self, answer: Sequence[int], accepts: Predicate, begin: float, end: float, read: str = ""
    ) -> bool:
        """The same for an answer that shows ids only (EXISTS, NOT EXISTS)."""
        self.checked += 1
        before = len(self.found)
        if len(set(answer)) != len(answer):
            self.report("twice", f"ids {sorted(answer)}", begin, end, read=read)
        shown = set(answer)
        for row in range(len(self.rows)):
            if row in shown and not self._may(row, begin, accepts):
                self._place("wrong-row", row, "there", begin, end, read)
            elif row not in shown and not self._may(row, begin, lambda tag: not accepts(tag)):
                self._place("missing", row, "left out", begin, end, read)
        return len(self.found) == before

    def read_count(
        self, count: int, accepts: Predicate, begin: float, end: float, read: str = ""
    ) -> bool:
        """The same for `count(*)`."""
        self.checked += 1
        ids = range(len(self.rows))
        most = sum(self._may(row, begin, accepts) for row in ids)
        least = sum(not self._may(row, begin, lambda tag: not accepts(tag)) for row in ids)
        if least <= count <= most:
            return True
        self.report("missing", f"counted {count}, not {least} to {most}", begin, end, read=read)
        return False

    def _place(self, kind: str, row: int, what: str, begin: float, end: float, read: str) -> None:
        """A row is where it cannot be: its state is older than what was known before."""
        register = self.rows[row]
        late = register.behind(begin)
        self.worst = max(self.worst, late)
        known = register.candidates(begin).start
        tag = self._tags[row].get(known)
        message = f"row {row} is {what}, although version {known} with tag {tag} was known"
        self.report(kind, message, begin, end, late=late, read=read)

    def _may(self, row: int, begin: float, accepts: Predicate) -> bool:
        """Whether a version that can have been in force has such a tag."""
        register, tags = self.rows[row], self._tags[row]
        for version in register.candidates(begin):
            if version in register.aborted:
                continue
            tag = tags.get(version)
            if tag is None or accepts(tag):
                return True
        return False

    def _learn(self) -> None:
        self.worst = max(self.worst, *(row.worst for row in self.rows))
