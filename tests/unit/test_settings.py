"""Settings: the table, precedence, and one clear sentence for each mistake."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import units
from proxy.errors import ConfigError
from proxy.settings import BY_NAME, OPTIONS, Settings, load
from proxy.units import Address
from proxy.upstream import Upstream, parse_upstream, password_from_file

URL = "postgresql://howdah@db:5433/shop"


def load_with(flags=None, environ=None, file=None, passwords=""):
    """Load settings from texts alone; `file` becomes the file that --config names."""
    flags = {"upstream": URL} | (flags or {})
    if file is not None:
        flags["config"] = "howdah.yaml"

    def read(path):
        assert path == "howdah.yaml"
        return file

    return load(flags, environ or {}, read, lambda: passwords)


def message(**kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        load_with(**kwargs)
    return caught.value.message


def test_defaults_of_the_table_are_the_defaults_of_the_dataclass():
    loaded = load_with()
    made = Settings(upstream=parse_upstream(URL))
    assert dataclasses.replace(loaded, reload=None) == made
    names = {field.name for field in dataclasses.fields(Settings)}
    assert names == set(BY_NAME) | {"config_path", "given", "rules", "reload"}


def test_precedence_flag_environment_file_default():
    file = "max_age: 1s\ncache_size: 1MB\nlisten: [127.0.0.1:1, '[::1]:2']\n"
    environ = {"HOWDAH_MAX_AGE": "2s", "HOWDAH_CACHE_SIZE": "2MB"}
    settings = load_with({"max_age": "3s"}, environ, file)
    assert settings.max_age == 3
    assert settings.cache_size == 2 * 2**20
    assert settings.listen == (Address("127.0.0.1", 1), Address("::1", 2))
    assert settings.entry_limit == 2**20
    assert settings.config_path == "howdah.yaml"


def test_the_file_may_be_named_by_the_environment_and_hold_the_upstream():
    settings = load({}, {"HOWDAH_CONFIG": "f"}, lambda path: f"upstream: {URL}\nlisten:\n")
    assert settings.upstream == Upstream("howdah", "db", 5433, "shop")
    assert settings.listen == (Address("127.0.0.1", 6432),)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"flags": {"upstream": None}}, "--upstream is missing; give it, or HOWDAH_UPSTREAM"),
        ({"flags": {"listen": "6432"}}, "--listen: '6432' is not an address; write host:port"),
        ({"flags": {"listen": "::1:6432"}}, "--listen: '::1:6432': write an IPv6 address in br"),
        ({"flags": {"listen": "a:70000"}}, "--listen: 'a:70000': '70000' is not a port"),
        ({"flags": {"max_age": "60"}}, "--max-age: '60' has no unit; write for example 60s"),
        ({"flags": {"max_age": "0"}}, "--max-age: '0' must be more than 0"),
        ({"flags": {"max_age": "soon"}}, "--max-age: 'soon' is not a duration"),
        ({"flags": {"cache_size": "9XB"}}, "--cache-size: '9XB' has an unknown unit"),
        ({"flags": {"workers": "4"}}, "--workers: '4' is not available: this version runs one"),
        ({"flags": {"contract": "strict"}}, "--contract: 'strict' is not available: this version"),
        ({"flags": {"contract": "proxyed"}}, "--contract: 'proxyed' is unknown; did you mean 'pr"),
        ({"flags": {"tls_key": "k"}}, "--tls-key: tls_certificate and tls_key go together"),
        ({"environ": {"HOWDAH_LISTEN": "x"}}, "HOWDAH_LISTEN: 'x' is not an address"),
        ({"environ": {"HOWDAH_LISTN": "x"}}, "did you mean 'HOWDAH_LISTEN'?"),
        (
            {"file": "cache_size: 1MB\nmaxage: 1s\n"},
            "howdah.yaml:2:1: unknown key 'maxage'; did yo",
        ),
        ({"file": "max_age:\n  5s: 1\n"}, "howdah.yaml:2:3: 'max_age' takes a plain value"),
        ({"file": "\nmax_age: 5x\n"}, "howdah.yaml:2:10: max_age: '5x' has an unknown unit"),
        ({"file": "a: [\n"}, "howdah.yaml:2:1: not valid YAML"),
        ({"file": "- a\n"}, "howdah.yaml:1:1: expected keys with values"),
        ({"file": "max_age: 1s\nmax_age: 2s"}, "howdah.yaml:2:1: 'max_age' is given twice (first"),
        ({"file": "max_age: !!python/none x"}, "howdah.yaml:1:10: the tag"),
        ({"file": "max_age: \x01"}, "howdah.yaml:1:10: not valid YAML"),
    ],
)
def test_mistakes_say_where_and_what_to_do(kwargs, expected):
    text = message(**kwargs)
    assert expected in text
    assert "\n" not in text


def test_variables_that_kubernetes_sets_are_not_ours():
    environ = {"HOWDAH_PORT": "tcp://10.0.0.1:6432", "HOWDAH_SERVICE_HOST": "10.0.0.1"}
    assert load_with(environ=environ | {"HOWDAH_PORT_6432_TCP_ADDR": "10.0.0.1"})


def test_an_unreadable_file_is_one_clear_error():
    def missing(path):
        raise FileNotFoundError(2, "No such file or directory", path)

    with pytest.raises(ConfigError, match=r"^gone\.yaml: cannot be read: No such file"):
        load({"config": "gone.yaml", "upstream": URL}, {}, missing)

    def binary(path):
        return b"\xff".decode()

    with pytest.raises(ConfigError, match=r"^f: is not UTF-8 text$"):
        load({"config": "f", "upstream": URL}, {}, binary)


def test_reload_reads_the_same_sources_again():
    texts = iter(["max_age: 1s", "max_age: 2s\nrules: [{cache: off}]", "rules: 5"])
    settings = load({"config": "f", "upstream": URL}, {}, lambda path: next(texts))
    assert settings.reload is not None
    again = settings.reload()
    assert (again.max_age, len(again.rules)) == (2, 1)
    assert settings.changed(again) == ("max_age",)
    with pytest.raises(ConfigError, match=r"^f:1:8: `rules` is a list"):
        settings.reload()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h@db", Upstream("h", "db")),
        ("postgres://h@[::1]:5/d", Upstream("h", "::1", 5, "d")),
        ("postgresql://h:p%40%2f@db/d%20e", Upstream("h", "db", 5432, "d e", password="p@/")),
        (
            "postgresql://h@db/d?sslmode=verify-full&sslrootcert=/c.pem",
            Upstream("h", "db", 5432, "d", None, "verify-full", "/c.pem"),
        ),
        (
            "postgresql:///d?host=/run/pg&user=h&port=7",
            Upstream("h", "", 7, "d", "/run/pg", "disable"),
        ),
        ("postgresql://h@%2Frun%2Fpg/d", Upstream("h", "", 5432, "d", "/run/pg", "disable")),
        ("postgresql://h@/d", Upstream("h", "127.0.0.1", 5432, "d")),
    ],
)
def test_upstream_urls(url, expected):
    upstream = parse_upstream(url)
    assert upstream == expected
    assert parse_upstream(str(upstream)) == dataclasses.replace(
        upstream, password=None, sslrootcert=None
    )


@pytest.mark.parametrize(
    "url",
    [
        "db:5432",
        "mysql://h@db/d",
        "postgresql://db/d",
        "postgresql://h@a,b/d",
        "postgresql://h@db:0/d",
        "postgresql://h@db:x/d",
        "postgresql://h@db/d?sslmod=require",
        "postgresql://h@db/d?sslmode=maybe",
        "postgresql://h@db/d?sslmode",
        "postgresql://h@db/%zz",
        "postgresql://h@db/%ff",
        "postgresql://h@db/a%00b",
    ],
)
def test_wrong_upstream_urls(url):
    with pytest.raises(ValueError) as caught:
        parse_upstream(url)
    assert len(str(caught.value)) > 20


def test_passwords_come_from_url_variable_or_file_and_are_never_shown():
    secret = "s3:cr\\et"
    line = f"db:5433:*:howdah:{secret.replace(chr(92), chr(92) * 2).replace(':', chr(92) + ':')}"
    file = f"# comment\nother:*:*:*:no\n{line}\ndb:*:*:*:late\n"
    assert load_with(passwords=file).upstream.password == secret
    environ = {"PGPASSWORD": "variable"}
    assert load_with(environ=environ, passwords=file).upstream.password == "variable"
    settings = load_with({"upstream": "postgresql://h:in-url@db/d"}, environ, passwords=file)
    assert settings.upstream.password == "in-url"
    assert "in-url" not in f"{settings!r} {settings} {settings.upstream!s}"
    assert password_from_file("localhost:*:*:*:x", parse_upstream("postgresql://h@%2Frun/d")) == "x"
    assert password_from_file("too:few:fields\n*:*:*:*:\n", parse_upstream(URL)) is None


def test_units():
    assert units.duration("250ms") == 0.25
    assert units.duration("1.5h") == 5400
    assert units.duration("0") == 0
    assert units.size("64kB") == 65536
    assert units.size("10") == 10
    assert str(units.address("[::1]:6432")) == "[::1]:6432"
    assert units.switch("YES") is True
    assert units.whole_number(" -3 ") == -3


@given(st.sampled_from(OPTIONS), st.text(max_size=30))
def test_any_text_is_a_value_or_a_config_error(option, text):
    try:
        load_with({option.name: text})
    except ConfigError as error:
        assert error.message.startswith(("--", "default"))


@given(st.text())
def test_any_url_is_an_upstream_or_a_value_error(text):
    try:
        parse_upstream("postgresql://" + text)
    except ValueError:
        pass


def test_passwords_are_not_quoted_by_errors():
    for url in ("postgresql://h:hush@db:x/d", "mysql://h:hush@db", "postgresql://h:hush@a,b"):
        assert "hush" not in message(flags={"upstream": url})


def test_the_schema_knows_every_key():
    from proxy.settings import FILE_KEYS, json_schema

    schema = json_schema()
    assert set(schema["properties"]) == set(FILE_KEYS)
    json.dumps(schema)
