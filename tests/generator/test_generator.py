"""Random schemas, reads and writes give no wrong answer; seeded faults give some.

`python -m tests.generator --seed N --steps M` is the same for as long as wanted.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import Howdah, check, upstream_url
from tests.fix_pg import PostgresServer
from tests.fix_wire import message
from tests.generator.faults import FAULTS
from tests.generator.launcher import FaultyHowdah
from tests.generator.play import Figures, Player
from tests.generator.stage import Bench, failed, same

#: Steps with PostgreSQL 18 and with the older one.
STEPS = {18: 10_000, 15: 4_000}
#: The least share of hits among the reads: below it the comparison would prove little.
FLOOR = 0.4
#: Steps within which a fault must be found.
BOUND = 40_000


def passes(figures: Figures, steps: int) -> None:
    """Fail on a wrong answer, and on a run that shows little."""
    assert not figures.reports, "\n".join(figures.reports)
    assert figures.steps >= steps
    assert figures.share >= FLOOR, f"few reads were hits: {figures}, {figures.outcomes}"
    assert figures.failures < figures.messages / 3, f"few writes worked: {figures}"


def test_no_difference(each_postgres: PostgresServer, each_howdah: Howdah) -> None:
    steps = STEPS[18 if each_postgres.major >= 18 else 15]
    figures = Player(Bench(each_postgres, each_howdah), seed=1).play(steps)
    print(figures)
    passes(figures, steps)


@pytest.fixture
def faulty(postgres: PostgresServer, fault: str) -> Iterator[Howdah]:
    howdah = FaultyHowdah(upstream_url(postgres), fault).start()
    yield howdah
    check(howdah)
    howdah.destroy()


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_fault(postgres: PostgresServer, faulty: Howdah, fault: str) -> None:
    figures = Player(Bench(postgres, faulty), seed=1, shrinking=0).play(BOUND)
    print(figures)
    assert figures.reports, f"not found: {figures}"


def test_never_caching_does_not_pass() -> None:
    figures = Figures(writes=10, messages=10, compared=1000, asked=1000, hits=10)
    with pytest.raises(AssertionError, match="few reads were hits"):
        passes(figures, 1000)
    figures.hits = 900
    passes(figures, 1000)


def test_rows_without_an_order_are_a_multiset() -> None:
    one, two = (message("D", b"\0\1\0\0\0\1" + value) for value in (b"1", b"2"))
    end = message("C", b"SELECT 2\0") + message("Z", b"I")
    assert same(one + two + end, two + one + end, ordered=False)
    assert not same(one + two + end, two + one + end, ordered=True)
    assert not same(one + one + end, one + two + end, ordered=False)
    timeout = message("E", b"SERROR\0C57014\0Mslow\0\0") + message("Z", b"I")
    assert failed(timeout) == b"57014"
    assert same(one + end, timeout, ordered=True)
