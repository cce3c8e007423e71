"""Shows the page through Howdah and directly, and counts what came from memory.

What lives here: one stack's measurement. What must not: the stacks, the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.applications.pages.shop import READS, SCHEMA
from tests.applications.pages.stack import Stack
from tests.applications.record import Recorder, Tally
from tests.drivers.shop import Place
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer

#: Pages of each kind in front of those that are counted: what is executed for the fifth or sixth
#: time is sent in another way by many drivers, and so are results that are known to the driver.
FIRST = 7
#: As many in front of them at most, if it takes longer until a page comes from memory: an answer
#: that is asked for behind a transaction may not be there when the next page begins.
MOST = 20
#: Pages of each kind that are counted.
PAGES = 5
#: What drivers and pools ask besides: pings, and asyncpg's reset of a connection.
ASIDES = ("bypass no_relation", "bypass multiple_statements")
#: The share of a page that comes from memory on repeat, but for what was written.
LEAST = 0.95


@dataclass
class Count:
    """What became of the statements of some pages.

    Attributes:
        reads: of the pages alone.
        rest: outcome and reason of all reads that were no hits.
        asides: how many of these belong to the driver or its pool: pings, resets.
    """

    pages: int
    reads: int
    hits: int
    rest: Counter[str]
    asides: int

    @property
    def share(self) -> float:
        """Of all reads."""
        return self.hits / self.reads

    @property
    def share_unwritten(self) -> float:
        """Of the reads of all but the row that the page before has written.

        That one may be a hit, too: Howdah asks again for what it could not record.
        """
        return min(self.hits / (self.reads - self.pages), 1.0)


@dataclass
class Result:
    """One stack: pages that read alone, and pages of which each writes one row."""

    stack: Stack
    server: str
    reading: Count
    writing: Count

    @property
    def least(self) -> float:
        """The lower of the two shares, not counting reads of what was written."""
        return min(self.reading.share, self.writing.share_unwritten)


def measure(stack: Stack, server: PostgresServer, howdah: Howdah) -> Result:
    """Show the same pages directly and through Howdah, in databases of their own.

    Raises:
        AssertionError: an answer was not the one that PostgreSQL gives.
    """
    name = server.create_database(SCHEMA, name=stack.name)
    howdah.warm(name)
    found: list[object] = []
    kinds: list[bool] = []
    counts: list[Count] = []
    with stack.open(Place(howdah.host, howdah.port, name)) as page:

        def show(write: bool, pages: int = 1) -> Count:
            with howdah.watching() as gained:
                found.extend(page(write) for _ in range(pages))
            kinds.extend([write] * pages)
            return _count(stack, pages, gained)

        for write in (False, True):
            for shown in range(1, MOST + 1):
                count = show(write)
                share = count.share_unwritten if write else count.share
                if shown >= FIRST and share >= LEAST:
                    break
            counts.append(show(write, PAGES))
    assert found == _directly(stack, server, kinds), stack.name
    return Result(stack, server.name, *counts)


def _directly(stack: Stack, server: PostgresServer, kinds: Sequence[bool]) -> list[object]:
    """What such pages show without Howdah."""
    name = server.create_database(SCHEMA, name=f"{stack.name}_direct")
    with stack.open(Place(server.host, server.port, name)) as page:
        return [page(write) for write in kinds]


def _count(stack: Stack, pages: int, gained: dict[str, float]) -> Count:
    rest: Counter[str] = Counter()
    hits = 0
    for key, number in gained.items():
        outcome, slash, reason = key.partition("/")
        if outcome in ("hit", "shared"):
            hits += int(number)
        elif slash and outcome not in ("write", "other"):
            rest[f"{outcome} {reason}"] = int(number)
    reads = pages * (READS + stack.more)
    asides = sum(rest[each] for each in ASIDES)
    return Count(pages, reads, hits, rest, asides)


def explain(stack: Stack, server: PostgresServer, howdah: Howdah) -> Tally:
    """What became of each statement, in pages of both kinds."""
    name = server.create_database(SCHEMA, name=f"{stack.name}_explained")
    howdah.warm(name)
    recorder = Recorder(howdah)
    with recorder.running():
        place = Place("127.0.0.1", recorder.port, name)
        with recorder.recording() as tally, stack.open(place) as page:
            for write in [False] * (FIRST + PAGES) + [True] * (FIRST + PAGES):
                page(write)
    return tally
