"""Small tools of the bench: waiting for a condition, logs shown with a failing test.

What must not live here: anything that knows PostgreSQL or Howdah.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

#: Seconds after which a wait has failed. Generous: it decides nothing, it only ends hangs.
PATIENCE = 20.0

#: name -> file of every process whose log belongs to a failure report.
LOGS: dict[str, Path] = {}
_OFFSETS = pytest.StashKey[dict[str, int]]()


def eventually(predicate: Callable[[], T], timeout: float = PATIENCE, what: str = "") -> T:
    """Poll until `predicate` returns something true, and return that.

    Raises:
        AssertionError: nothing true within `timeout` seconds.
    """
    end = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen within {timeout} s: {what or predicate}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on at this moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def has_ipv6() -> bool:
    """Whether ::1 can be bound."""
    try:
        free_port("::1")
    except OSError:
        return False
    return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_OFFSETS] = {name: _size(path) for name, path in LOGS.items()}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Print what each log has gained since the test began, the last 60 lines of it."""
    outcome: Any = yield
    report = outcome.get_result()
    if not report.failed:
        return
    offsets = item.stash.get(_OFFSETS, {})
    for name, path in LOGS.items():
        try:
            with path.open("rb") as log:
                log.seek(offsets.get(name, 0))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            continue
        if lines:
            report.sections.append((f"log of {name} ({call.when})", "\n".join(lines[-60:])))
