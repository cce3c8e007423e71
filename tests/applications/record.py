"""What became of each statement that an application sends through Howdah.

What lives here: a relay between the application and Howdah that reads along, and the tally it
keeps. What must not: any application, any judgement.

The relay lets one request run at a time and asks Howdah's metrics after each, before its last
reply is handed on: so each statement is known with its outcome and reason, as Howdah counted it.
"""

from __future__ import annotations

import re
import selectors
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.fix_howdah import Howdah

# Outcomes of reads; a SELECT that Howdah takes for a write or a command is a read, too.
CACHEABLE = frozenset(("hit", "shared", "stale", "miss"))
READS = CACHEABLE | {"bypass"}
_READ = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table)\b", re.I | re.S)
# More rows of a cursor that was counted when it was declared.
_MORE = re.compile(r"\s*(?:fetch|move|close)\b", re.I)
_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102

Verdict = tuple[str, str]  # outcome, reason


@dataclass
class Tally:
    """Statements by text and verdict, of one run of an application."""

    verdicts: dict[str, Counter[Verdict]] = field(default_factory=dict)

    def add(self, text: str, verdicts: Counter[Verdict]) -> None:
        self.verdicts.setdefault(text, Counter()).update(verdicts)

    def reads(self) -> Iterator[tuple[str, Verdict, int]]:
        """Text, verdict and number of all statements that read."""
        for text, verdicts in self.verdicts.items():
            if _MORE.match(text):
                continue
            for verdict, count in verdicts.items():
                if verdict[0] in READS or _READ.match(text):
                    yield text, verdict, count

    def __or__(self, other: Tally) -> Tally:
        both = Tally()
        for tally in (self, other):
            for text, verdicts in tally.verdicts.items():
                both.add(text, verdicts)
        return both


def _messages(buffer: bytearray) -> Iterator[tuple[str, bytes]]:
    """Take the complete messages off the front of a buffer: type and body."""
    while len(buffer) >= 5:
        length = struct.unpack_from("!i", buffer, 1)[0] + 1
        if len(buffer) < length:
            return
        yield chr(buffer[0]), bytes(buffer[5:length])
        del buffer[:length]


def _cstring(body: bytes, start: int = 0) -> tuple[str, int]:
    end = body.index(0, start)
    return body[start:end].decode(), end + 1


class _Conversation:
    """One connection of the application, and what it has prepared."""

    def __init__(self, relay: Recorder, client: socket.socket) -> None:
        self.relay = relay
        self.client = client
        self.server = socket.create_connection(relay.howdah.address)
        for side in (self.client, self.server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.prepared: dict[str, str] = {}
        self.portals: dict[str, str] = {}
        self.texts: list[str] = []
        self.waiting = 0
        self.started = False

    def run(self) -> None:
        """Pass bytes both ways until one side leaves."""
        sides = {self.client: bytearray(), self.server: bytearray()}
        with selectors.DefaultSelector() as selector:
            for each in sides:
                selector.register(each, selectors.EVENT_READ, each)
            try:
                while True:
                    for key, _ in selector.select():
                        side: socket.socket = key.data
                        data = side.recv(1 << 16)
                        if not data:
                            return
                        sides[side] += data
                        if side is self.client:
                            self._from_client(sides[side], data)
                        else:
                            self._from_server(sides[side], data)
            except OSError:
                pass
            finally:
                if self.waiting:
                    self.relay.turn.release()
                for each in sides:
                    each.close()

    def _from_client(self, buffer: bytearray, data: bytes) -> None:
        if not self.started and not self._startup(buffer):
            self.server.sendall(data)
            return
        for kind, body in _messages(buffer):
            self._note(kind, body)
            if kind in "QSF":
                if not self.waiting:
                    self.relay.turn.acquire()
                self.waiting += 1
        self.server.sendall(data)

    def _startup(self, buffer: bytearray) -> bool:
        """Whether the startup is over; its messages have no type."""
        if len(buffer) < 8 or len(buffer) < struct.unpack_from("!i", buffer)[0]:
            return False
        length, code = struct.unpack_from("!ii", buffer)
        del buffer[:length]
        self.started = code not in (_SSL, _GSS, _CANCEL)
        return False

    def _note(self, kind: str, body: bytes) -> None:
        if kind == "Q":
            self.texts.append(_cstring(body)[0])
        elif kind == "P":
            name, start = _cstring(body)
            self.prepared[name] = _cstring(body, start)[0]
        elif kind == "B":
            portal, start = _cstring(body)
            self.portals[portal] = self.prepared.get(_cstring(body, start)[0], "?")
        elif kind == "E":
            self.texts.append(self.portals.get(_cstring(body)[0], "?"))

    def _from_server(self, buffer: bytearray, data: bytes) -> None:
        if not self.started:
            buffer.clear()  # the answer to a request for TLS
        for kind, _ in _messages(buffer):
            if kind == "Z" and self.waiting:
                self.waiting -= 1
                if not self.waiting:
                    self.relay.settle(self.texts)
                    self.texts = []
                    self.relay.turn.release()
        self.client.sendall(data)


class Recorder:
    """Listens on a port of its own and keeps a tally of what passes."""

    def __init__(self, howdah: Howdah) -> None:
        self.howdah = howdah
        self.turn = threading.Lock()
        self._tally = Tally()
        self._before: Counter[Verdict] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def settle(self, texts: list[str]) -> None:
        """The request that executed these texts has been answered."""
        counts = self._counts()
        gained, self._before = counts - self._before, counts
        if len(texts) > 1 and len(gained) == 1 and gained.total() == len(texts):
            for text in texts:
                self._tally.add(text, Counter(list(gained)))
        elif gained:
            self._tally.add("; ".join(texts), gained)

    def _counts(self) -> Counter[Verdict]:
        found: Counter[Verdict] = Counter()
        for (name, labels), value in self.howdah.metrics().items():
            if name == "howdah_statements_total":
                label = dict(labels)
                found[label["outcome"], label["reason"]] += int(value)
        return found

    @contextmanager
    def recording(self) -> Iterator[Tally]:
        """The tally of what passes during the block; connections in it must end with it."""
        self._tally = tally = Tally()
        self._before = self._counts()
        yield tally
        for thread in self._threads:
            thread.join(20)
        self._threads.clear()

    @contextmanager
    def running(self) -> Iterator[Recorder]:
        """Accept connections."""
        accepting = threading.Thread(target=self._accept)
        accepting.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            accepting.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            conversation = _Conversation(self, client)
            thread = threading.Thread(target=conversation.run)
            self._threads.append(thread)
            thread.start()
