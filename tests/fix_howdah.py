"""Howdah as a process of its own: started, watched, asked for its metrics, stopped.

A test fails if the process dies or if its log shows a traceback.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fix_pg import PostgresServer
from tests.fix_tools import LOGS, PATIENCE, eventually
from tests.fix_wire import Wire, connect

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')

#: What is run as `howdah`, below `python -m`; `--mutation` puts another module here.
MODULE = ["proxy"]

Metrics = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse_metrics(text: str) -> Metrics:
    """The Prometheus text format as (name, labels) -> value."""
    metrics: Metrics = {}
    for line in text.splitlines():
        match = SAMPLE.match(line)
        if match:
            name, labels, value = match.groups()
            metrics[name, frozenset(LABEL.findall(labels or ""))] = float(value)
    return metrics


def _summary(metrics: Metrics) -> dict[str, float]:
    """`outcome/reason` -> statements, and the sums `hits` and `evictions`."""
    found: dict[str, float] = {"hits": 0, "evictions": 0}
    for (name, labels), value in metrics.items():
        if name == "howdah_statements_total":
            label = dict(labels)
            found[f"{label.get('outcome')}/{label.get('reason')}"] = value
            if label.get("outcome") == "hit":
                found["hits"] += value
        elif name == "howdah_evictions_total":
            found["evictions"] += value
    return found


class Howdah:
    """One `serve` process."""

    def __init__(self, upstream: str, *flags: str, env: dict[str, str] | None = None) -> None:
        self.upstream = upstream
        self.flags = flags
        self.env = env or {}
        handle, name = tempfile.mkstemp(prefix="howdah-log-")
        os.close(handle)
        self.log_path = Path(name)
        self.process: subprocess.Popen[bytes] | None = None
        self.address = ("", 0)
        self.http = ""
        self.ready_line = ""
        self._http: http.client.HTTPConnection | None = None

    @property
    def host(self) -> str:
        return self.address[0]

    @property
    def port(self) -> int:
        return self.address[1]

    def arguments(self) -> list[str]:
        flags = list(self.flags)
        if "--listen" not in flags:
            flags += ["--listen", "127.0.0.1:0"]
        if "--http" not in flags:
            flags += ["--http", "127.0.0.1:0"]
        return [sys.executable, "-m", *MODULE, "serve", "--upstream", self.upstream, *flags]

    def launch(self) -> Howdah:
        """Start the process and return at once."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOWDAH_", "PG"))}
        environment.update(PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="1", **self.env)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.arguments(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=ROOT,
            )
        LOGS[f"howdah {self.process.pid}"] = self.log_path
        return self

    def start(self) -> Howdah:
        """Start and wait for the `ready` line."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        process = self.process
        assert process is not None

        def look() -> str | None:
            for line in self.log_lines():
                if "ready listen=" in line:
                    return line
            if process.poll() is not None:
                raise AssertionError(f"howdah ended with {process.returncode}:\n{self.log}")
            return None

        self.ready_line = eventually(look, what="ready line") or ""
        listen = re.search(r"listen=(\S+)", self.ready_line)
        found = re.search(r"http=(\S+)", self.ready_line)
        assert listen is not None, self.ready_line
        host, _, port = listen[1].split(",")[0].rpartition(":")
        self.address = (host.strip("[]"), int(port))
        self.http = found[1].split(",")[0] if found else ""

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def log_lines(self) -> list[str]:
        return self.log.splitlines()

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit status, once it has ended by itself."""
        assert self.process is not None
        return self.process.wait(timeout)

    def stop(self) -> int:
        """SIGTERM, then wait; kills a process that does not leave."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                left = {name: value for (name, _), value in self.metrics().items() if value}
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"howdah did not stop: {left}\n{self.log}") from None
        return self.process.returncode

    def destroy(self) -> None:
        if self._http is not None:
            self._http.close()
        try:
            self.stop()
        finally:
            if self.process is not None:
                LOGS.pop(f"howdah {self.process.pid}", None)
            self.log_path.unlink(missing_ok=True)

    def dsn(self, database: str, user: str = "postgres", **more: object) -> str:
        parameters = "&".join(f"{k}={v}" for k, v in {"sslmode": "disable", **more}.items())
        return f"postgresql://{user}@{self.host}:{self.port}/{database}?{parameters}"

    def wire(self, database: str, user: str = "postgres", **options: str | int | None) -> Wire:
        """A started raw connection."""
        return connect(self.address, database, user, **options)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an HTTP page, on a connection that is kept."""
        for again in (True, False):
            if self._http is None:
                self._http = http.client.HTTPConnection(self.http, timeout=PATIENCE)
            try:
                self._http.request("GET", path)
                answer = self._http.getresponse()
                return answer.status, answer.read().decode()
            except (http.client.HTTPException, ConnectionError):
                # The server may close an idle connection at any time.
                self._http.close()
                self._http = None
                if not again:
                    raise
        raise AssertionError("unreachable")

    def metrics(self) -> Metrics:
        return parse_metrics(self.get("/metrics")[1])

    def count(self, name: str, **labels: str) -> float:
        """The sum of all samples of `howdah_<name>` that carry these labels."""
        wanted = frozenset(labels.items())
        return sum(
            value
            for (sample, found), value in self.metrics().items()
            if sample == f"howdah_{name}" and wanted <= found
        )

    def hits(self) -> float:
        return self.count("statements_total", outcome="hit")

    def evictions(self) -> float:
        return self.count("evictions_total")

    @contextmanager
    def watching(self) -> Iterator[dict[str, float]]:
        """Fills a dict with what the block added: `outcome/reason`, `hits`, `evictions`."""
        gained: dict[str, float] = {}
        before = _summary(self.metrics())
        yield gained
        for name, value in _summary(self.metrics()).items():
            more = value - before.get(name, 0)
            if more or name in ("hits", "evictions"):
                gained[name] = more

    @contextmanager
    def hits_during(self, count: float) -> Iterator[None]:
        """Fail unless exactly `count` statements in the block were hits."""
        with self.watching() as gained:
            yield
        assert gained["hits"] == count, f"expected {count} hits, got {gained}"

    def is_hit(self, wire: Wire, sql: str) -> bool:
        """Run a simple query; was it answered from memory?"""
        with self.watching() as gained:
            wire.query(sql)
        return gained["hits"] == 1

    def until_hit(self, wire: Wire, sql: str = "SELECT v FROM public.probe WHERE id = 1") -> None:
        """Repeat until it is a hit: catalog loaded, settings known, start gate open."""
        last: dict[str, float] = {}

        def attempt() -> bool:
            nonlocal last
            with self.watching() as gained:
                wire.query(sql)
            last = gained
            return gained["hits"] == 1

        try:
            eventually(attempt)
        except AssertionError:
            raise AssertionError(f"no hit for {sql!r}: {last}") from None

    def warm(self, database: str, user: str = "postgres") -> None:
        """Wait until this database is being cached."""
        with self.wire(database, user) as wire:
            self.until_hit(wire)


def upstream_url(server: PostgresServer, role: str = "howdah") -> str:
    """The URL of Howdah's own role at this server."""
    return f"postgresql://{role}@{server.host}:{server.port}/postgres"


def check(howdah: Howdah, start: int = 0) -> None:
    """Fail on a traceback in the log since `start` characters."""
    log = howdah.log[start:]
    assert "Traceback" not in log, f"traceback in the log of howdah:\n{log[-6000:]}"


Starter = Callable[..., Howdah]


@pytest.fixture
def start_howdah(postgres: PostgresServer) -> Iterator[Starter]:
    """`start_howdah(*flags, server=..., upstream=..., env=..., ready=True)` -> Howdah."""
    started: list[Howdah] = []

    def start(
        *flags: str,
        server: PostgresServer | None = None,
        upstream: str | None = None,
        env: dict[str, str] | None = None,
        ready: bool = True,
    ) -> Howdah:
        howdah = Howdah(upstream or upstream_url(server or postgres), *flags, env=env)
        started.append(howdah)
        return howdah.start() if ready else howdah.launch()

    yield start
    logs = []
    for howdah in started:
        howdah.stop()
        logs.append(howdah.log)
        howdah.destroy()
    for log in logs:
        assert "Traceback" not in log, f"traceback in the log of howdah:\n{log[-6000:]}"


class SharedHowdahs:
    """One long-lived Howdah per server; a dead one is replaced for the next test."""

    def __init__(self) -> None:
        self.running: dict[str, Howdah] = {}
        self.lock = threading.Lock()

    def of(self, server: PostgresServer) -> Howdah:
        with self.lock:
            howdah = self.running.get(server.name)
            if howdah is not None and not howdah.alive:
                howdah.destroy()
                howdah = None
            if howdah is None:
                howdah = Howdah(upstream_url(server)).start()
                self.running[server.name] = howdah
            return howdah


@pytest.fixture(scope="session")
def shared_howdahs() -> Iterator[SharedHowdahs]:
    shared = SharedHowdahs()
    yield shared
    for howdah in shared.running.values():
        howdah.destroy()


def _watched(howdah: Howdah) -> Iterator[Howdah]:
    start = len(howdah.log)
    yield howdah
    check(howdah, start)
    assert howdah.alive, f"howdah died:\n{howdah.log[-6000:]}"


@pytest.fixture
def howdah(postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Iterator[Howdah]:
    """The shared Howdah in front of `postgres`: for tests that need no flags."""
    yield from _watched(shared_howdahs.of(postgres))


@pytest.fixture
def each_howdah(each_postgres: PostgresServer, shared_howdahs: SharedHowdahs) -> Iterator[Howdah]:
    """The shared Howdah in front of each server."""
    yield from _watched(shared_howdahs.of(each_postgres))


def backends(server: PostgresServer, database: str) -> list[tuple[int, str, str]]:
    """pid, application_name and state of the clients' backends in a database."""
    with server.connect("postgres") as admin:
        rows = admin.execute(
            "SELECT pid, application_name, coalesce(state, '') FROM pg_stat_activity"
            " WHERE datname = %s AND backend_type = 'client backend' AND usename <> 'howdah'",
            [database],
        ).fetchall()
    return [(int(pid), str(name), str(state)) for pid, name, state in rows]


def wait_until_running(server: PostgresServer, fragment: str) -> None:
    """Wait until some backend is executing a statement that contains `fragment`."""
    with server.connect("postgres") as admin:

        def running() -> bool:
            row = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
                " AND strpos(query, %s) > 0 AND pid <> pg_backend_pid()",
                [fragment],
            ).fetchone()
            return bool(row and row[0])

        eventually(running, what=f"a backend that runs {fragment!r}")
