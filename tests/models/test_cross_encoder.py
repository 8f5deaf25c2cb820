from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_rerank.errors import ModelError
from es_rerank.models.cross_encoder import load_cross_encoder
from es_rerank.models.runtime import BUNDLED, find_model
from tests.models.conftest import TinyModel, classify

QUERY = "red running shoe"
TEXTS = [
    "red shoe",
    "",
    "blue hat with a garden gnome and the black shoe for running",
    "RED running shoes size a",
    "something unknown",
    "hat",
    "red shoe " * 400,
    "red shoe",
]


def test_one_label_is_the_score(tiny_model: TinyModel) -> None:
    folder = tiny_model(1)
    scores = load_cross_encoder(str(folder), "cpu").score_pairs(QUERY, TEXTS)
    assert scores.shape == (len(TEXTS),)
    assert scores.dtype == np.float64
    assert scores == pytest.approx(classify(folder, QUERY, TEXTS)[:, 0], abs=1e-4)
    assert len(set(scores.round(3))) >= 6  # texts are told apart


def test_of_two_labels_the_difference_is(tiny_model: TinyModel) -> None:
    folder = tiny_model(2)
    logits = classify(folder, QUERY, TEXTS)
    scores = load_cross_encoder(str(folder), "cpu").score_pairs(QUERY, TEXTS)
    assert scores == pytest.approx(logits[:, 1] - logits[:, 0], abs=1e-4)


def test_three_labels_are_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match="has 3 labels; a reranker has one"):
        load_cross_encoder(str(tiny_model(3)), "cpu")


def test_nothing_is_built_that_is_not_run(tiny_model: TinyModel) -> None:
    """The weights are read alone: transformers' models would bring their imports along."""
    code = (
        "import sys; from es_rerank.models.cross_encoder import load_cross_encoder; "
        "from es_rerank.models.embedder import load_embedder; "
        f"load_cross_encoder({str(tiny_model(1))!r}, 'cpu').score_pairs('red', ['shoe']); "
        "load_embedder(device='cpu').encode(['red']); "
        "print([m for m in ('transformers.modeling_utils', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_written_anew_is_not_pulled_away(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model(1), folder)
    model = load_cross_encoder(str(folder), "cpu")
    before = model.score_pairs(QUERY, TEXTS)
    (folder / "model.safetensors").write_bytes(b"")
    assert model.score_pairs(QUERY, TEXTS).tolist() == before.tolist()


def test_no_texts(tiny_model: TinyModel) -> None:
    assert load_cross_encoder(str(tiny_model(1)), "cpu").score_pairs(QUERY, []).shape == (0,)


def test_long_queries_and_half_an_emoji(tiny_model: TinyModel) -> None:
    model = load_cross_encoder(str(tiny_model(1)), "cpu")
    assert model.max_tokens == 48
    assert np.isfinite(model.score_pairs("red " * 500, ["shoe " * 500, "hat"])).all()
    assert np.isfinite(model.score_pairs("red \ud83d", ["shoe \udc00"])).all()


def test_unknown_share(tiny_model: TinyModel) -> None:
    model = load_cross_encoder(str(tiny_model(1)), "cpu")
    assert model.unknown_share("red shoe") == 0.0
    assert model.unknown_share("red 鞋") == 0.5
    assert model.unknown_share("") == 0.0


def test_an_embedder_is_no_reranker() -> None:
    """It would be given a head of random numbers."""
    with pytest.raises(ModelError, match=r"no reranker: its files lack classifier") as refused:
        load_cross_encoder(find_model(BUNDLED), "cpu")
    assert "bi-encoder" in str(refused.value)


def test_missing_and_broken_folders(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        load_cross_encoder(str(tmp_path / "nowhere"), "cpu")
    folder = tmp_path / "model"
    shutil.copytree(tiny_model(1), folder)
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="could not be loaded"):
        load_cross_encoder(str(folder), "cpu")


def test_lists_are_scored_as_one_batch_and_as_each_alone(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_cross_encoder(str(tiny_model(1)), "cpu")
    lists = [(QUERY, TEXTS[:3]), ("blue hat", []), ("garden gnome", TEXTS[3:6])]
    alone = [model.score_pairs(query, texts) for query, texts in lists]
    calls: list[int] = []
    read = model._reader.read

    def count(ids: Sequence[Sequence[int]], types: Any) -> Any:
        calls.append(len(ids))
        return read(ids, types)

    monkeypatch.setattr(model._reader, "read", count)
    together = model.score_lists(lists)
    assert calls == [6]
    for own, batched in zip(alone, together, strict=True):
        assert isinstance(batched, np.ndarray)
        assert batched == pytest.approx(own, abs=1e-4)
    assert model.score_lists([]) == []
