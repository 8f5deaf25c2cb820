"""What the real `es-rerank serve` holds in memory, warm and after a thousand searches.

    python -m benchmarks.memory.serve [--json] [--searches 1000] [--url URL --indices NAME NAME]

The proxy runs as a process of its own before a real engine, with a cross-encoder of MiniLM's size
and the embedder that diversity uses. A tenth of the searches have new words, so that the model, the
caches and the allocator all have had something to do. `resident` is the whole resident set (VmRSS),
libraries shared with nobody included; `peak` is its highest (VmHWM); `proportional` counts pages
shared with other processes in part (PSS).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.form import Row, compare_row, parser, publish, run
from benchmarks.latency.search import PAGE, WINDOW, ask, connect
from benchmarks.reranker import save_reranker
from benchmarks.stack import add_engine_options, running_proxy, shop_stack
from es_rerank.demo import sample
from es_rerank.demo.shops import load_sample

BUDGET_MB = 700.0
NEW_EACH = 10
PATIENCE_MS = 60_000
KINDS = ("bi-encoder", "cross-encoder")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parser(__doc__ or "")
    options.add_argument("--searches", type=int, default=1000)
    options.add_argument("--model", help="folder or hub id of a cross-encoder")
    add_engine_options(options)
    chosen = options.parse_args(arguments)
    shop = load_sample()
    rows: list[Row] = []
    with TemporaryDirectory() as place, ExitStack() as started:
        folder = Path(place)
        stack = started.enter_context(shop_stack(shop, chosen, folder))
        model = chosen.model or str(save_reranker(folder))
        texts = itertools.cycle([query.text for query in sample.load_queries()])
        for kind in KINDS:
            settings = {"ES_RERANK_MODEL__KIND": kind, "ES_RERANK_RERANK__ORDER_CACHE_S": "0"}
            if kind == "cross-encoder":
                settings["ES_RERANK_MODEL__NAME"] = model
            with running_proxy(stack, settings) as running:
                before = read_status(running.pid)
                connection = connect(running.url)
                for number in range(chosen.searches):
                    words = f"{next(texts)} zq{number if number % NEW_EACH == 0 else ''}"
                    block = {"rank_window_size": WINDOW, "timeout_ms": PATIENCE_MS}
                    body = {"size": PAGE, "query": shop.query(words), "ext": {"es_rerank": block}}
                    ask(connection, f"/{stack.enriched}/_search", body)
                rows += make_rows(kind, before, read_status(running.pid), chosen.searches)
    publish(rows, chosen, f"Memory of the proxy, {stack.engine}")


def read_status(pid: int) -> dict[str, float]:
    """Megabytes (10^6 bytes) of a process: resident, peak, proportional. Linux alone."""
    found = {}
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    lines += Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    for line in lines:
        key, _, value = line.partition(":")
        if key in {"VmRSS", "VmHWM", "Pss"}:
            found[key] = int(value.split()[0]) * 1024 / 1e6
    return found


def make_rows(
    kind: str, before: dict[str, float], after: dict[str, float], searches: int
) -> list[Row]:
    """The budget is for the proxy with a cross-encoder."""
    gate = kind == "cross-encoder"
    measured = (
        ("resident, warm", before["VmRSS"], False),
        (f"resident, after {searches} searches", after["VmRSS"], gate),
        (f"proportional, after {searches} searches", after["Pss"], False),
        ("peak", after["VmHWM"], False),
    )
    return [
        compare_row(
            f"{kind} | {what}",
            ours=value,
            rival="the budget",
            theirs=BUDGET_MB,
            unit="MB",
            better="lower",
            n=1,
            gate=gated,
        )
        for what, value, gated in measured
    ]


if __name__ == "__main__":
    run(main)
