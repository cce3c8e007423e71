"""A statement of the console that was understood and has not run yet, and what it runs at.

What lives here: plain records, shared by commands, manners and the session of the console.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from proxy.admin.lexer import Statement, Token
from proxy.admin.views import Column, House, Row, Type, Value
from proxy.errors import HowdahError


class Keeper(Protocol):
    """What the console has the shell do. Each call returns at once."""

    def reload_now(self, done: Callable[[Sequence[str], str | None], None]) -> None:
        """Read the configuration again, then call `done` with remarks and the problem.

        Never before this call has returned.
        """

    def shut_down(self) -> None:
        """Drain and end the process, soon."""

    def note(self, text: str) -> None:
        """Log what an operator has done."""


@dataclass(slots=True)
class Desk:
    """What statements of one session of the console work with.

    Attributes:
        user: the role that has logged in.
        owner: names the session in fences, evictions and the log.
        database: the name of the console.
        parameters: what SHOW answers for PostgreSQL's settings, by lower-case name.
    """

    house: House
    keeper: Keeper
    user: str
    owner: str
    database: str
    parameters: dict[str, str] = field(default_factory=dict)


class Answer(NamedTuple):
    """What a statement gives: its tag, its rows, and remarks for the one who asked."""

    tag: str
    rows: Sequence[Row] = ()
    notices: tuple[str, ...] = ()


Done = Callable[[Answer | HowdahError], None]
# Of something that takes a while: starts it; the answer comes by the function it is handed.
Later = Callable[[Done], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement that was understood.

    Attributes:
        run: gives the answer, or what will give it, for values of the parameters.
        columns: of its rows; None where it has none.
        parameters: the types of $1, $2, ...
        control: BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE or ROLLBACK TO; empty for others.
        forgets: the prepared statement that is to be forgotten; empty for all of them.
    """

    run: Callable[[Sequence[Value]], Answer | Later]
    columns: tuple[Column, ...] | None = None
    parameters: tuple[Type, ...] = ()
    control: str = ""
    forgets: str | None = None


def plain(tag: str, *, control: str = "", forgets: str | None = None) -> Prepared:
    """A statement that only is acknowledged."""
    return Prepared(lambda _: Answer(tag), control=control, forgets=forgets)


def syntax_error(statement: Statement, place: int, hint: str) -> HowdahError:
    """That something else was expected at the token of that number."""
    if place < len(statement.tokens):
        where = f'at or near "{statement.tokens[place].text}"'
    else:
        where = "at end of input"
    return HowdahError(f"syntax error {where}", sqlstate="42601", hint=hint)


def is_name(token: Token) -> bool:
    """Whether a token is an identifier."""
    return token.kind in ("word", "name")
