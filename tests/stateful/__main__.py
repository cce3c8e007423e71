"""`python -m tests.stateful --seed N --steps N`: a run as long as wanted.

It starts a server and a Howdah of its own. A difference is shrunk, and the shortest way to
it is printed: what each session said, and the two answers. The exit status is 1 then.
"""

from __future__ import annotations

import argparse
import sys

from tests import fix_howdah
from tests.fix_howdah import Howdah, upstream_url
from tests.generator.__main__ import server
from tests.stateful.machine import Bench
from tests.stateful.run import play


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stateful", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--postgres", type=int, default=18, choices=(15, 18))
    parser.add_argument("--mutation", help="break Howdah in one way first")
    parser.add_argument("--no-shrink", action="store_true", help="print what was found as it is")
    options = parser.parse_args()
    if options.mutation:
        fix_howdah.MODULE[:] = ["tests.mutations.launch", options.mutation]
    with server(options.postgres) as postgres:
        howdah = Howdah(upstream_url(postgres)).start()
        try:
            bench = Bench(postgres, howdah)
            shrink = not options.no_shrink
            figures = play(bench, options.seed, options.steps, shrink=shrink, say=say)
            say(f"seed {options.seed}: {figures}")
            for counter in (figures.kinds, figures.failures, figures.outcomes):
                say(", ".join(f"{name} {count}" for name, count in counter.most_common(25)))
            if figures.reports:
                say(
                    f"\n{len(figures.reports)} differing examples, the last:\n{figures.reports[-1]}"
                )
            crashed = "Traceback" in howdah.log
            if crashed or figures.reports:
                at = max(howdah.log.find("Traceback") - 500, 0)
                say(f"\nlogs:\n{howdah.log[at:][:4000]}\n{postgres.log.read_text()[-2000:]}")
            return 1 if crashed or figures.reports else 0
        finally:
            howdah.destroy()


if __name__ == "__main__":
    sys.exit(main())
