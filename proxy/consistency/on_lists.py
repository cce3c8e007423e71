"""Lists that only grow, with appends that are rolled back.

What lives here: tables and statements of this workload. What must not: what is a violation
(`lists.py`). All writers append to all lists. A list that is full is put aside: another row
begins, so that an answer stays small.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.consistency import styles, ways
from proxy.consistency.cell import Cell, Op, Read, Scene, Writer
from proxy.consistency.context import Context
from proxy.consistency.link import Reply, clock
from proxy.consistency.lists import AppendList
from proxy.consistency.ways import PAUSE
from proxy.wire.messages import SYNC

LISTS = 3
FULL = 40
_APPEND = "UPDATE {list} SET items = items || $2::bigint WHERE id = $1"
_READS = {
    "array": "SELECT items FROM {list} WHERE id = $1",
    "view": "SELECT items FROM {shown} WHERE id = $1",
    "slow": "SELECT items FROM {list}"
    " WHERE id = $1 AND (SELECT count(*) FROM generate_series(1, 20000)) > 0",
    "lateral": "SELECT array_agg(e ORDER BY n) FROM {list}, unnest(items)"
    " WITH ORDINALITY u (e, n) WHERE id = $1",
    "rows of elements": "SELECT coalesce(array_agg(e ORDER BY n), '{{}}') FROM {item}"
    " WHERE list = $1",
}


def _array(reply: Reply) -> list[list[int]]:
    """The elements of the only array, as one row."""
    if not reply.rows:
        return []
    text = (reply.rows[0][0] or b"{}").strip(b"{}")
    return [[int(part) for part in text.split(b",")] if text else []]


class Lists(Cell):
    """Lists as arrays (`list`) and, where a trigger keeps them, as rows (`item`)."""

    kind = "lists"

    def __init__(self, context: Context, number: int) -> None:
        super().__init__(context, number)
        names = "list shown item item_f"
        self.names = {name: f"{context.schema}.{name}_{number}" for name in names.split()}
        self._elements = 0
        self._ids = LISTS
        self.current: dict[int, AppendList] = {}
        paths = {
            "append: one statement": (self._plain, 4),
            "append: transaction": (self._transaction, 3),
            "append: rollback": (self._rollback, 4),
            "append: rolled back to a savepoint": (self._savepoint, 3),
            "append: fails at the end": (self._fails, 3),
            "append: pipeline": (self._pipeline, 3),
        }
        self.scenes = [Scene("lists", [], paths)]
        for number in range(1, LISTS + 1):
            self._new(number)
        self._first = list(self.current)

    def _new(self, number: int) -> None:
        """Another list; its row is there."""
        judge = AppendList(f"{self.name}: list {number}", slack=self.context.slack)
        self.judges.append(judge)
        self.current[number] = judge
        assess = self._assess(judge)
        self.scenes[0].reads += [
            Read(name, sql.format_map(self.names), (number,), assess, _array)
            for name, sql in _READS.items()
        ]

    async def _fresh(self, writer: Writer) -> None:
        """Put a full list aside and begin another one."""
        for number, judge in list(self.current.items()):
            if len(judge.order) < FULL or number not in self.current:
                continue
            del self.current[number]
            reads = self.scenes[0].reads
            reads[:] = [read for read in reads if read.values != (number,)]
            self._ids += 1
            sql = self._sql("INSERT INTO {list} VALUES ($1, '{{}}')")
            fresh = self._ids
            writer.complain(await styles.simple(writer.link, sql, fresh), "new list")
            self._new(fresh)

    def _assess(self, judge: AppendList) -> Callable[[list[list[int]], Reply, str, bool], bool]:
        def assess(rows: list[list[int]], reply: Reply, read: str, direct: bool) -> bool:
            elements = rows[0] if rows else []
            fine: bool = self.tell(judge, "read", elements, reply.begin, reply.end, read)
            return fine

        return assess

    def _start(self, writer: Writer, path: str, number: int = 0) -> tuple[Op, tuple[int, int]]:
        number = number or writer.draw.choice(list(self.current))
        judge = self.current[number]
        self._elements += 1
        element = self._elements
        self.tell(judge, "begin", element, clock(), path)

        async def probe() -> bool:
            sql = "SELECT $2::bigint = ANY (items) FROM {list} WHERE id = $1"
            reply = await self.context.ask(sql.format_map(self.names), number, element)
            return reply.rows == [[b"t"]]

        op = Op(
            f"append: {path}",
            lambda end: self.tell(judge, "commit", element, end),
            lambda time: self.tell(judge, "abort", element, time),
            probe,
        )
        return writer.begin(op), (number, element)

    def _sql(self, text: str) -> str:
        return text.format_map(self.names)

    async def _plain(self, writer: Writer) -> None:
        await self._fresh(writer)
        op, values = self._start(writer, "one statement")
        reply = await ways.send(writer.link, writer.draw, self._sql(_APPEND), *values)
        writer.done(reply, op)

    async def _transaction(self, writer: Writer) -> None:
        op, values = self._start(writer, "transaction")
        await styles.simple(writer.link, "BEGIN")
        await styles.prepared(writer.link, self._sql(_APPEND), *values)
        writer.done(await ways.commit(writer.link, writer.draw), op)

    async def _rollback(self, writer: Writer) -> None:
        op, values = self._start(writer, "rollback")
        await styles.simple(writer.link, "BEGIN")
        await styles.simple(writer.link, self._sql(_APPEND), *values)
        await asyncio.sleep(PAUSE)
        reply = await styles.simple(writer.link, "ROLLBACK")
        writer.aborted(reply.end, op)

    async def _savepoint(self, writer: Writer) -> None:
        undone, first = self._start(writer, "rolled back to a savepoint")
        kept, second = self._start(writer, "rolled back to a savepoint", first[0])
        await styles.simple(writer.link, "BEGIN")
        await styles.simple(writer.link, "SAVEPOINT a")
        await styles.simple(writer.link, self._sql(_APPEND), *first)
        await asyncio.sleep(PAUSE)
        await styles.simple(writer.link, "ROLLBACK TO a")
        await styles.simple(writer.link, self._sql(_APPEND), *second)
        reply = await styles.simple(writer.link, "COMMIT")
        writer.aborted(reply.end, undone)
        writer.done(reply, kept)

    async def _fails(self, writer: Writer) -> None:
        op, values = self._start(writer, "fails at the end")
        text = self._sql(_APPEND) + f"; SELECT pg_sleep({PAUSE}); SELECT 1/0"
        reply = await styles.simple(writer.link, text, *values)
        writer.aborted(reply.end, op)
        writer.complain(reply, op.path, ("22012",))

    async def _pipeline(self, writer: Writer) -> None:
        one, first = self._start(writer, "pipeline")
        two, second = self._start(writer, "pipeline", first[0])
        sql = self._sql(_APPEND)
        batch = styles.unnamed(sql, first) + styles.unnamed(sql, second) + SYNC
        writer.done(await writer.link.ask(batch), one, two)

    def schema(self) -> list[str]:
        """Lists, a view, and rows of elements that a trigger keeps."""
        rows = ", ".join(f"({number}, '{{{{}}}}')" for number in self._first)
        return [self._sql(text.replace("LISTS", rows)) for text in _SCHEMA]


_SCHEMA = (
    "CREATE TABLE {list} (id int PRIMARY KEY, items bigint[] NOT NULL)",
    "INSERT INTO {list} VALUES LISTS",
    "CREATE VIEW {shown} AS SELECT id, items FROM {list}",
    "CREATE TABLE {item} (list int, n int, e bigint, PRIMARY KEY (list, n))",
    "CREATE FUNCTION {item_f}() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN"
    " INSERT INTO {item} VALUES (NEW.id, cardinality(NEW.items),"
    " NEW.items[cardinality(NEW.items)]); RETURN NULL; END $f$",
    "CREATE TRIGGER t AFTER UPDATE ON {list} FOR EACH ROW EXECUTE FUNCTION {item_f}()",
)
