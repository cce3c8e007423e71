"""What a mutation is, and how one gets into the table.

What must not live here: the mutations (`of_*.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        name: a few words, with hyphens.
        invariant: of ARCHITECTURE.md.
        change: what is done otherwise, in words.
        apply: makes the change in this process.
        found_by: arguments of pytest; each of these tests has to fail.
    """

    name: str
    invariant: str
    change: str
    apply: Callable[[], None]
    found_by: tuple[str, ...]


MUTATIONS: dict[str, Mutation] = {}

SIMPLE = "tests/playbook/test_simple.py::"
EXTENDED = "tests/playbook/test_extended.py::"
RACES = "tests/adversity/test_interleavings.py::"
WRITES = "tests/adversity/test_interleavings_writes.py::"
SCHEMA = "tests/adversity/test_interleavings_schema.py::"
FAULTS = "tests/adversity/test_interleavings_faults.py::"
CHECKER = "tests/mutations/test_checker.py::test_checker_finds_nothing"
RULES = "tests/mutations/test_rules.py::"


def mutation(
    invariant: str, change: str, *found_by: str
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter the function below into the table; its name is the mutation's.

    Args:
        invariant, change, found_by: see `Mutation`.
    """

    def enter(function: Callable[[], None]) -> Callable[[], None]:
        name = function.__name__.replace("_", "-")
        MUTATIONS[name] = Mutation(name, invariant, change, function, found_by)
        return function

    return enter
