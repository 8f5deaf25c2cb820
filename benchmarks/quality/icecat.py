"""How good and how varied searches on Icecat are: the engine's order, reranked, reranked + DPP.

    python -m benchmarks.quality.icecat --data-dir FOLDER [--json]

FOLDER holds icecat_products.jsonl.gz and chorus_ratings_dev.csv. The ratings are people's, and for
measuring only: nothing is tuned on them. docs/benchmarks.md says what each row means.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import Row, parser, publish, run, say
from benchmarks.quality.judging import (
    Embed,
    Values,
    embed,
    embed_shown,
    paired_rows,
    require_applied,
    time_row,
    with_block,
)
from benchmarks.stack import add_icecat_options, proxy
from es_rerank.datasets import icecat
from es_rerank.demo.shops import load_icecat
from es_rerank.demo.stack import Stack, open_stack
from es_rerank.errors import EsRerankError
from es_rerank.evaluation.measures import (
    alpha_ndcg_by_query,
    distinct,
    ild,
    ndcg_by_query,
    rated_only,
)
from es_rerank.evaluation.runs import Answer, Endpoint, collect, rankings

K = 10
WINDOW = 100
REPETITIONS = 5
SEED = 20
ENGINE = "engine order"
RUNS: Mapping[str, Mapping[str, Any]] = {
    "reranked": {"diversity": 0},
    "reranked, model alone": {"diversity": 0, "weights": {"relevance": 1, "first_stage": 0}},
    "reranked + DPP": {},
    "reranked + DPP, cosine only": {"similarity": {"vector": 1, "attributes": 0}},
}
TIMED = ("reranked", "reranked + DPP")

Qrels = Mapping[str, Mapping[str, int]]
Rankings = Mapping[str, Sequence[str]]
Products = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One way of ranking, asked for the whole catalogue and for each query's rated documents."""

    catalogue: Rankings
    pool: Rankings


@dataclass(frozen=True)
class Pair:
    """One search straight to the engine and one through the proxy, milliseconds at the client."""

    straight: float
    through: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    add_icecat_options(options)
    options.add_argument(
        "--fresh", action="store_true", help="index and enrich anew, whatever is kept"
    )
    options.add_argument(
        "--repetitions", type=int, default=REPETITIONS, help="of each timed search (%(default)s)"
    )
    chosen = options.parse_args(arguments)
    if chosen.repetitions < 1:
        options.error("--repetitions must be at least 1")
    qrels = icecat.load_ratings(chosen.data_dir)
    products = {product["id"]: product for product in icecat.load_products(chosen.data_dir)}
    shop = load_icecat(chosen.data_dir)
    with (
        open_stack(shop, say, chosen.folder.absolute(), fresh=chosen.fresh) as stack,
        proxy(stack) as proxy_url,
    ):
        runs = collect_runs(stack, proxy_url, qrels)
        rows = time_rows(stack, proxy_url, list(qrels), chosen.repetitions)
    say("Measuring ...")
    rows = [*quality_rows(runs, qrels, products, embed), *rows]
    publish(rows, chosen, f"Icecat, {len(qrels)} queries, {stack.engine}")


def collect_runs(stack: Stack, proxy_url: str, qrels: Qrels) -> dict[str, Run]:
    """Ask for every query: the engine itself, then the proxy in each way."""
    engine, through = Endpoint(stack.url), Endpoint(proxy_url)
    say(f"Searching for {len(qrels)} queries: {ENGINE} ...")
    runs = {ENGINE: _collect(engine, stack.enriched, qrels, None)}
    for name, block in RUNS.items():
        say(f"Searching for {len(qrels)} queries: {name} ...")
        runs[name] = _collect(through, stack.enriched, qrels, block)
    return runs


def _collect(endpoint: Endpoint, index: str, qrels: Qrels, block: Mapping[str, Any] | None) -> Run:
    whole = collect(endpoint, index, {query: catalogue_body(query, block) for query in qrels})
    pool = collect(
        endpoint, index, {query: pool_body(query, list(qrels[query]), block) for query in qrels}
    )
    for query, documents in qrels.items():
        if set(pool[query].ids) != set(documents):
            raise EsRerankError(f"The pool of {query!r} lacks rated documents: wrong products?")
    if block is not None:
        require_applied(whole)
        require_applied(pool)
    return Run(rankings(whole), rankings(pool))


def catalogue_body(query: str, block: Mapping[str, Any] | None) -> dict[str, Any]:
    """The search over the whole catalogue, to the depth of the rank window."""
    body = {"size": WINDOW, "_source": False, "query": icecat.baseline_query(query)}
    return with_block(body, block)


def pool_body(
    query: str, documents: Sequence[str], block: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The search over one query's rated documents, all of them, whether or not they match."""
    body = {
        "size": len(documents),
        "_source": False,
        "query": {
            "bool": {
                "should": [icecat.baseline_query(query)],
                "filter": {"ids": {"values": list(documents)}},
            }
        },
    }
    return with_block(body, block, max(WINDOW, len(documents)))


def quality_rows(
    runs: Mapping[str, Run], qrels: Qrels, products: Products, embed: Embed
) -> list[Row]:
    """A row per run and measure; the rival is the engine's order."""
    tops = [ids[:K] for run in runs.values() for ids in run.catalogue.values()]
    texts = {key: icecat.embedding_text(product) for key, product in products.items()}
    vectors = embed_shown(tops, texts, embed)
    return paired_rows(
        {name: measure(run, qrels, products, vectors) for name, run in runs.items()}, ENGINE
    )


def measure(
    run: Run, qrels: Qrels, products: Products, vectors: Mapping[str, NDArray[np.float32]]
) -> dict[str, Values]:
    """Every measure by query; nDCG under the three ways of treating what nobody has rated."""
    tops = {query: ranking[:K] for query, ranking in run.catalogue.items()}
    subtopics = {key: icecat.subtopics(product) for key, product in products.items()}
    return {
        f"pool | nDCG@{K}": ndcg_by_query(qrels, run.pool, K),
        f"unrated 0 | nDCG@{K}": ndcg_by_query(qrels, run.catalogue, K),
        f"rated only | nDCG@{K}": ndcg_by_query(qrels, rated_only(run.catalogue, qrels), K),
        f"unrated 0 | alpha_nDCG@{K}": alpha_ndcg_by_query(qrels, subtopics, run.catalogue, K),
        f"ILD@{K}": {
            query: ild([vectors[key] for key in top], K) if len(top) > 1 else np.nan
            for query, top in tops.items()
        },
        f"brands@{K}": {
            query: float(distinct((products[key]["brand"] for key in top), K))
            for query, top in tops.items()
        },
    }


def time_rows(stack: Stack, proxy_url: str, queries: Sequence[str], repetitions: int) -> list[Row]:
    """What the proxy adds to a page of ten, for words it meets first and for words it knows."""
    say("Timing ...")
    times = time_searches(stack, proxy_url, queries, repetitions)
    rows = []
    for (name, seen), by_query in times.items():
        suffix = ", query seen before" if seen else ""
        pairs = list(by_query.values())
        through = [float(np.median([pair.through for pair in found])) for found in pairs]
        straight = [float(np.median([pair.straight for pair in found])) for found in pairs]
        added = [float(np.median([p.through - p.straight for p in found])) for found in pairs]
        rows.append(time_row(f"{name} | added ms{suffix}", added, ENGINE, [0.0]))
        rows.append(time_row(f"{name} | search ms{suffix}", through, ENGINE, straight))
    return rows


def time_searches(
    stack: Stack, proxy_url: str, queries: Sequence[str], repetitions: int
) -> dict[tuple[str, bool], dict[str, list[Pair]]]:
    """Time each query straight and through the proxy, one right after the other, either first.

    Returns pairs by (run, seen) and query. Unless `seen`, the proxy is told words that no other
    search has had, so that nothing it keeps about a query can help; the engine is asked for the
    same in either case. All ways take turns in each round; the first round, which warms everything
    up, is not counted.
    """
    chance = random.Random(SEED)
    engine, through = Endpoint(stack.url), Endpoint(proxy_url)
    ways = [(name, seen) for name in TIMED for seen in (False, True)]
    times: dict[tuple[str, bool], dict[str, list[Pair]]] = {
        way: {query: [] for query in queries} for way in ways
    }
    for repetition in range(repetitions + 1):
        for query in chance.sample(list(queries), len(queries)):
            plain = {"size": K, "query": icecat.baseline_query(query)}
            for name, seen in chance.sample(ways, len(ways)):
                words = query if seen else f"{query} {chance.randrange(10**9)}"
                asked = with_block(plain, {**RUNS[name], "query_text": words})
                found: dict[str, Answer] = {}
                for side in chance.sample(("straight", "through"), 2):
                    endpoint, body = (engine, plain) if side == "straight" else (through, asked)
                    found[side] = endpoint.search(stack.enriched, body)
                require_applied({query: found["through"]})
                if repetition:
                    pair = Pair(found["straight"].elapsed_ms, found["through"].elapsed_ms)
                    times[name, seen][query].append(pair)
    return times


if __name__ == "__main__":
    run(main)
