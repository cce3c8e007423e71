"""From the bytes of a text to its plan.

The analysis runs once per text and context; `session.engine` remembers the plan.
What cannot be read as the server reads it counts as everything (F9).
"""

from __future__ import annotations

from dataclasses import replace

from proxy.policy.decide import decide
from proxy.policy.plan import EVERYTHING, Flag, Kind, Plan
from proxy.policy.situation import Situation
from proxy.reasons import Reason
from proxy.sql.analyse import analyse

OPAQUE_FLAGS = (
    Flag.MAY_COMMIT
    | Flag.SETTINGS
    | Flag.PATH
    | Flag.SCHEMA
    | Flag.STATEMENTS
    | Flag.ISOLATION
    | Flag.OPAQUE
)


def opaque(reason: Reason) -> Plan:
    """The plan for what Howdah cannot see through: it may do anything (F9)."""
    return Plan(
        Kind.WRITE, reason, closure=EVERYTHING, flags=OPAQUE_FLAGS, dropped=None, bodies=True
    )


ENCODING = opaque(Reason.ENCODING)
TOO_LONG = opaque(Reason.STATEMENT_TOO_LONG)
UNPARSABLE = opaque(Reason.UNPARSABLE)
FUNCTION_CALL = opaque(Reason.FUNCTION_CALL)
OPAQUE_STATEMENT = opaque(Reason.WRITE_OPAQUE)
UNKNOWN_STATEMENT = opaque(Reason.PREPARED_OPAQUE)
# A statement that a probe, sent in front of it, will show to be the known one or not:
# until then it may write anything, but what it does to the session is judged later.
UNVERIFIED = replace(
    UNKNOWN_STATEMENT, flags=OPAQUE_FLAGS & ~(Flag.SETTINGS | Flag.PATH | Flag.STATEMENTS)
)


def plan_for(text: bytes, situation: Situation, limit: int) -> Plan:
    """Analyse `text` (UTF-8 or ASCII, without the final zero) and decide.

    Args:
        limit: longest text that is analysed, in bytes.
    """
    if len(text) > limit:
        return TOO_LONG
    if b"\x00" in text:
        return UNPARSABLE
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        return UNPARSABLE
    return decide(analyse(decoded), situation)
