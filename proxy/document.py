"""A YAML text as plain values that remember where they stand.

What lives here: the only user of the YAML library. All scalars stay text, so
that `250ms` in a file and on the command line go through the same parser, and
so that YAML's own ideas (`12:30` is 750, `no` is False) never change a value.
What must not: the meaning of any key.

Anchors and aliases work; tags and merge keys do not, and neither do documents of absurd depth
or size, which aliases could otherwise make out of a few bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from proxy.errors import ConfigError

MAX_DEPTH = 20
MAX_VALUES = 100_000
MAX_TEXT = 4_000_000  # characters; so many take some seconds to be read

_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"
# Escapes can make what is no text: it cannot be printed, nor sent.
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file, counted from 1 as editors do."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Value:
    """One value: text, None (empty or null), a list, or a mapping in file order."""

    content: str | list[Value] | dict[str, Value] | None
    place: Place
    key_place: Place | None = None

    def plain(self) -> object:
        """The same without positions."""
        match self.content:
            case list():
                return [item.plain() for item in self.content]
            case dict():
                return {key: value.plain() for key, value in self.content.items()}
            case _:
                return self.content

    def at(self, path: tuple[str | int, ...]) -> Value:
        """The value at the end of a path, or as far along it as there is one."""
        here = self
        for step in path:
            match here.content:
                case dict() if step in here.content:
                    here = here.content[str(step)]
                case list() if isinstance(step, int) and step < len(here.content):
                    here = here.content[step]
                case _:
                    break
        return here


def fail(place: Place, message: str) -> ConfigError:
    """The error to raise for something wrong at a place."""
    return ConfigError(f"{place}: {message}")


def parse(text: str, file: str) -> Value:
    """Read one YAML document whose top is a mapping; an empty text is an empty mapping.

    Raises:
        ConfigError: not YAML, or nothing that a configuration can be.
    """
    if len(text) > MAX_TEXT:
        raise fail(Place(file), f"more than {MAX_TEXT:,} characters")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise fail(place, f"not valid YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, error.position - before.rfind("\n"))
        raise fail(place, f"not valid YAML: {error.reason}") from None
    except RecursionError:
        raise fail(Place(file), f"nested more than {MAX_DEPTH} deep") from None
    except (yaml.YAMLError, ValueError) as error:
        raise fail(Place(file), f"not valid YAML: {type(error).__name__}") from None
    if node is None:
        return Value({}, Place(file))
    value = _Converter(file).value(node, 0)
    if value.content is None:
        return Value({}, value.place)
    if not isinstance(value.content, dict):
        raise fail(value.place, "expected keys with values, such as `listen: 127.0.0.1:6432`")
    return value


@dataclass(slots=True)
class _Converter:
    file: str
    count: int = field(default=0)

    def place(self, node: yaml.Node) -> Place:
        mark = node.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1)

    def value(self, node: yaml.Node, depth: int, key_place: Place | None = None) -> Value:
        place = self.place(node)
        self.count += 1
        if depth > MAX_DEPTH:
            raise fail(place, f"nested more than {MAX_DEPTH} deep")
        if self.count > MAX_VALUES:
            raise fail(place, f"more than {MAX_VALUES} values")
        if isinstance(node, yaml.ScalarNode):
            if node.tag not in _PLAIN_TAGS:
                raise fail(place, f"the tag {node.tag!r} has no meaning here")
            if _HALF.search(node.value):
                raise fail(place, "half of a character: write \\U and 8 digits for both halves")
            return Value(None if node.tag == _NULL else str(node.value), place, key_place)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return Value([self.value(item, depth + 1) for item in node.value], place, key_place)
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return Value(self._mapping(node, depth), place, key_place)
        raise fail(place, f"the tag {node.tag!r} has no meaning here")

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        for key, item in node.value:
            place = self.place(key)
            if not isinstance(key, yaml.ScalarNode):
                raise fail(place, "a key must be a word")
            if key.tag == _MERGE:
                raise fail(place, "the merge key `<<` has no meaning here; repeat the keys")
            name = str(key.value)
            if name in mapping:
                first = mapping[name].key_place
                raise fail(place, f"{name!r} is given twice (first at line {first and first.line})")
            mapping[name] = self.value(item, depth + 1, place)
        return mapping
