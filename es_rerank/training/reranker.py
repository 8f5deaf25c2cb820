"""`es-rerank train reranker` from end to end: labels, training, measures, the folder."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from es_rerank.models.embedder import load_embedder
from es_rerank.models.manifest import Manifest
from es_rerank.training.dataset import Dataset, Say, build
from es_rerank.training.export import export, name_catalogues
from es_rerank.training.grading import GOOD
from es_rerank.training.groups import Group
from es_rerank.training.pairs import Pairs
from es_rerank.training.recipe import Recipe
from es_rerank.training.train import (
    BEST,
    choose_share,
    mix_groups,
    ndcg_by_group,
    score_groups,
    train,
)

RECIPE = "recipe.json"


@dataclass(frozen=True)
class Result:
    """What came out. figures: name -> value, on held-out topics."""

    folder: Path
    manifest: Manifest
    figures: dict[str, Any]


def train_reranker(recipe: Recipe, run: Path, out: Path, say: Say) -> Result:
    """Train by a recipe, or go on with a run that was stopped, and export to `out`.

    run: the folder of checkpoints and logs; a changed recipe starts anew. Raises EsRerankError.
    """
    run.mkdir(parents=True, exist_ok=True)
    # What is not used must not part a run from those that were begun without it.
    told = recipe.model_dump_json(indent=1, exclude=None if recipe.judged.files else {"judged"})
    if not (run / RECIPE).is_file() or (run / RECIPE).read_text() != told:
        for stale in run.glob("*.pt"):
            stale.unlink()
        (run / RECIPE).write_text(told)
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
    logits = score_groups(finished.network, pairs, data.held)
    share, _ = choose_share(data.held, logits)
    figures = measure(data.held, logits, share)
    training = {
        "steps": steps,
        "groups": len(data.train),
        "held_out": len(data.held),
        "catalogues": name_catalogues(recipe.catalogues),
        "data_hash": hash_data(data),
    }
    manifest = export(finished.network, recipe, share, out, training, figures)
    return Result(out, manifest, figures)


def measure(
    groups: Sequence[Group], logits: Sequence[NDArray[np.float64]], share: float
) -> dict[str, Any]:
    """Ranking before and after on held-out windows, by kind of query, and how well good products
    are told from others where half of the window's range of scores is the border."""
    mixed = mix_groups(groups, logits, share)
    plain, own = (
        ndcg_by_group(groups, [group.cosines for group in groups]),
        ndcg_by_group(groups, mixed),
    )
    before: dict[str, list[float]] = defaultdict(list)
    after: dict[str, list[float]] = defaultdict(list)
    right = found = wanted = 0
    for group, scores, one, other in zip(groups, mixed, plain, own, strict=True):
        for kind in ("all", group.kind):
            before[kind].append(float(one))
            after[kind].append(float(other))
        chosen = scores >= (scores.min() + scores.max()) / 2
        good = group.grades >= GOOD
        right += int((chosen & good).sum())
        found += int(chosen.sum())
        wanted += int(good.sum())
    precision, recall = right / max(found, 1), right / max(wanted, 1)
    figures: dict[str, Any] = {
        f"nDCG@10, {kind} ({len(values)})": f"{np.mean(before[kind]):.3f} by the cosine alone, "
        f"{np.mean(values):.3f} with this model"
        for kind, values in sorted(after.items())
    }
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    told = f"{precision:.3f}, {recall:.3f}, {f1:.3f}"
    figures["precision, recall, F1 of good products"] = told
    return figures


def hash_data(data: Dataset) -> str:
    """A hash of what was trained on."""
    hashed = hashlib.sha256()
    for group in data.train:
        hashed.update(group.query.encode())
        hashed.update(group.rows.tobytes())
        hashed.update(group.grades.tobytes())
    return hashed.hexdigest()[:16]
