"""The example of a reason, where it is SQL, leads to that reason."""

from __future__ import annotations

import re

import pytest

from proxy.reasons import Reason

SCHEMA = [
    "CREATE TABLE customers (id int PRIMARY KEY, name text)",
    "CREATE TABLE orders (id serial PRIMARY KEY, customer int, placed timestamptz, note text)",
    "INSERT INTO orders VALUES (1, 1, '2020-01-01', '2020-01-01')",
    "CREATE UNLOGGED TABLE jobs (id int)",
    "CREATE EXTENSION postgres_fdw",
    "CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw",
    "CREATE FOREIGN TABLE remote_orders (id int) SERVER elsewhere",
    # Nobody sees what EXECUTE will run.
    "CREATE FUNCTION report(kind int) RETURNS SETOF orders LANGUAGE plpgsql STABLE AS"
    " $$BEGIN RETURN QUERY EXECUTE format('SELECT * FROM %I', 'orders'); END$$",
    "CREATE PROCEDURE report_all() LANGUAGE plpgsql AS"
    " $$BEGIN EXECUTE format('DELETE FROM %I', 'jobs'); END$$",
    "CREATE SCHEMA b CREATE TABLE orders (id int)",
    "CREATE FUNCTION total(kind int) RETURNS bigint LANGUAGE plpgsql STABLE AS"
    " $$BEGIN RETURN (SELECT count(*) FROM orders); END$$",
    "CREATE FUNCTION total_ever() RETURNS bigint LANGUAGE sql IMMUTABLE AS"
    " 'SELECT count(*) FROM public.orders'",
]
# A search_path with two tables of that name.
BEFORE = {Reason.AMBIGUOUS_NAME: "SET search_path = public, b"}

# What takes more than one session's statements: a state of Howdah, of the server, of the
# protocol. Their tests are elsewhere.
IN_WORDS = {
    *(Reason.NONE, Reason.EXPIRED, Reason.FENCED, Reason.STARTING, Reason.SUSPENDED),
    *(Reason.PAUSED, Reason.CATALOG_LOADING, Reason.CATALOG_UNAVAILABLE, Reason.STANDBY),
    *(Reason.POOLED, Reason.SESSION_UNKNOWN, Reason.PIPELINED, Reason.PORTAL),
    *(Reason.FUNCTIONS_STALE, Reason.PREPARED_STALE, Reason.REPLICATION),
    *(Reason.STATEMENT_TOO_LONG, Reason.UNKNOWN_TYPE, Reason.VIEW, Reason.OPAQUE_TYPES),
    *(Reason.RULE_OFF, Reason.QUARANTINED, Reason.FUNCTION_CALL, Reason.TRANSACTION_OPAQUE),
    *(Reason.UNKNOWN_FUNCTION, Reason.TEMPORARY, Reason.UNSUPPORTED_SYNTAX),
}
SHOWN = [reason for reason in Reason if reason not in IN_WORDS]


@pytest.fixture(scope="module")
def shop(postgres, shared_howdahs):
    database = postgres.create_database(*SCHEMA)
    shared_howdahs.of(postgres).warm(database)
    return database


def statements(reason: Reason) -> list[str]:
    match = re.search(r"`([^`]+)`", reason.example)
    assert match is not None, reason.example
    together = reason is Reason.MULTIPLE_STATEMENTS
    return [match[1]] if together else [s.strip() for s in match[1].split("; ")]


@pytest.mark.parametrize("reason", SHOWN)
def test_the_example_leads_to_the_reason(howdah, shop, reason):
    with howdah.wire(shop) as wire:
        howdah.until_hit(wire)
        *before, last = statements(reason)
        for statement in filter(None, [BEFORE.get(reason), *before]):
            wire.query(statement)
        with howdah.watching() as gained:
            wire.query(last)
    outcomes = {name.partition("/")[2] for name, count in gained.items() if count and "/" in name}
    assert outcomes == {reason.value}, (statements(reason), gained)
