"""`es-rerank model`, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from es_rerank.cli.main import cli
from es_rerank.demo.labels import make_labels
from es_rerank.errors import QualityError
from es_rerank.models.cross_encoder import load_cross_encoder
from tests.models.conftest import WORDS as KNOWN
from tests.models.conftest import TinyModel, tiny_model  # noqa: F401 - a fixture


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--json", "model", *arguments])


@pytest.fixture
def labels(tiny_model: TinyModel, tmp_path: Path) -> Path:  # noqa: F811
    """Lists whose gains are the original model's own order: every change can only lose."""
    model = load_cross_encoder(str(tiny_model(1)), "cpu")
    chance = np.random.default_rng(3)
    lines = []
    for _ in range(8):
        texts = [" ".join(chance.choice(KNOWN, 4)) for _ in range(12)]
        query = " ".join(chance.choice(KNOWN, 2))
        gains = np.argsort(np.argsort(model.score_pairs(query, texts))).tolist()
        lines.append(json.dumps({"query": query, "texts": texts, "gains": gains}))
    file = tmp_path / "labels.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_a_model_that_loses_too_much_is_refused_and_kept_by_force(
    tiny_model: TinyModel,  # noqa: F811
    tmp_path: Path,
    labels: Path,
) -> None:
    folder, out = str(tiny_model(1)), tmp_path / "made"
    command = ("prune", folder, str(out), "--layers", "1", "--labels", str(labels))
    refused = run(*command)
    assert isinstance(refused.exception, QualityError)
    assert refused.exception.exit_code == 5
    told = json.loads(refused.stdout)
    assert told["original"]["ndcg"] == pytest.approx(1.0)
    assert told["loss"] > 0.005
    assert told["tau"] < 1
    assert not out.exists()
    forced = run(*command, "--force")
    assert forced.exit_code == 0, forced.output
    assert load_cross_encoder(str(out), "cpu").score_pairs("red", ["hat"]).shape == (1,)


def test_the_table(tiny_model: TinyModel, tmp_path: Path, labels: Path) -> None:  # noqa: F811
    words = tmp_path / "words.txt"
    words.write_text("\n".join(KNOWN))
    folder, out = str(tiny_model(1)), tmp_path / "made"
    done = CliRunner().invoke(
        cli,
        ["model", "prune", folder, str(out), "--vocabulary", str(words), "--labels", str(labels)],
    )
    assert done.exit_code == 0, done.output
    rows = {line[:12].strip(): line[12:].split() for line in done.stdout.splitlines()}
    assert rows["nDCG@10"] == ["1.0000", "1.0000", "-0.0000"] or rows["nDCG@10"][2] == "+0.0000"
    assert rows["order, tau"] == ["1.0000"]
    assert {"size, MB", "pairs/s"} <= rows.keys()
    assert "4 held-out lists" in done.stdout


def test_prune_wants_to_know_what(tiny_model: TinyModel, tmp_path: Path) -> None:  # noqa: F811
    done = run("prune", str(tiny_model(1)), str(tmp_path / "made"))
    assert done.exit_code == 2
    assert "--layers, --vocabulary, or both" in done.output


def test_the_sample_catalogues_labels_tell() -> None:
    lists = make_labels()
    assert len(lists) >= 60
    assert all(len(each.texts) == 20 and each.tells for each in lists)
    assert [each.texts for each in make_labels()] == [each.texts for each in lists]
