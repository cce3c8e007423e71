"""The SQL that reads a catalog, for PostgreSQL 13 to 18, without superuser.

What lives here: one constant per query; the row types of `catalog.build` name
their columns. What must not: any judgement beyond cheap filters. Everything is
qualified, since the caller's search_path is empty.

Expressions are taken from their stored node trees, where functions appear as
`:funcid N` and the like (readfuncs.c): exact by OID, and cheaper than deparsing.
"""

from __future__ import annotations

# OIDs below this belong to objects made by initdb (transam.h, FirstNormalObjectId).
FIRST_USER_OID = 16384

# Without these words a body holds neither DDL nor dynamic SQL (see `sql.literals`).
_SCHEMA_WORDS = (
    r"\y(?:execute|create|alter|drop|grant|revoke|reassign|load|prepare|deallocate|discard"
    r"|import\s+foreign|security\s+label|query_to_xml\w*|dblink\w*)\y"
)
# In SQL functions, not in PL/pgSQL, SELECT INTO makes a table.
_SELECT_INTO = r"\yselect\y[^;]*\yinto\y"

DATABASE = """
select d.oid,
       exists (select from pg_catalog.pg_event_trigger
               where evtenabled <> 'D' and evtevent <> 'login'),
       exists (select from pg_catalog.pg_event_trigger
               where evtenabled <> 'D' and evtevent = 'login')
from pg_catalog.pg_database d where d.datname = pg_catalog.current_database()
"""

RELATIONS = """
select c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       c.relhasrules, c.relispartition, c.relrowsecurity, a.names, a.types,
       coalesce(a.virtual, false),
       pg_catalog.md5(pg_catalog.concat_ws(';', c.relowner, c.relacl::text,
           c.relforcerowsecurity, c.reloptions::text, a.details))
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join (
    select attrelid,
           pg_catalog.array_agg(attname::text order by attnum) as names,
           pg_catalog.array_agg(atttypid order by attnum) as types,
           pg_catalog.bool_or(attgenerated = 'v') as virtual,
           pg_catalog.string_agg(
               pg_catalog.concat_ws(':', atttypmod, attcollation, attacl::text), ','
               order by attnum) as details
    from pg_catalog.pg_attribute
    where attrelid >= 16384 and attnum > 0 and not attisdropped
      and ($1::pg_catalog.oid[] is null or attrelid = any($1))
    group by attrelid
) a on a.attrelid = c.oid
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  and (c.oid >= 16384 or n.nspname in ('pg_catalog', 'information_schema'))
  and ($1::pg_catalog.oid[] is null or c.oid = any($1))
order by c.oid
"""

# What decides about effective search paths and privileges; only its sameness matters.
# Roles and their members belong to the cluster, but are what USAGE depends on. The owner of
# the database is a member of pg_database_owner, and its name is what current_database() says.
_NAMES = """(select pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(':', oid, rolname, rolsuper, rolinherit, rolbypassrls), ','
            order by oid)) from pg_catalog.pg_roles)"""
_MEMBERS = """(select pg_catalog.md5(pg_catalog.string_agg(m::text, ','
            order by roleid, member, m::text)) from pg_catalog.pg_auth_members m)"""
_ROLES = f"""
       {_NAMES}, {_MEMBERS},
       (select pg_catalog.concat_ws(':', datname, datdba) from pg_catalog.pg_database
        where datname = pg_catalog.current_database())
"""
SURROUNDINGS = f"""
select (select pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(':', oid, nspname, nspowner, nspacl::text), ',' order by oid))
        from pg_catalog.pg_namespace where nspname !~ '^pg_(toast_)?temp_'),
{_ROLES}
"""

INHERITS = """
select inhparent, inhrelid from pg_catalog.pg_inherits order by 1, 2
"""

FOREIGN_KEYS = """
select confrelid, conrelid, confupdtype::text, confdeltype::text, conname::text
from pg_catalog.pg_constraint where contype = 'f' order by 1, 2, 3, 4, oid
"""

# Unique keys whose equality is that of ORDER BY, over columns that are never null.
KEYS = """
select i.indrelid, pg_catalog.array_agg(a.attname::text order by a.attnum)
from pg_catalog.pg_index i
cross join lateral pg_catalog.generate_series(0, i.indnkeyatts - 1) n
join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[n]
join pg_catalog.pg_opclass o on o.oid = i.indclass[n]
where i.indrelid >= 16384 and i.indisunique and i.indisvalid and i.indimmediate
  and i.indpred is null and i.indexprs is null
group by i.indexrelid, i.indrelid
having pg_catalog.bool_and(a.attnotnull and a.attcollation = i.indcollation[n] and o.opcdefault
  and not exists (select from pg_catalog.pg_constraint c where c.conrelid = i.indrelid
    and c.contype = 'n' and not c.convalidated and c.conkey[1] = a.attnum))
order by i.indexrelid
"""

# Whether texts that look different may be equal.
EQUAL_TEXTS = """
select exists (select from pg_catalog.pg_collation where not collisdeterministic)
"""

# Triggers that PostgreSQL makes for foreign keys call built-in functions; copies of a
# user's trigger on partitions are internal too in some versions.
TRIGGERS = """
select t.tgrelid, t.tgfoid, t.tgtype::int, t.tgdeferrable,
       pg_catalog.array_remove(array[t.tgoldtable::text, t.tgnewtable::text], null),
       t.tgname::text
from pg_catalog.pg_trigger t
where (not t.tgisinternal or t.tgfoid >= 16384) and t.tgenabled <> 'D' order by t.oid
"""

# The policies that a plain SELECT applies, and what beside its expressions makes a policy.
_READING = "polcmd in ('r', '*')"
_POLICY = "polcmd::text || polpermissive::text || polroles::text"

# Where expressions are stored: owner, purpose, tree, catalog, condition. The purposes are
# those of `ExpressionRow`.
_SOURCES = (
    ("adrelid", "'d'", "adbin::text", "pg_attrdef", "true"),
    ("conrelid", "'d'", "conbin::text", "pg_constraint", "conbin is not null"),
    ("contypid", "'t'", "conbin::text", "pg_constraint", "conbin is not null"),
    ("oid", "'t'", "typdefaultbin::text", "pg_type", "typdefaultbin is not null"),
    (
        "indrelid",
        "'i'",
        "coalesce(indexprs::text, '') || coalesce(indpred::text, '')",
        "pg_index",
        "(indexprs is not null or indpred is not null)",
    ),
    ("partrelid", "'p'", "partexprs::text", "pg_partitioned_table", "partexprs is not null"),
    (
        "stxrelid",
        "'i'",
        "pg_catalog.to_jsonb(s) ->> 'stxexprs'",
        "pg_statistic_ext s",
        "pg_catalog.to_jsonb(s) ->> 'stxexprs' is not null",
    ),
    ("tgrelid", "'w'", "tgqual::text", "pg_trigger", "tgqual is not null and tgenabled <> 'D'"),
    (
        "ev_class",
        "case when ev_type = '1' then 'v' else ev_type::text end",
        "ev_action::text || coalesce(ev_qual::text, '')",
        "pg_rewrite",
        "(ev_type = '1' or ev_enabled <> 'D')",
    ),
    ("oid", "'a'", "proargdefaults::text", "pg_proc", "proargdefaults is not null"),
    ("oid", "'b'", "prosqlbody::text", "pg_proc", "prosqlbody is not null"),
    ("polrelid", "'r'", f"coalesce(polqual::text, '') || {_POLICY}", "pg_policy", _READING),
    (
        "polrelid",
        "'c'",
        f"case when {_READING} then '' else coalesce(polqual::text, '') end"
        f" || coalesce(polwithcheck::text, '') || {_POLICY}",
        "pg_policy",
        "true",
    ),
)


def _union(tree: bool, condition: str) -> str:
    """All sources; with their trees, or with a hash that changes with the row."""
    return " union all ".join(
        f"""select {owner} as owner, {purpose} as purpose,
        {text if tree else _hash("xmin::text::bigint")} as tree
        from pg_catalog.{catalog} where {where} and {condition.format(owner)}"""
        for owner, purpose, text, catalog, where in _SOURCES
    )


def _hash(value: str, seed: str = "0") -> str:
    return f"pg_catalog.hashint8extended({value}, {seed})"


# All owners, or those of a list.
_WANTED = "{0} >= 16384 and ($1::pg_catalog.oid[] is null or {0} = any($1))"
_WHOLE = "array['v', '2', '3', '4', 'r', 'c', 'a', 'b', 't']"


def _found(pattern: str, kind: str, *signs: str) -> str:
    """What a pattern finds in trees that are whole queries, or may hold them.

    Only those that hold one of the `signs` are searched; those are cheaper to look for.
    """
    signed = " or ".join(f"pg_catalog.strpos(x.t, '{sign}') > 0" for sign in signs) or "true"
    return f"""case when purpose = any({_WHOLE}) then coalesce(
        (select pg_catalog.array_agg(distinct m[1]::{kind})
         from pg_catalog.unnest(pg_catalog.array_agg(tree)) x(t),
              pg_catalog.regexp_matches(x.t, '{pattern}', 'g') m
         where {signed}), '{{}}')
       else '{{}}' end"""


# current_setting(text) and current_setting(text, boolean). A match without the bytes of a
# constant is a call whose setting is not known before it runs.
_SETTINGS_READ = (
    ":(?:funcid|opfuncid|aggfnoid|winfnoid) (?:2077|3294) "
    "(?:[^(){}]*:args [(][{]CONST :consttype 25 [^{}]*:constvalue [0-9]+ [[] ([-0-9 ]+) []])?"
)

# Fields that say that a query gives some of its rows by their place, or gathers them in an
# array (ARRAY_SUBLINK of primnodes.h).
_CHOICES = (":limitCount {", ":limitOffset {", ":hasDistinctOn true", ":subLinkType 6")
_CHOOSES = " or ".join(f"pg_catalog.strpos(tree, '{sign}') > 0" for sign in _CHOICES)

# For PostgreSQL 14 and later.
EXPRESSIONS = f"""
with trees as materialized ({_union(True, _WANTED)})
select owner, purpose,
       pg_catalog.bool_or(pg_catalog.strpos(tree, 'COERCETODOMAIN') > 0),
       coalesce((select pg_catalog.array_agg(distinct m[1]::pg_catalog.oid)
        from pg_catalog.unnest(pg_catalog.array_agg(tree)) x(t),
             pg_catalog.regexp_matches(
                 x.t, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([1-9][0-9]*)', 'g') m),
        '{{}}'),
       {_found(":relid ([1-9][0-9]*)", "pg_catalog.oid")},
       {_found("[{]([A-Z_]+)", "text")}
       || case when pg_catalog.bool_or({_CHOOSES}) then '{{chooses}}'::text[] else '{{}}' end,
       {_found(":resulttype ([0-9]+) :resultcollid", "pg_catalog.oid")},
       {_found("[{]SQLVALUEFUNCTION :op ([0-9]+)", "int", "SQLVALUEFUNCTION")},
       {_found(":commandType ([0-9]+)", "int")},
       case when purpose = any({_WHOLE})
            then pg_catalog.bool_or(tree ~ ':varattno -[0-9]') else false end,
       {_found(_SETTINGS_READ, "text", "id 2077 ", "id 3294 ")},
       case when purpose = any({_WHOLE})
            then pg_catalog.md5(pg_catalog.string_agg(tree, ' ' order by tree)) else '' end
from trees group by owner, purpose order by 1, 2
"""

# PostgreSQL 13 has no BEGIN ATOMIC.
EXPRESSIONS_13 = EXPRESSIONS.replace("prosqlbody", "null")

# What changes whenever the row of `RELATIONS` of that OID does, and the same of others.
# A row that is written anew has another xmin. Types are compared by themselves.
_XMIN = "{}.xmin::text::bigint"
RELATION_VERSIONS = f"""
select c.oid, {_hash(_XMIN.format("c"), _hash(_XMIN.format("n"), "coalesce(a.version, 0)"))}
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join (
    select attrelid, pg_catalog.hash_numeric_extended(
        pg_catalog.sum({_hash("xmin::text::bigint", "attnum::bigint")}), 0) as version
    from pg_catalog.pg_attribute where attrelid >= 16384 and attnum > 0 group by attrelid
) a on a.attrelid = c.oid
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  and (c.oid >= 16384 or n.nspname in ('pg_catalog', 'information_schema'))
"""
FUNCTION_VERSIONS = f"""
select p.oid, {
    _hash(_XMIN.format("p"), _hash(_XMIN.format("n"), "l.version # coalesce(d.version, 0)"))
}
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join (select oid, {_hash("xmin::text::bigint")} as version from pg_catalog.pg_language) l
  on l.oid = p.prolang
left join (
    select d.objid, pg_catalog.hash_numeric_extended(
           pg_catalog.sum({_hash(_XMIN.format("d"), "d.refobjid::bigint")}), 0) as version
    from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
      and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'
    group by d.objid
) d on d.objid = p.oid
where p.oid >= 16384
"""
EXPRESSION_VERSIONS = f"""
select owner, pg_catalog.hash_numeric_extended(pg_catalog.sum(tree), 0)
from ({_union(False, "{0} >= 16384")}) x group by owner
"""
EXPRESSION_VERSIONS_13 = EXPRESSION_VERSIONS.replace("prosqlbody", "null")

# Built-in functions that are used by OID somewhere: triggers, expressions, operators, casts.
BUILTIN_OIDS = """
select oid, proname::text, provolatile::text, pronargs::int,
       1266 = any(proargtypes) or prorettype = 1266
from pg_catalog.pg_proc
where oid < 16384 and oid = any($1::pg_catalog.oid[]) order by oid
"""

# `row`: accepts a whole row as its only argument (anyelement, any, record and kin).
BUILTINS = """
select p.proname::text, (p.pronargs - p.pronargdefaults)::int as least,
       (case when p.provariadic <> 0 then -1 else p.pronargs end)::int as most,
       pg_catalog.max(case p.provolatile when 'i' then 1 when 's' then 2 else 3 end)::int,
       pg_catalog.bool_or(p.pronargs = 1 and p.proargtypes[0] in
           (2276, 2277, 2283, 2249, 2776, 5077, 5078, 3500)),
       n.nspname::text
from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where p.oid < 16384
group by 1, 2, 3, 6 order by 6, 1, 2, 3
"""

FUNCTIONS = f"""
select p.oid, n.nspname::text, p.proname::text, (s.given - p.pronargdefaults)::int,
       (case when p.provariadic <> 0 then -1 else s.given end)::int,
       p.provolatile::text, l.lanname::text, coalesce(e.extname::text, ''), p.prokind::text,
       p.pronargdefaults = 0 or coalesce(
           pg_catalog.replace(p.proargdefaults::text, '{{CONST ', '') !~ '[{{]', true),
       p.pronargs >= 1 and (p.pronargs - p.pronargdefaults) <= 1 and exists (
           select from pg_catalog.pg_type a left join pg_catalog.pg_type b on b.oid = a.typbasetype
           where a.oid = p.proargtypes[0]
             and (a.typtype in ('c', 'p') or b.typtype in ('c', 'p'))),
       p.prosrc ~* '{_SCHEMA_WORDS}' or (l.lanname = 'sql' and p.prosrc ~* '{_SELECT_INTO}'),
       case when g.aggfnoid is null then '{{}}' else array[
           g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn,
           g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn]::pg_catalog.oid[] end,
       case when s.analysed then p.prosrc else '' end,
       coalesce(p.proconfig, '{{}}'),
       case when s.analysed then case when p.proretset then 'SETOF ' else '' end
            || pg_catalog.format_type(p.prorettype, null) else 'void' end,
       p.prorettype,
       case when s.analysed then coalesce(p.proargmodes::text[], '{{}}') else '{{}}' end,
       case when s.analysed then coalesce(p.proargnames, '{{}}') else '{{}}' end,
       case when s.analysed then array(
           select pg_catalog.format_type(a, null)
           from pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]))
                with ordinality x(a, n) order by n) else '{{}}' end,
       coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]), p.prosecdef
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
cross join lateral (select l.lanname in ('sql', 'plpgsql'),
    -- CALL gives arguments for OUT parameters, too.
    case when p.prokind = 'p'
         then coalesce(pg_catalog.cardinality(p.proallargtypes), p.pronargs) else p.pronargs end
) s(analysed, given)
left join pg_catalog.pg_depend d
  on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid
 and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'
left join pg_catalog.pg_extension e on e.oid = d.refobjid
left join pg_catalog.pg_aggregate g on g.aggfnoid = p.oid
where p.oid >= 16384 and ($1::pg_catalog.oid[] is null or p.oid = any($1))
order by p.oid
"""

# Operators of users, and built-in ones that somebody has made volatile.
OPERATORS = """
select n.nspname::text, o.oprname::text, o.oprcode::pg_catalog.oid
from pg_catalog.pg_operator o
join pg_catalog.pg_namespace n on n.oid = o.oprnamespace
join pg_catalog.pg_proc p on p.oid = o.oprcode
where o.oid >= 16384 or p.oid >= 16384 or p.provolatile = 'v'
order by 1, 2, 3
"""

TYPES = """
select t.oid, n.nspname::text, t.typname::text, t.typtype::text, t.typbasetype,
       case when t.typcategory = 'A' then t.typelem else 0 end, coalesce(r.rngsubtype, 0),
       array[t.typinput, t.typoutput, t.typreceive, t.typsend, t.typmodin, t.typmodout,
             coalesce(r.rngcanonical, 0), coalesce(r.rngsubdiff, 0)]::pg_catalog.oid[]
from pg_catalog.pg_type t
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
left join pg_catalog.pg_type e on e.oid = t.typelem and t.typcategory = 'A'
left join pg_catalog.pg_range r on r.rngtypid = t.oid
where t.typtype <> 'c' and coalesce(e.typtype, 'b') <> 'c'
order by t.oid
"""

# Functions that run without being named: by casts, and by sorting, grouping and indexes.
# A cast through text to a date or time type, or to what may contain one, reads 'now' in
# data; it stands as function 1, which nothing is known of.
CASTS = """
select distinct castfunc from pg_catalog.pg_cast where castfunc >= 16384
union
select 1::pg_catalog.oid from pg_catalog.pg_cast c
join pg_catalog.pg_type t on t.oid = c.casttarget
where c.oid >= 16384 and c.castmethod = 'i'
  and (t.typcategory in ('D', 'A') or t.typtype in ('d', 'r', 'm', 'c'))
order by 1
"""
INDEX_SUPPORT = """
select p.amproc::pg_catalog.oid from pg_catalog.pg_amproc p where p.amproc >= 16384
union
select o.oprcode::pg_catalog.oid from pg_catalog.pg_amop a
join pg_catalog.pg_operator o on o.oid = a.amopopr
where o.oprcode >= 16384
order by 1
"""

# Code outside of the server: where C functions come from, what roles have loaded (l); and the
# prefixes of settings that belong to some of it (p).
_PRELOADED = """
from pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) s(setting)
where setting ~* '^(session|local)_preload_libraries='
"""
LIBRARIES = f"""
select 'l', probin from pg_catalog.pg_proc
where oid >= 16384 and prolang = (select oid from pg_catalog.pg_language where lanname = 'c')
union
select 'l', pg_catalog.regexp_split_to_table(
    pg_catalog.substr(setting, pg_catalog.strpos(setting, '=') + 1), ',') {_PRELOADED}
union
select 'p', pg_catalog.split_part(name, '.', 1) from pg_catalog.pg_settings
where pg_catalog.strpos(name, '.') > 0
union
select 'p', e.extname::text from pg_catalog.pg_extension e
join pg_catalog.pg_depend d on d.refobjid = e.oid and d.deptype = 'e'
 and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
 and d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
join pg_catalog.pg_proc p on p.oid = d.objid and p.probin is not null
order by 1, 2
"""

# Any change of a catalog row gives it another xmin, or removes it: counts and sums of
# hashes over (xmin, oid) change. Rows are small and few beside the data they describe.
_FINGERPRINTED = {
    "pg_class": "oid",
    "pg_attribute": "attrelid",
    "pg_attrdef": "oid",
    "pg_constraint": "oid",
    "pg_index": "indexrelid",
    "pg_inherits": "inhrelid",
    "pg_trigger": "oid",
    "pg_rewrite": "oid",
    "pg_policy": "oid",
    "pg_proc": "oid",
    "pg_aggregate": "aggfnoid::pg_catalog.oid",
    "pg_operator": "oid",
    "pg_opclass": "oid",
    "pg_opfamily": "oid",
    "pg_enum": "oid",
    "pg_collation": "oid",
    "pg_conversion": "oid",
    "pg_ts_config": "oid",
    "pg_ts_config_map": "mapcfg",
    "pg_ts_dict": "oid",
    "pg_ts_parser": "oid",
    "pg_ts_template": "oid",
    "pg_type": "oid",
    "pg_range": "rngtypid",
    "pg_cast": "oid",
    "pg_amop": "oid",
    "pg_amproc": "oid",
    "pg_namespace": "oid",
    "pg_language": "oid",
    "pg_extension": "oid",
    "pg_event_trigger": "oid",
    "pg_partitioned_table": "partrelid",
    "pg_statistic_ext": "oid",
}
_FINGERPRINT_PART = """
select pg_catalog.count(*)::text || ':' || coalesce(pg_catalog.sum(
    pg_catalog.hashint8extended(xmin::text::bigint, ({key})::bigint)), 0)::text
from pg_catalog.{catalog}{where}
"""
_FINGERPRINT_FILTERS = {
    # Built-in rows of these are many and never change.
    "pg_attribute": " where attrelid >= 16384",
}
_NOT_TEMPORARY = """ {} not in (
    select oid from pg_catalog.pg_namespace where nspname ~ '^pg_(toast_)?temp_')"""
# What plans that sessions keep are made of, beyond tables: functions, operators and all
# that decides what literals mean. The row types of tables are left out.
_CODE = {
    "pg_proc": ("oid", " where" + _NOT_TEMPORARY.format("pronamespace")),
    "pg_type": (
        "oid",
        " where typtype <> 'c' and typelem not in "
        "(select oid from pg_catalog.pg_type where typtype = 'c') and"
        + _NOT_TEMPORARY.format("typnamespace"),
    ),
    "pg_namespace": ("oid", " where nspname !~ '^pg_(toast_)?temp_'"),
} | {
    catalog: (key, "")
    for catalog, key in _FINGERPRINTED.items()
    if catalog.startswith(("pg_ts_", "pg_op", "pg_am"))
    or catalog in ("pg_enum", "pg_collation", "pg_conversion", "pg_cast", "pg_range")
}
# Who may do what without being asked: kept plans hear nothing of changes to it. Roles that
# are like all others, and passwords, do not count.
_MIGHTY = """(select pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(':', oid, rolsuper, rolinherit, rolbypassrls), ','
            order by oid)) from pg_catalog.pg_roles
        where rolsuper or rolbypassrls or not rolinherit)"""
_RIGHTS = f""", pg_catalog.concat_ws(',', {_MIGHTY}, {_MEMBERS},
       (select datdba from pg_catalog.pg_database
        where datname = pg_catalog.current_database()))"""
# The same in every database of the cluster: all roles, and what of them `_RIGHTS` tells.
ROLES = f"""select coalesce(pg_catalog.concat_ws(',', {_NAMES}, {_MEMBERS}), ''),
       coalesce(pg_catalog.concat_ws(',', {_MIGHTY}, {_MEMBERS}), ''),
       pg_catalog.pg_snapshot_xmax(s)::text::bigint,
       (select pg_catalog.count(*) from pg_catalog.pg_snapshot_xip(s))
from pg_catalog.pg_current_snapshot() s"""
CODE = "select pg_catalog.concat_ws(',', {})".format(
    ", ".join(
        "(" + _FINGERPRINT_PART.format(catalog=catalog, key=key, where=where) + ")"
        for catalog, (key, where) in _CODE.items()
    )
    + _RIGHTS
)
FINGERPRINT = (
    "select pg_catalog.concat_ws(',', "
    + ", ".join(
        "("
        + _FINGERPRINT_PART.format(
            catalog=catalog, key=key, where=_FINGERPRINT_FILTERS.get(catalog, "")
        )
        + ")"
        for catalog, key in _FINGERPRINTED.items()
    )
    + ","
    + _ROLES
    + f""", (select pg_catalog.md5(pg_catalog.string_agg(setting, ',' order by setting))
    {_PRELOADED})"""
    + """, (select pg_catalog.count(*)::text || ':' || coalesce(pg_catalog.sum(
    pg_catalog.hashint8extended(objid::bigint, refobjid::bigint)), 0)::text
    from pg_catalog.pg_depend
    where refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass))"""
)
