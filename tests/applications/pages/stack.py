"""What a stack is: a way to show the page again and again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.drivers.shop import Place

#: Shows the page, with or without a write at its end; tells what was read, in order.
Page = Callable[[bool], object]
#: Connects, or makes a pool that will; the page is closed with the block.
Opener = Callable[[Place], AbstractContextManager[Page]]


@dataclass(frozen=True)
class Stack:
    """One stack in one configuration.

    Attributes:
        more: reads of a page besides those of the shop's data.
    """

    name: str
    title: str
    open: Opener
    more: int = 0
