"""Blocks that begin late, chain, or run out of time: as if each statement had been sent at once."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_tools import PATIENCE
from tests.fix_wire import SYNC, Frame, Wire, bind, errors, execute, parse, query
from tests.playbook.twins import Step, Twin, Twins, ext, make, pipeline

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT i, i FROM generate_series(1, 3) i;
CREATE SCHEMA b; CREATE TABLE b.t (id int PRIMARY KEY, v int); INSERT INTO b.t VALUES (1, 100);
CREATE PROCEDURE strict() LANGUAGE plpgsql AS
    'BEGIN SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; END';
CREATE FUNCTION strict(level text) RETURNS text LANGUAGE sql AS
    $$SELECT set_config('transaction_isolation', level, false)$$;
"""
RESTORE = "DELETE FROM t; INSERT INTO t SELECT i, i FROM generate_series(1, 3) i"
T = "SELECT * FROM t ORDER BY id"
UPD = "UPDATE t SET v = v + 1"
MODES = tuple(f"SHOW transaction_{name}" for name in ("isolation", "read_only", "deferrable"))


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_blocks")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    bench.both(RESTORE)
    with bench:
        yield bench


# SET TRANSACTION and its like behind reads


SERIALIZABLE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
LATE: dict[str, tuple[tuple[Step, ...], str]] = {
    "isolation": ((SERIALIZABLE,), "25001"),
    "isolation, extended": ((ext(SERIALIZABLE),), "25001"),
    "isolation, lower": (("set transaction isolation level repeatable read",), "25001"),
    "the same isolation": (("SET TRANSACTION ISOLATION LEVEL READ COMMITTED",), ""),
    "by its name": (("SET transaction_isolation = 'serializable'",), "25001"),
    "by its name, local": (("SET LOCAL transaction_isolation TO 'repeatable read'",), "25001"),
    "by set_config": (
        ("SELECT set_config('transaction_isolation', 'serializable', true)",),
        "25001",
    ),
    "by a function": (("SELECT strict('serializable')",), "25001"),
    "by a procedure": (("CALL strict()",), "25001"),
    "by DO": ((f"DO $$BEGIN {SERIALIZABLE}; END$$",), "25001"),
    "by a catalog": (
        ("UPDATE pg_settings SET setting='serializable' WHERE name='transaction_isolation'",),
        "25001",
    ),
    "in several": ((f"SET LOCAL work_mem = '1MB'; {SERIALIZABLE}",), "25001"),
    "in a pipeline": ((pipeline("SET LOCAL work_mem = '1MB'", SERIALIZABLE),), "25001"),
    "in a savepoint": (("SAVEPOINT a", SERIALIZABLE), "25001"),
    "behind a savepoint": (("SAVEPOINT a", "RELEASE a", SERIALIZABLE), "25001"),
    "behind settings": (("SET LOCAL work_mem = '1MB'", "SHOW work_mem", SERIALIZABLE), "25001"),
    "by BEGIN": (("BEGIN ISOLATION LEVEL SERIALIZABLE",), "25001"),
    "read write": (("SET TRANSACTION READ ONLY", "SET TRANSACTION READ WRITE"), "25001"),
    "read only": (("SET TRANSACTION READ ONLY", UPD), "25006"),
    "deferrable": (("SET TRANSACTION DEFERRABLE",), "25001"),
    "not deferrable": (("SET TRANSACTION NOT DEFERRABLE",), "25001"),
    "snapshot": (("SET TRANSACTION SNAPSHOT '00000003-0000001B-1'",), "25001"),
    "characteristics": (
        ("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", *MODES),
        "",
    ),
    "default": (("SET LOCAL default_transaction_isolation = 'serializable'", *MODES), ""),
    "prepared": (((bind(statement="late"), execute(), SYNC),), "25001"),
    "begin again": (("BEGIN", *MODES, SERIALIZABLE), "25001"),
    "nonsense": (("SET TRANSACTION ISOLATION LEVEL NONSENSE",), "42601"),
    "reset": (("RESET transaction_isolation",), "*"),
    "set to default": (("SET transaction_isolation TO DEFAULT",), "*"),
    "reset all": (("RESET ALL", *MODES, SERIALIZABLE), "25001"),
    "discard": (("DISCARD ALL",), "25001"),
}


@pytest.mark.parametrize("begin", ["BEGIN", ext("START TRANSACTION"), "BEGIN READ WRITE"])
@pytest.mark.parametrize(("steps", "code"), LATE.values(), ids=LATE)
def test_what_must_come_before_any_query(
    twins: Twins, begin: Step, steps: tuple[Step, ...], code: str
) -> None:
    """SET TRANSACTION ISOLATION LEVEL and the like fail behind a query, answered by whomever.

    Without a query before it they do what they say.
    """
    session = twins.session()
    session.step((parse(SERIALIZABLE, "late"), SYNC))
    twins.prime(T)
    for reads in (0, 1, 2):
        session.hit(T)
        session.hit(ext(T))
        session.step(begin)
        if reads:
            session.hits(reads, *(T, ext(T))[:reads])
        frames: list[Frame] = []
        for step in steps:
            if errors(frames):
                break
            frames = session.step(step)
        if reads and code != "*":
            assert errors(frames) == ([code] if code else []), frames
        session.run(*MODES, T, ext(T), "ROLLBACK")
        session.run(*MODES, T)
    session.step("SET default_transaction_isolation TO DEFAULT")
    session.hit(T)


@pytest.mark.parametrize("behind", [SERIALIZABLE, ext(SERIALIZABLE), "SET TRANSACTION READ ONLY"])
def test_set_transaction_first_governs_what_follows(twins: Twins, behind: Step) -> None:
    """SET TRANSACTION right behind BEGIN is no late one: the reads behind it obey."""
    session, writer = twins.session(), twins.session()
    twins.prime(T)
    for begin in ("BEGIN", ext("BEGIN")):
        session.run(begin, behind)
        before = session.read(T)
        writer.step(UPD)
        after = session.read(T)
        assert (before == after) == (behind != "SET TRANSACTION READ ONLY")
        session.run(*MODES, UPD, "ROLLBACK")
    session.hit(T)


# Chains


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "END", "ABORT"])
@pytest.mark.parametrize(
    "modes",
    [
        "",
        " READ ONLY",
        " ISOLATION LEVEL SERIALIZABLE",
        " ISOLATION LEVEL REPEATABLE READ READ ONLY",
    ],
)
def test_a_chained_transaction_has_the_modes_of_the_last(
    twins: Twins, end: str, modes: str
) -> None:
    """AND CHAIN ends a transaction and begins another one of the same characteristics."""
    session, writer = twins.session(), twins.session()
    twins.prime(T)
    snapshot = "SERIAL" in modes or "REPEAT" in modes
    read = session.forwarded if snapshot else session.read
    for begin in ("BEGIN", ext("BEGIN")):
        session.step(f"BEGIN{modes}" if isinstance(begin, str) else ext(f"BEGIN{modes}"))
        read(T)
        for chain in (f"{end} AND CHAIN", ext(f"{end} AND CHAIN")):
            writer.step(UPD)
            newer = twins.session().read(T)
            session.step(chain)
            assert session.status == "T"
            session.run(*MODES)
            assert read(T) == newer
            writer.step(UPD)
            assert (read(T) == newer) == snapshot
        session.step(f"{end} AND NO CHAIN")
        assert session.status == "I"
        session.run(*MODES)
    session.hit(T)


def test_a_chain_commits_what_was_written(twins: Twins) -> None:
    """COMMIT AND CHAIN says COMMIT and leaves a block open: others see the rows at once."""
    writer, reader = twins.session(), twins.session()
    twins.prime(T)
    before = reader.hit(T)
    writer.run("BEGIN", UPD)
    own = writer.forwarded(T)
    assert reader.read(T) == before
    assert writer.tag("COMMIT AND CHAIN") == "COMMIT"
    assert writer.status == "T"
    assert reader.read(T) == own
    assert writer.read(T) == own
    writer.step("INSERT INTO t VALUES (9, 9)")
    assert len(writer.forwarded(T)) == 4
    assert reader.read(T) == own
    assert writer.tag("ROLLBACK AND CHAIN") == "ROLLBACK"
    assert writer.read(T) == own
    writer.run(UPD, "SELECT 1 / 0")
    writer.fails(T, "25P02")
    # A failed transaction is rolled back, and chained all the same.
    assert writer.tag("COMMIT AND CHAIN") == "ROLLBACK"
    assert writer.status == "T"
    assert writer.read(T) == own
    writer.step(pipeline(UPD, "COMMIT AND CHAIN", T, "INSERT INTO t VALUES (9, 9)"))
    newer = reader.read(T)
    assert newer not in (own, before)
    writer.step("ROLLBACK")
    assert reader.read(T) == newer
    assert reader.hit(T) == newer


def test_reads_of_a_chained_transaction_come_from_memory(twins: Twins) -> None:
    """A transaction that was chained is a new one: it has neither written nor locked yet."""
    session, writer = twins.session(), twins.session()
    twins.prime(T)
    session.run("BEGIN", UPD)
    session.forwarded(T)
    session.step("COMMIT AND CHAIN")
    session.hit(T)
    session.hit(ext(T))
    # It is a transaction like others: what comes late fails, what others commit is seen.
    session.fails(SERIALIZABLE, "25001")
    session.run("ROLLBACK AND CHAIN", T)
    writer.step(UPD)
    session.read(T)
    session.step("COMMIT")


@pytest.mark.parametrize("end", ["COMMIT AND CHAIN", "ROLLBACK AND CHAIN"])
def test_a_chain_needs_a_block(twins: Twins, end: str) -> None:
    """Outside of a block AND CHAIN is an error; behind a BEGIN that was not sent it is none."""
    session = twins.session()
    twins.prime(T)
    session.fails(end, "25P01")
    session.fails(ext(end), "25P01")
    session.hit(T)
    session.step("BEGIN READ ONLY")
    session.hits(1, T)
    session.step(end)
    assert session.status == "T"
    session.fails(UPD, "25006")
    session.run("ROLLBACK")
    session.step(pipeline("BEGIN", T, end, UPD, end))
    session.run("ROLLBACK", T)
    session.hit(T)


def test_local_settings_end_with_a_chain(twins: Twins) -> None:
    """SET LOCAL ends at COMMIT AND CHAIN, SET survives it; ROLLBACK AND CHAIN undoes both."""
    session = twins.session()
    twins.prime(T)
    here = session.hit(T)
    session.run("BEGIN", "SET LOCAL search_path = b")
    there = session.read(T)
    assert there != here
    session.step("COMMIT AND CHAIN")
    assert session.read(T) == here
    session.step("SET search_path = b")
    assert session.read(T) == there
    session.step("ROLLBACK AND CHAIN")
    assert session.read(T) == here
    session.run("SET search_path = b", "COMMIT AND CHAIN")
    assert session.read(T) == there
    session.run("RESET search_path", "ROLLBACK")
    assert session.read(T) == there
    session.run("RESET search_path")
    assert session.hit(T) == here


# Timeouts. The end of an idle witness, who came last, shows that the time has passed.


def _timeouts(**values: str) -> dict[str, Any]:
    return {"options": " ".join(f"-c {name}={value}" for name, value in values.items())}


def _readable(wire: Wire, milliseconds: int) -> bool:
    """Whether there is something to read, or the end, within some time."""
    poll = select.poll()
    poll.register(wire.socket, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _ends(wire: Wire) -> list[Frame]:
    """What a session is told by the server that ends it."""
    wire.socket.settimeout(PATIENCE)
    frames = []
    try:
        while True:
            frames.append(wire.frame())
    except (EOFError, ConnectionError):
        return frames


def _both_end(session: Twin, code: str) -> None:
    for wire in (session.direct, session.through):
        frames = _ends(wire)
        assert errors(frames) == [code], frames
        assert frames[-1].fields["S"] == "FATAL"


def _alive(session: Twin) -> None:
    for wire in (session.direct, session.through):
        assert not _readable(wire, 0), _ends(wire)


def _busy_until(session: Twin, witness: Wire) -> float:
    """Read until the witness has been ended; how many of the reads came from memory."""
    with session.twins.howdah.watching() as gained:
        while not _readable(witness, 20):
            session.step(T)
    return gained["hits"]


@pytest.fixture(scope="module")
def bench_18(pg18: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(pg18, shared_howdahs.of(pg18), SCHEMA, "pit_timeouts")


@pytest.fixture
def timed(bench_18: Twins) -> Iterator[Twins]:
    with bench_18:
        bench_18.prime(T)
        yield bench_18


def _idle_witness(timed: Twins, **values: str) -> Wire:
    return timed.session(warm=False, **_timeouts(**values)).direct


def _primed(timed: Twins, **values: str) -> Twin:
    """A session under timeouts that gets hits."""
    session = timed.session(**_timeouts(**values))
    session.hit(T)
    session.hit(ext(T))
    return session


@pytest.mark.parametrize("begin", [None, "BEGIN", ext("BEGIN")])
def test_idle_session_timeout_spares_a_client_busy_with_hits(
    timed: Twins, begin: Step | None
) -> None:
    """idle_session_timeout ends idle sessions; reads from memory are no idleness."""
    session = _primed(timed, idle_session_timeout="3000")
    if begin is not None:
        session.step(begin)
    witness = _idle_witness(timed, idle_session_timeout="3000")
    assert _busy_until(session, witness) >= 3
    _alive(session)
    session.step("SELECT 1")


def test_idle_session_timeout_is_not_lost(timed: Twins) -> None:
    """A session that goes idle behind hits is ended like any other."""
    session = _primed(timed, idle_session_timeout="1500")
    session.hits(1, T)
    _both_end(session, "57P05")


def test_idle_session_timeout_does_not_reach_into_blocks(timed: Twins) -> None:
    """idle_session_timeout is for sessions without an open transaction, even one of hits."""
    session = _primed(timed, idle_session_timeout="1500")
    session.step("BEGIN")
    session.hits(1, T)
    witness = _idle_witness(timed, idle_session_timeout="3000")
    assert errors(_ends(witness)) == ["57P05"]
    _alive(session)
    session.run(UPD, T, "ROLLBACK")


def test_idle_in_transaction_timeout_is_not_lost(timed: Twins) -> None:
    """A client that idles in a block of hits is ended, as PostgreSQL does it."""
    session = _primed(timed, idle_in_transaction_session_timeout="1500")
    session.step("BEGIN")
    session.hits(2, T, ext(T))
    _both_end(session, "25P03")


def test_idle_in_transaction_timeout_spares_a_client_busy_with_hits(timed: Twins) -> None:
    """Reads from memory inside a block are no idleness."""
    session = _primed(timed, idle_in_transaction_session_timeout="3000")
    session.step("BEGIN")
    witness = _idle_witness(timed, idle_in_transaction_session_timeout="3000")
    witness.query("BEGIN")
    assert _busy_until(session, witness) >= 3
    _alive(session)
    session.run(T, "COMMIT")


@pytest.mark.parametrize("local", ["", "LOCAL "])
def test_a_timeout_that_is_set_behind_hits(timed: Twins, local: str) -> None:
    """SET of a timeout in a block that PostgreSQL has not heard of yet counts from there."""
    session = _primed(timed)
    session.step("BEGIN")
    session.hits(1, T)
    session.step(f"SET {local}idle_in_transaction_session_timeout = '1500ms'")
    session.step(T)
    _both_end(session, "25P03")


def test_a_timeout_that_is_set_before_the_block(timed: Twins) -> None:
    """SET in the session, then BEGIN and hits: it is known by then."""
    session = _primed(timed)
    session.step("SET idle_in_transaction_session_timeout = '1500ms'")
    session.hit(T)
    session.step("BEGIN")
    session.hits(1, T)
    _both_end(session, "25P03")


def test_transaction_timeout_strikes_also_who_is_busy(timed: Twins) -> None:
    """transaction_timeout counts from BEGIN, however many reads come from memory."""
    session = _primed(timed, transaction_timeout="2500")
    for wire in (session.direct, session.through):
        wire.query("BEGIN")
        with timed.howdah.watching() as gained:
            frames: list[Frame] = []
            while not errors(frames):
                frames = []
                wire.send(query(T))
                while not frames or frames[-1].kind not in "EZ":
                    frames.append(wire.frame())
                # It may be told while it waits as well as while it asks.
                if frames[-1].kind == "Z" and _readable(wire, 20):
                    frames = [wire.frame()]
        assert errors(frames) == ["25P04"]
        assert bool(gained["hits"]) == (wire is session.through)


def test_transaction_timeout_strikes_who_idles(timed: Twins) -> None:
    """A client that idles in a block of hits is ended when its time is over."""
    session = _primed(timed, transaction_timeout="1500")
    session.step("BEGIN")
    session.hits(1, T)
    _both_end(session, "25P04")
    timed.session().hit(T)
