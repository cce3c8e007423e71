"""Trigger functions that only touch their row, and those that may do more (F9)."""

from __future__ import annotations

import pytest

from proxy.catalog.bodies import only_touches_its_row

NOTHING: frozenset[str] = frozenset()

HARMLESS = [
    "begin new.updated_at = now(); return new; end",
    "BEGIN\n  NEW.updated_at := CURRENT_TIMESTAMP;\n  RETURN NEW;\nEND;\n",
    "begin if row(new.*) is distinct from row(old.*) then new.v = old.v + 1; end if; "
    "return new; end",
    "begin /* why */ new.\"Updated At\" = timezone('utc', now()); -- so\n return new; end",
    "begin new.slug := lower(regexp_replace(new.title, '[^a-z]+', '-', 'g')); return new; end;",
    "begin new.tsv := setweight(to_tsvector('english', coalesce(new.title, '')), 'A'); "
    "return new; end",
    "begin if tg_op = 'DELETE' then raise exception 'no ''%'' here', old.id using errcode = "
    "'P0001'; end if; return null; end",
    "begin perform pg_notify('rows', json_build_object('op', tg_op, 'id', new.id)::text); "
    "return null; end",
    "begin return null; end",
    "begin new.id = case when new.id > 3 then 1 else -new.id end; return new; end",
]
OPAQUE = [
    "begin insert into log values (new.id); return new; end",
    "begin update a set b = 1; return new; end",
    "begin perform f(); return new; end",
    "begin perform now() from t; return new; end",
    "begin perform now() from new.t; return new; end",
    "begin new.x = f(new.x); return new; end",
    "begin new.x = public.now(); return new; end",
    "begin new.x = new.now(); return new; end",
    "begin new.x = (select 1); return new; end",
    "begin execute 'drop table a'; return new; end",
    "begin call p(); return new; end",
    "declare x int := f(); begin return new; end",
    "declare x int; begin return new; end",
    "begin new.x = nextval('s'); return new; end",
    "begin new.x = set_config('a.b', 'c', true); return new; end",
    "begin new.x = '1'::mydomain; return new; end",
    "begin new = json_populate_record(new, '{}'); return new; end",
    "begin new.x = E'\\' ; drop'; return new; end",
    "begin new.x = $1; return new; end",
    'begin new.x = "f"(1); return new; end',
    "begin new.x = new.x @@ 'a'; return new; end",
    "begin set role postgres; return new; end",
    "begin commit; end",
    "begin lock table a; return new; end",
    "begin open c; return new; end",
    "begin new.x = 'it\\'s'; return new; end",
    "begin /* open",
    "begin new.x = 'open",
]


@pytest.mark.parametrize("body", HARMLESS)
def test_bodies_that_only_touch_their_row(body):
    assert only_touches_its_row(body, NOTHING)


@pytest.mark.parametrize("body", OPAQUE)
def test_bodies_that_may_do_more(body):
    assert not only_touches_its_row(body, NOTHING)


def test_names_that_users_have_taken():
    body = "begin new.x = now(); new.y = coalesce(new.y, 1); return new; end"
    assert only_touches_its_row(body, frozenset(("later", "coalesce")))
    assert not only_touches_its_row(body, frozenset(("now",)))
