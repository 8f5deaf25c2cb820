"""A transformers encoder, packed: sequences of token ids in, first rows or means out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from es_rerank.models.packed import bert
from es_rerank.models.packed.attention import Attention, GroupedAttention
from es_rerank.models.packed.chunks import TOKEN_BUDGET, Chunk, plan_chunks
from es_rerank.models.packed.linear import Precision

Ids = Sequence[int]


def can_pack(model: Any) -> bool:
    """Whether `PackedEncoder` knows this model's layers."""
    base = model.base_model
    config = base.config
    return (
        config.model_type in bert.KINDS
        and not getattr(config, "is_decoder", False)
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


class PackedEncoder:
    """The encoder of a model of the BERT family, computed without padding.

    Takes a transformers encoder, or a model with a head on one, whose head is then the caller's:
    both heads of a reranker run on one forward. Its rows are transformers' own, to 1e-4 in fp32.
    The weights are copied where they are laid out anew: let go of the model afterwards.

    Not for several threads at once on a GPU.
    """

    def __init__(self, model: Any, precision: Precision = "fp32") -> None:
        import torch

        if not can_pack(model):
            raise ValueError(f"{model.config.model_type} cannot be packed: see can_pack")
        base = model.base_model
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        kind = kinds.get(precision, torch.float32)
        self.precision = precision
        self.hidden_size: int = base.config.hidden_size
        self.device = base.embeddings.word_embeddings.weight.device
        with torch.no_grad():
            self._embed = bert.BertEmbedding(base, kind)
            self._layers = [bert.BertLayer(layer, precision, kind) for layer in base.encoder.layer]

    def first_rows(
        self,
        sequences: Sequence[Ids],
        types: Sequence[Ids] | None = None,
        token_budget: int = TOKEN_BUDGET,
    ) -> Any:
        """The last layer's row of each sequence's first token, (n, hidden) float32 tensor.

        sequences: token ids with their special tokens, one or more each. types: the token types,
        in the same shape; 0 if None.
        """
        return self._compute(sequences, types, token_budget, self._first)

    def mean_rows(
        self,
        sequences: Sequence[Ids],
        types: Sequence[Ids] | None = None,
        token_budget: int = TOKEN_BUDGET,
    ) -> Any:
        """The mean of each sequence's rows in the last layer, (n, hidden) float32 tensor."""
        return self._compute(sequences, types, token_budget, self._mean)

    def _compute(
        self,
        sequences: Sequence[Ids],
        types: Sequence[Ids] | None,
        token_budget: int,
        finish: Callable[[Any, Chunk, Attention], Any],
    ) -> Any:
        import torch

        found = torch.empty(len(sequences), self.hidden_size)
        with torch.inference_mode():
            for chunk in plan_chunks([len(each) for each in sequences], token_budget):
                ids = flatten(sequences, chunk).to(self.device)
                places = torch.cat(
                    [torch.arange(group.length).repeat(group.count) for group in chunk.groups]
                ).to(self.device)
                kinds = None if types is None else flatten(types, chunk).to(self.device)
                rows = self._embed(ids, places, kinds)
                attention = GroupedAttention(chunk.groups)
                for layer in self._layers[:-1]:
                    rows = layer(rows, attention)
                found[list(chunk.rows)] = finish(rows, chunk, attention).float().cpu()
        return found

    def _first(self, rows: Any, chunk: Chunk, attention: Attention) -> Any:
        return self._layers[-1].first(rows, attention)

    def _mean(self, rows: Any, chunk: Chunk, attention: Attention) -> Any:
        import torch

        rows = self._layers[-1](rows, attention)
        means = [
            rows[group.start : group.end].view(group.count, group.length, -1).float().mean(dim=1)
            for group in chunk.groups
        ]
        return torch.cat(means)


def flatten(sequences: Sequence[Ids], chunk: Chunk) -> Any:
    """The chunk's sequences one after the other, (t,) int64."""
    import torch

    return torch.tensor(list(chain.from_iterable(sequences[row] for row in chunk.rows)))
