"""Durations, sizes and shares, there and back."""

from __future__ import annotations

from math import inf

import pytest

from proxy import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5.0, "5s"),
        (90.0, "90s"),
        (60.0, "1m"),
        (7200.0, "2h"),
        (86400.0, "1d"),
        (1.5, "1.5s"),
        (1.001, "1.001s"),
        (0.25, "250ms"),
        (0.00025, "250us"),
        (123456789.123, "123456789.123s"),
    ],
)
def test_durations(seconds, text):
    assert units.duration_text(seconds) == text
    assert units.duration(text) == pytest.approx(seconds, rel=1e-12)


def test_a_duration_without_end():
    assert units.duration_text(inf) == "none"


@pytest.mark.parametrize(
    ("size", "text"),
    [(1, "1B"), (1000, "1000B"), (65536, "64kB"), (3 << 20, "3MB"), (1 << 30, "1GB")],
)
def test_sizes(size, text):
    assert units.size_text(size) == text
    assert units.size(text) == size


@pytest.mark.parametrize(
    ("text", "share", "again"),
    [("5%", 0.05, "5%"), (" 0.5 % ", 0.005, "0.5%"), ("100%", 1.0, "100%"), ("0%", 0.0, "0%")],
)
def test_shares(text, share, again):
    assert units.share(text) == share
    assert units.share_text(share) == again


@pytest.mark.parametrize("text", ["", "5", "101%", "-1%", "5 percent", "%"])
def test_what_is_no_share(text):
    with pytest.raises(ValueError, match="is not a share; write a percentage"):
        units.share(text)
