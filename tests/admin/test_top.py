"""`howdah top` and `howdah advise` against a running Howdah."""

from __future__ import annotations

import copy
import io
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.console import Console

from proxy import top
from proxy.cli import invoke
from proxy.settings import load
from tests.fix_howdah import ROOT
from tests.fix_tools import PATIENCE, eventually, free_port

READ = "SELECT v FROM public.probe WHERE id = {}"
CLOCK = "SELECT v, random() FROM public.probe"
FUNCTION = """CREATE FUNCTION public.sum_of(t text) RETURNS int STABLE LANGUAGE plpgsql AS $$
DECLARE found int; BEGIN EXECUTE 'SELECT sum(v) FROM ' || t INTO found; RETURN found; END $$"""


@pytest.fixture
def busy(start_howdah, postgres, database):
    """A Howdah that has seen hits, a volatile function, a write and an opaque function."""
    postgres.run(database, FUNCTION)
    howdah = start_howdah("--max-age", "1s")
    with howdah.wire(database) as wire:
        howdah.until_hit(wire)
        for number in range(60):
            wire.query(READ.format(1))
            wire.query(CLOCK)
            wire.query(f"UPDATE public.probe SET v = {number} WHERE id = 1")
        for _ in range(60):
            wire.query("SELECT public.sum_of('probe')")
            wire.query(READ.format(2))
        yield howdah


def run(capsys, *arguments):
    """Exit code and standard output of a command."""
    code = invoke(list(arguments))
    return code, capsys.readouterr().out


def test_one_picture_as_text(busy, capsys):
    code, out = run(capsys, "top", "--once", "--http", busy.http)
    assert code == 0
    assert "contract proxied" in out
    assert max(map(len, out.splitlines())) <= 120
    (line,) = [line for line in out.splitlines() if "SELECT v, random()" in line]
    assert "volatile_function" in line
    for word in ("clients 1", "outcome", "hit ", "write ", "random()", "compute the value"):
        assert word in out, out


def test_advice_with_rules_to_paste(busy, postgres, database, capsys, tmp_path):
    with postgres.connect(database):
        eventually(lambda: json.loads(busy.get("/readyz")[1])["warnings"])
        code, out = run(capsys, "advise", "--http", busy.http)
    assert code == 0
    assert "volatile_function (function random)" in out
    assert "may write past Howdah" in out
    code, text = run(capsys, "advise", "--json", "--limit", "50", "--http", busy.http)
    found = json.loads(text)
    worth = [each["seconds"] for each in found]
    assert worth == sorted(worth, reverse=True)
    (opaque,) = [each for each in found if "sum_of" in each["title"]]
    assert opaque["yaml"].startswith("- function: public.sum_of\n")
    (written,) = [each for each in found if each["title"].startswith("public.probe is written")]
    for each in (opaque, written):
        text = f"rules:\n{each['yaml']}"
        (tmp_path / "howdah.yaml").write_text(text)
        given: dict[str, str | None] = {"config": str(tmp_path / "howdah.yaml")}
        settings = load(given | {"upstream": busy.upstream}, {}, lambda f: Path(f).read_text())
        assert len(settings.rules) == 1


def test_nothing_to_advise(start_howdah, capsys):
    howdah = start_howdah()
    code, out = run(capsys, "advise", "--http", howdah.http)
    assert code == 0
    assert "Nothing to advise" in out


@pytest.mark.parametrize("command", ["top", "advise"])
def test_no_howdah_is_one_sentence(command, capsys):
    address = f"127.0.0.1:{free_port()}"
    assert invoke([command, "--http", address]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"howdah: no Howdah answers at http://{address}: Connection refused")
    assert told.count("\n") == 1
    assert invoke([command, "--http", "http://:x"]) == 2
    assert "--http: 'http://:x' is not an address" in capsys.readouterr().err


def test_live_until_q(busy):
    """It shows, takes keys one by one, and leaves the terminal as it was."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 140))
    before = termios.tcgetattr(theirs)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "top", "--http", busy.http, "--interval", "0.2"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=ROOT,
    )
    try:
        os.set_blocking(ours, False)
        seen = bytearray()

        def shows(text: bytes) -> bool:
            try:
                seen.extend(os.read(ours, 65536))
            except BlockingIOError:
                pass
            assert process.poll() is None, process.stderr and process.stderr.read()
            return text in seen

        eventually(lambda: shows(b"rates over"))
        assert b"random()" in seen
        del seen[:]
        os.write(ours, b"s")
        eventually(lambda: shows(b"order by calls"))
        os.write(ours, b"q")
        assert process.wait(PATIENCE) == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        os.close(ours)
        os.close(theirs)


def drawn(now, before, **options):
    """A picture as text."""
    out = io.StringIO()
    Console(width=140, file=out).print(top.picture(now, before, **options))
    return out.getvalue()


def later(sample, seconds, **gained):
    """The same Howdah after `seconds` in which the read was called so often from memory."""
    state, queries = copy.deepcopy((sample.state, sample.queries))
    state["uptime"] += seconds
    state["outcomes"]["hit"] += gained["hits"]
    for row in queries.values():
        if "random" not in row["query"]:
            row["calls"] += gained["hits"]
            row["hits"] += gained["hits"]
            row["saved_seconds"] += gained["saved"]
    return top.Sample(state, queries)


def test_rates_are_between_two_looks(busy):
    first = top.look(busy.http)
    second = later(first, 2.0, hits=5000, saved=1.0)
    shown = drawn(second, first, order="saved")
    (hit,) = [line for line in shown.splitlines() if line.startswith("hit")]
    assert hit.split()[1:3] == ["2,500", "100.0%"]
    assert "500.0 ms" in shown
    assert "rates over 2.0 s" in shown
    # It was started anew in between: counters begin at nothing, and no rate is negative.
    shown = drawn(first, second)
    assert "-" not in shown.partition("outcome")[2].partition("not from memory")[0]


def test_problems_are_shown(busy):
    sample = top.look(busy.http)
    sample.state["problems"] = ["PostgreSQL is not reachable"]
    shown = drawn(sample, None, problem="no Howdah answers")
    assert "! no Howdah answers" in shown
    assert "! PostgreSQL is not reachable" in shown
