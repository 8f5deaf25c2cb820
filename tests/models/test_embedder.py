from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from es_rerank.errors import ModelError
from es_rerank.models.embedder import Embedder, load_embedder
from es_rerank.models.runtime import BUNDLED, find_model

TEXTS = [
    "Waterproof hiking boots for men, size 44",
    "red",
    "",
    "跑步鞋 Nike",
    "A long description of a garden gnome. " * 6,
    "naïve crème brûlée torch 🔥",
    "red",
]


@pytest.fixture(scope="module")
def by_definition() -> NDArray[np.float32]:
    """transformers' own forward of one text after another, mean-pooled as the model card says."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = find_model(BUNDLED)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.no_grad():
        for text in TEXTS:
            encoded = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            mean = model(**encoded).last_hidden_state[0].mean(dim=0)
            rows.append((mean / mean.norm()).numpy())
    return np.array(rows)


def test_vectors_are_transformers_own(
    embedder: Embedder, by_definition: NDArray[np.float32]
) -> None:
    vectors = embedder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert np.abs(vectors - by_definition).max() < 1e-4
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_order_changes_nothing(embedder: Embedder, by_definition: NDArray[np.float32]) -> None:
    assert np.abs(embedder.encode(TEXTS[::-1]) - by_definition[::-1]).max() < 1e-4


def test_no_texts(embedder: Embedder) -> None:
    assert embedder.encode([]).shape == (0, 384)


def test_long_texts_are_cut(embedder: Embedder) -> None:
    assert embedder.max_tokens == 256
    long, longer = embedder.encode(["word " * 300, "word " * 3000 + "garden gnome"])
    assert np.abs(long - longer).max() < 1e-6


def test_half_an_emoji_is_read(embedder: Embedder) -> None:
    broken, mended = embedder.encode(["shoe \ud83d", "shoe ?"])
    assert np.abs(broken - mended).max() < 1e-6
    assert embedder.unknown_share("shoe \ud83d") == 0.0


def test_meaning_is_near(embedder: Embedder) -> None:
    sneaker, trainer, gnome = embedder.encode(["sneakers", "running shoes", "garden gnome"])
    assert sneaker @ trainer > sneaker @ gnome + 0.2


def test_several_threads(embedder: Embedder, by_definition: NDArray[np.float32]) -> None:
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(embedder.encode, [TEXTS[:4]] * 8):
            assert np.abs(vectors - by_definition[:4]).max() < 1e-4


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("black running shoes", 0.0),
        ("naïve crème", 0.0),
        ("кроссовки", 0.0),
        ("跑步鞋", 1.0),
        ("Nike 跑步鞋", 0.75),
        ("", 0.0),
        ("word " * 3000, 0.0),
    ],
)
def test_unknown_share(text: str, share: float, embedder: Embedder) -> None:
    assert embedder.unknown_share(text) == share


def test_the_bundled_model_is_found_by_its_names() -> None:
    for name in (BUNDLED, f"sentence-transformers/{BUNDLED}"):
        assert (Path(find_model(name)) / "config.json").is_file()
    assert find_model("org/other") == "org/other"


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ModelError, match=r"'/no/such/model': there is no such folder"):
        load_embedder("/no/such/model", "cpu")


def test_a_wrong_id_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read at import
    with pytest.raises(ModelError, match=r"'no/such-model' could not be loaded") as refused:
        load_embedder("no/such-model", "cpu")
    assert "unset HF_HUB_OFFLINE" in str(refused.value)


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.json", b"{broken"), ("model.safetensors", b"not weights"), ("config.json", None)],
)
def test_broken_folders_are_told(file: str, content: bytes | None, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(find_model(BUNDLED), folder, copy_function=shutil.copy)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=r"check that the folder holds config\.json") as refused:
        load_embedder(str(folder), "cpu")
    assert str(folder) in str(refused.value)


@pytest.mark.parametrize(("said", "limit"), [(64, 64), (None, 512), (100_000, 512)])
def test_the_models_own_limit(said: int | None, limit: int, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(find_model(BUNDLED), folder, copy_function=shutil.copy)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": said}))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["model_max_length"] = 10**30  # as many checkpoints have it
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert load_embedder(str(folder), "cpu").max_tokens == limit
