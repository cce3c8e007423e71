"""A page of twenty reads comes from memory when it is shown again, whatever shows it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from tests.applications.pages import report
from tests.applications.pages.measure import LEAST, Count, Result, explain, measure
from tests.applications.pages.shop import READS
from tests.applications.pages.stack import Stack
from tests.applications.pages.stacks import STACKS
from tests.applications.record import Tally
from tests.fix_howdah import ROOT, Howdah
from tests.fix_pg import PostgresServer


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.name)
def test_a_page_comes_from_memory_but_for_what_was_written(
    stack: Stack, howdah: Howdah, postgres: PostgresServer
) -> None:
    result = measure(stack, postgres, howdah)
    for count in (result.reading, result.writing):
        # The page is all there is, so no read was left out of the share.
        assert count.hits + count.rest.total() - count.asides == count.reads, count
    assert result.reading.share >= LEAST, result.reading
    assert result.writing.share_unwritten >= LEAST, result.writing


@pytest.mark.parametrize("name", ["psycopg", "sqlalchemy_asyncpg", "django_atomic", "jdbc"])
def test_only_what_was_written_is_read_again(
    name: str, howdah: Howdah, postgres: PostgresServer
) -> None:
    stack = next(stack for stack in STACKS if stack.name == name)
    often = [
        (text, verdicts)
        for text, verdicts in explain(stack, postgres, howdah).verdicts.items()
        if verdicts["miss", "not_cached"] > 5
    ]
    assert len(often) == 1, often
    assert "visit" in often[0][0]


def result_of(stack: Stack, hits: int, server: str) -> Result:
    reading = Count(5, 100, hits, Counter({"bypass portal": 100 - hits}), 0)
    return Result(stack, server, reading, replace(reading, hits=hits - 5))


def test_shares_leave_out_what_was_written() -> None:
    result = result_of(STACKS[0], 95, "A")
    assert result.reading.share == 0.95
    assert result.writing.share == 0.90
    assert result.writing.share_unwritten == 90 / 95
    assert result.least == 90 / 95


def test_the_document_gets_a_new_table_between_its_marks() -> None:
    results = [
        result_of(stack, hits, server)
        for server, hits in (("A", 95), ("B", 100))
        for stack in STACKS[:2]
    ]
    text = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.updated(text, results)
    assert once.startswith(f"before\n{report.BEGIN}\n| stack | A, reading |")
    assert once.endswith(f"|\n{report.END}\nafter\n")
    assert f"| {STACKS[0].title} | 95.0% | 94.7% | 100.0% | 100.0% |" in once
    assert report.updated(once, results) == once
    assert report.table(results)[1][2:4] == ["95.0%", "bypass portal 5"]


def test_an_explanation_names_what_was_no_hit() -> None:
    tally = Tally()
    tally.add("SELECT  1", Counter({("hit", ""): 3, ("miss", "not_cached"): 1}))
    tally.add("SELECT 2", Counter({("hit", ""): 3}))
    assert report.explanation(tally) == "    3 hits, else {'miss not_cached': 1}: SELECT 1"


def test_names_and_titles_are_told_once() -> None:
    assert len({stack.name for stack in STACKS}) == len({stack.title for stack in STACKS})
    assert len({stack.title for stack in STACKS}) == len(STACKS)
    assert READS == 20


def test_one_stack_can_be_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.applications.pages", "--only", "psycopg", "--explain"]
        + ["--server", "18"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "SELECT pages FROM visit" in done.stdout
    assert "written:" not in done.stdout
