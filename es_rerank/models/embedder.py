"""Sentence embeddings: texts in, unit vectors out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.runtime import (
    BUNDLED,
    choose_device,
    find_model,
    load_pretrained,
    plan_batches,
)
from es_rerank.models.tokenizer import LONGEST, Tokenizer, load_tokenizer

TOKEN_BUDGET = 4096


class Embedder:
    """A mean-pooled transformer encoder (Reimers and Gurevych, EMNLP 2019).

    Safe to call from several threads: the tokenizer is behind a lock, the model only read.
    """

    def __init__(self, name: str, tokenizer: Tokenizer, model: Any, device: str) -> None:
        self.name = name
        self.device = device
        self.max_tokens = tokenizer.max_tokens
        self.dimensions: int = int(model.config.hidden_size)
        self._tokenizer = tokenizer
        self._model = model

    def encode(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> NDArray[np.float32]:
        """Embed texts. Returns (n, d) float32 with rows of length 1, in the order of `texts`.

        Texts are cut at `max_tokens`; batches are formed by length, at most `token_budget` padded
        tokens each.
        """
        import torch

        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        if not texts:
            return vectors
        encoded = self._tokenizer.encode(texts)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        with torch.inference_mode():
            for batch in plan_batches(lengths, token_budget):
                padded = self._tokenizer.pad(encoded, batch, self.device)
                hidden = self._model(**padded).last_hidden_state
                mask = padded["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
                vectors[batch] = torch.nn.functional.normalize(mean.float(), dim=1).cpu().numpy()
        return vectors

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the tokenizer does not know, 0 to 1."""
        return self._tokenizer.unknown_share(text)


def load_embedder(name: str = BUNDLED, device: str = "auto") -> Embedder:
    """Load an embedder by hub id or folder; the default ships with the package's dependencies.

    Raises ModelError when the model cannot be found or read.
    """
    from transformers import AutoModel

    where = choose_device(device)
    model = load_pretrained(AutoModel, name).eval().to(where)
    limit = int(getattr(model.config, "max_position_embeddings", LONGEST))
    sentence_config = Path(find_model(name)) / "sentence_bert_config.json"
    if sentence_config.is_file():
        limit = min(limit, json.loads(sentence_config.read_text()).get("max_seq_length") or limit)
    return Embedder(name, load_tokenizer(name, limit), model, where)
