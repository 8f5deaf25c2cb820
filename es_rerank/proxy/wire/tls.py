"""TLS towards the cluster, and connection failures in words that say how to mend them."""

from __future__ import annotations

import errno
import os
import socket
import ssl

from es_rerank.cluster.server import check_files
from es_rerank.config import UpstreamSettings
from es_rerank.errors import ConfigError


def make_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """How the cluster's certificate is checked, and ours shown. Raises ConfigError."""
    ca_certs, cert, key = settings.ca_certs, settings.client_cert, settings.client_key
    check_files(ca_certs, cert, key)
    try:
        context = ssl.create_default_context(cafile=str(ca_certs) if ca_certs else None)
    except OSError as error:
        raise ConfigError(
            f"upstream.ca_certs {ca_certs} holds no certificates in PEM form ({error})."
        ) from None
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        try:
            context.load_cert_chain(cert, key, password=refuse_password)
        except OSError as error:
            raise ConfigError(
                f"upstream.client_cert {cert} and client_key {key or cert} are no certificate and "
                f"its key in PEM form, without a password ({error})."
            ) from None
    return context


def explain(error: OSError | ValueError) -> str:
    """What went wrong with a connection, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); name its CA in "
            "upstream.ca_certs, or use a host name that the certificate holds"
        )
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
            return f"it wants a certificate of ours ({reason}); set upstream.client_cert"
        if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
            return "it does not speak TLS; write http:// in upstream.url"
        return f"TLS failed ({reason})"
    if isinstance(error, ConnectionRefusedError) or f"Errno {errno.ECONNREFUSED}" in str(error):
        return "it refused the connection; check upstream.url and that the cluster is up"
    if isinstance(error, ConnectionResetError):
        return "it reset the connection; if it speaks TLS, write https:// in upstream.url"
    if isinstance(error, socket.gaierror):
        return "its host name is not known; check upstream.url"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error) or type(error).__name__


def explain_end(url: str, error: Exception | None) -> str:
    """Why a node may have closed a connection that was made, empty where nothing tells.

    In TLS 1.3 a missing certificate of ours is noticed after the connection is made; the alert
    that says so may be lost to a reset.
    """
    if isinstance(error, ssl.SSLError):
        return f": {explain(error)}"
    if isinstance(error, ConnectionResetError) and url.startswith("https:"):
        return "; if it wants a certificate of ours, set upstream.client_cert"
    return ""


def refuse_password() -> str:
    """Answer OpenSSL, which would ask at the terminal for the password of an encrypted key."""
    return ""
