"""`pytest --mutation NAME`: the tests run against a Howdah with one thing changed.

The change is made in this process, for tests that play sessions without sockets, and
in every Howdah that is started. See `tests/mutations`.
"""

from __future__ import annotations

import pytest

from tests import fix_howdah


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutation", metavar="NAME", help="break Howdah in one way first")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--mutation")
    if name:
        from tests.mutations.table import apply

        apply(name)
        fix_howdah.MODULE[:] = ["tests.mutations.launch", name]
