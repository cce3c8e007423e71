"""Single faults in the closure code, each of which the generator has to find.

A fault makes Howdah forget one of the ways in which a write reaches an answer. It is
applied in a Howdah that is being started (`launcher.py`); what it changes must still
be there, or the start fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.policy import decide, reach
from proxy.policy.reach import NOTHING_REACHED, Node, Reach, Reached
from proxy.sql import walk
from tests.mutations.patching import replace, rewrite

FAULTS: dict[str, Callable[[], None]] = {}


def fault(change: Callable[[], None]) -> Callable[[], None]:
    """Enter a fault under its name; its docstring says what is forgotten."""
    FAULTS[change.__name__.replace("_", "-")] = change
    return change


def _without(kinds: str) -> Callable[[Any], Any]:
    """A step of the walk that does not go on to nodes of these kinds."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(self: Reach, *arguments: Any) -> tuple[Reached, tuple[Node, ...]]:
            own, following = original(self, *arguments)
            return own, tuple(node for node in following if node.kind not in kinds)

        return step

    return make


# --- triggers, rules, keys -----------------------------------------------------


@fault
def triggers() -> None:
    """No trigger fires."""
    replace(reach, "_fires", lambda original: lambda trigger, event: False)


@fault
def deferred_triggers() -> None:
    """Nothing runs at COMMIT."""
    replace(
        reach,
        "_fires",
        lambda original: lambda trigger, event: not trigger.deferrable and original(trigger, event),
    )


@fault
def instead_of_triggers() -> None:
    """Triggers of views do not fire."""
    rewrite(
        Reach,
        "_changed",
        "if _fires(trigger, event)",
        "if relation.kind != 'v' and _fires(trigger, event)",
    )


@fault
def rules() -> None:
    """Rules do nothing."""
    rewrite(Reach, "_changed", "for on, tree in relation.rules", "for on, tree in ()")


@fault
def foreign_keys() -> None:
    """ON DELETE and ON UPDATE do nothing."""
    replace(
        Reach,
        "_referencing",
        lambda original: lambda self, node: original(self, node) if node.event == "T" else [],
    )


@fault
def truncate_cascade() -> None:
    """TRUNCATE ... CASCADE takes only the table that it names."""
    replace(
        Reach,
        "_referencing",
        lambda original: lambda self, node: [] if node.event == "T" else original(self, node),
    )


@fault
def defaults() -> None:
    """Column defaults run nothing."""
    rewrite(Reach, "_changed", "for oid in relation.runs", "for oid in ()")


# --- relations -----------------------------------------------------------------


@fault
def views() -> None:
    """A view is a relation of its own, whatever it selects from."""
    rewrite(
        Reach,
        "_read",
        "return _both(Reached(effect, refusal), own), following",
        "return Reached(effect, refusal, reads=frozenset((relation.oid,))), ()",
    )


@fault
def updatable_views() -> None:
    """A write to a view stays there."""
    rewrite(Reach, "_changed", "for oid in relation.tree.relations", "for oid in ()")


@fault
def families() -> None:
    """Partitions and inheritance children have nothing to do with their parents."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        def start(self: Reach, catalog: Any, *more: Any, **options: Any) -> None:
            original(self, catalog, *more, **options)
            catalog.descendants.clear()
            for relation in catalog.by_oid.values():
                object.__setattr__(relation, "root", relation.oid)

        return start

    replace(Reach, "__init__", make)


@fault
def refresh() -> None:
    """REFRESH MATERIALIZED VIEW changes nothing."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def changed(self: Reach, node: Node, relation: Any) -> Any:
            if node.event == "r":
                return NOTHING_REACHED, ()
            return original(self, node, relation)

        return changed

    replace(Reach, "_changed", make)


# --- code ----------------------------------------------------------------------


@fault
def function_writes() -> None:
    """Functions, procedures and blocks write nothing."""
    replace(Reach, "_stated", _without("w"))
    replace(Reach, "_performed", _without("w"))


@fault
def function_reads() -> None:
    """Functions read nothing."""
    replace(Reach, "_performed", _without("r"))


@fault
def nested_calls() -> None:
    """Functions call no others."""
    replace(Reach, "_performed", _without("f"))


@fault
def inner_commits() -> None:
    """A CALL or DO that fails has changed nothing, even after a COMMIT inside (F3)."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def performs(code: Any, **options: Any) -> Any:
            code.commits = False
            return original(code, **{**options, "plain": True})

        return performs

    replace(decide, "_performs", make)


@fault
def support_functions() -> None:
    """Aggregates run nothing."""
    rewrite(Reach, "_called", "for oid in routine.support", "for oid in ()")


# --- statements ------------------------------------------------------------------


@fault
def modifying_ctes() -> None:
    """What stands in WITH writes nothing."""

    def make(original: Callable[..., None]) -> Callable[..., None]:
        def clause(self: walk.Walker, node: Any) -> None:
            before = list(self.targets)
            original(self, node)
            self.targets[:] = before

        return clause

    replace(walk.Walker, "_with", make)
