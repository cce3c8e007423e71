"""Whose rows: roles, privileges, row security, views and functions with rights of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, execute, parse
from tests.playbook.twins import Step, Twin, Twins, ext, make, pipeline

SCHEMA = """
CREATE SCHEMA side; GRANT USAGE ON SCHEMA side TO PUBLIC;
CREATE TABLE open (id int, v text); INSERT INTO open VALUES (1, 'open');
GRANT SELECT ON open TO PUBLIC;
CREATE TABLE hers (v text); INSERT INTO hers VALUES ('of alice'); GRANT SELECT ON hers TO alice;
CREATE TABLE theirs (v text); INSERT INTO theirs VALUES ('of carol');
GRANT SELECT ON theirs TO carol;
CREATE TABLE parts (x int, y int); INSERT INTO parts VALUES (1, 2);
GRANT SELECT (x) ON parts TO alice;
CREATE TABLE rls (owner name, tenant int, v text);
INSERT INTO rls VALUES ('alice', 1, 'hers'), ('bob', 2, 'his'), ('carol', 1, 'theirs');
GRANT SELECT, UPDATE ON rls TO PUBLIC;
ALTER TABLE rls ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON rls USING (owner = current_user);
CREATE TABLE tenants (tenant int, v text); INSERT INTO tenants VALUES (1, 'one'), (2, 'two');
GRANT SELECT ON tenants TO PUBLIC;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY one ON tenants
    USING (tenant = nullif(current_setting('app.tenant', true), '')::int);
CREATE TABLE allowed (who name, tenant int); INSERT INTO allowed VALUES ('alice', 1);
GRANT SELECT ON allowed TO PUBLIC;
CREATE TABLE listed (tenant int, v text); INSERT INTO listed VALUES (1, 'one'), (2, 'two');
GRANT SELECT ON listed TO PUBLIC;
ALTER TABLE listed ENABLE ROW LEVEL SECURITY;
CREATE POLICY those ON listed
    USING (tenant IN (SELECT a.tenant FROM allowed a WHERE a.who = current_user));
CREATE VIEW definers AS SELECT v FROM rls; GRANT SELECT ON definers TO PUBLIC;
CREATE VIEW barrier WITH (security_barrier) AS SELECT v FROM theirs;
GRANT SELECT ON barrier TO PUBLIC;
CREATE FUNCTION tells() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = public AS 'SELECT v FROM theirs';
CREATE FUNCTION asks() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT v FROM public.theirs';
CREATE FUNCTION who() RETURNS name LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT current_user';
"""
INVOKERS = "CREATE VIEW invokers WITH (security_invoker) AS SELECT v FROM rls ORDER BY v"
ROLES = ("ALTER ROLE alice NOSUPERUSER NOBYPASSRLS", "ALTER ROLE bob INHERIT", "GRANT carol TO bob")
OPEN = "SELECT v FROM public.open"
HERS = "SELECT v FROM public.hers"
THEIRS = "SELECT v FROM public.theirs"
RLS = "SELECT v FROM public.rls ORDER BY v"
P = "postgres"


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_rights")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    with bench:
        yield bench


@pytest.fixture
def fresh(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Iterator[Twins]:
    """Databases of their own, for what changes rights."""
    with make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_fresh") as twins:
        yield twins
    each_postgres.run("postgres", *ROLES)


def primed(twins: Twins) -> None:
    """All that could tempt is in memory: the answers of a superuser and of those who may."""
    twins.prime(OPEN, HERS, THEIRS)
    twins.tempt(RLS)
    twins.prime(OPEN, HERS, user="alice")
    twins.prime(OPEN, user="bob")


# Roles


TAKES: dict[str, tuple[tuple[Step, ...], tuple[Step, ...]]] = {
    "set role": (("SET ROLE alice",), ("RESET ROLE",)),
    "set role, none": (("SET ROLE 'alice'",), ("SET ROLE NONE",)),
    "extended": ((ext("SET ROLE alice"),), (ext("RESET ROLE"),)),
    "as a setting": (("SET SESSION role = 'alice'",), ("SET role TO DEFAULT",)),
    "set_config": (("SELECT set_config('role', 'alice', false)",), ("RESET ALL", "RESET ROLE")),
    "set_config, bound": (
        (ext("SELECT set_config($1, $2, false)", b"role", b"alice"),),
        (ext("SELECT set_config('role', $1, false)", b"none"),),
    ),
    "set_config, name bound": (
        (ext("SELECT set_config('role', $1, false)", b"alice"),),
        ("DISCARD ALL",),
    ),
    "authorization": (
        ("SET SESSION AUTHORIZATION alice",),
        ("SET SESSION AUTHORIZATION DEFAULT",),
    ),
    "authorization, reset": (
        ("SET SESSION AUTHORIZATION 'alice'",),
        ("RESET SESSION AUTHORIZATION",),
    ),
    "in DO": (
        ("DO $$BEGIN SET ROLE alice; END$$",),
        ("DO $$BEGIN PERFORM set_config('role', 'none', false); END$$",),
    ),
    "in a block": (("BEGIN", "SET ROLE alice", "COMMIT"), ("BEGIN", "RESET ROLE", "COMMIT")),
    "local": (("BEGIN", "SET LOCAL ROLE alice"), ("COMMIT",)),
    "local authorization": (("BEGIN", "SET LOCAL SESSION AUTHORIZATION alice"), ("ROLLBACK",)),
    "rolled back": (("BEGIN", "SET ROLE alice"), ("ROLLBACK",)),
    "savepoint": (("BEGIN", "SAVEPOINT a", "SET ROLE alice"), ("ROLLBACK TO a", "COMMIT")),
    "in one query": (("SET ROLE alice; SELECT 1",), ("RESET ROLE; SELECT 1",)),
    "pipeline": ((pipeline("SET ROLE alice", "SELECT 1"),), (pipeline("RESET ROLE"),)),
}


@pytest.mark.parametrize(("take", "leave"), TAKES.values(), ids=TAKES)
def test_a_role_that_is_taken_sees_its_own_rows(
    twins: Twins, take: tuple[Step, ...], leave: tuple[Step, ...]
) -> None:
    """SET ROLE and SESSION AUTHORIZATION, however said: from there on it is the other's rows."""
    session = twins.session()
    primed(twins)
    for read in (OPEN, HERS, THEIRS):
        session.hit(read)
    session.read(RLS)
    for _ in range(2):
        session.run(*take)
        assert session.read(HERS) == [["of alice"]]
        assert session.read(RLS) == [["hers"]]
        if session.status == "I":
            session.fails(THEIRS, "42501")
        session.run(*leave)
        assert session.read(THEIRS) == [["of carol"]]
        assert len(session.read(RLS)) == 3
    session.hit(THEIRS)
    session.hit(RLS)


@pytest.mark.parametrize("text", ["SET ROLE {}", "SET SESSION AUTHORIZATION {}"])
def test_from_one_role_to_another(twins: Twins, text: str) -> None:
    """Two roles without privileges beyond their own tables: neither gets what the other may."""
    session = twins.session()
    for _ in range(3):
        session.step(text.format("alice"))
        assert session.read(HERS) == [["of alice"]]
        assert session.read(RLS) == [["hers"]]
        session.step(text.format("bob"))
        session.fails(HERS, "42501")
        session.fails(ext(HERS), "42501")
        assert session.read(RLS) == [["his"]]
        assert session.read(THEIRS) == [["of carol"]]
    session.step(text.format("alice"))
    session.fails(THEIRS, "42501")
    session.hit(HERS)
    session.hit(RLS)


REFUSED: tuple[Step, ...] = (
    "SET ROLE postgres",
    "SET ROLE bob",
    "SET ROLE nobody_of_that_name",
    ext("SET ROLE postgres"),
    "SET SESSION AUTHORIZATION postgres",
    "SET LOCAL ROLE postgres",
    "SELECT set_config('role', 'postgres', false)",
    ext("SELECT set_config('role', $1, false)", b"postgres"),
    "SET role = 'postgres'; SELECT 1",
    pipeline("SET ROLE postgres", OPEN),
    "UPDATE pg_settings SET setting = '99' WHERE name = 'extra_float_digits'",
    "SET ROLE alice; SELECT 1 / 0",
    pipeline("SET ROLE alice", "SELECT 1 / 0"),
    "SET search_path = side; SET ROLE postgres",
    "SET timezone = 'Nowhere/Land'",
    "SET extra_float_digits = 99",
    "SET no_such_setting = 1",
    "SELECT set_config('DateStyle', 'nonsense', false)",
)


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("step", REFUSED)
def test_a_refused_set_changes_nothing(twins: Twins, step: Step, block: bool) -> None:
    """A SET that PostgreSQL refuses leaves role and settings as they were."""
    session = twins.session("alice")
    primed(twins)
    session.hit(HERS)
    if block:
        session.step("BEGIN")
    assert any(frame.kind == "E" for frame in session.step(step)) or "LOCAL" in str(step)
    if block:
        session.step("ROLLBACK")
    session.fails(THEIRS, "42501")
    session.fails(ext(THEIRS), "42501")
    assert session.read(RLS) == [["hers"]]
    assert session.read(HERS) == [["of alice"]]
    session.run("SHOW search_path", "SHOW timezone", "SHOW role", "SELECT current_user")
    session.hit(HERS)
    session.hit(RLS)


def test_the_path_follows_the_role(twins: Twins) -> None:
    """ "$user" in search_path is the role of the moment."""
    twins.both(
        "CREATE SCHEMA alice AUTHORIZATION alice; CREATE SCHEMA bob AUTHORIZATION bob",
        "CREATE TABLE alice.mine (v text); INSERT INTO alice.mine VALUES ('a')",
        "CREATE TABLE bob.mine (v int); INSERT INTO bob.mine VALUES (7)",
        "ALTER TABLE alice.mine OWNER TO alice; ALTER TABLE bob.mine OWNER TO bob",
    )
    mine = "SELECT * FROM mine"
    session = twins.session()
    twins.prime(mine, user="alice")
    twins.prime(mine, user="bob")
    session.fails(mine, "42P01")
    for _ in range(2):
        session.step("SET ROLE alice")
        assert session.read(mine) == [["a"]]
        session.step("SET ROLE bob")
        assert session.read(mine) == [["7"]]
        session.step("RESET ROLE")
        session.fails(mine, "42P01")
    session.step("SET ROLE alice")
    session.hit(mine)
    twins.both("DROP SCHEMA alice CASCADE; DROP SCHEMA bob CASCADE")


# Privileges


GRANTS = [
    ("REVOKE SELECT ON open FROM PUBLIC", "GRANT SELECT ON open TO PUBLIC", "alice", OPEN),
    ("REVOKE ALL ON hers FROM alice", "GRANT SELECT ON hers TO alice", "alice", HERS),
    (
        "REVOKE SELECT (x) ON parts FROM alice",
        "GRANT SELECT (x) ON parts TO alice",
        "alice",
        "SELECT x FROM public.parts",
    ),
    (
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "alice",
        OPEN,
    ),
    (
        "REVOKE SELECT ON barrier FROM PUBLIC",
        "GRANT SELECT ON barrier TO PUBLIC",
        "alice",
        "SELECT v FROM public.barrier",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION tells() FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION tells() TO PUBLIC",
        "alice",
        "SELECT t FROM public.tells() t",
    ),
    (
        "ALTER TABLE open RENAME TO shut",
        "ALTER TABLE shut RENAME TO open",
        "alice",
        OPEN,
    ),
    (
        "ALTER TABLE open SET SCHEMA side",
        "ALTER TABLE side.open SET SCHEMA public",
        "alice",
        OPEN,
    ),
]


@pytest.mark.parametrize(
    ("revoke", "grant", "user", "sql"), GRANTS, ids=[case[0] for case in GRANTS]
)
def test_what_is_revoked_fails_at_once(
    fresh: Twins, revoke: str, grant: str, user: str, sql: str
) -> None:
    """Sessions that had it from memory get PostgreSQL's error, inside a block as well."""
    owner, session, inside = fresh.session(), fresh.session(user), fresh.session(user)
    session.step((parse(sql, "known"), SYNC))
    prepared = (bind(statement="known"), execute(), SYNC)
    for step in (sql, ext(sql), prepared):
        session.hit(step)
        if step is not prepared:
            inside.hit(step)
    # Locks of a reader are in the way of ALTER, and a right to call is looked up rarely.
    blocks = revoke.startswith("REVOKE SELECT")
    if blocks:
        inside.step("BEGIN")
        inside.hits(2, sql, ext(sql))
    owner.step(revoke)
    for step in (sql, ext(sql), prepared):
        session.hits(0, step)
    if blocks:
        inside.hits(0, sql)
        inside.step("ROLLBACK")
    owner.read(sql)
    owner.step(grant)
    assert session.read(sql)
    if "FUNCTION" not in revoke:
        # A session that has run functions keeps plans of before, and gets no answers of new ones.
        session.hit(sql)
    fresh.session(user).hit(sql)


def test_a_rolled_back_revoke_revokes_nothing(fresh: Twins) -> None:
    """REVOKE in a transaction counts at its COMMIT, for others; for itself at once."""
    owner, session = fresh.session(), fresh.session("alice")
    session.hit(HERS)
    for end in ("ROLLBACK", "COMMIT"):
        owner.run("BEGIN", "REVOKE SELECT ON hers FROM alice")
        owner.run("SAVEPOINT a", "SET LOCAL ROLE alice")
        owner.fails(HERS, "42501")
        owner.step("ROLLBACK TO a")
        session.read(HERS)
        owner.step(end)
        session.read(HERS)
    session.fails(HERS, "42501")
    owner.run("BEGIN", "GRANT SELECT ON hers TO alice", "SAVEPOINT a", "ROLLBACK TO a", "COMMIT")
    session.hit(HERS)


def test_a_membership_that_ends(fresh: Twins) -> None:
    """What a role may by another one, it may until it is taken out; SET ROLE fails from then."""
    owner, member = fresh.session(), fresh.session("bob")
    member.hit(THEIRS)
    member.run("SET ROLE carol")
    member.hit(THEIRS)
    owner.once("REVOKE carol FROM bob")
    # The role that it has taken stays taken: PostgreSQL decides.
    member.read(THEIRS)
    member.step("RESET ROLE")
    member.fails(THEIRS, "42501")
    member.fails("SET ROLE carol", "42501")
    member.fails(THEIRS, "42501")
    owner.once("GRANT carol TO bob")
    member.hit(THEIRS)
    owner.once("ALTER ROLE bob NOINHERIT")
    member.read(THEIRS)
    owner.once("ALTER ROLE bob INHERIT")
    member.read(THEIRS)
    member.hit(THEIRS)


def test_privileges_of_columns(fresh: Twins) -> None:
    """A column that one may not read is an error, whatever others have in memory."""
    owner, session = fresh.session(), fresh.session("alice")
    texts = ("SELECT x FROM parts", "SELECT y FROM parts", "SELECT * FROM parts")
    more = (
        "SELECT count(*) FROM parts",
        "SELECT x FROM parts WHERE y = 2",
        "SELECT p FROM parts p",
    )
    fresh.prime(*texts, *more)
    for sql in texts + more:
        session.read(sql)
    session.hit(texts[0])
    owner.step("GRANT SELECT (y) ON parts TO alice")
    for sql in texts + more:
        session.read(sql)
    session.hit("SELECT x FROM parts WHERE y = 2")
    owner.step("REVOKE SELECT (y) ON parts FROM alice")
    for sql in texts + more:
        session.read(sql)
    session.hit(texts[0])


# Views and functions with rights of their own


def test_views_by_owner_and_by_invoker(fresh: Twins) -> None:
    """A view reads as its owner, security_invoker as who asks, and ALTER VIEW swaps them."""
    if fresh.server.major < 15:
        pytest.skip("security_invoker came with PostgreSQL 15")
    fresh.both(INVOKERS, "GRANT SELECT ON invokers TO PUBLIC")
    sql = "SELECT v FROM invokers"
    owner, alice, bob = fresh.session(), fresh.session("alice"), fresh.session("bob")
    for session, rows in ((owner, 3), (alice, 1), (bob, 1)):
        assert len(session.read(sql)) == rows
        assert len(session.read("SELECT v FROM definers ORDER BY v")) == 3
        session.hit("SELECT v FROM definers ORDER BY v")
    assert alice.read(sql) != bob.read(sql)
    owner.step("ALTER VIEW invokers RESET (security_invoker)")
    assert alice.read(sql) == bob.read(sql) == owner.read(sql)
    owner.step("ALTER VIEW invokers SET (security_invoker = true)")
    assert alice.read(sql) == [["hers"]]
    owner.step("REVOKE SELECT ON rls FROM PUBLIC")
    alice.fails(sql, "42501")
    alice.read("SELECT v FROM definers ORDER BY v")
    owner.step("GRANT SELECT, UPDATE ON rls TO PUBLIC")
    assert alice.hit(sql) == [["hers"]]
    assert bob.hit(sql) == [["his"]]
    fresh.both("DROP VIEW invokers")


def test_the_owner_of_a_view_loses_the_right(fresh: Twins) -> None:
    """A view stops answering everybody when its owner may no longer read what is below."""
    owner, session = fresh.session(), fresh.session("alice")
    sql = "SELECT v FROM barrier"
    session.hit(sql)
    owner.step("ALTER VIEW barrier OWNER TO bob")
    session.read(sql)
    owner.once("REVOKE carol FROM bob")
    session.fails(sql, "42501")
    owner.once("GRANT carol TO bob")
    owner.step("ALTER VIEW barrier OWNER TO postgres")
    session.hit(sql)


def _each(session: Twin, *texts: str) -> None:
    for sql in texts:
        session.read(sql)


def test_functions_with_the_rights_of_their_owner(fresh: Twins) -> None:
    """SECURITY DEFINER reads what its caller may not; without it the caller's rights count."""
    owner, session = fresh.session(), fresh.session("alice")
    tells, asks = "SELECT t FROM public.tells() t", "SELECT t FROM public.asks() t"
    fresh.prime(tells, asks)
    assert session.read(tells) == [["of carol"]]
    session.fails(asks, "42501")
    session.hit(tells)
    owner.step("UPDATE theirs SET v = 'new'")
    assert session.read(tells) == [["new"]]
    owner.step("ALTER FUNCTION tells() SECURITY INVOKER")
    session.fails(tells, "42501")
    owner.step("ALTER FUNCTION tells() SECURITY DEFINER")
    owner.step("ALTER FUNCTION asks() SECURITY DEFINER")
    _each(session, tells, asks)
    owner.step("ALTER FUNCTION tells() OWNER TO alice")
    session.fails(tells, "42501")
    owner.run(
        "ALTER FUNCTION tells() OWNER TO postgres",
        "ALTER FUNCTION asks() SECURITY INVOKER",
        "UPDATE theirs SET v = 'of carol'",
    )
    session.fails(asks, "42501")
    session.read(tells)
    fresh.session("alice").hit(tells)


def test_current_user_inside_of_a_function(twins: Twins) -> None:
    """Inside SECURITY DEFINER current_user is the owner, session_user who has logged in."""
    texts = (
        "SELECT who(), v FROM open",
        "SELECT current_user, session_user, v FROM open",
        "SELECT current_role, v FROM open",
        "SELECT user, current_database(), current_schema, v FROM open",
        "SELECT v FROM open WHERE current_user = 'alice'",
    )
    for user in (P, "alice", "bob"):
        session = twins.session(user)
        _each(session, *(text for text in texts if "database" not in text))
        session.step("SET search_path = side, public")
        _each(session, "SELECT current_schema, current_schemas(true), v FROM public.open")
    session = twins.session()
    for role in ("alice", "bob", "NONE", "alice"):
        session.step(f"SET ROLE {role}")
        _each(session, *(text for text in texts if "database" not in text))
    for text in texts[1:]:
        if "database" not in text:
            session.hit(text)
    # A session that has run functions as somebody else keeps their plans.
    assert twins.session("bob").hit(texts[0]) == [["postgres", "open"]]
