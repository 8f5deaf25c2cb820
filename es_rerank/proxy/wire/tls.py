"""TLS towards the cluster, and connection failures in words that say how to mend them."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

from es_rerank.config import UpstreamSettings
from es_rerank.errors import ConfigError


def make_context(settings: UpstreamSettings) -> ssl.SSLContext:
    """How the cluster's certificate is checked, and ours shown. Raises ConfigError."""
    ca_certs = settings.ca_certs
    if ca_certs is not None and not Path(ca_certs).is_file():
        raise ConfigError(f"There is no CA file {ca_certs}: correct upstream.ca_certs.")
    try:
        context = ssl.create_default_context(cafile=str(ca_certs) if ca_certs else None)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"upstream.ca_certs {ca_certs} holds no certificates in PEM form ({error})."
        ) from None
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def explain(error: OSError) -> str:
    """What went wrong with a connection, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}); name its CA in "
            "upstream.ca_certs, or use a host name that the certificate holds"
        )
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
            return "it does not speak TLS; write http:// in upstream.url"
        return f"TLS failed ({reason})"
    if isinstance(error, ConnectionRefusedError):
        return "it refused the connection; check upstream.url and that the cluster is up"
    if isinstance(error, ConnectionResetError):
        return "it reset the connection; if it speaks TLS, write https:// in upstream.url"
    if isinstance(error, socket.gaierror):
        return "its host name is not known; check upstream.url"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
