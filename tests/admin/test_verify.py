"""Verify mode against real PostgreSQL: it finds what is wrong, and nothing else.

What is wrong is made so behind Howdah's back, by writes that it cannot see (`max_age` is
none, so no clock comes to help). What is right is tried by a storm of writes through it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import fix_wire
from tests.fix_howdah import Howdah, Starter
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually

RESULTS = ("match", "reordered", "tolerated", "race", "skipped", "mismatch")

TABLES = """
CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL, weight float8);
INSERT INTO item SELECT i, 'item ' || i, i * 1.50, i / 7.0 FROM generate_series(1, 50) i;
CREATE VIEW dear AS SELECT * FROM item WHERE price > 30;
CREATE FUNCTION total() RETURNS numeric STABLE LANGUAGE sql AS 'SELECT sum(price) FROM item';
CREATE TABLE other (id int PRIMARY KEY, v int NOT NULL);
INSERT INTO other VALUES (1, 1);
"""


def results(howdah: Howdah) -> dict[str, int]:
    """Results of checks so far, without zeros."""
    metrics = howdah.metrics()
    counts = {
        result: int(metrics.get(("howdah_verify_total", frozenset((("result", result),))), 0))
        for result in RESULTS
    }
    return {result: count for result, count in counts.items() if count}


def after(howdah: Howdah, count: int) -> dict[str, int]:
    """The results once there are `count` of them."""
    eventually(lambda: sum(results(howdah).values()) >= count, what=f"{count} checks")
    return results(howdah)


@pytest.fixture
def place(each_postgres: PostgresServer, start_howdah: Starter) -> tuple[Howdah, str]:
    """A Howdah that verifies everything, and a database with the tables."""
    database = each_postgres.create_database(TABLES)
    flags = ("--verify", "100%", "--max-age", "none")
    return start_howdah(*flags, server=each_postgres), database


def warm(howdah: Howdah, database: str) -> dict[str, int]:
    """Wait until there are hits; the results until then."""
    with howdah.wire(database) as wire:
        howdah.until_hit(wire, "SELECT v FROM other WHERE id = 1")
    return after(howdah, 1)


def test_a_write_behind_howdahs_back_is_found(
    place: tuple[Howdah, str], each_postgres: PostgresServer
) -> None:
    howdah, database = place
    before = warm(howdah, database)
    assert "mismatch" not in before
    read = "SELECT name FROM item WHERE id = 7"
    with howdah.wire(database) as wire:
        old = wire.rows(read)
        assert howdah.is_hit(wire, read)
        checked = after(howdah, sum(before.values()) + 1)
        assert checked["match"] > before["match"]
        with each_postgres.connect(database) as past:
            past.execute("UPDATE item SET name = 'a secret word' WHERE id = 7")
        # The client gets the old answer once more; that is what nobody but verify sees.
        assert wire.rows(read) == old
        eventually(lambda: results(howdah).get("mismatch") == 1)
        # The statement has gone to quarantine, whatever its literals are.
        with howdah.watching() as gained:
            assert wire.rows(read) == [["a secret word"]]
            assert wire.rows(read) == [["a secret word"]]
            assert wire.rows("SELECT name FROM item WHERE id = 8") == [["item 8"]]
        assert gained["hits"] == 0
        assert gained["bypass/quarantined"] == 3
        # Others are answered from memory as before.
        wire.query("SELECT count(*) FROM item")
        assert howdah.is_hit(wire, "SELECT count(*) FROM item")
    assert howdah.count("evictions_total", cause="mismatch") >= 1
    (line,) = [line for line in howdah.log_lines() if " ERROR " in line]
    assert "1 of 1 rows differ, the first is row 1, in column 1" in line
    assert "SELECT name FROM item WHERE id = $1" in line
    assert f"database '{database}'" in line
    assert "secret" not in howdah.log
    assert "item 7" not in howdah.log


@pytest.mark.parametrize(
    ("read", "change"),
    [
        ("SELECT count(*) FROM item", "DELETE FROM item WHERE id = 3"),
        ("SELECT name FROM item ORDER BY id", "UPDATE item SET id = 60 WHERE id = 3"),
        ("SELECT sum(weight) FROM item", "UPDATE item SET weight = weight + 1 WHERE id = 3"),
        ("SELECT array_agg(id) FROM item", "UPDATE item SET id = 60 WHERE id = 3"),
        ("SELECT string_agg(name, ',') FROM item", "UPDATE item SET name = 'x' WHERE id = 3"),
        ("SELECT * FROM dear", "UPDATE item SET name = 'x' WHERE id = 45"),
        ("SELECT id FROM item ORDER BY id LIMIT 5", "DELETE FROM item WHERE id = 3"),
        ("SELECT name FROM item WHERE price > 60", "DROP TABLE item CASCADE"),
        ("SELECT id, price FROM item WHERE id = 3", "UPDATE item SET price = 4.500 WHERE id = 3"),
    ],
)
def test_mistakes_of_all_kinds_are_found(
    postgres: PostgresServer, verifier: Howdah, read: str, change: str
) -> None:
    database = postgres.create_database(TABLES)
    with verifier.wire(database) as wire:
        verifier.until_hit(wire, read)
        known = results(verifier)
        with postgres.connect(database) as past:
            past.execute(change)
        eventually(lambda: sum(results(verifier).values()) >= verifier.hits())
        found = results(verifier).get("mismatch", 0)
        assert found == known.get("mismatch", 0)
        assert verifier.is_hit(wire, read)
        eventually(lambda: results(verifier).get("mismatch", 0) == found + 1)


@pytest.fixture(scope="module")
def verifier(pg18: PostgresServer) -> Iterator[Howdah]:
    """A Howdah that verifies everything and puts nothing into quarantine."""
    flags = ("--verify", "100%", "--max-age", "none", "--verify-quarantine", "off")
    howdah = Howdah(f"postgresql://howdah@{pg18.host}:{pg18.port}/postgres", *flags).start()
    yield howdah
    howdah.destroy()


def test_what_postgresql_may_answer_otherwise_is_no_alarm(
    postgres: PostgresServer, verifier: Howdah
) -> None:
    """The table is written anew in another order: nothing that is determined has changed."""
    reads = [
        "SELECT * FROM item",
        "SELECT name FROM item ORDER BY id % 3",
        "SELECT id FROM item LIMIT 5",
        "SELECT id FROM item ORDER BY id % 3 LIMIT 5",
        "SELECT DISTINCT ON (id % 3) id % 3, name FROM item",
        "SELECT array_agg(name) FROM item",
        "SELECT coalesce(json_agg(name), '[]') FROM item",
        "SELECT string_agg(name, ', ') FROM item",
        "SELECT string_agg(name, id::text) FROM item",
        "SELECT sum(weight), avg(weight), stddev(weight) FROM item",
        "SELECT round(sum(weight)::numeric, 12) FROM item",
        "SELECT row_number() OVER (), name FROM item",
        "SELECT array(SELECT name FROM item)",
        "SELECT * FROM (SELECT name FROM item LIMIT 3) x",
        "SELECT id % 3, array_agg(id) FROM item GROUP BY 1",
        "SELECT jsonb_object_agg(id % 3, name) FROM item",
    ]
    database = postgres.create_database(TABLES)
    before = results(verifier)
    with verifier.wire(database) as wire:
        for read in reads:
            verifier.until_hit(wire, read)
        eventually(lambda: sum(results(verifier).values()) >= verifier.hits())
        with postgres.connect(database) as past:
            past.execute("CREATE INDEX by_turn ON item (mod(id * 37, 51))")
            past.execute("CLUSTER item USING by_turn")
        between = results(verifier)
        with verifier.watching() as gained:
            for number, read in enumerate(reads, 1):
                wire.query(read)
                after(verifier, sum(between.values()) + number)
        assert gained["hits"] == len(reads), "DDL behind its back is not seen"
    found = results(verifier)
    gain = {name: found.get(name, 0) - between.get(name, 0) for name in RESULTS}
    assert gain["mismatch"] == 0
    assert gain["reordered"] == 2
    assert gain["tolerated"] >= 10
    assert gain["skipped"] == 0
    assert found.get("mismatch", 0) == before.get("mismatch", 0)


def test_the_extended_protocol_and_binary_answers(
    place: tuple[Howdah, str], each_postgres: PostgresServer
) -> None:
    howdah, database = place
    before = warm(howdah, database)
    sql = "SELECT id, name, price, weight FROM item WHERE id = $1"
    request = (
        fix_wire.parse(sql),
        fix_wire.bind([b"5"], results=[1]),
        fix_wire.describe(),
        fix_wire.execute(),
        fix_wire.SYNC,
    )
    with howdah.wire(database) as wire:
        wire.ask(*request)
        with howdah.hits_during(1):
            first = wire.ask(*request)
        checked = after(howdah, sum(before.values()) + 1)
        assert checked["match"] == before["match"] + 1
        with each_postgres.connect(database) as past:
            past.execute("UPDATE item SET price = price + 1 WHERE id = 5")
        assert wire.ask(*request) == first
        eventually(lambda: results(howdah).get("mismatch") == 1)
        assert wire.ask(*request) != first


def test_functions_row_security_and_roles_are_checked_as_the_client(
    place: tuple[Howdah, str], each_postgres: PostgresServer
) -> None:
    howdah, database = place
    role = f"{database}_reader"
    with each_postgres.connect(database) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN")
        admin.execute("ALTER TABLE item ENABLE ROW LEVEL SECURITY")
        admin.execute("CREATE POLICY few ON item USING (id::text = current_setting('app.item'))")
        admin.execute(f"GRANT SELECT ON item, other TO {role}")
    before = warm(howdah, database)
    with psycopg.connect(howdah.dsn(database, role), autocommit=True) as client:
        for item in (3, 4):
            client.execute(f"SET app.item = '{item}'")
            for _ in range(4):
                assert client.execute("SELECT id FROM item").fetchall() == [(item,)]
                assert client.execute("SELECT total() FROM other").fetchone() is not None
        for item in (5, 6, 5, 6, 5, 6):
            # Answered from memory, all of this is still unknown to PostgreSQL.
            client.execute("BEGIN")
            client.execute(f"SET LOCAL app.item = '{item}'")
            assert client.execute("SELECT id FROM item").fetchall() == [(item,)]
            client.execute("COMMIT")
    found = after(howdah, sum(before.values()) + 4)
    assert found["match"] > before["match"]
    assert set(after(howdah, int(howdah.hits()))) <= {"match", "skipped"}


def test_a_rule_that_is_loaded_meanwhile_has_its_tables_verified(
    postgres: PostgresServer, start_howdah: Starter, tmp_path: Path
) -> None:
    path = tmp_path / "howdah.yaml"
    path.write_text("max_age: none\n")
    howdah = start_howdah("--config", str(path))
    database = postgres.create_database(TABLES)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire, "SELECT v FROM other WHERE id = 1")
        howdah.until_hit(wire, "SELECT count(*) FROM item")
        path.write_text("max_age: none\nrules:\n  - {relations: public.item, verify: 100%}\n")
        eventually(lambda: howdah.count("evictions_total", cause="rules"), what="the new rules")
        howdah.until_hit(wire, "SELECT v FROM other WHERE id = 1")
        assert results(howdah) == {}
        howdah.until_hit(wire, "SELECT count(*) FROM item")
        assert after(howdah, 1) == {"match": 1}


def test_no_false_alarm_in_a_storm_of_writes(place: tuple[Howdah, str]) -> None:
    """Writers and readers through Howdah; every hit is checked, and none is wrong."""
    howdah, database = place
    warm(howdah, database)
    reads = [
        "SELECT name, price FROM item WHERE id = 7",
        "SELECT count(*), sum(price) FROM item",
        "SELECT name FROM item ORDER BY id LIMIT 10",
        "SELECT * FROM dear",
        "SELECT array_agg(id), sum(weight) FROM item",
        "SELECT v FROM other WHERE id = 1",
    ]
    stop = threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            with psycopg.connect(howdah.dsn(database), autocommit=number == 0) as client:
                turn = 0
                while not stop.wait(0.004):
                    turn += 1
                    client.execute("UPDATE item SET price = price + 1 WHERE id = 7")
                    client.execute("UPDATE item SET name = name || '.' WHERE id = 45")
                    if number:
                        client.rollback() if turn % 3 == 0 else client.commit()
        except BaseException as error:
            failures.append(error)

    def read(number: int) -> None:
        try:
            with psycopg.connect(howdah.dsn(database), autocommit=True) as client:
                while not stop.is_set():
                    for sql in reads[number:] + reads[:number]:
                        client.execute(sql).fetchall()
                        client.execute(sql).fetchall()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    threads += [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        eventually(
            lambda: (
                bool(failures)
                or (results(howdah).get("match", 0) > 300 and results(howdah).get("race", 0) > 20)
            ),
            what="checks and races",
        )
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert "mismatch" not in results(howdah), howdah.log[-3000:]
    assert " ERROR " not in howdah.log
