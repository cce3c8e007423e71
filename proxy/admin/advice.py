"""What an operator could do to have more answered from memory, the most valuable first.

What lives here: the judgement over what a running Howdah has counted. What must not: asking it
(`proxy.advise` does). Rows are those of the views, by the names of their columns.

What a piece of advice is worth is told in seconds that PostgreSQL has worked: an upper limit of
what following it would have saved in the time that was counted, since nobody knows how many
of the answers would have been asked for again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from json import dumps
from typing import Any

from proxy import units
from proxy.reasons import Reason

Row = dict[str, Any]
# A statement: database and id.
Which = tuple[str, str]

# What somebody can mend, in the statement, the session, the schema or the rules.
MENDABLE = frozenset(
    (
        Reason.CATALOG_UNAVAILABLE,
        Reason.POOLED,
        Reason.SESSION_TEMPORARY,
        Reason.ENCODING,
        Reason.ISOLATION,
        Reason.TRANSACTION_WRITES,
        Reason.TRANSACTION_LOCKS,
        Reason.TRANSACTION_OPAQUE,
        Reason.FUNCTIONS_STALE,
        Reason.PREPARED_STALE,
        Reason.STATEMENT_TOO_LONG,
        Reason.MULTIPLE_STATEMENTS,
        Reason.LOCKING_CLAUSE,
        Reason.VOLATILE_FUNCTION,
        Reason.STABLE_FUNCTION,
        Reason.CLOCK,
        Reason.CLOCK_LITERAL,
        Reason.CLOCK_CAST,
        Reason.SESSION_FUNCTION,
        Reason.AMBIGUOUS_NAME,
        Reason.UNKNOWN_FUNCTION,
        Reason.UNKNOWN_TYPE,
        Reason.SYSTEM_COLUMN,
        Reason.UNLOGGED,
        Reason.TEMPORARY,
        Reason.CURSOR,
        Reason.PREPARED_SQL,
        Reason.FUNCTION_CALL,
    )
)
# Of these EXPLAIN CACHE names what in the statement it is.
EXPLAINED = MENDABLE | {Reason.WRITE_OPAQUE}

_REASONS = {reason.value: reason for reason in Reason}

# Below these, numbers tell nothing.
FEW_CALLS = 20
FEW_EVICTIONS = 50
FEW_MISSES = 100
# Share of all the time of PostgreSQL below which a piece of advice is not worth reading.
TRIFLE = 0.002
_SHOWN = 3  # statements that are named with a piece of advice
_LISTED = 20  # statements in one rule
_PLAIN = re.compile(r"[A-Za-z_][\w.-]*(?: [\w.-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was counted; missing views are as good as empty ones.

    Attributes:
        cache: the one row of that view.
        evictions, rejected: cause to entries.
        settings: name to value, as in the view `config`.
        bypassed: reason to reads that were forwarded for it.
        warnings: as of /api/state.
        explained: statement to the document of EXPLAIN CACHE, of some.
    """

    queries: list[Row] = field(default_factory=list)
    tables: list[Row] = field(default_factory=list)
    cache: Row = field(default_factory=dict)
    evictions: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, str | None] = field(default_factory=dict)
    bypassed: Mapping[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    explained: Mapping[Which, Row] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        """Seconds that PostgreSQL has worked for all statements."""
        return sum(row["spent_seconds"] or 0.0 for row in self.queries)


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do.

    Attributes:
        title: one line. why: what was seen, with numbers. action: what to do.
        yaml: a rule or setting to paste into the file; a rule stands under `rules:`.
        seconds: upper limit of what it would have saved; infinite for what is urgent.
        statements: some that it is about: id and text.
    """

    title: str
    why: str
    action: str
    yaml: str = ""
    seconds: float = 0.0
    statements: tuple[tuple[str, str], ...] = ()

    def document(self) -> dict[str, Any]:
        """As plain JSON; what is urgent has no seconds."""
        return {
            "title": self.title,
            "why": self.why,
            "action": self.action,
            "yaml": self.yaml,
            "seconds": None if self.seconds == float("inf") else self.seconds,
            "urgent": self.seconds == float("inf"),
            "statements": [{"id": id, "query": text} for id, text in self.statements],
        }


def advise(seen: Observed) -> list[Advice]:
    """All that there is to say, the most valuable first."""
    made = [
        *_urgent(seen),
        *_mendable(seen),
        *_opaque_writes(seen),
        *_doubted(seen),
        *_written_tables(seen),
        *_too_small(seen),
        *_expired(seen),
        *_too_large(seen),
        *_without_repeat(seen),
    ]
    least = seen.spent * TRIFLE
    return sorted((a for a in made if a.seconds >= least), key=lambda a: -a.seconds)


def to_explain(seen: Observed, most: int = 20) -> list[Row]:
    """The rows of `queries` of which EXPLAIN CACHE would tell what is to be mended."""
    wanted = [row for row in seen.queries if row["reason"] in EXPLAINED and _is_text(row)]
    return sorted(wanted, key=lambda row: -_cost(row))[:most]


# What cannot wait


def _urgent(seen: Observed) -> Iterator[Advice]:
    wrong = [row for row in seen.queries if row.get("quarantined")]
    if wrong:
        yield Advice(
            "Answers were found to be wrong",
            f"a check against PostgreSQL found wrong answers of {_statements(len(wrong))}; they "
            "are forwarded since then",
            "look at the log for `mismatch`, and tell the developers",
            seconds=float("inf"),
            statements=_some(wrong),
        )
    if seen.settings.get("max_age") == "none" and seen.warnings:
        yield Advice(
            "Others write past Howdah, and max_age is none",
            "; ".join(seen.warnings),
            "have them connect through Howdah, or set the longest time that an answer may be "
            "behind their writes",
            "max_age: 60s",
            seconds=float("inf"),
        )


# Statements that are not cached


def _mendable(seen: Observed) -> Iterator[Advice]:
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in seen.queries:
        if row["reason"] in MENDABLE and row["bypassed"] >= FEW_CALLS:
            groups.setdefault((row["reason"], _culprit(seen, row)), []).append(row)
    for (value, culprit), rows in groups.items():
        reason = _REASONS[value]
        calls = sum(row["bypassed"] for row in rows)
        seconds = sum(_bypass_cost(row) for row in rows)
        what = f" ({culprit})" if culprit else ""
        yield Advice(
            f"{_statements(len(rows))} not cached: {reason.value}{what}",
            f"{reason.meaning}; {calls} calls in {_where(rows)}, {_time(seconds)} of PostgreSQL",
            _mend(reason, culprit),
            _declaration(reason, culprit, writes=False),
            seconds,
            _some(rows),
        )


def _opaque_writes(seen: Observed) -> Iterator[Advice]:
    """Statements that nobody can see through: they evict everything, and may change settings.

    Most of those that are a SELECT only read, and would be cached.
    """
    rows = [row for row in seen.queries if row["reason"] == Reason.WRITE_OPAQUE]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_culprit(seen, row), []).append(row)
    evicted = sum(row["evicted"] for row in seen.tables if row["name"] == "*")
    unknown = seen.bypassed.get(Reason.SESSION_UNKNOWN, 0)
    harm = evicted + unknown if evicted + unknown >= FEW_EVICTIONS else 0
    calls = sum(row["writes"] for row in rows)
    for culprit, group in groups.items():
        reads = [row for row in group if _is_select(row) and row["writes"] >= FEW_CALLS]
        mine = sum(row["writes"] for row in group)
        harmed = harm * mine / max(1, calls)
        if not reads and not harmed:
            continue
        seconds = min(
            harmed * _mean_miss(seen.queries) + sum(map(_cost, reads)),
            seen.spent,
        )
        what = f" ({culprit})" if culprit else ""
        yield Advice(
            f"{_statements(len(group))} that Howdah cannot see through{what}",
            f"{mine} calls, each of which counts as a write of everything; writes of everything "
            f"have dropped {evicted} answers, and {unknown} reads were forwarded since the "
            "settings of their session might have changed",
            _mend(Reason.WRITE_OPAQUE, culprit),
            _declaration(Reason.WRITE_OPAQUE, culprit, writes=len(reads) < len(group)),
            seconds,
            _some(group),
        )


def _doubted(seen: Observed) -> Iterator[Advice]:
    """Prepared reads that something nobody can see through may have replaced."""
    reason = Reason.PREPARED_OPAQUE
    doubted = (row for row in seen.queries if row["reason"] == reason)
    rows = [row for row in doubted if row["writes"] >= FEW_CALLS and _is_select(row)]
    if rows:
        calls = sum(row["writes"] for row in rows)
        seconds = sum(_cost(row) * row["writes"] / max(1, _forwarded(row)) for row in rows)
        yield Advice(
            f"{_statements(len(rows))} not cached, behind others that Howdah cannot see through",
            f"{reason.meaning}; {calls} calls in {_where(rows)}, {_time(seconds)} of PostgreSQL",
            reason.advice,
            "",
            seconds,
            _some(rows),
        )


def _mend(reason: Reason, culprit: str) -> str:
    declare = reason in (Reason.UNKNOWN_FUNCTION, Reason.WRITE_OPAQUE)
    if declare and _function(culprit):
        return f"{reason.advice}; in the rule below, name the tables that {_function(culprit)} uses"
    return reason.advice


def _declaration(reason: Reason, culprit: str, *, writes: bool) -> str:
    """A rule that declares the function, with lists of tables to be filled in."""
    name = _function(culprit)
    if not name or reason not in (Reason.UNKNOWN_FUNCTION, Reason.WRITE_OPAQUE):
        return ""
    lines = [f"- function: {_yaml(name)}", "  reads: [public.some_table]"]
    if writes:
        lines.append("  writes: [public.some_table]")
    return "\n".join(lines)


def _function(culprit: str) -> str:
    """`schema.name` of the function at fault, which EXPLAIN CACHE calls `function schema.name`."""
    for part in culprit.split(" in "):
        kind, _, name = part.partition(" ")
        name = name.partition("(")[0]
        built_in = name.startswith(("pg_catalog.", "information_schema."))
        if kind in ("function", "procedure") and name.count(".") == 1 and not built_in:
            return name
    return ""


def _culprit(seen: Observed, row: Row) -> str:
    explained = seen.explained.get((row["database"], row["id"])) or {}
    causes = explained.get("because") or []
    # As it stands by now it may be judged otherwise than when it was counted.
    if not causes or explained.get("reason", row["reason"]) != row["reason"]:
        return ""
    what, path = str(causes[0]["what"]), causes[0].get("path") or []
    return f"{what} in {path[-1]}" if path else what


# Answers that do not last


def _written_tables(seen: Observed) -> Iterator[Advice]:
    for table in seen.tables:
        name, evicted = table["name"], table["evicted"]
        if name == "*" or evicted < FEW_EVICTIONS:
            continue
        readers = [row for row in seen.queries if _reads(row, table)]
        hits = sum(_hits(row) for row in readers)
        misses = sum(row["misses"] for row in readers)
        seconds = min(
            evicted * _mean_miss(readers),
            sum(row["spent_seconds"] or 0.0 for row in readers),
        )
        writer = f"; the last one: {table['last_writer']}" if table.get("last_writer") else ""
        why = (
            f"{table['writes']} writes have dropped {evicted} answers, "
            f"{table['evicted_per_write'] or 0:.1f} each; statements that read the table had "
            f"{hits} hits and {misses} misses{writer}"
        )
        if hits < misses / 10:
            yield Advice(
                f"{name} is written too often to be cached",
                why,
                "take what reads it out of the cache: hardly an answer is asked for again before "
                "the next write",
                _rule_off(table),
                seconds,
                _some(readers),
            )
        else:
            yield Advice(
                f"Writes of {name} cost hits",
                why,
                "write it less often or several rows at once; or move the columns that change all "
                "the time (counters, last seen) to a table of their own, which reads of the rest "
                "then do not depend on",
                "",
                seconds,
                _some(readers),
            )


def _too_small(seen: Observed) -> Iterator[Advice]:
    dropped, returns = seen.evictions.get("capacity", 0), seen.cache.get("returns") or 0
    capacity = seen.cache.get("capacity") or 0
    if dropped < FEW_EVICTIONS or returns < FEW_EVICTIONS:
        return
    factor = 4 if returns > dropped / 2 else 2
    yield Advice(
        "The cache is too small",
        f"{dropped} answers had to go for want of room, and {returns} were soon asked for again; "
        f"{_size(seen.cache['bytes'])} of {_size(capacity)} are in use",
        "give it more memory, if there is some; it takes effect with a restart",
        f"cache_size: {_size(capacity * factor)}",
        returns * _mean_miss(seen.queries),
    )


def _expired(seen: Observed) -> Iterator[Advice]:
    expired = seen.evictions.get("expired", 0)
    if expired < FEW_EVICTIONS:
        return
    rows = [row for row in seen.queries if row["reason"] == Reason.EXPIRED and _is_text(row)]
    rows.sort(key=lambda row: -(row["spent_seconds"] or 0.0))
    seconds = min(expired * _mean_miss(rows or seen.queries), seen.spent)
    max_age = seen.settings.get("max_age") or "60s"
    ids = [row["id"] for row in rows[:_LISTED]]
    rule = _rule("refresh behind the answer", ids, "stale_while_revalidate: 30s") if ids else ""
    why = f"{expired} answers were asked for again when they had just become too old"
    if max_age == "none":
        yield Advice(
            "Rules with a ttl cost hits",
            why,
            "give these rules a longer ttl, or have old answers refreshed behind the client's back",
            rule,
            seconds,
            _some(rows),
        )
    elif seen.warnings:
        yield Advice(
            "max_age costs hits, and others write past Howdah",
            f"{why} (max_age: {max_age}); {'; '.join(seen.warnings)}",
            "have the others connect through Howdah; then max_age can be longer or none. Or, where "
            "an answer may be a little older, have it refreshed behind the client's back",
            rule,
            seconds,
            _some(rows),
        )
    else:
        yield Advice(
            "max_age costs hits",
            f"{why} (max_age: {max_age}); nobody is seen who writes past Howdah",
            "if you know that all writes pass through this Howdah, set max_age to none; else a "
            "longer one is the bound for what others write",
            "max_age: none",
            seconds,
            _some(rows),
        )


def _too_large(seen: Observed) -> Iterator[Advice]:
    rejected = seen.rejected.get("too_large", 0)
    rows = [row for row in seen.queries if row.get("rejected") and row["misses"]]
    limit = seen.settings.get("entry_limit")
    if rejected < FEW_CALLS or not rows or not limit:
        return
    rows.sort(key=lambda row: -_rejected_cost(row))
    try:
        size = units.size(limit)
    except ValueError:
        return
    yield Advice(
        "Answers are too large to be stored",
        f"{rejected} answers were larger than entry_limit ({limit}), or than a rule allows",
        "if there is room for them, let larger ones in; or ask for fewer rows or columns. It takes "
        "effect with a restart",
        f"entry_limit: {_size(size * 4)}",
        sum(_rejected_cost(row) for row in rows),
        _some(rows),
    )


def _without_repeat(seen: Observed) -> Iterator[Advice]:
    """Statements that fill the cache and are never asked again: worth saying when room is short."""
    short = seen.evictions.get("capacity", 0) >= FEW_EVICTIONS
    rows = [
        row
        for row in seen.queries
        if _is_text(row)
        and row["misses"] >= FEW_MISSES
        and _hits(row) < row["misses"] / 100
        and row["reason"] == Reason.NOT_CACHED
    ]
    if not short or not rows:
        return
    rows.sort(key=lambda row: -row["misses"])
    misses, evicted = sum(row["misses"] for row in rows), sum(row["evicted"] for row in rows)
    more = f" (the first {_LISTED} are in the rule)" if len(rows) > _LISTED else ""
    share = evicted / max(1, sum(seen.evictions.values()))
    returns = (seen.cache.get("returns") or 0) * _mean_miss(seen.queries)
    yield Advice(
        f"{_statements(len(rows))} hardly ever asked again with the same values",
        f"{misses} answers were stored and {sum(map(_hits, rows))} of them given again, while "
        f"others had to go for want of room{more}",
        "keep them out, so that the room is left to others",
        _rule("no repeats", [row["id"] for row in rows[:_LISTED]], "cache: off"),
        max(returns * min(1.0, share), seen.spent * TRIFLE),
        _some(rows),
    )


# Rules


def _rule(name: str, ids: list[str], effect: str) -> str:
    listed = ", ".join(ids)
    return f"- name: {name}\n  fingerprint: [{listed}]\n  {effect}"


def _rule_off(table: Row) -> str:
    name = table["name"]
    return (
        f"- name: {_yaml(f'{name} changes too often')}\n  database: {_yaml(table['database'])}\n"
        f"  relations: [{_yaml(name)}]\n  cache: off"
    )


def _yaml(text: str) -> str:
    """A text as a value in YAML; what JSON writes is YAML, too."""
    return text if _PLAIN.fullmatch(text) else dumps(text, ensure_ascii=False)


# Numbers


def _is_text(row: Row) -> bool:
    """Not what stands for all texts that were not read."""
    return not str(row["id"]).startswith("(")


def _is_select(row: Row) -> bool:
    return str(row["query"]).lower().startswith(("select ", "with ", "values ", "table "))


def _hits(row: Row) -> int:
    return int(row["hits"] + row["shared"] + row["stale"])


def _forwarded(row: Row) -> int:
    return int(row["misses"] + row["bypassed"] + row["writes"])


def _cost(row: Row) -> float:
    return float(row["spent_seconds"] or 0.0)


def _bypass_cost(row: Row) -> float:
    """What its bypassed calls have taken, of all that reached PostgreSQL."""
    forwarded = _forwarded(row)
    return _cost(row) * row["bypassed"] / forwarded if forwarded else 0.0


def _rejected_cost(row: Row) -> float:
    forwarded = _forwarded(row)
    return _cost(row) * min(1.0, row["rejected"] / forwarded) if forwarded else 0.0


def _mean_miss(rows: Iterable[Row]) -> float:
    """Seconds that PostgreSQL takes for an answer that is stored, over all of `rows`."""
    reads = [row for row in rows if row["misses"]]
    misses = sum(row["misses"] for row in reads)
    taken = sum((row["miss_mean_seconds"] or 0.0) * row["misses"] for row in reads)
    return taken / misses if misses else 0.0


def _reads(row: Row, table: Row) -> bool:
    names = (row["relations"] or "").split(", ")
    return row["database"] == table["database"] and table["name"] in names


def _some(rows: list[Row]) -> tuple[tuple[str, str], ...]:
    top = sorted(rows, key=lambda row: -_cost(row))[:_SHOWN]
    return tuple((row["id"], row["query"]) for row in top)


def _statements(number: int) -> str:
    return "1 statement" if number == 1 else f"{number} statements"


def _where(rows: list[Row]) -> str:
    names = sorted({row["database"] for row in rows})
    return "database " + names[0] if len(names) == 1 else f"{len(names)} databases"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _size(size: int) -> str:
    """A size as it is written in the file."""
    for name, unit in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if size >= unit:
            return f"{size // unit}{name}"
    return f"{size}B"
