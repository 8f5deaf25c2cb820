"""The five shapes in which servers take a query with its texts, and answer with scores.

| shape | request | answer |
|--|--|--|
| tei | query, texts, raw_scores, truncate | [{index, score}] |
| infinity | query, documents, raw_scores, return_documents | results: [{index, relevance_score}] |
| cohere (v2) | model, query, documents, top_n | results: [{index, relevance_score}] |
| jina, cohere v1 | the same, return_documents | results: [{index, relevance_score}] |
| voyage | model, query, documents, top_k, truncation | data: [{index, relevance_score}] |

As text-embeddings-inference's router, infinity's pydantic models (which said `data` once) and the
vendors' references have them. Where a server gives them, logits are asked for: squeezed into 0..1,
the best and the worst texts of a window look alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.runtime import mend_text

Api = Literal["tei", "infinity", "cohere", "jina", "voyage"]


class ShapeError(ValueError):
    """An answer is not in the shape that was expected. The message holds nothing of its texts."""


@dataclass(frozen=True)
class Shape:
    """How one kind of server is asked.

    texts, count: the keys of the texts, and of the number of scores wanted. always: what is sent
    with every request. most: texts in one request, unless the server says something else. path:
    where the hosted service answers.
    """

    api: Api
    texts: str
    count: str | None
    most: int
    path: str
    always: Mapping[str, Any] = field(default_factory=dict)
    score: str = "relevance_score"

    def write(self, query: str, texts: Sequence[str], model: str) -> bytes:
        """A request's body."""
        body: dict[str, Any] = {"model": model} if model and self.api != "tei" else {}
        whole = [mend_text(text) for text in texts]
        body |= {"query": mend_text(query), self.texts: whole, **self.always}
        if self.count is not None:
            body[self.count] = len(texts)
        return json.dumps(body).encode()

    def read(self, data: bytes, count: int) -> NDArray[np.float64]:
        """The scores, (count,), in the order of the texts. Raises ShapeError."""
        scores = np.full(count, np.nan)
        try:
            answer = json.loads(data)
            items = answer if self.api == "tei" else answer.get("results", answer.get("data"))
            for item in items:
                if not 0 <= item["index"] < count:
                    raise ShapeError(f"it scored a text {item['index']} of {count}")
                scores[item["index"]] = float(item[self.score])
        except ShapeError:
            raise
        except (ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError):
            raise ShapeError(f"it did not answer in the {self.api} shape") from None
        if not np.isfinite(scores).all():
            raise ShapeError("it left texts unscored")
        return scores


SHAPES: Mapping[Api, Shape] = {
    shape.api: shape
    for shape in (
        # --max-client-batch-size is 32 by default; /info tells it.
        Shape("tei", "texts", None, 32, "/rerank", {"truncate": True, "raw_scores": True}, "score"),
        Shape(
            "infinity",
            "documents",
            None,
            2048,
            "/rerank",
            {"raw_scores": True, "return_documents": False},
        ),
        Shape("cohere", "documents", "top_n", 1000, "/v2/rerank"),
        Shape("jina", "documents", "top_n", 1000, "/v1/rerank", {"return_documents": False}),
        Shape("voyage", "documents", "top_k", 1000, "/v1/rerank", {"truncation": True}),
    )
}
HOSTS: Mapping[str, Api] = {
    "cohere.com": "cohere",
    "cohere.ai": "cohere",
    "jina.ai": "jina",
    "voyageai.com": "voyage",
    "ai.mongodb.com": "voyage",
}
"""Services by the end of their host's name. They want a model named, and a key."""


def find_service(address: SplitResult) -> Api | None:
    """The hosted service at an address; None for a server of one's own."""
    host = address.hostname or ""
    for end, api in HOSTS.items():
        if host == end or host.endswith(f".{end}"):
            return api
    return None


def find_api(address: SplitResult) -> Api | None:
    """The shape that an address speaks of; None where only the server itself can tell.

    /v2/rerank is Cohere's; /v1/rerank is Jina's and Cohere's older one, which infinity, vLLM and
    others answer too.
    """
    service = find_service(address)
    path = address.path.rstrip("/")
    if path.endswith("/v2/rerank"):
        return "cohere"
    if service == "cohere" and path.endswith("/v1/rerank"):
        return "jina"
    if service is not None:
        return service
    return "jina" if path.endswith("/v1/rerank") else None
