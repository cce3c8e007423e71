"""From the nodes of a stored query or expression to what it means for reads and writes.

What lives here: the lists of node kinds, and the verdict on one tree. What must
not: functions and relations, which are judged where they are known. Followed:
the nodes of primnodes.h and parsenodes.h as PostgreSQL 13 to 18 write them
(outfuncs.c); versions before 16 shorten some names. A stored tree is exact:
its names are OIDs, its literals are read, and its operators are functions.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.catalog.libraries import plain
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
# What gives some of the rows, or numbers them, by their place: a word of `catalog.queries`
# for fields of a query, and a node.
_CHOOSES, _NUMBERS = "chooses", "WINDOWFUNC"
# Aggregates that show in which order they have met their values: array_agg, string_agg,
# xmlagg, any_value and those of JSON; and those that add up floats (pg_proc.dat).
_GATHERING = frozenset(
    (2335, 4053, 3538, 3545, 2901, 6291, 3175, 3197, 3267, 3270, 6276, 6280, 6281, 6282, 6284)
    + (6288, 6289, 6290, 2104, 2105, 2110, 2111, 2151, 2152, 2157, 2158, 2644, 2645, 2715, 2716)
    + (2721, 2722, 2727, 2728, 2819, 2820, 2821, 2822, 2823, 2824, 2825, 2826, 2827, 2828, 2829)
)
# Numbers of SQLValueFunctionOp: up to SVFOP_LOCALTIMESTAMP_N they read the clock, from
# SVFOP_CURRENT_ROLE on they ask who and where the session is.
_LAST_CLOCK, _CURRENT_SCHEMA = 8, 14
_CURRENT_SETTING = frozenset((2077, 3294))  # with one argument, and with two
_WRITING = frozenset((2, 3, 4, 5))  # CMD_UPDATE, INSERT, DELETE; MERGE came between


def tree_of(row: ExpressionRow, text_reason: Callable[[int], Reason], bad_domains: bool) -> Tree:
    """Judge the nodes of one owner's expressions.

    Args:
        row: what was found in them.
        text_reason: why reading text as a type keeps from being cached.
        bad_domains: checks that cannot be seen through may run.
    """
    reasons = [_HARMLESS[node] for node in row.nodes if node in _HARMLESS]
    nodes = [node for node in row.nodes if node != _CHOOSES]
    unknown = [node for node in nodes if node not in _PLAIN and node not in _HARMLESS]
    if unknown:
        reasons.append(Reason.UNSUPPORTED_SYNTAX)
    if row.storage:
        reasons.append(Reason.SYSTEM_COLUMN)
    if any(value <= _LAST_CLOCK for value in row.values):
        reasons.append(Reason.CLOCK)
    if any(value > _CURRENT_SCHEMA for value in row.values):
        reasons.append(Reason.SESSION_FUNCTION)
    reasons += [reason for oid in row.texts if (reason := text_reason(oid)) is not Reason.NONE]
    if ("SQLVALUEFUNCTION" in row.nodes and not row.values) or (
        "COERCEVIAIO" in row.nodes and not row.texts
    ):
        reasons.append(Reason.UNSUPPORTED_SYNTAX)  # written in a way that is not known
    settings = [None if text is None else _text(text) for text in row.settings]
    functions = row.functions
    if settings and None not in settings:
        functions = tuple(oid for oid in functions if oid not in _CURRENT_SETTING)
    return Tree(
        functions=functions,
        relations=row.relations,
        reason=reasons[0] if reasons else Reason.NONE,
        opaque=bool(unknown) or bad_domains,
        writes=not _WRITING.isdisjoint(row.commands),
        locks="ROWMARKCLAUSE" in row.nodes,
        settings=tuple(sorted({plain(name) for name in settings if name is not None})),
        asks=bool(settings) or any(value > _LAST_CLOCK for value in row.values),
        schema=_CURRENT_SCHEMA in row.values,
        chooses=len(nodes) < len(row.nodes)
        or _NUMBERS in nodes
        or not _GATHERING.isdisjoint(row.functions),
    )


def _text(datum: str) -> str | None:
    """The text of a constant, from its bytes as signed numbers; None if it cannot be told."""
    stored = bytes(int(number) & 0xFF for number in datum.split())
    # Four bytes of length, in the server's byte order; on little-endian ones in the upper bits.
    lengths = int.from_bytes(stored[:4], "little") >> 2, int.from_bytes(stored[:4], "big")
    if len(stored) not in lengths or not stored[4:].isascii():
        return None
    return stored[4:].decode("ascii")
