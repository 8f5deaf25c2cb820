"""Searches per second with a cross-encoder whose scores are cold, against concurrent clients.

    python -m benchmarks.throughput.search [--json] [--plot FILE] [--window 100] [--rounds 5]

Two proxies of the same settings stand before one engine; the rival has `rerank.batching` off, and
so scores one search after the other. No search is asked twice: each carries a word of its own that
no product holds, and so every pair is new to the model. Both take turns at each number of clients,
in an order that changes; while one is asked the other rests. What counts is the median over rounds
of the paired ratio, and for a lone client the paired difference, search by search.

The model is MiniLM with a seeded head (`--model` names another). Proxy, engine and clients share
the machine.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from benchmarks.latency.search import connect, quartiles
from benchmarks.reranker import save_reranker
from benchmarks.stack import add_engine_options, proxy, shop_stack
from es_rerank.demo import sample
from es_rerank.demo.shops import Shop, load_sample
from es_rerank.demo.stack import Stack
from es_rerank.errors import EsRerankError
from es_rerank.evaluation.compare import bootstrap_interval

CLIENTS = (1, 2, 4, 8, 16, 32)
GATED = 16
PAGE = 10
MAY_COST_MS = 2.0
PATIENCE_MS = 60_000
SEED = 20
WAYS = {"batching": "true", "one by one": "false"}
INTERVAL = "ours, the middle half of rounds"


@dataclass
class Measured:
    """Per way and number of clients: searches per second by round, milliseconds by search."""

    rates: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    times: dict[tuple[str, int], list[float]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=5, help="times that each number is measured")
    options.add_argument("--each", type=int, default=4, help="searches of a client in a round")
    options.add_argument("--least", type=int, default=16, help="searches in a round at least")
    options.add_argument("--window", type=int, default=100, help="pairs of a search")
    options.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    options.add_argument("--threads", type=int, help="model.threads; all cores if not given")
    options.add_argument("--model", help="folder or hub id of a cross-encoder")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the growth into FILE")
    add_engine_options(options)
    chosen = options.parse_args(arguments)
    shop = load_sample()
    with TemporaryDirectory() as place, ExitStack() as started:
        folder = Path(place)
        stack = started.enter_context(shop_stack(shop, chosen, folder))
        model = chosen.model or str(save_reranker(folder))
        urls = {
            way: started.enter_context(proxy(stack, settings(model, value, chosen.threads)))
            for way, value in WAYS.items()
        }
        measured = measure(shop, stack, urls, chosen)
    publish(make_rows(measured, chosen), chosen, f"Searches with cold scores, {stack.engine}")
    if chosen.plot:
        draw(measured, chosen)


def settings(model: str, batching: str, threads: int | None) -> dict[str, str]:
    """The proxy's settings."""
    found = {
        "ES_RERANK_MODEL__KIND": "cross-encoder",
        "ES_RERANK_MODEL__NAME": model,
        "ES_RERANK_RERANK__BATCHING": batching,
        "ES_RERANK_RERANK__MAX_WAITING": "256",
        "ES_RERANK_RERANK__MAX_TIMEOUT_MS": str(PATIENCE_MS),
        "ES_RERANK_RERANK__ORDER_CACHE_S": "0",
    }
    if threads is not None:
        found["ES_RERANK_MODEL__THREADS"] = str(threads)
    return found


def measure(shop: Shop, stack: Stack, urls: Mapping[str, str], chosen: Any) -> Measured:
    """Ask with each number of clients, both ways in turns; the first round warms up."""
    rng = random.Random(SEED)
    # MiniLM is not asked about words that it does not know.
    texts = [query.text for query in sample.load_queries() if query.text.isascii()]
    fresh = itertools.count()
    found = Measured()
    block = {"rank_window_size": chosen.window, "timeout_ms": PATIENCE_MS}

    def body(text: str, number: int) -> dict[str, Any]:
        query = shop.query(f"{text} zq{number}")
        return {"size": PAGE, "query": query, "ext": {"es_rerank": block}}

    for number in range(-1, chosen.rounds):
        say(f"Round {number + 1} of {chosen.rounds} ...")
        for clients in chosen.clients:
            count = max(chosen.each * clients, chosen.least)
            asked = [rng.choice(texts) for _ in range(count)]
            for way in rng.sample(sorted(urls), len(urls)):
                bodies = [body(text, next(fresh)) for text in asked]
                took_s, times = ask_all(urls[way], f"/{stack.enriched}/_search", bodies, clients)
                if number >= 0:
                    found.rates.setdefault((way, clients), []).append(count / took_s)
                    found.times.setdefault((way, clients), []).extend(times)
    return found


def ask_all(
    url: str, target: str, bodies: Sequence[Mapping[str, Any]], clients: int
) -> tuple[float, list[float]]:
    """Ask all, so many at one time. Returns seconds for all, and milliseconds of each, in order."""
    times = [0.0] * len(bodies)
    failed: list[str] = []
    taken = itertools.count()
    begin = threading.Barrier(clients + 1)

    def ask_some() -> None:
        connection = connect(url)
        connection.connect()
        begin.wait()
        while (i := next(taken)) < len(bodies) and not failed:
            sent = json.dumps(bodies[i]).encode()
            began = time.perf_counter()
            connection.request("POST", target, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            times[i] = 1000 * (time.perf_counter() - began)
            mark = answer.headers.get("X-Es-Rerank", "")
            if mark not in {"applied", "skipped; reason=few-hits"}:
                failed.append(f"a search was answered {answer.status}, {mark}")
        connection.close()

    threads = [threading.Thread(target=ask_some) for _ in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - began
    if failed:
        raise EsRerankError(failed[0])
    return took_s, times


def make_rows(found: Measured, chosen: Any) -> list[Row]:
    """Searches per second and medians by number of clients; what a lone search pays."""
    rows = []
    ours, theirs = WAYS
    for clients in chosen.clients:
        mine, rival = found.rates[ours, clients], found.rates[theirs, clients]
        rows.append(
            compare_row(
                f"{clients} clients | searches/s",
                ours=float(np.median(mine)),
                rival="one by one",
                theirs=float(np.median(rival)),
                unit="searches/s",
                better="higher",
                n=len(mine),
                spread=Spread(*quartiles(np.array(mine)), INTERVAL),
                gate=clients == GATED,
            )
        )
        for name, pick in PICKED.items():
            rows.append(
                compare_row(
                    f"{clients} clients | {name}",
                    ours=pick(found.times[ours, clients]),
                    rival="one by one",
                    theirs=pick(found.times[theirs, clients]),
                    unit="ms",
                    better="lower",
                    n=len(found.times[ours, clients]),
                )
            )
    if 1 in chosen.clients:
        added = np.array(found.times[ours, 1]) - np.array(found.times[theirs, 1])
        low, high = bootstrap_interval(added.tolist(), lambda drawn: np.median(drawn, axis=1))
        rows.append(
            compare_row(
                "a lone search: added by batching",
                ours=float(np.median(added)),
                rival="the budget",
                theirs=MAY_COST_MS,
                unit="ms",
                better="lower",
                n=len(added),
                spread=Spread(low, high, "median of the paired differences, bootstrap 95 %"),
                gate=True,
            )
        )
    return rows


PICKED: dict[str, Callable[[Sequence[float]], float]] = {
    "p50": lambda times: float(np.percentile(times, 50)),
    "p95": lambda times: float(np.percentile(times, 95)),
}


def draw(found: Measured, chosen: Any) -> None:
    """Draw searches per second and the median time against clients."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for way in WAYS:
        rates = [np.percentile(found.rates[way, n], [25, 50, 75]) for n in chosen.clients]
        times = [np.percentile(found.times[way, n], [25, 50, 75]) for n in chosen.clients]
        for axes, values in ((left, np.array(rates)), (right, np.array(times))):
            axes.plot(chosen.clients, values[:, 1], marker="o", label=way)
            axes.fill_between(chosen.clients, values[:, 0], values[:, 2], alpha=0.2)
    left.set(xlabel="clients", ylabel="searches per second", xscale="log", ylim=0)
    right.set(xlabel="clients", ylabel="milliseconds, the middle half", xscale="log", yscale="log")
    for axes in (left, right):
        axes.set_xticks(chosen.clients, [str(n) for n in chosen.clients])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(chosen.plot)
    say(f"Drawn into {chosen.plot}")


if __name__ == "__main__":
    run(main)
