"""Row security: each role, and each tenant of a session, sees its own rows of the same text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.playbook.test_pitfalls_rights import RLS, ROLES, SCHEMA
from tests.playbook.twins import Twins, ext, make

TENANTS = "SELECT v FROM public.tenants ORDER BY v"
LISTED = "SELECT v FROM public.listed ORDER BY v"
P = "postgres"


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_rows")


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


def test_rows_of_the_role(twins: Twins) -> None:
    """A policy by current_user: the same text is another answer for each role, from memory too."""
    twins.tempt(RLS)
    sessions = {user: twins.session(user) for user in (P, "alice", "bob")}
    found = {user: session.hit(RLS) for user, session in sessions.items()}
    assert found == {P: [["hers"], ["his"], ["theirs"]], "alice": [["hers"]], "bob": [["his"]]}
    sessions["bob"].step("SET ROLE carol")
    assert sessions["bob"].hit(RLS) == [["theirs"]]
    sessions["bob"].step("UPDATE rls SET v = 'changed'")
    assert sessions["bob"].hit(RLS) == [["changed"]]
    assert sessions[P].hit(RLS) == [["changed"], ["hers"], ["his"]]
    assert sessions["alice"].hit(RLS) == [["hers"]]
    sessions[P].step("UPDATE rls SET v = 'theirs' WHERE owner = 'carol'")


CHANGES = [
    ("ALTER ROLE alice BYPASSRLS", "ALTER ROLE alice NOBYPASSRLS"),
    ("ALTER TABLE rls DISABLE ROW LEVEL SECURITY", "ALTER TABLE rls ENABLE ROW LEVEL SECURITY"),
    ("CREATE POLICY more ON rls USING (owner = 'bob')", "DROP POLICY more ON rls"),
    (
        "CREATE POLICY less ON rls AS RESTRICTIVE USING (tenant = 2)",
        "DROP POLICY less ON rls",
    ),
    (
        "ALTER POLICY own ON rls USING (tenant = 2)",
        "ALTER POLICY own ON rls USING (owner = current_user)",
    ),
    ("ALTER POLICY own ON rls TO bob", "ALTER POLICY own ON rls TO PUBLIC"),
    ("ALTER TABLE rls OWNER TO alice", "ALTER TABLE rls OWNER TO postgres"),
    (
        "ALTER TABLE rls OWNER TO alice; ALTER TABLE rls FORCE ROW LEVEL SECURITY",
        "ALTER TABLE rls NO FORCE ROW LEVEL SECURITY; ALTER TABLE rls OWNER TO postgres",
    ),
    ("ALTER ROLE alice SUPERUSER", "ALTER ROLE alice NOSUPERUSER"),
    (
        "UPDATE rls SET owner = 'alice' WHERE owner = 'bob'",
        "UPDATE rls SET owner = 'bob' WHERE v = 'his'",
    ),
]


@pytest.mark.parametrize(("change", "back"), CHANGES, ids=[case[0] for case in CHANGES])
def test_a_change_of_row_security_counts_at_once(fresh: Twins, change: str, back: str) -> None:
    """Policies, BYPASSRLS, owners: sessions that had hits see other rows from then on."""
    owner, session, other = fresh.session(), fresh.session("alice"), fresh.session("bob")
    before = session.hit(RLS)
    others = other.hit(RLS)
    owner.step(change)
    try:
        assert session.read(RLS) != before or "less" in change or "FORCE" in change
        other.read(RLS)
        owner.read(RLS)
    finally:
        owner.step(back)
    assert session.read(RLS) == before
    assert other.read(RLS) == others
    session.hit(RLS)
    other.hit(RLS)


def test_row_security_off(twins: Twins) -> None:
    """row_security = off turns a policy that would hide rows into an error."""
    session, owner = twins.session("alice"), twins.session()
    for one in (session, owner):
        one.hit(RLS)
        one.step("SET row_security = off")
    for step in (RLS, ext(RLS)):
        session.fails(step, "42501")
    assert len(owner.read(RLS)) == 3
    owner.hit(RLS)
    session.step("RESET row_security")
    session.hit(RLS)


TENANCY: dict[str, tuple[str, ...]] = {
    "set": ("SET app.tenant = '{n}'",),
    "set session": ("SET SESSION app.tenant TO {n}",),
    "set_config": ("SELECT set_config('app.tenant', '{n}', false)",),
    "local": ("BEGIN", "SET LOCAL app.tenant = '{n}'"),
    "local set_config": ("BEGIN", "SELECT set_config('app.tenant', '{n}', true)"),
    "in a block": ("BEGIN", "SET app.tenant = '{n}'", "COMMIT"),
    "quoted": ('SET "APP"."Tenant" = {n}',),
    "do": ("DO $$BEGIN PERFORM set_config('app.tenant', '{n}', false); END$$",),
}


@pytest.mark.parametrize("way", TENANCY.values(), ids=TENANCY)
def test_rows_of_a_tenant(twins: Twins, way: tuple[str, ...]) -> None:
    """A policy by current_setting: a pool serves many tenants on one session."""
    sessions = [twins.session("alice") for _ in range(2)]
    for _ in range(3):
        for number, session in enumerate(sessions):
            for tenant in (1 + number, 2 - number):
                session.run(*(text.format(n=tenant) for text in way))
                assert session.read(TENANTS) == [[["one"], ["two"]][tenant - 1]]
                if session.status == "T":
                    session.step("COMMIT")
        for session in sessions:
            session.run("RESET app.tenant")
            assert session.read(TENANTS) == []
    sessions[0].step("SET app.tenant = '1'")
    assert sessions[0].hit(TENANTS) == [["one"]]
    sessions[1].step("SET app.tenant = '1'")
    assert sessions[1].hit(TENANTS) == [["one"]]
    sessions[1].step("SET app.tenant = '2'")
    assert sessions[1].hit(TENANTS) == [["two"]]


def test_a_tenant_that_is_bound(twins: Twins) -> None:
    """set_config($1, $2, ...) with parameters, as web frameworks pass the claims of a request."""
    session = twins.session("alice")
    ask = "SELECT set_config($1, $2, $3)"
    for _ in range(2):
        for tenant in (b"1", b"2"):
            session.step(ext(ask, b"app.tenant", tenant, b"f"))
            assert session.read(TENANTS) == [["one"] if tenant == b"1" else ["two"]]
        session.step("BEGIN")
        session.step(ext("SELECT set_config('app.tenant', $1, true)", b"1"))
        assert session.read(TENANTS) == [["one"]]
        session.step("COMMIT")
        assert session.read(TENANTS) == [["two"]]
    session.step(ext("SELECT set_config('app.tenant', $1, false)", b"1"))
    assert session.hit(TENANTS) == [["one"]]


def test_a_tenant_of_the_login(twins: Twins) -> None:
    """A custom setting that comes with the startup, or with the role."""
    first = twins.session("alice", options="-c app.tenant=1")
    second = twins.session("alice", options="-c app.tenant=2")
    assert first.read(TENANTS) == [["one"]]
    assert second.read(TENANTS) == [["two"]]
    twins.both("ALTER ROLE alice SET app.tenant = '2'")
    third = twins.session("alice")
    assert third.read(TENANTS) == [["two"]]
    assert first.read(TENANTS) == [["one"]]
    twins.both("ALTER ROLE alice RESET app.tenant")
    assert twins.session("alice").read(TENANTS) == []
    first.step("RESET ALL")
    assert first.read(TENANTS) == [["one"]]
    assert first.hit(TENANTS) == [["one"]]


def test_rows_that_another_table_allows(twins: Twins) -> None:
    """A policy with a subquery: a write to the table that it reads changes the answer."""
    owner, session, other = twins.session(), twins.session("alice"), twins.session("bob")
    assert session.read(LISTED) == [["one"]]
    assert other.read(LISTED) == []
    owner.step("INSERT INTO allowed VALUES ('alice', 2), ('bob', 2)")
    assert session.read(LISTED) == [["one"], ["two"]]
    assert other.read(LISTED) == [["two"]]
    owner.step("DELETE FROM allowed WHERE tenant = 2")
    assert session.read(LISTED) == [["one"]]
    assert other.read(LISTED) == []
    session.hit(LISTED)
