"""The report on the sample applications: a table, and the reads that were not cacheable.

What lives here: text from outcomes. What must not: running anything.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.applications.run import RUNS, Outcome

_WIDTH = 150


def table(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Header and one row per application and server."""
    rows = [["application", "server", "reads", "cacheable", "hits when run again", "the rest"]]
    for outcome in outcomes:
        refused = outcome.refused()
        rest = ", ".join(
            f"{reason} {texts.total()}"
            for reason, texts in sorted(refused.items(), key=lambda item: -item[1].total())
        )
        rows.append(
            [
                outcome.application.title,
                outcome.server,
                f"{outcome.reads:,}",
                f"{outcome.cacheable:.1%}",
                f"{outcome.hits:.1%}",
                rest or "none",
            ]
        )
    return rows


def plain(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns for the terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown(outcomes: Sequence[Outcome], versions: Sequence[str]) -> str:
    """The page `docs/cacheable.md`."""
    parts = [_HEAD.format(runs=RUNS, versions=", ".join(versions)), _markdown(table(outcomes))]
    parts.append(_KEY)
    parts.append("## What was not cacheable")
    told: set[str] = set()
    for outcome in outcomes:
        title = outcome.application.title
        if outcome.refused() and title not in told:
            told.add(title)
            parts += [f"### {title}", _markdown(_rest(outcome))]
    return "\n\n".join(parts) + "\n"


def _rest(outcome: Outcome) -> list[list[str]]:
    rows = [["reason", "reads", "for example", "why"]]
    groups: dict[tuple[str, str], tuple[int, str]] = {}
    for reason, texts in outcome.refused().items():
        for text, count in texts.items():
            accepted = outcome.application.accepted_as(reason, text)
            why = "**unexpected**" if accepted is None else accepted.why
            if accepted is not None and accepted.wanted:
                why += " (a known gap)"
            before, example = groups.get((reason, why), (0, text))
            groups[reason, why] = before + count, min(example, text, key=len)
    for (reason, why), (count, example) in sorted(groups.items(), key=lambda item: -item[1][0]):
        rows.append([f"`{reason}`", f"{count:,}", f"`{_short(example)}`", why])
    return rows


def _short(text: str) -> str:
    # Names of cursors hold addresses: the page should not change with each run.
    text = re.sub(r'"_django_curs_\w+"', '"_django_curs_..."', " ".join(text.split()))
    text = text.replace("|", "\\|").replace("`", "'")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(rows[0])
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))


_HEAD = """# What of real applications is cached

Made by `python -m tests.applications`, which runs programs as they are written, over their usual
drivers, through Howdah, and asks Howdah after each statement what became of it. No rule is set.
Each application runs {runs} times in one database: it logs in, reads, writes, and reads again.

Versions: {versions}."""

_KEY = """- **reads**: SELECT and its like, of all runs, those of the driver itself included; a
  cursor counts once.
- **cacheable**: answered from memory, or forwarded and offered for the next time.
- **hits when run again**: the share of reads that came from memory in the last run. The rest of
  the cacheable ones were first reads after a write of the same run, or reads of new rows.
- Transactions that write before they read, such as pgbench's, read from PostgreSQL: what they see
  belongs to them until they commit."""
