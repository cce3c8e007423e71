"""Who is written when a relation is written: foreign keys and inheritance.

What lives here: the expansion of one write to all relations it can change.
What must not: names and statements. Followed: ri_triggers.c (ON UPDATE and ON
DELETE actions are themselves updates and deletes of the child) and the rule
that DML on a parent reaches its inheritance children and partitions.
"""

from __future__ import annotations

from proxy.catalog.snapshot import CatalogSnapshot

_DELETES = ("c",)
_UPDATES = ("c", "n", "d")


def written(catalog: CatalogSnapshot, oid: int, events: str) -> frozenset[int] | None:
    """The relations that a write can change.

    Args:
        catalog: the schema.
        oid: the relation that the statement names.
        events: of 'i', 'u', 'd', 't' (TRUNCATE) and 'T' (TRUNCATE CASCADE).

    Returns:
        OIDs, or `None` where code runs that cannot be seen through.
    """
    done: set[tuple[int, str]] = set()
    pending = [(oid, event) for event in events or "i"]
    while pending:
        step = pending.pop()
        if step in done:
            continue
        done.add(step)
        current, event = step
        relation = catalog.by_oid.get(current)
        if relation is None or relation.opaque_write:
            return None
        for child in catalog.descendants.get(current, ()):
            pending.append((child, event))
            if event == "u" and relation.kind == "p":
                # A row that moves between partitions is deleted from one, inserted in another.
                pending += [(child, "d"), (child, "i")]
        for key in catalog.foreign_keys.get(current, ()):
            if event == "T":
                pending.append((key.child, "T"))
            elif event == "d" and key.on_delete in _DELETES:
                pending.append((key.child, "d"))
            elif (event == "d" and key.on_delete in _UPDATES) or (
                event == "u" and key.on_update in _UPDATES
            ):
                pending.append((key.child, "u"))
    return frozenset(oid for oid, _ in done)
