"""Whose rows, and under which settings: scripts of several sessions, direct and through Howdah.

Before each script the tempting entries are put in the cache by other sessions. The
script then runs directly, and twice through Howdah; all frames must be equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.differential.test_reads import same
from tests.fix_howdah import Howdah, SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import (
    SYNC,
    Frame,
    Wire,
    bind,
    connect,
    describe,
    errors,
    execute,
    kinds,
    parse,
    rows,
    tags,
)

SCHEMA = """
CREATE SCHEMA a; CREATE SCHEMA b; CREATE SCHEMA alice; CREATE SCHEMA bob;
CREATE TABLE a.t (id int, v text); INSERT INTO a.t VALUES (1, 'from a');
CREATE TABLE b.t (id int, v text); INSERT INTO b.t VALUES (1, 'from b'), (2, 'b again');
CREATE TABLE public.t (id int, v text); INSERT INTO public.t VALUES (1, 'from public');
CREATE TABLE alice.mine (v text); INSERT INTO alice.mine VALUES ('of alice');
CREATE TABLE bob.mine (v int); INSERT INTO bob.mine VALUES (7);
CREATE TABLE public.secret (v text); INSERT INTO public.secret VALUES ('secret');
CREATE TABLE public.shared (v text); INSERT INTO public.shared VALUES ('shared');
CREATE TABLE public.of_carol (v text); INSERT INTO public.of_carol VALUES ('of carol');
CREATE TABLE public.columns (x int, y int); INSERT INTO public.columns VALUES (1, 2);
CREATE TABLE public.rls (owner name, v text);
INSERT INTO public.rls VALUES ('alice', 'hers'), ('bob', 'his');
ALTER TABLE public.rls ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.rls USING (owner = current_user);
CREATE TABLE public.times (
    tsz timestamptz, ts timestamp, d date, iv interval, f float8, b bytea, m money, t text);
INSERT INTO public.times VALUES ('2024-03-04 05:06:07+00', '2024-03-04 05:06:07', '2024-03-04',
    '1 day 02:03:04', 0.1, '\\x00ff', 5, E'caf\\u00e9');
CREATE FUNCTION public.switch(text) RETURNS void LANGUAGE plpgsql AS
    $$BEGIN PERFORM set_config('search_path', $1, false); END$$;
CREATE FUNCTION public.make_temp() RETURNS void LANGUAGE plpgsql AS
    $$BEGIN CREATE TEMP TABLE t AS SELECT 9 AS id, 'temporary'::text AS v; END$$;
GRANT USAGE ON SCHEMA a, b, alice, bob TO PUBLIC;
GRANT SELECT ON a.t, b.t, public.t, alice.mine, bob.mine, public.rls, public.times TO PUBLIC;
GRANT SELECT ON public.shared TO alice;
GRANT SELECT ON public.of_carol TO carol;
GRANT SELECT (x) ON public.columns TO alice;
"""

SECRET = "SELECT v FROM public.secret"
SHARED = "SELECT v FROM public.shared"
CAROL = "SELECT v FROM public.of_carol"
T = "SELECT * FROM t ORDER BY id"
MINE = "SELECT * FROM mine"
RLS = "SELECT v FROM public.rls ORDER BY v"
TIMES = "SELECT * FROM public.times"
LITERAL = "SELECT date '01/02/2024', v FROM public.shared"
STRING = "SELECT 'a\\b' || v FROM public.shared"

Action = Callable[[Wire], list[Frame]]


@dataclass(frozen=True)
class Script:
    """Steps are (session, SQL or function); a session's user is its name up to `:`."""

    name: str
    steps: tuple[tuple[str, str | Action], ...]
    prime: tuple[str, ...] = ()
    exact: bool = True
    options: dict[str, dict[str, str]] = field(default_factory=dict)


def s(name: str, *steps: tuple[str, str | Action], **more: object) -> Script:
    return Script(name, steps, **more)  # type: ignore[arg-type]


def as_(user: str, *statements: str | Action) -> tuple[tuple[str, str | Action], ...]:
    return tuple((user, statement) for statement in statements)


def extended(sql: str, *values: bytes) -> Action:
    return lambda wire: wire.extended(sql, values)


def prepare(name: str, sql: str) -> Action:
    return lambda wire: wire.ask(parse(sql, name), describe("S", name), SYNC)


def run(name: str) -> Action:
    return lambda wire: wire.ask(bind(statement=name), execute(), SYNC)


def again(portal_of: str = "") -> Action:
    """Bind and Execute the statement that was parsed before, without a new Parse."""
    return lambda wire: wire.ask(bind(statement=portal_of), describe(), execute(), SYNC)


P = "postgres"
SCRIPTS = [
    s("other_user_is_refused", *as_("bob", SHARED, SECRET), prime=(SHARED, SECRET)),
    s("grantee_may", *as_("alice", SHARED, SECRET), prime=(SHARED, SECRET)),
    s("column_privilege", *as_("alice", "SELECT x FROM public.columns", "SELECT * FROM columns")),
    s("set_role_27", *as_("bob", CAROL, "SET ROLE carol", CAROL, SHARED, "RESET ROLE", CAROL)),
    s(
        "set_role_none",
        *as_(P, "SET ROLE alice", SECRET, SHARED, "SET ROLE NONE", SECRET),
        prime=(SECRET, SHARED),
    ),
    s(
        "set_role_quoted",
        *as_(P, "SET ROLE 'alice'", SECRET, "RESET ALL", SECRET, "RESET ROLE", SECRET),
        prime=(SECRET,),
    ),
    s(
        "set_local_role",
        *as_(P, "BEGIN", "SET LOCAL ROLE alice", SECRET, "ROLLBACK", SECRET),
        prime=(SECRET,),
    ),
    s(
        "set_role_rolled_back",
        *as_(P, "BEGIN", "SET ROLE alice", "ROLLBACK", SECRET),
        prime=(SECRET,),
    ),
    s(
        "set_role_by_setting",
        *as_(P, "SELECT set_config('role', 'alice', false)", SECRET),
        prime=(SECRET,),
    ),
    s(
        "session_authorization_27",
        *as_(
            P,
            "SET SESSION AUTHORIZATION alice",
            SECRET,
            SHARED,
            "RESET SESSION AUTHORIZATION",
            SECRET,
        ),
        prime=(SECRET, SHARED),
    ),
    s(
        "rejected_set_role_28",
        *as_("alice", SHARED, "SET ROLE postgres", SECRET, SHARED),
        prime=(SECRET, SHARED),
    ),
    s(
        "rejected_in_transaction_28",
        *as_("alice", "BEGIN", "SET ROLE postgres", SECRET, "ROLLBACK", SECRET),
        prime=(SECRET,),
    ),
    s("rls_27", *as_("alice", RLS), *as_("bob", RLS), *as_(P, RLS), prime=(RLS,)),
    s("rls_off", *as_("alice", "SET row_security = off", RLS, "RESET row_security", RLS)),
    s(
        "revoke_27",
        *as_(P, "REVOKE SELECT ON public.shared FROM alice"),
        *as_("alice", SHARED),
        *as_(P, "GRANT SELECT ON public.shared TO alice"),
        *as_("alice", SHARED),
        prime=(SHARED,),
    ),
    s(
        "revoke_membership_27",
        *as_("bob", "SET ROLE carol", CAROL, "RESET ROLE"),
        *as_(P, "REVOKE carol FROM bob"),
        *as_("bob", CAROL),
        *as_(P, "GRANT carol TO bob"),
        *as_("bob", CAROL),
    ),
    s(
        "bypassrls_27",
        *as_("alice", RLS),
        *as_(P, "ALTER ROLE alice BYPASSRLS"),
        *as_("alice", RLS),
        *as_(P, "ALTER ROLE alice NOBYPASSRLS"),
        *as_("alice", RLS),
    ),
    s(
        "search_path_29",
        *as_(P, T, "SET search_path = a", T, "SET search_path = b, a", T, "RESET search_path", T),
        prime=(T,),
    ),
    s(
        "search_path_schema_29",
        *as_(P, "SET SCHEMA 'b'", T, "SET search_path TO DEFAULT", T),
        prime=(T,),
    ),
    s(
        "search_path_extended_29",
        *as_(P, extended(T), extended("SET search_path = a"), extended(T)),
        prime=(T,),
    ),
    s(
        "search_path_unnamed_reused_29",
        *as_(P, extended(T), "SET search_path = b", extended(T)),
        prime=(T,),
    ),
    s(
        "search_path_bind_again_29",
        *as_(
            P,
            extended(T),
            lambda w: w.ask(
                parse("SET search_path = b", "x"), bind(statement="x"), execute(), SYNC
            ),
            again(),
        ),
        prime=(T,),
    ),
    s(
        "search_path_prepared_29",
        *as_(
            P,
            prepare("q", T),
            run("q"),
            run("q"),
            "SET search_path = a",
            run("q"),
            run("q"),
            "RESET search_path",
            run("q"),
        ),
        prime=(T,),
    ),
    s(
        "user_schema_29",
        *as_("alice", MINE),
        *as_("bob", MINE),
        *as_(P, "SET ROLE alice", MINE, "SET ROLE bob", MINE),
    ),
    s(
        "set_config_30",
        *as_(P, extended("SELECT set_config('search_path', $1, false)", b"b"), T),
        prime=(T,),
    ),
    s(
        "set_config_local_30",
        *as_(
            P, "BEGIN", extended("SELECT set_config('search_path', $1, true)", b"b"), T, "COMMIT", T
        ),
        prime=(T,),
    ),
    s(
        "set_config_from_table",
        *as_(P, "SELECT set_config('search_path', 'a', false) FROM public.shared", T),
        prime=(T,),
    ),
    s("set_local", *as_(P, "BEGIN", "SET LOCAL search_path = b", T, "COMMIT", T), prime=(T,)),
    s("set_rolled_back", *as_(P, "BEGIN", "SET search_path = b", T, "ROLLBACK", T), prime=(T,)),
    s("set_committed", *as_(P, "BEGIN", "SET search_path = b", "COMMIT", T), prime=(T,)),
    s(
        "set_undone_by_savepoint",
        *as_(P, "BEGIN", "SAVEPOINT x", "SET search_path = b", "ROLLBACK TO x", T, "END", T),
        prime=(T,),
    ),
    s("set_refused", *as_(P, "SET search_path = b; SET work_mem = 'nonsense'", T), prime=(T,)),
    s("set_and_more", *as_(P, "SET search_path = b; SELECT 1", T), prime=(T,)),
    s(
        "pg_settings",
        *as_(P, "UPDATE pg_settings SET setting = 'b' WHERE name = 'search_path'", T),
        prime=(T,),
    ),
    s("function_sets", *as_(P, "SELECT public.switch('a')", T), prime=(T,)),
    s(
        "do_sets",
        *as_(P, "DO $$BEGIN PERFORM set_config('search_path', 'b', false); END$$", T),
        prime=(T,),
    ),
    s(
        "prepare_sets",
        *as_(P, "PREPARE x AS SELECT set_config('search_path', $1, false)", "EXECUTE x ('b')", T),
        prime=(T,),
    ),
    s("discard_all", *as_(P, "SET search_path = b", T, "DISCARD ALL", T), prime=(T,)),
    s("reset_all", *as_(P, "SET search_path = b", T, "RESET ALL", T), prime=(T,)),
    s(
        "startup_options",
        ("postgres:1", T),
        prime=(T,),
        options={"postgres:1": {"options": "-c search_path=b"}},
    ),
    s(
        "startup_parameter",
        ("postgres:1", T),
        prime=(T,),
        options={"postgres:1": {"search_path": "a"}},
    ),
    s(
        "startup_reset",
        ("postgres:1", "SET search_path = b"),
        ("postgres:1", "RESET search_path"),
        ("postgres:1", T),
        prime=(T,),
        options={"postgres:1": {"search_path": "a"}},
    ),
    s(
        "login_setting",
        *as_(P, "ALTER ROLE alice SET search_path = b"),
        ("alice:1", T),
        *as_(P, "ALTER ROLE alice RESET search_path"),
        ("alice:2", T),
        ("alice:1", T),
        prime=(T,),
    ),
    s(
        "temp_31",
        *as_(P, T, "CREATE TEMP TABLE t AS SELECT 5 AS id", T, "DROP TABLE pg_temp.t", T),
        prime=(T,),
        exact=False,
    ),
    s(
        "temp_extended_31",
        *as_(P, extended(T), extended("CREATE TEMP TABLE t (id text)"), extended(T)),
        prime=(T,),
        exact=False,
    ),
    s(
        "temp_select_into_31",
        *as_(P, "SELECT 5 AS id INTO TEMP t", T, "DISCARD TEMP", T),
        prime=(T,),
        exact=False,
    ),
    s("temp_schema_31", *as_(P, "CREATE TABLE pg_temp.t (id int)", T), prime=(T,), exact=False),
    s("temp_view_31", *as_(P, "CREATE TEMP VIEW t AS SELECT 3 AS id", T), prime=(T,), exact=False),
    s("temp_function_31", *as_(P, "SELECT public.make_temp()", T), prime=(T,), exact=False),
    s(
        "temp_on_commit_drop",
        *as_(P, "BEGIN", "CREATE TEMP TABLE t (id int) ON COMMIT DROP", T, "COMMIT", T),
        prime=(T,),
        exact=False,
    ),
    s(
        "temp_rolled_back",
        *as_(P, "BEGIN", "CREATE TEMP TABLE t (id int)", T, "ROLLBACK", T),
        prime=(T,),
        exact=False,
    ),
    s(
        "temp_of_others",
        ("postgres:1", "CREATE TEMP TABLE t (id int)"),
        ("postgres:2", T),
        ("postgres:1", T),
        prime=(T,),
        exact=False,
    ),
    s(
        "time_zone_33",
        *as_(P, TIMES, "SET TIME ZONE 'Asia/Tokyo'", TIMES, "SET timezone = 'UTC'", TIMES),
        prime=(TIMES,),
    ),
    s(
        "time_zone_prepared_33",
        *as_(P, prepare("q", TIMES), run("q"), "SET TIME ZONE 'Asia/Tokyo'", run("q")),
        prime=(TIMES,),
    ),
    s(
        "time_zone_startup_33",
        ("postgres:1", TIMES),
        prime=(TIMES,),
        options={"postgres:1": {"TimeZone": "America/New_York"}},
    ),
    s("date_style", *as_(P, TIMES, "SET DateStyle = 'German'", TIMES), prime=(TIMES,)),
    s(
        "literal_read_at_parse",
        ("postgres:1", "SET DateStyle = 'ISO, DMY'"),
        ("postgres:1", prepare("q", LITERAL)),
        ("postgres:1", run("q")),
        ("postgres:1", run("q")),
        ("postgres:2", prepare("q", LITERAL)),
        ("postgres:2", run("q")),
        ("postgres:2", "SET DateStyle = 'ISO, DMY'"),
        ("postgres:2", run("q")),
        ("postgres:2", LITERAL),
        ("postgres:2", run("q")),
    ),
    s("interval_style", *as_(P, TIMES, "SET IntervalStyle = 'iso_8601'", TIMES), prime=(TIMES,)),
    s("extra_float_digits", *as_(P, TIMES, "SET extra_float_digits = -10", TIMES), prime=(TIMES,)),
    s("bytea_output", *as_(P, TIMES, "SET bytea_output = 'escape'", TIMES), prime=(TIMES,)),
    s(
        "client_encoding",
        *as_(P, TIMES, "SET client_encoding = 'LATIN1'", TIMES, "SET NAMES 'UTF8'", TIMES),
        prime=(TIMES,),
    ),
    s(
        "client_encoding_startup",
        ("postgres:1", TIMES),
        prime=(TIMES,),
        options={"postgres:1": {"client_encoding": "LATIN1"}},
    ),
    s(
        "strings",
        *as_(
            P,
            STRING,
            "SET standard_conforming_strings = off",
            STRING,
            "SET escape_string_warning = off",
            STRING,
        ),
        prime=(STRING,),
    ),
    s(
        "search_configuration",
        *as_(
            P,
            "SELECT to_tsvector(v) FROM public.t",
            "SET default_text_search_config = 'english'",
            "SELECT to_tsvector(v) FROM public.t",
        ),
    ),
    s(
        "custom_setting",
        *as_(
            P,
            "SET my.x = '1'",
            "SELECT current_setting('my.x') FROM public.t",
            "SET my.x = '2'",
            "SELECT current_setting('my.x') FROM public.t",
        ),
    ),
    s(
        "array_nulls",
        *as_(
            P,
            "SELECT '{null}'::text[] FROM public.t",
            "SET array_nulls = off",
            "SELECT '{null}'::text[] FROM public.t",
        ),
    ),
    s(
        "transform_null_equals",
        *as_(
            P,
            "SELECT id FROM public.t WHERE v = NULL OR id = 1",
            "SET transform_null_equals = on",
            "SELECT id FROM public.t WHERE v = NULL OR id = 1",
        ),
    ),
    s(
        "null_equals",
        *as_(
            P,
            "SELECT id FROM public.t WHERE (v = NULL) IS FALSE",
            "SET transform_null_equals = on",
            "SELECT id FROM public.t WHERE (v = NULL) IS FALSE",
        ),
    ),
    s(
        "backslash_quote",
        *as_(P, "SET application_name = 'it''s'", T, "SHOW application_name"),
        prime=(T,),
    ),
]


@dataclass
class Bench:
    howdah: Howdah
    server: PostgresServer
    database: str


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Bench:
    database = each_postgres.create_database(SCHEMA, name="sessions")
    howdah = shared_howdahs.of(each_postgres)
    howdah.warm(database)
    return Bench(howdah, each_postgres, database)


def play(script: Script, address: tuple[str, int], database: str) -> list[list[Frame]]:
    sessions: dict[str, Wire] = {}
    transcript = []
    try:
        for name, step in script.steps:
            if name not in sessions:
                options = script.options.get(name, {})
                user = name.split(":")[0]
                sessions[name] = connect(address, database, user, **options)
            wire = sessions[name]
            transcript.append(wire.query(step) if isinstance(step, str) else step(wire))
    finally:
        for wire in sessions.values():
            wire.close()
    return transcript


def loosely(frames: list[Frame]) -> object:
    """Without the OIDs that a new temporary table has each time."""
    return kinds(frames), rows(frames), tags(frames), errors(frames), frames[-1].payload


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_session(bench: Bench, script: Script) -> None:
    expected = play(script, (bench.server.host, bench.server.port), bench.database)
    if script.prime:
        with bench.howdah.wire(bench.database) as wire:
            bench.howdah.until_hit(wire)
            for statement in script.prime:
                for _ in range(2):
                    wire.query(statement)
                    wire.extended(statement)
    for turn in ("first", "second"):
        found = play(script, bench.howdah.address, bench.database)
        for step, one, other in zip(script.steps, found, expected, strict=True):
            if script.exact:
                same(one, other, f"{step} in the {turn} run")
            else:
                assert loosely(one) == loosely(other), f"{step} in the {turn} run"


def test_same_settings_share(bench: Bench) -> None:
    """Two sessions with equal settings share an entry, also after a SET of both."""
    with bench.howdah.wire(bench.database) as one, bench.howdah.wire(bench.database) as other:
        for wire in (one, other):
            bench.howdah.until_hit(wire)
        bench.howdah.until_hit(one, T)
        assert bench.howdah.is_hit(other, T)


def test_role_shares_with_itself_only(bench: Bench) -> None:
    """An entry of alice is a hit for alice, never for bob, who may read the table too."""
    with bench.howdah.wire(bench.database, "alice") as alice:
        bench.howdah.until_hit(alice)
        bench.howdah.until_hit(alice, "SELECT id FROM public.t WHERE id = 1")
        with bench.howdah.wire(bench.database, "bob") as bob:
            bench.howdah.until_hit(bob)
            assert not bench.howdah.is_hit(bob, "SELECT id FROM public.t WHERE id = 1")
            assert bench.howdah.is_hit(bob, "SELECT id FROM public.t WHERE id = 1")
