"""Forced interleavings of changes to the schema with writes and fills (F12)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.fix_howdah import wait_until_running
from tests.fix_middlebox import TO_CLIENT, TO_SERVER
from tests.fix_scene import Scene
from tests.fix_tools import eventually
from tests.fix_wire import connect, errors, query, rows

COPIES = "SELECT n FROM copies"
TABLES = (
    "CREATE TABLE source (n int); INSERT INTO source VALUES (0);"
    "CREATE TABLE copies (n int); INSERT INTO copies VALUES (0)"
)
# Advisory locks belong to a database: a direct session holds this one for as long as
# the trigger shall wait.
WAITS = "PERFORM pg_advisory_xact_lock(42);"
TRIGGER = "AFTER UPDATE ON source FOR EACH ROW EXECUTE FUNCTION copy()"


def function(body: str) -> str:
    return (
        "CREATE OR REPLACE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {body} RETURN NULL; END $$"
    )


COPYING = "UPDATE copies SET n = NEW.n;"


@contextmanager
def advisory_lock(scene: Scene) -> Iterator[None]:
    with scene.server.connect(scene.database) as keeper:
        keeper.execute("SELECT pg_advisory_lock(42)")
        yield


@pytest.mark.parametrize("held", ["T", "D", "C", "Z"])
def test_ddl_against_a_fill(scene: Scene, held: str) -> None:
    """An answer is on its way when the schema changes: it must not be stored (F5, F12)."""
    sql = "SELECT * FROM public.probe WHERE id = 1"
    with scene.session("filler") as filler, scene.session("ddl") as ddl:
        rule = scene.box.hold(TO_CLIENT, held, application_name="filler")
        filler.send(query(sql))
        rule.wait()
        change = "ALTER TABLE public.probe ALTER v TYPE text USING 'v' || v"
        assert not errors(ddl.query(change))
        eventually(lambda: scene.howdah.count("fences_up") == 0)
        rule.release()
        assert rows(filler.until()) == [["1", "0"]]
        for _ in range(3):
            assert scene.reader.rows(sql) == [["1", "v0"]]
            assert filler.rows(sql) == [["1", "v0"]]
        scene.howdah.until_hit(scene.reader, sql)
        assert scene.reader.rows(sql) == [["1", "v0"]]


def test_trigger_made_while_a_write_waits_for_its_lock(scene: Scene) -> None:
    """F12: when it was sent it changed one table; when it runs, it changes two."""
    with scene.session("ddl") as ddl, scene.session("writer") as writer:
        ddl.query(TABLES)
        ddl.query(function(WAITS + COPYING))
        scene.settles("0", COPIES)
        ddl.query("BEGIN")
        ddl.query(f"CREATE TRIGGER copy {TRIGGER}")
        writer.send(query("UPDATE source SET n = 1"))
        scene.waits(writer.pid, "relation")
        with advisory_lock(scene):
            assert not errors(ddl.query("COMMIT"))
            scene.waits(writer.pid, "advisory")
            # The fence of the DDL is down again, that of the write stands.
            eventually(lambda: scene.howdah.count("fences_up") == 1)
            scene.forwarded("0", COPIES)
            rule = scene.box.hold(TO_CLIENT, "Z", application_name="writer")
        rule.wait()
        scene.forwarded("1", COPIES)
        rule.release()
        assert not errors(writer.until())
        scene.settles("1", COPIES)


def test_trigger_function_replaced_before_it_fires_deferred(scene: Scene) -> None:
    """F12: at the UPDATE the function did nothing, at the COMMIT it writes another table."""
    with scene.session("ddl") as ddl, scene.session("writer") as writer:
        ddl.query(TABLES)
        ddl.query(function(""))
        deferred = TRIGGER.replace("FOR EACH", "DEFERRABLE INITIALLY DEFERRED FOR EACH")
        ddl.query(f"CREATE CONSTRAINT TRIGGER copy {deferred}")
        scene.settles("0", COPIES)
        writer.query("BEGIN")
        writer.query("UPDATE source SET n = 2")
        assert not errors(ddl.query(function(COPYING)))
        scene.settles("0", COPIES)
        rule = scene.box.hold(TO_CLIENT, "Z", application_name="writer")
        writer.send(query("COMMIT"))
        rule.wait()
        scene.forwarded("2", COPIES)
        rule.release()
        assert not errors(writer.until())
        scene.settles("2", COPIES)


def test_fence_of_ddl_waits_for_the_new_catalog(scene: Scene) -> None:
    """F12: until Howdah has read what the trigger does, nothing is answered from memory."""
    with scene.session("ddl") as ddl, scene.session("writer") as writer:
        ddl.query(TABLES)
        ddl.query(function(COPYING))
        scene.settles("0", COPIES)
        rule = scene.box.hold(TO_SERVER, "", user="howdah", database=scene.database)
        assert not errors(ddl.query(f"CREATE TRIGGER copy {TRIGGER}"))
        rule.wait()
        scene.forwarded("0", COPIES)
        assert not errors(writer.query("UPDATE source SET n = 3"))
        scene.forwarded("3", COPIES)
        rule.release()
        scene.settles("3", COPIES)


def test_write_sent_under_the_fence_of_ddl(scene: Scene) -> None:
    """F12: it may be the first that fires the trigger; it counts as writing everything."""
    with scene.session("ddl") as ddl, scene.session("writer") as writer:
        ddl.query(TABLES)
        ddl.query(function(WAITS + COPYING))
        scene.settles("0", COPIES)
        with advisory_lock(scene):
            rule = scene.box.hold(TO_SERVER, "", user="howdah", database=scene.database)
            assert not errors(ddl.query(f"CREATE TRIGGER copy {TRIGGER}"))
            rule.wait()
            writer.send(query("UPDATE source SET n = 4"))
            scene.waits(writer.pid, "advisory")
            rule.release()
            eventually(lambda: scene.howdah.count("fences_up") == 1)
            scene.forwarded("0", COPIES)
        assert not errors(writer.until())
        scene.settles("4", COPIES)


def test_detach_concurrently_cancelled_in_its_second_phase(scene: Scene) -> None:
    """F3: its first phase is committed; the ERROR of the second undoes nothing of it."""
    count = "SELECT count(*) FROM parts"
    with scene.session("ddl") as ddl:
        ddl.query("CREATE TABLE parts (n int) PARTITION BY LIST (n)")
        for number in (1, 2):
            ddl.query(f"CREATE TABLE part{number} PARTITION OF parts FOR VALUES IN ({number})")
        ddl.query("INSERT INTO parts VALUES (1), (2)")
        scene.settles("2", count)
        with connect((scene.server.host, scene.server.port), scene.database) as old:
            old.query("BEGIN")
            old.query(count)  # a lock that the second phase waits for
            ddl.send(query("ALTER TABLE parts DETACH PARTITION part2 CONCURRENTLY"))
            wait_until_running(scene.server, "DETACH PARTITION part2")
            eventually(lambda: scene.truth(count) == "1")
            scene.forwarded("1", count)
            with connect((scene.server.host, scene.server.port), scene.database) as admin:
                admin.query(f"SELECT pg_cancel_backend({ddl.pid})")
            assert errors(ddl.until()) == ["57014"]
            for _ in range(3):
                assert scene.value(count) == "1"
        assert not errors(ddl.query("ALTER TABLE parts DETACH PARTITION part2 FINALIZE"))
        for _ in range(3):
            assert scene.value(count) == "1"
