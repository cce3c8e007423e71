"""The house that views look into: the parts of a running Howdah, seen as `admin.house` says.

What lives here: connections, clocks and the configuration as records. What must not: anything
that is shown, or that changes something.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from proxy.admin.house import ClientSeen, ConfigSeen, OwnSeen, Status
from proxy.session.core import Session

if TYPE_CHECKING:
    from proxy.net.catalogs import Catalogs
    from proxy.net.switchboard import Switchboard
    from proxy.net.watch import ServerWatch
    from proxy.session.engine import Engine
    from proxy.settings import Settings


class Household:
    """A running Howdah, for those who look.

    Args:
        settings, status, config: give what is so at the moment of the call.
    """

    def __init__(
        self,
        board: Switchboard,
        watch: ServerWatch,
        catalogs: Catalogs,
        *,
        settings: Callable[[], Settings],
        status: Callable[[], Status],
        config: Callable[[], ConfigSeen],
    ) -> None:
        self.started = time.monotonic()
        self.status = status
        self.config = config
        self._board = board
        self._watch = watch
        self._catalogs = catalogs
        self._settings = settings

    @property
    def engine(self) -> Engine:
        """See `admin.house.House`; likewise below."""
        return self._board.engine

    @property
    def settings(self) -> Settings:
        return self._settings()

    def now(self) -> float:
        return self.engine.clock()

    def wall(self) -> float:
        return time.time()

    def clients(self) -> Iterator[ClientSeen]:
        for client in sorted(self._board.clients, key=lambda client: client.connection_id):
            session = client.session
            known = session if isinstance(session, Session) else None
            console = session is not None and known is None
            yield ClientSeen(
                client.connection_id,
                client.address,
                client.connected_at,
                "console" if console else client.phase.name.lower(),
                client.upstream is not None,
                known,
                "" if session is None else session.user,
            )

    def own_connections(self) -> Iterator[OwnSeen]:
        watch = self._watch.own
        owns = [(watch, "server"), *((own, "catalog") for own in self._catalogs.connections())]
        for own, purpose in owns:
            if own.pid is not None:
                yield OwnSeen(own.database, own.role, own.pid, purpose)

    def warnings(self) -> list[str]:
        return self.status().warnings
