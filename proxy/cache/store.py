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

from proxy.cache.fences import ALL, Granule, slot_of

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
    """

    __slots__ = (
        "bodies",
        "body",
        "counters",
        "description",
        "expires",
        "filled",
        "frequency",
        "granules",
        "in_main",
        "key",
        "seconds",
        "size",
        "slots",
        "stamp",
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
    ) -> None:
        self.key = key
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


class Store:
    """Entries by key; at most `capacity` bytes, of which none holds more than `entry_limit`."""

    def __init__(self, capacity: int, entry_limit: int) -> None:
        self.capacity = capacity
        self.entry_limit = min(entry_limit, capacity)
        self.evictions: dict[str, int] = {}
        self._entries: dict[Key, Entry] = {}
        self._small: OrderedDict[Key, Entry] = OrderedDict()
        self._main: OrderedDict[Key, Entry] = OrderedDict()
        self._ghosts: OrderedDict[int, None] = OrderedDict()
        self._index: dict[Granule, set[Entry]] = {}
        # Sets of entries that were evicted and are still to be freed.
        self._doomed: list[set[Entry]] = []
        self._small_bytes = 0
        self._bytes = 0
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
        if self._ghosts.pop(hash(key), 0) is None:
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

    def evict(self, granules: Iterable[Granule], cause: str) -> int:
        """Drop every entry that depends on one of `granules`; return how many (F3).

        Their counters have moved, so none of them can be served any more: of very
        many, most are freed in slices later, lest all clients wait.
        """
        dropped = 0
        for granule in granules:
            if granule == ALL:
                dropped += self.clear()
                continue
            entries = self._index.pop(granule, None)
            if entries:
                dropped += len(entries)
                self._doomed.append(entries)
        self._count(cause, dropped)
        self._sweep(EVICTION_SLICE)
        return dropped

    def _sweep(self, limit: int) -> None:
        """Free up to `limit` of the entries that were evicted."""
        while self._doomed and limit > 0:
            entries = self._doomed[-1]
            while entries and limit > 0:
                entry = entries.pop()
                limit -= 1
                if self._entries.get(entry.key) is entry:
                    self._remove(entry)
            if not entries:
                self._doomed.pop()

    def drop(self, entry: Entry, cause: str) -> None:
        """Drop one entry if it is still the one stored under its key."""
        if self._entries.get(entry.key) is entry:
            self._remove(entry)
            self._count(cause, 1)

    def clear(self) -> int:
        """Drop everything; return how many entries that were. Counted by the caller."""
        dropped = len(self._entries)
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
            self._count("capacity", 1)
            return True
        if self._ghosts:
            self._ghosts.popitem(last=False)
            return True
        return False
