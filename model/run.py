"""Check the protocol's model exhaustively, and show that each mutation of it breaks a promise.

    python model/run.py                   everything
    python model/run.py --quick           without the two largest configurations
    python model/run.py --trace NAME      the shortest way to break it under a mutation

Needs `spin` (https://spinroot.com, a package of Debian) and a C compiler. The model is
howdah.pml with stream.pml; what its configurations and mutations mean stands there and in
the tables here.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).resolve().parent / "howdah.pml"
DEPTH = 1_000_000  # steps of one path; a path that is longer is an error of the run
MEMORY = 6000  # MB, likewise


@dataclass(frozen=True)
class Run:
    """One check of the model.

    Attributes:
        name: of a configuration, or the flag of a mutation.
        flags: what is defined, without -D.
        meaning: in words.
        large: takes more than a few seconds.
    """

    name: str
    flags: tuple[str, ...]
    meaning: str
    large: bool = False


CONFIGURATIONS = (
    Run("readers", ("READERS=2",), "one writer of any kind, two readers, identical misses wait"),
    Run("writers", ("WRITERS=2", "READERS=1"), "two writers, one reader"),
    Run("both", ("WRITERS=2", "READERS=2"), "two writers, two readers", large=True),
    Run("loss", ("LOSS",), "links break, clients vanish, backends outlive both"),
    Run("crash", ("CRASH", "READERS=1"), "a crash that loses an acknowledged commit"),
    Run("crash2", ("CRASH",), "the same with two readers", large=True),
    Run("ddl", ("DDL",), "a write begins to reach the register while it is in flight"),
    Run("old", ("OLD",), "an earlier Howdah has left a COMMIT on its way"),
    Run("strict", ("STREAM",), "others write; every read polls the position of the log"),
    Run("bounded", ("STREAM", "LEASE"), "others write; reads hold a lease", large=True),
    Run("stream-lost", ("STREAM", "STREAM_LOSS"), "the stream breaks, a new slot is made"),
)

MUTATIONS = (
    Run("F1_RAISE_AFTER_SEND", (), "the fence goes up after the bytes have left"),
    Run("F1_NO_FENCE_AT_COMMIT", (), "COMMIT does not fence what its transaction has written"),
    Run("F2_LOWER_AT_COMMAND_COMPLETE", (), "CommandComplete is taken for the commit"),
    Run("F2_LOWER_LOST_BY_TIMEOUT", ("LOSS",), "a lost fence comes down without proof"),
    Run("F2_CLIENT_GONE_LOWERS", ("LOSS",), "a client that vanishes takes its fence along"),
    Run("F3_ERROR_IS_ABORT", (), "an ERROR proves that CALL has committed nothing"),
    Run(
        "F3_NO_EVICTION",
        ("F4_NO_COUNTER_AT_HIT",),
        "nothing is evicted, and a hit does not look at the counters (each alone is harmless)",
    ),
    Run("F5_RECORD_AT_EXECUTE", (), "counters are recorded at the Execute, not at the Bind"),
    Run("F5_NO_COUNTER_AT_ADMIT", (), "a fill is admitted while the slot is idle, whatever passed"),
    Run("F5_NO_CHECK_AT_ADMIT", (), "a fill is admitted always"),
    Run("F5_FILL_FROM_WRITER", (), "a transaction that has written fills"),
    Run("F5_WAITER_GETS_REJECTED", (), "a waiter is given its leader's answer"),
    Run("T1_HIT_AFTER_OWN_WRITE", (), "a transaction that has written gets hits"),
    Run("F8_NO_SUSPENSION", ("CRASH",), "hits go on when a connection was lost"),
    Run("F8_SAME_SERVER_ASSUMED", ("CRASH", "READERS=1"), "another server is taken for the same"),
    Run("F8_WAITER_OF_ANOTHER_SERVER", ("CRASH",), "a waiter's session is not looked at again"),
    Run("F11_NO_START_GATE", ("OLD",), "fills begin at once after the start"),
    Run("F12_LOWER_BEFORE_CATALOG", ("DDL",), "a DDL fence comes down before the new catalog"),
    Run("F12_NO_WIDENING", ("DDL",), "a new catalog leaves fences in flight as they are"),
    Run("F5_LSN_GATE", ("STREAM",), "a fill waits for a position, not for a snapshot"),
    Run("F6_POSITION_BEFORE_EVICTION", ("STREAM",), "the position moves on, then entries go"),
    Run("F6_PRUNE_UNDER_FILL", ("STREAM",), "pending is pruned while an older fill is in flight"),
    Run("F7_EARLIER_READ_INDEX", ("STREAM",), "a read uses a poll of before it began"),
    Run("F8_STREAM_LOSS_IGNORED", ("STREAM", "STREAM_LOSS"), "entries outlive the loss of the log"),
    Run("F7_NO_LEASE", ("STREAM", "LEASE"), "hits go on while the stream lags"),
    Run("F7_FRESH_AT_ANSWER", ("STREAM", "LEASE"), "a lease counts from the poll's answer"),
)


@dataclass(frozen=True)
class Result:
    """What spin found: whether a promise broke, how many states, in how many seconds.

    `unfinished` names what kept the search from being exhaustive.
    """

    broken: bool
    states: int
    seconds: float
    unfinished: str
    story: tuple[str, ...]


def missing() -> list[str]:
    """The programs that are needed and not there."""
    return [name for name in ("spin", "gcc") if shutil.which(name) is None]


def check(run: Run, *, mutation: bool, story: bool = False) -> Result:
    """Search all states of one run; with `story` by breadth, so that the way is shortest."""
    flags = [f"-D{flag}" for flag in run.flags]
    if mutation:
        flags += [f"-D{run.name}", "-DPROMISE_ONLY"]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="howdah-model-") as folder:
        _call(["spin", "-a", *flags, str(MODEL)], folder)
        options = ["-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY}", *(["-DBFS"] if story else [])]
        _call(["gcc", "-O0" if mutation else "-O1", "-w", *options, "-o", "pan", "pan.c"], folder)
        output = _call(["./pan", f"-m{DEPTH}"], folder)
        lines: tuple[str, ...] = ()
        if story and list(Path(folder).glob("*.trail")):
            replay = _call(
                ["spin", "-T", "-k", f"{MODEL.name}.trail", *flags, str(MODEL)], folder, False
            )
            lines = tuple(_story(replay))
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    if errors is None or states is None:
        raise RuntimeError(f"{run.name}: spin says\n{output}")
    broken = int(errors[1]) > 0
    unfinished = "" if broken else _unfinished(output)
    if broken and "assertion violated" not in output:
        raise RuntimeError(f"{run.name}: not a promise, but another error:\n{output}")
    return Result(broken, int(states[1]), time.monotonic() - begun, unfinished, lines)


def _unfinished(output: str) -> str:
    """Why the search was not exhaustive; empty where it was."""
    for sign in ("max search depth too small", "out of memory", "Search not completed", "aborted"):
        if sign in output:
            return sign
    return ""


def _story(replay: str) -> list[str]:
    """What happened, up to the promise that broke."""
    lines = [line.strip() for line in replay.splitlines()]
    said = re.compile(r"(?!spin: (?!text of failed))[A-Za-z]+( \d+)?: ")
    return [line.removeprefix("spin: text of ") for line in lines if said.match(line)]


def _call(command: list[str], folder: str, strict: bool = True) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    if strict and (done.returncode or re.search(r"(?i)\berror: (?!proctype)", output)):
        raise RuntimeError(f"{' '.join(command)}:\n{output}")
    return output


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave out the largest")
    parser.add_argument("--trace", metavar="NAME", help="show how a mutation breaks a promise")
    arguments = parser.parse_args()
    if missing():
        print(f"model: {' and '.join(missing())} not found (apt-get install spin gcc)")
        return 2
    if arguments.trace:
        mutation = next(one for one in MUTATIONS if one.name == arguments.trace)
        print("\n".join(check(mutation, mutation=True, story=True).story))
        return 0
    failures = 0
    begun = time.monotonic()
    for table, mutated in ((CONFIGURATIONS, False), (MUTATIONS, True)):
        for run in table:
            if arguments.quick and run.large:
                continue
            result = check(run, mutation=mutated)
            good = result.broken == mutated and not result.unfinished
            failures += not good
            found = "a promise is broken" if result.broken else "all promises hold"
            print(
                f"{'ok ' if good else 'BAD'} {run.name:29} {found}{result.unfinished:1} "
                f"{result.states:>10,} states {result.seconds:5.1f} s  {run.meaning}",
                flush=True,
            )
    print(f"{failures} failures, {time.monotonic() - begun:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
