"""The question that Howdah asks on a client's own backend, and its answer.

One row says who the session is, where it is, and everything of its settings
that can change an answer (K1 to K4, F2, F8). It is schema-qualified, uses a
named statement and portal so that the client's unnamed ones survive, closes
both, and travels in front of the client's own request, so that it costs no
round trip.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from proxy.catalog.harmless import HARMLESS_SETTINGS
from proxy.errors import ProtocolError
from proxy.wire import messages

NAME = b"howdah probe"

# What identifies a running primary. The same expressions are used on Howdah's own
# connection: as text they are equal under all settings. After a crash of one backend the
# postmaster starts over with the same start time, though acknowledged asynchronous commits
# may be gone (F8); its statistics are thrown away then, and the moment of that is visible.
IDENTITY_COLUMNS = """
 (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()),
 (SELECT timeline_id::pg_catalog.text FROM pg_catalog.pg_control_checkpoint()),
 pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())
 ::pg_catalog.numeric(20,6)::pg_catalog.text
 OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||)
 COALESCE((SELECT pg_catalog.date_part('epoch', stats_reset)
 ::pg_catalog.numeric(20,6)::pg_catalog.text FROM pg_catalog.pg_stat_archiver), '')
"""

_HARMLESS = ",".join(sorted(HARMLESS_SETTINGS))
_EQ = "OPERATOR(pg_catalog.=)"
_CAT = "OPERATOR(pg_catalog.||)"
_TEMP = f"{_EQ} pg_catalog.pg_my_temp_schema()"

# Roles that can write unseen: they run programs, make connections, switch counters off.
MIGHTY = f"(r.rolsuper OR r.rolname {_EQ} 'pg_execute_server_program')"

# PL/pgSQL's own settings are in pg_settings only where it is loaded, but may be set before.
# The same goes for extensions whose settings decide what their functions answer.
_PLACEHOLDERS = f" {_CAT} ';' {_CAT} ".join(
    f"CASE WHEN COALESCE(pg_catalog.current_setting('{name}', true), '') {_EQ} ''"
    f" THEN '{default}' ELSE pg_catalog.current_setting('{name}', true) END"
    for name, default in (
        ("plpgsql.variable_conflict", "error"),
        ("plpgsql.check_asserts", "on"),
        ("plpgsql.extra_errors", "none"),
        ("plpgsql.extra_warnings", "none"),
        ("hnsw.ef_search", "40"),
        ("hnsw.iterative_scan", "off"),
        ("hnsw.max_scan_tuples", "20000"),
        ("hnsw.scan_mem_multiplier", "1"),
        ("ivfflat.probes", "1"),
        ("ivfflat.iterative_scan", "off"),
        ("ivfflat.max_probes", "32768"),
        ("isn.weak", "off"),
    )
)

_COUNTS = f"""NOT name {_EQ} ANY ('{{{_HARMLESS}}}'::pg_catalog.text[])
 AND NOT (pg_catalog.strpos(name, '.') OPERATOR(pg_catalog.>) 0
 AND (COALESCE(setting {_EQ} boot_val, false) OR pg_catalog.starts_with(name, 'plpgsql.')))"""

PROBE_SQL = f"""SELECT pg_catalog.pg_backend_pid(),
 (SELECT oid FROM pg_catalog.pg_database WHERE datname {_EQ} pg_catalog.current_database()),
 session_user, current_user,
 pg_catalog.pg_is_in_recovery(),
 {IDENTITY_COLUMNS},
 pg_catalog.array_to_json(pg_catalog.current_schemas(true)),
 (SELECT pg_catalog.md5(pg_catalog.string_agg(name {_CAT} '=' {_CAT} value, ',' ORDER BY name))
 FROM (SELECT name, CASE WHEN setting IS NULL THEN '' ELSE setting END AS value
 FROM pg_catalog.pg_settings
 WHERE {_COUNTS}
 UNION ALL SELECT 'placeholders', {_PLACEHOLDERS}) settings),
 pg_catalog.current_setting('default_transaction_isolation'),
 pg_catalog.current_setting('idle_session_timeout', true),
 pg_catalog.current_setting('idle_in_transaction_session_timeout', true),
 pg_catalog.current_setting('transaction_timeout', true),
 EXISTS (SELECT 1 FROM pg_catalog.pg_class WHERE relnamespace {_TEMP})
 OR EXISTS (SELECT 1 FROM pg_catalog.pg_proc WHERE pronamespace {_TEMP})
 OR EXISTS (SELECT 1 FROM pg_catalog.pg_type WHERE typnamespace {_TEMP})
 OR COALESCE(pg_catalog.starts_with(pg_catalog.current_schema()::pg_catalog.text,
 'pg_temp_'), false),
 (SELECT oid FROM pg_catalog.pg_roles WHERE rolname {_EQ} session_user),
 (SELECT oid FROM pg_catalog.pg_roles WHERE rolname {_EQ} current_user),
 EXISTS (SELECT FROM pg_catalog.pg_roles r
 WHERE {MIGHTY} AND pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')),
 (SELECT pg_catalog.md5(pg_catalog.string_agg(name {_CAT} '=' {_CAT} COALESCE(reset_val, ''), ','
 ORDER BY name)) FROM pg_catalog.pg_settings WHERE {_COUNTS})
""".replace("\n", " ")

_EMPTY = "''::pg_catalog.text"
# Prepared statements of the session: opaque code may have replaced them.
_STATEMENTS = """, (SELECT pg_catalog.json_object_agg(name, pg_catalog.md5(statement))
 FROM pg_catalog.pg_prepared_statements WHERE NOT from_sql)""".replace("\n", " ")


def _messages(sql: str) -> bytes:
    return (
        messages.parse(NAME, sql.encode())
        + messages.bind(NAME, NAME)
        + messages.execute(NAME)
        + messages.close(b"P", NAME)
        + messages.close(b"S", NAME)
        + messages.SYNC
    )


@lru_cache(maxsize=1024)
def asking(watched: tuple[str, ...], *, statements: bool = False) -> bytes:
    """The messages of the probe, Sync included.

    Args:
        watched: names of settings whose values are asked for, of letters, digits, `_`, `$`, `.`.
        statements: ask for prepared statements, too.
    """
    values = [f"pg_catalog.current_setting('{name}', true)" for name in watched]
    nulls = [f"CASE WHEN {value} IS NULL THEN '{at},' END" for at, value in enumerate(values)]
    custom = (
        f"pg_catalog.md5(pg_catalog.json_build_array({', '.join(values)})::pg_catalog.text)"
        f" {_CAT} ':' {_CAT} pg_catalog.concat({', '.join(nulls)})"
    )
    sql = f"{PROBE_SQL}, {custom if watched else _EMPTY}"
    return _messages(sql + _STATEMENTS if statements else sql)


Identity = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """The row, decoded. `identity` is system identifier, timeline, postmaster start.

    Roles come as names, for rules, and as OIDs: a name can pass to another role.
    `mighty` tells whether the login's role, or one that it may take, can write unseen.
    `audience` is no part of the row: rules may tell sessions apart, see `policy.rules`.
    """

    pid: int
    database: int
    login_role: str
    role: str
    in_recovery: bool
    identity: Identity
    search_path: tuple[str, ...]
    settings: str
    read_committed: bool
    idle_timeout: float | None
    defers: bool
    temporary: bool
    login_oid: int = 0
    role_oid: int = 0
    mighty: bool = True
    # A hash of what RESET ALL goes back to.
    resets: str = field(default="", compare=False)
    # A hash of the values of the settings that are watched, and the places of those that
    # the session does not have at all.
    custom: str = ""
    audience: int = 0

    @property
    def undefined(self) -> str:
        """Watched settings that nobody has set yet in this session.

        What a transaction sets first is not undone: it stays, with an empty value.
        """
        return self.custom.partition(":")[2]

    statements: Mapping[str, str] = field(default_factory=dict, compare=False)


def decode(payload: bytes) -> Answer:
    """Decode the DataRow of the probe. Raises ProtocolError where it is not one."""
    try:
        row = [None if v is None else v.decode("utf-8") for v in messages.data_row(payload)]
        idle, idle_block, block = (_seconds(value) for value in row[11:14])
        timeouts = [value for value in (idle, idle_block) if value]
        return Answer(
            pid=int(row[0] or 0),
            database=int(row[1] or 0),
            login_role=row[2] or "",
            role=row[3] or "",
            in_recovery=row[4] == "t",
            identity=(row[5] or "", row[6] or "", row[7] or ""),
            # An empty temporary schema of the backend's own resolves nothing.
            search_path=tuple(
                schema
                for schema in json.loads(row[8] or "[]")
                if row[14] == "t" or not schema.startswith("pg_temp_")
            ),
            settings=row[9] or "",
            read_committed=row[10] == "read committed",
            idle_timeout=min(timeouts, default=None),
            # Outside of a transaction it would be struck by what does not reach into one.
            defers=not (idle or idle_block or block),
            temporary=row[14] == "t",
            login_oid=int(row[15] or 0),
            role_oid=int(row[16] or 0),
            mighty=row[17] != "f",
            resets=row[18] or "",
            custom=row[19] or "",
            statements=json.loads(row[20] or "{}") if len(row) > 20 else {},
        )
    except (ValueError, IndexError, TypeError) as error:
        raise ProtocolError(f"the answer to the session probe cannot be read: {error}") from error


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: str | None) -> float:
    """A time setting as SHOW prints it, in seconds; 0 where it is off or unknown."""
    if not value:
        return 0.0
    digits = value.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(digits) * _UNITS.get(value[len(digits) :] or "ms", 1.0)
