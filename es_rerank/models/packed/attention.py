"""Attention of each sequence within itself, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from es_rerank.models.packed.chunks import Group


class Attention(Protocol):
    """How the tokens of a chunk look at those of their own sequence."""

    def attend(self, packed: Any, window: int | None = None) -> Any:
        """Queries, keys and values (t, 3, heads, d) to (t, heads * d).

        The queries are scaled already. window: how many tokens away a token sees, all if None.
        """

    def attend_first(self, query: Any, packed: Any, window: int | None = None) -> Any:
        """The first tokens' queries (n, heads, d), keys and values (t, 2, heads, d) to (n, -1)."""

    def first(self, rows: Any) -> Any:
        """The rows (t, d) of the first tokens, (n, d)."""

    @property
    def mixes_rows(self) -> bool:
        """Whether `mix_rows` is there and the faster way."""

    def mix_rows(self, asked: Any, rows: Any) -> Any:
        """For each head's (n, heads, d) the rows (t, d) mixed by their softmax, (n, heads, d)."""


class GroupedAttention:
    """Sequences of one length together, without padding and without a mask."""

    mixes_rows = True

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = groups

    def attend(self, packed: Any, window: int | None = None) -> Any:
        import torch

        attention = torch.nn.functional.scaled_dot_product_attention
        tokens, _, heads, d = packed.shape
        out = packed.new_empty(tokens, heads, d)
        for group in self.groups:
            shape = (group.count, group.length, heads, d)
            own = packed[group.start : group.end]
            query, key, value = (own[:, i].view(shape).transpose(1, 2) for i in range(3))
            mask = band(group.length, window, packed.device)
            found = attention(query, key, value, attn_mask=mask, scale=1.0)
            out[group.start : group.end].view(shape).copy_(found.transpose(1, 2))
        return out.view(tokens, heads * d)

    def attend_first(self, query: Any, packed: Any, window: int | None = None) -> Any:
        import torch

        n, heads, d = query.shape
        out = query.new_empty(n, heads, d)
        begin = 0
        for group in self.groups:
            seen = group.length if window is None else min(group.length, window + 1)
            own = packed[group.start : group.end].view(group.count, group.length, 2, heads, d)
            key, value = own[:, :seen, 0].transpose(1, 2), own[:, :seen, 1].transpose(1, 2)
            rows = query[begin : begin + group.count].unsqueeze(2)
            weights = torch.softmax(rows @ key.transpose(2, 3), dim=-1)
            out[begin : begin + group.count] = (weights @ value).squeeze(2)
            begin += group.count
        return out.view(n, heads * d)

    def mix_rows(self, asked: Any, rows: Any) -> Any:
        import torch

        d = asked.shape[-1]
        out = torch.empty_like(asked)
        begin = 0
        for group in self.groups:
            own = rows[group.start : group.end].view(group.count, group.length, d)
            weights = torch.softmax(
                torch.bmm(asked[begin : begin + group.count], own.transpose(1, 2)), dim=-1
            )
            torch.bmm(weights, own, out=out[begin : begin + group.count])
            begin += group.count
        return out

    def first(self, rows: Any) -> Any:
        import torch

        return torch.cat([rows[group.start : group.end : group.length] for group in self.groups])


def band(length: int, window: int | None, device: Any) -> Any:
    """(length, length) bool, true where two tokens see each other; None where all do."""
    import torch

    if window is None or length <= window + 1:
        return None
    places = torch.arange(length, device=device)
    return (places[:, None] - places[None, :]).abs() <= window
