"""The user's rules: which one decides about a statement, and why.

What lives here: compiled rules and matching. What must not: how they are written
(`policy.rulefile`), and whether a statement is safe to cache; a rule can only narrow that or
set terms, never overrule it.

A rule matches when all conditions that it names hold and none of its `exclude` does; a
condition holds when any of its items does. The first matching rule, by priority and then by
order in the file, gives the verdict; the others are not asked. A hint in the statement is
above all rules.

The application_name is no part of what identifies a session's answers. So that a hit passes by
no rule, sessions are told apart by which of the conditions on it hold: their audience.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from proxy.policy import expressions
from proxy.terms import Terms

if TYPE_CHECKING:
    from proxy.policy.rulefile import ConditionsModel, RuleModel

_WILD = re.compile(r"[*?]")
# Read by YAML as they are: no mark of its own in them, and not its word for nothing.
_BARE = re.compile(r"(?!null$)\w[\w.-]*", re.ASCII | re.IGNORECASE)
# In double quotes.
_ESCAPED = {'"': '"', "\\": "\\", "\n": "n", "\t": "t", "\r": "r"}
# Names of applications whose audience is remembered; then all are forgotten.
_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say about one statement.

    Attributes:
        cache: False forbids; True and None allow what is provably safe.
        terms: on which its answer is kept; None for the usual ones.
        rule: name of the rule that decided; empty where none matched.
    """

    cache: bool | None = None
    terms: Terms | None = None
    rule: str = ""


NO_VERDICT = Verdict()


@dataclass(frozen=True, slots=True)
class Subject:
    """A statement as conditions see it.

    Attributes:
        database, role: names; the role is the effective one.
        relations: what the statement reads, each as `schema.name`.
        text: as the client sent it.
        audience: of the session, as `Rules.audience` gives it.
        fingerprint: 16 hex digits; needed where `Rules.fingerprints`, as `relations` are where
            `Rules.relations`.
    """

    database: str
    role: str
    relations: Collection[str]
    text: str
    audience: int = 0
    fingerprint: str | None = None


class Considered(NamedTuple):
    """One rule and one statement.

    Attributes:
        rule: its name. priority: as written.
        matches: all conditions hold. decides: it is the one that counts.
        why: in words.
    """

    rule: str
    priority: int
    matches: bool
    decides: bool
    why: str


class _Names:
    """Matches one text against exact names and wildcards."""

    __slots__ = ("_exact", "_wild", "patterns")

    def __init__(self, patterns: Iterable[str]):
        self.patterns = tuple(patterns)
        wild = tuple(filter(_WILD.search, self.patterns))
        self._exact = frozenset(self.patterns).difference(wild)
        self._wild = expressions.wildcards(wild) if wild else None

    def match(self, text: str) -> bool:
        return text in self._exact or (self._wild is not None and self._wild(text))


def _names(patterns: tuple[str, ...] | None) -> _Names | None:
    return None if patterns is None else _Names(patterns)


class Conditions:
    """Conditions, compiled.

    Attributes:
        application: those on the application_name; None where there is none.
        bit: of an audience, that stands for them.
        text: as they are written in the file.
    """

    __slots__ = (
        "_bare",
        "_database",
        "_fingerprints",
        "_pattern",
        "_qualified",
        "_role",
        "application",
        "bit",
        "relations",
        "text",
    )

    def __init__(self, model: ConditionsModel):
        self._database, self._role = _names(model.database), _names(model.role)
        self.application = _names(model.application_name)
        self.bit = 0
        self.relations = model.relations
        relations = model.relations or ()
        self._qualified = _Names(name for name in relations if "." in name)
        self._bare = _Names(name for name in relations if "." not in name)
        self._fingerprints = model.fingerprint
        self._pattern = expressions.search(model.pattern) if model.pattern else None
        self.text = ", ".join(f"{key}: {flow(value)}" for key, value in model.conditions())

    @property
    def on_fingerprints(self) -> bool:
        """Whether there is one on the fingerprint."""
        return self._fingerprints is not None

    def fails(self, subject: Subject) -> str:
        """The key of the first condition that does not hold; empty where all do."""
        if self._database is not None and not self._database.match(subject.database):
            return "database"
        if self._role is not None and not self._role.match(subject.role):
            return "role"
        if self.application is not None and not subject.audience & self.bit:
            return "application_name"
        if self.relations is not None and not any(map(self._reads, subject.relations)):
            return "relations"
        if self._fingerprints is not None and subject.fingerprint not in self._fingerprints:
            return "fingerprint"
        if self._pattern is not None and not self._pattern(subject.text):
            return "pattern"
        return ""

    def _reads(self, relation: str) -> bool:
        if self._qualified.match(relation):
            return True
        name = relation.partition(".")[2]
        # Schemas and names may hold dots themselves.
        return self._bare.match(name) or ("." in name and self._bare.match(name.rpartition(".")[2]))


class Rule:
    """One rule, compiled. Immutable by convention; build it from a `RuleModel`.

    Attributes:
        name: as written, or `rule N`.
        conditions: what it asks for; with `exclude`, what takes a statement out of it.
        verdict: what it gives.
    """

    __slots__ = ("conditions", "exclude", "model", "name", "verdict")

    def __init__(self, model: RuleModel, default_name: str = "rule"):
        self.model = model
        self.name = model.name or default_name
        self.verdict = Verdict(model.cache, model.terms, self.name)
        self.conditions = Conditions(model)
        self.exclude = tuple(map(Conditions, model.exclude))

    @property
    def priority(self) -> int:
        """Higher is asked first."""
        return self.model.priority

    @property
    def declares(self) -> bool:
        """Whether it says what a function does, and decides about no statement."""
        return self.model.function is not None

    @property
    def conditions_text(self) -> str:
        """What it matches, as it is written in the file; empty for everything."""
        if self.declares:
            return f"function: {flow(self.model.function)}"
        parts = [self.conditions.text] if self.conditions.text else []
        if self.exclude:
            inner = [f"{{{each.text}}}" for each in self.exclude]
            several = f"[{', '.join(inner)}]"
            parts.append(f"exclude: {inner[0] if len(inner) == 1 else several}")
        return ", ".join(parts)

    @property
    def effects_text(self) -> str:
        """What it does, as it is written in the file."""
        model = self.model
        if self.declares:
            return f"reads: {flow(model.reads)}, writes: {flow(model.writes)}"
        return ", ".join(f"{word}: {text}" for word, text in effects(self.verdict))

    def fails(self, subject: Subject) -> str:
        """The key of what keeps it from matching; empty where it matches."""
        if self.model.function is not None:
            return "function"
        failed = self.conditions.fails(subject)
        if failed or not self.exclude:
            return failed
        return "exclude" if any(not each.fails(subject) for each in self.exclude) else ""


def effects(verdict: Verdict) -> list[tuple[str, str]]:
    """What a verdict does, in the words of the file."""
    cache = [] if verdict.cache is None else [("cache", "on" if verdict.cache else "off")]
    return cache + (verdict.terms.items() if verdict.terms is not None else [])


def flow(value: object) -> str:
    """A name, a list of them, or a text, so that YAML reads it as the same."""
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) else f'"{"".join(map(_letter, value))}"'
    assert isinstance(value, tuple)
    if len(value) == 1:
        return flow(value[0])
    return f"[{', '.join(map(flow, value))}]"


def _letter(letter: str) -> str:
    """As it is written between double quotes in YAML."""
    if letter in _ESCAPED:
        return f"\\{_ESCAPED[letter]}"
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"


class Rules:
    """All rules, in the order in which they are asked. Immutable.

    Attributes:
        declared: what rules say of functions, by `schema.name`; the first one counts.
        audiences: conditions on the application_name, wherever they stand.
        fingerprints, relations: whether a fingerprint, or what is read, is looked at.
        longest: the highest max_age of all, in s; 0 where there is none.
    """

    __slots__ = (
        "_audiences",
        "_rules",
        "audiences",
        "declared",
        "fingerprints",
        "longest",
        "relations",
    )

    def __init__(self, rules: Iterable[Rule] = ()):
        self._rules = tuple(sorted(rules, key=lambda rule: -rule.model.priority))
        self.declared: dict[str, RuleModel] = {}
        for rule in self._rules:
            if rule.model.function is not None:
                self.declared.setdefault(rule.model.function, rule.model)
        every = [each for rule in self._rules for each in (rule.conditions, *rule.exclude)]
        self.fingerprints = any(each.on_fingerprints for each in every)
        self.longest = max((rule.model.max_age or 0.0 for rule in self._rules), default=0.0)
        self.relations = any(each.relations is not None for each in every)
        self.audiences = tuple(each for each in every if each.application is not None)
        for number, each in enumerate(self.audiences):
            each.bit = 1 << number
        self._audiences: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rules):
            return NotImplemented
        return [(r.model, r.verdict) for r in self] == [(r.model, r.verdict) for r in other]

    def __hash__(self) -> int:
        return hash(tuple(rule.verdict for rule in self._rules))

    def __repr__(self) -> str:
        return f"Rules({[rule.name for rule in self._rules]})"

    def audience(self, application: str) -> int:
        """Which conditions on the application_name hold, as bits."""
        if not self.audiences:
            return 0
        found = self._audiences.get(application)
        if found is None:
            found = sum(
                each.bit
                for each in self.audiences
                if each.application is not None and each.application.match(application)
            )
            if len(self._audiences) >= _REMEMBERED:
                self._audiences.clear()
            self._audiences[application] = found
        return found

    def verdict(self, subject: Subject) -> Verdict:
        """The verdict of the first rule that matches."""
        for rule in self._rules:
            if not rule.fails(subject):
                return rule.verdict
        return NO_VERDICT

    def explain(self, subject: Subject) -> list[Considered]:
        """Every rule in the order in which they are asked, and what each has to say.

        One that declares a function is left out: it decides about no statement.
        """
        found = []
        winner: Rule | None = None
        for rule in self._rules:
            if rule.declares:
                continue
            failed = rule.fails(subject)
            if failed:
                why = _why_not(rule, failed, subject)
            elif winner is None:
                winner, why = rule, "it is the first one that matches"
            else:
                order = "higher priority" if winner.priority > rule.priority else "earlier place"
                why = f"it matches too, but {winner.name!r} counts for its {order}"
            found.append(Considered(rule.name, rule.priority, not failed, rule is winner, why))
        return found


def _why_not(rule: Rule, failed: str, subject: Subject) -> str:
    if failed == "exclude":
        excluded = next(each for each in rule.exclude if not each.fails(subject))
        return f"it is excluded by {{{excluded.text}}}"
    wanted = dict(rule.model.conditions())[failed]
    match failed:
        case "database" | "role":
            return f"the {failed} {getattr(subject, failed)!r} is not {_any_of(wanted)}"
        case "application_name":
            return f"the application_name is not {_any_of(wanted)}"
        case "relations":
            reads = ", ".join(sorted(subject.relations)) or "nothing"
            return f"it reads {reads}, not {_any_of(wanted)}"
        case "fingerprint":
            return f"its fingerprint {subject.fingerprint} is not {_any_of(wanted)}"
        case _:
            return f"its text does not match {wanted!r}"


def _any_of(wanted: object) -> str:
    texts = wanted if isinstance(wanted, tuple) else (wanted,)
    return " or ".join(map(str, texts))


EMPTY = Rules()
