"""Write enriched documents in bulk, with retries, and keep account of each one that fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from es_rerank.cluster.client import SearchClient
from es_rerank.cluster.document import Document, splice

BULK_CHUNK = 500


@dataclass(frozen=True)
class Failure:
    """A document that the engine refused, and why."""

    id: str
    status: int
    type: str
    reason: str


def write_documents(
    client: SearchClient, index: str, documents: Iterable[Document]
) -> Iterator[Failure | None]:
    """Write each document with its patch under `es_rerank`; yield None or its Failure.

    `_id` and `_routing` are kept, and so is every byte of the document's own fields. Raises
    ClusterError when the cluster cannot be reached.
    """
    actions = (
        (_action(index, document), splice(document.raw, encode_patch(document.patch)))
        for document in documents
    )
    for ok, item in client.bulk(actions, chunk_size=BULK_CHUNK):
        yield None if ok else _failure(item)


def encode_patch(patch: Mapping[str, Any]) -> bytes:
    """Encode a patch as JSON; numpy rows as lists of the shortest exact numbers."""
    return orjson.dumps(patch, option=orjson.OPT_SERIALIZE_NUMPY)


def _action(index: str, document: Document) -> dict[str, Any]:
    action = {"_index": index, "_id": document.id}
    if document.routing is not None:
        action["routing"] = document.routing
    return {"index": action}


def _failure(item: Mapping[str, Any]) -> Failure:
    error = item.get("error")
    if isinstance(error, Mapping):
        cause = error.get("caused_by")
        inner = f": {cause['reason']}" if isinstance(cause, Mapping) and "reason" in cause else ""
        kind, reason = str(error.get("type")), f"{error.get('reason')}{inner}"
    else:
        kind, reason = "error", str(error)
    return Failure(str(item.get("_id")), int(item.get("status", 0)), kind, reason)
