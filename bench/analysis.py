"""What the analysis of a statement costs, in this process, with the catalog in memory.

What lives here: a small schema, statements of each kind, and their timing: the closure of a text
that was seen before, and of one that was not. What must not: sockets in what is timed.

Each new text differs in a literal, so that nothing can remember it; the garbage collector is off
meanwhile, and the median counts, since the machine does other things too.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from bench.postgres import ROLE, Postgres
from proxy.catalog.loader import load_snapshot
from proxy.catalog.snapshot import CatalogSnapshot
from proxy.policy.plan import Kind, Plan, Scope
from proxy.session.context import Database
from proxy.session.engine import Engine
from proxy.session.probe import Answer

NAME = "analysis"
POINT_GOAL, JOIN_GOAL = 100.0, 300.0  # microseconds

SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, city text, joined date);
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, category text, price numeric(10, 2));
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers ON DELETE CASCADE,
    status text, placed timestamptz, total numeric(12, 2));
CREATE TABLE lines (order_id int REFERENCES orders ON DELETE CASCADE, line int,
    product_id int REFERENCES products, quantity int, PRIMARY KEY (order_id, line));
CREATE TABLE history (id int, what text);
CREATE VIEW spending AS SELECT c.id, c.name, sum(o.total) AS spent
    FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY c.id, c.name;
CREATE FUNCTION spent_by(who int) RETURNS numeric LANGUAGE sql STABLE
    AS 'SELECT sum(total) FROM orders WHERE customer_id = who';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO history VALUES (NEW.id, NEW.name);
    RETURN NEW;
END $$;
CREATE TABLE notes (id int PRIMARY KEY, name text);
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION noted();
"""

POINT = "SELECT id, name, category, price FROM products WHERE id = {}"
JOIN = (
    "SELECT o.id, o.status, o.placed, p.name, l.quantity FROM orders o "
    "JOIN lines l ON l.order_id = o.id JOIN products p ON p.id = l.product_id "
    "WHERE o.customer_id = {} ORDER BY o.id DESC, l.line LIMIT 20"
)
STATEMENTS: tuple[tuple[str, str, float | None], ...] = (
    ("point select", POINT, POINT_GOAL),
    ("join of three tables", JOIN, JOIN_GOAL),
    ("view of a join", "SELECT name, spent FROM spending WHERE id = {}", None),
    ("call of an SQL function", "SELECT spent_by({})", None),
    ("INSERT", "INSERT INTO products (id, name) VALUES ({}, 'x')", None),
    ("INSERT, trigger in PL/pgSQL", "INSERT INTO notes VALUES ({}, 'x')", None),
    ("DELETE, two cascades", "DELETE FROM customers WHERE id = {}", None),
)


@dataclass(frozen=True)
class Cost:
    """Microseconds: medians of one kind of statement.

    `first` is the very first of its kind, `new` any other text that was not seen before, `known`
    one that was. `goal` is the limit for `new`.
    """

    name: str
    first: float
    new: float
    known: float
    goal: float | None
    plan: Plan

    @property
    def reached(self) -> bool:
        return self.goal is None or self.new < self.goal


def measure(postgres: Postgres, say: Callable[[str], None], repeats: int = 2000) -> list[Cost]:
    """Make a database, read its catalog, time the analysis of all statements."""
    say("timing the analysis of statements in this process")
    postgres.query(f"create database {NAME}", database="postgres")
    try:
        snapshot = asyncio.run(read(postgres.port, ROLE, NAME))
    finally:
        postgres.query(f"drop database {NAME}", database="postgres")
    return costs(snapshot, repeats)


async def read(port: int, role: str, database: str) -> CatalogSnapshot:
    """Make the schema in an empty database and read its catalog."""
    connection = await asyncpg.connect(host="127.0.0.1", port=port, user=role, database=database)
    try:
        await connection.execute(SCHEMA)
        return await load_snapshot(connection)
    finally:
        await connection.close()


def costs(snapshot: CatalogSnapshot, repeats: int) -> list[Cost]:
    """Time each of the statements `repeats` times."""
    gc.collect()
    gc.disable()
    try:
        return [_cost(name, text, goal, snapshot, repeats) for name, text, goal in STATEMENTS]
    finally:
        gc.enable()


def _session(snapshot: CatalogSnapshot) -> Callable[[bytes], Plan]:
    """From a text to its plan, as a session of an engine that has seen no text yet gets it."""
    engine = Engine(cache_bytes=1 << 20, entry_limit=1 << 16, max_age=None)
    database = engine.databases[NAME] = Database(NAME)
    engine.install(NAME, snapshot)
    identity = engine.identity = ("1", "1", "1")
    answer = Answer(
        pid=1,
        database=snapshot.database_oid,
        login_role=ROLE,
        role=ROLE,
        in_recovery=False,
        identity=identity,
        search_path=("pg_catalog", "public"),
        settings="",
        read_committed=True,
        idle_timeout=None,
        defers=True,
        temporary=False,
    )
    context = engine.context(NAME, answer)
    return lambda text: engine.plan(text, database, context)


def _cost(
    name: str, text: str, goal: float | None, snapshot: CatalogSnapshot, repeats: int
) -> Cost:
    plan_of = _session(snapshot)
    begin = time.perf_counter()
    plan = plan_of(text.format(0).encode())
    first = time.perf_counter() - begin
    texts = [text.format(1000 + number).encode() for number in range(repeats)]
    new, known = (statistics.median(_seconds(plan_of, texts)) for _ in ("not seen before", "seen"))
    return Cost(name, first * 1e6, new * 1e6, known * 1e6, goal, plan)


def _seconds(plan_of: Callable[[bytes], Plan], texts: Sequence[bytes]) -> list[float]:
    taken = []
    for text in texts:
        begin = time.perf_counter()
        plan_of(text)
        taken.append(time.perf_counter() - begin)
    return taken


def lines(found: Sequence[Cost]) -> list[str]:
    """One line per goal."""
    return [
        f"{'PASS' if cost.reached else 'MISS'}  a new text, {cost.name}: {cost.new:.0f} us "
        f"(goal < {cost.goal:.0f} us)"
        for cost in found
        if cost.goal is not None
    ]


def table(found: Sequence[Cost]) -> list[list[str]]:
    """Header and one row per kind of statement."""
    rows = [["statement", "new text, us", "first of its kind, us", "known text, us", "decided as"]]
    for cost in found:
        figures = f"{cost.new:.0f}", f"{cost.first:.0f}", f"{cost.known:.2f}"
        rows.append([cost.name, *figures, decision(cost.plan)])
    return rows


def decision(plan: Plan) -> str:
    """What a plan says, in a few words."""
    if plan.kind is Kind.READ:
        return f"cached, depends on {len(plan.reads)} relations"
    if plan.kind is Kind.WRITE:
        closure = plan.closure
        if closure.scope is Scope.RELATIONS:
            return f"writes {len(closure.relations)} relations"
        return f"writes everything ({plan.reason.value})"
    return f"forwarded ({plan.reason.value})"
