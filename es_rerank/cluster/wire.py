"""HTTP to a cluster: connections that are kept, credentials and certificates, bytes in and out.

Both engines speak the same HTTP, so no client library stands in between: it would decode and encode
every document on the way (docs/adr/0016-no-client-library.md).
"""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import urllib3

from es_rerank.errors import ClusterError

JSON = "application/json"
NDJSON = "application/x-ndjson"
CONNECTIONS = 32
PIECE = 1 << 20
# Engines answer with a Warning header for each deprecation, more than the hundred that pass.
vars(http.client)["_MAXHEADERS"] = 10_000
LOOPBACK = ("127.", "localhost", "[::1]")

Body = bytes | Iterable[bytes]


class TooLargeError(Exception):
    """An answer has more bytes than were allowed; it was cut off."""


@dataclass(frozen=True)
class Answer:
    """What came back: the status and the whole body."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Wire:
    """The way to one node."""

    url: str  # without credentials, with the port
    timeout_s: float
    _pool: urllib3.PoolManager = field(repr=False, compare=False)
    _headers: Mapping[str, str] = field(repr=False, compare=False)

    def send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        max_bytes: int | None = None,
    ) -> Answer:
        """Send one request and read its answer, whatever the status.

        Raises ClusterError without a status when no answer came, TooLargeError when more than
        `max_bytes` did.
        """
        headers = {**self._headers, "accept": JSON}
        if body is not None:
            headers["content-type"] = content_type
        query = urllib.parse.urlencode({k: as_param(v) for k, v in (params or {}).items()})
        try:
            answer = self._pool.request(
                method,
                f"{self.url}{path}{'?' if query else ''}{query}",
                body=body,
                headers=headers,
                preload_content=False,
                retries=False,
                redirect=False,
                timeout=self.timeout_s,
            )
            try:
                data = _read(answer, max_bytes)
            except BaseException:
                answer.close()
                raise
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(
                f"{self.url} stopped answering during {method} {path} ({_cause(error)}). "
                "Check that it is up, then run the command again."
            ) from error
        return Answer(answer.status, data)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()


def open_wire(
    base: str,
    headers: Mapping[str, str],
    *,
    ca_certs: str | None = None,
    verify: bool = True,
    client_cert: str | None = None,
    client_key: str | None = None,
    timeout_s: float = 30.0,
) -> Wire:
    """Make the way to the node at `base`; nothing is sent yet."""
    pool = urllib3.PoolManager(
        maxsize=CONNECTIONS,
        cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE",
        ca_certs=ca_certs,
        cert_file=client_cert,
        key_file=client_key,
    )
    near = urllib.parse.urlsplit(base).netloc.startswith(LOOPBACK)
    # Packing costs more than it saves where no network lies between.
    packed = {} if near else {"accept-encoding": "gzip"}
    return Wire(base, timeout_s, pool, {**headers, **packed})


def as_param(value: Any) -> Any:
    """A query parameter as the engines write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list | tuple) else value


def explain(data: bytes) -> tuple[str, str]:
    """The type of the error in an answer, and the engine's own words for its root cause."""
    try:
        body = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return "", data[:500].decode("utf-8", "replace").strip() or "no reason given"
    detail = body.get("error") if isinstance(body, dict) else None
    if not isinstance(detail, dict):
        return "", str(detail or body)
    causes = detail.get("root_cause")
    cause = causes[0] if isinstance(causes, list) and causes else detail
    if not isinstance(cause, dict):
        return "", str(cause)
    nested = detail.get("caused_by")
    inner = f" ({nested['reason']})" if isinstance(nested, dict) and nested.get("reason") else ""
    kind = str(cause.get("type"))
    return kind, f"{kind}: {cause.get('reason')}{inner}"


def refusal(url: str, what: str, answer: Answer) -> ClusterError:
    """The error that says how the cluster refused `what`, and how to mend it."""
    kind, reason = explain(answer.body)
    mend = {
        401: " The credentials were refused: check username, password or API key.",
        403: " The user lacks a privilege on this index or cluster.",
        413: " The request was too large for the cluster: use a smaller --batch-size.",
        429: " The cluster is too busy: try again later.",
    }.get(answer.status, "")
    if kind == "cluster_block_exception":
        mend = BLOCKED
    elif kind == "index_closed_exception":
        mend = " The index is closed: open it (POST /INDEX/_open), then run the command again."
    return ClusterError(
        f"{url} answered {what} with {answer.status}: {reason}.{mend}", answer.status, kind
    )


BLOCKED = (
    " The index takes no writes. Where the disk is full (flood-stage watermark), make room on it; "
    "where the index was made read-only, lift the block (PUT /INDEX/_settings "
    '{"index.blocks.read_only_allow_delete": null}). Then run the command again.'
)


def check(url: str, what: str, answer: Answer, allow: Collection[int] = ()) -> bytes | None:
    """The answer's body; None for a status in `allow`. Raises ClusterError for any other."""
    if 200 <= answer.status < 300:
        return answer.body
    if answer.status in allow:
        return None
    raise refusal(url, what, answer)


def _read(answer: urllib3.BaseHTTPResponse, max_bytes: int | None) -> bytes:
    if max_bytes is None:
        return answer.data
    if int(answer.headers.get("content-length") or 0) > max_bytes:
        raise TooLargeError
    pieces, size = [], 0
    for piece in answer.stream(PIECE):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise TooLargeError
    return b"".join(pieces)


def _cause(error: Exception) -> str:
    return str(error).rpartition(": ")[2] or type(error).__name__
