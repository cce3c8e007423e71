"""JSON and XML constructs of a query: SQL/JSON, JSON_TABLE, XMLTABLE and XML expressions.

What lives here: what these say beyond the expressions inside them, as handlers
for the walk. What must not: the walk itself, any catalog knowledge. Followed:
PostgreSQL's parse_expr.c, parse_jsontable.c and jsonpath_exec.c. Three things
hide in them. Types after RETURNING and of columns read text out of documents, so
a date among them may read 'now' (K5). JSON paths that compare a time with a time
of a zone ask which offset holds today (K5). And a server older than the grammar
reads most of these as calls of a user's function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from proxy.sql.facts import Call, Cast, Name
from proxy.sql.shapes import type_shape

if TYPE_CHECKING:
    from proxy.sql.walk import Walker

Node = dict[str, Any]

# What an older server takes the construct for.
OLDER_NAMES: dict[str, tuple[str, ...]] = {
    "JsonParseExpr": ("json",),
    "JsonScalarExpr": ("json_scalar",),
    "JsonSerializeExpr": ("json_serialize",),
    "JsonFuncExpr": ("json_exists", "json_value", "json_query"),
    "JsonObjectConstructor": ("json_object",),
    "JsonArrayConstructor": ("json_array",),
    "JsonArrayQueryConstructor": ("json_array",),
    "JsonObjectAgg": ("json_objectagg",),
    "JsonArrayAgg": ("json_arrayagg",),
    "JsonTable": ("json_table",),
    "MergeSupportFunc": ("merge_action",),
}
# The function that does the same with values of any type.
_SAME_AS = {
    "JsonScalarExpr": "to_json",
    "JsonObjectConstructor": "json_build_object",
    "JsonArrayConstructor": "json_build_array",
    "JsonArrayQueryConstructor": "json_agg",
    "JsonObjectAgg": "json_object_agg",
    "JsonArrayAgg": "json_agg",
}


def keyword_calls(walker: Walker, kind: str) -> None:
    """Count what an older server would call, a cast to a type of that name included."""
    for name in OLDER_NAMES.get(kind, ()):
        walker.calls.add(Call(Name(None, name), -1, keyword=True))
        walker.casts.append(Cast(Name(None, name), False, call=True))


def _constructor(kind: str) -> Callable[[Walker, Node], None]:
    def handle(walker: Walker, body: Node) -> None:
        keyword_calls(walker, kind)
        if kind in _SAME_AS:
            walker.calls.add(Call(Name("pg_catalog", _SAME_AS[kind]), -1, keyword=True))
        walker.body(body)

    return handle


def _output(walker: Walker, body: Node) -> None:
    """RETURNING: text of the document is read as that type."""
    walker.cast_to(body["typeName"], False)
    walker.body(body, skip=("typeName",))


def _query_function(walker: Walker, body: Node) -> None:
    keyword_calls(walker, "JsonFuncExpr")
    _path(walker, body.get("pathspec", {}), body.get("passing", ()))
    walker.body(body)


def _json_table(walker: Walker, body: Node) -> None:
    keyword_calls(walker, "JsonTable")
    walker.renamed(body.get("alias", {}))
    passing = body.get("passing", ())
    _path(walker, body["pathspec"]["string"], passing)
    _columns(walker, body["columns"], passing)
    walker.body(body, skip=("columns", "alias"))


def _columns(walker: Walker, columns: Sequence[Node], passing: Sequence[Node]) -> None:
    for item in columns:
        column = item["JsonTableColumn"]
        name = column.get("name")
        kind = column.get("coltype")
        if "pathspec" in column:
            _path(walker, column["pathspec"]["string"], passing)
        if name is not None and "typeName" in column:
            walker.derive(name, type_shape(column["typeName"]))
            walker.cast_to(column["typeName"], kind == "JTC_EXISTS")
        elif name is not None:
            walker.derive(name, kind == "JTC_FOR_ORDINALITY")
        _columns(walker, column.get("columns", ()), passing)
        walker.body(column, skip=("columns", "typeName"))


def _path(walker: Walker, path: Node, passing: Sequence[Node]) -> None:
    """A JSON path that could compare times may read the clock (K5).

    Times come from methods such as `.time()`, which a backslash may spell otherwise,
    and from variables.
    """
    text = path.get("A_Const", {}).get("sval")
    if text is None:
        walker.time_zoned = True
        return
    said = text.get("sval", "")
    given = sum(
        "A_Const" not in argument["JsonArgument"]["val"].get("raw_expr", {}) for argument in passing
    )
    method = "(" in said and "time" in said.lower()
    if method or "\\" in said or given > 1:
        walker.time_zoned = True


def _xml_table(walker: Walker, body: Node) -> None:
    walker.renamed(body.get("alias", {}))
    for item in body["columns"]:
        column = item["RangeTableFuncCol"]
        if "typeName" in column:
            walker.derive(column["colname"], type_shape(column["typeName"]))
            walker.cast_to(column["typeName"], False)
        else:
            walker.derive(column["colname"], True)
        walker.body(column, skip=("typeName",))
    walker.body(body, skip=("columns", "alias"))


def _xml_serialize(walker: Walker, body: Node) -> None:
    walker.cast_to(body["typeName"], False)
    walker.body(body, skip=("typeName",))


HANDLERS: dict[str, Callable[[Walker, Any], Any]] = {
    **{kind: _constructor(kind) for kind in OLDER_NAMES if kind != "MergeSupportFunc"},
    "JsonFuncExpr": _query_function,
    "JsonOutput": _output,
    "JsonTable": _json_table,
    "RangeTableFunc": _xml_table,
    "XmlSerialize": _xml_serialize,
}
# Parts of these that hold nothing but expressions.
PARTS = frozenset(
    "JsonFormat JsonReturning JsonValueExpr JsonKeyValue JsonBehavior JsonArgument "
    "JsonTablePathSpec JsonIsPredicate JsonAggConstructor JsonTableColumn RangeTableFuncCol "
    "XmlExpr".split()
)
