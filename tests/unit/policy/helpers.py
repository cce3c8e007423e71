"""Decisions on the sample catalog, in one call."""

from __future__ import annotations

from proxy.catalog.snapshot import CatalogSnapshot
from proxy.policy.decide import decide
from proxy.policy.plan import Flag, Plan
from proxy.policy.rules import Rules
from proxy.policy.situation import Situation
from proxy.sql.analyse import analyse
from tests.unit.catalog.sample import PATH, SAMPLE

NO_RULES = Rules(())


def plan(
    text: str,
    *,
    catalog: CatalogSnapshot | None = SAMPLE,
    path: tuple[str, ...] | None = PATH,
    rules=NO_RULES,
    watched: frozenset[str] = frozenset(),
) -> Plan:
    situation = Situation("shop", "alice", path, catalog, rules, watched=watched)
    return decide(analyse(text), situation)


def flags(plan: Plan) -> set[str]:
    """Names of the single flags of a plan."""
    return {
        name
        for name, value in vars(Flag).items()
        if name.isupper() and name != "DETERMINISTIC" and value and plan.flags & value
    }


def names(plan: Plan, catalog: CatalogSnapshot = SAMPLE) -> set[str]:
    """Names of the relations in a plan's closure, without `public.`."""
    return {catalog.name_of(oid).removeprefix("public.") for oid in plan.closure.relations}


OPAQUE = {"MAY_COMMIT", "SETTINGS", "PATH", "STATEMENTS", "OPAQUE"}
