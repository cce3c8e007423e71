"""The question before COMMIT, against real servers: what an opaque transaction evicts.

A function with dynamic SQL counts as writing everything, unless the backend proves
before COMMIT which relations the transaction has touched. Entries on `b` show what is
spared, entries on `a` that nothing is ever stale.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from proxy.catalog.snapshot import CatalogSnapshot
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, execute, parse, tags

A = "SELECT v FROM public.a WHERE id = 1"
B = "SELECT v FROM public.b WHERE id = 1"
RUN = "SELECT run('UPDATE a SET v = v + 1')"
SCHEMA = (
    "CREATE TABLE a (id int PRIMARY KEY, v int NOT NULL)",
    "CREATE TABLE b (id int PRIMARY KEY, v int NOT NULL)",
    "INSERT INTO a VALUES (1, 0), (2, 0)",
    "INSERT INTO b VALUES (1, 0), (2, 0)",
    "CREATE TABLE child (id int PRIMARY KEY REFERENCES b ON DELETE CASCADE)",
    "INSERT INTO child VALUES (2)",
    "CREATE MATERIALIZED VIEW m AS SELECT * FROM b",
    "CREATE UNIQUE INDEX ON m (id)",
    "CREATE SEQUENCE s",
    "CREATE FUNCTION run(code text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE code; END'",
    "CREATE FUNCTION fails(code text) RETURNS void LANGUAGE plpgsql AS 'BEGIN BEGIN EXECUTE code;"
    " RAISE EXCEPTION ''no''; EXCEPTION WHEN OTHERS THEN NULL; END; END'",
    "ALTER TABLE a OWNER TO alice",
    "ALTER TABLE b OWNER TO alice",
    "ALTER MATERIALIZED VIEW m OWNER TO alice",
    "GRANT ALL ON child, s TO alice",
)

pytestmark = pytest.mark.skipif(
    not hasattr(CatalogSnapshot, "other_writers"), reason="the catalog does not tell who writes"
)


class Scene:
    """A reader with entries on both tables, and a writer that opaque code runs for."""

    def __init__(self, server: PostgresServer, howdah: Howdah, role: str = "alice") -> None:
        self.server, self.howdah = server, howdah
        self.database = server.create_database(*SCHEMA)
        howdah.warm(self.database)
        self.reader = howdah.wire(self.database, "alice")
        self.writer = howdah.wire(self.database, role)
        self.role = role

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def warm(self) -> None:
        # The writer's rights are known then, too.
        for wire, sql in ((self.writer, A), (self.reader, A), (self.reader, B)):
            self.howdah.until_hit(wire, sql)

    def truth(self, sql: str) -> list[list[str | None]]:
        return [[str(value) for value in row] for row in self.server.run(self.database, sql)]

    def fresh(self, sql: str) -> None:
        """What the cache says is what the server says, twice."""
        for _ in range(2):
            assert self.reader.rows(sql) == self.truth(sql)

    def transaction(self, *statements: str) -> None:
        """One transaction of the writer, checked to commit."""
        self.writer.query("BEGIN")
        for statement in statements:
            self.writer.query(statement)
        assert tags(self.writer.query("COMMIT")) == ["COMMIT"]

    def spares(self, *statements: str) -> None:
        """The transaction leaves the entry on `b`; that on `a` is gone where it has changed.

        A machine under load may take too long over the question; then all may go.
        """
        for _ in range(3):
            self.warm()
            before = self.truth(A)
            self.transaction(*statements)
            with self.howdah.watching() as gained:
                assert self.reader.rows(B) == self.truth(B)
            if self.truth(A) != before:
                with self.howdah.hits_during(0):
                    self.reader.query(A)
            self.fresh(A)
            if gained["hits"] == 1:
                return
        raise AssertionError(f"everything was evicted by {statements}")

    def evicts(self, *statements: str) -> None:
        """The transaction evicts the entry on `b`, whatever it did."""
        self.warm()
        self.transaction(*statements)
        with self.howdah.hits_during(0):
            self.reader.query(B)
        self.fresh(A)
        self.fresh(B)


@pytest.fixture
def scene(each_postgres: PostgresServer, each_howdah: Howdah) -> Iterator[Scene]:
    scene = Scene(each_postgres, each_howdah)
    yield scene
    scene.close()


def test_dynamic_sql_evicts_what_it_touched(scene: Scene) -> None:
    for _ in range(3):
        scene.spares(RUN)


def test_it_touched(scene: Scene) -> None:
    """Each way to write, through a function that nobody can see through (F9)."""
    insert = "INSERT INTO a SELECT max(id) + 1, 0 FROM a"
    scene.spares(f"SELECT run('{insert}')")
    scene.spares("SELECT run('DELETE FROM a WHERE id > 2')")
    scene.spares("SAVEPOINT x", RUN, "RELEASE x")
    scene.spares("SELECT fails('UPDATE a SET v = -1')")
    scene.spares("SAVEPOINT x", "SELECT run('UPDATE b SET v = -1')", "ROLLBACK TO x", RUN)
    scene.spares("SELECT fails('UPDATE b SET v = -1')", RUN)
    scene.spares("SELECT run('SELECT nextval(''s'')')")
    scene.spares(RUN, "UPDATE a SET v = v + 1")
    scene.spares("SELECT run('LOCK TABLE a')")
    scene.spares("SELECT run('SELECT FROM b FOR UPDATE')")


def test_what_it_touched_is_never_stale(scene: Scene) -> None:
    scene.evicts("SELECT run('UPDATE b SET v = v + 1')")
    scene.evicts(RUN, "UPDATE b SET v = v + 1")
    scene.evicts("SELECT run('TRUNCATE b CASCADE')")
    scene.evicts("SELECT run('INSERT INTO b VALUES (1, 7), (2, 7)')")
    scene.server.run(scene.database, "INSERT INTO child VALUES (2)")
    scene.evicts("SELECT run('DELETE FROM b WHERE id = 2')")


def test_both_protocols(scene: Scene) -> None:
    scene.warm()
    writer = scene.writer

    def extended(sql: str) -> bytes:
        return parse(sql) + bind() + execute() + SYNC

    for sql in ("BEGIN", RUN, "COMMIT"):
        assert not [f for f in writer.ask(extended(sql)) if f.kind == "E"]
    with scene.howdah.hits_during(1):
        scene.reader.query(B)
    scene.fresh(A)
    for name, sql in (("c", "COMMIT"), ("b", "BEGIN"), ("r", RUN)):
        writer.ask(parse(sql, name) + SYNC)
    for name in "brc":
        assert not [f for f in writer.ask(bind(statement=name) + execute() + SYNC) if f.kind == "E"]
    with scene.howdah.hits_during(1):
        scene.reader.query(B)
    scene.fresh(A)


@pytest.mark.parametrize(
    "statements",
    [
        (RUN, "SELECT run('CREATE TABLE fresh (id int)')"),
        (RUN, "SELECT run('CREATE TEMP TABLE fresh (id int)')"),
        (RUN, "SELECT run('REFRESH MATERIALIZED VIEW m')"),
        (RUN, "SELECT run('REFRESH MATERIALIZED VIEW CONCURRENTLY m')"),
        (RUN, "SELECT run('GRANT SELECT ON a TO bob')"),
        (RUN, "SELECT run('COMMENT ON TABLE a IS ''x''')"),
        (RUN, "SELECT run('ALTER ROLE alice SET work_mem = ''5MB''')"),
        (RUN, "CREATE TABLE fresh (id int)"),
        (RUN, "DECLARE c CURSOR WITH HOLD FOR SELECT run('UPDATE a SET v = 9')"),
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", RUN),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", RUN),
    ],
)
def test_where_it_is_not_proven_everything_goes(scene: Scene, statements: tuple[str, ...]) -> None:
    scene.evicts(*statements)


def test_a_held_cursor_writes_at_commit(scene: Scene) -> None:
    """What is left of a held cursor runs inside the COMMIT, after the question."""
    scene.warm()
    scene.transaction("DECLARE c CURSOR WITH HOLD FOR SELECT run('UPDATE b SET v = v + 1')")
    assert scene.truth(B) == [["1"]]
    scene.fresh(B)


def test_a_superuser_is_not_believed(each_postgres: PostgresServer, each_howdah: Howdah) -> None:
    """It may have switched the counters off while it changed the schema."""
    scene = Scene(each_postgres, each_howdah, "postgres")
    scene.evicts(RUN)
    off = "set_config('track_counts', 'off', true)"
    on = "set_config('track_counts', 'on', true)"
    scene.evicts(
        f"SELECT run('SELECT {off.replace(chr(39), chr(39) * 2)}'), {off}", RUN, f"SELECT {on}"
    )
    scene.close()


def test_code_with_the_rights_of_a_superuser_is_not_believed(scene: Scene) -> None:
    scene.spares(RUN)
    with scene.howdah.wire(scene.database, "postgres") as admin:
        admin.query("ALTER FUNCTION run SECURITY DEFINER")
    scene.evicts(RUN)


def test_counters_that_are_off(scene: Scene) -> None:
    server = scene.server
    believed = Scene(server, scene.howdah, "bob")
    believed.server.run(believed.database, "GRANT ALL ON a, b TO bob")
    believed.spares(RUN)
    believed.close()
    with scene.howdah.wire(scene.database, "postgres") as admin:
        admin.query("ALTER ROLE bob SET track_counts = off")
        admin.query("GRANT ALL ON a, b TO bob")
    with scene.howdah.wire(scene.database, "bob") as bob:
        scene.warm()
        scene.howdah.until_hit(bob, A)
        for sql in ("BEGIN", RUN):
            bob.query(sql)
        assert tags(bob.query("COMMIT")) == ["COMMIT"]
        with scene.howdah.hits_during(0):
            scene.reader.query(B)
    scene.fresh(A)
    server.run("postgres", "ALTER ROLE bob RESET track_counts")


@pytest.mark.parametrize(
    "setting",
    [
        "search_path = hostile, pg_catalog",
        "client_encoding = latin1",
        "plan_cache_mode = force_generic_plan",
    ],
)
def test_the_client_notices_nothing(scene: Scene, setting: str) -> None:
    """Settings that read texts and names otherwise, operators in front of the built-in ones."""
    scene.server.run(
        scene.database,
        "CREATE SCHEMA hostile",
        "GRANT USAGE ON SCHEMA hostile TO PUBLIC",
        "CREATE FUNCTION hostile.eq(name, name) RETURNS bool LANGUAGE plpgsql"
        " AS 'BEGIN RAISE EXCEPTION ''hostile''; END'",
        "CREATE OPERATOR hostile.= (LEFTARG = name, RIGHTARG = name, FUNCTION = hostile.eq)",
        "CREATE FUNCTION hostile.eq(text, text) RETURNS bool LANGUAGE plpgsql"
        " AS 'BEGIN RAISE EXCEPTION ''hostile''; END'",
        "CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.eq)",
    )
    writer = scene.writer
    writer.query(f"SET {setting}")
    scene.spares("SELECT public.run('UPDATE public.a SET v = v + 1')")


def test_a_transaction_that_has_become_read_only(scene: Scene) -> None:
    scene.spares(RUN, "SET TRANSACTION READ ONLY")


def test_a_deferred_trigger_acts_at_commit(scene: Scene) -> None:
    """After the question: it is not believed, whatever the transaction has touched (F1)."""
    scene.spares(RUN)
    with scene.howdah.wire(scene.database, "postgres") as admin:
        admin.query(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN EXECUTE ''UPDATE b SET v = v + 1''; RETURN NULL; END'"
        )
        admin.query(
            "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON a DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION late()"
        )
    scene.evicts(RUN)
    assert scene.truth(B) == [["2"]]


def test_code_that_writes_by_other_ways(scene: Scene) -> None:
    """A connection of its own commits before the COMMIT, and knows no lock of this one."""
    try:
        scene.server.run(scene.database, "CREATE EXTENSION dblink")
    except psycopg.Error:
        pytest.skip("no dblink on this server")
    with scene.howdah.wire(scene.database, "postgres") as admin:
        admin.query("COMMENT ON EXTENSION dblink IS NULL")
        admin.query("CREATE TABLE news (id int)")
    scene.warm()
    port, database = scene.server.port, scene.database
    scene.writer.query("BEGIN")
    scene.writer.query(
        f"SELECT public.dblink_exec('host=127.0.0.1 port={port} dbname={database} user=postgres',"
        " 'UPDATE b SET v = v + 1')"
    )
    scene.fresh(B)
    scene.writer.query("COMMIT")
    scene.evicts(RUN)


def test_the_right_to_switch_counters_off(scene: Scene) -> None:
    """Whoever may do that could change the schema unseen."""
    if scene.server.major < 15:
        pytest.skip("such rights can be granted since 15")
    scene.spares(RUN)
    scene.server.run("postgres", "GRANT SET ON PARAMETER track_counts TO alice")
    try:
        scene.evicts(RUN)
    finally:
        scene.server.run("postgres", "REVOKE SET ON PARAMETER track_counts FROM alice")


def test_triggers_that_run_as_a_superuser(scene: Scene) -> None:
    """A cascade runs as the owner of the child, and so do its triggers."""
    with scene.howdah.wire(scene.database, "postgres") as admin:
        admin.query(
            "CREATE FUNCTION early() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN EXECUTE ''SELECT 1''; RETURN OLD; END'"
        )
        admin.query(
            "CREATE TRIGGER early BEFORE DELETE ON child FOR EACH ROW EXECUTE FUNCTION early()"
        )
    scene.evicts(RUN)


def test_a_question_that_fails_is_forgotten(scene: Scene) -> None:
    """Without the privilege to ask, the client's transaction commits, and everything goes."""
    scene.server.run(
        scene.database, "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_lock_status() FROM PUBLIC"
    )
    for _ in range(2):
        scene.evicts(RUN)
