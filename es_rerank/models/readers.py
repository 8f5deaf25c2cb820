"""How a loaded model reads token sequences: packed, padded, or as a decoder that says yes or no."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.packed.bert import ROBERTA
from es_rerank.models.packed.encoder import PackedEncoder
from es_rerank.models.runtime import plan_batches

TOKEN_BUDGET = 4096
"""Padded tokens of a batch."""
Ids = Sequence[int]


class Reader(Protocol):
    """Reads pairs that are token sequences."""

    def read(self, sequences: Sequence[Ids], types: Sequence[Ids] | None) -> NDArray[np.float64]:
        """The logits of each, (n, labels). One sequence or more, one token or more each."""


class PackedReader:
    """An encoder without padding, and its head on the first token."""

    def __init__(self, encoder: PackedEncoder, head: Callable[[Any], Any]) -> None:
        self.encoder = encoder
        self._head = head

    def read(self, sequences: Sequence[Ids], types: Sequence[Ids] | None) -> NDArray[np.float64]:
        import torch

        with torch.inference_mode():
            logits = self._head(self.encoder.first_rows(sequences, types))
        return np.asarray(logits.double().cpu().numpy())


class PackedMeans:
    """The mean of each sequence's last rows, (n, hidden), without padding."""

    def __init__(self, encoder: PackedEncoder) -> None:
        self.encoder = encoder

    def read(self, sequences: Sequence[Ids], types: Sequence[Ids] | None) -> NDArray[np.float64]:
        return np.asarray(self.encoder.mean_rows(sequences, types).double().cpu().numpy())


class PaddedReader:
    """Any sequence classifier, by transformers' own forward, alike lengths together."""

    def __init__(self, model: Any, padding: int) -> None:
        self._model = model
        self._padding = padding
        config = getattr(model, "config", None)  # a session of another runtime has none
        if config is not None and getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = padding  # decoders look for the last token by it

    def read(self, sequences: Sequence[Ids], types: Sequence[Ids] | None) -> NDArray[np.float64]:
        import torch

        found: list[NDArray[np.float64]] = [np.zeros(0)] * len(sequences)
        with torch.inference_mode():
            for batch in plan_batches([len(each) for each in sequences], TOKEN_BUDGET):
                given = self._pad(batch, sequences, types)
                for row, logits in zip(batch, self._run(given), strict=True):
                    found[row] = logits
        return np.stack(found)

    def _run(self, given: dict[str, Any]) -> NDArray[np.float64]:
        return np.asarray(self._model(**given).logits.double().cpu().numpy())

    def _pad(
        self, batch: Sequence[int], sequences: Sequence[Ids], types: Sequence[Ids] | None
    ) -> dict[str, Any]:
        """The batch as tensors on the model's device, padded behind."""
        import torch

        longest = max(len(sequences[row]) for row in batch)
        ids = np.full((len(batch), longest), self._padding)
        mask = np.zeros_like(ids)
        kinds = np.zeros_like(ids)
        for i, row in enumerate(batch):
            length = len(sequences[row])
            ids[i, :length] = sequences[row]
            mask[i, :length] = 1
            if types is not None:
                kinds[i, :length] = types[row]
        given = {"input_ids": ids, "attention_mask": mask}
        if types is not None:
            given["token_type_ids"] = kinds
        return {name: torch.from_numpy(x).to(self._model.device) for name, x in given.items()}


class MeanReader(PaddedReader):
    """The mean of each sequence's last rows, (n, hidden), of any encoder."""

    def _run(self, given: dict[str, Any]) -> NDArray[np.float64]:
        mask = given["attention_mask"].unsqueeze(-1)
        rows = self._model(**given).last_hidden_state.float() * mask
        return np.asarray((rows.sum(dim=1) / mask.sum(dim=1)).double().cpu().numpy())


class YesNoReader(PaddedReader):
    """A decoder's opinion: how much more likely `yes` comes next than `no` (Qwen3-Reranker).

    Only the two words' logits are computed, and those of each sequence's last token alone.
    """

    def __init__(self, model: Any, padding: int, yes: int, no: int) -> None:
        super().__init__(model, padding)
        self._words = model.get_output_embeddings().weight.detach()[[no, yes]].clone()

    def _run(self, given: dict[str, Any]) -> NDArray[np.float64]:
        import torch

        rows = self._model.base_model(**given).last_hidden_state
        last = given["attention_mask"].sum(dim=1) - 1
        rows = rows[torch.arange(len(rows), device=rows.device), last]
        logits = torch.nn.functional.linear(rows, self._words)
        return np.asarray(logits.double().cpu().numpy())


def read_head(model: Any) -> Callable[[Any], Any] | None:
    """The head of a sequence classifier on first rows (n, hidden), giving logits (n, labels).

    None where its head reads something else than the first token.
    """
    import torch

    def apply(layer: Any, rows: Any) -> Any:
        return torch.nn.functional.linear(rows, layer.weight, layer.bias)

    kind = model.config.model_type
    if kind == "bert":
        pooler, classifier = model.bert.pooler, model.classifier
        return lambda rows: apply(classifier, torch.tanh(apply(pooler.dense, rows)))
    if kind in ROBERTA:
        dense, out = model.classifier.dense, model.classifier.out_proj
        return lambda rows: apply(out, torch.tanh(apply(dense, rows)))
    if kind == "modernbert" and model.config.classifier_pooling == "cls":
        head, classifier = model.head, model.classifier
        return lambda rows: classifier(head(rows))
    return None


def has_head(weights: Any) -> bool:
    """Whether a classifier's weights hold a head that `read_head` reads."""
    try:
        read_head(weights)
    except AttributeError:
        return False
    return True
