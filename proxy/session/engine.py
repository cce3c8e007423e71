"""What all sessions share: store, fences, catalogs, contexts, rules.

Pure: it asks the shell (see `Shell`) for whatever needs a connection of Howdah's
own, and is told the results. One engine per process, used by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from proxy import units
from proxy.cache.fences import ALL, Fence, Granule, LocalBoard
from proxy.cache.flights import Flights
from proxy.cache.store import Store
from proxy.catalog.snapshot import CatalogSnapshot
from proxy.policy import memo
from proxy.policy.memo import plan_for
from proxy.policy.plan import Closure, Kind, Plan, Scope
from proxy.policy.rules import EMPTY, Rules
from proxy.policy.situation import Situation, Trace
from proxy.reasons import Reason
from proxy.session.context import Context, Database, Shelf
from proxy.session.descriptions import Descriptions
from proxy.session.probe import Answer, Identity
from proxy.session.shapes import Shapes
from proxy.session.statistics import Statistics
from proxy.session.verifying import Verification, quarantine
from proxy.sql import hints
from proxy.tally import Shape

if TYPE_CHECKING:
    from proxy.session.core import Session
    from proxy.session.state import SessionState

# What is remembered of texts and settings; beyond that all of it is forgotten, and
# found again as it is asked for. Plans: texts per context, bytes of text in all.
PLAN_LIMIT = 20_000
PLAN_BYTES = 32 * 1024 * 1024
PLAN_OVERHEAD = 400  # of a plan and its place in the dict, in bytes
LONG_TEXT = 16 * 1024  # longer texts are analysed each time
TRANSITION_LIMIT = 20_000
CONTEXT_LIMIT = 10_000  # per database
IGNORED_LIMIT = 100  # words of hints
WATCHED_LIMIT = 64  # names of settings per database


class Shell(Protocol):
    """What the engine needs done on Howdah's own connection. Each call returns at once."""

    def load_catalog(self, database: str) -> None:
        """Read the catalog of a database seen for the first time; then `Engine.install`."""

    def reload_catalog(self, database: str, done: Callable[[], None]) -> None:
        """Read it afresh, install it, then call `done`; retry for as long as it takes (F12)."""

    def prove_ended(self, pid: int, done: Callable[[], None]) -> None:
        """Call `done` when the backend is proven gone; retry for as long as it takes (F2)."""

    def verify_identity(self) -> None:
        """Find out which server answers, then call `Engine.identity_seen` (F8)."""

    def await_reload(self, done: Callable[[], None]) -> None:
        """Call `done` once the server has read its configuration again, or surely has not."""

    def resend_cancel(self, session: Session) -> None:
        """Send the session's cancel key upstream again: the first struck a probe."""


class Engine:
    """Shared state of all sessions.

    Args:
        cache_bytes: limit of the store.
        entry_limit: largest answer that is stored, in bytes.
        max_age: seconds after which an entry is not served (`proxied`); None for never.
        statement_limit: longest text that is analysed, in bytes.
        message_limit: longest message that is held until it is complete, in bytes.
        shared_waiters: sessions that wait for one fill of the same key; 0 for none.
        shared_wait: seconds that they wait at most; the shell has the timers.
        verify: share of the hits that are compared with PostgreSQL's answers, 0 to 1.
        verify_quarantine: statements that were answered wrongly are forwarded from then on.
    """

    def __init__(
        self,
        *,
        cache_bytes: int,
        entry_limit: int,
        max_age: float | None,
        rules: Rules = EMPTY,
        shell: Shell | None = None,
        statement_limit: int = 256 * 1024,
        message_limit: int = 1024 * 1024,
        shared_waiters: int = 100,
        shared_wait: float = 1.0,
        verify: float = 0.0,
        verify_quarantine: bool = True,
    ) -> None:
        self.store = Store(cache_bytes, entry_limit)
        self.board = LocalBoard()
        self.shared_wait = shared_wait
        self.flights: Flights[SessionState] = Flights(self.board, shared_waiters, _summon)
        self.descriptions = Descriptions()
        self.statistics = Statistics()
        self.shapes = Shapes()
        self.verification = Verification(self, verify, verify_quarantine)
        self.rules = rules
        self.contract = "proxied"
        self.max_age = max_age
        self.statement_limit = statement_limit
        self.message_limit = message_limit
        self.identity: Identity | None = None
        self.databases: dict[str, Database] = {}
        self.transitions: dict[tuple[str, int, bytes], Context] = {}
        # Seconds, as sessions are told them; the shell sets it.
        self.clock: Callable[[], float] = lambda: 0.0
        # Has something be told to the operator; the shell sets it.
        self.remark: Callable[[str], None] = lambda text: None
        # Words of hints that mean nothing, and of how many texts.
        self.hints_ignored: dict[str, int] = {}
        self._shell = shell
        self.reloads = 0  # of the server's configuration
        self._roles_moment = (0, 0)
        self._next_context = 1
        self._next_family = 0
        self._plan_bytes = 0
        self._start_gate: Fence | None = None
        self._suspension: Fence | None = None
        self.pause: Fence | None = None  # an operator's, see `session.keeping`

    @property
    def shell(self) -> Shell:
        if self._shell is None:
            raise AssertionError("the engine has no shell")
        return self._shell

    @shell.setter
    def shell(self, shell: Shell) -> None:
        self._shell = shell

    # Catalogs

    def database(self, name: str) -> Database:
        """The database of that name; the first call has its catalog loaded."""
        database = self.databases.get(name)
        if database is None:
            database = self.databases[name] = Database(name)
            self.shell.load_catalog(name)
        return database

    def install(
        self, name: str, snapshot: CatalogSnapshot | None, problem: Reason | None = None
    ) -> None:
        """Let `snapshot` be the catalog of database `name` from now on.

        A snapshot of other content is a new version of the schema: contexts and
        plans die, entries go, writes in flight count as writing everything (F12).

        Args:
            snapshot: None where it cannot be had; then `problem` says why.
        """
        database = self.databases.setdefault(name, Database(name))
        old = database.snapshot
        database.problem = problem if snapshot is None else None
        if snapshot is not None and old is not None and snapshot.fingerprint == old.fingerprint:
            # Temporary objects of others may differ; they matter to what writes reach.
            old.memo.clear()
            database.snapshot = snapshot
            self._forget_plans(database)
            return
        database.snapshot = snapshot
        if old is not None:
            # What was worked out from it refers back to it: nothing else would free it soon.
            old.memo.clear()
        if snapshot is None and old is None:
            return
        if old is not None:
            database.version += 1
            if snapshot is None or snapshot.code != old.code:
                database.forms += 1
        if snapshot is not None:
            database.oid = snapshot.database_oid
        self._retire(database)
        database.ids.clear()
        self._roles_seen(database)
        everything = (database.oid, 0)
        for fence in list(self.board.fences):
            if any(granule[0] == database.oid for granule in fence.granules):
                self.board.widen(fence, (everything,))
        self.store.evict((everything,), "schema", now=self.clock())

    def _roles_seen(self, database: Database) -> None:
        """Have the other databases hear of roles and memberships, which are all databases'.

        Names may resolve otherwise there too (F9), and plans that sessions keep there do not
        hear of it (K1). A change counts once for each, whoever sees it first: with many
        databases each of them finds it at a time of its own.
        """
        snapshot = database.snapshot
        if snapshot is None or snapshot.moment < self._roles_moment:
            # It was read before what is known of them by now, and has come later. A catalog
            # that cannot be read tells nothing: its database may be gone.
            return
        self._roles_moment = snapshot.moment
        for other in self.databases.values():
            if other.roles == snapshot.roles:
                continue
            if other is not database:
                self._retire(other)
                if other.roles[1] != snapshot.roles[1]:
                    other.forms += 1
            other.roles = snapshot.roles

    def _roles_unknown(self, database: Database) -> None:
        """A command that may be about roles has ended here, and nobody can look at them."""
        for other in self.databases.values():
            if other is not database:
                self._retire(other)
                other.forms += 1

    def _retire(self, database: Database) -> None:
        for context in database.contexts.values():
            context.live = False
        database.contexts.clear()
        self._forget_plans(database)
        database.shelves.clear()
        self.transitions.clear()

    def set_rules(self, rules: Rules) -> None:
        """Use `rules` from now on; what was stored under the old ones goes."""
        audiences = self.rules.audiences or rules.audiences
        self.rules = rules
        for database in self.databases.values():
            if audiences:
                # Sessions are asked again: whose they are is told otherwise now, and what
                # they have been finds no answers any more.
                self._retire(database)
                database.ids.clear()
            self._forget_plans(database)
        self.verification.rules_changed()
        self.epoch("rules")

    # Contexts and plans

    def context(self, name: str, answer: Answer) -> Context | None:
        """The context that a probe's answer stands for; None where it proves nothing."""
        database = self.databases[name]
        if self.identity is None:
            return None
        if answer.identity != self.identity:
            self.upstream_lost("a session shows another server")
            return None
        if answer.database != database.oid:
            # Dropped and made again under the same name.
            self.shell.load_catalog(name)
            return None
        return self._context(database, replace(answer, pid=0, statements={}))

    def for_audience(self, context: Context, audience: int) -> Context:
        """The same context, but for what rules make of the session's application_name."""
        if context.answer.audience == audience or not context.live:
            return context
        return self._context(context.database, replace(context.answer, audience=audience))

    def _context(self, database: Database, key: Answer) -> Context:
        context = database.contexts.get(key)
        if context is None:
            problem: Reason | None = None
            if key.in_recovery:
                problem = Reason.STANDBY
            elif key.temporary:
                problem = Reason.SESSION_TEMPORARY
            elif not key.read_committed:
                problem = Reason.ISOLATION
            context = Context(
                self._context_id(database, key),
                database,
                key,
                problem,
                self._family(database, key),
                database.shelves.setdefault(
                    (key.login_role, key.role, key.search_path, key.audience), Shelf()
                ),
            )
            database.contexts[key] = context
            if len(database.contexts) > CONTEXT_LIMIT:
                oldest = next(iter(database.contexts))
                database.contexts.pop(oldest).live = False
        return context

    def _context_id(self, database: Database, key: Answer) -> int:
        number = database.ids.get(key)
        if number is None:
            if len(database.ids) >= 2 * CONTEXT_LIMIT:
                database.ids.clear()
            number = database.ids[key] = self._next_context
            self._next_context += 1
        return number

    def _family(self, database: Database, key: Answer) -> int:
        """The number of all contexts that differ from this one in custom settings alone.

        Whose they are to rules makes no difference either to how a text is read.
        """
        alike = replace(key, custom="", audience=0)
        number = database.families.get(alike)
        if number is None:
            if len(database.families) >= CONTEXT_LIMIT:
                database.families.clear()
            self._next_family += 1
            number = database.families[alike] = self._next_family
        return number

    def watch(self, database: Database, names: frozenset[str]) -> bool:
        """Have the values of these settings in the key from now on; False beyond the limit.

        Sessions are asked again: their contexts do not tell these values yet.
        """
        watched = {*database.watched, *names}
        if len(watched) > WATCHED_LIMIT:
            return False
        database.watched = tuple(sorted(watched))
        self._retire(database)
        return True

    def plan(self, text: bytes, database: Database, context: Context | None) -> Plan:
        """The plan of a text, remembered per context; `text` is safe to be read (F9)."""
        plans = database.plans if context is None else context.plans
        plan = plans.get(text)
        if plan is None:
            situation = self.situation(database, context)
            plan = plan_for(text, situation, self.statement_limit)
            if plan.ignored:
                self._hints_ignored(plan.ignored)
            shape = self._shape(database.name, text, plan)
            if plan.kind is Kind.READ and not plan.settings <= situation.watched:
                if self.watch(database, plan.settings):
                    unknown = Reason.SESSION_UNKNOWN
                    return replace(plan, kind=Kind.BYPASS, reason=unknown, shape=shape)
                plan = replace(plan, kind=Kind.BYPASS, reason=Reason.SESSION_FUNCTION)
            plan = replace(quarantine(plan) if shape.quarantined else plan, shape=shape)
            if plan.terms is not None and plan.terms.verify:
                self.verification.begin()
            if len(text) <= LONG_TEXT:
                self._remember(plans, text, plan)
        return plan

    def situation(
        self, database: Database, context: Context | None, trace: Trace | None = None
    ) -> Situation:
        """What a decision on a text of this context depends on."""
        return Situation(
            database=database.name,
            role="" if context is None else context.answer.role,
            search_path=None if context is None else context.answer.search_path,
            catalog=database.snapshot,
            rules=self.rules,
            watched=frozenset(database.watched),
            audience=0 if context is None else context.answer.audience,
            trace=trace,
        )

    def _hints_ignored(self, words: tuple[str, ...]) -> None:
        """Hints that mean nothing: whoever wrote them is told once, by the log."""
        for word in words:
            count = self.hints_ignored.get(word)
            if count is None and len(self.hints_ignored) >= IGNORED_LIMIT:
                continue
            self.hints_ignored[word] = (count or 0) + 1
            if count is None:
                near = units.suggestion(word.partition("=")[0], hints.WORDS)
                self.remark(f"the hint {word!r} of a statement means nothing and is ignored{near}")

    def _shape(self, database: str, text: bytes, plan: Plan) -> Shape:
        if plan is memo.TOO_LONG:
            return self.shapes.unread(database, plan.reason.value)
        shape = self.shapes.of(database, text)
        if plan.reads or plan.rule:
            shape.reads, shape.rule = plan.reads, plan.rule
        return shape

    def _remember(self, plans: dict[bytes, Plan], text: bytes, plan: Plan) -> None:
        self._plan_bytes += len(text) + PLAN_OVERHEAD
        if len(plans) >= PLAN_LIMIT or self._plan_bytes > PLAN_BYTES:
            for database in self.databases.values():
                self._forget_plans(database)
            self._plan_bytes = 0
        plans[text] = plan

    def forget_plans(self) -> None:
        """Have every text be judged anew."""
        for database in self.databases.values():
            self._forget_plans(database)

    def _forget_plans(self, database: Database) -> None:
        database.plans.clear()
        for shelf in database.shelves.values():
            shelf.plans.clear()
            shelf.places.clear()

    def learn(self, transition: tuple[str, int, bytes], context: Context) -> None:
        """Remember where a SET leads: from login and present context, by its text (K3)."""
        if len(self.transitions) >= TRANSITION_LIMIT:
            self.transitions.clear()
        self.transitions[transition] = context

    # Fences

    def granules(self, closure: Closure, database: Database) -> Iterable[Granule]:
        """The granules that a closure covers. Under a DDL fence it covers all (F12)."""
        if closure.scope is Scope.CLUSTER or not database.oid:
            return (ALL,)
        if closure.scope is Scope.DATABASE or database.schema_fences:
            return ((database.oid, 0),)
        return tuple((database.oid, relation) for relation in closure.relations)

    def lower(self, fence: Fence, *, undone: bool = False) -> None:
        """Evict, then lower (F3); only lower where the write is known to be undone."""
        if fence.down:
            return
        if not undone:
            owner, text = fence.owner, fence.text
            self.store.evict(fence.granules, "write", now=self.clock(), owner=owner, text=text)
        self.board.down(fence, undone=undone)

    def schema_up(self, database: Database) -> None:
        database.schema_fences += 1

    def schema_down(self, database: Database, fence: Fence) -> None:
        """The catalog stands again: count the DDL as done and lower its fence (F12)."""
        database.schema_fences -= 1
        if database.snapshot is None:
            self._roles_unknown(database)
        self.lower(fence)

    # Trust in the upstream

    def begin_start_gate(self) -> None:
        """Nothing is filled until what an earlier Howdah may have left has ended (F11)."""
        if self._start_gate is None:
            self._start_gate = self.board.up((ALL,), Reason.STARTING, "start", self.clock())

    def end_start_gate(self) -> None:
        if self._start_gate is not None:
            self.lower(self._start_gate)
            self._start_gate = None

    def upstream_lost(self, why: str) -> None:
        """An upstream was lost unexpectedly: no hits until the server is identified (F8)."""
        if self._suspension is None:
            self._suspension = self.board.up((ALL,), Reason.SUSPENDED, why, self.clock())
        self.shell.verify_identity()

    def identity_seen(self, identity: Identity) -> None:
        """Howdah's own connection shows this server now; another one is a new epoch (F8)."""
        changed = self.identity is not None and identity != self.identity
        self.identity = identity
        if changed:
            self._roles_moment = (0, 0)
            for database in self.databases.values():
                self._retire(database)
            self.epoch("server")
        if self._suspension is not None:
            # Nothing was written behind this fence: entries stay good where the
            # server is the same.
            self.board.down(self._suspension, undone=not changed)
            self._suspension = None

    def epoch(self, cause: str) -> None:
        """Drop everything."""
        self.store.evict((ALL,), cause, now=self.clock())
        # A fill in flight must not outlive the epoch: its counters change.
        self.board.down(self.board.up((ALL,), Reason.FENCED, cause, 0.0))

    def reload_expected(self) -> None:
        """Somebody has asked for a reload: no hits until it has come and is known of.

        Sessions of one context may have their settings from different sources, and only
        some of them change.
        """
        fence = self.board.up((ALL,), Reason.FENCED, "reload", self.clock())
        self.shell.await_reload(lambda: self.lower(fence))

    def settings_reloaded(self) -> None:
        """The server has reloaded its configuration: every session is asked again."""
        self.reloads += 1
        for database in self.databases.values():
            self._retire(database)
        self.epoch("settings")

    def flush(self) -> int:
        """Empty the cache on request; return how many entries there were."""
        entries = len(self.store)
        self.epoch("flush")
        return entries


def _summon(session: SessionState) -> None:
    """Have a session that waited look again, soon and not in the middle of this."""
    summon = session.summon
    if summon is not None:
        summon()
