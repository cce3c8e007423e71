"""The sample shop: tables, deterministic rows, keys and indexes.

What lives here: SQL and the order in which it runs. What must not: measuring.
Rows are made inside PostgreSQL from `generate_series` and one mixing function,
so that the same number of rows always gives the same data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from psycopg import sql

DATABASE = "shop"
ROLE = "shop"
# For the demo's own throw-away server on the loopback interface only.
ROLE_PASSWORD = "shop"
PROXY_ROLE = "howdah"
CHUNK_ROWS = 10_000

_TABLES = """
CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    city text NOT NULL,
    joined_on date NOT NULL
);
CREATE TABLE products (
    id integer PRIMARY KEY,
    name text NOT NULL,
    category text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price > 0),
    stock integer NOT NULL CHECK (stock >= 0)
);
CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL,
    status text NOT NULL CHECK (status IN ('open', 'paid', 'shipped', 'returned')),
    placed_at timestamptz NOT NULL,
    total numeric(12, 2) NOT NULL
);
CREATE TABLE order_lines (
    order_id integer NOT NULL,
    line_no integer NOT NULL,
    product_id integer NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(10, 2) NOT NULL
);
CREATE TABLE reviews (
    id integer PRIMARY KEY,
    product_id integer NOT NULL,
    customer_id integer NOT NULL,
    stars integer NOT NULL CHECK (stars BETWEEN 1 AND 5),
    body text NOT NULL,
    written_at timestamptz NOT NULL
);
"""

# A number in [0, 1) from a row number and a salt: xorshift-like mixing by two
# odd multipliers below 2^31, so that no product leaves bigint.
_HELPERS = """
CREATE FUNCTION pg_temp.unit(n bigint, salt bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$
    SELECT ((((n * 1103515245 + salt * 1013904223) % 2147483647) * 48271) % 2147483647)
        / 2147483647.0::double precision
$$;
CREATE FUNCTION pg_temp.pick(choices text[], n bigint, salt bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT choices[1 + floor(pg_temp.unit(n, salt) * cardinality(choices))::integer]
$$;
"""

_FIRST = (
    "Ada,Amir,Ana,Ben,Carla,Chen,Clara,Dario,Elif,Emma,Farid,Freya,Grace,Hana,Hugo,Ines,Ivan,"
    "Jonas,Julia,Kofi,Lars,Lea,Luis,Maja,Marek,Mei,Milo,Nadia,Nina,Omar,Paula,Pedro,Priya,Rosa,"
    "Samir,Sofia,Tariq,Tess,Uma,Viktor,Wanda,Yara,Yusuf,Zoe"
)
_LAST = (
    "Abebe,Almeida,Andersson,Becker,Bianchi,Costa,Diaz,Dubois,Eriksen,Fischer,Garcia,Haddad,"
    "Horvat,Ito,Jansen,Kaya,Keller,Kim,Kovacs,Larsen,Lopez,Maier,Mensah,Moreau,Nakamura,Novak,"
    "Okafor,Olsen,Patel,Pereira,Petrov,Rossi,Santos,Sato,Schmidt,Silva,Singh,Suzuki,Tanaka,"
    "Varga,Virtanen,Wagner,Wang,Weber,Yilmaz,Zhang"
)
_CITIES = (
    "Amsterdam,Ankara,Athens,Berlin,Bogota,Cairo,Copenhagen,Dakar,Dublin,Helsinki,Jakarta,Kyoto,"
    "Lagos,Lima,Lisbon,Lyon,Madrid,Milan,Montreal,Mumbai,Nairobi,Oslo,Porto,Prague,Seoul,Sydney,"
    "Toronto,Turin,Vienna,Warsaw"
)
_ADJECTIVES = (
    "Compact,Classic,Folding,Heavy,Light,Little,Modern,Quiet,Robust,Round,Simple,Slim,Soft,"
    "Sturdy,Travel,Warm"
)
_MATERIALS = "Bamboo,Brass,Canvas,Ceramic,Copper,Cork,Cotton,Glass,Leather,Linen,Oak,Steel,Wool"
_NOUNS = (
    "Backpack,Basket,Blanket,Bottle,Bowl,Chair,Clock,Cushion,Desk,Frame,Jug,Kettle,Knife,Ladder,"
    "Lamp,Mug,Notebook,Pan,Shelf,Stool,Table,Teapot,Tray,Vase"
)
_CATEGORIES = "Bath,Books,Garden,Kitchen,Lighting,Living,Office,Outdoor,Storage,Textiles"
_REMARKS = (
    "Exactly as described.|Arrived a day late but well packed.|Smaller than I thought.|My family "
    "fights over it.|Would buy again.|The colour is a bit off.|Solid work for the price.|One "
    "corner was scratched.|A gift that was well received.|Does what it should."
)


def _array(words: str, separator: str = ",") -> str:
    return "string_to_array('" + words.replace("'", "''") + f"', '{separator}')"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows each table gets; `of` divides a total."""

    customers: int
    products: int
    orders: int
    order_lines: int
    reviews: int

    @classmethod
    def of(cls, rows: int) -> Sizes:
        """Divide `rows` as shops do: most rows are order lines."""
        customers, products, orders = rows // 20, max(rows // 200, 5), rows // 4
        lines = rows * 3 // 5
        return cls(customers, products, orders, lines, rows - customers - products - orders - lines)

    @property
    def total(self) -> int:
        """All rows."""
        return self.customers + self.products + self.orders + self.order_lines + self.reviews


def _inserts(sizes: Sizes) -> list[tuple[str, int, str]]:
    """(table, rows, statement for the rows %(a)s to %(b)s), in order of loading."""
    series = "FROM generate_series(%(a)s::bigint, %(b)s::bigint) n"
    # Squaring makes some customers and products far more popular than others.
    customer = f"1 + floor({sizes.customers} * pg_temp.unit({{n}}, {{salt}}) ^ 2)::integer"
    product = f"1 + floor({sizes.products} * pg_temp.unit({{n}}, {{salt}}) ^ 2)::integer"
    return [
        (
            "customers",
            sizes.customers,
            f"""INSERT INTO customers
            SELECT n, first || ' ' || last, lower(first || '.' || last || n) || '@example.com',
                pg_temp.pick({_array(_CITIES)}, n, 3),
                date '2019-01-01' + floor(pg_temp.unit(n, 4) * 2000)::integer
            {series}, pg_temp.pick({_array(_FIRST)}, n, 1) first,
                pg_temp.pick({_array(_LAST)}, n, 2) last""",
        ),
        (
            "products",
            sizes.products,
            f"""INSERT INTO products
            SELECT n, pg_temp.pick({_array(_ADJECTIVES)}, n, 11) || ' '
                || pg_temp.pick({_array(_MATERIALS)}, n, 12) || ' '
                || pg_temp.pick({_array(_NOUNS)}, n, 13) || ' ' || n,
                pg_temp.pick({_array(_CATEGORIES)}, n, 14),
                (2 + floor(pg_temp.unit(n, 15) ^ 3 * 400) + 0.99)::numeric(10, 2),
                50 + floor(pg_temp.unit(n, 16) * 5000)::integer
            {series}""",
        ),
        (
            "order_lines",
            sizes.order_lines,
            f"""INSERT INTO order_lines
            SELECT 1 + (n - 1) % {sizes.orders}, 1 + (n - 1) / {sizes.orders}, p.id,
                1 + floor(pg_temp.unit(n, 22) ^ 3 * 5)::integer, p.price
            {series} JOIN products p ON p.id = {product.format(n="n", salt=21)}""",
        ),
        (
            "orders",
            sizes.orders,
            f"""INSERT INTO orders
            SELECT n, {customer.format(n="n", salt=31)},
                pg_temp.pick({_array("paid,shipped,shipped,shipped,returned,open")}, n, 32),
                timestamptz '2024-01-01 00:00+00' + n * interval '9 minutes'
                    + floor(pg_temp.unit(n, 33) * 540) * interval '1 second',
                coalesce(l.total, 0)
            {series} LEFT JOIN (
                SELECT order_id, sum(quantity * unit_price) AS total FROM order_lines
                WHERE order_id BETWEEN %(a)s AND %(b)s GROUP BY order_id
            ) l ON l.order_id = n""",
        ),
        (
            "reviews",
            sizes.reviews,
            f"""INSERT INTO reviews
            SELECT n, {product.format(n="n", salt=41)}, {customer.format(n="n", salt=42)},
                5 - floor(pg_temp.unit(n, 43) ^ 2 * 5)::integer,
                pg_temp.pick({_array(_REMARKS, "|")}, n, 44) || ' '
                    || pg_temp.pick({_array(_REMARKS, "|")}, n, 45),
                timestamptz '2024-01-10 00:00+00'
                    + floor(pg_temp.unit(n, 46) * 31000000) * interval '1 second'
            {series}""",
        ),
    ]


# The key of order_lines comes before the totals of orders are summed by it.
_AFTER = {
    "order_lines": "ALTER TABLE order_lines ADD PRIMARY KEY (order_id, line_no)",
}
_KEYS = (
    "CREATE INDEX ON orders (customer_id)",
    "CREATE INDEX ON orders (placed_at)",
    "CREATE INDEX ON order_lines (product_id)",
    "CREATE INDEX ON reviews (product_id)",
    "CREATE UNIQUE INDEX ON customers (email)",
    "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers",
    "ALTER TABLE order_lines ADD FOREIGN KEY (order_id) REFERENCES orders",
    "ALTER TABLE order_lines ADD FOREIGN KEY (product_id) REFERENCES products",
    "ALTER TABLE reviews ADD FOREIGN KEY (product_id) REFERENCES products",
    "ALTER TABLE reviews ADD FOREIGN KEY (customer_id) REFERENCES customers",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO " + ROLE,
)


def create_roles(connection: psycopg.Connection, proxy_password: str) -> None:
    """Make the database, the shop's role and Howdah's own role, as a superuser."""
    for role, password in ((ROLE, ROLE_PASSWORD), (PROXY_ROLE, proxy_password)):
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(password)
            )
        )
    connection.execute(f"GRANT pg_read_all_stats TO {PROXY_ROLE}".encode())
    connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}".encode())


def fill(
    connection: psycopg.Connection, sizes: Sizes, progress: Callable[[str, int], None]
) -> None:
    """Create the tables and all rows.

    Args:
        connection: to the database of the shop, as its owner, in autocommit.
        sizes: rows per table.
        progress: called with what is being done and how many rows have just been added.
    """
    connection.execute(_TABLES)
    connection.execute(_HELPERS)
    for table, rows, statement in _inserts(sizes):
        for start in range(1, rows + 1, CHUNK_ROWS):
            end = min(start + CHUNK_ROWS - 1, rows)
            progress(table, 0)
            connection.execute(_escaped(statement), {"a": start, "b": end})
            progress(table, end - start + 1)
        if table in _AFTER:
            connection.execute(_AFTER[table])
    progress("indexes and foreign keys", 0)
    for statement in _KEYS:
        connection.execute(statement.encode())
    connection.execute("VACUUM ANALYZE")


def _escaped(statement: str) -> bytes:
    """Keep SQL's own % apart from the driver's placeholders."""
    escaped = statement.replace("%", "%%").replace("%%(a)s", "%(a)s").replace("%%(b)s", "%(b)s")
    return escaped.encode()
