"""Blending relevance with the first-stage score into one score between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Weights:
    """How much each signal counts; they need not sum to 1, but not all may be 0."""

    relevance: float = 0.5
    first_stage: float = 0.5


def scale(scores: Scores) -> Scores:
    """Min-max scale to 0..1 over the candidates; equal scores become 0.5, NaN and infinite NaN."""
    scores = np.where(np.isfinite(scores), scores, np.nan)
    if np.isnan(scores).all():
        return scores
    low, high = float(np.nanmin(scores)), float(np.nanmax(scores))
    if high <= low:
        return np.where(np.isfinite(scores), 0.5, np.nan)
    return (scores - low) / (high - low)


def blend(first_stage: Scores, relevance: Scores | None, weights: Weights) -> Scores:
    """Blend (n,) first-stage scores and (n,) relevance, NaN where unscored, into (n,) in 0..1.

    A candidate without relevance is judged by its first-stage score alone. Without any relevance,
    so are all.
    """
    base = np.nan_to_num(scale(first_stage), nan=0.0)
    if relevance is None or weights.relevance == 0 or not np.isfinite(relevance).any():
        return base
    model = scale(relevance)
    mixed = (weights.relevance * model + weights.first_stage * base) / (
        weights.relevance + weights.first_stage
    )
    return np.where(np.isfinite(mixed), mixed, base)
