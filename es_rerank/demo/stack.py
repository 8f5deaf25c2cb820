"""A real engine with a shop in it, plain and enriched; kept in the cache for the next time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

import es_rerank
from es_rerank.cluster.bulk import send_stream
from es_rerank.cluster.client import SearchClient, connect, quote
from es_rerank.demo.shops import Shop
from es_rerank.engine.cache import cache_folder, locked
from es_rerank.engine.kinds import KindName
from es_rerank.engine.node import boot
from es_rerank.errors import EsRerankError

PACKAGE = Path(es_rerank.__file__).parent
BULK_DOCUMENTS = 500
ENRICHING = (
    "enrich",
    "cluster/document.py",
    "cluster/fields.py",
    "cluster/templates.py",
    "index_templates",
    "models/embedder.py",
    "ranking/vectors.py",
)
NOT_INHERITED = ("ELASTICSEARCH_URL", "ES_URL", "OPENSEARCH_URL")
KEPT = ("ES_RERANK_CACHE", "ES_RERANK_JAVA")
Report = Callable[[str], None]


@dataclass(frozen=True)
class Stack:
    """A running engine with the plain index and the enriched one (an alias); logs in `folder`."""

    url: str
    engine: str
    plain: str
    enriched: str
    folder: Path


@contextmanager
def open_stack(
    shop: Shop,
    report: Report,
    folder: Path | None = None,
    *,
    kind: KindName = "opensearch",
    fresh: bool = False,
) -> Iterator[Stack]:
    """Boot an engine with the shop indexed and enriched; what the cache holds is not done again.

    folder: of the engine's data, of one kind alone. `fresh` does it again all the same. Raises
    EngineError, ClusterError or EsRerankError.
    """
    home = folder or cache_folder() / "demo" / shop.name
    plain = f"{shop.name}-plain"
    # Two at once would share one machine, and neither's times could be believed.
    with locked(home), boot(kind, folder=home / "node", report=report) as node:
        client = connect(node.url)
        try:
            digest = f"{shop.digest()}-{digest_code()}"
            if fresh or read_digest(client, plain) != digest:
                remove_indices(client, shop.name)
                report(f"Indexing {len(shop.documents):,} products the plain way ...")
                index_documents(client, plain, shop.documents, shop.mapping, digest)
            if not is_enriched(client, shop.name, plain, len(shop.documents)):
                report(f"Enriching {plain} into {shop.name} (es-rerank reindex) ...")
                reindex(node.url, plain, shop.name, home)
            yield Stack(node.url, client.name, plain, shop.name, home)
        finally:
            client.close()


def remove_indices(client: SearchClient, name: str) -> None:
    """Remove the shop's indices from our own node: other documents or code made them."""
    for index in client.request("GET", f"/{quote(name)}-*"):
        client.request("DELETE", f"/{quote(index)}")


def index_documents(
    client: SearchClient,
    index: str,
    documents: Mapping[str, Mapping[str, Any]],
    mapping: Mapping[str, Any],
    digest: str,
) -> None:
    """Index documents by id into a new index of one shard and one segment.

    The order of equal scores then depends on nothing but the order of `documents`. The digest is
    written last, so that an index that was cut short is never taken for whole.
    """
    settings = {"number_of_shards": 1, "number_of_replicas": 0}
    client.request("PUT", f"/{quote(index)}", {"settings": settings, "mappings": dict(mapping)})
    actions = (
        ({"index": {"_index": index, "_id": key}}, orjson.dumps(document).decode())
        for key, document in documents.items()
    )
    for ok, item in send_stream(client, actions, chunk_size=BULK_DOCUMENTS):
        if not ok:
            raise EsRerankError(f"the engine refused product {item.get('_id')}: {item}")
    client.request("POST", f"/{quote(index)}/_forcemerge", params={"max_num_segments": 1})
    client.request("POST", f"/{quote(index)}/_refresh")
    client.request("PUT", f"/{quote(index)}/_mapping", {"_meta": {"digest": digest}})


def read_digest(client: SearchClient, index: str) -> str | None:
    """The fingerprint of what an index holds, None when it is absent or not whole."""
    answer = client.request("GET", f"/{quote(index)}/_mapping", allow=(404,))
    meta = answer[index]["mappings"].get("_meta", {}) if answer else {}
    digest = meta.get("digest")
    return digest if isinstance(digest, str) else None


def is_enriched(client: SearchClient, alias: str, plain: str, count: int) -> bool:
    """Whether the alias stands for an enrichment of all of `plain`."""
    answer = client.request("GET", f"/{quote(alias)}/_mapping", allow=(404,))
    counted = client.request("GET", f"/{quote(alias)}/_count", allow=(404,))
    if not answer or counted is None or counted["count"] != count:
        return False
    meta = next(iter(answer.values()))["mappings"].get("_meta", {}).get("es_rerank", {})
    return bool(meta.get("source") == plain)


def digest_code() -> str:
    """A fingerprint of the code that an enriched index depends on, besides its documents."""
    digest = hashlib.sha256()
    for name in ENRICHING:
        path = (PACKAGE / name).resolve()
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in (".py", ".json"):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def reindex(url: str, source: str, dest: str, folder: Path) -> None:
    """Enrich by the command line, as a user would. Raises EsRerankError when it fails."""
    command = [sys.executable, "-m", "es_rerank", "reindex", source, dest, "--url", url, "--yes"]
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode != 0:
        raise EsRerankError(f"`es-rerank reindex {source} {dest}` ended with {done.returncode}")


def clean_environment() -> dict[str, str]:
    """This environment without settings of es-rerank's: defaults are what is shown."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key in KEPT or not (key.startswith("ES_RERANK_") or key in NOT_INHERITED)
    }
    # Run from another folder, so that no es-rerank.toml is read; a checkout must still be found.
    paths = [str(PACKAGE.parent), environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment
