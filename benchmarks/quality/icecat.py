"""How good and how varied searches on Icecat are: the engine's order, the default, and other ways.

    python -m benchmarks.quality.icecat --data-dir FOLDER [--plot FILE.html] [--json]

FOLDER holds icecat_products.jsonl.gz and chorus_ratings_dev.csv. The ratings are people's, and for
measuring only: nothing is tuned on them. docs/benchmarks.md says what each row means.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
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
from benchmarks.quality.tradeoff import KERNELS, Lines, draw_page, list_lines, price_rows
from benchmarks.stack import add_engine_options, add_icecat_options, proxy, shop_stack
from es_rerank.datasets import icecat
from es_rerank.demo.shops import Shop, load_icecat
from es_rerank.demo.stack import Stack, open_stack
from es_rerank.engine.kinds import KINDS
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
REPETITIONS = 2
SEED = 20
ENGINE = "engine order"
DEFAULT = "default"
RELEVANCE = "relevance only"
NDCG, ALPHA, ILD = f"unrated 0 | nDCG@{K}", f"unrated 0 | alpha_nDCG@{K}", f"ILD@{K}"
MODEL_ALONE: Mapping[str, Any] = {
    "diversity": 0,
    "weights": {"relevance": 1, "first_stage": 0},
}
SETTINGS = {"ES_RERANK_RERANK__EXPAND_ON_REQUEST": '["knn"]'}


@dataclass(frozen=True)
class Way:
    """A way of ranking: `ext.es_rerank` for the whole catalogue, and for the rated documents.

    pool: None where those are not asked for.
    """

    block: Mapping[str, Any]
    pool: Mapping[str, Any] | None = None


WAYS: Mapping[str, Way] = {
    DEFAULT: Way({}, MODEL_ALONE),
    RELEVANCE: Way({"diversity": 0}, {"diversity": 0}),
    "model alone": Way(MODEL_ALONE),
    **{f"{DEFAULT}, {name}": Way({"similarity": kernel}) for name, kernel in KERNELS.items()},
    f"{DEFAULT}, hybrid candidates": Way({"expand": "knn"}),
    f"{RELEVANCE}, hybrid candidates": Way({"diversity": 0, "expand": "knn"}),
}
TIMED = ((DEFAULT, False), (DEFAULT, True), (RELEVANCE, True))
"""Ways, and whether the proxy has met the words before."""

Qrels = Mapping[str, Mapping[str, int]]
Rankings = Mapping[str, Sequence[str]]
Products = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """One way of ranking, asked for the whole catalogue and for each query's rated documents.

    pool: None where it was not asked for.
    """

    catalogue: Rankings
    pool: Rankings | None = None


@dataclass(frozen=True)
class Pair:
    """One search straight to the engine and one through the proxy, milliseconds at the client."""

    straight: float
    through: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and plot."""
    chosen = read_options(arguments)
    qrels = icecat.load_ratings(chosen.data_dir)
    products = {product["id"]: product for product in icecat.load_products(chosen.data_dir)}
    settings = dict(SETTINGS)
    if chosen.model:
        settings |= {
            "ES_RERANK_MODEL__KIND": "cross-encoder",
            "ES_RERANK_MODEL__NAME": chosen.model,
        }
    with (
        open_engine(load_icecat(chosen.data_dir), chosen) as stack,
        proxy(stack, settings) as proxy_url,
    ):
        asker = Asker(stack, proxy_url, qrels)
        runs = asker.collect_ways()
        lines = list_lines(asker.finds_facets(runs[RELEVANCE]))
        runs |= asker.collect_lines(lines)
        rows = (
            time_rows(stack, proxy_url, list(qrels), chosen.repetitions)
            if chosen.repetitions > 0
            else []
        )
    say("Measuring ...")
    measured = measure_runs(runs, qrels, products, embed)
    title = f"Icecat, {len(qrels)} queries, {stack.engine}, {chosen.model or 'default model'}"
    if chosen.plot:
        page = draw_page(measured, lines, RELEVANCE, NDCG, (ALPHA, ILD), title)
        chosen.plot.write_text(page, encoding="utf-8")
    drawn = {name for line in lines.values() for name in line}
    shown = {
        name: {what: values for what, values in measures.items() if what in (NDCG, ALPHA, ILD)}
        if name in drawn
        else measures
        for name, measures in measured.items()
    }
    quality = paired_rows(shown, ENGINE)
    prices = price_rows(measured, lines, RELEVANCE, NDCG, (ALPHA, ILD))
    publish([*quality, *prices, *rows], chosen, title)


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    options = parser(__doc__ or "")
    add_icecat_options(options)
    add_engine_options(options)
    options.add_argument(
        "--engine", choices=tuple(KINDS), default="opensearch", help="which to boot (%(default)s)"
    )
    options.add_argument("--model", help="folder or name of a cross-encoder instead of the default")
    options.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the curves, a page of HTML"
    )
    options.add_argument(
        "--fresh", action="store_true", help="index and enrich anew, whatever is kept"
    )
    options.add_argument(
        "--repetitions",
        type=int,
        default=REPETITIONS,
        help="of each timed search (%(default)s); 0 times nothing",
    )
    chosen = options.parse_args(arguments)
    if chosen.model and Path(chosen.model).is_dir():  # the proxy runs in another folder
        chosen.model = str(Path(chosen.model).absolute())
    return chosen


@contextmanager
def open_engine(shop: Shop, chosen: argparse.Namespace) -> Iterator[Stack]:
    """The engine that runs already, or one that is booted with the shop in it."""
    home: Path = chosen.folder.absolute()
    if chosen.engine != "opensearch":
        home = home.with_name(f"{home.name}-{chosen.engine}")
    if chosen.url:
        home.mkdir(parents=True, exist_ok=True)
        with shop_stack(shop, chosen, home) as stack:
            yield stack
        return
    with open_stack(shop, say, home, kind=chosen.engine, fresh=chosen.fresh) as stack:
        yield stack


@dataclass(frozen=True)
class Asker:
    """Asks for every query, of the engine itself and of the proxy."""

    stack: Stack
    proxy_url: str
    qrels: Qrels

    def collect_ways(self) -> dict[str, Run]:
        """The engine's own order, then every way."""
        engine = Endpoint(self.stack.url)
        say(f"Searching for {len(self.qrels)} queries: {ENGINE} ...")
        runs = {ENGINE: Run(self._whole(engine, None), self._pool(engine, None))}
        for name, way in WAYS.items():
            runs[name] = self.collect(name, way)
        return runs

    def collect_lines(self, lines: Lines) -> dict[str, Run]:
        """Every point of the trade-off's curves. Their pool would show all of it anyway."""
        return {
            name: self.collect(name, Way(block))
            for line in lines.values()
            for name, block in line.items()
        }

    def collect(self, name: str, way: Way) -> Run:
        """One way through the proxy."""
        say(f"Searching for {len(self.qrels)} queries: {name} ...")
        through = Endpoint(self.proxy_url)
        pool = None if way.pool is None else self._pool(through, way.pool)
        return Run(self._whole(through, way.block), pool)

    def finds_facets(self, plain: Run) -> bool:
        """Whether the model has vectors that depend on the query: whether they alone change what
        relevance gave."""
        alone = {"vector": 0, "attributes": 0, "facets": 1}
        found = self.collect("by facets alone", Way({"diversity": 0.9, "similarity": alone}))
        return found.catalogue != plain.catalogue

    def _whole(self, endpoint: Endpoint, block: Mapping[str, Any] | None) -> Rankings:
        bodies = {query: catalogue_body(query, block) for query in self.qrels}
        answers = collect(endpoint, self.stack.enriched, bodies)
        if block is not None:
            require_applied(answers)
        return rankings(answers)

    def _pool(self, endpoint: Endpoint, block: Mapping[str, Any] | None) -> Rankings:
        bodies = {
            query: pool_body(query, list(rated), block) for query, rated in self.qrels.items()
        }
        answers = collect(endpoint, self.stack.enriched, bodies)
        for query, documents in self.qrels.items():
            if set(answers[query].ids) != set(documents):
                raise EsRerankError(f"The pool of {query!r} lacks rated documents: wrong products?")
        if block is not None:
            require_applied(answers)
        return rankings(answers)


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


def measure_runs(
    runs: Mapping[str, Run], qrels: Qrels, products: Products, embed: Embed
) -> dict[str, dict[str, Values]]:
    """Every measure of every run by query."""
    tops = [ids[:K] for run in runs.values() for ids in run.catalogue.values()]
    texts = {key: icecat.embedding_text(product) for key, product in products.items()}
    vectors = embed_shown(tops, texts, embed)
    return {name: measure(run, qrels, products, vectors) for name, run in runs.items()}


def measure(
    run: Run, qrels: Qrels, products: Products, vectors: Mapping[str, NDArray[np.float32]]
) -> dict[str, Values]:
    """Every measure by query; nDCG under the three ways of treating what nobody has rated."""
    tops = {query: ranking[:K] for query, ranking in run.catalogue.items()}
    shown = {key for ranking in run.catalogue.values() for key in ranking}
    subtopics = {key: icecat.subtopics(products[key]) for key in shown.union(*qrels.values())}
    pool = {} if run.pool is None else {f"pool | nDCG@{K}": ndcg_by_query(qrels, run.pool, K)}
    return {
        **pool,
        NDCG: ndcg_by_query(qrels, run.catalogue, K),
        f"rated only | nDCG@{K}": ndcg_by_query(qrels, rated_only(run.catalogue, qrels), K),
        ALPHA: alpha_ndcg_by_query(qrels, subtopics, run.catalogue, K),
        ILD: {
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
    times: dict[tuple[str, bool], dict[str, list[Pair]]] = {
        way: {query: [] for query in queries} for way in TIMED
    }
    for repetition in range(repetitions + 1):
        for query in chance.sample(list(queries), len(queries)):
            plain = {"size": K, "query": icecat.baseline_query(query)}
            for name, seen in chance.sample(TIMED, len(TIMED)):
                words = query if seen else f"{query} {chance.randrange(10**9)}"
                asked = with_block(plain, {**WAYS[name].block, "query_text": words})
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
