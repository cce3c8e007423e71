"""The statement log: what each session runs, and what has become of it.

What lives here: listening to a session, and the lines. What must not: how values are
shown, see `admin.overheard`. A session that nobody listens to does not pay for it: the
listener puts itself in the way of the methods that it wants to hear.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from proxy.admin.overheard import Overheard
from proxy.net.logs import CLIENT_IN, CLIENT_OUT, UPSTREAM_IN, ConnectionLog
from proxy.tally import Shape

if TYPE_CHECKING:
    from proxy.session.core import Session


class StatementLog:
    """What `log_statements` and `log_parameters` ask for.

    Attributes:
        hits: answers from memory are logged, too.
        values: what clients send is logged as they send it.
    """

    def __init__(self, *, hits: bool, values: bool) -> None:
        self.hits = hits
        self.values = values

    def listen(self, session: Session, log: ConnectionLog) -> None:
        """Log what `session` runs from now on."""
        _Listener(session, log, self)


class _Listener:
    def __init__(self, session: Session, log: ConnectionLog, wanted: StatementLog) -> None:
        self._session = session
        self._log = log
        self._again = False
        session.teller = self._forwarded
        if wanted.hits:
            self._after_hit = session.after_hit
            session.after_hit = self._hit  # type: ignore[method-assign]
        if wanted.values:
            self._overheard = Overheard()
            self._from_client, self._wake = session.from_client, session.wake
            session.from_client = self._heard  # type: ignore[method-assign]
            session.wake = self._woken  # type: ignore[method-assign]

    def _forwarded(
        self, outcome: str, reason: str, shape: Shape, seconds: float, failed: bool
    ) -> None:
        self._say(UPSTREAM_IN, outcome, reason, shape, seconds, failed)

    def _hit(self, bind: bytes) -> bytes:
        ready = self._after_hit(bind)
        session = self._session
        if session.served is not None:
            self._say(CLIENT_OUT, "hit", "", session.served, monotonic() - session.now, False)
        return ready

    def _heard(self, data: bytes, now: float) -> None:
        if not self._again:
            for line in self._overheard.lines(data):
                self._log.info("%s", line, extra={"direction": CLIENT_IN})
        self._from_client(data, now)

    def _woken(self, now: float, *, late: bool = False) -> None:
        # What was held comes in a second time.
        self._again = True
        try:
            self._wake(now, late=late)
        finally:
            self._again = False

    def _say(
        self, direction: str, outcome: str, reason: str, shape: Shape, seconds: float, failed: bool
    ) -> None:
        words = [outcome, reason] if reason else [outcome]
        if failed:
            words.append("error")
        words.append(f"{seconds * 1000:.3f} ms")
        fields = {
            "outcome": outcome,
            "reason": reason,
            "failed": failed,
            "seconds": round(seconds, 6),
            "query": shape.id,
            "statement": shape.text,
        }
        self._log.info(
            "%s %s",
            " ".join(words),
            # Texts that are not read have one word for both.
            shape.id if shape.id == shape.text else f"{shape.id} {shape.text}",
            extra={"direction": direction, "fields": fields},
        )
