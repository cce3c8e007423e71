"""Single changes to the consistency code, each of which some test has to notice.

A mutation takes one rule away, or breaks it; a few break two that guard the same. What
notices it is named with it: a playbook or a forced interleaving, which fail at once, or the
checker.

What must not live here: the mutations, which are below `of_*.py`, and how they are run
(`__main__.py`).
"""

from __future__ import annotations

# Each of these modules enters its mutations when it is imported.
from tests.mutations import of_answers as _of_answers
from tests.mutations import of_fences as _of_fences
from tests.mutations import of_server as _of_server
from tests.mutations import of_sessions as _of_sessions
from tests.mutations.entry import MUTATIONS, Mutation

__all__ = ["MUTATIONS", "Mutation", "apply"]
_MODULES = (_of_fences, _of_answers, _of_server, _of_sessions)


def apply(name: str) -> None:
    """Make the change in this process.

    Raises:
        KeyError: no mutation has this name.
        patching.Gone: the code it changes is not there.
    """
    MUTATIONS[name].apply()
