"""How a mutation gets hold of the code: one attribute is replaced, or the run fails.

What must not live here: any mutation.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

_done: list[tuple[Any, str, Any]] = []


class Gone(AssertionError):
    """What a mutation changes is not there any more: the mutation is to be brought up to date."""


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of `owner.name`.

    Raises:
        Gone: `owner` itself has nothing of that name.
    """
    original = vars(owner).get(name)
    if original is None:
        raise Gone(f"{owner.__name__} has no {name} of its own")
    _done.append((owner, name, original))
    setattr(owner, name, make(original))


def rewrite(owner: Any, name: str, old: str, new: str) -> None:
    """Compile the function `owner.name` again, with `new` where its source says `old`.

    Raises:
        Gone: there is no such function, or its source does not say `old` just once.
    """
    original = vars(owner).get(name)
    if not inspect.isfunction(original):
        raise Gone(f"{owner.__name__} has no function {name} of its own")
    source = textwrap.dedent(inspect.getsource(original))
    if source.count(old) != 1:
        raise Gone(f"{owner.__name__}.{name} says {source.count(old)} times {old!r}")
    found: dict[str, Any] = {}
    code = compile(
        "from __future__ import annotations\n" + source.replace(old, new),
        f"<mutation of {owner.__name__}.{name}>",
        "exec",
    )
    exec(code, original.__globals__, found)
    _done.append((owner, name, original))
    setattr(owner, name, found[name])


def undo() -> None:
    """Take back every change of this process."""
    while _done:
        setattr(*_done.pop())
