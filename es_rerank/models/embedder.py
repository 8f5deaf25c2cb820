"""Sentence embeddings: texts in, unit vectors out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.packed.encoder import PackedEncoder, can_pack
from es_rerank.models.packed.weights import read_weights
from es_rerank.models.readers import MeanReader, PackedMeans, Reader
from es_rerank.models.runtime import (
    BUNDLED,
    choose_device,
    find_model,
    load_pretrained,
    read_config,
)
from es_rerank.models.tokenizer import LONGEST, Tokenizer, load_tokenizer


class Embedder:
    """A mean-pooled transformer encoder (Reimers and Gurevych, EMNLP 2019).

    Safe to call from several threads: the tokenizer is behind a lock, the model only read.
    """

    def __init__(
        self, name: str, tokenizer: Tokenizer, reader: Reader, dimensions: int, device: str
    ) -> None:
        self.name = name
        self.device = device
        self.max_tokens = tokenizer.max_tokens
        self.dimensions = dimensions
        self._tokenizer = tokenizer
        self._reader = reader

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts. Returns (n, d) float32 with rows of length 1, in the order of `texts`.

        Texts are cut at `max_tokens`.
        """
        if not texts:
            return np.zeros((0, self.dimensions), np.float32)
        encoded = self._tokenizer.encode(texts)
        means = self._reader.read(encoded["input_ids"], encoded.get("token_type_ids"))
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return means.astype(np.float32)

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the tokenizer does not know, 0 to 1."""
        return self._tokenizer.unknown_share(text)


def load_embedder(name: str = BUNDLED, device: str = "auto") -> Embedder:
    """Load an embedder by hub id or folder; the default ships with the package's dependencies.

    Raises ModelError when the model cannot be found or read.
    """
    where = choose_device(device)
    config = read_config(name)
    model = read_weights(name, config) if where == "cpu" else None
    if model is None:
        from transformers import AutoModel

        model = load_pretrained(AutoModel, name).eval().float().to(where)
    limit = int(getattr(config, "max_position_embeddings", LONGEST))
    sentence_config = Path(find_model(name)) / "sentence_bert_config.json"
    if sentence_config.is_file():
        limit = min(limit, json.loads(sentence_config.read_text()).get("max_seq_length") or limit)
    tokenizer = load_tokenizer(name, limit)
    reader: Reader = (
        PackedMeans(PackedEncoder(model))
        if can_pack(model)
        else MeanReader(model, tokenizer.padding)
    )
    return Embedder(name, tokenizer, reader, int(config.hidden_size), where)
