"""Sentence embeddings: texts in, unit vectors out."""

from __future__ import annotations

import json
import threading
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
    mend_text,
    plan_batches,
)

TOKEN_BUDGET = 4096


class Embedder:
    """A mean-pooled transformer encoder (Reimers and Gurevych, EMNLP 2019).

    Safe to call from several threads: the tokenizer is guarded by a lock, the model only read.
    """

    def __init__(self, name: str, tokenizer: Any, model: Any, device: str, max_tokens: int) -> None:
        self.name = name
        self.device = device
        self.max_tokens = max_tokens
        self.dimensions: int = int(model.config.hidden_size)
        self._tokenizer = tokenizer
        self._model = model
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> NDArray[np.float32]:
        """Embed texts. Returns (n, d) float32 with rows of length 1, in the order of `texts`.

        Texts are cut at `max_tokens`; batches are formed by length, at most `token_budget` padded
        tokens each.
        """
        import torch

        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        if not texts:
            return vectors
        token_ids = self._tokenize(texts)
        with torch.inference_mode():
            for batch in plan_batches([len(ids) for ids in token_ids], token_budget):
                with self._lock:
                    padded = self._tokenizer.pad(
                        {"input_ids": [token_ids[i] for i in batch]}, return_tensors="pt"
                    ).to(self.device)
                hidden = self._model(**padded).last_hidden_state
                mask = padded["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
                vectors[batch] = torch.nn.functional.normalize(mean.float(), dim=1).cpu().numpy()
        return vectors

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the tokenizer does not know, 0 to 1."""
        unknown = self._tokenizer.unk_token_id
        with self._lock:
            ids = self._tokenizer(mend_text(text), add_special_tokens=False)["input_ids"]
        if unknown is None or not ids:
            return 0.0
        return float(ids.count(unknown) / len(ids))

    def _tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        with self._lock:
            encoded = self._tokenizer(
                [mend_text(text) for text in texts], truncation=True, max_length=self.max_tokens
            )
        ids: list[list[int]] = encoded["input_ids"]
        return ids


def load_embedder(name: str = BUNDLED, device: str = "auto") -> Embedder:
    """Load an embedder by hub id or folder; the default ships with the package's dependencies.

    Raises ModelError when the model cannot be found or read.
    """
    from transformers import AutoModel, AutoTokenizer

    where = choose_device(device)
    tokenizer = load_pretrained(AutoTokenizer, name)
    model = load_pretrained(AutoModel, name).eval().to(where)
    limit = min(
        int(getattr(model.config, "max_position_embeddings", 512)),
        int(min(tokenizer.model_max_length, 512)),
    )
    sentence_config = Path(find_model(name)) / "sentence_bert_config.json"
    if sentence_config.is_file():
        limit = min(limit, json.loads(sentence_config.read_text()).get("max_seq_length") or limit)
    return Embedder(name, tokenizer, model, where, limit)
