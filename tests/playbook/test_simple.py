"""Playbooks in the simple protocol: hits, fills, fences, transactions."""

from __future__ import annotations

import pytest

from proxy.session.core import Session
from proxy.session.engine import Engine
from proxy.wire.startup import StartupPacket
from tests.playbook.stage import (
    OID,
    Player,
    Shell,
    answer,
    complete,
    engine,
    error,
    own,
    own_request,
    ready,
    row,
    shop,
)

READ = "SELECT x FROM t WHERE id = 1"


@pytest.fixture
def shared() -> Engine:
    return engine()


def fill(player: Player, text: str = READ, value: str = "a") -> None:
    """Ask once and let PostgreSQL answer."""
    player.query(text)
    player.expect(f"S< Q {text}")
    status = "T" if player.session.block else "I"
    player.server(answer(value, status=status))
    player.expect(f"C< T\nC< D {value}\nC< C SELECT 1\nC< Z {status}")


def hit(player: Player, text: str = READ, value: str = "a", status: str = "I") -> None:
    player.query(text)
    player.expect(f"C< T\nC< D {value}\nC< C SELECT 1\nC< Z {status}")


def forwarded(player: Player, text: str = READ) -> None:
    player.query(text)
    player.expect(f"S< Q {text}")


def test_miss_then_hit_for_every_session_of_the_context(shared: Engine) -> None:
    one, two = Player(shared, 1), Player(shared, 2)
    fill(one)
    hit(one)
    hit(two)
    shared.statistics.time_hits(0.0)
    assert shared.statistics.statements["hit", ""] == 2
    assert shared.statistics.statements["miss", "not_cached"] == 1


@pytest.mark.parametrize("other", [{"role": "eve"}, {"settings": "TimeZone=UTC"}])
def test_other_roles_and_settings_have_their_own_answers(
    shared: Engine, other: dict[str, str]
) -> None:
    """K1, K2"""
    fill(Player(shared, 1))
    forwarded(Player(shared, 2, **other))


def test_fence_stands_before_the_write_leaves_and_falls_after_ready(shared: Engine) -> None:
    """F1, F2, F3: CommandComplete proves nothing."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("UPDATE t SET x = 'b'")
    assert len(shared.board.fences) == 1
    forwarded(reader)
    reader.server(answer("a"))
    reader.clear()
    writer.server(complete("UPDATE 1"))
    assert len(shared.board.fences) == 1
    writer.server(ready())
    assert not shared.board.fences
    assert len(shared.store) == 0
    fill(reader, value="b")


def test_a_write_to_another_table_evicts_nothing(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("UPDATE u SET x = 'b'")
    hit(reader)
    writer.server(complete("UPDATE 1") + ready())
    hit(reader)


def test_a_refused_write_evicts_nothing(shared: Engine) -> None:
    """F3: a known abort."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("INSERT INTO t VALUES (1)")
    writer.server(error("23505") + ready())
    hit(reader)


def test_an_opaque_failure_evicts(shared: Engine) -> None:
    """F3: DO commits inside, then fails."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("DO $$ begin execute 'create table z()'; end $$")
    writer.server(error("P0001") + ready())
    assert shared.board.fences, "the catalog may have changed: it is read first (F12)"
    shell = shared.shell
    assert isinstance(shell, Shell)
    shell.finish()
    assert not shared.board.fences
    assert len(shared.store) == 0


def test_slow_fill_against_commit(shared: Engine) -> None:
    """F5: the answer reaches its client, and nobody else."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    forwarded(reader)
    writer.query("UPDATE t SET x = 'b'")
    writer.server(complete("UPDATE 1") + ready())
    reader.server(answer("a"))
    reader.expect("C< T\nC< D a\nC< C SELECT 1\nC< Z I")
    assert len(shared.store) == 0
    assert shared.statistics.fills_rejected == {"fenced": 1}


def test_explicit_transaction_fences_at_commit(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("BEGIN")
    writer.expect("C< C BEGIN\nC< Z T")
    writer.query("UPDATE t SET x = 'b'")
    writer.expect(own_request("BEGIN") + "\nS< Q UPDATE t SET x = 'b'")
    writer.server(own("BEGIN"))
    writer.server(complete("UPDATE 1") + ready("T"))
    writer.expect("C< C UPDATE 1\nC< Z T")
    assert not shared.board.fences, "nothing can be committed yet"
    hit(reader)
    forwarded(writer)  # its own change must be seen (T1)
    writer.server(answer("b", status="T"))
    writer.clear()
    assert len(shared.store) == 1, "what a writing transaction reads is not stored (F5)"
    writer.query("COMMIT")
    assert shared.board.fences
    writer.server(complete("COMMIT") + ready())
    assert not shared.board.fences
    forwarded(reader)


@pytest.mark.parametrize("end", ["ROLLBACK", "COMMIT"])
def test_rollback_evicts_nothing(shared: Engine, end: str) -> None:
    """COMMIT of a failed transaction says ROLLBACK."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("BEGIN")
    writer.query("UPDATE t SET x = 'b'")
    writer.server(own("BEGIN"))
    writer.server(complete("UPDATE 1") + ready("T"))
    writer.query(end)
    writer.server(complete("ROLLBACK") + ready())
    hit(reader)


def test_savepoints_do_not_shrink_the_closure(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("BEGIN")
    for text, tag in (
        ("SAVEPOINT a", "SAVEPOINT"),
        ("UPDATE t SET x = 'b'", "UPDATE 1"),
        ("ROLLBACK TO a", "ROLLBACK"),
    ):
        writer.query(text)
        prefix = b""
        if writer.session.pending[0].prefix:
            prefix = own("BEGIN")
        writer.server(prefix + complete(tag) + ready("T"))
    writer.clear()
    forwarded(writer)
    writer.server(answer("a", status="T"))
    writer.query("COMMIT")
    writer.server(complete("COMMIT") + ready())
    assert len(shared.store) == 0


def test_insert_then_begin_in_one_query(shared: Engine) -> None:
    """F1: the closure survives the 'T', and COMMIT fences it."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    writer.query("INSERT INTO t VALUES (1); BEGIN")
    writer.server(complete("INSERT 0 1") + complete("BEGIN") + ready("T"))
    fill(reader)
    writer.query("COMMIT")
    assert shared.board.fences
    writer.server(complete("COMMIT") + ready())
    forwarded(reader)


def test_commit_and_chain_keeps_fencing(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    writer.query("BEGIN")
    writer.query("UPDATE t SET x = 'b'")
    writer.server(own("BEGIN"))
    writer.server(complete("UPDATE 1") + ready("T"))
    fill(reader)
    writer.query("COMMIT AND CHAIN")
    assert shared.board.fences
    writer.server(complete("COMMIT") + ready("T"))
    assert not shared.board.fences
    fill(reader)
    writer.clear()
    writer.query("UPDATE u SET x = 'b'")
    writer.server(complete("UPDATE 1") + ready("T"))
    writer.query("COMMIT")
    writer.server(complete("COMMIT") + ready())


def test_a_transaction_of_hits_never_reaches_postgresql(shared: Engine) -> None:
    """T2"""
    player = Player(shared)
    fill(player)
    player.query("BEGIN")
    player.expect("C< C BEGIN\nC< Z T")
    hit(player, status="T")
    player.query("COMMIT")
    player.expect("C< C COMMIT\nC< Z I")
    player.query("START TRANSACTION READ ONLY")
    player.expect("C< C START TRANSACTION\nC< Z T")
    player.query("ROLLBACK")
    player.expect("C< C ROLLBACK\nC< Z I")


def test_set_transaction_after_a_hit_fails_as_it_would(shared: Engine) -> None:
    """T2: PostgreSQL must have run a query first."""
    player = Player(shared)
    fill(player)
    player.query("BEGIN")
    hit_and_clear(player)
    player.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    player.expect(
        f"""
        {own_request("BEGIN")}
        {own_request("SELECT 1")}
        S< Q SET TRANSACTION ISOLATION LEVEL SERIALIZABLE
        """
    )
    player.server(own("BEGIN") + own("SELECT 1", row("1")))
    player.server(error("25001") + ready("E"))
    player.expect("C< E 25001\nC< Z E")
    forwarded(player)


def hit_and_clear(player: Player) -> None:
    player.query(READ)
    to_client, to_server = player.clear()
    assert to_client
    assert not to_server


def test_failed_transaction_gets_no_hits(shared: Engine) -> None:
    """T2: 25P02 comes from PostgreSQL."""
    player = Player(shared)
    fill(player)
    player.query("BEGIN")
    player.clear()
    player.query("SELECT x FROM u")
    player.server(own("BEGIN"))
    player.server(error("22012") + ready("E"))
    player.clear()
    forwarded(player)
    player.server(error("25P02") + ready("E"))
    player.expect("C< E 25P02\nC< Z E")
    assert shared.statistics.statements["bypass", "transaction_failed"] == 1


def test_a_begin_that_fails_runs_nothing_outside_of_it(shared: Engine) -> None:
    """T2: the Query behind it is skipped by PostgreSQL up to the Sync that is sent then."""
    player = Player(shared)
    player.query("BEGIN")
    player.query("UPDATE t SET x = 'b'")
    player.clear()
    player.server(error("57014"))
    player.expect("S< S\nC< E 57014")
    player.server(ready())
    player.expect("C< Z I")


@pytest.mark.parametrize(
    "text", ["BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN ISOLATION LEVEL REPEATABLE READ"]
)
def test_other_isolation_levels_are_forwarded_whole(shared: Engine, text: str) -> None:
    """T1, FIELD: characteristics intact."""
    player = Player(shared)
    fill(player)
    forwarded(player, text)
    player.server(complete("BEGIN") + ready("T"))
    player.clear()
    forwarded(player)
    player.server(answer("old", status="T"))
    player.clear()
    player.query("COMMIT")
    player.server(complete("COMMIT") + ready())
    player.clear()
    hit(player)


def test_set_is_learned_and_a_refused_one_changes_nothing(shared: Engine) -> None:
    """K3"""
    one = Player(shared, 1)
    fill(one)
    forwarded(one, "SET TimeZone = 'nowhere'")
    one.server(error("22023") + ready())
    one.clear()
    hit(one)
    forwarded(one, "SET TimeZone = 'UTC'")
    one.server(complete("SET") + ready())
    one.clear()
    one.query(READ)
    one.expect(
        """
        S< P probe
        S< B howdah probe howdah probe
        S< E howdah probe
        S< C Phowdah probe
        S< C Showdah probe
        S< S
        """
    )
    one.settings = "UTC"
    one.probed()
    one.expect(f"S< Q {READ}")
    one.server(answer("u"))
    one.clear()
    hit(one, value="u")
    two = Player(shared, 2)
    hit(two)
    forwarded(two, "SET TimeZone = 'UTC'")
    two.server(complete("SET") + ready())
    two.clear()
    hit(two, value="u")  # known by now, without a probe


def test_expired_entries_are_not_served(shared: Engine) -> None:
    player = Player(shared)
    fill(player)
    player.now += 59.9
    hit(player)
    player.now += 0.2
    fill(player, value="new")
    assert shared.statistics.statements["miss", "expired"] == 1


def test_pipelined_requests_are_forwarded_in_order(shared: Engine) -> None:
    """T3"""
    player = Player(shared)
    fill(player)
    player.query("SELECT x FROM u")
    player.query(READ)
    player.expect(f"S< Q SELECT x FROM u\nS< Q {READ}")
    player.server(answer("1") + answer("a"))
    player.expect("C< T\nC< D 1\nC< C SELECT 1\nC< Z I\nC< T\nC< D a\nC< C SELECT 1\nC< Z I")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_any_split_gives_the_same(shared: Engine, size: int) -> None:
    """R1"""
    player = Player(shared)
    text = f"Q\0\0\0{chr(len(READ) + 5)}{READ}\0".encode()
    for start in range(0, len(text), size):
        player.client(text[start : start + size])
    player.expect(f"S< Q {READ}")
    reply = answer("a", "b" * 300)
    for start in range(0, len(reply), size):
        player.server(reply[start : start + size])
    assert b"".join(player.session.to_client) == reply
    player.clear()
    for start in range(0, len(text), size):
        player.client(text[start : start + size])
    assert b"".join(player.session.to_client) == reply


def test_lost_upstream_keeps_the_fence_until_proof(shared: Engine) -> None:
    """F2, F8"""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("UPDATE t SET x = 'b'")
    writer.clear()
    writer.session.server_lost(writer.now)
    writer.expect("C< E 08006")
    shell = shared.shell
    assert isinstance(shell, Shell)
    assert shell.asked[-2:] == [f"prove {writer.pid}", "verify"]
    shared.identity_seen(("7000000000000000001", "1", "1700000000.000000"))
    forwarded(reader)
    reader.server(answer("?"))
    reader.clear()
    assert len(shared.store) == 1
    shell.finish()
    assert not shared.board.fences
    assert len(shared.store) == 0


def test_lost_upstream_suspends_hits_until_the_server_is_known(shared: Engine) -> None:
    """F8"""
    one, two = Player(shared, 1), Player(shared, 2)
    fill(two)
    one.session.server_lost(one.now)
    forwarded(two)
    two.server(answer("a"))
    two.clear()
    assert shared.statistics.statements["bypass", "suspended"] == 1
    shared.identity_seen(("7000000000000000001", "1", "1700000000.000000"))
    hit(two)
    shared.identity_seen(("7000000000000000001", "2", "1700000000.000000"))
    assert len(shared.store) == 0


def test_ddl_comes_down_with_the_new_catalog(shared: Engine) -> None:
    """F12"""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("ALTER TABLE t ADD COLUMN y int")
    writer.server(complete("ALTER TABLE") + ready())
    writer.expect("S< Q ALTER TABLE t ADD COLUMN y int\nC< C ALTER TABLE\nC< Z I")
    forwarded(reader)
    reader.server(answer("a"))
    assert shared.board.fences
    shell = shared.shell
    assert isinstance(shell, Shell)
    shell.finish()
    assert not shared.board.fences
    assert len(shared.store) == 0


def test_garbage_ends_the_session_with_one_error(shared: Engine) -> None:
    player = Player(shared)
    player.client(b"GET / HTTP/1.1\r\n\r\n")
    to_client, _ = player.clear()
    assert to_client.count(b"SFATAL") == 1
    assert b"08P01" in to_client
    assert player.session.close_client


def test_client_lost_with_a_write_in_flight_drains(shared: Engine) -> None:
    player = Player(shared)
    player.query("UPDATE t SET x = 'b'")
    player.clear()
    player.session.client_lost(player.now)
    assert player.session.waiting
    assert not player.ended()
    player.server(complete("UPDATE 1") + ready())
    assert player.ended()
    assert not shared.board.fences


def begun(player: Player, text: str = "UPDATE t SET x = 'b'", tag: str = "UPDATE 1") -> None:
    """An open transaction that has written."""
    player.query("BEGIN")
    player.query(text)
    player.server(own("BEGIN"))
    player.server(complete(tag) + ready("T"))
    player.clear()


def test_a_write_behind_rollback_in_one_query_is_fenced(shared: Engine) -> None:
    """F1: what follows the ROLLBACK commits by itself."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    begun(writer, "UPDATE u SET x = 'b'")
    writer.query("ROLLBACK; UPDATE t SET x = 'c'")
    assert shared.board.fences
    writer.server(complete("ROLLBACK") + complete("UPDATE 1") + ready())
    assert len(shared.store) == 0


@pytest.mark.parametrize("text", ["COMMIT; ROLLBACK", "COMMIT; BEGIN; ROLLBACK"])
def test_the_last_tag_of_several_statements_proves_nothing(shared: Engine, text: str) -> None:
    """F3"""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    begun(writer)
    writer.query(text)
    tags = [part.strip() for part in text.split(";")]
    writer.server(b"".join(map(complete, tags)) + ready())
    assert len(shared.store) == 0


def test_a_failed_query_may_have_kept_its_set(shared: Engine) -> None:
    """K3: SET; COMMIT; and then an error."""
    player = Player(shared)
    fill(player)
    player.query("SET DateStyle = 'German'; COMMIT; SELECT 1/0")
    player.server(complete("SET") + complete("COMMIT") + error("22012") + ready())
    player.clear()
    player.query(READ)
    to_client, to_server = player.clear()
    assert not to_client
    assert to_server


def test_a_set_is_learned_only_from_its_own_answer(shared: Engine) -> None:
    """K3: a probe that comes after two changes teaches neither."""
    player = Player(shared)
    player.query("SET TimeZone = 'UTC'")
    player.server(complete("SET") + ready())
    player.query("RESET TimeZone")
    player.server(complete("RESET") + ready())
    player.session.statements_since_probe = 1000
    player.query(READ)
    player.probed()
    player.server(answer("a"))
    assert not shared.transitions


def test_resets_lead_where_the_session_s_defaults_are(shared: Engine) -> None:
    """K3: equal settings may have other defaults; a reload may change them in between."""
    for number, resets in enumerate(("a", "b", "a")):
        player = Player(shared, number)
        player.session.resets = player.resets = resets
        player.query("RESET ALL")
        player.server(complete("RESET") + ready())
        learned = player.session.context is not None
        assert learned is (number == 2)
        player.clear()
        player.session.statements_since_probe = 1000
        player.query("SELECT 1")
        if not learned:
            player.probed()
    assert len(shared.transitions) == 2
    player.session.forget_settings(path=True)
    player.server(answer("1"))
    player.clear()
    shared.transitions.clear()
    player.session.statements_since_probe = 1000
    player.query(READ)
    player.probed()
    player.server(answer("a"))
    player.query("RESET ALL")
    player.server(complete("RESET") + ready())
    player.resets = "after a reload"
    player.session.statements_since_probe = 1000
    player.query("SELECT 1")
    player.probed()
    assert not shared.transitions


def test_changed_roles_ask_every_session_again(shared: Engine) -> None:
    """F12, K2: roles are part of the catalog, and search_path may mean something else."""
    one, two = Player(shared, 1), Player(shared, 2)
    fill(two)
    one.query("CREATE ROLE eve")
    one.server(complete("CREATE ROLE") + ready())
    shared.install("shop", shop(fingerprint="2"))
    shell = shared.shell
    assert isinstance(shell, Shell)
    shell.finish()
    two.query(READ)
    _, to_server = two.clear()
    assert b"howdah probe" in to_server


def test_the_same_catalog_after_opaque_code_asks_nobody(shared: Engine) -> None:
    one, two = Player(shared, 1), Player(shared, 2)
    one.query("DO $$ begin execute 'x'; end $$")
    one.server(complete("DO") + ready())
    shared.install("shop", shop())
    shell = shared.shell
    assert isinstance(shell, Shell)
    shell.finish()
    fill(two)
    hit(two)


def test_answers_in_flight_reach_a_client_that_says_goodbye(shared: Engine) -> None:
    """R1: Query and Terminate in one write."""
    player = Player(shared)
    player.client(b"Q\0\0\0\x0dSELECT 1\0" + b"X\0\0\0\x04")
    player.clear()
    player.server(answer("1"))
    player.expect("C< T\nC< D 1\nC< C SELECT 1\nC< Z I")
    assert player.session.close_client


def test_memory_of_plans_and_transitions_is_bounded(shared: Engine) -> None:
    from proxy.session import engine as module

    player = Player(shared)
    context = player.session.context
    assert context is not None
    for number in range(module.TRANSITION_LIMIT + 10):
        shared.learn(("", 1, b"SET my.trace = '%d'" % number), context)
    assert len(shared.transitions) <= module.TRANSITION_LIMIT
    text = b"SELECT x FROM t WHERE x = '" + b"y" * module.LONG_TEXT + b"'"
    shared.plan(text, player.session.data, context)
    assert text not in context.plans


def test_a_client_that_leaves_during_the_login_is_waited_for(shared: Engine) -> None:
    """K3: a login event trigger may be writing, and PostgreSQL does not notice."""
    session = Session(shared, 9)
    session.start(StartupPacket(3, 0, {"user": "app", "database": "shop"}, b""), 0.0)
    session.from_server(b"R\0\0\0\x08\0\0\0\x03", 0.1)
    session.from_client(b"p\0\0\0\x08abc\0", 0.2)
    session.client_lost(0.3)
    assert session.waiting
    assert shared.board.fences
    session.from_server(b"R\0\0\0\x08\0\0\0\0" + b"K\0\0\0\x0c\0\0\0\x01keyy" + ready(), 0.4)
    assert session.close_server
    assert not shared.board.fences


def test_a_client_that_leaves_at_the_password_prompt_is_not(shared: Engine) -> None:
    session = Session(shared, 9)
    session.start(StartupPacket(3, 0, {"user": "app", "database": "shop"}, b""), 0.0)
    session.from_server(b"R\0\0\0\x08\0\0\0\x03", 0.1)
    session.client_lost(0.3)
    assert session.close_server
    session.server_lost(0.4)
    assert not shared.board.fences


def test_a_change_in_another_database_costs_a_question_and_no_answers(shared: Engine) -> None:
    """Roles are in every catalog, so contexts end; what is found as before has its answers."""
    fill(Player(shared, 1))
    for fingerprint in ("1", "2"):
        roles = (fingerprint, "")
        shared.install("other", shop(database_oid=OID + 1, fingerprint=fingerprint, roles=roles))
    assert not shared.databases["shop"].contexts
    hit(Player(shared, 2))
    shared.install("shop", shop(fingerprint="2"))
    forwarded(Player(shared, 3), READ)
