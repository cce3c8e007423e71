"""The stage for playbooks: a session without sockets, its bytes read as scripts.

A script is a list of steps. `client(...)` and `server(...)` feed bytes; `expect`
compares what came out with lines such as `C< Z I` (to the client) and `S< Q BEGIN`
(to the server), and a mismatch prints a diff. Messages are shown by their type and
what matters of their content.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from proxy.catalog.snapshot import CatalogSnapshot, Relation
from proxy.session import probe
from proxy.session.core import Session
from proxy.session.engine import Engine
from proxy.wire import messages
from proxy.wire.startup import StartupPacket

IDENTITY = ("7000000000000000001", "1", "1700000000.000000")
OID = 16384


def frames(data: bytes) -> list[tuple[str, bytes]]:
    """Cut a stream into (type, payload)."""
    found = []
    position = 0
    while position < len(data):
        size = int.from_bytes(data[position + 1 : position + 5], "big") + 1
        found.append((chr(data[position]), data[position + 5 : position + size]))
        assert position + size <= len(data), "a message is cut short"
        position += size
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def show(data: bytes, *, from_client: bool) -> list[str]:
    """One line a message."""
    lines = []
    for kind, payload in frames(data):
        if kind == "Q":
            line = f"Q {_text(payload[:-1])}"
        elif kind == "P" and from_client:
            name, rest = payload.split(b"\0", 1)
            text = rest.split(b"\0", 1)[0]
            line = "P probe" if name == probe.NAME else f"P {_text(name)}: {_text(text)}"
        elif kind == "B" and from_client:
            portal, name, _ = payload.split(b"\0", 2)
            line = f"B {_text(portal)} {_text(name)}"
        elif kind == "E" and from_client:
            line = f"E {_text(payload.split(bytes(1), 1)[0])}"
        elif kind in "DC" and from_client:
            line = f"{kind} {_text(payload[:-1])}"
        elif kind == "E":
            found = messages.fields(payload)
            line = f"E {found['C']}"
        elif kind == "C":
            line = f"C {_text(payload[:-1])}"
        elif kind == "Z":
            line = f"Z {_text(payload)}"
        elif kind == "D":
            row = messages.data_row(payload)
            line = "D " + ",".join("NULL" if v is None else _text(v) for v in row)
        else:
            line = kind
        lines.append(line.rstrip())
    return lines


def row(*values: str) -> bytes:
    """A DataRow of texts."""
    body = len(values).to_bytes(2, "big")
    for value in values:
        body += len(value).to_bytes(4, "big") + value.encode()
    return messages.message(b"D", body)


def description(*names: str) -> bytes:
    """A RowDescription of text columns."""
    body = len(names).to_bytes(2, "big")
    for name in names:
        body += name.encode() + b"\0" + bytes(4) + bytes(2) + (25).to_bytes(4, "big")
        body += b"\xff\xff" + b"\xff\xff\xff\xff" + bytes(2)
    return messages.message(b"T", body)


def complete(tag: str) -> bytes:
    return messages.command_complete(tag.encode())


def ready(status: str = "I") -> bytes:
    return messages.ready_for_query(status.encode())


def answer(*values: str, status: str = "I") -> bytes:
    """The whole reply to a simple SELECT of one column."""
    rows = b"".join(row(value) for value in values)
    return description("x") + rows + complete(f"SELECT {len(values)}") + ready(status)


def error(code: str, severity: str = "ERROR") -> bytes:
    return messages.error_response(code, "no", severity=severity)


def own(tag: str, *rows: bytes) -> bytes:
    """The replies to a statement that Howdah has put in front of a request."""
    return (
        messages.PARSE_COMPLETE
        + messages.BIND_COMPLETE
        + b"".join(rows)
        + complete(tag)
        + messages.CLOSE_COMPLETE * 2
    )


def own_request(text: str) -> str:
    """What such a statement looks like in a script."""
    return f"""S< P howdah~own: {text}
        S< B howdah~own howdah~own
        S< E howdah~own
        S< C Phowdah~own
        S< C Showdah~own"""


class Shell:
    """Remembers what the engine asked for; `finish` calls back."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting: list[Callable[[], None]] = []

    def load_catalog(self, database: str) -> None:
        self.asked.append(f"load {database}")

    def reload_catalog(self, database: str, done: Callable[[], None]) -> None:
        self.asked.append(f"reload {database}")
        self.waiting.append(done)

    def prove_ended(self, pid: int, done: Callable[[], None]) -> None:
        self.asked.append(f"prove {pid}")
        self.waiting.append(done)

    def verify_identity(self) -> None:
        self.asked.append("verify")

    def await_reload(self, done: Callable[[], None]) -> None:
        self.asked.append("reload of settings")
        self.waiting.append(done)

    def resend_cancel(self, session: Any) -> None:
        self.asked.append("cancel")

    def finish(self) -> None:
        waiting, self.waiting = self.waiting, []
        for done in waiting:
            done()


class Player:
    """A session on the stage, past its login, with its settings known."""

    def __init__(
        self,
        engine: Engine,
        number: int = 1,
        *,
        role: str = "app",
        settings: str = "default",
        database: str = "shop",
        mighty: str = "f",
        idle: str = "0",
    ) -> None:
        self.engine = engine
        self.idle = idle
        self.mighty = mighty
        self.resets = "resets"
        self.now = 100.0
        self.pid = 1000 + number
        self.role = role
        self.settings = settings
        self.session = Session(engine, number)
        self.summoned = 0  # how often the core has asked to be woken
        self.session.summon = self._summoned
        parameters = {"user": role, "database": database}
        self.session.start(StartupPacket(3, 0, parameters, b""), self.now)
        self.server(
            messages.message(b"R", bytes(4))
            + messages.message(b"S", b"client_encoding\0UTF8\0")
            + messages.message(b"S", b"standard_conforming_strings\0on\0")
            + messages.message(b"S", b"server_version\x0018.1\0")
            + messages.message(b"K", self.pid.to_bytes(4, "big") + b"key!")
            + ready()
        )
        self.clear()
        if self.session.pending:
            self.probed()

    def probe_row(
        self,
        *,
        temporary: str = "f",
        isolation: str = "read committed",
        custom: str = "",
        statements: str | None = None,
    ) -> bytes:
        more = () if statements is None else (statements,)
        return row(
            str(self.pid),
            str(OID),
            self.role,
            self.role,
            "f",
            *IDENTITY,
            '["pg_catalog", "public"]',
            self.settings,
            isolation,
            self.idle,
            "0",
            "0",
            temporary,
            "10",
            "10",
            self.mighty,
            self.resets,
            custom,
            *more,
        )

    def probed(self, **changes: str) -> None:
        """PostgreSQL answers the probe that is on its way, and what waited for that goes on."""
        self.server(
            messages.PARSE_COMPLETE
            + messages.BIND_COMPLETE
            + self.probe_row(**changes)
            + complete("SELECT 1")
            + messages.CLOSE_COMPLETE * 2
            + ready()
        )
        if self.waiting and self.summoned:
            self.wake()

    def client(self, data: bytes) -> None:
        self.session.from_client(data, self.now)

    def server(self, data: bytes) -> None:
        self.session.from_server(data, self.now)

    def query(self, text: str) -> None:
        self.client(messages.query(text.encode()))

    def _summoned(self) -> None:
        self.summoned += 1

    @property
    def waiting(self) -> bool:
        """Whether its request waits for another session's answer."""
        return self.session.held is not None

    def wake(self, *, late: bool = False) -> None:
        """The shell does what it was asked for, or its timer has run out."""
        assert late or self.summoned
        self.summoned = 0
        self.session.wake(self.now, late=late)

    def ended(self) -> bool:
        """Whether the upstream is to be closed."""
        return self.session.close_server

    def clear(self) -> tuple[bytes, bytes]:
        """What has come out so far: (to the client, to the server)."""
        session = self.session
        out = b"".join(session.to_client), b"".join(session.to_server)
        session.to_client.clear()
        session.to_server.clear()
        return out

    def expect(self, script: str) -> None:
        """Compare everything that came out since the last look with the script."""
        to_client, to_server = self.clear()
        actual = [f"S< {line}" for line in show(to_server, from_client=True)]
        actual += [f"C< {line}" for line in show(to_client, from_client=False)]
        wanted = [line.strip() for line in script.strip().splitlines() if line.strip()]
        if actual != wanted:
            diff = difflib.unified_diff(wanted, actual, "script", "session", lineterm="")
            raise AssertionError("\n" + "\n".join(diff))


def relation(oid: int, name: str, **more: Any) -> Relation:
    place = {"schema": "public", "columns": {"id": 23, "x": 25}}
    return Relation(oid=oid, name=name, **(place | more))


def shop(**more: Any) -> CatalogSnapshot:
    """Tables t and u, and w whose writes nobody can see through."""
    tables = [
        relation(20001, "t"),
        relation(20002, "u"),
        relation(20003, "w", opaque_write=True),
    ]
    settings: dict[str, Any] = {
        "database_oid": OID,
        "fingerprint": "1",
        "relations": {"public": {table.name: table for table in tables}},
        "by_oid": {table.oid: table for table in tables},
        "functions": {"pg_catalog": {}, "public": {}},
        "sure_types": frozenset((23,)),
    }
    return CatalogSnapshot(**(settings | more))


def engine(
    *, max_age: float | None = 60.0, cache_bytes: int = 1_000_000, shared_waiters: int = 100
) -> Engine:
    """An engine that knows the server and the shop's catalog."""
    made = Engine(
        cache_bytes=cache_bytes,
        entry_limit=100_000,
        max_age=max_age,
        shell=Shell(),
        shared_waiters=shared_waiters,
    )
    made.identity_seen(IDENTITY)
    made.install("shop", shop())
    return made
