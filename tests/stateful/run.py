"""A run of the state machine: how many steps, from which seed, and what is found.

What must not live here: rules of the machine.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.stateful.machine import Bench, Figures, Machine

#: Rules in one example: enough for sessions to get into odd states. Examples from one seed.
LENGTH = 100
EXAMPLES = 8


def play(
    bench: Bench,
    number: int,
    steps: int,
    *,
    shrink: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Figures:
    """Play until so many steps are done, or a difference is found.

    Args:
        number: the seed.
        shrink: look for a shorter way to the difference; the last report is the shortest.
        say: told how far it is.
    """
    figures = bench.figures
    bounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=LENGTH,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        verbosity=Verbosity.normal if shrink else Verbosity.quiet,
    )
    turn = 0
    while figures.steps < steps and not figures.reports:
        run = type("Run", (Machine,), {"bench": bench, "say": staticmethod(say)})
        try:
            run_state_machine_as_test(seed(number * 1000 + turn)(run), settings=bounds)
        except Exception:
            # Also where a repetition goes otherwise: what was found first counts.
            if not figures.reports:
                raise
        turn += 1
    return figures
