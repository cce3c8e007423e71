"""The state machine: four sessions, each with a twin, do what comes to hypothesis' mind.

Two equal databases are told the same in the same order, one step at a time: one through
Howdah, the other directly. Every reply must be the same. Sessions write rows of their own,
so that nobody waits for another; where locks would meet nevertheless, both sides give up
with the same error.

What must not live here: texts (`words.py`), and how answers are compared (`twins.py`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.fix_howdah import Howdah
from tests.fix_pg import PostgresServer
from tests.fix_wire import (
    FLUSH,
    SYNC,
    bind,
    close,
    describe,
    execute,
    parse,
    query,
)
from tests.stateful import words
from tests.stateful.twins import FLUSHED, READY, Difference, Twins, failed

#: Nobody waits for long.
PATIENCE = "-c lock_timeout=25ms -c statement_timeout=10s"
#: Steps after which a failed transaction, an open one and odd settings come to an end.
FAILED, OPEN, ODD = 3, 14, 25
INT4 = 23


@dataclass
class Figures:
    """What all examples of a run have done.

    Attributes:
        steps: messages that were answered alike, a read that was repeated each time.
        reads: those of `words.READS`; hits: how many came from memory.
        kinds: steps by the rule that made them. failures: by SQLSTATE.
        outcomes: `outcome/reason` of everything, by Howdah's own metrics.
        reports: the differences, with all that went before.
    """

    examples: int = 0
    steps: int = 0
    reads: int = 0
    hits: float = 0
    kinds: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    reports: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Hits among the reads."""
        return self.hits / self.reads if self.reads else 0.0

    def __str__(self) -> str:
        return (
            f"examples {self.examples}, steps {self.steps}, reads {self.reads},"
            f" hits {self.hits:.0f} ({self.share:.1%}), differences {len(self.reports)}"
        )


@dataclass
class Bench:
    """Where the examples are played.

    Attributes:
        template: a database with `words.SCHEMA`, from which each example makes its two.
    """

    server: PostgresServer
    howdah: Howdah
    template: str = ""
    figures: Figures = field(default_factory=Figures)

    def __post_init__(self) -> None:
        self.template = self.server.create_database(words.SCHEMA, name="stateful")

    def copy(self) -> str:
        """A new database that is equal to the template."""
        name = f"{self.template}_{next(self.server._names)}"
        strategy = "STRATEGY file_copy" if self.server.major >= 15 else ""
        with self.server.connect("postgres") as admin:
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {self.template} {strategy}")
        return name

    def drop(self, *names: str) -> None:
        """Away with databases, prepared transactions included."""
        for name in names:
            with self.server.connect(name) as own:
                left = own.execute(
                    "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
                ).fetchall()
                for (gid,) in left:
                    own.execute(f"ROLLBACK PREPARED '{gid}'")
            with self.server.connect("postgres") as admin:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Session(Twins):
    """Twins, with what the machine has to remember of them.

    Attributes:
        since: steps since the transaction began, failed, and since settings were as at login.
        prepared: protocol-level statements by name, with their texts.
    """

    def __init__(self, number: int, bench: Bench, databases: tuple[str, str]) -> None:
        super().__init__(
            bench.howdah.address,
            (bench.server.host, bench.server.port),
            databases,
            words.USERS[number],
            options=PATIENCE,
        )
        self.number = number
        self.open = self.failed = self.odd = 0
        self.prepared: dict[str, str] = {}


NUMBERS = st.integers(0, len(words.USERS) - 1)
STYLES = st.sampled_from(("simple", "simple", "text", "text", "binary", "named"))
VALUES = st.integers(0, 3)
#: Which of the reads that show it come behind a change.
SHOWN = st.lists(st.integers(0, 11), max_size=3)

_VALUED = [(name, value) for name, values in words.SETTINGS.items() for value in values]
VALUED = st.sampled_from((*_VALUED, *words.UNREPORTED))


def _set(text: str, name: str, value: str) -> str:
    """A way to set something, with name and value put in."""
    literal = value if value.startswith("'") else f"'{value}'"
    return text.replace("{name}", name).replace("{value}", value).replace("{text}", literal)


#: What an excursion does, with the reads that show it: mostly settings that nobody reports.
CHANGES = st.sampled_from(
    [
        (_set(text, name, value), words.SHOWS.get(name, words.READS))
        for text in words.SETS[:11]
        for name, value in (*_VALUED, *words.UNREPORTED, *words.UNREPORTED)
    ]
    + 6 * [(text, words.SHOWING["role"]) for text in words.ROLES]
    + 10 * [(text, words.SHOWING["temporary"]) for text in words.TEMPORARY[:11]]
    + 6 * list(words.SHOWN_WRITES)
    + 2 * [(text, words.SHOWS["bytea_output"]) for text in (*words.FAILURES, *20 * [words.LATE])]
)


def among(texts: Sequence[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(texts)


class Machine(RuleBasedStateMachine):
    """One example: two databases, four sessions."""

    bench: ClassVar[Bench]
    say: ClassVar[Callable[[str], None]]

    def __init__(self) -> None:
        super().__init__()
        bench = self.bench
        bench.figures.examples += 1
        self.script: list[str] = []
        self.databases = bench.copy(), bench.copy()
        bench.howdah.warm(self.databases[0])
        self.sessions = [
            Session(number, bench, self.databases) for number in range(len(words.USERS))
        ]
        self.rule = "start"
        self._watching = bench.howdah.watching()
        self._gained = self._watching.__enter__()
        # The answers that a session must not be given, unless they are its own, are there.
        for text in words.READS:
            for session in self.sessions:
                self._read(session, text, "simple", 1)

    def teardown(self) -> None:
        figures = self.bench.figures
        self._watching.__exit__(None, None, None)
        figures.hits += self._gained["hits"]
        figures.outcomes.update({k: int(v) for k, v in self._gained.items() if "/" in k})
        for session in self.sessions:
            session.close()
        self.bench.drop(*self.databases)
        type(self).say(str(figures))

    # --- how things are said ---------------------------------------------------

    def _tell(
        self,
        session: Session,
        what: str,
        data: bytes,
        twin: bytes | None = None,
        *,
        ends: bytes = READY,
        answers: int = 1,
    ) -> bytes:
        figures = self.bench.figures
        line = f"{session.number} {session.user} [{session.status}] {what}"
        self.script.append(line)
        try:
            answer = session.ask(data, twin, ends=ends, answers=answers, what=line)
        except (Difference, OSError, EOFError) as problem:
            last = str(problem) if isinstance(problem, Difference) else f"{line}\n  {problem!r}"
            figures.reports.append("\n".join([*self.script[:-1], last]))
            raise
        figures.steps += 1
        figures.kinds[self.rule] += 1
        state = failed(answer)
        if state:
            figures.failures[state] += 1
        return answer

    def _turn(self, number: int, rule: str) -> Session:
        """The session whose turn it is, brought to an end of what has lasted too long."""
        session = self.sessions[number]
        self.rule = "end"
        session.odd += 1
        if session.status == "E":
            session.failed += 1
        if session.status == "T":
            session.open += 1
        if session.failed >= FAILED:
            self._tell(session, "ROLLBACK", query("ROLLBACK"))
        elif session.open >= OPEN:
            self._tell(session, "COMMIT", query("COMMIT"))
        if session.status == "I":
            session.failed = session.open = 0
            if session.odd >= ODD:
                self._reset(session, "DISCARD ALL", simple=True)
        self.rule = rule
        return session

    def _say(self, session: Session, text: str, *, simple: bool = True, k: int = 0) -> bytes:
        """A text, as a Query or as unnamed extended messages."""
        both = []
        for side in "hd":
            said = text
            for name, value in (("{n}", session.number), ("{k}", k), ("{side}", side)):
                said = said.replace(name, str(value))
            both.append(said)
        if simple:
            return self._tell(session, both[0], *map(query, both))
        session.prepared[""] = text
        messages = [parse(said) + bind() + describe() + execute() + SYNC for said in both]
        return self._tell(session, f"extended: {both[0]}", *messages)

    def _read(self, session: Session, text: str, style: str, value: int) -> None:
        self.bench.figures.reads += 1
        if style == "simple":
            self._say(session, text.replace("$1", str(value)))
            return
        values, oids = ([str(value).encode()], [INT4]) if "$1" in text else ([], [])
        results = [1] if style == "binary" else []
        run = describe() + execute() + SYNC
        what = f"{style}: {text} {value if values else ''}"
        if style == "named":
            name = f"r{words.READS.index(text)}"
            if name in session.prepared:
                data = bind(values, statement=name) + run
            else:
                data = close("S", name) + parse(text, name, oids) + bind(values, statement=name)
                what += ", prepared"
            answer = self._tell(session, what, data if data.endswith(SYNC) else data + run)
            if failed(answer):
                session.prepared.pop(name, None)
            else:
                session.prepared[name] = text
            return
        session.prepared[""] = text
        self._tell(session, what, parse(text, oids=oids) + bind(values, results=results) + run)

    def _show(self, session: Session, kind: str, shown: Sequence[int]) -> None:
        """Read what shows best what has just been done."""
        texts = words.SHOWING[kind]
        for number in shown:
            self._read(session, texts[number % len(texts)], "text" if number > 8 else "simple", 1)

    # --- rules -------------------------------------------------------------------

    @rule(n=NUMBERS, text=among(words.READS), style=STYLES, value=VALUES, times=st.integers(1, 4))
    def read(self, n: int, text: str, style: str, value: int, times: int) -> None:
        session = self._turn(n, "read")
        for _ in range(times):
            self._read(session, text, style, value)

    @rule(text=among(words.READS), style=STYLES, value=VALUES, times=st.integers(1, 2))
    def everybody_reads(self, text: str, style: str, value: int, times: int) -> None:
        for number in range(len(self.sessions)):
            session = self._turn(number, "read")
            for _ in range(times):
                self._read(session, text, style, value)

    @rule(texts=st.lists(among(words.READS), min_size=2, max_size=3), style=STYLES)
    def settle(self, texts: list[str], style: str) -> None:
        """All transactions end, all settings are those of the login, and all read."""
        for number in range(len(self.sessions)):
            self._calm(self._turn(number, "end"), wholly=True)
        for text in texts:
            for number in range(len(self.sessions)):
                session = self._turn(number, "read")
                for _ in range(2):
                    self._read(session, text, style, 1)

    @rule(n=NUMBERS, text=among(words.OTHER_READS), simple=st.booleans())
    def read_otherwise(self, n: int, text: str, simple: bool) -> None:
        self._say(self._turn(n, "read otherwise"), text, simple=simple)

    @rule(n=NUMBERS, text=among(words.WRITES), simple=st.booleans(), shown=SHOWN)
    def write(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        session = self._turn(n, "write")
        self._say(session, text, simple=simple)
        self._show(session, "transaction", shown)

    @rule(n=NUMBERS, text=among(words.FAILURES), simple=st.booleans(), shown=SHOWN)
    def fail(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        session = self._turn(n, "fail")
        self._say(session, text, simple=simple)
        self._show(session, "setting", shown)

    @rule(n=NUMBERS, text=among(words.BEGINS), simple=st.booleans())
    def begin(self, n: int, text: str, simple: bool) -> None:
        self._say(self._turn(n, "begin"), text, simple=simple)

    @rule(n=NUMBERS, text=among(words.ENDS), simple=st.booleans(), shown=SHOWN)
    def end(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        session = self._turn(n, "end")
        self._say(session, text, simple=simple)
        self._show(session, "transaction", shown)

    @rule(n=NUMBERS, text=among(words.INSIDE), simple=st.booleans(), shown=SHOWN)
    def inside(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        """Savepoints and SET TRANSACTION, nearly always where there is a transaction."""
        session = self._turn(n, "inside")
        if session.status == "I" and text != "SET TRANSACTION READ ONLY":
            self._say(session, "BEGIN", simple=simple)
        self._say(session, text, simple=simple)
        self._show(session, "transaction", shown)

    @rule(n=NUMBERS, text=among(words.TWO_PHASE), k=VALUES, shown=SHOWN)
    def two_phase(self, n: int, text: str, k: int, shown: list[int]) -> None:
        session = self._turn(n, "two-phase")
        self._say(session, text, k=k)
        self._show(session, "transaction", shown)

    def _calm(self, session: Session, *, wholly: bool) -> None:
        """End its transaction, and with `wholly` go back to what held at the login."""
        if session.status != "I":
            self._say(session, "ROLLBACK")
        if wholly:
            self._reset(session, "DISCARD ALL", simple=True)

    def _rest(self) -> None:
        """Let Howdah read the catalog where DDL has changed it: before that there are no hits.

        It decides nothing: fences of prepared transactions, say, stay up.
        """
        for _ in range(40):
            if not self.bench.howdah.count("fences_up"):
                break
            time.sleep(0.005)

    def _excursion(
        self,
        n: int,
        wholly: bool,
        begins: tuple[str, ...],
        change: tuple[str, tuple[str, ...]],
        ends: tuple[str, ...],
        shown: list[int],
        style: str,
        early: bool,
    ) -> None:
        """Something is changed and perhaps undone; another session of the role stands by."""
        session, other = self._turn(n, "excursion"), self.sessions[n ^ 2]
        text, showing = change
        reads = [showing[number % len(showing)] for number in shown]

        def all_read(*sessions: Session) -> None:
            for read in reads:
                for one in sessions:
                    self._read(one, read, style, one.number)

        self._calm(session, wholly=wholly)
        self._rest()
        all_read(other, *([session] if early else []))
        for said in begins:
            self._say(session, said)
        if early:
            all_read(session)
        self._say(session, text)
        if showing is words.SHOWING["temporary"]:
            self._rest()
        all_read(session, other, session)
        for said in ends:
            self._say(session, said)
            all_read(session)
        all_read(other, session)

    _any_excursion = rule(
        n=NUMBERS,
        wholly=st.booleans(),
        begins=st.sampled_from((("BEGIN",), ("BEGIN", "SAVEPOINT x"), ())),
        change=CHANGES,
        ends=st.sampled_from(words.EXCURSIONS),
        shown=st.lists(st.integers(0, 11), min_size=1, max_size=2),
        style=among(("simple", "text", "named")),
        early=st.booleans(),
    )
    # Drawn more often than what is done by one step alone.
    excursion = _any_excursion(_excursion)
    another_excursion = _any_excursion(_excursion)
    third_excursion = _any_excursion(_excursion)

    @rule(
        n=NUMBERS,
        begin=among(words.BEGINS),
        write=st.sampled_from(words.SHOWN_WRITES),
        ends=st.sampled_from(words.EXCURSIONS[1:4]),
        by_other=st.booleans(),
    )
    def write_meanwhile(
        self,
        n: int,
        begin: str,
        write: tuple[str, tuple[str, ...]],
        ends: tuple[str, ...],
        by_other: bool,
    ) -> None:
        """A transaction reads, it or another session writes, and both read on."""
        session, other = self._turn(n, "write meanwhile"), self.sessions[n ^ 2]
        text, reads = write

        def all_read() -> None:
            for read in reads[:2]:
                for one in (session, other):
                    self._read(one, read, "simple", 1)

        self._calm(session, wholly=True)
        if other.status != "I":
            self._calm(other, wholly=False)
        self._say(session, begin)
        all_read()
        self._say(other if by_other else session, text)
        all_read()
        all_read()
        for said in ends:
            self._say(session, said)
            all_read()

    @rule(
        n=NUMBERS,
        setting=VALUED,
        text=among(words.SETS),
        simple=st.booleans(),
        shown=SHOWN,
    )
    def set(
        self, n: int, setting: tuple[str, str], text: str, simple: bool, shown: list[int]
    ) -> None:
        session = self._turn(n, "set")
        self._say(session, _set(text, *setting), simple=simple)
        self._show(session, "setting", shown)

    @rule(
        n=NUMBERS,
        setting=VALUED,
        text=among(words.BOUND_SETS),
        local=st.booleans(),
        shown=SHOWN,
    )
    def set_bound(
        self, n: int, setting: tuple[str, str], text: str, local: bool, shown: list[int]
    ) -> None:
        session = self._turn(n, "set bound")
        bound = [setting[0], setting[1].strip("'"), str(local).lower()][: text.count("$")]
        data = parse(text) + bind([value.encode() for value in bound]) + describe()
        session.prepared[""] = ""
        self._tell(session, f"{text} {bound}", data + execute() + SYNC)
        self._show(session, "setting", shown)

    @rule(n=NUMBERS, text=among(words.RESETS), simple=st.booleans(), shown=SHOWN)
    def reset(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        session = self._turn(n, "reset")
        self._reset(session, text, simple=simple)
        self._show(session, "setting", shown)

    def _reset(self, session: Session, text: str, *, simple: bool) -> None:
        answer = self._say(session, text, simple=simple)
        if text == "DISCARD ALL" and not failed(answer):
            session.odd = 0
            session.prepared = {k: v for k, v in session.prepared.items() if not k}

    @rule(n=NUMBERS, text=among(words.ROLES), simple=st.booleans(), shown=SHOWN)
    def role(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        session = self._turn(n, "role")
        self._say(session, text, simple=simple)
        self._show(session, "role", shown)

    @rule(n=NUMBERS, text=among(words.TEMPORARY), simple=st.booleans(), shown=SHOWN)
    def temporary(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        session = self._turn(n, "temporary")
        self._say(session, text, simple=simple)
        self._show(session, "temporary", shown)

    @rule(n=NUMBERS, text=among(words.PREPARES), simple=st.booleans(), shown=SHOWN)
    def prepare_in_sql(self, n: int, text: str, simple: bool, shown: list[int]) -> None:
        session = self._turn(n, "prepare in SQL")
        answer = self._say(session, text, simple=simple)
        if text == "DEALLOCATE ALL" and not failed(answer):
            session.prepared = {k: v for k, v in session.prepared.items() if not k}
        self._show(session, "setting", shown)

    @rule(n=NUMBERS, text=among(words.CURSORS), simple=st.booleans())
    def cursor(self, n: int, text: str, simple: bool) -> None:
        self._say(self._turn(n, "cursor"), text, simple=simple)

    @rule(n=NUMBERS, text=among(words.TOGETHER), shown=SHOWN)
    def together(self, n: int, text: str, shown: list[int]) -> None:
        session = self._turn(n, "together")
        session.prepared.pop("", None)
        self._say(session, text)
        self._show(session, "transaction", shown)

    @rule(text=among(words.DDL), n=NUMBERS, k=VALUES)
    def define(self, text: str, n: int, k: int) -> None:
        """DDL, where nobody is inside a transaction: it would lock, and a hit does not."""
        session = self._turn(n, "define")
        if any(one.status != "I" for one in self.sessions) or self._prepared_transactions():
            return
        self._say(session, text, k=k)

    def _prepared_transactions(self) -> bool:
        with self.bench.server.connect("postgres") as admin:
            found = admin.execute(
                "SELECT count(*) FROM pg_prepared_xacts WHERE database = ANY (%s)",
                [list(self.databases)],
            ).fetchone()
        return bool(found and found[0])

    # --- statements and portals of the protocol ------------------------------------

    @rule(n=NUMBERS, name=st.sampled_from(("", "s1", "s2")), text=among(words.READS))
    def parse(self, n: int, name: str, text: str) -> None:
        session = self._turn(n, "parse")
        oids = [INT4] if "$1" in text else []
        data = parse(text, name, oids) + describe("S", name) + SYNC
        answer = self._tell(session, f"Parse {name!r} {text}", data)
        if not failed(answer):
            session.prepared[name] = text

    @rule(
        n=NUMBERS,
        name=st.sampled_from(("", "s1", "s2")),
        value=VALUES,
        binary=st.booleans(),
        described=st.booleans(),
    )
    def run(self, n: int, name: str, value: int, binary: bool, described: bool) -> None:
        session = self._turn(n, "run")
        values = [str(value).encode()] if "$1" in session.prepared.get(name, "") else []
        data = bind(values, statement=name, results=[1] if binary else [])
        data += (describe() if described else b"") + execute() + SYNC
        self.bench.figures.reads += 1
        self._tell(session, f"Bind {name!r} {values} binary={binary}", data)

    @rule(n=NUMBERS, name=st.sampled_from(("", "s1", "s2")))
    def close_statement(self, n: int, name: str) -> None:
        session = self._turn(n, "close")
        self._tell(session, f"Close statement {name!r}", close("S", name) + SYNC)
        session.prepared.pop(name, None)

    @rule(
        n=NUMBERS,
        text=among(words.READS),
        portal=st.sampled_from(("", "p")),
        limits=st.lists(st.integers(0, 3), min_size=1, max_size=3),
        flush=st.booleans(),
    )
    def portal(self, n: int, text: str, portal: str, limits: list[int], flush: bool) -> None:
        """Row limits, in one batch or with a Flush behind the first of them."""
        session = self._turn(n, "portal")
        values, oids = ([b"1"], [INT4]) if "$1" in text else ([], [])
        data = close("P", portal) + parse(text, oids=oids) + bind(values, portal=portal)
        data += describe("P", portal)
        session.prepared[""] = text
        runs = [execute(portal, limit) for limit in limits]
        what = f"portal {portal!r} {limits} {text}"
        if flush:
            data += runs.pop(0) + FLUSH
            self._tell(session, what + ", flushed", data, ends=FLUSHED)
            self._tell(session, "... and Sync", b"".join(runs) + SYNC)
        else:
            self._tell(session, what, data + b"".join(runs) + SYNC)

    @rule(n=NUMBERS, portal=among(("", "p")), limit=st.integers(0, 3), ends=st.booleans())
    def go_on(self, n: int, portal: str, limit: int, ends: bool) -> None:
        session = self._turn(n, "portal")
        if session.status == "E":
            # Where the statement is gone too, PostgreSQL itself crashes (seen with 18.0).
            return
        self._tell(session, f"Execute {portal!r} {limit}", execute(portal, limit) + SYNC)
        if ends:
            self._tell(session, f"Close portal {portal!r}", close("P", portal) + SYNC)

    @rule(
        n=NUMBERS,
        texts=st.lists(
            among((*words.READS, *words.WRITES, *words.BEGINS, *words.ENDS, *words.FAILURES)),
            min_size=2,
            max_size=4,
        ),
        synced=st.booleans(),
        simple=st.booleans(),
    )
    def pipeline(self, n: int, texts: list[str], synced: bool, simple: bool) -> None:
        """Several requests in one write; without Syncs between they are one transaction."""
        session = self._turn(n, "pipeline")
        said = [text.replace("{n}", str(n)).replace("$1", "1") for text in texts]
        session.prepared.pop("", None)
        if simple:
            data, answers = b"".join(map(query, said)), len(said)
        else:
            between = SYNC if synced else b""
            data = between.join(parse(one) + bind() + describe() + execute() for one in said)
            data, answers = data + SYNC, len(said) if synced else 1
        what = f"pipeline simple={simple} synced={synced}: {' | '.join(said)}"
        self._tell(session, what, data, answers=answers)
