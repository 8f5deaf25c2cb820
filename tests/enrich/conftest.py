"""The bundled embedder, loaded once."""

from __future__ import annotations

import pytest

from es_rerank.models.embedder import Embedder, load_embedder


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    """The real MiniLM on the CPU."""
    return load_embedder(device="cpu")
