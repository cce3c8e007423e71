"""The command EXPLAIN CACHE as a text: what is one, what it asks, and what is wrong with it.

What lives here: the words in front of the statement. What must not: the statement itself.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy import units
from proxy.errors import HowdahError

# The words of the command behind spaces and comments; comments do not nest here.
# What is space to PostgreSQL, which knows none beyond ASCII.
_SPACE = r"(?:[ \t\n\r\f\v]|--[^\n]*(?:\n|\Z)|/\*(?:[^*]|\*(?!/))*\*/)"
# A comment behind them is the statement's own, and may hold a hint.
_COMMAND = re.compile(rf"{_SPACE}*EXPLAIN{_SPACE}+CACHE(?![\w$])[ \t\n\r\f\v]*", re.IGNORECASE)
# Options, told from a query in parentheses by the word that they begin with.
_OPTIONS = re.compile(
    rf"\({_SPACE}*(?!(?:SELECT|VALUES|WITH|TABLE)\b)(?:[\w$\"]|\))", re.IGNORECASE
)
_OPTION = re.compile(
    rf"{_SPACE}*(\w+){_SPACE}+(?:\"((?:[^\"]|\"\")+)\"|'((?:[^']|'')*)'|([\w$.-]+)){_SPACE}*([,)])"
)
_NAMES = ("database", "role", "format")


class Command(NamedTuple):
    """EXPLAIN CACHE, taken apart. `database` and `role` are empty where they are not named."""

    sql: str
    database: str = ""
    role: str = ""
    json: bool = False


def command(text: str) -> Command | None:
    """Take `EXPLAIN CACHE [(DATABASE x, ROLE y, FORMAT json)] sql` apart; None for other texts.

    Raises:
        HowdahError: 42601, the options are not right, or there is no statement.
    """
    found = _COMMAND.match(text)
    if found is None:
        return None
    options: dict[str, str] = {}
    position = found.end()
    if _OPTIONS.match(text, position):
        position, options = _options(text, position + 1)
    sql = text[position:].lstrip()
    if not sql.rstrip("; \t\r\n"):
        raise HowdahError(
            "EXPLAIN CACHE needs a statement",
            hint="Write EXPLAIN CACHE SELECT ...",
            sqlstate="42601",
        )
    form = options.get("format", "text").lower()
    if form not in ("text", "json"):
        raise HowdahError(
            f"unrecognized value for EXPLAIN CACHE option FORMAT: {form!r}",
            hint="It is TEXT or JSON.",
            sqlstate="22023",
        )
    return Command(sql, options.get("database", ""), options.get("role", ""), form == "json")


def _options(text: str, position: int) -> tuple[int, dict[str, str]]:
    """The options from behind their parenthesis on; with the position behind them."""
    found: dict[str, str] = {}
    while True:
        option = _OPTION.match(text, position)
        if option is None:
            raise HowdahError(
                f'syntax error in the options of EXPLAIN CACHE at "{text[position:][:20]}"',
                hint="Write EXPLAIN CACHE (DATABASE name, ROLE name, FORMAT json) SELECT ...",
                sqlstate="42601",
            )
        name = option[1].lower()
        if name not in _NAMES:
            raise HowdahError(
                f"unrecognized EXPLAIN CACHE option {option[1]!r}{units.suggestion(name, _NAMES)}",
                hint="There are DATABASE, ROLE and FORMAT.",
                sqlstate="42601",
            )
        quoted, literal, word = option[2], option[3], option[4]
        if quoted is not None:
            found[name] = quoted.replace('""', '"')
        elif literal is not None:
            found[name] = literal.replace("''", "'")
        else:
            found[name] = word.lower()
        position = option.end()
        if option[5] == ")":
            return position, found
