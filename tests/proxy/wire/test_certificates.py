"""TLS towards clients, with real certificates."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
from pathlib import Path

import pytest
import trustme

from es_rerank.errors import ConfigError
from es_rerank.proxy.wire.certificates import make_listener_context, write_name
from tests.proxy.wire import proxy_settings
from tests.proxy.wire.serving import Echo, Served, read_all, serve

REQUEST = b"GET /x HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n"


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> dict[str, str]:
    """The proxy's certificate and key, and the authority of its clients."""
    own = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("tls_cert", "tls_key", "tls_client_ca")}
    own.private_key_pem.write_to_path(paths["tls_key"])
    for pem in own.cert_chain_pems:
        pem.write_to_path(paths["tls_cert"], append=True)
    authority.cert_pem.write_to_path(paths["tls_client_ca"])
    return {name: str(path) for name, path in paths.items()}


def listener(files: dict[str, str], *names: str) -> ssl.SSLContext | None:
    chosen = {name: files[name] for name in names}
    return make_listener_context(proxy_settings("http://127.0.0.1:9", proxy=chosen).proxy)


def ask(served: Served, context: ssl.SSLContext) -> bytes:
    """The answer."""
    with (
        socket.create_connection(served.address, 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(REQUEST)
        return read_all(connection)


def client(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_tls_is_spoken(loop: str, authority: trustme.CA, files: dict[str, str]) -> None:
    app = Echo()
    context = listener(files, "tls_cert", "tls_key")
    with serve(app, loop=loop, ssl_context=context) as served:
        assert ask(served, client(authority)).endswith(b"GET /x ")
        old = client(authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert ask(served, old).endswith(b"GET /x ")
        with served.connect() as plain:
            plain.sendall(REQUEST)
            assert not read_all(plain).startswith(b"HTTP")
    assert [s["scheme"] for s in app.scopes] == ["https", "https"]
    assert [s["extensions"]["tls"]["tls_version"] for s in app.scopes] == [0x0304, 0x0303]
    assert app.scopes[0]["extensions"]["tls"]["client_cert_name"] is None


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_clients_must_show_a_certificate(
    loop: str, authority: trustme.CA, files: dict[str, str]
) -> None:
    app = Echo()
    own = authority.issue_cert("jane@shop.example", common_name="Jane, Doe")
    context = listener(files, "tls_cert", "tls_key", "tls_client_ca")
    with serve(app, loop=loop, ssl_context=context) as served:
        known = client(authority)
        own.configure_cert(known)
        assert ask(served, known).endswith(b"GET /x ")
        foreign = client(authority)
        trustme.CA().issue_cert("eve@shop.example").configure_cert(foreign)
        for stranger in (client(authority), foreign):
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                assert ask(served, stranger) == b""
    assert len(app.seen) == 1
    tls = app.scopes[0]["extensions"]["tls"]
    der = ssl.PEM_cert_to_DER_cert(own.cert_chain_pems[0].bytes().decode())
    assert tls["client_cert_sha256"] == hashlib.sha256(der).hexdigest()
    assert "CN=Jane\\, Doe" in tls["client_cert_name"]


def test_wrong_files_are_told(files: dict[str, str]) -> None:
    assert listener(files) is None
    Path(files["tls_client_ca"]).write_text("nothing")
    with pytest.raises(ConfigError, match="tls_client_ca"):
        listener(files, "tls_cert", "tls_key", "tls_client_ca")
    Path(files["tls_key"]).write_text("nothing")
    with pytest.raises(ConfigError, match="unencrypted key"):
        listener(files, "tls_cert", "tls_key")
    Path(files["tls_key"]).unlink()
    with pytest.raises(ConfigError, match="There is no file"):
        listener(files, "tls_cert", "tls_key")
    with pytest.raises(ConfigError, match="set both"):
        listener(files, "tls_cert")


def test_names_are_written_as_rfc_4514_has_them() -> None:
    subject = ((("countryName", "DE"),), (("commonName", " a+b"), ("userId", "7")))
    assert write_name(subject) == "CN=\\ a\\+b+UID=7,C=DE"
