"""The page of the console says what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.admin.commands import COMMANDS, help_rows
from proxy.admin.views import VIEWS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "console.md").read_text(encoding="utf-8")
# Commands that are told of with others.
TOGETHER = {"HELP": "SHOW", "PAUSE": "PAUSE and RESUME", "RESUME": "PAUSE and RESUME"}
TOGETHER["EXPLAIN"] = "EXPLAIN CACHE"


def section(title: str) -> str:
    found = re.search(rf"(?ms)^### {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE)
    assert found is not None, f"no section {title}"
    return found[1]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.word)
def test_every_command_has_a_section_with_an_example(command):
    text = section(TOGETHER.get(command.word, command.word))
    example = r"SHOW HELP" if command.word == "HELP" else command.word
    assert re.search(rf"(?m)^howdah=> {example}\b", text)


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)
def test_every_view_and_column_is_told_of(view):
    text = section(f"SHOW {view.name.upper()}")
    assert view.help in text
    assert re.findall(r"(?m)^\| `(\w+)` \|", text) == [column.name for column in view.columns]


def test_help_has_no_row_without_words():
    assert all(all(row) for row in help_rows())
    assert len(set(help_rows())) == len(COMMANDS) + len(VIEWS)
