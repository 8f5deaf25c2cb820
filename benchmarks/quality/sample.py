"""How diversity trades relevance for variety on the sample shop, by the generator's ground truth.

    python -m benchmarks.quality.sample [--json]

The default of `diversity` was chosen by this: the largest at which no kind of query falls clearly
below the engine's own order. No human rating is involved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.form import parser, publish, run, say
from benchmarks.quality.judging import (
    Values,
    embed,
    embed_shown,
    paired_rows,
    require_applied,
    with_block,
)
from benchmarks.stack import proxy
from es_rerank.datasets.icecat import embedding_text
from es_rerank.demo import sample
from es_rerank.demo.shops import load_sample
from es_rerank.demo.stack import open_stack
from es_rerank.evaluation.measures import alpha_ndcg_by_query, distinct, ild, ndcg
from es_rerank.evaluation.runs import Endpoint, collect, rankings

K = 10
ENGINE = "engine order"
STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    chosen = parser(__doc__ or "").parse_args(arguments)
    shop = load_sample()
    queries = sample.load_queries()
    with open_stack(shop, say) as stack, proxy(stack) as proxy_url:
        bodies = {
            query.id: {"size": K, "_source": False, "query": shop.query(query.text)}
            for query in queries
        }
        say(f"Searching for {len(queries)} queries ...")
        runs = {ENGINE: rankings(collect(Endpoint(stack.url), stack.plain, bodies))}
        for strength in STRENGTHS:
            asked = {key: with_block(body, {"diversity": strength}) for key, body in bodies.items()}
            answers = collect(Endpoint(proxy_url), stack.enriched, asked)
            require_applied(answers)
            runs[f"diversity {strength:g}"] = rankings(answers)
    measured = measure_runs(runs, queries, shop.documents)
    title = f"Sample shop, {len(queries)} queries, {stack.engine}"
    publish(paired_rows(measured, ENGINE), chosen, title)


def measure_runs(
    runs: Mapping[str, Mapping[str, Sequence[str]]],
    queries: Sequence[sample.Query],
    documents: Mapping[str, Mapping[str, Any]],
) -> dict[str, dict[str, Values]]:
    """Every measure of every run by query; runs: name -> query id -> product ids."""
    texts = {key: embedding_text(document) for key, document in documents.items()}
    vectors = embed_shown([top for found in runs.values() for top in found.values()], texts, embed)
    return {name: measure(found, queries, documents, vectors) for name, found in runs.items()}


def measure(
    found: Mapping[str, Sequence[str]],
    queries: Sequence[sample.Query],
    documents: Mapping[str, Mapping[str, Any]],
    vectors: Mapping[str, Any],
) -> dict[str, Values]:
    """Every measure by query, nDCG also for each kind of query."""
    grades = sample.load_qrels()
    relevance = {query.id: ndcg(found[query.id], grades[query.id], K) for query in queries}
    measures: dict[str, Values] = {
        f"nDCG@{K}": relevance,
        f"alpha_nDCG@{K} of intents": cover_intents(found, queries),
        f"ILD@{K}": {
            key: ild([vectors[document] for document in top], K) if len(top) > 1 else np.nan
            for key, top in found.items()
        },
    }
    for attribute in ("brand", "family"):
        measures[f"distinct {attribute}@{K}"] = {
            key: float(distinct((documents[document].get(attribute) for document in top), K))
            for key, top in found.items()
        }
    for kind in sorted({kind for query in queries for kind in query.kinds}):
        measures[f"{kind} | nDCG@{K}"] = {
            query.id: relevance[query.id] for query in queries if kind in query.kinds
        }
    return measures


def cover_intents(
    found: Mapping[str, Sequence[str]], queries: Sequence[sample.Query]
) -> dict[str, float]:
    """alpha_nDCG of each query, its intents being the subtopics."""
    intents = sample.load_intent_qrels()
    covered: dict[str, float] = {}
    for query in queries:
        subtopics: dict[str, list[str]] = {}
        for intent, graded in intents.get(query.id, {}).items():
            for document, grade in graded.items():
                if grade > 0:
                    subtopics.setdefault(document, []).append(intent)
        if subtopics:
            judged = {query.id: dict.fromkeys(subtopics, 1)}
            covered |= alpha_ndcg_by_query(judged, subtopics, found, K)
    return covered


if __name__ == "__main__":
    run(main)
