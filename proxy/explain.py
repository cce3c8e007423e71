"""`howdah explain`: has a running Howdah explain a statement.

What lives here: the question over HTTP and the table. What must not: the explanation, see
`proxy.session.explain`.
"""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator

from proxy import remote
from proxy.session.explanation import Explanation

_NARROWEST = 40  # characters of a value in one line


def run(address: str, sql: str, *, database: str = "", role: str = "", as_json: bool) -> int:
    """Print what the Howdah at `address` says of `sql`; returns the exit code.

    Raises:
        HowdahError: it cannot be asked, or cannot explain it.
    """
    asked = {"sql": sql, "database": database, "role": role}
    document = remote.post(address, "/api/explain", asked)
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        print("\n".join(lines(Explanation(document).rows(), width)))
    return 0


def lines(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    """Two columns, the second one folded so that nothing is wider than `width`."""
    first = max(len(item) for item, _ in rows) + 2
    before = ""
    for item, value in rows:
        folded = textwrap.wrap(
            value, max(_NARROWEST, width - first), break_long_words=False, break_on_hyphens=False
        )
        for number, line in enumerate(folded or [""]):
            shown = item if number == 0 and item != before else ""
            yield f"{shown:<{first}}{line}"
        before = item
