"""Flights: who leads, who waits, and what ends the waiting."""

from __future__ import annotations

import pytest

from proxy.cache.fences import ALL, LocalBoard, slot_of
from proxy.cache.fills import Fill
from proxy.cache.flights import Flights
from proxy.cache.store import Key, Store
from proxy.reasons import Reason

A, B = (5, 100), (5, 200)
KEY: Key = (1, b"q")


class Deck:
    """A board, its flights, and who was woken."""

    def __init__(self, limit: int = 3) -> None:
        self.board = LocalBoard()
        self.woken: list[str] = []
        self.flights: Flights[str] = Flights(self.board, limit, self.woken.append)

    def fill(self, key: Key = KEY) -> Fill:
        slots = tuple(map(slot_of, (ALL, A)))
        counters = self.board.record(slots)
        assert counters is not None
        made = Fill(key, (ALL, A), slots, counters, dispatched=0.0, expires=9.0, limit=100)
        self.flights.depart(made)
        return made


@pytest.fixture
def deck() -> Deck:
    return Deck()


def test_nobody_waits_for_nothing(deck: Deck) -> None:
    assert deck.flights.join(KEY, "a") is None
    deck.fill((1, b"other"))
    assert deck.flights.join(KEY, "a") is None


def test_all_wake_in_order_when_it_lands(deck: Deck) -> None:
    fill = deck.fill()
    for name in "abc":
        assert deck.flights.join(KEY, name) is not None
    assert deck.flights.join(KEY, "d") is None, "as many as the limit says"
    assert deck.woken == []
    deck.flights.land(fill)
    assert deck.woken == ["a", "b", "c"]
    assert deck.flights.waiting == len(deck.flights) == 0
    deck.flights.land(fill)
    assert deck.woken == ["a", "b", "c"]


def test_who_left_is_not_woken(deck: Deck) -> None:
    fill = deck.fill()
    flight = deck.flights.join(KEY, "a")
    assert flight is not None
    deck.flights.leave(flight, "a")
    assert deck.board.raised is None
    deck.flights.land(fill)
    assert deck.woken == []


@pytest.mark.parametrize("granule", [A, ALL])
def test_a_fence_wakes_at_once(deck: Deck, granule: tuple[int, int]) -> None:
    deck.fill()
    deck.flights.join(KEY, "a")
    deck.board.up((granule,), Reason.FENCED, "w", 0.0)
    assert deck.woken == ["a"]
    assert deck.flights.join(KEY, "b") is None


def test_a_fence_elsewhere_wakes_nobody(deck: Deck) -> None:
    deck.fill()
    deck.flights.join(KEY, "a")
    deck.board.down(deck.board.up((B,), Reason.FENCED, "w", 0.0))
    assert deck.woken == []


def test_a_fence_before_anybody_waits(deck: Deck) -> None:
    """Its counters have moved: the next miss leads, and the old fill stays out of it."""
    old = deck.fill()
    deck.board.down(deck.board.up((A,), Reason.FENCED, "w", 0.0))
    assert deck.flights.join(KEY, "a") is None
    new = deck.fill()
    deck.flights.join(KEY, "a")
    deck.flights.land(old)
    assert deck.woken == []
    deck.flights.land(new)
    assert deck.woken == ["a"]


def test_a_rejection_wakes_at_once(deck: Deck) -> None:
    fill = deck.fill()
    deck.flights.join(KEY, "a")
    fill.begin(ord("D"), 200)
    assert fill.rejected == "too_large"
    assert deck.woken == ["a"]


def test_what_cannot_be_stored_is_remembered(deck: Deck) -> None:
    fill = deck.fill()
    fill.reject("too_large")
    deck.flights.land(fill)
    deck.fill()
    assert len(deck.flights) == 0
    other = deck.fill((1, b"other"))
    other.reject("error")
    deck.flights.land(other)
    deck.fill((1, b"other"))
    assert len(deck.flights) == 1


def test_a_slow_fill_is_forsaken(deck: Deck) -> None:
    slow = deck.fill()
    flight = deck.flights.join(KEY, "a")
    assert flight is not None
    deck.flights.join(KEY, "b")
    deck.flights.forsake(flight)
    deck.flights.leave(flight, "a")
    assert deck.flights.join(KEY, "c") is None
    deck.fill()
    assert deck.flights.join(KEY, "c") is not None
    deck.flights.land(slow)
    assert deck.woken == ["b"], "who still waits for the slow one is woken by it"


def test_an_admitted_fill_is_there_when_they_wake(deck: Deck) -> None:
    store = Store(100_000, 1000)
    fill = deck.fill()
    deck.flights.join(KEY, "a")
    fill.begin(ord("C"), 10)
    fill.add(ord("C"), b"C\0\0\0\7SEL\0")
    assert fill.admit(deck.board, store, 1.0) is not None
    assert deck.woken == []
    deck.flights.land(fill)
    assert store.get(KEY) is not None


def test_off() -> None:
    deck = Deck(0)
    deck.fill()
    assert len(deck.flights) == 0
    assert deck.flights.join(KEY, "a") is None
