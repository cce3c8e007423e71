"""From samples to a report: medians with their range, ratios formed inside each round, goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.rounds import Sample
from bench.scenarios import CLIENTS, KINDS, MODES, Scenario

Series = dict[int, float]  # round -> value

HIT_GOAL = 1.3
ADDED_GOAL = 2.0


@dataclass(frozen=True)
class Spread:
    """Median and range over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        if not values:
            return None
        return cls(statistics.median(values), min(values), max(values))

    def show(self, form: str = ",.0f") -> str:
        return f"{self.median:{form}} ({self.low:{form}}-{self.high:{form}})"


class Results:
    """Samples by scenario, system and round."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples: dict[tuple[str, str], list[Sample]] = {}
        for sample in samples:
            self._samples.setdefault((sample.scenario, sample.system), []).append(sample)

    def series(self, scenario: str, system: str, value: Callable[[Sample], float | None]) -> Series:
        found = {s.round: value(s) for s in self._samples.get((scenario, system), [])}
        return {number: x for number, x in found.items() if x is not None}

    def spread(
        self, scenario: str, system: str, value: Callable[[Sample], float | None]
    ) -> Spread | None:
        return Spread.of(list(self.series(scenario, system, value).values()))

    def rate_ratio(self, scenario: str, system: str, base: str) -> Spread | None:
        """The rate of `system` in units of the rate of `base` in the same round."""
        ours = self.series(scenario, system, rate)
        theirs = self.series(scenario, base, rate)
        return Spread.of([ours[number] / theirs[number] for number in ours.keys() & theirs.keys()])

    def rate_ratio_at(self, scenario: str, system: str, base: str, threads: int) -> Spread | None:
        """The same, both with that number of load threads."""

        def at(sample: Sample) -> float | None:
            return sample.rates.get(threads)

        ours, theirs = self.series(scenario, system, at), self.series(scenario, base, at)
        return Spread.of([ours[number] / theirs[number] for number in ours.keys() & theirs.keys()])

    def added(self, scenario: str, system: str) -> Series:
        """Microseconds that `system` adds to the p50 of direct PostgreSQL in the same round."""
        ours = self.series(scenario, system, p50)
        base = self.series(scenario, "direct", p50)
        return {number: ours[number] - base[number] for number in ours.keys() & base.keys()}

    def added_ratio(self, scenario: str, system: str, base: str) -> Spread | None:
        """What `system` adds in units of what `base` adds, over rounds where base adds anything."""
        ours, theirs = self.added(scenario, system), self.added(scenario, base)
        common = ours.keys() & theirs.keys()
        return Spread.of([ours[n] / theirs[n] for n in common if theirs[n] > 0])


def rate(sample: Sample) -> float | None:
    return sample.rate


def p50(sample: Sample) -> float | None:
    return sample.p50


def p99(sample: Sample) -> float | None:
    return sample.p99


def proxy_cpu(sample: Sample) -> float | None:
    return sample.proxy_cpu


def postgres_cpu(sample: Sample) -> float | None:
    return sample.postgres_cpu


def hit_share(sample: Sample) -> float | None:
    return sample.hit_share


def goals(results: Results) -> list[str]:
    """One line per goal: PASS, MISS, or n/a where a system was not measured."""
    lines = []
    for mode in MODES:
        ratio = results.rate_ratio(f"hit-{mode}-{CLIENTS}", "howdah", "direct")
        line = _goal(
            f"hits at {CLIENTS} clients, {mode}: {{}} x direct (goal >= {HIT_GOAL:g})",
            ratio,
            ratio is not None and ratio.median >= HIT_GOAL,
        )
        single = results.rate_ratio_at(f"hit-{mode}-{CLIENTS}", "howdah", "direct", 1)
        if single is not None:
            line += f"; both with one load thread: {single.show('.2f')}"
        lines.append(line)
    for mode in MODES:
        ratio = results.added_ratio(f"forward-{mode}-1", "howdah", "pgbouncer")
        lines.append(
            _goal(
                f"forwarded, {mode}: adds {{}} x what PgBouncer adds (goal <= {ADDED_GOAL:g})",
                ratio,
                ratio is not None and ratio.median <= ADDED_GOAL,
            )
        )
    return lines


def _goal(text: str, ratio: Spread | None, reached: bool) -> str:
    if ratio is None:
        return "n/a   " + text.format("?")
    return ("PASS  " if reached else "MISS  ") + text.format(ratio.show(".2f"))


def table(results: Results, scenario: Scenario, titles: Mapping[str, str]) -> list[list[str]]:
    """Header and one row per measured system."""
    latency = scenario.clients == 1
    header = ["system", "statements/s", "x direct"]
    if latency:
        header += ["p50 us", "p99 us", "added p50 us", "x PgBouncer's"]
    header += ["CPU us proxy", "CPU us PostgreSQL", "from memory"]
    rows = [header]
    for system in scenario.systems:
        speed = results.spread(scenario.name, system, rate)
        if speed is None or system not in titles:
            continue
        row = [titles[system], speed.show(), _cell(_ratio(results, scenario, system), ".2f")]
        if latency:
            row += _latency_cells(results, scenario, system)
        row += [
            _median(results.spread(scenario.name, system, proxy_cpu), ".1f"),
            _median(results.spread(scenario.name, system, postgres_cpu), ".1f"),
            _median(results.spread(scenario.name, system, hit_share), ".1%"),
        ]
        rows.append(row)
    return rows


def _ratio(results: Results, scenario: Scenario, system: str) -> Spread | None:
    return None if system == "direct" else results.rate_ratio(scenario.name, system, "direct")


def _latency_cells(results: Results, scenario: Scenario, system: str) -> list[str]:
    added, versus = None, None
    if system != "direct":
        added = Spread.of(list(results.added(scenario.name, system).values()))
        if system != "pgbouncer" and "pgbouncer" in scenario.systems and scenario.kind != "hit":
            versus = results.added_ratio(scenario.name, system, "pgbouncer")
    return [
        _cell(results.spread(scenario.name, system, p50), ".1f"),
        _median(results.spread(scenario.name, system, p99), ".0f"),
        _cell(added, "+.1f"),
        _cell(versus, ".2f"),
    ]


def _cell(spread: Spread | None, form: str) -> str:
    return "" if spread is None else spread.show(form)


def _median(spread: Spread | None, form: str) -> str:
    return "" if spread is None else format(spread.median, form)


def plain(rows: list[list[str]]) -> str:
    """Rows as aligned columns for the terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(rows: list[list[str]]) -> str:
    """Rows as a Markdown table, numbers to the right."""
    rule = ["---"] + ["---:"] * (len(rows[0]) - 1)
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


def echo_share(results: Results) -> list[str]:
    """The share of the bare echo server's rate that a hit reaches, per mode."""
    lines = []
    for mode in MODES:
        ratio = results.rate_ratio(f"hit-{mode}-{CLIENTS}", "howdah", "echo")
        if ratio is not None:
            lines.append(f"a hit reaches {ratio.show('.2f')} of a bare echo server, {mode}")
    return lines


def noise(samples: Sequence[Sample]) -> str:
    """One line that says how much of the machine others used meanwhile."""
    spread = Spread.of([sample.foreign for sample in samples])
    if spread is None:
        return "nothing was measured"
    return f"CPU used by other processes meanwhile: {spread.show('.1%')} of what was busy"


def markdown(
    results: Results,
    scenarios: Sequence[Scenario],
    titles: Mapping[str, str],
    head: Sequence[str],
    summary: Sequence[str],
    plots: Sequence[str],
) -> str:
    """The whole report as Markdown."""
    parts = ["# Benchmark results", "\n".join(f"- {line}" for line in head)]
    parts += ["## Goals", "```\n" + "\n".join(summary) + "\n```"]
    parts += [f"![{plot}]({plot})" for plot in plots]
    for kind, title in KINDS.items():
        chosen = [s for s in scenarios if s.kind == kind]
        if chosen:
            parts.append(f"## {title}")
        for scenario in chosen:
            rows = table(results, scenario, titles)
            if len(rows) > 1:
                parts += [heading(scenario), markdown_table(rows)]
    return "\n\n".join(parts) + "\n"


def study(title: str, summary: Sequence[str], rows: list[list[str]], head: Sequence[str]) -> str:
    """One table with its goals as Markdown."""
    parts = [f"# {title}", "\n".join(f"- {line}" for line in head)]
    parts += ["```\n" + "\n".join(summary) + "\n```", markdown_table(rows)]
    return "\n\n".join(parts) + "\n"


def heading(scenario: Scenario) -> str:
    clients = "1 client" if scenario.clients == 1 else f"{scenario.clients} clients"
    return f"**{scenario.kind}, {scenario.mode} protocol, {clients}**"
