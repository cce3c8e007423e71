"""Rows that move between tags: WHERE, IN, ranges, LIMIT, EXISTS, counts.

What lives here: tables and statements of this workload. What must not: what is a violation
(`rows.py`). Each row belongs to one writer, who moves it to another tag or to a place far
away in a range, with a new version each time.
"""

from __future__ import annotations

import asyncio

from proxy.consistency import styles, ways
from proxy.consistency.cell import Cell, Op, Read, Scene, Writer
from proxy.consistency.context import Context
from proxy.consistency.link import Reply, clock
from proxy.consistency.rows import Predicate, Rows
from proxy.consistency.styles import Value
from proxy.consistency.ways import PAUSE

ROWS = 10
TAGS = 4
_ALL = "SELECT id, tag, v FROM {row} ORDER BY id"
# The rows are those of the beginning, although the answer comes milliseconds later.
_SLOW = " WHERE v >= 0 * (SELECT count(*) FROM generate_series(1, 20000)) ORDER BY id"
_MOVE = "UPDATE {row} SET tag = $2, v = $3 WHERE id = $1"


def _equal(tag: int) -> Predicate:
    return lambda found: found == tag


def _other(tag: int) -> Predicate:
    return lambda found: found != tag


def _among(*tags: int) -> Predicate:
    return lambda found: found in tags


def _below(tag: int) -> Predicate:
    return lambda found: found < tag


def _any(found: int) -> bool:
    return True


class Moving(Cell):
    """One table of rows with tags."""

    kind = "rows"

    def __init__(self, context: Context, number: int) -> None:
        super().__init__(context, number)
        names = "row one move all_ids"
        self.names = {name: f"{context.schema}.{name}_{number}" for name in names.split()}
        self.rows = Rows(self.name, slack=context.slack)
        self.judges.append(self.rows)
        for row in range(ROWS):
            self.rows.add(row % TAGS)
        paths = {
            "move: one statement": (self._plain, 4),
            "move: transaction": (self._transaction, 3),
            "move: two rows": (self._two, 3),
            "move: DELETE and INSERT": (self._again, 2),
            "move: function": (self._function, 2),
            "move: rollback": (self._rollback, 2),
            "move: all of my rows": (self._mine, 2),
        }
        self.scenes = [Scene("tags", self._reads(), paths)]

    # reads

    def _shown(
        self, name: str, where: str, accepts: Predicate, *values: Value, limit: int | None = None
    ) -> Read:
        sql = "SELECT id, tag, v FROM {row}" + where

        def assess(rows: list[list[int]], reply: Reply, read: str, direct: bool) -> bool:
            answer = [(row[0], row[1], row[2]) for row in rows]
            fine: bool = self.tell(
                *(self.rows, "read", answer, accepts, reply.begin, reply.end),
                limit=limit,
                read=read,
                direct=direct,
            )
            return fine

        return Read(name, sql.format_map(self.names), values, assess)

    def _reads(self) -> list[Read]:
        union = " UNION ALL ".join(
            f"SELECT id, tag, v FROM {{row}} WHERE tag = {tag}" for tag in range(TAGS)
        ).removeprefix("SELECT id, tag, v FROM {row}")
        reads = [
            self._shown("all", " ORDER BY id", _any),
            self._shown("union of all tags", union, _any),
            self._shown("slow", _SLOW, _any),
            self._shown("slow", _SLOW, _any),
            self._shown("view", " WHERE id IN (SELECT id FROM {one}) ORDER BY id", _any),
        ]
        for tag in range(TAGS):
            reads += [
                self._shown("WHERE tag =", " WHERE tag = $1 ORDER BY id", _equal(tag), tag),
                self._shown("range", " WHERE tag < $1 ORDER BY id", _below(tag), tag),
                self._shown(
                    "LIMIT", " WHERE tag = $1 ORDER BY id LIMIT 2", _equal(tag), tag, limit=2
                ),
                self._shown(
                    "IN",
                    " WHERE tag IN ($1, $2) ORDER BY id",
                    _among(tag, (tag + 1) % TAGS),
                    *(tag, (tag + 1) % TAGS),
                ),
                self._ids("EXISTS", "EXISTS", _equal(tag), tag),
                self._ids("NOT EXISTS", "NOT EXISTS", _other(tag), tag),
                self._count("count", _equal(tag), tag),
            ]
        return reads

    def _ids(self, name: str, exists: str, accepts: Predicate, tag: int) -> Read:
        sql = (
            f"SELECT a.id FROM {{all_ids}} a WHERE {exists} (SELECT 1 FROM {{row}} r"
            " WHERE r.id = a.id AND r.tag = $1) ORDER BY a.id"
        )

        def assess(rows: list[list[int]], reply: Reply, read: str, direct: bool) -> bool:
            ids = [row[0] for row in rows]
            return self.rows.read_ids(ids, accepts, reply.begin, reply.end, read)

        return Read(name, sql.format_map(self.names), (tag,), assess)

    def _count(self, name: str, accepts: Predicate, tag: int) -> Read:
        def assess(rows: list[list[int]], reply: Reply, read: str, direct: bool) -> bool:
            return self.rows.read_count(rows[0][0], accepts, reply.begin, reply.end, read)

        sql = "SELECT count(*) FROM {row} WHERE tag = $1"
        return Read(name, sql.format_map(self.names), (tag,), assess)

    # writes

    def _start(self, writer: Writer, path: str, row: int) -> tuple[Op, tuple[int, int, int]]:
        tag = writer.draw.randrange(TAGS)
        version: int = self.tell(self.rows, "begin", row, tag, clock(), path)
        outside = writer.outside

        async def probe() -> bool:
            sql = "SELECT v FROM {row} WHERE id = $1".format_map(self.names)
            reply = await self.context.ask(sql, row)
            return bool(reply.rows) and int(reply.rows[0][0] or -1) >= version

        op = Op(
            f"move: {path}",
            lambda end: self.tell(self.rows, "commit", row, version, end, outside),
            lambda time: self.tell(self.rows, "abort", row, version, time),
            probe,
        )
        return writer.begin(op), (row, tag, version)

    def _mine_of(self, writer: Writer, count: int) -> list[int]:
        return sorted(writer.draw.sample(range(writer.number % 2, ROWS, 2), count))

    def _sql(self, text: str) -> str:
        return text.format_map(self.names)

    async def _plain(self, writer: Writer) -> None:
        op, values = self._start(writer, "one statement", *self._mine_of(writer, 1))
        reply = await ways.send(writer.link, writer.draw, self._sql(_MOVE), *values)
        writer.done(reply, op)

    async def _transaction(self, writer: Writer) -> None:
        op, values = self._start(writer, "transaction", *self._mine_of(writer, 1))
        await styles.simple(writer.link, "BEGIN")
        await styles.simple(writer.link, self._sql(_ALL))
        await styles.extended(writer.link, self._sql(_MOVE), *values)
        await writer.own(self.rows, self._sql(_ALL), (), list(values))
        writer.done(await ways.commit(writer.link, writer.draw), op)

    async def _two(self, writer: Writer) -> None:
        one, two = self._mine_of(writer, 2)
        first, a = self._start(writer, "two rows", one)
        second, b = self._start(writer, "two rows", two)
        text = _MOVE + "; " + _MOVE.replace("$1", "$4").replace("$2", "$5").replace("$3", "$6")
        writer.done(await styles.simple(writer.link, self._sql(text), *a, *b), first, second)

    async def _again(self, writer: Writer) -> None:
        op, values = self._start(writer, "DELETE and INSERT", *self._mine_of(writer, 1))
        text = "DELETE FROM {row} WHERE id = $1; INSERT INTO {row} VALUES ($1, $2, $3)"
        writer.done(await styles.simple(writer.link, self._sql(text), *values), op)

    async def _function(self, writer: Writer) -> None:
        op, values = self._start(writer, "function", *self._mine_of(writer, 1))
        reply = await styles.prepared(writer.link, self._sql("SELECT {move}($1, $2, $3)"), *values)
        writer.done(reply, op)

    async def _rollback(self, writer: Writer) -> None:
        op, values = self._start(writer, "rollback", *self._mine_of(writer, 1))
        await styles.simple(writer.link, "BEGIN")
        await styles.simple(writer.link, self._sql(_MOVE), *values)
        await writer.own(self.rows, self._sql(_ALL), (), list(values))
        await asyncio.sleep(PAUSE)
        reply = await styles.simple(writer.link, "ROLLBACK")
        writer.aborted(reply.end, op)

    async def _mine(self, writer: Writer) -> None:
        started = [
            self._start(writer, "all of my rows", row) for row in self._mine_of(writer, ROWS // 2)
        ]
        rows = ", ".join(f"({row}, {tag}, {version})" for _, (row, tag, version) in started)
        text = "UPDATE {row} r SET tag = s.tag, v = s.v FROM (VALUES " + rows + ") s (id, tag, v)"
        reply = await styles.simple(writer.link, self._sql(text + " WHERE r.id = s.id"))
        writer.done(reply, *(op for op, _ in started))

    def schema(self) -> list[str]:
        """The rows, a view, a list of all ids, and a function that moves."""
        return [self._sql(text) for text in _SCHEMA]


_SCHEMA = (
    "CREATE TABLE {row} (id int PRIMARY KEY, tag int NOT NULL, v bigint NOT NULL)",
    f"INSERT INTO {{row}} SELECT i, i % {TAGS}, 0 FROM generate_series(0, {ROWS - 1}) i",
    "CREATE INDEX ON {row} (tag)",
    "CREATE VIEW {one} AS SELECT id, tag, v FROM {row}",
    "CREATE TABLE {all_ids} (id int PRIMARY KEY)",
    "INSERT INTO {all_ids} SELECT id FROM {row}",
    "CREATE FUNCTION {move}(i int, t int, n bigint) RETURNS void LANGUAGE sql AS"
    " $f$ UPDATE {row} SET tag = t, v = n WHERE id = i $f$",
)
