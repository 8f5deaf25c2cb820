from __future__ import annotations

import random
from typing import Any

import pytest

from es_rerank.models.packed.encoder import PackedEncoder, can_pack
from es_rerank.models.packed.linear import OneDnnLinear, PlainLinear
from tests.models.packed.tiny import KINDS, SIZES, VOCABULARY, make, plain_rows

LENGTHS = (7, 1, 30, 7, 2, 64, 7, 30, 131)


def sequences(kind: str) -> tuple[list[list[int]], list[list[int]] | None]:
    """Token ids of all lengths, the padding token among them, and types where there are two."""
    rng = random.Random(3)
    ids = [[rng.randrange(VOCABULARY) for _ in range(length)] for length in LENGTHS]
    ids[2][4] = SIZES["pad_token_id"]
    if kind != "bert":
        return ids, None
    return ids, [[int(i > len(row) // 3) for i in range(len(row))] for row in ids]


@pytest.mark.parametrize("token_budget", [1, 64, 4096])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_transformers_own(kind: str, token_budget: int) -> None:
    import torch

    model = make(kind)
    packed = PackedEncoder(model)
    ids, types = sequences(kind)
    each = [plain_rows(model, ids[i], None if types is None else types[i]) for i in range(len(ids))]
    first = packed.first_rows(ids, types, token_budget)
    assert first.dtype == torch.float32
    assert first.shape == (len(ids), packed.hidden_size)
    assert (first - torch.stack([rows[0] for rows in each])).abs().max() < 1e-4
    mean = packed.mean_rows(ids, types, token_budget)
    assert (mean - torch.stack([rows.mean(dim=0) for rows in each])).abs().max() < 1e-4
    assert (first[0] - first[3]).abs().max() > 0.1  # texts are told apart


def test_the_means_of_both_parts() -> None:
    import torch

    model = make("bert")
    ids, types = sequences("bert")
    assert types is not None
    first, one, other = PackedEncoder(model).part_rows(ids, types, 64)
    for i, (own, kinds) in enumerate(zip(ids, types, strict=True)):
        rows, second = plain_rows(model, own, kinds), torch.tensor(kinds, dtype=torch.bool)
        assert (first[i] - rows[0]).abs().max() < 1e-4
        assert (one[i] - rows[~second].mean(dim=0)).abs().max() < 1e-4
        if second.any():
            assert (other[i] - rows[second].mean(dim=0)).abs().max() < 1e-4


def test_types_may_be_left_out() -> None:
    model = make("bert")
    ids, _ = sequences("bert")
    rows = PackedEncoder(model).first_rows(ids)
    assert (rows[5] - plain_rows(model, ids[5], None)[0]).abs().max() < 1e-4


def test_no_sequences() -> None:
    assert PackedEncoder(make("bert")).first_rows([]).shape == (0, SIZES["hidden_size"])


def test_a_bare_encoder_is_packed_too() -> None:
    model = make("roberta")
    ids, _ = sequences("roberta")
    bare = PackedEncoder(model.base_model).first_rows(ids)
    assert (bare - PackedEncoder(model).first_rows(ids)).abs().max() == 0


@pytest.mark.parametrize("kind", ["deberta-v2", "distilbert"])
def test_other_layers_cannot_be_packed(kind: str) -> None:
    import transformers

    library: Any = transformers
    config = library.AutoConfig.for_model(kind, vocab_size=20, num_hidden_layers=1)
    model = library.AutoModel.from_config(config)
    assert not can_pack(model)
    with pytest.raises(ValueError, match="cannot be packed"):
        PackedEncoder(model)


def test_a_decoder_is_not_packed() -> None:
    assert not can_pack(make("bert", is_decoder=True))


@pytest.mark.parametrize(("precision", "off"), [("bf16", 0.15), ("fp16", 0.02)])
def test_other_precisions_come_near(precision: Any, off: float) -> None:
    """Rows are normalised, so their spread is about 1."""
    model = make("bert")
    ids, types = sequences("bert")
    exact = PackedEncoder(model).first_rows(ids, types)
    found = PackedEncoder(model, precision).first_rows(ids, types)
    error = (found - exact).pow(2).mean().sqrt() / exact.std()
    assert 0 < error < off


def test_layouts_of_weights_agree() -> None:
    """oneDNN's product is the one on CPUs with AVX-512, MKL's on others: both are tried here."""
    import torch

    torch.manual_seed(1)
    weight, bias = torch.randn(30, 50), torch.randn(30)
    rows, residual = torch.randn(17, 50), torch.randn(17, 30)
    product = rows @ weight.t() + bias
    with torch.inference_mode():
        for layer in (PlainLinear(weight, bias), OneDnnLinear(weight, bias)):
            assert (layer(rows) - product).abs().max() < 1e-4
            total = layer.add_to(residual.clone(), rows)
            assert (total - product - residual).abs().max() < 1e-4
