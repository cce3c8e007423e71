"""Where statements and words end."""

from __future__ import annotations

import pytest

from proxy.admin.lexer import statements, tokens
from proxy.errors import HowdahError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        (" ;; -- nothing; at all\n /* ; /* ; */ ; */ ", []),
        ("SHOW x;", ["SHOW x"]),
        ("  a ; b -- c", ["a", "b"]),
        ("a 'x;''y'; b", ["a 'x;''y'", "b"]),
        ("a E'x\\';' ; b", ["a E'x\\';'", "b"]),
        ('a "x;""y"; b', ['a "x;""y"', "b"]),
        ("a $$ ; $$; b", ["a $$ ; $$", "b"]),
        ("a $t$ ; $$ ; $t$; b", ["a $t$ ; $$ ; $t$", "b"]),
        ("a /* b */ c", ["a /* b */ c"]),
        ("$1;$2", ["$1", "$2"]),
        ("\u00e4\u00f6 ; b", ["\u00e4\u00f6", "b"]),
    ],
)
def test_statements_end_at_semicolons_outside_of_quotes(text, found):
    assert [statement.text for statement in statements(text)] == found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a 'b", "quoted string"),
        ("a E'b\\'", "quoted string"),
        ('a "b', "quoted identifier"),
        ("a $$ b", "dollar-quoted string"),
        ("a /* /* */", "/* comment"),
    ],
)
def test_what_does_not_end_is_an_error(text, what):
    with pytest.raises(HowdahError, match=f"unterminated {what.replace('*', '.')}") as caught:
        statements(text)
    assert caught.value.sqlstate == "42601"


def test_names_are_folded_unless_quoted():
    found = [(token.kind, token.value, token.upper) for token in tokens("""Ab "C""d" 'e''F' 1""")]
    assert found == [
        ("word", "ab", "AB"),
        ("name", 'C"d', ""),
        ("string", "e'F", ""),
        ("number", "1", ""),
    ]


def test_places_count_from_the_statement():
    second = statements("a; Bc  de")[1]
    assert (second.word(0), second.word(1), second.word(2)) == ("BC", "DE", "")
    assert second.after(1) == "de"
    assert second.after(2) == ""
