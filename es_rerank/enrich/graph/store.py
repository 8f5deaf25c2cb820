"""The graph index beside a version: one document for each node, with the triples that leave it.

It is derived from the enriched documents alone, so it can be written anew from them at any time,
and only nodes that have changed are written (docs/adr/0024-graph-nodes.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from es_rerank.cluster.bulk import Action, Pace
from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.document import join_values, read_values
from es_rerank.cluster.shards import look_up, read_shards, read_span, refresh
from es_rerank.cluster.sink import delete_action, index_action, write_actions
from es_rerank.cluster.source import count_documents, open_source
from es_rerank.cluster.templates import graph_name
from es_rerank.cluster.versions import clone_index
from es_rerank.enrich.graph.edges import COMPATIBLE
from es_rerank.enrich.graph.vocabulary import Vocabulary
from es_rerank.errors import EsRerankError

PAGE = 1000
KEYWORD = {"type": "keyword", "ignore_above": 1024}
MAPPINGS: Mapping[str, Any] = {
    "dynamic": False,
    "properties": {
        "kind": KEYWORD,
        "label": {"type": "text", "fields": {"keyword": KEYWORD}},
        "id": KEYWORD,
        "type": KEYWORD,
        "brand": KEYWORD,
        "family": KEYWORD,
        "attributes": KEYWORD,
        "synonyms": {"type": "text", "fields": {"keyword": KEYWORD}},
        "products": {"type": "integer"},
        "triples": KEYWORD,
        "objects": KEYWORD,
        "edges": {"type": "object", "enabled": False},
    },
}


@dataclass
class GraphStore:
    """Writes the graph beside an enriched index. title: the field that names a product."""

    client: SearchClient
    index: str
    title: str | None
    pace: Pace
    places: dict[int, int] = field(default_factory=dict)  # of the index, what has been seen

    @property
    def name(self) -> str:
        """The graph's index."""
        return graph_name(self.index)

    def open(self, before: str | None = None) -> None:
        """Create the graph's index where it is not there, as a clone of the graph of `before`."""
        if self.client.request("GET", f"/{quote(self.name)}", allow=(404,)):
            return
        if before is not None:
            old = graph_name(before)
            if self.client.request("GET", f"/{quote(old)}", allow=(404,)) and clone_index(
                self.client, old, self.name
            ):
                return
        settings = open_source(self.client, self.index).settings
        kept = {"index.number_of_replicas": settings.get("index.number_of_replicas", "1")}
        body = {"settings": {"index.number_of_shards": 1, **kept}, "mappings": MAPPINGS}
        self.client.request("PUT", f"/{quote(self.name)}", body)

    def write(self, vocabulary: Vocabulary) -> int:
        """Bring the whole graph up to date; return how many nodes were written or deleted."""
        refresh(self.client, self.name)
        counts: dict[str, Counter[str]] = {name: Counter() for name in SHARED}
        written = products = 0
        self.places = {}
        for page in self._pages():
            products += len(page)
            for name, counter in counts.items():
                for _, own in page:
                    counter.update(_labels(own, name))
            written += self._write_changed([product_node(*each) for each in page])
        shared = [
            shared_node(name, label, count, vocabulary)
            for name, counter in counts.items()
            for label, count in sorted(counter.items())
        ]
        for start in range(0, len(shared), PAGE):
            written += self._write_changed(shared[start : start + PAGE])
        refresh(self.client, self.name)
        if count_documents(self.client, self.name) != products + len(shared):
            written += self._remove_gone({key for key, _ in shared})
        return written

    def follow(self) -> int:
        """Write the nodes of products that were written since; those gone are for the next run."""
        return sum(
            self._write_changed([product_node(*each) for each in page]) for page in self._pages()
        )

    def _pages(self) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        described = open_source(self.client, self.index)
        shown = [self.title] if self.title else []
        for shard in read_shards(self.client, described):
            span = self.places.get(shard.number, -1) + 1, shard.until
            for hits in read_span(
                self.client,
                self.index,
                shard.number,
                span,
                size=PAGE,
                fields=["es_rerank.graph", *shown],
            ):
                page = []
                for hit in hits:
                    if isinstance(hit.source, msgspec.UnsetType):
                        continue
                    source = msgspec.json.decode(bytes(hit.source))
                    own = (source.get("es_rerank") or {}).get("graph") or {}
                    label = join_values(read_values(source, self.title)) if self.title else ""
                    page.append((str(msgspec.json.decode(bytes(hit.id))), {**own, "label": label}))
                yield page
            self.places[shard.number] = shard.until

    def _write_changed(self, nodes: Sequence[tuple[str, bytes]]) -> int:
        held = look_up(self.client, self.name, [(key, None) for key, _ in nodes]) if nodes else {}
        changed = [
            index_action(orjson.dumps(key), None, None, body)
            for key, body in nodes
            if held.get((key, None)) != body
        ]
        self._send(changed)
        return len(changed)

    def _remove_gone(self, shared: set[str]) -> int:
        removed = 0
        described = open_source(self.client, self.name)
        for shard in read_shards(self.client, described):
            for hits in read_span(
                self.client, self.name, shard.number, (0, shard.until), size=PAGE, fields=False
            ):
                keys = [str(msgspec.json.decode(bytes(hit.id))) for hit in hits]
                own = [key.partition(":")[2] for key in keys if key.startswith("product:")]
                body = {"query": {"ids": {"values": own}}, "size": len(own) or 1, "_source": False}
                there = {hit.id for hit in self.client.search(self.index, body).hits}
                gone = [
                    key
                    for key in keys
                    if (
                        key.partition(":")[2] not in there
                        if key.startswith("product:")
                        else key not in shared
                    )
                ]
                self._send([delete_action(key, None) for key in gone])
                removed += len(gone)
        return removed

    def _send(self, actions: Sequence[Action]) -> None:
        refused = write_actions(self.client, self.name, actions, self.pace) if actions else []
        if refused:
            raise EsRerankError(
                f"{self.name} refused {len(refused):,} nodes: {refused[0][1].described}"
            )


SHARED = ("brand", "type", "attribute")
"""Kinds of nodes that several products lead to."""


def product_node(key: str, own: Mapping[str, Any]) -> tuple[str, bytes]:
    """A product's node, and its id. own: its `es_rerank.graph`, and `label`."""
    edges = [
        {**edge, "object": _object(edge["predicate"], edge["object"])}
        for edge in own.get("edges", ())
    ]
    for name in SHARED[:2]:
        edges += [
            {"predicate": name, "object": node_id(name, label), "confidence": 1.0}
            for label in _labels(own, name)
        ]
    node = {
        "kind": "product",
        "id": key,
        **{
            name: own[name]
            for name in ("label", "type", "brand", "family", "attributes")
            if own.get(name)
        },
        "triples": [f"{edge['predicate']} {edge['object']}" for edge in edges],
        "objects": list(dict.fromkeys(str(edge["object"]) for edge in edges)),
        "edges": edges,
    }
    return f"product:{key}", orjson.dumps(node)


def shared_node(kind: str, label: str, products: int, vocabulary: Vocabulary) -> tuple[str, bytes]:
    """A brand's, type's or attribute's node, and its id."""
    known = {"type": vocabulary.types, "attribute": vocabulary.attributes}.get(kind, {})
    node = {"kind": kind, "label": label, "products": products}
    if synonyms := known.get(label):
        node["synonyms"] = list(synonyms)
    return node_id(kind, label), orjson.dumps(node)


def node_id(kind: str, label: str) -> str:
    """A node's id, short enough for the engines."""
    return f"{kind}:{label.casefold()}".encode()[:500].decode(errors="ignore")


def _object(predicate: str, found: str) -> str:
    return node_id("model", found) if predicate == COMPATIBLE else f"product:{found}"


def _labels(own: Mapping[str, Any], name: str) -> list[str]:
    if name == "attribute":
        told = (str(each).partition(":")[0] for each in own.get("attributes", ()))
        return list(dict.fromkeys(told))
    return [str(own[name])] if own.get(name) else []
