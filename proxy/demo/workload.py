"""What the demo measures, through an ordinary driver.

What lives here: the statements, the timing, and the check that a read after a
write shows the new value. What must not: printing.

The two servers are asked in turn, in short blocks, so that a noisy moment of the
machine strikes both, and each meets a client that is used to it. Where one client
waits for one answer at a time, all that take part share one core: otherwise a short
statement takes two or three times as long whenever the scheduler spreads them.
"""

from __future__ import annotations

import contextlib
import operator
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
REVIEWS = "SELECT count(*), sum(stars) FROM reviews WHERE product_id = %s"
REVIEW = """
    INSERT INTO reviews (id, product_id, customer_id, stars, body, written_at)
    VALUES (%s, %s, %s, %s, 'Written by the demo.', '2025-01-01 00:00+00')"""

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


@contextlib.contextmanager
def one_core(*processes: int) -> Iterator[None]:
    """Keep this process and these on one core meanwhile, where the system allows it."""
    before: dict[int, set[int]] = {}
    try:
        core = max(os.sched_getaffinity(0))
        for process in (0, *processes):
            allowed = os.sched_getaffinity(process)
            os.sched_setaffinity(process, {core})
            before[process] = allowed
    except (AttributeError, OSError):
        pass  # not Linux, or not ours to move: the times are a little noisier
    try:
        yield
    finally:
        for process, allowed in before.items():
            with contextlib.suppress(OSError):
                os.sched_setaffinity(process, allowed)


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
    """Several clients at once: popular reads, some reviews, now and then a change of stock.

    Each client writes about products of its own and checks that it reads what it wrote.

    Returns:
        Statements done, and the outcome of the checks.
    """
    deadline = time.monotonic() + seconds
    clients = [_Client(number, sizes) for number in range(threads)]
    failures: list[psycopg.Error] = []

    def run(client: _Client) -> None:
        try:
            with connect() as connection:
                while time.monotonic() < deadline:
                    client.step(connection)
        except psycopg.Error as error:
            failures.append(error)

    workers = [threading.Thread(target=run, args=(client,)) for client in clients]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    reads = sum(client.checks.reads for client in clients)
    stale = sum(client.checks.stale for client in clients)
    return sum(client.statements for client in clients), Freshness(reads, stale)


class _Client:
    """One client of the mixed workload; `step` does one thing that a shop does."""

    def __init__(self, number: int, sizes: Sizes):
        self.statements = 0
        self.checks = Freshness()
        self._chance = random.Random(SEED + number)
        self._sizes = sizes
        self._product = 1 + number  # nobody else writes about it
        self._next_review = 100_000_000 * (1 + number)

    def step(self, connection: Connection) -> None:
        kind = self._chance.random()
        if kind < 0.002:
            stock = self._chance.randint(0, 9999)
            self._write(connection, SET_STOCK, (stock, self._product))
            self._expect([(stock,)], self._read(connection, STOCK, self._product))
        elif kind < 0.01:
            [(count, stars)] = self._read(connection, REVIEWS, self._product)
            self._next_review += 1
            given = self._chance.randint(1, 5)
            values = (self._next_review, self._product, self._product, given)
            self._write(connection, REVIEW, values)
            wanted = [(count + 1, (stars or 0) + given)]
            self._expect(wanted, self._read(connection, REVIEWS, self._product))
        elif kind < 0.02:
            self._read(connection, DASHBOARD)
        elif kind < 0.3:
            customer = 1 + int(POPULAR_CUSTOMERS * self._chance.random() ** 2)
            self._read(connection, JOIN, min(customer, self._sizes.customers))
        else:
            product = 1 + int(POPULAR_PRODUCTS * self._chance.random() ** 2)
            self._read(connection, POINT, min(product, self._sizes.products))

    def _read(self, connection: Connection, statement: str, *values: int) -> Any:
        self.statements += 1
        return connection.execute(statement.encode(), values).fetchall()

    def _write(self, connection: Connection, statement: str, values: Sequence[int]) -> None:
        self.statements += 1
        connection.execute(statement.encode(), values)

    def _expect(self, wanted: object, rows: object) -> None:
        self.checks.reads += 1
        self.checks.stale += rows != wanted
