"""The catalogue of stacks."""

from __future__ import annotations

from tests.applications.pages import alchemy, asynchronous, jdbc, site, synchronous
from tests.applications.pages.stack import Stack

STACKS: tuple[Stack, ...] = (
    *synchronous.STACKS,
    *alchemy.STACKS,
    *site.STACKS,
    *asynchronous.STACKS,
    *jdbc.STACKS,
)
