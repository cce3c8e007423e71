"""How far the answer to a read is determined: what may differ between two right answers.

What lives here: the facts of `sql.orders` meet the catalog. What must not: the answers
themselves; `session.comparing` looks at those. Used where a stored answer has turned out
to differ from PostgreSQL's: a difference that PostgreSQL itself could make from one time
to the next proves nothing, any other one is a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from proxy.catalog.snapshot import CatalogSnapshot, Path, Relation
from proxy.sql.facts import Name
from proxy.sql.orders import Bag, Choice, Column, Sum, ordering

__all__ = ["Bag", "Column", "Order", "order_of"]

# Types without floats in them, by OID: int2, int4, int8, numeric, money, interval.
_EXACT = frozenset((20, 21, 23, 790, 1186, 1700))
_INTERVALS = frozenset((1186, 1187))  # interval and its array
_MOST_RELATIONS = 1000  # views in views


@dataclass(frozen=True, slots=True)
class Order:
    """What of an answer is certain.

    Attributes:
        total: the place of every row is.
        keys: output columns that the rows are sorted by: names, or places from 0.
        columns: what of each column is; None where all of it is in every column.
        limited: only some of the rows are given. limit: how many at most, if that is known.
        merges: values that are equal but look different may stand for each other.
        equal_texts: so may texts.
        intervals: intervals may be among them, whose looks tell nothing of their equality.
        loose: why nothing is certain; empty if something is.
    """

    total: bool = False
    keys: tuple[str | int, ...] = ()
    columns: tuple[Column, ...] | None = None
    limited: bool = False
    limit: int | None = None
    merges: bool = False
    equal_texts: bool = False
    intervals: bool = False
    loose: str = ""


def order_of(
    text: str, catalog: CatalogSnapshot | None, path: tuple[str, ...] | None, *, bodies: bool
) -> Order:
    """Say how far the answer to a read that may be cached is determined. Never raises.

    Args:
        path: effective schemas in order, as the session has them.
        bodies: functions in SQL or PL/pgSQL run for it, whose queries are not looked at.
    """
    found = ordering(text)
    if catalog is None:
        return Order(loose="catalog")
    judge = _Judge(catalog, path)
    relations = judge.reached(found.relations)
    loose = found.loose
    if bodies:
        loose = loose or "function"
    loose = loose or judge.loose(found.calls, relations)
    if not loose and not all(map(judge.certain, found.choices)):
        loose = "choice"
    if not loose and any(judge.floats(each, relations) for each in found.sums):
        loose = "float_sum"
    columns = found.columns
    merges = found.merges or any(relation.kind == "v" for relation in relations)
    if columns is not None:
        columns = tuple(judge.column(column, relations, merges=merges) for column in columns)
        if all(column.bag is Bag.PLAIN for column in columns):
            columns = None
    return Order(
        total=judge.certain(found.rows),
        keys=found.keys,
        columns=columns,
        limited=found.limited,
        limit=found.limit,
        merges=merges,
        equal_texts=catalog.equal_texts,
        intervals=any(not _INTERVALS.isdisjoint(each.columns.values()) for each in relations),
        loose=loose,
    )


class _Judge:
    """One statement under one catalog."""

    def __init__(self, catalog: CatalogSnapshot, path: Path) -> None:
        self._catalog = catalog
        self._path = path

    def reached(self, names: Iterable[Name]) -> list[Relation]:
        """What the names mean, with what views and policies read."""
        todo = [
            relation
            for schema, name in names
            for relation in self._catalog.find_relations(schema, name, self._path)
        ]
        seen: dict[int, Relation] = {}
        while todo and len(seen) < _MOST_RELATIONS:
            relation = todo.pop()
            if relation.oid in seen:
                continue
            seen[relation.oid] = relation
            for tree in (relation.tree if relation.kind == "v" else None, relation.policies):
                oids = () if tree is None else tree.relations
                todo += [self._catalog.by_oid[oid] for oid in oids if oid in self._catalog.by_oid]
        return list(seen.values())

    def loose(self, calls: Iterable[Name], relations: list[Relation]) -> str:
        """Whether views, policies or functions leave open what cannot be followed."""
        for relation in relations:
            for tree in (relation.tree if relation.kind == "v" else None, relation.policies):
                if tree is None:
                    continue
                if tree.chooses or any(map(self._gathers, tree.functions)):
                    return "view" if tree is relation.tree else "policy"
        for schema, name in calls:
            for function in self._catalog.find_functions(schema, name, self._path):
                if self._gathers(function.oid):
                    return "function"
        return ""

    def _gathers(self, oid: int) -> bool:
        """Whether it is an aggregate of somebody's own: what it makes of an order is not known."""
        routine = self._catalog.routines.get(oid) if oid else None
        return routine is not None and routine.kind == "a"

    def certain(self, choice: Choice) -> bool:
        """Whether an order leaves nothing open: a unique key is among what is sorted by."""
        if choice.sure:
            return True
        if choice.relation is None:
            return False
        found = self._catalog.find_relations(*choice.relation, self._path)
        if len(found) != 1:
            return False
        relation = found[0]
        if relation.kind != "p" and self._catalog.descendants.get(relation.oid):
            return False  # keys do not reach children
        keys = self._catalog.keys.get(relation.oid, ())
        return any(key <= choice.columns for key in keys)

    def floats(self, sum: Sum, relations: list[Relation]) -> bool:
        """Whether floats may be added up."""
        if sum.floats:
            return True
        for name in sum.columns:
            types = [relation.columns[name] for relation in relations if name in relation.columns]
            if not types or not _EXACT.issuperset(types):
                return True
        return False

    def column(self, column: Column, relations: list[Relation], *, merges: bool) -> Column:
        """What of a column is certain, its sums and choices considered."""
        bag = column.bag
        if (merges and column.looks) or not all(map(self.certain, column.choices)):
            bag = Bag.FREE
        elif any(self.floats(each, relations) for each in column.sums):
            bag = Bag.FLOAT if bag is Bag.PLAIN else Bag.FREE
        return replace(column, bag=bag, sums=(), choices=(), looks=False)
