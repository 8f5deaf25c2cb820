"""`--fail-under`: what a run must reach, for scripts that build and release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from es_rerank.errors import ConfigError
from es_rerank.evaluation.naming import Measure, read_measure
from es_rerank.evaluation.report import Report


@dataclass(frozen=True)
class Gate:
    """A run's mean must be `least` or better: at least that, or at most where lower is better.

    run: None for the first that is not the rival.
    """

    measure: Measure
    least: float
    run: str | None = None


def read_gate(text: str) -> Gate:
    """Read `[RUN:]MEASURE=VALUE`. Raises ConfigError."""
    what, _, value = text.rpartition("=")
    run, _, measure = what.rpartition(":")
    try:
        return Gate(read_measure(measure), float(value), run or None)
    except ValueError:
        raise ConfigError(
            f"--fail-under {text!r}: write MEASURE=VALUE, such as nDCG@10=0.4, or RUN:MEASURE=VALUE"
        ) from None


def check_gates(gates: Sequence[Gate], report: Report) -> list[str]:
    """What was not met, in sentences. Raises ConfigError for a run that there is not."""
    others = [name for name in report.runs if name != report.rival] or [report.rival]
    missed = []
    for gate in gates:
        run = gate.run or others[0]
        if run not in report.runs:
            raise ConfigError(
                f"--fail-under names the run {run!r}; there are {', '.join(report.runs)}"
            )
        summary = report.summary(run, gate.measure.name)
        if summary is None:
            missed.append(f"{gate.measure.name} of {run} cannot be measured")
            continue
        lower = gate.measure.better == "lower"
        if (summary.mean > gate.least) if lower else (summary.mean < gate.least):
            wanted = "at most" if lower else "at least"
            missed.append(
                f"{gate.measure.name} of {run} is {summary.mean:.4f}, not {wanted} {gate.least:g}"
            )
    return missed
