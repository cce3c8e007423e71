"""Plans of functions that a session keeps, when the rights change that they rest on.

PostgreSQL does not plan anew when a membership or an attribute of a role changes, so such
a session goes on to answer as before. What it answers is its own, and no other session's.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.playbook.twins import Twins, make

SCHEMA = """
DO $$BEGIN
    CREATE ROLE kept_reader LOGIN; CREATE ROLE kept_group;
EXCEPTION WHEN duplicate_object THEN NULL; END$$;
CREATE TABLE public.t (v text); INSERT INTO public.t VALUES ('x');
CREATE TABLE public.r (v text); INSERT INTO public.r VALUES ('row');
ALTER TABLE public.r ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON public.r TO kept_group USING (true);
GRANT SELECT ON public.t, public.r TO PUBLIC;
CREATE FUNCTION public.seen() RETURNS bigint STABLE LANGUAGE plpgsql
    AS 'BEGIN RETURN (SELECT count(*) FROM public.r); END';
"""
SEEN = "SELECT seen(), v FROM t"


@pytest.fixture
def twins(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Iterator[Twins]:
    with make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "kept") as made:
        yield made


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ("GRANT kept_group TO kept_reader", "REVOKE kept_group FROM kept_reader"),
        ("REVOKE kept_group FROM kept_reader", "GRANT kept_group TO kept_reader"),
        ("ALTER ROLE kept_reader BYPASSRLS", "ALTER ROLE kept_reader NOBYPASSRLS"),
    ],
)
def test_old_plans_answer_for_nobody_else(twins: Twins, before: str, change: str) -> None:
    admin = twins.session()
    admin.through.query(before)
    old = twins.session("kept_reader")
    old.hit(SEEN)
    admin.through.query(change)
    for _ in range(3):
        old.step(SEEN)
    new = twins.session("kept_reader")
    new.hit(SEEN)
    admin.through.query("REVOKE kept_group FROM kept_reader")
    admin.through.query("ALTER ROLE kept_reader NOBYPASSRLS")
