"""What the model's card tells: ranking, classification and variety before and after, and guards.

All on windows of topics held out. Before is the cosine alone; after is this model with its share
of the cosine, and where it says so with the DPP by the default settings.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from es_rerank.config.rerank import DiversifySettings
from es_rerank.evaluation.measures import ild
from es_rerank.evaluation.variety import coverage, exposure, gini
from es_rerank.ranking.blend import scale
from es_rerank.ranking.diversity.dpp import greedy_map
from es_rerank.ranking.diversity.kernel import KernelWeights, build_kernel
from es_rerank.training.dataset import Dataset
from es_rerank.training.grading import GOOD
from es_rerank.training.groups import Group
from es_rerank.training.guards import check_leakage, measure_fit, measure_stuffing
from es_rerank.training.reranking import mix_groups, ndcg_by_group

K = 10

Read = Callable[[Group, Sequence[int]], tuple[NDArray[np.float64], NDArray[np.float32]]]
"""Logits (m,) and facets (m, e) of a group's products, those at the places quoting the query."""
Scores = Sequence[NDArray[np.float64]]
Figures = dict[str, dict[str, str]]
"""Section -> what -> figures, as the card shows them."""


def report(data: Dataset, read: Read, share: float) -> Figures:
    """Every section. Raises DataError where training and testing share a query."""
    leakage = check_leakage(data)
    found = [read(group, ()) for group in data.held]
    logits = [own for own, _ in found]
    mixed = mix_groups(data.held, logits, share)
    return {
        "ranking": compare_ranking(data.held, mixed),
        "good products": classify(data.held, mixed),
        f"the first {K}": compare_variety(data, mixed, [facets for _, facets in found]),
        "guards": {
            **measure_fit(data, lambda group: read(group, ())[0], logits, share),
            **measure_stuffing(data.held, read, logits),
            **leakage,
        },
    }


def compare_ranking(groups: Sequence[Group], mixed: Scores) -> dict[str, str]:
    """nDCG@10 before and after, by kind of query."""
    plain = ndcg_by_group(groups, [group.cosines for group in groups])
    before: dict[str, list[float]] = defaultdict(list)
    after: dict[str, list[float]] = defaultdict(list)
    for group, one, other in zip(groups, plain, ndcg_by_group(groups, mixed), strict=True):
        for kind in ("all", group.kind):
            before[kind].append(float(one))
            after[kind].append(float(other))
    return {
        f"nDCG@{K}, {kind} ({len(values)})": f"{np.mean(before[kind]):.3f} by the cosine alone, "
        f"{np.mean(values):.3f} with this model"
        for kind, values in sorted(after.items())
    }


def classify(groups: Sequence[Group], mixed: Scores) -> dict[str, str]:
    """How well good products are told from others, half of a window's range being the border."""
    said = np.concatenate([own >= (own.min() + own.max()) / 2 for own in mixed])
    good = np.concatenate([group.grades >= GOOD for group in groups])
    told = {}
    for name, meant in (("good", True), ("others", False)):
        chosen, wanted = said == meant, good == meant
        right = float((chosen & wanted).sum())
        precision, recall = right / max(chosen.sum(), 1), right / max(wanted.sum(), 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        figures = f"{precision:.3f}, {recall:.3f}, {f1:.3f}"
        told[f"{name} ({int(wanted.sum())}): precision, recall, F1"] = figures
    areas = [
        area
        for group, own in zip(groups, mixed, strict=True)
        if math.isfinite(area := find_area(own, group.grades >= GOOD))
    ]
    told["accuracy, area under the ROC"] = f"{(said == good).mean():.3f}, {np.mean(areas):.3f}"
    return told


def find_area(scores: NDArray[np.float64], good: NDArray[np.bool_]) -> float:
    """How often a good one scores above another (Hanley and McNeil, 1982); nan without both."""
    ahead = scores[good][:, None] - scores[~good][None, :]
    return float(((ahead > 0) + 0.5 * (ahead == 0)).mean()) if ahead.size else math.nan


def compare_variety(
    data: Dataset, mixed: Scores, facets: Sequence[NDArray[np.float32]]
) -> dict[str, str]:
    """Distance, brands and fairness by the cosine, with this model, and with the DPP on top."""
    orders = {
        "by the cosine alone": [rank_down(group.cosines) for group in data.held],
        "with this model": [rank_down(own) for own in mixed],
        "and with the DPP": spread(data, mixed, facets),
    }
    rows: dict[str, list[str]] = defaultdict(list)
    for name, chosen in orders.items():
        for what, value in measure_variety(data, chosen).items():
            rows[what].append(f"{value:.3f} {name}")
    return {what: ", ".join(values) for what, values in rows.items()}


def measure_variety(data: Dataset, orders: Sequence[NDArray[np.int64]]) -> Mapping[str, float]:
    """Means over the windows, in these orders.

    Exposure is compared among the brands of products that are equally good: those of the window's
    best grade. Who has more of them is not held against a ranking, only who is shown more for as
    many.
    """
    distance, brands, fair, relevance, harm = [], [], [], [], []
    for group, order in zip(data.held, orders, strict=True):
        owners = data.owners[group.rows].tolist()
        placed = [owners[i] for i in order]
        distance.append(ild(data.vectors[group.rows[order]], K))
        brands.append(coverage(placed, owners, K))
        fair.append(find_unfairness(placed, group.grades[order]))
        harm.append(find_harm(data.harmful[group.rows[order]]))
        ranks = -np.argsort(order, kind="stable").astype(np.float64)
        relevance.append(float(ndcg_by_group([group], [ranks])[0]))
    return {
        f"nDCG@{K}": float(np.mean(relevance)),
        f"ILD@{K}": mean_known(distance),
        f"brands@{K} of those there are": mean_known(brands),
        "Gini of exposure, equally good brands": mean_known(fair),
        f"exposure@{K} of toxic or biased texts, where there are": mean_known(harm),
    }


def find_unfairness(owners: Sequence[int], grades: NDArray[np.float32]) -> float:
    """Gini of what each owner of a best product is seen per such product; nan for one owner.

    owners, grades: (m,) in the order shown. Exposure as in `evaluation.variety`.
    """
    best = [
        owner if grade == grades.max() else None
        for owner, grade in zip(owners, grades, strict=True)
    ]
    known = sorted({owner for owner in best if owner is not None})
    if len(known) < 2:
        return math.nan
    counts = np.array([best.count(owner) for owner in known])
    return float(gini(exposure({"": best}, known, len(best))[0] / counts))


def find_harm(harmful: NDArray[np.bool_]) -> float:
    """The share of the first ten's exposure, 1 / log2(place + 1), that harmful texts have; nan
    where there are none at all. harmful: (m,) in the order shown."""
    if not harmful.any():
        return math.nan
    seen = 1 / np.log2(np.arange(2, min(K, len(harmful)) + 2))
    return float(seen @ harmful[:K] / seen.sum())


def mean_known(values: Sequence[float]) -> float:
    """The mean of those that are numbers; nan where none is."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def rank_down(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """Places by falling score, (m,); ties stay."""
    return np.argsort(-scores, kind="stable")


def spread(
    data: Dataset, mixed: Scores, facets: Sequence[NDArray[np.float32]]
) -> list[NDArray[np.int64]]:
    """The windows in the order of the DPP by the default settings."""
    wish = DiversifySettings()
    weights = KernelWeights(wish.vector_weight, wish.attribute_weight, wish.facet_weight)
    orders = []
    for group, scores, own in zip(data.held, mixed, facets, strict=True):
        brands = {"brand": [str(owner) for owner in data.owners[group.rows]]}
        kernel = build_kernel(len(scores), data.vectors[group.rows], None, brands, weights, own)
        assert kernel is not None, "vectors are there"
        orders.append(greedy_map(scale(scores), kernel, wish.diversity))
    return orders
