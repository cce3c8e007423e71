"""Random sessions are told what their twins are told; seeded faults are noticed.

`python -m tests.stateful --seed N --steps M` is the same for as long as wanted, and shrinks.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import fix_howdah
from tests.fix_howdah import Howdah, check, upstream_url
from tests.fix_pg import PostgresServer
from tests.fix_wire import message
from tests.stateful.machine import Bench
from tests.stateful.run import play
from tests.stateful.twins import frames, plain

STEPS = 5000
#: Where Howdah has been broken, within which it has to be noticed.
BOUND = 15_000
#: The least share of hits among the reads: below it the comparison would prove little.
FLOOR = 0.15
#: Some of the faults of tests/mutations; `make mutations` looks for all.
QUICK = (
    "custom-settings-are-not-in-the-key",
    "role-is-not-in-the-key",
    "rollback-keeps-settings",
    "failed-transaction-reads-on",
)


def test_no_difference(
    request: pytest.FixtureRequest, postgres: PostgresServer, howdah: Howdah
) -> None:
    steps = BOUND if request.config.getoption("--mutation") else STEPS
    figures = play(Bench(postgres, howdah), 1, steps)
    print(figures, figures.kinds, figures.failures, figures.outcomes)
    assert not figures.reports, figures.reports[-1]
    assert figures.steps >= STEPS
    assert figures.share >= FLOOR, f"few reads were hits: {figures}, {figures.outcomes}"


@pytest.fixture
def faulty(postgres: PostgresServer, fault: str, monkeypatch) -> Iterator[Howdah]:
    monkeypatch.setattr(fix_howdah, "MODULE", ["tests.mutations.launch", fault])
    howdah = Howdah(upstream_url(postgres)).start()
    yield howdah
    check(howdah)
    howdah.destroy()


@pytest.mark.parametrize("fault", QUICK)
def test_fault(postgres: PostgresServer, faulty: Howdah, fault: str) -> None:
    figures = play(Bench(postgres, faulty), 1, BOUND)
    print(figures)
    assert figures.reports, f"not found: {figures}"


def test_equal_databases_differ_in_their_own_names_only() -> None:
    def described(table: int, type_: int) -> bytes:
        column = table.to_bytes(4, "big") + b"\0\1" + type_.to_bytes(4, "big")
        return message("T", b"\0\1v\0" + column + b"\xff\xff\xff\xff\xff\xff\0\0")

    def error(text: str) -> bytes:
        return message("E", f"SERROR\0C42704\0M{text}\0\0".encode())

    assert plain(described(20000, 25)) == plain(described(30000, 25))
    assert plain(described(20000, 25)) != plain(described(20000, 23))
    assert plain(described(20000, 50000)) == plain(described(20000, 60000))
    assert plain(error('no "pg_temp_3.t"')) == plain(error('no "pg_temp_14.t"'))
    assert plain(error('no "twin h1"')) == plain(error('no "twin d1"'))
    assert plain(error('no "twin h1"')) != plain(error('no "twin d2"'))
    assert frames(error("x"))[0].fields["M"] == "x"
