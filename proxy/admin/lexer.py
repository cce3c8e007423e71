"""Texts that come to the console: statements, and the words that they begin with.

What lives here: where comments, quotes and statements end, by PostgreSQL's lexical rules
("Lexical Structure"). What must not: what a word means (`admin.commands`). The clauses of
SHOW and the statement of EXPLAIN CACHE are handed on as they were written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.errors import HowdahError

_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | --[^\n]* )
  | (?P<string> (?:[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*') )
  | (?P<name> "(?:[^"]|"")*" )
  | (?P<dollar> \$(?P<tag>[^\W\d]\w*)?\$ )
  | (?P<parameter> \$\d+ )
  | (?P<open> /\* | [eE]?' | " )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<number> \d[\w.]* )
  | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r"/\*|\*/")
_LIMIT = 20_000  # tokens of one text


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a text: `kind` is word, name, string, number, parameter or other."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def upper(self) -> str:
        """A word in upper case; empty for whatever is none."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def value(self) -> str:
        """What an identifier or a string says: folded where it is not quoted."""
        if self.kind == "name":
            return self.text[1:-1].replace('""', '"')
        if self.kind == "string":
            return self.text.lstrip("eE")[1:-1].replace("''", "'")
        return self.text.lower()


def tokens(text: str) -> list[Token]:
    """Everything but white space and comments.

    Raises:
        HowdahError: 42601, a quote or comment that does not end; 54001, too many of them.
    """
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None
        kind, end = match.lastgroup or "other", match.end()
        if kind == "open":
            end = _end_of_comment(text, position)
            kind = "space"
        elif kind == "dollar" or match["dollar"]:
            close = text.find(match["dollar"], end)
            if close < 0:
                raise _unterminated("dollar-quoted string", text, position)
            kind, end = "string", close + len(match["dollar"])
        if kind != "space":
            found.append(Token(kind, text[position:end], position, end))
            if len(found) > _LIMIT:
                raise HowdahError(
                    "the text is too long for the console",
                    sqlstate="54001",
                    hint="A session of the database itself knows EXPLAIN CACHE, too.",
                )
        position = end
    return found


def _end_of_comment(text: str, start: int) -> int:
    if text[start] != "/":
        what = "quoted identifier" if text[start] == '"' else "quoted string"
        raise _unterminated(what, text, start)
    depth = 0
    for match in _COMMENT.finditer(text, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    raise _unterminated("/* comment", text, start)


def _unterminated(what: str, text: str, start: int) -> HowdahError:
    near = text[start : start + 40]
    return HowdahError(f'unterminated {what} at or near "{near}"', sqlstate="42601")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its text, and the tokens in it, which count from the text's start."""

    text: str
    tokens: tuple[Token, ...]

    def word(self, place: int) -> str:
        """The word there in upper case; empty where there is none."""
        return self.tokens[place].upper if place < len(self.tokens) else ""

    def after(self, place: int) -> str:
        """The text from the token there on; empty where there is none."""
        return self.text[self.tokens[place].start :] if place < len(self.tokens) else ""


def statements(text: str) -> list[Statement]:
    """Cut a text at its semicolons; empty statements are left out.

    Raises:
        HowdahError: 42601, a quote or comment that does not end.
    """
    found: list[Statement] = []
    part: list[Token] = []
    for token in tokens(text):
        if token.text == ";" and token.kind == "other":
            _close(text, part, found)
            part = []
        else:
            part.append(token)
    _close(text, part, found)
    return found


def _close(text: str, part: list[Token], found: list[Statement]) -> None:
    if part:
        start = part[0].start
        moved = tuple(Token(t.kind, t.text, t.start - start, t.end - start) for t in part)
        found.append(Statement(text[start : part[-1].end], moved))
