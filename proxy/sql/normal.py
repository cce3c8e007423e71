"""A statement without its literals, and a number for all that are equal without them.

Fingerprint and normalised text are libpg_query's, the ones that pg_stat_statements'
users know: see its README, "Fingerprinting".
"""

from __future__ import annotations

from pglast.parser import ParseError, fingerprint, normalize, scan

_SHOWN = 4_000  # characters that are kept of a text
_COMMENTS = frozenset(("SQL_COMMENT", "C_COMMENT"))


def identity(text: str) -> str | None:
    """16 hex digits that are equal for statements which differ in literals, spaces, comments.

    None where the parser does not read the text.
    """
    try:
        return str(fingerprint(text))
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


def _tidy(text: str) -> str:
    """Without comments, and with one space where there were several or a line ended."""
    parts = [
        (text[token.start : token.end + 1], token.start, token.end + 1)
        for token in scan(text)
        if token.name not in _COMMENTS
    ]
    made = ""
    last = None
    for part, start, end in parts:
        made += part if last in (None, start) else f" {part}"
        last = end
    return made
