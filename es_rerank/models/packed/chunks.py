"""Token sequences, shortest first, cut into chunks that are computed at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

TOKEN_BUDGET = 1024
"""Tokens of a chunk: enough to keep a core busy, few enough for its caches."""


@dataclass(frozen=True)
class Group:
    """`count` sequences of `length` tokens each, from token `start` of the chunk on."""

    start: int
    count: int
    length: int

    @property
    def end(self) -> int:
        """The first token after them."""
        return self.start + self.count * self.length


@dataclass(frozen=True)
class Chunk:
    """Sequences computed at once.

    rows: their positions among all, shortest first. groups: their tokens, in that order.
    """

    rows: tuple[int, ...]
    groups: tuple[Group, ...]

    @property
    def tokens(self) -> int:
        """Tokens in all."""
        return self.groups[-1].end

    @property
    def starts(self) -> list[int]:
        """Each sequence's first token, and the end of the last."""
        begins = [i for each in self.groups for i in range(each.start, each.end, each.length)]
        return [*begins, self.tokens]


def plan_chunks(lengths: Sequence[int], token_budget: int = TOKEN_BUDGET) -> list[Chunk]:
    """Cut sequences of these lengths (each 1 or more) into chunks of `token_budget` tokens at most.

    A longer sequence is a chunk of its own. Every position occurs exactly once. The chunks are
    about equally large, since a small one at the end would cost more than its share.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    total = sum(lengths)
    target = total / max(1, -(-total // token_budget))
    chunks: list[Chunk] = []
    rows: list[int] = []
    tokens = done = 0
    for row in order:
        ahead = done + tokens + lengths[row] / 2 > (len(chunks) + 1) * target
        if rows and (ahead or tokens + lengths[row] > token_budget):
            chunks.append(make_chunk(rows, lengths))
            done += tokens
            rows, tokens = [], 0
        rows.append(row)
        tokens += lengths[row]
    if rows:
        chunks.append(make_chunk(rows, lengths))
    return chunks


def make_chunk(rows: Sequence[int], lengths: Sequence[int]) -> Chunk:
    """A chunk of these sequences, which are in order of length."""
    groups: list[Group] = []
    start = 0
    for length, same in groupby(lengths[row] for row in rows):
        groups.append(Group(start, len(list(same)), length))
        start = groups[-1].end
    return Chunk(tuple(rows), tuple(groups))
