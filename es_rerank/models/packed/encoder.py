"""A transformers encoder, packed: sequences of token ids in, first rows or means out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from es_rerank.models.packed import bert, modern
from es_rerank.models.packed.attention import Attention, GroupedAttention
from es_rerank.models.packed.chunks import TOKEN_BUDGET, Chunk, plan_chunks
from es_rerank.models.precision import Precision

Ids = Sequence[int]


def can_pack(model: Any) -> bool:
    """Whether `PackedEncoder` knows this model's layers."""
    config = model.base_model.config
    if config.model_type == "modernbert":
        return True
    return (
        config.model_type in bert.KINDS
        and config.hidden_act in bert.ACTIVATIONS
        and not getattr(config, "is_decoder", False)
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
    )


class PackedEncoder:
    """The encoder of a model of the BERT family, computed without padding.

    Takes a transformers encoder, or a model with a head on one, whose head is then the caller's:
    both heads of a reranker run on one forward. Its rows are transformers' own, to 1e-4 in fp32.
    The weights are copied where they are laid out anew: let go of the model afterwards.

    budget: tokens computed at once, where a call names no other number.
    """

    budget = TOKEN_BUDGET

    def __init__(self, model: Any, precision: Precision = "fp32") -> None:
        import torch

        if not can_pack(model):
            raise ValueError(f"{model.config.model_type} cannot be packed: see can_pack")
        base = model.base_model
        kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
        kind = kinds.get(precision, torch.float32)
        self.precision = precision
        self.hidden_size: int = base.config.hidden_size
        words = base.get_input_embeddings().weight
        self.device = words.device
        family = modern.ModernBert if base.config.model_type == "modernbert" else bert.Bert
        with torch.no_grad():
            self._family = family(base, precision, kind)

    def first_rows(
        self,
        sequences: Sequence[Ids],
        types: Sequence[Ids] | None = None,
        token_budget: int | None = None,
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
        token_budget: int | None = None,
    ) -> Any:
        """The mean of each sequence's rows in the last layer, (n, hidden) float32 tensor."""
        return self._compute(sequences, types, token_budget, self._mean)

    def part_rows(
        self,
        sequences: Sequence[Ids],
        types: Sequence[Ids],
        token_budget: int | None = None,
    ) -> tuple[Any, Any, Any]:
        """Of each pair the last layer's first row, and the means of the rows of its two parts.

        types: 0 for a token of the first part, 1 for one of the second. Three (n, hidden) float32
        tensors.
        """
        found = self._compute(sequences, types, token_budget, self._parts, 3)
        first, one, other = found.view(-1, 3, self.hidden_size).unbind(1)
        return first, one, other

    def forward_first(self, ids: Any, places: Any, kinds: Any, attention: Attention) -> Any:
        """A chunk's (t,) token ids, places in sequences and types to first rows (n, hidden)."""
        rows, turns = self._family.embed(ids, places, kinds)
        for layer in self._family.layers[:-1]:
            rows = layer(rows, turns, attention)
        return self._family.finish(self._family.layers[-1].first(rows, turns, attention))

    def lay_out(
        self, sequences: Sequence[Ids], types: Sequence[Ids] | None, chunk: Chunk
    ) -> tuple[Any, Any, Any]:
        """A chunk's token ids, places in their sequence and types or None, (t,) int64 each."""
        import torch

        places = [torch.arange(group.length).repeat(group.count) for group in chunk.groups]
        kinds = None if types is None else flatten(types, chunk)
        return flatten(sequences, chunk), torch.cat(places), kinds

    def _compute(
        self,
        sequences: Sequence[Ids],
        types: Sequence[Ids] | None,
        token_budget: int | None,
        forward: Callable[[Sequence[Ids], Sequence[Ids] | None, Chunk], Any],
        parts: int = 1,
    ) -> Any:
        import torch

        found = torch.empty(len(sequences), parts * self.hidden_size, device=self.device)
        lengths = [len(each) for each in sequences]
        with torch.inference_mode():
            for chunk in plan_chunks(lengths, token_budget or self.budget):
                found[list(chunk.rows)] = forward(sequences, types, chunk).float()
        return found

    def _first(self, sequences: Sequence[Ids], types: Sequence[Ids] | None, chunk: Chunk) -> Any:
        return self.forward_first(*self._send(sequences, types, chunk), self._attention(chunk))

    def _mean(self, sequences: Sequence[Ids], types: Sequence[Ids] | None, chunk: Chunk) -> Any:
        import torch

        rows = self._all(sequences, types, chunk)
        means = [
            rows[group.start : group.end].view(group.count, group.length, -1).mean(dim=1)
            for group in chunk.groups
        ]
        return torch.cat(means)

    def _parts(self, sequences: Sequence[Ids], types: Sequence[Ids] | None, chunk: Chunk) -> Any:
        import torch

        rows = self._all(sequences, types, chunk)
        second = flatten(types or (), chunk).to(rows)
        found = []
        for group in chunk.groups:
            own = rows[group.start : group.end].view(group.count, group.length, -1)
            mask = second[group.start : group.end].view(group.count, 1, group.length)
            both = torch.cat([1 - mask, mask], dim=1)
            means = both @ own / both.sum(dim=2, keepdim=True).clamp_min(1.0)
            found.append(torch.cat([own[:, :1], means], dim=1).flatten(1))
        return torch.cat(found)

    def _all(self, sequences: Sequence[Ids], types: Sequence[Ids] | None, chunk: Chunk) -> Any:
        """All rows of the last layer, (t, hidden) float32."""
        attention = self._attention(chunk)
        rows, turns = self._family.embed(*self._send(sequences, types, chunk))
        for layer in self._family.layers:
            rows = layer(rows, turns, attention)
        return self._family.finish(rows).float()

    def _send(
        self, sequences: Sequence[Ids], types: Sequence[Ids] | None, chunk: Chunk
    ) -> tuple[Any, Any, Any]:
        """The chunk laid out, on the device."""
        ids, places, kinds = self.lay_out(sequences, types, chunk)
        kinds = None if kinds is None else kinds.to(self.device)
        return ids.to(self.device), places.to(self.device), kinds

    def _attention(self, chunk: Chunk) -> Attention:
        return GroupedAttention(chunk.groups)


def flatten(sequences: Sequence[Ids], chunk: Chunk) -> Any:
    """The chunk's sequences one after the other, (t,) int64."""
    import torch

    return torch.tensor(list(chain.from_iterable(sequences[row] for row in chunk.rows)))
