"""Runs one application through Howdah, three times over, and says what became of its reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tests.applications.catalogue import Application
from tests.applications.record import CACHEABLE, Recorder, Tally
from tests.drivers.shop import Place
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer

RUNS = 3


@dataclass
class Outcome:
    """The tallies of all runs of one application, in order."""

    application: Application
    server: str
    tallies: list[Tally]

    @property
    def all(self) -> Tally:
        together = Tally()
        for tally in self.tallies:
            together |= tally
        return together

    @property
    def reads(self) -> int:
        """Reads of all runs."""
        return sum(count for _, _, count in self.all.reads())

    @property
    def cacheable(self) -> float:
        """The share of reads that came from memory or were offered for it."""
        return self._share(self.all, CACHEABLE)

    @property
    def hits(self) -> float:
        """The share of reads that came from memory in the last run."""
        return self._share(self.tallies[-1], CACHEABLE - {"miss"})

    def _share(self, tally: Tally, outcomes: frozenset[str]) -> float:
        reads = list(tally.reads())
        total = sum(count for _, _, count in reads)
        return sum(count for _, verdict, count in reads if verdict[0] in outcomes) / max(total, 1)

    def refused(self) -> dict[str, Counter[str]]:
        """Reason -> statements with their numbers, of all reads that are not cacheable."""
        found: dict[str, Counter[str]] = {}
        for text, (outcome, reason), count in self.all.reads():
            if outcome not in CACHEABLE:
                found.setdefault(reason, Counter())[text] += count
        return found

    def surprises(self) -> list[tuple[str, str]]:
        """Reason and statement of all reads that somebody should have a look at."""
        return [
            (reason, text)
            for reason, texts in self.refused().items()
            for text in texts
            if self.application.accepted_as(reason, text) is None
        ]


def run(
    application: Application, server: PostgresServer, howdah: Howdah, runs: int = RUNS
) -> Outcome:
    """Make a database, run the application so many times in it.

    Raises:
        AssertionError: the application got an answer that it did not expect.
    """
    name = server.create_database(name=application.name.replace("-", "_"))
    direct = Place(server.host, server.port, name)
    application.create(direct)
    howdah.warm(name)
    recorder = Recorder(howdah)
    tallies = []
    with recorder.running():
        program = application.run(direct)
        for _ in range(runs):
            with recorder.recording() as tally:
                program(Place("127.0.0.1", recorder.port, name))
            tallies.append(tally)
    return Outcome(application, server.name, tallies)
