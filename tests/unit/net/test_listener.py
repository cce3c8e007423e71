"""Binding: errors name the flag, stale socket files do not stand in the way."""

from __future__ import annotations

import socket
import stat

import pytest

from proxy.errors import ConfigError
from proxy.net.listener import bind, bind_unix, format_address
from tests.fix_tools import has_ipv6


def test_a_taken_port_is_named_with_its_flag():
    (first,) = bind("--listen", "127.0.0.1", 0)
    port = first.getsockname()[1]
    with first, pytest.raises(ConfigError) as caught:
        bind("--listen", "127.0.0.1", port)
    assert caught.value.message == f"--listen 127.0.0.1:{port}: address already in use"


def test_an_address_of_another_machine_and_an_unknown_name():
    with pytest.raises(ConfigError, match=r"^--http 192.0.2.1:0: cannot assign"):
        bind("--http", "192.0.2.1", 0)
    with pytest.raises(ConfigError, match=r"^--http host.invalid:0: "):
        bind("--http", "host.invalid", 0)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")
def test_ipv6_and_all_addresses_with_one_free_port():
    (sock,) = bind("--listen", "::1", 0)
    with sock:
        assert format_address(*sock.getsockname()[:2]).startswith("[::1]:")
    both = bind("--listen", "*", 0)
    try:
        assert len({sock.getsockname()[1] for sock in both}) == 1
        assert {sock.family for sock in both} == {socket.AF_INET, socket.AF_INET6}
    finally:
        for sock in both:
            sock.close()


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(tmp_path):
    sock, path = bind_unix("--unix-socket", str(tmp_path), 6432)
    assert path.name == ".s.PGSQL.6432"
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    with pytest.raises(ConfigError, match="somebody else listens there"):
        bind_unix("--unix-socket", str(tmp_path), 6432)
    sock.close()
    assert path.exists()
    again, _ = bind_unix("--unix-socket", str(tmp_path), 6432)
    again.close()


def test_a_socket_directory_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match="no such file or directory"):
        bind_unix("--unix-socket", str(tmp_path / "none"), 6432)
    (tmp_path / ".s.PGSQL.6432").write_text("somebody's file")
    with pytest.raises(ConfigError, match="address already in use"):
        bind_unix("--unix-socket", str(tmp_path), 6432)
    with pytest.raises(ConfigError, match="too long"):
        bind_unix("--unix-socket", str(tmp_path / ("x" * 120)), 6432)
