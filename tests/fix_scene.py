"""A scene for forced interleavings: PostgreSQL, a middlebox, Howdah, a warm reader.

What must not live here: the interleavings, which are in `tests/adversity`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.fix_howdah import Howdah, check
from tests.fix_middlebox import Middlebox
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import Wire

PROBE = "SELECT v FROM public.probe WHERE id = 1"


@dataclass
class Scene:
    """A database behind Howdah behind a middlebox, with a warm reader."""

    server: PostgresServer
    box: Middlebox
    howdah: Howdah
    database: str
    reader: Wire

    def session(self, name: str) -> Wire:
        """A session that is known to Howdah, so that no probe is in the way of a rule."""
        wire = self.howdah.wire(self.database, application_name=name)
        self.howdah.until_hit(wire)
        return wire

    def truth(self, sql: str = PROBE) -> str:
        """The value as PostgreSQL itself tells it."""
        return str(self.server.run(self.database, sql)[0][0])

    def value(self, sql: str = PROBE) -> str:
        """The value as the reader gets it through Howdah."""
        return str(self.reader.rows(sql)[0][0])

    def settles(self, value: str, sql: str = PROBE) -> None:
        """The cache works again, and holds this value."""
        assert self.truth(sql) == value
        assert self.value(sql) == value
        self.howdah.until_hit(self.reader, sql)
        for _ in range(3):
            assert self.value(sql) == value

    def forwarded(self, value: str, sql: str = PROBE, times: int = 5) -> None:
        """A fence stands: every read gets this value, and none of them from memory."""
        with self.howdah.watching() as gained:
            for _ in range(times):
                assert self.value(sql) == value
        assert gained["hits"] == 0, gained

    def outcome(self, sql: str = PROBE) -> str:
        """What became of one read, as `outcome/reason`; "hit/" is one from memory."""
        with self.howdah.watching() as gained:
            self.value(sql)
        return next(name for name, count in gained.items() if "/" in name and count)

    def waits(self, pid: int, event: str) -> None:
        """Wait until this backend waits for `event`."""
        sql = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"
        eventually(lambda: self.server.run("postgres", sql) == [(event,)])

    @contextmanager
    def lone_primary(self) -> Iterator[None]:
        """Commits with `synchronous_commit = on` wait for a standby that never comes.

        They have written their commit record by then, and nobody sees them yet.
        """
        server = self.server
        server.run("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        try:
            server.run("postgres", "SELECT pg_reload_conf()")
            shown = "SHOW synchronous_standby_names"
            eventually(lambda: server.run("postgres", shown) == [("nobody",)])
            # Howdah sees a reload when it next looks at the server, and drops everything
            # then; a lost link makes it look now.
            with self.howdah.wire(self.database, application_name="lost") as lost:
                self.box.link(application_name="lost").reset()
                assert lost.closed()
            self.howdah.until_hit(self.reader)
            yield
        finally:
            self.standby_is_here()

    def standby_is_here(self) -> None:
        """Let the commits go that wait in `lone_primary`."""
        self.server.run("postgres", "ALTER SYSTEM RESET synchronous_standby_names")
        self.server.run("postgres", "SELECT pg_reload_conf()")

    def patient(self, name: str) -> Wire:
        """A session whose commits wait in `lone_primary`."""
        wire = self.session(name)
        eventually(lambda: wire.rows("SHOW synchronous_standby_names") == [["nobody"]])
        wire.query("SET synchronous_commit = on")
        self.howdah.until_hit(self.reader)
        return wire


@pytest.fixture(scope="session")
def stage(each_postgres: PostgresServer) -> Iterator[tuple[PostgresServer, Middlebox, Howdah]]:
    """One middlebox and one Howdah for all scenes of a server; rules name sessions."""
    box = Middlebox((each_postgres.host, each_postgres.port))
    howdah = Howdah(f"postgresql://howdah@127.0.0.1:{box.port}/postgres?sslmode=disable").start()
    yield each_postgres, box, howdah
    howdah.destroy()
    box.close()


@pytest.fixture
def scene(stage: tuple[PostgresServer, Middlebox, Howdah]) -> Iterator[Scene]:
    """A database of its own in front of each server."""
    server, box, howdah = stage
    start = len(howdah.log)
    database = server.create_database()
    howdah.warm(database)
    reader = howdah.wire(database, application_name="reader")
    howdah.until_hit(reader)
    yield Scene(server, box, howdah, database, reader)
    reader.close()
    box.clear()
    check(howdah, start)
