"""Faults put into a recorded history: which are violations, and are they found?"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from proxy.consistency import power
from proxy.consistency.bank import Bank
from proxy.consistency.history import Judge
from proxy.consistency.lists import AppendList
from proxy.consistency.power import Tape
from proxy.consistency.registers import Register
from proxy.consistency.rows import Rows


class Told:
    """A judge and its tape, told the same."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.tape = Tape(judge)

    def __call__(self, method: str, *arguments: object) -> Any:
        self.tape.add(method, arguments, {})
        return getattr(self.judge, method)(*arguments)


def register_tape() -> Tape:
    told = Told(Register("key"))
    told("begin", 1.0)
    told("commit", 1, 2.0)
    told("read", 1, 3.0, 4.0)  # one older: stale
    told("begin", 5.0)
    told("read", 2, 6.0, 7.0)  # one older: would be right, the write is on its way
    told("read", 2, 8.0, 9.0)  # one older: an inversion
    told("abort", told("begin", 10.0), 11.0)
    assert told.judge.found == []
    return told.tape


def bank_tape() -> Tape:
    told = Told(Bank("bank", total=5))
    told("begin", 1.0)
    told("commit", 2.0)
    told("read", 5, 1, 3.0, 4.0)
    told("begin", 5.0)
    told("read", 5, 2, 6.0, 7.0)
    told("read", 5, 2, 8.0, 9.0)
    return told.tape


def rows_tape() -> Tape:
    rows = Rows("rows")
    rows.add(0)
    rows.add(0)
    told = Told(rows)
    told("begin", 0, 1, 1.0)
    told("commit", 0, 1, 2.0)
    told("read", [(0, 1, 1), (1, 0, 0)], lambda _: True, 3.0, 4.0)
    told("read", [(0, 1, 1)], lambda tag: tag == 1, 3.0, 4.0)
    return told.tape


def list_tape() -> Tape:
    judge = AppendList("list")
    for element in (1, 2):
        judge.begin(element, 0.0)
        judge.commit(element, 0.0)
    judge.read([1, 2], 0.5, 0.6)
    told = Told(judge)
    told("read", [1, 2], 1.0, 2.0)
    told("begin", 3, 3.0)
    told("read", [1, 2, 3], 4.0, 5.0)
    told("read", [1, 2, 3], 6.0, 7.0)
    told("begin", 4, 8.0)
    told("abort", 4, 9.0)
    return told.tape


def random_tape(kind: str, seed: int) -> Tape:
    """What concurrent writers and readers of a true value told, recorded from some point on."""
    random = Random(seed)
    judges = {"list": AppendList("list"), "register": Register("key"), "bank": Bank("b", total=9)}
    judge: Judge = judges[kind]
    told, after = Told(judge), random.randrange(60)
    state: list[int] = []
    running: list[tuple[str, int, int]] = []  # what, its value, when it began
    waiting: list[tuple[str, int, int]] = []  # has happened, is not told yet
    seen: list[list[int]] = []
    for time in range(200):
        if time == after:
            told.tape = Tape(judge)
        chance = random.random()
        writers = sum(what != "read" for what, _, _ in running + waiting)
        if chance < 0.15 and writers < (1 if kind == "register" else 3):
            arguments = (time, time) if kind == "list" else (time,)
            value = told("begin", *arguments)
            outcome = "abort" if random.random() < 0.2 else "commit"
            running.append((outcome, value if kind == "register" else time, time))
        elif chance < 0.4:
            running.append(("read", 0, time))
        elif running and chance < 0.7:
            what, value, begin = running.pop(random.randrange(len(running)))
            if what == "read":
                value = len(seen)
                seen.append([*state])
            elif what == "commit":
                state.append(value)
            waiting.append((what, value, begin))
        elif waiting:
            what, value, begin = waiting.pop(random.randrange(len(waiting)))
            if what != "read":
                told(what, *(() if kind == "bank" else (value,)), time)
            elif kind == "list":
                told("read", seen[value], begin, time)
            elif kind == "register":
                told("read", seen[value][-1] if seen[value] else 0, begin, time)
            else:
                told("read", 9, len(seen[value]), begin, time)
    assert judge.found == []
    return told.tape


TAPES = [register_tape, bank_tape, rows_tape, list_tape]


def test_register_mutants_are_violations_only_where_real_time_says_so() -> None:
    tape = register_tape()
    older = [
        mutant.wrong
        for at in (2, 4, 5)
        for mutant in power.mutants(tape, at)
        if mutant.kind == "one version older"
    ]
    assert older == [True, False, True]


@pytest.mark.parametrize("make", TAPES)
def test_each_mutant_that_is_a_violation_is_found_and_no_other(make) -> None:
    tape = make()
    reads = [at for at, event in enumerate(tape.events) if event.method == "read"]
    kinds = set()
    for at in reads:
        for mutant in power.mutants(tape, at):
            kinds.add(mutant.kind)
            assert bool(tape.replay(at, mutant.event).found) == mutant.wrong, mutant
    assert len(kinds) >= 3


@pytest.mark.parametrize("kind", ["list", "register", "bank"])
def test_of_histories_at_random_no_mutant_is_judged_otherwise(kind: str) -> None:
    """A list's element may have been acknowledged before the tape began, and read by nobody."""
    for seed in range(40):
        tape = random_tape(kind, seed)
        for at, event in enumerate(tape.events):
            for mutant in power.mutants(tape, at) if event.method == "read" else ():
                found = tape.replay(at, mutant.event).found
                assert bool(found) == mutant.wrong, (seed, at, mutant, found)


def test_measure_counts_by_kind() -> None:
    measured = power.measure([make() for make in TAPES], 400, Random(1).randrange)
    assert sum(measured.made.values()) > 350
    assert len(measured.made) >= 10
    assert measured.share == 1.0
    assert measured.false == 0
    assert measured.wrong["one version older"] < measured.made["one version older"]


def test_a_blind_judge_is_seen_to_be_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Register, "_order", lambda *_: None)
    measured = power.measure([register_tape()], 300, Random(1).randrange)
    assert measured.share < 1.0
    assert measured.found["one version older"] == 0


def test_a_tape_with_a_violation_is_not_used() -> None:
    tape = register_tape()
    tape.add("read", (0, 20.0, 21.0), {})
    assert power.usable([tape, Tape(Register("key"))]) == []
    assert power.measure([], 100, Random(1).randrange).made == {}
