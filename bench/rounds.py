"""The interleaved measurement: every round runs each scenario on each system once, in turn."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.children import BenchError, machine_busy_seconds, pin, tree_cpu_seconds
from bench.load import Load, Pgbench
from bench.scenarios import Scenario
from bench.systems import Counts, System

# A run in which others used more than this share of the CPU time is repeated.
NOISY = 0.15
ATTEMPTS = 3


@dataclass(frozen=True)
class Sample:
    """One measurement. CPU and latency in microseconds; CPU is per statement.

    `foreign` is the share of the machine's CPU time that went to processes which are not the
    bench's: what a reader needs to judge the noise. `hit_share` comes from the system's own
    statistics and is None where it has none. `threads` is the number of pgbench's threads that gave
    the best rate, `rates` has the rates by that number.
    """

    scenario: str
    system: str
    round: int
    threads: int
    rate: float
    p50: float | None
    p99: float | None
    proxy_cpu: float
    postgres_cpu: float
    foreign: float
    hit_share: float | None
    rates: dict[int, float] = field(default_factory=dict)


class Bench:
    """Measures scenarios on started systems; `note` gets one line per measurement."""

    def __init__(
        self,
        systems: Mapping[str, System],
        pgbench: Pgbench,
        postgres_pid: int,
        work: Path,
        scale: int,
        note: Callable[[str], None],
    ) -> None:
        self.systems = systems
        self.pgbench = pgbench
        self.postgres_pid = postgres_pid
        self.work = work
        self.scale = scale
        self.note = note
        self.failures: list[str] = []

    def run(self, scenarios: Sequence[Scenario], rounds: int, seconds: int) -> list[Sample]:
        """All samples; a failing measurement is noted in `failures` and left out."""
        samples: list[Sample] = []
        order = random.Random(1)  # the same shuffles each time: no system always follows another
        for number in range(rounds):
            for scenario in scenarios:
                names = [name for name in scenario.systems if name in self.systems]
                order.shuffle(names)
                for name in names:
                    sample = self._attempt(scenario, self.systems[name], number, seconds)
                    if sample is not None:
                        samples.append(sample)
        return samples

    def _attempt(
        self, scenario: Scenario, system: System, number: int, seconds: int
    ) -> Sample | None:
        try:
            with self._placed(scenario, system):
                sample = self._measure(scenario, system, number, seconds)
        except BenchError as error:
            failure = f"{scenario.name} on {system.name}, round {number + 1}: {error}"
            self.failures.append(failure)
            self.note("FAILED " + failure)
            return None
        latency = "" if sample.p50 is None else f"  p50 {sample.p50:7.1f} us"
        speed = f"{sample.rate:9,.0f}/s{latency}"
        self.note(f"round {number + 1}  {scenario.name:20} {system.name:10} {speed}")
        return sample

    @contextmanager
    def _placed(self, scenario: Scenario, system: System) -> Iterator[None]:
        """Keep all that takes part on one core where the scenario wants that."""
        if not scenario.pinned:
            yield
            return
        everywhere = os.sched_getaffinity(0)
        roots = [self.postgres_pid] if system.pid is None else [self.postgres_pid, system.pid]
        try:
            os.sched_setaffinity(0, {max(everywhere)})  # pgbench inherits it
            pin(roots, {max(everywhere)})
            yield
        finally:
            os.sched_setaffinity(0, everywhere)
            pin(roots, everywhere)

    def _measure(self, scenario: Scenario, system: System, number: int, seconds: int) -> Sample:
        """The better of the runs with each number of load threads."""
        runs = [
            self._quiet_run(scenario, system, number, seconds, threads)
            for threads in scenario.threads
        ]
        rates = {sample.threads: sample.rate for sample in runs}
        return replace(max(runs, key=lambda sample: sample.rate), rates=rates)

    def _quiet_run(
        self, scenario: Scenario, system: System, number: int, seconds: int, threads: int
    ) -> Sample:
        """One run, repeated while others use too much CPU; the quietest counts, not the best."""
        runs: list[Sample] = []
        while len(runs) < ATTEMPTS and (not runs or runs[-1].foreign > NOISY):
            runs.append(self._run(scenario, system, number, seconds, threads))
        return min(runs, key=lambda sample: sample.foreign)

    def _run(
        self, scenario: Scenario, system: System, number: int, seconds: int, threads: int
    ) -> Sample:
        script = self.work / f"{scenario.kind}.sql"
        script.write_text(scenario.script.replace(":scale", str(self.scale)))
        single = scenario.clients == 1
        load = Load(script, scenario.mode, scenario.clients, threads, log_latency=single)
        self.pgbench.warm(load, system.port, scenario.warm_statements)

        counts_before = system.counts() if system.counts else None
        before = self._clocks(system)
        figures = self.pgbench.measure(load, system.port, seconds)
        after = self._clocks(system)
        busy, ours, proxy, postgres = (b - a for a, b in zip(before, after, strict=True))
        hit_share = None
        if system.counts and counts_before:
            hit_share = _share(counts_before, system.counts())
        return Sample(
            scenario=scenario.name,
            system=system.name,
            round=number,
            threads=threads,
            rate=figures.rate,
            p50=figures.p50,
            p99=figures.p99,
            proxy_cpu=proxy * 1e6 / figures.statements,
            postgres_cpu=postgres * 1e6 / figures.statements,
            foreign=max(0.0, busy - ours) / busy if busy else 0.0,
            hit_share=hit_share,
        )

    def _clocks(self, system: System) -> tuple[float, float, float, float]:
        """CPU seconds so far: the machine, the bench with all it started, proxy, PostgreSQL."""
        return (
            machine_busy_seconds(),
            tree_cpu_seconds(os.getpid()),
            tree_cpu_seconds(system.pid) if system.pid is not None else 0.0,
            tree_cpu_seconds(self.postgres_pid),
        )


def _share(before: Counts, after: Counts) -> float | None:
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total > 0 else None
