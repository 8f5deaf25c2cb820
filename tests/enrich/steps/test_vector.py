"""Vectors of documents as shops have them: every language, missing and odd fields."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from es_rerank.cluster.document import Document
from es_rerank.enrich.steps.vector import VectorEnricher
from es_rerank.models.embedder import Embedder, load_embedder

FIELDS = ("title", "description")


def _document(source: dict[str, Any]) -> Document:
    return Document("1", None, json.dumps(source).encode(), source)


def test_a_document_gets_its_texts_vector(embedder: Embedder) -> None:
    source = {"title": "Red shoe", "description": "For <b>running</b>."}
    document = _document(source)
    (patch,) = VectorEnricher(embedder, FIELDS).enrich([document])
    (expected,) = embedder.encode(["Red shoe. For running."])
    np.testing.assert_allclose(patch["vector"], expected, atol=6e-5)
    code = np.frombuffer(base64.b64decode(patch["code"]), dtype=np.int8)
    np.testing.assert_allclose(code / np.linalg.norm(code.astype(float)), expected, atol=0.002)
    assert patch["title"] == "Red shoe"


def test_documents_without_text_are_left_alone(embedder: Embedder) -> None:
    sources: list[dict[str, Any]] = [
        {},
        {"title": None, "description": []},
        {"title": {"en": "elsewhere"}},
        {"title": "<br>", "description": "  "},
        {"title": "here"},
    ]
    patches = VectorEnricher(embedder, FIELDS).enrich([_document(s) for s in sources])
    assert [bool(patch) for patch in patches] == [False] * 4 + [True]
    assert VectorEnricher(embedder, FIELDS).enrich([]) == []


def test_a_description_alone_is_enough(embedder: Embedder) -> None:
    (patch,) = VectorEnricher(embedder, FIELDS).enrich([_document({"description": ["红鞋"]})])
    assert "title" not in patch
    assert patch["vector"].shape == (embedder.dimensions,)


EMBEDDER: list[Embedder] = []
WORDS = st.sampled_from(["red", "shoe", "红色", "跑鞋", "für", "ελ", "a", "the quick brown fox"])
TEXTS = st.lists(WORDS, min_size=0, max_size=12).map(" ".join)


@settings(max_examples=8, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_each_document_gets_its_own_vector_whatever_the_lengths(texts: list[str]) -> None:
    if not EMBEDDER:
        EMBEDDER.append(load_embedder(device="cpu"))
    enricher = VectorEnricher(EMBEDDER[0], FIELDS)
    together = enricher.enrich([_document({"title": text}) for text in texts])
    for text, patch in zip(texts, together, strict=True):
        (alone,) = enricher.enrich([_document({"title": text})])
        assert patch.get("title") == alone.get("title") == (text or None)
        if text:
            np.testing.assert_allclose(patch["vector"], alone["vector"], atol=1.1e-4)
