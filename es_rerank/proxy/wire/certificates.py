"""TLS towards clients: our certificate, and theirs."""

from __future__ import annotations

import hashlib
import ssl

from es_rerank.config import ProxySettings
from es_rerank.errors import ConfigError

VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
# RFC 4514, 3: the attribute types that have a short name.
SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


def make_listener_context(settings: ProxySettings) -> ssl.SSLContext | None:
    """How the proxy shows itself and whom it lets in; None without TLS. Raises ConfigError."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    for key in ("tls_cert", "tls_key", "tls_client_ca"):
        path = getattr(settings, key)
        if path is not None and not path.is_file():
            raise ConfigError(f"There is no file {path}: correct proxy.{key}.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigError(
            f"proxy.tls_cert {settings.tls_cert} and proxy.tls_key {settings.tls_key} are no "
            f"certificate in PEM form and its unencrypted key ({error})."
        ) from None
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"proxy.tls_client_ca {settings.tls_client_ca} holds no certificates in PEM "
                f"form ({error})."
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def describe_peer(tls: ssl.SSLObject | None) -> dict[str, object] | None:
    """What is known of a TLS client, by the keys of ASGI's TLS extension; None without TLS.

    client_cert_name is the subject as RFC 4514 writes it, client_cert_sha256 the fingerprint in
    hex; both are None where no certificate was shown.
    """
    if tls is None:
        return None
    raw = tls.getpeercert(binary_form=True)
    shown = tls.getpeercert() if raw else None
    return {
        "tls_version": VERSIONS.get(tls.version() or ""),
        "client_cert_name": write_name(shown.get("subject", ())) if shown else None,
        "client_cert_sha256": hashlib.sha256(raw).hexdigest() if raw else None,
    }


def write_name(subject: object) -> str:
    """A distinguished name as Python's ssl gives it, the way RFC 4514 writes it."""
    assert isinstance(subject, tuple)
    return ",".join(
        "+".join(f"{SHORT_NAMES.get(kind, kind)}={_escape(value)}" for kind, value in relative)
        for relative in reversed(subject)
    )


def _escape(value: str) -> str:
    escaped = "".join(f"\\{c}" if c in '",+;<>\\' else c for c in value).replace("\0", "\\00")
    if escaped[:1] in {" ", "#"}:
        escaped = "\\" + escaped
    if escaped.endswith(" ") and len(escaped) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped
