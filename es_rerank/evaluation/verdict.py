"""Does reranking help this index? From a comparison to a verdict, and into the index's mapping."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime

from es_rerank import __version__
from es_rerank.cluster.client import SearchClient, quote
from es_rerank.cluster.fields import NAMESPACE
from es_rerank.cluster.verdict import KEY, Finding, Verdict
from es_rerank.errors import ClusterError
from es_rerank.evaluation.compare import Comparison

WORTH = 0.01
"""The gain that is worth a model's time: where even the interval's upper end is below it,
reranking does not help."""
SEEN = 0.02
"""The difference that a set of queries should be able to show."""


def judge(found: Comparison, measure: str, model: str, worth: float = WORTH) -> Verdict:
    """`helps` where the whole interval is above 0, `does-not-help` where it is below `worth`, and
    `unclear` where there are too few queries to tell, whichever way the mean points."""
    finding: Finding = "unclear"
    if found.low > 0:
        finding = "helps"
    elif found.high < worth:
        finding = "does-not-help"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    mean, low, high = (round(value, 4) for value in (found.difference, found.low, found.high))
    return Verdict(finding, measure, found.n, mean, low, high, model, now, __version__)


def describe(verdict: Verdict) -> str:
    """The verdict in a sentence, with the interval that says so."""
    says = {
        "helps": "Reranking helps here",
        "does-not-help": "Reranking does not help here",
        "unclear": "Whether reranking helps here cannot be told",
    }[verdict.finding]
    return (
        f"{says}: {verdict.measure} {verdict.difference:+.3f}, 95 % interval {verdict.low:+.3f} to "
        f"{verdict.high:+.3f}, over {verdict.queries} queries."
    )


def queries_needed(found: Comparison, seen: float = SEEN) -> int:
    """About how many queries would show a difference of `seen`: those there are, times the square
    of how much narrower their interval would have to be."""
    half = (found.high - found.low) / 2
    return math.ceil(found.n * (half / seen) ** 2)


def write_verdict(client: SearchClient, index: str, verdict: Verdict) -> list[str]:
    """Write the verdict into the mapping of each index that the name stands for; returns them.

    Everything else in `_meta` stays. Raises ClusterError.
    """
    found = client.request("GET", f"/{quote(index)}/_mapping", allow=(404,))
    if not found:
        raise ClusterError(f"there is no index {index!r} at {client.url}")
    for name, described in found.items():
        # An engine replaces `_meta` as a whole.
        meta = dict(described["mappings"].get("_meta") or {})
        meta[NAMESPACE] = {**(meta.get(NAMESPACE) or {}), KEY: asdict(verdict)}
        client.request("PUT", f"/{quote(name)}/_mapping", {"_meta": meta})
    return sorted(found)
