"""What a decision depends on beside the text: the input type of `policy.decide`.

What lives here: `Situation` and the shape of rules. What must not: decisions.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.catalog.snapshot import CatalogSnapshot


class Verdict(Protocol):
    """What the rules say about one read."""

    @property
    def cache(self) -> bool | None: ...
    @property
    def ttl(self) -> float | None: ...
    @property
    def rule(self) -> str: ...


class Rules(Protocol):
    """The part of `policy.rules.Rules` that decisions use."""

    @property
    def declared(self) -> dict[str, Any]: ...

    def verdict(
        self, *, database: str, role: str, relations: Collection[str], text: str
    ) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Situation:
    """Who asks, and what names mean to them.

    Attributes:
        database, role: names, for rules.
        search_path: effective schemas in order, as `current_schemas(true)` gives
            them; `None` where it is not known, so that any schema counts.
        catalog: the schema as it stands; `None` while it is not loaded.
        rules: the rules in force.
        watched: names, in lower case, of settings whose values are in the key because
            answers depend on them by name.
        wide: names resolve in any schema, also where functions set a search_path.
    """

    database: str
    role: str
    search_path: tuple[str, ...] | None
    catalog: CatalogSnapshot | None
    rules: Rules
    wide: bool = False
    watched: frozenset[str] = frozenset()
