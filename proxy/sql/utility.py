"""Facts of everything that is no plain query: control, settings, DDL, utilities.

What lives here: one small function per family of statement nodes, and the table
that assigns every statement node of the grammar. What must not: catalog
knowledge. A node that is not in the table is opaque (F9).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.sql.facts import Facts, Name, Setting, StatementKind, Target
from proxy.sql.walk import PLAIN_TYPES, Walker, text_of

Node = dict[str, Any]

_QUERIES = {
    "SelectStmt": StatementKind.SELECT,
    "InsertStmt": StatementKind.MODIFY,
    "UpdateStmt": StatementKind.MODIFY,
    "DeleteStmt": StatementKind.MODIFY,
    "MergeStmt": StatementKind.MODIFY,
}


def statement_facts(node: Node) -> Facts:
    """Turn one statement node, `{"SelectStmt": {...}}`, into facts."""
    ((tag, body),) = node.items()
    kind = _QUERIES.get(tag)
    if kind is not None:
        walker = Walker()
        walker.node(node)
        return walker.facts(kind, tag, assigns=assigned(body))
    handler = _HANDLERS.get(tag)
    if handler is not None:
        return handler(tag, body)
    if tag in _DDL:
        return _ddl(tag, body)
    return Facts(StatementKind.OPAQUE, tag, dynamic=True)


def _walked(body: Node) -> Walker:
    walker = Walker()
    walker.body(body)
    return walker


def _plain(kind: StatementKind) -> Callable[[str, Node], Facts]:
    return lambda tag, body: Facts(kind, tag)


def _range(relation: Node) -> Name:
    return Name(relation.get("schemaname"), relation["relname"])


# Transactions.

_CONTROL = {
    "TRANS_STMT_BEGIN": "begin",
    "TRANS_STMT_START": "begin",
    "TRANS_STMT_COMMIT": "commit",
    "TRANS_STMT_ROLLBACK": "rollback",
    "TRANS_STMT_SAVEPOINT": "savepoint",
    "TRANS_STMT_RELEASE": "savepoint",
    "TRANS_STMT_ROLLBACK_TO": "savepoint",
}


def _transaction(tag: str, body: Node) -> Facts:
    kind = body["kind"]
    if kind == "TRANS_STMT_COMMIT_PREPARED":
        # The transaction may have done anything, DDL included.
        return Facts(StatementKind.OPAQUE, tag, dynamic=True)
    commits = kind in ("TRANS_STMT_COMMIT", "TRANS_STMT_PREPARE")
    control = "chain" if body.get("chain") else _CONTROL.get(kind, "none")
    return Facts(
        StatementKind.TRANSACTION,
        tag,
        control=control,
        commits=commits,
        isolation=_names_isolation(body.get("options", ())),
    )


def _names_isolation(options: list[Node]) -> bool:
    """Tell whether transaction modes ask for more than READ COMMITTED."""
    for option in options:
        mode = option["DefElem"]
        name, value = mode["defname"], mode.get("arg", {}).get("A_Const", {})
        if name == "transaction_isolation":
            if value.get("sval", {}).get("sval", "").lower() != "read committed":
                return True
        elif name == "transaction_deferrable":
            if value.get("ival", {}).get("ival", 0):
                return True
        elif name != "transaction_read_only":
            return True
    return False


# Settings.

_TRANSACTION_SETTINGS = ("transaction_isolation", "transaction_read_only", "transaction_deferrable")
_READ_COMMITTED = ["read committed"]


def _set(tag: str, body: Node) -> Facts:
    kind, name = body["kind"], body.get("name", "")
    if name.isascii():
        name = name.lower()  # PostgreSQL knows no case of other letters here
    local = body.get("is_local", False)
    if kind == "VAR_SET_MULTI":
        isolation = name == "transaction snapshot" or _names_isolation(body.get("args", ()))
        characteristics = name == "session characteristics"
        return Facts(
            StatementKind.SET,
            tag,
            control="set_transaction",
            isolation=isolation,
            setting=Setting("session characteristics") if characteristics else None,
        )
    values = _constants(body.get("args")) if kind == "VAR_SET_VALUE" else None
    setting = Setting(name, values, local, constant=values is not None)
    if name in _TRANSACTION_SETTINGS:
        # The value is compared as PostgreSQL does, without regard to case.
        committed = values is not None and [value.lower() for value in values] == _READ_COMMITTED
        return Facts(
            StatementKind.SET,
            tag,
            control="set_transaction",
            isolation=name != "transaction_read_only" and not committed,
        )
    return Facts(StatementKind.SET, tag, setting=setting)


def _constants(arguments: list[Node] | None) -> tuple[str, ...] | None:
    """The values of a SET, as text; `None` if one is not a constant."""
    values = []
    for argument in arguments or ():
        constant = argument.get("TypeCast", {}).get("arg", argument).get("A_Const")
        if constant is None or ("TypeCast" in argument and "sval" not in constant):
            return None
        for key, inner in constant.items():
            if key != "location":
                values.append(str(inner.get(key, "")) if type(inner) is dict else "")
    return tuple(values) if values else None


_ONLY_VALUES = frozenset(("targetList", "limitOption", "op"))
_ONLY_ARGUMENTS = frozenset(("funcname", "args", "funcformat", "location"))


def assigned(select: Node) -> tuple[Setting, ...]:
    """What a SELECT sets by set_config, if it does nothing else and all of it is constant.

    Parameters count as constants: who remembers what it leads to knows their values.
    """
    if not _ONLY_VALUES.issuperset(select):
        return ()
    found = []
    for item in select.get("targetList", ()):
        call = item["ResTarget"].get("val", {}).get("FuncCall")
        setting = None if call is None else _set_config(call)
        if setting is None:
            return ()
        found.append(setting)
    return tuple(found)


def _set_config(call: Node) -> Setting | None:
    names, arguments = call["funcname"], call.get("args", ())
    if not _ONLY_ARGUMENTS.issuperset(call) or len(arguments) != 3:
        return None
    if [name["String"]["sval"] for name in names][-2:] not in _SET_CONFIG:
        return None
    name, local = text_of(arguments[0]), _boolean(arguments[2])
    if name is None or local is None or not _is_constant(arguments[1]):
        return None
    return Setting(name, None, local, constant=True)


_SET_CONFIG = (["set_config"], ["pg_catalog", "set_config"])


def _boolean(node: Node) -> bool | None:
    """Whether a literal is true; None where that is not obvious."""
    constant = node.get("A_Const", {})
    if "boolval" in constant:
        return bool(constant["boolval"].get("boolval", False))
    word = constant.get("sval", {}).get("sval", "")
    return {"t": True, "true": True, "f": False, "false": False}.get(word)


def _is_constant(node: Node) -> bool:
    """Whether this is a literal or a parameter, perhaps cast to types that know no clock."""
    while "TypeCast" in node:
        names = node["TypeCast"]["typeName"].get("names", ())
        if not names or names[-1]["String"]["sval"] not in PLAIN_TYPES:
            return False
        node = node["TypeCast"]["arg"]
    return "A_Const" in node or "ParamRef" in node


def _discard(tag: str, body: Node) -> Facts:
    target = body.get("target", "DISCARD_ALL")
    everything = target == "DISCARD_ALL"
    return Facts(
        StatementKind.DISCARD,
        tag,
        prepared=None if everything else (),
        temporary=target in ("DISCARD_ALL", "DISCARD_TEMP"),
    )


# Statements around queries.


def _explain(tag: str, body: Node) -> Facts:
    analyze = False
    for option in body.get("options", ()):
        element = option["DefElem"]
        if element["defname"] == "analyze":
            analyze = analyze or not _is_off(element.get("arg"))
    return Facts(StatementKind.EXPLAIN, tag, inner=statement_facts(body["query"]), analyze=analyze)


def _is_off(argument: Node | None) -> bool:
    if argument is None:
        return False
    ((_, value),) = argument.items()
    text = value.get("sval", value.get("boolval", value.get("ival", 0)))
    return str(text).lower() in ("off", "false", "0")


def _declare(tag: str, body: Node) -> Facts:
    return Facts(StatementKind.CURSOR, tag, inner=statement_facts(body["query"]))


def _prepare(tag: str, body: Node) -> Facts:
    inner = statement_facts(body["query"])
    walker = Walker()
    for written in body.get("argtypes", ()):
        # EXECUTE converts what it is given.
        walker.cast_to(written["TypeName"], False)
    return walker.facts(StatementKind.PREPARE, tag, prepared=(body["name"],), inner=inner)


def _execute(tag: str, body: Node) -> Facts:
    walker = Walker()
    walker.nodes(body.get("params", []))
    return walker.facts(StatementKind.EXECUTE, tag, prepared=(body["name"],))


def _deallocate(tag: str, body: Node) -> Facts:
    name = body.get("name")
    return Facts(
        StatementKind.DEALLOCATE,
        tag,
        prepared=None if body.get("isall") or name is None else (name,),
    )


def _copy(tag: str, body: Node) -> Facts:
    program = body.get("is_program", False)
    walker = Walker()
    walker.body(body, skip=("relation", "attlist", "options", "filename"))
    relation = body.get("relation")
    if body.get("is_from") and relation is not None:
        walker.targets.append(Target(_range(relation), "i"))
        return walker.facts(StatementKind.COPY_FROM, tag, program=program)
    if relation is not None:
        walker.relations.add(_range(relation))
    return walker.facts(StatementKind.COPY_TO, tag, program=program)


def _truncate(tag: str, body: Node) -> Facts:
    targets = tuple(Target(_range(item["RangeVar"]), "t") for item in body["relations"])
    return Facts(
        StatementKind.TRUNCATE,
        tag,
        targets=targets,
        cascade=body.get("behavior") == "DROP_CASCADE",
    )


def _do(tag: str, body: Node) -> Facts:
    options = {
        argument["DefElem"]["defname"]: argument["DefElem"]["arg"].get("String", {}).get("sval", "")
        for argument in body.get("args", ())
    }
    if options.get("language", "plpgsql") != "plpgsql":
        return Facts(StatementKind.OPAQUE, tag, dynamic=True)
    from proxy.sql.bodies import block_body

    inside = block_body(options.get("as", ""))
    return Facts(StatementKind.OPAQUE, tag, dynamic=inside.dynamic, body=inside)


def _call(tag: str, body: Node) -> Facts:
    # What a procedure can do to the schema is known from the catalog.
    return _walked(body).facts(StatementKind.OPAQUE, tag)


# Schema.


def _ddl(tag: str, body: Node) -> Facts:
    walker = _walked(body)
    return walker.facts(
        StatementKind.DDL, tag, cluster=tag in _CLUSTER or _shared_object(body), dynamic=True
    )


def _shared_object(body: Node) -> bool:
    """Databases, tablespaces, roles and parameters belong to the whole cluster."""
    kinds = ("objtype", "objectType", "removeType", "renameType")
    return any(body.get(kind) in _SHARED_OBJECTS for kind in kinds)


def _create_table(tag: str, body: Node) -> Facts:
    walker = _walked({key: value for key, value in body.items() if key != "relation"})
    temporary = body.get("relation", {}).get("relpersistence") == "t"
    if "partbound" in body:
        tag = "PartitionBoundSpec"  # attaching runs expressions
    return walker.facts(StatementKind.DDL, tag, temporary=temporary, dynamic=True)


def _create_table_as(tag: str, body: Node) -> Facts:
    query = body["query"]
    inner = statement_facts(query)
    temporary = body.get("into", {}).get("rel", {}).get("relpersistence") == "t"
    return Facts(StatementKind.DDL, tag, inner=inner, temporary=temporary, dynamic=True)


def _create_view(tag: str, body: Node) -> Facts:
    walker = _walked({key: value for key, value in body.items() if key != "view"})
    temporary = body.get("view", {}).get("relpersistence") == "t"
    return walker.facts(StatementKind.DDL, tag, temporary=temporary, dynamic=True)


def _refresh(tag: str, body: Node) -> Facts:
    target = Target(_range(body["relation"]), "r")
    return Facts(StatementKind.DDL, tag, targets=(target,), dynamic=True)


def _create_sequence(tag: str, body: Node) -> Facts:
    temporary = body.get("sequence", {}).get("relpersistence") == "t"
    return Facts(StatementKind.DDL, tag, temporary=temporary, dynamic=True)


_HANDLERS: dict[str, Callable[[str, Node], Facts]] = {
    "TransactionStmt": _transaction,
    "VariableSetStmt": _set,
    "VariableShowStmt": _plain(StatementKind.SHOW),
    "DiscardStmt": _discard,
    "ExplainStmt": _explain,
    "DeclareCursorStmt": _declare,
    "FetchStmt": _plain(StatementKind.CURSOR),
    "ClosePortalStmt": _plain(StatementKind.CURSOR),
    "PrepareStmt": _prepare,
    "ExecuteStmt": _execute,
    "DeallocateStmt": _deallocate,
    "CopyStmt": _copy,
    "TruncateStmt": _truncate,
    "LockStmt": _plain(StatementKind.LOCK),
    "VacuumStmt": _plain(StatementKind.MAINTENANCE),
    "ReindexStmt": _plain(StatementKind.MAINTENANCE),
    "ClusterStmt": _plain(StatementKind.MAINTENANCE),
    "CheckPointStmt": _plain(StatementKind.UTILITY),
    "ListenStmt": _plain(StatementKind.UTILITY),
    "UnlistenStmt": _plain(StatementKind.UTILITY),
    "NotifyStmt": _plain(StatementKind.UTILITY),
    "ConstraintsSetStmt": _plain(StatementKind.UTILITY),
    "CommentStmt": _plain(StatementKind.UTILITY),
    "DoStmt": _do,
    "CallStmt": _call,
    "CreateStmt": _create_table,
    "CreateTableAsStmt": _create_table_as,
    "ViewStmt": _create_view,
    "CreateSeqStmt": _create_sequence,
    "RefreshMatViewStmt": _refresh,
}

_CLUSTER = frozenset(
    "AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt AlterDatabaseStmt AlterRoleSetStmt "
    "AlterRoleStmt AlterSystemStmt AlterTableSpaceOptionsStmt CreateRoleStmt "
    "CreateSubscriptionStmt AlterSubscriptionStmt DropSubscriptionStmt CreateTableSpaceStmt "
    "CreatedbStmt DropOwnedStmt DropRoleStmt DropTableSpaceStmt DropdbStmt GrantRoleStmt "
    "ReassignOwnedStmt CreateExtensionStmt AlterExtensionStmt AlterExtensionContentsStmt "
    "ImportForeignSchemaStmt".split()
)
_SHARED_OBJECTS = frozenset(
    "OBJECT_DATABASE OBJECT_TABLESPACE OBJECT_ROLE OBJECT_PARAMETER_ACL OBJECT_EVENT_TRIGGER "
    "OBJECT_EXTENSION OBJECT_SUBSCRIPTION".split()
)
_DDL = _CLUSTER | frozenset(
    "AlterCollationStmt AlterDefaultPrivilegesStmt AlterDomainStmt AlterEnumStmt "
    "AlterEventTrigStmt AlterFdwStmt AlterForeignServerStmt AlterFunctionStmt "
    "AlterObjectDependsStmt AlterObjectSchemaStmt AlterOpFamilyStmt AlterOperatorStmt "
    "AlterOwnerStmt AlterPolicyStmt AlterPublicationStmt AlterSeqStmt AlterStatsStmt "
    "AlterTSConfigurationStmt AlterTSDictionaryStmt AlterTableMoveAllStmt AlterTableStmt "
    "AlterTypeStmt AlterUserMappingStmt CompositeTypeStmt CreateAmStmt CreateCastStmt "
    "CreateConversionStmt CreateDomainStmt CreateEnumStmt CreateEventTrigStmt CreateFdwStmt "
    "CreateForeignServerStmt CreateForeignTableStmt CreateFunctionStmt CreateOpClassStmt "
    "CreateOpFamilyStmt CreatePLangStmt CreatePolicyStmt CreatePublicationStmt CreateRangeStmt "
    "CreateSchemaStmt CreateStatsStmt CreateTransformStmt CreateTrigStmt CreateUserMappingStmt "
    "DefineStmt DropStmt DropUserMappingStmt GrantStmt IndexStmt RenameStmt "
    "ReplicaIdentityStmt RuleStmt SecLabelStmt".split()
)
