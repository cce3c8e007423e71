"""The command line as a process: exit codes, one line of error, no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import __version__
from tests.fix_howdah import upstream_url

ROOT = Path(__file__).resolve().parents[1]
URL = "postgresql://howdah@127.0.0.1:1/postgres"


def howdah(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; variables of the caller do not reach it."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HOWDAH_", "PG"))}
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=inherited | {"PYTHONPATH": str(ROOT), "TERM": "dumb", "COLUMNS": "200"} | environment,
    )


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of error; also checks the exit code and that there is nothing else."""
    assert done.returncode == code, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("howdah: ")
    return done.stderr.removeprefix("howdah: ").rstrip()


def test_version_and_help():
    assert howdah("--version").stdout == f"howdah {__version__}\n"
    overview = howdah()
    assert overview.returncode == 0
    for command in ("serve", "check", "demo"):
        assert command in overview.stdout
        assert howdah(command, "--help").returncode == 0
    assert "--cache-size" in howdah("serve", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["serve"], "--upstream is missing; give it, or HOWDAH_UPSTREAM"),
        (["serve", "--upstrem", URL], "No such option: --upstrem"),
        (["serve", "--upstream"], "Option '--upstream' requires an argument"),
        (["serve", "extra"], "unexpected extra argument"),
        (["sevre"], "No such command 'sevre'"),
        (["serve", "--upstream", "db"], "--upstream: not a URL"),
        (["serve", "--upstream", URL, "--max-age", "60"], "--max-age: '60' has no unit"),
        (["serve", "--upstream", URL, "--contract", "bounded"], "--contract: 'bounded' is not av"),
        (["serve", "--upstream", URL, "--config", "/no/such"], "/no/such: cannot be read: No such"),
        (["check", "--upstream", URL, "--config", "/"], "/: cannot be read: Is a directory"),
        (["demo", "--rows", "none"], "Invalid value for '--rows'"),
    ],
)
def test_wrong_command_lines(arguments, expected):
    assert expected in error_of(howdah(*arguments), 2)


def test_a_wrong_variable_and_a_wrong_file(tmp_path):
    assert error_of(howdah("serve", HOWDAH_UPSTREAM=URL, HOWDAH_CACHE_SIZ="1"), 2) == (
        "HOWDAH_CACHE_SIZ: no setting has this variable; did you mean 'HOWDAH_CACHE_SIZE'?"
    )
    file = tmp_path / "howdah.yaml"
    file.write_text(f"upstream: {URL}\nrules:\n  - relation: x\n    cache: off\n")
    assert error_of(howdah("serve", HOWDAH_CONFIG=str(file)), 2) == (
        f"{file}:3:5: unknown key 'relation' in a rule; did you mean 'relations'?"
    )


def test_a_taken_port_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = howdah("serve", "--upstream", URL, "--listen", f"127.0.0.1:{port}", "--http", "none")
        message = error_of(done, 1)
    assert f"127.0.0.1:{port}" in message
    assert "--listen" in message


def test_unreadable_certificates_are_one_clear_line(tmp_path):
    missing = str(tmp_path / "missing.pem")
    done = howdah(
        "serve", "--upstream", URL, "--tls-certificate", missing, "--tls-key", missing
    )  # fmt: skip
    assert missing in error_of(done, 1)


def test_check_says_what_holds(postgres):
    done = howdah("check", "--upstream", upstream_url(postgres))
    assert done.returncode == 0, done.stderr
    assert "configuration  right: no file, 0 rules" in done.stdout
    assert "contract       proxied" in done.stdout
    assert f"PostgreSQL {postgres.major}" in done.stdout


def test_check_suggests_what_the_role_lacks(postgres):
    postgres.run(
        "postgres",
        "DROP ROLE IF EXISTS check_cli",
        "CREATE ROLE check_cli LOGIN",
    )
    try:
        url = upstream_url(postgres, role="check_cli")
        done = howdah("check", "--upstream", url, HOWDAH_MAX_AGE="none")
        assert done.returncode == 0, done.stderr
        assert 'GRANT pg_read_all_stats TO "check_cli";' in done.stdout
        assert 'ALTER ROLE "check_cli" REPLICATION;' in done.stdout
        assert "requires pg_read_all_stats" in done.stdout
    finally:
        postgres.run("postgres", "DROP ROLE check_cli")


def test_check_of_an_upstream_that_is_not_there(postgres):
    assert error_of(howdah("check", "--upstream", URL), 1).startswith("127.0.0.1:1: ")
    url = upstream_url(postgres, role="nobody_of_that_name")
    message = error_of(howdah("check", "--upstream", url), 1)
    assert 'role "nobody_of_that_name" does not exist' in message


def test_a_password_file_that_others_may_read_is_refused(tmp_path):
    file = tmp_path / "passwords"
    file.write_text("*:*:*:*:secret\n")
    file.chmod(0o644)
    done = howdah("check", "--upstream", URL, PGPASSFILE=str(file))
    assert done.returncode == 1
    assert f"howdah: {file}: ignored, since others may read it; chmod 600 it" in done.stderr
    assert "secret" not in done.stderr
