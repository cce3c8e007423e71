"""EXPLAIN CACHE for the console, the API and the command line.

What lives here: the way in for those that know a database and a role but no session. What
must not: how anything is explained, see `session.explain`.

Use: `explain(engine, sql, database=..., role=...)` gives an `Explanation`, whose `rows()` are
(item, value) pairs of text in the order of reading, under `COLUMNS`, and whose `document()`
is the same as plain JSON. A `HowdahError` says what is wrong with the request: 3D000 for a
database that Howdah does not know, 42601 for an empty text or wrong options. `command(text)`
takes `EXPLAIN CACHE [(DATABASE x, ROLE y, FORMAT json)] sql` apart; None for other texts.
"""

from __future__ import annotations

from proxy.session.command import Command, command
from proxy.session.explain import COLUMNS, Explanation, explain

__all__ = ["COLUMNS", "Command", "Explanation", "command", "explain"]
