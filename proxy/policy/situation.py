"""What a decision depends on beside the text: the input type of `policy.decide`.

What lives here: `Situation`. What must not: decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from proxy.catalog.snapshot import CatalogSnapshot
from proxy.policy.rules import Rules, Subject

if TYPE_CHECKING:
    from proxy.policy.reach import Reach


class Trace(Protocol):
    """Keeps the way to a decision, so that it can be explained. See `policy.explain`."""

    def reach(
        self,
        catalog: CatalogSnapshot,
        declared: Mapping[str, Any],
        *,
        wide: bool,
        watched: frozenset[str],
    ) -> Reach:
        """What is followed in place of the closures that are kept with the catalog."""

    def asked(self, subject: Subject) -> None:
        """The rules decide about this."""


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
        audience: of the session, see `policy.rules`.
        wide: names resolve in any schema, also where functions set a search_path.
        trace: keeps the way to the decision; None where nobody asks for it.
    """

    database: str
    role: str
    search_path: tuple[str, ...] | None
    catalog: CatalogSnapshot | None
    rules: Rules
    wide: bool = False
    watched: frozenset[str] = frozenset()
    audience: int = 0
    trace: Trace | None = None
