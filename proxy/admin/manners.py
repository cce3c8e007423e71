"""What drivers and psql say on their own account, answered so that they are content.

What lives here: transaction words, SET and SHOW of PostgreSQL's settings, DISCARD and the
like, and SELECT of constants and of what a client asks about its session. What must not:
commands of Howdah (`admin.commands`). Nothing here has an effect on anything but the session.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from proxy import __version__
from proxy.admin.lexer import Statement, Token
from proxy.admin.prepared import Answer, Desk, Prepared, is_name, plain, syntax_error
from proxy.admin.views import Column, Type, Value
from proxy.errors import HowdahError
from proxy.settings import BY_NAME
from proxy.units import suggestion

# What PostgreSQL reports or is asked for when a driver connects, unless the server has said.
DEFAULTS = {
    "application_name": "",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "client_min_messages": "notice",
    "datestyle": "ISO, MDY",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "extra_float_digits": "1",
    "integer_datetimes": "on",
    "intervalstyle": "postgres",
    "is_superuser": "off",
    "max_identifier_length": "63",
    "search_path": '"$user", public',
    "server_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "timezone": "UTC",
    "transaction_isolation": "read committed",
    "transaction_read_only": "off",
}
_UTF8 = ("utf8", "utf-8", "unicode")
_SETTINGS_LIMIT = 100  # that a session may have given values
_COLUMNS = 1664  # of a SELECT, as in PostgreSQL
# Words that SQL statements begin with.
SQL = frozenset(
    "ALTER ANALYZE CALL CHECKPOINT CLUSTER COMMENT COPY CREATE DECLARE DELETE DO DROP EXECUTE "
    "FETCH GRANT IMPORT INSERT LISTEN LOAD LOCK MERGE MOVE NOTIFY PREPARE REASSIGN REFRESH "
    "REINDEX REVOKE SECURITY SELECT TABLE TRUNCATE UPDATE VACUUM VALUES WITH".split()
)
# Statements that have nothing to do here, and the tags that PostgreSQL gives them.
_NOTHING = {"DISCARD": "DISCARD ALL", "UNLISTEN": "UNLISTEN", "CLOSE": "CLOSE CURSOR ALL"}


def no_sql() -> HowdahError:
    """That the console is no database."""
    return HowdahError(
        "the administration console answers its own commands, not SQL",
        sqlstate="0A000",
        hint="Connect to another database to run SQL; SHOW HELP lists the console's commands.",
    )


def prepare(statement: Statement, desk: Desk) -> Prepared | None:
    """Understand a statement that is no command of Howdah; None where it is none of SQL either.

    Raises:
        HowdahError: it is SQL that the console has no answer to.
    """
    first = statement.word(0)
    if first in ("BEGIN", "START"):
        tag = "BEGIN" if first == "BEGIN" else "START TRANSACTION"
        return plain(tag, control="BEGIN")
    if first in ("COMMIT", "END"):
        return plain("COMMIT", control="COMMIT")
    if first in ("ROLLBACK", "ABORT"):
        to = "TO" in (statement.word(1), statement.word(2))
        return plain("ROLLBACK", control="ROLLBACK TO" if to else "ROLLBACK")
    if first in ("SAVEPOINT", "RELEASE"):
        return plain(first, control=first)
    if first == "SET":
        return _set(statement, desk)
    if first == "SELECT":
        return _constants(statement, desk)
    if first == "DEALLOCATE":
        return _deallocate(statement)
    if first in _NOTHING:
        forgets = "" if statement.word(1) == "ALL" and first == "DISCARD" else None
        return plain(_NOTHING[first], forgets=forgets)
    if first in SQL:
        raise no_sql()
    return None


def _deallocate(statement: Statement) -> Prepared:
    place = 2 if statement.word(1) == "PREPARE" else 1
    if len(statement.tokens) != place + 1 or not is_name(statement.tokens[place]):
        raise syntax_error(statement, place, "Write DEALLOCATE name or DEALLOCATE ALL.")
    if statement.word(place) == "ALL":
        return plain("DEALLOCATE ALL", forgets="")
    return plain("DEALLOCATE", forgets=statement.tokens[place].value)


# --- settings ---------------------------------------------------------------------


def _known(desk: Desk, name: str) -> str | None:
    value = desk.parameters.get(name)
    return DEFAULTS.get(name) if value is None else value


def show(statement: Statement, desk: Desk) -> Prepared | None:
    """SHOW of a setting of PostgreSQL; None where there is none of that name."""
    name = " ".join(token.value.lower() for token in statement.tokens[1:]).replace(" . ", ".")
    name = {
        "transaction isolation level": "transaction_isolation",
        "time zone": "timezone",
        "session authorization": "session_authorization",
    }.get(name, name)
    value = _known(desk, name)
    if value is None:
        return None
    return Prepared(lambda _: Answer("SHOW", [(value,)]), (Column(name, "text", name),))


def _set(statement: Statement, desk: Desk) -> Prepared:
    place = 2 if statement.word(1) in ("SESSION", "LOCAL") else 1
    word = statement.word(place)
    if word in ("TRANSACTION", "CHARACTERISTICS", "CONSTRAINTS", "TIME", "NAMES"):
        return plain("SET")
    if word in ("ROLE", "AUTHORIZATION"):
        raise HowdahError(
            "the console knows no other role than that of the login", sqlstate="0A000"
        )
    usage = "Write SET name = value; it has no effect but on what SHOW answers."
    name, after = _setting_name(statement, place, usage)
    if statement.word(after) != "TO" and not _is(statement, after, "="):
        raise syntax_error(statement, after, usage)
    if after + 1 >= len(statement.tokens):
        raise syntax_error(statement, after + 1, usage)
    _refuse_own(name)
    parts = [
        token.value if token.kind != "word" else token.text
        for token in statement.tokens[after + 1 :]
    ]
    value = "".join(", " if part == "," else part for part in parts)
    if name == "client_encoding" and value.lower() not in _UTF8:
        raise HowdahError(
            f'the console speaks UTF8, not "{value}"',
            sqlstate="22023",
            hint="Set client_encoding to UTF8.",
        )

    def run() -> None:
        if name in desk.parameters or len(desk.parameters) < _SETTINGS_LIMIT:
            desk.parameters[name] = value

    return _acts("SET", run)


def reset(statement: Statement, desk: Desk) -> Prepared | None:
    """RESET of settings; None where it is the name of none."""
    if statement.word(1) in ("ALL", "ROLE", "SESSION") or statement.word(2) == "ZONE":
        return plain("RESET")
    if len(statement.tokens) < 2:
        return None
    name, after = _setting_name(statement, 1, "Write RESET name.")
    _refuse_own(name)
    if after < len(statement.tokens) or _known(desk, name) is None:
        return None
    return _acts("RESET", lambda: None if name not in DEFAULTS else desk.parameters.pop(name, None))


def _setting_name(statement: Statement, place: int, usage: str) -> tuple[str, int]:
    tokens = statement.tokens
    if place >= len(tokens) or not is_name(tokens[place]):
        raise syntax_error(statement, place, usage)
    name, place = tokens[place].value.lower(), place + 1
    while _is(statement, place, ".") and place + 1 < len(tokens):
        name, place = f"{name}.{tokens[place + 1].value.lower()}", place + 2
    return name, place


def _is(statement: Statement, place: int, text: str) -> bool:
    return place < len(statement.tokens) and statement.tokens[place].text == text


def _refuse_own(name: str) -> None:
    if name in BY_NAME:
        raise HowdahError(
            f"{name} is a setting of Howdah, which the console does not change",
            sqlstate="55P02",
            hint="Change it where SHOW CONFIG says that it comes from; RELOAD takes new rules "
            "over, other settings need a restart.",
        )


def _acts(tag: str, act: Callable[[], object]) -> Prepared:
    def run(_: object) -> Answer:
        act()
        return Answer(tag)

    return Prepared(run)


# --- SELECT without FROM ----------------------------------------------------------

_Known = tuple[Type, Callable[[Desk, list[str]], Value]]


def _version(desk: Desk, _: list[str]) -> Value:
    server = _known(desk, "server_version") or "unknown"
    return f"PostgreSQL {server} (console of Howdah {__version__})"


def _now(desk: Desk, _: list[str]) -> Value:
    return datetime.fromtimestamp(desk.house.wall(), UTC).isoformat(sep=" ")


def _current_setting(desk: Desk, arguments: list[str]) -> Value:
    name = arguments[0].lower() if arguments else ""
    value = _known(desk, name)
    if value is None and arguments[1:] != ["true"]:
        near = suggestion(name, DEFAULTS)
        raise HowdahError(f'unrecognized configuration parameter "{name}"{near}', sqlstate="42704")
    return value


def _role(desk: Desk, _: list[str]) -> Value:
    return desk.user


def _database(desk: Desk, _: list[str]) -> Value:
    return desk.database


_FUNCTIONS: dict[str, _Known] = {
    "version": ("text", _version),
    "current_user": ("text", _role),
    "current_role": ("text", _role),
    "session_user": ("text", _role),
    "user": ("text", _role),
    "current_database": ("text", _database),
    "current_catalog": ("text", _database),
    "current_schema": ("text", lambda *_: "public"),
    "current_setting": ("text", _current_setting),
    "set_config": ("text", lambda _, arguments: (arguments + ["", ""])[1]),
    "now": ("text", _now),
    "current_timestamp": ("text", _now),
    "pg_is_in_recovery": ("bool", lambda *_: False),
    "pg_backend_pid": ("int8", lambda *_: 0),
    "pg_advisory_unlock_all": ("text", lambda *_: ""),
}
# Those that SQL spells without parentheses, too.
_BARE = frozenset(
    "current_user current_role session_user user current_catalog current_schema "
    "current_timestamp".split()
)
_WORDS: dict[str, tuple[Type, Value]] = {
    "true": ("bool", True),
    "false": ("bool", False),
    "null": ("text", None),
}


def _constants(statement: Statement, desk: Desk) -> Prepared:
    columns: list[Column] = []
    values: list[Callable[[], Value]] = []
    items = _items(list(statement.tokens[1:]))
    if len(items) > _COLUMNS:
        raise HowdahError(f"target lists can have at most {_COLUMNS} entries", sqlstate="54011")
    for item in items:
        name, type, value = _item(item, desk)
        columns.append(Column(name, type, name))
        values.append(value)
    return Prepared(
        lambda _: Answer("SELECT 1", [tuple(value() for value in values)]), tuple(columns)
    )


def _items(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of a select list, cut at the commas that are in no parentheses."""
    found: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            found.append([])
        else:
            found[-1].append(token)
    return found


def _item(tokens: list[Token], desk: Desk) -> tuple[str, Type, Callable[[], Value]]:
    """Name, type and value of one item. Raises HowdahError where it is anything else."""
    alias: str | None = None
    if len(tokens) > 2 and tokens[-2].upper == "AS" and is_name(tokens[-1]):
        alias, tokens = tokens[-1].value, tokens[:-2]
    elif len(tokens) > 1 and is_name(tokens[-1]) and tokens[-2].text != ".":
        alias, tokens = tokens[-1].value, tokens[:-1]
    if len(tokens) > 2 and tokens[0].value == "pg_catalog" and tokens[1].text == ".":
        tokens = tokens[2:]
    if not tokens:
        raise no_sql()
    first, rest = tokens[0], [token.text for token in tokens[1:]]
    known = _FUNCTIONS.get(first.value) if is_name(first) else None
    if known is not None and (
        (rest[:1] == ["("] and rest[-1] == ")") or (not rest and first.value in _BARE)
    ):
        arguments = [token.value for token in tokens[2:-1] if token.text != ","]
        type, function = known
        return alias or first.value, type, lambda: function(desk, arguments)
    if rest:
        raise no_sql()
    name = alias or "?column?"
    if first.kind == "string":
        return name, "text", lambda: first.value
    if first.kind == "number" and first.text.isdecimal() and len(first.text) < 19:
        return name, "int8", lambda: int(first.text)
    if first.kind == "word" and first.value in _WORDS:
        type, constant = _WORDS[first.value]
        return name, type, lambda: constant
    raise no_sql()
