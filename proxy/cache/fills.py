"""A fill: an answer that is recorded while it streams to its client.

Invariant F5. The counters are recorded before dispatch; the answer is admitted
only after ReadyForQuery, if it is complete, free of errors and notices, small
enough, and the counters are unchanged and idle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.cache.fences import Board, Granule
from proxy.cache.store import Entry, Key, Store
from proxy.tally import Shape
from proxy.terms import Terms
from proxy.wire import messages

# RowDescription is kept apart, since only some requests ask for it.
_DESCRIPTION = ord("T")
_NO_DATA = ord("n")
# ParseComplete, BindComplete, CloseComplete: made afresh for each reply.
_ACKNOWLEDGEMENTS = frozenset(b"123")
_BODY = frozenset(b"DC")
_SUSPENDED = ord("s")
# NotificationResponse and ParameterStatus pass on and are never stored.
_PASSING = frozenset(b"AS")


class Fill:
    """Records one answer.

    Attributes:
        rejected: the cause, as soon as it cannot be admitted.
        doomed: called at that moment, if set.
        rows: limit of the Execute that is recorded; 0 for none. A limited answer is whole
            if the portal ends there, see `beyond`.
        shape: of the statement, for statistics.
        terms: on which the answer is kept; None for the usual ones.
    """

    __slots__ = (
        "_parts",
        "_size",
        "bodies",
        "complete",
        "counters",
        "description",
        "dispatched",
        "doomed",
        "expires",
        "granules",
        "key",
        "limit",
        "rejected",
        "rows",
        "shape",
        "slots",
        "terms",
    )

    def __init__(
        self,
        key: Key,
        granules: tuple[Granule, ...],
        slots: tuple[int, ...],
        counters: tuple[int, ...],
        *,
        dispatched: float,
        expires: float,
        limit: int,
        bodies: bool = False,
        rows: int = 0,
        shape: Shape | None = None,
        terms: Terms | None = None,
    ) -> None:
        self.key = key
        self.shape = shape
        self.terms = terms
        self.rows = rows
        self.bodies = bodies
        self.granules = granules
        self.slots = slots
        self.counters = counters
        self.dispatched = dispatched
        self.expires = expires
        self.limit = limit
        self.rejected: str | None = None
        self.doomed: Callable[[], None] | None = None
        self.complete = False
        self.description: bytes | None = None
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes recorded so far."""
        return self._size

    @property
    def body(self) -> bytes:
        """Rows and CommandComplete, as far as they were recorded."""
        return b"".join(self._parts)

    def begin(self, kind: int, size: int) -> bool:
        """A message of type `kind` and `size` bytes begins; tell whether its bytes are wanted."""
        if self.rejected is not None:
            return False
        if kind in _BODY:
            if self.complete:
                self.reject("protocol")
                return False
            self._size += size
            if self._size > self.limit:
                self.reject("too_large")
                return False
            self.complete = kind == 0x43
            return True
        if kind == _DESCRIPTION or kind == _NO_DATA:
            if self.description is not None or self._parts:
                self.reject("protocol")
                return False
            self._size += size
            self.description = b""
            return True
        if kind in _ACKNOWLEDGEMENTS or kind in _PASSING:
            return False
        if kind == _SUSPENDED and self.rows and not self.complete:
            return False
        # ErrorResponse, NoticeResponse, CopyOut..., PortalSuspended, unknown messages.
        self.reject("error" if kind == 0x45 else "notice" if kind == 0x4E else "message")
        return False

    def beyond(self, kind: int) -> None:
        """A message of type `kind` answers the further Execute behind the limited one.

        If that finds no row, the rows so far are the whole answer, and its tag is known.
        """
        if kind == 0x44:
            self.reject("row_limit")
        elif kind == 0x43:
            if not self.complete and self.rejected is None:
                self.complete = True
                self._parts.append(messages.command_complete(b"SELECT %d" % self.rows))
        elif kind not in _PASSING:
            self.reject("error" if kind == 0x45 else "notice" if kind == 0x4E else "message")

    def add(self, kind: int, data: bytes) -> None:
        """Bytes of a message that `begin` wanted, whole or in pieces."""
        if self.rejected is None:
            if kind == _DESCRIPTION or kind == _NO_DATA:
                self.description = (self.description or b"") + data
            else:
                self._parts.append(data)

    def reject(self, cause: str) -> None:
        """Give up: the client gets its answer, the store does not."""
        if self.rejected is None:
            self.rejected = cause
            if self.doomed is not None:
                self.doomed()
        self._parts.clear()

    def admit(self, board: Board, store: Store, now: float) -> Entry | None:
        """At ReadyForQuery: store the answer if it is still the present one (F5)."""
        if self.rejected is None:
            if not self.complete:
                self.reject("incomplete")
            elif not board.holds(self.slots, self.counters):
                self.reject("fenced")
        if self.rejected is not None:
            return None
        entry = Entry(
            self.key,
            self.description,
            self.body,
            self.granules,
            self.counters,
            filled=self.dispatched,
            expires=self.expires,
            seconds=now - self.dispatched,
            slots=self.slots,
            bodies=self.bodies,
            shape=self.shape,
            terms=self.terms,
        )
        store.now = now
        if not store.put(entry):
            self.reject("too_large")
            return None
        return entry


class FewRows(Fill):
    """A fill of an answer that is stored only if it has at most `terms.max_rows` rows."""

    __slots__ = ("_left",)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        most = None if self.terms is None else self.terms.max_rows
        self._left = float("inf") if most is None else most

    def begin(self, kind: int, size: int) -> bool:
        """See `Fill.begin`."""
        if kind == 0x44:
            self._left -= 1
            if self._left < 0:
                self.reject("too_many_rows")
        return super().begin(kind, size)
