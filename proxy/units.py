"""Durations, sizes, switches and addresses as people write them.

What lives here: text to value, and back for messages. What must not: where the
text came from (the callers add flag, variable or line to the `ValueError`).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

_SECONDS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
# As in PostgreSQL's own settings, the multiplier is 1024, not 1000.
_BYTES = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "tb": 2**40}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})
_NUMBER = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z]*)", re.ASCII)
_SHARE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*%", re.ASCII)
_PORT = re.compile(r"\d{1,5}", re.ASCII)


class Address(NamedTuple):
    """A TCP address; an IPv6 host is without brackets, port 0 asks for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def duration(text: str) -> float:
    """Read a duration such as `250ms`, `60s`, `5m`, `1h`.

    Returns:
        Seconds.

    Raises:
        ValueError: not a duration, or no unit (only 0 may go without).
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write for example 250ms, 60s, 5m")
    amount, unit = float(match[1]), match[2].lower()
    if not unit and amount == 0:
        return 0.0
    if not unit:
        raise ValueError(f"{text!r} has no unit; write for example {match[1]}s or {match[1]}ms")
    if unit not in _SECONDS:
        raise ValueError(f"{text!r} has an unknown unit; known are us, ms, s, m, h, d")
    seconds = amount * _SECONDS[unit]
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is too long a duration")
    return seconds


def size(text: str) -> int:
    """Read a size such as `256MB`; units are multiples of 1024 as in PostgreSQL.

    Returns:
        Bytes.

    Raises:
        ValueError: not a size.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 256MB, 1GB")
    unit = match[2].lower()
    if unit not in _BYTES:
        raise ValueError(f"{text!r} has an unknown unit; known are B, kB, MB, GB, TB")
    amount = float(match[1]) * _BYTES[unit]
    if amount > 2**60:
        raise ValueError(f"{text!r} is too large a size")
    return int(amount)


def duration_text(seconds: float) -> str:
    """The same duration as people write it; `none` for infinity."""
    if math.isinf(seconds):
        return "none"
    text = _duration_text(seconds)
    if "e" not in text and duration(text) == seconds:
        return text
    # Nobody writes it like that, but it is the same.
    return f"{Decimal(repr(seconds)):f}s"


def _duration_text(seconds: float) -> str:
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    if seconds < 1e-3:
        return f"{seconds * 1e6:.12g}us"
    return f"{seconds * 1e3:.12g}ms" if seconds < 1 else f"{seconds:.15g}s"


def size_text(size: int) -> str:
    """The same size as people write it."""
    for unit in ("GB", "MB", "kB"):
        if size and size % _BYTES[unit.lower()] == 0:
            return f"{size // _BYTES[unit.lower()]}{unit}"
    return f"{size}B"


def share(text: str) -> float:
    """Read a share such as `5%`.

    Returns:
        0 to 1.

    Raises:
        ValueError: no percentage, or none between 0 and 100.
    """
    match = _SHARE.fullmatch(text.strip())
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a share; write a percentage, from 0% to 100%")
    return float(match[1]) / 100


def share_text(value: float) -> str:
    """The same share as people write it."""
    return f"{Decimal(f'{value * 100:.12g}'):f}%"


def switch(text: str) -> bool:
    """Read `on`/`off` (also true/false, yes/no).

    Raises:
        ValueError: neither.
    """
    word = text.strip().lower()
    if word in _ON:
        return True
    if word in _OFF:
        return False
    raise ValueError(f"{text!r} is neither on nor off{suggestion(text, ('on', 'off'))}")


def whole_number(text: str) -> int:
    """Read a whole number; a sign is allowed.

    Raises:
        ValueError: not a whole number, or out of a range that anybody could mean.
    """
    if re.fullmatch(r"[+-]?\d{1,9}", text.strip(), re.ASCII) is None:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def address(text: str) -> Address:
    """Read `host:port` or `[v6]:port`.

    Raises:
        ValueError: host or port are missing or impossible.
    """
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: write an IPv6 address in brackets, as in [::1]:6432")
    if not colon or not host:
        raise ValueError(f"{text!r} is not an address; write host:port, as in 127.0.0.1:6432")
    if _PORT.fullmatch(port) is None or int(port) > 65535:
        raise ValueError(f"{text!r}: {port!r} is not a port (0 to 65535)")
    if any(character.isspace() or ord(character) < 32 for character in host):
        raise ValueError(f"{text!r}: a host has no spaces")
    return Address(host, int(port))


def words(text: str) -> tuple[str, ...]:
    """Split at commas; empty parts are dropped."""
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """A clause `; did you mean 'x'?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(wrong.lower().replace("-", "_"), list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
