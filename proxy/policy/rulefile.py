"""Rules as they are written: the model of `rules:`, its checks, and errors with their places.

What lives here: keys, kinds of values, and YAML to `policy.rules.Rules`. What must not: matching.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import inf
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from proxy import units
from proxy.document import Place, Value, fail
from proxy.errors import ConfigError
from proxy.policy import expressions
from proxy.policy.rules import EMPTY, Rule, Rules
from proxy.terms import Terms

_FINGERPRINT = re.compile(r"[0-9a-f]{16}", re.ASCII)
_QUALIFIED = re.compile(r"[^.]+\.[^.]+")

# Kinds of values. All of them come as text.


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _words_only(value: object) -> object:
    """A mapping where a name should stand is best told as that."""
    if isinstance(value, dict):
        raise ValueError("expected a name or a list of names, not keys with values")
    return value


def _read(parser: Callable[[str], Any]) -> BeforeValidator:
    def read(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError("expected one plain value")
        return parser(value)

    return BeforeValidator(read)


def _lifetime(text: str) -> float:
    if text.strip().lower() == "none":
        return inf
    return _duration(text)


def _duration(text: str) -> float:
    seconds = units.duration(text)
    if seconds <= 0:
        raise ValueError("a duration here is more than 0; to cache nothing write `cache: off`")
    return seconds


def _at_least_one(parser: Callable[[str], int]) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = parser(text)
        if value < 1:
            raise ValueError("at least 1; to cache nothing write `cache: off`")
        return value

    return read


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("a name cannot be empty")
    return value


def _compiles(value: str) -> str:
    expressions.search(value)
    return value


def _is_fingerprint(value: str) -> str:
    if _FINGERPRINT.fullmatch(value) is None:
        raise ValueError(f"{value!r} is no fingerprint: 16 hex digits, the id of SHOW QUERIES")
    return value


def _is_qualified(value: str) -> str:
    if _QUALIFIED.fullmatch(value) is None:
        raise ValueError(f"{value!r}: write it with its schema, as schema.name")
    return value


def _is_declarable(value: str) -> str:
    if value.partition(".")[0] in ("pg_catalog", "information_schema"):
        # now() in a view would be believed to be as old as the answer.
        raise ValueError(f"{value!r} is PostgreSQL's own: what it does is known, and not declared")
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("the list is empty, so nothing could match")
    return value


_TEXT_OR_LIST: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
}
_SOME_TEXT: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
}
_SWITCH: dict[str, Any] = {"anyOf": [{"type": "boolean"}, {"enum": ["on", "off"]}]}
_NUMBER: dict[str, Any] = {"type": ["integer", "string"]}

Globs = Annotated[
    tuple[Annotated[str, AfterValidator(_not_empty)], ...],
    BeforeValidator(_words_only),
    BeforeValidator(_listed),
    AfterValidator(_some),
    WithJsonSchema(_SOME_TEXT),
]
Fingerprints = Annotated[
    tuple[Annotated[str, AfterValidator(_is_fingerprint)], ...],
    BeforeValidator(_words_only),
    BeforeValidator(_listed),
    AfterValidator(_some),
    WithJsonSchema(_SOME_TEXT),
]
Pattern = Annotated[
    str,
    BeforeValidator(_words_only),
    AfterValidator(_not_empty),
    AfterValidator(_compiles),
    WithJsonSchema({"type": "string"}),
]
Declaration = Annotated[
    tuple[Annotated[str, AfterValidator(_is_qualified)], ...],
    BeforeValidator(_words_only),
    BeforeValidator(_listed),
    WithJsonSchema(_TEXT_OR_LIST),
]


# The models. Their order is that of the reference.


class NamedModel(BaseModel):
    """Name and place in the order of rules."""

    name: str = Field("", description="A name for statistics and explanations; else `rule N`.")
    priority: Annotated[int, _read(units.whole_number), WithJsonSchema(_NUMBER)] = Field(
        0, description="Higher is asked first; rules of equal priority go in file order."
    )


class ConditionsModel(BaseModel):
    """Conditions: all that are named have to hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="conditions")

    database: Globs | None = Field(
        None, description="Matches any of these database names; `*` and `?` are wildcards."
    )
    role: Globs | None = Field(
        None, description="Matches any of these effective roles; `*` and `?` are wildcards."
    )
    application_name: Globs | None = Field(
        None,
        description="Matches any of these values of the session's application_name, as it is at "
        "that moment; `*` and `?` are wildcards.",
    )
    relations: Globs | None = Field(
        None,
        description="Matches when the statement reads any of these relations: `schema.name`, or "
        "`name` in any schema; `*` and `?` are wildcards.",
    )
    fingerprint: Fingerprints | None = Field(
        None,
        description="Matches any of these statements, whatever their literals are: 16 hex digits, "
        "the `id` of SHOW QUERIES.",
    )
    pattern: Pattern | None = Field(
        None,
        description="A regular expression (RE2's syntax) searched in the statement's text; "
        "`(?i)` at its start ignores case.",
    )

    def conditions(self) -> Iterator[tuple[str, Any]]:
        """Those that are given."""
        for name in CONDITION_KEYS:
            value = getattr(self, name)
            if value is not None:
                yield name, value


CONDITION_KEYS = tuple(ConditionsModel.model_fields)


class ExcludeModel(ConditionsModel):
    """An item of `exclude:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="exclude")

    @model_validator(mode="after")
    def _makes_sense(self) -> ExcludeModel:
        if not self.model_fields_set:
            raise ValueError("it names no condition, so it would exclude everything")
        return self


def _as_list(value: object) -> object:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list) or not value:
        raise ValueError("expected conditions, such as `exclude: {role: admin}`")
    return value


_EFFECTS = {"cache", "ttl", "max_age", "stale_while_revalidate", "max_rows", "max_bytes", "verify"}


class RuleModel(ConditionsModel, NamedModel):
    """One item of `rules:`."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="rule")

    exclude: Annotated[
        tuple[ExcludeModel, ...],
        BeforeValidator(_as_list),
        Field(
            json_schema_extra=lambda schema: _or_one(schema),
        ),
    ] = Field(
        (),
        description="Takes statements out of the rule: conditions as above, or a list of such, of "
        "which any may hold.",
    )

    cache: Annotated[bool | None, _read(units.switch), WithJsonSchema(_SWITCH)] = Field(
        None,
        description="`off`: matching statements are forwarded. `on`: what is provably safe is "
        "cached, which is the default; it exempts from rules of lower priority.",
    )
    ttl: Annotated[float | None, _read(_lifetime), WithJsonSchema({"type": "string"})] = Field(
        None,
        description="How long an answer may be served, counted from its dispatch, whoever writes: "
        "`5s`, `10m`; `none` for no limit of its own.",
    )
    max_age: Annotated[float | None, _read(_lifetime), WithJsonSchema({"type": "string"})] = Field(
        None,
        description="In place of the setting `max_age`: how long an answer may be served since "
        "others may write past Howdah. Longer, or `none`, only where you know that they do not.",
    )
    stale_while_revalidate: Annotated[
        float | None, _read(_duration), WithJsonSchema({"type": "string"})
    ] = Field(
        None,
        description="How long after its end by `ttl` or `max_age` an answer may still be served, "
        "while one request in the background fetches it anew. A write through Howdah ends it at "
        "once as always.",
    )
    max_rows: Annotated[
        int | None, _read(_at_least_one(units.whole_number)), WithJsonSchema(_NUMBER)
    ] = Field(None, description="Answers of more rows are not stored.")
    max_bytes: Annotated[int | None, _read(_at_least_one(units.size)), WithJsonSchema(_NUMBER)] = (
        Field(
            None,
            description="Larger answers are not stored: `64kB`; the setting `entry_limit` holds.",
        )
    )
    verify: Annotated[float | None, _read(units.share), WithJsonSchema({"type": "string"})] = Field(
        None,
        description="In place of the setting `verify`: the share of hits that are compared with "
        "PostgreSQL's own answer.",
    )

    function: (
        Annotated[str, AfterValidator(_is_qualified), AfterValidator(_is_declarable)] | None
    ) = Field(
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

    @model_validator(mode="after")
    def _makes_sense(self) -> RuleModel:
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
        if not _EFFECTS & given:
            raise ValueError("the rule sets nothing; give it `cache` or `ttl`, for example")
        others = (_EFFECTS - {"cache"}) & given
        if self.cache is False and others:
            raise ValueError(f"`cache: off` and `{min(others)}` exclude each other")
        return self

    @property
    def terms(self) -> Terms | None:
        """On what terms answers are kept; None where it says nothing of them."""
        terms = Terms(
            self.ttl,
            self.max_age,
            self.stale_while_revalidate,
            self.max_rows,
            self.max_bytes,
            self.verify,
        )
        return None if terms == Terms() else terms


def _or_one(schema: dict[str, Any]) -> None:
    """A single mapping may stand for a list of one."""
    one = {"type": "array", "items": schema.pop("items"), "minItems": 1}
    schema.pop("type", None)
    schema["anyOf"] = [one["items"], one]


KEYS = tuple(RuleModel.model_fields)


# From a document to rules.


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
    _check_keys(item.content, KEYS, "a rule")
    exclude = item.content.get("exclude")
    if exclude is not None:
        for inner in exclude.content if isinstance(exclude.content, list) else [exclude]:
            if isinstance(inner.content, dict):
                _check_keys(inner.content, CONDITION_KEYS, "`exclude`")
    try:
        return Rule(RuleModel.model_validate(item.plain()), f"rule {number}")
    except ValidationError as error:
        raise _told(item, error) from None


def _check_keys(content: dict[str, Value], known: tuple[str, ...], where: str) -> None:
    for key, value in content.items():
        place = value.key_place or value.place
        if key not in known:
            near = units.suggestion(key, known)
            if not near:
                near = f"; known are {', '.join(known)}"
            raise fail(place, f"unknown key {key!r} in {where}{near}")
        if value.content is None:
            raise fail(place, f"{key!r} has no value")


# What pydantic says in words of its own.
_INSTEAD = {
    "string_type": "expected text",
    "model_type": "expected conditions, such as `exclude: {role: admin}`",
}


def _told(item: Value, error: ValidationError) -> ConfigError:
    """The first mistake, with its place."""
    first = error.errors(include_url=False)[0]
    path = first["loc"]
    message = _INSTEAD.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    key = ".".join(str(step) for step in path if isinstance(step, str))
    return fail(_place(item, path), f"{key!r}: {message}" if key else message)


def _place(item: Value, path: tuple[str | int, ...]) -> Place:
    here = item
    for step in path:
        if isinstance(step, int) and not isinstance(here.content, list):
            continue  # a single value stands for a list of one
        here = here.at((step,))
    return here.place
