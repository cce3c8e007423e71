"""One client: its startup, then bytes between it, its session and its upstream.

What lives here: the phases of a client connection and the draining of the session's
outputs, one write a direction and turn. What must not: what the bytes after startup
mean; `session.core` decides that and this class obeys (R1).

Follows "Start-up", "SSL Session Encryption" and "Canceling Requests in Progress" of
the protocol chapter. Plain text that follows an SSLRequest before the TLS handshake
is refused (CVE-2021-23214).
"""

from __future__ import annotations

import asyncio
import enum
from time import monotonic
from typing import TYPE_CHECKING, cast

from proxy import tasks
from proxy.admin.console import ConsoleSession
from proxy.errors import HowdahError, ProtocolError, StartupError, UpstreamError
from proxy.net import cancel, logs, tls, upstream
from proxy.net.flow import Hold, Outlet, Valve
from proxy.net.scram_guard import ScramGuard
from proxy.session.core import Session
from proxy.wire import messages, startup

if TYPE_CHECKING:
    from proxy.net.switchboard import Switchboard


# Directions of lines of the log.
_FROM_CLIENT = {"direction": logs.CLIENT_IN}
_FROM_SERVER = {"direction": logs.UPSTREAM_IN}
_TO_SERVER = {"direction": logs.UPSTREAM_OUT}


class Phase(enum.Enum):
    """Where a client connection is in its life."""

    STARTUP = enum.auto()  # untyped packets are collected
    ENCRYPTING = enum.auto()  # the TLS handshake runs
    CONNECTING = enum.auto()  # the upstream is being reached
    CANCELLING = enum.auto()  # it was a cancel request, being relayed
    LIVE = enum.auto()  # a session has it
    CLOSED = enum.auto()


class Client(asyncio.Protocol):
    """A client connection, its session and its upstream."""

    transport: asyncio.Transport
    valve: Valve
    outlet: Outlet

    def __init__(self, board: Switchboard, *, local: bool) -> None:
        # For the life of the connection.
        self.connection_id = board.next_id()
        self.log = logs.connection_log(self.connection_id)
        self.address = ""
        self.connected_at = monotonic()
        self._board = board
        self._traffic = board.traffic
        self._statistics = board.engine.statistics
        self._local = local  # came through a Unix socket
        self._secure = False
        # Until the session lives.
        self.phase = Phase.STARTUP
        self._buffer = bytearray()
        self._refused_gss = False
        self._refused_tls = False
        self._timer: asyncio.TimerHandle | None = None
        # The session; `_straight` is the same once its bytes need no guard any more.
        self.session: Session | ConsoleSession | None = None
        self._straight: Session | ConsoleSession | None = None
        self._guard: ScramGuard | None = None
        self._waiting: asyncio.TimerHandle | None = None  # runs while a request is held
        self._turn_due = False  # of a console; its client is not read meanwhile
        self.upstream: upstream.Upstream | None = None
        # How it ends.
        self._here = False  # the client's transport can still be written to
        self._told_lost = False

    # --- asyncio's side -------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.valve = Valve(self.transport)
        self.outlet = Outlet(self.transport)
        self._here = True
        self.address = _peer(transport)
        upstream.set_options(transport)
        self._board.clients.add(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._board.login_timeout, self._too_late)
        self.log.debug("client connected from %s", self.address, extra=_FROM_CLIENT)
        if self._board.draining:
            self.refuse(self._board.shutting_down())

    def data_received(self, data: bytes) -> None:
        session = self._straight
        if session is None:
            self._early_data(data)
            return
        self._traffic["client_in"] += len(data)
        began = monotonic()
        try:
            session.from_client(data, began)
        except Exception as error:
            self.failed(error)
            return
        out = session.to_client
        if len(out) == 1 and not session.to_server and not self.outlet.full and self._here:
            # Most often: one reply from memory, in one piece.
            self.transport.write(out[0])
            self._traffic["client_out"] += len(out[0])
            out.clear()
            if session.close_client:
                self._obey(session)
        else:
            if out and self.outlet.full:
                # It asks for more answers from memory than it reads: memory stays bounded.
                self.valve.hold(Hold.SELF_SLOW)
            self.flush()
            if session.held is not None:
                self._start_waiting()
        if self._statistics.fresh_hits >= self._statistics.time_at:
            self._statistics.time_hits(monotonic() - began, session.served)

    def eof_received(self) -> bool:
        """A half-closed client still gets the replies it waits for."""
        if self.phase is Phase.LIVE and not self._secure:
            self.end_waiting()
            self._lost()
            return self._here
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._here = False
        self.outlet.drop()
        self._stop_timer()
        if exc is not None:
            self.log.debug("client connection lost: %s", exc, extra=_FROM_CLIENT)
        if self.phase is Phase.LIVE:
            if self.upstream is not None:
                self.upstream.valve.release(Hold.PEER_SLOW)
            self._lost()
            self.flush()
        self._forget_if_over()

    def pause_writing(self) -> None:
        self.outlet.full = True
        if self.upstream is not None:
            self.upstream.valve.hold(Hold.PEER_SLOW)

    def resume_writing(self) -> None:
        self.outlet.full = False
        if not self.outlet.pour():
            return
        self.valve.release(Hold.SELF_SLOW)
        if self._turn_due:
            asyncio.get_running_loop().call_soon(self._turn)
        if self.upstream is not None:
            self.upstream.valve.release(Hold.PEER_SLOW)

    # --- the way in -----------------------------------------------------------

    def _early_data(self, data: bytes) -> None:
        self._traffic["client_in"] += len(data)
        if self._guard is not None and self.session is not None:
            try:
                data = self._guard.from_client(data)
            except HowdahError as error:
                self.log.warning("%s", error.message, extra=_FROM_CLIENT)
                self.end(error)
                return
            if data:
                self._feed(data)
            return
        if self.phase in (Phase.CLOSED, Phase.CANCELLING):
            return
        self._buffer += data
        if self.phase is Phase.STARTUP:
            try:
                self._read_startup()
            except ProtocolError as error:
                self.log.warning("bad startup: %s", error.message, extra=_FROM_CLIENT)
                self.refuse(error)

    def _read_startup(self) -> None:
        while self.phase is Phase.STARTUP:
            if self._buffer and self._buffer[0] == startup.TLS_HANDSHAKE:
                # An error message would not be understood: the peer expects TLS.
                self.log.warning(
                    "direct TLS is not supported: use sslnegotiation=postgres", extra=_FROM_CLIENT
                )
                self._close()
                return
            length = startup.packet_length(self._buffer)
            if length is None or len(self._buffer) < length:
                return
            packet = bytes(self._buffer[:length])
            del self._buffer[:length]
            self._startup_packet(startup.decode_startup(packet))

    def _startup_packet(
        self,
        packet: startup.StartupPacket
        | startup.SSLRequest
        | startup.GSSENCRequest
        | startup.CancelRequest,
    ) -> None:
        match packet:
            case startup.SSLRequest():
                self._ssl_request()
            case startup.GSSENCRequest():
                if self._refused_gss or self._secure:
                    raise ProtocolError("unexpected GSSENCRequest")
                self._refused_gss = True
                self.transport.write(b"N")
            case startup.CancelRequest():
                self._stop_timer()
                self.phase = Phase.CANCELLING
                tasks.spawn(self._relay_cancel(packet), f"cancel {self.connection_id}")
            case startup.StartupPacket():
                self._stop_timer()
                self.phase = Phase.CONNECTING
                self.valve.hold(Hold.CONNECTING)
                tasks.spawn(self._open(packet), f"open {self.connection_id}")

    def _ssl_request(self) -> None:
        if self._secure or self._refused_tls:
            raise ProtocolError("unexpected SSLRequest")
        context = self._board.server_tls
        if context is None or self._local:
            self._refused_tls = True
            self.transport.write(b"N")
            return
        if self._buffer:
            raise ProtocolError("received unencrypted data after SSL request")
        self.phase = Phase.ENCRYPTING
        self.valve.hold(Hold.CONNECTING)
        self.transport.write(b"S")
        tasks.spawn(self._encrypt(), f"tls {self.connection_id}")

    async def _encrypt(self) -> None:
        context = self._board.server_tls
        assert context is not None
        loop = asyncio.get_running_loop()
        try:
            transport = await loop.start_tls(self.transport, self, context, server_side=True)
        except OSError as error:
            self.log.warning("%s", tls.handshake_problem(error), extra=_FROM_CLIENT)
            self.transport.abort()
            self._here = False
            self._stop_timer()
            self._forget_if_over()
            return
        if transport is None or not self._here:
            return
        self.transport = self.outlet.transport = transport
        self.valve.moved(transport)
        self.valve.release(Hold.CONNECTING)
        self._secure = True
        if self.phase is Phase.ENCRYPTING:
            self.phase = Phase.STARTUP
            # The first packet may have come with the end of the handshake.
            self._early_data(b"")

    async def _relay_cancel(self, request: startup.CancelRequest) -> None:
        await cancel.relay(self._board, request)
        self._close()

    # --- reaching PostgreSQL --------------------------------------------------

    async def _open(self, packet: startup.StartupPacket) -> None:
        board = self._board
        console = packet.logical and packet.database == board.console_database
        if console and packet.replication:
            self.refuse(StartupError("the administration console has nothing to replicate"))
            return
        try:
            link = await upstream.connect(self._board.target, self._traffic)
        except UpstreamError as error:
            self._board.reached(False)
            self.log.warning("%s", error.message, extra=_TO_SERVER)
            self.refuse(error)
            return
        self._board.reached(True)
        if not self._here or self._board.draining:
            link.transport.abort()
            self.refuse(self._board.shutting_down())
            return
        self.upstream = link
        board.upstreams += 1
        self.log.debug("user %r, database %r", packet.user, packet.database, extra=_FROM_CLIENT)
        opening = packet.raw
        if console and board.console is not None:
            desk = self.session = board.console(self.connection_id)
            desk.soon = self._another_turn
            opening = desk.start(packet, monotonic())
        else:
            self._start_session(packet)
        link.transport.write(opening)
        self._traffic["upstream_out"] += len(opening)
        self._go_live(link)

    def _start_session(self, packet: startup.StartupPacket) -> None:
        session = self.session = Session(self._board.engine, self.connection_id)
        session.summon = self._summoned
        session.soon = self._soon
        if self._board.statement_log is not None:
            self._board.statement_log.listen(session, self.log)
        session.start(packet, monotonic())

    def _go_live(self, link: upstream.Upstream) -> None:
        self.phase = Phase.LIVE
        if link.secure and not self._board.same_certificate(link.transport):
            self._guard = ScramGuard(client_tls=self._secure)
        if self._guard is None:
            self._go_straight()
        link.attach(self)
        self.flush()
        if self._buffer:
            held, self._buffer = bytes(self._buffer), bytearray()
            self._traffic["client_in"] -= len(held)  # counted when it came
            self.data_received(held)
        self.valve.release(Hold.CONNECTING)

    def _go_straight(self) -> None:
        self._guard = None
        self._straight = self.session
        assert self.upstream is not None
        self.upstream.straight(self.session, self.flush)

    def from_upstream(self, data: bytes) -> None:
        """Bytes of the authentication that a guard looks at."""
        session = self.session
        if session is None:
            return
        if self._guard is not None:
            data = self._guard.from_server(data)
        try:
            if data:
                session.from_server(data, monotonic())
        except Exception as error:
            self.failed(error)
            return
        if self._guard is not None and self._guard.done:
            self._go_straight()
        self.flush()

    def _feed(self, data: bytes) -> None:
        assert self.session is not None
        try:
            self.session.from_client(data, monotonic())
        except Exception as error:
            self.failed(error)
            return
        self.flush()

    # --- waiting for another session's fill ------------------------------------

    def _start_waiting(self) -> None:
        """The session holds a request: it looks again when it is summoned, or in vain then."""
        self._stop_waiting()
        loop = asyncio.get_running_loop()
        seconds = self._board.engine.shared_wait
        self._waiting = loop.call_later(seconds, self.end_waiting, True)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _summoned(self) -> None:
        asyncio.get_running_loop().call_soon(self.end_waiting)

    def _soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._check)

    def _check(self) -> None:
        """Have the session ask PostgreSQL about hits that are to be verified."""
        session = self._straight
        if not isinstance(session, Session):
            return
        try:
            session.check(monotonic())
        except Exception as error:
            self.failed(error)
            return
        self.flush()

    def end_waiting(self, late: bool = False) -> None:
        """Have the request that is held, if there is one, answered or forwarded now.

        Args:
            late: it has waited as long as it may.
        """
        session = self.session
        if not isinstance(session, Session) or session.held is None:
            return
        self._stop_waiting()
        try:
            session.wake(monotonic(), late=late)
        except Exception as error:
            self.failed(error)
            return
        self.flush()

    def cancel_waiting(self) -> bool:
        """The client cancels its request: True where that was still held here."""
        session = self.session
        if isinstance(session, ConsoleSession):
            # What it does is done at once, or cannot be taken back.
            return True
        if session is None or session.held is None:
            return False
        self._stop_waiting()
        try:
            session.cancel_held(monotonic())
        except Exception as error:
            self.failed(error)
            return True
        self.flush()
        return True

    # --- turns of the console --------------------------------------------------

    def _another_turn(self) -> None:
        """The console has more to do: its client is read again once that is done."""
        if not self._turn_due:
            self._turn_due = True
            self.valve.hold(Hold.BUSY)
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Have the console go on, unless its client does not take what it has put out."""
        session = self.session
        if not isinstance(session, ConsoleSession) or not self._turn_due or self.outlet.full:
            return
        self._turn_due = False
        try:
            session.go_on(monotonic())
        except Exception as error:
            self.failed(error)
            return
        self.flush()
        if not self._turn_due:
            self.valve.release(Hold.BUSY)

    # --- the way out ----------------------------------------------------------

    def flush(self) -> None:
        """Write what the session has put out, then close what it wants closed."""
        session = self.session
        assert session is not None
        out = session.to_server
        if out:
            if self.upstream is not None:
                data = out[0] if len(out) == 1 else b"".join(out)
                self._traffic["upstream_out"] += len(data)
                self.upstream.transport.write(data)
            out.clear()
        out = session.to_client
        if out:
            if self._here:
                self._traffic["client_out"] += self.outlet.put(out)
            out.clear()
        if session.close_client or session.close_server:
            self._obey(session)

    def _obey(self, session: Session | ConsoleSession) -> None:
        if session.close_server and self.upstream is not None:
            self.upstream.transport.close()
        if session.close_client or (self.upstream is None and isinstance(session, Session)):
            self._close()

    def _lost(self) -> None:
        """Tell the session once that its client sends nothing any more."""
        session = self.session
        if session is None or self._told_lost:
            return
        self._told_lost = True
        try:
            session.client_lost(monotonic())
        except Exception as error:
            self.failed(error)
            return
        self.flush()
        if not session.waiting and self.upstream is not None:
            self.upstream.transport.close()

    def upstream_lost(self) -> None:
        """The upstream is gone; the client follows once it has what was sent before."""
        if self.upstream is None:
            return
        self.upstream = None
        self._board.upstreams -= 1
        session = self.session
        if session is not None:
            self.log.debug("upstream connection closed", extra=_FROM_SERVER)
            try:
                session.server_lost(monotonic())
            except Exception as error:
                self.failed(error)
                return
            self.flush()
        if session is None or session.close_client or isinstance(session, Session):
            # A console goes on without it.
            self._close()
        self._forget_if_over()

    def upstream_slow(self, slow: bool) -> None:
        """PostgreSQL does not take what the client sends, or does so again."""
        if slow:
            self.valve.hold(Hold.PEER_SLOW)
        else:
            self.valve.release(Hold.PEER_SLOW)

    # --- ends -----------------------------------------------------------------

    def refuse(self, error: HowdahError) -> None:
        """Tell a client without a session why it is turned away."""
        if self._here:
            message = messages.error_response(error.sqlstate, error.message, hint=error.hint)
            self.outlet.put([message])
        self._close()

    @property
    def ending(self) -> bool:
        """Its end is decided: both sides are being closed."""
        session = self.session
        return self.phase is Phase.CLOSED or (session is not None and session.close_client)

    def end(self, error: HowdahError) -> None:
        """End the session with a FATAL error to its client."""
        session = self.session
        if session is None:
            self.refuse(error)
            return
        if self.upstream is not None:
            # It may be held for a client that will never read on.
            self.upstream.valve.release(Hold.PEER_SLOW)
        session.terminate(error, monotonic())
        self.flush()

    def abort(self) -> None:
        """Drop both connections at once."""
        if self.upstream is not None:
            self.upstream.transport.abort()
        if self._here:
            self.transport.abort()

    def failed(self, error: Exception) -> None:
        """The session raised: the peer's mistake ends the session, ours is logged too (F8)."""
        if isinstance(error, HowdahError):
            self.log.warning("%s", error.message)
            reason: HowdahError = error
        else:
            self.log.error("defect in the session: %r", error, exc_info=error)
            reason = HowdahError("internal error of the proxy; its log says more")
            if not isinstance(self.session, ConsoleSession):
                # A console shows answers; it makes none.
                self._board.defect()
        session, self._straight = self.session, None
        if session is not None:
            try:
                session.server_lost(monotonic())
                session.to_client.clear()
            except Exception as second:
                self.log.error("defect while ending the session: %r", second)
        if self.upstream is not None:
            self.upstream.session = None
            self.upstream.transport.abort()
        self.phase = Phase.CLOSED
        self.refuse(reason)

    def _too_late(self) -> None:
        self.log.warning(
            "no startup message within %g s", self._board.login_timeout, extra=_FROM_CLIENT
        )
        if self.phase is Phase.ENCRYPTING:
            self.transport.abort()
        else:
            self.refuse(StartupError("canceling authentication due to timeout", sqlstate="57014"))

    def _close(self) -> None:
        self._stop_timer()
        if self.phase is not Phase.LIVE:
            self.phase = Phase.CLOSED
        if self._here:
            self.outlet.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget_if_over(self) -> None:
        if not self._here and self.upstream is None:
            self._stop_waiting()
            self.phase = Phase.CLOSED
            if self in self._board.clients:
                self._board.gone(self)
                self.log.debug("closed")


def _peer(transport: asyncio.BaseTransport) -> str:
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return "a Unix socket"
