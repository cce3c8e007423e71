"""Random configuration files, given to Howdah while it runs: `python -m tests.rulefuzz`.

Each file is one that somebody could have meant: rules and settings of random keys and values,
or the annotated file of config/ with some of it damaged. Whatever is in it, a reload ends in new
rules or in one line that says where the mistake is, with the old rules in force.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from proxy.app import Howdah
from proxy.policy.rulefile import CONDITION_KEYS, KEYS
from proxy.policy.rules import Subject
from proxy.settings import FILE_KEYS, load

ANNOTATED = Path(__file__).resolve().parents[1] / "config" / "howdah.yaml"
UPSTREAM = "upstream: postgresql://howdah@127.0.0.1:1/postgres\n"
PROBLEM = re.compile(r"configuration not reloaded: .+", re.DOTALL)
# What is not there has no place.
_PLACED = re.compile(r"\S+\.yaml(?::\d+:\d+)?: |--upstream is missing;", re.DOTALL)

_VALUES = (
    *("on", "off", "none", "5s", "250ms", "1h", "0s", "-1", "7", "64kB", "5%", "101%", "shop"),
    *("public.orders", "report_*", "*", "[", "(?i)from\\s+x", "(", "0123456789abcdef", "", " "),
    *("a.b.c", "é", "\x00", "\ud7ff", "'", "null", "~", "0x10", "1e9", "99999999999999999999"),
    *("(a+)+", "[[:alpha:]]", "(?P<x>.)", "x" * 300, "1.5m", "5 s", "yes", "TRUE"),
)
_DAMAGE = "{}[]:,-#&*!|>'\"%@`\t\x00é \n"


@dataclass
class Tally:
    """What became of the files."""

    files: int = 0
    loaded: int = 0
    refused: int = 0
    rules: int = 0


def value(chance: random.Random, depth: int = 0) -> object:
    """Anything that YAML can say."""
    kind = chance.randrange(12)
    if kind < 7 or depth > 3:
        return chance.choice(_VALUES)
    if kind == 7:
        return chance.choice((None, True, False, 0, -1, 3.5, float("inf"), 10**30))
    if kind < 10:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {
        key(chance, CONDITION_KEYS): value(chance, depth + 1) for _ in range(chance.randrange(3))
    }


def key(chance: random.Random, known: tuple[str, ...]) -> str:
    """A key, sometimes misspelt."""
    word = chance.choice(known)
    if chance.random() < 0.1:
        at = chance.randrange(len(word))
        word = word[:at] + chance.choice(("", "x", "-", "_", ":")) + word[at + 1 :]
    return word


# Values that fit, so that some of the files are right.
_FITTING = {
    "name": ("a name", "x"),
    "priority": (1, "-3"),
    "database": ("shop", ["a", "b*"]),
    "role": ("web", ["report_?"]),
    "application_name": ("cron*", ["psql", "x y"]),
    "relations": ("orders", ["public.*", "t"]),
    "fingerprint": ("0123456789abcdef", ["50fde20626009aba"]),
    "pattern": ("(?i)from", "x{1,3}"),
    "exclude": ({"role": "admin"}, [{"database": "x"}, {"pattern": "y"}]),
    "cache": ("on", True),
    "ttl": ("5s", "none"),
    "max_age": ("1m", "none"),
    "stale_while_revalidate": ("10s",),
    "max_rows": (5, "100"),
    "max_bytes": ("1kB", 4096),
    "verify": ("5%",),
}


def rule(chance: random.Random) -> object:
    """One rule, more often right than not."""
    if chance.random() < 0.1:
        return value(chance)
    made: dict[str, object] = {}
    for _ in range(chance.randrange(1, 6)):
        if chance.random() < 0.9:
            word = chance.choice(tuple(_FITTING))
            made[word] = chance.choice(_FITTING[word])
        else:
            made[key(chance, KEYS)] = value(chance)
    return made


def made_up(chance: random.Random) -> str:
    """A file of random keys and values."""
    rules: object = [rule(chance) for _ in range(chance.randrange(5))]
    if chance.random() < 0.1:
        rules = value(chance)
    content: dict[str, object] = {"rules": rules}
    if chance.random() < 0.2:
        content[key(chance, FILE_KEYS)] = value(chance)
    flow = chance.choice((True, False, None))
    text = yaml.safe_dump(content, allow_unicode=True, default_flow_style=flow)
    return text if "upstream" in content else UPSTREAM + text


def damaged(chance: random.Random) -> str:
    """The annotated file, its examples switched on, with some characters changed."""
    text = UPSTREAM + re.sub(r"(?m)^#(  )", r"\1", ANNOTATED.read_text()).replace(
        "rules: []", "rules:"
    )
    letters = list(text)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(letters))
        letters[at] = chance.choice(("", letters[at] * 2, chance.choice(_DAMAGE)))
    return "".join(letters)


def file(chance: random.Random) -> bytes:
    """One file; a few are no text at all."""
    if chance.random() < 0.01:
        return chance.randbytes(chance.randrange(200))
    text = made_up(chance) if chance.random() < 0.7 else damaged(chance)
    return text.encode("utf-8", "surrogatepass")


async def fuzz(files: int, seed: int) -> Tally:
    """Give so many files to one Howdah, which need not be connected for that.

    Raises:
        AssertionError: one of them did something else than what the module says.
    """
    tally = Tally()
    subject = Subject("shop", "web", ("public.orders",), "select * from orders", 1, "0" * 16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "howdah.yaml"
        path.write_text(UPSTREAM)
        howdah = Howdah(load({"config": str(path)}, {}, lambda name: Path(name).read_text("utf-8")))
        for number in range(files):
            content = file(random.Random(f"{seed} {number}"))
            path.write_bytes(content)
            before = howdah.engine.rules
            try:
                await howdah.reload()
                problem = howdah.status().problems[0]
                if PROBLEM.match(problem):
                    tally.refused += 1
                    said = problem.removeprefix("configuration not reloaded: ")
                    assert _PLACED.match(said), problem
                    assert said.isprintable(), problem
                    assert howdah.engine.rules is before, "other rules"
                else:
                    tally.loaded += 1
                    tally.rules += len(howdah.engine.rules)
                    howdah.engine.rules.verdict(subject)
                    howdah.engine.rules.explain(subject)
                    assert howdah.engine.rules is howdah.settings.rules
            except BaseException:
                print(f"seed {seed}, file {number}:\n{content!r}")
                raise
            tally.files += 1
    return tally


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="tests.rulefuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    logging.getLogger("howdah").setLevel(logging.CRITICAL)
    print(asyncio.run(fuzz(given.files, given.seed)))


if __name__ == "__main__":
    main()
