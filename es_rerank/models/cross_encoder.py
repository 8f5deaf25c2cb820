"""Cross-encoders: query and text read together, one logit out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.models.compact.folder import find_folder, read_backend
from es_rerank.models.compact.quantize import load_config, load_quantized
from es_rerank.models.compact.sessions import open_session
from es_rerank.models.runtime import choose_device, load_pretrained, plan_batches
from es_rerank.models.tokenizer import LONGEST, Tokenizer, load_tokenizer

TOKEN_BUDGET = 4096


class CrossEncoder:
    """A sequence classifier used as a reranker (Nogueira and Cho, 2019).

    With one label its logit is the score; with two, the difference of the second to the first.
    """

    def __init__(self, name: str, tokenizer: Tokenizer, model: Any, device: str) -> None:
        self.name = name
        self.device = device
        self.max_tokens = tokenizer.max_tokens
        self._tokenizer = tokenizer
        self._model = model

    def score_pairs(self, query: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """Score each text for the query. Returns (n,) logits, in the order of `texts`."""
        return self._score([query] * len(texts), texts)

    def score_lists(
        self, lists: Sequence[tuple[str, Sequence[str]]]
    ) -> list[NDArray[np.float64] | Exception]:
        """Score several queries' texts in batches across them. Returns (n,) logits per query."""
        queries = [query for query, texts in lists for _ in texts]
        scores = self._score(queries, [text for _, texts in lists for text in texts])
        ends = np.cumsum([len(texts) for _, texts in lists])
        return list(np.split(scores, ends[:-1])) if lists else []

    def _score(self, queries: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
        """The logit of each query with the text at its place."""
        import torch

        scores = np.zeros(len(texts))
        if not texts:
            return scores
        encoded = self._tokenizer.encode_pairs(queries, texts)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        with torch.inference_mode():
            for batch in plan_batches(lengths, TOKEN_BUDGET):
                padded = self._tokenizer.pad(encoded, batch, self.device)
                logits = self._model(**padded).logits.float().cpu().numpy()
                scores[batch] = (
                    logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
                )
        return scores

    def unknown_share(self, text: str) -> float:
        """The share of the text's tokens that the tokenizer does not know, 0 to 1."""
        return self._tokenizer.unknown_share(text)


def load_cross_encoder(name: str, device: str = "auto") -> CrossEncoder:
    """Load a reranker by hub id or folder.

    Raises ModelError when it cannot be loaded, or is no reranker (more than two labels, or weights
    without a scoring head, which would be left at random).
    """
    where = choose_device(device)
    made = read_backend(name)
    if made is not None and made.kind != "int8":
        tokenizer = load_tokenizer(name, read_limit(load_config(name)))
        return CrossEncoder(name, tokenizer, open_session(find_folder(name), made), "cpu")
    model = load_classifier(name) if made is None else load_quantized(name, made)
    model.to(where)
    return CrossEncoder(name, load_tokenizer(name, read_limit(model.config)), model, where)


def read_limit(config: Any) -> int:
    """How many tokens a pair may have."""
    return int(getattr(config, "max_position_embeddings", LONGEST))


def load_classifier(name: str) -> Any:
    """A sequence classifier with one label or two. Raises ModelError."""
    from transformers import AutoModelForSequenceClassification

    model, loaded = load_pretrained(
        AutoModelForSequenceClassification, name, output_loading_info=True
    )
    missing = ", ".join(sorted(loaded["missing_keys"]))
    if missing:
        raise ModelError(
            f"model {name!r} is no reranker: its files lack {missing}; name a cross-encoder, or "
            "set [model] kind = 'bi-encoder' for an embedder"
        )
    if model.config.num_labels > 2:
        raise ModelError(
            f"model {name!r} has {model.config.num_labels} labels; a reranker has one (or two): "
            "name a cross-encoder made for ranking"
        )
    return model.eval()
