"""Prepared statements at SQL level: what EXECUTE runs.

What lives here: the texts of PREPARE that a session has been seen to plan, by name.
What must not: plans; they are made anew from the texts, since the schema may have
changed. A name stands for the union of all texts that it was given, since nobody
looks whether a PREPARE or DEALLOCATE succeeded. Whatever may prepare statements
unseen makes every name unknown (F9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from proxy.policy.plan import Flag, Kind, Plan
from proxy.reasons import Reason

TEXTS = 8  # of one name
NAMES = 1000


class SqlPrepared:
    """The names of one session."""

    __slots__ = ("_known", "_taken")

    def __init__(self) -> None:
        self._known: dict[str, set[bytes]] | None = {}
        self._taken: set[bytes] = set()

    def take(self, name: bytes) -> None:
        """The protocol prepares a statement of that name: EXECUTE would run it."""
        if len(self._taken) < NAMES:
            self._taken.add(name)
        elif name not in self._taken:
            self._known = None

    def free(self, name: bytes) -> bool:
        """Whether no PREPARE can have given that name to a statement."""
        known = self._known
        return known is not None and name.decode("utf-8", "surrogateescape") not in known

    def lose(self) -> None:
        """Whether statements were closed is not known: any name may be taken."""
        self._known = None

    def prepare(self, names: Iterable[str], text: bytes) -> None:
        """Note a PREPARE of `names[0]`."""
        known = self._known
        if known is None:
            return
        for name in names:
            known.setdefault(name, set()).add(text)
            if len(known[name]) > TEXTS or len(known) > NAMES:
                self._known = None

    def forget(self, plan: Plan) -> None:
        """Something has changed prepared statements that is no PREPARE by itself."""
        if plan.flags & (Flag.OPAQUE | Flag.SEVERAL):
            self._known = None

    def execute(self, plan: Plan, planned: Callable[[bytes], Plan]) -> Plan:
        """The plan of an EXECUTE; `plan` itself where it is not known what runs.

        Args:
            plan: of the text, with `executes`.
            planned: makes the plan of a PREPARE's text.
        """
        name = plan.executes
        texts = None if self._known is None else self._known.get(name)
        if not texts or name.encode("utf-8", "surrogateescape") in self._taken:
            return plan
        found: Plan | None = None
        for text in texts:
            inner = planned(text).prepared
            if inner is None:
                return plan
            found = inner if found is None else _either(found, inner)
        assert found is not None
        kind = Kind.WRITE if found.closure else Kind.BYPASS
        reason = found.reason if found.kind is Kind.WRITE else Reason.PREPARED_SQL
        return replace(found, kind=kind, reason=reason)


def _either(one: Plan, other: Plan) -> Plan:
    flags = one.flags | other.flags
    if not one.flags & other.flags & Flag.PLAIN:
        flags &= ~Flag.PLAIN
    worse = max(one, other, key=lambda plan: (plan.kind is Kind.WRITE, plan.closure.scope))
    dropped = None if one.dropped is None or other.dropped is None else one.dropped + other.dropped
    return replace(
        worse,
        closure=one.closure | other.closure,
        flags=flags,
        dropped=dropped,
        bodies=one.bodies or other.bodies,
        mixes=one.mixes or other.mixes,
    )
