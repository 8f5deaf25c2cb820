"""ModernBERT: layers that normalise before each part, turned positions, gates, local windows.

Warner et al., ACL 2025; rotary positions: Su et al., 2021.
"""

from __future__ import annotations

from typing import Any

from es_rerank.models.packed.attention import Attention
from es_rerank.models.packed.linear import pack_linear
from es_rerank.models.packed.norm import Norm
from es_rerank.models.precision import Precision


class ModernBert:
    """The encoder's weights. Its turns: cosines and sines for each type of layer."""

    def __init__(self, model: Any, precision: Precision, kind: Any) -> None:
        self._words = model.embeddings.tok_embeddings.weight.detach()
        self._norm = Norm(model.embeddings.norm, model.config.norm_eps, kind)
        self._rotary = model.rotary_emb
        self._types = sorted(set(model.config.layer_types))
        self._last_norm = Norm(model.final_norm, model.config.norm_eps, kind)
        self._kind = kind
        self.layers = [ModernBertLayer(layer, precision, kind) for layer in model.layers]

    def embed(self, ids: Any, places: Any, types: Any) -> tuple[Any, Any]:
        """(t,) token ids and places in their sequence to rows (t, hidden) and their turns."""
        import torch

        rows = self._norm(torch.nn.functional.embedding(ids, self._words).to(self._kind))
        turns = {}
        for each in self._types:
            cosines, sines = self._rotary(rows, places[None], each)
            turns[each] = cosines[0].to(self._kind)[:, None], sines[0].to(self._kind)[:, None]
        return rows, turns

    def finish(self, rows: Any) -> Any:
        """The last rows, normalised."""
        return self._last_norm(rows)


class ModernBertLayer:
    """One layer's weights, and its rows from the rows before."""

    def __init__(self, layer: Any, precision: Precision, kind: Any) -> None:
        import torch

        attn, mlp = layer.attn, layer.mlp
        self._head_size: int = attn.head_dim
        self._type: str = layer.attention_type
        self._window = None if attn.sliding_window is None else attn.sliding_window - 1
        identity = isinstance(layer.attn_norm, torch.nn.Identity)
        self._norm = None if identity else Norm(layer.attn_norm, layer.config.norm_eps, kind)
        weight, bias = attn.Wqkv.weight.detach(), detach(attn.Wqkv.bias)
        scales = torch.ones(len(weight), device=weight.device)
        scales[: len(weight) // 3] = self._head_size**-0.5
        self._packed = pack_linear(
            weight * scales[:, None], None if bias is None else bias * scales, precision
        )
        self._out = pack_linear(attn.Wo.weight.detach(), detach(attn.Wo.bias), precision)
        self._mlp_norm = Norm(layer.mlp_norm, layer.config.norm_eps, kind)
        self._up = pack_linear(mlp.Wi.weight.detach(), detach(mlp.Wi.bias), precision)
        self._down = pack_linear(mlp.Wo.weight.detach(), detach(mlp.Wo.bias), precision)
        self._act = mlp.act

    def __call__(self, rows: Any, turns: Any, attention: Attention) -> Any:
        """(t, hidden) to (t, hidden)."""
        return self._feed(rows, attention.attend(self._project(rows, turns), self._window))

    def first(self, rows: Any, turns: Any, attention: Attention) -> Any:
        """(t, hidden) to the first tokens' (n, hidden)."""
        packed = self._project(rows, turns)
        query = attention.first(packed[:, 0])
        seen = attention.attend_first(query, packed[:, 1:], self._window)
        return self._feed(attention.first(rows), seen)

    def _project(self, rows: Any, turns: Any) -> Any:
        """Queries, keys and values (t, 3, heads, d), the first two turned by their places."""
        own = rows if self._norm is None else self._norm(rows)
        packed = self._packed(own).view(len(rows), 3, -1, self._head_size)
        cosines, sines = (each[:, None] for each in turns[self._type])
        both = packed[:, :2]
        half = self._head_size // 2
        left, right = both[..., :half].clone(), both[..., half:].clone()
        both.mul_(cosines)
        both[..., :half].addcmul_(right, sines[..., :half], value=-1)
        both[..., half:].addcmul_(left, sines[..., half:])
        return packed

    def _feed(self, rows: Any, seen: Any) -> Any:
        rows = self._out.add_to(rows, seen)
        up, gate = self._up(self._mlp_norm(rows)).chunk(2, dim=-1)
        return self._down.add_to(rows, self._act(up) * gate)


def detach(bias: Any) -> Any:
    """A bias without its gradient; None stays."""
    return None if bias is None else bias.detach()
