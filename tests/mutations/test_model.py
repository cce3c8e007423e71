"""The model of the protocol holds, and each mutation of it breaks a promise."""

from __future__ import annotations

import pytest

from model.run import CONFIGURATIONS, MUTATIONS, Run, check, missing

pytestmark = pytest.mark.skipif(
    bool(missing()), reason=f"the model needs {' and '.join(missing())} (apt-get install)"
)
SMALL = [run for run in CONFIGURATIONS if not run.large]


@pytest.mark.parametrize("run", SMALL, ids=lambda run: run.name)
def test_all_promises_hold_in_every_state(run: Run) -> None:
    result = check(run, mutation=False)
    assert not result.broken
    assert not result.unfinished
    assert result.states > 1000


@pytest.mark.parametrize("run", MUTATIONS, ids=lambda run: run.name)
def test_each_mutation_breaks_a_promise(run: Run) -> None:
    assert check(run, mutation=True).broken


def test_a_broken_promise_comes_with_its_story() -> None:
    run = next(one for one in MUTATIONS if one.name == "F5_LSN_GATE")
    story = check(run, mutation=True, story=True).story
    assert any("admit version 0" in line for line in story)
    assert story[-1].startswith("failed assertion: ")
