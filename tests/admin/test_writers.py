"""Others that write past Howdah are named; its own clients never are, however they come and go."""

from __future__ import annotations

import json
import threading

import psycopg
import pytest

from tests import fix_wire
from tests.fix_howdah import wait_until_running
from tests.fix_tools import eventually

# Looks follow max_age: three in a second.
QUICK = ("--max-age", "1s")


def warnings(howdah, database):
    """The warnings about `database`; Howdahs of other tests may be there, too."""
    told = json.loads(howdah.get("/readyz")[1])["warnings"]
    return [warning for warning in told if f"database {database}" in warning]


def test_a_direct_connection_is_named_until_it_is_gone(start_howdah, each_postgres):
    server = each_postgres
    database = server.create_database()
    howdah = start_howdah(*QUICK, server=server)
    with howdah.wire(database) as wire:
        wire.query("SELECT 1")
        with psycopg.connect(server.dsn(database, "alice", application_name="nightly")):
            (told,) = eventually(lambda: warnings(howdah, database))
            assert told == (
                f"a connection of role alice to database {database} (application nightly) may "
                "write past Howdah: answers may be up to 1 s behind (max_age)"
            )
            with psycopg.connect(server.dsn(database, "alice", application_name="nightly")):
                eventually(lambda: "2 connections of role alice" in warnings(howdah, database)[0])
        eventually(lambda: not warnings(howdah, database))
    lines = [line for line in howdah.log_lines() if "application nightly" in line]
    assert len(lines) == 1
    assert " WARNING other writers: " in lines[0]


def test_a_subscription_is_named(start_howdah, postgres, database):
    howdah = start_howdah(*QUICK)
    postgres.run(
        database,
        "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p"
        " WITH (connect = false, slot_name = 'none_such')",
    )
    try:
        with howdah.wire(database) as wire:
            wire.query("SELECT 1")
            postgres.run(database, "ALTER SUBSCRIPTION feed ENABLE")
            (told,) = eventually(lambda: warnings(howdah, database))
            assert told.startswith(f"the subscription feed into database {database} may write")
            postgres.run(database, "ALTER SUBSCRIPTION feed DISABLE")
            eventually(lambda: not warnings(howdah, database))
    finally:
        postgres.run(
            database,
            "ALTER SUBSCRIPTION feed DISABLE",
            "ALTER SUBSCRIPTION feed SET (slot_name = NONE)",
            "DROP SUBSCRIPTION feed",
        )


def test_a_second_howdah_and_its_clients_are_named(start_howdah, postgres, database):
    first, second = start_howdah(*QUICK), start_howdah(*QUICK)
    with first.wire(database) as one, second.wire(database, "bob") as two:
        one.query("SELECT 1")
        two.query("SELECT 1")
        told = eventually(lambda: warnings(first, database))
        assert told[0].startswith(f"a connection of role bob to database {database}")
        eventually(lambda: "another Howdah (role howdah)" in first.get("/readyz")[1])
        told = eventually(lambda: warnings(second, database))
        assert told[0].startswith(f"a connection of role postgres to database {database}")


@pytest.mark.parametrize("role", ["howdah", "alice"])
def test_own_clients_are_never_strangers(start_howdah, middlebox, postgres, database, role):
    """Sessions that come and go, run parallel queries, and leave their backends at work."""
    box = middlebox((postgres.host, postgres.port))
    upstream = f"postgresql://{role}@127.0.0.1:{box.port}/postgres"
    howdah = start_howdah(*QUICK, upstream=upstream)
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            with howdah.wire(database, "bob") as wire:
                wire.query("SELECT v FROM probe WHERE id = 1")

    threads = [threading.Thread(target=churn) for _ in range(2)]
    steady = howdah.wire(database, "bob", application_name="steady")
    leader = howdah.wire(database, "bob")
    abandoned = howdah.wire(database, "bob", application_name="abandoned")
    try:
        for thread in threads:
            thread.start()
        steady.query("SELECT 1")
        leader.query("SET max_parallel_workers_per_gather = 2")
        leader.query("SET debug_parallel_query = on")
        leader.send(fix_wire.query("SELECT count(pg_sleep(0.2)) FROM probe"))
        # The network cuts it off; its backend does not know yet.
        abandoned.send(fix_wire.query("SELECT pg_sleep(2)"))
        wait_until_running(postgres, "pg_sleep(2)")
        box.link(application_name="abandoned").reset()
        assert abandoned.closed()
        told = []
        with postgres.connect("postgres") as admin:

            def over() -> bool:
                told.extend(warnings(howdah, database))
                row = admin.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(2)'"
                    " AND datname = %s AND state = 'active'",
                    [database],
                ).fetchone()
                return row == (0,)

            eventually(over)
        assert told == []
        assert f"database {database}" not in howdah.log
        leader.until()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for wire in (steady, leader, abandoned):
            wire.close()
