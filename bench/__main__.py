"""`python -m bench`: start everything, measure in rounds, report, stop everything."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType

from bench import analysis, catalog, fences, plots, report
from bench.children import BenchError, Unavailable
from bench.load import Pgbench
from bench.postgres import Postgres
from bench.rounds import Bench, Sample
from bench.scenarios import SCENARIOS, Scenario
from bench.schemas import Size
from bench.systems import STARTERS, System, Systems, howdah_version

RESULTS = Path(__file__).resolve().parent / "results"

# What is measured beside the scenarios; each writes a file of its own.
STUDIES = {
    "analysis": "Analysis of statements",
    "fences": "The fence of a write",
    "catalog": "A catalog of 10,000 relations",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench. The exit code says whether it could measure, never whether a goal is met."""
    options = _parse(arguments)
    scenarios = [
        scenario
        for scenario in SCENARIOS
        if (scenario.quick or not options.quick or options.only)
        and (not options.only or any(fnmatch(scenario.name, p) for p in options.only))
    ]
    studies = [
        name
        for name in STUDIES
        if (not options.quick and not options.only)
        or any(fnmatch(name, pattern) for pattern in options.only)
    ]
    if not scenarios and not studies:
        names = [scenario.name for scenario in SCENARIOS] + list(STUDIES)
        print("no scenario matches; there are: " + " ".join(names))
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    work = Path(tempfile.mkdtemp(prefix="howdah-bench-"))
    work.chmod(0o755)  # the unprivileged user passes through
    try:
        return _run(options, scenarios, studies, work)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbench: interrupted; all that it started is stopped", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer scenarios, 2 rounds of 1 s")
    parser.add_argument("--rounds", type=int, help="rounds (default 5; quick 2)")
    parser.add_argument(
        "--seconds", type=int, help="length of one measurement (default 2; quick 1)"
    )
    parser.add_argument("--scale", type=int, default=2, help="pgbench scale (default 2)")
    parser.add_argument(
        "--postgres", type=Path, metavar="BINDIR", help="use this PostgreSQL's programs"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="scenarios by name, e.g. 'hit-*-8', and: " + " ".join(STUDIES),
    )
    parser.add_argument(
        "--systems", default=",".join(STARTERS), help="comma-separated (default: %(default)s)"
    )
    parser.add_argument(
        "--howdah-arg", action="append", default=[], metavar="ARG", help="passed on to `serve`"
    )
    parser.add_argument("--no-save", action="store_true", help="leave bench/results/ alone")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1 if options.quick else 2)
    unknown = set(options.systems.split(",")) - set(STARTERS)
    if unknown:
        parser.error(f"unknown system {', '.join(sorted(unknown))}; known: {', '.join(STARTERS)}")
    return options


def _run(
    options: argparse.Namespace, scenarios: Sequence[Scenario], studies: Sequence[str], work: Path
) -> int:
    started = datetime.now().astimezone()
    clock = time.monotonic()
    postgres = Postgres(work, options.scale, options.postgres)
    systems = Systems(postgres, work, options.howdah_arg)
    skipped: list[str] = []
    studied: dict[str, tuple[list[str], list[list[str]]]] = {}
    try:
        _say("starting PostgreSQL and filling it")
        postgres.start()
        assert postgres.child is not None
        running = _start(systems, options.systems.split(","), scenarios, skipped)
        pgbench = Pgbench(postgres.binaries / "pgbench", work)
        bench = Bench(running, pgbench, postgres.child.pid, work, options.scale, _say)
        samples = bench.run(scenarios, options.rounds, options.seconds)
        versions = {system.title: system.version for system in running.values()}
        versions["load"] = pgbench.version
        if studies:
            versions.setdefault("PostgreSQL", postgres.query("show server_version"))
            versions.setdefault("Howdah", howdah_version())
        if "analysis" in studies:
            costs = analysis.measure(postgres, _say)
            studied["analysis"] = analysis.lines(costs), analysis.table(costs)
        if "fences" in studies:
            raised = fences.measure()
            studied["fences"] = fences.lines(raised), fences.table(raised)
        if "catalog" in studies:
            if "howdah" not in running:
                running["howdah"] = systems.start("howdah")
            figures = catalog.measure(postgres, running["howdah"], Size(), _say)
            studied["catalog"] = catalog.lines(figures), catalog.table(figures)
    finally:
        systems.stop()
        postgres.stop()
    head = [
        f"{started:%Y-%m-%d %H:%M %Z}, {options.rounds} rounds of {options.seconds} s per "
        f"measurement, interleaved; {time.monotonic() - clock:.0f} s in all",
        _machine(),
        ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"Python {platform.python_version()}; pgbench scale {options.scale}; "
        "median (lowest-highest) over the rounds",
        report.noise(samples),
        *(f"left out: {reason}" for reason in skipped),
        *(f"failed: {failure}" for failure in bench.failures),
    ]
    titles = {name: system.title for name, system in running.items()}
    for name, (summary, rows) in studied.items():
        _report_study(name, summary, rows, head, save=not options.no_save)
    if scenarios:
        _report(scenarios, samples, titles, head, started, save=not options.no_save)
    return 0 if samples or studied else 1


def _report_study(
    name: str, summary: list[str], rows: list[list[str]], head: list[str], *, save: bool
) -> None:
    """Print one study and write it to a file of its own."""
    print(f"\n{STUDIES[name]}\n{report.plain(rows)}\n\n" + "\n".join(summary), flush=True)
    if save:
        RESULTS.mkdir(exist_ok=True)
        text = report.study(STUDIES[name], summary, rows, [head[1], *head[2:4]])
        (RESULTS / f"latest-{name}.md").write_text(text)


def _start(
    systems: Systems, names: Sequence[str], scenarios: Sequence[Scenario], skipped: list[str]
) -> dict[str, System]:
    """Start the systems that any scenario wants; those that cannot take part go to `skipped`."""
    running: dict[str, System] = {}
    for name in names:
        if not any(name in scenario.systems for scenario in scenarios):
            continue
        try:
            running[name] = systems.start(name)
        except Unavailable as reason:
            skipped.append(" ".join(str(reason).split()))
            _say(f"left out: {skipped[-1]}")
        else:
            _say(f"{running[name].title} {running[name].version} on port {running[name].port}")
    return running


def _report(
    scenarios: Sequence[Scenario],
    samples: Sequence[Sample],
    titles: dict[str, str],
    head: list[str],
    started: datetime,
    *,
    save: bool,
) -> None:
    results = report.Results(samples)
    for scenario in scenarios:
        rows = report.table(results, scenario, titles)
        if len(rows) > 1:
            print(f"\n{report.heading(scenario)}".replace("**", ""))
            print(report.plain(rows))
    summary = report.goals(results) + report.echo_share(results)
    print("\n" + "\n".join(head) + "\n\n" + "\n".join(summary), flush=True)
    if not save or not samples:
        return
    RESULTS.mkdir(exist_ok=True)
    raw = RESULTS / f"{started:%Y-%m-%dT%H-%M-%S}.json"
    document = {
        "head": head,
        "goals": summary,
        "samples": [dataclasses.asdict(sample) for sample in samples],
    }
    raw.write_text(json.dumps(document, indent=1) + "\n")
    drawn = plots.charts(results, titles)
    for name, svg in drawn.items():
        (RESULTS / name).write_text(svg)
    text = report.markdown(results, scenarios, titles, head, summary, list(drawn))
    (RESULTS / "latest.md").write_text(text)
    print(
        f"\nwritten: {raw.relative_to(Path.cwd()) if raw.is_relative_to(Path.cwd()) else raw}, "
        "latest.md and its plots beside it"
    )


def _machine() -> str:
    model = "unknown CPU"
    memory = 0
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal"):
            memory = int(line.split()[1]) // 1024
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, {memory:,} MB, {platform.system()} {platform.release()}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
