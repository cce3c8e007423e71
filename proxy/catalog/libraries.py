"""Which settings with a dot in their names belong to libraries, and which to nobody.

What lives here: a reviewed table from libraries to the prefixes of their settings, and
what a name with a dot is. What must not: which of PostgreSQL's own settings matter
(`catalog.harmless`). A setting of a library may change how texts are read and functions
are planned, and appears or changes when the library is loaded; one that belongs to
nobody, a placeholder of guc.c, is a value that only current_setting() and SHOW tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.catalog.harmless import HARMLESS_SETTINGS, KEYED_SETTINGS
from proxy.catalog.snapshot import CatalogSnapshot

# Libraries by file name, without the version of PostGIS and its kin: those of PostgreSQL's
# contrib and languages, and a few others. What has none is listed, too.
_PREFIXES: dict[str, tuple[str, ...]] = {
    "auth_delay": ("auth_delay",),
    "auto_explain": ("auto_explain",),
    "basebackup_to_shell": ("basebackup_to_shell",),
    "hypopg": ("hypopg",),
    "isn": ("isn",),
    "passwordcheck": ("passwordcheck",),
    "pg_cron": ("cron",),
    "pg_hint_plan": ("pg_hint_plan",),
    "pg_prewarm": ("pg_prewarm",),
    "pg_stat_statements": ("pg_stat_statements",),
    "pg_trgm": ("pg_trgm",),
    "pgaudit": ("pgaudit",),
    "pgcrypto": ("pgcrypto",),
    "plperl": ("plperl",),
    "plpgsql": ("plpgsql",),
    "pltcl": ("pltcl", "pltclu"),
    "postgis": ("postgis",),
    "postgis_raster": ("postgis",),
    "postgis_sfcgal": ("postgis",),
    "postgis_topology": ("postgis",),
    "postgres_fdw": ("postgres_fdw",),
    "rtpostgis": ("postgis",),
    "sepgsql": ("sepgsql",),
    "vector": ("hnsw", "ivfflat"),
} | dict.fromkeys(
    """
    _int address_standardizer adminpack amcheck autoinc bloom bool_plperl btree_gin btree_gist
    citext cube dblink dict_int dict_xsyn earthdistance file_fdw fuzzystrmatch hstore
    hstore_plperl hstore_plpython3 insert_username jsonb_plperl jsonb_plpython3 lo ltree
    ltree_plpython3 moddatetime old_snapshot pageinspect pg_buffercache pg_freespacemap
    pg_logicalinspect pg_overexplain pg_surgery pg_visibility pg_walinspect pgrowlocks
    pgstattuple pgxml plpython3 refint seg sslinfo tablefunc tcn test_decoding tsm_system_rows
    tsm_system_time unaccent uuid-ossp
    """.split(),
    (),
)
# They belong to somebody, loaded or not.
_ALWAYS = frozenset(prefix for prefixes in _PREFIXES.values() for prefix in prefixes)

# One setting under two names, depending on the server.
_RENAMED = frozenset(("debug_parallel_query", "force_parallel_mode"))

_VERSION = re.compile(r"-[0-9][0-9.]*$")
_CUSTOM = re.compile(r"[a-z_][a-z0-9_$]*(?:\.[a-z_][a-z0-9_$]*)+")


def reserved(libraries: Iterable[tuple[str, str]]) -> tuple[frozenset[str], bool]:
    """The prefixes that belong to libraries, and whether there may be others.

    Args:
        libraries: pairs as `catalog.rows` has them: l and a file, p and a prefix.
    """
    prefixes, unknown = set(_ALWAYS), False
    for kind, name in libraries:
        if kind == "p":
            prefixes.add(name.lower())
            continue
        library = _library(name)
        if library and library not in _PREFIXES:
            # Most are named after the extension that has them.
            prefixes.add(library.lower())
            unknown = True
    return frozenset(prefixes), unknown


def _library(file: str) -> str:
    """What a library is called, from a path or a member of a list."""
    name = file.strip().strip('"').rpartition("/")[2]
    return _VERSION.sub("", name.removesuffix(".so").removesuffix(".dylib"))


def plain(name: str) -> str:
    """A setting's name as PostgreSQL compares it: without regard to the case of ASCII letters."""
    return name.lower() if name.isascii() else name


def is_custom(name: str, catalog: CatalogSnapshot | None) -> bool:
    """Whether a setting of that plain name surely belongs to nobody."""
    return catalog is not None and not catalog.unknown_libraries and _is_free(name, catalog)


def _is_free(name: str, catalog: CatalogSnapshot) -> bool:
    """Whether no library is known to have settings of that name."""
    return _CUSTOM.fullmatch(name) is not None and name.partition(".")[0] not in catalog.reserved


def to_watch(name: str, catalog: CatalogSnapshot) -> str | None:
    """What must be in the key for an answer that depends on a setting of that plain name.

    Returns:
        The name; "" if it is there in any case; None if its value cannot be followed.
    """
    if name in KEYED_SETTINGS:
        return ""
    if name in _RENAMED:
        return None
    if name in HARMLESS_SETTINGS or _is_free(name, catalog):
        return name
    return None
