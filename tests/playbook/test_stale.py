"""Playbooks of answers that have expired and are served while they are fetched anew."""

from __future__ import annotations

import pytest

from proxy.session.engine import Engine
from proxy.wire import messages
from tests.playbook.stage import (
    Player,
    answer,
    complete,
    description,
    engine,
    error,
    ready,
    row,
)
from tests.playbook.test_simple import READ, fill, forwarded, hit
from tests.unit.policy.test_rules import rules

RULES = """
rules:
  - {relations: t, ttl: 10s, stale_while_revalidate: 5s}
"""
# What PostgreSQL is asked behind the client's back.
AGAIN = """
S< C Showdah~again
S< P howdah~again: {text}
S< B howdah~again howdah~again
S< D Phowdah~again
S< E howdah~again
S< C Showdah~again
S< S
"""
PARSE = messages.parse(b"s", READ.encode())
BIND = messages.bind(b"", b"s") + messages.execute(b"") + messages.SYNC


@pytest.fixture
def lax() -> Engine:
    """Answers live 10 s, and 5 s more while they are fetched anew."""
    made = engine()
    made.set_rules(rules(RULES))
    return made


def counts(made: Engine) -> dict[str, int]:
    made.statistics.time_hits(0.0)
    made.shapes.fold()
    found = made.statistics.statements.items()
    return {f"{outcome}/{reason}": count for (outcome, reason), count in found if count}


def stale(player: Player, value: str = "a") -> None:
    """Served from memory; this session is the one that asks anew."""
    player.query(READ)
    player.expect(f"S< Q {READ}\nC< T\nC< D {value}\nC< C SELECT 1\nC< Z I")


def test_an_expired_answer_is_served_while_it_is_fetched_anew(lax: Engine) -> None:
    one, two = Player(lax, 1), Player(lax, 2)
    fill(one)
    one.now = two.now = 111.0
    stale(one)
    # Meanwhile others are served, too, and nobody asks once more.
    hit(two)
    hit(one)
    one.server(answer("b"))
    one.expect("")
    hit(one, value="b")
    hit(two, value="b")
    assert counts(lax) == {"miss/not_cached": 1, "stale/": 3, "hit/": 2}
    (shape,) = lax.shapes
    assert (shape.hits, shape.stale, shape.misses) == (2, 3, 1)
    assert lax.statistics.seconds["stale"].counts[0] == 3
    # The new answer has a life of its own.
    one.now = two.now = 122.0
    stale(two, "b")


def test_it_is_not_served_beyond_its_time(lax: Engine) -> None:
    one = Player(lax, 1)
    fill(one)
    one.now = 115.0
    forwarded(one)
    one.server(answer("b"))
    one.clear()
    assert counts(lax) == {"miss/not_cached": 1, "miss/expired": 1}
    assert lax.store.evictions == {"expired": 1}


def test_without_a_rule_nothing_is_stale() -> None:
    made = engine(max_age=10.0)
    one = Player(made, 1)
    fill(one)
    one.now = 110.0
    forwarded(one)


@pytest.mark.parametrize("when", ["before", "while"])
def test_what_a_write_has_ended_is_never_served(lax: Engine, when: str) -> None:
    """F4: a fence, or a counter that has moved, ends it at once."""
    one, writer = Player(lax, 1), Player(lax, 2)
    fill(one)
    one.now = writer.now = 111.0
    if when == "while":
        stale(one)
    writer.query("UPDATE t SET x = 'b'")
    two = Player(lax, 3)
    two.now = 111.0
    forwarded(two)
    writer.server(complete("UPDATE 1") + ready())
    if when == "while":
        # What was asked for in front of the write is not stored.
        one.server(answer("a"))
    forwarded(one)
    assert lax.statistics.fills_rejected.get("fenced", 0) == (1 if when == "while" else 0)
    assert not lax.flights.revivals


def test_inside_a_transaction_nobody_asks(lax: Engine) -> None:
    """Its error would be the client's; but what another session asks for is good for all."""
    one, two = Player(lax, 1), Player(lax, 2)
    fill(one)
    two.query("BEGIN")
    two.expect("C< C BEGIN\nC< Z T")
    one.now = two.now = 111.0
    stale(one)
    hit(two, status="T")
    one.server(answer("b"))
    one.clear()
    one.now = two.now = 122.0
    two.query(READ)
    lines = "P howdah~own: BEGIN\nS< B howdah~own howdah~own\nS< E howdah~own\n"
    two.expect(f"S< {lines}S< C Phowdah~own\nS< C Showdah~own\nS< Q {READ}")


def test_the_next_request_waits_behind_it_and_answers_stay_in_order(lax: Engine) -> None:
    """T3"""
    one = Player(lax, 1)
    fill(one)
    one.now = 111.0
    stale(one)
    forwarded(one, "SELECT x FROM u")
    one.server(answer("b"))
    one.expect("")
    one.server(answer("u"))
    one.expect("C< T\nC< D u\nC< C SELECT 1\nC< Z I")
    hit(one, value="b")


@pytest.mark.parametrize("shared_waiters", [0, 100], ids=["without sharing", "with sharing"])
def test_an_error_ends_it(shared_waiters: int) -> None:
    """The next one to ask gets the true error."""
    made = engine(shared_waiters=shared_waiters)
    made.set_rules(rules(RULES))
    one, two = Player(made, 1), Player(made, 2)
    fill(one)
    one.now = two.now = 111.0
    stale(one)
    hit(two)
    one.server(error("22012") + ready())
    one.expect("")
    assert len(made.store) == 0
    forwarded(two)
    two.server(error("22012") + ready())
    two.expect("C< E 22012\nC< Z I")


def test_a_lost_connection_lets_another_one_ask(lax: Engine) -> None:
    one, two = Player(lax, 1), Player(lax, 2)
    fill(one)
    one.now = two.now = 111.0
    stale(one)
    one.session.client_lost(one.now)
    one.session.server_lost(one.now)
    lax.identity_seen(lax.identity)  # type: ignore[arg-type]
    assert not lax.flights.revivals
    stale(two)


def test_prepared_statements_ask_in_their_own_protocol(lax: Engine) -> None:
    one = Player(lax, 1)
    one.client(PARSE + messages.SYNC)
    one.server(messages.PARSE_COMPLETE + ready())
    one.clear()
    one.client(BIND)
    one.server(messages.BIND_COMPLETE + row("a") + complete("SELECT 1") + ready())
    one.clear()
    one.now = 111.0
    one.client(BIND)
    one.expect(AGAIN.format(text=READ) + "C< 2\nC< D a\nC< C SELECT 1\nC< Z I")
    one.server(
        messages.CLOSE_COMPLETE
        + messages.PARSE_COMPLETE
        + messages.BIND_COMPLETE
        + description("x")
        + row("b")
        + complete("SELECT 1")
        + messages.CLOSE_COMPLETE
        + ready()
    )
    one.expect("")
    one.client(BIND)
    one.expect("C< 2\nC< D b\nC< C SELECT 1\nC< Z I")
    assert {"miss/not_cached": 1, "stale/": 1, "hit/": 1}.items() <= counts(lax).items()


def test_answers_that_are_too_large_by_a_rule_are_not_stored() -> None:
    made = engine()
    text = "rules:\n  - {relations: t, max_rows: 2}\n  - {relations: u, max_bytes: 60}"
    made.set_rules(rules(text))
    one = Player(made, 1)
    for text, rows in ((READ, 2), (READ + " ", 3), ("SELECT x FROM u", 1), ("SELECT x FROM  u", 9)):
        forwarded(one, text)
        body = row("a") * rows + complete(f"SELECT {rows}")
        one.server(description("x") + body + ready())
        one.clear()
    assert sorted(entry.key[1][5:-1].decode() for entry in made.store) == [READ, "SELECT x FROM u"]
    assert made.statistics.fills_rejected == {"too_many_rows": 1, "too_large": 1}
