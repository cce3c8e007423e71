"""Walk over the parser's JSON: collects what a query or a DML statement names.

What lives here: the walk, the scopes of common table expressions, and the list
of constructs that reads may use. What must not: any catalog knowledge.
Followed: the node types of PostgreSQL's raw parse trees (parsenodes.h), as the
protobuf JSON of libpg_query spells them. A node is `{"Kind": {...}}`; fields of
one fixed node type hold the body alone (`TYPED`). A kind that is on no list
makes the statement unsupported for reads and unknown for writes (F9).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.reasons import Reason
from proxy.sql.documents import HANDLERS, PARTS, keyword_calls
from proxy.sql.facts import Call, Cast, Facts, Name, Shape, StatementKind, Target
from proxy.sql.literals import says_clock
from proxy.sql.shapes import IMPLICIT_CAST_NAMES, OUT_NAMES, SCALAR_SETS, figure_name, shape_of

Node = dict[str, Any]
Scope = frozenset[str]

# Fields that hold the body of one node type without naming it.
TYPED = {
    "alias": "Alias",
    "join_using_alias": "Alias",
    "relation": "RangeVar",
    "rel": "RangeVar",
    "typeName": "TypeName",
    "larg": "SelectStmt",
    "rarg": "SelectStmt",
    "withClause": "WithClause",
    "over": "WindowDef",
    "search_clause": "CTESearchClause",
    "cycle_clause": "CTECycleClause",
    "intoClause": "IntoClause",
    "into": "IntoClause",
    "onConflictClause": "OnConflictClause",
    "infer": "InferClause",
    "returningClause": "ReturningClause",
    "funccall": "FuncCall",
    "collClause": "CollateClause",
    "format": "JsonFormat",
    "output": "JsonOutput",
    "returning": "JsonReturning",
    "constructor": "JsonAggConstructor",
    "context_item": "JsonValueExpr",
    "pathspec": "JsonTablePathSpec",
    "on_empty": "JsonBehavior",
    "on_error": "JsonBehavior",
    "value": "JsonValueExpr",
    "expr": "JsonValueExpr",
    "val": "JsonValueExpr",
    "arg": "JsonValueExpr",  # or JsonKeyValue, which is treated alike
    "pktable": "RangeVar",
    "ofTypename": "TypeName",
}

# Constructs that a cacheable read may hold beside those with a handler of their own.
_PLAIN = PARTS | frozenset(
    "A_Star A_Indices A_ArrayExpr Alias BoolExpr Boolean BooleanTest BitString CaseExpr "
    "CaseWhen CoalesceExpr CollateClause Float GroupingFunc GroupingSet Integer List "
    "MinMaxExpr NamedArgExpr NullTest ParamRef RowExpr String WindowDef".split()
)
# Constructs that cannot write by themselves; what they hold is walked.
_HARMLESS = frozenset(
    "SetToDefault CurrentOfExpr OnConflictClause InferClause IndexElem ReturningClause "
    "ReturningOption ReturningExpr MultiAssignRef MergeWhenClause DefElem MergeSupportFunc".split()
)
_SYSTEM_COLUMNS = frozenset(("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"))
_CLOCK_VALUES = ("SVFOP_CURRENT_DATE", "SVFOP_CURRENT_TIME", "SVFOP_LOCALTIME")
_BETWEEN = {
    "AEXPR_BETWEEN",
    "AEXPR_NOT_BETWEEN",
    "AEXPR_BETWEEN_SYM",
    "AEXPR_NOT_BETWEEN_SYM",
    "AEXPR_PAREN",
}
_EVENTS = {"CMD_INSERT": "i", "CMD_UPDATE": "u", "CMD_DELETE": "d", "CMD_NOTHING": ""}
# Types whose input reads neither clock nor catalog; casts to them need no second look.
PLAIN_TYPES = frozenset(
    "bool int2 int4 int8 float4 float8 numeric text varchar bpchar uuid json jsonb bytea "
    "interval bit varbit".split()
)


class Walker:
    """Collects the facts of one statement; one instance per statement."""

    def __init__(self) -> None:
        self.relations: set[Name] = set()
        self.targets: list[Target] = []
        self.calls: set[Call] = set()
        self.operators: set[Name] = set()
        self.types: set[Name] = set()
        self.casts: list[Cast] = []
        self.dotted: set[str] = set()
        self.derived: dict[str, Shape] = {}
        self.open_columns = False
        self.value_function = Reason.NONE
        self.asks: set[str] = set()
        self.clock_literal = False
        self.time_zoned = False
        self.unsupported = ""
        self.unknown = ""
        self.locking = False
        self.sampling = False
        self.positioned = False
        self.system_column = False
        self.into = False
        self.temporary = False
        self._scope: Scope = frozenset()
        self._depth = 0

    def facts(self, kind: StatementKind, tag: str, **more: Any) -> Facts:
        """Freeze what was collected."""
        return Facts(
            kind=kind,
            tag=tag,
            relations=frozenset(self.relations),
            targets=tuple(self.targets),
            calls=frozenset(self.calls),
            operators=frozenset(self.operators),
            types=frozenset(self.types),
            casts=tuple(self.casts),
            dotted=frozenset(self.dotted),
            derived=self.derived,
            open_columns=self.open_columns,
            value_function=self.value_function,
            asks=frozenset(self.asks),
            clock_literal=self.clock_literal,
            time_zoned=self.time_zoned,
            unsupported=self.unsupported,
            unknown=self.unknown,
            locking=self.locking,
            sampling=self.sampling,
            positioned=self.positioned,
            system_column=self.system_column,
            into=self.into,
            **({"temporary": self.temporary} | more),
        )

    # The walk.

    def node(self, node: Node) -> None:
        """Walk one wrapped node."""
        for kind, body in node.items():
            handler = _METHODS.get(kind)
            if handler is not None:
                handler(self, body)
            else:
                self._other(kind, body)

    def nodes(self, nodes: list[Node]) -> None:
        for node in nodes:
            self.node(node)

    def body(self, body: Node, skip: tuple[str, ...] = ()) -> None:
        """Walk all fields of a node's body."""
        for field, value in body.items():
            if field not in skip:
                self.field(field, value)

    def field(self, field: str, value: Any) -> None:
        if type(value) is list:
            for item in value:
                if type(item) is dict:
                    self.node(item)
        elif type(value) is dict:
            if len(value) == 1 and next(iter(value))[0].isupper():
                self.node(value)
            else:
                kind = TYPED.get(field, "?" + field)
                handler = _METHODS.get(kind)
                if handler is not None:
                    handler(self, value)
                else:
                    self._other(kind, value)

    def _other(self, kind: str, body: Any) -> None:
        if kind not in _PLAIN:
            self.unsupported = self.unsupported or kind
            if kind not in _HARMLESS:
                self.unknown = self.unknown or kind
            self.positioned = self.positioned or kind == "CurrentOfExpr"
            keyword_calls(self, kind)
        if type(body) is dict:
            self.body(body)

    # Queries.

    def _select(self, body: Node) -> None:
        outer = self._scope
        clause = body.get("withClause")
        if clause is not None:
            self._with(clause)
        for field, value in body.items():
            if field == "targetList":
                for target in value:
                    self._output(target["ResTarget"])
            elif field == "lockingClause":
                self.locking = True
            elif field == "intoClause":
                self.into = True
                self.temporary = value["rel"].get("relpersistence") == "t"
            elif field != "withClause":
                self.field(field, value)
        if self._depth and "valuesLists" in body:
            for number in range(len(body["valuesLists"][0]["List"]["items"])):
                self.derive(f"column{number + 1}", False)
        self._scope = outer

    def _output(self, target: Node) -> None:
        value = target.get("val")
        if value is None:
            return
        if self._depth:
            name = target.get("name")
            if name is None and "ColumnRef" not in value:
                name = figure_name(value)
            if name is not None:
                self.derive(name, shape_of(value))
        self.node(value)

    def derive(self, name: str, shape: Shape | None) -> None:
        """A column gets this name here, whatever else has it."""
        shape = False if shape is None else shape
        known = self.derived.get(name)
        if known is None:
            self.derived[name] = shape
        elif known != shape:
            self.derived[name] = (known, shape)

    def _with(self, clause: Node) -> None:
        """Common table expressions: a name is in scope after, or with RECURSIVE everywhere."""
        recursive = clause.get("recursive", False)
        expressions = [cte["CommonTableExpr"] for cte in clause["ctes"]]
        if recursive:
            self._scope |= {cte["ctename"] for cte in expressions}
        self._depth += 1
        for cte in expressions:
            for column in cte.get("aliascolnames", ()):
                self.derive(column["String"]["sval"], False)
            self.body(cte, skip=("aliascolnames",))
            if not recursive:
                self._scope |= {cte["ctename"]}
        self._depth -= 1

    def _search(self, body: Node) -> None:
        for key, value in body.items():
            if key.endswith("_column") and type(value) is str:
                self.derive(value, False)
        self.body(body)

    def _range_var(self, body: Node) -> None:
        name = body["relname"]
        schema = body.get("schemaname")
        if schema is not None or name not in self._scope:
            self.relations.add(Name(schema, name))
        if "alias" in body:
            self.renamed(body["alias"])

    def renamed(self, alias: Node) -> None:
        """`AS x(a, b)` gives new names to columns of any type."""
        for column in alias.get("colnames", ()):
            self.derive(column["String"]["sval"], False)

    def _range_subselect(self, body: Node) -> None:
        self.renamed(body.get("alias", {}))
        self._nested(body.get("subquery"))

    def _nested(self, node: Node | None) -> None:
        if node is not None:
            self._depth += 1
            self.node(node)
            self._depth -= 1

    def _range_function(self, body: Node) -> None:
        alias = body.get("alias", {})
        columns = [column["String"]["sval"] for column in alias.get("colnames", ())]
        calls = [item["List"]["items"][0] for item in body.get("functions", ())]
        names = [
            call["FuncCall"]["funcname"][-1]["String"]["sval"]
            for call in calls
            if "FuncCall" in call
        ]
        sure = names == ["generate_series"]
        if not columns:
            columns = [alias["aliasname"]] if alias else []
            columns += names
        for position, column in enumerate(columns):
            self.derive(column, sure and (position == 0 or not alias.get("colnames")))
        for name in names:
            for column in OUT_NAMES.get(name, ()):
                self.derive(column, False)
        known = all(name in SCALAR_SETS or name in OUT_NAMES for name in names)
        if len(names) != len(calls) or not known:
            self.open_columns = True
        for item in body.get("functions", ()):
            function, *definitions = item["List"]["items"]
            if names == ["unnest"] and len(function["FuncCall"].get("args", ())) > 1:
                self._unnest(function["FuncCall"])
            else:
                self.node(function)
            for definition in definitions:
                for column in definition.get("List", {}).get("items", ()):
                    self._column_def(column["ColumnDef"])
        for column in body.get("coldeflist", ()):
            self._column_def(column["ColumnDef"])

    def _unnest(self, body: Node) -> None:
        """`FROM unnest(a, b)` is read as `ROWS FROM (unnest(a), unnest(b))`."""
        self.calls.add(Call(_name(body["funcname"]), 1))
        self.body(body, skip=("funcname",))

    def _column_def(self, body: Node) -> None:
        """A column of `f() AS x(a date)`: text inside f's answer is read as that type."""
        self.derive(body["colname"], False)
        self.cast_to(body["typeName"], False)

    def _table_sample(self, body: Node) -> None:
        self.sampling = True
        self.body(body, skip=("method",))

    def _join(self, body: Node) -> None:
        self.renamed(body.get("alias", {}))
        for side in ("larg", "rarg"):
            if side in body:
                self.node(body[side])
        if "quals" in body:
            self.node(body["quals"])

    def _sort(self, body: Node) -> None:
        if "useOp" in body:
            self.operators.add(_name(body["useOp"]))
        self.node(body["node"])

    # Expressions.

    def _column(self, body: Node) -> None:
        fields = body["fields"]
        if len(fields) == 1:
            name = fields[0].get("String")
            if name is not None and name["sval"] in _SYSTEM_COLUMNS:
                self.system_column = True
            return
        name = fields[-1].get("String")
        if name is None:
            if len(fields) > 3:
                self.open_columns = True
            return
        self.dotted.add(name["sval"])
        if name["sval"] in _SYSTEM_COLUMNS:
            self.system_column = True

    def _constant(self, body: Node) -> None:
        value = body.get("sval")
        if value is not None and says_clock(value.get("sval", "")):
            self.clock_literal = True

    def _expression(self, body: Node) -> None:
        if body["kind"] not in _BETWEEN:
            self.operators.add(_name(body["name"]))
        if "lexpr" in body:
            self.node(body["lexpr"])
        if "rexpr" in body:
            self.node(body["rexpr"])

    def _call(self, body: Node) -> None:
        name = _name(body["funcname"])
        arguments = body.get("args", ())
        count = len(arguments)
        if body.get("agg_within_group"):
            count += len(body.get("agg_order", ()))
        literal = text_of(arguments[0]) if arguments else None
        self.calls.add(Call(name, count, body.get("func_variadic", False), literal))
        if name.name == "timezone" and any("ParamRef" in value for value in arguments[-1:]):
            self.time_zoned = True  # AT LOCAL gives no zone
        if count == 1 and name.name in IMPLICIT_CAST_NAMES:
            self.casts.append(Cast(name, shape_of(arguments[0]), call=True))
        elif count == 1 and not body.get("agg_within_group"):
            # A user's type may have any name; whether it is one is seen in the catalog.
            self.casts.append(Cast(name, False, call=True))
        self.body(body, skip=("funcname",))

    def _cast(self, body: Node) -> None:
        self.cast_to(body["typeName"], shape_of(body["arg"]))
        self.node(body["arg"])

    def cast_to(self, type_name: Node, shape: Shape | None) -> None:
        """A value of this shape becomes one of a type."""
        name = self._type(type_name)
        if name is not None and not (name.name in PLAIN_TYPES and shape is None):
            self.casts.append(Cast(name, shape))

    def _type(self, body: Node) -> Name | None:
        names = body.get("names")
        if not names or body.get("pct_type"):
            self.unsupported = self.unsupported or "TypeName"
            return None
        name = _name(names)
        self.types.add(name)
        return name

    def _indirection(self, body: Node) -> None:
        for step in body.get("indirection", ()):
            if "String" in step:
                self.dotted.add(step["String"]["sval"])
                if step["String"]["sval"] in _SYSTEM_COLUMNS:
                    self.system_column = True
            elif "A_Star" in step:
                self.open_columns = True
        self.body(body)

    def _sublink(self, body: Node) -> None:
        if "operName" in body:
            self.operators.add(_name(body["operName"]))
        if "testexpr" in body:
            self.node(body["testexpr"])
        self._nested(body.get("subselect"))

    def _value_function(self, body: Node) -> None:
        if body["op"].startswith(_CLOCK_VALUES):
            self.value_function = Reason.CLOCK
        else:
            self.asks.add(body["op"].removeprefix("SVFOP_").lower())

    # Data-modifying statements, on top or in a common table expression.

    def _insert(self, body: Node) -> None:
        conflict = body.get("onConflictClause", {}).get("action") == "ONCONFLICT_UPDATE"
        self._modify(body, "iu" if conflict else "i")

    def _update(self, body: Node) -> None:
        self._modify(body, "u")

    def _delete(self, body: Node) -> None:
        self._modify(body, "d")

    def _merge(self, body: Node) -> None:
        clauses = [clause["MergeWhenClause"] for clause in body.get("mergeWhenClauses", ())]
        events = {_EVENTS.get(clause["commandType"], "iud") for clause in clauses}
        self._modify(body, "".join(sorted(set("".join(events)))))

    def _modify(self, body: Node, events: str) -> None:
        relation = body["relation"]
        name = Name(relation.get("schemaname"), relation["relname"])
        self.targets.append(Target(name, events))
        self.unsupported = self.unsupported or "modify"
        outer = self._scope
        if "withClause" in body:
            self._with(body["withClause"])
        self.body(body, skip=("relation", "withClause"))
        self._scope = outer

    def _res_target(self, body: Node) -> None:
        """An item of SET, of an INSERT's column list, of RETURNING."""
        self.body(body)


_METHODS: dict[str, Callable[[Walker, Any], Any]] = {
    "SelectStmt": Walker._select,
    "InsertStmt": Walker._insert,
    "UpdateStmt": Walker._update,
    "DeleteStmt": Walker._delete,
    "MergeStmt": Walker._merge,
    "ResTarget": Walker._res_target,
    "WithClause": Walker._with,
    "CTESearchClause": Walker._search,
    "CTECycleClause": Walker._search,
    "RangeVar": Walker._range_var,
    "RangeSubselect": Walker._range_subselect,
    "RangeFunction": Walker._range_function,
    "RangeTableSample": Walker._table_sample,
    "JoinExpr": Walker._join,
    "SortBy": Walker._sort,
    "ColumnRef": Walker._column,
    "A_Const": Walker._constant,
    "A_Expr": Walker._expression,
    "FuncCall": Walker._call,
    "TypeCast": Walker._cast,
    "TypeName": Walker._type,
    "A_Indirection": Walker._indirection,
    "SubLink": Walker._sublink,
    "SQLValueFunction": Walker._value_function,
    **HANDLERS,
}


def text_of(node: Node) -> str | None:
    """The text that a string literal is, or one that is cast to text; None for others."""
    cast = node.get("TypeCast")
    if cast is not None:
        names = cast["typeName"].get("names", ())
        if not names or _name(names) not in _TEXT or "arrayBounds" in cast["typeName"]:
            return None
        node = cast["arg"]
    constant = node.get("A_Const", {})
    text: str | None = constant["sval"].get("sval", "") if "sval" in constant else None
    return text


_TEXT = (Name(None, "text"), Name("pg_catalog", "text"))


def _name(parts: list[Node]) -> Name:
    """The last one or two parts of a qualified name; a database in front is dropped."""
    if len(parts) == 1:
        return Name(None, parts[0]["String"]["sval"])
    return Name(parts[-2]["String"]["sval"], parts[-1]["String"]["sval"])
