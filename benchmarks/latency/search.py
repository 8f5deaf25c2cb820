"""How long a search takes through the proxy: window 100, page 10, beside the engine alone.

    python -m benchmarks.latency.search [--json] [--rounds 3] [--url URL --indices PLAIN ENRICHED]

The rival is the same search straight at the engine with `size` 100, which is what the proxy has to
ask for. Every search carries a word that no product holds, another one each time, so that nothing
is answered from what was kept, except the lists that were seen. All kinds are asked in turns, in
another order for each query; the client and the proxy keep to a core each. What counts is the
paired difference: proxy less engine, query by query.

A second proxy has a cross-encoder (MiniLM with a seeded head) whose scores are warm by then and
whose orders are not kept: its `rerank stage` is what Server-Timing says that all took from the
engine's answer to the page, in the proxy itself.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from benchmarks.reranker import save_reranker
from benchmarks.stack import add_engine_options, proxy, shop_stack
from es_rerank.demo import sample
from es_rerank.demo.shops import Shop, load_sample
from es_rerank.demo.stack import Stack
from es_rerank.errors import EsRerankError
from es_rerank.evaluation.compare import bootstrap_interval

WINDOW, PAGE = 100, 10
COMMON = {"rank_window_size": WINDOW, "timeout_ms": 60_000}
BUDGET_MS = 3.0
SEED = 20
OFF = {"weights": {"relevance": 0, "first_stage": 1}}
BY_ATTRIBUTES = {**OFF, "similarity": {"vector": 0, "attributes": 1}}
INTERVAL = "ours, median of the paired differences, bootstrap 95 %"


@dataclass(frozen=True)
class Kind:
    """A way to ask. block: of `ext.es_rerank`; None asks the engine itself.

    reads: asks the proxy with a cross-encoder.
    """

    name: str
    enriched: bool
    size: int
    block: Mapping[str, Any] | None = None
    seen: bool = False
    reads: bool = False


KINDS = (
    Kind("engine, plain, size 100", False, WINDOW),
    Kind("engine, plain, size 10", False, PAGE),
    Kind("engine, enriched, size 100", True, WINDOW),
    Kind("engine, enriched, size 10", True, PAGE),
    Kind("no model, plain", False, PAGE, BY_ATTRIBUTES),
    Kind("no model, enriched", True, PAGE, OFF),
    Kind("no model, no diversity, enriched", True, PAGE, {**OFF, "diversity": 0}),
    Kind("default model, new query", True, PAGE, {}),
    Kind("default model, list seen", True, PAGE, {}, seen=True),
    Kind("cross-encoder, scores warm", True, PAGE, {}, seen=True, reads=True),
)
READER = {
    "ES_RERANK_MODEL__KIND": "cross-encoder",
    "ES_RERANK_RERANK__ORDER_CACHE_S": "0",
}
NAME = "ES_RERANK_MODEL__NAME"
STAGE = re.compile(r"\brerank;dur=([0-9.]+)")
GATED = ("no model, plain", "no model, enriched")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=3, help="times that each query is asked")
    options.add_argument("--queries", type=int, default=100, help="how many of the shop's queries")
    options.add_argument("--model", help="folder or hub id of a cross-encoder")
    add_engine_options(options)
    chosen = options.parse_args(arguments)
    shop = load_sample()
    queries = [query.text for query in sample.load_queries()][: chosen.queries]
    with TemporaryDirectory() as place, ExitStack() as started:
        folder = Path(place)
        stack = started.enter_context(shop_stack(shop, chosen, folder))
        with on_core(1):
            proxy_url = started.enter_context(proxy(stack))
            model = chosen.model or str(save_reranker(folder))
            reader_url = started.enter_context(proxy(stack, {**READER, NAME: model}))
        with on_core(0):
            urls = (stack.url, proxy_url, reader_url)
            times, stages = measure(shop, stack, urls, queries, chosen.rounds)
    publish(
        [*make_rows(times), *make_stage_rows(stages)],
        chosen,
        f"A search through the proxy, {stack.engine}",
    )


@contextmanager
def on_core(number: int) -> Iterator[None]:
    """Keep this process, and those it starts meanwhile, to one core where there are several."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(
    shop: Shop, stack: Stack, urls: tuple[str, str, str], queries: Sequence[str], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds by kind, the same query at the same place of each list; one round warms up.

    urls: the engine's, the proxy's, and that of the proxy with a cross-encoder. Returns the
    client's times, and those of the rerank stage.
    """
    rng = random.Random(SEED)
    connections = {url: connect(url) for url in urls}
    times: dict[str, list[float]] = defaultdict(list)
    stages: dict[str, list[float]] = defaultdict(list)
    asked = 0
    for number in range(-1, rounds):
        say(f"Round {number + 1} of {rounds} ...")
        for text in queries:
            for kind in rng.sample(KINDS, len(KINDS)):
                asked += 1
                words = f"{text} {'zqseen' if kind.seen else f'zq{asked}'}"
                url = urls[0] if kind.block is None else urls[2 if kind.reads else 1]
                index = stack.enriched if kind.enriched else stack.plain
                body: dict[str, Any] = {"size": kind.size, "query": shop.query(words)}
                if kind.block is not None:
                    body["ext"] = {"es_rerank": {**COMMON, **kind.block}}
                took_ms, stage_ms = ask(connections[url], f"/{index}/_search", body)
                if number >= 0:
                    times[kind.name].append(took_ms)
                    stages[kind.name].append(stage_ms)
    return times, stages


def connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "", parts.port)


def ask(connection: http.client.HTTPConnection, target: str, body: Any) -> tuple[float, float]:
    """Milliseconds until the whole answer is there, and of the proxy's rerank stage.

    Raises EsRerankError when it is none.
    """
    sent = json.dumps(body).encode()
    began = time.perf_counter()
    connection.request("POST", target, sent, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    received = answer.read()
    took_ms = 1000 * (time.perf_counter() - began)
    mark = answer.headers.get("X-Es-Rerank", "applied")
    few = mark == "skipped; reason=few-hits"
    if answer.status != 200 or not (mark.startswith("applied") or few):
        raise EsRerankError(f"a search was answered {answer.status}, {mark}: {received[:300]!r}")
    stage = STAGE.search(answer.headers.get("Server-Timing", ""))
    return took_ms, float(stage[1]) if stage else 0.0


def make_rows(times: Mapping[str, Sequence[float]]) -> list[Row]:
    """Each kind beside the engine's window: medians, and the median of the paired differences."""
    rows = []
    for kind in KINDS:
        rival = f"engine, {'enriched' if kind.enriched else 'plain'}, size {WINDOW}"
        if kind.name == rival:
            continue
        ours, theirs = np.array(times[kind.name]), np.array(times[rival])
        common: dict[str, Any] = {"unit": "ms", "better": "lower", "n": len(ours)}
        rows.append(
            compare_row(
                kind.name,
                ours=float(np.median(ours)),
                rival=rival,
                theirs=float(np.median(theirs)),
                spread=Spread(*quartiles(ours), "ours, the middle half of searches"),
                **common,
            )
        )
        if kind.block is None:
            continue
        added = ours - theirs
        low, high = bootstrap_interval(added.tolist(), lambda drawn: np.median(drawn, axis=1))
        rows.append(
            compare_row(
                f"{kind.name}: added",
                ours=float(np.median(added)),
                rival="the budget",
                theirs=BUDGET_MS,
                spread=Spread(low, high, INTERVAL),
                gate=kind.name in GATED,
                **common,
            )
        )
    return rows


def make_stage_rows(stages: Mapping[str, Sequence[float]]) -> list[Row]:
    """The rerank stage of each kind that has one."""
    return [
        compare_row(
            f"{kind.name}: rerank stage",
            ours=float(np.median(stages[kind.name])),
            rival="the budget",
            theirs=BUDGET_MS,
            unit="ms",
            better="lower",
            n=len(stages[kind.name]),
            spread=Spread(
                *quartiles(np.array(stages[kind.name])), "ours, the middle half of searches"
            ),
            gate=kind.reads,
        )
        for kind in KINDS
        if kind.block is not None
    ]


def quartiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """Between which the middle half lies."""
    low, high = np.percentile(values, [25, 75])
    return float(low), float(high)


if __name__ == "__main__":
    run(main)
