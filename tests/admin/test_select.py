"""Filters choose and order rows as PostgreSQL does: the same text, the same rows.

Every clause runs over one table in PostgreSQL and over the same rows as a view. Errors have
PostgreSQL's SQLSTATE, too.
"""

from __future__ import annotations

import random
from typing import Any, cast

import psycopg
import pytest

from proxy.admin.select import prepare, select
from proxy.admin.views import Column, House, View
from proxy.errors import HowdahError

ROWS: list[tuple[Any, ...]] = [
    (1, "select a", "hit", 5, 0.5, True),
    (2, "SELECT b_c FROM t", "miss", None, 1.25, False),
    (3, None, "bypass", 0, None, None),
    (4, "a%b", "bypass", -7, -0.5, True),
    (5, "", "hit", 9_000_000_000, 2.0, False),
    (6, "line one\nline two", None, 5, 0.0, None),
    (7, "Zebra\\x", "write", 12, 3.5, True),
    (8, "élan", "write", 7, 1e10, False),
]
COLUMNS = (
    Column("id", "int8", "number"),
    Column("query", "text", "text"),
    Column("outcome", "text", "word"),
    Column("calls", "int8", "count"),
    Column("seconds", "float8", "time"),
    Column("good", "bool", "yes or no"),
)
VIEW = View("things", "Things.", COLUMNS, lambda house: ROWS)
NOBODY = cast(House, None)

CLAUSES = """
WHERE outcome = 'bypass' ORDER BY calls LIMIT 20
WHERE outcome <> 'bypass' ORDER BY calls DESC, id
WHERE outcome != 'hit' ORDER BY id
ORDER BY calls, id
ORDER BY calls DESC, id DESC
ORDER BY calls NULLS FIRST, id
ORDER BY calls DESC NULLS LAST, id
ORDER BY 4, 1
ORDER BY query, id
ORDER BY good, seconds DESC, id
ORDER BY calls + 1, id
ORDER BY id LIMIT 3 OFFSET 2
ORDER BY id OFFSET 6
ORDER BY id LIMIT ALL
ORDER BY id LIMIT NULL
ORDER BY id LIMIT 0
ORDER BY id FETCH FIRST 2 ROWS ONLY
(id, calls) WHERE calls > 4 ORDER BY id
(calls, id, calls) ORDER BY id
(calls AS n, id) ORDER BY n, id
(seconds AS calls, id) ORDER BY calls, id
(*) WHERE id = 1
WHERE calls > 4.5 ORDER BY id
WHERE calls > '4' ORDER BY id
WHERE calls = 9000000000
WHERE seconds >= 1 ORDER BY id
WHERE seconds = '1.25'
WHERE seconds < calls ORDER BY id
WHERE calls BETWEEN 5 AND 12 ORDER BY id
WHERE calls NOT BETWEEN 5 AND 12 ORDER BY id
WHERE calls IN (5, 7) ORDER BY id
WHERE calls NOT IN (5, 7) ORDER BY id
WHERE calls NOT IN (5, NULL) ORDER BY id
WHERE outcome IN ('hit', 'write') ORDER BY id
WHERE calls IS NULL
WHERE calls IS NOT NULL ORDER BY id
WHERE outcome = NULL
WHERE good ORDER BY id
WHERE NOT good ORDER BY id
WHERE good IS NOT TRUE ORDER BY id
WHERE good IS FALSE ORDER BY id
WHERE good IS NOT FALSE ORDER BY id
WHERE good = 'yes' ORDER BY id
WHERE good AND calls > 0 OR outcome = 'miss' ORDER BY id
WHERE NOT (good AND calls > 0) ORDER BY id
WHERE calls IS DISTINCT FROM 5 ORDER BY id
WHERE calls IS NOT DISTINCT FROM NULL
WHERE query LIKE 'select%'
WHERE query ILIKE 'SELECT%' ORDER BY id
WHERE query NOT LIKE '%a%' ORDER BY id
WHERE query NOT ILIKE '%A%' ORDER BY id
WHERE query LIKE 'a\\%b'
WHERE query LIKE '%\\\\x'
WHERE query LIKE '_lan'
WHERE query LIKE '%one%two'
WHERE query LIKE ''
WHERE query ~ '^select'
WHERE query ~* '^select' ORDER BY id
WHERE query !~ 'a' ORDER BY id
WHERE query !~* 'A' ORDER BY id
WHERE query ~ 'b_c|two$' ORDER BY id
WHERE query ~ '^[a-z]+ [[:alpha:]]$'
WHERE query ~ 'one.line'
WHERE query ~ '(e.){2}'
WHERE query ~ '\\w%\\w'
WHERE calls - id > 2 ORDER BY id
WHERE calls * 2 = 10 ORDER BY id
WHERE calls / 2 = -3
WHERE seconds / 2 > 0.5 ORDER BY id
WHERE -calls < 0 ORDER BY id
WHERE calls::float8 > 6.5 ORDER BY id
WHERE calls::text = '12'
WHERE seconds::int8 = 2 ORDER BY id
WHERE seconds::bigint = 0 ORDER BY id
WHERE id = '3'::bigint
WHERE things.id = 3
WHERE true AND id < 3 ORDER BY id
WHERE 'a' < 'b' AND id = 1
WHERE 1 = 1.0 AND id = 1
WHERE NULL
WHERE query < 'a' ORDER BY id
WHERE query > 'Z' ORDER BY id
""".strip().splitlines()

WRONG = """
WHERE
WHERE calls >
WHERE outcome = bypass
WHERE things.nothing = 1
(nothing)
ORDER BY nothing
ORDER BY 7
ORDER BY 0
WHERE outcome = 1
WHERE calls = 'x'
WHERE calls = '99999999999999999999'
WHERE good = 'perhaps'
WHERE good = 1
WHERE calls
WHERE seconds = 'x'
WHERE query LIKE 'a\\'
WHERE query ~ '('
WHERE query ~ '['
WHERE query ~ 'a**'
WHERE query ~ '*a'
WHERE query ~ 'a{3,2}'
WHERE calls LIKE '5'
WHERE 1 / calls > 0
WHERE calls * 9000000000000000000 > 0
LIMIT -1
OFFSET -1
LIMIT 'x'
LIMIT id
OFFSET calls + 1
WHERE seconds * '1e308'::float8 > 0
WHERE good::float8 > 0
WHERE query::int8 > 0
""".strip().splitlines()


@pytest.fixture(scope="module")
def table(pg18):
    """A cursor in a database with `ROWS` as the table `things`."""
    name = pg18.create_database()
    with pg18.connect(name) as link:
        collated = {"text": 'text COLLATE "C"'}
        columns = ", ".join(f"{c.name} {collated.get(c.type, c.type)}" for c in COLUMNS)
        link.execute(f"CREATE TABLE things ({columns})")
        marks = ", ".join(["%s"] * len(COLUMNS))
        with link.cursor() as cursor:
            cursor.executemany(f"INSERT INTO things VALUES ({marks})", ROWS)
        with psycopg.ClientCursor(link) as cursor:
            yield cursor


def told(cursor, clause):
    """PostgreSQL's rows, or its SQLSTATE."""
    names = "*"
    if clause.startswith("("):
        names, _, clause = clause[1:].partition(")")
    try:
        return cursor.execute(f"SELECT {names} FROM things {clause}").fetchall()
    except psycopg.Error as error:
        cursor.connection.rollback()
        return error.sqlstate


def chosen(clause):
    """Ours."""
    try:
        return select(VIEW, NOBODY, clause)[1]
    except HowdahError as error:
        return error.sqlstate


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_same_rows(table, clause):
    rows = told(table, clause)
    assert isinstance(rows, list), "PostgreSQL refuses the clause: the test is wrong"
    assert chosen(clause) == rows


@pytest.mark.parametrize("clause", WRONG)
def test_the_same_errors(table, clause):
    state = told(table, clause)
    assert isinstance(state, str), "PostgreSQL finds nothing wrong: the test is wrong"
    assert chosen(clause) == state


def _condition(draw: random.Random, depth: int = 0) -> str:
    """A random condition over `things`."""
    if depth < 3 and draw.random() < 0.5:
        inner = _condition(draw, depth + 1)
        if draw.random() < 0.3:
            return f"NOT ({inner})"
        return f"({inner} {draw.choice(['AND', 'OR'])} {_condition(draw, depth + 1)})"
    sign = draw.choice(["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"])
    number = draw.choice(["0", "5", "-7", "2.5", "NULL", "calls", "seconds", "id", "id + 4"])
    match draw.randrange(6):
        case 0:
            return f"{draw.choice(['calls', 'seconds', 'id'])} {sign} {number}"
        case 1:
            return f"{draw.choice(['query', 'outcome'])} {sign} '{draw.choice('abhmwzZ')}'"
        case 2:
            pattern = draw.choice(["%a%", "_e%", "S%", "%\n%", "", "%", "_", "%l_n_"])
            return f"query {draw.choice(['', 'NOT '])}{draw.choice(['', 'I'])}LIKE '{pattern}'"
        case 3:
            atoms = draw.choices(["a", "b", ".", "[^a-m]", "(e|l)", "\\s", "^", "$"], k=3)
            tails = draw.choices(["", "*", "+", "?", "{2}"], weights=[5, 1, 1, 1, 1], k=3)
            pattern = "".join(
                atom + ("" if atom in "^$" else tail)
                for atom, tail in zip(atoms, tails, strict=True)
            )
            return f"query {draw.choice(['~', '~*', '!~', '!~*'])} '{pattern}'"
        case 4:
            column = draw.choice(["calls", "query", "outcome", "good", "seconds"])
            return f"{column} IS {draw.choice(['', 'NOT '])}NULL"
        case _:
            return draw.choice(
                ["good", "good IS TRUE", "good IS NOT FALSE", f"calls IN (5, {number})"]
            )


@pytest.mark.parametrize("seed", range(10))
def test_random_conditions(table, seed):
    draw = random.Random(seed)
    for _ in range(60):
        clause = f"(id) WHERE {_condition(draw)} ORDER BY id"
        assert chosen(clause) == told(table, clause), clause


@pytest.mark.parametrize(
    ("clause", "values"),
    [
        ("WHERE calls = $1 ORDER BY id", [5]),
        ("WHERE outcome = $1 AND calls > $2 ORDER BY id", ["hit", 1]),
        ("WHERE query ILIKE $1 ORDER BY id", ["%SELECT%"]),
        ("WHERE good = $1 ORDER BY id LIMIT $2 OFFSET $3", [True, 1, 1]),
        ("WHERE seconds > $1 ORDER BY id", [1.5]),
        ("WHERE calls = $1", [None]),
        ("WHERE calls IN ($1, $2) ORDER BY id", [5, 12]),
        ("WHERE $1 = calls AND calls = $1 ORDER BY id", [5]),
    ],
)
def test_parameters(table, clause, values):
    selection = prepare(VIEW, clause)
    prepared = f"SELECT * FROM things {clause}"
    table.execute(f"PREPARE asked AS {prepared}")
    types = table.execute(
        "SELECT parameter_types::text[] FROM pg_prepared_statements WHERE name = 'asked'"
    ).fetchone()[0]
    names = {"bigint": "int8", "double precision": "float8", "boolean": "bool", "text": "text"}
    assert [names[each] for each in types] == list(selection.parameters)
    marks = ", ".join(["%s"] * len(values))
    rows = table.execute(f"EXECUTE asked ({marks})", values).fetchall()
    table.execute("DEALLOCATE asked")
    assert selection.rows(NOBODY, values) == rows
    # As text, too: drivers send them so.
    texts = [value if value is None else str(value).lower() for value in values]
    if "ILIKE" not in clause:
        assert selection.rows(NOBODY, texts) == rows
