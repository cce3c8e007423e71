"""Playbooks of the question before COMMIT: what it spares, and when it is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.cache.fences import ALL
from proxy.catalog.snapshot import CatalogSnapshot
from proxy.session import probe
from proxy.session.engine import Engine
from proxy.session.touched import BACK, SAVEPOINT, TIMEOUT, closure_of, decode, question
from proxy.wire import messages
from tests.playbook.stage import (
    OID,
    Player,
    Shell,
    answer,
    complete,
    engine,
    error,
    own,
    ready,
    relation,
    row,
    shop,
)
from tests.playbook.test_simple import READ, fill, forwarded, hit

T, U = 20001, 20002
ON_U = "SELECT x FROM u WHERE id = 1"
OPAQUE = "SELECT unknown(1)"


class Facts:
    """A catalog whose database has nothing that speaks against asking, or has."""

    def __init__(self, catalog: CatalogSnapshot, **facts: bool) -> None:
        self._catalog = catalog
        self.deferred_triggers = facts.get("deferred_triggers", False)
        self.other_writers = facts.get("other_writers", False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)


def install(shared: Engine, fingerprint: str = "1", **facts: bool) -> None:
    shared.install("shop", Facts(shop(fingerprint=fingerprint), **facts))  # type: ignore[arg-type]


@pytest.fixture
def shared() -> Engine:
    made = engine()
    install(made)
    return made


def opaque_transaction(writer: Player, text: str = OPAQUE) -> None:
    """BEGIN and an opaque statement; the COMMIT is the caller's."""
    writer.query("BEGIN")
    writer.query(text)
    writer.server(own("BEGIN") + answer("1", status="T"))
    writer.clear()


def asked(writer: Player) -> bool:
    """Whether the question went out in front of the COMMIT."""
    to_client, to_server = writer.clear()
    assert not to_client
    sql = question("app", 18)
    if sql not in to_server:
        assert SAVEPOINT not in to_server
        return False
    places = [to_server.index(part) for part in (SAVEPOINT, TIMEOUT, sql, BACK)]
    places.append(max(to_server.rfind(b"COMMIT"), to_server.rfind(b"\0c\0")))
    assert places == sorted(places), "all in one write, and in front of the COMMIT"
    assert to_server.count(messages.SYNC) >= 3
    return True


def guard(*tags: str) -> bytes:
    """The replies to the statements around the question, up to their ReadyForQuery."""
    return b"".join(map(own, tags)) + ready("T")


BEFORE = guard("SAVEPOINT", "SET")
AFTER = messages.CLOSE_COMPLETE * 2 + guard("ROLLBACK")


def reply(proven: str, *touched: int) -> bytes:
    listed = ",".join(map(str, touched))
    return own("SELECT 1", row(proven, listed)) + ready("T")


COMMITTED = complete("COMMIT") + ready()


def committed(writer: Player) -> None:
    writer.expect("C< C COMMIT\nC< Z I")


def test_only_what_was_touched_is_evicted(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    fill(reader, ON_U)
    opaque_transaction(writer)
    hit(reader)
    assert not shared.board.fences, "nothing commits before the COMMIT"
    writer.query("COMMIT")
    assert asked(writer)
    (fence,) = shared.board.fences
    assert ALL in fence.granules, "until the answer is in, everything may be changing (F1)"
    for part in (BEFORE, reply("t", T), AFTER, complete("COMMIT")):
        writer.server(part)
        forwarded(reader, ON_U)
        reader.server(answer("a"))
        reader.clear()
        assert shared.statistics.fills_rejected == {}
    writer.server(ready())
    committed(writer)
    assert not shared.board.fences
    hit(reader, ON_U)
    fill(reader, value="b")


def test_a_fill_of_a_touched_relation_is_dropped(shared: Engine) -> None:
    """F5: it was dispatched before the COMMIT and may be old."""
    writer, one, two = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    forwarded(one)
    forwarded(two, ON_U)
    opaque_transaction(writer)
    writer.query("COMMIT")
    assert asked(writer)
    writer.server(BEFORE + reply("t", T) + AFTER + COMMITTED)
    one.server(answer("old"))
    two.server(answer("a"))
    assert shared.statistics.fills_rejected == {"fenced": 1}
    two.clear()
    hit(two, ON_U)


def test_fills_under_the_fence_are_not_stored(shared: Engine) -> None:
    """Between the question and the lowering nothing is recorded."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    opaque_transaction(writer)
    writer.query("COMMIT")
    writer.server(BEFORE + reply("t", T) + AFTER)
    forwarded(reader)
    writer.server(COMMITTED)
    reader.server(answer("old"))
    assert len(shared.store) == 0


def test_nothing_touched_evicts_nothing(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    opaque_transaction(writer)
    writer.query("COMMIT")
    assert asked(writer)
    writer.server(BEFORE + own("SELECT 1", row_of_null()) + ready("T") + AFTER + COMMITTED)
    hit(reader)


def row_of_null() -> bytes:
    return messages.message(b"D", b"\0\2\0\0\0\1t\xff\xff\xff\xff")


DOUBTS = {
    "not proven": reply("f", T),
    "null": own("SELECT 1", messages.message(b"D", b"\0\2" + b"\xff" * 8)) + ready("T"),
    "a catalog": reply("t", T, 1259),
    "an unknown relation": reply("t", T, 99999),
    "too many": reply("t", *range(16384, 16384 + 2001)),
    "an error": error("42501") + ready("E"),
    "too slow": error("57014") + ready("E"),
    "no row": own("SELECT 0") + ready("T"),
    "struck behind its row": row("t", str(T)) + error("57014") + ready("E"),
    "not a list": own("SELECT 1", row("t", "x")) + ready("T"),
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_in_doubt_everything_goes(shared: Engine, doubt: str) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader, ON_U)
    opaque_transaction(writer)
    writer.query("COMMIT")
    assert asked(writer)
    writer.server(BEFORE + DOUBTS[doubt] + AFTER + COMMITTED)
    committed(writer)
    forwarded(reader, ON_U)
    assert "cancel" not in shared.shell.asked  # type: ignore[attr-defined]


@pytest.mark.parametrize("fact", ["deferred_triggers", "other_writers"])
def test_what_acts_unseen_is_not_asked_about(shared: Engine, fact: str) -> None:
    install(shared, "2", **{fact: True})
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.query("COMMIT")
    assert not asked(writer)
    writer.server(COMMITTED)


def test_without_these_facts_nothing_is_asked() -> None:
    made = engine()
    bare = Facts(shop())
    del bare.deferred_triggers, bare.other_writers
    bare._catalog = type("Bare", (), {"database_oid": OID, "fingerprint": "2"})()
    writer = Player(made, 1)
    writer.session.data.snapshot = bare  # type: ignore[assignment]
    assert not writer.session.trusted


def test_other_writers_evict_at_each_statement(shared: Engine) -> None:
    """What commits through a connection of its own is seen before the COMMIT (F1)."""
    install(shared, "2", other_writers=True)
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.query("BEGIN")
    writer.query(OPAQUE)
    assert shared.board.fences
    writer.server(own("BEGIN") + answer("1", status="T"))
    forwarded(reader)


@pytest.mark.parametrize("mighty", ["t", "f"])
def test_a_mighty_role_is_not_trusted(shared: Engine, mighty: str) -> None:
    writer = Player(shared, 1, mighty=mighty)
    writer.query("BEGIN")
    writer.query(OPAQUE)
    assert bool(shared.board.fences) == (mighty == "t")
    writer.server(own("BEGIN") + answer("1", status="T"))
    writer.clear()
    writer.query("COMMIT")
    assert asked(writer) == (mighty == "f")


def test_another_session_user_is_not_trusted(shared: Engine) -> None:
    """SET SESSION AUTHORIZATION by a superuser, who can take it back."""
    writer = Player(shared, 1)
    writer.query("SET SESSION AUTHORIZATION eve")
    writer.server(complete("SET") + ready())
    writer.role = "eve"
    writer.query("SELECT 1")
    writer.probed()
    assert not writer.session.trusted


@pytest.mark.parametrize(
    "commit",
    ["COMMIT AND CHAIN", "PREPARE TRANSACTION 'x'", "SELECT 1; COMMIT", "COMMIT; SELECT 1"],
)
def test_other_ways_to_commit_are_not_asked_about(shared: Engine, commit: str) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.query(commit)
    assert not asked(writer)
    assert shared.board.fences


def test_a_transaction_without_opaque_code_is_not_asked_about(shared: Engine) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer, "UPDATE t SET x = 'b'")
    writer.query("COMMIT")
    assert not asked(writer)


def test_known_ddl_is_not_asked_about(shared: Engine) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.query("CREATE TABLE z (id int)")
    writer.server(complete("CREATE TABLE") + ready("T"))
    writer.clear()
    writer.query("COMMIT")
    assert not asked(writer)


def test_a_commit_in_a_pipeline_is_not_asked_about(shared: Engine) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.query(READ)
    writer.query("COMMIT")
    assert not asked(writer)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_change_of_the_schema_makes_it_void(shared: Engine, when: str) -> None:
    """F12: which code acts at COMMIT, and what belongs together, is no longer known."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    opaque_transaction(writer)
    if when == "before":
        install(shared, "2")
    writer.query("COMMIT")
    assert asked(writer) == (when == "after")
    if when == "after":
        writer.server(BEFORE + reply("t", T) + AFTER)
        install(shared, "2")
    reader.query(ON_U)
    reader.clear()
    writer.server(COMMITTED)
    counters = shared.board.record((0,))
    assert counters is None or counters[0] > 0, "everything counts as written"


def test_ddl_in_flight_makes_it_void(shared: Engine) -> None:
    writer, other, reader = Player(shared, 1), Player(shared, 2), Player(shared, 3)
    fill(reader, ON_U)
    opaque_transaction(writer)
    writer.query("COMMIT")
    assert asked(writer)
    other.query("CREATE INDEX ON u (x)")
    writer.server(BEFORE + reply("t", T) + AFTER + COMMITTED)
    assert len(shared.store) == 0


def test_ddl_in_flight_elsewhere_is_not_trusted(shared: Engine) -> None:
    """F12: what the catalog says of code that writes by other means may be out of date."""
    writer, other = Player(shared, 1), Player(shared, 2)
    other.query("CREATE INDEX ON u (x)")
    fences = len(shared.board.fences)
    opaque_transaction(writer)
    writer.query("COMMIT")
    assert not asked(writer)
    assert len(shared.board.fences) > fences


def test_rights_are_known_for_one_version_only(shared: Engine) -> None:
    """A role may have become a superuser since; the probe that would tell has failed."""
    writer = Player(shared, 1)
    install(shared, "2")
    writer.query("BEGIN")
    writer.server(error("57014") + ready() + complete("BEGIN") + ready("T"))
    writer.query(OPAQUE)
    writer.server(answer("1", status="T"))
    writer.clear()
    writer.query("COMMIT")
    assert not asked(writer)


def test_a_rollback_is_not_asked_about_and_evicts_nothing(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    opaque_transaction(writer)
    writer.query("ROLLBACK")
    assert not asked(writer)
    writer.server(complete("ROLLBACK") + ready())
    hit(reader)


def test_a_transaction_that_has_failed_evicts_nothing(shared: Engine) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    opaque_transaction(writer)
    writer.query(OPAQUE)
    writer.server(error("22012") + ready("E"))
    writer.clear()
    writer.query("COMMIT")
    assert not asked(writer)
    writer.server(complete("ROLLBACK") + ready())
    hit(reader)


def test_dynamic_code_that_touched_no_catalog_needs_no_new_snapshot() -> None:
    """F12: the schema is not read again, and its fence falls at once."""
    shared = engine()
    install(shared)
    shared.install("shop", Facts(shop(dynamic_functions=True, fingerprint="2")))  # type: ignore[arg-type]
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader, ON_U)
    opaque_transaction(writer)
    writer.query("COMMIT")
    assert asked(writer)
    assert shared.databases["shop"].schema_fences == 1
    shell = shared.shell
    assert isinstance(shell, Shell)
    before = len(shell.asked)
    writer.server(BEFORE + reply("t", T) + AFTER + COMMITTED)
    assert shared.databases["shop"].schema_fences == 0
    assert len(shell.asked) == before
    hit(reader, ON_U)


def test_a_lost_connection_keeps_the_wide_fence(shared: Engine) -> None:
    """F2: whether the COMMIT has happened is not known, nor does the answer matter."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader, ON_U)
    opaque_transaction(writer)
    writer.query("COMMIT")
    writer.server(BEFORE + reply("t", T) + AFTER)
    writer.session.server_lost(writer.now)
    assert any(ALL in fence.granules for fence in shared.board.fences)
    forwarded(reader, ON_U)


def test_what_strikes_the_savepoint_is_the_error_of_the_commit(shared: Engine) -> None:
    """A COMMIT must not become a silent ROLLBACK."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    opaque_transaction(writer)
    writer.session.cancelled = False
    writer.query("COMMIT")
    assert asked(writer)
    writer.session.cancelled = True
    writer.server(error("57014") + ready("E"))
    writer.server(error("25P02") + ready("E"))
    writer.server(messages.CLOSE_COMPLETE * 2 + error("3B001") + ready("E"))
    writer.server(complete("ROLLBACK") + ready())
    writer.expect("C< E 57014\nC< Z I")
    assert "cancel" not in shared.shell.asked  # type: ignore[attr-defined]
    hit(reader)


def test_a_cancel_that_strikes_the_question_is_sent_again(shared: Engine) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.query("COMMIT")
    writer.clear()
    writer.session.cancelled = True
    writer.server(BEFORE)
    writer.server(error("57014") + ready("E"))
    assert shared.shell.asked.count("cancel") == 1  # type: ignore[attr-defined]
    writer.server(AFTER + COMMITTED)
    committed(writer)


def extended(text: str, *, name: bytes = b"") -> bytes:
    return (
        messages.parse(name, text.encode())
        + messages.bind(b"", name)
        + messages.execute(b"")
        + messages.SYNC
    )


@pytest.mark.parametrize("name", [b"", b"c"])
def test_in_the_extended_protocol(shared: Engine, name: bytes) -> None:
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    fill(reader, ON_U)
    if name:
        writer.client(messages.parse(name, b"COMMIT") + messages.SYNC)
        writer.server(messages.PARSE_COMPLETE + ready())
    opaque_transaction(writer)
    if name:
        writer.client(messages.bind(b"", name) + messages.execute(b"") + messages.SYNC)
    else:
        writer.client(extended("COMMIT"))
    assert asked(writer)
    head = b"" if name else messages.PARSE_COMPLETE
    writer.server(BEFORE + reply("t", T) + AFTER)
    writer.expect("")
    writer.server(head + messages.BIND_COMPLETE + COMMITTED)
    writer.clear()
    hit(reader, ON_U)
    forwarded(reader)


def test_a_commit_without_sync_is_not_asked_about(shared: Engine) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.client(extended("COMMIT")[:-5] + messages.message(b"H"))
    assert not asked(writer)


def test_a_longer_batch_is_not_asked_about(shared: Engine) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.client(extended("UPDATE t SET x = 'b'")[:-5] + extended("COMMIT"))
    assert not asked(writer)


def test_a_statement_that_may_have_been_replaced_is_still_confined(shared: Engine) -> None:
    """What opaque code prepares under its name cannot commit, so nothing is evicted early."""
    writer, reader = Player(shared, 1), Player(shared, 2)
    fill(reader)
    writer.client(messages.parse(b"s", b"UPDATE u SET x = 'b'") + messages.SYNC)
    writer.server(messages.PARSE_COMPLETE + ready())
    opaque_transaction(writer)
    writer.client(messages.bind(b"", b"s") + messages.execute(b"") + messages.SYNC)
    assert not shared.board.fences
    writer.server(messages.BIND_COMPLETE + complete("UPDATE 1") + ready("T"))
    hit(reader)


def test_a_statement_that_nobody_knows_may_commit(shared: Engine) -> None:
    writer = Player(shared, 1)
    opaque_transaction(writer)
    writer.client(messages.bind(b"", b"who") + messages.execute(b"") + messages.SYNC)
    assert shared.board.fences


def test_leaves_belong_to_their_families() -> None:
    tables = {T: relation(T, "t", root=T), U: relation(U, "u", root=T)}
    closure = closure_of(frozenset((U,)), shop(by_oid=tables))
    assert closure is not None
    assert closure.relations == {T}
    assert closure_of(frozenset((1259,)), shop(by_oid={1259: relation(1259, "pg_class")})) is None


def test_a_list_that_is_too_long() -> None:
    def listing(count: int) -> bytes:
        return row("t", ",".join(map(str, range(count))))[5:]

    assert decode(listing(2000)) == frozenset(range(2000))
    assert decode(listing(2001)) is None


def test_the_question_has_no_operator_of_the_search_path() -> None:
    for major in (13, 18):
        text = question("app", major).decode()
        bare = text.replace("OPERATOR(pg_catalog.", "")
        assert text.count("=") == text.count("OPERATOR(pg_catalog.=)") + text.count(".>=)")
        assert " IN (" not in text
        assert "||" not in bare
        assert ("pg_parameter_acl" in text) == (major >= 15)
    assert decode(b"") is None


def test_a_probe_that_was_struck_leaves_no_statement(shared: Engine) -> None:
    """The next one closes what is left of it, or it would fail for ever."""
    player = Player(shared, 1)
    player.query("SET TimeZone = 'UTC'")
    player.server(complete("SET") + ready())
    player.query(ON_U)
    player.clear()
    player.server(messages.PARSE_COMPLETE + error("57014") + ready())
    player.wake()
    player.server(answer("a"))
    player.clear()
    player.query(ON_U)
    _, to_server = player.clear()
    assert player.waiting
    assert to_server.startswith(messages.close(b"S", probe.NAME) + probe.asking(()))
    player.server(messages.CLOSE_COMPLETE)
    player.probed()
    player.expect(f"S< Q {ON_U}")
    player.server(answer("a"))
    player.expect("C< T\nC< D a\nC< C SELECT 1\nC< Z I")
