"""The parts of the reference that follow from the code: `python -m proxy.reference`.

What lives here: tables of settings, rule keys, metrics, reasons, commands and views, and the
JSON schema, as texts; and writing them to `config/` and `docs/`. A test compares them with
the files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from proxy.admin.commands import COMMANDS
from proxy.admin.views import VIEWS
from proxy.metrics import ALL, PROCESS
from proxy.policy.rulefile import RuleModel
from proxy.reasons import Reason
from proxy.settings import OPTIONS, json_schema

_REASONS_HEAD = """\
# Reasons

Why a statement was not answered from memory. The reason is a label of
`howdah_statements_total{outcome,reason}`; a hit has none. `EXPLAIN CACHE` says it for a statement,
`SHOW QUERIES` for those that were seen, `SHOW REASONS` how often. Made from the code by
`make reference`.

"""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in cells) + "\n"


def settings_table() -> str:
    """One row for each setting."""
    rows = (
        (
            f"`{option.name}`",
            f"`{option.default}`" if option.default is not None else "required",
            option.kind,
            option.help,
        )
        for option in OPTIONS
    )
    return _table(("Key", "Default", "Kind", "Meaning"), rows)


def rules_table() -> str:
    """One row for each key of a rule."""
    rows = (
        (f"`{name}`", field.description or "") for name, field in RuleModel.model_fields.items()
    )
    return _table(("Key", "Meaning"), rows)


def metrics_table() -> str:
    """One row for each metric."""
    rows = (
        (f"`{metric.name}`", ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in ALL
    )
    process = ((f"`{name}`", "", meaning) for name, meaning in PROCESS.items())
    return _table(("Metric", "Labels", "Meaning"), [*rows, *process])


def labels_table() -> str:
    """One row for each value of each label; those of `reason` are a page of their own."""
    rows = (
        (f"`{metric.name}`", f"`{label}`", f"`{value}`", meaning)
        for metric in ALL
        for label, values in metric.labels.items()
        if label != "reason"
        for value, meaning in (values or {}).items()
    )
    return _table(("Metric", "Label", "Value", "Meaning"), rows)


def reasons_page() -> str:
    """config/REASONS.md."""
    rows = (
        (f"`{reason.value}`", reason.meaning, reason.example, reason.advice)
        for reason in Reason
        if reason is not Reason.NONE
    )
    return _REASONS_HEAD + _table(("Reason", "Meaning", "Example", "What to do"), rows)


def schema_page() -> str:
    """config/howdah.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


def commands_table() -> str:
    """One row for each command of the console."""
    rows = ((f"`{command.syntax}`", command.help) for command in COMMANDS)
    return _table(("Command", "Meaning"), rows)


def views_tables() -> str:
    """For each view a heading and a table, with a row for each column."""
    parts = []
    for view in VIEWS.values():
        rows = ((f"`{column.name}`", column.type, column.help) for column in view.columns)
        table = _table(("Column", "Type", "Meaning"), rows)
        parts.append(f"### SHOW {view.name.upper()}\n\n{view.help}\n\n{table}")
    return "\n".join(parts)


def with_tables(page: str) -> str:
    """A page with the tables that it has brought up to date."""
    tables = {
        "commands": commands_table(),
        "views": views_tables(),
        "settings": settings_table(),
        "rules": rules_table(),
        "metrics": metrics_table(),
        "labels": labels_table(),
    }
    for name, table in tables.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        if not begin:
            continue
        _, end, after = rest.partition("<!-- end -->\n")
        page = f"{before}{begin}{table}{end}{after}"
    return page


def pages(config: Path) -> dict[Path, str]:
    """What each generated file of this directory should hold."""
    tables = (config / "README.md", config.parent / "docs" / "console.md")
    return {
        **{path: with_tables(path.read_text(encoding="utf-8")) for path in tables},
        config / "REASONS.md": reasons_page(),
        config / "howdah.schema.json": schema_page(),
    }


def main() -> None:
    """Write the files of the source tree's `config/`."""
    config = Path(__file__).resolve().parents[1] / "config"
    if not config.is_dir():
        sys.exit("there is no config/ beside the package: run this in the source tree")
    for path, text in pages(config).items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
