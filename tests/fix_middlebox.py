"""A TCP middlebox that speaks the framing of PostgreSQL and does as it is told.

It sits between Howdah and PostgreSQL, or between a client and Howdah. A rule waits for
the nth message of one type in one direction on connections that match, and then holds
it until released, drops it, resets both sides, or closes them. Every rule has an
event, so that tests await what happens and never sleep.

What must not live here: TLS (messages could not be seen), and anything from `proxy`.
"""

from __future__ import annotations

import functools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.fix_tools import PATIENCE

TO_SERVER = "server"
TO_CLIENT = "client"
_REQUESTS = {80877103, 80877104}  # SSLRequest, GSSENCRequest
_CANCEL = 80877102


@dataclass
class Rule:
    """What to do with the nth message that matches.

    Attributes:
        direction: TO_SERVER or TO_CLIENT.
        kind: the type letter; "" matches any, "startup" the first packet.
        action: hold | drop | reset | close.
        where: a further test of the payload.
        match: which connections, by their startup parameters.
        reached: set once the message has arrived.
    """

    direction: str
    kind: str
    action: str
    nth: int = 1
    where: Callable[[bytes], bool] | None = None
    match: dict[str, str] = field(default_factory=dict)
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    seen: int = 0

    def wait(self, timeout: float = PATIENCE) -> None:
        """Wait until the message has arrived.

        Raises:
            AssertionError: it did not.
        """
        assert self.reached.wait(timeout), f"{self.kind} to {self.direction} never came"

    def release(self) -> None:
        """Let a held message go."""
        self.released.set()

    def applies(self, link: Link, direction: str, kind: str, payload: bytes) -> bool:
        if self.reached.is_set() or self.direction != direction:
            return False
        if self.kind and self.kind != kind:
            return False
        if any(link.parameters.get(name) != value for name, value in self.match.items()):
            return False
        if self.where is not None and not self.where(payload):
            return False
        self.seen += 1
        return self.seen == self.nth


class Link:
    """One connection through the box."""

    def __init__(self, box: Middlebox, client: socket.socket, server: socket.socket) -> None:
        self.box = box
        self.sockets = {TO_CLIENT: client, TO_SERVER: server}
        self.parameters: dict[str, str] = {}
        self.split = False
        self.frames: list[tuple[str, str, bytes]] = []
        self.single_byte_answers = 0
        self.deaf = False  # the end of one side is not told to the other
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        for direction in (TO_SERVER, TO_CLIENT):
            threading.Thread(target=self._pump, args=(direction,), daemon=True).start()

    def _pump(self, direction: str) -> None:
        source = self.sockets[TO_CLIENT if direction == TO_SERVER else TO_SERVER]
        target = self.sockets[direction]
        try:
            if direction == TO_SERVER:
                self._startup(source, target)
            while True:
                head = _take(source, 1)
                if direction == TO_CLIENT and self.single_byte_answers:
                    # The answer to SSLRequest or GSSENCRequest has no frame.
                    self.single_byte_answers -= 1
                    target.sendall(head)
                    continue
                head += _take(source, 4)
                (length,) = struct.unpack_from("!I", head, 1)
                payload = _take(source, length - 4)
                self._forward(direction, chr(head[0]), head, payload, target)
        except EOFError:
            if self.deaf:
                return
            _quietly(lambda: target.shutdown(socket.SHUT_WR))
        except OSError:
            self.close()

    def _startup(self, source: socket.socket, target: socket.socket) -> None:
        while True:
            head = _take(source, 4)
            (length,) = struct.unpack("!I", head)
            payload = _take(source, length - 4)
            (code,) = struct.unpack_from("!I", payload)
            if code in _REQUESTS:
                self.single_byte_answers += 1
                target.sendall(head + payload)
                continue
            kind = "cancel" if code == _CANCEL else "startup"
            if kind == "startup":
                parts = payload[4:].split(b"\0")
                names = parts[0:-2:2]
                self.parameters = {
                    n.decode(): v.decode() for n, v in zip(names, parts[1::2], strict=False)
                }
            self._forward(TO_SERVER, kind, head, payload, target)
            return

    def _forward(
        self, direction: str, kind: str, head: bytes, payload: bytes, target: socket.socket
    ) -> None:
        self.frames.append((direction, kind, payload))
        for rule in self.box.rules_for(self, direction, kind, payload):
            rule.reached.set()
            if rule.action == "hold":
                rule.released.wait()
            elif rule.action == "drop":
                return
            elif rule.action == "reset":
                self.reset()
                raise OSError("reset by rule")
            elif rule.action == "close":
                self.close()
                raise OSError("closed by rule")
        data = head + payload
        if self.split or self.box.split:
            for at in range(len(data)):
                target.sendall(data[at : at + 1])
        else:
            target.sendall(data)

    def close(self) -> None:
        """FIN to both sides."""
        for one in self.sockets.values():
            _quietly(functools.partial(one.shutdown, socket.SHUT_RDWR))
            _quietly(one.close)

    def reset(self) -> None:
        """RST to both sides."""
        linger = struct.pack("ii", 1, 0)
        for one in self.sockets.values():
            _quietly(functools.partial(one.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, linger))
        for one in self.sockets.values():
            # Shutting the write side would send a FIN first; the read side wakes the pump.
            _quietly(functools.partial(one.shutdown, socket.SHUT_RD))
            _quietly(one.close)


class Middlebox:
    """Listens on a free port and links every connection to `target`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address: tuple[str, int] = self.listener.getsockname()[:2]
        self.links: list[Link] = []
        self.split = False
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self.refuse = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return self.address[1]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            try:
                server = socket.create_connection(self.target, PATIENCE)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            link = Link(self, client, server)
            with self._lock:
                self.links.append(link)
            link.run()

    def rules_for(self, link: Link, direction: str, kind: str, payload: bytes) -> list[Rule]:
        with self._lock:
            return [r for r in self._rules if r.applies(link, direction, kind, payload)]

    def rule(
        self,
        action: str,
        direction: str,
        kind: str,
        nth: int = 1,
        where: Callable[[bytes], bool] | None = None,
        **match: str,
    ) -> Rule:
        """Add a rule; keyword arguments match startup parameters."""
        rule = Rule(direction, kind, action, nth, where, match)
        with self._lock:
            self._rules.append(rule)
        return rule

    def hold(self, direction: str, kind: str, **more: object) -> Rule:
        return self.rule("hold", direction, kind, **more)  # type: ignore[arg-type]

    def drop(self, direction: str, kind: str, **more: object) -> Rule:
        return self.rule("drop", direction, kind, **more)  # type: ignore[arg-type]

    def reset(self, direction: str, kind: str, **more: object) -> Rule:
        return self.rule("reset", direction, kind, **more)  # type: ignore[arg-type]

    def link(self, **match: str) -> Link:
        """The latest connection with these startup parameters."""
        with self._lock:
            for link in reversed(self.links):
                if all(link.parameters.get(k) == v for k, v in match.items()):
                    return link
        raise LookupError(match)

    def clear(self) -> None:
        """Forget all rules, let go what they hold, accept again."""
        self.refuse = self.split = False
        with self._lock:
            for rule in self._rules:
                rule.release()
            self._rules.clear()

    def close(self) -> None:
        self.listener.close()
        self.clear()
        with self._lock:
            for link in self.links:
                link.close()


def _take(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = source.recv(count - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except OSError:
        pass


@pytest.fixture
def middlebox() -> Iterator[Callable[[tuple[str, int]], Middlebox]]:
    """`middlebox((host, port))` -> a box in front of that address."""
    boxes: list[Middlebox] = []

    def make(target: tuple[str, int]) -> Middlebox:
        box = Middlebox(target)
        boxes.append(box)
        return box

    yield make
    for box in boxes:
        box.close()
