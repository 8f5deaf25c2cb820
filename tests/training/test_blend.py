"""Weights of the blend: what made the grades is found again, and few judgments change little."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from es_rerank.cli.main import cli
from es_rerank.config import load_settings
from es_rerank.errors import DataError
from es_rerank.training.blend import Window, fit, learn_blend, make_windows
from es_rerank.training.suggest.choice import Pool
from tests.training.conftest import COLOURS, TYPES, rows

HALF = np.array([0.5, 0.5])


def make_judged(share: float, count: int, seed: int = 1) -> list[Window]:
    """Windows whose grades follow a blend of that share of the first signal, with noise."""
    chance = np.random.default_rng(seed)
    windows = []
    for q in range(count):
        signals = chance.random((30, 2))
        worth = signals @ np.array([share, 1 - share]) + chance.normal(0, 0.05, 30)
        grades = np.searchsorted(np.quantile(worth, [0.5, 0.75, 0.9]), worth).astype(np.float64)
        windows.append(Window(f"q{q}", signals, grades))
    return windows


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_the_blend_behind_the_grades_is_found(share: float) -> None:
    learnt = learn_blend(make_judged(share, 40), HALF)
    assert learnt.weights[0] == pytest.approx(share, abs=0.07)
    assert learnt.figures["learnt"] >= learnt.figures["the weights before"] - 0.005
    assert learnt.figures["learnt"] > learnt.figures["the engine's score alone"]
    assert 0.5 < learnt.figures["LambdaMART, for comparison"] <= 1


@given(st.floats(0.05, 0.95), st.floats(0.1, 0.9), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_weights_are_shares_and_lie_between_what_was_and_what_is_told(
    share: float, before: float, seed: int
) -> None:
    weights = fit(make_judged(share, 3, seed), np.array([before, 1 - before]))
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)
    low, high = sorted((share, before))
    assert low - 0.15 <= weights[0] <= high + 0.15


def test_what_tells_nothing_is_refused() -> None:
    pool = Pool("q", ["a", "b"], ["a", "b"], {"words": np.ones(2), "model": np.ones(2)}, np.ones(2))
    with pytest.raises(DataError, match="0 queries have a better and a worse"):
        make_windows([pool], {"q": {"a": 3.0}})
    words = Pool("q", ["a", "b"], ["a", "b"], {"words": np.ones(2)}, np.ones(2))
    with pytest.raises(DataError, match="words in common alone"):
        make_windows([words], {"q": {"a": 3.0, "b": 0.0}})


def test_the_command_writes_settings(
    backbone: Path, shop_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    lines = ["query,docid,rating"]
    for kind in TYPES:
        for colour in COLOURS[:2]:
            for row in rows():
                grade = 3 * (row["type"] == kind) * (row["attributes"]["colour"] == colour)
                lines.append(f"{colour} {kind},{row['id']},{grade}")
    Path("judgments.csv").write_text("\n".join(lines))
    own = f'[model]\nkind = "bi-encoder"\nembedder = "{backbone}"\ndevice = "cpu"\n'
    Path("es-rerank.toml").write_text(own)
    arguments = ["--quiet", "train", "blend", "--data", str(shop_folder), "--json"]
    cli.main([*arguments, "--judgments", "judgments.csv"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["queries"] == len(TYPES) * 2
    assert sum(told["weights"]) == pytest.approx(1.0)
    blend = load_settings(Path("blend.toml")).rerank
    found = (blend.relevance_weight, blend.first_stage_weight)
    assert found == pytest.approx(told["weights"], abs=1e-3)
