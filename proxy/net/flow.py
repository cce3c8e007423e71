"""Back-pressure: reading from one side stops while the other side cannot take more.

What lives here: how reading is held and the sizes that decide when. What must
not: which side holds which; `net.client` and `net.upstream` know that.

A transport calls `pause_writing` once more than HIGH_WATER bytes wait in it, so a
session holds at most that, one chunk of reading and what the kernel buffers.
"""

from __future__ import annotations

import asyncio
import enum

# Bytes that may wait in a transport before the other side's reading is held, and
# the level at which it goes on. uvloop reads up to 256,000 bytes at once.
HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024


class Hold(enum.IntFlag):
    """Why the reading of a transport is held; it goes on when no reason is left."""

    NONE = 0
    CONNECTING = 1  # the other side is not there yet, or TLS is being negotiated
    PEER_SLOW = 2  # the other side does not take what it is sent
    SELF_SLOW = 4  # this side asks for more while it does not take its answers


class Valve:
    """The reading of one transport: open while nobody holds it."""

    __slots__ = ("_holds", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._holds = Hold.NONE
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)

    @property
    def holds(self) -> Hold:
        """The reasons that hold the reading now."""
        return self._holds

    def hold(self, why: Hold) -> None:
        """Stop reading for `why`; further reasons add up."""
        if not self._holds:
            self._transport.pause_reading()
        self._holds |= why

    def release(self, why: Hold) -> None:
        """Take one reason away; reading goes on with the last one."""
        if not self._holds & why:
            return
        self._holds &= ~why
        if not self._holds and not self._transport.is_closing():
            self._transport.resume_reading()

    def moved(self, transport: asyncio.Transport) -> None:
        """The connection goes on in another transport (TLS), held for the same reasons."""
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER, low=LOW_WATER)
        if self._holds:
            transport.pause_reading()
