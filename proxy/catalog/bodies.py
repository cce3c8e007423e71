"""Trigger functions in PL/pgSQL that only look at the row at hand.

What lives here: the recognition of bodies such as `NEW.updated_at = now();
RETURN NEW;`. What must not: a parser of PL/pgSQL; every token must be on a short
list, and one that is not makes the function opaque (F9). The list holds no
statement that runs SQL, no variables, and only built-in functions that write
nothing; the caller says which of these names users have taken for their own.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*(?:\n|$)|/\*(?:(?!/\*|\*/).)*\*/)
    | (?P<string>'(?:[^'\\]|'')*')
    | (?P<number>\d+(?:\.\d+)?)
    | (?P<field>\.\s*(?:"(?:[^"]|"")+"|\*|[a-z_][a-z0-9_]*))
    | (?P<call>[a-z_][a-z0-9_]*)\s*\(
    | (?P<word>[a-z_][a-z0-9_]*)
    | (?P<sign>:=|<>|!=|<=|>=|\|\||::|[-+*/=<>(),;%])
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_WORDS = frozenset(
    """
    begin end if then elsif elseif else return new old null is not distinct from and or true false
    in between like raise exception notice warning info log debug using errcode message detail
    hint at time zone current_timestamp current_date current_time localtimestamp current_user
    session_user tg_op tg_name tg_table_name tg_table_schema tg_when tg_level case when perform
    """.split()
)
# Words that may be followed by a bracket without being a call.
_BEFORE_BRACKETS = frozenset("if elsif elseif and or not in then return when else using".split())
_CALLS = frozenset(
    """
    now clock_timestamp statement_timestamp transaction_timestamp timezone lower upper trim btrim
    ltrim rtrim coalesce greatest least nullif length char_length abs round floor ceil md5 concat
    concat_ws replace regexp_replace substring left right date_trunc extract to_char jsonb_set
    gen_random_uuid current_timestamp localtimestamp initcap split_part strpos position
    to_tsvector setweight row pg_notify row_to_json to_json to_jsonb json_build_object
    jsonb_build_object
    """.split()
)
# What the grammar knows cannot be taken by users.
_GRAMMAR_CALLS = frozenset(
    "coalesce greatest least nullif row current_timestamp localtimestamp".split()
)
_TYPES = frozenset(
    "text int integer bigint numeric boolean timestamp timestamptz date interval varchar json "
    "jsonb".split()
)
# What these bodies may use of operators, LIKE included; users may have made their own.
OPERATORS = frozenset(("=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "||", "~~", "!~~"))


def only_touches_its_row(body: str, taken: frozenset[str]) -> bool:
    """Tell whether a trigger function surely does nothing but change NEW, notify or raise.

    Args:
        body: prosrc of a function in PL/pgSQL.
        taken: names of opaque functions that users have made, in any schema.
    """
    position, before = 0, ("", "")
    while position < len(body):
        token = _TOKEN.match(body, position)
        if token is None:
            return False
        position = token.end()
        kind, text = token.lastgroup or "", token.group().lower()
        if kind == "space":
            continue
        if not _allowed(kind, text, before, taken):
            return False
        before = (kind, text)
    return True


def _allowed(kind: str, text: str, before: tuple[str, str], taken: frozenset[str]) -> bool:
    if kind == "call":
        name = text.rstrip("( \t\r\n")
        known = name in _CALLS and (name in _GRAMMAR_CALLS or name not in taken)
        return known or name in _BEFORE_BRACKETS
    if kind == "word":
        if text == "from":
            return before[1] == "distinct"  # IS DISTINCT FROM, never a table
        return text in _WORDS or (before[1] == "::" and text in _TYPES)
    # `new.f(x)` would be a call of f in a schema named new.
    return not (text == "(" and before[0] == "field")
