"""The shares as a table for the terminal and for docs/orm.md.

What lives here: text from results. What must not: running anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.applications.pages.measure import Count, Result
from tests.applications.record import Tally

BEGIN, END = "<!-- shares -->", "<!-- end of shares -->"


def _rest(count: Count) -> str:
    return ", ".join(f"{what} {number}" for what, number in count.rest.most_common()) or "none"


def table(results: Sequence[Result]) -> list[list[str]]:
    """Header and one row per stack and server."""
    rows = [["stack", "server", "reading", "the rest", "writing", "the rest"]]
    rows += [
        [
            result.stack.name,
            result.server,
            f"{result.reading.share:.1%}",
            _rest(result.reading),
            f"{result.writing.share_unwritten:.1%}",
            _rest(result.writing),
        ]
        for result in results
    ]
    return rows


def explanation(tally: Tally) -> str:
    """The statements that were not hits, with their verdicts."""
    lines = []
    for text, verdicts in tally.verdicts.items():
        rest = {f"{o} {r}": n for (o, r), n in verdicts.items() if o not in ("hit", "shared")}
        if rest:
            hits = sum(n for (o, _), n in verdicts.items() if o in ("hit", "shared"))
            lines.append(f"  {hits:3} hits, else {rest}: {' '.join(text.split())[:100]}")
    return "\n".join(lines)


def updated(document: str, results: Sequence[Result]) -> str:
    """The document with a new table between its marks."""
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{_markdown(results)}\n{END}{rest.partition(END)[2]}"


def _markdown(results: Sequence[Result]) -> str:
    servers = list(dict.fromkeys(result.server for result in results))
    head = ["stack", *[f"{s}, {kind}" for s in servers for kind in ("reading", "writing")]]
    lines = [head, ["---"] * len(head)]
    for title in dict.fromkeys(result.stack.title for result in results):
        cells = [title]
        for server in servers:
            one = next(r for r in results if (r.server, r.stack.title) == (server, title))
            cells += [f"{one.reading.share:.1%}", f"{one.writing.share_unwritten:.1%}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
