"""`howdah top`: a running Howdah, live in a terminal.

What lives here: two samples to a picture, and the loop that shows it. What must not: how
anything is counted. A sample is /api/state and the statements that cost the most; rates are
what happened between two samples, and since the start where there is only one.
"""

from __future__ import annotations

import contextlib
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from proxy import remote
from proxy.errors import HowdahError

FROM_MEMORY = ("hit", "shared", "stale")
READS = (*FROM_MEMORY, "miss", "bypass")
# What statements are ordered by, with what `s` turns to next.
ORDERS = ("spent", "saved", "calls")
_COLUMNS = (
    *("id", "database", "query", "reason", "calls", "hits", "shared", "stale"),
    *("saved_seconds", "spent_seconds"),
)
_QUERIES = 200
_REASONS = 6
# Rows that are no statements, and how many of those are shown at least.
_FURNITURE = 21
_LEAST = 5
_WIDTH = 120  # columns where there is no terminal

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look gave: /api/state, and statements by database and id."""

    state: dict[str, Any]
    queries: dict[tuple[str, str], Row]


def look(address: str) -> Sample:
    """Ask the Howdah at `address`; raises HowdahError."""
    state = remote.get(address, "/api/state")
    rows = remote.rows(
        address, "queries", columns=_COLUMNS, order_by="spent_seconds DESC", limit=_QUERIES
    )
    return Sample(state, {(row["database"], row["id"]): row for row in rows})


def run(address: str, *, interval: float = 2.0, once: bool = False) -> int:
    """Show it until q, Ctrl-C or the end of the terminal; returns the exit code.

    Args:
        interval: seconds between looks.
        once: one picture as text, with rates since the start; also where no terminal is.

    Raises:
        HowdahError: there is no Howdah at `address`.
    """
    console = Console()
    sample = look(address)
    if once or not console.is_terminal:
        width = None if console.is_terminal else _WIDTH
        Console(width=width, highlight=False).print(picture(sample, None, rows=20))
        return 0
    order = ORDERS[0]
    before: Sample | None = None
    problem = ""
    with _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            rows = max(_LEAST, console.height - _FURNITURE)
            shown = picture(sample, before, rows=rows, order=order, problem=problem)
            live.update(shown, refresh=True)
            key = keys(interval)
            if key in ("q", "\x03", "\x04"):
                return 0
            if key == "s":
                order = ORDERS[(ORDERS.index(order) + 1) % len(ORDERS)]
                continue
            try:
                before, sample, problem = sample, look(address), ""
            except HowdahError as error:
                problem = error.message


class _Keys:
    """Waits for a key, at most so many seconds; empty where none came."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal

    def __call__(self, seconds: float) -> str:
        if not self._terminal:
            time.sleep(seconds)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        if not ready:
            return ""
        # The end of the terminal is read as nothing, for ever.
        return sys.stdin.read(1) or "q"


@contextlib.contextmanager
def _keys() -> Iterator[_Keys]:
    """Have keys come one by one, without Enter, where there is a keyboard."""
    if not sys.stdin.isatty():
        yield _Keys(False)
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield _Keys(True)
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


# The picture


def picture(
    now: Sample,
    before: Sample | None,
    *,
    rows: int = 20,
    order: str = ORDERS[0],
    problem: str = "",
) -> RenderableType:
    """One frame.

    Args:
        before: what rates are counted from; None counts them from the start.
        rows: statements that are shown.
        order: one of `ORDERS`.
        problem: why the last look failed.
    """
    state = now.state
    seconds = _between(now, before)
    parts: list[RenderableType] = [_head(state), *_warnings(state, problem), Text()]
    parts += [_outcomes(state, before, seconds), Text(), _reasons(state, before, seconds), Text()]
    parts.append(_statements(now, before, seconds, rows, order))
    since = f"rates over {seconds:.1f} s" if before is not None else "rates since the start"
    parts.append(Text(f"{since}; q: leave, s: order by {_next(order)}", style="dim"))
    return Group(*parts)


def _between(now: Sample, before: Sample | None) -> float:
    if before is None:
        return max(0.001, float(now.state["uptime"]))
    passed = float(now.state["uptime"]) - float(before.state["uptime"])
    # It was started anew: what it says of itself is since then.
    return passed if passed > 0 else max(0.001, float(now.state["uptime"]))


def _gained(now: float, before: float) -> float:
    """What came since; counters that begin anew begin at nothing."""
    return now - before if now >= before else now


def _head(state: dict[str, Any]) -> Text:
    used, capacity = state["cache_bytes"], state["capacity"]
    share = state["hit_share"]
    head = Text(overflow="ellipsis", no_wrap=True)
    head.append(f"Howdah {state['version']}", style="bold")
    head.append(f"  up {_time_long(state['uptime'])}  contract {state['contract']}  cache ")
    head.append(state["cache"], style="green" if state["cache"] == "on" else "yellow")
    head.append(
        f"\nclients {state['clients']}  upstreams {state['upstreams']}  fences "
        f"{len(state['fences'])}  answers {state['entries']:,} in {_size(used)} of "
        f"{_size(capacity)} ({used / capacity:.0%})  from memory since the start "
        f"{'-' if share is None else f'{share:.1%}'}"
    )
    return head


def _warnings(state: dict[str, Any], problem: str) -> Iterator[Text]:
    if problem:
        yield Text(f"! {problem}", style="bold red")
    for each in state["problems"]:
        yield Text(f"! {each}", style="red")
    for each in state["warnings"]:
        yield Text(f"! {each}", style="yellow")


def _table(*columns: str) -> Table:
    """Columns with a `<` in front are for text, the others for numbers; a `*` may grow."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for column in columns:
        text, grows = column[0] in "<*", column[0] == "*"
        table.add_column(
            column.lstrip("<*"),
            justify="left" if text else "right",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if grows else None,
        )
    return table


def _outcomes(state: dict[str, Any], before: Sample | None, seconds: float) -> Table:
    table = _table("<outcome", "per second", "share of reads", "mean", "p50", "p99", "*", "all")
    then = before.state["outcomes"] if before is not None else {}
    gained = {o: _gained(n, then.get(o, 0)) for o, n in state["outcomes"].items()}
    reads = sum(gained.get(outcome, 0) for outcome in READS)
    for outcome, number in state["outcomes"].items():
        if not number:
            continue
        times = state["seconds"].get(outcome) or {}
        share = f"{gained[outcome] / reads:.1%}" if reads and outcome in READS else ""
        table.add_row(
            Text(outcome, style="green" if outcome in FROM_MEMORY else ""),
            _rate(gained[outcome] / seconds),
            share,
            *(_time(times.get(name)) for name in ("mean", "p50", "p99")),
            "",
            f"{number:,}",
        )
    return table


def _reasons(state: dict[str, Any], before: Sample | None, seconds: float) -> Table:
    table = _table("<not from memory", "<reason", "per second", "*what to do")
    then = {}
    if before is not None:
        then = {(r["outcome"], r["reason"]): r["count"] for r in before.state["reasons"]}
    gained = [
        (_gained(row["count"], then.get((row["outcome"], row["reason"]), 0)), row)
        for row in state["reasons"]
        if row["outcome"] in ("miss", "bypass")
    ]
    gained.sort(key=lambda item: (-item[0], -item[1]["count"]))
    for number, row in gained[:_REASONS]:
        table.add_row(row["outcome"], row["reason"], _rate(number / seconds), row["advice"])
    return table


def _statements(now: Sample, before: Sample | None, seconds: float, rows: int, order: str) -> Table:
    names = {"spent": "spent/s", "saved": "saved/s", "calls": "calls/s"}
    heads = [f"{names[name]} v" if name == order else names[name] for name in names]
    table = _table("<id", *heads, "hits", "<why not", "*statement")
    found: list[tuple[dict[str, float], Row]] = []
    for which, row in now.queries.items():
        then = before.queries.get(which, {}) if before is not None else {}
        spent = _gained(row["spent_seconds"] or 0.0, then.get("spent_seconds") or 0.0) / seconds
        saved = _gained(row["saved_seconds"] or 0.0, then.get("saved_seconds") or 0.0) / seconds
        calls = _gained(row["calls"], then.get("calls") or 0) / seconds
        found.append(({"spent": spent, "saved": saved, "calls": calls}, row))
    found.sort(key=lambda item: -item[0][order])
    for each, row in found[:rows]:
        memory = row["hits"] + row["shared"] + row["stale"]
        table.add_row(
            row["id"],
            _time(each["spent"]),
            _time(each["saved"]),
            _rate(each["calls"]),
            f"{memory / row['calls']:.0%}" if row["calls"] else "",
            row["reason"] or "",
            Text(row["query"]),
        )
    return table


def _next(order: str) -> str:
    return ORDERS[(ORDERS.index(order) + 1) % len(ORDERS)]


# Numbers


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 0.05 else "0"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"


def _time_long(seconds: float) -> str:
    days, rest = divmod(int(seconds), 86400)
    clock = f"{rest // 3600:02}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"
