"""Log lines as people and machines get them."""

from __future__ import annotations

import json
import logging
import re

from proxy.net.logs import CLIENT_IN, JsonFormatter, TextFormatter


def record(message, *args, **extra):
    made = logging.LogRecord("howdah.net", logging.INFO, "file", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_text_names_connection_and_direction():
    line = TextFormatter().format(record("hello %s", "you", connection=7, direction=CLIENT_IN))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO \[7 C>\] hello you", line)
    assert TextFormatter().format(record("plain", connection=7)).endswith(" [7] plain")
    assert TextFormatter().format(record("ready listen=x")).endswith(" INFO ready listen=x")


def test_json_has_one_object_a_line():
    line = JsonFormatter().format(
        record("ready listen=a", fields={"listen": "a"}, connection=7, direction=CLIENT_IN)
    )
    entry = json.loads(line)
    assert "\n" not in line
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "howdah.net",
        "message": "ready listen=a",
        "listen": "a",
        "connection": 7,
        "direction": "C>",
    }
