"""The process: start without an upstream, a taken port, drain, reload, start gate."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import psycopg
import pytest

from tests.fix_howdah import Howdah, Starter
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually, free_port
from tests.fix_wire import SYNC, Wire, WireError, bind, errors, execute, parse, query, startup

PROBE = "SELECT v FROM public.probe WHERE id = 1"


def test_unreachable_upstream(start_howdah: Starter) -> None:
    """Clients get one error of class 08 or 57 at once; the HTTP side says why."""
    howdah = start_howdah(upstream=f"postgresql://howdah@127.0.0.1:{free_port()}/postgres")
    with pytest.raises(WireError) as refused:
        howdah.wire("postgres")
    assert refused.value.fields["S"] == "FATAL"
    assert refused.value.fields["C"][:2] in ("08", "57")
    assert howdah.get("/healthz")[0] == 200
    assert howdah.get("/readyz")[0] == 503


def test_upstream_comes_later(middlebox, start_howdah: Starter, postgres: PostgresServer) -> None:
    box = middlebox((postgres.host, postgres.port))
    box.refuse = True
    howdah = start_howdah(upstream=f"postgresql://howdah@127.0.0.1:{box.port}/postgres")
    with pytest.raises((WireError, EOFError, ConnectionError)):
        howdah.wire("postgres")
    box.refuse = False
    database = postgres.create_database()
    with howdah.wire(database) as wire:
        assert wire.rows("SELECT 1") == [["1"]]
    howdah.warm(database)
    eventually(lambda: howdah.get("/readyz")[0] == 200)


def test_ready_pages(howdah: Howdah) -> None:
    assert howdah.get("/healthz")[0] == 200
    eventually(lambda: howdah.get("/readyz")[0] == 200)
    assert "proxied" in howdah.get("/readyz")[1]
    assert howdah.get("/no_such_page")[0] == 404
    assert howdah.count("contract_info", contract="proxied") == 1


@pytest.mark.parametrize("flag", ["--listen", "--http"])
def test_taken_port(start_howdah: Starter, flag: str) -> None:
    """A port that somebody named and that is taken: one line, exit status not 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        howdah = start_howdah(flag, f"127.0.0.1:{port}", ready=False)
        assert howdah.wait() != 0
        assert str(port) in howdah.log
        assert len(howdah.log_lines()) <= 3, howdah.log


def test_sigterm_closes_idle_clients(start_howdah: Starter, postgres: PostgresServer) -> None:
    howdah = start_howdah()
    idle = howdah.wire("postgres")
    howdah.signal(signal.SIGTERM)
    frame = idle.frame()
    assert frame.kind == "E"
    assert frame.fields["C"] == "57P01"
    assert idle.closed()
    assert howdah.wait() == 0
    idle.socket.close()


def test_sigterm_lets_transactions_end(start_howdah: Starter, database: str, postgres) -> None:
    howdah = start_howdah()
    wire = howdah.wire(database)
    wire.query("BEGIN")
    wire.query("UPDATE public.probe SET v = 5")
    howdah.signal(signal.SIGTERM)
    eventually(lambda: "drain" in howdah.log.lower())
    assert howdah.alive
    wire.query("UPDATE public.probe SET v = v + 1")
    with pytest.raises((OSError, EOFError, WireError)):
        howdah.wire(database)
    frames = wire.query("COMMIT")
    assert frames[0].payload == b"COMMIT\0"
    assert howdah.wait() == 0
    wire.socket.close()
    assert postgres.run(database, PROBE) == [(6,)]


def test_drain_timeout(start_howdah: Starter, database: str, postgres: PostgresServer) -> None:
    """A transaction that does not end is given up after the bound."""
    howdah = start_howdah("--drain-timeout", "300ms")
    wire = howdah.wire(database)
    wire.query("BEGIN")
    wire.query("UPDATE public.probe SET v = 5")
    begun = time.monotonic()
    howdah.signal(signal.SIGTERM)
    assert howdah.wait() == 0
    assert time.monotonic() - begun > 0.25
    assert errors([wire.frame()]) == ["57P01"]
    wire.socket.close()
    eventually(lambda: postgres.run(database, PROBE) == [(0,)])


def test_drain_with_a_client_that_never_speaks(start_howdah: Starter) -> None:
    howdah = start_howdah("--drain-timeout", "20s")
    silent = Wire(howdah.address)
    howdah.signal(signal.SIGTERM)
    assert howdah.wait() == 0
    silent.socket.close()


def test_starts_twice_in_a_row_on_one_port(start_howdah: Starter) -> None:
    port = free_port()
    for _ in range(2):
        howdah = start_howdah("--listen", f"127.0.0.1:{port}")
        with howdah.wire("postgres") as wire:
            assert wire.rows("SELECT 1") == [["1"]]
            howdah.signal(signal.SIGTERM)
            assert howdah.wait() == 0


OFF = "rules:\n  - name: no_probe\n    relations: [public.probe]\n    cache: off\n"


def replace(path: Path, text: str) -> None:
    """At once, as editors do: a file that is seen half written is another file."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def with_file(start_howdah: Starter, tmp_path: Path) -> tuple[Howdah, Path]:
    path = tmp_path / "howdah.yaml"
    path.write_text("rules: []\n")
    return start_howdah("--config", str(path)), path


def test_reload_on_sighup(with_file: tuple[Howdah, Path], database: str) -> None:
    howdah, path = with_file
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        replace(path, OFF)
        howdah.signal(signal.SIGHUP)
        eventually(lambda: not howdah.is_hit(wire, PROBE))
        with howdah.watching() as gained:
            assert wire.rows(PROBE) == [["0"]]
        assert gained.get("bypass/rule_off") == 1
        replace(path, "rules: []\n")
        howdah.signal(signal.SIGHUP)
        howdah.until_hit(wire)


def test_reload_when_the_file_changes(with_file: tuple[Howdah, Path], database: str) -> None:
    """Without a signal too."""
    howdah, path = with_file
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        replace(path, OFF)
        eventually(lambda: not howdah.is_hit(wire, PROBE))


@pytest.mark.parametrize(
    "bad",
    ["rules:\n  - nonsense: 1\n", "rules: [\n", "no_such_key: 1\n", "\0\1", "rules: 7\n"],
    ids=["rule_key", "yaml", "key", "binary", "type"],
)
def test_bad_file_keeps_the_old_rules(
    with_file: tuple[Howdah, Path], database: str, bad: str
) -> None:
    howdah, path = with_file
    replace(path, OFF)
    howdah.signal(signal.SIGHUP)
    with howdah.wire(database) as wire:

        def rule_applies() -> bool:
            with howdah.watching() as gained:
                wire.query(PROBE)
            return gained.get("bypass/rule_off") == 1

        eventually(rule_applies)
        start = len(howdah.log)
        replace(path, bad)
        howdah.signal(signal.SIGHUP)
        eventually(lambda: str(path) in howdah.log[start:])
        assert rule_applies()
        eventually(lambda: howdah.count("config_errors") == 1)
        replace(path, "rules: []\n")
        howdah.signal(signal.SIGHUP)
        howdah.until_hit(wire)
        eventually(lambda: howdah.count("config_errors") == 0)


def test_bad_file_at_start(start_howdah: Starter, tmp_path: Path) -> None:
    path = tmp_path / "howdah.yaml"
    path.write_text("rules:\n  - relatons: [x]\n    cache: off\n")
    howdah = start_howdah("--config", str(path), ready=False)
    assert howdah.wait() != 0
    assert f"{path}:2" in howdah.log
    assert "relations" in howdah.log


def test_ttl_rule(start_howdah: Starter, tmp_path: Path, database: str) -> None:
    """A ttl ends an entry that nothing has changed."""
    path = tmp_path / "howdah.yaml"
    path.write_text("rules:\n  - name: short\n    relations: [public.probe]\n    ttl: 200ms\n")
    howdah = start_howdah("--config", str(path))
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        eventually(lambda: not howdah.is_hit(wire, PROBE))
        howdah.until_hit(wire)


def test_max_age_bounds_other_writers(
    start_howdah: Starter, postgres: PostgresServer, database: str
) -> None:
    """A write past Howdah is seen once the entry is older than max_age."""
    howdah = start_howdah("--max-age", "500ms")
    howdah.warm(database)
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        postgres.run(database, "UPDATE public.probe SET v = 41")
        eventually(lambda: wire.rows(PROBE) == [["41"]])
        postgres.run(database, "ALTER TABLE public.probe ADD COLUMN more int DEFAULT 2")
        everything = "SELECT * FROM public.probe WHERE id = 1"
        eventually(lambda: wire.rows(everything) == [["1", "41", "2"]])


def test_start_gate(start_howdah: Starter, postgres: PostgresServer, database: str) -> None:
    """F11: a transaction of before the start may still commit: nothing is filled meanwhile."""
    with postgres.connect(database) as earlier:
        earlier.execute("BEGIN")
        earlier.execute("UPDATE public.probe SET v = 99")
        howdah = start_howdah()
        with howdah.wire(database) as wire:

            def gated() -> bool:
                with howdah.watching() as gained:
                    wire.query(PROBE)
                return gained.get("bypass/starting") == 1

            eventually(gated)
            with howdah.watching() as gained:
                for _ in range(20):
                    assert wire.rows(PROBE) == [["0"]]
            assert gained["hits"] == 0
            earlier.execute("COMMIT")
            assert wire.rows(PROBE) == [["99"]]
            howdah.until_hit(wire)
            assert wire.rows(PROBE) == [["99"]]


def test_start_gate_prepared_transaction(
    start_howdah: Starter, postgres: PostgresServer, database: str
) -> None:
    """A transaction prepared before the start is committed through Howdah."""
    postgres.run(
        database, "BEGIN", "UPDATE public.probe SET v = 98", f"PREPARE TRANSACTION '{database}'"
    )
    howdah = start_howdah()
    with howdah.wire(database) as wire, howdah.wire(database) as other:
        wire.query(PROBE)
        wire.query(PROBE)
        assert not errors(other.query(f"COMMIT PREPARED '{database}'"))
        assert wire.rows(PROBE) == [["98"]]
        howdah.until_hit(wire)
        assert wire.rows(PROBE) == [["98"]]


def test_cache_size_is_kept(start_howdah: Starter, database: str) -> None:
    howdah = start_howdah("--cache-size", "1MB")
    with howdah.wire(database) as wire:
        wire.query("CREATE TABLE filled (id int PRIMARY KEY, v text)")
        wire.query("INSERT INTO filled SELECT i, repeat('x', 5000) FROM generate_series(1, 1000) i")
        howdah.until_hit(wire)
        for number in range(1, 1001):
            wire.query(f"SELECT v FROM filled WHERE id = {number}")
        assert howdah.count("cache_bytes") <= 1_048_576
        assert howdah.count("cache_entries") > 50
        assert howdah.evictions() > 100
        wire.query("SELECT v FROM filled WHERE id = 1000")
        assert wire.rows("SELECT length(v) FROM filled WHERE id = 1") == [["5000"]]


def test_environment_and_precedence(start_howdah: Starter, postgres: PostgresServer) -> None:
    """A flag wins over a variable, a variable over the default."""
    port = free_port()
    howdah = start_howdah(env={"HOWDAH_MAX_AGE": "7s", "HOWDAH_LOG_FORMAT": "text"})
    with howdah.wire("postgres") as wire:
        assert wire.rows("SELECT 1") == [["1"]]
    other = start_howdah("--listen", f"127.0.0.1:{port}", env={"HOWDAH_LISTEN": "127.0.0.1:1"})
    assert other.port == port


def test_json_log(start_howdah: Starter) -> None:
    import json

    howdah = start_howdah("--log-format", "json", ready=False)
    eventually(lambda: "ready" in howdah.log)
    for line in howdah.log_lines():
        record = json.loads(line)
        assert record
    text = howdah.log
    assert '"listen"' in text
    assert '"contract"' in text


def test_too_many_connections(start_howdah: Starter, postgres: PostgresServer) -> None:
    """PostgreSQL's own refusal reaches the client."""
    database = postgres.create_database()
    postgres.run("postgres", f"ALTER DATABASE {database} CONNECTION LIMIT 3")
    postgres.run("postgres", f"GRANT CONNECT ON DATABASE {database} TO alice")
    howdah = start_howdah()
    wires = []
    refused = None
    for _ in range(5):
        try:
            wires.append(howdah.wire(database, "alice"))
        except WireError as error:
            refused = error
            break
    assert refused is not None
    assert refused.fields["C"] == "53300"
    for wire in wires:
        wire.close()


def test_pipelined_startup(howdah: Howdah, database: str) -> None:
    """A client that sends its first queries with the startup packet."""
    wire = Wire(howdah.address)
    wire.send(
        startup(user="postgres", database=database),
        query(PROBE),
        parse(PROBE) + bind() + execute() + SYNC,
    )
    wire.until()
    assert [f.kind for f in wire.until()] == list("TDCZ")
    assert [f.kind for f in wire.until()] == list("12DCZ")
    wire.close()


def test_psycopg_message_for_an_unreachable_upstream(start_howdah: Starter) -> None:
    port = free_port()
    howdah = start_howdah(upstream=f"postgresql://howdah@127.0.0.1:{port}/postgres")
    with pytest.raises(psycopg.OperationalError, match=str(port)):
        psycopg.connect(howdah.dsn("postgres"))
