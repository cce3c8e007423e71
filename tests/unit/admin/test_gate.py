"""The way into the console, byte by byte."""

from __future__ import annotations

import pytest

from proxy.admin.console import ConsoleSession
from proxy.errors import ProtocolError
from proxy.session.engine import Engine
from proxy.wire import messages
from proxy.wire.startup import StartupPacket, decode_startup

OK = messages.message(b"R", b"\0\0\0\0")
ASK = messages.message(b"R", b"\0\0\0\x03")
PASSWORD = messages.message(b"p", b"secret\0")
KEY = messages.message(b"K", b"\0\0\0\x07abcd")
FATAL = messages.error_response("28P01", "no")
QUERY = messages.query(b"SELECT 1")


def reported(name: str, value: str) -> bytes:
    return messages.parameter_status(name, value)


LOGIN = OK + reported("session_authorization", "boss") + reported("DateStyle", "SQL") + KEY
LOGIN += messages.READY_IDLE


class House:
    """As much of a house as a login needs."""

    def __init__(self) -> None:
        self.engine = Engine(cache_bytes=1 << 20, entry_limit=1 << 20, max_age=60.0)


class Keeper:
    """Hears who is refused."""

    notes: list[str]

    def __init__(self) -> None:
        self.notes = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def engine() -> Engine:
    return Engine(cache_bytes=1 << 20, entry_limit=1 << 20, max_age=60.0)


def session_of(engine: Engine, *roles: str, user: str = "boss") -> tuple[ConsoleSession, bytes]:
    house = House()
    house.engine = engine
    made = ConsoleSession(
        house,  # type: ignore[arg-type]
        Keeper(),  # type: ignore[arg-type]
        5,
        database="howdah",
        login="postgres",
        roles=roles,
    )
    parameters = {"user": user, "database": "howdah", "options": "-c x=y", "_pq_.z": "1"}
    return made, made.start(StartupPacket(3, 2, parameters, b""), 0.0)


def drained(session: ConsoleSession) -> tuple[bytes, bytes]:
    out = b"".join(session.to_client), b"".join(session.to_server)
    session.to_client.clear()
    session.to_server.clear()
    return out


def test_the_login_goes_to_the_upstream_database_without_options(engine):
    _, opening = session_of(engine)
    packet = decode_startup(opening)
    assert isinstance(packet, StartupPacket)
    assert (packet.major, packet.minor) == (3, 2)
    assert packet.parameters == {
        "user": "boss",
        "database": "postgres",
        "client_encoding": "UTF8",
        "application_name": "howdah console",
        "_pq_.z": "1",
    }


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_passwords_pass_and_the_rest_waits(engine, size):
    session, _ = session_of(engine, "boss")
    for at in range(0, len(ASK), size):
        session.from_server(ASK[at : at + size], 0.0)
    assert drained(session) == (ASK, b"")
    data = PASSWORD + QUERY
    for at in range(0, len(data), size):
        session.from_client(data[at : at + size], 0.0)
    assert drained(session) == (b"", PASSWORD)
    for at in range(0, len(LOGIN), size):
        session.from_server(LOGIN[at : at + size], 0.0)
    while session.behind:
        session.go_on(0.0)
    to_client, to_server = drained(session)
    assert to_client.startswith(OK)
    assert reported("DateStyle", "SQL") in to_client
    assert reported("standard_conforming_strings", "on") in to_client
    assert KEY + messages.READY_IDLE + b"T" in to_client
    assert to_client.endswith(messages.command_complete(b"SELECT 1") + messages.READY_IDLE)
    assert to_server == messages.TERMINATE
    assert session.close_server
    assert session.idle
    session.server_lost(0.0)
    assert not session.close_client


@pytest.mark.parametrize("roles", [("chief",), ("boss",)])
def test_a_role_that_is_not_the_one_that_has_logged_in_is_refused(engine, roles):
    # A pooler may report the role that its own connections have.
    session, _ = session_of(engine, *roles, user="chief")
    session.from_server(LOGIN, 0.0)
    to_client, _ = drained(session)
    assert b'role "chief" may not' in to_client
    assert messages.READY_IDLE not in to_client
    assert session.close_client
    assert session.close_server
    session.from_client(QUERY, 0.0)
    assert drained(session) == (b"", b"")


def test_a_name_that_postgresql_has_cut_is_known(engine):
    cut = "\u00e9" * 31
    session, _ = session_of(engine, f"{cut}x", user=f"{cut}xyz")
    session.from_server(OK + reported("session_authorization", f"{cut}x"), 0.0)
    session.from_server(messages.READY_IDLE, 0.0)
    assert session.started
    assert session.user == f"{cut}x"


def test_a_login_is_fenced_as_any_start_of_a_session(engine):
    session, _ = session_of(engine, "boss")
    assert [fence.owner for fence in engine.board.fences] == ["console 5"]
    session.from_server(LOGIN, 0.0)
    assert not engine.board.fences


@pytest.mark.parametrize(
    ("seen", "stays"),
    [(b"", True), (ASK, False), (FATAL, False), (OK, True)],
)
def test_the_fence_of_a_login_that_breaks_stays_where_a_trigger_may_run(engine, seen, stays):
    session, _ = session_of(engine, "boss")
    session.from_server(seen, 0.0)
    session.server_lost(0.0)
    assert bool(engine.board.fences) is stays
    assert session.close_client
    assert (b"08006" in drained(session)[0]) is (seen != FATAL)


def test_a_client_that_goes_while_its_login_runs_is_waited_for(engine):
    session, _ = session_of(engine, "boss")
    session.from_server(OK, 0.0)
    session.client_lost(0.0)
    assert session.waiting
    assert (session.close_server, session.close_client) == (False, False)
    session.from_server(LOGIN[len(OK) :], 0.0)
    assert (session.close_server, session.close_client) == (True, True)
    assert not engine.board.fences
    other, _ = session_of(engine, "boss")
    other.from_server(ASK, 0.0)
    other.client_lost(0.0)
    assert other.close_server


def test_too_much_before_the_login_ends_it(engine):
    session, _ = session_of(engine, "boss")
    session.from_client(QUERY + bytes(70_000), 0.0)
    assert b"08P01" in drained(session)[0]
    assert session.close_client
    assert session.close_server
    broken, _ = session_of(engine, "boss")
    with pytest.raises(ProtocolError):
        broken.from_server(b"R\0\0\0\0", 0.0)
