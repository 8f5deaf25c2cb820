"""A catalogue of a few dozen products, and a tiny backbone that can be trained in seconds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from es_rerank.models.embedder import load_embedder
from es_rerank.training.catalogue import Product, load_catalogue
from es_rerank.training.dataset import Dataset, build
from es_rerank.training.recipe import Recipe
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


def make_recipe(backbone: Path, shop: Path, **changes: Any) -> Recipe:
    """A recipe of seconds; changes: part -> settings."""
    parts: dict[str, dict[str, Any]] = {
        "labels": {"wishes": 60, "group": 6, "held_out": 0.2, "validation": 8, "window": 8},
        "adapter": {
            "backbone": str(backbone), "rank": 4, "layers": 2, "max_tokens": 32,
            "served_tokens": 40, "facets": 8,
        },
        "objective": {},
        "schedule": {
            "steps": 12, "learning_rate": 0.01, "evaluate_every": 6, "checkpoint_every": 3,
        },
    }  # fmt: skip
    for name, settings in changes.items():
        parts.setdefault(name, {}).update(settings)
    return Recipe.model_validate({"catalogues": [str(shop)], **parts})


@pytest.fixture(scope="session")
def data(backbone: Path, shop_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The catalogue's groups."""
    recipe = make_recipe(backbone, shop_folder)
    cache = tmp_path_factory.mktemp("cache")
    embedder = load_embedder(str(backbone), "cpu")
    found = build(recipe.catalogues, recipe.labels, 1, embedder, cache, lambda _: None)
    assert list(cache.glob("vectors-*.npy"))
    return found
