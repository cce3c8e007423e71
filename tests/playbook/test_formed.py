"""K1: a session keeps the plans of functions that it has run, and with them old settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.catalog.snapshot import OPAQUE, CatalogSnapshot, Function, Routine
from proxy.reasons import Reason
from proxy.session.engine import Engine
from proxy.wire import messages
from tests.playbook import stage
from tests.playbook.stage import OID, Player, answer, complete, ready, shop

READ = "SELECT f() FROM t"
PLAIN = "SELECT x FROM t"
SET = "SET timezone = 'Asia/Tokyo'"
SET_PATH = "SET search_path = public"


def catalog(**more: object) -> CatalogSnapshot:
    """The tables, and f(), which reads u."""
    base = shop()
    function = Function(0, 0, OPAQUE, False, 30001)
    routine = Routine("public.f", OPAQUE, volatility="s", language="sql", source="SELECT x FROM u")
    functions = {**base.functions, "public": {"f": (function,)}}
    parts: dict[str, Any] = {"fingerprint": "formed", "functions": functions}
    return replace(base, **{**parts, "routines": {30001: routine}, **more})


@pytest.fixture
def engine() -> Engine:
    engine = stage.engine()
    engine.install("shop", catalog())
    return engine


def ask(player: Player, text: str) -> str:
    """Run a read; how it was answered: `hit`, or the reason of what was forwarded."""
    statements = player.engine.statistics.statements
    before = dict(statements)
    player.query(text)
    while player.session.pending:
        if player.session.pending[0].probe_state is not None:
            player.probed()
        else:
            player.server(answer("1"))
    to_client, _ = player.clear()
    assert to_client.endswith(ready())
    changed = [key for key in statements if statements[key] != before.get(key, 0)]
    if not changed:
        return "hit"
    ((_, reason),) = changed
    return reason or "hit"


def change_settings(player: Player, settings: str) -> None:
    player.query(SET)
    player.server(complete("SET") + ready())
    player.settings = settings
    assert ask(player, "SELECT 1") in (Reason.NO_RELATION, Reason.SESSION_UNKNOWN)


def test_a_function_that_has_run_under_other_settings(engine: Engine) -> None:
    player, other = Player(engine, 1), Player(engine, 2, settings="tokyo")
    assert ask(player, READ) == Reason.NOT_CACHED
    assert ask(player, READ) == "hit"
    change_settings(player, "tokyo")
    assert ask(player, READ) == Reason.FUNCTIONS_STALE
    assert ask(player, PLAIN) == Reason.NOT_CACHED
    assert ask(player, PLAIN) == "hit"
    # Nothing was stored that the session's old plans may have made.
    assert ask(other, READ) == Reason.NOT_CACHED
    assert ask(other, READ) == "hit"
    # Nor does PostgreSQL answer this session as it answers others.
    assert ask(player, READ) == Reason.FUNCTIONS_STALE


def test_settings_that_come_before_any_function(engine: Engine) -> None:
    player = Player(engine, 1)
    change_settings(player, "tokyo")
    assert ask(player, READ) == Reason.NOT_CACHED
    assert ask(Player(engine, 2, settings="tokyo"), READ) == "hit"


def test_a_function_that_runs_while_the_settings_are_asked_for(engine: Engine) -> None:
    """The probe in front of it shows under which settings it ran."""
    player = Player(engine, 1)
    player.query(SET)
    player.server(complete("SET") + ready())
    player.settings = "tokyo"
    player.query(READ)
    player.wake(late=True)
    player.clear()
    player.probed()
    player.server(answer("1"))
    player.clear()
    assert ask(player, READ) == Reason.NOT_CACHED
    assert ask(player, READ) == "hit"


def test_a_function_that_may_have_run_under_anything(engine: Engine) -> None:
    player, other = Player(engine, 1), Player(engine, 2)
    player.query("SET LOCAL timezone = 'UTC'; SELECT f() FROM t")
    player.server(complete("SET") + answer("1"))
    player.clear()
    assert ask(player, "SELECT 1") in (Reason.NO_RELATION, Reason.SESSION_UNKNOWN)
    assert ask(player, READ) == Reason.FUNCTIONS_STALE
    assert ask(other, READ) == Reason.NOT_CACHED
    assert ask(player, READ) == Reason.FUNCTIONS_STALE


def test_code_that_has_changed_since(engine: Engine) -> None:
    player = Player(engine, 1)
    assert ask(player, READ) == Reason.NOT_CACHED
    engine.install("shop", catalog(fingerprint="another", code="another"))
    assert ask(player, PLAIN) == Reason.NOT_CACHED
    assert ask(player, READ) == Reason.FUNCTIONS_STALE
    assert ask(Player(engine, 2), READ) == Reason.NOT_CACHED


def test_a_call_that_waits_for_the_search_path(engine: Engine) -> None:
    """F9: without it all schemas count, and one of them has a function that may do anything."""
    functions = {**catalog().functions, "other": {"f": (Function(0, 0, OPAQUE, False, 30002),)}}
    dynamic = Routine("other.f", OPAQUE, language="sql", source="SELECT dynamic()")
    routines = {**catalog().routines, 30002: dynamic}
    engine.install("shop", catalog(fingerprint="two", functions=functions, routines=routines))
    reader, player = Player(engine, 1), Player(engine, 2)
    assert ask(reader, PLAIN) == Reason.NOT_CACHED
    player.query(SET_PATH)
    player.server(complete("SET") + ready())
    player.clear()
    player.query(READ)
    assert player.waiting
    assert not engine.board.fences
    player.clear()
    player.probed()
    player.expect(f"S< Q {READ}")
    player.server(answer("1"))
    player.clear()
    assert ask(reader, PLAIN) == "hit"
    assert ask(player, READ) == "hit"


def test_a_call_whose_path_does_not_come_in_time(engine: Engine) -> None:
    functions = {**catalog().functions, "other": {"f": (Function(0, 0, OPAQUE, False, 30002),)}}
    engine.install("shop", catalog(fingerprint="two", functions=functions))
    player = Player(engine, 2)
    player.query(SET_PATH)
    player.server(complete("SET") + ready())
    player.query(READ)
    assert player.waiting
    player.clear()
    player.wake(late=True)
    player.expect(f"S< Q {READ}")
    assert engine.board.fences


def test_a_cursor_runs_functions_when_it_is_fetched(engine: Engine) -> None:
    player = Player(engine, 1)
    player.query("BEGIN")
    player.query(f"DECLARE c CURSOR FOR {READ}")
    player.server(messages.PARSE_COMPLETE + messages.BIND_COMPLETE + complete("BEGIN"))
    player.server(messages.CLOSE_COMPLETE * 2)
    player.server(complete("DECLARE CURSOR") + ready("T"))
    player.query("SET LOCAL timezone = 'Asia/Tokyo'")
    player.server(complete("SET") + ready("T"))
    player.query("FETCH c")
    player.server(answer("1", status="T"))
    player.query("COMMIT")
    player.server(complete("COMMIT") + ready())
    player.clear()
    ask(player, "SELECT 1")
    assert ask(player, READ) == Reason.FUNCTIONS_STALE


def test_a_portal_runs_functions_when_it_is_executed(engine: Engine) -> None:
    player = Player(engine, 1)
    player.query("BEGIN")
    player.client(messages.parse(b"s", READ.encode()) + messages.bind(b"p", b"s") + messages.SYNC)
    player.server(messages.PARSE_COMPLETE + messages.BIND_COMPLETE + complete("BEGIN"))
    player.server(messages.CLOSE_COMPLETE * 2)
    player.server(messages.PARSE_COMPLETE + messages.BIND_COMPLETE + ready("T"))
    player.query("SET LOCAL timezone = 'Asia/Tokyo'")
    player.server(complete("SET") + ready("T"))
    player.client(messages.execute(b"p") + messages.SYNC)
    player.server(complete("SELECT 0") + ready("T"))
    player.query("COMMIT")
    player.server(complete("COMMIT") + ready())
    player.clear()
    ask(player, "SELECT 1")
    assert ask(player, READ) == Reason.FUNCTIONS_STALE


def test_a_function_that_brings_its_own_settings(engine: Engine) -> None:
    """What it calls is planned under them, and for good."""
    outer = Routine(
        "public.g",
        OPAQUE,
        volatility="s",
        language="sql",
        source="SELECT f()",
        config=("TimeZone",),
    )
    functions = {
        "public": {**catalog().functions["public"], "g": (Function(0, 0, OPAQUE, False, 30003),)}
    }
    routines = {**catalog().routines, 30003: outer}
    engine.install("shop", catalog(fingerprint="own", functions=functions, routines=routines))
    player = Player(engine, 1)
    assert ask(player, "SELECT g() FROM t") == Reason.FUNCTIONS_STALE
    assert ask(player, READ) == Reason.FUNCTIONS_STALE
    assert ask(Player(engine, 2), READ) == Reason.NOT_CACHED


def test_a_table_made_of_what_a_function_gives(engine: Engine) -> None:
    player = Player(engine, 1)
    change_settings(player, "tokyo")
    player.query(f"CREATE TABLE z AS {READ}")
    player.server(complete("SELECT 1") + ready())
    player.clear()
    engine.shell.finish()  # type: ignore[attr-defined]
    player.query("SET timezone = 'UTC'")
    player.server(complete("SET") + ready())
    player.settings = "default"
    player.clear()
    ask(player, "SELECT 1")
    assert ask(player, READ) == Reason.FUNCTIONS_STALE


def test_a_name_that_the_protocol_has_used_is_unknown_to_execute(engine: Engine) -> None:
    """F9: PREPARE fails where the protocol has a statement of that name, and EXECUTE runs that."""
    player, reader = Player(engine, 1), Player(engine, 2)
    player.client(messages.parse(b"p", b"UPDATE t SET x = 1") + messages.SYNC)
    player.server(messages.PARSE_COMPLETE + ready())
    player.query("PREPARE p AS SELECT 1")
    player.server(messages.error_response("42P05", "exists", severity="ERROR") + ready())
    assert ask(reader, PLAIN) == Reason.NOT_CACHED
    player.query("EXECUTE p")
    assert engine.board.fences
    player.server(complete("UPDATE 1") + ready())
    assert ask(reader, PLAIN) == Reason.NOT_CACHED


def test_execute_does_what_its_prepare_said(engine: Engine) -> None:
    player, reader = Player(engine, 1), Player(engine, 2)
    player.query("PREPARE p AS UPDATE u SET x = 1")
    player.server(complete("PREPARE") + ready())
    assert ask(reader, PLAIN) == Reason.NOT_CACHED
    player.query("EXECUTE p")
    assert ask(reader, PLAIN) == "hit"
    assert ask(reader, "SELECT x FROM u") == Reason.FENCED
    player.server(complete("UPDATE 1") + ready())
    assert ask(reader, "SELECT x FROM u") == Reason.NOT_CACHED


@pytest.mark.parametrize("reset", [False, True])
def test_what_runs_at_commit(engine: Engine, reset: bool) -> None:
    """A cursor WITH HOLD and a deferred trigger run under the settings of the COMMIT."""
    player = Player(engine, 1)
    player.query("BEGIN")
    player.query(f"DECLARE c CURSOR WITH HOLD FOR {READ}")
    player.server(messages.PARSE_COMPLETE + messages.BIND_COMPLETE + complete("BEGIN"))
    player.server(messages.CLOSE_COMPLETE * 2)
    player.server(complete("DECLARE CURSOR") + ready("T"))
    if reset:
        player.query("SET LOCAL timezone = 'Asia/Tokyo'")
        player.server(complete("SET") + ready("T"))
    player.query("COMMIT")
    player.server(complete("COMMIT") + ready())
    player.clear()
    ask(player, "SELECT 1")
    assert ask(player, READ) == (Reason.FUNCTIONS_STALE if reset else Reason.NOT_CACHED)


@pytest.mark.parametrize("ddl", [False, True])
def test_what_was_planned_under_a_schema_that_was_rolled_back(engine: Engine, ddl: bool) -> None:
    player = Player(engine, 1)
    player.query("BEGIN")
    player.query("ALTER TABLE t ADD COLUMN y int" if ddl else "UPDATE t SET x = 1")
    player.server(messages.PARSE_COMPLETE + messages.BIND_COMPLETE + complete("BEGIN"))
    player.server(messages.CLOSE_COMPLETE * 2)
    player.server(complete("ALTER TABLE") + ready("T"))
    player.query(READ)
    player.server(answer("1", status="T"))
    player.query("ROLLBACK")
    player.server(complete("ROLLBACK") + ready())
    player.clear()
    ask(player, "SELECT 1")
    assert ask(player, READ) == (Reason.FUNCTIONS_STALE if ddl else Reason.NOT_CACHED)


def test_functions_of_reads_that_are_not_to_be_cached(engine: Engine) -> None:
    """They run, and the session keeps their plans all the same."""
    player = Player(engine, 1)
    assert ask(player, f"/* howdah: off */ {READ}") == Reason.HINT_OFF
    change_settings(player, "tokyo")
    assert ask(player, READ) == Reason.FUNCTIONS_STALE


@pytest.mark.parametrize("rights", [False, True])
def test_rights_that_changed_by_a_command_in_another_database(engine: Engine, rights: bool) -> None:
    """Roles belong to all databases, and plans that are kept hear nothing of them."""
    player = Player(engine, 1)
    assert ask(player, READ) == Reason.NOT_CACHED
    other = shop(database_oid=OID + 1)
    engine.install("other", replace(other, fingerprint="1"))
    roles = ("others", "others" if rights else "")
    engine.install("other", replace(other, fingerprint="2", roles=roles))
    engine.store.evict(((OID, 0),), "test")
    assert ask(player, READ) == (Reason.FUNCTIONS_STALE if rights else Reason.NOT_CACHED)


def test_a_change_of_roles_counts_once_however_many_databases_see_it(engine: Engine) -> None:
    """Each database finds it at a time of its own; sessions of the first need not hear again."""
    player = Player(engine, 1)
    for number in range(3):
        engine.install(f"db{number}", shop(database_oid=OID + 1 + number))
    changed = ("changed", "changed")
    engine.install("shop", catalog(fingerprint="2", roles=changed))
    assert ask(player, PLAIN) == Reason.SESSION_UNKNOWN
    assert ask(player, PLAIN) == Reason.NOT_CACHED
    assert ask(player, PLAIN) == "hit"
    for number in range(3):
        more = shop(database_oid=OID + 1 + number)
        engine.install(f"db{number}", replace(more, fingerprint="2", roles=changed))
        assert ask(player, PLAIN) == "hit"
    # There and back again is two changes.
    engine.install("db0", shop(database_oid=OID + 1))
    assert engine.databases["shop"].contexts == {}


def test_roles_that_were_read_before_and_come_later_change_nothing(engine: Engine) -> None:
    """Catalogs are read side by side; what was read first may be told last."""
    player = Player(engine, 1)
    other = shop(database_oid=OID + 1)
    engine.install("other", other)
    newer = replace(other, fingerprint="2", roles=("changed", "changed"), moment=(8, -1))
    engine.install("other", newer)
    assert ask(player, READ) == Reason.SESSION_UNKNOWN
    assert ask(player, READ) == Reason.NOT_CACHED
    for moment in ((7, 0), (8, -2)):
        late = shop(database_oid=OID + 2, moment=moment)
        engine.install("late", replace(late, fingerprint=str(moment)))
        assert ask(player, READ) == "hit"
    engine.install("late", shop(database_oid=OID + 2, moment=(8, 0)))
    assert ask(player, READ) == Reason.FUNCTIONS_STALE


def test_a_database_that_is_gone_tells_nothing_of_roles(engine: Engine) -> None:
    """Its catalog cannot be read; sessions of others have nothing to fear from that."""
    player = Player(engine, 1)
    assert ask(player, READ) == Reason.NOT_CACHED
    engine.install("gone", shop(database_oid=OID + 1))
    assert ask(player, READ) == "hit"
    engine.install("gone", None, Reason.CATALOG_UNAVAILABLE)
    assert ask(player, READ) == "hit"


def test_roles_that_change_where_nobody_can_look(engine: Engine) -> None:
    """A command in a database whose catalog cannot be read may have been about roles."""
    player = Player(engine, 1)
    assert ask(player, READ) == Reason.NOT_CACHED
    closed = Player(engine, 2, database="closed")
    engine.install("closed", None, Reason.CATALOG_UNAVAILABLE)
    closed.query("REVOKE some FROM app")
    closed.server(complete("REVOKE ROLE") + ready())
    shell = engine.shell
    assert isinstance(shell, stage.Shell)
    assert shell.asked[-1] == "reload closed"
    shell.finish()
    assert ask(player, READ) == Reason.FUNCTIONS_STALE
