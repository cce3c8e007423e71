"""PostgreSQL dies at once and comes back, as a disaster of the checker."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.fix_pg import PostgresServer


def restart(server: PostgresServer) -> Callable[[], None]:
    """An immediate shutdown in the middle of everything, and a start with crash recovery."""

    def strike() -> None:
        server.stop(signal.SIGQUIT)
        server.start()

    return strike
