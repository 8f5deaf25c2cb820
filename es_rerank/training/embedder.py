"""`es-rerank train embedder` from end to end: the same weak labels, a folder of an embedder.

The adapter is merged: the folder is a model as transformers and sentence-transformers read it, and
`[model] embedder` or a bi-encoder's `name` takes it like any other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from es_rerank.errors import ConfigError
from es_rerank.models.embedder import Embedder, load_embedder
from es_rerank.models.manifest import hash_file
from es_rerank.models.network import hash_backbone, merge_adapter
from es_rerank.models.runtime import load_pretrained
from es_rerank.training.adapt import take_adapter
from es_rerank.training.dataset import Dataset, Say
from es_rerank.training.devices import join
from es_rerank.training.embedding import Embedding, load_plain
from es_rerank.training.export import CARD, LIBRARIES, describe_recipe, find_version, list_figures
from es_rerank.training.groups import Group
from es_rerank.training.guards import (
    check_leakage,
    measure_change,
    measure_fit,
    tell_regularisation,
)
from es_rerank.training.recipe import Recipe
from es_rerank.training.report import Figures, compare_ranking
from es_rerank.training.reranker import hash_data, kept_step, prepare
from es_rerank.training.train import Run, train

TOLD = "training.json"
POOLING = {
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}
MODULES = (
    ("", "sentence_transformers.models.Transformer"),
    ("1_Pooling", "sentence_transformers.models.Pooling"),
    ("2_Normalize", "sentence_transformers.models.Normalize"),
)


@dataclass(frozen=True)
class Trained:
    """What came out. figures: section -> what -> value, on held-out topics."""

    folder: Path
    figures: Figures


def train_embedder(recipe: Recipe, run: Path, out: Path, say: Say) -> Trained:
    """Train by a recipe, or go on with a run that was stopped, and save to `out`.

    run: the folder of checkpoints and logs; a changed recipe starts anew. Raises EsRerankError.
    """
    if recipe.adapter.method == "houlsby":
        raise ConfigError(
            "[adapter] method = 'houlsby' cannot be merged into an embedder's own weights: take "
            "lora, adalora, top or full"
        )
    with join(recipe.schedule.device) as team:
        with team.leader_first():
            data = prepare(recipe, run, say)
        say(f"{len(data.train)} groups to train on, {len(data.held)} windows of topics held out")
        finished = train(Embedding(recipe, data, team), run, say)
        if team.leads:
            save_embedder(recipe, data, finished, run, out)
        team.wait()
    return Trained(out, json.loads((out / TOLD).read_text(encoding="utf-8"))["card"])


def save_embedder(recipe: Recipe, data: Dataset, finished: Run, run: Path, out: Path) -> None:
    """Write the folder, and measure it as it will serve."""
    backbone = recipe.adapter.backbone
    plain = load_plain(backbone)
    adapter = take_adapter(finished.network.cpu(), recipe.adapter.method, plain, torch.float32)
    change = measure_change(adapter, dict(plain.named_parameters()))
    merge_adapter(plain, adapter)
    write_model(plain, backbone, out)
    served = load_embedder(str(out), "cpu")
    steps = kept_step(run, finished)
    scores = [score(served, group, data) for group in data.held]
    figures = {
        "ranking": compare_ranking(data.held, scores),
        "guards": {
            **measure_fit(
                data,
                lambda group: score(served, group, data),
                scores,
                0.0,
            ),
            **check_leakage(data),
            **tell_regularisation(recipe, steps, finished.step),
            **change,
        },
    }
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != TOLD)
    told = {
        "backbone": backbone,
        "backbone_hash": hash_backbone(backbone),
        "steps": steps,
        "groups": len(data.train),
        "held_out": len(data.held),
        "data_hash": hash_data(data),
        "recipe": describe_recipe(recipe),
        "libraries": {name: find_version(name) for name in LIBRARIES},
        "hashes": {path.relative_to(out).as_posix(): hash_file(path) for path in files},
        "card": figures,
    }
    (out / TOLD).write_text(json.dumps(told, indent=1, ensure_ascii=False), encoding="utf-8")
    (out / CARD).write_text(write_card(told), encoding="utf-8")


def score(embedder: Embedder, group: Group, data: Dataset) -> NDArray[np.float64]:
    """The cosines of a group's products, (m,)."""
    vectors = embedder.encode([group.query, *(data.texts[row] for row in group.rows)])
    cosines: NDArray[np.float64] = (vectors[1:] @ vectors[0]).astype(np.float64)
    return cosines


def write_model(encoder: Any, backbone: str, out: Path) -> None:
    """The encoder with its tokenizer and what says how it is pooled, as the backbone's folder."""
    from transformers import AutoTokenizer

    limit = load_embedder(backbone, "cpu").max_tokens
    out.mkdir(parents=True, exist_ok=True)
    encoder.save_pretrained(out)
    load_pretrained(AutoTokenizer, backbone).save_pretrained(out)
    modules = []
    for number, (folder, kind) in enumerate(MODULES):
        modules.append({"idx": number, "name": str(number), "path": folder, "type": kind})
        (out / folder).mkdir(exist_ok=True)
    width = int(encoder.config.hidden_size)
    written: Mapping[str, Any] = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": width, **POOLING},
        "sentence_bert_config.json": {"max_seq_length": limit, "do_lower_case": False},
    }
    for name, value in written.items():
        (out / name).write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_card(told: Mapping[str, Any]) -> str:
    """The model card."""
    recipe = told["recipe"]
    return f"""# An embedder for es-rerank

Makes a vector of a query or of a product's text; their cosine says how well they suit each other.

- Backbone: {told["backbone"]}, whose weights were changed and are all in this folder.
- Training: {recipe["adapter"]["method"]}, seed {recipe["schedule"]["seed"]}, {told["steps"]} steps,
  contrastive, on weak labels made from catalogues ({", ".join(recipe["catalogues"])}).
- Vectors stored by another model do not compare with its: reindex with it.

Measured on held-out weak labels, topics never trained on; "the cosine alone" is the backbone's:
{list_figures(told["card"])}
"""
