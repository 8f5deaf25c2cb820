"""Our own rerankers quantised and pruned, and loaded back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from es_rerank.cli.main import cli
from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.compact.labels import LabelledList
from es_rerank.models.compact.reranker import copy_changed, prune_reranker, quantize_reranker
from es_rerank.models.manifest import DEFAULT, read_manifest
from es_rerank.models.reranker import load_reranker

QUERY = "quiet keyboard for the office"
TEXTS = [
    "Silent wireless keyboard. Soft keys for shared rooms.",
    "Mechanical keyboard with loud clicky switches.",
    "Office chair. Mesh back.",
    "Garden hose, 20 m.",
]
LISTS = [LabelledList(QUERY, tuple(TEXTS), np.array([3.0, 1.0, 0.0, 0.0]))]


def test_quantised_it_is_read_in_int8_unless_the_settings_say_otherwise(tmp_path: Path) -> None:
    quantize_reranker(DEFAULT, tmp_path)
    assert read_manifest(tmp_path).precision == "int8"
    exact = load_reranker(DEFAULT, "cpu", "fp32")
    made, asked = load_reranker(tmp_path, "cpu"), load_reranker(tmp_path, "cpu", "fp32")
    expected = exact.score_pairs(QUERY, TEXTS)
    assert asked.score_pairs(QUERY, TEXTS) == pytest.approx(expected, abs=1e-5)
    found = made.score_pairs(QUERY, TEXTS)
    assert not np.allclose(found, expected, atol=1e-3)
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    assert made.identity != exact.identity  # or scores of one would be kept for the other
    with pytest.raises(ModelError, match="was quantised already"):
        quantize_reranker(tmp_path, tmp_path / "again")


def test_pruned_it_reads_by_fewer_layers(tmp_path: Path) -> None:
    prune_reranker(DEFAULT, tmp_path, LISTS, 5, words=False)
    kept = read_manifest(tmp_path).layers
    assert len(kept) == 5
    assert sorted(set(kept)) == list(kept)
    made = load_reranker(tmp_path, "cpu").score_pairs(QUERY, TEXTS)
    assert made.argmax() == 0
    assert not np.allclose(made, load_reranker(DEFAULT, "cpu").score_pairs(QUERY, TEXTS))
    with pytest.raises(ModelError, match="was pruned already"):
        prune_reranker(tmp_path, tmp_path / "again", LISTS, 4, words=False)


def test_all_layers_named_are_all_layers(tmp_path: Path) -> None:
    copy_changed(DEFAULT, tmp_path, replace(read_manifest(DEFAULT), layers=tuple(range(6))))
    expected = load_reranker(DEFAULT, "cpu").score_pairs(QUERY, TEXTS)
    assert load_reranker(tmp_path, "cpu").score_pairs(QUERY, TEXTS) == pytest.approx(expected)
    copy_changed(DEFAULT, tmp_path, replace(read_manifest(DEFAULT), layers=(0, 6)))
    with pytest.raises(ModelError, match="do not fit"):
        load_reranker(tmp_path, "cpu")


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="prune its --layers"):
        prune_reranker(DEFAULT, tmp_path, LISTS, None, words=True)
    with pytest.raises(ConfigError, match="--layers 6: the model has 6"):
        prune_reranker(DEFAULT, tmp_path, LISTS, 6, words=False)
    arguments = ["model", "export", "default", str(tmp_path / "out"), "--format", "onnx"]
    result = CliRunner().invoke(cli, arguments)
    assert isinstance(result.exception, ConfigError)
    assert "cross-encoders can be exported" in str(result.exception)
