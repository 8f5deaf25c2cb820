"""One evaluation from the first search to the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from es_rerank.cluster.fields import IndexFields
from es_rerank.errors import ConfigError
from es_rerank.evaluation.collection import (
    ENGINE,
    IN_PART,
    PAGE,
    Run,
    Stand,
    collect_run,
    time_runs,
)
from es_rerank.evaluation.collection import Report as Say
from es_rerank.evaluation.documents import (
    BRAND,
    SELLER,
    Documents,
    Embed,
    find_role,
    find_unknown,
    read_values,
    read_vectors,
)
from es_rerank.evaluation.naming import Measure, choose_measures
from es_rerank.evaluation.report import Report
from es_rerank.evaluation.scoring import (
    Gain,
    Ground,
    Unrated,
    check_ratings,
    has_intents,
    score_runs,
)
from es_rerank.evaluation.subject import Subject, examples
from es_rerank.evaluation.verdict import judge, queries_needed

RERANKED = "reranked"
JUDGED_APART = 0.1
"""Difference in the share of rated documents from which on it is said aloud."""


@dataclass(frozen=True)
class Experiment:
    """What is compared and how it is measured.

    blocks: run -> `ext.es_rerank`, None for the engine itself. read: runs that others made. rival:
    the run that the others are compared with. measures, by: empty where they are to be chosen.
    """

    subject: Subject
    fields: IndexFields
    blocks: Mapping[str, Mapping[str, Any] | None] = field(
        default_factory=lambda: {ENGINE: None, RERANKED: {}}
    )
    read: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    rival: str = ENGINE
    measures: tuple[Measure, ...] = ()
    by: tuple[str, ...] = ()
    depth: int = 100
    unrated: Unrated = "zero"
    gain: Gain = "exponential"
    relevant_from: float = 1.0
    timed: bool = True


def run_experiment(
    stand: Stand, experiment: Experiment, embed: Embed, model: str, say: Say
) -> Report:
    """Search, measure, compare. model: the proxy's scorer. Raises ClusterError or ConfigError."""
    subject = experiment.subject
    if experiment.rival not in {*experiment.blocks, *experiment.read}:
        raise ConfigError(
            f"there is no run {experiment.rival!r} to compare with; there are "
            f"{', '.join([*experiment.blocks, *experiment.read])}"
        )
    runs: dict[str, Run] = {}
    for name, block in experiment.blocks.items():
        say(f"Asking {len(subject.queries)} queries: {name} ...")
        runs[name] = collect_run(stand, subject.queries, block, experiment.depth)
    for name, rankings in experiment.read.items():
        runs[name] = Run({query: rankings.get(query, []) for query in subject.queries})
    times = {}
    if experiment.timed:
        say("Timing a page of ten in every way ...")
        times = time_runs(stand, subject.queries, experiment.blocks)
    say("Measuring ...")
    measures, ground = prepare(stand, experiment, runs, embed)
    rankings_only = {name: run.rankings for name, run in runs.items()}
    scores = score_runs(rankings_only, measures, ground, experiment.rival)
    report = Report(
        title=f"{stand.index}: {len(subject.queries)} queries",
        rival=experiment.rival,
        queries=subject.queries,
        runs=runs,
        measures=measures,
        scores=scores,
        times=times,
        titles=ground.documents.titles,
        view=ground.documents.view,
        notes=[*subject.notes, *_notes(stand, experiment, runs, ground)],
    )
    report = replace(report, notes=[*report.notes, *_judged_apart(report)])
    return with_verdict(report, model)


def prepare(
    stand: Stand, experiment: Experiment, runs: Mapping[str, Run], embed: Embed
) -> tuple[list[Measure], Ground]:
    """The measures, and what they need to know of the documents."""
    subject, found = experiment.subject, experiment.fields
    brand, seller = find_role(found.attributes, BRAND), find_role(found.attributes, SELLER)
    by = experiment.by or tuple(name for name in (brand, seller) if name) or found.attributes[:1]
    owner = seller or brand or (by[0] if by else None)
    ground = Ground(
        Documents(),
        subject.judgments,
        experiment.unrated,
        experiment.gain,
        experiment.relevant_from,
        intent_fields=tuple(by),
    )
    measures = list(experiment.measures) or choose_measures(
        subject.judgments is not None, by, owner, has_intents(ground), experiment.depth
    )
    check_ratings(ground, measures)
    wanted = list(dict.fromkeys([*by, *(m.field for m in measures if m.field)]))
    shown = [d for run in runs.values() for ranking in run.rankings.values() for d in ranking]
    rated = [] if subject.judgments is None else list(subject.judgments.ratings.values())
    everything = dict.fromkeys([*shown, *(d for one in rated for d in one)])
    values = read_values(stand.engine, stand.index, everything, wanted, stand.id_field)
    deepest = max([PAGE, *(m.k or 0 for m in measures if m.kind == "ILD")])
    tops = dict.fromkeys(
        d for run in runs.values() for ranking in run.rankings.values() for d in ranking[:deepest]
    )
    if any(measure.kind == "ILD" for measure in measures):
        read = read_vectors(stand.engine, stand.index, tops, found, embed, stand.id_field)
        return measures, replace(ground, documents=replace(read, values=values))
    return measures, replace(ground, documents=Documents(values))


def with_verdict(report: Report, model: str) -> Report:
    """The report with a verdict on the proxy's own settings, where there are judgments."""
    measure = next((m for m in report.measures if m.needs_judgments and m.kind != "Judged"), None)
    summary = report.summary(RERANKED, measure.name) if measure else None
    if measure is None or summary is None or summary.against is None:
        return report
    run = report.runs[RERANKED]
    applied = sum(n for outcome, n in run.outcomes.items() if outcome.startswith("applied"))
    if report.rival != ENGINE or 2 * applied < len(report.queries):
        return report
    verdict = judge(summary.against, measure.name, model)
    notes = list(report.notes)
    if verdict.finding == "unclear":
        notes.append(
            f"About {queries_needed(summary.against)} queries would show a difference of .02 in "
            f"{measure.name}."
        )
    return replace(report, verdict=verdict, notes=notes)


def _notes(
    stand: Stand, experiment: Experiment, runs: Mapping[str, Run], ground: Ground
) -> list[str]:
    notes = []
    if ground.judgments is not None:
        judged = dict.fromkeys(d for rated in ground.judgments.ratings.values() for d in rated)
        unknown = find_unknown(stand.engine, stand.index, judged, stand.id_field)
        if len(unknown) == len(judged):
            raise ConfigError(
                f"None of the {len(judged)} judged documents ({examples(unknown)}) is in "
                f"{stand.index}: check the index, or name the field that holds their ids with "
                "--id-field"
            )
        if unknown:
            notes.append(
                f"{len(unknown)} of {len(judged)} judged documents are not in {stand.index} "
                f"({examples(unknown)}): no run can find them."
            )
    for name, run in runs.items():
        empty = [query for query, ranking in run.rankings.items() if not ranking]
        if empty:
            notes.append(f"{name} found nothing for {len(empty)} queries ({examples(empty)}).")
        others = {
            o: n for o, n in run.outcomes.items() if not o.startswith("applied") or IN_PART in o
        }
        if others:
            said = ", ".join(f"{n} × {outcome}" for outcome, n in sorted(others.items()))
            notes.append(f"{name}: not every search was reranked as a whole ({said}).")
    return notes


def _judged_apart(report: Report) -> list[str]:
    """What runs must not be compared by, when one brings up much that nobody has rated."""
    names = [m.name for m in report.measures if m.kind == "Judged"]
    means = {
        run: found.mean for run in report.runs for m in names if (found := report.summary(run, m))
    }
    notes = [
        f"{run} has {mean:.0%} of its {names[0].partition('@')[2]} first documents rated, "
        f"{report.rival} {means[report.rival]:.0%}: what is unrated counts as 0. "
        "--unrated leave-out is the other way to look at it."
        for run, mean in means.items()
        if abs(mean - means.get(report.rival, mean)) > JUDGED_APART
    ]
    late = []
    for run, times in report.times.items():
        slow = sum(n for o, n in times.outcomes.items() if "deadline" in o or IN_PART in o)
        if slow:
            late.append(
                f"{run}: {slow} of {len(times.ms)} timed searches were not ranked in time and kept "
                "the engine's order, or part of it; quality is measured with more time."
            )
    return notes + late
