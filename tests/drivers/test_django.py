"""The Django ORM through Howdah."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.drivers.shop import Place, compare
from tests.fix_howdah import ROOT, Howdah
from tests.fix_pg import PostgresServer


def django(place: Place, *more: str) -> object:
    done = subprocess.run(
        [sys.executable, "-m", "tests.drivers.django_script"]
        + [place.host, str(place.port), place.database, *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_orm(howdah: Howdah, postgres: PostgresServer) -> None:
    compare(howdah, postgres, django, prepare=lambda place: django(place, "create"))
