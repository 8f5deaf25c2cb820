"""A cross-encoder of the usual size that needs no network: MiniLM with a seeded head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SEED = 20


def save_reranker(folder: Path) -> Path:
    """Save all-MiniLM-L6-v2 with a seeded head of one label; its speed is a trained one's.

    Its scores mean nothing: for measuring time and memory alone.
    """
    import torch
    import transformers

    from es_rerank.models.runtime import BUNDLED, find_model

    place = folder / "minilm-seeded-head"
    if (place / "config.json").is_file():
        return place
    library: Any = transformers
    name = find_model(BUNDLED)
    torch.manual_seed(SEED)
    model = library.AutoModelForSequenceClassification.from_pretrained(name, num_labels=1)
    model.save_pretrained(place)
    library.AutoTokenizer.from_pretrained(name).save_pretrained(place)
    return place
