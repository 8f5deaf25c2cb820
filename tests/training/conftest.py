"""A catalogue of a few dozen products, and a tiny backbone that can be trained in seconds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from es_rerank.training.catalogue import Product, load_catalogue
from tests.models.conftest import save_words, tiny_config

BRANDS = ("Acme", "Bolt", "Corax")
COLOURS = ("red", "blue", "black")
TYPES = {
    "running shoes": "for the road",
    "garden gnome": "stands in any weather",
    "sun hat": "keeps the sun off your face",
    "shoe rack": "holds many shoes",
}


def rows() -> list[dict[str, Any]]:
    """One product for each type, brand and colour."""
    return [
        {
            "id": f"p{number}",
            "title": f"{brand} {kind} {colour} {number}",
            "description": f"This {kind} {TYPES[kind]} all year. Comes in {colour}.",
            "brand": brand,
            "type": kind,
            "attributes": {"colour": colour, "waterproof": "yes" if number % 2 else "no"},
        }
        for number, (kind, brand, colour) in enumerate(
            itertools.product(TYPES, BRANDS, COLOURS), start=100
        )
    ]


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The catalogue as a folder."""
    folder = tmp_path_factory.mktemp("shop")
    lines = "\n".join(json.dumps(row) for row in rows())
    (folder / "products.jsonl").write_text(lines + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def products(shop_folder: Path) -> list[Product]:
    """The catalogue as products."""
    return load_catalogue(shop_folder)


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers whose words are the catalogue's."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    library: Any = transformers
    folder = tmp_path_factory.mktemp("backbone")
    told = " ".join(f"{row['title']} {row['description']}" for row in rows()).lower()
    words = dict.fromkeys(told.replace(".", " . ").split())
    names = ["input_ids", "token_type_ids", "attention_mask"]
    size = save_words(folder, list(words), model_input_names=names)
    torch.manual_seed(3)
    config = tiny_config(size, initializer_range=0.3)
    library.BertModel(config).eval().save_pretrained(folder)
    return folder
