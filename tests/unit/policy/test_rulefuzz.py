"""A few of the random files of `tests.rulefuzz`; `make fuzz` tries many."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.rulefuzz import fuzz


def test_random_files_are_rules_or_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "howdah")
    tally = asyncio.run(fuzz(150, seed=2))
    assert tally.files == 150
    # The files are neither all wrong nor all right.
    assert min(tally.loaded, tally.refused, tally.rules) > 15
