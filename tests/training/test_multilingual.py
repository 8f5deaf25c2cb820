"""A catalogue in three languages, on a backbone whose tokenizer is made as XLM-R's is."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_rerank.models.embedder import load_embedder
from es_rerank.models.reranker import load_reranker
from es_rerank.training.dataset import build
from es_rerank.training.export import export
from es_rerank.training.pairs import Pairs
from es_rerank.training.reranking import Reranking, score_groups
from es_rerank.training.train import train
from tests.models.conftest import tiny_config
from tests.training.conftest import make_recipe

TYPES = {
    "跑步鞋": "轻便透气，适合公路训练。",
    "太阳帽": "宽帽檐，防晒遮阳。",
    "running shoes": "light, for the road.",
    "Gartenzwerg": "steht bei jedem Wetter.",
}
BRANDS = ("Acme", "Bolt", "山川")
COLOURS = ("red", "蓝色", "schwarz")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    rows = [
        {
            "id": f"p{number}",
            "title": f"{brand} {kind} {colour} {number}",
            "description": TYPES[kind],
            "brand": brand,
            "type": kind,
            "attributes": {"colour": colour},
        }
        for number, (kind, brand, colour) in enumerate(
            itertools.product(TYPES, BRANDS, COLOURS), start=100
        )
    ]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "products.jsonl").write_text(lines + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with the words of several languages: pieces without spaces, pairs without types."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    library: Any = transformers
    folder = tmp_path_factory.mktemp("multilingual")
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    told = " ".join([*TYPES, *TYPES.values(), *BRANDS, *COLOURS, "0123456789"])
    pieces = dict.fromkeys([*(f"▁{word}" for word in told.split()), "▁", *sorted(set(told))])
    vocabulary = [(each, 0.0) for each in specials] + [(each, -float(len(each))) for each in pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    library.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=48,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    torch.manual_seed(3)
    config = tiny_config(len(vocabulary), initializer_range=0.3, pad_token_id=1)
    library.BertModel(config).eval().save_pretrained(folder)
    return folder


def test_what_is_saved_scores_as_what_was_trained(
    backbone: Path, shop: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(backbone, shop, schedule={"steps": 40, "evaluate_every": 20})
    embedder = load_embedder(str(backbone), "cpu")
    data = build(recipe.catalogues, recipe.labels, 1, embedder, tmp_path, lambda _: None)
    assert any("跑步鞋" in group.query for group in data.train)
    finished = train(Reranking(recipe, data), tmp_path / "run", lambda _: None)
    export(finished.network, recipe, 0.3, tmp_path / "model", {}, {})
    model = load_reranker(tmp_path / "model", "cpu")
    pairs = Pairs(str(backbone), data.texts, recipe.adapter.served_tokens)
    expected = score_groups(finished.network, pairs, data.held)
    for group, logits in zip(data.held, expected, strict=True):
        found = model.score_pairs(group.query, [data.texts[row] for row in group.rows])
        assert found == pytest.approx(logits, abs=0.05)  # fp16 on disk
    assert np.ptp(np.concatenate(expected)) > 0.5
    assert model.unknown_share("山川 跑步鞋") == 0
