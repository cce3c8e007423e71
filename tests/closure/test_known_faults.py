"""The list of known faults is complete, and what it points at exists."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.closure.known_faults import FAULTS, Fault
from tests.closure.test_closure import CASES

#: How many there are; the list is closed, a fault of our own gets a row without a slug.
KNOWN = 49
POINTER = re.compile(r"^(?P<file>[\w/]+)\.py::(?P<function>\w+)(?:\[(?P<id>.+)\])?$")


def ids_of(function: Any) -> Iterator[str]:
    """The ids of a parametrised test, as pytest makes them from marks."""
    marks = [m for m in getattr(function, "pytestmark", []) if m.name == "parametrize"]
    assert len(marks) == 1, f"{function.__name__} is not parametrised once"
    makes = marks[0].kwargs.get("ids")
    for value in marks[0].args[1]:
        if hasattr(value, "values") and hasattr(value, "id"):
            yield str(value.id if value.id is not None else value.values[0])
        else:
            yield str(makes(value) if callable(makes) else value)


def test_all_are_there() -> None:
    assert len({fault.slug for fault in FAULTS}) == len(FAULTS) == KNOWN
    assert all(fault.tests and fault.symptom for fault in FAULTS)


def test_rows_name_faults_that_exist() -> None:
    slugs = {fault.slug: fault for fault in FAULTS}
    for case in CASES:
        if case.fault:
            assert f"closure:{case.name}" in slugs[case.fault].tests, case.name


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.slug)
def test_what_guards_against_it_exists(fault: Fault) -> None:
    """Each pointer is a row, or a test that pytest would collect under that id."""
    rows = {case.name for case in CASES}
    for pointer in fault.tests:
        if pointer.startswith("closure:"):
            assert pointer.removeprefix("closure:") in rows, pointer
            continue
        match = POINTER.match(pointer)
        assert match is not None, pointer
        module = importlib.import_module("tests." + match["file"].replace("/", "."))
        function = getattr(module, match["function"])
        if match["id"]:
            assert match["id"] in set(ids_of(function)), pointer


def test_rows_have_names_of_their_own() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 300


def test_rows_that_expect_less_say_why() -> None:
    """What a person would expect to be cached, and is not, has a reason in its row."""
    for case in CASES:
        plain = case.cacheable and case.hit_after and (case.kept or case.ddl)
        assert plain or case.why, case.name
