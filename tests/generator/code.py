"""Code that runs by itself: functions, procedures, triggers, rules.

What must not live here: relations, and writes that a client sends.
"""

from __future__ import annotations

from tests.generator import dml
from tests.generator.world import SCHEMAS, Attached, Dice, Function, Relation, World

SHAPE = "id int, a int, b int, c text"


def _settings(dice: Dice) -> str:
    return f" SET search_path = {dice.pick(['s1, s2', 's2, s1', 's2'])}" if dice.chance(0.3) else ""


def _label(dice: Dice) -> str:
    """Never IMMUTABLE: then the plans that a session keeps would tell old answers directly."""
    return dice.pick(["STABLE", "VOLATILE"])


def _atomic(text: str) -> str:
    return f"BEGIN ATOMIC {text}; END"


# --- functions that read ------------------------------------------------------


def scalar_query(world: World, below: int, argument: str) -> str:
    """A SELECT of one integer, over something that is older."""
    dice = world.dice
    source = world.say(dice.pick(world.readable(below)))
    column = dice.pick(["a", "b", "id"])
    value = dice.pick(
        [f"count({column})", f"coalesce(sum({column}), 0)", f"coalesce(max({column}), 0)"]
    )
    where = dice.pick([f"a <= {argument}", f"x.id > {argument}", "b IS NOT NULL", "true"])
    return f"SELECT {value}::int FROM {source} AS x WHERE {where}"


def reader(function: Function, world: World) -> str:
    """A function of an integer that reads tables."""
    dice = world.dice
    query = scalar_query(world, function.age, "$1")
    older = world.code("reader", function.age)
    if older and dice.chance(0.3):
        query = f"SELECT ({query}) + {dice.pick(older).full}($1)"
    head = f"CREATE OR REPLACE FUNCTION {function.full}(p int) RETURNS int"
    label = _label(dice)
    form = dice.weighted([(3, "sql"), (2, "atomic"), (1, "return"), (4, "plpgsql")])
    if form == "sql":
        return f"{head} LANGUAGE sql {label}{_settings(dice)} AS $f$ {query} $f$"
    if form == "atomic":
        return f"{head} LANGUAGE sql {label}{_settings(dice)} {_atomic(query)}"
    if form == "return":
        return f"{head} LANGUAGE sql {label} RETURN ({query})"
    body = _reading(world, query, scalar_query(world, function.age, "p"))
    return f"{head} LANGUAGE plpgsql {label}{_settings(dice)} AS $f$ {body} $f$"


def _reading(world: World, query: str, other: str) -> str:
    """A block of PL/pgSQL that returns an integer it has read."""
    table = world.dice.pick(world.kinds("table")).full
    return world.dice.pick(
        [
            f"DECLARE r int; BEGIN {query} INTO r; RETURN r; END",
            f"BEGIN RETURN ({query}); END",
            f"DECLARE r int := ({query}); BEGIN IF r > 5 THEN r := ({other}); END IF;"
            " RETURN r; END",
            f"DECLARE r int := 0; q record; BEGIN FOR q IN {query} LOOP r := r + 7; END LOOP;"
            " RETURN r; END",
            f"DECLARE r int; BEGIN IF EXISTS ({other}) THEN RETURN ({query}); END IF;"
            " RETURN 0; EXCEPTION WHEN division_by_zero THEN RETURN -1; END",
            f"DECLARE cur CURSOR FOR {query}; r int; BEGIN OPEN cur; FETCH cur INTO r; CLOSE cur;"
            " RETURN r; END",
            f"DECLARE r {table}%ROWTYPE; BEGIN SELECT * INTO r FROM {table} WHERE id = p;"
            " RETURN coalesce(r.a, 0) + p; END",
            f"DECLARE r int; n {table}.a%TYPE := p; BEGIN WHILE n < 9 LOOP n := n + 5; END LOOP;"
            f" CASE WHEN n > 10 THEN {query} INTO r; ELSE r := ({other}); END CASE; RETURN r; END",
            f"DECLARE r int := 0; i int; BEGIN FOREACH i IN ARRAY ARRAY[1, 2] LOOP"
            f" r := r + i * ({query}); END LOOP; RETURN r; END",
        ]
    )


def rows(function: Function, world: World) -> str:
    """A function of an integer that returns rows of the common shape."""
    dice = world.dice
    source = world.say(dice.pick(world.readable(function.age)))
    query = f"SELECT x.id, x.a, x.b, x.c FROM {source} AS x WHERE x.a >= $1 OR x.b IS NULL"
    head = f"CREATE OR REPLACE FUNCTION {function.full}(p int) RETURNS TABLE ({SHAPE})"
    label = dice.pick(["STABLE", "VOLATILE"])
    form = dice.pick(["sql", "atomic", "query", "next"])
    if form == "sql":
        return f"{head} LANGUAGE sql {label}{_settings(dice)} AS $f$ {query} $f$"
    if form == "atomic":
        return f"{head} LANGUAGE sql {label} {_atomic(query)}"
    if form == "query":
        body = f"BEGIN RETURN QUERY {query}; END"
    else:
        body = f"BEGIN FOR id, a, b, c IN {query} LOOP RETURN NEXT; END LOOP; END"
    return f"{head} LANGUAGE plpgsql {label}{_settings(dice)} AS $f$ {body} $f$"


# --- operators, aggregates, functions of rows -----------------------------------


def disguises(world: World) -> list[tuple[list[str], str]]:
    """Ways to run a reader without a call by its name: statements, and an expression.

    `{x}` in the expression stands for the alias of a row of the common shape.
    """
    dice = world.dice
    name = f"s1.{world.fresh('d')}"
    query = scalar_query(world, world.objects, "$1")
    table = dice.pick(world.kinds("table")).full
    operator = dice.pick(["===", "@@@", "<->>"])
    tail = "RETURNS int STABLE LANGUAGE"
    two = f"CREATE FUNCTION {name}(int, int) {tail}"
    row_calls = [f"{name}(r)", f"r.{name.removeprefix('s1.')}"]
    return [
        (
            [
                f"{two} sql AS $f$ SELECT ({query}) + $2 $f$",
                f"CREATE OPERATOR s1.{operator} (LEFTARG = int, RIGHTARG = int, FUNCTION = {name})",
            ],
            f"{{x}}.a OPERATOR(s1.{operator}) 3",
        ),
        (
            [
                f"{two} plpgsql AS $f$ BEGIN RETURN coalesce($1, 0) + ({query}); END $f$",
                f"CREATE AGGREGATE {name}_ag(int) (SFUNC = {name}, STYPE = int, INITCOND = '0')",
            ],
            f"(SELECT {name}_ag(r.a) FROM {table} AS r)",
        ),
        (
            [
                f"CREATE FUNCTION {name}({table}) {tail} sql AS"
                f" $f$ SELECT ({query.replace('$1', '$1.a')}) $f$"
            ],
            f"(SELECT max({dice.pick(row_calls)}) FROM {table} AS r)",
        ),
        (
            [
                f"CREATE FUNCTION {name}_in() {tail} sql AS"
                f" $f$ SELECT ({query.replace('$1', '2')}) $f$",
                f"CREATE FUNCTION {name}(p int, q int DEFAULT {name}_in()) {tail} sql AS"
                " $f$ SELECT p + q $f$",
            ],
            f"{name}({{x}}.a)",
        ),
        (
            [
                f"CREATE FUNCTION {name}(VARIADIC int[]) {tail} sql AS"
                f" $f$ SELECT ({query.replace('$1', '$1[1]')}) $f$"
            ],
            f"{name}({{x}}.a, 2)",
        ),
        (
            [
                f"CREATE FUNCTION {name}(text) {tail} sql AS"
                f" $f$ SELECT ({query.replace('$1', '3')}) $f$",
                f"CREATE FUNCTION {name}(bigint) RETURNS int IMMUTABLE LANGUAGE sql AS"
                " 'SELECT $1::int'",
            ],
            f"{name}({{x}}.c)",
        ),
    ]


# --- functions that write -----------------------------------------------------


def _act(world: World, above: int, below: int, variables: tuple[str, ...]) -> tuple[str, int]:
    """One statement of PL/pgSQL that writes, and the lowest rank of what it writes."""
    dice = world.dice
    callees = world.code("writer", below, above)
    if callees and dice.chance(0.2):
        callee = dice.pick(callees)
        return f"PERFORM {callee.full}({dml.number(world, variables)})", callee.rank
    target = world.target(above, plain=True)
    if target.kind == "table" and dice.chance(0.05):
        # What refers to it is of a higher rank, or of its own.
        return f"TRUNCATE {target.full} CASCADE", target.rank
    return dml.any_of(world, target, variables), target.rank


def writer(function: Function, world: World, above: int | None = None) -> str:
    """A function of an integer that writes; keeps `rank` true."""
    dice = world.dice
    floor = function.rank - 1 if above is None else above
    head = f"CREATE OR REPLACE FUNCTION {function.full}(p int) RETURNS int"
    if dice.chance(0.35):
        return f"{head} LANGUAGE sql{_settings(dice)} {_writing_sql(function, world, floor)}"
    first, rank = _act(world, floor, function.age, ("p",))
    second, other = _act(world, floor, function.age, ("p",))
    both = dice.chance(0.6)
    function.rank = min(rank, other) if both else rank
    body = _writing(world, first, second if both else first)
    return f"{head} LANGUAGE plpgsql{_settings(dice)} AS $f$ {body} $f$"


def _writing_sql(function: Function, world: World, floor: int) -> str:
    """The body of an SQL function that writes."""
    dice = world.dice
    callees = world.code("writer", function.age, floor)
    if callees and dice.chance(0.25):
        callee = dice.pick(callees)
        function.rank, text = callee.rank, f"SELECT {callee.full}($1) + 1"
    else:
        target = world.target(floor, plain=True)
        function.rank = target.rank
        text = dml.any_of(world, target, ("$1",))
        if dice.chance(0.5):
            text = f"WITH w AS ({text} RETURNING 1) SELECT count(*)::int FROM w"
        else:
            text = f"{text}; SELECT {dml.number(world, ('$1',))}::int"
    return _atomic(text) if dice.chance(0.4) else f"AS $f$ {text} $f$"


def _writing(world: World, first: str, second: str) -> str:
    """A block of PL/pgSQL over two statements."""
    dice = world.dice
    forms = [
        f"BEGIN {first}; RETURN p; END",
        f"BEGIN {first}; {second}; RETURN p; END",
        f"BEGIN IF p > 4 THEN {first}; ELSE {second}; END IF; RETURN 1; END",
        f"DECLARE n int; BEGIN {first}; GET DIAGNOSTICS n = ROW_COUNT; RETURN n; END",
        f"BEGIN FOR i IN 1..2 LOOP {first}; END LOOP; {second}; RETURN 2; END",
        f"BEGIN BEGIN {first}; PERFORM 1 / (p % 2); EXCEPTION WHEN division_by_zero THEN {second};"
        " END; RETURN 3; END",
        f"BEGIN {first}; IF FOUND THEN RETURN 1; END IF; {second}; RETURN 0; END",
        f"BEGIN CASE p % 3 WHEN 0 THEN {first}; ELSE {second}; END CASE; RETURN 4; END",
    ]
    if "'" not in first and dice.chance(0.04):
        # Dynamic SQL cannot be seen through.
        forms = [f"BEGIN EXECUTE '{first.replace('PERFORM', 'SELECT')}' ; RETURN 5; END"]
    return dice.pick(forms)


def procedure(function: Function, world: World) -> str:
    dice = world.dice
    first, rank = _act(world, -1, function.age, ("p",))
    second, other = _act(world, -1, function.age, ("p",))
    function.rank = min(rank, other)
    # A procedure with settings of its own cannot commit.
    settings = "" if function.commits else _settings(dice)
    middle = dice.pick(["COMMIT;", "COMMIT;", "ROLLBACK;"]) if function.commits else ""
    last = "" if dice.chance(0.6) else " PERFORM 1 / (p % 2);"
    older = world.code("procedure", function.age)
    if older and dice.chance(0.3):
        callee = dice.pick(older)
        second, function.rank = f"CALL {callee.full}(p + 1)", min(rank, callee.rank)
    return (
        f"CREATE OR REPLACE PROCEDURE {function.full}(p int) LANGUAGE plpgsql{settings}"
        f" AS $f$ BEGIN {first}; {middle} {second};{last} END $f$"
    )


# --- triggers -----------------------------------------------------------------


def _value(events: str) -> tuple[str, ...]:
    if "DELETE" not in events:
        return ("NEW.a", "NEW.b")
    if events == "DELETE":
        return ("OLD.a", "OLD.b")
    return ("coalesce(NEW.a, OLD.a)",)


_RETURN = " IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END"


def trigger(world: World, on: Relation) -> tuple[str, str, Attached]:
    """Function, CREATE TRIGGER, and what to remember of them."""
    dice = world.dice
    name = world.fresh("tr")
    place = f"{dice.pick(SCHEMAS)}.{name}"
    kind = dice.weighted(
        [(5, "row"), (3, "statement"), (3, "constraint"), (2, "before"), (1, "transition")]
    )
    events = " OR ".join(dice.some(["INSERT", "UPDATE", "DELETE"]))
    variables = ("3",) if kind in ("statement", "transition") else _value(events)
    action, _ = _act(world, on.rank, world.objects, variables)
    timing, each, tail = "AFTER", "FOR EACH ROW", ""
    body = f"BEGIN {action};{_RETURN}"
    if kind == "statement":
        timing, each = dice.pick(["BEFORE", "AFTER"]), "FOR EACH STATEMENT"
        events += " OR TRUNCATE" if dice.chance(0.5) and on.stored else ""
        body = f"BEGIN {action}; RETURN NULL; END"
    elif kind == "before":
        timing = "BEFORE"
        readers = world.code("reader")
        if readers and dice.chance(0.6) and events != "DELETE":
            call = f"{dice.pick(readers).full}(coalesce(NEW.a, 0)) % 50"
            body = f"BEGIN IF TG_OP <> 'DELETE' THEN NEW.b := {call}; END IF;{_RETURN}"
    elif kind == "transition":
        events, tail = "INSERT", " REFERENCING NEW TABLE AS fresh"
        target = dice.pick(world.receivers(on))
        body = (
            f"BEGIN INSERT INTO {target.full} (id, a, b, c) SELECT id + {world.fresh_id() * 10},"
            " a, b, c FROM fresh ON CONFLICT DO NOTHING; RETURN NULL; END"
        )
        each = "FOR EACH STATEMENT"
    elif events != "DELETE" and "DELETE" not in events and dice.chance(0.3):
        each += f" WHEN (NEW.a > {dice.randint(0, 4)})"
    what = "TRIGGER"
    if kind == "constraint":
        what = "CONSTRAINT TRIGGER"
        tail = dice.pick([" DEFERRABLE INITIALLY DEFERRED"] * 3 + [" DEFERRABLE", ""])
    code = (
        f"CREATE OR REPLACE FUNCTION {place}() RETURNS trigger LANGUAGE plpgsql{_settings(dice)}"
        f" AS $f$ {body} $f$"
    )
    create = (
        f"CREATE {what} {name} {timing} {events} ON {on.full}{tail} {each}"
        f" EXECUTE FUNCTION {place}()"
    )
    return code, create, Attached(name, "TRIGGER", on)


def instead(world: World, view: Relation) -> tuple[str, str, Attached]:
    """An INSTEAD OF trigger; the view must be of the rank of its lowest target."""
    dice = world.dice
    name = world.fresh("tr")
    target = dice.pick(world.receivers(view))
    body = (
        f"BEGIN IF TG_OP = 'DELETE' THEN DELETE FROM {target.full} WHERE id = OLD.id; RETURN OLD;"
        f" END IF; INSERT INTO {target.full} (id, a, b, c) VALUES (NEW.id, NEW.a, NEW.b, NEW.c)"
        " ON CONFLICT DO NOTHING;"
        f" IF NOT FOUND THEN UPDATE {target.full} SET b = NEW.a WHERE id = NEW.id; END IF;"
        " RETURN NEW; END"
    )
    code = (
        f"CREATE OR REPLACE FUNCTION s1.{name}() RETURNS trigger LANGUAGE plpgsql AS $f$ {body} $f$"
    )
    create = (
        f"CREATE TRIGGER {name} INSTEAD OF INSERT OR UPDATE OR DELETE ON {view.full}"
        f" FOR EACH ROW EXECUTE FUNCTION s1.{name}()"
    )
    return code, create, Attached(name, "TRIGGER", view)


# --- rules --------------------------------------------------------------------


def rule(world: World, on: Relation) -> tuple[str, Attached]:
    """A rule that writes something of a higher rank, or of the same on a view."""
    dice = world.dice
    name = world.fresh("ru")
    event = dice.pick(["INSERT", "UPDATE", "DELETE"])
    row = "OLD" if event == "DELETE" else "NEW"
    target = dice.pick(world.receivers(on))
    variables = (f"{row}.a", f"{row}.id")
    if dice.chance(0.5):
        action = (
            f"INSERT INTO {target.full} (id, a, b, c) VALUES ({row}.id + {world.fresh_id() * 10},"
            f" {row}.a, {row}.b, 'r') ON CONFLICT DO NOTHING"
        )
    else:
        setting = f"b = {dml.number(world, variables)}"
        action = f"UPDATE {target.full} SET {setting} WHERE {target.name}.id = {row}.id"
    how = "INSTEAD" if not on.stored else dice.weighted([(4, "ALSO"), (1, "INSTEAD")])
    where = f" WHERE {row}.a > {dice.number()}" if on.stored and dice.chance(0.4) else ""
    text = f"CREATE OR REPLACE RULE {name} AS ON {event} TO {on.full}{where} DO {how} {action}"
    return text, Attached(name, "RULE", on)
