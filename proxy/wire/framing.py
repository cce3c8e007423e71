"""Where messages begin and end in a stream of bytes.

Only headers are read: a type byte and a length word that counts itself. The
bodies stay where they are in the chunk.
"""

from __future__ import annotations

from proxy.errors import ProtocolError

HEADER = 5

# PostgreSQL refuses larger ones (PQ_LARGE_MESSAGE_LIMIT is MaxAllocSize, 1 GB - 1).
MAX_LENGTH = 0x3FFFFFFF

# What a client may send after its startup ("Message Formats", F).
CLIENT_TYPES = frozenset(b"BCDEFHPQSXcdfp")


def client_header(buffer: bytes, position: int) -> tuple[int, int]:
    """Read the header at `position`, of which all five bytes must be there.

    Returns:
        The type byte and the size of the whole message in bytes, header included.

    Raises:
        ProtocolError: an unknown type or an impossible length, as PostgreSQL
            would say; the connection is of no use afterwards.
    """
    kind = buffer[position]
    if kind not in CLIENT_TYPES:
        raise ProtocolError(f"invalid frontend message type {kind}")
    length = int.from_bytes(buffer[position + 1 : position + HEADER], "big")
    if length < 4 or length > MAX_LENGTH:
        raise ProtocolError(f"invalid message length {length} of message type {chr(kind)!r}")
    return kind, length + 1
