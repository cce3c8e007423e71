"""Sessions that once made an answer for others which a new session would not have got.

What lives here: sessions that keep something PostgreSQL does not give up (plans of
functions, parsed statements, reset values, names of prepared statements) beyond the
settings or the schema under which it came about; and what was lost sight of between
two requests. One session does the steps and then asks the question until its answer is
stored; a second one must be told what a third one hears from the server directly.

Followed: plancache.c and setrefs.c (what invalidates a kept plan, and what does not),
pl_comp.c (types are looked up once), trigger.c and portalmem.c (what runs at COMMIT),
guc.c (RESET goes back to where a value came from).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.fix_howdah import Howdah, Starter
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    SYNC,
    Frame,
    Wire,
    bind,
    connect,
    describe,
    errors,
    execute,
    parse,
)

T = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 10), (2, 20);"
# A literal that is read under the settings of the moment when the function first runs.
ZONED = """
CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql STABLE AS
  $$ BEGIN RETURN ('2020-01-01'::timestamptz AT TIME ZONE 'UTC')::text; END $$;
"""
UTC = "SET timezone = 'UTC'"
NEW_YORK = "SET timezone = 'America/New_York'"
LOCALLY = "SET LOCAL timezone = 'America/New_York'"
ASK = "SELECT id, public.f() FROM public.t ORDER BY id"


@dataclass(frozen=True)
class Other:
    """A step of another session."""

    text: str


# A step is a text, messages up to Sync, or somebody else's.
Step = str | tuple[bytes, ...] | Other


@dataclass(frozen=True)
class Scene:
    """`named`: the question is the prepared statement `s`, which the steps have parsed."""

    name: str
    steps: tuple[Step, ...]
    schema: str = ""
    sql: str = ASK
    named: bool = False


_TRIGGER = """
CREATE TABLE log (x text);
CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO log VALUES (f()); RETURN NULL; END $$;
CREATE TABLE k (a int);
"""
_DEFERRED = (
    _TRIGGER
    + """CREATE CONSTRAINT TRIGGER late AFTER INSERT ON k DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION logs();"""
)
_BOUND = (parse("SELECT f()", "one"), bind(portal="p", statement="one"), SYNC)
_REFUSED = (
    parse("SELECT public.f()"),
    bind(),
    execute(),
    parse("SELECT garbage FROM nowhere", "two"),
    SYNC,
)

LATE = [
    Scene(
        "fetch",
        ("BEGIN", "DECLARE c CURSOR FOR SELECT f()", LOCALLY, "FETCH c", "COMMIT"),
    ),
    Scene("portal", ("BEGIN", _BOUND, LOCALLY, (execute("p"), SYNC), "COMMIT")),
    Scene(
        "cursor with hold",
        ("BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT f()", LOCALLY, "COMMIT", "CLOSE c"),
    ),
    Scene("deferred", ("BEGIN", "INSERT INTO k VALUES (1)", LOCALLY, "COMMIT"), _DEFERRED),
    Scene(
        "set constraints",
        (
            "BEGIN",
            "INSERT INTO k VALUES (1)",
            LOCALLY,
            "SET CONSTRAINTS ALL IMMEDIATE",
            "COMMIT",
        ),
        _DEFERRED,
    ),
    Scene("create table as", (NEW_YORK, "CREATE TABLE z AS SELECT f() AS x FROM t", UTC)),
    Scene("select into", (NEW_YORK, "SELECT f() AS x INTO z FROM t", UTC)),
    Scene(
        "create table as execute",
        (NEW_YORK, "PREPARE p AS SELECT f() AS x", "CREATE TABLE z AS EXECUTE p", UTC),
    ),
    Scene(
        "argument of execute",
        (NEW_YORK, "PREPARE p (text) AS SELECT $1", "EXECUTE p (f())", UTC),
    ),
    Scene(
        "settings of the caller",
        ("SELECT h()",),
        """CREATE FUNCTION h() RETURNS text LANGUAGE plpgsql STABLE
        SET timezone = 'America/New_York' AS 'BEGIN RETURN f(); END';""",
    ),
    Scene(
        "settings of a trigger",
        ("INSERT INTO k VALUES (1)",),
        _TRIGGER
        + """ALTER FUNCTION logs() SET timezone = 'America/New_York';
        CREATE TRIGGER now AFTER INSERT ON k FOR EACH ROW EXECUTE FUNCTION logs();""",
    ),
    Scene("refused behind it", (NEW_YORK, _REFUSED, UTC)),
    Scene(
        "refused behind an event trigger",
        (NEW_YORK, "CREATE VIEW w AS SELECT nothing", UTC),
        """CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM public.f(); END';
        CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION e();""",
    ),
]

_ENUM = """
CREATE TYPE en AS ENUM ('a', 'b');
CREATE TABLE e (x en);
INSERT INTO e VALUES ('a'), ('a'), ('b');
CREATE FUNCTION counts() RETURNS bigint LANGUAGE plpgsql STABLE AS
  $$ BEGIN RETURN (SELECT count(*) FROM e WHERE x = 'a'); END $$;
"""
_SWAP = ("ALTER TYPE en RENAME VALUE 'a' TO 'z'", "ALTER TYPE en RENAME VALUE 'b' TO 'a'")
_COUNT = "SELECT count(*) FROM e WHERE x = 'a'"
_COUNTS = "SELECT id, counts() FROM t ORDER BY id"
# PostgreSQL folds outer() to a constant, and records that the plan depends on it alone.
_FOLDED = """
CREATE FUNCTION inner_of(i int) RETURNS int IMMUTABLE {body};
CREATE FUNCTION outer_of(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
  'BEGIN RETURN inner_of($1); END';
CREATE FUNCTION calls() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RETURN outer_of(1); END';
"""
_PLPGSQL = "LANGUAGE plpgsql AS 'BEGIN RETURN i * {}; END'"
_ATOMIC = "LANGUAGE sql BEGIN ATOMIC SELECT i * {}; END"
_REPLACE = "CREATE OR REPLACE FUNCTION inner_of(i int) RETURNS int IMMUTABLE "
_CALLS = "SELECT id, calls() FROM t ORDER BY id"
_OUTER = "SELECT id, outer_of(1) FROM t ORDER BY id"
_SEARCH = """
CREATE TEXT SEARCH CONFIGURATION cc (COPY = simple);
CREATE FUNCTION words() RETURNS text LANGUAGE plpgsql STABLE AS
  $$ BEGIN RETURN to_tsvector('public.cc', 'running dogs')::text; END $$;
"""
_STEM = "ALTER TEXT SEARCH CONFIGURATION cc ALTER MAPPING FOR asciiword WITH english_stem"
_WORDS = "SELECT id, to_tsvector('cc', 'running dogs') FROM t ORDER BY id"
_DOMAIN = """
CREATE SCHEMA s1; CREATE SCHEMA s2;
CREATE DOMAIN s1.m AS numeric(5,1); CREATE DOMAIN s2.m AS numeric(5,3);
CREATE FUNCTION rounds() RETURNS text LANGUAGE plpgsql STABLE AS
  $$ DECLARE x s1.m; BEGIN x := 1.2345; RETURN x::text; END $$;
"""
_ROUNDS = "SELECT id, rounds() FROM t ORDER BY id"


def _parsed(sql: str) -> tuple[bytes, ...]:
    return (parse(sql, "s"), bind(statement="s"), execute(), SYNC)


def _others(*texts: str) -> tuple[Other, ...]:
    return tuple(map(Other, texts))


CHANGED = [
    Scene("enum, function", ("SELECT counts()", *_others(*_SWAP)), _ENUM, _COUNTS),
    Scene("enum, named", (_parsed(_COUNT), *_others(*_SWAP)), _ENUM, _COUNT, named=True),
    Scene(
        "folded, function",
        ("SELECT calls()", Other(_REPLACE + _PLPGSQL.format(20))),
        _FOLDED.format(body=_PLPGSQL.format(10)),
        _CALLS,
    ),
    Scene(
        "folded, named",
        (_parsed(_OUTER), Other(_REPLACE + _ATOMIC.format(20))),
        _FOLDED.format(body=_ATOMIC.format(10)),
        _OUTER,
        named=True,
    ),
    Scene(
        "text search, function",
        ("SELECT words()", Other(_STEM)),
        _SEARCH,
        "SELECT id, words() FROM t ORDER BY id",
    ),
    Scene("text search, named", (_parsed(_WORDS), Other(_STEM)), _SEARCH, _WORDS, named=True),
    Scene(
        "another domain of the name",
        (
            "SELECT rounds()",
            *_others("ALTER DOMAIN s1.m RENAME TO old", "CREATE DOMAIN s1.m AS numeric(5,3)"),
        ),
        _DOMAIN,
        _ROUNDS,
    ),
    Scene(
        "another schema of the name",
        (
            "SELECT rounds()",
            *_others("ALTER SCHEMA s1 RENAME TO s3", "ALTER SCHEMA s2 RENAME TO s1"),
        ),
        _DOMAIN,
        _ROUNDS,
    ),
]
UNDONE = [
    Scene("function", ("BEGIN", *_SWAP, "SELECT counts()", "ROLLBACK"), _ENUM, _COUNTS),
    Scene("named", ("BEGIN", *_SWAP, _parsed(_COUNT), "ROLLBACK"), _ENUM, _COUNT, named=True),
    Scene(
        "named, to a savepoint",
        ("BEGIN", "SAVEPOINT x", *_SWAP, _parsed(_COUNT), "ROLLBACK TO x", "COMMIT"),
        _ENUM,
        _COUNT,
        named=True,
    ),
    Scene(
        "folded",
        ("BEGIN", _REPLACE + _PLPGSQL.format(20), "SELECT calls()", "ROLLBACK"),
        _FOLDED.format(body=_PLPGSQL.format(10)),
        _CALLS,
    ),
    Scene(
        "parsed before",
        (
            (parse(_OUTER, "s"), SYNC),
            "BEGIN",
            _REPLACE + _PLPGSQL.format(20),
            (bind(statement="s"), execute(), SYNC),
            "ROLLBACK",
        ),
        _FOLDED.format(body=_PLPGSQL.format(10)),
        _OUTER,
        named=True,
    ),
]


def _names(scenes: list[Scene]) -> list[str]:
    return [scene.name for scene in scenes]


def _body(frames: list[Frame]) -> list[Frame]:
    """What a client sees of an answer, whatever protocol it has asked by."""
    return [frame for frame in frames if frame.kind in "DCE"]


@contextlib.contextmanager
def _sessions(
    howdah: Howdah, postgres: PostgresServer, schema: str, count: int
) -> Iterator[tuple[list[Wire], Wire]]:
    """Sessions through Howdah whose settings it knows, and one past it; all under UTC."""
    database = postgres.create_database(T + schema, name="broken")
    howdah.warm(database)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(howdah.wire(database)) for _ in range(count)]
        direct = stack.enter_context(connect((postgres.host, postgres.port), database))
        for wire in wires:
            wire.query(UTC)
            howdah.until_hit(wire)
        direct.query(UTC)
        yield wires, direct


def _play(howdah: Howdah, postgres: PostgresServer, scene: Scene) -> None:
    schema = ZONED + scene.schema
    with _sessions(howdah, postgres, schema, 3) as ((old, new, writer), direct):
        for step in scene.steps:
            if isinstance(step, Other):
                assert not errors(writer.query(step.text))
            elif isinstance(step, str):
                old.query(step)
            else:
                old.ask(*step)
        howdah.until_hit(old)
        for _ in range(3):
            if scene.named:
                old.ask(bind(statement="s"), describe(), execute(), SYNC)
            else:
                old.query(scene.sql)
        howdah.until_hit(new)
        if scene.named:
            assert _body(new.extended(scene.sql)) == _body(direct.extended(scene.sql))
        else:
            assert _body(new.query(scene.sql)) == _body(direct.query(scene.sql))


@pytest.mark.parametrize("scene", LATE, ids=_names(LATE))
def test_functions_that_ran_unseen_under_other_settings(
    howdah: Howdah, postgres: PostgresServer, scene: Scene
) -> None:
    _play(howdah, postgres, scene)


@pytest.mark.parametrize("scene", CHANGED, ids=_names(CHANGED))
def test_what_a_session_keeps_beyond_a_change_of_the_schema(
    howdah: Howdah, postgres: PostgresServer, scene: Scene
) -> None:
    _play(howdah, postgres, scene)


@pytest.mark.parametrize("scene", UNDONE, ids=_names(UNDONE))
def test_what_a_session_keeps_of_a_change_of_its_own_that_was_undone(
    howdah: Howdah, postgres: PostgresServer, scene: Scene
) -> None:
    _play(howdah, postgres, scene)


def test_a_function_that_runs_again_for_an_answer_from_memory(
    howdah: Howdah, postgres: PostgresServer
) -> None:
    """What asks about the portal of a hit has PostgreSQL make that portal, by running it."""
    with _sessions(howdah, postgres, ZONED, 3) as ((old, new, writer), direct):
        for _ in range(3):
            new.extended(ASK)
        old.query("BEGIN")
        with howdah.hits_during(1):
            old.extended(ASK)
        old.ask(parse(LOCALLY, "x"), bind(portal="x", statement="x"), execute("x"), SYNC)
        old.ask(describe(), SYNC)
        old.query("COMMIT")
        writer.query("UPDATE t SET v = v + 1")
        howdah.until_hit(old)
        for _ in range(3):
            old.query(ASK)
        assert _body(new.query(ASK)) == _body(direct.query(ASK))


_BY_PROTOCOL = (parse("UPDATE t SET v = v + 1", "p"), SYNC)
_ANOTHER = "PREPARE p AS SELECT 1"
NAMES: dict[str, tuple[Step, ...]] = {
    "by the protocol": (_BY_PROTOCOL, _ANOTHER),
    "deallocate in a failed transaction": (
        _ANOTHER,
        "DEALLOCATE p",
        _BY_PROTOCOL,
        "BEGIN",
        "SELECT 1 / 0",
        "DEALLOCATE p",
        "ROLLBACK",
    ),
    "deallocate all in a failed transaction": (
        _BY_PROTOCOL,
        "BEGIN",
        "SELECT 1 / 0",
        "DEALLOCATE ALL",
        "ROLLBACK",
        _ANOTHER,
    ),
    "discard all in a transaction": (
        "PREPARE p AS UPDATE t SET v = v + 1",
        "BEGIN",
        "DISCARD ALL",
        "ROLLBACK",
        _ANOTHER,
    ),
}


@pytest.mark.parametrize("steps", NAMES.values(), ids=NAMES)
def test_execute_runs_what_postgresql_has_under_that_name(
    howdah: Howdah, postgres: PostgresServer, steps: tuple[Step, ...]
) -> None:
    sql = "SELECT v FROM t WHERE id = 1"
    with _sessions(howdah, postgres, "", 2) as ((reader, writer), _):
        howdah.until_hit(reader, sql)
        for step in steps:
            assert not isinstance(step, Other)
            if isinstance(step, str):
                writer.query(step)
            else:
                writer.ask(*step)
        assert not errors(writer.query("EXECUTE p"))
        assert reader.rows(sql) == [["11"]]


def test_names_of_its_own_do_not_meet_those_of_a_client(
    howdah: Howdah, postgres: PostgresServer
) -> None:
    dynamic = """CREATE FUNCTION run(code text) RETURNS void LANGUAGE plpgsql AS
    'BEGIN EXECUTE code; END';"""
    with _sessions(howdah, postgres, dynamic, 1) as ((wire,), _):
        assert not errors(wire.query("PREPARE howdah AS SELECT 1"))
        for text in (
            "BEGIN",
            "SAVEPOINT howdah",
            "DECLARE howdah CURSOR WITH HOLD FOR SELECT 7",
            "SELECT run('UPDATE t SET v = v + 1')",
            "COMMIT",
        ):
            assert not errors(wire.query(text)), text
        assert wire.rows("FETCH howdah") == [["7"]]
        assert wire.rows("EXECUTE howdah") == [["1"]]
        assert wire.rows("SELECT v FROM t WHERE id = 1") == [["11"]]


MOMENTS = """
CREATE TABLE moments (id int PRIMARY KEY, at timestamptz);
INSERT INTO moments VALUES (1, '2020-01-01 00:00:00+00');
"""
_AT = "SELECT id, at::text FROM public.moments"


def _reset_each(howdah: Howdah, learned: Wire, other: Wire, direct: Wire, back: str) -> None:
    """One session teaches what RESET ALL leads to; another one has other reset values."""
    for _ in range(2):
        learned.query(back)
        howdah.until_hit(learned)
        learned.query("RESET ALL")
        howdah.until_hit(learned, _AT)
    other.query(back)
    howdah.until_hit(other, _AT)
    for wire in (other, direct):
        wire.query("RESET ALL")
    for _ in range(3):
        assert _body(other.query(_AT)) == _body(direct.query(_AT))


def test_reset_where_a_login_trigger_has_set_something(
    howdah: Howdah, postgres: PostgresServer
) -> None:
    schema = """
    CREATE FUNCTION arrives() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF current_setting('application_name') = 'moved' THEN
        PERFORM set_config('timezone', 'America/New_York', false);
      END IF;
    END $$;
    CREATE EVENT TRIGGER arrives ON login EXECUTE FUNCTION arrives();
    """
    database = postgres.create_database(MOMENTS + schema, name="broken")
    howdah.warm(database)
    place = {"TimeZone": "America/New_York"}
    with (
        howdah.wire(database, application_name="moved") as moved,
        howdah.wire(database, **place) as at_home,
        connect((postgres.host, postgres.port), database, **place) as direct,
    ):
        for wire in (moved, at_home):
            howdah.until_hit(wire)
        _reset_each(howdah, moved, at_home, direct, NEW_YORK)


@contextlib.contextmanager
def _server_setting(postgres: PostgresServer, text: str) -> Iterator[None]:
    postgres.run("postgres", f"ALTER SYSTEM SET {text}", "SELECT pg_reload_conf()")
    try:
        yield
    finally:
        name = text.split()[0]
        postgres.run("postgres", f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")


def test_reset_after_a_reload_that_changed_a_default(
    start_howdah: Starter, postgres: PostgresServer
) -> None:
    """Both log in under UTC; only for one of them that is the server's default."""
    howdah = start_howdah("--max-age", "3s")
    database = postgres.create_database(MOMENTS, name="broken")
    howdah.warm(database)
    with (
        howdah.wire(database) as moved,
        howdah.wire(database, TimeZone="UTC") as at_home,
        connect((postgres.host, postgres.port), database, TimeZone="UTC") as direct,
    ):
        assert moved.rows("SHOW timezone") == [["UTC"]]
        for wire in (moved, at_home):
            howdah.until_hit(wire)
        with _server_setting(postgres, "timezone = 'America/New_York'"):
            eventually(lambda: "has reloaded its configuration" in howdah.log)
            assert moved.rows("SHOW timezone") == [["America/New_York"]]
            _reset_each(howdah, moved, at_home, direct, UTC)


def test_reset_of_what_is_only_read_by_name_after_a_reload(
    start_howdah: Starter, postgres: PostgresServer
) -> None:
    """work_mem is in the key since it is read; RESET ALL leads two sessions to different values."""
    howdah = start_howdah()
    database = postgres.create_database(MOMENTS, name="broken")
    howdah.warm(database)
    shown = "SELECT current_setting('work_mem'), count(*) FROM moments"
    with (
        howdah.wire(database) as plain,
        howdah.wire(database, options="-c work_mem=4MB") as own,
        connect((postgres.host, postgres.port), database, options="-c work_mem=4MB") as direct,
    ):
        for wire in (plain, own):
            howdah.until_hit(wire, shown)
            wire.query("SET work_mem = '5MB'")
            howdah.until_hit(wire, shown)
            wire.query("RESET ALL")
            howdah.until_hit(wire, shown)
        with _server_setting(postgres, "work_mem = '9MB'"):
            eventually(lambda: "has reloaded its configuration" in howdah.log)
            wanted = direct.rows(shown)
            for _ in range(3):
                for wire in (plain, own):
                    wire.query("SET work_mem = '5MB'")
                    howdah.until_hit(wire, shown)
                    wire.query("RESET ALL")
                assert own.rows(shown) == wanted
                assert plain.rows(shown)[0][0] == "9MB"


def _shows(wire: Wire, sql: str, value: str) -> bool:
    return wire.rows(sql)[0][0] == value


def test_a_reload_through_howdah_moves_only_whom_it_concerns(
    start_howdah: Starter, postgres: PostgresServer
) -> None:
    """Sessions of one context part ways: what one is answered then is not for the other one."""
    howdah = start_howdah()
    database = postgres.create_database(MOMENTS, name="broken")
    howdah.warm(database)
    shown = "SELECT current_setting('work_mem'), count(*) FROM moments"
    with (
        howdah.wire(database) as admin,
        howdah.wire(database) as plain,
        howdah.wire(database, options="-c work_mem=4MB") as own,
    ):
        try:
            for value in ("9MB", "4MB", "8MB", "4MB", "7MB"):
                for wire in (plain, own):
                    howdah.until_hit(wire, shown)
                assert admin.query(f"ALTER SYSTEM SET work_mem = '{value}'")
                assert admin.rows("SELECT pg_reload_conf()") == [["t"]]
                eventually(partial(_shows, plain, shown, value))
                for _ in range(20):
                    plain.rows(shown)
                    assert own.rows(shown) == [["4MB", "1"]]
        finally:
            postgres.run("postgres", "ALTER SYSTEM RESET work_mem", "SELECT pg_reload_conf()")


def _has_moved(wire: Wire, before: list[list[str | None]]) -> bool:
    return wire.rows("SELECT pg_conf_load_time()") != before


def test_sessions_share_answers_after_a_reload(howdah: Howdah, postgres: PostgresServer) -> None:
    """Each backend reads the files at a moment of its own; that is no difference."""
    sql = "SELECT count(*) FROM t"
    with _sessions(howdah, postgres, "", 2) as ((one, two), _):
        before = one.rows("SELECT pg_conf_load_time()")
        with _server_setting(postgres, "work_mem = '5MB'"):
            for wire in (one, two):
                eventually(partial(_has_moved, wire, before))
        for wire in (one, two):
            # Not a SET, whose effect is remembered: the session is asked.
            wire.query("DO $$ BEGIN PERFORM set_config('extra_float_digits', '2', false); END $$")
            howdah.until_hit(wire)
        howdah.until_hit(one, sql)
        with howdah.hits_during(1):
            two.query(sql)
