"""The store: answers by key, bounded in bytes, evicted by S3-FIFO.

Follows Yang et al., "FIFO queues are all you need for cache eviction" (SOSP
2023): a small queue (a tenth of the bytes) takes newcomers, so that a scan
passes through it without touching what is hot; a main queue with reinsertion;
and a ghost queue of keys that remembers what left the small one lately.

Keys, bookkeeping and ghosts count against the limit. No clock: times come in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from proxy.cache.fences import ALL, Granule, slot_of
from proxy.tally import Shape
from proxy.terms import Terms

# (context, text) for the simple protocol, (context, statement, parameters) for the extended.
Key = tuple[int, bytes] | tuple[int, bytes, bytes]

# Bytes of bookkeeping per entry: the entry, its places in dict, queue and index, the
# key's tuple, and the heads of the bytes objects. Measured by tests/unit/cache.
OVERHEAD = 760
GHOST_OVERHEAD = 120
SMALL_SHARE = 0.1
MAX_FREQUENCY = 3
# Evicted entries that are freed at once, before the writer is told, and with each one that
# is stored afterwards.
EVICTION_SLICE = 32
PUT_SLICE = 20
# Entries that are gone and granules of which is remembered what became of them.
OBITUARIES = 10_000
TOLLS = 20_000


class Obituary(NamedTuple):
    """What made an entry go.

    Attributes:
        time: loop time in s. cause: as in `Store.evictions`.
        granule: what was written; None where it was not a write.
        owner, text: who did it, and by which statement, as far as that is known.
    """

    time: float
    cause: str
    granule: Granule | None = None
    owner: str = ""
    text: str = ""


class Toll:
    """What writes of one granule have cost: `writes`, `evicted` entries, and the `last` one."""

    __slots__ = ("evicted", "last", "writes")

    def __init__(self) -> None:
        self.writes = self.evicted = 0
        self.last: Obituary | None = None


class Entry:
    """One stored answer.

    Attributes:
        description: the RowDescription message, or NoData; None where unknown.
        body: DataRows and CommandComplete, as PostgreSQL sent them.
        granules, slots, counters: what it depends on, and the counters of its fill.
        stamp: stamp of the board at which it was last seen to hold.
        expires: loop time in s from which it is not served; infinity for never.
        filled: loop time in s of the fill's dispatch.
        bodies: functions in SQL or PL/pgSQL have run for it, see `policy.plan.Plan`.
        shape: of the statement, for statistics.
        terms: on which it is kept; None for the usual ones.
        fresh: hits that are not yet counted there. hits: those that are.
    """

    __slots__ = (
        "bodies",
        "body",
        "counters",
        "description",
        "expires",
        "filled",
        "frequency",
        "fresh",
        "granules",
        "hits",
        "in_main",
        "key",
        "seconds",
        "shape",
        "size",
        "slots",
        "stamp",
        "terms",
    )

    def __init__(
        self,
        key: Key,
        description: bytes | None,
        body: bytes,
        granules: tuple[Granule, ...],
        counters: tuple[int, ...],
        *,
        filled: float = 0.0,
        expires: float = float("inf"),
        seconds: float = 0.0,
        slots: tuple[int, ...] | None = None,
        bodies: bool = False,
        shape: Shape | None = None,
        terms: Terms | None = None,
    ) -> None:
        self.key = key
        self.shape = shape
        self.terms = terms
        self.fresh = self.hits = 0
        self.bodies = bodies
        self.description = description
        self.body = body
        self.granules = granules
        self.slots = tuple(map(slot_of, granules)) if slots is None else slots
        self.counters = counters
        self.stamp = -1
        self.filled = filled
        self.expires = expires
        self.seconds = seconds
        self.frequency = 0
        self.in_main = False
        self.size = OVERHEAD + len(body) + len(description or b"") + sum(map(len, key[1:]))

    @property
    def ends(self) -> float:
        """Loop time in s from which it is of no use: `expires`, or later where its terms allow."""
        stale = None if self.terms is None else self.terms.stale
        return self.expires if stale is None else self.expires + stale

    @property
    def rows(self) -> int:
        """Rows of the answer, as its command tag says."""
        number = self.body[self.body.rfind(b" ") + 1 : -1]
        return int(number) if number.isdigit() else 0

    @property
    def answer_size(self) -> int:
        """Bytes of the answer that a client gets."""
        return len(self.body) + len(self.description or b"")


class Store:
    """Entries by key; at most `capacity` bytes, of which none holds more than `entry_limit`."""

    def __init__(self, capacity: int, entry_limit: int) -> None:
        self.capacity = capacity
        self.entry_limit = min(entry_limit, capacity)
        self.evictions: dict[str, int] = {}
        # Answers that were stored again soon after they had to go for want of room.
        self.returns = 0
        self._entries: dict[Key, Entry] = {}
        self._small: OrderedDict[Key, Entry] = OrderedDict()
        self._main: OrderedDict[Key, Entry] = OrderedDict()
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self._index: dict[Granule, set[Entry]] = {}
        # Sets of entries that were evicted and are still to be freed.
        self._doomed: list[tuple[set[Entry], Obituary]] = []
        # What became of keys, by their hash, and what writes of granules have cost.
        self._obituaries: OrderedDict[int, Obituary] = OrderedDict()
        self.tolls: dict[Granule, Toll] = {}
        self._small_bytes = 0
        self._bytes = 0
        # Loop time in s, as the last `put` was told it.
        self.now = 0.0
        # The hot path calls this bound method: one look-up, nothing else.
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    @property
    def bytes_used(self) -> int:
        """Bytes that count against the limit, ghosts included."""
        return self._bytes + len(self._ghosts) * GHOST_OVERHEAD

    @property
    def ghosts(self) -> int:
        """Keys that are remembered for having had to go for want of room."""
        return len(self._ghosts)

    def by_granule(self) -> Iterator[tuple[Granule, int]]:
        """Every granule that entries depend on, and how many do."""
        for granule, entries in list(self._index.items()):
            yield granule, len(entries)

    def oldest(self, now: float, most: int = 1000) -> float:
        """Age in s of the oldest answer that may still be served; 0 where there is none.

        Entries are in the order in which they were stored. Of very many that have expired
        only `most` are looked at: the age is then too high, never too low.
        """
        age = 0.0
        for entry in islice(self._entries.values(), most):
            age = now - entry.filled
            if now < entry.ends:
                return age
        return age if len(self._entries) > most else 0.0

    def put(self, entry: Entry) -> bool:
        """Store `entry`, replacing one of the same key; False where it is too large."""
        if self._doomed:
            self._sweep(PUT_SLICE)
        old = self._entries.get(entry.key)
        if old is not None:
            self._remove(old)
        if entry.size > self.entry_limit + OVERHEAD or entry.size > self.capacity:
            return False
        key = entry.key
        self._entries[key] = entry
        self._bytes += entry.size
        if entry.shape is not None:
            entry.shape.entries += 1
        if self._ghosts.pop(hash(key), 0) is None:
            self.returns += 1
            entry.in_main = True
            self._main[key] = entry
        else:
            self._small[key] = entry
            self._small_bytes += entry.size
        for granule in entry.granules:
            if granule != ALL:
                self._index.setdefault(granule, set()).add(entry)
        while self._doomed and self.bytes_used > self.capacity:
            self._sweep(PUT_SLICE)
        while self.bytes_used > self.capacity:
            if not self._shrink(entry):
                break
        return key in self._entries

    def evict(
        self,
        granules: Iterable[Granule],
        cause: str,
        *,
        now: float = 0.0,
        owner: str = "",
        text: str = "",
    ) -> int:
        """Drop every entry that depends on one of `granules`; return how many (F3).

        Their counters have moved, so none of them can be served any more: of very
        many, most are freed in slices later, lest all clients wait.

        Args:
            now, owner, text: when, by whom and by which statement, for who asks later.
        """
        dropped = 0
        for granule in granules:
            obituary = Obituary(now, cause, granule, owner, text)
            if granule == ALL:
                evicted = self._bury_all(obituary)
            else:
                entries = self._index.pop(granule, None)
                evicted = 0 if entries is None else len(entries)
                if entries:
                    self._doomed.append((entries, obituary))
            dropped += evicted
            self._take_toll(obituary, evicted)
        self._count(cause, dropped)
        self._sweep(EVICTION_SLICE)
        return dropped

    def about(self, granule: Granule) -> Iterator[Entry]:
        """Entries that depend on a granule; to be read before anything is stored or evicted."""
        return iter(self._index.get(granule, ()))

    def count(self, granule: Granule) -> int:
        """How many entries depend on a granule."""
        return len(self._index.get(granule, ()))

    def _take_toll(self, obituary: Obituary, evicted: int) -> None:
        assert obituary.granule is not None
        toll = self.tolls.get(obituary.granule)
        if toll is None:
            if len(self.tolls) >= TOLLS:
                self.tolls.clear()
            toll = self.tolls[obituary.granule] = Toll()
        toll.writes += obituary.cause == "write"
        toll.evicted += evicted
        toll.last = obituary

    def obituary(self, key: Key) -> Obituary | None:
        """What made the last entry of this key go, as long as that is remembered."""
        return self._obituaries.get(hash(key))

    def _bury(self, entry: Entry, obituary: Obituary) -> None:
        """Remember what became of an entry."""
        if entry.shape is not None:
            entry.shape.evicted += 1
        number = hash(entry.key)
        self._obituaries[number] = obituary
        self._obituaries.move_to_end(number)
        if len(self._obituaries) > OBITUARIES:
            self._obituaries.popitem(last=False)

    def _bury_all(self, obituary: Obituary) -> int:
        # Of very many, what became of them is told for some.
        for number, entry in enumerate(self._entries.values()):
            if number < OBITUARIES:
                self._bury(entry, obituary)
            elif entry.shape is not None:
                entry.shape.evicted += 1
        return self.clear()

    def _sweep(self, limit: int) -> None:
        """Free up to `limit` of the entries that were evicted."""
        while self._doomed and limit > 0:
            entries, obituary = self._doomed[-1]
            while entries and limit > 0:
                entry = entries.pop()
                limit -= 1
                if self._entries.get(entry.key) is entry:
                    self._remove(entry)
                    self._bury(entry, obituary)
            if not entries:
                self._doomed.pop()

    def drop(self, entry: Entry, cause: str, now: float = 0.0) -> None:
        """Drop one entry if it is still the one stored under its key."""
        if self._entries.get(entry.key) is entry:
            self._remove(entry)
            self._bury(entry, Obituary(now, cause))
            self._count(cause, 1)

    def clear(self) -> int:
        """Drop everything; return how many entries that were. Counted by the caller."""
        dropped = len(self._entries)
        for entry in self._entries.values():
            if entry.shape is not None:
                entry.shape.entries -= 1
        self._entries.clear()
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()
        self._index.clear()
        self._doomed.clear()
        self._small_bytes = self._bytes = 0
        return dropped

    def _count(self, cause: str, amount: int) -> None:
        if amount:
            self.evictions[cause] = self.evictions.get(cause, 0) + amount

    def _remove(self, entry: Entry) -> None:
        key = entry.key
        del self._entries[key]
        if entry.shape is not None:
            entry.shape.entries -= 1
        self._bytes -= entry.size
        if entry.in_main:
            del self._main[key]
        else:
            del self._small[key]
            self._small_bytes -= entry.size
        for granule in entry.granules:
            entries = self._index.get(granule)
            if entries is not None:
                entries.discard(entry)
                if not entries:
                    del self._index[granule]

    def _shrink(self, newcomer: Entry) -> bool:
        """Free some bytes by one step of S3-FIFO; False where nothing is left to free."""
        if self._ghosts and len(self._ghosts) > len(self._entries):
            self._ghosts.popitem(last=False)
            return True
        if self._small and (self._small_bytes > self.capacity * SMALL_SHARE or not self._main):
            _, entry = self._small.popitem(last=False)
            self._small_bytes -= entry.size
            if entry.frequency > 0:
                entry.in_main = True
                entry.frequency = 0
                self._main[entry.key] = entry
                return True
            self._small[entry.key] = entry  # so that _remove finds it
            self._small_bytes += entry.size
            self._remove(entry)
            self._bury(entry, Obituary(self.now, "capacity"))
            self._ghosts[hash(entry.key)] = None
            self._count("capacity", 1)
            return True
        if self._main:
            key, entry = self._main.popitem(last=False)
            self._main[key] = entry
            if entry.frequency > 0:
                entry.frequency -= 1
                return True
            self._remove(entry)
            self._bury(entry, Obituary(self.now, "capacity"))
            self._count("capacity", 1)
            return True
        if self._ghosts:
            self._ghosts.popitem(last=False)
            return True
        return False
