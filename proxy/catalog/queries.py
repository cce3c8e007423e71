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
       pg_catalog.md5(pg_catalog.concat_ws(';', c.relowner, c.relacl::text, a.details))
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
    group by attrelid
) a on a.attrelid = c.oid
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  and (c.oid >= 16384 or n.nspname in ('pg_catalog', 'information_schema'))
order by c.oid
"""

# What decides about effective search paths and privileges; only its sameness matters.
# Roles and their members belong to the cluster, but are what USAGE depends on.
_ROLES = """
       (select pg_catalog.md5(pg_catalog.string_agg(
            pg_catalog.concat_ws(':', oid, rolname, rolsuper, rolinherit, rolbypassrls), ','
            order by oid)) from pg_catalog.pg_roles),
       (select pg_catalog.md5(pg_catalog.string_agg(m::text, ',' order by roleid, member, m::text))
        from pg_catalog.pg_auth_members m)
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
select confrelid, conrelid, confupdtype::text, confdeltype::text
from pg_catalog.pg_constraint where contype = 'f' order by 1, 2, 3, 4, oid
"""

TRIGGERS = """
select distinct t.tgrelid, t.tgfoid
from pg_catalog.pg_trigger t
where not t.tgisinternal and t.tgenabled <> 'D' order by 1, 2
"""

# Where expressions are stored: owner, purpose, tree. The purposes are those of `ExpressionRow`.
_TREES = """
    select adrelid as owner, 'd' as purpose, adbin::text as tree from pg_catalog.pg_attrdef
    where adrelid >= 16384
    union all
    select conrelid, 'd', conbin::text from pg_catalog.pg_constraint
    where conbin is not null and conrelid >= 16384
    union all
    select contypid, 't', conbin::text from pg_catalog.pg_constraint
    where conbin is not null and contypid >= 16384
    union all
    select oid, 't', typdefaultbin::text from pg_catalog.pg_type
    where typdefaultbin is not null and oid >= 16384
    union all
    select indrelid, 'i', coalesce(indexprs::text, '') || coalesce(indpred::text, '')
    from pg_catalog.pg_index
    where indrelid >= 16384 and (indexprs is not null or indpred is not null)
    union all
    select partrelid, 'p', partexprs::text from pg_catalog.pg_partitioned_table
    where partexprs is not null and partrelid >= 16384
    union all
    select stxrelid, 'i', pg_catalog.to_jsonb(s) ->> 'stxexprs' from pg_catalog.pg_statistic_ext s
    where stxrelid >= 16384 and pg_catalog.to_jsonb(s) ->> 'stxexprs' is not null
    union all
    select ev_class, 'v', ev_action::text from pg_catalog.pg_rewrite
    where ev_class >= 16384 and ev_type = '1'
    union all
    select polrelid, 'r', coalesce(polqual::text, '') || coalesce(polwithcheck::text, '')
    from pg_catalog.pg_policy where polrelid >= 16384
"""

EXPRESSIONS = f"""
with trees as materialized ({_TREES})
select owner, purpose,
       pg_catalog.bool_or(pg_catalog.strpos(tree, 'COERCETODOMAIN') > 0),
       coalesce((select pg_catalog.array_agg(distinct m[1]::pg_catalog.oid)
        from pg_catalog.unnest(pg_catalog.array_agg(tree)) x(t),
             pg_catalog.regexp_matches(
                 x.t, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([1-9][0-9]*)', 'g') m),
        '{{}}'),
       case when purpose in ('v', 'r') then coalesce(
        (select pg_catalog.array_agg(distinct m[1]::pg_catalog.oid)
         from pg_catalog.unnest(pg_catalog.array_agg(tree)) x(t),
              pg_catalog.regexp_matches(x.t, ':relid ([1-9][0-9]*)', 'g') m), '{{}}')
       else '{{}}' end
from trees group by owner, purpose order by 1, 2
"""

# Built-in functions that are used by OID somewhere: triggers, expressions, operators, casts.
BUILTIN_OIDS = """
select oid, proname::text, provolatile::text, pronargs::int
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
select p.oid, n.nspname::text, p.proname::text, (p.pronargs - p.pronargdefaults)::int,
       (case when p.provariadic <> 0 then -1 else p.pronargs end)::int,
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
           g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn]::pg_catalog.oid[] end
from pg_catalog.pg_proc p
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
join pg_catalog.pg_language l on l.oid = p.prolang
left join pg_catalog.pg_depend d
  on d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = p.oid
 and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e'
left join pg_catalog.pg_extension e on e.oid = d.refobjid
left join pg_catalog.pg_aggregate g on g.aggfnoid = p.oid
where p.oid >= 16384 order by p.oid
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
    + """, (select pg_catalog.count(*)::text || ':' || coalesce(pg_catalog.sum(
    pg_catalog.hashint8extended(objid::bigint, refobjid::bigint)), 0)::text
    from pg_catalog.pg_depend
    where refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass))"""
)
