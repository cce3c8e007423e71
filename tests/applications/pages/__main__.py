"""`python -m tests.applications.pages`: show the page in all stacks, print and write the shares.

python -m tests.applications.pages [--only PATTERN] [--server 18|15] [--explain] [--no-save]
"""

from __future__ import annotations

import argparse
import sys
from fnmatch import fnmatch

from tests.applications.pages import report
from tests.applications.pages.measure import LEAST, Result, explain, measure
from tests.applications.pages.stacks import STACKS
from tests.applications.report import plain
from tests.fix_howdah import ROOT, Howdah, upstream_url
from tests.fix_pg import SYSTEM_15, PostgresServer, wheel_bindir

PAGE = ROOT / "docs" / "orm.md"


def main() -> int:
    """The exit code says whether some stack has less than its share."""
    parser = argparse.ArgumentParser(prog="python -m tests.applications.pages", description=__doc__)
    parser.add_argument("--only", default="*", metavar="PATTERN", help="stacks by name")
    parser.add_argument("--server", choices=["18", "15"], help="one server only")
    parser.add_argument("--explain", action="store_true", help="say which statements were no hits")
    parser.add_argument("--no-save", action="store_true", help="leave the document alone")
    options = parser.parse_args()
    results: list[Result] = []
    for major, bindir in (("18", wheel_bindir()), ("15", SYSTEM_15)):
        if bindir is None or not (bindir / "postgres").exists():
            continue
        if options.server in (None, major):
            server = PostgresServer(f"PostgreSQL {major}", bindir)
            results += _on(server, options.only, options.explain)
    print(plain(report.table(results)))
    if not options.no_save and options.only == "*":
        PAGE.write_text(report.updated(PAGE.read_text(), results))
        print(f"written: {PAGE}")
    return 1 if any(result.least < LEAST for result in results) else 0


def _on(server: PostgresServer, only: str, explaining: bool) -> list[Result]:
    results = []
    try:
        server.create()
        howdah = Howdah(upstream_url(server))
        try:
            howdah.start()
            for stack in STACKS:
                if fnmatch(stack.name, only):
                    print(f"{server.name}: {stack.title}", file=sys.stderr, flush=True)
                    results.append(measure(stack, server, howdah))
                    if explaining:
                        print(report.explanation(explain(stack, server, howdah)))
        finally:
            howdah.destroy()
    finally:
        server.destroy()
    return results


if __name__ == "__main__":
    sys.exit(main())
