"""Registers under concurrent writers and readers: no read is older than what was acknowledged.

Each key holds a version that only grows, written by one thread through many paths. A
read is stale if it returns less than the last version whose write was acknowledged
before the read began, and a phantom if it returns more than was ever sent (F1 to F5).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import psycopg
import pytest

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer

KEYS = 8
ROUNDS = 120
READERS = 3
SCHEMA = (
    "CREATE TABLE register (id int PRIMARY KEY, v int NOT NULL)",
    f"INSERT INTO register SELECT i, 0 FROM generate_series(1, {KEYS}) i",
    "CREATE TABLE parent (id int PRIMARY KEY)",
    "CREATE TABLE child (id int PRIMARY KEY REFERENCES parent ON UPDATE CASCADE, v int)",
    "CREATE TABLE outbox (id int, v int)",
    "CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN UPDATE register SET v = NEW.v WHERE id = NEW.id; RETURN NULL; END'",
    "CREATE TRIGGER forward AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION forward()",
    "CREATE FUNCTION put(k int, n int) RETURNS void LANGUAGE sql AS "
    "'UPDATE register SET v = n WHERE id = k'",
    "CREATE PROCEDURE put_twice(k int, n int) LANGUAGE plpgsql AS "
    "'BEGIN UPDATE register SET v = n WHERE id = k; COMMIT; PERFORM 1; END'",
)

Connection = psycopg.Connection[tuple[int, ...]]


def plain(connection: Connection, key: int, version: int) -> None:
    connection.execute("UPDATE register SET v = %s WHERE id = %s", [version, key])


def literal(connection: Connection, key: int, version: int) -> None:
    connection.execute(f"UPDATE register SET v = {version} WHERE id = {key}".encode())


def prepared(connection: Connection, key: int, version: int) -> None:
    sql = "UPDATE register SET v = %s WHERE id = %s"
    connection.execute(sql, [version, key], prepare=True)


def transaction(connection: Connection, key: int, version: int) -> None:
    with connection.transaction():
        connection.execute("SELECT v FROM register WHERE id = %s", [key])
        plain(connection, key, version)


def savepoint(connection: Connection, key: int, version: int) -> None:
    with connection.transaction():
        plain(connection, key, version)
        try:
            with connection.transaction():
                connection.execute("UPDATE register SET v = -1 WHERE id = %s", [key])
                raise psycopg.Rollback
        except psycopg.Rollback:
            pass


def rolled_back_first(connection: Connection, key: int, version: int) -> None:
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE register SET v = -1 WHERE id = %s", [key])
    plain(connection, key, version)


def trigger(connection: Connection, key: int, version: int) -> None:
    connection.execute("INSERT INTO outbox VALUES (%s, %s)", [key, version])


def function(connection: Connection, key: int, version: int) -> None:
    connection.execute("SELECT put(%s, %s)", [key, version])


def procedure(connection: Connection, key: int, version: int) -> None:
    connection.execute("CALL put_twice(%s, %s)", [key, version])


def merge(connection: Connection, key: int, version: int) -> None:
    connection.execute(
        "MERGE INTO register r USING (VALUES (%s::int, %s::int)) s (id, v) ON r.id = s.id "
        "WHEN MATCHED THEN UPDATE SET v = s.v",
        [key, version],
    )


def several(connection: Connection, key: int, version: int) -> None:
    text = f"BEGIN; UPDATE register SET v = {version} WHERE id = {key}; COMMIT; SELECT 1"
    connection.execute(text.encode())


def copy(connection: Connection, key: int, version: int) -> None:
    with connection.transaction():
        connection.execute("DELETE FROM register WHERE id = %s", [key])
        with connection.cursor().copy("COPY register FROM STDIN") as into:
            into.write_row((key, version))


PATHS: list[Callable[[Connection, int, int], None]] = [
    plain,
    literal,
    prepared,
    transaction,
    savepoint,
    rolled_back_first,
    trigger,
    function,
    procedure,
    merge,
    several,
    copy,
]


class Run:
    """Versions sent and acknowledged, by key, and what the readers found wrong."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.sent = dict.fromkeys(range(1, KEYS + 1), 0)
        self.acknowledged = dict(self.sent)
        self.done = threading.Event()
        self.wrong: list[str] = []
        self.reads = 0

    def write(self, keys: list[int], seed: int) -> None:
        draw = random.Random(seed)
        with (
            psycopg.connect(self.dsn, autocommit=True) as connection,
            psycopg.connect(self.dsn, autocommit=True) as other,
        ):
            for version in range(1, ROUNDS + 1):
                for key in keys:
                    path = draw.choice(PATHS)
                    self.look(other, key)  # so that there is something to evict
                    self.sent[key] = version
                    path(connection, key, version)
                    self.acknowledged[key] = version
                    self.look(other, key)

    def look(self, connection: Connection, key: int) -> None:
        """Read a key of this thread's own: it has exactly the version that was written."""
        rows = connection.execute("SELECT v FROM register WHERE id = %s", [key]).fetchall()
        if rows != [(self.acknowledged[key],)]:
            self.wrong.append(f"key {key}: {rows} behind {self.acknowledged[key]}")

    def read(self, seed: int) -> None:
        draw = random.Random(seed)
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            while not self.done.is_set():
                key = draw.randint(1, KEYS)
                least = self.acknowledged[key]
                style = draw.randrange(3)
                if style == 0:
                    text = f"SELECT v FROM register WHERE id = {key}"
                    rows = connection.execute(text.encode()).fetchall()
                else:
                    rows = connection.execute(
                        "SELECT v FROM register WHERE id = %s",
                        [key],
                        prepare=style == 1,
                        binary=style == 2,
                    ).fetchall()
                most = self.sent[key]
                self.reads += 1
                if len(rows) != 1 or not least <= rows[0][0] <= most:
                    self.wrong.append(f"key {key}: {rows}, expected {least} to {most}")


@pytest.mark.parametrize("seed", [1, 2])
def test_no_read_is_older_than_what_was_acknowledged(
    each_howdah: Howdah, each_postgres: PostgresServer, seed: int
) -> None:
    database = each_postgres.create_database(*SCHEMA)
    run = Run(each_howdah.dsn(database))
    keys = list(run.sent)
    writers = [
        threading.Thread(target=run.write, args=(keys[part::2], seed * 10 + part))
        for part in range(2)
    ]
    readers = [threading.Thread(target=run.read, args=(seed * 100 + n,)) for n in range(READERS)]
    with each_howdah.watching() as gain:
        for thread in writers + readers:
            thread.start()
        for thread in writers:
            thread.join(120)
        run.done.set()
        for thread in readers:
            thread.join(30)
    assert not any(thread.is_alive() for thread in writers + readers)
    assert run.acknowledged == dict.fromkeys(keys, ROUNDS), "a writer has failed"
    assert run.wrong == []
    assert gain["hits"] > 0, f"nothing was tried: {run.reads} reads, {gain}"
    with psycopg.connect(run.dsn, autocommit=True) as connection:
        for _ in range(2):
            rows = connection.execute("SELECT id, v FROM register ORDER BY id").fetchall()
            assert rows == [(key, ROUNDS) for key in keys]
