"""The command `howdah`: flags to settings, settings to the right module.

What lives here: arguments, the environment, files, exit codes. What must not:
anything that a proxy does. An error is one line on stderr and no traceback:
exit code 2 for a wrong command line or configuration, 1 for everything else.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy import __version__, remote
from proxy.errors import ConfigError, HowdahError
from proxy.settings import BY_NAME, Settings, load

app = typer.Typer(
    name="howdah",
    help="A caching proxy for PostgreSQL.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _flag(name: str) -> Any:
    """The typer option of one setting; help and default come from the table."""
    option = BY_NAME[name]
    shown = option.default if option.default is not None else "required"
    return typer.Option(
        option.flag, help=option.help, metavar=option.kind.upper(), show_default=shown
    )


Config = Annotated[
    str | None,
    typer.Option("--config", help="YAML file with settings and rules.", metavar="FILE"),
]
UpstreamFlag = Annotated[str | None, _flag("upstream")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"howdah {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """A caching proxy for PostgreSQL."""


@app.command()
def serve(
    config: Config = None,
    upstream: UpstreamFlag = None,
    listen: Annotated[str | None, _flag("listen")] = None,
    http: Annotated[str | None, _flag("http")] = None,
    unix_socket: Annotated[str | None, _flag("unix_socket")] = None,
    workers: Annotated[str | None, _flag("workers")] = None,
    contract: Annotated[str | None, _flag("contract")] = None,
    strict_wait: Annotated[str | None, _flag("strict_wait")] = None,
    staleness_bound: Annotated[str | None, _flag("staleness_bound")] = None,
    max_age: Annotated[str | None, _flag("max_age")] = None,
    cache_size: Annotated[str | None, _flag("cache_size")] = None,
    entry_limit: Annotated[str | None, _flag("entry_limit")] = None,
    shared_wait: Annotated[str | None, _flag("shared_wait")] = None,
    shared_waiters: Annotated[str | None, _flag("shared_waiters")] = None,
    verify: Annotated[str | None, _flag("verify")] = None,
    verify_quarantine: Annotated[str | None, _flag("verify_quarantine")] = None,
    admin_roles: Annotated[str | None, _flag("admin_roles")] = None,
    console_database: Annotated[str | None, _flag("console_database")] = None,
    tls_certificate: Annotated[str | None, _flag("tls_certificate")] = None,
    tls_key: Annotated[str | None, _flag("tls_key")] = None,
    drain_timeout: Annotated[str | None, _flag("drain_timeout")] = None,
    log_level: Annotated[str | None, _flag("log_level")] = None,
    log_format: Annotated[str | None, _flag("log_format")] = None,
    log_statements: Annotated[str | None, _flag("log_statements")] = None,
    log_parameters: Annotated[str | None, _flag("log_parameters")] = None,
) -> None:
    """Serve clients until SIGTERM or Ctrl-C.

    Each flag is also a variable (HOWDAH_CACHE_SIZE) and a key of the file (cache_size).
    """
    settings = load_settings(dict(locals()))
    from proxy.app import run  # imported late: `--help` and errors above stay quick

    raise typer.Exit(run(settings))


@app.command()
def check(
    config: Config = None,
    upstream: UpstreamFlag = None,
    diff: Annotated[
        bool,
        typer.Option(
            "--diff", help="Say instead what the file's rules would change for a running Howdah."
        ),
    ] = False,
    http: Annotated[str | None, _flag("http")] = None,
) -> None:
    """Check the configuration, connect, and say which contract holds."""
    settings = load_settings({"config": config, "upstream": upstream, "http": http})
    if diff:
        from proxy import rulediff

        raise typer.Exit(rulediff.run(settings, str(settings.http or "none")))
    from proxy.check import run

    raise typer.Exit(run(settings))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Leave after the table.")] = False,
    rows: Annotated[
        int, typer.Option("--rows", help="Sample rows, in all.", min=1000, max=50_000_000)
    ] = 200_000,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="ADDRESS",
            help="Where Howdah listens.",
            show_default=("127.0.0.1:6432, or a free port"),
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="ADDRESS",
            help="Where metrics are served.",
            show_default=("127.0.0.1:9432, or a free port"),
        ),
    ] = None,
) -> None:
    """Show it: PostgreSQL with a sample shop, Howdah in front, and a comparison."""
    from proxy.demo.run import run

    raise typer.Exit(run(once=once, rows=rows, listen=listen, http=http))


@app.command()
def consistency(
    through: Annotated[
        str,
        typer.Option("--through", metavar="URL", help="What is checked: a Howdah, any proxy."),
    ],
    direct: Annotated[
        str,
        typer.Option("--direct", metavar="URL", help="The same database at PostgreSQL itself."),
    ],
    http: Annotated[
        str | None,
        typer.Option("--http", metavar="ADDRESS", help="Howdah's metrics, to tell the hits."),
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="How long.", min=1.0)] = 60.0,
    clients: Annotated[int, typer.Option("--clients", help="Connections.", min=1)] = 24,
    seed: Annotated[int, typer.Option("--seed", help="Of all that is left to chance.")] = 1,
    schema: Annotated[
        str, typer.Option("--schema", help="Made for the run and removed after it.")
    ] = "howdah_consistency",
    workload: Annotated[
        list[str] | None,
        typer.Option(
            "--workload", help="registers, bank, rows, lists; can be repeated.", show_default="all"
        ),
    ] = None,
    bypass: Annotated[
        float, typer.Option("--bypass", help="Share of writes past it.", min=0.0, max=1.0)
    ] = 0.0,
    max_staleness: Annotated[
        float, typer.Option("--max-staleness", help="For those writes, in ms.", min=0.0)
    ] = 0.0,
    chaos: Annotated[
        list[str] | None,
        typer.Option(
            "--chaos",
            help="terminate (backends), reset (clients); can be repeated.",
            show_default="none",
        ),
    ] = None,
    chaos_every: Annotated[
        float, typer.Option("--chaos-every", help="Seconds between faults.", min=0.1)
    ] = 10.0,
    chaos_command: Annotated[
        str | None,
        typer.Option("--chaos-command", metavar="COMMAND", help="Run by a shell each time, too."),
    ] = None,
    stop_at_first: Annotated[
        bool, typer.Option("--stop-at-first", help="End at the first violation.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Try to catch a proxy in a stale or wrong read. 0: none, 1: found, 2: could not run."""
    from proxy.consistency import run as checker
    from proxy.consistency.tables import WORKLOADS

    options = checker.Options(
        **{name: value for name, value in locals().items() if name in checker.FLAGS},
        workloads=tuple(workload or WORKLOADS),
        chaos=tuple(chaos or ()),
        password=os.environ.get("PGPASSWORD"),
        password_file=_read_passwords(),
    )
    report = checker.run(options, checker.disaster_of(chaos_command))
    print(report.to_json() if as_json else report.to_text())
    raise typer.Exit(report.code)


HttpFlag = Annotated[
    str,
    typer.Option("--http", metavar="ADDRESS", help="Where the running Howdah has its HTTP port."),
]


@app.command()
def top(
    http: HttpFlag = remote.DEFAULT,
    interval: Annotated[
        float, typer.Option("--interval", help="Seconds between looks.", min=0.2)
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One picture as text.")] = False,
) -> None:
    """Show a running Howdah live; q leaves."""
    from proxy.top import run

    raise typer.Exit(run(http, interval=interval, once=once))


@app.command()
def advise(
    http: HttpFlag = remote.DEFAULT,
    limit: Annotated[int, typer.Option("--limit", help="The most valuable ones.", min=1)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="The advice as JSON.")] = False,
) -> None:
    """Say what would have more answered from memory, by what a running Howdah has counted."""
    from proxy.advise import run

    raise typer.Exit(run(http, limit=limit, as_json=as_json))


@app.command()
def explain(
    sql: Annotated[str, typer.Argument(help="One statement, as a client would send it.")],
    http: HttpFlag = remote.DEFAULT,
    database: Annotated[
        str, typer.Option("--database", help="The default is the only one that is in use.")
    ] = "",
    role: Annotated[
        str, typer.Option("--role", help="The default is that of the newest session.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The explanation as JSON.")] = False,
) -> None:
    """Say what a running Howdah would do with a statement, and why."""
    from proxy.explain import run

    raise typer.Exit(run(http, sql, database=database, role=role, as_json=as_json))


def load_settings(flags: dict[str, str | None]) -> Settings:
    """The settings of these flags, this environment and the files it names."""
    return load(flags, os.environ, _read_file, _read_passwords)


def _read_file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _read_passwords() -> str:
    """libpq's password file, under libpq's rule that nobody else may read it."""
    try:
        path = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return ""
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            print(
                f"howdah: {path}: ignored, since others may read it; chmod 600 it", file=sys.stderr
            )
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, RuntimeError):  # RuntimeError: the account has no home
        return ""


def _say(message: str) -> None:
    print(f"howdah: {' '.join(message.split())}", file=sys.stderr)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments or ["--help"], prog_name="howdah", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as leave:
        return int(leave.exit_code)
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        _say(f"{error.format_message()} (see --help)")
        return int(error.exit_code)
    except ConfigError as error:
        _say(error.message)
        return 2
    except HowdahError as error:
        _say(error.message + (f" ({error.hint})" if error.hint else ""))
        return 1
    except OSError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
