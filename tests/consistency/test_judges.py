"""The judges of the checker: hand-made histories, one for each kind of anomaly.

Times are small integers, so that a history can be read: a write from 1 to 3, a read from 4 to 5.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from random import Random

import pytest

from proxy.consistency.bank import Bank
from proxy.consistency.history import Judge, Monotone
from proxy.consistency.lists import AppendList
from proxy.consistency.registers import Register
from proxy.consistency.rows import Rows


def kinds(judge: Judge) -> list[str]:
    return [violation.kind for violation in judge.found]


# --- the running maximum


def test_floor_is_the_largest_value_that_ended_before() -> None:
    known = Monotone()
    for end, value in ((2, 1), (5, 3), (7, 2)):
        known.add(end, value)
    assert [known.floor(t) for t in (1, 2, 2.5, 5, 5.5, 9)] == [0, 0, 1, 1, 3, 3]
    assert known.lateness(9, 2) == 4
    assert known.lateness(9, 3) == 0


@pytest.mark.parametrize("seed", range(20))
def test_floor_does_not_depend_on_the_order_of_additions(seed: int) -> None:
    draw = Random(seed)
    added = [(draw.randrange(20), draw.randrange(20)) for _ in range(30)]
    known = Monotone()
    for end, value in added:
        known.add(end, value)
    for begin in range(21):
        assert known.floor(begin) == max([0, *(v for e, v in added if e < begin)])


def test_what_is_long_over_is_forgotten_but_its_maximum() -> None:
    known = Monotone()
    for n in range(5000):
        known.add(n, n)
    assert known.floor(4999.5) == 4999
    assert known.floor(4950) == 4949
    assert len(known._ends) < 3000


# --- registers


@pytest.fixture
def register() -> Register:
    return Register("key")


def write(register: Register, begin: float, end: float | None) -> int:
    version = register.begin(begin)
    if end is not None:
        register.commit(version, end)
    return version


def test_register_reads_that_are_right(register: Register) -> None:
    assert register.read(0, 0, 1)
    write(register, 2, 4)
    assert register.read(0, 3, 5)  # at the same time: either
    assert register.read(1, 5, 6)
    assert register.found == []
    assert register.checked == 3
    assert register.worst == 0


def test_stale_read(register: Register) -> None:
    write(register, 1, 2)
    assert not register.read(0, 3, 4, "SELECT")
    (violation,) = register.found
    assert (violation.kind, violation.late, violation.read) == ("stale", 1, "SELECT")
    assert any("write 1 in force" in line for line in violation.history)
    assert register.worst == 1


def test_write_that_ends_as_the_read_begins_is_concurrent(register: Register) -> None:
    write(register, 1, 3)
    assert register.read(0, 3, 4)


def test_staleness_counts_from_the_first_newer_version(register: Register) -> None:
    write(register, 1, 2)
    write(register, 3, 4)
    register.read(0, 10, 11)
    assert register.found[0].late == 8


def test_inversion(register: Register) -> None:
    register.begin(1)  # its outcome is not known
    assert register.read(1, 2, 3)
    assert not register.read(0, 4, 5)
    assert kinds(register) == ["inversion"]
    assert register.found[0].late == 1


def test_overlapping_reads_may_differ(register: Register) -> None:
    register.begin(1)
    assert register.read(1, 2, 5)
    assert register.read(0, 4, 6)


def test_inversions_can_be_excused(register: Register) -> None:
    register.inversions = False
    write(register, 1, 9)
    assert register.read(1, 2, 3)
    assert register.read(0, 4, 5)
    assert not register.read(0, 10, 11)
    assert kinds(register) == ["stale"]


def test_phantom(register: Register) -> None:
    write(register, 1, 2)
    assert not register.read(2, 3, 4)
    assert kinds(register) == ["phantom"]


def test_read_of_a_version_that_was_rolled_back(register: Register) -> None:
    register.abort(register.begin(1), 2)
    assert not register.read(1, 3, 4)
    assert kinds(register) == ["aborted"]


def test_read_of_a_version_that_is_rolled_back_later(register: Register) -> None:
    version = register.begin(1)
    assert register.read(1, 2, 3)
    register.abort(version, 4)
    assert kinds(register) == ["aborted"]
    assert (register.found[0].begin, register.found[0].end) == (2, 3)


def test_unknown_outcome_ends_when_it_is_learnt(register: Register) -> None:
    version = register.begin(1)
    assert register.read(0, 5, 6)
    before = register.settled
    register.commit(version, 8)
    assert (before, register.settled) == (False, True)
    assert register.read(0, 7, 9)
    assert not register.read(0, 9, 10)


def test_missing_row_is_older_than_all(register: Register) -> None:
    assert not register.read(-1, 1, 2)
    assert kinds(register) == ["stale"]


def test_writes_from_outside_may_be_seen_late_by_the_slack() -> None:
    register = Register("key", slack=5)
    register.commit(register.begin(1), 2, outside=True)
    assert register.read(0, 6, 7)
    assert register.worst == 4
    assert not register.read(0, 8, 9)
    assert kinds(register) == ["stale"]


def test_own_writes_have_no_slack() -> None:
    register = Register("key", slack=5)
    register.commit(register.begin(1), 2)
    assert not register.read(0, 3, 4)


def test_what_somebody_has_read_has_the_slack_too() -> None:
    register = Register("key", slack=5)
    register.begin(1)
    assert register.read(1, 2, 3)
    assert register.read(0, 4, 5)


def _linearizable(writes: list[tuple[int, int, int]], reads: list[tuple[int, int, int]]) -> bool:
    """By brute force: an order that real time allows, in which each read sees the last write."""
    operations = [("w", *w) for w in writes] + [("r", *r) for r in reads]
    for order in itertools.permutations(operations):
        place = {id(op): n for n, op in enumerate(order)}
        if any(a[3] < b[2] and place[id(a)] > place[id(b)] for a in operations for b in operations):
            continue
        current, fine = 0, True
        for kind, value, *_ in order:
            if kind == "w":
                fine = fine and value == current + 1
                current = value
            else:
                fine = fine and value == current
        if fine:
            return True
    return False


@pytest.mark.parametrize("seed", range(150))
def test_register_agrees_with_brute_force(seed: int) -> None:
    """Complete and sound: a violation exactly where no order explains all answers."""
    draw = Random(seed)
    writes, time = [], 0
    for version in (1, 2):
        begin = time + draw.randint(1, 3)
        time = begin + draw.randint(1, 4)
        writes.append((version, begin, time))
    reads = []
    for _ in range(4):
        begin = draw.randint(0, 12)
        reads.append((draw.randint(0, 2), begin, begin + draw.randint(1, 4)))
    register = Register("key")
    # What is told is in the order of time: begins of writes, then ends of all.
    events: list[tuple[float, int, Callable[[], object]]] = []
    for version, begin, end in writes:
        events.append((begin, 0, lambda begin=begin: register.begin(begin)))  # type: ignore[misc]
        events.append((end, 1, lambda v=version, end=end: register.commit(v, end)))  # type: ignore[misc]
    for value, begin, end in reads:
        events.append((end, 2, lambda r=(value, begin, end): register.read(*r)))  # type: ignore[misc]
    for _, _, event in sorted(events, key=lambda event: event[:2]):
        event()
    assert bool(register.found) == (not _linearizable(writes, reads))


# --- totals


@pytest.fixture
def bank() -> Bank:
    bank = Bank("bank", total=100)
    bank.begin(1)
    bank.commit(2)
    return bank


def test_bank_answers_that_are_right(bank: Bank) -> None:
    assert bank.read(100, 1, 3, 4)
    bank.begin(5)
    assert bank.read(100, 2, 6, 7)
    assert bank.found == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((99, 1, 3, 4), "total"),
        ((100, 0, 3, 4), "stale"),
        ((100, 2, 3, 4), "phantom"),
    ],
)
def test_bank_answers_that_are_wrong(
    bank: Bank, answer: tuple[int, int, float, float], kind: str
) -> None:
    assert not bank.read(*answer)
    assert kinds(bank) == [kind]


def test_bank_inversion(bank: Bank) -> None:
    bank.begin(3)
    assert bank.read(100, 2, 4, 5)
    assert not bank.read(100, 1, 6, 7)
    assert kinds(bank) == ["inversion"]


def test_bank_rolled_back_transfer_is_no_transfer(bank: Bank) -> None:
    bank.begin(3)
    bank.abort(4)
    assert not bank.read(100, 2, 5, 6)
    assert kinds(bank) == ["phantom"]


# --- rows


def tag(wanted: int) -> Callable[[int], bool]:
    return lambda found: found == wanted


@pytest.fixture
def rows() -> Rows:
    """Rows 0 and 1 with tags 0 and 1; row 0 was moved to tag 1 from 1 to 2."""
    rows = Rows("rows")
    rows.add(0)
    rows.add(1)
    rows.commit(0, rows.begin(0, 1, 1), 2)
    return rows


def anything(_: int) -> bool:
    return True


def test_rows_answers_that_are_right(rows: Rows) -> None:
    assert rows.read([(0, 1, 1), (1, 1, 0)], tag(1), 3, 4)
    assert rows.read([], tag(0), 3, 4)
    assert rows.read([(0, 0, 0)], tag(0), 1.5, 4, scope=[0])  # on its way
    assert rows.read([(0, 1, 1)], tag(1), 3, 4, limit=1)
    assert rows.read_ids([0, 1], tag(1), 3, 4)
    assert rows.read_count(2, tag(1), 3, 4)


@pytest.mark.parametrize(
    ("answer", "predicate", "kind"),
    [
        ([(0, 1, 1)], tag(1), "missing"),
        ([(0, 1, 1), (0, 1, 1), (1, 1, 0)], tag(1), "twice"),
        ([(0, 0, 0)], tag(0), "stale"),
        ([(0, 1, 1), (1, 1, 0)], tag(0), "wrong-row"),
        ([(0, 2, 1), (1, 1, 0)], anything, "torn"),
        ([(1, 1, 0)], anything, "missing"),
        ([(0, 1, 1), (1, 1, 5)], tag(1), "phantom"),
    ],
)
def test_rows_answers_that_are_wrong(
    rows: Rows, answer: list[tuple[int, int, int]], predicate: Callable[[int], bool], kind: str
) -> None:
    assert not rows.read(answer, predicate, 3, 4)
    assert kind in kinds(rows)


def test_row_on_the_move_may_be_anywhere_once(rows: Rows) -> None:
    rows.begin(1, 0, 5)
    assert rows.read([(0, 1, 1), (1, 1, 0)], tag(1), 6, 9)
    assert rows.read([(1, 0, 1)], tag(0), 6, 9)
    assert not rows.read([(0, 1, 1), (1, 1, 0)], tag(1), 10, 11)
    assert "inversion" in kinds(rows)


def test_rows_limit_excuses_only_what_is_behind_it(rows: Rows) -> None:
    assert not rows.read([(1, 1, 0)], tag(1), 3, 4, limit=1)
    assert kinds(rows) == ["missing"]
    assert rows.found[0].late == 1


def test_rows_ids_and_counts_that_are_wrong(rows: Rows) -> None:
    assert not rows.read_ids([1], tag(1), 3, 4)
    assert not rows.read_ids([0, 1], tag(0), 3, 4)
    assert not rows.read_ids([0, 0, 1], tag(1), 3, 4)
    assert not rows.read_count(1, tag(1), 3, 4)
    assert not rows.read_count(1, tag(0), 3, 4)
    assert kinds(rows) == ["missing", "wrong-row", "wrong-row", "twice", "missing", "missing"]


def test_row_that_was_rolled_back(rows: Rows) -> None:
    rows.abort(1, rows.begin(1, 0, 5), 6)
    assert not rows.read([(1, 0, 1)], tag(0), 7, 8)
    assert not rows.read_count(1, tag(1), 7, 8)
    assert kinds(rows) == ["aborted", "missing"]


# --- lists


@pytest.fixture
def appended() -> AppendList:
    """1 and 2 are in the list, in this order."""
    one = AppendList("list")
    for n in (1, 2):
        one.begin(n, n)
        one.commit(n, n + 0.5)
    assert one.read([1, 2], 3, 4)
    return one


def test_list_answers_that_are_right(appended: AppendList) -> None:
    assert appended.read([1, 2], 4, 5)
    appended.begin(3, 5)
    assert appended.read([1, 2], 6, 9)
    assert appended.read([1, 2, 3], 6, 8)
    assert appended.found == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ([1], "stale"),
        ([], "stale"),
        ([2, 1], "order"),
        ([1, 2, 2], "twice"),
        ([1, 2, 9], "phantom"),
    ],
)
def test_list_answers_that_are_wrong(appended: AppendList, answer: list[int], kind: str) -> None:
    assert not appended.read(answer, 5, 6)
    assert kinds(appended) == [kind]


def test_list_inversion(appended: AppendList) -> None:
    appended.begin(3, 5)
    assert appended.read([1, 2, 3], 6, 7)
    assert not appended.read([1, 2], 8, 9)
    assert kinds(appended) == ["inversion"]


def test_list_without_an_element_whose_place_nobody_knows(appended: AppendList) -> None:
    appended.begin(3, 5)
    appended.commit(3, 6)
    assert not appended.read([1, 2], 7, 8)
    assert kinds(appended) == ["stale"]
    assert appended.worst == 1


def test_list_with_an_element_that_was_rolled_back(appended: AppendList) -> None:
    appended.begin(3, 5)
    appended.abort(3, 6)
    assert not appended.read([1, 2, 3], 7, 8)
    assert kinds(appended) == ["aborted"]


def test_list_with_an_element_that_is_rolled_back_later(appended: AppendList) -> None:
    appended.begin(3, 5)
    assert appended.read([1, 2, 3], 6, 7)
    appended.abort(3, 8)
    assert kinds(appended) == ["aborted"]


def test_two_orders_of_the_same_elements(appended: AppendList) -> None:
    appended.begin(3, 5)
    appended.begin(4, 5)
    assert appended.read([1, 2, 3, 4], 6, 7)
    assert not appended.read([1, 2, 4, 3], 6, 7)
    assert kinds(appended) == ["order"]


def test_violations_beyond_a_number_are_only_counted() -> None:
    bank = Bank("bank", total=1)
    for n in range(300):
        bank.read(0, 0, n, n + 1)
    assert len(bank.found) == 200
    assert bank.more == 100
