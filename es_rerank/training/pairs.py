"""Query and text as one row of token ids: [CLS] query [SEP] text [SEP], padded to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from es_rerank.models.pair_tokens import make_template
from es_rerank.models.tokenizer import load_tokenizer

LONGEST_QUERY = 24


class Pairs:
    """Token ids of a catalogue's texts, and batches of them with a query.

    The longer of query and text is cut, as the tokenizer does it when the model serves.
    """

    def __init__(self, backbone: str, texts: Sequence[str], max_tokens: int) -> None:
        self._tokenizer = load_tokenizer(backbone, 512)
        self._texts = texts
        self._ids: dict[int, list[int]] = {}
        self.max_tokens = max_tokens
        self._template = make_template(self._tokenizer)

    def batch(
        self, queries: Sequence[str], rows: Sequence[Sequence[int]], stuffed: Sequence[int] = ()
    ) -> dict[str, Tensor]:
        """Tensors (n, t) of every query with each of its rows, one after the other.

        stuffed: places among all pairs whose text is made to begin with the query.
        """
        asked = [ids[:LONGEST_QUERY] for ids in self._encode(queries)]
        self._learn([row for own in rows for row in own])
        pairs: list[tuple[list[int], list[int]]] = []
        quoting = set(stuffed)
        for query, own in zip(asked, rows, strict=True):
            for row in own:
                text = self._ids[row]
                if len(pairs) in quoting:
                    text = query + text
                room = self.max_tokens - self._template.tokens - len(query)
                pairs.append((query, text[:room]))
        return self._pad(pairs)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [ids[1:-1] for ids in self._tokenizer.encode(texts)["input_ids"]] if texts else []

    def _learn(self, rows: Sequence[int]) -> None:
        new = [row for row in dict.fromkeys(rows) if row not in self._ids]
        for row, ids in zip(new, self._encode([self._texts[row] for row in new]), strict=True):
            self._ids[row] = ids[: self.max_tokens]

    def _pad(self, pairs: Sequence[tuple[list[int], list[int]]]) -> dict[str, Tensor]:
        longest = max(len(query) + len(text) for query, text in pairs) + self._template.tokens
        shape = (len(pairs), longest)
        ids: Any = torch.zeros(shape, dtype=torch.long)
        kinds = torch.zeros(shape, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for i, (query, text) in enumerate(pairs):
            row = self._template.join(query, text)
            ids[i, : len(row)] = torch.tensor(row)
            kinds[i, : len(row)] = torch.tensor(self._template.join_types(len(query), len(text)))
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "token_type_ids": kinds, "attention_mask": mask}
