"""The administration console by psql and by drivers, authenticated by PostgreSQL itself."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from proxy.admin.commands import COMMANDS
from proxy.admin.views import VIEWS
from tests.fix_howdah import Howdah, check, upstream_url
from tests.fix_pg import AUTHENTICATED, PASSWORD, PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    SYNC,
    Wire,
    WireError,
    bind,
    cancel_request,
    describe,
    execute,
    kinds,
    parse,
    query,
    rows,
    startup,
    tags,
)

ROLES = "postgres,user_password,user_md5,user_scram,user_tls"
READ = "SELECT v FROM public.probe WHERE id = 1"


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer) -> Iterator[Howdah]:
    """A Howdah whose console may be used."""
    howdah = Howdah(upstream_url(postgres), "--admin-roles", ROLES).start()
    yield howdah
    howdah.destroy()


@pytest.fixture
def desk(shared: Howdah) -> Iterator[Howdah]:
    start = len(shared.log)
    yield shared
    check(shared, start)
    assert shared.alive


def psql(server: PostgresServer, howdah: Howdah, script: str) -> str:
    done = subprocess.run(
        [server.tool("psql"), "-X", "-P", "pager=off", "-d", howdah.dsn("howdah")],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    return done.stdout + done.stderr


def console(howdah: Howdah, user: str = "postgres", **more: Any) -> psycopg.Connection[Any]:
    more.setdefault("autocommit", True)
    return psycopg.connect(howdah.dsn("howdah", user), **more)


def tag(connection: psycopg.Connection[Any], command: str) -> str:
    """The command tag of a command."""
    return connection.execute(command).statusmessage or ""


def error(connection: psycopg.Connection[Any], command: str) -> psycopg.errors.Error:
    """The error of a command."""
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(command)
    return caught.value


# --- the way in -------------------------------------------------------------------


@pytest.mark.parametrize("role", AUTHENTICATED)
def test_postgresql_authenticates_by_its_own_methods(desk, role):
    with console(desk, role, password=PASSWORD) as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        assert row == (role, "howdah")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        console(desk, role, password="wrong")


def test_a_role_that_is_not_named_is_turned_away_after_its_login(desk, postgres):
    with pytest.raises(psycopg.OperationalError) as caught:
        console(desk, "alice")
    assert 'role "alice" may not use the administration console' in str(caught.value)
    assert "admin_roles" in str(caught.value)
    with Wire(desk.address) as wire:
        wire.send(startup(user="alice", database="howdah"))
        last = wire.until("E")[-1]
    assert (last.fields["S"], last.fields["C"]) == ("FATAL", "42501")
    with pytest.raises(psycopg.OperationalError, match='role "nobody_of_this_name" does not'):
        console(desk, "nobody_of_this_name")


def test_a_role_that_would_be_another_one_stays_what_it_is(desk, postgres):
    tricks = ("session_authorization = 'postgres'", "role = 'carol'")
    try:
        for trick in tricks:
            postgres.run("postgres", f"ALTER ROLE bob SET {trick}", user="bob")
            with pytest.raises(psycopg.OperationalError, match='role "bob" may not use'):
                console(desk, "bob")
        with pytest.raises(psycopg.OperationalError, match='role "bob" may not use'):
            console(desk, "bob", options="-c session_authorization=postgres")
    finally:
        postgres.run("postgres", "ALTER ROLE bob RESET ALL")
    assert "role 'bob' is not one of admin_roles" in desk.log


def test_nobody_comes_in_where_no_role_is_named(start_howdah):
    howdah = start_howdah()
    with pytest.raises(psycopg.OperationalError, match="may not use the administration console"):
        console(howdah)


def test_no_connection_to_postgresql_is_left_behind_a_login(desk, postgres):
    with console(desk):
        eventually(lambda: desk.count("upstreams") == 0)
        with postgres.connect("postgres") as admin:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'howdah console'"
            eventually(lambda: admin.execute(sql).fetchone() == (0,))
        assert desk.count("clients") == 1
    eventually(lambda: desk.count("clients") == 0)


def test_a_database_of_that_name_is_hidden_and_the_log_says_so(postgres, start_howdah):
    postgres.run("postgres", "CREATE DATABASE howdah")
    try:
        howdah = start_howdah("--admin-roles", "postgres")
        eventually(lambda: "has a database 'howdah', which the administration" in howdah.log)
        with console(howdah) as connection:
            assert error(connection, "SELECT 1 FROM probe").sqlstate == "0A000"
        other = start_howdah("--admin-roles", "postgres", "--console-database", "desk")
        with other.wire("howdah") as wire:
            assert rows(wire.query("SELECT current_database()")) == [["howdah"]]
        with psycopg.connect(other.dsn("desk"), autocommit=True) as connection:
            assert tag(connection, "SHOW VERSION") == "SELECT 1"
        off = start_howdah("--console-database", "none")
        with off.wire("howdah") as wire:
            assert rows(wire.query("SELECT current_database()")) == [["howdah"]]
    finally:
        with postgres.connect("postgres") as admin:
            admin.execute("DROP DATABASE howdah WITH (FORCE)")


def test_replication_is_refused(desk):
    with Wire(desk.address) as wire:
        wire.send(startup(user="postgres", database="howdah", replication="database"))
        assert "nothing to replicate" in wire.until("E")[-1].fields["M"]


def test_both_servers_by_psql_and_with_tls(each_postgres, certificates):
    flags = ["--admin-roles", ROLES]
    flags += ["--tls-certificate", f"{certificates}/proxy.crt"]
    flags += ["--tls-key", f"{certificates}/proxy.key"]
    mode = "require" if each_postgres.tls else "disable"
    url = f"{upstream_url(each_postgres)}?sslmode={mode}"
    howdah = Howdah(url, *flags).start()
    try:
        out = psql(each_postgres, howdah, "SHOW VERSION\\gx\nSHOW CACHE;\n")
        assert "contract" in out
        assert "proxied" in out
        dsn = howdah.dsn("howdah", "user_scram").replace("sslmode=disable", "sslmode=require")
        with psycopg.connect(
            dsn, password=PASSWORD, channel_binding="disable", autocommit=True
        ) as connection:
            version = connection.execute("SHOW server_version").fetchone()
            assert version is not None
            assert version[0].startswith(str(each_postgres.major))
        check(howdah)
    finally:
        howdah.destroy()


# --- psql -------------------------------------------------------------------------


def test_help_names_every_command_and_every_view(desk, postgres):
    out = psql(postgres, desk, "SHOW HELP;\n")
    for command in COMMANDS:
        assert command.syntax in out
    for view in VIEWS:
        assert f"SHOW {view.upper()}" in out
    assert out == psql(postgres, desk, "help;\n")
    columns = psql(postgres, desk, "\\t on\n\\a\nSHOW HELP queries;\n").splitlines()
    assert [line.split("|")[0] for line in columns if "|" in line] == [
        column.name for column in VIEWS["queries"].columns
    ]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_shown(desk, view):
    with console(desk) as connection:
        cursor = connection.execute(f"show {view}")
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        assert names == [column.name for column in VIEWS[view].columns]
        assert cursor.statusmessage == f"SELECT {cursor.rowcount}"
        again = connection.execute(f"SELECT * FROM {view} LIMIT 1").fetchall()
        assert len(again) == min(1, cursor.rowcount)


def test_what_psql_asks_by_itself_ends_in_one_clear_error(desk, postgres):
    out = psql(postgres, desk, "\\d\n\\dt x*\n\\l\n\\echo still here\n")
    assert out.count("the administration console answers its own commands, not SQL") == 3
    assert "still here" in out


def test_rows_are_chosen(desk, postgres):
    database = postgres.create_database()
    desk.warm(database)
    out = psql(
        postgres,
        desk,
        f"SHOW DATABASES (name) WHERE name = '{database}';\n"
        "SELECT name FROM databases WHERE name LIKE 't\\_%' ORDER BY name DESC LIMIT 1;\n"
        "SHOW QUERIES WHERE nonsense = 1;\nSHOW QUERIES WHERE;\n",
    )
    assert out.count(f" {database}\n") == 2
    assert 'column "nonsense" does not exist' in out
    assert "syntax error" in out


@pytest.mark.parametrize(
    ("command", "sqlstate", "words"),
    [
        ("SHOW quries", "42704", "did you mean 'queries'?"),
        ("FLASH", "42601", "did you mean 'flush'?"),
        ("SHOW", "42601", "SHOW HELP"),
        ("PAUSE now", "42601", "Write PAUSE."),
        ("FLUSH probe", "42601", "TABLE name"),
        ("FLUSH TABLE", "42601", "TABLE name"),
        ("FLUSH TABLE a b", "42601", "TABLE name"),
        ("FLUSH TABLE none_of_this_name", "42P01", "SHOW TABLES"),
        ("FLUSH TABLE probe IN DATABASE nowhere", "3D000", "SHOW DATABASES"),
        ("FLUSH DATABASE nowhere", "3D000", "SHOW DATABASES"),
        ("RESET STATISTICS", "42601", "RESET STATS"),
        ("SET max_age = '5s'", "55P02", "SHOW CONFIG"),
        ("RESET cache_size", "55P02", "SHOW CONFIG"),
        ("SET client_encoding = latin1", "22023", "UTF8"),
        ("SET ROLE alice", "0A000", "login"),
        ("INSERT INTO probe VALUES (1)", "0A000", "SHOW HELP"),
        ("SELECT 1 + 1", "0A000", "SHOW HELP"),
        ("SELECT * FROM pg_class", "0A000", "SHOW HELP"),
        ("EXPLAIN SELECT 1", "0A000", "EXPLAIN CACHE"),
        ("EXPLAIN CACHE", "42601", ""),
        ("SHOW CACHE WHERE entries = 'x", "42601", "unterminated"),
        ("SHOW HELP nothing", "42P01", "SHOW HELP"),
        ("SHOW CACHE WHERE entries = $1", "42P02", "no parameter"),
    ],
)
def test_a_mistake_gets_one_error_that_says_what_to_do(desk, command, sqlstate, words):
    with desk.wire("howdah") as wire:
        frames = wire.ask(query(command))
        assert kinds(frames) == "EZ"
        fields = frames[0].fields
        assert (fields["S"], fields["C"]) == ("ERROR", sqlstate)
        assert words in fields["M"] + fields.get("H", "")
        assert kinds(wire.ask(query("SHOW VERSION"))) == "TDCZ"


# --- drivers ----------------------------------------------------------------------


def test_asyncpg_with_parameters_and_binary_results(desk, postgres):
    database = postgres.create_database()
    desk.warm(database)

    async def play() -> None:
        pool = await asyncpg.create_pool(desk.dsn("howdah"), min_size=1, max_size=1)
        try:
            for _ in range(2):
                async with pool.acquire() as connection:
                    found = await connection.fetch(
                        "SHOW QUERIES (database, calls, hit_mean_seconds, quarantined) "
                        "WHERE calls >= $1 AND database = $2 LIMIT $3",
                        1,
                        database,
                        10,
                    )
                    assert [row["database"] for row in found] == [database] * len(found)
                    assert found
                    assert type(found[0]["calls"]) is int
                    assert found[0]["quarantined"] is False
                    async with connection.transaction():
                        assert await connection.fetchval("SELECT 1") == 1
                        cursor = await connection.cursor("SHOW REASONS (reason)")
                        first = await cursor.fetch(2)
                        assert len(first) == 2
                        assert await cursor.fetch(1000) != first
                    assert await connection.execute("FLUSH") in ("FLUSH 0", "FLUSH 1", "FLUSH 2")
                    with pytest.raises(asyncpg.UndefinedObjectError):
                        await connection.fetch("SHOW nothing_of_this_name")
        finally:
            await pool.close()

    asyncio.run(play())


def test_psycopg_with_transactions_and_prepared_statements(desk):
    with console(desk, autocommit=False, prepare_threshold=0) as connection:
        assert connection.info.transaction_status.name == "IDLE"
        cursor = connection.cursor(binary=True)
        for least in (0, 1):
            cursor.execute("SHOW CACHE (capacity, hits) WHERE entries >= %s", [least - 1])
            row = cursor.fetchone()
            assert row is not None
            assert row[0] == 256 * 2**20
        assert connection.info.transaction_status.name == "INTRANS"
        with pytest.raises(psycopg.errors.UndefinedObject), connection.transaction():
            connection.execute("SHOW nothing_of_this_name")
        connection.execute("SHOW VERSION")
        error(connection, "SHOW nothing_of_this_name")
        assert error(connection, "SHOW VERSION").sqlstate == "25P02"
        assert connection.info.transaction_status.name == "INERROR"
        connection.rollback()
        with connection.pipeline():
            first = connection.execute("SHOW VERSION")
            second = connection.execute("SHOW server_version")
            assert first.fetchone() is not None
            assert second.fetchone() is not None
        connection.commit()


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("SET application_name = 'x y'; SHOW application_name", ["SET", "SHOW"]),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", ["SET"]),
        (
            "SET extra_float_digits TO 3; RESET extra_float_digits; RESET ALL",
            ["SET", *["RESET"] * 2],
        ),
        ("SET my.own = 1, 2; SHOW my.own", ["SET", "SHOW"]),
        ("START TRANSACTION READ ONLY; SHOW TRANSACTION ISOLATION LEVEL; END", None),
        ("BEGIN; SAVEPOINT a; RELEASE a; ROLLBACK TO SAVEPOINT a; ABORT", None),
        ("DISCARD ALL; DEALLOCATE ALL; CLOSE ALL; UNLISTEN *", None),
        ("SELECT pg_catalog.pg_advisory_unlock_all()", ["SELECT 1"]),
        ("select current_setting('server_version'), pg_is_in_recovery() as r, now(), true", None),
        ("SELECT set_config('bytea_output', 'hex', false) x", ["SELECT 1"]),
    ],
)
def test_what_drivers_say_at_the_start_and_the_end_is_accepted(desk, text, answers):
    with desk.wire("howdah") as wire:
        frames = wire.query(text)
        assert "E" not in kinds(frames)
        assert answers is None or tags(frames) == answers
        assert frames[-1].payload == b"I"


def test_a_setting_is_remembered(desk):
    with desk.wire("howdah") as wire:
        assert rows(wire.query("SET DateStyle TO iso, dmy; SHOW datestyle")) == [["iso, dmy"]]
        assert rows(wire.query("RESET datestyle; SHOW datestyle")) == [["ISO, MDY"]]
        frames = wire.query("SELECT 1, 'a' AS b, version(), current_user, false, null")
        assert rows(frames)[0][:2] == ["1", "a"]
        assert rows(frames)[0][3:] == ["postgres", "f", None]


def test_several_statements_in_one_text(desk):
    with desk.wire("howdah") as wire:
        assert kinds(wire.ask(query("BEGIN; SELECT 1 AS a, 'x''y', NULL; COMMIT; -- end"))) == (
            "CTDCCZ"
        )
        assert kinds(wire.ask(query(" ; /* nothing */ "))) == "IZ"
        frames = wire.ask(query("SHOW VERSION; SHOW oops; SHOW VERSION"))
        assert kinds(frames) == "TDCEZ"
        assert kinds(wire.ask(query("BEGIN; SHOW oops"))) == "CEZ"
        frames = wire.ask(query("COMMIT"))
        assert [frame.payload for frame in frames] == [b"ROLLBACK\0", b"I"]


def test_portals_are_fetched_in_portions(desk):
    with desk.wire("howdah") as wire:
        batch = parse("SHOW REASONS (reason)") + bind(results=[1]) + describe() + execute(limit=2)
        frames = wire.ask(batch + execute(limit=3) + execute() + SYNC)
        assert kinds(frames)[:11] == "12TDDsDDDsD"
        assert kinds(frames)[-2:] == "CZ"
        frames = wire.ask(parse("SHOW oops") + bind() + execute() + SYNC)
        assert kinds(frames) == "EZ"
        frames = wire.ask(parse("") + bind() + describe() + execute() + SYNC)
        assert kinds(frames) == "12nIZ"
        frames = wire.ask(parse("SHOW VERSION", "a") + describe("S", "a") + SYNC)
        assert kinds(frames) == "1tTZ"
        assert wire.ask(parse("SHOW VERSION", "a") + SYNC)[0].fields["C"] == "42P05"
        assert kinds(wire.ask(query("DEALLOCATE a"))) == "CZ"
        assert wire.ask(bind(statement="a") + SYNC)[0].fields["C"] == "26000"
        assert wire.ask(execute("b") + SYNC)[0].fields["C"] == "34000"
        frames = wire.ask(parse("SHOW CACHE LIMIT $1") + bind() + SYNC)
        assert frames[1].fields["C"] == "08P01"


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_stream_in_small_pieces_gets_the_same_answers(desk, size):
    with desk.wire("howdah") as wire:
        stream = query("SELECT 1; SHOW x") + parse("SHOW server_encoding") + bind() + execute()
        stream += SYNC
        whole = wire.ask(stream) + wire.until()
        for at in range(0, len(stream), size):
            wire.send(stream[at : at + size])
        assert wire.until() + wire.until() == whole
        assert kinds(whole) == "TDCEZ12DCZ"


@pytest.mark.parametrize(
    "garbage", [b"\x00\x01\x02\x03\x04\x05", b"Q\x7f\xff\xff\xff", b"Q\0\x10\0\x05"]
)
def test_garbage_ends_with_one_fatal_error(desk, garbage):
    with desk.wire("howdah") as wire:
        wire.send(garbage)
        last = wire.until("E")[-1]
        assert (last.fields["S"], last.fields["C"][:2]) in (("FATAL", "08"), ("FATAL", "54"))
        assert wire.closed()


@pytest.mark.parametrize(
    "broken",
    [
        b"P\0\0\0\x08abcd",
        b"B\0\0\0\x05\0",
        b"P\0\0\0\x06\0\0",
        b"Q\0\0\0\x08abcd",
        b"Q\0\0\0\x07\xff\xfe\0",
    ],
)
def test_a_message_of_a_wrong_form_is_an_error(desk, broken):
    with desk.wire("howdah") as wire:
        end = b"" if broken.startswith(b"Q") else SYNC
        frames = wire.ask(broken + end)
        assert kinds(frames) == "EZ"
        assert frames[0].fields["C"] in ("08P01", "22021")
        assert kinds(wire.ask(query("SHOW VERSION"))) == "TDCZ"


def test_a_cancel_request_is_harmless(desk):
    with desk.wire("howdah") as wire:
        with Wire(desk.address) as other:
            other.send(cancel_request(wire.key_data))
            assert other.closed()
        assert kinds(wire.ask(query("SHOW VERSION"))) == "TDCZ"


# --- commands that do something ---------------------------------------------------


def test_flush_forgets_what_it_names(desk, postgres):
    one, two = (
        postgres.create_database(),
        postgres.create_database(
            "CREATE TABLE other (id int)",
            "CREATE VIEW seen AS SELECT v FROM probe",
            "CREATE TABLE parts (id int) PARTITION BY LIST (id)",
            "CREATE TABLE part_1 PARTITION OF parts FOR VALUES IN (1)",
        ),
    )
    desk.warm(one)
    desk.warm(two)
    with desk.wire(one) as first, desk.wire(two) as second, console(desk) as connection:
        probe, other, parts = READ, "SELECT count(*) FROM other", "SELECT count(*) FROM parts"
        everything = [(first, probe), (second, probe), (second, other), (second, parts)]

        def hits() -> list[bool]:
            return [desk.is_hit(wire, sql) for wire, sql in everything]

        def warm() -> None:
            for wire, sql in everything:
                desk.until_hit(wire, sql)

        connection.execute("FLUSH")
        warm()
        assert tag(connection, f"FLUSH TABLE probe IN DATABASE {two}") == "FLUSH 1"
        assert hits() == [True, False, True, True]
        warm()
        assert tag(connection, 'FLUSH TABLE public.probe, "other"') == "FLUSH 3"
        assert hits() == [False, False, False, True]
        warm()
        assert tag(connection, "FLUSH TABLE seen") == "FLUSH 1"
        assert hits() == [True, False, True, True]
        warm()
        assert tag(connection, "FLUSH TABLE part_1") == "FLUSH 1"
        assert hits() == [True, True, True, False]
        warm()
        assert tag(connection, f"FLUSH DATABASE {one}") == "FLUSH 1"
        assert hits() == [False, True, True, True]
        warm()
        assert tag(connection, "FLUSH ALL") == "FLUSH 4"
        assert hits() == [False] * 4
        causes = dict(connection.execute("SELECT cause, entries FROM evictions").fetchall())
        assert causes["flush"] >= 11
    assert "role 'postgres': FLUSH TABLE part_1" in desk.log


def test_an_answer_on_its_way_is_not_stored_behind_a_flush(desk, postgres):
    database = postgres.create_database()
    desk.warm(database)
    sql = "SELECT count(*) FROM probe"
    with (
        desk.wire(database) as wire,
        console(desk) as connection,
        postgres.connect(database) as blocker,
    ):
        blocker.autocommit = False
        blocker.execute("LOCK TABLE probe IN ACCESS EXCLUSIVE MODE")
        wire.send(query(sql))
        with postgres.connect("postgres") as admin:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            eventually(lambda: admin.execute(waiting).fetchone() == (1,))
        connection.execute("FLUSH TABLE probe")
        blocker.rollback()
        wire.until()
        assert not desk.is_hit(wire, sql)
        assert desk.is_hit(wire, sql)


def test_a_pause_stops_caching_and_what_was_stored_is_good_behind_it(desk, postgres):
    database = postgres.create_database("CREATE TABLE other AS SELECT 1 AS v")
    other = "SELECT v FROM other"
    desk.warm(database)
    with desk.wire(database) as wire, console(desk) as connection:
        desk.until_hit(wire, READ)
        desk.until_hit(wire, other)
        assert tag(connection, "PAUSE") == "PAUSE"
        with desk.watching() as gained:
            wire.query(READ)
            wire.query(READ)
            wire.query("SELECT v FROM probe WHERE id = 2")
        assert gained == {"hits": 0, "evictions": 0, "bypass/paused": 3}
        assert '"cache":"off: paused' in desk.get("/readyz")[1].replace('": "', '":"')
        assert desk.get("/readyz")[0] == 200
        assert connection.execute("SHOW FENCES (cause)").fetchall() == [("paused",)]
        notices: list[str] = []
        connection.add_notice_handler(lambda found: notices.append(found.message_primary or ""))
        connection.execute("PAUSE")
        wire.query("UPDATE other SET v = 2")
        assert tag(connection, "RESUME") == "RESUME"
        connection.execute("RESUME")
        assert notices == ["caching is paused already", "caching is not paused"]
        assert desk.is_hit(wire, READ)
        assert not desk.is_hit(wire, "SELECT v FROM probe WHERE id = 2")
        assert rows(wire.query(other)) == [["2"]]


def test_reload_brings_new_rules_and_keeps_the_old_ones_where_the_file_is_bad(
    postgres, start_howdah, tmp_path: Path
):
    database = postgres.create_database()
    path = tmp_path / "howdah.yaml"

    def write(text: str) -> None:
        """At once: a file that is followed is never seen half written."""
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)

    write("admin_roles: postgres\nrules: []\n")
    howdah = start_howdah("--config", str(path))
    howdah.warm(database)
    with howdah.wire(database) as wire, console(howdah) as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda found: notices.append(found.message_primary or ""))
        assert tag(connection, "RELOAD") == "RELOAD"
        write("admin_roles: postgres\nrules:\n  - relations: public.probe\n    cache: off\n")
        connection.execute("RELOAD")
        assert notices[0] == "configuration reloaded: the rules are as before"
        with howdah.watching() as gained:
            wire.query(READ)
        assert gained.get("bypass/rule_off") == 1
        write("rules:\n  - relatons: public.probe\n")
        found = error(connection, "RELOAD")
        assert found.sqlstate == "F0000"
        assert f"{path}:2" in str(found)
        assert "did you mean" in str(found)
        with howdah.watching() as gained:
            wire.query(READ)
        assert gained.get("bypass/rule_off") == 1
        # What is said while it reads is answered in its turn.
        with howdah.wire("howdah") as other:
            frames = other.ask(query("RELOAD; SHOW VERSION"), query("SELECT 1")) + other.until()
            assert kinds(frames) == "EZTDCZ"
            write("admin_roles: postgres\n")
            frames = other.ask(query("RELOAD; SHOW VERSION"), query("SELECT 1")) + other.until()
            assert kinds(frames) == "NCTDCZTDCZ"


def test_statistics_are_reset(desk, postgres):
    database = postgres.create_database()
    desk.warm(database)
    with desk.wire(database) as wire, console(desk) as connection:
        desk.until_hit(wire, READ)
        sql = f"SHOW QUERIES (calls) WHERE database = '{database}' AND calls > 0"
        assert connection.execute(sql).fetchall()
        assert tag(connection, "RESET STATS QUERIES") == "RESET"
        assert connection.execute(sql).fetchall() == []
        assert desk.hits() > 0
        assert tag(connection, "RESET STATS") == "RESET"
        assert desk.hits() == 0
        assert desk.is_hit(wire, READ)
        assert connection.execute(sql).fetchall() == [(1,)]
        assert re.fullmatch(r"RESET \d+", tag(connection, "RESET QUARANTINE"))


def test_a_statement_is_explained_for_a_database_and_a_role(desk, postgres):
    database = postgres.create_database()
    desk.warm(database)
    with console(desk) as connection:
        about = f"EXPLAIN CACHE (DATABASE {database}, ROLE postgres{{}}) {READ}"
        report = dict(connection.execute(about.format("")).fetchall())
        assert "public.probe" in report["reads"]
        cursor = connection.execute(about.format(", FORMAT json"))
        row = cursor.fetchone()
        assert row is not None
        assert json.loads(row[0])["statement"]["text"]
        bad = error(connection, f"EXPLAIN CACHE (DATABASE nowhere) {READ}")
        assert bad.sqlstate == "3D000"


def test_shutdown_drains_and_ends(postgres, start_howdah):
    howdah = start_howdah("--admin-roles", "postgres")
    database = postgres.create_database()
    with howdah.wire(database) as wire:
        wire.query("BEGIN")
        wire.query("UPDATE probe SET v = 5 WHERE id = 1")
        with console(howdah) as connection:
            assert tag(connection, "SHUTDOWN") == "SHUTDOWN"
        eventually(lambda: "draining" in howdah.log)
        wire.query("COMMIT")
    assert howdah.wait() == 0
    assert postgres.run(database, READ) == [(5,)]


def test_the_console_is_refused_when_postgresql_is_away(start_howdah):
    howdah = start_howdah("--admin-roles", "postgres", upstream="postgresql://howdah@127.0.0.1:1/x")
    with pytest.raises(psycopg.OperationalError, match="cannot connect to PostgreSQL"):
        console(howdah)
    with pytest.raises(WireError):
        howdah.wire("howdah")
