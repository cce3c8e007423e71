"""Analysis of a text: the only user of the parser.

What lives here: `analyse`, which turns a text into facts. What must not: any
knowledge of catalog, session or rules. The parser is libpg_query's grammar of
PostgreSQL 18; a text that it refuses is unknown (F9), since servers from 13 to
18 may read it otherwise.
"""

from __future__ import annotations

import json

from pglast.parser import ParseError, parse_sql_json

from proxy.sql.facts import Analysis, Facts
from proxy.sql.hints import hints
from proxy.sql.utility import statement_facts


def analyse(text: str) -> Analysis:
    """Say what a text holds.

    Never raises: what cannot be parsed gives an `Analysis` with `error`, which
    counts as a write of everything.
    """
    if "\0" in text:
        return Analysis(text, error="the text holds a zero byte")
    try:
        tree = json.loads(parse_sql_json(text))
        statements: tuple[Facts, ...] = tuple(
            statement_facts(item["stmt"]) for item in tree.get("stmts", ()) if item.get("stmt")
        )
    except ParseError as error:
        return Analysis(text, error=str(error.args[0]) if error.args else "syntax error")
    except (RecursionError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        # Nested too deeply, or a tree that is not as expected: nothing is known.
        return Analysis(text, error=f"the parse tree is not understood: {error!r}")
    return Analysis(text, statements, hints=hints(text))
