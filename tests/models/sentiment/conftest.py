"""A tiny sequence classifier with labels of one's choice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.models.conftest import save_words, tiny_config

TinyClassifier = Callable[[Sequence[str]], Path]


@pytest.fixture
def tiny_classifier(tmp_path: Path) -> TinyClassifier:
    """Save a BERT classifier of two layers with these labels."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    library: Any = transformers

    def make(labels: Sequence[str]) -> Path:
        folder = tmp_path / "-".join(labels).replace(" ", "_")
        size = save_words(folder, ["good", "bad", "lamp", "very"])
        torch.manual_seed(len(labels))
        config = tiny_config(
            size,
            initializer_range=0.5,
            id2label=dict(enumerate(labels)),
            label2id={label: place for place, label in enumerate(labels)},
        )
        library.BertForSequenceClassification(config).eval().save_pretrained(folder)
        return folder

    return make
