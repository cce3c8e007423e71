"""Messages in every order: what a client gets is what PostgreSQL would have sent, once."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import pytest

from proxy.wire import messages
from tests.fix_howdah import SharedHowdahs
from tests.fix_pg import PostgresServer
from tests.fix_wire import (
    FLUSH,
    SYNC,
    Frame,
    bind,
    close,
    describe,
    execute,
    kinds,
    parse,
    query,
)
from tests.playbook.stage import Player, complete, description, engine, error, ready, row
from tests.playbook.twins import Step, Twin, Twins, ext, make, pipeline

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 20) i;
CREATE TYPE pair AS (x int, y text); CREATE DOMAIN small AS int CHECK (VALUE < 10);
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE big (id int, v text); INSERT INTO big SELECT i, repeat(i::text, 500)
    FROM generate_series(1, 300) i;
"""
ALL = "SELECT id FROM t ORDER BY id"
ONE = "SELECT v FROM t WHERE id = $1"
TWO = "SELECT v FROM t WHERE id = 2"


@pytest.fixture(scope="module")
def bench(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Twins:
    return make(each_postgres, shared_howdahs.of(each_postgres), SCHEMA, "pit_protocol")


@pytest.fixture
def twins(bench: Twins) -> Iterator[Twins]:
    with bench:
        yield bench


def sent(twin: Twin, data: Sequence[bytes], ends: str) -> list[Frame]:
    """Write at once, then read up to each of these types in turn; both sides are compared."""
    found = []
    for wire in (twin.direct, twin.through):
        wire.send(*data)
        found.append([frame for end in ends for frame in wire.until(end)])
    assert kinds(found[0]) == kinds(found[1])
    plain = [[f for f in frames if f.kind not in "T"] for frames in found]
    assert plain[0] == plain[1]
    return found[1]


# Statements and portals


def test_a_statement_is_bound_many_times(twins: Twins) -> None:
    """One Parse, many Binds: each has one answer, from memory or not, named or not."""
    session = twins.session()
    twins.prime(TWO)
    for name in ("", "s"):
        session.step((parse(ONE, name), describe("S", name), SYNC))
        for value in (b"1", b"2", b"1", b"3", b"1", b"2", b"2"):
            session.step((bind([value], statement=name), execute(), SYNC))
            session.step((bind([value], statement=name), describe(), execute(), SYNC))
    session.hits(2, *[(bind([value], statement="s"), execute(), SYNC) for value in (b"1", b"2")])
    session.step((close("S", "s"), SYNC))
    session.fails((bind([b"1"], statement="s"), execute(), SYNC), "26000")


def test_a_portal_that_is_fetched_in_parts(twins: Twins) -> None:
    """Execute with a row limit goes on where it stopped, and ends with no rows, not with all."""
    session = twins.session()
    twins.prime(ALL)
    session.hit(ext(ALL))
    for limits in ((5, 5, 100, 100), (20, 1), (19, 1, 1), (1, 0, 0), (21, 21), (0, 5)):
        session.step((parse(ALL), bind(), *(execute(limit=n) for n in limits), SYNC))
        session.step("BEGIN")
        session.step((parse(ALL), bind(portal="p"), SYNC))
        for limit in limits:
            session.step((execute("p", limit), SYNC))
            session.step(TWO)
        session.step((close("P", "p"), SYNC))
        session.fails((execute("p"), SYNC), "34000")
        session.step("ROLLBACK")
    # What was fetched in part is no answer to who asks for all of it.
    assert len([f for f in session.step(ext(ALL)) if f.kind == "D"]) == 20
    session.step((parse(ALL), bind(), execute(limit=3), SYNC))
    session.fails((execute(), SYNC), "34000")
    session.hit(ext(ALL))


def test_two_statements_before_one_sync(twins: Twins) -> None:
    """Bind and Describe of several statements in one batch: replies in the order of messages."""
    session = twins.session()
    twins.prime(TWO, ALL)
    session.step((parse(ONE, "one"), parse(TWO, "two"), SYNC))
    mixes = (
        (bind([b"3"], statement="one"), describe(), execute())
        + (bind(statement="two"), describe(), execute()),
        (bind([b"3"], statement="one", portal="a"), bind(statement="two", portal="b"))
        + (describe("P", "b"), describe("P", "a"), execute("b"), execute("a")),
        (parse(TWO), bind(), describe(), execute(), parse(ALL), bind(), describe(), execute()),
        (bind(statement="two"), execute(), execute(), describe(), execute()),
        (parse("SELECT 1"), bind(), execute(), bind(statement="two"), describe(), execute()),
        (bind(statement="two"), describe(), execute(), parse("SELECT 1"), bind(), execute()),
        (parse(ALL), describe("S"), parse(TWO), describe("S"), bind(), execute()),
    )
    for _ in range(3):
        for mix in mixes:
            session.step((*mix, SYNC))
            session.hit((bind(statement="two"), execute(), SYNC))


def test_an_error_in_the_middle_of_a_batch(twins: Twins) -> None:
    """Behind an error everything is skipped up to the Sync, what memory could answer included."""
    session = twins.session()
    twins.prime(TWO)
    good = (bind(statement="two"), describe(), execute())
    bad = (
        (parse("SELECT 1 / 0"), bind(), execute()),
        (parse("SELEC"),),
        (bind(statement="missing"),),
        (execute("missing"),),
        (describe("S", "missing"),),
        (bind([b"1"], statement="two"),),
        (parse(TWO, "two"),),
        (parse("BEGIN; COMMIT"),),
    )
    for wrong in bad:
        # A name that Howdah has never seen may stand for anything: so it is prepared anew.
        session.hit(TWO)
        session.step((close("S", "two"), parse(TWO, "two"), SYNC))
        session.hit((*good, SYNC))
        session.step((*good, *wrong, *good, SYNC))
        session.step((*wrong, *good, SYNC))
        session.step((*good, SYNC))
        data = (*wrong, *good, SYNC, *good, SYNC, query(TWO))
        sent(session, data, "ZZZ")
        session.hit(TWO)
        session.step((close("S", "two"), parse(TWO, "two"), SYNC))
        session.hit((*good, SYNC))
        # Flush lets the error out early; all up to the Sync is still skipped.
        sent(session, (*wrong, FLUSH), "E")
        sent(session, (*good, FLUSH, query(TWO), SYNC), "Z")


def test_flush_asks_for_the_reply_and_sync_for_the_end(twins: Twins) -> None:
    """Flush behind Parse, Bind, Describe or Execute: replies come, and at last ReadyForQuery."""
    session = twins.session()
    twins.prime(TWO, ALL)
    session.hit(ext(TWO))
    for _ in range(2):
        sent(session, (parse(TWO), FLUSH), "1")
        sent(session, (bind(), FLUSH), "2")
        sent(session, (describe(), FLUSH), "T")
        sent(session, (execute(), FLUSH), "C")
        sent(session, (SYNC,), "Z")
        sent(session, (parse(TWO), bind(), describe(), execute(), FLUSH), "C")
        sent(session, (SYNC,), "Z")
        sent(session, (parse(TWO), describe("S"), FLUSH), "T")
        sent(session, (bind(), execute(), SYNC), "Z")
        sent(session, (parse(ALL), bind(), execute(limit=3), FLUSH), "s")
        sent(session, (execute(limit=100), FLUSH), "C")
        sent(session, (SYNC, FLUSH, SYNC), "ZZ")
        sent(session, (*ext(TWO)[:-1], FLUSH, SYNC, query(TWO)), "ZZ")
    session.step("BEGIN")
    sent(session, (parse(TWO), describe("S"), FLUSH), "T")
    sent(session, (bind(), execute(), SYNC), "Z")
    session.step("COMMIT")
    session.hit(ext(TWO))


def test_two_unnamed_statements_and_ddl_before_one_sync(twins: Twins) -> None:
    """The unnamed statement is the last one that was parsed, and DDL counts behind itself."""
    session, other = twins.session(), twins.session()
    twins.prime(TWO)
    make_it = "CREATE TABLE made AS SELECT 1 AS x"
    change_it = "ALTER TABLE made ADD y int DEFAULT 2"
    for _ in range(2):
        session.step(pipeline(make_it, "SELECT * FROM made", change_it))
        other.read("SELECT * FROM made")
        session.step(pipeline("SELECT * FROM made", "DROP TABLE made", TWO))
        other.fails("SELECT * FROM made", "42P01")
        session.step((parse(ALL), parse(TWO), bind(), describe(), execute(), SYNC))
        session.step((bind(), execute(), SYNC))
        session.step((parse(TWO), parse("SELEC"), SYNC))
        session.step((bind(), execute(), SYNC))
    session.hit(ext(TWO))


# Results


KINDS = {
    "int[]": ("{1,NULL,3}", "{}", "{{1},{2}}", "[0:1]={7,8}"),
    "text[]": ('{a,"b c",NULL,""}', "{}"),
    "pair": ('(1,"x,y")', "(,)"),
    "pair[]": ('{"(1,)","(,z)"}', "{}"),
    "int4range": ("[1,5)", "empty", "(,)"),
    "tstzrange": ("[2024-01-01 00:00+00,infinity)", "empty"),
    "int4multirange": ("{[1,2),[4,6)}", "{}"),
    "interval": ("-1 mon 3 days", "0", "-00:00:01"),
    "timestamptz": ("infinity", "epoch", "-infinity"),
    "date": ("-infinity", "4714-11-24 BC", "infinity"),
    "time": ("24:00", "00:00:00.000001"),
    "numeric": ("NaN", "-0.00100", "Infinity", "1e100"),
    "float8": ("-Infinity", "NaN", "-0", "1e-300"),
    "jsonb": ('{"a": [1, null]}', "null"),
    "json": ('{"a":  1, "a": 2}', "[]"),
    "bit(3)": ("101", "000"),
    "varbit": ("1", ""),
    "uuid": ("00000000-0000-0000-0000-000000000001",),
    "bytea": ("\\x00ff", ""),
    '"char"': ("c", ""),
    "char(3)": ("a", "abc"),
    "name": ("name", ""),
    "money": ("12.34", "-1"),
    "inet": ("::1/64", "10.0.0.1"),
    "macaddr": ("08:00:2b:01:02:03",),
    "boolean": ("t", "f"),
    "point": ("(1,-2)",),
    "small": ("9", "-1"),
    "tsvector": ("'a':1 'b':2A", ""),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_in_both_formats(twins: Twins, kind: str) -> None:
    """Text and binary, of arrays, composites, ranges and infinities: each format is its own."""
    session, other = twins.session(), twins.session()
    table = f"k{list(KINDS).index(kind)}"
    values = ", ".join("('{}')".format(value.replace("'", "''")) for value in KINDS[kind])
    session.run(f"CREATE TABLE {table} (x {kind})", f"INSERT INTO {table} VALUES {values}, (NULL)")
    sql = f"SELECT x, x FROM {table}"
    binary: tuple[tuple[int, ...], ...] = ((1,), (1, 1), (1, 0), (0, 1))
    if kind == "pair[]":
        # In binary an array tells the OID of what it holds, which the twins have not in common.
        binary = ()
    for formats in ((), (0,), (0, 0), *binary):
        for order in (describe(), b""):
            step = (parse(sql), bind(results=formats), order, execute(), SYNC)
            for _ in range(2):
                session.step(step)
                other.step(step)
            if kind not in ("pair", "pair[]"):
                # What a composite holds may be anything.
                session.hit(step)
    session.fails((parse(sql), bind(results=(0, 0, 0)), execute(), SYNC), "08P01")
    session.step(f"DROP TABLE {table}")


def test_results_without_columns_or_rows(twins: Twins) -> None:
    """No column, no row, only NULLs: described and counted as PostgreSQL does it."""
    session = twins.session()
    for sql in (
        "SELECT FROM nothing",
        "SELECT * FROM nothing",
        "SELECT FROM t WHERE false",
        "SELECT * FROM t WHERE false",
        "SELECT NULL, v FROM t WHERE id < 3 ORDER BY id",
        "TABLE nothing",
        "SELECT '' FROM nothing",
    ):
        session.read(sql)
        for results in ((), (1,)):
            step = (parse(sql), describe("S"), bind(results=results), describe(), execute(), SYNC)
            session.run(step, step)
            session.step((parse(sql), bind(results=results), execute(), SYNC))
        session.hit(ext(sql))


def test_large_results_and_parameters(twins: Twins) -> None:
    """Rows beyond any buffer, and a Bind of more than 64 KB: all of it comes, from memory too."""
    session = twins.session()
    sql = "SELECT id, v FROM big ORDER BY id"
    session.hit(sql)
    session.hit(ext(sql))
    value = b"x" * 100_000
    long = "SELECT length($1), id FROM t WHERE id = 1"
    for _ in range(2):
        session.step(ext(long, value))
        session.step(ext(long, value[:-1]))
    session.step((parse("SELECT $1::text AS long, id FROM t WHERE id = 1"), bind([value]), SYNC))
    text = "SELECT '" + "y" * 70_000 + "', id FROM t WHERE id = 1"
    session.run(text, ext(text), text)
    session.hit(ext("SELECT v FROM t WHERE id = $1 AND length($2) > 1", b"3", b"z" * 9000))


def test_errors_stay_where_they_belong(twins: Twins) -> None:
    """Several sessions fail and read in turn: nobody gets another one's reply."""
    sessions = [twins.session() for _ in range(4)]
    twins.prime(TWO)
    wrong: tuple[Step, ...] = ("SELECT 1 / 0", ext("SELECT no_such"), "BEGIN; SELEC")
    for turn in range(6):
        for number, session in enumerate(sessions):
            if (turn + number) % 2:
                session.step(wrong[(turn + number) % 3])
                if session.status != "I":
                    session.step("ROLLBACK")
            session.run(TWO, ext(ONE, b"%d" % (number + 1)))
    for session in sessions:
        session.hit(TWO)
    # Replies that one client has not read yet are no other client's.
    for wire in (sessions[0].direct, sessions[0].through):
        wire.send(query("SELECT 1 / 0"), query(TWO), query("SELECT 2 / 0"), query(TWO))
    for session in sessions[1:]:
        session.hits(1, TWO)
    found = [[wire.until() for _ in range(4)] for wire in (sessions[0].direct, sessions[0].through)]
    assert [list(map(kinds, side)) for side in found] == [["EZ", "TDCZ", "EZ", "TDCZ"]] * 2


# The exact order of messages on both sides


READ = b"SELECT x FROM t WHERE id = $1"
FROM_U = b"SELECT x FROM u WHERE id = $1"
BATCH_END = messages.execute(b"")
PORTAL = messages.message(b"D", b"P\0")


def bound(value: bytes, statement: bytes = b"") -> bytes:
    rest = b"\0\0" + b"\0\x01" + struct.pack("!i", len(value)) + value + b"\0\0"
    return messages.message(b"B", b"\0" + statement + b"\0" + rest)


def asked(value: bytes, text: bytes = READ) -> bytes:
    return messages.parse(b"", text) + bound(value) + PORTAL + BATCH_END


def reply(value: str) -> bytes:
    return (
        messages.PARSE_COMPLETE
        + messages.BIND_COMPLETE
        + description("x")
        + row(value)
        + complete("SELECT 1")
    )


@pytest.fixture
def player() -> Player:
    """A session that has the answer to READ of 1 in memory."""
    found = Player(engine())
    found.client(asked(b"1") + messages.SYNC)
    found.server(reply("a") + ready())
    found.clear()
    found.client(asked(b"1") + messages.SYNC)
    assert found.clear() == (reply("a") + ready(), b"")
    return found


def test_a_hit_waits_for_what_was_asked_before(player: Player) -> None:
    """Two batches in one write: the reply from memory never overtakes PostgreSQL's."""
    data = asked(b"2") + messages.SYNC + asked(b"1") + messages.SYNC
    player.client(data)
    to_client, to_server = player.clear()
    assert to_client == b""
    assert to_server.startswith(asked(b"2") + messages.SYNC)
    player.server(reply("b") + ready())
    to_client, later = player.clear()
    assert to_client.startswith(reply("b") + ready())
    if to_server + later != asked(b"2") + messages.SYNC:
        # It was passed on behind the first one: its reply comes from there.
        assert to_server + later == data
        player.server(reply("a") + ready())
        to_client += player.clear()[0]
    assert to_client == reply("b") + ready() + reply("a") + ready()


@pytest.mark.parametrize("first", [b"1", b"2"])
def test_two_sets_of_one_batch_keep_together(player: Player, first: bytes) -> None:
    """A batch of two sets, of which one is in memory, is PostgreSQL's as a whole."""
    second = b"2" if first == b"1" else b"1"
    data = asked(first) + asked(second, FROM_U) + messages.SYNC
    for _ in range(2):
        player.client(data)
        assert player.clear() == (b"", data)
        # Replies come one by one, and pass in the same order.
        for part in (reply("x"), reply("y"), ready()):
            player.server(part)
            assert player.clear() == (part, b"")


@pytest.mark.parametrize("status", ["I", "T", "E"])
def test_an_error_between_two_sets(player: Player, status: str) -> None:
    """PostgreSQL skips the second set; the status of its ReadyForQuery is passed on as it is."""
    data = asked(b"3") + asked(b"1") + messages.SYNC
    player.client(data)
    player.clear()
    player.server(messages.PARSE_COMPLETE + error("22012") + ready(status))
    player.expect(f"C< 1\nC< E 22012\nC< Z {status}")
    player.client(asked(b"1") + messages.SYNC)
    to_client, to_server = player.clear()
    if status == "E":
        # Only PostgreSQL says 25P02.
        assert (to_client, to_server) == (b"", asked(b"1") + messages.SYNC)
    else:
        assert to_server == b""
        assert to_client == reply("a") + ready(status)


@pytest.mark.parametrize("write", [False, True])
def test_a_query_in_the_wake_of_an_error(player: Player, write: bool) -> None:
    """The error has come before the Query is sent: PostgreSQL skips it, and one Sync ends both."""
    failing = b"UPDATE t SET x = 'b' WHERE id = $1" if write else FROM_U
    player.client(messages.parse(b"", failing) + bound(b"2") + messages.message(b"H", b""))
    player.server(messages.PARSE_COMPLETE + error("22P02"))
    player.clear()
    player.client(BATCH_END + messages.query(b"SELECT 1") + messages.SYNC)
    player.server(ready())
    player.expect(
        """
        S< E
        S< Q SELECT 1
        S< S
        C< Z I
        """
    )
    # Nothing is owed any more, and no fence is left.
    assert not player.session.pending
    assert not player.engine.board.fences
    player.client(asked(b"1") + messages.SYNC)
    assert player.clear() == (reply("a") + ready(), b"")


def test_flush_behind_execute_then_sync(player: Player) -> None:
    """Execute and Flush, the reply is read, then Sync: one ReadyForQuery, from PostgreSQL."""
    player.client(asked(b"1") + messages.message(b"H", b""))
    to_client, to_server = player.clear()
    if to_server:
        assert to_client == b""
        player.server(reply("a"))
        to_client = player.clear()[0]
    assert to_client == reply("a")
    player.client(messages.SYNC)
    to_client, more = player.clear()
    if to_server or more:
        assert more == messages.SYNC
        assert to_client == b""
        player.server(ready())
        to_client = player.clear()[0]
    assert to_client == ready()


def test_a_hit_in_a_transaction_says_so(player: Player) -> None:
    """The status behind a hit is that of the session, as PostgreSQL has last told it."""
    for status in "IT":
        player.query("SELECT 1")
        player.server(description("x") + row("1") + complete("SELECT 1") + ready(status))
        player.clear()
        player.client(asked(b"1") + messages.SYNC)
        assert player.clear() == (reply("a") + ready(status), b"")
