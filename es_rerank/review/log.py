"""The log of decisions: an index that is only added to, an entry for each decision.

Entries of one text are numbered, and the number is part of the entry's id, so that of two who
decide at once one is told so. The log comes first, the document after it: what the log says is done
again where a document does not show it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from es_rerank.review.asking import ChangedError, Steps, ask

Decision = Literal["approved", "rejected", "edited"]
Text = str | list[str]
KEYWORDS = (
    *("key", "alias", "index", "document", "routing", "step", "decision", "who", "via"),
    *("source_hash", "recipe"),
)
LOG_INDEX: dict[str, Any] = {
    "settings": {
        "index": {"hidden": True, "number_of_shards": 1, "auto_expand_replicas": "0-1"},
    },
    "mappings": {
        "dynamic": "strict",
        "properties": {
            **{name: {"type": "keyword"} for name in KEYWORDS},
            "number": {"type": "integer"},
            "when": {"type": "date"},
            "reasons": {"type": "keyword"},
            "before": {"type": "object", "enabled": False},
            "after": {"type": "object", "enabled": False},
        },
    },
}
PAGE = 1000


@dataclass(frozen=True)
class Entry:
    """One decision.

    before, after: `text` and `review` of the text. source_hash, recipe: what it was made of and
    how. who, via: the person, and whether by page or command line. when: ISO 8601.
    """

    key: str
    number: int
    alias: str
    index: str
    document: str
    routing: str | None
    step: str
    decision: Decision
    who: str
    via: str
    when: str
    source_hash: str
    recipe: str
    reasons: Sequence[str]
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def text(self) -> Text | None:
        """What is shown since; None where nothing is."""
        return self.after.get("text")


def make_key(alias: str, document: str, routing: str | None, step: str) -> str:
    """What stands for one text of one document behind an alias."""
    told = "\0".join([alias, document, routing or "", step])
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def append(log: str, entry: Entry) -> Steps[None]:
    """Add an entry. Raises ChangedError when there is one of that number already."""
    made = f"{entry.key}-{entry.number:06d}"
    reply = yield ask("PUT", log, "_create", made, body=asdict(entry), allow=(409,), refresh="true")
    if reply.status == 409:
        raise ChangedError("somebody else has decided on this text just now: look at it again")


def create_log(log: str) -> Steps[None]:
    """Make the index where it is not there."""
    yield ask("PUT", log, body=LOG_INDEX, allow=(400,))


def find_last(log: str, keys: Sequence[str]) -> Steps[dict[str, Entry] | None]:
    """The last entry of each key that has any; None where there is no log yet."""
    body = {
        "size": 0,
        "query": {"terms": {"key": list(keys)}},
        "aggs": {
            "keys": {
                "terms": {"field": "key", "size": max(len(keys), 1)},
                "aggs": {"last": {"top_hits": {"size": 1, "sort": [{"number": "desc"}]}}},
            }
        },
    }
    reply = yield ask("POST", log, "_search", body=body, allow=(404,))
    if reply.status == 404:
        return None
    buckets = reply.json.get("aggregations", {}).get("keys", {}).get("buckets", [])
    found = [read_entry(bucket["last"]["hits"]["hits"][0]["_source"]) for bucket in buckets]
    return {entry.key: entry for entry in found}


def read_log(
    log: str, alias: str, *, since: str | None = None, document: str | None = None
) -> Steps[list[Entry]]:
    """All entries of an alias, the oldest first. since: ISO 8601."""
    filters: list[dict[str, Any]] = [{"term": {"alias": alias}}]
    if since is not None:
        filters.append({"range": {"when": {"gte": since}}})
    if document is not None:
        filters.append({"term": {"document": document}})
    body: dict[str, Any] = {
        "size": PAGE,
        "query": {"bool": {"filter": filters}},
        "sort": [{"when": "asc"}, {"key": "asc"}, {"number": "asc"}],
    }
    entries: list[Entry] = []
    while True:
        reply = yield ask("POST", log, "_search", body=body, allow=(404,))
        hits = [] if reply.status == 404 else reply.json["hits"]["hits"]
        entries += [read_entry(hit["_source"]) for hit in hits]
        if len(hits) < PAGE:
            return entries
        body["search_after"] = hits[-1]["sort"]


def read_entry(source: dict[str, Any]) -> Entry:
    """An entry as the cluster keeps it."""
    return Entry(**{field.name: source.get(field.name) for field in fields(Entry)})  # type: ignore[arg-type]
