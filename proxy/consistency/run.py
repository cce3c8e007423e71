"""One run from beginning to end: tables, clients, time, quiet moments, the report, no tables.

What lives here: the order of things. What must not: SQL of a workload, judging.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import subprocess
import urllib.request
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace

from proxy import tasks
from proxy.consistency import chaos, power, styles
from proxy.consistency.cell import Cell, Read
from proxy.consistency.chaos import Disaster
from proxy.consistency.context import CannotRunError, Client, Context
from proxy.consistency.history import Violation
from proxy.consistency.link import PATIENCE, Lost, Reply, clock
from proxy.consistency.power import Tape
from proxy.consistency.report import Report
from proxy.consistency.styles import Value
from proxy.consistency.tables import WORKLOADS, tables
from proxy.errors import ConfigError, HowdahError
from proxy.upstream import Upstream, parse_upstream, password_from_file

_log = logging.getLogger("howdah.consistency")
WRITERS = 2
_TAPES = 60
_MUTANTS = 2000
_POWER_SECONDS = 3.0
#: A way of writing that has never worked in so many tries does not work.
_TRIES = 20
_SAMPLE = re.compile(r'^howdah_statements_total\{.*outcome="(?:hit|shared)".*\} (\S+)$', re.M)
_CONTRACT = re.compile(r'^howdah_contract_info\{contract="(\w+)"\} 1', re.M)


@dataclass(frozen=True, slots=True)
class Options:
    """What to check and how.

    Attributes:
        through, direct: URLs of the address under test and of PostgreSQL itself.
        http: host:port of Howdah's metrics, for the number of hits.
        seconds: of work, between making and removing the tables.
        clients: connections through the address under test.
        bypass: the share of writes that go directly to PostgreSQL.
        max_staleness: ms by which those may be seen late.
        chaos: kinds of faults (`chaos.KINDS`), made every `chaos_every` s.
        quiet_every: s between two comparisons of all primed reads.
        stop_at_first: end at the first violation.
        password, password_file: where a URL has none: this one, or from the text of libpq's
            password file.
    """

    through: str
    direct: str
    http: str | None = None
    seconds: float = 60.0
    clients: int = 24
    seed: int = 1
    schema: str = "howdah_consistency"
    bypass: float = 0.0
    max_staleness: float = 0.0
    workloads: tuple[str, ...] = tuple(WORKLOADS)
    chaos: tuple[str, ...] = ()
    chaos_every: float = 10.0
    quiet_every: float = 10.0
    stop_at_first: bool = False
    password: str | None = field(default=None, repr=False)
    password_file: str = field(default="", repr=False)


#: Fields of `Options` that the command line gives as they are.
FLAGS = (
    *("through", "direct", "http", "seconds", "clients", "seed", "schema", "bypass"),
    *("max_staleness", "chaos_every", "stop_at_first"),
)


def disaster_of(command: str | None) -> Disaster | None:
    """A disaster that runs this command in a shell, and fails if it does."""
    if command is None:
        return None

    def strike() -> None:
        subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL)

    return strike


def run(options: Options, disaster: Disaster | None = None) -> Report:
    """Run the check in an event loop of its own. `disaster` is called with the chaos.

    Raises:
        ConfigError: an option is wrong.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(check(options, disaster))


async def check(options: Options, disaster: Disaster | None = None) -> Report:
    """Make tables, work for the time given, remove them, and tell what came of it."""
    for flag, names, known in (
        ("--workload", options.workloads, tuple(WORKLOADS)),
        ("--chaos", options.chaos, chaos.KINDS),
    ):
        for name in names:
            if name not in known:
                raise ConfigError(f"{flag}: {name!r} is not one of {', '.join(known)}")
    context = Context(
        _url(options, options.through, "--through"),
        _url(options, options.direct, "--direct"),
        schema=_name(options.schema),
        seed=options.seed,
        bypass=options.bypass,
        slack=options.max_staleness / 1e3,
    )
    context.stop_early = options.stop_at_first
    report = Report(str(context.through), "not known", seed=options.seed, counts=context.counts)
    try:
        async with tables(context, options.workloads) as cells:
            await _Run(context, cells, options, disaster, report).work()
    except HowdahError as error:
        report.failure = report.failure or error.message
    finally:
        for client in [*context.clients, context.proof]:
            client.close()
    if not report.failure:
        report.failure = _doubts(report)
    return report


def _doubts(report: Report) -> str:
    counts = report.counts
    if counts.errors:
        return f"{sum(counts.errors.values())} statements failed that should not have"
    known = {path for path, outcome in counts.writes if outcome != "unknown"}
    never = sorted(
        path for (path, _), n in counts.writes.items() if path not in known and n >= _TRIES
    )
    if never:
        return f"no write is known to have worked by: {', '.join(never)}"
    if not report.checked:
        return "nothing was read"
    if report.power.share < 1.0 or report.power.false:
        return "the checker does not find what it puts into the history itself"
    return ""


def _url(options: Options, text: str, flag: str) -> Upstream:
    try:
        found = parse_upstream(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None
    known = found.password or options.password
    return replace(found, password=known or password_from_file(options.password_file, found))


def _name(schema: str) -> str:
    if re.fullmatch(r"[a-z_][a-z0-9_]{0,40}", schema) is None:
        raise ConfigError(f"--schema: {schema!r} is not a plain lower-case name")
    return schema


class _Run:
    """The part between making the tables and removing them."""

    def __init__(
        self,
        context: Context,
        cells: list[Cell],
        options: Options,
        disaster: Disaster | None,
        report: Report,
    ) -> None:
        self.context = context
        self.cells = cells
        self.options = options
        self.disaster = disaster
        self.report = report
        self.tapes: list[Tape] = []
        self.draw = context.random("run")
        self.compared = self._client(context.through)
        self.truth = self._client(context.direct)
        self._last_hits: float | None = None
        self._hits = 0.0

    def _client(self, where: Upstream) -> Client:
        client = Client(self.context, where)
        self.context.clients.append(client)
        return client

    async def work(self) -> None:
        """Run everything for the time given; fill in the report."""
        context, options = self.context, self.options
        started = clock()
        await self._count_hits()
        self._start_tapes()
        loops = self._loops()
        working = [tasks.spawn(self._guard(loop), "consistency") for loop in loops]
        side = [tasks.spawn(self._guard(loop), "consistency") for loop in self._beside()]
        handled = self._handle_signals()
        try:
            while not context.ended() and clock() - started < options.seconds:
                await asyncio.sleep(0.05)
        finally:
            context.end()
            for number in handled:
                asyncio.get_running_loop().remove_signal_handler(number)
            await tasks.cancel(*side)
            for cell in self.cells:
                cell.release()
            _, late = await asyncio.wait(working, timeout=PATIENCE)
            await tasks.cancel(*late)
        self.report.seconds = clock() - started
        if context.failure is None:
            await self._guard(self._compare())
            await self._count_hits()
        self._finish()

    def _finish(self) -> None:
        report = self.report
        self._harvest()
        for cell in self.cells:
            report.violations += cell.violations()
            report.more += sum(judge.more for judge in cell.judges)
            report.worst = max(report.worst, *(judge.worst for judge in cell.judges))
        report.violations.sort(key=lambda violation: violation.begin)
        report.checked = sum(self.context.counts.reads.values())
        report.hits = None if self._last_hits is None else int(self._hits)
        self._measure()
        if self.context.failure is not None:
            report.failure = self.context.failure.message

    def _measure(self) -> None:
        """The detection power: as many mutants as there is time for, none where it is shown."""
        if self.options.stop_at_first and self.report.violations:
            return
        tapes, until = power.usable(self.tapes), clock() + _POWER_SECONDS
        for _ in range(_MUTANTS // 50):
            power.measure(tapes, 50, self.draw.randrange, self.report.power)
            if clock() > until:
                break

    def _loops(self) -> list[Awaitable[None]]:
        context, loops = self.context, list[Awaitable[None]]()
        readers = max(self.options.clients - WRITERS * len(self.cells), len(self.cells))
        for number, cell in enumerate(self.cells):
            for which in range(WRITERS):
                draw = context.random(f"{cell.name} writer {which}")
                client, past = self._client(context.through), self._client(context.direct)
                loops.append(cell.write_loop(client, past, draw, which))
            own = readers // len(self.cells) + (number < readers % len(self.cells))
            for which in range(own):
                draw = context.random(f"{cell.name} reader {which}")
                loops.append(cell.read_loop(self._client(context.through), draw))
            draw = context.random(f"{cell.name} direct")
            loops.append(cell.read_loop(self._client(context.direct), draw, direct=True))
        return loops

    def _beside(self) -> list[Awaitable[None]]:
        options = self.options
        loops: list[Awaitable[None]] = [self._watch(), self._quiet_moments()]
        if options.chaos or self.disaster:
            loops.append(
                chaos.rage(self.context, options.chaos, options.chaos_every, self.disaster)
            )
        return loops

    def _handle_signals(self) -> list[signal.Signals]:
        def stop() -> None:
            self.context.end()

        numbers = [signal.SIGINT, signal.SIGTERM]
        try:
            for number in numbers:
                asyncio.get_running_loop().add_signal_handler(number, stop)
        except (ValueError, RuntimeError):  # not in the main thread
            return []
        return numbers

    async def _guard(self, loop: Awaitable[None]) -> None:
        """A loop that fails ends the run, and says why."""
        try:
            await loop
        except HowdahError as error:
            self.context.failure = self.context.failure or error
            self.context.end()
        except Exception as error:
            _log.exception("the checker itself failed")
            failure = CannotRunError(f"the checker itself failed: {error!r}")
            self.context.failure = self.context.failure or failure
            self.context.end()

    async def _watch(self) -> None:
        """Answers that do not come; hits."""
        while True:
            await asyncio.sleep(1.0)
            for client in self.context.clients:
                link = client.current
                if link is not None and link.since and clock() - link.since > PATIENCE:
                    self.context.counts.errors[f"no answer within {PATIENCE:.0f} s"] += 1
                    link.reset()
            await self._count_hits()

    async def _count_hits(self) -> None:
        if self.options.http is None:
            return
        try:
            text = await asyncio.to_thread(_get, f"http://{self.options.http}/metrics")
        except (OSError, ValueError) as error:
            if self._last_hits is None:
                raise CannotRunError(f"--http {self.options.http}: {error}") from None
            return
        hits = sum(float(value) for value in _SAMPLE.findall(text))
        contract = _CONTRACT.search(text)
        if contract is not None:
            self.report.contract = contract[1]
        if self._last_hits is not None:
            # A smaller number comes from another process, which has counted from 0.
            self._hits += hits - self._last_hits if hits >= self._last_hits else hits
        self._last_hits = hits

    # quiet moments

    async def _quiet_moments(self) -> None:
        while True:
            await asyncio.sleep(self.options.quiet_every)
            async with self.context.gate.closed():
                await self._compare()
                self._harvest()
                self._start_tapes()

    async def _compare(self) -> None:
        """Nobody writes: every primed read is what PostgreSQL itself answers."""
        if self.context.bypass:
            await asyncio.sleep(self.context.slack)
        for cell in self.cells:
            await cell.quiet()
            for (style, sql, values), read in list(cell.primed.items()):
                await self._compare_one(cell, style, sql, values, read)
            cell.forget()
        self.context.counts.quiet += 1

    async def _compare_one(
        self, cell: Cell, style: str, sql: str, values: tuple[Value, ...], read: Read
    ) -> None:
        try:
            link = await self.compared.link()
            got = await styles.read(link, style, sql, values)
            true = await styles.read(await self.truth.link(), style, sql, values)
        except Lost:
            return
        for reply in (got, true):
            if reply.errors:
                self.context.counts.errors[f"{read.describe(style)}: {reply.state}"] += 1
                return
        self.context.counts.compared += 1
        if _multiset(got) != _multiset(true):
            judge = cell.judges[0]
            message = f"at rest it gives {_show(got)}, PostgreSQL {_show(true)}"
            judge.found.append(
                Violation(
                    *("quiescence", f"{cell.name}: {read.name}", message, got.begin, got.end),
                    read=read.describe(style),
                )
            )
            if self.context.stop_early:
                self.context.end()

    # tapes

    def _start_tapes(self) -> None:
        for cell in self.cells:
            for judge in self.draw.sample(cell.judges[-60:], min(16, len(cell.judges))):
                cell.tapes[id(judge)] = Tape(judge)

    def _harvest(self) -> None:
        for cell in self.cells:
            found = [tape for tape in cell.tapes.values() if len(tape.events) > 10]
            cell.tapes.clear()
            self.tapes += found
        if len(self.tapes) > _TAPES:
            self.tapes = self.draw.sample(self.tapes, _TAPES)


def _multiset(reply: Reply) -> list[list[bytes]]:
    return sorted([value if value is not None else b"\xff" for value in row] for row in reply.rows)


def _show(reply: Reply) -> str:
    return json.dumps([[(v or b"NULL").decode(errors="replace") for v in r] for r in reply.rows])


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: bytes = answer.read()
    return text.decode()
