"""A tiny cross-encoder as a teacher: what it says is learnt, and asked for once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from es_rerank.errors import ModelError
from es_rerank.training import losses
from es_rerank.training.dataset import Dataset
from es_rerank.training.recipe import Teacher
from es_rerank.training.reranker import train_reranker
from es_rerank.training.reranking import Reranking, score_groups
from es_rerank.training.teacher import ask_teacher
from es_rerank.training.train import Run, train
from tests.models.conftest import classify, tiny_config
from tests.training.conftest import make_recipe


@pytest.fixture(scope="module")
def teacher(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with the backbone's words, and an opinion of its own."""
    import shutil

    import transformers

    library: Any = transformers
    folder = tmp_path_factory.mktemp("teacher")
    for path in backbone.glob("token*"):
        shutil.copy(path, folder)
    size = int(library.AutoConfig.from_pretrained(backbone).vocab_size)
    torch.manual_seed(5)
    config = tiny_config(size, initializer_range=0.5, num_labels=1)
    library.BertForSequenceClassification(config).eval().save_pretrained(folder)
    return folder


def quiet(text: str) -> None:
    """Say nothing."""


def test_the_teacher_is_asked_once(
    teacher: Path, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = Teacher(model=str(teacher), device="cpu")
    groups = data.train[:5]
    told = ask_teacher(groups, data.texts, wish, tmp_path, quiet)
    for group in told:
        assert group.told is not None
        expected = classify(teacher, group.query, [data.texts[row] for row in group.rows])[:, 0]
        assert group.told == pytest.approx(expected, abs=1e-3)
    monkeypatch.setattr("es_rerank.training.teacher.load_teacher", None)
    again = ask_teacher(groups, data.texts, wish, tmp_path, quiet)
    for one, other in zip(told, again, strict=True):
        assert one.told is not None and other.told is not None
        assert np.array_equal(one.told, other.told)
    with pytest.raises(TypeError):  # other groups are new
        ask_teacher(data.train[5:8], data.texts, wish, tmp_path, quiet)


@pytest.mark.parametrize("form", ["shares", "margins"])
def test_the_student_comes_to_score_as_the_teacher(
    form: str, teacher: Path, backbone: Path, shop_folder: Path, data: Dataset, tmp_path: Path
) -> None:
    wish = {"model": str(teacher), "form": form, "device": "cpu"}
    recipe = make_recipe(
        backbone, shop_folder, teacher=wish, adapter={"method": "full"},
        objective={"listwise": 0.0, "pairwise": 0.0, "diversity": 0.0, "cosine": 0.0},
        labels={"stuffed": 0.0}, track={"to": []},
        schedule={
            "steps": 60, "evaluate_every": 60, "learning_rate": 0.003, "average": 0.5,
            "groups_per_step": 4,
        },
    )  # fmt: skip
    groups = ask_teacher(data.train[:4], data.texts, recipe.teacher, tmp_path, quiet)
    task = Reranking(recipe, replace(data, train=groups))

    def agree(run: Run) -> float:
        logits = score_groups(run.network, task.pairs, groups)
        found = []
        for group, own in zip(groups, logits, strict=True):
            assert group.told is not None
            scores = own + float(run.cosine.detach()) * group.cosines
            found.append(np.corrcoef(scores, group.told)[0, 1])
        return float(np.mean(found))

    before = agree(task.start())
    after = agree(train(task, tmp_path / form, quiet))
    assert after > 0.9
    assert before < 0.6


def test_distilling_is_done_where_the_teacher_is_matched() -> None:
    told = torch.tensor([2.0, -1.0, 0.5])
    for loss in (losses.distil_shares, losses.distil_margins):
        assert float(loss(told + 3.0, told, 1.0)) == pytest.approx(0.0, abs=1e-6)
        assert float(loss(-told, told, 1.0)) > 0.5
    pairs = [(0, 1), (0, 2), (1, 2)]
    scores = torch.tensor([0.0, 1.0, 0.0])
    expected = np.mean([float((scores[i] - scores[j] - told[i] + told[j]) ** 2) for i, j in pairs])
    assert float(losses.distil_margins(scores, told, 1.0)) == pytest.approx(expected)


def test_a_recipe_with_a_teacher_trains_from_end_to_end(
    teacher: Path, backbone: Path, shop_folder: Path, tmp_path: Path
) -> None:
    wish = {"model": str(teacher), "device": "cpu"}
    recipe = make_recipe(backbone, shop_folder, teacher=wish, schedule={"steps": 10})
    result = train_reranker(recipe, tmp_path / "run", tmp_path / "model", quiet)
    assert result.manifest.training["recipe"]["teacher"]["model"] == teacher.name
    assert list((tmp_path / "cache").glob("teacher-*.npy"))
    assert '"teacher"' in (tmp_path / "run" / "log.jsonl").read_text()
    with pytest.raises(ModelError, match="no such folder"):
        wrong = recipe.model_copy(update={"teacher": Teacher(model="/nowhere")})
        train_reranker(wrong, tmp_path / "wrong", tmp_path / "model", quiet)
