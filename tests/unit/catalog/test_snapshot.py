"""Look-ups by name, and what `build` makes of rows."""

from __future__ import annotations

from proxy.catalog.build import build
from proxy.catalog.rows import FunctionRow, TypeRow, fingerprint
from proxy.catalog.snapshot import Effect, Label
from proxy.reasons import Reason
from tests.unit.catalog.sample import FUNCTIONS, PATH, RELATIONS, SAMPLE, TYPES, sample_rows


def found(schema, name, path):
    return [relation.oid for relation in SAMPLE.find_relations(schema, name, path)]


def test_relations_by_name():
    assert found(None, "a", PATH) == [30001]
    assert found(None, "a", ("other", "public")) == [30004]
    assert found("other", "a", PATH) == [30004]
    assert found(None, "A", PATH) == []
    assert found(None, "nowhere", PATH) == []
    assert sorted(found(None, "a", None)) == [30001, 30004]
    assert found(None, "a", ()) == []
    # The session's own temporary schema comes first, and only there pg_temp means it (K4).
    assert found("pg_temp", "temporary", ("pg_temp_3", *PATH)) == [30026]
    assert found("pg_temp", "temporary", PATH) == []


def test_names_for_rules():
    assert SAMPLE.name_of(30004) == "other.a"
    assert SAMPLE.name_of(1) == "1"
    assert SAMPLE.relation("public", "a") is SAMPLE.by_oid[30001]
    assert SAMPLE.relation("public", "zzz") is None


def type_of(name, path, catalog=SAMPLE):
    found = catalog.find_type(None, name, path)
    assert found is not None
    return found


def test_types_by_name():
    assert type_of("date", PATH).clock
    assert type_of("_date", PATH).clock
    assert type_of("day", PATH).clock
    assert type_of("tstzrange", PATH).clock
    assert type_of("timetz", PATH).zoned
    assert not type_of("mood", PATH).clock
    assert SAMPLE.find_type(None, "mood", ("pg_catalog",)) is None
    assert type_of("regclass", None).label.effect is Effect.HARMLESS
    # A user's type of that name in front of pg_catalog is another type.
    rows = sample_rows(types=[*TYPES, TypeRow(29001, "public", "date", functions=(21002,))])
    other = type_of("date", ("public", "pg_catalog"), build(rows))
    assert not other.clock
    assert other.label.effect is Effect.HARMLESS


def test_sure_types_hold_no_text():
    assert {23, 1184, 1082, 1182, 3908, 20002, 20003} <= SAMPLE.sure_types
    assert not {25, 1043, 3802, 1009, 20001, 20004} & SAMPLE.sure_types


def test_functions_of_users():
    def effect(name):
        (function,) = SAMPLE.find_functions("public", name, PATH)
        return function.label.effect

    assert effect("fast") is Effect.SAFE
    assert effect("says_immutable") is Effect.OPAQUE
    assert effect("remote") is Effect.OPAQUE
    assert effect("uuid_generate_v4") is Effect.HARMLESS
    assert effect("defaulted") is Effect.OPAQUE
    assert effect("total") is Effect.SAFE
    assert effect("total_sql") is Effect.OPAQUE


def test_hstore_reads_words_into_rows_whatever_its_label():
    rows = sample_rows(
        functions=[
            *FUNCTIONS,
            FunctionRow(21600, "public", "populate_record", 2, 2, "i", "c", "hstore"),
        ]
    )
    (function,) = build(rows).find_functions("public", "populate_record", PATH)
    assert function.label == Label(Effect.HARMLESS, Reason.STABLE_FUNCTION)


def test_fingerprints():
    assert fingerprint(sample_rows()) == fingerprint(sample_rows())
    other = [RELATIONS[-1]._replace(name="renamed"), *RELATIONS[:-1]]
    assert fingerprint(sample_rows(relations=other)) != fingerprint(sample_rows())
    granted = [RELATIONS[-1]._replace(details="granted to bob"), *RELATIONS[:-1]]
    assert fingerprint(sample_rows(relations=granted)) != fingerprint(
        sample_rows(relations=[RELATIONS[-1], *RELATIONS[:-1]])
    )


def test_flags():
    assert SAMPLE.database_oid == 5
    assert SAMPLE.opaque_functions
    assert not SAMPLE.event_triggers
    assert build(sample_rows(database=(5, True, True))).login_triggers
