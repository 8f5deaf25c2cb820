"""The packed encoder on a CUDA card: variable-length attention and a CUDA graph for each size.

Not run on a card so far: only what needs none is tested (tests/models/packed/test_cuda.py).

A forward of a small model is over before its kernels can be launched one by one, so a chunk is
filled up to one of a few sizes, whose launches were recorded once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from es_rerank.models.packed.attention import Attention
from es_rerank.models.packed.chunks import Chunk
from es_rerank.models.packed.encoder import Ids, PackedEncoder
from es_rerank.models.precision import Precision

BUCKETS = (1024, 4096, 16384)
"""Tokens of a recorded chunk, and the token budget of one."""
TOKENS_PER_SEQUENCE = 16
"""A chunk of shorter ones is computed without a graph."""
WARM_UPS = 3


class VarlenAttention:
    """Sequences from token `starts[i]` to `starts[i + 1]`, (n + 1,) int32; some may be empty.

    longest: tokens of a sequence at most. (FlashAttention-2, Dao, ICLR 2024.)
    """

    mixes_rows = False

    def __init__(self, starts: Any, longest: int) -> None:
        self._starts = starts
        self._longest = longest

    def attend(self, packed: Any, window: int | None = None) -> Any:
        query, key, value = packed.unbind(dim=1)
        reach = (-1, -1) if window is None else (window, window)
        found = varlen(
            query, key, value, self._starts, self._starts, self._longest, self._longest,
            scale=1.0, window_size=reach,
        )  # fmt: skip
        return found.reshape(len(packed), -1)

    def attend_first(self, query: Any, packed: Any, window: int | None = None) -> Any:
        import torch

        key, value = packed.unbind(dim=1)
        n = len(query)
        each = torch.arange(n + 1, dtype=torch.int32, device=query.device)
        seen = None
        if window is not None:
            seen = self._starts.diff().clamp(max=window + 1)
        found = varlen(
            query, key, value, each, self._starts, 1, self._longest, scale=1.0, seqused_k=seen
        )
        return found.reshape(n, -1)

    def first(self, rows: Any) -> Any:
        return rows[self._starts[:-1].long().clamp(max=len(rows) - 1)]

    def mix_rows(self, asked: Any, rows: Any) -> Any:
        raise NotImplementedError("attend_first is the way here")


def varlen(*parts: Any, **named: Any) -> Any:
    """torch.nn.attention.varlen.varlen_attn, imported where a card is."""
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn(*parts, **named)


class CudaEncoder(PackedEncoder):
    """A PackedEncoder whose model is on a card. Call `warm_up` before the first search."""

    budget = BUCKETS[-1]

    def __init__(self, model: Any, precision: Precision, longest: int = 512) -> None:
        super().__init__(model, precision)
        self._longest = longest
        self._graphs: dict[int, Recorded] = {}
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Record the graphs. Raises torch.OutOfMemoryError when the card is full."""
        import torch

        with torch.inference_mode():
            for tokens in BUCKETS:
                self._graphs[tokens] = Recorded(self, tokens, self._longest)

    def _attention(self, chunk: Chunk) -> Attention:
        import torch

        starts = torch.tensor(chunk.starts, dtype=torch.int32)
        return VarlenAttention(
            starts.pin_memory().to(self.device, non_blocking=True), self._longest
        )

    def _first(self, sequences: Sequence[Ids], types: Sequence[Ids] | None, chunk: Chunk) -> Any:
        fitting = [graph for graph in self._graphs.values() if graph.fits(chunk)]
        if not fitting:
            return super()._first(sequences, types, chunk)
        with self._lock:
            return fitting[0].run(self.lay_out(sequences, types, chunk), chunk)


class Recorded:
    """A forward of `tokens` tokens, recorded: its inputs and its result lie where they lay then."""

    def __init__(self, encoder: CudaEncoder, tokens: int, longest: int) -> None:
        import torch

        self.tokens = tokens
        self.sequences = tokens // TOKENS_PER_SEQUENCE
        self._longest = longest
        size = 3 * tokens + self.sequences + 1
        self._pinned = torch.zeros(size, dtype=torch.int64, pin_memory=True)
        self._inputs = torch.zeros(size, dtype=torch.int64, device=encoder.device)
        ids, places, kinds = self._inputs[: 3 * tokens].view(3, tokens)
        starts = self._inputs[3 * tokens :]

        def forward() -> Any:
            attention = VarlenAttention(starts.int(), longest)
            return encoder.forward_first(ids, places, kinds, attention)

        cuda: Any = torch.cuda
        self._copied = cuda.Event()
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UPS):
                forward()
        cuda.current_stream().wait_stream(stream)
        self._graph = cuda.CUDAGraph()
        with cuda.graph(self._graph):
            self._result = forward()

    def fits(self, chunk: Chunk) -> bool:
        """Whether the chunk has room in it."""
        return (
            chunk.tokens <= self.tokens
            and len(chunk.rows) <= self.sequences
            and chunk.groups[-1].length <= self._longest
        )

    def run(self, laid_out: tuple[Any, Any, Any], chunk: Chunk) -> Any:
        """The first rows of the chunk's sequences, (n, hidden)."""
        self._copied.synchronize()  # the buffer is free once its last copy is over
        fill(self._pinned, self.tokens, laid_out, chunk)
        self._inputs.copy_(self._pinned, non_blocking=True)
        self._copied.record()
        self._graph.replay()
        return self._result[: len(chunk.rows)].clone()


def fill(into: Any, tokens: int, laid_out: tuple[Any, Any, Any], chunk: Chunk) -> None:
    """Lay a chunk's ids, places, types and starts out in a buffer of so many tokens.

    What is left of the tokens belongs to no sequence, what is left of the sequences is empty.
    """
    import torch

    parts = into[: 3 * tokens].view(3, tokens)
    parts[:, chunk.tokens :] = 0
    for part, values in zip(parts, laid_out, strict=True):
        part[: chunk.tokens] = 0 if values is None else values
    starts = into[3 * tokens :]
    starts[: len(chunk.starts)] = torch.tensor(chunk.starts)
    starts[len(chunk.starts) :] = chunk.tokens
