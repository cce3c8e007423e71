"""Verify mode and EXPLAIN CACHE where PostgreSQL and its users do what is seldom done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import fix_wire
from tests.admin.test_verify import RESULTS, results
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import SYNC, bind, describe, execute, kinds, parse

SCHEMA = """
CREATE TABLE odd (
    id int PRIMARY KEY, g int, n numeric, i interval, f float8, j jsonb, a numeric[], k int UNIQUE
);
INSERT INTO odd SELECT
    x, x % 4,
    (array['1.0', '1.00', '2.50', '2.5', '7'])[1 + x % 5]::numeric,
    (array['1 day', '24:00:00', '30 days', '1 mon'])[1 + x % 4]::interval,
    (array['NaN', '0', '-0', '0.1', '0.2', '0.3'])[1 + x % 6]::float8,
    (array['{"b": 1.0}', '{"b": 1.00}'])[1 + x % 2]::jsonb,
    (array['{1.0,2}', '{1.00,2}'])[1 + x % 2]::numeric[],
    CASE WHEN x > 20 THEN x END
FROM generate_series(1, 60) x;
CREATE TABLE share (id int PRIMARY KEY, v int);
INSERT INTO share VALUES (1, 1);
"""
EQUAL = [
    *(f"SELECT DISTINCT {column} FROM odd" for column in ("n", "i", "f", "j", "a")),
    *(f"SELECT {column}, count(*) FROM odd GROUP BY 1" for column in ("n", "i", "f", "j", "a")),
    "SELECT n, f, count(*) FROM odd GROUP BY n, f",
    "SELECT n::text FROM odd GROUP BY n",
    "SELECT i::text FROM odd GROUP BY i",
    "SELECT scale(n) FROM odd GROUP BY n",
    "SELECT max(i), min(i)::text, mode() WITHIN GROUP (ORDER BY i) FROM odd",
    "SELECT array_agg(n ORDER BY n), array_agg(DISTINCT i) FROM odd",
    "SELECT g, unnest(array_agg(id)) FROM odd GROUP BY g ORDER BY g",
    "SELECT g, sum(f) AS s FROM odd WHERE f <> 'NaN' GROUP BY g ORDER BY s, g",
    "SELECT sum(f) FROM odd WHERE f <> 'NaN' GROUP BY id % 7",
    "SELECT sum(id) FROM (SELECT f AS id FROM odd WHERE f <> 'NaN') x",
    "SELECT DISTINCT ON (g) g, id FROM odd ORDER BY g",
    "SELECT id FROM odd ORDER BY k",
]


@pytest.fixture(scope="module")
def verifier(pg18: PostgresServer) -> Iterator[Howdah]:
    """A Howdah that verifies everything and puts nothing into quarantine."""
    flags = ("--verify", "100%", "--max-age", "none", "--verify-quarantine", "off")
    howdah = Howdah(f"postgresql://howdah@{pg18.host}:{pg18.port}/postgres", *flags).start()
    yield howdah
    howdah.destroy()


def test_equal_values_that_look_different_are_no_alarm(
    pg18: PostgresServer, verifier: Howdah
) -> None:
    """The rows come in another order, and so another of the equal values stands for all."""
    database = pg18.create_database(SCHEMA)
    with pg18.connect(database) as admin:
        # Old rows may be null in a column of which PostgreSQL says that none is.
        admin.execute("ALTER TABLE odd ADD CONSTRAINT full_k NOT NULL k NOT VALID")
    with verifier.wire(database) as wire:
        for read in EQUAL:
            verifier.until_hit(wire, read)
        eventually(lambda: sum(results(verifier).values()) >= verifier.hits())
        with pg18.connect(database) as past:
            past.execute("CREATE INDEX by_turn ON odd (mod(id * 37, 61))")
            past.execute("CLUSTER odd USING by_turn")
        before = results(verifier)
        with verifier.watching() as gained:
            for number, read in enumerate(EQUAL, 1):
                wire.query(read)
                wanted = sum(before.values()) + number
                eventually(lambda: sum(results(verifier).values()) >= wanted)  # noqa: B023
                gain = results(verifier).get("mismatch", 0) - before.get("mismatch", 0)
                assert gain == 0, read
        assert gained["hits"] == len(EQUAL)
    found = results(verifier)
    gained_by = {name: found.get(name, 0) - before.get(name, 0) for name in RESULTS}
    assert gained_by["tolerated"] >= 8, "the order has not changed"


@pytest.mark.parametrize(
    ("read", "change"),
    [
        ("SELECT n, count(*) FROM odd GROUP BY n", "UPDATE odd SET n = 1.01 WHERE id = 5"),
        ("SELECT DISTINCT ON (g) g, id FROM odd ORDER BY g", "DELETE FROM odd WHERE g = 2"),
        ("SELECT sum(x) FROM (SELECT n AS x FROM odd) y", "UPDATE odd SET n = 9 WHERE id = 5"),
        ("SELECT DISTINCT j FROM odd", "UPDATE odd SET j = '{\"b\": 1.01}' WHERE id = 5"),
        ("SELECT i, count(*) FROM odd GROUP BY i", "DELETE FROM odd WHERE id = 5"),
        ("SELECT max(a) FROM odd", "UPDATE odd SET a = '{10,2}' WHERE id = 5"),
    ],
)
def test_mistakes_among_equal_values_are_found(
    pg18: PostgresServer, verifier: Howdah, read: str, change: str
) -> None:
    database = pg18.create_database(SCHEMA)
    with verifier.wire(database) as wire:
        verifier.until_hit(wire, read)
        eventually(lambda: sum(results(verifier).values()) >= verifier.hits())
        before = results(verifier).get("mismatch", 0)
        with pg18.connect(database) as past:
            past.execute(change)
        assert verifier.is_hit(wire, read)
        eventually(lambda: results(verifier).get("mismatch", 0) == before + 1)


def test_a_check_that_fails_leaves_no_statement(pg18: PostgresServer, verifier: Howdah) -> None:
    database = pg18.create_database(SCHEMA)
    read = "SELECT 10 / v FROM share WHERE id = 1"
    with verifier.wire(database) as wire:
        verifier.until_hit(wire, read)
        eventually(lambda: sum(results(verifier).values()) >= verifier.hits())
        before = results(verifier).get("skipped", 0)
        with pg18.connect(database) as past:
            past.execute("UPDATE share SET v = 0")
        assert verifier.is_hit(wire, read)
        eventually(lambda: results(verifier).get("skipped", 0) == before + 1)
        assert wire.rows("SELECT name FROM pg_prepared_statements") == []


def test_a_parameter_of_a_huge_number_is_refused(pg18: PostgresServer, verifier: Howdah) -> None:
    """It would take as much room as there are numbers in front of it."""
    database = pg18.create_database("")
    with verifier.wire(database) as wire:
        for number in (65_536, 999_999_999):
            asked = parse(f"EXPLAIN CACHE SELECT ${number}", "e")
            frames = wire.ask(asked, bind(statement="e"), execute(), SYNC)
            assert fix_wire.errors(frames) == ["42P02"]
            assert f"${number}" in frames[-2].fields["M"]
            wire.ask(fix_wire.close("S", "e"), SYNC)
        frames = wire.ask(parse("EXPLAIN CACHE SELECT $3", "f"), describe("S", "f"), SYNC)
        assert kinds(frames) == "1tTZ"
        assert frames[1].payload[:2] == b"\0\3"
