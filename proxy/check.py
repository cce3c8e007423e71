"""`howdah check`: is the configuration right, and what does the upstream allow?

What lives here: one connection with Howdah's own role, a few facts, and what
they mean. It changes nothing. What must not: serving.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from proxy.errors import UpstreamError
from proxy.net.own import Login, OwnConnection, Refused, Unreachable
from proxy.net.tls import upstream_context
from proxy.net.upstream import Target
from proxy.settings import Settings

# has_role with 'usage': a right that the role has without SET ROLE.
_FACTS = """
SELECT pg_catalog.current_setting('server_version') AS version,
    pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.current_setting('wal_level') AS wal_level,
    r.rolreplication AS replication,
    pg_catalog.pg_has_role(r.oid, 'pg_read_all_stats', 'usage') AS stats
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the upstream says about itself and about Howdah's own role."""

    version: str
    standby: bool
    wal_level: str
    replication: bool
    stats: bool


def run(settings: Settings) -> int:
    """Print the report to stdout and return the exit code.

    Raises:
        ConfigError: certificates cannot be read.
        UpstreamError: PostgreSQL cannot be reached, or refuses the role.
    """
    facts = asyncio.run(_ask(settings))
    print("\n".join(report(settings, facts)))
    return 0


async def _ask(settings: Settings) -> Facts:
    upstream = settings.upstream
    context = upstream_context(upstream.sslmode, upstream.sslrootcert)
    target = Target(upstream.host, upstream.port, upstream.socket_dir, upstream.sslmode, context)
    connection = OwnConnection(Login(upstream, target), upstream.dbname)

    async def facts(link: Any) -> Facts:
        return Facts(**dict(await link.fetchrow(_FACTS)))

    try:
        return await connection.run(facts)
    except (Refused, Unreachable) as error:
        raise UpstreamError(
            f"{upstream.address}: {error}",
            hint="check the URL, the password and pg_hba.conf; clients are not affected by this "
            "role, but nothing is cached without it"
            if isinstance(error, Refused)
            else None,
        ) from None
    finally:
        connection.drop()


def report(settings: Settings, facts: Facts) -> list[str]:
    """The lines of the report."""
    role = settings.upstream.user
    rules = len(settings.rules)
    file = settings.config_path or "no file"
    lines = [
        f"configuration  right: {file}, {rules} rule{'' if rules == 1 else 's'}",
        f"upstream       {settings.upstream.address}, PostgreSQL {facts.version}",
        f"role           {role}: logs in; pg_read_all_stats: {_yes(facts.stats)}; "
        f"REPLICATION: {_yes(facts.replication)}; wal_level: {facts.wal_level}",
    ]
    if facts.standby:
        return [
            *lines,
            "contract       none: this server is in recovery, so statements are only relayed; "
            "name the primary",
        ]
    if settings.max_age is None:
        others = "max_age is none, so others must not write past Howdah"
    else:
        others = f"answers are at most {settings.max_age:g} s old where others write past Howdah"
    lines.append(f"contract       proxied: exact for writes through Howdah; {others}")
    wishes = _wishes(role, facts)
    if wishes:
        lines += ["", "What would give more:", *wishes]
    if settings.max_age is None and not facts.stats:
        lines += ["", "Needed: max_age is none, which requires pg_read_all_stats (see above)."]
    return lines


def _wishes(role: str, facts: Facts) -> list[str]:
    quoted = '"' + role.replace('"', '""') + '"'
    wishes = []
    if not facts.stats:
        wishes.append(
            f"  GRANT pg_read_all_stats TO {quoted};"
            "  -- shorter waits at start and after lost connections"
        )
    later = []
    if facts.wal_level != "logical":
        later.append("  ALTER SYSTEM SET wal_level = 'logical';  -- then restart PostgreSQL")
    if not facts.replication:
        later.append(f"  ALTER ROLE {quoted} REPLICATION;")
    if later:
        wishes += [
            "  For the contract `bounded` of later versions (not used by this one):",
            *later,
        ]
    return wishes


def _yes(value: bool) -> str:
    return "yes" if value else "no"
