"""What each way to diversify trades, on the sample shop, by the generator's ground truth.

    python -m benchmarks.quality.diversity [--plot FILE] [--json]

The DPP and MMR at several strengths, with a strength that is the same for all searches and with one
that follows how much a search leaves open; and the plain cap. The default was chosen by this. No
human rating is involved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.form import parser, publish, run, say
from benchmarks.quality.judging import Values, paired_rows, require_applied, with_block
from benchmarks.quality.sample import measure_runs
from benchmarks.stack import add_engine_options, proxy, shop_stack
from es_rerank.demo import sample
from es_rerank.demo.shops import load_sample
from es_rerank.errors import EsRerankError
from es_rerank.evaluation.runs import Endpoint, collect, rankings

K = 10
FIXED = "dpp 0.05"
STRENGTHS: Mapping[str, Sequence[float]] = {
    "dpp": (0.0, 0.02, 0.05, 0.1, 0.2),
    "mmr": (0.1, 0.2, 0.3, 0.4),
    "cap": (0.05,),
}
AXES = (f"ILD@{K}", f"alpha_nDCG@{K} of intents")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and plot."""
    options = parser(__doc__ or "")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves into FILE")
    add_engine_options(options)
    options.add_argument("--folder", type=Path, help="where the engine's data are")
    chosen = options.parse_args(arguments)
    shop, queries = load_sample(), sample.load_queries()
    with TemporaryDirectory() as place:
        opened = shop_stack(shop, chosen, Path(place), chosen.folder)
        with opened as stack, proxy(stack) as proxy_url:
            bodies = {
                query.id: {"size": K, "_source": False, "query": shop.query(query.text)}
                for query in queries
            }
            runs = {}
            for name, block in list_runs().items():
                say(f"{name} ...")
                asked = {key: with_block(body, block) for key, body in bodies.items()}
                answers = collect(Endpoint(proxy_url), stack.enriched, asked)
                require_applied(answers)
                runs[name] = rankings(answers)
    measured = measure_runs(runs, queries, shop.documents)
    if chosen.plot:
        draw(measured, chosen.plot)
    title = f"Ways to diversify the sample shop, {len(queries)} queries, {stack.engine}"
    publish(paired_rows(measured, FIXED), chosen, title)


def list_runs() -> dict[str, dict[str, Any]]:
    """Each run's options, by its name."""
    runs = {}
    for method, strengths in STRENGTHS.items():
        for strength in strengths:
            for adaptive in (False, True) if strength and method != "cap" else (False,):
                name = method if method == "cap" else f"{method} {strength:g}"
                runs[f"{name} adaptive" if adaptive else name] = {
                    "diversify": method,
                    "diversity": strength,
                    "adaptive": adaptive,
                }
    return runs


def draw(measured: Mapping[str, Mapping[str, Values]], file: Path) -> None:
    """nDCG against each measure of variety, a line for each way. Raises EsRerankError."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EsRerankError("--plot needs matplotlib: pip install 'es-rerank[eval]'") from None
    figure: Any = Figure(figsize=(9, 4), layout="constrained")
    lines: dict[str, list[str]] = {}
    for name in measured:
        method, _, how = name.partition(" ")
        lines.setdefault(f"{method} adaptive" if "adaptive" in how else method, []).append(name)
    for axes, across in zip(figure.subplots(1, 2, sharey=True), AXES, strict=True):
        for label, names in lines.items():
            points = [
                [np.nanmean(list(measured[name][what].values())) for what in (across, f"nDCG@{K}")]
                for name in names
            ]
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
        axes.set_xlabel(across)
        axes.grid(visible=True, alpha=0.3)
    figure.axes[0].set_ylabel(f"nDCG@{K}")
    figure.axes[0].legend()
    figure.savefig(file)


if __name__ == "__main__":
    run(main)
