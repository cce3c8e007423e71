"""Fills: what is recorded, and what is refused (F5)."""

from __future__ import annotations

import pytest

from proxy.cache.fences import ALL, LocalBoard, slot_of
from proxy.cache.fills import Fill
from proxy.cache.store import Store
from proxy.reasons import Reason

GRANULES = (ALL, (5, 0), (5, 1))
SLOTS = tuple(map(slot_of, GRANULES))


@pytest.fixture
def board() -> LocalBoard:
    return LocalBoard()


@pytest.fixture
def store() -> Store:
    return Store(100_000, 1000)


def fill(board: LocalBoard, limit: int = 1000) -> Fill:
    counters = board.record(SLOTS)
    assert counters is not None
    return Fill((1, b"q"), GRANULES, SLOTS, counters, dispatched=0.0, expires=60.0, limit=limit)


def feed(target: Fill, *messages: tuple[str, bytes]) -> None:
    for kind, data in messages:
        if target.begin(ord(kind), len(data)):
            target.add(ord(kind), data)


def test_a_complete_answer_is_admitted(board: LocalBoard, store: Store) -> None:
    one = fill(board)
    feed(one, ("T", b"desc"), ("D", b"row1"), ("D", b"row2"), ("C", b"done"))
    entry = one.admit(board, store, 0.5)
    assert entry is not None
    assert (entry.description, entry.body) == (b"desc", b"row1row2done")
    assert store.get((1, b"q")) is entry
    assert entry.seconds == 0.5


@pytest.mark.parametrize(
    ("messages", "cause"),
    [
        ([("T", b"d"), ("D", b"r")], "incomplete"),
        ([("T", b"d"), ("D", b"r"), ("E", b"oops")], "error"),
        ([("T", b"d"), ("N", b"note"), ("C", b"c")], "notice"),
        ([("T", b"d"), ("D", b"r"), ("s", b"")], "message"),
        ([("T", b"d"), ("D", b"r" * 2000), ("C", b"c")], "too_large"),
        ([("D", b"r"), ("C", b"c"), ("D", b"r")], "protocol"),
    ],
)
def test_other_answers_are_not(
    board: LocalBoard, store: Store, messages: list[tuple[str, bytes]], cause: str
) -> None:
    one = fill(board)
    feed(one, *messages)
    assert one.admit(board, store, 1.0) is None
    assert one.rejected == cause
    assert len(store) == 0


def test_notifications_and_parameters_pass_by(board: LocalBoard, store: Store) -> None:
    one = fill(board)
    feed(one, ("1", b""), ("2", b""), ("T", b"d"), ("A", b"notify"), ("S", b"p"), ("C", b"c"))
    entry = one.admit(board, store, 1.0)
    assert entry is not None
    assert entry.body == b"c"


def test_a_write_in_between_rejects(board: LocalBoard, store: Store) -> None:
    one = fill(board)
    fence = board.up(((5, 1),), Reason.FENCED, "w", 0.0)
    board.down(fence)
    feed(one, ("T", b"d"), ("C", b"c"))
    assert one.admit(board, store, 1.0) is None
    assert one.rejected == "fenced"


def test_an_aborted_write_in_between_does_not(board: LocalBoard, store: Store) -> None:
    one = fill(board)
    board.down(board.up(((5, 1),), Reason.FENCED, "w", 0.0), undone=True)
    feed(one, ("T", b"d"), ("C", b"c"))
    assert one.admit(board, store, 1.0) is not None


ROW, ROWS_OF_ONE = ("D", b"a"), ("C", b"SELECT 1\0")


def test_a_limited_answer_is_whole_if_the_portal_ends_there(
    board: LocalBoard, store: Store
) -> None:
    target = fill(board)
    target.rows = 1
    feed(target, ROW, ("s", b""))
    target.beyond(0x43)
    entry = target.admit(board, store, 1.0)
    assert entry is not None
    assert entry.body.endswith(b"C\x00\x00\x00\x0dSELECT 1\x00")


def test_a_limited_answer_that_ends_by_itself(board: LocalBoard, store: Store) -> None:
    target = fill(board)
    target.rows = 2
    feed(target, ROW, ROWS_OF_ONE)
    target.beyond(0x43)
    entry = target.admit(board, store, 1.0)
    assert entry is not None
    assert entry.body.count(b"SELECT") == 1


@pytest.mark.parametrize(
    ("kinds", "cause"), [("D", "row_limit"), ("Ds", "row_limit"), ("E", "error"), ("NC", "notice")]
)
def test_what_comes_behind_the_limit_rejects(
    board: LocalBoard, store: Store, kinds: str, cause: str
) -> None:
    target = fill(board)
    target.rows = 1
    feed(target, ROW, ("s", b""))
    for kind in kinds:
        target.beyond(ord(kind))
    assert target.admit(board, store, 1.0) is None
    assert target.rejected == cause


def test_a_limited_answer_without_the_proof_is_not_admitted(
    board: LocalBoard, store: Store
) -> None:
    target = fill(board)
    target.rows = 1
    feed(target, ROW, ("s", b""))
    assert target.admit(board, store, 1.0) is None
    assert target.rejected == "incomplete"
