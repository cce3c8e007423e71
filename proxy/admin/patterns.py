"""LIKE and ~ in time that is linear in the text, whatever the pattern.

What lives here: patterns to automata (Thompson, "Regular expression search algorithm", CACM
1968), whose deterministic states are made as they are met. What must not: `re`. It
backtracks: a careless pattern over a long statement would hold up every client.

Known of PostgreSQL's regular expressions: . [] [^] [[:alpha:]] () (?:) | * + ? {m,n}, their
lazy forms, ^ $ and the escapes \\d \\s \\w \\D \\S \\W \\n \\t. As there, . matches a new line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from proxy.errors import HowdahError

# States of the automaton, and how often new deterministic ones may be made: each takes
# microseconds, and the event loop waits.
_STATES = 500
_STEPS = 5_000
_DEPTH = 50

Test = Callable[[str], bool]
_CLASSES: dict[str, Test] = {
    "d": str.isdigit,
    "s": str.isspace,
    "w": lambda char: char.isalnum() or char == "_",
    "alpha": str.isalpha,
    "digit": str.isdigit,
    "alnum": str.isalnum,
    "upper": str.isupper,
    "lower": str.islower,
    "space": str.isspace,
    "punct": lambda char: char.isprintable() and not char.isalnum() and not char.isspace(),
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}


class _Node:
    """A state: it takes a character that passes `test`, or goes on to `to` without one.

    `at` is "start" or "end" where it goes on only there.
    """

    __slots__ = ("at", "test", "to")

    def __init__(self, test: Test | None = None, to: tuple[_Node, ...] = (), at: str = "") -> None:
        self.test = test
        self.to = to
        self.at = at


# Makes the states of an expression in front of those that follow.
Build = Callable[[_Node], _Node]


def _invalid(why: str) -> HowdahError:
    return HowdahError(f"invalid regular expression: {why}", sqlstate="2201B")


class _Parser:
    """A regular expression to a `Build`."""

    def __init__(self, text: str, fold: bool) -> None:
        self._text = text
        self._at = 0
        self._fold = fold
        self._depth = 0
        self.states = 0

    def whole(self) -> Build:
        build = self._branches()
        if self._at < len(self._text):
            raise _invalid("parentheses () not balanced")
        return build

    def _peek(self, what: str) -> bool:
        return self._text.startswith(what, self._at)

    def _take(self, what: str) -> bool:
        found = self._peek(what)
        if found:
            self._at += len(what)
        return found

    def _next(self, missing: str) -> str:
        if self._at >= len(self._text):
            raise _invalid(missing)
        self._at += 1
        return self._text[self._at - 1]

    def _branches(self) -> Build:
        self._depth += 1
        if self._depth > _DEPTH:
            raise _invalid("it is nested too deeply")
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        self._depth -= 1
        if len(branches) == 1:
            return branches[0]
        return lambda then: self._node(to=tuple(branch(then) for branch in branches))

    def _sequence(self) -> Build:
        parts: list[Build] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            parts.append(self._repeated(self._atom()))

        def build(then: _Node) -> _Node:
            for part in reversed(parts):
                then = part(then)
            return then

        return build

    def _atom(self) -> Build:
        char = self._next("")
        if char == "(":
            if self._peek("?") and not self._take("?:"):
                raise _invalid("look-around and options are not known")
            inner = self._branches()
            if not self._take(")"):
                raise _invalid("parentheses () not balanced")
            return inner
        if char in "^$":
            at = "start" if char == "^" else "end"
            return lambda then: self._node(to=(then,), at=at)
        if char in "*+?" or (char == "{" and self._peek_digit()):
            raise _invalid("quantifier operand invalid")
        return self._one(self._test(char))

    def _one(self, test: Test) -> Build:
        return lambda then: self._node(test, (then,))

    def _node(self, test: Test | None = None, to: tuple[_Node, ...] = (), at: str = "") -> _Node:
        self.states += 1
        if self.states > _STATES:
            raise _invalid("it is too large")
        return _Node(test, to, at)

    def _peek_digit(self) -> bool:
        return self._text[self._at : self._at + 1].isdigit()

    def _test(self, char: str) -> Test:
        if char == ".":
            return lambda _: True
        if char == "[":
            return self._bracket()
        if char == "\\":
            return self._escape()
        return self._folded(_between(char, char))

    def _folded(self, test: Test) -> Test:
        if not self._fold:
            return test
        return lambda char: test(char) or test(char.lower()) or test(char.upper())

    def _escape(self) -> Test:
        char = self._next("invalid escape \\ sequence")
        if char in _CONTROLS:
            return _between(_CONTROLS[char], _CONTROLS[char])
        if char in ("d", "s", "w"):
            return _CLASSES[char]
        if char in ("D", "S", "W"):
            test = _CLASSES[char.lower()]
            return lambda other: not test(other)
        if char.isalnum():
            raise _invalid(f"\\{char} is not known here")
        return self._folded(_between(char, char))

    def _bracket(self) -> Test:
        unclosed = "brackets [] not balanced"
        negated = self._take("^")
        tests: list[Test] = []
        first = True
        while first or not self._take("]"):
            first = False
            if self._take("[:"):
                end = self._text.find(":]", self._at)
                name = self._text[self._at : end] if end >= 0 else ""
                if name not in _CLASSES or len(name) < 2:
                    raise _invalid("invalid character class")
                self._at = end + 2
                tests.append(_CLASSES[name])
                continue
            low = self._next(unclosed)
            if low == "\\":
                tests.append(self._escape())
                continue
            high = low
            if self._peek("-") and not self._peek("-]"):
                self._at += 1
                high = self._next(unclosed)
                if high < low:
                    raise _invalid("invalid character range")
            tests.append(_between(low, high))
        either = self._folded(lambda char: any(test(char) for test in tests))
        return lambda char: either(char) is not negated

    def _repeated(self, inner: Build) -> Build:
        """`inner` with the quantifier that follows, if there is one."""
        if self._take("*"):
            inner = self._star(inner)
        elif self._take("+"):
            inner = self._times(inner, 1, None)
        elif self._take("?"):
            inner = self._times(inner, 0, 1)
        elif self._peek("{") and self._text[self._at + 1 : self._at + 2].isdigit():
            self._at += 1
            least = self._number()
            most: int | None = least
            if self._take(","):
                most = self._number() if self._peek_digit() else None
            if not self._take("}") or (most is not None and most < least):
                raise _invalid("invalid repetition count(s)")
            inner = self._times(inner, least, most)
        else:
            return inner
        # A lazy one finds a match where the greedy one does.
        self._take("?")
        return inner

    def _number(self) -> int:
        start = self._at
        while self._peek_digit():
            self._at += 1
        digits = self._text[start : self._at]
        if not digits.isascii() or len(digits) > 3 or int(digits) > 255:
            raise _invalid("invalid repetition count(s)")
        return int(digits)

    def _star(self, inner: Build) -> Build:
        def build(then: _Node) -> _Node:
            loop = self._node()
            loop.to = (inner(loop), then)
            return loop

        return build

    def _times(self, inner: Build, least: int, most: int | None) -> Build:
        def build(then: _Node) -> _Node:
            if most is None:
                then = self._star(inner)(then)
            else:
                end = then
                for _ in range(most - least):
                    then = self._node(to=(inner(then), end))
            for _ in range(least):
                # A state of its own: what is empty counts, too, when it is repeated.
                then = self._node(to=(inner(then),))
            return then

        return build


def _between(low: str, high: str) -> Test:
    return lambda char: low <= char <= high


class _Met:
    """A deterministic state: what it stands for, and where characters lead."""

    __slots__ = ("accepts", "nodes", "to")

    def __init__(self, nodes: frozenset[_Node], accepts: bool) -> None:
        self.nodes = nodes
        self.accepts = accepts
        self.to: dict[str, _Met] = {}


class Pattern:
    """A compiled pattern. Use one for one search through rows: what it may cost is bounded.

    Attributes:
        speed: how many characters it looks at in the time that a state takes for one.
    """

    def __init__(self, first: _Node, last: _Node, *, whole: bool) -> None:
        self.speed = 1
        self._last = last
        self._first = first
        self._whole = whole
        self._met: dict[frozenset[_Node], _Met] = {}
        self._steps = 0
        self._start = self._state((first,), start=True)

    def matches(self, text: str) -> bool:
        """Whether the text matches: all of it for LIKE, a part of it for ~.

        Raises:
            HowdahError: 54001, the pattern would take too long.
        """
        state = self._start
        whole = self._whole
        for char in text:
            if state.accepts and not whole:
                return True
            following = state.to.get(char)
            state = self._step(state, char) if following is None else following
        return state.accepts or self._last in _closure(state.nodes, start=not text, end=True)

    def _step(self, state: _Met, char: str) -> _Met:
        self._steps += 1
        if self._steps > _STEPS:
            raise HowdahError("the pattern takes too long", sqlstate="54001")
        found = [node.to[0] for node in state.nodes if node.test is not None and node.test(char)]
        if not self._whole:
            found.append(self._first)
        state.to[char] = following = self._state(found)
        return following

    def _state(self, nodes: list[_Node] | tuple[_Node, ...], start: bool = False) -> _Met:
        reached = _closure(nodes, start=start, end=False)
        state = self._met.get(reached)
        if state is None:
            state = self._met[reached] = _Met(reached, self._last in reached)
        return state


def _closure(
    nodes: list[_Node] | tuple[_Node, ...] | frozenset[_Node], *, start: bool, end: bool
) -> frozenset[_Node]:
    """All that is reached without a character. What waits for the end stays in it."""
    left = list(nodes)
    found: set[_Node] = set()
    while left:
        node = left.pop()
        if node in found:
            continue
        found.add(node)
        if node.test is None and (
            not node.at or (node.at == "start" and start) or (node.at == "end" and end)
        ):
            left += node.to
    return frozenset(found)


class Parts:
    """LIKE without _: texts that follow each other, with anything between them."""

    def __init__(self, parts: list[str], fold: bool) -> None:
        self.speed = 30
        self._fold = fold
        self._first, *self._middle = [part.lower() for part in parts] if fold else parts
        self._last = self._middle.pop() if self._middle else None

    def matches(self, text: str) -> bool:
        """Whether all of the text matches."""
        if self._fold:
            text = text.lower()
        if self._last is None:
            return text == self._first
        at, end = len(self._first), len(text) - len(self._last)
        if end < at or not text.startswith(self._first) or not text.endswith(self._last):
            return False
        for part in self._middle:
            at = text.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True


def regex(text: str, *, fold: bool = False) -> Pattern:
    """The pattern of ~, or of ~* where `fold` ignores case.

    Raises:
        HowdahError: 2201B, what is wrong with it.
    """
    parser = _Parser(text, fold)
    last = _Node()
    return Pattern(parser.whole()(last), last, whole=False)


def like(text: str, *, fold: bool = False) -> Pattern | Parts:
    r"""The pattern of LIKE, or of ILIKE: % is any text, _ any character, \ quotes the next one.

    Raises:
        HowdahError: 22025, it ends with a backslash; 2201B, it is too large.
    """
    pieces = list(_like(text))
    if len(pieces) > _STATES:
        raise _invalid("it is too large")
    if _ONE not in pieces:
        parts = [""]
        for piece in pieces:
            if piece == _ANY:
                parts.append("")
            else:
                parts[-1] += piece
        return Parts(parts, fold)
    last = _Node()
    then = last
    for piece in reversed(pieces):
        if piece == _ANY:
            then = _loop(then)
        else:
            then = _Node(_whatever if piece == _ONE else _equal(piece, fold), (then,))
    return Pattern(then, last, whole=True)


def _whatever(_: str) -> bool:
    return True


def _loop(then: _Node) -> _Node:
    loop = _Node()
    loop.to = (_Node(lambda _: True, (loop,)), then)
    return loop


# What a pattern of LIKE has besides characters.
_ANY, _ONE = "any", "one"


def _like(text: str) -> Iterator[str]:
    """Each character that is meant as such, `_ANY` for each run of %, `_ONE` for _."""
    chars = iter(text)
    several = False
    for char in chars:
        if char == "%":
            if not several:
                yield _ANY
            several = True
            continue
        several = False
        if char == "_":
            yield _ONE
            continue
        if char == "\\":
            char = next(chars, "")
            if not char:
                raise HowdahError(
                    "LIKE pattern must not end with escape character", sqlstate="22025"
                )
        yield char


def _equal(char: str, fold: bool) -> Test:
    if not fold:
        return lambda other: other == char
    folded = char.lower()
    return lambda other: other.lower() == folded
