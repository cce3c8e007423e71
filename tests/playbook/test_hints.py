"""Playbooks of hints: what they say holds for their statement alone, or is told of once."""

from __future__ import annotations

from tests.playbook.stage import Player, answer, engine
from tests.playbook.test_simple import READ, fill, forwarded, hit


def test_a_hint_has_an_answer_of_its_own() -> None:
    made = engine()
    one = Player(made, 1)
    fill(one)
    fill(one, f"/* howdah: ttl=5s */ {READ}")
    one.now += 6.0
    hit(one)
    forwarded(one, f"/* howdah: ttl=5s */ {READ}")
    one.server(answer("a"))
    one.clear()
    forwarded(one, f"/* howdah: off */ {READ}")
    assert len(made.store) == 2


def test_words_that_mean_nothing_are_told_of_once() -> None:
    made = engine()
    said: list[str] = []
    made.remark = said.append
    one = Player(made, 1)
    for number in range(3):
        fill(one, f"/* howdah: tll=5s */ {READ}{' ' * number}")
    assert said == [
        "the hint 'tll=5s' of a statement means nothing and is ignored; did you mean 'ttl'?"
    ]
    assert made.hints_ignored == {"tll=5s": 3}
    for number in range(300):
        fill(one, f"/* howdah: word{number} */ {READ}")
    assert len(said) == len(made.hints_ignored) == 100
