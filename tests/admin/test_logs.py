"""The log of a running Howdah: statements on request, values only on request, never a password."""

from __future__ import annotations

import json
import re

import psycopg

from tests.fix_pg import PASSWORD
from tests.fix_tools import eventually
from tests.fix_wire import SYNC, bind, describe, execute, parse

READ = "SELECT v FROM public.probe WHERE id = 1"
SHAPE = "SELECT v FROM public.probe WHERE id = $1"


def lines(howdah, fragment, count=1):
    """The lines with `fragment`, at least `count` of them."""

    def look():
        found = [line for line in howdah.log_lines() if fragment in line]
        return found if len(found) >= count else None

    return eventually(look, what=f"{count} lines with {fragment!r} in\n{howdah.log}")


def test_statements_are_not_logged_unless_asked_for(start_howdah, database):
    howdah = start_howdah("--log-level", "debug", "--log-parameters", "on")
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        assert wire.query("SELECT nothing_there")[0].kind == "E"
    lines(howdah, "closed")
    assert "probe" not in howdah.log
    assert "nothing_there" not in howdah.log


def test_uncached_statements_with_outcome_reason_and_time(start_howdah, database):
    howdah = start_howdah("--log-statements", "uncached")
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        wire.query("SELECT random() -- 'comment'")
        wire.query("SELEC 1")
        wire.query("SELECT 1/0 FROM probe")
        wire.query("UPDATE probe SET v = 77 WHERE id = 2")
        wire.extended("SELECT id, v FROM probe WHERE id = $1", [b"3"])
    (volatile,) = lines(howdah, "random()")
    assert re.fullmatch(
        r"\S+ \S+ INFO \[\d+ S>\] bypass \w+ \d+\.\d{3} ms [0-9a-f]{16} SELECT random\(\)",
        volatile,
    ), volatile
    (wrong,) = lines(howdah, "unparsable")
    assert re.search(r"write unparsable error \S+ ms \(unparsable\)$", wrong)
    assert " error " in lines(howdah, "$1/$2")[0]
    assert "write" in lines(howdah, "UPDATE probe SET v = $1 WHERE id = $2")[0]
    assert "miss not_cached" in lines(howdah, "SELECT id, v FROM probe WHERE id = $1")[0]
    assert any("miss not_cached" in line for line in lines(howdah, SHAPE))
    texts = [line.split(" ms ")[1][17:] for line in howdah.log_lines() if " ms " in line]
    assert "77" not in "".join(texts)
    assert " hit " not in howdah.log


def test_hits_and_values_on_request(start_howdah, database):
    howdah = start_howdah(
        "--log-statements", "all", "--log-parameters", "on", "--log-format", "json"
    )
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        wire.ask(
            parse("SELECT id, v FROM probe WHERE id = $1", "s"),
            bind([b"3"], statement="s"),
            describe(),
            execute(),
            SYNC,
        )
        wire.query("ALTER ROLE nobody_here PASSWORD 'hunter2'")
    entries = [json.loads(line) for line in lines(howdah, '"direction"')]
    lines(howdah, "ALTER ROLE", 2)
    hit = next(entry for entry in entries if entry.get("outcome") == "hit")
    assert (hit["direction"], hit["statement"], hit["failed"]) == ("C<", SHAPE, False)
    assert hit["seconds"] < 1
    assert hit["connection"] > 0
    assert re.fullmatch("[0-9a-f]{16}", hit["query"])
    said = [entry["message"] for entry in entries if entry["direction"] == "C>"]
    assert f"query {READ}" in said
    # One line for each, those that had to wait for something included.
    repeats = [entry for entry in entries if entry.get("statement") == SHAPE]
    assert said.count(f"query {READ}") == len(repeats)
    assert "hunter2" not in howdah.log
    assert "bind s: with ('3')" in howdah.log


def test_no_password_in_the_log_whatever_is_logged(start_howdah, each_postgres):
    howdah = start_howdah(
        *("--log-level", "debug", "--log-statements", "all", "--log-parameters", "on"),
        server=each_postgres,
    )
    for user in ("user_password", "user_scram"):
        with psycopg.connect(howdah.dsn("postgres", user), password=PASSWORD) as connection:
            connection.execute("SELECT 'shown'")
    assert "query SELECT 'shown'" in lines(howdah, "query SELECT 'shown'", 2)[0]
    assert PASSWORD not in howdah.log
    assert "pass word" not in howdah.log


def test_lines_of_a_connection_carry_its_number_and_a_direction(start_howdah, database):
    howdah = start_howdah("--log-level", "debug")
    with howdah.wire(database, "alice") as wire:
        wire.query("SELECT 1")
    (closed,) = lines(howdah, "] closed")
    number = closed.partition("[")[2].partition("]")[0]
    mine = [line for line in howdah.log_lines() if re.search(rf"\[{number}\b", line)]
    assert "client connected from 127.0.0.1:" in mine[0]
    assert "user 'alice', database" in mine[1]
    assert all(f"[{number} C>]" in line for line in mine[:2])
    assert any(f"[{number} S>] upstream connection closed" in line for line in mine)


def test_a_line_break_of_a_client_makes_no_line(start_howdah, database):
    howdah = start_howdah("--log-statements", "uncached", "--log-parameters", "on")
    with howdah.wire(database) as wire:
        wire.query("SELECT\n'2026-01-01 INFO forged'")
    lines(howdah, "forged")
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} ", x) for x in howdah.log_lines())
    assert r"query SELECT\n'2026" in howdah.log
