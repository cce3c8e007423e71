"""What would become of a statement now, and why: the answer of EXPLAIN CACHE.

What lives here: the collection of all that a decision and an answer depend on. What must not:
decisions. The plan is that of `policy.memo`, made once more with a record of the way; whether a
session may be answered is asked of the session, and whether an entry holds of the board.
Nothing is changed by asking.

An `Explanation` is a document of plain JSON; `explaining.py` has it told to clients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from proxy import units
from proxy.cache.fences import ALL, Fence, Granule
from proxy.cache.store import Entry, Key
from proxy.errors import HowdahError
from proxy.policy.explain import Cause, Place, Record
from proxy.policy.memo import plan_for
from proxy.policy.plan import Kind, Plan, Scope
from proxy.policy.situation import Situation
from proxy.reasons import Reason
from proxy.session.command import command
from proxy.session.context import Context, Database
from proxy.session.engine import WATCHED_LIMIT
from proxy.session.explanation import COLUMNS, Explanation
from proxy.session.literals import may_say_now
from proxy.session.verifying import quarantine
from proxy.sql import normal
from proxy.sql.analyse import analyse
from proxy.tally import Shape
from proxy.wire import messages

if TYPE_CHECKING:
    from proxy.session.engine import Engine
    from proxy.session.state import SessionState

__all__ = ["COLUMNS", "Bound", "Explanation", "explain"]

# Entries of one relation that are looked through for those of the statement, and entries told.
_SCANNED = 100_000
_TOLD = 10
# Of an extended request without parameters: formats as they come, and all in binary or text.
_PLAIN: tuple[bytes, ...] = (
    bytes(6),
    bytes(4) + b"\x00\x01\x00\x00",
    bytes(4) + b"\x00\x01\x00\x01",
)

_PROMISES = {"proxied": "reads see all writes that pass through this Howdah; writes past it {age}"}


class Bound(NamedTuple):
    """Parameters: their types as a Parse declares them, and a Bind behind its names."""

    types: bytes
    rest: bytes

    @property
    def values(self) -> bytes:
        """The part of the Bind that says what they are: formats and values."""
        return values_of(self.rest)


def values_of(rest: bytes) -> bytes:
    """Formats and values of the parameters of a Bind, without the formats of results."""
    position = 2 + 2 * int.from_bytes(rest[:2], "big")
    count = int.from_bytes(rest[position : position + 2], "big")
    position += 2
    for _ in range(count):
        size = int.from_bytes(rest[position : position + 4], "big", signed=True)
        position += 4 + max(0, size)
    return rest[:position]


def explain(
    engine: Engine,
    sql: str,
    *,
    database: str = "",
    role: str = "",
    session: SessionState | None = None,
    bound: Bound | None = None,
) -> Explanation:
    """Explain `sql` as things stand now. Changes nothing.

    Args:
        sql: one text, as a client would send it; bytes that are no UTF-8 as surrogates.
        database: empty for the session's, or the only one that clients have used.
        role: the effective role; empty for that of the newest session.
        session: speak for this one: its own settings, its transaction, its entries alone.
        bound: what its parameters are, where they are known.

    Raises:
        HowdahError: 3D000, no such database is known; 42601, the text is empty.
    """
    if not sql.strip("; \t\r\n"):
        raise HowdahError("there is no statement to explain", sqlstate="42601")
    asked = command(sql)
    if asked is not None:
        # Who has the question at hand, and pastes it where a statement is asked for.
        database, role, sql = database or asked.database, role or asked.role, asked.sql
    data = session.data if session is not None else _database(engine, database)
    return _Asking(engine, data, sql, role, session, bound).explanation()


def _database(engine: Engine, name: str) -> Database:
    used = [data for data in engine.databases.values() if data.contexts]
    if not name and len(used) == 1:
        return used[0]
    data = engine.databases.get(name)
    if data is None:
        known = ", ".join(sorted(each.name for each in used)) or "none yet"
        wrong = f"no client has been in a database {name!r}" if name else "which database is meant?"
        raise HowdahError(
            wrong + units.suggestion(name, [each.name for each in used]),
            hint=f"Howdah knows those that clients have used: {known}.",
            sqlstate="3D000",
        )
    return data


@dataclass(slots=True)
class _Outcome:
    decision: str
    reason: Reason


class _Asking:
    """One question, with what it is about."""

    def __init__(
        self,
        engine: Engine,
        data: Database,
        sql: str,
        role: str,
        session: SessionState | None,
        bound: Bound | None,
    ) -> None:
        self.engine, self.data, self.sql, self.session = engine, data, sql, session
        self.now = engine.clock() if session is None else session.now
        self.bound = bound
        self.notes: list[str] = []
        self.text = sql.encode("utf-8", "surrogateescape")
        self.record = Record()
        self.contexts = self._contexts(role)
        self.context = self._context()
        self.situation = self._situation(role)
        self.readable = sql.encode("utf-8", "replace").decode()
        self.number = normal.identity(self.readable)
        self.shape = self._shape()
        self.plan = self._plan()
        self.granules, self.slots = data.places_of(self.plan.reads)

    # Who asks

    def _contexts(self, role: str) -> list[Context]:
        """Those whose answers are looked at, the newest last."""
        if self.session is not None:
            context = self.session.context
            return [context] if context is not None and context.live else []
        return [
            context
            for context in self.data.contexts.values()
            if context.live and (not role or context.answer.role == role)
        ]

    def _context(self) -> Context | None:
        if self.session is not None:
            return self.session.naming
        able = [context for context in self.contexts if context.problem is None]
        chosen = (able or self.contexts)[-1:]
        if len(self.contexts) > 1:
            answer = chosen[0].answer
            self.notes.append(
                f"sessions with {len(self.contexts)} combinations of roles and settings are known; "
                f"the decision is that for the newest one, of role {answer.role}, the entries are "
                "those of all"
            )
        return chosen[0] if chosen else None

    def _situation(self, role: str) -> Situation:
        situation = self.engine.situation(self.data, self.context, self.record)
        if self.context is not None or self.session is not None:
            return situation
        # Nobody is there to tell: what PostgreSQL does for who has set nothing.
        schemas = {} if self.data.snapshot is None else self.data.snapshot.relations
        path = ("pg_catalog", *((role,) if role in schemas else ()), "public")
        whose = f"role {role}" if role else "any role"
        self.notes.append(
            f"no session of {whose} is known here: the search_path is taken for {', '.join(path)}"
        )
        return replace(situation, role=role, search_path=path)

    def _plan(self) -> Plan:
        """The decision, on the way that each statement goes."""
        session = self.session
        unread = None if session is None else session.unread(self.text)
        if unread is not None:
            return unread
        plan = plan_for(self.text, self.situation, self.engine.statement_limit)
        if plan.executes and session is not None:
            anywhere = replace(self.situation, search_path=None, trace=None)
            return session.sql_prepared.execute(
                plan, lambda text: plan_for(text, anywhere, self.engine.statement_limit)
            )
        return quarantine(plan) if self.shape is not None and self.shape.quarantined else plan

    def _shape(self) -> Shape | None:
        """What is counted for statements that differ in literals alone, if there were any."""
        shapes = self.engine.shapes
        shapes.fold(self.now)
        return None if self.number is None else shapes.get(self.data.name, self.number)

    # What would happen

    def _outcome(self, entries: list[Entry]) -> _Outcome:
        plan = self.plan
        if plan.kind is Kind.WRITE or plan.kind is Kind.OTHER:
            return _Outcome(plan.kind.value, plan.reason)
        if plan.kind is Kind.BYPASS:
            return _Outcome("bypass", plan.reason)
        obstacle = self._obstacle()
        if obstacle is not None:
            return _Outcome("bypass", obstacle)
        bound = self.bound if self.bound is not None and _parameters(self.bound.rest) else None
        if bound is not None and may_say_now(bound.rest):
            return _Outcome("bypass", Reason.CLOCK_LITERAL)
        if self.engine.board.record(self.slots) is None:
            return _Outcome("bypass", self.engine.board.cause(self.slots))
        states = {self._state(entry) for entry in entries if self._answers(entry)}
        if bound is not None and entries and not states:
            self.notes.append(
                "the entries are for other values, or for the same ones in another type or format; "
                "the decision is for the parameters as they were sent with EXPLAIN CACHE"
            )
        if self.bound is None and normal.parameters(self.readable) and "valid" in states:
            self.notes.append("it is a hit for those parameters of which an answer is stored")
        if "valid" in states:
            return _Outcome("hit", Reason.NONE)
        if "stale" in states:
            return _Outcome("stale", Reason.NONE)
        return _Outcome("miss", Reason.EXPIRED if "expired" in states else Reason.NOT_CACHED)

    def _obstacle(self) -> Reason | None:
        """Why a read that may be cached would be forwarded all the same."""
        unwatched = self.plan.settings - self.situation.watched
        if unwatched:
            names = ", ".join(sorted(unwatched))
            if len(self.situation.watched | unwatched) > WATCHED_LIMIT:
                self.notes.append(f"too many settings are in the key for {names} to be there, too")
                return Reason.SESSION_FUNCTION
            self.notes.append(
                f"the value of {names} becomes part of the key once the statement has been run"
            )
            return Reason.SESSION_UNKNOWN
        session, context = self.session, self.context
        if session is not None:
            obstacle = session.why_not()
            if obstacle is None and self.plan.bodies and session.keeps_other_plans():
                return Reason.FUNCTIONS_STALE
            return obstacle
        if self.data.problem is not None:
            return self.data.problem
        return None if context is None else context.problem

    def _answers(self, entry: Entry) -> bool:
        """Whether an entry of the statement is for the parameters that are asked about."""
        if self.bound is None or not _parameters(self.bound.rest):
            return True
        return len(entry.key) == 3 and values_of(entry.key[2]) == self.bound.values

    def _state(self, entry: Entry) -> str:
        if not self.engine.board.holds(entry.slots, entry.counters):
            return "evicted"
        if self.now < entry.expires:
            return "valid"
        return "stale" if self.now < entry.ends and not entry.bodies else "expired"

    # What is stored

    def _texts(self) -> list[bytes]:
        """The text as it was given, and as other clients send it."""
        text = self.text.strip()
        bare = text.rstrip(b"; \t\r\n")
        return list(dict.fromkeys((self.text, text, bare, bare + b";")))

    def _keys(self) -> list[Key]:
        """Keys of the statement that can be told without looking."""
        keys: list[Key] = []
        for context in self.contexts:
            for text in self._texts():
                keys.append((context.id, messages.query(text)))
                source, binds = text + b"\x00\x00\x00", _PLAIN
                if self.bound is not None:
                    source, binds = text + b"\x00" + self.bound.types, (self.bound.rest,)
                keys += [(context.id, source, bind) for bind in binds]
        return keys

    def _entries(self) -> list[Entry]:
        """Its answers, whatever their parameters, the newest first."""
        store, found = self.engine.store, {}
        for key in self._keys():
            entry = store.get(key)
            if entry is not None:
                found[key] = entry
        if self.plan.reads and self.contexts:
            ids = {context.id for context in self.contexts}
            starts = tuple(text + b"\x00" for text in self._texts())
            sizes = {oid: store.count((self.data.oid, oid)) for oid in self.plan.reads}
            least = min(sizes, key=sizes.__getitem__)
            for entry in islice(store.about((self.data.oid, least)), _SCANNED):
                key = entry.key
                if len(key) == 3 and key[0] in ids and key[1].startswith(starts):
                    found[key] = entry
            if sizes[least] > _SCANNED:
                self.notes.append(f"answers were looked for among {_SCANNED} of {sizes[least]}")
        return sorted(found.values(), key=lambda entry: -entry.filled)

    # The document

    def explanation(self) -> Explanation:
        entries = self._entries()
        outcome = self._outcome(entries)
        reason = outcome.reason
        because, also = self._causes(reason)
        if len(entries) > _TOLD:
            self.notes.append(f"{len(entries)} answers are stored; the newest {_TOLD} are listed")
        self._note_prepared()
        if self.plan.ignored:
            words = ", ".join(self.plan.ignored)
            self.notes.append(f"words of a hint that mean nothing are ignored: {words}")
        document = {
            "decision": outcome.decision,
            "cacheable": self.plan.kind is Kind.READ,
            "reason": reason.value,
            "meaning": reason.meaning,
            "advice": reason.advice,
            "because": [_cause(cause) for cause in because],
            "also": [_cause(cause) for cause in also],
            "statement": self._statement(),
            "reads": self._reads(),
            "writes": self._writes(),
            "key": self._key(),
            "rules": self._rules(),
            "entries": [self._entry(entry) for entry in entries[:_TOLD]],
            "similar": 0 if self.shape is None else max(0, self.shape.entries - len(entries)),
            "evicted": self._evicted(),
            "fences": self._fences(),
            "contract": self._contract(),
            "session": self._session(),
        }
        document["notes"] = self.notes
        return Explanation(document)

    def _note_prepared(self) -> None:
        """What the session has prepared under this text is treated otherwise if it is of before."""
        session = self.session
        if session is None or self.plan.kind is not Kind.READ:
            return
        known = [each for name, each in session.statements.items() if name]
        for statement in (each for each in known if each.text.strip() in self._texts()):
            name = statement.name.decode("utf-8", "replace")
            reason = None
            if statement.suspect:
                reason = Reason.PREPARED_OPAQUE
            elif statement.epoch != session.epoch or statement.version != self.data.version:
                reason = Reason.PREPARED_STALE
            if reason is not None:
                self.notes.append(
                    f'the session has prepared it as "{name}", which is forwarded '
                    f"({reason.value}): {reason.meaning}; {reason.advice}"
                )

    def _causes(self, reason: Reason) -> tuple[list[Cause], list[Cause]]:
        """What in the statement leads to the reason, and what else speaks against an answer."""
        if reason is Reason.UNPARSABLE:
            error = analyse(self.readable).error
            return ([Cause(reason, error, (), True)] if error else []), []
        causes = self.record.causes()
        if self.plan.kind is Kind.BYPASS:
            because = [cause for cause in causes if cause.reason is reason]
            return because, [cause for cause in causes if cause not in because]
        if self.plan.kind is Kind.READ and reason is Reason.CLOCK_LITERAL:
            return [Cause(reason, "a parameter", (), False)], []
        if self.plan.kind is Kind.WRITE and self.plan.closure.scope is not Scope.RELATIONS:
            return [cause for cause in causes if cause.opaque], []
        return [], []

    def _statement(self) -> dict[str, Any]:
        """What is known of the shape of the statement, whoever has run it."""
        shape = self.shape
        found: dict[str, Any] = {"text": self.readable, "id": self.number}
        if shape is not None:
            found |= {
                "calls": shape.calls,
                "hits": shape.hits + shape.shared + shape.stale,
                "misses": shape.misses,
                "bypassed": shape.bypassed,
                "writes": shape.writes,
                "errors": shape.errors,
            }
        return found

    def _reads(self) -> list[dict[str, Any]]:
        if self.plan.kind is Kind.READ:
            # By the plan, so that nothing is left out, and with the ways of the record.
            return self._relations(self.plan.reads, self.record.reads())
        return [_place(place) for place in self.record.reads()]

    def _writes(self) -> dict[str, Any]:
        closure = self.plan.closure
        relations: list[dict[str, Any]] = []
        if closure.scope is Scope.RELATIONS:
            relations = self._relations(sorted(closure.relations), self.record.writes())
        return {
            "scope": closure.scope.name.lower() if closure else "nothing",
            "relations": relations,
        }

    def _relations(self, oids: Any, places: list[Place]) -> list[dict[str, Any]]:
        wanted = set(oids)
        told = [_place(place) for place in places if place.granule in wanted]
        missing = wanted - {place.granule for place in places}
        names = self.data.snapshot
        told += [
            {"relation": str(oid) if names is None else names.name_of(oid), "path": []}
            for oid in sorted(missing)
        ]
        return told

    def _key(self) -> dict[str, Any]:
        context = self.context
        key: dict[str, Any] = {
            "database": self.data.name,
            "database_oid": self.data.oid,
            "schema_version": self.data.version,
        }
        if context is not None:
            answer = context.answer
            key |= {
                "role": answer.role,
                "login_role": answer.login_role,
                "search_path": list(answer.search_path),
                "settings": answer.settings,
                "custom_settings": list(self.data.watched),
                "context": context.id,
            }
        else:
            key |= {
                "role": self.situation.role,
                "search_path": list(self.situation.search_path or ()),
            }
        key["depends_on_settings"] = sorted(self.plan.settings)
        key["parameters"] = normal.parameters(self.readable)
        return key

    def _rules(self) -> dict[str, Any]:
        terms = self.plan.terms
        subject = self.record.subject
        hinted = analyse(self.readable).hints.terms
        asked = {} if hinted is None else dict(hinted.items())
        found = {} if terms is None else dict(terms.items())
        considered = [] if subject is None else self.engine.rules.explain(subject)
        return {
            "decides": self.plan.rule or None,
            "terms": found,
            # The max_age of a hint can only shorten: it has become a ttl.
            "hinted": [
                word
                for word, text in found.items()
                if asked.get(word) == text or (word == "ttl" and asked.get("max_age") == text)
            ],
            "asked": subject is not None,
            "considered": [
                {
                    "rule": each.rule,
                    "priority": each.priority,
                    "matches": each.matches,
                    "decides": each.decides,
                    "why": each.why,
                }
                for each in considered
            ],
        }

    def _entry(self, entry: Entry) -> dict[str, Any]:
        key = entry.key
        context = next(each for each in self.contexts if each.id == key[0])
        left = entry.expires - self.now
        return {
            "state": self._state(entry),
            "protocol": "simple" if len(key) == 2 else "extended",
            "parameters": None if len(key) == 2 else _parameters(key[2]),
            "role": context.answer.role,
            "age_seconds": round(self.now - entry.filled, 3),
            "expires_in_seconds": None if left == float("inf") else round(left, 3),
            "bytes": entry.size,
            "rows": entry.rows,
            "hits": entry.hits + entry.fresh,
        }

    def _evicted(self) -> dict[str, Any] | None:
        store = self.engine.store
        found = [gone for key in self._keys() if (gone := store.obituary(key)) is not None]
        if not found:
            return None
        last = max(found, key=lambda gone: gone.time)
        return {
            "seconds_ago": round(max(0.0, self.now - last.time), 3),
            "cause": last.cause,
            "what": None if last.granule is None else self._granule(last.granule),
            "by": last.owner or None,
            "statement": last.text or None,
        }

    def _granule(self, granule: Granule) -> str:
        if granule == ALL:
            return "everything"
        database, relation = granule
        if database == self.data.oid and relation and self.data.snapshot is not None:
            return self.data.snapshot.name_of(relation)
        return f"everything in database {self.data.name}"

    def _fences(self) -> list[dict[str, Any]]:
        # Writes do not wait for fences.
        slots = set(self.slots) if self.plan.kind is Kind.READ else set()
        return [
            self._fence(fence)
            for fence in sorted(self.engine.board.fences, key=lambda fence: fence.since)
            if not slots.isdisjoint(fence.slots)
        ]

    def _fence(self, fence: Fence) -> dict[str, Any]:
        wanted = set(self.granules)
        return {
            "kind": fence.kind,
            "owner": fence.owner,
            "age_seconds": round(self.now - fence.since, 3),
            "statement": fence.text or None,
            "over": [self._granule(each) for each in sorted(fence.granules & wanted)],
        }

    def _contract(self) -> dict[str, Any]:
        engine = self.engine
        age, source = inf if engine.max_age is None else engine.max_age, "max_age"
        terms = self.plan.terms if self.plan.kind is Kind.READ else None
        if terms is not None and terms.life(engine.max_age) + (terms.stale or 0.0) != age:
            age = terms.life(engine.max_age) + (terms.stale or 0.0)
            source = " and ".join(
                word
                for word, _ in terms.items()
                if word in ("ttl", "max_age", "stale_while_revalidate")
            )
        seen = "may never be seen (max_age is none)"
        if age != inf:
            seen = f"are seen after {units.duration_text(age)} at the latest ({source})"
        promise = _PROMISES[engine.contract].format(age=seen)
        return {
            "name": engine.contract,
            "promise": promise,
            "max_age_seconds": None if age == inf else age,
        }

    def _session(self) -> dict[str, Any] | None:
        session = self.session
        if session is None:
            return None
        obstacle = session.why_not()
        return {
            "id": session.connection_id,
            "backend_pid": session.backend_pid,
            "in_transaction": session.block,
            "why_not": None if obstacle is None else obstacle.value,
            "meaning": None if obstacle is None else obstacle.meaning,
        }


def _cause(cause: Cause) -> dict[str, Any]:
    return {"reason": cause.reason.value, "what": cause.what, "path": list(cause.path)}


def _place(place: Place) -> dict[str, Any]:
    return {"relation": place.relation, "path": list(place.path)}


def _parameters(rest: bytes) -> int:
    """The number of parameters of a Bind."""
    formats = int.from_bytes(rest[:2], "big")
    return int.from_bytes(rest[2 + 2 * formats : 4 + 2 * formats], "big")
