"""The errors that Howdah raises on purpose, each with the SQLSTATE a client sees.

What lives here: one small tree. What must not: formatting for the wire
(`wire.messages.error_response` does that) and anything that knows a socket.

SQLSTATEs are those of PostgreSQL's appendix "Error Codes".
"""

from __future__ import annotations


class HowdahError(Exception):
    """An error with one clear sentence for its reader.

    `sqlstate` is what a client sees, `hint` says what to do about it.
    """

    sqlstate = "XX000"

    def __init__(self, message: str, *, hint: str | None = None, sqlstate: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint
        if sqlstate is not None:
            self.sqlstate = sqlstate


class ProtocolError(HowdahError):
    """A peer sent bytes that are not the PostgreSQL protocol."""

    sqlstate = "08P01"


class StartupError(HowdahError):
    """A startup packet that cannot be served."""

    sqlstate = "08004"


class UpstreamError(HowdahError):
    """PostgreSQL cannot be reached, or refused what Howdah needs."""

    sqlstate = "08006"


class ConfigError(HowdahError):
    """A flag, an environment variable or a line of the file is wrong.

    The message starts with where: `file:line:column`, `--flag` or `HOWDAH_NAME`.
    """

    sqlstate = "F0000"
