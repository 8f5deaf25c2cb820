"""TLS to the cluster, for the proxy and for the commands alike: checked, and its errors mend."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from es_rerank.cluster.client import connect
from es_rerank.config import load_settings
from es_rerank.errors import ClusterError, ConfigError
from es_rerank.proxy.upstream import Upstream
from es_rerank.proxy.wire.failure import UnreachableError
from tests.proxy.wire.test_client import run

INFO = b'{"version":{"distribution":"opensearch","number":"2.19.1"}}'


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, other.pem (another authority), client.pem (certificate and key), cert and key."""
    folder = tmp_path_factory.mktemp("tls")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    ours = authority.issue_cert("es-rerank")
    ours.private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    ours.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    ours.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "empty.pem").write_text("nothing")
    return folder


@contextlib.contextmanager
def node(authority: trustme.CA, name: str = "127.0.0.1", mutual: bool = False) -> Iterator[str]:
    """A node that speaks TLS and says that it is OpenSearch."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if mutual:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    def serve(raw: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as secure:
            while secure.recv(65_536):
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                secure.sendall(head + b"%d\r\n\r\n" % len(INFO) + INFO)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def ask(url: str, **settings: object) -> bytes:
    """What the proxy's client gets; and then the commands' client must get it too."""
    body = run(url, lambda c: c.ask("GET", b"/", [], None, 1000), **settings).body
    connect(url, **{k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}).close()  # type: ignore[arg-type]
    return body


def test_a_trusted_node(authority: trustme.CA, files: Path) -> None:
    with node(authority) as url:
        assert ask(url, ca_certs=files / "ca.pem") == INFO


def test_an_unchecked_node(authority: trustme.CA) -> None:
    with node(authority, "elsewhere.example") as url:
        assert ask(url, verify=False) == INFO


@pytest.mark.parametrize("ca", [None, "other.pem"])
def test_an_unknown_authority(authority: trustme.CA, files: Path, ca: str | None) -> None:
    trust = {"ca_certs": files / ca} if ca else {}
    with node(authority) as url:
        with pytest.raises(
            UnreachableError, match=r"not trusted.*name its CA in upstream.ca_certs"
        ):
            ask(url, **trust)
        with pytest.raises(ClusterError, match=r"not trusted.*Name its CA"):
            connect(url, ca_certs=str(trust["ca_certs"]) if ca else None)


def test_another_hosts_certificate(authority: trustme.CA, files: Path) -> None:
    with (
        node(authority, "elsewhere.example") as url,
        pytest.raises(UnreachableError, match=r"IP address mismatch.*a host name that the cert"),
    ):
        ask(url, ca_certs=files / "ca.pem")


@pytest.mark.parametrize("parts", [("client.pem", None), ("cert.pem", "key.pem")])
def test_our_own_certificate(
    authority: trustme.CA, files: Path, parts: tuple[str, str | None]
) -> None:
    ours = {"client_cert": files / parts[0]}
    if parts[1] is not None:
        ours["client_key"] = files / parts[1]
    with node(authority, mutual=True) as url:
        assert ask(url, ca_certs=files / "ca.pem", **ours) == INFO


def test_a_node_that_misses_our_certificate(authority: trustme.CA, files: Path) -> None:
    with node(authority, mutual=True) as url:
        with pytest.raises(UnreachableError, match=r"a certificate of ours.*upstream\.client_cert"):
            ask(url, ca_certs=files / "ca.pem")
        with pytest.raises(ClusterError, match=r"certificate of ours.*upstream\.client_cert"):
            connect(url, ca_certs=str(files / "ca.pem"))


def test_a_plain_node_taken_for_a_secure_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse() -> None:
            with server.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        with pytest.raises(UnreachableError, match=r"write http:// in upstream\.url"):
            ask(f"https://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ca_certs": "none.pem"}, "There is no CA file .*none.pem: correct upstream.ca_certs"),
        ({"ca_certs": "empty.pem"}, "holds no certificates in PEM form"),
        ({"client_cert": "none.pem"}, "There is no certificate .*correct upstream.client_cert"),
        ({"client_cert": "empty.pem"}, "are no certificate and its key"),
        ({"client_cert": "cert.pem"}, "are no certificate and its key"),
        ({"client_key": "key.pem"}, "client_key is of no use without client_cert"),
        (
            {"client_cert": "cert.pem", "client_key": "none.pem"},
            "There is no key file .*correct upstream.client_key",
        ),
    ],
)
def test_files_that_are_none(files: Path, settings: dict[str, str], message: str) -> None:
    table = {key: str(files / value) for key, value in settings.items()}
    with pytest.raises(ConfigError, match=message):
        Upstream(load_settings(None, {"upstream": {"url": "https://x", **table}}).upstream)
