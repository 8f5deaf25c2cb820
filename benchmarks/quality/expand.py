"""What adding candidates finds, and what it costs: neighbours, mended spelling, synonyms.

    python -m benchmarks.quality.expand --data-dir FOLDER [--json]

FOLDER holds icecat_products.jsonl.gz and chorus_ratings_dev.csv. On Icecat, recall@100 of what the
window holds, by people's ratings, which are for measuring only; on the sample shop, the generator's
ground truth. Everything goes through the real proxy before real OpenSearch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.form import (
    Row,
    hardware,
    parser,
    print_table,
    publish,
    run,
    say,
)
from benchmarks.quality.judging import Values, paired_rows, require_applied, time_row, with_block
from benchmarks.stack import add_icecat_options, proxy
from es_rerank.datasets import icecat
from es_rerank.demo import sample
from es_rerank.demo.shops import Shop, load_icecat, load_sample
from es_rerank.demo.stack import Stack, open_stack
from es_rerank.errors import EsRerankError
from es_rerank.evaluation.measures import ndcg, ndcg_by_query, rated_only, with_positive
from es_rerank.evaluation.runs import Endpoint, collect, rankings

K = 10
DEPTH = 100
SEED = 20
ENGINE = "engine order"
RERANKED = "reranked"
LEARNING_S = 120.0
REPETITIONS = 5
ALLOWED = {"ES_RERANK_RERANK__EXPAND_ON_REQUEST": '["knn", "spelling", "synonyms"]'}
ALWAYS = {"ES_RERANK_RERANK__SPELLING_BELOW": "10000"}
WAYS: Mapping[str, Sequence[str]] = {
    RERANKED: (),
    "knn": ("knn",),
    "spelling": ("spelling",),
    "synonyms": ("synonyms",),
    "all three": ("knn", "spelling", "synonyms"),
}
KINDS = ("natural", "misspelt")
MEASURES = [
    f"{kind}{measure}"
    for kind in ("", *(f"{kind} | " for kind in KINDS))
    for measure in (f"nDCG@{K}", f"recall@{DEPTH}")
]

Grades = Mapping[str, Mapping[str, int]]
Rankings = Mapping[str, Sequence[str]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    add_icecat_options(options)
    options.add_argument("--repetitions", type=int, default=REPETITIONS, help="of timed searches")
    options.add_argument("--engine", help="address of an engine that runs, instead of booting one")
    options.add_argument("--icecat", default="icecat", help="its enriched index of Icecat")
    options.add_argument("--sample", default="products", help="its enriched index of the sample")
    chosen = options.parse_args(arguments)
    qrels = icecat.load_ratings(chosen.data_dir)
    with ExitStack() as stacks:
        stack = enter(stacks, chosen, lambda: load_icecat(chosen.data_dir), chosen.icecat)
        with proxy(stack, ALLOWED) as proxy_url:
            found = icecat_rows(stack, proxy_url, qrels)
            found += time_rows(stack, proxy_url, list(qrels), chosen.repetitions)
        parts = {f"Icecat, {len(qrels)} queries, {stack.engine}": found}
    with ExitStack() as stacks:
        stack = enter(stacks, chosen, load_sample, chosen.sample)
        with proxy(stack, ALLOWED) as proxy_url:
            found = sample_rows(stack, proxy_url, WAYS, "")
        with proxy(stack, ALLOWED | ALWAYS) as proxy_url:
            ways = {RERANKED: (), "spelling": ("spelling",)}
            found += sample_rows(stack, proxy_url, ways, " always")[len(MEASURES) :]
        parts[f"Sample shop, {len(sample.load_queries())} queries, {stack.engine}"] = found
    if chosen.json or chosen.out:
        publish([row for rows in parts.values() for row in rows], chosen, "Added candidates")
    else:
        for title, rows in parts.items():
            print_table(rows, hardware(), title)


def enter(stacks: ExitStack, chosen: Any, load: Any, enriched: str) -> Stack:
    """The engine that runs, or one booted with the shop in it."""
    if chosen.engine is None:
        shop: Shop = load()
        folder = chosen.folder.absolute() if shop.name == "icecat" else None
        return stacks.enter_context(open_stack(shop, say, folder))
    home = chosen.folder.absolute()
    home.mkdir(parents=True, exist_ok=True)
    return Stack(chosen.engine, chosen.engine, enriched, enriched, home)


def icecat_rows(stack: Stack, proxy_url: str, qrels: Grades) -> list[Row]:
    """Recall of the window, and nDCG of the page, by people's ratings."""

    def body(query: str) -> dict[str, Any]:
        return {"size": DEPTH, "_source": False, "query": icecat.baseline_query(query)}

    bodies = {query: body(query) for query in qrels}
    found = {ENGINE: rankings(collect(Endpoint(stack.url), stack.enriched, bodies))}
    for name in (RERANKED, "knn"):
        say(f"Searching Icecat for {len(qrels)} queries: {name} ...")
        found[name] = ask(proxy_url, stack.enriched, bodies, WAYS[name])
    measured = {}
    for name, run_ in found.items():
        measured[name] = {
            f"recall@{DEPTH}": recall(run_, qrels),
            f"unrated 0 | nDCG@{K}": ndcg_by_query(qrels, run_, K),
            f"rated only | nDCG@{K}": ndcg_by_query(qrels, rated_only(run_, qrels), K),
        }
    rows = paired_rows(measured, ENGINE)
    gate = f"knn | recall@{DEPTH}"
    return [replace(row, gate=row.what == gate) for row in rows]


def sample_rows(
    stack: Stack, proxy_url: str, ways: Mapping[str, Sequence[str]], suffix: str
) -> list[Row]:
    """nDCG and recall by the generator's truth, for all queries and for some kinds of them."""
    shop, queries, grades = load_sample(), sample.load_queries(), sample.load_qrels()
    bodies = {
        query.id: {"size": DEPTH, "_source": False, "query": shop.query(query.text)}
        for query in queries
    }
    if any("synonyms" in way for way in ways.values()):
        wait_until_learnt(proxy_url, stack.enriched, bodies)
    measured: dict[str, dict[str, Values]] = {}
    for name, way in ways.items():
        say(f"Searching the sample shop for {len(queries)} queries: {name}{suffix} ...")
        run_ = ask(proxy_url, stack.enriched, bodies, way)
        gains = {key: ndcg(run_[key], grades[key], K) for key in run_}
        recalls = recall(run_, grades)
        values = [gains, recalls]
        for kind in KINDS:
            keys = [query.id for query in queries if kind in query.kinds]
            values += [{key: part[key] for key in keys} for part in (gains, recalls)]
        label = name if name == RERANKED else f"{name}{suffix}"
        measured[label] = dict(zip(MEASURES, values, strict=True))
    return paired_rows(measured, RERANKED)


def wait_until_learnt(proxy_url: str, index: str, bodies: Mapping[str, Mapping[str, Any]]) -> None:
    """Ask until the shop's words are learnt. Raises EsRerankError."""
    say("Waiting for the vocabulary ...")
    endpoint, until = Endpoint(proxy_url), time.monotonic() + LEARNING_S
    asked = with_block(next(iter(bodies.values())), {"expand": ["synonyms"]})
    while "synonyms-learning" in endpoint.search(index, asked).outcome:
        if time.monotonic() > until:
            raise EsRerankError("The proxy did not learn the vocabulary.")
        time.sleep(0.5)


def ask(
    proxy_url: str, index: str, bodies: Mapping[str, Mapping[str, Any]], way: Sequence[str]
) -> dict[str, list[str]]:
    """The run with those expansions. Raises EsRerankError where one of them failed."""
    asked = {key: with_block(body, {"expand": list(way)}) for key, body in bodies.items()}
    answers = collect(Endpoint(proxy_url), index, asked)
    require_applied(answers)
    return rankings(answers)


def recall(run_: Rankings, grades: Grades) -> dict[str, float]:
    """The share of a query's relevant documents among the first 100, of at most so many."""
    found = {}
    for query in with_positive(grades):
        if query in run_:
            relevant = {key for key, grade in grades[query].items() if grade > 0}
            hits = len(relevant.intersection(run_[query][:DEPTH]))
            found[query] = hits / min(len(relevant), DEPTH)
    return found


def time_rows(stack: Stack, proxy_url: str, queries: Sequence[str], repetitions: int) -> list[Row]:
    """What neighbours add to a page of ten that is reranked anyway, for words met first.

    The words differ by spaces alone, which no cache knows and neither the model nor the engine
    minds. Both ways take turns; the first round is not counted.
    """
    say("Timing ...")
    chance, endpoint = random.Random(SEED), Endpoint(proxy_url)
    times: dict[str, dict[str, list[float]]] = {name: {} for name in (RERANKED, "knn")}
    met = 0
    for repetition in range(repetitions + 1):
        for query in chance.sample(list(queries), len(queries)):
            plain = {"size": K, "query": icecat.baseline_query(query)}
            for name in chance.sample([*times], len(times)):
                met += 1
                block = {"expand": list(WAYS[name]), "query_text": query + " " * met}
                answer = endpoint.search(stack.enriched, with_block(plain, block))
                if repetition:
                    times[name].setdefault(query, []).append(answer.elapsed_ms)
    medians = {
        name: [float(np.median(found[query])) for query in queries] for name, found in times.items()
    }
    added = [
        float(np.median(np.subtract(times["knn"][query], times[RERANKED][query])))
        for query in queries
    ]
    return [
        time_row("knn | added ms", added, RERANKED, [0.0]),
        time_row("knn | search ms", medians["knn"], RERANKED, medians[RERANKED]),
    ]


if __name__ == "__main__":
    run(main)
