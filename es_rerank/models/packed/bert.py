"""BERT, MiniLM, RoBERTa, XLM-R and CamemBERT: layers that normalise after each sum.

Devlin et al., NAACL 2019. Three things follow from the softmax alone and are exact: the keys' bias
is left out (it adds the same to all weights of a token), the values' bias moves behind the mixing
(weights sum to 1) and the scale of 1 / sqrt(d) moves into the queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from es_rerank.models.packed.attention import Attention
from es_rerank.models.packed.linear import pack_linear
from es_rerank.models.packed.norm import Norm
from es_rerank.models.precision import Precision


def gelu(rows: Any) -> Any:
    """x times the normal distribution's share below x (Hendrycks and Gimpel, 2016), in place."""
    import torch

    return torch.ops.aten.gelu_(rows)


def gelu_tanh(rows: Any) -> Any:
    """The same by its approximation, which some models were trained with, in place."""
    import torch

    return torch.ops.aten.gelu_(rows, approximate="tanh")


def relu(rows: Any) -> Any:
    """What is above 0, in place."""
    import torch

    return torch.relu_(rows)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": gelu,
    "relu": relu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
}
ROBERTA = frozenset({"roberta", "xlm-roberta", "camembert"})
KINDS = ROBERTA | {"bert"}


class Bert:
    """The encoder's weights. It needs no turns: positions are in the rows."""

    def __init__(self, model: Any, precision: Precision, kind: Any) -> None:
        part = model.embeddings
        self._words = part.word_embeddings.weight.detach()
        self._positions = part.position_embeddings.weight.detach().to(kind)
        self._types = part.token_type_embeddings.weight.detach().to(kind)
        self._norm = Norm(part.LayerNorm, model.config.layer_norm_eps, kind)
        self._kind = kind
        config = model.config
        self._padding: int | None = None if config.model_type == "bert" else config.pad_token_id
        layers = list(model.encoder.layer)
        self.layers = [
            BertLayer(layer, config, precision, kind, last=layer is layers[-1]) for layer in layers
        ]

    def embed(self, ids: Any, places: Any, types: Any) -> tuple[Any, Any]:
        """(t,) token ids, places in their sequence from 0, types or None, to rows (t, hidden)."""
        import torch

        look_up = torch.nn.functional.embedding
        if self._padding is not None:
            # RoBERTa counts from behind its padding token, and does not count that one.
            counts = (ids != self._padding).long()
            before = counts.cumsum(0) - counts
            begin = torch.arange(len(ids), device=ids.device) - places
            places = (before - before[begin] + 1) * counts + self._padding
        rows = look_up(ids, self._words).to(self._kind)
        rows += look_up(places, self._positions)
        rows += self._types[0] if types is None else look_up(types, self._types)
        return self._norm(rows), None

    def finish(self, rows: Any) -> Any:
        """The last rows as they are."""
        return rows


class BertLayer:
    """One layer's weights, and its rows from the rows before."""

    def __init__(
        self, layer: Any, config: Any, precision: Precision, kind: Any, last: bool
    ) -> None:
        import torch

        inner, outer = layer.attention.self, layer.attention.output
        self.heads: int = config.num_attention_heads
        self.head_size: int = config.hidden_size // self.heads
        scale = self.head_size**-0.5
        query, key, value = (part.weight.detach() for part in (inner.query, inner.key, inner.value))
        query_bias = inner.query.bias.detach() * scale
        nothing = torch.zeros_like(query_bias)
        joined = torch.cat([query * scale, key, value])
        self._packed = pack_linear(joined, torch.cat([query_bias, nothing, nothing]), precision)
        # The first token's way through the last layer needs the three apart.
        self._apart = tuple(part.to(kind) for part in joined.chunk(3)) if last else ()
        self._query_bias = query_bias.to(kind)
        out = outer.dense.weight.detach()
        out_bias = outer.dense.bias.detach() + out @ inner.value.bias.detach()
        self._out = pack_linear(out, out_bias, precision)
        self._norm = Norm(outer.LayerNorm, config.layer_norm_eps, kind)
        up, down = layer.intermediate.dense, layer.output.dense
        self._up = pack_linear(up.weight.detach(), up.bias.detach(), precision)
        self._down = pack_linear(down.weight.detach(), down.bias.detach(), precision)
        self._act = ACTIVATIONS[config.hidden_act]
        self._last_norm = Norm(layer.output.LayerNorm, config.layer_norm_eps, kind)

    def __call__(self, rows: Any, turns: Any, attention: Attention) -> Any:
        """(t, hidden) to (t, hidden)."""
        packed = self._packed(rows).view(len(rows), 3, self.heads, self.head_size)
        return self._feed(rows, attention.attend(packed))

    def first(self, rows: Any, turns: Any, attention: Attention) -> Any:
        """(t, hidden) to the first tokens' (n, hidden)."""
        import torch

        own = attention.first(rows)
        if attention.mixes_rows:
            # q (W x) = (q W) x, and the same behind the mixing: no product over all tokens.
            split = (self.heads, self.head_size)
            weight, key, value = self._apart
            query = torch.nn.functional.linear(own, weight, self._query_bias).view(-1, *split)
            asked = torch.einsum("nhd,hdk->nhk", query, key.view(*split, -1))
            mixed = attention.mix_rows(asked, rows)
            seen = torch.einsum("nhk,hdk->nhd", mixed, value.view(*split, -1))
            return self._feed(own, seen.reshape(len(own), -1))
        packed = self._packed(rows).view(len(rows), 3, self.heads, self.head_size)
        query = attention.first(packed[:, 0])
        return self._feed(own, attention.attend_first(query, packed[:, 1:]))

    def _feed(self, rows: Any, seen: Any) -> Any:
        rows = self._norm(self._out.add_to(rows, seen))
        return self._last_norm(self._down.add_to(rows, self._act(self._up(rows))))
