"""Log lines as text or JSON, with connection id and direction where they apply.

What must never be in one: passwords, authentication messages; and parameter values unless
the operator asks for them (`log_parameters`, see `net.statements`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import MutableMapping
from typing import Any

CLIENT_IN = "C>"
CLIENT_OUT = "C<"
UPSTREAM_IN = "S>"
UPSTREAM_OUT = "S<"


class ConnectionLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry the id of one connection.

    A call may name a direction: `log.debug("...", extra={"direction": CLIENT_IN})`.
    """

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Merge the connection id into the record."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def connection_log(connection_id: int) -> ConnectionLog:
    """The logger of the connection with that id."""
    return ConnectionLog(logging.getLogger("howdah.net"), {"connection": connection_id})


# A line break that a client sent does not make a line of the log.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
_CONTROL |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.123 INFO [7 C>] message`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, the traceback of a defect below it."""
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        line = f"{stamp}.{int(record.msecs):03d} {record.levelname} {_where(record)}"
        line += record.getMessage().translate(_CONTROL)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _where(record: logging.LogRecord) -> str:
    connection = getattr(record, "connection", None)
    if connection is None:
        return ""
    direction = getattr(record, "direction", "")
    return f"[{connection} {direction}] " if direction else f"[{connection}] "


class JsonFormatter(logging.Formatter):
    """One JSON object a line; keys of a `fields` extra become keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        """time (RFC 3339, UTC), level, logger, message, and what else is known."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key in ("connection", "direction"):
            value = getattr(record, key, None)
            if value is not None:
                entry[key] = value
        entry.update(getattr(record, "fields", None) or {})
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up(level: str, style: str) -> None:
    """Send Howdah's lines to standard error; `style` is text or json."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("howdah").setLevel(level.upper())
    # Whoever started Howdah waits for this line, whatever the level.
    logging.getLogger("howdah.ready").setLevel(logging.INFO)
    for chatty in ("asyncio", "uvicorn", "uvicorn.error", "watchfiles"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
