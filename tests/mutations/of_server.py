"""Mutations of what is believed of the server, the start and the schema (F8, F11, F12)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.cache.fences import LocalBoard
from proxy.session.engine import Engine
from proxy.session.replies import ServerSide
from proxy.session.state import SessionState
from tests.mutations import patching
from tests.mutations.entry import (
    EXTENDED,
    FAULTS,
    RULES,
    SCHEMA,
    SIMPLE,
    mutation,
)
from tests.mutations.of_answers import no_counters_at_admit
from tests.mutations.of_fences import lost_connection_is_an_abort


@mutation(
    "F8",
    "a lost connection does not suspend hits",
    SIMPLE + "test_lost_upstream_suspends_hits_until_the_server_is_known",
    "tests/adversity/test_crash.py::test_half_open_session_gets_no_hits",
)
def loss_does_not_suspend() -> None:
    patching.replace(Engine, "upstream_lost", lambda _: lambda self, why: None)


@mutation(
    "F8",
    "another server is taken for the one of before",
    SIMPLE + "test_lost_upstream_suspends_hits_until_the_server_is_known",
)
def server_change_is_ignored() -> None:
    patching.rewrite(
        Engine,
        "identity_seen",
        "self.identity is not None and identity != self.identity",
        "False",
    )


@mutation(
    "F8, K1",
    "sessions are told apart by their roles alone, not by server and settings",
    FAULTS + "test_address_leads_to_another_server",
)
def server_is_not_in_the_key() -> None:
    def first(identity_seen: Any) -> Any:
        return lambda self, identity: identity_seen(self, self.identity or identity)

    def any_server(context: Any) -> Any:
        def found(self: Any, name: str, answer: Any) -> Any:
            known = self.identity or answer.identity
            return context(self, name, replace(answer, identity=known, settings=""))

        return found

    patching.replace(Engine, "identity_seen", first)
    patching.replace(Engine, "context", any_server)


@mutation(
    "F2, F8",
    "a lost connection counts as an abort, and a restarted server as the one before",
    FAULTS + "test_immediate_restart_in_the_middle_of_a_commit",
)
def restart_is_not_noticed() -> None:
    lost_connection_is_an_abort()
    server_is_not_in_the_key()
    patching.replace(Engine, "settings_reloaded", lambda _: lambda self: None)


@mutation(
    "F11",
    "fills begin right after the start",
    FAULTS + "test_killed_with_a_commit_in_flight_and_restarted",
)
def no_start_gate() -> None:
    patching.replace(Engine, "begin_start_gate", lambda _: lambda self: None)


@mutation(
    "F12",
    "the fence of DDL comes down before the catalog is read",
    SIMPLE + "test_ddl_comes_down_with_the_new_catalog",
    SCHEMA + "test_fence_of_ddl_waits_for_the_new_catalog",
)
def ddl_lowers_before_the_catalog() -> None:
    def hasty(read_again: Any) -> Any:
        def lowered(self: Any, fence: Any) -> None:
            self.engine.schema_down(self.data, fence)
            self.engine.shell.reload_catalog(self.data.name, lambda: None)

        return lowered

    patching.replace(ServerSide, "_read_schema_again", hasty)


@mutation(
    "F12",
    "a new catalog leaves the fences of writes in flight as they are",
    SCHEMA + "test_trigger_made_while_a_write_waits_for_its_lock",
)
def writes_in_flight_are_not_widened() -> None:
    patching.replace(LocalBoard, "widen", lambda _: lambda self, fence, granules: None)


@mutation(
    "F12",
    "COMMIT fences what its writes reached when they were sent, not what they reach now",
    RULES + "test_a_commit_behind_a_new_catalog_fences_everything",
    SCHEMA + "test_trigger_function_replaced_before_it_fires_deferred",
)
def stale_closure_at_commit() -> None:
    patching.rewrite(SessionState, "dispatch", "self.closure_version != self.data.version", "False")


@mutation(
    "F2",
    "a Sync inside COPY counts as the end of its request",
    EXTENDED + "test_copy_in_swallows_the_sync_behind_execute",
)
def sync_ends_a_copy() -> None:
    patching.replace(ServerSide, "_copy_in", lambda _: lambda self, head: None)


@mutation(
    "F5, K1",
    "contexts outlive a change of the schema, and counters are not compared at the admission",
    SCHEMA + "test_ddl_against_a_fill",
)
def contexts_outlive_ddl() -> None:
    no_counters_at_admit()

    def forget_plans_only(_: Any) -> Any:
        def retire(self: Any, database: Any) -> None:
            database.plans.clear()
            for context in database.contexts.values():
                context.plans.clear()

        return retire

    patching.replace(Engine, "_retire", forget_plans_only)


@mutation(
    "F12",
    "a write that is sent under the fence of DDL is fenced and widened like any other: not at all",
    SCHEMA + "test_write_sent_under_the_fence_of_ddl",
)
def write_under_ddl_is_narrow() -> None:
    writes_in_flight_are_not_widened()
    patching.rewrite(Engine, "granules", " or database.schema_fences", "")
