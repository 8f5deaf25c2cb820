from __future__ import annotations

import numpy as np
import pytest

from es_rerank.evaluation.compare import Comparison, compare
from es_rerank.evaluation.verdict import describe, judge, queries_needed


def found(low: float, high: float, n: int = 50) -> Comparison:
    middle = (low + high) / 2
    return Comparison(n, 0.5 + middle, 0.5, middle, low, high, 0.5)


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [
        (0.001, 0.2, "helps"),
        (-0.2, -0.001, "does-not-help"),
        (-0.004, 0.009, "does-not-help"),
        (0.0, 0.0, "does-not-help"),
        (-0.1, 0.1, "unclear"),
        (-0.1, 0.02, "unclear"),
        (0.001, 0.005, "helps"),
    ],
)
def test_the_interval_decides(low: float, high: float, finding: str) -> None:
    verdict = judge(found(low, high), "nDCG@10", "a model")
    assert verdict.finding == finding
    assert (verdict.queries, verdict.model) == (50, "a model")
    assert f"{low:+.3f} to {high:+.3f}" in describe(verdict)


def test_noise_is_rarely_taken_for_help() -> None:
    generator = np.random.default_rng(5)
    findings = []
    for _ in range(200):
        values = {str(i): float(v) for i, v in enumerate(generator.normal(0, 0.2, size=56))}
        one = compare(values, dict.fromkeys(values, 0.0), resamples=400)
        findings.append(judge(one, "nDCG@10", "m").finding)
    assert findings.count("helps") <= 15
    assert findings.count("unclear") >= 170


def test_how_many_queries_it_would_take() -> None:
    assert queries_needed(found(-0.04, 0.04, n=50)) == 200
    assert queries_needed(found(-0.01, 0.01, n=50)) == 13
