"""Blending relevance with the first-stage score into one score between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
NOISE = 1e-6  # of a score's own size: what float32 leaves to the order of its sums


@dataclass(frozen=True)
class Weights:
    """How much each signal counts; they need not sum to 1, but not all may be 0."""

    relevance: float = 0.5
    first_stage: float = 0.5


def scale(scores: Scores) -> Scores:
    """Min-max scale to 0..1 over the candidates; equal scores become 0.5, NaN and infinite NaN.

    Scores that differ by rounding alone are equal: stretched to 0..1 their noise would decide.
    """
    scores = np.where(np.isfinite(scores), scores, np.nan)
    if np.isnan(scores).all():
        return scores
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    if high - low <= NOISE * max(abs(low), abs(high)):
        return np.where(np.isfinite(scores), 0.5, np.nan)
    return (scores - low) / (high - low)


def mix(read: Scores, cosines: Scores, share: float) -> Scores:
    """What a model read, (n,) NaN where it did not, and vectors' cosines as one relevance.

    Both are scaled to 0..1 and summed (CombSUM, Fox and Shaw, TREC-2 1994), the cosines counting
    `share`, between 0 and 1. NaN where nothing was read.
    """
    mixed: Scores = (1.0 - share) * scale(read) + share * scale(cosines)
    return mixed


def blend(
    first_stage: Scores,
    relevance: Scores | None,
    weights: Weights,
    signals: Sequence[tuple[Scores, float]] = (),
) -> Scores:
    """Blend (n,) first-stage scores and (n,) relevance, NaN where unscored, into (n,) in 0..1.

    A candidate without relevance is judged by its first-stage score alone. Without any relevance,
    so are all. signals: each (n,) in 0..1 with its weight, which counts beside those two; where a
    signal is NaN it does not count for that candidate.
    """
    base = np.nan_to_num(scale(first_stage), nan=0.0)
    mixed, total = base, weights.relevance + weights.first_stage
    if relevance is not None and weights.relevance and np.isfinite(relevance).any():
        both = weights.relevance * scale(relevance) + weights.first_stage * base
        mixed = np.where(np.isfinite(both), both / total, base)
    if not signals:
        return mixed
    counts = np.full(len(mixed), total)
    summed = mixed * total
    for scores, weight in signals:
        known = np.isfinite(scores)
        summed = summed + np.where(known, weight * np.clip(scores, 0.0, 1.0), 0.0)
        counts = counts + np.where(known, weight, 0.0)
    blended: Scores = np.divide(summed, counts, out=mixed.copy(), where=counts > 0)
    return blended


def share_blend(
    first_stage: Scores,
    relevance: Scores | None,
    weights: Weights,
    signals: Sequence[tuple[str, Scores, float]] = (),
) -> dict[str, Scores]:
    """What each part adds to the blended score, (n,) by name; `blend` is their sum."""
    base = np.nan_to_num(scale(first_stage), nan=0.0)
    total = weights.relevance + weights.first_stage
    model = np.full(len(base), np.nan)
    if relevance is not None and weights.relevance and np.isfinite(relevance).any():
        model = scale(relevance)
    scored = np.isfinite(model)
    parts = {
        "first-stage score": np.where(scored, weights.first_stage, total) * base,
        "relevance": np.where(scored, weights.relevance * np.nan_to_num(model), 0.0),
    }
    counts = np.full(len(base), total)
    for name, scores, weight in signals:
        known = np.isfinite(scores)
        parts[f"signal {name}"] = np.where(known, weight * np.clip(scores, 0.0, 1.0), 0.0)
        counts = counts + np.where(known, weight, 0.0)
    if not counts.all():
        parts["first-stage score"] = np.where(counts > 0, parts["first-stage score"], base)
        counts = np.where(counts > 0, counts, 1.0)
    return {name: part / counts for name, part in parts.items()}
