"""Mutations of whose answer it is: keys, settings, roles, transactions (K1 to K4, T1, T2).

Found by sessions with twins: random settings (`tests/differential/test_settings.py`) and
random everything (`tests/stateful`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from proxy.policy.plan import Flag
from proxy.session import probe
from proxy.session.requests import ClientSide
from proxy.session.state import SessionState
from proxy.session.tracking import State, Tracking
from tests.mutations import of_answers, patching
from tests.mutations.entry import mutation

SETTINGS = "tests/differential/test_settings.py::test_no_difference"
TWINS = "tests/stateful/test_stateful.py::test_no_difference"


def _answering(**changes: Any) -> None:
    """Let the probe's answers say something else: values, or functions of the answer."""

    def lie(decode: Any) -> Any:
        def decoded(payload: bytes) -> probe.Answer:
            answer = decode(payload)
            new = {k: v(answer) if callable(v) else v for k, v in changes.items()}
            return replace(answer, **new)

        return decoded

    patching.replace(probe, "decode", lie)


# --- the key (K1, K4) ---------------------------------------------------------------------


@mutation("K1", "bytea_output is no part of the key", SETTINGS)
def setting_is_not_in_the_key() -> None:
    patching.replace(probe, "PROBE_SQL", lambda sql: sql.replace("ANY ('{", "ANY ('{bytea_output,"))


@mutation("K1", "the values of custom settings are no part of the key", SETTINGS, TWINS)
def custom_settings_are_not_in_the_key() -> None:
    _answering(custom="")


@mutation("K1, K2", "SET ROLE counts for nothing", TWINS)
def role_is_not_in_the_key() -> None:
    _answering(role=lambda a: a.login_role, role_oid=lambda a: a.login_oid)


@mutation("K4", "temporary objects are not noticed", TWINS)
def temporary_objects_are_ignored() -> None:
    def permanent(answer: probe.Answer) -> tuple[str, ...]:
        return tuple(name for name in answer.search_path if not name.startswith("pg_temp_"))

    _answering(temporary=False, search_path=permanent)


@mutation("K1", "a prepared statement is good under all settings, whatever its Parse saw", SETTINGS)
def parse_under_other_settings() -> None:
    patching.replace(Tracking, "_new_state", lambda _: lambda self, epoch: State(0, self.reported))


# --- settings in transactions (K3) --------------------------------------------------------


@mutation("K3", "SET LOCAL is believed to outlive its transaction", SETTINGS)
def local_outlives_the_transaction() -> None:
    def lasting(moves: Any) -> Any:
        return lambda self, flags: moves(self, flags & ~Flag.LOCAL)

    patching.replace(Tracking, "moves", lasting)


@mutation("K3", "ROLLBACK leaves the settings as they are", SETTINGS, TWINS)
def rollback_keeps_settings() -> None:
    patching.rewrite(Tracking, "_outside", "self._back(self.begun)", "self._go(self.settings)")


@mutation("K3", "ROLLBACK TO leaves the settings as they are", SETTINGS)
def savepoint_keeps_settings() -> None:
    patching.rewrite(Tracking, "_savepoint", "self._back(marks[at][1:])", "self._go(self.settings)")


@mutation("K3", "what fails has changed no setting, whatever it committed before", TWINS)
def refused_means_unchanged() -> None:
    patching.rewrite(
        Tracking,
        "_outside",
        "head.flags & (Flag.MAY_COMMIT | Flag.OPAQUE) or head.was is None",
        "head.was is None",
    )


@mutation("K3", "DISCARD ALL and RESET ALL leave the settings as they are", SETTINGS, TWINS)
def discard_keeps_settings() -> None:
    def deaf(moves: Any) -> Any:
        def moved(self: Any, flags: int) -> None:
            if not flags & (Flag.DISCARD_ALL | Flag.RESET_ALL):
                moves(self, flags)

        return moved

    patching.replace(Tracking, "moves", deaf)


# --- transactions (T1, T2) ----------------------------------------------------------------


@mutation("T1", "a transaction that has written is answered from memory", TWINS)
def writer_reads_old_answers() -> None:
    of_answers.hit_after_own_write()


@mutation("F5, T1", "a transaction that has written offers its answers to others", TWINS)
def writer_fills_for_others() -> None:
    of_answers.fill_from_a_writer()


@mutation("T1", "REPEATABLE READ and SERIALIZABLE are answered from memory", TWINS)
def isolation_is_ignored() -> None:
    def blind(note: Any) -> Any:
        def noted(self: Any, pending: Any, plan: Any, text: Any = None) -> None:
            note(self, pending, replace(plan, flags=plan.flags & ~Flag.ISOLATION), text)

        return noted

    patching.replace(SessionState, "note", blind)
    _answering(read_committed=True)


@mutation("T2", "a failed transaction is answered from memory", TWINS)
def failed_transaction_reads_on() -> None:
    of_answers.hit_in_failed_transaction()

    def lax(after: Any) -> Any:
        def settled(self: Any, head: Any, previous: bytes) -> None:
            context = self.context
            after(self, head, previous)
            if self.status == b"E":
                self.context = context

        return settled

    patching.replace(Tracking, "settings_after", lax)


@mutation("T2", "ReadyForQuery behind a hit tells of no transaction", TWINS)
def hit_tells_the_wrong_status() -> None:
    patching.rewrite(
        ClientSide, "after_hit", "return messages.READY_BLOCK", "return messages.READY_IDLE"
    )
