"""Rerankers of other families, small and made on the spot, beside transformers' own forward."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from es_rerank.errors import ModelError
from es_rerank.models.cross_encoder import CrossEncoder, load_cross_encoder
from es_rerank.models.decoder import AFTER, BEFORE, BETWEEN
from es_rerank.models.readers import PackedReader, PaddedReader, YesNoReader
from tests.models.conftest import TinyModel, classify

QUERY = "red running shoe"
TEXTS = ["red shoe", "", "blue hat with a garden gnome", "hat", "red shoe " * 60, "red shoe"]
SMALL: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}
DECODER = {
    **SMALL,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": 2,
    "eos_token_id": 3,
}


def build(folder: Path, tiny: Path, kind: str, part: str, **sizes: Any) -> Path:
    """A model from a config, with the small tokenizer."""
    import torch
    import transformers

    library: Any = transformers
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("config.json", "*.safetensors"))
    config = library.AutoConfig.for_model(kind, **sizes)
    torch.manual_seed(2)
    getattr(library, part).from_config(config).eval().save_pretrained(folder)
    return folder


def check(model: CrossEncoder, logits: Any) -> None:
    scores = model.score_pairs(QUERY, TEXTS)
    assert scores == pytest.approx(logits[:, 0], abs=1e-4)
    assert len(set(scores.round(3))) >= 4
    both = model.score_lists([(QUERY, TEXTS[2:]), ("hat", ["hat"])])
    assert both[0] == pytest.approx(scores[2:], abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "sizes", "reader"),
    [
        ("roberta", {**SMALL, "max_position_embeddings": 50}, PackedReader),
        ("xlm-roberta", {**SMALL, "max_position_embeddings": 50}, PackedReader),
        ("deberta-v2", {**SMALL, "relative_attention": True, "type_vocab_size": 2}, PaddedReader),
        ("electra", {**SMALL, "embedding_size": 32}, PaddedReader),
        ("qwen3", DECODER, PaddedReader),
        ("llama", DECODER, PaddedReader),
    ],
)
def test_classifiers(
    kind: str, sizes: dict[str, Any], reader: type, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    build(folder, tiny_model(1), kind, "AutoModelForSequenceClassification", **sizes, num_labels=1)
    if kind not in {"deberta-v2", "electra"}:
        told = json.loads((folder / "tokenizer_config.json").read_text())
        told["model_input_names"] = ["input_ids", "attention_mask"]
        (folder / "tokenizer_config.json").write_text(json.dumps(told))
    model = load_cross_encoder(str(folder), "cpu")
    assert isinstance(model._reader, reader)
    check(model, classify(folder, QUERY, TEXTS))


def prompt_tokenizer(folder: Path) -> None:
    """Make the folder's tokenizer know the question's words, and pairs without special tokens."""
    path = folder / "tokenizer.json"
    told = json.loads(path.read_text())
    words = told["model"]["vocab"]
    for word in [*(BEFORE + BETWEEN + AFTER).lower().replace("<", " ").split(), "yes", "no"]:
        words.setdefault(word, len(words))
    told["post_processor"] = None
    path.write_text(json.dumps(told))
    config = json.loads((folder / "config.json").read_text())
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told["model_max_length"] = config["max_position_embeddings"]
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


@pytest.fixture
def judge(tiny_model: TinyModel, tmp_path: Path) -> Path:
    folder = tmp_path / "judge"
    sizes = {**DECODER, "vocab_size": 200, "tie_word_embeddings": False}
    build(folder, tiny_model(1), "qwen3", "AutoModelForCausalLM", **sizes)
    prompt_tokenizer(folder)
    return folder


def test_a_decoder_says_yes_or_no(judge: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(judge)
    loaded: Any = AutoModelForCausalLM.from_pretrained(judge)
    own = loaded.eval()
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    differences = []
    for text in TEXTS:
        asked = f"{BEFORE} {QUERY}{BETWEEN} {text}{AFTER}"
        with torch.no_grad():
            logits = own(**tokenizer(asked, return_tensors="pt")).logits[0, -1]
        differences.append(float(logits[yes] - logits[no]))
    model = load_cross_encoder(str(judge), "cpu")
    assert isinstance(model._reader, YesNoReader)
    scores = model.score_pairs(QUERY, TEXTS)
    assert scores == pytest.approx(differences, abs=1e-4)
    assert len(set(scores.round(3))) >= 4


def test_a_decoder_needs_the_words_and_the_room(judge: Path) -> None:
    with pytest.raises(ModelError, match=r"leaves no room beside the [0-9]+ tokens"):
        load_cross_encoder(str(judge), "cpu", max_tokens=48)
    told = json.loads((judge / "tokenizer.json").read_text())
    del told["model"]["vocab"]["yes"], told["model"]["vocab"]["no"]
    (judge / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="has no token for 'yes' and 'no'"):
        load_cross_encoder(str(judge), "cpu")


def test_the_best_passage_counts(tiny_model: TinyModel) -> None:
    folder = str(tiny_model(1))
    filler, gem = "garden gnome " * 30, "red running shoe"
    whole = load_cross_encoder(folder, "cpu", max_tokens=32, passages=4)
    alone = load_cross_encoder(folder, "cpu", max_tokens=32)
    assert whole.score_pairs(QUERY, [gem]) == pytest.approx(alone.score_pairs(QUERY, [gem]))
    long = filler + gem
    assert whole.score_pairs(QUERY, [long])[0] >= alone.score_pairs(QUERY, [long])[0] - 1e-9
    best = max(
        alone.score_pairs(QUERY, [" ".join(long.split()[begin : begin + 26])])[0]
        for begin in (0, 18, 37)
    )
    assert whole.score_pairs(QUERY, [long])[0] == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_precisions_are_near(precision: str, tiny_model: TinyModel) -> None:
    folder = str(tiny_model(1))
    exact = load_cross_encoder(folder, "cpu", "fp32").score_pairs(QUERY, TEXTS)
    found = load_cross_encoder(folder, "cpu", precision).score_pairs(QUERY, TEXTS)
    assert 0 < np.abs(found - exact).max() < 0.3 * exact.std()


def test_int8_is_for_packed_models(judge: Path) -> None:
    with pytest.raises(ModelError, match="qwen3 models do not run in int8 here"):
        load_cross_encoder(str(judge), "cpu", "int8")


def test_tokens_are_kept(tiny_model: TinyModel) -> None:
    model = load_cross_encoder(str(tiny_model(1)), "cpu")
    model.score_pairs(QUERY, TEXTS)
    before = model.tokens.hits
    model.score_pairs("blue hat", TEXTS)
    assert model.tokens.hits == before + len(TEXTS)


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
def test_where_a_card_cannot_be_used_the_cpu_is(
    device: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a card")
    # As if torch saw one, which then cannot be used.
    monkeypatch.setattr("es_rerank.models.cross_encoder.choose_device", lambda _: device)
    with capture_logs() as logs:
        model = load_cross_encoder(str(tiny_model(1)), device)
    assert model.device == "cpu"
    assert logs[0]["event"] == "the card cannot be used, the CPU is"
    exact = load_cross_encoder(str(tiny_model(1)), "cpu").score_pairs(QUERY, TEXTS)
    assert model.score_pairs(QUERY, TEXTS) == pytest.approx(exact)
