"""The large schema of the catalog bench: 10,000 relations and 20,000 functions by default.

What lives here: SQL text, deterministic, one script per schema of the database. What must not:
connections, measuring. The mix is that of databases which grew for years: most relations are
plain tables with a key and an index, half of them reference another, some have triggers; there
are partitioned tables, views, views on views; functions are short SQL and longer PL/pgSQL, and
call each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """How many objects each of `schemas` schemas gets."""

    schemas: int = 20
    tables: int = 350
    partitioned: int = 5
    partitions: int = 20
    views: int = 45
    sql_functions: int = 600
    plpgsql_functions: int = 400

    @property
    def relations(self) -> int:
        """Tables, partitioned tables, partitions and views of all schemas."""
        each = self.tables + self.partitioned * (1 + self.partitions) + self.views
        return self.schemas * each

    @property
    def functions(self) -> int:
        """Functions of all schemas, those of triggers included."""
        return self.schemas * (self.sql_functions + self.plpgsql_functions)

    def part(self, divisor: int) -> Size:
        """The same mix with fewer schemas."""
        return Size(max(1, self.schemas // divisor))


def scripts(size: Size) -> Iterator[str]:
    """One script per schema, to be run in order."""
    for number in range(size.schemas):
        name = f"s{number}"
        yield "\n".join(
            [
                f"CREATE SCHEMA {name};",
                f"SET search_path = {name};",
                "SET check_function_bodies = off;",
                *_functions(size),
                *_tables(size),
                *_partitions(size),
                *_views(size),
                "RESET ALL;",
            ]
        )


def _functions(size: Size) -> Iterator[str]:
    for n in range(size.sql_functions):
        if n % 3 == 0:
            body = f"SELECT a * {n} + length(b) FROM (VALUES (a, b)) AS v(x, y)"
            volatility = "IMMUTABLE"
        elif n % 3 == 1:
            body = f"SELECT count(*)::int FROM t{n % size.tables} WHERE num > a AND txt <> b"
            volatility = "STABLE"
        else:
            body = f"INSERT INTO t{n % size.tables} (txt, num) VALUES (b, a); SELECT q{n - 1}(a, b)"
            volatility = "VOLATILE"
        yield (
            f"CREATE FUNCTION q{n}(a int, b text DEFAULT 'x') RETURNS int "
            f"LANGUAGE sql {volatility} AS $${body}$$;"
        )
    for n in range(size.plpgsql_functions):
        if n % 8 == 0:
            yield (
                f"CREATE FUNCTION p{n}() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n"
                f"  NEW.num := coalesce(NEW.num, 0) + {n};\n"
                f"  IF NEW.num > 100 THEN\n"
                f"    UPDATE t{n % size.tables} SET txt = NEW.txt WHERE id = NEW.num;\n"
                "  END IF;\n  RETURN NEW;\nEND $$;"
            )
            continue
        yield (
            f"CREATE FUNCTION p{n}(who int, what text) RETURNS int LANGUAGE plpgsql AS $$\n"
            "DECLARE\n  total int := 0;\n  item record;\nBEGIN\n"
            f"  FOR item IN SELECT id, num FROM t{n % size.tables} WHERE txt = what LOOP\n"
            f"    total := total + q{n % size.sql_functions}(item.num, what);\n"
            "  END LOOP;\n"
            f"  IF total > who THEN\n    PERFORM q{(n * 7) % size.sql_functions}(total, what);\n"
            "  ELSE\n"
            f"    DELETE FROM t{(n + 1) % size.tables} WHERE num = who;\n  END IF;\n"
            "  RETURN total;\nEND $$;"
        )


def _tables(size: Size) -> Iterator[str]:
    for n in range(size.tables):
        reference = f" REFERENCES t{n - 1} ON DELETE CASCADE" if n % 2 else ""
        yield (
            f"CREATE TABLE t{n} (id int PRIMARY KEY, num int DEFAULT 0 CHECK (num >= 0), "
            f"txt text NOT NULL DEFAULT 'none', other int{reference}, "
            "made timestamptz DEFAULT now(), doc jsonb, amount numeric(10, 2), flag boolean);"
        )
        if n % 2:
            yield f"CREATE INDEX ON t{n} (txt);"
        if n % 10 == 0:
            yield f"CREATE INDEX ON t{n} (lower(txt)) WHERE flag;"
        if n % 7 == 0:
            yield (
                f"CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON t{n} "
                f"FOR EACH ROW EXECUTE FUNCTION p{(n * 8) % size.plpgsql_functions}();"
            )


def _partitions(size: Size) -> Iterator[str]:
    for n in range(size.partitioned):
        yield (
            f"CREATE TABLE log{n} (id int, day date, txt text, PRIMARY KEY (id)) "
            "PARTITION BY RANGE (id);"
        )
        for m in range(size.partitions):
            yield (
                f"CREATE TABLE log{n}_{m} PARTITION OF log{n} "
                f"FOR VALUES FROM ({m * 1000}) TO ({(m + 1) * 1000});"
            )


def _views(size: Size) -> Iterator[str]:
    for n in range(size.views):
        if n % 4 == 3:
            yield f"CREATE VIEW v{n} AS SELECT id, label FROM v{n - 1} WHERE n > {n};"
        else:
            yield (
                f"CREATE VIEW v{n} AS SELECT a.id, a.txt || b.txt AS label, a.num + b.num AS n, "
                f"q{(n * 3) % size.sql_functions}(a.num, b.txt) AS score "
                f"FROM t{n} a JOIN t{n + 1} b ON b.other = a.id;"
            )
