"""The reranker as a task of the training loop: its loss, and how good it is on held-out windows."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from es_rerank.evaluation.measures import ndcg
from es_rerank.models.network import Network, load_encoder
from es_rerank.ranking.blend import Weights, blend, mix
from es_rerank.training import losses
from es_rerank.training.adapt import adapt, trained
from es_rerank.training.dataset import Dataset
from es_rerank.training.devices import Team
from es_rerank.training.groups import Group
from es_rerank.training.pairs import Pairs
from es_rerank.training.recipe import Objective, Recipe
from es_rerank.training.train import Measured, Run

AS_SERVED = Weights(relevance=0.65, first_stage=0.35)
"""The settings' defaults."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
DISTIL = {"shares": losses.distil_shares, "margins": losses.distil_margins}


@dataclass
class Reranking:
    """Reads query and text together."""

    recipe: Recipe
    data: Dataset
    team: Team = field(default_factory=Team)

    def __post_init__(self) -> None:
        wish = self.recipe.adapter
        self.pairs = Pairs(wish.backbone, self.data.texts, wish.max_tokens)

    def start(self) -> Run:
        """A run at its first step.

        Runs on the same labels begin with the same weights, whatever their own seed, so that their
        mean is a model too (Wortsman et al., Model soups, ICML 2022).
        """
        recipe, device = self.recipe, self.team.device
        torch.manual_seed(recipe.labels.seed)
        wish = recipe.adapter
        network = Network(load_encoder(wish.backbone), wish.facets)
        adapt(network, wish.method, wish.rank, wish.layers, wish.dropout, recipe.schedule.steps)
        network.to(device)
        cosine = torch.tensor(recipe.objective.cosine, device=device, requires_grad=True)
        doubt = torch.zeros(2, device=device, requires_grad=recipe.objective.learn_diversity)
        average = {name: p.detach().clone() for name, p in trained(network).items()}
        return Run(network, cosine, doubt, average)

    def draw(self, part: Sequence[Group], chance: random.Random) -> Sequence[int]:
        """The places of a part's pairs whose text quotes the query."""
        return choose_stuffed(part, self.recipe.labels.stuffed, chance)

    def lose(
        self, run: Run, part: Sequence[Group], drawn: Sequence[int], told: dict[str, float]
    ) -> Tensor:
        """The groups' losses, summed; adds each term to `told`."""
        rows = [group.rows.tolist() for group in part]
        batch = self.pairs.batch([group.query for group in part], rows, drawn)
        device = self.team.device
        bf16 = self.recipe.schedule.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits, facets = run.network(**{name: v.to(device) for name, v in batch.items()})
        logits, facets = logits.float(), facets.float()
        at = 0
        total: Tensor = logits.sum() * 0.0
        for group in part:
            end = at + len(group.rows)
            owners = np.unique(self.data.owners[group.rows], return_inverse=True)[1]
            own = logits[at:end]
            total = total + group_loss(self.recipe, run, group, own, facets[at:end], owners, told)
            if weight := self.recipe.objective.harm:
                harmful = torch.from_numpy(self.data.harmful[group.rows]).to(device)
                value = losses.harm(own + run.cosine * cosines_of(group, device), harmful)
                told["harm"] = told.get("harm", 0.0) + float(value.detach())
                total = total + weight * value
            at = end
        return total

    def measure(self, run: Run) -> Measured:
        """nDCG@10 of held-out windows by every share of the cosine; the best is gone by."""
        logits = score_groups(run.network, self.pairs, self.data.held)
        share, found = choose_share(self.data.held, logits)
        best = max(found.values())
        text = (
            f"held-out nDCG@10 {found[0.0]:.4f} alone, {best:.4f} at best with the cosine, "
            f"{found[share]:.4f} with its share {share:g}, cosine alone {found[1.0]:.4f}"
        )
        held = {"ndcg10": found[0.0], "ndcg10 at best": best, "ndcg10 by share": found[share]}
        return Measured(best, text, held)


def group_loss(
    recipe: Recipe,
    run: Run,
    group: Group,
    logits: Tensor,
    facets: Tensor,
    owners: NDArray[np.int64],
    told: dict[str, float],
) -> Tensor:
    """L_relevance + lambda · L_diversity of one group; adds each term to `told`."""
    wish: Objective = recipe.objective
    scores = logits + run.cosine * cosines_of(group, logits.device)
    grades = torch.from_numpy(group.grades).to(logits.device)
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
        own = torch.as_tensor(owners, device=logits.device)
        unfair = losses.unfairness(scores, grades, own)
        told["unfairness"] = told.get("unfairness", 0.0) + float(unfair.detach())
        relevance = relevance + wish.unfairness * unfair
    if group.told is not None and recipe.teacher.weight:
        wanted = torch.from_numpy(group.told).to(logits.device)
        value = DISTIL[recipe.teacher.form](scores, wanted, recipe.teacher.temperature)
        told["teacher"] = told.get("teacher", 0.0) + float(value.detach())
        relevance = relevance + recipe.teacher.weight * value
    if not group.slate or not wish.diversity:
        return relevance
    form = losses.dpp if wish.diversity_form == "dpp" else losses.softmax_diversity
    diversity = form(scores, facets, group.slate)
    told["diversity"] = told.get("diversity", 0.0) + float(diversity.detach())
    if wish.learn_diversity:
        known = torch.exp(-run.doubt)
        return known[0] * relevance + known[1] * diversity + run.doubt.sum() / 2
    return relevance + wish.diversity * diversity


def cosines_of(group: Group, device: torch.device) -> Tensor:
    """The plain cosines, (m,)."""
    return torch.from_numpy(group.cosines).to(device)


def choose_stuffed(groups: Sequence[Group], share: float, chance: random.Random) -> list[int]:
    """Places, among all pairs, of bad products that are to quote the query: keyword stuffing."""
    places, at = [], 0
    for group in groups:
        bad = np.flatnonzero(group.grades == 0.0).tolist()
        if bad and chance.random() < share:
            places.append(at + chance.choice(bad))
        at += len(group.rows)
    return places


def score_groups(
    network: Network, pairs: Pairs, groups: Sequence[Group]
) -> list[NDArray[np.float64]]:
    """The cross head's logits of each group's products."""
    network.eval()
    device = network.closeness.device
    found = []
    with torch.inference_mode():
        for group in groups:
            batch = pairs.batch([group.query], [group.rows.tolist()])
            logits = network(**{name: values.to(device) for name, values in batch.items()})[0]
            found.append(logits.double().cpu().numpy())
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
    """The relevance: logits and plain cosines, as the ranking mixes them."""
    return [
        mix(own, g.cosines.astype(np.float64), share) for g, own in zip(groups, logits, strict=True)
    ]


def blend_groups(
    groups: Sequence[Group], relevance: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """What a search is ranked by: beside the relevance the first-stage score, where it is known."""
    return [
        own if g.first_stage is None else blend(g.first_stage.astype(np.float64), own, AS_SERVED)
        for g, own in zip(groups, relevance, strict=True)
    ]


def choose_share(
    groups: Sequence[Group], logits: Sequence[NDArray[np.float64]]
) -> tuple[float, dict[float, float]]:
    """The share of the plain cosine, by held-out weak labels, and the mean nDCG@10 of every share.

    Of shares that lose less than a standard error to the best the largest is taken (Breiman et al.,
    1984): the cosine has learned from far more than one catalogue's labels, and weak labels on
    topics held out still follow the rules that the model was trained by. That is judged as searches
    are ranked, the first-stage score beside both; the means are of the relevance alone.
    """
    mixed = {share: mix_groups(groups, logits, share) for share in SHARES}
    served = {
        share: ndcg_by_group(groups, blend_groups(groups, own)) for share, own in mixed.items()
    }
    best = max(served, key=lambda share: float(served[share].mean()))

    def loses_little(share: float) -> bool:
        lost = served[best] - served[share]
        return bool(lost.mean() <= lost.std() / math.sqrt(len(lost)))

    means = {share: float(ndcg_by_group(groups, own).mean()) for share, own in mixed.items()}
    return max(share for share in SHARES if loses_little(share)), means
