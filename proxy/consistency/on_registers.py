"""Registers: versions of single keys, read in many forms and written in every way.

What lives here: tables and statements of this workload. What must not: what is a violation
(`registers.py`), how a write is sent (`paths.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.consistency import paths, styles
from proxy.consistency.cell import Cell, Op, Path, Read, Scene, Writer
from proxy.consistency.context import Context
from proxy.consistency.link import Reply, clock
from proxy.consistency.paths import PATHS
from proxy.consistency.registers import Register
from proxy.consistency.styles import Value
from proxy.consistency.ways import PAUSE

KEYS = 6
_NAMES = """reg other view inbox later deny ruled put put_pl get call call_fail parent
    child kid_parent kid part part_0 part_1 part_2 tree leaf source mat emptied replaced shown
    switch left right"""


class Registers(Cell):
    """One cell: a main table for all paths, and tables for what needs its own."""

    kind = "registers"

    def __init__(self, context: Context, number: int) -> None:
        super().__init__(context, number)
        self.names = {name: f"{context.schema}.{name}_{number}" for name in _NAMES.split()}
        self.registers: dict[int, Register] = {}
        self.truth: dict[int, str] = {}
        self._gids = 0
        self._group: dict[str, list[int]] = {}
        self.scenes = [self._main(), self._cascade(), self._deleted(), self._parts()]
        self.scenes += [self._tree(), self._materialized(), self._truncated(), self._replaced()]
        self.scenes += [self._redirected()]

    # keys

    def _keys(self, group: str, first: int, truth: str, inversions: bool = True) -> list[int]:
        """Keys of one scene: `first` and the following; `truth` reads one of them."""
        keys = list(range(first, first + KEYS))
        for key in keys:
            judge = Register(
                f"{self.name}: {group} {key}", slack=self.context.slack, inversions=inversions
            )
            self.registers[key] = judge
            self.judges.append(judge)
            self.truth[key] = truth.format_map(self.names)
        self._group[group] = keys
        return keys

    def key_of(self, writer: Writer, other_than: int = 0, group: str = "main") -> int:
        """A key that this writer alone writes."""
        mine = [k for k in self._group[group][writer.number % 2 :: 2] if k != other_than]
        return writer.draw.choice(mine)

    def start(self, writer: Writer, key: int, path: str) -> tuple[Op, int]:
        """Begin the next version of a key."""
        judge = self.registers[key]
        version: int = self.tell(judge, "begin", clock(), path)
        outside = writer.outside

        async def probe() -> bool:
            reply = await self.context.ask(self.truth[key], key)
            return bool(reply.rows) and int(reply.rows[0][0] or -1) >= version

        op = Op(
            path,
            lambda end: self.tell(judge, "commit", version, end, outside),
            lambda time: self.tell(judge, "abort", version, time),
            probe,
        )
        return writer.begin(op), version

    def new_gid(self) -> str:
        """A name for a prepared transaction that is used once."""
        self._gids += 1
        return f"{self.context.token}-{self.number}-{self._gids}"

    # answers

    def _one(self, key: int) -> Callable[[list[list[int]], Reply, str, bool], bool]:
        """The first column of the only row is the version of this key."""
        judge = self.registers[key]

        def assess(rows: list[list[int]], reply: Reply, read: str, direct: bool) -> bool:
            value = rows[0][0] if rows else -1
            fine: bool = self.tell(judge, "read", value, reply.begin, reply.end, read, direct)
            if len(rows) > 1:
                judge.report("twice", f"rows {rows}", reply.begin, reply.end, read=read)
                return False
            return fine

        return assess

    def _each(self, keys: list[int]) -> Callable[[list[list[int]], Reply, str, bool], bool]:
        """Rows of key and version: each of these keys once."""

        def assess(rows: list[list[int]], reply: Reply, read: str, direct: bool) -> bool:
            found = dict.fromkeys(keys, -1)
            fine = True
            for key, value in rows:
                if found.get(key) != -1:
                    judge = self.registers[keys[0]]
                    judge.report("twice", f"rows {rows}", reply.begin, reply.end, read=read)
                    fine = False
                else:
                    found[key] = value
            for key, value in found.items():
                judge = self.registers[key]
                fine &= self.tell(judge, "read", value, reply.begin, reply.end, read, direct)
            return fine

        return assess

    def _read(self, name: str, text: str, key: int, *values: Value) -> Read:
        return Read(name, text.format_map(self.names), values or (key,), self._one(key))

    def _reads(self, name: str, text: str, keys: list[int]) -> list[Read]:
        return [self._read(name, text, key) for key in keys]

    def _all(self, name: str, text: str, keys: list[int]) -> Read:
        listed = ", ".join(map(str, keys))
        sql = text.format_map({**self.names, "keys": listed})
        return Read(name, sql, (), self._each(keys))

    def _one_path(self, group: str, name: str, *texts: str) -> tuple[Path, int]:
        """A path that runs these statements as one transaction, or the only one alone."""

        async def run(writer: Writer) -> None:
            key = self.key_of(writer, group=group)
            op, version = self.start(writer, key, name)
            batch = [text.format_map(self.names) for text in texts]
            if len(batch) == 1:
                sender = writer.draw.choice((styles.simple, styles.extended))
                used = (key, version) if "$2" in batch[0] else (version,)
                writer.done(await sender(writer.link, batch[0], *used), op)
                return
            await styles.simple(writer.link, "BEGIN")
            for text in batch:
                reply = await styles.simple(writer.link, text, key, version)
                writer.complain(reply, name)
            writer.done(await styles.simple(writer.link, "COMMIT"), op)

        return run, 1

    # scenes

    def _main(self) -> Scene:
        keys = self._keys("main", 1, "SELECT v FROM {reg} WHERE id = $1")
        reads = self._reads("point", "SELECT v FROM {reg} WHERE id = $1", keys)
        reads += self._reads("view", "SELECT v FROM {view} WHERE id = $1", keys)
        join = "SELECT r.v FROM {reg} r JOIN {other} o ON o.id = r.id WHERE o.id = $1"
        reads += self._reads("join", join, keys)
        reads += self._reads("function", "SELECT {get}($1)", keys)
        group = "SELECT max(v) FROM {reg} WHERE id = $1 GROUP BY id"
        reads += self._reads("aggregate", group, keys)
        reads += self._reads("subquery", "SELECT (SELECT v FROM {reg} WHERE id = $1)", keys[:2])
        slow = (
            "SELECT v + 0 * (SELECT count(*) FROM generate_series(1, 20000)) FROM {reg}"
            " WHERE id = $1"
        )
        reads += self._reads("slow", slow, keys)
        listed = "SELECT id, v FROM {reg} WHERE id IN ({keys}) ORDER BY id"
        reads += [self._all("IN", listed, keys[part::2]) for part in range(2)]
        reads += [self._all("whole table", "SELECT id, v FROM {reg} ORDER BY id", keys)] * 3
        usable = {
            name: taken
            for name, taken in PATHS.items()
            if not (name in paths.NEEDS_15 and self.context.version < 150000)
            and not (name in paths.NEEDS_TWO_PHASE and not self.context.two_phase)
        }
        return Scene("main", reads, usable, weight=12)

    def _cascade(self) -> Scene:
        keys = self._keys("cascade", 101, "SELECT v / 1024 FROM {child} WHERE id = $1")
        reads = self._reads("child", "SELECT v / 1024 FROM {child} WHERE id = $1", keys)
        reads += [self._all("children", "SELECT id, v / 1024 FROM {child} ORDER BY id", keys)] * 4
        text = "UPDATE {parent} SET v = $2::bigint * 1024 + $1 WHERE id = $1"
        paths_ = {"FK ON UPDATE CASCADE": self._one_path("cascade", "FK ON UPDATE CASCADE", text)}
        return Scene("cascade", reads, paths_)

    def _deleted(self) -> Scene:
        keys = self._keys("delete", 201, "SELECT min(v) FROM {kid} WHERE id = $1")
        reads = self._reads("oldest child", "SELECT min(v) FROM {kid} WHERE id = $1", keys)
        grouped = "SELECT id, min(v) FROM {kid} GROUP BY id ORDER BY id"
        reads += [self._all("oldest children", grouped, keys)] * 4

        async def run(writer: Writer) -> None:
            key = self.key_of(writer, group="delete")
            op, version = self.start(writer, key, "FK ON DELETE CASCADE")
            link, names = writer.link, self.names
            text = (
                "BEGIN; INSERT INTO {kid_parent} VALUES ($1, $2);"
                " INSERT INTO {kid} VALUES ($1, $2); COMMIT"
            )
            first = await styles.simple(link, text.format_map(names), key, version)
            if first.errors:
                writer.done(first, op)
                return
            text = "DELETE FROM {kid_parent} WHERE id = $1 AND v < $2".format_map(names)
            reply = await styles.extended(link, text, key, version)
            if not reply.errors:
                writer.done(reply, op)
            # Otherwise a later DELETE may bring it into force: `probe` would be too early.
            else:
                writer.complain(reply, op.path)
                await styles.simple(link, text, key, version)

        return Scene("delete", reads, {"FK ON DELETE CASCADE": (run, 1)})

    def _parts(self) -> Scene:
        keys = self._keys("partition", 301, "SELECT v FROM {part} WHERE id = $1")
        reads = self._reads("partitioned", "SELECT v FROM {part} WHERE id = $1", keys)
        leaves = (
            "SELECT id, v FROM {part_0} UNION ALL SELECT id, v FROM {part_1}"
            " UNION ALL SELECT id, v FROM {part_2} ORDER BY 1"
        )
        reads += [self._all("leaves", leaves, keys)] * 3
        reads += [self._all("root", "SELECT id, v FROM {part} ORDER BY id", keys)] * 3
        moves = "UPDATE {part} SET v = $2::bigint, p = $2::bigint % 3 WHERE id = $1"
        leaf = (
            "UPDATE {part_0} SET v = $2 WHERE id = $1",
            "UPDATE {part_1} SET v = $2 WHERE id = $1",
            "UPDATE {part_2} SET v = $2 WHERE id = $1",
        )
        group = "partition"
        return Scene(
            group,
            reads,
            {
                "partition, row moves": self._one_path(group, "partition, row moves", moves),
                "partition, leaf": self._one_path(group, "partition, leaf", *leaf),
            },
        )

    def _tree(self) -> Scene:
        keys = self._keys("inheritance", 401, "SELECT v FROM {tree} WHERE id = $1")
        reads = self._reads("inherited", "SELECT v FROM {tree} WHERE id = $1", keys)
        reads += [self._all("family", "SELECT id, v FROM {tree} ORDER BY id", keys)] * 3
        child = "UPDATE {leaf} SET v = $2 WHERE id = $1"
        parent = "UPDATE {tree} SET v = $2 WHERE id = $1"
        paths_ = {
            "inheritance, child": self._one_path("inheritance", "inheritance, child", child),
            "inheritance, parent": self._one_path("inheritance", "inheritance, parent", parent),
        }
        return Scene("inheritance", reads, paths_)

    def _materialized(self) -> Scene:
        keys = self._keys("matview", 501, "SELECT v FROM {mat} WHERE id = $1")
        reads = self._reads("matview", "SELECT v FROM {mat} WHERE id = $1", keys)
        reads += [self._all("whole matview", "SELECT id, v FROM {mat} ORDER BY id", keys)] * 3
        texts = (
            "UPDATE {source} SET v = $2 WHERE id = $1",
            "REFRESH MATERIALIZED VIEW {mat}",
        )
        path = self._one_path("matview", "REFRESH MATERIALIZED VIEW", *texts)
        # Two REFRESHes that wait for each other may publish the older state last.
        scene = Scene("matview", reads, {"REFRESH MATERIALIZED VIEW": path}, single=True)
        scene.pace = 200.0
        return scene

    def _truncated(self) -> Scene:
        keys = self._keys("truncate", 601, "SELECT v FROM {emptied} WHERE id = $1")
        reads = self._reads("refilled", "SELECT v FROM {emptied} WHERE id = $1", keys)

        async def run(writer: Writer) -> None:
            key = self.key_of(writer, group="truncate")
            op, version = self.start(writer, key, "TRUNCATE and INSERT")
            for text in (
                "BEGIN",
                "TRUNCATE {emptied}",
                f"INSERT INTO {{emptied}} VALUES {self._rows(keys, key, version)}",
            ):
                reply = await styles.simple(writer.link, text.format_map(self.names))
                writer.complain(reply, op.path)
            writer.done(await styles.simple(writer.link, "COMMIT"), op)

        scene = Scene("truncate", reads, {"TRUNCATE and INSERT": (run, 1)}, single=True)
        scene.pace = 200.0
        return scene

    def _replaced(self) -> Scene:
        # PostgreSQL tells others of a new definition a little after it is visible, so that two
        # reads during that commit may differ; after the acknowledgement none may be old.
        keys = self._keys("definition", 701, "SELECT v FROM {shown} WHERE id = $1", False)
        reads = self._reads("view that is replaced", "SELECT v FROM {shown} WHERE id = $1", keys)
        reads += self._reads("function that is replaced", "SELECT {replaced}($1)", keys)

        async def run(writer: Writer) -> None:
            key = self.key_of(writer, group="definition")
            op, version = self.start(writer, key, "CREATE OR REPLACE")
            values = self._rows(keys, key, version)
            for text in (
                "BEGIN",
                f"CREATE OR REPLACE VIEW {{shown}} AS {_DEFINED}{values}{_DEFINED_END}",
                "CREATE OR REPLACE FUNCTION {replaced}(k int) RETURNS bigint LANGUAGE sql STABLE"
                f" AS '{_DEFINED_ONE}{values}{_DEFINED_END} WHERE t.id = k'",
            ):
                reply = await styles.simple(writer.link, text.format_map(self.names))
                writer.complain(reply, op.path)
            writer.done(await styles.simple(writer.link, "COMMIT"), op)

        scene = Scene("definition", reads, {"CREATE OR REPLACE": (run, 1)}, single=True)
        scene.pace = 400.0
        return scene

    def _redirected(self) -> Scene:
        """A trigger function is replaced, and at once a write fires the trigger."""
        keys = {
            side: self._keys(side, first, f"SELECT v FROM {{{side}}} WHERE id = $1")
            for side, first in (("left", 801), ("right", 901))
        }
        reads = []
        for side, own in keys.items():
            reads += self._reads(
                "where a trigger leads", f"SELECT v FROM {{{side}}} WHERE id = $1", own
            )
            whole = f"SELECT id, v FROM {{{side}}} ORDER BY id"
            reads += [self._all("where triggers lead", whole, own)] * 3

        async def run(writer: Writer) -> None:
            side = writer.draw.choice(tuple(keys))
            key = self.key_of(writer, group=side)
            text = _TRIGGER.format_map({**self.names, "side": self.names[side]})
            reply = await styles.simple(writer.link, "CREATE OR REPLACE " + text)
            op, version = self.start(writer, key, "trigger function replaced")
            writer.complain(reply, op.path)
            sql = "INSERT INTO {switch} VALUES ($1, $2)".format_map(self.names)
            writer.done(await styles.simple(writer.link, sql, key, version), op)

        paths_ = {"trigger function replaced": (run, 1)}
        return Scene("redirected", reads, paths_, single=True, pace=150.0)

    def _rows(self, keys: list[int], changed: int, version: int) -> str:
        """VALUES of all keys as they are in force, and of one with its new version.

        For scenes with a single writer, who alone knows them.
        """
        now = clock()
        found = {key: self.registers[key].candidates(now).start for key in keys}
        found[changed] = version
        return ", ".join(f"({key}, {value}::bigint)" for key, value in found.items())

    # tables

    def schema(self) -> list[str]:
        """All tables of this cell with their first rows."""
        statements = [*_MAIN, *_OTHERS]
        fill = {
            f"{name}_rows": ", ".join(f"({k}, 0)" for k in self._group[group])
            for name, group in _FILLED.items()
        }
        fill["cascade_rows"] = ", ".join(f"({k}, {k})" for k in self._group["cascade"])
        fill["pause"] = str(PAUSE)
        return [text.format_map({**self.names, **fill}) for text in statements]


_FILLED = {
    "main": "main",
    "kids": "delete",
    "part": "partition",
    "tree": "inheritance",
    "source": "matview",
    "emptied": "truncate",
    "shown": "definition",
    "left": "left",
    "right": "right",
}
# The versions are constants; the table is there so that the answer may be stored.
_DEFINED = "SELECT t.id, t.v::bigint AS v FROM (VALUES "
_DEFINED_ONE = _DEFINED.replace("t.id, ", "")
_DEFINED_END = ") t (id, v) JOIN {other} o ON o.id = t.id"
_TRIGGER = (
    "FUNCTION {switch}_f() RETURNS trigger LANGUAGE plpgsql AS"
    " $f$ BEGIN UPDATE {side} SET v = NEW.v WHERE id = NEW.id; RETURN NULL; END $f$"
)
_UPDATE = "UPDATE {reg} SET v = NEW.v WHERE id = NEW.id"
_MAIN = (
    "CREATE TABLE {reg} (id int PRIMARY KEY, v bigint NOT NULL)",
    "INSERT INTO {reg} VALUES {main_rows}",
    "CREATE TABLE {other} (id int PRIMARY KEY, label text)",
    "INSERT INTO {other} SELECT id, 'label ' || id FROM {reg}",
    "CREATE VIEW {view} AS SELECT id, v FROM {reg}",
    "CREATE TABLE {inbox} (id int, v bigint)",
    "CREATE FUNCTION {inbox}_f() RETURNS trigger LANGUAGE plpgsql AS"
    " $f$ BEGIN " + _UPDATE + "; RETURN NULL; END $f$",
    "CREATE TRIGGER t BEFORE INSERT ON {inbox} FOR EACH ROW EXECUTE FUNCTION {inbox}_f()",
    "CREATE TABLE {later} (id int, v bigint)",
    "CREATE FUNCTION {later}_f() RETURNS trigger LANGUAGE plpgsql AS"
    " $f$ BEGIN " + _UPDATE + "; PERFORM pg_sleep({pause}); RETURN NULL; END $f$",
    "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON {later} DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION {later}_f()",
    "CREATE TABLE {deny} (id int)",
    "CREATE FUNCTION {deny}_f() RETURNS trigger LANGUAGE plpgsql AS"
    " $f$ BEGIN RAISE 'denied'; END $f$",
    "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON {deny} DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION {deny}_f()",
    "CREATE TABLE {ruled} (id int, v bigint)",
    "CREATE RULE r AS ON INSERT TO {ruled} DO INSTEAD " + _UPDATE,
    "CREATE FUNCTION {put}(k int, n bigint) RETURNS void LANGUAGE sql AS"
    " $f$ UPDATE {reg} SET v = n WHERE id = k $f$",
    "CREATE FUNCTION {put_pl}(k int, n bigint) RETURNS void LANGUAGE plpgsql AS"
    " $f$ BEGIN UPDATE {reg} SET v = n WHERE id = k; END $f$",
    "CREATE FUNCTION {get}(k int) RETURNS bigint LANGUAGE sql STABLE AS"
    " $f$ SELECT v FROM {reg} WHERE id = k $f$",
    "CREATE PROCEDURE {call}(k int, n bigint) LANGUAGE plpgsql AS"
    " $f$ BEGIN UPDATE {reg} SET v = n WHERE id = k; COMMIT; PERFORM pg_sleep({pause}); END $f$",
    "CREATE PROCEDURE {call_fail}(k int, n bigint) LANGUAGE plpgsql AS"
    " $f$ BEGIN UPDATE {reg} SET v = n WHERE id = k; COMMIT; RAISE 'failed'; END $f$",
)
_OTHERS = (
    "CREATE TABLE {parent} (id int PRIMARY KEY, v bigint UNIQUE)",
    "INSERT INTO {parent} VALUES {cascade_rows}",
    "CREATE TABLE {child} (id int PRIMARY KEY, v bigint REFERENCES {parent} (v) ON UPDATE CASCADE)",
    "INSERT INTO {child} VALUES {cascade_rows}",
    "CREATE TABLE {kid_parent} (id int, v bigint, PRIMARY KEY (id, v))",
    "INSERT INTO {kid_parent} VALUES {kids_rows}",
    "CREATE TABLE {kid} (id int, v bigint, FOREIGN KEY (id, v) REFERENCES {kid_parent}"
    " ON DELETE CASCADE)",
    "CREATE INDEX ON {kid} (id, v)",
    "INSERT INTO {kid} VALUES {kids_rows}",
    "CREATE TABLE {part} (id int, v bigint, p int DEFAULT 0) PARTITION BY LIST (p)",
    "CREATE TABLE {part_0} PARTITION OF {part} FOR VALUES IN (0)",
    "CREATE TABLE {part_1} PARTITION OF {part} FOR VALUES IN (1)",
    "CREATE TABLE {part_2} PARTITION OF {part} FOR VALUES IN (2)",
    "INSERT INTO {part} (id, v) VALUES {part_rows}",
    "CREATE TABLE {tree} (id int, v bigint)",
    "CREATE TABLE {leaf} () INHERITS ({tree})",
    "INSERT INTO {leaf} VALUES {tree_rows}",
    "CREATE TABLE {source} (id int PRIMARY KEY, v bigint)",
    "INSERT INTO {source} VALUES {source_rows}",
    "CREATE MATERIALIZED VIEW {mat} AS SELECT id, v FROM {source}",
    "CREATE TABLE {emptied} (id int, v bigint)",
    "INSERT INTO {emptied} VALUES {emptied_rows}",
    "CREATE TABLE {left} (id int PRIMARY KEY, v bigint)",
    "CREATE TABLE {right} (id int PRIMARY KEY, v bigint)",
    "INSERT INTO {left} VALUES {left_rows}",
    "INSERT INTO {right} VALUES {right_rows}",
    "CREATE TABLE {switch} (id int, v bigint)",
    "CREATE " + _TRIGGER.replace("{side}", "{left}"),
    "CREATE TRIGGER t BEFORE INSERT ON {switch} FOR EACH ROW EXECUTE FUNCTION {switch}_f()",
    "INSERT INTO {other} SELECT id, 'defined' FROM (VALUES {shown_rows}) t (id, v)",
    "CREATE VIEW {shown} AS " + _DEFINED + "{shown_rows}" + _DEFINED_END,
    "CREATE FUNCTION {replaced}(k int) RETURNS bigint LANGUAGE sql STABLE AS '"
    + _DEFINED_ONE
    + "{shown_rows}"
    + _DEFINED_END
    + " WHERE t.id = k'",
)
