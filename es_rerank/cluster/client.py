"""Connect to whatever the server says it is, through its own official client.

The official clients refuse each other's servers: elasticsearch-py wants the `X-Elastic-Product`
header, and its version 9 asks for a media type that Elasticsearch 8 does not know. So the server is
asked first, plainly, and each way in which it can refuse us has its own message.
"""

from __future__ import annotations

import contextlib
import urllib.parse
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import urllib3

from es_rerank.cluster.document import Hits, decode_answer
from es_rerank.cluster.server import (
    Kind,
    Version,
    ask_server,
    check_files,
    identify_server,
    split_url,
)
from es_rerank.config import UpstreamSettings
from es_rerank.errors import ClusterError

BULK_RETRIES = 6  # 1 + 2 + 4 + 8 + 16 + 32 seconds: a minute of a cluster that is too busy
BULK_MAX_BYTES = 8 * 1024 * 1024  # the smallest managed clusters take requests of 10 MB


@dataclass(frozen=True)
class SearchClient:
    """One cluster, whichever engine it runs: a request, a bulk stream, a point in time."""

    kind: Kind
    version: Version
    url: str  # without credentials
    _client: Any = field(repr=False, compare=False)
    _errors: tuple[type[Exception], ...] = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Say what the server is, for people: `OpenSearch 2.19.1`."""
        product = "OpenSearch" if self.kind == "opensearch" else "Elasticsearch"
        return f"{product} {'.'.join(map(str, self.version))}"

    @property
    def has_shard_doc(self) -> bool:
        """Whether a point in time can be sorted by `_shard_doc`."""
        return self.kind == "elasticsearch" or self.version >= (3, 3, 0)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        allow: Collection[int] = (),
    ) -> Any:
        """Send one request and return the decoded answer; None for a status in `allow`.

        Raises ClusterError with the engine's own reason.
        """
        try:
            return self._perform(method, path, body, params)
        except self._errors as error:
            if _status(error) in allow:
                return None
            raise self._error(error, f"{method} {path}") from error

    def search(self, index: str | None, body: Mapping[str, Any]) -> Hits:
        """Search an index, or a point in time where `index` is None, and return the hits.

        Raises ClusterError also when not every shard answered.
        """
        path = "/_search" if index is None else f"/{quote(index)}/_search"
        answer = self.request("POST", path, body)
        shards = answer.get("_shards", {})
        if shards.get("failed") or answer.get("timed_out"):
            raise ClusterError(
                f"{self.name} could not read every shard: {shards.get('failures', 'time out')}. "
                "Wait until the index is green, then run the command again."
            )
        hits: Hits = answer["hits"]
        return msgspec.structs.replace(hits, pit_id=answer.get("pit_id"))

    def open_pit(self, index: str, keep_alive: str) -> str:
        """Open a point in time over `index` and return its id."""
        params = {"keep_alive": keep_alive}
        if self.kind == "opensearch":
            path = f"/{quote(index)}/_search/point_in_time"
            return str(self.request("POST", path, params=params)["pit_id"])
        return str(self.request("POST", f"/{quote(index)}/_pit", params=params)["id"])

    def close_pit(self, pit_id: str) -> None:
        """Close a point in time; one that is gone already is no error."""
        if self.kind == "opensearch":
            body: dict[str, Any] = {"pit_id": [pit_id]}
            self.request("DELETE", "/_search/point_in_time", body, allow=(404,))
        else:
            self.request("DELETE", "/_pit", {"id": pit_id}, allow=(404,))

    def bulk(
        self, actions: Iterable[tuple[dict[str, Any], str]], *, chunk_size: int
    ) -> Iterator[tuple[bool, dict[str, Any]]]:
        """Stream `(action, source as JSON)` to `_bulk`; yield `(ok, item)` for each, in order.

        Items refused with 429 are sent again with growing pauses. Raises ClusterError when the
        cluster cannot be reached or refuses a whole request.
        """
        if self.kind == "opensearch":
            from opensearchpy.helpers import streaming_bulk
        else:
            from elasticsearch.helpers import streaming_bulk  # type: ignore[assignment]
        try:
            for ok, item in streaming_bulk(
                self._client,
                actions,
                chunk_size=chunk_size,
                max_chunk_bytes=BULK_MAX_BYTES,
                expand_action_callback=_as_given,
                raise_on_error=False,
                max_retries=BULK_RETRIES,
                initial_backoff=1,
                max_backoff=60,
            ):
                (result,) = item.values()
                yield ok, result
        except self._errors as error:
            raise self._error(error, "POST /_bulk") from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _perform(self, method: str, path: str, body: Any, params: Mapping[str, Any] | None) -> Any:
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        query = {key: _as_param(value) for key, value in (params or {}).items()}
        if self.kind == "opensearch":
            return self._client.transport.perform_request(
                method, path, params=query, body=body, headers=headers
            )
        with warnings.catch_warnings():  # deprecations concern whoever wrote the index, not us
            warnings.simplefilter("ignore")
            answer = self._client.perform_request(
                method, path, params=query, body=body, headers=headers
            )
        return answer.body

    def _error(self, error: Exception, what: str) -> ClusterError:
        status = _status(error)
        if status is None:
            return ClusterError(
                f"{self.name} at {self.url} stopped answering during {what} ({error}). "
                "Check that it is up, then run the command again."
            )
        reason = _reason(error)
        mend = {
            401: " The credentials were refused: check username, password or API key.",
            403: " The user lacks a privilege on this index or cluster.",
            413: " The request was too large for the cluster: use a smaller --batch-size.",
            429: " The cluster is too busy: try again later.",
        }.get(status, "")
        return ClusterError(
            f"{self.name} at {self.url} answered {what} with {status}: {reason}.{mend}"
        )


def connect(
    url: str,
    *,
    username: str | None = None,
    password: str | None = None,
    api_key: str | None = None,
    ca_certs: str | None = None,
    verify: bool = True,
    client_cert: str | None = None,
    client_key: str | None = None,
    timeout_s: float = 30.0,
) -> SearchClient:
    """Ask the server at `url` what it is and connect with the client that it accepts.

    `http://user:password@host` is understood. Raises ClusterError when it cannot be reached,
    refuses the credentials, is no search engine or needs another client; ConfigError when the URL
    is wrong.
    """
    base, url_user, url_password = split_url(url)
    check_files(ca_certs, client_cert, client_key)
    if username is None and api_key is None:
        username, password = url_user, url_password
    login = (username, password or "") if username is not None else None
    headers = {"authorization": f"ApiKey {api_key}"} if api_key else {}
    if login and not api_key:
        headers = urllib3.make_headers(basic_auth=":".join(login))
    info, product = ask_server(
        base, headers, ca_certs, verify, min(timeout_s, 30.0), client_cert, client_key
    )
    kind, version = identify_server(base, info, product)
    tls: dict[str, Any] = {}
    if base.startswith("https:"):
        tls = {"verify_certs": verify, "ssl_show_warn": False}
        if ca_certs:
            tls["ca_certs"] = ca_certs
        if client_cert:
            tls.update(client_cert=client_cert, client_key=client_key)
    if kind == "opensearch":
        import opensearchpy

        errors: tuple[type[Exception], ...] = (opensearchpy.OpenSearchException,)
        client = _opensearch(
            base,
            login=login,
            headers=headers if api_key else {},
            timeout_s=timeout_s,
            tls=tls,
        )
    else:
        import elastic_transport
        import elasticsearch

        errors = (elasticsearch.ApiError, elastic_transport.TransportError)
        client = _elasticsearch(
            base, version, login=login, api_key=api_key, timeout_s=timeout_s, tls=tls
        )
    return SearchClient(kind, version, base, client, errors)


def connect_upstream(settings: UpstreamSettings) -> SearchClient:
    """Connect to the cluster that the settings name, through the first node that answers."""
    *others, last = settings.urls or (settings.url,)
    for url in others:
        with contextlib.suppress(ClusterError):
            return connect_node(url, settings)
    return connect_node(last, settings)


def connect_node(url: str, settings: UpstreamSettings) -> SearchClient:
    """Connect to one node with the settings' credentials and certificates."""
    return connect(
        url,
        username=settings.username,
        password=settings.password.get_secret_value() if settings.password else None,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        ca_certs=str(settings.ca_certs) if settings.ca_certs else None,
        verify=settings.verify,
        client_cert=str(settings.client_cert) if settings.client_cert else None,
        client_key=str(settings.client_key) if settings.client_key else None,
        timeout_s=settings.timeout_s,
    )


def quote(index: str) -> str:
    """Quote an index name or expression for a path."""
    return urllib.parse.quote(index, safe=",*")


def _elasticsearch(
    base: str,
    version: Version,
    *,
    login: tuple[str, str] | None,
    api_key: str | None,
    timeout_s: float,
    tls: Mapping[str, Any],
) -> Any:
    import elasticsearch
    from elastic_transport import JsonSerializer

    installed = elasticsearch.__version__[0]
    # A client speaks to its own major and the next one: 8 to 8 and 9, 9 to 9 and 10.
    if not installed <= version[0] <= installed + 1:
        extra = "es8" if version[0] == 8 else "es9"
        raise ClusterError(
            f"{base} is Elasticsearch {version[0]}, which the installed elasticsearch-py "
            f"{installed} cannot speak to. Install the fitting one: "
            f"pip install 'es-rerank[{extra}]'"
        )

    class Serializer(JsonSerializer):
        def json_loads(self, data: bytes) -> Any:
            return decode_answer(data)

    login_options: dict[str, Any] = {"api_key": api_key} if api_key else {"basic_auth": login}
    return elasticsearch.Elasticsearch(
        base,
        serializer=Serializer(),
        request_timeout=timeout_s,
        retry_on_timeout=False,
        **login_options,
        **tls,
    )


def _opensearch(
    base: str,
    *,
    login: tuple[str, str] | None,
    headers: Mapping[str, str],
    timeout_s: float,
    tls: Mapping[str, Any],
) -> Any:
    import opensearchpy
    from opensearchpy.serializer import JSONSerializer

    class Serializer(JSONSerializer):  # type: ignore[misc, unused-ignore]
        def loads(self, s: str) -> Any:
            return decode_answer(s.encode("utf-8", "surrogatepass"))

    return opensearchpy.OpenSearch(
        hosts=[base],
        serializer=Serializer(),
        timeout=timeout_s,
        http_auth=login if not headers else None,
        headers=dict(headers),
        **tls,
    )


def _as_given(action: tuple[dict[str, Any], str]) -> tuple[dict[str, Any], str]:
    return action


def _as_param(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _status(error: Exception) -> int | None:
    """The HTTP status of either official client's error, None where no answer came."""
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "meta", None), "status", None)
    return status if isinstance(status, int) else None


def _reason(error: Exception) -> str:
    """The engine's own words: type and reason of the root cause."""
    body = getattr(error, "body", None)  # elasticsearch-py
    if body is None:
        body = getattr(error, "info", None)  # opensearch-py
    detail = body.get("error") if isinstance(body, dict) else None
    if not isinstance(detail, dict):
        return str(detail or body or error)
    causes = detail.get("root_cause")
    cause = causes[0] if isinstance(causes, list) and causes else detail
    if not isinstance(cause, dict):
        return str(cause)
    nested = detail.get("caused_by")
    inner = f" ({nested['reason']})" if isinstance(nested, dict) and nested.get("reason") else ""
    return f"{cause.get('type')}: {cause.get('reason')}{inner}"
