"""What a client sends, as the log shows it."""

from __future__ import annotations

import pytest

from proxy.admin.overheard import LIMIT, VALUE, Overheard
from tests.fix_wire import bind, copy_data, execute, message, parse, query


def lines(*chunks):
    heard = Overheard()
    return [line for chunk in chunks for line in heard.lines(chunk)]


def test_queries_are_shown_with_their_values():
    assert lines(query("SELECT 'x'") + query("SELECT 2")) == ["query SELECT 'x'", "query SELECT 2"]


def test_parameters_are_shown_as_literals():
    data = parse("SELECT $1, $2", "s1") + bind([b"it's", None], statement="s1") + execute()
    assert lines(data) == ["parse s1: SELECT $1, $2", "bind s1: with ('it''s', NULL)"]
    assert lines(bind([b"\x00\x01"], formats=[1])) == ["bind with ('\\x0001')"]
    (long,) = lines(bind([b"a" * 1000]))
    assert long == f"bind with ('{'a' * VALUE}... (1000 characters)')"


def test_any_split_says_the_same():
    data = (
        parse("SELECT $1", "s1")
        + bind([b"1"], statement="s1")
        + copy_data(b"x" * 50)
        + query("SELECT 3")
    )
    whole = lines(data)
    assert len(whole) == 3
    for at in range(len(data)):
        assert lines(data[:at], data[at:]) == whole
    assert lines(*(data[i : i + 1] for i in range(len(data)))) == whole


def test_what_is_too_long_is_not_kept():
    big = query("x" * LIMIT)
    for chunks in ([big + query("SELECT 1")], [big[:100], big[100:] + query("SELECT 1")]):
        assert lines(*chunks) == [f"query of {len(big)} bytes", "query SELECT 1"]


def test_values_of_statements_that_nobody_could_look_at_are_not_shown():
    data = parse("SELECT 'passw'" + " " * LIMIT, "s1") + bind([b"hunter2"], statement="s1")
    assert "hunter2" not in "".join(lines(data))


def test_secrets_are_kept_however_many_there_are():
    heard = Overheard()
    for number in range(1001):
        list(heard.lines(parse("UPDATE u SET password = $1", f"s{number}")))
    for number in (0, 1000):
        assert "hunter2" not in "".join(heard.lines(bind([b"hunter2"], statement=f"s{number}")))
    list(heard.lines(parse("SELECT $1")))
    assert list(heard.lines(bind([b"1"]))) == ["bind with ('1')"]


@pytest.mark.parametrize(
    ("prepare", "execute"),
    [
        ("PREPARE p AS UPDATE u SET password = $1", "EXECUTE p('hunter2')"),
        ("prepare P (text) as update u set password = $1", "/* x */ execute p ('hunter2')"),
        ('PREPARE "a ""b" AS UPDATE u SET password = $1', 'EXECUTE "a ""b"(\'hunter2\')'),
        ("PREPARE p AS UPDATE u SET password = $1", "EXPLAIN ANALYZE EXECUTE p('hunter2')"),
    ],
)
def test_secrets_of_statements_prepared_in_sql_are_not_shown(prepare, execute):
    assert "hunter2" not in "".join(lines(query(prepare), query(execute)))
    assert "hunter2" in "".join(lines(query(execute)))


@pytest.mark.parametrize(
    "text",
    [
        "ALTER ROLE bob PASSWORD 'hunter2'",
        "CREATE SERVER s FOREIGN DATA WRAPPER f OPTIONS (password 'hunter2')",
        "SELECT * FROM dblink('password=hunter2', 'SELECT 1') AS t(a int)",
        "SELECT crypt('hunter2', gen_salt('bf'))",
        "UPDATE users SET password = 'hunter2' WHERE -- ' unparsable",
    ],
)
def test_secrets_are_not_shown(text):
    (line,) = lines(query(text))
    assert "hunter2" not in line
    assert line.startswith("query ")


def test_values_of_statements_with_secrets_are_not_shown():
    said = lines(
        parse("UPDATE u SET password = $1", "p") + bind([b"hunter2"], statement="p"),
        parse("SELECT $1", "p") + bind([b"harmless"], statement="p"),
    )
    assert "hunter2" not in str(said)
    assert said[-1] == "bind p: with ('harmless')"


def test_messages_of_the_authentication_are_never_shown():
    assert lines(message("p", b"hunter2\0")) == []


def test_garbage_is_no_matter_of_the_log():
    assert lines(b"\x01\x02\x03\x04\x05\x06", b"\x01" * 20) == []
    for length in range(30):
        for fill in (b"\xff", b"\x00", b"\x7f"):
            lines(message("B", fill * length), message("P", fill * length))
