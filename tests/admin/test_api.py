"""The API of a running Howdah, after statements of which everything is known."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

import psycopg
import pytest

from tests.fix_tools import eventually
from tests.fix_wire import SYNC, Frame, bind, errors, execute, parse, tags


class Asking:
    """`state()`, `rows(view, ...)` as dicts, `get(path, ...)` and `explain(...)`."""

    def __init__(self, howdah) -> None:
        self.howdah = howdah

    def get(self, path: str, **query: str) -> tuple[int, Any]:
        tail = f"?{urllib.parse.urlencode(query)}" if query else ""
        status, body = self.howdah.get(f"/api/{path}{tail}")
        return status, json.loads(body)

    def state(self) -> dict[str, Any]:
        status, found = self.get("state")
        assert status == 200
        return found

    def rows(self, view: str, **query: str) -> list[dict[str, Any]]:
        status, found = self.get(f"show/{view}", **query)
        assert status == 200, found
        names = [column["name"] for column in found["columns"]]
        return [dict(zip(names, row, strict=True)) for row in found["rows"]]


@pytest.fixture
def asking(start_howdah) -> Asking:
    return Asking(start_howdah("--max-age", "1h"))


@pytest.fixture
def client(asking, database):
    """A session that may be answered from memory, of which nothing was counted yet."""
    with psycopg.connect(
        asking.howdah.dsn(database, application_name="shop"), autocommit=True
    ) as link:

        def hit() -> bool:
            with asking.howdah.watching() as gained:
                link.execute("SELECT count(*) FROM probe").fetchall()
            return gained["hits"] == 1

        eventually(hit, what="hit")
        yield link


def shape(asking, text: str) -> dict[str, Any]:
    (row,) = asking.rows("queries", where=f"query = '{text}'")
    return row


def test_a_query_from_miss_to_eviction(asking, client, database):
    before = asking.state()
    for _ in range(5):
        client.execute("SELECT v FROM probe WHERE id = 3").fetchall()
    client.execute("SELECT v FROM probe WHERE id = 4").fetchall()
    row = shape(asking, "SELECT v FROM probe WHERE id = $1")
    assert (row["database"], row["calls"], row["hits"], row["misses"]) == (database, 6, 4, 2)
    assert (row["outcome"], row["reason"]) == ("miss", "not_cached")
    assert (row["rows"], row["errors"], row["entries"], row["evicted"]) == (6, 0, 2, 0)
    assert row["relations"] == "public.probe"
    assert row["roles"] == "postgres"
    assert row["saved_seconds"] > 0
    assert row["spent_seconds"] > 0
    assert row["last_seconds"] >= 0
    after = asking.state()
    assert after["outcomes"]["hit"] - before["outcomes"]["hit"] == 4
    assert after["outcomes"]["miss"] - before["outcomes"]["miss"] == 2
    assert after["entries"] == before["entries"] + 2
    assert (after["ready"], after["cache"], after["contract"]) == (True, "on", "proxied")

    client.execute("UPDATE probe SET v = v + 1 WHERE id = 3")
    row = shape(asking, "SELECT v FROM probe WHERE id = $1")
    assert (row["entries"], row["evicted"]) == (0, 2)
    (table,) = asking.rows("tables", where=f"name = 'public.probe' AND database = '{database}'")
    assert (table["entries"], table["queries"], table["writes"]) == (0, 2, 1)
    # The count of the fixture, too.
    assert (table["evicted"], table["evicted_per_write"]) == (3, 3.0)
    assert table["last_writer"].endswith(": UPDATE probe SET v = v + $1 WHERE id = $2")
    assert table["fences"] == 0
    assert {"cause": "write", "entries": 3} in asking.rows("evictions")


def test_why_not(asking, client):
    for _ in range(3):
        client.execute("SELECT v, now() FROM probe WHERE id = 3").fetchall()
    with pytest.raises(psycopg.Error):
        client.execute("SELECT v / 0 FROM probe")
    (row,) = asking.rows("queries", where="outcome = 'bypass' AND reason = 'clock'")
    assert (row["bypassed"], row["errors"]) == (3, 0)
    (row,) = asking.rows("queries", where="errors > 0")
    assert row["query"] == "SELECT v / $1 FROM probe"
    (row,) = asking.rows("reasons", where="reason = 'clock'")
    assert (row["statements"], row["outcome"]) == (3, "bypass")
    found = asking.state()["reasons"]
    assert [each["count"] for each in found if each["reason"] == "clock"] == [3]


def test_who_is_connected(asking, client, database):
    (pid,) = client.execute("SELECT pg_backend_pid()").fetchone()
    client.execute("BEGIN")
    client.execute("INSERT INTO probe VALUES (100, 1)")
    (row,) = asking.rows("clients")
    assert (row["database"], row["role"], row["application_name"]) == (database, "postgres", "shop")
    assert (row["backend_pid"], row["transaction"]) == (pid, "open")
    assert (row["state"], row["why_not"]) == ("idle", "transaction_writes")
    assert row["hits"] >= 1
    assert row["statements"] > row["hits"]
    assert row["address"].startswith("127.0.0.1:")
    client.execute("ROLLBACK")
    (row,) = asking.rows("clients")
    assert (row["transaction"], row["why_not"]) == ("none", None)
    (row,) = asking.rows("upstreams", where="kind = 'client'")
    assert (row["backend_pid"], row["database"]) == (pid, database)
    assert (asking.state()["clients"], asking.state()["upstreams"]) == (1, 1)


def test_a_fence_is_seen_while_the_write_waits(asking, client, database, postgres):
    with postgres.connect(database) as holder:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE probe")
        with psycopg.connect(asking.howdah.dsn(database)) as writer:
            # The bare protocol: psycopg would wait for the answer.
            writer.pgconn.send_query(b"UPDATE probe SET v = 7 WHERE id = 1")
            writer.pgconn.flush()
            (fence,) = eventually(lambda: asking.rows("fences", where="cause = 'write'"))
            assert (fence["database"], fence["tables"]) == (database, "public.probe")
            assert fence["statement"] == "UPDATE probe SET v = $1 WHERE id = $2"
            assert fence["age_seconds"] >= 0
            (row,) = asking.rows("clients", where="state = 'active'")
            assert fence["owner"].endswith(str(row["id"]))
            (table,) = asking.rows("tables", where="name = 'public.probe'")
            assert table["fences"] == 1
            holder.execute("ROLLBACK")
            while writer.pgconn.get_result() is not None:
                pass
    assert asking.rows("fences") == []


def test_what_it_is_and_how_it_is_set_up(asking, client, database):
    settings = {row["name"]: row for row in asking.rows("config")}
    assert (settings["max_age"]["value"], settings["max_age"]["source"]) == ("1h", "--max-age")
    contract = {row["name"]: row["value"] for row in asking.rows("contract")}
    assert (contract["contract"], contract["max_age"]) == ("proxied", "3600 s")
    assert contract["server"].isdigit()
    (row,) = asking.rows("databases", where=f"name = '{database}'")
    assert (row["catalog"], row["problem"]) == ("read", None)
    assert row["tables"] > 100
    assert row["contexts"] >= 1
    (row,) = asking.rows("version")
    assert row["uptime_seconds"] > 0


def test_a_statement_is_explained(asking, client, database):
    body = json.dumps({"sql": "SELECT v, now() FROM probe", "database": database, "role": "alice"})
    status, found = post(asking, "explain", body)
    assert status == 200, found
    assert "clock" in json.dumps(found)
    status, found = post(asking, "explain", "{}")
    assert status == 400
    assert "sql" in found["error"]


def post(asking, path: str, body: str) -> tuple[int, Any]:
    link = http.client.HTTPConnection(asking.howdah.http, timeout=10)
    try:
        link.request("POST", f"/api/{path}", body, {"content-type": "application/json"})
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        link.close()


def test_each_statement_of_a_batch_is_counted_as_its_own(asking, database):
    """Rows belong to the statement that gave them, an error to the one that failed."""
    one, three = "SELECT v, random() FROM probe WHERE id = 1", "SELECT 1 / $1::int FROM probe"
    with asking.howdah.wire(database) as wire:
        asking.howdah.until_hit(wire)

        def batch(divisor: bytes) -> list[Frame]:
            plain = parse(one) + bind() + execute()
            return wire.ask(plain, parse(three), bind([divisor]), execute(limit=0), plain, SYNC)

        count = int(wire.rows("SELECT count(*) FROM probe")[0][0])
        assert tags(batch(b"1")) == ["SELECT 1", f"SELECT {count}", "SELECT 1"]
        assert errors(batch(b"0")) == ["22012"]
    first = shape(asking, "SELECT v, random() FROM probe WHERE id = $1")
    second = shape(asking, "SELECT $2 / $1::int FROM probe")
    assert (first["calls"], first["rows"], first["errors"]) == (4, 3, 0)
    assert (second["calls"], second["rows"], second["errors"]) == (2, count, 1)
