"""TLS 1.3 for TSP: contexts of both sides, and whom a client's certificate names.

No session tickets: every connection proves again who it is, so a resumed one cannot be somebody
else. Python's `ssl` has no early data (RFC 8446 section 8), which could be replayed.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from dstmrouter.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dstmrouter.config.tsp import TspTlsSection


class TlsServer:
    """The server's context; `reload` replaces it for connections to come."""

    def __init__(self, section: TspTlsSection) -> None:
        self.section = section
        self._context = _server_context(section)

    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        return self._context

    def reload(self) -> None:
        """Read certificate, key and authority again; ConfigError leaves the old ones."""
        self._context = _server_context(self.section)


def client_context(
    *, ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """A client's context: servers must be known to `ca`, or to the system where it is None.

    `certificate` and `key` are for servers that ask who we are.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is not None:
        _load_authority(context, ca)
    else:
        context.load_default_certs()
    if certificate is not None:
        _load_chain(context, certificate, key or certificate)
    return context


def identity_of(certificate: Mapping[str, Any]) -> str | None:
    """Whom a client's certificate names; None without a certificate, or a name in it.

    A DNS or mail name of the subject's alternative names, else its common name. That the authority
    of the configuration has signed it was checked in the handshake.
    """
    names = dict(reversed(certificate.get("subjectAltName", ())))
    subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
    named = names.get("DNS") or names.get("email") or subject.get("commonName")
    return named if isinstance(named, str) and named.isprintable() else None


def _server_context(section: TspTlsSection) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load_chain(context, section.certificate, section.key)
    if section.client_ca is not None:
        _load_authority(context, section.client_ca)
        only = set(section.mechanisms) == {"EXTERNAL"}
        context.verify_mode = ssl.CERT_REQUIRED if only else ssl.CERT_OPTIONAL
    return context


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for path in (certificate, key):
        _check_readable(path)
    try:  # a passphrase would be asked for on a terminal that is not there
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        text = f"expected a certificate chain in PEM, and its key in {key} without passphrase"
        raise ConfigError(f"{certificate}: {reason}: {text}") from None


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    _check_readable(path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{path}: {error.reason}: expected certificates in PEM") from None


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
