"""The user's rules: YAML to frozen objects, and the verdict for one statement.

What lives here: the model of a rule, its checks, and matching. What must not:
deciding whether a statement is safe to cache; a rule can only narrow that or
set a lifetime, never overrule it.

A rule matches when all conditions that it names match; a condition matches when
any of its items does. The first matching rule, by priority and then by order in
the file, gives the verdict; the others are not asked.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic import model_validator as _model_validator

from proxy import units
from proxy.document import Value, fail

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say about one statement.

    Attributes:
        cache: False forbids; True and None allow what is provably safe.
        ttl: seconds an entry may live from its dispatch; None for no limit.
        rule: name of the rule that decided; empty where none matched.
    """

    cache: bool | None = None
    ttl: float | None = None
    rule: str = ""


NO_VERDICT = Verdict()


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _switch(value: object) -> object:
    return units.switch(value) if isinstance(value, str) else value


def _number(value: object) -> object:
    return units.whole_number(value) if isinstance(value, str) else value


def _lifetime(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "none":
        return None
    seconds = units.duration(value)
    if seconds <= 0:
        raise ValueError("a ttl is more than 0; to cache nothing write `cache: off`")
    return seconds


def _compiles(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


_TEXT_OR_LIST: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}
Globs = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_listed),
    Field(min_length=1, json_schema_extra=_TEXT_OR_LIST),
]


Declaration = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[^.]+\.[^.]+$")], ...],
    BeforeValidator(_listed),
    Field(
        json_schema_extra={
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        }
    ),
]


class RuleModel(BaseModel):
    """One item of `rules:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="rule")

    name: str = Field("", description="A name for metrics and EXPLAIN; the default is `rule N`.")
    priority: Annotated[int, BeforeValidator(_number)] = Field(
        0, description="Higher is asked first; rules of equal priority go in file order."
    )
    database: Globs | None = Field(
        None, description="Matches any of these database names; `*` and `?` are wildcards."
    )
    role: Globs | None = Field(
        None, description="Matches any of these effective roles; `*` and `?` are wildcards."
    )
    relations: Globs | None = Field(
        None,
        description="Matches when the statement reads any of these relations: `schema.name`, or "
        "`name` in any schema; `*` and `?` are wildcards.",
    )
    pattern: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="A regular expression (Python's `re`) searched in the statement's text; "
        "`(?i)` at its start ignores case.",
    )
    cache: Annotated[bool, BeforeValidator(_switch)] | None = Field(
        None,
        description="`off`: matching statements are forwarded. `on`: what is provably safe is "
        "cached, which is the default; it exempts from rules of lower priority.",
        json_schema_extra={"anyOf": [{"type": "boolean"}, {"enum": ["on", "off"]}]},
    )
    ttl: Annotated[float | None, BeforeValidator(_lifetime)] = Field(
        None,
        description="How long an answer may be served, counted from its dispatch: `5s`, `10m`; "
        "`none` for no limit of its own.",
        json_schema_extra={"anyOf": [{"type": "string"}]},
    )

    function: Annotated[str, Field(pattern=r"^[^.]+\.[^.]+$")] | None = Field(
        None,
        description="Declares what a function or procedure that Howdah cannot see through does, as "
        "`schema.name`, for all its argument types: `reads` and `writes` are believed. Its result "
        "must follow from its arguments and these tables alone.",
    )
    reads: Declaration = Field(
        (), description="With `function`: the tables or views that it reads, as `schema.name`."
    )
    writes: Declaration = Field(
        (),
        description="With `function`: the tables that it writes, as `schema.name`. What triggers "
        "and foreign keys then do is followed.",
    )

    @_model_validator(mode="after")
    def _makes_sense(self) -> RuleModel:
        if self.pattern is not None:
            _compiles(self.pattern)
        given = self.model_fields_set
        if self.function is not None:
            others = given - {"name", "function", "reads", "writes"}
            if others:
                raise ValueError(f"`function` and `{min(others)}` exclude each other")
            if not {"reads", "writes"} & given:
                raise ValueError("say what the function does: `reads`, `writes` or both")
            return self
        if {"reads", "writes"} & given:
            raise ValueError("`reads` and `writes` declare a function; name it with `function`")
        if not {"cache", "ttl"} & given:
            raise ValueError("the rule sets nothing; give it `cache` or `ttl`")
        if self.cache is False and self.ttl is not None:
            raise ValueError("`cache: off` and a `ttl` exclude each other")
        return self


KEYS = tuple(RuleModel.model_fields)


class _Names:
    """Matches one text against exact names and wildcards."""

    __slots__ = ("_exact", "_globs")

    def __init__(self, patterns: Iterable[str]):
        exact, globs = set(), []
        for pattern in patterns:
            if _GLOB.search(pattern):
                globs.append(f"(?:{fnmatch.translate(pattern)})")
            else:
                exact.add(pattern)
        self._exact = frozenset(exact)
        self._globs = re.compile("|".join(globs)) if globs else None

    def match(self, text: str) -> bool:
        return text in self._exact or bool(self._globs and self._globs.match(text))


class Rule:
    """One rule, compiled. Immutable by convention; build it from a `RuleModel`."""

    __slots__ = ("_bare", "_database", "_pattern", "_qualified", "_role", "model", "verdict")

    def __init__(self, model: RuleModel, default_name: str = "rule"):
        self.model = model
        self.verdict = Verdict(model.cache, model.ttl, model.name or default_name)
        self._database = _Names(model.database) if model.database else None
        self._role = _Names(model.role) if model.role else None
        relations = model.relations or ()
        self._qualified = _Names(name for name in relations if "." in name)
        self._bare = _Names(name for name in relations if "." not in name)
        self._pattern = re.compile(model.pattern) if model.pattern else None

    def matches(self, database: str, role: str, relations: Collection[str], text: str) -> bool:
        """Whether all conditions that the rule names hold."""
        if self.model.function is not None:
            return False
        if self._database is not None and not self._database.match(database):
            return False
        if self._role is not None and not self._role.match(role):
            return False
        if self.model.relations is not None and not any(map(self._reads, relations)):
            return False
        return self._pattern is None or self._pattern.search(text) is not None

    def _reads(self, relation: str) -> bool:
        return self._qualified.match(relation) or self._bare.match(relation.partition(".")[2])


class Rules:
    """All rules, in the order in which they are asked. Immutable."""

    __slots__ = ("_rules", "declared")

    def __init__(self, rules: Iterable[Rule] = ()):
        self._rules = tuple(sorted(rules, key=lambda rule: -rule.model.priority))
        # What rules say of functions, by `schema.name`; the first one counts.
        self.declared: dict[str, RuleModel] = {}
        for rule in self._rules:
            if rule.model.function is not None:
                self.declared.setdefault(rule.model.function, rule.model)

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Any:
        return iter(self._rules)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rules):
            return NotImplemented
        return [(r.model, r.verdict) for r in self] == [(r.model, r.verdict) for r in other]

    def __hash__(self) -> int:
        return hash(tuple(rule.verdict for rule in self._rules))

    def __repr__(self) -> str:
        return f"Rules({[rule.verdict.rule for rule in self._rules]})"

    def verdict(
        self, *, database: str, role: str, relations: Collection[str], text: str
    ) -> Verdict:
        """The verdict of the first rule that matches.

        Args:
            database: the session's database.
            role: the effective role.
            relations: what the statement reads, each as `schema.name`.
            text: the statement as the client sent it.
        """
        for rule in self._rules:
            if rule.matches(database, role, relations, text):
                return rule.verdict
        return NO_VERDICT


EMPTY = Rules()


def load_rules(value: Value) -> Rules:
    """Build the rules from the `rules:` key of a document.

    Raises:
        ConfigError: an unknown key or an impossible value; says file, line and column.
    """
    if value.content is None:
        return EMPTY
    if not isinstance(value.content, list):
        raise fail(value.place, "`rules` is a list: each rule starts with a dash")
    return Rules(_load_rule(item, number) for number, item in enumerate(value.content, 1))


def _load_rule(item: Value, number: int) -> Rule:
    if not isinstance(item.content, dict):
        raise fail(item.place, "a rule is made of keys with values, such as `cache: off`")
    for key, value in item.content.items():
        if key not in KEYS:
            place = value.key_place or value.place
            raise fail(place, f"unknown key {key!r} in a rule{units.suggestion(key, KEYS)}")
        if value.content is None:
            raise fail(value.key_place or value.place, f"{key!r} has no value")
    try:
        return Rule(RuleModel.model_validate(item.plain()), f"rule {number}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = tuple(first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        place = item.at(path).place
        key = f"{path[0]!r}: " if path else ""
        if "regular expression" in message:
            key, place = "'pattern': ", item.at(("pattern",)).place
        raise fail(place, f"{key}{message}") from None
