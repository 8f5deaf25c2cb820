"""Who may use the admin routes: those who show the token, where one is set."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from pydantic import SecretStr

from es_rerank.proxy.answer import Header

OPEN_PAGES = frozenset({"live", "ready"})
"""What needs no token and is served on both addresses: balancers and kubelets ask for it."""
TOKEN_HEADER = b"x-es-rerank-token"
BEARER = b"bearer "
BASIC = b"basic "
CHALLENGE = [(b"www-authenticate", b'Bearer realm="es-rerank"')]
BROWSER_CHALLENGE = [(b"www-authenticate", b'Basic realm="es-rerank", charset="UTF-8"'), *CHALLENGE]
"""Browsers ask for a user's name and a password: any name, and the token."""


@dataclass(frozen=True)
class Visitor:
    """One who may come in.

    headers: the request's, without our token, so that `Authorization` there is the cluster's.
    trusted: the token was shown, so the proxy may lend its own credentials.
    """

    headers: tuple[Header, ...]
    trusted: bool


class Door:
    """Compares what is shown with the token."""

    def __init__(self, token: SecretStr | None) -> None:
        self._digest = None if token is None else digest(token.get_secret_value().encode())

    def admit(self, headers: Iterable[Header]) -> Visitor | None:
        """Let in, or not: None. Digests are compared, in a time that tells nothing (RFC 6750)."""
        headers = tuple((key.lower(), value) for key, value in headers)
        trusted = False
        kept = []
        for key, value in headers:
            shown = shown_token(key, value)
            fits = (
                shown is not None
                and self._digest is not None
                and compare_digest(digest(shown), self._digest)
            )
            trusted |= fits
            if not fits and key != TOKEN_HEADER:
                kept.append((key, value))
        if self._digest is not None and not trusted:
            return None
        return Visitor(tuple(kept), trusted)


def shown_token(key: bytes, value: bytes) -> bytes | None:
    """The token that a header may show."""
    if key == TOKEN_HEADER:
        return value.strip()
    if key == b"authorization" and value[: len(BEARER)].lower() == BEARER:
        return value[len(BEARER) :].strip()
    if key == b"authorization" and value[: len(BASIC)].lower() == BASIC:
        try:
            return b64decode(value[len(BASIC) :].strip(), validate=True).partition(b":")[2]
        except ValueError:
            return None
    return None


def digest(text: bytes) -> bytes:
    """Of one length whatever is shown."""
    return sha256(text).digest()
