"""Pairs of query and text through a cross-encoder on one core, beside other ways to run the model.

    python -m benchmarks.throughput.scoring [--json] [--pairs 100] [--rounds 7] [--plot FILE]

The model is MiniLM with a seeded head, or `--model FOLDER`, a sequence classifier with one label;
the texts are the sample shop's, "title. description", another query for each round. Every round
asks all ways in turns, in another order, tokenising included. Seconds are those of the process on
the CPU, so that what else runs on the machine counts little; torch and all others have one thread.
Rivals are sentence-transformers' CrossEncoder.predict with its defaults, and, where they are
installed, onnxruntime with dynamic int8 and OpenVINO with int8 weights.

`--growth` adds the time against the number of pairs and against the tokens of a pair.
"""

from __future__ import annotations

import logging
import random
import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from benchmarks.reranker import save_reranker
from benchmarks.throughput import rivals
from es_rerank.demo import sample
from es_rerank.models.cross_encoder import CrossEncoder, load_cross_encoder
from es_rerank.models.precision import has_bf16

SEED = 20
MAX_TOKENS = 512
COUNTS = (50, 100, 200, 400)
LENGTHS = (16, 32, 64, 128, 256)
TOLERANCE = 1e-3
RIVAL = "CrossEncoder.predict"
Pairs = tuple[str, list[str]]
Way = Callable[[Pairs], NDArray[np.float64]]
Measured = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    import torch

    options = parser(__doc__ or "")
    options.add_argument("--pairs", type=int, default=100)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--model", type=Path, metavar="FOLDER")
    options.add_argument("--growth", action="store_true", help="time against pairs and tokens")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw the growth into FILE")
    chosen = options.parse_args(arguments)
    torch.set_num_threads(1)
    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    with TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the rivals' own
        folder = chosen.model or save_reranker(Path(place))
        models = load_own(folder)
        others = rivals.load(folder, Path(place), MAX_TOKENS)
        texts = load_texts(chosen.pairs)
        ways: dict[str, Way] = {name: score_with(model) for name, model in models.items()}
        rounds = make_rounds(texts, chosen.rounds)
        tokens = count_tokens(models["fp32"], rounds[0])
        say(f"{chosen.pairs} pairs of {tokens / chosen.pairs:.0f} tokens, {len(rounds)} rounds")
        seconds = measure({**ways, **others}, rounds)
        rows = make_rows(seconds, list(models), list(others), chosen.pairs, tokens)
        rows += compare_scores({**ways, RIVAL: others[RIVAL]}, rounds[0])
        grown: dict[str, dict[int, Measured]] = {}
        if chosen.growth or chosen.plot:
            pair = {"fp32": ways["fp32"], RIVAL: others[RIVAL]}
            grown = grow(pair, models["fp32"], chosen.rounds)
            rows += growth_rows(grown, chosen.rounds)
    publish(
        rows, chosen, f"Pairs on one core, {chosen.pairs} of {tokens / chosen.pairs:.0f} tokens"
    )
    if chosen.plot:
        draw(grown, chosen.plot)


def load_own(folder: Path) -> dict[str, CrossEncoder]:
    """The model in each precision that this CPU multiplies."""
    names = ["fp32", *(["bf16"] if has_bf16() else []), "int8"]
    return {name: load_cross_encoder(str(folder), "cpu", name) for name in names}


def load_texts(count: int) -> list[str]:
    """Different texts of the sample shop, as the proxy shows them to a model."""
    products = [p for p in sample.load_products(with_reviews=False) if p["language"] == "en"]
    texts = list(dict.fromkeys(f"{p['title']}. {p['description']}" for p in products))
    random.Random(SEED).shuffle(texts)
    return [texts[i % len(texts)] for i in range(count)]


def make_rounds(texts: Sequence[str], rounds: int) -> list[Pairs]:
    """Another query for each round, and one to warm up. The texts stay, as in a shop."""
    queries = [query.text for query in sample.load_queries() if query.language == "en"]
    return [(query, list(texts)) for query in queries[: rounds + 1]]


def score_with(model: CrossEncoder) -> Way:
    """Ours, texts tokenised anew: what is kept is measured elsewhere."""

    def score(pairs: Pairs) -> NDArray[np.float64]:
        model.tokens.clear()
        return model.score_pairs(*pairs)

    return score


def count_tokens(model: CrossEncoder, pairs: Pairs) -> int:
    """Tokens of the pairs in all."""
    return model.count_tokens(*pairs)


def measure(ways: Mapping[str, Way], rounds: Sequence[Pairs]) -> Measured:
    """CPU seconds of each way in each round but the first, which warms up."""
    rng = random.Random(SEED)
    seconds: Measured = {name: [] for name in ways}
    for number, pairs in enumerate(rounds):
        for name in rng.sample(list(ways), len(ways)):
            began = time.process_time()
            ways[name](pairs)
            if number:
                seconds[name].append(time.process_time() - began)
    return seconds


def make_rows(
    seconds: Measured, own: Sequence[str], others: Sequence[str], pairs: int, tokens: int
) -> list[Row]:
    """Pairs per second of ours beside each rival; the interval is of the paired ratio."""
    rows = []
    for name in own:
        for rival in others:
            ratios = [b / a for a, b in zip(seconds[name], seconds[rival], strict=True)]
            low, high = np.percentile(ratios, [25, 75])
            rows.append(
                compare_row(
                    f"{name} | beside {rival}",
                    ours=pairs / statistics.median(seconds[name]),
                    rival=rival,
                    theirs=pairs / statistics.median(seconds[rival]),
                    unit="pairs/s",
                    better="higher",
                    n=len(ratios),
                    spread=Spread(float(low), float(high), "the paired ratio, its middle half"),
                )
            )
    rows.append(peak_row(tokens / statistics.median(seconds["fp32"]), len(seconds["fp32"])))
    return rows


def peak_row(tokens_per_s: float, n: int) -> Row:
    """What of the core's speed in a large product the fp32 forward reaches.

    Only MiniLM's matrix products count as work: five layers of 12 h² products, twice h = 384.
    """
    import torch

    matrix = torch.randn(2048, 2048)
    took = []
    with torch.inference_mode():
        for _ in range(5):
            began = time.process_time()
            _ = matrix @ matrix
            took.append(time.process_time() - began)
    peak = 2 * 2048**3 / min(took) / 1e9
    return compare_row(
        "fp32 | products of five layers",
        ours=tokens_per_s * 5 * 2 * 12 * 384**2 / 1e9,
        rival="one product, 2048 x 2048",
        theirs=peak,
        unit="GFLOP/s",
        better="higher",
        n=n,
    )


def compare_scores(ways: Mapping[str, Way], pairs: Pairs) -> list[Row]:
    """How far scores are from the rival's, and whether the order is the same."""
    scores = {name: way(pairs) for name, way in ways.items()}
    reference = scores.pop(RIVAL)
    rows = [
        compare_row(
            "fp32 | largest difference of scores",
            ours=float(np.abs(scores["fp32"] - reference).max()),
            rival="the limit",
            theirs=TOLERANCE,
            unit="logit",
            better="lower",
            n=len(reference),
            gate=True,
        )
    ]
    rows += [
        compare_row(
            f"{name} | order, Kendall's tau",
            ours=float(kendalltau(own, reference).statistic),
            rival="the same order",
            theirs=1.0,
            unit="tau",
            better="higher",
            n=len(reference),
        )
        for name, own in scores.items()
    ]
    return rows


def grow(
    ways: Mapping[str, Way], model: CrossEncoder, rounds: int
) -> dict[str, dict[int, Measured]]:
    """Seconds against pairs, texts as they are, and against tokens, 50 pairs of equal length."""
    by_pairs = {n: measure(ways, make_rounds(load_texts(n), min(rounds, 3))) for n in COUNTS}
    words = ("shoe red size hat garden black blue men trail light " * 30).split()
    by_tokens = {}
    for length in LENGTHS:
        texts = [" ".join(words[i % 9 :][: length - 5]) for i in range(50)]
        pairs = [("running shoes", texts)] * (min(rounds, 3) + 1)
        found = model.count_tokens(*pairs[0]) // 50
        by_tokens[found] = measure(ways, pairs)
    return {"pairs": by_pairs, "tokens a pair": by_tokens}


def growth_rows(grown: Mapping[str, Mapping[int, Measured]], rounds: int) -> list[Row]:
    """The medians, in milliseconds."""
    return [
        compare_row(
            f"fp32, {number} {what} | ms",
            ours=1000 * statistics.median(seconds["fp32"]),
            rival=RIVAL,
            theirs=1000 * statistics.median(seconds[RIVAL]),
            unit="ms",
            better="lower",
            n=min(rounds, 3),
        )
        for what, measured in grown.items()
        for number, seconds in measured.items()
    ]


def draw(grown: Mapping[str, Mapping[int, Measured]], file: Path) -> None:
    """Draw the time against pairs and tokens."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    figure, places = pyplot.subplots(1, len(grown), figsize=(10, 4), layout="constrained")
    for axes, (what, measured) in zip(places, grown.items(), strict=True):
        for way in ("fp32", RIVAL):
            times = [1000 * statistics.median(seconds[way]) for seconds in measured.values()]
            axes.plot(
                list(measured), times, marker="o", label="es-rerank" if way == "fp32" else way
            )
        axes.set(xlabel=what, ylabel="ms on one core", xlim=0, ylim=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(file)
    say(f"Drawn into {file}")


if __name__ == "__main__":
    run(main)
