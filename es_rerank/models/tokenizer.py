"""Texts to token ids, from several threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from es_rerank.models.runtime import load_pretrained, mend_text

LONGEST = 512
"""Tokens read of a text at most, where the model would take more."""


class Tokenizer:
    """A Hugging Face tokenizer behind a lock: its fast kind must not be used by two at once."""

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self.max_tokens = min(max_tokens, int(min(tokenizer.model_max_length, LONGEST)))
        self.padding: int = tokenizer.pad_token_id or 0
        self.unknown: int | None = tokenizer.unk_token_id
        self._tokenizer = tokenizer
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        """The token ids of each text and what else the model wants, cut at `max_tokens`."""
        with self._lock:
            encoded = self._tokenizer(
                [mend_text(text) for text in texts], truncation=True, max_length=self.max_tokens
            )
        return dict(encoded)

    def encode_plain(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, whole and without special ones."""
        if not texts:
            return []
        mended = [mend_text(text) for text in texts]
        with self._lock:
            if self._backend is None:
                encoded = self._tokenizer(mended, add_special_tokens=False, verbose=False)
                return [list(ids) for ids in encoded["input_ids"]]
            # The library's way round its own core takes ten times as long as a query's words do.
            self._backend.no_truncation()
            self._backend.no_padding()
            found = self._backend.encode_batch_fast(mended, add_special_tokens=False)
        return [list(each.ids) for each in found]

    def encode_pairs(
        self, queries: Sequence[str], texts: Sequence[str]
    ) -> dict[str, list[list[int]]]:
        """The same for each query with the text at its place; the longer is cut first."""
        with self._lock:
            encoded = self._tokenizer(
                [mend_text(query) for query in queries],
                [mend_text(text) for text in texts],
                truncation="longest_first",
                max_length=self.max_tokens,
            )
        return dict(encoded)

    def pad(self, encoded: Mapping[str, list[list[int]]], rows: Sequence[int], device: str) -> Any:
        """The chosen rows as tensors of one length, on the device."""
        chosen = {key: [values[i] for i in rows] for key, values in encoded.items()}
        with self._lock:
            return self._tokenizer.pad(chosen, return_tensors="pt").to(device)

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that are unknown, 0 to 1."""
        (ids,) = self.encode_plain([text])
        return ids.count(self.unknown) / len(ids) if ids and self.unknown is not None else 0.0


def load_tokenizer(name: str, max_tokens: int) -> Tokenizer:
    """Load a model's tokenizer. Raises ModelError."""
    from transformers import AutoTokenizer

    return Tokenizer(load_pretrained(AutoTokenizer, name), max_tokens)
