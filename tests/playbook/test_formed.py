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
from tests.playbook.stage import Player, answer, complete, ready, shop

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
        if player.session.pending[0].probe_epoch is not None:
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
    assert ask(player, READ) == Reason.SESSION_UNKNOWN
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


def test_operators_that_have_changed_since(engine: Engine) -> None:
    player = Player(engine, 1)
    assert ask(player, READ) == Reason.NOT_CACHED
    engine.install("shop", catalog(fingerprint="another", operator_set=1))
    assert ask(player, PLAIN) == Reason.SESSION_UNKNOWN
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
    player.wake()
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


@pytest.mark.parametrize("context", [False, True])
def test_a_text_that_postgresql_refuses_runs_nothing(engine: Engine, context: bool) -> None:
    """Unless the error has a context: then it is a function's."""
    player = Player(engine, 1)
    player.query("SELECT nowhere.y FROM nowhere")
    fields = b"SERROR\0VERROR\0C42P01\0Mno\0P23\0" + (b"Win f\0" if context else b"") + b"\0"
    player.server(messages.message(b"E", fields) + ready())
    player.clear()
    assert ask(player, "SELECT 1") in (Reason.NO_RELATION, Reason.SESSION_UNKNOWN)
    assert ask(player, READ) == (Reason.FUNCTIONS_STALE if context else Reason.NOT_CACHED)
