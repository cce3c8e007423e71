"""The filter of a SHOW: the part of SELECT's grammar that chooses among ready rows.

What lives here: text to a small tree of operators, columns, constants and parameters. What
must not: what columns there are, types, evaluation; see `admin.select`. IN, BETWEEN and
NOT LIKE come out as the simpler operators that they stand for.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pglast.parser import ParseError, parse_sql_json

from proxy.errors import HowdahError

Tree = dict[str, Any]

_LIMIT = 10_000  # characters
_COMPARISONS = frozenset(("=", "<>", "<", "<=", ">", ">="))
_MATCHES = frozenset(("~", "~*"))
_ARITHMETIC = frozenset(("+", "-", "*", "/"))
_LIKES = {"AEXPR_LIKE": "like", "AEXPR_ILIKE": "ilike"}
_TESTS = {
    "IS_TRUE": (True, False),
    "IS_NOT_TRUE": (True, True),
    "IS_FALSE": (False, False),
    "IS_NOT_FALSE": (False, True),
}
# What a SelectStmt may hold, with the values that say nothing.
_KNOWN = frozenset(
    ("targetList", "fromClause", "whereClause", "sortClause", "limitCount", "limitOffset")
)
_EMPTY = {"limitOption": ("LIMIT_OPTION_DEFAULT", "LIMIT_OPTION_COUNT"), "op": ("SETOP_NONE",)}
# How the others are written.
_WORDS = {
    "groupClause": "GROUP BY",
    "havingClause": "HAVING",
    "withClause": "WITH",
    "distinctClause": "DISTINCT",
    "lockingClause": "FOR UPDATE or FOR SHARE",
    "intoClause": "INTO",
    "valuesLists": "VALUES",
    "windowClause": "WINDOW",
    "op": "UNION, INTERSECT or EXCEPT",
    "limitOption": "WITH TIES",
}
_TYPES = {
    "text": "text",
    "varchar": "text",
    "name": "text",
    "bool": "bool",
    "int2": "int8",
    "int4": "int8",
    "int8": "int8",
    "float4": "float8",
    "float8": "float8",
    "numeric": "float8",
}
_BASES = {"0x": 16, "0o": 8, "0b": 2}
_DIGITS = 1_000  # of a number that is read at all
_COLUMNS = re.compile(r"\s*\((?P<names>[^()]*)\)")
_GRAMMAR = "A filter is [(column, ...)] [WHERE ...] [ORDER BY ...] [LIMIT n] [OFFSET n]."


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; a string is of no type yet, as in SQL."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """$1, $2, ..."""

    number: int


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator over `operands`.

    One of = <> < <= > >= ~ ~* + - * /, or the words like, ilike, and, or, not, null (IS NULL),
    distinct (IS DISTINCT FROM), or `cast` with the type's name in `type`.
    """

    operator: str
    operands: tuple[Node, ...]
    type: str = ""


Node = Column | Constant | Parameter | Operation


@dataclass(frozen=True, slots=True)
class Order:
    """An item of ORDER BY; NULLs come as if larger than all others unless it says otherwise."""

    node: Node
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A column of the result; `*` stands for all."""

    name: str
    shown_as: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a clause says. `view` is what it selects from, `alias` how it calls that."""

    view: str
    alias: str = ""
    targets: tuple[Target, ...] = (Target("*"),)
    where: Node | None = None
    order: tuple[Order, ...] = ()
    limit: Node | None = None
    offset: Node | None = None


def read_clause(view: str, clause: str) -> Filter:
    """Read, about a view, `[(column, ...)] [WHERE ...] [ORDER BY ...] [LIMIT n] [OFFSET n]`.

    Raises:
        HowdahError: 42601, what is wrong and where.
    """
    names = "*"
    listed = _COLUMNS.match(clause)
    if listed is not None:
        names, clause = listed["names"], clause[listed.end() :]
    found = read_select(f"SELECT {names} FROM {view} {clause}")
    if found.alias:
        raise HowdahError(
            f'syntax error at or near "{found.alias}"', hint=_GRAMMAR, sqlstate="42601"
        )
    return found


def read_select(text: str) -> Filter:
    """Read a whole `SELECT column, ... FROM view WHERE ...`.

    Raises:
        HowdahError: 42601 for what is no SQL, or more than choosing rows and columns.
    """
    if len(text) > _LIMIT:
        raise HowdahError("the filter is too long", sqlstate="54000")
    try:
        statements = json.loads(parse_sql_json(text)).get("stmts", ())
        if len(statements) != 1:
            raise _refused("more than one statement")
        return _filter(statements[0].get("stmt", {}))
    except ParseError as error:
        message = str(error.args[0]) if error.args else "syntax error"
        raise HowdahError(
            message,
            hint=_GRAMMAR,
            sqlstate="42601",
        ) from None
    except RecursionError:
        raise HowdahError("the filter is nested too deeply", sqlstate="54001") from None


def _refused(what: str) -> HowdahError:
    return HowdahError(
        f"{what} cannot be used in a filter",
        hint="There are = <> < <= > >= LIKE ILIKE ~ ~* IN BETWEEN IS NULL AND OR NOT + - * /, "
        "over columns and literals.",
        sqlstate="42601",
    )


def _filter(statement: Tree) -> Filter:
    body: Tree | None = statement.get("SelectStmt")
    if body is None:
        raise _refused("another statement than SELECT")
    for key, value in body.items():
        if key not in _KNOWN and value not in _EMPTY.get(key, ()):
            raise _refused(_WORDS.get(key, key))
    sources = body.get("fromClause", ())
    if len(sources) != 1 or "RangeVar" not in sources[0]:
        raise _refused("anything but one view in FROM")
    view = sources[0]["RangeVar"]["relname"]
    alias = sources[0]["RangeVar"].get("alias", {}).get("aliasname", "")
    read = _Reader(alias or view)
    return Filter(
        view,
        alias,
        tuple(read.target(item["ResTarget"]) for item in body.get("targetList", ())),
        read.node(body["whereClause"]) if "whereClause" in body else None,
        tuple(_order(item["SortBy"], read) for item in body.get("sortClause", ())),
        read.node(body["limitCount"]) if "limitCount" in body else None,
        read.node(body["limitOffset"]) if "limitOffset" in body else None,
    )


def _order(item: Tree, read: _Reader) -> Order:
    if item.get("sortby_dir") == "SORTBY_USING":
        raise _refused("USING")
    descending = item.get("sortby_dir") == "SORTBY_DESC"
    nulls = item.get("sortby_nulls", "SORTBY_NULLS_DEFAULT")
    first = descending if nulls == "SORTBY_NULLS_DEFAULT" else nulls == "SORTBY_NULLS_FIRST"
    return Order(read.node(item["node"]), descending, first)


class _Reader:
    """Turns expressions into nodes; `alias` is what the view is called."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def target(self, item: Tree) -> Target:
        node = item["val"]
        if "ColumnRef" not in node:
            raise _refused("an expression in the list of columns")
        return Target(self._name(node["ColumnRef"]), item.get("name", ""))

    def _name(self, body: Tree) -> str:
        fields = ["*" if "A_Star" in field else field["String"]["sval"] for field in body["fields"]]
        if len(fields) > 1 and fields[0] == self._alias:
            fields = fields[1:]
        return ".".join(fields)

    def node(self, tree: Tree) -> Node:
        ((tag, body),) = tree.items()
        match tag:
            case "ColumnRef":
                name = self._name(body)
                if name == "*":
                    raise _refused("*")
                return Column(name)
            case "A_Const":
                return Constant(_value(body))
            case "ParamRef":
                return Parameter(body.get("number", 0))
            case "A_Expr":
                return self._operator(body)
            case "BoolExpr":
                word = body["boolop"].removesuffix("_EXPR").lower()
                return Operation(word, tuple(map(self.node, body["args"])))
            case "NullTest":
                test = Operation("null", (self.node(body["arg"]),))
                return test if body["nulltesttype"] == "IS_NULL" else Operation("not", (test,))
            case "BooleanTest" if body["booltesttype"] in _TESTS:
                value, other = _TESTS[body["booltesttype"]]
                differs = Operation("distinct", (self.node(body["arg"]), Constant(value)))
                return differs if other else Operation("not", (differs,))
            case "TypeCast":
                name = body["typeName"]["names"][-1]["String"]["sval"]
                if name not in _TYPES or "arrayBounds" in body["typeName"]:
                    raise _refused(f"a cast to {name}")
                return Operation("cast", (self.node(body["arg"]),), _TYPES[name])
            case "FuncCall":
                raise _refused("a function")
            case "SubLink":
                raise _refused("a subquery")
        raise _refused(f"such an expression ({tag})")

    def _operator(self, body: Tree) -> Node:
        kind = body["kind"]
        name = body["name"][-1]["String"]["sval"]
        left = self.node(body["lexpr"]) if "lexpr" in body else Constant(0)
        if kind in ("AEXPR_IN", "AEXPR_BETWEEN", "AEXPR_NOT_BETWEEN"):
            items = [self.node(item) for item in body["rexpr"]["List"]["items"]]
            if kind == "AEXPR_IN":
                found = Operation("or", tuple(Operation("=", (left, item)) for item in items))
                return found if name == "=" else Operation("not", (found,))
            low, high = items
            inside = Operation("and", (Operation(">=", (left, low)), Operation("<=", (left, high))))
            return inside if kind == "AEXPR_BETWEEN" else Operation("not", (inside,))
        if kind in ("AEXPR_DISTINCT", "AEXPR_NOT_DISTINCT"):
            differs = Operation("distinct", (left, self.node(body["rexpr"])))
            return differs if kind == "AEXPR_DISTINCT" else Operation("not", (differs,))
        if kind not in _LIKES and kind != "AEXPR_OP":
            raise _refused(f"the operator {name}")
        operands = (left, self.node(body["rexpr"]))
        if kind in _LIKES:
            found = Operation(_LIKES[kind], operands)
            return Operation("not", (found,)) if name.startswith("!") else found
        if name in ("!~", "!~*"):
            return Operation("not", (Operation(name[1:], operands),))
        if name not in _COMPARISONS | _MATCHES | _ARITHMETIC:
            raise _refused(f"the operator {name}")
        return Operation(name, operands)


def _value(body: Tree) -> str | int | float | bool | None:
    if body.get("isnull"):
        return None
    if "ival" in body:
        return int(body["ival"].get("ival", 0))
    if "fval" in body:
        return _number(body["fval"]["fval"])
    if "boolval" in body:
        return bool(body["boolval"].get("boolval", False))
    if "sval" in body:
        return str(body["sval"].get("sval", ""))
    raise _refused("a bit string")


def _number(text: str) -> int | float:
    """A number with a fraction, or an integer beyond four bytes: as in 12e3, 0x_ff, 1_000."""
    text = text.replace("_", "").lower()
    base = _BASES.get(text[:2])
    if base is not None:
        return int(text[2:], base)
    if not text.isdigit():
        return float(text)
    if len(text) > _DIGITS:
        raise HowdahError("bigint out of range", sqlstate="22003")
    return int(text)
