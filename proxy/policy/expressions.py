r"""Regular expressions and wildcards of rules, in time that is linear in the text.

What lives here: the only user of RE2 (https://github.com/google/re2/wiki/Syntax). They are
searched while a statement is planned, in the event loop: with Python's `re`, the harmless looking
`.*secret.*` holds up everybody for 20 s where a statement has 256 kB, and `(a+)+$` for ever.
What must not: what they are searched in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_WILDCARDS = {"*": ".*", "?": "."}
# Errors of what Python's `re` has, and RE2 leaves out since its time is not linear, or only
# spells otherwise.
_MISSING = re.compile(r"invalid (?:perl operator|escape sequence)")


def search(pattern: str) -> Callable[[str], bool]:
    """What tells whether a text holds a match of `pattern`.

    Raises:
        ValueError: it is no regular expression of RE2.
    """
    found = _compiled(pattern).search
    return lambda text: found(_bytes(text)) is not None


def wildcards(patterns: Iterable[str]) -> Callable[[str], bool]:
    """What tells whether a text as a whole is like one of `patterns`.

    `*` stands for any characters, `?` for one, all others for themselves.
    """
    each = (
        "".join(_WILDCARDS.get(letter) or str(re2.escape(letter)) for letter in pattern)
        for pattern in patterns
    )
    found = _compiled(f"(?s:{'|'.join(each)})").fullmatch
    return lambda text: found(_bytes(text)) is not None


def _compiled(pattern: str) -> re2._Regexp[bytes]:
    try:
        return re2.compile(pattern.encode(), _OPTIONS)
    except re2.error as error:
        told = error.args[0].decode("utf-8", "replace")
        missing = "; RE2 has no lookaround and no backreferences" if _MISSING.match(told) else ""
        raise ValueError(f"not a regular expression of RE2: {told}{missing}") from None
    except UnicodeEncodeError:
        raise ValueError("not a regular expression of RE2: half of a character") from None


def _bytes(text: str) -> bytes:
    # Names may hold bytes that are no characters.
    return text.encode("utf-8", "replace")
