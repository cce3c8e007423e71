"""Playbooks of verify mode: which hits PostgreSQL is asked about, when, and what follows."""

from __future__ import annotations

import pytest

from proxy.session.engine import Engine
from proxy.session.verifying import MOST_EACH, Finding
from proxy.wire import messages
from tests.playbook.stage import (
    Player,
    Shell,
    answer,
    complete,
    description,
    engine,
    error,
    ready,
    row,
    shop,
)
from tests.playbook.test_extended import BOUND, PARSED, fill, hit

READ = "SELECT x FROM t WHERE id = 1"
GONE = messages.CLOSE_COMPLETE


def asked(text: str) -> str:
    """What a check looks like in a script."""
    return f"""S< C Showdah~check
        S< P howdah~check: {text}
        S< B howdah~check howdah~check
        S< D Phowdah~check
        S< E howdah~check
        S< C Showdah~check
        S< S"""


def told(*values: str, status: str = "I") -> bytes:
    """PostgreSQL's reply to one."""
    rows = b"".join(row(value) for value in values)
    end = complete(f"SELECT {len(values)}")
    return GONE + PARSED + BOUND + description("x") + rows + end + GONE + ready(status)


class Watched(Player):
    """A player whose shell sends checks."""

    def __init__(self, engine: Engine, number: int = 1) -> None:
        self.turns = 0
        super().__init__(engine, number)
        self.session.soon = self._soon

    def _soon(self) -> None:
        self.turns += 1

    def turn(self) -> None:
        """The next turn of the loop."""
        assert self.turns
        self.turns = 0
        self.session.check(self.now)


def watching(share: float = 1.0, *, quarantine: bool = True) -> tuple[Engine, Watched]:
    """A session with one answer in memory."""
    made = Engine(
        cache_bytes=1_000_000,
        entry_limit=100_000,
        max_age=60.0,
        shell=Shell(),
        verify=share,
        verify_quarantine=quarantine,
    )
    made.identity_seen(engine().identity)  # type: ignore[arg-type]
    made.install("shop", shop(keys={20001: (frozenset(("id",)),)}))
    player = Watched(made)
    learn(player, READ, "a")
    return made, player


def learn(player: Player, text: str, *values: str) -> None:
    """PostgreSQL answers a read, and it is stored."""
    player.query(text)
    player.server(answer(*values))
    player.clear()


def serve(player: Player, text: str, *values: str, status: str = "I") -> None:
    """A hit."""
    player.query(text)
    assert player.clear() == (answer(*values, status=status), b"")


def results(made: Engine) -> dict[str, int]:
    """What was found, without zeros."""
    return {name: number for name, number in made.statistics.verify.items() if number}


def test_a_hit_is_asked_again_behind_the_clients_back() -> None:
    made, player = watching()
    serve(player, READ, "a")
    assert player.turns == 1
    player.turn()
    player.expect(asked(READ))
    player.server(told("a"))
    player.expect("")
    assert results(made) == {"match": 1}
    assert made.verification.out == 0
    serve(player, READ, "a")


def test_in_the_extended_protocol_the_clients_own_parameters_are_sent() -> None:
    made, player = watching()
    fill(player)
    hit(player)
    player.turn()
    _, sent = player.clear()
    assert b"SELECT x FROM t WHERE id = $1\0" in sent
    assert b"\0\0\0\x011" in sent
    rows = row("a") + complete("SELECT 1")
    player.server(GONE + PARSED + BOUND + description("x") + rows + GONE + ready())
    assert player.clear() == (b"", b"")
    assert results(made) == {"match": 1}


def test_what_the_client_sends_meanwhile_is_answered_in_order() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.clear()
    serve(player, READ, "a")  # from memory it is answered at once
    player.query("SELECT x FROM u")
    player.expect("S< Q SELECT x FROM u")
    player.server(told("a") + answer("b"))
    player.expect("C< T\nC< D b\nC< C SELECT 1\nC< Z I")
    assert results(made) == {"match": 1}
    player.turn()  # the second hit
    player.expect(asked(READ))


def test_a_mistake_is_told_of_evicted_and_quarantined() -> None:
    made, player = watching()
    alarms: list[Finding] = []
    made.verification.alarm = alarms.append
    learn(player, "SELECT x FROM t WHERE id = 2", "c")
    learn(player, "SELECT x FROM u", "d")
    player.now += 3
    serve(player, READ, "a")
    player.turn()
    player.clear()
    player.server(told("b"))
    assert results(made) == {"mismatch": 1}
    (found,) = alarms
    assert found.database == "shop"
    assert found.role == "app"
    assert found.age == 3
    assert found.text == "SELECT x FROM t WHERE id = $1"
    assert found.quarantined
    assert "1 of 1 rows differ" in found.words
    assert list(made.verification.found) == alarms
    # Whatever its literals, it goes to PostgreSQL from now on, and nothing is stored.
    for number in (1, 2, 2):
        text = f"SELECT x FROM t WHERE id = {number}"
        player.query(text)
        player.expect(f"S< Q {text}")
        player.server(answer("b"))
        player.clear()
    assert made.statistics.statements["bypass", "quarantined"] == 3
    serve(player, "SELECT x FROM u", "d")
    assert made.store.evictions == {"mismatch": 2}
    assert [shape.text for shape in made.verification.quarantined] == [found.text]
    assert made.verification.reset_quarantine() == 1
    assert made.verification.quarantined == []
    learn(player, READ, "b")
    serve(player, READ, "b")


def test_a_shape_that_was_forgotten_meanwhile_is_quarantined_all_the_same() -> None:
    made, player = watching()
    made.shapes.limit = 1
    learn(player, "SELECT x FROM u", "d")  # lets the other one go
    assert made.shapes.get("shop", next(iter(made.store)).shape.id) is None  # type: ignore[union-attr]
    serve(player, READ, "a")
    player.turn()
    player.clear()
    player.server(told("b"))
    assert [shape.text for shape in made.verification.quarantined] == [
        "SELECT x FROM t WHERE id = $1"
    ]
    learn(player, READ, "b")
    assert made.statistics.statements["bypass", "quarantined"] == 1


def test_without_quarantine_only_the_answer_goes() -> None:
    made, player = watching(quarantine=False)
    learn(player, "SELECT x FROM t WHERE id = 2", "c")
    serve(player, READ, "a")
    player.turn()
    player.clear()
    player.server(told("b"))
    assert results(made) == {"mismatch": 1}
    assert made.store.evictions == {"mismatch": 1}
    serve(player, "SELECT x FROM t WHERE id = 2", "c")
    learn(player, READ, "b")
    serve(player, READ, "b")


def test_other_rules_end_a_quarantine() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.clear()
    player.server(told("b"))
    made.set_rules(made.rules)
    learn(player, READ, "b")
    serve(player, READ, "b")


def test_an_answer_on_its_way_is_not_stored_behind_a_quarantine() -> None:
    made, player = watching()
    other = Player(made, 2)
    serve(player, READ, "a")
    player.turn()
    player.clear()
    other.query("SELECT x FROM t WHERE id = 3")
    player.server(told("b"))
    other.server(answer("z"))
    assert made.statistics.fills_rejected == {"fenced": 1}


@pytest.mark.parametrize("when", ["before the check", "behind it"])
def test_a_write_in_between_makes_it_a_race(when: str) -> None:
    made, player = watching()
    writer = Player(made, 2)
    serve(player, READ, "a")
    if when == "behind it":
        player.turn()
        player.clear()
    writer.query("UPDATE t SET x = 'b'")
    if when == "before the check":
        player.turn()
        player.expect("")
    else:
        player.server(told("b"))
        player.expect("")
    assert results(made) == {"race": 1}
    writer.server(complete("UPDATE 1") + ready())
    learn(player, READ, "b")
    serve(player, READ, "b")


def test_a_write_that_has_ended_meanwhile_makes_it_a_race() -> None:
    made, player = watching()
    writer = Player(made, 2)
    serve(player, READ, "a")
    player.turn()
    writer.query("UPDATE t SET x = 'b'")
    writer.server(complete("UPDATE 1") + ready())
    player.server(told("b"))
    assert results(made) == {"race": 1}


def test_a_write_of_another_table_does_not_matter() -> None:
    made, player = watching()
    writer = Player(made, 2)
    serve(player, READ, "a")
    player.turn()
    writer.query("UPDATE u SET x = 'b'")
    player.server(told("b"))
    assert results(made) == {"mismatch": 1}


def test_the_same_rows_in_another_order() -> None:
    made, player = watching()
    cases = {
        "SELECT x FROM t": "reordered",
        "SELECT x FROM t ORDER BY id": "mismatch",  # a key decides the order
        "SELECT x FROM t ORDER BY x": "mismatch",  # it can be seen
        "SELECT x FROM t ORDER BY x || x": "reordered",
        "SELECT x FROM u ORDER BY id": "reordered",  # it has no key
    }
    for text, result in cases.items():
        learn(player, text, "a", "b")
        serve(player, text, "a", "b")
        before = results(made).get(result, 0)
        player.turn()
        player.clear()
        player.server(told("b", "a"))
        assert results(made).get(result, 0) == before + 1, text


def test_limit_may_choose_others() -> None:
    made, player = watching()
    cases = {
        "SELECT x FROM t LIMIT 2": "tolerated",
        "SELECT x FROM t LIMIT 3": "mismatch",  # these were all
        "SELECT x FROM t ORDER BY id LIMIT 2": "mismatch",
        "SELECT x FROM t ORDER BY x LIMIT 2": "mismatch",
        "SELECT x FROM u ORDER BY id LIMIT 2": "tolerated",
    }
    for text, result in cases.items():
        learn(player, text, "a", "b")
        serve(player, text, "a", "b")
        before = results(made).get(result, 0)
        player.turn()
        player.clear()
        player.server(told("a", "c"))
        assert results(made).get(result, 0) == before + 1, text


@pytest.mark.parametrize(("code", "result"), [("42501", "mismatch"), ("57014", "skipped")])
def test_an_error(code: str, result: str) -> None:
    """PostgreSQL refuses by names and rights what it would always refuse; else nothing is known."""
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.clear()
    player.server(GONE + error(code) + ready())
    # The statement may be there: PostgreSQL has skipped what was to close it.
    player.expect("""
        S< C Showdah~check
        S< S""")
    assert results(made) == {result: 1}
    player.server(GONE + ready())
    player.expect("")


def test_an_error_with_more_of_the_client_behind_it() -> None:
    """A Sync of Howdah's own could get into COPY data: the next check closes the statement."""
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.query("COPY t FROM STDIN")
    player.clear()
    player.server(GONE + error("57014") + ready())
    player.expect("")
    assert results(made) == {"race": 1}


def test_other_columns_are_a_mistake() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    rows = row("a") + complete("SELECT 1")
    player.server(GONE + PARSED + BOUND + description("y") + rows + GONE + ready())
    assert results(made) == {"mismatch": 1}


def test_in_a_transaction_that_postgresql_has_begun_there_is_no_check() -> None:
    made, player = watching()
    player.query("BEGIN")
    player.query("SELECT x FROM u")
    player.server(messages.PARSE_COMPLETE + BOUND + complete("BEGIN") + GONE + GONE)
    player.server(answer("z", status="T"))
    player.clear()
    serve(player, READ, "a", status="T")
    player.turn()
    player.expect("")
    assert results(made) == {"skipped": 1}


def test_a_begin_that_waits_does_not_keep_from_checking() -> None:
    """PostgreSQL has seen no transaction yet; the check is not part of it."""
    made, player = watching()
    player.query("BEGIN")
    player.clear()
    serve(player, READ, "a", status="T")
    player.turn()
    player.expect(asked(READ))
    player.query("SELECT x FROM u")
    player.expect(
        """S< P howdah~own: BEGIN
        S< B howdah~own howdah~own
        S< E howdah~own
        S< C Phowdah~own
        S< C Showdah~own
        S< Q SELECT x FROM u"""
    )
    player.server(told("a"))
    player.server(PARSED + BOUND + complete("BEGIN") + GONE + GONE + answer("z", status="T"))
    player.expect("C< T\nC< D z\nC< C SELECT 1\nC< Z T")
    assert results(made) == {"match": 1}


def test_a_client_that_has_something_else_to_do_is_not_checked() -> None:
    made, player = watching()
    player.query(READ)
    player.query("SELECT x FROM u")
    player.clear()
    player.turn()
    player.expect("")
    assert results(made) == {"skipped": 1}


def test_checks_do_not_pile_up() -> None:
    made, player = watching()
    for _ in range(MOST_EACH + 2):
        serve(player, READ, "a")
    player.turn()
    assert results(made) == {"skipped": 2}
    assert made.verification.out == MOST_EACH
    player.clear()
    serve(player, READ, "a")
    player.turn()
    assert results(made) == {"skipped": 3}
    player.clear()
    player.server(told("a") * MOST_EACH)
    assert results(made) == {"skipped": 3, "match": MOST_EACH}


def test_a_lost_connection_gives_its_checks_up() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.session.server_lost(player.now)
    assert results(made) == {"skipped": 1}
    assert made.verification.out == 0


def test_a_client_that_leaves_gives_its_checks_up() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.client(messages.TERMINATE)
    player.clear()
    player.turn()
    player.expect("")
    assert results(made) == {"skipped": 1}


def test_a_change_of_settings_behind_the_check_makes_no_difference() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.query("SET DateStyle = 'German'")
    player.server(told("a"))
    player.server(complete("SET") + ready())
    assert results(made) == {"match": 1}


def test_a_setting_that_nobody_announced_makes_it_a_race() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.server(messages.message(b"S", b"DateStyle\0German\0") + told("b"))
    assert results(made) == {"race": 1}


def test_a_cancel_that_strikes_a_check_was_meant_for_what_waits_behind_it() -> None:
    made, player = watching()
    serve(player, READ, "a")
    player.turn()
    player.query("SELECT x FROM u")
    player.session.cancelled = True
    player.clear()
    player.server(GONE + error("57014") + ready())
    assert isinstance(made.shell, Shell)
    assert made.shell.asked.count("cancel") == 1
    assert results(made) == {"skipped": 1}


def test_a_share_is_kept_exactly_and_falls_on_all_alike() -> None:
    made, player = watching(0.25)
    learn(player, "SELECT x FROM u", "b")
    checks: dict[str, int] = {READ: 0, "SELECT x FROM u": 0}
    for _ in range(400):
        for text in checks:
            player.query(text)
            if player.turns:
                checks[text] += 1
                player.turn()
                player.clear()
                player.server(told("a" if text == READ else "b"))
            player.clear()
    assert 195 <= sum(checks.values()) <= 205
    assert all(90 <= number <= 110 for number in checks.values())
    assert results(made) == {"match": sum(checks.values())}


def test_a_hint_has_its_own_share() -> None:
    made, player = watching(0.0)
    assert not made.verification.active
    serve(player, READ, "a")
    assert player.turns == 0
    text = "/* howdah: verify=100% */ SELECT x FROM t WHERE id = 5"
    learn(player, text, "q")
    serve(player, READ, "a")
    assert player.turns == 0
    serve(player, text, "q")
    player.turn()
    player.server(told("q"))
    assert results(made) == {"match": 1}


def test_off_means_off() -> None:
    made, player = watching(0.0)
    for _ in range(3):
        serve(player, READ, "a")
    assert player.turns == 0
    assert results(made) == {}
    assert made.store.get(next(iter(made.store)).key) is not None
    assert next(iter(made.store)).stamp == made.board.stamp
