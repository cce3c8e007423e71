"""How PostgreSQL has described prepared statements, for sessions that prepare them too.

What lives here: descriptions by source (the text and the declared types), bounded in
bytes, and which statements have more rows than their clients ask for. What must not:
when either may be used; see `portals.py` and `preparing.py`.

A description belongs to a family of contexts and a version of the schema: types are
inferred under those settings, that search_path and that catalog (K1). Old versions are
never asked for again, and leave at the end of the queue.
"""

from __future__ import annotations

from collections import OrderedDict

from proxy.cache.store import Key

# Family, version of the schema, source.
Place = tuple[int, int, bytes]

LIMIT = 4 * 1024 * 1024
OVERHEAD = 300  # bytes of a place, its tuple and its entry
# Longer ones, sources included, are not kept.
LONGEST = 64 * 1024
_SHAPES = 10_000
# How often a statement is not looked beyond after its answer was found too long: this
# often at first, twice as often each time, up to the last number.
_FIRST, _LAST = 8, 4096


class Portrait:
    """The description of one statement, as it comes in.

    Attributes:
        place: where it belongs.
        data: ParameterDescription, and RowDescription or NoData; None if it was too long.
        told: what the client has been told already, if it has.
    """

    __slots__ = ("data", "place", "told")

    def __init__(self, place: Place, told: bytes | None = None) -> None:
        self.place = place
        self.told = told
        self.data: bytes | None = b""

    def add(self, message: bytes, size: int) -> None:
        """One of its messages, of `size` bytes; `message` may be a part."""
        if self.data is not None:
            whole = len(message) == size and len(self.data) + size <= LONGEST
            self.data = self.data + message if whole else None


class Descriptions:
    """What all sessions share."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: OrderedDict[Place, bytes] = OrderedDict()
        self.bytes_used = 0
        self._missed: set[int] = set()
        # Statement and limit: (how often it is passed over next time, how often yet).
        self._longer: dict[tuple[bytes, int], tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, place: Place) -> bytes | None:
        """ParameterDescription, and RowDescription or NoData, as PostgreSQL has sent them."""
        found = self._known.get(place)
        if found is not None:
            self._known.move_to_end(place)
        return found

    def put(self, place: Place, data: bytes) -> None:
        """Keep a description; the one that was not used for longest goes."""
        size = len(data) + len(place[2])
        if size > LONGEST:
            return
        old = self._known.pop(place, None)
        if old is not None:
            self.bytes_used -= _size(place, old)
        self._known[place] = data
        self.bytes_used += _size(place, data)
        while self.bytes_used > self._limit:
            gone, old = self._known.popitem(last=False)
            self.bytes_used -= _size(gone, old)

    # Answers that are asked for in part

    def again(self, key: Key) -> bool:
        """Whether this answer was missed before, as far as is remembered."""
        known = hash(key)
        if known in self._missed:
            return True
        if len(self._missed) >= _SHAPES:
            self._missed.clear()
        self._missed.add(known)
        return False

    def worth(self, source: bytes, rows: int) -> bool:
        """Whether to look if an answer of `rows` rows is whole: it may turn out so."""
        known = self._longer.get((source, rows))
        if known is None:
            return True
        penalty, left = known
        if left:
            self._longer[source, rows] = penalty, left - 1
        return not left

    def longer(self, source: bytes, rows: int) -> None:
        """There was a row more, or an error behind them: it is passed over for a while."""
        penalty, _ = self._longer.get((source, rows), (_FIRST, 0))
        if len(self._longer) >= _SHAPES:
            self._longer.clear()
        self._longer[source, rows] = min(2 * penalty, _LAST), penalty

    def whole(self, source: bytes, rows: int) -> None:
        """It was all."""
        self._longer.pop((source, rows), None)


def _size(place: Place, data: bytes) -> int:
    return OVERHEAD + len(place[2]) + len(data)
