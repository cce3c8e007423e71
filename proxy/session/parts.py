"""Parts of an answer: the rows that an Execute with a limit asks for, and what is left.

PostgreSQL suspends a portal after as many rows as were asked for, even if there are no
more (PortalRunSelect of pquery.c), and the tag of an Execute that reaches the end counts
the rows of that Execute alone.
"""

from __future__ import annotations

from proxy.cache.store import Entry
from proxy.wire import messages
from proxy.wire.framing import HEADER

_ROW = 0x44
# CommandComplete begins like this: its tag is short. Tags have no zero within.
_COMPLETE = b"C\x00\x00\x00"
# The shortest DataRow: header and number of columns.
_SHORTEST = HEADER + 2


def asks(execute: bytes) -> tuple[bytes, int] | None:
    """The portal of an Execute, and how many rows it asks for, 0 for all; None if malformed."""
    end = execute.find(b"\x00", HEADER)
    if end < 0 or len(execute) != end + 5:
        return None
    return execute[HEADER:end], max(int.from_bytes(execute[end + 1 :], "big", signed=True), 0)


def cut(body: bytes, position: int, rows: int) -> tuple[bytes, int]:
    """The reply to an Execute of `rows` rows (0 for all), and where the next one goes on.

    Args:
        body: DataRows and CommandComplete.
        position: in it, of the first row that is wanted.
    """
    if not position and (not rows or rows > len(body) // _SHORTEST):
        return body, body.rfind(_COMPLETE)
    at, count = position, 0
    while body[at] == _ROW:
        if count == rows and rows:
            break
        at += int.from_bytes(body[at + 1 : at + HEADER], "big") + 1
        count += 1
    if rows and count == rows:
        return body[position:at] + messages.PORTAL_SUSPENDED, at
    if not position:
        return body, at
    return body[position:at] + messages.command_complete(b"SELECT %d" % count), at


class Rest:
    """The answer of a portal that came from memory, and how far its client has read.

    Attributes:
        entry: the answer, even if it is not stored any more.
        position: in its body, of what comes next.
        upstream: PostgreSQL has been given the portal, at its end; so it says whether the
            portal is still there.
    """

    __slots__ = ("entry", "position", "upstream")

    def __init__(self, entry: Entry, position: int) -> None:
        self.entry = entry
        self.position = position
        self.upstream = False

    @property
    def ended(self) -> bool:
        """Whether there are no more rows."""
        return self.entry.body[self.position] != _ROW

    @property
    def rows(self) -> int:
        """How many its client has had."""
        at = count = 0
        while at < self.position:
            at += int.from_bytes(self.entry.body[at + 1 : at + HEADER], "big") + 1
            count += 1
        return count

    def take(self, rows: int) -> bytes:
        """The reply to the next Execute."""
        reply, self.position = cut(self.entry.body, self.position, rows)
        return reply
