"""The HTTP API without HTTP: paths and parameters to JSON.

GET /api/state; GET /api/show, the views; GET /api/show/<view>?columns=&where=&order_by=&limit=
&offset=; GET /api/series?since=; POST /api/explain {"sql", "database", "role"}. Nothing here
changes anything. An error is {"error": one sentence}, with "hint" and "sqlstate" where there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from json import loads
from typing import Any

from proxy import __version__
from proxy.admin import counted
from proxy.admin.explain import explain
from proxy.admin.house import House
from proxy.admin.select import find, prepare
from proxy.admin.series import Series
from proxy.admin.views import VIEWS, Column
from proxy.errors import HowdahError
from proxy.reasons import Reason
from proxy.units import suggestion

Document = dict[str, Any]
Query = Mapping[str, str]

# What /api/show understands, in the order of the clause that it becomes.
_CLAUSES = {
    "columns": "({})",
    "where": "WHERE {}",
    "order_by": "ORDER BY {}",
    "limit": "LIMIT {}",
    "offset": "OFFSET {}",
}
_EXPLAINED = ("sql", "database", "role")
# Characters of a statement that is explained: nobody has logged in, and all others wait.
_SQL_LIMIT = 64 * 1024
# Fences that the front page lists, the oldest ones.
_FENCES = 100
_REASONS = {reason.value: reason for reason in Reason}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the document that goes with it."""

    status: int
    document: Document


class Api:
    """Answers over one house."""

    def __init__(self, house: House, series: Series) -> None:
        self._house = house
        self._series = series

    def get(self, path: str, query: Query) -> Answer:
        """The answer to `GET /api/<path>`."""
        return _guarded(lambda: self._get(path.strip("/"), query))

    def post(self, path: str, body: bytes) -> Answer:
        """The answer to `POST /api/<path>`."""
        return _guarded(lambda: self._post(path.strip("/"), body))

    def _get(self, path: str, query: Query) -> Answer:
        head, _, rest = path.partition("/")
        if path == "state":
            _known(query, ())
            return Answer(200, state(self._house))
        if path == "series":
            _known(query, ("since",))
            return Answer(200, self._series.document(self._house.wall(), _since(query)))
        if path == "show":
            _known(query, ())
            return Answer(200, _views())
        if head == "show":
            return _show(self._house, rest, query)
        if path == "explain":
            return _error(405, "use POST with a JSON body: sql, database, role")
        return _error(404, f"there is no /api/{path}: state, show, show/<view>, series, explain")

    def _post(self, path: str, body: bytes) -> Answer:
        if path != "explain":
            return _error(405 if path else 404, "only /api/explain takes POST")
        try:
            asked = loads(body)
        except (ValueError, RecursionError):
            return _error(400, "the body is not JSON")
        if not isinstance(asked, dict) or not isinstance(asked.get("sql"), str):
            return _error(400, 'the body is an object with the text "sql"')
        _known(asked, _EXPLAINED)
        words = {name: asked.get(name) or "" for name in _EXPLAINED}
        if not all(isinstance(word, str) for word in words.values()):
            return _error(400, "sql, database and role are texts")
        if len(words["sql"]) > _SQL_LIMIT:
            return _error(
                413,
                f"the statement has more than {_SQL_LIMIT} characters",
                hint="Ask in a session of the database: EXPLAIN CACHE and the statement.",
            )
        # Half a surrogate pair is no character, and can be in no statement.
        words = {name: word.encode("utf-8", "replace").decode() for name, word in words.items()}
        engine = self._house.engine
        found = explain(engine, words["sql"], database=words["database"], role=words["role"])
        return Answer(200, found.document())


def _error(status: int, message: str, **more: str | None) -> Answer:
    return Answer(status, {"error": message, **{k: v for k, v in more.items() if v is not None}})


def _guarded(work: Callable[[], Answer]) -> Answer:
    try:
        return work()
    except HowdahError as error:
        return _error(400, error.message, hint=error.hint, sqlstate=error.sqlstate)


def _known(query: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in query:
        if name not in names:
            there = suggestion(name, names) or f"; there are {', '.join(names) or 'none'}"
            raise HowdahError(f"unknown parameter {name!r}{there}", sqlstate="42601")


def _since(query: Query) -> float:
    try:
        since = float(query.get("since", "0"))
    except ValueError:
        since = float("nan")
    if since != since:
        raise HowdahError("since is a time in seconds since 1970", sqlstate="22023")
    return since


def _views() -> Document:
    return {
        "views": [
            {"name": view.name, "help": view.help, "columns": _columns(view.columns)}
            for view in VIEWS.values()
        ]
    }


def _columns(columns: tuple[Column, ...]) -> list[Document]:
    return [{"name": each.name, "type": each.type, "help": each.help} for each in columns]


def _show(house: House, name: str, query: Query) -> Answer:
    try:
        view = find(name)
    except HowdahError as error:
        return _error(404, error.message, hint=error.hint, sqlstate=error.sqlstate)
    _known(query, tuple(_CLAUSES))
    clause = " ".join(form.format(query[key]) for key, form in _CLAUSES.items() if query.get(key))
    selection = prepare(view, clause)
    rows = selection.rows(house)
    return Answer(200, {"view": view.name, "columns": _columns(selection.columns), "rows": rows})


def rows_of(house: House, name: str, limit: int | None = None) -> list[Document]:
    """The first rows of a view, each by the names of its columns."""
    view = VIEWS[name]
    names = [column.name for column in view.columns]
    rows = islice(view.rows(house), limit)
    return [{column: row[at] for at, column in enumerate(names)} for row in rows]


def state(house: House) -> Document:
    """All of the front page that is not a table of its own."""
    engine, settings, status = house.engine, house.settings, house.status()
    store, counts, config = engine.store, engine.statistics, house.config()
    clients = list(house.clients())
    outcomes = counted.by_outcome(engine)
    return {
        "version": __version__,
        "contract": status.contract,
        "ready": status.ready,
        "cache": status.cache,
        "problems": status.problems,
        "warnings": list(house.warnings()),
        "uptime": max(0.0, house.now() - house.started),
        "now": house.wall(),
        "max_age": settings.max_age,
        "staleness": store.oldest(house.now()),
        "outcomes": outcomes,
        "hit_share": counted.hit_share(outcomes),
        "seconds": {
            outcome: {
                "count": sum(times.counts),
                "mean": times.total / sum(times.counts) if any(times.counts) else None,
                "p50": counted.quantile(times, 0.5),
                "p99": counted.quantile(times, 0.99),
            }
            for outcome, times in counts.seconds.items()
        },
        "reasons": _reasons(counts.statements),
        "cache_bytes": store.bytes_used,
        "capacity": store.capacity,
        "entries": len(store),
        "evictions": dict(store.evictions),
        "rejected": dict(counts.fills_rejected),
        "fences": rows_of(house, "fences", _FENCES),
        "fences_up": len(engine.board.fences),
        "clients": len(clients),
        "upstreams": sum(client.upstream for client in clients),
        "bytes": dict(counts.bytes),
        "config": {
            "path": config.path,
            "problem": config.problem,
            "rules": len(engine.rules),
            "loaded_at": config.loaded,
        },
        "verify": {
            "share": engine.verification.share,
            "results": dict(counts.verify),
            "quarantined": len(engine.verification.quarantined),
        },
        "shapes": {"kept": len(engine.shapes), "dropped": engine.shapes.dropped},
    }


def _reasons(statements: Mapping[tuple[str, str], int]) -> list[Document]:
    """What was not answered from memory, the most frequent first."""
    return [
        {
            "outcome": outcome,
            "reason": reason,
            "count": number,
            "meaning": _REASONS[reason].meaning,
            "advice": _REASONS[reason].advice,
        }
        for (outcome, reason), number in sorted(statements.items(), key=lambda item: -item[1])
        if reason
    ]
