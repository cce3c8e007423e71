"""Is the checker able to find anything? Faults are put into what it has recorded itself.

What lives here: tapes of what a judge was told, mutations of one read, and replays through a
fresh copy of the judge. What must not: SQL, clocks, randomness (the choice is an argument).

Whether a mutated read violates anything is decided without the judge, by going through the
whole tape: a read that is one version older is no violation if the newer version was still
on its way. Of those that are violations the judge must find all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from proxy.consistency.bank import Bank
from proxy.consistency.history import Judge
from proxy.consistency.lists import AppendList
from proxy.consistency.registers import Register
from proxy.consistency.rows import Rows

Choose = Callable[[int], int]
_TAPE = 120


@dataclass(frozen=True, slots=True)
class Event:
    """One call of a judge."""

    method: str
    arguments: tuple[Any, ...]
    more: dict[str, Any]


class Tape:
    """The first so many calls of one judge, from where it stood when the tape began."""

    def __init__(self, judge: Judge) -> None:
        self.start = deepcopy(judge)
        self.events: list[Event] = []

    def add(self, method: str, arguments: tuple[Any, ...], more: dict[str, Any]) -> None:
        """One more call; none after the tape is full."""
        if len(self.events) < _TAPE:
            self.events.append(Event(method, arguments, more))

    @property
    def full(self) -> bool:
        return len(self.events) >= _TAPE

    def replay(self, at: int | None = None, event: Event | None = None) -> Judge:
        """Play it to a copy of the judge, with another event in the place of one."""
        judge = deepcopy(self.start)
        for number, said in enumerate(self.events):
            if number == at and event is not None:
                said = event
            getattr(judge, said.method)(*said.arguments, **said.more)
        return judge


@dataclass(frozen=True, slots=True)
class Mutant:
    """An event that might have been. `wrong`: by definition, it violates something."""

    kind: str
    event: Event
    wrong: bool


@dataclass(slots=True)
class Power:
    """By kind of fault: how many were put in, how many of them were violations, and found."""

    made: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    false: int = 0

    @property
    def share(self) -> float:
        """Found among the violations; 1 if there were none."""
        wrong = sum(self.wrong.values())
        return sum(self.found.values()) / wrong if wrong else 1.0


def usable(tapes: list[Tape]) -> list[Tape]:
    """Those with reads and without a violation of their own, which would find each mutant."""
    return [
        tape
        for tape in tapes
        if any(event.method == "read" for event in tape.events) and not tape.replay().found
    ]


def measure(tapes: list[Tape], count: int, choose: Choose, power: Power | None = None) -> Power:
    """Mutate `count` reads, chosen by `choose(n)` from 0 to n - 1, and replay.

    `tapes` are usable ones. Counts are added to `power`, if there is one.
    """
    power = power or Power()
    for _ in range(count if tapes else 0):
        tape = tapes[choose(len(tapes))]
        reads = [at for at, event in enumerate(tape.events) if event.method == "read"]
        at = reads[choose(len(reads))]
        options = list(mutants(tape, at))
        if not options:
            continue
        mutant = options[choose(len(options))]
        found = bool(tape.replay(at, mutant.event).found)
        power.made[mutant.kind] += 1
        if mutant.wrong:
            power.wrong[mutant.kind] += 1
            power.found[mutant.kind] += found
        elif found:
            power.false += 1
    return power


def mutants(tape: Tape, at: int) -> Iterator[Mutant]:
    """What the read at this place of the tape could wrongly have been."""
    judge, event = tape.start, tape.events[at]
    if isinstance(judge, Register):
        yield from _of_register(tape, judge, at, event)
    elif isinstance(judge, Bank):
        yield from _of_bank(tape, judge, at, event)
    elif isinstance(judge, Rows):
        yield from _of_rows(judge, event)
    elif isinstance(judge, AppendList):
        yield from _of_list(tape, judge, at, event)


def _with(event: Event, *first: Any) -> Event:
    return Event(event.method, first + event.arguments[len(first) :], event.more)


def _of_register(tape: Tape, judge: Register, at: int, event: Event) -> Iterator[Mutant]:
    value, begin = event.arguments[0], event.arguments[1]
    least = judge.candidates(begin).start
    before, aborted = judge.started, [*judge.aborted]
    for number, other in enumerate(tape.events):
        said = other.arguments
        if other.method == "commit" and said[1] < begin:
            least = max(least, said[0])
        elif other.method == "read" and number < at:
            if judge.inversions and said[2] < begin:
                least = max(least, said[0])
        elif other.method == "begin" and number < at:
            before += 1
        elif other.method == "abort":
            aborted.append(said[0])
    older = value - 1 < least or value - 1 in aborted
    if not judge.slack:
        yield Mutant("one version older", _with(event, value - 1), older)
        yield Mutant("no row", _with(event, -1), True)
    yield Mutant("a version not yet sent", _with(event, before + 1), True)
    for version in aborted[:1]:
        if version <= before:
            yield Mutant("rolled back", _with(event, version), True)


def _of_bank(tape: Tape, judge: Bank, at: int, event: Event) -> Iterator[Mutant]:
    total, count, begin = event.arguments[:3]
    yield Mutant("another total", _with(event, total + 1), True)
    if judge.slack:
        return
    least = judge.floor(begin)
    committed = judge.committed
    begun = judge.begun - judge.aborted
    for number, other in enumerate(tape.events):
        said = other.arguments
        if other.method == "commit":
            committed += 1
            if said[0] < begin:
                least = max(least, committed)
        elif other.method == "read" and number < at and said[3] < begin:
            least = max(least, said[1])
        elif number < at:
            begun += {"begin": 1, "abort": -1}.get(other.method, 0)
    yield Mutant("one transfer less", _with(event, total, count - 1), count - 1 < least)
    yield Mutant("a transfer not yet sent", _with(event, total, begun + 1), True)


def _of_rows(judge: Rows, event: Event) -> Iterator[Mutant]:
    answer = list(event.arguments[0])
    if not answer:
        return
    row, tag, version = answer[-1]
    yield Mutant("a row twice", _with(event, [*answer, answer[0]]), True)
    yield Mutant("another tag", _with(event, [*answer[:-1], (row, tag + 100, version)]), True)
    accepts = event.arguments[1]
    if len(answer) == len(judge.rows) and accepts(-1) and accepts(1 << 30):
        yield Mutant("a row lost", _with(event, answer[:-1]), True)


def _of_list(tape: Tape, judge: AppendList, at: int, event: Event) -> Iterator[Mutant]:
    elements, begin = list(event.arguments[0]), event.arguments[1]
    if not elements:
        return
    shorter = elements[:-1]
    wrong = len(shorter) < judge.floor(begin) or not judge.unplaced(begin) <= set(shorter)
    aborted = [*judge.aborted]
    for number, other in enumerate(tape.events):
        said = other.arguments
        if other.method == "commit" and said[1] < begin:
            wrong = wrong or said[0] not in shorter
        elif other.method == "read" and number < at and said[2] < begin:
            wrong = wrong or len(said[0]) > len(shorter)
        elif other.method == "abort":
            aborted.append(said[0])
    if not judge.slack:
        yield Mutant("one element less", _with(event, shorter), wrong)
    if len(elements) > 1 and len(elements) <= len(judge.order):
        swapped = [*elements[:-2], elements[-1], elements[-2]]
        yield Mutant("another order", _with(event, swapped), True)
    if aborted:
        yield Mutant("rolled back", _with(event, [*elements, aborted[0]]), True)
    yield Mutant("an element twice", _with(event, [*elements, elements[0]]), True)
