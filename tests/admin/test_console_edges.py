"""The console under clients that are hasty, slow, rude or gone."""

from __future__ import annotations

import random
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fix_howdah import Howdah, check, upstream_url
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    Wire,
    bind,
    close,
    copy_data,
    describe,
    errors,
    execute,
    function_call,
    kinds,
    message,
    parse,
    query,
    rows,
    startup,
    tags,
)


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Howdah]:
    """A Howdah whose console may be used."""
    path = tmp_path_factory.mktemp("console") / "howdah.yaml"
    path.write_text("rules: []\n")
    flags = ["--admin-roles", "postgres,user_scram", "--max-age", "none", "--config", str(path)]
    howdah = Howdah(upstream_url(postgres), *flags).start()
    yield howdah
    howdah.destroy()


@pytest.fixture
def desk(shared: Howdah) -> Iterator[Howdah]:
    start = len(shared.log)
    yield shared
    check(shared, start)
    assert shared.alive


def peak(howdah: Howdah) -> float:
    """The most memory that it has ever had, in MB."""
    assert howdah.process is not None
    status = Path(f"/proc/{howdah.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return int(found[1]) / 1024


# --- too much at once -------------------------------------------------------------


def test_answers_that_nobody_reads_are_not_made(desk):
    with desk.wire("howdah") as wire:
        size = len(b"".join(frame.raw for frame in wire.query("SHOW REASONS")))
    before = peak(desk)
    many = 15_000
    assert size * many > 100 << 20
    with desk.wire("howdah") as hasty, desk.wire("howdah") as other:
        hasty.send(query("SHOW REASONS") * many)
        for _ in range(50):
            assert kinds(other.query("SHOW VERSION")) == "TDCZ"
        assert peak(desk) - before < 50
        for _ in range(200):
            assert kinds(hasty.until())[-2:] == "CZ"
        hasty.reset()
    eventually(lambda: desk.count("clients") == 0)


def test_whatever_is_sent_ahead_is_answered_in_order(desk):
    with desk.wire("howdah") as wire:
        wire.send(SYNC * 20_000, query("SELECT 1;" * 3_000), query("SELECT 2"))
        for _ in range(20_000):
            assert wire.frame().kind == "Z"
        assert kinds(wire.until()) == "TDC" * 3_000 + "Z"
        assert rows(wire.until()) == [["2"]]


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        (f"SELECT {','.join(['1'] * 1_700)}", "54011"),
        (f"SELECT {','.join(['1'] * 70_000)}", "54001"),
        ("a " * 30_000, "54001"),
        (f"SHOW CACHE ({','.join(['hits'] * 500)})", "54011"),
        (f"SHOW CACHE WHERE hits = {'9' * 5_000}", "22003"),
        ("SHOW CACHE WHERE hits = 0b" + "1" * 70, "22003"),
        ('SELECT 1 AS "a\0b"', "08P01"),
        ("SHOW CACHE\0", "08P01"),
    ],
    ids=["columns", "more columns", "words", "same", "digits", "bits", "zero", "zero at the end"],
)
def test_what_is_too_large_or_broken_is_one_error(desk, text, sqlstate):
    with desk.wire("howdah") as wire:
        frames = wire.query(text)
        assert (kinds(frames), errors(frames)) == ("EZ", [sqlstate])
        assert kinds(wire.query("SHOW VERSION")) == "TDCZ"
        if "\0" not in text:
            assert errors(wire.extended(text)) == [sqlstate]


@pytest.mark.parametrize("number", ["0xFFFFFFFFFFFFFFF", "1_000_000_000_000", "0o7777777777777"])
def test_integers_are_read_as_postgresql_reads_them(desk, number):
    with desk.wire("howdah") as wire:
        assert tags(wire.query(f"SHOW CACHE WHERE hits < {number}")) == ["SELECT 1"]


# --- rude ones --------------------------------------------------------------------

_TEXTS = (
    *("SHOW QUERIES", "SHOW CACHE WHERE hits >= $1", "SHOW STATS LIMIT $1 OFFSET $2", "", ";"),
    *("BEGIN", "COMMIT", "ROLLBACK", "SELECT 1; SELECT 2", "SHOW HELP", "RELOAD", "FLUSH", "/*"),
    *("EXPLAIN CACHE SELECT 1", "DISCARD ALL", "SHOW REASONS WHERE reason ~ $1", "SELECT '", "$1"),
    *("SELECT * FROM queries WHERE id = $1::text ORDER BY 1", "RELOAD; RELOAD; SHOW VERSION"),
    *("COPY x FROM STDIN", "DEALLOCATE a", "SHOW CLIENTS ORDER BY hits NULLS FIRST", "SET a = 1"),
)
_VALUES = (None, b"1", b"", b"abc", b"\xff", b"\0\0\0\0\0\0\0\1", b"9" * 30)


def _random(draw: random.Random) -> bytes:
    """A message: mostly of a right form, seldom in a right place."""

    def name() -> str:
        return draw.choice(("", "a", "b"))

    def some(values: tuple[int, ...]) -> list[int]:
        return [draw.choice(values) for _ in range(draw.choice((0, 0, 1, 2)))]

    def text() -> str:
        whole = draw.choice(_TEXTS)
        return whole[: draw.randrange(len(whole) + 1)] if draw.random() < 0.1 else whole

    makers: tuple[Callable[[], bytes], ...] = (
        lambda: query(text()),
        lambda: parse(text(), name(), some((0, 20, 25, 701, 16, 1700))),
        lambda: parse(text(), name()),
        lambda: bind(
            [draw.choice(_VALUES) for _ in range(draw.randrange(3))],
            portal=name(),
            statement=name(),
            formats=some((0, 1, 2, 65535)),
            results=some((0, 1, 2)),
        ),
        lambda: bind(portal=name(), statement=name()),
        lambda: describe(draw.choice("SPX"), name()),
        lambda: execute(name(), draw.choice((0, 1, 2, 100, 0x7FFFFFFF, 0x80000000))),
        lambda: execute(name()),
        lambda: close(draw.choice("SPX"), name()),
        lambda: draw.choice((FLUSH, copy_data(b"x"), COPY_DONE, function_call(1, b"x"))),
        lambda: message(draw.choice("QPBDECF"), draw.randbytes(draw.randrange(20))),
        lambda: SYNC,
    )
    return draw.choice(makers)()


def test_messages_at_random_never_end_or_hang_a_session(desk):
    draw = random.Random(11)
    end = SYNC + query("ROLLBACK") + query("SELECT 'the end'")
    for _ in range(40):
        with desk.wire("howdah") as wire:
            for _ in range(8):
                data = b"".join(_random(draw) for _ in range(draw.randrange(1, 9))) + end
                step = draw.choice((1, 7, 200, len(data)))
                for at in range(0, len(data), step):
                    wire.send(data[at : at + step])
                while rows(wire.until()) != [["the end"]]:
                    pass
                assert wire.status == "I"
    eventually(lambda: desk.count("clients") == 0)
    assert desk.count("upstreams") == 0


def test_clients_that_leave_in_the_middle_leave_nothing_behind(desk):
    for number in range(60):
        leave = Wire.reset if number % 2 else Wire.close
        wire = Wire(desk.address)
        user = ("postgres", "user_scram", "alice")[number % 3]
        wire.send(startup(user=user, database="howdah"))
        if number % 4:
            wire.frame()
        leave(wire)
        wire = desk.wire("howdah")
        wire.send(query("RELOAD; RELOAD") if number % 5 else query("SHOW REASONS") * 300)
        leave(wire)
    eventually(lambda: desk.count("clients") == 0)
    assert desk.count("upstreams") == 0
    with desk.wire("howdah") as wire:
        assert rows(wire.query("SHOW FENCES")) == []


def test_the_end_waits_for_no_console(start_howdah):
    howdah = start_howdah("--admin-roles", "postgres")
    with (
        howdah.wire("howdah") as block,
        howdah.wire("howdah") as idle,
        Wire(howdah.address) as login,
    ):
        block.query("BEGIN")
        login.send(startup(user="user_scram", database="howdah"))
        assert login.frame().kind == "R"
        howdah.signal(signal.SIGTERM)
        for wire in (block, idle, login):
            assert errors(wire.until("E")) == ["57P01"]
        assert howdah.wait() == 0
    assert "draining took too long" not in howdah.log


# --- what commands do to answers --------------------------------------------------


def test_no_answer_is_stale_whatever_operators_do(desk, postgres):
    """Registers that are written and read through Howdah, under a storm of commands."""
    database = postgres.create_database(
        "CREATE TABLE reg AS SELECT k, 0 AS v FROM generate_series(0, 3) AS k"
    )
    desk.warm(database)
    begun, acknowledged, looks = [0] * 4, [0] * 4, [0]
    stale: list[tuple[int, int, int, int]] = []
    over = threading.Event()
    failed: list[BaseException] = []

    def write(seed: int) -> None:
        draw = random.Random(seed)
        with desk.wire(database) as wire:
            while not over.is_set():
                key = draw.choice((seed, seed + 2))
                begun[key] += 1
                sql = f"UPDATE reg SET v = {begun[key]} WHERE k = {key}"
                if draw.random() < 0.5:
                    wire.query(sql)
                else:
                    wire.query("BEGIN")
                    wire.query(sql)
                    wire.query("COMMIT")
                acknowledged[key] = begun[key]

    def read(seed: int) -> None:
        draw = random.Random(seed)
        with desk.wire(database) as wire:
            while not over.is_set():
                key = draw.randrange(4)
                least = acknowledged[key]
                sql = f"SELECT v FROM reg WHERE k = {key}"
                found = int(rows(wire.query(sql))[0][0] or -1)
                looks[0] += 1
                if not least <= found <= begun[key]:
                    stale.append((key, least, found, begun[key]))

    def command(seed: int) -> None:
        draw = random.Random(seed)
        texts = ["FLUSH", "FLUSH TABLE reg", "PAUSE; RESUME", "RELOAD", "RESUME; PAUSE"]
        texts += [f"FLUSH DATABASE {database}", "RESET QUARANTINE", "SHOW QUERIES"]
        with desk.wire("howdah") as wire:
            for _ in range(25):
                # What was stored before is met by writes in the pause and by reads behind it.
                wire.query("PAUSE")
                wait_for(acknowledged, 4)
                wire.query("RESUME")
                wait_for(looks, 40)
                wire.query(draw.choice(texts))

    def wait_for(counts: list[int], more: int) -> None:
        end = sum(counts) + more
        eventually(lambda: sum(counts) >= end or failed)

    def guarded(work: Callable[[int], None], seed: int) -> None:
        try:
            work(seed)
        except BaseException as error:
            failed.append(error)

    work = [(write, 0), (write, 1), (read, 2), (read, 3)]
    threads = [threading.Thread(target=guarded, args=each) for each in work]
    operators = [threading.Thread(target=guarded, args=(command, seed)) for seed in (4, 5)]
    for thread in threads + operators:
        thread.start()
    for thread in operators:
        thread.join()
    over.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert stale == []
    with desk.wire("howdah") as wire, desk.wire(database) as reader:
        wire.query("RESUME")
        assert rows(wire.query("SHOW FENCES")) == []
        for key in range(4):
            sql = f"SELECT v FROM reg WHERE k = {key}"
            assert rows(reader.query(sql)) == [[str(acknowledged[key])]]
            desk.until_hit(reader, sql)


# --- what views say of a workload -------------------------------------------------

ONE = "SELECT v FROM probe WHERE id = $1"


def _named(wire: Wire) -> None:
    wire.ask(parse(ONE, "s", [23]), SYNC)
    for number in range(6):
        wire.ask(bind([b"%d" % (number % 3)], statement="s"), execute(), SYNC)


def _pipelined(wire: Wire) -> None:
    batch = parse(ONE, oids=[23]) + bind([b"5"]) + execute() + SYNC
    wire.send(batch * 4)
    for _ in range(4):
        wire.until()


def _transaction(wire: Wire) -> None:
    read = "SELECT v FROM probe WHERE id = 7"
    for sql in ("BEGIN", read, read, "UPDATE probe SET v = 1 WHERE id = 8", read, "COMMIT"):
        wire.query(sql)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (
            lambda wire: [wire.query(f"SELECT v FROM probe WHERE id = {n % 2}") for n in range(8)],
            {ONE: ("miss", 8, 6, 2, 0, 0, 0, 4)},
        ),
        (
            lambda wire: [wire.extended(f"{ONE}::int", [b"1"]) for _ in range(3)],
            {f"{ONE}::int": ("miss", 3, 2, 1, 0, 0, 0, 3)},
        ),
        (_named, {ONE: ("miss", 6, 3, 3, 0, 0, 0, 4)}),
        (_pipelined, {ONE: ("bypass", 4, 0, 1, 3, 0, 0, 4)}),
        (
            lambda wire: [wire.query("SELECT 1 / 0 FROM probe") for _ in range(2)],
            {"SELECT $1 / $2 FROM probe": ("miss", 2, 0, 2, 0, 0, 2, 0)},
        ),
        (
            lambda wire: [wire.query("SELEC 'a secret'") for _ in range(2)],
            {"(unparsable)": ("write", 2, 0, 0, 0, 2, 2, 0)},
        ),
        (
            _transaction,
            {
                "BEGIN": ("other", 1, 0, 0, 0, 0, 0, 0),
                ONE: ("bypass", 3, 1, 1, 1, 0, 0, 3),
                "UPDATE probe SET v = $1 WHERE id = $2": ("write", 1, 0, 0, 0, 1, 0, 1),
                "COMMIT": ("other", 1, 0, 0, 0, 0, 0, 0),
            },
        ),
    ],
    ids=["simple", "extended", "named", "pipelined", "errors", "unparsable", "transaction"],
)
def test_every_statement_is_counted_once(desk, postgres, work, expected):
    database = postgres.create_database()
    desk.warm(database)
    columns = "query, outcome, calls, hits, misses, bypassed, writes, errors, rows"
    with desk.wire(database) as wire, desk.wire("howdah") as console:
        desk.until_hit(wire)
        console.query("FLUSH; RESET STATS")
        work(wire)
        found = rows(console.query(f"SHOW QUERIES ({columns}) WHERE database = '{database}'"))
        counts = {row[0]: (row[1], *(int(number or 0) for number in row[2:])) for row in found}
        assert counts == expected
        total = rows(console.query("SHOW STATS (statements)"))
        calls = sum(int(row[2] or 0) for row in found)
        assert sum(int(row[0] or 0) for row in total) == calls
