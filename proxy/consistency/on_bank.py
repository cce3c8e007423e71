"""Accounts: transfers between rows, and totals over them in many forms.

What lives here: tables and statements of this workload. What must not: what is a violation
(`bank.py`). Every form of read gives the sum of balances and the number of transfers.
"""

from __future__ import annotations

import asyncio

from proxy.consistency import styles, ways
from proxy.consistency.bank import Bank
from proxy.consistency.cell import Cell, Op, Read, Scene, Writer
from proxy.consistency.context import Context
from proxy.consistency.link import Reply, clock
from proxy.consistency.ways import PAUSE
from proxy.wire.messages import SYNC

ACCOUNTS = 12
START = 1000
# `- ($2)`: as a literal, the amount may have a sign of its own.
_TAKE = "UPDATE {account} SET balance = balance - ($2)::bigint, n = n + 1 WHERE id = $1"
_GIVE = "UPDATE {account} SET balance = balance + ($2)::bigint WHERE id = $1"
_AT_ONCE = (
    "UPDATE {account} SET balance = balance + CASE id WHEN $1 THEN -($3)::bigint"
    " ELSE ($3)::bigint END, n = n + CASE id WHEN $1 THEN 1 ELSE 0 END WHERE id IN ($1, $2)"
)
_READS = {
    "sum": "SELECT sum(balance)::bigint, sum(n)::bigint FROM {account}",
    "rows": "SELECT balance, n FROM {account} ORDER BY id",
    "view": "SELECT balance, n FROM {totals}",
    "join": "SELECT sum(a.balance)::bigint, sum(a.n)::bigint FROM {account} a"
    " JOIN {branch} b ON b.id = a.branch",
    "GROUP BY": "SELECT sum(balance)::bigint, sum(n)::bigint FROM {account}"
    " GROUP BY branch ORDER BY branch",
    "join, GROUP BY": "SELECT sum(a.balance)::bigint, sum(a.n)::bigint FROM {branch} b"
    " LEFT JOIN {account} a ON a.branch = b.id GROUP BY b.name ORDER BY b.name",
    "UNION ALL": "SELECT balance, n FROM {account} WHERE id % 2 = 0"
    " UNION ALL SELECT balance, n FROM {account} WHERE id % 2 = 1",
    "two subqueries": "SELECT (SELECT sum(balance)::bigint FROM {account}),"
    " (SELECT sum(n)::bigint FROM {account})",
    "WITH": "WITH a AS (SELECT balance, n FROM {account}) SELECT sum(balance)::bigint,"
    " sum(n)::bigint FROM a",
    "window": "SELECT DISTINCT (sum(balance) OVER ())::bigint, (sum(n) OVER ())::bigint"
    " FROM {account}",
    "slow sum": "SELECT sum(balance)::bigint, sum(n)::bigint + 0 * (SELECT count(*) FROM"
    " generate_series(1, 20000)) FROM {account}",
}


class Accounts(Cell):
    """One table of accounts in three branches."""

    kind = "bank"

    def __init__(self, context: Context, number: int) -> None:
        super().__init__(context, number)
        names = "account branch totals transfer transfer_pl"
        self.names = {name: f"{context.schema}.{name}_{number}" for name in names.split()}
        self.bank = Bank(self.name, slack=context.slack, total=ACCOUNTS * START)
        self.judges.append(self.bank)
        reads = [
            Read(name, sql.format_map(self.names), (), self._assess) for name, sql in _READS.items()
        ]
        self.scenes = [
            Scene(
                "accounts",
                reads,
                {
                    "transfer: one statement": (self._at_once, 3),
                    "transfer: transaction": (self._transaction, 3),
                    "transfer: one Query": (self._query, 2),
                    "transfer: pipeline": (self._pipeline, 2),
                    "transfer: WITH": (self._with, 2),
                    "transfer: PL/pgSQL": (self._function, 2),
                    "transfer: savepoint": (self._savepoint, 2),
                    "transfer: rollback": (self._rollback, 2),
                    "transfer: account closed": (self._closed, 2),
                },
            )
        ]

    def _assess(self, rows: list[list[int]], reply: Reply, read: str, direct: bool) -> bool:
        total = sum(row[0] for row in rows)
        count = sum(row[1] for row in rows)
        fine: bool = self.tell(self.bank, "read", total, count, reply.begin, reply.end, read)
        return fine

    def _start(self, writer: Writer, path: str) -> tuple[Op, tuple[int, int, int]]:
        self.tell(self.bank, "begin", clock(), path)
        op = Op(
            f"transfer: {path}",
            lambda end: self.tell(self.bank, "commit", end),
            lambda time: self.tell(self.bank, "abort", time),
        )
        # In order of ids, so that two transfers rarely wait for each other for ever.
        one, two = sorted(writer.draw.sample(range(1, ACCOUNTS + 1), 2))
        return writer.begin(op), (one, two, writer.draw.randint(-9, 9))

    def _sql(self, text: str) -> str:
        return text.format_map(self.names)

    async def quiet(self) -> None:
        """How many transfers there are, now that none is on its way."""
        reply = await self.context.ask(self._sql(_READS["sum"]))
        count = int(reply.rows[0][1] or 0)
        bank = self.bank
        missing = count - bank.committed
        for _ in range(missing):
            self.tell(bank, "commit", clock())
        for _ in range(bank.begun - bank.aborted - count):
            self.tell(bank, "abort", clock())

    async def _at_once(self, writer: Writer) -> None:
        op, values = self._start(writer, "one statement")
        reply = await ways.send(writer.link, writer.draw, self._sql(_AT_ONCE), *values)
        writer.done(reply, op)

    async def _both(self, writer: Writer, values: tuple[int, int, int]) -> None:
        one, two, amount = values
        send = writer.draw.choice((styles.simple, styles.extended, styles.prepared))
        await send(writer.link, self._sql(_TAKE), one, amount)
        await send(writer.link, self._sql(_GIVE), two, amount)

    async def _transaction(self, writer: Writer) -> None:
        op, values = self._start(writer, "transaction")
        await styles.simple(writer.link, "BEGIN")
        await self._both(writer, values)
        writer.done(await ways.commit(writer.link, writer.draw), op)

    async def _query(self, writer: Writer) -> None:
        op, (one, two, amount) = self._start(writer, "one Query")
        text = self._sql(_TAKE + "; " + _GIVE.replace("$1", "$3"))
        writer.done(await styles.simple(writer.link, text, one, amount, two), op)

    async def _pipeline(self, writer: Writer) -> None:
        op, (one, two, amount) = self._start(writer, "pipeline")
        batch = styles.unnamed(self._sql(_TAKE), (one, amount))
        batch += styles.unnamed(self._sql(_GIVE), (two, amount))
        writer.done(await writer.link.ask(batch + SYNC), op)

    async def _with(self, writer: Writer) -> None:
        op, (one, two, amount) = self._start(writer, "WITH")
        text = "WITH a AS (" + _TAKE + " RETURNING id) " + _GIVE.replace("$1", "$3")
        writer.done(await styles.extended(writer.link, self._sql(text), one, amount, two), op)

    async def _function(self, writer: Writer) -> None:
        op, values = self._start(writer, "PL/pgSQL")
        text = self._sql("SELECT {transfer_pl}($1, $2, $3)")
        writer.done(await styles.prepared(writer.link, text, *values), op)

    async def _savepoint(self, writer: Writer) -> None:
        op, values = self._start(writer, "savepoint")
        await styles.simple(writer.link, "BEGIN")
        await styles.simple(writer.link, "SAVEPOINT a")
        await styles.simple(writer.link, self._sql("DELETE FROM {account}"))
        await styles.simple(writer.link, "ROLLBACK TO a")
        await self._both(writer, values)
        writer.done(await styles.simple(writer.link, "COMMIT"), op)

    async def _rollback(self, writer: Writer) -> None:
        op, values = self._start(writer, "rollback")
        await styles.simple(writer.link, "BEGIN")
        await self._both(writer, values)
        await asyncio.sleep(PAUSE)
        reply = await styles.simple(writer.link, "ROLLBACK")
        writer.aborted(reply.end, op)

    async def _closed(self, writer: Writer) -> None:
        """The account goes with all it has to another one, and is opened again."""
        op, (one, two, _) = self._start(writer, "account closed")
        link = writer.link
        await styles.simple(link, "BEGIN")
        # Else somebody who waits for the old row would update nothing, as READ COMMITTED has it.
        await styles.simple(link, self._sql("LOCK {account} IN SHARE ROW EXCLUSIVE MODE"))
        move = (
            "WITH d AS (DELETE FROM {account} WHERE id = $1 RETURNING balance, n)"
            " UPDATE {account} a SET balance = a.balance + d.balance, n = a.n + d.n + 1"
            " FROM d WHERE a.id = $2"
        )
        moved = await styles.simple(link, self._sql(move), one, two)
        writer.complain(moved, op.path)
        await styles.simple(link, self._sql("INSERT INTO {account} VALUES ($1, $1 % 3, 0, 0)"), one)
        writer.done(await styles.simple(link, "COMMIT"), op)

    def schema(self) -> list[str]:
        """Accounts, branches, a view and a function."""
        return [self._sql(text) for text in _SCHEMA]


_SCHEMA = (
    "CREATE TABLE {branch} (id int PRIMARY KEY, name text)",
    "INSERT INTO {branch} SELECT i, 'branch ' || i FROM generate_series(0, 2) i",
    "CREATE TABLE {account} (id int PRIMARY KEY, branch int REFERENCES {branch},"
    " balance bigint NOT NULL, n bigint NOT NULL)",
    f"INSERT INTO {{account}} SELECT i, i % 3, {START}, 0 FROM generate_series(1, {ACCOUNTS}) i",
    "CREATE VIEW {totals} AS SELECT sum(balance)::bigint AS balance, sum(n)::bigint AS n"
    " FROM {account}",
    "CREATE FUNCTION {transfer_pl}(one int, two int, amount bigint) RETURNS void"
    " LANGUAGE plpgsql AS $f$ BEGIN"
    " UPDATE {account} SET balance = balance - amount, n = n + 1 WHERE id = one;"
    " UPDATE {account} SET balance = balance + amount WHERE id = two; END $f$",
)
