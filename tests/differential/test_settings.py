"""The cross product of the settings that shape answers, in sessions that take turns.

Each session through Howdah has a twin held directly, which is told the same; every read
must be answered alike, byte for byte. The data stand still. That answers came from memory
is shown by the metrics, for each setting under different values.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import md5

import psycopg
import pytest

from tests.differential.cases_settings import (
    NO_ROLES,
    ROLES,
    SCHEMA,
    SETTINGS,
    USERS,
    Setting,
)
from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, close, describe, execute, parse, query
from tests.stateful.twins import Difference, Twins, failed, frames

#: Reads, and where Howdah has been broken, within which it has to be noticed.
READS, BOUND = 20_000, 30_000
#: With the older PostgreSQL, which adds XML, fewer settings take part.
OLDER_READS = 5_000
OLDER = frozenset(
    ("xmlbinary", "xmloption", "TimeZone", "bytea_output", "search_path", "role", "app.tenant_id")
)
SESSIONS = 8
#: The least share of hits among the reads: below it the comparison would prove little.
FLOOR = 0.5
#: What the length of a run of reads is drawn from.
RUN = (8, 10, 14)
ONE = b"1"
INT4 = 23


@dataclass
class Figures:
    """What a run has done.

    Attributes:
        reads: answers to reads that were compared; hits: those from memory.
        changes: how often settings were changed, by the way it was done.
        by_value: hits by setting and value.
        refused: SETs and reads that failed, on both sides.
    """

    reads: int = 0
    hits: float = 0
    refused: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    by_value: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        return self.hits / self.reads if self.reads else 0.0


class Session(Twins):
    """Twins, and what they have prepared."""

    names: set[str]

    def run(self, text: str, *, style: str = "simple") -> bytes:
        """A statement without parameters."""
        what = f"{self.user} {style}: {text}"
        if style == "simple":
            return self.ask(query(text), what=what)
        if style == "named":
            name = "named by text"
            prepared = close("S", name) + parse(text, name) + bind(statement=name)
            return self.ask(prepared + execute() + SYNC, what=what)
        return self.ask(parse(text) + bind() + describe() + execute() + SYNC, what=what)


STYLES = ("simple", "simple", "text", "binary", "named", "named binary", "again")


class Play:
    """One run: sessions, dice and the record of what was done."""

    def __init__(
        self, howdah: Howdah, server: PostgresServer, database: str, seed: int | str
    ) -> None:
        self.howdah, self.server, self.database = howdah, server, database
        self.dice = random.Random(seed)
        self.figures = Figures()
        self.past: list[str] = []
        newest = server.major >= 18
        self.settings = [s for s in SETTINGS if newest or s.name in OLDER]
        self.sessions = [self.connect({}) for _ in range(SESSIONS)]
        self._drop_unknown()

    def close(self) -> None:
        for session in self.sessions:
            session.close()

    def _drop_unknown(self) -> None:
        """Leave out XML where the server was built without it."""
        with self.server.connect(self.database) as direct:
            try:
                direct.execute("SELECT '<a/>'::xml")
            except psycopg.errors.FeatureNotSupported:
                self.settings = [s for s in self.settings if not s.name.startswith("xml")]

    def connect(self, startup: dict[str, str], user: str | None = None) -> Session:
        session = Session(
            self.howdah.address,
            (self.server.host, self.server.port),
            (self.database, self.database),
            user or self.dice.choice(USERS),
            **startup,
        )
        session.names = set()
        return session

    # --- settings -----------------------------------------------------------

    def change(self, session: Session, setting: Setting) -> None:
        """Give a setting some value, in some way; it may end inside a transaction."""
        value = self.dice.choice(setting.values)
        way = self.dice.choice(WAYS)
        self.figures.changes[way.__name__] += 1
        way(self, session, setting, value)

    def tell(self, session: Session, text: str, style: str = "") -> None:
        style = style or self.dice.choice(("simple", "simple", "text", "named"))
        number = self.sessions.index(session)
        self.past.append(f"{number} {session.user} {style}: {text}")
        self.figures.refused += bool(failed(session.run(text, style=style)))

    def bound(self, session: Session, text: str, *values: str) -> None:
        """A statement whose parameters are bound as texts."""
        number = self.sessions.index(session)
        self.past.append(f"{number} {session.user} bound: {text} {values}")
        data = parse(text) + bind([value.encode() for value in values]) + describe()
        session.ask(data + execute() + SYNC, what=f"{text} {values}")

    # --- reads --------------------------------------------------------------

    def message(self, session: Session, text: str, style: str) -> bytes:
        """What asks for a read in a style; a named statement is prepared by this, if needed."""
        values = [ONE] if "$1" in text else []
        oids = [INT4] * len(values)
        if style == "simple":
            return query(text.replace("$1", "1"))
        results = [1] if "binary" in style else []
        run = describe() + execute() + SYNC
        if style in ("text", "binary"):
            return parse(text, oids=oids) + bind(values, results=results) + run
        name = "s" + md5(text.encode(), usedforsecurity=False).hexdigest()[:8]
        if style != "again" or name not in session.names:
            # Prepared once more, it is of the settings of now.
            session.names.add(name)
            data = close("S", name) + parse(text, name, oids) + describe("S", name) + SYNC
            session.ask(data, what=f"{session.user} prepares {text}")
        return bind(values, statement=name, results=results) + run

    def read(self, session: Session, text: str) -> None:
        style = self.dice.choice(STYLES)
        self.ask(session, text, style)

    def ask(self, session: Session, text: str, style: str) -> None:
        number = self.sessions.index(session)
        self.past.append(f"{number} {session.user} {style}: {text}")
        data = self.message(session, text, style)
        answer = session.ask(data, what=f"{session.user} {style}: {text}")
        self.figures.reads += 1
        state = failed(answer)
        if state:
            self.figures.refused += 1
            if state == "26000":
                session.names.clear()

    def reads(self, session: Session, setting: Setting) -> None:
        """A run of reads that show a setting; its hits count for the value that it has."""
        number = self.sessions.index(session)
        name = setting.shown or setting.name
        shown = session.direct.ask(query(f"SELECT current_setting('{name}', true)"))
        if session.status == "E" or failed(shown):
            return
        value = next(f for f in frames(shown) if f.kind == "D").values[0]
        word = "unset" if value is None else value.decode("latin-1")
        texts = self.dice.sample(setting.reads, min(2, len(setting.reads)))
        styles = self.dice.sample(STYLES, 2)
        self.past.append(f"{number} reads under {name} = {word}")
        with self.howdah.watching() as gained:
            for _ in range(self.dice.choice(RUN)):
                self.ask(session, self.dice.choice(texts), self.dice.choice(styles))
        self.figures.hits += gained["hits"]
        if gained["hits"]:
            self.figures.by_value.setdefault(setting.name, Counter())[word] += int(gained["hits"])

    def others(self) -> None:
        """Several sessions ask at the same time, each for something."""
        chosen = self.dice.sample(self.sessions, 3)
        asked = []
        for session in chosen:
            text = self.dice.choice(self.dice.choice(self.settings).reads)
            style = self.dice.choice(("simple", "text", "binary"))
            number = self.sessions.index(session)
            self.past.append(f"{number} {session.user} {style}, at once: {text}")
            asked.append((session, text, self.message(session, text, style)))
        with self.howdah.watching() as gained:
            for session, _, data in asked:
                session.through.send(data)
            found = [session.through.answer() for session, _, _ in asked]
        for (session, text, data), answer in zip(asked, found, strict=True):
            session.compare(answer, session.direct.ask(data), f"{session.user}: {text}")
        self.figures.reads += len(asked)
        self.figures.hits += gained["hits"]

    # --- the loop -----------------------------------------------------------

    def turn(self) -> None:
        """One session changes something and reads; others may read meanwhile."""
        number = self.dice.randrange(SESSIONS)
        session = self.sessions[number]
        setting = self.dice.choice(self.settings)
        if self.dice.random() < 0.05:
            session = self.login(number, setting)
        else:
            self.change(session, setting)
        self.reads(session, setting)
        if self.dice.random() < 0.3:
            self.reads(session, self.dice.choice(self.settings))
        if session.status != "I":
            end = ("COMMIT", "ROLLBACK", "ROLLBACK TO x", "COMMIT AND CHAIN", "RELEASE x")
            self.tell(session, self.dice.choice(end))
            self.reads(session, setting)
            if session.status != "I":
                self.tell(session, self.dice.choice(("COMMIT", "ROLLBACK")))
                self.reads(session, setting)
        if self.dice.random() < 0.2:
            self.others()
        if self.dice.random() < 0.75:
            undo = self.dice.choice(UNDO).format(name=setting.name)
            self.tell(session, undo)
            if undo == "DISCARD ALL":
                session.names.clear()
            if self.dice.random() < 0.5:
                self.reads(session, setting)

    def login(self, number: int, setting: Setting) -> Session:
        """A new session, with startup options."""
        startup: dict[str, str] = {}
        value = self.dice.choice(setting.values).strip("'")
        if not setting.is_role:
            if self.dice.random() < 0.5:
                escaped = value.replace("\\", "\\\\").replace(" ", "\\ ")
                startup["options"] = f"-c {setting.name}={escaped}"
            else:
                startup[setting.name] = value
        self.sessions[number].close()
        self.sessions[number] = session = self.connect(startup)
        self.past.append(f"{number} {session.user} logs in with {startup}")
        self.figures.changes["startup"] += 1
        return session

    def play(self, reads: int) -> Figures:
        """Play until so many reads are done.

        Raises:
            Difference: an answer through Howdah is not the direct one.
        """
        while self.figures.reads < reads:
            self.turn()
        return self.figures


# --- ways to set a setting ---------------------------------------------------

Way = Callable[[Play, Session, Setting, str], None]


def _name(setting: Setting) -> str:
    return "SESSION AUTHORIZATION" if setting.name == "session_authorization" else setting.name


def _set(setting: Setting, value: str, scope: str = "") -> str:
    """A SET, in the words that this setting has."""
    if setting.name == "session_authorization":
        return f"SET {scope} SESSION AUTHORIZATION {value}"
    if setting.name == "role":
        return f"SET {scope} ROLE {value}"
    return f"SET {scope} {setting.name} = {_listed(setting, value)}"


def _listed(setting: Setting, value: str) -> str:
    """The value as the grammar wants it: quoted, and a list where it is a list."""
    if setting.name == "search_path" or value.startswith("'"):
        return value
    return "'" + value + "'"


def _text(value: str) -> str:
    """The value as set_config takes it, inside of quotes."""
    return value.strip("'")


def plainly(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.tell(session, _set(setting, value, play.dice.choice(("", "SESSION"))))


def refused(play: Play, session: Session, setting: Setting, value: str) -> None:
    plainly(play, session, setting, value)
    if setting.refused:
        play.tell(session, _set(setting, setting.refused))


def refused_with_another(play: Play, session: Session, setting: Setting, value: str) -> None:
    """What was set in the same Query goes with what is refused."""
    if setting.refused:
        text = _set(setting, value) + "; " + _set(setting, setting.refused)
        play.tell(session, text, "simple")


def in_block(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.tell(session, play.dice.choice(("BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED")))
    if play.dice.random() < 0.5:
        play.read(session, play.dice.choice(setting.reads))
    play.tell(session, _set(setting, value))


def local(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.tell(session, "START TRANSACTION")
    play.tell(session, _set(setting, value, "LOCAL"))


def local_alone(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.tell(session, _set(setting, value, "LOCAL"))


def behind_a_savepoint(play: Play, session: Session, setting: Setting, value: str) -> None:
    other = play.dice.choice(setting.values)
    play.tell(session, "BEGIN")
    play.tell(session, _set(setting, other, play.dice.choice(("LOCAL", ""))))
    play.tell(session, "SAVEPOINT x")
    play.tell(session, _set(setting, value, play.dice.choice(("LOCAL", ""))))
    if play.dice.random() < 0.5:
        play.read(session, play.dice.choice(setting.reads))
        play.tell(session, play.dice.choice(("ROLLBACK TO x", "RELEASE x")))


def refused_in_block(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.tell(session, "BEGIN")
    play.tell(session, "SAVEPOINT x")
    play.tell(session, _set(setting, value))
    play.tell(session, _set(setting, setting.refused or "no such value"))
    play.read(session, play.dice.choice(setting.reads))
    play.tell(session, "ROLLBACK TO x")


def config(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.tell(session, f"SELECT set_config('{setting.name}', '{_text(value)}', false)")


def config_local(play: Play, session: Session, setting: Setting, value: str) -> None:
    if play.dice.random() < 0.8:
        play.tell(session, "BEGIN")
    play.tell(session, f"SELECT set_config('{setting.name}', '{_text(value)}', true)")


def config_bound(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.bound(session, f"SELECT set_config('{setting.name}', $1, false)", _text(value))


def config_all_bound(play: Play, session: Session, setting: Setting, value: str) -> None:
    text = "SELECT pg_catalog.set_config($1, $2, $3)"
    if play.dice.random() < 0.4:
        play.tell(session, "BEGIN")
    local = play.dice.choice(("true", "false"))
    play.bound(session, text, setting.name, _text(value), local)


def several(play: Play, session: Session, setting: Setting, value: str) -> None:
    read = play.dice.choice(setting.reads).replace("$1", "1")
    play.tell(session, f"{_set(setting, value)}; {read}", "simple")


def whole_block(play: Play, session: Session, setting: Setting, value: str) -> None:
    read = play.dice.choice(setting.reads).replace("$1", "1")
    scope, end = play.dice.choice(("LOCAL", "")), play.dice.choice(("COMMIT", "ROLLBACK"))
    play.tell(session, f"BEGIN; {_set(setting, value, scope)}; {read}; {end}", "simple")


def by_function(play: Play, session: Session, setting: Setting, value: str) -> None:
    play.tell(session, f"SELECT public.put('{setting.name}', '{_text(value)}')")


def by_block(play: Play, session: Session, setting: Setting, value: str) -> None:
    call = f"PERFORM set_config('{setting.name}', '{_text(value)}', false)"
    play.tell(session, f"DO $do$BEGIN {call}; END$do$")


def by_update(play: Play, session: Session, setting: Setting, value: str) -> None:
    name = setting.name
    play.tell(
        session,
        f"UPDATE pg_settings SET setting = '{_text(value)}' WHERE lower(name) = lower('{name}')",
    )


def by_prepared(play: Play, session: Session, setting: Setting, value: str) -> None:
    name = setting.name
    play.tell(session, f"PREPARE put AS SELECT set_config('{name}', $1, false)", "simple")
    play.tell(session, f"EXECUTE put ('{_text(value)}')", "simple")
    play.tell(session, "DEALLOCATE put", "simple")


def to_default(play: Play, session: Session, setting: Setting, value: str) -> None:
    plainly(play, session, setting, value)
    if setting.name == "role":
        play.tell(session, "SET ROLE NONE")
    else:
        play.tell(session, f"SET {_name(setting)} TO DEFAULT".replace("N TO", "N"))


WAYS: tuple[Way, ...] = (
    plainly,
    plainly,
    plainly,
    refused,
    refused_with_another,
    in_block,
    in_block,
    local,
    local,
    local_alone,
    behind_a_savepoint,
    refused_in_block,
    config,
    config_local,
    config_bound,
    config_all_bound,
    several,
    whole_block,
    by_function,
    by_block,
    by_update,
    by_prepared,
    to_default,
)
UNDO = ("RESET {name}", "RESET {name}", "RESET ALL", "DISCARD ALL", "SET {name} TO DEFAULT")


# --- tests --------------------------------------------------------------------


@pytest.fixture
def play(each_postgres: PostgresServer, each_howdah: Howdah) -> Iterator[Play]:
    database = each_postgres.create_database(SCHEMA, name="settings")
    each_postgres.run(database, ROLES.format(database=database))
    each_howdah.warm(database)
    try:
        played = Play(each_howdah, each_postgres, database, 1)
        yield played
        played.close()
    finally:
        each_postgres.run(database, NO_ROLES)


def test_no_difference(request: pytest.FixtureRequest, play: Play) -> None:
    reads = READS if play.server.major >= 18 else OLDER_READS
    if request.config.getoption("--mutation"):
        reads = BOUND
    try:
        figures = play.play(reads)
    except Difference as difference:
        pytest.fail("\n".join([*play.past[-150:], str(difference)]))
    print(figures)
    assert figures.share >= FLOOR, f"few reads were hits: {figures}"
    for setting in play.settings:
        values = figures.by_value.get(setting.name, Counter())
        assert len(values) >= setting.hits, f"{setting.name}: hits under {values} only"
