"""Ask a server what it is, before any client is chosen: `GET /` with nothing but urllib3."""

from __future__ import annotations

import re
import urllib.parse
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import urllib3

from es_rerank.errors import ClusterError, ConfigError

Kind = Literal["opensearch", "elasticsearch"]
Version = tuple[int, int, int]

OWN_CERTIFICATE = (
    " If it asks for a certificate of ours, name it in the setting upstream.client_cert."
)
OLDEST: Mapping[str, Version] = {"opensearch": (2, 4, 0), "elasticsearch": (8, 0, 0)}


def split_url(url: str) -> tuple[str, str | None, str | None]:
    """Split off user and password and fill in the scheme's port, which elasticsearch-py wants.

    Raises ConfigError when it is no address of a cluster.
    """
    parts = urllib.parse.urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        shown = re.sub(r"//[^/]*@", "//***@", url)
        raise ConfigError(
            f"{shown!r} is not the address of a cluster. Write it like http://localhost:9200."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = port or (443 if parts.scheme == "https" else 80)
    base = f"{parts.scheme}://{host}:{port}{parts.path.rstrip('/')}"
    user = urllib.parse.unquote(parts.username) if parts.username else None
    password = urllib.parse.unquote(parts.password) if parts.password else None
    return base, user, password


def check_files(*files: Path | str | None) -> None:
    """See that the files of certificates and keys are there. Raises ConfigError."""
    for name, file in zip(("ca_certs", "client_cert", "client_key"), files, strict=True):
        if file is not None and not Path(file).is_file():
            what = {"ca_certs": "CA file", "client_cert": "certificate"}.get(name, "key file")
            raise ConfigError(f"There is no {what} {file}: correct upstream.{name}.")


def ask_server(
    base: str,
    headers: Mapping[str, str],
    ca_certs: str | None,
    verify: bool,
    timeout_s: float,
    client_cert: str | None = None,
    client_key: str | None = None,
) -> tuple[Any, str]:
    """Send `GET /`; return the decoded answer and the `X-Elastic-Product` header.

    Raises ClusterError when it cannot be reached or refuses, each case with its own mend.
    """
    pool = urllib3.PoolManager(
        cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE",
        ca_certs=ca_certs,
        cert_file=client_cert,
        key_file=client_key,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
            answer = pool.request(
                "GET",
                f"{base}/",
                headers={**headers, "accept": "application/json"},
                timeout=timeout_s,
                retries=False,
                redirect=False,
            )
    except urllib3.exceptions.SSLError as error:
        raise ClusterError(_tls_message(base, error)) from error
    except urllib3.exceptions.ProtocolError as error:
        other = "https" if base.startswith("http:") else "http"
        raise ClusterError(
            f"{base} closed the connection without an answer. If it speaks {other}, "
            f"write {other}:// in the address.{OWN_CERTIFICATE if other == 'http' else ''}"
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise ClusterError(
            f"{base} cannot be reached ({_cause(error)}). Check the address and that the cluster "
            "is up; set it with --url, ES_RERANK_UPSTREAM__URL or ELASTICSEARCH_URL."
        ) from error
    finally:
        pool.clear()
    _check_status(base, answer, bool(headers))
    try:
        info = msgspec.json.decode(answer.data)
    except msgspec.DecodeError:
        info = None
    return info, answer.headers.get("X-Elastic-Product", "")


def _check_status(base: str, answer: urllib3.BaseHTTPResponse, has_credentials: bool) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    if status == 401 and has_credentials:
        text = "refused the credentials (401). Check username, password or API key."
    elif status == 401:
        text = (
            "asks for credentials (401). Set ES_RERANK_UPSTREAM__USERNAME and "
            "ES_RERANK_UPSTREAM__PASSWORD, or ES_RERANK_UPSTREAM__API_KEY."
        )
    elif status == 403:
        text = (
            "knows the user but forbids `GET /` (403). Give the user the cluster privilege "
            "`monitor` (OpenSearch: `cluster:monitor/main`)."
        )
    elif 300 <= status < 400:
        where = answer.headers.get("Location", "elsewhere")
        text = f"redirects to {where} ({status}). Use the cluster's own address."
    elif status >= 500 or status == 429:
        text = (
            f"answers {status}: it is starting, overloaded or behind a broken gateway. Try later."
        )
    else:
        text = f"answers `GET /` with {status}: that is no Elasticsearch or OpenSearch node."
    raise ClusterError(f"{base} {text}")


def identify_server(base: str, info: Any, product: str) -> tuple[Kind, Version]:
    """Tell engine and version from the answer to `GET /`.

    Raises ClusterError when it is neither engine, too old, or hides that it is Elasticsearch.
    """
    stated = info.get("version") if isinstance(info, dict) else None
    number = stated.get("number") if isinstance(stated, dict) else None
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", number) if isinstance(number, str) else None
    if found is None or not isinstance(stated, dict):
        raise ClusterError(
            f"{base} answers, but is no Elasticsearch or OpenSearch. Check the address and port "
            "(Kibana and Dashboards listen on 5601; the cluster usually on 9200)."
        )
    version = (int(found[1]), int(found[2]), int(found[3]))
    kind: Kind = "opensearch" if stated.get("distribution") == "opensearch" else "elasticsearch"
    if kind == "opensearch" and version[0] == 7:
        # compatibility.override_main_response_version hides the version: take the oldest.
        version = OLDEST[kind]
    name = "OpenSearch" if kind == "opensearch" else "Elasticsearch"
    if version < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind][:2]))
        raise ClusterError(f"{base} is {name} {number}; es-rerank needs {name} {oldest} or newer.")
    if kind == "elasticsearch" and product != "Elasticsearch":
        raise ClusterError(
            f"{base} says it is version {number} but sends no `X-Elastic-Product: Elasticsearch` "
            "header, without which the official client refuses it. A gateway in between may take "
            "the header off: let it through, or use the cluster's own address."
        )
    return kind, version


def _cause(error: Exception) -> str:
    text = str(error.__context__ or error)
    return text.rpartition(": ")[2] or text


def _tls_message(base: str, error: Exception) -> str:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("CERTIFICATE_VERIFY_FAILED] ")[2].partition(" (_ssl")[0]
        return (
            f"The certificate of {base} is not trusted ({why}). Name its CA in the setting "
            "upstream.ca_certs (ES_RERANK_UPSTREAM__CA_CERTS); for a test, upstream.verify=false."
        )
    if "CERTIFICATE_REQUIRED" in text or "HANDSHAKE_FAILURE" in text:
        return (
            f"{base} wants a certificate of ours. Name it in the setting upstream.client_cert "
            "(ES_RERANK_UPSTREAM__CLIENT_CERT), and its key in upstream.client_key."
        )
    if "WRONG_VERSION_NUMBER" in text or "record layer failure" in text:
        return f"{base} does not speak TLS: write http:// in the address."
    return f"TLS with {base} failed: {text}.{OWN_CERTIFICATE}"
