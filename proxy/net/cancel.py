"""Cancel requests: relayed verbatim, on a connection of their own, to the right server.

Follows "Canceling Requests in Progress" of the protocol chapter: nothing is ever
answered; the server closes the connection when it has dealt with the request, and
libpq waits for that, so the client's connection is closed after the server's.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import TYPE_CHECKING

from proxy.errors import UpstreamError
from proxy.net import logs, upstream
from proxy.wire.startup import CANCEL_CODE, CancelRequest

if TYPE_CHECKING:
    from proxy.net.client import Client
    from proxy.net.switchboard import Switchboard

# Seconds to wait for the server to close a cancel connection.
_PATIENCE = 10.0

_log = logging.getLogger("howdah.cancel")


async def relay(board: Switchboard, request: CancelRequest) -> None:
    """Pass a client's cancel request on; returns when the server has taken it.

    A key that belongs to no session here is passed to the configured upstream, which
    ignores what it does not know either.
    """
    client = board.find(request.payload)
    if client is not None and client.session is not None:
        if client.cancel_waiting():
            # What it was meant for has not been PostgreSQL's.
            return
        client.session.cancelled = True
    await _send(board, request.raw, client)


async def resend(board: Switchboard, client: Client) -> None:
    """Send the cancel request of `client`'s session once more."""
    session = client.session
    if session is not None and session.cancel_key is not None:
        key = session.cancel_key
        packet = struct.pack("!ii", 8 + len(key), CANCEL_CODE) + key
        await _send(board, packet, client)


def _address(client: Client | None) -> tuple[str, int] | None:
    """What the session is connected to: a name may lead to another server by now."""
    if client is None or client.upstream is None:
        return None
    return client.upstream.address


async def _send(board: Switchboard, packet: bytes, client: Client | None) -> None:
    log: logging.Logger | logs.ConnectionLog = _log if client is None else client.log
    where = {"direction": logs.UPSTREAM_OUT}
    try:
        link = await upstream.connect(board.target, board.traffic, address=_address(client))
    except UpstreamError as error:
        log.warning("cancel request not relayed: %s", error.message, extra=where)
        return
    link.transport.write(packet)
    try:
        async with asyncio.timeout(_PATIENCE):
            await link.ended
    except TimeoutError:
        text = "the server did not close a cancel connection within %g s"
        log.warning(text, _PATIENCE, extra=where)
    finally:
        link.transport.abort()
