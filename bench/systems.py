"""What is measured, and how each system is set up: fair, plain, and the same for every run.

Configurations are the packages' defaults where they are reasonable, with pools large enough that
no client ever waits for one, logging off, and everything on 127.0.0.1 with trust authentication.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.children import (
    BenchError,
    Child,
    Unavailable,
    clean_environment,
    free_port,
    listening,
    own_directory,
    run,
)
from bench.postgres import DATABASE, ROLE, Postgres

ROOT = Path(__file__).resolve().parent.parent
Counts = tuple[float, float]  # (statements answered from memory, all statements) since the start


@dataclass
class System:
    """Something that speaks PostgreSQL's protocol on 127.0.0.1:port.

    `pid` is the root of the process tree whose CPU is the proxy's; None for PostgreSQL itself.
    `counts` reads the system's own statistics of hits, where it has any; `http` is the port of
    its metrics.
    """

    name: str
    title: str
    port: int
    version: str
    pid: int | None = None
    counts: Callable[[], Counts] | None = None
    http: int | None = None


def _install(binary: str, package: str) -> None:
    """Have `binary`, by apt-get if need be and may be; raises Unavailable otherwise."""
    if shutil.which(binary, path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Unavailable(f"{binary} is not installed (Debian package {package})")
    print(f"installing {package} by apt-get ...", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", package],
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", package],
    ):
        # policy-rc.d or not: a daemon that the package starts uses other ports than the bench.
        subprocess.run(command, env=environment, capture_output=True, check=False)
        if shutil.which(binary, path="/usr/sbin:/usr/bin"):
            return
    raise Unavailable(f"{package} could not be installed by apt-get")


def _binary(name: str) -> str:
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


class Systems:
    """Starts systems in front of one PostgreSQL, and stops all that it started."""

    def __init__(self, postgres: Postgres, work: Path, howdah_arguments: Sequence[str]) -> None:
        self.postgres = postgres
        self.work = work
        self.howdah_arguments = list(howdah_arguments)
        self.children: list[Child] = []

    def start(self, name: str) -> System:
        """Start one of STARTERS; raises Unavailable if it cannot take part."""
        try:
            system = STARTERS[name](self)
            if name != "echo":
                self.postgres.query("select 1", port=system.port)
        except (BenchError, OSError) as error:
            raise Unavailable(f"{name}: {error}") from error
        return system

    def stop(self) -> None:
        while self.children:
            self.children.pop().stop()

    def _start_child(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        privileged: bool = False,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Child:
        child = Child(
            name,
            command,
            self.work / f"{name}.log",
            account=None if privileged else self.postgres.account,
            cwd=str(ROOT) if privileged else "/",
            stop_signal=stop_signal,
        )
        self.children.append(child)
        return child

    def _home(self, name: str, files: dict[str, str]) -> Path:
        home = own_directory(self.work / name, self.postgres.account)
        for file, text in files.items():
            (home / file).write_text(text)
            (home / file).chmod(0o644)
        return home

    def direct(self) -> System:
        assert self.postgres.child is not None
        number = self.postgres.query("show server_version")
        return System("direct", "PostgreSQL", self.postgres.port, number)

    def pgbouncer(self) -> System:
        _install("pgbouncer", "pgbouncer")
        binary, port = _binary("pgbouncer"), free_port()
        home = self.work / "pgbouncer"
        self._home(
            "pgbouncer",
            {
                "users.txt": f'"{ROLE}" ""\n',
                "pgbouncer.ini": PGBOUNCER.format(
                    port=port, upstream=self.postgres.port, users=home / "users.txt"
                ),
            },
        )
        # SIGTERM is PgBouncer's immediate shutdown.
        child = self._start_child("pgbouncer", [binary, home / "pgbouncer.ini"])
        child.wait_until(lambda: listening(port))
        number = run([binary, "--version"]).split()[1]
        return System("pgbouncer", "PgBouncer", port, number, child.pid)

    def pgpool(self) -> System:
        _install("pgpool", "pgpool2")
        binary, port = _binary("pgpool"), free_port()
        home = self.work / "pgpool"
        self._home(
            "pgpool",
            {
                "pcp.conf": "",
                "pool_hba.conf": "",
                "pgpool.conf": PGPOOL.format(
                    port=port, upstream=self.postgres.port, home=home, pcp=free_port()
                ),
            },
        )
        own_directory(home / "oid", self.postgres.account)
        words = [binary, "-n", "-f", str(home / "pgpool.conf"), "-F", str(home / "pcp.conf")]
        child = self._start_child(
            "pgpool", [*words, "-a", home / "pool_hba.conf"], stop_signal=signal.SIGINT
        )
        child.wait_until(lambda: listening(port))
        text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
        found = re.search(r"\d[\d.]+", text.stdout + text.stderr)

        def counts() -> Counts:
            fields = self.postgres.query("show pool_cache", port=port).split("|")
            hits, selects = float(fields[0]), float(fields[1])
            return hits, hits + selects

        number = found.group() if found else "?"
        return System("pgpool", "Pgpool-II cache", port, number, child.pid, counts)

    def howdah(self) -> System:
        port, http = free_port(), free_port()
        upstream = f"postgresql://{ROLE}@127.0.0.1:{self.postgres.port}/{DATABASE}"
        command = [sys.executable, "-m", "proxy", "serve", "--upstream", upstream]
        command += ["--listen", f"127.0.0.1:{port}", "--http", f"127.0.0.1:{http}"]
        child = self._start_child("howdah", [*command, *self.howdah_arguments], privileged=True)
        child.wait_until(lambda: "ready" in child.log.read_text(errors="replace"))

        def counts() -> Counts:
            return _howdah_counts(http)

        return System("howdah", "Howdah", port, howdah_version(), child.pid, counts, http)

    def echo(self) -> System:
        return self._floor("echo", "bare echo (floor)", [])

    def relay(self) -> System:
        return self._floor("relay", "bare relay (floor)", [str(self.postgres.port)])

    def _floor(self, name: str, title: str, arguments: list[str]) -> System:
        port = free_port()
        command = [sys.executable, "-m", "bench.floor", name, str(port), *arguments]
        child = self._start_child(name, command, privileged=True)
        child.wait_until(lambda: listening(port))
        return System(name, title, port, f"uvloop {version('uvloop')}", child.pid)


STARTERS: dict[str, Callable[[Systems], System]] = {
    "direct": Systems.direct,
    "pgbouncer": Systems.pgbouncer,
    "pgpool": Systems.pgpool,
    "howdah": Systems.howdah,
    "echo": Systems.echo,
    "relay": Systems.relay,
}


def howdah_version() -> str:
    """The commit that is measured, with a mark if the tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environment(),
    )
    if head.returncode != 0:
        return "working tree"
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "proxy"], capture_output=True, check=False
    )
    return head.stdout.strip() + (" + changes" if changed.stdout else "")


def _howdah_counts(http: int) -> Counts:
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    hits = total = 0.0
    for line in text.splitlines():
        if line.startswith("howdah_statements_total{"):
            value = float(line.rsplit(" ", 1)[1])
            total += value
            if 'outcome="hit"' in line or 'outcome="shared"' in line:
                hits += value
    return hits, total


PGBOUNCER = """
[databases]
* = host=127.0.0.1 port={upstream}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = session
max_client_conn = 200
default_pool_size = 50
log_connections = 0
log_disconnections = 0
"""

PGPOOL = """
backend_clustering_mode = 'streaming_replication'
listen_addresses = '127.0.0.1'
port = {port}
socket_dir = '{home}'
pcp_listen_addresses = '127.0.0.1'
pcp_port = {pcp}
pcp_socket_dir = '{home}'
pid_file_name = '{home}/pgpool.pid'
logdir = '{home}'
work_dir = '{home}'
backend_hostname0 = '127.0.0.1'
backend_port0 = {upstream}
backend_weight0 = 1
enable_pool_hba = off
pool_passwd = ''
num_init_children = 24
max_pool = 2
load_balance_mode = off
sr_check_period = 0
sr_check_user = 'bench'
health_check_period = 0
log_min_messages = fatal
log_client_messages = off
memory_cache_enabled = on
memqcache_method = 'shmem'
memqcache_total_size = 256MB
memqcache_max_num_cache = 1000000
memqcache_expire = 0
memqcache_auto_cache_invalidation = on
memqcache_oiddir = '{home}/oid'
"""
