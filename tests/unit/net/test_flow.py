"""A valve is open only while nobody holds it."""

from __future__ import annotations

from typing import Any

from proxy.net.flow import HIGH_WATER, LOW_WATER, Hold, Valve


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
