"""The cluster behind the proxy: one pool of connections, bytes in and out as they are."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from es_rerank.config import UpstreamSettings
from es_rerank.errors import ConfigError
from es_rerank.proxy.answer import Header

# RFC 9110, 7.6.1: these belong to one connection and are not passed on.
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"}
    | {b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection"}
)
NOT_FORWARDED = HOP_BY_HOP | {b"host", b"expect"}
HEADER_BYTES = 65_536
AUTO_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
# Which of a request's headers say who asks.
PRINCIPAL_HEADERS = frozenset({b"authorization", b"es-security-runas-user", b"cookie"})


@dataclass(frozen=True)
class Answer:
    """A whole answer of the cluster."""

    status: int
    headers: list[Header]
    body: bytes


class AnswerTooLargeError(Exception):
    """The answer is larger than the proxy is willing to hold."""


class Upstream:
    """The cluster's address and the connections to it."""

    def __init__(self, settings: UpstreamSettings) -> None:
        url = URL(settings.url, encoded=True)
        if url.scheme not in {"http", "https"} or not url.host:
            raise ConfigError(
                f"upstream.url {settings.url!r} is no address: give one such as "
                "http://localhost:9200"
            )
        # The address is shown in errors and on pages: credentials in it are ours alone.
        self.url = str(url.with_user(None)).rstrip("/")
        self._user, self._password = url.user, url.password
        self.product: list[Header] = []
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the pool."""
        verified: ssl.SSLContext | bool = True
        if self.url.startswith("https"):
            if self._settings.ca_certs is not None:
                verified = ssl.create_default_context(cafile=str(self._settings.ca_certs))
            elif not self._settings.verify:
                verified = False
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._settings.connections, ssl=verified),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=AUTO_HEADERS,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=10.0, sock_read=self._settings.timeout_s
            ),
        )

    async def close(self) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        target: bytes,
        headers: Iterable[Header],
        body: bytes | AsyncIterator[bytes] | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask the cluster; the answer's body is still to be read.

        target: raw path and query, sent byte for byte. headers: sent as they are but for the
        hop-by-hop ones. Raises aiohttp.ClientError or TimeoutError.
        """
        if self._session is None:
            raise RuntimeError("the upstream is not open")
        async with self._session.request(
            method,
            URL(self.url + as_text(target), encoded=True),
            headers=[(as_text(k), as_text(v)) for k, v in forwarded(headers)],
            data=body,
            allow_redirects=False,
        ) as response:
            product = response.headers.get("X-Elastic-Product")
            if product and not self.product:
                self.product = [(b"x-elastic-product", product.encode("latin-1"))]
            yield response

    async def ask(
        self,
        method: str,
        target: bytes,
        headers: Iterable[Header],
        body: bytes | None,
        max_bytes: int,
    ) -> Answer:
        """Ask the cluster and read the whole answer, at most `max_bytes`.

        Raises AnswerTooLargeError, aiohttp.ClientError or TimeoutError.
        """
        async with self.stream(method, target, headers, body) as response:
            parts = bytearray()
            async for part in response.content.iter_any():
                parts += part
                if len(parts) > max_bytes:
                    raise AnswerTooLargeError
            return Answer(response.status, answered(response), bytes(parts))

    def own_credentials(self) -> list[Header]:
        """The Authorization header of the proxy's own calls, empty when none are set."""
        if self._settings.api_key is not None:
            value = f"ApiKey {self._settings.api_key.get_secret_value()}"
        elif self._settings.username and self._settings.password is not None:
            pair = f"{self._settings.username}:{self._settings.password.get_secret_value()}"
            value = f"Basic {b64encode(pair.encode()).decode()}"
        elif self._user is not None:
            pair = f"{self._user}:{self._password or ''}"
            value = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            return []
        return [(b"authorization", value.encode())]


def as_text(raw: bytes) -> str:
    """Bytes as text that aiohttp, which writes UTF-8, turns into the same bytes again."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def forwarded(headers: Iterable[Header]) -> list[Header]:
    """The request's headers but for those of the connection, and those it names itself."""
    headers = list(headers)
    named = named_by_connection(headers)
    return [(k, v) for k, v in headers if k.lower() not in NOT_FORWARDED and k.lower() not in named]


def answered(response: aiohttp.ClientResponse) -> list[Header]:
    """The answer's headers but for those of the connection."""
    named = named_by_connection(response.raw_headers)
    return [
        (k, v)
        for k, v in response.raw_headers
        if k.lower() not in HOP_BY_HOP and k.lower() not in named
    ]


def named_by_connection(headers: Iterable[Header]) -> set[bytes]:
    """The headers that `Connection` names as its own."""
    return {
        name.strip().lower()
        for key, value in headers
        if key.lower() == b"connection"
        for name in value.split(b",")
    }


def principal(headers: Iterable[Header]) -> tuple[Header, ...]:
    """The headers that say who asks."""
    return tuple((k.lower(), v) for k, v in headers if k.lower() in PRINCIPAL_HEADERS)
