"""The catalog at scale: how long a large schema takes to load, and who notices.

What lives here: a database with the schema of `bench.schemas`, Howdah's own questions to it timed
in this process, and the same seen by clients of a running Howdah. What must not: the SQL of the
schema. Clients are threads with one blocking connection each: what they see is what is reported.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import threading
import time
import tracemalloc
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import psycopg

from bench.children import BenchError
from bench.postgres import DATABASE, ROLE, Postgres
from bench.schemas import Size, scripts
from bench.systems import System
from proxy.catalog.loader import catalog_fingerprint, load_snapshot

LARGE = "large"
LOAD_GOAL = 5.0  # seconds

# In the small database, from memory; in the large one, whatever it is.
HIT = "SELECT abalance FROM pgbench_accounts WHERE aid = 1"
READ = "SELECT num FROM s0.t0 WHERE id = 1"
CHANGES = (
    ("ALTER TABLE", "ALTER TABLE s0.t2 ADD COLUMN extra int"),
    ("DROP COLUMN", "ALTER TABLE s0.t2 DROP COLUMN extra"),
    (
        "CREATE FUNCTION",
        "CREATE OR REPLACE FUNCTION s0.fresh(a int) RETURNS int LANGUAGE sql AS 'SELECT a + 1'",
    ),
    ("DROP FUNCTION", "DROP FUNCTION s0.fresh(int)"),
    ("CREATE VIEW", "CREATE VIEW s0.fresh AS SELECT id FROM s0.t3"),
    ("DROP VIEW", "DROP VIEW s0.fresh"),
)


@dataclass
class Figures:
    """What was measured. Seconds; bytes; latencies are lists of seconds."""

    size: Size
    making: float = 0.0
    loads: list[float] = field(default_factory=list)
    queries: list[float] = field(default_factory=list)
    slowest: list[tuple[float, int, str]] = field(default_factory=list)  # seconds, rows, query
    fingerprints: list[float] = field(default_factory=list)
    held: int = 0
    peak: int = 0
    resident: tuple[int, int] = (0, 0)
    hits: dict[str, list[float]] = field(default_factory=dict)
    downs: dict[str, list[float]] = field(default_factory=dict)


class Timed(asyncpg.Connection):  # type: ignore[misc]
    """A connection that notes how long each query and its decoding take."""

    spent: list[tuple[float, int, str]]

    async def fetch(self, query: str, *arguments: Any, **more: Any) -> Any:
        begin = time.perf_counter()
        rows = await super().fetch(query, *arguments, **more)
        self._note(begin, len(rows), query)
        return rows

    async def fetchrow(self, query: str, *arguments: Any, **more: Any) -> Any:
        begin = time.perf_counter()
        row = await super().fetchrow(query, *arguments, **more)
        self._note(begin, 1, query)
        return row

    def _note(self, begin: float, rows: int, query: str) -> None:
        words = " ".join(query.split())
        self.spent.append((time.perf_counter() - begin, rows, words))


def measure(postgres: Postgres, howdah: System, size: Size, say: Callable[[str], None]) -> Figures:
    """Make the database, measure, drop it. Raises BenchError if Howdah never answers from memory.

    Args:
        howdah: started in front of `postgres`; its other database is the bench's own.
    """
    figures = Figures(size)
    say(f"making a database with {size.relations:,} relations, {size.functions:,} functions")
    postgres.query(f"create database {LARGE}", database="postgres")
    try:
        figures.making = asyncio.run(make(postgres.port, ROLE, LARGE, size))
        say("loading its catalog in this process")
        asyncio.run(loading(postgres.port, ROLE, LARGE, figures))
        say("loading and changing it behind clients of Howdah")
        _behind_clients(howdah, figures)
    finally:
        postgres.query(f"drop database {LARGE} with (force)", database="postgres")
    return figures


async def make(port: int, role: str, database: str, size: Size) -> float:
    """Fill an empty database; returns the seconds it took."""
    begin = time.perf_counter()
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user=role, database=database)
    try:
        for script in scripts(size):
            await connection.execute(script, timeout=300)
        await connection.execute("VACUUM ANALYZE pg_class, pg_attribute, pg_proc, pg_depend")
        await connection.execute("VACUUM ANALYZE pg_rewrite, pg_constraint, pg_index, pg_attrdef")
    finally:
        await connection.close()
    return time.perf_counter() - begin


async def loading(port: int, role: str, database: str, figures: Figures, rounds: int = 3) -> None:
    """Howdah's own questions: the whole snapshot, the cheap look, the memory of a snapshot."""
    connection = await asyncpg.connect(
        host="127.0.0.1",
        port=port,
        user=role,
        database=database,
        connection_class=Timed,
        statement_cache_size=0,
        server_settings={"jit": "off"},
    )
    try:
        for _ in range(rounds):
            connection.spent = []
            begin = time.perf_counter()
            await load_snapshot(connection)
            figures.loads.append(time.perf_counter() - begin)
            figures.queries.append(sum(seconds for seconds, _, _ in connection.spent))
        figures.slowest = sorted(connection.spent, reverse=True)[:4]
        for _ in range(2 * rounds):
            begin = time.perf_counter()
            await catalog_fingerprint(connection)
            figures.fingerprints.append(time.perf_counter() - begin)
        gc.collect()
        tracemalloc.start()
        snapshot = await load_snapshot(connection)
        gc.collect()
        figures.held, figures.peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        del snapshot
    finally:
        await connection.close()


def _behind_clients(howdah: System, figures: Figures) -> None:
    before = resident(howdah)
    with _client(howdah.port, DATABASE) as small:
        _until_hit(howdah, small, HIT)
        hits = figures.hits
        with _repeating(small, HIT) as hits["hit, nothing else happens"]:
            time.sleep(1.0)
        seconds = 1.0 + 2 * statistics.median(figures.loads)
        with _repeating(small, HIT) as hits["hit elsewhere during the first load"]:
            with _client(howdah.port, LARGE) as large:
                with _repeating(large, READ) as hits["forwarded there during the first load"]:
                    time.sleep(seconds)
        with _client(howdah.port, LARGE) as large, _client(howdah.port, LARGE) as other:
            _until_hit(howdah, large, READ)
            figures.resident = before, resident(howdah)
            with _repeating(small, HIT) as hits["hit elsewhere while the schema changes"]:
                with _repeating(other, READ) as hits["read there while the schema changes"]:
                    for _, change in CHANGES:
                        large.execute(change.encode())
                        time.sleep(seconds / 2)
            for _ in range(2):
                for name, change in CHANGES:
                    large.execute(change.encode())
                    figures.downs.setdefault(name, []).append(_until_down(howdah))


def _client(port: int, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        f"host=127.0.0.1 port={port} user={ROLE} dbname={database} sslmode=disable",
        autocommit=True,
        prepare_threshold=None,
    )


@contextmanager
def _repeating(connection: psycopg.Connection[Any], sql: str) -> Iterator[list[float]]:
    """Ask the same again and again in a thread; the list gets each latency in seconds."""
    latencies: list[float] = []
    ended = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            while not ended.is_set():
                begin = time.perf_counter()
                connection.execute(sql.encode()).fetchall()
                latencies.append(time.perf_counter() - begin)
                ended.wait(0.0005)  # leaves the cores to those whose work is measured
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield latencies
    finally:
        ended.set()
        thread.join()
    if failed:
        raise BenchError(f"a client failed: {failed[0]}")


def _until_hit(howdah: System, connection: psycopg.Connection[Any], sql: str) -> None:
    """Repeat until it comes from memory; nothing else may ask meanwhile."""
    assert howdah.counts is not None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        before = howdah.counts()[0]
        connection.execute(sql.encode())
        if howdah.counts()[0] > before:
            return
        time.sleep(0.02)
    raise BenchError(f"never a hit: {sql}")


def _until_down(howdah: System) -> float:
    """Seconds until no fence stands any more, to about 10 ms: the question costs Howdah, too."""
    begin = time.perf_counter()
    while fences_up(howdah):
        time.sleep(0.005)
        if time.perf_counter() - begin > 60:
            raise BenchError("a fence of DDL stays up")
    return time.perf_counter() - begin


def fences_up(howdah: System) -> float:
    """What Howdah says about its fences."""
    assert howdah.http is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{howdah.http}/metrics", timeout=10) as page:
        for line in page.read().decode().splitlines():
            if line.startswith("howdah_fences_up "):
                return float(line.split()[1])
    raise BenchError("no howdah_fences_up in /metrics")


def resident(howdah: System) -> int:
    """Resident memory of the process, in bytes."""
    for line in Path(f"/proc/{howdah.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise BenchError("no VmRSS in /proc")


def lines(figures: Figures) -> list[str]:
    """Head lines: what was made, goals."""
    median = statistics.median(figures.loads)
    mark = "PASS" if median < LOAD_GOAL else "MISS"
    return [
        f"{figures.size.relations:,} relations beside their indexes, "
        f"{figures.size.functions:,} functions; made in {figures.making:.0f} s",
        f"{mark}  the catalog loads in {median:.2f} s (goal < {LOAD_GOAL:g} s)",
    ]


def table(figures: Figures) -> list[list[str]]:
    """Header and rows: what, median, worst."""
    rows = [["what", "median", "worst"]]

    def row(what: str, values: list[float], unit: float, form: str) -> None:
        if values:
            cells = (statistics.median(values), max(values))
            rows.append([what, *(format(value * unit, form) for value in cells)])

    row("load, s", figures.loads, 1, ".2f")
    row("... of it waiting for queries and decoding, s", figures.queries, 1, ".2f")
    for seconds, count, query in figures.slowest:
        rows.append([f"... {count:,} rows of `{query[:48]}`, s", f"{seconds:.2f}", ""])
    row("cheap look for changes (fingerprint), ms", figures.fingerprints, 1e3, ".0f")
    rows.append(["memory of a snapshot, MB", f"{figures.held / 1e6:.0f}", ""])
    rows.append(["memory while loading, MB", "", f"{figures.peak / 1e6:.0f}"])
    before, after = figures.resident
    rows.append(["Howdah's resident memory before and after, MB"])
    rows[-1] += [f"{before / 1e6:.0f}", f"{after / 1e6:.0f}"]
    for name, latencies in figures.hits.items():
        row(f"{name}, ms ({len(latencies):,} statements)", latencies, 1e3, ".2f")
    for name, seconds_each in figures.downs.items():
        row(
            f"{name}: from its acknowledgement until its fence is down, ms",
            seconds_each,
            1e3,
            ".0f",
        )
    return rows
