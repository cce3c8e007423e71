"""The expansion of writes over foreign keys and inheritance (F1)."""

from __future__ import annotations

import pytest

from proxy.catalog import closure
from proxy.catalog.snapshot import CatalogSnapshot, ForeignKey, Relation


def written(catalog, oid, events):
    found = closure.written(catalog, oid, events)
    return None if found is None else set(found)


def catalog(keys=(), children=(), opaque=(), kinds=()):
    """Relations 1 to 9. A key is (parent, child, on update, on delete)."""
    kinds = dict(kinds)
    relations = {
        oid: Relation(oid, "s", f"t{oid}", kinds.get(oid, "r"), opaque_write=oid in opaque)
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
