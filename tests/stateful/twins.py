"""Twins: a session through Howdah and one held directly, which are sent the same bytes.

What lives here: how both are asked at once, and how two answers are compared. What must
not: any choice of what is asked.

Where the twins are in two databases, what names the database is left out of the
comparison: OIDs of tables and of types that users made, the numbers of temporary schemas,
and the letter in the name of a prepared transaction (`twin h1`, `twin d1`). All else is
compared byte for byte.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.fix_wire import Address, Frame, Wire, WireError

#: Object identifiers below are PostgreSQL's own, the same in every database.
FIRST_NORMAL_OID = 16384
_OWN_NAMES = re.compile(rb"pg_(?:toast_)?temp_\d+|(?<=twin )[hd](?=\d)")
_STARTUP = "SNE"

#: What ends an answer: ReadyForQuery, or CopyInResponse, behind which the client has to speak.
READY = b"ZG"
#: Behind a Flush: what ends the answer to an Execute.
FLUSHED = b"CsEI"


class Line:
    """A connection from which whole answers are read."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.buffer = bytearray()

    def send(self, data: bytes) -> None:
        self.wire.socket.sendall(data)

    def answer(self, ends: bytes = READY) -> bytes:
        """Everything up to the first message of one of these types.

        Raises:
            EOFError: the connection has been closed before.
        """
        at, buffer = 0, self.buffer
        while True:
            while len(buffer) < at + 5 or len(buffer) < at + 1 + int.from_bytes(
                buffer[at + 1 : at + 5], "big"
            ):
                chunk = self.wire.socket.recv(1 << 18)
                if not chunk:
                    raise EOFError(bytes(buffer))
                buffer += chunk
            kind = buffer[at]
            at += 1 + int.from_bytes(buffer[at + 1 : at + 5], "big")
            if kind in ends:
                found = bytes(buffer[:at])
                del buffer[:at]
                return found

    def ask(self, data: bytes, ends: bytes = READY) -> bytes:
        self.send(data)
        return self.answer(ends)


@dataclass
class Difference(Exception):
    """The twins were told different things."""

    asked: str
    found: bytes
    expected: bytes

    def __str__(self) -> str:
        return (
            f"{self.asked}\n  through Howdah: {show(self.found)}\n"
            f"  directly:       {show(self.expected)}"
        )


class Twins:
    """One session and its twin.

    Args:
        through, direct: where Howdah and PostgreSQL listen.
        databases: the name of the database for each of them.
        startup: further parameters of the StartupMessage.
    """

    def __init__(
        self,
        through: Address,
        direct: Address,
        databases: tuple[str, str],
        user: str,
        **startup: str,
    ) -> None:
        self.user = user
        self.alike = databases[0] == databases[1]
        self.status = "I"
        lines, told = [], []
        for address, database in zip((through, direct), databases, strict=True):
            wire = Wire(address)
            try:
                frames = wire.start(database, user, **startup)  # type: ignore[arg-type]
            except WireError as error:
                wire.socket.close()
                frames = [Frame("E", b"".join(_fields(error.fields)))]
            lines.append(Line(wire))
            told.append(b"".join(frame.raw for frame in frames if frame.kind in _STARTUP))
        self.through, self.direct = lines
        if told[0] != told[1]:
            raise Difference(f"startup as {user} with {startup}", *told)

    def close(self) -> None:
        self.through.wire.close()
        self.direct.wire.close()

    def ask(
        self,
        data: bytes,
        twin: bytes | None = None,
        *,
        ends: bytes = READY,
        answers: int = 1,
        what: str = "",
    ) -> bytes:
        """Ask both; the direct answer, which is also the other.

        Args:
            twin: what the twin is sent, where that is not the same.
            ends: message types that end an answer.
            answers: how many there will be.
            what: for the report.

        Raises:
            Difference: they are not the same.
        """
        self.direct.send(data if twin is None else twin)
        expected = b"".join(self.direct.answer(ends) for _ in range(answers))
        self.through.send(data)
        found = b"".join(self.through.answer(ends) for _ in range(answers))
        return self.compare(found, expected, what)

    def compare(self, found: bytes, expected: bytes, what: str) -> bytes:
        """`expected`, if both are the same.

        Raises:
            Difference: they are not.
        """
        if expected[-6:-1] == b"Z\0\0\0\5":
            self.status = chr(expected[-1])
        if found != expected and (self.alike or plain(found) != plain(expected)):
            raise Difference(what, found, expected)
        return expected


def _fields(fields: dict[str, str]) -> Iterator[bytes]:
    for letter, value in fields.items():
        yield letter.encode() + value.encode() + b"\0"
    yield b"\0"


def frames(answer: bytes) -> list[Frame]:
    """The messages of an answer."""
    found, at = [], 0
    while at < len(answer):
        kind, length = struct.unpack_from("!cI", answer, at)
        found.append(Frame(kind.decode("latin-1"), answer[at + 5 : at + 1 + length]))
        at += 1 + length
    return found


def plain(answer: bytes) -> list[Frame]:
    """The messages of an answer without what differs between equal databases."""
    return [_PLAIN.get(frame.kind, _same)(frame) for frame in frames(answer)]


def _same(frame: Frame) -> Frame:
    return frame


def _description(frame: Frame) -> Frame:
    """RowDescription: no OID of a table, none of a type that a user made."""
    (count,) = struct.unpack_from("!H", frame.payload)
    parts, at = [frame.payload[:2]], 2
    for _ in range(count):
        end = frame.payload.index(b"\0", at) + 1
        column, type_, *rest = struct.unpack_from("!xxxxHIhih", frame.payload, end)
        user_made = type_ >= FIRST_NORMAL_OID
        parts.append(frame.payload[at:end])
        parts.append(struct.pack("!HIhih", column, 0 if user_made else type_, *rest))
        at = end + 18
    return Frame("T", b"".join(parts))


def _message(frame: Frame) -> Frame:
    return Frame(frame.kind, _OWN_NAMES.sub(b"", frame.payload))


_PLAIN: dict[str, Callable[[Frame], Frame]] = {"T": _description, "E": _message, "N": _message}


def failed(answer: bytes) -> str:
    """The SQLSTATE of the first error in an answer, or nothing."""
    at = 0
    while at < len(answer):
        kind, length = struct.unpack_from("!cI", answer, at)
        if kind == b"E":
            return Frame("E", answer[at + 5 : at + 1 + length]).fields["C"]
        at += 1 + length
    return ""


def show(answer: bytes) -> str:
    """An answer for people."""
    words = []
    for frame in frames(answer):
        if frame.kind in "EN":
            fields = frame.fields
            words.append(f"{frame.kind}({fields.get('C')} {fields.get('M')})")
        elif frame.kind == "D":
            cells = [None if v is None else v.decode("latin-1") for v in frame.values]
            words.append(f"D{cells}")
        elif frame.kind in "CSZ":
            words.append(f"{frame.kind}({frame.payload.decode('latin-1')!r})")
        else:
            words.append(frame.kind)
    text = " ".join(words)
    return text if len(text) < 1500 else text[:1500] + "..."
