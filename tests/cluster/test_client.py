"""What `connect` says to every server that is not what it should be: real sockets, no engine."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from es_rerank.cluster.client import connect
from es_rerank.engine.node import Node
from es_rerank.errors import ClusterError, ConfigError

Serve = Callable[..., str]
ELASTIC = {"X-Elastic-Product": "Elasticsearch"}


def _info(number: str, **version: str) -> dict[str, Any]:
    return {"name": "n", "version": {"number": number, **version}}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one fixed answer to every GET on a real socket; returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(
        status: int,
        body: Any = "",
        headers: Mapping[str, str] = {},
        *,
        tls: ssl.SSLContext | None = None,
        seen: list[dict[str, str]] | None = None,
    ) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if seen is not None:
                    seen.append({key.lower(): value for key, value in self.headers.items()})
                data = (body if isinstance(body, str) else json.dumps(body)).encode()
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_opensearch_is_known(serve: Serve) -> None:
    url = serve(200, _info("2.19.1", distribution="opensearch"))
    with closing(connect(url)) as client:
        assert (client.kind, client.version, client.url) == ("opensearch", (2, 19, 1), url)
        assert client.name == "OpenSearch 2.19.1"
        assert not client.has_shard_doc


def test_opensearch_that_hides_its_version_counts_as_the_oldest(serve: Serve) -> None:
    with closing(connect(serve(200, _info("7.10.2", distribution="opensearch")))) as client:
        assert client.version == (2, 4, 0)


def test_shard_doc_by_version(serve: Serve) -> None:
    for number, has in (("3.2.9", False), ("3.3.0", True), ("4.0.0", True)):
        with closing(connect(serve(200, _info(number, distribution="opensearch")))) as client:
            assert client.has_shard_doc is has


def test_elasticsearch_is_known(serve: Serve) -> None:
    url = serve(200, _info("9.1.2-SNAPSHOT"), ELASTIC)
    with closing(connect(url)) as client:
        assert (client.kind, client.version) == ("elasticsearch", (9, 1, 2))
        assert client.has_shard_doc


@pytest.mark.parametrize(
    ("status", "body", "headers", "says"),
    [
        (200, "<html>hello</html>", {}, "is no Elasticsearch or OpenSearch"),
        (200, {"version": "1.0"}, {}, "is no Elasticsearch or OpenSearch"),
        (200, [1], {}, "is no Elasticsearch or OpenSearch"),
        (200, _info("9.0.0"), {}, "sends no `X-Elastic-Product"),
        (200, _info("6.8.0"), {}, "needs Elasticsearch 8.0 or newer"),
        (200, _info("1.3.0", distribution="opensearch"), {}, "needs OpenSearch 2.4 or newer"),
        (401, "", {}, "asks for credentials"),
        (403, "", {}, "privilege"),
        (301, "", {"Location": "https://elsewhere/"}, "redirects to https://elsewhere/"),
        (404, "", {}, "no Elasticsearch or OpenSearch node"),
        (503, "", {}, "Try later"),
    ],
)
def test_each_refusal_has_its_own_mend(
    serve: Serve, status: int, body: Any, headers: dict[str, str], says: str
) -> None:
    with pytest.raises(ClusterError, match=says) as caught:
        connect(serve(status, body, headers))
    assert caught.value.exit_code == 4


def test_refused_credentials(serve: Serve) -> None:
    seen: list[dict[str, str]] = []
    url = serve(401, "", seen=seen)
    with pytest.raises(ClusterError, match="refused the credentials"):
        connect(url, username="u", password="p")
    with pytest.raises(ClusterError, match="refused the credentials") as caught:
        connect(url.replace("http://", "http://us%40er:p%3Ass@"))
    assert "p:ss" not in str(caught.value)
    with pytest.raises(ClusterError, match="refused the credentials"):
        connect(url, api_key="secret")
    sent = [headers["authorization"] for headers in seen]
    assert sent == ["Basic dTpw", "Basic dXNAZXI6cDpzcw==", "ApiKey secret"]


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=r"cannot be reached .*refused"):
            connect(f"http://127.0.0.1:{port}")
    with pytest.raises(ClusterError, match="cannot be reached"):
        connect("http://nowhere.invalid:9200")


def test_silence_ends_with_the_time_out() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ClusterError, match="cannot be reached"):
            connect(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)


@pytest.mark.parametrize("url", ["localhost:9200", "", "ftp://h:1", "http://", "http://h:port"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match="http://localhost:9200"):
        connect(url)


def test_a_wrong_address_does_not_give_the_password_away() -> None:
    with pytest.raises(ConfigError) as caught:
        connect("ftp://me:secret@host:9200")
    assert "secret" not in str(caught.value)


def test_https_to_a_plain_server(serve: Serve) -> None:
    url = serve(200, _info("9.0.0"), ELASTIC)
    with pytest.raises(ClusterError, match="http://"):
        connect(url.replace("http:", "https:"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and key for 127.0.0.1, in one PEM file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=test -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    return both


def test_tls(serve: Serve, certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    url = serve(200, _info("2.19.1", distribution="opensearch"), tls=tls)
    with pytest.raises(ClusterError, match=r"not trusted .*upstream\.ca_certs"):
        connect(url)
    connect(url, ca_certs=str(certificate)).close()
    connect(url, verify=False).close()
    with pytest.raises(ConfigError, match="CA file"):
        connect(url, ca_certs="absent.pem")
    with pytest.raises(ClusterError, match="https://"):
        connect(url.replace("https:", "http:"), timeout_s=5)


def test_what_a_real_engine_says(engine: Node, index_name: str) -> None:
    with closing(connect(engine.url)) as client:
        assert client.kind == engine.kind
        assert ".".join(map(str, client.version)) == engine.version
        assert client.request("GET", f"/{index_name}", allow=(404,)) is None
        with pytest.raises(ClusterError, match=f"404: index_not_found.*{index_name}"):
            client.request("GET", f"/{index_name}")
        body: dict[str, Any] = {"query": {"no_such_query": {}}}
        with pytest.raises(ClusterError, match="no_such_query"):
            client.request("POST", "/_search", body)


def test_an_engine_that_goes_away(serve: Serve) -> None:
    client = connect(serve(200, _info("2.19.1", distribution="opensearch")))
    with pytest.raises(ClusterError, match="501"):  # the server knows no POST
        client.request("POST", "/_search", {})
    client.close()
