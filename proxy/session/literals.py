"""Parameters that read the clock: 'now', 'today', 'tomorrow', 'yesterday' (K5).

The input functions of the date and time types take these words for the present
moment. Which type a parameter meets is not known here, so every parameter counts.
"""

from __future__ import annotations

import re

from proxy.sql.literals import bytes_say_clock

# PostgreSQL splits such input at every change between letters and other characters
# ("Date/Time Input Interpretation"), in any case.
_ANYWHERE = re.compile(rb"now|today|tomorrow|yesterday", re.IGNORECASE)


def may_say_now(parameters: bytes) -> bool:
    """Whether a parameter contains such a word.

    Args:
        parameters: a Bind message behind its names. A layout that cannot be read
            counts as saying it.
    """
    if _ANYWHERE.search(parameters) is None and b"\\" not in parameters and b'"' not in parameters:
        return False
    try:
        position = 2 + 2 * int.from_bytes(parameters[:2], "big")
        count = int.from_bytes(parameters[position : position + 2], "big")
        position += 2
        for _ in range(count):
            length = int.from_bytes(parameters[position : position + 4], "big", signed=True)
            position += 4
            if length > 0:
                if position + length > len(parameters):
                    return True
                if bytes_say_clock(parameters[position : position + length]):
                    return True
                position += length
    except IndexError:
        return True
    return False
