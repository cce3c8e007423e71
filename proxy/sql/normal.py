"""A statement without its literals, and a number for all that are equal without them.

Fingerprint and normalised text are libpg_query's, the ones that pg_stat_statements'
users know: see its README, "Fingerprinting".
"""

from __future__ import annotations

import re
from hashlib import blake2b

from pglast.parser import ParseError, fingerprint, normalize, parse_sql_json, scan

_SHOWN = 4_000  # characters that are kept of a text
# What may be a name that the fingerprint does not tell from others.
_NUMBER = re.compile(r"\d\d")
_PARTICULAR = re.compile(r'\.|["\w]\d\d|(?i:u&)')
_RELATION = re.compile(r'"(schemaname|relname)":"((?:[^"\\]|\\.)*)"')
_COMMENTS = frozenset(("SQL_COMMENT", "C_COMMENT"))
# Literals that `normalize` leaves where they are: in options, defaults, comments on objects.
_STRINGS = frozenset(("SCONST", "USCONST", "XCONST", "BCONST"))
_NUMBERS = frozenset(("ICONST", "FCONST"))
# What settings are stored for.
_OWNERS = frozenset(("ROLE", "USER", "DATABASE", "SYSTEM_P"))


def identity(text: str) -> str | None:
    """16 hex digits that are equal for statements which differ in literals, spaces, comments.

    None where the parser does not read the text. libpg_query leaves schemas out of its
    fingerprint, and takes orders_2024 and orders_2025 for the same: not so here, where
    tenants and years often are tables of their own.
    """
    try:
        found = str(fingerprint(text))
        if _PARTICULAR.search(text):
            names = _RELATION.findall(parse_sql_json(text))
            if any(kind == "schemaname" or _NUMBER.search(name) for kind, name in names):
                told = " ".join(name for _, name in names)
                return blake2b(f"{found} {told}".encode(), digest_size=8).hexdigest()
        return found
    except (ParseError, ValueError, RecursionError):
        return None


def normal(text: str) -> str:
    """The text with `$1`, `$2`, ... for its literals, without comments; cut where it is long.

    A password, too, is a literal.
    """
    try:
        plain = str(normalize(text))
        return _tidy(plain)[:_SHOWN]
    except (ParseError, ValueError, RecursionError):
        return ""


def parameters(text: str) -> int:
    """The highest number of a parameter `$n` in a text; 0 where it cannot be read."""
    try:
        found = [text[each.start : each.end + 1] for each in scan(text) if each.name == "PARAM"]
    except (ParseError, ValueError, RecursionError):
        return 0
    return max((int(each[1:]) for each in found), default=0)


def _tidy(text: str) -> str:
    """Without comments and strings, and with one space where there were several."""
    tokens = [token for token in scan(text) if token.name not in _COMMENTS]
    names = [token.name for token in tokens]
    hidden = _STRINGS
    if "EXECUTE" in names or names[:1] == ["PREPARE"]:
        # Their values are not normalised either.
        hidden = _STRINGS | _NUMBERS
    tokens = tokens[: _setting(names)]
    parts = [
        (
            "'...'" if token.name in hidden else text[token.start : token.end + 1],
            token.start,
            token.end + 1,
        )
        for token in tokens
    ]
    made = ""
    last = None
    for part, start, end in parts:
        made += part if last in (None, start) else f" {part}"
        last = end
    return made if len(tokens) == len(names) else f"{made} '...'"


def _setting(names: list[str]) -> int:
    """How many tokens there are in front of the value that is stored for a role or a database.

    It need not be a literal: `ALTER ROLE r SET app.token = word`.
    """
    if names[:1] == ["ALTER"] and names[1:2] and names[1] in _OWNERS and "SET" in names:
        start = names.index("SET")
        for place in range(start, len(names)):
            if names[place] in ("TO", "ASCII_61"):
                return place + 1
    return len(names)
