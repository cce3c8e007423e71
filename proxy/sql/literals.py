"""Words inside literals that change what a statement means.

What lives here: the clock words of invariant K5, and the words that hint at schema
changes in code carried as text. What must not: SQL parsing, and hints (`sql.hints`).
Followed: PostgreSQL's datetime input (special values now, today, tomorrow,
yesterday are words of ASCII letters in any case, surrounded by anything else).
"""

from __future__ import annotations

import re

_CLOCK = r"(?<![a-z])(?:now|today|tomorrow|yesterday)(?![a-z])"
# ASCII keeps the look-arounds to what PostgreSQL takes for letters.
_CLOCK_TEXT = re.compile(_CLOCK, re.IGNORECASE | re.ASCII)
_CLOCK_BYTES = re.compile(_CLOCK.encode(), re.IGNORECASE)

_QUOTING = str.maketrans("", "", '\\"')

_SCHEMA_WORDS = re.compile(
    r"\b(?:execute|create|alter|drop|grant|revoke|reassign|load|prepare|deallocate|discard"
    r"|import\s+foreign|security\s+label|query_to_xml\w*|dblink\w*)\b",
    re.IGNORECASE,
)


def says_clock(text: str) -> bool:
    """Tell whether a date or time type could read the clock from this text (K5)."""
    if _CLOCK_TEXT.search(text) is not None:
        return True
    # Arrays, ranges and rows are read with backslashes and quotes taken out of their words.
    bare = text.translate(_QUOTING)
    return len(bare) != len(text) and _CLOCK_TEXT.search(bare) is not None


def bytes_say_clock(value: bytes | bytearray | memoryview) -> bool:
    """The same for the bytes of a parameter, in any ASCII-compatible encoding (K5)."""
    if _CLOCK_BYTES.search(value) is not None:
        return True
    bare = bytes(value).translate(None, b'\\"')
    return len(bare) != len(value) and _CLOCK_BYTES.search(bare) is not None


def may_change_schema(code: str) -> bool:
    """Tell whether PL/pgSQL could change the catalog or prepared statements.

    False is certain: without these words there is neither DDL nor dynamic SQL in it.
    Functions that it calls have bodies of their own.
    """
    return _SCHEMA_WORDS.search(code) is not None
