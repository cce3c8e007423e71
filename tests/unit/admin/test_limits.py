"""What one question may cost while everybody else waits."""

from __future__ import annotations

from typing import Any, cast

import pytest

from proxy.admin import console, select
from proxy.admin.console import ConsoleSession
from proxy.admin.lexer import tokens
from proxy.admin.views import Column, House, View
from proxy.errors import HowdahError
from proxy.wire import messages
from proxy.wire.startup import StartupPacket
from tests.unit.admin import houses

NOBODY = cast(House, None)
LONG = View(
    "long",
    "Many rows of long texts.",
    (Column("number", "int8", "a number"), Column("words", "text", "a text")),
    lambda house: ((number, "ab" * 2_000) for number in range(5_000)),
)


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        (f"WHERE {' OR '.join(['number < 0'] * 100)}", "too long for 5000 rows"),
        (f"ORDER BY {', '.join(['number'] * 300)}", "too long for 5000 rows"),
        ("WHERE words ~ 'x.*y'", "the patterns take too long"),
        (f"WHERE {' OR '.join(['words LIKE $1'] * 30)}", "the patterns take too long"),
    ],
)
def test_a_filter_that_would_hold_up_everybody_is_refused(clause, words):
    selection = select.prepare(LONG, clause)
    with pytest.raises(HowdahError, match=words) as caught:
        selection.rows(NOBODY, ["%x%"] * len(selection.parameters))
    assert caught.value.sqlstate == "54001"
    assert caught.value.hint


@pytest.mark.parametrize(
    "clause",
    [
        "WHERE words LIKE '%x%' OR words ILIKE 'B%' OR words LIKE '%x'",
        "WHERE number < 1000 AND words ~ 'x.*y' OR number > 5000",
        f"WHERE number IN ({', '.join(map(str, range(90, 150)))}) AND words ~ 'y'",
    ],
)
def test_what_operators_ask_is_within_it(clause):
    selection = select.prepare(LONG, clause)
    for _ in range(2):
        assert selection.rows(NOBODY) == []


def test_columns_are_few():
    assert len(select.prepare(LONG, "(words, *, number)").columns) == 4
    with pytest.raises(HowdahError, match="at most 4 entries") as caught:
        select.prepare(LONG, "(words, *, number, words)")
    assert caught.value.sqlstate == "54011"


def test_tokens_are_few():
    assert len(tokens("a " * 20_000)) == 20_000
    with pytest.raises(HowdahError, match="too long") as caught:
        tokens("a " * 20_001)
    assert caught.value.sqlstate == "54001"


# --- the console ------------------------------------------------------------------


class Keeper:
    """Keeps what it is asked for until the test gives it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def reload_now(self, done: Any) -> None:
        self.asked.append(done)

    def note(self, text: str) -> None:
        pass


@pytest.fixture
def session() -> ConsoleSession:
    """One that is in. Nobody calls it by itself."""
    house = cast(Any, houses.House())
    keeper = cast(Any, Keeper())
    made = ConsoleSession(house, keeper, 1, database="howdah", login="postgres", roles=("boss",))
    made.start(StartupPacket(3, 0, {"user": "boss", "database": "howdah"}, b""), 0.0)
    made.from_server(messages.message(b"R", b"\0\0\0\0") + messages.READY_IDLE, 0.0)
    made.to_client.clear()
    return made


def drained(session: ConsoleSession) -> bytes:
    out = b"".join(session.to_client)
    session.to_client.clear()
    return out


def test_one_statement_a_turn(session):
    calls: list[int] = []
    session.soon = lambda: calls.append(1)
    session.from_client(messages.query(b"SELECT 1; SELECT 2; SELECT 3") + messages.SYNC, 0.0)
    seen = []
    while session.behind:
        assert not session.idle
        seen.append(drained(session).count(b"SELECT 1\0"))
        session.go_on(0.0)
    # The first turn only reads the text.
    assert seen == [0, 1, 1, 1]
    assert len(calls) == 4
    assert drained(session) == messages.READY_IDLE
    assert session.idle


def test_a_reload_takes_its_turn(session):
    session.from_client(messages.query(b"RELOAD; SELECT 1") + messages.query(b"SELECT 2"), 0.0)
    session.go_on(0.0)
    (done,) = session.desk.keeper.asked
    assert (drained(session), session.behind, session.idle) == (b"", False, False)
    calls: list[int] = []
    session.soon = lambda: calls.append(1)
    done(["read"], None)
    assert (drained(session), session.behind, calls) == (b"", True, [1])
    while session.behind:
        session.go_on(0.0)
    found = drained(session)
    assert found.index(b"RELOAD\0") < found.index(b"SELECT 1\0")
    assert found.count(messages.READY_IDLE) == 2
    # One that comes when its client is gone is nobody's.
    session.from_client(messages.query(b"RELOAD"), 0.0)
    session.go_on(0.0)
    session.client_lost(0.0)
    calls.clear()
    session.desk.keeper.asked[1](["read"], None)
    assert (session.behind, calls) == (False, [])


def test_rows_that_wait_in_portals_are_few(session, monkeypatch):
    monkeypatch.setattr(console, "_ROWS_LIMIT", 100)
    batch = messages.query(b"BEGIN") + messages.parse(b"s", b"SHOW HELP")
    for number in range(8):
        name = b"p%d" % number
        batch += messages.bind(name, b"s")
        batch += messages.message(b"E", name + b"\0\0\0\0\x01")
    session.from_client(batch + messages.SYNC, 0.0)
    while session.behind:
        session.go_on(0.0)
    found = drained(session)
    assert found.count(b"C54000\0") == 1
    assert 1 < found.count(messages.PORTAL_SUSPENDED) < 8
    assert found.endswith(messages.READY[b"E"])
