"""Playbooks of rules on the application_name: no hit passes by the rules of its session."""

from __future__ import annotations

import pytest

from proxy.session.engine import Engine
from proxy.wire import messages
from tests.playbook.stage import Player, answer, complete, engine, ready, row
from tests.playbook.test_simple import READ, fill, forwarded, hit
from tests.unit.policy.test_rules import rules

RULES = """
rules:
  - {application_name: "report*", cache: off}
  - {application_name: slow, ttl: 1s}
"""
SET = "SET application_name = 'x'"


@pytest.fixture
def told() -> Engine:
    made = engine()
    made.set_rules(rules(RULES))
    return made


def status(application: str) -> bytes:
    """PostgreSQL reports the application_name."""
    return messages.message(b"S", b"application_name\0" + application.encode() + b"\0")


def named(player: Player, application: str) -> None:
    player.query(SET)
    player.expect(f"S< Q {SET}")
    player.server(complete("SET") + status(application) + ready())
    player.expect("C< C SET\nC< S\nC< Z I")


def answered(player: Player, value: str = "a") -> None:
    player.server(answer(value))
    player.clear()


def test_sessions_of_other_audiences_do_not_share(told: Engine) -> None:
    web, report, slow, other = (Player(told, number) for number in range(4))
    fill(web)
    named(report, "report 7")
    named(slow, "slow")
    named(other, "nobody asks for this one")
    hit(other)
    forwarded(report)
    answered(report)
    forwarded(report)
    fill(slow)
    hit(slow)
    slow.now = 102.0
    web.now = 102.0
    forwarded(slow)
    hit(web)
    assert told.statistics.statements["bypass", "rule_off"] == 1


def test_a_session_changes_its_audience_and_comes_back(told: Engine) -> None:
    """Without a probe, and to the answers that it had."""
    one = Player(told, 1)
    fill(one)
    named(one, "report")
    forwarded(one)
    answered(one)
    named(one, "web")
    hit(one)
    named(one, "slow")
    fill(one)
    named(one, "")
    hit(one)


def test_a_rollback_takes_it_back(told: Engine) -> None:
    one = Player(told, 1)
    fill(one)
    one.query("BEGIN")
    one.clear()
    one.query(SET)
    one.clear()
    one.server(messages.PARSE_COMPLETE + messages.BIND_COMPLETE + complete("BEGIN"))
    one.server(messages.CLOSE_COMPLETE * 2 + complete("SET") + status("report") + ready("T"))
    one.clear()
    forwarded(one)
    one.server(answer("a", status="T"))
    one.clear()
    one.query("ROLLBACK")
    one.clear()
    one.server(complete("ROLLBACK") + status("") + ready())
    one.clear()
    hit(one)


def test_what_is_asked_before_the_name_changes_is_not_stored_for_the_new_one(told: Engine) -> None:
    one = Player(told, 1)
    forwarded(one)
    one.query(SET)
    one.clear()
    one.server(answer("a") + complete("SET") + status("slow") + ready())
    one.clear()
    forwarded(one)
    other = Player(told, 2)
    hit(other)


def asked_again(player: Player) -> None:
    """Its read waits for the probe."""
    player.session.statements_since_probe = 1000
    player.query(READ)
    assert b"howdah probe" in player.clear()[1]
    player.probed()


def test_new_rules_have_sessions_asked_again(told: Engine) -> None:
    one, other = Player(told, 1), Player(told, 2)
    named(one, "web")
    fill(one)
    told.set_rules(rules("rules:\n  - {application_name: web, cache: off}"))
    asked_again(one)
    asked_again(other)
    answered(other)
    answered(one)
    hit(other)
    forwarded(one)
    answered(one)
    # Without such rules names make no difference, and nobody need be asked.
    told.set_rules(rules("rules:\n  - {role: nobody, cache: off}"))
    asked_again(one)
    answered(one)
    asked_again(other)
    other.expect("C< T\nC< D a\nC< C SELECT 1\nC< Z I")
    hit(one)
    told.set_rules(rules("rules: []"))
    fill(one)
    hit(other)


def test_an_audience_of_old_rules_is_none_of_new_ones() -> None:
    """Even where it had the same number, and the session has not been asked since."""
    made = engine()
    made.set_rules(rules("rules: [{application_name: report, ttl: 9s}, {cache: off}]"))
    web, report = Player(made, 1), Player(made, 2)
    named(web, "web")
    named(report, "report")
    fill(report)
    made.set_rules(rules("rules: [{application_name: web, ttl: 9s}, {cache: off}]"))
    asked_again(web)
    answered(web)
    hit(web)
    report.query(READ)
    assert report.clear()[0] == b""


def test_families_are_the_same(told: Engine) -> None:
    """What was prepared under one name is used under another."""
    one = Player(told, 1)
    parse = messages.parse(b"s", READ.encode())
    one.client(parse + messages.SYNC)
    one.server(messages.PARSE_COMPLETE + ready())
    one.clear()
    named(one, "slow")
    bind = messages.bind(b"", b"s") + messages.execute(b"") + messages.SYNC
    one.client(bind)
    one.expect("S< B  s\nS< E\nS< S")
    one.server(messages.BIND_COMPLETE + row("a") + complete("SELECT 1") + ready())
    one.clear()
    one.client(bind)
    one.expect("C< 2\nC< D a\nC< C SELECT 1\nC< Z I")
