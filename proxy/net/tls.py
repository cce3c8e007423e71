"""TLS contexts of both hops: towards clients as a server, upstream as libpq would.

Follows "SSL Support" of libpq's chapter for what the sslmodes mean, and "Session
Encryption" of the protocol chapter. What must not live here: sockets.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from proxy.errors import ConfigError

# libpq's name for it in ALPN.
_ALPN = ["postgresql"]
_DEFAULT_ROOT = "~/.postgresql/root.crt"


def server_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """The context that clients meet; `key` may be in the certificate's own file.

    Raises:
        ConfigError: a file cannot be read, or key and certificate do not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    try:
        # A passphrase would be asked for on the terminal: a daemon must not wait there.
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ValueError) as error:
        where = f"--tls-certificate {certificate}" + (f", --tls-key {key}" if key else "")
        raise ConfigError(f"{where}: {_why(error)}") from None
    return context


def _no_passphrase() -> bytes:
    raise ValueError("the key is protected by a passphrase; give one without")


def certificate_der(certificate: str) -> bytes:
    """The first certificate of a PEM file, DER encoded.

    Raises:
        ConfigError: there is none.
    """
    try:
        text = Path(certificate).read_text(encoding="ascii", errors="replace")
        end = "-----END CERTIFICATE-----"
        start = text.index("-----BEGIN CERTIFICATE-----")
        return ssl.PEM_cert_to_DER_cert(text[start : text.index(end, start) + len(end)])
    except (OSError, ValueError) as error:
        raise ConfigError(f"--tls-certificate {certificate}: {_why(error)}") from None


def upstream_context(sslmode: str, sslrootcert: str | None) -> ssl.SSLContext | None:
    """The context for the upstream's sslmode; None where TLS is not wanted.

    Raises:
        ConfigError: verification is asked for without certificates to verify with.
    """
    if sslmode == "disable":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    # As libpq: `require` with a root certificate means verify-ca.
    verify = sslmode in ("verify-ca", "verify-full") or (
        sslmode == "require" and sslrootcert is not None
    )
    context.check_hostname = sslmode == "verify-full" or sslrootcert == "system"
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify:
        _load_roots(context, sslmode, sslrootcert)
    return context


def _load_roots(context: ssl.SSLContext, sslmode: str, sslrootcert: str | None) -> None:
    if sslrootcert == "system":
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    path = Path(sslrootcert or _DEFAULT_ROOT).expanduser()
    if sslrootcert is None and not path.exists():
        raise ConfigError(
            f"--upstream: sslmode={sslmode} needs certificates to verify with: "
            f"add sslrootcert=FILE or sslrootcert=system ({path} does not exist)"
        )
    try:
        context.load_verify_locations(cafile=str(path))
    except OSError as error:
        raise ConfigError(f"--upstream: sslrootcert={path}: {_why(error)}") from None


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


def handshake_problem(error: BaseException) -> str:
    """One sentence about a failed handshake, without OpenSSL's source lines."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verification failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS handshake failed: {_why(error)}"
    if isinstance(error, TimeoutError):
        return "TLS handshake timed out"
    if isinstance(error, OSError):
        return f"TLS handshake failed: {_why(error) or 'the connection was closed'}"
    return f"TLS handshake failed: {error}"
