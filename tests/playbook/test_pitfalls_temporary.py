"""Objects of one session alone: they shadow what others share, for as long as they exist."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, describe, execute, parse
from tests.playbook.twins import Step, Twins, ext, make, pipeline

SCHEMA = """
CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'permanent');
CREATE VIEW w AS SELECT v FROM t;
CREATE FUNCTION f() RETURNS text LANGUAGE sql STABLE AS 'SELECT v FROM t';
CREATE SEQUENCE s START 100;
CREATE FUNCTION makes() RETURNS void LANGUAGE plpgsql AS
    $$BEGIN CREATE TEMP TABLE t AS SELECT 9 AS id, 'by a function'::text AS v; END$$;
CREATE FUNCTION makes_nothing() RETURNS void LANGUAGE plpgsql AS $$BEGIN
    CREATE TEMP TABLE t AS SELECT 9 AS id, 'by a function'::text AS v; DROP TABLE pg_temp.t; END$$;
"""
T = "SELECT * FROM t ORDER BY id"
PERMANENT = [["1", "permanent"]]


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_temporary")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    with bench:
        yield bench


MADE: dict[str, tuple[Step, ...]] = {
    "plain": ("CREATE TEMP TABLE t (id int, v text)",),
    "extended": (ext("CREATE TEMPORARY TABLE t (id int, v text)"),),
    "prepared": (
        "PREPARE p AS SELECT 2 AS id, 'x'::text AS v",
        "CREATE TEMP TABLE t AS EXECUTE p",
        "DEALLOCATE p",
    ),
    "as select": ("CREATE LOCAL TEMP TABLE t AS SELECT 2 AS id, 'temporary'::text AS v",),
    "select into": ("SELECT 2 AS id, 'temporary'::text AS v INTO TEMP t",),
    "by its schema": ("CREATE TABLE pg_temp.t (id int, v text)",),
    "by the path": (
        "SET search_path = pg_temp, public",
        "CREATE TABLE t (id int, v text)",
        "RESET search_path",
    ),
    "view": ("CREATE TEMP VIEW t AS SELECT 3 AS id, 'view'::text AS v",),
    "view of its namesake": ("CREATE TEMP VIEW t AS SELECT id + 1 AS id, v FROM public.t",),
    "in DO": ("DO $$BEGIN CREATE TEMP TABLE t (id int, v text); END$$",),
    "in DO, dynamic": ("DO $$BEGIN EXECUTE 'CREATE TE' || 'MP TABLE t (id int, v text)'; END$$",),
    "by a function": ("SELECT makes()",),
    "by a function in DO": ("DO $$BEGIN PERFORM makes(); END$$",),
    "in a block": ("BEGIN", "CREATE TEMP TABLE t (id int, v text)", "COMMIT"),
    "in several": ("SELECT 1; CREATE TEMP TABLE t (id int, v text); SELECT 2",),
    "in a pipeline": (pipeline("SELECT 1", "CREATE TEMP TABLE t (id int, v text)"),),
    "delete rows": (
        "CREATE TEMP TABLE t (id int, v text) ON COMMIT DELETE ROWS",
        "INSERT INTO t VALUES (4, 'gone')",
    ),
    "renamed": ("CREATE TEMP TABLE x (id int, v text)", "ALTER TABLE x RENAME TO t"),
    "like": ("CREATE TEMP TABLE t (LIKE public.t)", "INSERT INTO t VALUES (5, 'like')"),
}
DROPS: tuple[tuple[Step, ...], ...] = (
    ("DISCARD TEMP",),
    ("DISCARD ALL",),
    (ext("DISCARD TEMPORARY"),),
    ("DO $$BEGIN EXECUTE 'DISCARD TEMP'; END$$",),
)


WAYS = [(name, 0) for name in MADE] + [("plain", number) for number in range(1, len(DROPS))]


@pytest.mark.parametrize(("name", "number"), WAYS)
def test_a_temporary_relation_shadows_until_it_is_dropped(
    twins: Twins, name: str, number: int
) -> None:
    """A name without a schema means the session's own relation first, however it was made."""
    session, other = twins.session(), twins.session()
    session.step((parse(T, "known"), SYNC))
    prepared = (bind(statement="known"), execute(), SYNC)
    twins.prime(T, "SELECT * FROM public.t")
    for step in (T, ext(T), prepared):
        assert session.hit(step) == PERMANENT
    session.run(*MADE[name])
    assert session.read(T) != PERMANENT
    session.run(prepared, prepared)
    assert session.read("SELECT * FROM public.t") == PERMANENT
    session.run("BEGIN", T, "COMMIT")
    assert other.read(T) == PERMANENT
    other.hit(T)
    session.run(*DROPS[number])
    assert session.read(T) == PERMANENT
    session.step(prepared)
    assert session.hit(T) == PERMANENT


UNDONE: dict[str, tuple[tuple[Step, ...], tuple[Step, ...]]] = {
    "rolled back": (("BEGIN", "CREATE TEMP TABLE t (id int, v text)"), ("ROLLBACK",)),
    "rolled back, after hits": (
        ("BEGIN", T, T, "CREATE TEMP TABLE t (id int, v text)"),
        ("ROLLBACK",),
    ),
    "savepoint": (
        ("BEGIN", "SAVEPOINT a", "CREATE TEMP TABLE t (id int, v text)"),
        ("ROLLBACK TO a", T, "COMMIT"),
    ),
    "failed": (("BEGIN", "CREATE TEMP TABLE t (id int, v text)"), ("SELECT 1 / 0", "COMMIT")),
    "on commit drop": (
        ("BEGIN", "CREATE TEMP TABLE t (id int, v text) ON COMMIT DROP"),
        ("COMMIT",),
    ),
    "on commit drop, by DO": (
        ("BEGIN", "DO $$BEGIN CREATE TEMP TABLE t (id int, v text) ON COMMIT DROP; END$$"),
        ("COMMIT",),
    ),
    "on commit drop, chained": (
        ("BEGIN", "CREATE TEMP TABLE t (id int, v text) ON COMMIT DROP"),
        ("COMMIT AND CHAIN", T, "COMMIT"),
    ),
    "dropped": (("CREATE TEMP TABLE t (id int, v text)",), ("DROP TABLE t",)),
    "dropped by its schema": (("CREATE TEMP TABLE t (id int, v text)",), ("DROP TABLE pg_temp.t",)),
    "renamed away": (("CREATE TEMP TABLE t (id int, v text)",), ("ALTER TABLE t RENAME TO x",)),
    "view dropped": (("CREATE TEMP VIEW t AS SELECT 3 AS id",), ("DROP VIEW t",)),
    "by a function, dropped": (("SELECT makes()",), ("DROP TABLE t",)),
    "dropped in DO": (
        ("CREATE TEMP TABLE t (id int, v text)",),
        ("DO $$BEGIN DROP TABLE pg_temp.t; END$$",),
    ),
}


@pytest.mark.parametrize(("steps", "undo"), UNDONE.values(), ids=UNDONE)
def test_a_temporary_relation_that_is_undone(
    twins: Twins, steps: tuple[Step, ...], undo: tuple[Step, ...]
) -> None:
    """When it is gone, by whichever way, the name means the permanent relation again."""
    session = twins.session()
    twins.prime(T)
    session.hit(T)
    session.run(*steps)
    assert session.read(T) != PERMANENT
    session.run(*undo)
    assert session.read(T) == PERMANENT
    if "RENAME" in str(undo):
        session.step("DROP TABLE x")
    assert session.hit(T) == PERMANENT


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_drop_that_is_undone_shadows_again(twins: Twins, end: str) -> None:
    """DROP of a temporary table counts inside its transaction, and for good at COMMIT."""
    session = twins.session()
    twins.prime(T)
    session.run("CREATE TEMP TABLE t (id int, v text)", "INSERT INTO t VALUES (2, 'mine')")
    assert session.read(T) == [["2", "mine"]]
    session.run("BEGIN", "DROP TABLE t")
    assert session.read(T) == PERMANENT
    session.step(end)
    assert session.read(T) == (PERMANENT if end == "COMMIT" else [["2", "mine"]])
    session.step("DISCARD TEMP")
    session.hit(T)


def test_a_temporary_table_that_comes_and_goes_unseen(twins: Twins) -> None:
    """A function makes one and drops it: nothing shadows afterwards."""
    session = twins.session()
    session.hit(T)
    session.run("SELECT makes_nothing()", "DO $$BEGIN PERFORM makes_nothing(); END$$")
    assert session.read(T) == PERMANENT
    assert session.hit(T) == PERMANENT


def test_each_session_has_its_own(twins: Twins) -> None:
    """Two sessions with a temporary table of the same name and text see different rows."""
    one, two, none = twins.session(), twins.session(), twins.session()
    twins.prime(T)
    for session, value in ((one, "one"), (two, "two")):
        session.run("CREATE TEMP TABLE t (id int, v text)", f"INSERT INTO t VALUES (1, '{value}')")
    for _ in range(2):
        assert one.read(T) == [["1", "one"]]
        assert two.read(T) == [["1", "two"]]
        assert none.read(T) == PERMANENT
    one.step("UPDATE t SET v = 'changed'")
    assert one.read(T) == [["1", "changed"]]
    assert two.read(T) == [["1", "two"]]
    none.hit(T)
    two.close()
    assert one.read(T) == [["1", "changed"]]


def test_temporary_views_and_what_they_read(twins: Twins) -> None:
    """A view that is made while a temporary table shadows is temporary and reads that one."""
    session = twins.session()
    sql = "SELECT v FROM w"
    twins.prime(sql)
    session.hit(sql)
    session.run("CREATE TEMP TABLE t (id int, v text)", "INSERT INTO t VALUES (1, 'mine')")
    # A permanent view goes on reading the permanent table.
    assert session.read(sql) == [["permanent"]]
    session.step("CREATE VIEW w AS SELECT v FROM t")
    assert session.read(sql) == [["mine"]]
    assert session.read("SELECT v FROM public.w") == [["permanent"]]
    session.step("DISCARD TEMP")
    assert session.hit(sql) == [["permanent"]]


def test_temporary_functions_shadow_nothing(twins: Twins) -> None:
    """Functions are never sought in the temporary schema without its name."""
    session = twins.session()
    sql = "SELECT f(), v FROM t"
    twins.prime(sql)
    session.hit(sql)
    session.step("CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS $$SELECT 'mine'$$")
    assert session.read(sql) == [["permanent", "permanent"]]
    assert session.read("SELECT pg_temp.f(), v FROM t") == [["mine", "permanent"]]
    session.step("SET search_path = pg_temp, public")
    assert session.read(sql) == [["permanent", "permanent"]]
    session.run("RESET search_path", "DROP FUNCTION pg_temp.f()")
    session.fails("SELECT pg_temp.f(), v FROM t", "42883")
    assert session.read(sql) == [["permanent", "permanent"]]
    assert twins.session().hit(sql) == [["permanent", "permanent"]]


def test_functions_read_temporary_tables(twins: Twins) -> None:
    """A function's body that names a table means the temporary one of its caller."""
    session, other = twins.session(), twins.session()
    sql = "SELECT f() FROM public.t"
    twins.prime(sql)
    session.step("CREATE TEMP TABLE t AS SELECT 1 AS id, 'mine'::text AS v")
    assert session.read(sql) == [["mine"]]
    assert other.read(sql) == [["permanent"]]
    other.hit(sql)
    session.step("DROP TABLE t")
    session.read(sql)


def test_temporary_sequences_and_types(twins: Twins) -> None:
    """Sequences and types of the session's own come first as well."""
    session, other = twins.session(), twins.session()
    twins.prime(T)
    session.step("SELECT nextval('s')")
    session.run("CREATE TEMP SEQUENCE s START 7", "SELECT nextval('s')", "SELECT currval('s')")
    session.read(T)
    other.step("SELECT nextval('s')")
    session.run("DROP SEQUENCE s", "SELECT nextval('s')", "SELECT last_value > 0 FROM s")
    session.step("CREATE TYPE pg_temp.t AS ENUM ('a')")
    session.run("SELECT 'a'::pg_temp.t, v FROM public.t", "DROP TYPE pg_temp.t")
    assert session.read(T) == PERMANENT
    assert session.hit(T) == PERMANENT


def test_statements_prepared_before_and_behind(twins: Twins) -> None:
    """A named statement follows the names of the moment, or says that its result has changed."""
    session = twins.session()
    twins.prime(T)
    session.step((parse(T, "before"), describe("S", "before"), SYNC))
    before = (bind(statement="before"), describe(), execute(), SYNC)
    session.run("PREPARE sql AS SELECT * FROM t", before, "EXECUTE sql")
    session.step("CREATE TEMP TABLE t AS SELECT true AS other")
    # Its ORDER BY names a column that the other table has not.
    session.fails(before, "42703")
    session.fails("EXECUTE sql", "0A000")
    session.step((parse("SELECT * FROM t", "behind"), describe("S", "behind"), SYNC))
    behind = (bind(statement="behind"), describe(), execute(), SYNC)
    session.step(behind)
    session.step("DROP TABLE pg_temp.t")
    session.run(before, before, "EXECUTE sql")
    session.fails(behind, "0A000")
    session.hit(T)
