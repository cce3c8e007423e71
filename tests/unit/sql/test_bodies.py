"""What bodies in SQL and PL/pgSQL say, before any catalog is asked."""

from __future__ import annotations

import pytest
from pglast.parser import parse_plpgsql_json

from proxy.sql import bodies, declarations, headers
from proxy.sql.analyse import analyse
from proxy.sql.bodies import block_body, plpgsql_body, sql_body
from proxy.sql.facts import Call, Name, StatementKind

DECLARE = (
    "declare x int; y date; z text; arr date[]; r record; t t%rowtype; c refcursor; "
    "c1 cursor (k date, l text) for select q1() from tc where id = k; "
    "m s.comp := q2(); d s.dom := q3(1); "
)


def body(text, **more):
    more.setdefault("arguments", [("i", "p", "pg_catalog.date"), ("i", "u", "s.thing")])
    return plpgsql_body(f"{DECLARE} begin {text} end", **more)


def calls(found):
    return {call.function.name for facts in found.statements for call in facts.calls}


def relations(found):
    return {name.name for facts in found.statements for name in facts.relations}


# What the declarations above name by themselves.
OWN_CALLS = {"q1", "q2", "q3"}
OWN_ASSIGNED = {"comp", "dom"}

# A statement, the functions f... in it; every expression of the language must be reached.
REACHED = {
    "x := f1() from t1 where f2();": 2,
    "x = f1();": 1,
    "arr[f1()] := f2();": 2,
    "arr[f1():f2()] = f3();": 3,
    "r.a := f1();": 1,
    "t.a := f1();": 1,
    "p := f1();": 1,
    "u.a := f1();": 1,
    "$1 := f1();": 1,
    "howdah.p := f1();": 1,
    "select f1() into strict x from t1 where f2();": 2,
    "select f1(), 1 into x, r.a from t1;": 1,
    "insert into t1 values (f1()) returning f2() into r;": 2,
    "update t1 set a = f1() where current of c1;": 1,
    "delete from t1 where f1();": 1,
    "merge into t1 using t2 on f1() when matched then update set a = f2();": 2,
    "with w as (delete from t1 returning f1()) select f2() into x from w;": 2,
    "if f1() then perform f2(); elsif f3() then perform f4(); else perform f5(); end if;": 5,
    "case f1() when f2(), f3() then perform f4(); else perform f5(); end case;": 5,
    "case when f1() then perform f2(); end case;": 2,
    "<<l>> loop perform f1(); exit l when f2(); continue when f3(); end loop l;": 3,
    "while f1() loop perform f2(); end loop;": 2,
    "for i in f1()..f2() by f3() loop perform f4(); end loop;": 4,
    "for i in reverse f1()..f2() loop null; end loop;": 2,
    "for r in select f1() from t1 loop perform f2(); end loop;": 2,
    "for x, y in select f1(), 2 loop perform f2(); end loop;": 2,
    "for r in execute 'select f1()' using f2() loop perform f3(); end loop;": 3,
    "for i in c1(f1(), f2()) loop perform f3(); end loop;": 3,
    "for i in c1(l := f1(), k => f2()) loop perform f3(); end loop;": 3,
    "foreach y in array f1() loop perform f2(); end loop;": 2,
    "foreach arr slice 1 in array f1() loop perform f2(); end loop;": 2,
    "assert f1(), 'a' || f2();": 2,
    "return f1();": 1,
    "return (select f1() from t1);": 1,
    "raise;": 0,
    "raise notice '% %', f1(), f2() using hint = f3(), errcode = f4();": 4,
    "raise sqlstate '22012' using message = f1();": 1,
    "raise division_by_zero;": 0,
    "perform f1() from t1 where f2();": 2,
    "call f1(f2(), x);": 2,
    "do $$ begin null; end $$;": 0,
    "execute 'select f1(), f2($1)' into x using f3();": 3,
    "execute 'select f1()' using f2() into strict x, y;": 2,
    "open c for select f1();": 1,
    "open c no scroll for execute 'select f1()' using f2();": 2,
    "open c1(f1(), f2()); fetch c1 into r;": 2,
    "open c1(l := f1(), k := f2()); move last in c1; close c1;": 2,
    "open c1('a', 'b'); fetch relative f1() from c1 into x, y;": 1,
    "get diagnostics x = row_count;": 0,
    "begin perform f1(); exception when division_by_zero or unique_violation then "
    "perform f2(); when sqlstate '22012' then perform f3(); end;": 3,
    "<<b>> declare v int := f1(); w constant text not null default f2(); "
    "begin b.v := f3(); end b;": 3,
    "declare v s.comp := f1(); w other constant := f2(); begin v.a := f3(); end;": None,
    "declare v s.comp := f1(); w constant other := f2(); begin v.a := f3(); end;": 3,
    "declare v record := f1(); a int[] default f2(); begin v.a := 1; end;": 2,
    "declare v t%rowtype = f1(); w t.a%type not null := f2(); q t.a%type[] := f3(); begin end;": 3,
    "declare v x%type := f1(); al alias for v; begin al := f2(); end;": 2,
    'declare "V" "My Type" collate "C" := f1(); w s.e[] := f2(); begin "V" := f3(); end;': 3,
    "declare v cursor (a s.dom, b other[]) is select f1(a, b); begin end;": 1,
    "null;": 0,
    "commit;": 0,
    "commit and chain;": 0,
    "rollback and no chain;": 0,
    "create table n (a int default f1());": 1,
    "truncate t1;": 0,
    "notify n;": 0,
    "set local work_mem = '1MB';": 0,
    "copy t1 from '/x';": 0,
}


@pytest.mark.parametrize("text", REACHED)
def test_every_expression_is_reached(text):
    """F9: whatever a statement of PL/pgSQL calls is among its facts, or the body is unknown."""
    number = REACHED[text]
    found = body(text, returns="date" if text.startswith("return") else "void")
    if number is None:
        assert found.unknown
        return
    assert not found.unknown
    assert calls(found) - OWN_CALLS == {f"f{i + 1}" for i in range(number)}
    assert calls(found) >= OWN_CALLS
    assert relations(found) - {"t1", "t2"} == {"tc"}
    assert ("t1" in text) == any(
        "t1" in {name.name for name in facts.relations} | {t.relation.name for t in facts.targets}
        for facts in found.statements
    )


# A statement and the first word for what is not understood.
UNKNOWN = {
    "execute 'select ' || x;": "dynamic SQL",
    "execute format('%I', x);": "dynamic SQL",
    "execute x;": "dynamic SQL",
    "for r in execute x loop null; end loop;": "dynamic SQL",
    "open c for execute x;": "dynamic SQL",
    "return query execute x;": "dynamic SQL",
    "fetch c into x;": "cursor from elsewhere",
    "for r in select 1 loop c := 'other'; open c for select 1; fetch c into x; end loop;": (
        "cursor from elsewhere"
    ),
    "selec 1;": "parse error",
    "do $$ begin execute 'a' || 'b'; end $$;": "dynamic SQL",
    "do language other 'x';": "",
    "unknown_variable := 1;": "parse error",
}


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_is_not_understood_is_said(text):
    assert body(text, returns="setof pg_catalog.int4").unknown == UNKNOWN[text]


# A statement and the types that a value that may be text is converted to.
ASSIGNED = {
    "y := 'now';": set(),
    "y := null;": set(),
    "y := z;": {"date"},
    "y := y;": set(),
    "y := p + 1;": set(),
    "y := z + 1;": {"date"},
    "y := $1;": {"date"},
    "y := date_trunc('day', p);": set(),
    "y := f();": {"date"},
    "y := y from t where z;": {"date"},
    "arr[1] := z;": {"date"},
    "r := f();": set(),
    "r.a := f();": {""},
    "r.a := 'x';": set(),
    "r.a := coalesce((select 1), sum(x), 0) from t;": {""},
    "r.a := coalesce(sum(x), 0) from t;": set(),
    "r.a := exists (select from t);": set(),
    "t := f();": {""},
    "t.a := f();": {""},
    "m := f();": set(),  # already among those assigned
    "u.a := f();": {""},
    "p := f();": {"date"},
    "select a into y from t;": {"date"},
    "select 1, a into x, y from t;": {"date"},
    "select a, 1 into x, y from t;": {"int4"},
    "select * into x, y from t;": {"int4", "date"},
    "select *, 1 into x, y from t;": {"int4", "date"},
    "select a into r from t;": set(),
    "for i in c1('a', 'b') loop select a into i from t; end loop;": set(),
    "declare v s.v; begin select v.a, 1 into v, x from t v; end;": {"v"},
    "select a into t from t;": {""},
    "for r in select * from t loop null; end loop;": set(),
    "for y in select a from t loop null; end loop;": {"date"},
    "for i in 1..f() loop null; end loop;": set(),
    "for i in c1(z, z) loop null; end loop;": {"date", "text"},
    "for i in c1('a', 'b') loop null; end loop;": set(),
    "foreach y in array arr loop null; end loop;": set(),
    "foreach y in array f() loop null; end loop;": {"date"},
    "open c1(z, 'x'); fetch c1 into y;": {"date", "text"},
    "execute 'select 1' into y;": {"date"},
    "insert into t values (1) returning a into y;": {"date"},
    "call f(y);": {"date"},
    "call f(a => y, b => z);": {"date", "text"},
    "call f(r.a);": {""},
    "get stacked diagnostics z = message_text;": {"text"},
    "get diagnostics x = row_count;": set(),
    "declare v date := z; begin end;": {"date"},
    "declare v y%type := z; begin end;": {""},
    "declare r t%rowtype; begin r := f(); end;": {""},
    "declare y int; begin y := z; end;": {"date", "int4"},
}


@pytest.mark.parametrize("text", ASSIGNED)
def test_assigned_types(text):
    """K5: PL/pgSQL converts by text what it assigns, so that a date may read 'now'."""
    found = body(text)
    assert not found.unknown
    assert {name.name for name in found.assigned} - OWN_ASSIGNED == ASSIGNED[text]


FLAGS = {
    "commit;": {"commits"},
    "rollback and chain;": {"commits"},
    "do $$ begin commit; end $$;": {"commits"},
    "execute 'commit';": {"commits"},
    "create table n ();": {"dynamic"},
    "execute 'drop table n';": {"dynamic"},
    "execute 'select 1';": set(),
    "perform query_to_xml(z, true, true, '');": {"dynamic"},
    "perform 'create table n';": set(),
    "return z;": {"returns"},
    "return y;": set(),
    "return 'now';": set(),
    "return f();": {"returns"},
    "get diagnostics x = row_count;": set(),
    "get diagnostics z = pg_context;": {"inexact"},
    "z := sqlerrm;": {"inexact"},
    "begin null; exception when others then null; end;": {"inexact"},
    "begin null; exception when lock_not_available then null; end;": {"inexact"},
    "begin null; exception when no_data_found then null; end;": set(),
    "open c for select 1;": {"inexact"},
    "raise notice 'x';": set(),
}


@pytest.mark.parametrize("text", FLAGS)
def test_flags(text):
    found = body(text, returns="date")
    assert not found.unknown
    flags = {name for name in ("commits", "dynamic", "returns", "inexact") if getattr(found, name)}
    assert flags == FLAGS[text]


def test_return_of_a_set_and_of_a_trigger():
    found = body("return next z; return query select f1() from t1;", returns="setof date")
    assert (found.unknown, found.returns, calls(found) - OWN_CALLS) == ("", True, {"f1"})
    assert not body("return next y; return;", returns="setof date").returns
    assert not body("return next; return;", arguments=[("t", "o", "date")]).unknown
    assert not body("return next;", arguments=[("o", "o", "date")], returns="setof date").unknown
    found = body("new.a := f1(); if tg_op = 'x' then return old; end if; return new;", trigger=True)
    assert (found.unknown, calls(found) - OWN_CALLS) == ("", {"f1"})
    assert not found.returns
    assert Name(None, "") in body("new.a := f1();", trigger=True).assigned
    assert Name(None, "") not in body("new.a := now();", trigger=True).assigned
    assert not body("x := 1;", returns="event_trigger").unknown


def test_names_in_front_of_arguments():
    assert not body("mine.p := 1;", name="mine").unknown
    assert body("mine.p := 1;").unknown
    assert not body("$2 := 1;", arguments=[("i", "", "int"), ("i", "", "s.t")]).unknown


def test_types_of_variables_count_as_named():
    types = {name for facts in body("").statements for name in facts.types}
    assert types == {Name("s", "comp"), Name("s", "dom"), Name("s", "thing")}
    found = body("declare v s.cdom; begin null; end;")
    assert Name("s", "cdom") in {name for facts in found.statements for name in facts.types}


ZONES = {
    "x := z at time zone 'UTC';": True,
    "x := y at time zone 'UTC';": False,
    "x := $1 at time zone 'UTC';": True,
    "x := (z || 'a')::timestamptz at time zone 'UTC';": True,
    "x := a at time zone 'UTC' from t;": False,
    "x := r.a at time zone 'UTC';": True,
    "x := timezone('UTC', u);": True,
    "declare h time; begin x := h at time zone 'UTC'; end;": True,
    "declare al alias for u; begin x := al at time zone 'UTC'; end;": True,
    "declare al alias for r; begin x := al.a at time zone 'UTC'; end;": True,
    "for i in c1('a', 'b') loop x := i.l at time zone 'UTC'; end loop;": True,
    "<<b>> declare h time; begin x := b.h at time zone 'UTC'; end;": True,
    "select t.a at time zone 'UTC' into x from q t;": True,
    "select v.a at time zone 'UTC' into x from q v;": False,
    "x := mine.u at time zone 'UTC';": True,
    "declare h timestamp; begin x := h at time zone 'UTC'; end;": False,
}


@pytest.mark.parametrize("text", ZONES)
def test_times_of_day_in_variables(text):
    """K5: AT TIME ZONE takes a time for one of today."""
    found = body(text, name="mine")
    assert not found.unknown
    assert any(facts.time_zoned for facts in found.statements) == ZONES[text]
    if not ZONES[text]:
        return
    # Without the name of the function, any name in front of a dot may be it.
    assert any(facts.time_zoned for facts in body("x := v.a at local;").statements)


def test_names_in_bodies_promise_nothing():
    """K5: a column of a table may be hidden by a variable of that name."""
    for found in (
        sql_body("select $1::date, a::date, 'x'::date, (now() + a)::date from t"),
        body("perform $1::date, a::date, 'x'::date, (now() + a)::date from t;"),
    ):
        (facts,) = [facts for facts in found.statements if "t" in {n.name for n in facts.relations}]
        assert [cast.shape for cast in facts.casts if cast.type.name == "date"] == [
            False,
            False,
            None,
            True,
        ]
    (facts,) = analyse("select a::date from t").statements
    assert facts.casts[0].shape == "a"


def test_sql_bodies():
    found = sql_body("insert into t values ($1); select f(a.b) from a; select x into n from y")
    assert [facts.kind for facts in found.statements] == [
        StatementKind.MODIFY,
        StatementKind.SELECT,
        StatementKind.SELECT,
    ]
    assert (found.unknown, found.dynamic, found.commits) == ("", True, False)
    assert Call(Name(None, "f"), 1) in found.statements[1].calls
    assert sql_body("").statements == ()
    assert sql_body("selec 1").unknown == "parse error"
    assert sql_body("select $1 at time zone 'x'").statements[0].time_zoned


def test_blocks_and_calls():
    (facts,) = analyse("do $$ begin insert into t values (f()); commit; end $$").statements
    assert facts.body is not None
    assert (facts.body.commits, facts.dynamic, calls(facts.body)) == (True, False, {"f"})
    assert analyse("do language other 'x'").statements[0].body is None
    assert block_body("begin create table n (); end").dynamic
    (facts,) = analyse("call s.p(f(1), 'now', b => (select 1 from t))").statements
    assert Call(Name("s", "p"), 3) in facts.calls
    assert Call(Name(None, "f"), 1) in facts.calls
    assert facts.clock_literal
    assert facts.relations == {Name(None, "t")}


HOSTILE = {
    "zero byte": "begin null; end \0",
    "long": "begin " + "null;" * 30000 + " end",
    "surrogate": "begin perform '\ud800'; end",
    "unbalanced": "begin if true then end",
    "open quote": "begin perform '; end",
    "open comment": "begin /* end",
    "empty": "",
    "deep blocks": "begin " * 3000 + "null;" + " end;" * 3000,
    "deep parentheses": "begin perform " + "(" * 20000 + "1" + ")" * 20000 + "; end",
    "deep minus": "begin perform 1" + "-1" * 30000 + "; end",
    "unicode name": 'declare u&"a" int; begin end',
    "long name": f"declare {'é' * 40} int; begin end",
    "bad type": "declare x int union select 1; begin end",
    "two types": "declare x int; y case; begin end",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_strange_bodies_are_unknown(name):
    """F9, and nothing is raised or crashes."""
    found = plpgsql_body(HOSTILE[name])
    assert found.unknown
    assert found.inexact


def test_what_parses_under_other_tags_and_signs():
    assert not plpgsql_body("begin perform $howdah$ x $howdah$, '$howdah1$'; end").unknown
    assert not plpgsql_body("begin perform 'é€\U0001f600', e'\\n\t\x01'; end").unknown
    assert not plpgsql_body("-- é\r\nbegin null; end -- x").unknown
    assert calls(plpgsql_body("declare é s.t := é1(); begin é.a := f(); end")) == {"é1", "f"}


def test_an_option_of_the_parser_prints_nothing(capfd):
    assert plpgsql_body("#option dump\nbegin null; end").unknown
    assert not plpgsql_body("#variable_conflict use_column\nbegin null; end").unknown
    assert not plpgsql_body("#print_strict_params on\ndeclare x s.t; begin null; end").unknown
    assert capfd.readouterr() == ("", "")


def test_a_variable_that_only_the_parser_saw(monkeypatch):
    """F9: the parser drops types and defaults of users' types."""
    text = "declare v comp := f1(); begin null; end;"
    assert not body(text).unknown
    monkeypatch.setattr(declarations, "_BEFORE_BLOCK", frozenset(";"))
    assert body(text).unknown == "record variable"


@pytest.mark.parametrize(
    ("old", "new", "unknown"),
    [
        ("PLpgSQL_stmt_exit", "PLpgSQL_stmt_other", "PLpgSQL_stmt_other"),
        ('"is_exit":', '"other":', "PLpgSQL_stmt_exit.other"),
        ('"action":', '"other": [], "action":', "PLpgSQL_function"),
        ('"parseMode":2', '"parseMode":1', "parse error"),
        ('"parseMode":2', '"other":2,"parseMode":2', "parse error"),
        ("PLpgSQL_recfield", "PLpgSQL_arrayelem", "PLpgSQL_arrayelem"),
    ],
)
def test_what_another_parser_may_print(monkeypatch, old, new, unknown):
    """F9: a node or a field that is in no table is not skipped."""
    text = "loop r.a := 1; exit when x = 1; end loop;"
    assert not body(text).unknown
    monkeypatch.setattr(
        headers, "parse_plpgsql_json", lambda sql: parse_plpgsql_json(sql).replace(old, new)
    )
    assert body(text).unknown == unknown


def test_every_statement_of_the_language_is_known():
    """The parser's statement nodes, by the names that libpg_query prints, all occur above."""
    seen: set[str] = set()
    walk = bodies._Routine._node

    def spy(self, node):
        seen.update(node)
        walk(self, node)

    bodies._Routine._node = spy  # type: ignore[method-assign]
    try:
        for text in (*REACHED, "return query select 1;", "return next 1;"):
            body(text, returns="setof int" if "return " in text else "int")
        body("return f();")
    finally:
        bodies._Routine._node = walk  # type: ignore[method-assign]
    assert {name for name in bodies._NODES if "_stmt_" in name} <= seen
