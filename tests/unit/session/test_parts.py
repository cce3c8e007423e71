"""Cutting answers: checked against a plain model of a portal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.store import Entry
from proxy.session.parts import Rest, asks, cut
from proxy.wire import messages

ROWS = st.lists(st.binary(max_size=12), max_size=8)
LIMITS = st.lists(st.integers(0, 9) | st.just(1_000_000), min_size=1, max_size=6)


def row(value: bytes) -> bytes:
    body = b"\x00\x01" + len(value).to_bytes(4, "big") + value
    return messages.message(b"D", body)


def body_of(values: list[bytes]) -> bytes:
    rows = b"".join(map(row, values))
    return rows + messages.command_complete(b"SELECT %d" % len(values))


class Portal:
    """What PostgreSQL does."""

    def __init__(self, values: list[bytes]) -> None:
        self.values = values
        self.at = 0

    def execute(self, limit: int) -> bytes:
        left = self.values[self.at :]
        taken = left[:limit] if limit else left
        self.at += len(taken)
        rows = b"".join(map(row, taken))
        if limit and len(taken) == limit:
            return rows + messages.PORTAL_SUSPENDED
        return rows + messages.command_complete(b"SELECT %d" % len(taken))


@given(ROWS, LIMITS)
def test_parts_are_those_of_a_portal(values: list[bytes], limits: list[int]) -> None:
    portal = Portal(values)
    body = body_of(values)
    reply, position = cut(body, 0, limits[0])
    assert reply == portal.execute(limits[0])
    rest = Rest(Entry((1, b"s", b"p"), None, body, (), ()), position)
    for limit in limits[1:]:
        assert rest.rows == portal.at
        assert rest.take(limit) == portal.execute(limit)
    assert rest.ended is (portal.at == len(values))


def test_rows_without_columns() -> None:
    body = messages.message(b"D", bytes(2)) * 3 + messages.command_complete(b"SELECT 3")
    assert cut(body, 0, 3)[0] == body[:21] + messages.PORTAL_SUSPENDED
    assert cut(body, 0, 4)[0] == body


def test_rows_that_look_like_the_end() -> None:
    """The end is found from behind."""
    body = body_of([b"C\x00\x00\x00\x0dSELECT 1\x00"])
    assert cut(body, 0, 0) == (body, len(body) - len(messages.command_complete(b"SELECT 1")))


def test_what_an_execute_asks_for() -> None:
    assert asks(messages.execute(b"c")) == (b"c", 0)
    assert asks(messages.message(b"E", b"\x00\x00\x00\x00\x07")) == (b"", 7)
    assert asks(messages.message(b"E", b"\x00\xff\xff\xff\xff")) == (b"", 0)
    assert asks(messages.message(b"E", b"\x00\x00\x00\x07")) is None
    assert asks(messages.message(b"E", b"c")) is None
