"""TLS contexts: what sslmode means, and errors that name the file."""

from __future__ import annotations

import ssl

import pytest

from proxy.errors import ConfigError
from proxy.net import tls
from tests.unit.net.certificates import make_certificate


@pytest.mark.parametrize(
    ("sslmode", "root", "verify", "hostname"),
    [
        ("prefer", False, ssl.CERT_NONE, False),
        ("require", False, ssl.CERT_NONE, False),
        ("require", True, ssl.CERT_REQUIRED, False),
        ("verify-ca", True, ssl.CERT_REQUIRED, False),
        ("verify-full", True, ssl.CERT_REQUIRED, True),
    ],
)
def test_what_each_sslmode_verifies(tmp_path, sslmode, root, verify, hostname):
    certificate, _ = make_certificate(tmp_path, "root")
    context = tls.upstream_context(sslmode, str(certificate) if root else None)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (verify, hostname)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_disable_means_none():
    assert tls.upstream_context("disable", None) is None


def test_the_systems_certificates_are_for_full_verification():
    context = tls.upstream_context("verify-full", "system")
    assert context is not None
    assert context.check_hostname


def test_verification_needs_certificates(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"add sslrootcert=FILE or sslrootcert=system"):
        tls.upstream_context("verify-full", None)
    with pytest.raises(ConfigError, match=r"sslrootcert=.*no such file"):
        tls.upstream_context("verify-ca", str(tmp_path / "none.crt"))
    (tmp_path / "bad.crt").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"bad.crt: no certificate or crl found"):
        tls.upstream_context("verify-ca", str(tmp_path / "bad.crt"))


def test_server_files_are_checked(tmp_path):
    certificate, key = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "two")
    tls.server_context(str(certificate), str(key))
    with pytest.raises(ConfigError, match=r"--tls-key .*two.key: key values mismatch"):
        tls.server_context(str(certificate), str(other))
    with pytest.raises(ConfigError, match=r"--tls-certificate .*none, .*: no such file"):
        tls.server_context(str(tmp_path / "none"), str(key))
    assert tls.certificate_der(str(certificate)).startswith(b"\x30")
    with pytest.raises(ConfigError):
        tls.certificate_der(str(key))
