"""Statements where they stand in a body, and PL/pgSQL's conversions between them (F9, K5)."""

from __future__ import annotations

import pytest

from proxy.catalog.build import build
from proxy.catalog.rows import FunctionRow, TriggerRow
from proxy.catalog.snapshot import Effect
from proxy.policy.inner import judge_body
from proxy.policy.plan import Flag
from proxy.policy.reach import Reach
from proxy.reasons import Reason
from proxy.sql.bodies import block_body, sql_body
from tests.unit.catalog.sample import (
    DATE,
    FUNCTIONS,
    INT,
    SAMPLE,
    TIMETZ,
    TRIGGER,
    sample_rows,
)
from tests.unit.policy.helpers import names, plan

PATH = frozenset(("pg_catalog", "public"))
SAFE, HARMLESS, OPAQUE = Effect.SAFE, Effect.HARMLESS, Effect.OPAQUE


def judged(statement, catalog=SAMPLE, path=PATH):
    """What a block of one statement is judged to do, with all that it reaches."""
    reach = Reach(catalog, {})
    code = judge_body(block_body(f"BEGIN {statement}; END"), reach, path, None)
    code.reaches(reach.of(code.nodes))
    return code


@pytest.mark.parametrize(
    ("statement", "effect", "reason"),
    [
        ("PERFORM name FROM a", SAFE, Reason.NONE),
        ("PERFORM random()", HARMLESS, Reason.VOLATILE_FUNCTION),
        ("PERFORM now()", HARMLESS, Reason.CLOCK),
        ("PERFORM * FROM a FOR UPDATE", HARMLESS, Reason.LOCKING_CLAUSE),
        ("PERFORM name::date FROM a", HARMLESS, Reason.CLOCK_CAST),
        ("PERFORM writes()", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("PERFORM * FROM nowhere", OPAQUE, Reason.UNKNOWN_RELATION),
        ("PERFORM no_such()", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("INSERT INTO a VALUES (1)", HARMLESS, None),
        ("DELETE FROM nowhere", OPAQUE, None),
        ("UPDATE pg_settings SET setting = 'x'", OPAQUE, None),
        ("SET work_mem = '1MB'", HARMLESS, Reason.SETTING),
        ("LOCK TABLE a", HARMLESS, Reason.LOCKING_CLAUSE),
        ("NOTIFY x", HARMLESS, Reason.VOLATILE_FUNCTION),
        ("COMMENT ON TABLE a IS 'x'", HARMLESS, Reason.VOLATILE_FUNCTION),
        ("REFRESH MATERIALIZED VIEW matview", SAFE, Reason.NONE),
        ("CALL no_such()", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("CREATE TABLE z ()", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("CREATE TABLE z AS SELECT * FROM a", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("VACUUM a", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("COPY a FROM '/tmp/x'", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("EXECUTE name FROM a", OPAQUE, Reason.UNKNOWN_FUNCTION),
        ("GRANT bob TO alice", OPAQUE, Reason.UNKNOWN_FUNCTION),
    ],
)
def test_statements(statement, effect, reason):
    code = judged(statement)
    assert code.effect is effect
    assert reason in (code.reason, None)


@pytest.mark.parametrize(
    ("statement", "flags"),
    [
        ("PERFORM 1", Flag.NONE),
        ("INSERT INTO a VALUES (1)", Flag.LOCKS),
        ("LOCK TABLE a", Flag.LOCKS),
        ("SET work_mem = '1MB'", Flag.NONE),
        ("SET timezone = 'UTC'", Flag.SETTINGS),
        ("SET search_path = other", Flag.SETTINGS | Flag.PATH),
        ("RESET ALL", Flag.SETTINGS | Flag.PATH),
        ("PERFORM set_config('role', 'bob', true)", Flag.SETTINGS | Flag.PATH),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", Flag.SETTINGS | Flag.ISOLATION),
    ],
)
def test_what_it_does_to_the_session(statement, flags):
    assert judged(statement).flags == flags


def test_a_path_that_is_changed_inside():
    """K1: from then on names may mean what they mean in any schema."""
    assert judged("INSERT INTO a VALUES (1)").writes == {30001}
    code = judged("SET search_path = other; INSERT INTO a VALUES (1)")
    assert code.effect is OPAQUE or code.writes >= {30001, 30004}
    code = judged("PERFORM set_config(name, name, true) FROM b; PERFORM * FROM a")
    assert code.effect is OPAQUE or code.reads >= {30001, 30002, 30004}


def test_names_count_in_every_schema_of_the_path():
    code = judged("PERFORM * FROM a; DELETE FROM a", path=frozenset(("public", "other")))
    assert code.reads >= {30001, 30004}
    assert code.writes >= {30001, 30004}


def test_event_triggers_see_comments_and_refreshes():
    catalog = build(sample_rows(database=(5, True, False)))
    for statement in ("COMMENT ON TABLE a IS 'x'", "REFRESH MATERIALIZED VIEW matview"):
        assert judged(statement, catalog).effect is OPAQUE, statement


def test_sql_functions_that_make_tables():
    """SELECT INTO is DDL in SQL, an assignment in PL/pgSQL."""
    reach = Reach(SAMPLE, {})
    assert judge_body(sql_body("SELECT * INTO z FROM a"), reach, PATH, None).effect is OPAQUE
    assert judge_body(sql_body("SELECT * FROM a"), reach, PATH, None).effect is SAFE
    assert judge_body(sql_body("SELECT * FROM"), reach, PATH, None).effect is OPAQUE


def function(source, language="plpgsql", **more):
    row = FunctionRow(21700, "public", "f", 0, 0, "v", language, source=source, row=False, **more)
    return build(sample_rows(functions=[*FUNCTIONS, row]))


@pytest.mark.parametrize(
    ("declared", "assigned", "reason"),
    [
        ("text", "name", Reason.NO_RELATION),
        ("date", "(SELECT name FROM a)", Reason.CLOCK_CAST),
        ("date", "'2024-01-01'", Reason.NO_RELATION),
        ("date", "'now'", Reason.CLOCK_LITERAL),
        ("day", "(SELECT name FROM a)", Reason.CLOCK_CAST),
        ("timetz", "(SELECT name FROM a)", Reason.CLOCK_CAST),
        ("a.made%TYPE", "(SELECT name FROM a)", Reason.CLOCK_CAST),
    ],
)
def test_assignments(declared, assigned, reason):
    """K5: PL/pgSQL converts by way of text, so a date may read 'now' from data."""
    body = f"DECLARE x {declared}; name text := 'y'; BEGIN x := {assigned}; RETURN 1; END"
    found = plan("select f()", catalog=function(body, returns="integer", result=INT))
    assert found.reason in {reason, Reason.NOT_CACHED if reason is Reason.NO_RELATION else reason}


@pytest.mark.parametrize(
    ("returns", "oid", "reason"),
    [
        ("integer", INT, Reason.NOT_CACHED),
        ("text", 25, Reason.NOT_CACHED),
        ("date", DATE, Reason.CLOCK_CAST),
        ("time with time zone", TIMETZ, None),
        ("record", 2249, None),
    ],
)
def test_returned_values(returns, oid, reason):
    body = "BEGIN RETURN (SELECT name FROM a LIMIT 1); END"
    found = plan("select f()", catalog=function(body, returns=returns, result=oid))
    assert (found.reason is Reason.NOT_CACHED) is (reason is Reason.NOT_CACHED)
    if reason is not None:
        assert found.reason is reason


def test_transition_tables():
    """They are no relations; elsewhere such a name is one that is not known."""
    body = "BEGIN INSERT INTO c SELECT id FROM fresh; RETURN NULL; END"
    functions = [row for row in FUNCTIONS if row.oid != TRIGGER]
    functions.append(
        FunctionRow(TRIGGER, "public", "t", 0, 0, "v", "plpgsql", source=body, returns="trigger")
    )
    for transitions, known in ((("fresh",), True), ((), False), (("stale",), False)):
        trigger = TriggerRow(30001, TRIGGER, 4, False, transitions)
        catalog = build(sample_rows(functions=functions, triggers=[trigger]))
        found = plan("insert into a values (1)", catalog=catalog)
        assert (names(found, catalog) == {"a", "c"}) is known, transitions
