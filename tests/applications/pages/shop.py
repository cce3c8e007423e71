"""The page's tables, and its reads as SQL, for stacks without an ORM.

What lives here: data and statements. What must not: drivers, counting.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SCHEMA = """
CREATE TABLE category (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE product (
    id int PRIMARY KEY, category_id int NOT NULL REFERENCES category, name text NOT NULL,
    price numeric(10,2) NOT NULL, stock int NOT NULL, added timestamptz NOT NULL,
    details jsonb NOT NULL);
CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE NOT NULL);
CREATE TABLE review (
    id int PRIMARY KEY, product_id int NOT NULL REFERENCES product,
    customer_id int NOT NULL REFERENCES customer, stars int NOT NULL, body text NOT NULL);
CREATE TABLE line (
    id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customer,
    product_id int NOT NULL REFERENCES product, quantity int NOT NULL);
CREATE TABLE visit (customer_id int PRIMARY KEY REFERENCES customer, pages int NOT NULL);
INSERT INTO category SELECT i, 'category ' || i FROM generate_series(1, 5) i;
INSERT INTO product SELECT i, i % 5 + 1, 'product ' || i, i * 1.25, i % 7,
    timestamptz '2024-01-01 00:00+00' + i * interval '1 day', jsonb_build_object('weight', i)
    FROM generate_series(1, 100) i;
INSERT INTO customer SELECT i, 'customer ' || i, 'c' || i || '@example.com'
    FROM generate_series(1, 20) i;
INSERT INTO review SELECT i, i % 100 + 1, i % 20 + 1, i % 5 + 1, 'review ' || i
    FROM generate_series(1, 300) i;
INSERT INTO line SELECT i, i % 20 + 1, i * 3 % 100 + 1, i % 3 + 1 FROM generate_series(1, 100) i;
INSERT INTO visit SELECT i, 0 FROM generate_series(1, 20) i;
"""

#: Reads per page, in every stack.
READS = 20
CUSTOMER, PRODUCT, CATEGORY = 3, 7, 3
EMAIL = f"c{CUSTOMER}@example.com"
#: What a page writes, if it writes: one row, which the page reads, too.
TOUCH = "UPDATE visit SET pages = pages + 1 WHERE customer_id = $1"

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Read:
    """A statement with `$n` parameters, in order, each used once; and what is asked of it."""

    sql: str
    arguments: tuple[int | str, ...] = ()
    wanted: Literal["rows", "row", "value"] = "rows"


def page() -> Generator[Read, Rows]:
    """The reads of one page; send each one's rows back, the first column being an id if needed."""
    yield Read("SELECT id, name, email FROM customer WHERE email = $1", (EMAIL,), "row")
    yield Read("SELECT pages FROM visit WHERE customer_id = $1", (CUSTOMER,), "value")
    yield Read("SELECT id, name FROM category ORDER BY name")
    yield Read("SELECT id, name FROM category WHERE id = $1", (CATEGORY,), "row")
    yield Read("SELECT count(*) FROM product WHERE category_id = $1", (CATEGORY,), "value")
    products = yield Read(
        "SELECT id, name, price FROM product WHERE category_id = $1"
        " ORDER BY name, id LIMIT $2 OFFSET $3",
        (CATEGORY, 5, 5),
    )
    some = tuple(row[0] for row in products)
    yield Read(
        "SELECT product_id, id, stars, body FROM review WHERE product_id IN"
        f" ({', '.join(f'${i + 1}' for i in range(len(some)))}) ORDER BY id",
        some,
    )
    yield Read("SELECT * FROM product WHERE id = $1", (PRODUCT,), "row")
    yield Read(
        "SELECT c.name FROM category c JOIN product p ON p.category_id = c.id WHERE p.id = $1",
        (PRODUCT,),
        "value",
    )
    yield Read("SELECT avg(stars), count(*) FROM review WHERE product_id = $1", (PRODUCT,), "row")
    yield Read(
        "SELECT r.id, r.stars, r.body, c.name FROM review r JOIN customer c ON c.id = r.customer_id"
        " WHERE r.product_id = $1 ORDER BY r.id DESC LIMIT $2",
        (PRODUCT, 5),
    )
    yield Read(
        "SELECT EXISTS (SELECT FROM review WHERE product_id = $1 AND customer_id = $2)",
        (PRODUCT, CUSTOMER),
        "value",
    )
    yield Read(
        "SELECT l.id, l.quantity, p.name, p.price FROM line l JOIN product p ON p.id = l.product_id"
        " WHERE l.customer_id = $1 ORDER BY l.id",
        (CUSTOMER,),
    )
    yield Read(
        "SELECT sum(l.quantity * p.price) FROM line l JOIN product p ON p.id = l.product_id"
        " WHERE l.customer_id = $1",
        (CUSTOMER,),
        "value",
    )
    yield Read("SELECT count(*) FROM line WHERE customer_id = $1", (CUSTOMER,), "value")
    yield Read("SELECT min(price) FROM product WHERE category_id = $1", (CATEGORY,), "value")
    yield Read(
        "SELECT c.name, count(p.id) FROM category c LEFT JOIN product p ON p.category_id = c.id"
        " GROUP BY c.id, c.name ORDER BY c.name"
    )
    yield Read(
        "SELECT id, name FROM product WHERE category_id = $1 AND id <> $2 ORDER BY id LIMIT $3",
        (CATEGORY, PRODUCT, 4),
    )
    yield Read("SELECT id, name FROM product WHERE name ILIKE $1 ORDER BY id", ("%DUCT 1%",))
    yield Read("SELECT id, name, added FROM product ORDER BY added DESC LIMIT 5")


def shaped(read: Read, rows: Rows) -> object:
    """Of all rows, what was asked for."""
    if read.wanted == "rows":
        return [tuple(row) for row in rows]
    first = tuple(rows[0])
    return first if read.wanted == "row" else first[0]
