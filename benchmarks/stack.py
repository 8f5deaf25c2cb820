"""What benchmarks measure against: a real local engine, Icecat in it, enriched, and the real proxy.

The engine's data are kept, so that only the first run indexes and enriches.
"""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import urllib3

import es_rerank
from benchmarks.form import say
from es_rerank.cluster.client import SearchClient, connect, quote
from es_rerank.datasets import icecat
from es_rerank.engine.cache import cache_folder, locked
from es_rerank.engine.node import boot
from es_rerank.errors import EsRerankError

PACKAGE = Path(es_rerank.__file__).parent
PREFIX = "icecat-"
BULK_DOCUMENTS = 500
START_S = 180.0
STOP_S = 15.0
# What an enriched index depends on, besides its documents.
ENRICHING = (
    "enrich",
    "cluster/document.py",
    "cluster/fields.py",
    "cluster/templates.py",
    "index_templates",
    "models/embedder.py",
)
TOLD_BY_FLAG = ("ELASTICSEARCH_URL", "ES_URL", "OPENSEARCH_URL")


@dataclass(frozen=True)
class Stack:
    """A running engine with a plain index and an enriched one (an alias); logs lie in `folder`."""

    url: str
    engine: str
    plain: str
    enriched: str
    folder: Path


def icecat_folder() -> Path:
    """Where benchmarks on Icecat keep the engine's data."""
    return cache_folder() / "benchmarks" / "icecat"


@contextmanager
def icecat_stack(
    products: Mapping[str, Mapping[str, Any]], folder: Path, *, fresh: bool = False
) -> Iterator[Stack]:
    """Boot OpenSearch with Icecat indexed and enriched; `fresh` builds both anew.

    `products` are the data set's, by id. `folder` keeps the engine's data for the next time.
    """
    documents = {key: icecat.document(product) for key, product in products.items()}
    plain = PREFIX + _digest(
        orjson.dumps(documents), (PACKAGE / "datasets" / "icecat.py").read_bytes()
    )
    enriched = f"{plain}-{_digest(*_code())}"
    # Two benchmarks at once would share one machine, and neither could be believed.
    with locked(folder), boot("opensearch", folder=folder / "node", report=say) as node:
        client = connect(node.url)
        try:
            complete = not fresh and _holds(client, enriched, len(documents))
            _remove_all_but(client, () if fresh else (plain,), (f"{enriched}-",) * complete)
            if not _holds(client, plain, len(documents)):
                say(f"Indexing {len(documents):,} products ...")
                index_documents(client, plain, documents, icecat.mapping())
            if not complete:
                reindex(node.url, plain, enriched, folder)
            yield Stack(node.url, client.name, plain, enriched, folder)
        finally:
            client.close()


def index_documents(
    client: SearchClient,
    index: str,
    documents: Mapping[str, Mapping[str, Any]],
    mapping: Mapping[str, Any],
) -> None:
    """Index documents by id into a new index of one shard and one segment.

    The order of equal scores then depends on nothing but the order of `documents`.
    """
    client.request("DELETE", f"/{quote(index)}", allow=(404,))
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    client.request("PUT", f"/{quote(index)}", {"settings": settings, "mappings": dict(mapping)})
    actions = (
        ({"index": {"_index": index, "_id": key}}, orjson.dumps(document).decode())
        for key, document in documents.items()
    )
    for ok, item in client.bulk(actions, chunk_size=BULK_DOCUMENTS):
        if not ok:
            raise EsRerankError(f"The engine refused product {item.get('_id')}: {item}")
    client.request("POST", f"/{quote(index)}/_forcemerge", params={"max_num_segments": 1})
    client.request("POST", f"/{quote(index)}/_refresh")


def reindex(url: str, source: str, dest: str, folder: Path) -> None:
    """Enrich by the command line, as a user would."""
    say(f"Enriching {source} into {dest} ...")
    command = [sys.executable, "-m", "es_rerank", "reindex", source, dest, "--url", url, "--yes"]
    subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        check=True,
        stdout=sys.stderr,
    )


@contextmanager
def proxy(stack: Stack, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run the real proxy in front of the engine, with default settings; yields its address.

    `settings` are `ES_RERANK_*` variables. Raises EsRerankError when it does not become ready.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = stack.folder / "proxy.log"
    command = [sys.executable, "-m", "es_rerank", "serve"]
    command += ["--upstream", stack.url, "--port", str(port)]
    say(f"Starting the proxy at {url}, log {log} ...")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=stack.folder,
            env={**clean_environment(), **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def clean_environment() -> dict[str, str]:
    """This environment without settings of es-rerank's: a benchmark measures the defaults."""
    kept = ("ES_RERANK_CACHE", "ES_RERANK_JAVA")
    environment = {
        key: value
        for key, value in os.environ.items()
        if key in kept or not (key.startswith("ES_RERANK_") or key in TOLD_BY_FLAG)
    }
    # Run from another folder, so that no es-rerank.toml is read; a checkout must still be found.
    paths = [str(PACKAGE.parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    pool = urllib3.PoolManager()
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if (
                pool.request("GET", f"{url}/_es_rerank/ready", timeout=5, retries=False).status
                == 200
            ):
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.2)
    ended = process.poll()
    how = f"ended with status {ended}" if ended is not None else f"was not ready in {START_S:.0f} s"
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    raise EsRerankError(f"The proxy {how}. The end of {log}:\n{tail}")


def _remove_all_but(client: SearchClient, names: Sequence[str], prefixes: Sequence[str]) -> None:
    """Remove what earlier versions of the code or data, or a run cut short, left in our node."""
    for index in client.request("GET", f"/{PREFIX}*"):
        if index not in names and not index.startswith(tuple(prefixes)):
            client.request("DELETE", f"/{quote(index)}")


def _holds(client: SearchClient, index: str, count: int) -> bool:
    answer = client.request("GET", f"/{quote(index)}/_count", allow=(404,))
    return answer is not None and answer["count"] == count


def _code() -> list[bytes]:
    files = []
    for name in ENRICHING:
        path = PACKAGE / name
        found = sorted(path.resolve().rglob("*")) if path.is_dir() else [path]
        files += [file for file in found if file.suffix in (".py", ".json")]
    return [file.read_bytes() for file in files]


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:12]
