"""What reading, writing and calling reach, on catalogs made by hand (F1, F9, K5)."""

from __future__ import annotations

import pytest

from proxy.catalog.snapshot import (
    CatalogSnapshot,
    Effect,
    ForeignKey,
    Label,
    Relation,
    Routine,
    Tree,
    Trigger,
)
from proxy.policy import reach
from proxy.policy.reach import Declared, Node, Reach, reach_of
from proxy.reasons import Reason


def written(catalog, oid, events):
    found = Reach(catalog, {}).written(oid, events, None)
    return None if found.effect is Effect.OPAQUE else set(found.writes)


def catalog(keys=(), children=(), opaque=(), kinds=()):
    """Relations 1 to 9. A key is (parent, child, on update, on delete)."""
    kinds = dict(kinds)
    relations = {
        oid: Relation(
            oid, "s", f"t{oid}", kinds.get(oid, "r"), opaque_write=oid in opaque, root=oid
        )
        for oid in range(1, 10)
    }
    foreign: dict[int, list[ForeignKey]] = {}
    below: dict[int, list[int]] = {}
    for parent, child, update, delete in keys:
        foreign.setdefault(parent, []).append(ForeignKey(child, update, delete))
    for parent, child in children:
        below.setdefault(parent, []).append(child)
    return CatalogSnapshot(
        by_oid=relations,
        foreign_keys={oid: tuple(found) for oid, found in foreign.items()},
        descendants={oid: tuple(found) for oid, found in below.items()},
    )


@pytest.mark.parametrize(
    ("action", "deleted", "updated"),
    [
        ("a", {1}, {1}),  # NO ACTION
        ("r", {1}, {1}),  # RESTRICT
        ("c", {1, 2}, {1, 2}),  # CASCADE
        ("n", {1, 2}, {1, 2}),  # SET NULL
        ("d", {1, 2}, {1, 2}),  # SET DEFAULT
    ],
)
def test_actions(action, deleted, updated):
    assert written(catalog([(1, 2, "a", action)]), 1, "d") == deleted
    assert written(catalog([(1, 2, action, "a")]), 1, "u") == updated
    assert written(catalog([(1, 2, action, action)]), 1, "i") == {1}
    assert written(catalog([(1, 2, "a", action)]), 1, "u") == {1}
    assert written(catalog([(1, 2, action, action)]), 2, "d") == {2}


def test_chains_follow_the_kind_of_change():
    """A deleted child deletes on; a child that is set to NULL is updated."""
    chain = [(1, 2, "a", "c"), (2, 3, "a", "n"), (3, 4, "c", "a")]
    assert written(catalog(chain), 1, "d") == {1, 2, 3, 4}
    assert written(catalog([(1, 2, "a", "n"), (2, 3, "a", "c")]), 1, "d") == {1, 2}
    assert written(catalog([(1, 2, "a", "n"), (2, 3, "c", "a")]), 1, "d") == {1, 2, 3}


def test_cycles_end():
    assert written(catalog([(1, 1, "c", "c"), (1, 2, "c", "c"), (2, 1, "c", "c")]), 1, "ud") == {
        1,
        2,
    }


def test_truncate():
    keys = [(1, 2, "a", "a"), (2, 3, "a", "a")]
    assert written(catalog(keys), 1, "t") == {1}
    assert written(catalog(keys), 1, "T") == {1, 2, 3}


def test_inheritance():
    """DML on a parent reaches its children; rows may move between partitions."""
    tree = [(1, 2), (1, 3), (3, 4)]
    assert written(catalog(children=tree), 1, "u") == {1, 2, 3, 4}
    assert written(catalog(children=tree), 3, "i") == {3, 4}
    moving = catalog([(2, 5, "a", "c")], tree, kinds=[(1, "p")])
    assert written(moving, 1, "u") == {1, 2, 3, 4, 5}


def test_opaque_relations():
    """F9: code that cannot be seen through, anywhere on the way."""
    keys = [(1, 2, "a", "c")]
    assert written(catalog(keys, opaque=[1]), 1, "i") is None
    assert written(catalog(keys, opaque=[2]), 1, "d") is None
    assert written(catalog(keys, opaque=[2]), 1, "i") == {1}
    assert written(catalog(children=[(1, 2)], opaque=[2]), 1, "i") is None
    assert written(catalog(keys), 77, "i") is None


def test_merge_that_does_nothing_still_counts():
    assert written(catalog(), 1, "") == {1}


def reached(relations=(), routines=(), below=(), keys=(), node=None):
    """What a node reaches in a catalog of these relations and functions."""
    snapshot = CatalogSnapshot(
        by_oid={relation.oid: relation for relation in relations},
        relations={"s": {relation.name: relation for relation in relations}},
        routines=dict(routines),
        descendants=dict(below),
        foreign_keys=dict(keys),
    )
    return Reach(snapshot, {}).of([node])


def table(oid, **more):
    return Relation(oid, "s", f"t{oid}", **more)


SAFE_FUNCTION = Routine("s.safe", Label(Effect.SAFE))
HARMLESS_FUNCTION = Routine("s.harmless", Label(Effect.HARMLESS, Reason.CLOCK))
OPAQUE_FUNCTION = Routine("s.opaque", Label(Effect.OPAQUE, Reason.UNKNOWN_FUNCTION))


@pytest.mark.parametrize(
    ("event", "functions"),
    [("i", {1, 4}), ("u", {2, 4}), ("d", {3}), ("t", {5}), ("T", {5}), ("r", set())],
)
def test_triggers_fire_at_their_events(event, functions):
    """Each function is one of its own: it writes the table of its number."""
    triggers = tuple(
        Trigger(10 + number, events) for number, events in enumerate(("i", "u", "d", "iu", "t"), 1)
    )
    routines = {
        10 + number: Routine(
            f"s.f{number}",
            SAFE_FUNCTION.label,
            body=Tree((), (number,), writes=True),
            language="sql",
        )
        for number in range(1, 6)
    }
    tables = [table(number) for number in range(1, 6)]
    found = reached(
        [*tables, table(9, triggers=triggers)], routines, node=Node("w", 9, None, event)
    )
    assert found.writes == functions | {9}


def test_rules_act_at_their_events():
    rules = (("u", Tree((), (1,), writes=True)), ("d", Tree((7,), (2,))))
    relations = [table(1), table(2), table(9, rules=rules)]
    routines = {7: OPAQUE_FUNCTION}
    writes = {
        event: reached(relations, routines, node=Node("w", 9, None, event)) for event in "iud"
    }
    assert writes["i"].writes == {9}
    assert writes["u"].writes == {9, 1}
    assert writes["d"].effect is Effect.OPAQUE


def test_views_are_what_they_read():
    """And writing one is writing what it names, through any number of them."""
    relations = [
        table(1, root=5),
        table(2, kind="v", tree=Tree((7,), (1,))),
        table(3, kind="v", tree=Tree((), (2, 4))),
        table(4, kind="m", tree=Tree((), (1,))),
    ]
    found = reached(relations, {7: SAFE_FUNCTION}, node=Node("r", 3))
    assert (found.effect, found.reads, found.writes) == (Effect.SAFE, {5, 4}, set())
    found = reached(relations, {7: HARMLESS_FUNCTION}, node=Node("r", 3))
    assert (found.effect, found.reason, found.reads) == (Effect.HARMLESS, Reason.CLOCK, {5, 4})
    found = reached(relations, {7: SAFE_FUNCTION}, node=Node("w", 2, None, "i"))
    assert found.writes == {5}
    found = reached(relations, {7: SAFE_FUNCTION}, node=Node("w", 4, None, "r"))
    assert found.writes == {4}
    assert reached(relations, {}, node=Node("r", 3)).effect is Effect.OPAQUE
    assert reached([table(1, kind="v")], node=Node("r", 1)).effect is Effect.OPAQUE


def test_views_on_themselves_end():
    """PostgreSQL allows no such thing, but an older server may have stored it."""
    relations = [
        table(1, kind="v", tree=Tree((), (2,))),
        table(2, kind="v", tree=Tree((), (1, 3))),
        table(3),
    ]
    assert reached(relations, node=Node("r", 1)).reads == {3}


@pytest.mark.parametrize("refusal", [Reason.UNLOGGED, Reason.FOREIGN_TABLE, Reason.CLOCK])
def test_refused_relations_refuse_what_reads_them(refusal):
    relations = [
        table(1, refusal=refusal, root=1),
        table(2, root=1),
        table(3, kind="v", tree=Tree((), (2,))),
    ]
    for oid in (1, 2, 3):
        found = reached(relations, below={2: (1,)}, node=Node("r", oid))
        assert (found.effect, found.reason) == (Effect.HARMLESS, refusal)


def test_what_runs_when_rows_are_written_and_not_when_read():
    relations = [table(1, runs=(7,)), table(2, policies=Tree((7,)))]
    for routine, effect in ((OPAQUE_FUNCTION, Effect.OPAQUE), (SAFE_FUNCTION, Effect.SAFE)):
        routines = {7: routine}
        assert reached(relations, routines, node=Node("w", 1, None, "i")).effect is effect
        assert reached(relations, routines, node=Node("r", 1)).effect is Effect.SAFE
        assert reached(relations, routines, node=Node("w", 2, None, "d")).effect is effect
        assert reached(relations, routines, node=Node("r", 2)).effect is effect


def test_what_functions_are_made_of():
    """Support functions of an aggregate, defaults of arguments, settings of its own."""
    reading = Tree((), (1,))
    for routine, reads in (
        (Routine("s.f", OPAQUE_FUNCTION.label, kind="a", support=(8,)), {1}),
        (Routine("s.f", SAFE_FUNCTION.label, defaults=reading), {1}),
        (Routine("s.f", OPAQUE_FUNCTION.label, language="sql", body=reading), {1}),
        (Routine("s.f", OPAQUE_FUNCTION.label, language="sql", source="select * from t1"), {1}),
        (
            Routine(
                "s.f",
                OPAQUE_FUNCTION.label,
                language="sql",
                source="select * from s.t1",
                config=("search_path", "work_mem"),
                path=frozenset(),
                inherits=False,
            ),
            {1},
        ),
        (
            Routine("s.f", OPAQUE_FUNCTION.label, language="sql", body=reading, config=("role",)),
            None,
        ),
        (Routine("s.f", OPAQUE_FUNCTION.label, language="sql", source="select * from x"), None),
        (Routine("s.f", OPAQUE_FUNCTION.label), None),
    ):
        support = Routine("s.g", OPAQUE_FUNCTION.label, language="sql", body=reading)
        found = reached([table(1)], {7: routine, 8: support}, node=Node("f", 7))
        if reads is None:
            assert found.effect is Effect.OPAQUE, routine
        else:
            assert (found.effect, found.reads) == (Effect.SAFE, reads), routine
    assert reached(node=Node("f", 7)).effect is Effect.OPAQUE


@pytest.mark.parametrize("volatility", ["i", "s", "v"])
def test_immutable_functions_that_read(volatility):
    """Plans keep what they have read; also where they are behind others."""
    liar = Routine(
        "s.l", OPAQUE_FUNCTION.label, volatility=volatility, language="sql", body=Tree((8,), ())
    )
    reader = Routine(
        "s.r", OPAQUE_FUNCTION.label, volatility="s", language="sql", body=Tree((), (1,))
    )
    routines = {7: liar, 8: reader}
    view = table(2, kind="v", tree=Tree((7,), ()))
    for node in (Node("f", 7), Node("r", 2)):
        found = reached([table(1), view], routines, node=node)
        folded = volatility == "i"
        assert found.reads == {1}
        assert found.effect is (Effect.HARMLESS if folded else Effect.SAFE)
        assert found.reason is (Reason.STABLE_FUNCTION if folded else Reason.NONE)
    assert reached([table(1)], routines, node=Node("f", 8)).effect is Effect.SAFE


def test_results_are_kept_with_the_catalog_and_go_with_the_declarations():
    snapshot = CatalogSnapshot()
    declared: dict[str, Declared] = {}
    assert reach_of(snapshot, declared) is reach_of(snapshot, declared)
    assert reach_of(snapshot, {}) is not reach_of(snapshot, declared)
    assert reach_of(CatalogSnapshot(), declared) is not reach_of(snapshot, declared)


def test_a_closure_that_is_too_large_is_everything(monkeypatch):
    monkeypatch.setattr(reach, "NODE_LIMIT", 5)
    below = {oid: (oid + 1,) for oid in range(1, 9)}
    relations = [table(oid) for oid in range(1, 10)]
    found = reached(relations, below=below, node=Node("r", 1))
    assert (found.effect, found.reads) == (Effect.OPAQUE, set())
    assert reached(relations, below=below, node=Node("r", 6)).reads == {6, 7, 8, 9}
