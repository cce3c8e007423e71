"""What the views see of a running Howdah: its engine, and what only the shell knows.

What lives here: the protocol that `proxy.house` fulfils, and the records that it hands out.
What must not: how any of it is shown. Tests of views hand in a house of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxy.session.engine import Engine
    from proxy.session.state import SessionState
    from proxy.settings import Settings

Value = str | bool | int | float | None
Row = tuple[Value, ...]


class Cells(Protocol):
    """A row whose values may be made as they are asked for. A tuple is one, too."""

    def __getitem__(self, at: int, /) -> Value: ...


@dataclass(frozen=True, slots=True)
class Status:
    """What /readyz says.

    Attributes:
        ready: clients are served: the upstream was reached the last time.
        contract: the freshness contract that holds.
        cache: `on`, or why nothing is answered from memory yet.
        problems: one sentence each, empty when all is well.
        warnings: what may weaken the promise, such as other writers; one sentence each.
    """

    ready: bool
    contract: str
    cache: str
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ClientSeen:
    """One client connection.

    Attributes:
        id: the number that log lines carry.
        address: `host:port`, or `a Unix socket`.
        connected: loop time in s.
        phase: startup, encrypting, connecting, cancelling, live, console or closed.
        upstream: it has a connection to PostgreSQL of its own.
        session: what is known of it; None before it has one, and on the console.
        role: who it is, where there is no session to say it.
    """

    id: int
    address: str
    connected: float
    phase: str
    upstream: bool
    session: SessionState | None
    role: str = ""


@dataclass(frozen=True, slots=True)
class OwnSeen:
    """One connection of Howdah's own role: to `database`, for `purpose`."""

    database: str
    role: str
    backend_pid: int | None
    purpose: str


@dataclass(frozen=True, slots=True)
class ConfigSeen:
    """The configuration file: `loaded` is Unix time in s of the last successful load."""

    path: str | None
    problem: str | None
    loaded: float


class House(Protocol):
    """A running Howdah. Times without a word are loop times in s, as `engine.clock` gives."""

    @property
    def engine(self) -> Engine: ...

    @property
    def settings(self) -> Settings:
        """Those in force."""

    @property
    def started(self) -> float:
        """When it was started."""

    def now(self) -> float:
        """Loop time in s."""

    def wall(self) -> float:
        """Unix time in s."""

    def clients(self) -> Iterable[ClientSeen]:
        """Every client connection, in the order of their numbers."""

    def own_connections(self) -> Iterable[OwnSeen]:
        """Connections of Howdah's own role that are open now."""

    def status(self) -> Status:
        """What /readyz says."""

    def warnings(self) -> Sequence[str]:
        """What may weaken the promise, such as other writers; one sentence each."""

    def config(self) -> ConfigSeen:
        """The configuration file."""
