"""What the settings of a session are, and what they will be when its transaction ends (K3).

What lives here: the states that the settings go through, what BEGIN, savepoints, COMMIT
and ROLLBACK make of them, and what is remembered of where a SET leads. What must not: SQL;
plans say what a text may do.

A state is a thing of its own, equal to nothing else: what is learnt of it later, by a probe
or from a transition that is known, holds wherever it is referred to. `settings` is the
state at this moment, `kept` the one that a COMMIT leaves (SET LOCAL ends there), `begun`
both as they were at BEGIN, to which ROLLBACK returns, and `marks` the same for savepoints.
All settings are transactional ("SET" in the manual, AtEOXact_GUC of guc.c); only a reload
of the configuration is not, which is seen by what the server reports, or by its watch.

Texts and functions depend on custom settings in no other way than by reading them when
they run. So contexts that differ in those alone are a family, and `epoch` numbers the
families of a session: what was prepared in one may be used while its number is the
present one.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

from proxy.policy.plan import Control, Flag, Plan
from proxy.session.context import Context, Database
from proxy.session.records import UNCONFINED, Pending, Statement

if TYPE_CHECKING:
    from proxy.session.engine import Engine

MIXED = object()  # several settings, or unknown ones
# Longer texts, parameters included, are not remembered.
_LEARNED_TEXT = 16 * 1024
_FAMILIES = 256

# Tags of transaction control. Where no plan says so, a portal of before has been executed.
_CONTROLS = frozenset((b"COMMIT", b"ROLLBACK", b"SAVEPOINT", b"RELEASE"))

_NAME = rb"""("?)([A-Za-z_][A-Za-z0-9_]{0,62})\1\s*(?:;\s*)?\Z"""
_SAVEPOINT = re.compile(rb"\s*SAVEPOINT\s+" + _NAME, re.IGNORECASE)
_RELEASE = re.compile(rb"\s*RELEASE\s+(?:SAVEPOINT\s+)?" + _NAME, re.IGNORECASE)
_BACK = re.compile(
    rb"\s*ROLLBACK\s+(?:WORK\s+|TRANSACTION\s+)?TO\s+(?:SAVEPOINT\s+)?" + _NAME, re.IGNORECASE
)


class State:
    """One state of the settings.

    Attributes:
        context: what it is, once that is known.
        epoch: number of its family in this session.
        came: the state before and the SET in between, while the way may be remembered.
        reported: what ParameterStatus said when it was the present one; None if it never was.
        watched: the custom settings that made a difference when it began.
    """

    __slots__ = ("came", "context", "epoch", "reported", "watched")

    def __init__(
        self, epoch: int, reported: dict[bytes, bytes] | None, watched: tuple[str, ...] = ()
    ) -> None:
        self.watched = watched
        self.context: Context | None = None
        self.epoch = epoch
        self.came: tuple[State, tuple[str, bytes]] | None = None
        self.reported = reported

    @property
    def live(self) -> Context | None:
        """Its context, if that is known and has not been outdated by a change of the schema."""
        context = self.context
        return context if context is not None and context.live else None


class Tracking:
    """The settings of one session. `SessionState` is one of these."""

    engine: Engine
    data: Database
    user: str
    status: bytes
    hot: bool
    pending: list[Pending]
    statements: dict[bytes, Statement]

    def __init__(self) -> None:
        self.reported: dict[bytes, bytes] = {}
        # The application_name: no part of a state, since nothing but rules depends on it.
        self.application = ""
        self.epochs = 0  # the last number given
        self.settings = self.kept = State(0, self.reported)
        # The same in short, for the look-up.
        self.context: Context | None = None
        self.epoch = 0
        # How names resolve, where that is known though the settings are not.
        self.path_context: Context | None = None
        self.begun: tuple[State, State] | None = None
        self.marks: list[tuple[bytes, State, State]] | None = None
        self._families: dict[int, int] = {}
        self.resets = ""  # a hash of what RESET ALL goes back to, as the last probe showed it
        # What the settings that are watched go back to: their values at the login, which
        # they were then, and how often the server's configuration had been read.
        self.login_custom: tuple[tuple[str, ...], int, str] | None = None
        # A cursor may change settings when it is fetched from.
        self.cursors_set = False
        # The settings under which functions in SQL or PL/pgSQL have first run: plans that
        # they made are kept by the session. None if none has run.
        self.formed: object = None
        self.bodies_in_block = False  # some may run yet before its transaction has ended
        self.forming = False  # the probe that is on its way will tell

    # Changes

    def moves(self, flags: int) -> None:
        """Something is sent that may change settings: they are unknown from here on."""
        custom = bool(flags & Flag.CUSTOM)
        before, kept = self.settings, self.kept
        state = self.settings = self._new_state(before.epoch if custom else None)
        if not flags & Flag.LOCAL:
            if kept is before and flags & Flag.DETERMINISTIC:
                self.kept = state
            else:
                # It may be meant for the transaction only, or kept may differ already.
                self.kept = self._new_state(kept.epoch if custom else None)
                self.kept.reported = None
        self.context = None
        self.epoch = state.epoch
        self.hot = False
        if flags & Flag.PATH:
            self.path_context = None
        if not custom:
            self._unform()

    def forget_settings(self, *, path: bool) -> None:
        """They have changed, nobody knows when and how; with `path` how names resolve, too."""
        outside = self.status == b"I" and self.begun is None
        self.settings = self.kept = self._new_state(None)
        if not outside or any(not waiting.hidden for waiting in self.pending):
            # What a COMMIT will leave is not what is seen until then.
            self.kept = self._new_state(None)
            self.kept.reported = None
        self.begun = self.marks = None
        self.context = None
        self.epoch = self.settings.epoch
        self.hot = False
        if path:
            self.path_context = None
        self._unform()

    def _new_state(self, epoch: int | None) -> State:
        if epoch is None:
            self.epochs += 1
            epoch = self.epochs
        return State(epoch, self.reported, self.data.watched)

    def found(self, state: State, context: Context) -> None:
        """`state` is known to be `context`; a family that was met before gets its number back."""
        state.context = context
        number = self._families.get(context.family)
        if number is None:
            if len(self._families) >= _FAMILIES:
                self._families.clear()
            self._families[context.family] = state.epoch
        elif number != state.epoch:
            for statement in self.statements.values():
                if statement.epoch == state.epoch:
                    statement.epoch = number
            state.epoch = number
        if state is self.settings:
            state.reported = self.reported
            self.context = self.path_context = self.seen(context)
            self.epoch = state.epoch

    def seen(self, context: Context) -> Context:
        """`context` as rules see it, which may ask for the session's application_name."""
        rules = self.engine.rules
        if not rules.audiences:
            return context
        return self.engine.for_audience(context, rules.audience(self.application))

    def named(self, application: str) -> None:
        """The server reports another application_name: its rules hold from here on."""
        self.application = application
        if self.engine.rules.audiences:
            if self.context is not None:
                # One that is dead has no counterpart for others: the settings are asked for.
                self.context = self.seen(self.context) if self.context.live else None
                self.hot = self.hot and self.context is not None
            if self.path_context is not None:
                self.path_context = self.seen(self.path_context)

    def _go(self, state: State) -> None:
        """The transaction has ended, or gone back: `state` holds, unless a reload came between."""
        if state.reported != self.reported and (state.reported or state.context):
            self.forget_settings(path=True)
            return
        if state is not self.settings and state.context is not None:
            present, undefined = self.settings.context, state.context.answer.undefined
            if undefined and (present is None or present.answer.undefined != undefined):
                # Some are there by now, and empty: the family is the same.
                state = self._new_state(state.epoch)
        self.settings = state
        self.epoch = state.epoch
        live = state.live
        self.context = None if live is None else self.seen(live)
        if self.context is not None:
            self.path_context = self.context
        elif state.context is None:
            self.path_context = None

    # What requests lead to

    def learns(self, pending: Pending, plan: Plan, said: bytes) -> None:
        """`pending` is just this SET, or the like; `said` is its text and its parameters (K3)."""
        pending.learn = self._way(plan, said, self.status != b"I" or pending.begins)

    def _way(self, plan: Plan, said: bytes, block: bool) -> tuple[str, bytes] | None:
        """Under what it is remembered where this SET leads; None if it may lead anywhere."""
        flags = plan.flags
        if not self.resets or not flags & Flag.SETTINGS or len(said) > _LEARNED_TEXT:
            return None
        if not flags & Flag.DETERMINISTIC or flags & (Flag.MAY_COMMIT | Flag.OPAQUE):
            return None
        goes_back = ""
        if flags & (Flag.RESET_ALL | Flag.DISCARD_ALL) and self.data.watched:
            login = self.login_custom
            if login is None or login[:2] != (self.data.watched, self.engine.reloads):
                return None
            goes_back = login[2]
        if len(said) > 64:
            said = blake2b(said, digest_size=24).digest()
        return f"{self.resets} {goes_back} {'in' if block else 'out'} {self.user}", said

    def arrives(self, plan: Plan, said: bytes) -> bool:
        """Go where this SET inside a transaction leads, if that is known; it is not sent yet."""
        before, way = self.settings, self._way(plan, said, True)
        context = before.live
        if context is None or way is None or context.answer.undefined:
            return False
        known = self.engine.transitions.get((way[0], context.id, way[1]))
        if known is None or not known.live or known.problem is not None:
            return False
        self.moves(plan.flags)
        self.found(self.settings, known)
        self.hot = True
        return True

    def block_begins(self) -> None:
        """BEGIN, or something that holds it, has been answered: this is where ROLLBACK leads."""
        self.begun = self.settings, self.kept
        self.marks = []

    def goes_back(self, *, kept: bool) -> None:
        """A transaction that PostgreSQL has not seen is over: committed, or rolled back."""
        if kept or self.begun is None:
            self._back((self.kept, self.kept))
        else:
            self._back(self.begun)
        self.block_ends()

    def block_ends(self) -> None:
        """The transaction is over."""
        self.begun = self.marks = None
        self.cursors_set = False

    @property
    def block_changes(self) -> bool:
        """Whether settings may have changed since the transaction began."""
        return self.begun is None or self.begun != (self.settings, self.kept)

    def settings_after(self, head: Pending, previous: bytes) -> None:
        """ReadyForQuery of a request of the client's.

        Args:
            previous: the status before.
        """
        if head.begins:
            # The BEGIN that travelled with it was answered before.
            previous = b"T"
        status, control = self.status, head.control
        changes = bool(head.flags & Flag.SETTINGS)
        compound = head.controls and (head.noted > 1 or bool(head.flags & Flag.SEVERAL))
        if (
            status == previous
            and not changes
            and not compound
            and control is Control.NONE
            and head.tag not in _CONTROLS
        ):
            pass
        elif compound and previous != b"I":
            # Transactions and savepoints have come and gone within it.
            self.marks = None
            if changes or self.block_changes:
                self.forget_settings(path=True)
            elif previous == b"E":
                self._go(self.settings)
        elif status == b"E":
            # All will be as it was at BEGIN or at a savepoint; the client has yet to go there.
            if not head.lone or head.flags & (Flag.SEVERAL | UNCONFINED):
                self.marks = None
        elif not head.lone or any(not waiting.hidden for waiting in self.pending):
            self._one_of_many(status, previous, changes)
        elif status == b"I":
            self._outside(head, control, previous, changes)
        else:
            self._inside(head, control, previous, changes)
        if status == b"E":
            self.context = None
            self.hot = False
        elif status == b"I":
            self.block_ends()
            if not any(not waiting.hidden for waiting in self.pending):
                self.kept = self.settings

    def _one_of_many(self, status: bytes, previous: bytes, changes: bool) -> None:
        """Other requests are on their way, whose part in what is known cannot be told."""
        inside = previous != b"I"
        others = any(waiting.flags & Flag.SETTINGS for waiting in self.pending)
        if changes or others or (inside and self.block_changes):
            self.forget_settings(path=True)
            return
        if previous == b"E":
            self._go(self.settings)
        if status == b"T" and not inside and self.begun is None:
            self.block_begins()
        elif status == b"T":
            self.marks = None

    def _outside(self, head: Pending, control: Control, previous: bytes, changes: bool) -> None:
        if control in (Control.COMMIT, Control.ROLLBACK) and previous != b"I":
            if head.error is None and head.tag == b"COMMIT":
                self._back((self.kept, self.kept))
            elif self.begun is not None:
                self._back(self.begun)
            elif self.block_changes:
                self.forget_settings(path=True)
            return
        if previous != b"I":
            if self.block_changes:
                self.forget_settings(path=True)
            else:
                self._go(self.settings)
        elif not changes:
            pass
        elif head.error is None:
            self._arrived(head)
            if self.kept is not self.settings:
                self._back((self.kept, self.kept))  # SET LOCAL has no effect here
        elif head.flags & (Flag.MAY_COMMIT | Flag.OPAQUE) or head.was is None:
            self.forget_settings(path=True)
        else:
            # Refused, it has changed nothing.
            self._back(head.was)

    def _back(self, pair: tuple[State, State]) -> None:
        """Settings and what COMMIT makes of them are what they were once."""
        state, self.kept = pair
        self._go(state)
        if self.kept is state:
            self.kept = self.settings

    def _inside(self, head: Pending, control: Control, previous: bytes, changes: bool) -> None:
        if previous == b"I" and self.begun is None:
            if changes:
                self.forget_settings(path=True)
                return
            self.block_begins()
        if head.error is not None:
            self.forget_settings(path=True)
        elif control is Control.CHAIN:
            if head.tag == b"COMMIT":
                self._back((self.kept, self.kept))
            elif self.begun is not None:
                self._back(self.begun)
            else:
                self.forget_settings(path=True)
            self.block_begins()
        elif control is Control.SAVEPOINT:
            if head.tag in _CONTROLS:
                self._savepoint(head.said)
        elif head.flags & (Flag.SEVERAL | UNCONFINED) or previous == b"E" or head.tag in _CONTROLS:
            self._hidden_savepoints(head, failed=previous == b"E")
        elif changes:
            self._arrived(head)

    def _hidden_savepoints(self, head: Pending, *, failed: bool = False) -> None:
        """Savepoints may have been made and left, or the transaction itself, by a longer text."""
        self.marks = None
        if head.flags & Flag.SETTINGS or (
            self.block_changes and (failed or head.flags & UNCONFINED or head.tag in _CONTROLS)
        ):
            self.forget_settings(path=True)
        elif failed:
            self._go(self.settings)

    def _savepoint(self, text: bytes) -> None:
        marks = self.marks
        if found := _SAVEPOINT.match(text):
            if marks is not None:
                marks.append((_folded(found), self.settings, self.kept))
            return
        if found := _RELEASE.match(text):
            at = self._mark(_folded(found))
            if marks is not None and at is not None:
                del marks[at:]
            else:
                self.marks = None
            return
        found = _BACK.match(text)
        at = self._mark(_folded(found)) if found else None
        if marks is None or at is None:
            self.marks = None
            if self.block_changes:
                begun = self.begun
                self.forget_settings(path=True)
                self.begun = begun
            return
        del marks[at + 1 :]
        self._back(marks[at][1:])

    def _mark(self, name: bytes) -> int | None:
        """Where the latest savepoint of that name stands among the marks."""
        for at in range(len(self.marks or ()) - 1, -1, -1):
            if self.marks is not None and self.marks[at][0] == name:
                return at
        return None

    def _arrived(self, head: Pending) -> None:
        """A lone SET has worked: where it leads may be known, or will be learnt."""
        self.settings.reported = self.reported
        if head.learn is None or head.was is None:
            return
        before, kept_before = head.was
        self._steps(before, self.settings, head.learn)
        if self.kept is not self.settings and self.kept is not kept_before:
            self._steps(kept_before, self.kept, head.learn)

    def _steps(self, before: State, after: State, learn: tuple[str, bytes]) -> None:
        context = before.live
        known = None
        if context is not None:
            known = self.engine.transitions.get((learn[0], context.id, learn[1]))
        if known is not None and known.live:
            self.found(after, known)
        elif context is not None:
            after.came = before, learn

    def shown(self, state: State, context: Context) -> None:
        """A probe has shown what `state` is."""
        came, state.came = state.came, None
        if state.watched != self.data.watched:
            # Changes of what is watched only now were none when they came.
            block = self.begun is not None or self.status != b"I"
            came, state = None, self._new_state(state.epoch)
            self.settings = self.kept = state
            if block:
                self.begun = self.marks = None
                self.kept = self._new_state(None)
                self.kept.reported = None
        self.found(state, context)
        if came is not None and (before := came[0].live) is not None:
            where, said = came[1]
            self.engine.learn((where, before.id, said), context)
        if self.forming and state is self.settings:
            self.forming = False
            self._formed_under(context)

    def reports(self, name: bytes, value: bytes) -> None:
        """ParameterStatus: a setting has another value, whoever has changed it."""
        if self.reported.get(name) != value:
            self.reported = {**self.reported, name: value}

    # Functions

    def runs_bodies(self, *, alone: bool = True) -> None:
        """Functions run, and the session keeps their plans (K1).

        Args:
            alone: nothing that runs with them may change settings.
        """
        if self.context is not None and alone:
            self._formed_under(self.context)
        elif alone and any(earlier.probe_state is self.settings for earlier in self.pending):
            self.forming = True  # the answer that is on its way says under what
        else:
            self.formed = MIXED

    def _formed_under(self, context: Context) -> None:
        form = (context.family, self.data.forms)
        if self.formed is None:
            self.formed = form
        elif self.formed != form:
            self.formed = MIXED

    def _unform(self) -> None:
        if self.forming or self.bodies_in_block:
            # Cursors, portals and deferred triggers run functions late.
            self.forming = False
            self.formed = MIXED

    def keeps_other_plans(self) -> bool:
        """Whether functions may answer as they would have under other settings (K1)."""
        formed = self.formed
        if formed is None:
            return self.forming
        return self.context is None or formed != (self.context.family, self.data.forms)


def _folded(found: re.Match[bytes]) -> bytes:
    """The name that PostgreSQL takes it for."""
    name = found[2]
    return name if found[1] else name.lower()
