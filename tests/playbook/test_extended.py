"""Playbooks in the extended protocol: batches, portals, statements, pipelines."""

from __future__ import annotations

import json
from hashlib import md5

import pytest

from proxy.catalog.snapshot import Effect, Function, Label
from proxy.reasons import Reason
from proxy.session.engine import Engine
from proxy.wire import messages
from tests.playbook.stage import (
    IDENTITY,
    OID,
    Player,
    Shell,
    complete,
    description,
    engine,
    error,
    own,
    own_request,
    ready,
    relation,
    row,
    shop,
)

READ = b"SELECT x FROM t WHERE id = $1"
PARSED = messages.PARSE_COMPLETE
BOUND = messages.BIND_COMPLETE
DESCRIBE = messages.message(b"D", b"P\0")
EXECUTE = messages.execute(b"")
FLUSH = messages.message(b"H")


@pytest.fixture
def shared() -> Engine:
    return engine()


def bind(value: bytes, statement: bytes = b"", portal: bytes = b"") -> bytes:
    parameter = len(value).to_bytes(4, "big") + value
    rest = b"\0\0" + b"\0\x01" + parameter + b"\0\0"
    return messages.message(b"B", portal + b"\0" + statement + b"\0" + rest)


def request(value: bytes = b"1", text: bytes = READ) -> bytes:
    """Parse, Bind, Describe, Execute, Sync with the unnamed statement."""
    return messages.parse(b"", text) + bind(value) + DESCRIBE + EXECUTE + messages.SYNC


ROWS = row("a") + complete("SELECT 1")
REPLY = PARSED + BOUND + description("x") + ROWS
WHOLE = REPLY + ready()


def fill(player: Player, data: bytes | None = None, reply: bytes = WHOLE) -> None:
    data = request() if data is None else data
    player.client(data)
    to_client, to_server = player.clear()
    assert (to_client, to_server) == (b"", data)
    player.server(reply)
    assert player.clear() == (reply, b"")


def hit(player: Player, data: bytes | None = None, reply: bytes = WHOLE) -> None:
    player.client(request() if data is None else data)
    assert player.clear() == (reply, b"")


def test_unnamed_statement_is_shared_between_sessions(shared: Engine) -> None:
    one, two = Player(shared, 1), Player(shared, 2)
    fill(one)
    hit(one)
    hit(two)
    fill(two, request(b"2"))


def test_named_statements_share_answers_under_any_name(shared: Engine) -> None:
    """A statement prepared by many sessions has one entry."""
    for number in (1, 2):
        player = Player(shared, number)
        name = b"s%d" % number
        prepare = (
            messages.parse(name, READ) + messages.message(b"D", b"S" + name + b"\0") + messages.SYNC
        )
        player.client(prepare)
        assert player.clear()[1] == prepare
        player.server(PARSED + messages.message(b"t", bytes(2)) + description("x") + ready())
        player.clear()
        data = bind(b"1", name) + DESCRIBE + EXECUTE + messages.SYNC
        reply = BOUND + description("x") + ROWS + ready()
        if number == 1:
            fill(player, data, reply)
        hit(player, data, reply)
        hit(player, bind(b"1", name) + EXECUTE + messages.SYNC, BOUND + ROWS + ready())


def test_a_statement_of_other_settings_is_stale(shared: Engine) -> None:
    """K1: what a Parse has read under other settings neither hits nor fills."""
    player = Player(shared)
    player.client(messages.parse(b"s", READ) + messages.SYNC)
    player.server(PARSED + ready())
    player.query("SET DateStyle = 'German'")
    player.server(complete("SET") + ready())
    player.settings = "German"
    player.query("SELECT x FROM u")
    player.probed()
    player.server(description("x") + complete("SELECT 0") + ready())
    player.clear()
    for _ in range(2):
        fill(
            player,
            bind(b"1", b"s") + EXECUTE + messages.SYNC,
            BOUND + ROWS + ready(),
        )
    assert shared.statistics.statements["bypass", "prepared_stale"] == 2


@pytest.mark.parametrize("value", [b"now", b"2020 NOW", b"today", b"Yesterday "])
def test_parameters_that_say_now_are_never_stored(shared: Engine, value: bytes) -> None:
    """K5"""
    player = Player(shared)
    fill(player, request(value))
    fill(player, request(value))
    assert shared.statistics.statements["bypass", "clock_literal"] == 2


def test_words_that_contain_now_are_stored(shared: Engine) -> None:
    player = Player(shared)
    fill(player, request(b"knowledge"))
    hit(player, request(b"knowledge"))


def test_unnamed_statement_is_sent_when_it_is_needed(shared: Engine) -> None:
    """R2: answered from memory, then executed again by Bind alone."""
    one, two = Player(shared, 1), Player(shared, 2)
    fill(one)
    hit(two)
    again = bind(b"2") + EXECUTE + messages.SYNC
    two.client(again)
    assert two.clear() == (b"", messages.parse(b"", READ) + again)
    two.server(PARSED + BOUND + ROWS + ready())
    assert two.clear() == (BOUND + ROWS + ready(), b"")
    fill(two, bind(b"3") + EXECUTE + messages.SYNC, BOUND + ROWS + ready())


def test_a_query_from_memory_ends_the_unnamed_statement(shared: Engine) -> None:
    """R2: PostgreSQL must refuse the Bind, so its own statement is closed first."""
    player = Player(shared)
    player.query("SELECT x FROM t")
    player.server(description("x") + ROWS + ready())
    player.clear()
    fill(player)
    player.query("SELECT x FROM t")
    player.clear()
    player.client(bind(b"2") + EXECUTE + messages.SYNC)
    _, to_server = player.clear()
    assert to_server.startswith(messages.close(b"S", b""))
    player.server(messages.CLOSE_COMPLETE + error("26000") + ready())
    player.expect("C< E 26000\nC< Z I")


def test_a_portal_of_a_hit_exists_when_it_is_asked_for(shared: Engine) -> None:
    """A second Execute in the transaction says SELECT 0, as PostgreSQL does."""
    player = Player(shared)
    fill(player)
    player.query("BEGIN")
    player.clear()
    hit(player, reply=REPLY + ready("T"))
    player.client(EXECUTE + messages.SYNC)
    player.expect(
        f"""
        {own_request("BEGIN")}
        S< P : SELECT x FROM t WHERE id = $1
        S< B
        S< E
        S< E
        S< S
        """
    )
    player.server(own("BEGIN") + PARSED + BOUND + ROWS)
    player.expect("")
    player.server(complete("SELECT 0") + ready("T"))
    player.expect("C< C SELECT 0\nC< Z T")


def test_several_executes_in_one_batch_are_forwarded(shared: Engine) -> None:
    player = Player(shared)
    fill(player)
    several = messages.parse(b"", READ) + bind(b"1") + EXECUTE + EXECUTE + messages.SYNC
    fill(player, several, PARSED + BOUND + ROWS + complete("SELECT 0") + ready())
    assert shared.statistics.statements["bypass", "portal"] == 2


def test_bind_and_execute_in_different_batches_fill_nothing(shared: Engine) -> None:
    """F5: the portal's snapshot is taken at the Bind."""
    player = Player(shared)
    player.client(messages.parse(b"", READ) + bind(b"1") + FLUSH)
    player.server(PARSED + BOUND)
    player.client(EXECUTE + messages.SYNC)
    player.server(ROWS + ready())
    assert len(shared.store) == 0


def test_pipelined_batches_keep_their_order(shared: Engine) -> None:
    """T3: a hit never overtakes what is outstanding."""
    player = Player(shared)
    fill(player)
    player.client(request(b"2") + request(b"1"))
    assert player.clear() == (b"", request(b"2") + request(b"1"))
    player.server(WHOLE + WHOLE)
    assert player.clear() == (WHOLE + WHOLE, b"")
    hit(player)


def test_several_hits_in_one_chunk(shared: Engine) -> None:
    player = Player(shared)
    fill(player)
    hit(player, request() + request(), WHOLE + WHOLE)


def test_a_write_in_a_pipeline_is_fenced_until_its_sync(shared: Engine) -> None:
    """F1, F2: its CommandComplete is not the commit."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    update = messages.parse(b"", b"UPDATE t SET x = 'b'") + messages.bind(b"", b"") + EXECUTE
    writer.client(update + FLUSH)
    assert shared.board.fences
    writer.server(PARSED + BOUND + complete("UPDATE 1"))
    assert shared.board.fences
    writer.client(messages.SYNC)
    writer.server(ready())
    assert not shared.board.fences
    assert len(shared.store) == 0


def test_an_error_undoes_the_batch(shared: Engine) -> None:
    """F3: a deferred constraint fails at Sync; nothing was committed."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    update = messages.parse(b"", b"UPDATE t SET x = 'b'") + messages.bind(b"", b"") + EXECUTE
    writer.client(update + messages.SYNC)
    writer.server(PARSED + BOUND + complete("UPDATE 1") + error("23503") + ready())
    assert not shared.board.fences
    hit(reader)


def test_prepared_write_without_parse_is_seen(shared: Engine) -> None:
    """FIELD: Parse once, Bind and Execute twice."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    writer.client(messages.parse(b"w", b"UPDATE t SET x = 'b'") + messages.SYNC)
    writer.server(PARSED + ready())
    for _ in range(2):
        fill(reader)
        writer.client(messages.bind(b"", b"w") + EXECUTE + messages.SYNC)
        assert shared.board.fences
        writer.server(BOUND + complete("UPDATE 1") + ready())
        assert len(shared.store) == 0


def test_a_statement_that_howdah_never_saw_may_write_anything(shared: Engine) -> None:
    """F9"""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.client(messages.bind(b"", b"mystery") + EXECUTE + messages.SYNC)
    assert any((0, 0) in fence.granules for fence in shared.board.fences)


def test_a_refused_parse_leaves_the_old_statement(shared: Engine) -> None:
    player = Player(shared)
    player.client(messages.parse(b"s", READ) + messages.SYNC)
    player.server(PARSED + ready())
    player.client(messages.parse(b"s", b"SELECT 2") + messages.SYNC)
    player.server(error("42P05") + ready())
    player.clear()
    data = bind(b"1", b"s") + EXECUTE + messages.SYNC
    fill(player, data, BOUND + ROWS + ready())
    hit(player, data, BOUND + ROWS + ready())


def test_copy_in_swallows_the_sync_behind_execute(shared: Engine) -> None:
    """libpq sends a Sync with Execute, PostgreSQL ignores it, and another behind CopyDone."""
    player = Player(shared)
    copy = messages.parse(b"", b"COPY t FROM STDIN") + messages.bind(b"", b"") + EXECUTE
    player.client(copy + messages.SYNC)
    player.server(PARSED + BOUND + messages.message(b"G", bytes(3)))
    player.client(messages.message(b"d", b"1\ta\n"))
    player.client(messages.message(b"c") + messages.SYNC)
    assert shared.board.fences
    player.server(complete("COPY 1") + ready())
    assert not player.session.pending
    assert not shared.board.fences
    player.clear()
    fill(player)
    hit(player)


def test_discard_all_forgets_statements(shared: Engine) -> None:
    player = Player(shared)
    player.client(messages.parse(b"s", READ) + messages.SYNC)
    player.server(PARSED + ready())
    player.query("DISCARD ALL")
    player.server(complete("DISCARD ALL") + ready())
    assert b"s" not in player.session.statements


@pytest.mark.parametrize("size", [1, 4, 9, 64])
def test_any_split_of_a_batch_fills_and_hits(shared: Engine, size: int) -> None:
    """R1"""
    player = Player(shared)
    for expected in (request(), b""):
        data = request()
        for start in range(0, len(data), size):
            player.client(data[start : start + size])
        to_client, to_server = player.clear()
        assert to_server == expected
        if expected:
            player.server(WHOLE)
            player.clear()
        else:
            assert to_client == WHOLE


def test_begin_and_hit_in_one_batch_as_jdbc_sends_it(shared: Engine) -> None:
    player = Player(shared)
    fill(player)
    begin = messages.parse(b"", b"BEGIN") + messages.bind(b"", b"") + EXECUTE
    player.client(begin + messages.SYNC)
    player.expect("C< 1\nC< 2\nC< C BEGIN\nC< Z T")
    hit(player, reply=REPLY + ready("T"))
    commit = messages.parse(b"", b"COMMIT") + messages.bind(b"", b"") + EXECUTE
    player.client(commit + messages.SYNC)
    player.expect("C< 1\nC< 2\nC< C COMMIT\nC< Z I")


def test_begin_ahead_of_a_read_in_one_batch(shared: Engine) -> None:
    """JDBC with autocommit off: BEGIN and the first statement up to one Sync."""
    player = Player(shared)
    fill(player)
    begin = messages.parse(b"", b"BEGIN") + messages.bind(b"", b"") + EXECUTE
    begun = PARSED + BOUND + complete("BEGIN")
    player.client(begin + request())
    assert player.clear() == (begun + REPLY + ready("T"), b"")
    player.query("ROLLBACK")
    player.clear()
    player.client(begin + request(b"2"))
    to_client, to_server = player.clear()
    assert to_client == begun
    assert to_server.endswith(request(b"2"))
    begun_for_them = begun + messages.CLOSE_COMPLETE
    player.server(begun_for_them + REPLY + ready("T"))
    assert player.clear() == (REPLY + ready("T"), b"")
    hit(player, request(b"2"), REPLY + ready("T"))


def test_a_batch_behind_a_probe_keeps_its_own_reply(shared: Engine) -> None:
    """K3: the probe's ReadyForQuery is not the client's."""
    player = Player(shared)
    player.query("SET TimeZone = 'UTC'")
    player.server(complete("SET") + ready())
    player.clear()
    player.client(request())
    assert player.waiting
    player.wake(late=True)
    _, to_server = player.clear()
    assert to_server.endswith(request())
    assert len(player.session.pending) == 2
    player.probed()
    player.expect("")
    player.server(WHOLE)
    assert player.clear() == (WHOLE, b"")
    assert not player.session.pending
    fill(player)
    hit(player)


def test_a_write_behind_rollback_in_one_batch_is_fenced(shared: Engine) -> None:
    """F1"""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("BEGIN")
    writer.query("SAVEPOINT a")
    writer.server(own("BEGIN") + complete("SAVEPOINT") + ready("T"))
    batch = b"".join(
        messages.parse(b"", text) + messages.bind(b"", b"") + EXECUTE
        for text in (b"ROLLBACK", b"UPDATE t SET x = 'b'")
    )
    writer.client(batch + messages.SYNC)
    assert shared.board.fences
    done = PARSED + BOUND + complete("ROLLBACK") + PARSED + BOUND + complete("UPDATE 1")
    writer.server(done + ready())
    assert len(shared.store) == 0


def test_a_set_that_is_not_executed_teaches_nothing(shared: Engine) -> None:
    """K3"""
    player = Player(shared)
    player.client(
        messages.parse(b"", b"SET DateStyle = 'SQL'") + messages.bind(b"", b"") + messages.SYNC
    )
    player.server(PARSED + BOUND + ready())
    player.clear()
    player.session.statements_since_probe = 1000
    player.query("SELECT x FROM u")
    player.probed()
    player.server(description("x") + complete("SELECT 0") + ready())
    assert not shared.transitions


def test_declared_types_that_may_run_code_are_everything(shared: Engine) -> None:
    """K5, F9: a domain's CHECK runs at the Bind."""
    player = Player(shared)
    typed = messages.message(b"P", b"\0" + READ + b"\0" + b"\0\x01" + (99999).to_bytes(4, "big"))
    player.client(typed + bind(b"1") + EXECUTE + messages.SYNC)
    assert any((0, 0) in fence.granules for fence in shared.board.fences)


def test_a_query_behind_an_open_batch_has_one_reply(shared: Engine) -> None:
    """F2: the Query's ReadyForQuery answers both, and fences come down."""
    player = Player(shared)
    batch = messages.parse(b"", b"SELECT 1") + messages.bind(b"", b"") + EXECUTE
    player.client(batch + messages.query(b"UPDATE u SET x = 'b'"))
    player.server(PARSED + BOUND + ROWS + complete("UPDATE 1") + ready())
    assert not player.session.pending
    assert not shared.board.fences


def test_a_query_that_postgresql_skips_waits_for_sync(shared: Engine) -> None:
    player = Player(shared)
    batch = messages.parse(b"", b"SELECT 1/0") + messages.bind(b"", b"") + EXECUTE
    player.client(batch + messages.query(b"UPDATE u SET x = 'b'") + messages.SYNC)
    player.server(PARSED + BOUND + error("22012") + ready())
    assert not player.session.pending
    assert not shared.board.fences


def test_data_that_looks_like_a_query_is_data(shared: Engine) -> None:
    """R1: the end of a long message passes, whatever it looks like."""
    player = Player(shared)
    fill(player)
    data = messages.message(b"d", b"x" * 20_000 + request())
    cut = len(data) - len(request())
    player.client(data[:cut])
    player.client(data[cut:])
    assert player.clear() == (b"", data)


def test_a_write_prepared_ahead_is_not_replaced(shared: Engine) -> None:
    """R2: what Howdah puts in front has names of its own."""
    player = Player(shared)
    fill(player)
    player.query("BEGIN")
    player.clear()
    hit(player, reply=REPLY + ready("T"))
    write = messages.parse(b"", b"UPDATE t SET x = 'b'; broken")
    player.client(write + messages.SYNC)
    player.server(own("BEGIN") + PARSED + ready("T"))
    player.clear()
    player.client(messages.bind(b"", b"") + EXECUTE + messages.SYNC)
    _, to_server = player.clear()
    assert to_server.endswith(messages.bind(b"", b"") + EXECUTE + messages.SYNC)
    assert messages.parse(b"", b"SELECT 1") not in to_server


@pytest.mark.parametrize("extra", [b"\0\0\0\x01\0\0\0\x01x\0\0", b"\0\x01\0\0\0\0\0\0"])
def test_a_begin_that_postgresql_would_refuse_is_sent(shared: Engine, extra: bytes) -> None:
    """R2: parameters that it does not take."""
    player = Player(shared)
    batch = (
        messages.parse(b"", b"BEGIN")
        + messages.message(b"B", b"\0\0" + extra)
        + EXECUTE
        + messages.SYNC
    )
    player.client(batch)
    assert player.clear() == (b"", batch)


def test_a_stale_write_may_mean_any_table_of_its_name(shared: Engine) -> None:
    """F9: PostgreSQL keeps the table that the name meant at the Parse."""
    player = Player(shared)
    player.client(messages.parse(b"w", b"UPDATE t SET x = 'b'") + messages.SYNC)
    player.server(PARSED + ready())
    here, there = relation(20001, "t"), relation(20009, "t", schema="other")
    shared.install(
        "shop",
        shop(
            fingerprint="2",
            relations={"public": {"t": here}, "other": {"t": there}},
            by_oid={20001: here, 20009: there},
        ),
    )
    player.client(messages.bind(b"", b"w") + EXECUTE + messages.SYNC)
    raised = set().union(*(fence.granules for fence in shared.board.fences))
    assert {(OID, 20001), (OID, 20009)} <= raised


def test_statements_prepared_while_the_catalog_loads_hit_later() -> None:
    """K1: reads that turn out to be plain have changed no settings."""
    shared = Engine(cache_bytes=1_000_000, entry_limit=100_000, max_age=60.0, shell=Shell())
    shared.identity_seen(IDENTITY)
    player = Player(shared)
    player.client(messages.parse(b"s", READ) + messages.SYNC)
    player.server(PARSED + ready())
    player.clear()
    execution = bind(b"1", b"s") + EXECUTE + messages.SYNC
    reply = BOUND + ROWS + ready()
    fill(player, execution, reply)
    fill(player, execution, reply)
    shared.install("shop", shop())
    shell = shared.shell
    assert isinstance(shell, Shell)
    shell.finish()
    player.client(execution)
    assert player.waiting
    player.clear()
    player.probed(statements=json.dumps({"s": md5(READ).hexdigest()}))
    assert player.clear() == (b"", execution)
    player.server(reply)
    player.clear()
    hit(player, execution, reply)


@pytest.mark.parametrize("same", [True, False])
def test_a_suspect_statement_is_verified_by_the_probe_in_front(shared: Engine, same: bool) -> None:
    """F9, K3: opaque code may have replaced it."""
    player = Player(shared)
    player.client(messages.parse(b"s", READ) + messages.SYNC)
    player.server(PARSED + ready())
    player.query("DO $$ begin execute current_setting('app.a'); end $$")
    player.server(complete("DO") + ready())
    player.clear()
    shell = shared.shell
    assert isinstance(shell, Shell)
    shell.finish()
    player.session.statements_since_probe = 100
    player.client(bind(b"1", b"s") + EXECUTE + messages.SYNC)
    player.wake(late=True)
    assert any((0, 0) in fence.granules for fence in shared.board.fences)
    player.clear()
    text = READ if same else b"other"
    player.probed(statements=json.dumps({"s": md5(text).hexdigest()}))
    player.server(BOUND + ROWS + ready())
    shell.finish()
    assert (player.session.context is not None) is same
    assert player.session.statements[b"s"].suspect is not same


def test_opaque_code_behind_the_probe_keeps_statements_suspect(shared: Engine) -> None:
    """F9: what the probe shows was so before it ran."""
    player = Player(shared)
    player.client(messages.parse(b"s", READ) + messages.SYNC)
    player.server(PARSED + ready())
    player.query("DO $$ begin execute current_setting('app.a'); end $$")
    player.server(complete("DO") + ready())
    player.session.statements_since_probe = 100
    player.query("SELECT x FROM t")
    player.query("DO $$ begin execute current_setting('app.b'); end $$")
    player.client(bind(b"1", b"s") + EXECUTE + messages.SYNC)
    player.probed(statements=json.dumps({"s": md5(READ).hexdigest()}))
    assert player.session.statements[b"s"].suspect
    assert player.session.context is None


def test_a_sync_while_copying_in_is_not_answered(shared: Engine) -> None:
    """R1: PostgreSQL ignores Sync and Flush between CopyInResponse and CopyDone."""
    player = Player(shared)
    copy = messages.parse(b"", b"COPY t FROM STDIN") + messages.bind(b"", b"") + EXECUTE
    player.client(copy + FLUSH)
    player.server(PARSED + BOUND + messages.message(b"G", bytes(3)))
    player.client(messages.SYNC + messages.message(b"d", b"1\ta\n"))
    assert len(player.session.pending) == 1
    player.client(messages.message(b"c") + messages.SYNC)
    player.server(complete("COPY 1") + ready())
    assert not player.session.pending
    assert not shared.board.fences


def test_a_read_before_the_catalog_may_have_changed_settings() -> None:
    """K3: what ran early is judged by the catalog, and then counts as having happened."""
    shared = Engine(cache_bytes=1_000_000, entry_limit=100_000, max_age=60.0, shell=Shell())
    shared.identity_seen(IDENTITY)
    player = Player(shared)
    player.client(messages.parse(b"s", READ) + messages.SYNC)
    player.server(PARSED + ready())
    player.query("SELECT set_config('DateStyle', 'German', false)")
    player.server(description("x") + ROWS + ready())
    player.clear()
    before = player.session.epoch
    calls = {"set_config": (Function(3, 3, Label(Effect.HARMLESS, Reason.SETTING, settings=True)),)}
    shared.install("shop", shop(functions={"pg_catalog": calls, "public": {}}))
    player.session.statements_since_probe = 100
    player.query("SELECT x FROM t")
    assert player.session.epoch != before
    assert player.session.statements[b"s"].epoch != player.session.epoch


def test_a_statement_of_an_older_schema_never_hits(shared: Engine) -> None:
    """K1, R2: PostgreSQL may say that the result type has changed."""
    old = Player(shared, 1)
    old.client(messages.parse(b"s", READ) + messages.SYNC)
    old.server(PARSED + ready())
    shared.install("shop", shop(fingerprint="2"))
    new = Player(shared, 2)
    fill(new)
    hit(new)
    old.query("SELECT x FROM u")
    old.probed()
    old.server(description("x") + complete("SELECT 0") + ready())
    old.clear()
    assert old.session.hot
    execution = bind(b"1", b"s") + DESCRIBE + EXECUTE + messages.SYNC
    for _ in range(2):
        fill(old, execution, BOUND + description("x") + ROWS + ready())
    # The same bytes of a statement of this schema do hit.
    old.client(messages.parse(b"n", READ) + messages.SYNC)
    old.server(PARSED + ready())
    old.clear()
    fresh = bind(b"1", b"n") + DESCRIBE + EXECUTE + messages.SYNC
    hit(old, fresh, BOUND + description("x") + ROWS + ready())


def test_a_session_with_temporary_objects_gets_no_hits(shared: Engine) -> None:
    """K4: they may shadow what the statement names."""
    one, two = Player(shared, 1), Player(shared, 2)
    fill(one)
    two.query("CREATE TEMP TABLE t (x text)")
    two.server(complete("CREATE TABLE") + ready())
    shell = shared.shell
    assert isinstance(shell, Shell)
    shell.finish()
    fill(one)
    two.session.statements_since_probe = 100
    two.query("SELECT x FROM u")
    two.probed(temporary="t")
    two.server(description("x") + complete("SELECT 0") + ready())
    two.clear()
    assert not two.session.hot
    fill(two)
    assert shared.statistics.statements["bypass", "session_temporary"] >= 1


def test_a_commit_that_was_bound_in_an_earlier_request_is_fenced(shared: Engine) -> None:
    """F1: it is its Execute that commits."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("BEGIN")
    writer.query("UPDATE t SET x = 'b'")
    writer.server(own("BEGIN") + complete("UPDATE 1") + ready("T"))
    writer.client(messages.parse(b"c", b"COMMIT") + messages.bind(b"p", b"c") + messages.SYNC)
    writer.server(PARSED + BOUND + ready("T"))
    fill(reader)
    hit(reader)
    writer.client(messages.execute(b"p") + messages.SYNC)
    assert shared.board.fences
    reader.client(request())
    assert reader.clear() == (b"", request())
    writer.server(complete("COMMIT") + ready())
    assert not shared.board.fences
    reader.server(WHOLE)
    reader.clear()
    fill(reader)
    hit(reader)
