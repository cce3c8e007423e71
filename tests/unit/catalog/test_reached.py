"""Closures on the catalogs of real servers, one row a case (F1, F9, K5).

An expectation is a word and names: `reads` of a read that may be cached, `writes` of a
statement whose closure is known, `opaque`, or the reason why a read is forwarded. Behind
`with` are the settings that a read depends on by name.
"""

from __future__ import annotations

import pytest

from proxy.policy.plan import EVERYTHING, Kind
from proxy.reasons import Reason
from tests.unit.catalog.test_loader import load
from tests.unit.policy.helpers import names, plan

TABLES = """
create schema app; create schema "Odd-Name";
create table t (id int primary key, v int, note text, at timestamptz, day date, tm time);
create table u (id int primary key references t on delete cascade on update set null, v int);
create table w (id int, v int);
create table log (id int, v int);
create table app.w (id int, v int);
create table app.only_app (id int);
create table "Odd-Name".odd (id int);
"""

VIEWS = """
create view plain as select id, v from t where v > 0;
create view joined as select plain.id, u.v from plain join u using (id);
create view deep as with x as (select * from joined) select * from x
    union select id, (select max(v) from w) from plain;
create recursive view counted (n) as select 1 union select n + 1 from counted, w where n < 9;
create view clocked as select id from t where at > now();
create view dated as select id from t where day = current_date;
create view mine as select id from t where note = current_user;
create view cast_to_date as select note::date from t;
create view cast_from_date as select day::text, at::text, v::text from t;
create view cast_to_int as select note::int from t;
create view fixed as select id from t where at > '2024-01-01';
create view drawn as select id from t tablesample system (10);
create view locking as select id from t for update;
create view stored as select ctid, id from t;
create view of_catalog as select relname from pg_class;
create view zoned as select id, tm at time zone 'UTC' from t;
create view numbered as select id, random() from t;
create view asking as select id, current_setting('x.y', true) from t;
create view windowed as select id, rank() over (partition by v order by id),
    count(*) filter (where v > 1), grouping(id) from t group by rollup (id, v);
create view constructed (a, b, c, d, e, f, g, h, i, j) as select array[id, v],
    row(id, v)::text, coalesce(v, 0), nullif(id, v),
    greatest(id, v), case when v > 1 then 'a' else note end, id = any (array[1, 2]),
    id in (select id from u), v is distinct from id, note collate "C"
    from only t left join lateral (select 1 as one) l on true;
create function total() returns bigint stable language sql as 'select sum(v) from w';
create view through_function as select id, total() from t;
create materialized view kept as select * from joined;
create view of_kept as select * from kept;
create view checked as select * from t where v > 0 with check option;
create view handled as select id, v from t;
create function handle() returns trigger language plpgsql as
    'begin insert into log values (new.id, new.v); return new; end';
create trigger h instead of insert on handled for each row execute function handle();
create view ruled as select id, v from t;
create rule r as on update to ruled do instead update w set v = new.v where id = old.id;
create rule also as on delete to w do also insert into log values (old.id, total());
create rule told as on insert to app.w do also notify x;
create rule nothing as on update to app.w do instead nothing;
"""
VIEWED = {
    "select * from plain": "reads t",
    "select * from joined": "reads t u",
    "select * from deep": "reads t u w",
    "select * from counted": "reads w",
    "select * from clocked": Reason.CLOCK,
    "select * from dated": Reason.CLOCK,
    "select * from mine": "reads t",
    "select * from cast_to_date": Reason.CLOCK_CAST,
    "select * from cast_from_date": "reads t",
    "select * from cast_to_int": "reads t",
    "select * from fixed": "reads t",
    "select * from drawn": Reason.TABLESAMPLE,
    "select * from locking": Reason.LOCKING_CLAUSE,
    "select * from stored": Reason.SYSTEM_COLUMN,
    "select * from of_catalog": Reason.SYSTEM_CATALOG,
    "select * from zoned": Reason.CLOCK,
    "select * from numbered": Reason.VOLATILE_FUNCTION,
    "select * from asking": "reads t with x.y",
    "select * from windowed": "reads t",
    "select * from constructed": "reads t u",
    "select * from through_function": "reads t w",
    "select * from of_kept": "reads kept",
    "select plain.id from plain join kept using (id)": "reads t kept",
    "refresh materialized view kept": "writes kept",
    "refresh materialized view concurrently kept": "writes kept",
    "insert into plain values (1)": "writes t",
    "delete from checked": "writes t u",
    "update checked set id = 1": "writes t u",
    "update checked set v = 1 where current of c": "writes t u",
    # A trigger or rule may replace what an updatable view does; all of it counts.
    "insert into handled values (1)": "writes t log",
    "delete from handled": "writes t u",
    "copy handled from stdin": "writes t log",
    "update ruled set v = 1": "writes t u w log",
    "delete from w": "writes w log",
    "insert into w values (1)": "writes w",
    "update app.w set v = 1": "writes app.w",
    "insert into app.w values (1)": "writes app.w",
}

FAMILIES = """
create table p (id int, k int, primary key (id, k)) partition by list (k);
create table p1 partition of p for values in (1);
create table p2 partition of p for values in (2) partition by range (id);
create table p2a partition of p2 default;
create table p3 (k int not null, id int not null);
alter table p attach partition p3 for values in (3);
create table of_p (id int, k int, foreign key (id, k) references p on delete cascade);
create table one (id int); create table two (x int); create table two_alone (id int);
create table both_ () inherits (one, two);
create table below () inherits (both_);
create table apart (id int) partition by range (id);
create table zoned_part (id int, z timetz);
create table zoned_parent (id int); alter table zoned_part inherit zoned_parent;
create function logs_p() returns trigger language plpgsql as
    'begin insert into log values (1); return null; end';
create trigger r after insert on p for each row execute function logs_p();
create function logs_w() returns trigger language plpgsql as
    'begin insert into w values (1); return null; end';
create trigger s after update on p for each statement execute function logs_w();
create trigger only_leaf after delete on p1 for each row execute function logs_w();
"""
RELATED = {
    "select * from p": "reads p",
    "select * from p2a": "reads p",
    "select * from only p2": "reads p",
    "select * from one": "reads one",
    "select * from two": "reads one",
    "select * from below": "reads one",
    "select * from two_alone": "reads two_alone",
    "select * from apart": "reads apart",
    # What children are made of counts for their parents.
    "select * from zoned_parent": Reason.CLOCK,
    "insert into p values (1, 1)": "writes p log",
    "insert into p2a values (1, 2)": "writes p log",
    "update p set id = 2": "writes p log w of_p",
    # The row may come from p1, whose trigger for DELETE then fires; here it cannot.
    "update p2 set id = 2": "writes p log of_p",
    "update p2a set id = 2": "writes p",
    "delete from p": "writes p w of_p",
    "delete from p3": "writes p of_p",
    "truncate p": "writes p",
    "truncate p2 cascade": "writes p of_p",
    "update one set id = 1": "writes one",
    "delete from only below": "writes one",
}

TRIGGERS = """
create function into_log() returns trigger language plpgsql as
    'begin insert into log values (1, 1); return new; end';
create function into_w() returns trigger language plpgsql as
    'begin update w set v = v + 1; return null; end';
create function loud() returns int language plpgsql as
    'begin insert into app.only_app values (1); return 1; end';
create function transits() returns trigger language plpgsql as
    'begin insert into log select id, v from fresh union all select id, v from stale;
     return null; end';
create function dynamic() returns trigger language plpgsql as
    'begin execute format(''insert into %I values (1)'', tg_argv[0]); return null; end';
create function constant() returns trigger language plpgsql as
    'begin execute ''insert into log values (1, 1)''; return null; end';
create table rows_ (id int, v int); create table statements (id int, v int);
create table deferred (id int); create table conditional (id int); create table moved (id int,
    v int); create table emptied (id int); create table chained (id int);
create table dynamic (id int); create table constant (id int); create table columned (id int,
    v int); create table parent_ (id int primary key);
create table child_ (id int references parent_ on delete cascade);
create trigger a before insert on rows_ for each row execute function into_log();
create trigger b after delete on statements for each statement execute function into_w();
create constraint trigger c after insert on deferred deferrable initially deferred
    for each row execute function into_w();
create trigger d after insert on conditional for each row when (new.id > loud())
    execute function into_log();
create trigger e after update on moved referencing new table as fresh old table as stale
    for each statement execute function transits();
create trigger f before truncate on emptied for each statement execute function into_w();
create function chain() returns trigger language plpgsql as
    'begin insert into rows_ values (1); delete from statements; return new; end';
create trigger g after insert or update on chained for each row execute function chain();
create trigger h after insert on dynamic for each row execute function dynamic('w');
create trigger i after insert on constant for each row execute function constant();
create trigger j after update of v on columned for each row execute function into_w();
create trigger k after delete on child_ for each row execute function into_log();
"""
TRIGGERED = {
    "insert into rows_ values (1)": "writes rows_ log",
    "copy rows_ from stdin": "writes rows_ log",
    "update rows_ set v = 1": "writes rows_",
    "merge into rows_ using t on true when not matched then insert values (1)": "writes rows_ log",
    "delete from statements": "writes statements w",
    "with x as (delete from statements returning *) select * from x": "writes statements w",
    "insert into statements values (1)": "writes statements",
    # At COMMIT the search_path may be any other.
    "insert into deferred values (1)": "writes deferred w app.w",
    "insert into conditional values (1)": "writes conditional log app.only_app",
    "update moved set v = 1": "writes moved log",
    "delete from moved": "writes moved",
    "truncate emptied": "writes emptied w",
    "delete from emptied": "writes emptied",
    "insert into chained values (1)": "writes chained rows_ log statements w",
    "delete from chained": "writes chained",
    "insert into dynamic values (1)": "opaque",
    "delete from dynamic": "writes dynamic",
    "update columned set id = 1": "writes columned w",
    "delete from parent_": "writes parent_ child_ log",
    "update parent_ set id = 1": "writes parent_",
}


async def catalog_of(server, *texts):
    database = server.create_database()
    server.run(database, "set check_function_bodies = off;" + "".join(texts))
    return await load(server, database)


def check(catalog, cases, path=("pg_catalog", "public")):
    wrong = []
    for text, expected in cases.items():
        found = plan(text, catalog=catalog, path=path)
        if isinstance(expected, Reason):
            fine = found.reason is expected and found.kind is Kind.BYPASS and not found.closure
        elif expected == "opaque":
            fine = found.closure == EVERYTHING
        else:
            relations, _, settings = expected.partition(" with ")
            word, *wanted = relations.split()
            if word == "reads":
                seen = {catalog.name_of(oid).removeprefix("public.") for oid in found.reads}
                fine = found.kind is Kind.READ and seen == set(wanted) and not found.closure
                fine = fine and found.settings == set(settings.split())
            else:
                seen = names(found, catalog)
                fine = found.reason in (Reason.WRITE, Reason.CURSOR) and seen == set(wanted)
        if not fine:
            reads = sorted(catalog.name_of(oid) for oid in found.reads)
            written = sorted(names(found, catalog))
            wrong.append(f"{text}: {found.reason.name} {reads} {written} {sorted(found.settings)}")
    assert wrong == []


@pytest.mark.parametrize(
    ("schema", "cases"),
    [(VIEWS, VIEWED), (FAMILIES, RELATED), (TRIGGERS, TRIGGERED)],
    ids=["views", "families", "triggers"],
)
async def test_relations(each_postgres, schema, cases):
    check(await catalog_of(each_postgres, TABLES, schema), cases)
