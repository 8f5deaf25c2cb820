"""All that one evaluation found, as one object that can be printed, written and drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from es_rerank.cluster.verdict import Verdict
from es_rerank.evaluation.collection import Run, Times
from es_rerank.evaluation.naming import Measure
from es_rerank.evaluation.scoring import Scores, Summary


@dataclass(frozen=True)
class Report:
    """title: what was measured. queries: id -> words. notes: what a reader must know. view: what
    ILD's vectors are of. verdict: on the first run of ours, where there are judgments."""

    title: str
    rival: str
    queries: Mapping[str, str]
    runs: Mapping[str, Run]
    measures: Sequence[Measure]
    scores: Scores
    times: Mapping[str, Times] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    view: str = ""
    verdict: Verdict | None = None
    notes: Sequence[str] = ()

    def summary(self, run: str, measure: str) -> Summary | None:
        """What one measure says of one run."""
        return self.scores.summaries.get(run, {}).get(measure)

    def latency(self, run: str) -> dict[str, float] | None:
        """Median and 95th percentile of a page of ten, and what the rival's median lacks, ms."""
        times = self.times.get(run)
        if times is None or not times.ms:
            return None
        values = list(times.ms.values())
        rival = self.times.get(self.rival)
        added = None
        if rival is not None and run != self.rival:
            differences = [ms - rival.ms[q] for q, ms in times.ms.items() if q in rival.ms]
            added = float(np.median(differences)) if differences else None
        found = {
            "median_ms": float(np.median(values)),
            "p95_ms": float(np.quantile(values, 0.95)),
            "n": float(len(values)),
        }
        return found if added is None else {**found, "added_ms": added}


def as_json(report: Report) -> dict[str, Any]:
    """What `--json` prints; numbers that are undefined are null."""
    return {
        "title": report.title,
        "rival": report.rival,
        "queries": len(report.queries),
        "runs": {
            name: {
                "block": run.block,
                "outcomes": dict(run.outcomes),
                "measures": {
                    measure.name: _summary(summary)
                    for measure in report.measures
                    if (summary := report.summary(name, measure.name)) is not None
                },
                "latency": report.latency(name),
                "timed_outcomes": dict(report.times[name].outcomes) if name in report.times else {},
            }
            for name, run in report.runs.items()
        },
        "by_query": {
            query: {
                "query": words,
                "measures": {
                    name: {
                        measure: _number(values[query])
                        for measure, values in report.scores.by_query.get(name, {}).items()
                        if query in values
                    }
                    for name in report.runs
                },
            }
            for query, words in report.queries.items()
        },
        "ild_view": report.view,
        "verdict": None if report.verdict is None else asdict(report.verdict),
        "notes": list(report.notes),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mean": _number(summary.mean),
        "interval": [_number(summary.low), _number(summary.high)],
        "n": summary.n,
    }
    if summary.against is not None:
        found["difference"] = _number(summary.against.difference)
        found["difference_interval"] = [
            _number(summary.against.low),
            _number(summary.against.high),
        ]
        found["p_value"] = _number(summary.against.p_value)
    return found


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
