"""Requests and answers of the three shapes that are served, each with errors in its own form.

| path | shape | refusals |
|--|--|--|
| /rerank | text-embeddings-inference | {"error", "error_type"} |
| /v1/rerank | Jina's, and Cohere's first | {"detail", "message"} |
| /v2/rerank | Cohere's second | {"id", "message"} |
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray


class Document(msgspec.Struct):
    """A document as an object, of which the text counts."""

    text: str


class TeiRequest(msgspec.Struct):
    """What text-embeddings-inference's /rerank takes; what else it is sent is not looked at."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False


class ListRequest(msgspec.Struct):
    """What Cohere's and Jina's /rerank take."""

    query: str
    documents: list[str | Document]
    top_n: int | None = None
    return_documents: bool = False


@dataclass(frozen=True)
class Asked:
    """A request that was read. top_n: how many scores are wanted, best first; None for all."""

    query: str
    texts: list[str]
    raw_scores: bool = False
    top_n: int | None = None
    show_texts: bool = False


class RefusedError(Exception):
    """A request that is not served. kind: as text-embeddings-inference names it."""

    def __init__(self, status: int, kind: str, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s


Name = Literal["tei", "v1", "v2"]


@dataclass(frozen=True)
class Shape:
    """How one path is spoken."""

    name: Name
    read: Callable[[bytes], Asked]
    write: Callable[[Asked, list[int], NDArray[np.float64], str], Any]
    fault: Callable[[RefusedError], Mapping[str, Any]]


TEI = msgspec.json.Decoder(TeiRequest)
LIST = msgspec.json.Decoder(ListRequest)


def read_tei(body: bytes) -> Asked:
    """Raises msgspec.DecodeError."""
    asked = TEI.decode(body)
    return Asked(asked.query, asked.texts, asked.raw_scores, None, asked.return_text)


def read_list(body: bytes) -> Asked:
    """Raises msgspec.DecodeError."""
    asked = LIST.decode(body)
    if asked.top_n is not None and asked.top_n < 1:
        raise msgspec.ValidationError("Expected `int` >= 1 - at `$.top_n`")
    texts = [each if isinstance(each, str) else each.text for each in asked.documents]
    return Asked(asked.query, texts, False, asked.top_n, asked.return_documents)


def write_tei(
    asked: Asked, order: list[int], scores: NDArray[np.float64], _: str
) -> list[dict[str, Any]]:
    """[{index, score}], with the text where it was asked for."""
    shown = [{"text": asked.texts[i]} if asked.show_texts else {} for i in order]
    return [
        {"index": i, **text, "score": float(scores[i])}
        for i, text in zip(order, shown, strict=True)
    ]


def write_results(
    asked: Asked, order: list[int], scores: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """[{index, relevance_score}], with the document where it was asked for."""
    return [
        {
            "index": i,
            "relevance_score": float(scores[i]),
            **({"document": {"text": asked.texts[i]}} if asked.show_texts else {}),
        }
        for i in order
    ]


def write_v1(
    asked: Asked, order: list[int], scores: NDArray[np.float64], model: str
) -> dict[str, Any]:
    """Jina's answer; Cohere's first has the same results."""
    results = write_results(asked, order, scores)
    return {"id": str(uuid.uuid4()), "object": "list", "model": model, "results": results}


def write_v2(asked: Asked, order: list[int], scores: NDArray[np.float64], _: str) -> dict[str, Any]:
    """Cohere's second."""
    return {"id": str(uuid.uuid4()), "results": write_results(asked, order, scores)}


SHAPES: Mapping[str, Shape] = {
    "/rerank": Shape("tei", read_tei, write_tei, lambda e: {"error": str(e), "error_type": e.kind}),
    "/v1/rerank": Shape("v1", read_list, write_v1, lambda e: {"detail": str(e), "message": str(e)}),
    "/v2/rerank": Shape(
        "v2", read_list, write_v2, lambda e: {"id": str(uuid.uuid4()), "message": str(e)}
    ),
}


def read(shape: Shape, body: bytes, most: int) -> Asked:
    """A request's query and texts. Raises RefusedError, whose message holds none of them."""
    try:
        asked = shape.read(body)
    except msgspec.ValidationError as error:
        raise RefusedError(422, "Validation", f"{error}: correct the request") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(400, "Validation", f"the body is no JSON: {error}") from None
    if not asked.texts:
        key = "texts" if shape.name == "tei" else "documents"
        raise RefusedError(400, "Empty", f"`{key}` is empty: send one text at least")
    if len(asked.texts) > most:
        # The words of text-embeddings-inference, in which clients look for the number.
        message = f"batch size {len(asked.texts)} > maximum allowed batch size {most}"
        raise RefusedError(413, "Validation", message)
    return asked


def write(shape: Shape, asked: Asked, scores: NDArray[np.float64], logits: bool, model: str) -> Any:
    """The answer, best first, equal ones in the order of the texts.

    scores: (n,), logits or cosines. Other than raw they are shown in 0..1: the logistic function of
    a logit, (1 + cosine) / 2.
    """
    shown = scores
    if not asked.raw_scores:
        shown = 1 / (1 + np.exp(-np.clip(scores, -700, 700))) if logits else (1 + scores) / 2
    order = np.argsort(-scores, kind="stable").tolist()[: asked.top_n]
    return shape.write(asked, order, shown, model)
