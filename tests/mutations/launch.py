"""`python -m tests.mutations.launch NAME serve ...`: a Howdah with one mutation."""

from __future__ import annotations

import sys

from proxy.cli import main
from tests.mutations.table import apply

if __name__ == "__main__":
    apply(sys.argv.pop(1))
    main()
