"""Contexts: all of a session that can change an answer, as one small integer.

Two sessions share a context only if database, login role, effective role, every
setting that is not on the reviewed list, and the effective search_path are equal
(K1). A context lives under one version of its database's schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

from proxy.cache.fences import ALL, Granule, slot_of
from proxy.catalog.snapshot import CatalogSnapshot
from proxy.policy.plan import Plan
from proxy.reasons import Reason
from proxy.session.probe import Answer

# Of relations that are read together: their granules and slots, made once.
Places = dict[tuple[int, ...], tuple[tuple[Granule, ...], tuple[int, ...]]]


@dataclass(eq=False, slots=True)
class Shelf:
    """What contexts share in which names mean the same to the same role: their plans.

    Rules do not tell them apart either.
    """

    plans: dict[bytes, Plan] = field(default_factory=dict)
    places: Places = field(default_factory=dict)


class Database:
    """A database as sessions name it: its snapshot, its version, its contexts.

    Attributes:
        version: raised whenever the catalog is found changed.
        problem: why nothing is answered from memory here; None when all is well.
        schema_fences: DDL in flight or committed but not yet read back (F12).
        roles: what the newest catalog of any database told of the cluster's roles.
        watched: names, in order, of settings that are in the key for being read by name.
        families: numbers of contexts that differ in nothing else; never used again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.oid = 0
        self.snapshot: CatalogSnapshot | None = None
        self.version = 0
        self.problem: Reason | None = Reason.CATALOG_LOADING
        self.schema_fences = 0
        # Counts changes of functions, types and the like: what a session has run before
        # one may go on as it was planned then.
        self.forms = 0
        self.roles = ("", "")
        self.looked = float("-inf")  # when an unknown name last made it be read again
        self.contexts: dict[Answer, Context] = {}
        self.shelves: dict[tuple[str, str, tuple[str, ...], int], Shelf] = {}
        self.families: dict[Answer, int] = {}
        # Of contexts of this version, also those that are not alive any more: one that is
        # found to be as before finds its answers again.
        self.ids: dict[Answer, int] = {}
        self.watched: tuple[str, ...] = ()
        # Plans made without a known search_path.
        self.plans: dict[bytes, Plan] = {}
        # Raised while a session of this database starts: login event triggers can
        # write (K3). The OID is not known then, the name is.
        self.startup: Granule = (-1, crc32(name.encode("utf-8", "surrogateescape")))

    def places_of(self, reads: tuple[int, ...]) -> tuple[tuple[Granule, ...], tuple[int, ...]]:
        """Granules and slots that an answer made of these relations depends on (F4)."""
        granules: tuple[Granule, ...] = (ALL, (self.oid, 0))
        if self.snapshot is not None and self.snapshot.login_triggers:
            granules += (self.startup,)
        granules += tuple((self.oid, relation) for relation in reads)
        return granules, tuple(map(slot_of, granules))


@dataclass(eq=False, slots=True)
class Context:
    """One combination. `problem` says why its sessions get no hits, if they do not.

    Contexts of one `family` differ in custom settings alone.
    """

    id: int
    database: Database
    answer: Answer
    problem: Reason | None
    family: int
    shelf: Shelf
    live: bool = True
    plans: dict[bytes, Plan] = field(init=False)
    places: Places = field(init=False)

    def __post_init__(self) -> None:
        self.plans, self.places = self.shelf.plans, self.shelf.places
