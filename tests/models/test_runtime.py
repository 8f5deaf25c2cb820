from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from es_rerank.models.runtime import choose_device, find_model, mend_text, plan_batches


@given(st.lists(st.integers(1, 300)), st.integers(1, 2000))
def test_batches_hold_every_text_once_within_the_budget(
    lengths: list[int], token_budget: int
) -> None:
    batches = plan_batches(lengths, token_budget)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= token_budget or len(batch) == 1


@given(st.lists(st.integers(1, 300), min_size=1), st.integers(1, 2000))
def test_batches_go_from_short_to_long_and_are_full(lengths: list[int], token_budget: int) -> None:
    batches = plan_batches(lengths, token_budget)
    ordered = [lengths[i] for batch in batches for i in batch]
    assert ordered == sorted(ordered)
    for batch, following in pairwise(batches):
        assert (len(batch) + 1) * lengths[following[0]] > token_budget


@given(st.text(st.characters()))
def test_mended_text_is_unicode(text: str) -> None:
    mended = mend_text(text)
    assert len(mended.encode().decode()) == len(text)
    if text.isprintable():
        assert mended == text


def test_devices() -> None:
    import torch

    there = choose_device("auto")
    assert there in {"cpu", "cuda", "mps"}
    assert choose_device("cpu") == "cpu"
    assert choose_device(there) == there
    if not torch.cuda.is_available():
        with capture_logs() as logs:
            assert choose_device("cuda:1") == "cpu"
        assert "sees no CUDA card, the CPU is used" in logs[0]["event"]


def test_a_folder_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_model(str(tmp_path)) == str(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert find_model(f"~/{tmp_path.name}") == os.fspath(tmp_path)
