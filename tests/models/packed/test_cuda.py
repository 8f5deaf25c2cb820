"""What of the card's way can be tried without one: its attention and how a chunk is filled up.

The kernel itself is torch's; here its definition stands in for it.
"""

from __future__ import annotations

from typing import Any

import pytest

from es_rerank.models.packed import cuda
from es_rerank.models.packed.chunks import plan_chunks
from es_rerank.models.packed.cuda import VarlenAttention, fill
from es_rerank.models.packed.encoder import PackedEncoder
from tests.models.packed.test_encoder import LENGTHS, sequences
from tests.models.packed.tiny import make


def by_definition(
    query: Any, key: Any, value: Any, starts_q: Any, starts_k: Any, max_q: int, max_k: int,
    *, scale: float, window_size: tuple[int, int] = (-1, -1), seqused_k: Any = None,
) -> Any:  # fmt: skip
    """varlen_attn as its documentation has it, sequence by sequence."""
    import torch

    out = torch.full_like(query, float("nan"))
    for i in range(len(starts_q) - 1):
        rows = slice(int(starts_q[i]), int(starts_q[i + 1]))
        end = int(starts_k[i + 1]) if seqused_k is None else int(starts_k[i] + seqused_k[i])
        seen = slice(int(starts_k[i]), end)
        n, m = rows.stop - rows.start, seen.stop - seen.start
        assert n <= max_q
        assert m <= max_k
        if not m:
            continue
        q, k, v = query[rows].transpose(0, 1), key[seen].transpose(0, 1), value[seen]
        weights = q @ k.transpose(1, 2) * scale
        if window_size != (-1, -1):
            away = torch.arange(m)[None] - (torch.arange(n) + m - n)[:, None]
            weights[:, (away < -window_size[0]) | (away > window_size[1])] = -float("inf")
        out[rows] = (weights.softmax(-1) @ v.transpose(0, 1)).transpose(0, 1)
    return out


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize("room", [0, 40])
def test_a_chunk_filled_up_gives_the_same_rows(
    kind: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(cuda, "varlen", by_definition)
    encoder = PackedEncoder(make(kind))
    ids, types = sequences(kind)
    (chunk,) = plan_chunks([len(each) for each in ids], 10_000)
    tokens, count = chunk.tokens + room, len(ids) + room // 10
    buffer = torch.full((3 * tokens + count + 1,), 7)
    fill(buffer, tokens, encoder.lay_out(ids, types, chunk), chunk)
    own, places, kinds = buffer[: 3 * tokens].view(3, tokens)
    attention = VarlenAttention(buffer[3 * tokens :].int(), max(LENGTHS))
    with torch.inference_mode():
        rows = encoder.forward_first(own, places, kinds, attention)[: len(ids)]
    expected = encoder.first_rows(ids, types)[list(chunk.rows)]
    assert (rows - expected).abs().max() < 1e-4
