"""From the nodes of a stored query or expression to what it means for reads and writes.

What lives here: the lists of node kinds, and the verdict on one tree. What must
not: functions and relations, which are judged where they are known. Followed:
the nodes of primnodes.h and parsenodes.h as PostgreSQL 13 to 18 write them
(outfuncs.c); versions before 16 shorten some names. A stored tree is exact:
its names are OIDs, its literals are read, and its operators are functions.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.catalog.rows import ExpressionRow
from proxy.catalog.snapshot import Tree
from proxy.reasons import Reason

# What follows from relations, functions and settings in the key alone (K5).
_PLAIN = frozenset(
    "AGGREF ALIAS ARRAY ARRAYCOERCEEXPR ARRAYEXPR BOOLEANTEST BOOLEXPR CASE CASEEXPR "
    "CASETESTEXPR CASEWHEN COALESCE COALESCEEXPR COERCETODOMAIN COERCETODOMAINVALUE COERCEVIAIO "
    "COLLATE COLLATEEXPR COMMONTABLEEXPR CONST CONVERTROWTYPEEXPR CTECYCLECLAUSE CTESEARCHCLAUSE "
    "DISTINCTEXPR FIELDSELECT FROMEXPR FUNCEXPR GROUPINGFUNC GROUPINGSET JOINEXPR "
    "JSONCONSTRUCTOREXPR JSONFORMAT JSONISPREDICATE JSONRETURNING JSONVALUEEXPR MINMAX "
    "MINMAXEXPR NAMEDARGEXPR NULLIFEXPR NULLTEST OPEXPR QUERY RANGETBLENTRY RANGETBLFUNCTION "
    "RANGETBLREF RELABELTYPE ROW ROWCOMPARE ROWCOMPAREEXPR ROWEXPR RTE RTEPERMISSIONINFO "
    "SCALARARRAYOPEXPR SETOPERATIONSTMT SORTGROUPCLAUSE SUBLINK SUBSCRIPTINGREF TARGETENTRY VAR "
    "WHEN WINDOWCLAUSE WINDOWFUNC WINDOWFUNCRUNCONDITION XMLEXPR SQLVALUEFUNCTION PARAM".split()
)
# What does nothing of its own, but whose result is not proven.
_HARMLESS = {
    "ROWMARKCLAUSE": Reason.LOCKING_CLAUSE,
    "TABLESAMPLECLAUSE": Reason.TABLESAMPLE,
    "NEXTVALUEEXPR": Reason.VOLATILE_FUNCTION,
} | dict.fromkeys(
    "CURRENTOFEXPR FIELDSTORE INFERENCEELEM JSONBEHAVIOR JSONEXPR JSONTABLEPATH "
    "JSONTABLEPATHSCAN JSONTABLESIBLINGJOIN MERGEACTION MERGESUPPORTFUNC NOTIFYSTMT "
    "ONCONFLICTEXPR RETURNINGEXPR SETTODEFAULT TABLEFUNC WITHCHECKOPTION".split(),
    Reason.UNSUPPORTED_SYNTAX,
)
_LAST_CLOCK = 8  # SVFOP_LOCALTIMESTAMP_N: up to here they read the clock
_WRITING = frozenset((2, 3, 4, 5))  # CMD_UPDATE, INSERT, DELETE; MERGE came between


def tree_of(row: ExpressionRow, text_reason: Callable[[int], Reason], bad_domains: bool) -> Tree:
    """Judge the nodes of one owner's expressions.

    Args:
        row: what was found in them.
        text_reason: why reading text as a type keeps from being cached.
        bad_domains: checks that cannot be seen through may run.
    """
    reasons = [_HARMLESS[node] for node in row.nodes if node in _HARMLESS]
    unknown = [node for node in row.nodes if node not in _PLAIN and node not in _HARMLESS]
    if unknown:
        reasons.append(Reason.UNSUPPORTED_SYNTAX)
    if row.storage:
        reasons.append(Reason.SYSTEM_COLUMN)
    reasons += [
        Reason.CLOCK if value <= _LAST_CLOCK else Reason.SESSION_FUNCTION for value in row.values
    ]
    reasons += [reason for oid in row.texts if (reason := text_reason(oid)) is not Reason.NONE]
    if ("SQLVALUEFUNCTION" in row.nodes and not row.values) or (
        "COERCEVIAIO" in row.nodes and not row.texts
    ):
        reasons.append(Reason.UNSUPPORTED_SYNTAX)  # written in a way that is not known
    return Tree(
        functions=row.functions,
        relations=row.relations,
        reason=reasons[0] if reasons else Reason.NONE,
        opaque=bool(unknown) or bad_domains,
        writes=not _WRITING.isdisjoint(row.commands),
        locks="ROWMARKCLAUSE" in row.nodes,
    )
