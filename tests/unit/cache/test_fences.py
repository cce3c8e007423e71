"""The fence board: F1 to F4, and the arithmetic of aborts (F3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.cache.fences import ALL, LocalBoard, slot_of
from proxy.reasons import Reason

A, B = (5, 100), (5, 200)
SLOTS = tuple(map(slot_of, (ALL, A)))


def test_a_raised_fence_is_not_idle() -> None:
    board = LocalBoard()
    counters = board.record(SLOTS)
    assert counters is not None
    fence = board.up((A,), Reason.FENCED, "w", 0.0)
    assert board.record(SLOTS) is None
    assert not board.holds(SLOTS, counters)
    board.down(fence)
    assert board.record(SLOTS) is not None
    assert not board.holds(SLOTS, counters), "what was recorded before a write never holds again"


def test_other_granules_are_left_alone() -> None:
    board = LocalBoard()
    counters = board.record(SLOTS)
    assert counters is not None
    board.down(board.up((B,), Reason.FENCED, "w", 0.0))
    assert board.holds(SLOTS, counters)


def test_a_fence_on_everything_reaches_each_entry() -> None:
    board = LocalBoard()
    counters = board.record(SLOTS)
    assert counters is not None
    board.down(board.up((ALL,), Reason.FENCED, "w", 0.0))
    assert not board.holds(SLOTS, counters)


def test_a_known_abort_leaves_entries_good() -> None:
    board = LocalBoard()
    counters = board.record(SLOTS)
    assert counters is not None
    fence = board.up((A,), Reason.FENCED, "w", 0.0)
    other = board.up((A,), Reason.FENCED, "x", 0.0)
    board.down(fence, undone=True)
    assert not board.holds(SLOTS, counters)
    board.down(other, undone=True)
    assert board.holds(SLOTS, counters)


def test_an_abort_does_not_hide_a_commit() -> None:
    board = LocalBoard()
    counters = board.record(SLOTS)
    assert counters is not None
    aborts = board.up((A,), Reason.FENCED, "w", 0.0)
    commits = board.up((A,), Reason.FENCED, "x", 0.0)
    board.down(aborts, undone=True)
    board.down(commits)
    assert board.record(SLOTS) is not None
    assert not board.holds(SLOTS, counters)


def test_widening_counts_once() -> None:
    board = LocalBoard()
    fence = board.up((A,), Reason.FENCED, "w", 0.0)
    board.widen(fence, (A, B))
    board.down(fence)
    assert board.record(map(slot_of, (A, B))) is not None
    assert not board.fences


def test_the_stamp_moves_with_every_change() -> None:
    board = LocalBoard()
    stamps = [board.stamp]
    fence = board.up((A,), Reason.FENCED, "w", 0.0)
    stamps.append(board.stamp)
    board.widen(fence, (B,))
    stamps.append(board.stamp)
    board.down(fence)
    stamps.append(board.stamp)
    assert len(set(stamps)) == 4


def test_the_gravest_cause_is_named() -> None:
    board = LocalBoard()
    board.up((A,), Reason.FENCED, "w", 0.0)
    assert board.cause(SLOTS) is Reason.FENCED
    board.up((ALL,), Reason.SUSPENDED, "s", 0.0)
    assert board.cause(SLOTS) is Reason.SUSPENDED


def test_lowering_twice_is_a_bug() -> None:
    board = LocalBoard()
    fence = board.up((A,), Reason.FENCED, "w", 0.0)
    board.down(fence)
    with pytest.raises(AssertionError):
        board.down(fence)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("udaw"), st.integers(0, 5)), max_size=60))
def test_against_a_model(steps: list[tuple[str, int]]) -> None:
    """An entry holds iff no fence is up and none was lowered as committed since."""
    board = LocalBoard()
    counters = board.record(SLOTS)
    assert counters is not None
    up = []
    committed = False
    for action, number in steps:
        if action == "u":
            up.append(board.up((A,), Reason.FENCED, "w", 0.0))
        elif action == "w" and up:
            board.widen(up[number % len(up)], (A, ALL))
        elif up:
            fence = up.pop(number % len(up))
            board.down(fence, undone=action == "a")
            committed = committed or action != "a"
        assert board.holds(SLOTS, counters) == (not up and not committed)


def test_narrowing_leaves_the_rest_as_it_was() -> None:
    board = LocalBoard()
    on_a, on_b = (tuple(map(slot_of, (ALL, granule))) for granule in (A, B))
    before_a, before_b = board.record(on_a), board.record(on_b)
    assert before_a is not None
    assert before_b is not None
    fence = board.up((ALL,), Reason.FENCED, "w", 0.0)
    stamp = board.stamp
    assert board.narrow(fence, (A,)) == {A}
    assert board.stamp != stamp
    assert board.holds(on_b, before_b)
    assert board.record(on_a) is None, "it still stands there"
    board.down(fence)
    assert board.holds(on_b, before_b)
    assert board.record(on_a) is not None
    assert not board.holds(on_a, before_a)


def test_narrowing_within_what_it_covered() -> None:
    board = LocalBoard()
    counters = board.record(map(slot_of, (A, B)))
    fence = board.up((A, B), Reason.FENCED, "w", 0.0)
    board.narrow(fence, (B,))
    board.down(fence, undone=True)
    assert board.record(map(slot_of, (A, B))) == counters


def test_who_listens_hears_of_fences_that_stand() -> None:
    board = LocalBoard()
    heard: list[frozenset[int]] = []

    def listen(slots: frozenset[int]) -> None:
        assert board.record(slots) is None
        heard.append(slots)

    board.raised = listen
    fence = board.up((A,), Reason.FENCED, "w", 0.0)
    board.widen(fence, (A, B))
    board.down(fence)
    assert heard == [{slot_of(A)}, {slot_of(B)}]
