"""What is counted by statement: shapes, and how long their answers took.

A shape is a statement with its literals taken out: what differs in values alone is one
shape. Plain numbers, filled by the sessions and read by whoever shows them.
"""

from __future__ import annotations

from math import exp, log

# Eight buckets for each factor of e: a quantile is true to 7 %.
_PER_E = 8.0


class Latency:
    """How long something took: count, sum in seconds, and quantiles to within 7 %."""

    __slots__ = ("_buckets", "count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self._buckets: dict[int, int] = {}

    def observe(self, seconds: float, amount: int = 1) -> None:
        """`amount` took `seconds` each."""
        self.count += amount
        self.total += seconds * amount
        bucket = round(log(max(seconds, 1e-7)) * _PER_E)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + amount

    @property
    def mean(self) -> float | None:
        """Seconds; None where nothing was observed."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """Seconds that `share` (0 to 1) of all took at most; None where nothing was observed."""
        left = share * self.count
        found: int | None = None
        for found in sorted(self._buckets):
            left -= self._buckets[found]
            if left <= 0:
                break
        return None if found is None else exp(found / _PER_E)

    def copy(self) -> Latency:
        """As it is now."""
        made = Latency()
        made.count, made.total, made._buckets = self.count, self.total, dict(self._buckets)
        return made


# Outcomes of calls that reached PostgreSQL, and how `Shape` names them.
_FIELDS = {
    "miss": "misses",
    "bypass": "bypassed",
    "write": "writes",
    "other": "others",
    "shared": "shared",
    "stale": "stale",
}
_ROLES = 8


class Shape:
    """One statement without its literals, and all that was counted of it.

    Attributes:
        id: 16 hex digits; the fingerprint, whatever the literals, spaces and comments are.
            database: where it ran. text: the statement, literals replaced by $1, $2, ...
        hits, shared, stale, misses, bypassed, writes, others: calls by outcome.
        errors: calls that PostgreSQL answered with an error.
        rows, bytes: given to clients; of forwarded answers the bytes count only where they
            were recorded.
        hit, upstream: how long answers from memory took, and those that came from PostgreSQL.
        saved: seconds that PostgreSQL would have taken for what came from memory.
        entries: that are stored now. evicted: entries that were dropped. rejected: fills.
        outcome, reason: of the last call that reached PostgreSQL.
        last: loop time in s of the last call that is known of.
        rule: name of the rule that decides. reads: OIDs of the relations that it reads.
        roles: some of the roles that have run it.
        quarantined: its answers are not to be trusted, and not given from memory.
        dropped: it had to go for others, and is not shown.
    """

    __slots__ = (
        "bypassed",
        "bytes",
        "database",
        "dropped",
        "entries",
        "errors",
        "evicted",
        "hit",
        "hits",
        "id",
        "last",
        "misses",
        "others",
        "outcome",
        "quarantined",
        "reads",
        "reason",
        "rejected",
        "roles",
        "rows",
        "rule",
        "saved",
        "shared",
        "stale",
        "text",
        "upstream",
        "writes",
    )

    def __init__(self, id: str, database: str, text: str) -> None:
        self.id = id
        self.database = database
        self.text = text
        self.rule = ""
        self.reads: tuple[int, ...] = ()
        self.roles: set[str] = set()
        self.entries = 0
        self.quarantined = self.dropped = False
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.hits = self.shared = self.stale = 0
        self.misses = self.bypassed = self.writes = self.others = 0
        self.errors = self.rows = self.bytes = self.evicted = self.rejected = 0
        self.hit = Latency()
        self.upstream = Latency()
        self.saved = self.last = 0.0
        self.outcome = self.reason = ""

    @property
    def calls(self) -> int:
        """All of them."""
        memory = self.hits + self.shared + self.stale
        return memory + self.misses + self.bypassed + self.writes + self.others

    def ran(self, outcome: str, reason: str, seconds: float, now: float, role: str) -> None:
        """It reached PostgreSQL, which took `seconds`."""
        name = _FIELDS[outcome]
        setattr(self, name, getattr(self, name) + 1)
        self.outcome, self.reason, self.last = outcome, reason, now
        self.upstream.observe(seconds)
        if role not in self.roles and len(self.roles) < _ROLES:
            self.roles.add(role)

    def served(self, hits: int, rows: int, size: int, seconds: float, now: float) -> None:
        """It was answered from memory `hits` times: `rows`, `size` bytes, `seconds` saved each."""
        self.hits += hits
        self.rows += hits * rows
        self.bytes += hits * size
        self.saved += hits * seconds
        self.last = max(self.last, now)
