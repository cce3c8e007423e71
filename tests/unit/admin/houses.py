"""A house without a shell: a real engine, and clocks and connections that the test sets."""

from __future__ import annotations

from proxy.admin.house import ClientSeen, ConfigSeen, OwnSeen, Status
from proxy.cache.store import Entry
from proxy.session.context import Database
from proxy.session.engine import Engine
from proxy.settings import Settings, load

DATABASE = 5


class House:
    """See `proxy.admin.house.House`."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        self.engine = Engine(cache_bytes=1_000_000, entry_limit=10_000, max_age=60.0)
        self.settings = settings or load(
            {"upstream": "postgresql://howdah:secret@db/postgres"}, {}, lambda path: ""
        )
        self.started = 100.0
        self.time = 110.0
        self.seen: list[ClientSeen] = []
        self.owns: list[OwnSeen] = []
        self.told = Status(True, "proxied", "on")
        self.file = ConfigSeen(None, None, 1_000.0)

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 2_000_000_000.0

    def clients(self) -> list[ClientSeen]:
        return self.seen

    def own_connections(self) -> list[OwnSeen]:
        return self.owns

    def status(self) -> Status:
        return self.told

    def warnings(self) -> list[str]:
        return self.told.warnings

    def config(self) -> ConfigSeen:
        return self.file


def busy(house: House) -> House:
    """Let a few things have happened: a statement with answers, and a write that evicted them."""
    engine = house.engine
    database = engine.databases["shop"] = Database("shop")
    database.oid = DATABASE
    shape = engine.shapes.of("shop", b"SELECT * FROM items WHERE id = 7")
    shape.reads = (42,)
    for _ in range(3):
        shape.ran("miss", "not_cached", 0.010, 105.0, "app")
        engine.statistics.count("miss", "not_cached")
        engine.statistics.seconds["miss"].observe(0.010)
    for number in range(4):
        entry = Entry(
            (1, b"%d" % number),
            b"T",
            b"SELECT 2\0",
            ((0, 0), (database.oid, 0), (database.oid, 42)),
            (0, 0, 0),
            filled=104.0,
            seconds=0.010,
            shape=shape,
        )
        engine.store.put(entry)
        if not number:
            entry.fresh = 5
            engine.shapes.fresh.append(entry)
    engine.statistics.fresh_hits = 5
    engine.store.evict(((database.oid, 42),), "write", now=108.0, owner="session 3", text="UPDATE")
    for number in range(2):
        engine.store.put(
            Entry(
                (2, b"%d" % number), b"T", b"SELECT 1\0", ((database.oid, 42),), (0,), shape=shape
            )
        )
    return house
