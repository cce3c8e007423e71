"""The DECLARE sections of a PL/pgSQL body, read before the parser sees them.

What lives here: a rewriting of declarations whose types the parser does not know.
It takes every user's type for a record and then forgets the type and the default
of the variable, and it refuses types in other schemas. So such a type is replaced
by one that it knows, a default of a record moves to a made-up variable after it,
and the types as written are kept. What must not: the statements of the body.
Followed: the declarations of PostgreSQL's pl_gram.y. What is not as expected
raises `ValueError` (F9).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from pglast.parser import ParseError, parse_sql_json, scan

from proxy.sql.facts import Name

# A type that the text does not tell.
UNTOLD = Name(None, "")
# Types that the parser knows by themselves; a user's type of such a name must be qualified.
_KNOWN = frozenset(
    "bool int2 int4 int8 float4 float8 numeric text varchar bpchar char name uuid json jsonb "
    "bytea interval bit varbit date time timetz timestamp timestamptz oid regclass money inet "
    "cidr xml refcursor tsvector tsquery point int4range int8range numrange daterange tsrange "
    "tstzrange".split()
)
_RESERVED = frozenset(
    "all begin by case declare else end execute for foreach from if in into loop not null or "
    "strict then to using when while".split()
)
_BEFORE_BLOCK = frozenset((";", ">>", "begin", "then", "else", "loop"))
_AFTER_TYPE = frozenset((";", ":=", "=", "default", "not", "collate", ",", ")"))
_LONGEST_NAME = 63  # bytes; PostgreSQL cuts what is longer


class Declared(NamedTuple):
    """A body that the parser understands, and what was declared in it.

    Attributes:
        source: the text to parse.
        types: the types as written, by name of variable; several blocks may use one name.
        labels: names that may stand in front of those of variables.
        records: how many variables of each name the parser may take for records.
        plain: names of those that are declared RECORD, which take the type of their value.
    """

    source: str
    types: dict[str, set[Name]]
    labels: set[str]
    records: Counter[str]
    plain: set[str]


class Token(NamedTuple):
    """One token of a text."""

    start: int
    end: int  # exclusive, in characters
    text: str  # as written, in lower case unless it is quoted
    name: str  # of the token class


@lru_cache(maxsize=1)
def tokens_of(source: str) -> tuple[Token, ...]:
    """The tokens of a text without its comments. Raises `ParseError`."""
    found = []
    for token in scan(source):
        if token.name not in ("SQL_COMMENT", "C_COMMENT"):
            text = source[token.start : token.end + 1]
            text = text if '"' in text or "'" in text else text.lower()
            found.append(Token(token.start, token.end + 1, text, token.name))
    return tuple(found)


def dotted_names(source: str) -> set[str]:
    """Names in front of a dot: a variable among them may be a record."""
    tokens = tokens_of(source)
    return {
        _identifier(token)
        for token, after in pairwise(tokens)
        if after.text == "." and (token.text.isidentifier() or token.text.startswith('"'))
    }


@lru_cache(maxsize=4096)
def type_name(text: str) -> tuple[Name, bool]:
    """The name of a type written in SQL, and whether it is an array.

    `UNTOLD` for %TYPE, %ROWTYPE, RECORD and polymorphic types. Raises `ValueError`.
    """
    if "%" in text:
        return UNTOLD, "[" in text or text.rstrip().endswith("array")
    try:
        tree: dict[str, Any] = json.loads(parse_sql_json(f"SELECT NULL::{text}"))
        (item,) = tree["stmts"]
        select = item["stmt"]["SelectStmt"]
        (target,) = select["targetList"]
        cast = target["ResTarget"]["val"]["TypeCast"]
        body = cast["typeName"]
    except (ParseError, KeyError, ValueError) as error:
        raise ValueError(f"type {text!r}") from error
    alone = "name" not in target["ResTarget"] and "A_Const" in cast["arg"]
    if not alone or set(select) - {"targetList", "limitOption", "op"}:
        raise ValueError(f"type {text!r}")
    parts = [part["String"]["sval"] for part in body["names"]]
    array = bool(body.get("arrayBounds"))
    if parts[-1] == "record" or parts[-1].startswith("any"):
        return UNTOLD, array
    return Name(parts[-2] if len(parts) > 1 else None, parts[-1]), array


def built_in(name: Name) -> bool:
    """A type without checks of a user; `UNTOLD` is none that could be named."""
    return name == UNTOLD or (name.schema in (None, "pg_catalog") and name.name in _KNOWN)


def stand_in(text: str, *, row: bool) -> str:
    """A type that the parser knows, in place of one that it may not know.

    `row` asks for a record if the type could be one.
    """
    name, array = type_name(text)
    if name != UNTOLD and built_in(name):
        return text
    if array:
        return "text[]"
    if row or text.lower().endswith("rowtype") or text.lower() in ("record", "pg_catalog.record"):
        return "record"
    return "text"


def _identifier(token: Token) -> str:
    text = token.text
    if text.startswith('"'):
        text = text[1:-1].replace('""', '"')
    elif token.name == "UIDENT":
        raise ValueError("unicode identifier")
    if len(text.encode()) > _LONGEST_NAME:
        raise ValueError("long identifier")
    return text


def rewrite(source: str, rows: set[str]) -> Declared:
    """Make the declarations of a body known to the parser.

    Args:
        source: the body.
        rows: names of variables to treat as records where their type could be one.

    Raises:
        ValueError: a declaration is not understood.
        ParseError: the text has no tokens.
    """
    return _Rewriter(source, rows).run()


class _Rewriter:
    """One pass over the tokens of a body."""

    def __init__(self, source: str, rows: set[str]) -> None:
        self._source = source
        self._rows = rows
        self._tokens = tokens_of(source)
        self._changes: list[tuple[int, int, str]] = []
        self._declared = Declared("", {}, set(), Counter(), set())
        self._typed_rows: set[str] = set()
        self._hidden = 0
        self._at = 0

    def run(self) -> Declared:
        for start in self._sections():
            self._at = start + 1
            while self._text() != "begin":
                if self._text() == "declare":
                    self._at += 1
                else:
                    self._declaration()
        self._returned_variables()
        for token, after in pairwise(self._tokens):
            if token.text == "<<" and after.text != "<<":
                self._declared.labels.add(_identifier(after))
        pieces, position = [], 0
        for start, end, text in sorted(self._changes):
            pieces += [self._source[position:start], text]
            position = end
        return self._declared._replace(
            source="".join([*pieces, self._source[position:]]),
            plain=self._declared.plain - self._typed_rows,
        )

    def _returned_variables(self) -> None:
        """The parser does not say which variable `RETURN x` gives; of `RETURN (x)` it does."""
        tokens = self._tokens
        for number in range(1, len(tokens) - 2):
            if tokens[number].text != "return" or tokens[number - 1].text not in _BEFORE_BLOCK:
                continue
            value = number + (2 if tokens[number + 1].text == "next" else 1)
            after = tokens[value + 1].text if value + 1 < len(tokens) else ""
            if after == ";" and tokens[value].text != ";":
                start, end = tokens[value].start, tokens[value].end
                self._changes += [(start, start, "("), (end, end, ")")]

    def _sections(self) -> Iterator[int]:
        tokens = self._tokens
        first = 0
        while first < len(tokens) and tokens[first].text == "#":
            if "option" in (token.text for token in tokens[first + 1 : first + 2]):
                raise ValueError("#option dump would write to our own output")
            first += 3  # `#`, a name and a value
        for number in range(first, len(tokens)):
            if tokens[number].text == "declare" and number >= self._at:
                before = tokens[number - 1].text if number > first else ";"
                if before in _BEFORE_BLOCK:
                    yield number

    def _text(self) -> str:
        if self._at >= len(self._tokens):
            raise ValueError("declaration without end")
        return self._tokens[self._at].text

    def _next(self) -> str:
        text = self._text()
        self._at += 1
        return text

    def _skip_to(self, ends: frozenset[str]) -> None:
        """Go to the first of these tokens that is in no parentheses."""
        depth = 0
        while depth or self._text() not in ends:
            text = self._next()
            depth += (text in ("(", "[")) - (text in (")", "]"))

    def _declaration(self) -> None:
        token = self._tokens[self._at]
        self._at += 1
        if token.text in _RESERVED or not (token.text[0].isalpha() or token.text[0] in '_"'):
            raise ValueError(f"declaration of {token.text!r}")
        name = _identifier(token)
        if self._text() == "constant":
            self._at += 1
        if self._text() in ("no", "scroll", "cursor"):
            while self._text() in ("no", "scroll", "cursor"):
                self._at += 1
            if self._text() == "(":
                self._cursor_arguments()
        elif self._text() == "alias":
            self._declared.types.setdefault(name, set()).add(UNTOLD)
        else:
            self._typed(name, row=name in self._rows)
        self._skip_to(frozenset(";"))
        self._at += 1

    def _cursor_arguments(self) -> None:
        while self._next() != ")":
            name = _identifier(self._tokens[self._at])
            self._at += 1
            self._typed(name, row=False)
            if self._text() not in (",", ")"):
                raise ValueError("arguments of a cursor")

    def _typed(self, name: str, *, row: bool) -> None:
        """Read a type and replace it where the parser does not know it."""
        first = self._at
        self._skip_to(_AFTER_TYPE)
        if self._at == first:
            raise ValueError(f"no type of {name!r}")
        start, end = self._tokens[first].start, self._tokens[self._at - 1].end
        written = " ".join(token.text for token in self._tokens[first : self._at])
        written = written.replace(" %", "%").replace("% ", "%").replace(" . ", ".")
        self._declared.types.setdefault(name, set()).add(type_name(written)[0])
        known = stand_in(written, row=row)
        if known != written:
            self._changes.append((start, end, known))
        if known == "record":
            self._declared.records[name] += 1
            (self._declared.plain if written == "record" else self._typed_rows).add(name)
            if self._text() != ";":
                self._hidden += 1
                self._changes.append((end, end, f'; "howdah {self._hidden}" text'))
