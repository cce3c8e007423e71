"""Howdah as a whole: everything is built here, started, reloaded and drained in order.

What lives here: composition, and the engine's `Shell` (its questions go to
`net.watch` and `net.catalogs`). What must not: what any part does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
import watchfiles

from proxy import tasks
from proxy.admin.api import Api
from proxy.admin.console import ConsoleSession
from proxy.admin.house import ConfigSeen
from proxy.admin.series import Series
from proxy.catalog import loader
from proxy.errors import ConfigError, HowdahError
from proxy.house import Household
from proxy.metrics import Metrics
from proxy.net import alarms, cancel, http, listener, logs, tls
from proxy.net.catalogs import Catalogs, Loader
from proxy.net.own import Login
from proxy.net.statements import StatementLog
from proxy.net.switchboard import Switchboard
from proxy.net.upstream import Target
from proxy.net.watch import ServerWatch
from proxy.net.writers import OtherWriters
from proxy.session.engine import Engine
from proxy.settings import Settings

if TYPE_CHECKING:
    import socket

    import uvicorn

    from proxy.session.core import Session

# Seconds between two looks whether a session has become idle while draining, and
# what closing connections may take at the end.
_DRAIN_STEP = 0.02
_CLOSE_PATIENCE = 1.0

_log = logging.getLogger("howdah")


@dataclass(frozen=True, slots=True)
class Addresses:
    """What is really bound: port 0 has become a free one."""

    listen: tuple[str, ...] = ()
    http: tuple[str, ...] = ()
    unix: str | None = None


class Howdah:
    """One process of Howdah.

    Attributes:
        settings: those in force; a reload replaces their rules.
        addresses: what is bound, once `start` has returned.
    """

    def __init__(self, settings: Settings) -> None:
        """Build everything; nothing is bound or connected yet.

        Raises:
            ConfigError: TLS files that cannot be used.
        """
        self.settings = settings
        self.addresses = Addresses()
        self._config_problem: str | None = None
        self._reading = asyncio.Lock()
        self._config_loaded = time.time()
        upstream = settings.upstream
        # `allow` is plain first; a relay cannot come back after a refusal.
        mode = "disable" if upstream.sslmode == "allow" else upstream.sslmode
        target = Target(
            host=upstream.host,
            port=upstream.port,
            socket_dir=upstream.socket_dir,
            sslmode=mode,
            context=tls.upstream_context(mode, upstream.sslrootcert),
        )
        login = Login(upstream, target)
        self.engine = Engine(
            cache_bytes=settings.cache_size,
            entry_limit=settings.entry_limit,
            max_age=settings.max_age,
            rules=settings.rules,
            shell=self,
            shared_waiters=settings.shared_waiters if settings.shared_wait else 0,
            shared_wait=settings.shared_wait,
            verify=settings.verify,
            verify_quarantine=settings.verify_quarantine,
        )
        self.engine.verification.alarm = alarms.mismatch
        self.engine.remark = lambda text: _log.warning("%s", text)
        self.board = Switchboard(self.engine, target)
        if settings.log_statements != "none":
            self.board.statement_log = StatementLog(
                hits=settings.log_statements == "all", values=settings.log_parameters
            )
        if settings.tls_certificate is not None:
            self.board.server_tls = tls.server_context(settings.tls_certificate, settings.tls_key)
            self.board.certificate = tls.certificate_der(settings.tls_certificate)
        questions = Loader(lambda: loader.CatalogReader().load, loader.catalog_fingerprint)
        self.catalogs = Catalogs(
            self.engine, login, questions, settings.max_age, self.board.databases
        )
        self.watch = ServerWatch(self.engine, self.board, login, settings.max_age)
        self.watch.other_pids = self.catalogs.pids
        self.writers = OtherWriters(
            self.engine, self.board, login, self.watch.own, settings.max_age
        )
        self.metrics = Metrics(self.engine)
        self.series = Series()
        self.house = Household(
            self.board,
            self.watch,
            self.catalogs,
            settings=lambda: self.settings,
            status=self.status,
            config=self.config_seen,
        )
        if settings.console_database is not None:
            self.board.console, self.board.console_database = (
                self._console,
                settings.console_database,
            )
        self._servers: list[asyncio.AbstractServer] = []
        self._unix_path: Path | None = None
        self._http: uvicorn.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # --- the engine's Shell ---------------------------------------------------

    def load_catalog(self, database: str) -> None:
        """See `session.engine.Shell`."""
        self.catalogs.reload(database)

    def reload_catalog(self, database: str, done: Callable[[], None]) -> None:
        """See `session.engine.Shell` (F12)."""
        self.catalogs.reload(database, done)

    def prove_ended(self, pid: int, done: Callable[[], None]) -> None:
        """See `session.engine.Shell` (F2)."""
        self.watch.prove_ended(pid, done)

    def verify_identity(self) -> None:
        """See `session.engine.Shell` (F8)."""
        self.watch.verify_identity()

    def await_reload(self, done: Callable[[], None]) -> None:
        """See `session.engine.Shell` (K3)."""
        self.watch.await_reload(done)

    def resend_cancel(self, session: Session) -> None:
        """See `session.engine.Shell`."""
        client = self.board.client_of(session)
        if client is not None:
            tasks.spawn(cancel.resend(self.board, client), f"cancel again {client.connection_id}")

    # --- the console ----------------------------------------------------------

    def _console(self, connection_id: int) -> ConsoleSession:
        settings = self.settings
        return ConsoleSession(
            self.house,
            self,
            connection_id,
            database=settings.console_database or "",
            login=settings.upstream.dbname,
            roles=settings.admin_roles,
        )

    def reload_now(self, done: Callable[[Sequence[str], str | None], None]) -> None:
        """See `admin.prepared.Keeper`; likewise below."""

        async def read() -> None:
            remarks: list[str] = []
            problem: str | None = "the configuration was not reloaded; the log says why"
            try:
                remarks = await self.reload()
                problem = self._config_problem
            finally:
                # Whatever happens, somebody waits for an answer.
                done(remarks, problem)

        tasks.spawn(read(), "reload for the console")

    def shut_down(self) -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    def note(self, text: str) -> None:
        _log.info("%s", text)

    async def _look_for_shadowed(self, name: str) -> None:
        if await self.watch.has_database(name):
            _log.warning(
                "the server has a database %r, which the administration console hides: name the "
                "console otherwise with the setting console_database",
                name,
            )

    # --- start ----------------------------------------------------------------

    async def start(self) -> None:
        """Bind, start everything, and say `ready`; the upstream need not be there yet.

        Raises:
            ConfigError: an address cannot be bound; nothing is left bound.
        """
        with contextlib.ExitStack() as undo:
            tcp, unix, web = self._bind(undo)
            self.engine.clock = asyncio.get_running_loop().time
            # Before the first client: nothing is filled until the gate opens (F11).
            self.engine.begin_start_gate()
            self._servers = await listener.serve(tcp, self.board.accept)
            self._servers += await listener.serve(unix, self.board.accept_local)
            undo.pop_all()
        if web:
            api = Api(self.house, self.series)
            app = http.application(self._metrics_text, self.status, api)
            self._http = http.make_server(app)
            self._tasks.append(tasks.spawn(self._http.serve(sockets=web), "http"))
            self._tasks.append(tasks.spawn(self._sample(), "series"))
        self.watch.start()
        self._tasks.append(tasks.spawn(self.writers.run(), "other writers"))
        if self.settings.console_database is not None:
            look = self._look_for_shadowed(self.settings.console_database)
            self._tasks.append(tasks.spawn(look, "name of the console"))
        # Most clients want the database that the upstream URL names.
        self.engine.database(self.settings.upstream.dbname)
        if self.settings.config_path is not None:
            self._tasks.append(tasks.spawn(self._follow_file(), "configuration file"))
        self._say_ready()

    def _bind(
        self, undo: contextlib.ExitStack
    ) -> tuple[list[socket.socket], list[socket.socket], list[socket.socket]]:
        settings = self.settings
        tcp: list[socket.socket] = []
        for address in settings.listen:
            bound = listener.bind("--listen", address.host, address.port)
            for sock in bound:
                undo.callback(sock.close)
            tcp += bound
        web: list[socket.socket] = []
        if settings.http is not None:
            web = listener.bind("--http", settings.http.host, settings.http.port)
            for sock in web:
                undo.callback(sock.close)
        unix: list[socket.socket] = []
        if settings.unix_socket is not None:
            port = tcp[0].getsockname()[1]
            sock, path = listener.bind_unix("--unix-socket", settings.unix_socket, port)
            undo.callback(sock.close)
            undo.callback(path.unlink, missing_ok=True)
            unix, self._unix_path = [sock], path
        self.addresses = Addresses(
            listen=_names(tcp),
            http=_names(web),
            unix=str(self._unix_path) if self._unix_path is not None else None,
        )
        return tcp, unix, web

    def _say_ready(self) -> None:
        addresses = self.addresses
        fields = {"listen": ",".join(addresses.listen)}
        if addresses.unix is not None:
            fields["unix"] = addresses.unix
        if addresses.http:
            fields["http"] = ",".join(addresses.http)
        fields["contract"] = self.settings.contract
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        logging.getLogger("howdah.ready").info("ready %s", text, extra={"fields": fields})
        if self.settings.max_age is None:
            _log.info(
                "max_age is none: writes that do not pass through this Howdah are never noticed, "
                "and its role needs pg_read_all_stats to see when older transactions have ended"
            )

    # --- what is shown --------------------------------------------------------

    def status(self) -> http.Status:
        """What /readyz and the front page say."""
        problems = [self._config_problem] if self._config_problem else []
        up = self.board.upstream_up
        if not up:
            where = self.board.target
            problems.append(
                f"PostgreSQL at {where} is not reachable"
                if up is not None
                else f"PostgreSQL at {where} was not reached yet"
            )
        if self.watch.problem:
            problems.append(f"Howdah's own connection: {self.watch.problem}")
        problems += self.catalogs.problems()
        lost = self.engine.board.ages(self.engine.clock()).get("lost_backend")
        if lost is not None:
            problems.append(
                f"a backend whose connection was lost {lost:.0f} s ago is not yet proven gone: "
                "reads of what it may have written are forwarded"
            )
        if self.board.draining:
            problems.append("shutting down")
        return http.Status(
            ready=bool(up) and not self.board.draining,
            contract=self.settings.contract,
            cache=self._cache_state(),
            problems=problems,
            warnings=self.warnings(),
        )

    def warnings(self) -> list[str]:
        """What may weaken the promise; one sentence each."""
        return self.writers.warnings()

    def config_seen(self) -> ConfigSeen:
        """The configuration file, for those who look."""
        path = self.settings.config_path
        return ConfigSeen(path, self._config_problem, self._config_loaded)

    async def _sample(self) -> None:
        """Keep the dashboard's plots up to date, whether somebody looks or not."""
        while True:
            clients, upstreams = len(self.board.clients), self.board.upstreams
            self.series.sample(self.engine, time.time(), clients, upstreams)
            await asyncio.sleep(self.series.step)

    def _cache_state(self) -> str:
        if self.watch.in_recovery:
            return "off: the upstream is in recovery"
        if self.engine.identity is None:
            return "off: the server is not identified yet"
        if self.engine.pause is not None:
            return "off: paused, until RESUME is said on the console"
        if not self.watch.gate_open:
            return "starting: waiting for transactions that were open before"
        return "on"

    def _metrics_text(self) -> bytes:
        gauges = self.metrics.gauges
        gauges.clients = len(self.board.clients)
        gauges.upstreams = self.board.upstreams
        gauges.contract = self.settings.contract
        status = self.status()
        gauges.ready = status.ready
        gauges.caching = status.cache == "on"
        gauges.problems = len(status.problems)
        gauges.warnings = len(status.warnings)
        gauges.config_loaded = self._config_loaded
        gauges.config_errors = int(self._config_problem is not None)
        return self.metrics.text()

    # --- reload ---------------------------------------------------------------

    async def reload(self) -> list[str]:
        """Read the configuration again; a bad one changes nothing and says so everywhere.

        Returns:
            Remarks on what it brought.
        """
        async with self._reading:
            # One after the other: what was read last is in force.
            return await self._reload()

    async def _reload(self) -> list[str]:
        read = self.settings.reload
        if read is None:
            return ["there is nothing to read"]
        try:
            fresh = await asyncio.to_thread(read)
        except ConfigError as error:
            self._config_problem = f"configuration not reloaded: {error.message}"
            _log.error("configuration not reloaded, the old one stays: %s", error.message)
            return []
        self._config_problem = None
        self._config_loaded = time.time()
        remarks = []
        changed = self.settings.changed(fresh)
        if changed:
            remarks.append(f"needs a restart to take effect: {', '.join(changed)}")
            _log.warning("%s", remarks[0])
        if fresh.rules != self.settings.rules:
            self.settings = replace(self.settings, rules=fresh.rules)
            self.engine.set_rules(fresh.rules)
            remarks.append("configuration reloaded: new rules")
        else:
            remarks.append("configuration reloaded: the rules are as before")
        _log.info("%s", remarks[-1])
        return remarks

    async def _follow_file(self) -> None:
        path = Path(os.path.abspath(str(self.settings.config_path)))
        # The directory: editors and ConfigMaps replace the file, which ends a watch on it.
        watch = watchfiles.awatch(
            path.parent, watch_filter=lambda _, name: Path(name) == path, recursive=False
        )
        async for _ in watch:
            await self.reload()

    # --- the end --------------------------------------------------------------

    async def drain(self) -> None:
        """Take no new clients, end sessions as they become idle, then whoever is left.

        Takes at most `drain_timeout` seconds and a little for closing.
        """
        self.board.draining = True
        for server in self._servers:
            server.close()
        if self._unix_path is not None:
            self._unix_path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        end = loop.time() + self.settings.drain_timeout
        while self.board.clients and loop.time() < end:
            # Being idle is a fact of the session; no event tells it, to spare the hot path.
            self._end_sessions(everyone=False)
            await asyncio.sleep(_DRAIN_STEP)
        if self.board.clients:
            _log.warning("draining took too long: ending %d sessions", len(self.board.clients))
            self._end_sessions(everyone=True)
            await self.board.empty(_CLOSE_PATIENCE)
        for client in list(self.board.clients):
            client.abort()
        await self.close()

    def _end_sessions(self, *, everyone: bool) -> None:
        for client in list(self.board.clients):
            session = client.session
            if not client.ending and (everyone or session is None or session.idle):
                client.end(self.board.shutting_down())

    async def close(self) -> None:
        """Stop what is left: own connections, HTTP, tasks."""
        await self.watch.close()
        await self.catalogs.close()
        if self._http is not None:
            self._http.should_exit = True
            web = [task for task in self._tasks if task.get_name() == "http"]
            await asyncio.wait(web, timeout=_CLOSE_PATIENCE)
        await tasks.cancel(*self._tasks)


def _names(sockets: list[socket.socket]) -> tuple[str, ...]:
    return tuple(listener.format_address(*sock.getsockname()[:2]) for sock in sockets)


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads. Returns the exit code.

    A second SIGTERM or SIGINT ends at once.
    """
    logs.set_up(settings.log_level, settings.log_format)
    _raise_file_limit()
    try:
        return uvloop.run(_serve(settings))
    except HowdahError as error:
        print(f"howdah: {error.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _serve(settings: Settings) -> int:
    howdah = Howdah(settings)
    await howdah.start()
    # What lives as long as the process need not be looked at by every collection.
    gc.freeze()
    loop = asyncio.get_running_loop()
    stop, now = asyncio.Event(), asyncio.Event()

    def ask_to_stop(name: str) -> None:
        if stop.is_set():
            now.set()
        else:
            _log.info("%s: draining", name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.spawn(howdah.reload(), "reload"))
    await stop.wait()
    drain = tasks.spawn(howdah.drain(), "drain")
    hurry = tasks.spawn(now.wait(), "second signal")
    await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
    await tasks.cancel(drain, hurry)
    _log.info("stopped")
    return 0


def _raise_file_limit() -> None:
    """Each client takes two descriptors: use what the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
