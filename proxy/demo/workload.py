"""What the demo measures, through an ordinary driver.

What lives here: the statements, the timing, and the check that a read after a
write shows the new value. What must not: printing.

The two servers are asked in turn, in short blocks, so that a noisy moment of the
machine strikes both, and each meets a client that is used to it.
"""

from __future__ import annotations

import operator
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from proxy.demo.shop import Sizes

Connection = psycopg.Connection[tuple[Any, ...]]

POINT = "SELECT id, name, category, price, stock FROM products WHERE id = %s"
JOIN = """
    SELECT o.id, o.status, o.placed_at, p.name, l.quantity, l.unit_price
    FROM orders o
    JOIN order_lines l ON l.order_id = o.id
    JOIN products p ON p.id = l.product_id
    WHERE o.customer_id = %s
    ORDER BY o.id DESC, l.line_no
    LIMIT 20"""
DASHBOARD = """
    SELECT p.category, count(*), sum(l.quantity), sum(l.quantity * l.unit_price) AS revenue
    FROM order_lines l
    JOIN products p ON p.id = l.product_id
    GROUP BY p.category
    ORDER BY revenue DESC"""
STOCK = "SELECT stock FROM products WHERE id = %s"
SET_STOCK = "UPDATE products SET stock = %s WHERE id = %s"

SEED = 20_240_101
BLOCK = 20
POPULAR_PRODUCTS = 40
POPULAR_CUSTOMERS = 25


@dataclass(slots=True)
class Timing:
    """Latencies of one kind of statement, in seconds, per server."""

    label: str
    direct: list[float] = field(default_factory=list)
    cached: list[float] = field(default_factory=list)

    def quantile(self, times: Sequence[float], share: float) -> float:
        """The latency below which this share of the statements stayed."""
        ordered = sorted(times)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    @property
    def factor(self) -> float:
        """How many times faster the median is through Howdah."""
        return self.quantile(self.direct, 0.5) / self.quantile(self.cached, 0.5)


@dataclass(slots=True)
class Freshness:
    """Outcome of the reads right after a write: how many were made, how many were old."""

    reads: int = 0
    stale: int = 0


def _timed(connection: Connection, statement: str, values: Sequence[object]) -> tuple[float, Any]:
    begin = time.perf_counter()
    rows = connection.execute(statement.encode(), values).fetchall()
    return time.perf_counter() - begin, rows


def measure_reads(
    direct: Connection,
    cached: Connection,
    sizes: Sizes,
    repeats: int = 400,
) -> tuple[list[Timing], int]:
    """Time the three kinds of reads on both servers, each seen once before.

    Args:
        direct: connection to PostgreSQL.
        cached: connection to Howdah.
        sizes: of the sample data, for the choice of keys.
        repeats: statements per kind; the aggregate gets a tenth.

    Returns:
        The timings, and how many answers differed between the two (none should).
    """
    chance = random.Random(SEED)
    products = [chance.randint(1, sizes.products) for _ in range(POPULAR_PRODUCTS)]
    customers = [chance.randint(1, sizes.customers) for _ in range(POPULAR_CUSTOMERS)]
    plan: list[tuple[str, str, list[tuple[int, ...]], int]] = [
        ("point read", POINT, [(product,) for product in products], repeats),
        ("join of 3 tables", JOIN, [(customer,) for customer in customers], repeats),
        ("dashboard aggregate", DASHBOARD, [()], max(repeats // 10, 3)),
    ]
    timings, differences = [], 0
    for label, statement, keys, count in plan:
        timing = Timing(label)
        for values in keys:  # the first time is a miss for Howdah and cold for PostgreSQL
            _timed(direct, statement, values)
            _timed(cached, statement, values)
        for start in range(0, count, BLOCK):
            block = [keys[n % len(keys)] for n in range(start, min(start + BLOCK, count))]
            answers = []
            for connection, times in ((direct, timing.direct), (cached, timing.cached)):
                timed = [_timed(connection, statement, values) for values in block]
                times += [took for took, _ in timed]
                answers.append([rows for _, rows in timed])
            differences += sum(map(operator.ne, *answers))
        timings.append(timing)
    return timings, differences


def measure_read_after_write(
    direct: Connection, cached: Connection, repeats: int = 100
) -> tuple[Timing, Freshness]:
    """Time reads that follow a write of the same row, and check what they show.

    The write goes to the same server as the read; through Howdah the answer was in
    memory until the write, so an old value here would be a broken promise.
    """
    timing, freshness = Timing("read after a write"), Freshness()
    for number in range(repeats):
        product = 1 + number % 5
        for connection, times in ((direct, timing.direct), (cached, timing.cached)):
            _timed(connection, STOCK, (product,))
            wanted = 1000 + 2 * number + (connection is cached)
            connection.execute(SET_STOCK, (wanted, product))
            took, rows = _timed(connection, STOCK, (product,))
            times.append(took)
            if connection is cached:
                freshness.reads += 1
                freshness.stale += rows != [(wanted,)]
    return timing, freshness


def mixed(
    connect: Callable[[], Connection], sizes: Sizes, seconds: float, threads: int = 4
) -> tuple[int, Freshness]:
    """Several clients at once: mostly popular reads, a few writes, for some seconds.

    Each client writes products of its own and checks that it reads what it wrote.

    Returns:
        Statements done, and the outcome of the checks.
    """
    counts, checks, failures = [0] * threads, Freshness(), []
    lock = threading.Lock()
    deadline = time.monotonic() + seconds

    def client(number: int) -> None:
        chance = random.Random(SEED + number)
        try:
            with connect() as connection:
                while time.monotonic() < deadline:
                    counts[number] += _one(connection, chance, number, sizes, checks, lock)
        except psycopg.Error as error:
            failures.append(error)

    workers = [threading.Thread(target=client, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return sum(counts), checks


def _one(
    connection: Connection,
    chance: random.Random,
    number: int,
    sizes: Sizes,
    checks: Freshness,
    lock: threading.Lock,
) -> int:
    kind = chance.random()
    if kind < 0.01:
        product, stock = 1 + number, chance.randint(0, 9999)
        connection.execute(SET_STOCK, (stock, product))
        _, rows = _timed(connection, STOCK, (product,))
        with lock:
            checks.reads += 1
            checks.stale += rows != [(stock,)]
        return 2
    if kind < 0.25:
        customer = 1 + int(POPULAR_CUSTOMERS * chance.random() ** 2)
        _timed(connection, JOIN, (min(customer, sizes.customers),))
    elif kind < 0.26:
        _timed(connection, DASHBOARD, ())
    else:
        product = 1 + int(POPULAR_PRODUCTS * chance.random() ** 2)
        _timed(connection, POINT, (min(product, sizes.products),))
    return 1
