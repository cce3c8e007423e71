"""What the bodies of functions, procedures and DO blocks say.

What lives here: the walk over the PL/pgSQL parser's JSON, and the three entry
points for the two languages. What must not: any catalog knowledge; what a body
names is resolved by whoever knows its search path. Followed: the node types of
PostgreSQL's plpgsql.h as libpg_query spells them. A node or a field that is in no
table here makes the body unknown (F9). Names may be variables: nothing in a body
is surely not text on the strength of a name (K5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pglast.parser import ParseError

from proxy.sql.declarations import UNTOLD, Declared, tokens_of, type_name
from proxy.sql.facts import Body, Name
from proxy.sql.headers import Argument, Header, parse
from proxy.sql.inside import Collector
from proxy.sql.literals import may_change_schema

Node = dict[str, Any]

LONGEST_BODY = 100_000  # characters
_BLOCK = "inline_code_block"  # what PostgreSQL calls a DO block
_ERRORS = (
    ParseError,
    RecursionError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    AssertionError,
)


def sql_body(source: str) -> Body:
    """Say what the body of a function in SQL does. Never raises."""
    collector = Collector({}, known=False)
    if _unreadable(source):
        return _unknown(source, "long body")
    try:
        collector.texts(source)
    except _ERRORS:
        return _unknown(source, "parse error")
    return collector.body(source)


def plpgsql_body(
    source: str,
    *,
    name: str = "",
    arguments: Sequence[Argument] = (),
    returns: str = "void",
    trigger: bool = False,
    procedure: bool = False,
) -> Body:
    """Say what the body of a function or procedure in PL/pgSQL does. Never raises.

    Args:
        source: the body.
        name: the function's own name, which may stand in front of its arguments; ""
            if it is not known.
        arguments: mode (one of i, o, b, v, t), name or "", and type of each, the
            type as qualified SQL text.
        returns: the result type as SQL text, with SETOF in front if it is a set.
        trigger: it is a trigger function.
        procedure: it is a procedure.
    """
    if _unreadable(source):
        return _unknown(source, "long body")
    if trigger:
        arguments = ()
    try:
        header = Header(name or "howdah", tuple(arguments), returns, trigger, procedure)
        declared, function = parse(source, header)
        labels = declared.labels | {name, "new", "old"} if name else None
        collector = Collector(_with_arguments(declared, arguments), labels)
        _Routine(collector, declared, header).run(function)
        return collector.body(source)
    except _ERRORS:
        return _unknown(source, "parse error")


def block_body(source: str) -> Body:
    """Say what a DO block in PL/pgSQL does. Never raises."""
    return plpgsql_body(source, name=_BLOCK, procedure=True)


def _unreadable(source: str) -> bool:
    return len(source) > LONGEST_BODY or "\0" in source


def _unknown(source: str, why: str) -> Body:
    return Body(
        unknown=why,
        dynamic=may_change_schema(source),
        commits=True,
        assigned=frozenset((UNTOLD,)),
        returns=True,
        inexact=True,
    )


def _with_arguments(declared: Declared, arguments: Sequence[Argument]) -> dict[str, set[Name]]:
    types = {name: set(names) for name, names in declared.types.items()}
    for _, name, written in arguments:
        types.setdefault(name, set()).add(type_name(written)[0])
    return types


# PL/pgSQL.

# Conditions that follow from the data: classes 21, 22, 23 and P0 of errors.
_EXACT_CONDITIONS = frozenset(
    "cardinality_violation data_exception array_subscript_error datetime_field_overflow "
    "division_by_zero floating_point_exception invalid_datetime_format invalid_escape_sequence "
    "invalid_parameter_value invalid_regular_expression invalid_text_representation "
    "null_value_not_allowed numeric_value_out_of_range string_data_right_truncation "
    "substring_error invalid_json_text integrity_constraint_violation restrict_violation "
    "not_null_violation foreign_key_violation unique_violation check_violation "
    "exclusion_violation raise_exception no_data_found too_many_rows assert_failure".split()
)

# Fields that hold no SQL and no statements.
_SCALARS = frozenset(
    "lineno label elog_level condname message is_exit reverse slice have_else t_varno curvar "
    "cursor_options direction how_many is_move returns_multiple_rows strict into is_call chain "
    "opt_type refname isconst notnull typname dno fieldname recparentno varno parseMode "
    "cursor_explicit_argrow is_stacked promise".split()
)
_NODES = frozenset(
    "PLpgSQL_var PLpgSQL_type PLpgSQL_rec PLpgSQL_row PLpgSQL_recfield PLpgSQL_stmt_block "
    "PLpgSQL_exception_block PLpgSQL_exception PLpgSQL_condition PLpgSQL_stmt_assign "
    "PLpgSQL_stmt_if PLpgSQL_if_elsif PLpgSQL_stmt_case PLpgSQL_case_when PLpgSQL_stmt_loop "
    "PLpgSQL_stmt_while PLpgSQL_stmt_fori PLpgSQL_stmt_fors PLpgSQL_stmt_forc "
    "PLpgSQL_stmt_foreach_a PLpgSQL_stmt_exit PLpgSQL_stmt_return PLpgSQL_stmt_return_next "
    "PLpgSQL_stmt_return_query PLpgSQL_stmt_raise PLpgSQL_raise_option PLpgSQL_stmt_assert "
    "PLpgSQL_stmt_execsql PLpgSQL_stmt_dynexecute PLpgSQL_stmt_dynfors PLpgSQL_stmt_getdiag "
    "PLpgSQL_stmt_open PLpgSQL_stmt_fetch PLpgSQL_stmt_close PLpgSQL_stmt_perform "
    "PLpgSQL_stmt_call PLpgSQL_stmt_commit PLpgSQL_stmt_rollback".split()
)
# How the parser reads the text of an expression (RawParseMode).
_STATEMENT, _EXPRESSION, _ASSIGNMENTS = 0, 2, (3, 4, 5)

# Whether each value that a query gives is surely no text; `None` if they cannot be told apart.
_Sure = list[bool] | None


class _Routine:
    """The walk over one parsed body."""

    def __init__(self, sql: Collector, declared: Declared, header: Header) -> None:
        self._sql = sql
        self._plain = declared.plain - set(header.names())
        self._records = declared.records + Counter(("new", "old", *header.names()))
        self._may_return = header.gives_value
        self._ends_plainly = header.is_set
        self._converts = not header.is_trigger
        self._datums: list[tuple[str, Node]] = []
        self._loops: dict[int, str] = {}  # records that loops over cursors declare
        self._opened: set[int] = set()
        self._fetched: set[int] = set()
        self._assigned: set[int] = set()

    def run(self, function: Node) -> None:
        """Walk it all; what is not understood is noted or raised."""
        self._sql.types_named()
        self._datums = [next(iter(datum.items())) for datum in function["datums"]]
        for number, (_, body) in enumerate(self._datums):
            if "refname" in body and body["refname"] not in self._sql.types:
                self._sql.types[body["refname"]] = self._types(number) or {UNTOLD}
        self._find_loops(function["action"])
        for number, (kind, body) in enumerate(self._datums):
            self._datum(number, kind, body)
        self._node(function["action"])
        if set(function) - {"new_varno", "old_varno", "out_param_varno"} != {"datums", "action"}:
            self._sql.cannot_tell("PLpgSQL_function")
        found = Counter(body["refname"] for kind, body in self._datums if kind == "PLpgSQL_rec")
        if found - (self._records + Counter(self._loops.values())):
            # The parser dropped the type and the default of a variable unseen.
            self._sql.cannot_tell("record variable")
        if self._fetched - self._opened or self._fetched & self._assigned:
            self._sql.cannot_tell("cursor from elsewhere")

    # Nodes.

    def _node(self, node: Node) -> None:
        ((kind, body),) = node.items()
        if kind == "PLpgSQL_expr":
            self._expression(body)
            return
        if kind not in _NODES:
            self._sql.cannot_tell(kind)
        handler = _HANDLERS.get(kind)
        done: tuple[str, ...] = handler(self, body) if handler is not None else ()
        for field, value in body.items():
            if field not in done:
                self._field(kind, field, value)

    def _field(self, kind: str, field: str, value: Any) -> None:
        if type(value) is dict:
            self._node(value)
        elif type(value) is list:
            for item in value:
                self._node(item)
        elif field not in _SCALARS:
            self._sql.cannot_tell(f"{kind}.{field}")

    def _expression(self, body: Node) -> _Sure:
        """Analyse a text in the way that the parser read it."""
        if set(body) != {"query", "parseMode"}:
            raise ValueError("an expression that is not as expected")
        text, mode = body["query"], body["parseMode"]
        if mode == _STATEMENT:
            trees = self._sql.texts(text)
            return self._sql.sure_values(trees[0]) if len(trees) == 1 else None
        if mode == _EXPRESSION:
            return self._sql.sure_values(self._sql.expression(text))
        if mode in _ASSIGNMENTS:
            return self._sql.sure_values(self._assignment(text))
        raise ValueError("an unknown way to read an expression")

    def _assignment(self, text: str) -> Node:
        """Analyse `target := value`; gives the value."""
        depth = 0
        for token in tokens_of(text):
            depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
            if not depth and token.text in (":=", "="):
                target = text[: token.start]
                if "[" in target:
                    self._sql.expression(target)
                return self._sql.expression(text[token.end :])
        raise ValueError("an assignment without a value")

    # Variables.

    def _datum(self, number: int, kind: str, body: Node) -> None:
        default, cursor = body.get("default_val"), body.get("cursor_explicit_expr")
        if cursor is not None:
            self._opened.add(number)
        if default is not None:
            self._give([number], self._expression(default["PLpgSQL_expr"]))
        rest = {key: value for key, value in body.items() if key not in ("default_val", "fields")}
        if kind != "PLpgSQL_row" and "fields" in body:
            self._sql.cannot_tell(f"{kind}.fields")
        self._node({kind: rest})

    def _types(self, number: int) -> set[Name]:
        """The types that a value is converted to that is given to a variable."""
        kind, body = self._datums[number]
        if kind == "PLpgSQL_row":
            return {name for member in _members(body) for name in self._types(member)}
        if kind == "PLpgSQL_recfield":
            return {UNTOLD}
        name = body["refname"]
        if kind == "PLpgSQL_rec":
            if number in self._loops:
                return set()
            return self._sql.types.get(name, {UNTOLD}) - (
                {UNTOLD} if name in self._plain else set()
            )
        known = self._sql.types.get(name)
        if known is not None:
            return known
        built_in = body["datatype"]["PLpgSQL_type"]["typname"]
        return {UNTOLD} if "%" in built_in else {Name("pg_catalog", built_in.removeprefix("_"))}

    def _give(self, numbers: list[int], sure: _Sure) -> None:
        """Values are given to variables, one each, or a row of them to a record."""
        self._assigned.update(numbers)
        if sure is not None and all(sure):
            return
        for position, number in enumerate(numbers):
            if len(numbers) == 1 or sure is None or not (position < len(sure) and sure[position]):
                self._sql.assigned |= self._types(number)

    def _give_target(self, target: Node | None, sure: _Sure) -> None:
        if target is None:
            return
        ((kind, body),) = target.items()
        if kind == "PLpgSQL_row":
            self._give(_members(body), sure)
        elif kind == "PLpgSQL_rec":
            self._give([body.get("dno", 0)], sure)
        else:
            self._sql.cannot_tell(kind)

    def _find_loops(self, tree: Any) -> None:
        if type(tree) is list:
            for item in tree:
                self._find_loops(item)
        elif type(tree) is dict:
            loop = tree.get("PLpgSQL_stmt_forc")
            if loop is not None:
                variable = loop["var"]["PLpgSQL_rec"]
                self._loops[variable["dno"]] = variable["refname"]
            for value in tree.values():
                self._find_loops(value)

    # Statements with variables. Each gives the fields that it has dealt with.

    def _assign(self, body: Node) -> tuple[str, ...]:
        self._give([body.get("varno", 0)], self._expression(body["expr"]["PLpgSQL_expr"]))
        return ("expr",)

    def _query_into(self, body: Node) -> tuple[str, ...]:
        """SELECT INTO and loops over queries."""
        name = "sqlstmt" if "sqlstmt" in body else "query"
        sure = self._expression(body[name]["PLpgSQL_expr"])
        self._give_target(body.get("target", body.get("var")), sure)
        return (name, "target", "var")

    def _dynamic(self, body: Node) -> tuple[str, ...]:
        """EXECUTE in its forms: a constant text is as good as a statement."""
        name = "dynquery" if "dynquery" in body else "query"
        expression = body.get(name)
        if expression is not None:
            constant = self._sql.constant(expression["PLpgSQL_expr"]["query"])
            if constant is None:
                self._sql.cannot_tell("dynamic SQL")
                self._expression(expression["PLpgSQL_expr"])
            else:
                self._sql.texts(constant)
        self._give_target(body.get("target", body.get("var")), None)
        return (name, "target", "var")

    def _return_query(self, body: Node) -> tuple[str, ...]:
        return self._dynamic(body) if "dynquery" in body else ()

    def _return(self, body: Node) -> tuple[str, ...]:
        expression = body.get("expr")
        if expression is not None:
            sure = self._expression(expression["PLpgSQL_expr"])
            converted = self._converts and (sure is None or not all(sure))
            self._sql.returns = self._sql.returns or converted
        elif "lineno" in body and self._may_return:
            self._sql.returns = True
        return ("expr",)

    def _return_end(self, body: Node) -> tuple[str, ...]:
        return () if self._ends_plainly and "expr" not in body else self._return(body)

    def _open(self, body: Node) -> tuple[str, ...]:
        self._opened.add(body.get("curvar", 0))
        self._sql.inexact = True  # the cursor outlives the body
        done: tuple[str, ...] = ()
        if "argquery" in body:
            done = self._cursor_arguments(body)
        return done + (self._dynamic(body) if "dynquery" in body else ())

    def _for_cursor(self, body: Node) -> tuple[str, ...]:
        self._fetched.add(body.get("curvar", 0))
        return ("var", *(self._cursor_arguments(body) if "argquery" in body else ()))

    def _cursor_arguments(self, body: Node) -> tuple[str, ...]:
        sure = self._expression(body["argquery"]["PLpgSQL_expr"])
        _, cursor = self._datums[body.get("curvar", 0)]
        row = cursor.get("cursor_explicit_argrow")
        if row is None or row < 0:
            raise ValueError("arguments of a cursor without any")
        self._give([row], sure)
        return ("argquery",)

    def _fetch(self, body: Node) -> tuple[str, ...]:
        self._fetched.add(body.get("curvar", 0))
        self._give_target(body.get("target"), None)
        return ("target",)

    def _foreach(self, body: Node) -> tuple[str, ...]:
        self._give([body.get("varno", 0)], self._expression(body["expr"]["PLpgSQL_expr"]))
        return ("expr",)

    def _for_integers(self, body: Node) -> tuple[str, ...]:
        return ("var",)  # it is always an integer

    def _diagnostics(self, body: Node) -> tuple[str, ...]:
        for item in body.get("diag_items", ()):
            (found,) = item.values()
            if found["kind"] != "ROW_COUNT":
                self._sql.inexact = True
            self._give([found.get("target", 0)], [found["kind"] == "ROW_COUNT"])
        return ("diag_items",)

    def _call(self, body: Node) -> tuple[str, ...]:
        """CALL assigns its INOUT arguments; which they are is not known from the text."""
        for tree in self._sql.texts(body["expr"]["PLpgSQL_expr"]["query"]):
            call = tree.get("CallStmt", {}).get("funccall", {})
            for argument in call.get("args", ()):
                given = argument.get("NamedArgExpr", {}).get("arg", argument)
                if "ColumnRef" in given:
                    self._sql.assigned |= self._sql.variable(given["ColumnRef"]["fields"])
        return ("expr",)

    def _ends(self, body: Node) -> tuple[str, ...]:
        self._sql.commits = True
        return ()

    def _caught(self, body: Node) -> tuple[str, ...]:
        """A handler may run because of locks, time or memory: that is nothing to store."""
        if body.get("condname") not in _EXACT_CONDITIONS:
            self._sql.inexact = True
        return ()


def _members(row: Node) -> list[int]:
    """Numbers of a row's variables."""
    return [field.get("varno", 0) for field in row.get("fields", ()) if field is not None]


_HANDLERS: dict[str, Callable[[_Routine, Node], tuple[str, ...]]] = {
    "PLpgSQL_stmt_assign": _Routine._assign,
    "PLpgSQL_stmt_execsql": _Routine._query_into,
    "PLpgSQL_stmt_fors": _Routine._query_into,
    "PLpgSQL_stmt_dynexecute": _Routine._dynamic,
    "PLpgSQL_stmt_dynfors": _Routine._dynamic,
    "PLpgSQL_stmt_return_query": _Routine._return_query,
    "PLpgSQL_stmt_return": _Routine._return_end,
    "PLpgSQL_stmt_return_next": _Routine._return,
    "PLpgSQL_stmt_open": _Routine._open,
    "PLpgSQL_stmt_forc": _Routine._for_cursor,
    "PLpgSQL_stmt_fetch": _Routine._fetch,
    "PLpgSQL_stmt_foreach_a": _Routine._foreach,
    "PLpgSQL_stmt_fori": _Routine._for_integers,
    "PLpgSQL_stmt_getdiag": _Routine._diagnostics,
    "PLpgSQL_stmt_call": _Routine._call,
    "PLpgSQL_stmt_commit": _Routine._ends,
    "PLpgSQL_stmt_rollback": _Routine._ends,
    "PLpgSQL_condition": _Routine._caught,
}
