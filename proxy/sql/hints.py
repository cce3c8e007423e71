"""What the comments in front of a statement ask of Howdah.

What lives here: the words of `/* howdah: ... */`, which are those of rules. What must not:
what is made of them. A word that is not known asks for nothing; it is kept, so that
somebody can be told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from proxy import units
from proxy.terms import Terms

# What PostgreSQL passes over in front of a statement: comments apart.
_SPACE = re.compile(r"[ \t\n\r\f\v;]*")
_LINE = re.compile(r"--([^\r\n]*)")
_BRACKET = re.compile(r"/\*|\*/")
_HINT = re.compile(r"\s*howdah:", re.IGNORECASE)
_WORD = re.compile(r"(?P<word>[^\s,;=]+)(?:\s*=\s*(?P<value>[^\s,;]+))?|=[^\s,;]*")
_MOST_UNKNOWN = 8
_LONGEST_UNKNOWN = 60


@dataclass(frozen=True, slots=True)
class Hints:
    """Attributes:
    cache: False forbids, True allows what a rule forbids; None says nothing.
    terms: what is asked for beside; None for nothing.
    unknown: words that mean nothing, as written.
    """

    cache: bool | None = None
    terms: Terms | None = None
    unknown: tuple[str, ...] = ()


NO_HINTS = Hints()


def _duration(text: str) -> float:
    if text.lower() == "none":
        return inf
    # A number alone is in seconds.
    seconds = units.duration(text + "s" if text[-1:].isdigit() else text)
    if seconds <= 0:
        raise ValueError("more than 0")
    return seconds


def _rows(text: str) -> int:
    rows = units.whole_number(text)
    if rows < 1:
        raise ValueError("at least 1")
    return rows


def _size(text: str) -> int:
    size = units.size(text)
    if size < 1:
        raise ValueError("at least 1")
    return size


_TERMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "ttl": ("ttl", _duration),
    "max_age": ("max_age", _duration),
    "stale_while_revalidate": ("stale", _duration),
    "max_rows": ("max_rows", _rows),
    "max_bytes": ("max_bytes", _size),
    "verify": ("verify", units.share),
}
WORDS = ("on", "off", *_TERMS)


def hints(text: str) -> Hints:
    """Read the comments at the start of a text; of words that are said twice the last counts."""
    cache: bool | None = None
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for comment in _comments(text):
        hint = _HINT.match(comment)
        if hint is None:
            continue
        for given in _WORD.finditer(comment, hint.end()):
            word, value = (given["word"] or "").lower(), given["value"]
            if value is None and word in ("on", "off"):
                cache = word == "on"
            elif not _term(word, value, values):
                unknown.append(given[0][:_LONGEST_UNKNOWN])
    if cache is None and not values and not unknown:
        return NO_HINTS
    terms = Terms(**values) if values else None
    return Hints(cache, terms, tuple(unknown[:_MOST_UNKNOWN]))


def _comments(text: str) -> Iterator[str]:
    """What stands in the comments in front of a statement. Those in C's manner may be nested."""
    position = 0
    while (space := _SPACE.match(text, position)) is not None:
        position = space.end()
        if (line := _LINE.match(text, position)) is not None:
            position = line.end()
            yield line[1]
        elif text.startswith("/*", position):
            end = _end(text, position)
            if not end:
                return
            yield text[position + 2 : end - 2]
            position = end
        else:
            return


def _end(text: str, start: int) -> int:
    """Where the comment that begins at `start` ends; 0 where it does not."""
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket[0] == "/*" else -1
        if not depth:
            return bracket.end()
    return 0


def _term(word: str, value: str | None, values: dict[str, Any]) -> bool:
    """Put `word=value` into `values`; False where it means nothing."""
    if value is None or word not in _TERMS:
        return False
    name, read = _TERMS[word]
    try:
        values[name] = read(value)
    except ValueError:
        return False
    return True
