"""A raw client: builds messages, reads frames, keeps every byte for comparison.

Blocking sockets with a timeout. What must not live here: anything from `proxy`; the
client must not share a mistake with what it tests.

Follows PostgreSQL's documentation, "Frontend/Backend Protocol", "Message Formats".
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Address = tuple[str, int] | str
PROTOCOL_3_0 = 196608
PROTOCOL_3_2 = 196610
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


class Frame(NamedTuple):
    """One message: its type letter and what follows the length word."""

    kind: str
    payload: bytes

    @property
    def raw(self) -> bytes:
        return self.kind.encode() + struct.pack("!I", len(self.payload) + 4) + self.payload

    @property
    def fields(self) -> dict[str, str]:
        """The fields of an ErrorResponse or NoticeResponse by their letter."""
        assert self.kind in "EN", self
        parts = self.payload.split(b"\0")
        return {chr(p[0]): p[1:].decode() for p in parts if p}

    @property
    def values(self) -> list[bytes | None]:
        """The columns of a DataRow."""
        assert self.kind == "D", self
        (count,) = struct.unpack_from("!H", self.payload)
        result: list[bytes | None] = []
        at = 2
        for _ in range(count):
            (length,) = struct.unpack_from("!i", self.payload, at)
            at += 4
            result.append(None if length < 0 else self.payload[at : at + length])
            at += max(length, 0)
        return result


class WireError(Exception):
    """The server answered with an ErrorResponse where the helper needs success."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.fields)
        self.fields = frame.fields


def message(kind: str, payload: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(payload) + 4) + payload


def _z(text: str | bytes) -> bytes:
    return (text.encode() if isinstance(text, str) else text) + b"\0"


def startup(protocol: int = PROTOCOL_3_0, **parameters: str) -> bytes:
    body = struct.pack("!I", protocol)
    body += b"".join(_z(name) + _z(value) for name, value in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(key_data: bytes) -> bytes:
    """`key_data` is the payload of BackendKeyData: pid and key."""
    return struct.pack("!II", len(key_data) + 8, 80877102) + key_data


def query(sql: str) -> bytes:
    return message("Q", _z(sql))


def parse(sql: str, name: str = "", oids: Sequence[int] = ()) -> bytes:
    types = struct.pack(f"!H{len(oids)}I", len(oids), *oids)
    return message("P", _z(name) + _z(sql) + types)


def bind(
    values: Sequence[bytes | None] = (),
    *,
    portal: str = "",
    statement: str = "",
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    """Bind; formats and results are lists of format codes as they go on the wire."""
    body = _z(portal) + _z(statement)
    body += struct.pack(f"!H{len(formats)}H", len(formats), *formats)
    body += struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack(f"!H{len(results)}H", len(results), *results))


def describe(what: str = "P", name: str = "") -> bytes:
    return message("D", what.encode() + _z(name))


def execute(portal: str = "", limit: int = 0) -> bytes:
    return message("E", _z(portal) + struct.pack("!I", limit))


def close(what: str, name: str) -> bytes:
    return message("C", what.encode() + _z(name))


def function_call(oid: int, *arguments: bytes | None) -> bytes:
    """FunctionCall with arguments and result in text."""
    body = struct.pack("!IHH", oid, 0, len(arguments))
    for value in arguments:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("F", body + struct.pack("!H", 0))


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")
COPY_DONE = message("c")


def copy_data(data: bytes) -> bytes:
    return message("d", data)


def copy_fail(why: str) -> bytes:
    return message("f", _z(why))


def raw(frames: Iterable[Frame]) -> bytes:
    return b"".join(frame.raw for frame in frames)


def kinds(frames: Iterable[Frame]) -> str:
    """The type letters in a row, the usual shape of an expectation."""
    return "".join(frame.kind for frame in frames)


def rows(frames: Iterable[Frame]) -> list[list[str | None]]:
    """All DataRows in text."""
    return [
        [None if v is None else v.decode() for v in frame.values]
        for frame in frames
        if frame.kind == "D"
    ]


def tags(frames: Iterable[Frame]) -> list[str]:
    """The tags of all CommandCompletes."""
    return [f.payload[:-1].decode() for f in frames if f.kind == "C"]


def errors(frames: Iterable[Frame]) -> list[str]:
    """The SQLSTATEs of all ErrorResponses."""
    return [f.fields["C"] for f in frames if f.kind == "E"]


class Wire:
    """One raw connection."""

    def __init__(self, address: Address, timeout: float = 20.0) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.parameters: dict[str, str] = {}
        self.key_data = b""
        self.status = ""
        self.startup_frames: list[Frame] = []

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Terminate politely; a dead peer is fine."""
        try:
            self.socket.sendall(TERMINATE)
        except OSError:
            pass
        self.socket.close()

    def reset(self) -> None:
        """Close with a RST, as a killed client does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def tls(self, ca: str | None = None) -> None:
        """SSLRequest and handshake; verifies for 127.0.0.1 if a CA file is given."""
        self.send(SSL_REQUEST)
        answer = self.take(1)
        assert answer == b"S", answer
        context = ssl.create_default_context(cafile=ca)
        if ca is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")

    def start(
        self,
        database: str,
        user: str = "postgres",
        *,
        password: str | None = None,
        protocol: int = PROTOCOL_3_0,
        **parameters: str,
    ) -> list[Frame]:
        """Start up, authenticate, return all frames up to the first ReadyForQuery.

        Raises:
            WireError: the server refused.
        """
        self.send(startup(protocol, user=user, database=database, **parameters))
        frames: list[Frame] = []
        scram = None
        while True:
            frame = self.frame()
            frames.append(frame)
            if frame.kind == "E":
                raise WireError(frame)
            if frame.kind == "R":
                (code,) = struct.unpack_from("!I", frame.payload)
                if code == 3:
                    self.send(message("p", _z(password or "")))
                elif code == 5:
                    self.send(message("p", _z(md5(user, password or "", frame.payload[4:]))))
                elif code == 10:
                    from scramp import ScramClient

                    mechanisms = [m.decode() for m in frame.payload[4:].split(b"\0") if m]
                    plain = [m for m in mechanisms if not m.endswith("-PLUS")]
                    scram = ScramClient(plain, user, password or "")
                    first = scram.get_client_first().encode()
                    body = _z(plain[0]) + struct.pack("!i", len(first)) + first
                    self.send(message("p", body))
                elif code == 11:
                    assert scram is not None
                    scram.set_server_first(frame.payload[4:].decode())
                    self.send(message("p", scram.get_client_final().encode()))
                elif code == 12:
                    assert scram is not None
                    scram.set_server_final(frame.payload[4:].decode())
            elif frame.kind == "K":
                self.key_data = frame.payload
            elif frame.kind == "Z":
                self.startup_frames = frames
                return frames

    @property
    def pid(self) -> int:
        return int.from_bytes(self.key_data[:4], "big")

    def send(self, *messages: bytes) -> None:
        self.socket.sendall(b"".join(messages))

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            EOFError: the peer closed first.
        """
        while len(self.buffer) < count:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise EOFError(bytes(self.buffer))
            self.buffer += chunk
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def frame(self) -> Frame:
        kind, length = struct.unpack("!cI", self.take(5))
        frame = Frame(kind.decode("latin-1"), self.take(length - 4))
        if frame.kind == "S":
            name, value = frame.payload[:-1].split(b"\0")
            self.parameters[name.decode()] = value.decode()
        elif frame.kind == "Z":
            self.status = frame.payload.decode()
        return frame

    def until(self, kind: str = "Z") -> list[Frame]:
        """All frames up to and with the first of this type."""
        frames = [self.frame()]
        while frames[-1].kind != kind:
            frames.append(self.frame())
        return frames

    def closed(self) -> bool:
        """Read to the end: True if the peer closes (EOF or reset) within the timeout."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        return True

    def ask(self, *messages: bytes) -> list[Frame]:
        """Send and read up to ReadyForQuery."""
        self.send(*messages)
        return self.until()

    def query(self, sql: str) -> list[Frame]:
        """Simple protocol; the frames up to ReadyForQuery."""
        return self.ask(query(sql))

    def extended(
        self,
        sql: str,
        values: Sequence[bytes | None] = (),
        *,
        oids: Sequence[int] = (),
        formats: Sequence[int] = (),
        results: Sequence[int] = (),
        limit: int = 0,
    ) -> list[Frame]:
        """Unnamed Parse, Bind, Describe, Execute, Sync in one write."""
        return self.ask(
            parse(sql, oids=oids),
            bind(values, formats=formats, results=results),
            describe(),
            execute(limit=limit),
            SYNC,
        )

    def rows(self, sql: str) -> list[list[str | None]]:
        """The rows of a simple query.

        Raises:
            WireError: it failed.
        """
        frames = self.query(sql)
        for frame in frames:
            if frame.kind == "E":
                raise WireError(frame)
        return rows(frames)


def md5(user: str, password: str, salt: bytes) -> str:
    inner = hashlib.md5(password.encode() + user.encode()).hexdigest()
    return "md5" + hashlib.md5(inner.encode() + salt).hexdigest()


def connect(
    address: Address, database: str, user: str = "postgres", **options: str | int | None
) -> Wire:
    """A started raw connection."""
    wire = Wire(address)
    try:
        wire.start(database, user, **options)  # type: ignore[arg-type]
    except BaseException:
        wire.socket.close()
        raise
    return wire
