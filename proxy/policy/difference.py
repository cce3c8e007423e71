"""What other rules would change for statements that were seen.

What lives here: the comparison. What must not: where rules and statements come from
(`proxy.rulediff`). Of a statement only its text without literals is known, and nothing of the
applications that have sent it: each one that a rule names is tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.policy.rules import Rules, Subject, Verdict, effects
from proxy.sql.analyse import analyse


@dataclass(frozen=True, slots=True)
class Seen:
    """One statement that a running Howdah has counted.

    Attributes:
        id, database, text: fingerprint, and the text without literals.
        roles: some that have run it. relations: what it reads, each as `schema.name`.
        calls: all of them. memory: those that were answered from memory.
        hinted: some have said `off` in a hint, which is above rules.
    """

    id: str
    database: str
    text: str
    roles: tuple[str, ...]
    relations: tuple[str, ...]
    calls: int = 0
    memory: int = 0
    hinted: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """How one statement would be treated otherwise.

    Attributes:
        before, after: what the rules say. who: for which roles and applications; empty for all.
    """

    seen: Seen
    before: Verdict
    after: Verdict
    who: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """A function of which is said otherwise what it reads and writes; `seen` call it."""

    function: str
    what: str
    seen: tuple[Seen, ...]


def treatment(verdict: Verdict) -> str:
    """What becomes of a statement that is safe to cache."""
    if verdict.cache is False:
        text = "forwarded"
    else:
        terms = ", ".join(f"{word} {value}" for word, value in effects(verdict) if word != "cache")
        text = f"cached, {terms}" if terms else "cached"
    return f"{text} (rule {verdict.rule!r})" if verdict.rule else f"{text} (no rule)"


def differences(old: Rules, new: Rules, seen: Iterable[Seen]) -> Iterator[Change]:
    """The changes, statement by statement."""
    applications = dict.fromkeys(["", *_applications(old), *_applications(new)])
    for each in seen:
        relations = _relations(each)
        groups: dict[tuple[Verdict, Verdict], list[str]] = {}
        for role in each.roles or ("",):
            for application in applications:
                pair = tuple(
                    rules.verdict(
                        Subject(
                            each.database,
                            role,
                            relations,
                            each.text,
                            rules.audience(application),
                            each.id,
                        )
                    )
                    for rules in (old, new)
                )
                groups.setdefault((pair[0], pair[1]), []).append(_who(role, application))
        changed = {pair: who for pair, who in groups.items() if _differ(*pair)}
        for (before, after), who in changed.items():
            yield Change(each, before, after, tuple(who) if len(groups) > 1 else ())


def declarations(old: Rules, new: Rules, seen: Iterable[Seen]) -> Iterator[Declared]:
    """The functions whose declarations differ, and which of all statements call them."""
    statements = list(seen)
    for function in sorted({*old.declared, *new.declared}):
        was, becomes = old.declared.get(function), new.declared.get(function)
        if was is None:
            what = "is declared"
        elif becomes is None:
            what = "is not declared any more"
        elif (was.reads, was.writes) != (becomes.reads, becomes.writes):
            what = "is declared otherwise"
        else:
            continue
        schema, _, name = map(re.escape, function.partition("."))
        call = re.compile(rf'(?<![\w$".])(?:"?{schema}"?\s*\.\s*)?"?{name}"?\s*\(', re.IGNORECASE)
        calls = tuple(each for each in statements if call.search(each.text))
        yield Declared(function, what, calls)


def _differ(before: Verdict, after: Verdict) -> bool:
    return (before.cache is False, before.terms) != (after.cache is False, after.terms)


def _applications(rules: Rules) -> Iterator[str]:
    for condition in rules.audiences:
        if condition.application is not None:
            # A wildcard stands for itself, too.
            yield from condition.application.patterns


def _who(role: str, application: str) -> str:
    if not application:
        return f"role {role}"
    return f"role {role} with application_name {application}"


def _relations(seen: Seen) -> set[str]:
    """What it reads, and what it names: a view is named only, and in some schema."""
    relations = set(seen.relations)
    known = {relation.partition(".")[2] for relation in relations}
    schemas = {relation.partition(".")[0] for relation in relations} | {"public"}
    for facts in analyse(seen.text).statements:
        for schema, name in facts.relations:
            if schema:
                relations.add(f"{schema}.{name}")
            elif name not in known:
                relations |= {f"{each}.{name}" for each in schemas}
    return relations
