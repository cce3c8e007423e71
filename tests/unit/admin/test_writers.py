"""Who counts as another writer, and when it is said."""

from __future__ import annotations

import pytest

from proxy.admin.writers import (
    DOUBT,
    PAUSE,
    REMEMBERED,
    SHOWN,
    Backend,
    Census,
    Herald,
    Writer,
    announcement,
    describe,
    sentences,
)

BOB = Backend(7, "start", "shop", "bob", "psql", "client backend")
STRANGER = Writer("backend", "shop", "bob", "psql")


def twice(*backends, mine=frozenset(), used=frozenset({"shop"})):
    """What is found at the second of two looks at the same backends."""
    census = Census("howdah")
    assert census.look(backends, mine, used, nameless=set(), now=0.0) == {}
    return census.look(backends, mine, used, nameless=set(), now=3.0)


def test_a_backend_that_stays_is_a_stranger():
    assert twice(BOB) == {STRANGER: 1}
    assert twice(BOB, BOB._replace(pid=8)) == {STRANGER: 2}


def test_howdahs_own_are_none():
    assert twice(BOB, mine={7}) == {}


def test_other_databases_do_not_matter():
    assert twice(BOB, used={"other"}) == {}


def test_one_look_is_not_enough():
    census = Census("howdah")
    for pid, started in [(1, "then"), (2, "then"), (1, "then"), (1, "later")]:
        backend = BOB._replace(pid=pid, started=started)
        assert census.look([backend], set(), {"shop"}, nameless=set(), now=0.0) == {}


def test_one_that_turns_out_to_be_ours_in_time_is_none():
    census = Census("howdah")
    assert census.look([BOB], set(), {"shop"}, nameless={4}, now=0.0) == {}
    assert census.look([BOB], {7}, {"shop"}, nameless=set(), now=3.0) == {}


def test_sessions_without_a_known_backend_delay_the_verdict():
    def looks(*nameless, apart=3.0):
        census, at = Census("howdah"), 0.0
        for each in nameless:
            found = census.look([BOB], set(), {"shop"}, nameless=each, now=at)
            at += apart
        return found

    assert looks({4, 5}, {5}) == {}
    assert looks({4, 5}, {5}, {5}) == {}
    assert looks({4, 5}, {5}, {6}) == {STRANGER: 1}
    # Those that came later cannot have it.
    assert looks({4}, {5}) == {STRANGER: 1}
    assert looks({4}, {4}, apart=DOUBT) == {STRANGER: 1}


@pytest.mark.parametrize(
    ("type", "found"),
    [
        ("parallel worker", None),
        ("autovacuum worker", None),
        ("walsender", None),
        ("logical replication apply worker", None),
        ("pg_squeeze worker", Writer("worker", "shop", "bob", "pg_squeeze worker")),
    ],
)
def test_workers_of_extensions_may_write_and_those_of_postgresql_do_not(type, found):
    assert twice(BOB._replace(type=type)) == ({} if found is None else {found: 1})


def test_a_job_scheduler_counts_wherever_it_is():
    launcher = BOB._replace(type="pg_cron launcher", database="postgres")
    assert list(twice(launcher)) == [Writer("worker", "postgres", "bob", "pg_cron launcher")]
    assert twice(launcher._replace(type="pg_squeeze worker")) == {}


def test_another_howdah_is_known_by_role_and_name():
    other = BOB._replace(role="howdah", application="howdah", database="postgres")
    assert list(twice(other)) == [Writer("howdah", "", "howdah", "howdah")]
    assert twice(other, mine={7}) == {}
    # Somebody else may call himself so.
    assert list(twice(other._replace(role="bob", database="shop"))) == [
        Writer("backend", "shop", "bob", "howdah")
    ]


def test_where_types_are_hidden_nobody_is_called_a_stranger_who_may_be_a_parallel_worker():
    hidden = BOB._replace(started=None, type=None)
    leader = hidden._replace(pid=1)
    assert twice(leader, hidden, mine={1}) == {}
    assert twice(leader, hidden._replace(application="nightly"), mine={1}) == {
        Writer("backend", "shop", "bob", "nightly"): 1
    }
    # Autovacuum has no role.
    assert twice(hidden._replace(role=None)) == {}


def test_each_is_told_once_and_not_too_often():
    herald = Herald()
    other = STRANGER._replace(name="other")
    assert herald.news([STRANGER], 100.0) == [STRANGER]
    assert herald.news([STRANGER], 103.0) == []
    assert herald.news([STRANGER, other], 104.0) == []
    assert herald.news([STRANGER, other], 100.0 + PAUSE) == [other]
    # One that comes and goes is not told again soon.
    assert herald.news([], 200.0) == []
    assert herald.news([STRANGER], 300.0) == []
    assert herald.news([], 300.0 + REMEMBERED) == []
    assert herald.news([STRANGER], 301.0 + REMEMBERED) == [STRANGER]


@pytest.mark.parametrize(
    ("writer", "words"),
    [
        (STRANGER, "a connection of role bob to database shop (application psql)"),
        (STRANGER._replace(name=""), "a connection of role bob to database shop"),
        (Writer("howdah", "", "howdah", "howdah"), "another Howdah (role howdah)"),
        (
            Writer("subscription", "shop", "postgres", "feed"),
            "the subscription feed into database shop",
        ),
        (
            Writer("jobs", "postgres", "", "pg_cron"),
            "the jobs of the extension pg_cron in database postgres",
        ),
        (
            Writer("worker", "shop", "x", "pg_squeeze worker"),
            "the background worker 'pg_squeeze worker' in database shop",
        ),
    ],
)
def test_words(writer, words):
    assert describe(writer) == words


def test_sentences_say_what_follows():
    (one,) = sentences({STRANGER: 2}, 60.0)
    assert one == (
        "2 connections of role bob to database shop (application psql) may write past Howdah: "
        "answers may be up to 60 s behind (max_age)"
    )
    (never,) = sentences({STRANGER: 2}, None)
    assert never.endswith("what is written there is never noticed, since max_age is none")


def test_many_are_summed_up():
    many = {STRANGER._replace(name=f"app {n:02}"): 1 for n in range(SHOWN + 5)}
    told = sentences(many, 60.0)
    assert len(told) == SHOWN + 1
    assert told[-1].startswith("5 other kinds")
    assert announcement(list(many), many, 60.0).count("role bob") == SHOWN
