"""`python -m tests.applications`: run all sample applications, print and write the report.

python -m tests.applications [--only PATTERN] [--server 18|15] [--no-save]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from fnmatch import fnmatch

from tests.applications import report
from tests.applications.catalogue import APPLICATIONS
from tests.applications.run import Outcome, run
from tests.fix_howdah import ROOT, Howdah, upstream_url
from tests.fix_pg import SYSTEM_15, PostgresServer, wheel_bindir

PAGE = ROOT / "docs" / "cacheable.md"
LIBRARIES = ("psycopg", "asyncpg", "SQLAlchemy", "Django")


def main() -> int:
    """The exit code says whether some read was not cacheable for a reason nobody accepted."""
    parser = argparse.ArgumentParser(prog="python -m tests.applications", description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="applications by name")
    parser.add_argument("--server", choices=["18", "15"], help="one server only")
    parser.add_argument("--no-save", action="store_true", help="leave the page alone")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    versions: list[str] = []
    for major, bindir in (("18", wheel_bindir()), ("15", SYSTEM_15)):
        if bindir is None or not (bindir / "postgres").exists():
            continue
        if options.server in (None, major):
            outcomes += _on(PostgresServer(f"PostgreSQL {major}", bindir), options.only, versions)
    versions += [f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES]
    rows = report.table(outcomes)
    print(report.plain(rows))
    surprises = {
        (outcome.application.title, reason, text)
        for outcome in outcomes
        for reason, text in outcome.surprises()
    }
    for title, reason, text in sorted(surprises):
        print(f"unexpected in {title}: {reason}: {' '.join(text.split())}")
    if not options.no_save and options.only == "*":
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(report.markdown(outcomes, versions))
        print(f"written: {PAGE}")
    return 1 if surprises else 0


def _on(server: PostgresServer, only: str, versions: list[str]) -> list[Outcome]:
    outcomes = []
    try:
        server.create()
        versions.append(f"PostgreSQL {server.version}")
        howdah = Howdah(upstream_url(server))
        try:
            howdah.start()
            for application in APPLICATIONS:
                if fnmatch(application.name, only):
                    print(f"{server.name}: {application.title}", file=sys.stderr, flush=True)
                    outcomes.append(run(application, server, howdah))
        finally:
            howdah.destroy()
    finally:
        server.destroy()
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
