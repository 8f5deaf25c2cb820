from __future__ import annotations

import numpy as np
import torch

from es_rerank.models.packed.encoder import PackedEncoder
from tests.models.packed.tiny import make, plain_rows


def test_the_parts_of_a_pair_are_the_means_of_their_own_rows() -> None:
    model = make("bert")
    pairs = [([0, 5, 6, 2, 9, 2], [0, 0, 0, 0, 1, 1]), ([0, 7, 2, 8, 9, 2], [0, 0, 0, 1, 1, 1])]
    pairs += [([0, 4, 2, 2], [0, 0, 0, 1]), ([0, 2, *range(10, 60), 2], [0, 0, *[1] * 51])]
    encoder = PackedEncoder(model)
    ids, types = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    first, query, text = encoder.part_rows(ids, types, token_budget=20)
    for i, (own, kinds) in enumerate(pairs):
        rows = plain_rows(model, own, kinds)
        second = torch.tensor(kinds, dtype=torch.bool)
        for found, wanted in (
            (first, rows[0]),
            (query, rows[~second].mean(dim=0)),
            (text, rows[second].mean(dim=0)),
        ):
            assert np.allclose(found[i], wanted, atol=1e-4)
