"""Playbooks of shared fills: identical misses wait for one answer, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.cache.fences import ALL
from proxy.errors import HowdahError
from proxy.reasons import Reason
from proxy.session.engine import Engine
from proxy.wire import messages
from tests.playbook.stage import (
    Player,
    Shell,
    answer,
    complete,
    description,
    engine,
    error,
    own,
    own_request,
    ready,
    row,
    shop,
)
from tests.playbook.test_simple import READ, fill, forwarded, hit

HIT = "C< T\nC< D a\nC< C SELECT 1\nC< Z "


@pytest.fixture
def shared() -> Engine:
    """An engine that knows the plan of READ: somebody has asked it, and it was evicted."""
    made = engine()
    fill(Player(made, 99))
    made.flush()
    made.statistics.statements.clear()
    made.statistics.statements["hit", ""] = 0
    made.statistics.fills_rejected.clear()
    return made


def counted(shared: Engine) -> dict[str, int]:
    shared.statistics.time_hits(0.0)
    found = shared.statistics.statements.items()
    return {f"{outcome}/{reason}": count for (outcome, reason), count in found if count}


def waits(player: Player, text: str = READ) -> None:
    player.query(text)
    player.expect("")
    assert player.waiting


def released(player: Player) -> None:
    """It is told to look again, finds nothing, and sends its own request."""
    assert player.waiting
    player.wake()
    player.expect(f"S< Q {READ}")
    assert not player.waiting


def test_identical_misses_wait_for_one(shared: Engine) -> None:
    leader, *others = (Player(shared, number) for number in range(1, 5))
    forwarded(leader)
    for other in others:
        waits(other)
    leader.server(answer("a")[:-6])
    assert not any(other.summoned for other in others), "the answer is not complete (F5)"
    leader.server(ready())
    leader.expect(HIT + "I")
    for other in others:
        other.now += 0.02
        other.wake()
        other.expect(HIT + "I")
        hit(other)
    assert counted(shared) == {"miss/not_cached": 1, "shared/": 3, "hit/": 3}
    assert shared.statistics.seconds["shared"].total == pytest.approx(0.06)
    assert len(shared.flights) == 0


@pytest.mark.parametrize("other", [{"role": "eve"}, {"settings": "TimeZone=UTC"}])
def test_other_keys_do_not_wait(shared: Engine, other: dict[str, str]) -> None:
    """K1, K2"""
    fill(Player(shared, 8, **other))
    shared.flush()
    forwarded(Player(shared, 1))
    forwarded(Player(shared, 2, **other))
    player = Player(shared, 3)
    player.query("SELECT x FROM t WHERE id = 2")
    player.expect("S< Q SELECT x FROM t WHERE id = 2")


def fails(leader: Player) -> None:
    leader.server(error("22012") + ready())
    leader.expect("C< E 22012\nC< Z I")


def is_cancelled(leader: Player) -> None:
    leader.session.cancelled = True
    leader.server(description("x") + row("a") + error("57014") + ready())


def loses_its_server(leader: Player) -> None:
    leader.session.server_lost(leader.now)


def loses_server_midway(leader: Player) -> None:
    leader.server(description("x") + row("a"))
    leader.session.server_lost(leader.now)


def gets_a_notice(leader: Player) -> None:
    leader.server(messages.message(b"N", b"SNOTICE\0C00000\0Mx\0\0"))


def gets_too_much(leader: Player) -> None:
    leader.server(description("x") + row("a" * 200_000))


@pytest.mark.parametrize(
    "ends",
    [fails, is_cancelled, loses_its_server, loses_server_midway, gets_a_notice, gets_too_much],
)
def test_what_befalls_the_leader_is_its_own(shared: Engine, ends: Callable[[Player], None]) -> None:
    """Nobody inherits an error, a cancel or a rejected fill."""
    leader, one, two = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    forwarded(leader)
    waits(one)
    waits(two)
    ends(leader)
    if ends in (loses_its_server, loses_server_midway):
        shared.identity_seen(shared.identity)  # type: ignore[arg-type]
    released(one)
    one.server(answer("a"))
    one.expect(HIT + "I")
    two.wake()
    two.expect(HIT + "I")
    assert counted(shared)["shared/"] == 1


def test_a_lost_leader_suspends_hits(shared: Engine) -> None:
    """F8: who waited asks PostgreSQL."""
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    loses_its_server(leader)
    released(one)
    one.server(answer("a"))
    assert counted(shared)["bypass/suspended"] == 1


def test_a_leader_whose_client_is_gone_still_leads(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    leader.session.client_lost(leader.now)
    assert not one.summoned
    leader.server(answer("a"))
    one.wake()
    one.expect(HIT + "I")


def test_a_fence_ends_the_waiting_at_once(shared: Engine) -> None:
    """The leader's answer may be old: nobody waits for what cannot be stored (F5)."""
    leader, one, writer = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    forwarded(leader)
    waits(one)
    writer.query("UPDATE t SET x = 'b'")
    released(one)
    two = Player(shared, 4)
    forwarded(two)
    writer.server(complete("UPDATE 1") + ready())
    leader.server(answer("old"))
    one.server(answer("old"))
    two.server(answer("old"))
    assert counted(shared) == {"miss/not_cached": 1, "bypass/fenced": 2, "write/write": 1}
    two.clear()
    fill(two, value="b")


def test_a_fence_elsewhere_does_not(shared: Engine) -> None:
    leader, one, writer = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    forwarded(leader)
    waits(one)
    writer.query("UPDATE u SET x = 'b'")
    assert not one.summoned
    leader.server(answer("a"))
    one.wake()
    one.expect(HIT + "I")


def test_a_widened_fence_ends_it_too(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    fence = shared.board.up(((7, 7),), Reason.FENCED, "w", 0.0)
    forwarded(leader)
    waits(one)
    shared.board.widen(fence, (ALL,))
    released(one)


def test_a_fence_between_the_end_and_the_look(shared: Engine) -> None:
    """F4: what counts is the board at the look-up, not that of the leader's end."""
    leader, one, writer = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    forwarded(leader)
    waits(one)
    leader.server(answer("old"))
    assert len(shared.store) == 1
    writer.query("UPDATE t SET x = 'b'")
    released(one)


def test_an_entry_that_has_expired_meanwhile(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    leader.server(answer("old"))
    one.now += 61.0
    released(one)


def test_behind_a_doomed_fill_the_next_one_leads(shared: Engine) -> None:
    leader, writer, next_one, last = (Player(shared, number) for number in range(1, 5))
    forwarded(leader)
    writer.query("UPDATE t SET x = 'b'")
    writer.server(complete("UPDATE 1") + ready())
    forwarded(next_one)
    waits(last)
    leader.server(answer("old"))
    assert last.waiting
    assert not last.summoned
    next_one.server(answer("a"))
    last.wake()
    last.expect(HIT + "I")


def test_time_is_bounded(shared: Engine) -> None:
    """Then it asks itself, and leads those that come."""
    leader, one, two = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    forwarded(leader)
    waits(one)
    one.wake(late=True)
    one.expect(f"S< Q {READ}")
    waits(two)
    one.server(answer("a"))
    one.expect(HIT + "I")
    two.wake()
    two.expect(HIT + "I")
    leader.server(answer("a"))
    leader.expect(HIT + "I")
    one.wake(late=True)
    one.expect("")


def test_number_is_bounded() -> None:
    made = engine(shared_waiters=2)
    fill(Player(made, 99))
    made.flush()
    leader, *others = (Player(made, number) for number in range(1, 5))
    forwarded(leader)
    waits(others[0])
    waits(others[1])
    forwarded(others[2])
    assert made.flights.waiting == 2


def test_it_can_be_turned_off() -> None:
    made = engine(shared_waiters=0)
    fill(Player(made, 99))
    made.flush()
    forwarded(Player(made, 1))
    forwarded(Player(made, 2))


@pytest.mark.parametrize("ends", [gets_a_notice, gets_too_much])
def test_answers_that_cannot_be_stored_are_not_waited_for_again(
    shared: Engine, ends: Callable[[Player], None]
) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    ends(leader)
    leader.server(complete("SELECT 1") + ready())
    leader.clear()
    forwarded(leader)
    forwarded(one)


def test_a_client_that_sends_more_ends_its_waiting(shared: Engine) -> None:
    """T3: in order, and without holding anything back."""
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    one.query("SELECT x FROM u")
    one.expect(f"S< Q {READ}\nS< Q SELECT x FROM u")
    leader.server(answer("a"))
    assert not one.summoned
    one.server(answer("a") + answer("u"))
    one.expect(HIT + "I\nC< T\nC< D u\nC< C SELECT 1\nC< Z I")


def test_what_it_sends_more_is_not_answered_first(shared: Engine) -> None:
    """T3: though it is in memory."""
    leader, one = Player(shared, 1), Player(shared, 2)
    fill(leader, "SELECT x FROM u")
    forwarded(leader)
    waits(one)
    one.query("SELECT x FROM u")
    one.expect(f"S< Q {READ}\nS< Q SELECT x FROM u")


def test_a_leader_that_howdah_ends_wakes_its_waiters(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    leader.session.terminate(HowdahError("the end"), leader.now)
    leader.session.server_lost(leader.now)
    released(one)


def test_a_waiter_that_howdah_ends(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    one.session.terminate(HowdahError("the end"), one.now)
    assert not one.waiting
    assert shared.flights.waiting == 0


def test_terminate_ends_it_too(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    one.client(messages.TERMINATE)
    one.expect(f"S< Q {READ}\nS< X")


def test_a_waiter_that_is_gone_leaves_nothing(shared: Engine) -> None:
    leader, one, two = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    forwarded(leader)
    waits(one)
    waits(two)
    one.session.client_lost(one.now)
    one.expect("S< X")
    assert shared.flights.waiting == 1
    leader.server(answer("a"))
    assert not one.summoned
    two.wake()
    two.expect(HIT + "I")


def test_a_waiter_whose_server_is_gone(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    one.session.server_lost(one.now)
    one.expect("C< E 08006")
    assert not one.waiting
    assert shared.flights.waiting == 0


SELF_CANCEL = own_request("SELECT pg_catalog.pg_cancel_backend(pg_catalog.pg_backend_pid())")
STRUCK = messages.PARSE_COMPLETE + messages.BIND_COMPLETE + row("t") + error("57014")


def test_a_waiter_that_is_cancelled_fails_at_postgresql(shared: Engine) -> None:
    """It cancels itself there: with PostgreSQL's own words, and nothing left on its way."""
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    assert one.session.cancel_held(one.now)
    one.expect(f"{SELF_CANCEL}\nS< Q {READ}")
    one.server(STRUCK)
    one.expect("S< S\nC< E 57014")
    one.server(ready())
    one.expect("C< Z I")
    assert leader.session.pending, "the leader goes on"
    leader.server(answer("a"))
    hit(one)
    assert not one.session.cancel_held(one.now)
    # What was left of the statement is closed before the next one of that name.
    begin(one)
    one.query("UPDATE u SET x = 'b'")
    one.expect("S< C Showdah~own\n" + own_request("BEGIN") + "\nS< Q UPDATE u SET x = 'b'")
    one.server(messages.CLOSE_COMPLETE + own("BEGIN") + complete("UPDATE 1") + ready("T"))
    one.expect("C< C UPDATE 1\nC< Z T")


def test_a_cancelled_waiter_fails_its_transaction(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    begin(one)
    forwarded(leader)
    waits(one)
    one.session.cancel_held(one.now)
    one.expect(own_request("BEGIN") + f"\n{SELF_CANCEL}\nS< Q {READ}")
    one.server(own("BEGIN") + STRUCK)
    one.server(ready("E"))
    one.expect("S< S\nC< E 57014\nC< Z E")


def test_a_waiter_that_may_not_cancel_itself(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    one.session.cancel_held(one.now)
    one.clear()
    one.server(messages.PARSE_COMPLETE + error("42501"))
    one.server(ready())
    one.expect("S< S\nC< E 57014\nC< Z I")


def test_a_cancelled_waiter_in_the_extended_protocol(extended: Engine) -> None:
    leader, one = Player(extended, 1), Player(extended, 2)
    leader.client(WHOLE)
    leader.clear()
    one.client(WHOLE)
    assert one.waiting
    one.session.cancel_held(one.now)
    one.expect(f"{SELF_CANCEL}\n{SENT}")
    one.server(STRUCK + ready())
    one.expect("C< E 57014\nC< Z I")
    one.client(WHOLE)
    assert one.waiting


def test_draining_does_not_end_a_waiter_as_idle(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    assert one.session.idle
    waits(one)
    assert not one.session.idle


def begin(player: Player) -> None:
    player.query("BEGIN")
    player.expect("C< C BEGIN\nC< Z T")


def test_waiters_in_transactions(shared: Engine) -> None:
    """Two that could be hits: one whose BEGIN is deferred, one whose is not (T1, T2)."""
    leader, one, two = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    begin(one)
    begin(two)
    two.query("SELECT x FROM u")
    two.server(own("BEGIN") + answer("x", status="T"))
    two.clear()
    forwarded(leader)
    waits(one)
    waits(two)
    leader.server(answer("a"))
    for waiter in (one, two):
        waiter.wake()
        waiter.expect(HIT + "T")
    leader.clear()
    begun = Player(shared, 4)
    shared.flush()
    begin(begun)
    forwarded(leader)
    waits(begun)
    begun.wake(late=True)
    begun.expect(own_request("BEGIN") + f"\nS< Q {READ}")


def test_a_transaction_that_has_written_does_not_wait(shared: Engine) -> None:
    """T1"""
    leader, one = Player(shared, 1), Player(shared, 2)
    begin(one)
    one.query("UPDATE u SET x = 'b'")
    one.server(own("BEGIN") + complete("UPDATE 1") + ready("T"))
    one.clear()
    forwarded(leader)
    one.query(READ)
    one.expect(f"S< Q {READ}")


@pytest.mark.parametrize(("timeout", "idle", "may"), [("30s", 1.0, True), ("30s", 2.0, False)])
@pytest.mark.parametrize("short", [False, True])
def test_an_idle_timeout_does_not_strike_who_waits(
    shared: Engine, timeout: str, idle: float, may: bool, short: bool
) -> None:
    """T2: a touch would be needed, or the waiting alone takes too long."""
    players = [Player(shared, number, idle="1s" if short else timeout) for number in (1, 2)]
    for player in players:
        fill(player)
        shared.flush()
    leader, one = players
    forwarded(leader)
    one.now += idle
    one.query(READ)
    assert one.waiting == (may and not short)


def test_writes_never_wait(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    one.query("DELETE FROM t")
    one.expect("S< Q DELETE FROM t")


def test_the_schema_changes_while_one_waits(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    shared.install("shop", shop(fingerprint="2"))
    leader.server(answer("old"))
    assert len(shared.store) == 0
    one.wake()
    to_client, to_server = one.clear()
    assert not to_client
    assert to_server.endswith(messages.query(READ.encode()))


# The extended protocol.

PARSE = messages.parse(b"", READ.encode())
BIND = messages.bind(b"", b"")
TAIL = messages.message(b"D", b"P\0") + messages.execute(b"") + messages.SYNC
WHOLE = PARSE + BIND + TAIL
REPLY = (
    messages.PARSE_COMPLETE
    + messages.BIND_COMPLETE
    + description("x")
    + row("a")
    + complete("SELECT 1")
    + ready()
)
SHOWN = "C< 1\nC< 2\nC< T\nC< D a\nC< C SELECT 1\nC< Z I"
SENT = f"S< P : {READ}\nS< B\nS< D P\nS< E\nS< S"


@pytest.fixture
def extended(shared: Engine) -> Engine:
    one = Player(shared, 98)
    one.client(WHOLE)
    one.server(REPLY)
    shared.flush()
    return shared


def test_in_the_extended_protocol(extended: Engine) -> None:
    leader, one, simple = Player(extended, 1), Player(extended, 2), Player(extended, 3)
    leader.client(WHOLE)
    leader.expect(SENT)
    forwarded(simple)
    one.client(WHOLE)
    one.expect("")
    assert one.waiting
    leader.server(REPLY)
    one.wake()
    one.expect(SHOWN)
    # Its unnamed statement was never sent: it is when it is needed (R2).
    one.client(messages.message(b"D", b"S\0") + messages.SYNC)
    one.expect(f"S< P : {READ}\nS< D S\nS< S")


def test_a_waiter_that_forwards_sends_its_parse(extended: Engine) -> None:
    leader, one = Player(extended, 1), Player(extended, 2)
    leader.client(WHOLE)
    leader.clear()
    one.client(WHOLE)
    assert one.waiting
    assert b"" not in one.session.statements
    leader.server(error("57014") + ready())
    one.wake()
    one.expect(SENT)
    one.server(REPLY)
    one.expect(SHOWN)
    assert one.session.statements[b""].upstream


def test_a_named_parse_is_never_held(extended: Engine) -> None:
    """R2: PostgreSQL makes it, whatever others are asking."""
    leader, one = Player(extended, 1), Player(extended, 2)
    leader.client(WHOLE)
    leader.clear()
    one.client(messages.parse(b"s", READ.encode()) + messages.bind(b"", b"s") + TAIL)
    assert not one.waiting
    one.server(REPLY)
    one.clear()
    extended.flush()
    leader.server(REPLY)
    leader.client(WHOLE)
    assert not leader.waiting
    one.client(messages.bind(b"", b"s") + TAIL)
    assert one.waiting, "a named statement that is there may wait like any other"


def test_a_description_that_is_missing(extended: Engine) -> None:
    """The leader has not asked for it: the waiter asks PostgreSQL."""
    leader, one = Player(extended, 1), Player(extended, 2)
    leader.client(PARSE + BIND + messages.execute(b"") + messages.SYNC)
    leader.clear()
    one.client(WHOLE)
    assert one.waiting
    leader.server(
        messages.PARSE_COMPLETE + messages.BIND_COMPLETE + row("a") + complete("SELECT 1") + ready()
    )
    one.wake()
    one.expect(SENT)


def test_sharing_asks_nothing_of_the_shell(shared: Engine) -> None:
    leader, one = Player(shared, 1), Player(shared, 2)
    forwarded(leader)
    waits(one)
    assert isinstance(shared.shell, Shell)
    assert shared.shell.asked == []
    assert shared.board.raised is not None
    leader.server(answer("a"))
    assert shared.board.raised is None
