"""The transcript in docs/operating.md is run, command by command, and says what happens.

The guide is written as one shell session against PostgreSQL on port 5432 and Howdah on ports
6432 and 9432. Here its files are written, its commands are run in one bash, on other ports,
and the output of each is compared with the guide. The convention of the guide: `…` stands for
what varies, within a line; alone on a line it stands for any number of lines. The width of
columns does not count.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

import pytest

from tests.fix_pg import PostgresServer
from tests.fix_tools import free_port

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "operating.md"
END = "=== end of the output ==="
SECONDS = 120

# A file that is to be written, or a piece of the session.
BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```", re.S)


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the guide, which may have several lines, and the output that it shows."""

    command: str
    shown: str


def files(guide: str) -> dict[str, str]:
    return {match["file"]: match["body"] for match in BLOCK.finditer(guide) if match["file"]}


def steps(guide: str) -> list[Step]:
    """The commands of all `console` blocks: `$ ` begins one, `> ` goes on with it."""
    found: list[tuple[list[str], list[str]]] = []
    for match in BLOCK.finditer(guide):
        if match["kind"] != "console":
            continue
        for line in match["body"].splitlines():
            if line.startswith("$ "):
                found.append(([line[2:]], []))
            elif line.startswith("> "):
                found[-1][0].append(line[2:])
            else:
                found[-1][1].append(line)
    return [Step("\n".join(command), "\n".join(output)) for command, output in found]


def plain(text: str) -> list[str]:
    """The lines without what depends on the width of columns."""
    squeezed = (re.sub(r"\s+", " ", re.sub(r"-{2,}", "-", line)) for line in text.splitlines())
    kept = [line.strip() for line in squeezed]
    while kept and not kept[-1]:
        kept.pop()
    return kept


def fits(shown: str, printed: str) -> bool:
    """Whether the guide's output allows for what was printed."""
    pattern = ""
    for line in plain(shown):
        if line == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.split("…"))) + r"\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in plain(printed))) is not None


class Shell:
    """A bash in a directory of its own; `run` gives what a command prints."""

    def __init__(self, folder: Path, path: list[str]) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOWDAH_", "PG"))}
        environment |= {
            "PATH": os.pathsep.join([*path, environment["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
        }
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        # Closes the pipe, so that a command that hangs ends the test.
        self.limit = Timer(SECONDS, self.kill)
        self.limit.start()

    def run(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho; echo '{END}'\n")
        self.process.stdin.flush()
        lines: list[str] = []
        for line in self.process.stdout:
            if line.rstrip("\n") == END:
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended in {command!r}:\n{''.join(lines)}")

    def kill(self) -> None:
        """End bash and all that was started in it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def close(self) -> None:
        self.limit.cancel()
        self.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def ports(postgres: PostgresServer) -> dict[str, str]:
    """The guide's ports, and those that stand for them here."""
    return {"5432": str(postgres.port), "6432": str(free_port()), "9432": str(free_port())}


def replaced(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(map(re.escape, words)), lambda match: words[match[0]], text)


@pytest.fixture
def shell(postgres: PostgresServer, tmp_path: Path) -> Iterator[Shell]:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, target in {"python": sys.executable, "howdah": f"{sys.executable} -m proxy"}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {target} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    (programs / "psql").symlink_to(postgres.tool("psql"))
    folder = tmp_path / "home"
    folder.mkdir()
    made = Shell(folder, [str(programs)])
    yield made
    made.close()
    postgres.run(
        "postgres",
        "DROP DATABASE IF EXISTS shop WITH (FORCE)",
        "DROP ROLE IF EXISTS app, oncall",
    )


def run_guide(shell: Shell, folder: Path, ports: dict[str, str]) -> list[tuple[Step, str]]:
    """What each step prints, in the guide's own ports."""
    guide = GUIDE.read_text(encoding="utf-8")
    back = {here: there for there, here in ports.items()}
    for name, body in files(guide).items():
        (folder / name).write_text(replaced(body, ports), encoding="utf-8")
    return [
        (step, replaced(shell.run(replaced(step.command, ports)), back)) for step in steps(guide)
    ]


@pytest.mark.slow
def test_the_guide_says_what_happens(shell, tmp_path, ports):
    if shutil.which("curl") is None:
        pytest.skip("the guide uses curl")
    wrong = [
        "\n".join(
            [
                f"$ {step.command}",
                *difflib.unified_diff(
                    plain(step.shown), plain(printed), "the guide", "here", lineterm=""
                ),
            ]
        )
        for step, printed in run_guide(shell, tmp_path / "home", ports)
        if not fits(step.shown, printed)
    ]
    assert not wrong, "\n\n".join(wrong)


def test_the_guide_has_files_and_commands():
    guide = GUIDE.read_text(encoding="utf-8")
    assert {"shop.sql", "shop.py", "howdah.yaml"} <= set(files(guide))
    commands = [step.command for step in steps(guide)]
    assert any(command.startswith("psql ") for command in commands)
    assert any("FLUSH TABLE" in command for command in commands)
    assert any("kill -TERM" in command for command in commands)


def test_an_output_that_differs_is_noticed():
    assert fits("a | b\n---+---\n1 | 0.0…", " a  |   b\n----+-----\n  1 | 0.012\n\n")
    assert fits("begin\n…\nend", "begin\n1\n2\nend\n")
    assert fits("begin\n…\nend", "begin\nend\n")
    assert not fits("a | 1", "a | 2")
    assert not fits("a", "a\nb")
    assert not fits("a\nb", "a")
    assert not fits("0.0…", "0.12")
    assert not fits("begin …", "begin\nend")


def test_commands_and_outputs_are_told_apart():
    session = "```console\n$ one\nsays\n$ two <<END\n> more\n> END\n```\n"
    guide = f"text\n{session}<!-- file: f -->\n```sql\nx\n```\n"
    assert steps(guide) == [Step("one", "says"), Step("two <<END\nmore\nEND", "")]
    assert files(guide) == {"f": "x\n"}
