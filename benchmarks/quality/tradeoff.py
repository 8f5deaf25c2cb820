"""What ways to diversify give in variety for what they take in relevance, as curves.

A curve is one way at several strengths, from relevance alone on. Ways are compared at an equal
price: the most variety on a curve that costs no more than so much nDCG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import Row, Spread, compare_row
from benchmarks.quality.judging import MEAN, Values
from es_rerank.evaluation.page import wrap_page
from es_rerank.evaluation.plot import Curve, draw_curves

PRICES = (0.01, 0.02)
"""Loss of nDCG@10 against relevance alone."""
RIVAL = "MMR, attribute kernel"
KERNELS: Mapping[str, Mapping[str, float]] = {
    "attribute kernel": {"vector": 1, "attributes": 1, "facets": 0},
    "cosine kernel": {"vector": 1, "attributes": 0, "facets": 0},
}
FACET_KERNELS: Mapping[str, Mapping[str, float]] = {
    "facet kernel": {"vector": 1, "attributes": 0, "facets": 1},
    "attribute and facet kernel": {"vector": 1, "attributes": 1, "facets": 1},
}
STRENGTHS: Mapping[str, Sequence[float]] = {
    "dpp": (0.02, 0.05, 0.1, 0.2),
    "mmr": (0.1, 0.2, 0.3, 0.4),
}
ADAPTIVE = ", adaptive"
STEPS = np.linspace(0.0, 1.0, 21)
"""Places between two strengths of a curve."""
RESAMPLES = 2000
SEED = 20
DIFFERENCE = "ours - theirs at an equal loss of nDCG@10, paired bootstrap 95 %"

Lines = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Way -> run -> its `ext.es_rerank`, the weakest first."""


def list_lines(facets: bool) -> Lines:
    """The ways; with `facets` also by the kernels of a model whose vectors depend on the query."""
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for method, strengths in STRENGTHS.items():
        kernels = {**KERNELS, **(FACET_KERNELS if facets and method == "dpp" else {})}
        for kernel, similarity in kernels.items():
            for adaptive in (False, True):
                line = f"{method.upper()}, {kernel}{ADAPTIVE if adaptive else ''}"
                lines[line] = {
                    f"{line}, {strength:g}": {
                        "diversify": method,
                        "diversity": strength,
                        "adaptive": adaptive,
                        "similarity": similarity,
                    }
                    for strength in strengths
                }
    return lines


def price_rows(
    measured: Mapping[str, Mapping[str, Values]],
    lines: Lines,
    start: str,
    price: str,
    goods: Sequence[str],
) -> list[Row]:
    """What each way gives at each price beside the rival; queries that lack a value are left out.

    measured: run -> measure -> query -> value. start: the run of relevance alone, where each curve
    begins. price, goods: names of the measures that are paid and had.
    """
    runs = [start, *(name for line in lines.values() for name in line)]
    queries = shared_queries([measured[name][what] for name in runs for what in (price, *goods)])
    weights = draw_weights(len(queries))
    paid = {name: column(measured[name][price], queries) for name in runs}
    rows = []
    for good in goods:
        had = {name: column(measured[name][good], queries) for name in runs}
        for most in PRICES:
            bought = {
                line: buy(
                    np.stack([paid[name] for name in (start, *steps)]),
                    np.stack([had[name] for name in (start, *steps)]),
                    weights,
                    most,
                )
                for line, steps in lines.items()
            }
            rival = bought[RIVAL]
            for line, found in bought.items():
                sample = found[1:] if line == RIVAL else found[1:] - rival[1:]
                low, high = np.quantile(sample, [0.025, 0.975])
                rows.append(
                    compare_row(
                        f"{line}, at -{most:g} | {good}",
                        ours=float(found[0]),
                        rival=f"{RIVAL}, at -{most:g}",
                        theirs=float(rival[0]),
                        unit=good.rpartition(" | ")[2],
                        better="higher",
                        n=len(queries),
                        spread=Spread(
                            float(low), float(high), MEAN if line == RIVAL else DIFFERENCE
                        ),
                    )
                )
    return rows


def buy(
    paid: NDArray[np.float64],
    had: NDArray[np.float64],
    weights: NDArray[np.float64],
    most: float,
) -> NDArray[np.float64]:
    """The most variety on the line through a curve's points that costs at most `most`.

    paid, had: (p, n) relevance and variety of each point, the first being relevance alone.
    weights: (r, n), each row adding up to 1. Returns (r,).
    """
    relevance, variety = weights @ paid.T, weights @ had.T
    best = variety[:, 0].copy()
    for i in range(paid.shape[0] - 1):
        between = STEPS[:, None] * (relevance[:, i + 1] - relevance[:, i]) + relevance[:, i]
        given = STEPS[:, None] * (variety[:, i + 1] - variety[:, i]) + variety[:, i]
        affordable = relevance[:, 0] - between <= most + 1e-12
        best = np.maximum(best, np.where(affordable, given, -np.inf).max(axis=0))
    return best


def draw_weights(n: int) -> NDArray[np.float64]:
    """Equal weights of n queries, then those of bootstrap samples; (1 + RESAMPLES, n)."""
    counts = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return np.concatenate([np.full((1, n), 1 / n), counts / n])


def shared_queries(values: Sequence[Values]) -> list[str]:
    """The queries that have a finite value everywhere."""
    return [
        query for query in values[0] if all(np.isfinite(each.get(query, np.nan)) for each in values)
    ]


def column(values: Values, queries: Sequence[str]) -> NDArray[np.float64]:
    """The values of the queries, (n,)."""
    return np.array([values[query] for query in queries], dtype=np.float64)


def draw_page(
    measured: Mapping[str, Mapping[str, Values]],
    lines: Lines,
    start: str,
    price: str,
    goods: Sequence[str],
    title: str,
) -> str:
    """A page of one plot for each measure of variety, a line for each way."""
    runs = [start, *(name for line in lines.values() for name in line)]
    queries = shared_queries([measured[name][what] for name in runs for what in (price, *goods)])

    def mean(name: str, what: str) -> float:
        return float(column(measured[name][what], queries).mean())

    plots = []
    for good in goods:
        curves = [
            Curve(
                line,
                [(mean(name, good), mean(name, price)) for name in (start, *steps)],
                dashed=line.endswith(ADAPTIVE),
            )
            for line, steps in lines.items()
        ]
        plots.append(draw_curves(curves, good, price))
    said = f"<p>{len(queries)} queries; up and to the right is better.</p>"
    return wrap_page(title, said + "".join(plots))
