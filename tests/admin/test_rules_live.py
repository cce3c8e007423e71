"""Rules, hints and reloads against real PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fix_howdah import ROOT, Howdah, Starter
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import Wire

PROBE = "SELECT v FROM public.probe WHERE id = 1"
Changing = Callable[[str], None]


@pytest.fixture
def with_rules(start_howdah: Starter, tmp_path: Path) -> tuple[Howdah, Changing]:
    """A Howdah that reads a file, and what puts rules into that and waits until they hold."""
    path = tmp_path / "howdah.yaml"
    path.write_text("rules: []\n")
    howdah = start_howdah("--config", str(path))

    def change(rules: str) -> None:
        start = len(howdah.log)
        new = path.with_suffix(".new")
        new.write_text(f"rules:\n{rules}")
        new.replace(path)
        howdah.signal(signal.SIGHUP)
        eventually(lambda: "configuration reloaded: new rules" in howdah.log[start:])

    return howdah, change


def outcome(howdah: Howdah, wire: Wire, sql: str) -> str:
    """How one read was answered: `outcome/reason`."""
    with howdah.watching() as gained:
        wire.query(sql)
    (found,) = (name for name in gained if "/" in name)
    return found


def test_stale_answers_are_served_until_somebody_writes(
    with_rules: tuple[Howdah, Changing], database: str, postgres: PostgresServer
) -> None:
    howdah, change = with_rules
    change("  - {relations: probe, ttl: 1ms, stale_while_revalidate: 1h}\n")
    with howdah.wire(database) as wire, howdah.wire(database) as writer:

        def stale() -> bool:
            return outcome(howdah, wire, PROBE).startswith("stale/")

        eventually(stale)
        # It is fetched behind the answer; a write of others shows with the next one.
        postgres.run(database, "UPDATE public.probe SET v = 41")
        eventually(lambda: wire.rows(PROBE) == [["41"]])
        before = howdah.count("statements_total", outcome="stale")
        assert before > 0
        assert howdah.count("statement_seconds_count", outcome="stale") == before
        # A write through Howdah ends it at once: never is one served that is older.
        for number in range(20):
            eventually(stale)
            writer.query(f"UPDATE public.probe SET v = {number}")
            assert wire.rows(PROBE) == [[str(number)]]
        change("  - {relations: probe, ttl: 1ms}\n")
        eventually(lambda: outcome(howdah, wire, PROBE) == "miss/expired")


def test_application_names_have_rules_of_their_own(
    with_rules: tuple[Howdah, Changing], database: str
) -> None:
    howdah, change = with_rules
    change('  - {application_name: "report*", cache: off}\n')
    with (
        howdah.wire(database, application_name="web") as web,
        howdah.wire(database, application_name="report 1") as report,
    ):
        howdah.until_hit(web)
        eventually(lambda: outcome(howdah, report, PROBE) == "bypass/rule_off")
        # It may change, also for one transaction.
        report.query("SET application_name = 'web'")
        assert outcome(howdah, report, PROBE) == "hit/"
        web.query("BEGIN")
        web.query("SET LOCAL application_name = 'report 2'")
        assert outcome(howdah, web, PROBE) == "bypass/rule_off"
        web.query("ROLLBACK")
        assert outcome(howdah, web, PROBE) == "hit/"
        change("  - {application_name: web, cache: off}\n")
        eventually(lambda: outcome(howdah, web, PROBE) == "bypass/rule_off")
        eventually(lambda: outcome(howdah, report, PROBE) == "bypass/rule_off")
        report.query("RESET application_name")
        howdah.until_hit(report)
        assert outcome(howdah, web, PROBE) == "bypass/rule_off"


def test_sizes_fingerprints_and_hints(
    with_rules: tuple[Howdah, Changing], database: str, postgres: PostgresServer
) -> None:
    howdah, change = with_rules
    postgres.run(database, "CREATE TABLE n AS SELECT generate_series(1, 100) AS i")
    many, few = "SELECT i FROM n WHERE i < 60", "SELECT i FROM n WHERE i < 10"
    change("  - {relations: n, max_rows: 50}\n")
    with howdah.wire(database) as wire:
        howdah.until_hit(wire, few)
        assert outcome(howdah, wire, many) == "miss/not_cached"
        assert outcome(howdah, wire, many) == "miss/not_cached"
        assert howdah.count("fills_rejected_total", cause="too_many_rows") == 2
        # A hint is above the rule; one that means nothing is told of once.
        howdah.until_hit(wire, f"/* howdah: max_rows=70 pleese */ {many}")
        howdah.until_hit(wire, f"/* howdah: max_rows=71 pleese */ {many}")
        assert howdah.log.count("the hint 'pleese'") == 1
        assert outcome(howdah, wire, f"/* howdah: off */ {few}") == "bypass/hint_off"
        # By the id that the statistics show, whatever the literals are.
        answer = json.loads(howdah.get("/api/show/queries?columns=id,query")[1])
        (id,) = (row[0] for row in answer["rows"] if "FROM n WHERE" in row[1])
        change(f"  - {{name: that one, fingerprint: {id}, cache: off}}\n")
        eventually(lambda: outcome(howdah, wire, few) == "bypass/rule_off")
        for sql in (many, "select  i from n where i < 3 -- comment"):
            assert outcome(howdah, wire, sql) == "bypass/rule_off"
        howdah.until_hit(wire, "SELECT i FROM n WHERE i > 3")
        answer = json.loads(howdah.get("/api/show/rules")[1])
        names = [column["name"] for column in answer["columns"]]
        (shown,) = (dict(zip(names, row, strict=True)) for row in answer["rows"])
        assert (shown["name"], shown["effects"]) == ("that one", "cache: off")


def test_a_bad_file_is_told_of_everywhere(
    start_howdah: Starter, tmp_path: Path, database: str
) -> None:
    path = tmp_path / "howdah.yaml"
    path.write_text("rules:\n  - {relations: probe, cache: off}\n")
    howdah = start_howdah("--config", str(path))
    problem = f"{path}:3:5: unknown key 'tll' in a rule; did you mean 'ttl'?"
    with howdah.wire(database) as wire:
        eventually(lambda: outcome(howdah, wire, PROBE) == "bypass/rule_off")
        path.write_text("rules:\n  - relations: probe\n    tll: 5s\n")
        howdah.signal(signal.SIGHUP)
        eventually(lambda: howdah.count("config_errors") == 1)
        assert problem in howdah.log
        status, body = howdah.get("/readyz")
        assert status == 200
        assert problem in json.loads(body)["problems"][0]
        assert problem in json.loads(howdah.get("/api/state")[1])["config"]["problem"]
        assert outcome(howdah, wire, PROBE) == "bypass/rule_off"
        path.write_text("rules:\n  - relations: probe\n    ttl: 5s\n")
        howdah.signal(signal.SIGHUP)
        eventually(lambda: howdah.count("config_errors") == 0)
        howdah.until_hit(wire)
        assert json.loads(howdah.get("/readyz")[1])["problems"] == []


def test_check_diff(with_rules: tuple[Howdah, Changing], tmp_path: Path, database: str) -> None:
    howdah, change = with_rules
    change("  - {name: short, relations: probe, ttl: 1h, priority: 3}\n")
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
    new = tmp_path / "new.yaml"
    new.write_text(
        "upstream: postgresql://howdah@db/x\n"
        "rules:\n"
        "  - {name: off for one, role: postgres, application_name: [cron], cache: off}\n"
        "  - {name: short, relations: probe, ttl: 1h}\n"
        "  - {function: public.f, reads: public.probe}\n"
    )

    def diff(*flags: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "proxy", "check", "--diff", "--config", str(new), *flags]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    found = diff("--http", howdah.http)
    assert found.returncode == 0, found.stderr
    head, _, rest = found.stdout.partition("\nstatements ")
    assert head == f"rules          1 at {howdah.http}, 3 in {new}"
    assert "1 that rules have a say in; 1 would change\n" in rest
    id = json.loads(howdah.get("/api/show/queries?columns=id")[1])["rows"][0][0]
    assert f"\n{id}  database {database}, " in rest
    assert (
        "  SELECT v FROM public.probe WHERE id = $1\n"
        "  for   role postgres with application_name cron\n"
        "  now   cached, ttl 1h (rule 'short')\n"
        "  then  forwarded (rule 'off for one')\n" in rest
    )
    assert "\nfunction public.f is declared; it is called by\n  no statement that was seen" in rest
    found = diff("--http", "127.0.0.1:1")
    assert found.returncode == 1
    assert found.stderr.startswith("howdah: no Howdah answers at http://127.0.0.1:1")
