"""A valve is open only while nobody holds it."""

from __future__ import annotations

from typing import Any

from proxy.net.flow import HIGH_WATER, LOW_WATER, Hold, Outlet, Valve


class FakeTransport:
    def __init__(self):
        self.reading = True
        self.closing = False
        self.limits = None

    def set_write_buffer_limits(self, high, low):
        self.limits = (low, high)

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        assert not self.closing
        self.reading = True

    def is_closing(self):
        return self.closing


def test_every_reason_must_go():
    transport: Any = FakeTransport()
    valve = Valve(transport)
    assert transport.limits == (LOW_WATER, HIGH_WATER)
    valve.hold(Hold.CONNECTING)
    valve.hold(Hold.PEER_SLOW)
    valve.hold(Hold.PEER_SLOW)
    valve.release(Hold.CONNECTING)
    assert not transport.reading
    valve.release(Hold.SELF_SLOW)
    assert not transport.reading
    valve.release(Hold.PEER_SLOW)
    assert transport.reading
    valve.release(Hold.PEER_SLOW)
    assert valve.holds is Hold.NONE


def test_a_closing_transport_is_left_alone():
    transport: Any = FakeTransport()
    valve = Valve(transport)
    valve.hold(Hold.PEER_SLOW)
    transport.closing = True
    valve.release(Hold.PEER_SLOW)
    assert not transport.reading


def test_holds_move_to_the_next_transport():
    plain: Any = FakeTransport()
    encrypted: Any = FakeTransport()
    valve = Valve(plain)
    valve.hold(Hold.CONNECTING)
    valve.moved(encrypted)
    assert not encrypted.reading
    valve.release(Hold.CONNECTING)
    assert encrypted.reading


class FakeSink:
    """Takes `room` bytes, then calls for a pause as a transport does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.written: list[bytes] = []
        self.closed = False
        self.outlet: Outlet | None = None

    def write(self, data: bytes) -> None:
        assert not self.closed
        assert self.outlet is not None
        assert not self.outlet.full, "written to while full"
        self.written.append(data)
        self.room -= len(data)
        self.outlet.full = self.room < 0

    def close(self) -> None:
        self.closed = True


def outlet_of(sink: Any) -> Outlet:
    sink.outlet = Outlet(sink)
    return sink.outlet


def test_small_pieces_leave_in_one_write():
    sink = FakeSink(1000)
    outlet = outlet_of(sink)
    assert outlet.put([b"one"]) == 3
    assert outlet.put([b"two", b"three"]) == 8
    assert sink.written == [b"one", b"twothree"]


def test_a_full_transport_gets_nothing_more_until_it_takes_again():
    sink = FakeSink(100_000)
    outlet = outlet_of(sink)
    pieces = [bytes([n]) * 70_000 for n in range(9)]
    assert outlet.put(pieces) == 9 * 70_000
    assert len(sink.written) == 2
    outlet.put([b"later"])
    outlet.close()
    assert not sink.closed
    sink.room, outlet.full = 300_000, False
    assert not outlet.pour()
    assert len(sink.written) == 7
    sink.room, outlet.full = 10**6, False
    assert outlet.pour()
    assert b"".join(sink.written) == b"".join(pieces) + b"later"
    assert sink.closed


def test_what_a_lost_transport_has_not_taken_is_forgotten():
    sink = FakeSink(-1)
    outlet = outlet_of(sink)
    outlet.put([b"first"])
    outlet.put([b"second", b"third"])
    outlet.drop()
    outlet.full = False
    assert outlet.pour()
    assert sink.written == [b"first"]
