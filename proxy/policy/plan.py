"""What is to be done with one client text: the answer of `policy.decide`.

A plan is immutable and belongs to one text under one context (database, role,
search_path, catalog version). The session acts on plans alone; it never looks
at SQL. Invariants F1, F3, F9, F12, T1 and T2 of ARCHITECTURE.md are expressed
by the fields below.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from proxy.reasons import Reason
from proxy.tally import Shape
from proxy.terms import Terms


class Kind(enum.Enum):
    """The family that a statement belongs to; it decides the metric outcome."""

    READ = "read"  # may be answered from memory
    BYPASS = "bypass"  # a read that is forwarded, with a reason
    WRITE = "write"  # can change what others read
    OTHER = "other"  # transaction control, SET, utility


class Scope(enum.IntEnum):
    """How far a closure reaches when it is not a list of relations."""

    RELATIONS = 0  # exactly `Closure.relations`
    DATABASE = 1  # everything in this database
    CLUSTER = 2  # everything in every database, roles and settings included (F9)


@dataclass(frozen=True, slots=True)
class Closure:
    """What a statement can write: relation OIDs of the session's database, or more."""

    scope: Scope = Scope.RELATIONS
    relations: frozenset[int] = frozenset()

    def __or__(self, other: Closure) -> Closure:
        if self is other or not other:
            return self
        if not self:
            return other
        scope = max(self.scope, other.scope)
        if scope is not Scope.RELATIONS:
            return DATABASE if scope is Scope.DATABASE else EVERYTHING
        return Closure(Scope.RELATIONS, self.relations | other.relations)

    def __bool__(self) -> bool:
        return self.scope is not Scope.RELATIONS or bool(self.relations)


NOTHING = Closure()
DATABASE = Closure(Scope.DATABASE)
EVERYTHING = Closure(Scope.CLUSTER)


class Control(enum.Enum):
    """Set only where the whole text is exactly one transaction-control statement."""

    NONE = "none"
    BEGIN = "begin"
    COMMIT = "commit"  # COMMIT, END; without AND CHAIN
    ROLLBACK = "rollback"  # ROLLBACK, ABORT; without AND CHAIN
    CHAIN = "chain"  # COMMIT/ROLLBACK AND CHAIN
    SAVEPOINT = "savepoint"  # SAVEPOINT, RELEASE, ROLLBACK TO
    SET_TRANSACTION = "set_transaction"  # must fail after a hit as it would have (T2)


class Flag:
    """What else a text can do, as bits of a plain int.

    An enum.IntFlag costs half a microsecond for every `&`, and a statement pays for a
    dozen. Flags of several statements in one Query are or-ed, but for PLAIN and
    those of SHARED_FLAGS, which hold only where they hold for each of them.
    """

    NONE = 0
    # Can end an open explicit transaction with a commit: COMMIT, END, PREPARE
    # TRANSACTION, also inside a text of several statements, and whatever is opaque.
    MAY_COMMIT = 1
    # Takes row, table or advisory locks: no hits in this transaction from here on (T1).
    LOCKS = 2
    # May change settings of the session that are part of the key, or the role.
    SETTINGS = 4
    # May change how names resolve: search_path, role, temporary objects.
    PATH = 8
    # Changes the catalog: it is read again before the fence comes down (F12).
    SCHEMA = 16
    # An ErrorResponse of severity ERROR proves that nothing of it was committed (F3).
    PLAIN = 32
    # Adds or drops prepared statements at SQL level (PREPARE, DEALLOCATE, DISCARD ALL).
    STATEMENTS = 64
    # The transaction is, or may become, something other than READ COMMITTED (T1).
    ISOLATION = 128
    # BEGIN/START TRANSACTION that may be answered locally and sent later (T2).
    DEFERRABLE = 256
    # The text holds more than one statement.
    SEVERAL = 512
    # A read that is harmless and could be repeated, but opaque code may have run in it.
    OPAQUE = 1024
    # RESET ALL: changes nothing in a session whose settings are those of its login.
    RESET_ALL = 2048
    # A SET of constants: from equal settings it leads to equal settings.
    SET_CONSTANT = 4096
    # DISCARD ALL: settings are those of the login again, statements and temp objects gone.
    DISCARD_ALL = 8192
    # A name that the catalog does not know: it is read again.
    UNKNOWN_NAME = 16384
    # Of those with SETTINGS: what changes is custom settings alone, which neither decide how
    # a text is read nor how functions are planned (K1).
    CUSTOM = 32768
    # Of those with SETTINGS: the change ends with the transaction.
    LOCAL = 65536
    # From equal settings and an equal login these lead to equal settings.
    DETERMINISTIC = SET_CONSTANT | RESET_ALL | DISCARD_ALL


# Those that hold for several things only where they hold for each that has SETTINGS.
SHARED_FLAGS = Flag.SET_CONSTANT | Flag.RESET_ALL | Flag.CUSTOM | Flag.LOCAL


def both_flags(one: int, other: int) -> int:
    """The flags of two things that happen."""
    flags = one | other
    if one & other & Flag.SETTINGS:
        flags &= ~SHARED_FLAGS | (one & other)
        if (one ^ other) & Flag.LOCAL:
            # What a COMMIT leaves is neither what is seen nor what was before.
            flags &= ~Flag.DETERMINISTIC
    return flags


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision for one text.

    Attributes:
        kind: family, see `Kind`.
        reason: why the statement is not answered from memory; for READ it is
            `Reason.NOT_CACHED`, the reason of a miss.
        reads: for READ, and where somebody forbids it, the OIDs of the relations that the
            answer depends on, sorted.
        closure: what it can write; `NOTHING` for a harmless statement.
        control: see `Control`.
        flags: see `Flag`.
        dropped: names that DEALLOCATE or PREPARE touches; `None` stands for all of them.
        terms: on which an answer is kept, from a rule or hint; `None` for the usual ones.
        ignored: words of hints that mean nothing.
        rule: name of the rule that decided, for EXPLAIN; empty where none did.
        bodies: functions in SQL or PL/pgSQL run, whose plans the session keeps: its answer
            is that of other sessions only if it has run none under other settings (K1).
        mixes: such functions run under other settings than the session's.
        executes: name of the SQL-level prepared statement that EXECUTE runs, where its
            arguments are harmless; what it does is what `prepared` of its PREPARE says.
        prepared: for PREPARE, what executing it does, wherever its names resolve.
        settings: names, in lower case, of settings that the answer depends on by name.
        shape: the statement without its literals, by which it is counted.
    """

    kind: Kind
    reason: Reason
    reads: tuple[int, ...] = ()
    closure: Closure = NOTHING
    control: Control = Control.NONE
    flags: int = Flag.NONE
    dropped: tuple[str, ...] | None = ()
    terms: Terms | None = None
    ignored: tuple[str, ...] = ()
    rule: str = ""
    bodies: bool = False
    mixes: bool = False
    executes: str = ""
    prepared: Plan | None = None
    settings: frozenset[str] = frozenset()
    shape: Shape | None = field(default=None, compare=False, repr=False)
