"""Some mutations are found in every run of the tests; `make mutations` looks for all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutations import patching
from tests.mutations.__main__ import PAGE, ROOT, run_tests
from tests.mutations.table import MUTATIONS

QUICK = ("lower-at-command-complete", "no-counters-at-admit", "closure-cleared-at-t")


@pytest.mark.parametrize("name", QUICK)
def test_a_mutation_is_found(name: str) -> None:
    first = MUTATIONS[name].found_by[0]
    outcome = run_tests((first,), name)
    assert outcome.failed == {first}, outcome.output


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_a_mutation_changes_is_there(name: str) -> None:
    try:
        MUTATIONS[name].apply()
    finally:
        patching.undo()


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_finds_a_mutation_is_there(name: str) -> None:
    for test in MUTATIONS[name].found_by:
        path, _, function = test.partition("::")
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8")


def test_the_page_shows_every_mutation() -> None:
    shown = re.findall(r"(?m)^\| ([a-z][a-z-]+) \|", PAGE.read_text(encoding="utf-8"))
    assert shown == list(MUTATIONS), "run make mutations"


def test_a_mutation_of_what_is_gone_fails() -> None:
    class Owner:
        def method(self) -> int:
            return 1

    with pytest.raises(patching.Gone):
        patching.replace(Owner, "other", lambda original: original)
    with pytest.raises(patching.Gone):
        patching.rewrite(Owner, "method", "return 2", "return 3")
    patching.rewrite(Owner, "method", "return 1", "return 3")
    assert Owner().method() == 3


def test_every_file_of_the_model_is_named_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "python -m model.run" in makefile
    assert "python -m tests.mutations" in makefile
    assert Path(ROOT, "model", "howdah.pml").exists()
