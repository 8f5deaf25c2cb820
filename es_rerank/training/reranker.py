"""`es-rerank train reranker` from end to end: labels, training, measures, the folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from es_rerank.models.embedder import load_embedder
from es_rerank.models.manifest import Manifest
from es_rerank.models.network import Network, load_encoder
from es_rerank.training.adapt import take_adapter
from es_rerank.training.dataset import Dataset, Say, build
from es_rerank.training.export import export, name_catalogues
from es_rerank.training.groups import Group
from es_rerank.training.guards import measure_change, tell_regularisation
from es_rerank.training.pairs import Pairs
from es_rerank.training.recipe import Recipe
from es_rerank.training.report import Figures, Read, report
from es_rerank.training.train import BEST, choose_share, score_groups, train

RECIPE = "recipe.json"


@dataclass(frozen=True)
class Result:
    """What came out. figures: section -> what -> value, on held-out topics."""

    folder: Path
    manifest: Manifest
    figures: Figures


def train_reranker(recipe: Recipe, run: Path, out: Path, say: Say) -> Result:
    """Train by a recipe, or go on with a run that was stopped, and export to `out`.

    run: the folder of checkpoints and logs; a changed recipe starts anew. Raises EsRerankError.
    """
    run.mkdir(parents=True, exist_ok=True)
    if read_begun(run) != recipe:
        for stale in run.glob("*.pt"):
            stale.unlink()
        (run / RECIPE).write_text(recipe.model_dump_json(indent=1))
    torch.set_num_threads(recipe.schedule.threads)
    embedder = load_embedder(recipe.adapter.backbone, "cpu")
    data = build(
        recipe.catalogues,
        recipe.labels,
        recipe.schedule.seed,
        embedder,
        run.parent / "cache",
        say,
        recipe.judged,
    )
    say(f"{len(data.train)} groups to train on, {len(data.held)} windows of topics held out")
    finished = train(recipe, data, run, say)
    steps = finished.step
    if (run / BEST).is_file():
        steps = int(torch.load(run / BEST, weights_only=True)["step"])
    pairs = Pairs(recipe.adapter.backbone, data.texts, recipe.adapter.served_tokens)
    share, _ = choose_share(data.held, score_groups(finished.network, pairs, data.held))
    figures = report(data, read_with(finished.network, pairs), share)
    plain = load_encoder(recipe.adapter.backbone)
    adapter = take_adapter(finished.network, recipe.adapter.method, plain)
    figures["guards"] |= tell_regularisation(recipe, steps, finished.step)
    figures["guards"] |= measure_change(adapter, dict(plain.named_parameters()))
    training = {
        "steps": steps,
        "groups": len(data.train),
        "held_out": len(data.held),
        "catalogues": name_catalogues(recipe.catalogues),
        "data_hash": hash_data(data),
    }
    manifest = export(finished.network, recipe, share, out, training, figures)
    return Result(out, manifest, figures)


def read_begun(run: Path) -> Recipe | None:
    """The recipe that a run was begun by; None without one that can be read."""
    try:
        return Recipe.model_validate_json((run / RECIPE).read_bytes())
    except (OSError, ValidationError):
        return None


def read_with(network: Network, pairs: Pairs) -> Read:
    """How a network reads a group."""

    def read(
        group: Group, stuffed: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        network.eval()
        with torch.inference_mode():
            batch = pairs.batch([group.query], [group.rows.tolist()], stuffed)
            logits, facets = network(**batch)
        return logits.double().numpy(), facets.numpy()

    return read


def hash_data(data: Dataset) -> str:
    """A hash of what was trained on."""
    hashed = hashlib.sha256()
    for group in data.train:
        hashed.update(group.query.encode())
        hashed.update(group.rows.tobytes())
        hashed.update(group.grades.tobytes())
    return hashed.hexdigest()[:16]
