"""How far an answer is determined: texts, a catalog, and what is certain of the rows."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.catalog.snapshot import CatalogSnapshot, Function, Label, Relation, Routine, Tree
from proxy.policy.order import Bag, Order, order_of
from proxy.sql.orders import ordering

INT, TEXT, NUMERIC, FLOAT = 23, 25, 1700, 701
COLUMNS = {"id": INT, "name": TEXT, "price": NUMERIC, "weight": FLOAT, "city": TEXT}


def _relation(oid: int, name: str, **more: Any) -> Relation:
    return Relation(oid=oid, schema="public", name=name, columns=COLUMNS, **more)


TABLES = [
    _relation(1, "item"),
    _relation(2, "plain"),
    _relation(3, "parent"),
    _relation(4, "child"),
    _relation(5, "parts", kind="p"),
    _relation(6, "dear", kind="v", tree=Tree(relations=(1,))),
    _relation(7, "first", kind="v", tree=Tree(relations=(1,), chooses=True)),
    _relation(8, "above", kind="v", tree=Tree(relations=(7,))),
    _relation(9, "own", kind="v", tree=Tree(functions=(900,), relations=(1,))),
    _relation(10, "guarded", policies=Tree(relations=(1,), chooses=True)),
]
SAFE = Label(effect=0)  # type: ignore[arg-type]
CATALOG = CatalogSnapshot(
    relations={"public": {table.name: table for table in TABLES}},
    by_oid={table.oid: table for table in TABLES},
    functions={"public": {"gather": (Function(1, 1, SAFE, oid=900),)}},
    routines={900: Routine("public.gather", SAFE, kind="a")},
    descendants={3: (4,), 5: (4,)},
    keys={
        1: (frozenset(("id",)), frozenset(("city", "name"))),
        3: (frozenset(("id",)),),
        5: (frozenset(("id",)),),
    },
)


def order(text: str, *, bodies: bool = False) -> Order:
    return order_of(text, CATALOG, ("pg_catalog", "public"), bodies=bodies)


TOTAL = [
    "SELECT name FROM item ORDER BY id",
    "SELECT name FROM item i ORDER BY i.id DESC",
    "SELECT * FROM public.item ORDER BY price, id",
    "SELECT name FROM item ORDER BY city, name",
    "SELECT name FROM item WHERE city = 'x' ORDER BY name",
    "SELECT name FROM item WHERE city = $1 AND price > 3 ORDER BY name",
    "SELECT price FROM item WHERE id = 3 LIMIT 1",
    "SELECT price FROM item WHERE 3::int = id LIMIT 1",
    "SELECT id AS name FROM item ORDER BY name",  # the output name means the column id
    "SELECT upper(name), id FROM item ORDER BY 2",
    "SELECT name FROM parts ORDER BY id",
    "SELECT city, count(*) FROM plain GROUP BY city ORDER BY count(*), city",
    "SELECT city AS c, count(*) FROM plain GROUP BY 1 ORDER BY c",
]
NOT_TOTAL = [
    "SELECT name FROM item",
    "SELECT name FROM item ORDER BY name",
    "SELECT name FROM item WHERE city > 'x' ORDER BY name",
    "SELECT name FROM item WHERE city = 'x' OR price > 3 ORDER BY name",
    "SELECT name AS id FROM item ORDER BY id",  # the output name means the column name
    "SELECT (id / 2)::id FROM item ORDER BY id",  # so does an expression's own name
    "SELECT (weight).id FROM item ORDER BY id",
    "SELECT name FROM item ORDER BY -id",
    'SELECT name FROM item ORDER BY id COLLATE "C"',
    "SELECT name FROM item ORDER BY id USING <",
    "SELECT name FROM plain ORDER BY id",
    "SELECT name FROM parent ORDER BY id",  # children have their own keys, or none
    "SELECT i.name FROM item i, plain ORDER BY i.id",
    "SELECT i.name FROM item i JOIN plain USING (id) ORDER BY id",
    "SELECT DISTINCT name FROM item ORDER BY id",
    "SELECT unnest(array[name, city]) FROM item ORDER BY id",
    "SELECT mystery(name) FROM item ORDER BY id",
    "SELECT id FROM item UNION ALL SELECT id FROM item ORDER BY id",
    "WITH item AS (SELECT * FROM plain) SELECT * FROM item ORDER BY id",
    "SELECT id FROM item AS i (name, id) ORDER BY id",
    "SELECT name FROM dear ORDER BY id",
    "SELECT count(*) FROM plain GROUP BY city ORDER BY count(*)",
    "SELECT upper(city) AS city, count(*) FROM plain GROUP BY city ORDER BY city",
    "SELECT city, count(*) FROM plain GROUP BY GROUPING SETS ((city), ()) ORDER BY city",
    "SELECT name FROM (SELECT * FROM item) x ORDER BY id",
    "VALUES (2), (1) ORDER BY 1",
    "SELECT city, unnest(array_agg(id)) FROM item GROUP BY city ORDER BY city",
]


@pytest.mark.parametrize("text", TOTAL)
def test_a_unique_key_decides_the_order(text: str) -> None:
    assert order(text).total


@pytest.mark.parametrize("text", NOT_TOTAL)
def test_nothing_else_does(text: str) -> None:
    assert not order(text).total


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("SELECT id, name FROM item ORDER BY name, 1", ("name", 0)),
        ("SELECT i.id, i.name FROM item i ORDER BY i.name, price", (1, "price")),
        ("SELECT price + 1 FROM item ORDER BY price + 1", (0,)),
        ("SELECT price + 1 FROM item ORDER BY price + 2", ()),
        ("SELECT i.*, name FROM item i ORDER BY i.name, id", ("id",)),
        ("SELECT id FROM item UNION SELECT id FROM plain ORDER BY 1", (0,)),
        ("SELECT name FROM item", ()),
    ],
)
def test_sort_keys_that_can_be_seen(text: str, keys: tuple[str | int, ...]) -> None:
    assert order(text).keys == keys


@pytest.mark.parametrize(
    ("text", "loose"),
    [
        ("SELECT name FROM item LIMIT 3", ""),  # of the statement itself: `limited`
        ("SELECT * FROM (SELECT name FROM item LIMIT 3) x", "choice"),
        ("SELECT * FROM (SELECT name FROM item ORDER BY id LIMIT 3) x", ""),
        ("SELECT * FROM (SELECT name FROM item ORDER BY id FETCH FIRST 3 ROWS WITH TIES) x", ""),
        ("SELECT * FROM (SELECT name FROM plain ORDER BY id OFFSET 3) x", "choice"),
        ("SELECT name FROM item WHERE id IN (SELECT id FROM plain LIMIT 1)", "choice"),
        ("SELECT name FROM item WHERE EXISTS (SELECT FROM plain LIMIT 1)", ""),
        ("SELECT a.id FROM item a JOIN (SELECT id FROM plain LIMIT 1) b USING (id)", "choice"),
        ("WITH a AS (SELECT name FROM plain LIMIT 3) SELECT * FROM a", "choice"),
        ("SELECT DISTINCT ON (city) city, name FROM item ORDER BY city, id", ""),
        ("SELECT DISTINCT ON (city) city, name FROM item ORDER BY city", ""),  # `limited`
        ("SELECT * FROM (SELECT DISTINCT ON (city) name FROM item ORDER BY city) x", "choice"),
        ("SELECT * FROM (SELECT array_agg(name) FROM item) x", "aggregate"),
        ("SELECT *, (SELECT array_agg(name) FROM plain) FROM item", "aggregate"),
        ("SELECT city FROM item GROUP BY city HAVING sum(price) > 3", ""),
        ("SELECT city FROM item GROUP BY city HAVING sum(weight) > 3", "float_sum"),
        ("SELECT city FROM item GROUP BY city ORDER BY avg(weight)", "float_sum"),
        ("SELECT * FROM dear", ""),
        ("SELECT * FROM first", "view"),
        ("SELECT * FROM above", "view"),
        ("SELECT * FROM own", "view"),
        ("SELECT * FROM guarded", "policy"),
        ("SELECT gather(name) FROM item", "function"),
        ("SELECT 1; SELECT 2", "statement"),
        ("SELEC", "unread: ParseError"),
    ],
)
def test_what_leaves_everything_open(text: str, loose: str) -> None:
    assert order(text).loose == loose


@pytest.mark.parametrize(
    ("column", "bag"),
    [
        ("name", Bag.PLAIN),
        ("count(*)", Bag.PLAIN),
        ("sum(price)", Bag.PLAIN),
        ("sum(price * id)", Bag.PLAIN),
        ("sum(price::numeric) / 3", Bag.PLAIN),
        ("avg(weight)", Bag.FLOAT),
        ("sum(price * weight)", Bag.FLOAT),
        ("sum(price::float8)", Bag.FLOAT),
        ("sum(unheard_of)", Bag.FLOAT),
        ("sum(|/ id)", Bag.FLOAT),
        ("sum(id ^ 2)", Bag.FLOAT),
        ("sum(id + price * 2 % 5)", Bag.PLAIN),
        ("length(price::text)", Bag.PLAIN),
        ("corr(price, id)", Bag.FLOAT),
        ("round(sum(weight)::numeric, 2)", Bag.FLOAT),
        ("array_agg(name)", Bag.ARRAY),
        ("array_agg(DISTINCT name)", Bag.PLAIN),
        ("array_agg(name ORDER BY name)", Bag.PLAIN),
        ("array_agg(name ORDER BY id)", Bag.ARRAY),
        ("coalesce(array_agg(name), '{}')", Bag.ARRAY),
        ("array_agg(name)::text[]", Bag.ARRAY),
        ("array_to_string(array_agg(name), ',')", Bag.FREE),
        ("coalesce(json_agg(name), '[]'::json)", Bag.JSON),
        ("string_agg(name, ', ')", Bag.STRINGS),
        ("string_agg(name, $1)", Bag.STRINGS),
        ("string_agg(name, city)", Bag.FREE),
        ("jsonb_object_agg(name, id)", Bag.FREE),
        ("any_value(name)", Bag.FREE),
        ("array(SELECT name FROM plain)", Bag.ARRAY),
        ("array(SELECT name FROM plain ORDER BY name)", Bag.PLAIN),
        ("array(SELECT name FROM plain ORDER BY 1)", Bag.PLAIN),
        ("(SELECT name FROM plain LIMIT 1)", Bag.FREE),
        ("(SELECT name FROM item WHERE id = 4 LIMIT 1)", Bag.PLAIN),
        ("(SELECT sum(weight) FROM plain)", Bag.FLOAT),
        ("row_number() OVER (ORDER BY id)", Bag.PLAIN),
        ("row_number() OVER (ORDER BY name)", Bag.FREE),
        ("rank() OVER (ORDER BY name)", Bag.PLAIN),
        ("sum(price) OVER (ORDER BY name)", Bag.PLAIN),
        ("sum(price) OVER (ORDER BY name ROWS 2 PRECEDING)", Bag.FREE),
        ("sum(price) OVER (ORDER BY id ROWS 2 PRECEDING)", Bag.PLAIN),
        ("sum(weight) OVER (PARTITION BY city)", Bag.FLOAT),
        ("lag(name) OVER (PARTITION BY city ORDER BY name)", Bag.PLAIN),
        ("array_agg(name) OVER (PARTITION BY city)", Bag.FREE),
    ],
)
def test_what_of_a_column_is_certain(column: str, bag: Bag) -> None:
    found = order(f"SELECT {column}, id FROM item")
    assert found.loose == ""
    assert found.columns == (None if bag is Bag.PLAIN else found.columns)
    if found.columns is not None:
        assert [each.bag for each in found.columns] == [bag, Bag.PLAIN]
    else:
        assert bag is Bag.PLAIN


@pytest.mark.parametrize(
    "source",
    [
        "(SELECT weight AS id FROM item) x",
        "item JOIN (SELECT weight AS id FROM item) x USING (id)",
        "w",
        "item AS i (x, y, z, id)",
    ],
)
def test_names_of_columns_may_mean_something_else(source: str) -> None:
    text = "WITH w AS (SELECT weight AS id FROM item) SELECT sum(id) FROM {}"
    for found in (order(text.format(source)), order(f"SELECT (SELECT sum(id) FROM {source})")):
        assert found.columns is not None
        assert found.columns[0].bag is Bag.FLOAT
    assert order(text.format("item i JOIN plain USING (name)")).columns is None


def test_how_a_value_looks_is_open_where_one_stands_for_all() -> None:
    found = order("SELECT price, scale(price), length(price::text) FROM item GROUP BY price")
    assert found.columns is not None
    assert [column.bag for column in found.columns] == [Bag.PLAIN, Bag.FREE, Bag.FREE]


def test_a_named_window_counts_as_it_is_defined() -> None:
    text = "SELECT lag(price) OVER w FROM item WINDOW w AS (ORDER BY {})"
    assert order(text.format("id")).columns is None
    found = order(text.format("price")).columns
    assert found is not None
    assert found[0].bag is Bag.FREE
    text = "SELECT sum(price) OVER (w ORDER BY name ROWS 1 PRECEDING) FROM item WINDOW w AS ({})"
    assert order(text.format("PARTITION BY city")).columns is None
    assert order(text.format("PARTITION BY price")).columns is not None


@pytest.mark.parametrize(
    ("text", "limited", "limit"),
    [
        ("SELECT id FROM item LIMIT 3", True, 3),
        ("SELECT id FROM item LIMIT $1", True, None),
        ("SELECT id FROM item LIMIT 3 OFFSET 2", True, None),
        ("SELECT id FROM item LIMIT 3 OFFSET 0", True, None),
        ("SELECT id FROM item LIMIT ALL", False, None),
        ("SELECT id FROM item ORDER BY id FETCH FIRST 3 ROWS WITH TIES", False, 3),
        ("SELECT id FROM item", False, None),
        ("SELECT DISTINCT ON (city) name FROM item ORDER BY city", True, None),
        ("SELECT DISTINCT ON (city) name FROM item ORDER BY city LIMIT 3", True, None),
    ],
)
def test_limits(text: str, limited: bool, limit: int | None) -> None:
    found = order(text)
    assert (found.limited, found.limit) == (limited, limit)


@pytest.mark.parametrize(
    ("text", "merges"),
    [
        ("SELECT price FROM item", False),
        ("SELECT DISTINCT price FROM item", True),
        ("SELECT price FROM item GROUP BY price", True),
        ("SELECT min(price) FROM item", True),
        ("SELECT price FROM item UNION SELECT price FROM plain", True),
        ("SELECT price FROM item UNION ALL SELECT price FROM plain", False),
        ("SELECT price FROM dear", True),  # what its query does is not known
        ("SELECT array_agg(price ORDER BY price) FROM item", True),
        ("SELECT array_agg(DISTINCT price) FROM item", True),
        ("SELECT array(SELECT price FROM item ORDER BY price)", True),
        ("SELECT array_agg(price) FROM item", False),
        ("SELECT range_agg(price) FROM item", True),
    ],
)
def test_equal_values_may_stand_for_each_other(text: str, merges: bool) -> None:
    assert order(text).merges is merges


def test_functions_with_bodies_leave_everything_open() -> None:
    assert order("SELECT total() FROM item", bodies=True).loose == "function"


def test_without_a_catalog_nothing_is_certain() -> None:
    found = order_of("SELECT id FROM item ORDER BY id", None, None, bodies=False)
    assert found.loose == "catalog"
    assert not found.total


def test_the_delimiter_is_told() -> None:
    columns = ordering("SELECT string_agg(name, '; ') FROM item").columns
    assert columns is not None
    assert columns[0].delimiter == "; "
