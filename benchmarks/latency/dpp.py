"""The DPP beside pyversity's with an equal kernel, and beside plain lazy rows; growth with N.

    python -m benchmarks.latency.dpp [--plot FILE] [--json]

Ours is timed with the building of its kernel, theirs with what it does with the vectors first. The
rivals take turns, and times are those of the one core that each takes. Vectors are random, of 384
dimensions; quality is spread evenly, at the strength that pyversity takes by default, or equal for
all, which leaves nothing to be lazy about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyversity.strategies.dpp import dpp as pyversity_dpp

from benchmarks.form import Row, Spread, compare_row, parser, publish, run, say
from es_rerank.errors import EsRerankError
from es_rerank.ranking.diversity.dpp import greedy_map
from es_rerank.ranking.diversity.kernel import KernelWeights, build_kernel, round_vectors
from es_rerank.ranking.threads import calm_numpy

DIMENSIONS = 384
SEED = 5
BETA = 0.5
"""pyversity's weight of relevance at its default diversity; q = exp(β z)."""
GATED = ((100, 10), (1000, 50), (5000, 100))
GROWTH = (50, 100, 200, 500, 1000, 2000, 5000)
PLACES = 50
WORTH = 0.01
"""How much log det of two slates may differ."""
WHOLE = (100, 100)
FLAT = (5000, 100)

Floats = NDArray[np.float64]
Times = Mapping[str, Floats]


@dataclass(frozen=True)
class Case:
    """Candidates to choose from. rows: what pyversity takes, whose inner products are our S."""

    vectors: NDArray[np.float32]
    rows: NDArray[np.float32]
    relevance: Floats
    places: int

    @cached_property
    def flat(self) -> bool:
        return bool(self.relevance.min() == self.relevance.max())

    @cached_property
    def diversity(self) -> float:
        """Ours, that is their default's."""
        return 1.0 if self.flat else 1 / (1 + 2 * BETA / float(self.relevance.std()))

    def value(self, slate: list[int]) -> float:
        """log det L of a slate."""
        rows = self.rows[slate].astype(np.float64)
        pull = (1 - self.diversity) / self.diversity * self.relevance[slate]
        return float(pull.sum() + np.linalg.slogdet(0.5 * rows @ rows.T)[1])

    def ours(self) -> list[int]:
        """The places by greedy_map."""
        kernel = build_kernel(len(self.relevance), self.vectors, None, {}, KernelWeights(1.0, 0.0))
        if kernel is None:
            raise ValueError("there are vectors")
        order = greedy_map(self.relevance, kernel, self.diversity, limit=self.places)
        return [int(i) for i in order[: self.places]]

    def theirs(self) -> list[int]:
        """The places by pyversity."""
        diversity = 1.0 if self.flat else 1.0 - BETA
        found = pyversity_dpp(self.rows, self.relevance, self.places, diversity)
        return [int(i) for i in found.indices]

    def by_rows(self) -> list[int]:
        """The places by a row of S for each that is chosen, for equal quality."""
        factors = np.empty((self.places, len(self.vectors)))
        variance = np.ones(len(self.vectors))
        chosen: list[int] = []
        for k in range(self.places):
            best = int(variance.argmax())
            row = 0.5 + 0.5 * (self.vectors @ self.vectors[best]).astype(np.float64)
            row -= factors[:k, best] @ factors[:k]
            factors[k] = row / np.sqrt(variance[best])
            variance -= factors[k] ** 2
            variance[best] = -np.inf
            chosen.append(best)
        return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and plot."""
    options = parser(__doc__ or "")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw time against N into FILE")
    options.add_argument("--rounds", type=int, default=51, help="repetitions of the smallest case")
    chosen = options.parse_args(arguments)
    calm_numpy()
    rows = []
    for size, places in GATED:
        times = measure(make_case(size, places), chosen.rounds, "pyversity")
        rows.append(make_row(f"{size}, {places}", times, "pyversity", gate=True))
    times = measure(make_case(*WHOLE), chosen.rounds, "pyversity")
    rows.append(make_row("100, all 100 in order", times, "pyversity"))
    times = measure(make_case(*FLAT, flat=True), chosen.rounds, "lazy rows")
    rows.append(make_row(f"{FLAT[0]}, {FLAT[1]}, equal quality", times, "lazy rows", gate=True))
    grown = {
        size: measure(make_case(size, min(size, PLACES)), chosen.rounds, "pyversity")
        for size in GROWTH
    }
    rows += [
        make_row(f"growth | {size}, {PLACES}", times, "pyversity") for size, times in grown.items()
    ]
    if chosen.plot:
        draw(grown, chosen.plot)
    publish(rows, chosen, "Greedy MAP of a DPP: candidates, places")


def make_case(size: int, places: int, *, flat: bool = False) -> Case:
    """Random unit vectors that our kernel takes as they are, with spread or equal quality."""
    rng = np.random.default_rng([SEED, size])
    vectors = rng.normal(size=(size, DIMENSIONS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rounded = round_vectors(vectors, None)
    units = (rounded.numbers * rounded.inverse[:, None]).astype(np.float32)
    rows = np.hstack([np.ones((size, 1), np.float32), units])
    relevance = np.ones(size) if flat else rng.random(size)
    return Case(units, rows, relevance, places)


def measure(case: Case, rounds: int, rival: str) -> Times:
    """Milliseconds of ours and the rival's, taking turns; larger cases are repeated less often.

    Raises EsRerankError where the two choose other places and one slate is better than the other:
    float32, in which pyversity counts, may break a near tie the other way.
    """
    theirs: Callable[[], list[int]] = case.theirs if rival == "pyversity" else case.by_rows
    first, second = case.ours(), theirs()
    apart = case.value(first) - case.value(second)
    if first != second and abs(apart) > WORTH:
        raise EsRerankError(f"{rival} chose others: their slate is worth {-apart:.3g} more")
    count = max(rounds * 100 // len(case.vectors), 9)
    say(f"{len(case.vectors)} candidates, {case.places} places, {count} rounds ...")
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(count):
        for name, choose in (("ours", case.ours), ("theirs", theirs)):
            began = time.thread_time()
            choose()
            times[name].append(1000 * (time.thread_time() - began))
    return {name: np.array(taken) for name, taken in times.items()}


def make_row(what: str, times: Times, rival: str, *, gate: bool = False) -> Row:
    """Medians, and the middle half of ours."""
    low, high = np.percentile(times["ours"], [25, 75])
    return compare_row(
        what,
        ours=float(np.median(times["ours"])),
        rival=rival,
        theirs=float(np.median(times["theirs"])),
        unit="ms",
        better="lower",
        n=len(times["ours"]),
        spread=Spread(float(low), float(high), "ours, the middle half of repetitions"),
        gate=gate,
    )


def draw(grown: Mapping[int, Times], file: Path) -> None:
    """Time against N, both axes logarithmic. Raises EsRerankError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise EsRerankError("--plot needs matplotlib: pip install 'es-rerank[eval]'") from None
    figure: Any = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("ours", "es-rerank"), ("theirs", "pyversity")):
        medians = [float(np.median(times[name])) for times in grown.values()]
        axes.loglog(list(grown), medians, marker="o", label=label)
    axes.set_xlabel("candidates")
    axes.set_ylabel(f"ms for {PLACES} places, median")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file)


if __name__ == "__main__":
    run(main)
