"""Playbooks of EXPLAIN CACHE: what PostgreSQL is sent in its place, and what that says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.policy.plan import Kind
from proxy.session.engine import Engine
from proxy.wire import messages
from tests.playbook.stage import Player, answer, complete, engine, error, ready, row

READ = "SELECT x FROM t WHERE id = 1"
WHY = f"EXPLAIN CACHE (FORMAT json) {READ}"


@pytest.fixture
def shared() -> Engine:
    return engine()


def fill(player: Player, text: str = READ) -> None:
    """Have the answer stored."""
    player.query(text)
    player.server(answer("a"))
    player.clear()


def told(sent: bytes) -> Any:
    """The explanation in what PostgreSQL is sent."""
    assert sent.count(b"$howdah$") == 2
    return json.loads(sent.split(b"$howdah$")[1])


def why(player: Player, sql: str = READ) -> Any:
    """What an EXPLAIN of `sql` says; PostgreSQL then answers it."""
    player.query(f"EXPLAIN CACHE (FORMAT json) {sql}")
    to_client, to_server = player.clear()
    assert to_client == b""
    assert to_server.startswith(b"Q")
    assert player.engine.board.fences == set()
    player.server(answer("x"))
    player.clear()
    return told(to_server)


def states(document: Any) -> list[str]:
    return [entry["state"] for entry in document["entries"]]


def test_the_age_of_an_answer(shared):
    player = Player(shared)
    assert why(player)["reason"] == "not_cached"
    fill(player)
    player.now += 59
    found = why(player)
    assert (found["decision"], states(found)) == ("hit", ["valid"])
    assert found["entries"][0]["expires_in_seconds"] == 1.0
    player.now += 2
    found = why(player)
    assert (found["decision"], found["reason"], states(found)) == ("miss", "expired", ["expired"])


def test_an_answer_that_is_served_stale(shared):
    player = Player(shared)
    sql = f"/* howdah: ttl=1s stale_while_revalidate=10s */ {READ}"
    fill(player, sql)
    player.now += 5
    found = why(player, sql)
    assert (found["decision"], states(found)) == ("stale", ["stale"])
    player.now += 10
    assert why(player, sql)["decision"] == "miss"


def test_a_statement_that_was_answered_wrongly(shared):
    player = Player(shared)
    fill(player)
    for shape in shared.shapes:
        shape.quarantined = True
    shared.forget_plans()
    found = why(player)
    assert (found["decision"], found["reason"]) == ("bypass", "quarantined")
    assert [each["relation"] for each in found["reads"]] == ["public.t"]


def test_nothing_is_changed_by_asking(shared):
    player = Player(shared)
    fill(player)
    before = player.session.context
    counted = dict(shared.store.evictions)
    for sql in ("DROP TABLE t", "SELECT unknown(1)", "DELETE FROM w", "PREPARE p AS SELECT 1"):
        assert why(player, sql)["decision"] in ("write", "other")
    assert player.session.context is before
    assert player.session.sql_prepared.free(b"p")
    assert shared.store.evictions == counted
    assert shared.board.fences == set()
    assert why(player)["decision"] == "hit"
    # Nobody but PostgreSQL's SELECT was counted.
    assert shared.shapes.get("shop", why(player, "DELETE FROM w")["statement"]["id"]) is None


def test_what_is_sent_is_known_to_be_harmless_by_its_making_alone(shared):
    player = Player(shared)
    player.query(WHY)
    _, sent = player.clear()
    text = sent[5:-1]
    player.server(answer("x"))
    # The same text from a client is analysed like any other.
    assert text not in player.session.told
    assert player.session.plan(text).kind is not Kind.OTHER


def test_the_first_statement_waits_for_the_settings(shared):
    player = Player(shared)
    fill(player)
    player.session.forget_settings(path=True)
    player.query(WHY)
    _, sent = player.clear()
    assert b"EXPLAIN" not in sent
    assert player.waiting
    player.probed()
    _, sent = player.clear()
    assert told(sent)["decision"] == "hit"


def test_wrong_options_are_refused_in_howdahs_words(shared):
    player = Player(shared)
    fill(player)
    player.query("EXPLAIN CACHE (FORMAT yaml) SELECT 1")
    player.expect("S< Q EXPLAIN (cache) SELECT 1")
    assert shared.board.fences == set()
    player.server(error("42601") + ready())
    to_client, _ = player.clear()
    assert b"unrecognized value for EXPLAIN CACHE option FORMAT: 'yaml'" in to_client
    assert b"C22023" in to_client
    # Another error than the expected one is PostgreSQL's to tell.
    player.query("EXPLAIN CACHE (FORMAT yaml) SELECT 1")
    player.clear()
    player.server(error("57014") + ready())
    player.expect("C< E 57014\nC< Z I")
    assert why(player)["decision"] == "hit"


def parse(name: str, text: str) -> bytes:
    return messages.parse(name.encode(), text.encode())


def bound(name: str) -> bytes:
    return messages.bind(b"", name.encode()) + messages.execute(b"") + messages.SYNC


def test_a_prepared_one_is_prepared_again_each_time(shared):
    player = Player(shared)
    player.client(parse("why", WHY) + messages.SYNC)
    _, sent = player.clear()
    assert told(sent)["decision"] == "miss"
    player.server(messages.PARSE_COMPLETE + ready())
    player.expect("C< 1\nC< Z I")
    fill(player)
    player.client(bound("why"))
    _, sent = player.clear()
    assert sent.startswith(messages.close(b"S", b"why") + b"P")
    assert told(sent)["decision"] == "hit"
    # Its client sees the answers to what it has sent.
    player.server(
        messages.CLOSE_COMPLETE
        + messages.PARSE_COMPLETE
        + messages.BIND_COMPLETE
        + row("{}")
        + complete("SELECT 1")
        + ready()
    )
    player.expect("C< 2\nC< D {}\nC< C SELECT 1\nC< Z I")
    # In a failed transaction nothing can be put in front of it.
    player.query("BEGIN")
    player.query("SELECT broken")
    player.server(
        (messages.PARSE_COMPLETE + messages.BIND_COMPLETE + complete("BEGIN"))
        + messages.CLOSE_COMPLETE * 2
        + error("42703")
        + ready("E")
    )
    player.clear()
    player.client(bound("why"))
    player.expect("S< B  why\nS< E\nS< S")
    player.server(error("25P02") + ready("E"))
    player.expect("C< E 25P02\nC< Z E")
    player.query("ROLLBACK")
    player.server(complete("ROLLBACK") + ready())
    player.clear()
    # What was not prepared again, as something in front of it failed, is the next time.
    player.client(bound("why"))
    player.server(error("57014") + ready())
    player.clear()
    player.client(bound("why"))
    _, sent = player.clear()
    assert sent.startswith(messages.close(b"S", b"why") + b"P")


def test_a_name_that_was_given_to_another_statement(shared):
    player = Player(shared)
    player.client(parse("why", WHY) + messages.close(b"S", b"why") + messages.SYNC)
    player.server(messages.PARSE_COMPLETE + messages.CLOSE_COMPLETE + ready())
    player.client(parse("why", READ) + messages.SYNC)
    player.server(messages.PARSE_COMPLETE + ready())
    player.clear()
    player.client(bound("why"))
    player.expect("S< B  why\nS< E\nS< S")
