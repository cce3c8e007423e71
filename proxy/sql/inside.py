"""SQL texts inside a body: statements and expressions among variables.

What lives here: what is different about SQL whose names may be variables, and
the sum of what all texts of one body say. What must not: the statements of
PL/pgSQL (`sql.bodies`), any catalog knowledge. Nothing here is surely not text on
the strength of a name alone (K5).
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pglast.parser import parse_sql_json

from proxy.sql.declarations import UNTOLD, built_in
from proxy.sql.facts import Body, Facts, Name, Shape, StatementKind
from proxy.sql.literals import may_change_schema
from proxy.sql.shapes import SURE_TYPES, shape_of
from proxy.sql.utility import statement_facts

Node = dict[str, Any]


class Collector:
    """Collects the facts of all SQL in a body.

    Args:
        types: the types of the variables, by name.
        labels: names that may stand in front of those of variables; `None` is any.
        known: `types` has every variable; else any name may be one.
    """

    def __init__(
        self, types: dict[str, set[Name]], labels: set[str] | None = None, *, known: bool = True
    ) -> None:
        self._labels = labels
        self.types = types
        self.unknown = ""
        self.dynamic = False
        self.commits = False
        self.inexact = False
        self.returns = False
        self.assigned: set[Name] = set()
        self._statements: list[Facts] = []
        self._known = known

    def body(self, source: str) -> Body:
        """Freeze what was collected."""
        return Body(
            statements=tuple(self._statements),
            unknown=self.unknown,
            dynamic=self.dynamic or (bool(self.unknown) and may_change_schema(source)),
            commits=self.commits,
            assigned=frozenset(self.assigned),
            returns=self.returns,
            inexact=self.inexact,
        )

    def cannot_tell(self, why: str) -> None:
        """Keep the first word for what is not understood."""
        self.unknown = self.unknown or why

    def texts(self, text: str) -> list[Node]:
        """Analyse statements; gives their trees. Raises what the parser raises."""
        items = json.loads(parse_sql_json(text)).get("stmts", ())
        trees: list[Node] = [item["stmt"] for item in items if item.get("stmt")]
        for tree in trees:
            self._add(tree)
        return trees

    def expression(self, text: str) -> Node:
        """Analyse an expression, which may go on as a query; gives its SelectStmt."""
        (tree,) = self.texts("SELECT " + text)
        select: Node = tree["SelectStmt"]
        if "intoClause" in select:
            raise ValueError("an expression that makes a table")
        return select

    def types_named(self) -> None:
        """Count the users' types of variables as named: the checks of domains run."""
        names = sorted(
            {name for names in self.types.values() for name in names if not built_in(name)},
            key=lambda name: (name.schema or "", name.name),
        )
        if names:
            self._statements.append(
                Facts(StatementKind.SELECT, "SelectStmt", types=frozenset(names))
            )

    def _add(self, tree: Node) -> None:
        zoned = self._prepare(tree)
        facts = _of_body(statement_facts(tree))
        if zoned:
            facts = replace(facts, time_zoned=True)
        self._statements.append(facts)
        self._note(facts)

    def _note(self, facts: Facts) -> None:
        if facts.dynamic or facts.into or facts.kind is StatementKind.DDL:
            self.dynamic = True
        if any(may_change_schema(call.function.name) for call in facts.calls):
            self.dynamic = True  # query_to_xml and its kin run what they are given
        if facts.kind is StatementKind.TRANSACTION:
            self.commits = True
        if facts.body is not None:
            self.commits = self.commits or facts.body.commits
            self.dynamic = self.dynamic or facts.body.dynamic
            self.inexact = self.inexact or facts.body.inexact
            if facts.body.unknown:
                self.cannot_tell(facts.body.unknown)
        if facts.inner is not None:
            self._note(facts.inner)

    def _prepare(self, tree: Any) -> bool:
        """Turn parameters into names, as variables are; True if one may be a time of day (K5)."""
        zoned = False
        if type(tree) is list:
            for item in tree:
                zoned = self._prepare(item) or zoned
        elif type(tree) is dict:
            parameter = tree.pop("ParamRef", None)
            if parameter is not None:
                name = f"${parameter.get('number', 0)}"
                tree["ColumnRef"] = {"fields": [{"String": {"sval": name}}]}
            column = tree.get("ColumnRef")
            if column is not None and self._is_inexact(column["fields"]):
                self.inexact = True
            call = tree.get("FuncCall")
            for value in tree.values():
                zoned = self._prepare(value) or zoned
            if call is not None and call["funcname"][-1]["String"]["sval"] == "timezone":
                zoned = zoned or self._may_be_time(call.get("args", []))
        return zoned

    def constant(self, text: str) -> str | None:
        """The string that an expression is, if it is one."""
        tree = json.loads(parse_sql_json("SELECT " + text))
        (item,) = tree["stmts"]
        select = item["stmt"]["SelectStmt"]
        if set(select) - {"targetList", "limitOption", "op"} or len(select["targetList"]) != 1:
            return None
        value = select["targetList"][0]["ResTarget"]["val"].get("A_Const", {})
        string: str | None = value["sval"].get("sval", "") if "sval" in value else None
        return string

    def variable(self, fields: list[Node]) -> set[Name]:
        """The types of the variable that a name may mean."""
        name = fields[0].get("String", {}).get("sval", "")
        return self.types.get(name, {UNTOLD}) if len(fields) == 1 else {UNTOLD}

    def sure_values(self, tree: Node) -> list[bool] | None:
        """Say of each value that a query gives whether it is surely no text (K5).

        A literal counts as sure: what it says is seen elsewhere. `None` if the values
        cannot be told apart.
        """
        select = tree.get("SelectStmt", tree)
        if "targetList" not in select or "larg" in select:
            return None
        plain = "fromClause" not in select and "withClause" not in select
        values = [target["ResTarget"].get("val", {}) for target in select["targetList"]]
        if any("A_Star" in json.dumps(value.get("ColumnRef", {})) for value in values):
            return None
        return [bool(value) and self._sure_value(value, plain) for value in values]

    def _sure_value(self, value: Node, plain: bool) -> bool:
        ((kind, body),) = value.items()
        if kind == "ColumnRef" and plain and self._known and len(body["fields"]) == 1:
            names = self.types.get(body["fields"][0].get("String", {}).get("sval", ""))
            return bool(names) and all(_sure(name) for name in names or ())
        if kind == "A_Expr" and body["kind"] == "AEXPR_OP" and "lexpr" in body:
            left = body["lexpr"]
            if body["name"][-1]["String"]["sval"] in ("+", "-") and shape_of(left) is not None:
                return self._sure_value(left, plain)
        shape = shape_of(value)
        return shape is None or shape is True

    @staticmethod
    def _is_inexact(fields: list[Node]) -> bool:
        """SQLERRM tells about the server's state."""
        name: Node = fields[-1].get("String", {})
        return bool(name.get("sval") == "sqlerrm")

    def _may_be_time(self, tree: Any) -> bool:
        if type(tree) is list:
            return any(self._may_be_time(item) for item in tree)
        if type(tree) is not dict:
            return False
        column = tree.get("ColumnRef")
        if column is None:
            return any(self._may_be_time(value) for value in tree.values())
        first = column["fields"][0].get("String", {}).get("sval", "")
        if self._known and not first.startswith("$"):
            names = self.types.get(first)
            if names is None:
                return len(column["fields"]) > 1 and (self._labels is None or first in self._labels)
            return any(
                not _sure(name)
                or (name.name.startswith("time") and not name.name.startswith("timestamp"))
                for name in names
            )
        return True


def _sure(name: Name) -> bool:
    """Values of this type are surely no text."""
    return name.schema in (None, "pg_catalog") and name.name in SURE_TYPES


def _of_body(facts: Facts) -> Facts:
    """Forget what the names of columns promised: they may be variables (K5)."""
    if not facts.casts and facts.inner is None:
        return facts
    casts = tuple(cast._replace(shape=_of_names(cast.shape)) for cast in facts.casts)
    inner = _of_body(facts.inner) if facts.inner is not None else None
    return replace(facts, casts=casts, inner=inner)


def _of_names(shape: Shape | None) -> Shape | None:
    return shape if shape is None or shape is True else False
