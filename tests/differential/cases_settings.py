"""Settings that shape answers, values for them, and statements that show them.

What lives here: data only. `test_settings.py` plays with them.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = """
CREATE SCHEMA a; CREATE SCHEMA b;
CREATE TABLE public.t (id int, v text); INSERT INTO public.t VALUES (1, 'public'), (2, 'p');
CREATE TABLE a.t (id int, v text); INSERT INTO a.t VALUES (1, 'of a');
CREATE TABLE b.t (id int, v int); INSERT INTO b.t VALUES (1, 7), (2, 8), (3, 9);
CREATE FUNCTION a.label() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'label of a'$$;
CREATE FUNCTION b.label() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'label of b'$$;
CREATE FUNCTION public.label() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT 'label'$$;
CREATE VIEW public.lens AS SELECT v AS through FROM public.t;
CREATE VIEW b.lens AS SELECT id AS through FROM b.t;

CREATE TABLE public.things (
    id int PRIMARY KEY, tsz timestamptz, ts timestamp, d date, iv interval, f float8, f4 float4,
    b bytea, m money, n numeric, w text, written text, zoned text, nulls text, doc text);
INSERT INTO public.things VALUES
    (1, '2024-03-04 05:06:07.5+00', '2024-03-04 05:06:07', '2024-03-04', '1 day 02:03:04', 0.1,
     0.3, '\\x00ff5c', 1234.5, 1234.5, E'caf\\u00e9', '03/04/2024', '2024-01-01 00:00 IST',
     '{a,null}', '<a>1</a>'),
    (2, '1999-12-31 23:59:59-08', '1999-12-31 23:59:59', '1999-12-31', '-1 mons -2:03:04',
     123456.789012345, 1e10, 'abc', -7, 7, 'running dogs', '05/06/07', '2024-07-01 12:00 EST',
     '{null}', 'x<a/>');

CREATE TABLE public.tenants (tenant text, v text);
INSERT INTO public.tenants VALUES ('1', 'of one'), ('2', 'of two'), ('', 'of nobody');
ALTER TABLE public.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.tenants FORCE ROW LEVEL SECURITY;
ALTER TABLE public.tenants OWNER TO carol;
CREATE POLICY own ON public.tenants USING (tenant = current_setting('app.tenant_id', true));
CREATE TABLE public.owned (owner name, v text);
INSERT INTO public.owned VALUES ('alice', 'hers'), ('bob', 'his'), ('carol', 'of carol');
ALTER TABLE public.owned ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON public.owned USING (owner = current_user);
CREATE TABLE public.secret (v text); INSERT INTO public.secret VALUES ('secret');
CREATE TABLE public.of_carol (v text); INSERT INTO public.of_carol VALUES ('for carol');
CREATE VIEW public.by_tenant AS
    SELECT v, current_setting('app.tenant_id', true) AS tenant FROM public.t;
CREATE FUNCTION public.tenant() RETURNS text LANGUAGE sql STABLE AS
    $$SELECT current_setting('app.tenant_id', true)$$;
CREATE FUNCTION public.defined() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$SELECT current_user || ' ' || session_user || ' ' || max(v) FROM public.secret$$;
CREATE FUNCTION public.put(text, text) RETURNS void LANGUAGE plpgsql AS
    $$BEGIN PERFORM set_config($1, $2, false); END$$;
CREATE FUNCTION public.zoned() RETURNS text LANGUAGE sql STABLE SET TimeZone = 'Asia/Tokyo' AS
    $$SELECT tsz::text FROM public.things WHERE id = 1$$;

GRANT USAGE ON SCHEMA a, b TO PUBLIC;
GRANT SELECT ON public.t, a.t, b.t, public.lens, b.lens, public.things, public.tenants,
    public.owned, public.by_tenant TO PUBLIC;
GRANT SELECT ON public.of_carol TO carol;
"""

#: Roles of this suite: their login settings are part of it, and they are dropped at its end.
ROLES = """
CREATE ROLE settled LOGIN;
ALTER ROLE settled SET TimeZone = 'Asia/Tokyo';
ALTER ROLE settled SET "app.tenant_id" = '2';
ALTER ROLE settled IN DATABASE {database} SET DateStyle = 'German';
ALTER DATABASE {database} SET IntervalStyle = 'postgres_verbose';
ALTER DATABASE {database} SET "app.tenant_id" = '1';
"""
NO_ROLES = "DROP OWNED BY settled; DROP ROLE settled;"

#: Who logs in, and how often each is drawn. Superusers see everything.
USERS = ("postgres", "postgres", "alice", "bob", "settled")


@dataclass(frozen=True)
class Setting:
    """A setting, or a role, with its values.

    Attributes:
        values: as they stand behind `SET name =`; `''` is the empty text.
        reads: statements that show it; where they need one, `$1` is 1.
        refused: a value that PostgreSQL refuses.
        shown: what `current_setting` is asked for, where it is another name.
        hits: how many values must have had hits.
    """

    name: str
    values: tuple[str, ...]
    reads: tuple[str, ...]
    refused: str = ""
    shown: str = ""
    hits: int = 2

    @property
    def is_role(self) -> bool:
        return self.name in ("role", "session_authorization")


THING = " FROM public.things ORDER BY id"

SETTINGS = (
    Setting(
        "TimeZone",
        ("UTC", "Asia/Tokyo", "America/New_York", "<+0330>-03:30"),
        (
            "SELECT tsz" + THING,
            "SELECT tsz::text, tsz::date, extract(hour FROM tsz)" + THING,
            "SELECT timestamptz '2024-07-01 12:00', date_trunc('day', tsz)" + THING,
            "SELECT ts::timestamptz, to_char(tsz, 'HH24:MI TZ') FROM public.things WHERE id = $1",
            "SELECT public.zoned(), tsz FROM public.things WHERE id = 1",
        ),
        refused="Nowhere/Land",
    ),
    Setting(
        "DateStyle",
        ("ISO, MDY", "ISO, DMY", "German", "SQL, DMY", "Postgres, YMD"),
        (
            "SELECT d, ts, tsz" + THING,
            "SELECT date '01/02/2003', v FROM public.t",
            "SELECT d::text, to_char(d, 'Mon DD')" + THING,
            "SELECT written::date" + THING,
            "SELECT d FROM public.things WHERE d > '02/03/2004' OR id = $1",
        ),
        refused="Chinese",
    ),
    Setting(
        "IntervalStyle",
        ("postgres", "sql_standard", "iso_8601", "postgres_verbose"),
        ("SELECT iv" + THING, "SELECT interval '-1 2:03:04', iv::text" + THING),
        refused="long",
    ),
    Setting(
        "extra_float_digits",
        ("1", "0", "-5", "3"),
        ("SELECT f, f4" + THING, "SELECT f::text, f4::text FROM public.things WHERE id = $1"),
        refused="99",
    ),
    Setting(
        "bytea_output",
        ("hex", "escape"),
        ("SELECT b" + THING, "SELECT b::text FROM public.things WHERE id = $1"),
        refused="octal",
    ),
    Setting("xmlbinary", ("base64", "hex"), ("SELECT xmlelement(name x, b)" + THING,)),
    Setting(
        "xmloption",
        ("content", "document"),
        (
            "SELECT doc::xml FROM public.things WHERE id = 1",
            "SELECT doc::xml FROM public.things WHERE id = 2",
        ),
    ),
    Setting("lc_monetary", ("C", "POSIX", "C.utf8"), ("SELECT m, m::text" + THING,)),
    Setting("lc_numeric", ("C", "POSIX", "C.utf8"), ("SELECT to_char(n, 'L9G999D99')" + THING,)),
    Setting("lc_time", ("C", "POSIX", "C.utf8"), ("SELECT to_char(ts, 'TMDay TMMonth')" + THING,)),
    Setting(
        "search_path",
        ("public", "a, public", "b, a", '"$user", public', "pg_catalog, b, public"),
        (
            "SELECT * FROM t ORDER BY id",
            "SELECT label(), v FROM t WHERE id = $1",
            "SELECT * FROM lens ORDER BY 1",
            "SELECT current_schema(), id FROM a.t",
            "SELECT current_schemas(false), id FROM a.t",
            "SELECT count(*) FROM t",
        ),
    ),
    Setting(
        "standard_conforming_strings",
        ("on", "off"),
        (r"SELECT 'a\\b' || v FROM public.t", "SELECT v FROM public.t ORDER BY id"),
        refused="maybe",
        hits=1,
    ),
    Setting(
        "escape_string_warning",
        ("on", "off"),
        (r"SELECT '\a', E'a\\b' || v FROM public.t ORDER BY id",),
    ),
    Setting(
        "client_encoding",
        ("UTF8", "LATIN1", "SQL_ASCII", "WIN1252", "EUC_JP"),
        ("SELECT w" + THING, "SELECT octet_length(w), upper(w) FROM public.things WHERE id = $1"),
        refused="KLINGON",
    ),
    Setting(
        "default_text_search_config",
        ("simple", "english", "german"),
        (
            "SELECT to_tsvector(w)" + THING,
            "SELECT plainto_tsquery('the running dog'), w @@ 'run'" + THING,
        ),
        refused="martian",
    ),
    Setting(
        "row_security",
        ("on", "off"),
        ("SELECT v FROM public.owned ORDER BY v", "SELECT count(*) FROM public.owned"),
    ),
    Setting(
        "role",
        ("alice", "bob", "carol", "none"),
        (
            "SELECT current_user, session_user, v FROM public.t",
            "SELECT v FROM public.owned ORDER BY v",
            "SELECT v FROM public.of_carol",
            "SELECT v FROM public.secret",
            "SELECT current_role, public.defined() FROM public.t",
        ),
        refused="nobody_here",
    ),
    Setting(
        "session_authorization",
        ("alice", "bob", "DEFAULT"),
        (
            "SELECT session_user, v FROM public.t",
            "SELECT v FROM public.owned ORDER BY v",
            "SELECT v FROM public.secret",
        ),
        refused="nobody_here",
        shown="session_authorization",
    ),
    Setting(
        "app.tenant_id",
        ("1", "2", "''", "3"),
        (
            "SELECT v FROM public.tenants ORDER BY v",
            "SELECT current_setting('app.tenant_id', true), v FROM public.t",
            "SELECT * FROM public.by_tenant ORDER BY v",
            "SELECT public.tenant(), v FROM public.t",
            "SELECT count(*) FROM public.tenants WHERE v <> 'x'",
        ),
    ),
    Setting(
        "app.page",
        ("1", "'a b'", "''"),
        (
            "SELECT v || coalesce(current_setting('App.Page', true), '?') FROM public.t",
            "SELECT v FROM public.t ORDER BY v",
        ),
    ),
    Setting("app.trace", ("x1", "x2", "x3", "x4"), ("SELECT v FROM public.t ORDER BY v",)),
    Setting("application_name", ("one", "two"), ("SELECT v FROM public.t ORDER BY 1",)),
    Setting(
        "work_mem",
        ("'4MB'", "'1MB'"),
        ("SELECT current_setting('work_mem'), v FROM public.t", "SELECT id FROM public.t"),
        refused="'many'",
    ),
    Setting(
        "backslash_quote",
        ("safe_encoding", "on", "off"),
        (r"SELECT E'a\'b' || v FROM public.t",),
    ),
    Setting(
        "array_nulls",
        ("on", "off"),
        ("SELECT '{null,x}'::text[], v FROM public.t", "SELECT (nulls::text[])[1]" + THING),
    ),
    Setting(
        "transform_null_equals",
        ("off", "on"),
        ("SELECT id FROM public.t WHERE (v = NULL) IS FALSE OR id = $1",),
    ),
    Setting(
        "quote_all_identifiers",
        ("off", "on"),
        ("SELECT quote_ident(v) FROM public.t",),
    ),
    Setting(
        "timezone_abbreviations",
        ("Default", "India", "Australia"),
        (
            "SELECT timestamptz '2024-01-01 00:00 IST', v FROM public.t",
            "SELECT zoned::timestamptz" + THING,
        ),
    ),
    Setting(
        "default_transaction_isolation",
        ("'read committed'", "'repeatable read'", "serializable"),
        ("SELECT v FROM public.t ORDER BY id DESC",),
        hits=1,
    ),
    Setting(
        "default_transaction_read_only",
        ("off", "on"),
        ("SELECT v FROM public.t ORDER BY id, v",),
    ),
    Setting(
        "restrict_nonsystem_relation_kind",
        ("''", "view"),
        ("SELECT * FROM public.lens ORDER BY 1",),
        hits=1,
    ),
)
