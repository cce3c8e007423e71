"""Rows of the views that show what was counted.

What lives here: statements, answers, tables, reasons. What must not: the columns' names
(`admin.views`), and what is so at this moment (`admin.present`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from proxy.admin.house import House, Row, Value
from proxy.cache.fences import ALL, Granule
from proxy.cache.store import Obituary, Toll
from proxy.reasons import Reason
from proxy.session.statistics import BUCKETS, Histogram

if TYPE_CHECKING:
    from proxy.session.context import Database
    from proxy.session.engine import Engine
    from proxy.tally import Shape

FROM_MEMORY = ("hit", "shared", "stale")
READS = (*FROM_MEMORY, "miss", "bypass")
# What stands in a list of tables for all of them.
EVERYTHING = "*"
_WRITER = 300  # characters that are shown of a statement that wrote


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`, between 0 and 1; None where there is nothing to have a part in."""
    return part / whole if whole else None


def quantile(histogram: Histogram, wanted: float) -> float | None:
    """Seconds that `wanted` (0 to 1) of all took at most, straight lines within the buckets."""
    count = sum(histogram.counts)
    if not count:
        return None
    left = wanted * count
    low = 0.0
    for high, inside in zip(BUCKETS, histogram.counts, strict=False):
        if inside and left <= inside:
            return low + (high - low) * left / inside
        left -= inside
        low = high
    return low


def by_outcome(engine: Engine) -> dict[str, int]:
    """Statements by outcome."""
    engine.statistics.time_hits()
    found = dict.fromkeys(engine.statistics.seconds, 0)
    for (outcome, _), number in engine.statistics.statements.items():
        found[outcome] = found.get(outcome, 0) + number
    return found


def stats(house: House) -> Iterator[Row]:
    """See the view of that name; likewise below."""
    counts = by_outcome(house.engine)
    total = sum(counts.values())
    for outcome, number in counts.items():
        times = house.engine.statistics.seconds[outcome]
        timed = sum(times.counts)
        yield (
            outcome,
            number,
            share(number, total),
            times.total / timed if timed else None,
            quantile(times, 0.5),
            quantile(times, 0.99),
            times.total,
        )


def hit_share(counts: dict[str, int]) -> float | None:
    """The part of all reads that came from memory."""
    memory = sum(counts.get(outcome, 0) for outcome in FROM_MEMORY)
    return share(memory, sum(counts.get(outcome, 0) for outcome in READS))


def cache(house: House) -> Iterator[Row]:
    store = house.engine.store
    counts = by_outcome(house.engine)
    yield (
        len(store),
        store.bytes_used,
        store.capacity,
        sum(counts.get(outcome, 0) for outcome in FROM_MEMORY),
        hit_share(counts),
        sum(store.evictions.values()),
        sum(house.engine.statistics.fills_rejected.values()),
        store.oldest(house.now()) if len(store) else None,
        store.ghosts,
        store.returns,
    )


def evictions(house: House) -> Iterable[Row]:
    return _most_first(house.engine.store.evictions.items())


def rejected(house: House) -> Iterable[Row]:
    return _most_first(house.engine.statistics.fills_rejected.items())


def verify(house: House) -> Iterable[Row]:
    return list(house.engine.statistics.verify.items())


def _most_first(items: Iterable[tuple[str, int]]) -> list[Row]:
    return [(name, number) for name, number in sorted(items, key=lambda item: (-item[1], item[0]))]


class _Counted:
    """A row of `queries`: of thousands most are cut off again before anything is worked out."""

    __slots__ = ("_known", "database", "now", "shape")

    def __init__(self, shape: Shape, database: Database | None, now: float) -> None:
        self.shape = shape
        self.database = database
        self.now = now
        self._known: dict[int, Value] = {}

    def __getitem__(self, at: int, /) -> Value:
        # A filter may ask for a quantile a hundred times.
        if at in self._known:
            return self._known[at]
        value = self._known[at] = _QUERIES[at](self)
        return value

    @property
    def outcome(self) -> str:
        """Of the last call that was not a hit; a BEGIN may never have reached PostgreSQL."""
        shape = self.shape
        memory = shape.hits + shape.shared + shape.stale
        return shape.outcome or ("other" if shape.others and not memory else "hit")

    @property
    def idle(self) -> float | None:
        """Seconds since its last call that is known of."""
        return max(0.0, self.now - self.shape.last) if self.shape.last else None

    @property
    def relations(self) -> str | None:
        """What it reads."""
        names = [name_of(self.database, oid) for oid in self.shape.reads]
        return ", ".join(sorted(names)) or None


# The columns of `queries`, in their order.
_QUERIES: tuple[Callable[[_Counted], Value], ...] = (
    lambda row: row.shape.id,
    lambda row: row.shape.database,
    lambda row: row.shape.text,
    lambda row: row.outcome,
    lambda row: row.shape.reason or None,
    lambda row: row.shape.calls,
    lambda row: row.shape.hits,
    lambda row: row.shape.shared,
    lambda row: row.shape.stale,
    lambda row: row.shape.misses,
    lambda row: row.shape.bypassed,
    lambda row: row.shape.writes,
    lambda row: row.shape.errors,
    lambda row: row.shape.rows,
    lambda row: row.shape.bytes,
    lambda row: row.shape.hit.mean,
    lambda row: row.shape.hit.quantile(0.5),
    lambda row: row.shape.hit.quantile(0.99),
    lambda row: row.shape.upstream.mean,
    lambda row: row.shape.upstream.quantile(0.5),
    lambda row: row.shape.upstream.quantile(0.99),
    lambda row: row.shape.saved,
    lambda row: row.shape.upstream.total,
    lambda row: row.shape.evicted,
    lambda row: row.shape.entries,
    lambda row: row.idle,
    lambda row: row.shape.rule or None,
    lambda row: row.relations,
    lambda row: ", ".join(sorted(row.shape.roles)) or None,
    lambda row: row.shape.rejected,
    lambda row: row.shape.quarantined,
)


def queries(house: House) -> Iterator[_Counted]:
    """Statements that were called since the last reset, or are not to be trusted."""
    engine, now = house.engine, house.now()
    engine.shapes.fold(now)
    for shape in engine.shapes:
        if shape.calls or shape.quarantined:
            yield _Counted(shape, engine.databases.get(shape.database), now)


def name_of(database: Database | None, oid: int) -> str:
    """`schema.name` of a relation, or its OID where that is all that is known."""
    if not oid:
        return EVERYTHING
    snapshot = None if database is None else database.snapshot
    return str(oid) if snapshot is None else snapshot.name_of(oid)


def tables(house: House) -> Iterator[Row]:
    """Everything that answers depend on or that was written, the most costly writes first."""
    engine, now = house.engine, house.now()
    databases = {found.oid: found for found in engine.databases.values() if found.oid}
    entries = dict(engine.store.by_granule())
    read: dict[Granule, int] = {}
    for shape in engine.shapes:
        database = engine.databases.get(shape.database)
        for oid in shape.reads if database is not None else ():
            granule = (database.oid, oid)  # type: ignore[union-attr]
            read[granule] = read.get(granule, 0) + 1
    tolls = engine.store.tolls
    # Not what stands for logins, which may run triggers.
    seen = [granule for granule in {*entries, *read, *tolls} if granule[0] >= 0]
    unwritten = Toll()
    for granule in sorted(seen, key=lambda each: (-tolls.get(each, unwritten).evicted, each)):
        toll = tolls.get(granule, unwritten)
        # Each answer depends on the whole database, too: that row is of interest when all of
        # it was written.
        if not granule[1] and not toll.writes and not toll.evicted:
            continue
        number, oid = granule
        database = databases.get(number)
        last = toll.last
        yield (
            EVERYTHING if granule == ALL else str(number) if database is None else database.name,
            name_of(database, oid),
            len(engine.store) if granule == ALL else entries.get(granule, 0),
            read.get(granule, 0),
            toll.writes,
            toll.evicted,
            share(toll.evicted, toll.writes),
            None if last is None else max(0.0, now - last.time),
            None if last is None else _writer(last),
            sum(covers(fence.granules, granule) for fence in engine.board.fences),
        )


def _writer(last: Obituary) -> str:
    return f"{last.owner or last.cause}: {last.text}"[:_WRITER].rstrip(": ")


def covers(granules: Collection[Granule], granule: Granule) -> bool:
    """Whether a fence on `granules` stands over this one."""
    return granule in granules or (granule[0], 0) in granules or ALL in granules


def reasons(house: House) -> Iterator[Row]:
    """Every reason there is, the most frequent first, once for each outcome that had it."""
    by_outcome(house.engine)
    counts: dict[str, list[tuple[str | None, int]]] = {}
    for (outcome, reason), number in house.engine.statistics.statements.items():
        counts.setdefault(reason, []).append((outcome, number))
    rows = [
        (reason, number, outcome)
        for reason in Reason
        for outcome, number in counts.get(reason.value, [(None, 0)])
    ]
    for known, number, seen in sorted(rows, key=lambda row: -row[1]):
        yield known.value, number, seen, known.meaning, known.advice
