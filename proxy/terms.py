"""On what terms an answer is kept: what a rule or a hint asks for, beside yes and no.

Plain data, made by `policy.rulefile` and `sql.hints`, carried by plans, fills and entries.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

from proxy import units


@dataclass(frozen=True, slots=True)
class Terms:
    """None stands for what nobody has said; infinity for `none`, no limit.

    Attributes:
        ttl: seconds that an answer is served, from its dispatch.
        max_age: the same as the contract's bound for writes of others, in place of the setting.
        stale: seconds beyond those in which it is still served while it is fetched anew.
        max_rows, max_bytes: larger answers are not stored.
        verify: share (0 to 1) of the hits that are compared with PostgreSQL's answer.
    """

    ttl: float | None = None
    max_age: float | None = None
    stale: float | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    verify: float | None = None

    def life(self, max_age: float | None) -> float:
        """Seconds that an answer lives, where the setting `max_age` is this; maybe infinity."""
        bound = self.max_age
        if bound is None:
            bound = inf if max_age is None else max_age
        return bound if self.ttl is None else min(self.ttl, bound)

    def over(self, other: Terms | None) -> Terms:
        """These, and the other ones where these say nothing."""
        if other is None:
            return self
        values = {}
        for field in fields(self):
            mine = getattr(self, field.name)
            values[field.name] = getattr(other, field.name) if mine is None else mine
        return Terms(**values)

    def items(self) -> list[tuple[str, str]]:
        """What they say, in the words of the configuration file."""
        found = []
        for name, word, text in (
            ("ttl", "ttl", units.duration_text),
            ("max_age", "max_age", units.duration_text),
            ("stale", "stale_while_revalidate", units.duration_text),
            ("max_rows", "max_rows", str),
            ("max_bytes", "max_bytes", units.size_text),
            ("verify", "verify", units.share_text),
        ):
            value = getattr(self, name)
            if value is not None:
                found.append((word, text(value)))
        return found
