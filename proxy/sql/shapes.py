"""Which expressions are surely not text, and which names they give to columns.

What lives here: the part of the analysis that decides whether text from a table
could reach a date or time type (K5, CLOCK_CAST). What must not: catalog access;
columns stay names. Followed: FigureColname of PostgreSQL's parse_target.c.
"""

from __future__ import annotations

from typing import Any

from proxy.sql.facts import Shape

Node = dict[str, Any]

# Types whose values are not text: a cast from them to a date or time never parses 'now'.
CLOCK_TYPES = frozenset(
    "date time timetz timestamp timestamptz daterange tsrange tstzrange "
    "datemultirange tsmultirange tstzmultirange".split()
)
SURE_TYPES = CLOCK_TYPES | frozenset("interval int2 int4 int8 float4 float8 numeric bool".split())
_BOOLEAN = frozenset("BoolExpr BooleanTest NullTest JsonIsPredicate".split())
# Built-in functions none of whose overloads returns text, and that are no type names.
_SURE_FUNCTIONS = frozenset(
    "date_trunc date_bin make_date make_time make_timestamp make_timestamptz make_interval "
    "to_timestamp to_date timezone age date_part extract now clock_timestamp "
    "statement_timestamp transaction_timestamp justify_days justify_hours justify_interval "
    "count avg sum round floor ceil ceiling trunc abs sign mod power sqrt length char_length "
    "octet_length position strpos cardinality array_length row_number rank dense_rank ntile "
    "date_add date_subtract".split()
)
# Functions that return what they are given.
_SAME_FUNCTIONS = frozenset("min max first_value last_value lag lead nth_value any_value".split())

# `f(x)` with one argument is a cast where f is a type and no function fits.
IMPLICIT_CAST_NAMES = CLOCK_TYPES

# Functions in FROM whose only column is named by the alias or by the function.
SCALAR_SETS = frozenset(
    "generate_series generate_subscripts unnest json_object_keys jsonb_object_keys "
    "regexp_split_to_table string_to_table regexp_matches jsonb_path_query "
    "jsonb_path_query_tz now date_trunc".split()
)
# Functions in FROM with named columns.
OUT_NAMES = {
    "json_array_elements": ("value",),
    "jsonb_array_elements": ("value",),
    "json_array_elements_text": ("value",),
    "jsonb_array_elements_text": ("value",),
    "json_each": ("key", "value"),
    "jsonb_each": ("key", "value"),
    "json_each_text": ("key", "value"),
    "jsonb_each_text": ("key", "value"),
    "unnest": ("lexeme", "positions", "weights"),  # of a tsvector
}


def shape_of(node: Node) -> Shape | None:
    """Say how sure it is that an expression is not text; `None` for a literal or parameter."""
    ((kind, body),) = node.items()
    if kind == "A_Const":
        return None if "sval" in body or "isnull" in body else True
    if kind == "ParamRef":
        return None
    if kind == "ColumnRef":
        name = body["fields"][-1].get("String")
        return name["sval"] if name is not None else False
    if kind == "TypeCast":
        return type_shape(body["typeName"])
    if kind in _BOOLEAN or (kind == "SubLink" and body["subLinkType"] == "EXISTS_SUBLINK"):
        return True
    if kind == "JsonFuncExpr":
        if "output" in body:
            return type_shape(body["output"]["typeName"])
        return bool(body["op"] == "JSON_EXISTS_OP")
    if kind == "SQLValueFunction":
        return bool(body["op"].startswith(("SVFOP_CURRENT_DATE", "SVFOP_CURRENT_TIME", "SVFOP_LO")))
    if kind == "FuncCall":
        return _call_shape(body)
    if kind == "A_Expr":
        return _expression_shape(body)
    if kind in ("CoalesceExpr", "MinMaxExpr"):
        return _all(body["args"])
    if kind == "CaseExpr":
        results = [case["CaseWhen"]["result"] for case in body["args"]]
        return _all(results + ([body["defresult"]] if "defresult" in body else []))
    return False


def type_shape(body: Node) -> bool:
    """Whether values of a type, given by its TypeName, are surely no text."""
    names = body.get("names", ())
    return bool(names) and names[-1]["String"]["sval"] in SURE_TYPES


def _call_shape(body: Node) -> Shape:
    name = body["funcname"][-1]["String"]["sval"]
    arguments = body.get("args", ())
    if name in _SURE_FUNCTIONS:
        return True
    if name in _SAME_FUNCTIONS and arguments:
        return _all(arguments[:1])
    return False


def _expression_shape(body: Node) -> Shape:
    """`sure + anything` is sure: no built-in + or - of a date or a number gives text."""
    name = body["name"][-1]["String"]["sval"]
    if body["kind"] != "AEXPR_OP" or name not in ("+", "-") or "lexpr" not in body:
        return False
    return _all([body["lexpr"]])


def _all(nodes: list[Node]) -> Shape:
    """Sure if all that are no literals are sure, and there is one such."""
    shapes = {shape for node in nodes if (shape := shape_of(node)) is not None}
    if not shapes or False in shapes:
        return False
    shapes.discard(True)
    return tuple(shapes) if shapes else True


def figure_name(node: Node) -> str | None:
    """The column name that PostgreSQL gives to an expression without AS."""
    return _figure(node)[0]


def _figure(node: Node) -> tuple[str | None, int]:
    ((kind, body),) = node.items()
    if kind == "ColumnRef":
        name = body["fields"][-1].get("String")
        return (name["sval"], 2) if name is not None else (None, 0)
    if kind == "A_Indirection":
        names = [step["String"]["sval"] for step in body["indirection"] if "String" in step]
        return (names[-1], 2) if names else _figure(body["arg"])
    if kind == "FuncCall":
        return body["funcname"][-1]["String"]["sval"], 2
    if kind == "TypeCast":
        name, strength = _figure(body["arg"])
        names = body["typeName"].get("names")
        return (names[-1]["String"]["sval"], 1) if strength <= 1 and names else (name, strength)
    if kind == "CollateClause":
        return _figure(body["arg"])
    if kind == "CaseExpr":
        name, strength = _figure(body["defresult"]) if "defresult" in body else (None, 0)
        return (name, strength) if strength > 1 else ("case", 1)
    if kind == "SubLink":
        return _figure_sublink(body)
    if kind == "MinMaxExpr":
        return body["op"].removeprefix("IS_").lower(), 2
    if kind == "A_Expr":
        return ("nullif", 2) if body["kind"] == "AEXPR_NULLIF" else (None, 0)
    if kind in ("JsonFuncExpr", "XmlExpr"):
        name = body["op"].removesuffix("_OP").removeprefix("IS_").lower()
        return (None, 0) if name == "document" else (name, 2)
    if kind == "SQLValueFunction":
        return body["op"].removeprefix("SVFOP_").removesuffix("_N").lower(), 2
    return _FIXED_NAMES.get(kind, (None, 0))


def _figure_sublink(body: Node) -> tuple[str | None, int]:
    if body["subLinkType"] == "EXISTS_SUBLINK":
        return "exists", 2
    if body["subLinkType"] == "ARRAY_SUBLINK":
        return "array", 2
    if body["subLinkType"] != "EXPR_SUBLINK":
        return None, 0
    select = body["subselect"].get("SelectStmt", {})
    while "larg" in select:
        select = select["larg"]
    targets = select.get("targetList")
    if not targets:
        return None, 0
    target = targets[0]["ResTarget"]
    if "name" in target:
        return target["name"], 2
    return _figure(target["val"])


_FIXED_NAMES: dict[str, tuple[str | None, int]] = {
    "GroupingFunc": ("grouping", 2),
    "A_ArrayExpr": ("array", 2),
    "RowExpr": ("row", 2),
    "CoalesceExpr": ("coalesce", 2),
    "JsonParseExpr": ("json", 2),
    "JsonScalarExpr": ("json_scalar", 2),
    "JsonSerializeExpr": ("json_serialize", 2),
    "JsonObjectConstructor": ("json_object", 2),
    "JsonArrayConstructor": ("json_array", 2),
    "JsonArrayQueryConstructor": ("json_array", 2),
    "JsonObjectAgg": ("json_objectagg", 2),
    "JsonArrayAgg": ("json_arrayagg", 2),
    "MergeSupportFunc": ("merge_action", 2),
    "XmlSerialize": ("xmlserialize", 2),
}
