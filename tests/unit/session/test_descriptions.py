"""What is remembered of prepared statements, and its bounds."""

from __future__ import annotations

from proxy.session.descriptions import LONGEST, OVERHEAD, Descriptions, Portrait


def place(number: int) -> tuple[int, int, bytes]:
    return 1, 1, b"SELECT %03d" % number


def test_the_longest_unused_goes() -> None:
    size = OVERHEAD + 10 + 20
    known = Descriptions(limit=3 * size)
    for number in range(3):
        known.put(place(number), bytes(20))
    assert known.get(place(0)) == bytes(20)
    known.put(place(3), bytes(20))
    assert [known.get(place(number)) is not None for number in range(4)] == [
        True,
        False,
        True,
        True,
    ]
    assert known.bytes_used == 3 * size


def test_replacing_counts_once() -> None:
    known = Descriptions()
    for _ in range(5):
        known.put(place(1), bytes(20))
    assert known.bytes_used == OVERHEAD + 30
    assert len(known) == 1


def test_long_ones_are_not_kept() -> None:
    known = Descriptions()
    known.put(place(1), bytes(LONGEST))
    assert len(known) == 0


def test_a_portrait_of_pieces_is_none() -> None:
    portrait = Portrait(place(1))
    portrait.add(b"t123", 4)
    portrait.add(b"T12", 3)
    seen = [portrait.data]
    for size in (30, 3):
        portrait.add(b"T12", size)
        seen.append(portrait.data)
    assert seen == [b"t123T12", None, None]


def test_answers_that_are_longer_are_tried_ever_more_rarely() -> None:
    known = Descriptions()
    assert [_pause(known) for _ in range(3)] == [8, 16, 32]
    assert known.worth(b"s", 2)
    known.whole(b"s", 1)
    assert known.worth(b"s", 1)
    known.longer(b"s", 1)
    assert not known.worth(b"s", 1)


def _pause(known: Descriptions) -> int:
    """How often an answer that was too long is passed over."""
    known.longer(b"s", 1)
    return next(count for count in range(100) if known.worth(b"s", 1))


def test_missed_again() -> None:
    known = Descriptions()
    assert not known.again((1, b"s", b"p"))
    assert known.again((1, b"s", b"p"))
    assert not known.again((2, b"s", b"p"))
