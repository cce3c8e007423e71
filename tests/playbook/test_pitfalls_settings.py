"""The same text under other settings, names, literals and schemas is another question."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fix_howdah import SharedHowdahs, Starter
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import SYNC, bind, describe, execute, parse
from tests.playbook.twins import Step, Twins, ext, make, pipeline

SCHEMA = """
CREATE SCHEMA a; CREATE SCHEMA b;
CREATE TABLE a.t (id int, v text); INSERT INTO a.t VALUES (1, 'a');
CREATE TABLE b.t (id int, v text); INSERT INTO b.t VALUES (1, 'b');
CREATE TABLE public.t (id int, v text); INSERT INTO public.t VALUES (1, 'public');
CREATE TABLE cases (k text, n int); INSERT INTO cases VALUES ('abc', 2), ('ABC', 1), ('aBc', 3);
CREATE TABLE moments (id int, at timestamptz, d date, i interval, f float8, b bytea);
INSERT INTO moments
    VALUES (1, '2024-03-04 05:06:07+00', '2024-03-04', '1 day 2:03', 0.1, '\\x00ff');
CREATE FUNCTION sets(text, text) RETURNS void LANGUAGE plpgsql AS
    'BEGIN PERFORM set_config($1, $2, false); END';
CREATE FUNCTION in_b() RETURNS SETOF text LANGUAGE sql STABLE SET search_path = b
    AS 'SELECT v FROM t';
CREATE FUNCTION here() RETURNS SETOF text LANGUAGE plpgsql STABLE
    AS 'BEGIN RETURN QUERY SELECT v FROM t; END';
"""
T = "SELECT * FROM t ORDER BY id"
MOMENTS = "SELECT * FROM public.moments"
PUBLIC, A, B = [["1", "public"]], [["1", "a"]], [["1", "b"]]


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_settings")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    with bench:
        yield bench


# Settings


UPDATES = "UPDATE pg_settings SET setting = '{v}' WHERE lower(name) = '{n}'"
WAYS: dict[str, tuple[Step, ...]] = {
    "set": ("SET {n} = '{v}'",),
    "set to": ("set session {n} TO '{v}'",),
    "set_config": ("SELECT set_config('{n}', '{v}', false)",),
    "by a function": ("SELECT sets('{n}', '{v}')",),
    "in DO": ("DO $$BEGIN SET {n} = '{v}'; END$$",),
    "by the catalog": (UPDATES,),
    "in a block": ("BEGIN", "SET {n} = '{v}'", "COMMIT"),
    "in a savepoint": ("BEGIN", "SAVEPOINT s", "SET {n} = '{v}'", "RELEASE s", "COMMIT"),
    "local first": ("BEGIN", "SET LOCAL {n} = DEFAULT", "SET {n} = '{v}'", "END"),
    "several": ("SELECT 1; SET {n} = '{v}'; SELECT 2",),
    "prepared": ("PREPARE x AS SELECT set_config($1, $2, false)", "EXECUTE x ('{n}', '{v}')"),
    "in a query": ("SELECT set_config('{n}', '{v}', false) FROM public.t",),
}
NAMES = (
    ("search_path", "b", T),
    ("timezone", "Asia/Tokyo", MOMENTS),
    ("datestyle", "German", MOMENTS),
)


@pytest.mark.parametrize(("name", "value", "sql"), NAMES, ids=[n[0] for n in NAMES])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_setting_changes_the_answer(
    twins: Twins, way: tuple[str, ...], name: str, value: str, sql: str
) -> None:
    """However a setting comes to its value, the text is answered under that value."""
    session, other = twins.session(), twins.session()
    twins.prime(sql)
    before = session.hit(sql)
    steps = [step.format(n=name, v=value) for step in way]
    for _ in range(2):
        session.run(*steps)
        session.step("DEALLOCATE ALL")
        assert session.read(sql) != before
        session.step(f"SHOW {name}")
        assert other.read(sql) == before
        session.step(f"RESET {name}")
        assert session.read(sql) == before
    assert session.hit(sql) == before
    session.run(*steps)
    session.step("DEALLOCATE ALL")
    session.hit(sql)
    session.hit(ext(sql))


@pytest.mark.parametrize(
    "text",
    [
        "SET LOCAL search_path = b",
        "SELECT set_config('search_path', 'b', true)",
        "SET LOCAL SCHEMA 'b'",
        "DO $$BEGIN SET LOCAL search_path = b; END$$",
    ],
)
def test_a_local_setting_ends_with_its_transaction(twins: Twins, text: str) -> None:
    """SET LOCAL holds to the end of the transaction or of its savepoint, and outside not at all."""
    session = twins.session()
    twins.prime(T)
    session.step(text)
    assert session.read(T) == PUBLIC
    for begin in ("BEGIN", ext("BEGIN")):
        for end in ("COMMIT", "ROLLBACK"):
            session.run(begin, T, text)
            assert session.read(T) == B
            session.step(end)
            assert session.read(T) == PUBLIC
        session.run("BEGIN", "SAVEPOINT s", text)
        assert session.read(T) == B
        session.step("ROLLBACK TO s")
        assert session.read(T) == PUBLIC
        session.run("SET search_path = a", "SAVEPOINT s", text, "RELEASE s")
        assert session.read(T) == B
        session.step("COMMIT")
        assert session.read(T) == A
        session.step("RESET search_path")
    assert session.hit(T) == PUBLIC


def test_what_comes_back_when_a_savepoint_is_rolled_back(twins: Twins) -> None:
    """Each savepoint has its own value to go back to."""
    session = twins.session()
    twins.prime(T)
    session.run("BEGIN", "SET search_path = a", "SAVEPOINT one", "SET search_path = b")
    session.step("SAVEPOINT two")
    session.step("SET LOCAL search_path = public")
    assert session.read(T) == PUBLIC
    session.step("ROLLBACK TO two")
    assert session.read(T) == B
    session.step("SELECT 1 / 0")
    session.step("ROLLBACK TO one")
    assert session.read(T) == A
    session.step("COMMIT")
    assert session.read(T) == A
    session.run("BEGIN", "RESET search_path", "ROLLBACK")
    assert session.read(T) == A
    session.step("RESET ALL")
    assert session.hit(T) == PUBLIC


def test_hits_under_settings_of_a_transaction(twins: Twins) -> None:
    """SET LOCAL in front of reads, as pools for many tenants do it: repeats come from memory."""
    session = twins.session()
    for _ in range(3):
        session.run("BEGIN", "SET LOCAL search_path = b", T, T, "COMMIT")
    session.run("BEGIN", "SET LOCAL search_path = b")
    assert session.hit(T) == B
    session.step("COMMIT")
    assert session.hit(T) == PUBLIC


@pytest.mark.parametrize(
    "step",
    [
        "SET search_path = b; SELECT 1 / 0",
        pipeline("SET search_path = b", "SELECT 1 / 0"),
        "SET search_path = b; SET work_mem = 'nonsense'",
        pipeline("SET search_path = b", "SET TimeZone = 'Nowhere/Land'"),
        "BEGIN; SET search_path = b; SELECT 1 / 0",
        "SET search_path = b; ROLLBACK; SELECT 1",
        (parse("SET search_path = b"), bind(), SYNC),
        (parse("SET search_path = b"), describe("S", ""), SYNC),
        "PREPARE y AS SELECT set_config('search_path', 'b', false)",
        "EXPLAIN SELECT set_config('search_path', 'b', false) FROM public.t",
    ],
)
def test_a_set_that_does_not_happen(twins: Twins, step: Step) -> None:
    """What fails behind a SET undoes it; what is only prepared or explained sets nothing."""
    session = twins.session()
    twins.prime(T)
    session.step("SET search_path = a")
    assert session.hit(T) == A
    session.step(step)
    if session.status != "I":
        session.step("ROLLBACK")
    session.step("SHOW search_path")
    assert session.read(T) == A
    session.step("RESET search_path")
    assert session.hit(T) == PUBLIC


def test_an_unnamed_statement_keeps_the_names_of_its_moment(twins: Twins) -> None:
    """Bind of the unnamed statement behind SET search_path: PostgreSQL plans it anew."""
    session = twins.session()
    twins.prime(T)
    again = (bind(), describe(), execute(), SYNC)
    session.run((parse(T), SYNC), again)
    for path in ("b", "a", "public"):
        # By the extended protocol under another name: a Query would end the unnamed statement.
        text = f"SET search_path = {path}"
        session.step((parse(text, "set"), bind(statement="set"), execute(), SYNC))
        session.step(again)
        session.step(again)
        session.step(ext("DEALLOCATE set") if path == "none" else (b"C\0\0\0\x09Sset\0", SYNC))


def test_settings_of_functions(twins: Twins) -> None:
    """SET attached to a function holds inside of it alone; ALTER FUNCTION changes it."""
    session, owner = twins.session(), twins.session()
    texts = ("SELECT * FROM public.in_b()", "SELECT * FROM public.here()")
    for text in texts:
        session.read(text)
    session.hit(texts[0])
    session.step("SET search_path = a")
    for text in texts:
        session.read(text)
    assert session.read(T) == A
    owner.step("ALTER FUNCTION in_b() SET search_path = a")
    owner.step("ALTER FUNCTION here() SET search_path = b")
    for text in texts:
        session.read(text)
    assert session.read(T) == A
    owner.step("ALTER FUNCTION in_b() SET search_path = b")
    owner.step("ALTER FUNCTION here() RESET ALL")
    for text in texts:
        session.read(text)
    assert session.hit(T) == A


# Settings from elsewhere


ELSEWHERE = (
    "ALTER ROLE alice {set}",
    "ALTER ROLE ALL {set}",
    "ALTER DATABASE {database} {set}",
    "ALTER ROLE alice IN DATABASE {database} {set}",
)


@pytest.mark.parametrize("text", ELSEWHERE)
def test_settings_of_roles_and_databases(twins: Twins, text: str) -> None:
    """ALTER ROLE or DATABASE ... SET holds for sessions that begin later, and for RESET there."""
    owner, old = twins.session(), twins.session("alice")
    twins.both("GRANT USAGE ON SCHEMA a, b TO PUBLIC", "GRANT SELECT ON a.t, b.t, t TO PUBLIC")
    twins.prime(T, user="alice")
    owner.remember("database", "SELECT current_database()")
    change = text.replace("{database}", "<database>")
    try:
        for path, rows in (("b", B), ("a", A)):
            owner.step(change.replace("{set}", f"SET search_path = {path}"))
            new = twins.session("alice")
            assert new.read(T) == rows
            assert old.read(T) == PUBLIC
            new.step("SET search_path = public")
            assert new.read(T) == PUBLIC
            new.step("RESET ALL")
            assert new.hit(T) == rows
            old.run("DISCARD ALL")
            assert old.read(T) == PUBLIC
    finally:
        owner.step(change.replace("{set}", "RESET search_path"))
    assert twins.session("alice").hit(T) == PUBLIC


LOGIN = """
CREATE TABLE logins (who text, n int); INSERT INTO logins VALUES ('all', 0);
CREATE FUNCTION arrives() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('application_name') LIKE 'counted%' THEN
    UPDATE public.logins SET n = n + 1;
    PERFORM set_config('search_path', 'b', false);
    CREATE TEMP TABLE here AS SELECT 1 AS x;
  END IF;
END $$;
CREATE TABLE here (x int);
CREATE EVENT TRIGGER arrives ON login EXECUTE FUNCTION arrives();
"""


def test_triggers_of_a_login(pg18: PostgresServer, shared_howdahs: SharedHowdahs) -> None:
    """A login event trigger writes, sets and makes temporary tables before the first statement."""
    logins, here = "SELECT n FROM public.logins", "SELECT x FROM here"
    with make(pg18, shared_howdahs.of(pg18), SCHEMA + LOGIN, "pit_login") as twins:
        reader = twins.session()
        twins.prime(logins, T)
        for number in range(1, 4):
            reader.hit(logins)
            arrived = twins.session(warm=False, application_name=f"counted {number}")
            assert reader.read(logins) == [[str(number)]]
            assert arrived.read(T) == B
            assert arrived.read(here) == [["1"]]
            assert reader.read(T) == PUBLIC
            assert reader.read(here) == []
            arrived.run("DISCARD TEMP", "RESET ALL")
            assert arrived.read(T) == PUBLIC
            arrived.hit(T)


@contextmanager
def _configured(postgres: PostgresServer, *statements: str) -> Iterator[None]:
    try:
        yield
    finally:
        postgres.run("postgres", *statements, "SELECT pg_reload_conf()")


@pytest.mark.parametrize("past", [False, True])
def test_a_configuration_that_is_reloaded(
    postgres: PostgresServer, start_howdah: Starter, past: bool
) -> None:
    """ALTER SYSTEM and pg_reload_conf, through Howdah or past it: sessions answer under it."""
    twins = make(postgres, start_howdah("--max-age", "2s"), SCHEMA, "pit_reload")
    back = "ALTER SYSTEM RESET DateStyle"
    with twins, _configured(postgres, back):
        session, other = twins.session(), twins.session()
        own = twins.session(DateStyle="SQL")
        before = session.hit(MOMENTS)
        owns = own.hit(MOMENTS)
        commands = ("ALTER SYSTEM SET DateStyle = 'German'", "SELECT pg_reload_conf()")
        for text in commands:
            if past:
                postgres.run("postgres", text)
            else:
                other.through.rows(text)

        def moved(wire_rows: object) -> bool:
            return wire_rows != before

        # Backends read the files when they next hear of something.
        eventually(lambda: moved(session.direct.rows(MOMENTS)))
        eventually(lambda: moved(session.through.rows(MOMENTS)))
        eventually(lambda: moved(other.through.rows(MOMENTS)))
        eventually(lambda: moved(other.direct.rows(MOMENTS)))
        assert session.read(MOMENTS) == other.read(MOMENTS) != before
        assert own.read(MOMENTS) == owns
        eventually(lambda: "has reloaded its configuration" in twins.howdah.log)
        session.hit(MOMENTS)
        own.step("RESET DateStyle")
        own.read(MOMENTS)


# The same text


LIKE_TEXTS = (
    "SELECT n FROM cases WHERE k = 'abc'",
    "SELECT n FROM cases WHERE k = 'ABC'",
    "SELECT n FROM cases WHERE k = 'aBc'",
    "SELECT n FROM CASES WHERE K = 'abc'",
    "select N from cases where k = 'ABC'",
    "SELECT n FROM cases WHERE k = 'abc '",
    "SELECT n FROM cases WHERE k = E'abc'",
    "SELECT n FROM cases WHERE k = 'abc' -- 'ABC'",
    "SELECT k, n FROM cases ORDER BY 1",
    "SELECT k, n FROM cases ORDER BY 2",
    "SELECT k, n FROM cases ORDER BY 2 LIMIT 1",
    "SELECT k, n FROM cases ORDER BY 2 LIMIT 2",
    "SELECT 1, n FROM cases ORDER BY 2",
    "SELECT '1', n FROM cases ORDER BY 2",
    "SELECT 1.0, n FROM cases ORDER BY 2",
    "SELECT 1::int8, n FROM cases ORDER BY 2",
    "SELECT NULL, n FROM cases ORDER BY 2",
    "SELECT true, n FROM cases ORDER BY 2",
    "SELECT 'a' AS x, n FROM cases ORDER BY 2",
    "SELECT 'a' AS y, n FROM cases ORDER BY 2",
    'SELECT n AS "N" FROM cases ORDER BY 1',
    "SELECT n AS N FROM cases ORDER BY 1",
    "SELECT count(*), 2 FROM cases GROUP BY 2",
    "SELECT B'1', n FROM cases ORDER BY 2",
    "SELECT X'1', n FROM cases ORDER BY 2",
)


def test_texts_that_are_nearly_the_same(twins: Twins) -> None:
    """Case of strings, kinds of literals, positions in ORDER BY: each text has its own answer."""
    session, other = twins.session(), twins.session()
    for _ in range(2):
        for text in LIKE_TEXTS:
            session.read(text)
            other.step(text)
    for text in LIKE_TEXTS:
        session.hit(text)


def test_parameters_that_are_nearly_the_same(twins: Twins) -> None:
    """Values of a parameter are compared byte by byte: case, spaces and NULL matter."""
    session = twins.session()
    sql = "SELECT n, $1::text FROM cases WHERE k = $1 OR $1 IS NULL ORDER BY n"
    values = (b"abc", b"ABC", b"abc ", b"", None, b"aBc", b"'abc'")
    for _ in range(3):
        for value in values:
            session.step(ext(sql, value))
    for value in values:
        session.hit(ext(sql, value))


MOVING = (
    "SELECT random() < 2, v FROM t",
    "SELECT clock_timestamp() IS NULL, v FROM t",
    "SELECT gen_random_uuid() IS NULL, v FROM t",
    "SELECT txid_current() IS NULL, v FROM t",
    "SELECT CURRENT_TIMESTAMP IS NULL, CURRENT_DATE IS NULL, LOCALTIME IS NULL, v FROM t",
    "SELECT now() IS NULL, v FROM t",
    "SELECT 'now'::timestamptz IS NULL, v FROM t",
    "SELECT v FROM t WHERE timestamptz 'today' > '2000-01-01'",
    "SELECT pg_backend_pid() IS NULL, v FROM t",
    "SELECT age(timestamptz '2020-01-01') IS NULL, v FROM t",
    "SELECT v FROM t ORDER BY random()",
    "SELECT v FROM t TABLESAMPLE BERNOULLI (100)",
    "SELECT v, (SELECT setseed(0.5)) IS NULL FROM t",
)


@pytest.mark.parametrize("sql", MOVING)
def test_what_moves_by_itself_is_never_remembered(twins: Twins, sql: str) -> None:
    """Clocks, chance, pids: volatile wherever they stand, and never from memory."""
    session = twins.session()
    session.hit("SELECT v FROM t")
    session.forwarded(sql)


def test_columns_come_and_go(twins: Twins) -> None:
    """SELECT * behind ALTER TABLE, of others too: rows and their description are the new ones."""
    owner, session = twins.session(), twins.session()
    owner.step("CREATE TABLE changing (id int, v text)")
    owner.step("INSERT INTO changing VALUES (1, 'x')")
    sql = "SELECT * FROM changing"
    for text in (
        "ALTER TABLE changing ADD COLUMN more int DEFAULT 7",
        "ALTER TABLE changing DROP COLUMN v",
        "ALTER TABLE changing ADD COLUMN v text DEFAULT 'again'",
        "ALTER TABLE changing RENAME COLUMN more TO less",
        "ALTER TABLE changing ALTER COLUMN id TYPE bigint",
        "ALTER TABLE changing ALTER COLUMN id TYPE text USING 'n' || id",
        "BEGIN; ALTER TABLE changing ADD COLUMN gone int; ROLLBACK",
        "DROP TABLE changing; CREATE TABLE changing (w int); INSERT INTO changing VALUES (3)",
        "CREATE OR REPLACE VIEW seen AS SELECT w FROM changing",
    ):
        for one in (owner, session):
            one.read(sql)
        session.step((parse(sql, "known"), describe("S", "known"), SYNC))
        known = (bind(statement="known"), describe(), execute(), SYNC)
        session.run(known, known)
        owner.step(text)
        session.run(known, sql, ext(sql), known, "DEALLOCATE ALL")
        owner.read(sql)
    session.hit(sql)
    session.read("SELECT * FROM seen")
    owner.step("CREATE OR REPLACE VIEW seen AS SELECT w, w + 1 AS x FROM changing")
    session.read("SELECT * FROM seen")
    owner.step("DROP VIEW seen")
    session.fails("SELECT * FROM seen", "42P01")
    owner.step("DROP TABLE changing")
    session.fails(sql, "42P01")


def test_labels_of_types_are_renamed(twins: Twins) -> None:
    """ALTER TYPE RENAME VALUE changes what rows say without a write to them."""
    owner, session = twins.session(), twins.session()
    owner.step("CREATE TYPE mood AS ENUM ('sad', 'happy')")
    owner.step("CREATE TABLE moods (id int, m mood)")
    owner.step("INSERT INTO moods VALUES (1, 'sad'), (2, 'happy')")
    sql = "SELECT * FROM moods ORDER BY m"
    session.hit(sql)
    session.hit(ext(sql))
    owner.step("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    assert session.read(sql)[0] == ["1", "blue"]
    owner.step("ALTER TYPE mood RENAME TO temper")
    session.read(sql)
    owner.step("DROP TABLE moods; DROP TYPE temper")
    session.fails(sql, "42P01")
