"""The script of `howdah demo`: start, load, measure, show, wait, stop.

What lives here: the order of things and what the user sees. It prints to stdout;
errors leave as `DemoError`, which the command line turns into one line.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psycopg
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import proxy
from proxy import units
from proxy.demo import shop, workload
from proxy.demo.postgres import SUPERUSER, DemoError, DemoPostgres, installation
from proxy.units import Address

_READY_SECONDS = 30.0
_STOP_SECONDS = 15.0
_MIXED_SECONDS = 3.0
_WARM_SECONDS = 10.0
_READY = re.compile(r"\bready\b.*\blisten=(\S+)(?:.*\bhttp=(\S+))?")


# Flag, what was given for it, and the default port.
_Wanted = tuple[str, str | None, int]


def run(*, once: bool, rows: int, listen: str | None, http: str | None) -> int:
    """Run the demo and return the exit code: 0, or 1 when an answer was wrong.

    Args:
        once: leave after the table instead of waiting for Ctrl-C.
        rows: sample rows in all tables together.
        listen: address for clients; None for the default port or, if taken, a free one.
        http: the same for the metrics.

    Raises:
        DemoError: something did not start; the message says what.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = Console(highlight=False)
    installation()
    wanted = (("--listen", listen, 6432), ("--http", http, 9432))
    for flag, text, port in wanted:
        _address(flag, text, port)  # a taken port is told at once, not after the loading
    try:
        return _run(console, wanted, rows, once)
    except KeyboardInterrupt:
        console.print("Stopped before the end.")
        return 130
    except psycopg.Error as error:
        raise DemoError(f"the demo's client failed: {error}") from None


def _run(console: Console, wanted: Sequence[_Wanted], rows: int, once: bool) -> int:
    with contextlib.ExitStack() as stack:
        with console.status("Starting PostgreSQL"):
            server = stack.enter_context(DemoPostgres())
        where = f"127.0.0.1:{server.port}, in {server.directory}"
        console.print(f"PostgreSQL runs on {where}.", soft_wrap=True)
        sizes = shop.Sizes.of(rows)
        password = _load(console, server, sizes)
        with console.status("Starting Howdah"):
            howdah = _start_howdah(server, password, wanted)
            stack.callback(howdah.stop)
        console.print(f"Howdah runs on {howdah.listen}, in front of it.\n")
        correct = _compare(console, server, howdah, sizes)
        _show_where(console, howdah)
        if not once:
            console.print("\nAll of this is removed when you press Ctrl-C.")
            _wait(howdah)
    return 0 if correct else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _address(flag: str, text: str | None, default_port: int) -> Address:
    """The address to listen on: the one that was named, the default port, or a free one."""
    wanted = Address("127.0.0.1", default_port)
    if text is not None:
        try:
            wanted = units.address(text)
        except ValueError as error:
            raise DemoError(f"{flag}: {error}") from None
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            wanted.host, wanted.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        if text is None:
            return Address("127.0.0.1", 0)
        raise DemoError(f"{flag}: {wanted} cannot be used: {error.strerror}") from None
    return wanted


def _load(console: Console, server: DemoPostgres, sizes: shop.Sizes) -> str:
    """Fill the database; returns the password of Howdah's own role."""
    password = secrets.token_hex(16)
    with _superuser(server, "postgres") as connection:
        shop.create_roles(connection, password)
    columns = (
        TextColumn("Filling the shop"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as bar, _superuser(server, shop.DATABASE) as link:
        task = bar.add_task("", total=sizes.total)

        def progress(what: str, added: int) -> None:
            bar.update(task, advance=added, description=what)

        shop.fill(link, sizes, progress)
        bar.update(task, description="")
    return password


def _superuser(server: DemoPostgres, database: str) -> workload.Connection:
    return psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        user=SUPERUSER,
        password=server.password,
        dbname=database,
        autocommit=True,
    )


class _Howdah:
    """Howdah as a child process, once it is ready.

    Attributes:
        listen: where clients connect.
        http: where its metrics are.
    """

    def __init__(self, process: subprocess.Popen[str], log: Path):
        self.process = process
        self._log = log
        self._ready = threading.Event()
        self._last = ""
        self.listen = self.http = Address("127.0.0.1", 0)
        assert process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, lines: IO[str]) -> None:
        with lines, self._log.open("w") as log:
            for line in lines:
                log.write(line)
                log.flush()
                self._last = line.strip() or self._last
                if not self._ready.is_set() and (match := _READY.search(line)):
                    self.listen = units.address(match[1].split(",")[0])
                    self.http = units.address(match[2]) if match[2] else self.http
                    self._ready.set()
        self._ready.set()  # it has ended

    def wait_until_ready(self) -> None:
        if not self._ready.wait(_READY_SECONDS):
            raise DemoError(f"Howdah did not start within {_READY_SECONDS:.0f} seconds")
        if not self.listen.port:
            self.process.wait()
            raise DemoError(f"Howdah did not start: {self._last.removeprefix('howdah: ')}")

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is not None:
                break
            self.process.send_signal(number)
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        self._reader.join()

    def url(self) -> str:
        """For the shop's role; its password is no secret."""
        return f"postgresql://{shop.ROLE}:{shop.ROLE_PASSWORD}@{self.listen}/{shop.DATABASE}"

    def connect(self) -> workload.Connection:
        """A new client of Howdah."""
        return _client(self.listen.host, self.listen.port)


def _start_howdah(server: DemoPostgres, password: str, wanted: Sequence[_Wanted]) -> _Howdah:
    """Howdah, ready; on free ports where the default ones have just been taken."""
    for attempt in ("default ports", "free ports"):
        free = "127.0.0.1:0" if attempt == "free ports" else None
        listen, http = (_address(flag, text or free, port) for flag, text, port in wanted)
        howdah = _launch(server, password, listen, http)
        try:
            howdah.wait_until_ready()
        except BaseException as error:
            howdah.stop()
            if isinstance(error, DemoError) and "in use" in error.message and free is None:
                continue
            raise
        return howdah
    raise AssertionError("the second attempt returns or raises")


def _launch(server: DemoPostgres, password: str, listen: Address, http: Address) -> _Howdah:
    package = Path(proxy.__file__).resolve().parents[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HOWDAH_", "PG"))}
    environment |= {"PGPASSWORD": password, "PYTHONPATH": str(package), "PYTHONUNBUFFERED": "1"}
    upstream = f"postgresql://{shop.PROXY_ROLE}@127.0.0.1:{server.port}/{shop.DATABASE}"
    arguments = ["--upstream", upstream, "--listen", str(listen), "--http", str(http)]
    process = subprocess.Popen(
        [sys.executable, "-m", "proxy", "serve", *arguments, "--drain-timeout", "2s"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,  # Ctrl-C is for the demo, which stops it in order
    )
    return _Howdah(process, server.directory / "howdah.log")


def _client(host: str, port: int) -> workload.Connection:
    connection = psycopg.connect(
        host=host,
        port=port,
        user=shop.ROLE,
        password=shop.ROLE_PASSWORD,
        dbname=shop.DATABASE,
        autocommit=True,
    )
    connection.prepare_threshold = 2
    return connection


def _compare(console: Console, server: DemoPostgres, howdah: _Howdah, sizes: shop.Sizes) -> bool:
    """Measure and print; returns whether every answer was right."""
    with (
        console.status("Measuring") as status,
        _client("127.0.0.1", server.port) as direct,
        howdah.connect() as cached,
    ):
        _warm_up(howdah, cached)
        backends = direct.info.backend_pid, cached.info.backend_pid
        with workload.one_core(howdah.process.pid, *backends):
            timings, differences = workload.measure_reads(direct, cached, sizes)
            timing, freshness = workload.measure_read_after_write(direct, cached)
        status.update("Several clients at once")
        before = _outcomes(howdah)
        count, checks = workload.mixed(howdah.connect, sizes, _MIXED_SECONDS)
        after = _outcomes(howdah)
    console.print(_table([*timings, timing]))
    freshness.reads += checks.reads
    freshness.stale += checks.stale
    console.print(
        f"Mixed workload, 4 clients, 1 % writes: {count / _MIXED_SECONDS:,.0f} statements per "
        f"second{_shares(before, after)}."
    )
    console.print(
        f"Reads right after a write: {freshness.reads - freshness.stale} of {freshness.reads} "
        "showed the new value."
    )
    if freshness.stale or differences:
        wrong = freshness.stale + differences
        console.print(f"[bold red]{wrong} answers were not what PostgreSQL says: a bug.[/]")
        return False
    return True


def _warm_up(howdah: _Howdah, cached: workload.Connection) -> None:
    """Wait until Howdah has read the catalog and answers from memory.

    Not longer than some seconds: the table then shows that it does not.
    """
    deadline = time.monotonic() + _WARM_SECONDS
    while not _outcomes(howdah).get("hit") and time.monotonic() < deadline:
        cached.execute(workload.POINT.encode(), (1,)).fetchall()
        time.sleep(0.02)


def _table(timings: list[workload.Timing]) -> Table:
    table = Table(
        title="Latency in milliseconds, as the client sees it",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("", no_wrap=True)
    for name in ("direct p50", "p99", "Howdah p50", "p99", "faster"):
        table.add_column(name, justify="right", no_wrap=True)
    for timing in timings:
        cells = [
            f"{timing.quantile(times, share) * 1000:.3f}"
            for times in (timing.direct, timing.cached)
            for share in (0.5, 0.99)
        ]
        table.add_row(timing.label, *cells, f"{timing.factor:.1f} x")
    return table


def _outcomes(howdah: _Howdah) -> dict[str, float]:
    """`howdah_statements_total` by outcome; empty where metrics cannot be read."""
    outcomes: dict[str, float] = {}
    try:
        with urllib.request.urlopen(f"http://{howdah.http}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return outcomes
    pattern = r'^howdah_statements_total\{[^}]*outcome="(\w+)"[^}]*\} (\S+)'
    for outcome, value in re.findall(pattern, text, re.MULTILINE):
        outcomes[outcome] = outcomes.get(outcome, 0) + float(value)
    return outcomes


def _shares(before: dict[str, float], after: dict[str, float]) -> str:
    counts = {outcome: after[outcome] - before.get(outcome, 0) for outcome in after}
    total = sum(counts.values())
    shown = [
        f"{counts[outcome] / total:.0%} {label}"
        for outcome, label in (("hit", "from memory"), ("shared", "shared"), ("miss", "missed"))
        if total and counts.get(outcome)
    ]
    return f" ({', '.join(shown)})" if shown else ""


def _show_where(console: Console, howdah: _Howdah) -> None:
    rows: list[tuple[str, Any]] = [
        ("Try it", f'psql "{howdah.url()}"'),
        ("Dashboard", f"http://{howdah.http}/"),
        ("Metrics", f"http://{howdah.http}/metrics"),
        ("State", f"http://{howdah.http}/readyz"),
    ]
    console.print()
    for label, value in rows:
        console.print(f"{label + ':':<11}{value}", soft_wrap=True)


def _wait(howdah: _Howdah) -> None:
    """Stay until Ctrl-C; an end of Howdah is an error."""
    try:
        howdah.process.wait()
    except KeyboardInterrupt:
        print("\nStopping.", flush=True)
        return
    raise DemoError(f"Howdah has ended with code {howdah.process.returncode}")
