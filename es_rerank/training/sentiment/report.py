"""How well a model tells praise from blame: a report by class, and F1 with and without neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from es_rerank.models.sentiment.head import BLAME, CLASSES, NEITHER, PRAISE, polarities

Report = dict[str, Any]


def measure_reading(said: NDArray[np.float64], truth: Sequence[int]) -> Report:
    """Figures of a reading (n, 3) beside the truth (n,).

    binary: macro-F1 of praise and blame by the sign of the polarity, over the reviews that are
    either. three: macro-F1 of all classes by the likeliest. lost: the share of praise and blame
    read as neither. classes: precision, recall, F1 and count of each.
    """
    right = np.asarray(truth, dtype=np.int64)
    told = said.argmax(axis=1)
    sides = np.where(polarities(said) > 0, PRAISE, BLAME)
    polar = right != NEITHER
    classes = {name: _by_class(told, right, number) for number, name in enumerate(CLASSES)}
    there = [number for number in range(3) if (right == number).any()]
    return {
        "binary": _macro(sides[polar], right[polar], (BLAME, PRAISE)),
        "three": _macro(told, right, there),
        "lost": round(float((told[polar] == NEITHER).mean()), 4) if polar.any() else 0.0,
        "count": len(right),
        "classes": classes,
    }


def show_report(report: Mapping[str, Any]) -> str:
    """The report as a table in text."""
    lines = [f"{'':10}{'precision':>10}{'recall':>8}{'F1':>7}{'count':>7}"]
    lines += [
        f"{name:10}{own['precision']:10.3f}{own['recall']:8.3f}{own['f1']:7.3f}{own['count']:7d}"
        for name, own in report["classes"].items()
    ]
    lines.append(
        f"macro-F1 {report['three']:.3f}; of praise and blame alone {report['binary']:.3f}, "
        f"{report['lost']:.1%} of which are read as neither"
    )
    return "\n".join(lines)


def _macro(told: NDArray[Any], right: NDArray[Any], classes: Sequence[int]) -> float:
    if not len(right):
        return 0.0
    return round(float(np.mean([_by_class(told, right, each)["f1"] for each in classes])), 4)


def _by_class(told: NDArray[Any], right: NDArray[Any], number: int) -> dict[str, Any]:
    hit = int(((told == number) & (right == number)).sum())
    precision = hit / max(int((told == number).sum()), 1)
    recall = hit / max(int((right == number).sum()), 1)
    f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
    return {
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(f1, 4),
        "count": int((right == number).sum()),
    }
