"""Small models quantised, pruned and exported, and loaded back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from es_rerank.errors import ConfigError, ModelError
from es_rerank.models.compact.export import Format, export
from es_rerank.models.compact.folder import MANIFEST, making, read_backend, weigh
from es_rerank.models.compact.labels import LabelledList
from es_rerank.models.compact.prune import prune
from es_rerank.models.compact.quantize import load_quantized, pack, quantize, unpack
from es_rerank.models.cross_encoder import load_cross_encoder
from es_rerank.models.runtime import read_config
from tests.models.conftest import TinyModel

QUERY = "red running shoe"
TEXTS = [
    "red shoe",
    "blue hat with a garden gnome and the black shoe for running",
    "something unknown",
    "hat",
    "red shoe " * 400,
    "size a",
]
LISTS = [LabelledList(QUERY, tuple(TEXTS), np.arange(6.0))]


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_exported_models_score_as_the_original(
    tiny_model: TinyModel, tmp_path: Path, form: Format
) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[form])
    for labels in (1, 2):
        folder = str(tiny_model(labels))
        out = tmp_path / f"made-{labels}"
        with making(out) as place:
            export(folder, place, form)
        original, made = load_cross_encoder(folder, "cpu"), load_cross_encoder(str(out))
        for texts in (TEXTS, TEXTS[:1], TEXTS * 20):  # sizes that were not traced
            expected = original.score_pairs(QUERY, texts)
            assert made.score_pairs(QUERY, texts) == pytest.approx(expected, abs=2e-4)
        assert made.unknown_share("red 鞋") == original.unknown_share("red 鞋")
    assert read_backend(str(out)) is not None
    with pytest.raises(ModelError, match="was made of another model already"):
        export(str(out), tmp_path, form)


def test_quantised_weights_are_within_half_a_step_and_are_not_rounded_again(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = str(tiny_model(1))
    out = tmp_path / "made"
    with making(out) as place:
        quantize(folder, place)
    backend = read_backend(str(out))
    assert backend is not None
    assert (backend.kind, backend.made_of) == ("int8", folder)
    original = load_cross_encoder(folder, "cpu").score_pairs(QUERY, TEXTS)
    made = load_cross_encoder(str(out), "cpu").score_pairs(QUERY, TEXTS)
    assert not np.array_equal(made, original)
    # A net of random weights carries rounding further than a trained one.
    assert np.corrcoef(made, original)[0, 1] > 0.98
    model = load_quantized(str(out), backend, read_config(str(out)))
    again = unpack(pack(model.state_dict()))
    for name, weights in model.state_dict().items():
        assert again[name].numpy() == pytest.approx(weights.float().numpy(), abs=1e-6)
    assert weigh(out) < 0.6 * weigh(Path(folder))


def test_layers_are_dropped(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = str(tiny_model(1))
    out = tmp_path / "made"
    with making(out) as place:
        told = prune(folder, place, LISTS, layers=1)
    assert told["layers"] == (2, 1)
    assert json.loads((out / "config.json").read_text())["num_hidden_layers"] == 1
    scores = load_cross_encoder(str(out), "cpu").score_pairs(QUERY, TEXTS)
    assert np.isfinite(scores).all()
    assert not np.allclose(scores, load_cross_encoder(folder, "cpu").score_pairs(QUERY, TEXTS))
    with pytest.raises(ConfigError, match="the model has 2, so keep 1 to 1"):
        prune(folder, tmp_path, LISTS, layers=2)


def test_words_that_no_text_has_are_dropped_and_the_rest_score_as_before(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder = str(tiny_model(1))
    out = tmp_path / "made"
    known = ["red shoe", "black running hat"]
    with making(out) as place:
        told = prune(folder, place, LISTS, texts=known)
    assert told["tokens"] == (
        45,
        19,
    )  # four specials, five words, and a and nine numbers, of one character
    original, made = load_cross_encoder(folder, "cpu"), load_cross_encoder(str(out), "cpu")
    texts = [*known, "red red hat", "shoe"]
    expected = original.score_pairs("red shoe", texts)
    assert made.score_pairs("red shoe", texts) == pytest.approx(expected, abs=1e-5)
    assert made.unknown_share("garden gnome") == 1.0
    assert made.unknown_share("red hat") == 0.0


def test_a_folder_takes_its_place_once_it_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "made"
    with pytest.raises(ZeroDivisionError), making(out) as place:
        (place / "file").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with making(out) as place:
        (place / "file").write_text("whole")
    assert [file.name for file in out.iterdir()] == ["file"]
    with pytest.raises(ConfigError, match="is there already"), making(out):
        pass


@pytest.mark.parametrize("said", ["{", "{}", '{"kind": "x", "file": "y", "made_of": "z"}'])
def test_a_manifest_that_cannot_be_read(tmp_path: Path, said: str) -> None:
    (tmp_path / MANIFEST).write_text(said)
    with pytest.raises(ModelError, match=MANIFEST):
        read_backend(str(tmp_path))
