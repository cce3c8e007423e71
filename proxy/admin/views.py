"""The views: named tables of what is going on, for the console, the API, `howdah top`.

What lives here: names, columns with their types and help. What must not: how rows are made
(`admin.counted`, `admin.present`), how they are chosen (`admin.select`), or any way in which
they reach their readers.

Seconds and bytes throughout. NULL is what does not apply or is not known. Columns are only
ever added at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from proxy.admin import counted, present
from proxy.admin.house import Cells, House, Row, Value

__all__ = ["VIEWS", "Column", "House", "Row", "Type", "Value", "View"]

Type = Literal["text", "bool", "int8", "float8"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its type is PostgreSQL's name of it, `help` one phrase."""

    name: str
    type: Type
    help: str


@dataclass(frozen=True, slots=True)
class View:
    """A view. `rows` gives one value a column, in the order to show."""

    name: str
    help: str
    columns: tuple[Column, ...]
    rows: Callable[[House], Iterable[Cells]]

    def column(self, name: str) -> int | None:
        """The place of a column by its name."""
        for at, column in enumerate(self.columns):
            if column.name == name:
                return at
        return None


_TYPES: dict[str, Type] = {"t": "text", "b": "bool", "i": "int8", "f": "float8"}


def _view(
    name: str, help: str, rows: Callable[[House], Iterable[Cells]], *columns: tuple[str, str, str]
) -> View:
    made = tuple(Column(column, _TYPES[type], words) for column, type, words in columns)
    return View(name, help, made, rows)


_ALL = (
    _view(
        "stats",
        "Statements and how long they took, by outcome.",
        counted.stats,
        ("outcome", "t", "hit, shared, stale, miss, bypass, write or other"),
        ("statements", "i", "how many"),
        ("share", "f", "their part of all statements, 0 to 1"),
        ("mean_seconds", "f", "mean time from arrival to the end of the answer"),
        ("p50_seconds", "f", "half of them took at most this"),
        ("p99_seconds", "f", "99 of 100 took at most this"),
        ("total_seconds", "f", "all of them together"),
    ),
    _view(
        "cache",
        "The stored answers.",
        counted.cache,
        ("entries", "i", "stored answers"),
        ("bytes", "i", "what they take, keys and bookkeeping included"),
        ("capacity", "i", "what they may take"),
        ("hits", "i", "statements answered from memory: hit, shared and stale"),
        ("hit_share", "f", "their part of all reads, 0 to 1"),
        ("evicted", "i", "answers that were dropped"),
        ("rejected", "i", "answers that were not stored"),
        ("oldest_seconds", "f", "age of the oldest answer that may still be given"),
        ("ghosts", "i", "remembered keys of answers that had to go for want of room"),
        ("returns", "i", "answers stored again soon after they had to go for want of room"),
    ),
    _view(
        "evictions",
        "Answers that were dropped, by cause.",
        counted.evictions,
        ("cause", "t", "what made them go"),
        ("entries", "i", "how many"),
    ),
    _view(
        "rejected",
        "Answers that were offered to the cache and not stored, by cause.",
        counted.rejected,
        ("cause", "t", "why they were not stored"),
        ("fills", "i", "how many"),
    ),
    _view(
        "queries",
        "Statements without their literals, and what became of them.",
        counted.queries,
        ("id", "t", "fingerprint: 16 hex digits, equal for all literals"),
        ("database", "t", "where it ran"),
        ("query", "t", "its text, with $1, $2, ... for literals"),
        ("outcome", "t", "of the last call that was no hit; hit if all were"),
        ("reason", "t", "why that call was not answered from memory"),
        ("calls", "i", "all of them"),
        ("hits", "i", "answered from memory"),
        ("shared", "i", "waited for another session's answer"),
        ("stale", "i", "answered with an expired answer, as a rule allows"),
        ("misses", "i", "forwarded and offered to the cache"),
        ("bypassed", "i", "reads that were forwarded for a reason"),
        ("writes", "i", "calls that could write"),
        ("errors", "i", "answered with an error by PostgreSQL"),
        ("rows", "i", "given to clients"),
        ("bytes", "i", "given to clients, where they were recorded"),
        ("hit_mean_seconds", "f", "mean time of a hit, of those that were timed"),
        ("hit_p50_seconds", "f", "half of the hits took at most this"),
        ("hit_p99_seconds", "f", "99 of 100 hits took at most this"),
        ("miss_mean_seconds", "f", "mean time of what reached PostgreSQL"),
        ("miss_p50_seconds", "f", "half of that took at most this"),
        ("miss_p99_seconds", "f", "99 of 100 of that took at most this"),
        ("saved_seconds", "f", "what PostgreSQL would have taken for the hits"),
        ("spent_seconds", "f", "what PostgreSQL has taken"),
        ("evicted", "i", "its answers that were dropped"),
        ("entries", "i", "its answers that are stored"),
        ("last_seconds", "f", "seconds since its last call that is known of"),
        ("rule", "t", "the rule that decides about it"),
        ("relations", "t", "what it reads"),
        ("roles", "t", "some of the roles that have run it"),
        ("rejected", "i", "its answers that were not stored"),
        ("quarantined", "b", "a check found its answers wrong: not answered from memory"),
    ),
    _view(
        "tables",
        "What answers depend on, and what writes have cost.",
        counted.tables,
        ("database", "t", "its database; * for all"),
        ("name", "t", "schema.name, of a family its parent; * for all tables"),
        ("entries", "i", "stored answers that depend on it"),
        ("queries", "i", "known statements that read it"),
        ("writes", "i", "writes that evicted, or would have"),
        ("evicted", "i", "answers that they dropped"),
        ("evicted_per_write", "f", "answers that one write drops"),
        ("last_write_seconds", "f", "seconds since the last one"),
        ("last_writer", "t", "who it was, and by which statement"),
        ("fences", "i", "fences that stand over it now"),
    ),
    _view(
        "clients",
        "Client connections.",
        present.clients,
        ("id", "i", "the number that log lines carry"),
        ("database", "t", "the database it is in"),
        ("role", "t", "its effective role, or who logs in"),
        ("application_name", "t", "as PostgreSQL has reported it"),
        ("address", "t", "where it comes from"),
        ("state", "t", "active, idle, waiting for another's answer, login, console, ..."),
        ("transaction", "t", "none, open, failed, or deferred: its BEGIN was not sent yet"),
        ("connected_seconds", "f", "since it came"),
        ("statements", "i", "that it has sent"),
        ("hits", "i", "of these, answered from memory"),
        ("backend_pid", "i", "its backend in PostgreSQL"),
        ("context", "i", "sessions of one number share answers"),
        ("why_not", "t", "why nothing of it is answered from memory now"),
    ),
    _view(
        "upstreams",
        "Connections to PostgreSQL.",
        present.upstreams,
        ("kind", "t", "client: on behalf of one; own: of Howdah's own role"),
        ("client", "i", "the client's number"),
        ("database", "t", "the database it is in"),
        ("role", "t", "its role"),
        ("backend_pid", "i", "its backend"),
        ("state", "t", "as in clients"),
        ("purpose", "t", "what it is for"),
    ),
    _view(
        "fences",
        "What is not answered from memory at this moment, the oldest first.",
        present.fences,
        ("cause", "t", "write, schema, lost_backend, starting, suspended, paused"),
        ("owner", "t", "the session that writes, or why"),
        ("age_seconds", "f", "how long it stands"),
        ("database", "t", "where; * for everywhere"),
        ("tables", "t", "over which tables; * for all"),
        ("statement", "t", "what is being written, without its literals"),
    ),
    _view(
        "contract",
        "The freshness that is promised, and what it rests on.",
        present.contract,
        ("name", "t", "what"),
        ("value", "t", "its value"),
        ("meaning", "t", "what that means"),
    ),
    _view(
        "config",
        "The settings in force.",
        present.config,
        ("name", "t", "the setting"),
        ("value", "t", "as it was given; never a password"),
        ("default", "t", "without it"),
        ("source", "t", "flag, environment variable, file:line:column, or default"),
        ("reload", "t", "restart, or on change: the file is followed"),
    ),
    _view(
        "rules",
        "The rules, in the order in which they are asked.",
        present.rules,
        ("number", "i", "its place; the first that matches decides"),
        ("name", "t", "its name"),
        ("priority", "i", "higher is asked first"),
        ("conditions", "t", "what it matches, as it is written in the file"),
        ("effects", "t", "what it does"),
        ("queries", "i", "known statements that it decides about"),
    ),
    _view(
        "reasons",
        "Why statements were not answered from memory, and what to do.",
        counted.reasons,
        ("reason", "t", "the reason"),
        ("statements", "i", "how many"),
        ("outcome", "t", "what became of them"),
        ("meaning", "t", "what it means"),
        ("advice", "t", "what you can do"),
    ),
    _view(
        "databases",
        "Databases that sessions have been in.",
        present.databases,
        ("name", "t", "its name"),
        ("catalog", "t", "read, loading or unavailable"),
        ("version", "i", "how often its schema was found changed"),
        ("tables", "i", "relations in its catalog"),
        ("contexts", "i", "combinations of role, settings and search_path"),
        ("entries", "i", "stored answers"),
        ("problem", "t", "why nothing is answered from memory there"),
    ),
    _view(
        "verify",
        "Hits that were compared with PostgreSQL's answer.",
        counted.verify,
        ("result", "t", "what was found"),
        ("hits", "i", "how many"),
    ),
    _view(
        "version",
        "This Howdah.",
        present.version,
        ("version", "t", "its version"),
        ("python", "t", "of Python"),
        ("contract", "t", "the contract that holds"),
        ("uptime_seconds", "f", "since it was started"),
    ),
)

# By name, in the order of SHOW HELP.
VIEWS: dict[str, View] = {view.name: view for view in _ALL}
