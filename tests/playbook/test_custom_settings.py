"""Settings that belong to nobody (app.tenant), in keys and through transactions.

Each step runs in a twin session that is connected directly; the replies must be equal. What
is new is learnt from probes, so every play runs several times, in sessions old and new.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import SYNC, bind, close, execute, parse
from tests.playbook.twins import Step, Twin, Twins, ext, make, pipeline

SCHEMA = """
CREATE TABLE public.notes (id int PRIMARY KEY, tenant text, v text);
INSERT INTO public.notes SELECT g, 't' || g % 3, 'note ' || g FROM generate_series(1, 9) g;
ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.notes USING (tenant = current_setting('app.tenant', true)
    OR current_setting('app.tenant', true) IS NULL);
CREATE TABLE public.t (v text);
INSERT INTO public.t VALUES ('x');
CREATE TABLE public.times (at timestamptz);
INSERT INTO public.times VALUES ('2024-03-04 05:06:07+00');
CREATE FUNCTION public.tenant() RETURNS text STABLE LANGUAGE sql
    AS $$SELECT current_setting('app.tenant', true)$$;
GRANT SELECT ON public.notes, public.t, public.times TO PUBLIC;
DO $$BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END$$;
"""

NOTES = "SELECT count(*), min(v) FROM notes"
SHOWN = "SELECT coalesce(current_setting('app.tenant', true), 'none'), v FROM t"
CALLED = "SELECT coalesce(tenant(), 'none'), v FROM t"
TIMES = "SELECT at FROM times"


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "custom")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    with bench:
        yield bench


def reader(twins: Twins, **options: str) -> Twin:
    return twins.session("reader", warm=True, **options)


def plays(twins: Twins, *steps: Step, times: int = 4, **options: str) -> Twin:
    """Run the steps in several sessions, several times; the last of them."""
    for _ in range(2):
        session = reader(twins, **options)
        for _ in range(times):
            session.run(*steps)
    return session


READS: tuple[Step, ...] = (NOTES, ext(NOTES), SHOWN, ext(CALLED), NOTES)


def test_a_tenant_set_for_a_transaction(twins: Twins) -> None:
    """Once it is known where the SET leads, the whole transaction stays in memory."""
    session = plays(
        twins,
        *(
            step
            for tenant in ("t0", "t1", "t0")
            for step in ("BEGIN", f"SET LOCAL app.tenant = '{tenant}'", *READS, "COMMIT", *READS)
        ),
    )
    session.hits(10, "BEGIN", "SET LOCAL app.tenant = 't1'", *READS, "COMMIT", *READS)
    assert session.through.status == "I"
    session.hits(5, "BEGIN", ext("SET LOCAL app.tenant = 't0'"), *READS, "ROLLBACK")
    session.hits(3, "BEGIN", "SET LOCAL app.tenant = 't2'", *READS[:0], "ROLLBACK", *READS[:3])


def test_what_a_transaction_sets_first_leaves_it_empty(twins: Twins) -> None:
    """The first SET of a session makes the setting; its end empties it and does not undo that."""
    for end in ("COMMIT", "ROLLBACK"):
        for change in (
            "SET LOCAL app.tenant = 't0'",
            "SELECT set_config('app.tenant', 't0', true)",
            ext("SELECT set_config('app.tenant', $1, true)", b"t0"),
        ):
            for _ in range(3):
                session = reader(twins)
                session.run(SHOWN, NOTES, SHOWN, NOTES)
                session.run("BEGIN", change, SHOWN, NOTES, end, SHOWN, NOTES)
                session.run("BEGIN", change, end, SHOWN, NOTES)
                session.hit(NOTES)


def test_a_setting_that_is_read_for_the_first_time_in_a_transaction(twins: Twins) -> None:
    """Until then a SET of it made no difference, so what COMMIT leads to is not known."""
    for number, end in enumerate(("COMMIT", "ROLLBACK", "ROLLBACK TO a")):
        for local in ("SET LOCAL", "SET"):
            name = f"app.late{number}{local[-1].lower()}"
            shown = f"SELECT coalesce(current_setting('{name}', true), 'none'), v FROM t"
            session = reader(twins)
            session.run("BEGIN", NOTES, "SAVEPOINT a", f"{local} {name} = 'x'", shown, shown)
            session.run(end, shown, shown, "COMMIT", shown, shown)
            session.hit(shown)
            reader(twins).run(shown, shown)


SAVEPOINTS: tuple[tuple[Step, ...], ...] = (
    ("SET app.tenant = 't1'", "SET LOCAL app.tenant = 't2'", NOTES, "COMMIT", NOTES, "ROLLBACK"),
    ("SET LOCAL app.tenant = 't1'", "SET app.tenant = 't2'", NOTES, "COMMIT", NOTES),
    ("SAVEPOINT a", "SET LOCAL app.tenant = 't1'", NOTES, "ROLLBACK TO a", NOTES, "COMMIT", NOTES),
    ("SAVEPOINT a", "SET app.tenant = 't1'", "RELEASE a", NOTES, "COMMIT", NOTES),
    ("SAVEPOINT a", "SET app.tenant = 't1'", "RELEASE a", NOTES, "ROLLBACK", NOTES),
    (
        *("SAVEPOINT a", "SET LOCAL app.tenant = 't1'", "SAVEPOINT a", NOTES),
        *("SET LOCAL app.tenant = 't2'", NOTES, "ROLLBACK TO a", NOTES, "RELEASE a"),
        *("ROLLBACK TO a", NOTES, "COMMIT", NOTES),
    ),
    ('SAVEPOINT "A"', "SET app.tenant = 't1'", 'ROLLBACK TO SAVEPOINT "A"', NOTES, "COMMIT", NOTES),
    ("SAVEPOINT A", "SET app.tenant = 't1'", 'ROLLBACK TO "a"', NOTES, "COMMIT", NOTES),
    (
        *("SAVEPOINT a", "SET app.tenant = 't1'", "SELECT 1 / 0", NOTES, "ROLLBACK TO a", NOTES),
        *("SET LOCAL app.tenant = 't2'", NOTES, "COMMIT", NOTES),
    ),
    ("SET app.tenant = 't1'", "SELECT 1 / 0", "COMMIT", NOTES),
    ("SET app.tenant = 't1'", NOTES, "COMMIT AND CHAIN", NOTES, "ROLLBACK", NOTES),
    ("SET app.tenant = 't1'", NOTES, "ROLLBACK AND CHAIN", NOTES, "COMMIT", NOTES),
    ("SET LOCAL app.tenant = 't1'", "COMMIT AND CHAIN", NOTES, "COMMIT", NOTES),
    ("SAVEPOINT a; SET app.tenant = 't1'", NOTES, "ROLLBACK TO a", NOTES, "COMMIT", NOTES),
    (
        *("SAVEPOINT a", "SET app.tenant = 't1'", "SAVEPOINT a; SELECT 1"),
        *("SET app.tenant = 't2'", NOTES, "ROLLBACK TO a", NOTES, "COMMIT", NOTES),
    ),
    ("SET app.tenant = 't1'", "RESET app.tenant", NOTES, "COMMIT", NOTES),
    (
        "SELECT set_config('app.tenant', 't1', false), set_config('app.tenant', 't2', true)",
        *(NOTES, "COMMIT", NOTES),
    ),
    ("SET app.tenant = 't1'; SET LOCAL app.tenant = 't2'", NOTES, "COMMIT", NOTES),
    ("SET app.tenant = 't1'", "RESET ALL", NOTES, "ROLLBACK", NOTES),
    ("SET LOCAL TimeZone = 'Asia/Tokyo'", TIMES, "COMMIT", TIMES),
    ("SET TimeZone = 'Asia/Tokyo'", TIMES, "ROLLBACK", TIMES, "SET TimeZone = 'UTC'", TIMES),
    ("SET TimeZone = 'Asia/Tokyo'", "SELECT 1 / 0", TIMES, "ROLLBACK", TIMES),
    ("SET LOCAL TimeZone = 'Asia/Tokyo'", "SAVEPOINT a", "SET TimeZone = 'UTC'", TIMES, "COMMIT"),
    ("DO $$BEGIN PERFORM set_config('app.tenant', 't1', false); END$$", NOTES, "COMMIT", NOTES),
    ("DO $$BEGIN PERFORM set_config('app.tenant', 't1', false); END$$", NOTES, "ROLLBACK", NOTES),
    (
        "DECLARE c CURSOR FOR SELECT set_config('app.tenant', 't2', false)",
        *(NOTES, "FETCH c", NOTES, "COMMIT", NOTES),
    ),
    (
        "DECLARE c CURSOR WITH HOLD FOR SELECT set_config('app.tenant', 't2', false)",
        *(NOTES, "COMMIT", NOTES, "CLOSE c", NOTES),
    ),
)


@pytest.mark.parametrize("play", SAVEPOINTS, ids=lambda play: " / ".join(map(str, play))[:60])
def test_settings_through_savepoints_and_ends(twins: Twins, play: tuple[Step, ...]) -> None:
    session = plays(twins, "BEGIN", *play, "ROLLBACK", NOTES, TIMES, "RESET ALL", NOTES, TIMES)
    session.hit(NOTES)
    session.hit(TIMES)


def test_a_pipeline_of_settings(twins: Twins) -> None:
    """Several requests are on their way at once: none of their parts is assumed."""

    def many(*texts: str) -> tuple[bytes, ...]:
        return tuple(parse(sql) + bind() + execute() + SYNC for sql in texts)

    session = reader(twins)
    for texts in (
        ("BEGIN", "SET LOCAL app.tenant = 't1'", NOTES, "COMMIT", NOTES),
        ("SET app.tenant = 't1'", "SET nothing = 1", NOTES, "SET app.tenant = 't2'", NOTES),
        ("BEGIN", "SAVEPOINT a", "SET app.tenant = 't0'", "ROLLBACK TO a", NOTES, "COMMIT", NOTES),
        ("BEGIN", "SET app.tenant = 't1'", "SELECT 1 / 0", NOTES, "ROLLBACK", NOTES),
    ):
        for _ in range(3):
            through, direct = session.through, session.direct
            for data in many(*texts):
                through.send(data)
                direct.send(data)
            for _ in texts:
                wanted = [(f.kind, f.payload) for f in direct.until()]
                assert [(f.kind, f.payload) for f in through.until()] == wanted
            session.run(NOTES, SHOWN, "RESET ALL", NOTES, SHOWN)
    session.hit(NOTES)


def test_prepared_statements_outlive_a_tenant(twins: Twins) -> None:
    """No custom setting decides how a text is read, so what was prepared stays as good."""
    session = reader(twins)
    session.run((parse(NOTES, "notes"), SYNC), (parse(CALLED, "called"), SYNC))
    page = tuple((bind(statement=name), execute(), SYNC) for name in ("notes", "called"))
    for _ in range(4):
        for tenant in ("t0", "t1"):
            session.run("BEGIN", f"SET LOCAL app.tenant = '{tenant}'", *page, "COMMIT", *page)
    session.hits(4, "BEGIN", "SET LOCAL app.tenant = 't1'", *page, "COMMIT", *page)


def test_discarded_plans_are_made_of_what_holds_later(twins: Twins) -> None:
    """DISCARD PLANS has statements read again when they are used, so one is not as it was."""
    session = twins.session()
    session.run("CREATE TEMP TABLE other (a int)", "DROP TABLE other")
    used = (bind(statement="s"), execute(), SYNC)
    session.run((parse("SELECT v FROM public.t, LATERAL (SELECT 1) x", "s"), SYNC))
    session.hit(used)
    session.step("DISCARD PLANS")
    session.hits(0, used, used)


@pytest.mark.parametrize("back", ["RESET app.tenant", "RESET ALL", "DISCARD ALL"])
def test_going_back_leads_to_what_the_login_said(twins: Twins, back: str) -> None:
    """From equal settings RESET leads to different ones where the logins were different."""
    for _ in range(2):
        for options in ({}, {"options": "-c app.tenant=t1"}, {"options": "-c app.tenant=t2"}):
            session = reader(twins, **options)
            session.run(NOTES, SHOWN, "SET app.tenant = 't0'", NOTES, SHOWN)
            session.run(back, NOTES, SHOWN, NOTES, SHOWN)
            session.hit(SHOWN)


def test_a_setting_without_effect_counts_where_it_is_read(twins: Twins) -> None:
    """application_name, work_mem and the like are in no key, until somebody asks for one."""
    session, plain = reader(twins), "SELECT v FROM t"
    session.hit(plain)
    with twins.howdah.watching() as gained:
        session.run("SET work_mem = '8MB'", plain, "SET application_name = 'one'", plain)
        session.run("SET app.nobody = '1'", plain)
    assert gained["hits"] == 3, gained
    named = "SELECT current_setting('application_name'), current_setting('work_mem'), v FROM t"
    for _ in range(3):
        for name in ("one", "two"):
            session.run(f"SET application_name = '{name}'", named, named)
            session.run("BEGIN", "SET LOCAL work_mem = '9MB'", named, "COMMIT", named)
    session.hit(named)


def test_a_name_that_is_reported_does_not_wait(twins: Twins) -> None:
    """ParameterStatus tells the client of application_name, when it changes and changes back."""
    named = "SELECT current_setting('application_name'), v FROM t"
    session = reader(twins)
    for name in ("one", "two", "one", "two"):
        session.run("BEGIN", f"SET LOCAL application_name = '{name}'", named, "COMMIT", named)


def test_an_end_and_more_in_a_failed_transaction(twins: Twins) -> None:
    """What would take a snapshot in front of SET TRANSACTION has no place there."""
    session = reader(twins)
    for _ in range(3):
        session.hit(NOTES)
        session.run("BEGIN", NOTES, "SELECT 1 / 0")
        session.step(pipeline("END", "SET app.tenant = 't0'", "SET LOCAL work_mem = '6MB'"))
        session.run("ROLLBACK", NOTES, "RESET ALL", NOTES)


def test_names_beyond_number_are_not_cached(
    postgres: PostgresServer, shared_howdahs: SharedHowdahs
) -> None:
    """Each name costs a look at every login, so there is a limit, and beyond it no wrong answer."""
    with make(postgres, shared_howdahs.of(postgres), SCHEMA, "many_names") as twins:
        session = reader(twins)
        for number in range(70):
            shown = f"SELECT coalesce(current_setting('many.n{number}', true), 'none'), v FROM t"
            session.run(shown, f"SET many.n{number} = 'x'", shown)
        session.run(shown, "SET many.n69 = 'y'", shown, "SET many.n0 = 'z'", shown)
        assert session.forwarded(shown) == [["y", "x"]]
        session.hit("SELECT v FROM t")


def named(sql: str) -> tuple[bytes, ...]:
    """A statement with a name, as drivers prepare what they send again and again."""
    return parse(sql, "c"), bind(statement="c"), execute(), SYNC


ENDS: tuple[Step, ...] = (
    "COMMIT; SELECT 1",
    "SELECT 1; COMMIT",
    named("COMMIT"),
    named("ROLLBACK"),
    pipeline("COMMIT", "SELECT 1"),
    pipeline("SELECT 1", "COMMIT"),
    "COMMIT AND NO CHAIN",
    "PREPARE TRANSACTION 'custom_<side>'",
    "COMMIT; BEGIN",
    "ROLLBACK; BEGIN",
    "COMMIT; BEGIN; SET LOCAL app.tenant = 't2'",
    pipeline("COMMIT AND CHAIN", "SELECT 1"),
    pipeline("ROLLBACK AND CHAIN", "SELECT 1"),
    pipeline("ROLLBACK", "BEGIN"),
    pipeline("COMMIT", "BEGIN", "SELECT 1"),
    "COMMIT AND CHAIN; SELECT 1",
)


@pytest.mark.parametrize("inner", [(), (NOTES,)], ids=["nothing", "a read"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: str(end)[:40])
def test_a_waiting_tenant_ends_with_its_transaction(
    twins: Twins, end: Step, inner: tuple[Step, ...]
) -> None:
    """BEGIN and SET LOCAL may still wait when the transaction ends, in whatever way."""
    session = reader(twins)
    for _ in range(3):
        session.run("BEGIN", "SET LOCAL app.tenant = 't1'", NOTES, SHOWN, "COMMIT", NOTES, SHOWN)
    for _ in range(3):
        session.run("BEGIN", "SET LOCAL app.tenant = 't1'", *inner, end, NOTES, SHOWN, ext(NOTES))
        session.run("ROLLBACK", NOTES, SHOWN)
        if "PREPARE" in str(end):
            session.run("ROLLBACK PREPARED 'custom_<side>'")
        session.run((close("S", "c"), SYNC), NOTES, SHOWN)
    session.hit(NOTES)


WITHIN: tuple[tuple[Step, ...], ...] = (
    (pipeline("ROLLBACK TO a", "SELECT 1"),),
    ("ROLLBACK TO a; SELECT 1",),
    (pipeline("SAVEPOINT a", "SELECT 1"), "SET LOCAL app.tenant = 't2'", NOTES, "ROLLBACK TO a"),
    (pipeline("RELEASE a", "SELECT 1"), "ROLLBACK", NOTES),
    ("SAVEPOINT a; SELECT 1", "SET LOCAL app.tenant = 't2'", NOTES, "ROLLBACK TO a"),
    ("SELECT 1 / 0", pipeline("ROLLBACK TO a", "SELECT 1")),
    ("SELECT 1 / 0", "ROLLBACK TO a; SELECT 1"),
    (
        (parse("ROLLBACK TO a", "r"), bind(portal="back", statement="r"), SYNC),
        (execute("back"), SYNC),
        (close("S", "r"), SYNC),
    ),
)


@pytest.mark.parametrize("steps", WITHIN, ids=lambda steps: str(steps)[:50])
def test_savepoints_among_other_statements(twins: Twins, steps: tuple[Step, ...]) -> None:
    """They are not the last statement of their request, or not bound in it."""
    session = reader(twins)
    for _ in range(3):
        session.run("BEGIN", "SAVEPOINT a", "SET LOCAL app.tenant = 't1'", NOTES, SHOWN)
        session.run(*steps, NOTES, SHOWN, NOTES, "COMMIT", NOTES, SHOWN)
        session.run("RESET ALL", "ROLLBACK", NOTES)
    session.hit(NOTES)
