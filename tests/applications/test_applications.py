"""Of what typical applications read, hardly anything has to be forwarded, and never by surprise."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests.applications import report
from tests.applications.catalogue import APPLICATIONS, Accepted, Application
from tests.applications.record import Tally
from tests.applications.run import Outcome, run
from tests.drivers.shop import Place
from tests.fix_howdah import Howdah
from tests.fix_pg import SYSTEM_15, PostgresServer

MOMENTS = ("session_unknown", "catalog_loading", "fenced", "pipelined", "prepared_stale")


@pytest.mark.slow
@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda a: a.name)
def test_application(application: Application, howdah: Howdah, postgres: PostgresServer) -> None:
    if application.name.startswith("pgbench") and not (SYSTEM_15 / "pgbench").exists():
        pytest.skip("no pgbench on this system")
    outcome = run(application, postgres, howdah, runs=2)
    assert outcome.surprises() == [], "reads that are expected to be cached"
    assert outcome.reads >= 50
    # How many reads meet a moment like these depends on the speed of the machine.
    refused = outcome.refused()
    moments = sum(refused[reason].total() for reason in MOMENTS if reason in refused)
    steady = outcome.reads / (outcome.reads - moments)
    assert outcome.cacheable * steady >= application.floor, refused
    assert outcome.hits * steady >= application.hits / 2, refused


def outcome_of(*verdicts: tuple[str, str, str], accepted: tuple[Accepted, ...] = ()) -> Outcome:
    application = Application("a", "A", _nothing, _nothing, 0.5, 0.5, accepted)
    tally = Tally()
    for text, outcome, reason in verdicts:
        tally.add(text, Counter({(outcome, reason): 1}))
    return Outcome(application, "server", [tally])


def _nothing(place: Place) -> Any:
    raise AssertionError("not run")


def test_shares_count_reads_alone() -> None:
    outcome = outcome_of(
        ("SELECT 1", "hit", ""),
        ("select 2", "miss", "not_cached"),
        ("/* x */ SELECT 3", "write", "write_opaque"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "bypass", "clock"),
        ("UPDATE t SET a = 1", "write", "write"),
        ("FETCH 3 FROM c", "bypass", "cursor"),
        ("COMMIT", "other", "transaction"),
    )
    assert outcome.reads == 4
    assert outcome.cacheable == 0.5
    assert outcome.hits == 0.25
    assert {reason: texts.total() for reason, texts in outcome.refused().items()} == {
        "write_opaque": 1,
        "clock": 1,
    }


def test_a_surprise_is_a_reason_or_a_statement_that_nobody_accepted() -> None:
    accepted = (Accepted("clock", r"SELECT now\(\)", "why"),)
    verdicts = [("SELECT now()", "bypass", "clock"), ("SELECT a FROM b", "bypass", "clock")]
    verdicts.append(("SELECT now()", "bypass", "view"))
    outcome = outcome_of(*verdicts, accepted=accepted)
    assert sorted(outcome.surprises()) == [("clock", "SELECT a FROM b"), ("view", "SELECT now()")]
    assert "**unexpected**" in report.markdown([outcome], ["PostgreSQL 18"])
