"""All settings: one table, and the frozen `Settings` made from it.

What lives here: names, defaults, units, help, parsing, precedence (flag, then
environment, then file, then default). What must not: reading the environment
or files; both come in as arguments, so that a test needs neither.

Every setting of the table is a flag (`--cache-size`), a variable
(`HOWDAH_CACHE_SIZE`) and a key of the file (`cache_size`). All of them are text
until they meet the same parser.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy import units
from proxy.document import Place, Value, fail, parse
from proxy.errors import ConfigError
from proxy.policy.rulefile import RuleModel, load_rules
from proxy.policy.rules import EMPTY, Rules
from proxy.units import Address
from proxy.upstream import Upstream, parse_upstream, password_from_file

PREFIX = "HOWDAH_"
CONTRACTS = ("auto", "proxied", "bounded", "strict")


def _addresses(text: str) -> tuple[Address, ...]:
    addresses = tuple(units.address(part) for part in units.words(text))
    if not addresses:
        raise ValueError("at least one address is needed, as in 127.0.0.1:6432")
    return addresses


def _optional(parser: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.strip().lower() in ("none", "") else parser(text)

    return read


def _choice(*known: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in known:
            near = units.suggestion(word, known) or f"; known are {', '.join(known)}"
            raise ValueError(f"{text!r} is unknown{near}")
        return word

    return read


def _positive(parser: Callable[[str], float]) -> Callable[[str], Any]:
    def read(text: str) -> float:
        value = parser(text)
        if value <= 0:
            raise ValueError(f"{text!r} must be more than 0")
        return value

    return read


def _count(text: str) -> int:
    number = units.whole_number(text)
    if number < 0:
        raise ValueError(f"{text!r} must not be less than 0")
    return number


def _contract(text: str) -> str:
    contract = _choice(*CONTRACTS)(text)
    if contract in ("bounded", "strict"):
        raise ValueError(
            f"{contract!r} is not available: this version gives the contract 'proxied' "
            "(write 'proxied' or 'auto')"
        )
    return "proxied"


def _workers(text: str) -> int:
    if text.strip().lower() == "auto" or units.whole_number(text) == 1:
        return 1
    raise ValueError(f"{text!r} is not available: this version runs one worker (1 or auto)")


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table of settings.

    Attributes:
        name: the key of the file; flag and variable are derived from it.
        default: as a user would write it; None means that it must be given.
        kind: what kind of value it is, for the reference.
        parse: text to value; raises ValueError with the reason.
        help: one sentence.
    """

    name: str
    default: str | None
    kind: str
    parse: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        """The command line's spelling."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's spelling."""
        return PREFIX + self.name.upper()


OPTIONS = (
    Option(
        "upstream",
        None,
        "URL",
        parse_upstream,
        "PostgreSQL and Howdah's own role there: postgresql://role@host:port/dbname, or a socket "
        "directory: postgresql://role@/dbname?host=/run/postgresql.",
    ),
    Option(
        "listen",
        "127.0.0.1:6432",
        "addresses",
        _addresses,
        "Where clients connect: host:port, several separated by commas; port 0 takes a free one.",
    ),
    Option(
        "http",
        "127.0.0.1:9432",
        "address or none",
        _optional(units.address),
        "Where the dashboard, its API, /metrics, /healthz and /readyz are served.",
    ),
    Option(
        "unix_socket",
        "none",
        "directory or none",
        _optional(str.strip),
        "Also listen on a Unix socket in this directory; its number is the port of `listen`.",
    ),
    Option(
        "workers",
        "auto",
        "number or auto",
        _workers,
        "How many worker processes serve clients; this version runs one.",
    ),
    Option(
        "contract",
        "auto",
        "auto, proxied, bounded or strict",
        _contract,
        "The freshness that is promised; this version gives `proxied`.",
    ),
    Option(
        "strict_wait",
        "read",
        "read or commit",
        _choice("read", "commit"),
        "What waits under the contract `strict`; no effect in this version.",
    ),
    Option(
        "staleness_bound",
        "250ms",
        "duration",
        _positive(units.duration),
        "The bound of the contract `bounded`; no effect in this version.",
    ),
    Option(
        "max_age",
        "60s",
        "duration or none",
        _optional(_positive(units.duration)),
        "How old an answer may be, counted from its dispatch, since others may write past Howdah; "
        "none where nobody does.",
    ),
    Option(
        "cache_size",
        "256MB",
        "size",
        _positive(units.size),
        "Memory for stored answers, keys and bookkeeping included.",
    ),
    Option(
        "entry_limit",
        "1MB",
        "size",
        _positive(units.size),
        "The largest answer that is stored; larger ones are relayed only.",
    ),
    Option(
        "shared_wait",
        "1s",
        "duration",
        units.duration,
        "How long a read waits for the answer to the same read of another session before it is "
        "sent itself; a statement_timeout runs only from then on. 0 lets none wait.",
    ),
    Option(
        "shared_waiters",
        "100",
        "number",
        _count,
        "How many sessions wait for one answer; further ones send their reads themselves.",
    ),
    Option(
        "verify",
        "0%",
        "percentage",
        units.share,
        "The share of hits that PostgreSQL is asked about, too, to compare its answer; see "
        "docs/verify.md for what that costs.",
    ),
    Option(
        "verify_quarantine",
        "on",
        "on or off",
        units.switch,
        "Whether a statement whose answer was found wrong is forwarded from then on, until RESET "
        "QUARANTINE, other rules or a restart.",
    ),
    Option(
        "admin_roles",
        "none",
        "role names",
        _optional(units.words),
        "Roles that may use the administration console.",
    ),
    Option(
        "console_database",
        "howdah",
        "name or none",
        _optional(str.strip),
        "The name under which the administration console is found, as if it were a database; one "
        "of PostgreSQL that has this name cannot be reached through Howdah. none turns the "
        "console off.",
    ),
    Option(
        "tls_certificate",
        "none",
        "file or none",
        _optional(str.strip),
        "Certificate chain (PEM) shown to clients that ask for TLS; needs `tls_key`.",
    ),
    Option(
        "tls_key",
        "none",
        "file or none",
        _optional(str.strip),
        "Private key (PEM) of `tls_certificate`.",
    ),
    Option(
        "drain_timeout",
        "30s",
        "duration",
        units.duration,
        "How long SIGTERM waits for clients to finish their transactions.",
    ),
    Option(
        "log_level",
        "info",
        "debug, info, warning or error",
        _choice("debug", "info", "warning", "error"),
        "The least severe log lines that are written to stderr.",
    ),
    Option(
        "log_format",
        "text",
        "text or json",
        _choice("text", "json"),
        "Log lines for people or for machines.",
    ),
    Option(
        "log_statements",
        "none",
        "none, uncached or all",
        _choice("none", "uncached", "all"),
        "Which statements are logged, with outcome, reason and time, their literals taken out: "
        "those that reach PostgreSQL, or answers from memory, too.",
    ),
    Option(
        "log_parameters",
        "off",
        "on or off",
        units.switch,
        "With `log_statements`: also log what clients send with the values in it, but not of "
        "statements that speak of a password.",
    ),
)
BY_NAME = {option.name: option for option in OPTIONS}
# Keys of the file: the settings, the rules, and nothing else.
FILE_KEYS = (*BY_NAME, "rules")
CONFIG_VARIABLE = PREFIX + "CONFIG"
# Kubernetes puts such variables into every pod beside a service named `howdah`.
_FOREIGN_VARIABLE = re.compile(r"HOWDAH_(?:SERVICE|PORT)(?:_.*)?")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was configured, checked. Durations in seconds, sizes in bytes."""

    upstream: Upstream
    listen: tuple[Address, ...] = (Address("127.0.0.1", 6432),)
    http: Address | None = Address("127.0.0.1", 9432)
    unix_socket: str | None = None
    workers: int = 1
    contract: str = "proxied"
    strict_wait: str = "read"
    staleness_bound: float = 0.25
    max_age: float | None = 60.0
    cache_size: int = 256 * 2**20
    entry_limit: int = 2**20
    shared_wait: float = 1.0
    shared_waiters: int = 100
    verify: float = 0.0
    verify_quarantine: bool = True
    admin_roles: tuple[str, ...] = ()
    console_database: str | None = "howdah"
    tls_certificate: str | None = None
    tls_key: str | None = None
    drain_timeout: float = 30.0
    log_level: str = "info"
    log_format: str = "text"
    log_statements: str = "none"
    log_parameters: bool = False
    config_path: str | None = None
    rules: Rules = EMPTY
    # Of each setting where it came from and its text; no text of the upstream, it has a password.
    given: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False, compare=False)
    # Reads the same sources again; blocking, raises ConfigError. None in hand-made settings.
    reload: Callable[[], Settings] | None = field(default=None, repr=False, compare=False)

    def changed(self, other: Settings) -> tuple[str, ...]:
        """Names of the settings that differ; only a restart applies them, unlike rules."""
        return tuple(name for name in BY_NAME if getattr(self, name) != getattr(other, name))


ReadFile = Callable[[str], str]
ReadPasswords = Callable[[], str]


def load(
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    read_file: ReadFile,
    read_passwords: ReadPasswords = str,
) -> Settings:
    """Make the settings of flags, environment, file and defaults, in this precedence.

    Args:
        flags: option names (and `config`) to text; None where a flag was not given.
        environ: `HOWDAH_*`, `PGPASSWORD`.
        read_file: gives the text of a file; raises OSError or UnicodeDecodeError.
        read_passwords: gives the text of libpq's password file, empty where there is none;
            called only when no password is known otherwise.

    Raises:
        ConfigError: with the place first, and what to do about it.
    """
    _check_variables(environ)
    path = flags.get("config") or environ.get(CONFIG_VARIABLE) or None
    document = _document(path, read_file) if path else None
    from_file = _file_texts(document) if document else {}
    values: dict[str, Any] = {}
    given: dict[str, tuple[str, str]] = {}
    for option in OPTIONS:
        where, text = _source(option, flags, environ, from_file)
        shown = "" if option.name == "upstream" else text
        given[option.name] = where.removesuffix(f": {option.name}"), shown
        try:
            values[option.name] = option.parse(text)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
    values["admin_roles"] = values["admin_roles"] or ()
    if (values["tls_certificate"] is None) != (values["tls_key"] is None):
        lone = "tls_key" if values["tls_certificate"] is None else "tls_certificate"
        where, _ = _source(BY_NAME[lone], flags, environ, from_file)
        raise ConfigError(f"{where}: tls_certificate and tls_key go together")
    values["upstream"] = _with_password(values["upstream"], environ, read_passwords)
    if document and "rules" in _keys(document):
        values["rules"] = load_rules(_keys(document)["rules"])

    def reload() -> Settings:
        return load(flags, environ, read_file, read_passwords)

    return Settings(**values, config_path=path, given=given, reload=reload)


def _source(
    option: Option,
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    from_file: Mapping[str, tuple[Place, str]],
) -> tuple[str, str]:
    """Where a setting comes from, for messages, and its text."""
    flag = flags.get(option.name)
    if flag is not None:
        return option.flag, flag
    if option.variable in environ:
        return option.variable, environ[option.variable]
    if option.name in from_file:
        place, text = from_file[option.name]
        return f"{place}: {option.name}", text
    if option.default is None:
        raise ConfigError(
            f"{option.flag} is missing; give it, or {option.variable}, or the key "
            f"{option.name!r} in the file, as in postgresql://howdah@localhost:5432/postgres"
        )
    return "default", option.default


def _check_variables(environ: Mapping[str, str]) -> None:
    known = {option.variable for option in OPTIONS} | {CONFIG_VARIABLE}
    for name in environ:
        if _FOREIGN_VARIABLE.fullmatch(name):
            continue
        if name.startswith(PREFIX) and name not in known:
            short = [variable.removeprefix(PREFIX).lower() for variable in known]
            near = units.suggestion(name.removeprefix(PREFIX), short).upper()
            near = near.replace("; DID YOU MEAN '", f"; did you mean '{PREFIX}")
            raise ConfigError(f"{name}: no setting has this variable{near}")


def _document(path: str, read_file: ReadFile) -> Value:
    try:
        text = read_file(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    document = parse(text, path)
    for key, value in _keys(document).items():
        if key not in FILE_KEYS:
            near = units.suggestion(key, FILE_KEYS)
            raise fail(value.key_place or value.place, f"unknown key {key!r}{near}")
    return document


def _keys(document: Value) -> dict[str, Value]:
    return document.content if isinstance(document.content, dict) else {}


def _file_texts(document: Value) -> dict[str, tuple[Place, str]]:
    texts = {}
    for key, value in _keys(document).items():
        if key == "rules" or value.content is None:
            continue  # `listen:` without a value is as good as absent
        match value.content:
            case str(text):
                texts[key] = (value.place, text)
            case list(items) if all(isinstance(item.content, str) for item in items):
                texts[key] = (value.place, ",".join(str(item.content) for item in items))
            case _:
                raise fail(value.place, f"{key!r} takes a plain value, not keys of its own")
    return texts


def _with_password(
    upstream: Upstream, environ: Mapping[str, str], read_passwords: ReadPasswords
) -> Upstream:
    if upstream.password is not None:
        return upstream
    password = environ.get("PGPASSWORD") or password_from_file(read_passwords(), upstream)
    return dataclasses.replace(upstream, password=password) if password else upstream


def json_schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors; kept in config/howdah.schema.json."""
    scalar = ["string", "number", "boolean", "null"]
    properties: dict[str, Any] = {}
    for option in OPTIONS:
        described = f"{option.help} ({option.kind}; default: {option.default or 'none, required'})"
        properties[option.name] = {"type": [*scalar, "array"], "description": described}
    rule = RuleModel.model_json_schema()
    definitions = rule.pop("$defs", {})
    properties["rules"] = {
        "type": ["array", "null"],
        "items": rule,
        "description": "Narrow what is cached, or set lifetimes; the first match decides.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Howdah",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": definitions,
    }
