"""Back-pressure: reading from one side stops while the other side cannot take more.

What lives here: how reading is held and the sizes that decide when. What must
not: which side holds which; `net.client` and `net.upstream` know that.

A transport calls `pause_writing` once more than HIGH_WATER bytes wait in it, so a
session holds at most that, one chunk of reading and what the kernel buffers. One
chunk of requests may bring thousands of large answers from memory: those wait here
as references to what the cache holds anyway, and are copied (TLS: encrypted) only
as fast as the client takes them.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque

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
    BUSY = 8  # this side has asked for more than is done in one turn


# More bytes than this are written piece by piece, without copying them together.
_JOIN_LIMIT = 64 * 1024


class Outlet:
    """The writing to one transport, which never gets more than it takes.

    Attributes:
        full: the transport has called `pause_writing`; its protocol sets and clears this.
    """

    __slots__ = ("_closing", "_rest", "full", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.full = False
        self._rest: deque[bytes] = deque()
        self._closing = False

    def put(self, pieces: list[bytes]) -> int:
        """Write `pieces`, or keep what does not fit; return how many bytes they are."""
        if len(pieces) == 1 and not self.full:
            self.transport.write(pieces[0])
            return len(pieces[0])
        size = sum(map(len, pieces))
        if self.full or size > _JOIN_LIMIT:
            self._rest.extend(pieces)
            self.pour()
        else:
            self.transport.write(b"".join(pieces))
        return size

    def pour(self) -> bool:
        """Write what was kept, until the transport is full; True when nothing is left."""
        rest = self._rest
        while rest and not self.full:
            batch = [rest.popleft()]
            size = len(batch[0])
            while rest and size + len(rest[0]) <= _JOIN_LIMIT:
                size += len(rest[0])
                batch.append(rest.popleft())
            self.transport.write(b"".join(batch))
        if rest:
            return False
        if self._closing:
            self.transport.close()
        return not self.full

    def close(self) -> None:
        """Close the transport once everything is written."""
        self._closing = True
        if not self._rest:
            self.transport.close()

    def drop(self) -> None:
        """The transport is gone: forget what it has not taken."""
        self._rest.clear()


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
