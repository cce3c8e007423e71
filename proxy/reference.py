"""The parts of the reference that follow from the code: `python -m proxy.reference`.

What lives here: tables of settings, rule keys, metrics and reasons, and the JSON schema,
as texts; and writing them to `config/`. A test compares them with the files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from proxy.metrics import ALL
from proxy.policy.rules import RuleModel
from proxy.reasons import Reason
from proxy.settings import OPTIONS, json_schema

_REASONS_HEAD = """\
# Reasons

Why a statement was not answered from memory. The reason is a label of
`howdah_statements_total{outcome,reason}`; a hit has none. Made from the code by `make reference`.

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
    return _table(("Metric", "Labels", "Meaning"), rows)


def reasons_page() -> str:
    """config/REASONS.md."""
    rows = (
        (f"`{reason.value}`", reason.meaning, reason.advice)
        for reason in Reason
        if reason is not Reason.NONE
    )
    return _REASONS_HEAD + _table(("Reason", "Meaning", "What to do"), rows)


def schema_page() -> str:
    """config/howdah.schema.json."""
    return json.dumps(json_schema(), indent=2) + "\n"


def with_tables(page: str) -> str:
    """config/README.md with its tables brought up to date."""
    tables = {"settings": settings_table(), "rules": rules_table(), "metrics": metrics_table()}
    for name, table in tables.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->\n")
        page = f"{before}{begin}{table}{end}{after}"
    return page


def pages(config: Path) -> dict[Path, str]:
    """What each generated file of this directory should hold."""
    readme = config / "README.md"
    return {
        readme: with_tables(readme.read_text(encoding="utf-8")),
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
