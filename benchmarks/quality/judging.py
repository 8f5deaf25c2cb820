"""What benchmarks of quality share: asking the proxy, and rows of paired comparisons."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import Row, Spread, compare_row
from es_rerank.errors import EsRerankError
from es_rerank.evaluation.compare import bootstrap_interval, compare
from es_rerank.evaluation.runs import Answer

WINDOW = 100
PATIENCE_MS = 60_000  # a search that falls back to the engine's order must not be measured
IN_PART = re.compile(r"\bscored=|-(failed|deadline)\b")
"""What X-Es-Rerank says where some texts were not scored, or a search was not expanded."""
MEAN = "ours, the mean over queries, bootstrap 95 %"
MEDIAN = "ours, the median over queries of each query's median, bootstrap 95 %"
DIFFERENCE = "ours - theirs, the mean over queries, paired bootstrap 95 %"

Values = Mapping[str, float]  # by query
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def with_block(
    body: Mapping[str, Any], block: Mapping[str, Any] | None, window: int = WINDOW
) -> dict[str, Any]:
    """The body with our options; None leaves it to the engine."""
    if block is None:
        return dict(body)
    ours = {"rank_window_size": window, "timeout_ms": PATIENCE_MS, **block}
    return {**body, "ext": {"es_rerank": ours}}


def require_applied(answers: Mapping[str, Answer]) -> None:
    """Raise EsRerankError where the proxy did not do all that was asked for to several hits."""
    for query, answer in answers.items():
        whole = answer.outcome.startswith("applied") and not IN_PART.search(answer.outcome)
        if len(answer.ids) > 1 and not whole:
            raise EsRerankError(
                f"The proxy did not rerank {query!r} ({answer.outcome or 'no X-Es-Rerank header'}),"
                " so there is nothing to measure."
            )


def paired_rows(measured: Mapping[str, Mapping[str, Values]], rival: str) -> list[Row]:
    """A row per run and measure, `measured` being run -> measure -> query -> value.

    A run may lack measures; the rival has them all.
    """
    rows = []
    for name, measures in measured.items():
        for what, values in measures.items():
            found = compare(values, measured[rival][what])
            if name == rival:
                finite = [value for value in values.values() if np.isfinite(value)]
                spread = Spread(*bootstrap_interval(finite), MEAN)
            else:
                spread = Spread(found.low, found.high, DIFFERENCE)
            rows.append(
                compare_row(
                    f"{name} | {what}",
                    ours=found.ours,
                    rival=rival,
                    theirs=found.theirs,
                    unit=what.rpartition(" | ")[2],
                    better="higher",
                    n=found.n,
                    spread=spread,
                )
            )
    return rows


def time_row(what: str, ours: Sequence[float], rival: str, theirs: Sequence[float]) -> Row:
    """Milliseconds, one number for each query."""
    low, high = bootstrap_interval(ours, lambda samples: np.median(samples, axis=1))
    return compare_row(
        what,
        ours=float(np.median(ours)),
        rival=rival,
        theirs=float(np.median(theirs)),
        unit="ms",
        better="lower",
        n=len(ours),
        spread=Spread(low, high, MEDIAN),
    )


def embed_shown(
    tops: Iterable[Sequence[str]], texts: Mapping[str, str], embed: Embed
) -> dict[str, NDArray[np.float32]]:
    """The vectors of all products in any of the lists, for ILD; `texts` by product."""
    keys = sorted({key for top in tops for key in top})
    return dict(zip(keys, embed([texts[key] for key in keys]), strict=True))


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """MiniLM vectors, (n, 384)."""
    from es_rerank.models.embedder import load_embedder

    return load_embedder().encode(texts)
