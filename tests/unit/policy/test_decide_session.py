"""Transaction control, settings and utilities (T1, T2, K3)."""

from __future__ import annotations

import pytest

from proxy.policy.plan import NOTHING, Control, Kind
from proxy.reasons import Reason
from tests.unit.policy.helpers import flags, plan

CONTROLS = {
    "begin": (Control.BEGIN, {"DEFERRABLE"}),
    "START TRANSACTION": (Control.BEGIN, {"DEFERRABLE"}),
    "begin work read only": (Control.BEGIN, {"DEFERRABLE"}),
    "begin transaction isolation level read committed, read write, not deferrable": (
        Control.BEGIN,
        {"DEFERRABLE"},
    ),
    "begin isolation level read uncommitted": (Control.BEGIN, {"ISOLATION"}),
    "begin isolation level repeatable read": (Control.BEGIN, {"ISOLATION"}),
    "start transaction isolation level serializable read only deferrable": (
        Control.BEGIN,
        {"ISOLATION"},
    ),
    "commit": (Control.COMMIT, {"MAY_COMMIT"}),
    "end": (Control.COMMIT, {"MAY_COMMIT"}),
    "commit and no chain": (Control.COMMIT, {"MAY_COMMIT"}),
    "commit and chain": (Control.CHAIN, {"MAY_COMMIT"}),
    "rollback": (Control.ROLLBACK, {"MAY_COMMIT"}),
    "abort": (Control.ROLLBACK, {"MAY_COMMIT"}),
    "rollback and chain": (Control.CHAIN, {"MAY_COMMIT"}),
    "savepoint x": (Control.SAVEPOINT, set()),
    "release x": (Control.SAVEPOINT, set()),
    "rollback to savepoint x": (Control.SAVEPOINT, set()),
    "prepare transaction 'x'": (Control.NONE, {"MAY_COMMIT"}),
    "set transaction isolation level repeatable read": (Control.SET_TRANSACTION, {"ISOLATION"}),
    "set transaction read only": (Control.SET_TRANSACTION, set()),
    "set transaction snapshot '0-1'": (Control.SET_TRANSACTION, {"ISOLATION"}),
    "set transaction_isolation = 'read committed'": (Control.SET_TRANSACTION, set()),
    "set transaction_isolation = serializable": (Control.SET_TRANSACTION, {"ISOLATION"}),
    "set local transaction_isolation to default": (Control.SET_TRANSACTION, {"ISOLATION"}),
    "set transaction_read_only = off": (Control.SET_TRANSACTION, set()),
    "set session characteristics as transaction isolation level serializable": (
        Control.SET_TRANSACTION,
        {"ISOLATION", "SETTINGS"},
    ),
    "set session characteristics as transaction read only": (
        Control.SET_TRANSACTION,
        {"SETTINGS"},
    ),
}


@pytest.mark.parametrize("text", CONTROLS)
def test_transaction_control(text):
    found = plan(text)
    assert found.control is CONTROLS[text][0]
    assert flags(found) == CONTROLS[text][1]
    assert (found.kind, found.reason, found.closure) == (Kind.OTHER, Reason.TRANSACTION, NOTHING)


def test_control_is_for_single_statements():
    found = plan("begin; select 1")
    assert found.control is Control.NONE
    assert flags(found) == {"SEVERAL"}
    found = plan("rollback; begin isolation level serializable")
    assert found.control is Control.NONE
    assert flags(found) == {"SEVERAL", "ISOLATION", "MAY_COMMIT"}


SETTINGS = {
    "set statement_timeout = 0": set(),
    "set lock_timeout = '5s'": set(),
    "set application_name = 'x'": set(),
    # What a function says by NOTICE keeps its answer from being stored where it is seen.
    "set client_min_messages = warning": {"SETTINGS", "SET_CONSTANT"},
    "set local work_mem = '1GB'": set(),
    "set enable_seqscan = off": set(),
    "reset work_mem": set(),
    "set idle_in_transaction_session_timeout = 5": {"SETTINGS", "SET_CONSTANT"},
    "set timezone = 'UTC'": {"SETTINGS", "SET_CONSTANT"},
    "set time zone 'Europe/Berlin'": {"SETTINGS", "SET_CONSTANT"},
    "SET TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE": {"SETTINGS", "SET_CONSTANT"},
    "set time zone local": {"SETTINGS"},
    "set datestyle to iso, mdy": {"SETTINGS", "SET_CONSTANT"},
    "set names 'utf8'": {"SETTINGS", "SET_CONSTANT"},
    "set app.user_id = '5'": set(),
    "set local app.user_id = '5'": set(),
    "reset app.user_id": set(),
    # They belong to a library, or to nobody that is known.
    "set plpgsql.variable_conflict = error": {"SETTINGS", "SET_CONSTANT"},
    "set hnsw.ef_search = 100": {"SETTINGS", "SET_CONSTANT"},
    'set "app.\u212a" = 5': {"SETTINGS", "SET_CONSTANT"},
    "set row_security = off": {"SETTINGS", "SET_CONSTANT"},
    "set search_path to a, b": {"SETTINGS", "PATH", "SET_CONSTANT"},
    "set SEARCH_PATH to a": {"SETTINGS", "PATH", "SET_CONSTANT"},
    "set local search_path to a": {"SETTINGS", "PATH", "SET_CONSTANT", "LOCAL"},
    "set local timezone to default": {"SETTINGS", "LOCAL"},
    "set schema 'x'": {"SETTINGS", "PATH", "SET_CONSTANT"},
    "set role bob": {"SETTINGS", "PATH", "SET_CONSTANT"},
    "set role none": {"SETTINGS", "PATH", "SET_CONSTANT"},
    "reset role": {"SETTINGS", "PATH"},
    "set session authorization bob": {"SETTINGS", "PATH", "SET_CONSTANT"},
    "set session authorization default": {"SETTINGS", "PATH"},
    "reset session authorization": {"SETTINGS", "PATH"},
    "set timezone to default": {"SETTINGS"},
    "set timezone from current": {"SETTINGS"},
    "reset timezone": {"SETTINGS"},
    "reset all": {"SETTINGS", "PATH", "RESET_ALL"},
    "discard all": {"SETTINGS", "PATH", "STATEMENTS", "DISCARD_ALL"},
    "discard temp": {"SETTINGS", "PATH"},
    "discard plans": set(),
    "discard sequences": set(),
}


@pytest.mark.parametrize("text", SETTINGS)
def test_settings(text):
    found = plan(text)
    assert flags(found) == SETTINGS[text]
    assert (found.kind, found.reason, found.closure) == (Kind.OTHER, Reason.SETTING, NOTHING)


SET_CONFIG = {
    "select set_config('timezone', 'UTC', false)": {"SETTINGS", "SET_CONSTANT"},
    "select set_config('timezone', 'UTC', 't') as tz": {"SETTINGS", "SET_CONSTANT", "LOCAL"},
    "select set_config('timezone', 'UTC', $1)": {"SETTINGS"},
    "select set_config('timezone', $1, 1 = 1)": {"SETTINGS"},
    "select set_config('timezone', id::text, true) from a": {"SETTINGS"},
    "select set_config('timezone', 'UTC', true) where true": {"SETTINGS"},
    "select set_config('timezone', 'UTC', true), 1": {"SETTINGS"},
    "select set_config('timezone', lower('UTC'), true)": {"SETTINGS"},
    "select set_config('timezone', $1::int::text, true)": {"SETTINGS", "SET_CONSTANT", "LOCAL"},
    "select set_config('timezone', $1::date::text, true)": {"SETTINGS"},
    "select set_config('timezone', $1::mood, true)": {"SETTINGS"},
    "select set_config('transaction_isolation', 'serializable', true)": {"SETTINGS", "ISOLATION"},
    "select set_config('a.b', $1, true)": set(),
    "select set_config('a.b', $1, true), set_config('timezone', $2, false)": {
        "SETTINGS",
        "SET_CONSTANT",
    },
    "select set_config('timezone', $2, false), set_config('xmloption', 'content', true)": {
        "SETTINGS"
    },
    "declare c cursor for select set_config('timezone', 'UTC', true)": {"SETTINGS", "OPAQUE"},
    "explain select set_config('timezone', 'UTC', true)": {"SETTINGS", "SET_CONSTANT", "LOCAL"},
    "select set_config('Application_Name', 'x', false)": set(),
    "select pg_catalog.set_config('search_path', '', false)": {
        "SETTINGS",
        "PATH",
        "SET_CONSTANT",
    },
    "select set_config('role', $1, true)": {"SETTINGS", "PATH", "SET_CONSTANT", "LOCAL"},
    "select set_config($1, $2, true)": {"SETTINGS", "PATH"},
    "select set_config(name, 'x', true) from a": {"SETTINGS", "PATH"},
    "select set_config('a.b', $1, true), set_config('session_authorization', $2, true)": {
        "SETTINGS",
        "PATH",
        "SET_CONSTANT",
        "LOCAL",
    },
}


@pytest.mark.parametrize("text", SET_CONFIG)
def test_set_config(text):
    found = plan(text)
    assert flags(found) == SET_CONFIG[text]
    assert (found.kind, found.closure) == (Kind.BYPASS, NOTHING)
    assert found.reason in (Reason.SETTING, Reason.CURSOR, Reason.EXPLAIN)


CUSTOM = {"SETTINGS", "CUSTOM"}
WATCHED = {
    "set app.user_id = '5'": {*CUSTOM, "SET_CONSTANT"},
    "set App.User_ID = 5": {*CUSTOM, "SET_CONSTANT"},
    "set local app.user_id = '5'": {*CUSTOM, "SET_CONSTANT", "LOCAL"},
    "reset app.user_id": CUSTOM,
    "set local app.user_id to default": {*CUSTOM, "LOCAL"},
    "set work_mem = '1MB'": {*CUSTOM, "SET_CONSTANT"},
    "reset work_mem": CUSTOM,
    "set app.other = '5'": set(),
    "reset all": {"SETTINGS", "PATH", "RESET_ALL"},
    "select set_config('app.user_id', $1, true)": {*CUSTOM, "SET_CONSTANT", "LOCAL"},
    "select set_config('app.user_id', $1, true), set_config('app.other', $2, false)": {
        *CUSTOM,
        "SET_CONSTANT",
        "LOCAL",
    },
    "select set_config('app.user_id', $1, true), set_config('work_mem', '1MB', false)": CUSTOM,
    "select set_config('app.user_id', $1, true), set_config('timezone', 'UTC', true)": {
        "SETTINGS",
        "SET_CONSTANT",
        "LOCAL",
    },
    "select set_config('app.user_id', name, true) from a": CUSTOM,
    "select set_config($1, 'x', true)": {"SETTINGS", "PATH"},
    "set app.user_id = 5; set local app.user_id = 6": {*CUSTOM, "SEVERAL"},
    "set app.user_id = 5; set timezone = 'UTC'": {"SETTINGS", "SEVERAL", "SET_CONSTANT"},
    "set local app.user_id = 5; select id from a": {*CUSTOM, "SEVERAL", "SET_CONSTANT", "LOCAL"},
    "set local app.user_id = 5; set local app.user_id to default": {*CUSTOM, "SEVERAL", "LOCAL"},
    "set app.user_id = 5; discard all": {"SETTINGS", "SEVERAL", "PATH", "STATEMENTS"},
}


@pytest.mark.parametrize("text", WATCHED)
def test_settings_that_something_depends_on(text):
    assert flags(plan(text, watched=frozenset(("app.user_id", "work_mem")))) == WATCHED[text]


def test_without_a_catalog_any_setting_with_a_dot_may_be_a_library_s():
    for text in ("set app.user_id = '5'", "set local app.user_id = '5'"):
        assert "SETTINGS" in flags(plan(text, catalog=None))
        assert "CUSTOM" not in flags(plan(text, catalog=None))


def test_what_executing_a_statement_sets_is_not_told_by_its_name():
    found = plan("prepare p as select set_config('timezone', 'UTC', true)").prepared
    assert found is not None
    assert flags(found) == {"SETTINGS", "LOCAL"}


STATEMENTS = {
    "prepare p as select 1": ("p",),
    'prepare "P q" (int) as select $1': ("P q",),
    "deallocate p": ("p",),
    "deallocate prepare p": ("p",),
    "deallocate all": None,
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_prepared_statements_at_sql_level(text):
    found = plan(text)
    assert found.dropped == STATEMENTS[text]
    assert flags(found) == {"STATEMENTS"}
    assert (found.kind, found.reason, found.closure) == (
        Kind.OTHER,
        Reason.PREPARED_SQL,
        NOTHING,
    )


def test_discard_all_drops_all_statements():
    assert plan("discard all").dropped is None
    assert plan("discard temp").dropped == ()
    assert plan("deallocate p; deallocate q").dropped == ("p", "q")


UTILITIES = [
    "listen x",
    "unlisten *",
    "notify x, 'y'",
    "checkpoint",
    "comment on table a is 'x'",
    "set constraints all immediate",
]


@pytest.mark.parametrize("text", UTILITIES)
def test_utilities(text):
    found = plan(text)
    assert (found.kind, found.reason, found.closure) == (Kind.OTHER, Reason.UTILITY, NOTHING)
    assert not flags(found)


def test_show():
    for text in ("show all", "show search_path", "SHOW TRANSACTION ISOLATION LEVEL"):
        found = plan(text)
        assert (found.kind, found.reason, found.closure) == (Kind.OTHER, Reason.SHOW, NOTHING)


def test_locks():
    """T1: who has locked expects the newest rows."""
    for text in (
        "lock table a in share mode",
        "select * from a for no key update",
        "select pg_advisory_xact_lock(1)",
        "declare c cursor for select * from a for update",
        "explain analyze select * from a for update",
    ):
        found = plan(text)
        assert flags(found) == {"LOCKS"}, text
        assert found.closure == NOTHING


def test_several_settings_are_constant_only_together():
    assert flags(plan("set timezone = 'UTC'; set app.x = 1; set work_mem = '1MB'")) == {
        "SEVERAL",
        "SETTINGS",
        "SET_CONSTANT",
    }
    assert flags(plan("set timezone = 'UTC'; set local xmloption = content")) == {
        "SEVERAL",
        "SETTINGS",
    }
    assert flags(plan("set timezone = 'UTC'; reset xmloption")) == {"SEVERAL", "SETTINGS"}
    assert flags(plan("close all; reset all")) == {"SEVERAL", "SETTINGS", "PATH", "RESET_ALL"}
    assert flags(plan("reset all; set timezone = 'UTC'")) == {"SEVERAL", "SETTINGS", "PATH"}
