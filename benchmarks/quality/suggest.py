"""What judged suggestions teach, beside as many random pairs, on the sample shop.

    python -m benchmarks.quality.suggest [--json]

The queries are parted at random. From the candidates of one part, pairs are suggested or drawn and
judged by the generator's ground truth; a small model of a dozen features learns from them which of
two products of a query is better (RankNet; Burges et al., ICML 2005); it is measured on the other
part's queries. It begins with what is served before anybody is asked: words and vectors, half and
half, or words alone. No human rating is involved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from benchmarks.quality.judging import DIFFERENCE, embed
from es_rerank.demo import sample
from es_rerank.evaluation.compare import bootstrap_interval
from es_rerank.evaluation.measures import ndcg
from es_rerank.ranking.blend import scale
from es_rerank.ranking.lexical import read_words
from es_rerank.training.catalogue import Product, load_catalogue
from es_rerank.training.negatives import WordIndex
from es_rerank.training.suggest.choice import Pool, choose_pairs
from es_rerank.training.suggest.pool import Catalogue

BUDGETS = (40, 80, 160, 320)
SPLITS = 24
TAUGHT = 0.65
DEPTH = 50
BEST = 3
STARTS: Mapping[str, tuple[float, float]] = {"half and half": (4.0, 4.0), "words": (8.0, 0.0)}
"""Weights of words and vectors before."""
STRENGTH = 0.3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Asked:
    """A query with its candidates, their features (n, f), and every product's true grade."""

    pool: Pool
    features: Array
    grades: Mapping[str, int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--vectors", type=Path, help="keep the products' vectors here (.npy)")
    options.add_argument("--splits", type=int, default=SPLITS, help="of the queries (%(default)s)")
    chosen = options.parse_args(arguments)
    asked = read_queries(load_catalogue(None), chosen.vectors)
    rows = []
    for start, weights in STARTS.items():
        say(f"Teaching {len(BUDGETS)} x {chosen.splits} x 2 models, beginning with {start} ...")
        served = [serve(each, weights) for each in asked]
        rows += [compare_budget(served, b, chosen.splits, start, weights) for b in BUDGETS]
    publish(rows, chosen, f"Suggested and random pairs, sample shop, {len(asked)} queries")


def read_queries(products: Sequence[Product], kept: Path | None = None) -> list[Asked]:
    """The sample's English queries, with what words and vectors find for them."""
    if kept is not None and kept.is_file():
        vectors = np.load(kept)
    else:
        say(f"Embedding {len(products)} products ...")
        vectors = embed([product.text for product in products])
        if kept is not None:
            np.save(kept, vectors)
    catalogue = Catalogue(products, WordIndex(products), vectors)
    queries = [query for query in sample.load_queries() if query.language == "en"]
    grades = sample.load_qrels()
    rows = {product.id: product for product in products}
    brands = {tuple(read_words(product.brand or "")) for product in products}
    types = {tuple(read_words(product.type or "")) for product in products}
    found = []
    for query, vector in zip(queries, embed([each.text for each in queries]), strict=True):
        own = catalogue.find(query.text, vector, DEPTH)
        assert own.vectors is not None
        cosines = (own.vectors @ vector).astype(np.float64)
        scores = {"words": own.first_stage, "vectors": cosines}
        served = (scale(own.first_stage) + scale(cosines)) / 2
        pool = Pool(query.text, own.ids, own.titles, scores, served, own.vectors)
        parts = [describe(query.text, rows[key], brands, types) for key in own.ids]
        features = np.column_stack([scale(own.first_stage), scale(cosines), np.array(parts)])
        found.append(Asked(pool, features, grades[query.id]))
    return found


def describe(
    query: str,
    product: Product,
    brands: Collection[tuple[str, ...]],
    types: Collection[tuple[str, ...]],
) -> list[float]:
    """What a small model can see of a pair besides its two scores."""
    words, title = set(read_words(query)), set(read_words(product.title))
    text = set(read_words(product.text))
    told = [
        len(words & title) / max(len(words), 1),
        len(words & text) / max(len(words), 1),
        len(words & title) / max(len(title), 1),
    ]
    for value, known in ((product.brand, brands), (product.type, types)):
        named = {each for each in known if each and set(each) <= words}
        own = tuple(read_words(value or ""))
        told += [float(own in named), float(bool(named) and own not in named)]
    return told


def serve(asked: Asked, weights: tuple[float, float]) -> Asked:
    """The query as it is served with those weights of words and vectors."""
    served = asked.features[:, :2] @ np.array(weights) / sum(weights)
    return replace(asked, pool=replace(asked.pool, served=served))


def compare_budget(
    asked: Sequence[Asked], budget: int, splits: int, start: str, weights: tuple[float, float]
) -> Row:
    """nDCG@10 on untaught queries after `budget` judged pairs, suggested and random."""
    ours, theirs = [], []
    for seed in range(splits):
        chance = np.random.default_rng(seed)
        order = chance.permutation(len(asked))
        cut = round(len(asked) * TAUGHT)
        taught, tested = [asked[i] for i in order[:cut]], [asked[i] for i in order[cut:]]
        chosen = choose_pairs([each.pool for each in taught], budget, seed=seed)
        suggested = [(each.query, each.document) for each in chosen]
        every = [(each.pool.query, key) for each in taught for key in each.pool.ids]
        drawn = [every[i] for i in chance.choice(len(every), budget, replace=False)]
        ours.append(measure(teach(taught, suggested, weights), tested))
        theirs.append(measure(teach(taught, drawn, weights), tested))
    low, high = bootstrap_interval(np.subtract(ours, theirs))
    return compare_row(
        f"{start}, {budget} judged pairs | nDCG@10",
        ours=float(np.mean(ours)),
        rival="random pairs",
        theirs=float(np.mean(theirs)),
        unit="nDCG@10",
        better="higher",
        n=splits,
        spread=Spread(low, high, DIFFERENCE.replace("over queries", "over splits")),
    )


def teach(
    taught: Sequence[Asked], pairs: Sequence[tuple[str, str]], before: tuple[float, float]
) -> Array:
    """Weights of the features, (f,), by which judged products of a query are told apart, drawn to
    those before."""
    by_query = {each.pool.query: each for each in taught}
    judged: dict[str, list[tuple[Array, int]]] = {}
    for query, document in pairs:
        own = by_query[query]
        row = own.features[list(own.pool.ids).index(document)]
        judged.setdefault(query, []).append((row, own.grades.get(document, 0)))
    apart = [
        (better - worse, (high - low) / BEST)
        for own_rows in judged.values()
        for better, high in own_rows
        for worse, low in own_rows
        if high > low
    ]
    start = np.zeros(taught[0].features.shape[1])
    start[: len(before)] = before
    if not apart:
        return start
    differences, gains = np.array([d for d, _ in apart]), np.array([g for _, g in apart])

    def loss(weights: Array) -> tuple[float, Array]:
        margins, off = differences @ weights, weights - start
        value = (gains * np.logaddexp(0, -margins)).sum() + STRENGTH * off @ off / 2
        slope = STRENGTH * off - differences.T @ (gains / (1 + np.exp(margins)))
        return float(value), slope

    found: Any = minimize(loss, start, jac=True, method="L-BFGS-B")
    weights: Array = found.x
    return weights


def measure(weights: Array, tested: Sequence[Asked]) -> float:
    """Mean nDCG@10."""
    values = []
    for each in tested:
        order = np.argsort(-(each.features @ weights), kind="stable")
        values.append(ndcg([each.pool.ids[i] for i in order], each.grades))
    return float(np.mean(values))


if __name__ == "__main__":
    run(main)
