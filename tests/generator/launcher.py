"""Howdah with one seeded fault: `python -m tests.generator.launcher FAULT serve ...`."""

from __future__ import annotations

import sys

from tests.fix_howdah import Howdah
from tests.generator.faults import FAULTS


class FaultyHowdah(Howdah):
    """A `serve` process in which one function of the closure code has been replaced."""

    def __init__(self, upstream: str, fault: str) -> None:
        super().__init__(upstream)
        self.fault = fault

    def arguments(self) -> list[str]:
        usual = super().arguments()
        serve = usual[usual.index("serve") :]
        return [usual[0], "-m", "tests.generator.launcher", self.fault, *serve]


def main() -> None:
    from proxy.cli import main as serve

    FAULTS[sys.argv.pop(1)]()
    serve()


if __name__ == "__main__":
    main()
