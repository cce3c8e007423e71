"""Playbooks of what goes on behind the client's back: statements, limits, and reads asked again."""

from __future__ import annotations

import pytest

from proxy.session.engine import Engine
from proxy.wire import messages
from tests.playbook.stage import (
    Player,
    Shell,
    complete,
    description,
    engine,
    error,
    own,
    ready,
    row,
    shop,
)
from tests.playbook.test_extended import (
    BOUND,
    EXECUTE,
    FLUSH,
    PARSED,
    READ,
    ROWS,
    bind,
    fill,
    hit,
)

DESCRIBE = messages.message(b"D", b"Ss\0")
PARSE = messages.parse(b"s", READ)
PREPARE = PARSE + DESCRIBE
TOLD = messages.message(b"t", bytes(2)) + description("x")
OTHERWISE = messages.message(b"t", bytes(2)) + description("y")
SUSPENDED = messages.message(b"s")
ONE = messages.message(b"E", b"\0\0\0\0\x01")
ONE_ROW = bind(b"1", b"s") + ONE + messages.SYNC
RUN = bind(b"1", b"s") + EXECUTE + messages.SYNC
MISS = bind(b"2", b"s") + EXECUTE + messages.SYNC


@pytest.fixture
def shared() -> Engine:
    """An engine that knows the description of the statement, and one answer."""
    known = engine()
    teacher = Player(known, 9)
    fill(teacher, PREPARE + messages.SYNC, PARSED + TOLD + ready())
    fill(teacher, RUN, BOUND + ROWS + ready())
    return known


def prepare(player: Player, end: bytes = FLUSH, status: str = "") -> None:
    """The client is told at once, PostgreSQL meanwhile."""
    player.client(PREPARE + end)
    told = ready(status) if status else b""
    assert player.clear() == (PARSED + TOLD + told, PREPARE + messages.SYNC)


def confirm(player: Player, answer: bytes = PARSED + TOLD) -> bytes:
    """PostgreSQL answers the Parse; what goes to it then."""
    player.server(answer + ready())
    to_client, to_server = player.clear()
    assert to_client == b""
    return to_server


def shell_of(shared: Engine) -> Shell:
    assert isinstance(shared.shell, Shell)
    return shared.shell


@pytest.mark.parametrize(("end", "status"), [(FLUSH, ""), (messages.SYNC, "I")])
def test_a_known_statement_is_described_at_once(shared: Engine, end: bytes, status: str) -> None:
    player = Player(shared)
    prepare(player, end, status)
    hit(player, RUN, BOUND + ROWS + ready())
    assert confirm(player) == b""
    fill(player, MISS, BOUND + ROWS + ready())


def test_an_unnamed_one_is_not_even_sent(shared: Engine) -> None:
    player = Player(shared)
    again = messages.parse(b"", READ) + messages.message(b"D", b"S\0")
    player.client(again + messages.SYNC)
    assert player.clear() == (PARSED + TOLD + ready(), b"")
    player.client(bind(b"2") + EXECUTE + messages.SYNC)
    sent = messages.parse(b"", READ) + bind(b"2") + EXECUTE + messages.SYNC
    assert player.clear() == (b"", sent)


def test_what_needs_postgresql_waits_for_its_answer(shared: Engine) -> None:
    """K1: planned after a change of the schema it would answer in another form."""
    player = Player(shared)
    prepare(player)
    player.client(MISS[:9])
    player.client(MISS[9:] + messages.query(b"SELECT 1"))
    assert player.clear() == (b"", b"")
    player.client(RUN)
    assert player.clear() == (b"", b"")
    assert confirm(player) == MISS + messages.query(b"SELECT 1") + RUN


def test_a_deferred_begin_stays_deferred(shared: Engine) -> None:
    """T2"""
    player = Player(shared)
    player.query("BEGIN")
    player.clear()
    prepare(player)
    assert confirm(player) == b""
    hit(player, RUN, BOUND + ROWS + ready("T"))
    player.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    player.expect(
        """
        S< P howdah~own: BEGIN
        S< B howdah~own howdah~own
        S< E howdah~own
        S< C Phowdah~own
        S< C Showdah~own
        S< P howdah~own: SELECT 1
        S< B howdah~own howdah~own
        S< E howdah~own
        S< C Phowdah~own
        S< C Showdah~own
        S< Q SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
        """
    )


def test_inside_of_a_transaction_postgresql_prepares(shared: Engine) -> None:
    """An error would be the transaction's."""
    player = Player(shared)
    player.query("BEGIN")
    player.query("SAVEPOINT a")
    player.server(own("BEGIN") + complete("SAVEPOINT") + ready("T"))
    player.clear()
    player.client(PREPARE + FLUSH)
    assert player.clear() == (b"", PREPARE + FLUSH)


def test_a_name_that_is_taken_is_refused_by_postgresql(shared: Engine) -> None:
    player = Player(shared)
    prepare(player)
    confirm(player)
    player.client(PREPARE + messages.SYNC)
    assert player.clear() == (b"", PREPARE + messages.SYNC)
    player.server(error("42P05") + ready())
    player.clear()
    hit(player, RUN, BOUND + ROWS + ready())


@pytest.mark.parametrize("how", ["close", "query"])
def test_a_name_that_may_not_be_free_is_sent(shared: Engine, how: str) -> None:
    """What was skipped has closed nothing."""
    player = Player(shared)
    prepare(player)
    confirm(player)
    if how == "close":
        player.client(MISS[:-5] + messages.close(b"S", b"s") + messages.SYNC)
    else:
        player.query("DEALLOCATE s")
    player.server(error("22P02") + ready())
    player.clear()
    player.client(PREPARE + messages.SYNC)
    assert player.clear()[0] == b""


def test_what_postgresql_refused_is_prepared_again(shared: Engine) -> None:
    """R2: the client is told PostgreSQL's own error."""
    player = Player(shared)
    prepare(player)
    confirm(player, error("57014"))
    hit(player, RUN, BOUND + ROWS + ready())
    again = messages.close(b"S", b"s") + PARSE
    player.client(MISS)
    assert player.clear() == (b"", again + MISS)
    player.server(messages.CLOSE_COMPLETE + error("42P01") + ready())
    player.expect("C< E 42P01\nC< Z I")
    player.client(MISS)
    assert player.clear() == (b"", again + MISS)
    player.server(messages.CLOSE_COMPLETE + PARSED + BOUND + ROWS + ready())
    assert player.clear() == (BOUND + ROWS + ready(), b"")
    fill(player, bind(b"3", b"s") + EXECUTE + messages.SYNC, BOUND + ROWS + ready())


def test_what_is_described_otherwise_is_refused(shared: Engine) -> None:
    """A change of the schema was in between: its rows would be of another form."""
    player = Player(shared)
    prepare(player)
    confirm(player, PARSED + OTHERWISE)
    player.client(MISS)
    refusing = messages.bind(b"howdah~nothing", b"howdah~nothing")
    assert player.clear() == (b"", refusing + MISS)
    player.server(error("26000") + ready())
    player.expect("C< E 0A000\nC< Z I")
    # Prepared anew it is what it is.
    player.client(messages.close(b"S", b"s") + PREPARE + messages.SYNC)
    player.server(messages.CLOSE_COMPLETE + PARSED + OTHERWISE + ready())
    player.clear()
    fill(player, MISS, BOUND + ROWS + ready())


def test_a_cancel_strikes_what_waits(shared: Engine) -> None:
    player = Player(shared)
    prepare(player)
    player.client(MISS)
    player.session.cancelled = True
    sent = confirm(player, error("57014"))
    assert b"pg_cancel_backend" in sent
    assert sent.endswith(messages.close(b"S", b"s") + PARSE + MISS)
    assert not shell_of(shared).asked.count("cancel")
    player.server(PARSED + BOUND + error("57014") + ready())
    player.expect("C< E 57014\nC< Z I")
    player.client(MISS)
    assert b"pg_cancel_backend" not in player.clear()[1]


def test_a_cancel_of_nothing_strikes_nothing(shared: Engine) -> None:
    player = Player(shared)
    prepare(player)
    player.session.cancelled = True
    assert confirm(player, error("57014")) == b""
    assert not shell_of(shared).asked.count("cancel")
    assert not player.session.cancelled


def test_a_client_that_leaves_is_not_forgotten(shared: Engine) -> None:
    """What it has sent before is done, as PostgreSQL would."""
    player = Player(shared)
    prepare(player)
    player.client(messages.query(b"UPDATE u SET x = 'b'"))
    assert player.clear() == (b"", b"")
    player.session.client_lost(player.now)
    _, to_server = player.clear()
    assert messages.query(b"UPDATE u SET x = 'b'") in to_server
    assert shared.board.fences


def test_long_input_does_not_wait(shared: Engine) -> None:
    player = Player(shared)
    prepare(player)
    long = messages.query(b"SELECT '" + bytes(100_000).replace(b"\0", b"x") + b"'")
    player.client(long)
    assert player.clear() == (b"", long)


def test_descriptions_belong_to_a_schema(shared: Engine) -> None:
    """K1"""
    shared.install("shop", shop(fingerprint="2"))
    player = Player(shared)
    player.client(PREPARE + FLUSH)
    assert player.clear() == (b"", PREPARE + FLUSH)


def test_descriptions_belong_to_settings(shared: Engine) -> None:
    player = Player(shared, settings="German")
    player.client(PREPARE + FLUSH)
    assert player.clear() == (b"", PREPARE + FLUSH)


def test_nothing_is_described_under_a_fence_of_ddl(shared: Engine) -> None:
    """F12"""
    writer, player = Player(shared, 1), Player(shared, 2)
    writer.query("CREATE TABLE another (id int)")
    player.client(PREPARE + FLUSH)
    assert player.clear() == (b"", PREPARE + FLUSH)
    player.server(PARSED + OTHERWISE)
    writer.server(complete("CREATE TABLE") + ready())
    shell_of(shared).finish()
    third = Player(shared, 3)
    prepare(third)


def test_an_error_teaches_nothing() -> None:
    shared = engine()
    player = Player(shared)
    player.client(PREPARE + messages.SYNC)
    player.server(error("42P01") + ready())
    assert len(shared.descriptions) == 0


# Limits of rows


def test_a_further_execute_shows_whether_it_was_all(shared: Engine) -> None:
    """F5: its answer is not seen."""
    player = Player(shared)
    prepare(player)
    confirm(player)
    player.client(bind(b"3", b"s") + ONE + messages.SYNC)
    assert player.clear() == (b"", bind(b"3", b"s") + ONE + ONE + messages.SYNC)
    player.server(BOUND + row("a") + SUSPENDED)
    assert player.clear() == (BOUND + row("a") + SUSPENDED, b"")
    player.server(messages.message(b"S", b"application_name\0a\0") + complete("SELECT 0"))
    assert player.clear() == (messages.message(b"S", b"application_name\0a\0"), b"")
    player.server(ready())
    assert player.clear() == (ready(), b"")
    again = bind(b"3", b"s")
    hit(player, again + ONE + messages.SYNC, BOUND + row("a") + SUSPENDED + ready())
    whole = BOUND + row("a") + complete("SELECT 1") + ready()
    hit(player, again + EXECUTE + messages.SYNC, whole)


NOTICE = messages.message(b"N", b"SNOTICE\0VNOTICE\0C00000\0Mnote\0\0")
GOING = messages.message(b"N", b"SWARNING\0VWARNING\0C57P02\0Mcrash\0\0")


@pytest.mark.parametrize(
    ("more", "seen"),
    [
        (row("b") + SUSPENDED, b""),
        (error("22012"), b""),
        (NOTICE + complete("SELECT 0"), b""),
        (error("57P01", "FATAL"), error("57P01", "FATAL")),
        (GOING, GOING),
    ],
)
def test_what_comes_behind_a_limit_is_not_seen(shared: Engine, more: bytes, seen: bytes) -> None:
    player = Player(shared)
    data = messages.parse(b"", READ) + bind(b"5") + ONE
    reply = PARSED + BOUND + row("a") + SUSPENDED
    player.client(data + messages.SYNC)
    assert player.clear() == (b"", data + ONE + messages.SYNC)
    answer = reply + more + ready()
    for at in range(0, len(answer), 7):
        player.server(answer[at : at + 7])
    assert player.clear() == (reply + seen + ready(), b"")
    entries = len(shared.store)
    assert entries == 1
    assert sum(shared.statistics.fills_rejected.values()) == 1


def test_an_error_of_the_clients_own_execute_is_seen(shared: Engine) -> None:
    player = Player(shared)
    player.client(messages.parse(b"", READ) + bind(b"5") + ONE + messages.SYNC)
    player.clear()
    player.server(PARSED + BOUND + error("22012") + ready())
    player.expect("C< 1\nC< 2\nC< E 22012\nC< Z I")


def test_a_waiter_gets_its_own_number_of_rows(shared: Engine) -> None:
    """One fill for all limits."""
    one, two = Player(shared, 1), Player(shared, 2)
    one.client(messages.parse(b"", READ) + bind(b"6") + ONE + messages.SYNC)
    one.clear()
    two.client(messages.parse(b"", READ) + bind(b"6") + EXECUTE + messages.SYNC)
    assert two.waiting
    one.server(PARSED + BOUND + row("a") + SUSPENDED + complete("SELECT 0") + ready())
    two.wake()
    assert two.clear() == (PARSED + BOUND + ROWS + ready(), b"")


# Reads that are asked again


def missed_in_a_block(player: Player) -> bytes:
    """A limited read inside a transaction; what goes to PostgreSQL behind its end."""
    data = messages.parse(b"", READ) + bind(b"7") + ONE + messages.SYNC
    player.query("BEGIN")
    player.client(data)
    assert player.clear()[1].endswith(data)
    player.server(own("BEGIN") + PARSED + BOUND + row("a") + SUSPENDED + ready("T"))
    player.query("COMMIT")
    player.clear()
    player.server(complete("COMMIT") + ready())
    return player.clear()[1]


AGAIN = (
    messages.CLOSE_COMPLETE
    + PARSED
    + BOUND
    + description("x")
    + ROWS
    + messages.CLOSE_COMPLETE
    + ready()
)


def test_a_read_that_is_missed_again_is_asked_behind_the_transaction(shared: Engine) -> None:
    player = Player(shared)
    assert missed_in_a_block(player) == b""
    sent = missed_in_a_block(player)
    assert messages.parse(b"howdah~again", READ) in sent
    hit(
        player,
        messages.parse(b"", READ) + bind(b"1") + EXECUTE + messages.SYNC,
        PARSED + BOUND + ROWS + ready(),
    )
    player.server(AGAIN)
    assert player.clear() == (b"", b"")
    player.query("BEGIN")
    player.clear()
    data = messages.parse(b"", READ) + bind(b"7")
    reply = PARSED + BOUND + row("a") + SUSPENDED + ready("T")
    hit(player, data + ONE + messages.SYNC, reply)
    player.query("COMMIT")
    player.expect("C< C COMMIT\nC< Z I")


@pytest.mark.parametrize("answer", [row("a") + row("b") + SUSPENDED, row("a") + error("22012")])
def test_one_that_fails_or_is_longer_is_not_stored(shared: Engine, answer: bytes) -> None:
    player = Player(shared)
    missed_in_a_block(player)
    assert missed_in_a_block(player)
    entries = len(shared.store)
    closed = messages.CLOSE_COMPLETE
    player.server(closed + PARSED + BOUND + description("x") + answer + closed + ready())
    assert player.clear() == (b"", b"")
    assert len(shared.store) == entries
    assert missed_in_a_block(player) == b""


def test_behind_one_that_is_asked_again_things_go_on(shared: Engine) -> None:
    player = Player(shared)
    missed_in_a_block(player)
    assert missed_in_a_block(player)
    player.query("BEGIN")
    player.query("SELECT x FROM u")
    _, to_server = player.clear()
    assert to_server.endswith(messages.query(b"SELECT x FROM u"))
    player.server(AGAIN)
    assert player.clear() == (b"", b"")
    player.server(own("BEGIN") + description("x") + complete("SELECT 0") + ready("T"))
    player.expect("C< T\nC< C SELECT 0\nC< Z T")


def test_what_the_client_sets_behind_it_does_not_matter(shared: Engine) -> None:
    """asyncpg's pool resets a connection right behind its transaction."""
    player = Player(shared)
    missed_in_a_block(player)
    assert missed_in_a_block(player)
    entries = len(shared.store)
    player.query("RESET ALL")
    player.server(AGAIN)
    player.server(complete("RESET") + ready())
    assert len(shared.store) == entries + 1


def test_a_reload_in_front_of_its_answer_rejects_it(shared: Engine) -> None:
    player = Player(shared)
    missed_in_a_block(player)
    assert missed_in_a_block(player)
    entries = len(shared.store)
    player.query("RESET ALL")
    player.server(messages.message(b"S", b"DateStyle\0German\0"))
    player.server(AGAIN)
    player.server(complete("RESET") + ready())
    assert len(shared.store) == entries


# Statements that nobody has described yet


def prepared_with_flush(player: Player) -> None:
    """As asyncpg does it: Parse, Describe, Flush; then the answer is awaited."""
    player.client(
        messages.parse(b"s", READ) + messages.message(b"D", b"Ss\0") + messages.message(b"H")
    )
    player.server(PARSED + messages.message(b"t", bytes(2)) + description("x"))
    player.clear()


def test_a_statement_prepared_with_flush_fills_and_hits() -> None:
    shared = engine()
    execution = bind(b"1", b"s") + EXECUTE + messages.SYNC
    one, two = Player(shared, 1), Player(shared, 2)
    prepared_with_flush(one)
    fill(one, execution, BOUND + ROWS + ready())
    # Another text: the description of this one is known.
    text = READ + b" "
    two.client(messages.parse(b"s", text) + messages.message(b"D", b"Ss\0") + FLUSH)
    two.server(PARSED + messages.message(b"t", bytes(2)) + description("x"))
    two.clear()
    fill(two, execution, BOUND + ROWS + ready())
    three = Player(shared, 3)
    three.client(messages.parse(b"s", text) + FLUSH)
    three.server(PARSED)
    three.clear()
    three.client(execution)
    assert three.clear() == (BOUND + ROWS + ready(), messages.SYNC)
    three.server(ready())
    assert three.clear() == (b"", b"")
    hit(three, execution, BOUND + ROWS + ready())


def test_a_bind_before_flush_hits_nothing() -> None:
    """F5"""
    shared = engine()
    execution = bind(b"1", b"s") + EXECUTE + messages.SYNC
    one, two = Player(shared, 1), Player(shared, 2)
    prepared_with_flush(one)
    fill(one, execution, BOUND + ROWS + ready())
    two.client(messages.parse(b"s", READ) + bind(b"2", b"s") + messages.message(b"H"))
    two.server(PARSED + BOUND)
    two.clear()
    two.client(execution)
    assert two.clear() == (b"", execution)
