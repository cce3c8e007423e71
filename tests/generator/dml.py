"""One statement that changes rows of one relation.

Used in bodies of functions, in rules and as a write of its own. What must not live
here: anything but INSERT, UPDATE, DELETE and MERGE.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.generator.world import Relation, World


def number(world: World, variables: Sequence[str] = ()) -> str:
    """A small integer: a literal, or made of a variable; never far from 0..60."""
    dice = world.dice
    if variables and dice.chance(0.6):
        variable = dice.pick(variables)
        return dice.pick([variable, f"coalesce({variable}, 0) % 50 + 1", f"abs({variable}) % 10"])
    return str(dice.number())


def new_id(world: World, target: Relation, inside: bool = False) -> str:
    """An expression for an id that the relation does not have yet, most of the time.

    `inside` of code it should be another one each time, or the code works only once.
    """
    dice = world.dice
    kind = dice.weighted([(1 if inside else 6, "fresh"), (6 if inside else 3, "next"), (2, "old")])
    if kind == "fresh":
        return str(world.fresh_id())
    if kind == "next":
        return f"(SELECT coalesce(max(m.id), 0) + 1 FROM {target.full} AS m)"
    return str(dice.number())


def condition(world: World, variables: Sequence[str] = (), alias: str = "") -> str:
    """A condition that holds for some rows."""
    dice = world.dice
    dot = f"{alias}." if alias else ""
    return dice.weighted(
        [
            (3, f"{dot}id = {number(world, variables)}"),
            (3, f"{dot}id = {dice.randint(1, 6)}"),
            (5, f"{dot}id > {dice.randint(0, 4)}"),
            (1, f"{dot}a = {number(world, variables)}"),
            (2, f"{dot}a < {dice.randint(3, 20)}"),
            (1, f"{dot}b IS NULL"),
            (2, f"{dot}b < {number(world, variables)}"),
            (1, f"{dot}c IN ({dice.word()}, {dice.word()})"),
            (2, "true"),
        ]
    )


def changed(world: World, target: Relation, variables: Sequence[str] = ()) -> str:
    """What stands behind SET."""
    dice = world.dice
    column = dice.weighted([(4, "a"), (4, "b"), (2, "c")])
    if column == "c":
        texts = [f"c = {dice.word()}"]
    elif dice.chance(0.8 if variables else 0.6):
        texts = [f"{column} = (coalesce({column}, 0) + 1) % 60"]
    else:
        texts = [f"{column} = {number(world, variables)}"]
    for column, literals in target.extras.items():
        if dice.chance(0.2):
            texts.append(f"{column} = {dice.pick(literals)}")
    for column, parent in target.references.items():
        if dice.chance(0.4):
            texts.append(f"{column} = {_reference(world, parent)}")
    return ", ".join(texts)


def _reference(world: World, parent: Relation) -> str:
    if world.dice.chance(0.2):
        return "NULL"
    order = world.dice.pick(["min(p.id)", "max(p.id)"])
    return f"(SELECT {order} FROM {parent.full} AS p WHERE p.id > {world.dice.randint(0, 4)})"


def row(
    world: World, target: Relation, variables: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Columns and values of a new row."""
    dice = world.dice
    columns, values = ["id"], [new_id(world, target, bool(variables))]
    for column in ("a", "b"):
        # What is left out gets its default, which may run code.
        if dice.chance(0.3 if column in target.computed else 0.85):
            columns.append(column)
            values.append("NULL" if dice.chance(0.1) else number(world, variables))
    if dice.chance(0.8):
        columns.append("c")
        values.append(dice.word())
    for column, literals in target.extras.items():
        if dice.chance(0.4):
            columns.append(column)
            values.append(dice.pick(literals))
    for column, parent in target.references.items():
        if dice.chance(0.6):
            columns.append(column)
            values.append(_reference(world, parent))
    return columns, values


def insert(world: World, target: Relation, variables: Sequence[str] = (), name: str = "") -> str:
    dice = world.dice
    columns, values = row(world, target, variables)
    name = name or world.say(target)
    if dice.chance(0.25):
        source = dice.pick(world.readable())
        text = (
            f"INSERT INTO {name} (id, a, b, c) SELECT id + {world.fresh_id() * 10}, a, b, c"
            f" FROM {world.say(source)} ORDER BY id, a LIMIT {dice.randint(1, 3)}"
        )
    else:
        text = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({', '.join(values)})"
    if target.plain and target.stored:
        text += dice.weighted(
            [
                (5, " ON CONFLICT DO NOTHING"),
                (1, ""),
                (3 if target.key else 0, " ON CONFLICT (id) DO UPDATE SET b = excluded.a"),
            ]
        )
    return text


def update(world: World, target: Relation, variables: Sequence[str] = (), name: str = "") -> str:
    dice = world.dice
    name = name or world.say(target)
    setting = changed(world, target, variables)
    if target.stored and dice.chance(0.15):
        # Keys change: cascades, rows that move between partitions.
        moved = f"id = {world.fresh_id()}" if dice.chance(0.6) else f"a = {dice.number()}"
        return f"UPDATE {name} SET {moved} WHERE id = {dice.randint(1, 8)}"
    if dice.chance(0.15):
        source = world.say(dice.pick(world.readable()))
        return (
            f"UPDATE {name} AS x SET b = y.a FROM {source} AS y"
            f" WHERE x.id = y.id AND {condition(world, variables, 'y')}"
        )
    return f"UPDATE {name} SET {setting} WHERE {condition(world, variables)}"


def delete(world: World, target: Relation, variables: Sequence[str] = (), name: str = "") -> str:
    dice = world.dice
    name = name or world.say(target)
    if dice.chance(0.15):
        source = world.say(dice.pick(world.readable()))
        return f"DELETE FROM {name} AS x USING {source} AS y WHERE x.id = y.id AND y.a = 3"
    # Few rows at a time, or the tables run dry.
    return f"DELETE FROM {name} WHERE id = {dice.randint(1, 9)}"


def merge(world: World, target: Relation) -> str:
    dice = world.dice
    source = world.say(dice.pick(world.readable()))
    branches = dice.some(
        [
            f"WHEN MATCHED AND s.a = {dice.number()} THEN DELETE",
            f"WHEN MATCHED AND s.b IS NULL THEN UPDATE SET a = {dice.number()}, c = 'm'",
            "WHEN MATCHED THEN UPDATE SET b = s.a",
            "WHEN NOT MATCHED AND s.a > 5 THEN DO NOTHING",
            "WHEN NOT MATCHED THEN INSERT (id, a, b, c)"
            f" VALUES (s.id + {world.fresh_id() * 10}, s.a, s.b, 'm')",
        ]
    )
    return (
        f"MERGE INTO {world.say(target)} AS t"
        f" USING (SELECT DISTINCT ON (id) id, a, b, c FROM {source} ORDER BY id, a, b, c) AS s"
        f" ON t.id = s.id {' '.join(branches)}"
    )


def any_of(world: World, target: Relation, variables: Sequence[str] = (), name: str = "") -> str:
    """INSERT, UPDATE or DELETE."""
    # What is inserted into a partition often belongs elsewhere.
    often = 5 if target.takes else 0.3
    make = world.dice.weighted([(often, insert), (5, update), (2, delete)])
    return make(world, target, variables, name)
