"""What a change cost: how large, how fast and how good a model is beside the one it was made of."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from es_rerank.errors import QualityError
from es_rerank.models.compact.folder import weigh
from es_rerank.models.compact.labels import LabelledList

DEPTH = 10
MOST_LOSS = 0.005
"""nDCG@10 that a made model may lose on held-out labels."""
ROUNDS = 5
TIMED_PAIRS = 200
Scores = NDArray[np.float64]


class PairModel(Protocol):
    """What scores a query's texts."""

    def score_pairs(self, query: str, texts: Sequence[str]) -> Scores: ...


@dataclass(frozen=True)
class Measured:
    """megabytes: of the folder. pairs_per_s: the median of five rounds. ndcg: the mean nDCG@10."""

    megabytes: float
    pairs_per_s: float
    ndcg: float


@dataclass(frozen=True)
class Comparison:
    """A model beside its original. tau: mean Kendall's tau-b of their orders. lists: how many."""

    original: Measured
    made: Measured
    tau: float
    lists: int

    @property
    def loss(self) -> float:
        """nDCG@10 that was lost; negative where it was won."""
        return self.original.ndcg - self.made.ndcg


def compare(
    original: PairModel,
    made: PairModel,
    lists: Sequence[LabelledList],
    folders: tuple[Path, Path],
) -> Comparison:
    """Measure both on the same lists, their speed in turns so that both meet the same machine."""
    scored = [
        [model.score_pairs(each.query, each.texts) for each in lists] for model in (original, made)
    ]
    speeds = time_in_turns((original, made), lists)
    measured = [
        Measured(
            weigh(folder) / 1e6,
            speed,
            float(np.mean([ndcg(e.gains, s) for e, s in zip(lists, scores, strict=True)])),
        )
        for folder, speed, scores in zip(folders, speeds, scored, strict=True)
    ]
    taus = [kendall(one, other) for one, other in zip(*scored, strict=True)]
    return Comparison(measured[0], measured[1], float(np.mean(taus)), len(lists))


def time_in_turns(models: Sequence[PairModel], lists: Sequence[LabelledList]) -> list[float]:
    """Pairs a second of each model, the median of five rounds."""
    timed: list[LabelledList] = []
    for each in lists:
        if sum(len(one.texts) for one in timed) < TIMED_PAIRS:
            timed.append(each)
    pairs = sum(len(each.texts) for each in timed)
    seconds: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for own, model in zip(seconds, models, strict=True):
            began = time.perf_counter()
            for each in timed:
                model.score_pairs(each.query, each.texts)
            own.append(time.perf_counter() - began)
    return [pairs / float(np.median(own)) for own in seconds]


def ndcg(gains: Scores, scores: Scores, depth: int = DEPTH) -> float:
    """Normalised discounted cumulated gain (Jarvelin and Kekalainen, 2002), linear in the gains.

    Texts that score alike keep their order.
    """
    discounts = 1 / np.log2(np.arange(2, min(depth, len(gains)) + 2))
    order = np.argsort(-scores, kind="stable")[:depth]
    best = np.sort(gains)[::-1][:depth] @ discounts
    return float(gains[order] @ discounts / best) if best > 0 else 1.0


def kendall(one: Scores, other: Scores) -> float:
    """Kendall's tau-b of two orders of the same texts, -1 to 1; 1 where all are alike."""
    from scipy.stats import kendalltau  # slow to import

    alike = [len(np.unique(scores)) < 2 for scores in (one, other)]
    return float(all(alike)) if any(alike) else float(kendalltau(one, other).statistic)


def check(comparison: Comparison) -> None:
    """Raises QualityError where more was lost than may be."""
    if comparison.loss > MOST_LOSS:
        raise QualityError(
            f"the model loses {comparison.loss:.4f} nDCG@{DEPTH} on {comparison.lists} held-out "
            f"lists, more than {MOST_LOSS}: nothing was written. Change it less, judge by labels "
            "of your own (--labels), or keep it all the same with --force"
        )
