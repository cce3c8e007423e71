"""The workloads: what pgbench runs, with how many clients, against which systems."""

from __future__ import annotations

from dataclasses import dataclass

MODES = ("simple", "extended", "prepared")
CLIENTS = 8

# pgbench_accounts holds 100,000 rows per unit of scale; hits come from the first 1,000.
POINT_READ = """
\\set aid random(1, 1000)
select abalance from pgbench_accounts where aid = :aid;
"""
# Reads the clock: no cache may answer it, and it costs PostgreSQL what the point read costs.
NEVER_CACHED = """
\\set aid random(1, 1000)
select abalance, clock_timestamp() from pgbench_accounts where aid = :aid;
"""
# May be cached, but never comes twice: each one is looked up, forwarded, recorded and stored.
ALWAYS_NEW = """
\\set aid random(1, 100000 * :scale)
\\set nonce random(1, 2000000000)
select abalance from pgbench_accounts where aid = :aid and :nonce > 0;
"""
# No min or max: Pgpool-II 4.3 takes them for functions that it must not cache.
AGGREGATE = """
select bid, count(*), sum(abalance) from pgbench_accounts group by bid order by bid;
"""
WRITE = """
\\set aid random(1, 1000)
update pgbench_accounts set abalance = abalance + 1 where aid = :aid;
"""


@dataclass(frozen=True)
class Scenario:
    """One workload. `kind` is hit, forward, miss, aggregate or write: it decides what is reported.

    With one client every latency is logged; with more, only the rate is taken, since eight clients
    on few cores measure their queue.
    """

    kind: str
    mode: str
    clients: int
    script: str
    systems: tuple[str, ...]
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.mode}-{self.clients}"

    @property
    def threads(self) -> tuple[int, ...]:
        """Numbers of pgbench threads to try: each system is shown with the one that suits it.

        On two cores one thread is what limits direct PostgreSQL, whose replies wake it one by one,
        and two take the core that a proxy of a single thread needs.
        """
        return (1,) if self.clients == 1 else (1, 2)

    @property
    def pinned(self) -> bool:
        """Whether all that takes part shares one core.

        With one client only one process runs at a time. Left to the scheduler, the same direct
        statement takes 20 or 75 us, by whether the processes sit on one core or wake each other
        across two: more than any proxy adds. The aggregate is left free, for it may run in
        parallel.
        """
        return self.clients == 1 and self.kind != "aggregate"

    @property
    def warm_statements(self) -> int:
        """Statements per client before each measurement: enough to fill each hot key."""
        if self.kind == "hit":
            return 8000 // self.clients
        return 3 if self.kind == "aggregate" else 200


CACHES = ("direct", "pgbouncer", "pgpool", "howdah", "echo")
RELAYS = ("direct", "pgbouncer", "howdah", "relay")

SCENARIOS = (
    *(Scenario("hit", mode, CLIENTS, POINT_READ, CACHES, quick=True) for mode in MODES),
    Scenario("hit", "simple", 1, POINT_READ, CACHES),
    Scenario("hit", "prepared", 1, POINT_READ, CACHES, quick=True),
    *(Scenario("forward", mode, 1, NEVER_CACHED, RELAYS, quick=True) for mode in MODES),
    Scenario("forward", "simple", CLIENTS, NEVER_CACHED, RELAYS),
    Scenario("forward", "prepared", CLIENTS, NEVER_CACHED, RELAYS, quick=True),
    Scenario("miss", "simple", 1, ALWAYS_NEW, ("direct", "pgbouncer", "pgpool", "howdah")),
    Scenario(
        "miss", "prepared", 1, ALWAYS_NEW, ("direct", "pgbouncer", "pgpool", "howdah"), quick=True
    ),
    Scenario("aggregate", "simple", 1, AGGREGATE, ("direct", "pgpool", "howdah"), quick=True),
    Scenario("write", "simple", 1, WRITE, ("direct", "pgbouncer", "howdah")),
    Scenario("write", "prepared", 1, WRITE, ("direct", "pgbouncer", "howdah")),
)

KINDS = {
    "hit": "Point read that a cache can answer",
    "forward": "Statement that is never cached (clock_timestamp())",
    "miss": "Statement that could be cached but never comes twice",
    "aggregate": "Aggregate over the whole table, repeated",
    "write": "UPDATE of one hot row",
}
