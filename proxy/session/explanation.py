"""An explanation as it is told: JSON, or rows of text.

What lives here: words and their order. What must not: what they say, see `explain.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy import units

COLUMNS = ("item", "value")

_DECISIONS = {
    "hit": "hit: it would be answered from memory",
    "stale": "stale: it would be answered from memory, and fetched anew behind that",
    "miss": "miss: PostgreSQL would answer, and the answer would be stored",
    "bypass": "bypass: PostgreSQL would answer, and nothing would be stored",
    "write": "write: PostgreSQL would run it, behind a fence over all that it can change",
    "other": "other: it would be forwarded; it neither reads nor writes tables",
}
# Of what nobody knows.
_MIGHT_WRITE = "bypass: PostgreSQL would answer, behind a fence over all that it might change"
_SCOPES = {
    "database": "everything in this database",
    "cluster": "everything in every database",
}
_STATES = {
    "valid": "valid",
    "stale": "expired, still served while it is fetched anew",
    "expired": "expired",
    "evicted": "of no use any more: what it was made of has been written",
}
# A list that is longer is cut, with a word on how many more there are.
_MOST = 30


class Explanation:
    """One answer of EXPLAIN CACHE, made by `explain`."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def document(self) -> dict[str, Any]:
        """All of it as plain JSON; docs/explain.md describes the keys."""
        return self._document

    def rows(self) -> list[tuple[str, str]]:
        """(item, value) in the order of reading; an item may come several times."""
        return list(_rows(self._document))


def _rows(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    writes = told["writes"]
    might_write = told["decision"] == "bypass" and writes["scope"] in _SCOPES
    yield "decision", _MIGHT_WRITE if might_write else _DECISIONS[told["decision"]]
    if told["reason"]:
        yield "reason", f"{told['reason']}: {told['meaning']}"
        yield "advice", told["advice"]
    for item, key in (("because of", "because"), ("also in the way", "also")):
        for cause in _cut(told[key]):
            behind = f" <- {' <- '.join(reversed(cause['path']))}" if cause["path"] else ""
            why = f" ({cause['reason']})" if cause["reason"] != told["reason"] else ""
            yield item, cause["what"] + behind + why
        yield from _more(item, told[key])
    yield from _statement(told["statement"])
    for place in _cut(told["reads"]):
        yield "reads", _place(place)
    yield from _more("reads", told["reads"])
    if writes["scope"] in _SCOPES:
        yield "writes", _SCOPES[writes["scope"]]
    for place in _cut(writes["relations"]):
        yield "writes", _place(place)
    yield from _more("writes", writes["relations"])
    if told["cacheable"]:
        yield from _key(told["key"])
    yield from _rules(told["rules"])
    for entry in told["entries"]:
        yield "entry", _entry(entry)
    if told["cacheable"] and not told["entries"]:
        yield "entry", f"none is stored{_similar(told['similar'])}"
    evicted = told["evicted"]
    if evicted is not None:
        yield "last eviction", _evicted(evicted)
    for fence in told["fences"]:
        by = f", {fence['statement']}" if fence["statement"] else ""
        over = f" over {', '.join(fence['over'])}" if fence["over"] else ""
        yield "fence", f"{fence['kind']}{over}, by {fence['owner']}, up for {_age(fence)}{by}"
    contract = told["contract"]
    yield "contract", f"{contract['name']}: {contract['promise']}"
    session = told["session"]
    if session is not None:
        block = "in a transaction" if session["in_transaction"] else "in no transaction"
        state = "it may be answered from memory"
        if session["why_not"]:
            state = f"nothing is answered from memory: {session['why_not']}, {session['meaning']}"
        yield "session", f"{session['id']}, {block}; {state}"
    for note in told["notes"]:
        yield "note", note


def _cut(items: list[Any]) -> list[Any]:
    return items[:_MOST]


def _more(item: str, items: list[Any]) -> Iterator[tuple[str, str]]:
    if len(items) > _MOST:
        yield item, f"and {len(items) - _MOST} more; FORMAT json has them all"


def _place(place: dict[str, Any]) -> str:
    return " -> ".join(place["path"]) or place["relation"]


def _statement(statement: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if statement["id"] is None:
        return
    if "calls" not in statement:
        yield "statement", f"{statement['id']}: not seen in this database yet"
        return
    counts = [
        f"{statement[name]} {word.removesuffix('s') if statement[name] == 1 else word}"
        for name, word in (
            ("calls", "calls"),
            ("hits", "from memory"),
            ("misses", "missed"),
            ("bypassed", "bypassed"),
            ("writes", "writes"),
            ("errors", "failed"),
        )
        if statement[name] or name in ("calls", "hits")
    ]
    yield "statement", f"{statement['id']}: {', '.join(counts)}"


def _key(key: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "key: database", f"{key['database']} (OID {key['database_oid']})"
    role = key["role"] or "any"
    if key.get("login_role", role) != role:
        role += f" (logged in as {key['login_role']})"
    yield "key: role", role
    yield "key: search_path", ", ".join(key["search_path"]) or "unknown"
    if "settings" in key:
        yield "key: settings", f"hash {key['settings']} of all that can change an answer"
    if key["depends_on_settings"]:
        yield "key: named settings", ", ".join(key["depends_on_settings"])
    text = "the text, as it is written"
    if key["parameters"]:
        text += f", and the parameters ({key['parameters']}): values, types and formats"
    yield "key: text", text


def _rules(rules: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not rules["asked"]:
        return
    decided = [each for each in rules["considered"] if each["decides"]]
    terms = ", ".join(
        f"{word}: {text} ({'hint' if word in rules['hinted'] else 'rule'})"
        for word, text in rules["terms"].items()
    )
    for each in decided:
        yield "rule", f"{each['rule']} decides: {each['why']}"
    if terms:
        yield "terms", terms
    for each in _cut([each for each in rules["considered"] if not each["decides"]]):
        yield "other rule", f"{each['rule']}: {each['why']}"
    if not decided:
        yield "rule", "none decides: what is provably safe is cached"


def _entry(entry: dict[str, Any]) -> str:
    form = f"{entry['protocol']} protocol"
    if entry["parameters"]:
        form += f", parameters: {entry['parameters']}"
    life = entry["expires_in_seconds"]
    left = "for good"
    if life is not None:
        left = f"for {_seconds(life)} more" if life > 0 else f"up to {_seconds(-life)} ago"
    rows = "1 row" if entry["rows"] == 1 else f"{entry['rows']} rows"
    hits = "1 hit" if entry["hits"] == 1 else f"{entry['hits']} hits"
    return (
        f"{_STATES[entry['state']]}, {left}: {_age(entry)} old, {rows}, {entry['bytes']} bytes, "
        f"{hits}, {form}, role {entry['role']}"
    )


def _similar(count: int) -> str:
    """How many answers are stored that this is none of, though it looks so to people."""
    if not count:
        return ""
    answers = "1 answer is" if count == 1 else f"{count} answers are"
    return f"; {answers} for the same with other values, in another form, or of other sessions"


def _evicted(gone: dict[str, Any]) -> str:
    text = f"{_seconds(gone['seconds_ago'])} ago, cause {gone['cause']}"
    if gone["what"]:
        text += f" of {gone['what']}" if gone["cause"] == "write" else f" ({gone['what']})"
    if gone["by"]:
        text += f", by {gone['by']}"
    return text + (f": {gone['statement']}" if gone["statement"] else "")


def _age(thing: dict[str, Any]) -> str:
    return _seconds(thing["age_seconds"])


def _seconds(value: float) -> str:
    """A time that is read, not computed with: three digits are enough."""
    if value >= 100:
        return units.duration_text(float(round(value)))
    return units.duration_text(float(f"{value:.3g}"))
