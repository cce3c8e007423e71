"""`make mutations`: show that the tests notice each mutation, and write the table of it.

    python -m tests.mutations                all, then docs/mutations.md is written
    python -m tests.mutations NAME...        these only

Each test that a mutation names has to pass without it and to fail with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "mutations.md"
LIMIT = 180  # seconds for one mutation, far more than it takes
BATCH = 60  # seconds in which it has to be found

HEAD = """# Mutations

A test that cannot fail shows nothing. So each rule of the consistency code is taken away or
broken in turn, and the tests have to notice. `make mutations` does that, and writes this page.
The changes are made by `tests/mutations` while Howdah starts, and
`pytest --mutation NAME` runs any test against one.

The numbers are those of ARCHITECTURE.md. What is found by a playbook is played without
sockets; the others are forced interleavings with PostgreSQL, in which single messages are held,
and the checker, `howdah consistency`. Every test that is named has to fail. The seconds include
the start of PostgreSQL and Howdah where they are needed.

| Mutation | Breaks | What is done otherwise | Found by | Seconds |
|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Outcome:
    """Which of the tests failed, and after how many seconds all of them were done."""

    failed: frozenset[str]
    passed: bool
    seconds: float
    output: str


def run_tests(tests: tuple[str, ...], mutation: str | None) -> Outcome:
    """Run tests against Howdah as it is, or with one mutation. On PostgreSQL 18 only."""
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"]
    command += ["-k", "not pg15", *tests]
    if mutation is not None:
        command += ["--mutation", mutation]
    begun = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT * max(1, len(tests)),
        check=False,
    )
    seconds = time.monotonic() - begun
    output = done.stdout + done.stderr
    failed = re.findall(r"(?m)^FAILED ([^\s\[]+)", output)
    return Outcome(frozenset(failed), done.returncode == 0, seconds, output)


def judge(mutation: Mutation) -> tuple[str, float]:
    """What is wrong with the row of `mutation`, empty if nothing is; and its seconds."""
    outcome = run_tests(mutation.found_by, mutation.name)
    missed = [test for test in mutation.found_by if test not in outcome.failed]
    if missed:
        return f"not found by {', '.join(missed)}\n{outcome.output[-3000:]}", outcome.seconds
    if outcome.seconds > BATCH * len(mutation.found_by):
        return f"took {outcome.seconds:.0f} s", outcome.seconds
    return "", outcome.seconds


def row(mutation: Mutation, seconds: float) -> str:
    """A line of the table."""
    tests = "<br>".join(
        f"`{test.rpartition('/')[2].replace('.py::', ': ')}`" for test in mutation.found_by
    )
    change = mutation.change[0].upper() + mutation.change[1:]
    return f"| {mutation.name} | {mutation.invariant} | {change} | {tests} | {seconds:.0f} |"


def main() -> int:
    names = sys.argv[1:] or list(MUTATIONS)
    chosen = [MUTATIONS[name] for name in names]
    tests = tuple(sorted({test for mutation in chosen for test in mutation.found_by}))
    plain = run_tests(tests, None)
    if not plain.passed:
        print(f"without any mutation:\n{plain.output[-3000:]}")
        return 1
    print(f"without a mutation all {len(tests)} tests pass, {plain.seconds:.0f} s", flush=True)
    failures = 0
    lines = []
    for mutation in chosen:
        problem, seconds = judge(mutation)
        failures += bool(problem)
        lines.append(row(mutation, seconds))
        print(f"{seconds:5.1f} s  {mutation.name:34} {problem or 'found'}", flush=True)
    if not failures and not sys.argv[1:]:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(chosen)} mutations, {failures} not found")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
