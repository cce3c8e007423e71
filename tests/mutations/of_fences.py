"""Mutations of fences: when they go up and come down, what is evicted (F1, F2, F3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.cache.fences import LocalBoard
from proxy.net.watch import ServerWatch
from proxy.policy.plan import NOTHING, Control, Flag
from proxy.session.core import Session
from proxy.session.replies import ServerSide
from proxy.session.state import SessionState
from tests.mutations import patching
from tests.mutations.entry import (
    CHECKER,
    FAULTS,
    RACES,
    SCHEMA,
    SIMPLE,
    WRITES,
    mutation,
)


@mutation(
    "F1",
    "the fence goes up with the first reply, not before the bytes leave",
    SIMPLE + "test_fence_stands_before_the_write_leaves_and_falls_after_ready",
    RACES + "test_acknowledgement_held_after_the_commit",
)
def raise_after_send() -> None:
    def late(dispatch: Any) -> Any:
        def later(self: Any, pending: Any) -> None:
            vars(self).setdefault("late", []).append((dispatch, pending))

        return later

    def first(from_server: Any) -> Any:
        def replies(self: Any, data: bytes, now: float) -> None:
            for dispatch, pending in vars(self).pop("late", []):
                if pending in self.pending:
                    dispatch(self, pending)
            from_server(self, data, now)

        return replies

    patching.replace(SessionState, "dispatch", late)
    patching.replace(Session, "from_server", first)


@mutation(
    "F1",
    "COMMIT AND CHAIN is not fenced",
    SIMPLE + "test_commit_and_chain_keeps_fencing",
    WRITES + "test_commit_and_chain",
    CHECKER,
)
def chain_is_not_fenced() -> None:
    def without(dispatch: Any) -> Any:
        def unfenced(self: Any, pending: Any) -> None:
            if pending.control is Control.CHAIN:
                pending.flags &= ~Flag.MAY_COMMIT
            dispatch(self, pending)

        return unfenced

    patching.replace(SessionState, "dispatch", without)


@mutation(
    "F1",
    "what a transaction has written is forgotten at each ReadyForQuery, 'T' included",
    SIMPLE + "test_explicit_transaction_fences_at_commit",
    RACES + "test_acknowledgement_of_commit_held",
    CHECKER,
)
def closure_cleared_at_t() -> None:
    def forgetful(settle: Any) -> Any:
        def forget(self: Any, head: Any) -> None:
            settle(self, head)
            self.closure, self.closure_flags = NOTHING, Flag.NONE

        return forget

    patching.replace(ServerSide, "_settle", forgetful)


@mutation(
    "F1",
    "ROLLBACK TO a savepoint forgets what the transaction has written",
    SIMPLE + "test_savepoints_do_not_shrink_the_closure",
)
def savepoint_shrinks_closure() -> None:
    def forgetful(settle: Any) -> Any:
        def forget(self: Any, head: Any) -> None:
            settle(self, head)
            if head.control is Control.SAVEPOINT and head.tag == b"ROLLBACK":
                self.closure, self.closure_flags = NOTHING, Flag.NONE

        return forget

    patching.replace(ServerSide, "_settle", forgetful)


@mutation(
    "F1",
    "COMMIT PREPARED counts as writing nothing",
    WRITES + "test_two_phase_commit_from_another_session",
)
def prepared_transactions_forgotten() -> None:
    def blind(plan: Any) -> Any:
        def planned(self: Any, text: bytes, **more: Any) -> Any:
            found = plan(self, text, **more)
            if text.upper().startswith(b"COMMIT PREPARED"):
                return replace(found, closure=NOTHING, flags=Flag.PLAIN)
            return found

        return planned

    patching.replace(SessionState, "plan", blind)


@mutation(
    "F2",
    "the fence comes down at CommandComplete",
    SIMPLE + "test_fence_stands_before_the_write_leaves_and_falls_after_ready",
    RACES + "test_acknowledgement_held_after_the_commit",
    WRITES + "test_deferred_constraint_fails_at_sync",
    WRITES + "test_copy_is_fenced_until_its_end",
)
def lower_at_command_complete() -> None:
    def hasty(read: Any) -> Any:
        def message(self: Any, kind: int, data: bytes, position: int, size: int, head: Any) -> Any:
            if kind == 0x43 and head is not None and head.fence is not None and not head.prefix:
                self.engine.lower(head.fence)
                head.fence = None
            return read(self, kind, data, position, size, head)

        return message

    patching.replace(ServerSide, "_message", hasty)


@mutation(
    "F2",
    "the fence of a lost connection comes down at once, without proof",
    SIMPLE + "test_lost_upstream_keeps_the_fence_until_proof",
    FAULTS + "test_link_lost_while_the_commit_waits",
)
def lost_connection_lowers_at_once() -> None:
    patching.replace(
        Session, "_lower_after_proof", lambda _: lambda self, fence: self.engine.lower(fence)
    )


@mutation(
    "F2, F3",
    "a lost connection counts as an abort: its fence comes down, and old entries hold again",
    FAULTS + "test_backend_terminated_while_its_commit_waits",
)
def lost_connection_is_an_abort() -> None:
    def hopeful(_: Any) -> Any:
        return lambda self, fence: self.engine.lower(fence, undone=True)

    patching.replace(Session, "_lower_after_proof", hopeful)


@mutation(
    "F2",
    "a proof is not asked for: the fence of a lost connection comes down when somebody looks",
    FAULTS + "test_link_lost_while_the_commit_waits",
)
def proof_without_looking() -> None:
    patching.replace(ServerWatch, "prove_ended", lambda _: lambda self, pid, done: done())


@mutation(
    "F2",
    "a client that vanishes takes the fences of its requests along",
    RACES + "test_client_killed_between_commit_and_answer",
    RACES + "test_commit_waits_for_a_standby",
)
def client_gone_lowers() -> None:
    def careless(client_lost: Any) -> Any:
        def lost(self: Any, now: float) -> None:
            for pending in self.pending:
                if pending.fence is not None:
                    self.engine.lower(pending.fence)
                    pending.fence = None
            client_lost(self, now)

        return lost

    patching.replace(Session, "client_lost", careless)


@mutation(
    "F3",
    "an ERROR proves that nothing was committed, also of DO and CALL",
    WRITES + "test_call_commits_and_then_fails",
    SCHEMA + "test_detach_concurrently_cancelled_in_its_second_phase",
)
def any_error_is_an_abort() -> None:
    def credulous(known_abort: Any) -> Any:
        return lambda self, head: head.error is not None or known_abort(self, head)

    patching.replace(ServerSide, "_known_abort", credulous)


@mutation(
    "F3",
    "FATAL proves that nothing was committed",
    FAULTS + "test_backend_terminated_behind_an_inner_commit",
)
def fatal_is_an_abort() -> None:
    def credulous(prove: Any) -> Any:
        def proven(self: Any, fence: Any) -> None:
            if self.fatal_seen:
                self.engine.lower(fence, undone=True)
            else:
                prove(self, fence)

        return proven

    patching.replace(Session, "_lower_after_proof", credulous)


@mutation(
    "F3",
    "COMMIT; ROLLBACK in one Query counts as a rollback, by its last tag",
    SIMPLE + "test_the_last_tag_of_several_statements_proves_nothing",
)
def last_tag_proves_an_abort() -> None:
    def credulous(known_abort: Any) -> Any:
        return lambda self, head: head.tag == b"ROLLBACK" or known_abort(self, head)

    patching.replace(ServerSide, "_known_abort", credulous)


@mutation(
    "F3",
    "the question before a COMMIT is taken to say that nothing was touched",
    "tests/playbook/test_touched.py::test_a_fill_of_a_touched_relation_is_dropped",
)
def touched_relations_are_spared() -> None:
    patching.replace(
        LocalBoard, "narrow", lambda narrow: lambda self, fence, _: narrow(self, fence, ())
    )
