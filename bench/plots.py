"""Bar charts as SVG, written by hand: groups of bars, the range over the rounds as a thin line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

from bench.report import Results, Spread, rate
from bench.scenarios import CLIENTS, MODES

COLOURS = {
    "direct": "#4c6a92",
    "pgbouncer": "#9a9a9a",
    "pgpool": "#c2a14d",
    "howdah": "#b5462f",
    "echo": "#d9d4c7",
    "relay": "#d9d4c7",
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 320, 76, 12, 56, 34

Groups = Mapping[str, Mapping[str, Spread]]  # group label -> system -> value


def charts(results: Results, titles: Mapping[str, str]) -> dict[str, str]:
    """File name -> SVG for everything that was measured."""
    hits = _groups(titles, lambda mode, s: results.spread(f"hit-{mode}-{CLIENTS}", s, rate))
    added = _groups(
        titles, lambda mode, s: Spread.of(list(results.added(f"forward-{mode}-1", s).values()))
    )
    for group in added.values():
        group.pop("direct", None)
    found = {
        "latest-hits.svg": (f"Point reads per second, {CLIENTS} clients", "per second", hits),
        "latest-forwarded.svg": (
            "Added to a forwarded statement, 1 client, p50",
            "microseconds",
            added,
        ),
    }
    return {
        name: bars(title, unit, groups, titles)
        for name, (title, unit, groups) in found.items()
        if any(groups.values())
    }


def _groups(
    titles: Mapping[str, str], value: Callable[[str, str], Spread | None]
) -> dict[str, dict[str, Spread]]:
    groups: dict[str, dict[str, Spread]] = {}
    for mode in MODES:
        found = {system: value(mode, system) for system in titles}
        groups[mode] = {system: spread for system, spread in found.items() if spread is not None}
    return groups


def bars(title: str, unit: str, groups: Groups, titles: Mapping[str, str]) -> str:
    """One chart; a system without a value in a group leaves a gap there."""
    systems = [s for s in COLOURS if any(s in group for group in groups.values())]
    top = _round_up(max(v.high for group in groups.values() for v in group.values()))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 20, title, 'font-size="15"'),
        *_legend(systems, titles),
        *_grid(top, unit),
    ]
    group_width = (WIDTH - LEFT - RIGHT) / len(groups)
    bar_width = group_width * 0.8 / len(systems)
    for index, (label, values) in enumerate(groups.items()):
        start = LEFT + (index + 0.1) * group_width
        for place, system in enumerate(systems):
            if system in values:
                parts += _bar(start + place * bar_width, bar_width, values[system], top, system)
        middle = start + group_width * 0.4
        parts.append(_text(middle, HEIGHT - 14, label, 'text-anchor="middle"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _y(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - max(value, 0.0) / top)


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(text)}</text>'


def _legend(systems: list[str], titles: Mapping[str, str]) -> list[str]:
    parts, x = [], float(LEFT)
    for system in systems:
        parts.append(f'<rect x="{x:.0f}" y="30" width="10" height="10" fill="{COLOURS[system]}"/>')
        parts.append(_text(x + 14, 39, titles[system]))
        x += 32 + 6.8 * len(titles[system])
    return parts


def _grid(top: float, unit: str) -> list[str]:
    parts = []
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>'
        )
        label = f"{value:,.0f}" if top >= 40 else f"{value:g}"
        parts.append(_text(LEFT - 6, y + 4, label, 'text-anchor="end"'))
    middle = _y(top / 2, top)
    parts.append(
        f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(unit)}</text>"
    )
    return parts


def _bar(x: float, width: float, spread: Spread, top: float, system: str) -> list[str]:
    y, foot = _y(spread.median, top), _y(0, top)
    middle = x + width / 2
    label = f"{spread.median:,.0f}" if top >= 40 else f"{spread.median:.2g}"
    return [
        f'<rect x="{x + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{foot - y:.1f}" '
        f'fill="{COLOURS[system]}"/>',
        f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{_y(spread.low, top):.1f}" '
        f'y2="{_y(spread.high, top):.1f}" stroke="#333"/>',
        _text(
            middle, min(y, _y(spread.high, top)) - 4, label, 'text-anchor="middle" font-size="9"'
        ),
    ]


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 6, 8 x a power of ten, so that quarters are round numbers."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)
