"""What is asked about: each query's candidates from a catalogue or an index, and what every judge
says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster.document import document_text, read_text
from es_rerank.evaluation.runs import Endpoint, identify
from es_rerank.ranking.blend import Weights, blend, mix
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.score import PairScorer, Scorer, VectorCache
from es_rerank.training.catalogue import Product
from es_rerank.training.negatives import WordIndex
from es_rerank.training.suggest.choice import Pool


@dataclass(frozen=True)
class Found:
    """A query's candidates, n of them. first_stage: (n,) scores by their words. vectors: (n, d)
    where they are known already."""

    query: str
    ids: Sequence[str]
    titles: Sequence[str]
    texts: Sequence[str]
    first_stage: NDArray[np.float64]
    vectors: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Catalogue:
    """Products with their words, and with their vectors (n, d) where there are any."""

    products: Sequence[Product]
    words: WordIndex
    vectors: NDArray[np.float32] | None = None

    def find(self, query: str, vector: NDArray[np.float32] | None, depth: int) -> Found:
        """The best `depth` by words, and as many of the nearest by the query's vector (d,)."""
        scores = self.words.score(query)
        rows = self.words.search(query, depth).tolist()
        if self.vectors is not None and vector is not None:
            near = np.argsort(-(self.vectors @ vector), kind="stable")[:depth].tolist()
            rows = list(dict.fromkeys([*rows, *near]))
        products = [self.products[row] for row in rows]
        return Found(
            query,
            [product.id for product in products],
            [product.title for product in products],
            [product.text for product in products],
            scores[rows].astype(np.float64),
            None if self.vectors is None else self.vectors[rows],
        )


@dataclass(frozen=True)
class Index:
    """An index of a cluster, searched in its text fields, the title first. id_field: what documents
    are known by, None for `_id`."""

    endpoint: Endpoint
    name: str
    fields: Sequence[str]
    id_field: str | None = None

    def find(self, query: str, depth: int) -> Found:
        """The engine's first hits. Raises ClusterError."""
        words = {"query": query, "type": "most_fields", "fields": list(self.fields)}
        body = {"size": depth, "query": {"multi_match": words}}
        if self.id_field is not None:
            body["fields"] = [self.id_field]
        hits = self.endpoint.ask(self.name, body)[0]["hits"]["hits"]
        plain = [name.partition("^")[0] for name in self.fields]
        return Found(
            query,
            [identify(hit, self.id_field) for hit in hits],
            [read_text(hit.get("_source") or {}, plain[0]) for hit in hits],
            [document_text(hit.get("_source") or {}, plain) for hit in hits],
            np.array([hit["_score"] or 0.0 for hit in hits], dtype=np.float64),
        )


def judge_found(found: Found, scorer: Scorer, cache: VectorCache | None, weights: Weights) -> Pool:
    """What words, vectors and the model say of the candidates, and the score they are served by."""
    scores = {"words": found.first_stage}
    vectors, cosines = found.vectors, None
    if cache is not None and found.texts:
        if vectors is None:
            vectors = cache.encode(found.texts)
        cosines = (vectors @ cache.encode([found.query])[0]).astype(np.float64)
        scores["vectors"] = cosines
    relevance = None
    if found.texts:
        candidates = Candidates(found.first_stage, found.texts, vectors)
        relevance = scorer.score(found.query, candidates)
        if isinstance(scorer, PairScorer):
            if scorer.cosine_share and cosines is not None:
                relevance = mix(relevance, cosines, scorer.cosine_share)
            scores["model"] = relevance
    served = blend(found.first_stage, relevance, weights)
    return Pool(found.query, found.ids, found.titles, scores, served, vectors)
