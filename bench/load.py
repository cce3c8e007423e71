"""The load: pgbench, and the figures of one run of it."""

from __future__ import annotations

import math
import re
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.children import BenchError, clean_environment
from bench.postgres import DATABASE, ROLE

# At the head of a latency log: first parses and cold caches. One in so many, at most so many.
SKIPPED_SHARE, SKIPPED_MOST = 20, 100


@dataclass(frozen=True)
class Load:
    """One pgbench invocation. Latencies are logged per transaction only if `log_latency`."""

    script: Path
    mode: str  # simple, extended or prepared
    clients: int
    threads: int  # of pgbench
    log_latency: bool


@dataclass(frozen=True)
class Figures:
    """What one run gave. Rates are per second, latencies in microseconds."""

    statements: int
    rate: float
    p50: float | None = None
    p99: float | None = None


class Pgbench:
    """Runs pgbench against a port; its logs go to `work`."""

    def __init__(self, binary: Path, work: Path) -> None:
        self.binary = binary
        self.work = work
        self.version = subprocess.run(
            [str(binary), "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()

    def warm(self, load: Load, port: int, statements: int) -> None:
        """Run `statements` per client, unmeasured."""
        self._run(load, port, ["-t", str(statements)])

    def measure(self, load: Load, port: int, seconds: int) -> Figures:
        """Run for that long. Raises BenchError if pgbench fails or any transaction does."""
        options = ["-T", str(seconds)]
        prefix = self.work / "pgbench_log"
        if load.log_latency:
            options += ["-l", f"--log-prefix={prefix}"]
        output = self._run(load, port, options)
        count = re.search(r"transactions actually processed: (\d+)", output)
        rate = re.search(r"tps = ([\d.]+)", output)
        if count is None or rate is None or int(count[1]) == 0:
            raise BenchError(f"pgbench gave no figures: {output[-500:]}")
        p50 = p99 = None
        if load.log_latency:
            p50, p99 = _read_log(self.work, prefix.name)
        return Figures(int(count[1]), float(rate[1]), p50, p99)

    def _run(self, load: Load, port: int, options: list[str]) -> str:
        words = [str(self.binary), "-n", "-M", load.mode, "-f", str(load.script)]
        words += ["-c", str(load.clients), "-j", str(load.threads)]
        words += ["-h", "127.0.0.1", "-p", str(port), "-U", ROLE, *options, DATABASE]
        result = subprocess.run(
            words, capture_output=True, text=True, check=False, env=clean_environment(), timeout=120
        )
        failed = re.search(r"number of failed transactions: (\d+)", result.stdout)
        if result.returncode != 0 or (failed is not None and failed[1] != "0"):
            raise BenchError(f"pgbench: {(result.stderr or result.stdout).strip()[-800:]}")
        return result.stdout


def _read_log(work: Path, prefix: str) -> tuple[float, float]:
    """(p50, p99) in microseconds from the log of a single client, which is removed."""
    latencies: list[int] = []
    for path in work.glob(prefix + ".*"):
        with path.open() as file:
            latencies += [int(line.split(" ", 3)[2]) for line in file]
        path.unlink()
    del latencies[: min(SKIPPED_MOST, len(latencies) // SKIPPED_SHARE)]
    latencies.sort()
    # The log has whole microseconds; the grouped median interpolates inside the middle one.
    p50 = statistics.median_grouped(latencies)
    return p50, float(latencies[math.ceil(0.99 * len(latencies)) - 1])
