"""HTTP under what nobody should send, and what it must not tell."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fix_howdah import Howdah, check, upstream_url
from tests.fix_pg import PostgresServer
from tests.fix_tools import eventually
from tests.fix_wire import Wire, query, rows

SECRET = "s3kr1t"
PAGES = ("api/state", "api/series", "metrics", "readyz")


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer) -> Iterator[Howdah]:
    """A Howdah that logs all it can, and whose own role has a password."""
    url = upstream_url(postgres).replace("howdah@", f"howdah:{SECRET}@")
    flags = ["--admin-roles", "postgres", "--max-age", "1h", "--log-level", "debug"]
    howdah = Howdah(url, *flags, "--log-statements", "all").start()
    yield howdah
    howdah.destroy()


@pytest.fixture
def asked(shared: Howdah) -> Iterator[Howdah]:
    start = len(shared.log)
    yield shared
    check(shared, start)
    assert shared.alive


def ask(
    howdah: Howdah, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case and body."""
    link = http.client.HTTPConnection(howdah.http, timeout=20)
    try:
        link.request(method, path, body, headers)
        answer = link.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read()
    finally:
        link.close()


def views(howdah: Howdah) -> dict[str, list[dict[str, Any]]]:
    """All rows of all views."""
    found: dict[str, list[dict[str, Any]]] = {}
    for view in json.loads(howdah.get("/api/show")[1])["views"]:
        status, body = howdah.get(f"/api/show/{view['name']}")
        assert status == 200, body
        names = [column["name"] for column in view["columns"]]
        table = json.loads(body)["rows"]
        found[view["name"]] = [dict(zip(names, row, strict=True)) for row in table]
    return found


def login(howdah: Howdah, **parameters: bytes) -> Wire:
    """A connection that has sent a StartupMessage of these bytes."""
    body = struct.pack("!I", 196608)
    for name, value in parameters.items():
        body += name.encode() + b"\0" + value + b"\0"
    wire = Wire(howdah.address)
    wire.send(struct.pack("!I", len(body) + 5) + body + b"\0")
    return wire


# --- what clients call themselves ---------------------------------------------------


def test_names_in_no_encoding_break_no_page(asked):
    # They wait for their passwords.
    odd = login(asked, user=b"user_scram", database=b"\xff<b>", application_name=b"\xfe")
    desk = login(asked, user=b"user_scram", database=b"howdah", application_name=b"\xfe")
    with odd, desk:
        assert odd.frame().kind == desk.frame().kind == "R"
        found = views(asked)
        states = {row["state"]: row for row in found["clients"]}
        assert states["login"]["database"] == "?<b>"
        assert states["console"]["role"] == "user_scram"
        fences = {row["owner"].split()[0]: row for row in found["fences"]}
        assert (fences["console"]["database"], fences["console"]["tables"]) == ("postgres", None)
        assert (fences["session"]["database"], fences["session"]["tables"]) == (None, None)
        assert ask(asked, "GET", "/api/state")[0] == 200
        assert ask(asked, "GET", "/readyz")[0] == 200
        assert ask(asked, "GET", "/metrics")[0] == 200
    eventually(lambda: asked.count("clients") == 0)


# --- requests ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"sql": "SELECT \\ud800 FROM probe", "database": "postgres"}', 200, "decision"),
        (b'{"sql": "SELECT 1", "database": "postgres", "role": "\\udcff"}', 200, "decision"),
        (b'{"sql": "SELECT 1", "database": "\\udcff"}', 400, "no client has been in a database"),
        (b'{"sql": "x", "\\udcff": 1}', 400, "unknown parameter"),
        (b'{"sql": "x", "role": %s}' % (b"9" * 5_000), 400, "not JSON"),
        (b"[" * 100_000, 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"sql": NaN}', 400, "the text"),
        (json.dumps({"sql": "SELECT 1" + "+1" * 50_000}).encode(), 413, "65536 characters"),
        (b" " * (2 << 20), 413, "too long"),
    ],
    ids=["text", "role", "database", "key", "number", "deep", "bytes", "nan", "long", "longer"],
)
def test_every_body_has_an_answer(asked, body, status, words):
    found, headers, answer = ask(asked, "POST", "/api/explain", body)
    assert found == status, answer
    assert headers["content-type"] == "application/json"
    assert words in answer.decode()


@pytest.mark.parametrize(
    ("where", "status"),
    [
        (f"hits = {'9' * 5_000}", 400),
        ("hits < 0xFFFFFFFFFF", 200),
        ("hits < 1_000_000_000_000", 200),
        ("hits = $1", 400),
        ("hits = 1; SELECT 1", 400),
        ("NOT " * 2_400 + "hits = 1", 400),
        (f"hits{'+1' * 4_000} > 0", 400),
        (f"{'(' * 4_000}hits = 1{')' * 4_000}", 200),
        ("\0", 400),
        ("\ud800".encode("utf-8", "surrogatepass"), 400),
    ],
    ids=["digits", "hex", "under", "parameter", "two", "nots", "plus", "parens", "zero", "half"],
)
def test_every_filter_has_an_answer(asked, where, status):
    path = f"/api/show/cache?{urllib.parse.urlencode({'where': where})}"
    found, _, answer = ask(asked, "GET", path)
    assert found == status, answer
    assert ("error" in json.loads(answer)) is (status != 200)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "NONSENSE"])
def test_other_methods_do_nothing_and_say_so(asked, method):
    for path in ("/api/state", "/api/explain"):
        status, headers, answer = ask(asked, method, path)
        assert (status, headers["content-type"]) == (405, "application/json")
        assert json.loads(answer) == {"error": "Method Not Allowed"}
        assert not any(name.startswith("access-control") for name in headers)
    assert ask(asked, method, "/")[0] == 405
    assert ask(asked, "HEAD", "/api/state")[2] == b""


def test_a_body_that_never_ends_leaves_no_trace(asked):
    host, _, port = asked.http.rpartition(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as link:
            head = b"POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
            link.sendall(head)
    assert ask(asked, "GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9432", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:9432", 200),
        ("10.1.2.3", 200),
        ("howdah:9432", 200),
        ("dashboard.localhost", 200),
        ("evil.example", 403),
        ("evil.example.:9432", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("evil.example@127.0.0.1", 403),
        ("[::1].evil.example", 403),
    ],
)
def test_a_strangers_name_for_this_machine_is_refused(asked, name, status):
    for path in ("/", "/static/app.js", "/api/state", "/api/show/queries"):
        assert ask(asked, "GET", path, Host=name)[0] == status
    found, _, answer = ask(asked, "POST", "/api/explain", "{}", Host=name)
    assert found == (400 if status == 200 else 403)
    assert status == 200 or "localhost" in json.loads(answer)["hint"]
    # Prometheus and probes come by whatever name they were told.
    for path in ("/metrics", "/healthz", "/readyz"):
        assert ask(asked, "GET", path, Host=name)[0] == 200


# --- what is told -----------------------------------------------------------------


def test_few_hits_are_timed_however_often_somebody_looks(asked, postgres):
    database = postgres.create_database()
    with asked.wire(database) as wire:
        asked.until_hit(wire)
        with asked.wire("howdah") as desk:
            desk.query("RESET STATS")
        for _ in range(3):
            assert asked.is_hit(wire, "SELECT v FROM public.probe WHERE id = 1")
    (row,) = (row for row in views(asked)["stats"] if row["outcome"] == "hit")
    assert row["statements"] == 3
    assert row["mean_seconds"] > 1e-7


def test_no_secret_of_a_statement_is_told(asked, postgres):
    database = postgres.create_database()
    asked.warm(database)
    start = len(asked.log)
    texts = [
        f"CREATE ROLE {database} PASSWORD '{SECRET}'",
        f"ALTER ROLE {database} PASSWORD $x${SECRET}$x$",
        f"ALTER ROLE {database} SET my.key = '{SECRET}'",
        f"SELECT '{SECRET}', E'{SECRET}\\n', U&'{SECRET}' FROM probe /* {SECRET} */",
        f"SELECT 1 FROM probe -- {SECRET}",
        f"PREPARE p AS SELECT '{SECRET}'",
        f"EXECUTE p('{SECRET}')",
        f"COMMENT ON TABLE probe IS '{SECRET}'",
        f"CREATE TABLE kept (a text DEFAULT '{SECRET}')",
        f"DO $$ BEGIN PERFORM '{SECRET}'; END $$",
        f"SET my.key = '{SECRET}'",
        f"SELEC '{SECRET}'",
        f"NOTIFY a, '{SECRET}'",
        f"EXPLAIN CACHE SELECT '{SECRET}' FROM probe",
        f"SELECT 1; SELECT '{SECRET}'",
        f"CREATE USER MAPPING FOR PUBLIC SERVER x OPTIONS (password '{SECRET}')",
    ]
    with asked.wire(database) as wire, asked.wire(database) as writer:
        for text in texts:
            wire.query(text)
            wire.extended(text)
        wire.extended("SELECT v FROM probe WHERE id::text = $1", [SECRET.encode()])
        writer.query("BEGIN")
        writer.query("LOCK TABLE probe")
        wire.send(query(f"UPDATE probe SET v = 1 WHERE '{SECRET}' <> ''"))
        update = "UPDATE probe SET v = $1 WHERE $2 <> $3"
        eventually(lambda: update in [row["statement"] for row in views(asked)["fences"]])
        pages = [json.dumps(views(asked)), *(asked.get(f"/{page}")[1] for page in PAGES)]
        writer.query("COMMIT")
        wire.until()
        wire.query(f"DROP ROLE {database}")
    with asked.wire("howdah") as desk:
        pages += [str(rows(desk.query(f"SHOW {view}"))) for view in views(asked)]
    assert not [page for page in pages if SECRET in page]
    assert SECRET not in asked.log[start:]
    assert SECRET not in asked.log[:start]
