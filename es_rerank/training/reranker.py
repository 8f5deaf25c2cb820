"""`es-rerank train reranker` from end to end: labels, training, measures, the folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from es_rerank.models.embedder import load_embedder
from es_rerank.models.manifest import Manifest, read_manifest
from es_rerank.models.network import Network, load_encoder
from es_rerank.training.adapt import take_adapter
from es_rerank.training.dataset import Dataset, Say, build
from es_rerank.training.devices import join
from es_rerank.training.export import export, name_catalogues
from es_rerank.training.groups import Group
from es_rerank.training.guards import measure_change, tell_regularisation
from es_rerank.training.pairs import Pairs
from es_rerank.training.recipe import Recipe
from es_rerank.training.report import Figures, Read, report
from es_rerank.training.reranking import Reranking, choose_share, score_groups
from es_rerank.training.teacher import ask_teacher
from es_rerank.training.train import BEST, Run, train

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
    with join(recipe.schedule.device) as team:
        with team.leader_first():
            data = prepare(recipe, run, say)
        say(f"{len(data.train)} groups to train on, {len(data.held)} windows of topics held out")
        finished = train(Reranking(recipe, data, team), run, say)
        if team.leads:
            finish(recipe, data, finished, run, out)
        team.wait()
    manifest = read_manifest(out)
    return Result(out, manifest, {name: dict(rows) for name, rows in manifest.card.items()})


def prepare(recipe: Recipe, run: Path, say: Say) -> Dataset:
    """The groups, with what the teacher says of them; a run by another recipe is cleared away."""
    run.mkdir(parents=True, exist_ok=True)
    if (begun := read_begun(run)) is None or begun.settled() != recipe.settled():
        for stale in run.glob("*.pt"):
            stale.unlink()
    (run / RECIPE).write_text(recipe.model_dump_json(indent=1))
    torch.set_num_threads(recipe.schedule.threads)
    embedder = load_embedder(recipe.adapter.backbone, "cpu")
    cache, seed = run.parent / "cache", recipe.schedule.seed
    data = build(recipe.catalogues, recipe.labels, seed, embedder, cache, say, recipe.judged)
    if not recipe.teacher.model:
        return data
    return replace(data, train=ask_teacher(data.train, data.texts, recipe.teacher, cache, say))


def finish(recipe: Recipe, data: Dataset, finished: Run, run: Path, out: Path) -> None:
    """Measure the kept weights and write the model's folder."""
    network = finished.network.cpu()
    steps = kept_step(run, finished)
    pairs = Pairs(recipe.adapter.backbone, data.texts, recipe.adapter.served_tokens)
    share, _ = choose_share(data.held, score_groups(network, pairs, data.held))
    figures = report(data, read_with(network, pairs), share)
    plain = load_encoder(recipe.adapter.backbone)
    adapter = take_adapter(network, recipe.adapter.method, plain)
    figures["guards"] |= tell_regularisation(recipe, steps, finished.step)
    figures["guards"] |= measure_change(adapter, dict(plain.named_parameters()))
    training = {
        "steps": steps,
        "groups": len(data.train),
        "held_out": len(data.held),
        "catalogues": name_catalogues(recipe.catalogues),
        "data_hash": hash_data(data),
    }
    export(network, recipe, share, out, training, figures)


def kept_step(run: Path, finished: Run) -> int:
    """The step whose weights were the best."""
    if not (run / BEST).is_file():
        return finished.step
    return int(torch.load(run / BEST, weights_only=True, map_location="cpu")["step"])


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
