"""All statements that are counted, by database and fingerprint; a bounded number of them.

What lives here: which shape a text belongs to, and hits brought from the entries that
served them to their shapes. What must not: counting itself, see `proxy.tally`.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.cache.store import Entry
from proxy.sql import normal
from proxy.tally import Shape

LIMIT = 5_000


class Shapes:
    """The registry.

    Attributes:
        fresh: entries that have served hits since `fold`; filled by the hot path.
        dropped: shapes that had to go for others.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.fresh: list[Entry] = []
        self.dropped = 0
        self._shapes: dict[tuple[str, str], Shape] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def __iter__(self) -> Iterator[Shape]:
        return iter(list(self._shapes.values()))

    def get(self, database: str, id: str) -> Shape | None:
        """The shape of that fingerprint, if it is known."""
        return self._shapes.get((database, id))

    def of(self, database: str, text: bytes) -> Shape:
        """The shape of a text, which was not seen before or may have been."""
        decoded = text.decode("utf-8", "replace")
        id = normal.identity(decoded)
        if id is None:
            return self.unread(database, "unparsable")
        shape = self._shapes.get((database, id))
        if shape is None:
            shape = self._made(database, id, normal.normal(decoded))
        return shape

    def unread(self, database: str, reason: str) -> Shape:
        """The shape of all texts that are not looked at for one reason."""
        id = f"({reason})"
        shape = self._shapes.get((database, id))
        return self._made(database, id, f"({reason})") if shape is None else shape

    def _made(self, database: str, id: str, text: str) -> Shape:
        shape = Shape(id, database, text)
        self._add(shape)
        return shape

    def _add(self, shape: Shape) -> None:
        if len(self._shapes) >= self.limit:
            self._shrink()
        shape.dropped = False
        self._shapes[(shape.database, shape.id)] = shape

    def present(self, shape: Shape) -> Shape:
        """The one to count in for `shape`, which plans or entries still refer to.

        One that had to go and is in use again comes back, unless there is another by now.
        """
        if shape.dropped:
            known = self._shapes.get((shape.database, shape.id))
            if known is not None:
                return known
            self._add(shape)
        return shape

    def _shrink(self) -> None:
        """Let those go that were called least, the older ones first."""
        # When hits were is not told; those that had some lately are the newest.
        lately = {entry.shape for entry in self.fresh}
        self.fold()
        # A verdict on a shape outlives its counts.
        items = [item for item in self._shapes.items() if not item[1].quarantined]
        items.sort(key=lambda item: (item[1].calls > 1, item[1] in lately, item[1].last))
        for key, shape in items[: max(1, self.limit // 10)]:
            del self._shapes[key]
            shape.dropped = True
            self.dropped += 1

    def fold(self, now: float = 0.0) -> None:
        """Bring hits from entries to shapes. Whoever shows shapes calls it first."""
        fresh, self.fresh = self.fresh, []
        for entry in fresh:
            hits, entry.fresh = entry.fresh, 0
            if hits:
                entry.hits += hits
                shape = entry.shape
                if shape is not None:
                    if shape.dropped:
                        shape = self.present(shape)
                    shape.served(hits, entry.rows, entry.answer_size, entry.seconds, now)

    def reset(self) -> None:
        """Count all of them from zero."""
        self.fold()
        for shape in self._shapes.values():
            shape.reset()
