"""The question before COMMIT: which relations has this transaction touched?

A transaction that ran something opaque counts as having written everything (F9). Its
own backend knows better: whoever writes a relation holds a lock on it that says so
until the transaction ends, through functions, triggers, cascades, COPY, TRUNCATE and
REFRESH alike, while what was rolled back to a savepoint has given its locks up. Only
commands on the schema release theirs early; those are seen by the counters of what the
transaction did to the system catalogs.

What lives here: when to ask, the question, and what its answer proves. What must not:
the lowering itself (`cache.fences`). Whatever is not proven keeps the wide closure.

The question travels in front of the COMMIT, in the same write, between a savepoint and
the return to it: should it fail, for want of a privilege or of time, the client's
transaction is as it was. Followed: "Explicit Locking" and "Monitoring Database
Activity" of the manual, lmgr.c, pgstat_relation.c, PreCommit_Portals of portalmem.c.
"""

from __future__ import annotations

import re
import struct

from proxy.cache.fences import Fence, Granule
from proxy.catalog.snapshot import CatalogSnapshot
from proxy.policy.plan import Closure, Control, Flag, Plan, Scope
from proxy.session.probe import MIGHTY as _MIGHTY
from proxy.session.records import Pending
from proxy.session.state import OWN_NAME, UNASKABLE, SessionState
from proxy.wire import messages

SAVEPOINT = b'SAVEPOINT "howdah~own"'
# The question's own limit: neither the client's, which may be too short, nor none.
LIMIT_MS = 200
TIMEOUT = b"SET LOCAL statement_timeout = %d" % LIMIT_MS
RELEASE = b'RELEASE SAVEPOINT "howdah~own"'
BACK = b'ROLLBACK TO SAVEPOINT "howdah~own"'
# Beyond so many the transaction may as well have touched everything.
MOST_RELATIONS = 2000

# Names that can stand in a literal under all settings.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,63}")

_EQ = "OPERATOR(pg_catalog.=)"
_ADD = "OPERATOR(pg_catalog.+)"
_COUNTS = f" {_ADD} ".join(
    f"pg_catalog.pg_stat_get_xact_tuples_{what}(c.oid)"
    for what in ("inserted", "updated", "deleted")
)
_MIGHTY_OWNER = f"""EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE {_MIGHTY}
 AND pg_catalog.pg_has_role(%s, r.oid, 'MEMBER'))"""

_QUESTION = f"""SELECT pg_catalog.current_setting('track_counts') {_EQ} 'on'
 AND pg_catalog.current_setting('transaction_isolation') {_EQ} 'read committed'
 AND EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname {_EQ} '%(user)s')
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles u, pg_catalog.pg_roles r WHERE {_MIGHTY}
 AND (u.rolname {_EQ} '%(user)s' OR u.rolname {_EQ} session_user OR u.rolname {_EQ} current_user)
 AND pg_catalog.pg_has_role(u.oid, r.oid, 'MEMBER'))
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c
 WHERE c.oid OPERATOR(pg_catalog.<) 16384 AND c.relkind {_EQ} 'r'
 AND ({_COUNTS}) OPERATOR(pg_catalog.>) 0)
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p
 WHERE p.prosecdef AND p.oid OPERATOR(pg_catalog.>=) 16384
 AND {_MIGHTY_OWNER % "p.proowner"})
 AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
 JOIN pg_catalog.pg_class c ON c.oid {_EQ} t.tgrelid
 WHERE NOT t.tgisinternal AND {_MIGHTY_OWNER % "c.relowner"}
 AND EXISTS (SELECT FROM pg_catalog.pg_constraint k
 WHERE k.conrelid {_EQ} c.oid AND k.contype {_EQ} 'f')) %(more)s,
 (SELECT pg_catalog.string_agg(DISTINCT l.relation::pg_catalog.text, ',')
 FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid {_EQ} l.relation
 WHERE l.pid {_EQ} pg_catalog.pg_backend_pid() AND l.locktype {_EQ} 'relation'
 AND l.mode OPERATOR(pg_catalog.<>) ALL ('{{AccessShareLock,RowShareLock}}'::pg_catalog.text[])
 AND (c.oid IS NULL OR (c.relpersistence OPERATOR(pg_catalog.<>) 't'
 AND c.relkind {_EQ} ANY ('{{r,p,m,f}}'::pg_catalog."char"[]))))""".replace("\n", " ")
# Since 15 the right to change a setting can be granted.
_GRANTED = f""" AND NOT EXISTS (SELECT FROM pg_catalog.pg_parameter_acl
 WHERE parname {_EQ} 'track_counts')""".replace("\n", " ")


def question(user: str, major: int) -> bytes:
    """The text of the question. `user` is the login's name, `major` the server's version.

    Its row: whether everything that the answer rests on is proven, and the OIDs of the
    relations that are locked for more than reading, joined by commas.
    """
    return (_QUESTION % {"user": user, "more": _GRANTED if major >= 15 else ""}).encode()


def decode(row: bytes) -> frozenset[int] | None:
    """OIDs of the relations touched; None where the answer does not prove that it is whole."""
    try:
        proven, listed = messages.data_row(row)
        found = frozenset(map(int, listed.split(b","))) if listed else frozenset()
    except (ValueError, IndexError, struct.error):
        return None
    return found if proven == b"t" and len(found) <= MOST_RELATIONS else None


def closure_of(touched: frozenset[int], catalog: CatalogSnapshot) -> Closure | None:
    """What was written, in terms of what answers depend on; None where that is unclear."""
    found: set[int] = set()
    for oid in touched:
        relation = catalog.by_oid.get(oid)
        # Catalogs are for DDL; a relation that is not known may belong to one that is.
        if oid < 16384 or relation is None:
            return None
        found.add(relation.granule)
    return Closure(Scope.RELATIONS, frozenset(found))


class Touched(SessionState):
    """Asks before a COMMIT, and narrows its fence by the answer."""

    def may_ask(self, plan: Plan) -> bool:
        """Whether to ask before a request that is just this COMMIT."""
        flags, data = self.closure_flags, self.data
        if (
            plan.control is not Control.COMMIT
            or self.closure.scope is Scope.RELATIONS
            or self.status != b"T"
            or self.pending
            or not flags & Flag.OPAQUE
            or flags & UNASKABLE
        ):
            return False
        catalog = data.snapshot
        return (
            catalog is not None
            and not self.pooled
            and not self.replication
            and self.relay_fence is None
            and self.trusted
            # These act at COMMIT, after the answer.
            and not getattr(catalog, "deferred_triggers", True)
            and self.server_major > 0
            and _PLAIN_NAME.fullmatch(self.user) is not None
        )

    def ask_touched(self) -> None:
        """Send the question; what follows in the same write must be the COMMIT."""
        self.touched = self.struck = None
        rest = messages.close(b"P", OWN_NAME) + messages.close(b"S", OWN_NAME)
        if self.own_left:
            self.send(rest)
            self.own_left = False
        self._guard(_unnoticed(SAVEPOINT) + _unnoticed(TIMEOUT))
        asked = self.new_pending(hidden=True)
        asked.question = True
        self.send(_unnoticed(question(self.user, self.server_major)) + messages.SYNC)
        # Had the question failed, its portal and statement would still be there.
        self._guard(rest + _unnoticed(BACK))

    def may_probe_inside(self) -> bool:
        """Whether to ask for the settings inside a transaction, in front of a read."""
        return (
            self.status == b"T"
            and not self.pending
            and self.blocked is None
            and not (self.replication or self.pooled)
            and self.probe_failures == 0
            and self.data.snapshot is not None
            and self.relay_fence is None
            and self.statements_since_probe >= (1 << min(self.probes_in_vain, 8)) - 1
        )

    def probe_inside(self) -> None:
        """The probe, between a savepoint and the return to it: it leaves no trace if it fails."""
        self.struck = None
        rest = messages.close(b"P", OWN_NAME) + messages.close(b"S", OWN_NAME)
        if self.own_left:
            self.send(rest)
            self.own_left = False
        self._guard(_unnoticed(SAVEPOINT))
        self.send_probe()
        self._guard(rest + _unnoticed(BACK) + _unnoticed(RELEASE))
        self.snapshot_in_block = True

    def _guard(self, data: bytes) -> None:
        guard = self.new_pending(hidden=True)
        guard.guard = True
        self.send(data + messages.SYNC)

    def narrow(self, head: Pending, fence: Fence) -> bool:
        """After the ReadyForQuery of a COMMIT: let its fence stand on what was touched.

        False where nothing is proven: the fence covers what it covered.
        """
        row, self.touched = self.touched, None
        data, catalog = self.data, self.data.snapshot
        if (
            not head.asked
            or row is None
            or catalog is None
            or head.error is not None
            or head.tag != b"COMMIT"
            or self.status != b"I"
            or self.pooled
            # The schema is as it was when the question was sent, but for our own fear.
            or self.closure_version != data.version
            or data.schema_fences != int(fence.schema)
        ):
            return False
        touched = decode(row)
        closure = None if touched is None else closure_of(touched, catalog)
        if closure is None:
            return False
        granules: frozenset[Granule] = frozenset((data.oid, oid) for oid in closure.relations)
        self.engine.board.narrow(fence, granules)
        if fence.schema:
            # No catalog was touched: there is nothing to read again (F12).
            fence.schema = False
            data.schema_fences -= 1
        return True


def _unnoticed(text: bytes) -> bytes:
    """A statement of Howdah's own that leaves the client's unnamed ones alone."""
    return (
        messages.parse(OWN_NAME, text)
        + messages.bind(OWN_NAME, OWN_NAME)
        + messages.execute(OWN_NAME)
        + messages.close(b"P", OWN_NAME)
        + messages.close(b"S", OWN_NAME)
    )
