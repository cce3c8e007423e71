"""Answers that were wrong once: each row showed a stale or a foreign answer before its cure.

What lives here: schemas in which code does what its text does not show, and sessions
whose kept plans answer otherwise than those of a new one. Both sides are compared
byte for byte. What must not: rows that follow from the rules by themselves
(`cases_*.py`).

Followed: namespace.c (a search path is worked out again for another user), ri_triggers.c
(actions of foreign keys run as the child's owner), plancache.c (a kept plan outlives the
settings that its literals were read under), arrayfuncs.c (backslashes inside of arrays).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import pytest

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_wire import Wire, connect, errors

T = """
CREATE TABLE t (id int PRIMARY KEY, v int);
INSERT INTO t VALUES (1, 10), (2, 20);
GRANT ALL ON t TO PUBLIC;
"""
TWO_PLACES = (
    T
    + """
CREATE SCHEMA o;
CREATE TABLE public.x (a int);
CREATE TABLE o.x (a int);
CREATE FUNCTION to_o() RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RETURN set_config('search_path', 'o', false); END $$;
CREATE PROCEDURE move_to_o() LANGUAGE plpgsql AS $$ BEGIN SET search_path = o; END $$;
CREATE FUNCTION put() RETURNS int LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO x VALUES (1); RETURN 1; END $$;
CREATE PROCEDURE put_there() LANGUAGE plpgsql AS
  $$ BEGIN CALL public.move_to_o(); INSERT INTO x VALUES (1); END $$;
"""
)
BOTH_X = ("SELECT count(*) FROM o.x", "SELECT count(*) FROM public.x")
OF_ALICE = (
    T
    + """
CREATE SCHEMA alice AUTHORIZATION alice;
CREATE TABLE alice.items (x int);
CREATE TABLE public.items (x int);
ALTER TABLE alice.items OWNER TO alice;
GRANT ALL ON public.items TO PUBLIC;
CREATE FUNCTION add() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN INSERT INTO items VALUES (9); END $$;
ALTER FUNCTION add() OWNER TO alice;
CREATE FUNCTION number() RETURNS bigint LANGUAGE plpgsql STABLE SECURITY DEFINER AS
  $$ BEGIN RETURN (SELECT count(*) FROM items); END $$;
ALTER FUNCTION number() OWNER TO alice;
"""
)
CASCADE = (
    OF_ALICE
    + """
CREATE TABLE public.parent (id int PRIMARY KEY);
CREATE TABLE alice.child (parent int REFERENCES public.parent ON DELETE CASCADE);
INSERT INTO public.parent VALUES (1), (2);
INSERT INTO alice.child VALUES (1), (2);
CREATE FUNCTION gone() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO items VALUES (old.parent); RETURN old; END $$;
CREATE TRIGGER gone BEFORE DELETE ON alice.child FOR EACH ROW EXECUTE FUNCTION gone();
ALTER TABLE alice.child OWNER TO alice;
GRANT ALL ON public.parent TO PUBLIC;
"""
)
DOMAIN = (
    T
    + """
CREATE TABLE allowed (x int);
INSERT INTO allowed VALUES (1), (2);
CREATE FUNCTION is_allowed(int) RETURNS bool LANGUAGE sql AS
  'SELECT EXISTS (SELECT FROM allowed WHERE x = $1)';
CREATE DOMAIN d AS int CHECK (is_allowed(VALUE));
CREATE FUNCTION gives(a int) RETURNS d LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION takes(a d) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
"""
)
CALLS = (
    T
    + """
CREATE TABLE y (a int);
CREATE PROCEDURE p(a int, OUT b int) LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO t VALUES (a, 0); b := 1; END $$;
CREATE PROCEDURE p(a int, b text) LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO y VALUES (a); END $$;
CREATE FUNCTION calls_p() RETURNS int LANGUAGE plpgsql AS
  $$ DECLARE given int; BEGIN CALL p(7, given); RETURN given; END $$;
"""
)
TRIGGERS = (
    TWO_PLACES
    + """
CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN SET LOCAL search_path = o; RETURN new; END $$;
CREATE FUNCTION writes() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO x VALUES (1); RETURN new; END $$;
CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION moves();
CREATE TRIGGER b AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION writes();
"""
)


@dataclass(frozen=True)
class Stale:
    """What is read, and what another session does that changes it unseen."""

    name: str
    setup: str
    reads: tuple[str, ...]
    act: str
    role: str = "postgres"
    writer: str = "postgres"


T_ROWS = ("SELECT * FROM t ORDER BY id",)
ITEMS = ("SELECT * FROM alice.items ORDER BY x", "SELECT * FROM public.items ORDER BY x")
STALE = [
    Stale("out_argument_of_call", CALLS, T_ROWS, "CALL p(7, NULL::int)"),
    Stale("out_argument_in_a_body", CALLS, T_ROWS, "SELECT calls_p()"),
    Stale(
        "definer_reads",
        OF_ALICE,
        ("SELECT id, number() FROM t",),
        "INSERT INTO alice.items VALUES (3)",
        "bob",
    ),
    Stale("definer_writes", OF_ALICE, ITEMS, "SELECT add()", writer="bob"),
    Stale("cascade_as_owner", CASCADE, ITEMS, "DELETE FROM parent WHERE id = 1", writer="bob"),
    Stale("path_moved_by_a_call", TWO_PLACES, BOTH_X, "SELECT public.to_o(), public.put()"),
    Stale(
        "path_moved_in_a_block",
        TWO_PLACES,
        BOTH_X,
        "DO $$ BEGIN PERFORM public.to_o(); INSERT INTO x VALUES (1); END $$",
    ),
    Stale("path_moved_in_a_procedure", TWO_PLACES, BOTH_X, "CALL put_there()"),
    Stale("path_moved_in_a_trigger", TRIGGERS, BOTH_X, "INSERT INTO t VALUES (5, 5)"),
    Stale(
        "domain_of_a_result",
        DOMAIN,
        ("SELECT id, gives(id) FROM t ORDER BY id",),
        "DELETE FROM allowed WHERE x = 1",
    ),
    Stale(
        "domain_of_an_argument",
        DOMAIN,
        ("SELECT id, takes(id) FROM t ORDER BY id",),
        "DELETE FROM allowed WHERE x = 1",
    ),
]


def _raw(wire: Wire, sql: str) -> list[bytes]:
    """The frames of an answer, errors without the place in the server's source."""
    return [
        frame.fields["C"].encode() if frame.kind == "E" else frame.raw for frame in wire.query(sql)
    ]


@pytest.mark.parametrize("case", STALE, ids=lambda case: case.name)
def test_what_code_does_unseen_is_followed(
    each_howdah: Howdah, each_postgres: PostgresServer, case: Stale
) -> None:
    server = each_postgres
    database = server.create_database(case.setup, name="broken")
    each_howdah.warm(database)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(each_howdah.wire(database, case.role))
        writer = stack.enter_context(each_howdah.wire(database, case.writer))
        direct = stack.enter_context(connect((server.host, server.port), database, case.role))
        each_howdah.until_hit(writer)  # where its search path is known
        each_howdah.until_hit(reader)
        before = [_raw(direct, sql) for sql in case.reads]
        for sql in case.reads * 3:
            reader.query(sql)
        assert [_raw(reader, sql) for sql in case.reads] == before
        found = writer.query(case.act)
        assert not errors(found), found
        after = [_raw(direct, sql) for sql in case.reads]
        assert after != before, "the act shows nothing"
        assert [_raw(reader, sql) for sql in case.reads] == after


CLOCKS = [
    r"""SELECT '{"no\w"}'::timestamptz[], id FROM t""",
    r"""SELECT '["no\w",)'::tstzrange, id FROM t""",
    "SELECT * FROM checked",
]
CHECKED = (
    T
    + """
CREATE DOMAIN future AS timestamptz CHECK (VALUE > clock_timestamp());
CREATE VIEW checked AS SELECT id, ('2999-01-01'::timestamptz + v * interval '1 s')::future FROM t;
"""
)


@pytest.mark.parametrize("sql", CLOCKS)
def test_a_clock_behind_a_backslash_or_a_domain_is_seen(
    each_howdah: Howdah, each_postgres: PostgresServer, sql: str
) -> None:
    database = each_postgres.create_database(CHECKED, name="broken")
    each_howdah.warm(database)
    with each_howdah.wire(database) as wire:
        each_howdah.until_hit(wire)
        with each_howdah.hits_during(0):
            for _ in range(4):
                assert not errors(wire.query(sql))


UTC, NEW_YORK = "SET timezone = 'UTC'", "SET timezone = 'America/New_York'"
WRAPPED = """
CREATE FUNCTION hour(timestamptz) RETURNS text IMMUTABLE LANGUAGE sql AS
  $$ SELECT to_char($1, 'HH24') $$;
"""
DOMAINS = """
CREATE SCHEMA a; CREATE DOMAIN a.m AS numeric(5, 1);
CREATE SCHEMA b; CREATE DOMAIN b.m AS numeric(5, 3);
SET check_function_bodies = off;
"""
#: Body of a function without arguments, what it needs, and the two settings in turn.
KEPT = {
    "literal": ("RETURN '2020-01-01'::timestamptz AT TIME ZONE 'UTC';", "", UTC, NEW_YORK),
    "date": (
        "RETURN extract(month FROM date '01/02/2020');",
        "",
        "SET datestyle = 'ISO, MDY'",
        "SET datestyle = 'ISO, DMY'",
    ),
    "folded": ("RETURN hour('2020-01-01 00:00+00');", WRAPPED, UTC, NEW_YORK),
    "type": (
        "DECLARE r m; BEGIN r := 1.2345; RETURN r; END;",
        DOMAINS,
        "SET search_path = a",
        "SET search_path = b",
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_plans_that_a_session_keeps_are_not_shared(
    each_howdah: Howdah, each_postgres: PostgresServer, name: str
) -> None:
    """PL/pgSQL keeps plans and types from the first call on, whatever is set afterwards."""
    body, needed, first, second = KEPT[name]
    server = each_postgres
    function = (
        f"CREATE FUNCTION public.f() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN {body} END $$"
    )
    database = server.create_database(T + needed + function, name="broken")
    sql = "SELECT id, public.f() FROM public.t ORDER BY id"
    each_howdah.warm(database)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(each_howdah.wire(database))
        new = stack.enter_context(each_howdah.wire(database))
        direct = stack.enter_context(connect((server.host, server.port), database))
        for wire in (old, new):
            wire.query("DO $$ BEGIN END $$")  # loads the language, whose settings then exist
        for setting in (first, second):
            old.query(setting)
            each_howdah.until_hit(old)
            for _ in range(3):
                old.query(sql)
        for wire in (new, direct):
            wire.query(second)
        each_howdah.until_hit(new)
        assert _raw(new, sql) == _raw(direct, sql)


INTRUDERS = {
    "relation": (
        "CREATE SCHEMA a; CREATE TABLE public.x (n int); INSERT INTO public.x VALUES (1);",
        "RETURN (SELECT sum(n) FROM x);",
        "CREATE TABLE a.x AS SELECT 100 AS n",
    ),
    "overload": (
        "CREATE FUNCTION g(bigint) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1; END';",
        "RETURN g(5);",
        "CREATE FUNCTION g(int) RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 2; END'",
    ),
    "built_in": (
        "",
        "RETURN upper('x'::varchar);",
        "CREATE FUNCTION public.upper(varchar) RETURNS text LANGUAGE sql STABLE AS 'SELECT ''y'''",
    ),
}


@pytest.mark.parametrize("name", INTRUDERS)
def test_kept_plans_do_not_notice_a_better_name(
    each_howdah: Howdah, each_postgres: PostgresServer, name: str
) -> None:
    needed, body, intruder = INTRUDERS[name]
    server = each_postgres
    function = f"CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql STABLE AS $$BEGIN {body} END$$"
    database = server.create_database(T + needed + function, name="broken")
    sql = "SELECT id, public.f() FROM public.t ORDER BY id"
    path = "SET search_path = a, public"
    each_howdah.warm(database)
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(each_howdah.wire(database))
        new = stack.enter_context(each_howdah.wire(database))
        writer = stack.enter_context(each_howdah.wire(database))
        direct = stack.enter_context(connect((server.host, server.port), database))
        for wire in (old, new):
            wire.query("DO $$ BEGIN END $$")
            wire.query(path)
            each_howdah.until_hit(wire)
        direct.query(path)
        for _ in range(3):
            old.query(sql)
        assert not errors(writer.query(intruder))
        each_howdah.until_hit(old)
        for _ in range(3):
            old.query(sql)
        each_howdah.until_hit(new)
        assert _raw(new, sql) == _raw(direct, sql)


SAME_NAME = [
    ("PREPARE q AS UPDATE t SET v = v + 1", "PREPARE q AS SELECT 1", "EXECUTE q"),
    (
        "PREPARE q AS UPDATE t SET v = v + 1",
        "BEGIN",
        "SELECT 1 / 0",
        "DEALLOCATE q",
        "PREPARE q AS SELECT 1",
        "ROLLBACK",
        "EXECUTE q",
    ),
]


@pytest.mark.parametrize("steps", SAME_NAME, ids=["taken", "in a failed transaction"])
def test_a_prepare_that_failed_does_not_replace_the_statement(
    each_howdah: Howdah, each_postgres: PostgresServer, steps: tuple[str, ...]
) -> None:
    database = each_postgres.create_database(T, name="broken")
    each_howdah.warm(database)
    with each_howdah.wire(database) as reader, each_howdah.wire(database) as writer:
        each_howdah.until_hit(writer)
        each_howdah.until_hit(reader, T_ROWS[0])
        before = _raw(reader, T_ROWS[0])
        for step in steps:
            writer.query(step)
        assert _raw(reader, T_ROWS[0]) != before
