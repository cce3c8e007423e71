"""The page with psycopg: autocommit off, as it comes, and in its other ways to send statements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.applications.pages.shop import CUSTOMER, TOUCH, page, shaped
from tests.applications.pages.stack import Opener, Page, Stack
from tests.drivers.shop import Place


def _percent(sql: str) -> str:
    return re.sub(r"\$\d+", "%s", sql.replace("%", "%%"))


def _show(connection: psycopg.Connection[Any], write: bool, binary: bool = False) -> list[object]:
    found: list[object] = []
    steps = page()
    read = next(steps)
    while True:
        rows = connection.execute(_percent(read.sql), read.arguments, binary=binary).fetchall()
        found.append(shaped(read, rows))
        try:
            read = steps.send(rows)
        except StopIteration:
            break
    if write:
        connection.execute(_percent(TOUCH), [CUSTOMER])
    return found


def _one(end: str = "commit", binary: bool = False, **options: Any) -> Opener:
    """One connection for all pages; `end` is what each page ends with."""

    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        with psycopg.connect(place.dsn, **options) as connection:

            def show(write: bool) -> object:
                found = _show(connection, write, binary)
                if end == "rollback" and not write:
                    connection.rollback()
                else:
                    connection.commit()
                return found

            yield show

    return opened


def _per_request(**options: Any) -> Opener:
    @contextmanager
    def opened(place: Place) -> Iterator[Page]:
        def show(write: bool) -> object:
            with psycopg.connect(place.dsn, **options) as connection:
                return _show(connection, write)

        yield show

    return opened


STACKS: tuple[Stack, ...] = (
    Stack("psycopg", "psycopg, autocommit off", _one()),
    Stack("psycopg_rollback", "psycopg, each page rolled back", _one("rollback")),
    Stack("psycopg_autocommit", "psycopg, autocommit on", _one(autocommit=True)),
    Stack("psycopg_request", "psycopg, a connection per request", _per_request()),
    Stack(
        "psycopg_request_autocommit",
        "psycopg, a connection per request, autocommit on",
        _per_request(autocommit=True),
    ),
    Stack(
        "psycopg_prepared",
        "psycopg, all prepared (`prepare_threshold=0`)",
        _one(prepare_threshold=0),
    ),
    Stack(
        "psycopg_unprepared",
        "psycopg, none prepared (`prepare_threshold=None`)",
        _one(prepare_threshold=None),
    ),
    Stack("psycopg_binary", "psycopg, results in binary", _one(binary=True)),
    Stack(
        "psycopg_client",
        "psycopg, `ClientCursor`",
        _one(cursor_factory=psycopg.ClientCursor),
    ),
)
