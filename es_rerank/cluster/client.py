"""Connect to whatever the server says it is: a request, a search, a bulk stream, a point in time.

The server is asked first, plainly, and each way in which it can refuse us has its own message.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
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
from es_rerank.cluster.wire import Answer, Body, Wire, check, open_wire
from es_rerank.config.upstream import SourceSettings, UpstreamSettings
from es_rerank.errors import ClusterError


@dataclass(frozen=True)
class SearchClient:
    """One cluster, whichever engine it runs."""

    kind: Kind
    version: Version
    url: str  # without credentials
    wire: Wire = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Say what the server is, for people: `OpenSearch 2.19.1`."""
        product = "OpenSearch" if self.kind == "opensearch" else "Elasticsearch"
        return f"{product} {'.'.join(map(str, self.version))}"

    @property
    def where(self) -> str:
        """Say which server it is, for messages."""
        return f"{self.name} at {self.url}"

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
        sent = None if body is None else orjson.dumps(body)
        data = self.check(f"{method} {path}", self.send(method, path, sent, params=params), allow)
        return decode_answer(data) if data else None

    def send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        **how: Any,
    ) -> Answer:
        """Send bytes and return what comes back, whatever the status; see Wire.send."""
        return self.wire.send(method, path, body, params=params, **how)

    def check(self, what: str, answer: Answer, allow: Collection[int] = ()) -> bytes | None:
        """The answer's body, None for a status in `allow`. Raises ClusterError for any other."""
        return check(self.where, what, answer, allow)

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

    def close(self) -> None:
        """Close the connections."""
        self.wire.close()


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
    """Ask the server at `url` what it is and connect to it.

    `http://user:password@host` is understood. Raises ClusterError when it cannot be reached,
    refuses the credentials or is no search engine; ConfigError when the URL is wrong.
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
    wire = open_wire(
        base,
        headers,
        ca_certs=ca_certs,
        verify=verify,
        client_cert=client_cert,
        client_key=client_key,
        timeout_s=timeout_s,
    )
    return SearchClient(kind, version, base, wire)


def connect_upstream(settings: UpstreamSettings) -> SearchClient:
    """Connect to the cluster that the settings name, through the first node that answers."""
    *others, last = settings.urls or (settings.url,)
    for url in others:
        with contextlib.suppress(ClusterError):
            return connect_node(url, settings)
    return connect_node(last, settings)


def connect_node(url: str, settings: UpstreamSettings | SourceSettings) -> SearchClient:
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
