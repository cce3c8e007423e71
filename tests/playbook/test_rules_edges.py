"""Playbooks of rules at their edges: contexts that have died, Flush, Terminate, long texts."""

from __future__ import annotations

import pytest

from proxy.document import MAX_TEXT, parse
from proxy.errors import ConfigError
from proxy.policy import rulefile
from proxy.policy.difference import Seen, declarations, differences
from proxy.policy.rules import Subject, flow
from proxy.session.engine import Engine
from proxy.sql.hints import Hints, hints
from proxy.terms import Terms
from proxy.units import duration, duration_text, share, share_text
from proxy.wire import messages
from tests.playbook.stage import Player, answer, complete, description, engine, own, ready, row
from tests.playbook.test_audiences import status
from tests.playbook.test_simple import READ, fill, forwarded, hit
from tests.playbook.test_stale import stale
from tests.unit.policy.test_rules import rules

LAX = "rules: [{relations: t, ttl: 10s, stale_while_revalidate: 5s}]"
# Any client can send these; in quadratic time they would hold up everybody for hours.
LONG = 2_000_000


@pytest.fixture
def lax() -> Engine:
    made = engine()
    made.set_rules(rules(LAX))
    return made


def test_a_dead_context_is_no_way_past_another_audience() -> None:
    """K3: a session that is in a transaction when its context dies is not asked again at once."""
    made = engine()
    made.set_rules(rules("rules: [{application_name: report, cache: off}]"))
    one = Player(made, 1)
    fill(one)
    one.query("BEGIN")
    one.clear()
    one.query("SELECT x FROM u")
    one.server(own("BEGIN") + answer("1", status="T"))
    one.clear()
    assert one.session.status == b"T"
    made.watch(made.databases["shop"], frozenset(("app.tenant",)))
    hit(one, status="T")
    one.query("SET LOCAL application_name = 'report'")
    one.clear()
    one.server(complete("SET") + status("report") + ready("T"))
    one.clear()
    one.query(READ)
    to_client, _ = one.clear()
    assert not to_client


def test_a_stale_answer_behind_a_flush_is_fetched_anew(lax: Engine) -> None:
    """asyncpg reads the description before it binds: the Parse still waits for its Sync."""
    one, two = Player(lax, 1), Player(lax, 2)
    parse = messages.parse(b"s", READ.encode())
    bind = messages.bind(b"", b"s") + messages.execute(b"") + messages.SYNC
    # Its answer is known from another session, its description is not.
    two.client(messages.parse(b"", READ.encode()) + messages.bind(b"", b""))
    two.client(messages.execute(b"") + messages.SYNC)
    two.server(messages.PARSE_COMPLETE + messages.BIND_COMPLETE)
    two.server(row("a") + complete("SELECT 1") + ready())
    one.now = 111.0
    one.client(parse + messages.message(b"D", b"Ss\0") + messages.message(b"H"))
    one.server(messages.PARSE_COMPLETE + messages.message(b"t", bytes(2)) + description("x"))
    one.clear()
    one.client(bind)
    again = """
        S< C Showdah~again
        S< P howdah~again: SELECT x FROM t WHERE id = 1
        S< B howdah~again howdah~again
        S< D Phowdah~again
        S< E howdah~again
        S< C Showdah~again
        S< S
        S< S
        C< 2
        C< D a
        C< C SELECT 1
        C< Z I"""
    one.expect(again)
    one.server(messages.CLOSE_COMPLETE + messages.PARSE_COMPLETE + messages.BIND_COMPLETE)
    one.server(description("x") + row("b") + complete("SELECT 1") + messages.CLOSE_COMPLETE)
    one.server(ready() + ready())
    one.expect("")
    assert not one.session.pending
    assert lax.statistics.fills_rejected == {}
    one.client(bind)
    one.expect("C< 2\nC< D b\nC< C SELECT 1\nC< Z I")


def test_nobody_who_leaves_waits_for_what_is_in_the_background(lax: Engine) -> None:
    one = Player(lax, 1)
    fill(one)
    one.now = 111.0
    stale(one)
    one.client(messages.TERMINATE)
    assert one.session.close_client
    assert one.session.close_server
    assert not lax.flights.revivals
    two = Player(lax, 2)
    two.now = 111.0
    stale(two)


def test_what_a_client_asked_for_before_it_leaves_is_answered(lax: Engine) -> None:
    one = Player(lax, 1)
    fill(one)
    one.now = 111.0
    stale(one)
    forwarded(one, "SELECT x FROM u")
    one.client(messages.TERMINATE)
    assert not one.session.close_client
    one.server(answer("b"))
    assert not one.session.close_client
    one.server(answer("u"))
    assert one.session.close_client


# Rules


def matches(file: str, **subject: object) -> bool:
    """Whether the only rule of a file matches."""
    usual: dict[str, object] = {"database": "d", "role": "r", "relations": (), "text": "select"}
    return rules(file).verdict(Subject(**(usual | subject))).rule != ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 60 + "b"),
        (".*secret.*", "x" * LONG),
        ("(?i)(x+x+)+y", "x" * LONG),
        ("\\s+$", " " * LONG + "x"),
    ],
)
def test_patterns_take_linear_time(pattern: str, text: str) -> None:
    """Python's `re` would be busy until the test is ended from outside."""
    assert not matches(f"rules: [{{cache: off, pattern: '{pattern}'}}]", text=text)


def test_wildcards_take_linear_time_and_are_two() -> None:
    many = "*a" * 30
    assert not matches(f"rules: [{{cache: off, role: '{many}*b'}}]", role="a" * LONG)
    text = "rules: [{cache: off, role: ['a[b]', 'x.[!y]*']}]"
    assert [matches(text, role=role) for role in ("a[b]", "ab", "x.[!y]z", "x.z", "xx[!y]")] == [
        True,
        False,
        True,
        False,
        False,
    ]


def test_names_may_hold_dots() -> None:
    for relations in ("t", "s.x.t", "'*.t'"):
        assert matches(f"rules: [{{cache: off, relations: {relations}}}]", relations=("s.x.t",))
    assert matches("rules: [{cache: off, relations: public.a.b}]", relations=("public.a.b",))
    assert not matches("rules: [{cache: off, relations: s.t}]", relations=("s.x.t",))


@pytest.mark.parametrize("seconds", [1e25, 1e-13, 0.1, 1 / 3, 86400.0, 3600.5, 2.5e-7])
def test_durations_and_shares_are_written_as_they_are_read(seconds: float) -> None:
    assert duration(duration_text(seconds)) == seconds
    for value in ("0.0000001%", "5%", "99.99%", "100%"):
        assert share(share_text(share(value))) == share(value)


@pytest.mark.parametrize("name", ["\U0001f418 é", "a\u2028b\u0085c", "x\x7f\ufeff'\"\\", "a\n\tb"])
def test_any_name_is_read_back(name: str) -> None:
    """`check --diff` reads the running rules as they are shown."""
    text = f"rules: [{{name: {flow(name)}, role: {flow((name, 'x'))}, ttl: 5s}}]"
    (rule,) = rules(text)
    assert rule.name == name
    assert rule.model.role == (name, "x")
    (again,) = rules(f"rules: [{{name: {flow(name)}, {rule.conditions_text}, ttl: 5s}}]")
    assert again.model == rule.model


def test_files_that_are_no_text_or_too_long() -> None:
    for text, message in (
        ('rules:\n  - {cache: off, name: "\\ud800"}', "f:2:24: half of a character"),
        ("rules:\n  - &a {cache: off}\n  - {<<: *a}", "f:3:6: the merge key `<<`"),
        ("a: " + "[" * 2000, "f:1:1: nested more than 20 deep"),
        ("#" * (MAX_TEXT + 1), "f:1:1: more than 4,000,000 characters"),
        ("rules:\n  - {role: [a, null], cache: off}", "f:2:16: 'role': expected text"),
        ("rules:\n  - {exclude: [x], cache: off}", "f:2:16: 'exclude': expected conditions"),
        ("rules:\n  - {pattern: '(?!x)', cache: off}", "f:2:15: 'pattern': not a regular"),
    ):
        with pytest.raises(ConfigError) as caught:
            rulefile.load_rules(parse(text, "f").at(("rules",)))
        assert caught.value.message.startswith(message), caught.value.message


# Hints


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/* a /* b */ c */ /* howdah: off */ select", Hints(cache=False)),
        ("; -- x\r/* howdah: off */ select", Hints(cache=False)),
        (f"/* {'x' * 5000} */ /* howdah: ttl=5s */ select", Hints(terms=Terms(ttl=5.0))),
        ("/* a /* howdah: off */ */ select", Hints()),
        ("/* howdah: off /* */ select", Hints()),
        (f"/* howdah: off{' ' * LONG}on */ select", Hints(cache=True)),
        (f"{'/**/' * 10_000}/* howdah: off */ select", Hints(cache=False)),
    ],
)
def test_hints_behind_other_comments(text: str, found: Hints) -> None:
    """PostgreSQL's comments may be nested; and none takes long."""
    assert hints(text) == found


def test_a_long_savepoint_takes_no_time() -> None:
    one = Player(engine(), 1)
    one.query("BEGIN")
    one.query(f"SAVEPOINT a{' ' * 200_000}/**/")
    one.server(own("BEGIN") + complete("SAVEPOINT") + ready("T"))
    to_client, _ = one.clear()
    assert to_client.endswith(complete("SAVEPOINT") + ready("T"))


# What other rules would change

VIEW = Seen("1" * 16, "d", "SELECT * FROM t JOIN v USING (id)", ("r",), ("tenant.t",))


@pytest.mark.parametrize(
    ("relations", "changes"),
    [("public.t", 0), ("tenant.t", 1), ("tenant.v", 1), ("public.v", 1), ("other.v", 0)],
)
def test_a_table_that_is_known_is_in_no_other_schema(relations: str, changes: int) -> None:
    new = rules(f"rules: [{{cache: off, relations: {relations}}}]")
    assert len(list(differences(rules("rules:"), new, [VIEW]))) == changes


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("SELECT total(id) FROM t", 1),
        ('SELECT "a" . "total" (id)', 1),
        ("SELECT A.TOTAL(id)", 1),
        ("SELECT b.total(id)", 0),
        ("SELECT subtotal(id), total FROM total", 0),
    ],
)
def test_what_calls_a_function(text: str, calls: int) -> None:
    new = rules("rules: [{function: a.total, reads: a.t}]")
    seen = [Seen("1" * 16, "d", text, (), ())]
    (found,) = declarations(rules("rules:"), new, seen)
    assert len(found.seen) == calls
