"""EXPLAIN CACHE in client sessions, over HTTP and on the command line, against PostgreSQL.

Whatever it says is then tried: what it calls a hit has to be one, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from tests import fix_wire as wire
from tests.admin.test_transcript import files, fits, steps
from tests.fix_howdah import ROOT, Howdah, Starter
from tests.fix_pg import PostgresServer
from tests.fix_wire import Wire

SCHEMA = """
CREATE TABLE author (id int PRIMARY KEY, name text);
CREATE TABLE book (
    id int PRIMARY KEY,
    author_id int CONSTRAINT wrote REFERENCES author ON DELETE CASCADE,
    title text
);
CREATE TABLE log (entry text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO log VALUES (tg_op); RETURN NULL; END';
CREATE TRIGGER noted AFTER DELETE ON book FOR EACH ROW EXECUTE FUNCTION note();
CREATE VIEW shelf AS SELECT b.id, b.title, a.name FROM book b JOIN author a ON a.id = b.author_id;
CREATE FUNCTION dice() RETURNS float8 LANGUAGE sql AS 'SELECT random()';
CREATE VIEW odd AS SELECT title, dice() FROM shelf;
CREATE FUNCTION run(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE $1; END';
CREATE TABLE secret (id int, tenant text);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (tenant = current_setting('app.tenant', true));
INSERT INTO author VALUES (1, 'Rushdie');
INSERT INTO book VALUES (1, 1, 'Shame');
GRANT SELECT ON ALL TABLES IN SCHEMA public TO alice, bob;
"""
SHELF = "SELECT title FROM shelf"
RANDOM = "function random <- function public.dice <- view public.odd"


@pytest.fixture
def place(each_postgres: PostgresServer, each_howdah: Howdah) -> tuple[Howdah, str]:
    """The shared Howdah, and a database that is being cached."""
    database = each_postgres.create_database(SCHEMA)
    each_howdah.warm(database)
    return each_howdah, database


def told(link: Wire, sql: str) -> dict[str, list[str]]:
    """Item -> values, by the simple protocol."""
    return items(wire.rows(link.query(f"EXPLAIN CACHE {sql}")))


def items(rows: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for item, value in rows:
        found.setdefault(item, []).append(value)
    return found


def decision(found: dict[str, list[str]]) -> str:
    return found["decision"][0].partition(":")[0]


def document(link: Wire, sql: str) -> Any:
    (((text,),)) = wire.rows(link.query(f"EXPLAIN CACHE (FORMAT json) {sql}"))
    assert text is not None
    return json.loads(text)


def test_what_it_says_of_a_read_is_what_happens(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link, howdah.wire(database) as other:
        first = told(link, SHELF)
        assert decision(first) == "miss"
        assert first["reads"] == [
            "view public.shelf -> table public.author",
            "view public.shelf -> table public.book",
        ]
        assert first["entry"] == ["none is stored"]
        assert first["key: search_path"] == ["pg_catalog, public"]
        assert not howdah.is_hit(link, SHELF)
        assert decision(told(link, SHELF)) == "hit"
        assert howdah.is_hit(link, SHELF)
        (entry,) = document(link, SHELF)["entries"]
        assert (entry["state"], entry["hits"], entry["rows"]) == ("valid", 1, 1)
        assert (entry["protocol"], entry["role"]) == ("simple", "postgres")
        assert 0 <= entry["age_seconds"] < entry["expires_in_seconds"] <= 60
        # Another session of equal settings shares it; one of another role does not.
        assert decision(told(other, SHELF)) == "hit"
        with howdah.wire(database, "alice") as alice:
            assert decision(told(alice, SHELF)) == "miss"

        other.query("UPDATE author SET name = 'x' WHERE id = 1")
        after = document(link, SHELF)
        assert (after["decision"], after["entries"]) == ("miss", [])
        gone = after["evicted"]
        assert (gone["cause"], gone["what"]) == ("write", "public.author")
        assert gone["statement"] == "UPDATE author SET name = $1 WHERE id = $2"
        assert gone["by"].startswith("session ")
        assert not howdah.is_hit(link, SHELF)


def test_a_fence_that_stands_is_told(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link, howdah.wire(database) as writer:
        link.query(SHELF)
        # The bytes of a COPY are still to come: its transaction may commit at any time.
        writer.send(wire.query("COPY book FROM STDIN"))
        writer.until("G")
        found = document(link, SHELF)
        assert (found["decision"], found["reason"]) == ("bypass", "fenced")
        (fence,) = found["fences"]
        assert fence["kind"] == "write"
        assert fence["over"] == ["public.book"]
        writer.ask(wire.COPY_DONE)
        assert document(link, SHELF)["decision"] == "miss"


def test_writes_are_told_with_all_that_they_reach(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        found = told(link, "DELETE FROM author WHERE id = 7")
        assert decision(found) == "write"
        cascade = (
            "DELETE from table public.author -> foreign key wrote on public.author"
            " -> DELETE from table public.book"
        )
        assert found["writes"] == [
            "DELETE from table public.author",
            cascade,
            f"{cascade} -> trigger noted on public.book -> function public.note"
            " -> INSERT into table public.log",
        ]
        opaque = told(link, "SELECT run('DELETE FROM book')")
        assert opaque["because of"] == ["dynamic SQL <- function public.run (unknown_function)"]
        assert opaque["writes"] == ["everything in every database"]


@pytest.mark.parametrize(
    ("sql", "reason", "because"),
    [
        ("TABLE odd", "volatile_function", [RANDOM]),
        ("SELECT *, now() FROM book", "clock", ["function now"]),
        ("SELECT * FROM book FOR UPDATE", "locking_clause", ["the locking clause"]),
        ("SELECT * FROM pg_class", "system_catalog", ["table pg_catalog.pg_class"]),
        ("SELECT * FROM nothing_such", "unknown_relation", ["relation nothing_such"]),
        ("SELECT 1", "no_relation", []),
        ("/* howdah: off */ SELECT * FROM book", "hint_off", []),
        ("SELECT title FROM", "unparsable", ["syntax error at end of input"]),
    ],
)
def test_why_not(
    postgres: PostgresServer, howdah: Howdah, sql: str, reason: str, because: list[str]
) -> None:
    database = shared_database(postgres, howdah)
    with howdah.wire(database) as link:
        found = document(link, sql)
        assert found["reason"] == reason
        assert told(link, sql).get("because of", []) == because
        assert not found["cacheable"]
        with howdah.watching() as gained:
            link.query(sql)
        assert f"{found['decision']}/{reason}" in gained


_shared: dict[str, str] = {}


def shared_database(postgres: PostgresServer, howdah: Howdah) -> str:
    """One database for all tests that only ask."""
    key = f"{postgres.name} {howdah.port}"
    if key not in _shared:
        _shared[key] = postgres.create_database(SCHEMA)
        howdah.warm(_shared[key])
    return _shared[key]


def test_asking_changes_nothing(postgres: PostgresServer, howdah: Howdah) -> None:
    database = postgres.create_database(SCHEMA)
    howdah.warm(database)
    with howdah.wire(database) as link:
        link.query(SHELF)
        with howdah.watching() as gained:
            for sql in ("SELECT run('x')", "DROP TABLE book", "PREPARE p AS SELECT 1", "SELEC"):
                told(link, sql)
            # What is said wrongly would be a write of everything if it were not recognised.
            for wrong in ("EXPLAIN CACHE", "EXPLAIN CACHE (FORMAT x) SELECT 1"):
                assert len(wire.errors(link.query(wrong))) == 1
        assert gained["evictions"] == 0
        assert set(gained) == {"hits", "evictions", "other/explain"}
        assert howdah.is_hit(link, SHELF)


def test_errors_are_clear_and_end_a_transaction(postgres: PostgresServer, howdah: Howdah) -> None:
    database = shared_database(postgres, howdah)
    with howdah.wire(database) as link:
        link.query("BEGIN")
        frames = link.query("EXPLAIN CACHE (FORMT json) SELECT 1")
        assert wire.kinds(frames) == "EZ"
        assert frames[0].fields["C"] == "42601"
        assert frames[0].fields["S"] == "ERROR"
        assert "did you mean 'format'" in frames[0].fields["M"]
        assert link.status == "E"
        # As everything else that is said then, right or wrong.
        for text in ("EXPLAIN CACHE SELECT 1", "EXPLAIN CACHE (FORMT json) SELECT 1"):
            assert wire.errors(link.query(text)) == ["25P02"]
            assert wire.errors(link.ask(*extended(text))) == ["25P02"]
        link.query("ROLLBACK")
        named = link.query("EXPLAIN CACHE (ROLE alice) SELECT 1")
        assert "console" in named[0].fields["M"]
        frames = link.ask(*extended("EXPLAIN CACHE (FORMAT x) SELECT 1"))
        assert wire.errors(frames) == ["22023"]
        assert link.status == "I"


def extended(sql: str) -> list[bytes]:
    return [wire.parse(sql), wire.bind(), wire.describe(), wire.execute(), wire.SYNC]


def test_the_session_speaks_for_itself(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        link.query(SHELF)
        link.query("BEGIN")
        assert decision(told(link, SHELF)) == "hit"
        link.query("INSERT INTO log VALUES ('x')")
        inside = document(link, SHELF)
        assert (inside["decision"], inside["reason"]) == ("bypass", "transaction_writes")
        assert inside["session"]["in_transaction"]
        assert link.status == "T"
        link.query("ROLLBACK")
        link.query("BEGIN ISOLATION LEVEL SERIALIZABLE")
        assert document(link, SHELF)["reason"] == "isolation"
        link.query("COMMIT")
        # After a SET it waits for what the session's settings are, as a read does.
        link.query("SET search_path = pg_catalog")
        assert document(link, "SELECT title FROM public.shelf")["decision"] == "miss"
        assert document(link, SHELF)["reason"] == "unknown_relation"
        link.query("RESET search_path")
        assert document(link, SHELF)["decision"] == "hit"


def test_the_first_statement_of_a_session(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        link.query(SHELF)
    for _ in range(5):
        with howdah.wire(database) as link:
            assert document(link, SHELF)["decision"] == "hit"


def test_settings_that_are_read_are_part_of_the_key(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database, "alice") as link:
        sql = "SELECT id FROM secret"
        first = document(link, sql)
        assert first["key"]["depends_on_settings"] == ["app.tenant"]
        assert "app.tenant" in first["notes"][0]
        link.query(sql)
        assert document(link, sql)["decision"] == "miss"
        link.query(sql)
        link.query("SET app.tenant = 'a'")
        assert document(link, sql)["decision"] == "miss"
        link.query("RESET app.tenant")
        assert document(link, sql)["key"]["custom_settings"] == ["app.tenant"]


def test_psycopg_with_parameters_and_prepared_statements(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    read, why = ("SELECT title FROM book WHERE id = %s", "EXPLAIN CACHE {}")
    with psycopg.connect(howdah.dsn(database), autocommit=True) as link:
        for binary in (False, True):
            assert ask(link, why, read, 1, binary)["decision"][0].startswith("miss")
            link.execute(read, (1,), binary=binary).fetchall()
            found = ask(link, why, read, 1, binary)
            assert found["decision"][0].startswith("hit")
            assert "extended protocol, parameters: 1" in found["entry"][0]
            # It is about these parameters, and tells of others.
            found = ask(link, why, read, 2, binary)
            assert found["decision"][0].startswith("miss")
            assert "valid" in found["entry"][0]
            link.execute("UPDATE book SET title = title")
        # Prepared on the server from the fifth time on, it still tells what is true now.
        for turn in range(8):
            link.execute("UPDATE book SET title = %s", (str(turn),))
            assert ask(link, why, read, 1)["decision"][0].startswith("miss")
            link.execute(read, (1,)).fetchall()
            assert ask(link, why, read, 1)["decision"][0].startswith("hit")


def ask(link: Any, why: str, read: str, value: int, binary: bool = False) -> dict[str, list[str]]:
    return items(link.execute(why.format(read), (value,), binary=binary).fetchall())


def test_asyncpg(place: tuple[Howdah, str]) -> None:
    howdah, database = place

    async def run() -> None:
        link = await asyncpg.connect(howdah.dsn(database).replace("?sslmode=disable", ""))
        try:
            for turn in range(3):
                rows = await link.fetch(f"EXPLAIN CACHE {SHELF}")
                assert decision(items(rows)) == ("hit" if turn else "miss")
                await link.fetch(SHELF)
            # A statement that is prepared once explains anew each time.
            statement = await link.prepare("EXPLAIN CACHE SELECT id FROM book WHERE title = $1")
            assert [each.name for each in statement.get_attributes()] == ["item", "value"]
            assert decision(items(await statement.fetch("Shame"))) == "miss"
            async with link.transaction():
                await link.execute("INSERT INTO log VALUES ('x')")
                found = items(await statement.fetch("Shame"))
                assert found["reason"][0].startswith("transaction_writes")
                cursor = await link.cursor(f"EXPLAIN CACHE {SHELF}")
                assert len(await cursor.fetch(2)) == 2
            (text,) = await link.fetchrow(f"EXPLAIN CACHE (FORMAT json) {SHELF}")
            assert json.loads(text)["decision"] == "hit"
        finally:
            await link.close()

    asyncio.run(run())


def test_pipelines_and_portions(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        link.query(SHELF)
        # Answers come in the order of the requests, and hits among them stay hits.
        link.send(
            wire.query(SHELF),
            wire.query(f"EXPLAIN CACHE {SHELF}"),
            wire.query("SELECT 42"),
            wire.query(f"EXPLAIN CACHE (FORMAT json) {SHELF}"),
        )
        replies = [link.until() for _ in range(4)]
        assert [wire.rows(reply)[0][0] for reply in replies[:3]] == ["Shame", "decision", "42"]
        assert json.loads(wire.rows(replies[3])[0][0] or "")["reason"] == "pipelined"
        # Named, described before it is bound, in portions, and closed.
        link.ask(wire.parse(f"EXPLAIN CACHE {SHELF}", "why"), wire.describe("S", "why"), wire.SYNC)
        for _ in range(2):
            frames = link.ask(
                wire.bind(statement="why"), wire.execute(limit=1), wire.execute(), wire.SYNC
            )
            assert wire.kinds(frames).startswith("2DsD")
            assert wire.rows(frames)[0] == ["decision", "hit: it would be answered from memory"]
        frames = link.ask(wire.close("S", "why"), wire.SYNC)
        assert wire.kinds(frames) == "3Z"
        # What takes its place is no EXPLAIN any more, also where it is answered at once.
        whole = [wire.parse(SHELF), wire.bind(), wire.describe(), wire.execute(), wire.SYNC]
        link.ask(*whole)
        link.ask(wire.parse(f"EXPLAIN CACHE {SHELF}"), wire.SYNC)
        with howdah.hits_during(1):
            link.ask(*whole)
        for _ in range(2):
            frames = link.ask(wire.bind(), wire.describe(), wire.execute(), wire.SYNC)
            assert wire.rows(frames) == [["Shame"]]
        # The unnamed one goes with the next Query.
        link.ask(wire.parse(f"EXPLAIN CACHE {SHELF}"), wire.SYNC)
        frames = link.ask(wire.bind(), wire.execute(), wire.SYNC)
        assert wire.kinds(frames).startswith("2D")
        link.query(SHELF)
        assert wire.errors(link.ask(wire.bind(), wire.execute(), wire.SYNC)) == ["26000"]
        assert wire.errors(link.ask(wire.bind(statement="why"), wire.SYNC)) == ["26000"]


def test_names_beyond_ascii_in_any_encoding(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    sql = 'SELECT "größe" FROM nirgends'
    with howdah.wire(database) as link:
        assert document(link, sql)["statement"]["text"] == sql
    with howdah.wire(database, client_encoding="LATIN1") as link:
        frames = link.ask(wire.message("Q", f"EXPLAIN CACHE {sql}".encode("latin-1") + b"\0"))
        assert wire.errors(frames) == []
        # Howdah reads no text whose bytes may mean something else to PostgreSQL.
        assert wire.rows(frames)[1][1].startswith("encoding")  # type: ignore[union-attr]
        assert decision(told(link, SHELF)) in ("hit", "miss")


def test_parameters_that_may_say_now(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    sql = "SELECT id FROM book WHERE title > %s"
    with psycopg.connect(howdah.dsn(database), autocommit=True) as link:
        for value, reason in (("today", "clock_literal"), ("tonight", "not_cached")):
            rows = link.execute(f"EXPLAIN CACHE {sql}", (value,)).fetchall()
            assert items(rows)["reason"][0].startswith(reason)
            with howdah.watching() as gained:
                link.execute(sql, (value,)).fetchall()
            assert {name.partition("/")[2] for name in gained if "/" in name} == {reason}
        found = items(link.execute(f"EXPLAIN CACHE {sql}", ("today",)).fetchall())
        assert found["because of"] == ["a parameter"]
        other = items(link.execute(f"EXPLAIN CACHE {sql}", ("other",)).fetchall())
        assert decision(other) == "miss"
        assert other["entry"][0].startswith("valid")
        assert "as they were sent" in other["note"][0]


def test_statements_prepared_before_a_change(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    read = "SELECT title FROM book"
    with howdah.wire(database) as link:
        link.ask(wire.parse(read, "mine"), wire.bind(statement="mine"), wire.execute(), wire.SYNC)
        assert "note" not in told(link, read)
        link.query("CREATE TABLE more (id int)")
        howdah.until_hit(link, SHELF)
        (note,) = told(link, read)["note"]
        assert note.startswith('the session has prepared it as "mine", which is forwarded')
        with howdah.watching() as gained:
            link.ask(wire.bind(statement="mine"), wire.execute(), wire.SYNC)
        assert f"({reason_of(gained)})" in note
        assert reason_of(gained) == "prepared_stale"


def reason_of(gained: dict[str, float]) -> str:
    (found,) = (name.partition("/")[2] for name, count in gained.items() if "/" in name and count)
    return found


def test_what_may_be_something_else_by_now(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        # Nobody can tell which of the two the name stands for.
        for text in ("SELECT title FROM book", "SELECT dice()"):
            link.query(f"PREPARE twice AS {text}")
        link.query("SELECT run('SELECT 1')")
        found = document(link, "EXECUTE twice")
        with howdah.watching() as gained:
            link.query("EXECUTE twice")
        assert (found["decision"], found["reason"]) == ("write", "prepared_opaque")
        assert reason_of(gained) == "prepared_opaque"


def test_doubted_statements_keep_their_names(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    read = "SELECT title FROM book WHERE id = 1"
    with howdah.wire(database) as link:
        link.ask(wire.parse(read, "mine"), wire.SYNC)
        howdah.until_hit(link, SHELF)
        # What it runs may have put another statement in its place.
        link.query("BEGIN")
        link.query("SELECT run('SELECT 1')")
        with howdah.watching() as gained:
            link.ask(wire.bind(statement="mine"), wire.execute(), wire.SYNC)
        assert reason_of(gained) == "prepared_opaque"
        link.query("COMMIT")
        assert document(link, read)["statement"]["writes"] == 1


def test_a_question_that_is_pasted_whole(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        assert document(link, f"EXPLAIN CACHE {SHELF}")["statement"]["text"] == SHELF
        status, found = post(howdah, {"sql": f"explain cache (DATABASE {database}) {SHELF}"})
        assert (status, found["decision"], found["key"]["database"]) == (200, "miss", database)
        status, found = post(howdah, {"sql": "EXPLAIN CACHE", "database": database})
        assert (status, found["error"]) == (400, "EXPLAIN CACHE needs a statement")


def test_what_evicts_everything_says_so(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        found = told(link, "SELECT * FROM nowhere")
        assert found["decision"] == [
            "bypass: PostgreSQL would answer, behind a fence over all that it might change"
        ]
        assert found["writes"] == ["everything in every database"]
        assert "counts as a write of everything" in found["reason"][0]


def test_the_name_that_is_ambiguous_is_told(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link:
        link.query("CREATE SCHEMA other CREATE TABLE book (id int)")
        link.query(
            "CREATE FUNCTION books() RETURNS bigint LANGUAGE plpgsql STABLE AS"
            " 'BEGIN RETURN (SELECT count(*) FROM book); END'"
        )
        howdah.until_hit(link, SHELF)
        link.query("SET search_path = public, other")
        found = told(link, "SELECT books()")
        assert found["reason"][0].startswith("ambiguous_name")
        assert found["because of"] == ['"book" in its body <- function public.books']


def test_who_wrote_in_a_transaction(place: tuple[Howdah, str]) -> None:
    howdah, database = place
    with howdah.wire(database) as link, howdah.wire(database) as other:
        howdah.until_hit(link, SHELF)
        for text in ("BEGIN", "UPDATE author SET name = 'y'", "SELECT 1", "COMMIT"):
            other.query(text)
        gone = document(link, SHELF)["evicted"]
        assert gone["statement"] == "UPDATE author SET name = $1"


RULES = """
rules:
  - name: brief
    relations: book
    ttl: 7s
  - name: never
    relations: author
    cache: off
    priority: 5
  - name: all
    ttl: 9s
"""


def post(howdah: Howdah, body: dict[str, str]) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://{howdah.http}/api/explain",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def run(howdah: Howdah, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", "explain", "--http", howdah.http, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_rules_and_the_ways_without_a_session(
    postgres: PostgresServer, start_howdah: Starter, tmp_path: Path
) -> None:
    config = tmp_path / "howdah.yaml"
    config.write_text(RULES)
    howdah = start_howdah("--config", str(config))
    assert post(howdah, {"sql": "SELECT 1"})[1]["error"].startswith("which database is meant")
    database = postgres.create_database(SCHEMA)
    howdah.warm(database)
    status, found = post(howdah, {"sql": "TABLE book"})
    assert (status, found["decision"]) == (200, "miss")
    assert found["session"] is None
    assert found["rules"]["decides"] == "brief"
    assert found["rules"]["terms"] == {"ttl": "7s"}
    assert found["rules"]["hinted"] == []
    assert found["contract"]["promise"].endswith("are seen after 7s at the latest (ttl)")
    status, told = post(howdah, {"sql": "/* howdah: max_age=2s */ TABLE log"})
    assert (told["rules"]["terms"], told["rules"]["hinted"]) == ({"ttl": "2s"}, ["ttl"])
    assert told["contract"]["promise"].endswith("after 2s at the latest (ttl)")
    status, told = post(howdah, {"sql": "/* howdah: stale_while_revalidate=1m */ TABLE log"})
    assert "are seen after 69s at the latest" in told["contract"]["promise"]
    considered = found["rules"]["considered"]
    assert [(each["rule"], each["matches"], each["decides"]) for each in considered] == [
        ("never", False, False),
        ("brief", True, True),
        ("all", True, False),
    ]
    # The highest rule that matches counts, also for what is behind a view.
    status, found = post(howdah, {"sql": SHELF, "database": database, "role": "alice"})
    assert (found["decision"], found["reason"]) == ("bypass", "rule_off")
    assert found["key"]["role"] == "alice"
    assert any("search_path is taken for" in note for note in found["notes"])
    assert [each["relation"] for each in found["reads"]] == ["public.author", "public.book"]
    # Hints are above all rules.
    status, found = post(howdah, {"sql": "/* howdah: ttl=3s */ TABLE book"})
    assert found["rules"]["terms"] == {"ttl": "3s"}

    with howdah.wire(database) as link, howdah.wire(database, "alice") as alice:
        link.query("TABLE book")
        alice.query("TABLE book")
        status, found = post(howdah, {"sql": "TABLE book;", "database": database})
        assert found["decision"] == "hit"
        assert {entry["role"] for entry in found["entries"]} == {"postgres", "alice"}
        status, found = post(howdah, {"sql": "TABLE book", "role": "alice"})
        assert [entry["role"] for entry in found["entries"]] == ["alice"]
        assert found["entries"][0]["expires_in_seconds"] <= 7
        assert status == 200

        shown = run(howdah, "--role", "alice", "TABLE book")
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith("decision")
        assert "brief decides" in shown.stdout
        as_json = run(howdah, "--json", "--database", database, "TABLE book")
        assert json.loads(as_json.stdout)["decision"] == "hit"

    for body, words in (
        ({"sql": "SELECT 1", "database": "nowhere"}, "no client has been in a database 'nowhere'"),
        ({"sql": " ; "}, "there is no statement to explain"),
    ):
        status, found = post(howdah, body)
        assert (status, found["error"][: len(words)]) == (400, words)
    wrong = run(howdah, "--database", "nowhere", "SELECT 1")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "nowhere" in wrong.stderr
    assert wrong.stderr.count("\n") == 1


GUIDE = ROOT / "docs" / "explain.md"


def test_the_examples_of_the_guide_are_true(postgres: PostgresServer, howdah: Howdah) -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    database = postgres.create_database(files(guide)["shop.sql"])
    howdah.warm(database)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {
        "PATH": os.pathsep.join((str(Path(postgres.tool("psql")).parent), environment["PATH"])),
        "LC_ALL": "C.UTF-8",
        "PGHOST": howdah.host,
        "PGPORT": str(howdah.port),
        "PGDATABASE": database,
        "PGUSER": "postgres",
    }
    examples = steps(guide)
    assert len(examples) > 5
    for example in examples:
        done = subprocess.run(
            ["bash", "-c", example.command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        printed = (done.stdout + done.stderr).replace(database, "shop")
        assert fits(example.shown, printed), printed


def test_each_item_and_key_is_in_the_guide() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    source = (ROOT / "proxy" / "session" / "explanation.py").read_text(encoding="utf-8")
    items = set(re.findall(r'yield "([a-z _]+)[":]', source)) | {"because of", "also in the way"}
    assert {"decision", "key", "last eviction", "other rule"} <= items
    for item in items:
        assert f"`{item}" in guide, item
    keys = re.findall(r"told\[['\"](\w+)['\"]\]", source)
    assert {"entries", "similar", "contract"} <= set(keys)
    for key in keys:
        assert f"`{key}`" in guide, key
