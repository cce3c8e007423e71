"""The direction of imports, the purity of the core, and the size of files.

The table below is the architecture: a module may import from the same group and
from the groups listed for it. Pure modules neither wait, nor touch a socket, a
clock or the environment; what they need of those is an argument.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROXY = ROOT / "proxy"

LINE_LIMIT = 700

BASE = {"errors", "reasons", "tally", "terms", "units"}
# The judges of the checker know nothing of what asks.
JUDGES = ("history", "registers", "bank", "lists", "rows")
# Group -> groups that it may import, itself included. A group is a package, or
# the name of a module at the top of `proxy` (or `package.module` where one
# module of a package differs from the rest).
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "reasons": set(),
    "tally": set(),
    "terms": {"units"},
    "units": set(),
    "document": {"errors"},
    "upstream": BASE,
    "wire": BASE,
    "sql": BASE,
    "catalog": BASE | {"sql"},
    "catalog.loader": BASE | {"sql", "catalog"},
    "policy": BASE | {"document", "sql", "catalog"},
    "cache": BASE | {"wire", "sql", "catalog"},
    "settings": BASE | {"document", "upstream", "policy"},
    "session": BASE | {"cache", "policy", "catalog", "sql", "wire"},
    "tasks": set(),
    "metrics": BASE | {"__init__", "session", "cache", "settings"},
    "admin": BASE
    | {"__init__", "session", "cache", "policy", "catalog", "sql", "wire", "settings", "metrics"},
    "net": BASE | {"admin", "session", "cache", "wire", "settings", "upstream", "metrics", "tasks"},
    "check": BASE | {"settings", "upstream", "net", "catalog", "catalog.loader", "remote"},
    "app": BASE
    | {"__init__", "session", "cache", "wire", "settings", "upstream", "policy", "catalog"}
    | {"catalog.loader", "admin", "house", "net", "metrics", "tasks"},
    "house": BASE | {"admin", "session", "net", "settings"},
    "reference": BASE | {"admin", "metrics", "policy", "settings"},
    "demo": BASE | {"__init__"} | {"settings", "upstream"},
    "consistency.history": set(),
    "consistency.registers": {"consistency.history"},
    "consistency.bank": {"consistency.history"},
    "consistency.lists": {"consistency.history"},
    "consistency.rows": {"consistency.history", "consistency.registers"},
    "consistency.power": {f"consistency.{judge}" for judge in JUDGES},
    "consistency.login": {"errors", "wire"},
    "consistency": BASE
    | {"wire", "upstream", "net", "tasks", "consistency.power", "consistency.login"}
    | {f"consistency.{judge}" for judge in JUDGES},
    "remote": BASE,
    "top": BASE | {"remote"},
    "advise": BASE | {"admin", "remote"},
    "explain": BASE | {"session", "remote"},
    "rulediff": BASE | {"document", "policy", "settings", "remote"},
    "cli": BASE
    | {"__init__", "settings", "app", "check", "demo", "consistency", "remote", "top", "advise"}
    | {"explain", "rulediff"},
}
PURE = {"errors", "reasons", "tally", "terms", "units", "document", "upstream", "settings"}
PURE |= {"wire", "sql", "catalog", "policy", "cache", "session", "admin"}
PURE |= {f"consistency.{name}" for name in (*JUDGES, "power", "login")}
IMPURE_MODULES = {
    *("asyncio", "socket", "ssl", "select", "selectors", "threading", "multiprocessing"),
    *("subprocess", "time", "os", "random", "secrets", "signal", "asyncpg", "uvloop"),
}
# Only the family of this module knows the parser.
PARSER = "pglast"
PARSER_GROUP = "sql"


def modules() -> list[Path]:
    return sorted(PROXY.rglob("*.py"))


def name_of(path: Path) -> str:
    """`proxy/net/client.py` is `net.client`, `proxy/net/__init__.py` is `net`."""
    parts = path.relative_to(PROXY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def group_of(module: str) -> str:
    return module if module in MAY_IMPORT else module.partition(".")[0]


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every module that is imported, wherever in the file, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module == "proxy" or module.startswith("proxy."):
                for alias in node.names:
                    yield resolve(module, alias.name), node.lineno
            else:
                yield module, node.lineno


def resolve(module: str, name: str) -> str:
    """`from proxy.net import client` imports `proxy.net.client`, if there is one."""
    base = ROOT.joinpath(*module.split("."))
    if (base / f"{name}.py").exists() or (base / name / "__init__.py").exists():
        return f"{module}.{name}"
    return module


def faults(module: str, source: str) -> list[str]:
    """What is wrong with one module, as `line: reason`."""
    found = []
    group = group_of(module)
    allowed = MAY_IMPORT.get(group)
    if allowed is None:
        return [f"1: {group} is not in the table of this test"]
    for imported, line in imports(ast.parse(source)):
        top = imported.partition(".")[0]
        if top == "proxy":
            target = group_of(imported.partition(".")[2] or "__init__")
            if target != group and target not in allowed:
                found.append(f"{line}: {group} must not import {target}")
        elif group in PURE and top in IMPURE_MODULES:
            found.append(f"{line}: {group} is pure and must not import {imported}")
        elif top == PARSER and group != PARSER_GROUP:
            found.append(f"{line}: only {PARSER_GROUP} may import {PARSER}")
    return found


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path):
    assert faults(name_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("wire.framing", "import time", "1: wire is pure and must not import time"),
        ("session.core", "def f():\n    from asyncio import sleep", "2: session is pure and must"),
        ("cache.store", "from proxy.session.core import Session", "1: cache must not import sess"),
        ("cache.store", "import pglast.parser", "1: only sql may import pglast"),
        ("policy.rules", "from proxy import settings", "1: policy must not import settings"),
        ("session.core", "import proxy.net.client", "1: session must not import net"),
        ("session.core", "import proxy.catalog.loader", "1: session must not import catalog.load"),
        ("newcomer", "", "1: newcomer is not in the table"),
    ],
)
def test_the_check_finds_seeded_faults(module, source, fault):
    assert [found[: len(fault)] for found in faults(module, source)] == [fault]


def test_the_table_has_no_cycle():
    def visit(group: str, path: tuple[str, ...]) -> None:
        assert group not in path, f"cycle: {' -> '.join((*path, group))}"
        for target in MAY_IMPORT.get(group, ()):
            visit(target, (*path, group))

    for group in MAY_IMPORT:
        visit(group, ())


@pytest.mark.parametrize("folder", ["proxy", "tests", "bench"])
def test_files_can_be_read_in_one_sitting(folder):
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if (lines := path.read_text().count("\n")) > LINE_LIMIT
    }
    assert too_long == {}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_module_says_what_lives_in_it(path):
    source = path.read_text()
    assert not source.strip() or ast.get_docstring(ast.parse(source)), f"{path}: no docstring"
