"""`howdah check --diff`: what the rules of a file would change for a running Howdah.

What lives here: questions over HTTP, and the report. What must not: the comparison, see
`proxy.policy.difference`.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy import remote
from proxy.document import parse
from proxy.policy.difference import (
    Change,
    Declared,
    Seen,
    declarations,
    differences,
    treatment,
)
from proxy.policy.rulefile import load_rules
from proxy.policy.rules import EMPTY, Rules, flow
from proxy.settings import Settings

_SHOWN = 100  # characters of a text
_QUERIES = 5_000


def run(settings: Settings, address: str) -> int:
    """Print what would change for the Howdah at `address`; returns the exit code.

    Raises:
        HowdahError: it cannot be asked.
    """
    old = running_rules(remote.rows(address, "rules"))
    rows = remote.rows(address, "queries", order_by="calls DESC", limit=_QUERIES)
    print("\n".join(report(settings, address, old, rows)))
    return 0


def running_rules(rows: list[remote.Row]) -> Rules:
    """The rules of a running Howdah, from its view of them."""
    items = []
    for row in rows:
        # A declaration is not asked in any order.
        conditions = row["conditions"] or ""
        priority = "" if conditions.startswith("function:") else f"priority: {row['priority']}"
        parts = (f"name: {flow(row['name'])}", priority, conditions, row["effects"])
        items.append(f"  - {{{', '.join(part for part in parts if part)}}}\n")
    if not items:
        return EMPTY
    document = parse("rules:\n" + "".join(items), "the running rules").content
    assert isinstance(document, dict)
    return load_rules(document["rules"])


def statements(rows: list[remote.Row]) -> list[Seen]:
    """Those that rules have a say in: the others are not cached, whatever rules are there."""
    return [
        _seen(row)
        for row in rows
        if _from_memory(row) + row["misses"] or row["reason"] in ("rule_off", "hint_off")
    ]


def _from_memory(row: remote.Row) -> int:
    return int(row["hits"] + row["shared"] + row["stale"])


def _seen(row: remote.Row) -> Seen:
    roles, relations = (_listed(row[name]) for name in ("roles", "relations"))
    return Seen(
        row["id"],
        row["database"],
        row["query"],
        roles,
        relations,
        row["calls"],
        _from_memory(row),
        hinted=row["reason"] == "hint_off",
    )


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


def report(settings: Settings, address: str, old: Rules, rows: list[remote.Row]) -> Iterator[str]:
    """The lines of the report."""
    new, seen = settings.rules, statements(rows)
    changes = list(differences(old, new, seen))
    declared = list(declarations(old, new, map(_seen, rows)))
    file = settings.config_path or "no file"
    yield f"rules          {len(old)} at {address}, {len(new)} in {file}"
    ids = {(change.seen.database, change.seen.id) for change in changes}
    yield f"statements     {len(seen)} that rules have a say in; {len(ids)} would change"
    for change in changes:
        yield from _change(change)
    for each in declared:
        yield from _declared(each)
    yield from _notes(old, new, rows)


def _notes(old: Rules, new: Rules, rows: list[remote.Row]) -> Iterator[str]:
    """What is not known."""
    notes = []
    if any("pattern: " in rule.conditions_text for rules in (old, new) for rule in rules):
        notes.append(
            "Patterns were tried on texts without literals and comments: they are not kept."
        )
    if old.relations or new.relations:
        notes.append(
            "Relations were tried as SHOW QUERIES shows them, and as statements name them: not "
            "views inside\nof views, nor single partitions. EXPLAIN CACHE knows all."
        )
    if len(rows) >= _QUERIES:
        notes.append(f"Of all statements, the {_QUERIES:,} that were called most were looked at.")
    if notes:
        yield ""
        yield from notes


def _change(change: Change) -> Iterator[str]:
    yield ""
    yield _head(change.seen)
    yield f"  {_text(change.seen.text)}"
    if change.who:
        yield f"  for   {'; '.join(change.who)}"
    if change.seen.hinted:
        yield "  but   not where a hint says off, as it did the last time"
    yield f"  now   {treatment(change.before)}"
    yield f"  then  {treatment(change.after)}"


def _declared(each: Declared) -> Iterator[str]:
    yield ""
    yield f"function {each.function} {each.what}; it is called by"
    if not each.seen:
        yield "  no statement that was seen"
    for seen in each.seen:
        yield f"  {_head(seen)}"
        yield f"    {_text(seen.text)}"


def _head(seen: Seen) -> str:
    return f"{seen.id}  database {seen.database}, {seen.calls} calls, {seen.memory} from memory"


def _text(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
