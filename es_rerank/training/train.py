"""The training loop: steps, checkpoints, early stopping, and the share of the plain cosine.

A run lives in a folder and goes on where it was stopped: every step draws its randomness from the
seed and its own number alone, so that a run that was killed ends as one that was not.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from es_rerank.evaluation.measures import ndcg
from es_rerank.models.network import Network, load_encoder
from es_rerank.ranking.blend import mix
from es_rerank.training import losses
from es_rerank.training.adapt import adapt, prune_ranks, trained
from es_rerank.training.dataset import Dataset, Say
from es_rerank.training.groups import Group
from es_rerank.training.pairs import Pairs
from es_rerank.training.recipe import Objective, Recipe

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
LOG = "log.jsonl"
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass
class Run:
    """A network under training. cosine: the weight of the plain cosine. doubt: log variances of
    the two losses, where lambda is learned. average: the averaged weights, by name."""

    network: Network
    cosine: Tensor
    doubt: Tensor
    average: dict[str, Tensor]
    step: int = 0
    best: float = -math.inf
    stale: int = 0


def train(recipe: Recipe, data: Dataset, folder: Path, say: Say) -> Run:
    """Train, or go on. Returns the run with the best averaged weights loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = recipe.schedule
    torch.set_num_threads(plan.threads)
    run = start(recipe)
    pairs = Pairs(recipe.adapter.backbone, data.texts, recipe.adapter.max_tokens)
    optimizer = make_optimizer(recipe, run)
    resume(run, optimizer, folder, say)
    began, before = time.monotonic(), run.step
    with (folder / LOG).open("a") as log:
        while run.step < plan.steps and run.stale < plan.patience:
            told = take_step(recipe, run, optimizer, pairs, data)
            if run.step % 10 == 0 or run.step == plan.steps:
                pace = (time.monotonic() - began) / (run.step - before)
                told |= {"step": run.step, "seconds_per_step": round(pace, 3)}
                log.write(json.dumps(told) + "\n")
                log.flush()
            if run.step % plan.evaluate_every == 0 or run.step == plan.steps:
                validate(recipe, run, pairs, data, folder, say)
            if run.step % plan.checkpoint_every == 0 or run.step == plan.steps:
                save(run, optimizer, folder)
    if (folder / BEST).is_file():
        load_weights(run, torch.load(folder / BEST, weights_only=True)["average"])
    return run


def start(recipe: Recipe) -> Run:
    """A run at its first step.

    Runs on the same labels begin with the same weights, whatever their own seed, so that their mean
    is a model too (Wortsman et al., Model soups, ICML 2022).
    """
    torch.manual_seed(recipe.labels.seed)
    wish = recipe.adapter
    network = Network(load_encoder(wish.backbone), wish.facets)
    adapt(network, wish.method, wish.rank, wish.layers, wish.dropout, recipe.schedule.steps)
    cosine = torch.tensor(recipe.objective.cosine, requires_grad=True)
    doubt = torch.zeros(2, requires_grad=recipe.objective.learn_diversity)
    average = {name: p.detach().clone() for name, p in trained(network).items()}
    return Run(network, cosine, doubt, average)


def make_optimizer(recipe: Recipe, run: Run) -> torch.optim.Optimizer:
    """AdamW or SGD; matrices decay, the rest does not."""
    plan = recipe.schedule
    named = trained(run.network)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in named.values() if p.ndim > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0.0},
        {"params": [run.network.closeness, run.cosine], "weight_decay": 0.0, "scale": 100.0},
    ]
    if run.doubt.requires_grad:
        groups.append({"params": [run.doubt], "weight_decay": 0.0})
    if plan.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=plan.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=plan.learning_rate)


def take_step(
    recipe: Recipe,
    run: Run,
    optimizer: torch.optim.Optimizer,
    pairs: Pairs,
    data: Dataset,
) -> dict[str, Any]:
    """One step of the optimizer. Returns its losses, meaned over its groups."""
    plan = recipe.schedule
    torch.manual_seed(plan.seed * 1_000_003 + run.step)
    chance = random.Random(plan.seed * 1_000_003 + run.step)
    first = run.step * plan.groups_per_step
    taken = [data.train[(first + i) % len(data.train)] for i in range(plan.groups_per_step)]
    for each in optimizer.param_groups:
        each["lr"] = plan.learning_rate * pace_of(recipe, run.step) * each.get("scale", 1.0)
    run.network.train()
    optimizer.zero_grad(set_to_none=True)
    told: dict[str, float] = {}
    size = math.ceil(len(taken) / plan.accumulate)
    for begin in range(0, len(taken), size):
        part = taken[begin : begin + size]
        stuffed = choose_stuffed(part, recipe.labels.stuffed, chance)
        batch = pairs.batch([g.query for g in part], [g.rows.tolist() for g in part], stuffed)
        logits, facets = run.network(**batch)
        at, total = 0, logits.sum() * 0.0
        for group in part:
            end = at + len(group.rows)
            owners = torch.as_tensor(np.unique(data.owners[group.rows], return_inverse=True)[1])
            total = total + group_loss(
                recipe.objective, run, group, logits[at:end], facets[at:end], owners, told
            )
            at = end
        (total / len(taken)).backward()
    torch.nn.utils.clip_grad_norm_(list(trained(run.network).values()), plan.clip)
    optimizer.step()
    run.step += 1
    prune_ranks(run.network, run.step)
    keep = min(plan.average, run.step / (run.step + 10))
    for name, p in trained(run.network).items():
        run.average[name].mul_(keep).add_(p.detach(), alpha=1 - keep)
    told = {name: round(value / len(taken), 4) for name, value in told.items()}
    return {
        **told,
        "cosine": round(float(run.cosine.detach()), 3),
        "closeness": round(float(run.network.closeness.detach()), 3),
    }


def group_loss(
    wish: Objective,
    run: Run,
    group: Group,
    logits: Tensor,
    facets: Tensor,
    owners: Tensor,
    told: dict[str, float],
) -> Tensor:
    """L_relevance + lambda · L_diversity of one group; adds each term to `told`."""
    scores = logits + run.cosine * torch.from_numpy(group.cosines)
    grades = torch.from_numpy(group.grades)
    terms = {
        "listwise": (wish.listwise, losses.listwise),
        "pairwise": (wish.pairwise, losses.pairwise),
        "info_nce": (wish.info_nce, losses.info_nce),
    }
    relevance = logits.sum() * 0.0
    for name, (weight, function) in terms.items():
        if weight:
            value = function(scores, grades)
            told[name] = told.get(name, 0.0) + float(value.detach())
            relevance = relevance + weight * value
    if wish.unfairness:
        unfair = losses.unfairness(scores, grades, owners)
        told["unfairness"] = told.get("unfairness", 0.0) + float(unfair.detach())
        relevance = relevance + wish.unfairness * unfair
    if not group.slate or not wish.diversity:
        return relevance
    form = losses.dpp if wish.diversity_form == "dpp" else losses.softmax_diversity
    diversity = form(scores, facets, group.slate)
    told["diversity"] = told.get("diversity", 0.0) + float(diversity.detach())
    if wish.learn_diversity:
        known = torch.exp(-run.doubt)
        return known[0] * relevance + known[1] * diversity + run.doubt.sum() / 2
    return relevance + wish.diversity * diversity


def choose_stuffed(groups: Sequence[Group], share: float, chance: random.Random) -> list[int]:
    """Places, among all pairs, of bad products that are to quote the query: keyword stuffing."""
    places, at = [], 0
    for group in groups:
        bad = np.flatnonzero(group.grades == 0.0).tolist()
        if bad and chance.random() < share:
            places.append(at + chance.choice(bad))
        at += len(group.rows)
    return places


def pace_of(recipe: Recipe, step: int) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    plan = recipe.schedule
    warm = max(1, round(plan.warmup * plan.steps))
    if step < warm:
        return (step + 1) / warm
    done = (step - warm) / max(plan.steps - warm, 1)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def score_groups(
    network: Network, pairs: Pairs, groups: Sequence[Group]
) -> list[NDArray[np.float64]]:
    """The cross head's logits of each group's products."""
    network.eval()
    found = []
    with torch.inference_mode():
        for group in groups:
            batch = pairs.batch([group.query], [group.rows.tolist()])
            found.append(network(**batch)[0].double().numpy())
    return found


def ndcg_by_group(
    groups: Sequence[Group], scores: Sequence[NDArray[np.floating]]
) -> NDArray[np.float64]:
    """The nDCG@10 of each group in the order of its scores, (groups,)."""
    values = []
    for group, own in zip(groups, scores, strict=True):
        grades = {str(i): float(grade) for i, grade in enumerate(group.grades)}
        values.append(ndcg([str(i) for i in np.argsort(-own, kind="stable")], grades))
    return np.array(values)


def mix_groups(
    groups: Sequence[Group], logits: Sequence[NDArray[np.float64]], share: float
) -> list[NDArray[np.float64]]:
    """What a search is ranked by: logits and plain cosines, as the ranking mixes them."""
    return [
        mix(own, g.cosines.astype(np.float64), share) for g, own in zip(groups, logits, strict=True)
    ]


def choose_share(
    groups: Sequence[Group], logits: Sequence[NDArray[np.float64]]
) -> tuple[float, dict[float, float]]:
    """The share of the plain cosine, by held-out weak labels, and the mean nDCG@10 of every share.

    Of shares that lose less than a standard error to the best the largest is taken (Breiman et al.,
    1984): the cosine has learned from far more than one catalogue's labels, and weak labels on
    topics held out still follow the rules that the model was trained by.
    """
    found = {share: ndcg_by_group(groups, mix_groups(groups, logits, share)) for share in SHARES}
    means = {share: float(values.mean()) for share, values in found.items()}
    best = max(means, key=means.__getitem__)

    def loses_little(share: float) -> bool:
        lost = found[best] - found[share]
        return bool(lost.mean() <= lost.std() / math.sqrt(len(lost)))

    return max(share for share in SHARES if loses_little(share)), means


def validate(recipe: Recipe, run: Run, pairs: Pairs, data: Dataset, folder: Path, say: Say) -> None:
    """Measure the averaged weights on held-out topics, and keep them when they are the best."""
    own = {name: p.detach().clone() for name, p in trained(run.network).items()}
    load_weights(run, run.average)
    logits = score_groups(run.network, pairs, data.held)
    load_weights(run, own)
    share, found = choose_share(data.held, logits)
    best = max(found.values())
    say(
        f"step {run.step}: held-out nDCG@10 {found[0.0]:.4f} alone, {best:.4f} at best with the "
        f"cosine, {found[share]:.4f} with its share {share:g}, cosine alone {found[1.0]:.4f}"
    )
    if best > run.best + 1e-4:
        run.best, run.stale = best, 0
        torch.save({"average": run.average, "step": run.step, "held": found}, folder / BEST)
    else:
        run.stale += 1


def load_weights(run: Run, weights: Mapping[str, Tensor]) -> None:
    """Put weights, by name, into the network."""
    with torch.no_grad():
        for name, p in trained(run.network).items():
            p.copy_(weights[name])


def save(run: Run, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write a checkpoint; the old one stays whole until the new one is."""
    state = {
        "weights": {name: p.detach() for name, p in trained(run.network).items()},
        "average": run.average,
        "cosine": run.cosine.detach(),
        "doubt": run.doubt.detach(),
        "optimizer": optimizer.state_dict(),
        "step": run.step,
        "best": run.best,
        "stale": run.stale,
    }
    torch.save(state, folder / f"{CHECKPOINT}.new")
    (folder / f"{CHECKPOINT}.new").replace(folder / CHECKPOINT)


def resume(run: Run, optimizer: torch.optim.Optimizer, folder: Path, say: Say) -> None:
    """Load the folder's checkpoint, where there is one."""
    if not (folder / CHECKPOINT).is_file():
        return
    state = torch.load(folder / CHECKPOINT, weights_only=True)
    load_weights(run, state["weights"])
    with torch.no_grad():
        run.cosine.copy_(state["cosine"])
        run.doubt.copy_(state["doubt"])
    run.average = state["average"]
    optimizer.load_state_dict(state["optimizer"])
    run.step, run.best, run.stale = state["step"], state["best"], state["stale"]
    say(f"Going on from step {run.step} ...")
