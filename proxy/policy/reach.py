"""What reading, writing and calling reach: closures over the catalog (F9, K5).

What lives here: the graph of relations, functions, triggers, rules and foreign keys
of one catalog, walked on demand, and what it all reads and writes. What must not:
the text of the client's statement (`policy.code`) and plans. Followed:
ri_triggers.c (actions of foreign keys are themselves updates and deletes of the
child), rewriteHandler.c (views and rules), the rule that DML on a parent reaches
its partitions, and that a body resolves its names when it runs.

A node is one step: a relation that is read, a relation that something happens to, or
a function that is called, each under a search_path. What a node does by itself is its
own effect; what it reaches is the union over all nodes behind it, so cycles need no
care. Results live as long as the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from proxy.catalog.builtins import HARMLESS_TRIGGERS
from proxy.catalog.harmless import HARMLESS_SETTINGS
from proxy.catalog.libraries import to_watch
from proxy.catalog.snapshot import (
    CatalogSnapshot,
    Effect,
    Label,
    Path,
    Relation,
    Routine,
    Tree,
    Trigger,
)
from proxy.policy.plan import Flag, both_flags
from proxy.reasons import Reason
from proxy.sql.bodies import plpgsql_body, sql_body
from proxy.sql.facts import Body

if TYPE_CHECKING:
    from proxy.policy.code import Code

NODE_LIMIT = 20_000  # of one closure; beyond that it counts as everything


class Declared(Protocol):
    """What a rule says about a function: relations as `schema.name`."""

    @property
    def reads(self) -> tuple[str, ...]: ...
    @property
    def writes(self) -> tuple[str, ...]: ...


class Node(NamedTuple):
    """`kind` is r (read `oid`), w (`event` happens to it) or f (call it)."""

    kind: str
    oid: int
    path: Path = None
    event: str = ""


@dataclass(frozen=True, slots=True)
class Reached:
    """What something does, with all that is behind it.

    Attributes:
        effect: the worst of it. reason: why its result cannot be cached; NONE if it can.
        flags: what it does to the session, see `Flag`.
        reads, writes: OIDs of granules.
        commits: it may end transactions by itself.
        bodies: functions in SQL or PL/pgSQL run, whose plans their session keeps.
        mixes: some run under settings that a function has set for itself.
        settings: names of settings that its result depends on and that are to be watched.
        asks: its result depends on some setting by name, or on who or where the session is.
    """

    effect: Effect = Effect.SAFE
    reason: Reason = Reason.NONE
    flags: int = Flag.NONE
    reads: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    commits: bool = False
    bodies: bool = False
    mixes: bool = False
    settings: frozenset[str] = frozenset()
    asks: bool = False


NOTHING_REACHED = Reached()
_KEEPS_PLANS = Reached(bodies=True)
_MIXES = Reached(Effect.HARMLESS, Reason.FUNCTIONS_STALE, bodies=True, mixes=True)
_UNKNOWN = Reached(Effect.OPAQUE, Reason.UNKNOWN_FUNCTION)
_UNKNOWN_RELATION = Reached(Effect.OPAQUE, Reason.UNKNOWN_RELATION)
_FOLDED = Reached(Effect.HARMLESS, Reason.STABLE_FUNCTION)
_ASKS = Reached(asks=True)
_ASKS_SESSION = Reached(Effect.HARMLESS, Reason.SESSION_FUNCTION, asks=True)
_Step = tuple[Reached, tuple[Node, ...]]

_DELETES = ("c",)
_UPDATES = ("c", "n", "d")


class Reach:
    """The closures of one catalog under one set of declarations.

    A wide one looks for names in all schemas, whatever search_path a function sets.
    `watched` are the names of settings that something depends on.
    """

    def __init__(
        self,
        catalog: CatalogSnapshot,
        declared: Mapping[str, Declared],
        *,
        wide: bool = False,
        watched: frozenset[str] = frozenset(),
        bodies: dict[int, Body | None] | None = None,
    ) -> None:
        self.catalog = catalog
        self.watched = watched
        self._wide = wide
        self._declared = declared
        self._steps: dict[Node, _Step] = {}
        self._results: dict[Node, Reached] = {}
        # What the catalog's bodies say, as far as they have been read.
        self.bodies: dict[int, Body | None] = {} if bodies is None else bodies

    def judged(self, code: Code) -> Code:
        """Told of each judgement that begins, on a text or a body; explanations keep them."""
        return code

    def of(self, nodes: Iterable[Node]) -> Reached:
        """The union of what several nodes reach."""
        found = NOTHING_REACHED
        for node in nodes:
            found = _both(found, self._result(node))
        return found

    def written(self, oid: int, events: str, path: Path) -> Reached:
        """What happens where `events` (of i, u, d, t, T, r) happen to a relation."""
        return self.of(Node("w", oid, path, event) for event in events or "i")

    def relations(self, nodes: Iterable[Node]) -> set[int]:
        """The relations that are read on the way: views, partitions and their children, too."""
        seen = set(nodes)
        pending = list(seen)
        while pending and len(seen) <= NODE_LIMIT:
            following = set(self._stepped(pending.pop())[1]) - seen
            seen |= following
            pending += following
        return {node.oid for node in seen if node.kind == "r"}

    def maintained(self) -> Reached:
        """What VACUUM, ANALYZE, REINDEX and CLUSTER run: the expressions of indexes."""
        return self.of(Node("f", oid) for oid in self.catalog.indexed)

    def _result(self, node: Node) -> Reached:
        known = self._results.get(node)
        if known is None:
            known = self._results[node] = self._walk(node)
        return known

    def _walk(self, start: Node) -> Reached:
        seen: dict[Node, bool] = {}  # node -> whether PostgreSQL folds what is there
        pending = [(start, False)]
        found = NOTHING_REACHED
        while pending:
            node, folded = pending.pop()
            folded = folded or (node.kind == "f" and self._folds(node.oid))
            known = seen.get(node)
            if known or known == folded:
                continue
            seen[node] = folded
            if len(seen) > NODE_LIMIT:
                return _UNKNOWN
            step = self._stepped(node)
            if known is None:
                found = _both(found, step[0])
            if folded and (step[0].reads or step[0].asks) and start.kind != "w":
                # It is folded into plans, which outlive what it has read.
                found = _both(found, self._folded(node))
            pending += [(following, folded) for following in step[1]]
        return found

    def _stepped(self, node: Node) -> _Step:
        step = self._steps.get(node)
        if step is None:
            step = self._steps[node] = self._step(node)
        return step

    def _folded(self, node: Node) -> Reached:
        return _FOLDED

    def _folds(self, oid: int) -> bool:
        """Whether PostgreSQL computes it while it plans, where arguments are constant."""
        routine = self.catalog.routines.get(oid)
        return routine is not None and routine.volatility == "i" and routine.kind == "f"

    def _step(self, node: Node) -> _Step:
        if node.kind == "f":
            return self._called(node)
        relation = self.catalog.by_oid.get(node.oid)
        if relation is None:
            return _UNKNOWN_RELATION, ()
        return self._read(node, relation) if node.kind == "r" else self._changed(node, relation)

    # Relations.

    def _read(self, node: Node, relation: Relation) -> _Step:
        if relation.opaque_read:
            return Reached(Effect.OPAQUE, relation.refusal or Reason.UNKNOWN_TYPE), ()
        refusal = relation.refusal
        effect = Effect.SAFE if refusal is Reason.NONE else Effect.HARMLESS
        if relation.kind == "v" and refusal is not Reason.SYSTEM_CATALOG:
            tree = relation.tree
            if tree is None:
                return Reached(Effect.OPAQUE, Reason.VIEW), ()
            own, following = self._queried(tree, node.path)
            return _both(Reached(effect, refusal), own), following
        reads = frozenset((relation.granule,)) if effect is Effect.SAFE else frozenset()
        own = Reached(effect, refusal, reads=reads)
        below = self.catalog.descendants.get(node.oid, ())
        nodes = [Node("r", child, node.path) for child in below]
        if relation.policies is not None:
            inner, following = self._queried(relation.policies, node.path)
            own = _both(own, inner)
            nodes += following
        return own, tuple(nodes)

    def _queried(self, tree: Tree, path: Path) -> _Step:
        """A stored query or expression."""
        if tree.opaque:
            return Reached(Effect.OPAQUE, tree.reason or Reason.UNKNOWN_TYPE), ()
        effect = Effect.SAFE if tree.reason is Reason.NONE else Effect.HARMLESS
        own = Reached(effect, tree.reason, Flag.LOCKS if tree.locks else Flag.NONE)
        if tree.asks:
            told = not tree.schema or schema_is_told(path)
            own = _both(_both(own, _ASKS if told else _ASKS_SESSION), self._settings(tree))
        nodes = [Node("f", oid, path) for oid in tree.functions]
        nodes += [Node("r", oid, path) for oid in tree.relations]
        if tree.writes:
            nodes += [Node("w", oid, path, event) for oid in tree.relations for event in "iud"]
        return own, tuple(nodes)

    def _settings(self, tree: Tree) -> Reached:
        return read_settings(tree.settings, self.catalog)

    def _changed(self, node: Node, relation: Relation) -> _Step:
        path, event = node.path, node.event
        if relation.opaque_write and not (event == "r" and relation.kind == "m"):
            return Reached(Effect.OPAQUE, Reason.WRITE_OPAQUE), ()
        nodes = [
            Node("f", trigger.function, None if trigger.deferrable else path)
            for trigger in relation.triggers
            if _fires(trigger, event)
        ]
        nodes += [Node("f", oid, path) for oid in relation.runs]
        own = NOTHING_REACHED
        trees = [tree for on, tree in relation.rules if on == event]
        trees += [tree for tree in (relation.policies, relation.checks) if tree is not None]
        if relation.kind == "m" and relation.tree is not None:
            # Maintenance runs under a search_path of its own since PostgreSQL 17.
            trees.append(relation.tree)
            path = None
        elif relation.kind == "v" and relation.tree is not None:
            trees.append(relation.tree)
            nodes += [Node("w", oid, path, event) for oid in relation.tree.relations]
        for tree in trees:
            inner, following = self._queried(tree, path)
            own = _both(own, inner)
            nodes += following
        if relation.kind != "v":
            own = _both(own, Reached(writes=frozenset((relation.granule,))))
        return own, (*nodes, *self._family(node, relation), *self._referencing(node))

    def _family(self, node: Node, relation: Relation) -> list[Node]:
        """Partitions and inheritance children, which DML on the parent reaches."""
        events = [node.event]
        if node.event == "u" and relation.kind == "p":
            # A row that moves between partitions is deleted from one, inserted in another.
            events += ["d", "i"]
        below = self.catalog.descendants.get(node.oid, ())
        return [Node("w", child, node.path, event) for child in below for event in events]

    def _referencing(self, node: Node) -> list[Node]:
        """What foreign keys do to the children, as their owners: in their search_path."""
        nodes = []
        event = node.event
        for key in self.catalog.foreign_keys.get(node.oid, ()):
            if event == "T":
                nodes.append(Node("w", key.child, node.path, "T"))
            elif event == "d" and key.on_delete in _DELETES:
                nodes.append(Node("w", key.child, None, "d"))
            elif (event == "d" and key.on_delete in _UPDATES) or (
                event == "u" and key.on_update in _UPDATES
            ):
                nodes.append(Node("w", key.child, None, "u"))
        return nodes

    # Functions.

    def _called(self, node: Node) -> _Step:
        routine = self.catalog.routines.get(node.oid)
        if routine is None:
            return _UNKNOWN, ()
        name = routine.name
        declared = self._declared.get(name) if self._declared else None
        if declared is not None:
            own, following = self._as_declared(declared)
            return _both(own, _KEEPS_PLANS if routine.language else own), following
        nodes: list[Node] = [Node("f", oid, node.path) for oid in routine.support]
        own = NOTHING_REACHED
        if routine.defaults is not None:
            own, following = self._queried(routine.defaults, node.path)
            nodes += following
        if routine.conversions.effect is not Effect.SAFE:
            own = _both(own, _labelled(routine.conversions))
        if routine.kind == "a":
            return own, tuple(nodes)
        if not routine.language:
            if name.removeprefix("pg_catalog.") in HARMLESS_TRIGGERS:
                return own, tuple(nodes)
            if name == "pg_catalog.current_schema" and not schema_is_told(node.path):
                own = _both(own, _ASKS_SESSION)
            return _both(own, _labelled(routine.label)), tuple(nodes)
        if not _KNOWN_CONFIG.issuperset(name.lower() for name in routine.config):
            return _UNKNOWN, ()
        inner, following = self._performed(routine, node)
        if self._imposes(routine, following):
            own = _both(own, _MIXES)
        return _both(_both(own, _KEEPS_PLANS), inner), (*nodes, *following)

    def _imposes(self, routine: Routine, following: Iterable[Node]) -> bool:
        """Whether its own settings are those under which others first run (K1)."""
        imposed = {name.lower() for name in routine.config} - HARMLESS_SETTINGS - {"search_path"}
        return bool(imposed) and not all(map(self._is_table, following))

    def _is_table(self, node: Node) -> bool:
        relation = self.catalog.by_oid.get(node.oid)
        return node.kind == "r" and relation is not None and relation.kind in ("r", "p", "m")

    def _as_declared(self, declared: Declared) -> _Step:
        nodes = []
        for names, kind, events in ((declared.reads, "r", ("",)), (declared.writes, "w", "iud")):
            for written in names:
                schema, _, name = written.rpartition(".")
                relation = self.catalog.relation(schema or "public", name)
                if relation is None:
                    return _UNKNOWN_RELATION, ()
                nodes += [Node(kind, relation.oid, None, event) for event in events]
        return NOTHING_REACHED, tuple(nodes)

    def _performed(self, routine: Routine, node: Node) -> _Step:
        """The body of a function."""
        path = self._path(routine, node.path)
        if routine.body is not None:
            return self._queried(routine.body, path)
        if node.oid not in self.bodies:
            self.bodies[node.oid] = _body(routine)
        body = self.bodies[node.oid]
        if body is None:
            return _UNKNOWN, ()
        return self._stated(body, path, routine)

    def _path(self, routine: Routine, caller: Path) -> Path:
        """Where the names in a body are looked for.

        In each schema of the path, not in the first that has the name: a plan that
        the function keeps does not notice a new object in front.
        """
        path = None if self._wide else caller if routine.inherits else routine.path
        if path is None:
            return None
        return frozenset(path) | self.catalog.temporary_schemas()

    def block(self, body: Body, path: Path) -> Reached:
        """What a DO block does."""
        wide = None if path is None else frozenset(path) | self.catalog.temporary_schemas()
        own, following = self._stated(body, wide, None)
        return _both(own, self.of(following))

    def _stated(self, body: Body, path: Path, routine: Routine | None) -> _Step:
        from proxy.policy.inner import judge_body  # it judges statements, which call functions

        code: Code = judge_body(body, self, path, routine)
        own = Reached(
            code.effect,
            code.reason,
            code.flags,
            commits=body.commits,
            settings=code.settings,
            asks=code.asks,
        )
        return own, tuple(code.nodes)


# Settings that a function may set for itself without making it opaque.
_KNOWN_CONFIG = frozenset(
    "search_path timezone datestyle intervalstyle extra_float_digits bytea_output xmlbinary "
    "xmloption work_mem maintenance_work_mem statement_timeout lock_timeout enable_seqscan "
    "enable_indexscan enable_bitmapscan enable_hashjoin enable_mergejoin enable_nestloop "
    "enable_sort jit plan_cache_mode client_min_messages log_min_messages "
    "log_min_duration_statement synchronous_commit random_page_cost".split()
)


def reach_of(
    catalog: CatalogSnapshot,
    declared: Mapping[str, Declared],
    *,
    wide: bool = False,
    watched: frozenset[str] = frozenset(),
) -> Reach:
    """The closures of a catalog; they are kept with it."""
    known = cast("Reach | None", catalog.memo.get(wide))
    if known is None or known._declared is not declared or known.watched != watched:
        bodies = None if known is None else known.bodies
        known = Reach(catalog, declared, wide=wide, watched=watched, bodies=bodies)
        catalog.memo[wide] = known
    return known


def schema_is_told(path: Path) -> bool:
    """Whether the key tells what current_schema is where names are looked for in `path`.

    A function may set a path that starts with its session's own temporary schema.
    """
    return path is not None and "pg_temp" not in path


def read_settings(names: Iterable[str], catalog: CatalogSnapshot) -> Reached:
    """What follows from reading settings of these plain names."""
    watched = [to_watch(name, catalog) for name in names]
    if None in watched:
        return _ASKS_SESSION
    return Reached(settings=frozenset(name for name in watched if name), asks=True)


def _body(routine: Routine) -> Body | None:
    if routine.language == "sql":
        return sql_body(routine.source)
    schema, _, name = routine.name.partition(".")
    returns = routine.returns
    return plpgsql_body(
        routine.source,
        name=name or schema,
        arguments=routine.arguments,
        returns=returns,
        trigger=returns == "trigger",
        procedure=routine.kind == "p",
    )


def _labelled(label: Label) -> Reached:
    flags = Flag.LOCKS if label.locks else Flag.NONE
    if label.settings:
        flags |= Flag.SETTINGS | Flag.PATH
    return Reached(label.effect, label.reason, flags, asks=label.asks)


def _fires(trigger: Trigger, event: str) -> bool:
    return event.lower() in trigger.events


def _both(one: Reached, other: Reached) -> Reached:
    if one is NOTHING_REACHED or one is other:
        return other
    if other is NOTHING_REACHED:
        return one
    reason = one.reason
    if reason is Reason.NONE or (other.effect > one.effect and other.reason is not Reason.NONE):
        reason = other.reason
    return Reached(
        max(one.effect, other.effect),
        reason,
        both_flags(one.flags, other.flags),
        one.reads | other.reads,
        one.writes | other.writes,
        one.commits or other.commits,
        one.bodies or other.bodies,
        one.mixes or other.mixes,
        one.settings | other.settings,
        one.asks or other.asks,
    )
