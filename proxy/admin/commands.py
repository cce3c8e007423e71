"""The commands of the console: what each is called, how it is written, and what it does.

What lives here: one table, from which SHOW HELP is made, and the functions behind it. What
must not: the protocol (`admin.console`), the views (`admin.views`), and what drivers say
on their own account (`admin.manners`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from proxy.admin import manners
from proxy.admin.explain import COLUMNS as EXPLAINED
from proxy.admin.explain import command as explain_command
from proxy.admin.explain import explain
from proxy.admin.lexer import Statement
from proxy.admin.prepared import Answer, Desk, Done, Prepared, is_name, syntax_error
from proxy.admin.select import prepare as select
from proxy.admin.views import VIEWS, Column, Row, Value, View
from proxy.errors import ConfigError, HowdahError
from proxy.session import keeping
from proxy.units import suggestion

_LOG_LIMIT = 200  # characters of a command in the log
SEE_HELP = "SHOW HELP lists the commands of the console."

_COMMAND_COLUMNS = (
    Column("command", "text", "how it is written"),
    Column("meaning", "text", "what it does"),
)
_COLUMN_COLUMNS = (
    Column("column", "text", "its name"),
    Column("type", "text", "its type"),
    Column("meaning", "text", "what it says"),
)
_REPORT = tuple(Column(name, "text", name) for name in EXPLAINED)
_DOCUMENT = (Column("explanation", "text", "a JSON document"),)


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table: `word` is what it begins with, `syntax` how it is written."""

    word: str
    syntax: str
    help: str
    prepare: Callable[[Command, Statement, Desk], Prepared]

    @property
    def usage(self) -> str:
        """A hint for who has written it otherwise."""
        return f"Write {self.syntax}."


def prepare(statement: Statement, desk: Desk) -> Prepared:
    """Understand a statement; nothing is done yet.

    Raises:
        HowdahError: it is none of the console's, or is not written as it should be.
    """
    first = statement.word(0)
    command = _BY_WORD.get(first)
    if command is not None:
        return command.prepare(command, statement, desk)
    prepared = _from_view(statement, desk) if first == "SELECT" else None
    prepared = prepared or manners.prepare(statement, desk)
    if prepared is not None:
        return prepared
    near = suggestion(first, [word.lower() for word in _BY_WORD])
    raise HowdahError(
        f'the console has no command "{statement.tokens[0].text}"{near}',
        sqlstate="42601",
        hint=SEE_HELP,
    )


# --- looking ----------------------------------------------------------------------


def _show(command: Command, statement: Statement, desk: Desk) -> Prepared:
    if len(statement.tokens) < 2 or not is_name(statement.tokens[1]):
        raise syntax_error(statement, 1, f"{command.usage} {SEE_HELP}")
    name = statement.tokens[1].value.lower()
    if name == "help":
        return _help(statement, 2)
    view = VIEWS.get(name)
    if view is not None:
        return _selected(view, statement.after(2), desk)
    setting = manners.show(statement, desk)
    if setting is not None:
        return setting
    raise HowdahError(
        f"there is nothing of the name {name!r} to show{suggestion(name, [*VIEWS, 'help'])}",
        sqlstate="42704",
        hint=SEE_HELP,
    )


def _from_view(statement: Statement, desk: Desk) -> Prepared | None:
    """SELECT columns FROM view ... is SHOW view (columns) ...; None where it has no FROM."""
    tokens = statement.tokens
    place = next((at for at, token in enumerate(tokens) if token.upper == "FROM"), None)
    if place is None:
        return None
    view = VIEWS.get(tokens[place + 1].value) if place + 1 < len(tokens) else None
    if view is None or place < 2:
        raise manners.no_sql()
    wanted = statement.text[tokens[1].start : tokens[place].start].strip()
    columns = "" if wanted == "*" else f"({wanted}) "
    return _selected(view, columns + statement.after(place + 2), desk)


def _selected(view: View, clause: str, desk: Desk) -> Prepared:
    selection = select(view, clause)

    def run(values: Sequence[Value]) -> Answer:
        rows = selection.rows(desk.house, values)
        return Answer(f"SELECT {len(rows)}", rows)

    return Prepared(run, selection.columns, selection.parameters)


def _help_command(_: Command, statement: Statement, __: Desk) -> Prepared:
    return _help(statement, 1)


def _help(statement: Statement, place: int) -> Prepared:
    """HELP, or HELP for one view, whose name is the token of that number."""
    if len(statement.tokens) <= place:
        return _table(_COMMAND_COLUMNS, list(help_rows()))
    name = statement.tokens[place].value.lower()
    view = VIEWS.get(name)
    if view is None or len(statement.tokens) > place + 1:
        raise HowdahError(
            f"there is no view {name!r}{suggestion(name, VIEWS)}",
            sqlstate="42P01",
            hint="Write SHOW HELP, or SHOW HELP and the name of a view.",
        )
    return _table(
        _COLUMN_COLUMNS, [(column.name, column.type, column.help) for column in view.columns]
    )


def help_rows() -> Iterator[Row]:
    """What SHOW HELP says: every command, and SHOW for every view."""
    for command in COMMANDS:
        yield command.syntax, command.help
        if command.word == "SHOW":
            for view in VIEWS.values():
                yield f"SHOW {view.name.upper()}", view.help


def _table(columns: tuple[Column, ...], rows: Sequence[Row]) -> Prepared:
    return Prepared(lambda _: Answer(f"SELECT {len(rows)}", rows), columns)


def _explain(command: Command, statement: Statement, desk: Desk) -> Prepared:
    asked = explain_command(statement.text) if statement.word(1) == "CACHE" else None
    if asked is None:
        raise HowdahError(
            "the console explains what the cache does, not how PostgreSQL executes a statement",
            sqlstate="0A000",
            hint=command.usage,
        )

    def run(_: Sequence[Value]) -> Answer:
        engine = desk.house.engine
        found = explain(engine, asked.sql, database=asked.database, role=asked.role)
        if asked.json:
            text = json.dumps(found.document(), ensure_ascii=False, indent=2, default=str)
            return Answer("EXPLAIN", [(text,)])
        return Answer("EXPLAIN", found.rows())

    return Prepared(run, _DOCUMENT if asked.json else _REPORT)


# --- doing ------------------------------------------------------------------------


def _does(desk: Desk, statement: Statement, act: Callable[[], Answer]) -> Prepared:
    """A statement that changes something, which the log tells."""

    def run(_: Sequence[Value]) -> Answer:
        answer = act()
        _log(desk, statement)
        return answer

    return Prepared(run)


def _log(desk: Desk, statement: Statement) -> None:
    text = " ".join(statement.text.split())[:_LOG_LIMIT]
    desk.keeper.note(f"{desk.owner}, role {desk.user!r}: {text}")


def _alone(command: Command, statement: Statement, words: int = 1) -> None:
    if len(statement.tokens) > words:
        raise syntax_error(statement, words, command.usage)


def _flush(command: Command, statement: Statement, desk: Desk) -> Prepared:
    engine, owner, text = desk.house.engine, desk.owner, statement.text
    what = statement.word(1)
    if what in ("", "ALL") and len(statement.tokens) <= 2 - (what == ""):
        return _flushes(desk, statement, lambda: keeping.flush_everything(engine, owner, text))
    if what == "DATABASE":
        name, place = _name(command, statement, 2)
        _alone(command, statement, place)
        return _flushes(desk, statement, lambda: keeping.flush_database(engine, name, owner, text))
    if what != "TABLE":
        raise syntax_error(statement, 1, command.usage)
    names, place = _tables(command, statement, 2)
    database: str | None = None
    if statement.word(place) == "IN" and statement.word(place + 1) == "DATABASE":
        database, place = _name(command, statement, place + 2)
    _alone(command, statement, place)
    return _flushes(
        desk,
        statement,
        lambda: keeping.flush_tables(engine, names, database, owner, text),
    )


def _flushes(desk: Desk, statement: Statement, act: Callable[[], int]) -> Prepared:
    return _does(desk, statement, lambda: Answer(f"FLUSH {act()}"))


def _name(command: Command, statement: Statement, place: int) -> tuple[str, int]:
    """An identifier, and the number of the token behind it."""
    if place >= len(statement.tokens) or not is_name(statement.tokens[place]):
        raise syntax_error(statement, place, command.usage)
    return statement.tokens[place].value, place + 1


def _tables(
    command: Command, statement: Statement, place: int
) -> tuple[list[tuple[str | None, str]], int]:
    """Names of tables with commas between them, and the number of the token behind them."""
    tokens = statement.tokens
    found: list[tuple[str | None, str]] = []
    while True:
        name, place = _name(command, statement, place)
        schema: str | None = None
        if place < len(tokens) and tokens[place].text == ".":
            schema = name
            name, place = _name(command, statement, place + 1)
        found.append((schema, name))
        if place >= len(tokens) or tokens[place].text != ",":
            return found, place
        place += 1


def _pause(command: Command, statement: Statement, desk: Desk) -> Prepared:
    _alone(command, statement)

    def act() -> Answer:
        if keeping.pause(desk.house.engine, desk.owner):
            return Answer("PAUSE")
        return Answer("PAUSE", notices=("caching is paused already",))

    return _does(desk, statement, act)


def _resume(command: Command, statement: Statement, desk: Desk) -> Prepared:
    _alone(command, statement)

    def act() -> Answer:
        if keeping.resume(desk.house.engine):
            return Answer("RESUME")
        return Answer("RESUME", notices=("caching is not paused",))

    return _does(desk, statement, act)


def _reset(command: Command, statement: Statement, desk: Desk) -> Prepared:
    engine = desk.house.engine
    what, which = statement.word(1), statement.word(2)
    if what == "STATS" and which == "QUERIES":
        _alone(command, statement, 3)
        return _does(desk, statement, lambda: _done("RESET", engine.shapes.reset))
    if what == "STATS":
        _alone(command, statement, 2)
        return _does(
            desk, statement, lambda: _done("RESET", lambda: keeping.reset_statistics(engine))
        )
    if what == "QUARANTINE":
        _alone(command, statement, 2)
        return _does(
            desk, statement, lambda: Answer(f"RESET {engine.verification.reset_quarantine()}")
        )
    setting = manners.reset(statement, desk)
    if setting is None:
        raise syntax_error(statement, 1, command.usage)
    return setting


def _done(tag: str, act: Callable[[], object]) -> Answer:
    act()
    return Answer(tag)


def _reload(command: Command, statement: Statement, desk: Desk) -> Prepared:
    _alone(command, statement)

    def start(done: Done) -> None:
        def read(remarks: Sequence[str], problem: str | None) -> None:
            if problem is None:
                done(Answer("RELOAD", notices=tuple(remarks)))
            else:
                hint = "The old configuration stays in force; correct the file and RELOAD again."
                done(ConfigError(problem, hint=hint))

        _log(desk, statement)
        desk.keeper.reload_now(read)

    return Prepared(lambda _: start)


def _shutdown(command: Command, statement: Statement, desk: Desk) -> Prepared:
    _alone(command, statement)
    return _does(desk, statement, lambda: _done("SHUTDOWN", desk.keeper.shut_down))


COMMANDS = (
    Command("HELP", "SHOW HELP [view]", "These lines, or the columns of a view.", _help_command),
    Command(
        "SHOW",
        "SHOW view [(columns)] [WHERE ...] [ORDER BY ...] [LIMIT n] [OFFSET n]",
        "Rows of a view, chosen as in SELECT. The views:",
        _show,
    ),
    Command(
        "EXPLAIN",
        "EXPLAIN CACHE [(DATABASE name, ROLE name, FORMAT json)] statement",
        "What would become of a statement, why, and what to do about it.",
        _explain,
    ),
    Command(
        "FLUSH",
        "FLUSH [ALL | DATABASE name | TABLE name, ... [IN DATABASE name]]",
        "Forget stored answers: all, or those that read a database or tables.",
        _flush,
    ),
    Command("PAUSE", "PAUSE", "Answer nothing from memory and store nothing until RESUME.", _pause),
    Command("RESUME", "RESUME", "End a PAUSE.", _resume),
    Command("RELOAD", "RELOAD", "Read the configuration file again.", _reload),
    Command(
        "RESET",
        "RESET STATS [QUERIES] | RESET QUARANTINE",
        "Count from zero, all or by statement; trust quarantined statements again.",
        _reset,
    ),
    Command(
        "SHUTDOWN",
        "SHUTDOWN",
        "End this Howdah once its clients have finished their transactions.",
        _shutdown,
    ),
)
_BY_WORD = {command.word: command for command in COMMANDS}
