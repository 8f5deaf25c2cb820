"""Give each document the vector of its text, for retrieval and, as int8, for diversity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.cluster.document import Document, document_text, read_text
from es_rerank.ranking.vectors import encode_codes


class Encoder(Protocol):
    """What is needed of an embedder: texts to (n, d) float32 rows of length 1."""

    @property
    def name(self) -> str:
        """Name the model."""

    @property
    def dimensions(self) -> int:
        """Return d."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed the texts, in order."""


EDITION = 1  # raised when the same text and model give something else
DECIMALS = 4


class VectorEnricher:
    """Add `title`, `vector` and `code`; nothing where a document has no text.

    A zero or made-up vector would be refused by the engines, or found near everything.
    """

    name = "vector"

    def __init__(self, encoder: Encoder, text_fields: Sequence[str]) -> None:
        self._encoder = encoder
        self._text_fields = tuple(text_fields)

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return self._encoder.dimensions

    def enrich(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        """Embed the documents' texts in one call, so that the embedder can sort them by length."""
        patches: list[dict[str, Any]] = [{} for _ in documents]
        texts = [document_text(document.source, self._text_fields) for document in documents]
        rows = [row for row, text in enumerate(texts) if text]
        vectors = self._encoder.encode([texts[row] for row in rows])
        # Half the bytes of every answer that shows it, and no cosine moves by 0.00001.
        short = np.round(vectors, DECIMALS)
        for row, rounded, code in zip(rows, short, encode_codes(vectors), strict=True):
            document = documents[row]
            title = read_text(document.source, self._text_fields[0])
            patches[row] = {
                **({"title": title} if title else {}),
                "vector": rounded,
                "code": code,
            }
        return patches
