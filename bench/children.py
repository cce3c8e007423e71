"""Processes that the bench starts: as whom, on which port, how they end, how much CPU they used.

Every child is its own session, so that Ctrl-C in the terminal reaches the bench alone, which then
stops its children in the right order, by pid. Linux only (reads /proc).
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The bench cannot go on; the message is for the user, no traceback is needed."""


class Unavailable(BenchError):
    """One system cannot take part; the message says why, and the run goes on without it."""


@dataclass(frozen=True)
class Account:
    """The user under which servers that refuse root are run."""

    name: str
    uid: int
    gid: int


def unprivileged() -> Account | None:
    """The account to switch to, or None when the bench does not run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise BenchError("running as root, and neither user 'postgres' nor 'nobody' exists")


def own_directory(path: Path, account: Account | None) -> Path:
    """Create `path` so that the account can write there; returns it."""
    path.mkdir(parents=True, exist_ok=True)
    if account is not None:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o700 if account is not None else 0o755)
    return path


def clean_environment() -> dict[str, str]:
    """Our environment without PG* and HOWDAH_* variables, in the C locale, without TLS attempts."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "HOWDAH_"))}
    environment.update(LC_ALL="C", PGSSLMODE="disable", PGGSSENCMODE="disable")
    return environment


def run(command: Sequence[str | Path], account: Account | None = None, timeout: float = 120) -> str:
    """Run a command to its end and return its stdout; raises BenchError with its stderr."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd="/",
        env=clean_environment(),
        start_new_session=True,
        **_identity(account),
    )
    if result.returncode != 0:
        tail = (result.stderr or result.stdout).strip()[-1500:]
        raise BenchError(f"{Path(words[0]).name} failed ({result.returncode}): {tail}")
    return result.stdout


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _identity(account: Account | None) -> _Identity:
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """One server process, its log, and its end."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        account: Account | None = None,
        cwd: str = "/",
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self.stop_signal = stop_signal
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=clean_environment(),
                start_new_session=True,
                **_identity(account),
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def tail(self) -> str:
        """The last lines of the log, for error messages."""
        return "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])

    def wait_until(self, ready: Callable[[], bool], seconds: float = 20) -> None:
        """Wait for `ready()`; raises BenchError with the log's end if it dies or takes longer."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                code = self.process.returncode
                raise BenchError(f"{self.name} ended with {code}: {self.tail()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} not ready after {seconds:g} s: {self.tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it by its pid: politely, then with the session that it leads."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.process.wait()


def listening(port: int) -> bool:
    """Whether 127.0.0.1:port accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _tree(root: int) -> dict[int, int]:
    """CPU ticks by pid, reaped children included, of a process and its descendants."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
        except OSError:
            continue  # it ended between the listing and the open
        pid = int(entry)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))

    def descends(pid: int) -> bool:
        while pid not in (root, 0):
            pid = parents.get(pid, 0)
        return pid == root

    return {pid: used for pid, used in ticks.items() if descends(pid)}


def tree_cpu_seconds(root: int) -> float:
    """CPU seconds (user and system) of a process and all its descendants, ended ones included.

    A child that has been reaped counts in its parent's cutime and cstime, so the sum over the
    living never jumps back. Resolution: one clock tick, 10 ms on most kernels.
    """
    return sum(_tree(root).values()) / TICKS_PER_SECOND


def pin(roots: Iterable[int], cpus: Collection[int]) -> None:
    """Let these processes, their descendants and all their threads run on `cpus` only."""
    for root in roots:
        for pid in _tree(root):
            try:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(thread), cpus)
            except OSError:
                continue  # it ended meanwhile


def machine_busy_seconds() -> float:
    """CPU seconds that the whole machine has spent in processes (and had stolen) since boot."""
    with open("/proc/stat", "rb") as file:
        user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(
            int, file.readline().split()[1:9]
        )
    return (user + nice + system + steal) / TICKS_PER_SECOND
