"""Portals and prepared statements in random order, in twin databases: each reply is compared.

A session binds, limits, goes on with, describes and closes portals, named or not, between
transaction control and writes of its own and of others. Steps that PostgreSQL refuses end
the transaction; then both sides start over.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, close, describe, execute, parse, query
from tests.playbook.twins import Twin, Twins, make

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 5) i;
"""
READS = (
    "SELECT id, v FROM t ORDER BY id",
    "SELECT v FROM t WHERE id = 2",
    "SELECT id FROM t WHERE id > 9",
    "SELECT v FROM t WHERE id < 4 ORDER BY id",
)
LIMITS = (0, 0, 1, 1, 2, 3, 5, 6)
STEPS = 1500
#: A session of its own for so many steps: what it has learnt of cursors, it does not forget.
SESSION = 70


class Player:
    """Makes steps that are mostly valid."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.open: set[str] = set()  # portals
        self.known: set[str] = set()  # statements

    def step(self, inside: bool) -> list[bytes]:
        if not inside:
            self.open.clear()
        if self.random.random() < 0.25:
            self.open.discard("")
            self.known.discard("")
            return [query(self._text(inside))]
        batch: list[bytes] = []
        for _ in range(self.random.choice((1, 1, 1, 1, 1, 2, 3))):
            batch += self._messages()
        return [*batch, SYNC]

    def _text(self, inside: bool) -> str:
        if not inside:
            return self.random.choice(("BEGIN", "BEGIN", *READS))
        texts = ["COMMIT", "ROLLBACK", "SAVEPOINT x", *READS]
        if self.random.random() < 0.1:
            texts += ["UPDATE t SET v = v || 'x' WHERE id = 3", "SELECT name FROM pg_cursors"]
            texts += ["FETCH 1 FROM c"] * ("c" in self.open)
        return self.random.choice(texts)

    def _messages(self) -> list[bytes]:
        portal, statement = (
            self.random.choice(("", "", "c", "d")),
            self.random.choice("  su").strip(),
        )
        limit, what = self.random.choice(LIMITS), self.random.random()
        if what < 0.5:
            return self._bind(portal, statement, limit)
        if what < 0.8 and portal in self.open:
            return [execute(portal, limit) if what < 0.75 else describe("P", portal)]
        if what < 0.88:
            self.open.discard(portal)
            return [close("P", portal)]
        if what < 0.9 and statement in self.known:
            self.known.discard(statement)
            return [close("S", statement)]
        if statement not in self.known:
            self.known.add(statement)
            return [parse(self.random.choice(READS), statement), describe("S", statement)]
        return [describe("S", statement)]

    def _bind(self, portal: str, statement: str, limit: int) -> list[bytes]:
        batch = []
        if portal and portal in self.open:
            batch.append(close("P", portal))
        if statement not in self.known:
            batch.append(parse(self.random.choice(READS), statement))
            self.known.add(statement)
        formats = self.random.choice(([], [], [1]))
        batch.append(bind(portal=portal, statement=statement, results=formats))
        if self.random.random() < 0.4:
            batch.append(describe("P", portal))
        self.open.add(portal)
        return [*batch, execute(portal, limit)]

    def start_over(self, twin: Twin) -> None:
        """The last step has failed, and nobody looks at what is left of it."""
        if twin.status != "I":
            twin.step("ROLLBACK")
        twin.step("DEALLOCATE ALL")
        twin.step([close("S", ""), SYNC])
        self.open.clear()
        self.known.clear()


@pytest.fixture(scope="module")
def twins(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Iterator[Twins]:
    with make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "random_portals") as made:
        yield made


@pytest.mark.parametrize("seed", range(2))
def test_random_steps(twins: Twins, seed: int) -> None:
    player = Player(seed)
    other = twins.session()
    twin = twins.session()
    with twins.howdah.watching() as gained:
        for number in range(STEPS):
            if number % SESSION == SESSION - 1 and twin.status == "I":
                twin.close()
                twin = twins.session()
                player.known.clear()
            if player.random.random() < 0.03 and twin.status == "I":
                other.step(f"UPDATE t SET v = '{number}' WHERE id = {number % 3 + 1}")
            frames = twin.step(player.step(twin.status != "I"))
            if any(frame.kind == "E" for frame in frames):
                player.start_over(twin)
    twin.close()
    assert gained["hits"] > STEPS / 10, gained
