"""How much the engine's score and the model's should count, learnt from judgments.

Of two judged products of a query the better should blend higher: logistic regression on the
differences of their signals (Herbrich, Graepel and Obermayer, 2000; Burges et al., ICML 2005 for
a linear model), each signal scaled to 0..1 over the window as the ranking scales it, no weight
below 0, drawn to the weights before, so that few judgments change little. LambdaMART (Burges,
2010) on the same signals tells what a blend that need not be linear could gain; none is served.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from es_rerank.errors import DataError
from es_rerank.evaluation.measures import ndcg
from es_rerank.ranking.blend import scale
from es_rerank.training.grading import PERFECT
from es_rerank.training.suggest.choice import Pool

SIGNALS = ("relevance", "first_stage")
FOLDS = 5
STEEP = 8.0
"""How sharp the weights before are taken to be: their sum, in logits."""
STRENGTH = 0.05
"""How strongly they hold, beside the sum of the queries' losses."""
K = 10

Array = NDArray[np.float64]
Rank = Callable[[Array], Array]
"""Signals (n, 2) to scores (n,)."""


@dataclass(frozen=True)
class Window:
    """A query's judged candidates. signals: (n, 2) in 0..1, as SIGNALS. grades: (n,) 0 to 3."""

    query: str
    signals: Array
    grades: Array


@dataclass(frozen=True)
class Learnt:
    """weights: (2,), adding up to 1. figures: what -> nDCG@10 on judged products, by
    cross-validation where something was learnt. queries: how many told anything."""

    weights: Array
    figures: Mapping[str, float]
    queries: int


def make_windows(pools: Sequence[Pool], ratings: Mapping[str, Mapping[str, float]]) -> list[Window]:
    """The pools' judged candidates, where one is better than another. Raises DataError."""
    windows = []
    for pool in pools:
        rated = ratings.get(pool.query, {})
        at = [i for i, key in enumerate(pool.ids) if key in rated]
        grades = np.array([rated[pool.ids[i]] for i in at], dtype=np.float64)
        if len(at) < 2 or grades.max() == grades.min():
            continue
        model = pool.scores.get("model", pool.scores.get("vectors"))
        if model is None:
            raise DataError(
                "the model is words in common alone: there is nothing to blend the engine's score "
                "with. Name a cross-encoder or a bi-encoder in [model]"
            )
        signals = np.column_stack([scale(model), scale(pool.scores["words"])])
        windows.append(Window(pool.query, signals[at], grades))
    if len(windows) < FOLDS:
        raise DataError(
            f"{len(windows)} queries have a better and a worse judged product among their "
            f"candidates, and {FOLDS} are the least: judge more, or look deeper with --depth"
        )
    return windows


def learn_blend(windows: Sequence[Window], before: Array) -> Learnt:
    """Weights from all windows, and how good they are on queries left out. before: (2,)."""
    figures = {
        "the engine's score alone": measure(windows, lambda x: x[:, 1]),
        "the model's alone": measure(windows, lambda x: x[:, 0]),
        "the weights before": measure(windows, lambda x: x @ before),
        "learnt": cross_validate(windows, lambda some: weigh(fit(some, before))),
    }
    if importlib.util.find_spec("lightgbm") is not None:
        figures["LambdaMART, for comparison"] = cross_validate(windows, grow)
    return Learnt(fit(windows, before), figures, len(windows))


def fit(windows: Sequence[Window], before: Array) -> Array:
    """Weights (2,) that add up to 1."""
    start = before / before.sum() * STEEP
    pairs = [pair_up(window) for window in windows]

    def loss(weights: Array) -> tuple[float, Array]:
        off = weights - start
        value, slope = STRENGTH * off @ off / 2, STRENGTH * off
        for differences, gains in pairs:
            margins = differences @ weights
            value += gains @ np.logaddexp(0, -margins)
            slope = slope - differences.T @ (gains / (1 + np.exp(margins)))
        return float(value), slope

    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * 2)
    weights: Array = found.x
    shares: Array = weights / weights.sum() if weights.sum() > 0 else before / before.sum()
    return shares


def pair_up(window: Window) -> tuple[Array, Array]:
    """Differences (p, 2) of each better product to each worse one, and what each pair counts, (p,),
    adding up to 1."""
    ahead = window.grades[:, None] - window.grades[None, :]
    better, worse = np.nonzero(ahead > 0)
    gains = ahead[better, worse]
    return window.signals[better] - window.signals[worse], gains / gains.sum()


def weigh(weights: Array) -> Rank:
    """The linear blend."""
    return lambda signals: signals @ weights


def grow(windows: Sequence[Window]) -> Rank:
    """LambdaMART."""
    import lightgbm

    ranker = lightgbm.LGBMRanker(
        n_estimators=50, num_leaves=7, min_child_samples=10, learning_rate=0.1, verbose=-1,
        n_jobs=1, random_state=1,
    )  # fmt: skip
    ranker.fit(
        np.concatenate([window.signals for window in windows]),
        np.concatenate([np.rint(window.grades) for window in windows]).astype(np.int64),
        group=[len(window.grades) for window in windows],
    )
    return lambda signals: np.asarray(ranker.predict(signals), dtype=np.float64)


def cross_validate(windows: Sequence[Window], teach: Callable[[Sequence[Window]], Rank]) -> float:
    """Mean nDCG@10 of each query by what the other folds taught; a query is in one fold."""
    order = sorted(windows, key=lambda window: hashlib.sha256(window.query.encode()).digest())
    total = 0.0
    for fold in range(FOLDS):
        tested = order[fold::FOLDS]
        taught = [window for i, window in enumerate(order) if i % FOLDS != fold]
        total += measure(tested, teach(taught)) * len(tested)
    return total / len(order)


def measure(windows: Sequence[Window], rank: Rank) -> float:
    """Mean nDCG@10 of the judged products."""
    values = []
    for window in windows:
        order = np.argsort(-rank(window.signals), kind="stable")
        grades = {str(i): float(g) for i, g in enumerate(np.minimum(window.grades, PERFECT))}
        values.append(ndcg([str(i) for i in order], grades, K))
    return float(np.mean(values))


def dump_blend(learnt: Learnt) -> str:
    """The weights as settings."""
    told = "\n".join(f"# {value:.4f}  {name}" for name, value in learnt.figures.items())
    relevance, first_stage = learnt.weights
    return (
        f"# nDCG@{K} on the judged products of {learnt.queries} queries:\n{told}\n[rerank]\n"
        f"relevance_weight = {relevance:.3f}\nfirst_stage_weight = {first_stage:.3f}\n"
    )
