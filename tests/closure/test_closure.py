"""Every row of the closure suite on both servers, in all four styles."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import pytest

from tests.closure import cases_read
from tests.closure.case import BASE, UNRELATED_TABLE, Case
from tests.closure.cases_ddl import DDL
from tests.closure.cases_function import FUNCTIONS
from tests.closure.cases_identity import DOMAINS, IDENTITY, RIGHTS
from tests.closure.cases_kinds import APART, KINDS
from tests.closure.cases_reach import REACH
from tests.closure.cases_read import READS
from tests.closure.cases_write import WRITES
from tests.closure.run import Bench, opened, run_case
from tests.fix_howdah import Howdah, check, upstream_url
from tests.fix_pg import PostgresServer

#: Rows by what they are about.
GROUPS = {
    "read": READS,
    "write": WRITES,
    "reach": REACH,
    "function": FUNCTIONS,
    "ddl": DDL + RIGHTS,
    "kinds": KINDS,
    "identity": IDENTITY,
    "apart": APART + DOMAINS,
}
CASES = [case for group in GROUPS.values() for case in group]
SHARED = {cases_read.HOME: cases_read.SCHEMA}


def runs_on(case: Case, server: PostgresServer) -> bool:
    return case.since <= server.major <= case.until


@pytest.fixture(scope="module")
def bench_of(
    each_postgres: PostgresServer,
) -> Iterator[Callable[[str], Bench]]:
    """The bench of a group; changes of the schema have a small database of their own.

    Each of them has the catalog read again, which takes longer where there is more.
    """
    # No lifetime may end between two looks at the unrelated entry.
    howdah = Howdah(upstream_url(each_postgres), "--max-age", "none").start()
    with contextlib.ExitStack() as stack:
        stack.callback(howdah.destroy)

        @functools.cache
        def bench(place: str) -> Bench:
            # Some name the database, so it is there before them.
            database = each_postgres.create_database(UNRELATED_TABLE, name=f"closure_{place}")
            scripts = []
            scripts += [text.replace("{s}", home) for home, text in SHARED.items()]
            for group, cases in GROUPS.items():
                for case in cases if place_of(group) == place else ():
                    if not case.schema and runs_on(case, each_postgres):
                        scripts += [t.replace("{s}", case.home) for t in (BASE, case.setup) if t]
            port = str(each_postgres.port)
            scripts = [t.replace("{d}", database).replace("{port}", port) for t in scripts]
            each_postgres.run(database, *scripts)
            return stack.enter_context(opened(howdah, each_postgres, database))

        yield bench


def place_of(group: str) -> str:
    return group if group in ("ddl", "apart") else "main"


PARAMETERS = [
    pytest.param(group, case, turn, id=f"{group}-{case.name}")
    for group, cases in GROUPS.items()
    for turn, case in enumerate(cases)
]


@pytest.mark.parametrize(("group", "case", "turn"), PARAMETERS)
def test_case(
    bench_of: Callable[[str], Bench],
    each_postgres: PostgresServer,
    group: str,
    case: Case,
    turn: int,
) -> None:
    if not runs_on(case, each_postgres):
        pytest.skip(f"PostgreSQL {case.since} to {case.until}")
    bench = bench_of(place_of(group))
    start = len(bench.howdah.log)
    run_case(bench, case, turn + each_postgres.major)
    check(bench.howdah, start)
