"""A small catalog made by hand: one relation of every kind that decisions tell apart."""

from __future__ import annotations

from proxy.catalog.build import build
from proxy.catalog.rows import (
    BuiltinRow,
    ExpressionRow,
    FunctionRow,
    RelationRow,
    Rows,
    TriggerRow,
    TypeRow,
)

INT, TEXT, TIMESTAMPTZ, DATE, TIMETZ, REGCLASS = 23, 25, 1184, 1082, 1266, 2205
MOOD, POSITIVE, CHECKED, POINT3, BAD_DOMAIN = 20001, 20002, 20003, 20004, 20005
IMMUTABLE_C, VOLATILE_SQL, STABLE_C, UUID_C, TRIGGER, TSV_TRIGGER = (
    21001,
    21002,
    21003,
    21004,
    21005,
    3752,
)

TYPES = [
    TypeRow(16, "pg_catalog", "bool"),
    TypeRow(20, "pg_catalog", "int8"),
    TypeRow(INT, "pg_catalog", "int4"),
    TypeRow(TEXT, "pg_catalog", "text"),
    TypeRow(1043, "pg_catalog", "varchar"),
    TypeRow(1700, "pg_catalog", "numeric"),
    TypeRow(3802, "pg_catalog", "jsonb"),
    TypeRow(1186, "pg_catalog", "interval"),
    TypeRow(TIMESTAMPTZ, "pg_catalog", "timestamptz"),
    TypeRow(1114, "pg_catalog", "timestamp"),
    TypeRow(DATE, "pg_catalog", "date"),
    TypeRow(TIMETZ, "pg_catalog", "timetz"),
    TypeRow(REGCLASS, "pg_catalog", "regclass"),
    TypeRow(2206, "pg_catalog", "regtype"),
    TypeRow(26, "pg_catalog", "oid"),
    TypeRow(1009, "pg_catalog", "_text", element=TEXT),
    TypeRow(1028, "pg_catalog", "_oid", element=26),
    TypeRow(1182, "pg_catalog", "_date", element=DATE),
    TypeRow(3908, "pg_catalog", "tstzrange", kind="r", subtype=TIMESTAMPTZ),
    TypeRow(MOOD, "public", "mood", kind="e"),
    TypeRow(POSITIVE, "public", "positive", kind="d", base=INT),
    TypeRow(CHECKED, "public", "day", kind="d", base=DATE),
    TypeRow(POINT3, "public", "point3", functions=(IMMUTABLE_C,)),
]

# name, least, most, volatility (1 immutable, 2 stable, 3 volatile), accepts a row
BUILTINS = [
    BuiltinRow(*row)
    for row in (
        ("count", 0, 0, 1),
        ("count", 1, 1, 1, True),
        ("sum", 1, 1, 1),
        ("max", 1, 1, 1),
        ("min", 1, 1, 1),
        ("lower", 1, 1, 1),
        ("length", 1, 1, 1),
        ("coalesce_text", 2, 2, 1),
        ("row_number", 0, 0, 1),
        ("rank", 0, 0, 1),
        ("array_agg", 1, 1, 1),
        ("unnest", 1, 1, 1),
        ("generate_series", 2, 2, 1),
        ("generate_series", 3, 3, 2),
        ("percentile_cont", 2, 2, 1),
        ("date_trunc", 2, 2, 2),
        ("extract", 2, 2, 2),
        ("timezone", 2, 2, 2),
        ("to_char", 2, 2, 2),
        ("to_timestamp", 1, 1, 1),
        ("jsonb_agg", 1, 1, 2, True),
        ("jsonb_build_object", 0, -1, 2),
        ("jsonb_array_elements_text", 1, 1, 1),
        ("json_to_record", 1, 1, 2),
        ("string_agg", 2, 2, 1),
        ("date", 1, 1, 2),
        ("replace", 3, 3, 1),
        ("now", 0, 0, 2),
        ("age", 1, 1, 2),
        ("age", 2, 2, 1),
        ("clock_timestamp", 0, 0, 3),
        ("random", 0, 0, 3),
        ("nextval", 1, 1, 3),
        ("pg_sleep", 1, 1, 3),
        ("gen_random_uuid", 0, 0, 3),
        ("pg_advisory_xact_lock", 1, 1, 3),
        ("pg_advisory_unlock_all", 0, 0, 3),
        ("set_config", 3, 3, 3),
        ("current_setting", 1, 1, 2),
        ("current_schema", 0, 0, 2),
        ("current_schemas", 1, 1, 2),
        ("current_setting", 2, 2, 2),
        ("getpgusername", 0, 0, 2),
        ("version", 0, 0, 2),
        ("pg_backend_pid", 0, 0, 2),
        ("pg_is_in_recovery", 0, 0, 3),
        ("pg_typeof", 1, 1, 2, True),
        ("pg_relation_size", 1, 1, 3),
        ("format_type", 2, 2, 2),
        ("pg_get_expr", 2, 3, 2),
        ("array_to_string", 2, 2, 2),
        ("obj_description", 2, 2, 2),
        ("array_position", 2, 2, 1),
        ("to_regtype", 1, 1, 2),
        ("query_to_xml", 4, 4, 3),
        ("table_to_xml", 4, 4, 2),
        ("lo_unlink", 1, 1, 3),
        ("pg_import_system_collations", 1, 1, 3),
        ("pg_reload_conf", 0, 0, 3),
        ("pg_notify", 2, 2, 3),
        ("pg_partition_ancestors", 1, 1, 3),
        ("has_table_privilege", 2, 2, 2),
        ("quote_ident", 1, 1, 1),
        ("current_database", 0, 0, 2),
        ("_pg_expandarray", 1, 1, 1, False, "information_schema"),
    )
]

# Nobody knows what it does.
DYNAMIC = "BEGIN EXECUTE current_setting('app.command'); END"

FUNCTIONS = [
    FunctionRow(IMMUTABLE_C, "public", "fast", 1, 1, "i", "c"),
    FunctionRow(VOLATILE_SQL, "public", "writes", 0, 0, "v", "plpgsql", source=DYNAMIC),
    FunctionRow(
        VOLATILE_SQL + 100, "public", "says_immutable", 1, 1, "i", "plpgsql", source=DYNAMIC
    ),
    FunctionRow(STABLE_C, "public", "remote", 0, 1, "s", "c"),
    FunctionRow(UUID_C, "public", "uuid_generate_v4", 0, 0, "v", "c", "uuid-ossp"),
    FunctionRow(TRIGGER, "public", "touch", 0, 0, "v", "plpgsql", source=DYNAMIC, row=False),
    FunctionRow(21006, "public", "total", 1, 1, "i", "internal", kind="a", support=(21001,)),
    FunctionRow(
        21007, "public", "total_sql", 1, 1, "i", "internal", kind="a", support=(21102, 21001)
    ),
    FunctionRow(21008, "other", "lower", 1, 1, "v", "plpgsql", source=DYNAMIC, row=False),
    FunctionRow(21009, "public", "defaulted", 0, 1, "i", "c", constant_defaults=False),
    FunctionRow(21010, "public", "replace", 3, 3, "i", "sql", "citext", row=False),
    FunctionRow(21011, "public", "full_name", 1, 1, "s", "sql", source="SELECT writes()"),
]

_COLUMNS = {"columns": ("id", "name", "made"), "types": (INT, TEXT, TIMESTAMPTZ)}


def _table(oid: int, name: str, schema: str = "public", **more) -> RelationRow:
    return RelationRow(oid, schema, name, **{**_COLUMNS, **more})


RELATIONS = [
    RelationRow(1259, "pg_catalog", "pg_class", columns=None, types=None),
    RelationRow(1247, "pg_catalog", "pg_type", columns=None, types=None),
    RelationRow(1249, "pg_catalog", "pg_attribute", columns=None, types=None),
    RelationRow(2615, "pg_catalog", "pg_namespace", columns=None, types=None),
    RelationRow(2604, "pg_catalog", "pg_attrdef", columns=None, types=None),
    RelationRow(3602, "pg_catalog", "pg_index", columns=None, types=None),
    RelationRow(12000, "pg_catalog", "pg_settings", "v", columns=None, types=None),
    RelationRow(12001, "pg_catalog", "pg_range", columns=None, types=None),
    RelationRow(12002, "pg_catalog", "pg_database", columns=None, types=None),
    RelationRow(12003, "pg_catalog", "pg_stat_activity", "v", columns=None, types=None),
    RelationRow(12004, "pg_catalog", "pg_enum", columns=None, types=None),
    RelationRow(13000, "information_schema", "columns", "v", columns=None, types=None),
    RelationRow(13001, "information_schema", "tables", "v", columns=None, types=None),
    _table(30001, "a"),
    _table(30002, "b", columns=("id", "a_id", "name"), types=(INT, INT, TEXT)),
    _table(30003, "c", columns=("id", "b_id"), types=(INT, INT)),
    _table(30004, "a", "other"),
    _table(30005, "only_other", "other"),
    _table(30006, "unlogged", persistence="u"),
    _table(30007, "secured", row_security=True),
    _table(30008, "triggered"),
    _table(30009, "ruled", has_rules=True),
    _table(30010, "parted", kind="p"),
    _table(30011, "part_1", is_partition=True),
    _table(30012, "part_2", is_partition=True),
    _table(30013, "plain_view", kind="v"),
    _table(30014, "writing_view", kind="v"),
    _table(30015, "matview", kind="m"),
    _table(30016, "elsewhere", kind="f"),
    _table(30017, "numbers", kind="S"),
    _table(30018, "virtual", virtual=True),
    _table(30019, "zoned", columns=("id", "at"), types=(INT, TIMETZ)),
    _table(30020, "named", columns=("id", "rel"), types=(INT, REGCLASS)),
    _table(30021, "typed", columns=("id", "m", "p", "v"), types=(INT, MOOD, POSITIVE, POINT3)),
    _table(30022, "composed", columns=("id", "x"), types=(INT, 29999)),
    _table(30023, "defaulted"),
    _table(30024, "uuids"),
    _table(30025, "indexed"),
    _table(30026, "temporary", "pg_temp_3", persistence="t"),
    _table(30027, "view_of_writing_view", kind="v"),
    _table(30028, "searched"),
    _table(30029, "child_of_triggered"),
    _table(30030, "texts", columns=("id", "made"), types=(INT, TEXT)),
    _table(30032, "ruled_opaquely", has_rules=True),
    _table(30031, "mixed", columns=("id", "version", "age"), types=(INT, INT, INT)),
]

EXPRESSIONS = [
    ExpressionRow(30013, "v", False, (871,), (30001,)),
    ExpressionRow(30014, "v", False, (VOLATILE_SQL,), (30001,)),
    ExpressionRow(30027, "v", False, (), (30014,)),
    ExpressionRow(30009, "3", False, (), (30009, 30003), ("QUERY",), commands=(1, 3)),
    ExpressionRow(30032, "3", False, (VOLATILE_SQL,), (30032,), ("QUERY",), commands=(1,)),
    ExpressionRow(30023, "d", False, (VOLATILE_SQL,)),
    ExpressionRow(30024, "d", False, (UUID_C,)),
    ExpressionRow(30025, "i", False, (VOLATILE_SQL + 100,)),
    ExpressionRow(CHECKED, "t", False, (871,)),
]


def sample_rows(**more) -> Rows:
    """The rows; every part can be replaced."""
    parts = {
        "database": (5, False, False),
        "relations": RELATIONS,
        "inherits": [(30010, 30011), (30010, 30012)],
        # (parent, child, on update, on delete)
        "foreign_keys": [
            (30001, 30002, "a", "c"),
            (30002, 30003, "c", "n"),
            (30029, 30001, "a", "a"),
            (30003, 30029, "a", "a"),
            (30018, 30008, "a", "c"),
        ],
        "triggers": [TriggerRow(30008, TRIGGER), TriggerRow(30028, TSV_TRIGGER)],
        "expressions": EXPRESSIONS,
        "builtins": BUILTINS,
        "builtin_oids": [
            (871, "upper", "i", 1, False),
            (TSV_TRIGGER, "tsvector_update_trigger", "v", 0, False),
        ],
        "functions": FUNCTIONS,
        "operators": [("public", "%%%", VOLATILE_SQL), ("public", "~=~", IMMUTABLE_C)],
        "types": TYPES,
    }
    return Rows(**{**parts, **more})


SAMPLE = build(sample_rows())
PATH = ("pg_catalog", "public")
