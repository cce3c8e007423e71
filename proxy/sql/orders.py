"""What the text of a read says about the order of its rows, and about what is left open.

What lives here: the answer types, and the walk that finds sort keys, limits, and the
constructs whose result depends on the order in which rows are met. What must not: the
catalog; whether columns are a unique key, or floats, is judged in `policy.order`.

Followed: "Sorting Rows", "LIMIT and OFFSET", "Aggregate Functions" and "Window Functions"
of the manual. What is left open here PostgreSQL may answer otherwise the next time, with
another plan, and be right both times.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pglast.parser import ParseError, parse_sql_json

from proxy.sql.facts import Name
from proxy.sql.shapes import figure_name

Node = dict[str, Any]


class Bag(enum.Enum):
    """What of a column's values is certain."""

    PLAIN = "plain"  # all of it
    FLOAT = "float"  # floats that were added up, in whatever order
    ARRAY = "array"  # the elements, not their order
    STRINGS = "strings"  # the parts between delimiters, not their order
    JSON = "json"  # the same of a JSON array or object
    FREE = "free"  # nothing


class Choice(NamedTuple):
    """Somewhere rows are chosen, or numbered, by their place in an order.

    Attributes:
        relation: the only relation that they come from; None where it is not just one.
        columns: those of its columns that are sorted by, or of which one value is wanted.
        sure: the order leaves nothing open, whatever the columns are.
    """

    relation: Name | None = None
    columns: frozenset[str] = frozenset()
    sure: bool = False


OPEN = Choice()


class Sum(NamedTuple):
    """Values that are added up. If they are floats, their order shows in the last digits.

    Attributes:
        columns: names of the columns that they are made of.
        floats: they are floats, or may be for all that the text tells.
    """

    columns: frozenset[str] = frozenset()
    floats: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """One output column: see `Bag`; it is certain only if its sums and choices are.

    Attributes:
        delimiter: of STRINGS, where the text tells it.
        direct: it is a sum and nothing else, so that its type tells whether that is of floats.
        looks: it depends on how values look, which those that are equal may do differently.
    """

    bag: Bag = Bag.PLAIN
    delimiter: str | None = None
    sums: tuple[Sum, ...] = ()
    choices: tuple[Choice, ...] = ()
    direct: bool = False
    looks: bool = False


@dataclass(frozen=True, slots=True)
class Ordering:
    """What one read says.

    Attributes:
        columns: the output columns; None where their number is not known.
        keys: output columns that the rows are sorted by: names, or places from 0.
        rows: the order of the rows as a whole. limited: only some of them are given.
        limit: how many at most, where the text tells and no others are passed over.
        merges: values that are equal but look different (1.0 and 1.00) may stand for
            each other.
        sums, choices: elsewhere than in an output column.
        loose: a construct that leaves more open than is followed here; empty if none.
        calls, relations: what it names.
    """

    columns: tuple[Column, ...] | None = None
    keys: tuple[str | int, ...] = ()
    rows: Choice = OPEN
    limited: bool = False
    limit: int | None = None
    merges: bool = False
    sums: tuple[Sum, ...] = ()
    choices: tuple[Choice, ...] = ()
    loose: str = ""
    calls: frozenset[Name] = frozenset()
    relations: frozenset[Name] = frozenset()


_BAGS = {
    "array_agg": Bag.ARRAY,
    "string_agg": Bag.STRINGS,
    "json_agg": Bag.JSON,
    "jsonb_agg": Bag.JSON,
    "json_agg_strict": Bag.JSON,
    "jsonb_agg_strict": Bag.JSON,
    "json_object_agg": Bag.JSON,
    "json_object_agg_strict": Bag.JSON,
    # Of equal keys the last one stays; nodes of XML may hold anything.
    "jsonb_object_agg": Bag.FREE,
    "jsonb_object_agg_strict": Bag.FREE,
    "json_object_agg_unique": Bag.JSON,
    "json_object_agg_unique_strict": Bag.JSON,
    "jsonb_object_agg_unique": Bag.JSON,
    "jsonb_object_agg_unique_strict": Bag.JSON,
    "xmlagg": Bag.FREE,
    "any_value": Bag.FREE,
}
_JSON_NODES = {"JsonArrayAgg": Bag.JSON, "JsonObjectAgg": Bag.FREE}
_SUMS = frozenset("sum avg stddev stddev_pop stddev_samp variance var_pop var_samp".split())
_FLOAT_SUMS = frozenset(
    "corr covar_pop covar_samp regr_avgx regr_avgy regr_intercept regr_r2 regr_slope regr_sxx "
    "regr_sxy regr_syy".split()
)
# Equal for all peers of a row, as are other aggregates over the usual frame.
_RANKS = frozenset(("rank", "dense_rank", "percent_rank", "cume_dist"))
_PLACES = frozenset(("row_number", "ntile", "lag", "lead", "first_value", "last_value"))
_PLACES |= {"nth_value"}
_USUAL_FRAME = 1058  # RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW (parsenodes.h)
_EXACT_TYPES = frozenset(("numeric", "int2", "int4", "int8"))
# What makes no float of what is none; `^` and `|/` do.
_EXACT_OPERATORS = frozenset("+ - * / % @ & | # ~ << >>".split())
# Of values that are equal one stands for all, or they are put together.
_MERGING = frozenset("min max mode percentile_disc range_agg range_intersect_agg".split())
_LOOKS = frozenset(
    "ascii bit_length char_length character_length decode encode hashtext hashtextextended length "
    "md5 min_scale octet_length position scale sha224 sha256 sha384 sha512 strpos".split()
)
# Surely one value for each row, or group. What is not here might be a set-returning function.
_SCALARS = frozenset(
    "any_value bit_and bit_or bit_xor bool_and bool_or count every max min mode percentile_cont "
    "percentile_disc range_agg range_intersect_agg regr_count coalesce".split()
)
_SCALARS |= _SUMS | _FLOAT_SUMS | frozenset(_BAGS)
_SCALARS |= frozenset(
    "abs btrim ceil ceiling char_length character_length concat concat_ws date_part date_trunc "
    "extract floor format greatest initcap least left length lower lpad ltrim make_date md5 mod "
    "nullif octet_length overlay position pow power replace reverse right round rpad rtrim sign "
    "split_part sqrt strpos substr substring to_char to_json to_jsonb translate trim trunc upper "
    "json_build_object jsonb_build_object json_build_array jsonb_build_array row_to_json".split()
)


def ordering(text: str) -> Ordering:
    """Say what a read leaves open. Never raises; what is not understood is `loose`."""
    try:
        statements = json.loads(parse_sql_json(text)).get("stmts", ())
        if len(statements) != 1 or "SelectStmt" not in statements[0]["stmt"]:
            return Ordering(loose="statement")
        return _Reading().top(statements[0]["stmt"]["SelectStmt"])
    except (ParseError, RecursionError, ValueError, KeyError, TypeError, IndexError) as error:
        return Ordering(loose=f"unread: {type(error).__name__}")


@dataclass(slots=True)
class _Open:
    """What was found open in a part of the statement."""

    bags: list[tuple[Bag, str | None]] = field(default_factory=list)
    sums: list[Sum] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    looks: bool = False


class _Reading:
    """One walk."""

    def __init__(self) -> None:
        self.merges = False
        self.calls: set[Name] = set()
        self.relations: set[Name] = set()
        self.ctes: set[str] = set()
        self.loose = ""
        self._select: Node = {}  # the innermost query

    def top(self, select: Node) -> Ordering:
        """The whole statement."""
        rest = _Open()
        self._named(select)
        columns: tuple[Column, ...] | None = None
        if select.get("op", "SETOP_NONE") == "SETOP_NONE" and "valuesLists" not in select:
            self._select = select
            columns = self._columns(select, rest)
            skipped = ("targetList", "limitCount", "limitOffset", "limitOption")
            self._parts(select, rest, skipped)
        else:
            self._parts(select, rest, ("limitCount", "limitOffset", "limitOption"))
        self._merging(select)
        if rest.bags:
            self.loose = self.loose or "aggregate"
        limit = _number(select.get("limitCount"))
        return Ordering(
            columns=columns,
            keys=tuple(self._keys(select)),
            rows=self._shadowed(self._order_of(select)),
            # DISTINCT ON chooses, too, however few there are.
            limited=_cuts(select) or _distinct_on(select),
            limit=None if select.get("limitOffset") or _distinct_on(select) else limit,
            merges=self.merges,
            sums=tuple(rest.sums),
            choices=tuple(map(self._shadowed, rest.choices)),
            loose=self.loose,
            calls=frozenset(self.calls),
            relations=frozenset(self.relations),
        )

    def _named(self, select: Node) -> None:
        for item in select.get("withClause", {}).get("ctes", ()):
            self.ctes.add(item["CommonTableExpr"]["ctename"])

    def _shadowed(self, choice: Choice) -> Choice:
        """A name of WITH is no relation."""
        name = choice.relation
        if name is not None and name.schema is None and name.name in self.ctes:
            return choice._replace(relation=None)
        return choice

    # Output columns.

    def _columns(self, select: Node, rest: _Open) -> tuple[Column, ...] | None:
        columns = []
        starred = False
        for target in select.get("targetList", ()):
            value = target["ResTarget"]["val"]
            starred |= _is_star(value)
            found = _Open()
            self._walk(value, found)
            bag, delimiter = self._bag_of(value, found)
            choices = tuple(map(self._shadowed, found.choices))
            direct = _is_sum(value)
            columns.append(Column(bag, delimiter, tuple(found.sums), choices, direct, found.looks))
        if not starred:
            return tuple(columns)
        if any(column not in (Column(), Column(looks=True)) for column in columns):
            # Which one that is cannot be told.
            self.loose = self.loose or "aggregate"
        return None

    def _bag_of(self, value: Node, found: _Open) -> tuple[Bag, str | None]:
        if not found.bags:
            return Bag.PLAIN, None
        while True:
            kind, body = next(iter(value.items()))
            if kind == "CoalesceExpr":
                first, *others = body["args"]
                if any("A_Const" not in other and "TypeCast" not in other for other in others):
                    return Bag.FREE, None
                value = first
            elif kind == "TypeCast" and "FuncCall" not in body.get("arg", {}):
                return Bag.FREE, None
            elif kind == "TypeCast":
                value = body["arg"]
            else:
                break
        if kind == "FuncCall":
            own = body["funcname"][-1]["String"]["sval"] in _BAGS and not body.get("over")
        else:
            own = kind in _JSON_NODES or body.get("subLinkType") == "ARRAY_SUBLINK"
        return found.bags[0] if own and len(found.bags) == 1 else (Bag.FREE, None)

    # The walk.

    def _walk(self, value: Any, found: _Open) -> None:
        if type(value) is list:
            for item in value:
                self._walk(item, found)
        elif type(value) is dict:
            for kind, body in value.items():
                if kind == "SelectStmt" or (kind in ("larg", "rarg") and not _wrapped(body)):
                    self._query(body, found)
                elif kind == "FuncCall":
                    self._call(body, found)
                elif kind == "SubLink":
                    self._sublink(body, found)
                elif kind == "RangeVar":
                    self.relations.add(Name(body.get("schemaname"), body["relname"]))
                elif kind in _JSON_NODES:
                    found.bags.append((_JSON_NODES[kind], None))
                    self._walk(body, found)
                elif kind == "funccall":
                    self._call(body, found)
                elif type(body) is dict or type(body) is list:
                    self._walk(body, found)

    def _parts(self, select: Node, found: _Open, skipped: tuple[str, ...]) -> None:
        for name, value in select.items():
            if name in skipped:
                continue
            self._walk({name: value}, found)

    def _query(self, select: Node, found: _Open, *, exists: bool = False) -> None:
        """A query inside of another one, or a branch of a UNION."""
        outer, self._select = self._select, select
        self._named(select)
        skipped: tuple[str, ...] = ("limitCount", "limitOffset", "limitOption")
        if exists:
            skipped += ("targetList", "sortClause", "distinctClause")
        self._parts(select, found, skipped)
        if not exists:
            self._merging(select)
            if _cuts(select) or _distinct_on(select):
                found.choices.append(self._order_of(select))
        self._select = outer

    def _sublink(self, body: Node, found: _Open) -> None:
        kind = body.get("subLinkType")
        query = body["subselect"]["SelectStmt"]
        self._walk(body.get("testexpr"), found)
        self._query(query, found, exists=kind == "EXISTS_SUBLINK")
        if kind == "ARRAY_SUBLINK":
            targets = query.get("targetList", ())
            sorts = query.get("sortClause", ())
            if len(targets) != 1 or not sorts or not self._sorts_by_first(query):
                found.bags.append((Bag.ARRAY, None))
            else:
                self.merges = True  # equal ones stand in any order

    def _sorts_by_first(self, select: Node) -> bool:
        node = select["sortClause"][0]["SortBy"]["node"]
        target = select["targetList"][0]["ResTarget"]
        return _number(node) == 1 or _same(node, target["val"])

    def _merging(self, select: Node) -> None:
        unites = select.get("op", "SETOP_NONE") != "SETOP_NONE" and not select.get("all")
        if unites or select.get("distinctClause") or select.get("groupClause"):
            self.merges = True

    def _call(self, body: Node, found: _Open) -> None:
        names = [part["String"]["sval"] for part in body["funcname"]]
        name = Name(names[-2] if len(names) > 1 else None, names[-1])
        self.calls.add(name)
        plain = name.schema in (None, "pg_catalog")
        window = body.get("over")
        self.merges |= plain and name.name in _MERGING
        found.looks |= plain and name.name in _LOOKS
        if plain and name.name in _BAGS and not self._settled(body):
            bag = _BAGS[name.name]
            if bag is Bag.STRINGS and not all(map(_is_constant, body.get("args", ())[1:])):
                bag = Bag.FREE  # the first one has none in front of it
            found.bags.append((bag, _delimiter(body)))
        elif plain and name.name in _BAGS:
            self.merges = True  # one of those that are equal stays, or they stand in any order
        elif plain and (name.name in _SUMS or name.name in _FLOAT_SUMS):
            columns, floats = _made_of(body.get("args", []))
            floats |= name.name in _FLOAT_SUMS or (bool(columns) and self._renames())
            found.sums.append(Sum(frozenset(columns), floats))
        if window is not None and not (plain and name.name in _RANKS):
            window = self._window(window)
            usual = window.get("frameOptions", _USUAL_FRAME) == _USUAL_FRAME
            if not usual or (plain and name.name in _PLACES):
                parts = list(window.get("partitionClause", ()))
                parts += [item["SortBy"]["node"] for item in window.get("orderClause", ())]
                found.choices.append(self._order_of(self._select, parts))
        self._walk({key: value for key, value in body.items() if key != "funcname"}, found)

    def _renames(self) -> bool:
        """Whether names of columns may mean something else here than columns of relations."""
        for source in _sources(self._select.get("fromClause", ())):
            table = source.get("RangeVar")
            if table is None or "colnames" in table.get("alias", {}):
                return True
            if "schemaname" not in table and table["relname"] in self.ctes:
                return True
        return False

    def _window(self, window: Node) -> Node:
        """The window that a call names, with what it adds."""
        name = window.get("name") or window.get("refname")
        for known in self._select.get("windowClause", ()):
            definition = known["WindowDef"]
            if name is not None and definition.get("name") == name:
                base = self._window({**definition, "name": definition.get("refname")})
                added = {key: value for key, value in window.items() if key != "frameOptions"}
                frame = window.get("frameOptions", _USUAL_FRAME)
                own = frame if window.get("refname") else base.get("frameOptions", _USUAL_FRAME)
                return {**base, **added, "name": None, "refname": None, "frameOptions": own}
        return window

    def _settled(self, body: Node) -> bool:
        """Whether the order in which an aggregate meets its values cannot be seen."""
        if body.get("agg_distinct"):
            return True
        sorts = body.get("agg_order", ())
        arguments = body.get("args", ())
        return bool(sorts and arguments) and _same(sorts[0]["SortBy"]["node"], arguments[0])

    # Orders.

    def _order_of(self, select: Node, parts: list[Node] | None = None) -> Choice:
        """The order of a query's rows, or that of `parts`, expressions over the same rows."""
        targets = select.get("targetList", [])
        sorts = [
            item["SortBy"]["node"]
            for item in select.get("sortClause", ())
            if item["SortBy"].get("sortby_dir") != "SORTBY_USING"
        ]
        wanted = [_meant(node, targets) for node in sorts] if parts is None else parts
        groups = select.get("groupClause", [])
        if select.get("op", "SETOP_NONE") != "SETOP_NONE" or "valuesLists" in select:
            return OPEN
        if groups:
            # Here a column goes before an output name of the same name; either may be meant.
            meant = [_meant(node, targets) for node in groups] + [
                node for node in groups if _number(node) is None
            ]
            plain = all("GroupingSet" not in node for node in groups) and not any(
                _may_multiply(target["ResTarget"]["val"]) for target in targets
            )
            sure = plain and all(any(_same(one, other) for other in wanted) for one in meant)
            return Choice(sure=sure and not select.get("distinctClause"))
        if select.get("distinctClause") and not _distinct_on(select):
            return OPEN
        source = select.get("fromClause", [])
        if len(source) != 1 or "RangeVar" not in source[0]:
            return OPEN
        if any(_may_multiply(target["ResTarget"]["val"]) for target in targets):
            return OPEN
        table = source[0]["RangeVar"]
        label = table.get("alias", {}).get("aliasname", table["relname"])
        if "colnames" in table.get("alias", {}):
            return OPEN
        columns = {name for node in wanted if (name := _column(node, label)) is not None}
        columns |= _pinned(select.get("whereClause"), label)
        return Choice(Name(table.get("schemaname"), table["relname"]), frozenset(columns))

    def _keys(self, select: Node) -> list[str | int]:
        """Output columns that the rows are sorted by."""
        targets = select.get("targetList", [])
        starred = any(_is_star(target["ResTarget"]["val"]) for target in targets)
        keys: list[str | int] = []
        for item in select.get("sortClause", ()):
            sort = item["SortBy"]
            node = sort["node"]
            if sort.get("sortby_dir") == "SORTBY_USING":
                break
            place = _number(node)
            if place is not None:
                keys.append(place - 1)
                continue
            fields = _fields(node)
            if fields is not None and len(fields) == 1:
                # An output name goes before a column of the same name.
                keys.append(fields[0])
                continue
            for at, target in enumerate(targets):
                if not starred and _same(node, target["ResTarget"]["val"]):
                    keys.append(at)
                    break
        return keys


# Nodes.


def _wrapped(body: Node) -> bool:
    """Whether a node stands in its kind, as the sides of a join do; branches of UNION do not."""
    return len(body) == 1 and next(iter(body))[0].isupper()


def _same(one: Any, other: Any) -> bool:
    """Whether two nodes say the same, wherever they stand."""
    if type(one) is not type(other):
        return False
    if type(one) is list:
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is dict:
        names = {name for name in (*one, *other) if name != "location"}
        return all(
            name in one and name in other and _same(one[name], other[name]) for name in names
        )
    return bool(one == other)


def _fields(node: Node) -> list[str] | None:
    """The parts of a column's name; None where it is something else."""
    reference = node.get("ColumnRef")
    if reference is None or any("String" not in part for part in reference["fields"]):
        return None
    return [part["String"]["sval"] for part in reference["fields"]]


def _column(node: Node, label: str) -> str | None:
    """The name of a column of the only relation, which is called `label`."""
    fields = _fields(node)
    if fields is None or (len(fields) > 1 and fields[-2] != label):
        return None
    return fields[-1]


def _is_star(value: Node) -> bool:
    reference = value.get("ColumnRef") or value.get("A_Indirection")
    parts = [] if reference is None else reference.get("fields") or reference.get("indirection")
    return any("A_Star" in part for part in parts or ())


def _number(node: Node | None) -> int | None:
    """A whole number that stands there."""
    constant = (node or {}).get("A_Const", {})
    number = constant.get("ival")
    return None if number is None else int(number.get("ival", 0))


def _meant(node: Node, targets: list[Node]) -> Node:
    """What an item of ORDER BY or GROUP BY stands for: an output column by place or name."""
    place = _number(node)
    if place is not None:
        before = [target["ResTarget"]["val"] for target in targets[:place]]
        if len(before) < place or any(map(_is_star, before)):
            return {}
        return dict(before[-1])
    fields = _fields(node)
    if fields is not None and len(fields) == 1:
        for target in targets:
            value = target["ResTarget"]["val"]
            name = target["ResTarget"].get("name")
            if (name or (None if _is_star(value) else figure_name(value))) == fields[0]:
                return dict(value)
    return node


def _cuts(select: Node) -> bool:
    """Whether LIMIT or OFFSET may leave out some of several rows that are equal in order."""
    if select.get("limitOffset") and _number(select["limitOffset"]) != 0:
        return True
    count = select.get("limitCount")
    if count is None or count.get("A_Const", {}).get("isnull") or _number(count) == 0:
        return False
    return bool(select.get("limitOption") != "LIMIT_OPTION_WITH_TIES")


def _sources(nodes: Iterable[Node]) -> Iterator[Node]:
    """What is read in a FROM, joins taken apart."""
    for node in nodes:
        join = node.get("JoinExpr")
        if join is None:
            yield node
        elif "alias" in join:
            yield {}
        else:
            yield from _sources((join["larg"], join["rarg"]))


def _is_sum(value: Node) -> bool:
    call = value.get("FuncCall")
    names = [] if call is None else [part["String"]["sval"] for part in call["funcname"]]
    return names[-1:] != [] and names[-1] in _SUMS and names[:-1] in ([], ["pg_catalog"])


def _distinct_on(select: Node) -> bool:
    # DISTINCT alone is a list of one empty node.
    return any(select.get("distinctClause", ()))


def _pinned(where: Node | None, label: str) -> set[str]:
    """Columns that have to be equal to a constant or a parameter."""
    if not where:
        return set()
    kind, body = next(iter(where.items()))
    if kind == "BoolExpr" and body.get("boolop") == "AND_EXPR":
        found: set[str] = set()
        for part in body["args"]:
            found |= _pinned(part, label)
        return found
    if kind == "A_Expr" and body.get("kind") == "AEXPR_OP" and _operator(body) == "=":
        sides = body.get("lexpr", {}), body.get("rexpr", {})
        for one, other in (sides, sides[::-1]):
            name = _column(one, label)
            if name is not None and _is_constant(other):
                return {name}
    return set()


def _operator(body: Node) -> str:
    names = body.get("name", ())
    return str(names[0]["String"]["sval"]) if len(names) == 1 else ""


def _is_constant(node: Node) -> bool:
    if "TypeCast" in node:
        node = node["TypeCast"]["arg"]
    return "A_Const" in node or "ParamRef" in node


def _may_multiply(value: Any) -> bool:
    """Whether a target may hold a set-returning function: one row becomes several."""
    if type(value) is list:
        return any(map(_may_multiply, value))
    if type(value) is not dict:
        return False
    for kind, body in value.items():
        if kind == "SubLink":
            continue  # one value
        if kind == "FuncCall":
            name = body["funcname"][-1]["String"]["sval"]
            window = "over" in body
            if not window and (len(body["funcname"]) > 1 or name not in _SCALARS):
                return True
        if _may_multiply(body):
            return True
    return False


def _delimiter(body: Node) -> str | None:
    arguments = body.get("args", ())
    if len(arguments) != 2:
        return None
    text = arguments[1].get("A_Const", {}).get("sval", {}).get("sval")
    return None if text is None else str(text)


def _made_of(value: Any) -> tuple[set[str], bool]:
    """The columns in an expression, and whether it may be a float beyond them."""
    columns: set[str] = set()
    floats = False
    if type(value) is list:
        for item in value:
            more, also = _made_of(item)
            columns |= more
            floats |= also
    elif type(value) is dict:
        for kind, body in value.items():
            if kind == "ColumnRef":
                fields = _fields({kind: body})
                floats |= fields is None
                columns |= set(fields[-1:]) if fields else set()
            elif kind == "TypeCast":
                # Any other type may be, or hold, floats.
                floats |= body["typeName"]["names"][-1]["String"]["sval"] not in _EXACT_TYPES
            elif kind in ("FuncCall", "SubLink", "ParamRef"):
                floats = True
            elif kind == "A_Expr" and body["kind"] == "AEXPR_OP":
                floats |= _operator(body) not in _EXACT_OPERATORS
                more, also = _made_of([body.get("lexpr"), body.get("rexpr")])
                columns |= more
                floats |= also
            elif type(body) is dict or type(body) is list:
                more, also = _made_of(body)
                columns |= more
                floats |= also
    return columns, floats
