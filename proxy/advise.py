"""`howdah advise`: what a running Howdah has counted, and what could be done about it.

What lives here: the questions over HTTP and the text. What must not: the judgement, see
`proxy.admin.advice`.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from proxy import remote
from proxy.admin.advice import Advice, Observed, Row, advise, to_explain
from proxy.errors import HowdahError

_WIDTH = 96
_TEXT = 70  # characters that are shown of a statement
_QUERIES = 2_000  # statements that are looked at, those with the most calls


def run(address: str, *, limit: int = 10, as_json: bool = False) -> int:
    """Print the advice for the Howdah at `address`; returns the exit code.

    Raises:
        HowdahError: it cannot be asked.
    """
    state = remote.get(address, "/api/state")
    seen = observe(address, state)
    found = advise(seen)
    if as_json:
        print(json.dumps([advice.document() for advice in found[:limit]], indent=2))
    else:
        print("\n".join(report(address, state, seen, found, limit)))
    return 0


def observe(address: str, state: Any) -> Observed:
    """Everything that the judgement needs; `state` is that of /api/state."""

    def counts(view: str, number: str) -> dict[str, int]:
        return {row["cause"]: row[number] for row in remote.rows(address, view)}

    seen = Observed(
        queries=remote.rows(address, "queries", order_by="calls DESC", limit=_QUERIES),
        tables=remote.rows(address, "tables"),
        cache=remote.rows(address, "cache")[0],
        evictions=counts("evictions", "entries"),
        rejected=counts("rejected", "fills"),
        settings={row["name"]: row["value"] for row in remote.rows(address, "config")},
        bypassed={
            row["reason"]: row["count"] for row in state["reasons"] if row["outcome"] == "bypass"
        },
        warnings=state["warnings"],
    )
    explained = {}
    for row in to_explain(seen):
        found = _explain(address, row)
        if found is not None:
            explained[row["database"], row["id"]] = found
    return replace(seen, explained=explained)


def _explain(address: str, row: Row) -> Row | None:
    """What EXPLAIN CACHE says of a statement; None where it cannot be told without values."""
    asked = {"sql": row["query"], "database": row["database"]}
    role = (row["roles"] or "").partition(", ")[0]
    try:
        told = remote.post(address, "/api/explain", {**asked, "role": role} if role else asked)
    except HowdahError:
        return None
    return told if isinstance(told, dict) else None


def report(
    address: str, state: Any, seen: Observed, found: list[Advice], limit: int
) -> Iterator[str]:
    """The lines of the report."""
    share = seen.cache.get("hit_share")
    memory = "no reads yet" if share is None else f"{share:.1%} of reads from memory"
    yield (
        f"Howdah at {address}, up {_long(state['uptime'])}: {memory}; PostgreSQL has worked "
        f"{_long(seen.spent)} for {len(seen.queries)} kinds of statements."
    )
    for warning in seen.warnings:
        yield from textwrap.wrap(f"! {warning}", _WIDTH, subsequent_indent="  ")
    if not found:
        yield ""
        yield "Nothing to advise: what could be answered from memory is, as far as was seen."
        return
    for number, advice in enumerate(found[:limit], 1):
        yield ""
        yield from _one(number, advice, seen.spent)
    if len(found) > limit:
        yield ""
        yield f"{len(found) - limit} more with --limit {len(found)}."


def _one(number: int, advice: Advice, spent: float) -> Iterator[str]:
    worth = "urgent"
    if advice.seconds != float("inf"):
        worth = f"up to {_long(advice.seconds)}"
        if spent:
            worth += f", {min(1.0, advice.seconds / spent):.0%} of PostgreSQL's work"
    yield f"{number}. {advice.title} ({worth})"
    yield from _wrapped("Seen: ", advice.why)
    yield from _wrapped("Do:   ", advice.action)
    for id, text in advice.statements:
        shown = text if len(text) <= _TEXT else f"{text[: _TEXT - 4]} ..."
        yield f"         {id}  {shown}"
    if advice.yaml:
        yield ""
        if advice.yaml.startswith("- "):
            yield "       rules:"
            yield textwrap.indent(advice.yaml, "       ")
        else:
            yield textwrap.indent(advice.yaml, "       ")


def _wrapped(label: str, text: str) -> list[str]:
    sentence = f"{text[:1].upper()}{text[1:]}."
    return textwrap.wrap(
        sentence, _WIDTH, initial_indent=f"   {label}", subsequent_indent=" " * (3 + len(label))
    )


def _long(seconds: float) -> str:
    """`3 h 12 min`, `12.3 s`, `45 ms`."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
