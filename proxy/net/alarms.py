"""Lines of the log that somebody should be woken for.

What must not be in one: values of the client's; a hash of them stands for them.
"""

from __future__ import annotations

import logging

from proxy.session.verifying import Finding

_log = logging.getLogger("howdah.verify")


def mismatch(finding: Finding) -> None:
    """Verify mode has found an answer from memory to be wrong."""
    consequence = (
        "the statement is forwarded until RESET QUARANTINE"
        if finding.quarantined
        else "it is not served any more"
    )
    _log.error(
        "mismatch: an answer from memory was not PostgreSQL's: %s; it was %.3f s old; %s "
        "(statement %s, parameters %s, database %r, role %r, context %d): %s",
        finding.words,
        finding.age,
        consequence,
        finding.shape,
        finding.parameters,
        finding.database,
        finding.role,
        finding.context,
        finding.text,
        extra={
            "fields": {
                "shape": finding.shape,
                "parameters": finding.parameters,
                "database": finding.database,
                "role": finding.role,
                "context": finding.context,
                "age": round(finding.age, 6),
                "difference": finding.words,
                "quarantined": finding.quarantined,
            }
        },
    )
