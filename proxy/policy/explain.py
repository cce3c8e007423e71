"""The way to a decision: what a statement reads and writes, why, and what is in its way.

What lives here: the record that is kept while `policy.decide` decides, and what can be read
from it. What must not: another way to decide. `Record` stands in for the closures that are
kept with the catalog, follows the very steps of `policy.reach`, and is only asked afterwards;
the words for a step are looked up in the catalog, the steps are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy.catalog.snapshot import CatalogSnapshot, Effect, ForeignKey, Relation
from proxy.policy.reach import Node, Reach, Reached
from proxy.reasons import Reason
from proxy.sql.facts import Call, Name

if TYPE_CHECKING:
    from proxy.policy.code import Code
    from proxy.policy.rules import Subject

_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
    "c": "composite type",
    "t": "TOAST table",
    "i": "index",
}
_EVENTS = {
    "i": "INSERT into",
    "u": "UPDATE of",
    "d": "DELETE from",
    "t": "TRUNCATE of",
    "T": "TRUNCATE CASCADE of",
    "r": "REFRESH of",
}
_CALLED = {"p": "procedure", "a": "aggregate", "w": "window function"}


class Cause(NamedTuple):
    """Something that keeps a statement from being cached, or from being seen through.

    Attributes:
        what: the name or construct. path: how the statement comes to it, empty where it
            stands in the statement itself.
        opaque: it may do anything (F9).
    """

    reason: Reason
    what: str
    path: tuple[str, ...]
    opaque: bool


class Place(NamedTuple):
    """A relation that is read or written.

    Attributes:
        granule: OID of what is fenced and evicted for it. relation: `schema.name`.
        path: how the statement comes to it, it included.
    """

    granule: int
    relation: str
    path: tuple[str, ...]


class _Followed(Reach):
    """Closures that remember how they were come by."""

    def __init__(
        self,
        catalog: CatalogSnapshot,
        declared: Mapping[str, Any],
        *,
        wide: bool,
        watched: frozenset[str],
    ) -> None:
        super().__init__(catalog, declared, wide=wide, watched=watched)
        self.wide = wide
        self.starts: dict[Node, None] = {}
        self.texts: list[Code] = []  # judgements on the text itself
        self.bodies_judged: dict[Node, list[Code]] = {}
        self.folded: set[Node] = set()
        self._at: Node | None = None

    def judged(self, code: Code) -> Code:
        if self._at is None:
            self.texts.append(code)
        else:
            self.bodies_judged.setdefault(self._at, []).append(code)
        return code

    def of(self, nodes: Iterable[Node]) -> Reached:
        nodes = list(nodes)
        self.starts.update(dict.fromkeys(nodes))
        return super().of(nodes)

    def _step(self, node: Node) -> tuple[Reached, tuple[Node, ...]]:
        self._at = node
        try:
            return super()._step(node)
        finally:
            self._at = None

    def _folded(self, node: Node) -> Reached:
        self.folded.add(node)
        return super()._folded(node)

    def walk(self) -> Iterator[tuple[Node, Reached, tuple[Node, ...]]]:
        """Each node that was met, nearest first: what it does by itself, and the way to it."""
        ways: dict[Node, tuple[Node, ...]] = {node: (node,) for node in self.starts}
        pending = list(self.starts)
        for node in pending:
            step = self._steps.get(node)
            if step is None:
                continue
            own, following = step
            yield node, own, ways[node]
            for behind in following:
                if behind not in ways:
                    ways[behind] = (*ways[node], behind)
                    pending.append(behind)


class Record:
    """What is kept of one decision; a `policy.situation.Trace`.

    Attributes:
        subject: what the rules were asked about; None where they were not asked.
    """

    def __init__(self) -> None:
        self.subject: Subject | None = None
        self._reaches: list[_Followed] = []

    def reach(
        self,
        catalog: CatalogSnapshot,
        declared: Mapping[str, Any],
        *,
        wide: bool,
        watched: frozenset[str],
    ) -> Reach:
        """See `Trace.reach`."""
        for known in self._reaches:
            if known.catalog is catalog and known.wide == wide:
                return known
        made = _Followed(catalog, declared, wide=wide, watched=watched)
        self._reaches.append(made)
        return made

    def asked(self, subject: Subject) -> None:
        """See `Trace.asked`."""
        self.subject = subject

    def causes(self) -> list[Cause]:
        """All that speaks against an answer from memory, what is nearest first."""
        found: dict[Cause, None] = {}
        for reach in self._reaches:
            for code in reach.texts:
                found.update(dict.fromkeys(_causes(code, ())))
        for reach in self._reaches:
            for node, own, way in reach.walk():
                found.update(dict.fromkeys(_causes_at(reach, node, own, way)))
        return list(found)

    def reads(self) -> list[Place]:
        """The relations whose rows the answer is made of, by granule and name."""
        return self._places(lambda own: own.reads)

    def writes(self) -> list[Place]:
        """The relations that the statement can change."""
        return self._places(lambda own: own.writes)

    def _places(self, granules: Callable[[Reached], frozenset[int]]) -> list[Place]:
        found: dict[tuple[int, str], Place] = {}
        for reach in self._reaches:
            for node, own, way in reach.walk():
                for granule in granules(own):
                    name = reach.catalog.name_of(node.oid)
                    if (granule, name) not in found:
                        found[granule, name] = Place(granule, name, _words(reach.catalog, way))
        return sorted(found.values(), key=lambda place: (len(place.path), place.relation))


def _causes(code: Code, path: tuple[str, ...]) -> Iterator[Cause]:
    for effect, reason, what in code.causes:
        yield Cause(reason, describe(what, reason), path, effect is Effect.OPAQUE)


def _causes_at(
    reach: _Followed, node: Node, own: Reached, way: tuple[Node, ...]
) -> Iterator[Cause]:
    catalog = reach.catalog
    path = _words(catalog, way)
    inside = [cause for code in reach.bodies_judged.get(node, ()) for cause in _causes(code, path)]
    yield from inside
    if own.effect is not Effect.SAFE and own.reason is not Reason.NONE:
        told = any(cause.reason is own.reason for cause in inside)
        if not told:
            yield Cause(own.reason, path[-1], path[:-1], own.effect is Effect.OPAQUE)
    if node in reach.folded:
        yield Cause(Reason.STABLE_FUNCTION, path[-1], path[:-1], False)


def describe(what: object, reason: Reason = Reason.NONE) -> str:
    """A name or a construct, in words."""
    if isinstance(what, Call):
        return f"function {_name(what.function)}"
    if isinstance(what, Name):
        if not what.name:
            return "a type that the text does not tell"
        kind = "relation" if reason is Reason.UNKNOWN_RELATION else "type"
        return f"{kind} {_name(what)}"
    return str(what)


def _name(name: Name) -> str:
    return name.name if name.schema is None else f"{name.schema}.{name.name}"


def relation_words(relation: Relation) -> str:
    """`table public.t`."""
    return f"{_KINDS.get(relation.kind, 'relation')} {relation.qualified}"


def _words(catalog: CatalogSnapshot, way: tuple[Node, ...]) -> tuple[str, ...]:
    """A way as texts: the nodes, and between them how one leads to the next."""
    words: list[str] = []
    before: Node | None = None
    for node in way:
        if before is not None:
            link = _link(catalog, before, node)
            if link:
                words.append(link)
        words.append(_node(catalog, node))
        before = node
    return tuple(words)


def _node(catalog: CatalogSnapshot, node: Node) -> str:
    if node.kind == "f":
        routine = catalog.routines.get(node.oid)
        if routine is None:
            return f"function {node.oid}"
        return f"{_CALLED.get(routine.kind, 'function')} {routine.name}"
    relation = catalog.by_oid.get(node.oid)
    text = f"relation {node.oid}" if relation is None else relation_words(relation)
    return text if node.kind == "r" else f"{_EVENTS.get(node.event, 'change of')} {text}"


def _link(catalog: CatalogSnapshot, node: Node, behind: Node) -> str:
    """What makes `node` lead to `behind`; empty where its being a view or a function says so."""
    relation = catalog.by_oid.get(node.oid) if node.kind != "f" else None
    if relation is None:
        return ""
    name = relation.qualified
    if behind.kind == node.kind and behind.oid in catalog.descendants.get(node.oid, ()):
        return f"partition or child of {name}"
    if node.kind == "w":
        if behind.kind == "f":
            triggers = [
                trigger.name or "without a name"
                for trigger in relation.triggers
                if trigger.function == behind.oid and node.event.lower() in trigger.events
            ]
            if triggers:
                return f"trigger {' and '.join(triggers)} on {name}"
            if behind.oid in relation.runs:
                return f"default, check, index or WHEN of {name}"
        if behind.kind == "w":
            keys = [
                key.name or "without a name"
                for key in catalog.foreign_keys.get(node.oid, ())
                if key.child == behind.oid and _acts(key, node.event, behind.event)
            ]
            if keys:
                return f"foreign key {' and '.join(keys)} on {name}"
        for event, tree in relation.rules:
            if event == node.event and behind.oid in (*tree.functions, *tree.relations):
                return f"rule on {name}"
    for policies in (relation.policies, relation.checks):
        if policies is not None and behind.oid in (*policies.functions, *policies.relations):
            return f"row-level security of {name}"
    return ""


def _acts(key: ForeignKey, event: str, on_child: str) -> bool:
    """Whether a foreign key makes of `event` on its parent what happens to its child."""
    if event == "T":
        return on_child == "T"
    action = key.on_delete if event == "d" else key.on_update
    return action in ("c", "n", "d")
